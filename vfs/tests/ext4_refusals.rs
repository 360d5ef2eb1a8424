//! What is refused, by name and with the way out, and damage that must not do more than fail.

mod oracle;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::MemDevice;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, SetAttrs, Timestamp, Xattr};
use imgraft_vfs::{Error, Result};
use oracle::{Before, Random, Scratch, at, try_at};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const READ_WRITE: Mode = Mode::ReadWrite { now: NOW };
const ATTRS: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

fn image(mebibytes: u64, arguments: &[&str]) -> Vec<u8> {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, mebibytes, Before::Zeros, arguments);
    std::fs::read(&image).unwrap()
}

fn open(bytes: &[u8], mode: Mode) -> Result<Ext4> {
    Ext4::open(Arc::new(MemDevice::new(bytes.to_vec())), mode)
}

fn refusal(bytes: &[u8], mode: Mode) -> Error {
    open(bytes, mode).unwrap_err()
}

#[test]
fn states_that_are_not_clean_are_refused_with_the_way_out() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    let clean = image(8, &["-t", "ext4", "-O", "^metadata_csum"]);
    open(&clean, READ_WRITE).unwrap();
    // Offset in the superblock, bytes there, whether reading is refused as well, words of the message.
    let cases: [(usize, u8, bool, &str); 8] = [
        (0x60, 0x08, true, "journal_dev"),
        (0x62, 0x08, true, "incompat 0x80000"),
        (0x66, 0x80, false, "ro_compat 0x800000"),
        (0x66, 0x01, false, "not clean"),
        (0x3a, 0x02, false, "errors"),
        (0x3a, 0x04, false, "not clean"),
        (0x65, 0x10, false, "read-only"),
        (0x65, 0x40, false, "shared_blocks"),
    ];
    for (offset, bits, reading, words) in cases {
        let mut bytes = clean.clone();
        bytes[1024 + offset] |= bits;
        let error = refusal(&bytes, READ_WRITE);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{words}: {error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(open(&bytes, Mode::ReadOnly).is_err(), reading, "{words}");
        if matches!(words, "read-only" | "shared_blocks") {
            assert!(error.hint().is_some(), "{words}");
        }
        if words.contains("clean") {
            assert!(error.hint().is_some_and(|hint| hint.contains("e2fsck -fy")), "{words}");
        }
    }
    let mut bytes = clean.clone();
    bytes[1024 + 0x3a] = 0;
    assert!(refusal(&bytes, READ_WRITE).to_string().contains("not unmounted cleanly"));
    assert_eq!(refusal(&clean[..4 << 20], Mode::ReadOnly).kind(), ErrorKind::Corrupt);
    assert_eq!(refusal(&vec![0; 1 << 20], Mode::ReadOnly).kind(), ErrorKind::Unsupported);
    assert_eq!(refusal(&[0; 100], Mode::ReadOnly).kind(), ErrorKind::Unsupported);
}

#[test]
fn a_filesystem_open_for_reading_is_not_changed() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    let mut fs = open(&image(8, &["-t", "ext4"]), Mode::ReadOnly).unwrap();
    let path = at(&fs, "/new");
    assert_eq!(fs.create_file(&path, ATTRS).unwrap_err().kind(), ErrorKind::Denied);
    let path = at(&fs, "/lost+found");
    assert_eq!(fs.remove(&path).unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn nothing_is_written_where_nothing_changed() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    let before = image(8, &["-t", "ext4"]);
    let device = Arc::new(MemDevice::new(before.clone()));
    let fs = Box::new(Ext4::open(device.clone(), READ_WRITE).unwrap());
    oracle::tree(&*fs);
    fs.close().unwrap();
    assert!(Arc::into_inner(device).unwrap().into_bytes() == before);
}

