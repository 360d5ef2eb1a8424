//! `inline_data`: what lies inside inodes, by us, by the kernel and by mke2fs, and what grows out of them.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp, Xattr};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, at};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const ATTRS: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

fn write(image: &Path) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap())
}

/// Has e2fsck and the kernel judge an image.
fn judge(image: &Path, context: &str) {
    oracle::e2fsck(image, context);
    if oracle::can_mount() {
        let fs = Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap();
        oracle::assert_same(&oracle::tree(&fs), &Mounted::new(image, "ro,noload").tree(), context);
    }
}

fn is_inline(image: &Path, path: &str) -> bool {
    let text = oracle::run(Command::new("debugfs").args(["-R", &format!("stat {path}")]).arg(image));
    text.contains("Flags: 0x10000000")
}

#[test]
fn a_file_lies_in_its_inode_as_long_as_it_fits() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 16, Before::Garbage, &["-t", "ext4", "-O", "inline_data"]);
    let mut random = Random(3);
    // An inode of 256 bytes has room for 60 and 68.
    for len in [0, 1, 59, 60, 61, 64, 127, 128, 129, 5000] {
        let context = format!("{len} bytes");
        let mut fs = write(&image);
        let file = at(&*fs, "/file");
        fs.create_file(&file, ATTRS).unwrap();
        let mut content = random.bytes(len);
        fs.put(&file, &Content::bytes(content.clone())).unwrap();
        fs.close().unwrap();
        judge(&image, &context);
        assert_eq!(is_inline(&image, "/file"), (1..=128).contains(&len), "{context}");
        for size in [len + 3, len / 2, len + 40, 4096, 61, 30, 0, 200, 20, 9000] {
            let mut fs = write(&image);
            fs.truncate(&file, size as u64).unwrap();
            content.resize(size, 0);
            let tail = random.bytes(size % 50);
            fs.append(&file, &Content::bytes(tail.clone())).unwrap();
            content.extend(tail);
            fs.close().unwrap();
            let context = format!("{context}, made {size} and more");
            judge(&image, &context);
            let fs = write(&image);
            let mut read = vec![1; content.len() + 1];
            assert_eq!(fs.read_at(&file, &mut read, 0).unwrap(), content.len(), "{context}");
            assert!(read[..content.len()] == content, "{context}");
        }
        let mut fs = write(&image);
        fs.remove(&file).unwrap();
        fs.close().unwrap();
        judge(&image, &format!("{context}, removed"));
    }
}

#[test]
fn attributes_and_content_share_an_inode() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 16, Before::Garbage, &["-t", "ext4", "-O", "inline_data"]);
    let mut fs = write(&image);
    let file = at(&*fs, "/file");
    fs.create_file(&file, ATTRS).unwrap();
    fs.put(&file, &Content::bytes(vec![7; 100])).unwrap();
    // The second and the third have to go into a block; the content may not.
    let xattrs: Vec<Xattr> =
        [8, 40, 700].map(|len| Xattr { name: format!("user.{len:03}").into_bytes(), value: vec![1; len] }).into();
    for xattr in &xattrs {
        fs.set_xattr(&file, xattr).unwrap();
    }
    assert_eq!(fs.xattrs(&file).unwrap(), xattrs, "the content is no attribute");
    fs.close().unwrap();
    judge(&image, "with attributes");
    assert!(is_inline(&image, "/file"));
    let mut fs = write(&image);
    fs.append(&file, &Content::bytes(vec![8; 28])).unwrap();
    fs.close().unwrap();
    judge(&image, "grown");
    let mut fs = write(&image);
    assert_eq!(fs.xattrs(&file).unwrap(), xattrs);
    for xattr in &xattrs {
        fs.remove_xattr(&file, &xattr.name).unwrap();
    }
    fs.put(&file, &Content::bytes(vec![9; 128])).unwrap();
    fs.close().unwrap();
    judge(&image, "without");
    assert!(is_inline(&image, "/file"));
}

