//! The image as a regular file of the host, or a block device.

use super::host::{Growth, Host, Sidecar, Stamp, Time};
use super::identity::Identity;
use super::loop_file::LoopFile;
use super::places::Places;
use super::sidecar::{FileSidecar, StateDir};
use super::{Access, device, lock};
use crate::error::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, OpenHow, ResolveFlag, fallocate, open, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// An image in a regular file or on a block device, opened and locked.
#[derive(Debug)]
pub struct FileHost {
    path: PathBuf,
    file: File,
    kind: Kind,
    own: Identity,
    /// The file under a loop device, locked.
    under: Option<File>,
    /// The directory that the image lies in; none that anything could be put into, of a device.
    directory: Option<PathBuf>,
    /// The image's name in that directory, which is open.
    named: Option<(File, OsString)>,
    journal: FileSidecar,
}

/// What holds the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    /// Its size is what it is, and nothing tells when it was written to last.
    Device,
}

impl FileHost {
    /// Opens and locks the regular file or block device at `path`, which may be a symlink to it.
    ///
    /// A device is opened exclusively: one that is mounted, or that is a part of something, is `InUse`. The journal lies
    /// where `state` says. `NotFound`, `WrongType` (a directory, a pipe), `Unsupported` (a character device, a filesystem
    /// without locks, a block device without a state directory), `Denied` (no permission) and `InUse`, also where a
    /// journal of the image lies in another place.
    pub fn open(path: &Path, access: Access, state: &StateDir) -> Result<Self> {
        let real = fs::canonicalize(path).map_err(|e| cannot("open the image", path, e))?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(wrong_type(path, "a directory"));
        };
        // The kind is looked at before the open, which alone can wake a device or wait for a pipe's other end.
        let found = fs::symlink_metadata(&real).map_err(|e| cannot("open the image", path, e))?;
        let flags = match acceptable(path, found.mode())? {
            SFlag::S_IFBLK => OFlag::O_EXCL,
            _ => OFlag::empty(),
        };
        // A place to stand on: images often lie in directories that their users may enter and not list.
        let directory = open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| cannot("open the directory of the image", path, errno.into()))?;
        let flags = flags
            | match access {
                Access::Read => OFlag::O_RDONLY,
                Access::Write => OFlag::O_RDWR,
            };
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let file = openat(&directory, name, flags, Mode::empty()).map_err(|errno| {
            denied(path, access, errno).unwrap_or_else(|| cannot("open the image", path, errno.into()))
        })?;
        let stat = fstat(&file).map_err(|e| cannot("open the image", path, e.into()))?;
        let block = acceptable(path, stat.st_mode)? == SFlag::S_IFBLK;
        let file = File::from(file);
        lock::lock(&file, access)
            .and_then(|()| lock::still_named(&file, &directory, name))
            .map_err(|error| error.with_host_path(path))?;
        let path = path.to_path_buf();
        if block {
            return Self::device(path, file, stat.st_rdev, &real, access, state);
        }
        Self::regular(path, file, File::from(directory), &real, access, state)
    }

    /// A block device that is open and locked, at `real`.
    ///
    /// Of a loop device the file is locked too. Where the device is all of it, its journal is the file's.
    fn device(path: PathBuf, file: File, number: u64, real: &Path, access: Access, state: &StateDir) -> Result<Self> {
        let failed = |error| cannot("open the image", &path, error);
        let size = (&file).seek(SeekFrom::End(0)).map_err(failed)?;
        let identity = device::identity(number, real);
        let (own, places, under) = match LoopFile::under(&file, number) {
            None => {
                let start = device::start(&device::place(number)).unwrap_or_default();
                let own = Identity::of_device(&identity, &device::whole(number, real), start);
                (own, Places::of_device(&path, state, &identity)?, None)
            }
            Some(under) => {
                let all = under.is_all(size);
                let LoopFile { file: bytes, path: below, directory, start, device, .. } = under;
                lock::lock_under(&bytes, access, &device).map_err(|error| error.with_host_path(&below))?;
                let whole = Identity::of_file(&bytes).map_err(failed)?;
                let places = Places::of_file(&bytes, directory, &below, state).map_err(failed)?;
                match all {
                    true => (whole, places, Some(bytes)),
                    false => {
                        let own = whole.part(&identity, start);
                        (own, Places::of_part(&path, state, &identity, places)?, Some(bytes))
                    }
                }
            }
        };
        let journal = places.settle(&path, own, size, access)?;
        Ok(Self { path, file, kind: Kind::Device, own, under, directory: None, named: None, journal })
    }

    /// A regular file that is open and locked, at `real` in a directory that is open.
    fn regular(
        path: PathBuf,
        file: File,
        directory: File,
        real: &Path,
        access: Access,
        state: &StateDir,
    ) -> Result<Self> {
        let failed = |error| cannot("open the image", &path, error);
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(wrong_type(&path, "a directory"));
        };
        let metadata = file.metadata().map_err(failed)?;
        let own = Identity::of_file(&file).map_err(failed)?;
        let named = Some((directory.try_clone().map_err(failed)?, name.to_os_string()));
        let places = Places::of_file(&file, directory, real, state).map_err(failed)?;
        let journal = places.settle(&path, own, metadata.len(), access)?;
        let directory = Some(parent.to_path_buf());
        Ok(Self { path, file, kind: Kind::Regular, own, under: None, directory, named, journal })
    }

    /// Opens and locks the regular file at `below` in the directory `root`; its journal lies where `state` says. No link is
    /// followed on the way from there, and the way does not lead out. Both paths have their links followed already; `shown` is
    /// for messages.
    pub(crate) fn open_beneath(
        root: &Path,
        below: &Path,
        shown: &Path,
        access: Access,
        state: &StateDir,
    ) -> Result<Self> {
        let failed = |errno: Errno| cannot("open the file", shown, errno.into());
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(wrong_type(shown, "a directory"));
        };
        let root_fd =
            open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        let confined =
            ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let at = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let directory = openat2(&root_fd, at, OpenHow::new().flags(flags).resolve(confined)).map_err(failed)?;
        let found = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        regular(shown, found.st_mode)?;
        let flags = match access {
            Access::Read => OFlag::O_RDONLY,
            Access::Write => OFlag::O_RDWR,
        };
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let file = openat2(&directory, name, OpenHow::new().flags(flags).resolve(confined))
            .map_err(|errno| denied(shown, access, errno).unwrap_or_else(|| failed(errno)))?;
        let stat = fstat(&file).map_err(failed)?;
        regular(shown, stat.st_mode)?;
        let file = File::from(file);
        lock::lock(&file, access)
            .and_then(|()| lock::still_named(&file, &directory, name))
            .map_err(|error| error.with_host_path(shown))?;
        Self::regular(shown.to_path_buf(), file, File::from(directory), &root.join(below), access, state)
    }

    /// Device and inode number: what no two files share.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// The directory in which the image lies, where it is a file.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

