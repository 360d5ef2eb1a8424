//! qcow2 against QEMU: every version, cluster size and refcount width, in every shape an image can have.

mod qemu;

use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::image::qcow2::Qcow2;
use imgraft_vfs::image::{self, Format, ImageFormat};
use imgraft_vfs::transaction::{Access, CommitPlan, Transaction};
use qemu::{Rng, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The shapes of images in the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    /// By deflate or by Zstandard.
    Compressed(&'static str),
    Preallocated(&'static str),
    Snapshots,
    Zeros,
    OddSize,
    LazyRefcounts,
    Bitmaps,
}

/// One image of the matrix.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: Shape,
    compat: &'static str,
    cluster: u64,
    refcount_bits: u32,
    l2: L2,
}

/// The entries of L2 tables: 8 bytes, or 16 with a bitmap of subclusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum L2 {
    Standard,
    Extended,
}

impl Case {
    /// Every cluster size, with version 2 (whose refcounts are 16 bits wide) and version 3 with every tested width.
    fn all(shape: Shape) -> Vec<Self> {
        let mut all = Vec::new();
        for cluster in [512, 4 << 10, 64 << 10, 2 << 20] {
            // QEMU makes disks in units of 512 bytes.
            if shape == Shape::OddSize && cluster == 512 {
                continue;
            }
            if !matches!(shape, Shape::LazyRefcounts | Shape::Compressed("zstd") | Shape::Bitmaps) {
                all.push(Self { shape, compat: "0.10", cluster, refcount_bits: 16, l2: L2::Standard });
            }
            // QEMU makes no snapshot where a refcount cannot be 2.
            let widths: &[u32] = if shape == Shape::Snapshots { &[8, 16, 64] } else { &[1, 8, 16, 64] };
            let standard = |&refcount_bits| Self { shape, compat: "1.1", cluster, refcount_bits, l2: L2::Standard };
            all.extend(widths.iter().map(standard));
        }
        // A subcluster is a sector at least.
        for (cluster, refcount_bits) in [(16 << 10, 16), (64 << 10, 64), (2 << 20, 16)] {
            all.push(Self { shape, compat: "1.1", cluster, refcount_bits, l2: L2::Extended });
        }
        all
    }

    fn size(self) -> u64 {
        let size: u64 = match self.cluster {
            512 => 1 << 20,
            4096 | 16384 => 4 << 20,
            65536 => 6 << 20,
            _ => 18 << 20,
        };
        if self.shape == Shape::OddSize { size - self.cluster / 2 - 512 } else { size }
    }

