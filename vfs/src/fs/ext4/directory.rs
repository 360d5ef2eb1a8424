//! Directories as files: where their blocks lie, and the way from a path to an inode.

use super::block_bytes::BlockBytes;
use super::dir::{DirContext, DirLayout, DirStore, IndexDepth, IndexSupport};
use super::dir_block::FileTypes;
use super::extent::Segment;
use super::feature::{compat, incompat};
use super::inode::{Inode, ROOT, flag};
use super::store::Store;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::FileType;
use crate::path::Resolved;

/// The largest directory that is taken, in bytes: millions of names, and still a bound for a hostile image.
const SIZE_MAX: u64 = 256 << 20;

/// A directory's blocks, for reading.
#[derive(Debug)]
pub(super) struct DirView<'a> {
    pub(super) store: &'a Store,
    pub(super) inode: &'a Inode,
}

/// A directory's blocks, for reading and changing; the inode is changed in memory only.
#[derive(Debug)]
pub(super) struct DirFile<'a> {
    pub(super) store: &'a mut Store,
    pub(super) inode: &'a mut Inode,
}

impl DirStore for DirView<'_> {
    fn block_size(&self) -> usize {
        self.store.block_len()
    }

    fn blocks(&self) -> Result<u32> {
        self.store.directory_blocks(self.inode)
    }

    fn read(&self, logical: u32) -> Result<BlockBytes> {
        self.store.read_directory(self.inode, logical)
    }

    fn write(&mut self, _logical: u32, _block: BlockBytes) -> Result<()> {
        Err(Error::new(ErrorKind::Denied, Layer::Filesystem, "the directory is open for reading only"))
    }

    fn append(&mut self) -> Result<u32> {
        Err(Error::new(ErrorKind::Denied, Layer::Filesystem, "the directory is open for reading only"))
    }
}

impl DirStore for DirFile<'_> {
    fn block_size(&self) -> usize {
        self.store.block_len()
    }

    fn blocks(&self) -> Result<u32> {
        self.store.directory_blocks(self.inode)
    }

    fn read(&self, logical: u32) -> Result<BlockBytes> {
        self.store.read_directory(self.inode, logical)
    }

    fn write(&mut self, logical: u32, block: BlockBytes) -> Result<()> {
        if self.inode.has_flag(flag::INLINE_DATA) {
            return self.store.put_inline_directory(self.inode, &block);
        }
        let number = self.store.directory_block(self.inode, logical)?;
        self.store.write(number, block)
    }

    fn append(&mut self) -> Result<u32> {
        if self.inode.has_flag(flag::INLINE_DATA) {
            self.store.move_out(self.inode)?;
        }
        let logical = self.blocks()?;
        let size = self.inode.size().saturating_add(u64::from(self.store.superblock.block_size));
        if size > SIZE_MAX {
            return Err(Error::new(ErrorKind::NoSpace, Layer::Filesystem, "the directory cannot grow further"));
        }
        // Names behind a hole, or behind the end, would be lost: the mapping is damaged, or the size is.
        self.store.directory_block(self.inode, logical.saturating_sub(1))?;
        if let Segment::Blocks { start, .. } = self.store.segment(self.inode, u64::from(logical))?
            && self.store.read(start)?.iter().any(|byte| *byte != 0)
        {
            return Err(self.inode.damaged("the directory has blocks behind its end"));
        }
        // What was set aside behind the end would be in the way.
        self.store.cut(self.inode, u64::from(logical))?;
        let run = self.store.grow(self.inode, logical, 1)?;
        self.store.write(run.start, vec![0; self.block_size()])?;
        self.inode.set_size(size);
        Ok(logical)
    }
}

impl Store {
    /// How many blocks a directory has.
    fn directory_blocks(&self, inode: &Inode) -> Result<u32> {
        if inode.has_flag(flag::INLINE_DATA) {
            return Ok(1);
        }
        let size = inode.size();
        let block_size = u64::from(self.superblock.block_size);
        if size == 0 || !size.is_multiple_of(block_size) {
            return Err(inode.damaged("the size of a directory is impossible"));
        }
        if size > SIZE_MAX {
            return Err(Error::unsupported(Layer::Filesystem, format!("a directory of {size} bytes")));
        }
        u32::try_from(size / block_size).map_err(|_| inode.damaged("the size of a directory is impossible"))
    }

