//! Large extended attributes: the same changes by this driver and by the kernel, on twin images that change hands.

mod oracle;
mod uml;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, SetAttrs, Timestamp, Xattr};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, Tree, at};
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };

fn open(image: &Path, mode: Mode) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), mode).unwrap())
}

fn write(image: &Path) -> Box<dyn GuestFs> {
    open(image, Mode::ReadWrite { now: NOW })
}

/// A tree with checksums for values, so that a difference can be read.
fn summed(mut tree: Tree) -> Tree {
    for node in tree.values_mut() {
        for (_, value) in &mut node.xattrs {
            *value = crc32c::crc32c(value).to_le_bytes().to_vec();
        }
        node.xattrs.sort();
    }
    tree
}

fn without_times(mut tree: Tree) -> Tree {
    for node in tree.values_mut() {
        node.mtime = (0, 0);
    }
    tree
}

/// One change by both; whether it was made.
fn change(fs: &mut dyn GuestFs, root: &Path, random: &mut Random) -> bool {
    let name = ["a", "b", "c", "directory", "e"][random.below(5) as usize];
    let (path, host) = (at(fs, format!("/{name}")), root.join(name));
    let xattr = format!(
        "{}{}",
        ["user.x", "trusted.long-name-of-an-attribute", "user.\u{fc}"][random.below(3) as usize],
        random.below(4)
    );
    let (ours, theirs) = match random.below(12) {
        0..7 => {
            let len = [0, 5, 60, 300, 880, 970, 2000, 3500, 4040, 9000, 65_536, 65_537][random.below(12) as usize];
            // Some values are the same: the kernel shares those.
            let value = if random.below(2) == 0 { vec![len as u8; len] } else { random.bytes(len) };
            (
                fs.set_xattr(&path, &Xattr { name: xattr.clone().into(), value: value.clone() }),
                rustix::fs::lsetxattr(&host, &*xattr, &value, XattrFlags::empty()).map_err(Into::into),
            )
        }
        7..9 => {
            let theirs = rustix::fs::lremovexattr(&host, &*xattr).map_err(std::io::Error::from);
            (fs.remove_xattr(&path, xattr.as_bytes()), theirs)
        }
        9 if name == "directory" => (fs.remove(&path), fs::remove_dir(&host)),
        9 => (fs.remove(&path), fs::remove_file(&host)),
        10 if name == "directory" => (fs.create_dir(&path, ATTRS), fs::create_dir(&host)),
        10 => (fs.create_file(&path, ATTRS), fs::File::create_new(&host).map(drop)),
        _ => {
            let owner = random.below(3) as u32 * 1000;
            let attrs = SetAttrs { uid: Some(owner), gid: Some(owner), ..SetAttrs::default() };
            let content = random.bytes(5000);
            let ours = fs.set_attrs(&path, attrs).and_then(|()| fs.put(&path, &Content::bytes(content.clone())));
            let theirs = lchown(&host, Some(owner), Some(owner)).and_then(|()| fs::write(&host, content));
            (ours, theirs)
        }
    };
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{name} {xattr}: {ours:?} {theirs:?}");
    if host.exists() {
        fs.set_attrs(&path, SetAttrs { mode: Some(0o700), ..SetAttrs::default() }).unwrap();
        fs::set_permissions(&host, fs::Permissions::from_mode(0o700)).unwrap();
    }
    ours.is_ok()
}

const ATTRS: Attrs = Attrs { mode: 0o700, uid: 0, gid: 0 };

