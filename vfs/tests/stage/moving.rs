//! Files that get another path.

use super::*;

fn move_to(stage: &mut Stage<'_>, from: &str, to: &str) {
    stage.rename(&path(from), &path(to)).unwrap();
}

#[test]
fn a_moved_file_is_the_same_file() {
    let mut fs = guest();
    let of = |fs: &MemFs, at| Stage::new(fs).metadata(&path(at)).unwrap().unwrap();
    let (before, two) = (of(&fs, "/etc/shadow"), of(&fs, "/srv/two"));
    let changes = {
        let mut stage = Stage::new(&fs);
        move_to(&mut stage, "/etc/shadow", "/srv/s");
        move_to(&mut stage, "/srv/one", "/srv/empty/1");
        move_to(&mut stage, "/link", "/etc/passwd");
        assert_eq!(stage.read(&path("/srv/s"), 99).unwrap().unwrap(), b"root:*:1::::::\n");
        assert_eq!(stage.read(&path("/etc/shadow"), 99).unwrap(), None);
        assert_eq!(stage.symlink_target(&path("/etc/passwd")).unwrap().unwrap(), b"etc/passwd");
        stage.finish().unwrap()
    };
    assert_eq!(
        actions(changes.changes()),
        [
            ("/etc/passwd".into(), &[Action::Remove, Action::Move][..]),
            ("/etc/shadow".into(), &[Action::Remove]),
            ("/link".into(), &[Action::Remove]),
            ("/srv/empty/1".into(), &[Action::Move]),
            ("/srv/one".into(), &[Action::Remove]),
            ("/srv/s".into(), &[Action::Move]),
        ]
    );
    assert!(changes.changes()[1].is_moved_away() && !changes.changes()[0].is_moved_away());
    changes.apply(&mut fs).unwrap();
    assert_eq!(of(&fs, "/srv/s"), before);
    assert_eq!(of(&fs, "/srv/empty/1"), two, "it keeps its other name");
    let link = resolve(&fs, &path("/etc/passwd"), Follow::ExcludeLast).unwrap();
    assert_eq!(fs.read_link(&link).unwrap(), b"etc/passwd");
    assert_eq!(fs.xattrs(&link).unwrap(), [xattr("security.selinux", "link_t")]);
}

#[test]
fn files_that_are_in_each_others_way_are_moved() {
    let mut fs =
        MemFs::builder().file("/a", "a").file("/b", "b").file("/d/e/f", "f").file("/d/g", "g").build().unwrap();
    let changes = {
        let mut stage = Stage::new(&fs);
        for (from, to) in [("/a", "/x"), ("/b", "/a"), ("/x", "/b"), ("/d/e/f", "/f")] {
            move_to(&mut stage, from, to);
        }
        stage.remove(&path("/d/e")).unwrap();
        move_to(&mut stage, "/d/g", "/g");
        stage.remove(&path("/d")).unwrap();
        // What comes out of a directory goes into one of its name.
        stage.create_dirs(&path("/d/new"), DIR).unwrap();
        move_to(&mut stage, "/g", "/d/new/g");
        move_to(&mut stage, "/f", "/d/e");
        stage.finish().unwrap()
    };
    changes.apply(&mut fs).unwrap();
    let expected = [("/a", "b"), ("/b", "a"), ("/d/new/g", "g"), ("/d/e", "f")];
    for (at, content) in expected {
        assert_eq!(bytes(&fs, at), content.as_bytes(), "{at}");
    }
    let names = |at| Stage::new(&fs).read_dir(&path(at)).unwrap().unwrap().len();
    assert_eq!((names("/"), names("/d"), names("/d/new")), (3, 2, 1), "nothing else is left");
}

