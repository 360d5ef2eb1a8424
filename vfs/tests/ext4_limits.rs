//! Full filesystems, fragmented ones, large ones, and what an ordinary job costs.

mod oracle;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp, Xattr};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, at};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

/// A time of deletion is also where a list of orphans goes on, in what it is mistaken for.
#[test]
fn what_is_deleted_in_1970_is_deleted() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    for seconds in [-5, 0, 1, 11, 12, 500] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 16, Before::Zeros, &["-t", "ext4"]);
        let now = Timestamp { seconds, nanoseconds: 0 };
        let open = || Ext4::open(Arc::new(FileDevice::open(&image)), Mode::ReadWrite { now }).unwrap();
        let mut fs: Box<dyn GuestFs> = Box::new(open());
        let paths = [at(&*fs, "/a"), at(&*fs, "/b")];
        for path in &paths {
            fs.create_file(path, ATTRS).unwrap();
            fs.put(path, &Content::bytes(vec![7; 5000])).unwrap();
        }
        fs.close().unwrap();
        let mut fs: Box<dyn GuestFs> = Box::new(open());
        fs.remove(&paths[0]).unwrap();
        fs.close().unwrap();
        judge(&image, &format!("{seconds}"));
    }
}

#[test]
fn a_filesystem_can_be_filled_to_the_last_block() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    for (size, arguments) in [
        (24, &["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "^has_journal"][..]),
        (24, &["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^has_journal,^metadata_csum,uninit_bg"]),
        (24, &["-t", "ext4", "-b", "4096"]),
        (24, &["-t", "ext2", "-b", "1024", "-g", "1024"]),
        (24, &["-t", "ext4", "-b", "1024", "-O", "bigalloc,^has_journal", "-C", "4096"]),
    ] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, size, Before::Garbage, arguments);
        let mut fs = write(&image);
        let block = u64::from(fs.features().block_size);
        let mut random = Random(3);
        for number in 0.. {
            // Half of what is left, until a single block is.
            let free = fs.features().free_bytes;
            let path = at(&*fs, format!("/{number}"));
            fs.create_file(&path, ATTRS).unwrap();
            let len = (free / 2).max(block) / block * block;
            if free < 6 * block {
                break;
            }
            fs.put(&path, &Content::bytes(random.bytes(len as usize))).unwrap();
        }
        while fs.features().free_bytes > 0 {
            let path = at(&*fs, "/0");
            fs.append(&path, &Content::bytes(random.bytes(block as usize))).unwrap();
        }
        fs.close().unwrap();
        judge(&image, "full");
        let mut fs = write(&image);
        let path = at(&*fs, "/0");
        assert_eq!(fs.append(&path, &Content::bytes([1; 5000])).unwrap_err().kind(), ErrorKind::NoSpace);
        drop(fs);
        let mut fs = write(&image);
        let path = at(&*fs, "/directory");
        assert_eq!(fs.create_dir(&path, ATTRS).unwrap_err().kind(), ErrorKind::NoSpace);
        drop(fs);
        judge(&image, "refused");
        let mut fs = write(&image);
        let names: Vec<_> = fs.read_dir(&at(&*fs, "/")).unwrap().into_iter().map(|entry| entry.name).collect();
        for name in names.into_iter().filter(|name| name != b"lost+found") {
            let path = at(&*fs, [b"/".as_slice(), &name].concat());
            fs.remove(&path).unwrap();
        }
        fs.close().unwrap();
        judge(&image, "emptied");
    }
}

#[test]
fn inodes_run_out_with_a_refusal() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 8, Before::Garbage, &["-t", "ext4", "-b", "1024", "-N", "64", "-g", "2048"]);
    let mut fs = write(&image);
    for number in 0..fs.features().free_inodes {
        let path = at(&*fs, format!("/{number}"));
        fs.create_symlink(&path, b"x", ATTRS).unwrap();
    }
    fs.close().unwrap();
    judge(&image, "no inodes");
    let mut fs = write(&image);
    let path = at(&*fs, "/more");
    assert_eq!(fs.create_file(&path, ATTRS).unwrap_err().kind(), ErrorKind::NoSpace);
}

