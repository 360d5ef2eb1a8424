//! Quotas: what each user, group and project uses of the filesystem, kept right with every change.
//!
//! Everything that is counted passes two places, [`Store::put_inode`] and [`Store::free_inode`]: they report here what
//! an inode has taken, and from whom. The sums go into the hidden quota files when the filesystem is flushed.
//!
//! Source: kernel Documentation/filesystems/quota.rst and ext4/super.rst (`s_usr_quota_inum` and its kin).

mod entry;
mod tree;

use super::extent::Segment;
use super::inode::{Inode, ROOT, flag};
use super::store::Store;
use super::superblock::Superblock;
use crate::error::Result;
use crate::fs::FileType;
use entry::Change;
use std::collections::BTreeMap;
use tree::{BLOCK, QuotaBlocks, Tree};

/// What usage is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The owner.
    User,
    /// The group.
    Group,
    /// The project id.
    Project,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];

    fn magic(self) -> u32 {
        match self {
            Self::User => 0xd9c0_1f11,
            Self::Group => 0xd9c0_1927,
            Self::Project => 0xd9c0_3f14,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Project => "project",
        }
    }

    fn id(self, inode: &Inode) -> u32 {
        match self {
            Self::User => inode.uid(),
            Self::Group => inode.gid(),
            Self::Project => inode.project(),
        }
    }
}

/// The changes that are not yet in the quota files.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// What is counted, and the inode of its file.
    files: Vec<(Kind, u32)>,
    changes: BTreeMap<(Kind, u32), Change>,
}

impl Ledger {
    /// Counts what the filesystem counts; nothing where it has no quotas.
    pub(super) fn new(superblock: &Superblock) -> Self {
        let file = |kind| superblock.quota_file(kind).map(|number| (kind, number));
        Self { files: Kind::ALL.into_iter().filter_map(file).collect(), changes: BTreeMap::new() }
    }

    /// Whether anything is counted.
    pub(super) fn is_kept(&self) -> bool {
        !self.files.is_empty()
    }

    /// Whether an inode counts: one of the filesystem's own does not, and the value of an attribute counts as part of
    /// the files that have it.
    fn counts(&self, inode: &Inode, superblock: &Superblock) -> bool {
        (inode.number == ROOT || inode.number >= superblock.first_inode())
            && inode.mode() != 0
            && !inode.has_flag(flag::EA_INODE)
            && superblock.orphan_file() != Some(inode.number)
            && self.files.iter().all(|(_, file)| *file != inode.number)
    }

    fn add(&mut self, kind: Kind, id: u32, space: i64, inodes: i64) {
        let change = self.changes.entry((kind, id)).or_default();
        change.space = change.space.saturating_add(space);
        change.inodes = change.inodes.saturating_add(inodes);
    }
}

impl Store {
    /// Reports that `inode` is about to be stored in place of what is there now.
    pub(super) fn count_stored(&mut self, inode: &Inode) -> Result<()> {
        if !self.quotas.is_kept() || !self.quotas.counts(inode, &self.superblock) {
            return Ok(());
        }
        let stored = self.inode(inode.number)?;
        // A new inode is zeros until it is stored for the first time.
        let is_new = stored.mode() == 0;
        let block_size = self.superblock.block_size;
        let bytes = |inode: &Inode| i64::try_from(inode.sectors(block_size).saturating_mul(512)).unwrap_or(i64::MAX);
        for (kind, _) in self.quotas.files.clone() {
            let (from, to) = (kind.id(&stored), kind.id(inode));
            if is_new {
                self.quotas.add(kind, to, bytes(inode), 1);
            } else if from == to {
                self.quotas.add(kind, to, bytes(inode).saturating_sub(bytes(&stored)), 0);
            } else {
                // Whoever has attributes with inodes of their own is charged for those too.
                let inodes = self.value_charge(&stored)?.1.saturating_add(1);
                self.quotas.add(kind, from, bytes(&stored).saturating_neg(), inodes.saturating_neg());
                self.quotas.add(kind, to, bytes(inode), inodes);
            }
        }
        Ok(())
    }

    /// Reports that an inode, which has no room any more, is free.
    pub(super) fn count_freed(&mut self, inode: &Inode) {
        if self.quotas.counts(inode, &self.superblock) {
            for (kind, _) in self.quotas.files.clone() {
                self.quotas.add(kind, kind.id(inode), 0, -1);
            }
        }
    }

