//! The two ways in which the writes held become the image.

use super::base::Base;
use super::changes::{self, SECTOR};
use super::host::Growth;
use super::journal::{self, Journal, Left, Record};
use super::overlay::Overlay;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use std::ops::Range;

/// How much is written before the host is to begin to make it durable, in bytes.
const SYNC_EARLY: u64 = 8 << 20;

/// Whether the bytes that a commit overwrites have their room on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// They may be holes, or shared with a copy: room is reserved before anything is written.
    ToReserve,
    /// A commit has just written them. To reserve it again would count as a write, and change the file's time.
    Taken,
}

/// How bytes are written that nothing reaches in the old image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    /// Before the journal, where they are many: it is spared them.
    First,
    /// As all else is, through the journal.
    Alike,
}

/// Writes everything past the old end, makes it durable, and then switches with the one write of `sector`.
///
/// The old image reaches nothing past its end, and the sector is written whole or not at all: at every instant the image
/// is the old one or the new one. Once it is the new one, the room of what only the old one used is given back.
pub(super) fn switch(base: &Base, overlay: &Overlay, sector: u64, freed: &[Range<u64>], room: Room) -> Result<()> {
    let old_end = base.size();
    let sector_end = sector.saturating_add(SECTOR as u64);
    if !sector.is_multiple_of(SECTOR as u64) || sector_end > old_end {
        return Err(base.error(ErrorKind::Invalid, "the switch is not a sector of the image").with_offset(sector));
    }
    if overlay.size() > old_end && base.growth() == Growth::Impossible {
        let error = base.error(ErrorKind::Unsupported, "the image would have to grow, and a block device does not");
        return Err(error.with_hint("copy it into a file with `qemu-img convert`, and work on that"));
    }
    let mut tail: Vec<Range<u64>> = Vec::new();
    let mut switches = false;
    for range in changes::changed(overlay)? {
        if range.start < old_end {
            let live = range.start..range.end.min(old_end);
            if live.start < sector || live.end > sector_end {
                let message = "the commit would overwrite what the old image uses; nothing was written";
                return Err(base.error(ErrorKind::Denied, message).with_offset(live.start));
            }
            switches = true;
        }
        if range.end > old_end {
            tail.push(range.start.max(old_end)..range.end);
        }
    }
    let mut old = [0; SECTOR];
    overlay.read_base(&mut old, sector)?;
    let mut new = [0; SECTOR];
    overlay.read_at(&mut new, sector)?;
    // Where the sector shares its block with a reflinked copy, its write takes room.
    if switches && room == Room::ToReserve {
        base.reserve(&(sector..sector_end)).map_err(|error| before_it_began(base, Left::Nothing, error))?;
    }
    let new_end = overlay.size();
    if new_end > old_end {
        write_tail(base, overlay, &tail, new_end).map_err(|error| take_back(base, old_end, error))?;
    }
    if switches {
        base.write(&new, sector)
            .map_err(|error| (Trace::Uncertain, error))
            .and_then(|()| base.sync().map_err(|error| (Trace::Certain, error)))
            .map_err(|(trace, error)| switch_back(base, &old, sector, trace, old_end, error))?;
        for range in freed {
            base.punch(range);
        }
    }
    Ok(())
}

/// Writes what the overlay holds and makes it durable, without a way back: nothing refers to these bytes yet.
pub(super) fn fill(base: &Base, overlay: &Overlay) -> Result<()> {
    let changed = changes::changed(overlay)?;
    for range in &changed {
        base.reserve(range).map_err(|error| before_it_began(base, Left::Nothing, error))?;
    }
    if changed.is_empty() {
        return Ok(());
    }
    let written = write_ranges(base, overlay, &changed).and_then(|()| base.sync());
    written.map_err(|error| before_it_began(base, Left::Unused, error))
}

fn before_it_began(base: &Base, left: Left, error: Error) -> Error {
    base.wrap(format!("the commit failed before it began; {}", journal::what_is_left(base, left)), error)
}

/// Writes what the overlay has in these ranges.
fn write_ranges(base: &Base, overlay: &Overlay, ranges: &[Range<u64>]) -> Result<()> {
    let mut buf = Vec::new();
    for range in ranges {
        let mut begun = range.start;
        for (at, len) in changes::chunks(range) {
            buf.resize(len, 0);
            overlay.read_at(&mut buf, at)?;
            base.write(&buf, at)?;
            let end = at.saturating_add(len as u64);
            if end.saturating_sub(begun) >= SYNC_EARLY {
                base.begin_sync(&(begun..end));
                begun = end;
            }
        }
    }
    Ok(())
}

fn write_tail(base: &Base, overlay: &Overlay, tail: &[Range<u64>], new_end: u64) -> Result<()> {
    write_ranges(base, overlay, tail)?;
    if tail.last().is_none_or(|last| last.end < new_end) {
        base.set_size(new_end)?;
    }
    base.sync()
}

/// A commit failed before the switch: cuts off what was written past the old end, which the image does not use.
fn take_back(base: &Base, old_end: u64, error: Error) -> Error {
    match base.set_size(old_end) {
        Ok(()) => base.wrap(format!("the commit failed; {}", journal::what_is_left(base, Left::Nothing)), error),
        Err(_) => base.wrap(
            format!("the commit failed; the image is as it was, with unused bytes from byte {old_end} on"),
            error,
        ),
    }
}

