//! What a block device is called for ever: its name in /dev may be another one after the next boot.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes that tell this device from every other one, as the kernel knows it (sysfs-block(5), sysfs-block-dm,
/// sysfs-block-loop of the kernel's ABI documentation).
///
/// In this order: the UUID of a device-mapper device (an LV's is its own and its group's), of an array; the file behind a
/// loop device; the worldwide name or serial number of a disk; a partition's number with what its disk is called. A device
/// that has none of them is called what it is in /dev.
pub(super) fn identity(number: u64, path: &Path) -> Vec<u8> {
    of(&place(number)).unwrap_or_else(|| [b"path ", path.as_os_str().as_bytes()].concat())
}

/// The same of the disk of which the device is a partition.
pub(super) fn whole(number: u64, path: &Path) -> Vec<u8> {
    let place = place(number);
    let parent = place.parent().filter(|_| place.join("partition").exists());
    parent.and_then(of).unwrap_or_else(|| identity(number, path))
}

/// The byte of its disk at which a partition begins, whose directory in sysfs this is; `None` of what is no partition.
///
/// Source: sysfs-block of the kernel's ABI documentation (`start`, in sectors of 512 bytes).
pub(super) fn start(place: &Path) -> Option<u64> {
    if !place.join("partition").exists() {
        return None;
    }
    let start = fs::read_to_string(place.join("start")).ok().and_then(|start| start.trim().parse::<u64>().ok());
    Some(start.unwrap_or_default().saturating_mul(512))
}

/// The directory of a device in sysfs.
pub(super) fn place(number: u64) -> PathBuf {
    let device = format!("/sys/dev/block/{}:{}", nix::sys::stat::major(number), nix::sys::stat::minor(number));
    fs::canonicalize(&device).unwrap_or(PathBuf::from(device))
}

fn of(directory: &Path) -> Option<Vec<u8>> {
    let read = |name: &str| {
        let text = fs::read(directory.join(name)).ok()?;
        let text = text.trim_ascii();
        (!text.is_empty()).then(|| text.to_vec())
    };
    if let Some(partition) = read("partition") {
        let disk = of(directory.parent()?)?;
        return Some([&b"partition "[..], &partition, b" of ", &disk].concat());
    }
    if let Some(backing) = read("loop/backing_file") {
        let offset = read("loop/offset").unwrap_or_default();
        return Some([&b"loop "[..], &offset, b" ", &backing].concat());
    }
    ["dm/uuid", "md/uuid", "wwid", "device/wwid", "serial", "device/serial"]
        .into_iter()
        .find_map(|name| Some([name.as_bytes(), b" ", &read(name)?].concat()))
}

#[cfg(test)]
mod tests {
    use super::start;
    use std::fs;

    #[test]
    fn a_partition_begins_where_sysfs_says() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("start"), "2048\n").unwrap();
        assert_eq!(start(place.path()), None);
        fs::write(place.path().join("partition"), "1\n").unwrap();
        assert_eq!(start(place.path()), Some(1 << 20));
    }
}
