//! Facts about a guest, read once.

pub mod accounts;
mod asleep;
pub(crate) mod boot;
pub(crate) mod cloud_config;
mod dpkg;
pub mod facts;
pub mod file_contexts;
mod fstab;
pub(crate) mod host_keys;
mod init;
pub mod login_defs;
pub mod mounts;
pub mod network;
pub mod new_accounts;
pub mod os_release;
mod reader;
pub mod selinux;
pub(crate) mod sshd;
mod units;

pub use accounts::{Accounts, Group, User};
pub use asleep::check_awake;
pub use dpkg::Version;
pub use facts::Facts;
pub(crate) use fstab::{by_id, logical};
pub use init::Init;
pub(crate) use init::systemd_version;
pub use network::{CloudInitNetwork, CloudInitSays, Network, NetworkStack, NoListener, StackState};
pub use new_accounts::NewAccounts;
pub use os_release::OsRelease;
pub use selinux::{Enforcement, Selinux};

pub(crate) use reader::Reader;

use crate::crypt::Method;
use imgraft_vfs::Result;
use imgraft_vfs::fs::{FileType, GuestFs};
use imgraft_vfs::resolve::Follow;

/// What is known of a guest.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Which operating system it is.
    pub os: OsRelease,
    /// Its users and groups.
    pub accounts: Accounts,
    /// What its new users and groups get.
    pub new_accounts: NewAccounts,
    /// The method that its login.defs asks for, where that is one of today's.
    pub encrypt_method: Option<Method>,
    /// Its SELinux, where it has a configuration.
    pub selinux: Option<Selinux>,
    /// What starts it.
    pub init: Init,
    /// What configures its network.
    pub network: Network,
}

impl Guest {
    /// Reads the facts from the guest's root filesystem. What is missing is no error.
    pub fn inspect(fs: &dyn GuestFs) -> Result<Self> {
        let reader = Reader::new(fs);
        Ok(Self {
            os: OsRelease::inspect(&reader)?,
            accounts: Accounts::inspect(&reader)?,
            new_accounts: NewAccounts::inspect(&reader)?,
            encrypt_method: login_defs::encrypt_method(&reader)?,
            selinux: Selinux::inspect(&reader)?,
            init: Init::inspect(&reader)?,
            network: Network::inspect(&reader)?,
        })
    }
}

/// Whether a filesystem is the root of a guest: it has a directory `/etc` and a readable os-release(5) file, in `/etc` or
/// in `/usr/lib`, or one that its fstab(5) has on another filesystem.
pub fn is_root(fs: &dyn GuestFs) -> Result<bool> {
    let reader = Reader::new(fs);
    let etc = reader.find("/etc", Follow::All)?;
    if !etc.is_some_and(|(_, file_type)| file_type == FileType::Directory) {
        return Ok(false);
    }
    for path in os_release::PATHS {
        if reader.file_lenient(path, os_release::LIMIT)?.is_some() {
            return Ok(true);
        }
    }
    let [path, _] = os_release::PATHS;
    if !reader.exists(path)? {
        return Ok(false);
    }
    let fstab = reader.file_lenient("/etc/fstab", fstab::LIMIT)?.unwrap_or_default();
    let (entries, _) = imgraft_vfs::fstab::parse(&fstab);
    Ok(entries.iter().any(|entry| entry.path.components().next() == Some(b"usr")))
}

#[cfg(test)]
mod tests;
