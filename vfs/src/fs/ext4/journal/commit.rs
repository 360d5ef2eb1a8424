//! Commit blocks: a transaction is complete.

use super::be;
use super::superblock::Checksums;
use crate::fs::ext4::checksum::crc32c;

const SUM: usize = 0x10;
/// The kind and the length of a transaction's checksum, CRC-32 and 4 bytes.
const CRC32: [u8; 2] = [1, 4];

/// A commit block, as far as recovery needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommitBlock {
    /// When it was written, in seconds since 1970.
    pub(super) seconds: u64,
    kind: [u8; 2],
    sum: u32,
}

impl CommitBlock {
    /// Takes a whole block.
    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        Some(Self {
            seconds: be::u64_at(block, 0x30)?,
            kind: *block.get(0xc..)?.first_chunk()?,
            sum: be::u32_at(block, SUM)?,
        })
    }

    /// Whether it, or what it commits, is as it was written, as far as checksums tell. `block` is the block itself,
    /// and `transaction` the CRC-32 of everything before it in the transaction.
    pub(super) fn is_intact(&self, block: &[u8], transaction: u32, checksums: Checksums) -> bool {
        match checksums {
            Checksums::None => true,
            Checksums::Transaction => {
                let unused = self.kind == [0, 0] && self.sum == 0;
                unused || (self.kind == CRC32 && self.sum == transaction)
            }
            Checksums::Short(seed) | Checksums::Whole(seed) => {
                let before = crc32c(seed, block.get(..SUM).unwrap_or_default());
                self.sum == crc32c(crc32c(before, &[0; 4]), block.get(SUM + 4..).unwrap_or_default())
            }
        }
    }
}
