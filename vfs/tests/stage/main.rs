//! The stage over the filesystem in memory: what it shows, what it lists, what it makes.

mod copying;
mod kinds;
mod moving;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{
    Attrs, Content, DeviceNumber, FileType, GuestFs, Lookup, SetAttrs, SpecialFile, Timestamp, Xattr,
};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::{Action, Change, ChangeSet, Stage};
use std::io::Write;

const FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
const DIR: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

fn path(path: &str) -> GuestPath {
    GuestPath::parse(path).unwrap()
}

fn text(text: impl AsRef<[u8]>) -> Content {
    Content::bytes(text.as_ref())
}

fn xattr(name: &str, value: &str) -> Xattr {
    Xattr { name: name.into(), value: value.into() }
}

fn guest() -> MemFs {
    MemFs::builder()
        .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
        .xattr("security.selinux", "passwd_t")
        .file("/etc/shadow", "root:*:1::::::\n")
        .mode(0o640)
        .owner(0, 42)
        .mtime(Timestamp { seconds: 77, nanoseconds: 7 })
        .dir("/root")
        .mode(0o700)
        .dir("/srv/empty")
        .file("/srv/one", "same")
        .hard_link("/srv/two", "/srv/one")
        .symlink("/var/run", "../run")
        .dir("/run")
        .symlink("/link", "etc/passwd")
        .xattr("security.selinux", "link_t")
        .special("/dev/null", FileType::CharDevice)
        .build()
        .unwrap()
}

fn actions(changes: &[Change]) -> Vec<(String, &[Action])> {
    changes.iter().map(|change| (change.path.to_string(), change.actions())).collect()
}