    fn seed(self) -> u64 {
        let shape = format!("{:?}", self.shape).bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(byte));
        shape
            ^ (self.cluster << 8)
            ^ u64::from(self.refcount_bits)
            ^ u64::from(self.compat == "1.1") << 40
            ^ u64::from(self.l2 == L2::Extended) << 41
    }

    fn options(self) -> String {
        let mut options = format!("compat={},cluster_size={}", self.compat, self.cluster);
        if self.compat == "1.1" {
            options += &format!(",refcount_bits={}", self.refcount_bits);
        }
        if self.l2 == L2::Extended {
            options += ",extended_l2=on";
        }
        match self.shape {
            Shape::Compressed("zstd") => options += ",compression_type=zstd",
            Shape::Preallocated(how) => options += &format!(",preallocation={how}"),
            Shape::LazyRefcounts => options += ",lazy_refcounts=on",
            _ => {}
        }
        options
    }

    /// Makes the image, and gives the names of its snapshots.
    fn build(self, path: &Path, rng: &mut Rng) -> Vec<&'static str> {
        let size = self.size();
        if let Shape::Compressed(_) = self.shape {
            let raw = path.with_extension("source");
            fs::write(&raw, compressible(size, rng)).unwrap();
            qemu::img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &self.options(), text(&raw), text(path)]);
            return Vec::new();
        }
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &self.options(), text(path), &size.to_string()]);
        self.fill(path, rng);
        match self.shape {
            Shape::Bitmaps => {
                qemu::img(&["bitmap", "--add", text(path), "daily"]);
                qemu::img(&["bitmap", "--add", "-g", "512", text(path), "fine"]);
                self.fill(path, rng);
                qemu::img(&["bitmap", "--add", "--disable", text(path), "idle"]);
                Vec::new()
            }
            Shape::Snapshots => {
                for name in ["one", "two"] {
                    qemu::img(&["snapshot", "-c", name, text(path)]);
                    self.fill(path, rng);
                }
                vec!["one", "two"]
            }
            Shape::Zeros => {
                let (at, len) = (size / 8, size / 4);
                let mut commands = vec![format!("write -z {at} {len}"), format!("discard {} {len}", size / 2)];
                if self.compat == "1.1" {
                    commands.push(format!("write -z -u {} {}", size - len, len));
                }
                qemu::io(path, &commands);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Lets QEMU write random data to random places.
    fn fill(self, path: &Path, rng: &mut Rng) {
        let random = path.with_extension("random");
        let mut bytes = vec![0; 64 << 10];
        rng.fill(&mut bytes);
        fs::write(&random, bytes).unwrap();
        let commands: Vec<String> = (0..8)
            .map(|_| {
                let (at, len) = place(self.size() / 512, 400, rng);
                format!("write -s {} {} {}", text(&random), at * 512, len * 512)
            })
            .collect();
        qemu::io(path, &commands);
    }
}

/// Random bytes, runs of one byte and zeros in turn.
fn compressible(size: u64, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + 1 + rng.below(100_000) as usize).min(bytes.len());
        match rng.below(3) {
            0 => rng.fill(&mut bytes[at..end]),
            1 => bytes[at..end].fill(rng.next() as u8),
            _ => {}
        }
        at = end;
    }
    bytes
}

/// A random place in `size` units, of at most `longest` units.
fn place(size: u64, longest: u64, rng: &mut Rng) -> (u64, u64) {
    let at = rng.below(size);
    (at, 1 + rng.below(longest.min(size - at)))
}

fn open(txn: &Transaction) -> Arc<dyn ImageFormat> {
    image::open(txn.overlay(), Some(Format::Qcow2)).unwrap()
}

fn read_all(disk: &dyn BlockDevice, piece: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; disk.size() as usize];
    for (index, chunk) in bytes.chunks_mut(piece).enumerate() {
        disk.read_at(chunk, (index * piece) as u64).unwrap();
    }
    bytes
}

fn assert_same(left: &[u8], right: &[u8], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}: sizes");
    // Fast where tests are not optimised; the search is for the message.
    if left == right {
        return;
    }
    if let Some(at) = left.iter().zip(right).position(|(a, b)| a != b) {
        panic!("{what}: byte {at} is {:#04x}, not {:#04x}", left[at], right[at]);
    }
}

/// Writes to random places through the driver, keeps `model` in step, and commits.
fn write_some(path: &Path, model: &mut [u8], cluster: u64, rng: &mut Rng, what: &str) {
    let mut before = fs::read(path).unwrap();
    let txn = qemu::begin(path, Access::Write);
    let disk = open(&txn);
    for step in 0..40 {
        let size = model.len() as u64;
        let (at, len) = match step % 4 {
            // Small and unaligned; a few clusters; whole clusters; the very end.
            0 => place(size, 3000, rng),
            1 => place(size, 3 * cluster, rng),
            2 => {
                let at = rng.below(size.div_ceil(cluster)) * cluster;
                (at, cluster.min(size - at))
            }
            _ => (size - 1 - rng.below(100), 1),
        };
        let range = at as usize..(at + len) as usize;
        if step % 5 == 4 {
            model[range.clone()].fill(0);
        } else {
            rng.fill(&mut model[range.clone()]);
        }
        disk.write_at(&model[range], at).unwrap();
        let (at, len) = place(size, 2 * cluster, rng);
        let mut seen = vec![0; len as usize];
        disk.read_at(&mut seen, at).unwrap();
        assert_same(&seen, &model[at as usize..(at + len) as usize], &format!("{what}: read in step {step}"));
    }
    let plan = disk.finish().unwrap();
    let CommitPlan::Switch { freed, .. } = &plan else { panic!("{what}: not the plan of a qcow2 image") };
    for range in freed {
        // What nothing uses any more is given back, and nothing else is touched.
        let end = (range.end as usize).min(before.len());
        before[range.start as usize..end].fill(0);
    }
    // What will be there after the commit can be read before it, by whoever opens it anew.
    assert_same(&read_all(&*open(&txn), 1 << 20), model, &format!("{what}: before the commit"));
    txn.commit(plan).unwrap();
    // It holds the lock as long as it lives.
    drop(disk);
    let after = fs::read(path).unwrap();
    assert_same(&after[512..before.len()], &before[512..], &format!("{what}: below the old end"));
    qemu::check(path, what);
    assert_same(&qemu::content(path), model, what);
}

