//! Where the journal of an image lies, and where one of it may lie that this run would overlook: in another directory, or
//! under another name that the image has or had.
//!
//! A journal says which file or device it was made for. So one is found whatever the image is called now, in the directory
//! of the image and in the state directories that this run knows.

use super::Access;
use super::host::{Place, Sidecar};
use super::sidecar::{Chosen, FileSidecar, Owner, StateDir, number};
use super::stray::Stray;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::shell;
use rustix::fs::fstatvfs;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What an image is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The inode number, or what stands for a device.
    pub(super) inode: u64,
    /// What stands for the file or the disk that this is, or is a part of.
    pub(super) thing: u64,
}

impl Identity {
    /// Of a regular file: by its inode, and by what its filesystem is called for ever (statfs(2), `f_fsid`) where it is.
    pub(super) fn of_file(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let filesystem = match fstatvfs(file)?.f_fsid {
            0 => metadata.dev(),
            filesystem => filesystem,
        };
        let bytes = [&b"file "[..], &filesystem.to_le_bytes(), &metadata.ino().to_le_bytes()].concat();
        Ok(Self { inode: metadata.ino(), thing: number(&bytes) })
    }
}

/// The place of an image's journal, and the others in which one of it may lie.
#[derive(Debug)]
pub(super) struct Places {
    home: FileSidecar,
    others: Vec<FileSidecar>,
    /// The place of the journal of a file of which the image is a part.
    around: Option<FileSidecar>,
}

impl Places {
    /// Those of a regular file at `real`, whose directory is open.
    pub(super) fn of_file(file: &File, directory: File, real: &Path, state: &StateDir) -> io::Result<Self> {
        let name = real.file_name().unwrap_or_default();
        let owner = Owner::of(file, &file.metadata()?);
        let parent = real.parent().unwrap_or(Path::new("/"));
        let beside = FileSidecar::beside(parent, name, directory, file.try_clone()?, owner);
        let in_state = |directory, chosen| FileSidecar::state(directory, chosen, name, real.as_os_str().as_bytes());
        let usual = state.usual.as_deref().filter(|_| state.usual != state.chosen);
        let usual = usual.map(|usual| in_state(usual, Chosen::AsUsual));
        Ok(match &state.chosen {
            Some(chosen) => {
                let others = [beside].into_iter().chain(usual).collect();
                Self { home: in_state(chosen, Chosen::ByCaller), others, around: None }
            }
            None => Self { home: beside, others: usual.into_iter().collect(), around: None },
        })
    }

    /// Those of the block device at `path`.
    pub(super) fn of_device(path: &Path, state: &StateDir, identity: &[u8]) -> Result<Self> {
        let name = OsStr::new("device");
        let usual = state.usual.as_deref().map(|usual| FileSidecar::state(usual, Chosen::AsUsual, name, identity));
        match &state.chosen {
            Some(chosen) => {
                let others = usual.filter(|_| state.usual != state.chosen).into_iter().collect();
                Ok(Self { home: FileSidecar::state(chosen, Chosen::ByCaller, name, identity), others, around: None })
            }
            None => Ok(Self {
                home: usual.ok_or_else(|| {
                    let message = "beside a block device there is no place for the journal that makes a commit safe";
                    Error::unsupported(Layer::Host, message).with_host_path(path).with_hint("name one: --state-dir DIR")
                })?,
                others: Vec::new(),
                around: None,
            }),
        }
    }

    /// Those of the device at `path`, which is a part of a file whose places `whole` are.
    pub(super) fn of_part(path: &Path, state: &StateDir, identity: &[u8], whole: Self) -> Result<Self> {
        let Self { home, others, .. } = whole;
        let around = [home].into_iter().chain(others).find(|place| place.place() == Place::Beside);
        Ok(Self { around, ..Self::of_device(path, state, identity)? })
    }

    /// The place of the journal of the image at `path`, which is locked and has `size` bytes. A journal of it that has
    /// another name there gets its own.
    ///
    /// `InUse` where a journal of the image lies elsewhere, is one of only a part of it, or may not be renamed because the
    /// image is only read.
    pub(super) fn settle(self, path: &Path, image: Identity, size: u64, access: Access) -> Result<FileSidecar> {
        let Self { home, others, around } = self;
        for other in &others {
            if fs::symlink_metadata(other.path()).is_ok() {
                return Err(elsewhere(path, other, other.path()));
            }
        }
        for stray in home.strays(image.thing) {
            if stray.path == home.path() {
                continue;
            }
            if !is_of(&stray, image, size) {
                return Err(shared(path, &stray.path));
            }
            match access {
                Access::Read => return Err(pending(path, &home, &stray)),
                Access::Write => home.adopt(&stray)?,
            }
        }
        for other in &others {
            if let Some(stray) = other.strays(image.thing).first() {
                let same = is_of(stray, image, size);
                return Err(if same { elsewhere(path, other, &stray.path) } else { shared(path, &stray.path) });
            }
        }
        if let Some(around) = around {
            if fs::symlink_metadata(around.path()).is_ok() {
                return Err(shared(path, around.path()));
            }
            if let Some(stray) = around.strays(image.thing).first() {
                return Err(shared(path, &stray.path));
            }
        }
        Ok(home)
    }
}

fn is_of(stray: &Stray, image: Identity, size: u64) -> bool {
    (stray.inode, stray.size) == (image.inode, size)
}

fn in_use(path: &Path, message: String) -> Error {
    Error::new(ErrorKind::InUse, Layer::Transaction, message).with_host_path(path)
}

/// The command that finishes what lies in a place.
fn recover(path: &Path, place: &FileSidecar) -> String {
    let option = match (place.place(), place.path().parent()) {
        (Place::Beside, _) | (_, None) => String::new(),
        (_, Some(directory)) => format!(" --state-dir {}", shell::word(directory)),
    };
    format!("run: imgraft recover{option} {}", shell::word(path))
}

fn elsewhere(path: &Path, place: &FileSidecar, journal: &Path) -> Error {
    let journal = journal.display();
    let message = format!("an interrupted run has left the journal {journal}, and this run looks in another place");
    in_use(path, message).with_hint(recover(path, place))
}

fn pending(path: &Path, place: &FileSidecar, stray: &Stray) -> Error {
    let journal = stray.path.display();
    let message = format!("an interrupted run has left a commit to finish, when the image had another name: {journal}");
    in_use(path, message).with_hint(recover(path, place))
}

fn shared(path: &Path, journal: &Path) -> Error {
    let message = format!(
        "an interrupted run has left the journal {}, of a file or device that shares its bytes with this one",
        journal.display()
    );
    in_use(path, message).with_hint(
        "run `imgraft recover` on the file or device that was named then, with the same --state-dir, and only then use this",
    )
}
