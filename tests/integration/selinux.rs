//! A guest with SELinux: what is new carries the label that the guest's own policy gives.

use crate::support::rooted::Rooted;
use crate::support::tree::Mounted;
use crate::support::{FiveItems, KEY, Scratch, expect, image, oracle, text};
use std::path::Path;

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

/// Of a policy that cannot be read restorecon is left the labels, where systemd's own generator has the guest run its rc.local.
#[test]
fn without_a_policy_restorecon_runs_where_something_runs_it() {
    let scratch = Scratch::new();
    let Some(Rooted { disk, offset }) = Rooted::new(&scratch, &["e2fsck", "chroot"]) else { return };
    let config = "--write=/etc/selinux/config:SELINUX=enforcing\nSELINUXTYPE=targeted\n";
    let restorecon = "--write=/usr/sbin/restorecon:#!/bin/sh\necho \"$@\"\n";
    expect(0, &["inject", text(&disk), config, restorecon, "--chmod=0755:/usr/sbin/restorecon"]);
    let key = format!("--ssh-inject=root:string:{KEY}");
    // What the generator has started, and what of it prints when it is run.
    let run = |disk: &Path| {
        let mounted = Mounted::new(disk, &format!("offset={offset}"));
        let script =
            "mkdir /tmp/g && /usr/lib/systemd/system-generators/systemd-rc-local-generator /tmp/g /tmp/g /tmp/g
            for link in $(find /tmp/g -type l); do
                [ -L /etc/systemd/system/${link##*/} ] || $(sed -n 's/^ExecStart=//p' $(readlink -f $link))
            done; rm -r /tmp/g";
        oracle::succeed("chroot", &[text(mounted.path()), "sh", "-c", script])
    };
    let twin = scratch.copy(&disk, "twin.raw");
    let told = expect(0, &["inject", text(&twin), &key]);
    assert!(told.contains("restorecon runs from /etc/rc.local at the next boot"), "{told}");
    oracle::e2fsck(&twin, offset);
    let read = expect(0, &["cat", text(&twin), "/etc/rc.local"]);
    assert!(read.contains("restorecon -RF /root/.ssh/authorized_keys 2>/dev/null || :\n"), "{read}");
    assert_eq!(run(&twin).trim(), "-RF /root/.ssh/authorized_keys");
    // One that is masked runs nothing, nor does this guest look for the other mark.
    expect(0, &["inject", text(&disk), "--mask-unit=rc-local.service"]);
    let told = expect(0, &["inject", text(&disk), &key]);
    assert!(told.contains("nothing in it runs restorecon from an rc.local: /.autorelabel asks for all"), "{told}");
    assert!(
        told.contains("boot it with enforcing=0 on the kernel's command line, and run `restorecon -RF /`"),
        "{told}"
    );
    assert_eq!(run(&disk).trim(), "");
    oracle::e2fsck(&disk, offset);
}
