//! Content inside of inodes (`inline_data`): small files, links and directories that have no blocks.
//!
//! It begins where other inodes have their mapping and goes on in an attribute of the filesystem's own, which is there
//! even if it is empty. A directory is shown as the block that it would be, and becomes one when it no longer fits.
//!
//! Source: kernel Documentation/filesystems/ext4/inlinedata.rst.

use super::block_bytes::BlockBytes;
use super::dir_block::{BlockFormat, DirBlock, Placed, entry_length};
use super::inode::{BLOCK_AREA_LEN, Inode, flag};
use super::store::Store;
use super::xattr::{LargeValues, Room, Xattrs};
use super::{feature::incompat, le};
use crate::error::{Error, Layer, Result};
use crate::fs::{Content, FileType};

/// The bytes of an inline directory that have the number of its parent.
const PARENT: usize = 4;

impl Store {
    /// The content of a file that has it in its inode.
    pub(super) fn inline_content(&self, inode: &Inode) -> Result<Vec<u8>> {
        let xattrs = self.inline_xattrs(inode)?;
        let value = xattrs.inline_data().ok_or_else(|| inode.damaged("its inline data have no attribute"))?;
        let mut content = [inode.block_area(), value].concat();
        match usize::try_from(inode.size()) {
            Ok(size) if size <= content.len() => content.truncate(size),
            _ => return Err(inode.damaged("it is larger than its inline data")),
        }
        Ok(content)
    }

    /// How many bytes of content a file has room for in its inode; none where the filesystem has no inline data.
    pub(super) fn inline_room(&self, inode: &Inode) -> Result<Option<usize>> {
        if !self.superblock.has_incompat(incompat::INLINE_DATA) || inode.has_flag(flag::VERITY) {
            return Ok(None);
        }
        let room = self.inline_xattrs(inode)?.inline_room(self.xattr_room(inode));
        Ok(room.map(|room| BLOCK_AREA_LEN.saturating_add(room)))
    }

