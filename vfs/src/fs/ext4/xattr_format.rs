//! The bytes of extended attributes: entries that grow from the front, values that grow from the end.
//!
//! Source: kernel Documentation/filesystems/ext4/attributes.rst. Entries in the inode follow a magic number, and their
//! values count from after it; in a block they follow a header, and their values count from the block's beginning.

use super::checksum::crc32c;
use super::le;
use super::xattr::{Apart, BlockChecksum, Stored, VALUE_MAX, Value};
use crate::error::{Error, ErrorKind, Layer, Result};

const MAGIC: u32 = 0xea02_0000;
/// Bytes of the magic number in the inode, of a block's header, of an entry before its name, and of the zero after
/// the last entry.
const AREA_HEADER: usize = 4;
const BLOCK_HEADER: usize = 32;
const ENTRY: usize = 16;
const END: usize = 4;
/// Where the block's header has the number of references, of blocks, the hash and the checksum.
const REFERENCES: usize = 4;
const BLOCKS: usize = 8;
const HASH: usize = 12;
const CHECKSUM: usize = 16;

/// The attributes in the inode; none where the magic number is not there.
pub(super) fn parse_area(area: &[u8]) -> Result<Vec<Stored>> {
    if le::u32_at(area, 0) != Some(MAGIC) {
        return Ok(Vec::new());
    }
    parse_entries(area.get(AREA_HEADER..).unwrap_or_default(), 0)
}

/// The attributes of a block, and how many inodes share it.
pub(super) fn parse_block(block: &[u8], checksum: Option<BlockChecksum>) -> Result<(u32, Vec<Stored>)> {
    let references = match (le::u32_at(block, 0), le::u32_at(block, REFERENCES), le::u32_at(block, BLOCKS)) {
        (Some(MAGIC), Some(references), Some(1)) if references > 0 => references,
        _ => return Err(corrupt("the header of an attribute block is malformed")),
    };
    if let Some(checksum) = checksum
        && le::u32_at(block, CHECKSUM) != Some(sum(block, checksum))
    {
        return Err(corrupt("the checksum of an attribute block is wrong"));
    }
    Ok((references, parse_entries(block, BLOCK_HEADER)?))
}

/// Sets the number of references of a well-formed block.
pub(super) fn set_references(block: &mut [u8], references: u32, checksum: Option<BlockChecksum>) -> Result<()> {
    put(block, REFERENCES, &references.to_le_bytes())?;
    seal(block, checksum)
}

/// The bytes that an inode needs for these attributes; none at all for none.
pub(super) fn area_length(entries: &[Stored]) -> usize {
    if entries.is_empty() { 0 } else { entries_length(entries).saturating_add(AREA_HEADER) }
}

/// The bytes that a block needs for these attributes.
pub(super) fn block_length(entries: &[Stored]) -> usize {
    entries_length(entries).saturating_add(BLOCK_HEADER)
}

/// The inode's bytes for these attributes; `NoSpace` where `length` is too short.
pub(super) fn encode_area(entries: &[Stored], length: usize) -> Result<Vec<u8>> {
    let mut area = vec![0; length];
    if entries.is_empty() {
        return Ok(area);
    }
    if area_length(entries) > length {
        return Err(no_space());
    }
    put(&mut area, 0, &MAGIC.to_le_bytes())?;
    // In the inode the kernel neither writes nor reads the hash of an entry that has its value there; zero is what a
    // checker expects then.
    let hash = |entry: &Stored| if matches!(entry.value, Value::Apart(_)) { entry_hash(entry) } else { 0 };
    encode_entries(area.get_mut(AREA_HEADER..).unwrap_or_default(), 0, entries, hash)?;
    Ok(area)
}

/// A block with these attributes, which have to be sorted, and one reference; `NoSpace` where they do not fit.
pub(super) fn encode_block(entries: &[Stored], size: usize, checksum: Option<BlockChecksum>) -> Result<Vec<u8>> {
    if block_length(entries) > size {
        return Err(no_space());
    }
    let mut block = vec![0; size];
    put(&mut block, 0, &MAGIC.to_le_bytes())?;
    put(&mut block, REFERENCES, &1_u32.to_le_bytes())?;
    put(&mut block, BLOCKS, &1_u32.to_le_bytes())?;
    put(&mut block, HASH, &block_hash(entries).to_le_bytes())?;
    encode_entries(&mut block, BLOCK_HEADER, entries, entry_hash)?;
    seal(&mut block, checksum)?;
    Ok(block)
}

