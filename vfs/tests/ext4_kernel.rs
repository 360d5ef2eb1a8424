//! Filesystems that the kernel or mke2fs has filled: read, changed, and judged again.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp, Xattr};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, at};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const ATTRS: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

fn write(image: &Path) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap())
}

/// Has e2fsck judge an image, and the kernel's view of it compared with ours.
fn judge(image: &Path, context: &str) {
    oracle::e2fsck(image, context);
    let fs = Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap();
    oracle::assert_same(&oracle::tree(&fs), &Mounted::new(image, "ro,noload").tree(), context);
}

fn fallocate(path: &Path, arguments: &[&str]) {
    oracle::run(Command::new("fallocate").args(arguments).arg(path));
}

#[test]
fn holes_and_blocks_set_aside_by_the_kernel() {
    if !oracle::have(&["mke2fs", "e2fsck", "fallocate"]) || !oracle::can_mount() {
        return;
    }
    for arguments in [&["-b", "1024"][..], &["-b", "4096"], &["-b", "1024", "-O", "bigalloc", "-C", "16384"]] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 48, Before::Garbage, &[&["-t", "ext4"], arguments].concat());
        let mounted = Mounted::new(&image, "rw");
        let host = |name: &str| mounted.path().join(name);
        let mut random = Random(9);
        for name in ["kept", "unwritten", "punched", "beyond", "tail"] {
            fs::write(host(name), random.bytes(150_000)).unwrap();
        }
        fallocate(&host("kept"), &["-n", "-l", "2000000"]);
        fallocate(&host("unwritten"), &["-o", "150000", "-l", "300000"]);
        for offset in (0..140_000).step_by(12_288) {
            fallocate(&host("punched"), &["-p", "-o", &offset.to_string(), "-l", "4096"]);
        }
        File::options().write(true).open(host("beyond")).unwrap().write_all_at(b"far", 5 << 30).unwrap();
        fallocate(&host("tail"), &["-z", "-o", "100000", "-l", "50000"]);
        fallocate(&host("never"), &["-l", "100001"]);
        drop(mounted);
        // Reading 5 GiB of hole is no work for us; the kernel's view of it is taken below.
        let fs = Ext4::open(Arc::new(FileDevice::open(&image)), Mode::ReadOnly).unwrap();
        let mut end = [1; 8];
        assert_eq!(fs.read_at(&at(&fs, "/beyond"), &mut end, (5 << 30) - 5).unwrap(), 8);
        assert_eq!(&end, b"\0\0\0\0\0far");
        let mut fs = write(&image);
        let path = at(&*fs, "/beyond");
        fs.truncate(&path, 1_000_000).unwrap();
        fs.close().unwrap();
        judge(&image, "as the kernel left it");

        let mut fs = write(&image);
        for name in ["kept", "unwritten", "punched", "tail", "never"] {
            let path = at(&*fs, format!("/{name}"));
            fs.append(&path, &Content::bytes(random.bytes(10_000))).unwrap();
        }
        fs.close().unwrap();
        judge(&image, "appended");
        let mut fs = write(&image);
        for (name, size) in [("kept", 7), ("unwritten", 200_001), ("punched", 4_100), ("tail", 120_000), ("never", 5)] {
            let path = at(&*fs, format!("/{name}"));
            fs.truncate(&path, size).unwrap();
            fs.truncate(&path, size + 10_000).unwrap();
        }
        fs.close().unwrap();
        judge(&image, "cut");
        let mut fs = write(&image);
        for name in ["kept", "unwritten", "punched", "tail", "never", "beyond"] {
            let path = at(&*fs, format!("/{name}"));
            fs.remove(&path).unwrap();
        }
        fs.close().unwrap();
        judge(&image, "removed");
    }
}

#[test]
fn a_deep_index_of_names_made_by_the_kernel() {
    if !oracle::have(&["mke2fs", "e2fsck"]) || !oracle::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 48, Before::Garbage, &["-t", "ext4", "-b", "1024", "-N", "24000"]);
    let name = |number: u32| format!("many/{}{number}", "long-name-".repeat(8));
    let mounted = Mounted::new(&image, "rw");
    fs::create_dir(mounted.path().join("many")).unwrap();
    for number in 0..8_000 {
        File::create(mounted.path().join(name(number))).unwrap();
    }
    drop(mounted);
    let mut fs = write(&image);
    for number in 8_000..12_000 {
        let path = at(&*fs, format!("/{}", name(number)));
        fs.create_file(&path, ATTRS).unwrap();
    }
    for number in (0..12_000).step_by(3) {
        let path = at(&*fs, format!("/{}", name(number)));
        fs.remove(&path).unwrap();
    }
    fs.close().unwrap();
    judge(&image, "grown by us");
    let mounted = Mounted::new(&image, "rw");
    for number in 0..12_000 {
        assert_eq!(fs::symlink_metadata(mounted.path().join(name(number))).is_ok(), number % 3 != 0, "{number}");
    }
    for number in 12_000..13_000 {
        File::create(mounted.path().join(name(number))).unwrap();
    }
    drop(mounted);
    judge(&image, "grown by the kernel again");
}

