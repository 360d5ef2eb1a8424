//! BSD disklabels, which are told by name and not read.
//!
//! Source: disklabel(5) of NetBSD and the kernel's `block/partitions/msdos.c`.

use super::VolumeInfo;
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::has;

/// The label lies in the second sector.
const PLACE: u64 = 512;
const MAGIC: [u8; 4] = 0x8256_4557_u32.to_le_bytes();
/// The magic is there once more behind the drive's description.
const SECOND: usize = 132;
/// The types of partitions that may hold one: FreeBSD, OpenBSD, NetBSD.
const TYPES: [&str; 3] = ["a5", "a6", "a9"];

/// Whether a disk or a partition begins with a disklabel.
pub(super) fn is_labelled(device: &dyn BlockDevice) -> Result<bool> {
    let mut sector = [0; 512];
    if device.size() < 1024 {
        return Ok(false);
    }
    device.read_at(&mut sector, PLACE)?;
    Ok(has(&sector, 0, &MAGIC) && has(&sector, SECOND, &MAGIC))
}

/// Whether a partition is one that may hold a disklabel.
pub(super) fn may_hold(info: &VolumeInfo) -> bool {
    TYPES.contains(&&*info.part_type)
}

/// The refusal of what lies in `whose`.
pub(super) fn refusal(whose: &str) -> Error {
    Error::unsupported(Layer::Volume, format!("{whose} has a BSD disklabel, whose partitions are not read"))
}
