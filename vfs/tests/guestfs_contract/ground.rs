//! An empty filesystem to try a case on, and shorthands for the cases.

use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Metadata, Ownership, Xattr, read_file};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::{ErrorKind, Result};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Debug;

pub const FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
pub const DIR: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

/// An empty filesystem (a `lost+found` in its root does not count), and its judge.
pub struct Made {
    pub fs: Box<dyn GuestFs>,
    pub links: DirectoryLinks,
    /// Closes the filesystem, has it checked, and opens it again.
    pub judge: Judge,
}

/// How many links a directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryLinks {
    /// Two, and one for each directory in it.
    Counted,
    /// Always one, as on btrfs.
    One,
}

/// Takes a filesystem that a case is done with, and gives it back as it is found again.
pub type Judge = Box<dyn FnOnce(Box<dyn GuestFs>) -> Box<dyn GuestFs>>;

/// Where empty filesystems come from; `None` where a tool that makes them is missing.
pub struct Ground {
    make: fn() -> Option<Made>,
    /// Whether it has symbolic links, once that was asked: to ask takes a filesystem, or a kernel.
    links: OnceCell<bool>,
}

impl Ground {
    pub fn new(make: fn() -> Option<Made>) -> Self {
        Self { make, links: OnceCell::new() }
    }

    /// Whether a path can be there: `/l` is a symbolic link in the cases.
    pub fn has(&self, path: &str) -> bool {
        let ask = || (self.make)().is_none_or(|made| made.fs.ownership(&Resolved::root()) == Ownership::Kept);
        !path.starts_with("/l") || *self.links.get_or_init(ask)
    }

    /// Runs a case, and has its outcome judged: what was there before the filesystem was closed is there after.
    pub fn holds(&self, case: impl FnOnce(&mut Fs)) {
        let Some(Made { fs, judge, links }) = (self.make)() else { return };
        let mut fs = Fs { fs, links };
        case(&mut fs);
        let before = fs.everything();
        let after = Fs { fs: judge(fs.fs), links }.everything();
        for (path, file) in &before {
            assert_eq!(Some(file), after.get(path), "{path:?} before and after closing");
        }
        assert_eq!(before.len(), after.len());
    }

    /// Expects an error of a kind. The filesystem is not used any further, as the trait demands.
    pub fn refuses<T: Debug>(&self, kind: ErrorKind, what: &str, case: impl FnOnce(&mut Fs) -> Result<T>) {
        let Some(Made { fs, links, .. }) = (self.make)() else { return };
        match case(&mut Fs { fs, links }) {
            Ok(given) => panic!("{what}: {given:?}"),
            Err(error) => assert_eq!(error.kind(), kind, "{what}: {error:?}"),
        }
    }
}

/// All that can be read of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Everything {
    metadata: Metadata,
    content: Vec<u8>,
    xattrs: Vec<Xattr>,
}

/// A filesystem under trial.
pub struct Fs {
    pub fs: Box<dyn GuestFs>,
    links: DirectoryLinks,
}

impl Fs {
    /// The path, its last link not followed.
    pub fn at(&self, path: impl AsRef<[u8]>) -> Resolved {
        resolve(&*self.fs, &GuestPath::parse(path).unwrap(), Follow::ExcludeLast).unwrap()
    }

    pub fn file(&mut self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Resolved {
        let at = self.at(path);
        self.fs.create_file(&at, FILE).unwrap();
        self.fs.put(&at, &bytes(content)).unwrap();
        at
    }

    pub fn dir(&mut self, path: impl AsRef<[u8]>) -> Resolved {
        let at = self.at(path);
        self.fs.create_dir(&at, DIR).unwrap();
        at
    }

    pub fn symlink(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Resolved {
        let at = self.at(path);
        self.fs.create_symlink(&at, target.as_ref(), FILE).unwrap();
        at
    }

    pub fn meta(&self, at: &Resolved) -> Metadata {
        self.fs.lookup(at).unwrap().unwrap_or_else(|| panic!("{at} is missing"))
    }

    /// Fails unless a directory with so many directories in it has the links that it has on this filesystem.
    pub fn assert_directories(&self, at: &Resolved, directories: u32) {
        let expected = match self.links {
            DirectoryLinks::Counted => 2 + directories,
            DirectoryLinks::One => 1,
        };
        assert_eq!(self.meta(at).links, expected, "{at} has {directories} directories");
    }

    pub fn exists(&self, at: &Resolved) -> bool {
        self.fs.lookup(at).unwrap().is_some()
    }

    pub fn read(&self, at: &Resolved) -> Vec<u8> {
        read_file(&*self.fs, at, 1 << 30).unwrap()
    }

    /// The names in a directory, sorted.
    pub fn names(&self, at: &Resolved) -> Vec<String> {
        let entries = self.fs.read_dir(at).unwrap();
        let names = entries.into_iter().map(|entry| entry.name.escape_ascii().to_string());
        let mut names: Vec<String> = names.filter(|name| name != "lost+found").collect();
        names.sort_unstable();
        names
    }

    pub fn everything(&self) -> BTreeMap<Resolved, Everything> {
        let mut found = BTreeMap::new();
        let mut pending = vec![Resolved::root()];
        while let Some(at) = pending.pop() {
            let metadata = self.meta(&at);
            let content = match metadata.file_type {
                FileType::Regular => self.read(&at),
                FileType::Symlink => self.fs.read_link(&at).unwrap(),
                _ => Vec::new(),
            };
            if metadata.file_type == FileType::Directory {
                for entry in self.fs.read_dir(&at).unwrap() {
                    let child = self.at([at.as_bytes(), b"/", &entry.name].concat());
                    assert_eq!(self.meta(&child).file_type, entry.file_type, "{child}");
                    pending.push(child);
                }
            }
            let xattrs = self.fs.xattrs(&at).unwrap();
            found.insert(at, Everything { metadata, content, xattrs });
        }
        found
    }
}

pub fn bytes(content: impl AsRef<[u8]>) -> Content {
    Content::bytes(content.as_ref())
}

pub fn xattr(name: &str, value: impl AsRef<[u8]>) -> Xattr {
    Xattr { name: name.as_bytes().to_vec(), value: value.as_ref().to_vec() }
}

/// Bytes without a short period, `len` of them.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64 ^ 0x2545_f491_4f6c_dd1d;
    let byte = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}
