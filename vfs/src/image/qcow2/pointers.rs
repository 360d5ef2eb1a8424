//! Tables of pointers in a row of clusters: the L1 table and the refcount table.

use super::geometry::ENTRY;
use super::layout::truncated;
use crate::block::BlockDevice;
use crate::error::Result;
use crate::transaction::Overlay;

/// Bytes of a table read or written at once.
const CHUNK: usize = 64 << 10;

/// Reads `count` entries from byte `offset`; the caller has bounded the count. `Corrupt` where they do not all lie in
/// the file.
pub(super) fn load(host: &Overlay, what: &str, offset: u64, count: usize) -> Result<Vec<u64>> {
    let end = bytes(count).and_then(|len| offset.checked_add(len));
    if end.is_none_or(|end| end > host.size()) {
        return Err(truncated(format!("the {what} reaches behind the end of the file ({} bytes)", host.size()))
            .with_offset(offset));
    }
    let mut entries = Vec::with_capacity(count);
    let mut chunk = vec![0; CHUNK.min(count.saturating_mul(ENTRY))];
    let mut at = offset;
    while entries.len() < count {
        let len = count.saturating_sub(entries.len()).saturating_mul(ENTRY).min(chunk.len());
        let (part, _) = chunk.split_at_mut(len);
        host.read_at(part, at)?;
        entries.extend(part.as_chunks::<ENTRY>().0.iter().map(|entry| u64::from_be_bytes(*entry)));
        at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
    Ok(entries)
}

/// Writes the entries from byte `offset`, in clusters of this transaction.
pub(super) fn store(host: &Overlay, offset: u64, entries: &[u64]) -> Result<()> {
    let mut at = offset;
    for part in entries.chunks(CHUNK / ENTRY) {
        let chunk: Vec<u8> = part.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        host.write_at(&chunk, at)?;
        at = at.saturating_add(bytes(part.len()).unwrap_or(0));
    }
    Ok(())
}

/// The length of a table of `count` entries in bytes.
pub(super) fn bytes(count: usize) -> Option<u64> {
    u64::try_from(count.checked_mul(ENTRY)?).ok()
}
