//! A guest with SELinux: what is new carries the label that the guest's own policy gives.

use crate::support::{FiveItems, KEY, Scratch, expect, image, oracle, text};

#[test]
fn new_files_are_labelled_by_the_guests_policy() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony_el(), "disk.qcow2");
    let key = format!("root:string:{KEY}");
    let report = expect(0, &["inject", text(&copy), "--ssh-inject", &key, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let partition = report["volume"]["partition"].as_u64().unwrap_or(0);
    if !(oracle::have("qemu-img") && oracle::have("debugfs")) {
        return;
    }
    let offset = image::open(&copy, u32::try_from(partition).expect("small")).offset;
    let raw = oracle::raw(&scratch, &copy, "qcow2");
    oracle::e2fsck(&raw, offset);
    for path in ["/root/.ssh", "/root/.ssh/authorized_keys"] {
        let label = oracle::debugfs(&raw, offset, &format!("ea_get {path} security.selinux"));
        assert!(label.contains("system_u:object_r:ssh_home_t:s0"), "{path}: {label}");
    }
    // A spelling that this guest does not read is refused.
    let items = FiveItems::new(&scratch);
    let output = crate::support::run(&items.on(&copy, &[]));
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("item net"));
}
