//! Blocks: finding free ones near to where they are wanted, and giving them back.
//!
//! Source: kernel Documentation/filesystems/ext4/bitmaps.rst and blockgroup.rst.

use super::bitmap::{BitRun, Bitmap};
use super::checksum::crc32c;
use super::extent::LENGTH_MAX;
use super::group::{BLOCK_UNINIT, Group, inode_table_blocks};
use super::groups::Mark;
use super::store::Store;
use crate::error::{Error, ErrorKind, Layer, Result};

/// A range that is at least this long, in clusters, is good enough for a large file.
const GOOD_RUN: u32 = 2048;
/// After so many groups without a good range the best one seen is taken.
const GROUPS_MAX: u32 = 32;

/// Blocks of the filesystem, one after the other, in one group.
///
/// What is allocated and freed are clusters: with `bigalloc` many blocks each, otherwise one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRun {
    /// The first.
    pub(super) start: u64,
    /// How many.
    pub(super) len: u32,
}

impl Store {
    /// Takes free clusters that follow each other and have room for up to `want` blocks, at `goal` or after it where
    /// possible; at least one.
    ///
    /// Reserved blocks are taken too, as root may. Errors: `NoSpace`.
    pub(super) fn allocate_blocks(&mut self, goal: u64, want: u32) -> Result<BlockRun> {
        let shift = self.superblock.cluster_shift;
        let want = want.clamp(1, LENGTH_MAX).div_ceil(self.superblock.cluster_blocks());
        let first = self.superblock.group_of(goal).unwrap_or(0);
        let mut best: Option<(u32, BitRun)> = None;
        let mut looked = 0;
        for step in 0..self.superblock.groups {
            let number = rotate(first, step, self.superblock.groups);
            let group = self.group(number)?;
            let acceptable = want.min(GOOD_RUN);
            if group.free_clusters() == 0 || (best.is_some() && group.free_clusters() < acceptable) {
                continue;
            }
            let near = if step == 0 { goal.saturating_sub(self.superblock.group_start(number)) } else { 0 };
            let near = u32::try_from(near >> shift).unwrap_or(0);
            let bitmap = self.block_bitmap(number)?;
            if best.is_none_or(|(_, best)| best.len < bitmap.longest()) {
                let Some(run) = bitmap.find(near, want) else {
                    return Err(group.damaged("it has no free blocks and counts some"));
                };
                if run.len >= acceptable || (step == 0 && run.start == near) {
                    best = Some((number, run));
                    break;
                }
                if best.is_none_or(|(_, best)| best.len < run.len) {
                    best = Some((number, run));
                }
            }
            looked += 1;
            if looked >= GROUPS_MAX {
                break;
            }
        }
        let (number, run) =
            best.ok_or_else(|| Error::new(ErrorKind::NoSpace, Layer::Filesystem, "the guest filesystem is full"))?;
        self.mark_clusters(number, run, Mark::Used)?;
        let len = u64::from(run.len) << shift;
        self.superblock.free_blocks = match self.superblock.free_blocks.checked_sub(len) {
            Some(left) => left,
            None => return Err(self.group(number)?.damaged("it has more free blocks than the filesystem")),
        };
        let start = self.superblock.group_start(number) + (u64::from(run.start) << shift);
        // The last cluster of the filesystem may be cut short.
        let len = len.min(self.superblock.blocks.saturating_sub(start));
        self.note_taken(start, len)?;
        Ok(BlockRun { start, len: narrow(len) })
    }

    /// Gives back the clusters that have these blocks; `Corrupt` where one is free already, or is the filesystem's own.
    pub(super) fn free_blocks(&mut self, start: u64, len: u64) -> Result<()> {
        let shift = self.superblock.cluster_shift;
        for (number, run) in self.clusters_of(start, len)? {
            let group = self.group(number)?;
            if !self.block_bitmap(number)?.all_set(run) {
                return Err(group.damaged("blocks of a file are marked as free in it"));
            }
            let metadata = self.metadata_clusters(number)?;
            if metadata.iter().any(|own| own.start < run.start + run.len && run.start < own.start + own.len) {
                return Err(group.damaged("blocks of a file are the filesystem's own"));
            }
            self.mark_clusters(number, run, Mark::Free)?;
            let first = self.superblock.group_start(number) + (u64::from(run.start) << shift);
            self.note_freed(first, u64::from(run.len) << shift);
            self.superblock.free_blocks = self.superblock.free_blocks.saturating_add(u64::from(run.len) << shift);
        }
        self.forget(start, len);
        Ok(())
    }

