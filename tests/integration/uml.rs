//! Guests on XFS and btrfs without root, by a User Mode Linux kernel: right by xfs_repair and btrfs check, and the same report as
//! on ext4.

use crate::support::image::{self, Image};
use crate::support::{FiveItems, KEY, Scratch, expect, imgraft, oracle, run, text};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const NOBODY: u32 = 65_534;
/// Where the root's partition starts, as the script of these images lays them out, and its size, in MiB.
const ROOT: (u64, u64) = (12, 1523);

fn named(name: &str) -> Option<Image> {
    if !oracle::have("linux.uml") {
        return None;
    }
    image::named("borrowed", name)
}

/// A directory for everybody, with the program, a disk and the files of five items in it.
struct Place {
    directory: tempfile::TempDir,
    words: Vec<String>,
}

impl Place {
    fn new(image: &Path) -> Self {
        let scratch = Scratch::new();
        let items = FiveItems::new(&scratch);
        let directory = tempfile::tempdir().expect("a directory");
        let at = directory.path();
        open_to_all(at);
        for file in fs::read_dir(scratch.path()).expect("it can be read").flatten() {
            copy(&file.path(), &at.join(file.file_name()));
        }
        copy(Path::new(env!("CARGO_BIN_EXE_imgraft")), &at.join("imgraft"));
        copy(image, &at.join("disk"));
        let words = items.words.iter().map(|word| word.replace(text(scratch.path()), text(at))).collect();
        Self { directory, words }
    }

    fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// A run by nobody, where this is root.
    fn run(&self, words: &[&str]) -> std::process::Output {
        let mut command = Command::new(self.directory.path().join("imgraft"));
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.args(words).current_dir("/").env_clear().output().expect("it starts")
    }

    fn report(&self, more: &[&str]) -> Value {
        let disk = self.disk();
        let words = ["inject", text(&disk), "--json"].into_iter();
        let words: Vec<&str> = words.chain(self.words.iter().map(String::as_str)).chain(more.iter().copied()).collect();
        let output = self.run(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        serde_json::from_slice(&output.stdout).expect("the report is JSON")
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("it is ours");
}

fn copy(from: &Path, to: &Path) {
    oracle::succeed("cp", &["--sparse=always", text(from), text(to)]);
    open_to_all(to);
}

/// The root filesystem, by its own tools.
fn check(place: &Place, format: &str, filesystem: &str) {
    let scratch = Scratch::new();
    let raw = oracle::raw(&scratch, &place.disk(), format);
    let root = scratch.path().join("root");
    let (skip, count) = (format!("skip={}", ROOT.0), format!("count={}", ROOT.1));
    let (from, to) = (format!("if={}", text(&raw)), format!("of={}", text(&root)));
    oracle::succeed("dd", &[&from, &to, "bs=1M", &skip, &count, "conv=sparse", "status=none"]);
    match filesystem {
        "xfs" => oracle::succeed("xfs_repair", &["-n", text(&root)]),
        _ => oracle::succeed("btrfs", &["check", "--readonly", text(&root)]),
    };
}

#[test]
fn nobody_gets_the_same_report_as_on_ext4() {
    let Some(ext4) = image::named("real", "bookworm-gpt.v3c") else { return };
    if !["xfs_repair", "btrfs", "qemu-img"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let on_ext4 = Place::new(&ext4.path).report(&[]);
    for (name, filesystem, subvolume) in
        [("bookworm-xfs.v3c", "xfs", Value::Null), ("bookworm-btrfs-sub.v3c", "btrfs", "@".into())]
    {
        let Some(image) = named(name) else { return };
        let place = Place::new(&image.path);
        let dry = place.report(&["--dry-run"]);
        assert_eq!(oracle::sha256(&place.disk()), oracle::sha256(&image.path), "{name}: a dry run writes nothing");
        let found = place.report(&[]);
        for report in [&dry, &found] {
            assert_eq!(report["items"], on_ext4["items"], "{name}");
            assert_eq!((&report["changed"], &report["guest"]), (&on_ext4["changed"], &on_ext4["guest"]));
            assert_eq!((&report["access"], &report["kernel"]["attach"]), (&"kernel".into(), &"uml".into()));
            assert_eq!(
                (&report["volume"]["filesystem"], &report["kernel"]["subvolume"]),
                (&filesystem.into(), &subvolume)
            );
        }
        assert_eq!(found["verified"]["verdict"], "agrees");
        let again = place.report(&[]);
        assert_eq!((&again["changed"], &again["io"]["blocks_written"]), (&false.into(), &0.into()), "{name}");
        check(&place, &image.format, filesystem);
        let disk = place.disk();
        let keys = place.run(&["cat", text(&disk), "/root/.ssh/authorized_keys"]);
        assert!(String::from_utf8_lossy(&keys.stdout).lines().any(|line| line == KEY), "{keys:?}");
    }
}

#[test]
fn as_root_too() {
    let Some(image) = named("bookworm-xfs.v3c") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk.qcow2");
    let words = ["inject", text(&disk), "--write", "/etc/motd:by a process\n", "--attach", "uml", "--json"];
    let report: Value = serde_json::from_str(&expect(0, &words)).expect("the report is JSON");
    assert_eq!(report["kernel"]["attach"], "uml");
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/motd", "--attach", "uml"]), "by a process\n");
    // Ours by a kernel, for once.
    let ext4 = scratch.copy(&image::phony(), "ext4.qcow2");
    expect(0, &["inject", text(&ext4), "--write", "/etc/motd:by a process\n", "--attach", "uml"]);
    assert_eq!(expect(0, &["cat", text(&ext4), "/etc/motd"]), "by a process\n");
}

#[test]
fn without_a_kernel_it_says_what_to_install() {
    let Some(image) = named("bookworm-xfs.v3c") else { return };
    let place = Place::new(&image.path);
    let disk = place.disk();
    let words = ["inject", text(&disk), "--write", "/x:y", "--uml-kernel", "/nonexistent/linux"];
    let output = place.run(&words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("/nonexistent/linux") && said.contains("user-mode-linux"), "{said}");
    assert_eq!(run(&[&words[..], &["--attach", "loop", "--in-place-unsafe"]].concat()).status.code(), Some(2));
}

#[test]
fn nothing_stays_of_a_run_that_is_killed() {
    let Some(image) = named("bookworm-btrfs-sub.v3c") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk.qcow2");
    let before = oracle::sha256(&disk);
    // By the kernel's name its processes are known.
    let place = tempfile::tempdir().expect("a directory");
    open_to_all(place.path());
    let kernel = place.path().join("kernel");
    std::os::unix::fs::symlink("/usr/bin/linux.uml", &kernel).expect("it can be made");
    let words = ["inject", text(&disk), "--write", "/etc/motd:x", "--dry-run", "--attach", "uml"];
    let words = [&words[..], &["--uml-kernel", text(&kernel)]].concat();
    let started = Instant::now();
    expect(0, &words);
    assert_eq!(running(text(&kernel)), 0);
    let whole = started.elapsed();
    let rounds = 10;
    for round in 0..rounds {
        let mut child = imgraft().args(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(whole * round / rounds);
        let _ = child.kill();
        child.wait().expect("it ends");
    }
    let end = Instant::now() + Duration::from_secs(20);
    while running(text(&kernel)) > 0 {
        assert!(Instant::now() < end, "a process stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(oracle::sha256(&disk), before);
}

/// How many processes have this word on their command line; one that has ended has none.
fn running(word: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("it is there").flatten();
    let lines = processes.map(|process| fs::read(process.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| String::from_utf8_lossy(line).contains(word)).count()
}
