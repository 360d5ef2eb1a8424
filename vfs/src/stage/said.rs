//! Files of which something is said, whether that changes them or not.

use super::node::Node;
use super::{Savepoint, Stage};
use crate::error::Result;
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

    /// The files that are there and that were first spoken of since `savepoint`, be it that they were to be as they are; sorted.
    pub fn spoken_of_since(&self, savepoint: &Savepoint) -> Vec<Resolved> {
        let is_new = |path: &Resolved| !savepoint.nodes.contains_key(path);
        let present = self.nodes.iter().filter(|(_, node)| matches!(node, Node::Present(_)));
        present.map(|(path, _)| path).filter(|path| is_new(path)).cloned().collect()
    }
}
