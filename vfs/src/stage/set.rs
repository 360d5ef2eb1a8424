//! All changes of a stage, and the hand that makes them.

use super::aside::Aside;
use super::body::Body;
use super::change::{Change, Means, State};
use super::linked::ONE_AFTER_THE_OTHER;
use super::moving;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Attrs, FileType, GuestFs, SetAttrs};
use crate::path::Resolved;
use std::collections::{BTreeMap, BTreeSet};

/// The attribute that has the access list of a file.
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

/// All changes of a stage, each path once, parents before what is in them.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    changes: Vec<Change>,
}

impl ChangeSet {
    /// The changes in the order of their paths; `Ambiguous` where two names of one file are to become different files
    /// without the file being replaced.
    pub(super) fn new(changes: Vec<Change>) -> Result<Self> {
        let mut names = BTreeMap::new();
        for change in &changes {
            let before = match (change.means, &change.before, &change.moved) {
                (Means::Change, Some(before), _) => before,
                (Means::Move, _, Some(moved)) => &moved.state,
                _ => continue,
            };
            let Some(after) = &change.after else { continue };
            if before.metadata.file_type == FileType::Directory {
                continue;
            }
            match names.get(&before.metadata.inode) {
                None => {
                    names.insert(before.metadata.inode, (change, after));
                }
                Some((first, state)) if !agree(state, after)? => {
                    return Err(Error::new(
                        ErrorKind::Ambiguous,
                        Layer::Stage,
                        match before.metadata.links {
                            ..2 => {
                                format!("it is the same file as {}, and the two are changed differently", first.path)
                            }
                            _ => format!("it is a hard link of {}, and the two are changed differently", first.path),
                        },
                    )
                    .with_guest_path(change.path.as_bytes())
                    .with_hint(ONE_AFTER_THE_OTHER));
                }
                Some(_) => {}
            }
        }
        Ok(Self { changes })
    }

    /// Each changed path once, parents before what is in them.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes whose paths `inner` takes, under the names that it gives them.
    pub(crate) fn within(&self, inner: impl Fn(&Resolved) -> Option<Resolved>) -> Self {
        let moved = |change: &Change| {
            let mut moved = change.clone();
            moved.path = inner(&change.path)?;
            if let Some(moved) = &mut moved.moved {
                moved.from = inner(&moved.from)?;
            }
            if let Some(first) = &mut moved.linked {
                *first = inner(first)?;
            }
            Some(moved)
        };
        Self { changes: self.changes.iter().filter_map(moved).collect() }
    }

    /// Makes the changes. The only code that writes to a guest filesystem.
    ///
    /// `fs` is the filesystem that the stage lay over. Contents that are copied are set aside where their files change; what gets another path is renamed first, to where it does not hinder
    /// the rest; what is to go is removed, the innermost first; then the rest is made, files that get shorter before all, the outermost first. After an error
    /// the filesystem is in between: its transaction is to be dropped.
    pub fn apply(&self, fs: &mut dyn GuestFs) -> Result<()> {
        let aside = Aside::keep(&self.changes, fs)?;
        let mut parked = moving::park(&self.changes, fs)?;
        for change in self.changes.iter().rev().filter(|change| change.removes()) {
            fs.remove(&change.path)?;
        }
        // What gets shorter makes room for the rest. Below a directory that gets another path it is not yet where it is to be.
        let moved = self.changes.iter().filter(|change| change.moved.is_some());
        let moved: BTreeSet<&[u8]> = moved.map(|change| change.path.as_bytes()).collect();
        let is_there = |change: &Change| !change.path.ancestors().any(|directory| moved.contains(directory));
        let (first, rest): (Vec<_>, Vec<_>) =
            self.changes.iter().partition(|change| change.shortens() && is_there(change));
        for change in first.into_iter().chain(rest) {
            match (change.means, &change.before, &change.after) {
                (Means::Create | Means::Replace, _, Some(after)) => create(fs, change, after, &aside)?,
                (Means::Change, Some(before), Some(after)) => modify(fs, change, [before, after], &aside)?,
                (Means::Move, _, Some(after)) => {
                    if let Some(place) = parked.remove(&change.path) {
                        fs.rename(&place, &change.path)?;
                    }
                    if let Some(moved) = &change.moved {
                        modify(fs, change, [&moved.state, after], &aside)?;
                    }
                }
                _ => {}
            }
        }
        aside.clear(fs)?;
        // What came into a new directory has changed its time.
        for change in self.changes.iter().rev() {
            if let Some(State { metadata, mtime: mtime @ Some(_), .. }) = &change.after
                && metadata.file_type == FileType::Directory
            {
                fs.set_attrs(&change.path, SetAttrs { mtime: *mtime, ..SetAttrs::default() })?;
            }
        }
        Ok(())
    }
}

