//! Inodes: taking free ones, and giving them back.
//!
//! Source: kernel Documentation/filesystems/ext4/bitmaps.rst and group_descr.rst.

use super::allocate::rotate;
use super::bitmap::Bitmap;
use super::checksum::crc32c;
use super::group::{Group, INODE_UNINIT, INODE_ZEROED};
use super::groups::Mark;
use super::inode::Inode;
use super::store::Store;
use super::superblock::GroupChecksum;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::FileType;

impl Store {
    /// Takes a free inode near the directory `parent`: zeros, but for its generation and the size of its extra fields.
    ///
    /// Errors: `NoSpace`.
    pub(super) fn allocate_inode(&mut self, parent: u32, file_type: FileType) -> Result<Inode> {
        let number = self.choose_group(parent, file_type)?;
        self.settle_block_bitmap(number)?;
        let reserved = if number == 0 { self.superblock.first_inode().saturating_sub(1) } else { 0 };
        let free = self.inode_bitmap(number)?.next_clear(reserved, 1);
        let group = self.group(number)?;
        let Some(free) = free else {
            return Err(group.damaged("it has no free inodes and counts some"));
        };
        let index = free.start;
        let inode_number = number
            .checked_mul(self.superblock.inodes_per_group)
            .and_then(|first| first.checked_add(index)?.checked_add(1))
            .ok_or_else(|| group.damaged("it has too many inodes"))?;
        let known = self.used_table(&group);
        let old_generation = if index < known { self.free_inode_generation(inode_number)? } else { 0 };

        self.take_inode(inode_number, file_type)?;
        let mut inode = Inode::zeroed(inode_number, self.superblock.inode_size, self.superblock.extra_isize());
        inode.set_generation(old_generation.wrapping_add(1));
        Ok(inode)
    }

    /// The generation of an inode that is marked as free; `Corrupt` where it counts names: by that, whatever its time of
    /// deletion, e2fsck takes it for one in use (`e2fsck_pass1`), and it may be the file that a directory names.
    fn free_inode_generation(&self, number: u32) -> Result<u32> {
        let inode = self.inode(number)?;
        if inode.links() == 0 {
            return Ok(inode.generation());
        }
        let error = inode.damaged("it is marked as free, and it counts names as one in use does");
        Err(error.with_hint("run e2fsck -fy on the filesystem"))
    }

    /// Takes an inode that is free, and makes its place zeros; `Corrupt` where it is in use.
    pub(super) fn take_inode(&mut self, inode_number: u32, file_type: FileType) -> Result<()> {
        let (number, index) = self.inode_place(inode_number)?;
        self.settle_block_bitmap(number)?;
        if self.inode_bitmap(number)?.get(index) {
            let group = self.group(number)?;
            return Err(group.damaged(&format!("inode {inode_number} is in use and should not be")));
        }
        let known = self.used_table(&*self.group(number)?);
        self.mark_inode(number, index, Mark::Used)?;
        let mut group = Group::clone(&*self.group(number)?);
        if self.superblock.group_checksum != GroupChecksum::None {
            if index >= known {
                self.zero_table(&group, known, index)?;
                group.set_itable_unused(self.superblock.inodes_per_group - index - 1);
            }
            group.clear_flag(INODE_UNINIT);
        }
        if file_type == FileType::Directory {
            group.set_used_directories(group.used_directories().saturating_add(1));
        }
        let left = self.superblock.free_inodes.checked_sub(1);
        self.superblock.free_inodes =
            left.ok_or_else(|| group.damaged("it has more free inodes than the filesystem"))?;
        self.put_group(group);
        self.clear_inode(inode_number)
    }

    /// Whether an inode is marked as in use.
    pub(super) fn inode_in_use(&mut self, number: u32) -> Result<bool> {
        let (group, index) = self.inode_place(number)?;
        Ok(self.inode_bitmap(group)?.get(index))
    }

    /// Marks an inode as free; what it has had is the caller's.
    pub(super) fn free_inode(&mut self, inode: &Inode) -> Result<()> {
        let (number, index) = self.inode_place(inode.number)?;
        if !self.inode_bitmap(number)?.get(index) {
            return Err(inode.damaged("it is in use and marked as free"));
        }
        self.mark_inode(number, index, Mark::Free)?;
        let mut group = Group::clone(&*self.group(number)?);
        if inode.file_type()? == FileType::Directory {
            let directories = group.used_directories().checked_sub(1);
            group.set_used_directories(directories.ok_or_else(|| group.damaged("it counts too few directories"))?);
        }
        self.count_freed(inode);
        self.put_group(group);
        self.superblock.free_inodes = self.superblock.free_inodes.saturating_add(1).min(self.superblock.inodes);
        Ok(())
    }

