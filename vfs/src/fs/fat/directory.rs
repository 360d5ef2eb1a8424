//! A directory: its entries, by place and by name.

use super::entry::{DELETED, DOT, DOTS, Entries, Entry, Found, short_name};
use super::layout::ENTRY;
use super::name::{self, Exact, folded};
use super::places::{Places, SLOTS_MAX};
use super::volume::{ROOT, Volume};
use super::{corrupt, failure};
use crate::block::BlockDevice;
use crate::error::{ErrorKind, Result};
use crate::field::array;
use crate::fs::FileType;
use crate::path::NAME_MAX;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

/// How many zeros are written at once, in bytes.
const PIECE: u64 = 64 << 10;

/// A file or directory in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// The name that it is shown by: the long one, or the short one where that cannot be shown.
    pub(super) name: String,
    /// The first place that it takes: that of its long name.
    pub(super) start: u32,
    /// The place of its entry.
    pub(super) slot: u32,
    pub(super) entry: Entry,
}

impl File {
    pub(super) fn file_type(&self) -> FileType {
        if self.entry.is_directory() { FileType::Directory } else { FileType::Regular }
    }
}

/// A directory that was read.
#[derive(Debug)]
pub(super) struct Directory {
    places: Places,
    /// For each place whether something is there.
    used: Vec<bool>,
    /// There is no free place before this one.
    free_from: u32,
    files: BTreeMap<u32, File>,
    names: HashMap<String, u32>,
    shorts: HashSet<[u8; 11]>,
    /// What is wrong with it, where something is.
    problem: Option<&'static str>,
    pub(super) label: Option<String>,
}

