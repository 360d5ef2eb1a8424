//! FAT12, FAT16 and FAT32 with long names (VFAT), read and written in userspace.
//!
//! From the bottom up: `layout` understands the boot sector, `table` holds the chains, `volume` keeps them together with the
//! counters, `allocate` finds free clusters, `places` knows where a directory's entries lie, `directory` what they are and `held` those
//! that were read, `survey` and `claims` look at all chains before a change, `file` has content, `tree` makes and removes. This module has the driver's face only. The writer and the reader of config drives use the formats here.
//!
//! Owners, modes, links and extended attributes do not exist: what is there is shown as Linux shows it to root, and asking for
//! something else is `Unsupported`.
//!
//! Sources: Microsoft's FAT specification 1.03 (fatgen103); kernel Documentation/filesystems/vfat.rst.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)
)]

mod allocate;
mod claims;
pub(crate) mod code_page;
mod counters;
mod directory;
pub(crate) mod entry;
mod file;
mod held;
pub(crate) mod layout;
pub(crate) mod name;
mod places;
mod stamp;
mod survey;
pub(crate) mod table;
mod tree;
mod volume;

#[cfg(test)]
mod tests;

use super::{
    Attrs, Content, DirEntry, Features, FileType, GuestFs, Lookup, Metadata, Mode, Ownership, SetAttrs, SpecialFile,
    Timestamp, Xattr,
};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::path::{PATH_MAX, Resolved};
use directory::File;
use entry::READ_ONLY;
use std::sync::Arc;
use volume::{Spot, Volume};

/// What helps where a filesystem is damaged.
const CHECK: &str = "run fsck.vfat -a on the filesystem (of a partition: `losetup -fP --show IMAGE` gives it a device, \
                     of a qcow2 image `qemu-nbd -c /dev/nbd0 IMAGE`)";
/// What every file and every directory is shown with, as by Linux where nothing else is asked for.
const SHOWN: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
/// The permission bits of a file with the read-only attribute.
const READ_ONLY_MODE: u16 = 0o555;
/// The inode number of the root; any other is the place of the entry on the volume, in entries.
const ROOT_INODE: u64 = 1;

/// An open FAT filesystem.
#[derive(Debug)]
pub struct Fat {
    volume: Volume,
}

impl Fat {
    /// Opens the filesystem on `volume`.
    ///
    /// Errors: `Corrupt` where there is none, or it contradicts itself: for [`Mode::ReadWrite`], where any cluster would belong to
    /// two files or directories, or to none that it is used by. `Unsupported`, for [`Mode::ReadWrite`], where it was not unmounted
    /// cleanly, or has more than 262,144 directories or 16,777,216 entries of 32 bytes.
    pub fn open(volume: Arc<dyn BlockDevice>, mode: Mode) -> Result<Self> {
        Ok(Self { volume: Volume::open(volume, mode)? })
    }

    fn spot(&self, at: &Resolved) -> Result<Spot> {
        self.volume.walk(at)?.ok_or_else(|| failure(ErrorKind::NotFound, "no such file or directory"))
    }

    fn metadata(&self, spot: &Spot) -> Metadata {
        let Spot::File(seat) = spot else {
            return metadata(FileType::Directory, SHOWN.mode, 0, ROOT_INODE, Timestamp::default());
        };
        let File { entry, .. } = &seat.file;
        let mtime = entry.mtime().unwrap_or_default();
        if entry.is_directory() {
            return metadata(FileType::Directory, SHOWN.mode, 0, seat.inode, mtime);
        }
        let mode = if entry.attributes() & READ_ONLY == 0 { SHOWN.mode } else { READ_ONLY_MODE };
        metadata(FileType::Regular, mode, u64::from(entry.size()), seat.inode, mtime)
    }

    fn change_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        self.volume.writable()?;
        let spot = self.spot(at)?;
        let Metadata { mode, uid, gid, .. } = self.metadata(&spot);
        if attrs.mode.is_some_and(|wanted| wanted & 0o7777 != mode) {
            return Err(unsupported(format!("FAT keeps no permission bits: it has {mode:04o} like all others")));
        }
        if attrs.uid.is_some_and(|wanted| wanted != uid) || attrs.gid.is_some_and(|wanted| wanted != gid) {
            return Err(unsupported("FAT keeps no owners: everything belongs to root"));
        }
        match (attrs.mtime, spot) {
            (Some(mtime), Spot::File(_)) => self.volume.touch(at, mtime),
            (Some(_), Spot::Root) => Err(unsupported("FAT keeps no time of its root directory")),
            (None, _) => Ok(()),
        }
    }
}

