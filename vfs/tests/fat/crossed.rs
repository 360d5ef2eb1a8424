//! Filesystems broken by hand, so that a cluster belongs to two files or is free: they are read, and not written to.

use crate::oracle::{self, Before, FileDevice, Scratch};
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp, open, read_file};
use imgraft_vfs::{Error, ErrorKind, Result};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 0 } };
const ATTRS: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
const PROGRAMS: [&str; 4] = ["mkfs.vfat", "fsck.vfat", "mcopy", "mmd"];

/// The filesystems: bytes, and what mkfs.vfat is told. Clusters have 512 bytes.
const KINDS: [(u64, &[&str]); 3] =
    [(1 << 20, &["-F", "12", "-s", "1"]), (5 << 20, &["-F", "16", "-s", "1"]), (34 << 20, &["-F", "32", "-s", "1"])];

/// What is in them, with the short names.
const FILES: [(&str, &[u8; 11], usize); 5] = [
    ("a.txt", b"A       TXT", 5000),
    ("b.txt", b"B       TXT", 5000),
    ("dir/c.txt", b"C       TXT", 9000),
    ("dir2/d.txt", b"D       TXT", 3000),
    ("empty.txt", b"EMPTY   TXT", 0),
];
const A: &[u8; 11] = FILES[0].1;
const B: &[u8; 11] = FILES[1].1;
const C: &[u8; 11] = FILES[2].1;
const EMPTY: &[u8; 11] = FILES[4].1;
const DIR: &[u8; 11] = b"DIR        ";
const DIR2: &[u8; 11] = b"DIR2       ";

/// Puts files of these sizes onto an image, which mtools do.
fn fill(image: &Path, scratch: &Scratch) {
    let mtools = |program: &str, from: Option<&Path>, to: &str| {
        let mut command = Command::new(program);
        command.arg("-i").arg(image).args(from).arg(format!("::{to}"));
        oracle::run(&mut command)
    };
    for directory in ["dir", "dir2"] {
        mtools("mmd", None, directory);
    }
    for (path, name, size) in FILES {
        let file = scratch.path("content");
        std::fs::write(&file, vec![name[0]; size]).unwrap();
        mtools("mcopy", Some(&file), path);
    }
}

/// A filesystem in memory, its table and its entries by hand.
struct Broken {
    bytes: Vec<u8>,
    bits: usize,
    tables: Vec<usize>,
    data: usize,
    cluster_size: usize,
}

impl Broken {
    fn new(bytes: Vec<u8>) -> Self {
        let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let long = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (sector, reserved) = (word(11), word(14));
        let (len, sectors) = match word(22) {
            0 => (long(36) * sector, long(32)),
            len => (len * sector, if word(19) == 0 { long(32) } else { word(19) }),
        };
        let tables: Vec<usize> = (0..usize::from(bytes[16])).map(|number| reserved * sector + number * len).collect();
        let data = reserved * sector + tables.len() * len + word(17) * 32;
        let cluster_size = sector * usize::from(bytes[13]);
        let bits = match (word(22), (sectors * sector - data) / cluster_size) {
            (0, _) => 32,
            (_, ..4085) => 12,
            _ => 16,
        };
        Self { bytes, bits, tables, data, cluster_size }
    }

    fn link(&self, cluster: usize) -> usize {
        let at = self.tables[0] + cluster * self.bits / 8;
        let value = u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap()) as usize;
        let value = if self.bits == 12 && cluster % 2 == 1 { value >> 4 } else { value };
        value & ((1 << self.bits.min(28)) - 1)
    }

    fn set_link(&mut self, cluster: usize, next: usize) {
        let shift = if self.bits == 12 && cluster % 2 == 1 { 4 } else { 0 };
        let mask = ((1_u64 << self.bits) - 1) << shift;
        for table in &self.tables {
            let at = table + cluster * self.bits / 8;
            let old = u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap());
            let new = old & !mask | (next as u64) << shift & mask;
            self.bytes[at..at + 8].copy_from_slice(&new.to_le_bytes());
        }
    }

    fn chain(&self, name: &[u8; 11]) -> Vec<usize> {
        let next = |cluster: &usize| Some(self.link(*cluster)).filter(|next| *next < (1 << self.bits.min(28)) - 16);
        std::iter::successors(Some(self.begin(name)), next).collect()
    }

    /// Where the entry with this name is.
    fn entry(&self, name: &[u8; 11]) -> usize {
        let mut places = (self.tables[0]..self.bytes.len()).step_by(32);
        places.find(|at| &self.bytes[*at..*at + 11] == name).unwrap()
    }

    fn begin(&self, name: &[u8; 11]) -> usize {
        let at = self.entry(name);
        let half = |at: usize| usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]));
        half(at + 20) << 16 | half(at + 26)
    }

    fn set_begin(&mut self, name: &[u8; 11], cluster: usize) {
        let at = self.entry(name);
        self.bytes[at + 20..at + 22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
        self.bytes[at + 26..at + 28].copy_from_slice(&(cluster as u16).to_le_bytes());
    }

    /// Lets the chain of one lead to a cluster.
    fn cross(&mut self, name: &[u8; 11], to: usize) {
        let last = *self.chain(name).last().unwrap();
        self.set_link(last, to);
    }

    /// Frees the whole chain of one.
    fn lose(&mut self, name: &[u8; 11]) {
        for cluster in self.chain(name) {
            self.set_link(cluster, 0);
        }
    }
}