#[test]
fn flagged_and_reserved_files_are_refused() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    oracle::mke2fs(&path, 8, Before::Zeros, &["-t", "ext4"]);
    let names = ["immutable", "append", "encrypted", "verity"];
    let flags = ["0x80010", "0x80020", "0x80800", "0x180000"];
    let source = scratch.path("source");
    std::fs::write(&source, "content").unwrap();
    for (name, flags) in names.iter().zip(flags) {
        debugfs(&path, &format!("write {} {name}", source.display()));
        debugfs(&path, &format!("sif {name} flags {flags}"));
    }
    debugfs(&path, "ln <8> journal");
    debugfs(&path, "ln <2> root");
    let bytes = std::fs::read(&path).unwrap();
    for (name, kind, words) in [
        ("/immutable", ErrorKind::Denied, "immutable"),
        ("/append", ErrorKind::Denied, "append-only"),
        ("/encrypted", ErrorKind::Unsupported, "encrypted"),
        ("/verity", ErrorKind::Unsupported, "verity"),
    ] {
        let mut fs = open(&bytes, READ_WRITE).unwrap();
        let path = at(&fs, name);
        let error = fs.put(&path, &Content::bytes([1])).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words) && error.to_string().contains(name), "{error}");
        if kind == ErrorKind::Denied {
            assert_eq!(fs.read_at(&path, &mut [0; 10], 0).unwrap(), 7);
            let mut fs = open(&bytes, READ_WRITE).unwrap();
            assert_eq!(fs.remove(&path).unwrap_err().kind(), kind);
            let path = at(&fs, "/other");
            fs.create_file(&path, ATTRS).unwrap();
        }
    }
    let fs = open(&bytes, Mode::ReadOnly).unwrap();
    assert_eq!(try_at(&fs, "/journal").unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(try_at(&fs, "/root").unwrap_err().kind(), ErrorKind::Corrupt);
}

fn debugfs(image: &Path, command: &str) {
    oracle::run(Command::new("debugfs").args(["-w", "-R", command]).arg(image));
}

/// The places of a group's metadata: its block bitmap, its inode bitmap and the first block of its inodes.
fn places(bytes: &[u8], group: usize) -> [usize; 3] {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    [0, 4, 8].map(|field| word(2048 + group * 32 + field))
}

/// A bitmap that has as many free blocks as its group counts, and a block of metadata among them.
#[test]
fn blocks_of_the_filesystem_itself_are_not_given_away() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    const GROUP: usize = 1024;
    let small = ["-b", "1024", "-g", "1024", "-N", "512", "-I", "128"];
    for arguments in
        [&["-t", "ext2"][..], &["-t", "ext4", "-O", "^metadata_csum,^uninit_bg,^64bit,^has_journal,^resize_inode"]]
    {
        let sound = image(8, &[arguments, &small].concat());
        // Its last block of inodes is that of 64 inodes of 128 bytes.
        let own = |group: usize| {
            let [blocks, inodes, table] = places(&sound, group);
            [("block bitmap", blocks), ("inode bitmap", inodes), ("first inodes", table), ("last inodes", table + 7)]
        };
        let mut own = [own(0), own(1), own(5)].concat();
        own.extend([("superblock", 1), ("descriptors", 2), ("copy of the superblock", GROUP + 1)]);
        for (what, block) in own {
            let context = format!("{arguments:?}: {what}, block {block}");
            let group = (block - 1) / GROUP;
            let [bitmap, ..] = places(&sound, group);
            let mut bytes = sound.clone();
            let mut flip = |bit: usize| bytes[bitmap * 1024 + bit / 8] ^= 1 << (bit % 8);
            // The last group has a block less; all groups end with free ones.
            [(block - 1) % GROUP, GROUP - 2].into_iter().for_each(&mut flip);
            let change = |bytes: &[u8]| -> Result<()> {
                let mut fs = Box::new(open(bytes, READ_WRITE)?);
                let path = at(&*fs, "/new");
                fs.create_file(&path, ATTRS)?;
                fs.put(&path, &Content::bytes(vec![7; 6 << 20]))?;
                fs.close()
            };
            change(&sound).unwrap();
            let error = change(&bytes).expect_err(&context);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
            assert!(error.to_string().contains("own blocks as free"), "{context}: {error}");
        }
    }
}

