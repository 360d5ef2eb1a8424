//! The boot sector: where the parts of a filesystem lie (Microsoft's FAT specification 1.03, "Boot Sector and BPB").

use crate::field::{byte, le16, le32, part, text};

/// The size of a boot sector's meaningful part in bytes.
pub(crate) const BOOT: usize = 512;
/// The size of a directory entry in bytes.
pub(crate) const ENTRY: u64 = 32;
/// The first cluster.
pub(crate) const FIRST_CLUSTER: u32 = 2;
/// The clusters from which on a filesystem is FAT16, and from which on it has to be FAT32.
pub(crate) const FAT12_CLUSTERS: u64 = 4085;
pub(crate) const FAT16_CLUSTERS: u64 = 65_525;
/// The clusters that FAT32 can number.
pub(crate) const FAT32_CLUSTERS: u64 = 0x0fff_fff5;
/// The tables that a filesystem has at most: nobody makes more than two.
const TABLES_MAX: u8 = 4;

/// How wide the entries of the table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

/// Where the root directory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// So many bytes from this one on.
    Fixed { at: u64, len: u64 },
    /// The chain that begins with this cluster.
    Chain(u32),
}

/// What a boot sector says. All places are bytes of the volume, and none has been compared with its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    pub(crate) cluster_size: u64,
    /// The first table; the others follow.
    pub(crate) table_at: u64,
    pub(crate) table_len: u64,
    pub(crate) tables: u8,
    /// The only table that is kept up to date, where not all of them are.
    pub(crate) active: Option<u8>,
    pub(crate) root: Root,
    /// The first cluster's first byte.
    pub(crate) data: u64,
    /// Clusters 2 to this, not included, hold data.
    pub(crate) end: u32,
    /// The bytes of the whole filesystem.
    pub(crate) size: u64,
    /// FAT32's counters (FSInfo).
    pub(crate) counters: Option<u64>,
    /// Flags in the boot sector: bit 0 says that it was not unmounted cleanly (as Linux and fsck.fat have it).
    pub(crate) state: u8,
    /// The label in the boot sector.
    pub(crate) label: String,
    pub(crate) serial: Option<u32>,
}

impl Layout {
    /// Understands a boot sector; otherwise what is wrong with it, a clause.
    ///
    /// The number of clusters decides between FAT12 and FAT16. FAT32 is what has no 16-bit table size, as it is for
    /// Linux, mtools and fsck.fat: mkfs.fat makes it with fewer clusters than the specification wants, where it is told to.
    pub(crate) fn parse(boot: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "the boot sector is cut off";
        const LARGE: &str = "the boot sector has sizes that cannot be";
        if part(boot, 510, 2) != Some(&[0x55, 0xaa]) || !matches!(byte(boot, 0), Some(0xeb | 0xe9)) {
            return Err("there is no boot sector of FAT");
        }
        let word = |at| le16(boot, at).ok_or(SHORT);
        let long = |at| le32(boot, at).ok_or(SHORT);
        let one = |at| byte(boot, at).ok_or(SHORT);
        let sector = u64::from(word(11)?);
        if !sector.is_power_of_two() || !(512..=4096).contains(&sector) {
            return Err("the boot sector has a size of sectors that FAT does not know");
        }
        let per_cluster = u64::from(one(13)?);
        if !per_cluster.is_power_of_two() {
            return Err("the boot sector has a size of clusters that is no power of two");
        }
        let reserved = u64::from(word(14)?);
        if reserved == 0 {
            return Err("the boot sector counts no reserved sectors, not even itself");
        }
        let tables = one(16)?;
        if !(1..=TABLES_MAX).contains(&tables) {
            return Err("the boot sector has no table, or more than four");
        }
        if !matches!(one(21)?, 0xf0 | 0xf8..) {
            return Err("the boot sector has a media type that FAT does not know");
        }
        let sectors = match word(19)? {
            0 => u64::from(long(32)?),
            sectors => u64::from(sectors),
        };
        let (is_fat32, table_sectors) = match word(22)? {
            0 => (true, u64::from(long(36)?)),
            sectors => (false, u64::from(sectors)),
        };
        let root_len = u64::from(word(17)?).checked_mul(ENTRY).ok_or(LARGE)?;
        if is_fat32 != (root_len == 0) || !root_len.is_multiple_of(sector) {
            return Err("the boot sector has a size of the root directory that cannot be");
        }
        let table_at = reserved.checked_mul(sector).ok_or(LARGE)?;
        let table_len = table_sectors.checked_mul(sector).ok_or(LARGE)?;
        let root_at =
            table_len.checked_mul(u64::from(tables)).and_then(|len| len.checked_add(table_at)).ok_or(LARGE)?;
        let data = root_at.checked_add(root_len).ok_or(LARGE)?;
        let size = sectors.checked_mul(sector).ok_or(LARGE)?;
        let cluster_size = per_cluster.checked_mul(sector).ok_or(LARGE)?;
        let clusters = size.checked_sub(data).and_then(|len| len.checked_div(cluster_size)).unwrap_or(0);
        let kind = match clusters {
            0 => return Err("the boot sector leaves no room for a cluster"),
            _ if is_fat32 => Kind::Fat32,
            1..FAT12_CLUSTERS => Kind::Fat12,
            FAT12_CLUSTERS..FAT16_CLUSTERS => Kind::Fat16,
            _ => return Err("the boot sector has more clusters than FAT16 can number"),
        };
        if clusters > FAT32_CLUSTERS {
            return Err("the boot sector has more clusters than FAT32 can number");
        }
        // As Linux does: clusters that the table has no entry for are not there.
        let end = clusters.saturating_add(u64::from(FIRST_CLUSTER)).min(kind.entries(table_len));
        let end = u32::try_from(end).map_err(|_| LARGE)?;
        if end <= FIRST_CLUSTER {
            return Err("the table has no room for a cluster");
        }
        let flags = if is_fat32 { 64 } else { 36 };
        let (mut root, mut active, mut counters) = (Root::Fixed { at: root_at, len: root_len }, None, None);
        if is_fat32 {
            let first = long(44)?;
            if !(FIRST_CLUSTER..end).contains(&first) {
                return Err("the root directory begins outside of the filesystem");
            }
            root = Root::Chain(first);
            let mirroring = word(40)?;
            let number = u8::try_from(mirroring & 0x0f).map_err(|_| LARGE)?;
            if mirroring & 0x80 != 0 {
                if number >= tables {
                    return Err("the boot sector names a table that is not there as the active one");
                }
                active = Some(number);
            }
            if word(42)? != 0 {
                return Err("it is of a version of FAT32 that is not known");
            }
            let number = u64::from(word(48)?);
            counters = Some(number).filter(|number| (1..reserved).contains(number));
            counters = counters.and_then(|number| number.checked_mul(sector));
        }
        let (label, serial) = match one(usize::saturating_add(flags, 2))? {
            0x29 => {
                let label = part(boot, usize::saturating_add(flags, 7), 11).ok_or(SHORT)?;
                (text(label), Some(long(usize::saturating_add(flags, 3))?))
            }
            0x28 => (String::new(), Some(long(usize::saturating_add(flags, 3))?)),
            _ => (String::new(), None),
        };
        Ok(Self {
            kind,
            cluster_size,
            table_at,
            table_len,
            tables,
            active,
            root,
            data,
            end,
            size,
            counters,
            state: one(usize::saturating_add(flags, 1))?,
            label,
            serial,
        })
    }

