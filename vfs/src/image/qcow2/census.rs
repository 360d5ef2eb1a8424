//! How often each cluster of the host file is used, counted from the tables: what the refcounts have to be.
//!
//! An image that was not closed (its dirty bit is set, as lazy refcounts need it) has refcounts that nobody can trust.
//! QEMU counts them anew when it opens such an image for writing, and so does this. Only what fits together is taken:
//! two tables in one cluster, a cluster that is data and a table, or a flag that says what the count does not, are
//! refused, and `qemu-img check` is the way out.

use super::disk::{Disk, Owner};
use super::entry::Entry;
use super::geometry::{COPIED, ENTRY, Geometry, OFFSET_MASK};
use super::layout::read_padded;
use super::mapping::{Mapping, Storage};
use super::{header, pointers};
use crate::error::{Error, Layer, Result};

/// Clusters of the file that can be counted, 5 bytes of memory each: 512 GiB at the usual cluster size.
const CLUSTERS_LIMIT: u64 = 8 << 20;
/// Bytes of L1 tables of all snapshots, and of L2 tables, that are read.
const L1_BUDGET: u64 = 64 << 20;
const L2_BUDGET: u64 = 1 << 30;
/// An entry of the snapshot table without its extra data, id and name.
const SNAPSHOT_HEAD: usize = 40;
/// Bytes of the snapshot table that are read at once.
const WINDOW: usize = 4096;

/// What a cluster holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing that a table names.
    Free,
    /// Something that one thing alone can name: the header, an L1 table, a part of the refcounts or of a bitmap.
    Alone,
    /// An L2 table, which snapshots share.
    Table,
    /// A guest's cluster, which snapshots share.
    Data,
    /// Pieces of compressed clusters.
    Compressed,
}

/// The uses of every cluster.
#[derive(Debug)]
pub(super) struct Census {
    geometry: Geometry,
    kinds: Vec<Kind>,
    counts: Vec<u32>,
}

impl Census {
    /// How often each cluster is used, the refcount blocks excepted: those are to be made anew.
    pub(super) fn counts(&self) -> &[u32] {
        &self.counts
    }

    fn new(geometry: Geometry, end: u64) -> Result<Self> {
        let clusters = geometry.clusters_for(end);
        let count = usize::try_from(clusters).ok().filter(|_| clusters <= CLUSTERS_LIMIT).ok_or_else(|| {
            refused(&format!("the file has {clusters} clusters, and at most {CLUSTERS_LIMIT} are counted"))
        })?;
        Ok(Self { geometry, kinds: vec![Kind::Free; count], counts: vec![0; count] })
    }

    /// Counts `times` uses of the clusters that hold some of the `len` bytes from `offset`.
    fn add(&mut self, kind: Kind, offset: u64, len: u64, times: u32) -> Result<()> {
        let first = self.geometry.cluster_of(offset);
        let end = self.geometry.clusters_for(offset.saturating_add(len));
        for cluster in first..end {
            let at = usize::try_from(cluster).unwrap_or(usize::MAX);
            let (Some(held), Some(count)) = (self.kinds.get_mut(at), self.counts.get_mut(at)) else {
                return Err(refused(&format!("cluster {cluster} is used and lies behind the end of the file")));
            };
            match *held {
                Kind::Free => *held = kind,
                same if same == kind && kind != Kind::Alone => {}
                other => return Err(refused(&format!("cluster {cluster} is used as {kind:?} and as {other:?}"))),
            }
            let bits = 1u32.checked_shl(self.geometry.refcount_order()).unwrap_or(0);
            let most = u32::MAX.checked_shr(32u32.saturating_sub(bits)).unwrap_or(u32::MAX);
            *count = count
                .checked_add(times)
                .filter(|count| *count <= most)
                .ok_or_else(|| refused(&format!("cluster {cluster} is used more often than a refcount can say")))?;
        }
        Ok(())
    }

