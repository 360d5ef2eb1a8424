//! Devices, pipes, sockets, and files with several names.

use super::*;

fn device(major: u32, minor: u32) -> SpecialFile {
    SpecialFile::CharDevice(DeviceNumber::new(major, minor).unwrap())
}

#[test]
fn devices_pipes_and_sockets_are_made() {
    let mut fs = guest();
    let odd = Attrs { mode: 0o620, uid: 0, gid: 5 };
    let mut stage = Stage::new(&fs);
    assert_eq!(stage.special(&path("/dev/null")).unwrap(), Some(device(1, 3)));
    assert_eq!(stage.special(&path("/dev/none")).unwrap(), None);
    assert_eq!(kind(stage.special(&path("/etc/passwd"))), ErrorKind::WrongType);
    // The one that is there stays what it is.
    stage.create_special(&path("/dev/null"), device(1, 3), odd).unwrap();
    assert!(stage.changes_since(&Stage::new(&fs).savepoint()).unwrap().is_empty());
    for other in [device(1, 4), SpecialFile::Fifo] {
        assert_eq!(kind(stage.create_special(&path("/dev/null"), other, odd)), ErrorKind::WrongType);
    }
    assert_eq!(kind(stage.create_special(&path("/none/x"), SpecialFile::Fifo, odd)), ErrorKind::NotFound);
    let number = DeviceNumber { major: 4096, minor: 0 };
    assert_eq!(kind(stage.create_special(&path("/x"), SpecialFile::BlockDevice(number), odd)), ErrorKind::Invalid);
    let changes = settle(&mut fs, |stage| {
        if stage.special(&path("/dev/null")).unwrap() != Some(device(5, 1)) {
            stage.remove(&path("/dev/null")).unwrap();
        }
        for (at, special) in [("/dev/null", device(5, 1)), ("/dev/p", SpecialFile::Fifo), ("/s", SpecialFile::Socket)] {
            stage.create_special(&path(at), special, odd).unwrap();
            assert_eq!(stage.special(&path(at)).unwrap(), Some(special));
        }
    });
    assert_eq!(
        actions(changes.changes()),
        [
            ("/dev/null".into(), &[Action::Modify, Action::Chmod, Action::Chown][..]),
            ("/dev/p".into(), &[Action::Create]),
            ("/s".into(), &[Action::Create]),
        ]
    );
    let null = resolve(&fs, &path("/dev/null"), Follow::All).unwrap();
    assert_eq!(fs.special(&null).unwrap(), device(5, 1));
    let metadata = fs.lookup(&null).unwrap().unwrap();
    assert_eq!((metadata.file_type, metadata.mode, metadata.gid), (FileType::CharDevice, 0o620, 5));
}

#[test]
fn a_new_file_with_several_names_is_one_file() {
    let mut fs = guest();
    let links = |fs: &MemFs, at: &str| {
        let found = fs.lookup(&resolve(fs, &path(at), Follow::ExcludeLast).unwrap()).unwrap().unwrap();
        (found.links, found.inode)
    };
    let changes = settle(&mut fs, |stage| {
        for at in ["/srv/one", "/srv/two", "/srv/new", "/a"] {
            if stage.metadata(&path(at)).unwrap().is_some() {
                stage.remove(&path(at)).unwrap();
            }
        }
        stage.write(&path("/srv/new"), text("content"), FILE).unwrap();
        for at in ["/srv/one", "/a"] {
            stage.hard_link(&path("/srv/new"), &path(at)).unwrap();
        }
        // A change under one name is there under all, in whatever order.
        stage.write(&path("/a"), text("later"), FILE).unwrap();
        stage.set_attrs(&path("/srv/one"), SetAttrs { mode: Some(0o600), ..SetAttrs::default() }).unwrap();
        stage.set_xattr(&path("/srv/new"), xattr("user.a", "1")).unwrap();
        stage.rename(&path("/srv/one"), &path("/srv/two")).unwrap();
        stage.set_attrs(&path("/a"), SetAttrs { uid: Some(9), ..SetAttrs::default() }).unwrap();
        for at in ["/a", "/srv/new", "/srv/two"] {
            let found = stage.metadata(&path(at)).unwrap().unwrap();
            assert_eq!((found.mode, found.uid), (0o600, 9), "{at}");
            assert_eq!(stage.read(&path(at), 9).unwrap().unwrap(), b"later", "{at}");
            assert_eq!(stage.xattrs(&path(at)).unwrap(), [xattr("user.a", "1")], "{at}");
        }
    });
    assert_eq!(
        actions(changes.changes()),
        [
            ("/a".into(), &[Action::Create][..]),
            ("/srv/new".into(), &[Action::Create]),
            ("/srv/one".into(), &[Action::Remove]),
            ("/srv/two".into(), &[Action::Remove, Action::Create]),
        ]
    );
    let linked: Vec<_> = changes.changes().iter().filter_map(|change| change.linked.as_ref()).collect();
    assert_eq!(linked, [&resolve(&fs, &path("/a"), Follow::All).unwrap(); 2]);
    assert_eq!(links(&fs, "/a").0, 3);
    assert_eq!([links(&fs, "/srv/new"), links(&fs, "/srv/two")], [links(&fs, "/a"); 2]);
}

