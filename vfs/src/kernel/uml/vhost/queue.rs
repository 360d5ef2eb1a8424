//! A split virtqueue: virtio 1.1, section 2.6.

use super::memory::Memory;
use super::violation;
use crate::error::Result;
use crate::field::{le16, le32, le64, part};

/// The most descriptors that a queue has (virtio_uml takes 256).
const SIZE_MAX: u16 = 1024;
/// A descriptor in bytes: address, length, flags, next.
const DESCRIPTOR: usize = 16;
const NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;
/// The flag of the driver that wants no interrupt (VIRTQ_AVAIL_F_NO_INTERRUPT).
const NO_INTERRUPT: u16 = 1;

/// Where the rings lie in the guest's memory, and how far they were followed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    size: u16,
    descriptors: u64,
    available: u64,
    used: u64,
    next: u16,
}

/// A piece of the guest's memory, and who writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The driver has written it.
    Given { address: u64, len: u32 },
    /// The device is to write it.
    Wanted { address: u64, len: u32 },
}

impl Piece {
    /// Its length in bytes.
    pub(super) fn len(self) -> u32 {
        match self {
            Self::Given { len, .. } | Self::Wanted { len, .. } => len,
        }
    }
}

/// What the driver has made available: the heads of chains, and the table that they lie in, copied.
#[derive(Debug)]
pub(super) struct Batch {
    heads: Vec<u16>,
    table: Vec<u8>,
    pub(super) interrupt: bool,
}

impl Queue {
    pub(super) fn set_size(&mut self, size: u32) -> Result<()> {
        self.size = u16::try_from(size)
            .ok()
            .filter(|size| size.is_power_of_two() && *size <= SIZE_MAX)
            .ok_or_else(|| violation("a queue of an impossible size"))?;
        Ok(())
    }

    pub(super) fn set_next(&mut self, next: u32) -> Result<()> {
        self.next = u16::try_from(next).map_err(|_| violation("a queue that begins past its end"))?;
        Ok(())
    }

    pub(super) fn next(&self) -> u16 {
        self.next
    }

    /// Addresses in the guest's memory.
    pub(super) fn set_rings(&mut self, descriptors: u64, available: u64, used: u64) {
        self.descriptors = descriptors;
        self.available = available;
        self.used = used;
    }

    /// What is new since the last time.
    pub(super) fn take(&mut self, memory: &Memory) -> Result<Batch> {
        let size = usize::from(self.size);
        // The index is read before the entries, and these before the descriptors: a system call each.
        let mut head = [0; 4];
        memory.read(self.available, &mut head)?;
        let short = || violation("a ring that is too short");
        let flags = le16(&head, 0).ok_or_else(short)?;
        let index = le16(&head, 2).ok_or_else(short)?;
        let count = index.wrapping_sub(self.next);
        if count > self.size {
            return Err(violation("more requests than its queue holds"));
        }
        let mut batch = Batch { heads: Vec::new(), table: Vec::new(), interrupt: flags & NO_INTERRUPT == 0 };
        if count == 0 {
            return Ok(batch);
        }
        let mut entries = vec![0; size.saturating_mul(2)];
        memory.read(self.available.checked_add(4).ok_or_else(short)?, &mut entries)?;
        for _ in 0..count {
            let slot = usize::from(self.next).checked_rem(size).ok_or_else(short)?;
            batch.heads.push(le16(&entries, slot.saturating_mul(2)).ok_or_else(short)?);
            self.next = self.next.wrapping_add(1);
        }
        batch.table = vec![0; size.saturating_mul(DESCRIPTOR)];
        memory.read(self.descriptors, &mut batch.table)?;
        Ok(batch)
    }

    /// Gives a chain back, `written` bytes of it written; `position` counts from the start of the queue.
    pub(super) fn give(&self, memory: &Memory, position: u16, head: u16, written: u32) -> Result<()> {
        let short = || violation("a ring that is too short");
        let slot = u64::from(position).checked_rem(u64::from(self.size)).ok_or_else(short)?;
        let at = self.used.checked_add(4).and_then(|at| at.checked_add(slot.saturating_mul(8))).ok_or_else(short)?;
        let mut entry = [0; 8];
        let (id, len) = entry.split_at_mut(4);
        id.copy_from_slice(&u32::from(head).to_le_bytes());
        len.copy_from_slice(&written.to_le_bytes());
        memory.write(at, &entry)?;
        // The index after the entry, by a call of its own.
        memory.write(self.used.checked_add(2).ok_or_else(short)?, &position.wrapping_add(1).to_le_bytes())
    }
}

impl Batch {
    /// The heads, in order.
    pub(super) fn heads(&self) -> &[u16] {
        &self.heads
    }

    /// The pieces of a chain, in order; no longer than the table, whatever the chain says.
    pub(super) fn chain(&self, head: u16) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut at = head;
        let limit = self.table.len().checked_div(DESCRIPTOR).unwrap_or_default();
        for _ in 0..limit {
            let bad = || violation("a descriptor outside of its table");
            let raw = part(&self.table, usize::from(at).saturating_mul(DESCRIPTOR), DESCRIPTOR).ok_or_else(bad)?;
            let address = le64(raw, 0).ok_or_else(bad)?;
            let len = le32(raw, 8).ok_or_else(bad)?;
            let flags = le16(raw, 12).ok_or_else(bad)?;
            if flags & !(NEXT | DEVICE_WRITES) != 0 {
                return Err(violation("a descriptor of a kind that was not agreed on"));
            }
            pieces.push(match flags & DEVICE_WRITES {
                0 => Piece::Given { address, len },
                _ => Piece::Wanted { address, len },
            });
            if flags & NEXT == 0 {
                return Ok(pieces);
            }
            at = le16(raw, 14).ok_or_else(bad)?;
        }
        Err(violation("a chain of descriptors that does not end"))
    }
}
