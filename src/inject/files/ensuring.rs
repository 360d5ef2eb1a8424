//! What is made where it is missing, and stays as it is where it is there.

use super::{FileError, InjectError, ROOT_DIR, ROOT_FILE, directory_around};
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Makes an empty file of root's where there is none; what is no file is refused.
pub(super) fn file(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    match stage.symlink_metadata(path)?.map(|metadata| metadata.file_type) {
        Some(FileType::Regular) => return Ok(()),
        Some(_) => return Err(InjectError::File(FileError::NotAFile { path: path.clone() })),
        None => {}
    }
    if let Some(parent) = path.parent()
        && stage.metadata(&parent)?.is_none()
    {
        stage.create_dirs(&parent, directory_around(path, stage)?)?;
    }
    Ok(stage.write(path, Content::bytes([]), ROOT_FILE)?)
}

/// Makes a directory of root's, with those before it that are missing, where there is none.
pub(super) fn directory(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if let Some(parent) = path.parent() {
        stage.create_dirs(&parent, directory_around(path, stage)?)?;
    }
    stage.create_dirs(path, ROOT_DIR)?;
    Ok(())
}

/// Removes a symbolic link, so that what is put there is not written where it leads.
pub(super) fn no_link(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    match stage.symlink_metadata(path)?.map(|metadata| metadata.file_type) {
        Some(FileType::Symlink) => Ok(stage.remove(path)?),
        _ => Ok(()),
    }
}