/// Reads the entries from `first` on, whose values count from the beginning of `bytes`.
fn parse_entries(bytes: &[u8], first: usize) -> Result<Vec<Stored>> {
    let malformed = || corrupt("an extended attribute is malformed");
    let mut entries = Vec::new();
    let mut ranges = Vec::new();
    let mut offset = first;
    loop {
        let rest = bytes.get(offset..).unwrap_or_default();
        if le::u32_at(rest, 0).ok_or_else(malformed)? == 0 {
            break;
        }
        let (Some(name_length), Some(index), Some(at), Some(inode), Some(size)) =
            (le::u8_at(rest, 0), le::u8_at(rest, 1), le::u16_at(rest, 2), le::u32_at(rest, 4), le::u32_at(rest, 8))
        else {
            return Err(malformed());
        };
        let length = ENTRY.saturating_add(usize::from(name_length));
        let name = rest.get(ENTRY..length).ok_or_else(malformed)?;
        if name.contains(&0) {
            return Err(malformed());
        }
        let hash = le::u32_at(rest, 12).ok_or_else(malformed)?;
        let length_here = usize::try_from(size).map_err(|_| malformed())?;
        let value = match length_here {
            _ if inode != 0 && (size == 0 || size > VALUE_MAX) => return Err(malformed()),
            _ if inode != 0 => Value::Apart(Apart { inode, size, hash }),
            0 => Value::Here(Vec::new()),
            size => {
                let at = usize::from(at);
                // The value owns the bytes that fill it up to a multiple of 4.
                let padded = padded(size).and_then(|size| at.checked_add(size)).ok_or_else(malformed)?;
                if padded > bytes.len() {
                    return Err(malformed());
                }
                ranges.push((at, padded));
                let value = bytes.get(at..).and_then(|bytes| bytes.get(..size)).ok_or_else(malformed)?;
                Value::Here(value.to_vec())
            }
        };
        entries.push(Stored { index, name: name.to_vec(), value });
        offset = offset.saturating_add(length.next_multiple_of(4));
    }
    ranges.push((0, offset.saturating_add(END)));
    ranges.sort_unstable();
    if ranges.iter().zip(ranges.iter().skip(1)).any(|((_, end), (begin, _))| begin < end) {
        return Err(corrupt("extended attributes overlap"));
    }
    for (number, entry) in entries.iter().enumerate() {
        if entries.iter().take(number).any(|other| other.is(entry.index, &entry.name)) {
            return Err(corrupt("an extended attribute is there twice"));
        }
    }
    Ok(entries)
}

/// Writes entries from `first` on, and their values before the end, of which there has to be room for both.
fn encode_entries(bytes: &mut [u8], first: usize, entries: &[Stored], hash: fn(&Stored) -> u32) -> Result<()> {
    let mut offset = first;
    let mut end = bytes.len();
    for entry in entries {
        let (value, inode, size) = match &entry.value {
            Value::Here(value) => (value.as_slice(), 0, u32::try_from(value.len()).map_err(|_| no_space())?),
            Value::Apart(apart) => (&[][..], apart.inode, apart.size),
            Value::Large(_) => return Err(no_space()),
        };
        let padded = padded(value.len()).ok_or_else(no_space)?;
        end = end.checked_sub(padded).ok_or_else(no_space)?;
        let at = if value.is_empty() { 0 } else { end };
        let (Ok(at_field), Ok(name_length)) = (u16::try_from(at), u8::try_from(entry.name.len())) else {
            return Err(no_space());
        };
        put(bytes, end, value)?;
        put(bytes, offset, &[name_length, entry.index])?;
        put(bytes, offset.saturating_add(2), &at_field.to_le_bytes())?;
        put(bytes, offset.saturating_add(4), &inode.to_le_bytes())?;
        put(bytes, offset.saturating_add(8), &size.to_le_bytes())?;
        put(bytes, offset.saturating_add(12), &hash(entry).to_le_bytes())?;
        put(bytes, offset.saturating_add(ENTRY), &entry.name)?;
        offset = offset.saturating_add(entry_length(entry));
    }
    Ok(())
}