/// What is wrong, what is said of it, and how it is made.
type Case = (&'static str, &'static str, fn(&mut Broken));

const CASES: [Case; 15] = [
    ("a file's chain runs into a file", "/b.txt: it begins inside of a chain", |fs| fs.cross(A, fs.begin(B))),
    ("one of another directory", "/dir/c.txt: it begins inside of a chain", |fs| fs.cross(B, fs.begin(C))),
    ("into a directory", "/dir2: it begins inside of a chain", |fs| fs.cross(A, fs.begin(DIR2))),
    ("a directory's chain runs into a file", "/b.txt: it begins inside of a chain", |fs| fs.cross(DIR, fs.begin(B))),
    ("into the middle of a file", "two chains of clusters run into one", |fs| fs.cross(A, fs.chain(B)[3])),
    ("a ring", "/a.txt: it begins inside of a chain", |fs| fs.cross(A, fs.begin(A))),
    ("a directory's chain is a ring", "/dir: it begins inside of a chain", |fs| fs.cross(DIR, fs.begin(DIR))),
    ("a free directory", "/dir: it begins with a cluster that is free or bad", |fs| fs.set_link(fs.begin(DIR), 0)),
    ("a free file", "/a.txt: it begins with a cluster that is free or bad", |fs| fs.lose(A)),
    ("two files in two directories", "/dir/c.txt: it begins where another", |fs| fs.set_begin(A, fs.begin(C))),
    ("a file where a directory is", "/empty.txt: it begins where another", |fs| fs.set_begin(EMPTY, fs.begin(DIR2))),
    ("an empty file inside of another", "/empty.txt: it begins inside", |fs| fs.set_begin(EMPTY, fs.chain(B)[1])),
    ("two directories", "/dir2: it begins where another", |fs| fs.set_begin(DIR2, fs.begin(DIR))),
    ("a directory in itself", "/dir/c.txt: it begins where another", |fs| {
        fs.set_begin(C, fs.begin(DIR));
        let at = fs.entry(C);
        fs.bytes[at + 11] |= 0x10;
        fs.bytes[at + 28..at + 32].fill(0);
    }),
    ("beyond the end", "/a.txt: it begins where none can", |fs| {
        let clusters = (fs.bytes.len() - fs.data) / fs.cluster_size;
        fs.set_begin(A, clusters + 2);
    }),
];

fn fsck(image: &Path, how: &str) -> Output {
    let mut command = Command::new("fsck.vfat");
    command.env("PATH", oracle::path_with_sbin()).arg(how).arg(image).stdin(Stdio::null()).output().unwrap()
}

fn opened(image: &Path, mode: Mode) -> Result<Box<dyn GuestFs>> {
    open(Arc::new(FileDevice::open(image)), mode)
}

fn refused(image: &Path, context: &str) -> Error {
    match opened(image, NOW) {
        Ok(_) => panic!("{context}: it is written to"),
        Err(error) => error,
    }
}

/// Makes a file anew and another one longer, and finds all others as they were.
fn change(image: &Path, context: &str) {
    let mut fs = opened(image, NOW).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let [new, longer] = ["/dir/a new one", "/a.txt"].map(|path| oracle::at(&*fs, path));
    fs.create_file(&new, ATTRS).unwrap();
    fs.put(&new, &Content::bytes(vec![b'n'; 2000])).unwrap();
    fs.put(&longer, &Content::bytes(vec![b'l'; 7000])).unwrap();
    fs.close().unwrap();
    oracle::fsck_vfat(image, context);
}

#[test]
fn what_is_crossed_is_not_written_to() {
    if !oracle::have(&PROGRAMS) {
        return;
    }
    for (size, arguments) in KINDS {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mkfs_vfat(&image, size, Before::Zeros, arguments);
        fill(&image, &scratch);
        let good = std::fs::read(&image).unwrap();
        for (name, said, how) in CASES {
            let context = format!("{name}, {arguments:?}");
            let mut broken = Broken::new(good.clone());
            how(&mut broken);
            std::fs::write(&image, &broken.bytes).unwrap();
            assert!(!fsck(&image, "-n").status.success(), "{context}: nothing is wrong");
            let error = refused(&image, &context);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
            assert!(error.to_string().starts_with(said), "{context}: {error}");
            assert!(error.hint().unwrap().contains("fsck.vfat -a"), "{context}");
            // It is looked at.
            let fs = opened(&image, Mode::ReadOnly).unwrap();
            assert_eq!(fs.read_dir(&oracle::at(&*fs, "/")).unwrap().len(), 5, "{context}");
            drop(fs);
            assert!(std::fs::read(&image).unwrap() == broken.bytes, "{context}: it was changed");
            // The way out is one. What it cuts to nothing it looks at the next time.
            let mended = (0..5).any(|_| fsck(&image, "-a").status.success());
            assert!(
                mended && opened(&image, NOW).is_ok(),
                "{context}: {}",
                String::from_utf8_lossy(&fsck(&image, "-n").stdout)
            );
        }
        std::fs::write(&image, &good).unwrap();
        change(&image, &format!("{arguments:?}"));
    }
}

