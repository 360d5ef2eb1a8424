//! Directory entries (Microsoft's FAT specification 1.03, "FAT Directory Structure" and "Long Directory Entries").

use super::code_page;
use super::layout::Kind;
use super::name::checksum;
use super::stamp::{self, Stamp};
use crate::field::{array, byte, le16, le32, text};
use crate::fs::Timestamp;

/// The attribute of a file that is not to be changed.
pub(crate) const READ_ONLY: u8 = 0x01;
/// The attribute of the entry that has the volume's label.
pub(crate) const VOLUME: u8 = 0x08;
/// The attribute of a directory.
pub(crate) const DIRECTORY: u8 = 0x10;
/// The attribute of a file that has changed since it was saved, as any new one has.
pub(crate) const ARCHIVE: u8 = 0x20;
/// The attributes of a piece of a long name.
const LONG: u8 = 0x0f;
/// The bits of an attribute that have a meaning.
const MEANING: u8 = 0x3f;
const LAST_LONG: u8 = 0x40;
/// The first byte of an entry that is free again.
pub(crate) const DELETED: u8 = 0xe5;
/// What stands for E5 at the beginning of a name.
const E5: u8 = 0x05;
/// The pieces of a long name at most.
const PIECES_MAX: u8 = 20;
/// The places of the units of a name in a piece.
pub(crate) const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// The names of a directory's first two entries.
pub(crate) const DOT: &[u8; 11] = b".          ";
pub(crate) const DOTS: &[u8; 11] = b"..         ";

/// An entry with a short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) [u8; 32]);

impl Entry {
    /// A new entry.
    pub(crate) fn new(name: &[u8; 11], attributes: u8, cluster: u32, size: u32, time: Timestamp) -> Self {
        let mut entry = Self([0; 32]);
        entry.put(0, name);
        entry.put(11, &[attributes]);
        entry.set_place(Kind::Fat32, cluster, size);
        entry.set_changed(time);
        let Stamp { date, clock, hundredths } = Stamp::new(time);
        entry.put(13, &[hundredths]);
        entry.put(14, &clock.to_le_bytes());
        entry.put(16, &date.to_le_bytes());
        entry
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }

    /// Gives it another name, which is shown as it stands.
    pub(crate) fn set_name(&mut self, name: &[u8; 11]) {
        self.put(0, name);
        self.put(12, &[0]);
    }

    /// Gives it another content. What stands before the upper half of a cluster's number elsewhere than in FAT32 stays.
    pub(crate) fn set_place(&mut self, kind: Kind, cluster: u32, size: u32) {
        let [c0, c1, c2, c3] = cluster.to_le_bytes();
        if kind == Kind::Fat32 {
            self.put(20, &[c2, c3]);
        }
        self.put(26, &[c0, c1]);
        self.put(28, &size.to_le_bytes());
    }

    /// Says that it was changed, and looked at, at this time.
    pub(crate) fn set_changed(&mut self, time: Timestamp) {
        let Stamp { date, clock, .. } = Stamp::new(time);
        self.put(18, &date.to_le_bytes());
        self.put(22, &clock.to_le_bytes());
        self.put(24, &date.to_le_bytes());
    }

    /// Adds attributes.
    pub(crate) fn add(&mut self, attributes: u8) {
        self.put(11, &[self.attributes() | attributes]);
    }

    /// The name as it is stored.
    pub(crate) fn short(&self) -> [u8; 11] {
        array(&self.0, 0).unwrap_or_default()
    }

    pub(crate) fn attributes(&self) -> u8 {
        byte(&self.0, 11).unwrap_or_default()
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.attributes() & DIRECTORY != 0
    }

    /// The first cluster, 0 where there is none.
    pub(crate) fn cluster(&self, kind: Kind) -> u32 {
        let half = |at| u32::from(le16(&self.0, at).unwrap_or_default());
        if kind == Kind::Fat32 { half(20) << 16 | half(26) } else { half(26) }
    }

