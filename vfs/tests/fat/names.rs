//! What mtools has written is read, and what it reads of ours: names, times, labels, counters.

use crate::oracle::{self, Before, FileDevice, Scratch};
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, SetAttrs, Timestamp, open};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_750_000_001, nanoseconds: 7 };
const ATTRS: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

fn mtools(program: &str, image: &Path, words: &[&str]) -> String {
    let mut command = Command::new(program);
    oracle::run(command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").arg("-i").arg(image).args(words))
}

fn write(image: &Path) -> Box<dyn GuestFs> {
    open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap()
}

#[test]
fn to_and_from_mtools() {
    if !oracle::have(&["mkfs.vfat", "fsck.vfat", "mcopy", "mmd", "mdir", "mattrib"]) {
        return;
    }
    let scratch = Scratch::new();
    let (image, file) = (scratch.path("image"), scratch.path("file"));
    oracle::mkfs_vfat(&image, 40 << 20, Before::Zeros, &["-F", "32", "-n", "BOOT", "-i", "12345678"]);
    std::fs::write(&file, "by mtools").unwrap();
    let file = file.to_str().unwrap();
    for name in ["::SHORT.TXT", "::lower.txt", "::Mixed Case and long.TXT", "::ü", "::日本"] {
        mtools("mcopy", &image, &[file, name]);
    }
    mtools("mmd", &image, &["::dir"]);
    mtools("mattrib", &image, &["+r", "::SHORT.TXT"]);

    let mut fs = write(&image);
    let mut names: Vec<String> = fs
        .read_dir(&oracle::at(&*fs, "/"))
        .unwrap()
        .into_iter()
        .map(|entry| String::from_utf8(entry.name).unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["Mixed Case and long.TXT", "SHORT.TXT", "dir", "lower.txt", "ü", "日本"]);
    let features = fs.features();
    assert_eq!((features.label.as_str(), features.uuid.as_str(), features.name), ("BOOT", "1234-5678", "vfat"));
    assert_eq!(fs.lookup(&oracle::at(&*fs, "/short.txt")).unwrap().unwrap().mode, 0o555);
    assert_eq!(imgraft_vfs::fs::read_file(&*fs, &oracle::at(&*fs, "/Ü"), 100).unwrap(), b"by mtools");

    let new = oracle::at(&*fs, "/dir/New file.txt");
    fs.create_file(&new, ATTRS).unwrap();
    fs.put(&new, &Content::bytes(*b"by us")).unwrap();
    // Two seconds are the least, and 1980 is the first year.
    assert_eq!(fs.lookup(&new).unwrap().unwrap().mtime, Timestamp { seconds: 1_750_000_000, nanoseconds: 0 });
    let old = oracle::at(&*fs, "/dir/old");
    fs.create_file(&old, ATTRS).unwrap();
    let mtime = Some(Timestamp { seconds: 5, nanoseconds: 0 });
    fs.set_attrs(&old, SetAttrs { mtime, ..SetAttrs::default() }).unwrap();
    fs.remove(&oracle::at(&*fs, "/Mixed Case and long.TXT")).unwrap();
    let free = fs.features().free_bytes;
    fs.close().unwrap();
    oracle::fsck_vfat(&image, "to_and_from_mtools");
    assert_eq!(mtools("mtype", &image, &["::dir/New file.txt"]), "by us");
    let listed = mtools("mdir", &image, &["::dir"]);
    assert!(listed.contains("NEWFIL~1 TXT         5 2025-06-15  15:06  New file.txt"), "{listed}");
    assert!(listed.contains("1980-01-01   0:00  old"), "{listed}");
    let listed = mtools("mdir", &image, &["::"]);
    let bytes = listed.lines().find(|line| line.contains("bytes free")).unwrap().replace(' ', "");
    assert_eq!(bytes, format!("{free}bytesfree"), "{listed}");
    assert!(!listed.contains("Mixed"), "{listed}");
}
