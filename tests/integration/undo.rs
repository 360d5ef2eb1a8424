//! `--keep-undo` and `imgraft undo`: back to the byte, or not at all.

use crate::idempotence::raw_phony;
use crate::interrupted::{content, kills};
use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle, run, text};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A copy with the times of the file.
fn twin(scratch: &Scratch, from: &Path, name: &str) -> PathBuf {
    let to = scratch.path().join(name);
    let words = ["--sparse=always", "--preserve=timestamps", text(from), text(&to)];
    assert!(Command::new("cp").args(words).status().expect("cp runs").success());
    to
}

/// Images of every kind that a commit treats in its own way.
fn kinds(scratch: &Scratch) -> Vec<(PathBuf, &'static str)> {
    let mut kinds = vec![(scratch.copy(&raw_phony(scratch), "disk.raw"), "raw")];
    kinds.push((scratch.copy(&image::phony(), "disk.qcow2"), "qcow2"));
    if !oracle::have("qemu-img") {
        return kinds;
    }
    for (name, options) in [
        ("v2", &["-o", "compat=0.10,cluster_size=4k"][..]),
        ("compressed", &["-c", "-o", "cluster_size=128k"]),
        ("zstd", &["-c", "-o", "compression_type=zstd"]),
        ("extended", &["-o", "extended_l2=on"]),
        ("snapshot", &["-o", "refcount_bits=64"]),
        ("bitmap", &[]),
        ("preallocated", &["-o", "preallocation=falloc,lazy_refcounts=on"]),
    ] {
        let path = scratch.path().join(format!("{name}.qcow2"));
        oracle::succeed(
            "qemu-img",
            &[&["convert", "-O", "qcow2"], options, &[text(&image::phony()), text(&path)]].concat(),
        );
        match name {
            "snapshot" => drop(oracle::succeed("qemu-img", &["snapshot", "-c", "before", text(&path)])),
            "bitmap" => drop(oracle::succeed("qemu-img", &["bitmap", "--add", text(&path), "b"])),
            _ => {}
        }
        kinds.push((path, "qcow2"));
    }
    kinds
}

