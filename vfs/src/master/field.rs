//! Fields of on-disk structures, read from a slice that may be too short.

/// The `N` bytes from `at`.
pub(super) fn array<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

pub(super) fn byte(from: &[u8], at: usize) -> Option<u8> {
    from.get(at).copied()
}

pub(super) fn le16(from: &[u8], at: usize) -> Option<u16> {
    array(from, at).map(u16::from_le_bytes)
}

pub(super) fn le32(from: &[u8], at: usize) -> Option<u32> {
    array(from, at).map(u32::from_le_bytes)
}

/// So many bytes from `at`.
pub(super) fn part(from: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    from.get(at..)?.get(..len)
}

/// A text in ASCII, filled up with blanks or NUL.
pub(super) fn text(raw: &[u8]) -> String {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    String::from_utf8_lossy(raw.get(..end).unwrap_or_default()).trim_end().to_owned()
}
