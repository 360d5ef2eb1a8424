//! A guest's whole tree: one filesystem at the root, and others mounted at their places in it.
//!
//! To everybody above it a tree is one filesystem: the resolver asks it, so that symbolic links lead over mount points as they
//! do in the guest. What is mounted is opened for reading when a path first needs it, and for changing when something
//! in it is first changed; what no path needs may be missing, locked or broken.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

mod part;
mod points;

pub use part::{Purpose, Refused, Source};
pub use points::Places;

use super::{
    Attrs, Content, DirEntry, Features, FileType, GuestFs, Lookup, Metadata, Ownership, SetAttrs, SpecialFile, Xattr,
};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::path::{GuestPath, Resolved};
use crate::stage::ChangeSet;
use part::Part;
use points::Points;
use std::borrow::Cow;

/// How many mounts a tree takes.
pub const MOUNTS_MAX: usize = 1024;
/// Where the number of a part stands in an inode number: above those of every filesystem that fits on a disk.
const PART_SHIFT: u32 = 48;

/// Something that is mounted in a tree.
#[derive(Debug)]
pub struct Mount {
    /// Where, as the guest names it: symbolic links are followed.
    pub path: GuestPath,
    /// Who says so, for messages: `line 3 of /etc/fstab`.
    pub origin: String,
    /// What.
    pub source: Box<dyn Source>,
    /// What it takes for a place.
    pub takes: Takes,
}

/// What a guest takes for the place of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A directory that is there, as mount(8) does.
    Directory,
    /// A directory, which is made where it is missing, as systemd does.
    NewDirectory,
    /// Whatever is there: files are bound over files.
    Anything,
}

/// A guest's tree. Its parts have numbers: 0 is the root, the mounts follow from 1 in the order in which they were given.
///
/// A mount hides what the filesystem below has at its place. Where the guest could not mount it there, since the place is a file, or
/// the root itself by a symbolic link, it is left out, and costs nobody else anything. A place that lies in another mount is taken as
/// it is spelt: where a symbolic link turns out to be in it, the mount cannot be used.
#[derive(Debug)]
pub struct Tree {
    parts: Vec<Part>,
    points: Points,
    left_out: Vec<LeftOut>,
}

/// A mount that a tree is without.
#[derive(Debug)]
pub struct LeftOut {
    /// The number that it would have.
    pub number: usize,
    /// Why its place is none.
    pub why: Error,
}

impl Tree {
    /// A tree of a root and what is mounted in it; nothing of that is opened yet.
    ///
    /// `Unsupported` for more than [`MOUNTS_MAX`] mounts, and for ones whose places are too deep. A place that is given twice, or is missing and not made, is an error of the
    /// paths that need it.
    pub fn new(root: Box<dyn GuestFs>, mounts: Vec<Mount>) -> Result<Self> {
        check_count(mounts.len())?;
        let mut order: Vec<(usize, GuestPath)> =
            (1..).zip(&mounts).map(|(number, mount): (usize, _)| (number, mount.path.clone())).collect();
        // As systemd orders them: what another lies in comes before it.
        order.sort_by_key(|(_, path)| path.components().count());
        let mut parts = vec![Part::root(root)];
        parts.extend(mounts.into_iter().map(Part::new));
        let mut tree = Self { parts, points: Points::new(), left_out: Vec::new() };
        for (number, path) in order {
            tree.place_part(number, &path)?;
        }
        Ok(tree)
    }

    fn place_part(&mut self, number: usize, path: &GuestPath) -> Result<()> {
        let Some([root, part]) = pair(&mut self.parts, number) else { return Ok(()) };
        let place = self.points.resolve(root.open_root()?, path).and_then(|at| {
            let parent = at.parent().ok_or_else(|| unplaced("its place is the root, by a symbolic link"))?;
            if self.points.route(&parent).0 == 0 {
                let found = root.open_root()?.lookup(&at)?;
                part.check_taken(found.map(|metadata| metadata.file_type))?;
            }
            Ok(at)
        });
        let at = match place {
            Ok(at) => at,
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(_) if self.points.check_steps().is_err() => return self.points.check_steps(),
            // The guest cannot mount it, and shows what is there.
            Err(why) if why.layer() == Layer::Path => {
                self.left_out.push(LeftOut { number, why });
                return Ok(());
            }
            Err(error) => {
                part.refuse(error);
                self.points.resolve(root.open_root()?, path).unwrap_or_else(|_| points::literal(path))
            }
        };
        part.at = at.clone();
        if let Some(other) = self.points.number(&at) {
            let one = self.parts.get(other).map(|part| part.origin.clone()).unwrap_or_default();
            if let Some(part) = self.parts.get_mut(number) {
                let message = format!("{one} mounts something there, too");
                part.refuse(Error::new(ErrorKind::Ambiguous, Layer::Volume, message));
            }
        }
        self.points.put(at, number);
        Ok(())
    }

