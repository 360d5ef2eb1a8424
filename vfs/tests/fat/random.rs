//! Random operations on FAT and on a tree in memory: the same tree in the end, to us, to mtools and to a kernel.

use crate::oracle::{self, Before, FileDevice, Random, Scratch};
use crate::uml::{self, Machine};
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{Attrs, Content, FileType, GuestFs, Mode, Timestamp, open};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 0 } };
const ATTRS: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
/// How many operations a sequence has, and how many times it is closed and opened meanwhile.
const OPERATIONS: usize = 150;
const ROUNDS: usize = 3;

/// What a kernel needs to mount FAT with names beyond ASCII.
const MODULES: [&str; 5] = ["fs/nls/nls_cp437", "fs/nls/nls_iso8859-1", "fs/nls/nls_utf8", "fs/fat/fat", "fs/fat/vfat"];

/// The filesystems: MiB, and what mkfs.vfat is told.
const KINDS: [(u64, &[&str]); 12] = [
    (1, &["-F", "12", "-s", "1"]),
    (2, &["-F", "12", "-s", "2", "-r", "64"]),
    (8, &["-F", "12", "-s", "8", "-f", "1"]),
    (16, &["-F", "12", "-s", "128"]),
    (4, &["-F", "16", "-s", "1"]),
    (20, &["-F", "16", "-s", "4"]),
    (24, &["-F", "16", "-s", "2", "-S", "1024"]),
    (34, &["-F", "32", "-s", "1"]),
    (36, &["-F", "32", "-s", "1", "-f", "1"]),
    (68, &["-F", "32", "-s", "2"]),
    (270, &["-F", "32", "-s", "8"]),
    (270, &["-F", "32", "-S", "4096", "-s", "1"]),
];

/// Names of which no two are the same to FAT: short ones, long ones, with blanks and dots, beyond ASCII.
fn names() -> Vec<String> {
    let mut names: Vec<String> =
        ["A", "b.txt", "CONFIG.TXT", "cmdline.txt", "user-data", "Größe", "a b.c.d", ".hidden", "ЖУК"]
            .map(str::to_owned)
            .into();
    names.extend((0..6).map(|number| format!("a longer name with a number {number}.text")));
    names.extend((0..3).map(|number| format!("{number}{}", "x".repeat(250))));
    names.extend(["+,;=[]", "LONG~1", "x.y.z", "日本語の名前"].map(str::to_owned));
    names
}

fn try_at(fs: &dyn GuestFs, path: &str) -> Result<Resolved> {
    oracle::try_at(fs, path)
}

fn at(fs: &dyn GuestFs, path: &str) -> Resolved {
    oracle::at(fs, path)
}

#[derive(Clone, Debug)]
enum Operation {
    File(String),
    Dir(String),
    Put(String, Vec<u8>),
    Append(String, Vec<u8>),
    Truncate(String, u64),
    Remove(String),
    Rename(String, String),
}

impl Operation {
    fn random(random: &mut Random, names: &[String], paths: &[String]) -> Self {
        let some = |random: &mut Random, all: &[String]| all[random.below(all.len() as u64) as usize].clone();
        let new = |random: &mut Random| {
            let mut parent = some(random, paths);
            // Not too deep, and sometimes below a file.
            while parent.matches('/').count() > 4 {
                parent = some(random, paths);
            }
            format!("{}/{}", parent.trim_end_matches('/'), some(random, names))
        };
        let size = [0, 1, 500, 512, 513, 4096, 20_000, 70_000][random.below(8) as usize];
        match random.below(16) {
            0..4 => Self::File(new(random)),
            4..6 => Self::Dir(new(random)),
            6..9 => Self::Put(some(random, paths), random.bytes(size)),
            9 => Self::Append(some(random, paths), random.bytes(size / 2)),
            10 => Self::Truncate(some(random, paths), size as u64),
            11..13 => Self::Remove(some(random, paths)),
            _ => Self::Rename(some(random, paths), new(random)),
        }
    }