/// The bytes of all entries, the zero after them, and their values.
fn entries_length(entries: &[Stored]) -> usize {
    entries.iter().fold(END, |sum, entry| {
        let value = padded(entry.length()).unwrap_or(usize::MAX);
        sum.saturating_add(entry_length(entry)).saturating_add(value)
    })
}

fn entry_length(entry: &Stored) -> usize {
    ENTRY.saturating_add(entry.name.len()).next_multiple_of(4)
}

fn padded(length: usize) -> Option<usize> {
    length.checked_next_multiple_of(4)
}

/// The hash of an entry in a block: of the name's bytes and of the value's words. Bytes above 0x7f are taken as
/// positive, as the kernel has done since 6.2; checkers that know of the difference accept both.
fn entry_hash(entry: &Stored) -> u32 {
    let value = match &entry.value {
        Value::Here(value) => value,
        Value::Apart(apart) => return apart.hash,
        Value::Large(_) => return 0,
    };
    value.chunks(4).fold(name_hash(&entry.name, u32::from), |hash, chunk| {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

fn name_hash(name: &[u8], widen: fn(u8) -> u32) -> u32 {
    name.iter().fold(0, |hash: u32, &byte| hash.rotate_left(5) ^ widen(byte))
}

/// The hash of an entry whose value is in an inode of its own; `value` is the value's hash.
pub(super) fn apart_hash(name: &[u8], value: u32) -> u32 {
    name_hash(name, u32::from).rotate_left(16) ^ value
}

/// Whether an entry with this hash belongs to a value with that one: kernels before 6.2 took bytes of the name above
/// 0x7f as negative where the machine did.
pub(super) fn apart_hash_fits(name: &[u8], value: u32, hash: u32) -> bool {
    let signed = |byte: u8| i32::from(byte.cast_signed()).cast_unsigned();
    hash == apart_hash(name, value) || hash == name_hash(name, signed).rotate_left(16) ^ value
}

/// Whether a value of this length goes into an inode of its own at once, where that is allowed: an otherwise empty
/// block would have no room for it under a name of three bytes.
pub(super) fn is_large(length: usize, block: usize) -> bool {
    let least = BLOCK_HEADER + (ENTRY + 3).next_multiple_of(4) + END;
    padded(length).is_none_or(|length| length > block.saturating_sub(least))
}

/// Whether the values of a block leave the eighth of it to names that the kernel keeps for them, at most 1 KiB, where
/// values may have an inode of their own.
pub(super) fn leaves_room_for_names(entries: &[Stored], block: usize) -> bool {
    let values =
        entries.iter().fold(0_usize, |sum, entry| sum.saturating_add(padded(entry.length()).unwrap_or(usize::MAX)));
    block.saturating_sub(values) >= (block / 8).min(1024)
}

/// The hash of a block, by which the kernel finds one to share; 0 where an entry has none.
fn block_hash(entries: &[Stored]) -> u32 {
    let hashes = entries.iter().map(entry_hash);
    hashes.clone().try_fold(0_u32, |sum, hash| (hash != 0).then_some(sum.rotate_left(16) ^ hash)).unwrap_or(0)
}

fn seal(block: &mut [u8], checksum: Option<BlockChecksum>) -> Result<()> {
    match checksum {
        Some(checksum) => {
            let sum = sum(block, checksum);
            put(block, CHECKSUM, &sum.to_le_bytes())
        }
        None => Ok(()),
    }
}

/// The checksum of a block, over its number and its bytes with a checksum of zero.
fn sum(block: &[u8], checksum: BlockChecksum) -> u32 {
    let before = block.get(..CHECKSUM).unwrap_or_default();
    let after = block.get(CHECKSUM.saturating_add(4)..).unwrap_or_default();
    let sum = crc32c(checksum.seed, &checksum.block_number.to_le_bytes());
    crc32c(crc32c(crc32c(sum, before), &[0; 4]), after)
}

fn put(bytes: &mut [u8], offset: usize, field: &[u8]) -> Result<()> {
    le::put(bytes, offset, field).ok_or_else(no_space)
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Filesystem, message)
}

/// There is no room for the attributes of a file.
pub(super) fn no_space() -> Error {
    Error::new(ErrorKind::NoSpace, Layer::Filesystem, "the extended attributes of the file do not fit")
}