    /// Reports that a file has so many more attributes, or fewer, with inodes of their own.
    pub(super) fn count_values_apart(&mut self, owner: &Inode, inodes: i64) {
        if inodes != 0 && self.quotas.counts(owner, &self.superblock) {
            for (kind, _) in self.quotas.files.clone() {
                self.quotas.add(kind, kind.id(owner), 0, inodes);
            }
        }
    }

    /// Writes the changes into the quota files.
    ///
    /// Errors: `NoSpace` where a file cannot grow; `Corrupt`, `Unsupported` where one cannot be kept.
    pub(super) fn settle_quotas(&mut self) -> Result<()> {
        let now = u64::try_from(self.now()?.seconds).unwrap_or(0);
        let changes = std::mem::take(&mut self.quotas.changes);
        for (kind, number) in self.quotas.files.clone() {
            let mine = changes.iter().filter(|((of, _), change)| *of == kind && **change != Change::default());
            let mut mine = mine.map(|((_, id), change)| (*id, *change)).peekable();
            if mine.peek().is_none() {
                continue;
            }
            let inode = self.inode(number)?;
            if inode.links() == 0 || inode.file_type()? != FileType::Regular {
                return Err(inode.damaged("the superblock says that it has quotas"));
            }
            let mut tree = Tree::open(QuotaFile { store: self, inode }, kind)?;
            for (id, change) in mine {
                tree.apply(id, change, now)?;
            }
            let QuotaFile { store, mut inode } = tree.close()?;
            store.put_inode(&mut inode)?;
        }
        Ok(())
    }
}

/// A quota file in the filesystem.
#[derive(Debug)]
struct QuotaFile<'a> {
    store: &'a mut Store,
    inode: Inode,
}

impl QuotaFile<'_> {
    /// The block of the filesystem with a block of the file, and the byte there; no block where the file ends before.
    fn place(&self, number: u32) -> Result<(Option<u64>, usize)> {
        let size = u64::from(self.store.superblock.block_size);
        let byte = u64::from(number).saturating_mul(BLOCK as u64);
        let within = usize::try_from(byte % size).unwrap_or(usize::MAX);
        match self.store.segment(&self.inode, byte / size)? {
            Segment::Blocks { start, .. } => Ok((Some(start), within)),
            Segment::Hole(_) => Ok((None, within)),
        }
    }

    fn end(&self, number: u32) -> u64 {
        u64::from(number).saturating_add(1).saturating_mul(BLOCK as u64)
    }

    /// Adds a block of zeros to the end of the file.
    fn append(&mut self, number: u32) -> Result<u64> {
        let logical = u64::from(number) * BLOCK as u64 / u64::from(self.store.superblock.block_size);
        let logical = u32::try_from(logical).map_err(|_| self.inode.damaged("it is a quota file of over 2 GiB"))?;
        let run = self.store.grow(&mut self.inode, logical, 1)?;
        self.store.write(run.start, vec![0; self.store.block_len()])?;
        Ok(run.start)
    }
}

impl QuotaBlocks for QuotaFile<'_> {
    fn count(&self) -> u32 {
        u32::try_from(self.inode.size().div_ceil(BLOCK as u64)).unwrap_or(u32::MAX)
    }

    fn read(&self, number: u32) -> Result<Vec<u8>> {
        let (Some(block), within) = self.place(number)? else {
            return Err(self.inode.damaged(&format!("block {number} of the quota file is missing")));
        };
        let bytes = self.store.read(block)?;
        let found = bytes.get(within..).and_then(|rest| rest.get(..BLOCK));
        found.map(<[u8]>::to_vec).ok_or_else(|| self.inode.damaged("a block of the quota file is cut short"))
    }

    fn write(&mut self, number: u32, block: &[u8]) -> Result<()> {
        let (start, within) = match self.place(number)? {
            (Some(start), within) => (start, within),
            (None, within) if self.end(number) > self.inode.size() => (self.append(number)?, within),
            (None, _) => return Err(self.inode.damaged(&format!("block {number} of the quota file is missing"))),
        };
        let mut bytes = self.store.read(start)?.to_vec();
        let place = bytes.get_mut(within..).and_then(|rest| rest.get_mut(..block.len()));
        place.ok_or_else(|| self.inode.damaged("a block of the quota file is cut short"))?.copy_from_slice(block);
        self.store.write(start, bytes)?;
        if self.end(number) > self.inode.size() {
            self.inode.set_size(self.end(number));
        }
        Ok(())
    }
}
