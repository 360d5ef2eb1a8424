//! A directory whose index has a third level (`large_dir`), made by this driver and by the kernel, each going on where
//! the other stopped.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{GuestFs, Mode, Timestamp};
use oracle::{Before, FileDevice, Mounted, Scratch, at};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const UUID: &str = "6d616c69-6365-4000-8000-000000000002";
/// With blocks of 1 KiB and this seed, so many of the longest names fill most of two levels; some more need a third.
const TWO_LEVELS: u32 = 20_000;
const THREE_LEVELS: u32 = 22_500;

fn name(number: u32) -> String {
    format!("{number:05}{}", "n".repeat(250))
}

/// Removes names and makes others, all of one file.
fn kernels(image: &Path, gone: Range<u32>, new: Range<u32>) {
    let mounted = Mounted::new(image, "rw");
    let path = |number| mounted.path().join("deep").join(name(number));
    gone.for_each(|number| fs::remove_file(path(number)).unwrap());
    new.for_each(|number| fs::hard_link(mounted.path().join("file"), path(number)).unwrap());
}

fn ours(image: &Path, gone: Range<u32>, new: Range<u32>) {
    let device = Arc::new(FileDevice::open(image));
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, Mode::ReadWrite { now: NOW }).unwrap());
    for number in gone {
        let path = at(&*fs, format!("/deep/{}", name(number)));
        fs.remove(&path).unwrap();
    }
    let file = at(&*fs, "/file");
    for number in new {
        let path = at(&*fs, format!("/deep/{}", name(number)));
        fs.hard_link(&file, &path).unwrap();
    }
    fs.close().unwrap();
}

/// An image is clean, its index has so many levels, and we and the kernel find so many names in it, apart from those that
/// are gone; one by one as well.
fn judge(image: &Path, levels: u32, names: u32, gone: Range<u32>, context: &str) {
    oracle::e2fsck(image, context);
    let said = Command::new("debugfs").args(["-R", "htree_dump /deep"]).arg(image).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&format!("Indirect levels: {levels}")), "{context}: {said:.400}");
    let wanted: BTreeSet<OsString> =
        (0..names).filter(|number| !gone.contains(number)).map(|number| name(number).into()).collect();
    let fs = Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap();
    let ours: BTreeSet<OsString> =
        fs.read_dir(&at(&fs, "/deep")).unwrap().into_iter().map(|entry| OsString::from_vec(entry.name)).collect();
    assert!(ours == wanted, "{context}: {} names to us, not {}", ours.len(), wanted.len());
    let mounted = Mounted::new(image, "ro,noload");
    let deep = mounted.path().join("deep");
    let theirs: BTreeSet<OsString> = fs::read_dir(&deep).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(theirs == wanted, "{context}: {} names to the kernel, not {}", theirs.len(), wanted.len());
    for name in wanted.iter().step_by(7) {
        assert!(deep.join(name).symlink_metadata().is_ok(), "{context}: {name:?} is not found");
    }
}

#[test]
fn an_index_of_three_levels_is_the_kernels_too() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) || !oracle::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let [one, other] = ["one", "other"].map(|name| scratch.path(name));
    let seed = format!("hash_seed={UUID}");
    let arguments = ["-t", "ext4", "-b", "1024", "-O", "large_dir", "-N", "64", "-U", UUID, "-E", &seed];
    oracle::mke2fs(&one, 64, Before::Garbage, &arguments);
    {
        let mounted = Mounted::new(&one, "rw");
        fs::create_dir(mounted.path().join("deep")).unwrap();
        File::create(mounted.path().join("file")).unwrap();
    }
    kernels(&one, 0..0, 0..TWO_LEVELS);
    judge(&one, 1, TWO_LEVELS, 0..0, "two levels");
    fs::copy(&one, &other).unwrap();
    // The third level comes of an edit of ours, and of the kernel's.
    ours(&one, 0..0, TWO_LEVELS..THREE_LEVELS);
    kernels(&other, 0..0, TWO_LEVELS..THREE_LEVELS);
    judge(&one, 2, THREE_LEVELS, 0..0, "three levels by us");
    judge(&other, 2, THREE_LEVELS, 0..0, "three levels by the kernel");
    let (gone, new) = (2_000..4_000, THREE_LEVELS..THREE_LEVELS + 2_000);
    kernels(&one, gone.clone(), new.clone());
    ours(&other, gone.clone(), new.clone());
    judge(&one, 2, new.end, gone.clone(), "the kernel after us");
    judge(&other, 2, new.end, gone, "we after the kernel");
}