fn metadata(file_type: FileType, mode: u16, size: u64, inode: u64, mtime: Timestamp) -> Metadata {
    Metadata { file_type, mode, uid: SHOWN.uid, gid: SHOWN.gid, size, links: 1, inode, mtime }
}

/// Says of an error which file it is about.
fn about<T>(at: &Resolved, result: Result<T>) -> Result<T> {
    result.map_err(|error| if error.guest_path().is_none() { error.with_guest_path(at.as_bytes()) } else { error })
}

fn failure(kind: ErrorKind, message: &str) -> Error {
    Error::new(kind, Layer::Filesystem, message)
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::unsupported(Layer::Filesystem, message)
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Filesystem, message).with_hint(CHECK)
}

fn no_xattrs() -> Error {
    unsupported("FAT keeps no extended attributes, and so no labels")
}

impl Lookup for Fat {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        about(at, self.volume.walk(at)).map(|spot| spot.map(|spot| self.metadata(&spot)))
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        about(at, self.spot(at).and_then(|_| Err(failure(ErrorKind::WrongType, "not a symbolic link"))))
    }
}

impl GuestFs for Fat {
    fn features(&self) -> Features {
        self.volume.features()
    }

    fn part(&self, _at: &Resolved) -> usize {
        0
    }

    fn ownership(&self, _at: &Resolved) -> Ownership {
        Ownership::Fixed { file: SHOWN, directory: SHOWN }
    }

    fn read_at(&self, at: &Resolved, buf: &mut [u8], offset: u64) -> Result<usize> {
        about(at, self.spot(at).and_then(|spot| self.volume.read(&spot.regular()?.file.entry, buf, offset)))
    }

    fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>> {
        let entry = |file: &File| DirEntry { name: file.name.clone().into_bytes(), file_type: file.file_type() };
        about(
            at,
            self.spot(at).and_then(|spot| {
                self.volume.directory(self.volume.id(&spot)?, |directory| directory.files().map(entry).collect())
            }),
        )
    }

    fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        let other = failure(ErrorKind::WrongType, "not a device, pipe or socket");
        about(at, self.spot(at).and(Err(other)))
    }

    fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        about(at, self.spot(at).map(|_| Vec::new()))
    }

    fn create_file(&mut self, at: &Resolved, _attrs: Attrs) -> Result<()> {
        about(at, self.volume.create_file(at))
    }

    fn create_dir(&mut self, at: &Resolved, _attrs: Attrs) -> Result<()> {
        about(at, self.volume.create_dir(at))
    }

    fn create_symlink(&mut self, at: &Resolved, target: &[u8], _attrs: Attrs) -> Result<()> {
        if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) {
            return about(at, Err(failure(ErrorKind::Invalid, "a symbolic link cannot have this target")));
        }
        about(at, self.volume.free_name(at).and_then(|_| Err(unsupported("FAT has no symbolic links"))))
    }

    fn create_special(&mut self, at: &Resolved, _special: SpecialFile, _attrs: Attrs) -> Result<()> {
        about(at, self.volume.free_name(at).and_then(|_| Err(unsupported("FAT has no devices, pipes or sockets"))))
    }

    fn hard_link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()> {
        let checked = self.volume.writable().and_then(|_| match self.spot(existing)? {
            Spot::File(seat) if !seat.file.entry.is_directory() => Ok(()),
            _ => Err(failure(ErrorKind::WrongType, "a directory cannot have a second name")),
        });
        about(existing, checked)?;
        about(at, self.volume.free_name(at).and_then(|_| Err(unsupported("FAT has no hard links"))))
    }

    fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        about(at, self.volume.put(at, content))
    }

    fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        about(at, self.volume.append(at, content))
    }

    fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()> {
        about(at, self.volume.truncate(at, size))
    }

    fn set_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        let result = self.change_attrs(at, attrs);
        about(at, result)
    }

    fn set_xattr(&mut self, at: &Resolved, _xattr: &Xattr) -> Result<()> {
        about(at, self.volume.writable().and_then(|_| self.spot(at)).and_then(|_| Err(no_xattrs())))
    }

    fn remove_xattr(&mut self, at: &Resolved, _name: &[u8]) -> Result<()> {
        let missing = failure(ErrorKind::NotFound, "it has no such extended attribute");
        about(at, self.volume.writable().and_then(|_| self.spot(at)).and(Err(missing)))
    }

    fn remove(&mut self, at: &Resolved) -> Result<()> {
        about(at, self.volume.remove(at))
    }

    fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        about(to, self.volume.rename(from, to))
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.volume.close()
    }
}
