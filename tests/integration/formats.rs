//! Images of every format, as QEMU makes them: told by name, refused with a command that works.

use crate::support::{Scratch, expect, image, imgraft, oracle, run, text};
use std::path::Path;
use std::process::Command;

/// A format of `qemu-img`, what it is called here, and options to make one.
const FORMATS: [(&str, &str, &str); 13] = [
    ("qcow", "qcow", ""),
    ("qed", "qed", ""),
    ("vmdk", "vmdk", ""),
    ("vmdk", "vmdk", "subformat=streamOptimized"),
    ("vmdk", "vmdk", "subformat=monolithicFlat"),
    ("vmdk", "vmdk", "subformat=twoGbMaxExtentSparse"),
    ("vpc", "vhd", "subformat=dynamic"),
    ("vpc", "vhd", "subformat=fixed,force_size=on"),
    ("vhdx", "vhdx", ""),
    ("vhdx", "vhdx", "subformat=fixed"),
    ("vdi", "vdi", ""),
    ("parallels", "parallels", ""),
    ("luks", "luks", "key-secret=key,iter-time=10"),
];

/// The command between the first backquotes of a hint on standard error.
fn command(said: &str) -> &str {
    let hint = said.lines().find(|line| line.starts_with("hint: ")).unwrap_or_else(|| panic!("no hint: {said}"));
    hint.split('`').nth(1).unwrap_or_else(|| panic!("no command: {hint}"))
}

/// Runs a command as a user would copy it into a shell, in this directory.
fn shell(command: &str, directory: &Path) {
    let output = Command::new("sh").args(["-ec", command]).current_dir(directory).output().expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A disk with something in it, and with a partition table.
fn disk(scratch: &Scratch) -> std::path::PathBuf {
    let mut bytes = vec![0; 8 << 20];
    bytes[446..462].copy_from_slice(&[0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 64, 0, 0, 0]);
    bytes[510..512].copy_from_slice(b"\x55\xaa");
    bytes[1 << 20..(1 << 20) + 6].copy_from_slice(b"inside");
    scratch.file("disk.raw", bytes)
}

#[test]
fn each_format_is_told_and_its_command_works() {
    if !oracle::have("qemu-img") {
        return;
    }
    for (format, name, options) in FORMATS {
        let scratch = Scratch::new();
        let raw = disk(&scratch);
        // A name that a shell would take apart.
        let image = scratch.path().join("the image.img");
        let what = format!("{format} {options}");
        scratch.file("PASSPHRASE", "secret words");
        let secret = format!("secret,id=key,file={}", text(&scratch.path().join("PASSPHRASE")));
        let mut words = vec!["convert", "-f", "raw", "-O", format];
        if !options.is_empty() {
            words.extend(["-o", options]);
        }
        if format == "luks" {
            words.extend(["--object", &secret]);
        }
        oracle::succeed("qemu-img", &[words, vec![text(&raw), text(&image)]].concat());
        let before = oracle::sha256(&image);

        let inspected = run(&["inspect", text(&image), "--json"]);
        let injected = run(&["inject", text(&image), "--write", "/etc/motd:x"]);
        for output in [&inspected, &injected] {
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{what}: {said}");
            assert!(said.contains(&format!("format is {name}, which is not supported")), "{what}: {said}");
        }
        let report: serde_json::Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
        assert_eq!(report["format"], name, "{what}");
        assert!(report["marks"].as_array().expect("marks").contains(&name.into()), "{what}: {report}");
        assert_eq!(report["virtual_size"], serde_json::Value::Null, "{what}");
        let refused = &report["refused"];
        assert!(refused["reason"].as_str().expect("a reason").contains(name), "{what}: {report}");
        let said = String::from_utf8_lossy(&injected.stderr).into_owned();
        assert!(said.contains(refused["hints"][0].as_str().expect("a hint")), "{what}: {report}");
        let other_files = options.contains("Flat") || options.contains("twoGb");
        let found = report["findings"].to_string();
        assert_eq!(found.contains("other_files"), other_files, "{what}: {found}");
        assert_eq!(found.contains("encryption"), format == "luks", "{what}: {found}");
        assert_eq!(oracle::sha256(&image), before, "{what}");

        // The hint is what to type.
        let command = command(&said);
        assert!(command.contains(&format!("{format} -O qcow2")) || format == "luks", "{what}: {command}");
        shell(command, scratch.path());
        let new = scratch.path().join("NEW.qcow2");
        oracle::succeed("qemu-img", &["check", "-q", text(&new)]);
        let same = oracle::tool("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", text(&raw), text(&new)]);
        assert!(same.status.success(), "{what}: {}", String::from_utf8_lossy(&same.stdout));
        let report: serde_json::Value =
            serde_json::from_str(&expect(0, &["inspect", text(&new), "--json"])).expect("JSON");
        assert_eq!((&report["format"], &report["partition_table"]), (&"qcow2".into(), &"mbr".into()), "{what}");
        assert_eq!(report["refused"], serde_json::Value::Null, "{what}");
    }
}

