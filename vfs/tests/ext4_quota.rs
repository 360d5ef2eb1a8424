//! Quotas: what every user, group and project uses, by the verdict of e2fsck and of a kernel that knows quotas.

mod oracle;
mod uml;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Mode, SetAttrs, Timestamp, Xattr};
use oracle::{Before, FileDevice, Random, Scratch, at, try_at};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };

fn write(image: &Path) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap())
}

fn attrs(uid: u32, gid: u32) -> Attrs {
    Attrs { mode: 0o755, uid, gid }
}

/// The usage of an owner as debugfs reads it from the image: bytes and inodes.
fn usage(image: &Path, kind: &str, id: u32) -> (u64, u64) {
    let text = oracle::run(Command::new("debugfs").arg("-R").arg(format!("get_quota {kind} {id}")).arg(image));
    let row = text.lines().find(|line| line.trim_start().starts_with(&format!("{id} "))).unwrap_or_default();
    let mut fields = row.split_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap());
    let space = fields.next().unwrap_or(0);
    (space, fields.nth(2).unwrap_or(0))
}

/// Random changes by and for many owners.
fn change(fs: &mut dyn GuestFs, random: &mut Random) -> u32 {
    let mut done = 0;
    for path in ["/d0", "/d1", "/d0/d2"] {
        let _ = fs.create_dir(&at(fs, path), attrs(5, 5));
    }
    for _ in 0..700 {
        let directory = ["", "/d0", "/d1", "/d0/d2"][random.below(4) as usize];
        let path = format!("{directory}/{}{}", ["f", "d", "l"][random.below(3) as usize], random.below(30));
        let attrs = attrs([0, 7, 1000, 70_000][random.below(4) as usize], random.below(400) as u32 * 37);
        let Ok(path) = try_at(fs, path) else { continue };
        let limit = [10, 9_000, 300_000][random.below(3) as usize];
        let len = random.below(limit) as usize;
        let result = match random.below(14) {
            0..3 => fs.create_file(&path, attrs),
            3 => fs.create_dir(&path, attrs),
            4 => fs.create_symlink(&path, &vec![b'x'; 20 + len % 100], attrs),
            5 | 6 => fs.put(&path, &Content::bytes(random.bytes(len))),
            7 => fs.append(&path, &Content::bytes(random.bytes(len))),
            8 => fs.truncate(&path, len as u64),
            9 => fs.set_attrs(&path, SetAttrs { uid: Some(attrs.uid), gid: Some(attrs.gid), ..SetAttrs::default() }),
            10 => fs.set_xattr(&path, &Xattr { name: b"trusted.large".to_vec(), value: random.bytes(600) }),
            11 => fs.remove_xattr(&path, b"trusted.large"),
            12 => fs.remove(&path),
            _ => try_at(fs, format!("/moved{}", random.below(5))).and_then(|to| fs.rename(&path, &to)),
        };
        done += u32::from(result.is_ok());
    }
    done
}

#[test]
fn usage_is_kept_exactly() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    for (seed, arguments) in [
        (1, &["-O", "quota,project"][..]),
        (2, &["-O", "quota", "-b", "1024"]),
        (3, &["-O", "quota,project,^metadata_csum,^64bit", "-b", "2048"]),
        (4, &["-O", "quota,^extents,^64bit", "-b", "1024"]),
    ] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 48, Before::Garbage, &[&["-t", "ext4"], arguments].concat());
        let mut random = Random(seed);
        for round in 0..3 {
            let context = format!("{arguments:?}, round {round}");
            let mut fs = write(&image);
            assert!(change(&mut *fs, &mut random) > 100, "{context}");
            fs.close().unwrap();
            oracle::e2fsck(&image, &context);
        }
        let mut fs = write(&image);
        fs.create_file(&at(&*fs, "/last"), attrs(123_456, 654_321)).unwrap();
        fs.put(&at(&*fs, "/last"), &Content::bytes(vec![1; 8192])).unwrap();
        fs.close().unwrap();
        assert_eq!(usage(&image, "user", 123_456), (8192, 1), "{arguments:?}");
        assert_eq!(usage(&image, "group", 654_321), (8192, 1), "{arguments:?}");
        let mut fs = write(&image);
        fs.remove(&at(&*fs, "/last")).unwrap();
        fs.close().unwrap();
        assert_eq!(usage(&image, "user", 123_456), (0, 0), "{arguments:?}");
        oracle::e2fsck(&image, "removed");
    }
}

