//! Filesystems that were cut off with fast commits in the journal: replayed by this driver, against the filesystem as it
//! was when the power went, the kernel's replay and e2fsck.
//!
//! What was there is the measure always, and the kernel where it mounts the image and e2fsck finds nothing in what it has
//! replayed: Linux 6.18 miscounts the links of directories, and does not mount what has a file that was open and had no
//! name left.

#[path = "../oracle/mod.rs"]
mod oracle;

mod area;
mod damage;
mod work;

use area::Area;
use imgraft_vfs::block::MemDevice;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, Tree, at};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use work::{Steps, Worker};

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
const READ_WRITE: Mode = Mode::ReadWrite { now: NOW };

fn can_cut() -> bool {
    oracle::have(&["mke2fs", "e2fsck", "debugfs"]) && oracle::can_mount()
}

/// The power goes: an image as it is on the disk, and what was in it.
struct Cut {
    bytes: Vec<u8>,
    tree: Tree,
}

/// A tree without what no fast commit has: the times of directories.
fn without_times(mut tree: Tree) -> Tree {
    for node in tree.values_mut().filter(|node| node.kind == 'd') {
        node.mtime = (0, 0);
    }
    tree
}

fn read(bytes: &[u8]) -> imgraft_vfs::Result<Tree> {
    let fs = Ext4::open(Arc::new(MemDevice::new(bytes.to_vec())), Mode::ReadOnly)?;
    Ok(without_times(oracle::try_tree(&fs, u64::MAX)?))
}

/// How the others did.
#[derive(Debug, Default)]
struct Tally {
    cuts: u32,
    /// Content has moved out of an inode.
    refused: u32,
    tags: BTreeMap<u16, u32>,
    kernel_refused: u32,
    kernel_unclean: u32,
    kernel_same: u32,
    kernel_forgiven: u32,
    kernel_lost: u32,
    checker_same: u32,
    checker_differs: u32,
}

/// What e2fsck has to say of an image; that a tree of extents could be shorter it does not: the kernel leaves such.
fn complaints(image: &Path) -> Option<String> {
    let mut command = Command::new("e2fsck");
    command.env("PATH", oracle::path_with_sbin()).args(["-fn", "-E", "no_optimize_extents"]).arg(image);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let clean = output.status.success() && !text.contains("IGNORED") && !text.contains("no\n");
    if clean { None } else { Some(text) }
}

fn is_clean(image: &Path) -> bool {
    complaints(image).is_none()
}

/// Has the kernel replay an image; `None` where it does not mount it.
fn kernels(image: &Path) -> Option<()> {
    let at = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let mount =
            Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(at.path()).output().unwrap();
        if mount.status.success() {
            oracle::run(Command::new("umount").arg(at.path()));
            return Some(());
        }
        let said = String::from_utf8_lossy(&mount.stderr);
        if !said.contains("loop device") {
            return None;
        }
        // Somebody else took the loop device first.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("no loop device");
}

/// Takes two faults of the kernel's replay (Linux 6.18) out of what it leaves, and gives how often they were there: a new file
/// has the attributes of the file that had its inode before; and it is cut where that was an orphan, at its end, so that its time
/// is that of the replay, which was done `since` then.
fn forgive(theirs: &mut Tree, right: &Tree, since: SystemTime) -> usize {
    // The clock of filesystems is not as fine.
    let since = since.duration_since(UNIX_EPOCH).unwrap() - Duration::from_millis(20);
    let mut forgiven = 0;
    for (path, node) in theirs {
        let Some(right) = right.get(path).filter(|right| *right != node) else { continue };
        if right.xattrs.is_empty() && !node.xattrs.is_empty() {
            node.xattrs.clear();
            forgiven += 1;
        }
        let changed = Duration::new(node.mtime.0 as u64, node.mtime.1);
        if node.kind == '-' && node.mtime != right.mtime && changed >= since {
            node.mtime = right.mtime;
            forgiven += 1;
        }
    }
    forgiven
}