fn cannot(operation: &str, path: &Path, source: io::Error) -> Error {
    let error = match source.kind() {
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, Layer::Host, "there is no such file"),
        io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, Layer::Host, "a part of the path is not a directory")
        }
        io::ErrorKind::PermissionDenied => {
            Error::new(ErrorKind::Denied, Layer::Host, format!("no permission to {operation}")).with_source(source)
        }
        _ => Error::io(Layer::Host, operation, source),
    };
    error.with_host_path(path)
}

fn denied(path: &Path, access: Access, errno: Errno) -> Option<Error> {
    let (message, hint) = match (errno, access) {
        (Errno::EACCES | Errno::EPERM, Access::Write) => {
            ("no permission to write to the image", "give this user write permission, or work on a copy")
        }
        (Errno::EACCES | Errno::EPERM, Access::Read) => {
            ("no permission to read the image", "give this user read permission, or work on a copy")
        }
        (Errno::EROFS, _) => ("the image lies on a filesystem that is mounted read-only", "work on a copy"),
        (Errno::EBUSY, _) => {
            let message = "the image is in use: the host has mounted the device, or it is a part of another one";
            let error = Error::new(ErrorKind::InUse, Layer::Host, message).with_host_path(path);
            return Some(error.with_hint("unmount it, or end what uses it (lsblk shows what), and run this again"));
        }
        (Errno::ETXTBSY, _) => ("the host has the file in use", "work on a copy"),
        _ => return None,
    };
    let error = Error::new(ErrorKind::Denied, Layer::Host, message).with_hint(hint);
    Some(error.with_host_path(path).with_source(io::Error::from(errno)))
}

