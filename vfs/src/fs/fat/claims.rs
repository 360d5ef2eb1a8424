//! Which file or directory each chain belongs to: every directory is looked at once before anything is changed.

use super::directory::shown;
use super::entry::{Entries, Found};
use super::layout::Root;
use super::survey::Survey;
use super::volume::{ROOT, Volume};
use super::{corrupt, unsupported};
use crate::error::{Error, Result};
use crate::path::PATH_MAX;
use std::ops::ControlFlow;

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) directories: usize,
    /// Of all directories together, free ones and pieces of long names too.
    pub(super) entries: u64,
}

/// What a filesystem may have to be changed: 512 MiB of directories.
pub(super) const LIMITS: Limits = Limits { directories: 1 << 18, entries: 1 << 24 };

/// A directory that was found.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Its number.
    id: u32,
    /// Which of those that were found it is in, and where; of the root nothing.
    place: Option<(usize, u32)>,
}

impl Volume {
    /// Fails where a file or a directory begins with a cluster that cannot be its own.
    ///
    /// No two clusters of the table lead to the same one. Where none leads to the first one of an entry either, and no two entries
    /// have the same, no chain has a cluster of another one, none is a ring, and no directory lies in itself.
    ///
    /// `Corrupt` with the path where that is not so; `Unsupported` where there is more than the limits allow.
    pub(super) fn claim(&self, survey: &mut Survey, limits: Limits) -> Result<()> {
        if let Root::Chain(first) = self.layout.root {
            survey.claim(first).map_err(|reason| corrupt(reason).with_guest_path("/"))?;
        }
        let mut seen = vec![Seen { id: ROOT, place: None }];
        let mut left = limits.entries;
        let mut number = 0;
        while let Some(&Seen { id, .. }) = seen.get(number) {
            let places = self.places(id).map_err(|error| error.with_guest_path(self.path(&seen, number, "")))?;
            let mut entries = Entries::default();
            self.each_entry(&places, |slot, bytes| {
                left = left.checked_sub(1).ok_or_else(|| too_many(limits))?;
                let (entry, long) = match entries.next(bytes) {
                    Some(Found::End) => return Ok(ControlFlow::Break(())),
                    Some(Found::File { entry, long, .. }) => (entry, long),
                    Some(Found::Label(_)) | None => return Ok(ControlFlow::Continue(())),
                };
                let first = entry.cluster(self.layout.kind);
                // A file without content has none; one whose content is missing takes it from nobody.
                if first != 0 || entry.is_directory() {
                    survey.claim(first).map_err(|reason| {
                        corrupt(reason).with_guest_path(self.path(&seen, number, &shown(long, &entry)))
                    })?;
                }
                if entry.is_directory() {
                    if seen.len() >= limits.directories {
                        return Err(too_many(limits));
                    }
                    seen.push(Seen { id: first, place: Some((number, slot)) });
                }
                Ok(ControlFlow::Continue(()))
            })?;
            number = number.saturating_add(1);
        }
        Ok(())
    }

    /// The path of a name in a directory that was found, or of the directory where there is no name; of a very long one the end.
    fn path(&self, seen: &[Seen], directory: usize, name: &str) -> String {
        let mut path = if name.is_empty() { String::new() } else { format!("/{name}") };
        let mut here = seen.get(directory);
        while let Some((above, slot)) = here.and_then(|here| here.place)
            && path.len() < PATH_MAX
        {
            here = seen.get(above);
            let name = |id| self.directory(id, |above| above.name(slot).map(str::to_owned)).ok().flatten();
            path.insert_str(0, &here.and_then(|here| name(here.id)).unwrap_or_default());
            path.insert(0, '/');
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }
}

fn too_many(limits: Limits) -> Error {
    let Limits { directories, entries } = limits;
    unsupported(format!(
        "it has more than {directories} directories, or more than {entries} entries in them: too many to be looked at before a change"
    ))
}
