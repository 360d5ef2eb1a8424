//! Writes held over a block device that they do not reach.

use crate::block::BlockDevice;
use crate::error::Result;
use std::sync::Arc;

/// A block device whose writes are held, and which can grow.
///
/// Reads see the writes; the base below is never written. Held bytes live in memory up to a limit and then in an unlinked
/// temporary file.
#[derive(Debug)]
pub struct Overlay {
    base: Arc<dyn BlockDevice>,
}

impl Overlay {
    /// An overlay on `base` that holds nothing yet.
    pub fn new(base: Arc<dyn BlockDevice>) -> Self {
        Self { base }
    }

    /// Lengthens the device to `size` bytes; the new bytes are zero until written. Never shortens.
    pub fn grow(&self, _size: u64) -> Result<()> {
        unreachable!()
    }

    /// The size of the base: what the old image can reach lies before it.
    pub fn base_size(&self) -> u64 {
        self.base.size()
    }
}

impl BlockDevice for Overlay {
    fn size(&self) -> u64 {
        unreachable!()
    }
    fn read_at(&self, _buf: &mut [u8], _offset: u64) -> Result<()> {
        unreachable!()
    }
    fn write_at(&self, _buf: &[u8], _offset: u64) -> Result<()> {
        unreachable!()
    }
    fn flush(&self) -> Result<()> {
        unreachable!()
    }
}
