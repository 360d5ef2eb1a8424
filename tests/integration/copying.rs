//! What is copied inside the guest, beside cp on a twin.

use crate::borrowed::checked;
use crate::support::rooted::{Rooted, assert_refused, assert_same};
use crate::support::tree;
use crate::support::{Scratch, expect, image, oracle, run, text};
use std::time::{Duration, UNIX_EPOCH};

/// What is copied, and what is in its way: files with an access list, further names, links.
const GUEST: &str = r"
set -e
umask 022
mkdir -p srv/site/a/deep/er srv/site/empty srv/there/site/a srv/other
printf one >srv/site/a/one
printf two >srv/site/a/two
printf linked >srv/site/a/linked
ln srv/site/a/linked srv/site/a/deep/linked
ln srv/site/a/linked srv/other/linked
head -c 2500001 /dev/urandom >srv/site/a/large
cp srv/site/a/large srv/other/large
truncate -s 5000000 srv/site/a/hole
printf end | dd of=srv/site/a/hole bs=1 seek=3000000 conv=notrunc 2>/dev/null
truncate -s 9000000 srv/site/a/zeros
: >srv/site/a/none
ln -s ../../../etc/shadow srv/site/a/out
ln -s /nowhere srv/site/dangling
chmod 4751 srv/site/a/one
chmod 1777 srv/site/empty
chown -h 1234:4321 srv/site/a/two srv/site/a/deep srv/site/dangling
setfacl -m u:7:r srv/site/a/one
setfacl -d -m g:8:rwx srv/site/a/deep
setfattr -n user.note -v noted srv/site/a/deep/er
touch -d '2001-02-03 04:05:06.123456789' srv/site/a/one srv/site/a/deep
touch -h -d '2002-02-03 04:05:06' srv/site/dangling
chmod 0700 srv/there/site/a
printf old >srv/there/site/a/one
printf same >srv/other/two
ln srv/other/two srv/there/site/a/two
printf kept >srv/other/kept
ln -s ../../../other/kept srv/there/site/a/none
printf stays >srv/there/site/stays
setfacl -m u:9:r srv/there/site/a/one
";

/// The same as the options below.
const TWIN: &str = r"
set -e
cp -a srv/site srv/there
cp -a srv/site srv/new
cp -a etc/hosts etc/hosts.orig
printf new >etc/hosts
cp -a srv/other/large opt/kept
cp -a srv/other/large srv/other/kept
rm srv/other/large
cp -a srv/other/linked opt/linked
printf 'linked\nmore\n' >srv/other/linked
cp -a opt/linked opt/again
mv etc/issue etc/issue.moved
cp -a etc/issue.moved etc/issue
";

const WORDS: [&str; 24] = [
    "--copy",
    "/srv/site:/srv/there",
    "--copy",
    "/srv/site:/srv/new",
    "--copy",
    "/etc/hosts:/etc/hosts.orig",
    "--write",
    "/etc/hosts:new",
    "--copy",
    "/srv/other/large:/opt/kept",
    "--copy",
    "/srv/other/large:/srv/other/kept",
    "--delete",
    "/srv/other/large",
    "--copy",
    "/srv/other/linked:/opt/linked",
    "--append-line",
    "/srv/other/linked:more",
    "--copy",
    "/opt/linked:/opt/again",
    "--move",
    "/etc/issue:/etc/issue.moved",
    "--copy",
    "/etc/issue.moved:/etc/issue",
];

