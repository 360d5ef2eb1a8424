//! A backing file that ends before the disk over it does.

use super::ImageFormat;
use crate::error::{Error, ErrorKind, Layer};

/// A backing file behind whose end something was read: zeros, to every reader of the format.
///
/// An image may be made larger than what it lies over, and then nothing is wrong. A file that was cut once an image lay
/// over it looks the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// The file's name, as it stands in the image over it.
    pub name: Vec<u8>,
    /// The size of its disk in bytes.
    pub size: u64,
    /// The size of the disk over it in bytes.
    pub disk: u64,
}

/// Says of an error about what is on the disk that a backing file is shorter than the disk, where that may be the reason.
pub fn explain(disk: &dyn ImageFormat, error: Error) -> Error {
    let of_content = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::NotFound)
        && matches!(error.layer(), Layer::Volume | Layer::Filesystem);
    let Some(Short { name, size, disk }) = disk.short().filter(|_| of_content) else { return error };
    let message = format!(
        "the backing file \"{}\" ends at byte {size} of the {disk} bytes of the disk over it, and what comes after it \
         reads as zeros",
        name.escape_ascii()
    );
    Error::new(error.kind(), Layer::Image, message)
        .with_hint(
            "if the backing file was cut or exchanged after the image was made over it, bring back the one of that time, \
             from a copy; its changes since are not in the image",
        )
        .with_source(error)
}
