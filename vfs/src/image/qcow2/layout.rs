//! Where the fixed parts of the old image lie, and so where nothing else can.

use super::geometry::{COPIED, Geometry, OFFSET_MASK};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use std::ops::Range;

/// The header, the active L1 table and the refcount table, and the end of the file.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The size of the file in bytes as it was opened.
    pub(super) end: u64,
    /// The bytes of the active L1 table.
    pub(super) l1: Range<u64>,
    /// The bytes of the refcount table.
    pub(super) refcount_table: Range<u64>,
}

impl Layout {
    /// Fails with `Corrupt` unless something that an entry of the old image points at begins inside the file and lies on
    /// none of the fixed parts. It may end behind the end of the file: the last cluster need not be whole.
    pub(super) fn check(&self, geometry: Geometry, what: &str, offset: u64, len: u64) -> Result<()> {
        if offset >= self.end {
            return Err(
                truncated(format!("{what} lies behind the end of the file ({} bytes)", self.end)).with_offset(offset)
            );
        }
        let end = offset.saturating_add(len);
        let header = 0..geometry.cluster_size();
        for (name, fixed) in [("header", &header), ("L1 table", &self.l1), ("refcount table", &self.refcount_table)] {
            // The fixed parts begin at a cluster and have the rest of their last one to themselves.
            let tail = geometry.clusters_for(fixed.end).saturating_mul(geometry.cluster_size());
            if offset < tail && fixed.start < end && !fixed.is_empty() {
                return Err(
                    Error::corrupt(Layer::Image, format!("qcow2: {what} lies on the {name}")).with_offset(offset)
                );
            }
        }
        Ok(())
    }

    /// Fails with `Corrupt` unless every entry of an L1 table is one, and names a table that can be one.
    pub(super) fn check_l1(&self, geometry: Geometry, entries: &[u64]) -> Result<()> {
        for &entry in entries {
            let offset = entry & OFFSET_MASK;
            if entry & !(OFFSET_MASK | COPIED) != 0 || !geometry.is_aligned(offset) || (offset == 0 && entry != 0) {
                let why = "reserved bits are set, or the offset is not that of a cluster";
                return Err(Error::corrupt(Layer::Image, format!("qcow2 L1 entry {entry:#018x}: {why}")));
            }
            if offset != 0 {
                self.check(geometry, "an L2 table", offset, geometry.cluster_size())?;
            }
        }
        Ok(())
    }
}

/// The error for an image whose file is shorter than what it describes.
pub(super) fn truncated(message: impl std::fmt::Display) -> Error {
    Error::corrupt(Layer::Image, format!("qcow2: the image is truncated: {message}"))
        .with_hint("the file was not copied completely: fetch it again, or look at `qemu-img check IMAGE`")
}

/// Fills `buf` from byte `offset`, with zeros for what lies behind the end of the file.
pub(super) fn read_padded(host: &dyn BlockDevice, buf: &mut [u8], offset: u64) -> Result<()> {
    let there = usize::try_from(host.size().saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
    let (inside, behind) = buf.split_at_mut(there);
    behind.fill(0);
    if inside.is_empty() { Ok(()) } else { host.read_at(inside, offset) }
}
