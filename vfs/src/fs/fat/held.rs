//! The directories that were read last.

use super::directory::Directory;
use std::collections::BTreeMap;

/// How many entries all of them have together at most, unless one alone has more: some 30 MiB.
const ENTRIES_MAX: usize = 1 << 17;

/// Directories by their numbers.
#[derive(Debug, Default)]
pub(super) struct Held {
    directories: BTreeMap<u32, (u64, Directory)>,
    entries: usize,
    clock: u64,
}

impl Held {
    /// A directory, where it is held.
    pub(super) fn get(&mut self, id: u32) -> Option<&Directory> {
        self.clock = self.clock.saturating_add(1);
        let (used, directory) = self.directories.get_mut(&id)?;
        *used = self.clock;
        Some(directory)
    }

    /// Holds a directory, and drops those that were not used for the longest time where there are too many.
    pub(super) fn put(&mut self, id: u32, directory: Directory) {
        self.remove(id);
        self.entries = self.entries.saturating_add(directory.slots());
        while self.entries > ENTRIES_MAX
            && let Some(oldest) = self.directories.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id)
        {
            self.remove(oldest);
        }
        self.clock = self.clock.saturating_add(1);
        self.directories.insert(id, (self.clock, directory));
    }

    /// Takes a directory out.
    pub(super) fn remove(&mut self, id: u32) -> Option<Directory> {
        let (_, directory) = self.directories.remove(&id)?;
        self.entries = self.entries.saturating_sub(directory.slots());
        Some(directory)
    }
}
