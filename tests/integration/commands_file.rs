//! Options in a file, beside the same options on the command line.

use crate::support::{Scratch, expect, image, imgraft, inject, oracle, text};
use std::io::Write;
use std::process::Stdio;

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

/// What virt-customize takes more than once: the image is, to the byte, what the last ones alone make of it.
#[test]
fn of_several_the_last_one_counts() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let (disk, twin) = (scratch.copy(&guest.path, "disk.raw"), scratch.copy(&guest.path, "twin.raw"));
    let password = scratch.file("password", "correct horse\n");
    let password = format!("root:file:{}", text(&password));
    let file = scratch.file("commands", "hostname second\ntimezone Asia/Tokyo\npassword-crypto sha512\nno-logfile\n");
    let several = "--format raw --format raw --hostname first --timezone UTC --password-crypto md5 --memsize 1 --memsize 2 \
                   --smp 1 --smp 2 -x -x -q -q --echo-keys --echo-keys --colors --colours --wrap --wrap --no-network --no-network \
                   --no-logfile --selinux-relabel --no-selinux-relabel --no-selinux-relabel --keys-from-stdin --keys-from-stdin";
    let several: Vec<&str> = several.split_whitespace().collect();
    let several =
        [&several[..], &["--commands-from-file", text(&file), "--touch", "/srv/a", "--hostname", "web"]].concat();
    let once = ["--timezone", "Asia/Tokyo", "--touch", "/srv/a", "--hostname", "web", "--password-crypto", "sha512"];
    let notes = |disk: &std::path::Path, words: &[&str]| inject(disk, words)["notes"].clone();
    let told = notes(&disk, &several);
    let line = |number: u32| format!("--commands-from-file {}: line {number}: ", text(&file));
    let expected = serde_json::json!([
        "--selinux-relabel: only what is put in gets its label; `imgraft inject IMAGE --touch /.autorelabel` has the guest relabel all of its files when it is booted",
        "--hostname first: of several the last one counts, which is web",
        format!("{}--hostname second: of several the last one counts, which is web", line(1)),
        "--timezone UTC: of several the last one counts, which is Asia/Tokyo",
        "--password-crypto md5: of several the last one counts, which is sha512",
    ]);
    assert!(
        told.as_array().is_some_and(|told| expected.as_array().unwrap().iter().all(|note| told.contains(note))),
        "{told:#}"
    );
    let told = notes(&twin, &once);
    assert!(!told.to_string().contains("of several"), "{told}");
    oracle::succeed("cmp", &[text(&disk), text(&twin)]);
    oracle::e2fsck(&disk, image::open(&disk, guest.partition).offset);
    // The place of the last one is that of the item: what stands before it is overwritten.
    let words = ["--hostname", "a", "--write", "/etc/hostname:b", "--hostname", "c"];
    notes(&disk, &words);
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/hostname"]), "c\n");
    // A user's password is given once, as there.
    let before = std::fs::read(&disk).expect("it is read");
    for words in [
        &["--root-password", "random", "--root-password", "disabled"][..],
        &["--root-password", "random", "--password", &password],
        &["--password", "root:disabled", "--password", &password],
    ] {
        let output = imgraft().args(["inject", text(&disk)]).args(words).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(2 | 3)) && stderr.contains("hint: "), "{words:?}: {stderr}");
        let is_told = stderr.contains("--root-password: it is given twice")
            || stderr.contains("more than one password for 'root'");
        assert!(is_told, "{words:?}: {stderr}");
    }
    assert!(std::fs::read(&disk).expect("it is read") == before);
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
    // A value has its line too, and what is typed has none.
    for (commands, typed, told) in [
        ("touch /a\nmkdir b", "--mkdir=/c", &["commands: line 2: --mkdir: b: not a guest path"][..]),
        ("# x\nwrite /a:\\\nb\nchmod 0999:/a", "--mkdir=/c", &["commands: line 4: --chmod 0999:/a: "]),
        ("password root:secret", "--mkdir=/c", &["commands: line 1: --password: "]),
        ("password-crypto sha3", "--mkdir=/c", &["commands: line 1: invalid value 'sha3' for '--password-crypto"]),
        ("password-crypto md5", "--mkdir=/c", &["commands: line 1: --password-crypto md5: "]),
        ("copy-in /none/such:/srv", "--mkdir=/c", &["commands: line 1: --copy-in: /none/such: "]),
        ("touch /a", "--chmod=0999:/a", &["imgraft: --chmod 0999:/a: "]),
        (
            "hostname -\nmkdir b\nmkdir /b\nmkdir b\ntimezone /\nfirstboot-install ,\nroot-password secret",
            "--mkdir=c",
            &[
                "commands: line 1: --hostname -: ",
                "commands: line 5: --timezone /: ",
                "imgraft: --mkdir: c: ",
                "commands: line 2: --mkdir: b: ",
                "commands: line 4: --mkdir: b: ",
                "commands: line 6: --firstboot-install: ",
                "commands: line 7: --root-password: ",
            ],
        ),
    ] {
        let file = scratch.file("commands", commands);
        let words = ["inject", text(&disk), typed, "--commands-from-file", text(&file)];
        let output = imgraft().args(words).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let lines: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("hint: ")).collect();
        assert_eq!(lines.len(), told.len(), "{stderr}");
        for (line, told) in lines.iter().zip(told) {
            assert!(line.contains(told) && !stderr.contains("secret"), "{told}: {stderr}");
        }
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

/// What can be read once is read once, be something wrong in it or not.
#[test]
fn commands_come_from_a_pipe() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let pipe = scratch.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for (file, content) in [(text(&pipe), "of a pipe"), ("/dev/stdin", "of standard input")] {
        for (commands, status) in
            [(format!("mkdir b\nwrite /srv/a:{content}\n"), 2), (format!("write /srv/a:{content}\n"), 0)]
        {
            let mut command = std::process::Command::new("timeout");
            command.args(["60", env!("CARGO_BIN_EXE_imgraft"), "inject", text(&disk), "--commands-from-file", file]);
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
            let mut stdin = child.stdin.take().expect("it has one");
            if file == "/dev/stdin" {
                stdin.write_all(commands.as_bytes()).expect("it is read");
            } else {
                std::fs::write(&pipe, &commands).expect("it is read");
            }
            drop(stdin);
            let output = child.wait_with_output().expect("it ends");
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(status), "{stderr}");
            let told = format!("imgraft: --commands-from-file {file}: line 1: --mkdir: b: ");
            assert_eq!(stderr.starts_with(&told), status == 2, "{stderr}");
        }
        assert_eq!(expect(0, &["cat", text(&disk), "/srv/a"]), content);
    }
    let raw = oracle::raw(&scratch, &disk, "qcow2");
    oracle::e2fsck(&raw, image::open(&raw, 1).offset);
}
