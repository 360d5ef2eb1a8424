//! Guests on several filesystems: one run changes all of them or none, and each is read back by tools that are not ours.

use crate::main_job::content;
use crate::support::image::{self, Image};
use crate::support::{FiveItems, KEY, Scratch, expect, oracle, root, run, text, tree};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const PASSPHRASE: &str = "open sesame";

/// Where a filesystem of an image lies.
#[derive(Clone, Copy)]
pub enum Place {
    Partition(&'static str),
    Logical(&'static str),
    Luks(&'static str),
}

/// The root and the home of a guest, the place of its ESP, and the filesystem of its home.
fn layout(name: &str) -> (Place, Place, &'static str, &'static str) {
    use Place::{Logical, Luks, Partition};
    match name {
        "tree-gpt" => (Partition("3"), Partition("4"), "/boot/efi", "ext4"),
        "tree-auto" => (Partition("3"), Partition("4"), "/efi", "ext4"),
        "tree-lvm" => (Logical("deb-vg/root"), Logical("deb-vg/home-a"), "/boot/efi", "ext4"),
        "tree-luks" => (Luks("3"), Luks("4"), "/boot/efi", "ext4"),
        "tree-xfs" => (Partition("3"), Partition("4"), "/boot/efi", "xfs"),
        other => panic!("{other} is not known here"),
    }
}

fn images() -> Vec<Image> {
    let tools = ["e2fsck", "debugfs", "fsck.vfat", "mtype", "sfdisk", "lvm", "losetup", "cryptsetup"];
    if !tools.iter().all(|tool| oracle::have(tool)) {
        return Vec::new();
    }
    if !nix::unistd::geteuid().is_root() {
        oracle::skip("LVM2 works for root only");
        return Vec::new();
    }
    image::all(&["tree"])
}

pub fn report(words: &[&str]) -> Value {
    serde_json::from_str(&expect(0, words)).expect("the report is JSON")
}

/// A filesystem of an image in a file of its own, taken out by Python, LVM2 and OpenSSL.
pub fn taken(scratch: &Scratch, disk: &Path, place: Place, name: &str) -> PathBuf {
    let out = scratch.path().join(name);
    let script = root().join("testdata/images/stacked.py");
    let stacked = |words: &[&str]| oracle::succeed("/usr/bin/python3", &[&[text(&script)], words].concat());
    match place {
        Place::Partition(number) => stacked(&["part", "get", text(disk), number, text(&out)]),
        Place::Logical(name) => stacked(&["lv", "get", text(disk), name, text(&out)]),
        Place::Luks(number) => {
            let container = scratch.path().join("container");
            let key = scratch.file("passphrase", PASSPHRASE);
            stacked(&["part", "get", text(disk), number, text(&container)]);
            stacked(&["luks", "get", text(&container), text(&key), text(&out)])
        }
    };
    out
}

fn mtype(esp: &Path, path: &str) -> String {
    tree::run(Command::new("mtype").arg("-i").arg(esp).arg(path))
}

/// The mounts of a report, by place.
pub fn places(report: &Value) -> Vec<&str> {
    let mounts = report["mounts"].as_array().expect("a list").iter();
    mounts.map(|mount| mount["place"].as_str().expect("a text")).collect()
}

#[test]
fn one_run_over_all_filesystems() {
    for image in images() {
        let (on_root, on_home, esp_place, home_kind) = layout(&image.name);
        if home_kind == "xfs" && !(tree::can_attach() && oracle::have("xfs_repair")) {
            continue;
        }
        let scratch = Scratch::new();
        let disk = scratch.copy(&image.path, "disk");
        let items = FiveItems::new(&scratch);
        let user_key = format!("debian:string:{KEY}");
        let on_boot = "/boot/loader/entries/imgraft.conf:options quiet\n";
        let on_esp = format!("{esp_place}/EFI/BOOT/a long name.cfg:set timeout=0\n");
        let key = format!("all:key:{PASSPHRASE}");
        let more = ["--ssh-inject", &user_key, "--write", on_boot, "--write", &on_esp, "--key", &key];
        let before = oracle::sha256(&disk);
        let dry = expect(0, &items.on(&disk, &[&more[..], &["--dry-run"]].concat()));
        assert!(dry.contains("options quiet") && dry.contains("set timeout=0"), "{dry}");
        if home_kind != "xfs" {
            assert_eq!(oracle::sha256(&disk), before, "{}: a dry run writes nothing", image.name);
        }
        let told = report(&items.on(&disk, &[&more[..], &["--json"]].concat()));
        assert_eq!((&told["changed"], &told["verified"]["verdict"]), (&true.into(), &"agrees".into()), "{told}");
        let mut expected = vec!["/boot", esp_place, "/home"];
        if image.name == "tree-xfs" {
            // Nobody says that there is an ESP: its directory is one of /boot.
            expected = vec!["/boot", "/home"];
        }
        let mut found = places(&told);
        found.sort_unstable();
        assert_eq!(found, expected, "{}", image.name);
        for mount in told["mounts"].as_array().expect("a list") {
            let by = if mount["place"] == "/home" && home_kind == "xfs" { "kernel" } else { "userspace" };
            assert_eq!(mount["access"], by, "{mount}");
        }

        let plain = taken(&scratch, &disk, on_root, "root");
        oracle::e2fsck(&plain, 0);
        content(&plain, 0, items.network);
        // What is below a mount is nobody's to change.
        for path in ["/boot/loader", "/boot/efi", "/efi", "/home/debian/.ssh"] {
            let stat = oracle::debugfs(&plain, 0, &format!("stat {path}"));
            assert!(!stat.contains("Inode:"), "{}: {path} is on the root: {stat}", image.name);
        }
        if image.name != "tree-auto" {
            assert_eq!(oracle::debugfs(&plain, 0, "cat /boot/hidden"), "under what is mounted\n");
        }

        let boot = taken(&scratch, &disk, Place::Partition("2"), "boot");
        oracle::e2fsck(&boot, 0);
        assert_eq!(oracle::debugfs(&boot, 0, "cat /loader/entries/imgraft.conf"), "options quiet\n");
        assert_eq!(oracle::debugfs(&boot, 0, "cat /vmlinuz"), "placeholder of a kernel\n");

        let esp = taken(&scratch, &disk, Place::Partition("1"), "esp");
        tree::fsck_vfat(&esp, "after the run");
        if image.name == "tree-xfs" {
            assert_eq!(oracle::debugfs(&boot, 0, "cat \"/efi/EFI/BOOT/a long name.cfg\""), "set timeout=0\n");
        } else {
            assert_eq!(mtype(&esp, "::/EFI/BOOT/a long name.cfg"), "set timeout=0\n");
        }
        assert_eq!(mtype(&esp, "::/EFI/BOOT/BOOTX64.EFI"), "not a boot loader\n");

        let home = taken(&scratch, &disk, on_home, "home");
        if home_kind == "xfs" {
            oracle::succeed("xfs_repair", &["-n", text(&home)]);
            let at = tempfile::tempdir().expect("a directory");
            oracle::succeed("mount", &["-o", "loop,ro,nouuid", text(&home), text(at.path())]);
            let keys = std::fs::read_to_string(at.path().join("debian/.ssh/authorized_keys"));
            oracle::succeed("umount", &[text(at.path())]);
            assert!(keys.expect("it is there").lines().any(|line| line == KEY));
        } else {
            oracle::e2fsck(&home, 0);
            let keys = oracle::debugfs(&home, 0, "cat /debian/.ssh/authorized_keys");
            assert!(keys.lines().any(|line| line == KEY), "{keys}");
            assert_eq!(oracle::owner(&home, 0, "/debian/.ssh"), ("0700".into(), 1000, 1000));
            assert_eq!(oracle::owner(&home, 0, "/debian/.ssh/authorized_keys"), ("0600".into(), 1000, 1000));
            if tree::can_mount() {
                let mounted = tree::Mounted::new(&home, "ro,noload");
                let profile = std::fs::read_to_string(mounted.path().join("debian/.profile"));
                assert_eq!(profile.expect("it is there"), "# of the mounted home\n");
            }
        }

        let again = report(&items.on(&disk, &[&more[..], &["--json"]].concat()));
        assert_eq!((&again["changed"], &again["io"]["blocks_written"]), (&false.into(), &0.into()), "{}", image.name);
        assert!(places(&again).is_empty());
    }
}

#[test]
fn a_usr_of_its_own_leaves_what_systemd_mounts_in_doubt() {
    let Some(image) = image::named("tree", "tree-auto") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk");
    let root = format!("{}?offset={}", text(&disk), image::open(&disk, 3).offset);
    let generator = "rm /usr/lib/systemd/system-generators/systemd-gpt-auto-generator";
    oracle::succeed("debugfs", &["-w", "-R", generator, &root]);
    expect(0, &["inject", text(&disk), "--mount", "none", "--write", "/etc/fstab:LABEL=boot /usr ext4\n"]);
    let before = oracle::sha256(&disk);
    let write = ["inject", text(&disk), "--write", "/home/x:1"];
    let output = run(&write);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("in its /usr alone") && said.contains("--mount 4:/home"), "{said}");
    assert_eq!(oracle::sha256(&disk), before);
    let told = report(&[&write[..], &["--mount", "4:/home", "--json"]].concat());
    assert_eq!(places(&told), ["/home"], "{told}");
}

#[test]
fn all_or_nothing_over_all_filesystems() {
    let Some(image) = image::named("tree", "tree-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk");
    let items = FiveItems::new(&scratch);
    let before = oracle::sha256(&disk);
    let refused = |words: &[&str], status: i32, part: &str| {
        let output = run(&items.on(&disk, words));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
        assert_eq!(said.lines().filter(|line| !line.starts_with("hint: ")).count(), 1, "{said}");
        assert_eq!(oracle::sha256(&disk), before, "{words:?}");
        said
    };
    // The last of the filesystems is full.
    let big = scratch.file("big", vec![b'x'; 9 << 20]);
    let upload = format!("{}:/home/debian/big", text(&big));
    refused(&["--write", "/boot/x:y", "--upload", &upload], 3, "/home/debian/big: ");
    // Names and attributes that only one of them cannot take.
    refused(&["--write", "/boot/x:y", "--write", "/boot/efi/a?b:z"], 3, "/boot/efi/a?b: ");
    refused(&["--write", "/boot/efi/x:y", "--chmod", "0600:/boot/efi/x"], 3, "/boot/efi/x: a FAT filesystem keeps no");
    // What is mounted and cannot be had.
    for (path, part, hint) in [
        (
            "/data",
            "line 8 of /etc/fstab (LABEL=gone), and cannot be opened: no volume has the label",
            "--mount none:/data",
        ),
        (
            "/tmp",
            "line 6 of /etc/fstab (tmpfs), and cannot be opened: it is a tmpfs",
            "or --delete the symbolic link that leads there",
        ),
        ("/mnt", "line 9 of /etc/fstab (/srv/data), and cannot be opened: it is a bind mount", "/srv/data"),
        ("/nfs", "line 10 of /etc/fstab (nas:/export), and cannot be opened", "--mount VOLUME:/nfs"),
    ] {
        let said = refused(&["--write", "/boot/x:y", "--write", &format!("{path}/x:y")], 3, part);
        assert!(said.contains(hint), "{said}");
    }
    // An optional item leaves the others.
    let told = expect(5, &items.on(&disk, &["-n", "--write", "/data/x:y", "--optional", "files"]));
    assert!(
        told.contains("FAILED (optional)") && told.contains("error: item files: /data is mounted by line 8"),
        "{told}"
    );

    // An ESP that was not unmounted cleanly is looked at, and not written to.
    let mut bytes = std::fs::read(&disk).expect("a disk");
    bytes[(1 << 20) + 0x25] |= 1;
    std::fs::write(&disk, bytes).expect("there is room");
    let before = oracle::sha256(&disk);
    let output = run(&items.on(&disk, &["--write", "/boot/efi/x:y"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("/boot/efi is mounted by line 2 of /etc/fstab") && said.contains("dirty bit"), "{said}");
    assert_eq!(oracle::sha256(&disk), before);
    assert!(expect(0, &["ls", text(&disk), "/boot/efi/EFI"]).contains("BOOT"));
}

#[test]
fn what_is_not_changed_stays_to_the_byte() {
    let Some(image) = image::named("tree", "tree-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk");
    let sums = || {
        let sum = |number| oracle::sha256(&taken(&scratch, &disk, Place::Partition(number), "part"));
        ["1", "2", "4"].map(sum)
    };
    let before = sums();
    // What is to be in /boot is looked at, and is there already.
    expect(0, &["inject", text(&disk), "--write", "/etc/x:y", "--write", "/boot/vmlinuz:placeholder of a kernel\n"]);
    assert_eq!(sums(), before);
}

#[test]
fn what_was_typed_goes_before_the_guest() {
    let Some(image) = image::named("tree", "tree-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&image.path, "disk");
    let ls = |words: &[&str]| expect(0, &[&["ls", text(&disk)], words].concat());
    assert!(ls(&["/boot"]).contains("vmlinuz"));
    assert!(ls(&["/boot", "--mount", "none:/boot"]).contains("hidden"));
    assert!(ls(&["/boot", "--mount", "none"]).contains("hidden"));
    assert!(ls(&["/data", "--mount", "none:/boot", "--mount", "label:boot:/data"]).contains("vmlinuz"));
    assert!(ls(&["/tmp", "--mount", "none:/tmp"]).is_empty());
    let words = ["/data", "--mount", "2:/data"];
    assert!(ls(&words).contains("vmlinuz"), "nothing of /boot was needed");
    // A volume has one place in a run.
    let written = ["inject", text(&disk), "--mount", "2:/data", "--write", "/data/x:y", "--write", "/boot/x:y"];
    let output = run(&written);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("partition 2 is mounted at") && said.contains("a second place is not supported"), "{said}");
    let words = ["--mount", "none:/boot", "--mount", "2:/data", "--write", "/data/x:y"];
    expect(0, &[&["inject", text(&disk)], &words[..]].concat());
    let boot = taken(&scratch, &disk, Place::Partition("2"), "boot");
    oracle::e2fsck(&boot, 0);
    assert_eq!(oracle::debugfs(&boot, 0, "cat /x"), "y");
    for typed in ["2", "auto:/x", "2:/", "nowhere:x"] {
        assert_eq!(run(&["ls", text(&disk), "/", "--mount", typed]).status.code(), Some(2), "{typed}");
    }
}

#[test]
fn inspect_shows_the_tree() {
    let Some(image) = image::named("tree", "tree-gpt") else { return };
    let inspected = report(&["inspect", text(&image.path), "--json"]);
    let volumes = inspected["volumes"].as_array().expect("a list");
    let mounts = volumes.iter().find_map(|volume| volume["mounts"].as_array()).expect("the root has mounts");
    let told =
        |place: &str| mounts.iter().find(|mount| mount["place"] == place).unwrap_or_else(|| panic!("no {place}"));
    for (place, volume, filesystem) in [("/boot", "2", "ext4"), ("/boot/efi", "1", "vfat"), ("/home", "4", "ext4")] {
        let mount = told(place);
        assert_eq!((&mount["volume"], &mount["filesystem"]), (&volume.into(), &filesystem.into()), "{mount}");
        assert_eq!((&mount["mounted"], &mount["problem"]), (&true.into(), &Value::Null));
    }
    assert_eq!(told("/home")["origin"], "line 5 of /etc/fstab (LABEL=home)");
    assert!(told("/data")["problem"].as_str().expect("a text").contains("no volume has the label \"gone\""));
    assert_eq!(told("/media/cdrom0")["mounted"], false);
    let shown = expect(0, &["inspect", text(&image.path)]);
    assert!(shown.contains("  mount          /boot/efi: 1 (vfat), by line 2 of /etc/fstab (PARTUUID="), "{shown}");

    let Some(image) = image::named("tree", "tree-luks") else { return };
    let key = format!("3:key:{PASSPHRASE}");
    let shown = expect(0, &["inspect", text(&image.path), "--key", &key]);
    assert!(shown.contains("/home: 4 (crypto_LUKS)") && shown.contains("there is no key for it"), "{shown}");
    let output = run(&["inject", text(&image.path), "-n", "--key", &key, "--write", "/home/debian/x:y"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("partition 4 is encrypted (LUKS)") && said.contains("--key 4:file:PATH"), "{said}");
    expect(0, &["inject", text(&image.path), "-n", "--key", &key, "--write", "/boot/x:y"]);
}

#[test]
fn a_home_without_a_driver_is_named_where_it_is_needed() {
    let Some(image) = image::named("tree", "tree-xfs") else { return };
    let words = |path: &'static str| ["inject", text(&image.path), "-n", "--access", "userspace", "--write", path];
    expect(0, &words("/boot/x:y"));
    let output = run(&words("/home/x:y"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("partition 4 holds xfs, for which there is no driver"), "{said}");
    assert!(said.contains("hint: --access auto"), "{said}");
}

#[test]
fn a_hostile_fstab_is_refused_or_of_no_effect() {
    let Some(image) = image::named("tree", "tree-gpt") else { return };
    let scratch = Scratch::new();
    let lines = |count: usize| (0..count).map(|number| format!("UUID=x /m{number} ext4\n")).collect::<String>();
    for (fstab, words, status, part) in [
        (lines(1024), &["--write", "/etc/x:y"][..], 0, ""),
        (lines(1025), &["--write", "/etc/x:y"], 3, "more than 1024"),
        (lines(1025), &["--write", "/etc/x:y", "--mount", "none"], 0, ""),
        ("#\n".repeat(600_000), &["--write", "/etc/x:y"], 3, "--mount none"),
        ("LABEL=home /a/../../../etc ext4\n".into(), &["--write", "/etc/x:y"], 0, ""),
        ("LABEL=home /bin ext4\n".into(), &["--write", "/bin/x:y"], 0, ""),
        ("LABEL=home /etc/hostname ext4\n".into(), &["--write", "/etc/hostname:y"], 0, ""),
        (
            "LABEL=home /h ext4\nLABEL=home /h ext4\n".into(),
            &["--write", "/h/x:y"],
            3,
            "line 1 of /etc/fstab (LABEL=home) mounts something there, too",
        ),
        ("LABEL=root /again ext4\n".into(), &["--write", "/again/x:y"], 3, "partition 3 is mounted at / already"),
        ("LABEL=\\040\\033[2J /h ext4\n".into(), &["--write", "/h/x:y"], 3, "\\u{1b}[2J"),
    ] {
        let disk = scratch.copy(&image.path, "disk");
        let file = scratch.file("fstab", &fstab);
        let upload = format!("{}:/etc/fstab", text(&file));
        expect(0, &["inject", text(&disk), "--mount", "none", "--upload", &upload]);
        let output = run(&[&["inject", text(&disk)], words].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        let start: String = fstab.chars().take(40).collect();
        assert_eq!(output.status.code(), Some(status), "{start}: {said}");
        assert!(said.contains(part), "{start}: {said}");
        if status == 0 {
            oracle::e2fsck(&taken(&scratch, &disk, Place::Partition("3"), "root"), 0);
            oracle::e2fsck(&taken(&scratch, &disk, Place::Partition("4"), "home"), 0);
        }
    }
}
