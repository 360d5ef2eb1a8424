//! Persistent dirty bitmaps: which parts of the disk were written since a backup tool looked last.
//!
//! A bitmap that is enabled has to know of every write, or the next incremental backup misses it. So the bits of what
//! this transaction wrote are set: in copies of the bitmap's clusters, its table and the directory, which the header
//! switches to with everything else. A cluster of which a byte was written counts as written.

use super::disk::Disk;
use super::entry::Entry;
use super::extension::Bitmaps;
use super::geometry::{ENTRY, Geometry, OFFSET_MASK};
use super::layout::read_padded;
use super::mapping::{Mapping, Storage};
use super::pointers;
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};

/// The longest directory that is taken, in bytes; QEMU's limit is 1 KiB for each of 65,535 bitmaps.
const DIRECTORY_LIMIT: u64 = 4 << 20;
/// The tables of all enabled bitmaps together, in bytes. One of a 64 TiB disk in pieces of 64 KiB takes 16 KiB, and
/// counts as [`TABLE_LEAST`], which limits their number too.
const TABLES_LIMIT: u64 = 64 << 20;
const TABLE_LEAST: u64 = 64 << 10;
/// A directory entry without its name and extra data.
const HEAD: usize = 24;

const IN_USE: u32 = 1;
const ENABLED: u32 = 2;
const EXTRA_COMPATIBLE: u32 = 4;
const DIRTY_TRACKING: u8 = 1;
/// An entry of a bitmap's table whose cluster reads as ones, and is not there.
const ALL_ONES: u64 = 1;

/// One bitmap, as the directory describes it.
struct Bitmap {
    table: u64,
    entries: u32,
    flags: u32,
    kind: u8,
    granularity_bits: u32,
    extra: usize,
    len: usize,
    name: String,
}

impl Bitmap {
    /// The bitmap whose entry is the first in `bytes`.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let number = |at: usize, len: usize| {
            let part = bytes.get(at..at.saturating_add(len)).unwrap_or_default();
            part.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte))
        };
        let small = |at, len| u32::try_from(number(at, len)).unwrap_or(u32::MAX);
        let (name_len, extra) = (usize::from_be_bytes(number(18, 2).to_be_bytes()), number(20, 4));
        let extra = usize::try_from(extra).unwrap_or(usize::MAX);
        let name_at = HEAD.saturating_add(extra);
        let len = name_at.saturating_add(name_len).checked_next_multiple_of(8).unwrap_or(usize::MAX);
        let name = bytes.get(name_at..name_at.saturating_add(name_len));
        let (Some(name), true) = (name, len <= bytes.len()) else {
            return Err(bad("the directory", "an entry does not fit into it"));
        };
        Ok(Self {
            table: number(0, 8),
            entries: small(8, 4),
            flags: small(12, 4),
            kind: u8::try_from(number(16, 1)).unwrap_or(0),
            granularity_bits: small(17, 1),
            extra,
            len,
            name: name.escape_ascii().to_string(),
        })
    }

    /// Whether it has to know of a write; `Unsupported` where nobody could say what it means. One that was in use when
    /// a program died is no good any more, and stays so.
    fn follows_writes(&self) -> Result<bool> {
        if self.flags & (IN_USE | ENABLED) != ENABLED {
            return Ok(false);
        }
        if self.flags & !(ENABLED | EXTRA_COMPATIBLE) != 0
            || self.kind != DIRTY_TRACKING
            || (self.extra > 0 && self.flags & EXTRA_COMPATIBLE == 0)
        {
            let message =
                format!("qcow2: the bitmap \"{}\" is of an unknown kind, and a write would make it stale", self.name);
            return Err(Error::unsupported(Layer::Image, message)
                .with_hint("remove it with `qemu-img bitmap --remove IMAGE NAME`"));
        }
        Ok(true)
    }

    /// The length of its table in bytes.
    fn table_len(&self) -> u64 {
        u64::from(self.entries).saturating_mul(u64::try_from(ENTRY).unwrap_or(u64::MAX))
    }

    /// The entries that its table must have for a disk of `size` bytes.
    fn entries_for(&self, size: u64, geometry: Geometry) -> Option<u64> {
        let granule = 1u64.checked_shl(self.granularity_bits)?;
        Some(geometry.clusters_for(size.div_ceil(granule).div_ceil(8)))
    }
}

/// The cluster of a bitmap's data whose bits are being set.
struct Piece {
    index: usize,
    bytes: Vec<u8>,
    changed: Changed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    No,
    Yes,
}