/// Takes a fault of the kernel (Linux 6.18) out of what was there, and gives how often it was there: a file that has moved out of
/// its inode loses what was written into it and synced, when a fast commit follows. Such a file has, wherever it is replayed,
/// the content that the kernel's own replay finds.
fn forget_lost(right: &mut Tree, seen: &Tree, bytes: &[u8], scratch: &Scratch) -> u32 {
    let but_for_content = |one: &oracle::Node, other: &oracle::Node| {
        let mut one = one.clone();
        one.content.clone_from(&other.content);
        one == *other
    };
    let differing: Vec<_> = right
        .iter()
        .filter(|(path, node)| seen.get(*path).is_some_and(|seen| seen != *node && but_for_content(node, seen)))
        .map(|(path, _)| path.clone())
        .collect();
    if differing.is_empty() {
        return 0;
    }
    let image = scratch.path("lost");
    fs::write(&image, bytes).unwrap();
    if kernels(&image).is_none() {
        return 0;
    }
    let replayed = Mounted::new(&image, "ro,noload").tree();
    let mut lost = 0;
    for path in differing {
        let (Some(node), Some(theirs)) = (right.get_mut(&path), replayed.get(&path)) else { continue };
        node.content.clone_from(&theirs.content);
        lost += 1;
    }
    lost
}

/// Replays a cut in each way, and compares.
fn judge(cut: &mut Cut, scratch: &Scratch, tally: &mut Tally, context: &str) {
    let [ours, theirs, checkers] = ["ours", "theirs", "checkers"].map(|name| scratch.path(name));
    for copy in [&ours, &theirs, &checkers] {
        fs::write(copy, &cut.bytes).unwrap();
    }
    tally.cuts += 1;
    for (kind, count) in Area::find(&cut.bytes, &ours).counts() {
        *tally.tags.entry(kind).or_default() += count;
    }
    if let Err(error) = read(&cut.bytes)
        && context.contains("inline_data")
        && error.to_string().contains("out of it")
    {
        tally.refused += 1;
        assert!(Ext4::open(Arc::new(FileDevice::open(&ours)), READ_WRITE).is_err(), "{context}");
        return;
    }
    let seen = read(&cut.bytes).unwrap_or_else(|error| panic!("{context}: read: {error}"));
    if context.contains("inline_data") {
        tally.kernel_lost += forget_lost(&mut cut.tree, &seen, &cut.bytes, scratch);
    }
    oracle::assert_same(&seen, &cut.tree, &format!("{context}: read, and as it was"));

    let fs = Ext4::open(Arc::new(FileDevice::open(&ours)), READ_WRITE);
    let fs: Box<dyn GuestFs> = Box::new(fs.unwrap_or_else(|error| panic!("{context}: {error}")));
    assert!(fs.features().recovered.is_some(), "{context}");
    fs.close().unwrap();
    assert_eq!(complaints(&ours), None, "{context}");
    let written = without_times(Mounted::new(&ours, "ro,noload").tree());
    oracle::assert_same(&written, &cut.tree, &format!("{context}: written, and as it was"));
    change(&ours);
    assert_eq!(complaints(&ours), None, "{context}: changed");

    let since = SystemTime::now();
    match kernels(&theirs) {
        None => tally.kernel_refused += 1,
        Some(()) if !is_clean(&theirs) => tally.kernel_unclean += 1,
        Some(()) => {
            let mut tree = without_times(Mounted::new(&theirs, "ro,noload").tree());
            match forgive(&mut tree, &cut.tree, since) {
                0 => tally.kernel_same += 1,
                _ => tally.kernel_forgiven += 1,
            }
            oracle::assert_same(&written, &tree, &format!("{context}: as the kernel"));
        }
    }
    let status = Command::new("e2fsck").arg("-fy").arg(&checkers).output().unwrap();
    if status.status.code().is_some_and(|code| code < 4)
        && is_clean(&checkers)
        && without_times(Mounted::new(&checkers, "ro,noload").tree()) == written
    {
        tally.checker_same += 1;
    } else {
        tally.checker_differs += 1;
    }
}

/// The edit that follows a recovery.
fn change(image: &Path) {
    let device = Arc::new(FileDevice::open(image));
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, READ_WRITE).unwrap());
    assert!(fs.features().recovered.is_none(), "nothing is left to recover");
    let path = at(&*fs, "/new");
    fs.create_file(&path, Attrs { mode: 0o640, uid: 12, gid: 34 }).unwrap();
    fs.put(&path, &Content::bytes(vec![3; 30_000])).unwrap();
    fs.close().unwrap();
}

/// An area that is larger than what is done in it.
const AREA: &str = "size=4,fast_commit_size=1024";

/// No transaction is committed by the clock.
const OPTIONS: &str = "rw,noatime,commit=600";

