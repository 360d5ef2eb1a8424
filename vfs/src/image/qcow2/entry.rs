//! Entries of an L2 table as they lie in it: 8 bytes, or 16 where clusters have subclusters.

use super::geometry::{COPIED, ENTRY, Geometry};
use crate::error::{Error, Layer, Result};

/// An entry of an L2 table, not yet taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The cluster descriptor and its two flags.
    pub(super) descriptor: u64,
    /// The allocation status of the subclusters (bits 0 to 31) and which of them read as zeros (bits 32 to 63); 0 where
    /// there are none.
    pub(super) subclusters: u64,
}

impl Entry {
    /// The entry for a standard cluster at `offset`, a multiple of the cluster size below 2^56, that nothing else uses and
    /// all of which is allocated.
    pub(super) fn own(offset: u64) -> Self {
        Self { descriptor: offset | COPIED, subclusters: u64::from(u32::MAX) }
    }

    /// The entry at `index` of a table.
    pub(super) fn get(geometry: Geometry, table: &[u8], index: u64) -> Result<Self> {
        let at = geometry.l2_entry_at(index);
        let bytes = table.get(at..at.saturating_add(geometry.l2_entry_len())).ok_or_else(past_table)?;
        Ok(Self::parse(bytes))
    }

    /// Puts the entry at `index` of a table.
    pub(super) fn put(self, geometry: Geometry, table: &mut [u8], index: u64) -> Result<()> {
        let at = geometry.l2_entry_at(index);
        let bytes = table.get_mut(at..at.saturating_add(geometry.l2_entry_len())).ok_or_else(past_table)?;
        let (words, _) = bytes.as_chunks_mut::<ENTRY>();
        for (word, value) in words.iter_mut().zip([self.descriptor, self.subclusters]) {
            *word = value.to_be_bytes();
        }
        Ok(())
    }

    /// All entries of a table.
    pub(super) fn all(geometry: Geometry, table: &[u8]) -> impl Iterator<Item = Self> {
        table.chunks_exact(geometry.l2_entry_len()).map(Self::parse)
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut words = bytes.as_chunks::<ENTRY>().0.iter().map(|word| u64::from_be_bytes(*word));
        Self { descriptor: words.next().unwrap_or(0), subclusters: words.next().unwrap_or(0) }
    }
}

/// The error for an index that the geometry rules out.
pub(super) fn past_table() -> Error {
    Error::corrupt(Layer::Image, "qcow2: an index past the end of a table")
}
