//! ext4, read and written in userspace.
//!
//! From the bottom up: `cache` has blocks, `store` finds inodes in them and `groups` keeps the groups, `mapping` knows the blocks of a
//! file, `allocate` finds free ones, `directory` and `dir` find names, `tree` and `file` change things; `quota` counts
//! for whom. This module has the driver's face only.
//!
//! Source of the format: kernel Documentation/filesystems/ext4.

mod acl;
mod acl_mode;
mod allocate;
mod allocate_inode;
mod attributes;
mod bitmap;
mod block_bytes;
mod block_map;
mod block_map_write;
mod cache;
mod checksum;
mod claim;
mod dir;
mod dir_block;
mod directory;
mod extent;
mod extent_write;
mod feature;
mod file;
mod group;
mod groups;
mod htree;
mod index;
mod index_block;
mod inline;
mod inode;
mod journal;
mod le;
mod mapping;
mod mmp;
mod names;
mod new_blocks;
mod orphan;
mod orphan_file;
mod places;
mod quota;
mod store;
mod superblock;
#[cfg(test)]
mod testing;
mod tree;
mod xattr;
mod xattr_format;
mod xattr_value;

use super::{
    Attrs, Content, DirEntry, Features, FileType, GuestFs, Lookup, Metadata, Mode, Ownership, SetAttrs, SpecialFile,
    Xattr,
};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::path::Resolved;
use directory::DirView;
use std::sync::Arc;
use store::Store;
use tree::NewFile;

/// An open ext4 filesystem.
#[derive(Debug)]
pub struct Ext4 {
    store: Store,
}

impl Ext4 {
    /// Opens the filesystem on `volume`.
    ///
    /// Errors: `Unsupported` where there is none, where it has a feature that is not known (or, for
    /// [`Mode::ReadWrite`], cannot be written), or is not clean, with a hint; `Corrupt` where it contradicts itself.
    pub fn open(volume: Arc<dyn BlockDevice>, mode: Mode) -> Result<Self> {
        Ok(Self { store: Store::open(volume, mode)? })
    }
}

/// Says of an error which file it is about.
fn about<T>(at: &Resolved, result: Result<T>) -> Result<T> {
    result.map_err(|error| if error.guest_path().is_none() { error.with_guest_path(at.as_bytes()) } else { error })
}

fn wrong_type(what: &str) -> Error {
    Error::new(ErrorKind::WrongType, Layer::Filesystem, what)
}

impl Lookup for Ext4 {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        about(at, self.store.walk(at).and_then(|inode| inode.map(|inode| inode.metadata()).transpose()))
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        about(at, self.store.existing(at).and_then(|inode| self.store.link_target(&inode)))
    }
}

impl GuestFs for Ext4 {
    fn features(&self) -> Features {
        let superblock = &self.store.superblock;
        let block_size = u64::from(superblock.block_size);
        Features {
            name: "ext4",
            label: superblock.label(),
            uuid: spell_uuid(superblock.uuid()),
            block_size: superblock.block_size,
            total_bytes: superblock.blocks.saturating_mul(block_size),
            free_bytes: superblock.free_blocks.saturating_mul(block_size),
            free_inodes: u64::from(superblock.free_inodes),
            feature_names: superblock.features.names(),
            recovered: self.store.recovered,
        }
    }

    fn part(&self, _at: &Resolved) -> usize {
        0
    }

    fn ownership(&self, _at: &Resolved) -> Ownership {
        Ownership::Kept
    }

    fn read_at(&self, at: &Resolved, buf: &mut [u8], offset: u64) -> Result<usize> {
        about(
            at,
            self.store.existing(at).and_then(|inode| match inode.file_type()? {
                FileType::Regular => self.store.read_content(&inode, buf, offset),
                _ => Err(wrong_type("not a regular file")),
            }),
        )
    }

    fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>> {
        about(
            at,
            self.store.existing(at).and_then(|inode| match inode.file_type()? {
                FileType::Directory => self.list(&inode),
                _ => Err(wrong_type("not a directory")),
            }),
        )
    }

    fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        about(at, self.store.existing(at).and_then(|inode| inode.special()))
    }

    fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        about(at, self.store.existing(at).and_then(|inode| self.store.xattrs(&inode)))
    }

    fn create_file(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        about(at, self.store.make(at, NewFile::Regular, attrs))
    }

    fn create_dir(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        about(at, self.store.make(at, NewFile::Directory, attrs))
    }

    fn create_symlink(&mut self, at: &Resolved, target: &[u8], attrs: Attrs) -> Result<()> {
        about(at, self.store.make(at, NewFile::Symlink(target), attrs))
    }

    fn create_special(&mut self, at: &Resolved, special: SpecialFile, attrs: Attrs) -> Result<()> {
        about(at, self.store.make(at, NewFile::Special(special), attrs))
    }

    fn hard_link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()> {
        about(at, self.store.link(existing, at))
    }

    fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        about(at, self.store.put(at, content))
    }

    fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        about(at, self.store.append(at, content))
    }

    fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()> {
        about(at, self.store.resize(at, size))
    }

    fn set_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        about(at, self.store.mutable(at).and_then(|mut inode| self.store.set_attrs(&mut inode, attrs)))
    }

    fn set_xattr(&mut self, at: &Resolved, xattr: &Xattr) -> Result<()> {
        about(at, self.store.mutable(at).and_then(|mut inode| self.store.set_xattr(&mut inode, xattr)))
    }

    fn remove_xattr(&mut self, at: &Resolved, name: &[u8]) -> Result<()> {
        about(at, self.store.mutable(at).and_then(|mut inode| self.store.remove_xattr(&mut inode, name)))
    }

    fn remove(&mut self, at: &Resolved) -> Result<()> {
        about(at, self.store.unlink(at))
    }

    fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        about(from, self.store.rename(from, to))
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        self.store.flush()
    }
}

impl Ext4 {
    fn list(&self, directory: &inode::Inode) -> Result<Vec<DirEntry>> {
        directory.check_names()?;
        let view = DirView { store: &self.store, inode: directory };
        let entries = self.store.directory_context(directory)?.list(&view)?;
        entries
            .into_iter()
            .map(|entry| {
                let file_type = match entry.file_type {
                    Some(file_type) => file_type,
                    None => self.store.named_inode(entry.inode)?.file_type()?,
                };
                Ok(DirEntry { name: entry.name, file_type })
            })
            .collect()
    }
}

fn spell_uuid(uuid: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
