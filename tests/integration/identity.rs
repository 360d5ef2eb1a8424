//! What a guest is called and where it stands, by the guest's own programs.

use crate::refusals::refused;
use crate::support::tree::{self, Mounted};
use crate::support::{Scratch, expect, image, oracle, text};

#[test]
fn name_and_zone_by_the_guests_own_programs() {
    if !tree::have(&["e2fsck", "chroot", "unshare"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let words = ["inject", text(&disk), "--hostname", "web.example.org", "--timezone", "Europe/Berlin", "--json"];
    let report: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    let items: Vec<_> = report["items"].as_array().expect("items").iter().map(|item| item["item"].clone()).collect();
    assert_eq!(items, ["hostname", "timezone"]);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let offset = image::open(&disk, guest.partition).offset;
    oracle::e2fsck(&disk, offset);

    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    let root = text(mounted.path()).to_owned();
    let script = "hostname -F /etc/hostname && hostname && hostname -f && getent hosts web && date -d @0 +%Z%z";
    let said = oracle::succeed("unshare", &["--uts", "chroot", &root, "sh", "-c", script]);
    let lines: Vec<&str> = said.lines().collect();
    let [name, full, line, zone] = lines[..] else { panic!("{said}") };
    assert_eq!((name, full, zone), ("web.example.org", "web.example.org", "CET+0100"));
    let line: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(line, ["127.0.1.1", "web.example.org", "web"]);
    drop(mounted);

    assert!(expect(0, &words[..6]).contains("unchanged: everything is in place already"));
}

/// A locale by the guest's own C library, from an archive that localedef has made; the files beside those of systemd-firstboot.
#[test]
fn locale_and_machine_id_by_the_guests_own_programs() {
    let tools = ["localedef", "systemd-firstboot", "systemd-machine-id-setup"];
    if !tools.iter().all(|tool| oracle::have(tool)) || !tree::have(&["e2fsck", "chroot"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let (prefix, archive) = (scratch.path().join("made"), "/usr/lib/locale/locale-archive");
    std::fs::create_dir_all(prefix.join("usr/lib/locale")).expect("it is made");
    let words = ["--prefix", text(&prefix), "-i", "de_DE", "-f", "UTF-8", "de_DE.UTF-8"];
    oracle::succeed("localedef", &words);
    let id = "0123456789abcdef0123456789abcdef";
    let words = ["inject", text(&disk), "--locale", "de_DE.UTF-8", "--machine-id", id];
    refused(&disk, 3, &words, &["item locale", "no locale de_DE.UTF-8", "it has C, C.utf8, POSIX"]);
    let upload = format!("{}:{archive}", text(&prefix.join(&archive[1..])));
    expect(0, &["inject", text(&disk), "--upload", &upload]);
    let told = expect(0, &words);
    assert!(told.contains("note: every clone of the image has the machine ID"), "{told}");
    assert!(expect(0, &words).contains("unchanged: everything is in place already"));

    let offset = image::open(&disk, guest.partition).offset;
    oracle::e2fsck(&disk, offset);
    let twin = scratch.path().join("twin");
    std::fs::create_dir_all(twin.join("etc")).expect("it is made");
    let root = format!("--root={}", text(&twin));
    oracle::succeed("systemd-firstboot", &[&root, "--locale=de_DE.UTF-8", &format!("--machine-id={id}")]);
    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    for path in ["etc/default/locale", "etc/machine-id"] {
        let read = |root: &std::path::Path| std::fs::read_to_string(root.join(path)).expect("it is there");
        assert_eq!(read(mounted.path()), read(&twin), "{path}");
    }
    let script = "set -a; . /etc/default/locale; unset LC_ALL; locale charmap; locale -k decimal_point";
    let said = oracle::succeed("chroot", &[text(mounted.path()), "sh", "-c", script]);
    assert_eq!(said, "UTF-8\ndecimal_point=\",\"\n");
    drop(mounted);

    expect(0, &["inject", text(&disk), "--machine-id", "uninitialized"]);
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/machine-id"]), "uninitialized\n");
    std::fs::write(twin.join("etc/machine-id"), "uninitialized\n").expect("it is written");
    let _ = oracle::tool("systemd-machine-id-setup", &[&root]);
    let made = std::fs::read_to_string(twin.join("etc/machine-id")).expect("it is there");
    assert!(made.len() == 33 && !made.starts_with(id), "{made:?}");
}

/// The service of the first boot by systemd's own tools.
#[test]
fn a_service_that_systemd_takes() {
    if !["systemctl", "systemd-analyze"].iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt.v3c") else { return };
    let scratch = Scratch::new();
    let (base, disk) = (text(&guest.path), scratch.path().join("disk.qcow2"));
    let said = expect(0, &["inject", base, "--overlay", text(&disk), "--firstboot-command", "true"]);
    let chain = format!("--backing-chain={}", text(&image::built()));
    assert!(said.contains("systemd runs them once"), "{said}");
    let root = scratch.path().join("root");
    let unit = "etc/systemd/system/imgraft-firstboot.service";
    for path in [unit, "usr/lib/imgraft/firstboot"] {
        let path_in_guest = format!("/{path}");
        std::fs::create_dir_all(root.join(path).parent().expect("it has one")).expect("it is made");
        std::fs::write(root.join(path), expect(0, &["cat", &chain, text(&disk), &path_in_guest]))
            .expect("it is written");
    }
    oracle::succeed("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", text(&root.join(unit))]);
    oracle::succeed("sh", &["-n", text(&root.join("usr/lib/imgraft/firstboot"))]);
    let wants = "etc/systemd/system/multi-user.target.wants";
    std::fs::create_dir_all(root.join(wants)).expect("it is made");
    let link = root.join(wants).join("imgraft-firstboot.service");
    std::os::unix::fs::symlink(format!("/{unit}"), link).expect("it is made");
    let enabled = oracle::succeed("systemctl", &["--root", text(&root), "is-enabled", "imgraft-firstboot.service"]);
    assert_eq!(enabled, "enabled\n");
}

#[test]
fn a_name_that_is_none_and_a_zone_that_is_not_there() {
    let phony = image::phony();
    for (status, option, value, reason) in [
        (2, "--hostname", "my_host", "only letters, digits, hyphens and dots"),
        (2, "--timezone", "../../etc/passwd", "no name of a time zone"),
        (3, "--timezone", "Mars/Olympus", "the guest has no time zone"),
        (2, "--locale", "../C", "no such name"),
        (3, "--locale", "fr_FR.UTF-8", "the guest has no locale"),
        (2, "--keymap", "a b", "no such name"),
        (3, "--keymap", "de", "the guest has no keymap"),
        (2, "--machine-id", "0123", "neither empty, nor uninitialized, nor an ID"),
    ] {
        refused(&phony, status, &["inject", text(&phony), option, value], &[reason, value]);
    }
}
