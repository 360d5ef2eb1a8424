//! Where the groups of a filesystem lie, and what of each is the filesystem's own.
//!
//! Source: kernel Documentation/filesystems/ext4/blockgroup.rst and bigalloc.rst.

use super::super::feature::{compat, incompat, ro_compat};
use super::Superblock;
use crate::error::{Error, ErrorKind, Layer, Result};

impl Superblock {
    /// The first block of a group.
    pub(in super::super) fn group_start(&self, group: u32) -> u64 {
        u64::from(self.first_data_block) + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// How many blocks a group has: fewer in the last one.
    pub(in super::super) fn group_len(&self, group: u32) -> u32 {
        let rest = self.blocks.saturating_sub(self.group_start(group));
        u32::try_from(rest).map_or(self.blocks_per_group, |rest| rest.min(self.blocks_per_group))
    }

    /// How many blocks a cluster has.
    pub(in super::super) fn cluster_blocks(&self) -> u32 {
        1 << self.cluster_shift
    }

    /// How many clusters a group has: fewer in the last one.
    pub(in super::super) fn group_clusters(&self, group: u32) -> u32 {
        self.group_len(group).div_ceil(self.cluster_blocks())
    }

    /// The group of a block; `Corrupt` where the filesystem does not have the block.
    pub(in super::super) fn group_of(&self, block: u64) -> Result<u32> {
        let relative = block.checked_sub(u64::from(self.first_data_block)).filter(|_| block < self.blocks);
        relative
            .and_then(|relative| u32::try_from(relative / u64::from(self.blocks_per_group)).ok())
            .ok_or_else(|| Error::corrupt(Layer::Filesystem, format!("there is no block {block}")))
    }

    /// Fails with `Corrupt` unless all these blocks are in the filesystem, after the superblock.
    pub(in super::super) fn check_blocks(&self, start: u64, len: u64) -> Result<()> {
        match start.checked_add(len) {
            Some(end) if end <= self.blocks && start > u64::from(self.first_data_block) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Corrupt,
                Layer::Filesystem,
                format!("blocks {start} and the {len} from there are outside the filesystem"),
            )),
        }
    }

    /// Whether a group holds a copy of the superblock (and, without `meta_bg`, of the descriptors).
    pub(in super::super) fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.has_compat(compat::SPARSE_SUPER2) {
            return self.backup_groups().contains(&group);
        }
        if group == 1 || !self.has_ro_compat(ro_compat::SPARSE_SUPER) {
            return true;
        }
        group % 2 == 1 && [3, 5, 7].into_iter().any(|base| is_power_of(group, base))
    }

    /// How many descriptor blocks the filesystem has.
    pub(in super::super) fn descriptor_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descriptors_per_block().max(1))
    }

    fn is_meta_group(&self, descriptor_block: u32) -> bool {
        self.has_incompat(incompat::META_BG) && descriptor_block >= self.first_meta_group()
    }

    /// The block with the descriptor of a group.
    pub(in super::super) fn descriptor_block(&self, group: u32) -> u64 {
        let per_block = self.descriptors_per_block().max(1);
        let nth = group / per_block;
        if self.is_meta_group(nth) {
            let first = nth.saturating_mul(per_block);
            self.group_start(first) + u64::from(self.boot_blocks(first)) + u64::from(self.has_superblock(first))
        } else {
            // After the superblock, which with bigalloc is not in the first data block of 1 KiB.
            u64::from(self.block_size == 1024) + 1 + u64::from(nth)
        }
    }

    /// With blocks of 1 KiB and bigalloc the first group begins with the boot block, and the superblock comes after it.
    fn boot_blocks(&self, group: u32) -> u32 {
        u32::from(group == 0 && self.first_data_block == 0 && self.block_size == 1024)
    }

    /// How many blocks at the start of a group hold the superblock, descriptors and the room for more of them.
    pub(in super::super) fn base_blocks(&self, group: u32) -> u32 {
        let per_block = self.descriptors_per_block().max(1);
        let superblock = self.boot_blocks(group) + u32::from(self.has_superblock(group));
        if self.is_meta_group(group / per_block) {
            let place = group % per_block;
            return superblock + u32::from(place == 0 || place == 1 || place == per_block - 1);
        }
        if superblock == 0 {
            return 0;
        }
        let descriptors = if self.has_incompat(incompat::META_BG) {
            self.first_meta_group().min(self.descriptor_blocks())
        } else {
            self.descriptor_blocks()
        };
        let reserved = if self.has_compat(compat::RESIZE_INODE) { self.reserved_descriptor_blocks() } else { 0 };
        superblock.saturating_add(descriptors).saturating_add(u32::from(reserved))
    }
}

fn is_power_of(number: u32, base: u32) -> bool {
    let mut power = base;
    while power < number {
        power = power.saturating_mul(base);
    }
    power == number
}
