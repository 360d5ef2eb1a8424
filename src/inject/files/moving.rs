//! Files and directories of the guest that get another path.

use super::super::InjectError;
use super::below::{Walk, below};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Moves as mv(1) does: a destination that is a directory is where the source goes into, and a file in the place gives way. A
/// symbolic link is moved itself.
pub(super) fn moved(source: &GuestPath, destination: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    let refused = |reason, way| InjectError::NotMoved { path: source.clone(), to: destination.clone(), reason, way };
    let Some(found) = stage.symlink_metadata(source)? else {
        return Err(refused("no such file in the guest", "where an earlier run has moved it, leave the option out"));
    };
    let name = source.file_name().ok_or_else(|| refused("the root stays where it is", "name what is in it"))?;
    let directory = Some(FileType::Directory);
    let into = stage.metadata(destination)?.map(|found| found.file_type) == directory;
    let destination = if into { destination.join(name)? } else { destination.clone() };
    if let Some(parent) = destination.parent() {
        match stage.metadata(&parent)?.map(|found| found.file_type) {
            Some(FileType::Directory) => {}
            Some(_) => return Err(InjectError::NoDirectory { path: parent }),
            None => return Err(InjectError::Missing { path: parent }),
        }
    }
    let there = stage.symlink_metadata(&destination)?.map(|found| found.file_type);
    if there == directory {
        return Err(InjectError::DirectoryInTheWay { path: destination });
    }
    if found.file_type != FileType::Directory {
        return Ok(stage.rename(source, &destination)?);
    }
    if there.is_some() {
        return Err(refused("a file is where the directory is to be", "--delete that before it"));
    }
    let (inner, outer) = (stage.resolve(&destination)?, stage.resolve(source)?);
    if inner.as_bytes().strip_prefix(outer.as_bytes()).is_some_and(|rest| rest.starts_with(b"/")) {
        return Err(refused("a directory cannot be moved into itself", "name another directory"));
    }
    let tree = below(source, stage, &mut Walk::default())?;
    for (path, file_type) in &tree {
        let mut to = destination.clone();
        for name in path.components().skip(source.components().count()) {
            to = to.join(name)?;
        }
        match file_type {
            FileType::Directory => stage.create_like(path, &to)?,
            _ => stage.rename(path, &to)?,
        }
    }
    for (path, _) in tree.iter().rev().filter(|(_, file_type)| *file_type == FileType::Directory) {
        stage.remove(path)?;
    }
    Ok(())
}
