//! qcow2, versions 2 and 3 (QEMU's docs/interop/qcow2.rst).
//!
//! # Reading
//! Standard, zero, preallocated, unallocated and compressed clusters (zlib or zstd) of 512 bytes to 2 MiB, and
//! clusters with subclusters (extended L2 entries). What is not supported (encryption, unknown features; other files,
//! unless the caller allows them) is refused by name when the image is opened. Tables are read as they are needed.
//!
//! # Writing
//! Shadow paging, without a write to anything that the old image reaches. The first write to a guest cluster puts it
//! into a new host cluster; changed L2 tables and refcount blocks move to new clusters too, and at the end so do the L1
//! table and the refcount table. [`ImageFormat::finish`] then changes their places in the header: all of them are in
//! the file's first 512 bytes, so that one sector write switches from the old image to the new one. New clusters are
//! always taken from behind the end of the file as it was opened, never from free ones inside it: so the transaction
//! can check, without knowing the format, that a commit touches nothing below the old end except that sector.
//!
//! Internal snapshots keep their tables and clusters; what only the old active tables used is freed in the new
//! refcounts. The freed clusters stay in the file, for QEMU to use again, and their room is given back to the host once
//! the commit is durable.
//!
//! Where the guest's clusters are in an external data file, they are written in their places there, through the data
//! file's own transaction, and only the image's tables are shadowed: a cluster that is not mapped yet is mapped over what
//! the guest reads there.
//!
//! An image that is marked dirty gets its refcounts counted anew with the first change. One that is marked corrupt is
//! only read.
//!
//! # Memory
//! The L1 table (32 MiB at most, 8 bytes for 512 MiB of disk with the usual clusters) and the refcount table (8 MiB at
//! most) are held; L2 tables, refcount blocks (4 MiB each, or two tables where those are larger) and inflated clusters
//! (1 MiB, or one cluster) are cached. Of an image under another one no refcounts are held, of its L1 table what its disk
//! needs, and 2 MiB of L2 tables; all images of a chain have one budget for that. Changed tables that leave a cache wait in the overlay. Counting refcounts anew
//! takes 5 bytes for a cluster of the file (40 MiB at most), and 24 for an L2 table (48 MiB at most).

#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "images come from strangers"
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing))]

mod bitmap;
mod cache;
mod census;
mod compressed;
pub(super) mod create;
mod deflate;
mod disk;
mod entry;
mod extension;
mod feature;
mod freed;
mod geometry;
mod header;
mod layout;
mod mapping;
mod pointers;
mod refcount;
mod shadow;
mod space;
mod subclusters;
mod survey;
mod width;
mod zstd;

pub(super) use disk::Purpose;
pub(super) use header::MAGIC;
pub(super) use survey::survey;

use super::{Closed, Format, Gate, ImageFormat, Named, Short};
use crate::block::{BlockDevice, check_range};
use crate::error::{Layer, Result};
use crate::transaction::{CommitPlan, Overlay};
use disk::Disk;
use mapping::Version;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The external data file that the image in `host` names, where it has one; the errors are those of opening the image.
pub(super) fn data_file(host: &Overlay) -> Result<Option<Named>> {
    Ok(header::Header::read(host)?.data_file())
}

/// An open qcow2 image.
#[derive(Debug)]
pub struct Qcow2 {
    size: u64,
    facts: Vec<(&'static str, String)>,
    /// As it was opened.
    closing: Closing,
    disk: Mutex<Disk>,
}

/// Whether the last one who wrote to an image closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Closed,
    LeftOpen,
}

impl Qcow2 {
    /// Opens the image in `host`.
    ///
    /// `Corrupt` where the header, the L1 table or the refcount table contradict the format or the file's length (a
    /// truncated image); `Unsupported`, with what helps as the hint, where the image needs something that is missing
    /// here.
    ///
    /// An image with a backing file is refused; [`image::open_chain`](crate::image::open_chain) opens one.
    pub fn open(host: Arc<Overlay>) -> Result<Self> {
        Self::open_through(host, &Closed, Purpose::Edit)
    }

    /// Opens the image in `host`; the gate decides about the other files that it names.
    pub(in crate::image) fn open_through(host: Arc<Overlay>, gate: &dyn Gate, purpose: Purpose) -> Result<Self> {
        let disk = Disk::open(host, gate, purpose)?;
        let header = &disk.header;
        let features = header.features.describe(&header.extensions.names);
        let mut facts = vec![
            (
                "version",
                match header.version {
                    Version::V2 => "2".to_owned(),
                    Version::V3 => "3".to_owned(),
                },
            ),
            ("cluster-size", header.geometry.cluster_size().to_string()),
            ("refcount-bits", 1u32.checked_shl(header.geometry.refcount_order()).unwrap_or(0).to_string()),
            ("virtual-size", header.size.to_string()),
            ("file-size", header.layout.end.to_string()),
            ("snapshots", header.snapshots.to_string()),
            ("compression", header.compression.name().to_owned()),
        ];
        if let Some(Named { name, format }) = &header.backing {
            facts.push(("backing-file", name.escape_ascii().to_string()));
            let format = format.as_ref().map_or_else(|| "not recorded".to_owned(), |it| it.escape_ascii().to_string());
            facts.push(("backing-format", format));
        }
        if let Some(Named { name, .. }) = header.data_file() {
            facts.push(("data-file", name.escape_ascii().to_string()));
        }
        if let Some(bitmaps) = header.extensions.bitmaps {
            let state = if header.consistent_bitmaps().is_some() { "" } else { " (stale)" };
            facts.push(("bitmaps", format!("{}{state}", bitmaps.count)));
        }
        if !features.is_empty() {
            facts.push(("features", features));
        }
        let closing = if header.is_dirty() { Closing::LeftOpen } else { Closing::Closed };
        Ok(Self { size: header.size, facts, closing, disk: Mutex::new(disk) })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockDevice for Qcow2 {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Image, self.size, offset, buf.len())?;
        self.disk().read(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(Layer::Image, self.size, offset, buf.len())?;
        self.disk().write(buf, offset)
    }

    /// Data is always handed down at once; the tables follow in [`ImageFormat::finish`].
    fn flush(&self) -> Result<()> {
        self.disk().host.flush()
    }
}

impl ImageFormat for Qcow2 {
    fn format(&self) -> Format {
        Format::Qcow2
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = self.facts.clone();
        if self.closing == Closing::LeftOpen && !self.disk().header.is_dirty() {
            facts.push(("refcounts", "counted anew".to_owned()));
        }
        facts
    }

    fn other_files(&self) -> Vec<Named> {
        let header = &self.disk().header;
        header.backing.clone().into_iter().chain(header.data_file()).collect()
    }

    fn short(&self) -> Option<Short> {
        self.disk().short()
    }

    fn finish(&self) -> Result<CommitPlan> {
        let mut disk = self.disk();
        disk.finish()?;
        Ok(CommitPlan::Switch { sector: 0, freed: disk.refcounts.freed() })
    }
}
