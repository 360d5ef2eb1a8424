//! What the tags come to: files and names as they are after the last of them, without a write.
//!
//! A file has as many links as its names say, whatever an inode's copy says in between: so nothing is deleted too
//! early, and directories, whose links the kernel's own replay miscounts, are counted as they should be.

use super::super::damaged;
use super::after::{After, Change, Life, moved_out};
use super::layout::{Budget, Layout};
use super::ranges::Ranges;
use super::tag::{Naming, Tag};
use crate::error::{Error, Layer, Result};
use crate::fs::ext4::directory::DirView;
use crate::fs::ext4::extent::{Extent, Span};
use crate::fs::ext4::inode::{Inode, ROOT, Time, flag};
use crate::fs::ext4::quota::Kind;
use crate::fs::ext4::store::Store;
use crate::fs::{FileType, Timestamp};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// How many blocks of directories may be looked through for names: a directory without an index costs all of its blocks
/// for each name.
const DIRECTORY_BLOCKS_MAX: u64 = 1 << 20;

/// A file that a tag is about.
#[derive(Debug)]
pub(super) struct File {
    /// The inode as it is stored; `None` where it is free.
    pub(super) before: Option<Inode>,
    /// What is stored of its blocks, where that had to be known.
    pub(super) layout: Option<Layout>,
    /// What becomes of the inode; `None` where it is free in the end.
    pub(super) after: Option<After>,
    /// Blocks of a file of which the inode has not come yet.
    early: Ranges,
}

/// A name in a directory: the inode that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// As it is stored.
    pub(super) before: Option<u32>,
    /// In the end.
    pub(super) after: Option<u32>,
}

/// What the tags come to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) files: BTreeMap<u32, File>,
    /// By the directory's inode, then by name.
    pub(super) names: BTreeMap<(u32, Vec<u8>), Name>,
    /// Files that are listed as to be deleted or cut: what is done with them is done after this.
    pub(super) orphans: BTreeSet<u32>,
    budget: Budget,
    /// How many blocks of directories were looked through.
    looked: u64,
    now: Timestamp,
}

impl Outcome {
    /// Before the first tag.
    pub(super) fn new(orphans: BTreeSet<u32>, now: Timestamp) -> Self {
        Self { files: BTreeMap::new(), names: BTreeMap::new(), orphans, budget: Budget::default(), looked: 0, now }
    }