/// A file that names a block of metadata as its content: what the file gives back would be given to another.
#[test]
fn blocks_of_the_filesystem_itself_are_not_given_back() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    let source = scratch.path("source");
    std::fs::write(&source, [7; 3000]).unwrap();
    oracle::mke2fs(&path, 8, Before::Zeros, &["-t", "ext2", "-b", "1024", "-g", "1024", "-I", "128"]);
    debugfs(&path, &format!("write {} file", source.display()));
    let sound = std::fs::read(&path).unwrap();
    for block in [[2].as_slice(), &places(&sound, 0), &places(&sound, 1), &[1025]].concat() {
        debugfs(&path, &format!("sif file block[1] {block}"));
        let mut fs: Box<dyn GuestFs> = Box::new(open(&std::fs::read(&path).unwrap(), READ_WRITE).unwrap());
        let file = at(&*fs, "/file");
        for error in [fs.truncate(&file, 0).unwrap_err(), {
            let mut fs = open(&std::fs::read(&path).unwrap(), READ_WRITE).unwrap();
            fs.remove(&file).unwrap_err()
        }] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "block {block}: {error}");
            assert!(error.to_string().contains("filesystem's own"), "block {block}: {error}");
        }
    }
}

/// Reads all there is, and changes things, on a damaged image; only errors may come of it.
fn live_with(bytes: Vec<u8>) -> (bool, bool) {
    let device = Arc::new(MemDevice::new(bytes));
    let read = Ext4::open(device.clone(), Mode::ReadOnly).and_then(|fs| oracle::try_tree(&fs, 1 << 20)).is_ok();
    (read, change(device).is_ok())
}

fn change(device: Arc<MemDevice>) -> Result<()> {
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, READ_WRITE)?);
    for number in 0..3 {
        let path = try_at(&*fs, format!("/dir/new{number}"))?;
        fs.create_file(&path, ATTRS)?;
        fs.put(&path, &Content::bytes(vec![1; 5000]))?;
        fs.set_xattr(&path, &Xattr { name: b"user.x".to_vec(), value: vec![1; 400] })?;
    }
    let file = try_at(&*fs, "/dir/file")?;
    fs.append(&file, &Content::bytes(vec![2; 3000]))?;
    fs.put(&file, &Content::bytes(vec![3; 30_000]))?;
    fs.truncate(&file, 100)?;
    fs.set_attrs(&file, SetAttrs { mode: Some(0o600), ..SetAttrs::default() })?;
    let link = try_at(&*fs, "/dir/link")?;
    fs.remove(&link)?;
    for number in 0..10 {
        let path = try_at(&*fs, format!("/many/{number}-{}", "n".repeat(60)))?;
        fs.remove(&path)?;
    }
    let path = try_at(&*fs, "/moved")?;
    fs.rename(&try_at(&*fs, "/dir/sub")?, &path)?;
    fs.remove(&path)?;
    fs.close()
}

#[test]
fn damage_only_makes_a_run_fail() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    for features in [
        "^metadata_csum,^uninit_bg,^has_journal",
        "^metadata_csum,uninit_bg,^has_journal",
        "^has_journal",
        "^metadata_csum,^uninit_bg,^has_journal,^extents,^64bit",
        "^metadata_csum,^uninit_bg,^has_journal,inline_data",
        "^metadata_csum,^uninit_bg,^has_journal,bigalloc",
    ] {
        let scratch = Scratch::new();
        let path = scratch.path("image");
        oracle::mke2fs(&path, 2, Before::Zeros, &["-t", "ext4", "-b", "1024", "-N", "256", "-O", features]);
        let device = Arc::new(oracle::FileDevice::open(&path));
        let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, READ_WRITE).unwrap());
        prepare(&mut *fs).unwrap();
        fs.close().unwrap();
        let sound = std::fs::read(&path).unwrap();
        assert_eq!(live_with(sound.clone()), (true, true), "{features}");

        // Where anything is written at all, apart from what the content of files would be.
        let used: Vec<usize> = (1024..sound.len()).filter(|at| sound[*at] != 0 && sound[*at] != 0x77).collect();
        let mut random = Random(11);
        let mut failed = 0;
        for _ in 0..600 {
            let mut bytes = sound.clone();
            for _ in 0..=random.below(3) {
                let at = used[random.below(used.len() as u64) as usize];
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.next() as u8,
                    2 => bytes[at & !3..][..4].fill(0xff),
                    _ => bytes[at & !3..][..4].fill(0),
                }
            }
            let (read, changed) = live_with(bytes);
            failed += u32::from(!read || !changed);
        }
        assert!(failed > 100, "{features}: damage was noticed only {failed} times");
    }
}

