//! Writes as shadow paging: everything that changes goes to new clusters, and the header switches to them.

use super::disk::{Disk, Owner, Part, Phase, Purpose};
use super::entry::{Entry, past_table};
use super::geometry::{COPIED, OFFSET_MASK};
use super::header::{self, Places};
use super::mapping::Mapping;
use super::pointers;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::image::DataFile;

impl Disk {
    /// Writes `buf` at the guest's byte `offset`; the range has been checked.
    pub(super) fn write(&mut self, buf: &[u8], offset: u64) -> Result<()> {
        match self.phase {
            Phase::Clean => self.refuse_writes().inspect_err(|_| self.phase = Phase::Failed)?,
            Phase::InPlace | Phase::Changed => {}
            Phase::Failed => return Err(failed()),
            Phase::Finished => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    Layer::Image,
                    "qcow2: a write after the image was finished",
                ));
            }
        }
        let mut rest = buf;
        for part in Self::parts(self.header.geometry, offset, buf.len()) {
            let (now, later) = rest.split_at_checked(part.len).ok_or_else(past_table)?;
            // A failure in the middle leaves tables that do not fit together: nothing may be committed after it.
            if let Err(error) = self.write_part(part, now) {
                self.phase = Phase::Failed;
                return Err(error);
            }
            rest = later;
        }
        Ok(())
    }

    fn refuse_writes(&self) -> Result<()> {
        self.header.refuse_writes()?;
        if self.purpose == Purpose::ReadBelow {
            let message = "qcow2: an image under another one is only read";
            return Err(Error::new(ErrorKind::Invalid, Layer::Image, message));
        }
        match &self.data {
            Some(data) => self.header.refuse_data_file(data),
            None => Ok(()),
        }
    }

    fn write_part(&mut self, part: Part, data: &[u8]) -> Result<()> {
        let old = self.lookup(part.cluster)?;
        if let Some(file) = self.data.clone() {
            return self.write_in_place(&file, part, old, data);
        }
        if let Mapping::Standard(offset) = old
            && offset >= self.space.floor()
        {
            return self.host.write_at(data, offset.saturating_add(part.start));
        }
        if self.reads_zero(old) && is_zero(data) {
            return Ok(());
        }
        // Not before something changes: a run that changes nothing leaves the image as it is, dirty or not.
        if self.header.is_dirty() {
            self.rebuild_refcounts()?;
        }
        self.phase = Phase::Changed;
        let (l1_index, l2_index) = self.header.geometry.l1_l2(part.cluster);
        let table = self.own_l2(l1_index)?;
        let new = self.space.allocate(1)?;
        if self.reads_zero(old) || self.covers(part) {
            // The new cluster reads as zeros around what is written.
            self.host.write_at(data, new.saturating_add(part.start))?;
        } else {
            let mut cluster = vec![0; self.header.geometry.cluster_len()];
            self.read_mapped(old, self.guest_offset(Part { start: 0, ..part }), &mut cluster)?;
            let start = usize::try_from(part.start).unwrap_or(usize::MAX);
            let place = cluster.get_mut(start..start.saturating_add(data.len())).ok_or_else(past_table)?;
            place.copy_from_slice(data);
            self.host.write_at(&cluster, new)?;
        }
        let bytes = self.l2.change(&self.host, l1_index, table)?;
        Entry::own(new).put(self.header.geometry, bytes, l2_index)?;
        self.refcounts.take(new, 1);
        self.release(old);
        self.refcounts.settle(&self.host, &mut self.space)
    }

    /// Writes a part into its place in the external data file, and maps its cluster where it is not mapped.
    ///
    /// The new mapping leads to bytes that read as the old one does, so that it can be there before what is written is.
    fn write_in_place(&mut self, file: &DataFile, part: Part, old: Mapping, data: &[u8]) -> Result<()> {
        let at = self.guest_offset(part);
        if let Mapping::Standard(_) = old {
            if self.phase == Phase::Clean {
                // Autoclear bits of others have to go.
                self.phase = if self.header.keeps_autoclear() { Phase::InPlace } else { Phase::Changed };
            }
            return file.bytes.write_at(data, at);
        }
        if self.reads_zero(old) && is_zero(data) {
            return Ok(());
        }
        self.phase = Phase::Changed;
        let (l1_index, l2_index) = self.header.geometry.l1_l2(part.cluster);
        let table = self.own_l2(l1_index)?;
        let place = self.guest_offset(Part { start: 0, ..part });
        // The file may end inside the disk's last cluster.
        let there = file.bytes.size().saturating_sub(place).min(self.header.geometry.cluster_size());
        let mut cluster = vec![0; usize::try_from(there).unwrap_or(usize::MAX)];
        self.read_mapped(old, place, &mut cluster)?;
        if self.header.data_is_raw() && !file.holds(&cluster, place)? {
            return Err(out_of_step(place));
        }
        file.prepare(&cluster, place)?;
        let start = usize::try_from(part.start).unwrap_or(usize::MAX);
        cluster.get_mut(start..start.saturating_add(data.len())).ok_or_else(past_table)?.copy_from_slice(data);
        file.bytes.write_at(&cluster, place)?;
        let bytes = self.l2.change(&self.host, l1_index, table)?;
        Entry::own(place).put(self.header.geometry, bytes, l2_index)
    }

    /// Whether a part replaces all of its cluster that the guest can see.
    fn covers(&self, part: Part) -> bool {
        let cluster = self.header.geometry.cluster_size();
        let seen = self.header.size.saturating_sub(part.cluster.saturating_mul(cluster)).min(cluster);
        part.start == 0 && u64::try_from(part.len).unwrap_or(0) >= seen
    }

    /// Counts one use less of what a mapping pointed at. A cluster that a snapshot shares keeps the snapshot's use.
    fn release(&mut self, old: Mapping) {
        match old {
            Mapping::Unallocated | Mapping::Zero | Mapping::Mixed { offset: 0, .. } => {}
            Mapping::Standard(offset) | Mapping::ZeroAllocated(offset) | Mapping::Mixed { offset, .. } => {
                self.refcounts.release(offset, 1)
            }
            // Compressed clusters share host clusters, and each of them counts in every one that it touches.
            Mapping::Compressed(run) => self.refcounts.release(run.offset, run.len),
        }
    }

    /// The place of this transaction's own copy of an L2 table, made now if need be; every entry of the old table is
    /// checked for it.
    ///
    /// The copy points where the old table points. If that was the old table's only use, its references are the copy's
    /// now; if a snapshot shares the table, the clusters under it are already counted once for each.
    fn own_l2(&mut self, l1_index: u64) -> Result<u64> {
        let geometry = self.header.geometry;
        let old = self.l1_entry(l1_index)? & OFFSET_MASK;
        if old >= self.space.floor() {
            return Ok(old);
        }
        if old != 0 {
            self.check_table(l1_index, old)?;
        }
        let new = self.space.allocate(1)?;
        if old == 0 {
            self.l2.create(&self.host, l1_index, new)?;
        } else {
            self.l2.relocate(&self.host, l1_index, old, new)?;
            self.refcounts.release(old, geometry.cluster_size());
        }
        let entry = usize::try_from(l1_index).ok().and_then(|index| self.l1.get_mut(index));
        *entry.ok_or_else(past_table)? = new | COPIED;
        self.refcounts.take(new, 1);
        self.refcounts.settle(&self.host, &mut self.space)?;
        Ok(new)
    }

    fn check_table(&mut self, l1_index: u64, offset: u64) -> Result<()> {
        let entries = self.l2.read(&self.host, l1_index, offset)?.to_vec();
        for entry in Entry::all(self.header.geometry, &entries) {
            self.check_entry(entry, Owner::OldImage)?;
        }
        Ok(())
    }

    /// Writes the tables to new clusters and, last, the header's sector. Nothing where nothing was changed.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self.phase {
            Phase::Clean | Phase::InPlace | Phase::Finished => {}
            Phase::Failed => return Err(failed()),
            Phase::Changed => {
                // Failed unless all of it succeeds.
                self.phase = Phase::Failed;
                self.write_tables()?;
            }
        }
        self.phase = Phase::Finished;
        Ok(())
    }

    fn write_tables(&mut self) -> Result<()> {
        let geometry = self.header.geometry;
        self.l2.write_back(&self.host)?;
        let old_l1 = self.header.layout.l1.clone();
        let len = old_l1.end.saturating_sub(old_l1.start);
        let clusters = geometry.clusters_for(len);
        let l1 = self.space.allocate(clusters)?;
        pointers::store(&self.host, l1, &self.l1)?;
        self.refcounts.take(l1, clusters);
        self.refcounts.release(old_l1.start, len);
        self.refcounts.settle(&self.host, &mut self.space)?;
        let bitmaps = self.mark_bitmaps()?;
        let (refcount_table, refcount_clusters) =
            self.refcounts.write_table(&self.host, &mut self.space, &self.header.layout)?;
        self.check_freed(bitmaps)?;
        let new = Places { l1, refcount_table, refcount_clusters, bitmaps };
        header::switch(&self.host, &self.header, new)
    }
}

/// The error for a data file that is not the disk that the image says it is: another image, a newer one say, has written
/// to it.
fn out_of_step(at: u64) -> Error {
    let message =
        "qcow2: the external data file is to be the raw disk, and holds something else than the image has there";
    Error::corrupt(Layer::Image, message).with_offset(at).with_hint(
        "an older copy of the image over the same data file? `qemu-img compare -f qcow2 -F raw IMAGE FILE` shows where they \
         differ, and `qemu-img convert` makes an image of the one that is right",
    )
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|byte| *byte == 0)
}

fn failed() -> Error {
    Error::new(ErrorKind::Invalid, Layer::Image, "qcow2: an earlier write failed, and the image cannot be committed")
}
