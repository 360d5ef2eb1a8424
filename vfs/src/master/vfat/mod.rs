//! FAT12, FAT16 and FAT32 with long names (VFAT).
//!
//! Directories come first and files after them, each in clusters that follow each other, so the table is written in one
//! go and what is not used stays a hole.

mod boot;
mod geometry;
mod read;
mod read_volume;
mod table;

use super::flat::{Flat, Numbered};
use super::{Image, Tree, refuse};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::fat::entry::{ARCHIVE, DIRECTORY, DOT, DOTS, Entry, VOLUME};
use crate::fs::fat::layout::{ENTRY, FIRST_CLUSTER, Kind};
use crate::fs::fat::name;
use crate::fs::{Content, Timestamp};
use geometry::{Geometry, SECTOR, TABLES};
pub(super) use read::read;
use table::Table;

/// The size of an image that nothing else is said of, in bytes: 64 MiB.
pub const DEFAULT_SIZE: u64 = 64 << 20;
/// The entries that a directory can have: Linux and Windows read no more than 2 MiB of one.
const DIRECTORY_MAX: u64 = 65_536;

/// What a FAT image is, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// The label: 1 to 11 printable ASCII characters without `"*+,./:;<=>?[\]|`, lower case kept.
    pub label: String,
    /// The size of the image in bytes, a multiple of 512.
    pub size: u64,
    /// The time of the volume and of all files; FAT knows 1980 to 2107, anything else becomes the nearest.
    pub time: Timestamp,
}

/// Lays a tree out as a FAT filesystem without a partition table, as `mkfs.vfat -n LABEL` and a copy of the tree would.
///
/// Up to 512 MiB it is FAT16, or FAT12 where that has too few clusters; larger ones are FAT32. `NoSpace` says how much is
/// needed and how much there is. `Invalid` names what cannot be kept: a file of 4 GiB or more, a name that is not UTF-8 or
/// that VFAT does not take, two names in one directory that differ in case only, a directory of more than 65,536 entries
/// (a long name takes up to 21).
pub fn image(tree: &Tree, options: &Options) -> Result<Image> {
    let label = label(&options.label)?;
    let flat = Flat::new(tree);
    let mut shorts = Vec::with_capacity(flat.directories.len());
    let mut entries = Vec::with_capacity(flat.directories.len());
    for (number, directory) in flat.directories.iter().enumerate() {
        let names: Vec<&[u8]> = directory.entries.iter().map(|(name, _)| *name).collect();
        check_names(&flat, number, &names)?;
        let short = name::short_names(&names);
        let long = names.iter().zip(&short).map(|(name, short)| long_entries(name, short).len() as u64 + 1);
        // The label, or "." and "..".
        let count = long.sum::<u64>() + if number == 0 { 1 } else { 2 };
        if count > DIRECTORY_MAX {
            let message = format!("its names take {count} entries, and a FAT directory has at most {DIRECTORY_MAX}");
            return Err(flat.refuse(directory.parent, directory.name, message));
        }
        entries.push(count);
        shorts.push(short);
    }
    let geometry = Geometry::new(options.size, entries[0])?;

    let mut next = FIRST_CLUSTER;
    let mut table = Table::new(geometry.kind);
    let mut needed = 0_u64;
    let mut take = |bytes: u64| {
        let clusters = bytes.div_ceil(geometry.cluster_size());
        needed += clusters;
        // What is beyond is never written: the sum is compared first.
        let count = u32::try_from(clusters).unwrap_or(u32::MAX);
        let first = if count == 0 { 0 } else { next };
        next = next.saturating_add(count);
        if needed <= u64::from(geometry.clusters) {
            table.chain(count);
        }
        first
    };
    let has_root_chain = geometry.kind == Kind::Fat32;
    let directories: Vec<u32> = (0..entries.len())
        .map(|number| if number == 0 && !has_root_chain { 0 } else { take(entries[number] * ENTRY) })
        .collect();
    let mut files = Vec::with_capacity(flat.files.len());
    for file in &flat.files {
        let Ok(size) = u32::try_from(file.content.len()) else {
            let message = format!("{} bytes, and FAT files are smaller than 4 GiB", file.content.len());
            return Err(flat.refuse(file.parent, file.name, message).with_hint("leave the file out, or split it"));
        };
        files.push((take(u64::from(size)), size));
    }
    if needed > u64::from(geometry.clusters) {
        return Err(no_space(needed, &geometry));
    }

    let mut image = Image::new(options.size);
    let serial = serial(&label, options.time);
    let boot = boot::boot_sector(&geometry, &label, serial);
    image.push(0, Content::bytes(boot.clone()))?;
    if has_root_chain {
        let free = geometry.clusters - (next - FIRST_CLUSTER);
        let counters = boot::counters(free, next.min(geometry.clusters + FIRST_CLUSTER - 1));
        image.push(SECTOR, Content::bytes(counters.clone()))?;
        image.push(boot::BACKUP * SECTOR, Content::bytes(boot))?;
        image.push((boot::BACKUP + 1) * SECTOR, Content::bytes(counters))?;
    }
    let table = Content::bytes(table.into_bytes());
    for number in 0..TABLES {
        image.push(geometry.table_at(number), table.clone())?;
    }
    for (number, first) in directories.iter().enumerate() {
        let at = if *first == 0 { geometry.root_at() } else { geometry.cluster_at(*first) };
        let mut bytes = Vec::new();
        if number == 0 {
            bytes.extend(Entry::new(&label, VOLUME, 0, 0, options.time).0);
        } else {
            let parent = flat.directories[number].parent;
            // The root is cluster 0 here, whatever it is.
            let above = if parent == 0 { 0 } else { directories[parent] };
            bytes.extend(Entry::new(DOT, DIRECTORY, *first, 0, options.time).0);
            bytes.extend(Entry::new(DOTS, DIRECTORY, above, 0, options.time).0);
        }
        for ((name, what), short) in flat.directories[number].entries.iter().zip(&shorts[number]) {
            bytes.extend(long_entries(name, short).into_iter().flatten());
            bytes.extend(match *what {
                Numbered::Directory(below) => Entry::new(short, DIRECTORY, directories[below], 0, options.time).0,
                Numbered::File(file) => Entry::new(short, ARCHIVE, files[file].0, files[file].1, options.time).0,
            });
        }
        image.push(at, Content::bytes(bytes))?;
    }
    for (file, (first, _)) in flat.files.iter().zip(&files).filter(|(_, (first, _))| *first != 0) {
        image.push(geometry.cluster_at(*first), file.content.clone())?;
    }
    Ok(image)
}

