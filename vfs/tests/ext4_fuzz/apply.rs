//! An operation, made by our driver and by the kernel.

use crate::operation::Op;
use crate::oracle::try_at;
use imgraft_vfs::Result;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, SetAttrs, Xattr};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// By a driver of ours.
pub fn ours(fs: &mut dyn GuestFs, op: &Op) -> Result<()> {
    match op {
        Op::Create(path, attrs) => fs.create_file(&try_at(fs, path)?, *attrs),
        Op::Mkdir(path, attrs) => fs.create_dir(&try_at(fs, path)?, *attrs),
        Op::Symlink(path, target, attrs) => fs.create_symlink(&try_at(fs, path)?, target, *attrs),
        Op::Link(from, to) => fs.hard_link(&try_at(fs, from)?, &try_at(fs, to)?),
        Op::Put(path, bytes) => fs.put(&try_at(fs, path)?, &Content::bytes(bytes.clone())),
        Op::Append(path, bytes) => fs.append(&try_at(fs, path)?, &Content::bytes(bytes.clone())),
        Op::Truncate(path, size) => fs.truncate(&try_at(fs, path)?, *size),
        Op::Remove(path) => fs.remove(&try_at(fs, path)?),
        Op::Rename(from, to) => fs.rename(&try_at(fs, from)?, &try_at(fs, to)?),
        Op::Attrs(path, attrs) => {
            let at = try_at(fs, path)?;
            let link = fs.lookup(&at)?.is_some_and(|found| found.file_type == FileType::Symlink);
            let mode = (!link).then_some(attrs.mode);
            fs.set_attrs(&at, SetAttrs { mode, uid: Some(attrs.uid), gid: Some(attrs.gid), mtime: None })
        }
        Op::Times(path, time) => {
            fs.set_attrs(&try_at(fs, path)?, SetAttrs { mtime: Some(*time), ..SetAttrs::default() })
        }
        Op::SetXattr(path, name, value) => {
            fs.set_xattr(&try_at(fs, path)?, &Xattr { name: name.clone().into(), value: value.clone() })
        }
        Op::RemoveXattr(path, name) => fs.remove_xattr(&try_at(fs, path)?, name.as_bytes()),
    }
}

/// By the kernel, below a mount point.
pub fn kernels(root: &Path, op: &Op) -> io::Result<()> {
    let host = |path: &[u8]| root.join(OsStr::from_bytes(&path[1..]));
    let open = |path: &[u8], options: &mut fs::OpenOptions| -> io::Result<File> {
        options.custom_flags(nix::libc::O_NOFOLLOW).open(host(path))
    };
    match op {
        Op::Create(path, attrs) => {
            File::create_new(host(path))?;
            new(host(path), attrs)
        }
        Op::Mkdir(path, attrs) => {
            fs::create_dir(host(path))?;
            new(host(path), attrs)
        }
        Op::Symlink(path, target, attrs) => {
            symlink(OsStr::from_bytes(target), host(path))?;
            own(host(path), attrs)
        }
        Op::Link(from, to) => fs::hard_link(host(from), host(to)),
        Op::Put(path, bytes) => open(path, File::options().write(true).truncate(true))?.write_all(bytes),
        Op::Append(path, bytes) => open(path, File::options().append(true))?.write_all(bytes),
        Op::Truncate(path, size) => open(path, File::options().write(true))?.set_len(*size),
        Op::Remove(path) if host(path).symlink_metadata()?.is_dir() => fs::remove_dir(host(path)),
        Op::Remove(path) => fs::remove_file(host(path)),
        Op::Rename(from, to) => fs::rename(host(from), host(to)),
        Op::Attrs(path, attrs) => own(host(path), attrs),
        Op::Times(path, time) => {
            let stamp = |tv_sec, tv_nsec| rustix::fs::Timespec { tv_sec, tv_nsec };
            let times = rustix::fs::Timestamps {
                last_access: stamp(0, rustix::fs::UTIME_OMIT),
                last_modification: stamp(time.seconds, time.nanoseconds.into()),
            };
            Ok(rustix::fs::utimensat(rustix::fs::CWD, host(path), &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
        }
        Op::SetXattr(path, name, value) => {
            Ok(rustix::fs::lsetxattr(host(path), name, value, rustix::fs::XattrFlags::empty())?)
        }
        Op::RemoveXattr(path, name) => Ok(rustix::fs::lremovexattr(host(path), name)?),
    }
}

/// What our driver is told outright, the kernel first takes from the parent directory: group and access list.
fn new(path: PathBuf, attrs: &Attrs) -> io::Result<()> {
    for list in ["system.posix_acl_access", "system.posix_acl_default"] {
        match rustix::fs::lremovexattr(&path, list) {
            Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    own(path, attrs)
}

fn own(path: PathBuf, attrs: &Attrs) -> io::Result<()> {
    lchown(&path, Some(attrs.uid), Some(attrs.gid))?;
    if path.symlink_metadata()?.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(&path, Permissions::from_mode(attrs.mode.into()))
}
