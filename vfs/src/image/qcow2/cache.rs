//! A bounded cache of tables one cluster long (L2 tables, refcount blocks).

use super::geometry::Geometry;
use super::layout::read_padded;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::transaction::Overlay;
use std::collections::{BTreeMap, HashMap};

/// Bytes of tables that one cache keeps; two tables at least, whatever their size (at most 2 MiB each).
pub(super) const LIMIT: usize = 4 << 20;

/// Tables by their index in the table above, the least recently used evicted first.
///
/// A changed table is written to its place when it is evicted, so the place of a changed table must be one of this
/// transaction's own clusters.
#[derive(Debug)]
pub(super) struct TableCache {
    table_len: usize,
    capacity: usize,
    tables: HashMap<u64, Table>,
    recency: BTreeMap<u64, u64>,
    clock: u64,
}

#[derive(Debug)]
struct Table {
    bytes: Vec<u8>,
    offset: u64,
    state: State,
    used: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Clean,
    Changed,
}

impl TableCache {
    /// An empty cache of `limit` bytes, or two tables.
    pub(super) fn new(geometry: Geometry, limit: usize) -> Self {
        let table_len = geometry.cluster_len();
        Self {
            table_len,
            capacity: limit.checked_div(table_len).unwrap_or(0).max(2),
            tables: HashMap::new(),
            recency: BTreeMap::new(),
            clock: 0,
        }
    }

    /// The most bytes that it comes to hold.
    pub(super) fn most(&self) -> usize {
        self.capacity.saturating_mul(self.table_len)
    }

    /// The table `key`, read from byte `offset` of `host` unless it is here.
    pub(super) fn read(&mut self, host: &Overlay, key: u64, offset: u64) -> Result<&[u8]> {
        Ok(&self.load(host, key, offset)?.bytes)
    }

    /// The table `key`, to be changed in its place at byte `offset`.
    pub(super) fn change(&mut self, host: &Overlay, key: u64, offset: u64) -> Result<&mut [u8]> {
        let table = self.load(host, key, offset)?;
        table.state = State::Changed;
        Ok(&mut table.bytes)
    }

    /// Gives the table `key`, now at byte `from`, its new place at byte `to`.
    pub(super) fn relocate(&mut self, host: &Overlay, key: u64, from: u64, to: u64) -> Result<()> {
        let table = self.load(host, key, from)?;
        table.offset = to;
        table.state = State::Changed;
        Ok(())
    }

    /// Adds a table of zeros whose place is at byte `offset`.
    pub(super) fn create(&mut self, host: &Overlay, key: u64, offset: u64) -> Result<()> {
        let bytes = vec![0; self.table_len];
        self.insert(host, key, Table { bytes, offset, state: State::Changed, used: 0 })
    }

    /// Writes every changed table to its place, in the order of the places.
    pub(super) fn write_back(&mut self, host: &Overlay) -> Result<()> {
        let mut changed: Vec<&mut Table> =
            self.tables.values_mut().filter(|table| table.state == State::Changed).collect();
        changed.sort_unstable_by_key(|table| table.offset);
        for table in changed {
            table.write_back(host)?;
        }
        Ok(())
    }

    fn load(&mut self, host: &Overlay, key: u64, offset: u64) -> Result<&mut Table> {
        if !self.tables.contains_key(&key) {
            let mut bytes = vec![0; self.table_len];
            read_padded(host, &mut bytes, offset)?;
            self.insert(host, key, Table { bytes, offset, state: State::Clean, used: 0 })?;
        }
        self.touch(key);
        self.tables
            .get_mut(&key)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, Layer::Image, "a qcow2 table left the cache while in use"))
    }

    fn insert(&mut self, host: &Overlay, key: u64, table: Table) -> Result<()> {
        while self.tables.len() >= self.capacity {
            let Some(oldest) = self.recency.first_entry() else { break };
            // Where the write fails the table stays: nothing else has its changes.
            if let Some(table) = self.tables.get_mut(oldest.get()) {
                table.write_back(host)?;
            }
            self.tables.remove(&oldest.remove());
        }
        self.tables.insert(key, table);
        self.touch(key);
        Ok(())
    }

    fn touch(&mut self, key: u64) {
        if let Some(table) = self.tables.get_mut(&key) {
            if table.used == self.clock && self.clock != 0 {
                return;
            }
            self.recency.remove(&table.used);
            self.clock = self.clock.saturating_add(1);
            table.used = self.clock;
            self.recency.insert(self.clock, key);
        }
    }
}

impl Table {
    fn write_back(&mut self, host: &Overlay) -> Result<()> {
        if self.state == State::Changed {
            host.write_at(&self.bytes, self.offset)?;
            self.state = State::Clean;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, TableCache};
    use crate::block::{BlockDevice, MemDevice};
    use crate::image::qcow2::geometry::Geometry;
    use crate::transaction::Overlay;
    use std::sync::Arc;

    #[test]
    fn a_table_that_cannot_be_written_back_is_not_lost() {
        let geometry = Geometry::new(21, 4).unwrap();
        let cluster = geometry.cluster_size();
        let host = Overlay::new(Arc::new(MemDevice::new(vec![0; geometry.cluster_len()])));
        let mut cache = TableCache::new(geometry, LIMIT);
        // Its place lies past the end of the device, so that the eviction fails.
        cache.create(&host, 0, cluster).unwrap();
        cache.change(&host, 0, cluster).unwrap()[0] = 7;
        assert!((1..=3).map(|key| cache.read(&host, key, 0).map(drop)).any(|read| read.is_err()));
        host.grow(2 * cluster).unwrap();
        assert_eq!(cache.read(&host, 0, cluster).unwrap()[0], 7);
        cache.write_back(&host).unwrap();
        let mut byte = [0];
        host.read_at(&mut byte, cluster).unwrap();
        assert_eq!(byte, [7]);
    }
}
