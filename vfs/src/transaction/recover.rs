//! What an interrupted run left beside the image, and what becomes of it.

use super::base::Base;
use super::changes::SECTOR;
use super::commit::{self, Trace};
use super::damaged::Whole;
use super::journal::{self, Found, Journal, Left, Record};
use super::record::checksums;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use crc32c::crc32c;

/// What an interrupted run had left, and what was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was left.
    Nothing,
    /// A commit was completed: the image is the new one.
    Finished,
    /// What was left of a commit that had not changed the image yet was removed: the image is as it was found, and so the
    /// old one, unless somebody else has emptied the journal.
    Discarded,
}

/// What the image holds of a journal's sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All are as they were before the commit.
    Old,
    /// At least one is as only this commit makes it, and the others are old or new.
    Begun,
}

/// Finishes or discards what an interrupted run left; the image is locked for writing.
///
/// `Denied` where the image is not known to be the one that the journal was made for, `Corrupt` where the journal is damaged and the
/// image may hold a part of it; nothing is applied then, and the journal is kept.
pub(super) fn recover(base: &Base) -> Result<Recovery> {
    let journal = match journal::find(base)? {
        Found::Nothing => return Ok(Recovery::Nothing),
        Found::Remains(remains) => {
            return match remains.judge(base)? {
                Whole::Old => discard(base),
                Whole::New => {
                    base.sync()?;
                    journal::remove_applied(base)?;
                    Ok(Recovery::Finished)
                }
            };
        }
        Found::Complete(journal) => journal,
    };
    if journal.header.image_size != base.size() {
        return Err(changed_since(base, "the journal was made for an image of another size"));
    }
    match judge(base, journal.clone())? {
        // Not one sector proves that this is the journal's image, and the image is whole as it is. It is finished only
        // if nobody has touched the file since (of a block device nothing tells): else other blocks may have changed that
        // the new ones do not fit to.
        State::Old if base.stamp()?.is_of_another(journal.header.stamp) => Err(of_another_file(base)),
        State::Old if !base.stamp()?.is_untouched(journal.header.stamp) => discard(base),
        State::Old | State::Begun => {
            if let Err(error) = apply(base, journal.clone()) {
                // What the interrupted run has written may be anywhere between the page cache and the disk: all of it is
                // taken back.
                let records = journal.header.records;
                return Err(commit::roll_back(base, journal, records, (Trace::Certain, Left::Unused), error));
            }
            journal::remove_applied(base)?;
            Ok(Recovery::Finished)
        }
    }
}

/// Fails with `InUse` where a commit has to be finished first, `Corrupt` where its journal is damaged and the image may hold
/// a part of it; writes nothing.
pub(super) fn refuse_pending(base: &Base) -> Result<()> {
    match journal::find(base)? {
        Found::Nothing => Ok(()),
        Found::Remains(remains) => remains.judge(base).map(drop),
        Found::Complete(_) => {
            let error = base.error(ErrorKind::InUse, "an interrupted run has left a commit to finish");
            Err(error.with_hint(format!("run: {}", base.recover_command())))
        }
    }
}

fn discard(base: &Base) -> Result<Recovery> {
    base.remove_journal()?;
    base.sync_dir()?;
    Ok(Recovery::Discarded)
}

/// Compares every sector of the journal with the image.
fn judge(base: &Base, mut journal: Journal) -> Result<State> {
    let mut state = State::Old;
    let mut record = Record::default();
    let mut now = Vec::new();
    while journal.next(base, &mut record)? {
        now.resize(record.new_bytes().len(), 0);
        base.read_at(&mut now, record.offset)?;
        let sectors =
            record.old_bytes().chunks(SECTOR).zip(record.new_bytes().chunks(SECTOR)).zip(checksums(record.table()));
        for (i, (now, ((old_data, new_data), (old, new)))) in now.chunks(SECTOR).zip(sectors).enumerate() {
            if crc32c(new_data) != new || crc32c(old_data) != old {
                return Err(journal.corrupt(base));
            }
            if now == new_data {
                if old != new {
                    state = State::Begun;
                }
            } else if now != old_data {
                let offset = record.offset + (i * SECTOR) as u64;
                return Err(
                    changed_since(base, "the image was changed after the run was interrupted").with_offset(offset)
                );
            }
        }
    }
    Ok(state)
}

fn changed_since(base: &Base, message: &str) -> Error {
    let name = base.journal_name();
    base.error(
        ErrorKind::Denied,
        format!("an interrupted run left the journal {name}, and it cannot be applied: {message}"),
    )
    .with_hint(format!("if the image is good as it is, remove {name}; else restore the image from a copy"))
}

/// The file that the journal was made for may be half written, wherever it is now.
pub(super) fn of_another_file(base: &Base) -> Error {
    let name = base.journal_name();
    let message = format!("an interrupted run left the journal {name} for another file, which was moved or replaced");
    base.error(ErrorKind::Denied, message).with_hint(format!(
        "if that file was moved, it may be half written: run `imgraft recover` on it where it is beside the journal; if it is \
         gone, remove {name}"
    ))
}

fn apply(base: &Base, mut journal: Journal) -> Result<()> {
    let mut record = Record::default();
    while journal.next(base, &mut record)? {
        base.write(record.new_bytes(), record.offset)?;
    }
    base.sync()
}
