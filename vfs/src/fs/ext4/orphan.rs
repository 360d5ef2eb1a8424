//! Files that were being deleted or cut when the machine stopped: what was begun is finished, as the kernel does when
//! it mounts.
//!
//! Source: kernel Documentation/filesystems/ext4/orphan.rst.

use super::feature::ro_compat;
use super::inode::{Inode, flag};
use super::store::Store;
use crate::error::{Error, Layer, Result};
use crate::fs::FileType;
use std::collections::BTreeSet;

/// How many files the list in the inodes may have: far more than processes keep open.
const LIST_MAX: usize = 1 << 20;

impl Store {
    /// Deletes the files that have no name left, and cuts those that were being cut; gives how many there were.
    ///
    /// Errors: `Corrupt` where something else is listed.
    pub(super) fn finish_orphans(&mut self) -> Result<u32> {
        let mut seen = BTreeSet::new();
        let mut next = self.superblock.last_orphan();
        while next != 0 {
            if !seen.insert(next) || seen.len() > LIST_MAX {
                return Err(bad_orphan(next, "is listed twice, or the list has no end"));
            }
            let inode = self.orphan(next)?;
            // The list goes through the field that a deleted file has its time of deletion in.
            next = inode.deletion_time();
            self.finish_orphan(inode)?;
        }
        if !seen.is_empty() {
            self.superblock.set_last_orphan(0)?;
        }
        let listed = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        if !self.superblock.has_ro_compat(ro_compat::ORPHAN_PRESENT) {
            return Ok(listed);
        }
        let Some(file) = self.superblock.orphan_file() else {
            return Err(Error::unsupported(
                Layer::Filesystem,
                "the ext4 filesystem is not clean: it has orphan_present without orphan_file",
            )
            .with_hint("run e2fsck -fy on the filesystem"));
        };
        let filed = self.finish_orphan_file(file)?;
        self.superblock.clear_orphan_present();
        Ok(listed.saturating_add(filed))
    }

    /// The files that [`finish_orphans`](Self::finish_orphans) will find; errors as there.
    pub(super) fn listed_orphans(&mut self) -> Result<BTreeSet<u32>> {
        let mut seen = BTreeSet::new();
        let mut next = self.superblock.last_orphan();
        while next != 0 {
            if !seen.insert(next) || seen.len() > LIST_MAX {
                return Err(bad_orphan(next, "is listed twice, or the list has no end"));
            }
            next = self.orphan(next)?.deletion_time();
        }
        if self.superblock.has_ro_compat(ro_compat::ORPHAN_PRESENT)
            && let Some(file) = self.superblock.orphan_file()
        {
            seen.extend(self.filed_orphans(file)?);
        }
        Ok(seen)
    }

    /// A file that is listed, if it can be one.
    pub(super) fn orphan(&mut self, number: u32) -> Result<Inode> {
        if number < self.superblock.first_inode() || number > self.superblock.inodes {
            return Err(bad_orphan(number, "cannot be a file"));
        }
        if !self.inode_in_use(number)? {
            return Err(bad_orphan(number, "is not in use"));
        }
        let inode = self.inode(number)?;
        inode.file_type()?;
        Ok(inode)
    }

    /// Deletes a file that has no name left; of another, frees what lies after its end.
    pub(super) fn finish_orphan(&mut self, mut inode: Inode) -> Result<()> {
        if inode.links() == 0 {
            return self.delete(inode);
        }
        inode.set_deletion_time(0);
        match inode.file_type()? {
            FileType::Regular => self.cut_tail(&mut inode)?,
            FileType::Symlink if inode.is_short_link() => {}
            _ if inode.has_flag(flag::INLINE_DATA) => {}
            FileType::Directory | FileType::Symlink => {
                let end = inode.size().div_ceil(u64::from(self.superblock.block_size));
                self.cut(&mut inode, end)?;
            }
            _ => {}
        }
        self.put_inode(&mut inode)
    }
}

/// An error about a file that is listed.
pub(super) fn bad_orphan(number: u32, what: &str) -> Error {
    Error::corrupt(
        Layer::Filesystem,
        format!("the ext4 list of deleted files that still have to be cleaned up is damaged: inode {number} {what}"),
    )
    .with_hint("run e2fsck -fy on the filesystem")
}
