//! An image whose machine was powered off hard: the journal of its filesystem is replayed, and the items go on top.

use crate::idempotence::raw_phony;
use crate::support::tree::{self, Cut, Mounted};
use crate::support::{FiveItems, Scratch, expect, image, oracle, text};
use std::fs::{self, File};
use std::path::Path;

/// Work that only the journal knows of, a deleted file that is open, and the power goes.
fn power_off(disk: &Path) {
    let mounted = Mounted::new(disk, &format!("rw,data=journal,offset={}", image::open(disk, 1).offset));
    let root = mounted.path();
    fs::write(root.join("etc/motd"), "from the journal\n").expect("it is written");
    fs::write(root.join("srv/late"), vec![7; 10_000]).expect("it is written");
    fs::write(root.join("gone"), vec![7; 10_000]).expect("it is written");
    let open = File::open(root.join("gone")).expect("it is there");
    fs::remove_file(root.join("gone")).expect("it is removed");
    tree::cut(root, Cut::AfterCommit);
    drop(open);
}

#[test]
fn a_guest_that_was_powered_off_takes_all_items() {
    if !tree::have(&["e2fsck", "debugfs", "python3"]) || !tree::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let disk = raw_phony(&scratch);
    power_off(&disk);
    let before = oracle::sha256(&disk);

    let read = expect(0, &["cat", text(&disk), "/etc/motd"]);
    assert_eq!(read, "from the journal\n");
    assert!(expect(0, &["ls", text(&disk), "/srv"]).contains("late"));
    assert!(expect(0, &["inspect", text(&disk)]).contains("not unmounted cleanly"));
    let dry = expect(0, &items.on(&disk, &["-n"]));
    assert!(dry.contains("-from the journal"), "the diff starts from what the journal holds:\n{dry}");
    assert_eq!(oracle::sha256(&disk), before, "nothing of that writes");

    let report = expect(0, &items.on(&disk, &["--json"]));
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert!(report["replayed"]["transactions"].as_u64().is_some_and(|count| count > 0), "{report}");
    assert_eq!(report["replayed"]["orphans"], 1, "{report}");
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let offset = image::open(&disk, 1).offset;
    oracle::e2fsck(&disk, offset);
    let features = oracle::debugfs(&disk, offset, "show_super_stats -h");
    assert!(features.contains("has_journal") && !features.contains("needs_recovery"), "{features}");
    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    assert_eq!(fs::read(mounted.path().join("srv/late")).expect("it is there"), vec![7; 10_000]);
    assert_eq!(fs::read_to_string(mounted.path().join("etc/motd")).expect("it is there"), "put here by imgraft\n");
    drop(mounted);

    let after = oracle::sha256(&disk);
    let again = expect(0, &items.on(&disk, &["--json"]));
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!((again["changed"].as_bool(), again["replayed"].is_null()), (Some(false), true), "{again}");
    assert_eq!(oracle::sha256(&disk), after);
}

/// Where every item is in place, nothing is written, the replay included.
#[test]
fn a_replay_alone_is_no_reason_to_write() {
    if !tree::have(&["python3"]) || !tree::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let disk = raw_phony(&scratch);
    let words = ["inject", text(&disk), "--write", "/etc/motd:from the journal\n"];
    power_off(&disk);
    let before = oracle::sha256(&disk);
    let said = expect(0, &words);
    assert!(said.contains("unchanged") && said.contains("not unmounted cleanly"), "{said}");
    assert_eq!(oracle::sha256(&disk), before);
}
