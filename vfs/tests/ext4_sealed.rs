//! Filesystems with files that cannot be read or written whole: encrypted, casefolded, sealed. Those are left alone, and
//! everything beside them is written as ever.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Mode, SetAttrs, Timestamp, Xattr};
use imgraft_vfs::{ErrorKind, Result};
use oracle::{Before, FileDevice, Mounted, Scratch, at, try_at};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const ATTRS: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

fn write(image: &Path) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap())
}

fn debugfs(image: &Path, command: &str) -> String {
    oracle::run(Command::new("debugfs").args(["-w", "-R", command]).arg(image))
}

fn xattr() -> Xattr {
    Xattr { name: b"user.x".to_vec(), value: vec![1; 20] }
}

/// Fails unless an operation is refused, naming why and where.
fn refused(result: Result<()>, word: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains(word) && error.guest_path().is_some(), "{error}");
}

/// Everything that a filesystem can do, beside what is left alone in it.
fn exercise(fs: &mut dyn GuestFs) {
    fs.create_dir(&at(fs, "/plain"), ATTRS).unwrap();
    for number in 0..200 {
        let path = at(fs, format!("/plain/file-of-a-name-{number}"));
        fs.create_file(&path, ATTRS).unwrap();
        fs.put(&path, &Content::bytes(vec![b'p'; number * 10])).unwrap();
    }
    for number in (0..200).step_by(3) {
        fs.remove(&at(fs, format!("/plain/file-of-a-name-{number}"))).unwrap();
    }
    fs.rename(&at(fs, "/plain/file-of-a-name-1"), &at(fs, "/moved")).unwrap();
    fs.set_xattr(&at(fs, "/moved"), &xattr()).unwrap();
}

#[test]
fn what_is_encrypted_is_left_alone() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) || !oracle::can_mount() {
        return;
    }
    if !Path::new("/sys/fs/ext4/features/test_dummy_encryption_v2").exists() {
        oracle::skip("this kernel does not encrypt");
        return;
    }
    for block_size in ["1024", "4096"] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 32, Before::Garbage, &["-t", "ext4", "-O", "encrypt", "-b", block_size]);
        // With this option every new file has the encryption of a key that the kernel knows.
        let mounted = Mounted::new(&image, "rw,test_dummy_encryption");
        let host = |name: &str| mounted.path().join(name);
        fs::create_dir(host("secret")).unwrap();
        for number in 0..100 {
            fs::write(host(&format!("secret/{number}")), format!("secret {number}")).unwrap();
        }
        std::os::unix::fs::symlink("target", host("link")).unwrap();
        fs::write(host("file"), "encrypted").unwrap();
        drop(mounted);
        let theirs = Mounted::new(&image, "ro,noload");
        let mut fs = write(&image);
        for name in ["secret", "file"] {
            let found = fs.lookup(&at(&*fs, format!("/{name}"))).unwrap().unwrap();
            let theirs = fs::metadata(theirs.path().join(name)).unwrap();
            assert_eq!((u32::from(found.mode), found.size), (theirs.mode() & 0o7777, theirs.size()), "{name}");
        }
        drop(theirs);
        for name in ["/secret", "/file", "/link"] {
            let path = at(&*fs, name);
            refused(fs.set_attrs(&path, SetAttrs { mode: Some(0o700), ..SetAttrs::default() }), "encrypted");
            refused(fs.set_xattr(&path, &xattr()), "encrypted");
            refused(fs.remove(&path), "encrypted");
            let to = at(&*fs, "/elsewhere");
            refused(fs.rename(&path, &to), "encrypted");
            if name != "/secret" {
                refused(fs.hard_link(&path, &to).map_err(|error| error.with_guest_path(b"/")), "encrypted");
            }
        }
        let (directory, file, link) = (at(&*fs, "/secret"), at(&*fs, "/file"), at(&*fs, "/link"));
        refused(fs.read_dir(&directory).map(drop), "encrypted");
        refused(fs.read_at(&file, &mut [0; 10], 0).map(drop), "encrypted");
        refused(fs.read_link(&link).map(drop), "encrypted");
        refused(fs.put(&file, &Content::bytes([1])), "encrypted");
        refused(try_at(&*fs, "/secret/new").map(drop), "encrypted");
        exercise(&mut *fs);
        fs.close().unwrap();
        oracle::e2fsck(&image, block_size);
        let mounted = Mounted::new(&image, "rw,test_dummy_encryption");
        let host = |name: &str| mounted.path().join(name);
        for number in 0..100 {
            let content = fs::read_to_string(host(&format!("secret/{number}"))).unwrap();
            assert_eq!(content, format!("secret {number}"));
        }
        assert_eq!(fs::read_to_string(host("file")).unwrap(), "encrypted");
        assert_eq!(fs::read_link(host("link")).unwrap(), Path::new("target"));
        assert_eq!(fs::read_dir(host("plain")).unwrap().count(), 200 - 67 - 1);
    }
}

