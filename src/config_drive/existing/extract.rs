//! The files of a drive in a directory of the host.

use super::{Existing, text};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::master::Entry;
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::syncfs;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

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

/// Puts the files of a drive into `directory`, which is made, or is there and empty and is replaced: files with mode 0600,
/// directories with 0700, as they may hold secrets.
///
/// The directory appears whole or not at all: it is made beside its place, and renamed when all of it is on the disk.
/// Nothing is followed and nothing overwritten: every name is opened in the directory before it, and made, never found.
/// Symbolic links and devices are left out.
pub fn extract(existing: &Existing, directory: &Path) -> Result<Extracted> {
    check(directory)?;
    let staged = Staged::beside(directory)?;
    let extracted = fill(existing, &staged.open()?, directory)?;
    staged.publish(directory)?;
    Ok(extracted)
}

fn fill(existing: &Existing, root: &OwnedFd, directory: &Path) -> Result<Extracted> {
    let drive = existing.drive();
    let mut extracted = Extracted::default();
    for entry in drive.entries() {
        let failed = |errno: Errno| {
            Error::io(Layer::Host, "extract a file", errno.into())
                .with_host_path(directory)
                .with_guest_path(&entry.path)
        };
        let names: Vec<&[u8]> = entry.path.split(|byte| *byte == b'/').collect();
        let Some((name, parents)) = names.split_last() else { continue };
        let parent = enter(root, parents).map_err(failed)?;
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

/// Sees that the directory can appear: that it is not there, or empty.
fn check(directory: &Path) -> Result<()> {
    let denied = |message: &str, hint: &str| {
        let error = Error::new(ErrorKind::Denied, Layer::Host, message).with_host_path(directory);
        Err(error.with_hint(hint.to_owned()))
    };
    if directory.file_name().is_none() {
        return denied("the directory is replaced, and has no name here", "name it from the directory that it lies in");
    }
    let failed = |error| Error::io(Layer::Host, "look at the directory", error).with_host_path(directory);
    match directory.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if !metadata.is_dir() => denied("this is there, and is no directory", "choose another name"),
        Ok(_) if directory.read_dir().map_err(failed)?.next().is_some() => {
            denied("the directory is not empty", "name one that is empty, or that is not there")
        }
        Ok(_) => Ok(()),
    }
}

/// A directory that is filled beside its place, and goes away unless it is published.
#[derive(Debug)]
struct Staged {
    directory: TempDir,
    parent: PathBuf,
}

impl Staged {
    fn beside(directory: &Path) -> Result<Self> {
        let parent = match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let mode = Permissions::from_mode(0o700);
        match tempfile::Builder::new().prefix(".imgraft-").permissions(mode).tempdir_in(&parent) {
            Ok(made) => Ok(Self { directory: made, parent }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = "there is no directory to make it in";
                Err(Error::new(ErrorKind::NotFound, Layer::Host, message).with_host_path(directory))
            }
            Err(error) => Err(Error::io(Layer::Host, "make the directory", error).with_host_path(directory)),
        }
    }

    fn open(&self) -> Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        open(self.directory.path(), flags, Mode::empty()).map_err(|errno| {
            Error::io(Layer::Host, "open the directory", errno.into()).with_host_path(self.directory.path())
        })
    }

    /// Renames it to its place, where nothing is or an empty directory: rename(2) replaces no other.
    fn publish(self, directory: &Path) -> Result<()> {
        let failed = |error: io::Error| {
            Error::io(Layer::Host, "put the directory in its place", error)
                .with_host_path(directory)
                .with_hint("name one that is not there, or that is empty and not in use")
        };
        // One call for all files and directories.
        syncfs(&self.open()?).map_err(|errno| failed(errno.into()))?;
        std::fs::rename(self.directory.path(), directory).map_err(failed)?;
        // It has another name now, and stays.
        let _ = self.directory.keep();
        File::open(&self.parent).and_then(|parent| parent.sync_all()).map_err(failed)
    }
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
