//! Every way from a path to a file: openat2(2), which proves once more what the resolver has proved.

use super::refusal::{failure, refused, wrong_type};
use crate::error::{Error, ErrorKind, Result};
use crate::fs::{DeviceNumber, FileType, Metadata, SpecialFile, Timestamp};
use crate::path::Resolved;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat, fstat, major, minor, openat2};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How often a lookup is done again that a rename elsewhere on the machine has disturbed (EAGAIN of openat2(2)).
const TRIES: u32 = 16;

/// A directory of the host as the root of a guest, and others below it.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    device: u64,
    mounts: Vec<(Resolved, Result<OwnedFd>)>,
}

/// The directory that holds a file, and the file's name in it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    directory: OwnedFd,
    name: &'a [u8],
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Result<Self> {
        let stat = fstat(&root).map_err(|errno| refused(&Resolved::root(), "look at the root", errno))?;
        Ok(Self { root, device: stat.st_dev, mounts: Vec::new() })
    }

    /// Puts a directory of the same filesystem at a place of the tree, or the reason why it cannot be had.
    pub(super) fn mount(&mut self, at: Resolved, directory: Result<OwnedFd>) {
        self.mounts.push((at, directory));
    }

    /// The directory from which `at` is reached, and the way from there.
    fn route<'a>(&'a self, at: &'a Resolved) -> Result<(&'a OwnedFd, &'a [u8])> {
        let ways = self.mounts.iter().rev().filter_map(|(place, directory)| Some((directory, below(at, place)?)));
        // The one that lies deepest; the last of those at one place hides the others.
        let (directory, way) = match ways.min_by_key(|(_, way)| way.len()) {
            Some((directory, way)) => (directory.as_ref().map_err(Error::repeated)?, way),
            None => (&self.root, at.as_bytes().strip_prefix(b"/").unwrap_or_default()),
        };
        Ok((directory, if way.is_empty() { b"." } else { way }))
    }

    fn is_mount(&self, at: &Resolved) -> bool {
        self.mounts.iter().any(|(place, _)| place == at)
    }

    /// Fails where something is mounted at `at` or below it, so that it can be neither moved nor removed.
    pub(super) fn unmounted(&self, at: &Resolved) -> Result<()> {
        match self.mounts.iter().find(|(place, _)| below(place, at).is_some()) {
            Some((place, _)) => Err(mounted(at, place)),
            None => Ok(()),
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the file at `at`. A symbolic link in the last place is opened itself, which only `PATH` can; one before it, a
    /// magic link, another mount or a way out of the root is refused by the kernel.
    fn open_raw(&self, at: &Resolved, flags: OFlags) -> Result<Result<OwnedFd, Errno>> {
        let (root, path) = self.route(at)?;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let mut tries = 0_u32;
        loop {
            match openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries < TRIES => tries = tries.saturating_add(1),
                result => return Ok(result),
            }
        }
    }

    /// The file at `at`, which can be looked at and not read; `None` where it or a directory before it is missing.
    pub(super) fn find(&self, at: &Resolved) -> Result<Option<OwnedFd>> {
        match self.open_raw(at, OFlags::PATH)? {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refused(at, "look it up", errno)),
        }
    }

    /// The same, and what is known of it; `NotFound` where it is missing.
    pub(super) fn existing(&self, at: &Resolved) -> Result<(OwnedFd, Metadata)> {
        let file = self.find(at)?.ok_or_else(|| refused(at, "look it up", Errno::NOENT))?;
        let metadata = self.metadata(at, &file)?;
        Ok((file, metadata))
    }

    /// Opens a file of this type; `WrongType` where it is of another one. What it is, is known before it is opened: opening
    /// a device or a pipe may do things.
    pub(super) fn open(&self, at: &Resolved, file_type: FileType, flags: OFlags) -> Result<OwnedFd> {
        let (_, metadata) = self.existing(at)?;
        if metadata.file_type != file_type {
            return Err(wrong_type(
                at,
                if file_type == FileType::Directory { "not a directory" } else { "not a regular file" },
            ));
        }
        self.open_raw(at, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?.map_err(|errno| refused(at, "open it", errno))
    }

    /// The directory that holds `at`, whether or not `at` is there; `Invalid` for the root.
    pub(super) fn place<'a>(&self, at: &'a Resolved) -> Result<Place<'a>> {
        let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
            return Err(failure(ErrorKind::Invalid, at, "the root of the filesystem cannot be replaced"));
        };
        if self.is_mount(at) {
            return Err(mounted(at, at));
        }
        let directory = self.open(&parent, FileType::Directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Place { directory, name })
    }

    /// The same for an operation on what is there, the root included.
    pub(super) fn spot<'a>(&self, at: &'a Resolved) -> Result<Place<'a>> {
        if at.file_name().is_some() && !self.is_mount(at) {
            return self.place(at);
        }
        let directory = self.open(at, FileType::Directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Place { directory, name: b"." })
    }

    /// What is known of an open file.
    pub(super) fn metadata(&self, at: &Resolved, file: impl AsFd) -> Result<Metadata> {
        let stat = fstat(file).map_err(|errno| refused(at, "look at it", errno))?;
        let corrupt = |what| failure(ErrorKind::Corrupt, at, what);
        Ok(Metadata {
            file_type: file_type(stat.st_mode).ok_or_else(|| corrupt("a file of no known type"))?,
            mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or_default(),
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).map_err(|_| corrupt("a file of negative size"))?,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            inode: self.inode(&stat),
            mtime: Timestamp {
                seconds: stat.st_mtime,
                nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
            },
        })
    }

    /// What a device, a pipe or a socket is.
    pub(super) fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        let file = self.find(at)?.ok_or_else(|| refused(at, "look it up", Errno::NOENT))?;
        let stat = fstat(file).map_err(|errno| refused(at, "look at it", errno))?;
        let number = DeviceNumber { major: major(stat.st_rdev), minor: minor(stat.st_rdev) };
        let special = file_type(stat.st_mode).and_then(|file_type| SpecialFile::new(file_type, number));
        special.ok_or_else(|| wrong_type(at, "not a device, pipe or socket"))
    }

    /// The inode number; every subvolume of btrfs is a device of its own, and counts from the same number.
    fn inode(&self, stat: &Stat) -> u64 {
        if stat.st_dev == self.device { stat.st_ino } else { stat.st_ino ^ stat.st_dev.rotate_left(40) }
    }
}

