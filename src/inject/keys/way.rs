//! The way by which sshd gets to a user's keys: whose the directories and links on it are, and whether the user gets through.

use crate::inject::InjectError;
use crate::inject::premise::KeyReader;
use crate::inject::reader::{is_safe, lets_in};
use crate::inject::sshd::{self, Modes};
use imgraft_vfs::fs::{FileType, Metadata};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::stage::Stage;
use std::collections::VecDeque;

/// Something that is there on the way.
#[derive(Debug)]
struct Step {
    path: GuestPath,
    metadata: Metadata,
    /// Whether nothing comes after it but what it leads to.
    is_last: bool,
}

impl Step {
    fn is_link(&self) -> bool {
        self.metadata.file_type == FileType::Symlink
    }

    /// It is refused for the keys of this user, with what makes it right: a link is not mended, nor is a file with other names.
    fn exposed(self, reader: &KeyReader, why: String) -> InjectError {
        let Self { path, metadata, .. } = self;
        let own = "--chown and --chmod give it to root, for others to read and not to write";
        let delete = format!("--delete {path} takes it away");
        let way = match metadata.file_type {
            FileType::Directory => own.to_owned(),
            FileType::Regular if metadata.links == 1 => format!("{own}, or {delete}"),
            _ => delete,
        };
        InjectError::ExposedPlace { user: reader.user.clone(), path, why, way }
    }

    /// Its mode and owner, as a clause begins.
    fn said(&self) -> String {
        format!("mode {:04o} and owner {}", self.metadata.mode, self.metadata.uid)
    }
}

/// All that is there on the way to a path, in the order of path_resolution(7): directories, links, and what is at the end.
fn steps(path: &GuestPath, stage: &Stage<'_>) -> Result<Vec<Step>, InjectError> {
    // What ends nowhere ends here.
    stage.resolve(path)?;
    let mut pending: VecDeque<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
    let mut at = GuestPath::root();
    let mut steps = Vec::new();
    if let Some(metadata) = stage.metadata(&at)? {
        steps.push(Step { path: at.clone(), metadata, is_last: false });
    }
    while let Some(name) = pending.pop_front() {
        if name == b".." {
            at = at.parent().unwrap_or_else(GuestPath::root);
            continue;
        }
        let next = at.join(&name)?;
        let Some(metadata) = stage.symlink_metadata(&next)? else { break };
        let is_last = pending.is_empty();
        if metadata.file_type == FileType::Symlink {
            let target = stage.symlink_target(&next)?.unwrap_or_default();
            if target.starts_with(b"/") {
                at = GuestPath::root();
            }
            let parts = target.split(|byte| *byte == b'/').rev().filter(|part| !part.is_empty() && *part != b".");
            parts.for_each(|part| pending.push_front(part.to_vec()));
        } else {
            at = next.clone();
        }
        steps.push(Step { path: next, metadata, is_last });
    }
    Ok(steps)
}

/// Refuses a place outside of the user's home where others may have put keys, or have it lead elsewhere, or that the user cannot read:
/// who has put something there is not known, so that nothing of it is mended.
pub(super) fn refuse_exposed(reader: &KeyReader, file: &GuestPath, stage: &Stage<'_>) -> Result<(), InjectError> {
    let modes = sshd::modes(stage);
    let groups = reader.group_numbers(stage)?;
    for step in steps(file, stage)? {
        let (said, metadata) = (step.said(), &step.metadata);
        let why = match metadata.file_type {
            FileType::Symlink if step.is_last => format!("a symbolic link ({said}) is where the keys are to be"),
            FileType::Symlink if metadata.uid != 0 => {
                format!("a symbolic link ({said}) that is not root's leads to where the keys are to be")
            }
            FileType::Symlink => continue,
            FileType::Regular if metadata.links > 1 => format!("the file ({said}) has other names, too (hard links)"),
            _ if modes == Modes::Strict && !is_safe(metadata, reader.uid) => {
                format!("{said} let others than root and '{}' write there", reader.user)
            }
            _ if !lets_in(metadata, reader.uid, &groups) => {
                format!("{said} keep '{}' out, and sshd reads keys as that user", reader.user)
            }
            _ => continue,
        };
        return Err(step.exposed(reader, why));
    }
    Ok(())
}

/// Refuses a place in the user's home to which a link of somebody else's leads.
pub(super) fn refuse_strange_links(reader: &KeyReader, file: &GuestPath, stage: &Stage<'_>) -> Result<(), InjectError> {
    let is_strange = |step: &Step| step.is_link() && ![0, reader.uid].contains(&step.metadata.uid);
    match steps(file, stage)?.into_iter().find(is_strange) {
        Some(step) => {
            let why = format!("a symbolic link ({}) of neither root's nor the user's leads to the keys", step.said());
            Err(step.exposed(reader, why))
        }
        None => Ok(()),
    }
}

/// Whether a path really lies below a user's home. Below the root everything does, and is not the user's for that.
pub(super) fn is_below(path: &GuestPath, home: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    let (path, home) = (stage.resolve(path)?, stage.resolve(home)?);
    let mut around = std::iter::successors(path.parent(), Resolved::parent);
    Ok(home.parent().is_some() && around.any(|directory| directory == home))
}

/// The directories that sshd checks for the file: those that it really lies in, up to the user's home, or to the root where it
/// does not lie in that (safe_path of OpenSSH's misc.c). What the home lies in is not checked.
pub(super) fn checked(file: &GuestPath, home: &GuestPath, stage: &Stage<'_>) -> Result<Vec<GuestPath>, InjectError> {
    let home = stage.resolve(home)?;
    let file = stage.resolve(file)?;
    let mut directories = Vec::new();
    for directory in std::iter::successors(file.parent(), Resolved::parent) {
        directories.push(GuestPath::from(&directory));
        if directory == home {
            break;
        }
    }
    Ok(directories)
}

/// What of the owners and modes on the way keeps sshd from the keys, a sentence each.
pub(in crate::inject) fn remarks(
    reader: &KeyReader,
    file: &GuestPath,
    stage: &Stage<'_>,
) -> Result<Vec<String>, InjectError> {
    let modes = sshd::modes(stage);
    let groups = reader.group_numbers(stage)?;
    let mut checked = checked(file, &reader.home, stage)?;
    checked.push(GuestPath::from(&stage.resolve(file)?));
    let mut remarks = Vec::new();
    for step in steps(file, stage)?.into_iter().filter(|step| !step.is_link()) {
        let (path, said) = (&step.path, step.said());
        if modes == Modes::Strict && checked.contains(path) && !is_safe(&step.metadata, reader.uid) {
            remarks.push(format!("{path}: {said} make sshd refuse the keys in it (StrictModes)"));
        } else if !lets_in(&step.metadata, reader.uid, &groups) {
            let user = reader.user.escape_debug();
            remarks.push(format!("{path}: {said} keep '{user}' out, and sshd reads the keys in it as that user"));
        }
    }
    Ok(remarks)
}
