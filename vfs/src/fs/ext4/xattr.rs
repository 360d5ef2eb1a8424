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

/// The longest value, in bytes: what setxattr(2) takes.
pub(super) const VALUE_MAX: u32 = 65536;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Beside the entry, as stored (ACLs in ext4's own form).
    Here(Vec<u8>),
    /// In an inode of its own (`ea_inode`).
    Apart(Apart),
    /// To be put into an inode of its own, which is not there yet.
    Large(Vec<u8>),
}

/// Where a value is that is not beside its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Apart {
    /// The inode, unchecked.
    pub(super) inode: u32,
    /// The length in bytes, 1 to [`VALUE_MAX`].
    pub(super) size: u32,
    /// The entry's hash.
    pub(super) hash: u32,
}

/// Whether values may have an inode of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LargeValues {
    /// With the `ea_inode` feature.
    Allowed,
    /// Without.
    Refused,
}

/// An attribute as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The number that stands for the name's prefix.
    pub(super) index: u8,
    /// The rest of the name, at most 255 bytes; may be empty where the prefix is the whole name.
    pub(super) name: Vec<u8>,
    /// The value.
    pub(super) value: Value,
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
    /// Whether there is room outside of both.
    pub(super) large: LargeValues,
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

    /// How many bytes of value are beside the entry.
    pub(super) fn length(&self) -> usize {
        match &self.value {
            Value::Here(value) => value.len(),
            Value::Apart(_) | Value::Large(_) => 0,
        }
    }

    /// As getxattr(2) gives it; `None` for what is not shown: attributes of the filesystem's own, and unknown ones.
    fn given(&self, read: impl FnOnce(&Self) -> Result<Vec<u8>>) -> Result<Option<Xattr>> {
        let whole = WHOLE.iter().find(|(index, _)| *index == self.index && self.name.is_empty());
        let prefix = PREFIXES.iter().find(|(index, _)| *index == self.index);
        let name = match (whole, prefix) {
            _ if self.is(SYSTEM, INLINE_DATA) => return Ok(None),
            (Some((_, name)), _) => name.to_vec(),
            (None, Some((_, prefix))) => [prefix, &self.name[..]].concat(),
            (None, None) => return Ok(None),
        };
        let value = read(self)?;
        let value = match self.index {
            ACL_ACCESS | ACL_DEFAULT => acl::to_given(&value)?,
            _ => value,
        };
        Ok(Some(Xattr { name, value }))
    }

    fn from_given(xattr: &Xattr) -> Result<Self> {
        let (index, name) = stored_name(&xattr.name)?;
        let value = match index {
            ACL_ACCESS | ACL_DEFAULT => acl::to_stored(&xattr.value)?,
            _ => xattr.value.clone(),
        };
        Ok(Self { index, name: name.to_vec(), value: Value::Here(value) })
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

    /// The attributes as listxattr(2) and getxattr(2) give them, sorted by name. `read` gives the value of one.
    pub(super) fn list(&self, read: impl Fn(&Stored) -> Result<Vec<u8>>) -> Result<Vec<Xattr>> {
        let mut list = Vec::new();
        for stored in self.in_inode.iter().chain(&self.in_block) {
            list.extend(stored.given(&read)?);
        }
        // The inode's is the one that counts where both have a name: it comes first, and a stable sort keeps it there.
        list.sort_by(|a: &Xattr, b| a.name.cmp(&b.name));
        list.dedup_by(|later, earlier| later.name == earlier.name);
        Ok(list)
    }

    /// Sets one, whether or not it was there: in the inode where it fits, else in the block, else outside of both where
    /// that is allowed, else by moving others; `NoSpace`, and nothing changed, where there is no way.
    pub(super) fn set(&mut self, xattr: &Xattr, room: Room) -> Result<()> {
        let new = Stored::from_given(xattr)?;
        if self.in_inode.contains(&new)
            || (self.in_block.contains(&new) && others(&self.in_inode, &new) == self.in_inode)
        {
            return Ok(());
        }
        // As the kernel does; what is not touched stays where it is.
        let too_large = format::is_large(new.length(), room.block);
        let inline = (room.large == LargeValues::Refused || !too_large).then(|| new.clone());
        if let Some(placed) = inline.and_then(|new| self.with(new, room)) {
            *self = placed;
            return Ok(());
        }
        if room.large == LargeValues::Allowed && !xattr.value.is_empty() {
            if xattr.value.len() > usize::try_from(VALUE_MAX).unwrap_or(usize::MAX) {
                return Err(format::no_space());
            }
            let Value::Here(value) = new.value else { return Err(format::no_space()) };
            *self = self.with(Stored { value: Value::Large(value), ..new }, room).ok_or_else(format::no_space)?;
            return Ok(());
        }
        let mut all = others(&self.in_inode, &new);
        all.extend(others(&self.in_block, &new));
        all.push(new);
        *self = Self::placed(all, room)?;
        Ok(())
    }

    /// With one more or another attribute, in the inode or in the block; `None` where it fits into neither.
    fn with(&self, new: Stored, room: Room) -> Option<Self> {
        let put = |list: &[Stored]| -> Vec<Stored> {
            let mut list = list.to_vec();
            match list.iter_mut().find(|stored| stored.is(new.index, &new.name)) {
                Some(stored) => *stored = new.clone(),
                None => list.push(new.clone()),
            }
            list
        };
        let in_inode = put(&self.in_inode);
        if format::area_length(&in_inode) <= room.inode {
            return Some(Self { in_inode, in_block: others(&self.in_block, &new) });
        }
        let in_block = put(&self.in_block);
        let former = self.in_block.iter().find(|stored| stored.is(new.index, &new.name));
        // Where values can go elsewhere, a part of the block is kept for names; one that takes no more than before may stay.
        let leaves_room = room.large == LargeValues::Refused
            || new.length() == 0
            || former.is_some_and(|former| former.length().div_ceil(4) == new.length().div_ceil(4))
            || format::leaves_room_for_names(&in_block, room.block);
        let fits = format::block_length(&in_block) <= room.block && leaves_room;
        fits.then(|| Self { in_inode: others(&self.in_inode, &new), in_block })
    }

    /// Places a whole list anew: the inode gets what is read most, labels and capabilities, and then the small ones.
    fn placed(mut all: Vec<Stored>, room: Room) -> Result<Self> {
        // Inline data can be nowhere else, and fit: they were there before.
        all.sort_by_key(|stored| {
            (
                !stored.is(SYSTEM, INLINE_DATA),
                stored.index != SECURITY,
                stored.name.len().saturating_add(stored.length()),
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
        found.and_then(|stored| match &stored.value {
            Value::Here(value) => Some(value.as_slice()),
            Value::Apart(_) | Value::Large(_) => None,
        })
    }

    /// Whether that part is said to be in another inode, which is nowhere done.
    pub(super) fn has_inline_data_apart(&self) -> bool {
        let all = self.in_inode.iter().chain(&self.in_block);
        all.filter(|stored| stored.is(SYSTEM, INLINE_DATA)).any(|stored| matches!(stored.value, Value::Apart(_)))
    }

    /// Sets the part of a small file's content that is here, or takes it away.
    pub(super) fn set_inline_data(&mut self, value: Option<Vec<u8>>) {
        self.in_inode.retain(|stored| !stored.is(SYSTEM, INLINE_DATA));
        let new = |value| Stored { index: SYSTEM, name: INLINE_DATA.to_vec(), value: Value::Here(value) };
        self.in_inode.extend(value.map(new));
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

/// All of a list but the one that a new one replaces.
fn others(list: &[Stored], new: &Stored) -> Vec<Stored> {
    list.iter().filter(|stored| !stored.is(new.index, &new.name)).cloned().collect()
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
