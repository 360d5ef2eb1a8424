//! Files and directories of the guest that get another path.

use super::super::InjectError;
use super::FileError;
use super::below::{Walk, below, there};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::fmt::{self, Display};

/// How something of the guest comes to another path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Placed {
    Moved,
    Copied,
}

impl Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moved => "moved",
            Self::Copied => "copied",
        })
    }
}

/// Moves as mv(1) does: a destination that is a directory is where the source goes into, and a file in the place gives way. A
/// symbolic link is moved itself.
pub(super) fn moved(source: &GuestPath, destination: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let placed = Placed::Moved;
    let refused = |reason, way| {
        InjectError::File(FileError::NotPlaced { placed, path: source.clone(), to: destination.clone(), reason, way })
    };
    let Some(found) = stage.symlink_metadata(source)? else {
        return Err(refused("no such file in the guest", "where an earlier run has moved it, leave the option out"));
    };
    let name = source.file_name().ok_or_else(|| refused("the root stays where it is", "name what is in it"))?;
    let destination = self::destination(name, destination, stage)?;
    let there = stage.symlink_metadata(&destination)?.map(|found| found.file_type);
    if there == Some(FileType::Directory) {
        return Err(InjectError::File(FileError::DirectoryInTheWay { path: destination }));
    }
    if found.file_type != FileType::Directory {
        if is_one(source, &destination, stage)? {
            return Err(refused(ONE, "name another path"));
        }
        return Ok(stage.rename(source, &destination)?);
    }
    if there.is_some() {
        return Err(refused("a file is where the directory is to be", "--delete that before it"));
    }
    check_outside(source, &destination, placed, stage)?;
    let tree = below(source, stage, &mut Walk::default())?;
    for (path, file_type) in &tree {
        let to = rebased(path, source, &destination)?;
        match file_type {
            FileType::Directory => stage.copy(path, &to)?,
            _ => stage.rename(path, &to)?,
        }
    }
    for (path, _) in tree.iter().rev().filter(|(_, file_type)| *file_type == FileType::Directory) {
        stage.remove(path)?;
    }
    Ok(())
}

/// Why a file does not come to be in the place of itself.
pub(super) const ONE: &str = "they are one file";

/// Whether both paths, of which the last component is not followed, are of one file.
pub(super) fn is_one(path: &GuestPath, to: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    let inode = |path| Ok::<_, InjectError>(stage.symlink_metadata(path)?.map(|found| found.inode));
    let one = inode(path)?;
    Ok(one.is_some() && one == inode(to)?)
}

/// Where something of this name goes: into a destination that is a directory, else to that itself, in a directory that is
/// there.
pub(super) fn destination(name: &[u8], typed: &GuestPath, stage: &Stage<'_>) -> Result<GuestPath, InjectError> {
    let into = match stage.symlink_metadata(typed)?.map(|found| found.file_type) {
        // One that leads nowhere is only what it is itself.
        Some(FileType::Symlink) => there(stage.metadata(typed))? == Some(FileType::Directory),
        found => found == Some(FileType::Directory),
    };
    let destination = if into { typed.join(name)? } else { typed.clone() };
    let Some(parent) = destination.parent() else { return Ok(destination) };
    match stage.metadata(&parent)?.map(|found| found.file_type) {
        Some(FileType::Directory) => Ok(destination),
        Some(_) => Err(InjectError::File(FileError::NoDirectory { path: parent })),
        None => Err(InjectError::File(FileError::MissingDirectory { path: parent })),
    }
}

/// Fails where the destination of a directory lies in that directory.
pub(super) fn check_outside(
    source: &GuestPath,
    destination: &GuestPath,
    placed: Placed,
    stage: &Stage<'_>,
) -> Result<(), InjectError> {
    let (inner, outer) = (stage.resolve(destination)?, stage.resolve(source)?);
    if inner.as_bytes().strip_prefix(outer.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'/'))) {
        return Err(InjectError::File(FileError::NotPlaced {
            placed,
            path: source.clone(),
            to: destination.clone(),
            reason: "a directory does not go into itself",
            way: "name another directory",
        }));
    }
    Ok(())
}

/// The path below `to` that a path below `from` has there.
pub(super) fn rebased(path: &GuestPath, from: &GuestPath, to: &GuestPath) -> Result<GuestPath, InjectError> {
    path.components().skip(from.components().count()).try_fold(to.clone(), |path, name| Ok(path.join(name)?))
}
