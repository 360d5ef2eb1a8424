//! Refcounts: how often each host cluster is used.

use super::cache::{LIMIT, TableCache};
use super::geometry::{ENTRY, Geometry};
use super::layout::{Layout, truncated};
use super::space::Space;
use super::{pointers, width};
use crate::error::{Error, Layer, Result};
use crate::transaction::Overlay;
use std::collections::VecDeque;
use std::ops::Range;

/// QEMU's limit for the refcount table, in bytes.
pub(super) const TABLE_LIMIT: u64 = 8 << 20;

/// Bytes of refcount blocks that are looked through for clusters behind the end of the file.
const TAIL_BUDGET: u64 = 64 << 20;

/// The refcount table, and the blocks under it as they are needed.
///
/// A block is moved to a new cluster by its first change. That takes a cluster and frees one, which are changes of
/// refcounts again: they wait in a queue, and [`settle`](Self::settle) works it off. It ends, because each move leaves
/// one old block less.
#[derive(Debug)]
pub(super) struct Refcounts {
    geometry: Geometry,
    table: Vec<u64>,
    blocks: TableCache,
    waiting: VecDeque<(Change, u64)>,
    /// Runs of the old image's clusters that nothing uses any more.
    freed: Vec<Range<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Take,
    Release,
}

impl Refcounts {
    /// Reads the table that `layout` names, which is at most [`TABLE_LIMIT`] bytes long.
    pub(super) fn load(host: &Overlay, geometry: Geometry, layout: &Layout) -> Result<Self> {
        let table = &layout.refcount_table;
        let len = usize::try_from(table.end.saturating_sub(table.start)).unwrap_or(usize::MAX);
        let table = pointers::load(host, "refcount table", table.start, len / ENTRY)?;
        for &offset in &table {
            if offset == 0 {
                continue;
            }
            if !geometry.is_aligned(offset) {
                return Err(Error::corrupt(
                    Layer::Image,
                    format!("qcow2 refcount table entry {offset:#018x}: not a multiple of the cluster size"),
                ));
            }
            layout.check(geometry, "a refcount block", offset, geometry.cluster_size())?;
        }
        Ok(Self { table, ..Self::unread(geometry) })
    }

    /// Those of an image that is only read: none of them is looked at.
    pub(super) fn unread(geometry: Geometry) -> Self {
        let blocks = TableCache::new(geometry, LIMIT);
        Self { geometry, table: Vec::new(), blocks, waiting: VecDeque::new(), freed: Vec::new() }
    }

    /// Fails with `Corrupt` where a cluster that begins behind the end of the file is in use: the file is truncated.
    ///
    /// It reads only the blocks that count such clusters: in a sound image, at most one or two.
    pub(super) fn check_tail(&mut self, host: &Overlay, layout: &Layout) -> Result<()> {
        let behind = self.geometry.clusters_for(layout.end);
        let (first, _) = self.geometry.block_and_entry(behind);
        let mut budget = TAIL_BUDGET;
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        for (block, &offset) in (first..).zip(self.table.iter().skip(skip)) {
            if offset == 0 {
                continue;
            }
            budget = budget.checked_sub(self.geometry.cluster_size()).ok_or_else(|| {
                truncated(format!("its refcounts go far beyond the end of the file ({} bytes)", layout.end))
            })?;
            let start = self.geometry.first_of_block(block);
            let bytes = self.blocks.read(host, block, offset)?;
            let used = width::first_used(bytes, self.geometry.refcount_order(), behind.saturating_sub(start));
            if let Some(used) = used {
                let cluster = start.saturating_add(used);
                return Err(truncated(format!(
                    "cluster {cluster} is in use and lies behind the end of the file ({} bytes)",
                    layout.end
                )));
            }
        }
        Ok(())
    }

    /// The blocks that the table names, by their first byte.
    pub(super) fn old_blocks(&self) -> impl Iterator<Item = u64> {
        self.table.iter().copied().filter(|offset| *offset != 0)
    }

