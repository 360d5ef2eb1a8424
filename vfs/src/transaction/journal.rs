//! The journal beside the image: written before a commit applies, read by what takes it back and by recovery.

use super::base::Base;
use super::changes::{self, CHUNK};
use super::damaged::{self, Remains, Start};
use super::overlay::Overlay;
use super::record::{Extent, HEADER, Header, Opening, RECORD_HEADER, Stored, TRAILER};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use crc32c::crc32c_append;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// What a commit that failed has left in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// New bytes where the guest's filesystem uses nothing.
    Unused,
}

/// Writes a journal that turns the base into the overlay in these ranges, and back, and makes it durable with its name.
///
/// `ahead` does what has to be durable before the journal is one, when all of it is written and has its room: of what that
/// leaves in the image should the rest fail, `leaves` tells. On an error the image is untouched but for that, and no journal is left
/// if the host lets it be removed.
pub(super) fn write(
    base: &Base,
    overlay: &Overlay,
    changed: &[Range<u64>],
    leaves: Left,
    ahead: impl FnOnce() -> Result<()>,
) -> Result<Journal> {
    reserve(base)?;
    let mut left = Left::Nothing;
    let written = fill(base, overlay, changed).and_then(|mut header| {
        base.sync_journal()?;
        base.sync_dir()?;
        left = leaves;
        ahead()?;
        // By the time of the last write recovery tells that nobody else has written: what was done ahead counts as one.
        header.stamp = base.stamp()?;
        // A journal with a header is one that was durable.
        base.seal_journal(&header.encode())?;
        base.sync_journal()?;
        Ok(Journal::new(header))
    });
    written.map_err(|error| abandon(base, "the commit failed before it began", left, error))
}

/// Makes the journal's file, empty, unless that is done; an empty one says nothing to whoever finds it.
pub(super) fn reserve(base: &Base) -> Result<()> {
    base.reserve_journal().map_err(|error| {
        base.wrap(format!("the commit failed before it began; {}", what_is_left(base, Left::Nothing)), error)
    })
}

/// Removes the journal's file where nothing has been written to it; should that fail, whoever comes next does it.
pub(super) fn give_up(base: &Base) {
    if let Err(error) = base.unreserve_journal() {
        tracing::warn!(%error, "an empty journal is left");
    }
}

/// Gives up the journal of a commit of which nothing is in the image but what it has left, and says what `error` means.
pub(super) fn abandon(base: &Base, what: &str, left: Left, error: Error) -> Error {
    // Either is enough: an empty journal is none, should a crash bring its name back.
    let cleared = base.clear_journal();
    let removed = base.remove_journal().and_then(|()| base.sync_dir());
    let what = format!("{what}; {}", what_is_left(base, left));
    if cleared.is_ok() || removed.is_ok() {
        return base.wrap(what, error);
    }
    let message = format!("{what}, but the journal {} could not be removed", base.journal_name());
    base.unfinished(message, error).with_hint("remove the journal, or the next run may finish the commit")
}

/// What an image is that a commit has failed on, a clause. One that is as it was gets the time of its last write back.
pub(super) fn what_is_left(base: &Base, left: Left) -> &'static str {
    match left {
        Left::Nothing => {
            base.give_time_back();
            "the image is as it was"
        }
        Left::Unused => "the image is as it was, but for bytes that its filesystem does not use",
    }
}

/// Streams the journal's bytes to its file, with nothing yet in the place of the header.
fn fill(base: &Base, overlay: &Overlay, changed: &[Range<u64>]) -> Result<Header> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let mut extents = Vec::new();
    let mut header = Header {
        id: random_id(),
        image_size: base.size(),
        stamp: base.stamp()?,
        records: 0,
        extents: 0,
        journal_size: (HEADER + TRAILER) as u64,
    };
    for (offset, len) in changed.iter().flat_map(changes::chunks) {
        old.resize(len, 0);
        new.resize(len, 0);
        overlay.read_base(&mut old, offset)?;
        overlay.read_at(&mut new, offset)?;
        let extent = Extent { offset, len, old: Stored::of(&old), new: Stored::of(&new) };
        header.records += 1;
        header.extents = crc32c_append(header.extents, &extent.start());
        header.journal_size += (RECORD_HEADER + extent.body()) as u64;
        extents.push(extent);
    }
    base.append_journal(&[0; HEADER])?;
    let mut pending = Vec::new();
    let mut checksum = 0;
    for extent in extents {
        old.resize(extent.len, 0);
        new.resize(extent.len, 0);
        overlay.read_base(&mut old, extent.offset)?;
        overlay.read_at(&mut new, extent.offset)?;
        extent.encode(&old, &new, &mut pending);
        if pending.len() >= CHUNK {
            checksum = crc32c_append(checksum, &pending);
            base.append_journal(&pending)?;
            pending.clear();
        }
    }
    checksum = crc32c_append(checksum, &pending);
    pending.extend_from_slice(&header.trailer(checksum));
    base.append_journal(&pending)?;
    Ok(header)
}

