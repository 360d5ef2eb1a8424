//! Units enabled, disabled and masked, beside systemctl, which does the same to a twin.

use crate::support::{Scratch, expect, oracle, text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const UNITS: &[(&str, &str)] = &[
    ("a.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlias=b.service c.service\n"),
    (
        "d.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=x.target y.target\nRequiredBy=z.target\nAlso=d.socket a.service\n",
    ),
    ("d.socket", "[Socket]\nListenStream=/run/d\n[Install]\nWantedBy=sockets.target\n"),
    (
        "t@.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nDefaultInstance=one\nAlias=alias@.service\n",
    ),
    ("u@.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=u@.target %p-%i.target\n"),
    ("e.timer", "[Timer]\nOnBootSec=1\n[Install]\nWantedBy=timers.target\n"),
    ("c1.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlso=c2.service\n"),
    ("c2.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\nAlso=c3.service\n"),
    ("c3.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"),
    ("m.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"),
    (
        "n.service",
        "[Service]\nExecStart=/bin/true\n[Install]\n; no\nWantedBy=multi-user.target \\\n   n.target\n[Unit]\nWantedBy=not.target\n",
    ),
];

/// A tree with these units, in the place where this machine's systemctl looks for them in any case.
fn plant(root: &Path) {
    let vendor = root.join("usr/lib/systemd/system");
    std::fs::create_dir_all(&vendor).expect("it is made");
    std::fs::create_dir_all(root.join("etc/systemd/system/n.service.d")).expect("it is made");
    std::fs::create_dir_all(root.join("usr/sbin")).expect("it is made");
    std::os::unix::fs::symlink("usr/lib", root.join("lib")).expect("it is made");
    std::os::unix::fs::symlink("usr/sbin", root.join("sbin")).expect("it is made");
    std::os::unix::fs::symlink("../lib/systemd/systemd", root.join("usr/sbin/init")).expect("it is made");
    for (path, content) in [
        ("usr/lib/systemd/systemd", "x"),
        ("etc/os-release", "ID=fedora\n"),
        ("etc/machine-id", ""),
        ("etc/systemd/system/n.service.d/more.conf", "[Install]\nWantedBy=more.target\n"),
    ] {
        std::fs::write(root.join(path), content).expect("it is written");
    }
    for (name, content) in UNITS {
        std::fs::write(vendor.join(name), content).expect("it is written");
    }
}

/// A disk with a tree in it.
fn disk_of(tree: &Path, scratch: &Scratch) -> PathBuf {
    let disk = scratch.path().join("disk.raw");
    std::fs::File::create(&disk).and_then(|file| file.set_len(16 << 20)).expect("there is room");
    oracle::succeed("mke2fs", &["-q", "-F", "-t", "ext4", "-d", text(tree), text(&disk)]);
    disk
}

/// The links below /etc/systemd/system, and the units that they lead to.
fn links(root: &Path) -> BTreeMap<String, String> {
    let find = "cd $1/etc/systemd/system && find . -printf '%P %y %l\\n' | LC_ALL=C sort";
    let said = oracle::succeed("sh", &["-c", find, "sh", text(root)]);
    let entry = |line: &str| {
        let (path, rest) = line.split_once(' ').expect("a type");
        // Debian's systemd says /lib where others say /usr/lib.
        (path.to_owned(), rest.replace(" /usr/lib/", " /lib/"))
    };
    said.lines().map(entry).collect()
}

#[test]
fn as_systemctl_does() {
    if !["mke2fs", "debugfs", "e2fsck", "systemctl"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let scratch = Scratch::new();
    let twin = scratch.path().join("twin");
    plant(&twin);
    let disk = disk_of(&twin, &scratch);
    // Each step goes on from the one before.
    for (verb, units) in [
        ("enable", &["a.service"][..]),
        ("enable", &["d.service", "t@.service", "t@two.service", "e.timer"]),
        ("enable", &["u@x.service", "n.service"]),
        ("mask", &["m.service", "later.service", "t@four.service"]),
        ("disable", &["a.service", "t@.service"]),
        ("enable", &["a.service", "c1.service"]),
        ("disable", &["c1.service"]),
        ("disable", &["d.service", "n.service", "e.timer", "u@.service"]),
    ] {
        oracle::succeed("systemctl", &[&["--root", text(&twin), verb], units].concat());
        let option = format!("--{verb}-unit");
        let mut words = vec!["inject", text(&disk)];
        units.iter().for_each(|unit| words.extend([option.as_str(), unit]));
        expect(0, &words);
        assert!(expect(0, &words).contains("unchanged: everything is in place already"), "{words:?}");
        oracle::e2fsck(&disk, 0);
        let out = scratch.path().join("out");
        let _ = std::fs::remove_dir_all(&out);
        std::fs::create_dir(&out).expect("it is made");
        oracle::debugfs(&disk, 0, &format!("rdump / {}", text(&out)));
        assert_eq!(links(&out), links(&twin), "{verb} {units:?}");
        if verb == "enable" {
            let state = oracle::succeed("systemctl", &[&["--root", text(&out), "is-enabled"], units].concat());
            assert!(state.lines().all(|line| line == "enabled"), "{units:?}: {state}");
        }
    }
}

/// By a configuration of Ignition, which says it so, and in which a unit without contents is none.
#[test]
fn a_mask_is_taken_away_as_by_systemctl() {
    if !["mke2fs", "debugfs", "e2fsck", "systemctl"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let scratch = Scratch::new();
    let twin = scratch.path().join("twin");
    plant(&twin);
    oracle::succeed("systemctl", &["--root", text(&twin), "mask", "a.service", "m.service"]);
    oracle::succeed("systemctl", &["--root", text(&twin), "enable", "n.service"]);
    let disk = disk_of(&twin, &scratch);
    let config = scratch.file(
        "config.ign",
        r#"{"ignition": {"version": "3.4.0"}, "systemd": {"units": [
            {"name": "a.service", "mask": false, "enabled": true},
            {"name": "m.service", "mask": false},
            {"name": "later.service", "mask": false},
            {"name": "n.service", "contents": "", "dropins": [{"name": "10-none.conf", "contents": ""}]}
        ]}}"#,
    );
    oracle::succeed("systemctl", &["--root", text(&twin), "unmask", "a.service", "m.service", "later.service"]);
    oracle::succeed("systemctl", &["--root", text(&twin), "enable", "a.service"]);
    let words = ["inject", text(&disk), "--ignition", text(&config)];
    expect(0, &words);
    assert!(expect(0, &words).contains("unchanged: everything is in place already"));
    oracle::e2fsck(&disk, 0);
    let out = scratch.path().join("out");
    std::fs::create_dir(&out).expect("it is made");
    oracle::debugfs(&disk, 0, &format!("rdump / {}", text(&out)));
    assert_eq!(links(&out), links(&twin));
    let state = oracle::succeed("systemctl", &["--root", text(&out), "is-enabled", "a.service", "n.service"]);
    assert_eq!(state, "enabled\nenabled\n");
    // In one run a unit is masked, or not.
    crate::refusals::refused(
        &disk,
        2,
        &["inject", text(&disk), "--ignition", text(&config), "--mask-unit", "m"],
        &["the unit m.service is to be masked, and not to be"],
    );
}

