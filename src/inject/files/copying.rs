//! Files and directories of the guest that are copied.

use super::super::{InjectError, label};
use super::FileError;
use super::below::{Walk, below, there};
use super::moving::{self, Placed, rebased};
use imgraft_vfs::fs::{FileType, Metadata, Ownership};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Copies as `cp -a` does: a destination that is a directory is where the source goes into, and what is in it stays. A symbolic
/// link is copied itself; a regular file goes through one. The copy gets the label of its place.
pub(super) fn copied(source: &GuestPath, destination: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let refused = |reason, way| {
        InjectError::File(FileError::NotPlaced {
            placed: Placed::Copied,
            path: source.clone(),
            to: destination.clone(),
            reason,
            way,
        })
    };
    let Some(found) = stage.symlink_metadata(source)? else {
        return Err(FileError::missing(source, stage));
    };
    let name = source.file_name().ok_or_else(|| refused("it is the whole guest", "name what is in it"))?;
    let destination = moving::destination(name, destination, stage)?;
    let there = stage.symlink_metadata(&destination)?.map(|found| found.file_type);
    if found.file_type == FileType::Directory && matches!(there, None | Some(FileType::Directory)) {
        moving::check_outside(source, &destination, Placed::Copied, stage)?;
    }
    // Of the files that have several names the first copy.
    let mut firsts = BTreeMap::new();
    for (path, file_type) in below(source, stage, &mut Walk::default())? {
        let to = place(&path, file_type, rebased(&path, source, &destination)?, stage)?;
        if moving::is_one(&path, &to, stage)? {
            let (placed, reason, way) = (Placed::Copied, moving::ONE, "name another path");
            return Err(InjectError::File(FileError::NotPlaced { placed, path, to, reason, way }));
        }
        // The label of what is there stays; a new file gets that of its place.
        let kept = label::of(&to, stage)?;
        let has_names = |found: &Metadata| found.links > 1 && file_type != FileType::Directory;
        if let Some(found) = stage.symlink_metadata(&path)?.filter(has_names)
            && stage.ownership(&to)? == Ownership::Kept
        {
            if stage.symlink_metadata(&to)?.is_some_and(|there| there.inode != found.inode) {
                // Other names of what is there keep what they have.
                stage.remove(&to)?;
            }
            match firsts.entry(found.inode) {
                Entry::Occupied(first) => {
                    stage.hard_link(first.get(), &to)?;
                    continue;
                }
                Entry::Vacant(first) => {
                    first.insert(to.clone());
                }
            }
        }
        stage.copy(&path, &to)?;
        label::keep(&to, kept, stage)?;
    }
    Ok(())
}

/// Where a copy comes to be, by a link that is there or not.
fn place(path: &GuestPath, file_type: FileType, to: GuestPath, stage: &Stage<'_>) -> Result<GuestPath, InjectError> {
    let refused = |reason, way| {
        InjectError::File(FileError::NotPlaced {
            placed: Placed::Copied,
            path: path.clone(),
            to: to.clone(),
            reason,
            way,
        })
    };
    match (file_type, stage.symlink_metadata(&to)?.map(|found| found.file_type)) {
        (FileType::Directory, None | Some(FileType::Directory)) => Ok(to),
        (FileType::Directory, Some(_)) => {
            Err(refused("a file or a link is where the directory is to be", "--delete that before it"))
        }
        (_, Some(FileType::Directory)) => Err(InjectError::File(FileError::DirectoryInTheWay { path: to })),
        (FileType::Regular, Some(FileType::Symlink)) => match there(stage.metadata(&to))? {
            Some(FileType::Directory) => Err(InjectError::File(FileError::DirectoryInTheWay { path: to })),
            Some(_) => Ok(GuestPath::parse(stage.resolve(&to)?.as_bytes())?),
            None => Err(refused("a link that leads nowhere is in the way", "--delete that before it")),
        },
        _ => Ok(to),
    }
}
