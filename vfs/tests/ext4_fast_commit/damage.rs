//! Areas that are torn or damaged: what the kernel makes of them, or nothing worse than a refusal.

use super::area::Area;
use super::{OPTIONS, READ_WRITE, can_cut, forgive, kernels, oracle, read, without_times};
use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::MemDevice;
use imgraft_vfs::error::Error;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode};
use oracle::{Before, Mounted, Random, Scratch, try_at};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

fn store(path: &Path, bytes: &[u8]) {
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}

/// An image with fast commits of every kind that the kernel replays without a fault.
fn sound(scratch: &Scratch, features: &str) -> (Vec<u8>, Area) {
    let image = scratch.path("sound");
    oracle::mke2fs(&image, 16, Before::Zeros, &["-t", "ext4", "-b", "1024", "-O", &format!("fast_commit,{features}")]);
    let mounted = Mounted::new(&image, OPTIONS);
    let root = mounted.path();
    fs::create_dir(root.join("d0")).unwrap();
    for name in ["zz", "kept", "moved", "d0/in"] {
        fs::write(root.join(name), name.repeat(2000)).unwrap();
    }
    rustix::fs::syncfs(File::open(root).unwrap()).unwrap();
    store(&root.join("kept"), b"more");
    store(&root.join("ab"), &[1; 5000]);
    fs::hard_link(root.join("ab"), root.join("other")).unwrap();
    store(&root.join("ab"), &[2; 3000]);
    fs::remove_file(root.join("zz")).unwrap();
    store(&root.join("kept"), &[3; 3000]);
    fs::rename(root.join("moved"), root.join("ef")).unwrap();
    let kept = File::options().write(true).open(root.join("kept")).unwrap();
    kept.set_len(2500).unwrap();
    kept.sync_all().unwrap();
    let bytes = fs::read(&image).unwrap();
    let area = Area::find(&bytes, &image);
    for kind in [1, 2, 3, 4, 5, 6, 8, 9] {
        assert!(area.counts().contains_key(&kind), "no tag {kind}");
    }
    assert!(area.counts()[&8] > 4, "the commits were not fast ones: {:?}", area.counts());
    (bytes, area)
}

#[test]
fn an_area_that_ends_early_is_to_us_what_it_is_to_the_kernel() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let (bytes, area) = sound(&scratch, "metadata_csum");
    let copy = scratch.path("kernels");
    let (mut taken, mut refused) = (std::collections::BTreeSet::new(), 0);
    for (number, (kind, place)) in area.tags.iter().enumerate() {
        let mut bytes = bytes.clone();
        let what = match number % 4 {
            // Torn here.
            0 => {
                let end = area.blocks.iter().find(|block| **block > place.start).unwrap();
                bytes[place.start..*end].fill(0);
                "zeros"
            }
            1 => {
                bytes[place.start] ^= 0x20;
                "another kind"
            }
            2 => {
                bytes[place.start + 2] ^= 0x40;
                "another length"
            }
            _ => {
                bytes[place.start + 5] ^= 1;
                "another value"
            }
        };
        let context = format!("{what} in tag {number} ({kind})");
        fs::write(&copy, &bytes).unwrap();
        let since = SystemTime::now();
        match (read(&bytes), kernels(&copy)) {
            (Ok(ours), Some(())) => {
                let mut theirs = without_times(Mounted::new(&copy, "ro,noload").tree());
                forgive(&mut theirs, &ours, since);
                oracle::assert_same(&ours, &theirs, &context);
                taken.insert(format!("{ours:?}"));
            }
            (Err(error), None) => {
                let kinds = [ErrorKind::Corrupt, ErrorKind::Unsupported];
                assert!(kinds.contains(&error.kind()), "{context}: {error}");
                refused += 1;
            }
            (ours, theirs) => panic!("{context}: {:?}, and the kernel's is {:?}", ours.err(), theirs.is_some()),
        }
    }
    assert!(taken.len() > 3 && refused > 1, "{} ways, and {refused} were refused", taken.len());
}

fn open(bytes: &[u8]) -> Result<(), Error> {
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(Arc::new(MemDevice::new(bytes.to_vec())), READ_WRITE)?);
    let path = try_at(&*fs, "/new")?;
    fs.create_file(&path, Attrs { mode: 0o640, uid: 12, gid: 34 })?;
    fs.put(&path, &Content::bytes(vec![1; 5000]))?;
    fs.close()
}

/// A tag that is changed, its checksum made right again, and what is said of it.
type Case = (&'static str, u16, fn(&mut [u8]), ErrorKind, &'static str);

