//! The files of a drive in a directory of the host.

use super::{Existing, text};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::master::Entry;
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What is copied at once, in bytes.
const PIECE: u64 = 1 << 20;

/// What was extracted.
#[derive(Debug, Default)]
pub struct Extracted {
    /// How many files.
    pub files: usize,
    /// How many bytes they hold.
    pub bytes: u64,
    /// The paths of what is neither file nor directory, and was left out.
    pub left_out: Vec<String>,
}

/// Puts the files of a drive into `directory`, which is made, or is there and empty: files with mode 0600, directories
/// with 0700, as they may hold secrets.
///
/// Nothing is followed and nothing overwritten: every name is opened in the directory before it, and made, never found.
/// Symbolic links and devices are left out.
pub fn extract(existing: &Existing, directory: &Path) -> Result<Extracted> {
    let drive = existing.drive();
    let root = prepare(directory)?;
    let mut extracted = Extracted::default();
    for entry in drive.entries() {
        let failed = |errno: Errno| {
            Error::io(Layer::Host, "extract a file", errno.into())
                .with_host_path(directory)
                .with_guest_path(&entry.path)
        };
        let names: Vec<&[u8]> = entry.path.split(|byte| *byte == b'/').collect();
        let Some((name, parents)) = names.split_last() else { continue };
        let parent = enter(&root, parents).map_err(failed)?;
        match entry.file_type {
            FileType::Directory => mkdirat(&parent, *name, Mode::S_IRWXU).map_err(failed)?,
            FileType::Regular => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file = openat(&parent, *name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
                copy(existing, entry, File::from(file), directory)?;
                extracted.files += 1;
                extracted.bytes = extracted.bytes.saturating_add(entry.size);
            }
            _ => extracted.left_out.push(text(&entry.path)),
        }
    }
    Ok(extracted)
}

/// Makes the directory, or sees that it is empty.
fn prepare(directory: &Path) -> Result<OwnedFd> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, Layer::Host, "there is no directory to make it in")
            .with_host_path(directory),
        _ => Error::io(Layer::Host, "make the directory", error).with_host_path(directory),
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let metadata = directory.symlink_metadata().map_err(failed)?;
            if !metadata.is_dir() {
                let error = Error::new(ErrorKind::Denied, Layer::Host, "this is there, and is no directory");
                return Err(error.with_host_path(directory).with_hint("choose another name"));
            }
            if directory.read_dir().map_err(failed)?.next().is_some() {
                let error = Error::new(ErrorKind::Denied, Layer::Host, "the directory is not empty");
                return Err(error.with_host_path(directory).with_hint("name one that is empty, or that is not there"));
            }
        }
        Err(error) => return Err(failed(error)),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    open(directory, flags, Mode::empty()).map_err(|errno| failed(errno.into()))
}

/// Opens a directory below `root`, one name after the other, through no symbolic link.
fn enter(root: &OwnedFd, names: &[&[u8]]) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut here = openat(root, ".", flags, Mode::empty())?;
    for name in names {
        here = openat(&here, *name, flags, Mode::empty())?;
    }
    Ok(here)
}

fn copy(existing: &Existing, entry: &Entry, mut file: File, directory: &Path) -> Result<()> {
    let mut buf = vec![0; usize::try_from(entry.size.min(PIECE)).unwrap_or_default()];
    let mut at = 0_u64;
    while at < entry.size {
        let len = usize::try_from(entry.size - at).unwrap_or(usize::MAX).min(buf.len());
        let piece = &mut buf[..len];
        existing.drive().read_at(entry, piece, at)?;
        file.write_all(piece).map_err(|error| {
            Error::io(Layer::Host, "write a file", error).with_host_path(directory).with_guest_path(&entry.path)
        })?;
        at += len as u64;
    }
    Ok(())
}
