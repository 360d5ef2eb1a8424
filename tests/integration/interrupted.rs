//! A run killed at any instant leaves the old or the new image.

use crate::idempotence::raw_phony;
use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle, text};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a run is killed: `few` times, or as often as `IMGRAFT_KILLS` says in a long run.
pub fn kills(few: u32) -> u32 {
    std::env::var("IMGRAFT_KILLS").ok().and_then(|number| number.parse().ok()).unwrap_or(few)
}

#[test]
fn killed_runs_leave_the_old_or_the_new_image() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (from, name) in [(image::phony(), "disk.qcow2"), (raw_phony(&scratch), "disk.raw")] {
        let started = Instant::now();
        let whole = scratch.copy(&from, &format!("whole-{name}"));
        let status = run(&items, &whole).wait().expect("it ends");
        assert!(status.success());
        let length = started.elapsed();
        let (old, new) = (content(&from), content(&whole));
        assert_ne!(old, new);
        let mut seen = HashSet::new();
        let kills = kills(60);
        for kill in 0..kills {
            let copy = scratch.copy(&from, name);
            let mut child = run(&items, &copy);
            std::thread::sleep(length * kill / kills + Duration::from_micros(u64::from(kill) * 7 % 1000));
            let _ = child.kill();
            let _ = child.wait();
            expect(0, &["recover", text(&copy)]);
            let now = content(&copy);
            assert!(now == old || now == new, "kill {kill} of {name}: neither old nor new");
            seen.insert(now == new);
            let again = run(&items, &copy).wait().expect("it ends");
            assert!(again.success());
            assert_eq!(content(&copy), new);
        }
        assert!(seen.contains(&false), "no kill came in time to test anything");
    }
}

fn run(items: &FiveItems, image: &Path) -> std::process::Child {
    imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(items.on(image, &["-q"])).spawn().expect("the binary starts")
}

/// A digest of what a guest would see: the tree of the root filesystem.
pub fn content(image: &Path) -> String {
    let opened = image::open(image, 1);
    format!("{:?}", crate::support::tree::tree(&*opened.fs))
}

#[test]
fn nothing_is_left_beside_the_image() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let copy = scratch.copy(&raw_phony(&scratch), "disk.raw");
    let before: HashSet<_> = names(scratch.path());
    expect(0, &items.on(&copy, &[]));
    assert_eq!(names(scratch.path()), before);
    if oracle::have("e2fsck") {
        oracle::e2fsck(&copy, image::open(&copy, 1).offset);
    }
}

fn names(directory: &Path) -> HashSet<std::ffi::OsString> {
    std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect()
}

/// What a run replaces in a qcow2 file is given back to the host: the file's length grows, its room does not.
#[test]
fn the_room_of_a_qcow2_file_stays_flat() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let mut rooms = Vec::new();
    for run in 0..6 {
        let write = format!("/etc/motd:run {run} of many\n");
        expect(0, &["inject", text(&copy), "--write", &write]);
        let metadata = copy.metadata().expect("it is there");
        rooms.push((metadata.blocks() * 512, metadata.len()));
    }
    let (first, last) = (rooms[0], rooms[5]);
    assert!(last.1 > first.1, "the file's length: {rooms:?}");
    assert!(last.0 <= first.0 + (64 << 10), "the file's room: {rooms:?}");
    oracle::raw(&scratch, &copy, "qcow2");
}
