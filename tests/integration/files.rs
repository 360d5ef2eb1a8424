//! What is done to files, beside a shell that does the same to a twin.

use crate::support::tree::{self, Mounted};
use crate::support::{Scratch, expect, image, oracle, text};

const SCRIPT: &str = r#"
set -e
mkdir -p srv/a/b
cp etc/hosts srv/a/hosts
printf 'one\ntwo\n' >srv/a/lines
echo three >>srv/a/lines
perl -pi -e 's/^(one|three)$/<$1>/' srv/a/lines
ln -sfn ../a/b srv/way
ln -sfn /etc/passwd srv/a/link
rm -rf usr/share/doc/[a-d]* usr/share/none* var/lib/dpkg/info
touch srv/touched
: >etc/issue
find var/cache var/lib -type f -exec truncate -s 0 '{}' +
chmod 0750 srv/a
chown daemon:sys srv/a/lines
"#;

#[test]
fn as_a_shell_does() {
    if !tree::have(&["e2fsck", "perl", "find"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let (disk, twin) = (scratch.copy(&guest.path, "disk.raw"), scratch.copy(&guest.path, "twin.raw"));
    let offset = image::open(&disk, guest.partition).offset;
    let mounted = Mounted::new(&twin, &format!("offset={offset}"));
    let root = text(mounted.path()).to_owned();
    let hosts = format!(
        "{}:/srv/a/hosts",
        text(&scratch.file("hosts", std::fs::read(mounted.path().join("etc/hosts")).expect("it is there")))
    );
    oracle::succeed("sh", &["-c", &format!("cd {root} && umask 022\n{SCRIPT}")]);
    let expected = listing(&root);
    drop(mounted);

    let words = [
        "inject",
        text(&disk),
        "--mkdir",
        "/srv/a/b",
        "--upload",
        &hosts,
        "--write",
        "/srv/a/lines:one\ntwo\n",
        "--append-line",
        "/srv/a/lines:three",
        "--edit",
        "/srv/a/lines:s/^(one|three)$/<$1>/",
        "--link",
        "../a/b:/srv/way",
        "--link",
        "/etc/passwd:/srv/a/link",
        "--delete",
        "/usr/share/doc/[a-d]*",
        "--delete",
        "/usr/share/none*",
        "--delete",
        "/var/lib/dpkg/info",
        "--touch",
        "/srv/touched",
        "--truncate",
        "/etc/issue",
        "--truncate-recursive",
        "/var/cache",
        "--truncate-recursive",
        "/var/lib",
        "--chmod",
        "0750:/srv/a",
        "--chown",
        "daemon:sys:/srv/a/lines",
        "--json",
    ];
    let report: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    oracle::e2fsck(&disk, offset);
    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    let found = listing(text(mounted.path()));
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{differs:?}");
    assert!(found.lines().count() > 1000);
}

/// Every name with its type, mode, owner, links, size and target, and what all files hold.
fn listing(root: &str) -> String {
    let script = r"cd $1; find . -path ./lost+found -prune -o -printf '%P %y %m %U:%G %n %l' \( -type f -printf ' %s' -o -true \) -printf '\n' | LC_ALL=C sort
        find . -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum";
    oracle::succeed("sh", &["-c", script, "sh", root])
}
