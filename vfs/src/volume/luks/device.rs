//! What is in a LUKS volume as a block device: whole sectors are encrypted, parts of one are read first.

use super::cipher::{Cipher, Way};
use crate::block::{BlockDevice, SliceDevice, check_range};
use crate::error::{Layer, Result};
use crate::volume::VolumeInfo;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How much is encrypted at a time on its way down.
const CHUNK: usize = 128 << 10;

/// A LUKS volume that was unlocked; with a disk it becomes a device.
pub struct Unlocked {
    /// The LUKS volume.
    pub(super) under: VolumeInfo,
    /// Where its payload begins, and how long it is: whole sectors.
    pub(super) offset: u64,
    pub(super) size: u64,
    /// The size of a sector in bytes.
    pub(super) sector: usize,
    /// What is added to the number of a sector, in units of 512 bytes.
    pub(super) first: u64,
    pub(super) cipher: Arc<Cipher>,
}

impl fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlocked").field("under", &self.under).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Unlocked {
    /// The LUKS volume.
    pub fn container(&self) -> &VolumeInfo {
        &self.under
    }

    /// The size of what is in it, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes on a disk.
    pub(in crate::volume) fn device(self: &Arc<Self>, disk: &Arc<dyn BlockDevice>) -> Result<Arc<dyn BlockDevice>> {
        let parent = SliceDevice::new(self.under.device(disk)?, self.offset, self.size)?;
        Ok(Arc::new(UnlockedDevice { parent, map: Arc::clone(self), changing: Mutex::new(()) }))
    }
}

/// An unlocked volume on a disk.
#[derive(Debug)]
struct UnlockedDevice {
    /// The payload.
    parent: SliceDevice,
    map: Arc<Unlocked>,
    /// Held while a part of a sector is changed, so that nobody changes another part of it meanwhile.
    changing: Mutex<()>,
}

/// Where a range begins in its sector.
struct Place {
    /// The first byte of the sector.
    sector: u64,
    /// The byte in it.
    within: usize,
}

impl UnlockedDevice {
    fn place(&self, offset: u64) -> Place {
        let size = u64::try_from(self.map.sector).unwrap_or(512);
        let within = offset.checked_rem(size).unwrap_or(0);
        Place { sector: offset.saturating_sub(within), within: usize::try_from(within).unwrap_or(0) }
    }

    /// How many of so many bytes from the start of a sector on are whole sectors.
    fn whole(&self, len: usize) -> usize {
        len.saturating_sub(len.checked_rem(self.map.sector).unwrap_or(0))
    }

    fn apply(&self, way: Way, sectors: &mut [u8], offset: u64) {
        let number = self.map.first.saturating_add(offset >> 9);
        self.map.cipher.apply(way, sectors, self.map.sector, number);
    }

    /// The sector from this byte on, decrypted.
    fn sector(&self, offset: u64) -> Result<Vec<u8>> {
        let mut sector = vec![0; self.map.sector];
        self.parent.read_at(&mut sector, offset)?;
        self.apply(Way::Decrypt, &mut sector, offset);
        Ok(sector)
    }

    /// How many bytes of `len` from a place on are worked on next, and whether they are whole sectors.
    fn next(&self, place: &Place, len: usize) -> Step {
        match self.whole(len) {
            whole if place.within == 0 && whole > 0 => Step::Whole(whole),
            _ => Step::Part(self.map.sector.saturating_sub(place.within).min(len)),
        }
    }
}

/// What of a range is next.
enum Step {
    /// So many bytes of whole sectors.
    Whole(usize),
    /// So many bytes of one sector.
    Part(usize),
}

impl BlockDevice for UnlockedDevice {
    fn size(&self) -> u64 {
        self.map.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Volume, self.map.size, offset, buf.len())?;
        let (mut rest, mut offset) = (buf, offset);
        while !rest.is_empty() {
            let place = self.place(offset);
            let (Step::Whole(len) | Step::Part(len)) = self.next(&place, rest.len());
            let Some((now, later)) = rest.split_at_mut_checked(len) else { break };
            match self.next(&place, now.len()) {
                Step::Whole(_) => {
                    self.parent.read_at(now, offset)?;
                    self.apply(Way::Decrypt, now, offset);
                }
                Step::Part(_) => {
                    let sector = self.sector(place.sector)?;
                    let part = sector.get(place.within..).unwrap_or_default();
                    now.iter_mut().zip(part).for_each(|(byte, plain)| *byte = *plain);
                }
            }
            (rest, offset) = (later, offset.saturating_add(u64::try_from(len).unwrap_or(0)));
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(Layer::Volume, self.map.size, offset, buf.len())?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = Vec::new();
        let (mut rest, mut offset) = (buf, offset);
        while !rest.is_empty() {
            let place = self.place(offset);
            let step = self.next(&place, rest.len().min(CHUNK));
            let (Step::Whole(len) | Step::Part(len)) = step;
            let Some((now, later)) = rest.split_at_checked(len) else { break };
            match step {
                Step::Whole(_) => {
                    chunk.clear();
                    chunk.extend_from_slice(now);
                    self.apply(Way::Encrypt, &mut chunk, offset);
                    self.parent.write_at(&chunk, offset)?;
                }
                Step::Part(_) => {
                    let mut sector = self.sector(place.sector)?;
                    let part = sector.get_mut(place.within..).unwrap_or_default();
                    part.iter_mut().zip(now).for_each(|(byte, new)| *byte = *new);
                    self.apply(Way::Encrypt, &mut sector, place.sector);
                    self.parent.write_at(&sector, place.sector)?;
                }
            }
            (rest, offset) = (later, offset.saturating_add(u64::try_from(len).unwrap_or(0)));
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.parent.flush()
    }

    fn is_as_found(&self) -> bool {
        self.parent.is_as_found()
    }

    fn note_unused(&self, offset: u64, len: u64) {
        // Only sectors that are unused as a whole: what is beside it in one is written with it.
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.map.size) else { return };
        let size = u64::try_from(self.map.sector).unwrap_or(512);
        let (Some(start), end) = (offset.checked_next_multiple_of(size), self.place(end).sector) else { return };
        if start < end {
            self.parent.note_unused(start, end.saturating_sub(start));
        }
    }
}