#[test]
fn as_cp_does() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "cp", "setfacl", "getfattr"]) else { return };
    guest.run(GUEST);
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(TWIN);
    let expected = twin.list(LISTING);

    let dry = expect(0, &["inject", text(&guest.disk), "--dry-run", "--copy", "/etc/shadow:/etc/login.defs"]);
    assert!(dry.contains("file /etc/login.defs content of /etc/shadow ("), "{dry}");
    assert!(!dry.contains("root:") && !dry.contains("PASS_MAX_DAYS"), "what the two hold is not shown: {dry}");
    let report = guest.inject(&WORDS);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let found = guest.list(LISTING);
    assert_same(&found, &expected);
    for line in
        ["srv/new/a/one f 4751 0:0 1  3", "srv/new/a/deep/linked f 644 0:0 2  6", "user:7:r--", "default:group:8:rwx"]
    {
        assert!(found.contains(line), "{line}: {found}");
    }

    // What was copied has changed in the same run.
    for changed in [true, false] {
        assert_eq!(guest.inject(&["--copy", "/srv/site:/srv/there"])["changed"], changed);
    }

    guest.run("truncate -s 65G srv/holes");
    let refused = run(&["inject", text(&guest.disk), "--copy", "/srv/holes:/opt"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("/srv/holes: 69793218560 bytes, holes counted"), "{told}");
    assert_eq!(refused.status.code(), Some(3));
}

#[test]
fn a_copy_that_is_changed_is_of_now() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "cp"]) else { return };
    guest.run("mkdir srv/d; printf 'one\\n' >srv/d/a; touch -d @1000000000 srv/d/a");
    let host = scratch.file("in", "one\n");
    std::fs::File::open(&host).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run("cp -a srv/d srv/e; cp -a srv/d/a srv/plain; echo two >>srv/e/a");
    twin.run(&format!("cp -a {} srv; echo two >>srv/in", text(&host)));
    let listing =
        "cd $1; find srv -type f -printf '%p %s ' -newermt @1000000001 -printf new -o -type f -printf 'old\\n'";
    let words = ["--copy", "/srv/d:/srv/e", "--copy", "/srv/d/a:/srv/plain", "--append-line", "/srv/e/a:two"];
    guest.inject(&words);
    guest.inject(&["--copy-in", &format!("{}:/srv", text(&host)), "--append-line", "/srv/in:two"]);
    let found = guest.list(listing);
    assert!(
        found.contains("srv/in 8 new") && found.contains("srv/e/a 8 new") && found.contains("srv/plain 4 old"),
        "{found}"
    );
    assert_same(&found, &twin.list(listing));
}

#[test]
fn what_cannot_be_copied_is_named() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    expect(
        0,
        &[
            "inject",
            text(&disk),
            "--link",
            "/none:/etc/dangling",
            "--link",
            "no/../x:/etc/lost",
            "--link",
            "passwd:/etc/own",
            "--mkdir",
            "/srv/shadow",
        ],
    );
    let cases = [
        ("/etc/none:/srv", 3, "/etc/none: no such file in the guest"),
        ("/:/srv", 3, "it is the whole guest"),
        ("/etc:/etc/new", 3, "into itself"),
        ("/etc:/", 3, "into itself"),
        ("/etc/passwd:/none/x", 3, "/none: no such directory"),
        ("/etc/passwd:/etc/shadow/x", 3, "not a directory"),
        ("/etc/passwd:/etc", 3, "they are one file"),
        ("/etc/passwd:/etc/own", 3, "they are one file"),
        ("/etc:/etc/passwd", 3, "a file or a link is where the directory is to be"),
        ("/etc/shadow:/srv", 3, "/srv/shadow: a directory is where a file or a link is to be"),
        ("/etc/passwd:/etc/dangling", 3, "a link that leads nowhere is in the way"),
        ("/etc/passwd:/etc/lost", 3, "a link that leads nowhere is in the way"),
        ("/etc", 2, "not SOURCE:DEST"),
    ];
    assert_refused(&disk, &["--copy"], &cases);
}

