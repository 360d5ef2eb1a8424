//! Building whole images from a tree of files, and reading such images back: ISO 9660 and FAT.
//!
//! A [`Tree`] is laid out by [`iso9660::image`] or [`vfat::image`]. Both check everything (names, sizes, room) and give
//! an [`Image`]: the plan of all bytes, of which nothing is written yet. [`Image::write_to`] writes it into a new file.
//! The same tree and the same options give the same bytes. [`Drive::open`] reads either format, hostile images included.

mod drive;
mod flat;
mod image;
pub mod iso9660;
pub(crate) mod time;
mod tree;
pub mod vfat;

pub use drive::{About, Drive, DriveFormat, Entry, MAX_DEPTH, MAX_ENTRIES, View};
pub use image::Image;
pub use tree::{Directory, Node, Tree};

use crate::error::{Error, ErrorKind, Layer};

/// The request cannot be met, whatever the host.
fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, Layer::Master, message)
}
