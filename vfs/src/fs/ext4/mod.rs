//! ext4, read and written in userspace.

mod acl;
mod checksum;
mod dir;
mod dir_block;
mod htree;
mod index;
mod index_block;
mod le;
#[cfg(test)]
mod testing;
mod xattr;
mod xattr_format;

use super::{Attrs, Content, DirEntry, Features, GuestFs, Lookup, Metadata, Mode, SetAttrs, Xattr};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::path::Resolved;
use std::sync::Arc;

/// An open ext4 filesystem.
#[derive(Debug)]
pub struct Ext4 {}

impl Ext4 {
    /// Opens the filesystem on `volume`.
    pub fn open(_volume: Arc<dyn BlockDevice>, _mode: Mode) -> Result<Self> {
        Err(Error::unsupported(Layer::Filesystem, "not yet"))
    }
}

impl Lookup for Ext4 {
    fn lookup(&self, _at: &Resolved) -> Result<Option<Metadata>> {
        unreachable!()
    }
    fn read_link(&self, _at: &Resolved) -> Result<Vec<u8>> {
        unreachable!()
    }
}

impl GuestFs for Ext4 {
    fn features(&self) -> Features {
        unreachable!()
    }
    fn read_at(&self, _at: &Resolved, _buf: &mut [u8], _offset: u64) -> Result<usize> {
        unreachable!()
    }
    fn read_dir(&self, _at: &Resolved) -> Result<Vec<DirEntry>> {
        unreachable!()
    }
    fn xattrs(&self, _at: &Resolved) -> Result<Vec<Xattr>> {
        unreachable!()
    }
    fn create_file(&mut self, _at: &Resolved, _attrs: Attrs) -> Result<()> {
        unreachable!()
    }
    fn create_dir(&mut self, _at: &Resolved, _attrs: Attrs) -> Result<()> {
        unreachable!()
    }
    fn create_symlink(&mut self, _at: &Resolved, _target: &[u8], _attrs: Attrs) -> Result<()> {
        unreachable!()
    }
    fn hard_link(&mut self, _existing: &Resolved, _at: &Resolved) -> Result<()> {
        unreachable!()
    }
    fn put(&mut self, _at: &Resolved, _content: &Content) -> Result<()> {
        unreachable!()
    }
    fn append(&mut self, _at: &Resolved, _content: &Content) -> Result<()> {
        unreachable!()
    }
    fn truncate(&mut self, _at: &Resolved, _size: u64) -> Result<()> {
        unreachable!()
    }
    fn set_attrs(&mut self, _at: &Resolved, _attrs: SetAttrs) -> Result<()> {
        unreachable!()
    }
    fn set_xattr(&mut self, _at: &Resolved, _xattr: &Xattr) -> Result<()> {
        unreachable!()
    }
    fn remove_xattr(&mut self, _at: &Resolved, _name: &[u8]) -> Result<()> {
        unreachable!()
    }
    fn remove(&mut self, _at: &Resolved) -> Result<()> {
        unreachable!()
    }
    fn rename(&mut self, _from: &Resolved, _to: &Resolved) -> Result<()> {
        unreachable!()
    }
    fn close(self: Box<Self>) -> Result<()> {
        unreachable!()
    }
}
