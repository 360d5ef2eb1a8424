//! Logs that go round, that end early or that are damaged: what the kernel makes of them, or nothing worse than a
//! refusal.

mod oracle;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::MemDevice;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, Cut, FileDevice, Mounted, Random, Scratch, Tree, try_at};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
const READ_WRITE: Mode = Mode::ReadWrite { now: NOW };
const ATTRS: Attrs = Attrs { mode: 0o640, uid: 12, gid: 34 };
const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

fn can_cut() -> bool {
    oracle::have(&["mke2fs", "e2fsck", "debugfs", "python3"]) && oracle::can_mount()
}

fn sync(at: &Path) {
    rustix::fs::syncfs(File::open(at).unwrap()).unwrap();
}

/// Rounds of new files and deleted ones, each a transaction or two.
fn rounds(root: &Path, which: Range<u32>) {
    for round in which {
        let directory = root.join(format!("d{}", round % 3));
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        fs::create_dir(&directory).unwrap();
        for number in 0..12 {
            fs::write(directory.join(format!("{number}-{}", "n".repeat(200))), vec![round as u8; 2500]).unwrap();
        }
        fs::write(root.join(format!("f{round}")), [round as u8; 3000]).unwrap();
        sync(root);
    }
}

/// Where the blocks of the journal lie in an image, in bytes.
fn journal_blocks(image: &Path, block_size: usize) -> Vec<usize> {
    let text = oracle::run(Command::new("debugfs").args(["-R", "blocks <8>"]).arg(image));
    let blocks: Vec<usize> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let first = blocks.iter().position(|block| has_magic(&fs::read(image).unwrap(), block * block_size)).unwrap();
    blocks[first..].iter().map(|block| block * block_size).collect()
}

fn has_magic(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 4) == Some(&MAGIC)
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The records of a log from its start on: where each is in the journal, what it is and its transaction.
fn records(bytes: &[u8], blocks: &[usize]) -> Vec<(usize, u32, u32)> {
    (1..blocks.len())
        .filter(|at| has_magic(bytes, blocks[*at]))
        .map(|at| (at, be32(bytes, blocks[at] + 4), be32(bytes, blocks[at] + 8)))
        .collect()
}

fn read(bytes: &[u8]) -> imgraft_vfs::Result<Tree> {
    oracle::try_tree(&Ext4::open(Arc::new(MemDevice::new(bytes.to_vec())), Mode::ReadOnly)?, u64::MAX)
}

/// What the kernel makes of a copy; `None` where it does not mount it.
fn kernels(bytes: &[u8], scratch: &Scratch) -> Option<Tree> {
    let copy = scratch.path("kernels");
    fs::write(&copy, bytes).unwrap();
    let at = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&copy).arg(at.path()).output().unwrap();
    if !mounted.status.success() {
        return None;
    }
    oracle::run(Command::new("umount").arg(at.path()));
    Some(Mounted::new(&copy, "ro").tree())
}

#[test]
fn a_log_that_goes_round_and_numbers_that_do() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let arguments = ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum", "-J", "size=1"];
    // The number of the first transaction: it passes 0 at once, or the log passes its end after many.
    for first in [0xffff_fffc_u32, 7] {
        oracle::mke2fs(&image, 24, Before::Garbage, &arguments);
        let journal = journal_blocks(&image, 1024);
        let mut bytes = fs::read(&image).unwrap();
        bytes[journal[0] + 0x18..][..4].copy_from_slice(&first.to_be_bytes());
        fs::write(&image, &bytes).unwrap();
        let mounted = Mounted::new(&image, "rw");
        let mut done = 0;
        let bytes = loop {
            assert!(done < 100, "it never went round");
            rounds(mounted.path(), done..done + 5);
            done += 5;
            // After a sync the image is what a crash would leave.
            let bytes = fs::read(&image).unwrap();
            let (start, sequence) = (be32(&bytes, journal[0] + 0x1c), be32(&bytes, journal[0] + 0x18));
            let live = |number: u32| number.wrapping_sub(sequence) < 1000;
            let went_round = |(at, _, number): (usize, u32, u32)| match first {
                7 => live(number) && at < start as usize,
                _ => live(number) && number < sequence,
            };
            if records(&bytes, &journal).into_iter().any(went_round) {
                break bytes;
            }
        };
        drop(mounted);
        let context = format!("from transaction {first}, {done} rounds");
        oracle::assert_same(&read(&bytes).unwrap(), &kernels(&bytes, &scratch).unwrap(), &context);
    }
}