#[test]
fn from_one_filesystem_to_another() {
    let Some(guest) = image::named("tree", "tree-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk");
    expect(
        0,
        &["inject", text(&disk), "--copy", "/etc:/home", "--write", "/etc/hosts:new", "--copy", "/etc/hosts:/boot/efi"],
    );
    let cat = |path: &str| expect(0, &["cat", text(&disk), path]);
    assert_ne!(cat("/home/etc/hosts"), "new");
    assert_eq!(cat("/boot/efi/hosts"), "new");
    assert_eq!(cat("/home/etc/passwd"), cat("/etc/passwd"));
    for partition in [3, 4] {
        oracle::e2fsck(&disk, image::open(&disk, partition).offset);
    }
    assert!(!expect(0, &["ls", text(&disk), "/home"]).contains(".imgraft"));
}

/// What comes from an archive, is copied and is moved is the same on these as on ext4, right by the tools of each.
#[test]
fn on_xfs_and_btrfs() {
    if !tree::can_attach() || !tree::have(&["xfs_repair", "btrfs", "tar", "linux.uml"]) {
        return;
    }
    let scratch = Scratch::new();
    let Some(ext4) = Rooted::new(&scratch, &["e2fsck"]) else { return };
    let pack = format!(
        "mkdir -p {0}/pack/in && cd {0}/pack && echo one >in/one && ln in/one in/two && mkfifo in/pipe && ln -s one in/link && chmod 2750 in && tar -cf ../pack.tar in",
        text(scratch.path())
    );
    oracle::succeed("sh", &["-c", &pack]);
    let tar_in = format!("{}:/srv", text(&scratch.path().join("pack.tar")));
    let words = [
        &[
            "--tar-in",
            &tar_in,
            "--copy",
            "/etc:/srv/etc",
            "--move",
            "/srv/in:/opt/in",
            "--append-line",
            "/etc/hosts:new",
        ][..],
        &["--copy", "/opt/in:/srv/again", "--move", "/srv/etc/hosts:/srv/hosts", "--copy", "/opt:/srv"],
    ]
    .concat();
    let report = ext4.inject(&words);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let script = r"cd $1; find srv opt -printf '%p %y %m %U:%G %l' \( ! -type d -printf ' %n' -o -true \) -printf '\n' | LC_ALL=C sort
        find srv opt -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
    let expected = ext4.list(script);
    for (name, attach) in [("bookworm-xfs", "fuse"), ("bookworm-btrfs", "uml")] {
        let Some(guest) = image::named("borrowed", name) else { return };
        let disk = scratch.copy(&guest.path, "borrowed.raw");
        let report = expect(0, &[&["inject", text(&disk), "--json", "--attach", attach], &words[..]].concat());
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
        let root = checked(&scratch, &disk, "raw", name.trim_start_matches("bookworm-"));
        let at = tempfile::tempdir().expect("a directory");
        oracle::succeed("mount", &["-o", "loop,ro", text(&root), text(at.path())]);
        let found = oracle::succeed("sh", &["-c", script, "sh", text(at.path())]);
        oracle::succeed("umount", &[text(at.path())]);
        assert_same(&found, &expected);
    }
}

/// Every name below /srv and others with its type, mode, owner, links and target, a file's size and blocks, all times that
/// copies have from their source, all access lists, which names are one file, and what all files hold.
const LISTING: &str = r"cd $1; places='srv opt etc/hosts etc/hosts.orig etc/issue etc/issue.moved'
        find $places -printf '%p %y %m %U:%G %n %l' \( -type f -printf ' %s' -o -true \) -printf '\n' | LC_ALL=C sort
        find srv/new srv/there/site opt/kept opt/linked opt/again etc/hosts.orig etc/issue -printf '%p %T@\n' | LC_ALL=C sort
        getfacl -R -n -p $places
        getfattr -R -h -d -m - $places | LC_ALL=C sort
        find $places -type f -links +1 -printf '%i %p\n' | LC_ALL=C sort -k 2 |
            awk '{ if (!($1 in first)) first[$1] = $2; print $2, first[$1] }'
        for hole in srv/site/a/hole srv/new/a/hole srv/new/a/zeros; do test $(stat -c %b $hole) -lt 3000 && echo holes; done
        find $places -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
