//! Commits to qcow2 images with an external data file, cut off at every moment over both files, and with every call failing.

#![allow(clippy::print_stderr, reason = "how many states were tried is what these tests have to say")]

use super::crash::{CrashHost, Disk, Failure, Lasts, Op, Random, states_at_end};
use super::crash_kinds::{SIZE, available, random_writes, said, succeed, text, tool};
use super::{Access, StateDir, Transaction};
use crate::error::{ErrorKind, Result};
use crate::image::{Backing, Format, HeldDataFile, ImageFormat, open_held};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// An image and its data file, as QEMU has made them.
struct Pair {
    name: &'static str,
    raw: bool,
    directory: TempDir,
    image: PathBuf,
    data: PathBuf,
}

/// What a crash leaves of both.
#[derive(Clone)]
struct Both {
    image: Disk,
    data: Disk,
}

impl Pair {
    fn new(name: &'static str, options: &str, seed: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [image, data] = ["image", "data"].map(|name| directory.path().join(name));
        let with = format!("data_file={},{options}", text(&data));
        succeed("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &with, text(&image), &SIZE.to_string()]);
        let mut random = Random(seed);
        let mut words = vec!["-f".to_owned(), "qcow2".to_owned()];
        for _ in 0..6 {
            let at = random.below(SIZE / 512 - 120) * 512;
            let len = 512 * (1 + random.below(100));
            words.extend(["-c".to_owned(), format!("write -P {} {at} {len}", 1 + random.below(200))]);
        }
        words.extend(["-c", "write -z 100k 64k", "-c", "discard 300k 64k"].map(str::to_owned));
        words.push(text(&image).to_owned());
        succeed("qemu-io", &words.iter().map(String::as_str).collect::<Vec<_>>());
        let raw = options.contains("data_file_raw=on");
        let pair = Self { name, raw, directory, image, data };
        if !raw {
            pair.leave_garbage();
        }
        pair
    }

    /// Bytes where nothing is mapped, which the guest must never see.
    fn leave_garbage(&self) {
        let map = succeed_saying(&["map", "--output=json", "-f", "qcow2", text(&self.image)]);
        let mut bytes = fs::read(&self.data).expect("it is there");
        for line in map.lines().filter(|line| !line.contains("\"offset\"")) {
            let number = |key: &str| -> usize {
                let (_, rest) = line.split_once(&format!("\"{key}\": ")).expect("the map has it");
                rest.split([',', '}']).next().expect("a number").trim().parse().expect("a number")
            };
            let (start, end) = (number("start"), number("start") + number("length"));
            let end = end.min(bytes.len());
            bytes[start.min(end)..end].fill(0xee);
        }
        fs::write(&self.data, bytes).expect("it can be written");
    }

    fn read(&self) -> Both {
        let disk = |path| Disk::new(fs::read(path).expect("it is there"));
        Both { image: disk(&self.image), data: disk(&self.data) }
    }

    /// Opens both for an edit, as [`Edit`](crate::image::Edit) does.
    fn open(&self, hosts: &[CrashHost; 2]) -> Result<(Transaction, HeldDataFile, Arc<dyn ImageFormat>)> {
        let [image, data] = hosts;
        let txn = Transaction::over(Box::new(image.clone()), Access::Write)?;
        let held = HeldDataFile::new(Transaction::over(Box::new(data.clone()), Access::Write)?);
        let allowed = Backing::Within(Vec::new());
        let disk =
            open_held(txn.overlay(), &self.image, Some(Format::Qcow2), &allowed, &StateDir::default(), Some(&held))?;
        Ok((txn, held, disk))
    }

    fn commit(&self, hosts: &[CrashHost; 2], seed: u64) -> Result<()> {
        let (txn, held, disk) = self.open(hosts)?;
        random_writes(&*disk, seed)?;
        let plan = disk.finish()?;
        held.commit(txn, plan).map(drop)
    }

    /// The guest's disk as the next run finds it, and both files as it leaves them.
    fn recovered(&self, both: Both) -> (Vec<u8>, Both) {
        let hosts = [both.image, both.data].map(CrashHost::new);
        let (_txn, _held, disk) = self.open(&hosts).expect("the next run can begin");
        let mut bytes = vec![0; disk.size() as usize];
        disk.read_at(&mut bytes, 0).expect("the image is sound");
        let [image, data] = [0, 1].map(|at: usize| hosts[at].disk());
        (bytes, Both { image, data })
    }

    fn judge(&self, both: &Both, expected: &[u8], context: &str) {
        fs::write(&self.image, &both.image.image).expect("it can be written");
        fs::write(&self.data, &both.data.image).expect("it can be written");
        let output = tool("qemu-img", &["check", "-f", "qcow2", text(&self.image)]);
        assert!(output.status.code() == Some(0), "{} {context}: {}", self.name, said(&output));
        let raw = self.directory.path().join("raw");
        succeed("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", text(&self.image), text(&raw)]);
        assert!(fs::read(&raw).is_ok_and(|bytes| bytes == expected), "{} {context}: QEMU reads another", self.name);
    }

    /// The old disk (0) or the new one (1), whose data file is the raw disk where it has to be.
    fn which(&self, both: Both, disks: &[Vec<u8>; 2], context: &str) -> (usize, Both) {
        let (found, both) = self.recovered(both);
        let which = disks.iter().position(|disk| *disk == found);
        let which = which.unwrap_or_else(|| panic!("{} {context}: neither the old nor the new disk", self.name));
        assert!(!self.raw || both.data.image[..found.len()] == found, "{} {context}: the data file differs", self.name);
        (which, both)
    }
}

