//! The image as a regular file of the host, or a block device.

use super::host::{Growth, Host, Place, Sidecar, Stamp, Time};
use super::sidecar::{Chosen, FileSidecar, Owner, StateDir, number};
use super::{Access, device, lock};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::shell;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, OpenHow, ResolveFlag, fallocate, open, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// An image in a regular file or on a block device, opened and locked.
#[derive(Debug)]
pub struct FileHost {
    path: PathBuf,
    file: File,
    kind: Kind,
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
    Device {
        /// Stands for the device, whatever it is called.
        number: u64,
    },
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
            let identity = device::identity(stat.st_rdev, &real);
            let journal = of_device(&path, state, &identity)?;
            let kind = Kind::Device { number: number(&identity) };
            return Ok(Self { path, file, kind, directory: None, named: None, journal });
        }
        Self::regular(path, file, File::from(directory), &real, state)
    }

    /// A regular file that is open and locked, at `real` in a directory that is open.
    fn regular(path: PathBuf, file: File, directory: File, real: &Path, state: &StateDir) -> Result<Self> {
        let failed = |error| cannot("open the image", &path, error);
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(wrong_type(&path, "a directory"));
        };
        let metadata = file.metadata().map_err(failed)?;
        let owner = Owner::of(&file, &metadata);
        let named = Some((directory.try_clone().map_err(failed)?, name.to_os_string()));
        let beside = FileSidecar::beside(parent, name, directory, owner);
        let in_state = |directory, chosen| FileSidecar::state(directory, chosen, name, real.as_os_str().as_bytes());
        let (journal, other) = match (&state.chosen, &state.usual) {
            (Some(chosen), _) => (in_state(chosen, Chosen::ByCaller), Some(beside)),
            (None, Some(usual)) => (beside, Some(in_state(usual, Chosen::AsUsual))),
            (None, None) => (beside, None),
        };
        nothing_elsewhere(&path, other)?;
        Ok(Self { path, file, kind: Kind::Regular, directory: Some(parent.to_path_buf()), named, journal })
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
        Self::regular(shown.to_path_buf(), file, File::from(directory), &root.join(below), state)
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

/// The journal of the block device at `path`.
fn of_device(path: &Path, state: &StateDir, identity: &[u8]) -> Result<FileSidecar> {
    let name = OsStr::new("device");
    let usual = state.usual.as_deref().map(|usual| FileSidecar::state(usual, Chosen::AsUsual, name, identity));
    match &state.chosen {
        Some(chosen) => {
            nothing_elsewhere(path, usual.filter(|_| state.usual != state.chosen))?;
            Ok(FileSidecar::state(chosen, Chosen::ByCaller, name, identity))
        }
        None => usual.ok_or_else(|| {
            let message = "beside a block device there is no place for the journal that makes a commit safe";
            Error::unsupported(Layer::Host, message).with_host_path(path).with_hint("name one: --state-dir DIR")
        }),
    }
}

/// Fails where a journal of the image at `path` lies in a place where this run does not look.
fn nothing_elsewhere(path: &Path, other: Option<FileSidecar>) -> Result<()> {
    let Some(other) = other.filter(|other| fs::symlink_metadata(other.path()).is_ok()) else { return Ok(()) };
    let journal = other.path().display().to_string();
    let message = format!("an interrupted run has left the journal {journal}, and this run looks in another place");
    let option = match (other.place(), other.path().parent()) {
        (Place::Beside, _) | (_, None) => String::new(),
        (_, Some(directory)) => format!(" --state-dir {}", shell::word(directory)),
    };
    Err(Error::new(ErrorKind::InUse, Layer::Transaction, message)
        .with_host_path(path)
        .with_hint(format!("run: imgraft recover{option} {}", shell::word(path))))
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
            Kind::Device { .. } => (&self.file).seek(SeekFrom::End(0)),
        }
    }

    fn growth(&self) -> Growth {
        match self.kind {
            Kind::Regular => Growth::Possible,
            Kind::Device { .. } => Growth::Impossible,
        }
    }

    fn stamp(&self) -> io::Result<Stamp> {
        if let Kind::Device { number } = self.kind {
            return Ok(Stamp { inode: number, time: None });
        }
        let metadata = self.file.metadata()?;
        let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
        Ok(Stamp { inode: metadata.ino(), time: Some(Time { seconds: metadata.mtime(), nanos }) })
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
    }
}