fn create(fs: &mut dyn GuestFs, change: &Change, after: &State, aside: &Aside) -> Result<()> {
    let path = &change.path;
    if let Some(first) = &change.linked {
        // It is before this one in the order of paths.
        return fs.hard_link(first, path);
    }
    let attrs = Attrs { mode: after.metadata.mode, uid: after.metadata.uid, gid: after.metadata.gid };
    match (after.metadata.file_type, &after.target, after.special) {
        (FileType::Regular, ..) => fs.create_file(path, attrs)?,
        (FileType::Directory, ..) => fs.create_dir(path, attrs)?,
        (FileType::Symlink, Some(target), _) => fs.create_symlink(path, target, attrs)?,
        (_, _, Some(special)) => fs.create_special(path, special, attrs)?,
        _ => {
            return Err(Error::unsupported(
                Layer::Stage,
                "a file that is made, and of which it is not known what it is",
            )
            .with_guest_path(path.as_bytes()));
        }
    }
    for xattr in &after.xattrs {
        fs.set_xattr(path, xattr)?;
    }
    // The bits are in an access list as well (acl(5)), which may be older than they are.
    if after.xattrs.iter().any(|xattr| xattr.name == ACCESS_LIST)
        && fs.lookup(path)?.is_some_and(|found| found.mode != attrs.mode)
    {
        fs.set_attrs(path, SetAttrs { mode: Some(attrs.mode), ..SetAttrs::default() })?;
    }
    if let Some(content) = after.content.as_ref().filter(|content| !content.is_empty()) {
        fill(fs, path, content, aside)?;
    }
    match after.mtime {
        Some(_) => fs.set_attrs(path, SetAttrs { mtime: after.mtime, ..SetAttrs::default() }),
        None => Ok(()),
    }
}

fn modify(fs: &mut dyn GuestFs, change: &Change, [before, after]: [&State; 2], aside: &Aside) -> Result<()> {
    let path = &change.path;
    if let Some(content) = &after.content {
        fill(fs, path, content, aside)?;
    }
    let (old, new) = (&before.metadata, &after.metadata);
    let attrs = SetAttrs {
        mode: Some(new.mode).filter(|mode| *mode != old.mode),
        uid: Some(new.uid).filter(|uid| *uid != old.uid),
        gid: Some(new.gid).filter(|gid| *gid != old.gid),
        mtime: after.mtime,
    };
    if attrs != SetAttrs::default() {
        fs.set_attrs(path, attrs)?;
    }
    for old in &before.xattrs {
        if after.xattrs.iter().all(|new| new.name != old.name) {
            fs.remove_xattr(path, &old.name)?;
        }
    }
    for xattr in &after.xattrs {
        fs.set_xattr(path, xattr)?;
    }
    Ok(())
}

fn fill(fs: &mut dyn GuestFs, path: &Resolved, content: &Body, aside: &Aside) -> Result<()> {
    match content {
        Body::New(content) => fs.put(path, content),
        Body::Copy(copied) => aside.copy(copied, path, fs),
    }
}

/// Whether two names of one file are to become the same.
fn agree(one: &State, other: &State) -> Result<bool> {
    let attrs = |state: &State| (state.metadata.mode, state.metadata.uid, state.metadata.gid, state.mtime);
    if attrs(one) != attrs(other) || one.xattrs != other.xattrs {
        return Ok(false);
    }
    match (&one.content, &other.content) {
        (None, None) => Ok(true),
        (Some(one), Some(other)) => one.is_same(other),
        _ => Ok(false),
    }
}