/// Applies what `stage` stages.
fn apply(fs: &mut MemFs, stage: impl Fn(&mut Stage<'_>)) -> ChangeSet {
    let changes = {
        let mut first = Stage::new(fs);
        stage(&mut first);
        first.finish().unwrap()
    };
    changes.apply(fs).unwrap();
    let left = fs.read_dir(&Resolved::root()).unwrap();
    assert!(
        left.iter().all(|entry| !entry.name.starts_with(b".imgraft")),
        "what was for the time of the changes is gone"
    );
    changes
}

/// The same, and checks that the same staging then has nothing left to do.
fn settle(fs: &mut MemFs, stage: impl Fn(&mut Stage<'_>)) -> ChangeSet {
    let changes = apply(fs, &stage);
    let mut again = Stage::new(fs);
    stage(&mut again);
    let again = again.finish().unwrap();
    assert!(again.is_empty(), "a second run would change {:?}", actions(again.changes()));
    changes
}

fn bytes(fs: &MemFs, at: &str) -> Vec<u8> {
    Stage::new(fs).read(&path(at), 1 << 30).unwrap().unwrap()
}

fn kind<T: std::fmt::Debug>(result: imgraft_vfs::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn reads_see_what_is_staged() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    stage.write(&path("/var/run/new"), text("n"), FILE).unwrap();
    assert_eq!(stage.read(&path("/run/new"), 1).unwrap().unwrap(), b"n");
    assert_eq!(kind(stage.read(&path("/run/new"), 0)), ErrorKind::Unsupported);
    assert_eq!(stage.read(&path("/run/none"), 0).unwrap(), None);
    assert_eq!(stage.metadata(&path("/run/new")).unwrap().unwrap().size, 1);
    assert!(stage.create_dirs(&path("/run/a/b"), DIR).unwrap());
    assert!(!stage.create_dirs(&path("/var/run/a/b"), DIR).unwrap());
    stage.symlink(&path("/run/a/l"), b"../new", FILE).unwrap();
    assert_eq!(stage.read(&path("/run/a/l"), 9).unwrap().unwrap(), b"n");
    assert_eq!(stage.symlink_metadata(&path("/run/a/l")).unwrap().unwrap().file_type, FileType::Symlink);
    assert_eq!(stage.symlink_target(&path("/run/a/l")).unwrap().unwrap(), b"../new");
    stage.write(&path("/link"), text("through"), FILE).unwrap();
    assert_eq!(stage.read(&path("/etc/passwd"), 99).unwrap().unwrap(), b"through");
    assert_eq!(stage.xattrs(&path("/link")).unwrap(), [xattr("security.selinux", "passwd_t")]);
    assert_eq!(bytes(&fs, "/etc/passwd"), b"root:x:0:0::/root:/bin/sh\n", "the base is untouched");
}

#[test]
fn directories_are_merged() {
    let fs = MemFs::builder().file("/d/b", "").file("/d/d", "").file("/d/sub/x", "").file("/d-e", "").build().unwrap();
    let mut stage = Stage::new(&fs);
    stage.write(&path("/d/a"), text(""), FILE).unwrap();
    stage.write(&path("/d/sub/new"), text(""), FILE).unwrap();
    stage.create_dirs(&path("/d/c/deep"), DIR).unwrap();
    stage.remove(&path("/d/d")).unwrap();
    let list = |stage: &Stage<'_>, at: &str| -> Vec<_> {
        let entries = stage.read_dir(&path(at)).unwrap().unwrap();
        entries.into_iter().map(|entry| (String::from_utf8(entry.name).unwrap(), entry.file_type)).collect()
    };
    let (file, dir) = (FileType::Regular, FileType::Directory);
    assert_eq!(list(&stage, "/d"), [("a".into(), file), ("b".into(), file), ("c".into(), dir), ("sub".into(), dir)]);
    assert_eq!(list(&stage, "/"), [("d".into(), dir), ("d-e".into(), file)]);
    assert_eq!(list(&stage, "/d/c"), [("deep".into(), dir)]);
    assert_eq!(list(&stage, "/d/sub"), [("new".into(), file), ("x".into(), file)]);
    assert_eq!(stage.read_dir(&path("/none")).unwrap(), None);
    assert_eq!(kind(stage.read_dir(&path("/d/a"))), ErrorKind::WrongType);
    assert_eq!(kind(stage.read_dir(&path("/d/b"))), ErrorKind::WrongType);
}

#[test]
fn a_new_file_and_its_directories() {
    let mut fs = guest();
    let changes = settle(&mut fs, |stage| {
        let attrs = Attrs { mode: 0o700, uid: 7, gid: 8 };
        stage.create_dirs(&path("/home/u/.ssh"), attrs).unwrap();
        stage.write(&path("/home/u/.ssh/keys"), text("k"), Attrs { mode: 0o600, uid: 7, gid: 8 }).unwrap();
        stage.set_xattr(&path("/home/u/.ssh/keys"), xattr("security.selinux", "ssh_home_t")).unwrap();
    });
    assert_eq!(
        actions(changes.changes()),
        ["/home", "/home/u", "/home/u/.ssh", "/home/u/.ssh/keys"].map(|at| (at.into(), &[Action::Create][..]))
    );
    let stage = Stage::new(&fs);
    let keys = stage.metadata(&path("/home/u/.ssh/keys")).unwrap().unwrap();
    assert_eq!((keys.mode, keys.uid, keys.gid, keys.size), (0o600, 7, 8, 1));
    assert_eq!(stage.xattrs(&path("/home/u/.ssh/keys")).unwrap(), [xattr("security.selinux", "ssh_home_t")]);
    assert_eq!(stage.metadata(&path("/home")).unwrap().unwrap().mode, 0o700);
}

#[test]
fn an_existing_file_keeps_what_it_has() {
    let mut fs = guest();
    let changes = settle(&mut fs, |stage| {
        stage.write(&path("/etc/shadow"), text("root:$y$:1::::::\n"), FILE).unwrap();
    });
    assert_eq!(actions(changes.changes()), [("/etc/shadow".into(), &[Action::Modify][..])]);
    let metadata = Stage::new(&fs).metadata(&path("/etc/shadow")).unwrap().unwrap();
    assert_eq!((metadata.mode, metadata.uid, metadata.gid), (0o640, 0, 42));
    assert_eq!(metadata.mtime.seconds, 1, "changed now");
}

#[test]
fn what_changes_nothing_is_no_change() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    let start = stage.savepoint();
    stage.write(&path("/etc/shadow"), text("root:*:1::::::\n"), FILE).unwrap();
    stage.write(&path("/etc/passwd"), text("other"), FILE).unwrap();
    stage.write(&path("/etc/passwd"), text("root:x:0:0::/root:/bin/sh\n"), FILE).unwrap();
    stage.create_dirs(&path("/srv/empty"), Attrs { mode: 0, uid: 9, gid: 9 }).unwrap();
    let mtime = Some(Timestamp { seconds: 77, nanoseconds: 7 });
    stage.set_attrs(&path("/etc/shadow"), SetAttrs { mode: Some(0o640), uid: Some(0), gid: Some(42), mtime }).unwrap();
    stage.set_xattr(&path("/etc/passwd"), xattr("security.selinux", "passwd_t")).unwrap();
    stage.set_attrs(&path("/root"), SetAttrs { mode: Some(0o777), ..SetAttrs::default() }).unwrap();
    stage.set_attrs(&path("/root"), SetAttrs { mode: Some(0o700), ..SetAttrs::default() }).unwrap();
    stage.symlink(&path("/link"), b"etc/passwd", FILE).unwrap();
    stage.write(&path("/tmp"), text("gone again"), FILE).unwrap();
    stage.remove(&path("/tmp")).unwrap();
    stage.remove(&path("/srv/empty")).unwrap();
    stage.create_dirs(&path("/srv/empty"), DIR).unwrap();
    stage.remove(&path("/etc/shadow")).unwrap();
    stage.write(&path("/etc/shadow"), text("root:*:1::::::\n"), Attrs { mode: 0o640, uid: 0, gid: 42 }).unwrap();
    assert_eq!(actions(&stage.changes_since(&start).unwrap()), []);
    assert!(stage.finish().unwrap().is_empty());
}

