//! Names and what they are of: files, directories, links.

use crate::ground::{DIR, FILE, Ground, bytes, xattr};
use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::{Attrs, DeviceNumber, FileType, SpecialFile};
use imgraft_vfs::path::Resolved;

pub fn files_are_made(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.at("/f");
        fs.fs.create_file(&file, Attrs { mode: 0o4640, uid: 1000, gid: 100_000 }).unwrap();
        let made = fs.meta(&file);
        assert_eq!(made.file_type, FileType::Regular);
        assert_eq!((made.mode, made.uid, made.gid, made.size, made.links), (0o4640, 1000, 100_000, 0, 1));
        assert_eq!(fs.read(&file), b"");
        assert_eq!(fs.names(&Resolved::root()), ["f"]);
    });
}

pub fn directories_are_made(ground: &Ground) {
    ground.holds(|fs| {
        let outer = fs.at("/outer");
        fs.fs.create_dir(&outer, Attrs { mode: 0o1777, uid: 3, gid: 4 }).unwrap();
        let made = fs.meta(&outer);
        assert_eq!(made.file_type, FileType::Directory);
        assert_eq!((made.mode, made.uid, made.gid), (0o1777, 3, 4));
        fs.assert_directories(&outer, 0);
        assert_eq!(fs.names(&outer), [""; 0]);
        let inner = fs.dir("/outer/inner");
        fs.file("/outer/file", "");
        fs.assert_directories(&outer, 1);
        assert_eq!(fs.names(&outer), ["file", "inner"]);
        fs.fs.remove(&inner).unwrap();
        fs.assert_directories(&outer, 0);
        assert!(!fs.exists(&inner));
    });
}

pub fn symlinks_of_every_length(ground: &Ground) {
    ground.holds(|fs| {
        for len in [1, 58, 59, 60, 61, 255, 256, 700, 1000] {
            let target = "x/".repeat(len)[..len].to_string();
            let link = fs.symlink(format!("/l{len}"), &target);
            assert_eq!(fs.fs.read_link(&link).unwrap(), target.as_bytes());
            let made = fs.meta(&link);
            assert_eq!((made.file_type, made.mode, made.size), (FileType::Symlink, 0o777, len as u64));
        }
        let link = fs.symlink("/bytes", b"\xff/../\xfe");
        assert_eq!(fs.fs.read_link(&link).unwrap(), b"\xff/../\xfe");
        let owned = fs.at("/owned");
        fs.fs.create_symlink(&owned, b"/", Attrs { mode: 0o600, uid: 5, gid: 6 }).unwrap();
        let made = fs.meta(&owned);
        assert_eq!((made.mode, made.uid, made.gid), (0o777, 5, 6));
    });
}

pub fn devices_pipes_and_sockets(ground: &Ground) {
    ground.holds(|fs| {
        let number = |major, minor| DeviceNumber::new(major, minor).unwrap();
        for (name, special) in [
            ("/null", SpecialFile::CharDevice(number(1, 3))),
            ("/disk", SpecialFile::BlockDevice(number(8, 255))),
            ("/many", SpecialFile::BlockDevice(number(8, 256))),
            // The last one that XFS keeps as well.
            ("/last", SpecialFile::CharDevice(number(511, 262_143))),
            ("/none", SpecialFile::CharDevice(number(0, 0))),
            ("/pipe", SpecialFile::Fifo),
            ("/socket", SpecialFile::Socket),
        ] {
            let at = fs.at(name);
            fs.fs.create_special(&at, special, Attrs { mode: 0o2640, uid: 5, gid: 100_000 }).unwrap();
            assert_eq!(fs.fs.special(&at).unwrap(), special, "{name}");
            let made = fs.meta(&at);
            assert_eq!((made.file_type, made.mode, made.uid), (special.file_type(), 0o2640, 5), "{name}");
            assert_eq!((made.gid, made.size, made.links), (100_000, 0, 1), "{name}");
            fs.fs.set_xattr(&at, &xattr("security.selinux", "device_t")).unwrap();
        }
        fs.dir("/d");
        let (null, moved) = (fs.at("/null"), fs.at("/d/null"));
        fs.fs.rename(&null, &moved).unwrap();
        assert_eq!(fs.fs.special(&moved).unwrap(), SpecialFile::CharDevice(number(1, 3)));
        let disk = fs.at("/disk");
        fs.fs.remove(&disk).unwrap();
        assert_eq!(fs.names(&Resolved::root()), ["d", "last", "many", "none", "pipe", "socket"]);
    });
}

pub fn hard_links_share_one_file(ground: &Ground) {
    ground.holds(|fs| {
        let one = fs.file("/one", "content");
        fs.dir("/d");
        let two = fs.at("/d/two");
        fs.fs.hard_link(&one, &two).unwrap();
        assert_eq!(fs.meta(&one), fs.meta(&two));
        assert_eq!(fs.meta(&one).links, 2);
        fs.fs.put(&two, &bytes("changed")).unwrap();
        assert_eq!(fs.read(&one), b"changed");
        let link = fs.symlink("/link", "one");
        let second = fs.at("/second");
        fs.fs.hard_link(&link, &second).unwrap();
        assert_eq!(fs.fs.read_link(&second).unwrap(), b"one", "it is the link that has two names");
        assert_eq!(fs.meta(&one).links, 2);
    });
}

