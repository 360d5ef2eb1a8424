use super::*;
use crate::fs::FileType;

fn root_file(name: &[u8]) -> Resolved {
    Resolved::root().child(name)
}

const FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

#[test]
fn a_tree_as_described() {
    let fs = MemFs::builder()
        .file("/a/b/f", "content")
        .mode(0o4711)
        .owner(1, 2)
        .xattr("user.a", "x")
        .hard_link("/g", "/a/b/f")
        .special("/null", FileType::CharDevice)
        .build()
        .unwrap();
    let found = fs.lookup(&root_file(b"g")).unwrap().unwrap();
    assert_eq!((found.mode, found.uid, found.gid, found.size, found.links), (0o4711, 1, 2, 7, 2));
    assert_eq!(fs.lookup(&root_file(b"null")).unwrap().unwrap().file_type, FileType::CharDevice);
}

#[test]
fn a_mistake_in_the_description() {
    for (builder, kind) in [
        (MemFs::builder().file("relative", ""), ErrorKind::Invalid),
        (MemFs::builder().file("/f", "").file("/f", "").mode(0o600), ErrorKind::Invalid),
        (MemFs::builder().file("/f", "").file("/f/g", ""), ErrorKind::WrongType),
        (MemFs::builder().symlink("/l", "d").dir("/d").file("/l/f", ""), ErrorKind::WrongType),
        (MemFs::builder().hard_link("/l", "/none"), ErrorKind::NotFound),
        (MemFs::builder().special("/s", FileType::Regular), ErrorKind::Invalid),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), kind);
    }
}

#[test]
fn a_full_filesystem() {
    let mut fs = MemFs::builder().file("/f", "12345").capacity(8).inode_limit(3).build().unwrap();
    fs.create_file(&root_file(b"g"), FILE).unwrap();
    let full = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::NoSpace);
    full(fs.create_file(&root_file(b"h"), FILE));
    full(fs.put(&root_file(b"g"), &Content::bytes(*b"1234")));
    full(fs.append(&root_file(b"f"), &Content::bytes(*b"1234")));
    full(fs.truncate(&root_file(b"f"), u64::MAX));
    fs.remove(&root_file(b"f")).unwrap();
    fs.put(&root_file(b"g"), &Content::bytes(*b"12345678")).unwrap();
    assert_eq!((fs.features().free_bytes, fs.features().free_inodes), (0, 1));
}

#[test]
fn open_for_reading_only() {
    let mut fs = MemFs::builder().file("/f", "x").read_only().build().unwrap();
    let (file, new) = (root_file(b"f"), root_file(b"new"));
    let denied = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Denied);
    denied(fs.create_file(&new, FILE));
    denied(fs.create_dir(&new, FILE));
    denied(fs.create_symlink(&new, b"f", FILE));
    denied(fs.hard_link(&file, &new));
    denied(fs.put(&file, &Content::bytes([])));
    denied(fs.append(&file, &Content::bytes([])));
    denied(fs.truncate(&file, 0));
    denied(fs.set_attrs(&file, SetAttrs::default()));
    denied(fs.set_xattr(&file, &Xattr { name: Vec::new(), value: Vec::new() }));
    denied(fs.remove_xattr(&file, b"user.a"));
    denied(fs.remove(&file));
    denied(fs.rename(&file, &new));
}
