//! The bytes of an undo file: a header, records, a trailer, and once the commit is done a seal.
//!
//! All numbers are little-endian. For every sector of 512 bytes a record has the CRC-32C of what the image holds after the
//! commit; then follow the bytes that were there before, unless they are all zero, or still are where they were (what a
//! qcow2 image has freed). The trailer's checksum is over the records and then the header: an undo file that is cut or damaged counts
//! for nothing. The seal says when the image was written to last.

use super::super::changes::SECTOR;
use super::super::host::Time;
use super::super::sealed::{self, put_time, time_at, u32_at, u64_at};
pub(super) use super::super::sealed::{HEADER, RECORD_HEADER, TRAILER};
use crc32c::crc32c;

pub(super) const SEAL: usize = 64;

const MAGIC: &[u8; 8] = b"IMGRAFTU";
const TRAILER_MAGIC: &[u8; 8] = b"IMGRAFTV";
const SEAL_MAGIC: &[u8; 8] = b"IMGRAFTS";
const VERSION: u32 = 1;

/// Where the seal's own checksum lies.
const SEAL_CHECKSUM: std::ops::Range<usize> = 60..64;

/// How the image goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The old bytes are written over the new ones, through a journal.
    Journal,
    /// The old sector is written, at this byte offset, and what lies past the old end is cut off.
    Switch(u64),
}

/// What tells that nobody has written to the image since the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// The time of its last write, in the seal.
    Time,
    /// The CRC-32C of all of it.
    Content(u32),
}

/// What an undo file says of itself and of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// A random number, in trailer and seal too.
    pub(super) id: [u8; 16],
    pub(super) way: Way,
    pub(super) witness: Witness,
    /// The size of the image before the commit, in bytes.
    pub(super) old_size: u64,
    /// The size of the image after the commit, in bytes.
    pub(super) new_size: u64,
    /// When the image was written to last before the commit, where that is known.
    pub(super) old_time: Option<Time>,
    /// The number of records.
    pub(super) records: u64,
    /// The size of the undo file in bytes, from the header to the trailer.
    pub(super) file_size: u64,
}

/// What the first bytes of a file are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Header(Header),
    Damaged,
    Version(u32),
    Foreign,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = sealed::begin(MAGIC, VERSION, self.id);
        let (way, sector) = match self.way {
            Way::Journal => (0_u32, 0),
            Way::Switch(sector) => (1, sector),
        };
        let (witness, content) = match self.witness {
            Witness::Time => (0_u32, 0),
            Witness::Content(checksum) => (1, checksum),
        };
        bytes[32..36].copy_from_slice(&way.to_le_bytes());
        bytes[36..40].copy_from_slice(&witness.to_le_bytes());
        bytes[40..48].copy_from_slice(&sector.to_le_bytes());
        bytes[48..52].copy_from_slice(&content.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.old_size.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.new_size.to_le_bytes());
        if let Some(time) = self.old_time {
            put_time(&mut bytes, 72, time);
            bytes[84..88].copy_from_slice(&1_u32.to_le_bytes());
        }
        bytes[88..96].copy_from_slice(&self.records.to_le_bytes());
        bytes[96..104].copy_from_slice(&self.file_size.to_le_bytes());
        sealed::sign(&mut bytes);
        bytes
    }

    /// Judges the first bytes of a file: all of them where it is shorter than a header.
    pub(super) fn decode(bytes: &[u8]) -> Opening {
        if bytes.get(..MAGIC.len()) != Some(MAGIC) {
            return Opening::Foreign;
        }
        let Ok(bytes) = <&[u8; HEADER]>::try_from(bytes) else { return Opening::Damaged };
        if !sealed::is_signed(bytes) {
            return Opening::Damaged;
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            version => return Opening::Version(version),
        }
        let way = match u32_at(bytes, 32) {
            0 => Way::Journal,
            1 => Way::Switch(u64_at(bytes, 40)),
            _ => return Opening::Damaged,
        };
        let witness = match u32_at(bytes, 36) {
            0 => Witness::Time,
            1 => Witness::Content(u32_at(bytes, 48)),
            _ => return Opening::Damaged,
        };
        Opening::Header(Self {
            id: sealed::id(bytes),
            way,
            witness,
            old_size: u64_at(bytes, 56),
            new_size: u64_at(bytes, 64),
            old_time: (u32_at(bytes, 84) == 1).then(|| time_at(bytes, 72)),
            records: u64_at(bytes, 88),
            file_size: u64_at(bytes, 96),
        })
    }

    /// The end of the file, where `checksum` is the CRC-32C of its records and then its header.
    pub(super) fn trailer(&self, checksum: u32) -> [u8; TRAILER] {
        sealed::trailer(TRAILER_MAGIC, self.id, checksum)
    }

    /// What is appended once the commit is done: when the image was written to last.
    pub(super) fn seal(&self, time: Option<Time>) -> [u8; SEAL] {
        let mut bytes = [0; SEAL];
        bytes[..8].copy_from_slice(SEAL_MAGIC);
        bytes[8..24].copy_from_slice(&self.id);
        if let Some(time) = time {
            put_time(&mut bytes, 24, time);
            bytes[36..40].copy_from_slice(&1_u32.to_le_bytes());
        }
        let checksum = crc32c(&bytes[..SEAL_CHECKSUM.start]);
        bytes[SEAL_CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The time in a seal; `None` where the bytes are not this file's seal, or it has no time.
    pub(super) fn sealed(&self, bytes: &[u8]) -> Option<Time> {
        let bytes = <&[u8; SEAL]>::try_from(bytes).ok()?;
        let whole = crc32c(&bytes[..SEAL_CHECKSUM.start]) == u32_at(bytes, SEAL_CHECKSUM.start);
        let own = &bytes[..8] == SEAL_MAGIC && bytes[8..24] == self.id && u32_at(bytes, 36) == 1;
        (whole && own).then(|| time_at(bytes, 24))
    }
}

/// Where the old bytes of a record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// In the record.
    Here,
    /// Nowhere: all of them are zero.
    Zeros,
    /// In the image, where they were.
    Kept,
}

/// The start of a record: a range of the image, of at most [`CHUNK`](super::super::changes::CHUNK) bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) stored: Stored,
}

impl Extent {
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        // At most CHUNK.
        bytes[8..12].copy_from_slice(&(self.len as u32).to_le_bytes());
        let stored: u32 = match self.stored {
            Stored::Here => 0,
            Stored::Zeros => 1,
            Stored::Kept => 2,
        };
        bytes[12..16].copy_from_slice(&stored.to_le_bytes());
        bytes
    }

    /// What `bytes` say, where it is such as this tool writes: a [`range`](sealed::range), and where its old bytes are.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER], from: u64, size: u64) -> Option<Self> {
        let (offset, len) = sealed::range(bytes, from, size)?;
        let stored = match u32_at(bytes, 12) {
            0 => Stored::Here,
            1 => Stored::Zeros,
            2 => Stored::Kept,
            _ => return None,
        };
        Some(Self { offset, len, stored })
    }

    /// The length of the table of checksums that follows, in bytes.
    pub(super) fn table(&self) -> usize {
        self.len.div_ceil(SECTOR) * 4
    }

    /// The bytes after the record's header: a checksum a sector, and the old bytes where they are here.
    pub(super) fn body(&self) -> usize {
        self.table() + if self.stored == Stored::Here { self.len } else { 0 }
    }
}

/// The checksums of a record's table.
pub(super) fn checksums(table: &[u8]) -> impl Iterator<Item = u32> {
    table.chunks_exact(4).map(|bytes| u32_at(bytes, 0))
}
