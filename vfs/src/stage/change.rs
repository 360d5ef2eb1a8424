//! One change of one path: what was there and what is to be there.

use super::body::{Body, Copied};
use super::linked::Names;
use super::node::{Node, Nodes, Origin, Staged, View};
use super::read_content;
use crate::error::{ErrorKind, Result};
use crate::fs::{FileType, GuestFs, Metadata, SpecialFile, Timestamp, Xattr, read_file};
use crate::path::Resolved;
use std::collections::{BTreeMap, BTreeSet};

/// A changed path: what is there before and what is to be there after.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where, resolved.
    pub path: Resolved,
    /// What is there before the change; `None` where it is new.
    pub before: Option<State>,
    /// What is there after it; `None` where it is removed. One of the two is always there.
    pub after: Option<State>,
    /// Where the file comes from that is there after it, if that is another path of the filesystem.
    pub moved: Option<Moved>,
    /// Another path of the change set, of whose new file this is a further name.
    pub linked: Option<Resolved>,
    actions: Vec<Action>,
    pub(super) means: Means,
}

/// Where a file comes from that gets another path.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The path that it has before.
    pub from: Resolved,
    /// What it is there; of the extended attributes those that are to differ.
    pub state: State,
}

/// A file's state as far as a change is concerned with it.
#[derive(Clone, Debug)]
pub struct State {
    /// Type, mode, owner, size, time. Of a file that is new the inode number, link count and time are made up.
    pub metadata: Metadata,
    /// The content of a regular file where it is staged; `None` where it is the filesystem's.
    pub content: Option<Body>,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// What a device, a pipe or a socket is.
    pub special: Option<SpecialFile>,
    /// The time that was asked for; otherwise a change of content sets it to now.
    pub mtime: Option<Timestamp>,
    /// The extended attributes in which the two states of the change differ, by name; all of them where the file is made
    /// or replaced.
    pub xattrs: Vec<Xattr>,
    /// Where the filesystem under the stage has the content, where that is another path.
    place: Option<Resolved>,
}

/// What a change does, in the order in which [`Change::actions`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// What is there is removed; something of another type may follow.
    Remove,
    /// A file of any type is made.
    Create,
    /// A file that has another path comes here.
    Move,
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
            Self::Move => "move",
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
    /// The file comes from another path, and what is here goes.
    Move,
    /// The file gets another path.
    MoveAway,
}

impl Change {
    /// Whether a file that stays gets a shorter content.
    pub(super) fn shortens(&self) -> bool {
        match (self.means, &self.before, &self.after) {
            (Means::Change, Some(before), Some(after)) => {
                after.content.is_some() && after.metadata.size < before.metadata.size
            }
            _ => false,
        }
    }

    /// What the change does; never empty. `Remove` and `Create` stand for all else that such a change brings.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Whether a name comes or goes, or comes to be one of another file.
    pub(super) fn turns(&self) -> bool {
        self.means != Means::Change
    }

    /// The inode number of the file of the filesystem that is changed and stays that file, where it is no directory.
    pub(super) fn stays(&self) -> Option<u64> {
        let state = match (self.means, &self.before, &self.moved) {
            (Means::Change, Some(before), _) => before,
            (Means::Move, _, Some(moved)) => &moved.state,
            _ => return None,
        };
        (state.metadata.file_type != FileType::Directory).then_some(state.metadata.inode)
    }

    /// Whether what is there before is to be removed.
    pub(super) fn removes(&self) -> bool {
        match self.means {
            Means::Remove | Means::Replace => true,
            Means::Move => self.before.is_some(),
            Means::Create | Means::Change | Means::MoveAway => false,
        }
    }

    /// The file of the filesystem under the stage whose content is copied.
    pub fn copied_from(&self) -> Option<&Resolved> {
        self.copied().map(|copied| &copied.from)
    }

    pub(super) fn copied(&self) -> Option<&Copied> {
        match self.after.as_ref()?.content.as_ref()? {
            Body::Copy(copied) => Some(copied),
            Body::New(_) => None,
        }
    }

    /// Whether the file that is there before is not removed, but gets another path.
    pub fn is_moved_away(&self) -> bool {
        self.means == Means::MoveAway
    }

