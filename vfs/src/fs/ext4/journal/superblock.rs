//! The journal's own superblock: where the log lies in it, where it begins, and how it is protected.

use super::header::{Header, Kind};
use super::{be, damaged};
use crate::error::{Error, Layer, Result};
use crate::fs::ext4::checksum::crc32c;
use crate::fs::ext4::le;

/// How long it is, in bytes.
pub(super) const LENGTH: usize = 1024;
/// The fewest blocks of a journal (JBD2_MIN_JOURNAL_BLOCKS of the kernel).
const BLOCKS_MIN: u32 = 1024;
/// How many blocks are for fast commits where the superblock does not say it.
const FAST_COMMIT_BLOCKS: u32 = 256;

const SEQUENCE: usize = 0x18;
const START: usize = 0x1c;
const CHECKSUM: usize = 0xfc;
const CRC32C: u8 = 4;

/// The first bytes of the old form; what follows means nothing there.
const V1_LENGTH: usize = 0x24;

mod compat {
    pub(super) const CHECKSUM: u32 = 0x1;
}

mod incompat {
    pub(super) const REVOKE: u32 = 0x1;
    pub(super) const SIXTY_FOUR_BIT: u32 = 0x2;
    pub(super) const ASYNC_COMMIT: u32 = 0x4;
    pub(super) const CSUM_V2: u32 = 0x8;
    pub(super) const CSUM_V3: u32 = 0x10;
    pub(super) const FAST_COMMIT: u32 = 0x20;
    pub(super) const KNOWN: u32 = REVOKE | SIXTY_FOUR_BIT | ASYNC_COMMIT | CSUM_V2 | CSUM_V3 | FAST_COMMIT;
}

/// How the log is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Not at all.
    None,
    /// One CRC-32 of a whole transaction, in its commit block.
    Transaction,
    /// A CRC-32C of each block, of which a tag keeps 16 bits; all begin with this seed.
    Short(u32),
    /// A CRC-32C of each block, which a tag keeps whole; all begin with this seed.
    Whole(u32),
}

impl Checksums {
    /// The seed of the checksums of single blocks, where there are such.
    pub(super) fn seed(self) -> Option<u32> {
        match self {
            Self::None | Self::Transaction => None,
            Self::Short(seed) | Self::Whole(seed) => Some(seed),
        }
    }
}

/// When a commit block is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// After everything that it commits.
    Last,
    /// Together with it, so that a wrong checksum may be the mark of a crash.
    Any,
}

/// How wide the numbers of blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// 32 bits.
    Narrow,
    /// 64 bits.
    Wide,
}

/// The journal's superblock, checked.
#[derive(Clone, Debug)]
pub(super) struct JournalSuperblock {
    raw: Vec<u8>,
    /// The first block of the log.
    pub(super) first: u32,
    /// The block after the log's last.
    pub(super) end: u32,
    /// The blocks for fast commits, first and after the last; empty where there are none.
    pub(super) fast_commit: (u32, u32),
    /// The first transaction in the log.
    pub(super) sequence: u32,
    /// Where it begins; 0 where the log is empty.
    pub(super) start: u32,
    /// What went wrong in the kernel that used the journal last; 0 where nothing did.
    pub(super) error: u32,
    pub(super) checksums: Checksums,
    pub(super) commit: Commit,
    pub(super) width: Width,
}