    /// The size of a file in bytes.
    pub(crate) fn size(&self) -> u32 {
        le32(&self.0, 28).unwrap_or_default()
    }

    /// The time of the last change; `None` where there is no such time.
    pub(crate) fn mtime(&self) -> Option<Timestamp> {
        stamp::time(le16(&self.0, 24)?, le16(&self.0, 22)?)
    }
}

/// What an entry of a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This and all that follow were never used.
    End,
    /// The volume's label.
    Label(String),
    /// A file or a directory: its entry, its long name where that can be read, and the pieces of that before the entry.
    File { entry: Entry, long: Option<String>, pieces: u32 },
}

/// The entries of a directory as they come: pieces of a long name are kept for the entry after them.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// The pieces so far, the last of the name first.
    pieces: Vec<[u16; 13]>,
    /// The number that the next piece has, and the checksum that all have.
    expected: Option<(u8, u8)>,
}

impl Entries {
    /// `None` where it is free, a piece of a long name, `.` or `..`.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<Found> {
        let entry = Entry(array(bytes, 0)?);
        let name = entry.short();
        match name {
            [0, ..] => return Some(Found::End),
            [DELETED, ..] => {
                self.forget();
                return None;
            }
            _ if entry.attributes() & MEANING == LONG => {
                self.piece(&entry.0);
                return None;
            }
            _ => {}
        }
        let pieces = u32::try_from(self.pieces.len()).unwrap_or_default();
        let long = self.long(&name);
        if entry.attributes() & VOLUME != 0 {
            return Some(Found::Label(text(&restored(name))));
        }
        if matches!(&name, DOT | DOTS) {
            return None;
        }
        Some(match long {
            Some(long) => Found::File { entry, long, pieces },
            None => Found::File { entry, long: None, pieces: 0 },
        })
    }

    fn forget(&mut self) {
        self.pieces.clear();
        self.expected = None;
    }

    fn piece(&mut self, entry: &[u8; 32]) {
        let (Some(order), Some(check)) = (byte(entry, 0), byte(entry, 13)) else { return self.forget() };
        let number = order & 0x1f;
        if order & LAST_LONG != 0 {
            self.forget();
        } else if self.expected != Some((number, check)) {
            return self.forget();
        }
        if !(1..=PIECES_MAX).contains(&number) {
            return self.forget();
        }
        self.pieces.push(UNITS.map(|at| le16(entry, at).unwrap_or_default()));
        self.expected = Some((number.saturating_sub(1), check));
    }

    /// The long name that goes with a short one: all its pieces, whose checksum is that of the short name. `Some(None)` where
    /// they are all there and make no text.
    fn long(&mut self, short: &[u8; 11]) -> Option<Option<String>> {
        let expected = self.expected.take();
        let pieces = std::mem::take(&mut self.pieces);
        if expected != Some((0, checksum(short))) {
            return None;
        }
        let units = pieces.iter().rev().flatten().copied().take_while(|unit| *unit != 0);
        let name = char::decode_utf16(units).collect::<Result<String, _>>();
        Some(name.ok().filter(|name| !name.is_empty()))
    }
}

/// E5 marks an entry that is free, so a name that begins with it is stored with 05.
fn restored(mut name: [u8; 11]) -> [u8; 11] {
    if let [first @ E5, ..] = &mut name {
        *first = DELETED;
    }
    name
}

/// A short name with its dot; two bits of an entry say which part is shown in lower case (as Windows NT has it).
pub(crate) fn short_name(entry: &Entry) -> String {
    let case = byte(&entry.0, 12).unwrap_or_default();
    let name = restored(entry.short());
    let (stem, extension) = name.split_at(8);
    let part = |bytes: &[u8], lower: u8| -> String {
        let shown = bytes.trim_ascii_end().iter().map(|byte| code_page::character(*byte));
        if case & lower != 0 { shown.flat_map(char::to_lowercase).collect() } else { shown.collect() }
    };
    let (stem, extension) = (part(stem, 0x08), part(extension, 0x10));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}
