//! One change of one path: what was there and what is to be there.

use super::content;
use super::node::{Node, Nodes, Origin, Staged, View};
use super::read_content;
use crate::error::{ErrorKind, Result};
use crate::fs::{Content, FileType, GuestFs, Metadata, Timestamp, Xattr, read_file};
use crate::path::Resolved;
use std::collections::BTreeMap;

/// A changed path: what is there before and what is to be there after.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where, resolved.
    pub path: Resolved,
    /// What is there before the change; `None` where it is new.
    pub before: Option<State>,
    /// What is there after it; `None` where it is removed. One of the two is always there.
    pub after: Option<State>,
    actions: Vec<Action>,
    pub(super) means: Means,
}

/// A file's state as far as a change is concerned with it.
#[derive(Clone, Debug)]
pub struct State {
    /// Type, mode, owner, size, time. Of a file that is new the inode number, link count and time are made up.
    pub metadata: Metadata,
    /// The content of a regular file where it is staged; `None` where it is the filesystem's.
    pub content: Option<Content>,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// The time that was asked for; otherwise a change of content sets it to now.
    pub mtime: Option<Timestamp>,
    /// The extended attributes in which the two states of the change differ, by name; all of them where the file is made
    /// or replaced.
    pub xattrs: Vec<Xattr>,
}

/// What a change does, in the order in which [`Change::actions`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// What is there is removed; something of another type may follow.
    Remove,
    /// A file, directory or symbolic link is made.
    Create,
    /// The content of a file or the target of a symbolic link changes.
    Modify,
    /// The permission bits change.
    Chmod,
    /// The owner or the group changes.
    Chown,
    /// An extended attribute changes, as an SELinux label is.
    Relabel,
    /// The time of the last change is set.
    Touch,
}

impl Action {
    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Create => "create",
            Self::Modify => "modify",
            Self::Chmod => "chmod",
            Self::Chown => "chown",
            Self::Relabel => "relabel",
            Self::Touch => "touch",
        }
    }
}

/// How a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    Create,
    Change,
    /// The old file goes and a new one comes.
    Replace,
    Remove,
}

impl Change {
    /// What the change does; never empty. `Remove` and `Create` stand for all else that such a change brings.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The metadata after the change, or before it where it removes the file.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.after.as_ref().or(self.before.as_ref()).map(|state| &state.metadata)
    }

    /// The content before the change, at most `limit` bytes (`Unsupported` where it is larger); `None` where there was no
    /// regular file. `fs` is the filesystem under the stage, with nothing applied to it.
    pub fn old_content(&self, fs: &(impl GuestFs + ?Sized), limit: u64) -> Result<Option<Vec<u8>>> {
        self.content(self.before.as_ref(), fs, limit)
    }

    /// The content after the change, as for [`old_content`](Self::old_content).
    pub fn new_content(&self, fs: &(impl GuestFs + ?Sized), limit: u64) -> Result<Option<Vec<u8>>> {
        self.content(self.after.as_ref(), fs, limit)
    }

    fn content(&self, state: Option<&State>, fs: &(impl GuestFs + ?Sized), limit: u64) -> Result<Option<Vec<u8>>> {
        match state {
            Some(State { metadata, content, .. }) if metadata.file_type == FileType::Regular => match content {
                Some(content) => read_content(content, &self.path, limit).map(Some),
                None => read_file(fs, &self.path, limit).map(Some),
            },
            _ => Ok(None),
        }
    }
}

