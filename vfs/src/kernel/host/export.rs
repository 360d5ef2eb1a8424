//! A filesystem in userspace (FUSE) with one file in it: the volume.
//!
//! Source: kernel Documentation/filesystems/fuse.rst, and the crate fuser, which speaks the protocol.

use super::served::{Served, Trouble, keep};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::kernel::sys;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request,
    Session, SessionACL, WriteFlags,
};
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The device by which filesystems in userspace talk to the kernel.
pub(super) const FUSE: &str = "/dev/fuse";

/// The name of the one file.
pub(super) const VOLUME: &str = "volume";

const FILE: INodeNo = INodeNo(2);

/// Nothing changes but content.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// The largest write that is taken at once, in bytes.
const WRITE_MAX: u32 = 1 << 20;
/// The longest read that is answered; the kernel asks for less.
const READ_MAX: u32 = 16 << 20;

/// A volume that is exported.
#[derive(Debug)]
pub(super) struct Export {
    served: BackgroundSession,
    trouble: Trouble,
}

impl Export {
    /// Exports a volume: gives the root of a mount that has no place in the host's tree, and is gone when it is closed and
    /// nothing in it is open.
    pub(super) fn new(volume: Arc<dyn BlockDevice>) -> Result<(Self, OwnedFd)> {
        let failed = |errno: rustix::io::Errno| Error::io(Layer::Kernel, "export the volume by FUSE", errno.into());
        sys::take_large_memory_from_the_kernel();
        let fuse = open(FUSE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno).with_host_path(FUSE))?;
        let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
        let descriptor = fuse.as_raw_fd().to_string();
        for (key, value) in
            [("source", "imgraft"), ("fd", &*descriptor), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")]
        {
            fsconfig_set_string(&context, key, value).map_err(failed)?;
        }
        fsconfig_create(&context).map_err(failed)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOATIME;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)?;
        let trouble = Trouble::default();
        let file = VolumeFile { volume, trouble: Arc::clone(&trouble) };
        let failed = |error: io::Error| Error::io(Layer::Kernel, "serve the volume by FUSE", error);
        let served = Session::from_fd(file, fuse, SessionACL::All, Config::default())
            .and_then(Session::spawn)
            .map_err(failed)?;
        Ok((Self { served, trouble }, root))
    }
}

impl Served for Export {
    fn trouble(&self) -> Trouble {
        Arc::clone(&self.trouble)
    }

    fn is_over(&self) -> bool {
        self.served.guard.is_finished()
    }

    fn farewell(&self) -> Result<()> {
        // It has no word for that: what was written was answered.
        Ok(())
    }
}

#[derive(Debug)]
struct VolumeFile {
    volume: Arc<dyn BlockDevice>,
    trouble: Trouble,
}

impl VolumeFile {
    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0o500, 0),
            FILE => (FileType::RegularFile, 0o600, self.volume.size()),
            _ => return None,
        };
        let time = SystemTime::UNIX_EPOCH;
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    /// The number for an error, which is kept where it is the first.
    fn number(&self, error: Error) -> Errno {
        let number = match error.kind() {
            ErrorKind::NoSpace => Errno::ENOSPC,
            ErrorKind::Denied => Errno::EPERM,
            ErrorKind::Invalid => Errno::EINVAL,
            _ => Errno::EIO,
        };
        keep(&self.trouble, error);
        number
    }
}

impl Filesystem for VolumeFile {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // An older kernel takes less.
        let _ = config.set_max_write(WRITE_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(FILE).filter(|_| parent == INodeNo::ROOT && name == Path::new(VOLUME)) {
            Some(attributes) => reply.entry(&FOR_EVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&FOR_EVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if inode == FILE {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        } else {
            reply.error(Errno::EOPNOTSUPP);
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let left = self.volume.size().saturating_sub(offset).min(u64::from(size.min(READ_MAX)));
        let mut buffer = vec![0; usize::try_from(left).unwrap_or_default()];
        match self.volume.read_at(&mut buffer, offset) {
            Ok(()) => reply.data(&buffer),
            Err(error) => reply.error(self.number(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match (self.volume.write_at(data, offset), u32::try_from(data.len())) {
            (Ok(()), Ok(written)) => reply.written(written),
            (Ok(()), Err(_)) => reply.error(Errno::EINVAL),
            (Err(error), _) => reply.error(self.number(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        match self.volume.flush() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.number(error)),
        }
    }
}