const PROFILES: &[&[&str]] = &[
    &["-b", "4096"],
    &["-b", "1024", "-O", "^64bit,^orphan_file"],
    &["-b", "1024", "-O", "orphan_file"],
    &["-b", "2048", "-O", "^metadata_csum,uninit_bg", "-I", "128"],
    &["-b", "4096", "-O", "inline_data", "-I", "256"],
    &["-b", "1024", "-O", "inline_data,^metadata_csum"],
    &["-b", "4096", "-O", "bigalloc", "-C", "16384"],
    &["-b", "1024", "-O", "^flex_bg,^metadata_csum", "-g", "2048"],
];

fn debugfs(image: &Path, command: &str) {
    oracle::run(Command::new("debugfs").args(["-w", "-R", command]).arg(image));
}

/// The kernel may know no quotas: they are hidden from it while it makes fast commits.
#[test]
fn usage_is_counted() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let quota = ["-O", "fast_commit,quota,project,^metadata_csum", "-E", "quotatype=usrquota:grpquota:prjquota"];
    oracle::mke2fs(&image, 24, Before::Zeros, &[&["-t", "ext4", "-I", "256", "-J", AREA], &quota[..]].concat());
    debugfs(&image, "feature -quota -project");
    let mounted = Mounted::new(&image, OPTIONS);
    Worker::new(mounted.path(), Steps::All, Random(9)).base();
    drop(mounted);
    debugfs(&image, "feature quota project");
    let status = Command::new("e2fsck").arg("-fy").arg(&image).output().unwrap();
    assert!(status.status.code().is_some_and(|code| code < 4), "{status:?}");
    oracle::e2fsck(&image, "before");
    debugfs(&image, "feature -quota -project");
    let mounted = Mounted::new(&image, OPTIONS);
    let mut worker = Worker::new(mounted.path(), Steps::All, Random(4));
    worker.tick();
    rustix::fs::syncfs(fs::File::open(mounted.path()).unwrap()).unwrap();
    worker.tick();
    // Whole transactions would not be counted.
    for kind in [1, 91, 22, 70, 50, 61, 93, 78, 5, 57, 91, 24, 80, 2, 71, 92, 88, 88, 88, 97, 98] {
        worker.act(kind);
        worker.tick();
    }
    let copy = scratch.path("copy");
    fs::copy(&image, &copy).unwrap();
    let tree = without_times(mounted.tree());
    drop(mounted);
    let bytes = fs::read(&copy).unwrap();
    assert!(Area::find(&bytes, &copy).counts()[&8] > 20, "not every commit was a fast one");
    // In the copy of the superblock in the log as well.
    let mut told = bytes;
    for at in (0..told.len() - 1024).step_by(1024) {
        if told[at + 0x38..at + 0x3a] == [0x53, 0xef] && told[at + 0x18] < 3 {
            told[at + 0x65] |= 0x1;
            told[at + 0x65] |= 0x20;
        }
    }
    fs::write(&copy, &told).unwrap();
    let device = Arc::new(FileDevice::open(&copy));
    let fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, READ_WRITE).unwrap());
    assert!(fs.features().feature_names.iter().any(|name| name == "quota"));
    oracle::assert_same(&without_times(oracle::tree(&*fs)), &tree, "as it was");
    fs.close().unwrap();
    oracle::e2fsck(&copy, "usage");
}

/// The kernel and e2fsck look for the end of the area behind it, and so does nobody replay one that is full.
#[test]
fn an_area_that_is_full_is_refused_as_by_the_kernel() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 24, Before::Zeros, &["-t", "ext4", "-b", "4096", "-O", "fast_commit"]);
    let mounted = Mounted::new(&image, OPTIONS);
    let mut worker = Worker::new(mounted.path(), Steps::All, Random(1));
    worker.base();
    let refused = (0..40).any(|_| {
        worker.tick();
        let bytes = fs::read(&image).unwrap();
        fs::write(scratch.path("copy"), &bytes).unwrap();
        let area = Area::find(&bytes, &scratch.path("copy"));
        let full = area.tags.last().is_some_and(|(_, place)| *area.blocks.last().unwrap() < place.start);
        let error = read(&bytes).err();
        assert_eq!(error.is_some(), full);
        if let Some(error) = error {
            assert_eq!(error.kind(), imgraft_vfs::ErrorKind::Unsupported);
            assert!(error.to_string().contains("fast_commit") && error.hint().is_some(), "{error}");
            assert_eq!(kernels(&scratch.path("copy")), None);
        }
        full
    });
    assert!(refused, "the area was never full");
}

