//! Reading an image back: everything in it as a list, and the bytes of its files.
//!
//! The image may be hostile: whatever it says, what is read and held is bounded by the constants here.

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::{iso9660, vfat};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Attrs, FileType, Timestamp};
use crate::path::{NAME_MAX, PATH_MAX};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most files and directories of an image.
pub const MAX_ENTRIES: usize = 200_000;
/// The most bytes of all their paths, and of what symbolic links lead to.
const MAX_PATH_BYTES: usize = 64 << 20;
/// The most pieces that all their contents lie in.
const MAX_EXTENTS: usize = 2_000_000;
/// How often all fields of Rock Ridge continue elsewhere: a long name or link takes one continuation or two.
const MAX_CONTINUATIONS: usize = 2 * MAX_ENTRIES;
/// How deep directories lie in each other.
pub const MAX_DEPTH: usize = super::tree::MAX_DEPTH;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DriveFormat {
    Iso9660,
    Vfat,
}

impl DriveFormat {
    /// The name, as mount(8) takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iso9660 => "iso9660",
            Self::Vfat => "vfat",
        }
    }
}

/// Which of the trees of an ISO 9660 image is read; FAT has but one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As Linux does: Rock Ridge, or else Joliet, or else the plain tree.
    Best,
    /// The names and modes of Rock Ridge.
    RockRidge,
    /// The Joliet tree.
    Joliet,
    /// The tree of ISO 9660 itself.
    Plain,
}

/// An image that has been read: what it says of itself, and all its entries.
#[derive(Debug)]
pub struct Drive {
    pub(super) device: Arc<dyn BlockDevice>,
    pub(super) about: About,
    /// By path.
    pub(super) entries: Vec<Entry>,
}

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The format.
    pub format: DriveFormat,
    /// The name of the tree that was read: `Rock Ridge`, `Joliet`, `ISO 9660`, `FAT12`, `FAT16`, `FAT32`.
    pub view: &'static str,
    /// The label, where blkid(8) looks for it: the volume identifier; of FAT, the entry in the root directory.
    pub label: String,
    /// FAT: the label in the boot sector.
    pub boot_label: Option<String>,
    /// ISO 9660: the publisher.
    pub publisher: Option<String>,
}

/// A file or directory of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path, relative to the root: names of 1 to 255 bytes, none of them `.` or `..`, joined by slashes.
    pub path: Vec<u8>,
    /// The type; of FAT only files and directories.
    pub file_type: FileType,
    /// The size in bytes, 0 but for files.
    pub size: u64,
    /// Owner and mode, where the image has them.
    pub attrs: Option<Attrs>,
    /// The time of the last change, where there is a valid one.
    pub mtime: Option<Timestamp>,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Where the content lies, in its order; all inside the image, and together `size` bytes.
    pub(super) extents: Vec<Extent>,
}

/// A range of bytes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) at: u64,
    pub(super) len: u64,
}

impl Drive {
    /// Reads what is in an image: ISO 9660, or FAT without a partition table.
    ///
    /// `Unsupported` where it is neither, or uses something that is not read here (files in interleaved pieces or
    /// compressed); `Corrupt` where it contradicts itself, says that something lies outside it, or has more than the limits.
    pub fn open(device: Arc<dyn BlockDevice>, view: View) -> Result<Self> {
        let mut list = List::default();
        let about = match iso9660::read(&*device, view, &mut list)? {
            Some(about) => about,
            None => vfat::read(&*device, &mut list)?
                .ok_or_else(|| Error::unsupported(Layer::Master, "neither an ISO 9660 nor a FAT filesystem"))?,
        };
        let mut entries = list.entries;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(twice) = entries.windows(2).find_map(|pair| match pair {
            [one, two] if one.path == two.path => Some(one),
            _ => None,
        }) {
            return Err(corrupt("two entries of a directory have this name").with_guest_path(&twice.path));
        }
        Ok(Self { device, about, entries })
    }

    /// What the image says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The size of the image in bytes.
    pub fn size(&self) -> u64 {
        self.device.size()
    }

