//! The area that system use fields continue in (SUSP, 5.1).

use super::SECTOR;
use super::field::both32;

/// What a pointer to the area takes, in bytes.
pub(super) const POINTER: usize = 28;

/// The area, as it grows.
#[derive(Debug)]
pub(super) struct Continuation {
    first: u64,
    bytes: Vec<u8>,
}

impl Continuation {
    /// An empty area from this sector.
    pub(super) fn new(first: u64) -> Self {
        Self { first, bytes: Vec::new() }
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds fields, which lie in one sector, as Linux wants them to; gives the pointer to them ("CE").
    pub(super) fn add(&mut self, fields: &[u8]) -> Vec<u8> {
        let sector = SECTOR as usize;
        if self.bytes.len() % sector + fields.len() > sector {
            self.bytes.resize(self.bytes.len().next_multiple_of(sector), 0);
        }
        let at = self.size();
        self.bytes.extend(fields);
        let mut pointer = vec![b'C', b'E', POINTER as u8, 1];
        // The sectors of an image are counted in 32 bits, which is seen to when it is laid out.
        pointer.extend(both32((self.first + at / SECTOR) as u32));
        pointer.extend(both32((at % SECTOR) as u32));
        pointer.extend(both32(fields.len() as u32));
        pointer
    }
}