fn prepare(fs: &mut dyn GuestFs) -> Result<()> {
    for path in ["/dir", "/dir/sub", "/many"] {
        fs.create_dir(&try_at(fs, path)?, ATTRS)?;
    }
    let file = try_at(fs, "/dir/file")?;
    fs.create_file(&file, ATTRS)?;
    for number in 0..12 {
        // Holes make it many extents.
        fs.truncate(&file, number * 4096)?;
        fs.append(&file, &Content::bytes(vec![0x77; 1024]))?;
    }
    fs.set_xattr(&file, &Xattr { name: b"user.large".to_vec(), value: vec![0x77; 500] })?;
    fs.create_symlink(&try_at(fs, "/dir/link")?, &[0x77; 100], ATTRS)?;
    for number in 0..60 {
        let path = try_at(fs, format!("/many/{number}-{}", "n".repeat(60)))?;
        fs.create_file(&path, ATTRS)?;
    }
    Ok(())
}

#[test]
fn what_e2fsck_clears_gets_no_other_name() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let long = "long/".repeat(20);
    for (damage, fine) in [
        ("sif /link size 100", false),
        ("sif /link size 7", false),
        ("sif /link size 0", false),
        ("sif /link flags 0x1000", false),
        ("sif /link flags 0x10000000", false),
        ("sif /far size 5000", false),
        ("sif /link mtime 1700000000", true),
        ("sif /link faddr 64", false),
        ("sif /pipe faddr 64", false),
        ("sif /pipe mtime 1700000000", true),
    ] {
        oracle::mke2fs(&image, 8, Before::Zeros, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"]);
        let edit = |request: &str| {
            let mut debugfs = Command::new("debugfs");
            oracle::run(debugfs.env("PATH", oracle::path_with_sbin()).args(["-w", "-R", request]).arg(&image))
        };
        edit("symlink /link a/target");
        edit(&format!("symlink /far {long}"));
        edit("mknod pipe p");
        oracle::e2fsck(&image, damage);
        edit(damage);
        let file = damage.split(' ').nth(1).unwrap();
        let mut fs = open(&std::fs::read(&image).unwrap(), READ_WRITE).unwrap();
        let (from, to) = (at(&fs, file), at(&fs, "/other"));
        let results = [fs.hard_link(&from, &to), fs.rename(&from, &at(&fs, "/third"))];
        for result in results {
            assert_eq!(result.is_ok(), fine, "{damage}: {result:?}");
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}: {error}");
            }
        }
    }
}

#[test]
fn a_group_without_a_checksum_was_written_in_full() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let features = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^uninit_bg"];
    oracle::mke2fs(&image, 8, Before::Zeros, &features);
    // By e2fsck, "Group descriptor 0 marked uninitialized without feature set": its flags, its unused inodes.
    let descriptor = 2048;
    for (at, fine) in [(0x12, false), (0x1c, false), (0x14, true)] {
        let mut bytes = std::fs::read(&image).unwrap();
        bytes[descriptor + at] |= 1;
        let result = open(&bytes, READ_WRITE).and_then(|mut fs| {
            let new = try_at(&fs, "/new")?;
            fs.create_file(&new, ATTRS)
        });
        assert_eq!(result.is_ok(), fine, "byte {at}: {result:?}");
        if let Err(error) = result {
            assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("never written"), "{error}");
        }
    }
}