    /// Replaces every block, before anything was changed, by new ones that say what `counts` does of the old file's
    /// clusters. The old blocks have to be free in it.
    pub(super) fn replace(&mut self, host: &Overlay, space: &mut Space, counts: &[u32]) -> Result<()> {
        let per_block = usize::try_from(self.geometry.first_of_block(1)).unwrap_or(usize::MAX).max(1);
        let entries = self.table.len().max(counts.len().div_ceil(per_block));
        let old = std::mem::replace(&mut self.table, vec![0; entries]);
        self.blocks = TableCache::new(self.geometry, LIMIT);
        for (block, (entry, counts)) in (0..).zip(self.table.iter_mut().zip(counts.chunks(per_block))) {
            if counts.iter().all(|count| *count == 0) {
                continue;
            }
            *entry = space.allocate(1)?;
            self.blocks.create(host, block, *entry)?;
            let bytes = self.blocks.change(host, block, *entry)?;
            for (index, count) in (0..).zip(counts).filter(|(_, count)| **count != 0) {
                width::set(bytes, self.geometry.refcount_order(), index, u64::from(*count))
                    .ok_or_else(|| wrong(index, "has a refcount of no possible value"))?;
            }
        }
        for offset in self.table.iter().filter(|offset| **offset != 0) {
            self.waiting.push_back((Change::Take, self.geometry.cluster_of(*offset)));
        }
        for offset in old.into_iter().filter(|offset| *offset != 0) {
            self.note_freed(self.geometry.cluster_of(offset), space);
        }
        self.settle(host, space)
    }

    /// Counts the first use of new clusters, from byte `offset` on.
    pub(super) fn take(&mut self, offset: u64, clusters: u64) {
        self.wait(Change::Take, offset, clusters);
    }

    /// Counts one use less of each cluster that holds some of the `len` bytes from `offset`.
    pub(super) fn release(&mut self, offset: u64, len: u64) {
        let first = self.geometry.cluster_of(offset);
        let end = self.geometry.clusters_for(offset.saturating_add(len));
        self.wait(Change::Release, offset, end.saturating_sub(first));
    }

    fn wait(&mut self, change: Change, offset: u64, clusters: u64) {
        let first = self.geometry.cluster_of(offset);
        self.waiting.extend((first..first.saturating_add(clusters)).map(|cluster| (change, cluster)));
    }

    /// Makes the changes that wait. `Corrupt` where a cluster in use has a refcount of 0, or a new one is counted
    /// already; `Unsupported` past the largest refcount table.
    pub(super) fn settle(&mut self, host: &Overlay, space: &mut Space) -> Result<()> {
        while let Some((change, cluster)) = self.waiting.pop_front() {
            let (block, index) = self.geometry.block_and_entry(cluster);
            let place = self.own_block(host, space, change, block, cluster)?;
            let bytes = self.blocks.change(host, block, place)?;
            let order = self.geometry.refcount_order();
            let count = width::get(bytes, order, index);
            let new = match (change, count) {
                (Change::Take, Some(0)) => 1,
                (Change::Release, Some(count)) if count > 0 => count.saturating_sub(1),
                (Change::Take, _) => return Err(wrong(cluster, "is new, and counted as in use")),
                (Change::Release, _) => return Err(wrong(cluster, "is in use, and counted as free")),
            };
            width::set(bytes, order, index, new)
                .ok_or_else(|| wrong(cluster, "has a refcount of no possible value"))?;
            if new == 0 {
                self.note_freed(cluster, space);
            }
        }
        Ok(())
    }

    fn note_freed(&mut self, cluster: u64, space: &Space) {
        // What this transaction took and gave up again lies past the old end.
        if self.geometry.offset_of(cluster).is_none_or(|offset| offset >= space.floor()) {
            return;
        }
        let end = cluster.saturating_add(1);
        match self.freed.last_mut() {
            Some(last) if last.end == cluster => last.end = end,
            Some(last) if last.start == end => last.start = cluster,
            _ => self.freed.push(cluster..end),
        }
    }

    /// Those of the old image that nothing uses any more, by their number.
    pub(super) fn freed_clusters(&self) -> Freed {
        let mut runs = self.freed.clone();
        runs.sort_unstable_by_key(|run| run.start);
        Freed(runs)
    }