#[test]
fn a_file_that_has_more_or_less_than_its_size_is_written_to() {
    if !oracle::have(&PROGRAMS) {
        return;
    }
    let cases: [fn(&mut Broken); 3] = [
        |fs| {
            let at = fs.entry(A);
            fs.bytes[at + 28..at + 32].fill(0);
        },
        |fs| {
            fs.lose(A);
            fs.set_begin(A, 0);
        },
        |fs| {
            let second = fs.chain(A)[1];
            for cluster in fs.chain(A).split_off(2) {
                fs.set_link(cluster, 0);
            }
            fs.set_link(second, usize::MAX);
        },
    ];
    for (size, arguments) in KINDS {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mkfs_vfat(&image, size, Before::Zeros, arguments);
        fill(&image, &scratch);
        let good = std::fs::read(&image).unwrap();
        for (number, how) in cases.iter().enumerate() {
            let context = format!("{number}, {arguments:?}");
            let mut broken = Broken::new(good.clone());
            how(&mut broken);
            std::fs::write(&image, &broken.bytes).unwrap();
            assert!(!fsck(&image, "-n").status.success(), "{context}: nothing is wrong");
            change(&image, &context);
            let fs = opened(&image, Mode::ReadOnly).unwrap();
            for (path, name, size) in FILES.iter().skip(1) {
                let content = read_file(&*fs, &oracle::at(&*fs, format!("/{path}")), 1 << 20).unwrap();
                assert!(content == vec![name[0]; *size], "{context}: {path}");
            }
        }
    }
}

/// More clusters than fit into 16 MiB of table.
#[test]
fn a_large_table_is_looked_at_whole() {
    if !oracle::have(&PROGRAMS) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    std::fs::File::create(&image).unwrap().set_len(2300 << 20).unwrap();
    let mut command = Command::new("mkfs.vfat");
    oracle::run(command.env("PATH", oracle::path_with_sbin()).args(["-F", "32", "-s", "1"]).arg(&image));
    fill(&image, &scratch);
    // The number of free clusters stays right.
    change(&image, "a large one");

    let bytes = |image: &Path| -> Vec<u8> {
        use std::io::Read;
        let mut bytes = Vec::new();
        std::fs::File::open(image).unwrap().take(40 << 20).read_to_end(&mut bytes).unwrap();
        bytes
    };
    let good = bytes(&image);
    for (said, how) in [
        ("two chains of clusters run into one", (|fs| fs.cross(A, fs.chain(B)[3])) as fn(&mut Broken)),
        ("/b.txt: it begins inside of a chain", |fs| fs.cross(A, fs.begin(B))),
    ] {
        let mut broken = Broken::new(good.clone());
        how(&mut broken);
        write_over(&image, &broken.bytes);
        assert!(refused(&image, said).to_string().starts_with(said));
        assert!(bytes(&image) == broken.bytes, "it was changed");
    }
}

/// Writes the beginning of a file, and leaves what follows.
fn write_over(image: &Path, bytes: &[u8]) {
    use std::io::Write;
    std::fs::File::options().write(true).open(image).unwrap().write_all(bytes).unwrap();
}

#[test]
fn each_directory_is_read_once_before_a_change() {
    if !oracle::have(&PROGRAMS) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mkfs_vfat(&image, 270 << 20, Before::Zeros, &["-F", "32", "-s", "8"]);
    let mut fs = opened(&image, NOW).unwrap();
    for directory in 0..50 {
        let path = oracle::at(&*fs, format!("/directory {directory}"));
        fs.create_dir(&path, ATTRS).unwrap();
        for file in 0..30 {
            let path = oracle::at(&*fs, format!("/directory {directory}/a file {file}"));
            fs.create_file(&path, ATTRS).unwrap();
            fs.put(&path, &Content::bytes(*b"x")).unwrap();
        }
    }
    fs.close().unwrap();
    oracle::fsck_vfat(&image, "many files");
    let reads = |mode| {
        let device = Arc::new(FileDevice::open(&image));
        open(Arc::clone(&device) as Arc<_>, mode).unwrap();
        device.reads.load(Ordering::Relaxed)
    };
    // 51 directories in 52 clusters, and six pieces of the table.
    let (looked, changed) = (reads(Mode::ReadOnly), reads(NOW));
    println!("{looked} reads to look at 1500 files in 51 directories, {changed} to change them");
    assert!((52..60).contains(&(changed - looked)), "{changed}, {looked}");
}