    /// The clusters that have these blocks, group by group; `Corrupt` where the filesystem does not have all of them.
    pub(super) fn clusters_of(&self, start: u64, len: u64) -> Result<Vec<(u32, BitRun)>> {
        self.superblock.check_blocks(start, len)?;
        let end = start + len;
        let mut runs = Vec::new();
        let mut at = start;
        while at < end {
            let number = self.superblock.group_of(at)?;
            let group_start = self.superblock.group_start(number);
            let until = end.min(group_start + u64::from(self.superblock.group_len(number)));
            runs.push((number, self.clusters(group_start, at, until)));
            at = until;
        }
        Ok(runs)
    }

    /// The clusters of a group that have the blocks from `from` up to `until`, all of the group.
    pub(super) fn clusters(&self, group_start: u64, from: u64, until: u64) -> BitRun {
        let shift = self.superblock.cluster_shift;
        let start = narrow((from - group_start) >> shift);
        let end = narrow((until - group_start).div_ceil(1 << shift));
        BitRun { start, len: end - start }
    }

    /// The block bitmap of a group: as stored, or as it has to begin where it never was.
    pub(super) fn read_block_bitmap(&self, group: &Group) -> Result<Bitmap> {
        let len = self.superblock.group_clusters(group.number);
        let bitmap = if group.has_flag(BLOCK_UNINIT, &self.superblock) {
            let mut bitmap = Bitmap::empty(self.block_len(), len);
            for own in self.own_clusters(group) {
                bitmap.set(own);
            }
            bitmap
        } else {
            let bytes = self.read(group.block_bitmap())?;
            if let Some(sum) = self.block_bitmap_sum(&bytes)
                && !group.block_bitmap_sum_is(sum)
            {
                return Err(group.damaged("the checksum of its block bitmap is wrong"));
            }
            Bitmap::new(bytes.to_vec(), len)
        };
        self.check_own_blocks(group, &bitmap)?;
        if bitmap.count_clear() != group.free_clusters() {
            return Err(group.damaged("its block bitmap and its count of free blocks differ"));
        }
        Ok(bitmap)
    }

    /// Fails where a bitmap has blocks as free that the filesystem has for itself.
    pub(super) fn check_own_blocks(&self, group: &Group, bitmap: &Bitmap) -> Result<()> {
        if self.metadata_clusters(group.number)?.into_iter().all(|own| bitmap.all_set(own)) {
            return Ok(());
        }
        Err(group.damaged("its block bitmap has the filesystem's own blocks as free"))
    }

    pub(super) fn block_bitmap_sum(&self, bytes: &[u8]) -> Option<u32> {
        let clusters = self.superblock.blocks_per_group >> self.superblock.cluster_shift;
        let len = usize::try_from(clusters / 8).ok()?;
        Some(crc32c(self.superblock.seed?, bytes.get(..len)?))
    }

    /// Writes the block bitmap of a group that has none yet: a group with inodes in use has to have one.
    pub(super) fn settle_block_bitmap(&mut self, number: u32) -> Result<()> {
        if !self.group(number)?.has_flag(BLOCK_UNINIT, &self.superblock) {
            return Ok(());
        }
        self.mark_clusters(number, BitRun { start: 0, len: 0 }, Mark::Used)
    }

    /// The clusters of a group that hold metadata: its own, and that of other groups.
    fn metadata_clusters(&self, number: u32) -> Result<Vec<BitRun>> {
        self.know_all()?;
        let start = self.superblock.group_start(number);
        let end = start + u64::from(self.superblock.group_len(number));
        Ok(self.places.within(start, end).into_iter().map(|(from, until)| self.clusters(start, from, until)).collect())
    }

    /// The clusters of a group that hold its own metadata, and superblocks and descriptors.
    fn own_clusters(&self, group: &Group) -> Vec<BitRun> {
        let start = self.superblock.group_start(group.number);
        let len = u64::from(self.superblock.group_len(group.number));
        let table = u64::from(inode_table_blocks(&self.superblock));
        let base = u64::from(self.superblock.base_blocks(group.number));
        [(start, base), (group.block_bitmap(), 1), (group.inode_bitmap(), 1), (group.inode_table(), table)]
            .into_iter()
            .filter_map(|(first, count)| {
                // With flex_bg they may lie in another group altogether.
                let from = first.max(start);
                let until = first.saturating_add(count).min(start + len);
                (from < until).then(|| self.clusters(start, from, until))
            })
            .collect()
    }
}

/// The number of the group `step` groups after `first`, going round.
pub(super) fn rotate(first: u32, step: u32, groups: u32) -> u32 {
    let number = (u64::from(first) + u64::from(step)) % u64::from(groups.max(1));
    narrow(number)
}

/// A number that is known to be less than the blocks of a group.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
