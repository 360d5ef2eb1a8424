//! An image that QEMU holds is refused, and QEMU is refused an image that imgraft holds.

use crate::device::{Loop, Mounted};
use crate::idempotence::raw_phony;
use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle, run, text};
use imgraft_vfs::transaction::{Access, Transaction};
use imgraft_vfs::{Error, ErrorKind};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The phony guest in both formats.
fn images(scratch: &Scratch) -> [(PathBuf, &'static str); 2] {
    [(scratch.copy(&image::phony(), "disk.qcow2"), "qcow2"), (scratch.copy(&raw_phony(scratch), "disk.raw"), "raw")]
}

/// Waits until `there`, for ten seconds at most.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come");
}

/// A storage daemon that exports the image, as QEMU has it open for a guest.
fn daemon(scratch: &Scratch, disk: &Path, format: &str, writable: &str) -> Child {
    let (pid, socket) = (scratch.path().join("pid"), scratch.path().join("nbd"));
    for path in [&pid, &socket] {
        let _ = std::fs::remove_file(path);
    }
    let read_only = if writable == "on" { "off" } else { "on" };
    Command::new("qemu-storage-daemon")
        .args(["--blockdev", &format!("file,node-name=file,filename={},read-only={read_only}", text(disk))])
        .args(["--blockdev", &format!("{format},node-name=disk,file=file,read-only={read_only}")])
        .args(["--nbd-server", &format!("addr.type=unix,addr.path={}", text(&socket))])
        .args(["--export", &format!("nbd,id=export,node-name=disk,writable={writable}")])
        .args(["--pidfile", text(&pid)])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("qemu-storage-daemon starts")
}

#[test]
fn an_image_that_the_storage_daemon_exports_is_in_use() {
    if !oracle::have("qemu-storage-daemon") {
        return;
    }
    let scratch = Scratch::new();
    for (disk, format) in images(&scratch) {
        let before = oracle::sha256(&disk);
        let (new, undo) = (scratch.path().join("new"), scratch.path().join("undo"));
        let inject = ["inject", text(&disk), "--write", "/etc/motd:hello"];
        let with = |more: &[&'static str], path: &Path| {
            inject.iter().chain(more).map(|word| (*word).to_owned()).chain([text(path).to_owned()]).collect::<Vec<_>>()
        };
        for (writable, reading) in [("on", 4), ("off", 0)] {
            let mut holder = daemon(&scratch, &disk, format, writable);
            // Its pid file is there when all of the above is.
            until("the daemon", || scratch.path().join("pid").exists());
            for (words, status) in [
                (with(&[], Path::new("--quiet")), 4),
                (with(&["--keep-undo"], &undo), 4),
                (with(&["--output"], &new), reading),
                (vec!["inspect".into(), text(&disk).into()], reading),
                (vec!["recover".into(), text(&disk).into()], 4),
            ] {
                let output = imgraft().args(&words).output().expect("the binary starts");
                let error = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(status), "{format}, writable={writable}, {words:?}: {error}");
                assert!(status == 0 || error.contains("in use"), "{error}");
            }
            holder.kill().expect("it runs");
            holder.wait().expect("it ends");
            assert!(!undo.exists() && new.exists() == (reading == 0));
        }
        std::fs::remove_file(&new).expect("it is there");
        assert_eq!(oracle::sha256(&disk), before);
        until("the lock's end", || run(&inject).status.success());
    }
}

/// A run that has locked the image, and waits before it says so: its standard error takes no more.
fn held(disk: &Path) -> (Child, std::io::PipeReader) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = rustix::fs::fcntl_getfl(&writer).expect("flags");
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).expect("flags");
    for size in [4096, 1] {
        while writer.write(&vec![b'\n'; size]).is_ok() {}
    }
    rustix::fs::fcntl_setfl(&writer, flags).expect("flags");
    let words = ["-v", "inject", text(disk), "--write", "/etc/motd:held\n"];
    let child = imgraft().args(words).stdout(Stdio::null()).stderr(writer).spawn().expect("the binary starts");
    until("the lock", || Transaction::begin(disk, Access::Read).is_err_and(|e: Error| e.kind() == ErrorKind::InUse));
    (child, reader)
}

