//! `--compat nova`: Nova's bytes and modes, as shared knowledge of Nova has them (nova/virt/disk/api.py).

use crate::support::{KEY, Scratch, expect, image, oracle, text};

#[test]
fn nova_bytes_and_modes() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let net = scratch.file("net", "auto lo\niface lo inet loopback\n");
    let key = format!("root:string:{KEY}");
    let words = [
        "inject",
        text(&copy),
        "--compat",
        "nova",
        "--ssh-inject",
        &key,
        "--network",
        text(&net),
        "--metadata",
        "foo=bar",
        "--metadata",
        "eek=wizz",
        "--write",
        "/path/to/not/exists/injected:hello",
    ];
    expect(0, &words);
    let cat = |path: &str| expect(0, &["cat", text(&copy), path]);
    let block = format!("\n# The following ssh key was injected by Nova\n{KEY}\n");
    assert!(cat("/root/.ssh/authorized_keys").ends_with(&block));
    assert_eq!(cat("/meta.js"), "{\"foo\": \"bar\", \"eek\": \"wizz\"}");
    if !(oracle::have("qemu-img") && oracle::have("debugfs")) {
        return;
    }
    let offset = image::open(&copy, 1).offset;
    let raw = oracle::raw(&scratch, &copy, "qcow2");
    oracle::e2fsck(&raw, offset);
    assert_eq!(oracle::owner(&raw, offset, "/etc/network"), ("0744".into(), 0, 0));
    assert_eq!(oracle::owner(&raw, offset, "/path/to/not/exists"), ("0744".into(), 0, 0));
    assert_eq!(oracle::owner(&raw, offset, "/path/to/not"), ("0755".into(), 0, 0));
    assert_eq!(oracle::owner(&raw, offset, "/path/to/not/exists/injected"), ("0644".into(), 0, 0));
    // Nova adds the key again on every run.
    expect(0, &words);
    assert_eq!(cat("/root/.ssh/authorized_keys").matches(KEY).count(), 2);
}
