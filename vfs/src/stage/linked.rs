//! New files with more names than one.

use super::change::Change;
use super::node::{Found, Node, Nodes, Origin, Staged};
use super::{Stage, change, failure};
use crate::error::{Error, ErrorKind, Result};
use crate::fs::{FileType, Metadata};
use crate::path::{GuestPath, Resolved};
use crate::resolve::{Follow, resolve};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Under which names files were staged that have more than one, by the inode numbers made up for them. It outlives what is
/// rolled back, removed or renamed: a name counts where the node there has the number.
pub(super) type Links = BTreeMap<u64, BTreeSet<Resolved>>;

impl Stage<'_> {
    /// Gives a file that is new on this stage, and no directory, a further name. From then on it is one file: what is staged
    /// under one of its names is staged under all.
    ///
    /// Errors: `NotFound` where the file, or the directory of `path`, is missing; `WrongType` for a directory; `Invalid`
    /// where `path` is taken, or the file is none that this stage makes; `Unsupported` where the filesystem has no hard
    /// links, or the two paths lie on two filesystems.
    pub fn hard_link(&mut self, existing: &GuestPath, path: &GuestPath) -> Result<()> {
        let from = resolve(self, existing, Follow::ExcludeLast)?;
        let at = resolve(self, path, Follow::ExcludeLast)?;
        let mut staged = self.existing(&from)?;
        if staged.metadata.file_type == FileType::Directory {
            return Err(failure(ErrorKind::WrongType, &from, "a directory cannot have a second name"));
        }
        if staged.origin != Origin::Fresh {
            return Err(failure(ErrorKind::Invalid, &from, "only a file that is made now gets a second name"));
        }
        self.check_kept(&at, "hard links")?;
        self.check_parent(&at)?;
        if self.view().staged(&at)?.is_some() {
            return Err(failure(ErrorKind::Invalid, &at, "something is there already"));
        }
        if self.base.part(&from) != self.base.part(&at) {
            let message = format!("it lies on another filesystem than {from}, and a file has its names in one of them");
            return Err(failure(ErrorKind::Unsupported, &at, &message));
        }
        self.spend_attributes(&at, &staged)?;
        // As many as matter: that there are others.
        staged.metadata.links = 2;
        let names = self.links.entry(staged.metadata.inode).or_default();
        names.insert(from.clone());
        names.insert(at.clone());
        let nodes = Arc::make_mut(&mut self.nodes);
        nodes.insert(from, Node::Present(staged.clone()));
        nodes.insert(at, Node::Present(staged));
        Ok(())
    }

    /// Puts a file on the stage, under each of its names.
    pub(super) fn put(&mut self, at: Resolved, staged: Staged) {
        if staged.metadata.links > 1 && staged.origin != Origin::Fresh {
            self.changed.insert(staged.metadata.inode, at.clone());
        }
        let nodes = Arc::make_mut(&mut self.nodes);
        for name in self.links.get(&staged.metadata.inode).into_iter().flatten().filter(|name| **name != at) {
            if let Some(Node::Present(other)) = nodes.get_mut(name)
                && other.metadata.inode == staged.metadata.inode
            {
                *other = staged.clone();
            }
        }
        nodes.insert(at, Node::Present(staged));
    }

    /// The other name under which the file at `at` was changed, or has got instead of one of its names.
    pub(super) fn changed_as(&self, at: &Resolved) -> Result<Option<Resolved>> {
        if self.changed.is_empty() {
            return Ok(None);
        }
        let place = match self.view().find(at) {
            Ok(Found::Base | Found::Staged(Staged { origin: Origin::Base, .. })) => at,
            // Only its name is another.
            Ok(Found::Staged(Staged { origin: Origin::Moved(from), .. })) => from,
            _ => return Ok(None),
        };
        let Some(found) = self.base.lookup(place)?.filter(|found| found.file_type != FileType::Directory) else {
            return Ok(None);
        };
        if matches!(self.nodes.get(at), Some(Node::Present(staged)) if is_altered(staged, &found)) {
            return Ok(None);
        }
        let other = self.changed.get(&found.inode).filter(|other| found.links > 1 && *other != at);
        let is_it = |other: &&Resolved| {
            matches!(self.nodes.get(*other), Some(Node::Present(staged))
            if staged.metadata.inode == found.inode
                && match staged.origin {
                    Origin::Fresh => false,
                    Origin::Moved(_) => true,
                    Origin::Base => is_altered(staged, &found),
                })
        };
        Ok(other.filter(is_it).filter(|other| self.base.part(other) == self.base.part(at)).cloned())
    }

    /// `Ambiguous` where what is at `at` was changed, goes away there, and has other names, which are not to keep what they had.
    pub(super) fn check_alone(&self, at: &Resolved) -> Result<()> {
        let Some(Node::Present(staged)) = self.nodes.get(at) else { return Ok(()) };
        if staged.origin == Origin::Fresh
            || staged.metadata.links < 2
            || staged.metadata.file_type == FileType::Directory
        {
            return Ok(());
        }
        let place = staged.origin.place(at).unwrap_or(at);
        let Some(before) = self.base.lookup(place)?.map(Staged::of_base) else { return Ok(()) };
        if staged.xattrs.is_empty() && change::differences(self.base, place, &before, staged)?.is_empty() {
            return Ok(());
        }
        let message = "this run has changed it, and it has other names, which it would be lost for";
        Err(failure(ErrorKind::Ambiguous, at, message).with_hint("change it in a run of its own first"))
    }

    /// `Ambiguous` where a file is changed under one name, and under another one was last said to be what it is in the filesystem.
    pub(super) fn check_last_said(&self, changes: &[Change]) -> Result<()> {
        let at = |path: &Resolved| changes.binary_search_by(|change| change.path.cmp(path));
        for (inode, last) in &self.changed {
            let is_it = matches!(self.nodes.get(last), Some(Node::Present(staged)) if staged.metadata.inode == *inode);
            if !is_it || at(last).is_ok() {
                continue;
            }
            if let Some(other) = changes.iter().find(|change| change.stays() == Some(*inode)) {
                return Err(differently(last, &other.path));
            }
        }
        Ok(())
    }

    /// `Ambiguous` where a file was changed under another one of its names; `way` is the way out.
    pub(super) fn check_unchanged(&self, from: &Resolved, found: &Metadata, way: &'static str) -> Result<()> {
        let Some(other) = self.changed_as(from)? else { return Ok(()) };
        match self.nodes.get(&other) {
            Some(Node::Present(staged)) if is_altered(staged, found) => {
                let message = format!("it is a hard link of {other}, which this run has changed");
                Err(failure(ErrorKind::Ambiguous, from, &message).with_hint(way))
            }
            _ => Ok(()),
        }
    }

    /// Notes that a file with several names has another one.
    pub(super) fn renamed(&mut self, staged: &Staged, to: &Resolved) {
        let Metadata { inode, links, .. } = staged.metadata;
        if let Some(names) = self.links.get_mut(&inode) {
            names.insert(to.clone());
        }
        if links > 1 && staged.origin != Origin::Fresh {
            self.changed.insert(inode, to.clone());
        }
    }
}

