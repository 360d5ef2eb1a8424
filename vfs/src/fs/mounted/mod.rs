//! A filesystem that a kernel has mounted, by a descriptor of its root directory.
//!
//! The second lock behind the resolver: every path is opened by openat2(2) with `RESOLVE_IN_ROOT`, `NO_SYMLINKS`,
//! `NO_MAGICLINKS` and `NO_XDEV`, so that the kernel refuses what would leave the mount. It takes Linux 5.6, `/proc` (for
//! extended attributes), and the superuser; the mount is to be nobody else's, and `nosuid`, `nodev`, `noexec`, `noatime`.
//!
//! What the kernel decides by itself stays the kernel's: times of status change and of birth, and where new blocks lie.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

mod attribute;
mod guest_root;
mod refusal;
mod subvolume;
mod tree;

pub use guest_root::{guest_root, subvolumes};
pub use subvolume::{SUBVOLUMES_MAX, Subvolume, names};

use super::{
    Attrs, Content, DeviceNumber, DirEntry, Features, FileType, GuestFs, Lookup, Metadata, Mode, Ownership, SetAttrs,
    SpecialFile, Timestamp, Xattr,
};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::path::{PATH_MAX, Resolved};
use crate::resolve::{Follow, resolve};
use crate::volume::Signature;
use refusal::{failure, refused, wrong_type};
use rustix::fs::{AtFlags, Dir, OFlags, fstatfs, fsync, ftruncate, linkat, mkdirat, openat, readlinkat, renameat};
use rustix::fs::{Mode as Bits, makedev, mknodat, symlinkat, syncfs, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use tree::{Place, Tree, to};

/// How many bytes are written at a time.
const PIECE: usize = 256 << 10;

/// The most entries of a directory that are listed.
const ENTRIES_MAX: usize = 1 << 22;

/// A mounted filesystem.
#[derive(Debug)]
pub struct Mounted {
    tree: Tree,
    signature: Signature,
    /// The time of every change; `None` where none is allowed.
    now: Option<Timestamp>,
}

impl Mounted {
    /// The filesystem whose root directory (or the directory that is to be the guest's root) is open as `root`. `signature`
    /// is what the volume was found to hold: the name, label and UUID of the filesystem.
    pub fn new(root: OwnedFd, signature: Signature, mode: Mode) -> Result<Self> {
        let now = match mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite { now } => Some(now),
        };
        let tree = Tree::new(root)?;
        // A kernel without openat2(2) or a sandbox that forbids it is noticed now.
        match tree.find(&Resolved::root()) {
            Ok(_) => Ok(Self { tree, signature, now }),
            Err(error) => Err(Error::new(error.kind(), Layer::Filesystem, "cannot use openat2(2) on the mount")
                .with_source(error)
                .with_hint("Linux 5.6 or newer is needed")),
        }
    }

    /// Mounts a subvolume, whose directory is given, where the guest does: symbolic links in the path are followed. Where the
    /// directory cannot be had, that is the error of every path that needs it.
    pub fn mount(&mut self, subvolume: &Subvolume, directory: Result<OwnedFd>) -> Result<()> {
        let Subvolume { path, option, value } = subvolume;
        match resolve(&*self, path, Follow::All) {
            Ok(at) if at.file_name().is_some() => {
                let named = |cause: Error| {
                    let message =
                        format!("its fstab mounts the subvolume {option}={value} at {path}, which cannot be mounted");
                    Error::new(ErrorKind::Unsupported, Layer::Filesystem, message).with_source(cause)
                };
                self.tree.mount(at, directory.map_err(named));
            }
            // No place that a machine could mount it at.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(error) => tracing::debug!(%path, %error, "a subvolume has no place"),
        }
        Ok(())
    }

    fn now(&self) -> Result<Timestamp> {
        self.now
            .ok_or_else(|| Error::new(ErrorKind::Denied, Layer::Filesystem, "the filesystem is open for reading only"))
    }

    /// The place of a file that is to be made; `Invalid` where something is there.
    fn free_place<'a>(&self, at: &'a Resolved) -> Result<Place<'a>> {
        self.now()?;
        if at.file_name().is_none() || self.tree.find(at)?.is_some() {
            return Err(failure(ErrorKind::Invalid, at, "it exists already"));
        }
        self.tree.place(at)
    }

    /// Gives a file that was just made what it is to have: the kernel has looked at umask, set-group-id and the access
    /// control list of its directory.
    fn finish_new(&self, at: &Resolved, place: &Place<'_>, attrs: Attrs, file_type: FileType) -> Result<()> {
        let now = self.now()?;
        if file_type != FileType::Symlink {
            place.disinherit(at)?;
        }
        place.chown(at, Some(attrs.uid), Some(attrs.gid))?;
        if file_type != FileType::Symlink {
            place.chmod(at, attrs.mode)?;
        }
        place.stamp(at, now)?;
        place.stamp_directory(at, now)
    }

    /// Changes the content of a regular file by `change`; owner, mode and capabilities stay.
    fn rewrite(&mut self, at: &Resolved, flags: OFlags, change: impl FnOnce(&File) -> Result<()>) -> Result<()> {
        let now = self.now()?;
        let (_, before) = self.tree.existing(at)?;
        if before.file_type != FileType::Regular {
            return Err(wrong_type(at, "not a regular file"));
        }
        let kept = self.tree.capabilities(at, before.file_type)?;
        let file = File::from(self.tree.open(at, FileType::Regular, OFlags::WRONLY | flags)?);
        change(&file)?;
        drop(file);
        self.tree.give_back(at, &kept)?;
        let (_, after) = self.tree.existing(at)?;
        let place = self.tree.place(at)?;
        if after.mode != before.mode {
            place.chmod(at, before.mode)?;
        }
        place.stamp(at, now)
    }
}

