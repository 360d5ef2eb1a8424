//! Files undo none of the items that come before them.

use crate::refusals::refused;
use crate::support::{HASH, INTERFACES, KEY, Scratch, expect, image, oracle, run, text};
use std::path::{Path, PathBuf};

/// The phony guest with what the items below ask for.
fn guest(scratch: &Scratch) -> PathBuf {
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    expect(
        0,
        &[
            "inject",
            text(&disk),
            "--write",
            "/usr/share/zoneinfo/Europe/London:TZif2",
            "--write",
            "/usr/bin/sudo:",
            "--chmod",
            "04755:/usr/bin/sudo",
            "--write",
            "/etc/sudoers:@includedir /etc/sudoers.d\n",
            "--mkdir",
            "/etc/sudoers.d",
        ],
    );
    disk
}

fn e2fsck(scratch: &Scratch, disk: &Path) {
    if oracle::have("e2fsck") && oracle::have("qemu-img") {
        let raw = oracle::raw(scratch, disk, "qcow2");
        oracle::e2fsck(&raw, image::open(&raw, 1).offset);
    }
}

#[test]
fn hosts_that_are_written_have_the_guests_name() {
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let hosts = |text: &str| format!("/etc/hosts:{text}");
    for (written, expected) in [
        ("127.0.0.1 localhost\n192.0.2.9 db\n", "127.0.0.1 localhost\n127.0.1.1\tweb\n192.0.2.9 db\n"),
        ("127.0.0.1 localhost web\n", "127.0.0.1 localhost web\n"),
    ] {
        let hosts = hosts(written);
        let words = ["inject", text(&disk), "--hostname", "web", "--write", &hosts, "--json"];
        assert!(expect(0, &words).contains("\"changed\": true"));
        assert_eq!(expect(0, &["cat", text(&disk), "/etc/hosts"]), expected);
        let before = oracle::sha256(&disk);
        assert!(expect(0, &words).contains("\"changed\": false"));
        assert_eq!(oracle::sha256(&disk), before);
    }
    e2fsck(&scratch, &disk);
    let sshd = scratch.file("sshd_config", "StrictModes no\n");
    let key = format!("root:file:{}", text(&scratch.file("key.pub", format!("{KEY}\n"))));
    // Modes that sshd minds, and where it does not.
    let words = ["inject", text(&disk), "--ssh-inject", &key, "--chmod", "0777:/root"];
    let output = run(&words);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    expect(0, &["inject", text(&disk), "--upload", &format!("{}:/etc/ssh/sshd_config", text(&sshd))]);
    expect(0, &words);
    e2fsck(&scratch, &disk);
}

#[test]
fn what_undoes_another_item_is_refused() {
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let disk_name = text(&disk);
    let key = format!("root:file:{}", text(&scratch.file("key.pub", format!("{KEY}\n"))));
    let interfaces = scratch.file("interfaces", INTERFACES);
    let shadow = format!("{}:/etc/shadow", text(&scratch.file("shadow", "root:*:19000:0:99999:7:::\n")));
    let password = format!("hash:{HASH}");
    let manifest =
        scratch.file("m.yaml", "users: [{name: ann, sudo: nopasswd}]\nfiles: [{delete: '/etc/sudoers.d/*'}]\n");
    let keys = "/root/.ssh/authorized_keys";
    for (words, at, option, item) in [
        (&["--ssh-inject", &key, "--delete", "/root/.ssh"][..], keys, "--delete", "key"),
        (&["--ssh-inject", &key, "--truncate-recursive", "/root"], keys, "--truncate-recursive", "key"),
        (
            &["--network", text(&interfaces), "--delete", "/etc/network/interfaces*"],
            "/etc/network/interfaces",
            "--delete",
            "net",
        ),
        (&["--timezone", "Europe/London", "--delete", "/etc/localtime"], "/etc/localtime", "--delete", "timezone"),
        (
            &["--hostname", "bar.example.com", "--write", "/etc/hostname:foo"],
            "/etc/hostname",
            "--upload or --write",
            "hostname",
        ),
        (&["--manifest", text(&manifest)], "/etc/sudoers.d/", "--delete", "accounts"),
    ] {
        let words = [&["inject", "-a", disk_name], words].concat();
        let told = format!("{option} undoes what the item {item} has put there");
        refused(
            &disk,
            3,
            &words,
            &["item files: ", at, &told, "hint: ", "put it before that of the item", "in a run of its own before"],
        );
    }

    // The password comes last.
    expect(0, &["inject", disk_name, "--root-password", &password, "--upload", &shadow]);
    assert!(expect(0, &["cat", disk_name, "/etc/shadow"]).contains(HASH));
    // In two runs it is done, and an item that may fail is left out alone.
    expect(0, &["inject", disk_name, "--delete", "/root/.ssh"]);
    let optional = ["inject", disk_name, "--ssh-inject", &key, "--delete", "/root/.ssh", "--best-effort"];
    let output = run(&optional);
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(expect(0, &["cat", disk_name, keys]), format!("{KEY}\n"));
    e2fsck(&scratch, &disk);
}

