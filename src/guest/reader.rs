//! The guest's tree as facts are read from it.

use imgraft_vfs::fs::{DirEntry, FileType, GuestFs, Lookup, Metadata, read_file};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// How many paths, links and directories are remembered, of each.
const KNOWN_MAX: usize = 4096;
/// How many names of directories are remembered, of all together.
const NAMES_MAX: usize = 65_536;

/// What facts are read from.
#[derive(Clone, Copy, Debug)]
enum Tree<'a> {
    /// A guest as it is.
    Image(&'a dyn GuestFs),
    /// What a run makes of it.
    Staged(&'a Stage<'a>),
}

impl Tree<'_> {
    fn lookup(self, at: &Resolved) -> Result<Option<Metadata>> {
        match self {
            Self::Image(fs) => fs.lookup(at),
            Self::Staged(stage) => stage.lookup(at),
        }
    }

    fn read_link(self, at: &Resolved) -> Result<Vec<u8>> {
        match self {
            Self::Image(fs) => fs.read_link(at),
            Self::Staged(stage) => stage.read_link(at),
        }
    }

    fn read_dir(self, at: &Resolved) -> Result<Vec<DirEntry>> {
        match self {
            Self::Image(fs) => fs.read_dir(at),
            Self::Staged(stage) => Ok(stage.read_dir(&at.into())?.unwrap_or_default()),
        }
    }

    fn read(self, at: &Resolved, limit: u64) -> Result<Vec<u8>> {
        match self {
            Self::Image(fs) => read_file(fs, at, limit),
            Self::Staged(stage) => Ok(stage.read(&at.into(), limit)?.unwrap_or_default()),
        }
    }
}

/// Reads a guest's facts: a path that a guest has bent out of shape counts as missing, a broken filesystem does not.
///
/// What was found is remembered, so nothing may change while there is one. The paths of a guest's services have the same few
/// directories in them, and behind the filesystem may be a kernel in another process.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    tree: Tree<'a>,
    found: RefCell<BTreeMap<Resolved, Option<Metadata>>>,
    links: RefCell<BTreeMap<Resolved, Vec<u8>>>,
    listed: RefCell<BTreeMap<Resolved, Rc<BTreeSet<Vec<u8>>>>>,
    /// How many names that are.
    names: Cell<usize>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(fs: &'a dyn GuestFs) -> Self {
        Self::of(Tree::Image(fs))
    }

    /// Of the guest as a run makes it.
    pub(super) fn staged(stage: &'a Stage<'a>) -> Self {
        Self::of(Tree::Staged(stage))
    }

    fn of(tree: Tree<'a>) -> Self {
        Self {
            tree,
            found: RefCell::default(),
            links: RefCell::default(),
            listed: RefCell::default(),
            names: Cell::new(0),
        }
    }

    /// What a path leads to, and of which type it is; `None` where there is nothing.
    pub(super) fn find(&self, path: impl AsRef<[u8]>, follow: Follow) -> Result<Option<(Resolved, FileType)>> {
        let Some(at) = self.place(path, follow)? else { return Ok(None) };
        match self.lookup(&at) {
            Err(error) if is_shape(&error) => Ok(None),
            found => Ok(found?.map(|metadata| (at, metadata.file_type))),
        }
    }

    /// Where a path leads, be there something or not.
    pub(super) fn place(&self, path: impl AsRef<[u8]>, follow: Follow) -> Result<Option<Resolved>> {
        match GuestPath::parse(path).and_then(|path| resolve(self, &path, follow)) {
            Err(error) if is_shape(&error) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Whether there is anything at `path`, be it a symbolic link that leads nowhere.
    pub(crate) fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.find(path, Follow::ExcludeLast)?.is_some())
    }

    /// Whether `path` leads to a regular file that somebody may execute.
    pub(super) fn is_program(&self, path: &str) -> Result<bool> {
        let Some((at, FileType::Regular)) = self.find(path, Follow::All)? else { return Ok(false) };
        Ok(self.lookup(&at)?.is_some_and(|metadata| metadata.mode & 0o111 != 0))
    }

    /// The names in a directory that are texts, sorted; none where there is no directory.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>> {
        let Some((at, FileType::Directory)) = self.find(path, Follow::All)? else { return Ok(Vec::new()) };
        Ok(self.list(&at)?.iter().filter_map(|name| String::from_utf8(name.clone()).ok()).collect())
    }

    /// The names in a directory.
    pub(super) fn list(&self, at: &Resolved) -> Result<Rc<BTreeSet<Vec<u8>>>> {
        if let Some(listed) = self.listed.borrow().get(at) {
            return Ok(Rc::clone(listed));
        }
        let listed: Rc<BTreeSet<Vec<u8>>> =
            Rc::new(self.tree.read_dir(at)?.into_iter().map(|entry| entry.name).collect());
        let names = self.names.get().saturating_add(listed.len());
        if names <= NAMES_MAX {
            self.names.set(names);
            remember(&self.listed, at, Rc::clone(&listed));
        }
        Ok(listed)
    }

    /// Whether there is a link to /dev/null at `path`, or an empty file: what systemd takes for masked (systemd.unit(5)).
    pub(crate) fn is_masked(&self, path: &str) -> Result<bool> {
        Ok(match self.find(path, Follow::ExcludeLast)? {
            Some((_, FileType::Symlink)) => {
                self.place(path, Follow::All)?.is_some_and(|at| at.as_bytes() == b"/dev/null")
            }
            Some((at, FileType::Regular)) => self.lookup(&at)?.is_some_and(|metadata| metadata.size == 0),
            _ => false,
        })
    }

    /// The content of a regular file; `None` where it is missing, `Unsupported` where it is larger than `limit`.
    pub(crate) fn file(&self, path: impl AsRef<[u8]>, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.find(path, Follow::All)? {
            Some((at, FileType::Regular)) => self.tree.read(&at, limit).map(Some),
            _ => Ok(None),
        }
    }

    /// The same, and a file that is too large counts as missing.
    pub(crate) fn file_lenient(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.file(path, limit) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            other => other,
        }
    }

    /// Whether a directory that was listed lacks a path.
    fn is_known_missing(&self, at: &Resolved) -> bool {
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return false };
        self.listed.borrow().get(&parent).is_some_and(|names| !names.contains(name))
    }
}

