//! Image formats: the guest's disk in a host file.

mod backing;
mod data_file;
mod edit;
pub mod inspect;
pub mod qcow2;
pub mod raw;
mod short;

pub use backing::{Backing, Named, open_chain};
pub use edit::{Destination, Edit, Source, recover};
pub use short::{Short, explain};
#[cfg(test)]
pub(crate) use {backing::open_held, data_file::HeldDataFile};

use crate::block::BlockDevice;
use crate::error::Result;
use crate::transaction::{CommitPlan, Overlay};
use backing::{Closed, Gate};
use data_file::DataFile;
use std::fmt;
use std::sync::Arc;

/// An image format that can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Format {
    Raw,
    Qcow2,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        })
    }
}

/// An open image: a block device that is the guest's disk.
pub trait ImageFormat: BlockDevice {
    /// The format.
    fn format(&self) -> Format;

    /// Facts about the image for a report, as pairs of a name and a value (`("version", "3")`).
    fn facts(&self) -> Vec<(&'static str, String)>;

    /// The other files that the image names: its backing file, its external data file.
    fn other_files(&self) -> Vec<Named>;

    /// The file of the backing chain that was too short for what was read of the disk, where there is one.
    fn short(&self) -> Option<Short>;

    /// Writes what the format holds in memory (tables, the new header) to the transaction, and says how the transaction
    /// is to be committed. Nothing may be written to the image after it.
    fn finish(&self) -> Result<CommitPlan>;
}

/// Opens the image in `host`.
///
/// A declared format is believed: a file declared raw is never probed, one declared qcow2 must be qcow2. Without a
/// declaration the format is detected by its marks, and raw only where those of no other known format are there; formats
/// that are known and not supported, and files with the marks of several, are refused by name (`Unsupported`, with the
/// command that converts them as the hint).
pub fn open(host: Arc<Overlay>, declared: Option<Format>) -> Result<Arc<dyn ImageFormat>> {
    match inspect::format(&*host, declared)? {
        Format::Raw => Ok(Arc::new(raw::Raw::new(host))),
        Format::Qcow2 => Ok(Arc::new(qcow2::Qcow2::open(host)?)),
    }
}