/// Whether anything but its name is another than the filesystem has it.
fn is_altered(staged: &Staged, found: &Metadata) -> bool {
    staged.content.is_some() || staged.metadata != *found || !staged.xattrs.is_empty()
}

/// The way out where two names of one file are not to be the same.
pub(super) const ONE_AFTER_THE_OTHER: &str = "change one of them in a run of its own, and then the other";

/// What is said of two names of one file that are not to be the same.
pub(super) fn differently(path: &Resolved, other: &Resolved) -> Error {
    failure(ErrorKind::Ambiguous, path, &format!("it is a hard link of {other}, and the two are changed differently"))
        .with_hint(ONE_AFTER_THE_OTHER)
}

/// The names of new files that have several.
#[derive(Debug, Default)]
pub(super) struct Names<'n> {
    /// For each name but the first one of a file the first one.
    firsts: BTreeMap<&'n Resolved, &'n Resolved>,
    /// Those under which there is no such file yet, whatever is there: all names of a file, or none.
    new: BTreeSet<&'n Resolved>,
}

impl<'n> Names<'n> {
    /// Those of the nodes; `before` says what is there before at a path.
    pub(super) fn of(
        links: &Links,
        nodes: &'n Nodes,
        before: impl Fn(&Resolved) -> Result<Option<Metadata>>,
    ) -> Result<Self> {
        let mut names = Self::default();
        for (inode, noted) in links {
            let here = |name| match nodes.get_key_value(name) {
                Some((name, Node::Present(staged))) if staged.metadata.inode == *inode => Some(name),
                _ => None,
            };
            let here: Vec<&Resolved> = noted.iter().filter_map(here).collect();
            let Some((first, others)) = here.split_first().filter(|(_, others)| !others.is_empty()) else { continue };
            names.firsts.extend(others.iter().map(|name| (*name, *first)));
            let mut found = BTreeSet::new();
            let mut has_others = false;
            for name in &here {
                let metadata = before(name)?;
                has_others |= metadata.is_some_and(|found| usize::try_from(found.links).is_ok_and(|n| n > here.len()));
                found.insert(metadata.map(|metadata| metadata.inode));
            }
            if found.len() > 1 || has_others {
                names.new.extend(here);
            }
        }
        Ok(names)
    }

    /// Of which name this one is to be another, where it is not the first of its file.
    pub(super) fn first(&self, name: &Resolved) -> Option<&'n Resolved> {
        self.firsts.get(name).copied()
    }

    /// Whether the file is made under this name, even if one like it is there.
    pub(super) fn is_new(&self, name: &Resolved) -> bool {
        self.new.contains(name)
    }
}
