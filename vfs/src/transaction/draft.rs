//! A file that has no name yet, and the directory that is to have it.

use super::fresh::Existing;
use super::lock;
use crate::error::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, linkat, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

/// A new file until it has its name.
///
/// A trait, so that tests can record what is written and made durable in which order, build every state that a crash could
/// leave, and let any single call fail.
pub(super) trait Draft: Debug + Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Writes all of `buf` at byte `offset`; a write past the end lengthens the file.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or lengthens (with zeros) the file to `size` bytes.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes it all of another file, whose room it shares; fails where the host cannot do that.
    fn reflink(&self, from: &File) -> io::Result<()>;

    /// Copies at most `len` bytes that stand at byte `at` of another file to the same place, and gives how many they were;
    /// `Unsupported` where the host cannot.
    fn copy(&self, from: &File, at: u64, len: usize) -> io::Result<usize>;

    /// Sets its permission bits.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// Makes the file durable.
    fn sync(&self) -> io::Result<()>;

    /// Gives a file without a name this one; fails where that is taken.
    fn link(&self, name: &OsStr) -> io::Result<()>;

    /// Gives the file another name, in one step.
    fn rename(&self, from: &OsStr, to: &OsStr, existing: Existing) -> io::Result<()>;

    /// Takes a name away.
    fn unlink(&self, name: &OsStr) -> io::Result<()>;

    /// Makes the names in the directory durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// What a new file is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// Nothing: it is gone with the last descriptor.
    Nameless,
    /// It has the temporary name.
    Temporary,
    /// It has its own name.
    Published,
}

/// The file on the host. It is locked: a temporary name of an unlocked file is a leftover.
#[derive(Debug)]
pub(super) struct FileDraft {
    pub(super) directory: File,
    pub(super) file: File,
}

impl FileDraft {
    /// Makes the file: without a name where the filesystem knows such files, else with the temporary one.
    pub(super) fn create(directory: File, temporary: &OsStr) -> Result<(Self, Naming)> {
        remove_leftover(&directory, temporary)?;
        let flags = OFlag::O_RDWR | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
        match openat(&directory, ".", flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(file) => Ok((Self::locked(directory, File::from(file))?, Naming::Nameless)),
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOENT) => {
                Ok((Self::with_name(directory, temporary)?, Naming::Temporary))
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Makes the file with the temporary name.
    pub(super) fn with_name(directory: File, temporary: &OsStr) -> Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file =
            openat(&directory, temporary, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|errno| match errno {
                Errno::EEXIST => in_the_way(temporary),
                errno => failed(errno),
            })?;
        let draft = Self::locked(directory, File::from(file))?;
        // Before it was locked, another run may have taken it for a leftover.
        lock::still_named(&draft.file, &draft.directory, temporary)?;
        Ok(draft)
    }

    fn locked(directory: File, file: File) -> Result<Self> {
        match lock::hold(&file) {
            // Nobody will take it for a leftover there.
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            result => result?,
        }
        Ok(Self { directory, file })
    }
}

/// Removes what an interrupted run has left with the temporary name: a file of this user that nobody has locked.
fn remove_leftover(directory: &File, temporary: &OsStr) -> Result<()> {
    let Ok(found) = fstatat(directory, temporary, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(()) };
    let regular = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
    if !regular || found.st_uid != geteuid().as_raw() || found.st_nlink != 1 {
        return Ok(());
    }
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(file) = openat(directory, temporary, flags, Mode::empty()).map(File::from) else { return Ok(()) };
    match lock::hold(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::InUse => return Err(in_the_way(temporary)),
        Err(_) => return Ok(()),
    }
    lock::still_named(&file, directory, temporary)?;
    unlinkat(directory, temporary, UnlinkatFlags::NoRemoveDir).map_err(failed)?;
    tracing::info!(name = %temporary.display(), "removed what an interrupted run had left of a new file");
    lock::unlock(&file);
    Ok(())
}

/// The error of a temporary name that is taken; it does not name the file.
pub(super) fn in_the_way(temporary: &OsStr) -> Error {
    let name = temporary.display();
    let message = format!("another run is making this file: \"{name}\" is there");
    Error::new(ErrorKind::InUse, Layer::Host, message)
        .with_hint(format!("run this again when that is done; where there is no such run, remove \"{name}\""))
}

fn failed(errno: Errno) -> Error {
    // The directory is there, or it could not have been opened: nobody makes files in it, as in that of proc(5).
    if errno == Errno::ENOENT {
        return Error::new(ErrorKind::Denied, Layer::Host, "its directory takes no files")
            .with_hint(super::fresh::WRITABLE);
    }
    super::fresh::cannot("create the file", errno.into())
}

/// Gives a file in this directory another name, in one step.
pub(super) fn rename(directory: &File, from: &OsStr, to: &OsStr, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => Ok(renameat_with(directory, from, directory, to, RenameFlags::empty())?),
        Existing::Refuse => {
            let renamed = renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE);
            or_by_link(renamed, directory, from, to)
        }
    }
}

