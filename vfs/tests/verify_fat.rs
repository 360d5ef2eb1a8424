//! The second reader of FAT against filesystems that the builder of config drives made.

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{Attrs, Content, Timestamp};
use imgraft_vfs::master::{Tree, vfat};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::{ChangeSet, Stage};
use imgraft_vfs::verify::{Verdict, verify};
use imgraft_vfs::{ErrorKind, Layer};
use std::sync::Arc;

const SIZES: [u64; 2] = [1 << 20, 64 << 20];
const ATTRS: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

fn path(path: &str) -> GuestPath {
    GuestPath::parse(path).unwrap()
}

fn big() -> Vec<u8> {
    (0..70_001_u32).map(|n| (n % 253) as u8).collect()
}

/// Names that FAT tells from each other.
const NAMES: [&str; 4] = ["Größe", "GRÖSSE", "ı", "i"];

/// A filesystem with `/etc/d/file`, `/etc/big`, `/etc/empty`, and files with those names in `/etc/d`.
fn device(size: u64) -> Arc<dyn BlockDevice> {
    let mut tree = Tree::new();
    let files = [("etc/d/file", b"hello\n".to_vec()), ("etc/big", big()), ("etc/empty", Vec::new())];
    let named = NAMES.map(|name| (format!("etc/d/{name}"), name.as_bytes().to_vec()));
    for (path, content) in files.map(|(path, content)| (path.to_owned(), content)).into_iter().chain(named) {
        tree.put(&path, Content::bytes(content)).unwrap();
    }
    let time = Timestamp { seconds: 1_750_000_000, nanoseconds: 0 };
    let image = vfat::image(&tree, &vfat::Options { label: "test".into(), size, time }).unwrap();
    let mut bytes = vec![0; usize::try_from(image.size()).unwrap()];
    image.read_at(&mut bytes, 0).unwrap();
    Arc::new(MemDevice::new(bytes))
}

/// The changes that make that tree, and what `then` stages on top.
fn changes(then: impl FnOnce(&mut Stage<'_>)) -> ChangeSet {
    let empty = MemFs::builder().file("/gone", "").file("/etc/gone/too", "").build().unwrap();
    let mut stage = Stage::new(&empty);
    stage.remove(&path("/gone")).unwrap();
    stage.remove(&path("/etc/gone/too")).unwrap();
    stage.remove(&path("/etc/gone")).unwrap();
    stage.create_dirs(&path("/etc/d"), ATTRS).unwrap();
    stage.write(&path("/etc/d/file"), Content::bytes(*b"hello\n"), ATTRS).unwrap();
    stage.write(&path("/etc/big"), Content::bytes(big()), ATTRS).unwrap();
    stage.write(&path("/etc/empty"), Content::bytes([]), ATTRS).unwrap();
    for name in NAMES {
        stage.write(&path(&format!("/etc/d/{name}")), Content::bytes(name.as_bytes()), ATTRS).unwrap();
    }
    then(&mut stage);
    stage.finish().unwrap()
}

#[test]
fn what_is_there_is_confirmed() {
    for size in SIZES {
        let changes = changes(|_| {});
        let verdict = verify(device(size), &changes).unwrap();
        let paths = changes.changes().len();
        assert!(paths >= 10);
        assert_eq!(verdict, Verdict::Agrees { by: "fatfs", paths, xattrs_unverified: 0 });
    }
}

#[test]
fn every_difference_is_found() {
    let mut other = big();
    other[60_000] ^= 0x80;
    let put = |at: &'static str, content: Vec<u8>| {
        move |stage: &mut Stage<'_>| stage.write(&path(at), Content::bytes(content.clone()), ATTRS).unwrap()
    };
    type Then<'t> = &'t dyn Fn(&mut Stage<'_>);
    let cases: [(&str, &str, Then<'_>); 8] = [
        ("/etc/big", "content", &put("/etc/big", other)),
        ("/etc/big", "size", &put("/etc/big", big()[1..].to_vec())),
        ("/etc/d/file", "content", &put("/etc/d/file", b"hellO\n".to_vec())),
        ("/etc/empty", "size", &put("/etc/empty", b"x".to_vec())),
        ("/etc/d/GRÖSSE", "content", &put("/etc/d/GRÖSSE", "Größe".as_bytes().to_vec())),
        ("/etc/new", "missing", &put("/etc/new", Vec::new())),
        ("/etc/d/new/file", "missing", &|stage| {
            stage.create_dirs(&path("/etc/d/new"), ATTRS).unwrap();
            stage.write(&path("/etc/d/new/file"), Content::bytes([]), ATTRS).unwrap();
        }),
        ("/etc/d/file", "type is Regular and should be Directory", &|stage| {
            stage.remove(&path("/etc/d/file")).unwrap();
            stage.create_dirs(&path("/etc/d/file"), ATTRS).unwrap();
        }),
    ];
    for (size, (at, what, then)) in SIZES.into_iter().flat_map(|size| cases.map(|case| (size, case))) {
        let error = verify(device(size), &changes(then)).unwrap_err();
        assert_eq!((error.kind(), error.layer()), (ErrorKind::Corrupt, Layer::Stage), "{error}");
        assert!(error.guest_path().is_some_and(|path| at.as_bytes().starts_with(path)), "{at}: {error}");
        assert!(error.to_string().contains(what), "{at}: {error}");
    }
}

#[test]
fn what_should_be_gone_is_found() {
    for (name, is_found) in [("/etc/d/file", true), ("/ETC/D/FILE", true), ("/etc/d/GROSSE", false), ("/x/y", false)] {
        let base = MemFs::builder().file(name, "").build().unwrap();
        let mut stage = Stage::new(&base);
        stage.remove(&path(name)).unwrap();
        let result = verify(device(SIZES[0]), &stage.finish().unwrap());
        assert_eq!(result.is_err(), is_found, "{name}: {result:?}");
        if let Err(error) = result {
            assert!(error.to_string().contains("still there"), "{error}");
        }
    }
}