#[test]
fn the_kernel_does_the_same() {
    if !oracle::have(&["mke2fs", "e2fsck"]) || !oracle::can_mount() {
        return;
    }
    // In a small journal the kernel has no room for large values.
    for (seed, arguments) in [
        (1, &["-b", "4096", "-J", "size=8", "-O", "ea_inode"][..]),
        (2, &["-b", "1024", "-J", "size=8", "-O", "ea_inode"]),
        (3, &["-b", "1024", "-J", "size=8", "-I", "1024", "-O", "ea_inode,^metadata_csum"]),
        (4, &["-b", "2048", "-I", "512", "-O", "ea_inode,^has_journal,^extents,^64bit"]),
    ] {
        let scratch = Scratch::new();
        let images = [scratch.path("a"), scratch.path("b")];
        for image in &images {
            oracle::mke2fs(image, 24, Before::Garbage, &[&["-t", "ext4"], arguments].concat());
        }
        let mut random = Random(seed);
        for round in 0..4 {
            let context = format!("{arguments:?}, round {round}");
            let (mine, kernels) = (&images[round % 2], &images[(round + 1) % 2]);
            let mounted = Mounted::new(kernels, "rw");
            let mut fs = write(mine);
            let done = (0..300).filter(|_| change(&mut *fs, mounted.path(), &mut random)).count();
            assert!(done > 60, "{context}: only {done} changes");
            drop(mounted);
            fs.close().unwrap();
            let mut trees = Vec::new();
            for image in [mine, kernels] {
                oracle::e2fsck(image, &context);
                let theirs = summed(Mounted::new(image, "ro,noload").tree());
                oracle::assert_same(&summed(oracle::tree(&*open(image, Mode::ReadOnly))), &theirs, &context);
                trees.push(without_times(theirs));
            }
            oracle::assert_same(&trees[0], &trees[1], &context);
        }
    }
}

/// The kernel cannot: it takes the hash of a value for a time, and cuts it to what is a time in a small inode.
#[test]
fn small_inodes_have_large_values() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 16, Before::Garbage, &["-t", "ext4", "-I", "128", "-O", "ea_inode"]);
    let mut fs = write(&image);
    let path = at(&*fs, "/file");
    fs.create_file(&path, ATTRS).unwrap();
    let xattrs: Vec<Xattr> = (0..8)
        .map(|number| Xattr { name: vec![b'u', b's', b'e', b'r', b'.', b'a' + number], value: vec![number; 9000] })
        .collect();
    for xattr in &xattrs {
        fs.set_xattr(&path, xattr).unwrap();
    }
    fs.close().unwrap();
    oracle::e2fsck(&image, "set");
    let mut fs = write(&image);
    assert_eq!(fs.xattrs(&path).unwrap(), xattrs);
    fs.remove(&path).unwrap();
    fs.close().unwrap();
    oracle::e2fsck(&image, "removed");
}

/// e2fsck takes the target of a short link for block numbers as soon as the link has blocks.
#[test]
fn short_links_have_no_large_values() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 16, Before::Garbage, &["-t", "ext4", "-O", "ea_inode"]);
    let mut fs = write(&image);
    for (name, target) in [("/short", "nowhere".to_owned()), ("/long", "x".repeat(100))] {
        let link = at(&*fs, name);
        fs.create_symlink(&link, target.as_bytes(), ATTRS).unwrap();
        let set = fs.set_xattr(&link, &Xattr { name: b"trusted.large".to_vec(), value: vec![7; 9000] });
        assert_eq!(set.map_err(|error| error.kind()), if name == "/short" { Err(ErrorKind::NoSpace) } else { Ok(()) });
        fs.set_xattr(&link, &Xattr { name: b"trusted.small".to_vec(), value: vec![7; 900] }).unwrap();
    }
    fs.close().unwrap();
    oracle::e2fsck(&image, "set");
}

#[test]
fn quotas_count_large_values() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for arguments in [
        &["-b", "1024", "-O", "ea_inode,quota,project,bigalloc", "-C", "4096"],
        &["-b", "1024", "-O", "ea_inode,quota,project", "-J", "size=4"],
    ] {
        oracle::mke2fs(&image, 24, Before::Garbage, &[&["-t", "ext4"], &arguments[..]].concat());
        count_large_values(&image);
    }
}

