//! The file under a loop device: another way to the same bytes, with the same locks and the same journal.
//!
//! Sources: sysfs-block-loop of the kernel's ABI documentation (`backing_file`); `LOOP_GET_STATUS64` of loop(4).

use super::device;
use crate::kernel::loop_status;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A regular file under a loop device or under a partition of one, opened for reading.
#[derive(Debug)]
pub(super) struct LoopFile {
    pub(super) file: File,
    /// Its path, every link followed.
    pub(super) path: PathBuf,
    /// The directory that it lies in, open as a place to stand on.
    pub(super) directory: File,
    /// The byte of it at which the device begins.
    pub(super) start: u64,
    /// What the kernel calls the loop device.
    pub(super) device: String,
    /// The device's first byte is the file's, and nothing limits its length.
    from_start: bool,
}

impl LoopFile {
    /// The file under the block device of this number, open as `file`. `None` where that is no loop device, or one whose file
    /// is not to be had by the name that the kernel gives: one that was removed, or that another mount namespace has.
    pub(super) fn under(file: &File, number: u64) -> Option<Self> {
        let place = device::place(number);
        let part = device::start(&place);
        let disk = if part.is_some() { place.parent()?.to_path_buf() } else { place };
        let backing = fs::read(disk.join("loop/backing_file")).ok()?;
        let backing = Path::new(OsStr::from_bytes(backing.strip_suffix(b"\n").unwrap_or(&backing)));
        let device = disk.file_name()?.to_owned().into_vec();
        let device = String::from_utf8(device).ok()?;
        let found = Self::open(file, backing, device, part);
        if found.is_none() {
            tracing::warn!(
                file = %backing.display(),
                "the loop device's file is not to be had by its name: nothing tells who else uses it"
            );
        }
        found
    }

    fn open(loop_device: &File, path: &Path, device: String, part: Option<u64>) -> Option<Self> {
        let status = loop_status(loop_device)
            .inspect_err(|error| tracing::debug!(%error, "the loop device does not say what it is of"))
            .ok()?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(path.parent()?, flags, Mode::empty()).ok()?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let file = openat(&directory, path.file_name()?, flags, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        let regular = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG;
        if !regular || (stat.st_dev, stat.st_ino) != (status.device, status.inode) {
            return None;
        }
        let from_start = part.is_none() && status.offset == 0 && status.size_limit == 0;
        let (file, directory) = (File::from(file), File::from(directory));
        let start = status.offset.saturating_add(part.unwrap_or_default());
        Some(Self { file, path: path.to_path_buf(), directory, start, device, from_start })
    }

    /// Whether the device, which has `size` bytes, is the file to the byte.
    pub(super) fn is_all(&self, size: u64) -> bool {
        self.from_start && self.file.metadata().is_ok_and(|metadata| metadata.len() == size)
    }
}