    /// How many clusters there are.
    pub(crate) fn clusters(&self) -> u32 {
        self.end.saturating_sub(FIRST_CLUSTER)
    }

    /// Whether there is such a cluster.
    pub(crate) fn holds(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..self.end).contains(&cluster)
    }

    /// The byte at which a cluster begins.
    pub(crate) fn cluster_at(&self, cluster: u32) -> u64 {
        let place = u64::from(cluster.saturating_sub(FIRST_CLUSTER));
        self.data.saturating_add(place.saturating_mul(self.cluster_size))
    }

    /// The byte at which a table begins, 0 for the first.
    pub(crate) fn nth_table(&self, number: u8) -> u64 {
        self.table_at.saturating_add(self.table_len.saturating_mul(u64::from(number)))
    }
}

impl Kind {
    /// The name of the format.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        }
    }

    /// The first of the eight numbers that end a chain.
    pub(crate) fn limit(self) -> u32 {
        match self {
            Self::Fat12 => 0x0ff8,
            Self::Fat16 => 0xfff8,
            Self::Fat32 => 0x0fff_fff8,
        }
    }

    /// How many entries a table of so many bytes has.
    pub(crate) fn entries(self, table: u64) -> u64 {
        match self {
            Self::Fat12 => table.saturating_mul(2) / 3,
            Self::Fat16 => table / 2,
            Self::Fat32 => table / 4,
        }
    }

    /// The entry of a cluster in a piece of the table, whose first byte has this place in it.
    pub(crate) fn get(self, table: &[u8], cluster: u32, start: u64) -> Option<u32> {
        let at = self.place(cluster, start)?;
        Some(match self {
            Self::Fat12 if cluster.is_multiple_of(2) => u32::from(le16(table, at)? & 0x0fff),
            Self::Fat12 => u32::from(le16(table, at)? >> 4),
            Self::Fat16 => u32::from(le16(table, at)?),
            Self::Fat32 => le32(table, at)? & 0x0fff_ffff,
        })
    }

    /// Changes an entry as [`get`](Self::get) finds it; gives the range of bytes that it has.
    pub(crate) fn set(self, table: &mut [u8], cluster: u32, start: u64, value: u32) -> Option<std::ops::Range<usize>> {
        let at = self.place(cluster, start)?;
        let len = if self == Self::Fat32 { 4 } else { 2 };
        let range = at..at.checked_add(len)?;
        let field = table.get_mut(range.clone())?;
        let old = le16(field, 0)?;
        let new = match self {
            Self::Fat12 if cluster.is_multiple_of(2) => u32::from(old & 0xf000) | (value & 0x0fff),
            Self::Fat12 => u32::from(old & 0x000f) | (value & 0x0fff) << 4,
            Self::Fat16 => value,
            // The upper four bits are nobody's to change.
            Self::Fat32 => (le32(field, 0)? & 0xf000_0000) | (value & 0x0fff_ffff),
        };
        for (byte, new) in field.iter_mut().zip(new.to_le_bytes()) {
            *byte = new;
        }
        Some(range)
    }

    /// The byte at which the entry of a cluster begins, counted from `start`.
    fn place(self, cluster: u32, start: u64) -> Option<usize> {
        let number = u64::from(cluster);
        let at = match self {
            Self::Fat12 => number.saturating_add(number / 2),
            Self::Fat16 => number.saturating_mul(2),
            Self::Fat32 => number.saturating_mul(4),
        };
        usize::try_from(at.checked_sub(start)?).ok()
    }

    /// The byte at which the entry of a cluster begins in the table.
    pub(crate) fn offset(self, cluster: u32) -> u64 {
        self.place(cluster, 0).and_then(|at| u64::try_from(at).ok()).unwrap_or(u64::MAX)
    }
}
