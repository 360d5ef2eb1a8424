//! The area for fast commits: whether there is one that would have to be replayed.
//!
//! Source: kernel fs/ext4/fast_commit.h and fast_commit.c.

use super::log::Log;
use super::superblock::JournalSuperblock;
use super::{damaged, le};
use crate::error::Result;
use crate::fs::ext4::checksum::crc32c;

mod tag {
    pub(super) const ADD_RANGE: u16 = 1;
    pub(super) const PAD: u16 = 7;
    pub(super) const TAIL: u16 = 8;
    pub(super) const HEAD: u16 = 9;
}

/// The length of a tag's own head: what it is, and how long what follows is.
const TAG_HEAD: usize = 4;

/// What the area holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FastCommits {
    /// Nothing that belongs to the log as it is.
    None,
    /// At least one whole commit.
    Some,
}

/// Looks for a whole fast commit that continues the log; `transaction` is the first that is not complete in the log.
pub(super) fn find(log: &Log, superblock: &JournalSuperblock, transaction: u32) -> Result<FastCommits> {
    let (first, end) = superblock.fast_commit;
    let mut sum = 0;
    for logical in first..end {
        let block = log.read(logical)?;
        if logical == first && le::u16_at(&block, 0) != Some(tag::HEAD) {
            return Ok(FastCommits::None);
        }
        match scan(&block, &mut sum, transaction)? {
            Scan::Continue => {}
            Scan::Stop(found) => return Ok(found),
        }
    }
    Ok(FastCommits::None)
}

/// What one block of the area comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    Continue,
    Stop(FastCommits),
}

fn scan(block: &[u8], sum: &mut u32, transaction: u32) -> Result<Scan> {
    let mut rest = block;
    while let (Some(kind), Some(len)) = (le::u16_at(rest, 0), le::u16_at(rest, 2)) {
        let whole = TAG_HEAD + usize::from(len);
        let Some(tag) = rest.get(..whole) else { return Err(damaged("a fast commit has a tag that does not end")) };
        let field = |offset| le::u32_at(tag, TAG_HEAD + offset);
        match kind {
            tag::HEAD => {
                if field(0) != Some(0) {
                    return Err(damaged("a fast commit has unknown features"));
                }
                if field(4) != Some(transaction) {
                    return Ok(Scan::Stop(FastCommits::None));
                }
                *sum = crc32c(*sum, tag);
            }
            tag::ADD_RANGE..=tag::PAD => *sum = crc32c(*sum, tag),
            tag::TAIL => {
                *sum = crc32c(*sum, tag.get(..TAG_HEAD + 4).unwrap_or_default());
                if field(0) == Some(transaction) && field(4) == Some(*sum) {
                    return Ok(Scan::Stop(FastCommits::Some));
                }
                return Err(damaged("a fast commit has a wrong checksum"));
            }
            _ => return Err(damaged("a fast commit has an unknown tag")),
        }
        rest = rest.get(whole..).unwrap_or_default();
    }
    Ok(Scan::Continue)
}
