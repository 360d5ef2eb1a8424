//! Guest filesystems: the trait that a driver implements, and the choice of a driver.

pub mod ext4;
pub mod fat;
pub mod mem;
pub mod mounted;
pub mod remote;
mod special;
pub mod tree;

pub use special::{DeviceNumber, SpecialFile};

use crate::block::{BlockDevice, FilePart};
use crate::error::Result;
use crate::path::Resolved;
use nix::fcntl::OFlag;
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// The type of a file, as in inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

/// A point in time: seconds since 1970-01-01 UTC and nanoseconds below a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC; may be negative.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What is known of a file apart from its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The type.
    pub file_type: FileType,
    /// The permission bits, 0o0000 to 0o7777.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The size in bytes.
    pub size: u64,
    /// The number of hard links; of a directory on a filesystem that does not count them (btrfs) 1.
    pub links: u32,
    /// The inode number; two paths of one filesystem with the same number are hard links of each other.
    pub inode: u64,
    /// The time of the last change of the content.
    pub mtime: Timestamp,
}

/// An entry of a directory; `.` and `..` are never listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name: 1 to 255 bytes, no slash, no NUL.
    pub name: Vec<u8>,
    /// The type of the file it names.
    pub file_type: FileType,
}

/// An extended attribute as getxattr(2) gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The full name with its namespace: `security.selinux`, `user.comment`.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// The owner and the permission bits that a new file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// The permission bits, 0o0000 to 0o7777.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The attributes to change of an existing file; `None` keeps what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttrs {
    /// The permission bits, 0o0000 to 0o7777.
    pub mode: Option<u16>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The time of the last change of the content.
    pub mtime: Option<Timestamp>,
}

/// What a file is to hold: bytes, or a host file that is read as it is written, never held whole.
#[derive(Clone)]
pub enum Content {
    /// These bytes. They may be a secret: `Debug` gives their number only.
    Bytes(Arc<[u8]>),
    /// Bytes of an open host file.
    HostFile {
        /// The open file.
        file: Arc<File>,
        /// Its path, for messages.
        path: Arc<Path>,
        /// The first byte to take.
        start: u64,
        /// How many bytes to take.
        len: u64,
    },
}

