//! What every partition table has to satisfy: partitions that lie inside the disk and beside each other.

use super::VolumeInfo;
use crate::error::{Error, Layer, Result};

/// Refuses partitions that overlap; `Corrupt`, with their numbers.
///
/// Partitions that share blocks cannot be changed one at a time, and no tool makes them on purpose for two filesystems.
pub(super) fn check_disjoint(volumes: &[VolumeInfo]) -> Result<()> {
    let mut by_start: Vec<&VolumeInfo> = volumes.iter().collect();
    by_start.sort_by_key(|volume| (volume.start, volume.index));
    let mut furthest: Option<&VolumeInfo> = None;
    for volume in by_start {
        if let Some(before) = furthest.filter(|before| before.end() > volume.start) {
            let (low, high) = (before.index.min(volume.index), before.index.max(volume.index));
            return Err(Error::corrupt(
                Layer::Volume,
                format!("partitions {} and {} overlap", number(low), number(high)),
            )
            .with_offset(volume.start));
        }
        // Disjoint so far, so the last one also reaches furthest.
        furthest = Some(volume);
    }
    Ok(())
}

/// Refuses partitions that reach past the end of a disk of `size` bytes; `Corrupt`, with the number.
pub(super) fn check_inside(volumes: &[VolumeInfo], size: u64) -> Result<()> {
    match volumes.iter().find(|volume| volume.end() > size) {
        Some(volume) => Err(Error::corrupt(
            Layer::Volume,
            format!(
                "partition {} ends at byte {}, past the end of the disk of {size} bytes",
                number(volume.index),
                volume.end()
            ),
        )
        .with_offset(volume.start)
        .with_hint("the image may have been cut short: compare its size with that of its source")),
        None => Ok(()),
    }
}

/// Refuses partitions that lie over a sector of the table itself, of `size` bytes at one of `places`; `Corrupt`, with the number.
///
/// Who writes to such a partition destroys the table.
pub(super) fn check_apart(volumes: &[VolumeInfo], places: &[u64], size: u32, what: &str) -> Result<()> {
    for place in places {
        let end = place.saturating_add(u64::from(size));
        if let Some(volume) = volumes.iter().find(|volume| volume.start < end && *place < volume.end()) {
            let message = format!("partition {} lies over {what}", number(volume.index));
            return Err(Error::corrupt(Layer::Volume, message).with_offset(*place));
        }
    }
    Ok(())
}

fn number(index: Option<std::num::NonZeroU32>) -> u32 {
    index.map_or(0, std::num::NonZeroU32::get)
}
