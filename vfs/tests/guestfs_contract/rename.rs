//! Renaming, as rename(2) has it.

use crate::ground::{DIR, FILE, Ground, xattr};
use imgraft_vfs::fs::{FileType, SetAttrs, Timestamp};
use imgraft_vfs::path::Resolved;

pub fn to_a_free_name(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "content");
        fs.dir("/d");
        let inode = fs.meta(&file).inode;
        let mut from = file;
        for to in ["/g", "/d/a much longer name than it had before", "/d/h", "/f"] {
            let to = fs.at(to);
            fs.fs.rename(&from, &to).unwrap();
            assert!(!fs.exists(&from), "{from}");
            assert_eq!((fs.meta(&to).inode, fs.read(&to)), (inode, b"content".to_vec()));
            from = to;
        }
        assert_eq!(fs.names(&Resolved::root()), ["d", "f"]);
    });
}

pub fn over_another_file(ground: &Ground) {
    ground.holds(|fs| {
        let new = fs.file("/new", "new");
        let old = fs.file("/old", "old");
        fs.fs.rename(&new, &old).unwrap();
        assert_eq!((fs.exists(&new), fs.read(&old), fs.meta(&old).links), (false, b"new".to_vec(), 1));
        let link = fs.symlink("/link", "old");
        fs.fs.rename(&old, &link).unwrap();
        assert_eq!(fs.meta(&link).file_type, FileType::Regular, "a symbolic link in the way is replaced itself");
        assert_eq!(fs.names(&Resolved::root()), ["link"]);
    });
}

pub fn two_names_of_one_file(ground: &Ground) {
    ground.holds(|fs| {
        let one = fs.file("/one", "content");
        let two = fs.at("/two");
        fs.fs.hard_link(&one, &two).unwrap();
        fs.fs.rename(&one, &two).unwrap();
        fs.fs.rename(&one, &one).unwrap();
        assert_eq!(fs.names(&Resolved::root()), ["one", "two"], "both names stay");
        assert_eq!(fs.meta(&one).links, 2);
        let dir = fs.dir("/d");
        fs.fs.rename(&dir, &dir).unwrap();
        assert!(fs.exists(&dir));
    });
}

pub fn over_one_of_two_names(ground: &Ground) {
    ground.holds(|fs| {
        let one = fs.file("/one", "old");
        let two = fs.at("/two");
        fs.fs.hard_link(&one, &two).unwrap();
        let new = fs.file("/new", "new");
        fs.fs.rename(&new, &one).unwrap();
        assert_eq!((fs.read(&one), fs.read(&two)), (b"new".to_vec(), b"old".to_vec()));
        assert_eq!((fs.meta(&one).links, fs.meta(&two).links), (1, 1));
    });
}

pub fn a_symlink_itself(ground: &Ground) {
    ground.holds(|fs| {
        fs.dir("/d");
        for target in ["d", &"x".repeat(200)] {
            let link = fs.symlink("/l", target);
            let to = fs.at("/d/m");
            fs.fs.rename(&link, &to).unwrap();
            assert_eq!(fs.fs.read_link(&to).unwrap(), target.as_bytes());
            assert!(!fs.exists(&link));
        }
    });
}

pub fn a_directory_between_directories(ground: &Ground) {
    ground.holds(|fs| {
        let [a, b] = ["/a", "/b"].map(|path| fs.dir(path));
        let dir = fs.dir("/a/d");
        fs.file("/a/d/f", "in it");
        fs.dir("/a/d/inner");
        fs.assert_directories(&a, 1);
        fs.assert_directories(&b, 0);
        let to = fs.at("/b/e");
        fs.fs.rename(&dir, &to).unwrap();
        for (directory, inside) in [(&a, 0), (&b, 1), (&to, 1)] {
            fs.assert_directories(directory, inside);
        }
        assert_eq!(fs.names(&to), ["f", "inner"]);
        assert_eq!(fs.read(&fs.at("/b/e/f")), b"in it");
        assert!(!fs.exists(&dir));
        let same = fs.at("/b/renamed");
        fs.fs.rename(&to, &same).unwrap();
        fs.assert_directories(&b, 1);
        // A name that begins like the directory's own does not lie in it.
        let beside = fs.at("/b/renamed-2");
        fs.fs.rename(&same, &beside).unwrap();
        assert_eq!(fs.names(&b), ["renamed-2"]);
    });
}

pub fn a_directory_over_an_empty_one(ground: &Ground) {
    ground.holds(|fs| {
        let outer = fs.dir("/outer");
        let full = fs.dir("/full");
        fs.file("/full/f", "");
        let empty = fs.dir("/outer/empty");
        fs.fs.rename(&full, &empty).unwrap();
        assert_eq!(fs.names(&empty), ["f"]);
        fs.assert_directories(&outer, 1);
        fs.assert_directories(&empty, 0);
        let beside = fs.dir("/outer/beside");
        fs.assert_directories(&outer, 2);
        fs.fs.rename(&empty, &beside).unwrap();
        fs.assert_directories(&outer, 1);
        assert_eq!(fs.names(&outer), ["beside"]);
    });
}

pub fn keeps_everything(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "content");
        let mtime = Some(Timestamp { seconds: 1_000_000, nanoseconds: 0 });
        fs.fs.set_attrs(&file, SetAttrs { mode: Some(0o4700), uid: Some(1), gid: Some(2), mtime }).unwrap();
        fs.fs.set_xattr(&file, &xattr("security.selinux", "label")).unwrap();
        let before = fs.meta(&file);
        let dir = fs.dir("/d");
        fs.fs.set_attrs(&dir, SetAttrs { mtime, ..SetAttrs::default() }).unwrap();
        let to = fs.at("/d/g");
        fs.fs.rename(&file, &to).unwrap();
        assert_eq!(fs.meta(&to), before);
        assert_eq!(fs.fs.xattrs(&to).unwrap(), [xattr("security.selinux", "label")]);
        assert_ne!(Some(fs.meta(&dir).mtime), mtime, "the directory is changed now");
    });
}

pub fn many_there_and_back(ground: &Ground) {
    ground.holds(|fs| {
        let [a, b] = ["/a", "/b"].map(|path| fs.dir(path));
        for number in 0..400 {
            let at = fs.at(format!("/a/{number}"));
            if number % 2 == 0 { fs.fs.create_file(&at, FILE).unwrap() } else { fs.fs.create_dir(&at, DIR).unwrap() }
        }
        let before = fs.names(&a);
        for number in 0..400 {
            let (from, to) = (fs.at(format!("/a/{number}")), fs.at(format!("/b/{number}-{}", "long".repeat(20))));
            fs.fs.rename(&from, &to).unwrap();
        }
        assert_eq!(fs.names(&a), [""; 0]);
        fs.assert_directories(&a, 0);
        fs.assert_directories(&b, 200);
        for number in 0..400 {
            let (to, from) = (fs.at(format!("/a/{number}")), fs.at(format!("/b/{number}-{}", "long".repeat(20))));
            fs.fs.rename(&from, &to).unwrap();
        }
        assert_eq!(fs.names(&a), before);
        fs.assert_directories(&a, 200);
        fs.assert_directories(&b, 0);
    });
}
