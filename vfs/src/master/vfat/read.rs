//! Reading FAT12, FAT16 and FAT32 filesystems, those of mkfs.vfat and mtools too.

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::read_volume::Volume;
use crate::block::BlockDevice;
use crate::error::Result;
use crate::fs::FileType;
use crate::fs::fat::entry::{Entries, Found, short_name};
use crate::fs::fat::layout::Root;
use crate::master::drive::{self, About, DriveFormat, Entry, Extent, List, corrupt};

/// The size of an entry in bytes.
const ENTRY: usize = 32;
/// The most bytes of a directory (Linux's FAT_MAX_DIR_SIZE).
const MAX_DIRECTORY: u64 = 2 << 20;
/// The most bytes of all directories.
const MAX_DIRECTORY_BYTES: u64 = 128 << 20;

/// Lists the files of an image; `None` where it is no FAT filesystem.
pub(in crate::master) fn read(device: &dyn BlockDevice, list: &mut List) -> Result<Option<About>> {
    let Some(mut volume) = Volume::open(device)? else { return Ok(None) };
    let mut label = String::new();
    let mut left = MAX_DIRECTORY_BYTES;
    let mut waiting = vec![(None, Vec::new())];
    while let Some((first, path)) = waiting.pop() {
        let extents = match (first, volume.layout().root) {
            (None, Root::Fixed { at, len }) => vec![Extent { at, len }],
            (None, Root::Chain(cluster)) => {
                list.enter(u64::from(cluster), &path)?;
                volume.chain(cluster, None, MAX_DIRECTORY, &path)?
            }
            (Some(cluster), _) => {
                list.enter(u64::from(cluster), &path)?;
                volume.chain(cluster, None, MAX_DIRECTORY, &path)?
            }
        };
        let mut bytes = Vec::new();
        for extent in extents {
            let len = usize::try_from(extent.len).unwrap_or(usize::MAX);
            left = left.checked_sub(extent.len).ok_or_else(|| corrupt("the directories are too large"))?;
            bytes.extend(drive::read(device, extent.at, len, &path)?);
        }
        let mut entries = Entries::default();
        for bytes in bytes.chunks_exact(ENTRY) {
            let Some(found) = entries.next(bytes) else { continue };
            match found {
                Found::End => break,
                Found::Label(text) if path.is_empty() => label = text,
                Found::Label(_) => {}
                Found::File { entry: short, long, .. } => {
                    let name = long.unwrap_or_else(|| short_name(&short));
                    let path = drive::join(&path, name.as_bytes())?;
                    let mut entry = Entry {
                        path,
                        file_type: FileType::Regular,
                        size: u64::from(short.size()),
                        attrs: None,
                        mtime: short.mtime(),
                        target: None,
                        extents: Vec::new(),
                    };
                    let first = short.cluster(volume.kind());
                    if short.is_directory() {
                        entry.file_type = FileType::Directory;
                        entry.size = 0;
                        waiting.push((Some(first), entry.path.clone()));
                    } else if short.size() > 0 {
                        entry.extents = volume.chain(first, Some(entry.size), entry.size, &entry.path)?;
                    }
                    list.add(entry)?;
                }
            }
        }
    }
    Ok(Some(About {
        format: DriveFormat::Vfat,
        view: volume.kind().name(),
        label,
        boot_label: Some(volume.layout().label.clone()),
        publisher: None,
    }))
}