    /// The metadata after the change, or before it where it removes the file.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.after.as_ref().or(self.before.as_ref()).map(|state| &state.metadata)
    }

    /// The content before the change, at most `limit` bytes (`Unsupported` where it is larger); `None` where there was no
    /// regular file. `fs` is the filesystem under the stage, with nothing applied to it.
    ///
    /// Of a file that comes from another path it is what it holds there.
    pub fn old_content(&self, fs: &(impl GuestFs + ?Sized), limit: u64) -> Result<Option<Vec<u8>>> {
        let moved = self.moved.as_ref().map(|moved| &moved.state);
        self.content(moved.or(self.before.as_ref()), fs, limit)
    }

    /// The content after the change, as for [`old_content`](Self::old_content).
    pub fn new_content(&self, fs: &(impl GuestFs + ?Sized), limit: u64) -> Result<Option<Vec<u8>>> {
        self.content(self.after.as_ref(), fs, limit)
    }

    fn content(&self, state: Option<&State>, fs: &(impl GuestFs + ?Sized), limit: u64) -> Result<Option<Vec<u8>>> {
        match state {
            Some(State { metadata, content, place, .. }) if metadata.file_type == FileType::Regular => match content {
                Some(Body::New(content)) => read_content(content, &self.path, limit).map(Some),
                Some(Body::Copy(copied)) => read_file(fs, &copied.from, limit).map(Some),
                None => read_file(fs, place.as_ref().unwrap_or(&self.path), limit).map(Some),
            },
            _ => Ok(None),
        }
    }
}

/// What changes at `path` between two sets of nodes over one base; `None` where nothing does. `moved` is where the base has
/// what the second set moves, and `names` are those of its new files.
pub(super) fn between(
    base: &dyn GuestFs,
    path: &Resolved,
    [old, new]: [&Nodes; 2],
    moved: &BTreeSet<&Resolved>,
    names: &Names<'_>,
) -> Result<Option<Change>> {
    let (old, new) = (View { base, nodes: old }, View { base, nodes: new });
    let (mut before, mut after) = match (side(old, path)?, side(new, path)?) {
        (None, None) => return Ok(None),
        (before, after) => (before, after),
    };
    if let Some(staged) = before.take_if(|before| before.origin == Origin::Base && moved.contains(path))
        && after.is_none()
    {
        return Ok(Some(Change {
            path: path.clone(),
            before: Some(state(staged, BTreeMap::new())),
            after: None,
            moved: None,
            linked: None,
            actions: vec![Action::Remove],
            means: Means::MoveAway,
        }));
    }
    if let Some(Staged { origin: Origin::Moved(from), .. }) = &after
        && before.as_ref().is_none_or(|before| Some(&before.origin) != after.as_ref().map(|after| &after.origin))
    {
        let from = from.clone();
        return coming(new, path, before, after, from);
    }
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
        (Some(before), Some(after))
            if before.metadata.file_type == after.metadata.file_type
                && !names.is_new(path)
                && !leaves_others(before, after) =>
        {
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
        moved: None,
        linked: names.first(path).filter(|_| matches!(means, Means::Create | Means::Replace)).cloned(),
        actions,
        means,
    }))
}

/// Adds directories that keep a time which they have, while names come or go in them.
pub(super) fn with_times(mut changes: Vec<Change>, base: &dyn GuestFs, nodes: &Nodes) -> Result<Vec<Change>> {
    let turned: BTreeSet<Resolved> =
        changes.iter().filter(|change| change.turns()).filter_map(|change| change.path.parent()).collect();
    let mut kept = Vec::new();
    for path in turned {
        let Some(Node::Present(staged)) = nodes.get(&path) else { continue };
        if staged.mtime.is_none() || changes.binary_search_by(|change| change.path.cmp(&path)).is_ok() {
            continue;
        }
        if let Some(before) = base.lookup(&path)?.map(Staged::of_base) {
            let [before, after] = [before, staged.clone()].map(|staged| Some(state(staged, BTreeMap::new())));
            let (actions, means) = (vec![Action::Touch], Means::Change);
            kept.push(Change { path, before, after, moved: None, linked: None, actions, means });
        }
    }
    if !kept.is_empty() {
        changes.append(&mut kept);
        changes.sort_by(|one, other| one.path.cmp(&other.path));
    }
    Ok(changes)
}

