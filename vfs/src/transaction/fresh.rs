//! A new file that appears whole or not at all.

use super::changes::{self, CHUNK};
use super::overlay::Overlay;
use super::{Access, IoCounts, lock};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What happens to a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the new file is refused.
    Refuse,
    /// The new file takes its place, in one step.
    Replace,
}

/// How far a copy is: bytes done, and bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// A file without a name, or with a temporary one, until [`publish`](Self::publish) gives it its own.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    name: OsString,
    directory: File,
    file: File,
    /// The temporary name, on a filesystem without nameless files.
    temporary: Option<OsString>,
    existing: Existing,
    /// The file that it replaces, locked, so that nobody begins to use that one meanwhile.
    replaced: Option<File>,
}

impl NewFile {
    /// Begins the file that is to be `path`; its mode is 0600 until it is published.
    ///
    /// A file that it replaces is locked until this one has its name. `Denied` where there is one and `existing` refuses
    /// it, or no permission to write to the directory; `InUse` where somebody uses that one; `NotFound` where there is no
    /// such directory; `WrongType` where the name is that of something other than a regular file.
    pub fn create(path: &Path, existing: Existing) -> Result<Self> {
        let failed = |errno: Errno| cannot("create the file", path, errno.into());
        // "new/" and "new/." have a last component, but are names of a directory.
        let Some(name) = path.file_name().filter(|name| path.as_os_str().as_bytes().ends_with(name.as_bytes())) else {
            let error = Error::new(ErrorKind::Invalid, Layer::Host, "this is no name of a new file");
            return Err(error.with_host_path(path).with_hint("name a file, not a directory"));
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = File::from(
            open(parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?,
        );
        let replaced = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(cannot("create the file", path, error)),
            Ok(metadata) if !metadata.is_file() => {
                let error = Error::new(ErrorKind::WrongType, Layer::Host, "this is there, and is not a regular file");
                return Err(error.with_host_path(path).with_hint("choose another name"));
            }
            Ok(_) if existing == Existing::Refuse => return Err(taken(path)),
            // Whoever uses it, this run with an image of its own included, would lose it.
            Ok(_) => {
                let there = File::open(path).map_err(|e| cannot("open the file", path, e))?;
                lock::lock(&there, Access::Write).map_err(|error| match error.kind() {
                    ErrorKind::InUse => error.with_host_path(path).with_hint(REPLACES_USED),
                    _ => error.with_host_path(path),
                })?;
                lock::still_named(&there, &directory, name).map_err(|error| error.with_host_path(path))?;
                Some(there)
            }
        };
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
        let (file, temporary) = match openat(&directory, ".", flags, mode) {
            Ok(file) => (file, None),
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOENT) => {
                let temporary = temporary_name(name);
                let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                (openat(&directory, temporary.as_os_str(), flags, mode).map_err(failed)?, Some(temporary))
            }
            Err(errno) => return Err(failed(errno)),
        };
        let file = File::from(file);
        Ok(Self { path: path.to_path_buf(), name: name.to_owned(), directory, file, temporary, existing, replaced })
    }

    /// The path that the file is to have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file a copy of another with what an overlay holds over it: by reflink where the host can, else byte for
    /// byte, holes left out.
    ///
    /// The bytes copied are not counted.
    pub(super) fn fill(&self, from: &File, overlay: &Overlay, progress: Progress<'_>) -> Result<IoCounts> {
        if rustix::fs::ioctl_ficlone(&self.file, from).is_err() {
            self.copy(from, overlay.base_size(), progress)?;
        }
        self.put(overlay, &changes::changed(overlay)?)
    }

    /// Makes the file all that the overlay shows.
    pub fn fill_with(&self, overlay: &Overlay) -> Result<IoCounts> {
        let whole = 0..overlay.size();
        self.put(overlay, &[whole])
    }

