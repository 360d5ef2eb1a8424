//! The only code that follows a symbolic link.

use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{FileType, Lookup};
use crate::path::{GuestPath, NAME_MAX, PATH_MAX, Resolved};
use std::collections::VecDeque;

/// How many symbolic links one resolution follows, as in Linux (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What to do with a symbolic link in the last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Follow it, as open(2) does.
    All,
    /// Stop at it, as lstat(2) does.
    ExcludeLast,
}

/// Follows every symbolic link of `path` inside the guest's root.
///
/// An absolute link starts again at the guest's root, and `..` in a link never leaves it. A link whose target ends with
/// a slash or `.` leads to a directory or to nothing. The path need not exist: from the first component that is missing
/// on, the rest is taken as it stands, and a `..` of a link there is refused.
///
/// Errors: `Denied` after 40 links (a loop), `WrongType` where a component that has to be a directory is not one,
/// `NotFound` for `..` after a missing component, `Invalid` where the path grows longer than Linux takes, `Corrupt` for a
/// link with an impossible target, and whatever the lookup fails with.
pub fn resolve(tree: &(impl Lookup + ?Sized), path: &GuestPath, follow: Follow) -> Result<Resolved> {
    let mut pending: VecDeque<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
    let mut at = Resolved::root();
    let mut links = 0_usize;
    let mut missing = false;
    let refuse = |kind, reason: &str| Err(Error::new(kind, Layer::Path, reason).with_guest_path(path.as_bytes()));

    while let Some(name) = pending.pop_front() {
        if name == b"." {
            // Only the end of a link's target; what came before it was not the last, so it had to be a directory.
            continue;
        }
        if name == b".." {
            if missing {
                return refuse(ErrorKind::NotFound, "a symbolic link in it goes through a directory that is missing");
            }
            at = at.parent().unwrap_or_else(Resolved::root);
            continue;
        }
        if name.len() > NAME_MAX || at.as_bytes().len() + name.len() + 1 >= PATH_MAX {
            return refuse(ErrorKind::Invalid, "it resolves to a name or a path that is too long");
        }
        let next = at.child(&name);
        if missing {
            at = next;
            continue;
        }
        let Some(metadata) = tree.lookup(&next)? else {
            missing = true;
            at = next;
            continue;
        };
        let last = pending.is_empty();
        match metadata.file_type {
            FileType::Symlink if last && follow == Follow::ExcludeLast => at = next,
            FileType::Symlink => {
                links += 1;
                if links > LINKS_MAX {
                    return refuse(ErrorKind::Denied, "more than 40 symbolic links (a loop)");
                }
                let target = tree.read_link(&next)?;
                if target.is_empty() || target.contains(&0) || target.len() >= PATH_MAX {
                    return Err(Error::corrupt(Layer::Path, "a symbolic link with an impossible target")
                        .with_guest_path(next.as_bytes()));
                }
                if target.first() == Some(&b'/') {
                    at = Resolved::root();
                }
                let mut parts = target.split(|byte| *byte == b'/').rev().peekable();
                if parts.next_if(|part| part.is_empty() || *part == b".").is_some() {
                    pending.push_front(b".".to_vec());
                }
                for part in parts.filter(|part| !part.is_empty() && *part != b".") {
                    pending.push_front(part.to_vec());
                }
                if pending.iter().map(|part| part.len() + 1).sum::<usize>() >= PATH_MAX {
                    return refuse(ErrorKind::Invalid, "it resolves to a name or a path that is too long");
                }
            }
            FileType::Directory => at = next,
            _ if last => at = next,
            _ => {
                return Err(
                    Error::new(ErrorKind::WrongType, Layer::Path, "not a directory").with_guest_path(next.as_bytes())
                );
            }
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::mem::{Builder, MemFs};

    fn at(fs: &MemFs, path: impl AsRef<[u8]>, follow: Follow) -> Result<String> {
        Ok(resolve(fs, &GuestPath::parse(path)?, follow)?.to_string())
    }

    /// `/d/s/f`, a file `/f`, and the links that the tables are about.
    fn tree() -> Builder {
        MemFs::builder()
            .file("/f", "")
            .file("/d/s/f", "")
            .file(b"/d/\xff\xfe", "")
            .symlink("/abs", "/d/s")
            .symlink("/d/rel", "s")
            .symlink("/d/s/up", "../..")
            .symlink("/out", "../../../../etc/passwd")
            .symlink("/d/s/out", "/../../d/../f")
            .symlink("/root", "/")
            .symlink("/dots", "./d/./s/.")
            .symlink("/d/dot", ".")
            .symlink("/slashes", "//d///s//")
            .symlink("/fslash", "f/")
            .symlink("/fdot", "f/.")
            .symlink("/fdots", "f/..")
            .symlink("/tofslash", "fslash")
            .symlink("/abs2", "abs/")
            .symlink("/dangling", "/no/such")
            .symlink("/danglingslash", "no/")
            .symlink("/beyond", "no/../f")
            .symlink("/self", "self")
            .symlink("/ping", "pong")
            .symlink("/pong", "ping/x")
            .symlink("/bytes", b"d/\xff\xfe")
            .symlink(b"/\xff", "d")
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let fs = tree().build().unwrap();
        for (path, expected) in [
            ("/", "/"),
            ("/d/s/f", "/d/s/f"),
            ("/abs", "/d/s"),
            ("/abs/f", "/d/s/f"),
            ("/d/rel/f", "/d/s/f"),
            ("/abs/up/abs/up/f", "/f"),
            ("/d/s/up", "/"),
            ("/out", "/etc/passwd"),
            ("/d/s/out", "/f"),
            ("/root", "/"),
            ("/root/root/root/f", "/f"),
            ("/dots", "/d/s"),
            ("/dots/f", "/d/s/f"),
            ("/d/dot/dot/dot", "/d"),
            ("/slashes", "/d/s"),
            ("/slashes/f", "/d/s/f"),
            ("/abs2/f", "/d/s/f"),
            ("/dangling", "/no/such"),
            ("/dangling/x", "/no/such/x"),
            ("/danglingslash", "/no"),
            ("/danglingslash/x", "/no/x"),
            ("/no/such/tail", "/no/such/tail"),
            ("/abs/no/f", "/d/s/no/f"),
            ("/bytes", "/d/\\xff\\xfe"),
        ] {
            assert_eq!(at(&fs, path, Follow::All).unwrap(), expected, "{path}");
        }
        assert_eq!(at(&fs, b"/\xff/s", Follow::All).unwrap(), "/d/s");
        assert_eq!(at(&fs, b"/abs/\xfd", Follow::All).unwrap(), "/d/s/\\xfd");
    }

    #[test]
    fn the_last_link_can_be_meant_itself() {
        let fs = tree().build().unwrap();
        for (path, expected) in [
            ("/abs", "/abs"),
            ("/abs/up", "/d/s/up"),
            ("/abs2/up", "/d/s/up"),
            ("/d/dot/rel", "/d/rel"),
            ("/self", "/self"),
            ("/dangling", "/dangling"),
            ("/dangling/x", "/no/such/x"),
            ("/fslash", "/fslash"),
            ("/f", "/f"),
            ("/", "/"),
            ("/no", "/no"),
        ] {
            assert_eq!(at(&fs, path, Follow::ExcludeLast).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let fs = tree().build().unwrap();
        for (path, kind) in [
            ("/f/x", ErrorKind::WrongType),
            ("/abs/f/x", ErrorKind::WrongType),
            ("/fslash", ErrorKind::WrongType),
            ("/fdot", ErrorKind::WrongType),
            ("/fdots", ErrorKind::WrongType),
            ("/tofslash", ErrorKind::WrongType),
            ("/beyond", ErrorKind::NotFound),
            ("/self", ErrorKind::Denied),
            ("/self/x", ErrorKind::Denied),
            ("/ping", ErrorKind::Denied),
        ] {
            let error = at(&fs, path, Follow::All).unwrap_err();
            assert_eq!((error.kind(), error.layer()), (kind, Layer::Path), "{path}: {error}");
        }
        for follow in [Follow::All, Follow::ExcludeLast] {
            assert_eq!(at(&fs, "/ping/y", follow).unwrap_err().kind(), ErrorKind::Denied);
        }
    }

    #[test]
    fn forty_links_and_no_more() {
        let mut tree = MemFs::builder().file("/l0", "");
        for link in 1..=41 {
            tree = tree.symlink(format!("/l{link}"), format!("l{}", link - 1));
        }
        let fs = tree.build().unwrap();
        assert_eq!(at(&fs, "/l40", Follow::All).unwrap(), "/l0");
        assert_eq!(at(&fs, "/l41", Follow::All).unwrap_err().kind(), ErrorKind::Denied);
        // The last one is not followed, so it does not count.
        assert_eq!(at(&fs, "/l41", Follow::ExcludeLast).unwrap(), "/l41");
    }

    #[test]
    fn expansion_is_bounded() {
        let name = "n".repeat(200);
        let long = format!("{}/", name).repeat(15);
        let fs = MemFs::builder()
            .symlink("/long", &long)
            .symlink("/name", "n".repeat(256))
            .symlink("/bomb", "bomb/".repeat(700))
            .dir("/x")
            .symlink("/x/wide", "../x/".repeat(800) + "wide")
            .build()
            .unwrap();
        assert_eq!(at(&fs, "/long", Follow::All).unwrap().len(), long.len());
        for path in [format!("/long/{name}/{name}/{name}/{name}/{name}/{name}"), "/name".into(), "/bomb".into()] {
            assert_eq!(at(&fs, &path, Follow::All).unwrap_err().kind(), ErrorKind::Invalid);
        }
        // A target that is as long as it may be, and returns to itself each time.
        assert_eq!(at(&fs, "/x/wide", Follow::All).unwrap_err().kind(), ErrorKind::Denied);
    }

    /// A tree in which everything is a link with one target.
    struct Hostile(Vec<u8>);

    impl Lookup for Hostile {
        fn lookup(&self, at: &Resolved) -> Result<Option<crate::fs::Metadata>> {
            let fs = MemFs::builder().symlink("/l", "t").build()?;
            let link = fs.lookup(&Resolved::root().child(b"l"))?;
            Ok(link.filter(|_| at.file_name().is_some()))
        }

        fn read_link(&self, _at: &Resolved) -> Result<Vec<u8>> {
            Ok(self.0.clone())
        }
    }

    #[test]
    fn impossible_targets_are_corrupt() {
        for target in [&b""[..], b"a\0b", &[b'a'; PATH_MAX]] {
            let path = GuestPath::parse("/l").unwrap();
            let error = resolve(&Hostile(target.to_vec()), &path, Follow::All).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
