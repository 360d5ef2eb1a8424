//! Damage byte by byte, in every structure, through the whole corridor: a run fails or does its work, and no more.
//!
//! `IMGRAFT_FLIPS=200000 cargo test --release --test integration flips` runs longer than the default.

use crate::support::{HASH, INTERFACES, KEY, Scratch, oracle, text};
use imgraft::failure::Failure;
use imgraft::guest::{self, Guest};
use imgraft::inject::fitting::LeftOut;
use imgraft::inject::staging::{Show, stage_all};
use imgraft::inject::{
    Compat, Described, FileMode, FileOperation, Files, Injector, Keys, Metadata, Net, Passwords, Request,
    Selector as Password,
};
use imgraft::secret::Secret;
use imgraft_vfs::block::{BlockDevice, MemDevice, SliceDevice};
use imgraft_vfs::fs::{self, Content, Mode, Timestamp};
use imgraft_vfs::image::Format;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::transaction::Overlay;
use imgraft_vfs::verify::verify;
use imgraft_vfs::volume::{self, Selector};
use std::ops::Range;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one run may take; they take milliseconds, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(2);
/// By how much all the runs together may make the process grow, in KiB.
const GROWTH: u64 = 192 << 10;
/// Of how many rounds one is shown to the oracles, at most.
const SAMPLE: usize = 25;

/// Five changes to the guest in `bytes`, as `imgraft inject` makes them, up to the commit.
fn corridor(bytes: Vec<u8>, format: Format) -> Result<Vec<u8>, Failure> {
    let host = Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes))));
    let disk = imgraft_vfs::image::open(Arc::clone(&host), Some(format))?;
    let volume = volume::select(&(Arc::clone(&disk) as Arc<dyn BlockDevice>), &Selector::Auto, &guest::is_root)?;
    let mut fs =
        fs::open(volume.device, Mode::ReadWrite { now: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 } })?;
    let guest = Guest::inspect(&*fs)?;
    let staged = stage_all(&requests()?, &LeftOut::default(), &guest, &*fs, Show::Nothing, &|_| Ok(Vec::new()))?;
    staged.changes.apply(&mut *fs)?;
    fs.close()?;
    disk.finish()?;
    let again = imgraft_vfs::image::open(Arc::clone(&host), Some(format))?;
    verify(Arc::new(SliceDevice::new(again, volume.info.start, volume.info.size)?), &staged.changes)?;
    let mut after = vec![0; usize::try_from(host.size()).expect("a small image")];
    host.read_at(&mut after, 0)?;
    Ok(after)
}

fn requests() -> Result<Vec<Request>, Failure> {
    let compat = Compat::Imgraft;
    let put = |path: &str, content: Vec<u8>| -> Result<FileOperation, Failure> {
        Ok(FileOperation::Put {
            destination: GuestPath::parse(path.as_bytes())?,
            content: Content::bytes(content),
            mode: FileMode::WhereNew(0o644),
        })
    };
    let operations = vec![put("/etc/motd", b"after\n".to_vec())?, put("/srv/a/b/large", vec![7; 50_000])?];
    let injectors: [Box<dyn Injector>; 5] = [
        Box::new(Keys {
            keys: vec![("root".into(), KEY.into()), ("debian".into(), KEY.into())],
            compat,
            now: Timestamp::default(),
        }),
        Box::new(Net { network: Described::Text(INTERFACES.into()), renderer: None, compat }),
        Box::new(Metadata { pairs: vec![("role".into(), "web".into())], compat }),
        Box::new(Passwords {
            users: vec![("root".into(), Password::Hash(Secret::new(HASH.into())))],
            method: None,
            expired: Vec::new(),
            now: Timestamp { seconds: 19_675 * 86_400, nanoseconds: 0 },
            compat,
        }),
        Box::new(Files { operations, compat }),
    ];
    Ok(injectors.map(|injector| Request { injector, required: true }).into())
}