impl Disk {
    /// Sets the bits of what was written in every enabled bitmap; gives the place of the new directory, or `None` where
    /// nothing had to be set.
    pub(super) fn mark_bitmaps(&mut self) -> Result<Option<u64>> {
        let Some(Bitmaps { count, directory, len, .. }) = self.header.consistent_bitmaps() else { return Ok(None) };
        let geometry = self.header.geometry;
        let mut bytes = self.bitmap_directory(directory, len)?;
        let written = self.own_tables();
        let mut changed = Changed::No;
        let mut budget = TABLES_LIMIT;
        let mut at = 0usize;
        for _ in 0..count {
            let bitmap = Bitmap::parse(bytes.get(at..).unwrap_or_default())?;
            if bitmap.follows_writes()?
                && let Some(table) = self.mark(&bitmap, &written, &mut budget)?
            {
                let place = bytes.get_mut(at..at.saturating_add(ENTRY)).unwrap_or_default();
                place.copy_from_slice(&table.to_be_bytes());
                changed = Changed::Yes;
            }
            at = at.saturating_add(bitmap.len);
        }
        if changed == Changed::No {
            return Ok(None);
        }
        let clusters = geometry.clusters_for(len);
        let new = self.space.allocate(clusters)?;
        self.host.write_at(&bytes, new)?;
        self.refcounts.take(new, clusters);
        self.refcounts.release(directory, len);
        self.refcounts.settle(&self.host, &mut self.space)?;
        Ok(Some(new))
    }

    fn bitmap_directory(&self, directory: u64, len: u64) -> Result<Vec<u8>> {
        let geometry = self.header.geometry;
        if !geometry.is_aligned(directory) || directory & !OFFSET_MASK != 0 || len > DIRECTORY_LIMIT {
            return Err(bad("the directory", format!("{len} bytes at byte {directory} cannot be")));
        }
        self.header.layout.check(geometry, "the bitmap directory", directory, len)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        read_padded(&*self.host, &mut bytes, directory)?;
        Ok(bytes)
    }

    /// Tells `each` the place and the length of everything that the bitmaps of the old image take: the directory, the
    /// tables and their clusters. `Unsupported` where there are bitmaps that are not to be believed.
    pub(super) fn each_bitmap_range(&self, each: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let Some(Bitmaps { count, directory, len, .. }) = self.header.extensions.bitmaps else { return Ok(()) };
        if self.header.consistent_bitmaps().is_none() {
            let message = "qcow2: the image is marked dirty, and has bitmaps that are stale";
            return Err(
                Error::unsupported(Layer::Image, message).with_hint("repair it with `qemu-img check -r all IMAGE`")
            );
        }
        let geometry = self.header.geometry;
        let bytes = self.bitmap_directory(directory, len)?;
        each(directory, len)?;
        let mut at = 0usize;
        let mut budget = TABLES_LIMIT;
        for _ in 0..count {
            let bitmap = Bitmap::parse(bytes.get(at..).unwrap_or_default())?;
            at = at.saturating_add(bitmap.len);
            let table = self.bitmap_table(&bitmap, &mut budget)?;
            each(bitmap.table, bitmap.table_len())?;
            for offset in table.iter().map(|entry| entry & OFFSET_MASK).filter(|offset| *offset != 0) {
                self.header.layout.check(geometry, "a cluster of a bitmap", offset, geometry.cluster_size())?;
                each(offset, 1)?;
            }
        }
        Ok(())
    }

    fn bitmap_table(&self, bitmap: &Bitmap, budget: &mut u64) -> Result<Vec<u64>> {
        let geometry = self.header.geometry;
        let len = bitmap.table_len();
        *budget = budget.checked_sub(len.max(TABLE_LEAST)).ok_or_else(|| {
            Error::unsupported(
                Layer::Image,
                "qcow2: there are more than 1,024 bitmaps, or their tables take more than 64 MiB",
            )
            .with_hint("remove bitmaps with `qemu-img bitmap --remove IMAGE NAME`")
        })?;
        if !geometry.is_aligned(bitmap.table) || bitmap.table & !OFFSET_MASK != 0 {
            return Err(bad(&format!("\"{}\"", bitmap.name), "its table lies on no cluster"));
        }
        self.header.layout.check(geometry, "the table of a bitmap", bitmap.table, len)?;
        let count = usize::try_from(bitmap.entries).unwrap_or(usize::MAX);
        pointers::load(&self.host, "table of a bitmap", bitmap.table, count)
    }

    /// Sets the bits of one bitmap for what was written under these L1 entries; gives the place of its new table, or `None` where all of them were set.
    fn mark(&mut self, bitmap: &Bitmap, written: &[u64], budget: &mut u64) -> Result<Option<u64>> {
        let geometry = self.header.geometry;
        let what = format!("\"{}\"", bitmap.name);
        let entries = u64::from(bitmap.entries);
        if !(9..=31).contains(&bitmap.granularity_bits)
            || bitmap.entries_for(self.header.size, geometry) != Some(entries)
        {
            return Err(bad(&what, "its table does not fit the disk"));
        }
        let mut table = self.bitmap_table(bitmap, budget)?;
        let table_len = bitmap.table_len();
        let old = table.clone();
        let mut piece: Option<Piece> = None;
        for &l1_index in written {
            for cluster in self.written_under(l1_index)? {
                self.mark_cluster(bitmap, cluster, &mut table, &mut piece)?;
            }
        }
        self.put_piece(piece, &mut table)?;
        if table == old {
            return Ok(None);
        }
        let clusters = geometry.clusters_for(table_len);
        let new = self.space.allocate(clusters)?;
        pointers::store(&self.host, new, &table)?;
        self.refcounts.take(new, clusters);
        self.refcounts.release(bitmap.table, table_len);
        self.refcounts.settle(&self.host, &mut self.space)?;
        Ok(Some(new))
    }

