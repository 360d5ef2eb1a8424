//! The guest's disk: from a guest cluster to its bytes.

use super::cache::{LIMIT, TableCache};
use super::compressed::Inflated;
use super::entry::{Entry, past_table};
use super::geometry::{Geometry, OFFSET_MASK};
use super::header::Header;
use super::layout::read_padded;
use super::mapping::{Mapping, Storage};
use super::pointers;
use super::refcount::Refcounts;
use super::space::Space;
use super::subclusters::State;
use crate::error::{Error, Layer, Result};
use crate::image::{DataFile, Gate, ImageFormat, Short};
use crate::transaction::Overlay;
use std::sync::Arc;

/// The unit of a disk's size to QEMU, in bytes.
const SECTOR: u64 = 512;

/// Bytes of L2 tables that are kept of an image that lies under another one.
const LIMIT_BELOW: usize = 2 << 20;

/// What an image is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image) enum Purpose {
    /// To be read and written to.
    Edit,
    /// To be read by an image over it: what only a writer needs is not held.
    ReadBelow,
}

/// The tables of an open image and what has become of them in this transaction.
///
/// An L1 entry below [`Space::floor`] names a table of the old image, one at or past it a copy that this transaction
/// made; the same holds for L2 entries.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) host: Arc<Overlay>,
    pub(super) header: Header,
    /// What unallocated clusters read as; zeros where there is none.
    pub(super) backing: Option<Arc<dyn ImageFormat>>,
    /// How far was read behind the end of the backing file, in bytes of this disk; 0 where nothing was.
    read_behind: u64,
    /// Where the clusters are; in `host` where there is none.
    pub(super) data: Option<DataFile>,
    pub(super) l1: Vec<u64>,
    pub(super) l2: TableCache,
    pub(super) refcounts: Refcounts,
    pub(super) space: Space,
    pub(super) inflated: Inflated,
    pub(super) phase: Phase,
    pub(super) purpose: Purpose,
}

/// How far the transaction's writes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has been written.
    Clean,
    /// Something has been written into clusters that the external data file had already: the tables are as they were.
    InPlace,
    /// Something has been written, and the tables changed.
    Changed,
    /// A write failed half way: the tables in memory are no longer to be trusted with a commit.
    Failed,
    /// The tables are written; nothing may follow.
    Finished,
}

/// Who wrote an L2 table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is the old image's, and can point only into the old file.
    OldImage,
    /// It is this transaction's copy, whose old entries were checked when it was made.
    Transaction,
}

/// One cluster's part of a range of guest bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The guest cluster.
    pub(super) cluster: u64,
    /// The first byte in it.
    pub(super) start: u64,
    /// Bytes, at least 1, none past the cluster's end.
    pub(super) len: usize,
}

impl Disk {
    /// Reads and checks the header, the L1 table and the refcount table, but no table under them except the refcount
    /// blocks that reach behind the end of the file. Of an image that is only read, it reads the part of the L1 table that
    /// its disk needs, and no refcounts; what that comes to hold, the gate is asked for.
    pub(super) fn open(host: Arc<Overlay>, gate: &dyn Gate, purpose: Purpose) -> Result<Self> {
        let header = Header::read(&host)?;
        let (l1_entries, limit) = match purpose {
            Purpose::Edit => (header.l1_entries, LIMIT),
            Purpose::ReadBelow => (header.l1_needed(), LIMIT_BELOW),
        };
        let l2 = TableCache::new(header.geometry, limit);
        let inflated = Inflated::new(header.geometry, header.compression);
        if purpose == Purpose::ReadBelow {
            let table = pointers::bytes(l1_entries).unwrap_or(u64::MAX);
            let cached = u64::try_from(l2.most().saturating_add(inflated.most())).unwrap_or(u64::MAX);
            gate.hold(table.saturating_add(cached))?;
        }
        let backing = header.backing.as_ref().map(|named| gate.backing(named)).transpose()?;
        let data = header.data_file().map(|named| gate.data_file(&named)).transpose()?;
        let (geometry, layout) = (header.geometry, &header.layout);
        let l1 = pointers::load(&host, "L1 table", layout.l1.start, l1_entries)?;
        layout.check_l1(geometry, &l1)?;
        let refcounts = match purpose {
            Purpose::Edit => {
                let mut refcounts = Refcounts::load(&host, geometry, layout)?;
                if !header.is_dirty() {
                    refcounts.check_tail(&host, layout)?;
                }
                refcounts
            }
            Purpose::ReadBelow => Refcounts::unread(geometry),
        };
        Ok(Self {
            l1,
            l2,
            refcounts,
            space: Space::new(Arc::clone(&host), geometry)?,
            inflated,
            purpose,
            phase: Phase::Clean,
            read_behind: 0,
            header,
            backing,
            data,
            host,
        })
    }

