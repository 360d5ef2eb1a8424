//! Commits to images of every kind, cut off at every moment: each state is exactly the old disk or the new one, to us and to
//! QEMU.

#![allow(clippy::print_stderr, reason = "how many states were tried is what these tests have to say")]

use super::crash::{CrashHost, Disk, Op, Random, states};
use super::{Access, Existing, NewFile, Proof, StateDir, Transaction, UndoFile};
use crate::block::BlockDevice;
use crate::error::Result;
use crate::image::{Backing, Format, open_chain};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The guest's disk, in bytes: no multiple of a cluster.
pub(super) const SIZE: usize = (768 << 10) + 512;

/// What stands at the end of a chain below the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Below {
    Nothing,
    Raw,
    Qcow2,
}

/// A kind of image: the options of `qemu-img convert` or `create`, and what is done to it afterwards.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) format: Format,
    options: &'static [&'static str],
    below: Below,
    then: fn(&Path),
}

fn untouched(_: &Path) {}

fn snapshots(image: &Path) {
    succeed("qemu-img", &["snapshot", "-c", "one", text(image)]);
    succeed("qemu-io", &["-f", "qcow2", "-c", "write -P 7 64k 100k", "-c", "write -z 300k 8k", text(image)]);
    succeed("qemu-img", &["snapshot", "-c", "two", text(image)]);
}

fn bitmap(image: &Path) {
    succeed("qemu-img", &["bitmap", "--add", "-g", "4096", text(image), "one"]);
    succeed("qemu-io", &["-f", "qcow2", "-c", "write -P 7 64k 100k", text(image)]);
}

fn holes(image: &Path) {
    succeed("qemu-io", &["-f", "qcow2", "-c", "write -z 0 128k", "-c", "discard 256k 64k", text(image)]);
}

/// As a QEMU leaves it that is killed while refcounts are lazy: the incompatible feature bit 0 is set.
fn not_closed(image: &Path) {
    let mut bytes = fs::read(image).expect("it is there");
    bytes[79] |= 1;
    fs::write(image, bytes).expect("it can be written");
}

pub(super) fn kinds() -> Vec<Kind> {
    let kind = |name, options, below, then| Kind { name, format: Format::Qcow2, options, below, then };
    let raw = Kind { name: "raw", format: Format::Raw, options: &[], below: Below::Nothing, then: untouched };
    vec![
        raw,
        kind("version 2", &["-o", "compat=0.10,cluster_size=4k"], Below::Nothing, untouched),
        kind("version 3", &["-o", "cluster_size=64k"], Below::Nothing, holes),
        kind("512-byte clusters", &["-o", "cluster_size=512,refcount_bits=1"], Below::Nothing, untouched),
        kind("64-bit refcounts", &["-o", "cluster_size=8k,refcount_bits=64"], Below::Nothing, holes),
        kind("zlib", &["-c", "-o", "cluster_size=16k"], Below::Nothing, untouched),
        kind("zstd", &["-c", "-o", "cluster_size=16k,compression_type=zstd"], Below::Nothing, untouched),
        kind("snapshots", &["-o", "cluster_size=4k"], Below::Nothing, snapshots),
        kind("extended L2", &["-o", "cluster_size=16k,extended_l2=on"], Below::Nothing, holes),
        kind("bitmap", &["-o", "cluster_size=4k"], Below::Nothing, bitmap),
        kind("preallocated", &["-o", "cluster_size=4k,preallocation=metadata"], Below::Nothing, untouched),
        kind("not closed", &["-o", "cluster_size=4k,lazy_refcounts=on"], Below::Nothing, not_closed),
        kind("over raw", &["-o", "cluster_size=4k"], Below::Raw, holes),
        kind("over qcow2, extended L2", &["-o", "cluster_size=16k,extended_l2=on"], Below::Qcow2, holes),
    ]
}

