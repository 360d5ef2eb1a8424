//! Trees that are copied in, beside tar on a twin.

use crate::support::tree::{self, Mounted};
use crate::support::{Scratch, expect, image, imgraft, oracle, text};

/// A tree with whatever tar copies, and what is in its way in the guest: files with an access list, a second name, a link.
const HOST: &str = r"
set -e
umask 022
mkdir -p site/a/deep/er site/empty
printf one >site/a/one
printf two >site/a/two
printf replaced >site/a/linked
printf through >site/a/through
head -c 3000000 /dev/urandom >site/a/large
: >site/a/none
ln -s ../../../../etc/shadow site/a/out
ln -s /nowhere site/dangling
ln -s new site/moved
chmod 4751 site/a/one
chmod 0600 site/a/two
chmod 1777 site/empty
chown -h 1234:4321 site/a/two site/a/deep site/dangling
touch -d '2001-02-03 04:05:06.123456789' site/a/one
";

const GUEST: &str = r"
set -e
umask 022
mkdir -p srv/site/a srv/other
chmod 0700 srv/site/a
printf old >srv/site/a/one
printf same >srv/other/linked
ln srv/other/linked srv/site/a/linked
printf kept >srv/other/kept
ln -s ../../other/kept srv/site/a/through
ln -s old srv/site/moved
printf stays >srv/site/stays
setfacl -m u:7:r srv/site/a/one
";

#[test]
fn as_tar_does() {
    if !tree::have(&["e2fsck", "tar", "setfacl", "getfattr"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    let host = text(scratch.path()).to_owned();
    oracle::succeed("sh", &["-c", &format!("cd {host}\n{HOST}")]);
    let mounted = Mounted::new(&disk, &format!("offset={offset}"));
    oracle::succeed("sh", &["-c", &format!("cd {}\n{GUEST}", text(mounted.path()))]);
    drop(mounted);
    let twin = scratch.copy(&disk, "twin.raw");
    let mounted = Mounted::new(&twin, &format!("offset={offset}"));
    let unpack = format!("cd {host} && tar -cf - site | tar -C {}/srv -xpf - --numeric-owner", text(mounted.path()));
    oracle::succeed("sh", &["-c", &unpack]);
    let expected = listing(text(mounted.path()));
    drop(mounted);

    let words = ["inject", text(&disk), "--copy-in", &format!("{host}/site/:/srv"), "--json"];
    let report: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    oracle::e2fsck(&disk, offset);
    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    let found = listing(text(mounted.path()));
    drop(mounted);
    let differs: Vec<_> = found.lines().zip(expected.lines()).filter(|(found, expected)| found != expected).collect();
    assert!(found == expected, "{differs:?}");
    assert!(found.contains("srv/site/a/out l 777 0:0 1 ../../../../etc/shadow"), "{found}");

    let report: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    assert_eq!(report["changed"], false, "{report}");
}

#[test]
fn what_cannot_be_copied_leaves_the_image() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    std::fs::create_dir(scratch.path().join("site")).expect("it is made");
    scratch.file("site/f", "x");
    let before = std::fs::read(&disk).expect("it is read");
    let host = text(scratch.path()).to_owned();
    for (from, to, status, told) in [
        ("site", "/none", 3, "/none: no such file in the guest"),
        ("site", "/etc/passwd", 3, "/etc/passwd: no directory in the guest"),
        ("none", "/etc", 2, "none: No such file"),
        ("", "/etc", 2, "this run writes that file"),
    ] {
        let typed = if from.is_empty() { format!("{host}:{to}") } else { format!("{host}/{from}:{to}") };
        let output = imgraft().args(["inject", text(&disk), "--copy-in", &typed]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
    assert!(std::fs::read(&disk).expect("it is read") == before);
}

/// Every name below /srv with its type, mode, owner, links and target, a file's size and time, all access lists, and what all
/// files hold. The times of directories are those of the run.
fn listing(root: &str) -> String {
    let script = r"cd $1; find srv -printf '%p %y %m %U:%G %n %l' \( -type f -printf ' %s' -o -true \) -printf '\n' | LC_ALL=C sort
        find srv/site/a srv/other -type f -printf '%p %T@\n' | LC_ALL=C sort
        getfattr -R -h -d -m - srv | LC_ALL=C sort
        find srv -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
    oracle::succeed("sh", &["-c", script, "sh", root])
}
