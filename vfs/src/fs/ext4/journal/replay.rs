//! What replaying the log comes to: the three passes of recovery, without a write.
//!
//! The first finds the last complete transaction, the second what was revoked, the third the last copy of each block.
//! What the kernel refuses to mount is refused here.

use super::checksum::{crc32_be, tail_is_right};
use super::commit::CommitBlock;
use super::descriptor::{Escaped, tags};
use super::header::{Header, Kind};
use super::log::Log;
use super::revoke::{Revoked, records};
use super::superblock::{Checksums, Commit, JournalSuperblock};
use super::{damaged, is_after};
use crate::error::{Error, Layer, Result};
use std::collections::BTreeMap;
use std::ops::Range;

/// How many blocks may be replayed: those of 2 GiB, twice the largest journal that mke2fs makes.
const BLOCKS_MAX: usize = 1 << 19;

/// Where the last copy of a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// In bytes from the start of the filesystem.
    pub(super) offset: u64,
    pub(super) escaped: Escaped,
}

/// What a replay changes.
#[derive(Debug)]
pub(super) struct Replay {
    /// By its number, each block that changes.
    pub(super) blocks: BTreeMap<u64, Copy>,
    /// How many transactions were complete.
    pub(super) transactions: u32,
    /// The first transaction that was not.
    pub(super) end: u32,
}

/// Goes through the log of a journal that is not empty. `filesystem` are the blocks that there are.
pub(super) fn replay(log: &Log, superblock: &JournalSuperblock, filesystem: Range<u64>) -> Result<Replay> {
    let end = find_end(log, superblock)?;
    let revoked = find_revoked(log, superblock, end)?;
    let blocks = find_copies(log, superblock, end, &revoked, filesystem)?;
    Ok(Replay { blocks, transactions: end.wrapping_sub(superblock.sequence), end })
}

/// The way through the log, from its first transaction on.
struct Walk<'a> {
    log: &'a Log,
    superblock: &'a JournalSuperblock,
    /// The next block.
    position: u32,
    /// How many more blocks may be looked at: once round, and one that shows where the log ends.
    left: u32,
    /// The transaction that the next block belongs to.
    sequence: u32,
}

impl<'a> Walk<'a> {
    fn new(log: &'a Log, superblock: &'a JournalSuperblock) -> Self {
        let left = superblock.log_len().saturating_add(1);
        Self { log, superblock, position: superblock.start, left, sequence: superblock.sequence }
    }

    /// Takes the next block, and goes back to the first after the last.
    fn step(&mut self) -> Result<u32> {
        let here = self.position;
        self.left = self.left.checked_sub(1).ok_or_else(|| damaged("its transactions go round and round"))?;
        let next = here.saturating_add(1);
        self.position = if next >= self.superblock.end { self.superblock.first } else { next };
        Ok(here)
    }

    /// The next block that is not a copy; `None` where the log ends.
    fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>> {
        let block = self.log.read(self.step()?)?;
        let kind = Header::parse(&block).filter(|header| header.sequence == self.sequence).and_then(|it| it.kind);
        Ok(match kind {
            Some(kind @ (Kind::Descriptor | Kind::Commit | Kind::Revoke)) => Some((kind, block)),
            _ => None,
        })
    }
}

