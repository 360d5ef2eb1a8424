//! Owners, permission bits, times and extended attributes of mounted files.

use super::refusal::{failure, refused};
use super::tree::{Place, Tree};
use crate::error::{ErrorKind, Result};
use crate::fs::{FileType, SetAttrs, Timestamp, Xattr};
use crate::path::Resolved;
use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, lgetxattr, llistxattr,
    lremovexattr, lsetxattr, utimensat,
};
use rustix::io::Errno;

/// The largest list of names and the largest value that the kernel gives (XATTR_LIST_MAX, XATTR_SIZE_MAX of limits.h).
const LARGEST: usize = 65536;

/// File capabilities: the kernel drops them with every change of content or owner, and we put them back.
const CAPABILITY: &[u8] = b"security.capability";

/// Access control lists, which the kernel hands down to new files. Whoever makes a file here says all that it is to have.
const LISTS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// The beginning of the names under which XFS shows access control lists a second time.
const XFS_LISTS: &[u8] = b"trusted.SGI_ACL_";

/// The file capabilities of a file that is about to be changed.
#[derive(Debug)]
pub(super) struct Capabilities(Option<Vec<u8>>);

impl Tree {
    pub(super) fn xattrs(&self, at: &Resolved) -> Result<Vec<Xattr>> {
        let place = self.spot(at)?;
        let path = place.by_descriptor();
        let failed = |errno| refused(at, "list its extended attributes", errno);
        let mut buffer = vec![0; LARGEST];
        let names = match llistxattr(&*path, &mut buffer[..]) {
            Ok(len) => buffer.get(..len).unwrap_or_default().to_vec(),
            // A filesystem without them.
            Err(Errno::OPNOTSUPP) => Vec::new(),
            Err(errno) => return Err(failed(errno)),
        };
        let mut xattrs = Vec::new();
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !name.starts_with(XFS_LISTS)) {
            let len = lgetxattr(&*path, name, &mut buffer[..]).map_err(failed)?;
            xattrs.push(Xattr { name: name.to_vec(), value: buffer.get(..len).unwrap_or_default().to_vec() });
        }
        xattrs.sort_unstable();
        Ok(xattrs)
    }

    pub(super) fn set_xattr(&self, at: &Resolved, xattr: &Xattr) -> Result<()> {
        let place = self.spot(at)?;
        let path = place.by_descriptor();
        lsetxattr(&*path, &*xattr.name, &xattr.value, XattrFlags::empty())
            .map_err(|errno| refused(at, &format!("set the extended attribute {}", xattr.name.escape_ascii()), errno))
    }

    pub(super) fn remove_xattr(&self, at: &Resolved, name: &[u8]) -> Result<()> {
        let place = self.spot(at)?;
        let path = place.by_descriptor();
        lremovexattr(&*path, name)
            .map_err(|errno| refused(at, &format!("remove the extended attribute {}", name.escape_ascii()), errno))
    }

    /// Changes what `attrs` names. The kernel takes set-user-id and capabilities from a file that gets another owner; they
    /// are given back.
    pub(super) fn set_attrs(&self, at: &Resolved, attrs: SetAttrs) -> Result<()> {
        let (_, before) = self.existing(at)?;
        let place = self.spot(at)?;
        if attrs.uid.is_some() || attrs.gid.is_some() {
            let kept = self.capabilities(at, before.file_type)?;
            place.chown(at, attrs.uid, attrs.gid)?;
            self.give_back(at, &kept)?;
        }
        let changed_owner = attrs.uid.is_some() || attrs.gid.is_some();
        match (before.file_type, attrs.mode) {
            (FileType::Symlink, Some(mode)) if mode != before.mode => {
                return Err(failure(ErrorKind::Unsupported, at, "the kernel keeps no permissions of symbolic links"));
            }
            (FileType::Symlink, _) => {}
            (_, Some(mode)) => place.chmod(at, mode)?,
            (_, None) if changed_owner && before.mode & 0o6000 != 0 => place.chmod(at, before.mode)?,
            (_, None) => {}
        }
        match attrs.mtime {
            Some(mtime) => place.stamp(at, mtime),
            None => Ok(()),
        }
    }

    /// The capabilities of a regular file; others have none.
    pub(super) fn capabilities(&self, at: &Resolved, file_type: FileType) -> Result<Capabilities> {
        if file_type != FileType::Regular {
            return Ok(Capabilities(None));
        }
        let place = self.spot(at)?;
        let path = place.by_descriptor();
        let mut buffer = [0; 64];
        match lgetxattr(&*path, CAPABILITY, &mut buffer[..]) {
            Ok(len) => Ok(Capabilities(buffer.get(..len).map(<[u8]>::to_vec))),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Capabilities(None)),
            Err(errno) => Err(refused(at, "read its capabilities", errno)),
        }
    }

    pub(super) fn give_back(&self, at: &Resolved, kept: &Capabilities) -> Result<()> {
        let Some(value) = &kept.0 else { return Ok(()) };
        self.set_xattr(at, &Xattr { name: CAPABILITY.to_vec(), value: value.clone() })
    }
}

impl Place<'_> {
    /// Takes from a new file what it has inherited.
    pub(super) fn disinherit(&self, at: &Resolved) -> Result<()> {
        let path = self.by_descriptor();
        for list in LISTS {
            match lremovexattr(&*path, list) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS) => {}
                Err(errno) => return Err(refused(at, "take the inherited access control list from it", errno)),
            }
        }
        Ok(())
    }

    pub(super) fn chown(&self, at: &Resolved, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        // All bits set means "leave it" to chown(2), and is no id.
        if [uid, gid].contains(&Some(u32::MAX)) {
            return Err(failure(ErrorKind::Invalid, at, "4294967295 is no user or group"));
        }
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        chownat(self.directory(), self.name(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| refused(at, "change its owner", errno))
    }

    /// Sets the permission bits of a file that is known to be no symbolic link.
    pub(super) fn chmod(&self, at: &Resolved, mode: u16) -> Result<()> {
        let mode = Mode::from_raw_mode(u32::from(mode & 0o7777));
        chmodat(self.directory(), self.name(), mode, AtFlags::empty())
            .map_err(|errno| refused(at, "change its permissions", errno))
    }

    /// Sets the time of the last change of content.
    pub(super) fn stamp(&self, at: &Resolved, mtime: Timestamp) -> Result<()> {
        self.stamp_name(at, self.name(), mtime)
    }

    /// Sets the time of the directory itself, which has got or lost an entry.
    pub(super) fn stamp_directory(&self, at: &Resolved, mtime: Timestamp) -> Result<()> {
        self.stamp_name(at, b".", mtime)
    }

    fn stamp_name(&self, at: &Resolved, name: &[u8], mtime: Timestamp) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: i64::from(mtime.nanoseconds) },
        };
        utimensat(self.directory(), name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| refused(at, "set its time", errno))
    }
}
