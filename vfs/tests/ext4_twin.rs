//! The same random operations by this driver and by the kernel, on twin images that change hands after each round.

mod oracle;

use imgraft_vfs::Result;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Mode, SetAttrs, Timestamp, Xattr};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, Tree, try_at};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };

#[derive(Clone, Debug)]
enum Op {
    Create(String, Attrs),
    Mkdir(String, Attrs),
    Symlink(String, String, Attrs),
    Link(String, String),
    Put(String, Vec<u8>),
    Append(String, Vec<u8>),
    Truncate(String, u64),
    Remove(String),
    Rename(String, String),
    Attrs(String, Attrs),
    SetXattr(String, String, Vec<u8>),
    RemoveXattr(String, String),
}

/// A path out of few, so that operations meet; half of the time one that was made before.
fn path(random: &mut Random, known: &[String]) -> String {
    if !known.is_empty() && random.below(2) == 0 {
        return known[random.below(known.len() as u64) as usize].clone();
    }
    let mut path = String::new();
    for _ in 0..random.below(3) {
        path.push_str(&format!("/d{}", random.below(4)));
    }
    match random.below(3) {
        0 => path + &format!("/d{}", random.below(4)),
        1 => path + &format!("/f{}", random.below(12)),
        _ => {
            let number = random.below(150);
            path + &format!("/n{number}{}", "-".repeat((number * 7 % 120) as usize))
        }
    }
}

