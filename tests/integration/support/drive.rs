//! Drives: made by the binary, unpacked and read by tools that are not ours.

use super::{Scratch, expect, oracle, root, text};
use imgraft_vfs::fs::{Content, Timestamp};
use imgraft_vfs::master::{Tree, iso9660};
use imgraft_vfs::transaction::{Existing, NewFile};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The formats of drives.
pub const FORMATS: [&str; 2] = ["iso9660", "vfat"];

/// The instances of the goldens, by name.
pub fn goldens() -> Vec<(String, PathBuf)> {
    let directory = root().join("testdata/goldens");
    let mut found: Vec<(String, PathBuf)> = std::fs::read_dir(directory)
        .expect("the goldens are there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .map(|path| (text(&path).rsplit('/').next().unwrap_or_default().to_owned(), path.join("scenario.json")))
        .collect();
    found.sort();
    assert!(found.len() >= 15, "every golden is there");
    found
}

/// Makes a drive.
pub fn create(scratch: &Scratch, instance: &Path, name: &str, more: &[&str]) -> PathBuf {
    let drive = scratch.path().join(name);
    let words = ["config-drive", "create", text(instance), "-o", text(&drive)];
    expect(0, &[&words, more].concat());
    drive
}

/// A drive of these files, whatever they are.
pub fn drive(scratch: &Scratch, name: &str, label: &str, files: &[(&str, &str)]) -> PathBuf {
    let mut tree = Tree::new();
    for (path, content) in files {
        tree.put(path, Content::bytes(content.as_bytes().to_vec())).expect("a path");
    }
    let options = iso9660::Options {
        volume_id: label.into(),
        publisher: String::new(),
        time: Timestamp { seconds: 1_767_323_046, nanoseconds: 0 },
    };
    let path = scratch.path().join(name);
    let file = NewFile::create(&path, Existing::Refuse).expect("it can be made");
    iso9660::image(&tree, &options).expect("it can be laid out").write_to(&file).expect("it can be written");
    file.publish(0o600).expect("it can be published");
    path
}

/// Unpacks a drive beside it by xorriso or mtools; `None` where these are not here.
pub fn unpack(drive: &Path, format: &str) -> Option<PathBuf> {
    let tool = if format == "vfat" { "mcopy" } else { "xorriso" };
    if !oracle::have(tool) {
        return None;
    }
    let directory = drive.with_extension(format!("{format}.files"));
    std::fs::create_dir(&directory).expect("the directory can be made");
    if format == "vfat" {
        oracle::succeed("mcopy", &["-s", "-n", "-i", text(drive), "::/*", text(&directory)]);
    } else {
        let words = ["-osirrox", "on", "-indev", text(drive), "-extract", "/", text(&directory)];
        oracle::succeed("xorriso", &words);
        // Directories of mode 0555 could not be removed afterwards.
        oracle::succeed("chmod", &["-R", "u+w", text(&directory)]);
    }
    Some(directory)
}

/// Where cloud-init's package has been unpacked; `None` after a skip.
pub fn cloud_init() -> Option<PathBuf> {
    let directory = super::image::built().join("cloud-init");
    if !directory.join("usr/lib/python3/dist-packages/cloudinit").is_dir() {
        oracle::skip("cloud-init is not unpacked; `make testdata` does it");
        return None;
    }
    Some(directory)
}

/// What cloud-init reads from directories: for each a layout, and the names of interfaces by their MAC addresses.
pub fn read_by_cloud_init(jobs: &[(&Path, &str, Value)]) -> Option<Vec<Value>> {
    let package = cloud_init()?.join("usr/lib/python3/dist-packages");
    let jobs: Vec<Value> = jobs
        .iter()
        .map(|(directory, layout, names)| json!({ "directory": text(directory), "layout": layout, "names": names }))
        .collect();
    let answer = python("support/cloud_init.py", &Value::from(jobs), Some(&package));
    let results = answer.as_array().expect("a list").clone();
    for result in &results {
        assert_eq!(result.get("error"), None, "cloud-init cannot read a drive");
    }
    Some(results)
}

/// Runs a script of the tests by the system's Python, which has Debian's packages; JSON in, JSON out.
pub fn python(script: &str, input: &Value, path: Option<&Path>) -> Value {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(root().join("tests/integration").join(script));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    path.map(|path| command.env("PYTHONPATH", path));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("python starts");
    // It reads all before it writes anything.
    let written = child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes());
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success() && written.is_ok(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the answer is JSON")
}

/// The scenario of an instance's file.
pub fn scenario(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("it can be read")).expect("it is JSON")
}

/// Names for the interfaces of a scenario by their MAC addresses, as a kernel would give them.
pub fn names(scenario: &Value) -> Value {
    let vifs = scenario["network_info"].as_array().into_iter().flatten();
    let named = vifs.enumerate().map(|(number, vif)| {
        (vif["address"].as_str().expect("a MAC address").to_owned(), Value::from(format!("eth{number}")))
    });
    Value::Object(named.collect())
}
