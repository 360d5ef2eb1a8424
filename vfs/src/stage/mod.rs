//! Changes to a guest tree, described before they are made.

mod aside;
mod attribute;
mod body;
mod change;
mod copying;
mod led;
mod linked;
mod moving;
mod node;
mod origin;
mod places;
mod said;
mod set;

pub use body::{Body, Copied};
pub use change::{Action, Change, Moved, State};
pub use led::Led;
pub use origin::Origins;
pub use set::ChangeSet;

use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{
    Attrs, Content, DeviceNumber, DirEntry, FileType, GuestFs, Lookup, Metadata, Ownership, SetAttrs, SpecialFile,
    Timestamp, read_file,
};
use crate::path::{GuestPath, PATH_MAX, Resolved};
use crate::resolve::{Follow, resolve};
use copying::Spent;
use linked::{Links, Names};
use node::{Found, Node, Nodes, Staged, View};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many directories of the filesystem under a stage are remembered.
const DIRECTORIES_MAX: usize = 1024;

/// The attribute that has the capabilities of a program.
const CAPABILITY: &[u8] = b"security.capability";

/// A guest tree with changes staged over it. Reads see the changes; the filesystem is not touched.
///
/// Every path goes through the resolver, and every symbolic link in it, the last one included, is followed unless the
/// method says otherwise. A file with two names (hard links) that is changed under one of them is that one under the other, too.
///
/// Of a staged file that is new, the inode number and the link count are made up, and the time is 0 unless set.
#[derive(Debug)]
pub struct Stage<'a> {
    base: &'a dyn GuestFs,
    /// Shared with the savepoints until the next change.
    nodes: Arc<Nodes>,
    /// The last inode number made up, counted down so that it meets none of a filesystem's.
    inode: u64,
    links: Links,
    /// Directories of the base, in which nothing changes meanwhile: every path leads through some of them.
    directories: RefCell<BTreeMap<Resolved, Metadata>>,
    /// What the copies have cost.
    spent: Spent,
    /// Files of the base with several names that were changed, by inode number: under which name.
    changed: BTreeMap<u64, Resolved>,
    /// Files by the path that they were named by, where that is another.
    named: BTreeMap<Resolved, GuestPath>,
    /// Where copies and moved files come from. What is rolled back stays: it only says more.
    origins: Origins,
}

/// A moment of a stage to go back to, or to compare with.
#[derive(Clone, Debug)]
pub struct Savepoint {
    nodes: Arc<Nodes>,
    spent: Spent,
    changed: BTreeMap<u64, Resolved>,
}

impl<'a> Stage<'a> {
    /// A stage over `base` with nothing in it.
    pub fn new(base: &'a dyn GuestFs) -> Self {
        let (nodes, links, directories) = (Arc::default(), Links::new(), RefCell::default());
        let (changed, named, origins) = (BTreeMap::new(), BTreeMap::new(), Origins::default());
        Self { base, nodes, inode: u64::MAX, links, directories, spent: Spent::default(), changed, named, origins }
    }

