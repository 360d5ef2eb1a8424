//! A guest's root filesystem that is also changed and read by mounting it, and what imgraft refuses to do to one.

use super::tree::{self, Mounted};
use super::{Scratch, expect, image, oracle, run, text};
use std::path::{Path, PathBuf};

/// A raw image of Debian with an ext4 root.
pub struct Rooted {
    pub disk: PathBuf,
    pub offset: u64,
}

impl Rooted {
    /// A fresh one; `None` where it cannot be mounted, or one of the tools is missing.
    pub fn new(scratch: &Scratch, tools: &[&str]) -> Option<Self> {
        if !tree::have(tools) || !tree::can_mount() {
            return None;
        }
        let guest = image::named("real", "bookworm-gpt")?;
        let disk = scratch.copy(&guest.path, "disk.raw");
        let offset = image::open(&disk, guest.partition).offset;
        Some(Self { disk, offset })
    }

    /// A copy of it.
    pub fn twin(&self, scratch: &Scratch, name: &str) -> Self {
        Self { disk: scratch.copy(&self.disk, name), offset: self.offset }
    }

    /// Runs a script in its root directory, as `$1`.
    pub fn run(&self, script: &str) {
        let mounted = Mounted::new(&self.disk, &format!("offset={}", self.offset));
        oracle::succeed("sh", &["-c", &format!("set -e\ncd \"$1\"\n{script}"), "sh", text(mounted.path())]);
    }

    /// What a script says of its root directory, `$1`.
    pub fn list(&self, script: &str) -> String {
        let mounted = Mounted::new(&self.disk, &format!("ro,noload,offset={}", self.offset));
        oracle::succeed("sh", &["-c", script, "sh", text(mounted.path())])
    }

    /// The report of a run that has to succeed, and e2fsck has nothing to say of.
    pub fn inject(&self, words: &[&str]) -> serde_json::Value {
        let report = expect(0, &[&["inject", text(&self.disk), "--json"], words].concat());
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        oracle::e2fsck(&self.disk, self.offset);
        report
    }
}

/// Fails with the lines in which two lists differ.
#[track_caller]
pub fn assert_same(found: &str, expected: &str) {
    let differs: Vec<_> = found.lines().zip(expected.lines()).filter(|(found, expected)| found != expected).collect();
    assert!(found == expected, "{differs:#?}");
}

/// Fails where the last of these options with one of these values does not end with the status and the message, or changes the
/// image.
#[track_caller]
pub fn assert_refused(disk: &Path, options: &[&str], cases: &[(impl AsRef<str>, i32, &str)]) {
    let before = std::fs::read(disk).expect("it is read");
    for (typed, status, told) in cases {
        let typed = typed.as_ref();
        let output = run(&[&["inject", text(disk)], options, &[typed]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(told), "{typed}: {stderr}");
        assert_eq!(output.status.code(), Some(*status), "{typed}: {stderr}");
    }
    assert!(std::fs::read(disk).expect("it is read") == before);
}
