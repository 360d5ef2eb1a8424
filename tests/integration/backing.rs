//! Images on backing files.

use crate::support::{FiveItems, Scratch, expect, image, oracle, run, text};

#[test]
fn a_backing_file_is_used_when_allowed_and_stays_as_it_is() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let items = FiveItems::new(&scratch);
    let base = scratch.copy(&image::phony(), "base.qcow2");
    let top = scratch.path().join("top.qcow2");
    oracle::succeed("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&top)]);
    let before = oracle::sha256(&base);
    let output = run(&items.on(&top, &[]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("base.qcow2") && said.contains("--backing-chain"), "{said}");
    expect(0, &items.on(&top, &["--backing-chain"]));
    assert_eq!(expect(0, &["cat", text(&top), "/etc/motd", "--backing-chain"]), "put here by imgraft\n");
    assert!(expect(0, &items.on(&top, &["--backing-chain"])).contains("unchanged"));
    assert_eq!(oracle::sha256(&base), before);
    let told = expect(0, &["inspect", text(&top), "--backing-chain"]);
    assert!(told.contains("base.qcow2"), "{told}");
    let raw = oracle::raw(&scratch, &top, "qcow2");
    oracle::e2fsck(&raw, image::open(&raw, 1).offset);

    let elsewhere = scratch.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let allow = format!("--backing-chain={}", text(&elsewhere));
    let output = run(&items.on(&top, &[&allow]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("outside the allowed directories"), "{said}");
}

#[test]
fn what_is_allowed_is_a_directory() {
    if !oracle::have("qemu-img") {
        return;
    }
    let scratch = Scratch::new();
    let base = scratch.copy(&image::phony(), "base.qcow2");
    let top = scratch.path().join("top.qcow2");
    oracle::succeed("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&top)]);
    let missing = scratch.path().join("missing");
    for (directory, why) in
        [(&missing, "missing: there is no such directory"), (&base, "base.qcow2: this is no directory")]
    {
        let output = run(&["inspect", text(&top), &format!("--backing-chain={}", text(directory))]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
}