#[test]
fn a_run_is_taken_back_to_the_byte() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (disk, format) in kinds(&scratch) {
        let undo = scratch.path().join("undo");
        let before = oracle::sha256(&disk);
        let in_place = scratch.copy(&disk, "in-place");
        let set = |path: &Path, more: &[&str]| {
            let output = imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(items.on(path, more)).output();
            let output = output.expect("the binary starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        set(&in_place, &["--format", format]);
        let said = set(&disk, &["--keep-undo", text(&undo)]);
        let command = format!("imgraft undo {} {}\n", text(&disk), text(&undo));
        assert!(said.contains(&format!("to go back: {command}")), "{said}");
        assert_ne!(oracle::sha256(&disk), before);
        assert_eq!(undo.metadata().expect("it is there").permissions().mode() & 0o7777, 0o600);
        // What the undo file keeps changes nothing for who uses the image.
        if oracle::have("qemu-img") {
            oracle::succeed("qemu-img", &["compare", "-f", format, "-F", format, text(&disk), text(&in_place)]);
            let raw = oracle::raw(&scratch, &disk, format);
            oracle::e2fsck(&raw, image::open(&raw, 1).offset);
        }
        // An image that QEMU has written to is not the one any more; a copy of it is, where the user says so.
        let used = twin(&scratch, &disk, "used");
        oracle::succeed("qemu-io", &["-f", format, "-c", "write -P 9 2M 512", text(&used)]);
        let (used_before, of_undo) = (oracle::sha256(&used), oracle::sha256(&undo));
        let output = run(&["undo", text(&used), text(&undo)]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(error.contains("changed since") && error.contains("hint: "), "{error}");
        assert_eq!(oracle::sha256(&used), used_before);
        let copy = scratch.copy(&disk, "copy");
        expect(3, &["undo", text(&copy), text(&undo)]);
        expect(0, &["undo", "--unchanged", text(&copy), text(&undo)]);
        assert_eq!(oracle::sha256(&copy), before);

        let said = expect(0, &["undo", text(&disk), text(&undo)]);
        assert!(said.contains("undone"), "{said}");
        assert_eq!(oracle::sha256(&disk), before, "{}", disk.display());
        if format == "qcow2" && oracle::have("qemu-img") {
            oracle::succeed("qemu-img", &["check", "-f", "qcow2", text(&disk)]);
        }
        assert!(expect(0, &["undo", text(&disk), text(&undo)]).contains("nothing to undo"));
        assert_eq!(oracle::sha256(&undo), of_undo);
        std::fs::remove_file(&undo).expect("it is there");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let other = scratch.copy(&raw_phony(&scratch), "other.raw");
    let (before, undo) = (oracle::sha256(&disk), scratch.path().join("undo"));
    let inject = ["inject", text(&disk), "--write", "/etc/motd:hello", "--keep-undo"];
    let new = scratch.path().join("new");
    for more in [&["--output", text(&new)][..], &["--overlay", text(&new)], &["-n"]] {
        expect(2, &[&inject[..], &[text(&undo)], more].concat());
    }
    let taken = scratch.file("taken", "dear diary");
    let missing = scratch.path().join("missing/undo");
    let journal = scratch.path().join(".disk.qcow2.imgraft-journal");
    for (path, status) in [(&taken, 3), (&missing, 2), (&disk, 3), (&journal, 2)] {
        expect(status, &[&inject[..], &[text(path)]].concat());
    }
    assert_eq!(std::fs::read(&taken).expect("it is there"), b"dear diary");
    assert_eq!(oracle::sha256(&disk), before);

    let json = expect(0, &[&inject[..], &[text(&undo), "--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["undo"]["file"], &json["undo"]["sealed"]), (&text(&undo).into(), &true.into()), "{json}");
    let second = scratch.path().join("second");
    let json = expect(0, &[&inject[..], &[text(&second), "--json"]].concat());
    assert!(json.contains("\"undo\": null") && !second.exists(), "{json}");
    for (words, status) in [
        ([text(&other), text(&undo)], 3),
        ([text(&disk), text(&taken)], 3),
        ([text(&disk), text(&other)], 3),
        ([text(&disk), text(&missing)], 2),
        ([text(&missing), text(&undo)], 2),
    ] {
        let before = words.map(|path| Path::new(path).exists().then(|| oracle::sha256(path.as_ref())));
        expect(status, &[&["undo"][..], &words].concat());
        assert_eq!(words.map(|path| Path::new(path).exists().then(|| oracle::sha256(path.as_ref()))), before);
    }
    expect(0, &["undo", text(&disk), text(&undo)]);
    assert_eq!(oracle::sha256(&disk), before);
}

#[test]
fn a_killed_undo_leaves_the_image_as_it_is_or_as_it_was() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (disk, name) in [(raw_phony(&scratch), "disk.raw"), (image::phony(), "disk.qcow2")] {
        let (whole, undo) =
            (scratch.copy(&disk, &format!("whole-{name}")), scratch.path().join(format!("undo-{name}")));
        expect(0, &items.on(&whole, &["--keep-undo", text(&undo)]));
        let (old, new, bytes) = (content(&disk), content(&whole), oracle::sha256(&disk));
        let command = |path: &Path| imgraft().args(["undo", text(path), text(&undo)]).output();
        let started = Instant::now();
        assert!(command(&twin(&scratch, &whole, name)).expect("it runs").status.success());
        let length = started.elapsed();
        let mut seen = HashSet::new();
        for kill in 0..kills(30) {
            let copy = twin(&scratch, &whole, name);
            let child = imgraft().args(["undo", text(&copy), text(&undo)]).stdout(std::process::Stdio::null()).spawn();
            let mut child = child.expect("the binary starts");
            std::thread::sleep(length * kill / kills(30) + Duration::from_micros(u64::from(kill) * 7 % 1000));
            let _ = child.kill();
            let _ = child.wait();
            expect(0, &["recover", text(&copy)]);
            let now = content(&copy);
            assert!(now == old || now == new, "kill {kill} of an undo of {name}: neither old nor new");
            seen.insert(now == old);
            let again = command(&copy).expect("it runs");
            assert!(again.status.success(), "kill {kill} of {name}: {}", String::from_utf8_lossy(&again.stderr));
            assert_eq!(content(&copy), old);
            assert_eq!(oracle::sha256(&copy), bytes, "kill {kill} of an undo of {name}");
        }
        assert!(seen.contains(&false), "no kill came in time to test anything");
    }
}

/// Whenever a run is killed: where there is an undo file, it brings the old image back.
#[test]
fn a_killed_run_can_be_undone() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (disk, name) in [(raw_phony(&scratch), "disk.raw"), (image::phony(), "disk.qcow2")] {
        let (old, undo) = (content(&disk), scratch.path().join(format!("undo-{name}")));
        let started = Instant::now();
        expect(0, &items.on(&scratch.copy(&disk, name), &["--keep-undo", text(&undo)]));
        let mut length = started.elapsed();
        let (mut there, mut done) = (0, 0);
        for kill in 0..kills(30) {
            let _ = std::fs::remove_file(&undo);
            let copy = scratch.copy(&disk, name);
            let mut child =
                imgraft().args(items.on(&copy, &["-q", "--keep-undo", text(&undo)])).spawn().expect("starts");
            // Most of the time has passed when the undo file is made.
            let late = length / 2 + length * kill / kills(30) / 2;
            std::thread::sleep(late + Duration::from_micros(u64::from(kill) * 7 % 1000));
            let _ = child.kill();
            let _ = child.wait();
            expect(0, &["recover", text(&copy)]);
            let changed = content(&copy) != old;
            assert!(undo.exists() || !changed, "kill {kill} of {name}: the image is new, and nothing leads back");
            if undo.exists() {
                there += 1;
                done += u32::from(changed);
                expect(0, &["undo", "--unchanged", text(&copy), text(&undo)]);
                assert_eq!(content(&copy), old, "kill {kill} of {name}");
            } else {
                // Too early, on a machine that is slower now.
                length = length * 21 / 20;
            }
        }
        assert!(there > 0, "no kill came late enough to test anything: {done}");
    }
}

/// A run that fails for want of room leaves the time of the image's last write, by which an undo file goes.
#[test]
fn a_run_that_failed_since_does_not_count() {
    for name in ["disk.raw", "disk.qcow2"] {
        let scratch = Scratch::new();
        let from = if name == "disk.raw" { raw_phony(&scratch) } else { image::phony() };
        let disk = scratch.copy(&from, name);
        let undo = scratch.path().join("undo");
        expect(0, &["inject", text(&disk), "--write", "/etc/motd:one", "--keep-undo", text(&undo)]);
        let large = scratch.file("large", vec![7; 3 << 20]);
        let before = (content(&disk), std::fs::metadata(&disk).expect("it is there").modified().expect("a time"));
        // The host lets no file grow past this: neither the journal of a raw image nor a qcow2 file has room for the upload.
        let command = "ulimit -f $1; shift; exec \"$@\"";
        let kib = if name == "disk.raw" {
            "2000".to_owned()
        } else {
            (std::fs::metadata(&disk).expect("it is there").len() / 1024 + 500).to_string()
        };
        let upload = format!("{}:/root/large", text(&large));
        let words =
            ["-c", command, "bash", &kib, env!("CARGO_BIN_EXE_imgraft"), "inject", text(&disk), "--upload", &upload];
        let output = std::process::Command::new("bash").args(words).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("the image is as it was"), "{name}: {said}");
        let after = (content(&disk), std::fs::metadata(&disk).expect("it is there").modified().expect("a time"));
        assert!(before == after, "{name}: {said}");
        expect(0, &["undo", text(&disk), text(&undo)]);
        assert_eq!(content(&disk), content(&from), "{name}");
    }
}