#[test]
fn a_host_file_is_compared_in_pieces() {
    let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&data).unwrap();
    let mut other = data.clone();
    other[299_999] ^= 1;
    for (base, expected) in [(&data, 0), (&other, 1)] {
        let fs = MemFs::builder().file("/big", base).build().unwrap();
        let mut stage = Stage::new(&fs);
        stage.write(&path("/big"), Content::open(file.path()).unwrap(), FILE).unwrap();
        assert_eq!(stage.finish().unwrap().changes().len(), expected);
    }
}

#[test]
fn each_action_is_named() {
    let mut fs = guest();
    let mtime = Some(Timestamp { seconds: 5, nanoseconds: 0 });
    let changes = settle(&mut fs, |stage| {
        stage.set_attrs(&path("/etc/passwd"), SetAttrs { uid: Some(3), ..SetAttrs::default() }).unwrap();
        stage.set_xattr(&path("/etc/passwd"), xattr("security.selinux", "new_t")).unwrap();
        stage.write(&path("/etc/shadow"), text("x"), FILE).unwrap();
        stage.set_attrs(&path("/etc/shadow"), SetAttrs { mode: Some(0o600), mtime, ..SetAttrs::default() }).unwrap();
        stage.symlink(&path("/link"), b"etc/shadow", FILE).unwrap();
        stage.set_attrs(&path("/srv/empty"), SetAttrs { mode: Some(0o1777), ..SetAttrs::default() }).unwrap();
    });
    assert_eq!(
        actions(changes.changes()),
        [
            ("/etc/passwd".into(), &[Action::Chown, Action::Relabel][..]),
            ("/etc/shadow".into(), &[Action::Modify, Action::Chmod, Action::Touch]),
            ("/link".into(), &[Action::Modify]),
            ("/srv/empty".into(), &[Action::Chmod]),
        ]
    );
    let stage = Stage::new(&fs);
    assert_eq!(Some(stage.metadata(&path("/etc/shadow")).unwrap().unwrap().mtime), mtime);
    let link = resolve(&fs, &path("/link"), Follow::ExcludeLast).unwrap();
    assert_eq!(fs.xattrs(&link).unwrap(), [xattr("security.selinux", "link_t")], "a new target keeps the label");
}

