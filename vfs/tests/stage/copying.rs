//! Copies on a stage, over the filesystem in memory.

use super::*;
use imgraft_vfs::fs::mem::Builder;

const TIME: Timestamp = Timestamp { seconds: 77, nanoseconds: 7 };

fn at(fs: &MemFs, typed: &str) -> Resolved {
    resolve(fs, &path(typed), Follow::ExcludeLast).unwrap()
}

/// More than one piece of every kind, and holes between them.
fn large() -> Vec<u8> {
    let mut large = vec![0; 7 << 20];
    for (start, len) in [(0, 100_000), (2 << 20, 70_000), ((5 << 20) - 10, 20)] {
        for (index, byte) in large.iter_mut().enumerate().skip(start).take(len) {
            *byte = (index % 251) as u8 + 1;
        }
    }
    large
}

fn builder() -> Builder {
    MemFs::builder()
        .file("/a", "old")
        .mode(0o4750)
        .owner(3, 4)
        .mtime(TIME)
        .xattr("user.note", "1")
        .hard_link("/a2", "/a")
        .file("/big", large())
        .dir("/dir")
        .file("/dir/there", "there")
        .xattr("user.other", "2")
        .symlink("/link", "a")
        .special("/null", FileType::CharDevice)
}

fn copy(stage: &mut Stage<'_>, from: &str, to: &str) {
    stage.copy(&path(from), &path(to)).unwrap();
}

#[test]
fn all_that_a_file_has() {
    let mut fs = builder().build().unwrap();
    let stage = |stage: &mut Stage<'_>| {
        for (from, to) in [
            ("/a", "/dir/a"),
            ("/big", "/dir/big"),
            ("/link", "/dir/link"),
            ("/null", "/dir/null"),
            ("/a", "/dir/there"),
        ] {
            copy(stage, from, to);
        }
        assert_eq!(stage.read(&path("/dir/a"), 9).unwrap().unwrap(), b"old");
        assert_eq!(stage.read(&path("/dir/there"), 9).unwrap().unwrap(), b"old");
    };
    let there = fs.lookup(&at(&fs, "/dir/there")).unwrap().unwrap().inode;
    apply(&mut fs, stage);
    for copy in ["/dir/a", "/dir/there"] {
        let found = fs.lookup(&at(&fs, copy)).unwrap().unwrap();
        assert_eq!((found.mode, found.uid, found.gid, found.mtime, found.links), (0o4750, 3, 4, TIME, 1), "{copy}");
        assert_eq!(fs.xattrs(&at(&fs, copy)).unwrap(), [Xattr { name: "user.note".into(), value: "1".into() }]);
        assert_eq!(bytes(&fs, copy), b"old");
    }
    assert_eq!(fs.lookup(&at(&fs, "/dir/there")).unwrap().unwrap().inode, there, "the file stays the one that it was");
    assert!(bytes(&fs, "/dir/big") == large());
    assert_eq!(fs.read_link(&at(&fs, "/dir/link")).unwrap(), b"a");
    assert_eq!(fs.special(&at(&fs, "/dir/null")).unwrap(), fs.special(&at(&fs, "/null")).unwrap());
    let mut again = Stage::new(&fs);
    stage(&mut again);
    assert!(again.finish().unwrap().is_empty());
}

