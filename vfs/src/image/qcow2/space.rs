//! New clusters, always behind the end of the old file.

use super::geometry::Geometry;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::transaction::Overlay;
use std::sync::Arc;

/// Hands out clusters that the old image cannot reach: those behind the end of the file as it was opened.
///
/// A free cluster inside the old file is never taken. The old image does not reach it either, but then nobody could check
/// that a commit writes nothing below the old end of the file except the header's sector, and the transaction does.
#[derive(Debug)]
pub(super) struct Space {
    host: Arc<Overlay>,
    geometry: Geometry,
    floor: u64,
    next: u64,
}

impl Space {
    /// Nothing handed out yet; `NoSpace` where the file is too large for another cluster.
    pub(super) fn new(host: Arc<Overlay>, geometry: Geometry) -> Result<Self> {
        let next = geometry.clusters_for(host.size().max(host.base_size()));
        let floor = geometry.offset_of(next).ok_or_else(too_large)?;
        Ok(Self { host, geometry, floor, next })
    }

    /// The first byte that can be handed out: a cluster at or past it is this transaction's own, one below is the old
    /// image's.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The index of the cluster that is handed out next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first byte of `clusters` new clusters in a row, which read as zeros; their refcounts are for the caller to
    /// raise. `NoSpace` past 2^56 bytes.
    pub(super) fn allocate(&mut self, clusters: u64) -> Result<u64> {
        let first = self.geometry.offset_of(self.next).ok_or_else(too_large)?;
        let next = self.next.checked_add(clusters).ok_or_else(too_large)?;
        self.host.grow(self.geometry.offset_of(next).ok_or_else(too_large)?)?;
        self.next = next;
        Ok(first)
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::NoSpace, Layer::Image, "qcow2: the file would grow past 2^56 bytes")
}