#[test]
fn xattrs_are_removed() {
    let mut fs = guest();
    let mut stage = Stage::new(&fs);
    stage.set_xattr(&path("/root"), xattr("user.a", "1")).unwrap();
    stage.remove_xattr(&path("/root"), b"user.a").unwrap();
    assert_eq!(kind(stage.remove_xattr(&path("/root"), b"user.a")), ErrorKind::NotFound);
    stage.remove_xattr(&path("/etc/passwd"), b"security.selinux").unwrap();
    assert_eq!(stage.xattrs(&path("/etc/passwd")).unwrap(), []);
    let changes = stage.finish().unwrap();
    assert_eq!(actions(changes.changes()), [("/etc/passwd".into(), &[Action::Relabel][..])]);
    changes.apply(&mut fs).unwrap();
    assert_eq!(Stage::new(&fs).xattrs(&path("/etc/passwd")).unwrap(), []);
}

#[test]
fn one_type_takes_the_place_of_another() {
    let mut fs = MemFs::builder()
        .dir("/a")
        .file("/b", "old")
        .file("/c/x", "1")
        .file("/c/y", "2")
        .symlink("/d", "b")
        .build()
        .unwrap();
    let changes = {
        let mut stage = Stage::new(&fs);
        stage.remove(&path("/a")).unwrap();
        stage.write(&path("/a"), text("file now"), FILE).unwrap();
        stage.remove(&path("/b")).unwrap();
        stage.create_dirs(&path("/b/in"), DIR).unwrap();
        stage.write(&path("/b/in/f"), text("f"), FILE).unwrap();
        assert_eq!(kind(stage.remove(&path("/c"))), ErrorKind::Invalid);
        stage.remove(&path("/c/x")).unwrap();
        stage.remove(&path("/c/y")).unwrap();
        stage.remove(&path("/c")).unwrap();
        assert_eq!(stage.metadata(&path("/c/x")).unwrap(), None);
        stage.create_dirs(&path("/c"), Attrs { mode: 0o700, uid: 1, gid: 1 }).unwrap();
        assert_eq!(stage.metadata(&path("/c/x")).unwrap(), None);
        stage.write(&path("/c/x"), text("1"), FILE).unwrap();
        stage.remove(&path("/d")).unwrap();
        stage.write(&path("/d"), text("no link"), FILE).unwrap();
        stage.finish().unwrap()
    };
    assert_eq!(
        actions(changes.changes()),
        [
            ("/a".into(), &[Action::Remove, Action::Create][..]),
            ("/b".into(), &[Action::Remove, Action::Create]),
            ("/b/in".into(), &[Action::Create]),
            ("/b/in/f".into(), &[Action::Create]),
            ("/c".into(), &[Action::Chmod, Action::Chown]),
            ("/c/y".into(), &[Action::Remove]),
            ("/d".into(), &[Action::Remove, Action::Create]),
        ]
    );
    changes.apply(&mut fs).unwrap();
    assert_eq!(bytes(&fs, "/a"), b"file now");
    assert_eq!(bytes(&fs, "/b/in/f"), b"f");
    assert_eq!(bytes(&fs, "/c/x"), b"1");
    assert_eq!(bytes(&fs, "/d"), b"no link");
    assert_eq!(Stage::new(&fs).metadata(&path("/c/y")).unwrap(), None);
}

