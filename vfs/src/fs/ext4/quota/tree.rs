//! A quota file: a tree that leads from an id, byte by byte, to the block with its entry.
//!
//! Blocks of 1 KiB: block 0 has the header, block 1 is the root of the tree; four levels of 256 references each lead
//! to blocks with up to 14 entries. Blocks without use, and those with room for an entry, form lists.
//!
//! Source: linux/fs/quota/quota_tree.h and quotaio_v2.h. Nothing in the file is trusted: every number is checked
//! against the blocks there are, and the depth is fixed, so that no search can turn in a circle.

use super::super::le;
use super::Kind;
use super::entry::{self, Change, Entry, Grace};
use crate::error::{Error, Layer, Result};
use std::collections::BTreeSet;

/// The size of a block of a quota file, in bytes.
pub(super) const BLOCK: usize = 1024;
/// The most blocks that a quota file may have: 2 GiB, the limit of e2fsprogs.
const BLOCKS_MAX: u32 = 1 << 21;

const ROOT: u32 = 1;
/// How many levels of nodes there are. The last refers to blocks with the entries of many, and so often to one of them.
const LEVELS: usize = 4;
const VERSION: u32 = 1;
/// Where the header's information begins.
const INFO: usize = 8;
/// The bytes of a block of entries before the first.
const HEADER: usize = 16;
const ENTRIES: usize = (BLOCK - HEADER) / entry::LENGTH;
const NEXT: usize = 0;
const PREVIOUS: usize = 4;
const COUNT: usize = 8;

/// The blocks of a quota file.
pub(super) trait QuotaBlocks {
    /// The size of the file in whole blocks.
    fn count(&self) -> u32;

    /// The content of a block.
    fn read(&self, number: u32) -> Result<Vec<u8>>;

    /// Gives a block a new content, and the file the size for it: it is in the file, or the one after the last.
    fn write(&mut self, number: u32, block: &[u8]) -> Result<()>;
}

/// An open quota file.
#[derive(Debug)]
pub(super) struct Tree<B> {
    blocks: B,
    header: Vec<u8>,
}

/// The fields of the header that change.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// How many blocks there are.
    Blocks,
    /// The first block without use.
    FreeBlock,
    /// The first block with room for an entry.
    FreeEntry,
}

impl<B: QuotaBlocks> Tree<B> {
    /// Reads the header. Errors: `Unsupported` where the format is another; `Corrupt`.
    pub(super) fn open(blocks: B, kind: Kind) -> Result<Self> {
        let header = blocks.read(0)?;
        let tree = Self { blocks, header };
        if le::u32_at(&tree.header, 0) != Some(kind.magic()) {
            return Err(corrupt(format!("it is no file of {} quotas", kind.name())));
        }
        match le::u32_at(&tree.header, 4) {
            Some(VERSION) => {}
            version => {
                let version = version.unwrap_or_default();
                return Err(Error::unsupported(Layer::Filesystem, format!("a quota file of version {version}")));
            }
        }
        let count = tree.field(Field::Blocks);
        if count <= ROOT || count > tree.blocks.count().min(BLOCKS_MAX) {
            return Err(corrupt(format!("it has {} blocks and counts {count}", tree.blocks.count())));
        }
        Ok(tree)
    }

    /// Counts a change of what an owner uses; one that has no entry gets one.
    ///
    /// Errors: `NoSpace` where the file cannot grow for it; `Corrupt`.
    pub(super) fn apply(&mut self, id: u32, change: Change, now: u64) -> Result<()> {
        let grace = |offset| le::u32_at(&self.header, offset).unwrap_or(0);
        let grace = Grace { now, space: grace(INFO), inodes: grace(INFO + 4) };
        let number = match self.find_block(id)? {
            Some(number) => number,
            None => self.insert(id)?,
        };
        let mut block = self.blocks.read(number)?;
        let mut slots = block.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(entry::LENGTH);
        let mut find =
            || slots.find_map(|slot| Entry::parse(slot).filter(|entry| entry.id() == id).map(|entry| (slot, entry)));
        let (slot, mut entry) =
            find().ok_or_else(|| corrupt(format!("its block {number} has no entry of {id}, to whom it belongs")))?;
        if find().is_some() {
            return Err(corrupt(format!("its block {number} has two entries of {id}")));
        }
        entry.apply(change, grace);
        slot.copy_from_slice(&entry.encode());
        self.blocks.write(number, &block)
    }

    /// Writes the header.
    pub(super) fn close(mut self) -> Result<B> {
        self.blocks.write(0, &self.header)?;
        Ok(self.blocks)
    }

    fn field(&self, field: Field) -> u32 {
        le::u32_at(&self.header, INFO + field.offset()).unwrap_or(0)
    }

    fn set_field(&mut self, field: Field, value: u32) {
        let _ = le::put(&mut self.header, INFO + field.offset(), &value.to_le_bytes());
    }

    /// A reference to a block that is neither the header nor the root; `None` where it refers to nothing.
    fn check(&self, number: u32) -> Result<Option<u32>> {
        match number {
            0 => Ok(None),
            number if number > ROOT && number < self.field(Field::Blocks) => Ok(Some(number)),
            number => Err(corrupt(format!("it refers to its block {number}"))),
        }
    }

