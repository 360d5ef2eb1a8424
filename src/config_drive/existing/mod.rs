//! A drive that is there: what is in it, whoever made it, and what cloud-init will make of it.

mod body;
mod difference;
mod extract;
mod shape;
mod show;
mod verify;

pub use body::{Body, Secrets};
pub use difference::Difference;
pub use extract::{Extracted, extract};
pub use show::{Documents as ShownDocuments, Shown, document};
pub use verify::{Problem, Verdict};

use super::Layout;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::master::{Drive, Entry, View};
use imgraft_vfs::transaction::{Access, Transaction};
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use std::path::{Path, PathBuf};

/// The largest document that is read, in bytes.
const DOCUMENT_MAX: u64 = 16 << 20;
/// How many times the size of the drive its files may take: they may share their content, as genisoimage has it of hard
/// links, and a hostile drive would have all of them share it.
const EXPANSION: u64 = 8;
/// The most bytes that all files take, however large the drive, which may be sparse. Nova's drives have 64 MiB, those of
/// `create` 2 GiB at most as vfat, and one file of ISO 9660 less than 4 GiB; this is read in a minute or less.
const FILES_MAX: u64 = 16 << 30;

/// The OpenStack versions that cloud-init knows, oldest first (`OS_VERSIONS` in its `sources/helpers/openstack.py`).
const KNOWN: [&str; 8] = [
    super::version::FOLSOM,
    super::version::GRIZZLY,
    super::version::HAVANA,
    super::version::LIBERTY,
    super::version::NEWTON_ONE,
    super::version::NEWTON_TWO,
    super::version::OCATA,
    super::version::ROCKY,
];

/// A drive, opened for reading under a shared lock.
#[derive(Debug)]
pub struct Existing {
    path: PathBuf,
    drive: Drive,
    _txn: Transaction,
}

impl Existing {
    /// Opens a drive: a raw image of an ISO 9660 or FAT filesystem.
    ///
    /// `Denied` where its files take more than [`EXPANSION`] times its size, or [`FILES_MAX`].
    pub fn open(path: &Path) -> Result<Self> {
        let txn = Transaction::begin(path, Access::Read)?;
        let drive = Drive::open(txn.overlay(), View::Best)?;
        let existing = Self { path: path.to_path_buf(), drive, _txn: txn };
        let total = existing.files().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        let size = existing.drive.size();
        if total > size.saturating_mul(EXPANSION).min(FILES_MAX) {
            let message = format!("its files hold {total} bytes, and the drive has {size}");
            return Err(Error::new(ErrorKind::Denied, Layer::Master, message).with_hint(
                "a drive like this one is made to exhaust whoever reads it; look at it with isoinfo or mdir",
            ));
        }
        Ok(existing)
    }

    /// What is in it.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// Which layout its files have; `None` where they have neither.
    pub fn layout(&self) -> Option<Layout> {
        let has = |path: &str, kind| self.drive.find(path).is_some_and(|entry| entry.file_type == kind);
        if has("openstack", FileType::Directory) {
            Some(Layout::OpenStack)
        } else if has("meta-data", FileType::Regular) || has("user-data", FileType::Regular) {
            Some(Layout::NoCloud)
        } else {
            None
        }
    }

    /// The directory that cloud-init reads of the layout: of OpenStack's versions the newest that it knows and that is
    /// there, else `latest`; the root, `""`, of NoCloud's.
    pub fn read_directory(&self) -> Option<String> {
        match self.layout()? {
            Layout::NoCloud => Some(String::new()),
            Layout::OpenStack => {
                let there = |version: &&&str| self.drive.find(format!("openstack/{version}")).is_some();
                let version = KNOWN.iter().rev().find(there).copied().unwrap_or("latest");
                Some(format!("openstack/{version}"))
            }
        }
    }

    /// The regular files.
    fn files(&self) -> impl Iterator<Item = &Entry> {
        self.drive.entries().iter().filter(|entry| entry.file_type == FileType::Regular)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// A path of a drive as text.
fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
