//! Options in a file, beside the same options on the command line.

use crate::support::{Scratch, expect, image, imgraft, oracle, text};

const COMMANDS: &str = "# of the middle\nwrite /srv/b:one\\\ntwo\n\n  append-line /srv/b:three\nedit /srv/b:\\\n  s/one/1/\nmkdir /srv/c\n\
                        delete /srv/a\nroot-password disabled\nno-selinux-relabel\n";

#[test]
fn a_file_of_commands_is_what_is_in_it() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let (disk, twin) = (scratch.copy(&guest.path, "disk.raw"), scratch.copy(&guest.path, "twin.raw"));
    let file = scratch.file("commands", COMMANDS);
    let from_file = [
        "inject",
        "-a",
        text(&disk),
        "--format",
        "auto",
        "-x",
        "--colors",
        "--wrap",
        "--echo-keys",
        "--network",
        "--write",
        "/srv/a:",
        "--commands-from-file",
        text(&file),
        "--touch",
        "/srv/a",
    ];
    let typed = [
        "inject",
        text(&twin),
        "--write",
        "/srv/a:",
        "--write",
        "/srv/b:one\ntwo",
        "--append-line",
        "/srv/b:three",
        "--edit",
        "/srv/b:s/one/1/",
        "--mkdir",
        "/srv/c",
        "--delete",
        "/srv/a",
        "--root-password",
        "disabled",
        "--touch",
        "/srv/a",
        "--no-network",
        "-m",
        "512",
    ];
    for words in [&from_file[..], &typed] {
        let output = imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(words).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    oracle::succeed("cmp", &[text(&disk), text(&twin)]);
    oracle::e2fsck(&disk, image::open(&disk, guest.partition).offset);
    let output = imgraft().args(["cat", text(&disk), "/srv/b"]).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\ntwo\nthree\n");
}

/// By the libcrypt of this machine, whose verdict a login takes.
#[test]
fn a_password_is_hashed_as_was_asked_for() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let password = scratch.file("password", "correct horse\n");
    let script = "while (<>) { print((crypt('correct horse', $1) eq $1) ? 'fits' : 'no') if /^root:([^:]*):/ }";
    for (method, prefix) in [("sha256", "root:$5$"), ("yescrypt", "root:$y$j9T$"), ("sha512", "root:$6$")] {
        // Of several the last one counts, and it holds for what stands before it.
        let file =
            scratch.file("commands", format!("root-password file:{}\npassword-crypto {method}\n", text(&password)));
        let words = ["inject", text(&disk), "--password-crypto", "md5", "--commands-from-file", text(&file)];
        let output = imgraft().args(words).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = imgraft().args(["cat", text(&disk), "/etc/shadow"]).output().expect("it starts");
        let shadow = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shadow.lines().any(|line| line.starts_with(prefix)), "{method}");
        let shadow = scratch.file("shadow", shadow);
        assert_eq!(oracle::succeed("perl", &["-e", script, text(&shadow)]), "fits", "{method}");
    }
    oracle::e2fsck(&disk, image::open(&disk, guest.partition).offset);
    let words = ["inject", text(&disk), "--root-password", "random", "--password-crypto", "md5"];
    let output = imgraft().args(words).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("MD5") && stderr.contains("hint: ") && stderr.contains("sha512"), "{stderr}");
}

#[test]
fn what_is_refused_leaves_the_image_and_names_the_line() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let before = std::fs::read(&disk).expect("it is read");
    for (commands, told) in [
        ("touch /a\nrun-command secret", "commands: line 2: run-command: no program of the guest is run"),
        ("touch /a\nnone secret", "commands: line 2: no command is called 'none'"),
    ] {
        let file = scratch.file("commands", commands);
        let output =
            imgraft().args(["inject", text(&disk), "--commands-from-file", text(&file)]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(told) && !stderr.contains("secret") && stderr.contains("hint: "), "{stderr}");
    }
    assert!(std::fs::read(&disk).expect("it is read") == before);
}

#[test]
fn the_format_auto_is_what_is_found() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let found = |format: &[&str]| expect(0, &[&["cat", text(&disk), "/etc/hostname"], format].concat());
    assert_eq!(found(&["--format", "auto"]), found(&[]));
}