#[test]
fn what_lies_over_another_file_is_told() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let raw = disk(&scratch);
    for (format, status) in [("qcow", 3), ("qed", 3), ("qcow2", 3)] {
        let image = scratch.path().join(format);
        oracle::succeed("qemu-img", &["create", "-q", "-f", format, "-b", text(&raw), "-F", "raw", text(&image)]);
        let output = run(&["inspect", text(&image)]);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{shown}");
        assert!(shown.contains("finding          backing_file: ") && shown.contains(text(&raw)), "{shown}");
        assert!(shown.contains("\nrefused          "), "{shown}");
    }
    let shown = expect(0, &["inspect", text(&scratch.path().join("qcow2")), "--backing-chain"]);
    assert!(shown.contains("backing_file") && shown.contains("partition table  mbr"), "{shown}");
    assert!(!shown.contains("refused"), "{shown}");
}

#[test]
fn compressed_images_are_unpacked_by_the_hint() {
    let scratch = Scratch::new();
    let raw = disk(&scratch);
    for tool in ["xz", "gzip", "bzip2", "zstd"] {
        if !oracle::have(tool) {
            continue;
        }
        let packed = scratch.path().join(tool);
        shell(&format!("{tool} -1c {} > {}", text(&raw), text(&packed)), scratch.path());
        let output = run(&["inspect", text(&packed)]);
        assert_eq!(output.status.code(), Some(3));
        shell(command(&String::from_utf8_lossy(&output.stderr)), scratch.path());
        assert_eq!(oracle::sha256(&scratch.path().join("NEW.img")), oracle::sha256(&raw), "{tool}");
    }
}

/// A file that is two things at once is refused, unless its user says which; raw is what it is declared to be.
#[test]
fn polyglots() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path().join("disk.qcow2");
    oracle::succeed("qemu-img", &["create", "-q", "-f", "qcow2", text(&image), "8M"]);
    let mut bytes = std::fs::read(&image).expect("an image");
    bytes[0x8001..0x8006].copy_from_slice(b"CD001");
    std::fs::write(&image, &bytes).expect("written");
    for words in [&["inspect"][..], &["ls"], &["inject", "--write", "/x:y"]] {
        let mut words = [&words[..1], &[text(&image)], &words[1..]].concat();
        if words[0] == "ls" {
            words.push("/");
        }
        let output = imgraft().args(&words).output().expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("the marks of several formats: qcow2, iso"), "{said}");
    }
    let shown = expect(0, &["inspect", text(&image), "--format", "qcow2"]);
    assert!(shown.contains("\nmarks            qcow2, iso\n"), "{shown}");
    let format = |declared: &str| {
        let report = expect(0, &["inspect", text(&image), "--json", "--format", declared]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        (report["format"].to_string(), report["virtual_size"].as_u64())
    };
    assert_eq!(format("qcow2"), ("\"qcow2\"".to_owned(), Some(8 << 20)));
    assert_eq!(format("raw"), ("\"raw\"".to_owned(), Some(bytes.len() as u64)));
}

/// An image that was not closed is taken, and the report says what was done about it.
#[test]
fn an_image_that_was_not_closed() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let mut bytes = std::fs::read(&copy).expect("an image");
    assert_eq!(bytes[7], 3, "version 2 has no such mark");
    bytes[79] |= 1;
    std::fs::write(&copy, bytes).expect("written");
    assert!(expect(0, &["inspect", text(&copy)]).contains("finding          dirty: "));
    let words = ["inject", text(&copy), "--write", "/etc/motd:x", "--json"];
    for recounted in [true, false] {
        let report: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
        assert_eq!((&report["recounted"], &report["changed"]), (&recounted.into(), &recounted.into()));
        oracle::succeed("qemu-img", &["check", "-q", text(&copy)]);
    }
    assert!(!expect(0, &["inspect", text(&copy)]).contains("dirty"));
}