    /// Follows one tag.
    pub(super) fn follow(&mut self, store: &Store, tag: Tag<'_>) -> Result<()> {
        match tag {
            Tag::None => Ok(()),
            Tag::Inode { number, raw } => self.inode(store, number, raw),
            Tag::AddRange { inode, extent } => self.add_range(store, inode, extent),
            Tag::DelRange { inode, from, len } => {
                let (from, until) = (u64::from(from), u64::from(from) + u64::from(len));
                match self.ranges(store, inode)? {
                    Some(ranges) => ranges.take(from, until),
                    None => self.file(store, inode)?.early.take(from, until),
                }
                self.budget.take(1)
            }
            Tag::Name { naming, parent, inode, name } => {
                if matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                    return Err(damaged("a fast commit has a name that is none"));
                }
                match naming {
                    Naming::Unlink => self.unlink(store, parent, inode, name),
                    Naming::Create | Naming::Link => self.link(store, parent, inode, name, naming),
                }
            }
        }
    }

    /// What is known of a file; `Corrupt` where no tag can be about it.
    fn file(&mut self, store: &Store, number: u32) -> Result<&mut File> {
        let superblock = &store.superblock;
        let own =
            superblock.orphan_file().into_iter().chain(Kind::ALL.iter().filter_map(|it| superblock.quota_file(*it)));
        let ordinary =
            (superblock.first_inode()..=superblock.inodes).contains(&number) && !own.into_iter().any(|it| it == number);
        if !ordinary && number != ROOT {
            return Err(damaged(&format!("a fast commit is about inode {number}, which cannot be a file")));
        }
        match self.files.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let before = if store.inode_is_stored(number)? { Some(store.inode(number)?) } else { None };
                let after = before.as_ref().map(After::stored).transpose()?;
                Ok(place.insert(File { before, layout: None, after, early: Ranges::default() }))
            }
        }
    }

    /// The file as it is now; `None` where there is none.
    fn after(&mut self, store: &Store, number: u32) -> Result<Option<&mut After>> {
        Ok(self.file(store, number)?.after.as_mut())
    }

    fn inode(&mut self, store: &Store, number: u32, raw: &[u8]) -> Result<()> {
        let inode_size = usize::from(store.superblock.inode_size);
        let listed = self.orphans.contains(&number);
        let file = self.file(store, number)?;
        let said = {
            let mut whole = raw.to_vec();
            whole.resize(inode_size, 0);
            Inode::parse(number, whole, None)?
        };
        let bad = |what: &str| damaged(&format!("a fast commit has a copy of inode {number} that {what}"));
        let file_type = said.file_type()?;
        if said.has_flag(flag::EA_INODE) {
            return Err(bad("is the value of an attribute"));
        }
        if i64::try_from(said.size()).is_err() {
            return Err(bad("has an impossible size"));
        }
        let deleted = file.before.as_ref().filter(|_| file.after.is_none());
        if said.links() == 0 && deleted.is_some_and(|before| before.generation() == said.generation()) {
            // It was still open when it had lost its last name.
            file.early = Ranges::default();
            return Ok(());
        }
        let same = match file.after.take() {
            Some(after) if after.inode.generation() == said.generation() => Some(after),
            // Nothing leads to the former file, which may have been an orphan; its deletion is in no tag.
            Some(after) if after.links == 0 => None,
            Some(_) => return Err(bad("is another file's, and that has a name")),
            None => None,
        };
        let same = match same {
            Some(after) if after.inode.file_type()? != file_type => return Err(bad("is of another type")),
            Some(After { life: Life::Stored, .. }) if file_type == FileType::Directory => {
                return Err(bad("is a directory that exists already"));
            }
            same => same,
        };
        let after = match same {
            Some(after) => after.revised(store, &said, raw)?,
            None => {
                let mut after = After::new(store, &said, std::mem::take(&mut file.early))?;
                if let Some(before) = file.before.as_ref().filter(|_| listed) {
                    // The number stays listed, and so what comes after it.
                    after.inode.set_deletion_time(before.deletion_time());
                }
                after
            }
        };
        if after.ranges.is_some() && after.inode.has_flag(flag::INLINE_DATA) {
            return Err(bad("has its content inside, and blocks too"));
        }
        if after.inode.file_type()? == FileType::Regular && !after.inode.has_flag(flag::INLINE_DATA) {
            store.check_size(&after.inode, after.inode.size())?;
        }
        file.after = Some(after);
        Ok(())
    }

    fn add_range(&mut self, store: &Store, number: u32, extent: Extent) -> Result<()> {
        let bad = |what: &str| damaged(&format!("a fast commit gives inode {number} blocks that {what}"));
        if extent.len == 0 {
            return Ok(());
        }
        if extent.end() > Span::ALL.until {
            return Err(bad("no file can have"));
        }
        if store.superblock.check_blocks(extent.start, u64::from(extent.len)).is_err() {
            return Err(bad("lie outside the filesystem"));
        }
        let cluster = u64::from(store.superblock.cluster_blocks());
        if u64::from(extent.logical) % cluster != extent.start % cluster {
            return Err(bad("do not fit the clusters of the filesystem"));
        }
        // An extent can be cut in two by another.
        self.budget.take(2)?;
        if self.after(store, number)?.is_some_and(|after| after.inode.has_flag(flag::INLINE_DATA)) {
            return Err(moved_out(number));
        }
        match self.ranges(store, number)? {
            Some(ranges) => ranges.put(extent),
            None => self.file(store, number)?.early.put(extent),
        }
        Ok(())
    }

    /// The blocks of a file, to be changed; `None` where its inode is still to come, or it has its content inside.
    fn ranges(&mut self, store: &Store, number: u32) -> Result<Option<&mut Ranges>> {
        let mut budget = std::mem::take(&mut self.budget);
        let found = Self::load_ranges(self.file(store, number)?, store, number, &mut budget);
        self.budget = budget;
        found?;
        Ok(self.after(store, number)?.and_then(|after| after.ranges.as_mut()))
    }

    fn load_ranges(file: &mut File, store: &Store, number: u32, budget: &mut Budget) -> Result<()> {
        let Some(after) = &mut file.after else { return Ok(()) };
        if after.inode.file_type()? != FileType::Regular {
            return Err(damaged(&format!("a fast commit changes the blocks of inode {number}, which is no file")));
        }
        if after.inode.has_flag(flag::INLINE_DATA) || after.ranges.is_some() {
            return Ok(());
        }
        if !after.inode.has_flag(flag::EXTENTS) {
            let what = format!("a fast commit changes the blocks of inode {number}, which has no extents");
            return Err(Error::unsupported(Layer::Filesystem, what).with_hint("run e2fsck -fy on the filesystem"));
        }
        let layout = Layout::read(store, &after.inode, budget)?;
        budget.take(layout.ranges.len())?;
        after.ranges = Some(layout.ranges.clone());
        after.change = Change::Some;
        file.layout = Some(layout);
        Ok(())
    }

    /// What a name leads to now; `None` where there is no such name, or no such directory.
    fn look_up(&mut self, store: &Store, parent: u32, name: &[u8]) -> Result<Option<u32>> {
        let key = (parent, name.to_vec());
        if let Some(known) = self.names.get(&key) {
            return Ok(known.after);
        }
        let mut cost = 1;
        let found = match self.after(store, parent)? {
            Some(after) if after.life == Life::Stored => {
                cost += after.inode.size() / u64::from(store.superblock.block_size);
                let view = DirView { store, inode: &after.inode };
                store.directory_context(&after.inode)?.find(&view, name)?.map(|entry| entry.inode)
            }
            _ => None,
        };
        self.names.insert(key, Name { before: found, after: found });
        self.looked = self.looked.saturating_add(cost);
        if self.looked > DIRECTORY_BLOCKS_MAX {
            let what = "the ext4 journal has fast commits on too many names in too large directories";
            return Err(Error::unsupported(Layer::Filesystem, what).with_hint("run e2fsck -fy on the filesystem"));
        }
        Ok(found)
    }

    /// Whether there is a directory that names can be put into; `Unsupported` where they cannot.
    fn is_directory(&mut self, store: &Store, number: u32) -> Result<bool> {
        let Some(after) = self.after(store, number)? else { return Ok(false) };
        if after.inode.file_type()? != FileType::Directory {
            return Ok(false);
        }
        after.inode.check_names()?;
        if after.inode.has_flag(flag::CASEFOLD) {
            let what = "the ext4 journal has a fast commit on a directory that does not tell upper from lower case";
            return Err(Error::unsupported(Layer::Filesystem, what)
                .with_hint("boot the machine once and shut it down cleanly, or run e2fsck -fy on the filesystem"));
        }
        Ok(after.life == Life::Stored || after.parent.is_some())
    }

    fn set_name(&mut self, parent: u32, name: &[u8], inode: Option<u32>) {
        let known = self.names.entry((parent, name.to_vec())).or_insert(Name { before: None, after: None });
        known.after = inode;
    }

    fn link(&mut self, store: &Store, parent: u32, number: u32, name: &[u8], naming: Naming) -> Result<()> {
        let bad = |what: &str| damaged(&format!("a fast commit gives inode {number} a name {what}"));
        if !self.is_directory(store, parent)? {
            return Err(bad(&format!("in inode {parent}, which is no directory")));
        }
        let Some(after) = self.after(store, number)? else {
            return Err(bad("and the inode is not in use"));
        };
        let file_type = after.inode.file_type()?;
        let is_new = after.life == Life::New && after.parent.is_none();
        match self.look_up(store, parent, name)? {
            // It was done before the crash already.
            Some(found) if found == number => return Ok(()),
            Some(_) => return Err(bad("that another file has")),
            None => {}
        }
        let now = self.now;
        let Some(after) = self.after(store, number)? else { return Err(bad("and is lost")) };
        if file_type == FileType::Directory {
            if naming != Naming::Create || !is_new {
                return Err(bad("and it is a directory that has one"));
            }
            after.parent = Some(parent);
        }
        after.links = after.links.checked_add(1).ok_or_else(|| bad("and it has too many"))?;
        after.inode.set_time(Time::Change, now);
        after.change = Change::Some;
        self.set_name(parent, name, Some(number));
        Ok(())
    }

    fn unlink(&mut self, store: &Store, parent: u32, number: u32, name: &[u8]) -> Result<()> {
        // What is gone already, or leads elsewhere by now, was done before, or undone by what the kernel did next.
        if self.after(store, number)?.is_none()
            || !self.is_directory(store, parent)?
            || self.look_up(store, parent, name)? != Some(number)
        {
            return Ok(());
        }
        self.set_name(parent, name, None);
        let now = self.now;
        let file = self.file(store, number)?;
        let Some(after) = &mut file.after else { return Ok(()) };
        after.links = after.links.saturating_sub(1);
        after.inode.set_time(Time::Change, now);
        after.change = Change::Some;
        if after.links == 0 {
            file.after = None;
        }
        Ok(())
    }

    /// After the last tag: drops new files that have got no name, and makes sure that names lead somewhere.
    pub(super) fn settle(&mut self) -> Result<()> {
        for file in self.files.values_mut() {
            if file.after.as_ref().is_some_and(|after| after.life == Life::New && after.links == 0) {
                file.after = None;
            }
        }
        for (parent, _, number) in self.added() {
            let lives = |number: u32| self.files.get(&number).is_some_and(|file| file.after.is_some());
            if !lives(number) || !lives(parent) {
                return Err(damaged(&format!(
                    "a fast commit leaves a name that leads to inode {number}, which is gone"
                )));
            }
        }
        Ok(())
    }

    /// The stored names that go: the directory, the name, and the inode.
    pub(super) fn removed(&self) -> impl Iterator<Item = (u32, &[u8], u32)> {
        let changed = self.names.iter().filter(|((parent, _), name)| self.is_changed(*parent, **name));
        changed.filter_map(|((parent, name), leads)| Some((*parent, name.as_slice(), leads.before?)))
    }

    /// The names that come: the directory, the name, and the inode.
    pub(super) fn added(&self) -> impl Iterator<Item = (u32, &[u8], u32)> {
        let changed = self.names.iter().filter(|((parent, _), name)| self.is_changed(*parent, **name));
        changed.filter_map(|((parent, name), leads)| Some((*parent, name.as_slice(), leads.after?)))
    }

    /// Whether a name is not what is stored: it leads elsewhere, or the directory or the file is another one of the same
    /// number.
    fn is_changed(&self, parent: u32, name: Name) -> bool {
        let is_stored = |number: u32| {
            let after = self.files.get(&number).map(|file| file.after.as_ref());
            after.is_none_or(|after| after.is_some_and(|after| after.life == Life::Stored))
        };
        name.before != name.after || !is_stored(parent) || name.after.is_some_and(|number| !is_stored(number))
    }
}
