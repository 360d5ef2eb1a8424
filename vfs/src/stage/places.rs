//! Directories in which there is room for files that are there for the time of the changes.

use super::change::Change;
use crate::error::Result;
use crate::fs::{FileType, GuestFs};
use crate::path::Resolved;
use std::collections::BTreeSet;

/// What a set of changes, sorted by path, does to the directories that are there.
#[derive(Debug)]
pub(super) struct Places<'c> {
    changes: &'c [Change],
    /// What is removed.
    gone: BTreeSet<&'c Resolved>,
}

impl<'c> Places<'c> {
    pub(super) fn of(changes: &'c [Change]) -> Self {
        Self { changes, gone: changes.iter().filter(|change| change.removes()).map(|change| &change.path).collect() }
    }

    /// The innermost directory around a path that is there and stays.
    pub(super) fn around(&self, path: &Resolved, fs: &dyn GuestFs) -> Resolved {
        std::iter::successors(path.parent(), Resolved::parent)
            .find(|directory| !self.gone.contains(directory) && is_directory(directory, fs))
            .unwrap_or_else(Resolved::root)
    }

    /// Whether the directory of a path is there and stays.
    pub(super) fn has_directory(&self, path: &Resolved, fs: &dyn GuestFs) -> bool {
        path.parent().is_some_and(|parent| !self.gone.contains(&parent) && is_directory(&parent, fs))
    }

    /// Whether names come or go in a directory.
    pub(super) fn turns(&self, directory: &Resolved) -> bool {
        self.changes.iter().any(|change| change.turns() && change.path.parent().as_ref() == Some(directory))
    }

    /// A name in a directory that nothing has and nothing gets; `number` is the last one that was tried.
    pub(super) fn unused_name(&self, directory: &Resolved, number: &mut u64, fs: &dyn GuestFs) -> Result<Resolved> {
        loop {
            *number = number.saturating_add(1);
            let place = directory.child(format!(".imgraft-{number}").as_bytes());
            let is_wanted = self.changes.binary_search_by(|change| change.path.cmp(&place)).is_ok();
            if !is_wanted && fs.lookup(&place)?.is_none() {
                return Ok(place);
            }
        }
    }
}

fn is_directory(path: &Resolved, fs: &dyn GuestFs) -> bool {
    fs.lookup(path).ok().flatten().is_some_and(|found| found.file_type == FileType::Directory)
}