/// Writes all of `content` from `offset` on.
fn write(at: &Resolved, file: &File, content: &Content, mut offset: u64) -> Result<()> {
    let len = content.len();
    let mut piece = vec![0; usize::try_from(len).unwrap_or(PIECE).min(PIECE)];
    let mut done = 0_u64;
    while done < len {
        let left = len.saturating_sub(done);
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let piece = piece.get_mut(..wanted).unwrap_or_default();
        content.read_at(piece, done)?;
        file.write_all_at(piece, offset).map_err(|error| failed(at, "write its content", error))?;
        let written = u64::try_from(wanted).unwrap_or(left);
        done = done.saturating_add(written);
        offset = offset.saturating_add(written);
    }
    Ok(())
}

fn failed(at: &Resolved, operation: &str, error: std::io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(errno) => refused(at, operation, errno),
        None => Error::io(Layer::Filesystem, operation, error).with_guest_path(at.as_bytes()),
    }
}

impl Lookup for Mounted {
    fn lookup(&self, at: &Resolved) -> Result<Option<Metadata>> {
        match self.tree.find(at)? {
            Some(file) => self.tree.metadata(at, &file).map(Some),
            None => Ok(None),
        }
    }

    fn read_link(&self, at: &Resolved) -> Result<Vec<u8>> {
        let (file, metadata) = self.tree.existing(at)?;
        if metadata.file_type != FileType::Symlink {
            return Err(wrong_type(at, "not a symbolic link"));
        }
        let target = readlinkat(&file, "", Vec::new()).map_err(|errno| refused(at, "read its target", errno))?;
        Ok(target.into_bytes())
    }
}

