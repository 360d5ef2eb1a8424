//! The mapping of a file: which blocks are its own, be it by a tree of extents or by the block map of ext2 and ext3.
//!
//! Blocks are only ever added behind the last and taken from the end, because content is replaced and never rewritten.

use super::allocate::BlockRun;
use super::extent::{Extent, LENGTH_MAX, Segment, Written};
use super::feature::incompat;
use super::inode::{Inode, flag};
use super::store::Store;
use crate::error::{Error, Layer, Result};
use crate::fs::FileType;

/// From its block of this number on a directory is kept together: three extents fit into the inode before that one.
const SPREAD_DIRECTORY: u32 = 3;

impl Store {
    /// Gives a new file the kind of mapping that the filesystem has, without blocks.
    pub(super) fn new_mapping(&self, inode: &mut Inode) -> Result<()> {
        if self.superblock.has_incompat(incompat::EXTENTS) {
            inode.set_flags(inode.flags() | flag::EXTENTS);
        }
        self.clear_mapping(inode)
    }

    /// Makes a file have no blocks, without freeing any: they belong to whoever holds a copy of the inode.
    pub(super) fn clear_mapping(&self, inode: &mut Inode) -> Result<()> {
        *inode = self.empty(inode)?;
        if inode.has_flag(flag::EXTENTS) {
            return self.clear_extents(inode);
        }
        inode.set_block_area(&[]);
        Ok(())
    }

    /// What a file has from a block on.
    pub(super) fn segment(&self, inode: &Inode, logical: u64) -> Result<Segment> {
        check_blocks(inode)?;
        if inode.has_flag(flag::EXTENTS) {
            return self.extent_segment(inode, logical);
        }
        self.map_segment(inode, logical)
    }

    /// Gives a file up to `want` new blocks, one at least, that follow each other, from its block `logical` on, where and
    /// behind which it has none yet.
    ///
    /// With `bigalloc` a block has the place in its cluster that it has in the file's: what is missing in a cluster that
    /// the file has begun is taken first.
    pub(super) fn grow(&mut self, inode: &mut Inode, logical: u32, want: u32) -> Result<BlockRun> {
        self.check_mapping(inode)?;
        let cluster = self.superblock.cluster_blocks();
        let inside = logical % cluster;
        let want = want.min(LENGTH_MAX);
        let run = match self.begun_cluster(inode, logical)? {
            Some(start) => BlockRun { start, len: want.min(cluster - inside) },
            None => {
                let goal = self.data_goal(inode, logical)?;
                let goal = if logical >= SPREAD_DIRECTORY && matches!(inode.file_type(), Ok(FileType::Directory)) {
                    self.directory_goal(goal)?
                } else {
                    goal
                };
                let run = self.allocate_blocks(goal, want.saturating_add(inside))?;
                self.add_blocks(inode, i64::from(run.len.div_ceil(cluster)))?;
                let len = run.len.checked_sub(inside).filter(|len| *len > 0).ok_or_else(too_large)?;
                BlockRun { start: run.start + u64::from(inside), len: want.min(len) }
            }
        };
        if inode.has_flag(flag::EXTENTS) {
            let extent = Extent { logical, len: run.len, start: run.start, written: Written::Yes };
            self.append_extent(inode, extent)?;
        } else {
            self.append_to_map(inode, logical, run)?;
        }
        Ok(run)
    }

    /// Where the block `logical` of a file has to be, if the file's last block is in its cluster already.
    fn begun_cluster(&self, inode: &Inode, logical: u32) -> Result<Option<u64>> {
        let cluster = u64::from(self.superblock.cluster_blocks());
        let logical = u64::from(logical);
        if logical.is_multiple_of(cluster) {
            return Ok(None);
        }
        let last = self.last_extent(inode)?.filter(|last| (last.end() - 1) / cluster == logical / cluster);
        Ok(last.map(|last| last.start.saturating_add(logical.saturating_sub(u64::from(last.logical)))))
    }

    /// Fails where the blocks of a file cannot be changed.
    fn check_mapping(&self, inode: &Inode) -> Result<()> {
        check_blocks(inode)?;
        if inode.has_flag(flag::EXTENTS) || self.superblock.cluster_shift == 0 {
            return Ok(());
        }
        // The kernel does not either.
        Err(Error::unsupported(Layer::Filesystem, "cannot change this file: it has no extents, which bigalloc needs"))
    }

