//! Paths inside a guest: asked for ([`GuestPath`]) and proved ([`Resolved`]).

use crate::error::{Error, ErrorKind, Layer, Result};
use std::borrow::Borrow;
use std::fmt;

/// The longest path that is taken, in bytes (PATH_MAX of Linux).
pub const PATH_MAX: usize = 4096;
/// The longest name of one component, in bytes (NAME_MAX of Linux).
pub const NAME_MAX: usize = 255;

/// A path inside a guest as somebody asked for it: absolute, bytes, no NUL, no `..`, not yet resolved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(Vec<u8>);

impl GuestPath {
    /// Takes an absolute path; `Invalid` where it is relative, too long, or holds NUL or a `..` component.
    ///
    /// Repeated slashes, `.` components and a trailing slash are dropped.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self> {
        let path = path.as_ref();
        let refuse = |reason: &str| {
            Err(Error::new(ErrorKind::Invalid, Layer::Path, format!("not a guest path: {reason}"))
                .with_guest_path(path))
        };
        if path.first() != Some(&b'/') {
            return refuse("it must begin with a slash");
        }
        if path.len() >= PATH_MAX {
            return refuse("it is longer than 4095 bytes");
        }
        if path.contains(&0) {
            return refuse("it holds a NUL byte");
        }
        let mut clean = Vec::with_capacity(path.len());
        for component in components(path) {
            if component == b".." {
                return refuse("'..' is not allowed");
            }
            if component.len() > NAME_MAX {
                return refuse("a name in it is longer than 255 bytes");
            }
            clean.push(b'/');
            clean.extend_from_slice(component);
        }
        if clean.is_empty() {
            clean.push(b'/');
        }
        Ok(Self(clean))
    }

    /// The guest's root.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// The path's bytes: `/`, or components each led by one slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path's components, outermost first; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        components(&self.0)
    }

    /// This path with `name` below it; `Invalid` as for [`parse`](Self::parse), or where `name` holds a slash.
    pub fn join(&self, name: impl AsRef<[u8]>) -> Result<Self> {
        let mut path = self.0.clone();
        path.push(b'/');
        path.extend_from_slice(name.as_ref());
        Self::parse(path)
    }

    /// The path of the directory that holds this; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        parent(&self.0).map(|parent| Self(parent.to_vec()))
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        file_name(&self.0)
    }
}

/// A path inside a guest in which every symbolic link has been followed inside the guest's root.
///
/// Only [`resolve`](crate::resolve) makes one, apart from the root. The last components need not exist.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resolved(Vec<u8>);

impl Resolved {
    /// The guest's root.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// This path with `name` below it, where the caller has seen that `name` is no symbolic link (or is meant to be the
    /// link itself). `name` is one component: not empty, no slash, not `.` or `..`.
    pub(crate) fn child(&self, name: &[u8]) -> Self {
        let mut path = self.0.clone();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// The path's bytes: `/`, or components each led by one slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path's components, outermost first; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        components(&self.0)
    }

    /// The path of the directory that holds this; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        parent(&self.0).map(|parent| Self(parent.to_vec()))
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        file_name(&self.0)
    }

    /// What is left of this path below `point`, as a path of its own; `None` where it does not lie below.
    pub(crate) fn within(&self, point: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(point.0.as_slice())?;
        match rest {
            [b'/', _, ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }

    /// The directories that hold this, by the bytes of their paths, outermost first; none for the root.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        let path = self.0.as_slice();
        let slashes = path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && path.len() > at + 1);
        slashes.map(|(at, _)| &path[..at.max(1)])
    }
}

impl AsRef<[u8]> for Resolved {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Resolved {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&Resolved> for GuestPath {
    /// The same path, to be asked for: it resolves to itself as long as no symbolic link comes to lie in it.
    fn from(path: &Resolved) -> Self {
        Self(path.0.clone())
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|component| !component.is_empty() && *component != b".")
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    if path.len() == 1 { None } else { Some(&path[..slash.max(1)]) }
}

fn file_name(path: &[u8]) -> Option<&[u8]> {
    components(path).last()
}

macro_rules! display_bytes {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.escape_ascii())
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.escape_ascii())
            }
        }
    )*};
}
display_bytes!(GuestPath, Resolved);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_normalises_what_is_harmless() {
        for (given, expected) in [("/", "/"), ("//a///b/", "/a/b"), ("/./a/.", "/a"), ("/...", "/...")] {
            assert_eq!(GuestPath::parse(given).unwrap().as_bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn parse_refuses_what_is_not_a_guest_path() {
        let long_name = format!("/{}", "n".repeat(256));
        let long_path = "/a".repeat(2048);
        for given in ["", "a", "a/b", "/a/../b", "/..", "/a\0b", &long_name, &long_path] {
            assert_eq!(GuestPath::parse(given).unwrap_err().kind(), ErrorKind::Invalid, "{given}");
        }
    }

    #[test]
    fn ancestors_are_the_parents_from_the_outside() {
        let path = Resolved::root().child(b"a").child(b"bc").child(b"d");
        let mut parents: Vec<Resolved> = std::iter::successors(path.parent(), Resolved::parent).collect();
        parents.reverse();
        assert_eq!(path.ancestors().collect::<Vec<_>>(), [&b"/"[..], b"/a", b"/a/bc"]);
        assert_eq!(parents.iter().map(Resolved::as_bytes).collect::<Vec<_>>(), path.ancestors().collect::<Vec<_>>());
        assert_eq!(Resolved::root().child(b"a").ancestors().collect::<Vec<_>>(), [b"/"]);
        assert_eq!(Resolved::root().ancestors().count(), 0);
    }

    #[test]
    fn parent_and_name() {
        let path = GuestPath::parse("/a/b").unwrap();
        assert_eq!(path.file_name(), Some(&b"b"[..]));
        assert_eq!(path.parent().unwrap().as_bytes(), b"/a");
        assert_eq!(path.parent().unwrap().parent().unwrap().as_bytes(), b"/");
        assert_eq!(path.parent().unwrap().parent().unwrap().parent(), None);
        assert_eq!(GuestPath::parse("/").unwrap().file_name(), None);
    }
}
