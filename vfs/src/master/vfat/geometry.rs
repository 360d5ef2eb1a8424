//! How a FAT filesystem of a size is divided (Microsoft's FAT specification 1.03), by the choices of mkfs.fat.

use crate::error::Result;
use crate::fs::fat::layout::{ENTRY, FAT12_CLUSTERS, FAT16_CLUSTERS, FAT32_CLUSTERS, FIRST_CLUSTER, Kind};
use crate::master::refuse;

/// The size of a sector in bytes.
pub(super) const SECTOR: u64 = 512;
/// How many tables there are.
pub(super) const TABLES: u64 = 2;
/// The entries that the root directory of FAT12 and FAT16 has at least.
const ROOT_ENTRIES: u64 = 512;
/// The largest size that is not FAT32, unless it has to be, in bytes.
const FAT16_PREFERRED: u64 = 512 << 20;
/// As many clusters are kept away from these borders, which some readers have wrong.
const MARGIN: u64 = 16;

/// Where the parts of the filesystem lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) kind: Kind,
    /// All sectors.
    pub(super) sectors: u32,
    /// Sectors of a cluster: a power of two up to 128.
    pub(super) per_cluster: u8,
    /// Sectors before the first table.
    pub(super) reserved: u16,
    /// Sectors of one table.
    pub(super) table: u32,
    /// Entries of the root directory; 0 for FAT32, whose root is a chain of clusters.
    pub(super) root_entries: u16,
    /// Clusters that hold data.
    pub(super) clusters: u32,
}

impl Geometry {
    /// The division of `size` bytes for a root directory of so many entries.
    ///
    /// `Invalid` where the size is no multiple of 512, too small for any filesystem, or 2 TiB and more, or where the root
    /// has more entries than its 16 bits count.
    pub(super) fn new(size: u64, root_entries: u64) -> Result<Self> {
        if !size.is_multiple_of(SECTOR) {
            return Err(refuse(format!("{size} bytes is no multiple of 512")));
        }
        let Ok(sectors) = u32::try_from(size / SECTOR) else {
            return Err(refuse(format!("{size} bytes is more than FAT can number (2 TiB)")));
        };
        let first = if size > FAT16_PREFERRED { &[Kind::Fat32][..] } else { &[Kind::Fat16, Kind::Fat12] };
        let all = first.iter().flat_map(|kind| kind.cluster_sizes(size).map(move |per_cluster| (*kind, per_cluster)));
        all.filter_map(|(kind, per_cluster)| Self::divide(kind, sectors, per_cluster, root_entries)).next().ok_or_else(
            || refuse(format!("no FAT filesystem has {size} bytes and {root_entries} entries in its root directory")),
        )
    }

    fn divide(kind: Kind, sectors: u32, per_cluster: u8, root_entries: u64) -> Option<Self> {
        let per_sector = SECTOR / ENTRY;
        let (reserved, root_entries) = match kind {
            Kind::Fat32 => (32, 0),
            // Whole clusters, so that the data lies at a multiple of them as the root does.
            Kind::Fat12 | Kind::Fat16 => {
                let entries = root_entries.max(ROOT_ENTRIES).next_multiple_of(per_sector * u64::from(per_cluster));
                (u64::from(per_cluster), u16::try_from(entries).ok()?)
            }
        };
        let root = u64::from(root_entries) / per_sector;
        // The table's size and the number of clusters depend on each other: it grows until it is enough.
        let mut table = 1_u64;
        let clusters = loop {
            let used = reserved + TABLES * table + root;
            let clusters = u64::from(sectors).checked_sub(used)? / u64::from(per_cluster);
            let needed = kind.table_bytes(clusters + u64::from(FIRST_CLUSTER)).div_ceil(SECTOR);
            let needed = needed.next_multiple_of(u64::from(per_cluster));
            if needed <= table {
                break clusters;
            }
            table = needed;
        };
        let fits = match kind {
            Kind::Fat12 => (1..FAT12_CLUSTERS - MARGIN).contains(&clusters),
            Kind::Fat16 => (FAT12_CLUSTERS + MARGIN..FAT16_CLUSTERS - MARGIN).contains(&clusters),
            Kind::Fat32 => (FAT16_CLUSTERS + MARGIN..=FAT32_CLUSTERS).contains(&clusters),
        };
        fits.then_some(Self {
            kind,
            sectors,
            per_cluster,
            reserved: u16::try_from(reserved).ok()?,
            table: u32::try_from(table).ok()?,
            root_entries,
            clusters: u32::try_from(clusters).ok()?,
        })
    }

