//! The guest's memory, by its file descriptors.

use super::violation;
use crate::error::{Error, Layer, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How many regions a guest has at most (VHOST_MEMORY_BASELINE_NREGIONS).
pub(super) const REGIONS_MAX: usize = 8;

/// A range of the guest's memory and where it lies in a file. All numbers are bytes.
#[derive(Debug)]
pub(super) struct Region {
    /// Where the guest has it.
    pub(super) guest: u64,
    /// Where the guest's process has it.
    pub(super) user: u64,
    pub(super) size: u64,
    /// Where it begins in the file.
    pub(super) offset: u64,
    pub(super) file: File,
}

/// All regions.
#[derive(Debug, Default)]
pub(super) struct Memory(Vec<Region>);

impl Memory {
    pub(super) fn new(regions: Vec<Region>) -> Self {
        Self(regions)
    }

    /// The address in the guest of an address in the guest's process.
    pub(super) fn guest_address(&self, user: u64) -> Result<u64> {
        let within = |region: &Region| {
            let distance = user.checked_sub(region.user).filter(|distance| *distance < region.size)?;
            region.guest.checked_add(distance)
        };
        self.0.iter().find_map(within).ok_or_else(|| violation("a ring outside of its memory"))
    }

    /// The file and the place in it of `len` bytes from `address`.
    fn place(&self, address: u64, len: usize) -> Result<(&File, u64)> {
        let within = |region: &Region| {
            let distance = address.checked_sub(region.guest)?;
            let end = distance.checked_add(u64::try_from(len).ok()?)?;
            (end <= region.size).then_some(())?;
            region.offset.checked_add(distance)
        };
        let found = self.0.iter().find_map(|region| Some((&region.file, within(region)?)));
        found.ok_or_else(|| violation("an address outside of its memory"))
    }

    pub(super) fn read(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        let (file, offset) = self.place(address, buf.len())?;
        file.read_exact_at(buf, offset)
            .map_err(|error| Error::io(Layer::Kernel, "read the borrowed kernel's memory", error))
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        let (file, offset) = self.place(address, bytes.len())?;
        file.write_all_at(bytes, offset)
            .map_err(|error| Error::io(Layer::Kernel, "write the borrowed kernel's memory", error))
    }
}
