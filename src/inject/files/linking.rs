//! Symbolic links.

use super::super::{InjectError, ROOT_FILE};
use super::FileError;
use super::below::there;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Makes a link, or leads one that is there to its target; a file in its place gives way, a directory does not.
pub(super) fn link(target: &str, path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    match stage.symlink_metadata(path)?.map(|metadata| metadata.file_type) {
        None | Some(FileType::Symlink) => {}
        Some(FileType::Directory) => {
            return Err(InjectError::File(FileError::DirectoryInTheWay { path: path.clone() }));
        }
        Some(_) => stage.remove(path)?,
    }
    Ok(stage.symlink(path, target.as_bytes(), ROOT_FILE)?)
}

/// Where `ln -sf TARGET LINK` makes a link: in a LINK that is a directory, under the name of the target, else there itself.
///
/// virt-customize runs it on the guest's files from outside (`_symlink` in daemon/link.c of libguestfs), where a link with an absolute
/// target leads to no directory of the guest's: it is led anew itself, as it is here. So is one that leads to the target already, for which ln
/// would make another one in it.
pub(super) fn placed(target: &str, path: &GuestPath, stage: &Stage<'_>) -> Result<GuestPath, InjectError> {
    let into = match there(stage.symlink_metadata(path))? {
        Some(FileType::Directory) => true,
        Some(FileType::Symlink) => {
            let leads_to = stage.symlink_target(path)?.unwrap_or_default();
            !leads_to.starts_with(b"/")
                && leads_to != target.as_bytes()
                && there(stage.metadata(path))? == Some(FileType::Directory)
        }
        _ => false,
    };
    let name = target.split('/').rfind(|name| !name.is_empty()).filter(|name| ![".", ".."].contains(name));
    match name {
        Some(name) if into => Ok(path.join(name)?),
        _ => Ok(path.clone()),
    }
}
