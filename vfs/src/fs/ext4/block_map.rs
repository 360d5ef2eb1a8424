//! The block maps of ext2 and ext3.
//!
//! Source: kernel Documentation/filesystems/ext4/ifork.rst, "Direct/Indirect Block Addressing".

use super::extent::Segment;
use super::feature::ro_compat;
use super::inode::Inode;
use super::le;
use super::store::Store;
use crate::error::{Error, Layer, Result};
use std::ops::Range;

/// How many blocks the inode itself names.
pub(super) const DIRECT: u64 = 12;
/// The places in the inode of the tables with one, two and three levels.
pub(super) const ROOTS: Range<u64> = DIRECT..15;

/// The number at a place of a table of block numbers.
pub(super) fn pointer(table: &[u8], place: u64) -> Option<u64> {
    let offset = usize::try_from(place).ok()?.checked_mul(4)?;
    le::u32_at(table, offset).map(u64::from)
}

/// Sets the number at a place of a table of block numbers.
pub(super) fn put_pointer(table: &mut [u8], place: u64, block: u64) -> Result<()> {
    let field = u32::try_from(block).ok();
    let offset = usize::try_from(place).ok().and_then(|place| place.checked_mul(4));
    field
        .and_then(|field| le::put(table, offset?, &field.to_le_bytes()))
        .ok_or_else(|| Error::corrupt(Layer::Filesystem, format!("a block map cannot name block {block}")))
}

impl Store {
    /// How many blocks a table names.
    pub(super) fn map_width(&self) -> u64 {
        u64::from(self.superblock.block_size / 4)
    }

    /// How many blocks a file can have: as many as its map can name and its count of sectors can tell, tables included.
    pub(super) fn map_reach(&self) -> u64 {
        let width = self.map_width();
        let named = DIRECT + width + width * width + width.saturating_pow(3);
        let sectors = if self.superblock.has_ro_compat(ro_compat::HUGE_FILE) { 1 << 48 } else { 1_u64 << 32 };
        let counted = (sectors - 1) / u64::from(self.superblock.block_size / 512);
        let tables = 3 + 2 * width + named.min(counted).div_ceil(width);
        named.min(counted.saturating_sub(tables)).min(u64::from(u32::MAX))
    }

    /// Of the blocks after the direct ones, which root has number `rest`, which one below it that is, and how many blocks
    /// the root describes; `None` past the end of the map.
    pub(super) fn map_root(&self, rest: u64) -> Option<(u64, u64, u64)> {
        let mut rest = rest;
        let mut reach = self.map_width();
        for slot in ROOTS {
            if rest < reach {
                return Some((slot, rest, reach));
            }
            rest -= reach;
            reach = reach.saturating_mul(self.map_width());
        }
        None
    }

    /// What a file has from a block on.
    pub(super) fn map_segment(&self, inode: &Inode, logical: u64) -> Result<Segment> {
        let Some(rest) = logical.checked_sub(DIRECT) else {
            return self.map_run(inode, inode.block_area().get(..48).unwrap_or_default(), logical);
        };
        let too_far = || inode.damaged("it is larger than its map can tell");
        let (slot, mut rest, mut reach) = self.map_root(rest).ok_or_else(too_far)?;
        let mut table = pointer(inode.block_area(), slot).unwrap_or(0);
        loop {
            if table == 0 {
                return Ok(Segment::Hole(reach.saturating_sub(rest).max(1)));
            }
            let bytes = self.read(table)?;
            // Three levels at most: the reach shrinks by each.
            reach /= self.map_width();
            if reach <= 1 {
                return self.map_run(inode, &bytes, rest);
            }
            table = pointer(&bytes, rest / reach).unwrap_or(0);
            rest %= reach;
        }
    }

    /// The run that begins at a place of a table of block numbers.
    fn map_run(&self, inode: &Inode, table: &[u8], place: u64) -> Result<Segment> {
        let mut numbers = (place..).map_while(|place| pointer(table, place));
        let Some(start) = numbers.next() else { return Err(inode.damaged("its map of blocks ends early")) };
        if start == 0 {
            let more = numbers.take_while(|number| *number == 0).count();
            return Ok(Segment::Hole(u64::try_from(more).unwrap_or(0) + 1));
        }
        let more = numbers.zip(start + 1..).take_while(|(number, next)| number == next).count();
        let len = u64::try_from(more).unwrap_or(0) + 1;
        self.superblock.check_blocks(start, len)?;
        Ok(Segment::Blocks { start, len })
    }
}
