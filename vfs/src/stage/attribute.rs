//! Extended attributes, as a stage has them.

use super::{Stage, failure};
use crate::error::{ErrorKind, Result};
use crate::fs::Xattr;
use crate::path::{GuestPath, Resolved};

impl Stage<'_> {
    /// The extended attributes of a file that exists, sorted by name.
    pub fn xattrs(&self, path: &GuestPath) -> Result<Vec<Xattr>> {
        self.xattrs_at(&self.resolve(path)?)
    }

    /// The same of what is there itself, which may be a symbolic link.
    pub fn xattrs_at(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        Ok(self.view().xattrs(at)?.into_iter().map(|(name, value)| Xattr { name, value }).collect())
    }

    /// Sets an extended attribute of a file that exists.
    pub fn set_xattr(&mut self, path: &GuestPath, xattr: Xattr) -> Result<()> {
        self.set_xattr_at(&self.resolve(path)?, xattr)
    }

    /// Sets an extended attribute of a file that exists, of a symbolic link itself.
    pub fn set_xattr_at(&mut self, at: &Resolved, xattr: Xattr) -> Result<()> {
        let mut staged = self.existing(at)?;
        self.check_kept(at, "extended attributes")?;
        staged.xattrs.insert(xattr.name, Some(xattr.value));
        self.put(at.clone(), staged);
        Ok(())
    }

    /// Removes an extended attribute of a file that exists; `NotFound` where it is not there.
    pub fn remove_xattr(&mut self, path: &GuestPath, name: &[u8]) -> Result<()> {
        self.remove_xattr_at(&self.resolve(path)?, name)
    }

    /// The same, of a symbolic link itself.
    pub fn remove_xattr_at(&mut self, at: &Resolved, name: &[u8]) -> Result<()> {
        if !self.view().xattrs(at)?.contains_key(name) {
            return Err(failure(ErrorKind::NotFound, at, "it has no such extended attribute"));
        }
        let mut staged = self.existing(at)?;
        staged.xattrs.insert(name.to_vec(), None);
        self.put(at.clone(), staged);
        Ok(())
    }
}