/// Whatever the same run does to a file, before the copy in the order of paths or after it, and under another of its names.
#[test]
fn what_a_file_held_then() {
    type Change = fn(&mut Stage<'_>);
    let write: Change = |stage| stage.write(&path("/a"), Content::bytes(*b"new"), FILE).unwrap();
    let write_other: Change = |stage| {
        stage.remove(&path("/a")).unwrap();
        stage.write(&path("/a2"), Content::bytes(*b"new"), FILE).unwrap();
    };
    let remove: Change = |stage| {
        stage.remove(&path("/a")).unwrap();
        stage.remove(&path("/a2")).unwrap();
    };
    let replace: Change = |stage| {
        stage.remove(&path("/a")).unwrap();
        stage.create_dirs(&path("/a"), Attrs { mode: 0o755, uid: 0, gid: 0 }).map(drop).unwrap();
    };
    let rename: Change = |stage| stage.rename(&path("/a"), &path("/moved")).unwrap();
    let over: Change = |stage| stage.copy(&path("/big"), &path("/a")).unwrap();
    for change in [write, write_other, remove, replace, rename, over] {
        for to in ["/0", "/z", "/dir/there", "/new/x"] {
            let mut fs = builder().build().unwrap();
            apply(&mut fs, |stage| {
                stage.create_dirs(&path("/new"), Attrs { mode: 0o755, uid: 0, gid: 0 }).unwrap();
                copy(stage, "/a", to);
                change(stage);
                copy(stage, to, "/second");
            });
            assert_eq!((bytes(&fs, to), bytes(&fs, "/second")), (b"old".to_vec(), b"old".to_vec()), "{to}");
        }
    }
    // And what was changed first is copied changed.
    let mut fs = builder().build().unwrap();
    apply(&mut fs, |stage| {
        write(stage);
        stage.set_attrs(&path("/a"), SetAttrs { mode: Some(0o600), ..SetAttrs::default() }).unwrap();
        copy(stage, "/a", "/z");
    });
    assert_eq!((bytes(&fs, "/z"), fs.lookup(&at(&fs, "/z")).unwrap().unwrap().mode), (b"new".to_vec(), 0o600));
}

#[test]
fn what_is_there_gives_way() {
    let mut fs = builder().build().unwrap();
    let changes = apply(&mut fs, |stage| {
        copy(stage, "/big", "/a");
        copy(stage, "/dir/there", "/link");
        copy(stage, "/link", "/null");
    });
    assert_eq!(
        (bytes(&fs, "/a2"), bytes(&fs, "/link")),
        (b"old".to_vec(), b"there".to_vec()),
        "a further name keeps what it has"
    );
    let actions: Vec<_> =
        changes.changes().iter().map(|change| (change.path.to_string(), change.actions().to_vec())).collect();
    assert!(actions.contains(&("/null".into(), vec![Action::Remove, Action::Create])), "{actions:?}");
}

#[test]
fn what_is_changed_after_it_was_copied_has_another_time() {
    let time = |fs: &MemFs, typed: &str| fs.lookup(&at(fs, typed)).unwrap().unwrap().mtime;
    let mut fs = MemFs::builder().file("/a", "a").mtime(TIME).file("/b", "b").build().unwrap();
    let same = ["/same", "/b"];
    apply(&mut fs, |stage| {
        for to in ["/new", "/same", "/b"] {
            copy(stage, "/a", to);
        }
        stage.write(&path("/new"), Content::bytes(*b"other"), FILE).unwrap();
        for to in same {
            stage.write(&path(to), Content::bytes(*b"a"), FILE).unwrap();
        }
    });
    assert_eq!(same.map(|to| time(&fs, to)), [TIME; 2]);
    assert!(bytes(&fs, "/new") == b"other" && time(&fs, "/new") != TIME);
    apply(&mut fs, |stage| {
        copy(stage, "/a", "/new");
        stage.write(&path("/new"), Content::bytes(*b"more"), FILE).unwrap();
        let set = SetAttrs { mtime: Some(TIME), ..SetAttrs::default() };
        copy(stage, "/a", "/b");
        stage.set_attrs(&path("/b"), set).unwrap();
        stage.write(&path("/b"), Content::bytes(*b"more"), FILE).unwrap();
    });
    assert!(time(&fs, "/new") != TIME);
    assert!(time(&fs, "/b") != TIME, "asked for with a content that is no more");
    apply(&mut fs, |stage| {
        copy(stage, "/a", "/same");
        stage.write(&path("/same"), Content::bytes(*b"else"), FILE).unwrap();
    });
    assert!(bytes(&fs, "/same") == b"else" && time(&fs, "/same") != TIME);
}

#[test]
fn what_cannot_be_copied() {
    let fs = MemFs::builder().file("/a", "").hard_link("/b", "/a").dir("/dir").build().unwrap();
    let mut stage = Stage::new(&fs);
    let mut refused = |from: &str, to: &str| stage.copy(&path(from), &path(to)).unwrap_err().kind();
    assert_eq!(refused("/none", "/x"), ErrorKind::NotFound);
    assert_eq!(refused("/a", "/none/x"), ErrorKind::NotFound);
    assert_eq!(refused("/a", "/b"), ErrorKind::Invalid);
    assert_eq!(refused("/a", "/a"), ErrorKind::Invalid);
    assert_eq!(refused("/a", "/dir"), ErrorKind::WrongType);
    assert_eq!(refused("/dir", "/a"), ErrorKind::WrongType);
    // What was changed under one name is not copied under another one as if it were not.
    let before = stage.savepoint();
    stage.write(&path("/b"), Content::bytes(*b"new"), FILE).unwrap();
    assert_eq!(stage.copy(&path("/a"), &path("/x")).unwrap_err().kind(), ErrorKind::Ambiguous);
    stage.copy(&path("/b"), &path("/x")).unwrap();
    stage.rollback(before);
    stage.copy(&path("/a"), &path("/x")).unwrap();
    stage.remove(&path("/x")).unwrap();
    assert!(stage.finish().unwrap().is_empty());
}

/// A directory from which nothing is taken and to which nothing is added keeps its time, and its names are left alone.
#[test]
fn places_for_the_time_of_the_changes() {
    let time = |fs: &MemFs, typed: &str| fs.lookup(&at(fs, typed)).unwrap().unwrap().mtime;
    let mut fs = builder().build().unwrap();
    let dir = at(&fs, "/dir");
    fs.set_attrs(&dir, SetAttrs { mtime: Some(TIME), ..SetAttrs::default() }).unwrap();
    apply(&mut fs, |stage| {
        copy(stage, "/a", "/dir/there");
        stage.write(&path("/a"), Content::bytes(*b"new"), FILE).unwrap();
    });
    assert_eq!((bytes(&fs, "/dir/there"), time(&fs, "/dir")), (b"old".to_vec(), TIME));
    let mut stage = Stage::new(&fs);
    copy(&mut stage, "/a", "/dir/b");
    stage.write(&path("/a"), Content::bytes(*b"more"), FILE).unwrap();
    stage.write(&path("/dir/.imgraft-1"), Content::bytes(*b"mine"), FILE).unwrap();
    stage.finish().unwrap().apply(&mut fs).unwrap();
    assert_eq!((bytes(&fs, "/dir/b"), bytes(&fs, "/dir/.imgraft-1")), (b"new".to_vec(), b"mine".to_vec()));
}

#[test]
fn attributes_of_a_stranger_have_an_end() {
    let mut builder = MemFs::builder().file("/a", "").xattr("user.large", vec![b'x'; 1 << 20]);
    for number in 0..70 {
        builder = builder.hard_link(format!("/l{number}"), "/a");
    }
    let fs = builder.build().unwrap();
    let mut stage = Stage::new(&fs);
    copy(&mut stage, "/a", "/b");
    let refused = (0..70).find_map(|number| stage.hard_link(&path("/b"), &path(&format!("/b{number}"))).err());
    assert_eq!(refused.unwrap().kind(), ErrorKind::Unsupported);
}

/// What was changed under one of a file's names does not get lost for the others.
#[test]
fn a_changed_file_with_other_names_stays() {
    let fs = builder().build().unwrap();
    let mut stage = Stage::new(&fs);
    stage.write(&path("/a"), Content::bytes(*b"new"), FILE).unwrap();
    assert_eq!(stage.remove(&path("/a")).unwrap_err().kind(), ErrorKind::Ambiguous);
    assert_eq!(stage.rename(&path("/big"), &path("/a")).unwrap_err().kind(), ErrorKind::Ambiguous);
    assert_eq!(stage.copy(&path("/big"), &path("/a")).unwrap_err().kind(), ErrorKind::Ambiguous);
    stage.write(&path("/a"), Content::bytes(*b"old"), FILE).unwrap();
    stage.remove(&path("/a")).unwrap();
}

#[test]
fn capabilities_are_those_of_a_content() {
    let build = || {
        MemFs::builder().file("/a", "old").xattr("security.capability", "1").xattr("user.note", "2").build().unwrap()
    };
    for (content, kept) in [(&b"old"[..], 2), (b"new", 1)] {
        let mut fs = build();
        apply(&mut fs, |stage| stage.write(&path("/a"), Content::bytes(content), FILE).unwrap());
        assert_eq!((bytes(&fs, "/a"), fs.xattrs(&at(&fs, "/a")).unwrap().len()), (content.to_vec(), kept));
    }
}

#[test]
fn over_another_content_of_the_same_size() {
    let mut fs = MemFs::builder().file("/a", "old").file("/b", "new").build().unwrap();
    apply(&mut fs, |stage| copy(stage, "/a", "/b"));
    assert_eq!(bytes(&fs, "/b"), b"old");
}