    /// Cuts the range into parts of one cluster each.
    pub(super) fn parts(geometry: Geometry, offset: u64, len: usize) -> impl Iterator<Item = Part> {
        let mut at = offset;
        let mut left = len;
        std::iter::from_fn(move || {
            let start = geometry.within(at);
            let room = usize::try_from(geometry.cluster_size().saturating_sub(start)).unwrap_or(usize::MAX);
            let len = left.min(room);
            let part = Part { cluster: geometry.cluster_of(at), start, len };
            left = left.saturating_sub(len);
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
            (len > 0).then_some(part)
        })
    }

    /// Fills `buf` from the guest's byte `offset`; the range has been checked.
    pub(super) fn read(&mut self, buf: &mut [u8], offset: u64) -> Result<()> {
        let mut rest = buf;
        let mut parts = Self::parts(self.header.geometry, offset, rest.len()).peekable();
        while let Some(part) = parts.next() {
            let mapping = self.lookup(part.cluster)?;
            let mut len = part.len;
            // Standard clusters in a row are read at once.
            if let Mapping::Standard(host) = mapping {
                let mut behind = host.saturating_add(self.header.geometry.cluster_size());
                while let Some(next) = parts.peek() {
                    if self.lookup(next.cluster)? != Mapping::Standard(behind) {
                        break;
                    }
                    len = len.saturating_add(next.len);
                    behind = behind.saturating_add(self.header.geometry.cluster_size());
                    parts.next();
                }
            }
            let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
            self.read_mapped(mapping, self.guest_offset(part), now)?;
            rest = later;
        }
        Ok(())
    }

    /// The guest's byte at which a part begins.
    pub(super) fn guest_offset(&self, part: Part) -> u64 {
        part.cluster.saturating_mul(self.header.geometry.cluster_size()).saturating_add(part.start)
    }

    /// Whether a cluster of this mapping reads as zeros without a look at the host file or the backing file.
    pub(super) fn reads_zero(&self, mapping: Mapping) -> bool {
        match mapping {
            Mapping::Unallocated => self.backing.is_none(),
            Mapping::Mixed { subclusters, .. } => self.backing.is_none() && !subclusters.any_allocated(),
            Mapping::Zero | Mapping::ZeroAllocated(_) => true,
            Mapping::Standard(_) | Mapping::Compressed(_) => false,
        }
    }

    /// Fills `buf` from the backing file, whose end and this disk's own are followed by zeros.
    fn read_backing(&mut self, at: u64, buf: &mut [u8]) -> Result<()> {
        let Some(backing) = &self.backing else {
            buf.fill(0);
            return Ok(());
        };
        let end = backing.size().min(self.header.size);
        let there = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(buf.len());
        let (inside, behind) = buf.split_at_mut(there);
        behind.fill(0);
        if !behind.is_empty() {
            let reached =
                at.saturating_add(u64::try_from(inside.len().saturating_add(behind.len())).unwrap_or(u64::MAX));
            self.read_behind = self.read_behind.max(reached.min(self.header.size));
        }
        if inside.is_empty() { Ok(()) } else { backing.read_at(inside, at) }
    }

    /// The backing file that was too short, or one below it.
    pub(super) fn short(&self) -> Option<Short> {
        let (backing, named) = (self.backing.as_ref()?, self.header.backing.as_ref()?);
        let size = backing.size();
        // QEMU rounds a disk up to sectors: what is behind a file of an odd size is no loss.
        let own = self.read_behind > size.next_multiple_of(SECTOR);
        if own { Some(Short { name: named.name.clone(), size, disk: self.header.size }) } else { backing.short() }
    }

