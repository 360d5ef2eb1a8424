//! Directories in which much changes: read through once, with every checksum, instead of anew for each name in them.

use super::{Disagreement, differs, path};
use crate::error::Result;
use crate::path::Resolved;
use crate::stage::Change;
use ext4_view::{DirEntry, Ext4, Ext4Error, Metadata};
use std::collections::{BTreeMap, BTreeSet};

/// From so many changed names on, a directory is read through.
const CROWD: usize = 32;

/// The names that are to be in a crowded directory, and the entry that was found of each.
type Names = BTreeMap<Vec<u8>, Option<DirEntry>>;

/// The crowded directories.
#[derive(Debug)]
pub(super) struct Crowds(BTreeMap<Resolved, Crowd>);

#[derive(Debug)]
struct Crowd {
    names: Names,
    read: bool,
}

/// Which directories are crowded, by all changes: a reader that has a share of them cannot tell.
#[derive(Debug)]
pub(super) struct Crowded(BTreeSet<Resolved>);

impl Crowded {
    /// The directories in which many of these changes are.
    pub(super) fn of(changes: &[Change]) -> Self {
        let mut counts: BTreeMap<Resolved, usize> = BTreeMap::new();
        for parent in changes.iter().filter(|change| change.after.is_some()).filter_map(|change| change.path.parent()) {
            let count = counts.entry(parent).or_default();
            *count = count.saturating_add(1);
        }
        Self(counts.into_iter().filter(|(_, count)| *count >= CROWD).map(|(directory, _)| directory).collect())
    }
}

impl Crowds {
    /// The crowded directories in which some of these changes are.
    pub(super) fn of(changes: &[Change], crowded: &Crowded) -> Self {
        let mut crowds: BTreeMap<Resolved, Crowd> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.after.is_some()) {
            if let (Some(parent), Some(name)) = (change.path.parent(), change.path.file_name())
                && crowded.0.contains(&parent)
            {
                let crowd = crowds.entry(parent).or_insert_with(|| Crowd { names: Names::new(), read: false });
                crowd.names.insert(name.to_vec(), None);
            }
        }
        Self(crowds)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the directory of a path has of it; `None` where that is not crowded.
    pub(super) fn find(&mut self, fs: &Ext4, at: &Resolved) -> Result<Option<Metadata>, Disagreement> {
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return Ok(None) };
        let Some(crowd) = self.0.get_mut(&parent) else { return Ok(None) };
        if !crowd.read {
            crowd.read_through(fs, &parent)?;
        }
        match crowd.names.get(name) {
            // Asked for in the order of the changes, the inodes follow each other; in that of the directory they do not.
            Some(Some(entry)) => Ok(Some(entry.metadata()?)),
            _ => Err(Ext4Error::NotFound.into()),
        }
    }
}

impl Crowd {
    fn read_through(&mut self, fs: &Ext4, directory: &Resolved) -> Result<(), Disagreement> {
        for entry in fs.read_dir(path(directory)?)? {
            let entry = entry?;
            let Some(found) = self.names.get_mut(entry.file_name().as_ref()) else { continue };
            if found.is_some() {
                return Err(differs(&directory.child(entry.file_name().as_ref()), "it is there twice").into());
            }
            *found = Some(entry);
        }
        self.read = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::mem::MemFs;
    use crate::fs::{Attrs, Content};
    use crate::path::GuestPath;
    use crate::stage::Stage;

    /// However the changes are shared out, the same directories are read through.
    #[test]
    fn a_share_of_a_crowd_is_one() {
        let fs = MemFs::builder().dir("/few").dir("/many").build().unwrap();
        let mut stage = Stage::new(&fs);
        let attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
        for (directory, count) in [("few", CROWD - 1), ("many", CROWD)] {
            for number in 0..count {
                let path = GuestPath::parse(format!("/{directory}/{number:02}")).unwrap();
                stage.write(&path, Content::bytes(*b""), attrs).unwrap();
            }
        }
        let changes = stage.finish().unwrap();
        let crowded = Crowded::of(changes.changes());
        for share in [changes.changes(), &changes.changes()[CROWD + 10..]] {
            let crowds = Crowds::of(share, &crowded);
            let directories: Vec<String> = crowds.0.keys().map(ToString::to_string).collect();
            assert_eq!(directories, ["/many"], "{} changes", share.len());
        }
    }
}
