//! Programs that are not ours: where they are, and what they say.

use imgraft::net::render::NetFile;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where testdata/install-oracles.sh has unpacked them.
fn built() -> PathBuf {
    match std::env::var_os("IMGRAFT_TESTDATA") {
        Some(path) => path.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/built"),
    }
}

/// A file that was unpacked; `None` after saying that the test is skipped. With `REQUIRE_ORACLES=1` that is a failure.
pub fn unpacked(path: &str) -> Option<PathBuf> {
    let found = built().join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("{path} is not unpacked"));
    None
}

/// Says that a test is skipped; a failure where oracles are required.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "an oracle is required: {reason}");
    #[allow(clippy::print_stderr, reason = "a skip has to be seen")]
    {
        eprintln!("skipped: {reason}");
    }
}

/// A program of those that were unpacked, with the libraries beside it.
pub fn command(program: &Path) -> Command {
    let libraries = built().join("network/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let path = [libraries.clone(), libraries.join("systemd")].map(|path| path.to_str().unwrap().to_owned()).join(":");
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", path).env("LC_ALL", "C");
    command
}

/// What a program that must succeed says, on both outputs.
pub fn succeed(command: &mut Command, about: &str) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{about}: {command:?}: {status}\n{stdout}{stderr}");
    (stdout, stderr)
}

/// Files below a root of their own.
pub fn put(root: &Path, files: &[NetFile]) {
    use std::os::unix::fs::PermissionsExt;
    for file in files {
        let path = root.join(file.path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &file.text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode.into())).unwrap();
    }
}

/// What a script answers that asks cloud-init, both as JSON.
pub fn python<T: DeserializeOwned>(script: &Path, library: &Path, question: &impl Serialize) -> T {
    let mut child = Command::new("/usr/bin/python3")
        .arg(script)
        .env("PYTHONPATH", library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, serde_json::to_string(question).unwrap().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The sections of a file in the style of systemd's and NetworkManager's: each with its entries, in their order.
pub fn sections(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix('[').and_then(|line| line.strip_suffix(']')), sections.last_mut()) {
            (Some(name), _) => sections.push((name.to_owned(), Vec::new())),
            (None, Some((_, entries))) => {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                entries.push((key.to_owned(), value.to_owned()));
            }
            (None, None) => panic!("{line} is in no section"),
        }
    }
    sections
}
