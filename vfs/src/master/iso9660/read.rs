//! Reading ISO 9660 images (ECMA-119), those of genisoimage and xorriso too.

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::read_system_use::{self as system_use, RockRidge};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::{array, byte, le16, le32, part, text};
use crate::fs::{FileType, Timestamp};
use crate::master::drive::{self, About, DriveFormat, Entry, Extent, List, View, corrupt};
use crate::master::time::Civil;

pub(super) const SECTOR: u64 = 2048;
const SECTOR_LEN: usize = 2048;
const FIRST_DESCRIPTOR: u64 = 16;
/// How many descriptors are looked at.
const MAX_DESCRIPTORS: u64 = 64;
/// The most bytes of all directories.
const MAX_DIRECTORY_BYTES: u64 = 128 << 20;
/// The bytes of a record before its identifier (ECMA-119, 9.1).
const FIXED: usize = 33;

const HIDDEN_ROOT: &[u8] = b"\0";
const DIRECTORY: u8 = 2;
const ASSOCIATED: u8 = 4;
const NOT_FINAL: u8 = 0x80;

/// A record of a directory.
#[derive(Clone, Debug)]
struct Record {
    at: u64,
    size: u64,
    flags: u8,
    identifier: Vec<u8>,
    mtime: Option<Timestamp>,
    system_use: Vec<u8>,
}

