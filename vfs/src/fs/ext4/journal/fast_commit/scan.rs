//! Which fast commits are whole: the first pass, which only counts.

use super::super::damaged;
use super::super::log::Log;
use super::super::superblock::JournalSuperblock;
use super::tag::{HEAD, Raw, Tags, kind};
use crate::error::{Error, Layer, Result};
use crate::fs::ext4::checksum::crc32c;
use crate::fs::ext4::le;

/// How many tags may be replayed: more than the largest area that mke2fs makes has in practice.
const TAGS_MAX: u32 = 1 << 18;

/// The fast commits that continue the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Found {
    /// How many tags they have, from the start of the area on; 0 where there is nothing to replay.
    pub(super) tags: u32,
}

impl Found {
    /// Whether there is nothing to replay.
    pub(in super::super) fn is_empty(self) -> bool {
        self.tags == 0
    }
}

/// Whether the area goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Tag,
    End,
}

/// Finds the whole fast commits that continue the log; `transaction` is the first that is not complete in the log, and
/// inodes have `inode_size` bytes.
///
/// What follows the last one is left of earlier uses, or torn; where there is none and should be one, the kernel does
/// not mount the filesystem.
pub(in super::super) fn find(
    log: &Log,
    superblock: &JournalSuperblock,
    transaction: u32,
    inode_size: u16,
) -> Result<Found> {
    let (first, end) = superblock.fast_commit;
    let mut scan = Scan { transaction, inode_size, sum: 0, seen: 0, whole: 0 };
    for logical in first..end {
        let block = log.read(logical)?;
        if logical == first && le::u16_at(&block, 0) != Some(kind::HEAD) {
            return Ok(Found { tags: 0 });
        }
        if scan.block(&block)? == Next::End {
            return Ok(Found { tags: scan.whole });
        }
    }
    if scan.whole > 0 {
        // It looks for the end in the block after the last, which is not there (Linux 6.18, e2fsck 1.47).
        let what = "the ext4 journal is full of fast commits (fast_commit) to its end: no kernel mounts that";
        return Err(Error::unsupported(Layer::Filesystem, what).with_hint("run e2fsck -fy on the filesystem"));
    }
    Ok(Found { tags: 0 })
}

struct Scan {
    transaction: u32,
    inode_size: u16,
    /// The checksum of the commit that has begun.
    sum: u32,
    /// How many tags there were, and how many of them are in whole commits.
    seen: u32,
    whole: u32,
}

impl Scan {
    fn block(&mut self, block: &[u8]) -> Result<Next> {
        for raw in Tags::new(block) {
            let Some(raw) = raw.ok().filter(|raw| raw.fits(self.inode_size)) else {
                return self.end("a fast commit has a tag that is none");
            };
            if self.tag(raw)? == Next::End {
                return Ok(Next::End);
            }
        }
        Ok(Next::Tag)
    }

    fn tag(&mut self, raw: Raw<'_>) -> Result<Next> {
        let field = |offset| le::u32_at(raw.value(), offset);
        let mut counted = raw.bytes;
        match raw.kind {
            kind::HEAD => {
                if field(0) != Some(0) {
                    let what = "the ext4 journal has a fast commit with unknown features";
                    return Err(Error::unsupported(Layer::Filesystem, what));
                }
                if field(4) != Some(self.transaction) {
                    return Ok(Next::End);
                }
            }
            kind::TAIL => counted = raw.bytes.get(..HEAD + 4).unwrap_or_default(),
            _ => {}
        }
        self.seen += 1;
        if self.seen > TAGS_MAX {
            let what = format!("the ext4 journal has fast commits of more than {TAGS_MAX} tags");
            return Err(Error::unsupported(Layer::Filesystem, what));
        }
        self.sum = crc32c(self.sum, counted);
        if raw.kind == kind::TAIL {
            if field(0) != Some(self.transaction) || field(4) != Some(self.sum) {
                return self.end("a fast commit has a wrong checksum");
            }
            self.whole = self.seen;
            self.sum = 0;
        }
        Ok(Next::Tag)
    }

    /// The last whole commit is over; without one, the first is damaged.
    fn end(&self, what: &str) -> Result<Next> {
        if self.whole > 0 { Ok(Next::End) } else { Err(damaged(what)) }
    }
}
