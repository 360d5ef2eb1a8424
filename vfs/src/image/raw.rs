//! Raw images: the host file's bytes are the guest's disk.

use super::{Format, ImageFormat, Named, Short};
use crate::block::{BlockDevice, FilePart};
use crate::error::Result;
use crate::transaction::{CommitPlan, Overlay};
use std::sync::Arc;

/// A raw image.
#[derive(Debug)]
pub struct Raw {
    host: Arc<Overlay>,
}

impl Raw {
    /// The raw image that is all of `host`.
    pub fn new(host: Arc<Overlay>) -> Self {
        Self { host }
    }
}

impl BlockDevice for Raw {
    fn size(&self) -> u64 {
        self.host.size()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.host.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.host.write_at(buf, offset)
    }
    fn flush(&self) -> Result<()> {
        self.host.flush()
    }
    fn is_as_found(&self) -> bool {
        self.host.is_as_found()
    }
    fn note_unused(&self, offset: u64, len: u64) {
        self.host.note_unused(offset, len);
    }
    fn lend(&self, part: &FilePart, offset: u64) -> Result<u64> {
        self.host.lend(part, offset)
    }
}

impl ImageFormat for Raw {
    fn format(&self) -> Format {
        Format::Raw
    }
    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    fn other_files(&self) -> Vec<Named> {
        Vec::new()
    }
    fn short(&self) -> Option<Short> {
        None
    }
    fn finish(&self) -> Result<CommitPlan> {
        Ok(CommitPlan::Journal)
    }
}
