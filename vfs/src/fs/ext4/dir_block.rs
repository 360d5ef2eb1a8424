//! One block of directory entries, checked when it is read and sealed when it is written.
//!
//! Source: kernel Documentation/filesystems/ext4/directory.rst.

use super::block_bytes::{BlockBytes, Found};
use super::checksum::crc32c;
use super::le;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::FileType;

/// Bytes of an entry before its name.
const HEADER: usize = 8;
/// Bytes of the checksum tail: an entry of inode 0 without a name, the type `TAIL_TYPE` and the checksum.
const TAIL: usize = 12;
const TAIL_TYPE: u8 = 0xde;
/// The longest name in bytes.
const NAME_MAX: usize = 255;

/// Whether entries hold the type of the file they name (the `filetype` feature).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileTypes {
    /// They do.
    Stored,
    /// They do not: the inode has to be asked.
    Absent,
}

/// What the blocks of one directory have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockFormat {
    /// Whether entries hold types.
    pub(super) file_types: FileTypes,
    /// The directory's seed ([`super::checksum::inode_seed`]) where the filesystem has `metadata_csum`.
    pub(super) checksum_seed: Option<u32>,
}

/// A place for an entry, in use or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot<'b> {
    /// Where it begins in the block.
    pub(super) offset: usize,
    /// How many bytes it has, a multiple of 4.
    pub(super) length: usize,
    /// The inode, 0 where the slot is not in use.
    pub(super) inode: u32,
    /// The name; of a slot in use 1 to 255 bytes without slash and NUL.
    pub(super) name: &'b [u8],
    /// The type where one is stored that is known.
    pub(super) file_type: Option<FileType>,
}

/// What stands before the name in a slot.
#[derive(Clone, Copy)]
struct Head {
    offset: usize,
    length: usize,
    inode: u32,
    /// The length of the name.
    name: usize,
    kind: u8,
}

impl Head {
    /// Reads what is at a byte of the entries of a block of `size` bytes; `None` where that is too near to their end.
    fn read(entries: &[u8], offset: usize, size: usize) -> Option<Self> {
        let header = entries.get(offset..)?.first_chunk::<HEADER>()?;
        let ([inode @ .., _, _, _, _], [_, _, _, _, length @ .., name, kind]) = (header, header);
        Some(Self {
            offset,
            length: stored_length(u16::from_le_bytes(*length), size),
            inode: u32::from_le_bytes(*inode),
            name: usize::from(*name),
            kind: *kind,
        })
    }

    /// The bytes that the slot needs for itself; the rest may go to another.
    fn used(self) -> usize {
        if self.inode == 0 { 0 } else { entry_length(self.name) }
    }
}

/// Whether an entry found its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Placed {
    /// It has.
    Here,
    /// No slot is large enough; the block is as it was.
    Full,
}

/// A block whose entries are all well formed and, on a filesystem with checksums, whose checksum was right.
#[derive(Clone, Debug)]
pub(super) struct DirBlock {
    bytes: BlockBytes,
    format: BlockFormat,
}

/// The bytes of an entry with a name of so many: the header and the name, rounded up to 4.
pub(super) fn entry_length(name: usize) -> usize {
    name.saturating_add(HEADER).next_multiple_of(4)
}

/// Refuses as `Invalid` what cannot be the name of a file: nothing, more than 255 bytes, `.`, `..`, a slash, a NUL.
pub(super) fn check_name(name: &[u8]) -> Result<()> {
    let wrong = |what: &str| Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, format!("a file name {what}")));
    match name {
        [] => wrong("cannot be empty"),
        b"." | b".." => wrong("cannot be . or .."),
        _ if name.len() > NAME_MAX => wrong("cannot be longer than 255 bytes"),
        _ if has_forbidden(name) => wrong("cannot hold a slash or a NUL"),
        _ => Ok(()),
    }
}

/// Whether a name has a byte that none can have. One look at each, however the name goes on: names are short.
fn has_forbidden(name: &[u8]) -> bool {
    name.iter().fold(false, |found, byte| found | (*byte == 0) | (*byte == b'/'))
}

impl DirBlock {
    /// A block without entries.
    pub(super) fn empty(size: usize, format: BlockFormat) -> Result<Self> {
        let mut block = Self { bytes: vec![0; size].into(), format };
        let length = block.end();
        block.put_length(0, length)?;
        if block.format.checksum_seed.is_some() {
            block.put_length(length, TAIL)?;
            block.put(length.saturating_add(7), &[TAIL_TYPE])?;
        }
        Ok(block)
    }

    /// The first block of a directory: `.` is `own` and `..` is `parent`.
    pub(super) fn first(size: usize, format: BlockFormat, own: u32, parent: u32) -> Result<Self> {
        let mut block = Self::empty(size, format)?;
        for (name, inode) in [(&b"."[..], own), (b"..", parent)] {
            if block.insert(name, inode, Some(FileType::Directory))? == Placed::Full {
                return Err(corrupt("a block has no room for . and .."));
            }
        }
        Ok(block)
    }