    /// Gives the file a size; what it grows by is zero.
    pub fn set_size(&self, size: u64) -> Result<()> {
        self.file.set_len(size).map_err(|e| self.failed("set the size of the file", e))
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| self.failed("write the file", e))
    }

    /// Writes these ranges, but for what is zero anyway, and gives the file the overlay's size.
    fn put(&self, overlay: &Overlay, ranges: &[Range<u64>]) -> Result<IoCounts> {
        let mut counts = IoCounts::default();
        let mut buf = Vec::new();
        let old_end = self.file.metadata().map_err(|e| self.failed("look at the file", e))?.len();
        for range in ranges {
            for (at, len) in changes::chunks(range) {
                buf.resize(len, 0);
                overlay.read_at(&mut buf, at)?;
                for (piece, bytes) in (at..).step_by(HOLE).zip(buf.chunks(HOLE)) {
                    if piece < old_end || bytes.iter().any(|&byte| byte != 0) {
                        self.file.write_all_at(bytes, piece).map_err(|e| self.failed("write the file", e))?;
                        counts.writes += 1;
                        counts.bytes_written += bytes.len() as u64;
                    }
                }
            }
        }
        self.file.set_len(overlay.size()).map_err(|e| self.failed("set the size of the file", e))?;
        // File and directory, when it is published.
        counts.fsyncs += 2;
        Ok(counts)
    }

    fn copy(&self, from: &File, size: u64, progress: Progress<'_>) -> Result<()> {
        use rustix::fs::{SeekFrom, copy_file_range, seek};
        let failed = |e: rustix::io::Errno| self.failed("copy the image", e.into());
        self.file.set_len(size).map_err(|e| self.failed("set the size of the file", e))?;
        let mut at = 0;
        progress(0, size);
        while at < size {
            // A filesystem that knows no holes says that all is data.
            let data = match seek(from, SeekFrom::Data(at)) {
                Ok(data) => data.min(size),
                Err(rustix::io::Errno::NXIO) => break,
                Err(rustix::io::Errno::INVAL) => at,
                Err(errno) => return Err(failed(errno)),
            };
            let end = seek(from, SeekFrom::Hole(data)).map_or(size, |end| end.min(size)).max(data);
            let (mut read, mut write) = (data, data);
            while read < end {
                let len = usize::try_from(end - read).map_or(COPY, |len| len.min(COPY));
                let copied = match copy_file_range(from, Some(&mut read), &self.file, Some(&mut write), len) {
                    Ok(copied) => copied,
                    // Across filesystems, and where the kernel or the filesystem does not know it.
                    Err(
                        rustix::io::Errno::XDEV
                        | rustix::io::Errno::OPNOTSUPP
                        | rustix::io::Errno::NOSYS
                        | rustix::io::Errno::INVAL,
                    ) => {
                        let mut buf = vec![0; len.min(CHUNK)];
                        from.read_exact_at(&mut buf, read).map_err(|e| self.failed("read the image", e))?;
                        // A block device does not say where it holds nothing but zeros.
                        if buf.iter().any(|&byte| byte != 0) {
                            self.file.write_all_at(&buf, write).map_err(|e| self.failed("write the file", e))?;
                        }
                        read += buf.len() as u64;
                        write += buf.len() as u64;
                        buf.len()
                    }
                    Err(errno) => return Err(failed(errno)),
                };
                if copied == 0 {
                    return Err(self.failed("copy the image", io::ErrorKind::UnexpectedEof.into()));
                }
                progress(read, size);
            }
            at = end.max(at + 1);
        }
        progress(size, size);
        Ok(())
    }

    /// Makes the file durable and gives it its name, in one step; then the name is durable too.
    ///
    /// `mode` is its permission bits; `Denied` where the name has been taken meanwhile.
    pub fn publish(mut self, mode: u32) -> Result<()> {
        self.give_name(mode)
    }

    /// The same, for a file that more is to be written to.
    pub(super) fn publish_and_keep(mut self, mode: u32) -> Result<Self> {
        self.give_name(mode)?;
        Ok(self)
    }

    /// Takes the name of a published file away again, durably.
    pub(super) fn unpublish(self) -> Result<()> {
        let name = self.name.as_os_str();
        unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| self.failed("remove the file", errno.into()))?;
        self.sync_name()
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.failed("make the file durable", e))
    }

    fn give_name(&mut self, mode: u32) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let permissions = fs::Permissions::from_mode(mode & 0o777);
        self.file.set_permissions(permissions).map_err(|e| self.failed("set the mode of the file", e))?;
        self.sync()?;
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None if self.existing == Existing::Refuse => {
                self.link(&self.name.clone())?;
                return self.keep_name();
            }
            None => {
                let temporary = temporary_name(&self.name);
                self.link(&temporary)?;
                temporary
            }
        };
        let (from, to) = (temporary.as_os_str(), self.name.as_os_str());
        let renamed = match self.existing {
            Existing::Refuse => {
                // A second name, which fails where it is taken, and then the first one goes.
                linkat(&self.directory, from, &self.directory, to, AtFlags::empty()).and_then(|()| {
                    let gone = unlinkat(&self.directory, from, UnlinkatFlags::NoRemoveDir);
                    gone.inspect_err(|_| self.withdraw())
                })
            }
            Existing::Replace => renameat(&self.directory, from, &self.directory, to),
        };
        if let Err(errno) = renamed {
            self.temporary = Some(temporary);
            return Err(match errno {
                Errno::EEXIST => taken(&self.path),
                errno => self.failed("give the file its name", errno.into()),
            });
        }
        match self.existing {
            Existing::Refuse => self.keep_name(),
            // The old file is gone: without the new one there would be none.
            Existing::Replace => self.sync_name(),
        }
    }

    /// Makes the name durable, or takes it away: after an error there is no file.
    fn keep_name(&self) -> Result<()> {
        self.sync_name().inspect_err(|_| self.withdraw())
    }

    fn withdraw(&self) {
        if let Err(error) = unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            tracing::warn!(%error, path = %self.path.display(), "a new file that is not to be could not be removed");
        }
    }

    fn link(&self, name: &OsStr) -> Result<()> {
        // A file without a name is reached through its descriptor; AT_EMPTY_PATH would need a capability.
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let linked = linkat(AT_FDCWD, &descriptor, &self.directory, name, AtFlags::AT_SYMLINK_FOLLOW);
        linked.map_err(|errno| match errno {
            Errno::EEXIST => taken(&self.path),
            errno => self.failed("give the file its name", errno.into()),
        })
    }

    fn sync_name(&self) -> Result<()> {
        self.directory.sync_all().map_err(|e| self.failed("make the name of the file durable", e))
    }

    fn failed(&self, operation: &str, source: io::Error) -> Error {
        super::base::explain(operation, source).with_host_path(&self.path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary
            && let Err(error) = unlinkat(&self.directory, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir)
        {
            tracing::warn!(%error, name = %temporary.display(), "a temporary file could not be removed");
        }
        if let Some(replaced) = &self.replaced {
            lock::unlock(replaced);
        }
    }
}

