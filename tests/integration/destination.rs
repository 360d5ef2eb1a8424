//! `--output` and `--overlay`: the result in a new file, the image as it was.

use crate::idempotence::raw_phony;
use crate::interrupted::kills;
use crate::support::{FiveItems, Scratch, expect, image, imgraft, oracle, run, text};
use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Runs `inject` with the five items and these words at a fixed time.
fn inject(items: &FiveItems, image: &Path, more: &[&str]) -> std::process::Output {
    imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(items.on(image, more)).output().expect("the binary starts")
}

fn done(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn names(directory: &Path) -> HashSet<std::ffi::OsString> {
    std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect()
}

/// The image in both formats.
fn images(scratch: &Scratch) -> [(std::path::PathBuf, &'static str); 2] {
    [(scratch.copy(&image::phony(), "disk.qcow2"), "qcow2"), (scratch.copy(&raw_phony(scratch), "disk.raw"), "raw")]
}

#[test]
fn a_copy_holds_what_the_image_would() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (disk, format) in images(&scratch) {
        let in_place = scratch.copy(&disk, &format!("in-place.{format}"));
        done(&inject(&items, &in_place, &[]));
        let before = oracle::sha256(&disk);
        let new = scratch.path().join(format!("new.{format}"));
        let before_names = names(scratch.path());
        done(&inject(&items, &disk, &["--output", text(&new), "-n"]));
        assert_eq!(names(scratch.path()), before_names, "a dry run");
        let said = done(&inject(&items, &disk, &["--output", text(&new)]));
        assert!(said.contains(&format!("written to {}", text(&new))), "{said}");
        assert_eq!(oracle::sha256(&disk), before);
        assert_eq!(new.metadata().expect("it is there").permissions().mode() & 0o7777, 0o600);
        oracle::succeed("qemu-img", &["compare", "-f", format, "-F", format, text(&new), text(&in_place)]);
        let raw = oracle::raw(&scratch, &new, format);
        oracle::e2fsck(&raw, image::open(&raw, 1).offset);
        assert_eq!(new.metadata().expect("it is there").len(), in_place.metadata().expect("it is there").len());

        // A name that is taken is refused, and with --force replaced: by a copy too where there is nothing to do.
        let other = scratch.path().join(format!("other.{format}"));
        std::fs::write(&other, "something else").expect("written");
        let refused = inject(&items, &new, &["--output", text(&other)]);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(3), "{error}");
        assert!(error.contains("--force"), "{error}");
        assert_eq!(std::fs::read(&other).expect("it is there"), b"something else");
        let said = done(&inject(&items, &new, &["--output", text(&other), "--force"]));
        assert!(said.contains("unchanged") && said.contains("written to"), "{said}");
        assert_eq!(oracle::sha256(&other), oracle::sha256(&new));
        for same in [&disk, &scratch.path().join(".").join(disk.file_name().expect("a name"))] {
            for force in [&[][..], &["--force"]] {
                let refused = inject(&items, &disk, &[&["--output", text(same)], force].concat());
                let error = String::from_utf8_lossy(&refused.stderr);
                assert_eq!(refused.status.code(), Some(2), "{error}");
                assert!(error.contains("the image itself"), "{error}");
            }
        }
        assert_eq!(oracle::sha256(&disk), before);

        // What goes in is not what is written over.
        let upload = format!("{}:/etc/other", text(&other));
        let kept = oracle::sha256(&other);
        let refused = inject(&items, &disk, &["--upload", &upload, "--output", text(&other), "--force"]);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(error.contains("the result would replace it"), "{error}");
        assert_eq!(oracle::sha256(&other), kept);
    }
}