#[test]
fn a_name_that_is_made_anew_leaves_the_others() {
    let tree = || MemFs::builder().file("/a", "same").hard_link("/b", "/a").hard_link("/c", "/a").build().unwrap();
    let links = |fs: &MemFs| {
        ["/a", "/b", "/c"].map(|at| fs.lookup(&resolve(fs, &path(at), Follow::All).unwrap()).unwrap().unwrap().links)
    };
    let again = &[Action::Remove, Action::Create][..];
    let mut fs = tree();
    let changes = settle(&mut fs, |stage| {
        if stage.metadata(&path("/a")).unwrap().unwrap().links > 1 {
            stage.remove(&path("/a")).unwrap();
        }
        stage.write(&path("/a"), text("same"), FILE).unwrap();
    });
    assert_eq!(actions(changes.changes()), [("/a".into(), again)]);
    assert_eq!((links(&fs), bytes(&fs, "/a"), bytes(&fs, "/b")), ([1, 2, 2], b"same".to_vec(), b"same".to_vec()));

    let mut fs = tree();
    let changes = settle(&mut fs, |stage| {
        stage.remove(&path("/a")).unwrap();
        stage.remove(&path("/b")).unwrap();
        stage.write(&path("/a"), text("same"), FILE).unwrap();
        stage.hard_link(&path("/a"), &path("/b")).unwrap();
    });
    assert_eq!(actions(changes.changes()), [("/a".into(), again), ("/b".into(), again)]);
    assert_eq!(links(&fs), [2, 2, 1]);
}

#[test]
fn two_files_alike_are_not_one_file() {
    let mut fs = MemFs::builder().file("/a", "same").file("/b", "same").file("/c", "same").build().unwrap();
    let staged = |stage: &mut Stage<'_>| {
        for at in ["/a", "/b"] {
            stage.remove(&path(at)).unwrap();
        }
        stage.write(&path("/b"), text("same"), FILE).unwrap();
        stage.hard_link(&path("/b"), &path("/a")).unwrap();
    };
    let changes = settle(&mut fs, staged);
    let both = &[Action::Remove, Action::Create][..];
    assert_eq!(actions(changes.changes()), [("/a".into(), both), ("/b".into(), both)]);
    // What is one file already gets no third name by itself.
    let mut stage = Stage::new(&fs);
    staged(&mut stage);
    stage.remove(&path("/c")).unwrap();
    stage.hard_link(&path("/a"), &path("/c")).unwrap();
    let savepoint = stage.savepoint();
    stage.remove(&path("/b")).unwrap();
    stage.write(&path("/b"), text("other"), FILE).unwrap();
    assert_eq!(stage.read(&path("/a"), 9).unwrap().unwrap(), b"same", "another file has the name now");
    stage.rollback(savepoint);
    stage.finish().unwrap().apply(&mut fs).unwrap();
    let inode = |at: &str| fs.lookup(&resolve(&fs, &path(at), Follow::All).unwrap()).unwrap().unwrap().inode;
    assert_eq!([inode("/b"), inode("/c")], [inode("/a"); 2]);
}

#[test]
fn what_gets_no_second_name() {
    let fs = guest();
    let mut stage = Stage::new(&fs);
    stage.write(&path("/srv/new"), text("1"), FILE).unwrap();
    for (from, to, expected) in [
        ("/srv/empty", "/x", ErrorKind::WrongType),
        ("/etc/passwd", "/x", ErrorKind::Invalid),
        ("/srv/none", "/x", ErrorKind::NotFound),
        ("/srv/new", "/none/x", ErrorKind::NotFound),
        ("/srv/new", "/etc/passwd", ErrorKind::Invalid),
        ("/srv/new", "/etc/passwd/x", ErrorKind::WrongType),
    ] {
        assert_eq!(kind(stage.hard_link(&path(from), &path(to))), expected, "{from} {to}");
    }
    assert_eq!(stage.finish().unwrap().changes().len(), 1);
}
