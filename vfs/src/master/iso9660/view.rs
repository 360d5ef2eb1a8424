//! One of the two trees of an image: its directories in the order of the path table, and their records.

use super::SECTOR;
use super::continuation::Continuation;
use super::name::Names;
use super::record::{self, Extent, Kind, PARENT, SELF, record};
use super::system_use::{self, About};
use crate::error::Result;
use crate::fs::Timestamp;
use crate::master::flat::{Flat, Numbered};
use crate::master::refuse;
use std::collections::VecDeque;

/// A tree with its identifiers.
#[derive(Debug)]
pub(super) struct View<'t> {
    names: Names,
    /// By level, parent and identifier, as the path table has them (ECMA-119, 6.9.1); the root is the first.
    directories: Vec<Listed<'t>>,
}

/// A directory of the tree.
#[derive(Debug)]
struct Listed<'t> {
    parent: usize,
    identifier: Vec<u8>,
    entries: Vec<Entry<'t>>,
    at: Extent,
    /// The links of its inode: its name, its `.`, and the `..` of each directory in it.
    links: u32,
}

#[derive(Debug)]
struct Entry<'t> {
    identifier: Vec<u8>,
    name: &'t [u8],
    what: What,
}

/// A file of [`Flat`], or a directory of this view.
#[derive(Clone, Copy, Debug)]
enum What {
    File(usize),
    Directory(usize),
}

/// A byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl<'t> View<'t> {
    /// Names and numbers everything.
    pub(super) fn new(flat: &Flat<'t>, names: Names) -> Self {
        let mut directories: Vec<Listed<'t>> = Vec::with_capacity(flat.directories.len());
        let mut waiting = VecDeque::from([(0, 0, SELF.to_vec())]);
        while let Some((number, parent, identifier)) = waiting.pop_front() {
            let this = directories.len();
            let listed = &flat.directories[number].entries;
            let identifiers = names.identifiers(listed);
            let mut sorted: Vec<_> = listed.iter().zip(identifiers).collect();
            sorted.sort_by_cached_key(|(_, identifier)| names.order(identifier));
            let mut entries = Vec::with_capacity(sorted.len());
            let mut links = 2;
            for ((name, numbered), identifier) in sorted {
                let what = match *numbered {
                    Numbered::File(file) => What::File(file),
                    Numbered::Directory(below) => {
                        // Those that wait come first, in this order.
                        let will_be = this + 1 + waiting.len();
                        waiting.push_back((below, this, identifier.clone()));
                        links += 1;
                        What::Directory(will_be)
                    }
                };
                entries.push(Entry { identifier, name, what });
            }
            directories.push(Listed { parent, identifier, entries, at: Extent::default(), links });
        }
        Self { names, directories }
    }

    /// Where the root lies.
    pub(super) fn root(&self) -> Extent {
        self.directories[0].at
    }

    /// Finds the size of each directory, and of what continues elsewhere.
    pub(super) fn measure(&mut self, files: &[Extent], time: Timestamp, continuation: &mut Continuation) -> Result<()> {
        for number in 0..self.directories.len() {
            let size = self.directory(number, files, time, continuation).len();
            self.directories[number].at.size = u32::try_from(size).map_err(|_| {
                refuse("a directory has too many entries: it would take 4 GiB, and ISO 9660 has no larger ones")
            })?;
        }
        Ok(())
    }

    /// Gives each directory its place.
    pub(super) fn place(&mut self, take: &mut impl FnMut(u64) -> u64) {
        for directory in &mut self.directories {
            // Checked for all sectors when the last is known.
            directory.at.sector = take(u64::from(directory.at.size)) as u32;
        }
    }

    /// All directories, one after the other.
    pub(super) fn encode(&self, files: &[Extent], time: Timestamp, continuation: &mut Continuation) -> Vec<u8> {
        (0..self.directories.len()).flat_map(|number| self.directory(number, files, time, continuation)).collect()
    }

    fn directory(&self, number: usize, files: &[Extent], time: Timestamp, continuation: &mut Continuation) -> Vec<u8> {
        let this = &self.directories[number];
        let parent = &self.directories[this.parent];
        let about = |kind, links| About { kind, links, time };
        let with_names = self.names == Names::Plain;
        let mut bytes = Vec::new();
        for (identifier, directory) in [(SELF, this), (PARENT, parent)] {
            let about = about(Kind::Directory, directory.links);
            let field = match (with_names, number) {
                (false, _) => Vec::new(),
                (true, 0) if identifier == SELF => system_use::of_root(about, continuation),
                (true, _) => system_use::of_directory(about),
            };
            record::append(&mut bytes, &record(identifier, Kind::Directory, directory.at, time, &field));
        }
        for Entry { identifier, name, what } in &this.entries {
            let (kind, at, links) = match *what {
                What::File(file) => (Kind::File, files[file], 1),
                What::Directory(below) => (Kind::Directory, self.directories[below].at, self.directories[below].links),
            };
            let field = match with_names {
                true => system_use::of_entry(about(kind, links), identifier, name, continuation),
                false => Vec::new(),
            };
            record::append(&mut bytes, &record(identifier, kind, at, time, &field));
        }
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        bytes
    }

    /// The size of the path table, in bytes.
    pub(super) fn path_table_size(&self) -> u64 {
        self.path_table(Order::Little).len() as u64
    }

    /// The path table (ECMA-119, 9.4).
    pub(super) fn path_table(&self, order: Order) -> Vec<u8> {
        let mut table = Vec::new();
        for Listed { parent, identifier, at, .. } in &self.directories {
            // At most 65,535 directories, counted from one; identifiers have at most 128 bytes.
            let parent = (parent + 1) as u16;
            table.extend([identifier.len() as u8, 0]);
            match order {
                Order::Little => {
                    table.extend(at.sector.to_le_bytes());
                    table.extend(parent.to_le_bytes());
                }
                Order::Big => {
                    table.extend(at.sector.to_be_bytes());
                    table.extend(parent.to_be_bytes());
                }
            }
            table.extend(identifier);
            table.resize(table.len().next_multiple_of(2), 0);
        }
        table
    }
}
