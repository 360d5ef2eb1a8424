//! One block of a directory's index: the root in block 0, or a node below it.
//!
//! Source: kernel Documentation/filesystems/ext4/directory.rst, "Hash Tree Directories". To a reader that knows no
//! index both look like empty directory blocks, the root with `.` and `..`.

use super::block_bytes::{BlockBytes, Found};
use super::checksum::crc32c;
use super::dir_block::{FileTypes, length_field, stored_length};
use super::htree::HashFunction;
use super::le;
use crate::error::{Error, Layer, Result};

/// Where the root has its `..` entry, its information, and its entries.
const ROOT_PARENT: usize = 12;
const ROOT_INFO: usize = 24;
const ROOT_ENTRIES: usize = 32;
/// Where a node has its entries.
const NODE_ENTRIES: usize = 8;
/// Bytes of an entry, and of the checksum tail.
const ENTRY: usize = 8;
const TAIL: usize = 8;
/// The upper bits of a block number are reserved.
const BLOCK_MASK: u32 = 0x0fff_ffff;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Block 0, with `.` and `..`.
    Root,
    /// Any other.
    Node,
}

impl Role {
    fn entries_at(self) -> usize {
        match self {
            Self::Root => ROOT_ENTRIES,
            Self::Node => NODE_ENTRIES,
        }
    }
}

/// A range of hashes and the block that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// The least hash of the range; with its lowest bit set the range continues that of the entry before, which has
    /// names of the same hash. Of a block's first entry it is not stored and reads as 0.
    pub(super) hash: u32,
    /// The logical number of the node or leaf.
    pub(super) block: u32,
}

/// An index block that is well formed and whose checksum, where there is one, was right.
#[derive(Clone, Debug)]
pub(super) struct IndexBlock {
    bytes: BlockBytes,
    checksum_seed: Option<u32>,
    role: Role,
    /// At least one, in ascending order of their hashes.
    entries: Vec<IndexEntry>,
}

impl IndexBlock {
    /// A root over one leaf, in place of the first block of a linear directory.
    pub(super) fn new_root(
        size: usize,
        checksum_seed: Option<u32>,
        file_types: FileTypes,
        (own, parent): (u32, u32),
        function: HashFunction,
        leaf: u32,
    ) -> Result<Self> {
        let entries = vec![IndexEntry { hash: 0, block: leaf }];
        let mut root = Self { bytes: vec![0; size].into(), checksum_seed, role: Role::Root, entries };
        let kind = match file_types {
            FileTypes::Stored => 2,
            FileTypes::Absent => 0,
        };
        let rest = length_field(size.saturating_sub(ROOT_PARENT), size)?;
        root.put(0, &own.to_le_bytes())?;
        root.put(4, &[12, 0, 1, kind, b'.'])?;
        root.put(ROOT_PARENT, &parent.to_le_bytes())?;
        root.put(ROOT_PARENT + 4, &rest.to_le_bytes())?;
        root.put(ROOT_PARENT + 6, &[2, kind, b'.', b'.'])?;
        root.put(ROOT_INFO + 4, &[function.version(), 8, 0, 0])?;
        Ok(root)
    }

    /// A node with these entries; the hash of the first is dropped.
    pub(super) fn new_node(size: usize, checksum_seed: Option<u32>, entries: Vec<IndexEntry>) -> Result<Self> {
        let mut node = Self { bytes: vec![0; size].into(), checksum_seed, role: Role::Node, entries };
        let whole = length_field(size, size)?;
        node.put(4, &whole.to_le_bytes())?;
        if let Some(first) = node.entries.first_mut() {
            first.hash = 0;
        }
        Ok(node)
    }

    /// Whether a block other than the first looks like a node: with checksums only a node does, without them an empty
    /// block of entries does too.
    pub(super) fn looks_like_node(bytes: &[u8]) -> bool {
        le::u32_at(bytes, 0) == Some(0)
            && le::u16_at(bytes, 4).is_some_and(|length| stored_length(length, bytes.len()) == bytes.len())
    }

