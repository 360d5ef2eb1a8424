//! Files of which something is said, whether that changes them or not.

use super::node::{Found, Node, Origin};
use super::{Savepoint, Stage};
use crate::error::{ErrorKind, Result};
use crate::path::{GuestPath, Resolved};
use std::sync::Arc;

impl Stage<'_> {
    /// Says that a file that exists is to be as it is: that changes nothing, and is [spoken of](Self::spoken_of_since).
    pub fn confirm(&mut self, path: &GuestPath) -> Result<()> {
        self.confirm_at(self.resolve(path)?)
    }

    pub(super) fn confirm_at(&mut self, at: Resolved) -> Result<()> {
        let staged = self.existing(&at)?;
        Arc::make_mut(&mut self.nodes).entry(at).or_insert(Node::Present(staged));
        Ok(())
    }

    /// Whether what `path` names, itself if it is a symbolic link, is only in the stage: the filesystem under it has nothing at this path,
    /// nor has it come from another one.
    pub fn is_only_staged(&self, path: &GuestPath) -> Result<bool> {
        let at = self.resolve_parent(path)?;
        match self.view().find(&at)? {
            Found::Staged(staged) if staged.origin == Origin::Fresh => match self.base.lookup(&at) {
                Ok(found) => Ok(found.is_none()),
                // A file of it is a directory in the stage.
                Err(error) if error.kind() == ErrorKind::WrongType => Ok(true),
                Err(error) => Err(error),
            },
            Found::Staged(_) | Found::Base | Found::Missing => Ok(false),
        }
    }

    /// The files that are there and that were first spoken of since `savepoint`, be it that they were to be as they are; sorted.
    pub fn spoken_of_since(&self, savepoint: &Savepoint) -> Vec<Resolved> {
        let is_new = |path: &Resolved| !savepoint.nodes.contains_key(path);
        let present = self.nodes.iter().filter(|(_, node)| matches!(node, Node::Present(_)));
        present.map(|(path, _)| path).filter(|path| is_new(path)).cloned().collect()
    }
}