impl Content {
    /// These bytes.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// The whole of a regular host file, opened now.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with_metadata(path).map(|(content, _)| content)
    }

    /// The same, and what the host says of the file.
    pub fn open_with_metadata(path: &Path) -> Result<(Self, std::fs::Metadata)> {
        use crate::error::{Error, ErrorKind, Layer};
        let failed = |error: std::io::Error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let kind = if missing { ErrorKind::NotFound } else { ErrorKind::Io };
            Error::new(kind, Layer::Host, "cannot open the file to upload").with_source(error).with_host_path(path)
        };
        // A pipe is refused below, and not waited for here.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Error::new(ErrorKind::Invalid, Layer::Host, "a directory, and only files are uploaded")
                .with_host_path(path)
                .with_hint("name each file in it with an option of its own"));
        }
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Invalid, Layer::Host, "not a regular file").with_host_path(path));
        }
        Ok((Self::HostFile { file: Arc::new(file), path: path.into(), start: 0, len: metadata.len() }, metadata))
    }

    /// The length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::HostFile { len, .. } => *len,
        }
    }

    /// The `len` bytes of it from `start` on; `Invalid` where they do not all lie in it. Nothing of a host file is read.
    pub fn section(&self, start: u64, len: u64) -> Result<Self> {
        use crate::error::{Error, ErrorKind, Layer};
        let end = start.checked_add(len).filter(|end| *end <= self.len());
        let outside = || Error::new(ErrorKind::Invalid, Layer::Stage, "a part that is not in the content");
        let end = end.ok_or_else(outside)?;
        Ok(match self {
            Self::Bytes(bytes) => Self::bytes(&bytes[start as usize..end as usize]),
            Self::HostFile { file, path, start: first, .. } => {
                let start = first.checked_add(start).ok_or_else(outside)?;
                Self::HostFile { file: Arc::clone(file), path: path.clone(), start, len }
            }
        })
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` with the bytes from `offset`, all inside [`len`](Self::len); a host file that has become shorter
    /// meanwhile is an error of kind `Io`.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        use crate::error::{Error, Layer};
        crate::block::check_range(Layer::Stage, self.len(), offset, buf.len())?;
        match self {
            Self::Bytes(bytes) => {
                let start = offset as usize;
                buf.copy_from_slice(&bytes[start..start + buf.len()]);
                Ok(())
            }
            Self::HostFile { file, path, start, .. } => file
                .read_exact_at(buf, start.saturating_add(offset))
                .map_err(|error| Error::io(Layer::Host, "read the file to upload", error).with_host_path(path)),
        }
    }

    /// The `len` bytes from `offset`, where they are those of a host file.
    pub(crate) fn part(&self, offset: u64, len: u64) -> Option<FilePart> {
        match self {
            Self::Bytes(_) => None,
            Self::HostFile { file, path, start, .. } => {
                let start = start.saturating_add(offset);
                Some(FilePart { file: Arc::clone(file), path: path.to_path_buf(), start, len })
            }
        }
    }
}

impl Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::HostFile { path, len, .. } => write!(f, "HostFile({}, {len} bytes)", path.display()),
        }
    }
}

/// A tree in which a resolved path can be looked up; all that the resolver needs.
pub trait Lookup {
    /// What is known of the file at `at`, of a symbolic link itself; `None` where it, or a directory before it, is
    /// missing. `WrongType` where a component before the last is there and is not a directory.
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>>;

    /// The target of the symbolic link at `at`; `WrongType` where it is something else.
    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>>;
}

/// What a filesystem is, and what it can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// The filesystem's name as mount(8) takes it.
    pub name: &'static str,
    /// Its label, empty where it has none.
    pub label: String,
    /// Its UUID in the usual spelling, empty where it has none.
    pub uuid: String,
    /// The size of a block in bytes.
    pub block_size: u32,
    /// How many bytes the filesystem holds altogether.
    pub total_bytes: u64,
    /// How many bytes are free (to the superuser).
    pub free_bytes: u64,
    /// How many inodes are free; `u64::MAX` where they are made as they are needed.
    pub free_inodes: u64,
    /// The names of the features it was made with, as its own tools print them.
    pub feature_names: Vec<String>,
    /// What opening it had to do first; `None` where it had been unmounted cleanly.
    pub recovered: Option<Recovered>,
}

/// What was done when a filesystem was opened that had not been unmounted cleanly: in memory, for reading; among the
/// changes to be committed, for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// How many transactions of its journal were replayed.
    pub transactions: u32,
    /// How many files without a name were deleted, and how many that were being cut were cut. For reading none is.
    pub orphans: u32,
}

/// What a filesystem keeps of a file beside its name, its time and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Owner, permission bits, extended attributes, and links of both kinds.
    Kept,
    /// None of these: every new file is shown with the one, every new directory with the other.
    Fixed {
        /// What a file is shown with.
        file: Attrs,
        /// What a directory is shown with.
        directory: Attrs,
    },
}

/// A guest filesystem. A driver follows no symbolic link and cannot be handed a path that is not resolved.
///
/// Unless said otherwise a missing path is `NotFound`, an existing one where a new one is made is `Invalid`, a file of
/// another type than needed (or a component before the last that is no directory, a symbolic link included) is
/// `WrongType`, and a filesystem opened read-only answers a change with `Denied`. The root cannot be made, removed or
/// renamed (`Invalid`). After an error of a changing operation the filesystem is not to be used further: the transaction
/// below it is dropped.
pub trait GuestFs: Lookup + Debug {
    /// What the filesystem is.
    fn features(&self) -> Features;

    /// What is kept of files at this path, which need not be there.
    fn ownership(&self, at: &Resolved) -> Ownership;

    /// Which of the filesystems of a tree this path lies in, which need not be there: a file has names, and gets another one,
    /// in one of them alone.
    fn part(&self, at: &Resolved) -> usize;

    /// Reads from a regular file; returns how many bytes were read, fewer than asked only at the end of the file.
    fn read_at(&self, at: &Resolved, buf: &mut [u8], offset: u64) -> Result<usize>;

    /// The entries of a directory, in the order of the directory.
    fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>>;

    /// What a device, a pipe or a socket is; `WrongType` where the file is of another type.
    fn special(&self, at: &Resolved) -> Result<SpecialFile>;

    /// The extended attributes of a file, sorted by name.
    fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>>;

    /// Makes an empty regular file in an existing directory.
    fn create_file(&mut self, at: &Resolved, attrs: Attrs) -> Result<()>;

    /// Makes a directory in an existing directory.
    fn create_dir(&mut self, at: &Resolved, attrs: Attrs) -> Result<()>;

    /// Makes a symbolic link in an existing directory; its mode is 0o777 whatever `attrs` says. A target that is
    /// empty, holds NUL or is longer than the filesystem takes is `Invalid`.
    fn create_symlink(&mut self, at: &Resolved, target: &[u8], attrs: Attrs) -> Result<()>;

    /// Makes a device, a pipe or a socket in an existing directory.
    fn create_special(&mut self, at: &Resolved, special: SpecialFile, attrs: Attrs) -> Result<()>;

    /// Gives the file at `existing` (no directory) the further name `at`.
    fn hard_link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()>;

    /// Replaces the whole content of a regular file, in new blocks; owner, mode and attributes stay.
    fn put(&mut self, at: &Resolved, content: &Content) -> Result<()>;

    /// Adds to the end of a regular file.
    fn append(&mut self, at: &Resolved, content: &Content) -> Result<()>;

    /// Cuts a regular file, or lengthens it with a hole.
    fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()>;

    /// Changes the attributes of a file, of a symbolic link itself. A change of owner leaves the mode alone.
    fn set_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()>;

    /// Sets an extended attribute, whether or not it was there.
    fn set_xattr(&mut self, at: &Resolved, xattr: &Xattr) -> Result<()>;

    /// Removes an extended attribute; `NotFound` where it is not there.
    fn remove_xattr(&mut self, at: &Resolved, name: &[u8]) -> Result<()>;

    /// Removes a file, or an empty directory (`Invalid` where it is not empty).
    fn remove(&mut self, at: &Resolved) -> Result<()>;

    /// Renames as rename(2) does: `to` is replaced where it is a file and `from` is one (a symbolic link counts as a
    /// file), or an empty directory and `from` a directory; two names of one file both stay. A file over a directory or
    /// a directory over a file is `WrongType`; a directory over one that is not empty, or below itself, is `Invalid`.
    fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()>;

    /// Writes everything still held to the volume.
    fn close(self: Box<Self>) -> Result<()>;
}

/// How a filesystem is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For reading: features that matter only to a writer are no obstacle.
    ReadOnly,
    /// For changing: anything that could not be kept consistent is refused now. Every time that the driver sets is
    /// `now`.
    ReadWrite {
        /// The time of all changes.
        now: Timestamp,
    },
}

/// Whether there is a driver for the filesystem of this name (as blkid(8) prints it).
pub fn has_driver(name: &str) -> bool {
    matches!(name, "ext2" | "ext3" | "ext4" | "vfat")
}

/// Where ext4 has its magic number, and which.
const EXT4_MAGIC: (u64, [u8; 2]) = (1080, [0x53, 0xef]);

/// A driver of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Ext4,
    Fat,
}

/// The driver that fits a volume; where none does, the one that says so.
pub(crate) fn driver(volume: &dyn BlockDevice) -> Result<Driver> {
    // The one that is asked for most is known by two bytes.
    let mut magic = [0; 2];
    if volume.size() > EXT4_MAGIC.0 + 1 {
        volume.read_at(&mut magic, EXT4_MAGIC.0)?;
    }
    let is_vfat = || Ok::<_, crate::Error>(crate::volume::probe(volume)?.is_some_and(|found| found.name == "vfat"));
    Ok(if magic != EXT4_MAGIC.1 && is_vfat()? { Driver::Fat } else { Driver::Ext4 })
}

/// Opens the filesystem of a volume with the driver that fits; `Unsupported` names a filesystem that has none.
pub fn open(volume: Arc<dyn BlockDevice>, mode: Mode) -> Result<Box<dyn GuestFs>> {
    Ok(match driver(&*volume)? {
        Driver::Ext4 => Box::new(ext4::Ext4::open(volume, mode)?),
        Driver::Fat => Box::new(fat::Fat::open(volume, mode)?),
    })
}

/// Reads a whole regular file of at most `limit` bytes; `Unsupported` where it is larger.
pub fn read_file(fs: &(impl GuestFs + ?Sized), at: &Resolved, limit: u64) -> Result<Vec<u8>> {
    use crate::error::{Error, ErrorKind, Layer};
    let metadata = fs.lookup(at)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, Layer::Filesystem, "no such file").with_guest_path(at.as_bytes())
    })?;
    if metadata.file_type != FileType::Regular {
        return Err(
            Error::new(ErrorKind::WrongType, Layer::Filesystem, "not a regular file").with_guest_path(at.as_bytes())
        );
    }
    if metadata.size > limit {
        return Err(Error::unsupported(
            Layer::Filesystem,
            format!("{} bytes is more than the {limit} that are read here", metadata.size),
        )
        .with_guest_path(at.as_bytes()));
    }
    let mut bytes = vec![0; metadata.size as usize];
    let read = fs.read_at(at, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