    /// Checks a root as read; says nothing yet of whether its hash and depth are supported.
    pub(super) fn parse_root(bytes: impl Into<BlockBytes>, checksum_seed: Option<u32>) -> Result<Self> {
        let bytes = bytes.into();
        let rest = bytes.len().checked_sub(ROOT_PARENT);
        let well_formed = le::u32_at(&bytes, 0).is_some_and(|own| own != 0)
            && le::u16_at(&bytes, 4) == Some(12)
            && le::u8_at(&bytes, 6) == Some(1)
            && bytes.get(8..9) == Some(b".")
            && le::u32_at(&bytes, ROOT_PARENT).is_some_and(|parent| parent != 0)
            && le::u16_at(&bytes, ROOT_PARENT + 4).map(|length| stored_length(length, bytes.len())) == rest
            && le::u8_at(&bytes, ROOT_PARENT + 6) == Some(2)
            && bytes.get(ROOT_PARENT + 8..ROOT_PARENT + 10) == Some(b"..")
            && le::u32_at(&bytes, ROOT_INFO) == Some(0)
            && le::u8_at(&bytes, ROOT_INFO + 5) == Some(8);
        if !well_formed {
            return Err(corrupt("the root of a directory index is malformed"));
        }
        Self::parse(bytes, checksum_seed, Role::Root)
    }

    /// Checks a node as read.
    pub(super) fn parse_node(bytes: impl Into<BlockBytes>, checksum_seed: Option<u32>) -> Result<Self> {
        let bytes = bytes.into();
        if !Self::looks_like_node(&bytes) {
            return Err(corrupt("a node of a directory index is malformed"));
        }
        Self::parse(bytes, checksum_seed, Role::Node)
    }

    fn parse(bytes: BlockBytes, checksum_seed: Option<u32>, role: Role) -> Result<Self> {
        let mut block = Self { bytes, checksum_seed, role, entries: Vec::new() };
        let at = role.entries_at();
        let (Some(limit), Some(count)) = (le::u16_at(&block.bytes, at), le::u16_at(&block.bytes, at.saturating_add(2)))
        else {
            return Err(corrupt("a directory index block is too small"));
        };
        let (limit, count) = (usize::from(limit), usize::from(count));
        if limit != block.limit() || count == 0 || count > limit {
            return Err(corrupt(format!("a directory index block claims {count} of {limit} entries")));
        }
        let length = count.saturating_mul(ENTRY);
        let stored = block.bytes.get(at..).and_then(|bytes| bytes.get(..length)).unwrap_or_default();
        let mut entries = Vec::with_capacity(count);
        for (number, entry) in stored.chunks_exact(ENTRY).enumerate() {
            let (Some(hash), Some(block)) = (le::u32_at(entry, 0), le::u32_at(entry, 4)) else { break };
            let hash = if number == 0 { 0 } else { hash };
            entries.push(IndexEntry { hash, block: block & BLOCK_MASK });
        }
        if !entries.is_sorted_by_key(|entry| entry.hash) {
            return Err(corrupt("a directory index is out of order"));
        }
        block.entries = entries;
        if block.bytes.are(block.proof()) {
            return Ok(block);
        }
        match block.checksum()? {
            Some(sum) if le::u32_at(&block.bytes, block.tail_at().saturating_add(4)) != Some(sum) => {
                Err(corrupt("the checksum of a directory index block is wrong"))
            }
            _ => {
                block.bytes.note(block.proof());
                Ok(block)
            }
        }
    }

    /// The bytes to write.
    pub(super) fn seal(mut self) -> Result<BlockBytes> {
        let at = self.role.entries_at();
        let limit = self.limit();
        let fields = (u16::try_from(limit), u16::try_from(self.entries.len()), self.entries.first());
        let (Ok(limit_field), Ok(count), Some(&first)) = fields else {
            return Err(corrupt("a directory index block cannot hold its entries"));
        };
        if self.entries.len() > limit {
            return Err(corrupt("a directory index block cannot hold its entries"));
        }
        if let Some(bytes) = self.bytes.to_mut().get_mut(at..) {
            bytes.fill(0);
        }
        self.put(at, &limit_field.to_le_bytes())?;
        self.put(at.saturating_add(2), &count.to_le_bytes())?;
        self.put(at.saturating_add(4), &first.block.to_le_bytes())?;
        let mut offset = at;
        for entry in self.entries.clone().into_iter().skip(1) {
            offset = offset.saturating_add(ENTRY);
            self.put(offset, &entry.hash.to_le_bytes())?;
            self.put(offset.saturating_add(4), &entry.block.to_le_bytes())?;
        }
        if let Some(sum) = self.checksum()? {
            self.put(self.tail_at().saturating_add(4), &sum.to_le_bytes())?;
        }
        self.bytes.note(self.proof());
        Ok(self.bytes)
    }