#[test]
fn a_directory_becomes_a_file_with_all_that_was_in_it() {
    let mut fs = MemFs::builder().file("/d/e/f", "1").build().unwrap();
    let mut stage = Stage::new(&fs);
    for at in ["/d/e/f", "/d/e", "/d"] {
        stage.remove(&path(at)).unwrap();
    }
    stage.write(&path("/d"), text("flat"), FILE).unwrap();
    assert_eq!(kind(stage.metadata(&path("/d/e"))), ErrorKind::WrongType);
    let changes = stage.finish().unwrap();
    assert_eq!(changes.changes().len(), 3);
    changes.apply(&mut fs).unwrap();
    assert_eq!(bytes(&fs, "/d"), b"flat");
}

#[test]
fn going_back_to_a_savepoint() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    stage.write(&path("/a"), text("1"), FILE).unwrap();
    let point = stage.savepoint();
    stage.write(&path("/a"), text("2"), FILE).unwrap();
    stage.write(&path("/b"), text("b"), FILE).unwrap();
    stage.remove(&path("/etc/shadow")).unwrap();
    let since = stage.changes_since(&point).unwrap();
    assert_eq!(
        actions(&since),
        [
            ("/a".into(), &[Action::Modify][..]),
            ("/b".into(), &[Action::Create]),
            ("/etc/shadow".into(), &[Action::Remove])
        ]
    );
    assert_eq!(since[0].old_content(&fs, 9).unwrap().unwrap(), b"1");
    assert_eq!(since[0].new_content(&fs, 9).unwrap().unwrap(), b"2");
    stage.rollback(point.clone());
    assert_eq!(stage.changes_since(&point).unwrap().len(), 0);
    assert_eq!(stage.read(&path("/a"), 9).unwrap().unwrap(), b"1");
    assert_eq!(stage.read(&path("/b"), 9).unwrap(), None);
    assert_eq!(actions(stage.finish().unwrap().changes()), [("/a".into(), &[Action::Create][..])]);
}

#[test]
fn old_and_new_content_for_a_diff() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    stage.write(&path("/etc/shadow"), text("new"), FILE).unwrap();
    stage.set_attrs(&path("/etc/passwd"), SetAttrs { mode: Some(0o600), ..SetAttrs::default() }).unwrap();
    stage.create_dirs(&path("/opt"), DIR).unwrap();
    let set = stage.finish().unwrap();
    let [opt, shadow, passwd] = [2, 1, 0].map(|index| &set.changes()[index]);
    assert_eq!(shadow.old_content(&fs, 99).unwrap().unwrap(), b"root:*:1::::::\n");
    assert_eq!(shadow.new_content(&fs, 99).unwrap().unwrap(), b"new");
    assert_eq!(kind(shadow.old_content(&fs, 3)), ErrorKind::Unsupported);
    assert_eq!(passwd.old_content(&fs, 99).unwrap(), passwd.new_content(&fs, 99).unwrap());
    assert_eq!((opt.old_content(&fs, 9).unwrap(), opt.new_content(&fs, 9).unwrap()), (None, None));
}

#[test]
fn misuse_is_named() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    let missing = stage.write(&path("/none/such/file"), text(""), FILE).unwrap_err();
    assert_eq!((missing.kind(), missing.guest_path()), (ErrorKind::NotFound, Some(&b"/none/such"[..])));
    for at in ["/", "/etc", "/var/run", "/dev/null"] {
        assert_eq!(kind(stage.write(&path(at), text(""), FILE)), ErrorKind::WrongType, "{at}");
    }
    assert_eq!(kind(stage.write(&path("/etc/passwd/x"), text(""), FILE)), ErrorKind::WrongType);
    assert_eq!(kind(stage.create_dirs(&path("/etc/passwd"), DIR)), ErrorKind::WrongType);
    assert_eq!(kind(stage.create_dirs(&path("/etc/passwd/x"), DIR)), ErrorKind::WrongType);
    assert_eq!(kind(stage.set_attrs(&path("/none"), SetAttrs::default())), ErrorKind::NotFound);
    assert_eq!(kind(stage.set_xattr(&path("/none"), xattr("user.a", ""))), ErrorKind::NotFound);
    assert_eq!(kind(stage.xattrs(&path("/none"))), ErrorKind::NotFound);
    assert_eq!(kind(stage.remove(&path("/none"))), ErrorKind::NotFound);
    assert_eq!(kind(stage.remove(&path("/"))), ErrorKind::Invalid);
    assert_eq!(kind(stage.symlink(&path("/etc"), b"x", FILE)), ErrorKind::WrongType);
    assert_eq!(kind(stage.symlink(&path("/l"), b"", FILE)), ErrorKind::Invalid);
    assert_eq!(kind(stage.read(&path("/etc"), 9)), ErrorKind::WrongType);
    assert!(stage.finish().unwrap().is_empty());
}

