//! Block devices as images, and journals in a state directory.

use crate::idempotence::raw_phony;
use crate::interrupted::{content, kills};
use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle, run, text};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A file on a loop device, until it is dropped.
pub struct Loop {
    pub device: PathBuf,
}

impl Loop {
    /// `None`, and a skip, where this process may not have one.
    pub fn new(file: &Path) -> Option<Self> {
        Self::at(file, 0)
    }

    /// Of the file from a byte on.
    pub fn at(file: &Path, offset: u64) -> Option<Self> {
        let attached = Command::new("losetup").args(["-f", "--show", "-o", &offset.to_string(), text(file)]).output();
        let Some(attached) = attached.ok().filter(|attached| attached.status.success()) else {
            oracle::skip("no loop device");
            return None;
        };
        let device = PathBuf::from(String::from_utf8_lossy(&attached.stdout).trim());
        Some(Self { device })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // udev may still look at it.
        for _ in 0..50 {
            if oracle::tool("losetup", &["-d", text(&self.device)]).status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn inject(items: &FiveItems, image: &Path, more: &[&str]) -> std::process::Output {
    imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(items.on(image, more)).output().expect("the binary starts")
}

fn done(output: &std::process::Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(output: &std::process::Output, status: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn a_block_device_is_an_image() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let state = scratch.path().join("deep/state");
    let file = scratch.copy(&raw_phony(&scratch), "disk.raw");
    let in_file = scratch.copy(&file, "in-file.raw");
    done(&inject(&items, &in_file, &[]));
    let old = content(&file);
    let before = oracle::sha256(&file);
    let Some(attached) = Loop::new(&file) else { return };
    let (device, undo) = (&attached.device, scratch.path().join("undo"));
    let state_words = ["--state-dir", text(&state)];
    assert!(expect(0, &["inspect", text(device)]).contains("ext4"));
    assert!(expect(0, &["ls", text(device), "/etc"]).contains("passwd"));
    done(&inject(&items, device, &["-n", state_words[0], state_words[1]]));
    assert!(!state.exists(), "a dry run has made it");
    done(&inject(&items, device, &[&state_words[..], &["--keep-undo", text(&undo)]].concat()));
    assert_eq!(state.metadata().expect("it is there").permissions().mode() & 0o7777, 0o700);
    assert_eq!(std::fs::read_dir(&state).expect("a directory").count(), 0);
    oracle::succeed("cmp", &[text(device), text(&in_file)]);
    oracle::e2fsck(device, image::open(&in_file, 1).offset);

    // A copy, and an overlay that finds the device again.
    let (new, thin) = (scratch.path().join("new.raw"), scratch.path().join("thin.qcow2"));
    done(&inject(&items, device, &["--output", text(&new)]));
    oracle::succeed("cmp", &[text(&new), text(&in_file)]);
    let metadata = new.metadata().expect("it is there");
    assert!(metadata.blocks() * 512 < metadata.len(), "holes are holes");
    done(&inject(&items, device, &["--overlay", text(&thin), "--write", "/etc/issue:new\n"]));
    if oracle::have("qemu-img") {
        oracle::succeed("qemu-img", &["check", "-f", "qcow2", text(&thin)]);
        let info = oracle::succeed("qemu-img", &["info", "-U", "--output=json", "-f", "qcow2", text(&thin)]);
        let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
        assert_eq!(info["backing-filename"], text(device), "{info}");
    }

    // What was written elsewhere on the device tells, though no time does.
    let poke = |byte: &[u8]| {
        use std::os::unix::fs::FileExt;
        let device = std::fs::File::options().read(true).write(true).open(device).expect("it opens");
        let mut old = vec![0; byte.len()];
        device.read_exact_at(&mut old, 700_000).expect("it reads");
        device.write_all_at(byte, 700_000).expect("it writes");
        old
    };
    let held = poke(b"guest");
    let words = ["undo", state_words[0], state_words[1], text(device), text(&undo)];
    refused(&run(&words), 3, &["changed since"]);
    poke(&held);
    expect(0, &words);
    drop(attached);
    assert_eq!(oracle::sha256(&file), before);
    assert_eq!(content(&file), old);
}

#[test]
fn a_device_in_use_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.path().join("fs.img");
    std::fs::File::create(&file).and_then(|file| file.set_len(16 << 20)).expect("it can be made");
    if !oracle::have("mke2fs") {
        return;
    }
    oracle::succeed("mke2fs", &["-q", "-t", "ext4", text(&file)]);
    let Some(attached) = Loop::new(&file) else { return };
    let at = scratch.path().join("mounted");
    std::fs::create_dir(&at).expect("a directory");
    oracle::succeed("mount", &[text(&attached.device), text(&at)]);
    let write = ["inject", text(&attached.device), "--partition", "whole", "--write", "/f:x"];
    let outputs = [run(&write), run(&["inspect", text(&attached.device)])];
    oracle::succeed("umount", &[text(&at)]);
    for output in outputs {
        refused(&output, 4, &["in use", "lsblk"]);
    }
    // The journal's place has to be one, and private.
    let open = scratch.path().join("open");
    std::fs::create_dir(&open).expect("a directory");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("its mode");
    let output = run(&[&write[..], &["--state-dir", text(&open)]].concat());
    refused(&output, 2, &["others can put files", "--state-dir", text(&open)]);
    let output = run(&[&write[..], &["--state-dir", text(&file)]].concat());
    refused(&output, 2, &["--state-dir", text(&file)]);
    // A qcow2 image cannot grow there.
    drop(attached);
    if oracle::have("qemu-img") {
        let qcow2 = scratch.copy(&image::phony(), "disk.qcow2");
        let before = oracle::sha256(&qcow2);
        let Some(attached) = Loop::new(&qcow2) else { return };
        assert!(expect(0, &["inspect", text(&attached.device)]).contains("qcow2"));
        let output = run(&["inject", text(&attached.device), "--write", "/etc/motd:x"]);
        drop(attached);
        refused(&output, 3, &["qemu-img convert"]);
        assert_eq!(oracle::sha256(&qcow2), before);
    }
}

/// A filesystem of an image, mounted by the host through a loop device, until it is dropped.
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    pub fn new(file: &Path, at: &Path) -> Option<Self> {
        std::fs::create_dir(at).expect("a directory");
        // mount(8) itself takes no file that another loop device has already.
        let attached = Loop::at(file, image::open(file, 1).offset)?;
        let mounted = Command::new("mount").args([text(&attached.device), text(at)]).output();
        // It goes when it is unmounted.
        drop(attached);
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            oracle::skip("no loop mount");
            return None;
        }
        Some(Self { at: at.to_path_buf() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..50 {
            if oracle::tool("umount", &[text(&self.at)]).status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What the host writes to is no more copied, or read, than what a guest writes to.
#[test]
fn a_mounted_image_is_in_use_for_reading_too() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let disk = scratch.copy(&raw_phony(&scratch), "disk.raw");
    let (top, new, undone) =
        (scratch.path().join("top.qcow2"), scratch.path().join("new"), scratch.path().join("undone"));
    done(&inject(&items, &disk, &["--overlay", text(&top)]));
    let Some(mounted) = Mounted::new(&disk, &scratch.path().join("mnt")) else { return };
    let parts = ["the image is in use: the host has it as /dev/loop", "hint: unmount it"];
    for option in ["--output", "--overlay"] {
        refused(&inject(&items, &disk, &[option, text(&new)]), 4, &parts);
        refused(&inject(&items, &top, &["--backing-chain", option, text(&new)]), 4, &parts);
    }
    refused(&run(&["ls", text(&disk), "/"]), 4, &parts);
    refused(&run(&["inspect", text(&top), "--backing-chain"]), 4, &parts);
    refused(&inject(&items, &disk, &["--keep-undo", text(&undone)]), 4, &parts[..1]);
    assert!(!new.exists() && !undone.exists());
    // What nobody writes to is read.
    oracle::succeed("mount", &["-o", "remount,ro", text(&mounted.at)]);
    done(&inject(&items, &disk, &["--overlay", text(&new)]));
    std::fs::remove_file(&new).expect("it is there");
    drop(mounted);
    let Some(attached) = Loop::new(&disk) else { return };
    done(&inject(&items, &disk, &["--output", text(&new)]));
    drop(attached);
    // A loop device that cannot write is no reason to keep from writing.
    let device = oracle::succeed("losetup", &["-r", "-f", "--show", text(&disk)]);
    let read_only = Loop { device: PathBuf::from(device.trim()) };
    done(&inject(&items, &disk, &[]));
    drop(read_only);
}

/// A directory that takes no file, with the way out, whatever was to be put there.
#[test]
fn a_read_only_directory_is_told() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let disk = scratch.copy(&raw_phony(&scratch), "disk.raw");
    let at = scratch.path().join("full");
    std::fs::create_dir(&at).expect("a directory");
    if !Command::new("mount")
        .args(["-t", "tmpfs", "-o", "ro,mode=700", "none", text(&at)])
        .status()
        .is_ok_and(|s| s.success())
    {
        oracle::skip("no mount");
        return;
    }
    let mounted = Mounted { at: at.clone() };
    let before = oracle::sha256(&disk);
    let new = at.join("new");
    for (option, status) in [("--output", 3), ("--overlay", 3), ("--keep-undo", 3), ("--state-dir", 1)] {
        let output = inject(&items, &disk, &[option, text(&new)]);
        refused(&output, status, &["ead-only", "hint: ", "write to", text(&at)]);
        assert_eq!(oracle::sha256(&disk), before);
    }
    refused(&inject(&items, &disk, &["--state-dir", text(&at)]), 1, &["ead-only", "--state-dir DIR"]);
    assert_eq!(oracle::sha256(&disk), before);
    drop(mounted);
}

/// The journal of a device is found again under another name of the device.
#[test]
fn killed_runs_on_a_device_leave_the_old_or_the_new_image() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let state = scratch.path().join("state");
    let (from, whole) = (raw_phony(&scratch), scratch.copy(&raw_phony(&scratch), "whole.raw"));
    done(&inject(&items, &whole, &[]));
    let (old, new) = (content(&from), content(&whole));
    let file = scratch.path().join("disk.raw");
    let mut length = None;
    let (mut finished, mut news) = (0, 0);
    for kill in 0..kills(25) {
        scratch.copy(&from, "disk.raw");
        let Some(attached) = Loop::new(&file) else { return };
        let words = items.on(&attached.device, &["-q", "--state-dir", text(&state)]);
        let started = Instant::now();
        let mut child =
            imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(&words).spawn().expect("the binary starts");
        match length {
            None => {
                assert!(child.wait().expect("it ends").success());
                length = Some(started.elapsed());
            }
            Some(length) => {
                std::thread::sleep(length * kill / kills(25) + Duration::from_micros(u64::from(kill) * 7 % 1000));
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        drop(attached);
        let Some(attached) = Loop::new(&file) else { return };
        let said = expect(0, &["recover", "--state-dir", text(&state), text(&attached.device)]);
        finished += u32::from(said.contains("finished"));
        drop(attached);
        assert_eq!(std::fs::read_dir(&state).map_or(0, |entries| entries.count()), 0);
        let now = content(&file);
        assert!(now == old || now == new, "kill {kill} of a device: neither old nor new");
        news += u32::from(now == new);
    }
    assert!(0 < news && news < kills(25), "{news} new, {finished} finished");
}

/// A state directory serves an image whose own directory takes no journal; and no run overlooks what another has left.
#[test]
fn the_journal_of_a_file_can_lie_elsewhere() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let from = raw_phony(&scratch);
    // No room for the journal's name.
    let long = scratch.copy(&from, &"n".repeat(250));
    let (before, state) = (oracle::sha256(&long), scratch.path().join("state"));
    refused(&inject(&items, &long, &[]), 1, &["leaves no room", "--state-dir", "as it was"]);
    assert_eq!(oracle::sha256(&long), before);
    done(&inject(&items, &long, &["--state-dir", text(&state)]));
    assert_ne!(oracle::sha256(&long), before);
    assert_eq!(std::fs::read_dir(&state).expect("a directory").count(), 0);

    // Killed where the journal is in one place, and looked for in the other.
    let disk = scratch.path().join("disk.raw");
    for (first, second) in [(&["--state-dir", text(&state)][..], &[][..]), (&[], &["--state-dir", text(&state)])] {
        let mut pending = false;
        for kill in 0..400_u64 {
            scratch.copy(&from, "disk.raw");
            // Not the usual directory of this machine.
            let usual = scratch.path().join("home");
            let mut command = imgraft();
            command.args(items.on(&disk, &[&["-q"], first].concat())).env("HOME", &usual).stderr(Stdio::null());
            let mut child = command.spawn().expect("the binary starts");
            let journal = if first.is_empty() { scratch.path() } else { &state };
            let there = || {
                let entries = std::fs::read_dir(journal).into_iter().flatten().flatten();
                entries.into_iter().find(|entry| entry.file_name().to_string_lossy().ends_with("imgraft-journal"))
            };
            while child.try_wait().expect("it can be asked").is_none() && there().is_none() {}
            std::thread::sleep(Duration::from_micros(kill * 50 % 4_000));
            let _ = child.kill();
            let _ = child.wait();
            let inspected = run(&[&["inspect", text(&disk)], first].concat());
            if inspected.status.code() == Some(4) {
                refused(&inspected, 4, &["imgraft recover"]);
                pending = true;
                break;
            }
            expect(0, &[&["recover", text(&disk)], first].concat());
        }
        assert!(pending, "no kill hit the journal");
        let now = oracle::sha256(&disk);
        if !second.is_empty() {
            let output = inject(&items, &disk, second);
            refused(&output, 4, &["looks in another place", "imgraft recover"]);
            assert_eq!(oracle::sha256(&disk), now);
        }
        expect(0, &[&["recover", text(&disk)], first].concat());
        oracle::e2fsck(&disk, image::open(&disk, 1).offset);
    }
}
