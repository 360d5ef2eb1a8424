//! The content of regular files.

use crate::ground::{Ground, bytes, noise, xattr};
use imgraft_vfs::fs::{Content, SetAttrs, Timestamp};
use std::io::Write;

pub fn put_gives_the_content(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "first");
        assert_eq!(fs.read(&file), b"first");
        for content in ["a longer second content", "3", ""] {
            fs.fs.put(&file, &bytes(content)).unwrap();
            assert_eq!(fs.read(&file), content.as_bytes());
            assert_eq!(fs.meta(&file).size, content.len() as u64);
        }
    });
}

pub fn put_keeps_what_is_not_content(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "first");
        let old = Some(Timestamp { seconds: 1_000, nanoseconds: 0 });
        let attrs = SetAttrs { mode: Some(0o4711), uid: Some(70_000), gid: Some(80_000), mtime: old };
        fs.fs.set_attrs(&file, attrs).unwrap();
        fs.fs.set_xattr(&file, &xattr("user.a", "1")).unwrap();
        let before = fs.meta(&file);
        fs.fs.put(&file, &bytes("second")).unwrap();
        let after = fs.meta(&file);
        assert_eq!((after.mode, after.uid, after.gid), (0o4711, 70_000, 80_000));
        assert_eq!((after.inode, after.links), (before.inode, 1));
        assert_eq!(fs.fs.xattrs(&file).unwrap(), [xattr("user.a", "1")]);
        assert_ne!(Some(after.mtime), old, "it is changed now");
    });
}

pub fn append_adds(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", "");
        let mut expected = Vec::new();
        for len in [0, 1, 1023, 4095, 4096, 1, 10_000, 0, 3] {
            let more = noise(len);
            fs.fs.append(&file, &bytes(&more)).unwrap();
            expected.extend_from_slice(&more);
            assert!(fs.read(&file) == expected, "after {} bytes", expected.len());
        }
    });
}

pub fn truncate_cuts_and_lengthens(ground: &Ground) {
    ground.holds(|fs| {
        let mut expected = noise(20_000);
        let file = fs.file("/f", &expected);
        for size in [19_999, 8192, 8191, 30_000, 30_000, 4097, 1, 0, 5000, 0] {
            fs.fs.truncate(&file, size).unwrap();
            expected.resize(size as usize, 0);
            assert_eq!(fs.meta(&file).size, size);
            assert!(fs.read(&file) == expected, "cut to {size}");
        }
        fs.fs.truncate(&file, 1 << 20).unwrap();
        fs.fs.append(&file, &bytes("end")).unwrap();
        let read = fs.read(&file);
        assert!(read[..1 << 20].iter().all(|byte| *byte == 0));
        assert_eq!(&read[1 << 20..], b"end");
    });
}

pub fn what_was_cut_does_not_come_back(ground: &Ground) {
    ground.holds(|fs| {
        let file = fs.file("/f", [0xaa; 10_000]);
        fs.fs.truncate(&file, 100).unwrap();
        fs.fs.truncate(&file, 10_000).unwrap();
        let read = fs.read(&file);
        assert!(read[..100].iter().all(|byte| *byte == 0xaa) && read[100..].iter().all(|byte| *byte == 0));
        let other = fs.file("/g", [0xbb; 300]);
        fs.fs.truncate(&other, 10).unwrap();
        fs.fs.append(&other, &bytes([0xcc; 5])).unwrap();
        fs.fs.truncate(&other, 4000).unwrap();
        let read = fs.read(&other);
        assert_eq!(&read[..16], b"\xbb\xbb\xbb\xbb\xbb\xbb\xbb\xbb\xbb\xbb\xcc\xcc\xcc\xcc\xcc\0");
        assert!(read[15..].iter().all(|byte| *byte == 0));
    });
}

pub fn a_large_file_in_pieces(ground: &Ground) {
    ground.holds(|fs| {
        let data = noise((5 << 20) + 3);
        let mut host = tempfile::NamedTempFile::new().unwrap();
        host.write_all(&data).unwrap();
        let content = Content::open(host.path()).unwrap();
        let file = fs.file("/f", "");
        fs.fs.put(&file, &content).unwrap();
        assert!(fs.read(&file) == data);
        fs.fs.append(&file, &Content::bytes(&data[..100_000])).unwrap();
        fs.fs.truncate(&file, data.len() as u64 + 50_000).unwrap();
        assert!(fs.read(&file) == [&data[..], &data[..50_000]].concat());
        fs.fs.put(&file, &content).unwrap();
        assert!(fs.read(&file) == data);
    });
}

pub fn read_at_any_offset(ground: &Ground) {
    ground.holds(|fs| {
        let data = noise(10_000);
        let file = fs.file("/f", &data);
        for offset in [0, 1, 4095, 4096, 4097, 9_999, 10_000, 10_001, u64::MAX] {
            for len in [0, 1, 4096, 20_000] {
                let mut buf = vec![0x55; len];
                let read = fs.fs.read_at(&file, &mut buf, offset).unwrap();
                let tail = data.get(offset.min(10_000) as usize..).unwrap();
                let expected = &tail[..tail.len().min(len)];
                assert_eq!(read, expected.len(), "{len} bytes at {offset}");
                assert!(buf[..read] == expected[..read], "{len} bytes at {offset}");
                assert!(buf[read..].iter().all(|byte| *byte == 0x55), "{len} bytes at {offset}");
            }
        }
    });
}

pub fn many_sizes(ground: &Ground) {
    ground.holds(|fs| {
        let sizes = [0, 1, 59, 60, 61, 1023, 1024, 1025, 4095, 4096, 4097, 12_288, 12_289, 65_536, 270_000];
        let files = sizes.map(|size| (size, fs.file(format!("/f{size}"), noise(size))));
        for (size, file) in files {
            assert!(fs.read(&file) == noise(size), "{size} bytes");
        }
    });
}
