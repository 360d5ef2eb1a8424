//! L2 entries: where a guest cluster lies.

use super::entry::Entry;
use super::geometry::{COPIED, Geometry, OFFSET_MASK};
use super::subclusters::{State, Subclusters};
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

/// Which file the guest's clusters are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// The image itself.
    Image,
    /// An external data file, at the offsets that they have in the disk.
    DataFile,
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
    /// Some of its subclusters one way, some another, or none of them in the host cluster at `offset` (0 for none).
    Mixed {
        /// The host cluster.
        offset: u64,
        /// How each subcluster reads.
        subclusters: Subclusters,
    },
    /// Compressed.
    Compressed(Run),
}

impl Mapping {
    /// Takes an L2 entry apart; `Corrupt` where reserved bits are set or an offset is not aligned. Whether the offset
    /// is inside the file is for the caller to check.
    pub(super) fn parse(entry: Entry, geometry: Geometry, version: Version, storage: Storage) -> Result<Self> {
        let Entry { descriptor, subclusters } = entry;
        let bad = |why: &str| Err(Error::corrupt(Layer::Image, format!("qcow2 L2 entry {descriptor:#018x}: {why}")));
        if descriptor & COMPRESSED != 0 {
            if descriptor & COPIED != 0 {
                return bad("a compressed cluster is marked as copied");
            }
            if storage == Storage::DataFile {
                return bad("a compressed cluster, and an external data file has none");
            }
            // It has no subclusters, whatever the bits for them are.
            return match Run::parse(descriptor, geometry) {
                Some(run) => Ok(Self::Compressed(run)),
                None => bad("the compressed data lies past the limit of 56 bits"),
            };
        }
        let offset = descriptor & OFFSET_MASK;
        // The zero flag of a whole cluster is not there where subclusters have their own.
        let zero_flag = if geometry.has_subclusters() { 0 } else { ZERO };
        if descriptor & !(OFFSET_MASK | COPIED | zero_flag) != 0 {
            return bad("reserved bits are set");
        }
        if !geometry.is_aligned(offset) {
            return bad("the offset is not a multiple of the cluster size");
        }
        if descriptor & ZERO != 0 && version == Version::V2 {
            return bad("a zero cluster in a version 2 image");
        }
        // Byte 0 is the header's, but a cluster like any other of a data file.
        let at_start = offset == 0 && descriptor & COPIED != 0;
        if at_start && storage == Storage::Image {
            return bad("the offset is that of the header");
        }
        if geometry.has_subclusters() {
            return match Subclusters::parse(subclusters) {
                None => bad("a subcluster is both allocated and zero"),
                Some(subclusters) if offset == 0 && !at_start && subclusters.any_allocated() => {
                    bad("a subcluster is allocated, and the cluster is not")
                }
                Some(subclusters) => Ok(Self::extended(offset, subclusters)),
            };
        }
        Ok(match (descriptor & ZERO != 0, offset) {
            (false, 0) if !at_start => Self::Unallocated,
            (true, 0) if !at_start => Self::Zero,
            (false, offset) => Self::Standard(offset),
            (true, offset) => Self::ZeroAllocated(offset),
        })
    }

    fn extended(offset: u64, subclusters: Subclusters) -> Self {
        match (subclusters.uniform(), offset) {
            (Some(State::Allocated), offset) => Self::Standard(offset),
            (Some(State::Zero), 0) => Self::Zero,
            (Some(State::Zero), offset) => Self::ZeroAllocated(offset),
            (Some(State::Unallocated), 0) => Self::Unallocated,
            (Some(State::Unallocated) | None, offset) => Self::Mixed { offset, subclusters },
        }
    }
}