#[test]
fn an_overlay_holds_the_difference() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (disk, format) in images(&scratch) {
        let in_place = scratch.copy(&disk, &format!("in-place.{format}"));
        done(&inject(&items, &in_place, &[]));
        let before = oracle::sha256(&disk);
        let elsewhere = scratch.path().join("elsewhere");
        std::fs::create_dir_all(&elsewhere).expect("a directory");
        for new in [scratch.path().join(format!("thin-{format}.qcow2")), elsewhere.join(format!("thin-{format}.qcow2"))]
        {
            done(&inject(&items, &disk, &["--overlay", text(&new)]));
            assert_eq!(oracle::sha256(&disk), before);
            let metadata = new.metadata().expect("it is there");
            assert!(metadata.blocks() * 512 < 700 << 10, "{} bytes", metadata.blocks() * 512);
            assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
            oracle::succeed("qemu-img", &["check", "-f", "qcow2", text(&new)]);
            oracle::succeed("qemu-img", &["compare", "-f", "qcow2", "-F", format, text(&new), text(&in_place)]);
            let info = oracle::succeed("qemu-img", &["info", "--output=json", "-f", "qcow2", text(&new)]);
            let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
            assert_eq!(info["backing-filename-format"], format, "{info}");
            let name = info["backing-filename"].as_str().expect("a name");
            let beside = new.parent() == Some(scratch.path());
            let whole = disk.canonicalize().expect("it is there");
            assert_eq!(name, if beside { text(disk.file_name().expect("a name").as_ref()) } else { text(&whole) });
            // The next run finds everything in place through the chain.
            let allow = format!("--backing-chain={}", text(scratch.path()));
            assert!(done(&inject(&items, &new, &[&allow])).contains("unchanged"));
            // QEMU writes to it, and we read that.
            oracle::succeed("qemu-io", &["-f", "qcow2", "-c", "write -P 7 1048064 512", text(&new)]);
            oracle::succeed("qemu-img", &["check", "-f", "qcow2", text(&new)]);
        }
        let raw = oracle::raw(&scratch, &scratch.path().join(format!("thin-{format}.qcow2")), "qcow2");
        oracle::e2fsck(&raw, image::open(&raw, 1).offset);
    }
}

/// The image is locked for reading while it is copied, as QEMU does it.
#[test]
fn an_image_that_somebody_writes_to_is_not_copied() {
    if !oracle::have("qemu-io") {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let new = scratch.path().join("new.qcow2");
    for (more, status) in [(&[][..], 4), (&["-r"], 0)] {
        let mut qemu = std::process::Command::new("qemu-io")
            .args(more)
            .args(["-f", "qcow2", text(&disk)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu-io starts");
        let mut input = qemu.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, b"read 0 512\n").expect("it listens");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(qemu.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut output, &mut line).expect("it answers");
        for option in ["--output", "--overlay"] {
            let output = run(&items.on(&disk, &[option, text(&new)]));
            assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(new.exists(), status == 0);
            let _ = std::fs::remove_file(&new);
        }
        drop(input);
        qemu.wait().expect("it ends");
    }
}

#[test]
fn a_file_in_use_is_not_replaced() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let base = scratch.copy(&image::phony(), "base.qcow2");
    let top = scratch.path().join("top.qcow2");
    expect(0, &items.on(&base, &["--overlay", text(&top)]));
    let before = oracle::sha256(&base);
    let output = run(&items.on(&top, &["--backing-chain", "--output", text(&base), "--force"]));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert_eq!(oracle::sha256(&base), before);
    // A copy in another directory would not find its backing file.
    let elsewhere = scratch.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let copy = elsewhere.join("copy.qcow2");
    let output = run(&items.on(&top, &["--backing-chain", "--output", text(&copy)]));
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!copy.exists());
    expect(0, &items.on(&top, &["--backing-chain", "--output", text(&scratch.path().join("copy.qcow2"))]));
}

#[test]
fn the_longest_name_is_taken() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let new = scratch.path().join("n".repeat(255));
    for option in ["--output", "--overlay"] {
        expect(0, &["inject", text(&disk), "--write", "/etc/motd:hello", option, text(&new), "--force"]);
    }
    assert_eq!(names(scratch.path()).len(), 2);
}