fn count_large_values(image: &Path) {
    if uml::can_boot_with_quotas() {
        // The kernel shares a value between files, and their block.
        uml::with_quotas(
            image,
            "head -c 9000 /dev/zero | tr '\\0' v >/mnt/value\n\
             for name in a b c; do\n\
             touch $GUEST/$name\n\
             python3 -c 'import os,sys; v=open(\"/mnt/value\").read(); [os.setxattr(sys.argv[1], \"user.\"+n, (v*k).encode()) for n,k in ((\"a\",1),(\"b\",3),(\"c\",1))]' $GUEST/$name\n\
             done",
        );
        oracle::e2fsck(image, "as the kernel left it");
    }
    let mut fs = write(image);
    let mut random = Random(3);
    for step in 0..400 {
        let path = at(&*fs, format!("/{}", ["a", "b", "c", "d"][random.below(4) as usize]));
        let _ = fs.create_file(&path, ATTRS);
        let name = format!("user.{}", ["a", "b", "c"][random.below(3) as usize]).into_bytes();
        let owner = Some([0, 7, 1000][random.below(3) as usize]);
        let len = random.below(20_000) as usize;
        let result = match random.below(6) {
            0..2 => fs.set_xattr(&path, &Xattr { name, value: random.bytes(len) }),
            2 => fs.remove_xattr(&path, &name),
            3 => fs.set_attrs(&path, SetAttrs { uid: owner, gid: owner, ..SetAttrs::default() }),
            4 => fs.put(&path, &Content::bytes(random.bytes(len))),
            _ => fs.remove(&path),
        };
        assert!(result.is_ok() || result.is_err_and(|error| error.kind() == ErrorKind::NotFound));
        if step % 20 == 0 {
            fs.close().unwrap();
            oracle::e2fsck(image, &format!("step {step}"));
            fs = write(image);
        }
    }
}

#[test]
fn a_value_that_is_not_the_right_one_is_noticed() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    // Without checksums of inodes, so that the damage can be done.
    oracle::mke2fs(&image, 16, Before::Zeros, &["-t", "ext4", "-O", "ea_inode,^metadata_csum"]);
    let mut fs = write(&image);
    let path = at(&*fs, "/file");
    fs.create_file(&path, ATTRS).unwrap();
    let value = Xattr { name: b"user.large".to_vec(), value: vec![7; 30_000] };
    fs.set_xattr(&path, &value).unwrap();
    fs.close().unwrap();
    let sound = fs::read(&image).unwrap();
    assert_eq!(open(&image, Mode::ReadOnly).xattrs(&path).unwrap(), [value]);
    let number = oracle::run(Command::new("debugfs").args(["-R", "stat /file"]).arg(&image));
    let number: u32 = number.split("Inode: ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let apart = number + 1;
    for (field, kind) in [
        ("atime @1", ErrorKind::Corrupt),
        ("size 29999", ErrorKind::Corrupt),
        ("flags 0x80000", ErrorKind::Corrupt),
        ("links_count 0", ErrorKind::Corrupt),
    ] {
        fs::write(&image, &sound).unwrap();
        oracle::run(Command::new("debugfs").args(["-w", "-R", &format!("sif <{apart}> {field}")]).arg(&image));
        let mut fs = write(&image);
        assert_eq!(fs.xattrs(&path).unwrap_err().kind(), kind, "{field}");
        assert_eq!(fs.remove(&path).unwrap_err().kind(), kind, "{field}");
    }
    // The old way: the value's inode names the file that has it.
    fs::write(&image, &sound).unwrap();
    let generation = oracle::run(Command::new("debugfs").args(["-R", "stat /file"]).arg(&image));
    let generation = generation.split("Generation: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    for field in ["atime @1".to_owned(), format!("mtime @{number}"), format!("generation {generation}")] {
        oracle::run(Command::new("debugfs").args(["-w", "-R", &format!("sif <{apart}> {field}")]).arg(&image));
    }
    let mut fs = write(&image);
    assert_eq!(fs.xattrs(&path).unwrap()[0].value.len(), 30_000);
    fs.remove_xattr(&path, b"user.large").unwrap();
    fs.close().unwrap();
    let free = oracle::run(Command::new("debugfs").args(["-R", &format!("testi <{apart}>")]).arg(&image));
    assert!(free.contains("not in use"), "{free}");
    // A name does not lead there.
    fs::write(&image, &sound).unwrap();
    oracle::run(Command::new("debugfs").args(["-w", "-R", &format!("ln <{apart}> name")]).arg(&image));
    let fs = open(&image, Mode::ReadOnly);
    assert_eq!(oracle::try_at(&*fs, "/name").unwrap_err().kind(), ErrorKind::Corrupt);
}