    /// The size of a cluster in bytes.
    pub(super) fn cluster_size(&self) -> u64 {
        u64::from(self.per_cluster) * SECTOR
    }

    /// The byte at which a table begins: 0 for the first.
    pub(super) fn table_at(&self, number: u64) -> u64 {
        (u64::from(self.reserved) + number * u64::from(self.table)) * SECTOR
    }

    /// The byte at which the root directory of FAT12 and FAT16 begins.
    pub(super) fn root_at(&self) -> u64 {
        self.table_at(TABLES)
    }

    /// The byte at which a cluster begins.
    pub(super) fn cluster_at(&self, cluster: u32) -> u64 {
        let data = self.root_at() + u64::from(self.root_entries) * ENTRY;
        data + u64::from(cluster - FIRST_CLUSTER) * self.cluster_size()
    }
}

impl Kind {
    /// The sizes of a cluster to be tried, in sectors, the best first: those of mkfs.fat, and then larger ones.
    fn cluster_sizes(self, size: u64) -> impl Iterator<Item = u8> {
        let first = match self {
            Self::Fat12 | Self::Fat16 => 4,
            Self::Fat32 => match size >> 20 {
                0..=260 => 1,
                261..=8192 => 8,
                8193..=16_384 => 16,
                16_385..=32_768 => 32,
                _ => 64,
            },
        };
        // A small disk may be FAT16 with smaller clusters only; mkfs.fat makes that FAT12.
        [1, 2, 4, 8, 16, 32, 64, 128].into_iter().filter(move |size| *size >= first)
    }

    /// The bytes of a table of so many entries.
    pub(super) fn table_bytes(self, entries: u64) -> u64 {
        match self {
            Self::Fat12 => (entries * 3).div_ceil(2),
            Self::Fat16 => entries * 2,
            Self::Fat32 => entries * 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_kinds() {
        for (mebibytes, kind, cluster) in [
            (1, Kind::Fat12, 2048),
            (4, Kind::Fat12, 2048),
            (64, Kind::Fat16, 2048),
            (256, Kind::Fat16, 4096),
            (512, Kind::Fat16, 8192),
            (513, Kind::Fat32, 4096),
            (40_000, Kind::Fat32, 32_768),
        ] {
            let geometry = Geometry::new(mebibytes << 20, 0).unwrap();
            assert_eq!((geometry.kind, geometry.cluster_size()), (kind, cluster), "{mebibytes} MiB");
            assert!(geometry.cluster_at(geometry.clusters + 2) <= mebibytes << 20);
        }
        assert!(
            Geometry::new(1000, 0).is_err()
                && Geometry::new(512 * 10, 0).is_err()
                && Geometry::new(2 << 40, 0).is_err()
        );
        assert!(Geometry::new(64 << 20, 70_000).is_err());
        assert_eq!(Geometry::new(64 << 20, 2000).unwrap().root_entries, 2048);
    }

    #[test]
    fn every_size_up_to_some_mebibytes_is_divided_so_that_it_fits() {
        for kibibytes in 64..40_000 {
            let Ok(geometry) = Geometry::new(kibibytes << 10, 0) else { panic!("{kibibytes} KiB") };
            assert!(geometry.cluster_at(geometry.clusters + 2) <= kibibytes << 10, "{kibibytes} KiB");
            let entries = u64::from(geometry.clusters) + 2;
            assert!(geometry.kind.table_bytes(entries) <= u64::from(geometry.table) * SECTOR, "{kibibytes} KiB");
        }
    }
}
