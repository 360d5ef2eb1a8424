//! The block maps of ext2 and ext3: every level of them, and files that have one where new files have extents.

mod oracle;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, at};
use std::fs::File;
use std::os::unix::fs::FileExt;
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

/// How many sectors a file is said to take.
fn sectors(image: &Path, path: &str) -> u64 {
    let text = oracle::run(Command::new("debugfs").args(["-R", &format!("stat {path}")]).arg(image));
    let count = text.split("Blockcount: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    count.and_then(|count| count.parse().ok()).unwrap()
}

/// With blocks of 1 KiB: the bytes that the direct blocks, and those plus one table, and so on, can hold.
const LEVELS: [u64; 3] = [12 << 10, (12 + 256) << 10, (12 + 256 + 256 * 256) << 10];

#[test]
fn every_level_of_a_map_grows_and_shrinks() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 24, Before::Garbage, &["-t", "ext2", "-b", "1024"]);
    let mut random = Random(4);
    for (tables, level) in LEVELS.into_iter().enumerate() {
        // Written across the border between two levels, in whole and in part.
        for (size, len) in [(level - 3000, 9000), (level, 1), (level - 1, 1), (level - 1024, 4096)] {
            let context = format!("{len} bytes at {size}");
            let mut fs = write(&image);
            let file = at(&*fs, "/file");
            fs.create_file(&file, ATTRS).unwrap();
            fs.truncate(&file, size).unwrap();
            let bytes = random.bytes(len);
            fs.append(&file, &Content::bytes(bytes.clone())).unwrap();
            fs.close().unwrap();
            judge(&image, &context);
            let mut fs = write(&image);
            let mut read = vec![1; len + 10];
            assert_eq!(fs.read_at(&file, &mut read, size).unwrap(), len, "{context}");
            assert!(read[..len] == bytes, "{context}");
            fs.truncate(&file, size + len as u64 / 2).unwrap();
            fs.close().unwrap();
            judge(&image, &format!("{context}, halved"));
            let mut fs = write(&image);
            fs.truncate(&file, level - 2000).unwrap();
            fs.close().unwrap();
            judge(&image, &format!("{context}, cut below the level"));
            // Two blocks, and the tables that lead to them.
            let expected = if size < level - 2000 { 2 * (2 + tables as u64) } else { 0 };
            assert_eq!(sectors(&image, "/file"), expected, "{context}");
            let mut fs = write(&image);
            fs.remove(&file).unwrap();
            fs.close().unwrap();
            judge(&image, &format!("{context}, removed"));
        }
    }
}

#[test]
fn a_map_without_holes_is_written_replaced_and_removed() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    for (kind, blocks) in [("ext2", 66_000), ("ext3", 700)] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 140, Before::Zeros, &["-t", kind, "-b", "1024"]);
        let mut fs = write(&image);
        let free = fs.features().free_bytes;
        let file = at(&*fs, "/file");
        fs.create_file(&file, ATTRS).unwrap();
        let source = scratch.path("source");
        std::fs::write(&source, Random(6).bytes(blocks << 10)).unwrap();
        fs.put(&file, &Content::open(&source).unwrap()).unwrap();
        let used = free - fs.features().free_bytes;
        fs.close().unwrap();
        judge(&image, "put");
        assert_eq!(sectors(&image, "/file") * 512, used, "the tables are counted");
        let mut fs = write(&image);
        fs.put(&file, &Content::bytes(Random(7).bytes(300_001))).unwrap();
        fs.close().unwrap();
        judge(&image, "replaced");
        let mut fs = write(&image);
        fs.remove(&file).unwrap();
        assert_eq!(fs.features().free_bytes, free, "{kind}");
        fs.close().unwrap();
        judge(&image, "removed");
    }
}

