//! Guests on XFS and btrfs, by this host's kernel: right by xfs_repair, btrfs check and a mount, and clean after every end.

use crate::support::image::{self, Image};
use crate::support::{FiveItems, HASH, KEY, Scratch, expect, imgraft, oracle, run, text, tree};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the root's partition starts, as the script of these images lays them out, in MiB.
const ROOT_AT: &str = "12";
/// Its size in MiB.
const ROOT_SIZE: &str = "1523";

fn images() -> Vec<Image> {
    if tree::can_attach() { image::all(&["borrowed"]) } else { Vec::new() }
}

fn named(name: &str) -> Option<Image> {
    if tree::can_attach() { image::named("borrowed", name) } else { None }
}

fn report(words: &[&str]) -> Value {
    serde_json::from_str(&expect(0, words)).expect("the report is JSON")
}

/// The root filesystem of an image in a file of its own, and checked by its own tools.
pub fn checked(scratch: &Scratch, disk: &Path, format: &str, filesystem: &str) -> PathBuf {
    let raw = oracle::raw(scratch, disk, format);
    let root = scratch.path().join("root");
    let (from, to) = (format!("if={}", text(&raw)), format!("of={}", text(&root)));
    let (skip, count) = (format!("skip={ROOT_AT}"), format!("count={ROOT_SIZE}"));
    oracle::succeed("dd", &[&from, &to, "bs=1M", &skip, &count, "conv=sparse", "status=none"]);
    match filesystem {
        "xfs" => oracle::succeed("xfs_repair", &["-n", text(&root)]),
        _ => oracle::succeed("btrfs", &["check", "--readonly", text(&root)]),
    };
    root
}