    fn apply(&self, fs: &mut dyn GuestFs) -> Result<()> {
        match self {
            Self::File(path) => fs.create_file(&try_at(fs, path)?, ATTRS),
            Self::Dir(path) => fs.create_dir(&try_at(fs, path)?, ATTRS),
            Self::Put(path, bytes) => fs.put(&try_at(fs, path)?, &Content::bytes(&bytes[..])),
            Self::Append(path, bytes) => fs.append(&try_at(fs, path)?, &Content::bytes(&bytes[..])),
            Self::Truncate(path, size) => fs.truncate(&try_at(fs, path)?, *size),
            Self::Remove(path) => fs.remove(&try_at(fs, path)?),
            Self::Rename(from, to) => fs.rename(&try_at(fs, from)?, &try_at(fs, to)?),
        }
    }
}

/// Every path, and the content of files.
type Seen = BTreeMap<String, Option<Vec<u8>>>;

fn seen(fs: &dyn GuestFs) -> Seen {
    let mut seen = Seen::from([("/".to_owned(), None)]);
    let mut waiting = vec!["/".to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs.read_dir(&at(fs, &path)).unwrap() {
            let name = String::from_utf8(entry.name).unwrap();
            let child = format!("{}/{name}", path.trim_end_matches('/'));
            if entry.file_type == FileType::Directory {
                waiting.push(child.clone());
                seen.insert(child, None);
            } else {
                let bytes = imgraft_vfs::fs::read_file(fs, &at(fs, &child), 1 << 24).unwrap();
                seen.insert(child, Some(bytes));
            }
        }
    }
    seen
}

