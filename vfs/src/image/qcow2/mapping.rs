//! L2 entries: where a guest cluster lies.

use super::geometry::{COPIED, Geometry, OFFSET_MASK};
use crate::error::{Error, Layer, Result};

const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
const SECTOR: u64 = 512;

/// Which of the two versions of the format an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Version 2: 72 bytes of header, no feature bits, no zero clusters.
    V2,
    /// Version 3.
    V3,
}

/// Compressed bytes in the host file: from a byte (of no alignment) to the end of a sector, two clusters long at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    /// The first byte.
    pub(super) offset: u64,
    /// Bytes, at least 1; the compressed data may end before.
    pub(super) len: u64,
}

/// Where a guest cluster lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// Nowhere; without a backing file it reads as zeros.
    Unallocated,
    /// Nowhere, and reads as zeros.
    Zero,
    /// A cluster at this byte is reserved, and reads as zeros.
    ZeroAllocated(u64),
    /// In the cluster at this byte.
    Standard(u64),
    /// Compressed.
    Compressed(Run),
}

impl Mapping {
    /// Whether the cluster reads as zeros without a look at the host file.
    pub(super) fn reads_zero(self) -> bool {
        matches!(self, Self::Unallocated | Self::Zero | Self::ZeroAllocated(_))
    }

    /// Takes an L2 entry apart; `Corrupt` where reserved bits are set or an offset is not aligned. Whether the offset
    /// is inside the file is for the caller to check.
    pub(super) fn parse(entry: u64, geometry: Geometry, version: Version) -> Result<Self> {
        let bad = |why: &str| Err(Error::corrupt(Layer::Image, format!("qcow2 L2 entry {entry:#018x}: {why}")));
        if entry & COMPRESSED != 0 {
            if entry & COPIED != 0 {
                return bad("a compressed cluster is marked as copied");
            }
            return match Run::parse(entry, geometry) {
                Some(run) => Ok(Self::Compressed(run)),
                None => bad("the compressed data lies past the limit of 56 bits"),
            };
        }
        let offset = entry & OFFSET_MASK;
        if entry & !(OFFSET_MASK | COPIED | ZERO) != 0 {
            return bad("reserved bits are set");
        }
        if !geometry.is_aligned(offset) {
            return bad("the offset is not a multiple of the cluster size");
        }
        if entry & ZERO != 0 && version == Version::V2 {
            return bad("a zero cluster in a version 2 image");
        }
        if offset == 0 && entry & COPIED != 0 {
            return bad("the offset is that of the header");
        }
        Ok(match (entry & ZERO != 0, offset) {
            (false, 0) => Self::Unallocated,
            (true, 0) => Self::Zero,
            (false, offset) => Self::Standard(offset),
            (true, offset) => Self::ZeroAllocated(offset),
        })
    }

    /// The entry for a standard cluster at `offset`, a multiple of the cluster size below 2^56, that nothing else uses.
    pub(super) fn own(offset: u64) -> u64 {
        offset | COPIED
    }
}

impl Run {
    fn parse(entry: u64, geometry: Geometry) -> Option<Self> {
        // The descriptor's 62 bits are the offset, then cluster_bits - 8 bits of additional sectors.
        let offset_bits = 70u32.checked_sub(geometry.cluster_bits())?;
        let offset = entry & 1u64.checked_shl(offset_bits)?.checked_sub(1)?;
        let more = (entry & !(COPIED | COMPRESSED)).checked_shr(offset_bits)?;
        if offset >> 56 != 0 {
            return None;
        }
        let first_sector = offset & !(SECTOR.checked_sub(1)?);
        let end = more.checked_add(1)?.checked_mul(SECTOR)?.checked_add(first_sector)?;
        Some(Self { offset, len: end.checked_sub(offset)? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Mapping, Run, Version};
    use crate::error::ErrorKind;
    use crate::image::qcow2::geometry::Geometry;

    fn parse(entry: u64) -> Result<Mapping, ErrorKind> {
        Mapping::parse(entry, Geometry::new(16, 4).unwrap(), Version::V3).map_err(|error| error.kind())
    }

    #[test]
    fn every_kind() {
        assert_eq!(parse(0), Ok(Mapping::Unallocated));
        assert_eq!(parse(1), Ok(Mapping::Zero));
        assert_eq!(parse(0x5_0001), Ok(Mapping::ZeroAllocated(0x5_0000)));
        assert_eq!(parse(0x8000_0000_0005_0000), Ok(Mapping::Standard(0x5_0000)));
        assert_eq!(parse(0x5_0000), Ok(Mapping::Standard(0x5_0000)));
    }

    #[test]
    fn compressed_runs_end_at_a_sector() {
        // 64 KiB clusters: bits 54 to 61 count additional sectors.
        let entry = (1 << 62) | (2 << 54) | 0x5_0123;
        assert_eq!(parse(entry), Ok(Mapping::Compressed(Run { offset: 0x5_0123, len: 3 * 512 - 0x123 })));
        let longest = (1 << 62) | (255 << 54) | 0x5_0000;
        assert_eq!(parse(longest), Ok(Mapping::Compressed(Run { offset: 0x5_0000, len: 128 << 10 })));
    }

    #[test]
    fn corrupt_entries() {
        let v2 = Mapping::parse(1, Geometry::new(16, 4).unwrap(), Version::V2);
        assert_eq!(v2.unwrap_err().kind(), ErrorKind::Corrupt);
        for entry in [1 << 63, (1 << 63) | 1, 0x5_0200, 0x5_0002, 0x5_0100, (1 << 56) | 0x5_0000, (3 << 62) | 0x5_0000]
        {
            assert_eq!(parse(entry), Err(ErrorKind::Corrupt), "{entry:#x}");
        }
        let small = Geometry::new(9, 4).unwrap();
        assert!(Mapping::parse((1 << 62) | (1 << 58), small, Version::V3).is_err());
    }
}
