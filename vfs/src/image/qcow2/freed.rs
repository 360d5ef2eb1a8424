//! What a commit frees, held against what the new image uses.
//!
//! Two entries that name one cluster, of which its refcount knows one, are damage or malice: the first one that is written
//! frees the cluster, and the other one leads to what is free, and given back to the host. So such an image is refused where
//! it can be seen at little cost: in all metadata that the new image has, and in every L2 table that the transaction has
//! changed. A cluster of data that an L2 table names which the transaction did not touch is not looked for; there QEMU too
//! goes by the refcounts.

use super::census;
use super::disk::Disk;
use super::entry::Entry;
use super::geometry::OFFSET_MASK;
use super::mapping::{Mapping, Storage};
use super::refcount::Freed;
use crate::error::{Error, Layer, Result};

impl Disk {
    /// Fails with `Corrupt` where the new image uses a cluster that the transaction has freed.
    pub(super) fn check_freed(&mut self) -> Result<()> {
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
        let end = census::each_snapshot(self, &mut |l1, len| self.in_use(&freed, "a snapshot's L1 table", l1, len))?;
        self.in_use(&freed, "the snapshot table", self.header.snapshot_table, end)?;
        if self.header.storage() == Storage::DataFile {
            return Ok(());
        }
        for (index, table) in (0..).zip(tables).filter(|(_, table)| *table >= self.space.floor()) {
            let bytes = self.l2.read(&self.host, index, table)?.to_vec();
            self.check_entries(&freed, &bytes)?;
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
