//! The plan of an image: what stands where, and nothing written yet.

use super::refuse;
use crate::block::{BlockDevice, check_range};
use crate::error::{Layer, Result};
use crate::fs::Content;
use crate::transaction::NewFile;

/// What is written at once, in bytes.
const CHUNK: usize = 1 << 20;

/// Zeros between two pieces up to this length are written, not left out.
const GAP: u64 = 4096;

/// An image that is laid out in full: every byte is known, and contents in host files are read when they are written.
///
/// As a block device it is read-only: what the image will be can be read before it is written.
#[derive(Debug)]
pub struct Image {
    size: u64,
    /// By their places, none of which overlap; all else is zero.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    at: u64,
    content: Content,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.content.len())
    }
}

impl Image {
    /// An image of `size` zero bytes.
    pub(super) fn new(size: u64) -> Self {
        Self { size, pieces: Vec::new() }
    }

    /// Puts a piece after all that are there; `Invalid` where it does not fit there.
    pub(super) fn push(&mut self, at: u64, content: Content) -> Result<()> {
        if content.is_empty() {
            return Ok(());
        }
        let piece = Piece { at, content };
        let before = self.pieces.last().map_or(0, Piece::end);
        if at < before || piece.end() > self.size {
            return Err(refuse("two parts of the image overlap").with_offset(at));
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Makes a new file this image. Holes stay holes; host files are read now, a piece at a time.
    pub fn write_to(&self, file: &NewFile) -> Result<()> {
        file.set_size(self.size)?;
        let mut held = Vec::new();
        let mut start = 0_u64;
        for piece in &self.pieces {
            let end = start.saturating_add(held.len() as u64);
            let gap = piece.at.saturating_sub(end);
            let fits = (held.len() as u64).saturating_add(gap).saturating_add(piece.content.len()) <= CHUNK as u64;
            if held.is_empty() || gap > GAP || !fits {
                file.write_at(&held, start)?;
                held.clear();
                start = piece.at;
            } else {
                // At most CHUNK, as it fits.
                held.resize(held.len().saturating_add(gap as usize), 0);
            }
            let mut done = 0_u64;
            while done < piece.content.len() {
                let take = piece.content.len().saturating_sub(done).min(CHUNK as u64);
                let from = held.len();
                held.resize(from.saturating_add(take as usize), 0);
                piece.content.read_at(held.get_mut(from..).unwrap_or_default(), done)?;
                done = done.saturating_add(take);
                if done < piece.content.len() {
                    file.write_at(&held, start)?;
                    start = start.saturating_add(held.len() as u64);
                    held.clear();
                }
            }
        }
        file.write_at(&held, start)
    }
}

impl BlockDevice for Image {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Master, self.size, offset, buf.len())?;
        buf.fill(0);
        let end = offset.saturating_add(buf.len() as u64);
        let first = self.pieces.partition_point(|piece| piece.end() <= offset);
        for piece in self.pieces.get(first..).unwrap_or_default() {
            if piece.at >= end {
                break;
            }
            let from = piece.at.max(offset);
            let to = piece.end().min(end);
            let place = from.saturating_sub(offset) as usize..to.saturating_sub(offset) as usize;
            if let Some(part) = buf.get_mut(place) {
                piece.content.read_at(part, from.saturating_sub(piece.at))?;
            }
        }
        Ok(())
    }

    fn write_at(&self, _buf: &[u8], offset: u64) -> Result<()> {
        Err(refuse("an image that is laid out is not written to").with_offset(offset))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