impl Run {
    fn parse(descriptor: u64, geometry: Geometry) -> Option<Self> {
        // The descriptor's 62 bits are the offset, then cluster_bits - 8 bits of additional sectors.
        let offset_bits = 70u32.checked_sub(geometry.cluster_bits())?;
        let offset = descriptor & 1u64.checked_shl(offset_bits)?.checked_sub(1)?;
        let more = (descriptor & !(COPIED | COMPRESSED)).checked_shr(offset_bits)?;
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
    use super::{Mapping, Run, Storage, Version};
    use crate::error::ErrorKind;
    use crate::image::qcow2::entry::Entry;
    use crate::image::qcow2::geometry::Geometry;
    use crate::image::qcow2::subclusters::Subclusters;

    fn parse(entry: u64) -> Result<Mapping, ErrorKind> {
        Mapping::parse(plain(entry), Geometry::new(16, 4).unwrap(), Version::V3, Storage::Image)
            .map_err(|error| error.kind())
    }

    fn plain(descriptor: u64) -> Entry {
        Entry { descriptor, subclusters: 0 }
    }

    fn extended(descriptor: u64, subclusters: u64) -> Result<Mapping, ErrorKind> {
        let geometry = Geometry::new(16, 4).unwrap().with_subclusters().unwrap();
        Mapping::parse(Entry { descriptor, subclusters }, geometry, Version::V3, Storage::Image)
            .map_err(|error| error.kind())
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
    fn extended_entries() {
        let all = u64::from(u32::MAX);
        let mixed = |offset, word| Ok(Mapping::Mixed { offset, subclusters: Subclusters::parse(word).unwrap() });
        assert_eq!(extended(0, 0), Ok(Mapping::Unallocated));
        assert_eq!(extended(0x5_0000, 0), mixed(0x5_0000, 0));
        assert_eq!(extended(0x5_0000, all), Ok(Mapping::Standard(0x5_0000)));
        assert_eq!(extended(0, all << 32), Ok(Mapping::Zero));
        assert_eq!(extended(0x5_0000, all << 32), Ok(Mapping::ZeroAllocated(0x5_0000)));
        assert_eq!(extended(0, 1 << 32), mixed(0, 1 << 32));
        assert_eq!(extended(0x5_0000, 6 | 1 << 32), mixed(0x5_0000, 6 | 1 << 32));
        // The bits of a compressed cluster's subclusters mean nothing.
        let compressed = extended((1 << 62) | 0x5_0000, 77).unwrap();
        assert_eq!(compressed, parse((1 << 62) | 0x5_0000).unwrap());
        for (descriptor, word) in [(0x5_0001, 0), (0x5_0000, 1 | 1 << 32), (0, 1), (1 << 63, 0), (0x5_0200, 1)] {
            assert_eq!(extended(descriptor, word), Err(ErrorKind::Corrupt), "{descriptor:#x} {word:#x}");
        }
    }

    #[test]
    fn a_data_file_has_a_first_cluster() {
        let geometry = Geometry::new(16, 4).unwrap();
        let parse = |entry| Mapping::parse(plain(entry), geometry, Version::V3, Storage::DataFile).ok();
        assert_eq!(parse(1 << 63), Some(Mapping::Standard(0)));
        assert_eq!(parse(0), Some(Mapping::Unallocated));
        assert_eq!(parse(1 << 62 | 0x5_0000), None);
    }

    #[test]
    fn corrupt_entries() {
        let v2 = Mapping::parse(plain(1), Geometry::new(16, 4).unwrap(), Version::V2, Storage::Image);
        assert_eq!(v2.unwrap_err().kind(), ErrorKind::Corrupt);
        for entry in [1 << 63, (1 << 63) | 1, 0x5_0200, 0x5_0002, 0x5_0100, (1 << 56) | 0x5_0000, (3 << 62) | 0x5_0000]
        {
            assert_eq!(parse(entry), Err(ErrorKind::Corrupt), "{entry:#x}");
        }
        let small = Geometry::new(9, 4).unwrap();
        assert!(Mapping::parse(plain((1 << 62) | (1 << 58)), small, Version::V3, Storage::Image).is_err());
    }
}
