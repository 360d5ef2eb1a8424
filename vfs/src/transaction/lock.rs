//! The locks that QEMU takes on an image, so that a running guest and this tool see each other.
//!
//! Source: QEMU `block/file-posix.c`, `raw_apply_lock_bytes` and `raw_check_lock_bytes`. A user of an image holds shared
//! locks on single bytes of the file (whatever its length): one at 100 + n for every permission n that it uses, one at
//! 200 + n for every permission that it does not let others use. Then it looks whether others hold the opposite bytes.

use super::Access;
use super::attached::Loop;
use crate::error::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::{fstat, fstatat};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;

const USED: i64 = 100;
const NOT_SHARED: i64 = 200;

/// QEMU's permissions: the number of each, and what it is called in a message.
const PERMISSIONS: [(i64, &str); 5] = [
    (CONSISTENT_READ, "reads it"),
    (WRITE, "writes to it"),
    (WRITE_UNCHANGED, "writes to it"),
    (RESIZE, "resizes it"),
    (GRAPH_MODIFY, "works on it"),
];
const CONSISTENT_READ: i64 = 0;
const WRITE: i64 = 1;
const WRITE_UNCHANGED: i64 = 2;
const RESIZE: i64 = 3;
const GRAPH_MODIFY: i64 = 4;

impl Access {
    fn uses(self, permission: i64) -> bool {
        match self {
            Self::Read => permission == CONSISTENT_READ,
            Self::Write => permission != GRAPH_MODIFY,
        }
    }

    fn shares(self, permission: i64) -> bool {
        match self {
            Self::Read => permission != WRITE && permission != RESIZE,
            Self::Write => false,
        }
    }
}

/// Locks the file until [`unlock`] or until it is closed, or fails with `InUse`; the error does not name the file.
///
/// On a filesystem that has no such locks, `Write` is `Unsupported` and `Read` goes on without. A loop device of the host
/// takes no lock, and is looked for by what the kernel tells this process: one that can write to the file is `InUse` for
/// `Write`, and for `Read` where something is mounted read-write from it, or lies over it. What another mount namespace
/// has mounted, and a file that the kernel knows by a name of another one, is not seen.
pub(super) fn lock(file: &File, access: Access) -> Result<()> {
    lock_beside(file, access, None)
}

/// The same for the file under a loop device, `own`, by which it is used.
pub(super) fn lock_under(file: &File, access: Access, own: &str) -> Result<()> {
    lock_beside(file, access, Some(own))
}

fn lock_beside(file: &File, access: Access, own: Option<&str>) -> Result<()> {
    if let Some(attached) = Loop::writing_to(file, own) {
        let (device, used) = (attached.device(), attached.is_used());
        let (message, hint) = match access {
            Access::Read if !used => (None, String::new()),
            Access::Read => (
                Some(format!(
                    "the image is in use: the host has it as {device}, and writes to what is mounted from it"
                )),
                format!("unmount it, or mount it read-only; `lsblk {device}` shows what uses it"),
            ),
            Access::Write => (
                Some(format!("the image is in use: the host has it as {device}")),
                format!("unmount what is mounted from it, then `losetup -d {device}`"),
            ),
        };
        if let Some(message) = message {
            return Err(Error::new(ErrorKind::InUse, Layer::Host, message).with_hint(hint));
        }
    }
    match try_lock(file, access).inspect_err(|_| unlock(file)) {
        Err(error) if error.kind() == ErrorKind::Unsupported && access == Access::Read => {
            tracing::warn!("the image's filesystem has no locks: nothing tells whether somebody writes to the image");
            Ok(())
        }
        result => result,
    }
}

/// Fails with `InUse` where `name` in the directory is not the name of the locked file any more: somebody has put another
/// file in its place, between the open and the lock or later. The file is unlocked then; the error does not name it.
pub(super) fn still_named(file: &File, directory: &impl AsFd, name: &OsStr) -> Result<()> {
    let failed = |errno: Errno| Error::io(Layer::Host, "look at the file", errno.into());
    let own = fstat(file).map_err(failed)?;
    let same = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(there) => (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino),
        Err(Errno::ENOENT) => false,
        Err(errno) => return Err(failed(errno)),
    };
    if same {
        return Ok(());
    }
    unlock(file);
    let error = Error::new(ErrorKind::InUse, Layer::Host, "the file was replaced or removed meanwhile");
    Err(error.with_hint("run this again"))
}