#[test]
fn a_file_keeps_its_map_where_new_files_have_extents() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs", "tune2fs"]) || !oracle::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 48, Before::Garbage, &["-t", "ext3", "-b", "1024"]);
    let mut random = Random(8);
    let mounted = Mounted::new(&image, "rw");
    std::fs::create_dir(mounted.path().join("many")).unwrap();
    for number in 0..200 {
        std::fs::write(mounted.path().join(format!("many/{number}-{}", "n".repeat(60))), b"x").unwrap();
    }
    std::fs::write(mounted.path().join("old"), random.bytes(400_000)).unwrap();
    let sparse = File::create(mounted.path().join("sparse")).unwrap();
    for place in [5_000, 200_000, 90_000_000, 400_000_000] {
        sparse.write_all_at(&random.bytes(3_000), place).unwrap();
    }
    std::os::unix::fs::symlink("t".repeat(900), mounted.path().join("link")).unwrap();
    drop((sparse, mounted));
    oracle::run(Command::new("tune2fs").args(["-O", "extent,huge_file"]).arg(&image));
    judge(&image, "as the kernel left it");
    let extents = |path: &str| {
        let text = oracle::run(Command::new("debugfs").args(["-R", &format!("stat {path}")]).arg(&image));
        text.contains("EXTENTS:")
    };
    let mut fs = write(&image);
    for path in ["/old", "/sparse"] {
        let path = at(&*fs, path);
        fs.append(&path, &Content::bytes(random.bytes(10_000))).unwrap();
    }
    let new = at(&*fs, "/many/new");
    fs.create_file(&new, ATTRS).unwrap();
    fs.put(&new, &Content::bytes(random.bytes(20_000))).unwrap();
    for number in 300..600 {
        let path = at(&*fs, format!("/many/{number}-{}", "n".repeat(60)));
        fs.create_file(&path, ATTRS).unwrap();
    }
    fs.close().unwrap();
    judge(&image, "changed");
    assert!(extents("/many/new") && !extents("/old") && !extents("/sparse") && !extents("/many"));
    let mut fs = write(&image);
    let sparse = at(&*fs, "/sparse");
    for size in [300_000_000, 90_001_500, 90_000_000, 100_000, 6_000, 5_000, 10_000_000] {
        fs.truncate(&sparse, size).unwrap();
    }
    let link = at(&*fs, "/link");
    fs.remove(&link).unwrap();
    fs.put(&at(&*fs, "/old"), &Content::bytes(random.bytes(4_000))).unwrap();
    fs.close().unwrap();
    judge(&image, "cut");
}

#[test]
fn a_map_has_an_end() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 8, Before::Zeros, &["-t", "ext2", "-b", "1024"]);
    let most = (12 + 256 + 256 * 256 + 256 * 256 * 256) << 10;
    let mut fs = write(&image);
    let file = at(&*fs, "/file");
    fs.create_file(&file, ATTRS).unwrap();
    fs.truncate(&file, most - 1).unwrap();
    fs.append(&file, &Content::bytes([7])).unwrap();
    let error = fs.append(&file, &Content::bytes([7])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    drop(fs);
    let mut fs = write(&image);
    fs.create_file(&file, ATTRS).unwrap();
    fs.truncate(&file, most - 1).unwrap();
    fs.append(&file, &Content::bytes([7])).unwrap();
    assert_eq!(fs.truncate(&file, most + 1).unwrap_err().kind(), ErrorKind::Unsupported);
    fs.truncate(&file, most).unwrap();
    fs.close().unwrap();
    oracle::e2fsck(&image, "the last block of a map");
}

#[test]
fn a_map_that_names_a_table_twice_is_neither_added_to_nor_cut() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 8, Before::Zeros, &["-t", "ext2", "-b", "1024", "-I", "128"]);
    let mut fs = write(&image);
    let file = at(&*fs, "/file");
    fs.create_file(&file, ATTRS).unwrap();
    // One table in the inode, and two below another.
    fs.put(&file, &Content::bytes(Random(9).bytes(700_000))).unwrap();
    fs.close().unwrap();
    judge(&image, "sound");
    let sound = std::fs::read(&image).unwrap();
    let word = |at: usize| u32::from_le_bytes(sound[at..at + 4].try_into().unwrap());
    // The first inode after lost+found.
    let area = word(2048 + 8) as usize * 1024 + 11 * 128 + 0x28;
    let (single, double) = (area + 12 * 4, area + 13 * 4);
    let tables = word(double) as usize * 1024;
    let leaf = word(tables + 4) as usize * 1024;
    let cases: [(&str, usize, u32); 7] = [
        ("twice", tables + 4, word(tables)),
        ("twice", tables + 8, word(tables)),
        ("twice", tables, word(single)),
        ("twice", single, word(double)),
        ("as a block of content", leaf, word(tables + 4)),
        ("as a block of content", area + 4, word(single)),
        ("outside the filesystem", tables + 12, 8192),
    ];
    let append: fn(&mut dyn GuestFs) -> imgraft_vfs::Result<()> =
        |fs| fs.append(&at(fs, "/file"), &Content::bytes([7; 3000]));
    let cut = |fs: &mut dyn GuestFs| fs.truncate(&at(fs, "/file"), 699_000);
    for (words, place, block) in cases {
        for change in [append, cut] {
            let mut damaged = sound.clone();
            damaged[place..place + 4].copy_from_slice(&block.to_le_bytes());
            std::fs::write(&image, damaged).unwrap();
            let error = change(&mut *write(&image)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{words}: {error}");
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }
    std::fs::write(&image, &sound).unwrap();
    for change in [append, cut] {
        let mut fs = write(&image);
        change(&mut *fs).unwrap();
        fs.close().unwrap();
        judge(&image, "changed");
    }
}