#[test]
fn a_unit_that_comes_with_the_run() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&crate::support::image::phony(), "disk.qcow2");
    let unit =
        "/etc/systemd/system/own.service:[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    let words = ["inject", text(&disk), "--write", unit, "--enable-unit", "own"];
    let told = expect(0, &words);
    assert!(told.contains("create   /etc/systemd/system/multi-user.target.wants/own.service"), "{told}");
    crate::refusals::refused(
        &disk,
        2,
        &["inject", text(&disk), "--enable-unit", "own", "--mask-unit", "own.service"],
        &["--mask-unit own.service", "already"],
    );
    crate::refusals::refused(
        &disk,
        3,
        &["inject", text(&disk), "--enable-unit", "none"],
        &["item units", "no unit none.service"],
    );
}

/// A guest whose first boot is before it, and whose presets disable what they do not name, as Fedora's: what was asked for outlives
/// what its systemd does then.
#[test]
fn the_first_boot_leaves_them_as_they_are() {
    if !["mke2fs", "debugfs", "e2fsck", "systemctl"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    for (id, is_first) in [("uninitialized\n", true), ("", false)] {
        let scratch = Scratch::new();
        let twin = scratch.path().join("twin");
        plant(&twin);
        let presets = twin.join("usr/lib/systemd/system-preset");
        std::fs::create_dir_all(&presets).expect("it is made");
        std::fs::write(presets.join("90-default.preset"), "enable d.service\n").expect("it is written");
        std::fs::write(presets.join("99-default-disable.preset"), "disable *\n").expect("it is written");
        std::fs::write(twin.join("etc/machine-id"), id).expect("it is written");
        let disk = scratch.path().join("disk.raw");
        std::fs::File::create(&disk).and_then(|file| file.set_len(16 << 20)).expect("there is room");
        oracle::succeed("mke2fs", &["-q", "-F", "-t", "ext4", "-d", text(&twin), text(&disk)]);
        let units = ["--enable-unit", "c1", "--enable-unit", "t@one", "--enable-unit", "t@two", "--disable-unit", "d"];
        let words = [&["inject", text(&disk), "--firstboot-command", "true"], &units[..]].concat();
        expect(0, &words);
        assert!(expect(0, &words).contains("unchanged: everything is in place already"));
        oracle::e2fsck(&disk, 0);
        let out = scratch.path().join("out");
        std::fs::create_dir(&out).expect("it is made");
        oracle::debugfs(&disk, 0, &format!("rdump / {}", text(&out)));
        let before = links(&out);
        assert!(before.keys().any(|link| link.contains("imgraft-firstboot")), "{before:?}");
        oracle::succeed("systemctl", &["--root", text(&out), "preset-all"]);
        // Where there is no first boot, nothing is said of presets, and this machine's systemctl does what no guest will.
        assert_eq!(links(&out) == before, is_first, "{id:?}: {before:?}");
        assert_eq!(out.join("etc/systemd/system-preset/00-imgraft.preset").exists(), is_first, "{id:?}");
    }
}
