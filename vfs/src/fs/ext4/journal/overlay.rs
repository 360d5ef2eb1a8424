//! A volume with blocks that were written over it, in memory: for looking at what would be written.

use crate::block::{BlockDevice, check_range};
use crate::error::{Error, Layer, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How many bytes of blocks are held at most.
const HELD_MAX: usize = 64 << 20;

/// A volume and what was written over it.
pub(super) struct Overlay {
    volume: Arc<dyn BlockDevice>,
    block_size: u64,
    blocks: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Overlay {
    /// Nothing over `volume` yet.
    pub(super) fn new(volume: Arc<dyn BlockDevice>, block_size: u32) -> Self {
        Self { volume, block_size: u64::from(block_size.max(1)), blocks: Mutex::default() }
    }

    fn write_block(&self, blocks: &mut BTreeMap<u64, Vec<u8>>, block: u64, within: u64, bytes: &[u8]) -> Result<()> {
        let outside = || Error::corrupt(Layer::Filesystem, format!("there is no block {block}"));
        let block_len = usize::try_from(self.block_size).map_err(|_| outside())?;
        let content = match blocks.get_mut(&block) {
            Some(content) => content,
            None => {
                if blocks.len().saturating_mul(block_len) >= HELD_MAX {
                    let what = format!("replaying the fast commits would change more than {HELD_MAX} bytes");
                    return Err(Error::unsupported(Layer::Filesystem, what));
                }
                let start = block.saturating_mul(self.block_size);
                let len = self.block_size.min(self.volume.size().saturating_sub(start));
                let mut content = vec![0; usize::try_from(len).map_err(|_| outside())?];
                self.volume.read_at(&mut content, start)?;
                blocks.entry(block).or_insert(content)
            }
        };
        let place = usize::try_from(within).ok().and_then(|within| content.get_mut(within..)?.get_mut(..bytes.len()));
        place.ok_or_else(outside)?.copy_from_slice(bytes);
        Ok(())
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("volume", &self.volume).finish_non_exhaustive()
    }
}

/// Puts into `buf`, which is at byte `offset`, what `block`, which is at byte `start`, has of it.
pub(super) fn lay_over(buf: &mut [u8], offset: u64, block: &[u8], start: u64) {
    // One of the two begins inside the other.
    let skip_buf = usize::try_from(start.saturating_sub(offset)).unwrap_or(usize::MAX);
    let skip_block = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
    let target = buf.get_mut(skip_buf..).unwrap_or_default();
    for (to, from) in target.iter_mut().zip(block.get(skip_block..).unwrap_or_default()) {
        *to = *from;
    }
}

impl BlockDevice for Overlay {
    fn size(&self) -> u64 {
        self.volume.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Filesystem, self.size(), offset, buf.len())?;
        self.volume.read_at(buf, offset)?;
        let end = offset.saturating_add(u64::try_from(buf.len()).unwrap_or(u64::MAX));
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        for (block, content) in blocks.range(offset / self.block_size..end.div_ceil(self.block_size)) {
            let start = block.saturating_mul(self.block_size);
            lay_over(buf, offset, content, start);
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(Layer::Filesystem, self.size(), offset, buf.len())?;
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = buf;
        let mut at = offset;
        while !rest.is_empty() {
            let within = at % self.block_size;
            let len = usize::try_from(self.block_size.saturating_sub(within)).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_checked(len).unwrap_or_default();
            self.write_block(&mut blocks, at / self.block_size, within, now)?;
            rest = later;
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::MemDevice;

    #[test]
    fn what_is_written_is_read_and_goes_no_further() {
        let volume = Arc::new(MemDevice::new(vec![1; 8 * 1024 + 100]));
        let overlay = Overlay::new(Arc::clone(&volume) as Arc<dyn BlockDevice>, 1024);
        let mut expected = vec![1; 8 * 1024 + 100];
        for (number, (offset, len)) in
            [(0, 1), (1000, 100), (3000, 3000), (8 * 1024 - 5, 105), (2048, 1024)].iter().enumerate()
        {
            let bytes = vec![number as u8 + 2; *len];
            overlay.write_at(&bytes, *offset as u64).unwrap();
            expected[*offset..offset + len].copy_from_slice(&bytes);
        }
        for (offset, len) in [(0, expected.len()), (1, 2000), (1023, 2), (4000, 4192)] {
            let mut found = vec![0; len];
            overlay.read_at(&mut found, offset as u64).unwrap();
            assert!(found == expected[offset..offset + len], "{offset} {len}");
        }
        assert!(overlay.write_at(&[0; 2], overlay.size() - 1).is_err());
        let mut below = vec![0; 8 * 1024 + 100];
        volume.read_at(&mut below, 0).unwrap();
        assert!(below.iter().all(|byte| *byte == 1));
    }
}
