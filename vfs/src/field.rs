//! Fields of on-disk structures: fixed-width integers, identifiers and names in a slice of bytes.

use std::fmt::Write;

/// The `N` bytes from `at`, or `None` where the slice ends before.
pub(crate) fn array<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk().copied()
}

pub(crate) fn byte(from: &[u8], at: usize) -> Option<u8> {
    from.get(at).copied()
}

pub(crate) fn le16(from: &[u8], at: usize) -> Option<u16> {
    array(from, at).map(u16::from_le_bytes)
}

pub(crate) fn le32(from: &[u8], at: usize) -> Option<u32> {
    array(from, at).map(u32::from_le_bytes)
}

pub(crate) fn le64(from: &[u8], at: usize) -> Option<u64> {
    array(from, at).map(u64::from_le_bytes)
}

/// So many bytes from `at`.
pub(crate) fn part(from: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    from.get(at..)?.get(..len)
}

/// Whether `magic` stands at `at`.
pub(crate) fn has(from: &[u8], at: usize, magic: &[u8]) -> bool {
    from.get(at..).is_some_and(|tail| tail.starts_with(magic))
}

/// A UUID whose bytes are stored in the order they are printed; empty where it is all zero.
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    dashed(&bytes, &[4, 6, 8, 10])
}

/// A GUID of the UEFI specification, appendix A: its first three fields are little-endian; empty where it is all zero.
pub(crate) fn guid(bytes: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, tail @ ..] = bytes;
    let [i, j, k, l, m, n, o, p] = tail;
    uuid([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

fn dashed(bytes: &[u8], before: &[usize]) -> String {
    let mut text = String::new();
    if bytes.iter().all(|byte| *byte == 0) {
        return text;
    }
    for (at, byte) in bytes.iter().enumerate() {
        if before.contains(&at) {
            text.push('-');
        }
        // A String takes every write.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A name that ends at its first NUL or with its field; trailing blanks are padding.
pub(crate) fn text(raw: &[u8]) -> String {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    let name = raw.get(..end).unwrap_or_default();
    String::from_utf8_lossy(name).trim_end().to_owned()
}

/// A name in little-endian UTF-16 that ends at its first NUL or with its field.
pub(crate) fn text16(raw: &[u8]) -> String {
    let units = raw.chunks_exact(2).filter_map(|pair| le16(pair, 0)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
