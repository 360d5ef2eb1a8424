//! The journal as a file: where its blocks lie in the filesystem.

use super::damaged;
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::fs::FileType;
use crate::fs::ext4::extent::Segment;
use crate::fs::ext4::store::Store;
use std::sync::Arc;

/// In how many pieces a journal may lie; one with the block map of ext3 has a piece for each 256 blocks or more.
const PIECES_MAX: usize = 1 << 16;

/// Blocks of the journal that follow each other in the filesystem too.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The first block in the journal.
    logical: u64,
    /// The first block in the filesystem.
    start: u64,
    /// How many blocks.
    len: u64,
}

/// The blocks of the journal.
#[derive(Debug)]
pub(super) struct Log {
    device: Arc<dyn BlockDevice>,
    block_size: u32,
    /// In the order of the journal, without gaps.
    pieces: Vec<Piece>,
    /// The same, in the order of the filesystem.
    by_start: Vec<Piece>,
}

impl Log {
    /// Finds the blocks of the journal that is the inode `number`.
    pub(super) fn find(store: &Store, device: Arc<dyn BlockDevice>, number: u32) -> Result<Self> {
        let inode = store.inode(number)?;
        if inode.links() == 0 || inode.file_type()? != FileType::Regular {
            return Err(damaged("its inode is not a file in use"));
        }
        let block_size = store.superblock.block_size;
        let blocks = inode.size() / u64::from(block_size);
        if blocks > u64::from(u32::MAX) {
            return Err(damaged("its size is impossible"));
        }
        let mut pieces: Vec<Piece> = Vec::new();
        let mut logical = 0;
        while logical < blocks {
            let Segment::Blocks { start, len } = store.segment(&inode, logical)? else {
                return Err(damaged("it has holes"));
            };
            let len = len.min(blocks - logical);
            match pieces.last_mut().filter(|last| last.start.checked_add(last.len) == Some(start)) {
                Some(last) => last.len += len,
                None => pieces.push(Piece { logical, start, len }),
            }
            if pieces.len() > PIECES_MAX {
                return Err(Error::unsupported(
                    Layer::Filesystem,
                    format!("the ext4 journal lies in more than {PIECES_MAX} pieces"),
                ));
            }
            logical += len;
        }
        let mut by_start = pieces.clone();
        by_start.sort_by_key(|piece| piece.start);
        let overlap = |pair: &[Piece]| matches!(pair, [one, other] if one.start.saturating_add(one.len) > other.start);
        if by_start.windows(2).any(overlap) {
            return Err(damaged("it has blocks twice"));
        }
        Ok(Self { device, block_size, pieces, by_start })
    }

    /// How many blocks the journal has.
    pub(super) fn blocks(&self) -> u64 {
        self.pieces.last().map_or(0, |last| last.logical.saturating_add(last.len))
    }

    /// The size of a block in bytes.
    pub(super) fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Where a block of the journal lies, in bytes.
    pub(super) fn offset(&self, logical: u32) -> Result<u64> {
        let logical = u64::from(logical);
        let after = self.pieces.partition_point(|piece| piece.logical <= logical);
        let piece = after.checked_sub(1).and_then(|index| self.pieces.get(index));
        piece
            .and_then(|piece| Some((piece.start, logical.checked_sub(piece.logical).filter(|skip| *skip < piece.len)?)))
            .and_then(|(start, skip)| start.checked_add(skip)?.checked_mul(u64::from(self.block_size)))
            .ok_or_else(|| damaged(&format!("it has no block {logical}")))
    }

    /// The content of a block of the journal.
    pub(super) fn read(&self, logical: u32) -> Result<Vec<u8>> {
        let mut block = vec![0; usize::try_from(self.block_size).unwrap_or(0)];
        self.device.read_at(&mut block, self.offset(logical)?)?;
        Ok(block)
    }

    /// Whether a block of the filesystem is one of the journal's.
    pub(super) fn holds(&self, block: u64) -> bool {
        let after = self.by_start.partition_point(|piece| piece.start <= block);
        let piece = after.checked_sub(1).and_then(|index| self.by_start.get(index));
        piece.is_some_and(|piece| block - piece.start < piece.len)
    }
}