/// The first transaction that is not complete.
fn find_end(log: &Log, superblock: &JournalSuperblock) -> Result<u32> {
    let checksums = superblock.checksums;
    let mut walk = Walk::new(log, superblock);
    let mut end = None;
    // Whether a wrong checksum in this transaction has to be explained by its commit block.
    let mut doubtful = false;
    let mut last_commit = 0;
    let mut sum = !0;
    while let Some((kind, block)) = walk.next()? {
        match kind {
            Kind::Commit => {
                let commit = CommitBlock::parse(&block).ok_or_else(|| damaged("a commit block is too short"))?;
                let is_older = commit.seconds < last_commit;
                if doubtful {
                    // A transaction from before the last ones is what is left of an earlier use of the log.
                    if is_older {
                        break;
                    }
                    return Err(wrong_checksum(walk.sequence));
                }
                if checksums == Checksums::Transaction && end.is_some() {
                    // That one was not the last, so it was no crash that broke it.
                    return Err(wrong_checksum(walk.sequence.wrapping_sub(1)));
                }
                if !commit.is_intact(&block, sum, checksums) {
                    if is_older {
                        break;
                    }
                    if superblock.commit == Commit::Last {
                        return Err(wrong_checksum(walk.sequence));
                    }
                    end = end.or(Some(walk.sequence));
                }
                sum = !0;
                last_commit = commit.seconds;
                walk.sequence = walk.sequence.wrapping_add(1);
            }
            Kind::Descriptor => {
                doubtful |= !tail_is_right(&block, checksums);
                let wants_sum = checksums == Checksums::Transaction && !doubtful && end.is_none();
                if wants_sum {
                    sum = crc32_be(sum, &block);
                }
                for _ in tags(&block, checksums, superblock.width) {
                    let copy = walk.step()?;
                    if wants_sum {
                        sum = crc32_be(sum, &log.read(copy)?);
                    }
                }
            }
            _ => doubtful |= !tail_is_right(&block, checksums),
        }
    }
    Ok(end.unwrap_or(walk.sequence))
}

/// What is revoked by the transactions before `end`.
fn find_revoked(log: &Log, superblock: &JournalSuperblock, end: u32) -> Result<Revoked> {
    let checksums = superblock.checksums;
    let mut revoked = Revoked::default();
    each_complete(log, superblock, end, |walk, kind, block| {
        match kind {
            Kind::Descriptor => {
                for _ in tags(block, checksums, superblock.width) {
                    walk.step()?;
                }
            }
            Kind::Revoke => {
                for record in records(block, checksums, superblock.width)? {
                    revoked.add(record, walk.sequence)?;
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(revoked)
}

/// The last copy of each block in the transactions before `end`.
fn find_copies(
    log: &Log,
    superblock: &JournalSuperblock,
    end: u32,
    revoked: &Revoked,
    filesystem: Range<u64>,
) -> Result<BTreeMap<u64, Copy>> {
    let checksums = superblock.checksums;
    let mut blocks = BTreeMap::new();
    each_complete(log, superblock, end, |walk, kind, block| {
        if kind != Kind::Descriptor {
            return Ok(());
        }
        for tag in tags(block, checksums, superblock.width) {
            let from = walk.step()?;
            if revoked.covers(tag.block, walk.sequence) {
                continue;
            }
            if checksums.seed().is_some() && !tag.is_intact(&log.read(from)?, walk.sequence, checksums) {
                return Err(wrong_checksum(walk.sequence));
            }
            if !filesystem.contains(&tag.block) {
                return Err(damaged(&format!("it has a copy of block {}, which does not exist", tag.block)));
            }
            if log.holds(tag.block) {
                return Err(damaged(&format!("it has a copy of block {}, which is its own", tag.block)));
            }
            blocks.insert(tag.block, Copy { offset: log.offset(from)?, escaped: tag.escaped });
            if blocks.len() > BLOCKS_MAX {
                return Err(Error::unsupported(
                    Layer::Filesystem,
                    format!("the ext4 journal has copies of more than {BLOCKS_MAX} blocks"),
                ));
            }
        }
        Ok(())
    })?;
    Ok(blocks)
}

/// Calls `visit` with each block of the transactions before `end` that is not a copy; it takes the copies.
fn each_complete(
    log: &Log,
    superblock: &JournalSuperblock,
    end: u32,
    mut visit: impl FnMut(&mut Walk<'_>, Kind, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk::new(log, superblock);
    while is_after(end, walk.sequence) {
        let Some((kind, block)) = walk.next()? else {
            return Err(damaged(&format!("transaction {} is not complete on a second look", walk.sequence)));
        };
        match kind {
            Kind::Commit => walk.sequence = walk.sequence.wrapping_add(1),
            _ if !tail_is_right(&block, superblock.checksums) => return Err(wrong_checksum(walk.sequence)),
            _ => visit(&mut walk, kind, &block)?,
        }
    }
    Ok(())
}

fn wrong_checksum(sequence: u32) -> Error {
    damaged(&format!("a checksum in transaction {sequence} is wrong"))
}
