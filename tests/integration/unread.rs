//! What the second reader cannot read, and e2fsck and the kernel can: it is changed, and said to be unverified.

use crate::support::{Scratch, expect, imgraft, oracle, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A guest of few files, by mke2fs; `None` where the test is skipped.
fn guest(scratch: &Scratch, arguments: &[&str], prepare: &str) -> Option<PathBuf> {
    if !oracle::have("mke2fs") || !oracle::have("debugfs") || !oracle::have("e2fsck") {
        return None;
    }
    let tree = scratch.path().join("tree");
    let script = format!(
        "mkdir -p {0}/etc {0}/d && cd {0} && echo ID=debian >etc/os-release && echo x >f && {prepare}",
        text(&tree)
    );
    oracle::succeed("sh", &["-c", &script]);
    let image = scratch.path().join("image");
    let mut words = vec!["-q", "-F", "-t", "ext4", "-d", text(&tree)];
    words.extend(arguments);
    words.extend([text(&image), "16M"]);
    oracle::succeed("mke2fs", &words);
    Some(image)
}

/// Runs `inject`; gives what the second reader said.
fn verdict(image: &Path, words: &[&str]) -> Value {
    let mut command = imgraft();
    let output =
        command.args(["inject", text(image), "--partition=whole", "--json"]).args(words).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    oracle::e2fsck(image, 0);
    report["verified"].clone()
}

fn reason(verdict: &Value) -> &str {
    assert_eq!(verdict["verdict"], "unknown", "{verdict}");
    verdict["reason"].as_str().expect("a reason")
}

#[test]
fn times_before_1970_and_from_2038_on() {
    let scratch = Scratch::new();
    let Some(image) = guest(&scratch, &[], "touch -d @-5 f d && touch -d @2200000000 etc/late") else { return };
    for words in [&["--append-line=/f:more"][..], &["--write=/d/new:a"], &["--chmod=0600:/etc/late"]] {
        let verdict = verdict(&image, words);
        assert!(reason(&verdict).contains("no times before 1970 or from 2038 on"), "{verdict}");
    }
    assert_eq!(verdict(&image, &["--write=/etc/motd:b"])["verdict"], "agrees");
    assert_eq!(expect(0, &["cat", text(&image), "/f", "--partition=whole"]), "x\nmore\n");
    assert_eq!(expect(0, &["cat", text(&image), "/d/new", "--partition=whole"]), "a");
}

#[test]
fn names_that_are_hashed_without_a_sign() {
    let scratch = Scratch::new();
    let prepare = "for n in $(seq 300); do echo $n >d/ÄÖü-a-name-of-some-length-$n; done";
    let Some(image) = guest(&scratch, &["-b", "1024"], prepare) else { return };
    // As mke2fs has it on ARM; e2fsck makes the index anew.
    oracle::succeed("debugfs", &["-w", "-R", "set_super_value flags 2", text(&image)]);
    let status = std::process::Command::new("e2fsck").args(["-fyD", text(&image)]).output().expect("it starts").status;
    assert!(status.code().is_some_and(|code| code < 4), "{status}");
    oracle::e2fsck(&image, 0);
    let verdict = verdict(&image, &["--chmod=0600:/d/ÄÖü-a-name-of-some-length-77", "--write=/d/Ünew:a"]);
    assert!(reason(&verdict).contains("signed char"), "{verdict}");
    assert_eq!(expect(0, &["cat", text(&image), "/d/Ünew", "--partition=whole"]), "a");
}

#[test]
fn a_link_to_a_long_name() {
    let scratch = Scratch::new();
    let Some(image) = guest(&scratch, &[], "true") else { return };
    let target = format!("a/{}", "x".repeat(256));
    let verdict = verdict(&image, &[&format!("--link={target}:/l")]);
    assert!(reason(&verdict).contains("255 bytes"), "{verdict}");
    let said = oracle::succeed("debugfs", &["-R", "stat /l", text(&image)]);
    assert!(said.contains("Type: symlink") && said.contains("Size: 258"), "{said}");
}

#[test]
fn inodes_that_have_grown_without_a_checksum() {
    let scratch = Scratch::new();
    let Some(image) = guest(&scratch, &["-I", "128", "-O", "^metadata_csum,^64bit,^flex_bg,^project"], "true") else {
        return;
    };
    oracle::succeed("tune2fs", &["-I", "256", text(&image)]);
    oracle::succeed("tune2fs", &["-O", "metadata_csum", text(&image)]);
    oracle::e2fsck(&image, 0);
    let verdict = verdict(&image, &["--write=/d/new:a", "--append-line=/f:more"]);
    assert!(reason(&verdict).contains("upper half of a checksum"), "{verdict}");
    assert_eq!(expect(0, &["cat", text(&image), "/f", "--partition=whole"]), "x\nmore\n");
}

/// The descriptors of the first group come after the boot block.
#[test]
fn descriptors_after_the_boot_block() {
    let scratch = Scratch::new();
    let features = ["-b", "1024", "-O", "bigalloc,meta_bg,^resize_inode"];
    let Some(image) = guest(&scratch, &features, "true") else { return };
    assert_ne!(verdict(&image, &["--write=/d/new:a", "--delete=/f"])["verdict"], "nothing_to_verify");
    assert_eq!(expect(0, &["cat", text(&image), "/d/new", "--partition=whole"]), "a");
}
