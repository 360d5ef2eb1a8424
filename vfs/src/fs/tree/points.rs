//! The places of a tree at which something is mounted.

use crate::error::Result;
use crate::fs::{GuestFs, Lookup, Metadata};
use crate::path::{GuestPath, Resolved};
use crate::resolve::{Follow, resolve};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The places, and the number of what is mounted at each; the root has the number 0.
#[derive(Debug)]
pub(super) struct Points(BTreeMap<Resolved, usize>);

impl Points {
    /// The root alone.
    pub(super) fn new() -> Self {
        Self(BTreeMap::from([(Resolved::root(), 0)]))
    }

    pub(super) fn number(&self, at: &Resolved) -> Option<usize> {
        self.0.get(at).copied()
    }

    pub(super) fn put(&mut self, at: Resolved, number: usize) {
        self.0.insert(at, number);
    }

    /// The number of what a path lies on, and the path in it.
    pub(super) fn route<'p>(&self, at: &'p Resolved) -> (usize, Cow<'p, Resolved>) {
        if self.0.len() == 1 {
            return (0, Cow::Borrowed(at));
        }
        if let Some(number) = self.0.get(at) {
            return (*number, Cow::Owned(Resolved::root()));
        }
        // The innermost is the last.
        let found = at.ancestors().filter_map(|ancestor| self.0.get_key_value(ancestor)).last();
        match found {
            Some((point, number)) if *number != 0 => match at.within(point) {
                Some(inner) => (*number, Cow::Owned(inner)),
                None => (0, Cow::Borrowed(at)),
            },
            _ => (0, Cow::Borrowed(at)),
        }
    }

    /// The places below a directory.
    pub(super) fn below(&self, at: &Resolved) -> impl Iterator<Item = (&Resolved, usize)> {
        let prefix = at.child(b"");
        let from = prefix.clone();
        self.0
            .range(from..)
            .take_while(move |(point, _)| point.as_bytes().starts_with(prefix.as_bytes()))
            .filter(|(_, number)| **number != 0)
            .map(|(point, number)| (point, *number))
    }

    /// Where a place lies: links are followed on the root filesystem; what lies in another mount is taken as it is spelt, since
    /// that mount may never be needed.
    pub(super) fn resolve(&self, root: &dyn GuestFs, path: &GuestPath) -> Result<Resolved> {
        resolve(&Around { root, points: self }, path, Follow::All)
    }
}

/// The path as it is spelt.
pub(super) fn literal(path: &GuestPath) -> Resolved {
    path.components().fold(Resolved::root(), |at, name| at.child(name))
}

/// The root filesystem, in which nothing is to be seen of what is mounted.
struct Around<'a> {
    root: &'a dyn GuestFs,
    points: &'a Points,
}

impl Lookup for Around<'_> {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        if at.ancestors().skip(1).any(|ancestor| self.points.0.contains_key(ancestor)) {
            return Ok(None);
        }
        self.root.lookup(at)
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        self.root.read_link(at)
    }
}
