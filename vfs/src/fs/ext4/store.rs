//! The filesystem's own structures, found by number: blocks, groups and inodes.

use super::block_bytes::BlockBytes;
use super::cache::BlockCache;
use super::group::{Group, inode_table_blocks};
use super::groups::Groups;
use super::inode::{BASE_SIZE, HugeFiles, Inode, ROOT, flag};
use super::journal::{self, Settled};
use super::mmp;
use super::names::Names;
use super::new_blocks::NewBlocks;
use super::places::Places;
use super::quota::Ledger;
use super::superblock::{GroupChecksum, LENGTH, OFFSET, Superblock};
use super::{feature::ro_compat, superblock};
use crate::block::{BlockDevice, FilePart};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Mode, Recovered, Timestamp};
use std::sync::Arc;

/// A filesystem below the level of names.
#[derive(Debug)]
pub(super) struct Store {
    cache: BlockCache,
    /// Names that were looked up or made, and are still there.
    pub(super) names: Names,
    /// The superblock; changes of it are written by [`flush`](Self::flush).
    pub(super) superblock: Superblock,
    mode: Mode,
    state: State,
    pub(super) groups: Groups,
    pub(super) places: Places,
    new_blocks: NewBlocks,
    /// What was used more or less since the quota files were written.
    pub(super) quotas: Ledger,
    /// What was done first because the filesystem had not been unmounted cleanly.
    pub(super) recovered: Option<Recovered>,
}

/// Reads the superblock of a volume; errors as those of [`Superblock::parse`].
pub(super) fn read_superblock(device: &dyn BlockDevice) -> Result<Superblock> {
    let mut raw = vec![0; LENGTH];
    if device.size() < OFFSET + 1024 {
        return Err(Error::unsupported(Layer::Filesystem, "there is no ext4 filesystem: the volume is too small"));
    }
    device.read_at(&mut raw, OFFSET)?;
    Superblock::parse(raw, device.size())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unchanged,
    Changed,
}

impl Store {
    /// Reads and checks the superblock of a volume.
    pub(super) fn open(device: Arc<dyn BlockDevice>, mode: Mode) -> Result<Self> {
        let superblock = read_superblock(&*device)?;
        if mode != Mode::ReadOnly {
            superblock.check_writable()?;
            mmp::check(&*device, &superblock)?;
        }
        let Settled { device, superblock, transactions } = journal::settle(device, superblock, mode)?;
        if mode != Mode::ReadOnly {
            // What was replayed may say something else.
            superblock.check_writable()?;
        }
        let mut store = Self::over(device, superblock, mode);
        if transactions.is_some() {
            store.count_free()?;
            store.state = State::Changed;
        }
        let orphans = if mode == Mode::ReadOnly { 0 } else { store.finish_orphans()? };
        if transactions.is_some() || orphans > 0 {
            store.recovered = Some(Recovered { transactions: transactions.unwrap_or(0), orphans });
        } else if store.cache.device().is_as_found() {
            store.new_blocks.begin();
        }
        Ok(store)
    }

    /// A filesystem whose superblock is known, without a look at its state.
    pub(super) fn over(device: Arc<dyn BlockDevice>, superblock: Superblock, mode: Mode) -> Self {
        let quotas = Ledger::new(&superblock);
        Self {
            cache: BlockCache::new(device, superblock.block_len()),
            names: Names::default(),
            superblock,
            mode,
            state: State::Unchanged,
            groups: Groups::default(),
            places: Places::default(),
            new_blocks: NewBlocks::default(),
            quotas,
            recovered: None,
        }
    }

