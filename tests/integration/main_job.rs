//! Five items into every image: right by e2fsck, qemu-img, debugfs and the kernel.

use crate::support::image::{self, Image};
use crate::support::{FiveItems, HASH, KEY, Scratch, expect, oracle, text, tree};
use std::path::Path;

/// Injects into a copy and lets every oracle speak.
fn five_items(image: &Image, more: &[&str]) {
    let scratch = Scratch::new();
    let extension = if image.format == "qcow2" { "qcow2" } else { "raw" };
    let copy = scratch.copy(&image.path, &format!("disk.{extension}"));
    let items = FiveItems::for_guest(&scratch, &image.name);
    let before = image::open(&copy, image.partition);
    let tree_before = tree::tree(&*before.fs);
    drop(before);

    let report = expect(0, &items.on(&copy, &[more, &["--json"]].concat()));
    let report: serde_json::Value = serde_json::from_str(&report).expect("the report is JSON");
    assert_eq!(report["changed"], true, "{}", image.name);
    for item in report["items"].as_array().expect("items") {
        assert_eq!(item["status"], "applied", "{}: {item}", image.name);
    }
    // ext4-view reads no inodes of 128 bytes with checksums and no meta_bg, and a run says so.
    let unknown = ["ino128", "meta-bg"].iter().any(|name| image.name.contains(name));
    let verdict = if unknown { "unknown" } else { "agrees" };
    assert_eq!(report["verified"]["verdict"], verdict, "{}: {}", image.name, report["verified"]);

    let after = image::open(&copy, image.partition);
    let tree_after = tree::tree(&*after.fs);
    let offset = after.offset;
    drop(after);
    let expected_to_change = [
        "/",
        "/root",
        "/root/.ssh",
        "/root/.ssh/authorized_keys",
        "/etc",
        "/etc/network/interfaces",
        "/etc/motd",
        "/etc/shadow",
        "/srv",
        "/etc/systemd/network",
    ];
    for (path, node) in &tree_before {
        if !expected_to_change.iter().any(|expected| expected.as_bytes() == path) {
            let path_text = path.escape_ascii();
            assert_eq!(Some(node), tree_after.get(path), "{}: {path_text} is not ours to change", image.name);
        }
    }

    if !(oracle::have("e2fsck") && oracle::have("debugfs") && oracle::have("qemu-img")) {
        return;
    }
    let raw = oracle::raw(&scratch, &copy, &image.format);
    oracle::e2fsck(&raw, offset);
    content(&raw, offset, items.network);
    if tree::can_mount() {
        let mounted = tree::Mounted::new(&raw, &format!("ro,noload,offset={offset}"));
        tree::assert_same(&tree_after, &mounted.tree(), &image.name);
    }
}

/// What debugfs finds in the filesystem.
pub fn content(raw: &Path, offset: u64, network: (&str, &str)) {
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
    for (number, image) in image::all(&["real"]).into_iter().enumerate() {
        let partition = image.partition.to_string();
        let named = ["--partition", if image.partition == 0 { "whole" } else { &partition }];
        five_items(&image, if number % 2 == 0 { &[] } else { &named });
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
