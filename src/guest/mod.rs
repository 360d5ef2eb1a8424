//! Facts about a guest, read once.

pub mod accounts;
pub mod facts;
pub mod file_contexts;
mod fstab;
mod init;
pub mod login_defs;
pub mod mounts;
pub mod network;
pub mod os_release;
pub mod selinux;

pub use accounts::{Accounts, Group, User};
pub use facts::Facts;
pub(crate) use fstab::logical;
pub use init::Init;
pub use network::{CloudInitSays, Network, NetworkStack, NoListener, StackState};
pub use os_release::OsRelease;
pub use selinux::{Enforcement, Selinux};

use crate::crypt::Method;
use imgraft_vfs::fs::{FileType, GuestFs, read_file};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::{Error, ErrorKind, Layer, Result};

/// What is known of a guest.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Which operating system it is.
    pub os: OsRelease,
    /// Its users and groups.
    pub accounts: Accounts,
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
        let reader = Reader(fs);
        Ok(Self {
            os: OsRelease::inspect(&reader)?,
            accounts: Accounts::inspect(&reader)?,
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
    let reader = Reader(fs);
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

/// Reads a guest's facts: a path that a guest has bent out of shape counts as missing, a broken filesystem does not.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a dyn GuestFs);

impl Reader<'_> {
    fn find(&self, path: &str, follow: Follow) -> Result<Option<(Resolved, FileType)>> {
        let Some(at) = self.place(path, follow)? else { return Ok(None) };
        match self.0.lookup(&at) {
            Err(error) if is_shape(&error) => Ok(None),
            found => Ok(found?.map(|metadata| (at, metadata.file_type))),
        }
    }

    /// Where a path leads, be there something or not.
    fn place(&self, path: &str, follow: Follow) -> Result<Option<Resolved>> {
        match GuestPath::parse(path).and_then(|path| resolve(self.0, &path, follow)) {
            Err(error) if is_shape(&error) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Whether there is anything at `path`, be it a symbolic link that leads nowhere.
    pub(crate) fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.find(path, Follow::ExcludeLast)?.is_some())
    }

    /// The names in a directory that are texts, sorted; none where there is no directory.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>> {
        let Some((at, FileType::Directory)) = self.find(path, Follow::All)? else { return Ok(Vec::new()) };
        let entries = self.0.read_dir(&at)?;
        let mut names: Vec<_> = entries.into_iter().filter_map(|entry| String::from_utf8(entry.name).ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Whether there is a link to /dev/null at `path`, or an empty file: what systemd takes for masked (systemd.unit(5)).
    pub(crate) fn is_masked(&self, path: &str) -> Result<bool> {
        Ok(match self.find(path, Follow::ExcludeLast)? {
            Some((at, FileType::Symlink)) => self.0.read_link(&at)? == b"/dev/null",
            Some((at, FileType::Regular)) => self.0.lookup(&at)?.is_some_and(|metadata| metadata.size == 0),
            _ => false,
        })
    }

    /// The content of a regular file; `None` where it is missing, `Unsupported` where it is larger than `limit`.
    pub(crate) fn file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.find(path, Follow::All)? {
            Some((at, FileType::Regular)) => read_file(self.0, &at, limit).map(Some),
            _ => Ok(None),
        }
    }

    /// The same, and a file that is too large counts as missing.
    pub(crate) fn file_lenient(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.file(path, limit) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            other => other,
        }
    }
}

/// Whether the error is about the path (a loop, a file in a directory's place) and not about the filesystem, or one that is not
/// mounted.
fn is_shape(error: &Error) -> bool {
    error.layer() != Layer::Volume
        && matches!(error.kind(), ErrorKind::Denied | ErrorKind::WrongType | ErrorKind::NotFound | ErrorKind::Invalid)
}

#[cfg(test)]
mod tests;