    /// The mounts that it is without, in the order of their places.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Why a path that lies in a part would be refused, as far as that can be told of its place; the part is not opened, but
    /// those may be that its place lies in.
    pub fn problem(&self, number: usize) -> Option<Error> {
        if let Some(left_out) = self.left_out.iter().find(|left_out| left_out.number == number) {
            return Some(left_out.why.repeated());
        }
        let part = self.parts.get(number)?;
        let around = part.at.parent().map_or(0, |parent| self.points.route(&parent).0);
        if around != 0
            && let Some(error) = self.problem(around)
        {
            return Some(error);
        }
        part.check().and_then(|()| self.check_place(part)).err()
    }

    /// Where a path would lie as the place of a mount: nothing is opened for that, and what lies in a mount is taken as it is spelt.
    /// `None` where it cannot be one, or is too much to look for.
    pub fn place_of(&self, path: &GuestPath) -> Option<Resolved> {
        let root = self.parts.first()?.open_root().ok()?;
        self.points.resolve(root, path).ok()
    }

    /// What is to be changed in each part, in the part's own paths, by number; parts in which nothing changes are left out.
    pub fn parts<'a>(&self, changes: &'a ChangeSet) -> Vec<(usize, Cow<'a, ChangeSet>)> {
        let mut numbers: Vec<usize> =
            changes.changes().iter().map(|change| self.points.route(&change.path).0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers == [0] {
            return vec![(0, Cow::Borrowed(changes))];
        }
        let within = |number| {
            changes.within(|path| match self.points.route(path) {
                (found, inner) if found == number => Some(inner.into_owned()),
                _ => None,
            })
        };
        numbers.into_iter().map(|number| (number, Cow::Owned(within(number)))).collect()
    }

    /// What a part is that has been opened.
    pub fn features_of(&self, number: usize) -> Option<Features> {
        self.parts.get(number)?.opened().map(GuestFs::features)
    }

    /// Where a part lies, resolved.
    pub fn place(&self, number: usize) -> Option<&Resolved> {
        self.parts.get(number).map(|part| &part.at)
    }

    fn part(&self, number: usize) -> Result<&Part> {
        self.parts.get(number).ok_or_else(|| Error::new(ErrorKind::Invalid, Layer::Volume, "there is no such mount"))
    }

    /// The open filesystem of a part, and the path in it.
    fn reach<'p>(&self, at: &'p Resolved) -> Result<(usize, &dyn GuestFs, Cow<'p, Resolved>)> {
        let (number, inner) = self.points.route(at);
        Ok((number, self.fs(number)?, inner))
    }

    fn fs(&self, number: usize) -> Result<&dyn GuestFs> {
        let part = self.part(number)?;
        part.fs(|| self.check_place(part))
    }

    /// The same for a change.
    fn reach_mut<'p>(&mut self, at: &'p Resolved) -> Result<(usize, &mut dyn GuestFs, Cow<'p, Resolved>)> {
        let (number, inner) = self.points.route(at);
        self.fs(number)?;
        let part = self.parts.get_mut(number);
        let part = part.ok_or_else(|| Error::new(ErrorKind::Invalid, Layer::Volume, "there is no such mount"))?;
        Ok((number, part.fs_mut()?, inner))
    }

    /// Fails where the place of a mount is no directory, or is one by a symbolic link in another mount.
    fn check_place(&self, part: &Part) -> Result<()> {
        let Some(parent) = part.at.parent() else { return Ok(()) };
        let (number, _) = self.points.route(&parent);
        // Whoever comes here by a path has been told of the part around it already.
        let Ok(fs) = self.fs(number) else { return Ok(()) };
        let outer_point = self.part(number)?.at.components().count();
        let inner_count = part.at.components().count().saturating_sub(outer_point);
        let mut here = Resolved::root();
        for name in part.at.components().skip(outer_point) {
            here = here.child(name);
            self.points.spend(&here)?;
            let found = fs.lookup(&here)?.map(|metadata| metadata.file_type);
            match found {
                Some(FileType::Directory) => {}
                // What could not be resolved is refused for that.
                Some(FileType::Symlink) if number == 0 => return Ok(()),
                Some(FileType::Symlink) => {
                    let reason = "its place is one by a symbolic link in what is mounted around it";
                    return Err(Error::unsupported(Layer::Volume, reason));
                }
                None => return part.check_taken(None),
                Some(_) if here.components().count() < inner_count => {
                    return Err(unplaced("its place lies below a file"));
                }
                other => return part.check_taken(other),
            }
        }
        Ok(())
    }

    /// The directory or the file that a mount hides, where that is one.
    fn hidden(&self, at: &Resolved) -> Result<Option<Metadata>> {
        let Some(parent) = at.parent() else { return Ok(None) };
        let (number, inner) = self.points.route(&parent);
        let name = at.file_name().unwrap_or_default();
        let found = self.fs(number)?.lookup(&inner.child(name))?;
        Ok(found.filter(|metadata| metadata.file_type != FileType::Symlink).map(|metadata| mark(number, metadata)))
    }

    /// An error of a part, about a path of the tree.
    fn told(&self, number: usize, error: Error) -> Error {
        match self.parts.get(number) {
            Some(part) => error.below(part.at.as_bytes()),
            None => error,
        }
    }

    /// Looks something up in the part that it lies in.
    fn ask<T>(&self, at: &Resolved, question: impl FnOnce(&dyn GuestFs, &Resolved) -> Result<T>) -> Result<T> {
        let (number, fs, inner) = self.reach(at)?;
        question(fs, &inner).map_err(|error| self.told(number, error))
    }

    /// Changes something in the part that it lies in.
    fn tell(&mut self, at: &Resolved, change: impl FnOnce(&mut dyn GuestFs, &Resolved) -> Result<()>) -> Result<()> {
        let (number, fs, inner) = self.reach_mut(at)?;
        let done = change(fs, &inner);
        done.map_err(|error| self.told(number, error))
    }

    /// Fails where something is mounted at the directory or in it.
    fn check_free(&self, at: &Resolved) -> Result<()> {
        let message = if self.points.number(at).is_some() {
            "something is mounted there"
        } else if self.points.below(at).next().is_some() {
            "something is mounted in it"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, message).with_guest_path(at.as_bytes()).with_hint(
            "leave the directory there, and name what is in it; --mount none leaves the guest's mounts out of account",
        ))
    }

    /// The part of both of two names, as a kernel has no file with names on two filesystems (EXDEV).
    fn check_together(&self, from: &Resolved, to: &Resolved) -> Result<Resolved> {
        let ((one, _), (other, inner)) = (self.points.route(from), self.points.route(to));
        if one == other {
            return Ok(inner.into_owned());
        }
        let message = format!("it lies on another filesystem than {to}");
        Err(Error::new(ErrorKind::Invalid, Layer::Filesystem, message).with_guest_path(from.as_bytes()))
    }
}