#[test]
fn the_same_report_as_on_ext4() {
    let Some(ext4) = image::named("real", "bookworm-gpt.v3c") else { return };
    if images().is_empty() || !["xfs_repair", "btrfs", "qemu-img", "mount"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let copy = scratch.copy(&ext4.path, "ext4.qcow2");
    let on_ext4 = report(&items.on(&copy, &["--json"]));
    for image in images() {
        // The plain ones as qcow2, the one with subvolumes as raw.
        if (image.format == "raw") != image.name.contains("-sub") {
            continue;
        }
        let disk = scratch.copy(&image.path, &format!("disk.{}", image.format));
        let filesystem = if image.name.contains("xfs") { "xfs" } else { "btrfs" };
        let dry = report(&items.on(&disk, &["--dry-run", "--json"]));
        if image.format == "qcow2" {
            assert_eq!(oracle::sha256(&disk), oracle::sha256(&image.path), "{}: a dry run writes nothing", image.name);
        }
        let found = report(&items.on(&disk, &["--json"]));
        assert_eq!(found["items"], on_ext4["items"], "{}", image.name);
        assert_eq!(dry["items"], on_ext4["items"], "{}", image.name);
        assert_eq!((&found["changed"], &found["guest"]), (&on_ext4["changed"], &on_ext4["guest"]));
        assert_eq!((&found["access"], &found["kernel"]["attach"]), (&"kernel".into(), &"fuse".into()));
        assert_eq!(found["volume"]["filesystem"], filesystem);
        assert_eq!(found["verified"]["verdict"], "agrees");
        assert_eq!(found["verified"]["paths"], on_ext4["verified"]["paths"]);
        let subvolume = if image.name.contains("-sub") { "@".into() } else { Value::Null };
        assert_eq!(found["kernel"]["subvolume"], subvolume);
        let again = report(&items.on(&disk, &["--json"]));
        assert_eq!((&again["changed"], &again["io"]["blocks_written"]), (&false.into(), &0.into()), "{}", image.name);

        let root = checked(&scratch, &disk, &image.format, filesystem);
        let at = tempfile::tempdir().expect("a directory");
        oracle::succeed("mount", &["-o", "loop,ro", text(&root), text(at.path())]);
        let top = at.path().join(subvolume.as_str().unwrap_or_default());
        let read = |path: &str| fs::read_to_string(top.join(path)).expect(path);
        let seen = [
            read("root/.ssh/authorized_keys").lines().any(|line| line == KEY),
            read("etc/network/interfaces") == items.network.1,
            read("meta.js") == "{\"role\": \"web\"}",
            read("etc/motd") == "put here by imgraft\n",
            read("srv/imgraft/deep/file") == "written\n",
            read("etc/shadow").lines().any(|line| line.starts_with(&format!("root:{HASH}:"))),
        ];
        oracle::succeed("umount", &[text(at.path())]);
        assert_eq!(seen, [true; 6], "{}", image.name);
        fs::remove_file(root).expect("it is there");
    }
}

#[test]
fn looking_needs_no_item() {
    let Some(image) = named("bookworm-btrfs-sub.v3c") else { return };
    let disk = text(&image.path);
    assert!(expect(0, &["inspect", disk]).contains("Debian GNU/Linux 12"));
    assert!(expect(0, &["cat", disk, "/etc/fstab"]).contains("subvol=@"));
    assert!(expect(0, &["ls", disk, "/"]).contains("etc"));
    let userspace = run(&["cat", disk, "/etc/fstab", "--access", "userspace"]);
    assert_eq!(userspace.status.code(), Some(3));
}

#[test]
fn subvolumes_that_the_guest_mounts_below_its_root() {
    let Some(image) = named("bookworm-btrfs-sub") else { return };
    if !["btrfs", "qemu-img", "mount", "linux.uml"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk.raw");
    for attach in ["fuse", "uml"] {
        let (file, link) = (format!("/home/{attach}/file:in @home"), format!("/home/{attach}-link:file"));
        expect(
            0,
            &["inject", text(&disk), "--attach", attach, "--write", &file, "--write", &link, "--write", "/srv/x:in @"],
        );
        assert_eq!(expect(0, &["cat", text(&disk), &format!("/home/{attach}/file"), "--attach", attach]), "in @home");
    }
    let root = checked(&scratch, &disk, &image.format, "btrfs");
    let at = tempfile::tempdir().expect("a directory");
    oracle::succeed("mount", &["-o", "loop,ro", text(&root), text(at.path())]);
    let read = |path: &str| fs::read_to_string(at.path().join(path)).ok();
    let seen = ["@home/fuse/file", "@home/uml/file", "@home/uml-link", "@/srv/x"].map(read);
    let hidden = ["@/home/fuse", "@/home/uml"].map(|path| at.path().join(path).exists());
    oracle::succeed("umount", &[text(at.path())]);
    let expected = ["in @home", "in @home", "file", "in @"].map(|content| Some(content.to_owned()));
    assert_eq!((seen, hidden), (expected, [false; 2]));
}

#[test]
fn ext4_by_the_kernel() {
    if !tree::can_attach() || !["e2fsck", "debugfs", "qemu-img"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let [ours, theirs] = ["ours", "theirs"].map(|name| scratch.copy(&image::phony(), &format!("{name}.qcow2")));
    let userspace = report(&items.on(&ours, &["--json"]));
    let kernel = report(&items.on(&theirs, &["--json", "--attach", "fuse"]));
    assert_eq!(kernel["items"], userspace["items"]);
    assert_eq!((&kernel["access"], &kernel["verified"]["by"]), (&"kernel".into(), &"ext4-view".into()));
    let raw = oracle::raw(&scratch, &theirs, "qcow2");
    let offset = image::open(&theirs, 1).offset;
    oracle::e2fsck(&raw, offset);
    assert_eq!(oracle::debugfs(&raw, offset, "cat /etc/motd"), "put here by imgraft\n");
}

#[test]
fn in_place_only_where_it_is_asked_for() {
    let Some(image) = named("bookworm-xfs") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk.raw");
    let write = ["inject", text(&disk), "--write", "/etc/motd:in place", "--attach", "loop"];
    assert_eq!(run(&write).status.code(), Some(2));
    assert_eq!(run(&[&write[..], &["--in-place-unsafe", "--dry-run"]].concat()).status.code(), Some(2));
    let found = report(&[&write[..], &["--in-place-unsafe", "--json"]].concat());
    assert_eq!((&found["kernel"]["attach"], &found["verified"]["verdict"]), (&"loop".into(), &"agrees".into()));
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/motd"]), "in place");
    checked(&scratch, &disk, "raw", "xfs");
    // What is refused before anything is changed does not speak of a change.
    let unseen = run(&["inject", text(&disk), "--attach", "loop", "--in-place-unsafe", "--write", "/run/x:y"]);
    let said = String::from_utf8_lossy(&unseen.stderr).into_owned();
    assert_eq!(unseen.status.code(), Some(3), "{said}");
    assert!(said.contains("not seen") && !said.contains("changed in place"), "{said}");
    // The second of two files is immutable.
    let at = tempfile::tempdir().expect("a directory");
    let offset = format!("loop,offset={}", 12 << 20);
    oracle::succeed("mount", &["-o", &offset, text(&disk), text(at.path())]);
    oracle::succeed("chattr", &["+i", text(&at.path().join("etc/motd"))]);
    oracle::succeed("umount", &[text(at.path())]);
    let half =
        [&write[..], &["--in-place-unsafe", "--write", "/etc/before:x", "--write", "/etc/motd:longer than before"]]
            .concat();
    let output = run(&half);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("holds a part of the changes") && said.contains("hint: "), "{said}");
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/before"]), "x");
    let Some(qcow2) = named("bookworm-xfs.v3c") else { return };
    let disk = scratch.copy(&qcow2.path, "disk.qcow2");
    let write = ["inject", text(&disk), "--write", "/x:y", "--attach", "loop", "--in-place-unsafe"];
    assert_eq!(run(&write).status.code(), Some(3));
}

#[test]
fn without_root_it_says_what_is_missing() {
    let Some(image) = named("bookworm-xfs.v3c") else { return };
    // Where everybody may come.
    let place = tempfile::tempdir().expect("a directory");
    let (disk, program) = (place.path().join("disk.qcow2"), place.path().join("imgraft"));
    fs::copy(&image.path, &disk).expect("it can be copied");
    fs::copy(env!("CARGO_BIN_EXE_imgraft"), &program).expect("it can be copied");
    for path in [place.path(), &disk, &program] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("it is ours");
    }
    let output = Command::new(&program)
        .args(["inject", text(&disk), "--write", "/x:y", "--attach", "fuse"])
        .uid(65_534)
        .gid(65_534)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("only root may") && said.contains("hint: "), "{said}");
}