#[test]
fn qemu_may_not_have_an_image_that_imgraft_holds() {
    if !["qemu-storage-daemon", "qemu-io"].into_iter().all(oracle::have) {
        return;
    }
    let scratch = Scratch::new();
    for (disk, format) in images(&scratch) {
        let before = oracle::sha256(&disk);
        let (mut child, mut stderr) = held(&disk);
        for words in [&["-c", "write 0 512"][..], &["-r", "-c", "read 0 512"]] {
            let output = oracle::tool("qemu-io", &[&["-f", format], words, &[text(&disk)]].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains("lock"), "{format}: {said}");
        }
        for writable in ["on", "off"] {
            let daemon = daemon(&scratch, &disk, format, writable).wait_with_output().expect("it ends by itself");
            let said = String::from_utf8_lossy(&daemon.stderr);
            assert!(!daemon.status.success() && said.contains("lock"), "{format}: {said}");
        }
        assert_eq!(oracle::sha256(&disk), before);
        assert!(child.try_wait().expect("it can be asked").is_none(), "it has not waited");
        let drain = std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
        assert!(child.wait().expect("it ends").success());
        drain.join().expect("it ends").expect("it reads");
        oracle::succeed("qemu-io", &["-f", format, "-c", "read 0 512", text(&disk)]);
        assert_ne!(oracle::sha256(&disk), before);
    }
}

#[test]
fn an_image_that_qemu_has_open_is_in_use() {
    if !oracle::have("qemu-io") {
        return;
    }
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let items = FiveItems::new(&scratch);
    let mut qemu = Command::new("qemu-io")
        .args(["-f", "qcow2", text(&copy)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-io starts");
    // It has the image open, and so locked, once it answers.
    let mut input = qemu.stdin.take().expect("piped");
    writeln!(input, "read 0 512").expect("it listens");
    let mut line = String::new();
    BufReader::new(qemu.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it answers");
    let before = oracle::sha256(&copy);
    for words in [items.on(&copy, &[]), items.on(&copy, &["-n"]), vec!["inspect", text(&copy)]] {
        let output = run(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{words:?}: {said}");
        assert!(said.contains("disk.qcow2"), "{said}");
    }
    assert_eq!(oracle::sha256(&copy), before);
    drop(input);
    assert!(qemu.wait().expect("it ends").success());
    assert!(imgraft().args(items.on(&copy, &["-q"])).status().expect("runs").success());
}

/// A loop device is one more way to the bytes that a guest writes to, or that another loop device has mounted.
#[test]
fn the_file_under_a_loop_device_is_in_use() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&raw_phony(&scratch), "disk.raw");
    let Some(attached) = Loop::new(&disk) else { return };
    let state = scratch.path().join("state");
    let write = ["inject", text(&attached.device), "--write", "/etc/motd:hello", "--state-dir", text(&state)];
    let refused = || {
        for words in [&write[..], &["ls", text(&attached.device), "/"]] {
            let output = run(words);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{words:?}: {said}");
            assert!(said.contains("in use") && said.contains("disk.raw"), "{said}");
        }
    };
    let before = oracle::sha256(&disk);
    if oracle::have("qemu-storage-daemon") {
        let mut holder = daemon(&scratch, &disk, "raw", "on");
        until("the daemon", || scratch.path().join("pid").exists());
        refused();
        holder.kill().expect("it runs");
        holder.wait().expect("it ends");
    }
    assert_eq!(oracle::sha256(&disk), before);
    let etc = expect(0, &["ls", text(&disk), "/etc"]);
    let Some(mounted) = Mounted::new(&disk, &scratch.path().join("mnt")) else { return };
    refused();
    drop(mounted);
    // The mount itself has written to the superblock.
    until("the end of the mount", || run(&["ls", text(&disk), "/"]).status.success());
    assert_eq!(expect(0, &["ls", text(&disk), "/etc"]), etc);
    until("the locks' end", || run(&write).status.success());
    drop(attached);
    oracle::e2fsck(&disk, image::open(&disk, 1).offset);
}

/// A mounted filesystem looks like one that was powered off, and the kernel takes no locks.
#[test]
fn an_image_on_a_loop_device_is_in_use() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let attached = Command::new("losetup").args(["-f", "--show", text(&copy)]).output();
    let Some(attached) = attached.ok().filter(|attached| attached.status.success()) else {
        return oracle::skip("no loop device");
    };
    let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
    let before = oracle::sha256(&copy);
    let output = run(&["inject", text(&copy), "--write", "/etc/motd:hello"]);
    oracle::succeed("losetup", &["-d", &device]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(&device), "{said}");
    assert_eq!(oracle::sha256(&copy), before);
}