#[test]
fn a_directory_grows_out_of_its_inode() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    for arguments in [
        &["-t", "ext4", "-O", "inline_data"][..],
        &["-t", "ext4", "-b", "1024", "-I", "1024", "-O", "inline_data"],
        &["-t", "ext4", "-b", "4096", "-I", "4096", "-N", "512", "-O", "inline_data,^metadata_csum"],
    ] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 16, Before::Garbage, arguments);
        for (name, count, length) in [("few", 4, 3), ("more", 9, 5), ("long", 3, 200), ("many", 60, 90)] {
            let mut fs = write(&image);
            let directory = at(&*fs, format!("/{name}"));
            fs.create_dir(&directory, ATTRS).unwrap();
            fs.close().unwrap();
            assert!(is_inline(&image, &format!("/{name}")));
            let path = |number: usize| format!("/{name}/{number}{}", "n".repeat(length));
            for number in 0..count {
                let mut fs = write(&image);
                let file = at(&*fs, path(number));
                if number % 3 == 0 {
                    fs.create_dir(&file, ATTRS).unwrap();
                } else {
                    fs.create_symlink(&file, b"target", ATTRS).unwrap();
                }
                fs.close().unwrap();
                if number % 7 < 3 {
                    judge(&image, &format!("{arguments:?}, {} in {name}", number + 1));
                }
            }
            let mut fs = write(&image);
            let other = at(&*fs, format!("/moved-{name}"));
            fs.rename(&at(&*fs, path(0)), &other).unwrap();
            for number in (1..count).step_by(2) {
                let file = at(&*fs, path(number));
                fs.remove(&file).unwrap();
            }
            fs.close().unwrap();
            judge(&image, &format!("{arguments:?}, half of {name} is gone"));
        }
        assert!(!is_inline(&image, "/many"));
    }
}

#[test]
fn what_others_have_put_into_inodes_is_read_and_changed() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) || !oracle::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 64, Before::Garbage, &["-t", "ext4", "-b", "1024", "-O", "inline_data", "-d", "/etc"]);
    let link = format!("symlink inline {}", "t".repeat(100));
    oracle::run(Command::new("debugfs").args(["-w", "-R", &link]).arg(&image));
    assert!(is_inline(&image, "/inline"), "debugfs was expected to put it there");
    let mounted = Mounted::new(&image, "rw");
    let mut random = Random(5);
    for number in 0..200_usize {
        let directory = mounted.path().join(format!("kernel/{}", number % 30));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{number}-{}", "n".repeat(number % 9))), random.bytes(number)).unwrap();
    }
    drop(mounted);
    judge(&image, "as the kernel left it");
    let mut fs = write(&image);
    assert_eq!(fs.read_link(&at(&*fs, "/inline")).unwrap(), [b't'; 100]);
    let link = at(&*fs, "/inline");
    fs.remove(&link).unwrap();
    for number in 0..200_usize {
        let path = at(&*fs, format!("/kernel/{}/{number}-{}", number % 30, "n".repeat(number % 9)));
        match number % 4 {
            0 => fs.remove(&path).unwrap(),
            1 => fs.append(&path, &Content::bytes(random.bytes(number / 3))).unwrap(),
            2 => fs.put(&path, &Content::bytes(random.bytes(number))).unwrap(),
            _ => {
                let to = at(&*fs, format!("/kernel/{}/{number}-moved", (number + 1) % 30));
                fs.rename(&path, &to).unwrap();
            }
        }
    }
    fs.close().unwrap();
    judge(&image, "changed");
    let mounted = Mounted::new(&image, "rw");
    for number in 0..200_usize {
        let name = format!("kernel/{}/again-{number}", number % 30);
        std::fs::write(mounted.path().join(name), random.bytes(number)).unwrap();
    }
    drop(mounted);
    judge(&image, "changed by the kernel again");
}
