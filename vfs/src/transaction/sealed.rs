//! What the files of a transaction, journals and undo files, have in common: a header that carries its own checksum, records
//! in sectors of the image, a trailer that vouches for everything before it. All numbers are little-endian.

use super::changes::{CHUNK, SECTOR};
use super::host::Time;
use crc32c::crc32c;
use std::ops::Range;

pub(super) const HEADER: usize = 512;
pub(super) const TRAILER: usize = 32;
pub(super) const RECORD_HEADER: usize = 16;

/// Where the header's own checksum lies.
pub(super) const CHECKSUM: Range<usize> = 12..16;
/// Where the random number lies that header and trailer share.
const ID: Range<usize> = 16..32;

/// The beginning of a header: what it is, its version, its random number.
pub(super) fn begin(magic: &[u8; 8], version: u32, id: [u8; 16]) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(magic);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[ID].copy_from_slice(&id);
    bytes
}

/// Puts the checksum of a header that is complete into it.
pub(super) fn sign(bytes: &mut [u8; HEADER]) {
    bytes[CHECKSUM].fill(0);
    let checksum = crc32c(bytes);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

/// Whether a header's checksum is right.
pub(super) fn is_signed(bytes: &[u8; HEADER]) -> bool {
    let mut signed = *bytes;
    sign(&mut signed);
    signed[CHECKSUM] == bytes[CHECKSUM]
}

/// The random number of a header.
pub(super) fn id(bytes: &[u8; HEADER]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[ID]);
    id
}

/// The end of a file.
pub(super) fn trailer(magic: &[u8; 8], id: [u8; 16], checksum: u32) -> [u8; TRAILER] {
    let mut bytes = [0; TRAILER];
    bytes[..8].copy_from_slice(magic);
    bytes[8..24].copy_from_slice(&id);
    bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The random number in the end of a file.
pub(super) fn id_of_trailer(trailer: &[u8; TRAILER]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&trailer[8..24]);
    id
}

/// Where a record lies: the offset in the image and the length with which it begins, where they are such as this tool
/// writes: in sectors, not empty, not before `from`, and inside `size`.
pub(super) fn range(bytes: &[u8; RECORD_HEADER], from: u64, size: u64) -> Option<(u64, usize)> {
    let (offset, len) = (u64_at(bytes, 0), u32_at(bytes, 8));
    let end = offset.checked_add(u64::from(len))?;
    let len = usize::try_from(len).ok()?;
    let fits = offset.is_multiple_of(SECTOR as u64) && (1..=CHUNK).contains(&len) && offset >= from && end <= size;
    fits.then_some((offset, len))
}

/// The time whose seconds and nanoseconds lie at `at`, 12 bytes.
pub(super) fn time_at(bytes: &[u8], at: usize) -> Time {
    Time { seconds: u64_at(bytes, at).cast_signed(), nanos: u32_at(bytes, at + 8) }
}

/// Puts a time where [`time_at`] reads it.
pub(super) fn put_time(bytes: &mut [u8], at: usize, time: Time) {
    bytes[at..at + 8].copy_from_slice(&time.seconds.to_le_bytes());
    bytes[at + 8..at + 12].copy_from_slice(&time.nanos.to_le_bytes());
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
