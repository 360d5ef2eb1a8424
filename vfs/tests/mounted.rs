//! What a mounted filesystem is defended against, and what the kernel would change by itself.

mod oracle;

use imgraft_vfs::fs::mounted::{Mounted, Subvolume};
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Lookup, Mode, SetAttrs, Timestamp, Xattr};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::volume::Signature;
use imgraft_vfs::{Error, ErrorKind, Layer};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 5 } };
const FILE: Attrs = Attrs { mode: 0o640, uid: 7, gid: 8 };

fn open(root: &Path, mode: Mode) -> Mounted {
    let signature = Signature { name: "ext4", label: String::new(), uuid: String::new() };
    Mounted::new(File::open(root).unwrap().into(), signature, mode).unwrap()
}

/// A directory of this host as a guest, where this process may do as it likes.
fn ground() -> Option<(tempfile::TempDir, Mounted)> {
    if !nix::unistd::geteuid().is_root() {
        oracle::skip("only root can give files away");
        return None;
    }
    let root = tempfile::tempdir().unwrap();
    let fs = open(root.path(), NOW);
    Some((root, fs))
}

fn at(fs: &dyn GuestFs, path: &str) -> Resolved {
    oracle::at(fs, path)
}

#[test]
fn another_mount_is_not_entered() {
    let Some((root, mut fs)) = ground().filter(|_| oracle::can_mount()) else { return };
    let [inner, inner_file] = ["/m/x", "/m/x/f"].map(|path| at(&fs, path));
    fs::create_dir_all(root.path().join("m/x")).unwrap();
    oracle::run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(root.path().join("m/x")));
    fs::write(root.path().join("m/x/f"), "not the guest's").unwrap();
    let answers = [
        fs.lookup(&inner).map(drop),
        fs.lookup(&inner_file).map(drop),
        fs.read_at(&inner_file, &mut [0; 4], 0).map(drop),
        fs.put(&inner_file, &Content::bytes(*b"x")),
        fs.remove(&inner_file),
        fs.set_xattr(&inner_file, &Xattr { name: b"user.a".to_vec(), value: vec![1] }),
    ];
    oracle::run(Command::new("umount").arg(root.path().join("m/x")));
    for answer in answers {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Denied);
    }
}

#[test]
fn no_link_is_followed_wherever_it_leads() {
    let Some((root, mut fs)) = ground() else { return };
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "the host's").unwrap();
    let paths = ["/abs", "/magic/1", "/up/f"].map(|path| at(&fs, path));
    std::os::unix::fs::symlink(outside.path(), root.path().join("abs")).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd", root.path().join("magic")).unwrap();
    std::os::unix::fs::symlink("..", root.path().join("up")).unwrap();
    for path in &paths {
        for answer in [
            fs.read_at(path, &mut [0; 4], 0).map(drop),
            fs.put(path, &Content::bytes(*b"x")),
            fs.append(path, &Content::bytes(*b"x")),
            fs.truncate(path, 0),
        ] {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::WrongType, "{path}");
        }
    }
    fs.set_attrs(&paths[0], SetAttrs { uid: Some(9), ..SetAttrs::default() }).unwrap();
    assert_eq!(fs.lookup(&paths[0]).unwrap().unwrap().uid, 9);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&outside.path().metadata().unwrap()), 0);
    assert_eq!(fs::read(outside.path()).unwrap(), b"the host's");
}

#[test]
fn capabilities_and_set_user_id_stay() {
    let Some((_root, mut fs)) = ground() else { return };
    let file = at(&fs, "/f");
    fs.create_file(&file, Attrs { mode: 0o6755, ..FILE }).unwrap();
    // Version 2, cap_net_raw (linux/capability.h).
    let mut value = vec![1, 0, 0, 2, 0, 0x20];
    value.resize(20, 0);
    let capability = Xattr { name: b"security.capability".to_vec(), value };
    fs.set_xattr(&file, &capability).unwrap();
    let check = |fs: &Mounted, what: &str| {
        assert!(fs.xattrs(&file).unwrap().iter().eq([&capability]), "{what}");
        assert_eq!(fs.lookup(&file).unwrap().unwrap().mode, 0o6755, "{what}");
    };
    fs.put(&file, &Content::bytes(*b"content")).unwrap();
    check(&fs, "put");
    fs.append(&file, &Content::bytes(*b"more")).unwrap();
    check(&fs, "append");
    fs.truncate(&file, 3).unwrap();
    check(&fs, "truncate");
    fs.set_attrs(&file, SetAttrs { uid: Some(1), gid: Some(2), ..SetAttrs::default() }).unwrap();
    check(&fs, "chown");
}

