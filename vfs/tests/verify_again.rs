//! Changes read back from a filesystem that was opened anew: it agrees, or says what is different.

use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{Attrs, Content, DeviceNumber, GuestFs, SetAttrs, SpecialFile, Xattr};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::{ChangeSet, Stage};
use imgraft_vfs::verify::read_again;

const FILE: Attrs = Attrs { mode: 0o640, uid: 1, gid: 2 };

fn path(path: &str) -> GuestPath {
    GuestPath::parse(path).unwrap()
}

fn at(fs: &MemFs, name: &str) -> Resolved {
    resolve(fs, &path(name), Follow::ExcludeLast).unwrap()
}

fn label(value: &str) -> Xattr {
    Xattr { name: b"security.selinux".to_vec(), value: value.as_bytes().to_vec() }
}

fn device(major: u32, minor: u32) -> SpecialFile {
    SpecialFile::CharDevice(DeviceNumber { major, minor })
}

/// A filesystem, and changes of every kind, which are made in it.
fn changed() -> (MemFs, ChangeSet) {
    let mut fs = MemFs::builder()
        .file("/old", "old")
        .file("/gone", "")
        .file("/d/f", "")
        .symlink("/link", "old")
        .file("/labelled", "")
        .xattr("security.selinux", "first")
        .file("/bare", "")
        .xattr("user.a", "x")
        .build()
        .unwrap();
    let base = fs.clone();
    let mut stage = Stage::new(&base);
    stage.write(&path("/old"), Content::bytes(vec![7; 100_000]), FILE).unwrap();
    stage.write(&path("/new"), Content::bytes(*b"new"), FILE).unwrap();
    stage.create_dirs(&path("/made/deep"), FILE).unwrap();
    stage.symlink(&path("/link"), b"new", FILE).unwrap();
    stage.remove(&path("/gone")).unwrap();
    stage.remove(&path("/d/f")).unwrap();
    stage.set_xattr(&path("/labelled"), label("second")).unwrap();
    stage.remove_xattr(&path("/bare"), b"user.a").unwrap();
    stage.create_special(&path("/tty"), device(5, 1), FILE).unwrap();
    stage.hard_link(&path("/new"), &path("/second")).unwrap();
    let changes = stage.finish().unwrap();
    changes.apply(&mut fs).unwrap();
    (fs, changes)
}

#[test]
fn it_agrees_with_what_was_written() {
    let (fs, changes) = changed();
    assert_eq!(read_again(&fs, &changes).unwrap(), changes.changes().len());
    assert!(changes.changes().len() >= 11);
    // What stood in the way of a removed path is of no matter.
    let mut fs = fs;
    let d = at(&fs, "/d");
    fs.remove(&d).unwrap();
    fs.create_file(&d, FILE).unwrap();
    read_again(&fs, &changes).unwrap();
}

#[test]
fn it_says_what_is_different() {
    type Damage = fn(&mut MemFs);
    let damages: [(&str, Damage); 13] = [
        ("content", |fs| {
            let mut bytes = vec![7; 100_000];
            bytes[99_999] = 8;
            fs.put(&at(fs, "/old"), &Content::bytes(bytes)).unwrap();
        }),
        ("size", |fs| fs.append(&at(fs, "/new"), &Content::bytes(*b"x")).unwrap()),
        ("mode", |fs| {
            fs.set_attrs(&at(fs, "/new"), SetAttrs { mode: Some(0o600), ..SetAttrs::default() }).unwrap();
        }),
        ("owner", |fs| fs.set_attrs(&at(fs, "/new"), SetAttrs { uid: Some(9), ..SetAttrs::default() }).unwrap()),
        ("group", |fs| {
            fs.set_attrs(&at(fs, "/made/deep"), SetAttrs { gid: Some(9), ..SetAttrs::default() }).unwrap();
        }),
        ("missing", |fs| fs.remove(&at(fs, "/made/deep")).unwrap()),
        ("type", |fs| {
            let deep = at(fs, "/made/deep");
            fs.remove(&deep).unwrap();
            fs.create_file(&deep, FILE).unwrap();
        }),
        ("target", |fs| {
            let link = at(fs, "/link");
            fs.remove(&link).unwrap();
            fs.create_symlink(&link, b"old", Attrs { mode: 0o777, uid: 0, gid: 0 }).unwrap();
        }),
        ("device", |fs| {
            let tty = at(fs, "/tty");
            fs.remove(&tty).unwrap();
            fs.create_special(&tty, device(5, 2), FILE).unwrap();
        }),
        ("not the same file as /new", |fs| {
            let second = at(fs, "/second");
            fs.remove(&second).unwrap();
            fs.create_file(&second, FILE).unwrap();
            fs.put(&second, &Content::bytes(*b"new")).unwrap();
        }),
        ("still there", |fs| fs.create_file(&at(fs, "/gone"), FILE).unwrap()),
        ("attribute", |fs| fs.set_xattr(&at(fs, "/labelled"), &label("third")).unwrap()),
        ("attribute", |fs| {
            fs.set_xattr(&at(fs, "/bare"), &Xattr { name: b"user.a".to_vec(), value: b"y".to_vec() }).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (mut fs, changes) = changed();
        damage(&mut fs);
        let error = read_again(&fs, &changes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}
