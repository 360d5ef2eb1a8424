//! The volume as it would be after a replay: for reading, without a write.

use super::descriptor::Escaped;
use super::overlay::lay_over;
use super::replay::Copy;
use crate::block::{BlockDevice, check_range};
use crate::error::{Error, ErrorKind, Layer, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A volume with the blocks of a journal laid over it. It holds where they are, not what is in them.
pub(super) struct ReplayedView {
    volume: Arc<dyn BlockDevice>,
    block_size: u32,
    blocks: BTreeMap<u64, Copy>,
}

impl ReplayedView {
    /// Lays `blocks` over `volume`.
    pub(super) fn new(volume: Arc<dyn BlockDevice>, block_size: u32, blocks: BTreeMap<u64, Copy>) -> Self {
        Self { volume, block_size, blocks }
    }
}

/// The content of a block as it was before it was copied into the journal.
pub(super) fn read_copy(volume: &dyn BlockDevice, block_size: u32, copy: Copy) -> Result<Vec<u8>> {
    let mut block = vec![0; usize::try_from(block_size).unwrap_or(0)];
    volume.read_at(&mut block, copy.offset)?;
    if copy.escaped == Escaped::Yes {
        for (byte, magic) in block.iter_mut().zip(super::header::MAGIC.to_be_bytes()) {
            *byte = magic;
        }
    }
    Ok(block)
}

impl fmt::Debug for ReplayedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.blocks.len();
        f.debug_struct("ReplayedView").field("volume", &self.volume).field("blocks", &count).finish_non_exhaustive()
    }
}

impl BlockDevice for ReplayedView {
    fn size(&self) -> u64 {
        self.volume.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Filesystem, self.size(), offset, buf.len())?;
        self.volume.read_at(buf, offset)?;
        let block_size = u64::from(self.block_size.max(1));
        let end = offset.saturating_add(u64::try_from(buf.len()).unwrap_or(u64::MAX));
        for (block, copy) in self.blocks.range(offset / block_size..end.div_ceil(block_size)) {
            let content = read_copy(&*self.volume, self.block_size, *copy)?;
            let start = block.saturating_mul(block_size);
            lay_over(buf, offset, &content, start);
        }
        Ok(())
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> Result<()> {
        Err(Error::new(ErrorKind::Denied, Layer::Filesystem, "the filesystem is open for reading only"))
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
    fn blocks_show_where_they_belong() {
        let bytes: Vec<u8> = (0..8 * 1024).map(|at| (at / 1024) as u8).collect();
        let volume = Arc::new(MemDevice::new(bytes));
        let copy = |from: u64, escaped| Copy { offset: from * 1024, escaped };
        let blocks = BTreeMap::from([(1, copy(6, Escaped::No)), (3, copy(7, Escaped::Yes))]);
        let view = ReplayedView::new(volume, 1024, blocks);
        let mut all = vec![0; 8 * 1024];
        view.read_at(&mut all, 0).unwrap();
        let firsts: Vec<u8> = all.chunks(1024).map(|block| block[0]).collect();
        assert_eq!(firsts, [0, 6, 2, 0xc0, 4, 5, 6, 7]);
        assert_eq!(all[3 * 1024..][..5], [0xc0, 0x3b, 0x39, 0x98, 7]);
        for (offset, len) in [(0, 1), (1023, 1), (1023, 2), (1500, 100), (1024, 1024), (2000, 3000), (3071, 1030)] {
            let mut part = vec![0; len];
            view.read_at(&mut part, offset as u64).unwrap();
            assert_eq!(part, all[offset..offset + len], "{offset} {len}");
        }
        assert!(view.read_at(&mut [0; 2], 8 * 1024 - 1).is_err());
        assert_eq!(view.write_at(&[0], 0).unwrap_err().kind(), ErrorKind::Denied);
    }
}