pub fn removing_takes_one_name(ground: &Ground) {
    ground.holds(|fs| {
        let one = fs.file("/one", "content");
        let two = fs.at("/two");
        fs.fs.hard_link(&one, &two).unwrap();
        fs.fs.remove(&one).unwrap();
        assert!(!fs.exists(&one));
        assert_eq!((fs.read(&two), fs.meta(&two).links), (b"content".to_vec(), 1));
        let link = fs.symlink("/link", "two");
        fs.fs.remove(&link).unwrap();
        assert_eq!(fs.names(&Resolved::root()), ["two"], "the target stays");
        let long = fs.symlink("/long", "t".repeat(500));
        fs.fs.remove(&long).unwrap();
        fs.fs.remove(&two).unwrap();
        assert_eq!(fs.names(&Resolved::root()), [""; 0]);
        let again = fs.file("/two", "new");
        assert_eq!(fs.read(&again), b"new");
    });
}

pub fn names_are_bytes(ground: &Ground) {
    ground.holds(|fs| {
        let long: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').chain(*b"!").collect();
        assert_eq!(long.len(), 255);
        let names = [
            &long[..],
            b"\xff\xfe",
            b" ",
            b"...",
            b"-",
            b"a\nb",
            "\u{e9}".as_bytes(),
            "e\u{301}".as_bytes(),
            b"A",
            b"a",
        ];
        let dir = fs.dir("/d");
        for name in names {
            let file = fs.file([b"/d/", name].concat(), name);
            assert_eq!(fs.read(&file), name);
        }
        let mut expected = names.map(|name| name.escape_ascii().to_string());
        expected.sort_unstable();
        assert_eq!(fs.names(&dir), expected);
        for name in names {
            let file = fs.at([b"/d/", name].concat());
            fs.fs.remove(&file).unwrap();
        }
        assert_eq!(fs.names(&dir), [""; 0]);
    });
}

pub fn thousands_of_entries(ground: &Ground) {
    ground.holds(|fs| {
        let dir = fs.dir("/d");
        let name = |number: usize| format!("/d/{number:05}{}", "n".repeat(number % 90));
        for number in 0..3000 {
            let file = fs.at(name(number));
            fs.fs.create_file(&file, FILE).unwrap();
        }
        assert_eq!(fs.names(&dir).len(), 3000);
        for number in (0..3000).filter(|number| number % 3 != 0) {
            let file = fs.at(name(number));
            fs.fs.remove(&file).unwrap();
        }
        for number in 0..3000 {
            assert_eq!(fs.exists(&fs.at(name(number))), number % 3 == 0, "{number}");
        }
        for number in 3000..3500 {
            let file = fs.at(name(number));
            fs.fs.create_file(&file, FILE).unwrap();
        }
        assert_eq!(fs.names(&dir).len(), 1500);
    });
}

pub fn hundreds_of_directories(ground: &Ground) {
    ground.holds(|fs| {
        let dir = fs.dir("/d");
        for number in 0..300 {
            fs.dir(format!("/d/{number}"));
        }
        fs.assert_directories(&dir, 300);
        for number in 0..300 {
            let inner = fs.at(format!("/d/{number}"));
            fs.fs.remove(&inner).unwrap();
        }
        fs.assert_directories(&dir, 0);
        fs.fs.remove(&dir).unwrap();
    });
}

pub fn deep_directories(ground: &Ground) {
    ground.holds(|fs| {
        let mut path = String::new();
        for depth in 0..100 {
            path.push_str(&format!("/{depth}"));
            fs.dir(&path);
        }
        path.push_str("/f");
        let file = fs.file(&path, "deep");
        assert_eq!(fs.read(&file), b"deep");
    });
}

pub fn looking_up(ground: &Ground) {
    ground.holds(|fs| {
        // Resolved while nothing was there, so that the driver sees what the resolver would not let through.
        let [below_file, below_link, below_nothing] = ["/f/x/y", "/l/x", "/none/x/y"].map(|path| fs.at(path));
        fs.file("/f", "");
        fs.dir("/d");
        fs.symlink("/l", "d");
        fs.file("/d/x", "");
        assert!(fs.exists(&fs.at("/d/x")));
        assert_eq!(fs.fs.lookup(&below_nothing).unwrap(), None);
        assert_eq!(fs.fs.lookup(&fs.at("/d/none")).unwrap(), None);
        for at in [below_file, below_link] {
            assert_eq!(fs.fs.lookup(&at).unwrap_err().kind(), ErrorKind::WrongType, "{at}");
        }
        let root = fs.meta(&Resolved::root());
        assert_eq!(root.file_type, FileType::Directory);
        let inner = fs.at("/d/inner");
        fs.fs.create_dir(&inner, DIR).unwrap();
        assert_ne!(fs.meta(&inner).inode, root.inode);
    });
}
