//! What a stage says of one path, and the tree that a base and such nodes make together.

use super::body::Body;
use super::failure;
use crate::error::{ErrorKind, Result};
use crate::fs::{DirEntry, FileType, GuestFs, Metadata, SpecialFile, Timestamp, Xattr};
use crate::path::Resolved;
use std::collections::BTreeMap;

pub(super) type Nodes = BTreeMap<Resolved, Node>;

/// What a stage says of one path.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "few nodes are of the small one")]
pub(super) enum Node {
    /// Nothing is there any more. A directory is removed only when it is empty, so all that the base has below a removed
    /// directory is removed by nodes of its own.
    Removed,
    /// This is there.
    Present(Staged),
}

/// A file as a stage has it.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub(super) origin: Origin,
    pub(super) metadata: Metadata,
    /// The content of a regular file; `None` for the one that it has in the base, which a new one has not.
    pub(super) content: Option<Body>,
    /// The target of a symbolic link that is new.
    pub(super) target: Option<Vec<u8>>,
    /// What a device, a pipe or a socket is that is new.
    pub(super) special: Option<SpecialFile>,
    /// A time that was asked for, or came with a copy; another content after it has the time of the run, as by a kernel.
    pub(super) mtime: Option<Timestamp>,
    /// By name, the extended attributes that are set (or removed, `None`) over those of the base.
    pub(super) xattrs: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// Where the file of a node comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is the base's, changed.
    Base,
    /// It is the one that the base has at this path, and no directory.
    Moved(Resolved),
    /// It is new.
    Fresh,
}

impl Origin {
    /// Where the base has the file of a node at `at`.
    pub(super) fn place<'p>(&'p self, at: &'p Resolved) -> Option<&'p Resolved> {
        match self {
            Self::Base => Some(at),
            Self::Moved(from) => Some(from),
            Self::Fresh => None,
        }
    }
}

impl Staged {
    pub(super) fn of_base(metadata: Metadata) -> Self {
        let (content, target, special, mtime) = (None, None, None, None);
        Self { origin: Origin::Base, metadata, content, target, special, mtime, xattrs: BTreeMap::new() }
    }

    pub(super) fn fresh(metadata: Metadata) -> Self {
        Self { origin: Origin::Fresh, ..Self::of_base(metadata) }
    }
}

/// A base and the nodes over it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'s> {
    pub(super) base: &'s dyn GuestFs,
    pub(super) nodes: &'s Nodes,
}

pub(super) enum Found<'s> {
    Staged(&'s Staged),
    Base,
    Missing,
}

impl<'s> View<'s> {
    pub(super) fn find(&self, at: &Resolved) -> Result<Found<'s>> {
        if self.nodes.is_empty() {
            return Ok(Found::Base);
        }
        let node = self.nodes.get(at);
        if let Some(Node::Present(staged)) = node {
            // So the directories that hold it are there.
            return Ok(Found::Staged(staged));
        }
        let mut origin = Origin::Base;
        let around: Vec<&[u8]> = at.ancestors().collect();
        // The innermost directory that anything is said of decides: it is there only if all around it are.
        for here in around.into_iter().rev() {
            match self.nodes.get(here) {
                Some(Node::Removed) => return Ok(Found::Missing),
                Some(Node::Present(staged)) if staged.metadata.file_type != FileType::Directory => {
                    return Err(failure(ErrorKind::WrongType, here, "not a directory"));
                }
                // What the base has below a directory that is new does not show.
                Some(Node::Present(staged)) => {
                    origin = staged.origin.clone();
                    break;
                }
                None => {}
            }
        }
        Ok(match node {
            None if origin == Origin::Base => Found::Base,
            _ => Found::Missing,
        })
    }

    /// The file as it is to be; `None` where it is missing.
    pub(super) fn staged(&self, at: &Resolved) -> Result<Option<Staged>> {
        Ok(match self.find(at)? {
            Found::Staged(staged) => Some(staged.clone()),
            Found::Base => self.base.lookup(at)?.map(Staged::of_base),
            Found::Missing => None,
        })
    }

    /// The entries of the directory at `at`, sorted by name.
    pub(super) fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>> {
        let mut entries = BTreeMap::new();
        let from_base = match self.find(at)? {
            Found::Staged(staged) => {
                if staged.metadata.file_type != FileType::Directory {
                    return Err(failure(ErrorKind::WrongType, at, "not a directory"));
                }
                staged.origin == Origin::Base
            }
            Found::Base => true,
            Found::Missing => return Err(failure(ErrorKind::NotFound, at, "no such directory")),
        };
        if from_base {
            entries.extend(self.base.read_dir(at)?.into_iter().map(|entry| (entry.name, entry.file_type)));
        }
        let prefix = at.child(b"");
        for (path, node) in self.nodes.range(prefix.clone()..) {
            let Some(name) = path.as_bytes().strip_prefix(prefix.as_bytes()) else { break };
            if name.is_empty() || name.contains(&b'/') {
                continue;
            }
            match node {
                Node::Removed => entries.remove(name),
                Node::Present(staged) => entries.insert(name.to_vec(), staged.metadata.file_type),
            };
        }
        Ok(entries.into_iter().map(|(name, file_type)| DirEntry { name, file_type }).collect())
    }

    /// All extended attributes of a file that is there, by name.
    pub(super) fn xattrs(&self, at: &Resolved) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let of_base = |place: &Resolved| -> Result<BTreeMap<_, _>> {
            Ok(self.base.xattrs(place)?.into_iter().map(|Xattr { name, value }| (name, value)).collect())
        };
        match self.find(at)? {
            Found::Base => of_base(at),
            Found::Missing => Err(failure(ErrorKind::NotFound, at, "no such file")),
            Found::Staged(staged) => {
                let mut all = staged.origin.place(at).map(of_base).transpose()?.unwrap_or_default();
                for (name, value) in &staged.xattrs {
                    match value {
                        Some(value) => all.insert(name.clone(), value.clone()),
                        None => all.remove(name),
                    };
                }
                Ok(all)
            }
        }
    }

    /// The target of the symbolic link at `at`.
    pub(super) fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        match self.find(at)? {
            Found::Staged(Staged { target: Some(target), .. }) => Ok(target.clone()),
            Found::Base => self.base.read_link(at),
            Found::Staged(staged) => match staged.origin.place(at) {
                Some(place) => self.base.read_link(place),
                None => Err(failure(ErrorKind::WrongType, at, "not a symbolic link")),
            },
            Found::Missing => Err(failure(ErrorKind::NotFound, at, "no such symbolic link")),
        }
    }

    /// What the device, pipe or socket at `at` is.
    pub(super) fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        match self.find(at)? {
            Found::Staged(Staged { special: Some(special), .. }) => Ok(*special),
            Found::Base => self.base.special(at),
            Found::Staged(staged) => match staged.origin.place(at) {
                Some(place) => self.base.special(place),
                None => Err(failure(ErrorKind::WrongType, at, "not a device, pipe or socket")),
            },
            Found::Missing => Err(failure(ErrorKind::NotFound, at, "no such file")),
        }
    }
}
