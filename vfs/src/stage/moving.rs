//! Files that get another path.

use super::change::Change;
use super::node::{Node, Nodes, Origin, Staged};
use super::places::Places;
use super::{Stage, failure};
use crate::error::{ErrorKind, Result};
use crate::fs::{FileType, GuestFs, Lookup, Metadata};
use crate::path::{GuestPath, Resolved};
use crate::resolve::{Follow, resolve};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Stage<'_> {
    /// Gives a file that is no directory, of a symbolic link that itself, another path; a file that is there gives way. It
    /// stays the same file, with its other names, its times and its attributes.
    ///
    /// Errors: `WrongType` for a directory on either side, `NotFound` where the file or the directory of `to` is missing,
    /// `Invalid` where both are names of one file, `Unsupported` where they lie on two filesystems.
    pub fn rename(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        let from = resolve(self, from, Follow::ExcludeLast)?;
        let to = resolve(self, to, Follow::ExcludeLast)?;
        let staged = self.existing(&from)?;
        let is_directory = |metadata: &Metadata| metadata.file_type == FileType::Directory;
        if is_directory(&staged.metadata) {
            return Err(failure(ErrorKind::WrongType, &from, "it is a directory"));
        }
        self.check_unchanged(&from, &staged.metadata, "move it first, or in a run of its own")?;
        self.check_parent(&to)?;
        if let Some(found) = self.lookup(&to)? {
            if is_directory(&found) {
                return Err(failure(ErrorKind::WrongType, &to, "a directory is in the way"));
            }
            if found.inode == staged.metadata.inode {
                return Err(failure(ErrorKind::Invalid, &from, &format!("it is the same file as {to}")));
            }
        }
        if self.base.part(&from) != self.base.part(&to) {
            let message = format!("it lies on another filesystem than {to}, and files are not moved between two");
            return Err(failure(ErrorKind::Unsupported, &from, &message));
        }
        self.check_alone(&to)?;
        self.renamed(&staged, &to);
        let origin = match staged.origin {
            Origin::Base => Origin::Moved(from.clone()),
            // It is back.
            Origin::Moved(first) if first == to => Origin::Base,
            origin => origin,
        };
        self.origins.add(from.clone(), to.clone());
        let nodes = Arc::make_mut(&mut self.nodes);
        nodes.insert(from, Node::Removed);
        nodes.insert(to, Node::Present(Staged { origin, ..staged }));
        Ok(())
    }
}

/// Where the base has what is moved.
pub(super) fn sources(nodes: &Nodes) -> BTreeSet<&Resolved> {
    let source = |node| match node {
        &Node::Present(Staged { origin: Origin::Moved(ref from), .. }) => Some(from),
        _ => None,
    };
    nodes.values().filter_map(source).collect()
}

/// Renames all files that get another path: to that, where nothing is in the way, else to a name in the directory that they
/// come from (or in the innermost one around it that stays), which is given for each path that waits for its file.
pub(super) fn park(changes: &[Change], fs: &mut dyn GuestFs) -> Result<BTreeMap<Resolved, Resolved>> {
    let mut parked = BTreeMap::new();
    let moves = || changes.iter().filter_map(|change| Some((&change.path, change.moved.as_ref()?)));
    if moves().next().is_none() {
        return Ok(parked);
    }
    let mut number = 0;
    let places = Places::of(changes);
    for (path, moved) in moves() {
        if places.has_directory(path, fs) && fs.lookup(path)?.is_none() {
            fs.rename(&moved.from, path)?;
            continue;
        }
        let place = places.unused_name(&places.around(&moved.from, fs), &mut number, fs)?;
        fs.rename(&moved.from, &place)?;
        parked.insert(path.clone(), place);
    }
    Ok(parked)
}