    /// Takes back the one use of a cluster.
    fn forget(&mut self, offset: u64) {
        let at = usize::try_from(self.geometry.cluster_of(offset)).unwrap_or(usize::MAX);
        if let Some(count) = self.counts.get_mut(at) {
            *count = 0;
        }
    }

    fn count(&self, offset: u64) -> u32 {
        let at = usize::try_from(self.geometry.cluster_of(offset)).unwrap_or(usize::MAX);
        self.counts.get(at).copied().unwrap_or(0)
    }

    /// Where each L2 table lies and how often it is used; fails where all of them are more than is read.
    fn tables(&self) -> Result<Vec<(u64, u32)>> {
        let size = self.geometry.cluster_size();
        let found = || (0u64..).zip(self.kinds.iter().zip(&self.counts)).filter(|(_, (kind, _))| **kind == Kind::Table);
        let tables = u64::try_from(found().count()).unwrap_or(u64::MAX);
        if tables.checked_mul(size).is_none_or(|bytes| bytes > L2_BUDGET) {
            return Err(refused("it has too many L2 tables"));
        }
        Ok(found().map(|(cluster, (_, count))| (cluster.saturating_mul(size), *count)).collect())
    }
}

impl Disk {
    /// Makes the refcounts of an image that was not closed anew, in new blocks; the header will say that it was closed.
    /// `Unsupported` or `Corrupt` where its tables do not fit together.
    pub(super) fn rebuild_refcounts(&mut self) -> Result<()> {
        tracing::info!("the image was not closed: its refcounts are counted anew");
        let census = self.census()?;
        self.refcounts.replace(&self.host, &mut self.space, census.counts())?;
        self.header.features.set_closed();
        Ok(())
    }

    fn census(&mut self) -> Result<Census> {
        let geometry = self.header.geometry;
        let layout = self.header.layout.clone();
        let mut census = Census::new(geometry, layout.end)?;
        census.add(Kind::Alone, 0, geometry.cluster_size(), 1)?;
        for table in [&layout.l1, &layout.refcount_table] {
            census.add(Kind::Alone, table.start, table.end.saturating_sub(table.start), 1)?;
        }
        let blocks: Vec<u64> = self.refcounts.old_blocks().collect();
        for block in &blocks {
            census.add(Kind::Alone, *block, 1, 1)?;
        }
        add_tables(&mut census, &self.l1)?;
        self.count_snapshots(&mut census)?;
        self.each_bitmap_range(&mut |offset, len| census.add(Kind::Alone, offset, len, 1))?;
        for (table, times) in census.tables()? {
            self.count_table(&mut census, table, times)?;
        }
        self.check_flags(&census)?;
        blocks.iter().for_each(|block| census.forget(*block));
        Ok(census)
    }