impl Place<'_> {
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn name(&self) -> &[u8] {
        self.name
    }

    /// A name of the file for the calls that take no descriptor of one that is not open for reading (lsetxattr(2)). The
    /// way to the directory is by its descriptor, and the calls follow no link in the last place.
    pub(super) fn by_descriptor(&self) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(self.name);
        path
    }
}

fn mounted(at: &Resolved, place: &Resolved) -> Error {
    failure(
        ErrorKind::InUse,
        at,
        &format!("the guest's fstab mounts a subvolume at {}", place.as_bytes().escape_ascii()),
    )
}

/// The way from `place` to `at`, where that is below it; empty where they are the same.
fn below<'a>(at: &'a Resolved, place: &Resolved) -> Option<&'a [u8]> {
    if place.file_name().is_none() {
        return at.as_bytes().strip_prefix(b"/");
    }
    let rest = at.as_bytes().strip_prefix(place.as_bytes())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// The type in a mode of stat(2).
pub(super) fn file_type(mode: u32) -> Option<FileType> {
    use rustix::fs::FileType as Type;
    of(Type::from_raw_mode(mode))
}

/// A type as this crate names it.
pub(super) fn of(file_type: rustix::fs::FileType) -> Option<FileType> {
    use rustix::fs::FileType as Type;
    match file_type {
        Type::RegularFile => Some(FileType::Regular),
        Type::Directory => Some(FileType::Directory),
        Type::Symlink => Some(FileType::Symlink),
        Type::Fifo => Some(FileType::Fifo),
        Type::Socket => Some(FileType::Socket),
        Type::CharacterDevice => Some(FileType::CharDevice),
        Type::BlockDevice => Some(FileType::BlockDevice),
        Type::Unknown => None,
    }
}

/// A type as rustix names it.
pub(super) fn to(file_type: FileType) -> rustix::fs::FileType {
    use rustix::fs::FileType as Type;
    match file_type {
        FileType::Regular => Type::RegularFile,
        FileType::Directory => Type::Directory,
        FileType::Symlink => Type::Symlink,
        FileType::Fifo => Type::Fifo,
        FileType::Socket => Type::Socket,
        FileType::CharDevice => Type::CharacterDevice,
        FileType::BlockDevice => Type::BlockDevice,
    }
}
