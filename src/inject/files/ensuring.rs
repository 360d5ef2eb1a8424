//! What is made where it is missing, and stays as it is where it is there.

use super::below::there;
use super::{FileError, InjectError, ROOT_DIR, ROOT_FILE, directory_around};
use imgraft_vfs::fs::{Attrs, Content, FileType, Lookup as _};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Makes an empty file of root's where there is none; what is no file is refused.
pub(super) fn file(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    match stage.symlink_metadata(path)?.map(|metadata| metadata.file_type) {
        Some(FileType::Regular) => return Ok(()),
        Some(_) => return Err(InjectError::File(FileError::NotAFile { path: path.clone() })),
        None => {}
    }
    around(path, Some(0), Some(0), stage)?;
    Ok(stage.write(path, Content::bytes([]), ROOT_FILE)?)
}

/// Makes a directory of root's, with those before it that are missing, where there is none.
pub(super) fn directory(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    around(path, Some(0), Some(0), stage)?;
    stage.create_dirs(path, ROOT_DIR)?;
    Ok(())
}

/// Makes the directories around a path where there are none. `None` for an owner, or a group, is that of the directory that they are made
/// in.
pub(super) fn around(
    path: &GuestPath,
    uid: Option<u32>,
    gid: Option<u32>,
    stage: &mut Stage<'_>,
) -> Result<(), InjectError> {
    if let Some(parent) = path.parent()
        && stage.metadata(&parent)?.is_none()
    {
        let beside = directory_around(path, stage)?;
        stage
            .create_dirs(&parent, Attrs { uid: uid.unwrap_or(beside.uid), gid: gid.unwrap_or(beside.gid), ..beside })?;
    }
    Ok(())
}

/// What may be at a path before the same is put there.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A regular file with this content.
    File(Content),
    /// A symbolic link that leads there.
    Link(String),
}

/// Fails where something is at a path that is not as expected.
pub(super) fn expected(path: &GuestPath, expected: &Expected, stage: &Stage<'_>) -> Result<(), InjectError> {
    // A way that ends before leads to nothing.
    let Some(file_type) = there(stage.symlink_metadata(path))? else { return Ok(()) };
    let is_same = match (expected, file_type) {
        (Expected::File(Content::Bytes(content)), FileType::Regular) => {
            let size = stage.symlink_metadata(path)?.map(|metadata| metadata.size);
            let limit = u64::try_from(content.len()).unwrap_or(u64::MAX);
            size == Some(limit) && stage.read(path, limit)?.as_deref() == Some(&content[..])
        }
        (Expected::Link(target), FileType::Symlink) => {
            stage.read_link(&stage.resolve_parent(path)?)? == target.as_bytes()
        }
        _ => false,
    };
    match is_same {
        true => Ok(()),
        false => Err(InjectError::File(FileError::NotReplaced { path: path.clone() })),
    }
}

/// Removes a symbolic link, so that what is put there is not written where it leads.
pub(super) fn no_link(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    match stage.symlink_metadata(path)?.map(|metadata| metadata.file_type) {
        Some(FileType::Symlink) => Ok(stage.remove(path)?),
        _ => Ok(()),
    }
}