    fn l2_table(&self, offset: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.header.geometry.cluster_len()];
        read_padded(&*self.host, &mut bytes, offset)?;
        Ok(bytes)
    }

    fn count_table(&self, census: &mut Census, table: u64, times: u32) -> Result<()> {
        let geometry = self.header.geometry;
        for entry in Entry::all(geometry, &self.l2_table(table)?) {
            match self.check_entry(entry, Owner::OldImage)? {
                Mapping::Unallocated | Mapping::Zero | Mapping::Mixed { offset: 0, .. } => {}
                Mapping::Standard(offset) | Mapping::ZeroAllocated(offset) | Mapping::Mixed { offset, .. } => {
                    census.add(Kind::Data, offset, 1, times)?;
                }
                Mapping::Compressed(run) => census.add(Kind::Compressed, run.offset, run.len, times)?,
            }
        }
        Ok(())
    }

    /// Counts the snapshot table and the L1 tables that it names.
    fn count_snapshots(&self, census: &mut Census) -> Result<()> {
        let geometry = self.header.geometry;
        let mut budget = L1_BUDGET;
        let table_len = each_snapshot(self, &mut |l1, len| {
            let count = usize::try_from(len).unwrap_or(usize::MAX) / ENTRY;
            budget = budget.checked_sub(len).ok_or_else(|| refused("the L1 tables of its snapshots are too large"))?;
            if !geometry.is_aligned(l1) {
                return Err(refused("the L1 table of a snapshot lies on no cluster"));
            }
            if count > 0 {
                self.header.layout.check(geometry, "the L1 table of a snapshot", l1, len)?;
                let l1_entries = pointers::load(&self.host, "L1 table of a snapshot", l1, count)?;
                self.header.layout.check_l1(geometry, &l1_entries)?;
                census.add(Kind::Alone, l1, len, 1)?;
                add_tables(census, &l1_entries)?;
            }
            Ok(())
        })?;
        match table_len {
            0 => Ok(()),
            len => census.add(Kind::Alone, self.header.snapshot_table, len, 1),
        }
    }

    /// Fails unless the active tables' flags say of each cluster whether it is used once.
    fn check_flags(&self, census: &Census) -> Result<()> {
        let geometry = self.header.geometry;
        let fits = |word: u64, offset: u64| (word & COPIED != 0) == (census.count(offset) == 1);
        let mut tables = Vec::new();
        for word in self.l1.iter().filter(|word| **word & OFFSET_MASK != 0) {
            let table = *word & OFFSET_MASK;
            if !fits(*word, table) {
                return Err(refused("an L1 entry's flag says something else than its table's count").with_offset(table));
            }
            tables.push(table);
        }
        // Many L1 entries may name one table: it is read once.
        tables.sort_unstable();
        tables.dedup();
        for table in tables {
            for entry in Entry::all(geometry, &self.l2_table(table)?) {
                let mapping = Mapping::parse(entry, geometry, self.header.version, Storage::Image)?;
                let (Mapping::Standard(offset) | Mapping::ZeroAllocated(offset) | Mapping::Mixed { offset, .. }) =
                    mapping
                else {
                    continue;
                };
                if offset != 0 && !fits(entry.descriptor, offset) {
                    return Err(
                        refused("an L2 entry's flag says something else than its cluster's count").with_offset(offset)
                    );
                }
            }
        }
        Ok(())
    }
}

/// Gives the first byte of each snapshot's L1 table, and its length in bytes; returns the length of the snapshot table (the
/// format's section "Snapshots").
pub(super) fn each_snapshot(disk: &Disk, each: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<u64> {
    let mut window = [0; WINDOW];
    let mut within = 0..0;
    let start = disk.header.snapshot_table;
    let mut at = start;
    for _ in 0..disk.header.snapshots {
        let head_len = u64::try_from(SNAPSHOT_HEAD).unwrap_or(0);
        if at < within.start || at.saturating_add(head_len) > within.end {
            read_padded(&*disk.host, &mut window, at)?;
            within = at..at.saturating_add(u64::try_from(WINDOW).unwrap_or(0));
        }
        let from = at.saturating_sub(within.start);
        let head = header::slice(&window, from, from.saturating_add(head_len));
        let (l1, entries) = (header::u64_at(head, 0), header::u32_at(head, 8));
        let names = header::u32_at(head, 12);
        let tail = [names >> 16, names & 0xffff, header::u32_at(head, 36)].into_iter().map(u64::from).sum::<u64>();
        at = at.saturating_add(head_len.saturating_add(tail).next_multiple_of(8));
        each(l1, pointers::bytes(usize::try_from(entries).unwrap_or(usize::MAX)).unwrap_or(u64::MAX))?;
    }
    Ok(at.saturating_sub(start))
}

fn add_tables(census: &mut Census, l1: &[u64]) -> Result<()> {
    let tables = l1.iter().map(|entry| entry & OFFSET_MASK).filter(|offset| *offset != 0);
    for offset in tables {
        census.add(Kind::Table, offset, 1, 1)?;
    }
    Ok(())
}

fn refused(why: &str) -> Error {
    Error::unsupported(
        Layer::Image,
        format!("qcow2: the image is marked dirty, and its refcounts cannot be rebuilt: {why}"),
    )
    .with_hint("repair it with `qemu-img check -r all IMAGE`")
}
