//! A guest filesystem in memory: the reference that the drivers are compared with.

mod builder;
mod inode;

pub use builder::Builder;

use super::{
    Attrs, Content, DirEntry, Features, GuestFs, Lookup, Metadata, Ownership, SetAttrs, SpecialFile, Timestamp, Xattr,
};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::path::{NAME_MAX, PATH_MAX, Resolved};
use inode::{Body, Inode};
use std::collections::BTreeMap;
use std::fmt;

const ROOT: u64 = 1;

/// A guest filesystem in memory.
///
/// It holds every byte, so it is meant for tests and for trees that are made up; its capacity bounds it. A driver that
/// behaves differently in anything but sizes of directories, inode numbers and times is wrong.
#[derive(Clone)]
pub struct MemFs {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    used: u64,
    capacity: u64,
    inode_limit: u64,
    now: Timestamp,
    access: Access,
}

/// Whether a change is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    ReadOnly,
    ReadWrite,
}

impl MemFs {
    /// An empty filesystem: a root directory of root's, 0o755.
    pub fn new() -> Self {
        let root = Inode::new(Body::Directory(BTreeMap::new()), Attrs { mode: 0o755, uid: 0, gid: 0 });
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            used: 0,
            capacity: 1 << 30,
            inode_limit: 1 << 20,
            now: Timestamp { seconds: 1, nanoseconds: 0 },
            access: Access::ReadWrite,
        }
    }

    /// Describes a tree to start with.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn find(&self, at: &Resolved) -> Result<Option<u64>> {
        let mut number = ROOT;
        for name in at.components() {
            let Body::Directory(entries) = &self.inode(number)?.body else {
                return Err(wrong_type(at, "a component of the path is not a directory"));
            };
            match entries.get(name) {
                Some(child) => number = *child,
                None => return Ok(None),
            }
        }
        Ok(Some(number))
    }

    fn number(&self, at: &Resolved) -> Result<u64> {
        self.find(at)?.ok_or_else(|| failure(ErrorKind::NotFound, at, "no such file or directory"))
    }

    fn inode(&self, number: u64) -> Result<&Inode> {
        self.inodes
            .get(&number)
            .ok_or_else(|| Error::corrupt(Layer::Filesystem, format!("inode {number} is not in the table")))
    }

    fn inode_mut(&mut self, number: u64) -> Result<&mut Inode> {
        self.inodes
            .get_mut(&number)
            .ok_or_else(|| Error::corrupt(Layer::Filesystem, format!("inode {number} is not in the table")))
    }

    fn at(&self, at: &Resolved) -> Result<&Inode> {
        self.inode(self.number(at)?)
    }

    fn at_mut(&mut self, at: &Resolved) -> Result<&mut Inode> {
        self.writable()?;
        let number = self.number(at)?;
        self.inode_mut(number)
    }

    fn writable(&self) -> Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => {
                Err(Error::new(ErrorKind::Denied, Layer::Filesystem, "the filesystem is open for reading only"))
            }
        }
    }

    fn entries_mut(&mut self, directory: u64, at: &Resolved) -> Result<&mut BTreeMap<Vec<u8>, u64>> {
        let now = self.now;
        let inode = self.inode_mut(directory)?;
        match &mut inode.body {
            Body::Directory(entries) => {
                inode.mtime = now;
                Ok(entries)
            }
            _ => Err(wrong_type(at, "what should hold it is not a directory")),
        }
    }

    /// The directory that is to hold `at`, and the name it gets there; both fit to make an entry of, whether or not the
    /// name is taken.
    fn slot(&self, at: &Resolved) -> Result<(u64, Vec<u8>)> {
        self.writable()?;
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(failure(ErrorKind::Invalid, at, "the root of the filesystem cannot be replaced"));
        };
        if name.len() > NAME_MAX {
            return Err(failure(ErrorKind::Invalid, at, "the name is longer than 255 bytes"));
        }
        let directory = self
            .find(&parent)?
            .ok_or_else(|| failure(ErrorKind::NotFound, &parent, "the directory to hold it is missing"))?;
        match self.inode(directory)?.body {
            Body::Directory(_) => Ok((directory, name.to_vec())),
            _ => Err(wrong_type(&parent, "not a directory")),
        }
    }

    fn free_slot(&self, at: &Resolved) -> Result<(u64, Vec<u8>)> {
        if at.file_name().is_some() && self.find(at)?.is_none() {
            return self.slot(at);
        }
        self.writable()?;
        Err(failure(ErrorKind::Invalid, at, "it exists already"))
    }

    fn create(&mut self, at: &Resolved, body: Body, attrs: Attrs) -> Result<()> {
        let (directory, name) = self.free_slot(at)?;
        if self.inodes.len() as u64 >= self.inode_limit {
            return Err(failure(ErrorKind::NoSpace, at, "no inode is free"));
        }
        let number = self.next;
        let is_directory = matches!(body, Body::Directory(_));
        let mut inode = Inode::new(body, Attrs { mode: attrs.mode & 0o7777, ..attrs });
        inode.mtime = self.now;
        self.entries_mut(directory, at)?.insert(name, number);
        if is_directory {
            let parent = self.inode_mut(directory)?;
            parent.links = parent.links.saturating_add(1);
        }
        self.inodes.insert(number, inode);
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Takes one link from an inode whose entry is gone already, and forgets it with the last.
    fn unlink(&mut self, number: u64, parent: u64) -> Result<()> {
        let inode = self.inode_mut(number)?;
        if matches!(inode.body, Body::Directory(_)) {
            self.inodes.remove(&number);
            let parent = self.inode_mut(parent)?;
            parent.links = parent.links.saturating_sub(1);
            return Ok(());
        }
        inode.links = inode.links.saturating_sub(1);
        if inode.links == 0 {
            let size = if let Body::Regular(bytes) = &inode.body { bytes.len() as u64 } else { 0 };
            self.inodes.remove(&number);
            self.used = self.used.saturating_sub(size);
        }
        Ok(())
    }

    /// Replaces the bytes of a regular file by what `change` makes of them, of which there will be `size`.
    fn rewrite(&mut self, at: &Resolved, size: u64, change: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let (used, capacity, now) = (self.used, self.capacity, self.now);
        let inode = self.at_mut(at)?;
        let Body::Regular(bytes) = &mut inode.body else { return Err(wrong_type(at, "not a regular file")) };
        let others = used.saturating_sub(bytes.len() as u64);
        match others.checked_add(size) {
            Some(total) if total <= capacity => {}
            _ => return Err(failure(ErrorKind::NoSpace, at, "no room for the content")),
        }
        change(bytes)?;
        inode.mtime = now;
        self.used = others.saturating_add(size);
        Ok(())
    }

    fn regular(&self, at: &Resolved) -> Result<&[u8]> {
        match &self.at(at)?.body {
            Body::Regular(bytes) => Ok(bytes),
            _ => Err(wrong_type(at, "not a regular file")),
        }
    }
}

