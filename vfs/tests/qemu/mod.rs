//! QEMU's own tools as the oracle for images.

#![allow(dead_code, reason = "every test binary uses its own part of it")]

use imgraft_vfs::transaction::{Access, Transaction};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

/// Whether the tools are there. Says so if not, and fails where the oracles are required.
pub fn available() -> bool {
    let there = ["qemu-img", "qemu-io"].iter().all(|tool| Command::new(tool).arg("--version").output().is_ok());
    if !there {
        assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "qemu-img or qemu-io is missing");
        skip();
    }
    there
}

#[expect(clippy::print_stderr, reason = "the one way to say that a test did not run")]
fn skip() {
    eprintln!("skipped: qemu-img or qemu-io is missing");
}

/// Runs a tool, again where it finds the image locked.
///
/// A process that another test's thread starts shares this one's open images, and so their locks, between its fork and
/// its exec: an image can stay locked for a moment after it was closed.
fn run(tool: &str, args: &[&str]) -> Output {
    patiently(|| {
        let output = Command::new(tool).args(args).output().unwrap();
        let locked = String::from_utf8_lossy(&output.stderr).contains("lock\nIs another process using");
        if locked { Err(output) } else { Ok(output) }
    })
    .unwrap_or_else(|output| output)
}

/// Opens and locks an image, which no other process uses for longer than a moment.
pub fn begin(image: &Path, access: Access) -> Transaction {
    patiently(|| Transaction::begin(image, access)).unwrap()
}

fn patiently<T, E>(attempt: impl Fn() -> Result<T, E>) -> Result<T, E> {
    for _ in 0..50 {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
        sleep(Duration::from_millis(20));
    }
    attempt()
}

/// Runs `qemu-img`, which must succeed.
pub fn img(args: &[&str]) -> String {
    let output = run("qemu-img", args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "qemu-img {args:?}: {text}");
    text
}

/// Runs `qemu-img` and says whether it succeeded.
pub fn img_accepts(args: &[&str]) -> bool {
    run("qemu-img", args).status.success()
}

/// Runs `qemu-io` with these commands on a qcow2 image; all must succeed.
pub fn io(image: &Path, commands: &[String]) {
    if commands.is_empty() {
        return;
    }
    let mut args = vec!["-f", "qcow2"];
    for command in commands {
        args.extend(["-c", command]);
    }
    args.push(text(image));
    let output = run("qemu-io", &args);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("failed") && !said.contains("rror"), "{args:?}: {said}");
}

/// Asserts that `qemu-img check` finds neither an error nor a leak.
pub fn check(image: &Path, when: &str) {
    let output = run("qemu-img", &["check", "-f", "qcow2", text(image)]);
    assert!(
        output.status.code() == Some(0),
        "{when}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The parts of the disk that a bitmap says were written, in bytes, as QEMU's NBD server tells them.
pub fn dirty(image: &Path, name: &str) -> Vec<Range<u64>> {
    // The server marks the bitmap as in use and writes it back: that is for a copy.
    let (copy, socket) = (image.with_extension("exported"), image.with_extension("socket"));
    fs::copy(image, &copy).unwrap();
    let mut server =
        Command::new("qemu-nbd").args(["-f", "qcow2", "-B", name, "-k", text(&socket), text(&copy)]).spawn().unwrap();
    patiently(|| if socket.exists() { Ok(()) } else { Err("qemu-nbd does not listen") }).unwrap();
    let source =
        format!("driver=nbd,server.type=unix,server.path={},x-dirty-bitmap=qemu:dirty-bitmap:{name}", text(&socket));
    let map = img(&["map", "--output=json", "--image-opts", &source]);
    // It serves one client, and ends with it.
    assert!(server.wait().unwrap().success());
    fs::remove_file(copy).unwrap();
    let number = |line: &str, key: &str| -> u64 {
        let (_, rest) = line.split_once(&format!("\"{key}\": ")).unwrap();
        rest.split([',', '}']).next().unwrap().trim().parse().unwrap()
    };
    // A dirty part is shown as one without data.
    let dirty = map.lines().filter(|line| line.contains("\"data\": false"));
    dirty.map(|line| (number(line, "start"), number(line, "length"))).map(|(at, len)| at..at + len).collect()
}

/// The guest's disk as QEMU reads it.
pub fn content(image: &Path) -> Vec<u8> {
    let raw = image.with_extension("raw");
    img(&["convert", "-f", "qcow2", "-O", "raw", text(image), text(&raw)]);
    take(raw)
}

/// The guest's disk as a snapshot holds it.
pub fn snapshot(image: &Path, name: &str) -> Vec<u8> {
    let raw = image.with_extension("snapshot.raw");
    img(&["convert", "-f", "qcow2", "-O", "raw", "-l", name, text(image), text(&raw)]);
    take(raw)
}

fn take(raw: PathBuf) -> Vec<u8> {
    let bytes = fs::read(&raw).unwrap();
    fs::remove_file(raw).unwrap();
    bytes
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Numbers that look random and are the same in every run (xorshift64*).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
