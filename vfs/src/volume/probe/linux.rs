//! Filesystems that a Linux guest makes, and swap.

use super::{SUSPENDED, Source, signature};
use crate::error::Result;
use crate::field::{array, has, le16, le32, text, text16, uuid};
use crate::volume::Signature;

/// ext2, ext3, ext4 and their external journal, told apart by features as blkid(8) does (`ext4(5)`, kernel
/// documentation of the ext4 superblock).
pub(super) fn ext(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(1024, 1024, |superblock| {
        if le16(superblock, 0x38)? != 0xef53 {
            return None;
        }
        let kind = ext_kind(le32(superblock, 0x5c)?, le32(superblock, 0x60)?, le32(superblock, 0x64)?);
        signature(kind, text(superblock.get(0x78..0x88)?), uuid(array(superblock, 0x68)?))
    })
}

const HAS_JOURNAL: u32 = 0x4;
const JOURNAL_DEV: u32 = 0x8;
/// filetype, needs_recovery, meta_bg
const EXT3_INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
/// sparse_super, large_file, btree_dir
const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

fn ext_kind(compat: u32, incompat: u32, ro_compat: u32) -> &'static str {
    if incompat & JOURNAL_DEV != 0 {
        "jbd"
    } else if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        "ext4"
    } else if compat & HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    }
}

/// XFS: the big-endian superblock of the XFS Algorithms & Data Structures document.
pub(super) fn xfs(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(0, 512, |superblock| {
        let block_size = array(superblock, 4).map(u32::from_be_bytes)?;
        if !has(superblock, 0, b"XFSB") || !block_size.is_power_of_two() || !(512..=65536).contains(&block_size) {
            return None;
        }
        signature("xfs", text(superblock.get(108..120)?), uuid(array(superblock, 32)?))
    })
}

/// btrfs: the first superblock, at 64 KiB (btrfs on-disk format).
pub(super) fn btrfs(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(0x10000, 4096, |superblock| {
        if !has(superblock, 64, b"_BHRfS_M") {
            return None;
        }
        signature("btrfs", text(superblock.get(299..555)?), uuid(array(superblock, 32)?))
    })
}

/// F2FS: `struct f2fs_super_block` of the kernel.
pub(super) fn f2fs(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(1024, 2048, |superblock| {
        if le32(superblock, 0)? != 0xf2f5_2010 {
            return None;
        }
        signature("f2fs", text16(superblock.get(124..1148)?), uuid(array(superblock, 108)?))
    })
}

/// EROFS: `struct erofs_super_block` of the kernel.
pub(super) fn erofs(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(1024, 128, |superblock| {
        if le32(superblock, 0)? != 0xe0f5_e1e2 {
            return None;
        }
        signature("erofs", text(superblock.get(64..80)?), uuid(array(superblock, 48)?))
    })
}

/// squashfs 4; it has neither label nor UUID.
pub(super) fn squashfs(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(0, 96, |superblock| {
        if !has(superblock, 0, b"hsqs") || le16(superblock, 28)? != 4 {
            return None;
        }
        signature("squashfs", String::new(), String::new())
    })
}

/// bcachefs: `struct bch_sb` at 4 KiB.
pub(super) fn bcachefs(source: &Source<'_>) -> Result<Option<Signature>> {
    const MAGIC: [u8; 16] =
        [0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef];
    source.parse(4096, 256, |superblock| {
        if !has(superblock, 24, &MAGIC) {
            return None;
        }
        signature("bcachefs", text(superblock.get(72..104)?), uuid(array(superblock, 56)?))
    })
}

/// The sizes of a page, in bytes, of the machines that may have made swap space.
const PAGES: [u64; 5] = [4096, 8192, 16384, 32768, 65536];
/// How long the magic of swap space is, which ends with its first page.
const SWAP_MAGIC: usize = 10;

/// Whether the memory of a suspended machine is in a swap space that begins with these bytes, of a file say; 64 KiB are enough
/// (mkswap(8), the kernel's kernel/power/swap.c).
pub fn is_suspended(start: &[u8]) -> bool {
    PAGES.into_iter().any(|page| {
        let end = usize::try_from(page).unwrap_or(usize::MAX);
        start.get(end.saturating_sub(SWAP_MAGIC)..end).is_some_and(says_suspended)
    })
}

fn says_suspended(magic: &[u8]) -> bool {
    let sleeping: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];
    sleeping.iter().any(|known| magic.starts_with(known))
}

/// Swap space, in use or with a hibernated guest in it: a magic at the end of the first page of the machine that made
/// it (mkswap(8)).
pub(super) fn swap(source: &Source<'_>) -> Result<Option<Signature>> {
    for page in PAGES {
        let Some(magic) = source.bytes(page.saturating_sub(10), SWAP_MAGIC)? else { return Ok(None) };
        let name = match magic.as_slice() {
            b"SWAPSPACE2" => "swap",
            b"SWAP-SPACE" => return Ok(signature("swap", String::new(), String::new())),
            magic if says_suspended(magic) => SUSPENDED,
            _ => continue,
        };
        return source.parse(1024, 128, |header| signature(name, text(header.get(28..44)?), uuid(array(header, 12)?)));
    }
    Ok(None)
}
