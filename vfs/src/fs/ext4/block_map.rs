//! The block maps of ext2 and ext3: read, never changed.
//!
//! Source: kernel Documentation/filesystems/ext4/ifork.rst, "Direct/Indirect Block Addressing".

use super::extent::Segment;
use super::inode::Inode;
use super::le;
use super::store::Store;
use crate::error::Result;

/// How many blocks the inode itself names.
const DIRECT: u64 = 12;

impl Store {
    /// What a file has from a block on, where its blocks are mapped as in ext2 and ext3.
    pub(super) fn mapped_segment(&self, inode: &Inode, logical: u64) -> Result<Segment> {
        let per_block = u64::from(self.superblock.block_size / 4);
        let Some(rest) = logical.checked_sub(DIRECT) else {
            return self.mapped_run(inode, inode.block_area().get(..48).unwrap_or_default(), logical);
        };
        let mut rest = rest;
        let mut reach = per_block;
        for slot in 12..15_usize {
            if rest < reach {
                let root = le::u32_at(inode.block_area(), slot * 4).unwrap_or(0);
                return self.indirect_segment(inode, root, rest, reach);
            }
            rest -= reach;
            reach = reach.saturating_mul(per_block);
        }
        Err(inode.damaged("it is larger than its map can tell"))
    }

    /// What is at block `rest` of the `reach` blocks that the indirect block `at` describes.
    fn indirect_segment(&self, inode: &Inode, at: u32, rest: u64, reach: u64) -> Result<Segment> {
        let per_block = u64::from(self.superblock.block_size / 4);
        let (mut at, mut rest, mut reach) = (at, rest, reach);
        loop {
            if at == 0 {
                return Ok(Segment::Hole(reach.saturating_sub(rest).max(1)));
            }
            let bytes = self.read(u64::from(at))?;
            // Three levels at most: the reach shrinks by each.
            reach /= per_block;
            if reach <= 1 {
                return self.mapped_run(inode, &bytes, rest);
            }
            at = usize::try_from(rest / reach * 4).ok().and_then(|offset| le::u32_at(&bytes, offset)).unwrap_or(0);
            rest %= reach;
        }
    }

    /// The run that begins at a place of a table of block numbers.
    fn mapped_run(&self, inode: &Inode, table: &[u8], place: u64) -> Result<Segment> {
        let skipped = usize::try_from(place).ok().and_then(|place| place.checked_mul(4));
        let rest = skipped.and_then(|skipped| table.get(skipped..)).unwrap_or_default();
        let mut numbers = rest.chunks_exact(4).filter_map(|field| le::u32_at(field, 0)).map(u64::from);
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
