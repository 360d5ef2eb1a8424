//! A metadata area: a header of one sector, and a ring of texts behind it.
//!
//! Source: `struct mda_header` and `struct raw_locn` in `lib/format_text/layout.h` of LVM2.

use super::label::Area;
use super::{checksum, corrupt};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::{has, le32, le64};

const HEADER: usize = 512;
const MAGIC: &[u8] = b"\x20LVM2\x20x[5A%r0N*>";
const SUMMED_FROM: usize = 4;
const FIRST_LOCATION: usize = 40;
/// The copy in this area is not kept up to date.
const IGNORED: u32 = 1;
/// The longest text that is read: a group of some ten thousand logical volumes.
pub(super) const MAX_TEXT: u64 = 8 << 20;
/// How much metadata is read of a disk, in bytes: all copies of some ten thousand logical volumes.
pub(in crate::volume) const MAX_METADATA: u64 = 16 << 20;

/// The text in use in a metadata area; `None` where there is none, or this copy is one that is not kept up to date.
///
/// What is read is taken off `room`, in bytes; `Unsupported` where that does not suffice.
pub(super) fn read(device: &dyn BlockDevice, area: Area, room: &mut u64) -> Result<Option<String>> {
    let short = || corrupt("the metadata area is cut short").with_offset(area.offset);
    let mut header = [0; HEADER];
    device.read_at(&mut header, area.offset)?;
    let wrong = |what: &str| corrupt(format!("the header of the metadata area {what}")).with_offset(area.offset);
    if le32(&header, 0) != Some(checksum(header.get(SUMMED_FROM..).ok_or_else(short)?)) {
        return Err(wrong("has a wrong checksum"));
    }
    if !has(&header, SUMMED_FROM, MAGIC) || le32(&header, 20) != Some(1) {
        return Err(wrong("is of a version that is not known"));
    }
    if le64(&header, 24) != Some(area.offset) || le64(&header, 32) != Some(area.size) {
        return Err(wrong("belongs to another place"));
    }
    let offset = le64(&header, FIRST_LOCATION).ok_or_else(short)?;
    let size = le64(&header, 48).ok_or_else(short)?;
    let sum = le32(&header, 56).ok_or_else(short)?;
    let flags = le32(&header, 60).ok_or_else(short)?;
    if offset == 0 || flags & IGNORED != 0 {
        return Ok(None);
    }
    let Some(left) = room.checked_sub(size) else {
        let message = format!("there is more LVM2 metadata than is read ({MAX_METADATA} bytes on a disk)");
        return Err(Error::unsupported(Layer::Volume, message).with_offset(area.offset));
    };
    *room = left;
    let Some(bytes) = ring(device, area, offset, size)? else {
        return Err(wrong(&format!("has a text of {size} bytes at byte {offset}, which does not lie in it")));
    };
    if checksum(&bytes) != sum {
        return Err(corrupt("the checksum of the LVM2 metadata is wrong").with_offset(area.offset));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.trim_end_matches('\0').to_owned()))
}

/// So many bytes from `offset` of the area on; what does not fit before its end goes on behind its header.
fn ring(device: &dyn BlockDevice, area: Area, offset: u64, size: u64) -> Result<Option<Vec<u8>>> {
    let header = u64::try_from(HEADER).unwrap_or(u64::MAX);
    let Some(room) = area.size.checked_sub(header) else { return Ok(None) };
    if offset < header || offset >= area.size || size > room || size > MAX_TEXT {
        return Ok(None);
    }
    let first = size.min(area.size.saturating_sub(offset));
    let (Ok(size), Ok(split)) = (usize::try_from(size), usize::try_from(first)) else { return Ok(None) };
    let mut bytes = vec![0; size];
    let Some((head, tail)) = bytes.split_at_mut_checked(split) else { return Ok(None) };
    // The area lies in the volume, and both parts in the area.
    device.read_at(head, area.offset.saturating_add(offset))?;
    if !tail.is_empty() {
        device.read_at(tail, area.offset.saturating_add(header))?;
    }
    Ok(Some(bytes))
}
