//! Everything or nothing: writes to the host file are held until one commit.

mod overlay;

pub use overlay::Overlay;

use crate::error::Result;
use std::path::Path;
use std::sync::Arc;

/// What a transaction may do to the image, and so which locks it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only: others may read too; a process that may write is `InUse`.
    Read,
    /// Read and commit: nobody else may use the image.
    Write,
}

/// How the writes that a transaction holds become the image, as the image's format knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPlan {
    /// Everything held lies at or past the old end of the file, but for the 512-byte sector at `sector`, whose one write
    /// switches from the old image to the new one. The transaction checks the claim before it writes.
    Switch {
        /// The byte offset of the sector, a multiple of 512.
        sector: u64,
    },
    /// The writes held replace live bytes: they go through a redo journal beside the image.
    Journal,
}

/// What a run cost on the host file, and on its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounts {
    /// Calls that read.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Calls that made writes durable (fsync of file or directory).
    pub fsyncs: u64,
}

/// An image file, opened and locked, whose changes are held until [`commit`](Self::commit).
#[derive(Debug)]
pub struct Transaction {
    overlay: Arc<Overlay>,
}

impl Transaction {
    /// Opens and locks the image.
    pub fn begin(_image: &Path, _access: Access) -> Result<Self> {
        unreachable!()
    }

    /// The host file's bytes with the writes held laid over them; the image formats stand on it.
    pub fn overlay(&self) -> Arc<Overlay> {
        Arc::clone(&self.overlay)
    }

    /// Makes the writes held durable as `plan` says; on error the image is the old one (or, after an interruption in a
    /// journal's application, the new one at the next run).
    pub fn commit(self, _plan: CommitPlan) -> Result<IoCounts> {
        unreachable!()
    }
}