#[test]
fn what_is_made_is_what_was_asked_for() {
    let Some((_root, mut fs)) = ground() else { return };
    let dir = at(&fs, "/d");
    fs.create_dir(&dir, Attrs { mode: 0o2777, uid: 0, gid: 99 }).unwrap();
    // user::rwx user:7:rwx group::rwx mask::rwx other::---, version 2 (linux/posix_acl_xattr.h).
    let list: Vec<u8> = [
        &2_u32.to_le_bytes()[..],
        &[1, 0, 7, 0, 255, 255, 255, 255],
        &[2, 0, 7, 0, 7, 0, 0, 0],
        &[4, 0, 7, 0, 255, 255, 255, 255],
        &[16, 0, 7, 0, 255, 255, 255, 255],
        &[32, 0, 0, 0, 255, 255, 255, 255],
    ]
    .concat();
    let default = Xattr { name: b"system.posix_acl_default".to_vec(), value: list };
    match fs.set_xattr(&dir, &default) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            oracle::skip("the host's filesystem has no access control lists");
            return;
        }
        result => result.unwrap(),
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    for (path, make) in
        [("/d/f", Mounted::create_file as fn(&mut Mounted, &Resolved, Attrs) -> _), ("/d/d", Mounted::create_dir)]
    {
        let made = at(&fs, path);
        make(&mut fs, &made, FILE).unwrap();
        let found = fs.lookup(&made).unwrap().unwrap();
        assert_eq!((found.mode, found.uid, found.gid), (FILE.mode, FILE.uid, FILE.gid), "{path}");
        assert_eq!(found.mtime, Timestamp { seconds: 1_750_000_000, nanoseconds: 5 });
        assert_eq!(fs.xattrs(&made).unwrap(), [], "{path}");
    }
}

#[test]
fn for_reading_only() {
    let Some((root, _)) = ground() else { return };
    fs::write(root.path().join("f"), "x").unwrap();
    let mut fs = open(root.path(), Mode::ReadOnly);
    let (file, new) = (at(&fs, "/f"), at(&fs, "/new"));
    let xattr = Xattr { name: b"user.a".to_vec(), value: Vec::new() };
    let content = Content::bytes(*b"y");
    for result in [
        fs.create_file(&new, FILE),
        fs.create_dir(&new, FILE),
        fs.create_symlink(&new, b"f", FILE),
        fs.hard_link(&file, &new),
        fs.put(&file, &content),
        fs.append(&file, &content),
        fs.truncate(&file, 0),
        fs.set_attrs(&file, SetAttrs::default()),
        fs.set_xattr(&file, &xattr),
        fs.remove_xattr(&file, b"user.a"),
        fs.remove(&file),
        fs.rename(&file, &new),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Denied);
    }
    assert_eq!(fs::read(root.path().join("f")).unwrap(), b"x");
}

fn subvolume(path: &str) -> Subvolume {
    Subvolume { path: GuestPath::parse(path).unwrap(), option: "subvol", value: "x".to_owned() }
}

#[test]
fn directories_mounted_below_the_root() {
    let Some((root, mut fs)) = ground() else { return };
    let others = tempfile::tempdir().unwrap();
    let [top, others] = [root.path(), others.path()];
    for directory in ["home", "usr/local", "var"].map(|name| top.join(name)) {
        fs::create_dir_all(directory).unwrap();
    }
    for directory in ["home/user", "local", "deep"].map(|name| others.join(name)) {
        fs::create_dir_all(directory).unwrap();
    }
    std::os::unix::fs::symlink("usr/local", top.join("opt")).unwrap();
    for (path, name) in [("/home", "home"), ("/opt", "local"), ("/opt/deep", "deep")] {
        let directory = File::open(others.join(name)).unwrap();
        fs.mount(&subvolume(path), Ok(directory.into())).unwrap();
    }
    let broken = Error::new(ErrorKind::NotFound, Layer::Kernel, "no such subvolume");
    fs.mount(&subvolume("/var"), Err(broken)).unwrap();

    for (path, file) in [
        ("/home/user/f", others.join("home/user/f")),
        ("/usr/local/f", others.join("local/f")),
        ("/opt/deep/f", others.join("deep/f")),
        ("/f", top.join("f")),
    ] {
        let at = at(&fs, path);
        fs.create_file(&at, FILE).unwrap();
        fs.put(&at, &Content::bytes(path.as_bytes())).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), path);
    }
    let attrs = SetAttrs { mode: Some(0o711), ..SetAttrs::default() };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for (path, directory) in
        [("/home", others.join("home")), ("/opt/deep", others.join("deep")), ("/usr", top.join("usr"))]
    {
        let at = at(&fs, path);
        fs.set_attrs(&at, attrs).unwrap();
        assert_eq!((fs.lookup(&at).unwrap().unwrap().mode, mode(&directory)), (0o711, 0o711), "{path}");
    }
    assert_ne!(mode(&top.join("home")), 0o711);
    for path in ["/home", "/usr", "/opt/deep"] {
        let (from, to) = (at(&fs, path), at(&fs, "/elsewhere"));
        assert_eq!(fs.rename(&from, &to).unwrap_err().kind(), ErrorKind::InUse, "{path}");
        assert_eq!(fs.remove(&from).unwrap_err().kind(), ErrorKind::InUse, "{path}");
    }
    let home = at(&fs, "/home");
    assert_eq!(fs.create_file(&home, FILE).unwrap_err().kind(), ErrorKind::Invalid);
    let error = oracle::try_at(&fs, "/var").unwrap_err();
    assert!(
        error.to_string().contains("the subvolume subvol=x at /var") && error.kind() == ErrorKind::Unsupported,
        "{error}"
    );
}