/// Removes the journal of a commit that is in the image durably.
pub(super) fn remove_applied(base: &Base) -> Result<()> {
    if let Err(error) = base.remove_journal() {
        // An empty one is discarded by whoever comes next.
        if base.clear_journal().is_err() {
            let message = "the commit is done and the image is the new one, but its journal could not be removed";
            let hint = format!("remove {} before anybody else writes to the image", base.journal_name());
            return Err(base.unfinished(message, error).with_hint(hint));
        }
        tracing::warn!(%error, "an empty journal is left beside the image");
        return Ok(());
    }
    if let Err(error) = base.sync_dir() {
        // The image is new and durable. Should a crash bring the journal back, it changes nothing.
        tracing::warn!(%error, "the removal of the journal may not be durable");
    }
    Ok(())
}

/// A random number without a dependency: the standard library seeds its hashers from the system's generator.
pub(super) fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
    id[8..].copy_from_slice(&RandomState::new().hash_one(1).to_le_bytes());
    id
}

/// What lies in the journal's place.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A journal of a commit that had not touched the image yet, or one that was damaged later.
    Remains(Remains),
    /// A whole journal.
    Complete(Journal),
}

/// A journal whose checksum is right, and its records one after the other.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    pub(super) header: Header,
    /// Where the next record starts, in bytes.
    at: u64,
    /// Records still to come.
    left: u64,
    /// The end of the last record's range in the image.
    reached: u64,
}

/// Reads what lies in the journal's place, all of it, in bounded memory.
pub(super) fn find(base: &Base) -> Result<Found> {
    let Some(size) = base.open_journal()? else { return Ok(Found::Nothing) };
    let mut first = vec![0; usize::try_from(size).map_or(HEADER, |size| size.min(HEADER))];
    base.read_journal(&mut first, 0)?;
    let header = match Header::decode(&first) {
        Opening::Header(header) => header,
        Opening::Blank => return Ok(Found::Remains(Remains { start: Start::Blank, size })),
        Opening::Damaged => return Ok(Found::Remains(Remains { start: Start::Damaged, size })),
        Opening::Version(version) => {
            let message = format!("this journal has version {version}, which this imgraft does not know");
            let error = base.journal_error(ErrorKind::Unsupported, message);
            return Err(error.with_hint(format!("use the imgraft that wrote it: {}", base.recover_command())));
        }
        Opening::Foreign => {
            let error =
                base.journal_error(ErrorKind::Denied, "this has the name of the image's journal and is not one");
            return Err(error.with_hint(
                "find out what it is before you move it away: if it is a journal that was damaged, the image may be half \
                 written",
            ));
        }
    };
    let damaged = Found::Remains(Remains { start: Start::Header(header), size });
    // The writer counted before it wrote.
    if size != header.journal_size || size < (HEADER + TRAILER) as u64 {
        return Ok(damaged);
    }
    let end = size - TRAILER as u64;
    let mut trailer = [0; TRAILER];
    base.read_journal(&mut trailer, end)?;
    if trailer != header.trailer(damaged::checksum(base, end)?) {
        return Ok(damaged);
    }
    Ok(Found::Complete(Journal::new(header)))
}

/// A record in memory: a range of the image, the checksums of its sectors, its old and its new bytes.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) offset: u64,
    body: Vec<u8>,
    table: usize,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Record {
    /// The table of checksums, for [`super::record::checksums`].
    pub(super) fn table(&self) -> &[u8] {
        &self.body[..self.table]
    }

    /// The old bytes.
    pub(super) fn old_bytes(&self) -> &[u8] {
        &self.old
    }

    /// The new bytes.
    pub(super) fn new_bytes(&self) -> &[u8] {
        &self.new
    }
}

/// Makes `to` the stored bytes, or as many zeros.
fn unpack(stored: &[u8], len: usize, to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(stored);
    to.resize(len, 0);
}

impl Journal {
    fn new(header: Header) -> Self {
        Self { header, at: HEADER as u64, left: header.records, reached: 0 }
    }

    /// Reads the next record into `record`; false after the last one.
    ///
    /// The checksum has been seen to be right, so what does not fit here was made to be wrong: `Corrupt`.
    pub(super) fn next(&mut self, base: &Base, record: &mut Record) -> Result<bool> {
        let end = self.header.journal_size - TRAILER as u64;
        if self.left == 0 {
            return if self.at == end { Ok(false) } else { Err(self.corrupt(base)) };
        }
        if end - self.at < RECORD_HEADER as u64 {
            return Err(self.corrupt(base));
        }
        let mut start = [0; RECORD_HEADER];
        base.read_journal(&mut start, self.at)?;
        let extent = Extent::decode(&start, self.reached, self.header.image_size).ok_or_else(|| self.corrupt(base))?;
        let body = self.at + RECORD_HEADER as u64;
        if end - body < extent.body() as u64 {
            return Err(self.corrupt(base));
        }
        record.body.resize(extent.body(), 0);
        base.read_journal(&mut record.body, body)?;
        record.offset = extent.offset;
        record.table = extent.sectors() * 8;
        let split = extent.split();
        unpack(&record.body[record.table..split], extent.len, &mut record.old);
        unpack(&record.body[split..], extent.len, &mut record.new);
        self.at = body + extent.body() as u64;
        self.left -= 1;
        self.reached = extent.offset + extent.len as u64;
        Ok(true)
    }

    /// The error of a journal whose checksum is right and whose records cannot be.
    pub(super) fn corrupt(&self, base: &Base) -> Error {
        base.journal_error(ErrorKind::Corrupt, "the journal contradicts itself; nothing of it was used")
            .with_offset(self.at)
            .with_hint(
                "keep the journal and the image, and find out who made it: to remove it may leave the image half written",
            )
    }
}
