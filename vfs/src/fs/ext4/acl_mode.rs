//! POSIX access control lists, as far as they and a file's mode say the same thing.
//!
//! Source: linux/posix_acl_xattr.h: a version (2) and entries of tag, permissions and id.

use super::le;
use crate::error::{Error, ErrorKind, Layer, Result};

/// The name of the attribute with a file's list.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";

/// The name of the attribute with the list that new files in a directory get.
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
const USER_OBJ: u16 = 0x1;
const GROUP_OBJ: u16 = 0x4;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Which three bits of a mode an entry stands for, as a shift; the mask stands for the group's where there is one.
fn shift(tag: u16, group: u16) -> Option<u32> {
    match tag {
        USER_OBJ => Some(6),
        OTHER => Some(0),
        tag if tag == group => Some(3),
        _ => None,
    }
}

fn entries(value: &[u8]) -> Result<Vec<(u16, u16)>> {
    let refuse = || Error::new(ErrorKind::Invalid, Layer::Filesystem, "not a POSIX access control list");
    let body = value.get(HEADER..).filter(|body| body.len() % ENTRY == 0).ok_or_else(refuse)?;
    if le::u32_at(value, 0) != Some(VERSION) {
        return Err(refuse());
    }
    body.chunks_exact(ENTRY).map(|entry| le::u16_at(entry, 0).zip(le::u16_at(entry, 2)).ok_or_else(refuse)).collect()
}

fn group_tag(entries: &[(u16, u16)]) -> u16 {
    if entries.iter().any(|(tag, _)| *tag == MASK) { MASK } else { GROUP_OBJ }
}

/// Puts a mode's permissions into a list; `Invalid` where the value is none.
pub(super) fn set_mode(value: &mut [u8], mode: u16) -> Result<()> {
    let entries = entries(value)?;
    let group = group_tag(&entries);
    for ((tag, _), field) in entries.iter().zip(value.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(ENTRY)) {
        if let Some(shift) = shift(*tag, group) {
            let _ = le::put(field, 2, &(mode >> shift & 0o7).to_le_bytes());
        }
    }
    Ok(())
}

/// The mode word with the permissions of a list in it; `Invalid` where the value is none.
pub(super) fn mode(value: &[u8], mode: u16) -> Result<u16> {
    let entries = entries(value)?;
    let group = group_tag(&entries);
    Ok(entries.iter().fold(mode, |mode, (tag, permissions)| match shift(*tag, group) {
        Some(shift) => mode & !(0o7 << shift) | (permissions & 0o7) << shift,
        None => mode,
    }))
}