/// A list with a named user and a mask.
fn acl(random: &mut Random) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, id) in [(1_u16, u32::MAX), (2, 70_000), (4, u32::MAX), (16, u32::MAX), (32, u32::MAX)] {
        list.extend(tag.to_le_bytes());
        list.extend((random.below(8) as u16).to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

fn op(random: &mut Random, known: &[String]) -> Op {
    let attrs = Attrs {
        mode: random.below(0o10000) as u16,
        uid: random.below(100_000) as u32,
        gid: random.below(100_000) as u32,
    };
    let path_ = path(random, known);
    let content = |random: &mut Random| {
        let limit = [1, 100, 5_000, 70_000, 400_000][random.below(5) as usize];
        let len = random.below(limit) as usize;
        random.bytes(len)
    };
    match random.below(30) {
        0..4 => Op::Create(path_, attrs),
        4..7 => Op::Mkdir(path_, attrs),
        7 => {
            let len = [5, 58, 59, 60, 61, 500, 1000][random.below(7) as usize];
            Op::Symlink(path_, format!("nowhere/{}", "x".repeat(len)), attrs)
        }
        8 => Op::Link(path(random, known), path_),
        9..12 => Op::Put(path_, content(random)),
        12..15 => Op::Append(path_, content(random)),
        15 => Op::Truncate(path_, random.below(200_000)),
        16..19 => Op::Remove(path_),
        19..22 => Op::Rename(path(random, known), path_),
        22 => Op::Attrs(path_, attrs),
        23..26 => {
            let len = [0, 1, 10, 30, 100, 300][random.below(6) as usize];
            Op::SetXattr(path_, format!("trusted.x{}", random.below(6)), random.bytes(len))
        }
        26 => Op::RemoveXattr(path_, format!("trusted.x{}", random.below(6))),
        27 => Op::Truncate(path_, [0, 1, 1000, 4097, 70_000][random.below(5) as usize]),
        28 => Op::Truncate(path_, 4096 * random.below(40)),
        _ => Op::SetXattr(path_, "system.posix_acl_access".into(), acl(random)),
    }
}

fn ours(fs: &mut dyn GuestFs, op: &Op) -> Result<()> {
    match op {
        Op::Create(path, attrs) => fs.create_file(&try_at(fs, path)?, *attrs),
        Op::Mkdir(path, attrs) => fs.create_dir(&try_at(fs, path)?, *attrs),
        Op::Symlink(path, target, attrs) => fs.create_symlink(&try_at(fs, path)?, target.as_bytes(), *attrs),
        Op::Link(from, to) => fs.hard_link(&try_at(fs, from)?, &try_at(fs, to)?),
        Op::Put(path, bytes) => fs.put(&try_at(fs, path)?, &Content::bytes(bytes.clone())),
        Op::Append(path, bytes) => fs.append(&try_at(fs, path)?, &Content::bytes(bytes.clone())),
        Op::Truncate(path, size) => fs.truncate(&try_at(fs, path)?, *size),
        Op::Remove(path) => fs.remove(&try_at(fs, path)?),
        Op::Rename(from, to) => fs.rename(&try_at(fs, from)?, &try_at(fs, to)?),
        Op::Attrs(path, attrs) => {
            let at = try_at(fs, path)?;
            let link = fs.lookup(&at)?.is_some_and(|found| found.file_type == FileType::Symlink);
            let mode = (!link).then_some(attrs.mode);
            fs.set_attrs(&at, SetAttrs { mode, uid: Some(attrs.uid), gid: Some(attrs.gid), mtime: None })
        }
        Op::SetXattr(path, name, value) => {
            fs.set_xattr(&try_at(fs, path)?, &Xattr { name: name.clone().into(), value: value.clone() })
        }
        Op::RemoveXattr(path, name) => fs.remove_xattr(&try_at(fs, path)?, name.as_bytes()),
    }
}

fn theirs(root: &Path, op: &Op) -> io::Result<()> {
    let host = |path: &String| root.join(&path[1..]);
    let own = |path: PathBuf, attrs: &Attrs| {
        lchown(&path, Some(attrs.uid), Some(attrs.gid))?;
        if path.symlink_metadata()?.is_symlink() {
            return Ok(());
        }
        fs::set_permissions(&path, Permissions::from_mode(attrs.mode.into()))
    };
    let open = |path: &String, options: &mut fs::OpenOptions| -> io::Result<File> {
        options.custom_flags(nix::libc::O_NOFOLLOW).open(host(path))
    };
    match op {
        Op::Create(path, attrs) => {
            File::create_new(host(path))?;
            own(host(path), attrs)
        }
        Op::Mkdir(path, attrs) => {
            fs::create_dir(host(path))?;
            own(host(path), attrs)
        }
        Op::Symlink(path, target, attrs) => {
            symlink(target, host(path))?;
            own(host(path), attrs)
        }
        Op::Link(from, to) => fs::hard_link(host(from), host(to)),
        Op::Put(path, bytes) => open(path, File::options().write(true).truncate(true))?.write_all(bytes),
        Op::Append(path, bytes) => open(path, File::options().append(true))?.write_all(bytes),
        Op::Truncate(path, size) => open(path, File::options().write(true))?.set_len(*size),
        Op::Remove(path) if host(path).symlink_metadata()?.is_dir() => fs::remove_dir(host(path)),
        Op::Remove(path) => fs::remove_file(host(path)),
        Op::Rename(from, to) => fs::rename(host(from), host(to)),
        Op::Attrs(path, attrs) => own(host(path), attrs),
        Op::SetXattr(path, name, value) => {
            Ok(rustix::fs::lsetxattr(host(path), name, value, rustix::fs::XattrFlags::empty())?)
        }
        Op::RemoveXattr(path, name) => Ok(rustix::fs::lremovexattr(host(path), name)?),
    }
}

fn without_times(mut tree: Tree) -> Tree {
    for node in tree.values_mut() {
        node.mtime = (0, 0);
    }
    tree
}

fn differ(seed: u64, arguments: &[&str]) {
    let scratch = Scratch::new();
    let images = [scratch.path("a"), scratch.path("b")];
    for image in &images {
        oracle::mke2fs(image, 48, Before::Garbage, arguments);
    }
    let mut random = Random(seed);
    let mut known = Vec::new();
    for round in 0..6 {
        let context = format!("{arguments:?}, seed {seed}, round {round}");
        let (mine, kernels) = (&images[round % 2], &images[(round + 1) % 2]);
        let mounted = Mounted::new(kernels, "rw");
        let mut fs: Box<dyn GuestFs> =
            Box::new(Ext4::open(Arc::new(FileDevice::open(mine)), Mode::ReadWrite { now: NOW }).unwrap());
        let mut done = 0;
        // Cut and lengthened again, by one after the other: what was cut off must not come back.
        for step in 0..12 {
            let path = format!("/cut{}", step % 3);
            random_cut(&mut *fs, mounted.path(), &path, &mut random);
        }
        for number in 0..600 {
            let op = op(&mut random, &known);
            let (ours, theirs) = (ours(&mut *fs, &op), theirs(mounted.path(), &op));
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{context}, {number}: {op:?}\n{ours:?}\n{theirs:?}");
            done += u32::from(ours.is_ok());
            if let (
                Ok(()),
                Op::Create(path, _)
                | Op::Mkdir(path, _)
                | Op::Symlink(path, ..)
                | Op::Link(_, path)
                | Op::Rename(_, path),
            ) = (ours, op)
            {
                known.push(path);
            }
        }
        assert!(done > 100, "{context}: only {done} operations did anything");
        drop(mounted);
        fs.close().unwrap();
        let mut trees = Vec::new();
        for image in [mine, kernels] {
            oracle::e2fsck(image, &context);
            let theirs = Mounted::new(image, "ro,noload").tree();
            let fs = Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap();
            oracle::assert_same(&oracle::tree(&fs), &theirs, &context);
            trees.push(without_times(theirs));
        }
        oracle::assert_same(&trees[0], &trees[1], &context);
    }
}

fn random_cut(fs: &mut dyn GuestFs, root: &Path, path: &str, random: &mut Random) {
    let create = Op::Create(path.into(), Attrs { mode: 0o600, uid: 0, gid: 0 });
    let _ = (ours(fs, &create), theirs(root, &create));
    let len = random.below(20_000) as usize;
    for op in [
        Op::Append(path.into(), random.bytes(len)),
        Op::Truncate(path.into(), random.below(20_000)),
        Op::Truncate(path.into(), random.below(20_000)),
    ] {
        ours(fs, &op).unwrap();
        theirs(root, &op).unwrap();
    }
}

#[test]
fn the_kernel_does_the_same() {
    if !oracle::have(&["mke2fs", "e2fsck"]) || !oracle::can_mount() {
        return;
    }
    for (seed, arguments) in [
        (1, &["-t", "ext4"][..]),
        (2, &["-t", "ext4", "-b", "1024", "-O", "metadata_csum_seed,orphan_file"]),
        (3, &["-t", "ext4", "-b", "1024", "-I", "128"]),
        (4, &["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "^metadata_csum,uninit_bg"]),
        (5, &["-t", "ext4", "-b", "2048", "-O", "^dir_index,^metadata_csum,^uninit_bg"]),
        (6, &["-t", "ext2", "-b", "1024"]),
        (7, &["-t", "ext3"]),
        (8, &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "4096"]),
        (9, &["-t", "ext4", "-O", "bigalloc", "-C", "65536"]),
    ] {
        differ(seed, arguments);
    }
}