/// Does it by a link where the filesystem does not know the flag. Of the two names that there are for a moment, either is the
/// file.
fn or_by_link(renamed: rustix::io::Result<()>, directory: &File, from: &OsStr, to: &OsStr) -> io::Result<()> {
    use rustix::io::Errno;
    match renamed {
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(directory, from, directory, to, AtFlags::empty())?;
            let unlink = |name| unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
            Ok(unlink(from).inspect_err(|_| {
                let _ = unlink(to);
            })?)
        }
        result => Ok(result?),
    }
}

impl Draft for FileDraft {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn reflink(&self, from: &File) -> io::Result<()> {
        Ok(rustix::fs::ioctl_ficlone(&self.file, from)?)
    }

    fn copy(&self, from: &File, at: u64, len: usize) -> io::Result<usize> {
        use rustix::io::Errno;
        let (mut read, mut write) = (at, at);
        match rustix::fs::copy_file_range(from, Some(&mut read), &self.file, Some(&mut write), len) {
            // Across filesystems, and where the kernel or the filesystem does not know it.
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Err(io::ErrorKind::Unsupported.into()),
            result => Ok(result?),
        }
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn link(&self, name: &OsStr) -> io::Result<()> {
        // A file without a name is reached through its descriptor; AT_EMPTY_PATH would need a capability.
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        Ok(linkat(AT_FDCWD, &descriptor, &self.directory, name, AtFlags::AT_SYMLINK_FOLLOW)?)
    }

    fn rename(&self, from: &OsStr, to: &OsStr, existing: Existing) -> io::Result<()> {
        rename(&self.directory, from, to, existing)
    }

    fn unlink(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir)?)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

impl Drop for FileDraft {
    fn drop(&mut self) {
        lock::unlock(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::fs;

    /// As filesystems answer that do not know the flag.
    #[test]
    fn a_name_is_given_without_the_flag_too() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        let [from, to, taken] = ["from", "to", "taken"].map(OsStr::new);
        let content = |name| fs::read_to_string(dir.path().join(name)).ok();
        fs::write(dir.path().join(taken), "taken").unwrap();
        for errno in [Errno::INVAL, Errno::NOSYS] {
            fs::write(dir.path().join(from), "file").unwrap();
            or_by_link(Err(errno), &directory, from, to).unwrap();
            assert_eq!((content(from), content(to).as_deref()), (None, Some("file")));
            let error = or_by_link(Err(errno), &directory, to, taken).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!((content(to).as_deref(), content(taken).as_deref()), (Some("file"), Some("taken")));
            fs::remove_file(dir.path().join(to)).unwrap();
        }
        fs::write(dir.path().join(from), "file").unwrap();
        assert!(or_by_link(Err(Errno::ACCESS), &directory, from, to).is_err());
        assert!(rename(&directory, from, taken, Existing::Refuse).is_err());
        assert_eq!((content(from).as_deref(), content(to)), (Some("file"), None));
        rename(&directory, from, to, Existing::Refuse).unwrap();
        rename(&directory, to, taken, Existing::Replace).unwrap();
        assert_eq!((content(to), content(taken).as_deref()), (None, Some("file")));
    }
}