#[test]
fn a_fragmented_file_has_a_deep_tree_that_grows_and_shrinks() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let arguments = ["-t", "ext4", "-b", "1024", "-N", "4096", "-O", "^has_journal"];
    oracle::mke2fs(&image, 12, Before::Garbage, &arguments);
    let mut fs = write(&image);
    // Comb: every second block taken.
    let comb = at(&*fs, "/comb");
    fs.create_dir(&comb, ATTRS).unwrap();
    let count = 2400;
    for number in 0..count {
        let path = at(&*fs, format!("/comb/{number}"));
        fs.create_file(&path, ATTRS).unwrap();
        fs.put(&path, &Content::bytes([7; 1024])).unwrap();
    }
    let fill = at(&*fs, "/fill");
    fs.create_file(&fill, ATTRS).unwrap();
    let free = fs.features().free_bytes - 100 * 1024;
    fs.put(&fill, &Content::bytes(vec![9; free as usize])).unwrap();
    for number in (0..count).step_by(2) {
        let path = at(&*fs, format!("/comb/{number}"));
        fs.remove(&path).unwrap();
    }
    let deep = at(&*fs, "/deep");
    fs.create_file(&deep, ATTRS).unwrap();
    let mut content = Random(5).bytes(1_150 * 1024);
    fs.put(&deep, &Content::bytes(content.clone())).unwrap();
    fs.close().unwrap();
    judge(&image, "deep");
    if oracle::have(&["debugfs"]) {
        let dump = oracle::run(Command::new("debugfs").args(["-R", "ex /deep"]).arg(&image));
        assert!(dump.contains("2/ 2"), "not two levels deep:\n{dump}");
    }
    for size in [1_100 * 1024 + 1, 700_000, 400_001, 84 * 4 * 1024, 50_000, 5_000, 4 * 1024, 1, 0] {
        let mut fs = write(&image);
        fs.truncate(&deep, size).unwrap();
        content.truncate(size as usize);
        fs.append(&deep, &Content::bytes(b"tail".to_vec())).unwrap();
        content.extend_from_slice(b"tail");
        let mut read = vec![0; content.len() + 10];
        assert_eq!(fs.read_at(&deep, &mut read, 0).unwrap(), content.len());
        assert!(read[..content.len()] == content, "wrong content at {size}");
        fs.truncate(&deep, size).unwrap();
        content.truncate(size as usize);
        fs.close().unwrap();
        judge(&image, &format!("cut to {size}"));
    }
}

#[test]
fn the_rest_of_the_last_block_holds_nothing() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 8, Before::Zeros, &["-t", "ext4"]);
    let device = Arc::new(MemDevice::new(std::fs::read(&image).unwrap()));
    let count = || {
        let mut bytes = vec![0; 8 << 20];
        device.read_at(&mut bytes, 0).unwrap();
        bytes.windows(3).filter(|window| window == b"\xe7\xe7\xe7").count()
    };
    let before = count();
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device.clone(), Mode::ReadWrite { now: NOW }).unwrap());
    let path = at(&*fs, "/file");
    fs.create_file(&path, ATTRS).unwrap();
    fs.put(&path, &Content::bytes(vec![0xe7; (1 << 20) + 3])).unwrap();
    fs.close().unwrap();
    assert_eq!(count() - before, (1 << 20) + 1);
}

#[test]
fn a_file_past_two_gigabytes_is_declared() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 16, Before::Zeros, &["-t", "ext4", "-O", "^large_file"]);
    let mut fs = write(&image);
    let path = at(&*fs, "/large");
    fs.create_file(&path, ATTRS).unwrap();
    fs.truncate(&path, 3 << 30).unwrap();
    fs.append(&path, &Content::bytes(b"end".to_vec())).unwrap();
    let mut end = [1; 8];
    assert_eq!(fs.read_at(&path, &mut end, (3 << 30) - 4).unwrap(), 7);
    assert_eq!(&end[..7], b"\0\0\0\0end");
    fs.close().unwrap();
    oracle::e2fsck(&image, "large");
    let fs = write(&image);
    assert!(fs.features().feature_names.iter().any(|name| name == "large_file"));
}

