//! Where the journal of an image lies, and where one of it may lie that this run would overlook: in another directory, or
//! under another name that the image has or had.
//!
//! A journal says which file or device it was made for, and which part of it. So one is found whatever the image is called
//! now, in the directory of the image and in the state directories that this run knows.

use super::Access;
use super::host::{Place, Sidecar};
use super::identity::{Identity, Relation};
use super::sidecar::{Chosen, FileSidecar, Owner, StateDir};
use super::stray::Stray;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::shell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
        let usual = state.usual.as_deref().map(|usual| in_state(usual, Chosen::AsUsual));
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
                let others = usual.into_iter().collect();
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
    /// `InUse` where a journal of the image lies elsewhere, is one of only a part of it, may be one of a file that is gone, or
    /// may not be renamed because the image is only read. `Io` where the image is written to, and not every place could be
    /// looked at.
    pub(super) fn settle(self, path: &Path, image: Identity, size: u64, access: Access) -> Result<FileSidecar> {
        let Self { home, others, around } = self;
        let others: Vec<FileSidecar> = others.into_iter().filter(|other| !other.is_at(&home)).collect();
        for other in &others {
            if fs::symlink_metadata(other.path()).is_ok() {
                return Err(elsewhere(path, other, other.path()));
            }
        }
        for stray in home.strays(image.thing, access)?.into_iter().filter(|stray| stray.path != home.path()) {
            match (image.relation(size, stray.identity, stray.size), access) {
                (Relation::Other, _) => {}
                (Relation::Overlapping, _) => return Err(shared(path, &stray.path)),
                (Relation::Unsure, _) => return Err(unsure(path, &stray.path)),
                (Relation::Own, Access::Read) => return Err(pending(path, &home, &stray)),
                (Relation::Own, Access::Write) => home.adopt(&stray)?,
            }
        }
        for other in others.iter().filter(|other| !other.shares_directory(&home)) {
            for stray in other.strays(image.thing, access)? {
                match image.relation(size, stray.identity, stray.size) {
                    Relation::Other => {}
                    Relation::Overlapping => return Err(shared(path, &stray.path)),
                    Relation::Unsure => return Err(unsure(path, &stray.path)),
                    Relation::Own => return Err(elsewhere(path, other, &stray.path)),
                }
            }
        }
        if let Some(around) = around {
            if fs::symlink_metadata(around.path()).is_ok() {
                return Err(shared(path, around.path()));
            }
            // What lies in one directory with the image's own was seen above.
            let strays =
                if around.shares_directory(&home) { Vec::new() } else { around.strays(image.thing, access)? };
            let mut strays = strays.into_iter();
            let other = strays.find(|stray| image.relation(size, stray.identity, stray.size) != Relation::Other);
            if let Some(stray) = other {
                return Err(shared(path, &stray.path));
            }
        }
        Ok(home)
    }
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
        "run `imgraft recover` on the file or device that was named then, with the same --state-dir, and only then use this; \
         if that is gone for good, remove the journal",
    )
}

fn unsure(path: &Path, journal: &Path) -> Error {
    let message = format!(
        "an interrupted run has left the journal {}, of this image when it had another name, or of a file that is gone: the \
         filesystem keeps no time of birth, by which to tell",
        journal.display()
    );
    in_use(path, message).with_hint(
        "if it is the image's, give that the name that it had then, and run `imgraft recover` on it; if it is of a file that is \
         gone for good, remove the journal",
    )
}