fn failure(kind: ErrorKind, at: &Resolved, message: &str) -> Error {
    Error::new(kind, Layer::Filesystem, message).with_guest_path(at.as_bytes())
}

fn wrong_type(at: &Resolved, message: &str) -> Error {
    failure(ErrorKind::WrongType, at, message)
}

fn append(bytes: &mut Vec<u8>, content: &Content) -> Result<()> {
    let old = bytes.len();
    let len = usize::try_from(content.len())
        .map_err(|_| Error::new(ErrorKind::NoSpace, Layer::Filesystem, "no room for the content"))?;
    bytes.resize(old.saturating_add(len), 0);
    content.read_at(bytes.get_mut(old..).unwrap_or_default(), 0)
}

impl Default for MemFs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFs").field("inodes", &self.inodes.len()).field("bytes", &self.used).finish()
    }
}

impl Lookup for MemFs {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        match self.find(at)? {
            Some(number) => Ok(Some(self.inode(number)?.metadata(number))),
            None => Ok(None),
        }
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        match &self.at(at)?.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(wrong_type(at, "not a symbolic link")),
        }
    }
}

impl GuestFs for MemFs {
    fn features(&self) -> Features {
        Features {
            name: "mem",
            label: String::new(),
            uuid: String::new(),
            block_size: 1,
            total_bytes: self.capacity,
            free_bytes: self.capacity.saturating_sub(self.used),
            free_inodes: self.inode_limit.saturating_sub(self.inodes.len() as u64),
            feature_names: Vec::new(),
            recovered: None,
        }
    }

    fn part(&self, _at: &Resolved) -> usize {
        0
    }

    fn ownership(&self, _at: &Resolved) -> Ownership {
        Ownership::Kept
    }

    fn read_at(&self, at: &Resolved, buf: &mut [u8], offset: u64) -> Result<usize> {
        let bytes = self.regular(at)?;
        let tail = usize::try_from(offset).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
        let len = tail.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(tail) {
            *to = *from;
        }
        Ok(len)
    }

    fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>> {
        let Body::Directory(entries) = &self.at(at)?.body else { return Err(wrong_type(at, "not a directory")) };
        let entry = |(name, number): (&Vec<u8>, &u64)| {
            Ok(DirEntry { name: name.clone(), file_type: self.inode(*number)?.body.file_type() })
        };
        entries.iter().map(entry).collect()
    }

    fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        match self.at(at)?.body {
            Body::Special(special) => Ok(special),
            _ => Err(wrong_type(at, "not a device, pipe or socket")),
        }
    }

    fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        let xattr = |(name, value): (&Vec<u8>, &Vec<u8>)| Xattr { name: name.clone(), value: value.clone() };
        Ok(self.at(at)?.xattrs.iter().map(xattr).collect())
    }

    fn create_file(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        self.create(at, Body::Regular(Vec::new()), attrs)
    }

    fn create_dir(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        self.create(at, Body::Directory(BTreeMap::new()), attrs)
    }

    fn create_symlink(&mut self, at: &Resolved, target: &[u8], attrs: Attrs) -> Result<()> {
        if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) {
            return Err(failure(ErrorKind::Invalid, at, "a symbolic link cannot have this target"));
        }
        self.create(at, Body::Symlink(target.to_vec()), Attrs { mode: 0o777, ..attrs })
    }

    fn create_special(&mut self, at: &Resolved, special: SpecialFile, attrs: Attrs) -> Result<()> {
        self.create(at, Body::Special(special), attrs)
    }

    fn hard_link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()> {
        self.writable()?;
        let number = self.number(existing)?;
        if matches!(self.inode(number)?.body, Body::Directory(_)) {
            return Err(wrong_type(existing, "a directory cannot have a second name"));
        }
        let (directory, name) = self.free_slot(at)?;
        self.entries_mut(directory, at)?.insert(name, number);
        let inode = self.inode_mut(number)?;
        inode.links = inode.links.saturating_add(1);
        Ok(())
    }

    fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.rewrite(at, content.len(), |bytes| {
            bytes.clear();
            append(bytes, content)
        })
    }

    fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.writable()?;
        let size = (self.regular(at)?.len() as u64).saturating_add(content.len());
        self.rewrite(at, size, |bytes| append(bytes, content))
    }

    fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()> {
        self.rewrite(at, size, |bytes| {
            bytes.resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
            Ok(())
        })
    }

    fn set_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        let inode = self.at_mut(at)?;
        inode.attrs.mode = attrs.mode.map_or(inode.attrs.mode, |mode| mode & 0o7777);
        inode.attrs.uid = attrs.uid.unwrap_or(inode.attrs.uid);
        inode.attrs.gid = attrs.gid.unwrap_or(inode.attrs.gid);
        inode.mtime = attrs.mtime.unwrap_or(inode.mtime);
        Ok(())
    }

    fn set_xattr(&mut self, at: &Resolved, xattr: &Xattr) -> Result<()> {
        let inode = self.at_mut(at)?;
        inode.xattrs.insert(xattr.name.clone(), xattr.value.clone());
        Ok(())
    }

    fn remove_xattr(&mut self, at: &Resolved, name: &[u8]) -> Result<()> {
        match self.at_mut(at)?.xattrs.remove(name) {
            Some(_) => Ok(()),
            None => Err(failure(ErrorKind::NotFound, at, "it has no such extended attribute")),
        }
    }

    fn remove(&mut self, at: &Resolved) -> Result<()> {
        self.writable()?;
        let number = self.number(at)?;
        let (directory, name) = self.slot(at)?;
        if let Body::Directory(entries) = &self.inode(number)?.body
            && !entries.is_empty()
        {
            return Err(failure(ErrorKind::Invalid, at, "the directory is not empty"));
        }
        self.entries_mut(directory, at)?.remove(&name);
        self.unlink(number, directory)
    }

    fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        self.writable()?;
        let number = self.number(from)?;
        let (old_directory, old_name) = self.slot(from)?;
        let moves_directory = matches!(self.inode(number)?.body, Body::Directory(_));
        if moves_directory && to != from && below(to, from) {
            return Err(failure(ErrorKind::Invalid, to, "a directory cannot be moved below itself"));
        }
        let (new_directory, new_name) = self.slot(to)?;
        let replaced = self.find(to)?;
        if let Some(replaced) = replaced {
            if replaced == number {
                // Two names of one file, or the same name: rename(2) does nothing.
                return Ok(());
            }
            match (&self.inode(replaced)?.body, moves_directory) {
                (Body::Directory(entries), true) if entries.is_empty() => {}
                (Body::Directory(_), true) => {
                    return Err(failure(ErrorKind::Invalid, to, "the directory is not empty"));
                }
                (Body::Directory(_), false) => return Err(wrong_type(to, "a directory is in the way")),
                (_, true) => return Err(wrong_type(to, "something other than a directory is in the way")),
                (_, false) => {}
            }
        }
        self.entries_mut(old_directory, from)?.remove(&old_name);
        self.entries_mut(new_directory, to)?.insert(new_name, number);
        if let Some(replaced) = replaced {
            self.unlink(replaced, new_directory)?;
        }
        if moves_directory && old_directory != new_directory {
            let parent = self.inode_mut(old_directory)?;
            parent.links = parent.links.saturating_sub(1);
            let parent = self.inode_mut(new_directory)?;
            parent.links = parent.links.saturating_add(1);
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Whether `path` is `directory` or lies in it.
fn below(path: &Resolved, directory: &Resolved) -> bool {
    let mut inner = path.components();
    directory.components().all(|name| inner.next() == Some(name))
}

#[cfg(test)]
mod tests;