/// The switch itself failed: puts the old sector back, and where that works the image is the old one.
fn switch_back(base: &Base, old: &[u8], sector: u64, trace: Trace, old_end: u64, error: Error) -> Error {
    let restored = restore(base, old, sector, trace).and_then(|restored| match restored {
        Restored::Untouched => Ok(()),
        Restored::Written => base.sync(),
    });
    match restored {
        Ok(()) => take_back(base, old_end, error),
        Err(_) => {
            let message = "the last step of the commit failed, and so did taking it back: the image is either completely \
                           the old one or completely the new one, and the host did not say which";
            base.unfinished(message, error).with_hint("look at the host's log, then run the same command again")
        }
    }
}

/// What a commit that failed has left of its write to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// The write was done.
    Certain,
    /// The write failed, and any part of it may have been done.
    Uncertain,
}

/// How bytes came to be as they had been.
enum Restored {
    /// Nothing had been written.
    Untouched,
    /// They were written, and count once they are durable.
    Written,
}

/// Puts the old bytes back.
///
/// Those of a write that was done are written whatever the page cache holds: after a failed sync it does not know what
/// the disk has, and only bytes written anew are tried again.
fn restore(base: &Base, old: &[u8], offset: u64, trace: Trace) -> Result<Restored> {
    if trace == Trace::Uncertain {
        let mut now = vec![0; old.len()];
        if base.read_at(&mut now, offset).is_ok() && now == old {
            return Ok(Restored::Untouched);
        }
    }
    base.write(old, offset).map(|()| Restored::Written)
}

/// Writes a journal, makes it durable, applies it to the image, makes that durable, and removes the journal.
///
/// Until the journal is durable the image is the old one; from then on a crash leaves what the next run completes. Where
/// the host fails while it is applied, it is taken back.
///
/// What nothing reaches in the old image may be written, and made durable, before the journal is one: until that is
/// durable nothing in the image leads there, and it is not taken back. All else that needs room has it by then.
pub(super) fn journal(base: &Base, overlay: &Overlay, room: Room, unused: Unused) -> Result<()> {
    if overlay.size() != base.size() {
        return Err(base.error(ErrorKind::Invalid, "this image cannot grow; nothing was written"));
    }
    let first = match unused {
        Unused::First => changes::unused(overlay),
        Unused::Alike => Vec::new(),
    };
    let changed = changes::in_pages(&changes::changed_beside(overlay, &first)?, base.size());
    let before = |left| {
        move |error| {
            journal::give_up(base);
            before_it_began(base, left, error)
        }
    };
    // A sparse image may need room for what replaces its holes: better to hear now that there is none.
    for range in first.iter().chain(&changed).filter(|_| room == Room::ToReserve) {
        base.reserve(range).map_err(before(Left::Nothing))?;
    }
    let (left, ahead) = match first.is_empty() {
        true => (Left::Nothing, None),
        false => (Left::Unused, Some(|| write_ranges(base, overlay, &first).and_then(|()| base.sync()))),
    };
    if changed.is_empty() {
        ahead.map_or(Ok(()), |ahead| ahead()).map_err(before(left))?;
        journal::give_up(base);
        return Ok(());
    }
    let journal = journal::write(base, overlay, &changed, left, || ahead.map_or(Ok(()), |ahead| ahead()))?;
    let mut written = 0;
    if let Err((trace, error)) = apply(base, overlay, &changed, &mut written) {
        return Err(roll_back(base, journal, written, (trace, left), error));
    }
    journal::remove_applied(base)
}

/// Writes the new bytes in the order of the journal's records, and counts in `written` how many writes were done.
fn apply(base: &Base, overlay: &Overlay, changed: &[Range<u64>], written: &mut u64) -> Result<(), (Trace, Error)> {
    let mut buf = Vec::new();
    for range in changed {
        for (at, len) in changes::chunks(range) {
            buf.resize(len, 0);
            overlay.read_at(&mut buf, at).map_err(|error| (Trace::Certain, error))?;
            base.write(&buf, at).map_err(|error| (Trace::Uncertain, error))?;
            *written += 1;
        }
    }
    base.sync().map_err(|error| (Trace::Certain, error))
}

/// A commit failed while it was applied: takes back the first `written` records of its journal, and the next one where its
/// write failed, and says what the image is.
///
/// Where that fails too, the journal stays for recovery.
pub(super) fn roll_back(
    base: &Base,
    journal: Journal,
    written: u64,
    (trace, left): (Trace, Left),
    error: Error,
) -> Error {
    match take_back_records(base, journal, written, trace) {
        Ok(()) => journal::abandon(base, "the commit failed and was taken back", left, error),
        Err(second) => {
            tracing::debug!(error = %second, "the commit could not be taken back");
            let message = format!(
                "the commit failed in the middle, and so did taking it back: the image is incomplete until the journal {} \
                 has been applied",
                base.journal_name()
            );
            let hint = format!("keep the journal where it is, see to the host, and run: {}", base.recover_command());
            base.unfinished(message, error).with_hint(hint)
        }
    }
}

fn take_back_records(base: &Base, mut journal: Journal, written: u64, trace: Trace) -> Result<()> {
    let mut record = Record::default();
    let mut to_sync = false;
    let mut number = 0;
    while number < written || (number == written && trace == Trace::Uncertain) {
        if !journal.next(base, &mut record)? {
            break;
        }
        let trace = if number < written { Trace::Certain } else { trace };
        if let Restored::Written = restore(base, record.old_bytes(), record.offset, trace)? {
            to_sync = true;
        }
        number += 1;
    }
    if to_sync { base.sync() } else { Ok(()) }
}
