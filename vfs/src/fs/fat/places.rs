//! The places of a directory's entries on the volume.

use super::corrupt;
use super::layout::{ENTRY, Root};
use super::volume::{ROOT, Volume};
use crate::error::Result;
use std::ops::ControlFlow;

/// The entries that a directory has at most (Linux's FAT_MAX_DIR_ENTRIES).
pub(super) const SLOTS_MAX: u32 = 65_536;
/// How much is read at once, in bytes.
const PIECE: u64 = 64 << 10;

/// Places that follow each other on the volume.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    slot: u32,
    at: u64,
    len: u32,
}

/// All places of a directory.
#[derive(Debug, Default)]
pub(super) struct Places {
    stretches: Vec<Stretch>,
    /// How many there are.
    pub(super) count: u32,
    /// The last cluster; `None` where the directory cannot grow.
    pub(super) tail: Option<u32>,
}

impl Places {
    /// Adds those of so many bytes.
    pub(super) fn add(&mut self, at: u64, len: u64) {
        let len = u32::try_from(len / ENTRY).unwrap_or(u32::MAX);
        match self.stretches.last_mut() {
            Some(last) if last.at.saturating_add(u64::from(last.len).saturating_mul(ENTRY)) == at => {
                last.len = last.len.saturating_add(len);
            }
            _ => self.stretches.push(Stretch { slot: self.count, at, len }),
        }
        self.count = self.count.saturating_add(len);
    }

    /// The byte at which a place begins.
    pub(super) fn at(&self, slot: u32) -> Result<u64> {
        let next = self.stretches.partition_point(|stretch| stretch.slot <= slot);
        let stretch = next.checked_sub(1).and_then(|number| self.stretches.get(number));
        let place = stretch.and_then(|stretch| {
            let place = slot.checked_sub(stretch.slot).filter(|place| *place < stretch.len)?;
            stretch.at.checked_add(u64::from(place).checked_mul(ENTRY)?)
        });
        place.ok_or_else(|| corrupt("a directory is shorter than it was"))
    }
}

impl Volume {
    /// The places of a directory; `Corrupt` where they are too many.
    pub(super) fn places(&self, id: u32) -> Result<Places> {
        let mut places = Places::default();
        let mut next = match (id, self.layout.root) {
            (ROOT, Root::Fixed { at, len }) => {
                places.add(at, len);
                None
            }
            (ROOT, Root::Chain(first)) | (first, _) => Some(first),
        };
        while let Some(cluster) = next {
            if places.count >= SLOTS_MAX {
                return Err(corrupt("a directory has more than 2 MiB, or its chain of clusters runs in a circle"));
            }
            places.add(self.layout.cluster_at(cluster), self.layout.cluster_size);
            places.tail = Some(cluster);
            next = self.after(cluster)?;
        }
        Ok(places)
    }

    /// Looks at the 32 bytes of each place in turn, until there is no more or `look` has seen enough.
    pub(super) fn each_entry(
        &self,
        places: &Places,
        mut look: impl FnMut(u32, &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut slot = 0_u32;
        for stretch in &places.stretches {
            let len = u64::from(stretch.len).saturating_mul(ENTRY);
            let mut done = 0;
            while done < len {
                let mut bytes = vec![0; usize::try_from(len.saturating_sub(done).min(PIECE)).unwrap_or_default()];
                self.device.read_at(&mut bytes, stretch.at.saturating_add(done))?;
                done = done.saturating_add(PIECE);
                for bytes in bytes.chunks_exact(32) {
                    if look(slot, bytes)?.is_break() {
                        return Ok(());
                    }
                    slot = slot.saturating_add(1);
                }
            }
        }
        Ok(())
    }
}
