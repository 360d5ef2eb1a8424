//! The bytes of a redo journal: a header, records, a trailer.
//!
//! All numbers are little-endian. For every sector of 512 bytes a record has the CRC-32C of what the image held and of
//! what it shall hold: recovery sees by them, sector by sector, whether the image is the one that the journal was made
//! for. Then follow the old bytes, by which a commit that fails is taken back, and the new ones; bytes that are all zero
//! are left out. The trailer's checksum is over everything between it and the header. The header is written last, when all
//! else is durable: a journal without one is of a commit that has not begun.
//!
//! The journal holds what goes into the guest, password hashes and keys included; its file has mode 0600.

use super::changes::SECTOR;
use super::host::Stamp;
use super::identity::Identity;
use super::sealed::{self, put_time, time_at, u32_at, u64_at};
pub(super) use super::sealed::{HEADER, RECORD_HEADER, TRAILER};
use crc32c::crc32c;

const MAGIC: &[u8; 8] = b"IMGRAFTJ";
const TRAILER_MAGIC: &[u8; 8] = b"IMGRAFTE";
const VERSION: u32 = 3;

/// In a header: the image's host keeps no time of its last write.
const TIMELESS: u32 = 1;

/// What a journal says of itself, and of the image it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// A random number, in the trailer too.
    pub(super) id: [u8; 16],
    /// The size of the image in bytes.
    pub(super) image_size: u64,
    /// The image when the journal was made.
    pub(super) stamp: Stamp,
    /// The number of records.
    pub(super) records: u64,
    /// The CRC-32C of their beginnings, one after the other: of where they lie.
    pub(super) extents: u32,
    /// The size of the journal in bytes, from the header to the trailer.
    pub(super) journal_size: u64,
}

/// What the first bytes of a file with a journal's name are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A journal's header.
    Header(Header),
    /// Nothing: the place of a header that was never written.
    Blank,
    /// What was a header; its one sector is written whole or not at all.
    Damaged,
    /// A journal of another version.
    Version(u32),
    /// Something else: not ours to remove.
    Foreign,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = sealed::begin(MAGIC, VERSION, self.id);
        bytes[32..40].copy_from_slice(&self.image_size.to_le_bytes());
        let Identity { inode, thing, born, start } = self.stamp.identity;
        bytes[40..48].copy_from_slice(&inode.to_le_bytes());
        match self.stamp.time {
            Some(time) => put_time(&mut bytes, 48, time),
            None => bytes[60..64].copy_from_slice(&TIMELESS.to_le_bytes()),
        }
        bytes[64..72].copy_from_slice(&self.records.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.journal_size.to_le_bytes());
        bytes[80..84].copy_from_slice(&self.extents.to_le_bytes());
        bytes[84..92].copy_from_slice(&thing.to_le_bytes());
        bytes[92..100].copy_from_slice(&start.to_le_bytes());
        bytes[100..108].copy_from_slice(&born.to_le_bytes());
        sealed::sign(&mut bytes);
        bytes
    }

    /// Judges the first bytes of a file: all of them where it is shorter than a header.
    pub(super) fn decode(bytes: &[u8]) -> Opening {
        if bytes.iter().all(|&byte| byte == 0) {
            return Opening::Blank;
        }
        let magic = bytes.len().min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
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
        Opening::Header(Self {
            id: sealed::id(bytes),
            image_size: u64_at(bytes, 32),
            stamp: Stamp {
                // What older programs did not write is 0.
                identity: Identity {
                    inode: u64_at(bytes, 40),
                    thing: u64_at(bytes, 84),
                    start: u64_at(bytes, 92),
                    born: u64_at(bytes, 100),
                },
                time: (u32_at(bytes, 60) != TIMELESS).then(|| time_at(bytes, 48)),
            },
            records: u64_at(bytes, 64),
            journal_size: u64_at(bytes, 72),
            extents: u32_at(bytes, 80),
        })
    }

    /// The end of the journal, where `checksum` is the CRC-32C of everything between the header and it.
    pub(super) fn trailer(&self, checksum: u32) -> [u8; TRAILER] {
        sealed::trailer(TRAILER_MAGIC, self.id, checksum)
    }
}

/// Whether this is the end of a journal, whatever its header, whose checksum is this one.
pub(super) fn vouches(trailer: &[u8; TRAILER], checksum: u32) -> bool {
    *trailer == sealed::trailer(TRAILER_MAGIC, sealed::id_of_trailer(trailer), checksum)
}

/// The start of a record: a range of the image, of at most [`CHUNK`](super::changes::CHUNK) bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: usize,
    /// Where its old bytes are.
    pub(super) old: Stored,
    /// Where its new bytes are.
    pub(super) new: Stored,
}

/// Where the bytes of a record are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// In the record.
    Here,
    /// Nowhere: all of them are zero.
    Zeros,
}

impl Stored {
    /// Where these bytes are to be.
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.iter().all(|&byte| byte == 0) { Self::Zeros } else { Self::Here }
    }

    fn bytes(self, len: usize) -> usize {
        if self == Self::Here { len } else { 0 }
    }
}

/// The flags of a record: which of its bytes are left out.
const OLD_ZEROS: u32 = 1;
const NEW_ZEROS: u32 = 2;

