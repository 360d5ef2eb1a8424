//! The same random operations by this driver and by the kernel, on twin images that change hands after each round.
//!
//! `FUZZ_EXT4=N cargo test --release --test ext4_fuzz` runs N sequences and says what it ran; `FUZZ_EXT4_ONLY=NAME` keeps
//! to one profile, `FUZZ_EXT4_SEED=S` begins with another seed. A failure names the profile and the seed. With
//! `FUZZ_EXT4_APART=1` no image changes hands: what e2fsck finds on the second one is then the kernel's own doing.

#[path = "../oracle/mod.rs"]
mod oracle;

mod apply;
mod operation;
mod profile;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{FileType, GuestFs, Mode, Timestamp};
use operation::{Generator, Op};
use oracle::{FileDevice, Mounted, Tree};
use profile::{PROFILES, Profile, Twin};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
/// Bytes and inodes that stay free: the two sides spend them differently, and only a full filesystem may tell.
const BYTES_FREE: u64 = 3 << 20;
const INODES_FREE: u64 = 40;

/// How long a sequence is.
#[derive(Clone, Copy, Debug)]
struct Length {
    /// Rounds; the images change hands after each.
    rounds: usize,
    /// Operations in a round.
    operations: usize,
    turns: Turns,
}

/// Who has which image in the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turns {
    /// The other one's.
    Change,
    /// The same; the other side is the kernel always.
    Keep,
}

/// Has one sequence run, and returns how many operations of it did something.
fn sequence(profile: &Profile, seed: u64, length: Length) -> u64 {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let images = [directory.path().join("a"), directory.path().join("b")];
    let other_side = if length.turns == Turns::Keep { Twin::Kernel } else { profile.twin };
    let twins = if other_side == Twin::Kernel { 2 } else { 1 };
    images[..twins].iter().for_each(|image| profile.make(image));
    let mut reference = MemFs::builder().dir("/lost+found").mode(0o700).mtime(NOW).build().unwrap();
    let mut generator = Generator::new(seed);
    let mut done = 0;
    for round in 0..length.rounds {
        let context = format!("{}, seed {seed}, round {round}", profile.label());
        let turn = if length.turns == Turns::Keep { 0 } else { round };
        let (mine, other) = (&images[turn % twins], &images[(turn + 1) % twins]);
        let mut twin: Box<dyn Side> = match other_side {
            Twin::Kernel => Box::new(Mounted::new(other, "rw")),
            Twin::Reference => Box::new(reference.clone()),
        };
        done += operations(mine, &mut *twin, &mut generator, length.operations, &context);
        match other_side {
            Twin::Kernel => {
                drop(twin);
                judge_twins(&images, &context);
            }
            Twin::Reference => {
                let tree = twin.tree();
                reference = *twin.into_reference().expect("a MemFs");
                judge_one(mine, &tree, &context);
            }
        }
    }
    let all = (length.rounds * length.operations) as u64;
    assert!(done > all / 10, "{}, seed {seed}: only {done} of {all} operations did anything", profile.label());
    done
}

/// A filesystem beside ours.
trait Side {
    fn apply(&mut self, op: &Op) -> Result<(), String>;
    fn tree(&self) -> Tree;
    fn into_reference(self: Box<Self>) -> Option<Box<MemFs>>;
    /// Leaves out of an operation what the two sides cannot be asked to do alike.
    fn fit(&self, op: &mut Op);
}

impl Side for Mounted {
    fn apply(&mut self, op: &Op) -> Result<(), String> {
        apply::kernels(self.path(), op).map_err(|error| error.to_string())
    }

    fn tree(&self) -> Tree {
        Mounted::tree(self)
    }

    fn into_reference(self: Box<Self>) -> Option<Box<MemFs>> {
        None
    }

    fn fit(&self, _op: &mut Op) {}
}

