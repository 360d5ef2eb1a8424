//! ISO 9660 (ECMA-119) with Rock Ridge (SUSP 1.10, RRIP 1.10) and Joliet.

use super::{Image, Tree};
use crate::error::Result;
use crate::fs::Timestamp;

/// What an ISO 9660 image says of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The volume identifier: 1 to 32 bytes of ASCII (Joliet keeps 16 characters of it).
    pub volume_id: String,
    /// The publisher: up to 128 bytes of ASCII; may be empty.
    pub publisher: String,
    /// The time of the volume and of all files.
    pub time: Timestamp,
}

/// Lays a tree out as an ISO 9660 image, as `genisoimage -ldots -allow-lowercase -allow-multidot -l -J -r` does.
///
/// Files have mode 0444, directories 0555, owner and group 0. Rock Ridge keeps every name as it is. `Invalid` names what
/// cannot be kept: a file of 4 GiB or more, a volume identifier that is too long, more than 65,535 directories.
pub fn image(tree: &Tree, options: &Options) -> Result<Image> {
    let _ = (tree, options);
    Err(super::refuse("ISO 9660 images are not written yet"))
}
