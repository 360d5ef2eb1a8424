//! Bytes at offsets.

mod file_part;
mod mem;
mod ranges;
mod slice;

pub use file_part::FilePart;
pub use mem::MemDevice;
pub(crate) use ranges::Ranges;
pub use slice::SliceDevice;

use crate::error::{Error, ErrorKind, Layer, Result};
use std::fmt::Debug;

/// A thing of a fixed size that holds bytes at offsets.
///
/// Access is positional and exact, through a shared reference: an implementation locks what it must.
pub trait BlockDevice: Debug + Send + Sync {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `offset`, or fails; a range that ends past [`size`](Self::size) is an error of
    /// kind `Invalid`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;

    /// Writes all of `buf` at `offset`, or fails; a range that ends past [`size`](Self::size) is an error of kind
    /// `Invalid`.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;

    /// Hands what this layer holds back to the layer below; it does not make the bytes durable (a commit does).
    fn flush(&self) -> Result<()>;

    /// Whether this is the image as it is, with nothing written over it; where that is not known it is false.
    fn is_as_found(&self) -> bool {
        false
    }

    /// Notes that nothing reaches these bytes in the image as it is: what they become until the commit harms nobody.
    ///
    /// Only to be said of bytes of a device that was [as found](Self::is_as_found) when that was looked up, and by which
    /// a commit can be made cheaper; a layer that has no use for it passes over it.
    fn note_unused(&self, _offset: u64, _len: u64) {}

    /// Writes a part of a host file from `offset` on as far as this layer can do that without a copy of it, which may be
    /// not at all; gives how many bytes it took, from the first on. The rest is to be written.
    ///
    /// Where the file changes afterwards, reading what was taken of it fails.
    fn lend(&self, _part: &FilePart, _offset: u64) -> Result<u64> {
        Ok(0)
    }
}

/// Fails with `Invalid` unless `len` bytes from `offset` lie inside `size`.
pub fn check_range(layer: Layer, size: u64, offset: u64, len: usize) -> Result<()> {
    let end = u64::try_from(len).ok().and_then(|len| offset.checked_add(len));
    match end {
        Some(end) if end <= size => Ok(()),
        _ => Err(Error::new(ErrorKind::Invalid, layer, format!("{len} bytes reach past the end of {size} bytes"))
            .with_offset(offset)),
    }
}
