//! Modes, owners, times and extended attributes.

use crate::ground::{Ground, bytes, noise, xattr};
use imgraft_vfs::fs::{SetAttrs, Timestamp};

pub fn modes_and_owners(ground: &Ground) {
    ground.holds(|fs| {
        let files = [fs.file("/f", ""), fs.dir("/d")];
        for at in &files {
            let file_type = fs.meta(at).file_type;
            for (mode, id) in [(0, 0), (0o7777, 65_535), (0o4755, 65_536), (0o2070, 0xfedc_ba98), (0o1777, 1000)] {
                let attrs = SetAttrs { mode: Some(mode), uid: Some(id), gid: Some(id ^ 1), mtime: None };
                fs.fs.set_attrs(at, attrs).unwrap();
                let found = fs.meta(at);
                assert_eq!((found.mode, found.uid, found.gid), (mode, id, id ^ 1), "{at}");
                assert_eq!(found.file_type, file_type);
            }
        }
        let link = fs.symlink("/l", "f");
        fs.fs.set_attrs(&link, SetAttrs { uid: Some(9), gid: Some(8), ..SetAttrs::default() }).unwrap();
        assert_eq!((fs.meta(&link).uid, fs.meta(&link).gid), (9, 8));
        assert_eq!(fs.meta(&files[0]).uid, 1000, "the target of a link is another file");
    });
}

pub fn each_attribute_alone(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "content");
        let all = SetAttrs { mode: Some(0o6755), uid: Some(1), gid: Some(2), mtime: Some(Timestamp::default()) };
        fs.fs.set_attrs(&file, all).unwrap();
        let mut expected = fs.meta(&file);
        let none = SetAttrs::default();
        fs.fs.set_attrs(&file, none).unwrap();
        assert_eq!(fs.meta(&file), expected);
        fs.fs.set_attrs(&file, SetAttrs { uid: Some(70_000), ..none }).unwrap();
        expected.uid = 70_000;
        assert_eq!(fs.meta(&file), expected, "a change of owner leaves set-user-id alone");
        fs.fs.set_attrs(&file, SetAttrs { gid: Some(70_001), ..none }).unwrap();
        expected.gid = 70_001;
        assert_eq!(fs.meta(&file), expected);
        fs.fs.set_attrs(&file, SetAttrs { mode: Some(0o600), ..none }).unwrap();
        expected.mode = 0o600;
        assert_eq!(fs.meta(&file), expected);
        assert_eq!(fs.read(&file), b"content");
    });
}

pub fn times(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "");
        for (seconds, nanoseconds) in [(0, 0), (1_700_000_000, 123_456_789), (4_000_000_000, 1), (-5, 999_999_999)] {
            let mtime = Timestamp { seconds, nanoseconds };
            fs.fs.set_attrs(&file, SetAttrs { mtime: Some(mtime), ..SetAttrs::default() }).unwrap();
            assert_eq!(fs.meta(&file).mtime, mtime);
        }
        let dir = fs.dir("/d");
        let old = Timestamp { seconds: 1000, nanoseconds: 0 };
        let set_old = SetAttrs { mtime: Some(old), ..SetAttrs::default() };
        fs.fs.set_attrs(&dir, set_old).unwrap();
        let inner = fs.file("/d/f", "");
        assert_ne!(fs.meta(&dir).mtime, old, "a new entry changes a directory");
        fs.fs.set_attrs(&dir, set_old).unwrap();
        fs.fs.put(&inner, &bytes("x")).unwrap();
        assert_eq!(fs.meta(&dir).mtime, old, "the content of what is in it does not");
        fs.fs.remove(&inner).unwrap();
        assert_ne!(fs.meta(&dir).mtime, old);
    });
}