    /// The filesystem under the stage, in which nothing is changed.
    pub fn base(&self) -> &'a dyn GuestFs {
        self.base
    }

    /// Where the files come from that were copied or moved.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    fn view(&self) -> View<'_> {
        View { base: self.base, nodes: &self.nodes }
    }

    /// The path with every link followed, the staged tree considered; of a file that was changed under another of its names (hard links)
    /// it is that name.
    pub fn resolve(&self, path: &GuestPath) -> Result<Resolved> {
        let at = resolve(self, path, Follow::All)?;
        Ok(self.changed_as(&at)?.unwrap_or(at))
    }

    /// The path with every link followed but the last component, which may be one.
    pub fn resolve_parent(&self, path: &GuestPath) -> Result<Resolved> {
        resolve(self, path, Follow::ExcludeLast)
    }

    /// What is known of the file; `None` where it is missing.
    pub fn metadata(&self, path: &GuestPath) -> Result<Option<Metadata>> {
        self.lookup(&self.resolve(path)?)
    }

    /// What is known of the file, or of the symbolic link that `path` names; `None` where it is missing.
    pub fn symlink_metadata(&self, path: &GuestPath) -> Result<Option<Metadata>> {
        self.lookup(&resolve(self, path, Follow::ExcludeLast)?)
    }

    /// The target of the symbolic link that `path` names; `None` where nothing is there.
    pub fn symlink_target(&self, path: &GuestPath) -> Result<Option<Vec<u8>>> {
        let at = resolve(self, path, Follow::ExcludeLast)?;
        match self.lookup(&at)? {
            Some(_) => self.read_link(&at).map(Some),
            None => Ok(None),
        }
    }

    /// What the device, pipe or socket is that `path` names; `None` where nothing is there, `WrongType` where another file is.
    pub fn special(&self, path: &GuestPath) -> Result<Option<SpecialFile>> {
        let at = resolve(self, path, Follow::ExcludeLast)?;
        match self.lookup(&at)? {
            Some(_) => self.view().special(&at).map(Some),
            None => Ok(None),
        }
    }

    /// The content of a regular file of at most `limit` bytes; `None` where it is missing. `Unsupported` where it is
    /// larger, `WrongType` where it is no regular file.
    pub fn read(&self, path: &GuestPath, limit: u64) -> Result<Option<Vec<u8>>> {
        let at = self.resolve(path)?;
        let staged = match self.view().find(&at)? {
            Found::Staged(staged) => staged,
            Found::Missing => return Ok(None),
            Found::Base => {
                let Some(found) = self.base.lookup(&at)? else { return Ok(None) };
                self.check_regular(path, &at, found.file_type)?;
                return read_file(self.base, &at, limit).map(Some);
            }
        };
        self.check_regular(path, &at, staged.metadata.file_type)?;
        match &staged.content {
            Some(Body::New(content)) => read_content(content, &at, limit).map(Some),
            Some(Body::Copy(copied)) => read_file(self.base, &copied.from, limit).map(Some),
            None => read_file(self.base, staged.origin.place(&at).unwrap_or(&at), limit).map(Some),
        }
    }

    /// The entries of a directory, sorted by name; `None` where it is missing.
    pub fn read_dir(&self, path: &GuestPath) -> Result<Option<Vec<DirEntry>>> {
        let at = self.resolve(path)?;
        match self.lookup(&at)? {
            Some(_) => self.view().read_dir(&at).map(Some),
            None => Ok(None),
        }
    }

    /// What is kept of files at a path, which need not be there.
    pub fn ownership(&self, path: &GuestPath) -> Result<Ownership> {
        Ok(self.base.ownership(&self.resolve(path)?))
    }

    /// Gives a regular file this content: an existing one keeps owner, mode and attributes, but for its capabilities
    /// (capabilities(7)), a new one gets `attrs`, or what
    /// all files have where the filesystem keeps none.
    ///
    /// Errors: `NotFound` naming the directory where that is missing, `WrongType` where something else is in the way.
    pub fn write(&mut self, path: &GuestPath, content: Content, attrs: Attrs) -> Result<()> {
        let at = self.resolve(path)?;
        self.named(path, &at);
        let size = content.len();
        let Some(mut staged) = self.view().staged(&at)? else {
            self.check_parent(&at)?;
            let attrs = match self.base.ownership(&at) {
                Ownership::Kept => attrs,
                Ownership::Fixed { file, .. } => file,
            };
            let metadata = self.new_metadata(FileType::Regular, attrs, size);
            self.put(at, Staged { content: Some(Body::New(content)), ..Staged::fresh(metadata) });
            return Ok(());
        };
        self.check_regular(path, &at, staged.metadata.file_type)?;
        let before = staged.content.clone();
        self.fill(&at, &mut staged, Body::New(content))?;
        let is_same = match (&before, &staged.content) {
            (None, None) => true,
            (Some(before), Some(after)) => before.is_same(after)?,
            _ => false,
        };
        if !is_same && staged.mtime.is_some() {
            // It was that of the content before.
            staged.mtime = None;
            staged.metadata.mtime = Timestamp::default();
        }
        if staged.content.is_some() && self.view().xattrs(&at)?.contains_key(CAPABILITY) {
            // As a kernel does: what was trusted with them was the old content.
            staged.xattrs.insert(CAPABILITY.to_vec(), None);
        }
        self.put(at, staged);
        Ok(())
    }

    /// Gives a staged file that was there this content.
    fn fill(&self, at: &Resolved, staged: &mut Staged, content: Body) -> Result<()> {
        staged.metadata.size = content.len();
        // Said now, so that nobody has to compare again.
        let is_there = match staged.origin.place(at) {
            Some(place) => match self.base.lookup(place)? {
                Some(base) => content.is_in(self.base, place, base.size)?,
                None => false,
            },
            None => false,
        };
        staged.content = if is_there { None } else { Some(content) };
        Ok(())
    }

    /// Makes a directory and those before it that are missing, each with `attrs` (or what all have where the filesystem keeps
    /// none); existing ones are left alone. Returns
    /// whether the last one was missing. `WrongType` where something else is in the way.
    pub fn create_dirs(&mut self, path: &GuestPath, attrs: Attrs) -> Result<bool> {
        let at = self.resolve(path)?;
        self.named(path, &at);
        let mut missing = Vec::new();
        let mut next = Some(at);
        while let Some(here) = next {
            match self.lookup(&here)? {
                Some(metadata) if metadata.file_type == FileType::Directory => break,
                Some(_) => return Err(failure(ErrorKind::WrongType, &here, "not a directory")),
                None => {
                    next = here.parent();
                    missing.push(here);
                }
            }
        }
        let made = !missing.is_empty();
        for here in missing.into_iter().rev() {
            let attrs = match self.base.ownership(&here) {
                Ownership::Kept => attrs,
                Ownership::Fixed { directory, .. } => directory,
            };
            let metadata = self.new_metadata(FileType::Directory, attrs, 0);
            self.put(here, Staged::fresh(metadata));
        }
        Ok(made)
    }

    /// Makes a symbolic link at `path` itself, or gives the one that is there another target; that keeps owner and
    /// attributes.
    ///
    /// Errors: as for [`write`](Self::write), `WrongType` also where a file or directory is in the way; `Invalid` for a
    /// target that is empty, too long or holds NUL; `Unsupported` where the filesystem has none.
    pub fn symlink(&mut self, path: &GuestPath, target: &[u8], attrs: Attrs) -> Result<()> {
        let at = resolve(self, path, Follow::ExcludeLast)?;
        if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) {
            return Err(failure(ErrorKind::Invalid, &at, "a symbolic link cannot have this target"));
        }
        self.check_kept(&at, "symbolic links")?;
        let size = target.len() as u64;
        let staged = match self.view().staged(&at)? {
            None => {
                self.check_parent(&at)?;
                let metadata = self.new_metadata(FileType::Symlink, Attrs { mode: 0o777, ..attrs }, size);
                Staged { target: Some(target.to_vec()), ..Staged::fresh(metadata) }
            }
            Some(staged) if staged.metadata.file_type == FileType::Symlink => {
                if self.read_link(&at)? == target {
                    return self.confirm_at(at);
                }
                let Metadata { mode, uid, gid, .. } = staged.metadata;
                let xattrs = self.view().xattrs(&at)?.into_iter().map(|(name, value)| (name, Some(value))).collect();
                let metadata = self.new_metadata(FileType::Symlink, Attrs { mode, uid, gid }, size);
                Staged { target: Some(target.to_vec()), xattrs, ..Staged::fresh(metadata) }
            }
            Some(_) => return Err(failure(ErrorKind::WrongType, &at, "something other than a symbolic link is there")),
        };
        self.put(at, staged);
        Ok(())
    }

    /// Makes a device, a pipe or a socket at `path` itself; one that is there and is the same stays as it is.
    ///
    /// Errors: as for [`symlink`](Self::symlink), `WrongType` also where another device is in the way.
    pub fn create_special(&mut self, path: &GuestPath, special: SpecialFile, attrs: Attrs) -> Result<()> {
        let at = resolve(self, path, Follow::ExcludeLast)?;
        let DeviceNumber { major, minor } = special.number();
        if DeviceNumber::new(major, minor).is_none() {
            return Err(failure(ErrorKind::Invalid, &at, &format!("no device has the number {major}:{minor}")));
        }
        self.check_kept(&at, "devices, pipes and sockets")?;
        match self.lookup(&at)? {
            None => {
                self.check_parent(&at)?;
                let metadata = self.new_metadata(special.file_type(), attrs, 0);
                self.put(at, Staged { special: Some(special), ..Staged::fresh(metadata) });
                Ok(())
            }
            Some(found) if found.file_type == special.file_type() && self.view().special(&at)? == special => Ok(()),
            Some(_) => Err(failure(ErrorKind::WrongType, &at, "something else is there")),
        }
    }

    /// Removes a file, a symbolic link itself, or an empty directory (`Invalid` where it is not empty).
    pub fn remove(&mut self, path: &GuestPath) -> Result<()> {
        let at = resolve(self, path, Follow::ExcludeLast)?;
        let metadata = self.existing(&at)?.metadata;
        if at == Resolved::root() {
            let root = failure(ErrorKind::Invalid, &at, "the root cannot be removed");
            return Err(root.with_hint("name what is in it"));
        }
        if metadata.file_type == FileType::Directory && !self.view().read_dir(&at)?.is_empty() {
            return Err(failure(ErrorKind::Invalid, &at, "the directory is not empty"));
        }
        self.check_alone(&at)?;
        Arc::make_mut(&mut self.nodes).insert(at, Node::Removed);
        Ok(())
    }

    /// Changes attributes of a file that exists; `Unsupported` where the filesystem cannot keep them.
    pub fn set_attrs(&mut self, path: &GuestPath, attrs: SetAttrs) -> Result<()> {
        let at = self.resolve(path)?;
        self.named(path, &at);
        self.set_attrs_at(at, attrs)
    }

    /// The same of the file that `path` names, which may be a symbolic link itself.
    pub fn set_symlink_attrs(&mut self, path: &GuestPath, attrs: SetAttrs) -> Result<()> {
        let at = resolve(self, path, Follow::ExcludeLast)?;
        self.set_attrs_at(at, attrs)
    }

    fn set_attrs_at(&mut self, at: Resolved, attrs: SetAttrs) -> Result<()> {
        let mut staged = self.existing(&at)?;
        let metadata = &mut staged.metadata;
        if attrs.mode.is_some_and(|mode| mode & 0o7777 != metadata.mode) {
            self.check_kept(&at, "permission bits")?;
        }
        if attrs.uid.is_some_and(|uid| uid != metadata.uid) || attrs.gid.is_some_and(|gid| gid != metadata.gid) {
            self.check_kept(&at, "owners")?;
        }
        metadata.mode = attrs.mode.map_or(metadata.mode, |mode| mode & 0o7777);
        metadata.uid = attrs.uid.unwrap_or(metadata.uid);
        metadata.gid = attrs.gid.unwrap_or(metadata.gid);
        metadata.mtime = attrs.mtime.unwrap_or(metadata.mtime);
        if attrs.mtime.is_some() {
            staged.mtime = attrs.mtime;
        }
        self.put(at, staged);
        Ok(())
    }

    /// What the base has at a path.
    fn lookup_base(&self, at: &Resolved) -> Result<Option<Metadata>> {
        if let Some(known) = self.directories.borrow().get(at) {
            return Ok(Some(*known));
        }
        let found = self.base.lookup(at)?;
        let mut directories = self.directories.borrow_mut();
        if let Some(metadata) = found.filter(|found| found.file_type == FileType::Directory)
            && directories.len() < DIRECTORIES_MAX
        {
            directories.insert(at.clone(), metadata);
        }
        Ok(found)
    }

    /// This moment.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint { nodes: Arc::clone(&self.nodes), spent: self.spent, changed: self.changed.clone() }
    }

    /// Undoes everything since `savepoint`.
    pub fn rollback(&mut self, savepoint: Savepoint) {
        (self.nodes, self.spent, self.changed) = (savepoint.nodes, savepoint.spent, savepoint.changed);
    }

    /// What has changed since `savepoint`, parents before what is in them; empty where everything is as it was then.
    pub fn changes_since(&self, savepoint: &Savepoint) -> Result<Vec<Change>> {
        if Arc::ptr_eq(&self.nodes, &savepoint.nodes) {
            return Ok(Vec::new());
        }
        self.compare(&savepoint.nodes)
    }

    /// The changes, without those that change nothing. `Ambiguous` where two names of one file are changed differently.
    pub fn finish(self) -> Result<ChangeSet> {
        let changes = self.compare(&Nodes::new())?;
        self.check_last_said(&changes)?;
        ChangeSet::new(change::with_times(changes, self.base, &self.nodes)?)
    }

    /// Every path that differs from what it is with the nodes `old`. A node is never taken off a stage, so those of
    /// `old` are among its own unless it was rolled back behind them.
    fn compare(&self, old: &Nodes) -> Result<Vec<Change>> {
        let mut paths: Vec<&Resolved> = self.nodes.keys().chain(old.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        let moves = moving::sources(&self.nodes);
        let before = |path: &Resolved| {
            Ok(change::side(View { base: self.base, nodes: old }, path)?.map(|staged| staged.metadata))
        };
        let names = Names::of(&self.links, &self.nodes, before)?;
        let change = |path| change::between(self.base, path, [old, &self.nodes], &moves, &names).transpose();
        paths.into_iter().filter_map(change).collect()
    }

    /// `Unsupported` where the filesystem keeps nothing of a file but its content.
    fn check_kept(&self, at: &Resolved, what: &str) -> Result<()> {
        match self.base.ownership(at) {
            Ownership::Kept => Ok(()),
            Ownership::Fixed { file, .. } => {
                let message = format!("a FAT filesystem keeps no {what}");
                let shown = format!("every file there is shown with mode {:04o}, as root's", file.mode);
                Err(failure(ErrorKind::Unsupported, at, &message).with_hint(shown))
            }
        }
    }

    fn existing(&self, at: &Resolved) -> Result<Staged> {
        self.view().staged(at)?.ok_or_else(|| failure(ErrorKind::NotFound, at, "no such file or directory"))
    }

    fn check_parent(&self, at: &Resolved) -> Result<()> {
        let parent = at.parent().unwrap_or_else(Resolved::root);
        match self.lookup(&parent)? {
            Some(metadata) if metadata.file_type == FileType::Directory => Ok(()),
            Some(_) => Err(failure(ErrorKind::WrongType, &parent, "not a directory")),
            None => Err(failure(ErrorKind::NotFound, &parent, "no such directory")),
        }
    }

    fn new_metadata(&mut self, file_type: FileType, attrs: Attrs, size: u64) -> Metadata {
        self.inode = self.inode.saturating_sub(1);
        Metadata {
            file_type,
            mode: attrs.mode & 0o7777,
            uid: attrs.uid,
            gid: attrs.gid,
            size,
            links: if file_type == FileType::Directory { 2 } else { 1 },
            inode: self.inode,
            mtime: Timestamp::default(),
        }
    }
}

impl Lookup for Stage<'_> {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        match self.view().find(at)? {
            Found::Staged(staged) => Ok(Some(staged.metadata)),
            Found::Base => self.lookup_base(at),
            Found::Missing => Ok(None),
        }
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        self.view().read_link(at)
    }
}

fn failure(kind: ErrorKind, at: &(impl AsRef<[u8]> + ?Sized), message: &str) -> Error {
    Error::new(kind, Layer::Stage, message).with_guest_path(at.as_ref())
}

/// The bytes of a staged content of at most `limit` bytes; `Unsupported` where there are more.
fn read_content(content: &Content, at: &Resolved, limit: u64) -> Result<Vec<u8>> {
    let len = content.len();
    match usize::try_from(len) {
        Ok(size) if len <= limit => {
            let mut bytes = vec![0; size];
            content.read_at(&mut bytes, 0)?;
            Ok(bytes)
        }
        _ => Err(failure(
            ErrorKind::Unsupported,
            at,
            &format!("{len} bytes is more than the {limit} that are read here"),
        )),
    }
}
