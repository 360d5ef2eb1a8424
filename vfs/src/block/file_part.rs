//! Bytes of a host file, named and not copied.

use crate::error::{Error, Layer, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A range of an open host file.
#[derive(Clone, Debug)]
pub struct FilePart {
    /// The open file.
    pub file: Arc<File>,
    /// Its path, for messages.
    pub path: PathBuf,
    /// Its first byte.
    pub start: u64,
    /// How many bytes it is.
    pub len: u64,
}

impl FilePart {
    /// Fills `buf` with the bytes from `offset` of the part on, which the caller keeps inside it; a file that has become
    /// shorter meanwhile is an error of kind `Io`.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.file
            .read_exact_at(buf, self.start.saturating_add(offset))
            .map_err(|error| Error::io(Layer::Host, "read the file to upload", error).with_host_path(&self.path))
    }
}