#[test]
fn removing_a_link_leaves_its_target() {
    let mut fs = guest();
    let mut stage = Stage::new(&fs);
    stage.remove(&path("/link")).unwrap();
    assert_eq!(stage.metadata(&path("/link")).unwrap(), None);
    let changes = stage.finish().unwrap();
    changes.apply(&mut fs).unwrap();
    assert!(Stage::new(&fs).metadata(&path("/etc/passwd")).unwrap().is_some());
}

#[test]
fn what_is_confirmed_is_spoken_of() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    stage.write(&path("/etc/shadow"), text("new"), FILE).unwrap();
    let before = stage.savepoint();
    stage.confirm(&path("/link")).unwrap();
    stage.confirm(&path("/etc/shadow")).unwrap();
    stage.symlink(&path("/var/run"), b"../run", FILE).unwrap();
    stage.write(&path("/srv/one"), text("same"), FILE).unwrap();
    stage.remove(&path("/srv/empty")).unwrap();
    assert_eq!(kind(stage.confirm(&path("/none"))), ErrorKind::NotFound);
    let spoken_of = stage.spoken_of_since(&before);
    assert_eq!(spoken_of.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/etc/passwd", "/srv/one", "/var/run"]);
    let changes = stage.changes_since(&before).unwrap();
    assert_eq!(actions(&changes), [("/srv/empty".into(), &[Action::Remove][..])]);
    assert_eq!(stage.read(&path("/etc/shadow"), 9).unwrap().unwrap(), b"new");
    stage.rollback(before.clone());
    assert!(stage.spoken_of_since(&before).is_empty());
}

#[test]
fn what_is_rolled_back_was_not_said() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    stage.confirm(&path("/srv/two")).unwrap();
    stage.write(&path("/srv/one"), text("new"), FILE).unwrap();
    let before = stage.savepoint();
    stage.write(&path("/srv/two"), text("other"), FILE).unwrap();
    stage.rollback(before);
    assert_eq!(actions(stage.finish().unwrap().changes()), [("/srv/one".into(), &[Action::Modify][..])]);
}