pub(super) fn tool(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

pub(super) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(super) fn succeed(program: &str, arguments: &[&str]) {
    let output = tool(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}\n{}", said(&output));
}

pub(super) fn available() -> bool {
    let there = ["qemu-img", "qemu-io"].iter().all(|tool| Command::new(tool).arg("--version").output().is_ok());
    if !there {
        assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "qemu-img or qemu-io is missing");
        eprintln!("skipped: qemu-img or qemu-io is missing");
    }
    there
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Writes some bytes in some places of a disk.
pub(super) fn random_writes(disk: &dyn BlockDevice, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    for _ in 0..8 {
        let len = [1, 512, 5_000, 20_000][random.below(4)];
        let offset = random.below(SIZE - len) as u64;
        let bytes: Vec<u8> = match random.below(4) {
            0 => vec![0; len],
            _ => (0..len).map(|_| random.next() as u8).collect(),
        };
        disk.write_at(&bytes, offset)?;
    }
    Ok(())
}

/// An image of a kind, as qemu-img has made it.
pub(super) struct Made {
    pub(super) kind: Kind,
    pub(super) directory: TempDir,
    pub(super) image: PathBuf,
}

impl Made {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (source, image) = (directory.path().join("source"), directory.path().join("image"));
        let mut random = Random(seed);
        // Words, runs of one byte and zeros: to be compressed, to be found again, to be left out.
        let content: Vec<u8> = (0..SIZE.div_ceil(512))
            .flat_map(|sector| match (sector / 40) % 4 {
                0 => vec![0; 512],
                1 => vec![random.next() as u8; 512],
                _ => (0..512).map(|_| random.next() as u8).collect(),
            })
            .take(SIZE)
            .collect();
        fs::write(&source, content).expect("it can be written");
        let format = kind.format.to_string();
        match kind.below {
            Below::Nothing => {
                let words =
                    [&["convert", "-f", "raw", "-O", &format][..], kind.options, &[text(&source), text(&image)]];
                succeed("qemu-img", &words.concat());
            }
            below => {
                let base = directory.path().join("base");
                let name = if below == Below::Raw { "raw" } else { "qcow2" };
                succeed("qemu-img", &["convert", "-f", "raw", "-O", name, text(&source), text(&base)]);
                let words =
                    [&["create", "-q", "-f", "qcow2", "-b", "base", "-F", name][..], kind.options, &[text(&image)]];
                succeed("qemu-img", &words.concat());
                succeed("qemu-io", &["-f", "qcow2", "-c", "write -P 9 30k 50k", text(&image)]);
            }
        }
        (kind.then)(&image);
        Self { kind, directory, image }
    }

    pub(super) fn backing(&self) -> Backing {
        if self.kind.below == Below::Nothing { Backing::Deny } else { Backing::Within(Vec::new()) }
    }

    /// Opens the guest's disk in what the transaction shows.
    fn disk(&self, txn: &Transaction) -> std::sync::Arc<dyn crate::image::ImageFormat> {
        open_chain(txn.overlay(), &self.image, Some(self.kind.format), &self.backing(), &StateDir::default())
            .expect("the image is sound")
    }

    /// Some writes, from the lock to the commit, which an undo file can take back.
    fn run(&self, host: &CrashHost, seed: u64, undo: &Path) -> Result<()> {
        let new = NewFile::create(undo, Existing::Refuse)?;
        let txn = Transaction::over(Box::new(host.clone()), Access::Write)?;
        let disk = self.disk(&txn);
        random_writes(&*disk, seed)?;
        txn.commit_undoable(disk.finish()?, new).map(drop)
    }

    /// The guest's disk as the next run finds it, by our own reader, and the recovered image.
    fn guest(&self, disk: Disk) -> (Vec<u8>, Vec<u8>) {
        let host = CrashHost::new(disk);
        let txn = Transaction::over(Box::new(host.clone()), Access::Write).expect("the next run can begin");
        let disk = self.disk(&txn);
        let mut bytes = vec![0; disk.size() as usize];
        disk.read_at(&mut bytes, 0).expect("the image is sound");
        (bytes, host.disk().image)
    }

    /// QEMU finds the image sound, and this disk in it.
    fn judge(&self, image: &[u8], expected: &[u8], context: &str) {
        fs::write(&self.image, image).expect("it can be written");
        let (format, raw) = (self.kind.format.to_string(), self.directory.path().join("raw"));
        if self.kind.format == Format::Qcow2 {
            let output = tool("qemu-img", &["check", "-f", "qcow2", text(&self.image)]);
            // 3: clusters that nothing refers to, which is what an image that was not closed is full of.
            let sound = matches!(output.status.code(), Some(0 | 3));
            assert!(sound, "{context}: qemu-img check: {}", said(&output));
        }
        succeed("qemu-img", &["convert", "-f", &format, "-O", "raw", text(&self.image), text(&raw)]);
        assert!(fs::read(&raw).is_ok_and(|bytes| bytes == expected), "{context}: QEMU reads another disk");
    }

    /// Crashes at every moment of this log; gives the states, how many of them QEMU has judged, and how many are new.
    fn crash(&self, before: &Disk, log: &[Op], disks: &[Vec<u8>; 2], run: &Run) -> (usize, usize) {
        let (mut tried, mut judged, mut seen) = (0, 0, [0, 0]);
        let all = states(before, log, run.sample, |state| {
            let (found, image) = self.guest(state);
            let which = disks.iter().position(|disk| *disk == found);
            let which = which.unwrap_or_else(|| panic!("{}: neither the old nor the new disk", self.kind.name));
            seen[which] += 1;
            tried += 1;
            if tried % run.every == 0 {
                judged += 1;
                self.judge(&image, &disks[which], self.kind.name);
            }
        });
        assert!(seen.iter().all(|count| *count > 0), "{}: old and new {seen:?}", self.kind.name);
        (all, judged)
    }
}

