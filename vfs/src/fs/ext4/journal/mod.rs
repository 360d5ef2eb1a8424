//! The journal (jbd2): what a crash left in it is replayed, as the kernel does when it mounts.
//!
//! A filesystem that is opened for writing is written as a replay would leave it, into the transaction that lies
//! below; one that is opened for reading is only looked at through a [`view`].
//!
//! Source: kernel Documentation/filesystems/ext4/journal.rst and fs/jbd2/recovery.c.

mod be;
mod checksum;
mod commit;
mod descriptor;
mod fast_commit;
mod header;
mod log;
mod overlay;
mod replay;
mod revoke;
mod superblock;
mod view;

use super::store::{Store, read_superblock};
use super::superblock::Superblock;
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::fs::Mode;
use fast_commit::Found;
use log::Log;
use overlay::Overlay;
use replay::Replay;
use std::sync::Arc;
use superblock::JournalSuperblock;
use view::{ReplayedView, read_copy};

/// A filesystem whose journal has nothing left to replay.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) device: Arc<dyn BlockDevice>,
    pub(super) superblock: Superblock,
    /// How many transactions were replayed; `None` where the filesystem had been unmounted cleanly.
    pub(super) transactions: Option<u32>,
}

/// Replays the journal where the filesystem needs it.
///
/// Errors: `Unsupported`, with the way out, where the journal is elsewhere, or holds what the superblock does not know of;
/// `Corrupt` where the kernel would not replay it either.
pub(super) fn settle(device: Arc<dyn BlockDevice>, superblock: Superblock, mode: Mode) -> Result<Settled> {
    let dirty = superblock.needs_recovery();
    let clean = |device, superblock| Settled { device, superblock, transactions: None };
    if !dirty && mode == Mode::ReadOnly {
        return Ok(clean(device, superblock));
    }
    let Some(number) = superblock.journal_inode()? else { return Ok(clean(device, superblock)) };
    let log =
        Log::find(&Store::over(Arc::clone(&device), superblock.clone(), Mode::ReadOnly), Arc::clone(&device), number)?;
    let journal = JournalSuperblock::parse(&log.read(0)?, log.block_size(), log.blocks())?;
    if journal.error != 0 && mode != Mode::ReadOnly {
        return Err(refused("the ext4 journal was aborted by an error in the filesystem"));
    }
    if !dirty {
        if journal.start != 0 {
            return Err(refused("the ext4 journal holds transactions, and the superblock says that it does not"));
        }
        return Ok(clean(device, superblock));
    }
    let (replay, found) = find_changes(&log, &journal, &superblock)?.unzip();
    let transactions = replay.as_ref().map_or(0, |replay| replay.transactions);
    let found = found.filter(|found| !found.is_empty());
    let device = match (mode, replay) {
        (_, None) => device,
        (Mode::ReadOnly, Some(replay)) => {
            Arc::new(ReplayedView::new(device, superblock.block_size, replay.blocks)) as Arc<dyn BlockDevice>
        }
        (Mode::ReadWrite { .. }, Some(replay)) => {
            write(&*device, &log, &journal, replay)?;
            device
        }
    };
    let mut replayed = read_superblock(&*device)?;
    replayed.settle(&superblock, mode)?;
    let (device, superblock) = match found {
        None => (device, replayed),
        Some(found) => with_fast_commits(device, replayed, &log, &journal, found, mode)?,
    };
    Ok(Settled { device, superblock, transactions: Some(transactions) })
}

/// Replays the fast commits as well, into memory where nothing may be written.
fn with_fast_commits(
    device: Arc<dyn BlockDevice>,
    superblock: Superblock,
    log: &Log,
    journal: &JournalSuperblock,
    found: Found,
    mode: Mode,
) -> Result<(Arc<dyn BlockDevice>, Superblock)> {
    let (device, now) = match mode {
        Mode::ReadWrite { now } => (device, now),
        Mode::ReadOnly => {
            let overlay = Overlay::new(device, superblock.block_size);
            (Arc::new(overlay) as Arc<dyn BlockDevice>, superblock.written())
        }
    };
    let superblock = fast_commit::replay(Arc::clone(&device), superblock, log, journal, found, now)?;
    Ok((device, superblock))
}

/// What a replay changes, and which fast commits come after that; `None` where the log is empty.
fn find_changes(log: &Log, journal: &JournalSuperblock, filesystem: &Superblock) -> Result<Option<(Replay, Found)>> {
    if journal.start == 0 {
        return Ok(None);
    }
    let blocks = u64::from(filesystem.first_data_block)..filesystem.blocks;
    let replay = replay::replay(log, journal, blocks)?;
    let found = fast_commit::find(log, journal, replay.end, filesystem.inode_size)?;
    Ok(Some((replay, found)))
}

/// Writes what a replay changes, and marks the journal as empty.
fn write(device: &dyn BlockDevice, log: &Log, journal: &JournalSuperblock, replay: Replay) -> Result<()> {
    for (block, copy) in replay.blocks {
        let content = read_copy(device, log.block_size(), copy)?;
        let offset = block.checked_mul(u64::from(log.block_size()));
        device.write_at(&content, offset.ok_or_else(|| damaged("it has a copy of a block that does not exist"))?)?;
    }
    // The next transaction is none that could be found in what is left of the log.
    device.write_at(&journal.encode_empty(replay.end.wrapping_add(1))?, log.offset(0)?)
}

/// Whether transaction `one` comes after `other`; their numbers go round.
fn is_after(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

fn damaged(what: &str) -> Error {
    Error::corrupt(Layer::Filesystem, format!("the ext4 journal is damaged: {what}"))
        .with_hint("run e2fsck -fy on the filesystem")
}

fn refused(why: &str) -> Error {
    Error::unsupported(Layer::Filesystem, why)
        .with_hint("boot the machine once and shut it down cleanly, or run e2fsck -fy on the filesystem")
}