impl Side for MemFs {
    fn apply(&mut self, op: &Op) -> Result<(), String> {
        apply::ours(self, op).map_err(|error| format!("{error:?}"))
    }

    fn tree(&self) -> Tree {
        oracle::tree(self)
    }

    fn into_reference(self: Box<Self>) -> Option<Box<MemFs>> {
        Some(self)
    }

    /// It knows no blocks: a hole takes memory, and what does not fit into a block fits. Nor does it know of modes in
    /// access lists.
    fn fit(&self, op: &mut Op) {
        match op {
            Op::Truncate(_, size) => *size = (*size).min(1 << 20),
            Op::SetXattr(_, name, value) => {
                value.truncate(40);
                *name = name.replace("system.", "trusted.");
            }
            Op::Symlink(_, target, _) => target.truncate(900),
            _ => {}
        }
    }
}

/// The operations of a round.
fn operations(image: &Path, twin: &mut dyn Side, generator: &mut Generator, count: usize, context: &str) -> u64 {
    let mut fs = write(image);
    let (mut done, mut last) = (0, Vec::new());
    for number in 0..count {
        let features = fs.features();
        let mut op = generator.next();
        if features.free_bytes < BYTES_FREE + 2 * op.needs() || features.free_inodes < INODES_FREE {
            op = generator.smaller();
        }
        allow(&*fs, &mut op);
        twin.fit(&mut op);
        let (ours, theirs) = (apply::ours(&mut *fs, &op), twin.apply(&op));
        last.push(format!("{}: {}", number, op.brief()));
        if ours.is_ok() != theirs.is_ok() {
            let last = last[last.len().saturating_sub(12)..].join("\n");
            panic!("{context}: not the same result:\n{last}\nours   {ours:?}\ntheirs {theirs:?}");
        }
        done += u64::from(ours.is_ok());
        generator.learn(&op, ours.is_ok());
    }
    fs.close().unwrap();
    done
}

/// Attributes of users are for files and directories only, by a rule of the kernel above any filesystem.
fn allow(fs: &dyn GuestFs, op: &mut Op) {
    let (Op::SetXattr(path, name, _) | Op::RemoveXattr(path, name)) = op else { return };
    let found = oracle::try_at(fs, &*path).and_then(|at| fs.lookup(&at));
    let file_type = found.ok().flatten().map(|file| file.file_type);
    let holds = matches!(file_type, Some(FileType::Regular | FileType::Directory));
    if let (false, Some(rest)) = (holds, name.strip_prefix("user.")) {
        *name = format!("trusted.{rest}");
    }
    // A value in an inode of its own: the kernel gives one to a short link, which e2fsck then takes for damaged.
    if let (Op::SetXattr(_, _, value), Some(FileType::Symlink)) = (op, file_type) {
        value.truncate(300);
    }
}

fn write(image: &Path) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap())
}

fn read(image: &Path) -> Ext4 {
    Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap()
}

/// Both images are clean, and the same to the kernel and to us, in every file, attribute, time and hole.
fn judge_twins(images: &[PathBuf], context: &str) {
    let mut seen = Vec::new();
    for image in images {
        oracle::e2fsck(image, &format!("{context}: {}", image.file_name().unwrap().display()));
        let mounted = Mounted::new(image, "ro,noload");
        let tree = mounted.tree();
        oracle::assert_same(&oracle::tree(&read(image)), &tree, context);
        seen.push((plain_times(tree), maps(mounted.path())));
    }
    oracle::assert_same(&seen[0].0, &seen[1].0, context);
    for (path, map) in &seen[0].1 {
        assert_eq!(Some(map), seen[1].1.get(path), "{context}: holes of {}", path.display());
    }
}

/// The image is clean, and holds what the reference holds.
fn judge_one(image: &Path, reference: &Tree, context: &str) {
    oracle::e2fsck(image, context);
    let (ours, reference) = (oracle::tree(&read(image)), reference.clone());
    let (ours, reference) = (plain_times(ours), plain_times(reference));
    oracle::assert_same(&ours, &reference, context);
}