    /// The bytes of the old image that nothing uses any more, snapshots included.
    pub(super) fn freed(&self) -> Vec<Range<u64>> {
        let size = self.geometry.cluster_size();
        let bytes = |cluster: u64| cluster.saturating_mul(size);
        self.freed.iter().map(|run| bytes(run.start)..bytes(run.end)).collect()
    }

    /// The place of this transaction's own copy of a block, made now if need be.
    fn own_block(
        &mut self,
        host: &Overlay,
        space: &mut Space,
        change: Change,
        block: u64,
        cluster: u64,
    ) -> Result<u64> {
        let index = usize::try_from(block).unwrap_or(usize::MAX);
        let old = self.table.get(index).copied().unwrap_or(0);
        if old >= space.floor() {
            return Ok(old);
        }
        if old == 0 && change == Change::Release {
            return Err(wrong(cluster, "is in use, and no refcount block counts it"));
        }
        if index >= self.table.len() {
            let entries = index.saturating_add(1);
            if pointers::bytes(entries).is_none_or(|len| len > TABLE_LIMIT) {
                return Err(Error::unsupported(Layer::Image, "qcow2: the refcount table would grow past 8 MiB")
                    .with_hint("convert the image to larger clusters: `qemu-img convert -O qcow2 IMAGE NEW.qcow2`"));
            }
            self.table.resize(entries, 0);
        }
        let new = space.allocate(1)?;
        if old == 0 {
            self.blocks.create(host, block, new)?;
        } else {
            self.blocks.relocate(host, block, old, new)?;
            self.release(old, self.geometry.cluster_size());
        }
        if let Some(entry) = self.table.get_mut(index) {
            *entry = new;
        }
        self.take(new, 1);
        Ok(new)
    }

    /// Writes the blocks and a new table, and frees the one at `old`; gives the new table's first byte and its clusters.
    ///
    /// The table's own clusters are counted in blocks that it has to name, so its length is found by trying.
    pub(super) fn write_table(&mut self, host: &Overlay, space: &mut Space, old: &Layout) -> Result<(u64, u64)> {
        let old = &old.refcount_table;
        self.release(old.start, old.end.saturating_sub(old.start));
        self.settle(host, space)?;
        loop {
            // A guess with room for the blocks that count the table itself.
            let reach = space.next().saturating_add(self.clusters_of_table().saturating_mul(2)).saturating_add(8);
            let (last, _) = self.geometry.block_and_entry(reach);
            let guess = last.saturating_add(1).saturating_mul(ENTRY_BYTES);
            let clusters = self.clusters_of_table().max(self.geometry.clusters_for(guess.min(TABLE_LIMIT)));
            let offset = space.allocate(clusters)?;
            self.take(offset, clusters);
            self.settle(host, space)?;
            if self.clusters_of_table() <= clusters {
                pointers::store(host, offset, &self.table)?;
                self.blocks.write_back(host)?;
                return Ok((offset, clusters));
            }
            self.release(offset, clusters.saturating_mul(self.geometry.cluster_size()));
            self.settle(host, space)?;
        }
    }

    fn clusters_of_table(&self) -> u64 {
        self.geometry.clusters_for(pointers::bytes(self.table.len()).unwrap_or(u64::MAX))
    }
}

/// Clusters that are free now: runs that lie apart, ascending.
#[derive(Debug)]
pub(super) struct Freed(Vec<Range<u64>>);

impl Freed {
    /// The first of these clusters that is among them.
    pub(super) fn first_of(&self, clusters: &Range<u64>) -> Option<u64> {
        let at = self.0.partition_point(|run| run.end <= clusters.start);
        let run = self.0.get(at).filter(|run| run.start < clusters.end)?;
        Some(run.start.max(clusters.start))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const ENTRY_BYTES: u64 = 8;

fn wrong(cluster: u64, how: &str) -> Error {
    Error::corrupt(Layer::Image, format!("qcow2 refcounts: cluster {cluster} {how}"))
        .with_hint("look at the damage with `qemu-img check IMAGE`, and repair it with `qemu-img check -r all IMAGE`")
}