/// The long entries of a name that was looked at.
fn long_entries(name: &[u8], short: &[u8; 11]) -> Vec<[u8; 32]> {
    name::long_entries(&String::from_utf8_lossy(name), short)
}

fn check_names(flat: &Flat<'_>, directory: usize, names: &[&[u8]]) -> Result<()> {
    let mut folded = std::collections::BTreeMap::new();
    for name in names {
        if let Some(reason) = name::refusal(name) {
            return Err(flat.refuse(directory, name, reason).with_hint("rename it, or build an ISO 9660 image"));
        }
        if let Some(other) = folded.insert(name::folded(&String::from_utf8_lossy(name)), name) {
            let message =
                format!("FAT does not tell it from {:?} in the same directory", String::from_utf8_lossy(other));
            return Err(flat.refuse(directory, name, message).with_hint("rename it, or build an ISO 9660 image"));
        }
    }
    Ok(())
}

fn no_space(needed: u64, geometry: &Geometry) -> Error {
    let kib = |clusters: u64| (clusters * geometry.cluster_size()).div_ceil(1024);
    let message = format!(
        "the files need {} KiB (in clusters of {} bytes), and a FAT image of {} bytes has {} KiB for them",
        kib(needed),
        geometry.cluster_size(),
        u64::from(geometry.sectors) * SECTOR,
        kib(u64::from(geometry.clusters))
    );
    Error::new(ErrorKind::NoSpace, Layer::Master, message)
        .with_hint("give the image a larger size, or build an ISO 9660 image")
}

/// The label as both places have it: filled up with blanks.
fn label(text: &str) -> Result<[u8; 11]> {
    let allowed = |byte: u8| (0x20..0x7f).contains(&byte) && !b"\"*+,./:;<=>?[\\]|".contains(&byte);
    let is_label = (1..=11).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(' ');
    if !is_label {
        return Err(refuse(format!("{text:?} is no label that FAT takes: 1 to 11 letters, digits and the like")));
    }
    let mut label = [b' '; 11];
    label[..text.len()].copy_from_slice(text.as_bytes());
    Ok(label)
}

/// The serial number: the same for the same label and time.
fn serial(label: &[u8; 11], time: Timestamp) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(label), &time.seconds.to_le_bytes());
    crc32c::crc32c_append(sum, &time.nanoseconds.to_le_bytes())
}
