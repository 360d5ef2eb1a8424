//! A directory as a whole: linear or indexed, over blocks that somebody else reads and writes.

use super::block_bytes::BlockBytes;
use super::dir_block::{BlockFormat, DirBlock, FileTypes, Placed, Slot, check_name};
use super::htree::NameHash;
use super::index::{self, Located};
use super::index_block::IndexBlock;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::FileType;
use std::ops::ControlFlow;

/// The blocks of one directory, by their logical number.
pub(super) trait DirStore {
    /// The size of a block in bytes.
    fn block_size(&self) -> usize;

    /// How many blocks the directory has: its size divided by the block size.
    fn blocks(&self) -> Result<u32>;

    /// Reads a whole block; a hole, as anything else that no directory has, is `Corrupt`.
    fn read(&self, logical: u32) -> Result<BlockBytes>;

    /// Writes a whole block.
    fn write(&mut self, logical: u32, block: BlockBytes) -> Result<()>;

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

impl From<Slot<'_>> for Entry {
    fn from(slot: Slot<'_>) -> Self {
        Self { name: slot.name.to_vec(), inode: slot.inode, file_type: slot.file_type }
    }
}

impl DirContext {
    /// The first block of a new directory, with `.` and `..`.
    pub(super) fn first_block(&self, block_size: usize, own: u32, parent: u32) -> Result<BlockBytes> {
        DirBlock::first(block_size, self.format(), own, parent)?.seal()
    }

    /// The entry of this name, `.` and `..` included.
    pub(super) fn find(&self, store: &impl DirStore, name: &[u8]) -> Result<Option<Entry>> {
        if self.layout == DirLayout::Indexed
            && matches!(name, b"." | b"..")
            && let First::Root(root) = self.first(store)?
        {
            let (own, parent) = root.dots();
            let inode = if name == b"." { own } else { parent };
            return Ok(Some(Entry { name: name.to_vec(), inode, file_type: Some(FileType::Directory) }));
        }
        Ok(self.locate(store, name)?.and_then(|(_, block)| block.find(name).map(Entry::from)))
    }

