//! A file as it is after the last tag, and what a copy of its inode does to it.

use super::super::damaged;
use super::ranges::Ranges;
use crate::error::{Error, Layer, Result};
use crate::fs::FileType;
use crate::fs::ext4::inode::{Inode, flag};
use crate::fs::ext4::store::Store;

/// The bytes of an inode before its mapping, and where what follows the mapping begins.
const BEFORE_MAPPING: usize = 0x28;
const AFTER_MAPPING: usize = 0x64;

/// A file as it is in the end.
#[derive(Debug)]
pub(super) struct After {
    pub(super) inode: Inode,
    pub(super) life: Life,
    /// How many names it has.
    pub(super) links: u16,
    /// Its blocks, where they may differ from those that are stored.
    pub(super) ranges: Option<Ranges>,
    /// Of a new directory: the one that it is in.
    pub(super) parent: Option<u32>,
    pub(super) change: Change,
}

/// Whether a file is the one that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It is.
    Stored,
    /// It is a new one, be it under a number that another has had.
    New,
}

/// Whether an inode has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is as it is stored.
    None,
    /// It is not.
    Some,
}

impl After {
    /// The file that is stored.
    pub(super) fn stored(inode: &Inode) -> Result<Self> {
        let links = match inode.file_type()? {
            // A directory has one name; its other links are those of what is in it.
            FileType::Directory => 1,
            _ => inode.links(),
        };
        Ok(Self { inode: inode.clone(), life: Life::Stored, links, ranges: None, parent: None, change: Change::None })
    }

    /// A new file as its first copy says, with the blocks that it has by now.
    pub(super) fn new(store: &Store, said: &Inode, early: Ranges) -> Result<Self> {
        let mut inode = said.clone();
        inode.set_deletion_time(0);
        if said.xattr_block() != 0 {
            return Err(attributes(said.number));
        }
        let ranges = match said.file_type()? {
            FileType::Directory => None,
            FileType::Regular if said.has_flag(flag::INLINE_DATA) => None,
            FileType::Regular if said.has_flag(flag::EXTENTS) => {
                store.clear_extents(&mut inode)?;
                Some(early)
            }
            _ => {
                let what = format!("the ext4 journal has a fast commit with inode {}, of a new kind", said.number);
                return Err(Error::unsupported(Layer::Filesystem, what)
                    .with_hint("boot the machine once and shut it down cleanly, or run e2fsck -fy on the filesystem"));
            }
        };
        Ok(Self { inode, life: Life::New, links: 0, ranges, parent: None, change: Change::Some })
    }

    /// The same file with what a copy of its inode says, apart from where its blocks are.
    pub(super) fn revised(self, store: &Store, said: &Inode, raw: &[u8]) -> Result<Self> {
        let base = &self.inode;
        let mut ranges = self.ranges;
        if said.xattr_block() != base.xattr_block() {
            return Err(attributes(base.number));
        }
        let mapping = |inode: &Inode| inode.flags() & (flag::EXTENTS | flag::INLINE_DATA);
        if base.file_type()? != FileType::Directory {
            match (mapping(base), mapping(said)) {
                (before, after) if before == after => {}
                (flag::INLINE_DATA, flag::EXTENTS) => return Err(moved_out(base.number)),
                // A new file has extents until it has content.
                (flag::EXTENTS, flag::INLINE_DATA) if is_empty(store, base, self.life, ranges.as_ref())? => {
                    ranges = None
                }
                _ => return Err(damaged(&format!("a fast commit changes how inode {} has its content", base.number))),
            }
        }
        let mut inode = base.overlaid(raw, BEFORE_MAPPING..AFTER_MAPPING)?;
        if said.has_flag(flag::INLINE_DATA) {
            inode.set_block_area(said.block_area());
        }
        // In a list of orphans this names the next, and is not the copy's to say.
        inode.set_deletion_time(base.deletion_time());
        let block_size = store.superblock.block_size;
        inode.set_sectors(base.sectors(block_size), block_size, store.huge_files())?;
        Ok(Self { inode, ranges, change: Change::Some, ..self })
    }
}

/// Content that leaves an inode is in the log only: in its new block may be anything.
pub(super) fn moved_out(number: u32) -> Error {
    let what = format!("the ext4 journal has a fast commit that moves the content of inode {number} out of it");
    Error::unsupported(Layer::Filesystem, what).with_hint("run e2fsck -fy on the filesystem")
}

fn attributes(number: u32) -> Error {
    let what = format!("the ext4 journal has a fast commit that changes the attributes of inode {number}");
    Error::unsupported(Layer::Filesystem, what)
        .with_hint("boot the machine once and shut it down cleanly, or run e2fsck -fy on the filesystem")
}

/// Whether a file with extents has none, stored or not.
fn is_empty(store: &Store, inode: &Inode, life: Life, ranges: Option<&Ranges>) -> Result<bool> {
    let stored = match life {
        Life::New => 0,
        Life::Stored => store.extent_root(inode)?.len(),
    };
    Ok(stored == 0 && ranges.is_none_or(|ranges| ranges.len() == 0))
}
