//! The lock against QEMU's own tools.

#![allow(clippy::print_stderr, reason = "a test that cannot run says so")]

use imgraft_vfs::ErrorKind;
use imgraft_vfs::transaction::{Access, Existing, NewFile, Transaction};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Whether the tool is there; where `REQUIRE_ORACLES` is set it must be.
fn have(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("REQUIRE_ORACLES").is_none(), "{tool} is not installed");
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

fn run(tool: &str, args: &[&str]) -> Output {
    Command::new(tool).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn image(format: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("disk.{format}"));
    let made = run("qemu-img", &["create", "-q", "-f", format, path.to_str().unwrap(), "4M"]);
    assert!(made.status.success(), "{}", text(&made));
    (dir, path)
}

/// A qemu-io that has opened the image and waits.
struct Holder(Child);

impl Holder {
    fn open(path: &Path, format: &str, extra: &[&str]) -> Self {
        let mut child = Command::new("qemu-io")
            .args(extra)
            .args(["-f", format, path.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It answers a command only once the image is open.
        writeln!(child.stdin.as_mut().unwrap(), "length").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("MiB") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "qemu-io ended");
        }
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_image_that_qemu_has_open_is_in_use() {
    if !have("qemu-io") || !have("qemu-img") {
        return;
    }
    for format in ["qcow2", "raw"] {
        let (_dir, path) = image(format);
        let writer = Holder::open(&path, format, &[]);
        for access in [Access::Read, Access::Write] {
            let error = Transaction::begin(&path, access).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{format} {access:?}: {error:?}");
            assert!(error.hint().is_some());
        }
        drop(writer);
        let reader = Holder::open(&path, format, &["-r"]);
        assert_eq!(Transaction::begin(&path, Access::Write).unwrap_err().kind(), ErrorKind::InUse, "{format}");
        Transaction::begin(&path, Access::Read).unwrap();
        drop(reader);
        Transaction::begin(&path, Access::Write).unwrap();
    }
}

#[test]
fn qemu_may_not_use_an_image_that_a_transaction_holds() {
    if !have("qemu-io") || !have("qemu-img") {
        return;
    }
    for format in ["qcow2", "raw"] {
        let (_dir, path) = image(format);
        let name = path.to_str().unwrap();
        let write = ["-f", format, "-c", "write 0 512", name];
        let read = ["-r", "-f", format, "-c", "read 0 512", name];

        let txn = Transaction::begin(&path, Access::Write).unwrap();
        for args in [&write[..], &read[..]] {
            let output = run("qemu-io", args);
            assert!(!output.status.success() && text(&output).contains("lock"), "{format}: {}", text(&output));
        }
        if format == "qcow2" {
            // Of a raw image it asks for nothing that could conflict.
            let info = run("qemu-img", &["info", "-f", format, name]);
            assert!(!info.status.success() && text(&info).contains("lock"), "{}", text(&info));
        }
        let shared = run("qemu-img", &["info", "-U", "-f", format, name]);
        assert!(shared.status.success(), "{format}: {}", text(&shared));
        drop(txn);

        let txn = Transaction::begin(&path, Access::Read).unwrap();
        let output = run("qemu-io", &write);
        assert!(!output.status.success() && text(&output).contains("lock"), "{format}: {}", text(&output));
        let output = run("qemu-io", &read);
        assert!(output.status.success(), "{format}: {}", text(&output));
        drop(txn);

        let output = run("qemu-io", &write);
        assert!(output.status.success(), "{format}: {}", text(&output));
    }
}

#[test]
fn an_image_that_the_storage_daemon_exports_is_in_use() {
    if !have("qemu-storage-daemon") || !have("qemu-img") {
        return;
    }
    let (dir, path) = image("qcow2");
    let pid = dir.path().join("pid");
    let child = Command::new("qemu-storage-daemon")
        .args(["--blockdev", &format!("file,node-name=file,filename={}", path.display())])
        .args(["--blockdev", "qcow2,node-name=disk,file=file"])
        .args(["--nbd-server", &format!("addr.type=unix,addr.path={}", dir.path().join("nbd").display())])
        .args(["--export", "nbd,id=export,node-name=disk,writable=on"])
        .args(["--pidfile", pid.to_str().unwrap()])
        .stdin(Stdio::null())
        .spawn();
    let _holder = Holder(child.unwrap());
    // Its pid file is there when all of the above is.
    for _ in 0..500 {
        if pid.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let error = Transaction::begin(&path, Access::Write).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
}

/// Whoever begins to use the old file while the new one is written would lose what it writes.
#[test]
fn a_file_that_is_being_replaced_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let held = |path: &Path| {
        for access in [Access::Read, Access::Write] {
            assert_eq!(Transaction::begin(path, access).unwrap_err().kind(), ErrorKind::InUse, "{access:?}");
        }
        assert_eq!(NewFile::create(path, Existing::Replace).unwrap_err().kind(), ErrorKind::InUse);
    };
    std::fs::write(&path, [1; 4096]).unwrap();
    let new = NewFile::create(&path, Existing::Replace).unwrap();
    new.write_at(&[2; 4096], 0).unwrap();
    held(&path);
    drop(new);
    Transaction::begin(&path, Access::Write).unwrap();
    let new = NewFile::create(&path, Existing::Replace).unwrap();
    new.write_at(&[3; 4096], 0).unwrap();
    held(&path);
    new.publish(0o600).unwrap();
    Transaction::begin(&path, Access::Write).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [3; 4096]);
}
