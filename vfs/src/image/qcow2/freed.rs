//! What a commit frees, held against what the new image uses.
//!
//! Two entries that name one cluster, of which its refcount knows one, are damage or malice: the first one that is written
//! frees the cluster, and the other one leads to what is free, and given back to the host. So such an image is refused where
//! it can be seen at little cost: in all metadata that the new image has, in the L2 tables that snapshots name and in what
//! bitmaps are made of (as far as [`LOOKED_AT`] goes), and in every L2 table that the transaction has
//! changed. A cluster of data that an L2 table names which the transaction did not touch is not looked for; there QEMU too
//! goes by the refcounts.

use super::bitmap;
use super::census;
use super::disk::Disk;
use super::entry::Entry;
use super::extension::Bitmaps;
use super::geometry::{ENTRY, OFFSET_MASK};
use super::layout::read_padded;
use super::mapping::{Mapping, Storage};
use super::pointers;
use super::refcount::Freed;
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use std::cell::Cell;

/// The bytes of snapshots' L1 tables and of bitmaps' tables that are read for what they name; what lies past them is taken as
/// its refcounts have it.
const LOOKED_AT: u64 = 16 << 20;

impl Disk {
    /// Fails with `Corrupt` where the new image, whose bitmaps' directory lies at `bitmaps` if it was moved, uses a cluster
    /// that the transaction has freed.
    pub(super) fn check_freed(&mut self, bitmaps: Option<u64>) -> Result<()> {
        let freed = self.refcounts.freed_clusters();
        if freed.is_empty() {
            return Ok(());
        }
        let tables: Vec<u64> = self.l1.iter().map(|entry| entry & OFFSET_MASK).collect();
        for offset in tables.iter().filter(|offset| **offset != 0) {
            self.in_use(&freed, "an L2 table", *offset, 1)?;
        }
        let blocks: Vec<u64> = self.refcounts.old_blocks().collect();
        for offset in blocks {
            self.in_use(&freed, "a refcount block", offset, 1)?;
        }
        let budget = Cell::new(LOOKED_AT);
        let end = census::each_snapshot(self, &mut |l1, len| {
            self.in_use(&freed, "a snapshot's L1 table", l1, len)?;
            self.names_freed(&freed, "L1 table of a snapshot", (l1, len), "an L2 table of a snapshot", &budget)
        })?;
        self.in_use(&freed, "the snapshot table", self.header.snapshot_table, end)?;
        self.check_bitmaps(&freed, bitmaps, &budget)?;
        if self.header.storage() == Storage::DataFile {
            return Ok(());
        }
        for (index, table) in (0..).zip(tables).filter(|(_, table)| *table >= self.space.floor()) {
            let bytes = self.l2.read(&self.host, index, table)?.to_vec();
            self.check_entries(&freed, &bytes)?;
        }
        Ok(())
    }

    /// Fails where the table `what` of offsets at this place, of this many bytes, names a cluster that is free now; `named` is
    /// what it names.
    fn names_freed(
        &self,
        freed: &Freed,
        what: &str,
        (table, len): (u64, u64),
        named: &str,
        budget: &Cell<u64>,
    ) -> Result<()> {
        let Some(left) = budget.get().checked_sub(len).filter(|_| len > 0) else { return Ok(()) };
        budget.set(left);
        let entries = usize::try_from(len).unwrap_or(usize::MAX) / ENTRY;
        let entries = pointers::load(&self.host, what, table, entries)?;
        let offsets = entries.iter().map(|entry| entry & OFFSET_MASK).filter(|offset| *offset != 0);
        offsets.into_iter().try_for_each(|offset| self.in_use(freed, named, offset, 1))
    }

    /// Looks at the bitmaps' directory, their tables and what these name. Bitmaps that no program believes any more are not
    /// looked at, and what of them is out of order is not told here.
    fn check_bitmaps(&self, freed: &Freed, moved: Option<u64>, budget: &Cell<u64>) -> Result<()> {
        let Some(Bitmaps { count, directory, len }) = self.header.consistent_bitmaps() else { return Ok(()) };
        let directory = moved.unwrap_or(directory);
        let Some(left) = budget.get().checked_sub(len) else { return Ok(()) };
        budget.set(left);
        self.in_use(freed, "the directory of bitmaps", directory, len)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        read_padded(&*self.host, &mut bytes, directory)?;
        let mut rest = bytes.as_slice();
        for _ in 0..count {
            let Ok((table, next)) = bitmap::first_table(rest) else { return Ok(()) };
            rest = next;
            self.in_use(freed, "the table of a bitmap", table.0, table.1)?;
            // Of one that is enabled it was in the file when the bits were set.
            if table.0.saturating_add(table.1) <= self.host.size() {
                self.names_freed(freed, "table of a bitmap", table, "a cluster of a bitmap", budget)?;
            }
        }
        Ok(())
    }

    fn check_entries(&self, freed: &Freed, table: &[u8]) -> Result<()> {
        for entry in Entry::all(self.header.geometry, table).filter(|entry| *entry != Entry::default()) {
            match Mapping::parse(entry, self.header.geometry, self.header.version, Storage::Image)? {
                Mapping::Unallocated | Mapping::Zero | Mapping::Mixed { offset: 0, .. } => {}
                Mapping::Standard(offset) | Mapping::ZeroAllocated(offset) | Mapping::Mixed { offset, .. } => {
                    self.in_use(freed, "a data cluster", offset, 1)?;
                }
                Mapping::Compressed(run) => self.in_use(freed, "a compressed cluster", run.offset, run.len)?,
            }
        }
        Ok(())
    }

    /// Fails where something that is in use, `len` bytes from `offset`, lies in a cluster that is free now.
    fn in_use(&self, freed: &Freed, what: &str, offset: u64, len: u64) -> Result<()> {
        let geometry = self.header.geometry;
        if len == 0 {
            return Ok(());
        }
        let clusters = geometry.cluster_of(offset)..geometry.clusters_for(offset.saturating_add(len));
        let Some(cluster) = freed.first_of(&clusters) else { return Ok(()) };
        let message = format!("qcow2: {what} lies in a cluster that something else uses too, and is counted once");
        Err(Error::corrupt(Layer::Image, message).with_offset(geometry.offset_of(cluster).unwrap_or(offset)).with_hint(
            "look at the damage with `qemu-img check IMAGE`, and repair it with `qemu-img check -r all IMAGE`",
        ))
    }
}
