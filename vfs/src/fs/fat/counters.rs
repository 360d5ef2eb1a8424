//! How many clusters are free, and where to look for one: FAT32's sector of counters (FSInfo) and what is known beside it.

use super::layout::{FIRST_CLUSTER, Layout};
use crate::block::BlockDevice;
use crate::error::Result;
use crate::field::{has, le32};

/// The places of the counters in their sector.
const FREE: u64 = 488;
const NEXT: u64 = 492;

/// What is known of the free clusters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    /// How many there are, where that is known.
    pub(super) free: Option<u32>,
    /// Where the next one is looked for.
    pub(super) next: u32,
    /// The byte of the sector, where there is a good one.
    stored: Option<u64>,
}

impl Counters {
    /// Reads the counters; numbers that cannot be are as good as none.
    pub(super) fn read(device: &dyn BlockDevice, layout: &Layout) -> Result<Self> {
        let mut counters = Self { free: None, next: FIRST_CLUSTER, stored: None };
        let Some(at) = layout.counters else { return Ok(counters) };
        let mut sector = [0; 512];
        device.read_at(&mut sector, at)?;
        if !has(&sector, 0, b"RRaA") || !has(&sector, 484, b"rrAa") || !has(&sector, 508, &[0, 0, 0x55, 0xaa]) {
            return Ok(counters);
        }
        counters.stored = Some(at);
        counters.free = le32(&sector, 488).filter(|free| *free <= layout.clusters());
        counters.next = le32(&sector, 492).filter(|next| layout.holds(*next)).unwrap_or(FIRST_CLUSTER);
        Ok(counters)
    }

    /// Notes that so many clusters were taken.
    pub(super) fn take(&mut self, count: u32) {
        self.free = self.free.map(|free| free.saturating_sub(count));
    }

    /// Notes that so many clusters are free again.
    pub(super) fn give(&mut self, count: u32) {
        self.free = self.free.map(|free| free.saturating_add(count));
    }

    /// Writes them where they have a place. The copy beside the second boot sector stays as it is, as with Linux.
    pub(super) fn write(&self, device: &dyn BlockDevice) -> Result<()> {
        let Some(at) = self.stored else { return Ok(()) };
        // Where it is not known it is to be counted.
        device.write_at(&self.free.unwrap_or(u32::MAX).to_le_bytes(), at.saturating_add(FREE))?;
        device.write_at(&self.next.to_le_bytes(), at.saturating_add(NEXT))
    }
}
