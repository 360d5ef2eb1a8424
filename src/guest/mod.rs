//! Facts about a guest, read once.

use imgraft_vfs::Result;
use imgraft_vfs::fs::GuestFs;

/// What is known of a guest.
#[derive(Clone, Debug)]
pub struct Guest {}

impl Guest {
    /// Reads the facts from the guest's root filesystem.
    pub fn inspect(_fs: &dyn GuestFs) -> Result<Self> {
        Ok(Self {})
    }
}

/// Whether a filesystem is the root of a guest: it has `/etc` and an os-release file.
pub fn is_root(_fs: &dyn GuestFs) -> Result<bool> {
    Ok(false)
}
