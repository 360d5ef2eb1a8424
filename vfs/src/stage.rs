//! Changes to a guest tree, described before they are made.

use crate::error::Result;
use crate::fs::{Attrs, Content, DirEntry, GuestFs, Lookup, Metadata, SetAttrs, Xattr};
use crate::path::{GuestPath, Resolved};
use std::sync::Arc;

/// A guest tree with changes staged over it. Reads see the changes; the filesystem is not touched.
///
/// Every path goes through the resolver, and every symbolic link in it, the last one included, is followed.
#[derive(Debug)]
pub struct Stage<'a> {
    base: &'a dyn GuestFs,
}

/// A moment of a stage to go back to, or to compare with.
#[derive(Clone, Debug)]
pub struct Savepoint {}

/// One staged file: what it was and what it is to be.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where, resolved.
    pub path: Resolved,
    /// What is there before the change; `None` where it is new.
    pub before: Option<State>,
    /// What is there after it.
    pub after: State,
}

/// A file's state as far as a change is concerned with it.
#[derive(Clone, Debug)]
pub struct State {
    /// Type, mode, owner, size.
    pub metadata: Metadata,
    /// The new content of a regular file; `None` where the content is not changed.
    pub content: Option<Content>,
    /// The extended attributes that the change sets, by name.
    pub xattrs: Vec<Xattr>,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Action {
    Create,
    Modify,
    Chmod,
    Chown,
    Relabel,
}

impl Change {
    /// What the change does: `Create` alone for a new file or directory, else each of the others that applies.
    pub fn actions(&self) -> Vec<Action> {
        unreachable!()
    }
}

/// All changes of a stage, parents before what is in them.
#[derive(Debug)]
pub struct ChangeSet {}

impl<'a> Stage<'a> {
    /// A stage over `base` with nothing in it.
    pub fn new(base: &'a dyn GuestFs) -> Self {
        Self { base }
    }

    /// The path with every link followed, the staged tree considered.
    pub fn resolve(&self, _path: &GuestPath) -> Result<Resolved> {
        unreachable!()
    }

    /// What is known of the file; `None` where it is missing.
    pub fn metadata(&self, _path: &GuestPath) -> Result<Option<Metadata>> {
        unreachable!()
    }

    /// The content of a regular file of at most `limit` bytes; `None` where it is missing.
    pub fn read(&self, _path: &GuestPath, _limit: u64) -> Result<Option<Vec<u8>>> {
        unreachable!()
    }

    /// The entries of a directory; `None` where it is missing.
    pub fn read_dir(&self, _path: &GuestPath) -> Result<Option<Vec<DirEntry>>> {
        unreachable!()
    }

    /// The extended attributes of a file that exists.
    pub fn xattrs(&self, _path: &GuestPath) -> Result<Vec<Xattr>> {
        unreachable!()
    }

    /// Gives a regular file this content: an existing one keeps owner, mode and attributes, a new one gets `attrs`. The
    /// directory must exist.
    pub fn write(&mut self, _path: &GuestPath, _content: Content, _attrs: Attrs) -> Result<()> {
        unreachable!()
    }

    /// Makes a directory and those before it that are missing, each with `attrs`; existing ones are left alone. Returns
    /// whether the last one was missing.
    pub fn create_dirs(&mut self, _path: &GuestPath, _attrs: Attrs) -> Result<bool> {
        unreachable!()
    }

    /// Changes attributes of a file that exists.
    pub fn set_attrs(&mut self, _path: &GuestPath, _attrs: SetAttrs) -> Result<()> {
        unreachable!()
    }

    /// Sets an extended attribute of a file that exists.
    pub fn set_xattr(&mut self, _path: &GuestPath, _xattr: Xattr) -> Result<()> {
        unreachable!()
    }

    /// This moment.
    pub fn savepoint(&self) -> Savepoint {
        unreachable!()
    }

    /// Undoes everything since `savepoint`.
    pub fn rollback(&mut self, _savepoint: Savepoint) {
        unreachable!()
    }

    /// What has changed since `savepoint`; empty where everything is as it was then.
    pub fn changes_since(&self, _savepoint: &Savepoint) -> Result<Vec<Change>> {
        unreachable!()
    }

    /// The changes, without those that change nothing.
    pub fn finish(self) -> Result<ChangeSet> {
        unreachable!()
    }
}

impl Lookup for Stage<'_> {
    fn lookup(&self, _at: &Resolved) -> Result<Option<Metadata>> {
        unreachable!()
    }
    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        self.base.read_link(at)
    }
}

impl ChangeSet {
    /// Each changed path once, parents before what is in them.
    pub fn changes(&self) -> &[Change] {
        unreachable!()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes().is_empty()
    }

    /// Makes the changes. The only code that writes to a guest filesystem.
    pub fn apply(&self, _fs: &mut dyn GuestFs) -> Result<()> {
        unreachable!()
    }
}

/// Keeps the type of shared bytes in one place.
pub type Bytes = Arc<[u8]>;
