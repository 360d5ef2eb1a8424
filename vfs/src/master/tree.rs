//! The files that an image is built from.

use super::refuse;
use crate::error::Result;
use crate::fs::Content;
use crate::path::{NAME_MAX, PATH_MAX};
use std::collections::BTreeMap;

/// How many directories may lie in each other below the root.
pub const MAX_DEPTH: usize = 128;

/// A tree of directories and regular files, without owners and modes: the writers give all files the same ones.
///
/// Entries are sorted by the bytes of their names, so the order in which they are put makes no difference, but that a
/// later file replaces an earlier one of the same path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: Directory,
}

/// The entries of a directory by name: 1 to 255 bytes, no slash, no NUL, not `.` or `..`.
pub type Directory = BTreeMap<Vec<u8>, Node>;

/// An entry of a directory.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(Content),
}

impl Tree {
    /// The empty tree: a root directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file at a relative path (`etc/motd`) and makes the directories before it; a file that
    /// is there is replaced.
    ///
    /// `Invalid` where the path is absolute, empty, or has an empty component, `.`, `..`, NUL or a component of more
    /// than 255 bytes, is 4096 bytes or longer, lies more than [`MAX_DEPTH`] directories deep, where a directory has the
    /// name already, or where one of the directories is a file.
    pub fn put(&mut self, path: impl AsRef<[u8]>, content: Content) -> Result<()> {
        let path = path.as_ref();
        let (parents, name) = split(path)?;
        let directory = self.directory(path, &parents)?;
        if let Some(Node::Directory(_)) = directory.get(name) {
            return Err(refuse("this is a directory, and a file too").with_guest_path(path));
        }
        directory.insert(name.to_vec(), Node::File(content));
        Ok(())
    }

    /// Makes a directory at a relative path, and those before it; it may be there. `Invalid` as for [`put`](Self::put).
    pub fn put_dir(&mut self, path: impl AsRef<[u8]>) -> Result<()> {
        let path = path.as_ref();
        let (mut components, name) = split(path)?;
        components.push(name);
        self.directory(path, &components)?;
        Ok(())
    }

    /// The root directory.
    pub fn root(&self) -> &Directory {
        &self.root
    }

    /// The content of the file at a relative path; `None` where there is none.
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<&Content> {
        let (parents, name) = split(path.as_ref()).ok()?;
        let mut directory = &self.root;
        for component in parents {
            let Node::Directory(next) = directory.get(component)? else { return None };
            directory = next;
        }
        match directory.get(name)? {
            Node::File(content) => Some(content),
            Node::Directory(_) => None,
        }
    }

    fn directory(&mut self, path: &[u8], components: &[&[u8]]) -> Result<&mut Directory> {
        if components.len() > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} directories deep");
            return Err(refuse(message).with_guest_path(path));
        }
        let mut directory = &mut self.root;
        for component in components {
            let node = directory.entry(component.to_vec()).or_insert_with(|| Node::Directory(Directory::new()));
            let Node::Directory(next) = node else {
                return Err(refuse("one of its directories is a file").with_guest_path(path));
            };
            directory = next;
        }
        Ok(directory)
    }
}

/// The directories and the name of a relative path.
fn split(path: &[u8]) -> Result<(Vec<&[u8]>, &[u8])> {
    let bad = |reason: &str| refuse(format!("not a path inside the image: {reason}")).with_guest_path(path);
    if path.len() >= PATH_MAX {
        return Err(bad("it is longer than 4095 bytes"));
    }
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" => return Err(bad("it is absolute, or a name in it is empty")),
            b"." | b".." => return Err(bad("'.' and '..' are not allowed")),
            _ if component.contains(&0) => return Err(bad("it holds a NUL byte")),
            _ if component.len() > NAME_MAX => return Err(bad("a name in it is longer than 255 bytes")),
            _ => components.push(component),
        }
    }
    let name = components.pop().ok_or_else(|| bad("it is empty"))?;
    Ok((components, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn later_files_replace_earlier_ones() {
        let mut tree = Tree::new();
        tree.put("a/b", Content::bytes(*b"one")).unwrap();
        tree.put("a/b", Content::bytes(*b"three")).unwrap();
        tree.put_dir("a").unwrap();
        tree.put_dir("empty").unwrap();
        assert_eq!(tree.get("a/b").unwrap().len(), 5);
        assert!(tree.get("a").is_none() && tree.get("a/b/c").is_none() && tree.get("x/y").is_none());
        assert_eq!(tree.root().keys().collect::<Vec<_>>(), [b"a".as_slice(), b"empty"]);
    }

    #[test]
    fn what_is_no_path_inside_is_refused() {
        let mut tree = Tree::new();
        tree.put("dir/file", Content::bytes(*b"")).unwrap();
        let long = "n".repeat(256);
        let deep = "d/".repeat(MAX_DEPTH + 1) + "f";
        let longest = format!("{}/", "n".repeat(255)).repeat(16) + "f";
        for path in ["", "/a", "a/", "a//b", "./a", "a/..", "a\0", &long, &deep, &longest, "dir", "dir/file/x"] {
            assert_eq!(tree.put(path, Content::bytes(*b"")).unwrap_err().kind(), ErrorKind::Invalid, "{path}");
        }
        assert_eq!(tree.put_dir("dir/file").unwrap_err().kind(), ErrorKind::Invalid);
        tree.put("d/".repeat(MAX_DEPTH) + "f", Content::bytes(*b"")).unwrap();
    }
}
