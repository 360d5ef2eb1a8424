//! What the kernel answers, as an error of this crate.

use crate::error::{Error, ErrorKind, Layer};
use crate::path::Resolved;
use rustix::io::Errno;

/// Why the kernel did not do `operation` ("make the file") at `at`.
///
/// That a component before the last is a symbolic link is `WrongType`, as the trait says. `Denied` is a path that leaves the
/// filesystem, which no resolved one does, and what the superuser may not do either (immutable files).
pub(super) fn refused(at: &Resolved, operation: &str, errno: Errno) -> Error {
    let kind = kind_of(errno);
    let reason = match errno {
        Errno::NOENT => "no such file or directory",
        Errno::NODATA => "it has no such extended attribute",
        Errno::EXIST => "it exists already",
        Errno::NOTEMPTY => "the directory is not empty",
        Errno::NOTDIR | Errno::LOOP => "a component of the path is not a directory",
        Errno::ISDIR => "a directory is in the way",
        Errno::XDEV => "the kernel finds that it lies outside of the filesystem",
        _ => "",
    };
    let error = if reason.is_empty() {
        Error::new(kind, Layer::Filesystem, format!("the kernel cannot {operation}"))
            .with_source(std::io::Error::from(errno))
    } else {
        Error::new(kind, Layer::Filesystem, reason)
    };
    let error = error.with_guest_path(at.as_bytes());
    match errno {
        Errno::PERM => error.with_hint("chattr(1) in the guest may have made the file immutable or append-only"),
        _ => error,
    }
}

fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT | Errno::NODATA => ErrorKind::NotFound,
        Errno::NOTDIR | Errno::LOOP | Errno::ISDIR => ErrorKind::WrongType,
        Errno::EXIST | Errno::NOTEMPTY | Errno::INVAL | Errno::NAMETOOLONG | Errno::RANGE => ErrorKind::Invalid,
        Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::ROFS => ErrorKind::Denied,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::MLINK => ErrorKind::NoSpace,
        Errno::OPNOTSUPP | Errno::NOSYS => ErrorKind::Unsupported,
        // EFSCORRUPTED and EFSBADCRC of the kernel's filesystems.
        Errno::UCLEAN | Errno::BADMSG => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    }
}

/// An error of this driver's own.
pub(super) fn failure(kind: ErrorKind, at: &Resolved, message: &str) -> Error {
    Error::new(kind, Layer::Filesystem, message).with_guest_path(at.as_bytes())
}

/// The same, of kind `WrongType`.
pub(super) fn wrong_type(at: &Resolved, message: &str) -> Error {
    failure(ErrorKind::WrongType, at, message)
}