impl Extent {
    /// What `bytes` say, where it is such as this tool writes: a [`range`](sealed::range), and flags that are known.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER], from: u64, image_size: u64) -> Option<Self> {
        let (offset, len) = sealed::range(bytes, from, image_size)?;
        let flags = u32_at(bytes, 12);
        let stored = |zeros| if flags & zeros == 0 { Stored::Here } else { Stored::Zeros };
        let known = flags & !(OLD_ZEROS | NEW_ZEROS) == 0;
        known.then_some(Self { offset, len, old: stored(OLD_ZEROS), new: stored(NEW_ZEROS) })
    }

    /// The sectors in it, the last of which may be cut short by the end of the image.
    pub(super) fn sectors(&self) -> usize {
        self.len.div_ceil(SECTOR)
    }

    /// The bytes of its record after the record's header: two checksums a sector, the old bytes and the new ones.
    pub(super) fn body(&self) -> usize {
        self.sectors() * 8 + self.old.bytes(self.len) + self.new.bytes(self.len)
    }

    /// Where in the record's body the old bytes end and the new ones begin.
    pub(super) fn split(&self) -> usize {
        self.sectors() * 8 + self.old.bytes(self.len)
    }

    /// The beginning of its record.
    pub(super) fn start(&self) -> [u8; RECORD_HEADER] {
        let mut start = [0; RECORD_HEADER];
        start[..8].copy_from_slice(&self.offset.to_le_bytes());
        // At most CHUNK.
        start[8..12].copy_from_slice(&(self.len as u32).to_le_bytes());
        let flag = |stored: Stored, zeros| if stored == Stored::Zeros { zeros } else { 0 };
        start[12..].copy_from_slice(&(flag(self.old, OLD_ZEROS) | flag(self.new, NEW_ZEROS)).to_le_bytes());
        start
    }

    /// Appends the record that turns `old` into `new`, both of which are as long as this range.
    pub(super) fn encode(&self, old: &[u8], new: &[u8], to: &mut Vec<u8>) {
        to.extend_from_slice(&self.start());
        for (old, new) in old.chunks(SECTOR).zip(new.chunks(SECTOR)) {
            to.extend_from_slice(&crc32c(old).to_le_bytes());
            to.extend_from_slice(&crc32c(new).to_le_bytes());
        }
        to.extend_from_slice(&old[..self.old.bytes(self.len)]);
        to.extend_from_slice(&new[..self.new.bytes(self.len)]);
    }
}

/// The two checksums of a sector, of its old and its new bytes, from the table of a record.
pub(super) fn checksums(table: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    table.chunks_exact(8).map(|pair| (u32_at(pair, 0), u32_at(pair, 4)))
}

#[cfg(test)]
mod tests {
    use super::super::changes::CHUNK;
    use super::super::host::Time;
    use super::*;

    fn header() -> Header {
        Header {
            id: *b"0123456789abcdef",
            image_size: 1 << 40,
            stamp: Stamp {
                identity: Identity { inode: 7, thing: 9, born: 1 << 63, start: 1 << 62 },
                time: Some(Time { seconds: -3, nanos: 999_999_999 }),
            },
            records: 2,
            extents: 0x1234_5678,
            journal_size: 4096,
        }
    }

    #[test]
    fn a_header_reads_back() {
        let identity = Identity { inode: 7, thing: 0, born: 0, start: 0 };
        let timeless = Header { stamp: Stamp { identity, time: None }, ..header() };
        for header in [header(), timeless] {
            assert_eq!(Header::decode(&header.encode()), Opening::Header(header));
        }
    }

    #[test]
    fn every_cut_and_every_flipped_byte_of_a_header_is_seen() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&[]), Opening::Blank);
        for len in 1..HEADER {
            assert_eq!(Header::decode(&bytes[..len]), Opening::Damaged, "{len} bytes");
        }
        for at in 0..HEADER {
            let mut bytes = bytes;
            bytes[at] ^= 0x10;
            let expected = if at < 8 { Opening::Foreign } else { Opening::Damaged };
            assert_eq!(Header::decode(&bytes), expected, "byte {at}");
        }
        assert_eq!(Header::decode(&[0; HEADER]), Opening::Blank);
        assert_eq!(Header::decode(b"#!/bin/sh\n"), Opening::Foreign);
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        sealed::sign(&mut bytes);
        assert_eq!(Header::decode(&bytes), Opening::Version(9));
    }

    fn extent(offset: u64, len: usize) -> Extent {
        Extent { offset, len, old: Stored::Here, new: Stored::Here }
    }

    #[test]
    fn only_extents_that_the_writer_makes_are_read() {
        let decode = |offset: u64, len: u64| {
            let mut bytes = [0; RECORD_HEADER];
            bytes[..8].copy_from_slice(&offset.to_le_bytes());
            // The flags follow as the upper half: this has none of them, or unknown ones.
            bytes[8..].copy_from_slice(&len.to_le_bytes());
            Extent::decode(&bytes, 4096, 1 << 30)
        };
        assert_eq!(decode(4096, 512), Some(extent(4096, 512)));
        assert_eq!(decode((1 << 30) - 512, 500), Some(extent((1 << 30) - 512, 500)));
        for (offset, len) in [
            (4096, 0),
            (4097, 512),
            (3584, 512),
            (4096, CHUNK as u64 + 1),
            ((1 << 30) - 512, 513),
            (u64::MAX - 511, 512),
            (4096, u64::MAX),
        ] {
            assert_eq!(decode(offset, len), None, "{offset}+{len}");
        }
    }
}