    /// The group for a new inode: its directory's own; a directory goes elsewhere where that is fuller than most.
    ///
    /// Simpler than the kernel's (Orlov), which strews the directories at the top over the whole disk so that each has
    /// room to grow for years. An injection adds a few files beside those they belong to, and every further group is a
    /// descriptor, two bitmaps and a piece of a table more to read, to check and to write.
    fn choose_group(&self, parent: u32, file_type: FileType) -> Result<u32> {
        let (first, _) = self.inode_place(parent)?;
        let groups = self.superblock.groups;
        let inodes = (self.superblock.free_inodes / groups).saturating_sub(self.superblock.inodes_per_group / 4);
        let blocks = self.superblock.free_blocks / u64::from(groups);
        let blocks = blocks.saturating_sub(u64::from(self.superblock.blocks_per_group / 4));
        let mut fallback = None;
        for step in 0..groups {
            let group = self.group(rotate(first, step, groups))?;
            // In group 0 the reserved inodes are never free.
            if group.free_inodes() == 0 {
                continue;
            }
            let free_blocks = u64::from(group.free_clusters()) << self.superblock.cluster_shift;
            let roomy = group.free_inodes() >= inodes && free_blocks >= blocks;
            if file_type != FileType::Directory || roomy {
                return Ok(group.number);
            }
            fallback = fallback.or(Some(group.number));
        }
        fallback
            .ok_or_else(|| Error::new(ErrorKind::NoSpace, Layer::Filesystem, "the guest filesystem has no free inodes"))
    }

    /// Whether an inode lies where its group says that none ever was.
    pub(super) fn was_never_used(&self, number: u32) -> Result<bool> {
        let (group, index) = self.inode_place(number)?;
        Ok(index >= self.used_table(&*self.group(group)?))
    }

    /// How many inodes at the start of a group's table were ever used.
    fn used_table(&self, group: &Group) -> u32 {
        let all = self.superblock.inodes_per_group;
        if group.has_flag(INODE_UNINIT, &self.superblock) {
            0
        } else if self.superblock.group_checksum == GroupChecksum::None {
            all
        } else {
            all.saturating_sub(group.itable_unused())
        }
    }

    /// Clears the never used part of a group's table up to an inode's block: mke2fs may have left it as it found it.
    fn zero_table(&mut self, group: &Group, known: u32, index: u32) -> Result<()> {
        if group.has_flag(INODE_ZEROED, &self.superblock) {
            return Ok(());
        }
        let (last, _) = self.table_place(group, index)?;
        let (mut block, offset) = self.table_place(group, known)?;
        if offset > 0 {
            let mut bytes = self.read(block)?.to_vec();
            bytes.get_mut(offset..).unwrap_or_default().fill(0);
            self.write(block, bytes)?;
            block += 1;
        }
        while block <= last {
            self.write(block, vec![0; self.block_len()])?;
            block += 1;
        }
        Ok(())
    }

    /// The inode bitmap of a group: as stored, or empty where it never was.
    pub(super) fn read_inode_bitmap(&self, group: &Group) -> Result<Bitmap> {
        let len = self.superblock.inodes_per_group;
        let bitmap = if group.has_flag(INODE_UNINIT, &self.superblock) {
            Bitmap::empty(self.block_len(), len)
        } else {
            let bytes = self.read(group.inode_bitmap())?;
            if let Some(sum) = self.inode_bitmap_sum(&bytes)
                && !group.inode_bitmap_sum_is(sum)
            {
                return Err(group.damaged("the checksum of its inode bitmap is wrong"));
            }
            Bitmap::new(bytes.to_vec(), len)
        };
        if bitmap.count_clear() != group.free_inodes() {
            return Err(group.damaged("its inode bitmap and its count of free inodes differ"));
        }
        Ok(bitmap)
    }

    pub(super) fn inode_bitmap_sum(&self, bytes: &[u8]) -> Option<u32> {
        let len = usize::try_from(self.superblock.inodes_per_group / 8).ok()?;
        Some(crc32c(self.superblock.seed?, bytes.get(..len)?))
    }
}
