//! Fast commits: changes since the last whole transaction, as a list of what was done.
//!
//! The kernel does what each tag says at once, in the filesystem. Here the tags are first followed in memory, to what
//! they come to; only that is written. So nothing depends on what a block was between two of them.
//!
//! Source: kernel Documentation/filesystems/ext4/journal.rst (Fast Commits), fs/ext4/fast_commit.h and fast_commit.c.

mod after;
mod layout;
mod outcome;
mod ranges;
mod scan;
mod tag;
mod write;

use super::damaged;
use super::log::Log;
use super::superblock::JournalSuperblock;
use crate::block::BlockDevice;
use crate::error::Result;
use crate::fs::ext4::store::Store;
use crate::fs::ext4::superblock::Superblock;
use crate::fs::{Mode, Timestamp};
use outcome::Outcome;
pub(super) use scan::{Found, find};
use std::sync::Arc;
use tag::{Tag, Tags};

/// Does what the fast commits say, on a filesystem into which the log was replayed; gives the superblock that is then
/// right. Directories that change get `now` as their time, as from the kernel.
///
/// Errors: `Corrupt` where the tags contradict the filesystem or each other; `Unsupported` where they say what cannot be
/// done.
pub(super) fn replay(
    device: Arc<dyn BlockDevice>,
    superblock: Superblock,
    log: &Log,
    journal: &JournalSuperblock,
    found: Found,
    now: Timestamp,
) -> Result<Superblock> {
    let mut store = Store::over(device, superblock, Mode::ReadWrite { now });
    store.count_free()?;
    let mut outcome = Outcome::new(store.listed_orphans()?, now);
    follow(&mut outcome, &store, log, journal, found)?;
    write::write(&mut store, outcome)?;
    store.flush()?;
    Ok(store.superblock)
}

fn follow(outcome: &mut Outcome, store: &Store, log: &Log, journal: &JournalSuperblock, found: Found) -> Result<()> {
    let mut left = found.tags;
    let (first, end) = journal.fast_commit;
    for logical in first..end {
        let block = log.read(logical)?;
        for raw in Tags::new(&block) {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            outcome.follow(store, Tag::parse(raw?)?)?;
        }
    }
    match left {
        0 => Ok(()),
        _ => Err(damaged("its fast commits are not complete on a second look")),
    }
}
