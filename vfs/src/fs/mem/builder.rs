//! A description of a tree for the filesystem in memory.

use super::inode::Body;
use super::{Access, MemFs};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Attrs, Content, DeviceNumber, FileType, GuestFs, Lookup, SetAttrs, SpecialFile, Timestamp, Xattr};
use crate::path::{GuestPath, Resolved};

/// A description of a tree. Directories that are missing are made, root's and 0o755.
///
/// Paths are taken as they stand: no symbolic link is followed. [`mode`](Self::mode), [`owner`](Self::owner),
/// [`mtime`](Self::mtime) and [`xattr`](Self::xattr) are about the file named last. The first mistake is what
/// [`build`](Self::build) answers.
#[derive(Debug)]
pub struct Builder {
    fs: MemFs,
    last: Resolved,
    capacity: u64,
    inode_limit: u64,
    now: Timestamp,
    access: Access,
    failed: Option<Error>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let fs = MemFs { now: Timestamp::default(), ..MemFs::new() };
        let MemFs { capacity, inode_limit, now, access, .. } = MemFs::new();
        Self { fs, last: Resolved::root(), capacity, inode_limit, now, access, failed: None }
    }

    /// A directory of root's, 0o755; an existing one is only named.
    #[must_use]
    pub fn dir(self, path: impl AsRef<[u8]>) -> Self {
        self.node(path.as_ref(), |fs, at| match fs.lookup(at)? {
            Some(metadata) if metadata.file_type == FileType::Directory => Ok(()),
            _ => fs.create_dir(at, attrs(0o755)),
        })
    }

    /// A regular file of root's, 0o644.
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.node(path.as_ref(), |fs, at| {
            fs.create_file(at, attrs(0o644))?;
            fs.put(at, &Content::bytes(content.as_ref()))
        })
    }

    /// A symbolic link of root's.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.node(path.as_ref(), |fs, at| fs.create_symlink(at, target.as_ref(), attrs(0o777)))
    }

    /// A further name of a file that was named before.
    #[must_use]
    pub fn hard_link(self, path: impl AsRef<[u8]>, existing: impl AsRef<[u8]>) -> Self {
        let existing = literal(existing.as_ref());
        self.node(path.as_ref(), |fs, at| fs.hard_link(&existing?, at))
    }

    /// A device (1:3), pipe or socket of root's, 0o600.
    #[must_use]
    pub fn special(self, path: impl AsRef<[u8]>, file_type: FileType) -> Self {
        let special = SpecialFile::new(file_type, DeviceNumber { major: 1, minor: 3 });
        self.node(path.as_ref(), |fs, at| match special {
            Some(special) => fs.create(at, Body::Special(special), attrs(0o600)),
            None => {
                Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, "not a special file")
                    .with_guest_path(at.as_bytes()))
            }
        })
    }

    /// The permission bits of the last file.
    #[must_use]
    pub fn mode(self, mode: u16) -> Self {
        self.change(|fs, at| fs.set_attrs(at, SetAttrs { mode: Some(mode), ..SetAttrs::default() }))
    }

    /// Owner and group of the last file.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Self {
        self.change(|fs, at| fs.set_attrs(at, SetAttrs { uid: Some(uid), gid: Some(gid), ..SetAttrs::default() }))
    }

    /// The time of the last file, 0 otherwise.
    #[must_use]
    pub fn mtime(self, mtime: Timestamp) -> Self {
        self.change(|fs, at| fs.set_attrs(at, SetAttrs { mtime: Some(mtime), ..SetAttrs::default() }))
    }

    /// An extended attribute of the last file.
    #[must_use]
    pub fn xattr(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let xattr = Xattr { name: name.as_ref().to_vec(), value: value.as_ref().to_vec() };
        self.change(|fs, at| fs.set_xattr(at, &xattr))
    }

    /// How many bytes of content the filesystem holds at most: 1 GiB unless told.
    #[must_use]
    pub fn capacity(self, bytes: u64) -> Self {
        Self { capacity: bytes, ..self }
    }

    /// How many inodes the filesystem holds at most, the root's included: 2^20 unless told.
    #[must_use]
    pub fn inode_limit(self, inodes: u64) -> Self {
        Self { inode_limit: inodes, ..self }
    }

    /// The time of every later change: one second after the epoch unless told.
    #[must_use]
    pub fn now(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// The filesystem is to be open for reading only.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { access: Access::ReadOnly, ..self }
    }

    /// The filesystem, or the first mistake in its description.
    pub fn build(self) -> Result<MemFs> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(MemFs {
                capacity: self.capacity,
                inode_limit: self.inode_limit,
                now: self.now,
                access: self.access,
                ..self.fs
            }),
        }
    }

    fn node(mut self, path: &[u8], make: impl FnOnce(&mut MemFs, &Resolved) -> Result<()>) -> Self {
        match literal(path) {
            Ok(at) => self.last = at,
            Err(error) => {
                self.failed.get_or_insert(error);
                return self;
            }
        }
        self.change(|fs, at| {
            let mut ancestors: Vec<Resolved> = std::iter::successors(at.parent(), Resolved::parent).collect();
            while let Some(ancestor) = ancestors.pop() {
                if fs.lookup(&ancestor)?.is_none() {
                    fs.create_dir(&ancestor, attrs(0o755))?;
                }
            }
            make(fs, at)
        })
    }

    fn change(mut self, make: impl FnOnce(&mut MemFs, &Resolved) -> Result<()>) -> Self {
        if self.failed.is_none() {
            self.failed = make(&mut self.fs, &self.last).err();
        }
        self
    }
}

fn attrs(mode: u16) -> Attrs {
    Attrs { mode, uid: 0, gid: 0 }
}

/// The path as it stands. In a tree that is being described there is no guest whose links could mislead.
fn literal(path: &[u8]) -> Result<Resolved> {
    Ok(GuestPath::parse(path)?.components().fold(Resolved::root(), |at, name| at.child(name)))
}
