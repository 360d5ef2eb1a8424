//! What is moved inside the guest, by the verdict of e2fsprogs.

use crate::support::rooted::{Rooted, assert_refused, assert_same};
use crate::support::{Scratch, image, imgraft, oracle, text};

fn run(words: &[&str]) -> String {
    let output = imgraft().env("SOURCE_DATE_EPOCH", "1700000000").args(words).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_is_moved_stays_what_it_is() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    // All that debugfs says of a file, but for the time of the change and what depends on it.
    let facts = |path: &str| -> Vec<String> {
        let said = oracle::debugfs(&disk, offset, &format!("stat {path}"));
        said.lines().filter(|line| !line.contains("ctime:") && !line.contains("checksum:")).map(str::to_owned).collect()
    };
    run(&[
        "inject",
        text(&disk),
        "--write",
        "/srv/tree/a/b/f:f",
        "--write",
        "/srv/tree/g:g",
        "--link",
        "../g:/srv/tree/a/l",
    ]);
    let requests = "cd /srv/tree\nmknod pipe p\nln g /srv/other\nsif g links_count 2\nsif a mtime 20010203\n";
    let requests = scratch.file("requests", requests);
    oracle::succeed("debugfs", &["-w", "-f", text(&requests), &format!("{}?offset={offset}", text(&disk))]);
    oracle::e2fsck(&disk, offset);
    let before = [
        ("/etc/hosts", "/srv/hosts"),
        ("/etc/passwd-", "/etc/motd"),
        ("/srv/tree/a/b/f", "/opt/tree/a/b/f"),
        ("/srv/tree/a/l", "/opt/tree/a/l"),
        ("/srv/tree/g", "/opt/tree/g"),
        ("/srv/tree/pipe", "/opt/tree/pipe"),
    ]
    .map(|(from, to)| (facts(from), to));
    let words = [
        "inject",
        text(&disk),
        "--move",
        "/etc/hosts:/srv",
        "--move",
        "/etc/passwd-:/etc/motd",
        "--move",
        "/srv/tree:/opt/",
        "--write",
        "/srv/new:n",
        "--move",
        "/srv/new:/opt/tree/a/b/new",
    ];
    let said = run(&[&words[..], &["--dry-run"]].concat());
    for line in
        ["moved file /srv/hosts from /etc/hosts", "removed file /etc/motd", "new directory /opt/tree/a/b mode 0755"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("localhost"), "the content is the old one: {said}");
    run(&words);
    oracle::e2fsck(&disk, offset);
    for (before, path) in before {
        assert_eq!(facts(path), before, "{path}");
    }
    assert!(oracle::debugfs(&disk, offset, "stat /opt/tree/a").contains("mtime: 0x3a7b"), "the day is 2001-02-03");
    let there = |path: &str| imgraft().args(["ls", text(&disk), path]).output().expect("it starts").status.success();
    assert!(!there("/srv/tree") && !there("/etc/hosts") && !there("/etc/passwd-") && there("/srv/other"));
    let names = run(&["ls", text(&disk), "/opt/tree/a/b"]);
    assert!(names.contains("new") && !names.contains(".imgraft"), "{names}");
}

#[test]
fn as_mv_does_onto_links() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "mv"]) else { return };
    let links = [
        ("through", "missing/../dir"),
        ("nowhere", "/srv/nowhere-else"),
        ("circle", "circle"),
        ("file", "f5"),
        ("past", "f5/x"),
        ("into", "dir"),
    ];
    let make = links.map(|(name, target)| format!("ln -s {target} srv/{name}; echo {name} >srv/{name}.f"));
    guest.run(&format!("mkdir srv/dir; echo 5 >srv/f5\n{}", make.join("\n")));
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(&links.map(|(name, _)| format!("mv srv/{name}.f srv/{name}")).join("\n"));
    let listing = "cd $1; find srv -printf '%p %y %n %l\\n' | LC_ALL=C sort; find srv -type f -exec grep -H . {} + | LC_ALL=C sort";
    let moves = links.map(|(name, _)| format!("--move=/srv/{name}.f:/srv/{name}"));
    guest.inject(&moves.each_ref().map(String::as_str));
    let found = guest.list(listing);
    assert_same(&found, &twin.list(listing));
    assert!(found.contains("srv/through f 1") && found.contains("srv/dir/into.f f 1"), "{found}");
}

#[test]
fn what_cannot_be_moved_is_named() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let cases = [
        ("/etc/none:/srv", 3, "/etc/none cannot be moved to /srv: no such file"),
        ("/:/srv", 3, "the root stays"),
        ("/etc:/etc/new", 3, "into itself"),
        ("/etc/passwd:/none/x", 3, "/none: no such directory"),
        ("/etc/passwd:/etc/shadow/x", 3, "not a directory"),
        ("/etc/passwd:/etc", 3, "they are one file"),
        ("/etc:/etc/passwd", 3, "a file is where the directory is to be"),
        ("/etc", 2, "not SOURCE:DEST"),
    ];
    assert_refused(&disk, &["--move"], &cases);
}

#[test]
fn nothing_is_moved_onto_another_filesystem() {
    let Some(guest) = image::named("tree", "tree-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk");
    let before = std::fs::read(&disk).expect("it is read");
    for run in [&["--dry-run"][..], &[]] {
        let words = [&["inject", text(&disk), "--move", "/etc/hosts:/home"], run].concat();
        let output = imgraft().args(words).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("/etc/hosts: it lies on another filesystem than /home/hosts"), "{stderr}");
        assert!(std::fs::read(&disk).expect("it is read") == before);
    }
    run(&["inject", text(&disk), "--write", "/home/d/e:e"]);
    run(&["inject", text(&disk), "--move", "/home/d:/home/f"]);
    assert_eq!(run(&["cat", text(&disk), "/home/f/e"]), "e");
    for partition in [3, 4] {
        oracle::e2fsck(&disk, image::open(&disk, partition).offset);
    }
}
