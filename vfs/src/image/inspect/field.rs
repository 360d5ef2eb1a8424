//! Fields of headers: numbers in a piece of a file, 0 where the piece ends before.

use crate::block::BlockDevice;
use crate::error::Result;

/// The bytes of `host` from `offset`, `len` of them or as many as there are.
pub(super) fn piece(host: &dyn BlockDevice, offset: u64, len: usize) -> Result<Vec<u8>> {
    let there = usize::try_from(host.size().saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
    let mut bytes = vec![0; there];
    if there > 0 {
        host.read_at(&mut bytes, offset)?;
    }
    Ok(bytes)
}

/// The big-endian number of `len` bytes (8 at most) at `at`.
pub(super) fn big(bytes: &[u8], at: usize, len: usize) -> u64 {
    let part = bytes.get(at..at.saturating_add(len)).unwrap_or_default();
    part.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// The little-endian number of `len` bytes (8 at most) at `at`.
pub(super) fn little(bytes: &[u8], at: usize, len: usize) -> u64 {
    let part = bytes.get(at..at.saturating_add(len)).unwrap_or_default();
    part.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Whether `magic` stands at `at`.
pub(super) fn has(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|tail| tail.starts_with(magic))
}
