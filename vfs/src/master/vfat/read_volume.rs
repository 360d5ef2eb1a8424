//! The layout and the chains of a FAT filesystem that is read.

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use crate::block::BlockDevice;
use crate::error::Result;
use crate::fs::fat::layout::{BOOT, Kind, Layout};
use crate::fs::fat::table::{Next, Table};
use crate::master::drive::{self, Extent, corrupt};

/// A filesystem's layout, and the table as far as it has been read.
#[derive(Debug)]
pub(super) struct Volume<'d> {
    device: &'d dyn BlockDevice,
    layout: Layout,
    table: Table,
    /// How many clusters have been found in chains: none is in two.
    used: u32,
}

impl<'d> Volume<'d> {
    /// Understands the boot sector; `None` where it is none of FAT.
    pub(super) fn open(device: &'d dyn BlockDevice) -> Result<Option<Self>> {
        if device.size() < 512 {
            return Ok(None);
        }
        let boot = drive::read(device, 0, BOOT, b"")?;
        let Ok(layout) = Layout::parse(&boot) else { return Ok(None) };
        let size = layout.cluster_at(layout.end);
        if size > device.size() {
            return Err(corrupt(format!("the filesystem has {size} bytes, and the image {}", device.size())));
        }
        let table = Table::new(&layout);
        Ok(Some(Self { device, layout, table, used: 0 }))
    }

    /// Where the parts of the filesystem lie.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn kind(&self) -> Kind {
        self.layout.kind
    }

    /// The clusters of a chain as ranges: those of `size` bytes, or all; more than `most` bytes is an error.
    pub(super) fn chain(&mut self, first: u32, size: Option<u64>, most: u64, path: &[u8]) -> Result<Vec<Extent>> {
        let damaged = |reason: &str| Err(corrupt(format!("its chain of clusters {reason}")).with_guest_path(path));
        let mut extents: Vec<Extent> = Vec::new();
        let mut left = size.unwrap_or(most);
        let mut cluster = first;
        loop {
            if !self.layout.holds(cluster) {
                return damaged("leads out of the filesystem");
            }
            // Each cluster is in one chain, so all chains together have no more than there are.
            self.used = self.used.saturating_add(1);
            if self.used > self.layout.end {
                return damaged("runs in a circle, or into another one");
            }
            let at = self.layout.cluster_at(cluster);
            let len = self.layout.cluster_size.min(left);
            match extents.last_mut() {
                Some(last) if last.at.saturating_add(last.len) == at => last.len = last.len.saturating_add(len),
                _ => extents.push(Extent { at, len }),
            }
            left = left.saturating_sub(len);
            let next = self.table.next(self.device, cluster)?;
            match (left, next, size) {
                // What follows the last byte of a file is nobody's business here.
                (0, _, Some(_)) | (_, Next::End, None) => return Ok(extents),
                (0, Next::Cluster(_), None) => return damaged("is too long"),
                (_, Next::Cluster(next), _) => cluster = next,
                (_, Next::End, Some(_)) => return damaged("ends before the file does"),
                (_, Next::Free | Next::Bad | Next::Outside, _) => {
                    return damaged("leads to a cluster that is free or bad");
                }
            }
        }
    }
}
