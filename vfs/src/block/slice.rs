//! A range of another block device.

use super::{BlockDevice, FilePart, check_range};
use crate::error::{Error, ErrorKind, Layer, Result};
use std::sync::Arc;

/// A range of another block device, as a partition is of a disk.
#[derive(Debug)]
pub struct SliceDevice {
    parent: Arc<dyn BlockDevice>,
    start: u64,
    size: u64,
}

impl SliceDevice {
    /// The `size` bytes of `parent` from byte `start`; `Invalid` where they do not lie inside it.
    pub fn new(parent: Arc<dyn BlockDevice>, start: u64, size: u64) -> Result<Self> {
        match start.checked_add(size) {
            Some(end) if end <= parent.size() => Ok(Self { parent, start, size }),
            _ => Err(Error::new(
                ErrorKind::Invalid,
                Layer::Volume,
                format!("{size} bytes do not fit into a device of {} bytes", parent.size()),
            )
            .with_offset(start)),
        }
    }
}

impl BlockDevice for SliceDevice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Volume, self.size, offset, buf.len())?;
        // In range, so the sum is at most the parent's size.
        self.parent.read_at(buf, self.start + offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(Layer::Volume, self.size, offset, buf.len())?;
        self.parent.write_at(buf, self.start + offset)
    }

    fn flush(&self) -> Result<()> {
        self.parent.flush()
    }

    fn is_as_found(&self) -> bool {
        self.parent.is_as_found()
    }

    fn note_unused(&self, offset: u64, len: u64) {
        if offset.checked_add(len).is_some_and(|end| end <= self.size) {
            self.parent.note_unused(self.start + offset, len);
        }
    }

    fn lend(&self, part: &FilePart, offset: u64) -> Result<u64> {
        match offset.checked_add(part.len) {
            Some(end) if end <= self.size => self.parent.lend(part, self.start + offset),
            _ => Ok(0),
        }
    }
}
