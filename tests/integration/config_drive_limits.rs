//! Drives that would exhaust whoever looks at them: what is read, held and said of them is bounded.

use crate::support::drive::drive;
use crate::support::{Scratch, expect, imgraft, run, text};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

/// A drive of 300 files, all of which lie where its largest one does.
fn shared(scratch: &Scratch) -> PathBuf {
    let names: Vec<String> = (100..400).map(|number| format!("openstack/latest/f{number}")).collect();
    let large = "0".repeat(4 << 20);
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    files.extend([("openstack/latest/big", large.as_str()), ("openstack/latest/meta_data.json", "{\"uuid\": \"1\"}")]);
    let path = drive(scratch, "shared.iso", "config-2", &files);
    let mut image = std::fs::read(&path).unwrap();
    // A record has the place at 2, the size at 10, the length of its name at 32, and the name with a version.
    let is_record = |bytes: &[u8], name: &[u8]| {
        (name.len()..name.len() + 4).contains(&usize::from(bytes[32])) && bytes[33..].starts_with(name)
    };
    let big = image.windows(36).position(|bytes| is_record(bytes, b"big")).expect("its record");
    let extent = image[big + 2..big + 18].to_vec();
    for name in &names {
        let name = name.rsplit('/').next().unwrap().as_bytes();
        let at = image.windows(37).position(|bytes| is_record(bytes, name)).expect("its record");
        image[at + 2..at + 18].copy_from_slice(&extent);
    }
    std::fs::write(&path, image).unwrap();
    path
}

#[test]
fn files_that_all_lie_in_one_place_are_refused() {
    let scratch = Scratch::new();
    let drive = shared(&scratch);
    let to = scratch.path().join("to");
    for (command, more) in [
        ("show", &[][..]),
        ("show", &["--json"]),
        ("verify", &[]),
        ("extract", &[text(&to)]),
        ("diff", &[text(&drive)]),
    ] {
        let output = run(&[&["config-drive", command, text(&drive)], more].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}: {error}");
        assert!(error.contains("shared.iso: its files hold 1262") && error.contains("hint: "), "{command}: {error}");
        assert!(output.stdout.is_empty());
    }
    assert!(!to.exists());
}

#[test]
fn documents_are_shown_one_by_one_and_json_has_a_limit() {
    let scratch = Scratch::new();
    let content = "line\n".repeat(2 << 20 >> 2);
    let nested = "[".repeat(120) + &"1,".repeat(600 << 10) + "1" + &"]".repeat(120);
    let names: Vec<String> = (0..8).map(|number| format!("openstack/latest/{number}.txt")).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), content.as_str())).collect();
    files.push(("openstack/latest/meta_data.json", "{\"uuid\": \"1\"}"));
    let large = drive(&scratch, "large.iso", "config-2", &files);
    let output = run(&["config-drive", "show", text(&large), "--json"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && error.contains("are shown in JSON"), "{error}");
    assert!(expect(0, &["config-drive", "show", text(&large)]).len() > 16 << 20);
    // Indented it would have 250 times its size.
    let deep = drive(&scratch, "deep.iso", "config-2", &[("openstack/latest/deep.json", nested.as_str())]);
    for more in [&[][..], &["--json"]] {
        assert!(expect(0, &[&["config-drive", "show", text(&deep)], more].concat()).len() < 2 << 20);
    }
}

#[test]
fn a_comparison_lists_so_many_changes_and_no_more() {
    let scratch = Scratch::new();
    let of = |name: &str, value: &str| -> PathBuf {
        let list = format!("[{}{value}]", format!("{value},").repeat(11_999));
        let lines = format!("{value}\n").repeat(5_000);
        let files = [("openstack/latest/list.json", list.as_str()), ("a.txt", lines.as_str())];
        drive(&scratch, name, "config-2", &files)
    };
    let (a, b) = (of("a.iso", "0"), of("b.iso", "1"));
    let said = expect(1, &["config-drive", "diff", text(&a), text(&b)]);
    // One for the text, whose lines are too many for a diff.
    assert!(said.starts_with("a.txt: changed\nopenstack/latest/list.json: [0]: 0 -> 1\n"), "{said}");
    assert!(said.ends_with("list.json: [9998]: 0 -> 1\nand 2001 more\n"), "{}", &said[said.len() - 200..]);
    let json = expect(1, &["config-drive", "diff", text(&a), text(&b), "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["more"] == 2001 && json["same"] == false);
}

#[test]
fn verify_says_a_hundred_problems_and_how_many_more() {
    let scratch = Scratch::new();
    let long = "x".repeat(5_000);
    let files: Vec<Value> =
        (0..100_000).map(|_| json!({"path": "/a", "content_path": "/content/0"})).chain([json!({})]).collect();
    let meta = json!({"uuid": "1", "files": files, "network_config": {"content_path": long}}).to_string();
    let small = json!({"uuid": "1", "files": [{"path": long}]}).to_string();
    let unknown: Vec<String> = (0..500).map(|number| format!("openstack/{number}/meta_data.json")).collect();
    let mut files = vec![("openstack/latest/meta_data.json", meta.as_str())];
    files.extend([("openstack/2012-08-10/meta_data.json", small.as_str())]);
    files.extend(unknown.iter().map(|path| (path.as_str(), "{")));
    let drive = drive(&scratch, "verify.iso", "config-2", &files);
    let said = expect(3, &["config-drive", "verify", text(&drive)]);
    assert_eq!(said.lines().filter(|line| line.starts_with("  problem: ")).count(), 100);
    assert!(
        said.contains("  and 99902 more problems\n") && said.ends_with("  2 documents, 100002 problems\n"),
        "{said}"
    );
    assert!(said.contains("xxx ...\n") && said.contains("  note: ") && said.len() < 20_000, "{said}");
    let json: Value = serde_json::from_str(&expect(3, &["config-drive", "verify", text(&drive), "--json"])).unwrap();
    assert!(json["more_problems"] == 99_902 && json["more_notes"] == 0 && json["ok"] == false);
}

#[test]
fn an_extraction_that_fails_leaves_nothing() {
    let scratch = Scratch::new();
    let large = "0".repeat(1 << 20);
    let files = [("a", "small"), ("b/c", large.as_str())];
    let drive = drive(&scratch, "drive.iso", "config-2", &files);
    let (new, empty) = (scratch.path().join("new"), scratch.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    for to in [&new, &empty] {
        // No file may have more than 64 KiB; a signal that says so would end the program.
        let script = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
        let mut words = Command::new("bash");
        words.args(["-c", script, "bash"]).arg(imgraft().get_program());
        let output = words.args(["config-drive", "extract", text(&drive), text(to)]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.contains("b/c"), "{error}");
        let mut left: Vec<_> =
            std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["drive.iso", "empty"], "{error}");
        assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    }
    for to in [&new, &empty] {
        expect(0, &["config-drive", "extract", text(&drive), text(to)]);
        assert_eq!(std::fs::read_to_string(to.join("b/c")).unwrap(), large);
        assert_eq!(to.metadata().unwrap().mode() & 0o7777, 0o700);
    }
    let mut here = imgraft();
    let output = here.current_dir(&empty).args(["config-drive", "extract", text(&drive), "."]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}
