//! What every block of the journal that describes others begins with.

use super::be;

/// The first four bytes of each such block. A block of the filesystem that happens to begin with them is escaped.
pub(super) const MAGIC: u32 = 0xc03b_3998;
/// How long the header is, in bytes.
pub(super) const LENGTH: usize = 12;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It names the blocks that follow it.
    Descriptor,
    /// It ends a transaction.
    Commit,
    /// The journal's superblock; the old form has no features.
    SuperblockV1,
    /// The journal's superblock.
    SuperblockV2,
    /// It names blocks whose earlier copies are void.
    Revoke,
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// What the block is; `None` where it is nothing that is known.
    pub(super) kind: Option<Kind>,
    /// The transaction that it belongs to.
    pub(super) sequence: u32,
}

impl Header {
    /// The header of a block; `None` where the block has none.
    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        if be::u32_at(block, 0)? != MAGIC {
            return None;
        }
        let kind = match be::u32_at(block, 4)? {
            1 => Some(Kind::Descriptor),
            2 => Some(Kind::Commit),
            3 => Some(Kind::SuperblockV1),
            4 => Some(Kind::SuperblockV2),
            5 => Some(Kind::Revoke),
            _ => None,
        };
        Some(Self { kind, sequence: be::u32_at(block, 8)? })
    }
}
