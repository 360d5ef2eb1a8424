//! What the second reader cannot be asked of a superblock.
//!
//! Source: kernel Documentation/filesystems/ext4/super.rst.

use crate::block::BlockDevice;
use crate::error::Result;
use ext4_view::Ext4Read;
use std::error::Error as StdError;
use std::sync::Arc;

/// Where it is, and its length, in bytes.
const START: u64 = 1024;
const LENGTH: usize = 1024;
/// Where in it the binary logarithm of the block size is, less 10.
const LOG_BLOCK_SIZE_AT: usize = 0x18;
/// Where in it the size of an inode is.
const INODE_SIZE_AT: usize = 0x58;
/// Where in it the incompatible features are.
const INCOMPAT_AT: usize = 0x60;
/// Of these, that files have extents.
const EXTENTS: u32 = 0x40;
/// Of these, that there are more than 2^32 blocks, or could be.
const WIDE: u32 = 0x80;
/// Where in it the read-only compatible features are.
const RO_COMPAT_AT: usize = 0x64;
/// Of these, that metadata has checksums.
const METADATA_CSUM: u32 = 0x400;
/// Where in it the upper halves of the numbers of blocks are, the reserved and the free ones among them. Without `WIDE`
/// they mean nothing, and the reader takes them all the same.
const UPPER_HALVES: [usize; 3] = [0x150, 0x154, 0x158];
/// Where in it the flags are.
const FLAGS_AT: usize = 0x160;
/// Of these, that names are hashed as by a processor whose char has no sign.
const UNSIGNED_HASH: u32 = 0x2;
/// Where in the descriptor of a group the first block of its inodes is, and the upper half of its number.
const TABLE_AT: u64 = 0x8;
const TABLE_UPPER_HALF_AT: u64 = 0x28;
/// Where in an inode the length of what follows its first 128 bytes is, and how long that is with the upper half of the checksum.
const EXTRA_SIZE_AT: u64 = 0x80;
const CHECKSUM_UPPER_HALF_ENDS: u32 = 4;
/// The size of inodes that have no room for what came with ext4.
const OLD_INODE_SIZE: u32 = 128;

/// What is to be known of a filesystem before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The size of a block in bytes; 0 where there is none.
    pub(super) block_size: u64,
    /// Whether files have extents.
    pub(super) extents: bool,
    /// Whether metadata has checksums.
    pub(super) checksums: bool,
    /// Whether inodes are of 128 bytes.
    pub(super) old_inodes: bool,
    /// Whether the root directory's inode has no room for the upper half of its checksum, as `tune2fs -I` leaves all inodes.
    pub(super) short_inodes: bool,
    /// Whether names in the indices of directories are hashed as bytes without a sign.
    pub(super) unsigned_hashes: bool,
    /// Whether the upper half of a number of blocks is not zero, and means nothing.
    pub(super) stray_halves: bool,
}

impl Facts {
    /// Reads them from a volume; nothing is true of one that is too small for a filesystem.
    pub(super) fn read(volume: &dyn BlockDevice) -> Result<Self> {
        if volume.size() < START + LENGTH as u64 {
            return Ok(Self::default());
        }
        let mut superblock = [0; LENGTH];
        volume.read_at(&mut superblock, START)?;
        let words = superblock.as_chunks::<4>().0;
        let word = |at: usize| u32::from_le_bytes(words[at / 4]);
        let block_size = 1024_u64.checked_shl(word(LOG_BLOCK_SIZE_AT)).unwrap_or(0);
        let inode_size = word(INODE_SIZE_AT) & 0xffff;
        let wide = word(INCOMPAT_AT) & WIDE != 0;
        Ok(Self {
            block_size,
            extents: word(INCOMPAT_AT) & EXTENTS != 0,
            checksums: word(RO_COMPAT_AT) & METADATA_CSUM != 0,
            old_inodes: inode_size == OLD_INODE_SIZE,
            short_inodes: is_short(volume, block_size, inode_size, wide).unwrap_or(false),
            unsigned_hashes: word(FLAGS_AT) & UNSIGNED_HASH != 0,
            stray_halves: word(INCOMPAT_AT) & WIDE == 0 && UPPER_HALVES.iter().any(|at| word(*at) != 0),
        })
    }
}

/// Whether the root directory's inode has no field for the upper half of its checksum; `None` where it is not where it should be.
fn is_short(volume: &dyn BlockDevice, block_size: u64, inode_size: u32, wide: bool) -> Option<bool> {
    let word = |at: u64| {
        let mut bytes = [0; 4];
        volume.read_at(&mut bytes, at).ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    // The descriptor of the first group is in the block after the superblock's.
    let descriptor = if block_size == START { 2 * START } else { block_size };
    let upper = if wide { word(descriptor.checked_add(TABLE_UPPER_HALF_AT)?)? } else { 0 };
    let table = u64::from(word(descriptor.checked_add(TABLE_AT)?)?) | u64::from(upper) << 32;
    let root = table.checked_mul(block_size)?.checked_add(u64::from(inode_size))?;
    let extra = word(root.checked_add(EXTRA_SIZE_AT)?)? & 0xffff;
    Some(inode_size > OLD_INODE_SIZE && extra < CHECKSUM_UPPER_HALF_ENDS)
}

/// A volume as the reader is to see it: with some bits of its superblock cleared.
pub(super) struct Shown {
    volume: Arc<dyn BlockDevice>,
    cleared: Vec<(usize, u32)>,
}

impl Shown {
    /// With nothing that would mislead the reader.
    pub(super) fn new(volume: Arc<dyn BlockDevice>, facts: Facts) -> Self {
        let cleared = if facts.stray_halves { UPPER_HALVES.map(|at| (at, !0)).to_vec() } else { Vec::new() };
        Self { volume, cleared }
    }

    /// As if the filesystem had no checksums, for names in directories of which every checksum was seen to be right: the
    /// reader computes them anew for each name otherwise, slowly.
    pub(super) fn unsealed(mut self) -> Self {
        self.cleared.push((RO_COMPAT_AT, METADATA_CSUM));
        self
    }
}

impl Ext4Read for Shown {
    fn read(&mut self, start: u64, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.volume.read_at(buf, start)?;
        for (word, mask) in &self.cleared {
            for (at, bits) in (START + *word as u64..).zip(mask.to_le_bytes()) {
                let at = at.checked_sub(start).and_then(|at| usize::try_from(at).ok());
                if let Some(byte) = at.and_then(|at| buf.get_mut(at)) {
                    *byte &= !bits;
                }
            }
        }
        Ok(())
    }
}