/// A filesystem in which a new file has got the number of an orphan that was closed, by a fast commit; `None` where it has not.
fn succeeded(image: &Path, orphans: &str, closed: usize) -> Option<Cut> {
    let features = format!("fast_commit,{orphans}");
    oracle::mke2fs(image, 24, Before::Garbage, &["-t", "ext4", "-O", &features, "-J", AREA]);
    let mounted = Mounted::new(image, OPTIONS);
    let mut worker = Worker::new(mounted.path(), Steps::All, Random(7));
    worker.base();
    let names: Vec<_> = (2..6).map(|number| mounted.path().join(format!("d{}/f{number}", number % 3))).collect();
    let mut open: Vec<_> = names.iter().map(|name| fs::File::open(name).unwrap()).collect();
    for name in &names {
        fs::remove_file(name).unwrap();
    }
    rustix::fs::syncfs(fs::File::open(mounted.path()).unwrap()).unwrap();
    worker.tick();
    let number = open[closed].metadata().unwrap().ino();
    drop(open.remove(closed));
    let new = mounted.path().join("d0/new");
    fs::write(&new, [5; 9000]).unwrap();
    let has_it = fs::metadata(&new).unwrap().ino() == number;
    fs::File::open(&new).unwrap().sync_all().unwrap();
    let bytes = fs::read(image).unwrap();
    let tags = Area::find(&bytes, image).counts();
    let is_fast = tags.get(&3) == Some(&1) && !tags.contains_key(&5);
    (has_it && is_fast).then(|| Cut { bytes, tree: without_times(mounted.tree()) })
}

/// The last whole transaction lists files that were open and had no name; one of them is closed, which no tag says, and a new file
/// gets its number. The others are still to be deleted.
#[test]
fn an_orphan_can_have_a_successor() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let mut tally = Tally::default();
    for orphans in ["^orphan_file", "orphan_file", "orphan_file,^metadata_csum"] {
        for closed in 0..4 {
            let context = format!("{orphans}, the file number {closed}");
            // Whoever syncs all of this machine meanwhile holds the file, or has a whole transaction made.
            let cut = (0..20).find_map(|_| succeeded(&image, orphans, closed));
            let mut cut = cut.unwrap_or_else(|| panic!("{context}: no new file in its place by a fast commit"));
            judge(&mut cut, &scratch, &mut tally, &context);
        }
    }
    assert!(tally.kernel_forgiven > 0, "{tally:?}");
}

#[test]
fn fast_commits_come_to_what_was_there() {
    if !can_cut() {
        return;
    }
    let rounds = std::env::var("FUZZ_FAST_COMMIT").ok().and_then(|value| value.parse().ok()).unwrap_or(2_u64);
    let first = std::env::var("FUZZ_FAST_COMMIT_SEED").ok().and_then(|value| value.parse().ok()).unwrap_or(1_u64);
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let mut tally = Tally::default();
    for seed in first..first + rounds {
        for (number, profile) in PROFILES.iter().enumerate() {
            let arguments = [&["-t", "ext4", "-O", "fast_commit", "-J", AREA], *profile].concat();
            oracle::mke2fs(&image, 24, Before::Garbage, &arguments);
            let mounted = Mounted::new(&image, OPTIONS);
            // In every other round, only what the kernel replays without a fault.
            let steps = if (seed + number as u64).is_multiple_of(2) { Steps::Files } else { Steps::All };
            let mut worker = Worker::new(mounted.path(), steps, Random(seed * 100 + number as u64));
            worker.base();
            worker.fill_holes();
            for part in 0..2 {
                for _ in 0..3 + worker.random.below(20) {
                    worker.step();
                }
                let mut cut = Cut { bytes: fs::read(&image).unwrap(), tree: without_times(mounted.tree()) };
                let context = format!("seed {seed} {profile:?} part {part}: {}", worker.log());
                judge(&mut cut, &scratch, &mut tally, &context);
            }
        }
    }
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{tally:?}");
    for kind in 1..=6 {
        assert!(tally.tags.get(&kind).is_some_and(|count| *count > 3), "no tag {kind}: {tally:?}");
    }
    assert!(tally.kernel_same > 3 && tally.checker_same > 0, "{tally:?}");
    assert!(tally.refused < tally.cuts / 4 && tally.kernel_lost <= tally.cuts / 20, "{tally:?}");
}
