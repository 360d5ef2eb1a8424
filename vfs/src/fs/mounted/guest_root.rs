//! Which directory of a mounted filesystem is the guest's root: on btrfs it may be a subvolume below the top.

use super::refusal::refused;
use super::subvolume::{Subvolume, of_table};
use crate::error::Result;
use crate::fstab;
use crate::path::Resolved;
use crate::volume::Signature;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// What installers call the subvolume of the root: Ubuntu and Arch `@`, Fedora `root`, Debian `@rootfs`.
const NAMES: [&str; 4] = ["@", "@rootfs", "root", "rootfs"];

/// The most of a guest's fstab that is read, in bytes.
const FSTAB_MAX: u64 = 1 << 20;

/// The directory that a machine has as its root, of a mounted filesystem whose top is open as `top`, and its name there.
///
/// Of anything but btrfs, and of a btrfs whose default subvolume (which is what the kernel mounts) has an `/etc`, that is the
/// top itself (`None`). Otherwise it is the subvolume of a usual name with an `/etc` whose own fstab(5) says that it is the
/// root, else the first of a usual name; and where there is none, the top.
pub fn guest_root(top: OwnedFd, filesystem: &str) -> Result<(OwnedFd, Option<&'static str>)> {
    if filesystem != "btrfs" || directory(&top, "etc")?.is_some() {
        return Ok((top, None));
    }
    let mut first = None;
    for name in NAMES {
        let Some(root) = directory(&top, name)? else { continue };
        let Some(etc) = directory(&root, "etc")? else { continue };
        if fstab(&etc).is_some_and(|fstab| names_root(&fstab, name)) {
            return Ok((root, Some(name)));
        }
        first = first.or(Some((root, name)));
    }
    Ok(match first {
        Some((root, name)) => (root, Some(name)),
        None => (top, None),
    })
}

fn open(at: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve =
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(at, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty(), resolve)
}

/// The directory of this name; `None` where there is none.
fn directory(at: impl AsFd, name: &str) -> Result<Option<OwnedFd>> {
    match open(at, name, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(refused(&Resolved::root().child(name.as_bytes()), "open the directory", errno)),
    }
}

/// The subvolumes that the guest mounts below its root, which is open as `root`; none on anything but btrfs.
pub fn subvolumes(root: impl AsFd, signature: &Signature) -> Result<Vec<Subvolume>> {
    if signature.name != "btrfs" {
        return Ok(Vec::new());
    }
    let table = directory(root, "etc")?.and_then(fstab).unwrap_or_default();
    Ok(of_table(&table, signature))
}

fn fstab(etc: impl AsFd) -> Option<Vec<u8>> {
    let file = File::from(open(etc, "fstab", OFlags::RDONLY).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FSTAB_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether a table mounts the subvolume `name` as the root (btrfs(5), mount options).
fn names_root(table: &[u8], name: &str) -> bool {
    let (entries, _) = fstab::parse(table);
    entries.iter().any(|entry| {
        let subvolume = entry.value("subvol").map(|subvolume| subvolume.trim_start_matches('/'));
        entry.path.as_bytes() == b"/" && subvolume == Some(name)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn tables_that_mount_a_subvolume() {
        for (table, expected) in [
            ("UUID=x / btrfs subvol=@,noatime 0 0", true),
            ("# a comment\nLABEL=r\t/\tbtrfs\tdefaults,subvol=/@ 0 1\n", true),
            ("#UUID=x / btrfs subvol=@ 0 0", false),
            ("UUID=x /home btrfs subvol=@ 0 0", false),
            ("UUID=x / btrfs subvol=@home 0 0", false),
            ("UUID=x / ext4 defaults 0 1", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(names_root(table.as_bytes(), "@"), expected, "{table}");
        }
    }

    fn found(at: &Path, filesystem: &str) -> Option<&'static str> {
        guest_root(fs::File::open(at).unwrap().into(), filesystem).unwrap().1
    }

    #[test]
    fn subvolumes_by_their_names_and_tables() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path();
        assert_eq!(found(top, "btrfs"), None);
        fs::create_dir_all(top.join("@/etc")).unwrap();
        fs::create_dir_all(top.join("root/etc")).unwrap();
        std::os::unix::fs::symlink("/", top.join("@rootfs")).unwrap();
        assert_eq!(found(top, "btrfs"), Some("@"));
        fs::write(top.join("root/etc/fstab"), "LABEL=x / btrfs subvol=root 0 0\n").unwrap();
        assert_eq!(found(top, "btrfs"), Some("root"));
        assert_eq!(found(top, "xfs"), None);
        fs::create_dir(top.join("etc")).unwrap();
        assert_eq!(found(top, "btrfs"), None);
    }
}
