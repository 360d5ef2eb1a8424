//! Five items into every image: right by e2fsck, qemu-img, debugfs and the kernel.

use crate::support::image::{self, Image};
use crate::support::{FiveItems, HASH, KEY, Scratch, expect, mount, oracle, text};
use std::path::Path;

/// Injects into a copy and lets every oracle speak.
fn five_items(image: &Image, more: &[&str]) {
    let scratch = Scratch::new();
    let extension = if image.format == "qcow2" { "qcow2" } else { "raw" };
    let copy = scratch.copy(&image.path, &format!("disk.{extension}"));
    let items = FiveItems::for_guest(&scratch, &image.name);
    let before = image::open(&copy, image.partition);
    let tree_before = mount::ours(&*before.fs);
    drop(before);

    let report = expect(0, &items.on(&copy, &[more, &["--json"]].concat()));
    let report: serde_json::Value = serde_json::from_str(&report).expect("the report is JSON");
    assert_eq!(report["changed"], true, "{}", image.name);
    for item in report["items"].as_array().expect("items") {
        assert_eq!(item["status"], "applied", "{}: {item}", image.name);
    }
    assert_eq!(report["verified"]["verdict"], "agrees", "{}: {}", image.name, report["verified"]);

    let after = image::open(&copy, image.partition);
    let tree_after = mount::ours(&*after.fs);
    let offset = after.offset;
    drop(after);
    for (path, seen) in &tree_before {
        let path_text = String::from_utf8_lossy(path);
        let expected_to_change = [
            "",
            "root",
            "root/.ssh",
            "root/.ssh/authorized_keys",
            "etc",
            "etc/network/interfaces",
            "etc/motd",
            "etc/shadow",
            "srv",
            "etc/systemd/network",
        ];
        if !expected_to_change.contains(&&*path_text) {
            assert_eq!(Some(seen), tree_after.get(path), "{}: {path_text} is not ours to change", image.name);
        }
    }

    if !(oracle::have("e2fsck") && oracle::have("debugfs") && oracle::have("qemu-img")) {
        return;
    }
    let raw = oracle::raw(&scratch, &copy, &image.format);
    oracle::e2fsck(&raw, offset);
    content(&raw, offset, items.network);
    if oracle::am_root() && oracle::have("getfattr") {
        let mounted = mount::Mounted::new(&raw, offset, scratch.path().join("mnt"));
        let kernel = mounted.tree();
        assert_eq!(kernel.len(), tree_after.len(), "{}", image.name);
        for (path, seen) in &kernel {
            assert_eq!(Some(seen), tree_after.get(path), "{}: {}", image.name, path.escape_ascii());
        }
    }
}

/// What debugfs finds in the filesystem.
fn content(raw: &Path, offset: u64, network: (&str, &str)) {
    let cat = |path: &str| oracle::debugfs(raw, offset, &format!("cat {path}"));
    assert!(cat("/root/.ssh/authorized_keys").lines().any(|line| line == KEY));
    assert_eq!(cat(network.0), network.1);
    assert_eq!(cat("/meta.js"), "{\"role\": \"web\"}");
    assert_eq!(cat("/etc/motd"), "put here by imgraft\n");
    assert_eq!(cat("/srv/imgraft/deep/file"), "written\n");
    let shadow = cat("/etc/shadow");
    let root = shadow.lines().find(|line| line.starts_with("root:")).expect("root has a line");
    assert_eq!(root.split(':').nth(1), Some(HASH));
    assert_eq!(oracle::owner(raw, offset, "/root/.ssh"), ("0700".into(), 0, 0));
    assert_eq!(oracle::owner(raw, offset, "/root/.ssh/authorized_keys"), ("0600".into(), 0, 0));
    assert_eq!(oracle::owner(raw, offset, "/srv/imgraft/deep/file"), ("0640".into(), 0, 0));
}

#[test]
fn phony_guest() {
    let image = Image {
        name: "phony-debian".into(),
        path: image::phony(),
        format: "qcow2".into(),
        partition: 1,
        group: "phony".into(),
    };
    five_items(&image, &[]);
}

#[test]
fn real_guests_in_every_layout_and_format() {
    for image in image::all(&["real"]) {
        let partition = image.partition.to_string();
        five_items(&image, &["--partition", if image.partition == 0 { "whole" } else { &partition }]);
        five_items(&image, &[]);
    }
}

#[test]
fn every_profile_of_mke2fs() {
    for image in image::all(&["profile"]) {
        five_items(&image, &[]);
    }
}

#[test]
fn the_key_is_one_that_ssh_keygen_reads() {
    if !oracle::have("ssh-keygen") {
        return;
    }
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let items = FiveItems::new(&scratch);
    expect(0, &items.on(&copy, &[]));
    let keys = expect(0, &["cat", text(&copy), "/root/.ssh/authorized_keys"]);
    let keys = scratch.file("authorized_keys", keys);
    let listing = oracle::succeed("ssh-keygen", &["-l", "-f", text(&keys)]);
    assert!(listing.contains("tests@imgraft (ED25519)"), "{listing}");
}

#[test]
fn dry_run_shows_everything_and_writes_nothing() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let before = oracle::sha256(&copy);
    let items = FiveItems::new(&scratch);
    let shown = expect(0, &items.on(&copy, &["--dry-run"]));
    assert_eq!(oracle::sha256(&copy), before);
    for expected in [
        "new file /root/.ssh/authorized_keys mode 0600 owner 0:0",
        &format!("+{KEY}"),
        "+    address 192.0.2.10/24",
        "+{\"role\": \"web\"}",
        "+put here by imgraft",
        "<new hash>",
        "dry run: nothing was written",
    ] {
        assert!(shown.contains(expected), "no {expected:?} in:\n{shown}");
    }
    assert!(!shown.contains("$6$"), "a hash is shown:\n{shown}");
}