/// A directory that is still to be read.
#[derive(Debug)]
struct Waiting {
    at: u64,
    /// `None` where its own first record says it.
    size: Option<u64>,
    path: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tree {
    /// With the bytes to be skipped before the fields.
    RockRidge {
        skip: usize,
    },
    Joliet,
    Plain,
}

/// Lists the files of an image; `None` where it is no ISO 9660 image.
pub(in crate::master) fn read(device: &dyn BlockDevice, view: View, list: &mut List) -> Result<Option<About>> {
    let Some((primary, joliet)) = descriptors(device)? else { return Ok(None) };
    let about = |view| About {
        format: DriveFormat::Iso9660,
        view,
        label: text(part(&primary, 40, 32).unwrap_or_default()),
        boot_label: None,
        publisher: Some(text(part(&primary, 318, 128).unwrap_or_default())).filter(|text| !text.is_empty()),
    };
    let root = root(&primary)?;
    let skip = if matches!(view, View::Best | View::RockRidge) { rock_ridge(device, &root)? } else { None };
    let missing = |name: &str| Error::unsupported(Layer::Master, format!("the image has no {name} tree"));
    let (tree, root, about) = match (view, skip, joliet) {
        (View::Best | View::RockRidge, Some(skip), _) => (Tree::RockRidge { skip }, root, about("Rock Ridge")),
        (View::RockRidge, None, _) => return Err(missing("Rock Ridge")),
        (View::Joliet, _, None) => return Err(missing("Joliet")),
        (View::Best | View::Joliet, _, Some(joliet)) => (Tree::Joliet, self::root(&joliet)?, about("Joliet")),
        (View::Best | View::Plain, _, _) => (Tree::Plain, root, about("ISO 9660")),
    };
    let mut left = MAX_DIRECTORY_BYTES;
    let mut waiting = vec![Waiting { at: root.at, size: Some(root.size), path: Vec::new() }];
    while let Some(next) = waiting.pop() {
        list.enter(next.at, &next.path)?;
        let size = match next.size {
            Some(size) => size,
            None => first_record(device, next.at, &next.path)?.size,
        };
        left = left
            .checked_sub(size)
            .ok_or_else(|| corrupt("the directories are too large").with_guest_path(&next.path))?;
        directory(device, tree, &next, size, list, &mut waiting)?;
    }
    Ok(Some(about))
}

/// The primary descriptor, and Joliet's where there is one.
type Descriptors = (Vec<u8>, Option<Vec<u8>>);

fn descriptors(device: &dyn BlockDevice) -> Result<Option<Descriptors>> {
    let (mut primary, mut joliet) = (None, None);
    for number in 0..MAX_DESCRIPTORS {
        let at = FIRST_DESCRIPTOR.saturating_add(number).saturating_mul(SECTOR);
        if at.saturating_add(SECTOR) > device.size() {
            break;
        }
        let descriptor = drive::read(device, at, SECTOR_LEN, b"")?;
        if part(&descriptor, 1, 5) != Some(b"CD001") {
            break;
        }
        match byte(&descriptor, 0) {
            Some(1) if primary.is_none() => primary = Some(descriptor),
            Some(2) if joliet.is_none() && is_joliet(&descriptor) => joliet = Some(descriptor),
            Some(255) => break,
            _ => {}
        }
    }
    let Some(primary) = primary else { return Ok(None) };
    if le16(&primary, 128) != Some(2048) {
        return Err(Error::unsupported(Layer::Master, "the logical blocks do not have 2048 bytes"));
    }
    Ok(Some((primary, joliet)))
}

fn is_joliet(descriptor: &[u8]) -> bool {
    matches!(part(descriptor, 88, 3), Some(b"%/@" | b"%/C" | b"%/E"))
}

fn root(descriptor: &[u8]) -> Result<Record> {
    let record = part(descriptor, 156, 34).and_then(Record::parse).filter(|record| record.is_directory());
    record.ok_or_else(|| corrupt("the root directory has no valid record"))
}

/// The first record of a directory, which is its own.
fn first_record(device: &dyn BlockDevice, at: u64, path: &[u8]) -> Result<Record> {
    let sector = drive::read(device, at, SECTOR_LEN, path)?;
    let record = record_at(&sector, 0).filter(|record| record.identifier == HIDDEN_ROOT && record.is_directory());
    record.ok_or_else(|| corrupt("there is no directory where it is said to be").with_guest_path(path))
}

/// The bytes to be skipped before each field of Rock Ridge, where it is used.
fn rock_ridge(device: &dyn BlockDevice, root: &Record) -> Result<Option<usize>> {
    let first = first_record(device, root.at, b"")?;
    Ok(system_use::shared(&first.system_use))
}

fn directory(
    device: &dyn BlockDevice,
    tree: Tree,
    this: &Waiting,
    size: u64,
    list: &mut List,
    waiting: &mut Vec<Waiting>,
) -> Result<()> {
    let len = usize::try_from(size).map_err(|_| corrupt("the directory is too large").with_guest_path(&this.path))?;
    let bytes = drive::read(device, this.at, len, &this.path)?;
    // The pieces before the last of a file in several.
    let mut pieces: Option<(Vec<u8>, Vec<Extent>)> = None;
    for sector in bytes.chunks(SECTOR_LEN) {
        let mut at = 0;
        while let Some(length) = byte(sector, at).filter(|length| *length != 0) {
            let record = record_at(sector, at)
                .ok_or_else(|| corrupt("a record of this directory is damaged").with_guest_path(&this.path))?;
            at = at.saturating_add(usize::from(length));
            if matches!(record.identifier.as_slice(), [0] | [1]) || record.flags & ASSOCIATED != 0 {
                continue;
            }
            entry(device, tree, this, record, &mut pieces, list, waiting)?;
        }
    }
    match pieces {
        Some(_) => Err(corrupt("the last part of a file is missing").with_guest_path(&this.path)),
        None => Ok(()),
    }
}

fn entry(
    device: &dyn BlockDevice,
    tree: Tree,
    this: &Waiting,
    record: Record,
    pieces: &mut Option<(Vec<u8>, Vec<Extent>)>,
    list: &mut List,
    waiting: &mut Vec<Waiting>,
) -> Result<()> {
    list.record(&this.path)?;
    let rock_ridge = match tree {
        Tree::RockRidge { skip } => {
            system_use::parse(device, record.system_use.get(skip..).unwrap_or_default(), &this.path, list)?
        }
        Tree::Joliet | Tree::Plain => RockRidge::default(),
    };
    // It has been moved to here, and is listed where it belongs.
    if rock_ridge.relocated {
        return Ok(());
    }
    let name = match (tree, &rock_ridge.name) {
        (Tree::RockRidge { .. }, Some(name)) => name.clone(),
        (Tree::Joliet, _) => joliet_name(&record.identifier),
        _ => plain_name(&record),
    };
    let path = drive::join(&this.path, &name)?;
    let mut extents = match pieces.take() {
        Some((identifier, extents)) if identifier == record.identifier => extents,
        Some(_) => return Err(corrupt("the parts of a file do not follow each other").with_guest_path(path)),
        None => Vec::new(),
    };
    let file_type = match rock_ridge.child {
        Some(_) => FileType::Directory,
        None if record.is_directory() => FileType::Directory,
        None => rock_ridge.file_type.filter(|kind| *kind != FileType::Directory).unwrap_or(FileType::Regular),
    };
    let mut found = Entry {
        path,
        file_type,
        size: 0,
        attrs: rock_ridge.attrs,
        mtime: record.mtime,
        target: rock_ridge.target,
        extents: Vec::new(),
    };
    match file_type {
        FileType::Directory => {
            let place = rock_ridge.child.map(|sector| u64::from(sector).saturating_mul(SECTOR));
            let size = if place.is_some() { None } else { Some(record.size) };
            waiting.push(Waiting { at: place.unwrap_or(record.at), size, path: found.path.clone() });
        }
        FileType::Regular => {
            if rock_ridge.compressed {
                return Err(Error::unsupported(Layer::Master, "a compressed file (zisofs)").with_guest_path(found.path));
            }
            if record.size > 0 {
                extents.push(drive::inside(device, record.at, record.size, &found.path)?);
            }
            if record.flags & NOT_FINAL != 0 {
                if extents.len() > 1024 {
                    return Err(corrupt("a file has too many parts").with_guest_path(found.path));
                }
                *pieces = Some((record.identifier, extents));
                return Ok(());
            }
            found.size = extents.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.len));
            found.extents = extents;
        }
        _ => {}
    }
    list.add(found)
}