fn run(case: Case) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("disk.qcow2");
    let mut rng = Rng::new(case.seed());
    let snapshots = case.build(&path, &mut rng);
    let what = format!("{case:?}");
    qemu::check(&path, &format!("{what}: as QEMU made it"));
    let mut model = qemu::content(&path);
    let kept: Vec<_> = snapshots.iter().map(|name| qemu::snapshot(&path, name)).collect();

    let txn = qemu::begin(&path, Access::Read);
    let disk = open(&txn);
    assert_eq!(disk.size(), case.size(), "{what}");
    assert_same(&read_all(&*disk, 1000 + rng.below(200_000) as usize), &model, &format!("{what}: first read"));
    drop(disk);
    drop(txn);

    for round in ["first", "second"] {
        write_some(&path, &mut model, case.cluster, &mut rng, &format!("{what}: {round} write"));
        for (name, kept) in snapshots.iter().zip(&kept) {
            assert_same(
                &qemu::snapshot(&path, name),
                kept,
                &format!("{what}: snapshot {name} after the {round} write"),
            );
        }
    }

    // QEMU goes on with what we left, and we with what QEMU left.
    case.fill(&path, &mut rng);
    if let Some(name) = snapshots.first() {
        qemu::img(&["snapshot", "-d", name, text(&path)]);
    }
    qemu::check(&path, &format!("{what}: after QEMU wrote again"));
    let mut model = qemu::content(&path);
    write_some(&path, &mut model, case.cluster, &mut rng, &format!("{what}: third write"));
    for (name, kept) in snapshots.iter().zip(&kept).skip(1) {
        assert_same(&qemu::snapshot(&path, name), kept, &format!("{what}: snapshot {name} in the end"));
    }
}

fn matrix(shape: Shape) {
    if qemu::available() {
        Case::all(shape).into_iter().for_each(run);
    }
}

#[test]
fn plain() {
    matrix(Shape::Plain);
}

#[test]
fn compressed() {
    matrix(Shape::Compressed("zlib"));
}

#[test]
fn compressed_by_zstd() {
    matrix(Shape::Compressed("zstd"));
}

#[test]
fn preallocated_metadata() {
    matrix(Shape::Preallocated("metadata"));
}

#[test]
fn preallocated_falloc() {
    matrix(Shape::Preallocated("falloc"));
}

#[test]
fn preallocated_full() {
    matrix(Shape::Preallocated("full"));
}

#[test]
fn snapshots() {
    matrix(Shape::Snapshots);
}

#[test]
fn zeros() {
    matrix(Shape::Zeros);
}

#[test]
fn odd_sizes() {
    matrix(Shape::OddSize);
}

#[test]
fn lazy_refcounts() {
    matrix(Shape::LazyRefcounts);
}

#[test]
fn bitmaps() {
    matrix(Shape::Bitmaps);
}