    /// Frees all blocks of a file from its block `from` on, and the metadata that describes nothing any more.
    ///
    /// Errors: `Corrupt` where it had counted more blocks than it had, as far as that shows: its owner's quota would be
    /// relieved of all of them.
    pub(super) fn cut(&mut self, inode: &mut Inode, from: u64) -> Result<()> {
        self.check_mapping(inode)?;
        if inode.has_flag(flag::EXTENTS) {
            self.cut_extents(inode, from)?;
        } else {
            self.cut_map(inode, from)?;
        }
        let block_size = self.superblock.block_size;
        if from == 0 && inode.sectors(block_size) != self.empty(inode)?.sectors(block_size) {
            return Err(inode.damaged("it counts more blocks than it has"));
        }
        Ok(())
    }

    /// The inode as it is without a block of content: what its attributes take stays counted.
    pub(super) fn empty(&self, inode: &Inode) -> Result<Inode> {
        let mut empty = inode.clone();
        empty.set_sectors(0, self.superblock.block_size, self.huge_files())?;
        let (values, _) = self.value_charge(&empty)?;
        let clusters = values.saturating_add(i64::from(empty.xattr_block() != 0));
        self.add_blocks(&mut empty, clusters)?;
        Ok(empty)
    }

    /// Fails with `Unsupported` where a file cannot have this size, in bytes.
    pub(super) fn check_size(&self, inode: &Inode, size: u64) -> Result<()> {
        let blocks = size.div_ceil(u64::from(self.superblock.block_size));
        let most = if inode.has_flag(flag::EXTENTS) { u64::from(u32::MAX) } else { self.map_reach() };
        if blocks > most { Err(too_large()) } else { Ok(()) }
    }

    /// Where the block `logical` of a file had best be: after what is before it, else in the inode's group.
    fn data_goal(&self, inode: &Inode, logical: u32) -> Result<u64> {
        if let Some(before) = logical.checked_sub(1) {
            let last = if inode.has_flag(flag::EXTENTS) {
                self.last_extent(inode)?.map(|last| last.start.saturating_add(u64::from(last.len) - 1))
            } else {
                match self.map_segment(inode, u64::from(before))? {
                    Segment::Blocks { start, .. } => Some(start),
                    Segment::Hole(_) => None,
                }
            };
            if let Some(last) = last {
                return Ok(last.saturating_add(1));
            }
        }
        let (group, _) = self.inode_place(inode.number)?;
        Ok(self.superblock.group_start(group))
    }

    /// The same for a directory that grows with the files in it: their content fills a group from its beginning and so
    /// lies where the directory would go on. It then goes on in the group's last quarter, and has few extents.
    fn directory_goal(&mut self, goal: u64) -> Result<u64> {
        let Ok(number) = self.superblock.group_of(goal) else { return Ok(goal) };
        let start = self.superblock.group_start(number);
        let wanted = self.clusters(start, goal, goal.saturating_add(1));
        if !self.block_bitmap(number)?.all_set(wanted) {
            return Ok(goal);
        }
        Ok(start.saturating_add(u64::from(self.superblock.group_len(number)) / 4 * 3))
    }

    /// Counts clusters as the file's, or no longer.
    pub(super) fn add_blocks(&self, inode: &mut Inode, clusters: i64) -> Result<()> {
        let block_size = self.superblock.block_size;
        let blocks = clusters.saturating_mul(i64::from(self.superblock.cluster_blocks()));
        let sectors = blocks.saturating_mul(i64::from(block_size / 512));
        let sectors = inode.sectors(block_size).checked_add_signed(sectors);
        let sectors = sectors.ok_or_else(|| inode.damaged("it has more blocks than it counts"))?;
        inode.set_sectors(sectors, block_size, self.huge_files())
    }
}

/// Fails unless the content is in blocks, and can be reached.
fn check_blocks(inode: &Inode) -> Result<()> {
    if inode.has_flag(flag::INLINE_DATA) {
        return Err(inode.damaged("its content is inside of it and should be in blocks"));
    }
    Ok(())
}

/// A file cannot have so many blocks.
pub(super) fn too_large() -> Error {
    Error::unsupported(Layer::Filesystem, "the file is larger than ext4 can hold")
}