    /// All entries but `.` and `..`, in the order of the blocks.
    pub(super) fn list(&self, store: &impl DirStore) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.scan(store, |_, block| {
            entries.extend(block.entries().filter(|slot| !is_dot(slot)).map(Entry::from));
            ControlFlow::<()>::Continue(())
        })?;
        Ok(entries)
    }

    /// Whether there is nothing but `.` and `..`.
    pub(super) fn is_empty(&self, store: &impl DirStore) -> Result<bool> {
        let found = self.scan(store, |_, block| match block.entries().find(|slot| !is_dot(slot)) {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })?;
        Ok(found.is_none())
    }

    /// Adds a name; `Invalid` where it exists or is no name, `NoSpace` where the index cannot grow, `Unsupported`
    /// where the directory has an index that cannot be kept.
    pub(super) fn insert(
        &mut self,
        store: &mut impl DirStore,
        name: &[u8],
        inode: u32,
        file_type: FileType,
    ) -> Result<Inserted> {
        check_name(name)?;
        let entry = Entry { name: name.to_vec(), inode, file_type: Some(file_type) };
        if self.layout == DirLayout::Indexed {
            index::insert(self, store, &entry)?;
            return Ok(Inserted { became_indexed: false });
        }
        if self.find(store, name)?.is_some() {
            return Err(taken());
        }
        let blocks = store.blocks()?;
        for number in 0..blocks {
            let mut block = self.block(store, number)?;
            if block.insert(name, inode, entry.file_type)? == Placed::Here {
                store.write(number, block.seal()?)?;
                return Ok(Inserted { became_indexed: false });
            }
        }
        if let (1, IndexSupport::Present { hash, .. }) = (blocks, self.index) {
            index::convert(self, store, hash.function)?;
            self.layout = DirLayout::Indexed;
            index::insert(self, store, &entry)?;
            return Ok(Inserted { became_indexed: true });
        }
        let mut block = DirBlock::empty(store.block_size(), self.format())?;
        if block.insert(name, inode, entry.file_type)? == Placed::Full {
            return Err(Error::corrupt(Layer::Filesystem, "a directory block cannot hold one name"));
        }
        let number = store.append()?;
        store.write(number, block.seal()?)?;
        Ok(Inserted { became_indexed: false })
    }

    /// Removes a name and gives the entry that it was; `NotFound` where it is missing.
    pub(super) fn remove(&self, store: &mut impl DirStore, name: &[u8]) -> Result<Entry> {
        self.edit(store, name, |block| block.remove(name))
    }

    /// Makes an existing name point to another inode and gives the entry that it was; `NotFound` where it is missing.
    pub(super) fn replace(
        &self,
        store: &mut impl DirStore,
        name: &[u8],
        inode: u32,
        file_type: FileType,
    ) -> Result<Entry> {
        self.edit(store, name, |block| block.change(name, inode, Some(file_type)))
    }

    /// Makes `..` point to another parent and gives the inode of the former one.
    pub(super) fn set_parent(&self, store: &mut impl DirStore, parent: u32) -> Result<u32> {
        match self.first(store)? {
            First::Root(mut root) => {
                let (_, former) = root.dots();
                root.set_parent(parent)?;
                store.write(0, root.seal()?)?;
                Ok(former)
            }
            First::Entries(mut block) => {
                let former = block.find(b"..").map(|slot| slot.inode);
                let former = former.ok_or_else(|| Error::corrupt(Layer::Filesystem, "a directory without .."))?;
                block.change(b"..", parent, Some(FileType::Directory))?;
                store.write(0, block.seal()?)?;
                Ok(former)
            }
        }
    }

    /// What all blocks of entries have in common.
    pub(super) fn format(&self) -> BlockFormat {
        BlockFormat { file_types: self.file_types, checksum_seed: self.checksum_seed }
    }

    /// A block of entries.
    pub(super) fn block(&self, store: &impl DirStore, number: u32) -> Result<DirBlock> {
        DirBlock::parse(read(store, number)?, self.format())
    }

    fn edit(
        &self,
        store: &mut impl DirStore,
        name: &[u8],
        change: impl FnOnce(&mut DirBlock) -> Result<bool>,
    ) -> Result<Entry> {
        check_name(name)?;
        let missing = || Error::new(ErrorKind::NotFound, Layer::Filesystem, "no such entry in the directory");
        let (number, mut block) = self.locate(store, name)?.ok_or_else(missing)?;
        let former = block.find(name).map(Entry::from).ok_or_else(missing)?;
        change(&mut block)?;
        store.write(number, block.seal()?)?;
        Ok(former)
    }

    /// The block that has a name, by the index where there is one that is supported.
    fn locate(&self, store: &impl DirStore, name: &[u8]) -> Result<Option<Located>> {
        if self.layout == DirLayout::Indexed {
            match index::locate(self, store, name) {
                // An index that cannot be read is no obstacle: the leaves have all the names.
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                found => return found,
            }
        }
        self.scan(store, |number, block| match block.find(name).is_some() {
            true => ControlFlow::Break((number, block)),
            false => ControlFlow::Continue(()),
        })
    }

    /// Shows every block of entries once, until `visit` breaks off.
    fn scan<T>(
        &self,
        store: &impl DirStore,
        mut visit: impl FnMut(u32, DirBlock) -> ControlFlow<T>,
    ) -> Result<Option<T>> {
        for number in 0..store.blocks()? {
            let block = match (self.layout, number) {
                (DirLayout::Linear, _) => self.block(store, number)?,
                (DirLayout::Indexed, 0) => match self.first(store)? {
                    First::Root(_) => continue,
                    First::Entries(block) => block,
                },
                (DirLayout::Indexed, _) => {
                    let bytes = read(store, number)?;
                    if IndexBlock::looks_like_node(&bytes) {
                        // With checksums it can be nothing else, and has to be right; without, it has no entries.
                        if self.checksum_seed.is_some() {
                            IndexBlock::parse_node(bytes, self.checksum_seed)?;
                        }
                        continue;
                    }
                    DirBlock::parse(bytes, self.format())?
                }
            };
            if let ControlFlow::Break(found) = visit(number, block) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What block 0 is.
    fn first(&self, store: &impl DirStore) -> Result<First> {
        if self.layout == DirLayout::Linear {
            return Ok(First::Entries(self.block(store, 0)?));
        }
        match IndexBlock::parse_root(read(store, 0)?, self.checksum_seed) {
            Ok(root) => Ok(First::Root(root)),
            // Where the feature is absent, the inode's flag is a leftover, and entries may have overwritten the root.
            Err(error) => match (self.index, self.block(store, 0)) {
                (IndexSupport::Absent, Ok(block)) => Ok(First::Entries(block)),
                _ => Err(error),
            },
        }
    }
}

/// The first block of a directory.
enum First {
    /// The root of an index.
    Root(IndexBlock),
    /// Entries, `.` and `..` among them.
    Entries(DirBlock),
}

/// Reads a block and makes sure that it is a whole one.
pub(super) fn read(store: &impl DirStore, number: u32) -> Result<BlockBytes> {
    let bytes = store.read(number)?;
    match bytes.len() == store.block_size() {
        true => Ok(bytes),
        false => Err(Error::corrupt(Layer::Filesystem, "a directory block is cut short")),
    }
}

/// The error of an insertion of a name that is there.
pub(super) fn taken() -> Error {
    Error::new(ErrorKind::Invalid, Layer::Filesystem, "the directory has an entry of this name")
}

fn is_dot(slot: &Slot<'_>) -> bool {
    matches!(slot.name, b"." | b"..")
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
