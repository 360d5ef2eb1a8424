//! The superblock: the shape of the filesystem, its state and its counters.
//!
//! Source: kernel Documentation/filesystems/ext4/super.rst.

mod geometry;

use super::checksum::crc32c;
use super::feature::{FeatureBits, compat, incompat, ro_compat};
use super::htree::{CharSign, HashFunction, NameHash};
use super::le;
use super::quota::Kind;
use crate::error::{Error, Layer, Result};
use crate::fs::{Mode, Timestamp};

/// Where the superblock lies, in bytes from the start of the volume.
pub(super) const OFFSET: u64 = 1024;
/// How long it is, in bytes.
pub(super) const LENGTH: usize = 1024;

const MAGIC: u16 = 0xef53;
const CHECKSUM: usize = 0x3fc;
/// The largest cluster is of 1 GiB; the field counts from 1 KiB.
const CLUSTER_LOG_MAX: u32 = 20;
const STATE_CLEAN: u16 = 0x1;
const STATE_ERRORS: u16 = 0x2;
const STATE_ORPHANS: u16 = 0x4;
const FLAG_UNSIGNED_HASH: u32 = 0x2;
const LAST_ORPHAN: usize = 0xe8;
/// The UUID of a journal that is on another device.
const JOURNAL_UUID: usize = 0xd0;
/// From the count of errors to the last of them.
const ERRORS: usize = 0x194;
const ERRORS_END: usize = 0x200;

/// How group descriptors are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupChecksum {
    /// Not at all; the UNINIT flags mean nothing then.
    None,
    /// By CRC-16 (`uninit_bg`).
    Crc16,
    /// By CRC-32C, as all metadata (`metadata_csum`).
    Crc32c,
}

/// The superblock, checked, with the numbers that everything else needs.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    raw: Vec<u8>,
    pub(super) features: FeatureBits,
    /// In bytes: 1024, 2048 or 4096.
    pub(super) block_size: u32,
    pub(super) blocks: u64,
    pub(super) inodes: u32,
    pub(super) first_data_block: u32,
    pub(super) blocks_per_group: u32,
    /// How many blocks a cluster has, as a power of two: 0 but with `bigalloc`. Bitmaps and the counts of free blocks in
    /// groups are in clusters, everything else is in blocks.
    pub(super) cluster_shift: u32,
    pub(super) inodes_per_group: u32,
    pub(super) groups: u32,
    /// In bytes, a power of two, 128 to the block size.
    pub(super) inode_size: u16,
    /// In bytes, 32 or more.
    pub(super) descriptor_size: u16,
    pub(super) group_checksum: GroupChecksum,
    /// The seed of all checksums, where the filesystem has `metadata_csum`.
    pub(super) seed: Option<u32>,
    /// The seed of the hashes of attribute values, with or without it.
    pub(super) value_seed: u32,
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u32,
}

impl Superblock {
    /// Takes the 1024 bytes of a superblock. `device` is the size of the volume in bytes.
    ///
    /// Errors: `Unsupported` where it is none, or has a feature that cannot be read; `Corrupt` where it contradicts
    /// itself or the volume.
    pub(super) fn parse(raw: Vec<u8>, device: u64) -> Result<Self> {
        if raw.len() != LENGTH || le::u16_at(&raw, 0x38) != Some(MAGIC) {
            return Err(Error::unsupported(Layer::Filesystem, "there is no ext4 filesystem"));
        }
        let u16_at = |offset| le::u16_at(&raw, offset).unwrap_or(0);
        let u32_at = |offset| le::u32_at(&raw, offset).unwrap_or(0);
        if u32_at(0x4c) == 0 {
            return Err(Error::unsupported(Layer::Filesystem, "an ext2 filesystem of revision 0")
                .with_hint("tune2fs -O large_file makes it one of revision 1, which every Linux since 1997 mounts"));
        }
        let features = FeatureBits { compat: u32_at(0x5c), incompat: u32_at(0x60), ro_compat: u32_at(0x64) };
        features.check_readable()?;
        let has_checksums = features.ro_compat & ro_compat::METADATA_CSUM != 0;
        if has_checksums {
            if raw.get(0x175) != Some(&1) {
                return Err(Error::unsupported(Layer::Filesystem, "an unknown kind of checksums"));
            }
            if crc32c(!0, raw.get(..CHECKSUM).unwrap_or_default()) != u32_at(CHECKSUM) {
                return Err(damaged("its checksum is wrong"));
            }
        }
        let block_size = match u32_at(0x18) {
            shift @ 0..=2 => 1024_u32 << shift,
            shift @ 3..=6 => {
                return Err(Error::unsupported(
                    Layer::Filesystem,
                    format!("ext4 with blocks of {} bytes", 1024_u64 << shift),
                ));
            }
            _ => return Err(damaged("the block size is impossible")),
        };
        let wide = features.incompat & incompat::SIXTY_FOUR_BIT != 0;
        let high = |offset| if wide { u64::from(u32_at(offset)) << 32 } else { 0 };
        let blocks = u64::from(u32_at(0x4)) | high(0x150);
        let descriptor_size = if wide { u16_at(0xfe) } else { 32 };
        let seed = if features.incompat & incompat::CSUM_SEED != 0 {
            u32_at(0x270)
        } else {
            crc32c(!0, raw.get(0x68..0x78).unwrap_or_default())
        };
        let mut superblock = Self {
            features,
            block_size,
            blocks,
            inodes: u32_at(0),
            first_data_block: u32_at(0x14),
            blocks_per_group: u32_at(0x20),
            cluster_shift: 0,
            inodes_per_group: u32_at(0x28),
            groups: 0,
            inode_size: u16_at(0x58),
            descriptor_size,
            group_checksum: match features.ro_compat {
                bits if bits & ro_compat::METADATA_CSUM != 0 => GroupChecksum::Crc32c,
                bits if bits & ro_compat::GDT_CSUM != 0 => GroupChecksum::Crc16,
                _ => GroupChecksum::None,
            },
            seed: has_checksums.then_some(seed),
            value_seed: seed,
            free_blocks: u64::from(u32_at(0xc)) | high(0x158),
            free_inodes: u32_at(0x10),
            raw,
        };
        superblock.check_shape(device)?;
        Ok(superblock)
    }