/// A guest of 4 MiB in two groups, with these features.
fn guest_image(scratch: &Scratch, features: &str) -> Vec<u8> {
    let tree = scratch.path().join("tree");
    let shadow = "root:*:19675:0:99999:7:::\ndebian:!:19675:0:99999:7:::\n";
    for (name, content) in [
        ("etc/os-release", "ID=debian\nVERSION_ID=12\n"),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\ndebian:x:1000:1000::/home/debian:/bin/sh\n"),
        ("etc/shadow", shadow),
        ("etc/group", "root:x:0:\ndebian:x:1000:\n"),
        ("etc/network/interfaces", "auto lo\n"),
        ("etc/motd", "before\n"),
        ("usr/sbin/ifup", "#!/bin/sh\n"),
        ("root/.profile", ""),
        ("home/debian/.profile", ""),
        ("srv/.keep", ""),
    ] {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        std::fs::write(path, content).expect("it can be written");
    }
    let image = scratch.file("guest.raw", vec![0; 4 << 20]);
    let words = [
        "-q", "-F", "-t", "ext4", "-b", "1024", "-g", "2048", "-N", "256", "-I", "256", "-J", "size=1", "-O", features,
    ];
    oracle::succeed("mke2fs", &[&words[..], &["-d", text(&tree), text(&image)]].concat());
    std::fs::read(image).expect("it is there")
}

fn le32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Where the structures of [`guest_image`] lie: superblock, descriptors, bitmaps, inodes in use, directories, journal.
fn ext4_metadata(bytes: &[u8]) -> Vec<usize> {
    let mut ranges: Vec<Range<usize>> = vec![1024..2048, 2048..2048 + 128];
    for group in 0..2 {
        let [block_bitmap, inode_bitmap, table] = [0, 4, 8].map(|field| le32(bytes, 2048 + 64 * group + field) * 1024);
        ranges.extend([block_bitmap..block_bitmap + 300, inode_bitmap..inode_bitmap + 40]);
        for at in (table..table + 128 * 256).step_by(256).filter(|at| bytes[at + 1] != 0) {
            ranges.push(at..at + 160);
            let extent = le32(bytes, at + 0x28 + 20) * 1024;
            let is_journal = at == table + 7 * 256 && group == 0;
            if bytes[at + 1] & 0xf0 == 0x40 || is_journal {
                ranges.push(extent..extent + 1024);
            }
        }
    }
    // Zeros inside a block of zeros say little: of sixteen in a row, one is enough.
    let telling =
        |at: &usize| at.is_multiple_of(16) || bytes[at.saturating_sub(8)..*at + 8].iter().any(|byte| *byte != 0);
    ranges.into_iter().flatten().filter(|at| *at < bytes.len()).filter(telling).collect()
}

/// Where a qcow2 image has anything that is not guest data, if its clusters are of 4 KiB and the data are compressed or not.
fn qcow2_metadata(bytes: &[u8]) -> Vec<usize> {
    let be64 = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
    let offset = |at: usize| be64(at) & 0x00ff_ffff_ffff_fe00;
    let (l1, refcounts) = (be64(40), be64(48));
    let mut ranges = vec![0..120, l1..l1 + 64, refcounts..refcounts + 64];
    ranges.push(offset(refcounts)..offset(refcounts) + 1024);
    for entry in (l1..l1 + 64).step_by(8).map(offset).filter(|l2| *l2 != 0) {
        ranges.push(entry..entry + 4096);
    }
    ranges.into_iter().flatten().filter(|at| *at < bytes.len() && (at.is_multiple_of(16) || bytes[*at] != 0)).collect()
}

/// Numbers that are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn damage(bytes: &mut [u8], at: usize, numbers: &mut Numbers) {
    let end = (at + 4).min(bytes.len());
    match numbers.next() % 8 {
        0..=3 => bytes[at] ^= 1 << (numbers.next() % 8),
        4 => bytes[at] = numbers.next() as u8,
        5 => bytes[at..end].fill(0xff),
        6 => bytes[at..end].fill(0),
        _ => bytes[at] = bytes[at].wrapping_add(1),
    }
}

