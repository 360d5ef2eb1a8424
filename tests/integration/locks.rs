//! An image that QEMU holds is refused, and QEMU is refused an image that imgraft holds.

use crate::support::{FiveItems, Scratch, image, imgraft, oracle, run, text};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[test]
fn an_image_that_qemu_has_open_is_in_use() {
    if !oracle::have("qemu-io") {
        return;
    }
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let items = FiveItems::new(&scratch);
    let mut qemu = Command::new("qemu-io")
        .args(["-f", "qcow2", text(&copy)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-io starts");
    // It has the image open, and so locked, once it answers.
    let mut input = qemu.stdin.take().expect("piped");
    writeln!(input, "read 0 512").expect("it listens");
    let mut line = String::new();
    BufReader::new(qemu.stdout.as_mut().expect("piped")).read_line(&mut line).expect("it answers");
    let before = oracle::sha256(&copy);
    for words in [items.on(&copy, &[]), items.on(&copy, &["-n"]), vec!["inspect", text(&copy)]] {
        let output = run(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{words:?}: {said}");
        assert!(said.contains("disk.qcow2"), "{said}");
    }
    assert_eq!(oracle::sha256(&copy), before);
    drop(input);
    assert!(qemu.wait().expect("it ends").success());
    assert!(imgraft().args(items.on(&copy, &["-q"])).status().expect("runs").success());
}

/// A mounted filesystem looks like one that was powered off, and the kernel takes no locks.
#[test]
fn an_image_on_a_loop_device_is_in_use() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let attached = Command::new("losetup").args(["-f", "--show", text(&copy)]).output();
    let Some(attached) = attached.ok().filter(|attached| attached.status.success()) else {
        return oracle::skip("no loop device");
    };
    let device = String::from_utf8_lossy(&attached.stdout).trim().to_owned();
    let before = oracle::sha256(&copy);
    let output = run(&["inject", text(&copy), "--write", "/etc/motd:hello"]);
    oracle::succeed("losetup", &["-d", &device]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(&device), "{said}");
    assert_eq!(oracle::sha256(&copy), before);
}