fn wrong_type(path: &Path, what: &str) -> Error {
    let message = format!("the image is {what}, not a regular file");
    Error::new(ErrorKind::WrongType, Layer::Host, message).with_host_path(path)
}

/// Fails unless the mode is that of a regular file.
fn regular(path: &Path, mode: u32) -> Result<()> {
    match acceptable(path, mode)? {
        SFlag::S_IFBLK => {
            let message = "a block device is not taken here";
            Err(Error::unsupported(Layer::Host, message).with_host_path(path).with_hint("name a regular file"))
        }
        _ => Ok(()),
    }
}

/// The type in a mode: a regular file or a block device; anything else fails.
fn acceptable(path: &Path, mode: u32) -> Result<SFlag> {
    match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        kind @ (SFlag::S_IFREG | SFlag::S_IFBLK) => Ok(kind),
        SFlag::S_IFCHR => {
            let message = "the image is a character device; files and block devices are supported";
            Err(Error::unsupported(Layer::Host, message).with_host_path(path))
        }
        SFlag::S_IFDIR => Err(wrong_type(path, "a directory")),
        SFlag::S_IFIFO => Err(wrong_type(path, "a named pipe")),
        SFlag::S_IFSOCK => Err(wrong_type(path, "a socket")),
        _ => Err(wrong_type(path, "a special file")),
    }
}

impl Host for FileHost {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> io::Result<u64> {
        match self.kind {
            Kind::Regular => Ok(self.file.metadata()?.len()),
            Kind::Device => (&self.file).seek(SeekFrom::End(0)),
        }
    }

    fn growth(&self) -> Growth {
        match self.kind {
            Kind::Regular => Growth::Possible,
            Kind::Device => Growth::Impossible,
        }
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let identity = self.own;
        if self.kind == Kind::Device {
            return Ok(Stamp { identity, time: None });
        }
        let metadata = self.file.metadata()?;
        let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
        Ok(Stamp { identity, time: Some(Time { seconds: metadata.mtime(), nanos }) })
    }

    fn still_named(&self) -> Result<()> {
        let Some((directory, name)) = &self.named else { return Ok(()) };
        lock::still_named(&self.file, directory, name).map_err(|error| error.with_host_path(&self.path))
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        let (offset, len) = signed(offset, len)?;
        let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Blocks that a reflinked copy shares take new room when they are written; few filesystems know the flag.
        match fallocate(&self.file, keep | FallocateFlags::FALLOC_FL_UNSHARE_RANGE, offset, len) {
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(fallocate(&self.file, keep, offset, len)?),
            result => Ok(result?),
        }
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let (offset, len) = signed(offset, len)?;
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(&self.file, flags, offset, len)?)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync, which makes a new length durable as well.
        self.file.sync_data()
    }

    fn set_modified(&self, time: Time) -> io::Result<()> {
        self.file.set_modified(time.into())
    }

    fn journal(&self) -> &dyn Sidecar {
        &self.journal
    }
}

fn signed(offset: u64, len: u64) -> io::Result<(i64, i64)> {
    match (i64::try_from(offset), i64::try_from(len)) {
        (Ok(offset), Ok(len)) => Ok((offset, len)),
        _ => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

impl Drop for FileHost {
    fn drop(&mut self) {
        lock::unlock(&self.file);
        if let Some(under) = &self.under {
            lock::unlock(under);
        }
    }
}
