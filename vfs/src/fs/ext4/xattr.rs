//! Extended attributes, in the inode and in a block of their own: names, and which goes where.
//!
//! Source: kernel Documentation/filesystems/ext4/attributes.rst.

use super::{acl, xattr_format as format};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::Xattr;

/// The numbers that stand for a whole name.
const WHOLE: [(u8, &[u8]); 3] =
    [(ACL_ACCESS, b"system.posix_acl_access"), (ACL_DEFAULT, b"system.posix_acl_default"), (8, b"system.richacl")];
const ACL_ACCESS: u8 = 2;
const ACL_DEFAULT: u8 = 3;
/// The numbers that stand for a prefix.
const PREFIXES: [(u8, &[u8]); 4] = [(1, b"user."), (4, b"trusted."), (SECURITY, b"security."), (SYSTEM, b"system.")];
const SECURITY: u8 = 6;
const SYSTEM: u8 = 7;
/// The rest of the name of the attribute that has the content of a small file (`inline_data`).
const INLINE_DATA: &[u8] = b"data";

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
    /// Those in the block, in any order; empty where the file needs none.
    pub(super) in_block: Vec<Stored>,
}

impl Stored {
    /// Whether it has this name.
    pub(super) fn is(&self, index: u8, name: &[u8]) -> bool {
        self.index == index && self.name == name
    }

    /// As getxattr(2) gives it; `None` for what is not shown: attributes of the filesystem's own, and unknown ones.
    fn given(&self) -> Result<Option<Xattr>> {
        let whole = WHOLE.iter().find(|(index, _)| *index == self.index && self.name.is_empty());
        let prefix = PREFIXES.iter().find(|(index, _)| *index == self.index);
        let name = match (whole, prefix) {
            _ if self.is(SYSTEM, INLINE_DATA) => return Ok(None),
            (Some((_, name)), _) => name.to_vec(),
            (None, Some((_, prefix))) => [prefix, &self.name[..]].concat(),
            (None, None) => return Ok(None),
        };
        let value = match self.index {
            ACL_ACCESS | ACL_DEFAULT => acl::to_given(&self.value)?,
            _ => self.value.clone(),
        };
        Ok(Some(Xattr { name, value }))
    }

    fn from_given(xattr: &Xattr) -> Result<Self> {
        let (index, name) = stored_name(&xattr.name)?;
        let value = match index {
            ACL_ACCESS | ACL_DEFAULT => acl::to_stored(&xattr.value)?,
            _ => xattr.value.clone(),
        };
        Ok(Self { index, name: name.to_vec(), value })
    }
}

/// The number of a name's prefix and the rest; `Unsupported` where the prefix has none, `Invalid` where the rest can
/// be no name.
fn stored_name(name: &[u8]) -> Result<(u8, &[u8])> {
    if let Some((index, _)) = WHOLE.iter().find(|(_, whole)| *whole == name) {
        return Ok((*index, &[]));
    }
    let found = PREFIXES.iter().find_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)));
    let shown = name.escape_ascii();
    match found {
        Some((SYSTEM, INLINE_DATA)) | None => {
            Err(Error::unsupported(Layer::Filesystem, format!("ext4 has no extended attribute {shown}")))
        }
        Some((_, rest)) if rest.is_empty() || rest.len() > 255 || rest.contains(&0) => Err(Error::new(
            ErrorKind::Invalid,
            Layer::Filesystem,
            format!("not the name of an extended attribute: {shown}"),
        )),
        Some(found) => Ok(found),
    }
}

impl Xattrs {
    /// Reads both places: `area` is the inode after its extra fields (may be empty), `block` the attribute block with
    /// what its checksum needs where the filesystem has `metadata_csum`.
    pub(super) fn parse(area: &[u8], block: Option<(&[u8], Option<BlockChecksum>)>) -> Result<Self> {
        let in_inode = format::parse_area(area)?;
        let in_block = match block {
            Some((block, checksum)) => format::parse_block(block, checksum)?.1,
            None => Vec::new(),
        };
        Ok(Self { in_inode, in_block })
    }

    /// The attributes as listxattr(2) and getxattr(2) give them, sorted by name.
    pub(super) fn list(&self) -> Result<Vec<Xattr>> {
        let mut list = Vec::new();
        for stored in self.in_inode.iter().chain(&self.in_block) {
            list.extend(stored.given()?);
        }
        // The inode's is the one that counts where both have a name: it comes first, and a stable sort keeps it there.
        list.sort_by(|a: &Xattr, b| a.name.cmp(&b.name));
        list.dedup_by(|later, earlier| later.name == earlier.name);
        Ok(list)
    }