impl Volume {
    /// Reads a directory.
    pub(super) fn load(&self, id: u32) -> Result<Directory> {
        let places = self.places(id)?;
        let mut directory = Directory::new(places.count);
        let mut entries = Entries::default();
        let mut ended = false;
        self.each_entry(&places, |slot, bytes| {
            if ended {
                directory.note_behind_end(bytes);
                return Ok(ControlFlow::Continue(()));
            }
            if id != ROOT {
                directory.note_first(slot, bytes);
            }
            let found = entries.next(bytes);
            if found == Some(Found::End) {
                ended = true;
                return Ok(ControlFlow::Continue(()));
            }
            directory.mark(slot, if bytes.first() == Some(&DELETED) { Place::Free } else { Place::Taken });
            match found {
                Some(Found::Label(label)) => directory.label = Some(label),
                Some(Found::File { entry, long, pieces }) => {
                    let (name, start) = (shown(long, &entry), slot.saturating_sub(pieces));
                    directory.insert(File { name, start, slot, entry });
                }
                Some(Found::End) | None => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        directory.places = places;
        Ok(directory)
    }

    /// Makes an entry with this name from another one, be it a new one or one that was elsewhere.
    pub(super) fn add_entry(&mut self, directory: &mut Directory, name: &str, mut entry: Entry) -> Result<()> {
        let short = name::short_name(name, |short| directory.shorts.contains(short));
        let (short, exact) = short.ok_or_else(|| failure(ErrorKind::NoSpace, "no short name is left for it"))?;
        entry.set_name(&short);
        let long = if exact == Exact::Yes { Vec::new() } else { name::long_entries(name, &short) };
        let pieces = u32::try_from(long.len()).unwrap_or(SLOTS_MAX);
        let needed = pieces.saturating_add(1);
        let start = loop {
            match directory.room(needed) {
                Some(start) => break start,
                None => self.grow_directory(directory)?,
            }
        };
        for (slot, bytes) in (start..).zip(long.iter().chain([&entry.0])) {
            self.device.write_at(bytes, directory.at(slot)?)?;
            directory.mark(slot, Place::Taken);
        }
        let slot = start.saturating_add(pieces);
        self.note_change();
        directory.insert(File { name: name.to_owned(), start, slot, entry });
        Ok(())
    }

    fn grow_directory(&mut self, directory: &mut Directory) -> Result<()> {
        let Some(tail) = directory.places.tail else {
            let what = format!("the root directory of {} is full: it cannot grow", self.layout.kind.name());
            return Err(failure(ErrorKind::NoSpace, &what).with_hint("put it into a directory"));
        };
        if directory.slots() >= usize::try_from(SLOTS_MAX).unwrap_or(usize::MAX) {
            return Err(failure(ErrorKind::NoSpace, "the directory is full: FAT takes 65,536 entries"));
        }
        let (cluster, _) = self.grow(Some(tail), 1, &mut zeros)?;
        directory.add(self.layout.cluster_at(cluster), self.layout.cluster_size);
        directory.places.tail = Some(cluster);
        Ok(())
    }

    /// Takes an entry and its long name away.
    pub(super) fn remove_entry(&mut self, directory: &mut Directory, slot: u32) -> Result<()> {
        let Some(file) = directory.files.remove(&slot) else {
            return Err(corrupt("an entry of a directory has gone"));
        };
        for slot in file.start..=file.slot {
            self.device.write_at(&[DELETED], directory.at(slot)?)?;
            directory.mark(slot, Place::Free);
        }
        directory.free_from = directory.free_from.min(file.start);
        for name in [folded(&file.name), folded(&short_name(&file.entry))] {
            if directory.names.get(&name) == Some(&slot) {
                directory.names.remove(&name);
            }
        }
        directory.shorts.remove(&file.entry.short());
        self.note_change();
        Ok(())
    }
}

/// Fills clusters with zeros.
pub(super) fn zeros(device: &dyn BlockDevice, at: u64, len: u64) -> Result<()> {
    let bytes = vec![0; usize::try_from(len.min(PIECE)).unwrap_or_default()];
    let mut done = 0;
    while done < len {
        let part = usize::try_from(len.saturating_sub(done)).unwrap_or(usize::MAX).min(bytes.len());
        device.write_at(bytes.get(..part).unwrap_or_default(), at.saturating_add(done))?;
        done = done.saturating_add(PIECE);
    }
    Ok(())
}

/// Whether a place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Taken,
}

impl Directory {
    fn new(count: u32) -> Self {
        Self {
            places: Places::default(),
            used: vec![false; usize::try_from(count).unwrap_or_default()],
            free_from: 0,
            files: BTreeMap::new(),
            names: HashMap::new(),
            shorts: HashSet::new(),
            problem: None,
            label: None,
        }
    }

    /// How many places there are.
    pub(super) fn slots(&self) -> usize {
        self.used.len()
    }

    /// Adds the places of so many bytes.
    fn add(&mut self, at: u64, len: u64) {
        self.places.add(at, len);
        self.used.resize(usize::try_from(self.places.count).unwrap_or_default(), false);
    }

    fn mark(&mut self, slot: u32, place: Place) {
        if let Some(used) = usize::try_from(slot).ok().and_then(|slot| self.used.get_mut(slot)) {
            *used = place == Place::Taken;
        }
    }

    fn insert(&mut self, file: File) {
        if *self.names.entry(folded(&file.name)).or_insert(file.slot) != file.slot {
            self.problem = Some("two of its entries have the same name");
        }
        self.names.entry(folded(&short_name(&file.entry))).or_insert(file.slot);
        self.shorts.insert(file.entry.short());
        self.files.insert(file.slot, file);
    }

    /// Looks at a place of a directory other than the root, which begins with `.` and `..`.
    fn note_first(&mut self, slot: u32, bytes: &[u8]) {
        let name = match slot {
            0 => DOT,
            1 => DOTS,
            _ => return,
        };
        if !array(bytes, 0).map(Entry).is_some_and(|entry| &entry.short() == name && entry.is_directory()) {
            self.problem = Some("it does not begin with the entries . and ..");
        }
    }

    /// Looks at a place behind the first one that was never used: Microsoft's FAT specification has nothing there, Linux and
    /// fsck.vfat go on reading, so that what others take for free room may be somebody's files.
    fn note_behind_end(&mut self, bytes: &[u8]) {
        if !matches!(bytes.first(), None | Some(&(0 | DELETED))) {
            self.problem = Some("it has entries behind its end, which some systems show and others do not");
        }
    }

    /// Fails where it is damaged so that changing it would do more harm.
    pub(super) fn check(&self) -> Result<()> {
        self.problem.map_or(Ok(()), |problem| Err(corrupt(format!("the directory is damaged: {problem}"))))
    }

    /// The file with this name, which is folded.
    pub(super) fn find(&self, name: &str) -> Option<&File> {
        self.files.get(self.names.get(name)?)
    }

    /// All files, in the order of their places.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    /// The byte at which a place begins.
    fn at(&self, slot: u32) -> Result<u64> {
        self.places.at(slot)
    }

    /// The name of the file whose entry is at a place.
    pub(super) fn name(&self, slot: u32) -> Option<&str> {
        self.files.get(&slot).map(|file| file.name.as_str())
    }

    /// The number that the entry at a place has as a file.
    pub(super) fn inode(&self, slot: u32) -> u64 {
        // No volume begins with an entry.
        self.at(slot).unwrap_or_default() / ENTRY
    }

    /// The first of so many free places that follow each other.
    fn room(&mut self, needed: u32) -> Option<u32> {
        let first = usize::try_from(self.free_from).ok()?;
        let needed = usize::try_from(needed).ok()?;
        let mut run = 0_usize;
        let mut seen_free = false;
        for (slot, used) in self.used.iter().enumerate().skip(first) {
            if *used {
                run = 0;
                if !seen_free {
                    self.free_from = u32::try_from(slot).ok()?.saturating_add(1);
                }
                continue;
            }
            seen_free = true;
            run = run.saturating_add(1);
            if run == needed {
                return u32::try_from(slot.saturating_add(1).checked_sub(needed)?).ok();
            }
        }
        None
    }

    /// Writes a file's entry, whose name stays.
    pub(super) fn set(&mut self, device: &dyn BlockDevice, file: File) -> Result<()> {
        device.write_at(&file.entry.0, self.at(file.slot)?)?;
        self.files.insert(file.slot, file);
        Ok(())
    }
}

/// The name that an entry is shown by.
pub(super) fn shown(long: Option<String>, entry: &Entry) -> String {
    let is_name = |name: &String| {
        name.len() <= NAME_MAX && !name.contains(['/', '\0']) && !matches!(name.as_str(), "" | "." | "..")
    };
    if let Some(long) = long.filter(is_name) {
        return long;
    }
    let short = short_name(entry).replace(['/', '\0'], "\u{fffd}");
    if is_name(&short) { short } else { "\u{fffd}".to_owned() }
}
