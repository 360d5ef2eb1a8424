//! Files among the other options, in the order of the command line, beside the same done by hand on a twin.

use crate::support::rooted::{Rooted, assert_same};
use crate::support::{HASH, KEY, Scratch, expect, run, text};
use serde_json::Value;

/// The items of a report, in order, and how each ended.
fn items(report: &Value) -> Vec<String> {
    let items = report["items"].as_array().expect("a list");
    items.iter().map(|item| format!("{} {}", item["item"], item["status"]).replace('"', "")).collect()
}

#[test]
fn each_is_done_in_its_place_and_passwords_last() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "chroot"]) else { return };
    guest.run(
        "echo old >etc/hostname; mkdir -p root/.ssh; echo other >root/.ssh/authorized_keys; chmod -R go= root/.ssh",
    );
    let twin = guest.twin(&scratch, "twin.raw");
    twin.run(
        "cp etc/hostname etc/hostname.orig; echo new >etc/hostname; sed -i s/^/web-/ etc/hostname; rm -r root/.ssh
         echo 'eve:x:1500:1500::/srv/eve:/bin/sh' >>etc/passwd; echo 'eve:!:20000::::::' >>etc/shadow
         mkdir -p -m 700 srv/eve/.ssh root/.ssh; chown -R 1500:1500 srv/eve; chroot . usermod -p @ eve"
            .replace('@', &format!("'{HASH}'"))
            .as_str(),
    );
    let key = scratch.file("key", format!("{KEY}\n"));
    let commands = scratch.file("commands", "hostname new\nedit /etc/hostname:s/^/web-/\ndelete /root/.ssh\n");
    let report = guest.inject(&[
        "--password",
        &format!("eve:hash:{HASH}"),
        "--copy",
        "/etc/hostname:/etc/hostname.orig",
        "--commands-from-file",
        text(&commands),
        "--ssh-inject",
        &format!("root:file:{}", text(&key)),
        "--append-line",
        "/etc/passwd:eve:x:1500:1500::/srv/eve:/bin/sh",
        "--append-line",
        "/etc/shadow:eve:!:20000::::::",
        "--ssh-inject",
        &format!("root:file:{}", text(&key)),
    ]);
    assert_eq!(items(&report), ["files applied", "hostname applied", "key applied", "password applied"]);
    let listing = "cd $1; cat etc/hostname etc/hostname.orig; grep eve etc/passwd; grep eve etc/shadow | cut -d: -f1,2";
    assert_same(&guest.list(listing), &twin.list(listing));
    assert_eq!(guest.list("cat $1/root/.ssh/authorized_keys").trim(), KEY);

    // Whose home is said in the files of the run.
    guest.inject(&[
        "--mkdir",
        "/srv",
        "--edit",
        "/etc/passwd:s/^(eve:.*)eve:/$1eva:/",
        "--ssh-inject",
        &format!("eve:file:{}", text(&key)),
    ]);
    let listing = "cd $1; stat -c '%a %u %g' srv/eva srv/eva/.ssh srv/eva/.ssh/authorized_keys";
    assert_eq!(guest.list(listing), "700 1500 1500\n700 1500 1500\n600 1500 1500\n");
}

#[test]
fn what_comes_after_an_item_does_not_undo_it() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck"]) else { return };
    let before = std::fs::read(&guest.disk).expect("it is read");
    let (disk, key) = (text(&guest.disk), format!("root:string:{KEY}"));
    let refused = run(&[
        "inject",
        disk,
        "--delete",
        "/root/.ssh",
        "--ssh-inject",
        &key,
        "--truncate",
        "/root/.ssh/authorized_keys",
    ]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(
        told.contains("--truncate undoes what the item key has put there") && told.contains("before that of the item"),
        "{told}"
    );
    assert!(std::fs::read(&guest.disk).expect("it is read") == before);
    guest.inject(&["--write", "/etc/hostname:mine\n", "--hostname", "other"]);
    assert_eq!(guest.list("cat $1/etc/hostname"), "other\n");
    // In a manifest there is no order between the two, and files come last.
    let plan = scratch.file("plan.yaml", "hostname: other\nfiles: [{write: {path: /etc/hostname, content: mine}}]\n");
    let refused = run(&["inject", disk, "-f", text(&plan), "--timezone", "UTC"]);
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
}