#[test]
fn casefolded_names_are_read_as_they_are_and_not_changed() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 32, Before::Garbage, &["-t", "ext4", "-O", "casefold", "-b", "1024"]);
    let mut fs = write(&image);
    let long = "x".repeat(60);
    let names: Vec<String> = (0..60).map(|number| format!("Name-{number}-\u{c4}\u{f6}-{long}")).collect();
    for directory in ["/folded", "/small", "/empty"] {
        fs.create_dir(&at(&*fs, directory), ATTRS).unwrap();
    }
    for name in &names {
        fs.create_file(&at(&*fs, format!("/folded/{name}")), ATTRS).unwrap();
    }
    fs.create_file(&at(&*fs, "/small/One"), ATTRS).unwrap();
    fs.close().unwrap();
    for name in ["folded", "small", "empty"] {
        debugfs(&image, &format!("sif {name} flags 0x40080000"));
    }
    // e2fsck knows how to fold: it makes the index anew, and would find a name in the wrong place of it.
    let made = Command::new("e2fsck").args(["-fyD"]).arg(&image).output().unwrap();
    assert_eq!(made.status.code(), Some(1));
    assert!(debugfs(&image, "stat folded").contains("0x40081000"), "no index");

    let mut fs = write(&image);
    let mut found: Vec<_> = fs.read_dir(&at(&*fs, "/folded")).unwrap().into_iter().map(|entry| entry.name).collect();
    found.sort();
    let mut expected: Vec<_> = names.iter().map(|name| name.clone().into_bytes()).collect();
    expected.sort();
    assert_eq!(found, expected);
    for name in &names {
        let path = at(&*fs, format!("/folded/{name}"));
        assert_eq!(fs.lookup(&path).unwrap().unwrap().file_type, FileType::Regular);
        fs.put(&path, &Content::bytes(name.clone().into_bytes())).unwrap();
        fs.set_attrs(&path, SetAttrs { uid: Some(7), ..SetAttrs::default() }).unwrap();
        fs.set_xattr(&path, &xattr()).unwrap();
    }
    let other = at(&*fs, format!("/folded/{}", names[0].to_lowercase()));
    assert_eq!(fs.lookup(&other).unwrap(), None);
    for directory in ["/folded", "/small", "/empty"] {
        let new = at(&*fs, format!("{directory}/new"));
        refused(fs.create_file(&new, ATTRS), "casefold");
        refused(fs.create_dir(&new, ATTRS), "casefold");
        refused(fs.create_symlink(&new, b"t", ATTRS), "casefold");
    }
    let one = at(&*fs, "/small/One");
    let outside = at(&*fs, "/outside");
    refused(fs.remove(&one), "casefold");
    refused(fs.rename(&one, &outside), "casefold");
    fs.hard_link(&one, &outside).unwrap();
    refused(fs.rename(&outside, &at(&*fs, "/folded/in")), "casefold");
    // The directories themselves are files of a directory like any other.
    fs.remove(&at(&*fs, "/empty")).unwrap();
    fs.create_dir(&at(&*fs, "/below"), ATTRS).unwrap();
    fs.rename(&at(&*fs, "/folded"), &at(&*fs, "/below/folded")).unwrap();
    fs.rename(&at(&*fs, "/small"), &at(&*fs, "/below/small")).unwrap();
    exercise(&mut *fs);
    fs.close().unwrap();
    oracle::e2fsck(&image, "casefold");
    let fs = write(&image);
    for name in &names {
        let mut content = vec![0; 200];
        let len = fs.read_at(&at(&*fs, format!("/below/folded/{name}")), &mut content, 0).unwrap();
        assert_eq!(&content[..len], name.as_bytes());
    }
}

#[test]
fn sealed_files_are_moved_and_removed_and_never_written() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 32, Before::Garbage, &["-t", "ext4", "-O", "verity", "-b", "4096"]);
    let content: Vec<u8> = (0..20_000_u32).map(|at| at as u8).collect();
    let mut fs = write(&image);
    for name in ["/sealed", "/gone", "/replaced"] {
        fs.create_file(&at(&*fs, name), ATTRS).unwrap();
        fs.put(&at(&*fs, name), &Content::bytes(content.clone())).unwrap();
    }
    fs.close().unwrap();
    // As the kernel leaves them: what proves the content lies behind its end.
    for name in ["sealed", "gone", "replaced"] {
        debugfs(&image, &format!("sif {name} size 5000"));
        debugfs(&image, &format!("sif {name} flags 0x180000"));
    }
    oracle::e2fsck(&image, "sealed");
    let before = debugfs(&image, "stat sealed");
    let mut fs = write(&image);
    let sealed = at(&*fs, "/sealed");
    for result in [
        fs.put(&sealed, &Content::bytes([1])),
        fs.append(&sealed, &Content::bytes([1])),
        fs.truncate(&sealed, 10),
        fs.truncate(&sealed, 5000),
    ] {
        refused(result, "verity");
    }
    fs.set_attrs(&sealed, SetAttrs { mode: Some(0o600), uid: Some(5), mtime: Some(NOW), gid: None }).unwrap();
    fs.set_xattr(&sealed, &xattr()).unwrap();
    fs.hard_link(&sealed, &at(&*fs, "/second")).unwrap();
    let moved = at(&*fs, "/moved-away");
    fs.rename(&sealed, &moved).unwrap();
    fs.remove(&at(&*fs, "/gone")).unwrap();
    fs.create_file(&at(&*fs, "/new"), ATTRS).unwrap();
    fs.rename(&at(&*fs, "/new"), &at(&*fs, "/replaced")).unwrap();
    let mut found = vec![0; 6000];
    assert_eq!(fs.read_at(&moved, &mut found, 0).unwrap(), 5000);
    assert_eq!(found[..5000], content[..5000]);
    exercise(&mut *fs);
    fs.close().unwrap();
    oracle::e2fsck(&image, "written");
    let after = debugfs(&image, "stat moved-away");
    let blocks = |text: &str| text.split("EXTENTS:").nth(1).unwrap().lines().nth(1).unwrap().to_owned();
    assert_eq!(blocks(&before), blocks(&after));
}