fn record_at(sector: &[u8], at: usize) -> Option<Record> {
    Record::parse(part(sector, at, usize::from(byte(sector, at)?))?)
}

impl Record {
    fn parse(bytes: &[u8]) -> Option<Self> {
        // Where the two byte orders differ the little-endian one counts, as in Linux.
        let attributes = u64::from(byte(bytes, 1)?);
        let sector = u64::from(le32(bytes, 2)?).checked_add(attributes)?;
        let interleaved = array::<2>(bytes, 26)? != [0, 0];
        let length = usize::from(byte(bytes, 32)?);
        let identifier = part(bytes, FIXED, length).filter(|identifier| !identifier.is_empty())?.to_vec();
        let end = FIXED.checked_add(length)?;
        let padded = if length % 2 == 0 { end.checked_add(1)? } else { end };
        let record = Self {
            at: sector.checked_mul(SECTOR)?,
            size: u64::from(le32(bytes, 10)?),
            flags: byte(bytes, 25)?,
            identifier,
            mtime: short_date(array(bytes, 18)?),
            system_use: bytes.get(padded..).unwrap_or_default().to_vec(),
        };
        (!interleaved).then_some(record)
    }

    fn is_directory(&self) -> bool {
        self.flags & DIRECTORY != 0
    }
}

/// The name without the version, and without the dot of a file that has no extension.
fn plain_name(record: &Record) -> Vec<u8> {
    let name = unversioned(&record.identifier, b";");
    match name.strip_suffix(b".") {
        Some(stem) if !record.is_directory() && !stem.is_empty() => stem.to_vec(),
        _ => name.to_vec(),
    }
}

fn joliet_name(identifier: &[u8]) -> Vec<u8> {
    let units = identifier.chunks_exact(2).filter_map(|pair| array(pair, 0).map(u16::from_be_bytes));
    let name: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    unversioned(name.as_bytes(), b";").to_vec()
}

/// A name without a semicolon and the digits after it.
fn unversioned<'n>(name: &'n [u8], separator: &[u8]) -> &'n [u8] {
    let Some(at) = name.iter().rposition(|byte| separator.contains(byte)) else { return name };
    let (stem, version) = name.split_at(at);
    let is_version = version.len() > 1 && version.iter().skip(1).all(u8::is_ascii_digit);
    if is_version && !stem.is_empty() { stem } else { name }
}

/// The time of a record (9.1.5), whose offset from UTC is counted in quarters of an hour.
fn short_date([year, month, day, hour, minute, second, offset]: [u8; 7]) -> Option<Timestamp> {
    let year = i64::from(year).checked_add(1900)?;
    let time = Civil { year, month, day, hour, minute, second }.timestamp()?;
    let offset = i64::from(i8::from_ne_bytes([offset])).checked_mul(900)?;
    Some(Timestamp { seconds: time.seconds.checked_sub(offset)?, nanoseconds: 0 })
}