/// Files are one item, wherever they stand: all of it or nothing.
#[test]
fn optional_files_go_together() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck"]) else { return };
    let words =
        ["inject", text(&guest.disk), "--json", "--optional", "files", "--write", "/etc/one:1", "--hostname", "web"];
    let output =
        run(&[&words[..], &["--chmod", "0600:/etc/none", "--timezone", "UTC", "--write", "/etc/two:2"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(5), "{report}");
    assert_eq!(items(&report), ["files failed", "hostname applied", "timezone applied"]);
    assert!(report["items"][0]["error"].as_str().expect("a text").contains("/etc/none"), "{report}");
    // The same where it is the first part that cannot be.
    let first = ["inject", text(&guest.disk), "--json", "-n", "--optional", "files", "--chmod", "0600:/etc/none"];
    let output = run(&[&first[..], &["--hostname", "other", "--write", "/etc/two:2"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(5), "{report}");
    assert_eq!(items(&report), ["files failed", "hostname applied"]);
    let found = guest.list("cd $1; cat etc/hostname; ls etc | grep -e '^one$' -e '^two$' || true");
    assert_eq!(found, "web\n");
    expect(0, &[&words[..], &["--chmod", "0600:/etc/one", "--timezone", "UTC"]].concat());
    assert_eq!(guest.list("stat -c %a $1/etc/one"), "600\n");
    let again = guest.inject(&[&words[5..], &["--chmod", "0600:/etc/one", "--timezone", "UTC"]].concat());
    assert_eq!(items(&again), ["files unchanged", "hostname unchanged", "timezone unchanged"]);
}

/// What files put in files may change, be there an item between the two.
#[test]
fn files_may_change_what_files_have_put_in() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck"]) else { return };
    let words = ["--write", "/etc/x:1", "--write", "/tmp/s:1", "--link", "../etc/x:/srv/l", "--hostname", "web"];
    let rest = ["--write", "/srv/l:2", "--delete", "/tmp/s", "--timezone", "UTC", "--truncate", "/etc/x"];
    let report = guest.inject(&[&words[..], &rest].concat());
    assert_eq!(guest.list("cd $1; stat -c %s etc/x; ls tmp; cat etc/hostname"), "0\nweb\n");
    assert!(!report["items"].to_string().contains("/tmp/s"), "{report}");
    // What one part does and another takes back is nothing in the end.
    let again = guest.inject(&[&words[..], &rest].concat());
    assert_eq!((&again["changed"], &again["items"][0]["files"]), (&false.into(), &Value::Array(Vec::new())), "{again}");
    assert_eq!(items(&again), ["files unchanged", "hostname unchanged", "timezone unchanged"]);
}

/// The kernel keeps 16 MiB back, which are there for the first run.
#[test]
fn what_is_emptied_makes_room() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "fallocate"]) else { return };
    let fill = "head -c 48M /dev/zero >var/log/zz.log; fallocate -l $(($(stat -f -c '%f * %S' .))) srv/fill || :; cat /dev/zero >>srv/rest || :";
    guest.run(fill);
    let big = scratch.file("big", vec![7; 32 << 20]);
    let upload = format!("{}:/opt/big", text(&big));
    let refused = run(&["inject", text(&guest.disk), "--upload", &upload]);
    assert_eq!(refused.status.code(), Some(3), "it is full");
    guest.inject(&["--upload", &upload, "--truncate", "/var/log/zz.log", "--move", "/etc/motd:/etc/motd.old"]);
    assert_eq!(guest.list("stat -c %s $1/opt/big $1/var/log/zz.log"), "33554432\n0\n");
}