    fn check_shape(&mut self, device: u64) -> Result<()> {
        let bits = self.block_size.saturating_mul(8);
        let bigalloc = self.features.ro_compat & ro_compat::BIGALLOC != 0;
        let wide = self.features.incompat & incompat::SIXTY_FOUR_BIT != 0;
        self.cluster_shift = match self.u32_at(0x1c).checked_sub(self.u32_at(0x18)) {
            Some(0) => 0,
            Some(shift) if bigalloc && self.u32_at(0x1c) <= CLUSTER_LOG_MAX => shift,
            _ => return Err(damaged("the size of a cluster is impossible")),
        };
        let per_group = self.u32_at(if bigalloc { 0x24 } else { 0x20 });
        if per_group == 0
            || per_group > bits
            || !per_group.is_multiple_of(8)
            || u64::from(per_group) << self.cluster_shift != u64::from(self.blocks_per_group)
        {
            return Err(damaged("the number of blocks in a group is impossible"));
        }
        if u32::from(self.inode_size) > self.block_size || self.inode_size < 128 || !self.inode_size.is_power_of_two() {
            return Err(damaged("the size of an inode is impossible"));
        }
        if self.inodes_per_group == 0 || self.inodes_per_group > bits || !self.inodes_per_group.is_multiple_of(8) {
            return Err(damaged("the number of inodes in a group is impossible"));
        }
        if u32::from(self.descriptor_size) > self.block_size
            || !self.descriptor_size.is_power_of_two()
            || (wide && self.descriptor_size < 64)
        {
            return Err(damaged("the size of a group descriptor is impossible"));
        }
        if self.first_data_block != u32::from(self.block_size == 1024 && !bigalloc) {
            return Err(damaged("the first data block is impossible"));
        }
        let within = self.blocks.checked_mul(u64::from(self.block_size)).is_some_and(|bytes| bytes <= device);
        if !within {
            return Err(damaged("the filesystem is larger than its volume").with_hint(
                "the image was cut short, or the partition made smaller: give it back the room that it had",
            ));
        }
        let data = self.blocks.saturating_sub(u64::from(self.first_data_block));
        self.groups = u32::try_from(data.div_ceil(u64::from(self.blocks_per_group)))
            .map_err(|_| damaged("there are too many groups"))?;
        if self.groups == 0 || u64::from(self.inodes) != u64::from(self.groups) * u64::from(self.inodes_per_group) {
            return Err(damaged("the number of inodes does not fit the groups"));
        }
        if self.free_blocks > self.blocks || self.free_inodes > self.inodes || self.first_inode() > self.inodes {
            return Err(damaged("its counters are impossible"));
        }
        Ok(())
    }

