//! An edit of an ext4 guest, cut off at every moment: the guest's disk is the old one or the new one, and both are sound.

#![allow(clippy::print_stderr, reason = "how many states were tried is what these tests have to say")]

use super::commit::Unused;
use super::crash::{CrashHost, Disk, Failure, Lasts, Random, states};
use super::{Access, Overlay, Transaction};
use crate::block::{BlockDevice, MemDevice};
use crate::error::Result;
use crate::fs::ext4::Ext4;
use crate::fs::{Attrs, Content, GuestFs, Mode, Timestamp, Xattr};
use crate::image::{self, Format};
use crate::path::{GuestPath, Resolved};
use crate::resolve::{Follow, resolve};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const ATTRS: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

/// Random edits; each that is refused for what it is (no such file, it exists) is no edit.
fn edit(device: Arc<dyn BlockDevice>, random: &mut Random, count: usize) -> Result<()> {
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, Mode::ReadWrite { now: NOW })?);
    let at = |fs: &dyn GuestFs, random: &mut Random| -> Result<Resolved> {
        let mut path = String::new();
        for _ in 0..random.below(3) {
            path.push_str(&format!("/d{}", random.below(3)));
        }
        let name = format!("{path}/{}{}", ["d", "f", "long-name-"][random.below(3)], random.below(6));
        resolve(fs, &GuestPath::parse(name)?, Follow::ExcludeLast)
    };
    for _ in 0..count {
        let (Ok(path), Ok(other)) = (at(&*fs, random), at(&*fs, random)) else { continue };
        let len = [10, 3_000, 40_000][random.below(3)];
        let content = Content::bytes((0..random.below(len)).map(|_| random.next() as u8).collect::<Vec<_>>());
        let found = fs.lookup(&path).ok().flatten();
        let parent = path.parent().and_then(|parent| fs.lookup(&parent).ok().flatten());
        let _ = match (found, random.below(8)) {
            (None, 0..3) if parent.is_some() => fs.create_dir(&path, ATTRS),
            (None, 3) if parent.is_some() => fs.create_symlink(&path, &[b't'; 90], ATTRS),
            (None, _) if parent.is_some() => fs.create_file(&path, ATTRS).and_then(|()| fs.put(&path, &content)),
            (None, _) => Ok(()),
            (Some(_), 0) => fs.rename(&path, &other),
            (Some(_), 1) => fs.remove(&path),
            (Some(_), 2) => fs.hard_link(&path, &other),
            (Some(_), 3) => fs.set_xattr(&path, &Xattr { name: b"user.x".into(), value: vec![b'v'; len / 50] }),
            (Some(_), 4) => fs.truncate(&path, len as u64),
            (Some(_), 5) => fs.append(&path, &content),
            (Some(_), _) => fs.put(&path, &content),
        };
    }
    fs.close()
}

/// One run from the lock to the commit.
fn run(host: &CrashHost, format: Format, unused: Unused, seed: u64) -> Result<()> {
    let txn = Transaction::over(Box::new(host.clone()), Access::Write)?;
    let disk = image::open(txn.overlay(), Some(format))?;
    edit(Arc::clone(&disk) as Arc<dyn BlockDevice>, &mut Random(seed), 60)?;
    txn.apply(&disk.finish()?, unused)
}

/// The guest's disk in an image.
fn guest(image: &[u8], format: Format) -> Vec<u8> {
    let overlay = Arc::new(Overlay::new(Arc::new(MemDevice::new(image.to_vec()))));
    let disk = image::open(overlay, Some(format)).expect("the image is sound");
    let mut bytes = vec![0; disk.size() as usize];
    disk.read_at(&mut bytes, 0).expect("the image is sound");
    bytes
}

