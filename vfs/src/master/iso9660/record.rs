//! Directory records (ECMA-119, section 9.1).

use super::SECTOR;
use super::field::{both16, both32, short_date};
use crate::fs::Timestamp;

/// The identifier of the directory itself.
pub(super) const SELF: &[u8] = &[0];
/// The identifier of the directory that holds it.
pub(super) const PARENT: &[u8] = &[1];
/// The longest record, in bytes: its length is one byte, and even.
const RECORD_MAX: usize = 254;
/// The bytes of a record before its identifier.
const FIXED: usize = 33;

/// Where a file or a directory lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) sector: u32,
    /// In bytes.
    pub(super) size: u32,
}

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File = 0,
    Directory = 2,
}

/// How many bytes a record with this identifier has for its system use field.
pub(super) fn room(identifier: &[u8]) -> usize {
    RECORD_MAX - (FIXED + identifier.len()).next_multiple_of(2)
}

/// A record; `system_use` is at most [`room`] bytes long.
pub(super) fn record(identifier: &[u8], kind: Kind, at: Extent, time: Timestamp, system_use: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both32(at.sector));
    record.extend(both32(at.size));
    record.extend(short_date(time));
    record.extend([kind as u8, 0, 0]);
    record.extend(both16(1));
    // An identifier has at most 128 bytes.
    record.push(identifier.len() as u8);
    record.extend(identifier);
    record.resize(record.len().next_multiple_of(2), 0);
    record.extend(system_use);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = record.len() as u8;
    record
}

/// Adds a record to a directory: none crosses the end of a sector (6.8.1.1).
pub(super) fn append(directory: &mut Vec<u8>, record: &[u8]) {
    let sector = SECTOR as usize;
    if directory.len() % sector + record.len() > sector {
        directory.resize(directory.len().next_multiple_of(sector), 0);
    }
    directory.extend(record);
}
