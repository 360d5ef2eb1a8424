//! The second reader against images that mke2fs made.

mod oracle;

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{Attrs, Content, SetAttrs, Xattr};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::{ChangeSet, Stage};
use imgraft_vfs::verify::{Verdict, verify};
use imgraft_vfs::{Error, ErrorKind, Layer};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;

const MODE: u16 = 0o640;

fn path(path: &str) -> GuestPath {
    GuestPath::parse(path).unwrap()
}

fn big() -> Vec<u8> {
    (0..200_001_u32).map(|n| (n % 253) as u8).collect()
}

/// An image of `/etc/d/file`, `/etc/big`, `/etc/empty` and the link `/etc/l`, and the owner of all that.
fn image(arguments: &[&str]) -> Option<(Vec<u8>, u32, u32)> {
    if !oracle::have(&["mke2fs"]) {
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("etc/d")).unwrap();
    for (name, content) in [("etc/d/file", b"hello\n".to_vec()), ("etc/big", big()), ("etc/empty", Vec::new())] {
        fs::write(tree.join(name), content).unwrap();
        fs::set_permissions(tree.join(name), PermissionsExt::from_mode(MODE.into())).unwrap();
    }
    for directory in ["etc", "etc/d"] {
        fs::set_permissions(tree.join(directory), PermissionsExt::from_mode(0o755)).unwrap();
    }
    symlink("d/file", tree.join("etc/l")).unwrap();
    let owner = fs::metadata(&tree).unwrap();
    let image = place.path().join("image");
    let arguments = [arguments, &["-d", tree.to_str().unwrap()]].concat();
    oracle::mke2fs(&image, 2, oracle::Before::Zeros, &arguments);
    Some((fs::read(image).unwrap(), owner.uid(), owner.gid()))
}