/// The bytes of a disk that nothing reaches, by dumpe2fs: the blocks that are free, of 1024 bytes each.
fn free_bytes(directory: &Path, disk: &[u8]) -> Vec<Range<usize>> {
    let path = directory.join("judged");
    std::fs::write(&path, disk).expect("it can be written");
    let output = tool("dumpe2fs", &[path.to_str().expect("a plain path")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut free = Vec::new();
    for range in text.lines().filter_map(|line| line.strip_prefix("  Free blocks: ")).flat_map(|list| list.split(", "))
    {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            free.push(first * 1024..(last + 1) * 1024);
        }
    }
    assert!(!free.is_empty(), "{text}");
    free
}

/// A disk with what it has in these bytes taken from another.
fn patched(disk: &[u8], from: &[u8], bytes: &[Range<usize>]) -> Vec<u8> {
    let mut disk = disk.to_vec();
    bytes.iter().for_each(|range| disk[range.clone()].copy_from_slice(&from[range.clone()]));
    disk
}

fn tool(program: &str, arguments: &[&str]) -> std::process::Output {
    let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.env("PATH", path).args(arguments).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn succeed(program: &str, arguments: &[&str]) {
    let output = tool(program, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}\n{said}");
}

fn installed(program: &str) -> bool {
    let found = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|at| Path::new(at).join(program).is_file());
    assert!(found || std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "{program} is missing");
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// e2fsck has nothing to say, and a kernel that mounts it, writes and unmounts leaves it so.
fn judge(directory: &Path, disk: &[u8], context: &str) {
    let path = directory.join("judged");
    std::fs::write(&path, disk).expect("it can be written");
    let text = path.to_str().expect("a plain path");
    let clean = |context: &str| {
        let output = tool("e2fsck", &["-fn", text]);
        assert!(output.status.success(), "{context}\n{}", String::from_utf8_lossy(&output.stdout));
    };
    clean(context);
    if nix::unistd::geteuid().is_root() && Path::new("/dev/loop-control").exists() {
        let at = tempfile::tempdir().expect("a mount point");
        let mount_point = at.path().to_str().expect("a plain path");
        succeed("mount", &["-o", "loop", text, mount_point]);
        let written = std::fs::write(at.path().join("by-the-kernel"), vec![1; 20_000]);
        for _ in 0..50 {
            if tool("umount", &[mount_point]).status.success() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        written.expect("it can be written");
        clean(&format!("{context}, after the kernel"));
    }
}

#[test]
fn a_guest_that_was_being_edited_is_the_old_one_or_the_new_one() {
    if !["mke2fs", "e2fsck", "dumpe2fs", "qemu-img"].into_iter().all(installed) {
        return;
    }
    let long: Option<usize> = std::env::var("CRASH_SAMPLES").ok().and_then(|number| number.parse().ok());
    let directory = tempfile::tempdir().expect("a directory");
    let raw = directory.path().join("raw");
    let (raw_text, mut total) = (raw.to_str().expect("a plain path"), 0);
    for (number, (features, kib, options)) in [
        ("extent,64bit,metadata_csum,has_journal", 2200, &["-J", "size=1"][..]),
        ("extent,uninit_bg,^metadata_csum,^has_journal", 1024, &["-g", "512"]),
        ("^extent,^metadata_csum,^64bit,^has_journal", 1024, &[]),
    ]
    .into_iter()
    .enumerate()
    {
        // An image that is to be undone, or in which little is new, goes through the journal altogether.
        let ways = [(Format::Raw, Unused::First), (Format::Raw, Unused::Alike), (Format::Qcow2, Unused::First)];
        for (format, unused) in ways {
            let context = format!("{format}, {unused:?}, {features}");
            std::fs::File::create(&raw).and_then(|file| file.set_len(kib << 10)).expect("it can be made");
            let words = ["-q", "-F", "-t", "ext4", "-b", "1024", "-I", "256", "-N", "128", "-O", features];
            succeed("mke2fs", &[&words[..], options, &[raw_text]].concat());
            let device = Arc::new(MemDevice::new(std::fs::read(&raw).expect("it is there")));
            edit(Arc::clone(&device) as Arc<dyn BlockDevice>, &mut Random(77), 60).expect("the first edits");
            std::fs::write(&raw, Arc::into_inner(device).expect("the only one").into_bytes()).expect("written");
            let image = directory.path().join("image");
            let (name, text) = (format.to_string(), image.to_str().expect("a plain path"));
            let cluster = if format == Format::Qcow2 { &["-o", "cluster_size=4k"][..] } else { &[] };
            succeed("qemu-img", &[&["convert", "-O", &name][..], cluster, &[raw_text, text]].concat());
            let old = std::fs::read(&image).expect("it is there");
            let host = CrashHost::new(Disk::new(old.clone()));
            run(&host, format, unused, 1 + number as u64).expect("the edits");
            let disks = [guest(&old, format), guest(&host.disk().image, format)];
            assert!(disks[0] != disks[1], "{context}: nothing was changed");
            disks.iter().for_each(|disk| judge(directory.path(), disk, &context));
            let free = free_bytes(directory.path(), &disks[0]);
            let (before, log) = host.log();
            let (mut seen, mut tried, mut littered) = ([0, 0], 0, 0);
            let every = if long.is_some() { 500 } else { 150 };
            let all = states(&before, &log, long.unwrap_or(1), |state| {
                tried += 1;
                let host = CrashHost::new(state);
                drop(Transaction::over(Box::new(host.clone()), Access::Write).expect("the next run can begin"));
                let after = host.disk();
                let found = guest(&after.image, format);
                let mut which = disks.iter().position(|disk| *disk == found);
                if which.is_none()
                    && unused == Unused::First
                    && format == Format::Raw
                    && patched(&found, &disks[0], &free) == disks[0]
                {
                    // The old guest, with something in blocks that it does not use.
                    which = Some(0);
                    littered += 1;
                    if littered % every == 1 {
                        judge(directory.path(), &found, &context);
                    }
                }
                seen[which.unwrap_or_else(|| panic!("{context}: neither the old nor the new guest"))] += 1;
                if tried % every == 0 && format == Format::Qcow2 {
                    std::fs::write(&image, &after.image).expect("it can be written");
                    // 3: clusters that nothing refers to.
                    let status = tool("qemu-img", &["check", "-q", "-f", "qcow2", text]).status.code();
                    assert!(matches!(status, Some(0 | 3)), "{context}: qemu-img check: {status:?}");
                    succeed("qemu-img", &["convert", "-f", "qcow2", "-O", "raw", text, raw_text]);
                    assert!(std::fs::read(&raw).is_ok_and(|bytes| bytes == found), "{context}: QEMU reads another");
                }
            });
            assert!(seen.iter().all(|count| *count > 0), "{context}: old and new {seen:?}");
            let early = format == Format::Raw && unused == Unused::First;
            assert_eq!(littered > 0, early, "{context}: free blocks are written before the journal");
            let said = format!("{context}: {all} states, old and new {seen:?}, of the old ones {littered} littered");
            let _ = writeln!(std::io::stderr(), "{said}");
            total += all;
        }
    }
    assert!(total > 500, "only {total} states");
}

/// A commit in which much is new fails at each call in turn: the image is as it was, its time too, or the error says what is left.
#[test]
fn what_a_failing_commit_leaves_is_said() {
    if !["mke2fs", "dumpe2fs", "e2fsck"].into_iter().all(installed) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let raw = directory.path().join("raw");
    std::fs::File::create(&raw).and_then(|file| file.set_len(2200 << 10)).expect("it can be made");
    let words = ["-q", "-F", "-t", "ext4", "-b", "1024", "-I", "256", "-N", "128", "-J", "size=1"];
    succeed("mke2fs", &[&words[..], &[raw.to_str().expect("a plain path")]].concat());
    let old = std::fs::read(&raw).expect("it is there");
    let (mut untouched, mut littered) = (0, 0);
    for failure in [Failure::Undone, Failure::Half, Failure::Done] {
        for call in 0.. {
            let host = CrashHost::new(Disk::new(old.clone()));
            let modified = host.disk().modified;
            host.fail_at(call, Lasts::Once, failure, std::io::ErrorKind::StorageFull);
            let result = run(&host, Format::Raw, Unused::First, 1);
            if !host.has_failed() {
                break;
            }
            let Err(error) = result else { continue };
            let (said, disk) = (format!("{error:?}"), host.disk());
            let context = format!("call {call}, {failure:?}: {said}");
            if said.contains("but for bytes that its filesystem does not use") {
                littered += usize::from(disk.image != old);
                if littered % 20 == 1 {
                    judge(directory.path(), &disk.image, &context);
                }
                let free = free_bytes(directory.path(), &old);
                assert!(patched(&disk.image, &old, &free) == old, "{context}: more is left");
            } else {
                // What fails before the commit has nothing to say of it.
                assert!(!said.contains("the commit") || said.contains("the image is as it was"), "{context}");
                assert!(disk.image == old, "{context}: something is left");
                assert_eq!(disk.modified, modified, "{context}: it has another time");
                untouched += 1;
            }
        }
    }
    assert!(untouched > 20 && littered > 5, "{untouched} untouched, {littered} littered");
}
