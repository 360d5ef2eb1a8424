//! Sockets that a kernel reaches by its descriptors, so that nothing with a name is left of them whenever a run is killed.

use rustix::fs::{Mode, OFlags, open};
use std::fs::Permissions;
use std::io::Result;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A socket that listens, without a name.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    /// The socket's file, of which the name is gone: open(2), O_PATH.
    file: OwnedFd,
}

impl Socket {
    /// Two of them. Their names are in a directory below `base` for as long as this takes.
    pub(super) fn pair(base: &Path) -> Result<[Self; 2]> {
        let prefix = format!("imgraft-{}-", std::process::id());
        let place = tempfile::Builder::new().prefix(&prefix).tempdir_in(base)?;
        let pair = [Self::new(&place.path().join("a"))?, Self::new(&place.path().join("b"))?];
        place.close()?;
        Ok(pair)
    }

    fn new(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        // Whoever has the descriptor may connect, as whichever user; nobody else can.
        std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
        let file = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { listener, file })
    }

    /// By which path a process connects to it that has its [file](Self::file) open with the same number.
    pub(super) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn nothing_with_a_name_stays_and_each_is_reached() {
        let base = tempfile::tempdir().unwrap();
        let pair = Socket::pair(base.path()).unwrap();
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
        for socket in &pair {
            socket.listener.set_nonblocking(true).unwrap();
            assert!(socket.listener.accept().is_err());
            let _stream = UnixStream::connect(socket.path()).unwrap();
            socket.listener.accept().unwrap();
        }
    }
}