/// An enabled bitmap knows what was written, to the cluster; one that is not stays as it is.
#[test]
fn bitmaps_know_of_writes() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    for (cluster, options) in [(4096u64, ""), (65536, ""), (16384, ",extended_l2=on"), (65536, ",lazy_refcounts=on")] {
        let size = 8 << 20;
        let options = format!("cluster_size={cluster}{options}");
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), &size.to_string()]);
        for (name, how) in [("coarse", &["-g", "65536"][..]), ("fine", &["-g", "512"]), ("idle", &["--disable"])] {
            qemu::img(&[&["bitmap", "--add"], how, &[text(&path), name]].concat());
        }
        qemu::io(&path, &["write -P 1 2M 70k".to_owned()]);
        let before = ["coarse", "fine", "idle"].map(|name| qemu::dirty(&path, name));
        assert!(!before[0].is_empty() && !before[1].is_empty() && before[2].is_empty());
        let written = [(0u64, 1u64), (3 << 20, 100_000), ((5 << 20) + 4096, 512), (size - 1, 1)];
        for _ in 0..2 {
            let txn = qemu::begin(&path, Access::Write);
            let disk = open(&txn);
            for (at, len) in written {
                disk.write_at(&vec![7; len as usize], at).unwrap();
            }
            // What is zero already is not written.
            disk.write_at(&[0; 5000], 6 << 20).unwrap();
            let plan = disk.finish().unwrap();
            txn.commit(plan).unwrap();
            drop(disk);
            qemu::check(&path, &options);
            for ((name, before), granule) in ["coarse", "fine", "idle"].iter().zip(&before).zip([65536, 512, 65536]) {
                let unit = cluster.max(granule);
                let new =
                    written.iter().map(|(at, len)| (at & !(unit - 1))..(at + len).next_multiple_of(unit).min(size));
                let mut expected = vec![false; (size / 512) as usize];
                let new = new.filter(|_| *name != "idle");
                for range in before.iter().cloned().chain(new) {
                    expected[(range.start / 512) as usize..(range.end / 512) as usize].fill(true);
                }
                let mut seen = vec![false; expected.len()];
                for range in qemu::dirty(&path, name) {
                    seen[(range.start / 512) as usize..(range.end / 512) as usize].fill(true);
                }
                assert!(seen == expected, "{options}: {name}");
            }
        }
        // QEMU goes on with them.
        qemu::io(&path, &["write -P 1 7M 4k".to_owned()]);
        assert!(qemu::dirty(&path, "fine").iter().any(|range| range.contains(&(7 << 20))));
        qemu::img(&["bitmap", "--clear", text(&path), "fine"]);
        qemu::img(&["bitmap", "--remove", text(&path), "coarse"]);
        qemu::check(&path, "after QEMU changed the bitmaps");
    }
}

/// Nothing written is nothing changed, not even by a write of zeros to what is zero.
#[test]
fn no_change_is_no_write() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", text(&path), "64M"]);
    let before = fs::read(&path).unwrap();
    let txn = qemu::begin(&path, Access::Write);
    let disk = open(&txn);
    disk.write_at(&[0; 100_000], 12_345).unwrap();
    disk.write_at(&[], 64 << 20).unwrap();
    let plan = disk.finish().unwrap();
    let counts = txn.commit(plan).unwrap();
    assert_eq!((counts.writes, counts.fsyncs), (0, 0));
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// The cost is that of what is written, not of the image.
#[test]
fn a_huge_image_costs_no_more() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", text(&path), "20T"]);
    let places: Vec<u64> = (0..20).map(|i| i << 40).map(|at| at + 123).collect();
    qemu::io(&path, &places.iter().map(|at| format!("write -P 7 {} 4k", at & !511)).collect::<Vec<_>>());
    let txn = qemu::begin(&path, Access::Write);
    let disk = open(&txn);
    for at in &places {
        disk.write_at(b"here", *at).unwrap();
    }
    let plan = disk.finish().unwrap();
    let counts = txn.commit(plan).unwrap();
    // Per place a cluster and an L2 table of 64 KiB, each read and written; the L1 table is 320 KiB.
    assert!(counts.bytes_read < 5 << 20 && counts.bytes_written < 4 << 20, "{counts:?}");
    drop(disk);
    qemu::check(&path, "20 TiB");
    let txn = qemu::begin(&path, Access::Read);
    let disk = open(&txn);
    for at in &places {
        let mut seen = [0; 6];
        disk.read_at(&mut seen, *at - 1).unwrap();
        assert_eq!(&seen, b"\x07here\x07");
    }
}