/// Fails for more mounts than a tree takes.
pub fn check_count(count: usize) -> Result<()> {
    if count <= MOUNTS_MAX {
        return Ok(());
    }
    let message = format!("{count} filesystems are to be mounted, more than {MOUNTS_MAX}");
    Err(Error::unsupported(Layer::Volume, message).with_hint("--mount none leaves the guest's mounts out of account"))
}

/// The error of a place that is none.
fn unplaced(reason: &str) -> Error {
    Error::unsupported(Layer::Path, reason)
}

/// The root and another part.
fn pair(parts: &mut [Part], number: usize) -> Option<[&mut Part; 2]> {
    let (root, others) = parts.split_first_mut()?;
    Some([root, others.get_mut(number.checked_sub(1)?)?])
}

/// Metadata whose inode number is one of the tree: files of two filesystems are never names of one.
fn mark(number: usize, metadata: Metadata) -> Metadata {
    let part = u64::try_from(number).unwrap_or(u64::MAX).wrapping_shl(PART_SHIFT);
    Metadata { inode: metadata.inode ^ part, ..metadata }
}

impl Lookup for Tree {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        let (number, inner) = self.points.route(at);
        let found = match self.fs(number) {
            Ok(fs) => fs.lookup(&inner).map_err(|error| self.told(number, error))?,
            // What is there can be shown without what is mounted on it, so that its neighbours can.
            Err(error) if *inner == Resolved::root() => return self.hidden(at)?.map(Some).ok_or(error),
            Err(error) => return Err(error),
        };
        Ok(found.map(|metadata| mark(number, metadata)))
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        self.ask(at, |fs, inner| fs.read_link(inner))
    }
}

