//! Little-endian fields in a byte slice; a field that is not wholly inside reads as `None`.

/// The byte at `offset`.
pub(super) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// The 16-bit field at `offset`.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|field| u16::from_le_bytes(*field))
}

/// The 32-bit field at `offset`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

/// Writes `field` at `offset`; `None`, and nothing written, where it would not lie wholly inside.
#[must_use]
pub(super) fn put(bytes: &mut [u8], offset: usize, field: &[u8]) -> Option<()> {
    let end = offset.checked_add(field.len())?;
    bytes.get_mut(offset..end)?.copy_from_slice(field);
    Some(())
}
