//! Mounts that have no place in anybody's tree: they live as long as a descriptor does.
//!
//! Source: fsopen(2), fsconfig(2), fsmount(2). No other process can see such a mount, let alone enter it, and the kernel
//! takes it down when the descriptor is closed, however the process ends.

use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::Mode;
use crate::fs::mounted::Subvolume;
use crate::kernel::log::{Log, names};
use crate::kernel::missing;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How many lines of the kernel's reasons are kept, and how long one may be in bytes.
const LINES_MAX: usize = 8;
const LINE_MAX: usize = 1024;

/// Mounts the filesystem on a block device, and gives its root.
pub(super) fn mount(device: &Path, filesystem: &str, mode: Mode) -> Result<OwnedFd> {
    mount_with(device, filesystem, mode, None)
}

/// Mounts a subvolume of the btrfs on a block device, which is mounted already, and gives its root.
pub(super) fn mount_subvolume(device: &Path, subvolume: &Subvolume, mode: Mode) -> Result<OwnedFd> {
    mount_with(device, "btrfs", mode, Some((subvolume.option, &subvolume.value)))
}

fn mount_with(device: &Path, filesystem: &str, mode: Mode, option: Option<(&str, &str)>) -> Result<OwnedFd> {
    // The driver of ext4 knows its elders too.
    let driver = if matches!(filesystem, "ext2" | "ext3") { "ext4" } else { filesystem };
    let context = fsopen(driver, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| match errno {
        Errno::NODEV => missing(format!("the kernel of this host does not know {filesystem}"), super::OTHER_WAYS),
        Errno::NOSYS => missing("the kernel of this host is too old: Linux 5.8 is needed", super::OTHER_WAYS),
        Errno::PERM => missing("this process may not mount", super::OTHER_WAYS),
        errno => Error::io(Layer::Kernel, format!("mount {filesystem}"), errno.into()),
    })?;
    let set = || -> Result<(), Errno> {
        fsconfig_set_string(&context, "source", device)?;
        for option in options(driver) {
            fsconfig_set_flag(&context, *option)?;
        }
        if let Some((name, value)) = option {
            fsconfig_set_string(&context, name, value)?;
        }
        if mode == Mode::ReadOnly {
            fsconfig_set_flag(&context, "ro")?;
        }
        fsconfig_create(&context)
    };
    let log = Log::from_now();
    set().map_err(|errno| {
        let mut reasons = reasons(&context);
        if reasons.is_empty() {
            let name = device.file_name().unwrap_or_default().to_string_lossy();
            reasons = log.lines(|line| names(line, &name));
        }
        refused(filesystem, errno, &reasons)
    })?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    if mode == Mode::ReadOnly {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|errno| refused(filesystem, errno, &reasons(&context)))?;
    // What fsmount gives is a place and no open directory.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&mount, ".", flags, rustix::fs::Mode::empty()).map_err(|errno| refused(filesystem, errno, &[]))
}

/// What each driver is told. XFS would refuse the second of two filesystems with one UUID; discarding gains nothing in a
/// transaction.
fn options(driver: &str) -> &'static [&'static str] {
    match driver {
        "xfs" => &["nouuid"],
        "btrfs" => &["nodiscard"],
        _ => &[],
    }
}

/// What the kernel has said about a mount: a letter for its weight, and a text, one by one.
fn reasons(context: impl AsFd) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut line = [0; LINE_MAX];
    while reasons.len() < LINES_MAX {
        let Ok(len) = rustix::io::read(&context, &mut line) else { break };
        let text = String::from_utf8_lossy(line.get(..len).unwrap_or_default());
        let text = text.trim_end();
        // Each begins with its weight: e, w or i.
        reasons.push(text.split_once(' ').map_or(text, |(_, reason)| reason).to_owned());
    }
    reasons
}

fn refused(filesystem: &str, errno: Errno, reasons: &[String]) -> Error {
    let kind = match errno {
        Errno::UCLEAN | Errno::BADMSG | Errno::IO | Errno::INVAL => ErrorKind::Corrupt,
        Errno::EXIST | Errno::BUSY => ErrorKind::InUse,
        // A device of several is missing; a seed is not to be written to.
        Errno::ROFS | Errno::OPNOTSUPP | Errno::NOENT | Errno::ACCESS => ErrorKind::Unsupported,
        _ => ErrorKind::Io,
    };
    let said = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
    let error = Error::new(kind, Layer::Kernel, format!("the kernel will not mount the {filesystem} filesystem{said}"))
        .with_source(std::io::Error::from(errno));
    match kind {
        ErrorKind::InUse => {
            error.with_hint("another filesystem with this UUID is mounted: --attach uml keeps them apart")
        }
        _ if reasons.is_empty() => error.with_hint("dmesg may say more"),
        _ => error,
    }
}