#[test]
fn an_inode_that_is_marked_as_free_and_counts_names_is_not_taken() {
    if !oracle::have(&["mke2fs", "debugfs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    // The first inode that is free; of one that is, the other fields may be anything.
    for (fields, taken) in [
        (&["links_count 1", "mode 0100644"][..], false),
        (&["links_count 2", "mode 040755", "dtime 1700000000"], false),
        (&["links_count 0", "mode 0100644", "dtime 1700000000", "generation 7"], true),
        (&["mode 0100644", "size 5"], true),
    ] {
        oracle::mke2fs(&path, 8, Before::Zeros, &["-t", "ext2"]);
        for field in fields {
            debugfs(&path, &format!("sif <12> {field}"));
        }
        let bytes = std::fs::read(&path).unwrap();
        let device = Arc::new(MemDevice::new(bytes));
        let mut fs = Box::new(Ext4::open(device.clone(), READ_WRITE).unwrap());
        let new = at(&*fs, "/new");
        let made = fs.create_file(&new, ATTRS);
        assert_eq!(made.is_ok(), taken, "{fields:?}: {made:?}");
        if let Err(error) = made {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.to_string().contains("counts names"), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("e2fsck -fy")));
            continue;
        }
        fs.close().unwrap();
        std::fs::write(&path, Arc::into_inner(device).unwrap().into_bytes()).unwrap();
        oracle::e2fsck(&path, "taken");
    }
}

#[test]
fn attribute_values_that_no_inode_has_are_not_written_over() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("image");
    oracle::mke2fs(&path, 8, Before::Zeros, &["-t", "ext4", "-O", "inline_data,ea_inode,^metadata_csum,^has_journal"]);
    let source = scratch.path("source");
    std::fs::write(&source, [b'c'; 90]).unwrap();
    debugfs(&path, &format!("write {} file", source.display()));
    debugfs(&path, "ea_set file user.rare yes");
    let sound = std::fs::read(&path).unwrap();
    // Entries: the length of the name, its prefix, where the value is, in which inode, its length and hash, the name.
    let entry = |prefix: u8, name: &[u8]| {
        let head = [name.len() as u8, prefix];
        let found = sound.windows(16 + name.len()).position(|entry| entry.starts_with(&head) && entry.ends_with(name));
        found.unwrap()
    };
    for (place, inode, words) in [
        (entry(7, b"data"), 12, "inline data are said to be in another inode"),
        (entry(1, b"rare"), 1 << 28, "is said to be in inode 268435456"),
        (entry(1, b"rare"), 12, "is said to be in inode 12"),
        (entry(1, b"rare"), 8, "is said to be in inode 8"),
    ] {
        let mut bytes = sound.clone();
        bytes[place + 4..place + 8].copy_from_slice(&u32::to_le_bytes(inode));
        let changes: [fn(&mut Ext4) -> Result<()>; 3] = [
            |fs| fs.put(&at(fs, "/file"), &Content::bytes(&b"new"[..])),
            |fs| fs.set_xattr(&at(fs, "/file"), &Xattr { name: b"user.new".to_vec(), value: b"x".to_vec() }),
            |fs| fs.remove(&at(fs, "/file")),
        ];
        for change in changes {
            let error = change(&mut open(&bytes, READ_WRITE).unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{words}: {error}");
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }
    let mut bytes = sound.clone();
    let place = entry(1, b"rare") + 4;
    bytes[place..place + 4].copy_from_slice(&u32::to_le_bytes(1 << 28));
    let fs = open(&bytes, Mode::ReadOnly).unwrap();
    let mut content = [0; 100];
    assert_eq!(fs.read_at(&at(&fs, "/file"), &mut content, 0).unwrap(), 90, "who only reads can read");
}

#[test]
fn the_boot_block_before_a_bigalloc_filesystem_counts() {
    if !oracle::have(&["mke2fs"]) {
        return;
    }
    let arguments = ["-t", "ext4", "-b", "1024", "-C", "4096", "-O", "bigalloc,^metadata_csum,^resize_inode"];
    let mut bytes = image(8, &arguments);
    let error = |bytes: &[u8]| {
        let mut fs = open(bytes, READ_WRITE)?;
        fs.create_file(&at(&fs, "/new"), ATTRS)
    };
    error(&bytes).unwrap();
    // The block bitmap would be the block of the descriptors themselves.
    bytes[2048..2052].copy_from_slice(&2_u32.to_le_bytes());
    let error = error(&bytes).unwrap_err();
    assert!(error.to_string().contains("lie on each other"), "{error}");
}
