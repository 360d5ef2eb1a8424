//! Group descriptors: where a group keeps its bitmaps and inodes, and what is free in it.
//!
//! Source: kernel Documentation/filesystems/ext4/group_descr.rst.

use super::checksum::{crc16, crc32c};
use super::le;
use super::superblock::{GroupChecksum, Superblock};
use crate::error::{Error, Layer, Result};

/// The inode bitmap was never written: no inode is in use.
pub(super) const INODE_UNINIT: u16 = 0x1;
/// The block bitmap was never written: only the group's own metadata is in use.
pub(super) const BLOCK_UNINIT: u16 = 0x2;
/// The unused part of the inode table holds zeros.
pub(super) const INODE_ZEROED: u16 = 0x4;

const FLAGS: usize = 0x12;
const CHECKSUM: usize = 0x1e;

/// A group's descriptor.
#[derive(Clone, Debug)]
pub(super) struct Group {
    raw: Vec<u8>,
    /// The group's number.
    pub(super) number: u32,
}

impl Group {
    /// Takes the bytes of a descriptor; `Corrupt` where its checksum or the places it names are wrong.
    pub(super) fn parse(raw: &[u8], number: u32, superblock: &Superblock) -> Result<Self> {
        let group = Self { raw: raw.to_vec(), number };
        if superblock.group_checksum != GroupChecksum::None && group.sum(superblock) != group.u16_at(CHECKSUM) {
            return Err(group.damaged("its checksum is wrong"));
        }
        if superblock.group_checksum == GroupChecksum::None
            && (group.u16_at(FLAGS) & (INODE_UNINIT | BLOCK_UNINIT) != 0 || group.itable_unused() != 0)
        {
            return Err(group.damaged("it has no checksum and says that a part of it was never written"));
        }
        superblock.check_blocks(group.block_bitmap(), 1)?;
        superblock.check_blocks(group.inode_bitmap(), 1)?;
        superblock.check_blocks(group.inode_table(), u64::from(inode_table_blocks(superblock)))?;
        // Nothing of the kind can lie where the first superblock and the descriptors are, or on its like.
        let base = u64::from(superblock.first_data_block) + u64::from(superblock.base_blocks(0));
        let table = group.inode_table();
        let table_end = table + u64::from(inode_table_blocks(superblock));
        let bitmaps = [group.block_bitmap(), group.inode_bitmap()];
        if table < base
            || group.block_bitmap() == group.inode_bitmap()
            || bitmaps.iter().any(|bitmap| *bitmap < base || (table..table_end).contains(bitmap))
        {
            return Err(group.damaged("its bitmaps and inodes lie on each other"));
        }
        if group.free_clusters() > superblock.group_clusters(number)
            || group.free_inodes() > superblock.inodes_per_group
            || group.used_directories() > superblock.inodes_per_group
            || group.itable_unused() > superblock.inodes_per_group
        {
            return Err(group.damaged("its counters are impossible"));
        }
        Ok(group)
    }

    /// The bytes to write, with their checksum.
    pub(super) fn encode(&mut self, superblock: &Superblock) -> &[u8] {
        if superblock.group_checksum != GroupChecksum::None {
            let sum = self.sum(superblock);
            self.store(CHECKSUM, &sum.to_le_bytes());
        }
        &self.raw
    }

    fn sum(&self, superblock: &Superblock) -> u16 {
        let before = self.raw.get(..CHECKSUM).unwrap_or_default();
        let after = self.raw.get(CHECKSUM + 2..).unwrap_or_default();
        let number = self.number.to_le_bytes();
        match superblock.seed {
            Some(seed) => {
                let sum = crc32c(crc32c(seed, &number), before);
                let [low, high, ..] = crc32c(crc32c(sum, &[0, 0]), after).to_le_bytes();
                u16::from_le_bytes([low, high])
            }
            None => {
                let sum = crc16(crc16(crc16(!0, superblock.uuid()), &number), before);
                crc16(sum, after)
            }
        }
    }

    fn u16_at(&self, offset: usize) -> u16 {
        le::u16_at(&self.raw, offset).unwrap_or(0)
    }

    /// A number of which the high half is there in long descriptors only.
    fn split16(&self, low: usize, high: usize) -> u32 {
        u32::from(self.u16_at(low)) | u32::from(self.u16_at(high)) << 16
    }