    /// Counts what is free: the kernel keeps the superblock's counters right only when it unmounts.
    ///
    /// Errors: `Corrupt` where a group without a checksum counts other than its bitmaps, and the filesystem is to be
    /// written: the superblock would get the wrong count.
    pub(super) fn count_free(&mut self) -> Result<()> {
        let (mut clusters, mut inodes) = (0, 0);
        let unsure = self.mode != Mode::ReadOnly && self.superblock.group_checksum == GroupChecksum::None;
        for number in 0..self.superblock.groups {
            let group = self.group(number)?;
            if unsure {
                let checked = self.block_bitmap(number).map(drop).and_then(|()| self.inode_bitmap(number).map(drop));
                checked.map_err(|error| error.with_hint("run e2fsck -fy on the filesystem"))?;
            }
            clusters += u64::from(group.free_clusters());
            inodes += u64::from(group.free_inodes());
        }
        self.superblock.free_blocks = clusters << self.superblock.cluster_shift;
        self.superblock.free_inodes = u32::try_from(inodes).unwrap_or(u32::MAX);
        Ok(())
    }

    /// The time of all changes; `Denied` where the filesystem is open for reading only.
    pub(super) fn now(&self) -> Result<Timestamp> {
        match self.mode {
            Mode::ReadWrite { now } => Ok(now),
            Mode::ReadOnly => {
                Err(Error::new(ErrorKind::Denied, Layer::Filesystem, "the filesystem is open for reading only"))
            }
        }
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_read_only(&self) -> bool {
        self.mode == Mode::ReadOnly
    }

    /// The size of a block, as a length in memory.
    pub(super) fn block_len(&self) -> usize {
        self.superblock.block_len()
    }

    /// Where a block lies, in bytes.
    pub(super) fn offset(&self, block: u64) -> Result<u64> {
        block
            .checked_mul(u64::from(self.superblock.block_size))
            .ok_or_else(|| Error::corrupt(Layer::Filesystem, format!("there is no block {block}")))
    }

    /// A block of metadata.
    pub(super) fn read(&self, block: u64) -> Result<BlockBytes> {
        self.superblock.check_blocks(block, 1)?;
        self.cache.read(block)
    }

    /// Gives a block of metadata a whole new content.
    pub(super) fn write(&mut self, block: u64, bytes: impl Into<BlockBytes>) -> Result<()> {
        self.superblock.check_blocks(block, 1)?;
        self.state = State::Changed;
        self.cache.write(block, bytes.into())
    }

    /// Changes a part of a block of metadata.
    pub(super) fn patch(&mut self, block: u64, offset: usize, part: &[u8]) -> Result<()> {
        self.state = State::Changed;
        self.cache.patch(block, offset, part)
    }

    /// Notes that something is to be written that no block has yet.
    pub(super) fn note_change(&mut self) {
        self.state = State::Changed;
    }

    /// Fills `buf` with content, from a byte of the volume.
    pub(super) fn read_data(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.cache.device().read_at(buf, offset)
    }

    /// Writes content into whole new blocks, from `block`.
    pub(super) fn write_data(&mut self, bytes: &[u8], block: u64) -> Result<()> {
        let count = bytes.len().div_ceil(self.block_len());
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.superblock.check_blocks(block, count)?;
        self.state = State::Changed;
        self.cache.forget(block, count);
        self.cache.device().write_at(bytes, self.offset(block)?)
    }

    /// Gives whole new blocks, from `block`, a part of a host file, as far as that needs no copy: says how many bytes were
    /// taken, a multiple of the block size.
    pub(super) fn lend_data(&mut self, part: &FilePart, block: u64) -> Result<u64> {
        let count = part.len.div_ceil(u64::from(self.superblock.block_size));
        self.superblock.check_blocks(block, count)?;
        self.state = State::Changed;
        self.cache.forget(block, count);
        self.cache.device().lend(part, self.offset(block)?)
    }

    /// Notes that blocks are free that were in use.
    pub(super) fn note_freed(&mut self, start: u64, len: u64) {
        self.new_blocks.forget(start, len);
    }

    /// Notes that blocks are in use that were free.
    pub(super) fn note_taken(&self, start: u64, len: u64) -> Result<()> {
        for run in self.new_blocks.among(start, len) {
            let (from, until) = (self.offset(run.start)?, self.offset(run.end)?);
            self.cache.device().note_unused(from, until.saturating_sub(from));
        }
        Ok(())
    }

    /// Drops what is held of blocks that are free now.
    pub(super) fn forget(&mut self, start: u64, len: u64) {
        self.state = State::Changed;
        self.cache.forget(start, len);
    }

    /// The group of an inode, and its place there; `Corrupt` where the filesystem does not have the inode.
    pub(super) fn inode_place(&self, number: u32) -> Result<(u32, u32)> {
        match number.checked_sub(1) {
            Some(index) if number <= self.superblock.inodes => {
                Ok((index / self.superblock.inodes_per_group, index % self.superblock.inodes_per_group))
            }
            _ => Err(Error::corrupt(Layer::Filesystem, format!("there is no inode {number}"))),
        }
    }

    /// The block of the inode table with the inode at a place of a group, and the byte in the block.
    pub(super) fn table_place(&self, group: &Group, index: u32) -> Result<(u64, usize)> {
        let byte = u64::from(index) * u64::from(self.superblock.inode_size);
        let block = byte / u64::from(self.superblock.block_size);
        if block >= u64::from(inode_table_blocks(&self.superblock)) {
            return Err(group.damaged("its inode table is too short"));
        }
        let offset = usize::try_from(byte % u64::from(self.superblock.block_size)).unwrap_or(usize::MAX);
        Ok((group.inode_table().saturating_add(block), offset))
    }

    /// An inode, in use or not.
    pub(super) fn inode(&self, number: u32) -> Result<Inode> {
        let (group, index) = self.inode_place(number)?;
        let (block, offset) = self.table_place(&*self.group(group)?, index)?;
        let bytes = self.read(block)?;
        let len = usize::from(self.superblock.inode_size);
        let raw = bytes.get(offset..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        Inode::parse(number, raw.to_vec(), self.superblock.seed)
    }

    /// An inode that a name leads to: the root or an ordinary one, in use; anything else is `Corrupt`.
    pub(super) fn named_inode(&self, number: u32) -> Result<Inode> {
        if number != ROOT && number < self.superblock.first_inode() {
            return Err(Error::corrupt(Layer::Filesystem, format!("a name leads to the reserved inode {number}")));
        }
        let inode = self.inode(number)?;
        if inode.links() == 0 {
            return Err(inode.damaged("a name leads to it, and it is not in use"));
        }
        if inode.has_flag(flag::EA_INODE) {
            return Err(inode.damaged("a name leads to it, and it is the value of an extended attribute"));
        }
        if self.mode != Mode::ReadOnly && self.was_never_used(number)? {
            return Err(inode.damaged("a name leads to it, and its group says that it was never used"));
        }
        inode.file_type()?;
        Ok(inode)
    }

    /// Writes an inode.
    pub(super) fn put_inode(&mut self, inode: &mut Inode) -> Result<()> {
        self.count_stored(inode)?;
        let (group, index) = self.inode_place(inode.number)?;
        let (block, offset) = self.table_place(&*self.group(group)?, index)?;
        let raw = inode.encode(self.superblock.seed);
        debug_assert!(raw.len() >= BASE_SIZE);
        self.patch(block, offset, raw)
    }

    /// Makes an inode's place zeros, whatever a former file has left there.
    pub(super) fn clear_inode(&mut self, number: u32) -> Result<()> {
        let (group, index) = self.inode_place(number)?;
        let (block, offset) = self.table_place(&*self.group(group)?, index)?;
        self.patch(block, offset, &vec![0; usize::from(self.superblock.inode_size)])
    }

    /// Whether files may count their room in blocks.
    pub(super) fn huge_files(&self) -> HugeFiles {
        if self.superblock.has_ro_compat(ro_compat::HUGE_FILE) { HugeFiles::Allowed } else { HugeFiles::Absent }
    }

    /// Writes everything that is held to the device; nothing where nothing changed.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.state == State::Unchanged || self.mode == Mode::ReadOnly {
            return Ok(());
        }
        let now = self.now()?;
        self.settle_quotas()?;
        self.store_groups()?;
        let size = u64::from(self.superblock.block_size);
        let offset = usize::try_from(superblock::OFFSET % size).unwrap_or(0);
        let raw = self.superblock.encode(now)?;
        self.cache.patch(superblock::OFFSET / size, offset, raw)?;
        self.cache.flush()?;
        self.state = State::Unchanged;
        self.cache.device().flush()
    }
}