/// Gives up all locks.
///
/// Closing the file is not enough at once: a child process that another thread is just starting has a copy of the
/// descriptor until it runs its program, and the locks last as long as any copy.
pub(super) fn unlock(file: &File) {
    let mut all = flock(libc::F_UNLCK, USED);
    all.l_len = NOT_SHARED + 100 - USED;
    if let Err(error) = fcntl(file, FcntlArg::F_OFD_SETLK(&all)) {
        tracing::debug!(%error, "the locks end with the last copy of the descriptor");
    }
}

/// Locks a file of this tool's own, which no loop device has, as for writing; the errors are those of [`lock`].
pub(super) fn hold(file: &File) -> Result<()> {
    try_lock(file, Access::Write).inspect_err(|_| unlock(file))
}

fn try_lock(file: &File, access: Access) -> Result<()> {
    // First all locks, then all looks: of two that come at once, at least one sees the other.
    for (permission, _) in PERMISSIONS {
        if access.uses(permission) {
            take(file, USED + permission)?;
        }
        if !access.shares(permission) {
            take(file, NOT_SHARED + permission)?;
        }
    }
    for (permission, what) in PERMISSIONS {
        if !access.shares(permission)
            && let Some(pid) = holder(file, USED + permission)?
        {
            return Err(in_use(format!("the image is in use: {} {what}", process(pid))));
        }
        if access.uses(permission)
            && let Some(pid) = holder(file, NOT_SHARED + permission)?
        {
            return Err(in_use(format!("the image is in use: {} has it locked", process(pid))));
        }
    }
    Ok(())
}

fn process(pid: i32) -> String {
    // The locks of open file descriptions, which QEMU prefers too, have no process.
    if pid > 0 { format!("process {pid}") } else { "another process".into() }
}

fn in_use(message: String) -> Error {
    let error = Error::new(ErrorKind::InUse, Layer::Host, message);
    error.with_hint("shut the virtual machine down, or end the program that has the image open, and run this again")
}

fn flock(kind: i32, byte: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        // The kernel wants zero here for the locks of open file descriptions.
        l_pid: 0,
    }
}

fn take(file: &File, byte: i64) -> Result<()> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&flock(libc::F_RDLCK, byte))) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(in_use("the image is in use: another process has it locked".into())),
        Err(errno) => Err(failed(errno)),
    }
}

/// The process that holds any lock on this byte (-1 where the lock has none), or `None`.
fn holder(file: &File, byte: i64) -> Result<Option<i32>> {
    let mut look = flock(libc::F_WRLCK, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut look)).map_err(failed)?;
    Ok((i32::from(look.l_type) != libc::F_UNLCK).then_some(look.l_pid))
}

fn failed(errno: Errno) -> Error {
    match errno {
        Errno::EINVAL | Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS => {
            let message = "the image's filesystem has no file locks, so that nothing would notice a running guest";
            Error::unsupported(Layer::Host, message)
                .with_hint("copy the image to a local filesystem and work on the copy")
                .with_source(std::io::Error::from(errno))
        }
        errno => Error::io(Layer::Host, "lock the image", errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Who uses nothing of a file may yet not let others use it.
    #[test]
    fn what_others_do_not_share_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        fs::write(&path, "disk").unwrap();
        for (permission, reading) in [(CONSISTENT_READ, false), (WRITE, true), (RESIZE, true)] {
            let (other, file) = (File::open(&path).unwrap(), File::open(&path).unwrap());
            take(&other, NOT_SHARED + permission).unwrap();
            assert_eq!(lock(&file, Access::Write).unwrap_err().kind(), ErrorKind::InUse);
            assert_eq!(lock(&file, Access::Read).is_ok(), reading, "{permission}");
            unlock(&file);
            unlock(&other);
            lock(&file, Access::Write).unwrap();
            unlock(&file);
        }
    }

    #[test]
    fn a_file_that_was_replaced_before_its_lock_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new, name) = (dir.path().join("disk"), dir.path().join("new"), OsStr::new("disk"));
        fs::write(&old, "old").unwrap();
        let directory = File::open(dir.path()).unwrap();
        let file = File::open(&old).unwrap();
        still_named(&file, &directory, name).unwrap();
        fs::write(&new, "new").unwrap();
        fs::rename(&new, &old).unwrap();
        assert_eq!(still_named(&file, &directory, name).unwrap_err().kind(), ErrorKind::InUse);
        fs::remove_file(&old).unwrap();
        assert_eq!(still_named(&file, &directory, name).unwrap_err().kind(), ErrorKind::InUse);
    }
}