/// What changes at `path` between two sets of nodes over one base; `None` where nothing does.
pub(super) fn between(base: &dyn GuestFs, path: &Resolved, old: &Nodes, new: &Nodes) -> Result<Option<Change>> {
    let (old, new) = (View { base, nodes: old }, View { base, nodes: new });
    let (before, after) = (side(old, path)?, side(new, path)?);
    let (mut before, mut after) = match (before, after) {
        (None, None) => return Ok(None),
        (before, after) => (before, after),
    };
    let means = match (&before, &after) {
        (Some(before), Some(after)) => means(before, after),
        (None, _) => Means::Create,
        (_, None) => Means::Remove,
    };
    let concerned = |side: &Option<Staged>| {
        side.as_ref().is_some_and(|staged| staged.origin == Origin::Fresh || !staged.xattrs.is_empty())
    };
    let (mut old_xattrs, mut new_xattrs) = (BTreeMap::new(), BTreeMap::new());
    if concerned(&before) || concerned(&after) {
        if before.is_some() {
            old_xattrs = old.xattrs(path)?;
        }
        if after.is_some() {
            new_xattrs = new.xattrs(path)?;
        }
    }
    let mut actions = match (&mut before, &mut after) {
        (Some(before), Some(after)) if before.metadata.file_type == after.metadata.file_type => {
            differences(base, path, before, after)?
        }
        (Some(_), Some(_)) => vec![Action::Remove, Action::Create],
        (None, _) => vec![Action::Create],
        (_, None) => vec![Action::Remove],
    };
    let in_place = before.is_some() && after.is_some() && actions != [Action::Remove, Action::Create];
    if in_place && old_xattrs != new_xattrs {
        actions.push(Action::Relabel);
        actions.sort_unstable();
    }
    if actions.is_empty() {
        return Ok(None);
    }
    if means == Means::Change {
        let same: Vec<Vec<u8>> = old_xattrs
            .iter()
            .filter(|(name, value)| new_xattrs.get(*name) == Some(value))
            .map(|(n, _)| n.clone())
            .collect();
        for name in same {
            old_xattrs.remove(&name);
            new_xattrs.remove(&name);
        }
    }
    Ok(Some(Change {
        path: path.clone(),
        before: before.map(|staged| state(staged, old_xattrs)),
        after: after.map(|staged| state(staged, new_xattrs)),
        actions,
        means,
    }))
}

/// The file at `path` with all that a state holds of it.
fn side(view: View<'_>, path: &Resolved) -> Result<Option<Staged>> {
    let staged = match view.nodes.get(path) {
        Some(Node::Present(staged)) => Some(staged.clone()),
        Some(Node::Removed) => None,
        // Something that is no directory may stand in the base where the stage has made one.
        None => match view.base.lookup(path) {
            Ok(metadata) => metadata.map(Staged::of_base),
            Err(error) if error.kind() == ErrorKind::WrongType => None,
            Err(error) => return Err(error),
        },
    };
    match staged {
        Some(staged) if staged.metadata.file_type == FileType::Symlink && staged.target.is_none() => {
            let target = Some(view.base.read_link(path)?);
            Ok(Some(Staged { target, ..staged }))
        }
        staged => Ok(staged),
    }
}

fn means(before: &Staged, after: &Staged) -> Means {
    match (before.metadata.file_type, after.metadata.file_type) {
        // Also where it was removed and made again: what the base has in it is not removed a second time.
        (FileType::Directory, FileType::Directory) => Means::Change,
        (old, new) if old != new || after.origin == Origin::Fresh => Means::Replace,
        _ => Means::Change,
    }
}

/// How two files of one type differ, apart from extended attributes.
fn differences(base: &dyn GuestFs, path: &Resolved, before: &Staged, after: &Staged) -> Result<Vec<Action>> {
    let (old, new) = (&before.metadata, &after.metadata);
    let mut actions = Vec::new();
    if !same_content(base, path, before, after)? || before.target != after.target {
        actions.push(Action::Modify);
    }
    if old.mode != new.mode {
        actions.push(Action::Chmod);
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        actions.push(Action::Chown);
    }
    if after.mtime.is_some_and(|mtime| mtime != before.mtime.unwrap_or(old.mtime)) {
        actions.push(Action::Touch);
    }
    Ok(actions)
}

fn same_content(base: &dyn GuestFs, path: &Resolved, before: &Staged, after: &Staged) -> Result<bool> {
    match (&before.content, &after.content) {
        (None, None) => Ok(true),
        (Some(old), Some(new)) => content::same(old, new),
        (None, Some(new)) => content::file_holds(base, path, before.metadata.size, new),
        (Some(old), None) => content::file_holds(base, path, after.metadata.size, old),
    }
}

fn state(staged: Staged, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> State {
    State {
        metadata: staged.metadata,
        content: staged.content,
        target: staged.target,
        mtime: staged.mtime,
        xattrs: xattrs.into_iter().map(|(name, value)| Xattr { name, value }).collect(),
    }
}
