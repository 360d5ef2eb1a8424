//! What the headers of formats that are not supported say of other files and of encryption.

use super::field::{big, little, piece};
use super::{Finding, Mark};
use crate::block::BlockDevice;
use crate::error::Result;

/// The longest name that is read.
const NAME_LIMIT: u64 = 1023;
const FOOTER: u64 = 512;

pub(super) fn findings(host: &dyn BlockDevice, mark: Mark) -> Result<Vec<Finding>> {
    let head = piece(host, 0, 512)?;
    let mut found = Vec::new();
    match mark {
        // QEMU's header of version 1: backing file at 8 and 16, encryption at 36.
        Mark::Qcow => {
            found.extend(backing(host, big(&head, 8, 8), big(&head, 16, 4))?);
            if big(&head, 36, 4) != 0 {
                found.push(Finding::new("encryption", "its data is encrypted"));
            }
        }
        // docs/interop/qed_spec.rst: feature bit 0 says that the name at 56 and 60 is one.
        Mark::Qed if little(&head, 16, 8) & 1 != 0 => {
            found.extend(backing(host, little(&head, 56, 4), little(&head, 60, 4))?);
        }
        // Virtual Hard Disk Image Format Specification: disk type 4 is a differencing disk.
        Mark::Vhd if big(&head, 60, 4) == 4 => found.push(over_another()),
        Mark::FixedVhd => {
            let footer = piece(host, host.size().saturating_sub(FOOTER), 512)?;
            let kind = big(&footer, 60, 4);
            if kind != 2 {
                found
                    .push(Finding::new("malformed", format!("the footer of a disk of type {kind} without its header")));
            }
        }
        // VirtualBox's VDICore.h: image type 4 is a differencing image.
        Mark::Vdi if little(&head, 0x4c, 4) == 4 => found.push(over_another()),
        // LUKS On-Disk Format Specification: the version at 6.
        Mark::Luks => {
            let version = big(&head, 6, 2);
            if !(1..=2).contains(&version) {
                found.push(Finding::new("version", format!("LUKS version {version}")));
            }
            found.push(Finding::new("encryption", "its data is encrypted"));
        }
        _ => {}
    }
    Ok(found)
}

fn over_another() -> Finding {
    Finding::new("backing_file", "it lies over another file")
}

/// The backing file that a header names.
fn backing(host: &dyn BlockDevice, offset: u64, len: u64) -> Result<Option<Finding>> {
    if offset == 0 {
        return Ok(None);
    }
    if len > NAME_LIMIT {
        return Ok(Some(Finding::new("malformed", format!("the backing file's name is {len} bytes long"))));
    }
    let name = piece(host, offset, usize::try_from(len).unwrap_or(0))?;
    Ok(Some(Finding::new("backing_file", format!("it lies over the file \"{}\"", name.escape_ascii()))))
}