    fn read_directory(&self, inode: &Inode, logical: u32) -> Result<BlockBytes> {
        if inode.has_flag(flag::INLINE_DATA) {
            return self.inline_directory(inode);
        }
        let block = self.directory_block(inode, logical)?;
        self.read(block)
    }

    fn directory_block(&self, inode: &Inode, logical: u32) -> Result<u64> {
        match self.segment(inode, u64::from(logical))? {
            Segment::Blocks { start, .. } => Ok(start),
            Segment::Hole(_) => Err(inode.damaged(&format!("the directory's block {logical} is missing"))),
        }
    }

    /// What is to be known of a directory apart from its blocks.
    pub(super) fn directory_context(&self, inode: &Inode) -> Result<DirContext> {
        // The hashes of a casefolded directory are not those of its names: an index is passed over.
        let index = if self.superblock.has_compat(compat::DIR_INDEX) && !inode.has_flag(flag::CASEFOLD) {
            IndexSupport::Present {
                hash: self.superblock.name_hash()?,
                depth: if self.superblock.has_incompat(incompat::LARGE_DIR) {
                    IndexDepth::Two
                } else {
                    IndexDepth::One
                },
            }
        } else {
            IndexSupport::Absent
        };
        Ok(DirContext {
            checksum_seed: self.superblock.seed.map(|seed| inode.seed(seed)),
            file_types: if self.superblock.has_incompat(incompat::FILETYPE) {
                FileTypes::Stored
            } else {
                FileTypes::Absent
            },
            index,
            layout: if inode.has_flag(flag::INDEX) { DirLayout::Indexed } else { DirLayout::Linear },
        })
    }

    /// The inode of a name in a directory.
    pub(super) fn child(&self, directory: &Inode, name: &[u8]) -> Result<Option<Inode>> {
        if directory.file_type()? != FileType::Directory {
            return Err(Error::new(ErrorKind::WrongType, Layer::Filesystem, "not a directory"));
        }
        if let Some(known) = self.names.get(directory.number, name) {
            return known.map(|inode| self.named_inode(inode)).transpose();
        }
        let found = self.find_child(directory, name)?;
        self.names.keep(directory.number, name, found.as_ref().map(|inode| inode.number));
        Ok(found)
    }

    /// The same, from the directory's blocks.
    fn find_child(&self, directory: &Inode, name: &[u8]) -> Result<Option<Inode>> {
        directory.check_names()?;
        let view = DirView { store: self, inode: directory };
        let Some(entry) = self.directory_context(directory)?.find(&view, name)? else { return Ok(None) };
        let inode = self.named_inode(entry.inode)?;
        let actual = inode.file_type()?;
        if entry.file_type.is_some_and(|said| said != actual) {
            return Err(inode.damaged("the directory gives it another type"));
        }
        // In an encrypted directory nothing is looked up, and it is not removed.
        if actual == FileType::Directory && inode.check_names().is_ok() {
            // A directory with two names would be a cycle, or could be removed twice.
            let view = DirView { store: self, inode: &inode };
            let parent = self.directory_context(&inode)?.find(&view, b"..")?;
            if inode.number == ROOT || parent.is_none_or(|parent| parent.inode != directory.number) {
                return Err(inode.damaged("the directory's '..' does not lead to where it is"));
            }
        }
        Ok(Some(inode))
    }

    /// The inode at a path; `None` where it, or a directory before it, is missing, and `WrongType` where something
    /// before it is no directory.
    pub(super) fn walk(&self, at: &Resolved) -> Result<Option<Inode>> {
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else { return self.root().map(Some) };
        match self.walk_to_directory(parent)? {
            Some(directory) => self.child(&directory, name),
            None => Ok(None),
        }
    }

    /// The same for what is to be a directory in which something is looked up, most often the same one again.
    pub(super) fn walk_to_directory(&self, at: Resolved) -> Result<Option<Inode>> {
        if let Some(known) = self.names.way(&at) {
            return self.named_inode(known).map(Some);
        }
        let mut inode = self.root()?;
        for name in at.components() {
            match self.child(&inode, name)? {
                Some(child) => inode = child,
                None => return Ok(None),
            }
        }
        self.names.keep_way(at, inode.number);
        Ok(Some(inode))
    }

    fn root(&self) -> Result<Inode> {
        let inode = self.named_inode(ROOT)?;
        if inode.file_type()? == FileType::Directory {
            return Ok(inode);
        }
        Err(inode.damaged("the root is no directory"))
    }
}