impl GuestFs for Mounted {
    fn features(&self) -> Features {
        let Signature { name, label, uuid } = self.signature.clone();
        let (mut block_size, mut total_bytes, mut free_bytes, mut free_inodes) = (0, 0, 0, 0);
        if let Ok(stat) = fstatfs(self.tree.root()) {
            let unit = u64::try_from(if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize }).unwrap_or_default();
            block_size = u32::try_from(unit).unwrap_or_default();
            total_bytes = stat.f_blocks.saturating_mul(unit);
            free_bytes = stat.f_bfree.saturating_mul(unit);
            // btrfs has no table of inodes, and says that there are none.
            free_inodes = if stat.f_files == 0 { u64::MAX } else { stat.f_ffree };
        }
        let feature_names = Vec::new();
        Features { name, label, uuid, block_size, total_bytes, free_bytes, free_inodes, feature_names, recovered: None }
    }

    fn part(&self, _at: &Resolved) -> usize {
        0
    }

    fn ownership(&self, _at: &Resolved) -> Ownership {
        Ownership::Kept
    }

    fn read_at(&self, at: &Resolved, buf: &mut [u8], offset: u64) -> Result<usize> {
        let file = File::from(self.tree.open(at, FileType::Regular, OFlags::RDONLY)?);
        let mut done = 0_usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let from = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            // pread(2) counts with a sign; no file reaches that far.
            if i64::try_from(from).is_err() {
                break;
            }
            match file.read_at(rest, from) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(at, "read it", error)),
            }
        }
        Ok(done)
    }

    fn read_dir(&self, at: &Resolved) -> Result<Vec<DirEntry>> {
        let directory = self.tree.open(at, FileType::Directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let failed = |errno| refused(at, "read the directory", errno);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if entries.len() >= ENTRIES_MAX {
                return Err(failure(ErrorKind::Unsupported, at, "the directory has more than 4194304 entries"));
            }
            let file_type = match tree::of(entry.file_type()) {
                Some(file_type) => file_type,
                None => self.tree.existing(&at.child(name))?.1.file_type,
            };
            entries.push(DirEntry { name: name.to_vec(), file_type });
        }
        Ok(entries)
    }

    fn special(&self, at: &Resolved) -> Result<SpecialFile> {
        self.tree.special(at)
    }

    fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        self.tree.xattrs(at)
    }

    fn create_file(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        let place = self.free_place(at)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(place.directory(), place.name(), flags, Bits::from_raw_mode(0o600))
            .map_err(|errno| refused(at, "make the file", errno))?;
        self.finish_new(at, &place, attrs, FileType::Regular)
    }

    fn create_dir(&mut self, at: &Resolved, attrs: Attrs) -> Result<()> {
        let place = self.free_place(at)?;
        mkdirat(place.directory(), place.name(), Bits::from_raw_mode(0o700))
            .map_err(|errno| refused(at, "make the directory", errno))?;
        self.finish_new(at, &place, attrs, FileType::Directory)
    }

    fn create_symlink(&mut self, at: &Resolved, target: &[u8], attrs: Attrs) -> Result<()> {
        if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) {
            return Err(failure(ErrorKind::Invalid, at, "a symbolic link cannot have this target"));
        }
        let place = self.free_place(at)?;
        symlinkat(target, place.directory(), place.name())
            .map_err(|errno| refused(at, "make the symbolic link", errno))?;
        self.finish_new(at, &place, attrs, FileType::Symlink)
    }

    fn create_special(&mut self, at: &Resolved, special: SpecialFile, attrs: Attrs) -> Result<()> {
        let place = self.free_place(at)?;
        let (file_type, DeviceNumber { major, minor }) = (special.file_type(), special.number());
        mknodat(place.directory(), place.name(), to(file_type), Bits::from_raw_mode(0o600), makedev(major, minor))
            .map_err(|errno| refused(at, "make the device, pipe or socket", errno))?;
        self.finish_new(at, &place, attrs, file_type)
    }

    fn hard_link(&mut self, existing: &Resolved, at: &Resolved) -> Result<()> {
        let now = self.now()?;
        let (_, metadata) = self.tree.existing(existing)?;
        if metadata.file_type == FileType::Directory {
            return Err(wrong_type(existing, "a directory cannot have a second name"));
        }
        let from = self.tree.place(existing)?;
        let to = self.free_place(at)?;
        // Without AT_SYMLINK_FOLLOW a symbolic link gets the second name itself.
        linkat(from.directory(), from.name(), to.directory(), to.name(), AtFlags::empty())
            .map_err(|errno| refused(at, "make the hard link", errno))?;
        to.stamp_directory(at, now)
    }

    fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.rewrite(at, OFlags::TRUNC, |file| write(at, file, content, 0))
    }

    fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        let (_, metadata) = self.tree.existing(at)?;
        self.rewrite(at, OFlags::empty(), |file| write(at, file, content, metadata.size))
    }

    fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()> {
        self.rewrite(at, OFlags::empty(), |file| {
            ftruncate(file, size).map_err(|errno| refused(at, "change its size", errno))
        })
    }

    fn set_attrs(&mut self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        self.now()?;
        self.tree.set_attrs(at, attrs)
    }

    fn set_xattr(&mut self, at: &Resolved, xattr: &Xattr) -> Result<()> {
        self.now()?;
        self.tree.set_xattr(at, xattr)
    }

    fn remove_xattr(&mut self, at: &Resolved, name: &[u8]) -> Result<()> {
        self.now()?;
        self.tree.remove_xattr(at, name)
    }

    fn remove(&mut self, at: &Resolved) -> Result<()> {
        let now = self.now()?;
        if at.file_name().is_none() {
            return Err(failure(ErrorKind::Invalid, at, "the root of the filesystem cannot be removed"));
        }
        let (_, metadata) = self.tree.existing(at)?;
        self.tree.unmounted(at)?;
        let place = self.tree.place(at)?;
        let is_directory = metadata.file_type == FileType::Directory;
        let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(place.directory(), place.name(), flags).map_err(|errno| refused(at, "remove it", errno))?;
        place.stamp_directory(at, now)
    }

    fn rename(&mut self, from: &Resolved, to: &Resolved) -> Result<()> {
        let now = self.now()?;
        let (_, old) = self.tree.existing(from)?;
        self.tree.unmounted(from)?;
        let (old_place, new_place) = (self.tree.place(from)?, self.tree.place(to)?);
        if let Some(file) = self.tree.find(to)?
            && self.tree.metadata(to, &file)?.inode == old.inode
        {
            // Two names of one file, both of which stay, or one name.
            return Ok(());
        }
        renameat(old_place.directory(), old_place.name(), new_place.directory(), new_place.name())
            .map_err(|errno| refused(to, "rename it", errno))?;
        old_place.stamp_directory(from, now)?;
        new_place.stamp_directory(to, now)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let failed = |errno| refused(&Resolved::root(), "write everything back to the volume", errno);
        if self.now.is_some() {
            // The root directory alone first: syncfs(2) of old kernels tells of no error.
            fsync(self.tree.root()).map_err(failed)?;
            syncfs(self.tree.root()).map_err(failed)?;
        }
        Ok(())
    }
}
