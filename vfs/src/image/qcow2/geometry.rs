//! The units of an image: clusters, and how many entries a cluster of each table holds.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "cluster_bits is 9..=21 and refcount_order 0..=6 by construction, so no shift or product here can overflow"
)]

use crate::error::{Error, Layer, Result};

/// Bits 9 to 55, where every table entry keeps a host offset.
pub(super) const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

/// Bit 63 of an L1 or L2 entry: what it points at has a refcount of exactly one.
pub(super) const COPIED: u64 = 1 << 63;

/// The length of an entry of the L1 table and of the refcount table, and of half an extended L2 entry, in bytes.
pub(super) const ENTRY: usize = 8;

/// The cluster size and the refcount width, and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    cluster_bits: u32,
    refcount_order: u32,
    cluster_len: usize,
    /// The logarithm of the length of an L2 entry: 3, or 4 with subclusters.
    l2_entry_bits: u32,
}

impl Geometry {
    /// Clusters of `1 << cluster_bits` bytes (9 to 21, QEMU's limits) and refcounts of `1 << refcount_order` bits (0 to
    /// 6); `Corrupt` outside those ranges.
    pub(super) fn new(cluster_bits: u32, refcount_order: u32) -> Result<Self> {
        if !(9..=21).contains(&cluster_bits) {
            return Err(Error::corrupt(
                Layer::Image,
                format!("qcow2 header: cluster_bits is {cluster_bits}, and must be 9 to 21"),
            ));
        }
        if refcount_order > 6 {
            return Err(Error::corrupt(
                Layer::Image,
                format!("qcow2 header: refcount_order is {refcount_order}, and must be 0 to 6"),
            ));
        }
        Ok(Self { cluster_bits, refcount_order, cluster_len: 1 << cluster_bits, l2_entry_bits: 3 })
    }

    /// The same with extended L2 entries, of 16 bytes; `Corrupt` where a subcluster would be smaller than a sector.
    pub(super) fn with_subclusters(self) -> Result<Self> {
        if self.cluster_bits < 14 {
            return Err(Error::corrupt(
                Layer::Image,
                format!(
                    "qcow2 header: extended L2 entries with cluster_bits {}, and at least 14 are needed",
                    self.cluster_bits
                ),
            ));
        }
        Ok(Self { l2_entry_bits: 4, ..self })
    }

    /// Whether clusters have subclusters.
    pub(super) fn has_subclusters(self) -> bool {
        self.l2_entry_bits == 4
    }

    /// The logarithm of the cluster size, 9 to 21.
    pub(super) fn cluster_bits(self) -> u32 {
        self.cluster_bits
    }

    /// The logarithm of the refcount width in bits, 0 to 6.
    pub(super) fn refcount_order(self) -> u32 {
        self.refcount_order
    }

    /// Bytes in a cluster.
    pub(super) fn cluster_size(self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes in a cluster, as a length.
    pub(super) fn cluster_len(self) -> usize {
        self.cluster_len
    }

    /// The index of the cluster that holds this byte.
    pub(super) fn cluster_of(self, offset: u64) -> u64 {
        offset >> self.cluster_bits
    }

    /// The byte's place in its cluster.
    pub(super) fn within(self, offset: u64) -> u64 {
        offset & (self.cluster_size() - 1)
    }

    /// How many clusters `bytes` take.
    pub(super) fn clusters_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_size())
    }

    /// The first byte of a cluster, or `None` where an entry could not hold it (56 bits).
    pub(super) fn offset_of(self, cluster: u64) -> Option<u64> {
        cluster.checked_mul(self.cluster_size()).filter(|offset| offset & !OFFSET_MASK == 0)
    }

    /// Whether a cluster can begin at this byte.
    pub(super) fn is_aligned(self, offset: u64) -> bool {
        self.within(offset) == 0
    }

    /// The index into the L1 table, and into the L2 table there, for a guest cluster.
    pub(super) fn l1_l2(self, guest_cluster: u64) -> (u64, u64) {
        let bits = self.cluster_bits - self.l2_entry_bits;
        (guest_cluster >> bits, guest_cluster & ((1 << bits) - 1))
    }

    /// The first guest cluster that an L1 entry maps, saturating.
    pub(super) fn first_under(self, l1_index: u64) -> u64 {
        l1_index.saturating_mul(1 << (self.cluster_bits - self.l2_entry_bits))
    }

    /// Guest bytes that one L2 table maps.
    pub(super) fn l2_reach(self) -> u64 {
        1 << (self.cluster_bits + self.cluster_bits - self.l2_entry_bits)
    }

    /// The index into the refcount table, and into the block there, for a host cluster.
    pub(super) fn block_and_entry(self, host_cluster: u64) -> (u64, u64) {
        let bits = self.cluster_bits + 3 - self.refcount_order;
        (host_cluster >> bits, host_cluster & ((1 << bits) - 1))
    }

    /// The first host cluster that a refcount block counts, saturating.
    pub(super) fn first_of_block(self, block: u64) -> u64 {
        block.saturating_mul(1 << (self.cluster_bits + 3 - self.refcount_order))
    }

    /// Bytes in an L2 entry, 8 or 16.
    pub(super) fn l2_entry_len(self) -> usize {
        1 << self.l2_entry_bits
    }

    /// The place of an L2 entry in its table, in bytes; `index` is below the entries of one cluster.
    pub(super) fn l2_entry_at(self, index: u64) -> usize {
        usize::try_from(index).map_or(usize::MAX, |index| index.saturating_mul(self.l2_entry_len()))
    }
}

#[cfg(test)]
mod tests {
    use super::Geometry;
    use crate::error::ErrorKind;

    #[test]
    fn refuses_what_qemu_refuses() {
        for (bits, order) in [(8, 4), (22, 4), (u32::MAX, 4), (16, 7)] {
            assert_eq!(Geometry::new(bits, order).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn counts_entries() {
        let default = Geometry::new(16, 4).unwrap();
        assert_eq!(default.l1_l2(8192 * 3 + 5), (3, 5));
        assert_eq!(default.l2_reach(), 512 << 20);
        assert_eq!(default.block_and_entry(32768 + 7), (1, 7));
        let smallest = Geometry::new(9, 6).unwrap();
        assert_eq!(smallest.block_and_entry(65), (1, 1));
        assert_eq!(smallest.l1_l2(65), (1, 1));
        assert_eq!(smallest.offset_of(u64::MAX / 512), None);
        let extended = default.with_subclusters().unwrap();
        assert_eq!((extended.l1_l2(4096 * 3 + 5), extended.l2_reach()), ((3, 5), 256 << 20));
        assert_eq!((extended.l2_entry_at(3), default.l2_entry_at(3)), (48, 24));
        assert!(Geometry::new(13, 4).unwrap().with_subclusters().is_err());
        let largest = Geometry::new(21, 0).unwrap();
        assert_eq!(largest.block_and_entry((1 << 24) + 1), (1, 1));
        assert_eq!(largest.clusters_for(1), 1);
    }
}