fn put(value: &mut [u8], at: usize, number: u32) {
    value[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

#[test]
fn tags_that_cannot_be_are_refused_by_name() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let (sound, area) = sound(&scratch, "metadata_csum");
    open(&sound).unwrap();
    // Offsets are those after the tag's own head; an inode begins after its number.
    let cases: &[Case] = &[
        ("unknown features", 9, |value| put(value, 0, 1), ErrorKind::Unsupported, "unknown features"),
        ("a block outside", 1, |value| put(value, 12, 1 << 30), ErrorKind::Corrupt, "outside the filesystem"),
        ("group descriptors", 1, |value| put(value, 12, 2), ErrorKind::Corrupt, "in use"),
        ("an inode table", 1, |value| put(value, 12, 260), ErrorKind::Corrupt, "in use"),
        ("past the last block", 1, |value| put(value, 4, u32::MAX), ErrorKind::Corrupt, "no file can have"),
        ("blocks of a directory", 1, |value| put(value, 0, 2), ErrorKind::Corrupt, "which is no file"),
        ("inode 0", 6, |value| put(value, 0, 0), ErrorKind::Corrupt, "cannot be a file"),
        ("the journal's inode", 6, |value| put(value, 0, 8), ErrorKind::Corrupt, "cannot be a file"),
        ("an inode too far", 6, |value| put(value, 0, 1 << 20), ErrorKind::Corrupt, "cannot be a file"),
        ("the root", 6, |value| put(value, 0, 2), ErrorKind::Corrupt, "another file's"),
        ("no type", 6, |value| value[4..6].fill(0), ErrorKind::Corrupt, "no type"),
        ("another type", 6, |value| value[5] = 0xa1, ErrorKind::Corrupt, "of another type"),
        ("an impossible size", 6, |value| value[4 + 0x6f] = 0x80, ErrorKind::Corrupt, "impossible size"),
        ("too large", 6, |value| value[4 + 0x6e] = 0x7f, ErrorKind::Unsupported, "larger than"),
        ("no extents", 6, |value| value[4 + 0x22] ^= 8, ErrorKind::Corrupt, "has its content"),
        ("the value of an attribute", 6, |value| value[4 + 0x22] ^= 0x20, ErrorKind::Corrupt, "value of an attribute"),
        ("other attributes", 6, |value| put(value, 4 + 0x68, 900), ErrorKind::Unsupported, "attributes"),
        ("another generation", 6, |value| value[4 + 0x64] ^= 1, ErrorKind::Corrupt, "another file's"),
        ("extra fields too long", 6, |value| value[4 + 0x80] = 0xf0, ErrorKind::Corrupt, "extra fields"),
        ("a name in a file", 3, |value| put(value, 0, 14), ErrorKind::Corrupt, "no directory"),
        ("a name of nothing", 3, |value| put(value, 4, 200), ErrorKind::Corrupt, "not in use"),
        ("the name ..", 3, |value| value[8..].fill(b'.'), ErrorKind::Corrupt, "a name that is none"),
        ("a slash", 3, |value| value[8] = b'/', ErrorKind::Corrupt, "a name that is none"),
        ("a name that is taken", 3, |value| value[8..].copy_from_slice(b"d0"), ErrorKind::Corrupt, "another file has"),
        ("a directory's second name", 4, |value| put(value, 4, 12), ErrorKind::Corrupt, "directory that has one"),
        (
            "a directory that is full",
            5,
            |value| {
                put(value, 4, 12);
                value[8..].copy_from_slice(b"d0");
            },
            ErrorKind::Corrupt,
            "not empty",
        ),
    ];
    for (context, kind, change, expected, text) in cases {
        let (_, place) = area.tags.iter().find(|(found, _)| found == kind).unwrap();
        let mut bytes = sound.clone();
        change(&mut bytes[place.start + 4..place.end]);
        area.seal(&mut bytes);
        let error = open(&bytes).expect_err(context);
        assert_eq!(error.kind(), *expected, "{context}: {error}");
        assert!(error.to_string().contains(text), "{context}: {error}");
        let reading = Ext4::open(Arc::new(MemDevice::new(bytes)), Mode::ReadOnly);
        assert_eq!(reading.err().map(|error| error.to_string()), Some(error.to_string()), "{context}");
    }
}

/// The kernel passes over a name that leads elsewhere by now.
#[test]
fn a_name_that_leads_elsewhere_stays() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let (mut bytes, area) = sound(&scratch, "metadata_csum");
    let before = read(&bytes).unwrap();
    let (_, place) = area.tags.iter().find(|(kind, _)| *kind == 5).unwrap();
    // `zz` is not the name of `kept`.
    put(&mut bytes[place.start + 4..place.end], 4, 14);
    area.seal(&mut bytes);
    let mut after = read(&bytes).unwrap();
    assert!(after.remove(&b"/zz"[..]).is_some());
    oracle::assert_same(&after, &before, "the others");
    open(&bytes).unwrap();
}

#[test]
fn damage_in_the_area_only_makes_a_run_fail() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let mut failed = 0;
    for features in ["metadata_csum", "^metadata_csum", "inline_data"] {
        let (sound, area) = sound(&scratch, features);
        open(&sound).unwrap_or_else(|error| panic!("{features}: {error}"));
        let mut random = Random(5);
        for _ in 0..80 {
            let mut bytes = sound.clone();
            for _ in 0..=random.below(3) {
                let (_, place) = &area.tags[random.below(area.tags.len() as u64) as usize];
                let len = (place.len() - 4).min([8, 20, 300][random.below(3) as usize]);
                let at = place.start + 4 + random.below(len as u64) as usize;
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.next() as u8,
                    2 => bytes[at & !3..][..4].fill(0xff),
                    // One tag in the place of another.
                    _ => {
                        let same = |(other, from): &&(u16, std::ops::Range<usize>)| {
                            *other < 8 && from.len() == place.len() && from.start != place.start
                        };
                        if let Some((_, from)) = area.tags.iter().find(same) {
                            bytes.copy_within(from.clone(), place.start);
                        }
                    }
                }
            }
            area.seal(&mut bytes);
            let _ = read(&bytes);
            failed += u32::from(open(&bytes).is_err());
        }
    }
    assert!(failed > 60, "damage was noticed only {failed} times");
}