    /// Puts the whole content of a file, for which there is room, into its inode; the file has no blocks.
    pub(super) fn put_inline(&self, inode: &mut Inode, content: &[u8]) -> Result<()> {
        let (area, value) = content.split_at(content.len().min(BLOCK_AREA_LEN));
        let mut xattrs = self.inline_xattrs(inode)?;
        xattrs.set_inline_data(Some(value.to_vec()));
        inode.set_xattr_area(&xattrs.encode_area(self.xattr_room(inode))?)?;
        inode.set_flags(inode.flags() & !(flag::EXTENTS | flag::INDEX) | flag::INLINE_DATA);
        inode.set_block_area(area);
        inode.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Takes the content out of an inode, and gives the file a mapping without blocks.
    pub(super) fn take_inline(&self, inode: &mut Inode) -> Result<Vec<u8>> {
        let content = self.inline_content(inode)?;
        let mut xattrs = self.inline_xattrs(inode)?;
        xattrs.set_inline_data(None);
        inode.set_xattr_area(&xattrs.encode_area(self.xattr_room(inode))?)?;
        inode.set_flags(inode.flags() & !flag::INLINE_DATA);
        self.new_mapping(inode)?;
        Ok(content)
    }

    fn inline_xattrs(&self, inode: &Inode) -> Result<Xattrs> {
        let xattrs = Xattrs::parse(inode.xattr_area(), None)?;
        self.check_apart(inode, &xattrs)?;
        Ok(xattrs)
    }

    /// How much room a file has for attributes.
    pub(super) fn xattr_room(&self, inode: &Inode) -> Room {
        // The blocks of a value count as the file's, and e2fsck (1.47) takes the target of a short link with blocks for
        // their numbers: what the kernel would write there is damage to it.
        let allowed = self.superblock.has_incompat(incompat::EA_INODE) && !inode.is_short_link();
        let large = if allowed { LargeValues::Allowed } else { LargeValues::Refused };
        Room { inode: inode.xattr_area().len(), block: self.block_len(), large }
    }

    /// The block that an inline directory would be.
    pub(super) fn inline_directory(&self, inode: &Inode) -> Result<BlockBytes> {
        let content = self.inline_content(inode)?;
        let damaged = || inode.damaged("its inline directory is malformed");
        let parent = le::u32_at(&content, 0).ok_or_else(damaged)?;
        let format = self.directory_context(inode)?.format();
        let mut block = DirBlock::first(self.block_len(), format, inode.number, parent)?;
        let (first, second) = content.split_at_checked(BLOCK_AREA_LEN).ok_or_else(damaged)?;
        for region in [first.get(PARENT..).unwrap_or_default(), second] {
            if region.is_empty() {
                continue;
            }
            for slot in DirBlock::parse(region.to_vec(), unsealed(format))?.entries() {
                let is_dot = matches!(slot.name, b"." | b"..");
                if is_dot || block.insert(slot.name, slot.inode, slot.file_type)? == Placed::Full {
                    return Err(damaged());
                }
            }
        }
        block.seal()
    }

    /// Puts the entries of a directory's only block into its inode, or where they do not fit the block into the
    /// filesystem.
    pub(super) fn put_inline_directory(&mut self, inode: &mut Inode, block: &BlockBytes) -> Result<()> {
        let room = self.inline_room(inode)?;
        let content = room.map(|room| self.packed_directory(inode, block, room)).transpose()?.flatten();
        if let Some(content) = content {
            return self.put_inline(inode, &content);
        }
        if inode.has_flag(flag::INLINE_DATA) {
            self.take_inline(inode)?;
        }
        self.put_first_block(inode, block.clone())
    }

    /// Moves the content of a file out of its inode, into blocks.
    pub(super) fn move_out(&mut self, inode: &mut Inode) -> Result<()> {
        if inode.file_type()? == FileType::Directory {
            let block = self.inline_directory(inode)?;
            self.take_inline(inode)?;
            return self.put_first_block(inode, block);
        }
        let content = self.take_inline(inode)?;
        self.add_stored(inode, 0, &content, &Content::bytes([]))
    }

    fn put_first_block(&mut self, inode: &mut Inode, block: BlockBytes) -> Result<()> {
        let run = self.grow(inode, 0, 1)?;
        self.write(run.start, block)?;
        inode.set_size(u64::from(self.superblock.block_size));
        Ok(())
    }

    /// The inline content for the entries of a block; none where it would be larger than `room`.
    fn packed_directory(&self, inode: &Inode, block: &BlockBytes, room: usize) -> Result<Option<Vec<u8>>> {
        let format = self.directory_context(inode)?.format();
        let block = DirBlock::parse(block.clone(), format)?;
        let parent = block.find(b"..").map(|slot| slot.inode);
        let parent = parent.ok_or_else(|| Error::corrupt(Layer::Filesystem, "a directory without .."))?;
        let mut first = DirBlock::empty(BLOCK_AREA_LEN - PARENT, unsealed(format))?;
        let mut rest = Vec::new();
        for slot in block.entries().filter(|slot| !matches!(slot.name, b"." | b"..")) {
            if first.insert(slot.name, slot.inode, slot.file_type)? == Placed::Full {
                rest.push(slot);
            }
        }
        let mut content = parent.to_le_bytes().to_vec();
        content.extend_from_slice(&first.seal()?);
        let needed = rest.iter().map(|slot| entry_length(slot.name.len())).sum();
        if content.len().saturating_add(needed) > room {
            return Ok(None);
        }
        if needed > 0 {
            let mut second = DirBlock::empty(needed, unsealed(format))?;
            for slot in rest {
                if second.insert(slot.name, slot.inode, slot.file_type)? == Placed::Full {
                    return Err(inode.damaged("the entries of its inline directory do not fit"));
                }
            }
            content.extend_from_slice(&second.seal()?);
        }
        Ok(Some(content))
    }
}

/// The format of entries in an inode, whose checksum covers them.
fn unsealed(format: BlockFormat) -> BlockFormat {
    BlockFormat { checksum_seed: None, ..format }
}
