//! Values of extended attributes in inodes of their own (`ea_inode`): made, read, shared and freed.
//!
//! Such an inode has no name. It counts the attributes that refer to it, in fields that a file has for its version and
//! its time of change, and has a hash of the value instead of a time of access. Whoever refers to it is charged for
//! its room as if the value were its own alone.
//!
//! Source: kernel Documentation/filesystems/ext4/attributes.rst, and the comments of fs/ext4/xattr.c.

use super::checksum::crc32c;
use super::feature::incompat;
use super::inode::{Inode, Time, flag, type_bits};
use super::store::Store;
use super::xattr::{Apart, Stored, Value, Xattrs};
use super::xattr_format as format;
use crate::error::{Error, Layer, Result};
use crate::fs::{Content, FileType};
use std::collections::BTreeMap;

/// How an inode with a value knows who refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// It counts them, and each is charged for it.
    Counted,
    /// It names the one file that has it (an old way, of Lustre), which is not charged.
    Backpointer,
}

/// Whether anybody else refers to a file's attribute block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockOwner {
    /// The file alone, or there is no block.
    Sole,
    /// Others too; what the block refers to stays theirs.
    Shared,
}

impl Store {
    /// The value of an attribute of `owner`, wherever it is.
    pub(super) fn xattr_value(&self, owner: &Inode, stored: &Stored) -> Result<Vec<u8>> {
        let apart = match &stored.value {
            Value::Here(value) | Value::Large(value) => return Ok(value.clone()),
            Value::Apart(apart) => apart,
        };
        let (inode, style) = self.value_inode(owner, stored, apart)?;
        let mut value = vec![0; usize::try_from(apart.size).unwrap_or(0)];
        self.read_content(&inode, &mut value, 0)?;
        if style == Style::Counted && crc32c(self.superblock.value_seed, &value) != inode.value_hash() {
            return Err(inode.damaged("the hash of the attribute's value in it is wrong"));
        }
        Ok(value)
    }

    /// `Corrupt` where the values of a file's attributes are where none can be; asked before anything of them is written.
    /// e2fsck takes away such an attribute, and of an inode that has its content between them the content too.
    pub(super) fn check_apart(&self, owner: &Inode, xattrs: &Xattrs) -> Result<()> {
        if self.is_read_only() {
            return Ok(());
        }
        if xattrs.has_inline_data_apart() {
            return Err(owner.damaged("its inline data are said to be in another inode"));
        }
        for stored in xattrs.in_inode.iter().chain(&xattrs.in_block) {
            if let Value::Apart(apart) = &stored.value {
                self.check_apart_number(owner, apart)?;
            }
        }
        Ok(())
    }

    fn check_apart_number(&self, owner: &Inode, apart: &Apart) -> Result<()> {
        let possible = self.superblock.first_inode()..=self.superblock.inodes;
        if possible.contains(&apart.inode) && apart.inode != owner.number {
            return Ok(());
        }
        Err(owner.damaged(&format!("the value of an attribute is said to be in inode {}", apart.inode)))
    }

    /// The inode with a value, which has to be one and to be the right one.
    fn value_inode(&self, owner: &Inode, stored: &Stored, apart: &Apart) -> Result<(Inode, Style)> {
        self.check_apart_number(owner, apart)?;
        let inode = self.inode(apart.inode)?;
        let is_value = inode.has_flag(flag::EA_INODE) && inode.links() > 0 && inode.file_type()? == FileType::Regular;
        if !is_value || inode.size() != u64::from(apart.size) {
            return Err(inode.damaged("it is not the attribute's value that another inode says it is"));
        }
        if format::apart_hash_fits(&stored.name, inode.value_hash(), apart.hash) {
            Ok((inode, Style::Counted))
        } else if inode.value_parent() == owner.number && inode.generation() == owner.generation() {
            Ok((inode, Style::Backpointer))
        } else {
            Err(inode.damaged("its hash is not that of the attribute that refers to it"))
        }
    }

    /// Makes inodes for the values that are to have one; nobody is counted yet.
    pub(super) fn make_values(&mut self, owner: &Inode, xattrs: &mut Xattrs) -> Result<()> {
        for stored in xattrs.in_inode.iter_mut().chain(&mut xattrs.in_block) {
            if let Value::Large(value) = &stored.value {
                let inode = self.make_value(owner, value)?;
                let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
                let hash = format::apart_hash(&stored.name, inode.value_hash());
                stored.value = Value::Apart(Apart { inode: inode.number, size, hash });
            }
        }
        Ok(())
    }