    /// Sets one, whether or not it was there: in the inode where it fits, else in the block, else by moving others;
    /// `NoSpace`, and nothing changed, where there is no way.
    pub(super) fn set(&mut self, xattr: &Xattr, room: Room) -> Result<()> {
        let new = Stored::from_given(xattr)?;
        let others = |list: &[Stored]| -> Vec<Stored> {
            list.iter().filter(|stored| !stored.is(new.index, &new.name)).cloned().collect()
        };
        let with = |list: &[Stored]| -> Vec<Stored> {
            let mut list = list.to_vec();
            match list.iter_mut().find(|stored| stored.is(new.index, &new.name)) {
                Some(stored) => *stored = new.clone(),
                None => list.push(new.clone()),
            }
            list
        };
        if self.in_inode.contains(&new) || (self.in_block.contains(&new) && others(&self.in_inode) == self.in_inode) {
            return Ok(());
        }
        // As the kernel does; what is not touched stays where it is.
        let in_inode = with(&self.in_inode);
        if format::area_length(&in_inode) <= room.inode {
            *self = Self { in_inode, in_block: others(&self.in_block) };
            return Ok(());
        }
        let in_block = with(&self.in_block);
        if format::block_length(&in_block) <= room.block {
            *self = Self { in_inode: others(&self.in_inode), in_block };
            return Ok(());
        }
        let mut all = others(&self.in_inode);
        all.extend(others(&self.in_block));
        all.push(new);
        *self = Self::placed(all, room)?;
        Ok(())
    }

    /// Places a whole list anew: the inode gets what is read most, labels and capabilities, and then the small ones.
    fn placed(mut all: Vec<Stored>, room: Room) -> Result<Self> {
        // Inline data can be nowhere else, and fit: they were there before.
        all.sort_by_key(|stored| {
            (
                !stored.is(SYSTEM, INLINE_DATA),
                stored.index != SECURITY,
                stored.name.len().saturating_add(stored.value.len()),
            )
        });
        let mut placed = Self::default();
        for stored in all {
            placed.in_inode.push(stored);
            if format::area_length(&placed.in_inode) > room.inode {
                placed.in_block.extend(placed.in_inode.pop());
            }
        }
        match format::block_length(&placed.in_block) <= room.block || placed.in_block.is_empty() {
            true => Ok(placed),
            false => Err(format::no_space()),
        }
    }

    /// Removes one; `NotFound` where it is not there.
    pub(super) fn remove(&mut self, name: &[u8]) -> Result<()> {
        let (index, name) = stored_name(name)?;
        let before = self.in_inode.len().saturating_add(self.in_block.len());
        self.in_inode.retain(|stored| !stored.is(index, name));
        self.in_block.retain(|stored| !stored.is(index, name));
        if self.in_inode.len().saturating_add(self.in_block.len()) == before {
            return Err(Error::new(ErrorKind::NotFound, Layer::Filesystem, "no such extended attribute"));
        }
        Ok(())
    }

    /// The part of a small file's content that is here; none where the file is no such file.
    pub(super) fn inline_data(&self) -> Option<&[u8]> {
        let found = self.in_inode.iter().find(|stored| stored.is(SYSTEM, INLINE_DATA));
        found.map(|stored| stored.value.as_slice())
    }

    /// Sets the part of a small file's content that is here, or takes it away.
    pub(super) fn set_inline_data(&mut self, value: Option<Vec<u8>>) {
        self.in_inode.retain(|stored| !stored.is(SYSTEM, INLINE_DATA));
        self.in_inode.extend(value.map(|value| Stored { index: SYSTEM, name: INLINE_DATA.to_vec(), value }));
    }

    /// How many bytes of a small file's content there is room for beside the other attributes; none where there is not
    /// even room for the attribute.
    pub(super) fn inline_room(&self, room: Room) -> Option<usize> {
        let mut empty = self.clone();
        empty.set_inline_data(Some(Vec::new()));
        let left = room.inode.checked_sub(format::area_length(&empty.in_inode))?;
        Some(left / 4 * 4)
    }

    /// The bytes for the inode after its extra fields, all `room.inode` of them.
    pub(super) fn encode_area(&self, room: Room) -> Result<Vec<u8>> {
        format::encode_area(&self.in_inode, room.inode)
    }

    /// The bytes of a fresh attribute block that one inode refers to; `None` where no block is needed.
    pub(super) fn encode_block(&self, room: Room, checksum: Option<BlockChecksum>) -> Result<Option<Vec<u8>>> {
        if self.in_block.is_empty() {
            return Ok(None);
        }
        let mut sorted = self.in_block.clone();
        sorted.sort_by(|a, b| (a.index, a.name.len(), &a.name).cmp(&(b.index, b.name.len(), &b.name)));
        format::encode_block(&sorted, room.block, checksum).map(Some)
    }
}

/// How many inodes share an attribute block; at least 1. The block is checked as [`Xattrs::parse`] does.
pub(super) fn block_references(block: &[u8], checksum: Option<BlockChecksum>) -> Result<u32> {
    format::parse_block(block, checksum).map(|(references, _)| references)
}

/// Takes one reference away from an attribute block, and gives how many are left: 0 means that the block is to be
/// freed (it is then unchanged), otherwise it is to be written back.
pub(super) fn release_block(block: &mut [u8], checksum: Option<BlockChecksum>) -> Result<u32> {
    let left = block_references(block, checksum)?.saturating_sub(1);
    if left > 0 {
        format::set_references(block, left, checksum)?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