#[test]
fn a_directory_stops_counting_its_subdirectories() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for (features, expected) in [("dir_nlink", Some(1)), ("^dir_nlink", None)] {
        oracle::mke2fs(&image, 16, Before::Zeros, &["-t", "ext4", "-b", "1024", "-O", features]);
        let mut fs = write(&image);
        let many = at(&*fs, "/many");
        fs.create_dir(&many, ATTRS).unwrap();
        for number in 0..100 {
            let path = at(&*fs, format!("/many/file-{number}"));
            fs.create_file(&path, ATTRS).unwrap();
        }
        fs.close().unwrap();
        oracle::run(Command::new("debugfs").args(["-w", "-R", "sif /many links_count 64999"]).arg(&image));
        let mut fs = write(&image);
        for (name, links) in [("a", Some(65_000)), ("b", expected), ("c", expected)] {
            let path = at(&*fs, format!("/many/{name}"));
            let made = fs.create_dir(&path, ATTRS);
            let Some(links) = links else {
                assert_eq!(made.unwrap_err().kind(), ErrorKind::NoSpace);
                break;
            };
            made.unwrap();
            assert_eq!(fs.lookup(&many).unwrap().unwrap().links, links, "{features}");
        }
    }
}

#[test]
fn a_directory_with_more_subdirectories_than_it_can_count() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let arguments = ["-t", "ext4", "-b", "1024", "-N", "66000", "-I", "128", "-O", "^has_journal"];
    oracle::mke2fs(&image, 100, Before::Zeros, &arguments);
    let mut fs = write(&image);
    let many = at(&*fs, "/many");
    fs.create_dir(&many, ATTRS).unwrap();
    for number in 0..65_100 {
        let path = at(&*fs, format!("/many/{number}"));
        fs.create_dir(&path, ATTRS).unwrap();
    }
    assert_eq!(fs.lookup(&many).unwrap().unwrap().links, 1);
    for number in 0..20 {
        let path = at(&*fs, format!("/many/{number}"));
        fs.remove(&path).unwrap();
    }
    fs.close().unwrap();
    oracle::e2fsck(&image, "many directories");
}

#[test]
fn an_ordinary_job_costs_few_blocks() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 20 << 10, Before::Zeros, &["-t", "ext4"]);
    let device = Arc::new(FileDevice::open(&image));
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device.clone(), Mode::ReadWrite { now: NOW }).unwrap());
    let etc = at(&*fs, "/etc");
    fs.create_dir(&etc, ATTRS).unwrap();
    for name in ["shadow", "interfaces", "keys", "meta.js", "motd"] {
        let path = at(&*fs, format!("/etc/{name}"));
        fs.create_file(&path, ATTRS).unwrap();
        fs.put(&path, &Content::bytes(vec![b'x'; 3000])).unwrap();
        fs.set_xattr(&path, &Xattr { name: b"security.selinux".to_vec(), value: vec![b's'; 30] }).unwrap();
    }
    fs.close().unwrap();
    let (reads, writes) = (device.reads.load(Ordering::Relaxed), device.writes.load(Ordering::Relaxed));
    assert!(reads <= 20 && writes <= 20, "{reads} reads, {writes} writes");
    oracle::e2fsck(&image, "job");

    // A large file is streamed, and lies in few pieces.
    let source = scratch.path("source");
    File::create(&source).unwrap().set_len(300 << 20).unwrap();
    let mut fs = write(&image);
    let path = at(&*fs, "/large");
    fs.create_file(&path, ATTRS).unwrap();
    fs.put(&path, &Content::open(&source).unwrap()).unwrap();
    fs.close().unwrap();
    oracle::e2fsck(&image, "large");
    let dump = oracle::run(Command::new("debugfs").args(["-R", "ex /large"]).arg(&image));
    assert!(dump.lines().count() <= 8, "{dump}");
}