/// The change by which a file of another path comes to `path`.
fn coming(
    new: View<'_>,
    path: &Resolved,
    before: Option<Staged>,
    after: Option<Staged>,
    from: Resolved,
) -> Result<Option<Change>> {
    let there = View { nodes: &Nodes::new(), ..new };
    let (Some(first), Some(after)) = (side(there, &from)?, after) else { return Ok(None) };
    let mut actions =
        differences(new.base, path, &Staged { origin: Origin::Moved(from.clone()), ..first.clone() }, &after)?;
    let (mut old_xattrs, mut new_xattrs) = (BTreeMap::new(), BTreeMap::new());
    if !after.xattrs.is_empty() {
        let (all_old, all_new) = (there.xattrs(&from)?, new.xattrs(path)?);
        old_xattrs = all_old.iter().filter(|(name, value)| all_new.get(*name) != Some(value)).map(owned).collect();
        new_xattrs = all_new.iter().filter(|(name, value)| all_old.get(*name) != Some(value)).map(owned).collect();
    }
    if !(old_xattrs.is_empty() && new_xattrs.is_empty()) {
        actions.push(Action::Relabel);
    }
    actions.extend(before.is_some().then_some(Action::Remove));
    actions.push(Action::Move);
    actions.sort_unstable();
    let place = Some(from.clone());
    Ok(Some(Change {
        path: path.clone(),
        before: before.map(|staged| state(staged, BTreeMap::new())),
        after: Some(state(after, new_xattrs)),
        moved: Some(Moved { from, state: State { place, ..state(first, old_xattrs) } }),
        linked: None,
        actions,
        means: Means::Move,
    }))
}

fn owned((name, value): (&Vec<u8>, &Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    (name.clone(), value.clone())
}

/// The file at `path` with all that a state holds of it.
pub(super) fn side(view: View<'_>, path: &Resolved) -> Result<Option<Staged>> {
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
    let Some(mut staged) = staged else { return Ok(None) };
    let place = staged.origin.place(path).unwrap_or(path);
    match staged.metadata.file_type {
        FileType::Symlink if staged.target.is_none() => staged.target = Some(view.base.read_link(place)?),
        FileType::CharDevice | FileType::BlockDevice if staged.special.is_none() => {
            staged.special = Some(view.base.special(place)?);
        }
        _ => {}
    }
    Ok(Some(staged))
}

/// Whether a file that has further names is made anew under this one alone, which takes it from them even where it is alike.
fn leaves_others(before: &Staged, after: &Staged) -> bool {
    before.metadata.file_type != FileType::Directory
        && before.origin == Origin::Base
        && before.metadata.links > 1
        && after.origin == Origin::Fresh
        && after.metadata.links == 1
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
pub(super) fn differences(base: &dyn GuestFs, path: &Resolved, before: &Staged, after: &Staged) -> Result<Vec<Action>> {
    let (old, new) = (&before.metadata, &after.metadata);
    let mut actions = Vec::new();
    // Two pipes are alike, and so are two sockets.
    let device = |staged: &Staged| staged.special.map(SpecialFile::number).unwrap_or_default();
    if !same_content(base, path, before, after)? || before.target != after.target || device(before) != device(after) {
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
        (Some(old), Some(new)) => old.is_same(new),
        (None, Some(new)) => new.is_in(base, before.origin.place(path).unwrap_or(path), before.metadata.size),
        (Some(old), None) => old.is_in(base, after.origin.place(path).unwrap_or(path), after.metadata.size),
    }
}

fn state(staged: Staged, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> State {
    let place = match staged.origin {
        Origin::Moved(from) => Some(from),
        Origin::Base | Origin::Fresh => None,
    };
    State {
        place,
        metadata: staged.metadata,
        content: staged.content,
        target: staged.target,
        special: staged.special,
        mtime: staged.mtime,
        xattrs: xattrs.into_iter().map(|(name, value)| Xattr { name, value }).collect(),
    }
}
