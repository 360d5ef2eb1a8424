//! What the second reader cannot be asked of a superblock.
//!
//! Source: kernel Documentation/filesystems/ext4/super.rst.

use crate::block::BlockDevice;
use crate::error::Result;

/// Where it is, and its length, in bytes.
pub(super) const START: u64 = 1024;
const LENGTH: usize = 1024;
/// Where in it the binary logarithm of the block size is, less 10.
const LOG_BLOCK_SIZE_AT: usize = 0x18;
/// Where in it the size of an inode is.
const INODE_SIZE_AT: usize = 0x58;
/// Where in it the read-only compatible features are.
pub(super) const RO_COMPAT_AT: usize = 0x64;
/// Of these, that metadata has checksums.
pub(super) const METADATA_CSUM: u32 = 0x400;
/// The size of inodes that have no room for what came with ext4.
const OLD_INODE_SIZE: u32 = 128;

/// What is to be known of a filesystem before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The size of a block in bytes; 0 where there is none.
    pub(super) block_size: u64,
    /// Whether metadata has checksums.
    pub(super) checksums: bool,
    /// Whether inodes are of 128 bytes.
    pub(super) old_inodes: bool,
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
        Ok(Self {
            block_size: 1024_u64.checked_shl(word(LOG_BLOCK_SIZE_AT)).unwrap_or(0),
            checksums: word(RO_COMPAT_AT) & METADATA_CSUM != 0,
            old_inodes: word(INODE_SIZE_AT) & 0xffff == OLD_INODE_SIZE,
        })
    }
}