/// The changes that make that tree, and what `then` stages on top.
fn changes(uid: u32, gid: u32, then: impl FnOnce(&mut Stage<'_>)) -> ChangeSet {
    let empty = MemFs::builder().file("/gone", "").file("/etc/gone/too", "").build().unwrap();
    let mut stage = Stage::new(&empty);
    stage.remove(&path("/gone")).unwrap();
    stage.remove(&path("/etc/gone/too")).unwrap();
    stage.remove(&path("/etc/gone")).unwrap();
    stage.set_attrs(&path("/etc"), SetAttrs { uid: Some(uid), gid: Some(gid), ..SetAttrs::default() }).unwrap();
    stage.create_dirs(&path("/etc/d"), Attrs { mode: 0o755, uid, gid }).unwrap();
    let attrs = Attrs { mode: MODE, uid, gid };
    stage.write(&path("/etc/d/file"), Content::bytes(*b"hello\n"), attrs).unwrap();
    stage.write(&path("/etc/big"), Content::bytes(big()), attrs).unwrap();
    stage.write(&path("/etc/empty"), Content::bytes([]), attrs).unwrap();
    stage.symlink(&path("/etc/l"), b"d/file", attrs).unwrap();
    then(&mut stage);
    stage.finish().unwrap()
}

fn device(image: &[u8]) -> Arc<dyn BlockDevice> {
    Arc::new(MemDevice::new(image.to_vec()))
}

#[test]
fn what_is_in_the_image_is_confirmed() {
    for arguments in [&["-t", "ext4"][..], &["-t", "ext4", "-b", "4096"], &["-t", "ext2", "-I", "128"], &["-t", "ext3"]]
    {
        let Some((image, uid, gid)) = image(arguments) else { return };
        let changes = changes(uid, gid, |stage| {
            let label = Xattr { name: b"security.selinux".to_vec(), value: b"x".to_vec() };
            stage.set_xattr(&path("/etc/d/file"), label).unwrap();
        });
        let verdict = verify(device(&image), &changes).unwrap();
        let paths = changes.changes().len();
        assert!(paths >= 8);
        assert_eq!(verdict, Verdict::Agrees { by: "ext4-view", paths, xattrs_unverified: 1 }, "{arguments:?}");
    }
}

#[test]
fn every_difference_is_found() {
    let Some((image, uid, gid)) = image(&["-t", "ext4"]) else { return };
    let refused =
        |then: &dyn Fn(&mut Stage<'_>)| -> Error { verify(device(&image), &changes(uid, gid, then)).unwrap_err() };
    let attrs = Attrs { mode: MODE, uid, gid };
    let mut other = big();
    other[150_000] ^= 0x80;
    let set =
        |at: &'static str, attrs: SetAttrs| move |stage: &mut Stage<'_>| stage.set_attrs(&path(at), attrs).unwrap();
    let mode = |mode| SetAttrs { mode: Some(mode), ..SetAttrs::default() };
    let put = |at: &'static str, content: Vec<u8>| {
        move |stage: &mut Stage<'_>| stage.write(&path(at), Content::bytes(content.clone()), attrs).unwrap()
    };
    type Then<'t> = &'t dyn Fn(&mut Stage<'_>);
    let cases: [(&str, &str, Then<'_>); 12] = [
        ("/etc/big", "content", &put("/etc/big", other)),
        ("/etc/big", "size", &put("/etc/big", big()[1..].to_vec())),
        ("/etc/d/file", "content", &put("/etc/d/file", b"hellO\n".to_vec())),
        ("/etc/empty", "size", &put("/etc/empty", b"x".to_vec())),
        ("/etc/d/file", "mode is 0640 and should be 0600", &set("/etc/d/file", mode(0o600))),
        ("/etc/d", "mode is 0755 and should be 1755", &set("/etc/d", mode(0o1755))),
        ("/etc/d/file", "owner", &set("/etc/d/file", SetAttrs { uid: Some(uid + 65_536), ..SetAttrs::default() })),
        ("/etc/d/file", "group", &set("/etc/d/file", SetAttrs { gid: Some(gid + 65_536), ..SetAttrs::default() })),
        ("/etc/new", "missing", &put("/etc/new", Vec::new())),
        ("/etc/l", "target", &|stage| stage.symlink(&path("/etc/l"), b"d/filE", attrs).unwrap()),
        ("/etc/d/file", "type is Regular and should be Directory", &|stage| {
            stage.remove(&path("/etc/d/file")).unwrap();
            stage.create_dirs(&path("/etc/d/file"), attrs).unwrap();
        }),
        ("/etc/l", "type is Symlink and should be Directory", &|stage| {
            stage.remove(&path("/etc/l")).unwrap();
            stage.create_dirs(&path("/etc/l/in"), attrs).unwrap();
        }),
    ];
    for (at, what, then) in cases {
        let error = refused(then);
        assert_eq!((error.kind(), error.layer()), (ErrorKind::Corrupt, Layer::Stage), "{error}");
        assert_eq!(error.guest_path(), Some(at.as_bytes()), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn what_should_be_gone_is_found() {
    let Some((image, ..)) = image(&["-t", "ext4"]) else { return };
    let base = MemFs::builder().file("/etc/d/file", "").build().unwrap();
    let mut stage = Stage::new(&base);
    stage.remove(&path("/etc/d/file")).unwrap();
    let error = verify(device(&image), &stage.finish().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("still there"), "{error}");
}

#[test]
fn a_filesystem_that_the_reader_does_not_know() {
    let Some((image, uid, gid)) = image(&["-t", "ext4", "-O", "inline_data"]) else { return };
    let verdict = verify(device(&image), &changes(uid, gid, |_| {})).unwrap();
    assert!(matches!(&verdict, Verdict::Unknown { reason } if reason.contains("incompatible")), "{verdict:?}");
}

#[test]
fn no_filesystem_at_all() {
    for image in [vec![0; 1 << 20], vec![0xff; 4096], Vec::new()] {
        let error = verify(device(&image), &changes(0, 0, |_| {})).unwrap_err();
        assert_eq!((error.kind(), error.layer()), (ErrorKind::Corrupt, Layer::Stage));
    }
}

#[test]
fn a_damaged_image_is_an_answer_and_no_panic() {
    let Some((image, uid, gid)) = image(&["-t", "ext4", "-O", "^metadata_csum,^has_journal"]) else { return };
    let changes = changes(uid, gid, |_| {});
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut disagreed = 0;
    for _ in 0..500 {
        let mut damaged = image.clone();
        for _ in 0..40 {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let place = (seed >> 33) as usize % (400 * 1024);
            damaged[place] = (seed >> 24) as u8;
        }
        disagreed += usize::from(verify(device(&damaged), &changes).is_err());
    }
    assert!(disagreed > 0);
}

#[test]
fn upper_halves_that_mean_nothing_are_not_read() {
    // As the kernel and e2fsck have it; a reader that takes them asks for gigabytes, or for what is not there.
    let numbers = [0x150, 0x154, 0x158].into_iter().flat_map(|at| [1_u32, 0xff, !0].map(|number| (at, number)));
    for (at, number) in numbers {
        for (kind, features) in [("ext2", "none,filetype,dir_index"), ("ext4", "^64bit,metadata_csum")] {
            let Some((mut bytes, uid, gid)) = image(&["-t", kind, "-b", "1024", "-O", features]) else { return };
            bytes[1024 + at..1028 + at].copy_from_slice(&number.to_le_bytes());
            let changes = changes(uid, gid, |_| {});
            let verdict = verify(Arc::new(MemDevice::new(bytes)), &changes).unwrap();
            let agrees = matches!(verdict, Verdict::Agrees { .. });
            assert_eq!(agrees, kind == "ext2", "{at:#x} {number:#x} {kind}: {verdict:?}");
        }
    }
}