/// The same of a directory of the host.
pub fn of_host(directory: &Path) -> Seen {
    let mut seen = Seen::from([("/".to_owned(), None)]);
    let mut waiting = vec![(directory.to_path_buf(), String::new())];
    while let Some((host, path)) = waiting.pop() {
        for entry in std::fs::read_dir(host).unwrap() {
            let entry = entry.unwrap();
            let child = format!("{path}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                waiting.push((entry.path(), child.clone()));
                seen.insert(child, None);
            } else {
                seen.insert(child, Some(std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    seen
}

#[track_caller]
pub fn assert_same(ours: &Seen, theirs: &Seen, context: &str) {
    for path in ours.keys().chain(theirs.keys()) {
        assert!(ours.get(path) == theirs.get(path), "{context}: {path}");
    }
}

/// What mcopy copies out.
fn mtools(image: &Path, scratch: &Scratch) -> Seen {
    let to = scratch.path("extracted");
    std::fs::create_dir(&to).unwrap();
    let mut command = Command::new("mcopy");
    oracle::run(command.env("LC_ALL", "C.UTF-8").args(["-s", "-n", "-i"]).arg(image).arg("::/").arg(&to));
    let seen = of_host(&to);
    std::fs::remove_dir_all(&to).unwrap();
    seen
}

/// A sequence; gives how many operations were done, the image, and what is in it.
fn sequence(seed: u64, scratch: &Scratch) -> (usize, PathBuf, Seen) {
    let (mebibytes, arguments) = KINDS[(seed % KINDS.len() as u64) as usize];
    let context = format!("seed {seed}, {arguments:?}");
    let image = scratch.path("image");
    oracle::mkfs_vfat(&image, mebibytes << 20, Before::Garbage, arguments);
    let mut random = Random(seed);
    let names = names();
    let mut model = MemFs::new();
    let mut done = 0;
    'rounds: for _ in 0..ROUNDS {
        let mut fs = open(Arc::new(FileDevice::open(&image)), NOW).unwrap();
        for _ in 0..OPERATIONS / ROUNDS {
            let paths: Vec<String> = seen(&model).into_keys().collect();
            let operation = Operation::random(&mut random, &names, &paths);
            let mut next = model.clone();
            if operation.apply(&mut next).is_err() {
                continue;
            }
            match operation.apply(&mut *fs) {
                Ok(()) => (model, done) = (next, done + 1),
                // There is no transaction below: what is left is not to be used.
                Err(error) if error.kind() == ErrorKind::NoSpace => {
                    oracle::mkfs_vfat(&image, mebibytes << 20, Before::Garbage, arguments);
                    model = MemFs::new();
                    continue 'rounds;
                }
                Err(error) => panic!("{context}: {operation:?}: {error:?}"),
            }
        }
        fs.close().unwrap();
        oracle::fsck_vfat(&image, &context);
        let fs = open(Arc::new(FileDevice::open(&image)), Mode::ReadOnly).unwrap();
        assert_same(&seen(&*fs), &seen(&model), &context);
    }
    assert_same(&mtools(&image, scratch), &seen(&model), &format!("{context}, mtools"));
    (done, image, seen(&model))
}

#[test]
fn sequences() {
    if !oracle::have(&["mkfs.vfat", "fsck.vfat", "mcopy"]) {
        return;
    }
    let asked = std::env::var("FUZZ_FAT").ok().map(|count| count.parse::<u64>().expect("FUZZ_FAT is a number"));
    let (mut operations, count) = (0, asked.unwrap_or(KINDS.len() as u64));
    for seed in 0..count {
        let scratch = Scratch::new();
        operations += sequence(seed, &scratch).0;
        if asked.is_some() && seed % 100 == 99 {
            println!("{} sequences, {operations} operations", seed + 1);
        }
    }
    println!("{count} sequences, {operations} operations, no difference");
}

#[test]
fn the_kernel_reads_the_same() {
    if !oracle::have(&["mkfs.vfat", "fsck.vfat", "mcopy"]) || !uml::can_boot(&[]) {
        return;
    }
    for seed in [1, 5, 7] {
        let scratch = Scratch::new();
        let (_, image, seen) = sequence(seed, &scratch);
        let machine = Machine { memory: 128, modules: &MODULES, disk: Some(&image), shared: None };
        let said = uml::boot(
            &machine,
            "mkdir /mnt/guest\n\
             mount -t vfat -o utf8,tz=UTC /dev/ubda /mnt/guest\n\
             set +x\n\
             cd /mnt/guest; echo BEGIN; find . -printf '%y %s %p\\n'; echo END; cd /\n\
             echo x >/mnt/guest/written-by-the-kernel\n\
             umount /mnt/guest",
        );
        let listed = said.split_once("BEGIN\n").unwrap().1.split_once("END\n").unwrap().0;
        let mut theirs: Vec<String> = listed.lines().map(str::to_owned).collect();
        let line = |(path, content): (&String, &Option<Vec<u8>>)| {
            let path = if path == "/" { ".".to_owned() } else { format!(".{path}") };
            content.as_ref().map(|content| format!("f {} {path}", content.len())).unwrap_or_else(|| format!("d {path}"))
        };
        let mut ours: Vec<String> = seen.iter().map(line).collect();
        // The size of a directory is the kernel's affair.
        for line in theirs.iter_mut().filter(|line| line.starts_with("d ")) {
            let path = line.splitn(3, ' ').nth(2).unwrap();
            *line = format!("d {path}");
        }
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs, "seed {seed}");
        oracle::fsck_vfat(&image, "after the kernel");
        let fs = open(Arc::new(FileDevice::open(&image)), Mode::ReadOnly).unwrap();
        let name = GuestPath::parse("/written-by-the-kernel").unwrap();
        let file = imgraft_vfs::resolve::resolve(&*fs, &name, imgraft_vfs::resolve::Follow::All).unwrap();
        assert_eq!(imgraft_vfs::fs::read_file(&*fs, &file, 10).unwrap(), b"x\n");
    }
}