fn succeed_saying(arguments: &[&str]) -> String {
    let output = tool("qemu-img", arguments);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn pairs() -> Vec<Pair> {
    [
        ("plain", "cluster_size=16k"),
        ("raw", "cluster_size=16k,data_file_raw=on"),
        ("512-byte clusters", "cluster_size=512"),
        ("extended L2", "cluster_size=32k,extended_l2=on"),
    ]
    .into_iter()
    .zip(40..)
    .map(|((name, options), seed)| Pair::new(name, options, seed))
    .collect()
}

/// What a crash leaves of one file after the calls that came before `moment`.
fn left(before: &Disk, log: &[Op], times: &[usize], moment: usize, sample: usize) -> Vec<Disk> {
    let mut left = Vec::new();
    let done = times.iter().filter(|time| **time < moment).count();
    states_at_end(before, &log[..done], sample, |disk| left.push(disk));
    left
}

#[test]
fn two_files_are_the_old_disk_or_the_new_one() {
    if !available() {
        return;
    }
    let sample = std::env::var("CRASH_SAMPLES").ok().and_then(|number| number.parse::<usize>().ok());
    // Every state of one file goes with every state of the other.
    let (sample, most, every) = sample.map_or((2, 60, 60), |samples| (samples / 1_000 + 2, samples / 100 + 60, 250));
    let (mut total, mut judged) = (0, 0);
    for pair in pairs() {
        let old = pair.read();
        let image = CrashHost::new(old.image.clone());
        let data = image.second(old.data.clone());
        let hosts = [image, data];
        pair.commit(&hosts, 5).expect("the writes");
        let [image, data] = [0, 1].map(|at: usize| hosts[at].disk());
        let new = Both { image, data };
        let disks = [pair.recovered(old.clone()).0, pair.recovered(new.clone()).0];
        assert!(disks[0] != disks[1], "{}: nothing was changed", pair.name);
        pair.judge(&old, &disks[0], "before");
        pair.judge(&new, &disks[1], "after");
        let logs = [0, 1].map(|at: usize| (hosts[at].log(), hosts[at].times()));
        let moments = logs.iter().map(|(_, times)| times.len()).sum::<usize>();
        let (mut tried, mut seen, mut met) = (0, [0, 0], HashSet::new());
        for moment in 0..=moments {
            let [images, datas] = [0, 1].map(|at: usize| {
                let ((before, log), times) = &logs[at];
                left(before, log, times, moment, sample)
            });
            let pairs = images.iter().flat_map(|image| datas.iter().map(move |data| (image, data)));
            let step = (images.len() * datas.len()).div_ceil(most);
            for (image, data) in pairs.step_by(step) {
                let sum = |disk: &Disk| (crc32c::crc32c(&disk.image), disk.journal.as_deref().map(crc32c::crc32c));
                if !met.insert((sum(image), sum(data), image.modified, data.modified)) {
                    continue;
                }
                let both = Both { image: image.clone(), data: data.clone() };
                let (which, both) = pair.which(both, &disks, "crash");
                seen[which] += 1;
                tried += 1;
                if tried % every == 0 {
                    judged += 1;
                    pair.judge(&both, &disks[which], "crash");
                }
            }
        }
        eprintln!("{}: {tried} states of {moments} calls, old and new {seen:?}", pair.name);
        assert!(seen.iter().all(|count| *count > 0), "{}: old and new {seen:?}", pair.name);
        total += tried;
    }
    eprintln!("crash states of images with a data file: {total}, of which QEMU judged {judged}");
    assert!(total > 500 && judged > 10, "only {total} and {judged}");
}

#[test]
fn a_failing_call_on_either_file_leaves_the_old_disk() {
    if !available() {
        return;
    }
    let (mut failures, mut unfinished) = (0, 0);
    for pair in pairs().into_iter().take(2) {
        let old = pair.read();
        let fresh = || [old.image.clone(), old.data.clone()].map(CrashHost::new);
        let hosts = fresh();
        pair.commit(&hosts, 5).expect("the writes");
        let [image, data] = [0, 1].map(|at: usize| hosts[at].disk());
        let disks = [pair.recovered(old.clone()).0, pair.recovered(Both { image, data }).0];
        for (at, lasts, failure) in [0, 1].into_iter().flat_map(|at: usize| {
            [Lasts::Once, Lasts::ForChanges]
                .into_iter()
                .flat_map(move |lasts| [Failure::Undone, Failure::Half, Failure::Done].map(|it| (at, lasts, it)))
        }) {
            for call in 0.. {
                let hosts = fresh();
                hosts[at].fail_at(call, lasts, failure, io::ErrorKind::StorageFull);
                let result = pair.commit(&hosts, 5);
                if !hosts[at].has_failed() {
                    break;
                }
                failures += 1;
                let context = format!("call {call} of file {at} failed ({lasts:?}, {failure:?}) with {result:?}");
                let [image, data] = [0, 1].map(|at: usize| hosts[at].disk());
                let (which, _) = pair.which(Both { image, data }, &disks, &context);
                match result {
                    Ok(()) => assert_eq!(which, 1, "{context}"),
                    Err(error) if error.kind() == ErrorKind::Unfinished => {
                        assert!(lasts != Lasts::Once, "{context}");
                        unfinished += 1;
                    }
                    Err(_) => assert_eq!(which, 0, "{context}"),
                }
            }
        }
    }
    eprintln!("failing calls on two files: {failures}, of which {unfinished} were not taken back");
    assert!(failures > 100, "only {failures}");
}
