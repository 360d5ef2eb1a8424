//! A directory as a whole: linear or indexed, over blocks that somebody else reads and writes.

use super::dir_block::FileTypes;
use super::htree::NameHash;
use crate::error::Result;
use crate::fs::FileType;

/// The blocks of one directory, by their logical number.
pub(super) trait DirStore {
    /// The size of a block in bytes.
    fn block_size(&self) -> usize;

    /// How many blocks the directory has: its size divided by the block size.
    fn blocks(&self) -> Result<u32>;

    /// Reads a whole block.
    fn read(&self, logical: u32) -> Result<Vec<u8>>;

    /// Writes a whole block.
    fn write(&mut self, logical: u32, block: &[u8]) -> Result<()>;

    /// Adds a block to the end, the directory's size included, and gives its number. Its content does not matter:
    /// a `write` of it always follows.
    fn append(&mut self) -> Result<u32>;
}

/// Whether the filesystem lets directories be indexed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IndexSupport {
    /// The `dir_index` feature is absent.
    Absent,
    /// It is there. `hash` has the superblock's default function; an existing root names its own.
    Present {
        /// Hash of a new index; its sign and seed hold for existing ones too.
        hash: NameHash,
        /// How deep an index may grow.
        depth: IndexDepth,
    },
}

/// How many levels of index blocks there may be below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IndexDepth {
    /// One: the usual limit.
    One,
    /// Two: with the `large_dir` feature.
    Two,
}

/// Whether the directory's inode has the INDEX flag (0x1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirLayout {
    /// It has not.
    Linear,
    /// It has.
    Indexed,
}

/// What has to be known of a directory, apart from its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirContext {
    /// The directory's seed ([`super::checksum::inode_seed`]) where the filesystem has `metadata_csum`.
    pub(super) checksum_seed: Option<u32>,
    /// Whether entries hold types.
    pub(super) file_types: FileTypes,
    /// What the filesystem says of indexes.
    pub(super) index: IndexSupport,
    /// What the inode says.
    pub(super) layout: DirLayout,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// 1 to 255 bytes, no slash, no NUL.
    pub(super) name: Vec<u8>,
    /// The inode; not zero, otherwise unchecked.
    pub(super) inode: u32,
    /// The type where the entry holds one that is known.
    pub(super) file_type: Option<FileType>,
}

/// What an insertion did beside inserting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inserted {
    /// The directory has just become indexed: its inode needs the INDEX flag now. The context already says so.
    pub(super) became_indexed: bool,
}

#[allow(unused_variables, reason = "to be filled")]
impl DirContext {
    /// The first block of a new directory, with `.` and `..`.
    pub(super) fn first_block(&self, block_size: usize, own: u32, parent: u32) -> Result<Vec<u8>> {
        todo!()
    }

    /// The entry of this name, `.` and `..` included.
    pub(super) fn find(&self, store: &impl DirStore, name: &[u8]) -> Result<Option<Entry>> {
        todo!()
    }

    /// All entries but `.` and `..`, in the order of the blocks.
    pub(super) fn list(&self, store: &impl DirStore) -> Result<Vec<Entry>> {
        todo!()
    }

    /// Whether there is nothing but `.` and `..`.
    pub(super) fn is_empty(&self, store: &impl DirStore) -> Result<bool> {
        todo!()
    }

    /// Adds a name; `Invalid` where it exists or is no name, `NoSpace` where the index cannot grow.
    pub(super) fn insert(
        &mut self,
        store: &mut impl DirStore,
        name: &[u8],
        inode: u32,
        file_type: FileType,
    ) -> Result<Inserted> {
        todo!()
    }

    /// Removes a name and gives the entry that it was; `NotFound` where it is missing.
    pub(super) fn remove(&self, store: &mut impl DirStore, name: &[u8]) -> Result<Entry> {
        todo!()
    }

    /// Makes an existing name point to another inode and gives the entry that it was; `NotFound` where it is missing.
    pub(super) fn replace(
        &self,
        store: &mut impl DirStore,
        name: &[u8],
        inode: u32,
        file_type: FileType,
    ) -> Result<Entry> {
        todo!()
    }

    /// Makes `..` point to another parent and gives the inode of the former one.
    pub(super) fn set_parent(&self, store: &mut impl DirStore, parent: u32) -> Result<u32> {
        todo!()
    }
}