    fn make_value(&mut self, owner: &Inode, value: &[u8]) -> Result<Inode> {
        let mut inode = self.allocate_inode(owner.number, FileType::Regular)?;
        inode.set_mode(type_bits(FileType::Regular) | 0o600);
        inode.set_uid(owner.uid());
        inode.set_gid(owner.gid());
        inode.set_flags(flag::EA_INODE);
        inode.set_links(1);
        self.new_mapping(&mut inode)?;
        self.add_stored(&mut inode, 0, &[], &Content::bytes(value))?;
        let now = self.now()?;
        inode.set_time(Time::Modification, now);
        inode.set_time(Time::Creation, now);
        inode.set_value_hash(crc32c(self.superblock.value_seed, value));
        inode.set_references(0);
        self.put_inode(&mut inode)?;
        Ok(inode)
    }

    /// Counts what a file no longer refers to and what it does now, and charges it for that. `block` says whose the
    /// attribute block was that it had before; where it has one now, it is its own.
    pub(super) fn count_values<'a>(
        &mut self,
        owner: &mut Inode,
        before: &'a Xattrs,
        after: &'a Xattrs,
        block: BlockOwner,
    ) -> Result<()> {
        let mut references: BTreeMap<u32, (&Stored, i64)> = BTreeMap::new();
        let mut refer = |list: &'a [Stored], change: i64| {
            for stored in list {
                if let Value::Apart(apart) = &stored.value {
                    let (_, count) = references.entry(apart.inode).or_insert((stored, 0));
                    *count = count.saturating_add(change);
                }
            }
        };
        refer(&before.in_inode, -1);
        if block == BlockOwner::Sole {
            refer(&before.in_block, -1);
        }
        refer(&after.in_inode, 1);
        refer(&after.in_block, 1);
        let (clusters_before, inodes_before) = self.charge_of(owner, before)?;
        let (clusters, inodes) = self.charge_of(owner, after)?;
        self.add_blocks(owner, clusters.saturating_sub(clusters_before))?;
        self.count_values_apart(owner, inodes.saturating_sub(inodes_before));
        for (stored, change) in references.into_values().filter(|(_, change)| *change != 0) {
            self.refer(owner, stored, change)?;
        }
        Ok(())
    }

    /// The clusters and inodes that a file is charged for the values of its attributes.
    pub(super) fn value_charge(&self, inode: &Inode) -> Result<(i64, i64)> {
        if !self.superblock.has_incompat(incompat::EA_INODE) {
            return Ok((0, 0));
        }
        self.charge_of(inode, &self.stored_xattrs(inode)?)
    }

    fn charge_of(&self, owner: &Inode, xattrs: &Xattrs) -> Result<(i64, i64)> {
        let (mut clusters, mut inodes) = (0_i64, 0_i64);
        for stored in xattrs.in_inode.iter().chain(&xattrs.in_block) {
            if let Value::Apart(apart) = &stored.value
                && let (_, Style::Counted) = self.value_inode(owner, stored, apart)?
            {
                let blocks = apart.size.div_ceil(self.superblock.block_size);
                clusters = clusters.saturating_add(i64::from(blocks.div_ceil(self.superblock.cluster_blocks())));
                inodes = inodes.saturating_add(1);
            }
        }
        Ok((clusters, inodes))
    }

    /// Counts references more or fewer to a value, and frees it where none is left.
    fn refer(&mut self, owner: &Inode, stored: &Stored, change: i64) -> Result<()> {
        let Value::Apart(apart) = &stored.value else { return Ok(()) };
        let (mut inode, style) = self.value_inode(owner, stored, apart)?;
        let references = match style {
            Style::Counted => inode.references(),
            Style::Backpointer if change < 0 => 1,
            Style::Backpointer => {
                return Err(Error::unsupported(Layer::Filesystem, "an attribute of Lustre in a shared block"));
            }
        };
        match references.checked_add_signed(change) {
            None => Err(inode.damaged("fewer attributes refer to it than do")),
            Some(0) => {
                inode.set_links(0);
                self.delete(inode)
            }
            Some(references) => {
                inode.set_references(references);
                self.put_inode(&mut inode)
            }
        }
    }
}