    /// `Unsupported` with the way out where the filesystem is not clean or has a feature that cannot be written.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.features.check_writable()?;
        let state = self.u16_at(0x3a);
        let unclean = if state & STATE_ERRORS != 0 {
            "the kernel has found errors in it"
        } else if state & STATE_CLEAN == 0 {
            "it was not unmounted cleanly"
        } else if state & STATE_ORPHANS != 0 {
            "its recovery was interrupted"
        } else {
            return Ok(());
        };
        Err(Error::unsupported(Layer::Filesystem, format!("the ext4 filesystem is not clean: {unclean}"))
            .with_hint("run e2fsck -fy on the filesystem, or boot the machine once and shut it down cleanly"))
    }

    fn u16_at(&self, offset: usize) -> u16 {
        le::u16_at(&self.raw, offset).unwrap_or(0)
    }

    fn u32_at(&self, offset: usize) -> u32 {
        le::u32_at(&self.raw, offset).unwrap_or(0)
    }

    /// When it was written last, as far as it says.
    pub(super) fn written(&self) -> Timestamp {
        Timestamp { seconds: i64::from(self.u32_at(0x30)), nanoseconds: 0 }
    }

    /// Whether the journal has to be replayed before anything else is true.
    pub(super) fn needs_recovery(&self) -> bool {
        self.has_incompat(incompat::RECOVER)
    }

    /// The inode that is the journal; `None` where there is no journal.
    ///
    /// Errors: `Unsupported` where the journal is on another device; `Corrupt` where one is needed and missing.
    pub(super) fn journal_inode(&self) -> Result<Option<u32>> {
        if !self.has_compat(compat::HAS_JOURNAL) {
            return match self.needs_recovery() {
                true => Err(damaged("a journal has to be replayed, and there is none")
                    .with_hint("run e2fsck -fy on the filesystem")),
                false => Ok(None),
            };
        }
        let has_uuid =
            self.raw.get(JOURNAL_UUID..JOURNAL_UUID + 16).is_some_and(|uuid| uuid.iter().any(|byte| *byte != 0));
        match self.u32_at(0xe0) {
            0 => {}
            _ if has_uuid || self.u32_at(0xe4) != 0 => {}
            inode => return Ok(Some(inode)),
        }
        Err(Error::unsupported(
            Layer::Filesystem,
            "the ext4 filesystem has its journal on another device (journal_dev)",
        )
        .with_hint("give it a journal of its own: tune2fs -O ^has_journal, then tune2fs -j"))
    }

    /// The first inode in the list of files that are to be deleted or cut; 0 where there is none.
    pub(super) fn last_orphan(&self) -> u32 {
        self.u32_at(LAST_ORPHAN)
    }

    /// Sets the first inode in the list of files that are to be deleted or cut.
    pub(super) fn set_last_orphan(&mut self, inode: u32) -> Result<()> {
        self.store(LAST_ORPHAN, &inode.to_le_bytes())
    }

    /// Says that the orphan file is empty.
    pub(super) fn clear_orphan_present(&mut self) {
        self.features.ro_compat &= !ro_compat::ORPHAN_PRESENT;
    }

    /// The block that says who has the filesystem; `None` where there is no `mmp`.
    pub(super) fn mmp_block(&self) -> Option<u64> {
        let block = u64::from(self.u32_at(0x168)) | u64::from(self.u32_at(0x16c)) << 32;
        self.has_incompat(incompat::MMP).then_some(block)
    }

    /// Makes the superblock that a replay has left that of a filesystem open in `mode`; `before` is what it was.
    pub(super) fn settle(&mut self, before: &Self, mode: Mode) -> Result<()> {
        // What the kernel knows of errors it writes past the journal.
        let errors = before.raw.get(ERRORS..ERRORS_END).unwrap_or_default();
        self.store(ERRORS, errors)?;
        if mode != Mode::ReadOnly {
            self.features.incompat &= !incompat::RECOVER;
        }
        Ok(())
    }

    /// The block size as a length in memory.
    pub(super) fn block_len(&self) -> usize {
        usize::try_from(self.block_size).unwrap_or(usize::MAX)
    }

    /// The first inode that names may lead to, apart from the root.
    pub(super) fn first_inode(&self) -> u32 {
        self.u32_at(0x54).max(11)
    }

    /// The blocks after the descriptors that are kept for growth.
    pub(super) fn reserved_descriptor_blocks(&self) -> u16 {
        self.u16_at(0xce)
    }

    /// The first group whose descriptors lie as `meta_bg` has them.
    pub(super) fn first_meta_group(&self) -> u32 {
        self.u32_at(0x104)
    }

    /// How many descriptors fit into a block.
    pub(super) fn descriptors_per_block(&self) -> u32 {
        // The size is a power of two from 32 up to the block size.
        self.block_size / u32::from(self.descriptor_size.max(32))
    }

    /// The two groups with a backup superblock where `sparse_super2` says them.
    pub(super) fn backup_groups(&self) -> [u32; 2] {
        [self.u32_at(0x24c), self.u32_at(0x250)]
    }

    /// How many bytes of extra fields new inodes have.
    pub(super) fn extra_isize(&self) -> u16 {
        // As the kernel: all the fields it knows, and more where the superblock wants it.
        let room = self.inode_size - 128;
        let wanted = if self.has_ro_compat(ro_compat::EXTRA_ISIZE) {
            self.u16_at(0x15c).max(self.u16_at(0x15e)).max(32)
        } else {
            32
        };
        let size = if wanted % 4 == 0 && wanted <= room { wanted } else { 32 };
        size.min(room)
    }

    /// Whether all of these compatible features are there.
    pub(super) fn has_compat(&self, bits: u32) -> bool {
        self.features.compat & bits == bits
    }

    /// Whether all of these incompatible features are there.
    pub(super) fn has_incompat(&self, bits: u32) -> bool {
        self.features.incompat & bits == bits
    }

    /// Whether all of these read-only-compatible features are there.
    pub(super) fn has_ro_compat(&self, bits: u32) -> bool {
        self.features.ro_compat & bits == bits
    }

    /// The default hash of directory names; `Unsupported` where the function is not known.
    pub(super) fn name_hash(&self) -> Result<NameHash> {
        let unsigned = self.u32_at(0x160) & FLAG_UNSIGNED_HASH != 0;
        Ok(NameHash {
            function: HashFunction::from_version(self.raw.get(0xfc).copied().unwrap_or(0))?,
            sign: if unsigned { CharSign::Unsigned } else { CharSign::Signed },
            seed: [self.u32_at(0xec), self.u32_at(0xf0), self.u32_at(0xf4), self.u32_at(0xf8)],
        })
    }

    /// The inode of the file with the quotas of a kind; `None` where they are not kept.
    pub(super) fn quota_file(&self, kind: Kind) -> Option<u32> {
        let number = self.u32_at(match kind {
            Kind::User => 0x240,
            Kind::Group => 0x244,
            Kind::Project => 0x26c,
        });
        (self.has_ro_compat(ro_compat::QUOTA) && number != 0).then_some(number)
    }

    /// The inode of the file with the orphans (`orphan_file`).
    pub(super) fn orphan_file(&self) -> Option<u32> {
        self.has_compat(compat::ORPHAN_FILE).then(|| self.u32_at(0x280))
    }

    /// The UUID's 16 bytes.
    pub(super) fn uuid(&self) -> &[u8] {
        self.raw.get(0x68..0x78).unwrap_or_default()
    }

    /// The label, without the padding.
    pub(super) fn label(&self) -> String {
        let label = self.raw.get(0x78..0x88).unwrap_or_default();
        let label = label.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(label).into_owned()
    }

    /// Says that files of 2 GiB and more exist.
    pub(super) fn set_large_file(&mut self) {
        self.features.ro_compat |= ro_compat::LARGE_FILE;
    }

    /// Says that extended attributes exist.
    pub(super) fn set_ext_attr(&mut self) {
        self.features.compat |= compat::EXT_ATTR;
    }

    /// The bytes to write: the counters and features as they are now, written at `now`, with the checksum.
    pub(super) fn encode(&mut self, now: Timestamp) -> Result<&[u8]> {
        let [f0, f1, f2, f3, f4, f5, f6, f7] = self.free_blocks.to_le_bytes();
        let seconds = u64::try_from(now.seconds).unwrap_or(0);
        let [w0, w1, w2, w3, w4, ..] = seconds.to_le_bytes();
        self.store(0xc, &[f0, f1, f2, f3])?;
        if self.has_incompat(incompat::SIXTY_FOUR_BIT) {
            self.store(0x158, &[f4, f5, f6, f7])?;
        }
        self.store(0x10, &self.free_inodes.to_le_bytes())?;
        self.store(0x30, &[w0, w1, w2, w3])?;
        self.store(0x274, &[w4])?;
        self.store(0x5c, &self.features.compat.to_le_bytes())?;
        self.store(0x60, &self.features.incompat.to_le_bytes())?;
        self.store(0x64, &self.features.ro_compat.to_le_bytes())?;
        if self.seed.is_some() {
            let sum = crc32c(!0, self.raw.get(..CHECKSUM).unwrap_or_default());
            self.store(CHECKSUM, &sum.to_le_bytes())?;
        }
        Ok(&self.raw)
    }

    fn store(&mut self, offset: usize, field: &[u8]) -> Result<()> {
        le::put(&mut self.raw, offset, field).ok_or_else(|| damaged("it is too short"))
    }
}

fn damaged(what: &str) -> Error {
    Error::corrupt(Layer::Filesystem, format!("the ext4 superblock is damaged: {what}")).with_offset(OFFSET)
}