#[test]
fn two_names_of_one_file() {
    let mut fs = guest();
    {
        let mut stage = Stage::new(&fs);
        stage.write(&path("/srv/one"), text("a"), FILE).unwrap();
        assert_eq!(stage.read(&path("/srv/two"), 9).unwrap().unwrap(), b"a");
        assert_eq!(stage.metadata(&path("/srv/two")).unwrap().unwrap().size, 1);
        stage.write(&path("/srv/two"), text("bc"), FILE).unwrap();
        stage.set_attrs(&path("/srv/two"), SetAttrs { mode: Some(0o600), ..SetAttrs::default() }).unwrap();
        assert_eq!(stage.read(&path("/srv/one"), 9).unwrap().unwrap(), b"bc");
        let changes = stage.finish().unwrap();
        assert_eq!(actions(changes.changes()), [("/srv/one".into(), &[Action::Modify, Action::Chmod][..])]);
        // Also where the one that was changed has yet another name.
        let mut stage = Stage::new(&fs);
        stage.write(&path("/srv/one"), text("a"), FILE).unwrap();
        stage.rename(&path("/srv/one"), &path("/srv/three")).unwrap();
        stage.write(&path("/srv/two"), text("b"), FILE).unwrap();
        assert_eq!(stage.read(&path("/srv/three"), 9).unwrap().unwrap(), b"b");
        // Or had that before it was changed.
        let mut stage = Stage::new(&fs);
        stage.rename(&path("/srv/one"), &path("/srv/three")).unwrap();
        stage.write(&path("/srv/two"), text("b"), FILE).unwrap();
        assert_eq!(stage.read(&path("/srv/three"), 9).unwrap().unwrap(), b"b");
        stage.write(&path("/srv/three"), text("bc"), FILE).unwrap();
        assert_eq!(stage.read(&path("/srv/two"), 9).unwrap().unwrap(), b"bc");
        assert!(stage.finish().is_ok());
        // A name that was touched, and not changed, is no other file.
        let mut stage = Stage::new(&fs);
        stage.set_attrs(&path("/srv/two"), SetAttrs { uid: Some(0), ..SetAttrs::default() }).unwrap();
        stage.write(&path("/srv/one"), text("b"), FILE).unwrap();
        assert_eq!(stage.read(&path("/srv/two"), 9).unwrap().unwrap(), b"b");
        assert!(stage.copy(&path("/srv/two"), &path("/srv/copy")).is_err());
        stage.write(&path("/srv/two"), text("bc"), FILE).unwrap();
        assert_eq!(actions(stage.finish().unwrap().changes()), [("/srv/one".into(), &[Action::Modify][..])]);
        // What was changed under one name is not moved by another, which would come back to what it was.
        let mut stage = Stage::new(&fs);
        stage.write(&path("/srv/one"), text("a"), FILE).unwrap();
        let refused = stage.rename(&path("/srv/two"), &path("/srv/three")).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.hint()),
            (ErrorKind::Ambiguous, Some("move it first, or in a run of its own"))
        );
        // Two that are both moved stay one file, and a change of it is none of one of them.
        let mut stage = Stage::new(&fs);
        stage.rename(&path("/srv/one"), &path("/srv/three")).unwrap();
        stage.rename(&path("/srv/two"), &path("/srv/four")).unwrap();
        stage.write(&path("/srv/three"), text("a"), FILE).unwrap();
        stage.write(&path("/srv/four"), text("b"), FILE).unwrap();
        assert_eq!(stage.read(&path("/srv/three"), 9).unwrap().unwrap(), b"b");
        // What is said last counts, be it that the file is what it was.
        let mut stage = Stage::new(&fs);
        stage.write(&path("/srv/one"), text("a"), FILE).unwrap();
        stage.write(&path("/srv/two"), text("same"), FILE).unwrap();
        assert!(stage.finish().unwrap().changes().is_empty());
        let mut stage = Stage::new(&fs);
        stage.write(&path("/srv/two"), text("same"), FILE).unwrap();
        stage.write(&path("/srv/one"), text("a"), FILE).unwrap();
        assert_eq!(actions(stage.finish().unwrap().changes()), [("/srv/one".into(), &[Action::Modify][..])]);
    }
    settle(&mut fs, |stage| {
        stage.write(&path("/srv/one"), text("a"), FILE).unwrap();
        stage.write(&path("/srv/two"), text("a"), FILE).unwrap();
    });
    settle(&mut fs, |stage| stage.write(&path("/srv/one"), text("both"), FILE).unwrap());
    assert_eq!(bytes(&fs, "/srv/two"), b"both");
    // One name is replaced, so the other keeps the old content.
    let mut stage = Stage::new(&fs);
    stage.remove(&path("/srv/one")).unwrap();
    stage.write(&path("/srv/one"), text("own"), FILE).unwrap();
    let changes = stage.finish().unwrap();
    changes.apply(&mut fs).unwrap();
    assert_eq!((bytes(&fs, "/srv/one"), bytes(&fs, "/srv/two")), (b"own".to_vec(), b"both".to_vec()));
    let link = resolve(&fs, &path("/srv/two"), Follow::All).unwrap();
    assert_eq!(fs.lookup(&link).unwrap().unwrap().links, 1);
}
