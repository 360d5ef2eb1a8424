//! Metadata blocks in memory: read once, written once.

use super::block_bytes::BlockBytes;
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How many bytes of blocks are held at most, in bytes; past it everything is written and dropped.
const CAPACITY: usize = 8 << 20;
/// The longest single write to the device, in bytes.
const WRITE_MAX: usize = 1 << 20;

/// A bounded write-back cache of whole blocks.
pub(super) struct BlockCache {
    device: Arc<dyn BlockDevice>,
    block_size: usize,
    entries: RefCell<BTreeMap<u64, Entry>>,
}

struct Entry {
    bytes: BlockBytes,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Clean,
    Dirty,
}

impl BlockCache {
    /// An empty cache over a device.
    pub(super) fn new(device: Arc<dyn BlockDevice>, block_size: usize) -> Self {
        Self { device, block_size, entries: RefCell::default() }
    }

    /// The device below. What is read from it directly must never have been written through the cache.
    pub(super) fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// The content of a block.
    pub(super) fn read(&self, block: u64) -> Result<BlockBytes> {
        if let Some(entry) = self.entries.borrow().get(&block) {
            return Ok(entry.bytes.clone());
        }
        let mut bytes = vec![0; self.block_size];
        self.device.read_at(&mut bytes, self.offset(block)?)?;
        let bytes = BlockBytes::from(bytes);
        self.insert(block, Entry { bytes: bytes.clone(), state: State::Clean })?;
        Ok(bytes)
    }

    /// Gives a block a whole new content.
    pub(super) fn write(&self, block: u64, bytes: BlockBytes) -> Result<()> {
        if bytes.len() != self.block_size {
            return Err(Error::corrupt(Layer::Filesystem, format!("a block of {} bytes", bytes.len())));
        }
        self.offset(block)?;
        self.insert(block, Entry { bytes, state: State::Dirty })
    }

    /// Changes a part of a block.
    pub(super) fn patch(&self, block: u64, offset: usize, part: &[u8]) -> Result<()> {
        self.read(block)?;
        let mut entries = self.entries.borrow_mut();
        let target = entries.get_mut(&block).and_then(|entry| {
            entry.state = State::Dirty;
            entry.bytes.to_mut().get_mut(offset..)?.get_mut(..part.len())
        });
        match target {
            Some(target) => {
                target.copy_from_slice(part);
                Ok(())
            }
            None => Err(Error::corrupt(Layer::Filesystem, format!("a structure crosses the end of block {block}"))),
        }
    }

    /// Drops blocks that are no longer metadata: what is held of them is not written.
    pub(super) fn forget(&self, start: u64, len: u64) {
        let mut entries = self.entries.borrow_mut();
        let held: Vec<u64> = entries.range(start..start.saturating_add(len)).map(|(block, _)| *block).collect();
        for block in held {
            entries.remove(&block);
        }
    }

    /// Writes what is not yet written, neighbours together, in the order of the blocks.
    pub(super) fn flush(&self) -> Result<()> {
        let mut entries = self.entries.borrow_mut();
        let mut run: Vec<u8> = Vec::new();
        let mut start = 0;
        let mut next = None;
        for (block, entry) in entries.iter_mut().filter(|(_, entry)| entry.state == State::Dirty) {
            if next != Some(*block) || run.len() >= WRITE_MAX {
                if !run.is_empty() {
                    self.device.write_at(&run, self.offset(start)?)?;
                    run.clear();
                }
                start = *block;
            }
            run.extend_from_slice(&entry.bytes);
            next = block.checked_add(1);
            entry.state = State::Clean;
        }
        if !run.is_empty() {
            self.device.write_at(&run, self.offset(start)?)?;
        }
        Ok(())
    }

    fn insert(&self, block: u64, entry: Entry) -> Result<()> {
        let full = self.entries.borrow().len().saturating_mul(self.block_size) >= CAPACITY;
        if full {
            self.flush()?;
            self.entries.borrow_mut().clear();
        }
        self.entries.borrow_mut().insert(block, entry);
        Ok(())
    }

    fn offset(&self, block: u64) -> Result<u64> {
        u64::try_from(self.block_size)
            .ok()
            .and_then(|size| block.checked_mul(size))
            .ok_or_else(|| Error::corrupt(Layer::Filesystem, format!("there is no block {block}")))
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("blocks", &self.entries.borrow().len()).finish_non_exhaustive()
    }
}