impl GuestFs for Tree {
    /// Those of the root.
    fn features(&self) -> Features {
        self.features_of(0).unwrap_or_else(|| Features {
            name: "none",
            label: String::new(),
            uuid: String::new(),
            block_size: 1,
            total_bytes: 0,
            free_bytes: 0,
            free_inodes: 0,
            feature_names: Vec::new(),
            recovered: None,
        })
    }

    fn ownership(&self, at: &Resolved) -> Ownership {
        // Where it cannot be reached, everything else says so.
        self.reach(at).map_or(Ownership::Kept, |(_, fs, inner)| fs.ownership(&inner))
    }

    fn part(&self, at: &Resolved) -> usize {
        self.points.route(at).0
    }

    fn read_at(&self, at: &Resolved, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.ask(at, |fs, inner| fs.read_at(inner, buf, offset))
    }

    fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>> {
        let mut entries = self.ask(at, |fs, inner| fs.read_dir(inner))?;
        for (point, number) in self.points.below(at) {
            let Some(name) = point.file_name().filter(|_| point.parent().as_ref() == Some(at)) else { continue };
            if entries.iter().all(|entry| entry.name != name) && self.fs(number).is_ok() {
                entries.push(DirEntry { name: name.to_vec(), file_type: FileType::Directory });
            }
        }
        Ok(entries)
    }

    fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        self.ask(at, |fs, inner| fs.special(inner))
    }

    fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        self.ask(at, |fs, inner| fs.xattrs(inner))
    }

    fn create_file(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        self.tell(at, |fs, inner| fs.create_file(inner, attrs))
    }

    fn create_dir(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        self.tell(at, |fs, inner| fs.create_dir(inner, attrs))
    }

    fn create_symlink(&mut self, at: &Resolved, target: &[u8], attrs: Attrs) -> Result<()> {
        self.tell(at, |fs, inner| fs.create_symlink(inner, target, attrs))
    }

    fn create_special(&mut self, at: &Resolved, special: SpecialFile, attrs: Attrs) -> Result<()> {
        self.tell(at, |fs, inner| fs.create_special(inner, special, attrs))
    }

    fn hard_link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()> {
        let to = self.check_together(existing, at)?;
        self.tell(existing, |fs, inner| fs.hard_link(inner, &to))
    }

    fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.tell(at, |fs, inner| fs.put(inner, content))
    }

    fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.tell(at, |fs, inner| fs.append(inner, content))
    }

    fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()> {
        self.tell(at, |fs, inner| fs.truncate(inner, size))
    }

    fn set_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        self.tell(at, |fs, inner| fs.set_attrs(inner, attrs))
    }

    fn set_xattr(&mut self, at: &Resolved, xattr: &Xattr) -> Result<()> {
        self.tell(at, |fs, inner| fs.set_xattr(inner, xattr))
    }

    fn remove_xattr(&mut self, at: &Resolved, name: &[u8]) -> Result<()> {
        self.tell(at, |fs, inner| fs.remove_xattr(inner, name))
    }

    fn remove(&mut self, at: &Resolved) -> Result<()> {
        self.check_free(at)?;
        self.tell(at, |fs, inner| fs.remove(inner))
    }

    fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        self.check_free(from)?;
        self.check_free(to)?;
        let inner_to = self.check_together(from, to)?;
        self.tell(from, |fs, inner| fs.rename(inner, &inner_to))
    }

    fn close(self: Box<Self>) -> Result<()> {
        // The innermost first.
        let mut parts = self.parts;
        parts.sort_by_key(|part| std::cmp::Reverse(part.at.components().count()));
        parts.into_iter().try_for_each(Part::close)
    }
}

#[cfg(test)]
mod tests;
