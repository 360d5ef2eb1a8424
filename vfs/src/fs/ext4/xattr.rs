//! Extended attributes, in the inode and in a block of their own.

use crate::error::Result;
use crate::fs::Xattr;

/// An attribute as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The number that stands for the name's prefix.
    pub(super) index: u8,
    /// The rest of the name, at most 255 bytes; may be empty where the prefix is the whole name.
    pub(super) name: Vec<u8>,
    /// The value, as stored (ACLs in ext4's own form).
    pub(super) value: Vec<u8>,
}

/// What the checksum of an attribute block depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockChecksum {
    /// The filesystem's seed (not the inode's).
    pub(super) seed: u32,
    /// The physical number of the block.
    pub(super) block_number: u64,
}

/// How much room a file has for attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The bytes of the inode after its extra fields: inode size - 128 - `i_extra_isize`; 0 where it has none.
    pub(super) inode: usize,
    /// The size of a block in bytes.
    pub(super) block: usize,
}

/// All attributes of a file, and where each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Xattrs {
    /// Those in the inode, in their order.
    pub(super) in_inode: Vec<Stored>,
    /// Those in the block, in their order; empty where the file needs none.
    pub(super) in_block: Vec<Stored>,
}

#[allow(unused_variables, reason = "to be filled")]
impl Xattrs {
    /// Reads both places: `area` is the inode after its extra fields (may be empty), `block` the attribute block with
    /// what its checksum needs where the filesystem has `metadata_csum`.
    pub(super) fn parse(area: &[u8], block: Option<(&[u8], Option<BlockChecksum>)>) -> Result<Self> {
        todo!()
    }

    /// The attributes as listxattr(2) and getxattr(2) give them, sorted by name.
    pub(super) fn list(&self) -> Result<Vec<Xattr>> {
        todo!()
    }

    /// Sets one, whether or not it was there: in the inode where it fits, else in the block; `NoSpace` where in neither.
    pub(super) fn set(&mut self, xattr: &Xattr, room: Room) -> Result<()> {
        todo!()
    }

    /// Removes one; `NotFound` where it is not there.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<()> {
        todo!()
    }

    /// The bytes for the inode after its extra fields, all `room.inode` of them.
    pub(super) fn encode_area(&self, room: Room) -> Result<Vec<u8>> {
        todo!()
    }

    /// The bytes of a fresh attribute block that one inode refers to; `None` where no block is needed.
    pub(super) fn encode_block(&self, room: Room, checksum: Option<BlockChecksum>) -> Result<Option<Vec<u8>>> {
        todo!()
    }
}

/// How many inodes share an attribute block; at least 1. The block is checked as [`Xattrs::parse`] does.
#[allow(unused_variables, reason = "to be filled")]
pub(super) fn block_references(block: &[u8], checksum: Option<BlockChecksum>) -> Result<u32> {
    todo!()
}

/// Takes one reference away from an attribute block, and gives how many are left: 0 means that the block is to be
/// freed (it is then unchanged), otherwise it is to be written back.
#[allow(unused_variables, reason = "to be filled")]
pub(super) fn release_block(block: &mut [u8], checksum: Option<BlockChecksum>) -> Result<u32> {
    todo!()
}