impl Lookup for Reader<'_> {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        if let Some(found) = self.found.borrow().get(at) {
            return Ok(*found);
        }
        if self.is_known_missing(at) {
            return Ok(None);
        }
        let found = self.tree.lookup(at)?;
        remember(&self.found, at, found);
        Ok(found)
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        if let Some(target) = self.links.borrow().get(at) {
            return Ok(target.clone());
        }
        let target = self.tree.read_link(at)?;
        remember(&self.links, at, target.clone());
        Ok(target)
    }
}

fn remember<T>(known: &RefCell<BTreeMap<Resolved, T>>, at: &Resolved, what: T) {
    let mut known = known.borrow_mut();
    if known.len() < KNOWN_MAX {
        known.insert(at.clone(), what);
    }
}

/// Whether the error is about the path (a loop, a file in a directory's place) and not about the filesystem, or one that is not
/// mounted.
fn is_shape(error: &Error) -> bool {
    error.layer() != Layer::Volume
        && matches!(error.kind(), ErrorKind::Denied | ErrorKind::WrongType | ErrorKind::NotFound | ErrorKind::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgraft_vfs::fs::mem::MemFs;

    #[test]
    fn what_was_found_is_found_again() {
        let fs = MemFs::builder()
            .file("/usr/lib/a", "text")
            .symlink("/lib", "usr/lib")
            .symlink("/usr/lib/null", "/dev/null")
            .symlink("/usr/lib/up", "../../dev/null")
            .symlink("/loop", "loop")
            .build()
            .unwrap();
        let reader = Reader::new(&fs);
        for listed in [false, true] {
            assert!(reader.exists("/lib/a").unwrap(), "listed: {listed}");
            assert!(
                !reader.exists("/lib/b").unwrap()
                    && !reader.exists("/lib/a/b").unwrap()
                    && !reader.exists("/loop/x").unwrap()
            );
            assert!(reader.is_masked("/lib/up").unwrap());
            assert!(reader.is_masked("/lib/null").unwrap() && !reader.is_masked("/lib/a").unwrap());
            assert_eq!(reader.file("/lib/a", 10).unwrap().unwrap(), b"text");
            assert!(reader.file("/lib/a", 3).is_err() && reader.file_lenient("/lib/a", 3).unwrap().is_none());
            assert_eq!(reader.names("/lib").unwrap(), ["a", "null", "up"]);
            assert!(reader.names("/lib/a").unwrap().is_empty() && reader.names("/none").unwrap().is_empty());
        }
    }
}
