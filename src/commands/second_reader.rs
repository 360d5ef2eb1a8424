//! What was changed, read back before the commit.

use super::tree::Part;
use crate::failure::Failure;
use crate::report::Verified;
use imgraft_vfs::Error;
use imgraft_vfs::fs::{Mode, has_driver};
use imgraft_vfs::image::Edit;
use imgraft_vfs::kernel::Access;
use imgraft_vfs::verify::{Verdict, read_again, verify};
use imgraft_vfs::volume::Volume;

/// Reads the changes back as the next user of the image would: a fresh look at the pending bytes, by another reader where
/// there is one for a filesystem, else by a kernel that mounts it anew.
pub(super) fn second_reader(edit: &Edit, access: &Access, parts: &[Part<'_>]) -> Result<Verified, Failure> {
    let mut verified = Verified::NothingToVerify;
    for part in parts {
        let verdict = read(edit, access, part).map_err(|error| error.below(part.place.as_bytes()))?;
        verified = verified.and(verdict, &part.place);
    }
    Ok(verified)
}

fn read(edit: &Edit, access: &Access, part: &Part<'_>) -> Result<Verified, Error> {
    let Part { info, changes, .. } = part;
    let device = info.device(&edit.reopen()?)?;
    if info.signature.as_ref().is_some_and(|signature| !has_driver(signature.name)) {
        let volume = Volume { device, info: info.clone() };
        let opened = access.open(&volume, None, Mode::ReadOnly)?;
        let paths = read_again(&*opened.fs, changes)?;
        opened.fs.close()?;
        return Ok(Verified::Agrees { by: "the kernel".to_owned(), paths, xattrs_unverified: 0 });
    }
    Ok(match verify(device, changes)? {
        Verdict::Agrees { by, paths, xattrs_unverified } => {
            Verified::Agrees { by: by.to_owned(), paths, xattrs_unverified }
        }
        Verdict::Unknown { reason } => Verified::Unknown { reason },
    })
}