#[test]
fn what_an_earlier_run_has_put_in_is_not_undone_either() {
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let disk_name = text(&disk);
    let key = format!("root:file:{}", text(&scratch.file("key.pub", format!("{KEY}\n"))));
    let password = format!("hash:{HASH}");
    let items = [
        "--ssh-inject",
        &key,
        "--root-password",
        &password,
        "--hostname",
        "bar.example.com",
        "--timezone",
        "Europe/London",
        "--add-user",
        "bob:groups=root",
        "--sudo",
        "bob",
        "--metadata",
        "role=web",
    ];
    expect(0, &[&["inject", disk_name][..], &items].concat());
    expect(0, &[&["inject", disk_name][..], &items].concat());
    let keys = "/root/.ssh/authorized_keys";
    let shadow = format!("{}:/etc/shadow", text(&scratch.file("shadow", "root:*:19000:0:99999:7:::\n")));
    for (words, at, option, item) in [
        (&["--delete", "/root/.ssh"][..], keys, "--delete", "key"),
        (&["--truncate", keys], keys, "--truncate", "key"),
        (&["--move", "/root:/srv/root"], keys, "--move", "key"),
        (&["--write", &format!("{keys}:x")], keys, "--upload or --write", "key"),
        (&["--upload", &shadow], "/etc/shadow", "--upload or --write", "accounts"),
        (&["--delete", "/etc/host*"], "/etc/host", "--delete", "hostname"),
        (&["--truncate", "/etc/hosts"], "/etc/hosts", "--truncate", "hostname"),
        (&["--link", "/dev/null:/etc/localtime"], "/etc/localtime", "--link", "timezone"),
        (&["--delete", "/home/bob"], "/home/bob", "--delete", "accounts"),
        (&["--truncate", "/etc/group"], "/etc/group", "--truncate", "accounts"),
        (&["--truncate", "/meta.js"], "/meta.js", "--truncate", "metadata"),
    ] {
        let words = [&["inject", disk_name], &items[..], words].concat();
        let told = format!("{option} undoes what the item {item} has put there");
        refused(&disk, 3, &words, &["item files: ", at, &told]);
    }
    // Nobody asks for the key in this run.
    expect(0, &["inject", disk_name, "--hostname", "bar.example.com", "--delete", "/root/.ssh"]);
    e2fsck(&scratch, &disk);
}

#[test]
fn what_its_program_would_not_read_is_refused() {
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let disk_name = text(&disk);
    let key = format!("root:file:{}", text(&scratch.file("key.pub", format!("{KEY}\n"))));
    let items =
        ["--ssh-inject", &key, "--add-user", "bob", "--ssh-inject", &key.replacen("root", "bob", 1), "--sudo", "bob"];
    let (keys, sudoers) = ("/root/.ssh/authorized_keys", "/etc/sudoers.d/90-imgraft-bob");
    let bobs = "/home/bob/.ssh/authorized_keys";
    for _ in 0..2 {
        for (option, value, at, reader, item) in [
            ("--chmod", "0777:/root/.ssh".to_owned(), "/root/.ssh", "sshd", "key"),
            ("--chmod", format!("0666:{keys}"), keys, "sshd", "key"),
            ("--chown", format!("1000:1000:{keys}"), keys, "sshd", "key"),
            ("--chown", format!("7:7:{bobs}"), bobs, "sshd", "key"),
            ("--chmod", format!("0000:{bobs}"), bobs, "sshd", "key"),
            ("--chmod", "0770:/home/bob".to_owned(), "/home/bob", "sshd", "key"),
            ("--chmod", format!("0646:{sudoers}"), sudoers, "sudo", "accounts"),
            ("--chown", format!("bob:bob:{sudoers}"), sudoers, "sudo", "accounts"),
        ] {
            let words = [&["inject", disk_name], &items[..], &[option, &value]].concat();
            let told = format!("which {option} gives it, {reader} ignores what the item {item} has put in");
            refused(&disk, 3, &words, &[&format!("item files: {at}: with mode "), &told, "hint: "]);
        }
        // What they take is done.
        let (mode, owner) = (format!("0400:{keys}"), format!("bob:bob:{bobs}"));
        let more = ["--chmod", &mode, "--chown", &owner, "--chmod", "0644:/etc/shadow", "--chmod", "0755:/home/bob"];
        expect(0, &[&["inject", disk_name], &items[..], &more].concat());
    }
    e2fsck(&scratch, &disk);
}

#[test]
fn what_adds_to_another_item_is_done() {
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let disk_name = text(&disk);
    let key = format!("root:file:{}", text(&scratch.file("key.pub", format!("{KEY}\n"))));
    let keys = "/root/.ssh/authorized_keys";
    let words = [
        "inject",
        disk_name,
        "--hostname",
        "bar.example.com",
        "--ssh-inject",
        &key,
        "--append-line",
        "/etc/hosts:192.0.2.7 other",
        "--append-line",
        &format!("{keys}:# more"),
        "--edit",
        "/etc/hostname:s/^/# here\n/",
        "--chmod",
        &format!("0400:{keys}"),
        "--chown",
        &format!("root:root:{keys}"),
        "--touch",
        "/etc/hosts",
        "--mkdir",
        "/root/.ssh",
        "--copy",
        &format!("{keys}:/srv/kept"),
        "--delete",
        "/etc/network",
    ];
    expect(0, &words);
    e2fsck(&scratch, &disk);
    let hosts = expect(0, &["cat", disk_name, "/etc/hosts"]);
    assert!(hosts.contains("bar.example.com") && hosts.ends_with("192.0.2.7 other\n"), "{hosts}");
    assert_eq!(expect(0, &["cat", disk_name, "/srv/kept"]), format!("{KEY}\n# more\n"));

    let other = guest(&scratch);
    expect(0, &["inject", text(&other), "--hostname", "bar", "--write", "/etc/hostname:bar\n"]);
    e2fsck(&scratch, &other);
}
