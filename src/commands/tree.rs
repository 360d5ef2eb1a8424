//! The tree of the guest whose root was chosen.

use crate::guest::mounts::Mounts;
use crate::plan::Target;
use imgraft_vfs::fs::tree::Tree;
use imgraft_vfs::fs::{Features, GuestFs, Mode};
use imgraft_vfs::kernel::Borrowed;
use imgraft_vfs::path::Resolved;
use imgraft_vfs::stage::ChangeSet;
use imgraft_vfs::volume::{Keys, Selector, Survey, VolumeInfo, Volumes};
use imgraft_vfs::{Error, Result};
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

/// A guest's tree, and what it is made of.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) tree: Tree,
    pub(super) mounts: Mounts,
    volumes: Volumes,
    /// Keys that are for no volume of the image, a clause each.
    keyless: Vec<String>,
}

/// What changes on one volume of a tree.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Where it is mounted.
    pub(super) place: String,
    pub(super) info: VolumeInfo,
    pub(super) features: Features,
    /// The kernel that has it mounted; of the root it is told elsewhere.
    pub(super) kernel: Option<Borrowed>,
    /// The changes, in the volume's own paths.
    pub(super) changes: Cow<'a, ChangeSet>,
}

/// The tree of the guest whose root filesystem `root` on `info` is; that alone, where it is no guest's.
pub(super) fn grow(
    root: Box<dyn GuestFs>,
    info: &VolumeInfo,
    survey: &Rc<RefCell<Survey>>,
    target: &Target,
    mode: Mode,
) -> Result<Grown> {
    let mounts = Mounts::inspect(&*root, info, &survey.borrow(), &target.mounts)?;
    let keyless = keyless(&survey.borrow(), &target.keys);
    let volumes = Volumes::new(Rc::clone(survey), info, &target.keys, &target.access, mode);
    let tree = mounts.tree(root, &volumes)?;
    Ok(Grown { tree, mounts, volumes, keyless })
}

/// The keys that are for no volume of an image, a clause each: one set of keys may be for several images.
pub(super) fn keyless(survey: &Survey, keys: &Keys) -> Vec<String> {
    let encrypted: Vec<String> = survey.encrypted().map(VolumeInfo::name).collect();
    let there = match encrypted.as_slice() {
        [] => "nothing in the image is".to_owned(),
        several => format!("there are {}", several.join(", ")),
    };
    let clause = |selector: &Selector| format!("--key {selector}: no encrypted volume is called so; {there}");
    survey.keyless(keys).into_iter().map(clause).collect()
}

impl Part<'_> {
    /// The same, with changes of its own.
    pub(super) fn into_owned(self) -> Part<'static> {
        Part { changes: Cow::Owned(self.changes.into_owned()), ..self }
    }
}

impl Grown {
    /// What the user should know of what changes where.
    pub(super) fn notes(&self, changes: &ChangeSet) -> Vec<String> {
        let paths = changes.changes().iter().map(|change| &change.path);
        [self.mounts.odd(&self.tree), self.mounts.covering(paths, &self.tree), self.keyless.clone()].concat()
    }

    /// The same of a path that is looked at. `path` is resolved.
    pub(super) fn notes_of(&self, path: &Resolved) -> Vec<String> {
        [self.mounts.covering(std::iter::once(path), &self.tree), self.keyless.clone()].concat()
    }

    /// What changes where, the root first.
    pub(super) fn parts<'a>(&self, changes: &'a ChangeSet) -> Result<Vec<Part<'a>>> {
        let parts = self.tree.parts(changes).into_iter();
        parts.map(|(number, changes)| self.part(number, changes).ok_or_else(lost)).collect()
    }

    fn part<'a>(&self, number: usize, changes: Cow<'a, ChangeSet>) -> Option<Part<'a>> {
        let path = self.mounts.path(number)?;
        let used = self.volumes.used(&path)?;
        let features = self.tree.features_of(number)?;
        let place = self.tree.place(number)?.to_string();
        Some(Part { place, info: used.info, features, kernel: used.kernel, changes })
    }
}

fn lost() -> Error {
    Error::corrupt(imgraft_vfs::Layer::Volume, "what was changed is not known any more")
}