#[test]
fn a_log_that_ends_early_or_is_damaged_is_to_us_what_it_is_to_the_kernel() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for (features, options) in [
        ("metadata_csum", "rw,data=journal"),
        ("^metadata_csum", "rw"),
        ("^metadata_csum", "rw,data=writeback,journal_async_commit"),
    ] {
        oracle::mke2fs(&image, 16, Before::Zeros, &["-t", "ext4", "-b", "1024", "-O", features, "-J", "size=1"]);
        let mounted = Mounted::new(&image, options);
        rounds(mounted.path(), 0..4);
        oracle::cut(mounted.path(), Cut::AtOnce);
        drop(mounted);
        let bytes = fs::read(&image).unwrap();
        let journal = journal_blocks(&image, 1024);
        let records = records(&bytes, &journal);
        let (mut taken, mut refused) = (0, 0);
        let mut ends = BTreeMap::new();
        for (number, (at, kind, sequence)) in records.iter().enumerate() {
            let place = journal[*at];
            let mut damage: Vec<(&str, usize, u8)> = match number % 3 {
                0 => vec![("no mark", place, 0xff)],
                1 => vec![("another transaction", place + 11, 0x40)],
                _ => vec![("another kind", place + 7, 0x10)],
            };
            match kind {
                // Without checksums a wrong tag is replayed, and what comes of that is nobody's to predict.
                1 if !features.starts_with('^') => {
                    damage.extend([("a wrong tag", place + 14, 0x01), ("a wrong flag", place + 12 + 7, 0x02)]);
                    damage.push(("a wrong copy", journal[at + 1] + 500, 0x20));
                }
                // A checksum of a whole transaction has the copies in it.
                1 if options.contains("async") => damage.push(("a wrong copy", journal[at + 1] + 500, 0x20)),
                // By decades, whatever the time is.
                2 => damage.push(("an earlier time", place + 0x30 + 4, 0x40)),
                _ => {}
            }
            for (what, offset, bits) in &damage {
                let mut bytes = bytes.clone();
                bytes[*offset] ^= bits;
                let context = format!("{features} {options}: {what} in block {at} ({kind}, transaction {sequence})");
                match (read(&bytes), kernels(&bytes, &scratch)) {
                    (Ok(ours), Some(theirs)) => {
                        oracle::assert_same(&ours, &theirs, &context);
                        ends.insert(ours.len(), ());
                        taken += 1;
                    }
                    (Err(error), None) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
                        refused += 1;
                    }
                    (ours, theirs) => panic!("{context}: {:?}, and theirs is {:?}", ours.err(), theirs.is_some()),
                }
            }
        }
        assert!(taken > 3 && ends.len() > 2, "{features} {options}: {taken} taken in {} ways", ends.len());
        assert!(refused > 0 || options == "rw", "{features} {options}: none refused");
    }
}

/// Opens, reads and changes what damage has left; only errors may come of it.
fn live_with(bytes: &[u8]) -> bool {
    let read = Ext4::open(Arc::new(MemDevice::new(bytes.to_vec())), Mode::ReadOnly)
        .and_then(|fs| oracle::try_tree(&fs, 1 << 16));
    let change = || -> imgraft_vfs::Result<()> {
        let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(Arc::new(MemDevice::new(bytes.to_vec())), READ_WRITE)?);
        let path = try_at(&*fs, "/new")?;
        fs.create_file(&path, ATTRS)?;
        fs.put(&path, &Content::bytes(vec![1; 5000]))?;
        fs.close()
    };
    read.is_ok() & change().is_ok()
}

#[test]
fn damage_in_the_journal_only_makes_a_run_fail() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for features in
        ["^metadata_csum,^64bit,^orphan_file", "^metadata_csum,64bit,orphan_file", "metadata_csum,orphan_file"]
    {
        oracle::mke2fs(
            &image,
            6,
            Before::Zeros,
            &["-t", "ext4", "-b", "1024", "-O", features, "-J", "size=1", "-N", "256"],
        );
        let mounted = Mounted::new(&image, "rw");
        rounds(mounted.path(), 0..4);
        let mut open = File::create(mounted.path().join("gone")).unwrap();
        open.write_all(&[1; 5000]).unwrap();
        fs::remove_file(mounted.path().join("gone")).unwrap();
        sync(mounted.path());
        oracle::cut(mounted.path(), Cut::AtOnce);
        drop(open);
        drop(mounted);
        let sound = fs::read(&image).unwrap();
        assert!(live_with(&sound), "{features}");
        let journal = journal_blocks(&image, 1024);
        let mut places = vec![0];
        places.extend(records(&sound, &journal).into_iter().map(|(at, ..)| at));
        let mut random = Random(23);
        let mut failed = 0;
        // How much of the log is alive depends on when the kernel wrote what: where it is little, more is tried.
        for tried in 0..600 {
            if tried >= 150 && failed > 20 {
                break;
            }
            let mut bytes = sound.clone();
            for _ in 0..=random.below(2) {
                let block = journal[places[random.below(places.len() as u64) as usize]];
                let reach = [0x24, 0x60, 1024][random.below(3) as usize];
                let at = block + random.below(reach) as usize;
                match random.below(5) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.next() as u8,
                    2 => bytes[at & !3..][..4].fill(0xff),
                    3 => bytes[at & !3..][..4].fill(0),
                    // One record in the place of another.
                    _ => {
                        let from = journal[places[random.below(places.len() as u64) as usize]];
                        bytes.copy_within(from..from + 1024, block);
                    }
                }
            }
            failed += u32::from(!live_with(&bytes));
        }
        assert!(failed > 20, "{features}: damage was noticed only {failed} times");
    }
}

#[test]
fn an_area_for_fast_commits_may_have_none() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 48, Before::Zeros, &["-t", "ext4", "-O", "fast_commit"]);
    let mounted = Mounted::new(&image, "rw");
    rounds(mounted.path(), 0..3);
    oracle::cut(mounted.path(), Cut::AtOnce);
    drop(mounted);
    for mode in [Mode::ReadOnly, READ_WRITE] {
        let fs = Ext4::open(Arc::new(FileDevice::open(&image)), mode).unwrap();
        assert!(fs.features().recovered.is_some_and(|recovered| recovered.transactions > 2));
        (Box::new(fs) as Box<dyn GuestFs>).close().unwrap();
    }
    oracle::e2fsck(&image, "nothing in the area");
}