impl JournalSuperblock {
    /// Takes the first block of a journal of `blocks` blocks of `block_size` bytes.
    ///
    /// Errors: `Corrupt` where it is none or contradicts itself; `Unsupported` where it has an unknown feature.
    pub(super) fn parse(block: &[u8], block_size: u32, blocks: u64) -> Result<Self> {
        let raw = block.get(..LENGTH).ok_or_else(|| damaged("its superblock is too short"))?.to_vec();
        let has_features = match Header::parse(&raw).and_then(|header| header.kind) {
            Some(Kind::SuperblockV1) => false,
            Some(Kind::SuperblockV2) => true,
            _ => return Err(damaged("it has no superblock")),
        };
        let u32_at = |offset| match has_features || offset < V1_LENGTH {
            true => be::u32_at(&raw, offset).unwrap_or(0),
            false => 0,
        };
        let (compat, incompat, ro_compat) = (u32_at(0x24), u32_at(0x28), u32_at(0x2c));
        if incompat & !incompat::KNOWN != 0 || ro_compat != 0 {
            return Err(Error::unsupported(
                Layer::Filesystem,
                format!("the ext4 journal has unknown features (incompat 0x{incompat:x}, ro_compat 0x{ro_compat:x})"),
            ));
        }
        let seed = crate::fs::ext4::checksum::crc32c(!0, raw.get(0x30..0x40).unwrap_or_default());
        let has = |bit| incompat & bit != 0;
        let checksums = match (compat & compat::CHECKSUM != 0, has(incompat::CSUM_V2), has(incompat::CSUM_V3)) {
            (false, false, false) => Checksums::None,
            (true, false, false) => Checksums::Transaction,
            (false, true, false) => Checksums::Short(seed),
            (false, false, true) => Checksums::Whole(seed),
            _ => return Err(damaged("it has checksums of more than one kind")),
        };
        if checksums.seed().is_some() {
            if raw.get(0x50) != Some(&CRC32C) {
                return Err(damaged("its kind of checksums is unknown"));
            }
            if sum(&raw) != u32_at(CHECKSUM) {
                return Err(damaged("the checksum of its superblock is wrong"));
            }
        }
        let len = u32_at(0x10);
        let fast = match (has(incompat::FAST_COMMIT), u32_at(0x54)) {
            (false, _) => 0,
            (true, 0) => FAST_COMMIT_BLOCKS,
            (true, blocks) => blocks,
        };
        if u32_at(0xc) != block_size {
            return Err(damaged("its blocks differ in size from the filesystem's"));
        }
        if u64::from(len) > blocks {
            return Err(damaged("it is shorter than its superblock says"));
        }
        let end = len.checked_sub(fast).filter(|end| *end >= BLOCKS_MIN);
        let end = end.ok_or_else(|| damaged("it is too short"))?;
        let superblock = Self {
            first: u32_at(0x14),
            end,
            fast_commit: if fast == 0 { (0, 0) } else { (end.saturating_add(1), len) },
            sequence: u32_at(SEQUENCE),
            start: u32_at(START),
            error: u32_at(0x20),
            checksums,
            commit: if has(incompat::ASYNC_COMMIT) { Commit::Any } else { Commit::Last },
            width: if has(incompat::SIXTY_FOUR_BIT) { Width::Wide } else { Width::Narrow },
            raw,
        };
        if superblock.first == 0 || superblock.first >= end {
            return Err(damaged("its log begins outside of it"));
        }
        if superblock.start != 0 && !(superblock.first..end).contains(&superblock.start) {
            return Err(damaged("its first transaction lies outside the log"));
        }
        Ok(superblock)
    }

    /// How many blocks the log has.
    pub(super) fn log_len(&self) -> u32 {
        self.end.saturating_sub(self.first)
    }

    /// The bytes to write where everything is replayed: an empty log, whose next transaction is `sequence`.
    pub(super) fn encode_empty(&self, sequence: u32) -> Result<Vec<u8>> {
        let mut raw = self.raw.clone();
        let mut store = |offset, field: u32| {
            le::put(&mut raw, offset, &field.to_be_bytes()).ok_or_else(|| damaged("its superblock is too short"))
        };
        store(SEQUENCE, sequence)?;
        store(START, 0)?;
        if self.checksums.seed().is_some() {
            let sum = sum(&raw);
            le::put(&mut raw, CHECKSUM, &sum.to_be_bytes()).ok_or_else(|| damaged("its superblock is too short"))?;
        }
        Ok(raw)
    }
}

/// The superblock's checksum, which counts itself as zeros.
fn sum(raw: &[u8]) -> u32 {
    let before = crc32c(!0, raw.get(..CHECKSUM).unwrap_or_default());
    crc32c(crc32c(before, &[0; 4]), raw.get(CHECKSUM + 4..).unwrap_or_default())
}