/// Damages `sound` in `count` ways, one after the other; `is_clean` is the verdict of an oracle on an image.
fn sweep(name: &str, sound: &[u8], format: Format, places: &[usize], count: usize, is_clean: &dyn Fn(&[u8]) -> bool) {
    let result = corridor(sound.to_vec(), format).unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
    assert!(is_clean(sound) && is_clean(&result), "{name}: not even the sound image");
    let before = peak();
    let mut numbers = Numbers(places.len() as u64);
    let (mut done, mut samples) = (0, 0);
    for round in 0..count {
        // A stride that visits every structure, and in the next turn other bytes of it.
        let at = places[(round * places.len() / count + round / places.len()) % places.len()];
        let mut bytes = sound.to_vec();
        damage(&mut bytes, at, &mut numbers);
        if round % 7 == 0 {
            let second = places[(numbers.next() % places.len() as u64) as usize];
            damage(&mut bytes, second, &mut numbers);
        }
        let started = Instant::now();
        let outcome = catch_unwind(|| corridor(bytes.clone(), format));
        let took = started.elapsed();
        let outcome = outcome.unwrap_or_else(|_| panic!("{name}: round {round}, byte {at}: a panic"));
        assert!(took < PATIENCE, "{name}: round {round}, byte {at}: took {took:?}");
        let Ok(after) = outcome else { continue };
        done += 1;
        // Sampled evenly over the places; only what was clean can become worse.
        if samples * SAMPLE < round && is_clean(&bytes) {
            samples += 1;
            assert!(is_clean(&after), "{name}: round {round}, byte {at}: clean before, and not after");
        }
    }
    assert!(done > 0 && done < count, "{name}: {done} of {count} runs did their work");
    assert!(samples > 0, "{name}: no run left anything to show to an oracle");
    let grown = peak().saturating_sub(before);
    assert!(grown < GROWTH, "{name}: {grown} KiB more than before");
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

fn count(usual: usize) -> usize {
    std::env::var("IMGRAFT_FLIPS").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

/// Whether e2fsck finds nothing, by the superblock that we use and no copy of it.
fn e2fsck(path: &Path) -> bool {
    oracle::tool("e2fsck", &["-fn", "-b", "1", "-B", "1024", text(path)]).status.success()
}

#[test]
fn flips_in_ext4() {
    if !["mke2fs", "e2fsck"].into_iter().all(oracle::have) {
        return;
    }
    let scratch = Scratch::new();
    let is_clean = |bytes: &[u8]| e2fsck(&scratch.file("checked.raw", bytes));
    for (features, usual) in [("64bit,^metadata_csum,^uninit_bg", 1500), ("64bit,metadata_csum", 500)] {
        let sound = guest_image(&scratch, features);
        sweep(features, &sound, Format::Raw, &ext4_metadata(&sound), count(usual), &is_clean);
    }
}

#[test]
fn flips_in_qcow2() {
    if !["mke2fs", "e2fsck", "qemu-img"].into_iter().all(oracle::have) {
        return;
    }
    let scratch = Scratch::new();
    guest_image(&scratch, "64bit");
    let raw = scratch.path().join("guest.raw");
    let converted = scratch.path().join("checked.raw");
    let is_clean = |bytes: &[u8]| {
        let image = scratch.file("checked.qcow2", bytes);
        oracle::tool("qemu-img", &["check", "-q", "-f", "qcow2", text(&image)]).status.success()
            && oracle::tool("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", text(&image), text(&converted)])
                .status
                .success()
            && e2fsck(&converted)
    };
    for (name, options) in [("plain", &[][..]), ("compressed", &["-c"])] {
        let path = scratch.path().join(format!("{name}.qcow2"));
        let words = ["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k"];
        oracle::succeed("qemu-img", &[&words[..], options, &[text(&raw), text(&path)]].concat());
        let sound = std::fs::read(path).expect("it is there");
        sweep(name, &sound, Format::Qcow2, &qcow2_metadata(&sound), count(600), &is_clean);
    }
}