    /// The entries: at least one, in ascending order.
    pub(super) fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The position of the entry whose range has `hash`: the last one that does not begin after it.
    pub(super) fn position(&self, hash: u32) -> usize {
        self.entries.partition_point(|entry| entry.hash <= hash).saturating_sub(1)
    }

    /// Whether there is no room for another entry.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit()
    }

    /// Adds an entry after the one at `position`; there has to be room.
    pub(super) fn insert_after(&mut self, position: usize, entry: IndexEntry) -> Result<()> {
        let at = position.saturating_add(1);
        if self.is_full() || at > self.entries.len() {
            return Err(corrupt("a directory index block is full"));
        }
        self.entries.insert(at, entry);
        Ok(())
    }

    /// Takes away the upper half of the entries; there have to be two or more.
    pub(super) fn take_upper_half(&mut self) -> Vec<IndexEntry> {
        self.entries.split_off(self.entries.len() / 2)
    }

    /// Takes all entries away and leaves one to `block`, one level deeper; of a root only.
    pub(super) fn push_down(&mut self, block: u32) -> Result<Vec<IndexEntry>> {
        let levels = self.levels().saturating_add(1);
        self.put(ROOT_INFO + 6, &[levels])?;
        Ok(std::mem::replace(&mut self.entries, vec![IndexEntry { hash: 0, block }]))
    }

    /// Of a root: the hash function; `Unsupported` where it is unknown, or where the root has flags.
    pub(super) fn function(&self) -> Result<HashFunction> {
        match (le::u8_at(&self.bytes, ROOT_INFO + 4), le::u8_at(&self.bytes, ROOT_INFO + 7)) {
            (Some(version), Some(0)) => HashFunction::from_version(version),
            _ => Err(Error::unsupported(Layer::Filesystem, "a directory index with flags")),
        }
    }

    /// Of a root: how many levels of nodes are below it.
    pub(super) fn levels(&self) -> u8 {
        le::u8_at(&self.bytes, ROOT_INFO + 6).unwrap_or(u8::MAX)
    }

    /// Of a root: the inodes of `.` and `..`.
    pub(super) fn dots(&self) -> (u32, u32) {
        let field = |offset| le::u32_at(&self.bytes, offset).unwrap_or_default();
        (field(0), field(ROOT_PARENT))
    }

    /// Of a root: makes `..` another inode.
    pub(super) fn set_parent(&mut self, parent: u32) -> Result<()> {
        self.put(ROOT_PARENT, &parent.to_le_bytes())
    }

    /// How many entries there is room for.
    fn limit(&self) -> usize {
        self.tail_at().saturating_sub(self.role.entries_at()) / ENTRY
    }

    /// Where the entries end: at the block's end, or at the checksum before it.
    fn tail_at(&self) -> usize {
        match self.checksum_seed {
            Some(_) => self.bytes.len().saturating_sub(TAIL),
            None => self.bytes.len(),
        }
    }

    /// What its bytes are once the checksum is right.
    fn proof(&self) -> Found {
        Found::Index(self.role, self.checksum_seed)
    }

    /// The checksum: of everything up to the last entry in use, and of the tail with a checksum of zero.
    fn checksum(&self) -> Result<Option<u32>> {
        let Some(seed) = self.checksum_seed else { return Ok(None) };
        let used = self.role.entries_at().saturating_add(self.entries.len().saturating_mul(ENTRY));
        let (Some(used), Some(tail)) = (self.bytes.get(..used), self.bytes.get(self.tail_at()..)) else {
            return Err(corrupt("a directory index block is too small"));
        };
        let reserved = tail.get(..4).unwrap_or_default();
        Ok(Some(crc32c(crc32c(crc32c(seed, used), reserved), &[0; 4])))
    }

    fn put(&mut self, offset: usize, field: &[u8]) -> Result<()> {
        le::put(self.bytes.to_mut(), offset, field).ok_or_else(|| corrupt("a directory index block is too small"))
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Filesystem, message)
}
