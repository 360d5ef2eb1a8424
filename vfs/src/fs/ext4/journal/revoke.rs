//! Revoke blocks: blocks of which no copy of this or an earlier transaction may be replayed, because they were freed.

use super::superblock::{Checksums, Width};
use super::{be, checksum, damaged};
use crate::error::{Error, Layer, Result};
use std::collections::BTreeMap;

/// Where the numbers begin, in bytes.
const RECORDS: usize = 16;
/// How many blocks may be revoked in one journal: enough for the largest that mke2fs makes.
const REVOKED_MAX: usize = 1 << 19;

/// The blocks that are named by a revoke block.
pub(super) fn records(block: &[u8], checksums: Checksums, width: Width) -> Result<Vec<u64>> {
    let room = checksum::without_tail(block, checksums);
    let used = be::u32_at(block, 12).and_then(|used| usize::try_from(used).ok()).unwrap_or(usize::MAX);
    let records = room.get(..used).ok_or_else(|| damaged("a revoke block says that it is longer than a block"))?;
    let records = records.get(RECORDS..).unwrap_or_default();
    Ok(match width {
        Width::Narrow => records.chunks_exact(4).filter_map(|record| be::u32_at(record, 0)).map(u64::from).collect(),
        Width::Wide => records.chunks_exact(8).filter_map(|record| be::u64_at(record, 0)).collect(),
    })
}

/// All revoked blocks, each with the last transaction that revoked it.
#[derive(Debug, Default)]
pub(super) struct Revoked(BTreeMap<u64, u32>);

impl Revoked {
    /// Notes that transaction `sequence` revoked a block; they are noted in the order of the log.
    pub(super) fn add(&mut self, block: u64, sequence: u32) -> Result<()> {
        self.0.insert(block, sequence);
        if self.0.len() > REVOKED_MAX {
            return Err(Error::unsupported(
                Layer::Filesystem,
                format!("the ext4 journal revokes more than {REVOKED_MAX} blocks"),
            ));
        }
        Ok(())
    }

    /// Whether a copy of a block in transaction `sequence` is void.
    pub(super) fn covers(&self, block: u64, sequence: u32) -> bool {
        self.0.get(&block).is_some_and(|revoked| !super::is_after(sequence, *revoked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_stays_revoked_until_a_later_transaction() {
        let mut revoked = Revoked::default();
        for sequence in [u32::MAX - 1, u32::MAX, 0] {
            revoked.add(7, sequence).unwrap();
        }
        let void: Vec<bool> = [u32::MAX - 2, u32::MAX, 0, 1].map(|sequence| revoked.covers(7, sequence)).to_vec();
        assert_eq!(void, [true, true, true, false]);
        assert!(!revoked.covers(8, 0));
    }

    #[test]
    fn records_are_as_long_as_the_block_says() {
        let mut block = vec![0; 1024];
        block[12..16].copy_from_slice(&28_u32.to_be_bytes());
        block[16..28].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(records(&block, Checksums::None, Width::Narrow).unwrap(), [1, 2, 3]);
        assert_eq!(records(&block, Checksums::None, Width::Wide).unwrap(), [1 << 32 | 2]);
        for (used, checksums, taken) in [
            (0, Checksums::None, true),
            (1024, Checksums::None, true),
            (1025, Checksums::None, false),
            (1024, Checksums::Whole(0), false),
            (u32::MAX, Checksums::None, false),
        ] {
            block[12..16].copy_from_slice(&used.to_be_bytes());
            assert_eq!(records(&block, checksums, Width::Narrow).is_ok(), taken, "{used}");
        }
    }
}