    /// The block that has the entry of an id.
    fn find_block(&self, id: u32) -> Result<Option<u32>> {
        let mut number = ROOT;
        let mut above = Vec::new();
        for place in places(id) {
            let node = self.blocks.read(number)?;
            above.push(number);
            self.check_node(&node, &above)?;
            match self.check(reference(&node, place))? {
                Some(next) => number = next,
                None => return Ok(None),
            }
        }
        Ok(Some(number))
    }

    /// Fails where a node refers to a block twice, or to itself or a node above it: others would find entries there that
    /// are none.
    fn check_node(&self, node: &[u8], above: &[u32]) -> Result<()> {
        let mut seen = BTreeSet::new();
        for place in (0..BLOCK).step_by(4) {
            if let Some(number) = self.check(reference(node, place))?
                && (above.contains(&number) || !seen.insert(number) && above.len() < LEVELS)
            {
                return Err(corrupt(format!("it refers to its block {number} twice")));
            }
        }
        Ok(())
    }

    /// Makes an entry for an id that has none, and gives its block.
    fn insert(&mut self, id: u32) -> Result<u32> {
        let with_entry = self.place_entry(&Entry::new(id))?;
        let mut number = ROOT;
        let mut levels = places(id).into_iter().peekable();
        while let Some(place) = levels.next() {
            let mut node = self.blocks.read(number)?;
            let next = match (self.check(reference(&node, place))?, levels.peek()) {
                (Some(next), _) => next,
                (None, None) => {
                    put(&mut node, place, with_entry)?;
                    self.blocks.write(number, &node)?;
                    with_entry
                }
                (None, Some(_)) => {
                    let next = self.take_block()?;
                    put(&mut node, place, next)?;
                    self.blocks.write(number, &node)?;
                    next
                }
            };
            number = next;
        }
        Ok(number)
    }

    /// Puts a new entry into a block with room, and gives the block.
    fn place_entry(&mut self, entry: &Entry) -> Result<u32> {
        let (number, mut block) = match self.check(self.field(Field::FreeEntry))? {
            Some(number) => (number, self.blocks.read(number)?),
            None => {
                let number = self.take_block()?;
                self.set_field(Field::FreeEntry, number);
                (number, vec![0; BLOCK])
            }
        };
        let mut slots = block.get_mut(HEADER..).unwrap_or_default().chunks_exact_mut(entry::LENGTH);
        let slot = slots.find(|slot| Entry::parse(slot).is_none());
        let slot =
            slot.ok_or_else(|| corrupt(format!("its block {number} is full and in the list of those with room")))?;
        slot.copy_from_slice(&entry.encode());
        let count = le::u16_at(&block, COUNT).unwrap_or(0).saturating_add(1);
        let _ = le::put(&mut block, COUNT, &count.to_le_bytes());
        if usize::from(count) >= ENTRIES {
            self.unlist(&mut block)?;
        }
        self.blocks.write(number, &block)?;
        Ok(number)
    }

    /// Takes a block out of the list of those with room for entries.
    fn unlist(&mut self, block: &mut [u8]) -> Result<()> {
        let link = |offset| self.check(le::u32_at(block, offset).unwrap_or(0));
        let (next, previous) = (link(NEXT)?, link(PREVIOUS)?);
        if let Some(next) = next {
            self.relink(next, PREVIOUS, previous)?;
        }
        match previous {
            Some(previous) => self.relink(previous, NEXT, next)?,
            None => self.set_field(Field::FreeEntry, next.unwrap_or(0)),
        }
        let _ = le::put(block, NEXT, &[0; 8]);
        Ok(())
    }

    fn relink(&mut self, number: u32, offset: usize, to: Option<u32>) -> Result<()> {
        let mut block = self.blocks.read(number)?;
        let _ = le::put(&mut block, offset, &to.unwrap_or(0).to_le_bytes());
        self.blocks.write(number, &block)
    }

    /// A block of zeros for a new use: one that is free, or one more.
    fn take_block(&mut self) -> Result<u32> {
        let number = match self.check(self.field(Field::FreeBlock))? {
            Some(number) => {
                let next = le::u32_at(&self.blocks.read(number)?, NEXT).unwrap_or(0);
                self.check(next)?;
                self.set_field(Field::FreeBlock, next);
                number
            }
            None => {
                let number = self.field(Field::Blocks);
                if number >= BLOCKS_MAX {
                    return Err(Error::unsupported(Layer::Filesystem, "a quota file of more than 2 GiB"));
                }
                self.set_field(Field::Blocks, number.saturating_add(1));
                number
            }
        };
        self.blocks.write(number, &[0; BLOCK])?;
        Ok(number)
    }
}

impl Field {
    /// Where it is in the header's information.
    fn offset(self) -> usize {
        match self {
            Self::Blocks => 12,
            Self::FreeBlock => 16,
            Self::FreeEntry => 20,
        }
    }
}

/// Where the references of an id are in the blocks of the four levels, in bytes.
fn places(id: u32) -> [usize; LEVELS] {
    id.to_be_bytes().map(|byte| usize::from(byte).saturating_mul(4))
}

fn reference(node: &[u8], place: usize) -> u32 {
    le::u32_at(node, place).unwrap_or(0)
}

fn put(node: &mut [u8], place: usize, number: u32) -> Result<()> {
    le::put(node, place, &number.to_le_bytes()).ok_or_else(|| corrupt("a block of it is cut short"))
}

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::corrupt(Layer::Filesystem, format!("a quota file is damaged: {what}"))
}

#[cfg(test)]
mod tests;
