//! Requests to a disk: virtio 1.1, section 5.2.

use super::memory::Memory;
use super::queue::Piece;
use super::violation;
use crate::block::BlockDevice;
use crate::error::{Error, Result};
use crate::field::{le32, le64};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a sector, whatever the disk has.
const SECTOR: u64 = 512;
const READ: u32 = 0;
const WRITE: u32 = 1;
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;
/// How much is copied at once, in bytes.
const COPY_MAX: usize = 1 << 20;
/// The most data of one request, in bytes; Linux asks for 1.25 MiB.
const DATA_MAX: u64 = 64 << 20;

/// VIRTIO_BLK_F_SEG_MAX and VIRTIO_F_VERSION_1. No flush is offered: what is written is where it belongs at once.
pub(super) const FEATURES: u64 = 1 << 2 | 1 << 32;
/// The pieces of data of one request.
const SEGMENTS_MAX: u32 = 126;
/// The configuration in bytes, as far as the features give it a meaning; the rest is zero.
pub(super) const CONFIGURATION: usize = 60;

/// A block device and the first thing that went wrong with it.
#[derive(Debug)]
pub(super) struct Disk {
    device: Arc<dyn BlockDevice>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Disk {
    pub(super) fn new(device: Arc<dyn BlockDevice>, failure: Arc<Mutex<Option<Error>>>) -> Self {
        Self { device, failure }
    }

    /// The configuration space: capacity in sectors, largest segment, most segments.
    pub(super) fn configuration(&self) -> [u8; CONFIGURATION] {
        let mut space = [0; CONFIGURATION];
        let capacity = self.device.size().checked_div(SECTOR).unwrap_or_default();
        for (place, byte) in space.iter_mut().zip(capacity.to_le_bytes()) {
            *place = byte;
        }
        for (place, byte) in space.iter_mut().skip(12).zip(SEGMENTS_MAX.to_le_bytes()) {
            *place = byte;
        }
        space
    }

    /// Does what a chain asks for; returns how many bytes of the guest's memory were written.
    pub(super) fn serve(&self, memory: &Memory, chain: &[Piece]) -> Result<u32> {
        let (Some(Piece::Given { address, len: 16 }), Some(Piece::Wanted { address: status, len: 1 })) =
            (chain.first().copied(), chain.last().copied())
        else {
            return Err(violation("a request without head or status"));
        };
        let data = chain.get(1..chain.len().saturating_sub(1)).unwrap_or_default();
        let mut head = [0; 16];
        memory.read(address, &mut head)?;
        let bad = || violation("a request without a head");
        let kind = le32(&head, 0).ok_or_else(bad)?;
        let offset = le64(&head, 8).and_then(|sector| sector.checked_mul(SECTOR));
        let mut written = 1_u32;
        let result = match (kind, offset) {
            (READ | WRITE, Some(offset)) => self.copy(memory, kind, offset, data, &mut written),
            (READ | WRITE, None) => Err(violation("a request past the end of numbers")),
            _ => {
                memory.write(status, &[UNSUPPORTED])?;
                return Ok(written);
            }
        };
        let code = match result {
            Ok(()) => OK,
            Err(error) => {
                // The guest learns that it failed, and the run why.
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                IO_ERROR
            }
        };
        memory.write(status, &[code])?;
        Ok(written)
    }

    fn copy(&self, memory: &Memory, kind: u32, mut offset: u64, data: &[Piece], written: &mut u32) -> Result<()> {
        let total: u64 = data.iter().map(|piece| u64::from(piece.len())).sum();
        if total > DATA_MAX {
            return Err(violation("more data than a request has"));
        }
        let mut buffer = Vec::new();
        for piece in data {
            let (mut address, len) = match (kind, *piece) {
                (READ, Piece::Wanted { address, len }) | (WRITE, Piece::Given { address, len }) => (address, len),
                _ => return Err(violation("data in the wrong direction")),
            };
            let mut left = usize::try_from(len).map_err(|_| violation("a piece of data that is too long"))?;
            while left > 0 {
                let count = left.min(COPY_MAX);
                buffer.resize(count, 0);
                if kind == READ {
                    self.device.read_at(&mut buffer, offset)?;
                    memory.write(address, &buffer)?;
                    *written = written.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
                } else {
                    memory.read(address, &mut buffer)?;
                    self.device.write_at(&buffer, offset)?;
                }
                let step = u64::try_from(count).unwrap_or(u64::MAX);
                offset = offset.saturating_add(step);
                address = address.saturating_add(step);
                left = left.saturating_sub(count);
            }
        }
        Ok(())
    }
}
