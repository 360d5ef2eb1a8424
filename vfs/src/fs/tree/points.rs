//! The places of a tree at which something is mounted.

use crate::error::{Error, Layer, Result};
use crate::fs::{GuestFs, Lookup, Metadata};
use crate::path::{GuestPath, Resolved};
use crate::resolve::{Follow, resolve};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

/// How many directories are gone through to find the places of a tree: a filesystem finds a path from its root on each time, and a
/// thousand places may each be thousands of directories deep, by symbolic links too.
const STEPS_MAX: usize = 1 << 18;

/// The places, and the number of what is mounted at each; the root has the number 0.
#[derive(Debug)]
pub(super) struct Points {
    places: BTreeMap<Resolved, usize>,
    /// How many directories may still be gone through to find places.
    steps: Cell<usize>,
}

impl Points {
    /// The root alone.
    pub(super) fn new() -> Self {
        Self { places: BTreeMap::from([(Resolved::root(), 0)]), steps: Cell::new(STEPS_MAX) }
    }

    /// Fails where places cannot be found any more.
    pub(super) fn check_steps(&self) -> Result<()> {
        if self.steps.get() > 0 {
            return Ok(());
        }
        let message = format!("the places of the mounts lie more than {STEPS_MAX} directories deep, all together");
        Err(Error::unsupported(Layer::Volume, message)
            .with_hint("--mount none leaves the guest's mounts out of account"))
    }

    /// Takes what it costs to look something up on a filesystem off what may be spent on places.
    pub(super) fn spend(&self, at: &Resolved) -> Result<()> {
        self.steps.set(self.steps.get().saturating_sub(at.components().count()));
        self.check_steps()
    }

    pub(super) fn number(&self, at: &Resolved) -> Option<usize> {
        self.places.get(at).copied()
    }

    pub(super) fn put(&mut self, at: Resolved, number: usize) {
        self.places.insert(at, number);
    }

    /// The number of what a path lies on, and the path in it.
    pub(super) fn route<'p>(&self, at: &'p Resolved) -> (usize, Cow<'p, Resolved>) {
        if self.places.len() == 1 {
            return (0, Cow::Borrowed(at));
        }
        if let Some(number) = self.places.get(at) {
            return (*number, Cow::Owned(Resolved::root()));
        }
        // The innermost is the last.
        let found = at.ancestors().filter_map(|ancestor| self.places.get_key_value(ancestor)).last();
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
        self.places
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

/// Where paths lead on a filesystem alone, looked for as far as a tree looks for its places.
#[derive(Debug)]
pub struct Places<'a> {
    root: &'a dyn GuestFs,
    points: Points,
}

impl<'a> Places<'a> {
    /// Those of a root.
    pub fn new(root: &'a dyn GuestFs) -> Self {
        Self { root, points: Points::new() }
    }

    /// Where a path leads, be there something or not; `None` where it leads nowhere, or is too much to look for.
    pub fn find(&self, path: &GuestPath) -> Option<Resolved> {
        self.points.resolve(self.root, path).ok()
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
        if at.ancestors().skip(1).any(|ancestor| self.points.places.contains_key(ancestor)) {
            return Ok(None);
        }
        self.points.spend(at)?;
        self.root.lookup(at)
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        self.root.read_link(at)
    }
}
