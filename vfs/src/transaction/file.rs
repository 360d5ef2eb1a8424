//! The image as a regular file of the host.

use super::host::{Host, Sidecar, Stamp};
use super::{Access, lock};
use crate::error::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, OpenHow, ResolveFlag, fallocate, open, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An image in a regular file, opened and locked.
#[derive(Debug)]
pub struct FileHost {
    path: PathBuf,
    file: File,
    journal: FileSidecar,
}

/// The journal `.NAME.imgraft-journal` in the directory of the image.
///
/// It holds what was going to be written into the guest, secrets included: its mode is 0600.
#[derive(Debug)]
pub struct FileSidecar {
    path: PathBuf,
    name: OsString,
    directory: File,
    image_owner: u32,
    file: Mutex<Option<File>>,
}

impl FileHost {
    /// Opens and locks the regular file at `path`, which may be a symlink to it.
    ///
    /// `NotFound`, `WrongType` (a directory, a pipe), `Unsupported` (a device, a filesystem without locks), `Denied` (no
    /// permission) and `InUse`.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        let real = fs::canonicalize(path).map_err(|e| cannot("open the image", path, e))?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(wrong_type(path, "a directory"));
        };
        // The kind is looked at before the open, which alone can wake a device or wait for a pipe's other end.
        let found = fs::symlink_metadata(&real).map_err(|e| cannot("open the image", path, e))?;
        regular(path, found.mode())?;
        // A place to stand on: images often lie in directories that their users may enter and not list.
        let directory = open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| cannot("open the directory of the image", path, errno.into()))?;
        let flags = match access {
            Access::Read => OFlag::O_RDONLY,
            Access::Write => OFlag::O_RDWR,
        };
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let file = openat(&directory, name, flags, Mode::empty()).map_err(|errno| {
            denied(path, access, errno).unwrap_or_else(|| cannot("open the image", path, errno.into()))
        })?;
        let stat = fstat(&file).map_err(|e| cannot("open the image", path, e.into()))?;
        regular(path, stat.st_mode)?;
        let file = File::from(file);
        lock::lock(&file, access).map_err(|error| error.with_host_path(path))?;
        let journal = FileSidecar::new(parent, name, File::from(directory), stat.st_uid);
        Ok(Self { path: path.to_path_buf(), file, journal })
    }

    /// Opens for reading, and locks, the regular file at `below` in the directory `root`: no link is followed on the way
    /// from there, and the way does not lead out. Both paths have their links followed already; `shown` is for messages.
    pub(crate) fn open_beneath(root: &Path, below: &Path, shown: &Path) -> Result<Self> {
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
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let file = openat2(&directory, name, OpenHow::new().flags(flags).resolve(confined))
            .map_err(|errno| denied(shown, Access::Read, errno).unwrap_or_else(|| failed(errno)))?;
        let stat = fstat(&file).map_err(failed)?;
        regular(shown, stat.st_mode)?;
        let file = File::from(file);
        lock::lock(&file, Access::Read).map_err(|error| error.with_host_path(shown))?;
        let journal = FileSidecar::new(&root.join(parent), name, File::from(directory), stat.st_uid);
        Ok(Self { path: shown.to_path_buf(), file, journal })
    }

    /// Device and inode number: what no two files share.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// The directory in which the image lies.
    pub fn directory(&self) -> Option<&Path> {
        self.journal.path.parent()
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
    let device = |what| {
        let message = format!("the image is a {what} device, and only images in files are supported");
        Err(Error::unsupported(Layer::Host, message).with_host_path(path))
    };
    match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => Ok(()),
        SFlag::S_IFBLK => device("block"),
        SFlag::S_IFCHR => device("character"),
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
        Ok(self.file.metadata()?.len())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let metadata = self.file.metadata()?;
        Ok(Stamp {
            inode: metadata.ino(),
            modified: metadata.mtime(),
            modified_nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        })
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

impl FileSidecar {
    fn new(parent: &Path, image: &OsStr, directory: File, image_owner: u32) -> Self {
        let mut name = OsString::from(".");
        name.push(image);
        name.push(".imgraft-journal");
        Self { path: parent.join(&name), name, directory, image_owner, file: Mutex::new(None) }
    }

    fn opened(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        self.opened().as_mut().map_or_else(|| Err(io::ErrorKind::NotFound.into()), act)
    }

    fn denied(&self, message: &str) -> Error {
        Error::new(ErrorKind::Denied, Layer::Transaction, message)
            .with_host_path(&self.path)
            .with_hint("nothing of it was used: find out who made it, and remove it")
    }

    /// Only what this tool makes, made by somebody who can write to the image anyway, may change the image.
    fn trust(&self, stat: &FileStat) -> Result<()> {
        if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFREG {
            return Err(self.denied("this has the name of the image's journal and is not a regular file"));
        }
        if stat.st_uid != self.image_owner && stat.st_uid != geteuid().as_raw() {
            return Err(self.denied("the journal belongs neither to the owner of the image nor to this user"));
        }
        if stat.st_mode & 0o022 != 0 || stat.st_nlink != 1 {
            return Err(self.denied("others can write to the journal"));
        }
        Ok(())
    }
}

impl Sidecar for FileSidecar {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<Option<u64>> {
        let failed = |errno: Errno| cannot("open the journal", &self.path, errno.into());
        let name = self.name.as_os_str();
        match fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => self.trust(&stat)?,
            Err(Errno::ENOENT) => return Ok(None),
            // No journal has a name that is too long for the filesystem.
            Err(Errno::ENAMETOOLONG) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let file = openat(&self.directory, name, flags, Mode::empty()).map_err(failed)?;
        let stat = fstat(&file).map_err(failed)?;
        self.trust(&stat)?;
        *self.opened() = Some(File::from(file));
        Ok(Some(u64::try_from(stat.st_size).unwrap_or_default()))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|file| file.read_exact_at(buf, offset))
    }

    fn create(&self) -> io::Result<()> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.directory, self.name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        *self.opened() = Some(File::from(file));
        Ok(())
    }

    fn append(&self, buf: &[u8]) -> io::Result<()> {
        self.with(|file| file.write_all(buf))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|file| file.sync_all())
    }

    fn clear(&self) -> io::Result<()> {
        // What recovery has open is open for reading.
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        File::from(openat(&self.directory, self.name.as_os_str(), flags, Mode::empty())?).sync_all()
    }

    fn remove(&self) -> io::Result<()> {
        unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
        *self.opened() = None;
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        File::from(openat(&self.directory, ".", flags, Mode::empty())?).sync_all()
    }
}
