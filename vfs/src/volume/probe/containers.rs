//! What holds volumes of its own: LUKS, LVM physical volumes, Linux software RAID.

use super::{Source, signature};
use crate::error::Result;
use crate::field::{array, has, le32, le64, text, uuid};
use crate::volume::Signature;

/// LUKS 1 and 2 (the on-disk format specifications of cryptsetup): big-endian, the UUID as text.
pub(super) fn luks(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(0, 512, |header| {
        if !has(header, 0, b"LUKS\xba\xbe") {
            return None;
        }
        let label = match array(header, 6).map(u16::from_be_bytes)? {
            1 => String::new(),
            2 => text(header.get(24..72)?),
            _ => return None,
        };
        signature("crypto_LUKS", label, text(header.get(168..208)?))
    })
}

/// LUKS2 whose first header is gone: the second one, in the places that it may have.
pub(super) fn luks_backup(source: &Source<'_>) -> Result<Option<Signature>> {
    for shift in 14..=22_u32 {
        let place = 1_u64.checked_shl(shift).unwrap_or(0);
        let found = source.parse(place, 512, |header| {
            let is_here = array(header, 256).map(u64::from_be_bytes) == Some(place);
            if !has(header, 0, b"SKUL\xba\xbe\0\x02") || !is_here {
                return None;
            }
            signature("crypto_LUKS", text(header.get(24..72)?), text(header.get(168..208)?))
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// LVM2: a label in one of the first four sectors (`lib/format_text/layout.h` of LVM2).
pub(super) fn lvm(source: &Source<'_>) -> Result<Option<Signature>> {
    for sector in [0, 512, 1024, 1536] {
        let found = source.parse(sector, 512, |label| {
            if !has(label, 0, b"LABELONE") || !has(label, 24, b"LVM2 001") {
                return None;
            }
            let at = usize::try_from(le32(label, 20)?).ok()?;
            let id: [u8; 32] = array(label, at)?;
            let id = text(&id);
            let mut uuid = String::new();
            for (place, letter) in id.chars().enumerate() {
                if [6, 10, 14, 18, 22, 26].contains(&place) {
                    uuid.push('-');
                }
                uuid.push(letter);
            }
            signature("LVM2_member", String::new(), uuid)
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

const RAID_MAGIC: u32 = 0xa92b_4efc;

/// Linux software RAID, metadata 0.90 and 1.x (md(4)).
///
/// Where its superblock is at the end the volume looks like the filesystem of the array; writing to one half of a mirror
/// would split it.
pub(super) fn raid(source: &Source<'_>) -> Result<Option<Signature>> {
    let size = source.device.size();
    // 1.1 at the start, 1.2 at 4 KiB, 1.0 in the last 8 KiB at a 4 KiB boundary.
    let last = size.checked_sub(8192).map(|end| end & !4095);
    for at in [Some(0), Some(4096), last].into_iter().flatten() {
        let found = source.parse(at, 256, |superblock| {
            let is_here = le64(superblock, 144)?.checked_mul(512) == Some(at);
            if le32(superblock, 0)? != RAID_MAGIC || le32(superblock, 4)? != 1 || !is_here {
                return None;
            }
            signature("linux_raid_member", text(superblock.get(32..64)?), uuid(array(superblock, 16)?))
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    // 0.90 in the last whole 64 KiB, its UUID four words in two places.
    let Some(last) = (size & !0xffff).checked_sub(0x10000) else { return Ok(None) };
    source.parse(last, 128, |superblock| {
        // Its size is in KiB and ends before it; elsewhere it is the rest of another array.
        let fits = u64::from(le32(superblock, 32)?).checked_mul(1024)? <= last;
        if le32(superblock, 0)? != RAID_MAGIC || le32(superblock, 4)? != 0 || !fits {
            return None;
        }
        let mut id = [0; 16];
        for (piece, at) in id.chunks_exact_mut(4).zip([20, 52, 56, 60]) {
            piece.copy_from_slice(&le32(superblock, at)?.to_be_bytes());
        }
        signature("linux_raid_member", String::new(), uuid(id))
    })
}
