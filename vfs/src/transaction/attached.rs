//! Loop devices of the host over an image: the kernel locks nothing for them.
//!
//! Sources: the kernel's Documentation/ABI/testing/sysfs-block (`dev`, `ro`, `holders`, partitions) and sysfs-block-loop
//! (`backing_file`); proc(5) for /proc/self/mountinfo.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A loop device that can write to a file.
#[derive(Debug)]
pub(super) struct Loop {
    name: String,
    /// Its directory in sysfs.
    place: PathBuf,
}

impl Loop {
    /// The one that can write to this file, other than `own`, as far as this process can see: the kernel gives the file's
    /// name, which may be that of another mount namespace.
    pub(super) fn writing_to(file: &File, own: Option<&str>) -> Option<Self> {
        let its = file.metadata().ok()?;
        fs::read_dir("/sys/block").ok()?.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| name.starts_with("loop"))?;
            if own == Some(name.as_str()) {
                return None;
            }
            let place = entry.path();
            let backing = fs::read(place.join("loop/backing_file")).ok()?;
            let backing = backing.strip_suffix(b"\n").unwrap_or(&backing);
            let metadata = fs::metadata(Path::new(OsStr::from_bytes(backing))).ok()?;
            let writes = fs::read(place.join("ro")).is_ok_and(|ro| ro.starts_with(b"0"));
            (writes && (metadata.dev(), metadata.ino()) == (its.dev(), its.ino())).then_some(Self { name, place })
        })
    }

    /// What it is called.
    pub(super) fn device(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// Whether a filesystem on it or on one of its partitions is mounted read-write, or another device lies over it.
    pub(super) fn is_used(&self) -> bool {
        let parts = fs::read_dir(&self.place).into_iter().flatten().flatten();
        let parts = parts.filter(|entry| entry.file_name().as_bytes().starts_with(self.name.as_bytes()));
        let places: Vec<PathBuf> = parts.map(|entry| entry.path()).chain([self.place.clone()]).collect();
        if places.iter().any(|place| fs::read_dir(place.join("holders")).is_ok_and(|mut held| held.next().is_some())) {
            return true;
        }
        let number = |place: &PathBuf| fs::read_to_string(place.join("dev")).ok().map(|dev| dev.trim().to_owned());
        let numbers: Vec<String> = places.iter().filter_map(number).collect();
        let names: Vec<String> =
            places.iter().filter_map(|place| Some(format!("/dev/{}", place.file_name()?.to_str()?))).collect();
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        mounts.split(|byte| *byte == b'\n').any(|line| writes_to(&String::from_utf8_lossy(line), &numbers, &names))
    }
}

/// Whether a line of mountinfo is of a filesystem that is written to, on a device of these numbers or names: some
/// filesystems have a number of their own.
fn writes_to(line: &str, numbers: &[String], names: &[String]) -> bool {
    let Some((mount, filesystem)) = line.split_once(" - ") else { return false };
    let mut filesystem = filesystem.split(' ');
    let (_, source, options) = (filesystem.next(), filesystem.next(), filesystem.next());
    let number = mount.split(' ').nth(2);
    let on_it = number.is_some_and(|number| numbers.iter().any(|one| one == number))
        || source.is_some_and(|source| names.iter().any(|one| one == source));
    on_it && options.is_some_and(|options| options.split(',').any(|option| option == "rw"))
}

#[cfg(test)]
mod tests {
    use super::writes_to;

    #[test]
    fn a_mount_writes_by_its_number_or_by_its_source() {
        let [numbers, names] = [vec!["7:3".to_owned(), "259:1".to_owned()], vec!["/dev/loop3p1".to_owned()]];
        for (line, expected) in [
            ("36 35 7:3 / /mnt rw,noatime shared:1 - ext4 /dev/loop3 rw,errors=continue", true),
            ("36 35 259:1 / /mnt ro - ext4 /dev/loop3p1 rw", true),
            ("36 35 0:44 / /mnt rw - btrfs /dev/loop3p1 rw,space_cache", true),
            ("36 35 7:3 / /mnt rw - ext4 /dev/loop3 ro", false),
            ("36 35 7:33 / /mnt rw - ext4 /dev/loop33 rw", false),
            ("36 35 8:1 / /mnt rw - ext4 /dev/sda1 rw", false),
            ("", false),
        ] {
            assert_eq!(writes_to(line, &numbers, &names), expected, "{line}");
        }
    }
}
