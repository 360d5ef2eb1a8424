//! A journal that is not whole: one whose commit cannot have begun, or one that was damaged later.
//!
//! The header is written last, as one sector, when all else of the journal is durable, and made durable before the image
//! is touched. So a journal without a header is one of a commit that had not begun; what has one and is not whole was
//! damaged, and so was what has something else in its place.

use super::base::Base;
use super::changes::{self, SECTOR};
use super::record::{self, Extent, HEADER, Header, RECORD_HEADER, Stored, TRAILER, checksums};
use super::recover::of_another_file;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use crc32c::{crc32c, crc32c_append};

/// What there is of a journal that is not whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remains {
    pub(super) start: Start,
    /// The size of the file in bytes.
    pub(super) size: u64,
}

/// What lies where the header belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// Nothing: the commit has not begun.
    Blank,
    /// A header.
    Header(Header),
    /// What was a header.
    Damaged,
}

/// Which image is there, all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Old,
    New,
}

/// What the records say of the image, as far as they can be read.
struct Comparison {
    /// A sector that is as only the commit makes it.
    new: Option<u64>,
    /// Every sector is as it was.
    all_old: bool,
    /// Every sector is as it shall be.
    all_new: bool,
    records: u64,
    /// The checksum of where the records lie.
    extents: u32,
    /// Whether the last record ended where the trailer begins.
    complete: bool,
}

const ZEROS: [u8; SECTOR] = [0; SECTOR];

impl Remains {
    /// The image, where it can be known to be a whole one; writes nothing.
    ///
    /// `Corrupt` where the image may hold a part of the commit. One record is in memory at a time, with what the image has
    /// in its place.
    pub(super) fn judge(&self, base: &Base) -> Result<Whole> {
        let found = self.compare(base)?;
        let whole = match self.start {
            Start::Blank => match found.new {
                // Only damage takes a header away.
                Some(offset) => return Err(refused(base).with_offset(offset)),
                None => return Ok(Whole::Old),
            },
            Start::Header(header) => {
                let listed = (found.records, found.extents) == (header.records, header.extents);
                self.size == header.journal_size && listed && header.image_size == base.size()
            }
            Start::Damaged => self.has_trailer(base)?,
        };
        if let Start::Header(header) = self.start
            && base.stamp()?.is_of_another(header.stamp)
        {
            return Err(of_another_file(base));
        }
        match (whole && found.complete, found) {
            (true, Comparison { all_old: true, .. }) => Ok(Whole::Old),
            (true, Comparison { all_new: true, .. }) => Ok(Whole::New),
            _ => Err(refused(base)),
        }
    }

    /// Whether there is a trailer that vouches for everything but the header.
    fn has_trailer(&self, base: &Base) -> Result<bool> {
        let Some(end) = self.size.checked_sub(TRAILER as u64).filter(|end| *end >= HEADER as u64) else {
            return Ok(false);
        };
        let mut trailer = [0; TRAILER];
        base.read_journal(&mut trailer, end)?;
        Ok(record::vouches(&trailer, checksum(base, end)?))
    }

    fn compare(&self, base: &Base) -> Result<Comparison> {
        let mut found = Comparison { new: None, all_old: true, all_new: true, records: 0, extents: 0, complete: false };
        let (mut body, mut now) = (Vec::new(), Vec::new());
        let (mut at, mut reached) = (HEADER as u64, 0);
        // Every turn goes on by a record, whose header and table are not empty.
        loop {
            let left = self.size.saturating_sub(at);
            found.complete = left == TRAILER as u64;
            if found.complete || left < RECORD_HEADER as u64 {
                return Ok(found);
            }
            let mut start = [0; RECORD_HEADER];
            base.read_journal(&mut start, at)?;
            let Some(extent) = Extent::decode(&start, reached, base.size()) else { return Ok(found) };
            found.extents = crc32c_append(found.extents, &start);
            let left = left.saturating_sub(RECORD_HEADER as u64);
            body.resize(usize::try_from(left).map_or(extent.body(), |left| left.min(extent.body())), 0);
            at = at.saturating_add(RECORD_HEADER as u64);
            base.read_journal(&mut body, at)?;
            now.resize(extent.len, 0);
            base.read_at(&mut now, extent.offset)?;
            found.add(&extent, &body, &now);
            at = at.saturating_add(extent.body() as u64);
            reached = extent.offset.saturating_add(extent.len as u64);
        }
    }
}

impl Comparison {
    /// Compares a record, whose `body` may be cut short, with what the image has `now`.
    fn add(&mut self, extent: &Extent, body: &[u8], now: &[u8]) {
        self.records = self.records.saturating_add(1);
        let table = body.get(..extent.sectors() * 8).unwrap_or(body);
        let piece = |stored, from: usize, len: usize| match stored {
            Stored::Zeros => ZEROS.get(..len),
            Stored::Here => body.get(from..from + len),
        };
        let mut seen = 0;
        for (number, (now, (old_sum, new_sum))) in now.chunks(SECTOR).zip(checksums(table)).enumerate() {
            let within = number * SECTOR;
            let old_data = piece(extent.old, extent.sectors() * 8 + within, now.len());
            let new_data = piece(extent.new, extent.split() + within, now.len());
            let sum = crc32c(now);
            // Either witness is enough: a damaged byte cannot have changed both.
            let old = sum == old_sum || old_data == Some(now);
            let new = sum == new_sum || (new_data == Some(now) && old_data.map(crc32c) == Some(old_sum));
            if new && !old && self.new.is_none() {
                self.new = Some(extent.offset.saturating_add(within as u64));
            }
            self.all_old &= old;
            self.all_new &= new;
            seen += 1;
        }
        if seen < extent.sectors() {
            (self.all_old, self.all_new) = (false, false);
        }
    }
}

/// The checksum of what lies between a journal's header and byte `end`, where its trailer begins.
pub(super) fn checksum(base: &Base, end: u64) -> Result<u32> {
    let mut checksum = 0;
    let mut buf = Vec::new();
    for (at, len) in changes::chunks(&(HEADER as u64..end)) {
        buf.resize(len, 0);
        base.read_journal(&mut buf, at)?;
        checksum = crc32c_append(checksum, &buf);
    }
    Ok(checksum)
}

fn refused(base: &Base) -> Error {
    let message = "the journal is damaged, and a part of its commit may be in the image";
    base.journal_error(ErrorKind::Corrupt, message).with_hint(
        "keep both: without the journal nothing tells what the image should hold; restore the image from a copy, and only \
         then remove the journal",
    )
}
