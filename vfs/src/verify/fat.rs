//! The second reader of FAT: the crate `fatfs`, which shares no code with the writer. It can not write, and its steps are counted.

use super::{Verdict, compare, compare_content, differs};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use crate::fs::FileType;
use crate::fs::fat::code_page;
use crate::path::Resolved;
use crate::stage::{Change, ChangeSet};
use fatfs::{Dir, DirEntry, FileSystem, FsOptions, OemCpConverter};
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::sync::Arc;

/// How many bytes may be read to check one change, beside twice its content: a chain that runs in a circle ends with them.
const READ_MAX: u64 = 256 << 20;
/// What is read of the volume at once, in bytes, and how many of these are held.
const BLOCK: u64 = 4096;
const BLOCKS: usize = 64;

/// Reads every changed path back.
pub(super) fn read_back(volume: Arc<dyn BlockDevice>, changes: &ChangeSet) -> Result<Verdict> {
    let left = Rc::new(Cell::new(READ_MAX));
    let disk = Disk { volume, at: 0, left: Rc::clone(&left), blocks: HashMap::new() };
    let options = FsOptions::new().update_accessed_date(false).oem_cp_converter(&CodePage);
    let fs = match FileSystem::new(disk, options) {
        Ok(fs) => fs,
        Err(error) => {
            return match error.downcast::<Error>() {
                Ok(source) if source.kind() != ErrorKind::Invalid => Err(source),
                // The boot sector, which no change writes to, is not to its taste.
                Ok(source) => Ok(Verdict::Unknown { reason: source.to_string() }),
                Err(error) => Ok(Verdict::Unknown { reason: error.to_string() }),
            };
        }
    };
    let mut listings = Vec::new();
    for change in changes.changes() {
        let content = change.after.as_ref().map_or(0, |after| after.metadata.size);
        left.set(content.saturating_mul(2).saturating_add(READ_MAX));
        check(&fs, &mut listings, change)?;
    }
    Ok(Verdict::Agrees { by: "fatfs", paths: changes.changes().len(), xattrs_unverified: 0 })
}

/// A directory that was read: its entries, and their places by their [folded] names.
struct Listing<'f> {
    directory: Resolved,
    entries: Vec<DirEntry<'f, Disk>>,
    names: HashMap<String, usize>,
}

/// Checks a change; the changes come in the order of their paths, so that the directories above the last one are at hand.
fn check<'f>(fs: &'f FileSystem<Disk>, listings: &mut Vec<Listing<'f>>, change: &Change) -> Result<()> {
    let at = &change.path;
    let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(()) };
    let is_above = |last: &Listing<'_>| at.ancestors().any(|above| above == last.directory.as_bytes());
    while listings.pop_if(|last| !is_above(last)).is_some() {}
    if listings.last().is_none_or(|last| last.directory != parent) {
        listings.extend(list(fs, &parent)?);
    }
    let listing = listings.last().filter(|last| last.directory == parent);
    let name = folded(&String::from_utf8_lossy(name));
    let entry = listing.and_then(|listing| listing.entries.get(*listing.names.get(&name)?));
    let (entry, after) = match (entry, &change.after) {
        (None, None) => return Ok(()),
        (Some(_), None) => return Err(differs(at, "it is still there after it was removed")),
        (None, Some(_)) => return Err(differs(at, "it is missing after the change")),
        (Some(entry), Some(after)) => (entry, after),
    };
    let found = if entry.is_dir() { FileType::Directory } else { FileType::Regular };
    compare(at, "type", found, after.metadata.file_type, |file_type| format!("{file_type:?}"))?;
    if found == FileType::Directory {
        // That it can be read is to be seen, too.
        return list(fs, at).map(drop);
    }
    compare(at, "size", entry.len(), after.metadata.size, u64::to_string)?;
    let Some(content) = &after.content else { return Ok(()) };
    let mut file = entry.to_file();
    compare_content(at, content, |part, _| {
        let mut filled = 0;
        while let Some(rest) = part.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read(rest).map_err(|error| unreadable(at, error))? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    })
}

/// The entries of a directory; `None` where it is missing.
fn list<'f>(fs: &'f FileSystem<Disk>, at: &Resolved) -> Result<Option<Listing<'f>>> {
    let text = String::from_utf8_lossy(at.as_bytes());
    let path = text.trim_matches('/');
    let directory: io::Result<Dir<'f, Disk>> = match path {
        "" => Ok(fs.root_dir()),
        path => fs.root_dir().open_dir(path),
    };
    let directory = match directory {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(at, error)),
    };
    let (mut entries, mut names) = (Vec::new(), HashMap::new());
    for entry in directory.iter() {
        let entry = entry.map_err(|error| unreadable(at, error))?;
        let name = folded(&entry.file_name());
        if matches!(name.as_str(), "." | "..") {
            continue;
        }
        let short = folded(&entry.short_file_name());
        if names.insert(name.clone(), entries.len()).is_some()
            || (short != name && names.insert(short, entries.len()).is_some())
        {
            return Err(differs(at, format!("one of its names is there twice: {name:?}")));
        }
        entries.push(entry);
    }
    Ok(Some(Listing { directory: at.clone(), entries, names }))
}

/// A name in upper case, as far as a letter has one and is that one's lower case: `ß` and `ı` are letters of their own.
fn folded(name: &str) -> String {
    let upper = |letter: char| {
        let mut upper = letter.to_uppercase();
        let (Some(upper), None) = (upper.next(), upper.next()) else { return letter };
        if upper.to_lowercase().eq([letter]) { upper } else { letter }
    };
    name.chars().map(upper).collect()
}

fn unreadable(at: &Resolved, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        // It followed a chain out of the volume.
        Ok(source) if source.kind() == ErrorKind::Invalid => differs(at, "it cannot be read back").with_source(source),
        Ok(source) => source,
        Err(error) => differs(at, "it cannot be read back").with_source(error),
    }
}

/// The code page of short names, as the driver has it.
#[derive(Debug)]
struct CodePage;

impl OemCpConverter for CodePage {
    fn decode(&self, byte: u8) -> char {
        code_page::character(byte)
    }

    fn encode(&self, character: char) -> Option<u8> {
        (0..=u8::MAX).find(|byte| code_page::character(*byte) == character)
    }
}

/// The volume as the reader wants it.
struct Disk {
    volume: Arc<dyn BlockDevice>,
    at: u64,
    /// How many bytes may still be read.
    left: Rc<Cell<u64>>,
    blocks: HashMap<u64, Vec<u8>>,
}

impl Read for Disk {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let start = self.at - self.at % BLOCK;
        let block = match self.blocks.get(&start) {
            Some(block) => block,
            None => {
                if self.blocks.len() >= BLOCKS {
                    self.blocks.clear();
                }
                let mut bytes = vec![0; self.volume.size().saturating_sub(start).min(BLOCK) as usize];
                self.volume.read_at(&mut bytes, start).map_err(io::Error::other)?;
                self.blocks.entry(start).or_insert(bytes)
            }
        };
        let from = block.get((self.at - start) as usize..).unwrap_or_default();
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        let left = self.left.get().checked_sub(len as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("it is read without an end"))?);
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.volume.size().checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::other("it looks before the beginning"))?;
        Ok(self.at)
    }
}

impl Write for Disk {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("it is only read"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
