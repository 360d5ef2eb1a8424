//! The two ways in which the writes held become the image.

use super::base::Base;
use super::changes::{self, SECTOR};
use super::journal;
use super::overlay::Overlay;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use std::ops::Range;

/// Writes everything past the old end, makes it durable, and then switches with the one write of `sector`.
///
/// The old image reaches nothing past its end, and the sector is written whole or not at all: at every instant the image
/// is the old one or the new one.
pub(super) fn switch(base: &Base, overlay: &Overlay, sector: u64) -> Result<()> {
    let old_end = base.size();
    let sector_end = sector.saturating_add(SECTOR as u64);
    if !sector.is_multiple_of(SECTOR as u64) || sector_end > old_end {
        return Err(base.error(ErrorKind::Invalid, "the switch is not a sector of the image").with_offset(sector));
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
    let new_end = overlay.size();
    if new_end > old_end {
        write_tail(base, overlay, &tail, new_end).map_err(|error| take_back(base, old_end, error))?;
    }
    if switches {
        let mut new = [0; SECTOR];
        overlay.read_at(&mut new, sector).map_err(|error| take_back(base, old_end, error))?;
        base.write(&new, sector).and_then(|()| base.sync()).map_err(|error| undecided(base, error))?;
    }
    Ok(())
}

fn write_tail(base: &Base, overlay: &Overlay, tail: &[Range<u64>], new_end: u64) -> Result<()> {
    let mut buf = Vec::new();
    for range in tail {
        for (at, len) in changes::chunks(range) {
            buf.resize(len, 0);
            overlay.read_at(&mut buf, at)?;
            base.write(&buf, at)?;
        }
    }
    if tail.last().is_none_or(|last| last.end < new_end) {
        base.set_size(new_end)?;
    }
    base.sync()
}

/// A commit failed before the switch: cuts off what was written past the old end, which the image does not use.
fn take_back(base: &Base, old_end: u64, error: Error) -> Error {
    match base.set_size(old_end) {
        Ok(()) => base.wrap("the commit failed; the image is as it was", error),
        Err(_) => base.wrap(
            format!("the commit failed; the image is as it was, with unused bytes from byte {old_end} on"),
            error,
        ),
    }
}

/// The switch itself failed: nobody knows what the disk has, but it is one of two things.
fn undecided(base: &Base, error: Error) -> Error {
    let message = "the last step of the commit failed: the image is either completely the old one or completely the new \
                   one, and the host did not say which";
    base.wrap(message, error).with_hint("look at the host's log, then run the same command again")
}

/// Writes a redo journal, makes it durable, applies it to the image, makes that durable, and removes the journal.
///
/// Until the journal is durable the image is the old one; from then on a crash leaves what the next run completes.
pub(super) fn journal(base: &Base, overlay: &Overlay) -> Result<()> {
    if overlay.size() != base.size() {
        return Err(base.error(ErrorKind::Invalid, "this image cannot grow; nothing was written"));
    }
    let changed = changes::in_pages(&changes::changed(overlay)?, base.size());
    if changed.is_empty() {
        return Ok(());
    }
    // A sparse image may need room for what replaces its holes: better to hear now that there is none.
    for range in &changed {
        base.reserve(range)
            .map_err(|error| base.wrap("the commit failed before it began; the image is as it was", error))?;
    }
    journal::write(base, overlay, &changed)?;
    apply(base, overlay, &changed).map_err(|error| {
        let message = format!(
            "the commit was interrupted: the image is incomplete until the journal {} has been applied",
            base.journal_name()
        );
        let hint = format!("keep the journal beside the image, and run: imgraft recover {}", base.name());
        base.wrap(message, error).with_hint(hint)
    })?;
    journal::remove_applied(base)
}

fn apply(base: &Base, overlay: &Overlay, changed: &[Range<u64>]) -> Result<()> {
    let mut buf = Vec::new();
    for range in changed {
        for (at, len) in changes::chunks(range) {
            buf.resize(len, 0);
            overlay.read_at(&mut buf, at)?;
            base.write(&buf, at)?;
        }
    }
    base.sync()
}
