//! Reading FAT12, FAT16 and FAT32 filesystems, those of mkfs.vfat and mtools too.

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::read_volume::{Root, Volume};
use crate::block::BlockDevice;
use crate::error::Result;
use crate::field::{array, byte, le16, le32, text};
use crate::fs::{FileType, Timestamp};
use crate::master::drive::{self, About, DriveFormat, Entry, List, corrupt};
use crate::master::time::Civil;

const ENTRY: usize = 32;
/// The most bytes of a directory (Linux's FAT_MAX_DIR_SIZE).
const MAX_DIRECTORY: u64 = 2 << 20;
/// The most bytes of all directories.
const MAX_DIRECTORY_BYTES: u64 = 128 << 20;

const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG: u8 = 0x0f;
/// The bits of an attribute that have a meaning.
const MEANING: u8 = 0x3f;
const LAST_LONG: u8 = 0x40;
const DELETED: u8 = 0xe5;
/// The places of the units of a name in a long entry.
const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Lists the files of an image; `None` where it is no FAT filesystem.
pub(in crate::master) fn read(device: &dyn BlockDevice, list: &mut List) -> Result<Option<About>> {
    let Some(mut volume) = Volume::open(device)? else { return Ok(None) };
    let mut label = String::new();
    let mut left = MAX_DIRECTORY_BYTES;
    let mut waiting = vec![(None, Vec::new())];
    while let Some((first, path)) = waiting.pop() {
        let extents = match (first, volume.root()) {
            (None, Root::Fixed(extent)) => vec![extent],
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
        let mut names = Names::default();
        for entry in bytes.chunks_exact(ENTRY) {
            let Some(found) = names.next(entry) else { continue };
            match found {
                Found::End => break,
                Found::Label(text) if path.is_empty() => label = text,
                Found::Label(_) => {}
                Found::File(short) => {
                    let path = drive::join(&path, &short.name)?;
                    let mut entry = Entry {
                        path,
                        file_type: FileType::Regular,
                        size: u64::from(short.size),
                        attrs: None,
                        mtime: short.mtime,
                        target: None,
                        extents: Vec::new(),
                    };
                    if short.attributes & DIRECTORY != 0 {
                        entry.file_type = FileType::Directory;
                        entry.size = 0;
                        waiting.push((Some(short.cluster), entry.path.clone()));
                    } else if short.size > 0 {
                        entry.extents = volume.chain(short.cluster, Some(entry.size), entry.size, &entry.path)?;
                    }
                    list.add(entry)?;
                }
            }
        }
    }
    Ok(Some(About {
        format: DriveFormat::Vfat,
        view: volume.name(),
        label,
        boot_label: Some(volume.label()),
        publisher: None,
    }))
}

/// What an entry of a directory is.
enum Found {
    End,
    Label(String),
    File(Short),
}

/// An entry with its name, the long one where it has one.
struct Short {
    name: Vec<u8>,
    attributes: u8,
    cluster: u32,
    size: u32,
    mtime: Option<Timestamp>,
}

/// The entries of a directory as they come: long ones are kept for the short one after them.
#[derive(Debug, Default)]
struct Names {
    /// The pieces so far, the last of the name first.
    pieces: Vec<[u16; 13]>,
    /// The number that the next piece has, and the checksum that all have.
    expected: Option<(u8, u8)>,
}

impl Names {
    /// `None` where it is a deleted entry, a piece of a long name, `.` or `..`.
    fn next(&mut self, entry: &[u8]) -> Option<Found> {
        let name: [u8; 11] = array(entry, 0)?;
        let attributes = byte(entry, 11)?;
        let [first, ..] = name;
        if first == 0 {
            return Some(Found::End);
        }
        if first == DELETED {
            self.forget();
            return None;
        }
        if attributes & MEANING == LONG {
            self.piece(entry);
            return None;
        }
        let long = self.long(&name);
        if attributes & VOLUME != 0 {
            return Some(Found::Label(text(&restored(name))));
        }
        if matches!(&name, b".          " | b"..         ") {
            return None;
        }
        let high = u32::from(le16(entry, 20)?);
        let cluster = high.checked_shl(16)? | u32::from(le16(entry, 26)?);
        Some(Found::File(Short {
            name: long.unwrap_or_else(|| short_name(name, byte(entry, 12).unwrap_or_default())),
            attributes,
            cluster,
            size: le32(entry, 28)?,
            mtime: stamp(le16(entry, 24)?, le16(entry, 22)?),
        }))
    }

    fn forget(&mut self) {
        self.pieces.clear();
        self.expected = None;
    }

    fn piece(&mut self, entry: &[u8]) {
        let (Some(order), Some(check)) = (byte(entry, 0), byte(entry, 13)) else { return self.forget() };
        let number = order & 0x1f;
        if order & LAST_LONG != 0 {
            self.forget();
        } else if self.expected != Some((number, check)) {
            return self.forget();
        }
        if !(1..=20).contains(&number) {
            return self.forget();
        }
        self.pieces.push(UNITS.map(|at| le16(entry, at).unwrap_or_default()));
        self.expected = Some((number.saturating_sub(1), check));
    }

    /// The long name that goes with a short one: all its pieces, whose checksum is that of the short name.
    fn long(&mut self, short: &[u8; 11]) -> Option<Vec<u8>> {
        let expected = self.expected.take();
        let pieces = std::mem::take(&mut self.pieces);
        if expected != Some((0, super::name::checksum(short))) {
            return None;
        }
        let units = pieces.iter().rev().flatten().copied().take_while(|unit| *unit != 0);
        let name: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Some(name.into_bytes()).filter(|name| !name.is_empty())
    }
}

/// E5 marks a deleted entry, so a name that begins with it is stored with 05.
fn restored([first, rest @ ..]: [u8; 11]) -> [u8; 11] {
    let mut name = [if first == 0x05 { DELETED } else { first }; 11];
    if let Some(tail) = name.get_mut(1..) {
        tail.copy_from_slice(&rest);
    }
    name
}

/// What the bytes from 0x80 mean in short names: code page 437, as in Linux; which one was meant is not recorded.
const CODE_PAGE: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A short name with its dot; two bits say which part is shown in lower case.
fn short_name(name: [u8; 11], case: u8) -> Vec<u8> {
    let name = restored(name);
    let (stem, extension) = name.split_at(8);
    let part = |bytes: &[u8], lower: bool| -> Vec<u8> {
        let shown = |byte: &u8| match byte.checked_sub(0x80) {
            Some(place) => CODE_PAGE.chars().nth(usize::from(place)).unwrap_or(char::REPLACEMENT_CHARACTER),
            None => char::from(*byte),
        };
        let name: String = bytes.trim_ascii_end().iter().map(shown).collect();
        if lower { name.to_lowercase().into_bytes() } else { name.into_bytes() }
    };
    let (stem, extension) = (part(stem, case & 0x08 != 0), part(extension, case & 0x10 != 0));
    if extension.is_empty() { stem } else { [stem, extension].join(&b'.') }
}

/// The time of an entry, as if it were UTC.
fn stamp(date: u16, clock: u16) -> Option<Timestamp> {
    let small = |number: u16| u8::try_from(number).ok();
    Civil {
        year: i64::from(date >> 9).checked_add(1980)?,
        month: small(date >> 5 & 0x0f)?,
        day: small(date & 0x1f)?,
        hour: small(clock >> 11)?,
        minute: small(clock >> 5 & 0x3f)?,
        second: small(clock & 0x1f)?.checked_mul(2)?,
    }
    .timestamp()
}