/// How many states are tried.
struct Run {
    sample: usize,
    /// QEMU judges one of so many.
    every: usize,
}

#[test]
fn images_of_every_kind_are_the_old_ones_or_the_new_ones_to_qemu_too() {
    if !available() {
        return;
    }
    let long: Option<usize> = std::env::var("CRASH_SAMPLES").ok().and_then(|number| number.parse().ok());
    let run = match long {
        Some(samples) => Run { sample: samples / 20, every: 250 },
        None => Run { sample: 2, every: 90 },
    };
    let (mut total, mut by_qemu) = (0, 0);
    for (number, kind) in kinds().into_iter().enumerate() {
        let made = Made::new(kind, 11 + number as u64);
        let undo = made.directory.path().join("undo");
        let old = Disk::new(fs::read(&made.image).expect("it is there"));
        let host = CrashHost::new(old.clone());
        made.run(&host, 5 + number as u64, &undo).expect("the writes");
        let new = host.disk();
        let disks = [made.guest(old.clone()).0, made.guest(new.clone()).0];
        assert!(disks[0] != disks[1], "{}: nothing was changed", made.kind.name);
        made.judge(&old.image, &disks[0], "before");
        made.judge(&new.image, &disks[1], "after");
        let (before, log) = host.log();
        let (commits, judged) = made.crash(&before, &log, &disks, &run);

        // And back.
        let host = CrashHost::new(new);
        let txn = Transaction::over(Box::new(host.clone()), Access::Write).expect("it is free");
        txn.undo(&UndoFile::open(&undo).expect("it is whole"), Proof::Required).expect("nobody has written");
        assert!(host.disk().image == old.image, "{}: not the old image to the byte", made.kind.name);
        let (before, log) = host.log();
        // That of a qcow2 image has a handful of states.
        let every = if made.kind.format == Format::Qcow2 { 1 } else { run.every };
        let (undos, judged_undos) = made.crash(&before, &log, &disks, &Run { every, ..run });
        made.judge(&old.image, &disks[0], "after the undo");
        eprintln!(
            "{}: {commits} states of a commit, {undos} of its undo, {} judged by QEMU",
            made.kind.name,
            judged + judged_undos
        );
        total += commits + undos;
        by_qemu += judged + judged_undos;
    }
    eprintln!("crash states of images of every kind: {total}, of which QEMU judged {by_qemu}");
    assert!(total > 5_000 && by_qemu > 100, "only {total} and {by_qemu}");
}
