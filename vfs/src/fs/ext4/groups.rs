//! Groups in memory: a descriptor or a bitmap is verified when it is read, changed here, and stored with its checksum in
//! the end.

use super::bitmap::{BitRun, Bitmap};
use super::group::{BLOCK_UNINIT, Group};
use super::store::Store;
use crate::error::{Error, Layer, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many bytes of bitmaps are kept at most; past it what has changed is stored and all are dropped. The tests have few
/// groups.
const BITMAPS_MAX: usize = if cfg!(test) { 1 } else { 4 << 20 };
/// How many descriptors are kept at most, beside those that have changed.
const DESCRIPTORS_MAX: usize = 4096;

/// The groups that are in use just now.
#[derive(Debug, Default)]
pub(super) struct Groups {
    descriptors: RefCell<BTreeMap<u32, Descriptor>>,
    blocks: BTreeMap<u32, Kept>,
    inodes: BTreeMap<u32, Kept>,
}

#[derive(Debug)]
struct Descriptor {
    group: Arc<Group>,
    state: State,
}

#[derive(Debug)]
struct Kept {
    bitmap: Bitmap,
    state: State,
    /// How many groups had been looked at when it was verified: of others it is not known what is theirs.
    looked_at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stored,
    Changed,
}

/// What becomes of a range of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is in use now.
    Used,
    /// It is free now.
    Free,
}

impl Mark {
    fn put(self, bitmap: &mut Bitmap, run: BitRun) {
        match self {
            Self::Used => bitmap.set(run),
            Self::Free => bitmap.clear(run),
        }
    }

    /// How many are free afterwards.
    fn count(self, free: u32, len: u32) -> u32 {
        match self {
            Self::Used => free.saturating_sub(len),
            Self::Free => free.saturating_add(len),
        }
    }
}

impl Groups {
    fn get(&self, number: u32) -> Option<Arc<Group>> {
        self.descriptors.borrow().get(&number).map(|kept| Arc::clone(&kept.group))
    }

    fn keep(&self, group: Arc<Group>) {
        let mut descriptors = self.descriptors.borrow_mut();
        if descriptors.len() >= DESCRIPTORS_MAX {
            descriptors.retain(|_, kept| kept.state == State::Changed);
        }
        descriptors.insert(group.number, Descriptor { group, state: State::Stored });
    }

    fn bitmap_count(&self) -> usize {
        self.blocks.len().saturating_add(self.inodes.len())
    }
}