    fn split32(&self, low: usize, high: usize) -> u64 {
        let part = |offset| u64::from(le::u32_at(&self.raw, offset).unwrap_or(0));
        part(low) | part(high) << 32
    }

    // Every caller's offsets are inside the 32 bytes that a descriptor has at least; a high half outside is not there.
    fn store(&mut self, offset: usize, field: &[u8]) {
        let _ = le::put(&mut self.raw, offset, field);
    }

    fn store_split16(&mut self, low: usize, high: usize, value: u32) {
        let [b0, b1, b2, b3] = value.to_le_bytes();
        self.store(low, &[b0, b1]);
        self.store(high, &[b2, b3]);
    }

    /// The block with the block bitmap.
    pub(super) fn block_bitmap(&self) -> u64 {
        self.split32(0x0, 0x20)
    }

    /// The block with the inode bitmap.
    pub(super) fn inode_bitmap(&self) -> u64 {
        self.split32(0x4, 0x24)
    }

    /// The first block of the inode table.
    pub(super) fn inode_table(&self) -> u64 {
        self.split32(0x8, 0x28)
    }

    /// How many clusters are free.
    pub(super) fn free_clusters(&self) -> u32 {
        self.split16(0xc, 0x2c)
    }

    /// Sets how many clusters are free.
    pub(super) fn set_free_clusters(&mut self, count: u32) {
        self.store_split16(0xc, 0x2c, count);
    }

    /// How many inodes are free.
    pub(super) fn free_inodes(&self) -> u32 {
        self.split16(0xe, 0x2e)
    }

    /// Sets how many inodes are free.
    pub(super) fn set_free_inodes(&mut self, count: u32) {
        self.store_split16(0xe, 0x2e, count);
    }

    /// How many inodes are directories.
    pub(super) fn used_directories(&self) -> u32 {
        self.split16(0x10, 0x30)
    }

    /// Sets how many inodes are directories.
    pub(super) fn set_used_directories(&mut self, count: u32) {
        self.store_split16(0x10, 0x30, count);
    }

    /// How many inodes at the end of the table were never used.
    pub(super) fn itable_unused(&self) -> u32 {
        self.split16(0x1c, 0x32)
    }

    /// Sets how many inodes at the end of the table were never used.
    pub(super) fn set_itable_unused(&mut self, count: u32) {
        self.store_split16(0x1c, 0x32, count);
    }

    /// Whether a flag is set; without group checksums none is.
    pub(super) fn has_flag(&self, flag: u16, superblock: &Superblock) -> bool {
        superblock.group_checksum != GroupChecksum::None && self.u16_at(FLAGS) & flag != 0
    }

    /// Clears a flag.
    pub(super) fn clear_flag(&mut self, flag: u16) {
        let flags = self.u16_at(FLAGS) & !flag;
        self.store(FLAGS, &flags.to_le_bytes());
    }

    /// Whether `sum` is the block bitmap's checksum, as far as it is stored.
    pub(super) fn block_bitmap_sum_is(&self, sum: u32) -> bool {
        self.sum_is(0x18, 0x38, sum)
    }

    /// Whether `sum` is the inode bitmap's checksum, as far as it is stored.
    pub(super) fn inode_bitmap_sum_is(&self, sum: u32) -> bool {
        self.sum_is(0x1a, 0x3a, sum)
    }

    fn sum_is(&self, low: usize, high: usize, sum: u32) -> bool {
        let mask = if le::u16_at(&self.raw, high).is_some() { !0 } else { 0xffff };
        self.split16(low, high) == sum & mask
    }

    /// Stores the block bitmap's checksum.
    pub(super) fn set_block_bitmap_sum(&mut self, sum: u32) {
        self.store_split16(0x18, 0x38, sum);
    }

    /// Stores the inode bitmap's checksum.
    pub(super) fn set_inode_bitmap_sum(&mut self, sum: u32) {
        self.store_split16(0x1a, 0x3a, sum);
    }

    /// An error that names the group.
    pub(super) fn damaged(&self, what: &str) -> Error {
        Error::corrupt(Layer::Filesystem, format!("ext4 group {} is damaged: {what}", self.number))
    }
}

/// How many blocks the inode table of a group has.
pub(super) fn inode_table_blocks(superblock: &Superblock) -> u32 {
    let bytes = u64::from(superblock.inodes_per_group) * u64::from(superblock.inode_size);
    u32::try_from(bytes.div_ceil(u64::from(superblock.block_size))).unwrap_or(u32::MAX)
}