    /// Fills `buf` from the guest's byte `at`, in a cluster with this mapping. Where it is a standard one, `buf` may go
    /// on into the clusters behind it in the host file.
    pub(super) fn read_mapped(&mut self, mapping: Mapping, at: u64, buf: &mut [u8]) -> Result<()> {
        let start = self.header.geometry.within(at);
        match mapping {
            Mapping::Unallocated => self.read_backing(at, buf),
            Mapping::Zero | Mapping::ZeroAllocated(_) => {
                buf.fill(0);
                Ok(())
            }
            Mapping::Standard(host) => match &self.data {
                Some(data) => read_padded(&*data.bytes, buf, host.saturating_add(start)),
                None => read_padded(&*self.host, buf, host.saturating_add(start)),
            },
            Mapping::Mixed { offset, subclusters } => {
                let end = start.saturating_add(u64::try_from(buf.len()).unwrap_or(u64::MAX));
                let mut rest = buf;
                for (state, range) in subclusters.parts(self.header.geometry.cluster_size(), start..end) {
                    let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
                    let (now, later) = std::mem::take(&mut rest).split_at_mut_checked(len).ok_or_else(past_table)?;
                    let part = match state {
                        State::Allocated => Mapping::Standard(offset),
                        State::Zero => Mapping::Zero,
                        State::Unallocated => Mapping::Unallocated,
                    };
                    self.read_mapped(part, at.saturating_add(range.start.saturating_sub(start)), now)?;
                    rest = later;
                }
                Ok(())
            }
            Mapping::Compressed(run) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let range = start..start.saturating_add(buf.len());
                buf.copy_from_slice(self.inflated.read(&self.host, run, range)?);
                Ok(())
            }
        }
    }

    /// Where a guest cluster lies; `Corrupt` where its entry points outside the file or at a fixed part of it.
    pub(super) fn lookup(&mut self, cluster: u64) -> Result<Mapping> {
        let (l1_index, l2_index) = self.header.geometry.l1_l2(cluster);
        let table = self.l1_entry(l1_index)? & OFFSET_MASK;
        if table == 0 {
            return Ok(Mapping::Unallocated);
        }
        let bytes = self.l2.read(&self.host, l1_index, table)?;
        let entry = Entry::get(self.header.geometry, bytes, l2_index)?;
        let owner = if table >= self.space.floor() { Owner::Transaction } else { Owner::OldImage };
        let mapping = self.check_entry(entry, owner)?;
        if self.header.storage() == Storage::DataFile {
            self.check_place(mapping, cluster)?;
        }
        Ok(mapping)
    }

    /// Fails with `Corrupt` unless a cluster lies where it has to in a data file.
    fn check_place(&self, mapping: Mapping, cluster: u64) -> Result<()> {
        let expected = cluster.saturating_mul(self.header.geometry.cluster_size());
        match mapping {
            Mapping::Standard(offset) if offset != expected => Err(elsewhere(offset, expected)),
            Mapping::Mixed { offset, subclusters } if subclusters.any_allocated() && offset != expected => {
                Err(elsewhere(offset, expected))
            }
            _ => Ok(()),
        }
    }

    /// Takes an entry of an L2 table apart and checks what it points at. In a table of this transaction, an offset
    /// past the old end is one of its own clusters.
    pub(super) fn check_entry(&self, entry: Entry, owner: Owner) -> Result<Mapping> {
        let geometry = self.header.geometry;
        let mapping = Mapping::parse(entry, geometry, self.header.version, self.header.storage())?;
        if self.header.storage() == Storage::DataFile {
            return Ok(mapping);
        }
        let (what, offset, len) = match mapping {
            Mapping::Unallocated | Mapping::Zero | Mapping::Mixed { offset: 0, .. } => return Ok(mapping),
            Mapping::Standard(offset) | Mapping::ZeroAllocated(offset) | Mapping::Mixed { offset, .. } => {
                ("a data cluster", offset, geometry.cluster_size())
            }
            Mapping::Compressed(run) => ("a compressed cluster", run.offset, run.len),
        };
        if owner == Owner::Transaction && offset >= self.space.floor() {
            return Ok(mapping);
        }
        self.header.layout.check(geometry, what, offset, len)?;
        Ok(mapping)
    }

    /// An entry of the active L1 table. It is long enough for the disk's size.
    pub(super) fn l1_entry(&self, index: u64) -> Result<u64> {
        usize::try_from(index).ok().and_then(|index| self.l1.get(index)).copied().ok_or_else(past_table)
    }
}

fn elsewhere(offset: u64, expected: u64) -> Error {
    let message =
        format!("qcow2: a cluster of the disk's byte {expected} lies at another one of the external data file");
    Error::corrupt(Layer::Image, message).with_offset(offset)
}