#[test]
fn a_quota_file_grows_for_many_owners() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    for block_size in ["1024", "4096"] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 32, Before::Garbage, &["-t", "ext4", "-b", block_size, "-O", "quota", "-N", "4096"]);
        let mut fs = write(&image);
        for number in 0..1500_u32 {
            let path = at(&*fs, format!("/f{number}"));
            fs.create_file(&path, attrs(number * 65_537 + 3, number)).unwrap();
        }
        fs.close().unwrap();
        oracle::e2fsck(&image, block_size);
        assert_eq!(usage(&image, "user", 1499 * 65_537 + 3), (0, 1));
    }
}

#[test]
fn a_kernel_with_quotas_agrees_and_goes_on() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) || !uml::can_boot_with_quotas() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 48, Before::Garbage, &["-t", "ext4", "-b", "4096", "-O", "quota,project"]);
    uml::with_quotas(
        &image,
        "setquota -u 7 8 1000 2 100 $GUEST\n\
         setquota -P 42 0 40 0 0 $GUEST\n\
         mkdir -p $GUEST/d0/d2 $GUEST/d1 $GUEST/project $GUEST/other\n\
         chattr -p 42 +P $GUEST/project\n\
         chattr -p 43 +P $GUEST/other\n\
         echo mine >$GUEST/project/mine\n\
         for i in 1 2 3 4 5 6 7 8 9; do echo $i >$GUEST/d1/f$i; chown $i:$((i * 100)) $GUEST/d1/f$i; done",
    );
    oracle::e2fsck(&image, "as the kernel left it");
    let mut fs = write(&image);
    assert!(change(&mut *fs, &mut Random(5)) > 100);
    for number in 0..3 {
        let path = at(&*fs, format!("/over{number}"));
        fs.create_file(&path, attrs(7, 0)).unwrap();
        fs.put(&path, &Content::bytes(vec![7; 10_000])).unwrap();
    }
    // New files and directories are of their directory's project; others cannot come in, nor this one into another's.
    fs.create_dir(&at(&*fs, "/project/sub"), attrs(0, 0)).unwrap();
    let inside = at(&*fs, "/project/sub/file");
    fs.create_file(&inside, attrs(0, 0)).unwrap();
    // The hard limit is no limit for root.
    fs.put(&inside, &Content::bytes(vec![1; 50_000])).unwrap();
    fs.create_file(&at(&*fs, "/outside"), attrs(0, 0)).unwrap();
    for (from, to) in [("/outside", "/project/in"), ("/project/mine", "/other/mine"), ("/project/sub", "/other/sub")] {
        let (from, to) = (at(&*fs, from), at(&*fs, to));
        let error = fs.rename(&from, &to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("project"), "{error}");
        if fs.lookup(&from).unwrap().unwrap().file_type != FileType::Directory {
            assert_eq!(fs.hard_link(&from, &to).unwrap_err().kind(), ErrorKind::Denied);
        }
    }
    let out = at(&*fs, "/project/out");
    fs.create_file(&out, attrs(0, 0)).unwrap();
    fs.rename(&out, &at(&*fs, "/out")).unwrap();
    fs.close().unwrap();
    oracle::e2fsck(&image, "ours");
    assert_eq!(usage(&image, "project", 42), (4096 + 4096 + 4096 + 53_248, 5));
    let report = uml::with_quotas(
        &image,
        "repquota -unp $GUEST\n\
         lsattr -pd $GUEST/project/sub $GUEST/project/sub/file $GUEST/out $GUEST/outside\n\
         ! mv $GUEST/outside $GUEST/project/\n\
         chown -R 5000 $GUEST/d1\n\
         rm -r $GUEST/d0 $GUEST/project\n\
         for i in $(seq 40); do echo $i >$GUEST/new$i; chown $((i * 1000)):$i $GUEST/new$i; done",
    );
    oracle::e2fsck(&image, "as the kernel went on");
    // Over both soft limits since our change: for a week from then on.
    let seven = report.lines().find(|line| line.starts_with("#7 ")).unwrap_or_else(|| panic!("{report}"));
    let fields: Vec<&str> = seven.split_whitespace().collect();
    let until = (NOW.seconds + 7 * 86_400).to_string();
    assert_eq!((fields[1], fields[5], fields[9]), ("++", &*until, &*until), "{report}");
    let projects: Vec<&str> =
        report.lines().filter(|line| line.contains("/mnt/guest/") && line.contains("--")).collect();
    let of = |name: &str| projects.iter().find(|line| line.ends_with(name)).map(|line| line.split_whitespace().next());
    assert_eq!(of("/project/sub"), Some(Some("42")), "{report}");
    assert_eq!(of("/project/sub/file"), Some(Some("42")), "{report}");
    assert_eq!((of("/out"), of("/outside")), (Some(Some("42")), Some(Some("0"))), "{report}");
}
