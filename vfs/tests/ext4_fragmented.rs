//! A filesystem whose free space is single blocks, and what becomes of it when there is more again.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, FileDevice, Scratch, at};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const FILES: usize = 2000;
const BLOCK: usize = 1024;
/// The size of a file that has room in half of their blocks, if in no others.
const LARGE: usize = 950 * BLOCK + 7;

fn open(image: &Path) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap())
}

fn put(fs: &mut dyn GuestFs, path: &str, content: Vec<u8>) {
    let path = at(fs, path);
    fs.create_file(&path, Attrs { mode: 0o644, uid: 0, gid: 0 }).unwrap();
    fs.put(&path, &Content::bytes(content)).unwrap();
}

fn remove(fs: &mut dyn GuestFs, path: &str) {
    let path = at(fs, path);
    fs.remove(&path).unwrap();
}

fn content(seed: usize) -> Vec<u8> {
    (0..LARGE).map(|byte| u8::try_from((byte / 7 + byte / BLOCK * seed) % 251).unwrap()).collect()
}

/// How many extents a file has, once e2fsck has found nothing and its content is what it should be.
fn extents(image: &Path, path: &str, wanted: &[u8]) -> usize {
    oracle::e2fsck(image, path);
    let fs = Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap();
    let mut found = vec![0; wanted.len()];
    assert_eq!(fs.read_at(&at(&fs, path), &mut found, 0).unwrap(), wanted.len());
    assert!(found == wanted, "{path}");
    let mut debugfs = Command::new("debugfs");
    let said =
        oracle::run(debugfs.env("PATH", oracle::path_with_sbin()).args(["-R", &format!("ex {path}")]).arg(image));
    // Below the heads of the columns; of each line the first number says on which level of the tree it is.
    let lines = said.lines().filter_map(|line| line.trim_start().split_once('/'));
    lines.filter(|(level, rest)| rest.trim_start().split(' ').next().is_some_and(|depth| depth == level.trim())).count()
}

#[test]
fn free_space_in_single_blocks_is_used_and_longer_ranges_are_found_again() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let layout =
        ["-t", "ext4", "-b", "1024", "-g", "1024", "-N", "2304", "-m", "0", "-O", "^has_journal,^resize_inode"];
    oracle::mke2fs(&image, 4, Before::Zeros, &layout);
    let mut fs = open(&image);
    let many = at(&*fs, "/many");
    fs.create_dir(&many, Attrs { mode: 0o755, uid: 0, gid: 0 }).unwrap();
    for number in 0..FILES {
        put(&mut *fs, &format!("/many/{number}"), vec![1; BLOCK]);
    }
    // What is left but for a few blocks, which the tree of its extents may take.
    let rest = usize::try_from(fs.features().free_bytes).unwrap() - 16 * BLOCK;
    put(&mut *fs, "/rest", vec![2; rest]);
    for number in (0..FILES).step_by(2) {
        remove(&mut *fs, &format!("/many/{number}"));
    }
    put(&mut *fs, "/pieces", content(3));
    fs.close().unwrap();
    let pieces = extents(&image, "/pieces", &content(3));
    assert!(pieces > 900, "{pieces}");

    let mut fs = open(&image);
    remove(&mut *fs, "/pieces");
    put(&mut *fs, "/again", content(4));
    remove(&mut *fs, "/again");
    for number in (1..FILES).step_by(2) {
        remove(&mut *fs, &format!("/many/{number}"));
    }
    put(&mut *fs, "/whole", content(5));
    fs.close().unwrap();
    let whole = extents(&image, "/whole", &content(5));
    assert!((1..=4).contains(&whole), "{whole}");
}