#[test]
fn what_is_moved_can_be_changed_and_its_place_taken() {
    let mut fs = guest();
    let mut stage = Stage::new(&fs);
    let start = stage.savepoint();
    move_to(&mut stage, "/etc/shadow", "/srv/s");
    let point = stage.savepoint();
    stage.write(&path("/srv/s"), text("new"), FILE).unwrap();
    stage.set_attrs(&path("/srv/s"), SetAttrs { mode: Some(0o600), ..SetAttrs::default() }).unwrap();
    stage.set_xattr(&path("/srv/s"), xattr("user.a", "1")).unwrap();
    let since = stage.changes_since(&point).unwrap();
    assert_eq!(actions(&since), [("/srv/s".into(), &[Action::Modify, Action::Chmod, Action::Relabel][..])]);
    assert_eq!(since[0].old_content(&fs, 99).unwrap().unwrap(), b"root:*:1::::::\n");
    stage.write(&path("/etc/shadow"), text("root:*:1::::::\n"), Attrs { mode: 0o640, uid: 0, gid: 42 }).unwrap();
    let changes = stage.finish().unwrap();
    assert_eq!(
        actions(changes.changes()),
        [
            ("/etc/shadow".into(), &[Action::Create][..]),
            ("/srv/s".into(), &[Action::Move, Action::Modify, Action::Chmod, Action::Relabel]),
        ]
    );
    assert_eq!(changes.changes()[1].old_content(&fs, 99).unwrap().unwrap(), b"root:*:1::::::\n");
    changes.apply(&mut fs).unwrap();
    assert_eq!((bytes(&fs, "/srv/s"), bytes(&fs, "/etc/shadow")), (b"new".to_vec(), b"root:*:1::::::\n".to_vec()));
    let moved = resolve(&fs, &path("/srv/s"), Follow::All).unwrap();
    assert_eq!((fs.lookup(&moved).unwrap().unwrap().mode, fs.xattrs(&moved).unwrap().len()), (0o600, 1));
    // There and back is nothing, and what is new can be moved as well.
    let mut stage = Stage::new(&fs);
    stage.rollback(start.clone());
    move_to(&mut stage, "/etc/shadow", "/x");
    move_to(&mut stage, "/x", "/etc/shadow");
    stage.write(&path("/y"), text("y"), FILE).unwrap();
    move_to(&mut stage, "/y", "/z");
    let changes = stage.finish().unwrap();
    assert_eq!(actions(changes.changes()), [("/z".into(), &[Action::Create][..])]);
    changes.apply(&mut fs).unwrap();
    assert_eq!(bytes(&fs, "/z"), b"y");
}

#[test]
fn what_cannot_be_moved() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    let mut refused = |from: &str, to: &str| kind(stage.rename(&path(from), &path(to)));
    assert_eq!(refused("/none", "/x"), ErrorKind::NotFound);
    assert_eq!(refused("/etc", "/x"), ErrorKind::WrongType);
    assert_eq!(refused("/etc/passwd", "/srv"), ErrorKind::WrongType);
    assert_eq!(refused("/etc/passwd", "/none/x"), ErrorKind::NotFound);
    assert_eq!(refused("/etc/passwd", "/etc/shadow/x"), ErrorKind::WrongType);
    assert_eq!(refused("/srv/one", "/srv/two"), ErrorKind::Invalid);
    assert_eq!(refused("/srv/one", "/srv/one"), ErrorKind::Invalid);
    assert!(stage.finish().unwrap().is_empty());
}

#[test]
fn a_moved_file_is_that_under_its_other_name() {
    let mut fs = guest();
    let mut stage = Stage::new(&fs);
    move_to(&mut stage, "/srv/one", "/srv/1");
    stage.set_attrs(&path("/srv/two"), SetAttrs { mode: Some(0o600), ..SetAttrs::default() }).unwrap();
    stage.finish().unwrap().apply(&mut fs).unwrap();
    for name in ["/srv/1", "/srv/two"] {
        let at = resolve(&fs, &path(name), Follow::All).unwrap();
        let found = fs.lookup(&at).unwrap().unwrap();
        assert_eq!((found.mode, found.links), (0o600, 2), "{name}");
    }
    // One file cannot be two.
    let mut stage = Stage::new(&fs);
    move_to(&mut stage, "/srv/1", "/srv/one");
    move_to(&mut stage, "/srv/two", "/srv/2");
    stage.set_attrs(&path("/srv/one"), SetAttrs { mode: Some(0o644), ..SetAttrs::default() }).unwrap();
    assert_eq!(kind(stage.finish()), ErrorKind::Ambiguous);
}

#[test]
fn a_directory_like_another_one() {
    let mut fs = guest();
    let time = Timestamp { seconds: 12, nanoseconds: 0 };
    let srv = resolve(&fs, &path("/srv"), Follow::All).unwrap();
    fs.set_xattr(&srv, &xattr("user.a", "1")).unwrap();
    fs.set_attrs(&srv, SetAttrs { mode: Some(0o1750), uid: Some(3), gid: Some(4), mtime: Some(time) }).unwrap();
    let mut stage = Stage::new(&fs);
    stage.copy(&path("/srv"), &path("/new")).unwrap();
    stage.write(&path("/new/f"), text("f"), FILE).unwrap();
    assert_eq!(kind(stage.copy(&path("/srv"), &path("/etc/passwd"))), ErrorKind::WrongType);
    assert_eq!(kind(stage.copy(&path("/etc/passwd"), &path("/new"))), ErrorKind::WrongType);
    stage.finish().unwrap().apply(&mut fs).unwrap();
    let new = resolve(&fs, &path("/new"), Follow::All).unwrap();
    let metadata = fs.lookup(&new).unwrap().unwrap();
    assert_eq!((metadata.mode, metadata.uid, metadata.gid, metadata.mtime), (0o1750, 3, 4, time));
    assert_eq!(fs.xattrs(&new).unwrap(), [xattr("user.a", "1")]);
}
