//! FAT12, FAT16 and FAT32 with long names (VFAT).

use super::{Image, Tree};
use crate::error::Result;
use crate::fs::Timestamp;

/// The size of an image that nothing else is said of, in bytes: 64 MiB.
pub const DEFAULT_SIZE: u64 = 64 << 20;

/// What a FAT image is, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The label: 1 to 11 bytes of ASCII, lower case kept.
    pub label: String,
    /// The size of the image in bytes, a multiple of 512.
    pub size: u64,
    /// The time of the volume and of all files; FAT knows 1980 to 2107, anything else becomes the nearest.
    pub time: Timestamp,
}

/// Lays a tree out as a FAT filesystem without a partition table, as `mkfs.vfat -n LABEL` and a copy of the tree would.
///
/// `NoSpace` says how much is needed and how much there is. `Invalid` names what cannot be kept: a file of 4 GiB or
/// more, a name that is not UTF-8 or that VFAT does not take, two names in one directory that differ in case only.
pub fn image(tree: &Tree, options: &Options) -> Result<Image> {
    let _ = (tree, options);
    Err(super::refuse("FAT images are not written yet"))
}