impl Store {
    /// A group's descriptor.
    pub(super) fn group(&self, number: u32) -> Result<Arc<Group>> {
        if number >= self.superblock.groups {
            return Err(Error::corrupt(Layer::Filesystem, format!("there is no group {number}")));
        }
        if let Some(group) = self.groups.get(number) {
            return Ok(group);
        }
        let (block, offset) = self.descriptor_place(number);
        let bytes = self.read(block)?;
        let len = usize::from(self.superblock.descriptor_size);
        let raw = bytes.get(offset..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        let group = Arc::new(Group::parse(raw, number, &self.superblock)?);
        self.places.take(&group, &self.superblock)?;
        self.groups.keep(Arc::clone(&group));
        Ok(group)
    }

    /// Looks at all the groups that have their descriptors in one block with that of this group.
    pub(super) fn know_neighbours(&self, number: u32) -> Result<()> {
        let per_block = self.superblock.descriptors_per_block().max(1);
        if !self.places.complete(self.superblock.descriptor_block(number)) {
            let first = number - number % per_block;
            (first..self.superblock.groups.min(first.saturating_add(per_block)))
                .try_for_each(|number| self.group(number).map(drop))?;
        }
        Ok(())
    }

    /// Changes a group's descriptor.
    pub(super) fn put_group(&mut self, group: Group) {
        self.note_change();
        let descriptor = Descriptor { group: Arc::new(group), state: State::Changed };
        self.groups.descriptors.get_mut().insert(descriptor.group.number, descriptor);
    }

    /// The block bitmap of a group, verified.
    pub(super) fn block_bitmap(&mut self, number: u32) -> Result<&Bitmap> {
        self.know_neighbours(number)?;
        let looked_at = self.places.looked_at();
        if self.groups.blocks.get(&number).is_none_or(|kept| kept.looked_at != looked_at) {
            let bitmap = match self.groups.blocks.get(&number) {
                // What it has is known; what other groups have in it may not have been.
                Some(kept) => self.check_own_blocks(&*self.group(number)?, &kept.bitmap).map(|()| None)?,
                None => Some(self.read_block_bitmap(&*self.group(number)?)?),
            };
            if let Some(bitmap) = bitmap {
                self.make_room()?;
                self.groups.blocks.insert(number, Kept { bitmap, state: State::Stored, looked_at });
            }
        }
        let kept = self.groups.blocks.get_mut(&number).ok_or_else(|| missing(number))?;
        kept.looked_at = looked_at;
        Ok(&kept.bitmap)
    }

    /// The inode bitmap of a group, verified.
    pub(super) fn inode_bitmap(&mut self, number: u32) -> Result<&Bitmap> {
        if !self.groups.inodes.contains_key(&number) {
            let bitmap = self.read_inode_bitmap(&*self.group(number)?)?;
            self.make_room()?;
            self.groups.inodes.insert(number, Kept { bitmap, state: State::Stored, looked_at: 0 });
        }
        self.groups.inodes.get(&number).map(|kept| &kept.bitmap).ok_or_else(|| missing(number))
    }

    /// Marks clusters of a group, all of which were not so marked, and counts them in its descriptor; the superblock's
    /// count is the caller's.
    pub(super) fn mark_clusters(&mut self, number: u32, run: BitRun, mark: Mark) -> Result<()> {
        self.block_bitmap(number)?;
        let mut group = Group::clone(&*self.group(number)?);
        let kept = self.groups.blocks.get_mut(&number).ok_or_else(|| missing(number))?;
        kept.state = State::Changed;
        mark.put(&mut kept.bitmap, run);
        group.set_free_clusters(mark.count(group.free_clusters(), run.len));
        group.clear_flag(BLOCK_UNINIT);
        self.put_group(group);
        Ok(())
    }

    /// Marks an inode, by its place in its group, that was not so marked, and counts it in the group's descriptor; the
    /// superblock's count is the caller's.
    pub(super) fn mark_inode(&mut self, number: u32, index: u32, mark: Mark) -> Result<()> {
        self.inode_bitmap(number)?;
        let mut group = Group::clone(&*self.group(number)?);
        let kept = self.groups.inodes.get_mut(&number).ok_or_else(|| missing(number))?;
        kept.state = State::Changed;
        mark.put(&mut kept.bitmap, BitRun { start: index, len: 1 });
        group.set_free_inodes(mark.count(group.free_inodes(), 1));
        self.put_group(group);
        Ok(())
    }

    /// Drops the bitmaps where there are many.
    fn make_room(&mut self) -> Result<()> {
        if self.groups.bitmap_count().saturating_mul(self.block_len()) >= BITMAPS_MAX {
            self.store_groups()?;
            self.groups = Groups::default();
        }
        Ok(())
    }

    /// Stores the bitmaps and descriptors that have changed, with their checksums.
    pub(super) fn store_groups(&mut self) -> Result<()> {
        let changed = |kept: &BTreeMap<u32, Kept>| -> Vec<u32> {
            kept.iter().filter(|(_, kept)| kept.state == State::Changed).map(|(number, _)| *number).collect()
        };
        for number in changed(&self.groups.blocks) {
            let mut group = Group::clone(&*self.group(number)?);
            let kept = self.groups.blocks.get_mut(&number).ok_or_else(|| missing(number))?;
            kept.state = State::Stored;
            let bytes = kept.bitmap.bytes().to_vec();
            if let Some(sum) = self.block_bitmap_sum(&bytes) {
                group.set_block_bitmap_sum(sum);
            }
            self.write(group.block_bitmap(), bytes)?;
            self.put_group(group);
        }
        for number in changed(&self.groups.inodes) {
            let mut group = Group::clone(&*self.group(number)?);
            let kept = self.groups.inodes.get_mut(&number).ok_or_else(|| missing(number))?;
            kept.state = State::Stored;
            let bytes = kept.bitmap.bytes().to_vec();
            if let Some(sum) = self.inode_bitmap_sum(&bytes) {
                group.set_inode_bitmap_sum(sum);
            }
            self.write(group.inode_bitmap(), bytes)?;
            self.put_group(group);
        }
        let descriptors = std::mem::take(self.groups.descriptors.get_mut());
        for (number, mut kept) in descriptors {
            if kept.state == State::Changed {
                let (block, offset) = self.descriptor_place(number);
                let raw = Arc::make_mut(&mut kept.group).encode(&self.superblock);
                self.patch(block, offset, raw)?;
            }
            self.groups.keep(kept.group);
        }
        Ok(())
    }

    fn descriptor_place(&self, number: u32) -> (u64, usize) {
        let place = number % self.superblock.descriptors_per_block().max(1);
        let offset = u64::from(place) * u64::from(self.superblock.descriptor_size);
        (self.superblock.descriptor_block(number), usize::try_from(offset).unwrap_or(usize::MAX))
    }
}

fn missing(number: u32) -> Error {
    Error::corrupt(Layer::Filesystem, format!("the bitmap of group {number} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::MemDevice;
    use crate::error::ErrorKind;
    use crate::fs::ext4::testing::{have, run};
    use crate::fs::{Mode, Timestamp};
    use std::process::Command;

    const BLOCK: usize = 1024;
    /// Its descriptor is in another block than that of group 0, which has 32.
    const FAR: usize = 35;

    fn open(bytes: &[u8]) -> Store {
        let now = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
        Store::open(Arc::new(MemDevice::new(bytes.to_vec())), Mode::ReadWrite { now }).unwrap()
    }

    #[test]
    fn a_kept_bitmap_is_held_against_groups_that_are_looked_at_later() {
        if !have(&["mke2fs"]) {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 << 20).unwrap();
        let layout = ["-q", "-F", "-t", "ext2", "-b", "1024", "-g", "256", "-N", "640", "-O", "^resize_inode,^meta_bg"];
        run(Command::new("mke2fs").args(layout).arg(file.path()));
        let sound = std::fs::read(file.path()).unwrap();
        let mut store = open(&sound);
        let bitmap = store.block_bitmap(0).unwrap().clone();
        store.group(FAR as u32).unwrap();
        store.block_bitmap(0).unwrap();

        // The far group has its bitmap of inodes where group 0 has a free block.
        let free = (0..255).rev().find(|bit| !bitmap.get(*bit)).unwrap();
        let mut damaged = sound.clone();
        let field = 2 * BLOCK + FAR * 32 + 4;
        damaged[field..field + 4].copy_from_slice(&(free + 1).to_le_bytes());
        let mut store = open(&damaged);
        store.block_bitmap(0).unwrap();
        store.group(FAR as u32).unwrap();
        let error = store.block_bitmap(0).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("own blocks as free"), "{error}");
    }
}
