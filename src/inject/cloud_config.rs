//! What the guest's cloud-init is told to leave as it is.

use super::{InjectError, ROOT_FILE};
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Where cloud-init reads what adds to its configuration, in the order of the names.
const DIRECTORY: &str = "/etc/cloud/cloud.cfg.d";

/// Puts a text for cloud-init past what distributions and installers put there, and says where; `None` where the guest has no
/// place for it. `subject` is a part of the file's name.
pub(super) fn tell(subject: &str, text: &str, stage: &mut Stage<'_>) -> Result<Option<GuestPath>, InjectError> {
    let directory = stage.metadata(&GuestPath::parse(DIRECTORY)?)?;
    if directory.is_none_or(|metadata| metadata.file_type != FileType::Directory) {
        return Ok(None);
    }
    let path = GuestPath::parse(format!("{DIRECTORY}/99-imgraft-{subject}.cfg"))?;
    stage.write(&path, Content::bytes(text.as_bytes()), ROOT_FILE)?;
    Ok(Some(path))
}