/// What cannot become the new file is refused with a way out that works.
#[test]
fn a_name_that_is_no_file_is_refused() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let directory = scratch.path().join("directory");
    std::fs::create_dir(&directory).expect("a directory");
    let twin = scratch.path().join("twin.qcow2");
    std::fs::hard_link(&disk, &twin).expect("a second name");
    let before = (oracle::sha256(&disk), names(scratch.path()));
    let absent = scratch.path().join("absent");
    for (new, status, hint) in [
        (text(&directory).to_owned(), 3, "hint: choose another name\n"),
        (format!("{}/", text(&absent)), 2, "hint: name a file, not a directory\n"),
        (format!("{}/.", text(&absent)), 2, "hint: name a file, not a directory\n"),
        ("-".to_owned(), 2, "hint: name a file; one of this name is --"),
        (text(&twin).to_owned(), 4, "hint: choose another name; if neither the image nor"),
    ] {
        for option in ["--output", "--overlay"] {
            let words = ["inject", text(&disk), "--write", "/etc/motd:hello", option, &new, "--force"];
            let output = run(&words);
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{new}: {error}");
            assert!(error.contains(hint), "{new}: {error}");
        }
    }
    let output = run(&["inject", text(&disk), "--write", "/etc/motd:hello", "--output", text(&directory)]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("--force"), "it would not help: {error}");
    assert_eq!((oracle::sha256(&disk), names(scratch.path())), before);
}

/// Whatever goes wrong, and whenever the run is killed: there is no new file, or it is whole.
#[test]
fn killed_runs_leave_a_whole_new_file_or_none() {
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    for (disk, format) in images(&scratch) {
        let nowhere = scratch.path().join("missing/new");
        let output = run(&items.on(&disk, &["--output", text(&nowhere)]));
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        let before = names(scratch.path());
        let new = scratch.path().join(format!("new.{format}"));
        let output = run(&["inject", text(&disk), "--output", text(&new), "--chmod", "0600:/no/such/file"]);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(names(scratch.path()), before);
        let sha = oracle::sha256(&disk);
        let whole = scratch.path().join(format!("whole.{format}"));
        for option in ["--output", "--overlay"] {
            let started = std::time::Instant::now();
            done(&inject(&items, &disk, &[option, text(&whole), "--force"]));
            let length = started.elapsed();
            let expected = oracle::sha256(&whole);
            let (mut absent, kills) = (0, kills(25));
            for kill in 0..kills {
                let mut child = imgraft()
                    .env("SOURCE_DATE_EPOCH", "1700000000")
                    .args(items.on(&disk, &["-q", option, text(&new)]))
                    .spawn()
                    .expect("the binary starts");
                std::thread::sleep(length * kill / kills + Duration::from_micros(u64::from(kill) * 13));
                let _ = child.kill();
                let _ = child.wait();
                if new.exists() {
                    assert_eq!(oracle::sha256(&new), expected, "kill {kill} of {option} {format}");
                    std::fs::remove_file(&new).expect("it is there");
                } else {
                    absent += 1;
                }
            }
            assert!(absent > 0, "no kill came in time to test anything");

            // What is replaced is there until the new file is.
            let words = items.on(&disk, &["-q", option, text(&new), "--force"]);
            let mut stayed = 0;
            for kill in 0..kills {
                std::fs::write(&new, "what was there").expect("written");
                let mut child =
                    imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(&words).spawn().expect("the binary starts");
                std::thread::sleep(length * kill / kills + Duration::from_micros(u64::from(kill) * 13));
                let _ = child.kill();
                let _ = child.wait();
                let is_old = std::fs::read(&new).expect("one of the two") == b"what was there";
                assert!(is_old || oracle::sha256(&new) == expected, "kill {kill} of {option} {format} --force");
                stayed += u32::from(is_old);
            }
            assert!(stayed > 0, "no kill came in time to test anything");
            // Whatever a kill has left is gone after a whole run.
            expect(0, &words);
            std::fs::remove_file(&new).expect("it is there");
            std::fs::remove_file(&whole).expect("it is there");
        }
        assert_eq!(oracle::sha256(&disk), sha);
        assert_eq!(names(scratch.path()), before);
    }
}