/// The times of operations, which were ours or the kernel's, as one; those that were set stay.
fn plain_times(mut tree: Tree) -> Tree {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    for node in tree.values_mut() {
        let at = node.mtime.0;
        if at == NOW.seconds || (clock - 3600..=clock + 1).contains(&at) || at == 1 && node.mtime.1 == 0 {
            node.mtime = (i64::MAX, 0);
        }
    }
    tree
}

/// Where each regular file has data, as the kernel tells.
fn maps(root: &Path) -> BTreeMap<PathBuf, Vec<(u64, u64)>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(at) = pending.pop() {
        let file_type = at.symlink_metadata().unwrap().file_type();
        if file_type.is_dir() {
            pending.extend(std::fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
        } else if file_type.is_file() {
            found.insert(at.strip_prefix(root).unwrap().to_path_buf(), map(&File::open(&at).unwrap()));
        }
    }
    found
}

fn map(file: &File) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        at = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start)).unwrap();
        ranges.push((start, at));
    }
    ranges
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_kernel_does_the_same() {
    if !oracle::have(&["mke2fs", "e2fsck"]) || !oracle::can_mount() {
        return;
    }
    let only: Option<String> = variable("FUZZ_EXT4_ONLY");
    let chosen: Vec<&Profile> =
        PROFILES.iter().filter(|profile| only.as_ref().is_none_or(|only| *only == profile.label())).collect();
    assert!(!chosen.is_empty(), "no profile of this name");
    let long: Option<u64> = variable("FUZZ_EXT4");
    let turns = if std::env::var_os("FUZZ_EXT4_APART").is_some() { Turns::Keep } else { Turns::Change };
    let length = match long {
        Some(_) => Length { rounds: 4, operations: 800, turns },
        None => Length { rounds: 2, operations: 150, turns },
    };
    let total = long.unwrap_or(chosen.len() as u64);
    let first: u64 = variable("FUZZ_EXT4_SEED").unwrap_or(1);
    let (next, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    // Of each profile the sequences, the operations and the failures.
    let tallies: Vec<[AtomicU64; 3]> = chosen.iter().map(|_| Default::default()).collect();
    let say = |text: String| drop(writeln!(std::io::stderr(), "{text}"));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        break;
                    }
                    let profile = chosen[number as usize % chosen.len()];
                    let seed = first + number;
                    let [sequences, operated, lost] = &tallies[number as usize % chosen.len()];
                    sequences.fetch_add(1, Ordering::Relaxed);
                    match catch_unwind(AssertUnwindSafe(|| sequence(profile, seed, length))) {
                        Ok(operations) => {
                            done.fetch_add(operations, Ordering::Relaxed);
                            operated.fetch_add(operations, Ordering::Relaxed);
                        }
                        Err(payload) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            lost.fetch_add(1, Ordering::Relaxed);
                            say(payload.downcast_ref::<String>().cloned().unwrap_or_default());
                            say(format!(
                                "FAILED: FUZZ_EXT4=1 FUZZ_EXT4_ONLY='{}' FUZZ_EXT4_SEED={seed}",
                                profile.label()
                            ));
                        }
                    }
                    if long.is_some() && number % 50 == 49 {
                        say(format!("{} sequences, {} operations", number + 1, done.load(Ordering::Relaxed)));
                    }
                }
            });
        }
    });
    for (profile, tally) in chosen.iter().zip(tallies) {
        let [sequences, operations, failures] = tally.map(AtomicU64::into_inner);
        say(format!("{}: {sequences} sequences, {operations} operations, {failures} failures", profile.label()));
    }
    let (done, failed) = (done.into_inner(), failed.into_inner());
    say(format!("{total} sequences on {} filesystems, {done} operations, {failed} failures", chosen.len()));
    assert_eq!(failed, 0, "sequences failed; each is named above");
}