/// The processes that one has started: proc_pid_stat(5).
fn children_of(parent: u32) -> Vec<u32> {
    let is_child = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)) == Some(&parent.to_string())
    };
    let entries = fs::read_dir("/proc").expect("it is there").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}

/// Waits until no loop device is on an exported volume.
fn wait_for_detach() {
    let end = Instant::now() + Duration::from_secs(60);
    while oracle::succeed("losetup", &["-l", "-n", "-O", "BACK-FILE"]).lines().any(|file| file.trim() == "/volume") {
        assert!(Instant::now() < end, "a loop device stays");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn nothing_stays_after_a_signal() {
    let Some(image) = named("bookworm-xfs.v3c") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk.qcow2");
    let before = oracle::sha256(&disk);
    let started = Instant::now();
    expect(0, &["inject", text(&disk), "--write", "/etc/motd:x", "--dry-run"]);
    let mut whole = started.elapsed();
    let mut caught = 0;
    let rounds = 24;
    let mut round = 0;
    // A run that ends before its signal took less than that, and its round is tried again.
    let mut again = 0;
    while round < rounds {
        let signal = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP][round as usize % 4];
        // Whoever started the tests may ignore some of them, and that is handed down.
        let mut child = Command::new("env")
            .args([
                "--default-signal=HUP,INT,TERM",
                env!("CARGO_BIN_EXE_imgraft"),
                "inject",
                text(&disk),
                "--write",
                "/etc/motd:x",
                "--dry-run",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let started = Instant::now();
        let mut ended = false;
        while !ended && started.elapsed() < whole * round / rounds {
            std::thread::sleep(Duration::from_micros(200));
            ended = child.try_wait().expect("it can be asked").is_some();
        }
        let took = started.elapsed();
        let workers = children_of(child.id());
        if !ended {
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
        }
        let status = child.wait().expect("it ends");
        if status.code().is_some() && again < 4 * rounds {
            (whole, again) = (whole.min(took * 9 / 10), again + 1);
            continue;
        }
        caught += u32::from(status.code().is_none());
        round += 1;
        let end = Instant::now() + Duration::from_secs(20);
        while workers.iter().any(|worker| fs::exists(format!("/proc/{worker}")).expect("it can be asked")) {
            assert!(Instant::now() < end, "round {round}, {signal}: a process stays");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    wait_for_detach();
    assert_eq!(oracle::sha256(&disk), before);
    assert!(caught > rounds / 2, "only {caught} of {rounds} were caught in their work");
    expect(0, &["inject", text(&disk), "--write", "/etc/motd:x"]);
}

/// A run that writes, killed at any time: what its image holds is what it held, or all of what it was to hold.
#[test]
fn a_run_that_is_killed_leaves_the_old_image_or_the_new() {
    if !["xfs_repair", "qemu-img"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    for name in ["bookworm-xfs.v3c", "bookworm-xfs"] {
        let Some(image) = named(name) else { return };
        let scratch = Scratch::new();
        let mut found = [0, 0];
        // Halfway between the latest kill that left the old image and the earliest that left the new one: around the commit.
        let mut between = [Duration::ZERO, Duration::from_millis(800)];
        for _ in 0..40 {
            let disk = scratch.copy(&image.path, "disk");
            let write = ["inject", text(&disk), "--write", "/etc/motd:new", "--write", "/srv/deep/file:new"];
            let mut child =
                imgraft().args(write).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            let delay = (between[0] + between[1]) / 2;
            std::thread::sleep(delay);
            let _ = child.kill();
            child.wait().expect("it ends");
            wait_for_detach();
            expect(0, &["recover", text(&disk)]);
            let motd = expect(0, &["cat", text(&disk), "/etc/motd"]);
            let is_new = motd == "new";
            assert_eq!(run(&["cat", text(&disk), "/srv/deep/file"]).status.code(), Some(if is_new { 0 } else { 3 }));
            fs::remove_file(checked(&scratch, &disk, &image.format, "xfs")).expect("it is there");
            found[usize::from(is_new)] += 1;
            between = match found {
                // A machine that takes longer than thought.
                [_, 0] => [delay, between[1] * 2],
                _ if is_new => [between[0], delay],
                _ => [delay, between[1]],
            };
            if found[0] > 0 && found[1] > 0 && found[0] + found[1] >= 6 {
                break;
            }
        }
        assert!(found[0] > 0 && found[1] > 0, "{name}: {found:?}");
    }
}

/// Runs a command where of the devices there are only these.
fn with_devices(devices: &[(&str, u32, u32)], command: &str, scratch: &Scratch) -> (Option<i32>, String) {
    let at = scratch.path().join("dev");
    fs::create_dir_all(&at).expect("a directory");
    let at = text(&at);
    let nodes = [("null", 1, 3), ("urandom", 1, 9)];
    let nodes =
        nodes.iter().chain(devices).map(|(name, major, minor)| format!("mknod {at}/{name} c {major} {minor}; "));
    let nodes = nodes.collect::<String>();
    let script = format!("set -e; mount -t tmpfs devices {at}; {nodes} mount --move {at} /dev; {command}");
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_the_host_lacks_is_said_and_another_way_is_taken() {
    const FUSE: (&str, u32, u32) = ("fuse", 10, 229);
    const LOOP: (&str, u32, u32) = ("loop-control", 10, 237);
    let Some(image) = named("bookworm-xfs.v3c") else { return };
    if !oracle::have("linux.uml") {
        return;
    }
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk.qcow2");
    let inject = format!("{} inject {} --write /etc/motd:x", env!("CARGO_BIN_EXE_imgraft"), text(&disk));
    let before = oracle::sha256(&disk);
    for (devices, missing) in [
        (&[LOOP][..], "/dev/fuse is missing"),
        (&[FUSE], "/dev/loop-control is missing"),
        // As where no loop device is left: the kernel has made one that is not to be seen here.
        (&[FUSE, LOOP], "cannot open the free loop device"),
    ] {
        let (code, said) = with_devices(devices, &format!("{inject} --attach fuse"), &scratch);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(missing) && said.contains("hint: --attach uml"), "{said}");
        assert_eq!(oracle::sha256(&disk), before);
    }
    let (code, said) = with_devices(&[], &inject, &scratch);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/motd"]), "x");
}

#[test]
fn a_filesystem_that_the_kernel_will_not_mount() {
    let Some(image) = named("bookworm-xfs.v3c") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk.qcow2");
    // The geometry in the superblock, of which there is a checksum.
    oracle::succeed("qemu-io", &["-f", "qcow2", "-c", "write -P 0xff 12582928 64", text(&disk)]);
    let before = oracle::sha256(&disk);
    let output = run(&["inject", text(&disk), "--partition", "1", "--write", "/x:y"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("the kernel will not mount the xfs filesystem"), "{said}");
    assert_eq!(oracle::sha256(&disk), before);
    wait_for_detach();
}
