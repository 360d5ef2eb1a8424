//! What an inode's flags let be done with it.

use super::{Inode, flag};
use crate::error::{Error, ErrorKind, Layer, Result};

impl Inode {
    /// Fails unless the content can be read.
    pub(in super::super) fn check_readable(&self) -> Result<()> {
        if self.has_flag(flag::ENCRYPT) {
            return Err(Error::unsupported(
                Layer::Filesystem,
                "cannot read the content of this file: it is encrypted (fscrypt)",
            ));
        }
        Ok(())
    }

    /// Fails unless the file may be changed at all.
    pub(in super::super) fn check_mutable(&self) -> Result<()> {
        let denied = |name: &str, letter: char| {
            Err(Error::new(ErrorKind::Denied, Layer::Filesystem, format!("the file is {name} (chattr +{letter})"))
                .with_hint(format!("remove the attribute in the guest: chattr -{letter}")))
        };
        match self.flags() {
            flags if flags & flag::IMMUTABLE != 0 => denied("immutable", 'i'),
            flags if flags & flag::APPEND != 0 => denied("append-only", 'a'),
            flags if flags & flag::ENCRYPT != 0 => {
                Err(Error::unsupported(Layer::Filesystem, "the file is encrypted (fscrypt)"))
            }
            _ => Ok(()),
        }
    }

    /// Fails unless the content may be changed: that of a sealed file may not, though the file may be moved or removed.
    pub(in super::super) fn check_unsealed(&self) -> Result<()> {
        if self.has_flag(flag::VERITY) {
            return Err(Error::unsupported(Layer::Filesystem, "the file is sealed (fs-verity)"));
        }
        Ok(())
    }

    /// Fails unless the names in this directory can be read.
    pub(in super::super) fn check_names(&self) -> Result<()> {
        if self.has_flag(flag::ENCRYPT) {
            return Err(Error::unsupported(Layer::Filesystem, "the names in this directory are encrypted (fscrypt)"));
        }
        Ok(())
    }

    /// Fails unless names in this directory can be added and taken away.
    pub(in super::super) fn check_names_mutable(&self) -> Result<()> {
        self.check_mutable()?;
        if self.has_flag(flag::CASEFOLD) {
            let what = "the directory does not tell upper from lower case (casefold): imgraft cannot change its names";
            return Err(Error::unsupported(Layer::Filesystem, what)
                .with_hint("the content of files that are there can be changed; what lies elsewhere, too"));
        }
        Ok(())
    }
}