    /// Everything but the root, by path.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a path.
    pub fn find(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path.as_ref())).ok()?;
        self.entries.get(at)
    }

    /// Fills `buf` with the bytes of a file from `offset`, all inside its size.
    pub fn read_at(&self, entry: &Entry, buf: &mut [u8], offset: u64) -> Result<()> {
        crate::block::check_range(Layer::Master, entry.size, offset, buf.len())?;
        let mut rest = buf;
        let mut skip = offset;
        for extent in &entry.extents {
            if rest.is_empty() {
                return Ok(());
            }
            let Some(left) = extent.len.checked_sub(skip).filter(|left| *left > 0) else {
                skip = skip.saturating_sub(extent.len);
                continue;
            };
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            self.device.read_at(now, extent.at.saturating_add(skip))?;
            skip = 0;
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { Err(corrupt("its content ends early").with_guest_path(&entry.path)) }
    }

    /// The whole content of a file of at most `limit` bytes; `Unsupported` where it is larger, `WrongType` where it is no
    /// file.
    pub fn read(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>> {
        if entry.file_type != FileType::Regular {
            return Err(
                Error::new(ErrorKind::WrongType, Layer::Master, "not a regular file").with_guest_path(&entry.path)
            );
        }
        let size = usize::try_from(entry.size).ok().filter(|_| entry.size <= limit);
        let Some(size) = size else {
            let message = format!("{} bytes is more than the {limit} that are read here", entry.size);
            return Err(Error::unsupported(Layer::Master, message).with_guest_path(&entry.path));
        };
        let mut bytes = vec![0; size];
        self.read_at(entry, &mut bytes, 0)?;
        Ok(bytes)
    }
}

const FULL: &str = "there are more files than are read here";

/// The entries as they are found, within the limits.
#[derive(Debug, Default)]
pub(super) struct List {
    entries: Vec<Entry>,
    /// How many records have been looked at, those too that give no entry of their own.
    records: usize,
    continuations: usize,
    path_bytes: usize,
    extents: usize,
    directories: BTreeSet<u64>,
}

impl List {
    pub(super) fn add(&mut self, entry: Entry) -> Result<()> {
        let target = entry.target.as_ref().map_or(0, Vec::len);
        self.path_bytes = self.path_bytes.saturating_add(entry.path.len()).saturating_add(target);
        self.extents = self.extents.saturating_add(entry.extents.len());
        let full = self.entries.len() >= MAX_ENTRIES || self.path_bytes > MAX_PATH_BYTES || self.extents > MAX_EXTENTS;
        if full {
            return Err(corrupt(FULL).with_guest_path(&entry.path));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Counts a record of the directory `path`, whatever comes of it.
    pub(super) fn record(&mut self, path: &[u8]) -> Result<()> {
        self.records = self.records.saturating_add(1);
        if self.records > MAX_ENTRIES { Err(corrupt(FULL).with_guest_path(path)) } else { Ok(()) }
    }

    /// Counts a continuation of what is said of a file in the directory `path`.
    pub(super) fn continuation(&mut self, path: &[u8]) -> Result<()> {
        self.continuations = self.continuations.saturating_add(1);
        if self.continuations > MAX_CONTINUATIONS {
            return Err(corrupt("what is said of the files continues too often").with_guest_path(path));
        }
        Ok(())
    }

    /// Notes that the directory that lies at `place` is read; each is read once.
    pub(super) fn enter(&mut self, place: u64, path: &[u8]) -> Result<()> {
        if self.directories.insert(place) {
            return Ok(());
        }
        Err(corrupt("this directory is another one too, or lies in itself").with_guest_path(path))
    }
}

/// The path of an entry, whose name must be one.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Result<Vec<u8>> {
    let path = if directory.is_empty() { name.to_vec() } else { [directory, name].join(&b'/') };
    let is_name = (1..=NAME_MAX).contains(&name.len())
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
        && name != b"."
        && name != b"..";
    if !is_name {
        return Err(corrupt("an entry has a name that is none").with_guest_path(path));
    }
    if path.len() >= PATH_MAX || path.iter().filter(|byte| **byte == b'/').count() > MAX_DEPTH {
        return Err(corrupt("the directories lie too deep in each other").with_guest_path(path));
    }
    Ok(path)
}

/// Fails with `Corrupt` unless the range lies inside the device.
pub(super) fn inside(device: &dyn BlockDevice, at: u64, len: u64, path: &[u8]) -> Result<Extent> {
    match at.checked_add(len) {
        Some(end) if end <= device.size() => Ok(Extent { at, len }),
        _ => Err(corrupt(format!("{len} bytes from byte {at} reach past the end of the image")).with_guest_path(path)),
    }
}

/// Reads a range that has to lie inside the device.
pub(super) fn read(device: &dyn BlockDevice, at: u64, len: usize, path: &[u8]) -> Result<Vec<u8>> {
    inside(device, at, u64::try_from(len).unwrap_or(u64::MAX), path)?;
    let mut bytes = vec![0; len];
    device.read_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The image contradicts itself.
pub(super) fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Master, message)
}