pub fn xattrs_come_and_go(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "content");
        assert_eq!(fs.fs.xattrs(&file).unwrap(), []);
        let label = xattr("security.selinux", "system_u:object_r:etc_t:s0\0");
        fs.fs.set_xattr(&file, &xattr("user.z", "1")).unwrap();
        fs.fs.set_xattr(&file, &label).unwrap();
        fs.fs.set_xattr(&file, &xattr("trusted.t", "")).unwrap();
        fs.fs.set_xattr(&file, &xattr("user.a", [0, 255, 10])).unwrap();
        let (a, t, z) = (xattr("user.a", [0, 255, 10]), xattr("trusted.t", ""), xattr("user.z", "1"));
        assert_eq!(fs.fs.xattrs(&file).unwrap(), [label.clone(), t.clone(), a.clone(), z]);
        let longer = xattr("user.z", "longer than before");
        fs.fs.set_xattr(&file, &longer).unwrap();
        assert_eq!(fs.fs.xattrs(&file).unwrap(), [label.clone(), t.clone(), a, longer.clone()]);
        fs.fs.remove_xattr(&file, b"user.a").unwrap();
        assert_eq!(fs.fs.xattrs(&file).unwrap(), [label.clone(), t, longer]);
        fs.fs.remove_xattr(&file, b"user.z").unwrap();
        fs.fs.remove_xattr(&file, b"trusted.t").unwrap();
        fs.fs.remove_xattr(&file, b"security.selinux").unwrap();
        assert_eq!(fs.fs.xattrs(&file).unwrap(), []);
        fs.fs.set_xattr(&file, &label).unwrap();
        assert_eq!((fs.fs.xattrs(&file).unwrap(), fs.read(&file)), (vec![label], b"content".to_vec()));
    });
}

pub fn xattrs_of_every_type(ground: &Ground) {
    ground.holds(|fs| {
        for at in [fs.dir("/d"), fs.symlink("/short", "x"), fs.symlink("/long", "x".repeat(300))] {
            let label = xattr("security.selinux", "label");
            fs.fs.set_xattr(&at, &label).unwrap();
            assert_eq!(fs.fs.xattrs(&at).unwrap(), [label], "{at}");
        }
        let link = fs.at("/long");
        assert_eq!(fs.fs.read_link(&link).unwrap(), "x".repeat(300).as_bytes());
    });
}

pub fn xattr_values_of_many_sizes(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "");
        for size in [0, 1, 3, 4, 50, 100, 200, 700, 100, 0, 700, 3] {
            let value = xattr("user.v", noise(size));
            fs.fs.set_xattr(&file, &value).unwrap();
            assert_eq!(fs.fs.xattrs(&file).unwrap(), [value], "{size} bytes");
        }
        let many: Vec<_> = (0..12).map(|number| xattr(&format!("user.n{number:02}"), noise(20))).collect();
        fs.fs.remove_xattr(&file, b"user.v").unwrap();
        for xattr in many.iter().rev() {
            fs.fs.set_xattr(&file, xattr).unwrap();
        }
        assert_eq!(fs.fs.xattrs(&file).unwrap(), many);
        let other = fs.file("/g", "");
        for xattr in &many {
            fs.fs.set_xattr(&other, xattr).unwrap();
        }
        fs.fs.set_xattr(&other, &xattr("user.n00", "own")).unwrap();
        assert_eq!(fs.fs.xattrs(&file).unwrap(), many, "whatever two files share, a change of one is its own");
    });
}

pub fn a_new_file_inherits_no_xattr(ground: &Ground) {
    ground.holds(|fs| {
        for round in 0..3 {
            let file = fs.file("/f", "x");
            assert_eq!(fs.fs.xattrs(&file).unwrap(), [], "round {round}");
            fs.fs.set_xattr(&file, &xattr("user.small", "x")).unwrap();
            fs.fs.set_xattr(&file, &xattr("user.large", noise(600))).unwrap();
            fs.fs.remove(&file).unwrap();
            let dir = fs.dir("/f");
            assert_eq!(fs.fs.xattrs(&dir).unwrap(), []);
            fs.fs.remove(&dir).unwrap();
        }
    });
}