const REPLACES_USED: &str = "choose another name; if neither the image nor one that it lies over is this file, end the \
                             program that has it open, and run this again";

/// Pieces of zeros of this size are left out of a new file, in bytes.
const HOLE: usize = 4096;

/// The most bytes that one call copies.
const COPY: usize = 16 << 20;

fn temporary_name(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    // With what is added it has to be a name too.
    temporary.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(200)]));
    temporary.push(format!(".{:016x}.imgraft-new", RandomState::new().hash_one(0)));
    temporary
}

fn taken(path: &Path) -> Error {
    Error::new(ErrorKind::Denied, Layer::Host, "there is a file of this name already")
        .with_host_path(path)
        .with_hint("choose another name, or say --force to replace it")
}

fn cannot(operation: &str, path: &Path, source: io::Error) -> Error {
    let error = match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::new(ErrorKind::NotFound, Layer::Host, "there is no such directory")
        }
        io::ErrorKind::PermissionDenied => {
            Error::new(ErrorKind::Denied, Layer::Host, format!("no permission to {operation}")).with_source(source)
        }
        _ => Error::io(Layer::Host, operation, source),
    };
    error.with_host_path(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_made_durable_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let place = || {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            // Names can be made in it, and it cannot be synced.
            File::from(open(dir.path(), flags, Mode::empty()).unwrap())
        };
        for temporary in [None, Some(OsString::from("temporary"))] {
            let mut new = NewFile::create(&path, Existing::Refuse).unwrap();
            new.directory = place();
            if let Some(name) = &temporary {
                new.link(name).unwrap();
            }
            new.temporary = temporary;
            new.publish(0o600).unwrap_err();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
        // What replaces another file stays.
        fs::write(&path, "old").unwrap();
        let mut new = NewFile::create(&path, Existing::Replace).unwrap();
        new.directory = place();
        new.publish(0o600).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }
}