    /// The indices of the L1 entries whose tables this transaction made. What other tables name is old.
    fn own_tables(&self) -> Vec<u64> {
        let own = (0..).zip(&self.l1).filter(|(_, entry)| **entry & OFFSET_MASK >= self.space.floor());
        own.map(|(index, _)| index).collect()
    }

    /// The guest clusters under an L1 entry that this transaction wrote, ascending.
    fn written_under(&mut self, l1_index: u64) -> Result<Vec<u64>> {
        let (geometry, version, floor) = (self.header.geometry, self.header.version, self.space.floor());
        let table = self.l1_entry(l1_index)? & OFFSET_MASK;
        let first = geometry.first_under(l1_index);
        let mut written = Vec::new();
        for (cluster, entry) in (first..).zip(Entry::all(geometry, self.l2.read(&self.host, l1_index, table)?)) {
            if let Mapping::Standard(offset) = Mapping::parse(entry, geometry, version, Storage::Image)?
                && offset >= floor
            {
                written.push(cluster);
            }
        }
        Ok(written)
    }

    fn mark_cluster(
        &mut self,
        bitmap: &Bitmap,
        cluster: u64,
        table: &mut [u64],
        piece: &mut Option<Piece>,
    ) -> Result<()> {
        let geometry = self.header.geometry;
        let start = cluster.saturating_mul(geometry.cluster_size());
        let end = start.saturating_add(geometry.cluster_size()).min(self.header.size);
        let granule = |byte: u64| byte.checked_shr(bitmap.granularity_bits).unwrap_or(0);
        for bit in granule(start)..=granule(end.saturating_sub(1)) {
            let byte = bit >> 3;
            let index = usize::try_from(geometry.cluster_of(byte)).unwrap_or(usize::MAX);
            if piece.as_ref().is_none_or(|piece| piece.index != index) {
                self.put_piece(piece.take(), table)?;
                *piece = Some(self.get_piece(index, table)?);
            }
            let within = usize::try_from(geometry.within(byte)).unwrap_or(usize::MAX);
            let mask = 1u8.checked_shl(u32::try_from(bit & 7).unwrap_or(0)).unwrap_or(0);
            if let Some(piece) = piece
                && let Some(bits) = piece.bytes.get_mut(within)
                && *bits & mask == 0
            {
                *bits |= mask;
                piece.changed = Changed::Yes;
            }
        }
        Ok(())
    }

    fn get_piece(&self, index: usize, table: &[u64]) -> Result<Piece> {
        let geometry = self.header.geometry;
        let entry = table.get(index).copied().ok_or_else(|| bad("a table", "it ends before the disk"))?;
        let offset = entry & OFFSET_MASK;
        let mut bytes = vec![if entry == ALL_ONES { 0xff } else { 0 }; geometry.cluster_len()];
        if offset != 0 {
            if entry != offset || !geometry.is_aligned(offset) {
                return Err(bad("a table", format!("its entry {entry:#018x} has reserved bits")));
            }
            self.header.layout.check(geometry, "a cluster of a bitmap", offset, geometry.cluster_size())?;
            read_padded(&*self.host, &mut bytes, offset)?;
        } else if entry > ALL_ONES {
            return Err(bad("a table", format!("its entry {entry:#018x} has reserved bits")));
        }
        Ok(Piece { index, bytes, changed: Changed::No })
    }

    fn put_piece(&mut self, piece: Option<Piece>, table: &mut [u64]) -> Result<()> {
        let Some(Piece { index, bytes, changed: Changed::Yes }) = piece else { return Ok(()) };
        let Some(entry) = table.get_mut(index) else { return Ok(()) };
        let new = self.space.allocate(1)?;
        self.host.write_at(&bytes, new)?;
        self.refcounts.take(new, 1);
        if *entry & OFFSET_MASK != 0 {
            self.refcounts.release(*entry & OFFSET_MASK, 1);
        }
        *entry = new;
        self.refcounts.settle(&self.host, &mut self.space)
    }
}

/// The place and the length in bytes of the table of the bitmap whose entry is the first in these bytes of a directory, and
/// the entries behind it.
pub(super) fn first_table(bytes: &[u8]) -> Result<((u64, u64), &[u8])> {
    let bitmap = Bitmap::parse(bytes)?;
    Ok(((bitmap.table, bitmap.table_len()), bytes.get(bitmap.len..).unwrap_or_default()))
}

fn bad(what: &str, why: impl std::fmt::Display) -> Error {
    Error::corrupt(Layer::Image, format!("qcow2 bitmaps: {what}: {why}"))
        .with_hint("look at them with `qemu-img info IMAGE`, remove each with `qemu-img bitmap --remove IMAGE NAME`")
}
