//! The attributes of files: owner, mode, times and extended attributes.

use super::acl_mode as acl;
use super::feature::incompat;
use super::inode::{Inode, Time, flag};
use super::store::Store;
use super::xattr::{BlockChecksum, Room, Value, Xattrs, block_references, release_block};
use super::xattr_value::BlockOwner;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{FileType, SetAttrs, Xattr};

impl Store {
    /// The extended attributes of a file, sorted by name.
    pub(super) fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>> {
        self.stored_xattrs(inode)?.list(|stored| self.xattr_value(inode, stored))
    }

    /// Changes owner, mode and time of modification.
    pub(super) fn set_attrs(&mut self, inode: &mut Inode, attrs: SetAttrs) -> Result<()> {
        if let Some(uid) = attrs.uid {
            inode.set_uid(uid);
        }
        if let Some(gid) = attrs.gid {
            inode.set_gid(gid);
        }
        // What the file has so far is the new owner's before anything else changes.
        self.put_inode(inode)?;
        if let Some(mtime) = attrs.mtime {
            inode.set_time(Time::Modification, mtime);
        }
        if let Some(mode) = attrs.mode {
            inode.set_mode(inode.mode() & 0o170_000 | mode & 0o7777);
            let access = self.xattrs(inode)?.into_iter().find(|xattr| xattr.name == acl::ACCESS);
            if let Some(mut access) = access {
                // The permissions of a file with a list are in the list too.
                acl::set_mode(&mut access.value, mode)?;
                self.change_xattrs(inode, |xattrs, room| xattrs.set(&access, room))?;
            }
        }
        self.touch_inode(inode)
    }

    /// Sets an extended attribute, whether or not it was there; `WrongType` where Linux has none of the name on such a
    /// file.
    pub(super) fn set_xattr(&mut self, inode: &mut Inode, xattr: &Xattr) -> Result<()> {
        let file_type = inode.file_type()?;
        let possible = match xattr.name.as_slice() {
            acl::ACCESS => file_type != FileType::Symlink,
            acl::DEFAULT => file_type == FileType::Directory,
            name if name.starts_with(b"user.") => matches!(file_type, FileType::Regular | FileType::Directory),
            _ => true,
        };
        if !possible {
            return Err(Error::new(
                ErrorKind::WrongType,
                Layer::Filesystem,
                "this type of file cannot have the attribute",
            ));
        }
        if xattr.name == acl::ACCESS {
            inode.set_mode(acl::mode(&xattr.value, inode.mode())?);
        }
        if !self.xattrs(inode)?.contains(xattr) {
            self.change_xattrs(inode, |xattrs, room| xattrs.set(xattr, room))?;
        }
        self.superblock.set_ext_attr();
        self.touch_inode(inode)
    }

    /// Removes an extended attribute; `NotFound` where it is not there.
    pub(super) fn remove_xattr(&mut self, inode: &mut Inode, name: &[u8]) -> Result<()> {
        self.change_xattrs(inode, |xattrs, _| xattrs.remove(name))?;
        self.touch_inode(inode)
    }

    fn touch_inode(&mut self, inode: &mut Inode) -> Result<()> {
        inode.set_time(Time::Change, self.now()?);
        self.put_inode(inode)
    }

    /// The extended attributes as they are stored.
    pub(super) fn stored_xattrs(&self, inode: &Inode) -> Result<Xattrs> {
        let block = inode.xattr_block();
        let xattrs = if block == 0 {
            Xattrs::parse(inode.xattr_area(), None)?
        } else {
            let bytes = self.read(block)?;
            Xattrs::parse(inode.xattr_area(), Some((&bytes, self.xattr_checksum(block))))?
        };
        let mut all = xattrs.in_inode.iter().chain(&xattrs.in_block);
        if !self.superblock.has_incompat(incompat::EA_INODE) && all.any(|one| matches!(one.value, Value::Apart(_))) {
            return Err(inode.damaged("the value of an attribute is in another inode, without ea_inode"));
        }
        self.check_apart(inode, &xattrs)?;
        Ok(xattrs)
    }

    fn xattr_checksum(&self, block_number: u64) -> Option<BlockChecksum> {
        self.superblock.seed.map(|seed| BlockChecksum { seed, block_number })
    }

    fn change_xattrs(&mut self, inode: &mut Inode, change: impl Fn(&mut Xattrs, Room) -> Result<()>) -> Result<()> {
        let room = self.xattr_room(inode);
        let before = self.stored_xattrs(inode)?;
        let mut xattrs = before.clone();
        match change(&mut xattrs, room) {
            Err(error) if error.kind() == ErrorKind::NoSpace && inode.has_flag(flag::INLINE_DATA) => {
                // The content can be elsewhere.
                xattrs.set_inline_data(None);
                change(&mut xattrs, room)?;
                self.move_out(inode)?;
            }
            changed => changed?,
        }
        self.make_values(inode, &mut xattrs)?;
        let block_owner = self.block_owner(inode)?;
        self.store_xattrs(inode, &xattrs, room, block_owner)?;
        self.count_values(inode, &before, &xattrs, block_owner)
    }

    fn store_xattrs(&mut self, inode: &mut Inode, xattrs: &Xattrs, room: Room, block_owner: BlockOwner) -> Result<()> {
        if room.inode > 0 {
            inode.set_xattr_area(&xattrs.encode_area(room)?)?;
        }
        if xattrs.in_block.is_empty() {
            return self.drop_xattr_block(inode);
        }
        let old = inode.xattr_block();
        let block = if old != 0 && block_owner == BlockOwner::Sole {
            old
        } else {
            self.drop_xattr_block(inode)?;
            let (group, _) = self.inode_place(inode.number)?;
            let run = self.allocate_blocks(self.superblock.group_start(group), 1)?;
            self.add_blocks(inode, 1)?;
            inode.set_xattr_block(run.start);
            run.start
        };
        match xattrs.encode_block(room, self.xattr_checksum(block))? {
            Some(bytes) => self.write(block, bytes),
            None => self.drop_xattr_block(inode),
        }
    }

    /// Whose a file's attribute block is: one that other files refer to stays theirs.
    fn block_owner(&self, inode: &Inode) -> Result<BlockOwner> {
        let block = inode.xattr_block();
        if block == 0 || block_references(&self.read(block)?, self.xattr_checksum(block))? == 1 {
            return Ok(BlockOwner::Sole);
        }
        Ok(BlockOwner::Shared)
    }

    /// Takes all extended attributes from a file that is about to be freed.
    pub(super) fn drop_xattrs(&mut self, inode: &mut Inode) -> Result<()> {
        if !self.superblock.has_incompat(incompat::EA_INODE) {
            return self.drop_xattr_block(inode);
        }
        let (before, block_owner) = (self.stored_xattrs(inode)?, self.block_owner(inode)?);
        self.drop_xattr_block(inode)?;
        self.count_values(inode, &before, &Xattrs::default(), block_owner)
    }

    /// Takes a file's reference to its attribute block away, and frees the block where that was the last.
    fn drop_xattr_block(&mut self, inode: &mut Inode) -> Result<()> {
        let block = inode.xattr_block();
        if block == 0 {
            return Ok(());
        }
        let mut bytes = self.read(block)?.to_vec();
        if release_block(&mut bytes, self.xattr_checksum(block))? == 0 {
            self.free_blocks(block, 1)?;
        } else {
            self.write(block, bytes)?;
        }
        inode.set_xattr_block(0);
        self.add_blocks(inode, -1)
    }
}