#[test]
fn the_block_maps_of_ext2_and_ext3_are_read() {
    if !oracle::have(&["mke2fs", "e2fsck"]) || !oracle::can_mount() {
        return;
    }
    for (kind, block_size) in [("ext3", "1024"), ("ext3", "2048"), ("ext3", "4096")] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 64, Before::Garbage, &["-t", kind, "-b", block_size, "-d", "/etc"]);
        let mounted = Mounted::new(&image, "rw");
        let mut random = Random(1);
        fs::write(mounted.path().join("large"), random.bytes(20_000_000)).unwrap();
        let sparse = File::create(mounted.path().join("sparse")).unwrap();
        for place in [0, 20_000, 300_000, 70_000_000, 90_000_000] {
            sparse.write_all_at(&random.bytes(3_000), place).unwrap();
        }
        drop(sparse);
        drop(mounted);
        judge(&image, kind);
    }
}

#[test]
fn an_attribute_block_that_files_share_stays_whole() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) || !oracle::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 16, Before::Garbage, &["-t", "ext4", "-b", "1024", "-I", "128"]);
    let mounted = Mounted::new(&image, "rw");
    for name in ["a", "b", "c", "d"] {
        let path = mounted.path().join(name);
        File::create(&path).unwrap();
        rustix::fs::lsetxattr(&path, "user.same", &[7; 500], rustix::fs::XattrFlags::empty()).unwrap();
    }
    drop(mounted);
    let block = |name: &str| {
        let text = oracle::run(Command::new("debugfs").args(["-R", &format!("stat /{name}")]).arg(&image));
        text.split("File ACL: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned()
    };
    assert_eq!(block("a"), block("d"), "the kernel was expected to share it");
    let mut fs = write(&image);
    let [a, b, c] = ["/a", "/b", "/c"].map(|path| at(&*fs, path));
    fs.set_xattr(&a, &Xattr { name: b"user.more".to_vec(), value: vec![1; 9] }).unwrap();
    fs.remove_xattr(&b, b"user.same").unwrap();
    fs.remove(&c).unwrap();
    fs.close().unwrap();
    assert_ne!(block("a"), block("d"));
    assert_eq!(block("b"), "0");
    judge(&image, "no longer shared");
    let mut fs = write(&image);
    let d = at(&*fs, "/d");
    assert_eq!(fs.xattrs(&d).unwrap(), [Xattr { name: b"user.same".to_vec(), value: vec![7; 500] }]);
    fs.remove(&d).unwrap();
    fs.close().unwrap();
    judge(&image, "the last reference gone");
}

#[test]
fn a_tree_made_by_mke2fs() {
    if !oracle::have(&["mke2fs", "e2fsck"]) || !oracle::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for arguments in [&["-t", "ext4", "-d", "/etc"][..], &["-t", "ext4", "-b", "1024", "-I", "128", "-d", "/etc"]] {
        oracle::mke2fs(&image, 64, Before::Garbage, arguments);
        judge(&image, "as made");
        let mut fs = write(&image);
        let names: Vec<_> = fs.read_dir(&at(&*fs, "/")).unwrap();
        for entry in names {
            let path = at(&*fs, [b"/".as_slice(), &entry.name].concat());
            let found = fs.lookup(&path).unwrap().unwrap();
            assert_eq!(found.file_type, entry.file_type);
            match entry.file_type {
                imgraft_vfs::fs::FileType::Regular => fs.append(&path, &Content::bytes(b"# one line more\n".to_vec())),
                imgraft_vfs::fs::FileType::Directory => {
                    let new = at(&*fs, [path.as_bytes(), b"/new"].concat());
                    fs.create_file(&new, ATTRS)
                }
                _ => fs.remove(&path),
            }
            .unwrap();
        }
        fs.close().unwrap();
        judge(&image, "changed");
    }
}