/// A disk need not even end at a sector.
#[test]
fn a_disk_of_any_size() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    for cluster in [512, 65536] {
        let options = format!("cluster_size={cluster}");
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), "1M"]);
        qemu::io(&path, &["write -P 9 1044480 4096".to_owned()]);
        let size = (1u64 << 20) - 77;
        let mut bytes = fs::read(&path).unwrap();
        bytes[24..32].copy_from_slice(&size.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        let txn = qemu::begin(&path, Access::Write);
        let disk = open(&txn);
        assert_eq!(disk.size(), size);
        disk.write_at(b"end", size - 3).unwrap();
        disk.write_at(b"!", size).unwrap_err();
        let mut tail = [0; 4];
        disk.read_at(&mut tail, size - 4).unwrap();
        assert_eq!(&tail, b"\x09end");
        let plan = disk.finish().unwrap();
        txn.commit(plan).unwrap();
        drop(disk);
        qemu::check(&path, "odd end");
        // QEMU sees whole sectors only.
        assert!(qemu::content(&path)[1_044_480..].iter().all(|byte| *byte == 9));
    }
}

/// What an interrupted run leaves behind the end of the file is in nobody's way.
#[test]
fn garbage_behind_the_end() {
    if !qemu::available() {
        return;
    }
    for cluster in [512, 65536] {
        let case = Case { shape: Shape::Plain, compat: "1.1", cluster, refcount_bits: 16, l2: L2::Standard };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.qcow2");
        let mut rng = Rng::new(cluster);
        case.build(&path, &mut rng);
        let mut model = qemu::content(&path);
        for _ in 0..2 {
            let mut bytes = fs::read(&path).unwrap();
            let end = bytes.len();
            bytes.resize(end + 300_001, 0);
            rng.fill(&mut bytes[end..]);
            fs::write(&path, bytes).unwrap();
            write_some(&path, &mut model, cluster, &mut rng, "garbage");
        }
    }
}

/// More tables than the caches hold, and a file that outgrows its refcount table.
#[test]
fn many_small_tables_and_a_larger_refcount_table() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", text(&path), "2G"]);
    let txn = qemu::begin(&path, Access::Write);
    let disk = open(&txn);
    // An L2 table maps 32 KiB, so that this takes 20,000 of them; then those that left the cache come back.
    for round in 1..=2u8 {
        for index in 0..20_000u64 {
            disk.write_at(&[round; 700], index * (64 << 10) + u64::from(round) * 300).unwrap();
        }
    }
    let plan = disk.finish().unwrap();
    txn.commit(plan).unwrap();
    drop(disk);
    qemu::check(&path, "small tables");
    let txn = qemu::begin(&path, Access::Read);
    let disk = open(&txn);
    for index in (0..20_000u64).step_by(77) {
        let mut seen = [0; 1100];
        disk.read_at(&mut seen, index * (64 << 10) + 200).unwrap();
        let expected = [&[0; 100][..], &[1; 300], &[2; 700]].concat();
        assert_eq!(seen[..], expected[..]);
    }
    drop(disk);
    drop(txn);
    assert_eq!(
        qemu::img(&["compare", "-f", "qcow2", "-F", "qcow2", text(&path), text(&path)]).trim(),
        "Images are identical."
    );
}

/// The format is detected, and the facts are what QEMU was asked for.
#[test]
fn facts() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    let options = "cluster_size=4096,refcount_bits=8,lazy_refcounts=on";
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", options, text(&path), "10M"]);
    qemu::img(&["snapshot", "-c", "one", text(&path)]);
    let txn = qemu::begin(&path, Access::Read);
    let disk = image::open(txn.overlay(), None).unwrap();
    assert_eq!(disk.format(), Format::Qcow2);
    let facts = disk.facts();
    for (name, value) in [
        ("version", "3"),
        ("cluster-size", "4096"),
        ("refcount-bits", "8"),
        ("virtual-size", "10485760"),
        ("snapshots", "1"),
        ("compression", "zlib"),
        ("features", "lazy refcounts"),
    ] {
        assert!(facts.contains(&(name, value.to_owned())), "{name}: {facts:?}");
    }
    let error = Qcow2::open(txn.overlay()).unwrap().write_at(&[1; 2], (10 << 20) - 1).unwrap_err();
    assert_eq!(error.kind(), imgraft_vfs::ErrorKind::Invalid);
}
