//! Blocks that somebody has chosen already: taken as they are, if they are free.

use super::groups::Mark;
use super::store::Store;
use crate::error::{Error, Layer, Result};

impl Store {
    /// Takes the clusters that have these blocks; `Corrupt` where one is in use.
    pub(super) fn claim_blocks(&mut self, start: u64, len: u64) -> Result<()> {
        for (number, run) in self.clusters_of(start, len)? {
            let bitmap = self.block_bitmap(number)?;
            if (run.start..run.start.saturating_add(run.len)).any(|bit| bitmap.get(bit)) {
                return Err(self.group(number)?.damaged("blocks that a file is to have are in use in it"));
            }
            self.mark_clusters(number, run, Mark::Used)?;
            let blocks = u64::from(run.len) << self.superblock.cluster_shift;
            let free = self.superblock.free_blocks.checked_sub(blocks);
            self.superblock.free_blocks = free.ok_or_else(|| {
                Error::corrupt(Layer::Filesystem, "the groups have more free blocks than the filesystem")
            })?;
        }
        Ok(())
    }

    /// Whether an inode is marked as in use in what is stored.
    pub(super) fn inode_is_stored(&self, number: u32) -> Result<bool> {
        let (group, index) = self.inode_place(number)?;
        Ok(self.read_inode_bitmap(&*self.group(group)?)?.get(index))
    }
}