    /// Checks a block as read: every slot a multiple of 4 and large enough for its name, the last one ending where the
    /// block or its checksum begins, names as names can be, and the checksum right. `Corrupt` otherwise.
    pub(super) fn parse(bytes: impl Into<BlockBytes>, format: BlockFormat) -> Result<Self> {
        let block = Self { bytes: bytes.into(), format };
        if block.bytes.are(Found::Entries(format)) {
            return Ok(block);
        }
        if block.format.checksum_seed.is_some() {
            block.check_tail()?;
        }
        let mut offset = 0_usize;
        while offset < block.end() {
            // A slot has at least its header, so that this ends.
            offset = offset.saturating_add(block.checked_slot(offset)?);
        }
        block.bytes.note(Found::Entries(format));
        Ok(block)
    }

    /// The bytes to write, with the checksum of what they are now.
    pub(super) fn seal(mut self) -> Result<BlockBytes> {
        if let Some(seed) = self.format.checksum_seed {
            let end = self.end();
            let sum = crc32c(seed, self.bytes.get(..end).unwrap_or_default());
            self.put(end.saturating_add(8), &sum.to_le_bytes())?;
        }
        self.bytes.note(Found::Entries(self.format));
        Ok(self.bytes)
    }

    /// All slots in their order.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.heads().map_while(|head| self.slot(head))
    }

    /// The headers of all slots in their order.
    fn heads(&self) -> impl Iterator<Item = Head> + use<'_> {
        // Parsed blocks have no bad slot, and the methods here keep it so.
        let bytes = self.bytes.get(..self.end()).unwrap_or_default();
        let size = self.bytes.len();
        let mut offset = 0_usize;
        std::iter::from_fn(move || {
            let head = Head::read(bytes, offset, size).filter(|head| head.length > 0)?;
            offset = offset.saturating_add(head.length);
            Some(head)
        })
    }

    /// The slots in use.
    pub(super) fn entries(&self) -> impl Iterator<Item = Slot<'_>> {
        self.slots().filter(|slot| slot.inode != 0)
    }

    /// The entry of this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<Slot<'_>> {
        let ends_alike = |head: &Head| {
            let last = head.offset.saturating_add(HEADER).saturating_add(name.len()).checked_sub(1);
            last.and_then(|last| self.bytes.get(last)) == name.last()
        };
        // Many names begin alike, and are as long.
        let alike = self.heads().filter(|head| head.name == name.len() && ends_alike(head) && head.inode != 0);
        alike.filter_map(|head| self.slot(head)).find(|slot| slot.name == name)
    }

    /// Puts an entry into the first slot with room; the name is not looked for first. Names that cannot be are
    /// `Invalid`, but `.` and `..` are taken; so is inode 0.
    pub(super) fn insert(&mut self, name: &[u8], inode: u32, file_type: Option<FileType>) -> Result<Placed> {
        if !matches!(name, b"." | b"..") {
            check_name(name)?;
        }
        if inode == 0 {
            return Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, "an entry cannot name inode 0"));
        }
        let need = entry_length(name.len());
        let found = self.heads().find(|head| head.length.saturating_sub(head.used()) >= need);
        let Some(head) = found else { return Ok(Placed::Full) };
        let (before, length, used) = (head.offset, head.length, head.used());
        if used > 0 {
            self.put_length(before, used)?;
        }
        let name_length = u8::try_from(name.len()).map_err(|_| corrupt("a name is too long"))?;
        let [i0, i1, i2, i3] = inode.to_le_bytes();
        let [l0, l1] = length_field(length.saturating_sub(used), self.bytes.len())?.to_le_bytes();
        let offset = before.saturating_add(used);
        self.put(offset, &[i0, i1, i2, i3, l0, l1, name_length, self.type_code(file_type)])?;
        self.put(offset.saturating_add(HEADER), name)?;
        Ok(Placed::Here)
    }

    /// Removes the entry of this name; gives whether it was there. Its bytes are wiped.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<bool> {
        let mut before = None;
        let mut found = None;
        for slot in self.slots() {
            if slot.inode != 0 && slot.name == name {
                found = Some((slot.offset, slot.length));
                break;
            }
            before = Some((slot.offset, slot.length));
        }
        let Some((offset, length)) = found else { return Ok(false) };
        let end = offset.saturating_add(length);
        if let Some(bytes) = self.bytes.to_mut().get_mut(offset..end) {
            bytes.fill(0);
        }
        match before {
            Some((offset, before)) => self.put_length(offset, before.saturating_add(length))?,
            None => self.put_length(offset, length)?,
        }
        Ok(true)
    }

    /// Makes the entry of this name point to another inode; gives whether it was there.
    pub(super) fn change(&mut self, name: &[u8], inode: u32, file_type: Option<FileType>) -> Result<bool> {
        let Some(offset) = self.find(name).map(|slot| slot.offset) else { return Ok(false) };
        self.put(offset, &inode.to_le_bytes())?;
        self.put(offset.saturating_add(7), &[self.type_code(file_type)])?;
        Ok(true)
    }

    /// Where the entries end: at the block's end, or at the checksum before it.
    fn end(&self) -> usize {
        match self.format.checksum_seed {
            Some(_) => self.bytes.len().saturating_sub(TAIL),
            None => self.bytes.len(),
        }
    }

    /// The slot behind a header, without a look at whether it is well formed; `None` where the block has no room for the
    /// name.
    fn slot(&self, head: Head) -> Option<Slot<'_>> {
        let Head { offset, length, inode, name, kind } = head;
        let name = self.bytes.get(offset..self.end())?.get(HEADER..)?.get(..name)?;
        let file_type = match self.format.file_types {
            FileTypes::Stored => type_of(kind),
            FileTypes::Absent => None,
        };
        Some(Slot { offset, length, inode, name, file_type })
    }

    /// Checks the slot at a byte, and gives its length.
    fn checked_slot(&self, offset: usize) -> Result<usize> {
        let wrong = |what: &str| corrupt(format!("directory entry at byte {offset} of its block: {what}"));
        let bytes = self.bytes.get(..self.end()).unwrap_or_default();
        let Some(head) = Head::read(bytes, offset, self.bytes.len()) else { return Err(wrong("no room for it")) };
        let Head { length, kind, .. } = head;
        if !length.is_multiple_of(4) || length < entry_length(head.name.max(1)) {
            return Err(wrong("impossible length"));
        }
        match bytes.len().saturating_sub(offset).checked_sub(length) {
            None => return Err(wrong("longer than the block")),
            Some(rest) if rest != 0 && rest < entry_length(1) => return Err(wrong("too near to the end of the block")),
            Some(_) => {}
        }
        let Some(slot) = self.slot(head) else { return Err(wrong("impossible name")) };
        if slot.inode != 0 && (slot.name.is_empty() || has_forbidden(slot.name)) {
            return Err(wrong("impossible name"));
        }
        if self.format.file_types == FileTypes::Absent && kind != 0 && slot.inode != 0 {
            // The byte is then the upper half of the name's length.
            return Err(wrong("impossible name length"));
        }
        Ok(length)
    }

    fn check_tail(&self) -> Result<()> {
        let Some(seed) = self.format.checksum_seed else { return Ok(()) };
        let end = self.end();
        let tail = self.bytes.get(end..).unwrap_or_default();
        let marked = le::u32_at(tail, 0) == Some(0)
            && le::u16_at(tail, 4).is_some_and(|length| usize::from(length) == TAIL)
            && le::u16_at(tail, 6) == Some(u16::from_le_bytes([0, TAIL_TYPE]));
        if !marked {
            return Err(corrupt("a directory block has no place for its checksum"));
        }
        match le::u32_at(tail, 8) {
            Some(sum) if sum == crc32c(seed, self.bytes.get(..end).unwrap_or_default()) => Ok(()),
            _ => Err(corrupt("the checksum of a directory block is wrong")),
        }
    }

    fn put(&mut self, offset: usize, field: &[u8]) -> Result<()> {
        le::put(self.bytes.to_mut(), offset, field).ok_or_else(|| corrupt("a directory block is too small"))
    }

    fn put_length(&mut self, offset: usize, length: usize) -> Result<()> {
        let field = length_field(length, self.bytes.len())?;
        self.put(offset.saturating_add(4), &field.to_le_bytes())
    }

    fn type_code(&self, file_type: Option<FileType>) -> u8 {
        match (self.format.file_types, file_type) {
            (FileTypes::Absent, _) | (_, None) => 0,
            (_, Some(FileType::Regular)) => 1,
            (_, Some(FileType::Directory)) => 2,
            (_, Some(FileType::CharDevice)) => 3,
            (_, Some(FileType::BlockDevice)) => 4,
            (_, Some(FileType::Fifo)) => 5,
            (_, Some(FileType::Socket)) => 6,
            (_, Some(FileType::Symlink)) => 7,
        }
    }
}

fn type_of(code: u8) -> Option<FileType> {
    match code {
        1 => Some(FileType::Regular),
        2 => Some(FileType::Directory),
        3 => Some(FileType::CharDevice),
        4 => Some(FileType::BlockDevice),
        5 => Some(FileType::Fifo),
        6 => Some(FileType::Socket),
        7 => Some(FileType::Symlink),
        _ => None,
    }
}

/// The field in which an entry's length is stored. A whole block of 64 KiB does not fit and has a mark of its own.
pub(super) fn length_field(length: usize, block_size: usize) -> Result<u16> {
    match u16::try_from(length) {
        Ok(field) => Ok(field),
        Err(_) if length == block_size && block_size == 0x1_0000 => Ok(u16::MAX),
        Err(_) => Err(Error::unsupported(Layer::Filesystem, format!("directories in blocks of {block_size} bytes"))),
    }
}

/// The length that [`length_field`] stored.
pub(super) fn stored_length(field: u16, block_size: usize) -> usize {
    match field {
        0 | u16::MAX if block_size == 0x1_0000 => block_size,
        field => usize::from(field),
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Filesystem, message)
}

#[cfg(test)]
mod tests;
