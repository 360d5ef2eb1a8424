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
/// The largest number of groups of a filesystem that is changed: 128 TiB of 4 KiB blocks, 64 MiB of descriptors.
const GROUPS_MAX: u32 = 1 << 20;

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

    /// Looks at all groups, once, as the kernel does when it mounts: any of them may have its metadata in any other, and
    /// only then a free block is known to be nobody's.
    ///
    /// Errors: `Unsupported` where there are more than [`GROUPS_MAX`]; `Corrupt` where a descriptor is damaged.
    pub(super) fn know_all(&self) -> Result<()> {
        if self.places.are_complete() {
            return Ok(());
        }
        let groups = self.superblock.groups;
        if groups > GROUPS_MAX {
            let what = format!("cannot change an ext4 filesystem of {groups} groups: at most {GROUPS_MAX}");
            return Err(Error::unsupported(Layer::Filesystem, what));
        }
        (0..groups).try_for_each(|number| self.group(number).map(drop))?;
        self.places.complete();
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
        if !self.groups.blocks.contains_key(&number) {
            let bitmap = self.read_block_bitmap(&*self.group(number)?)?;
            self.make_room()?;
            self.groups.blocks.insert(number, Kept { bitmap, state: State::Stored });
        }
        self.groups.blocks.get(&number).map(|kept| &kept.bitmap).ok_or_else(|| missing(number))
    }

    /// The inode bitmap of a group, verified.
    pub(super) fn inode_bitmap(&mut self, number: u32) -> Result<&Bitmap> {
        if !self.groups.inodes.contains_key(&number) {
            let bitmap = self.read_inode_bitmap(&*self.group(number)?)?;
            self.make_room()?;
            self.groups.inodes.insert(number, Kept { bitmap, state: State::Stored });
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
    fn a_bitmap_is_held_against_groups_that_nobody_has_looked_at() {
        if !have(&["mke2fs"]) {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 << 20).unwrap();
        let layout = ["-q", "-F", "-t", "ext2", "-b", "1024", "-g", "256", "-N", "640", "-O", "^resize_inode,^meta_bg"];
        run(Command::new("mke2fs").args(layout).arg(file.path()));
        let sound = std::fs::read(file.path()).unwrap();
        let bitmap = open(&sound).block_bitmap(0).unwrap().clone();
        // As many as the table of inodes has.
        let free = (0..250).rev().find(|bit| (*bit..bit + 4).all(|bit| !bitmap.get(bit))).unwrap();

        // The far group has one of its bitmaps, or its inodes, where group 0 has a free block.
        for field in [0, 4, 8] {
            let mut damaged = sound.clone();
            let field = 2 * BLOCK + FAR * 32 + field;
            damaged[field..field + 4].copy_from_slice(&(free + 1).to_le_bytes());
            let mut store = open(&damaged);
            let error = store.allocate_blocks(1, 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("own blocks as free"), "{error}");
        }
    }
}
