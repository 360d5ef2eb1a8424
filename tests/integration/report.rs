//! What the report says, and what it never says.

use crate::support::{FiveItems, KEY, Scratch, expect, image, imgraft, oracle, text};

#[test]
fn json_has_every_field_that_the_manual_names() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let items = FiveItems::new(&scratch);
    let report: serde_json::Value =
        serde_json::from_str(&expect(0, &items.on(&copy, &["--json"]))).expect("the report is JSON");
    assert_eq!(report["image"], text(&copy));
    assert_eq!(report["format"], "qcow2");
    assert_eq!(report["volume"]["partition"], 1);
    assert_eq!(report["volume"]["filesystem"], "ext4");
    assert_eq!(report["access"], "userspace");
    assert_eq!(report["changed"], true);
    assert_eq!(report["dry_run"], false);
    let names: Vec<_> = report["items"].as_array().expect("items").iter().map(|item| item["item"].clone()).collect();
    assert_eq!(names, ["key", "net", "metadata", "files", "password"]);
    let key = &report["items"][0];
    assert_eq!(key["required"], true);
    let files = key["files"].as_array().expect("files");
    assert!(
        files.iter().any(|file| file["path"] == "/root/.ssh/authorized_keys"
            && file["action"] == "create"
            && file["mode"] == "0600"
            && file["uid"] == 0
            && file["gid"] == 0
            && file["size"] == KEY.len() + 1),
        "{key}"
    );
    assert!(report["io"]["blocks_read"].as_u64().expect("a count") > 0);
    assert!(report["io"]["blocks_written"].as_u64().expect("a count") > 0);
    assert_eq!(report["io"]["fsyncs"], 2, "a qcow2 commit is two");
}

#[test]
fn an_optional_item_that_fails_is_rolled_back_and_reported() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let bad = format!("nobody-here:string:{KEY}");
    let words =
        ["inject", text(&copy), "--ssh-inject", &bad, "--write", "/etc/motd:hello\n", "--optional", "key", "--json"];
    let report: serde_json::Value = serde_json::from_str(&expect(5, &words)).expect("JSON");
    assert_eq!(report["items"][0]["status"], "failed");
    assert!(report["items"][0]["error"].as_str().expect("why").contains("nobody-here"));
    assert!(report["items"][0]["hint"].as_str().expect("a way out").contains("debian"), "{report}");
    assert_eq!(report["items"][1]["status"], "applied");
    assert_eq!(expect(0, &["cat", text(&copy), "/etc/motd"]), "hello\n");
    expect(3, &words[..6]);
    // What failed is not said to be in place.
    let words = ["inject", text(&copy), "--ssh-inject", &bad, "--best-effort"];
    assert!(expect(5, &words).contains("unchanged: what did not fail is in place already"));
    // It has the way out that it has where it fails the run, with the image's name in it.
    let told = expect(5, &["inject", text(&copy), "--edit", "/etc/no/such:s/a/b/", "--best-effort"]);
    let hint = format!("\n            hint: `imgraft ls {} /etc` shows what is there", text(&copy));
    assert!(
        told.contains("error: item files: /etc/no/such: no such file in the guest\n") && told.contains(&hint),
        "{told}"
    );
}

#[test]
fn a_made_up_password_is_shown_once_and_works() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let output =
        imgraft().args(["inject", text(&copy), "--root-password", "random", "--json"]).output().expect("it runs");
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let password = said.trim().strip_prefix("password of root: ").expect("it is shown on standard error");
    assert!(password.len() >= 16);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(password), "the report holds it");
    let shadow = expect(0, &["cat", text(&copy), "/etc/shadow"]);
    let hash = shadow.lines().find_map(|line| line.strip_prefix("root:")).and_then(|rest| rest.split(':').next());
    let hash = hash.expect("root has a hash");
    if oracle::have("perl") {
        let script = "exit(crypt($ARGV[0], $ARGV[1]) eq $ARGV[1] ? 0 : 1)";
        oracle::succeed("perl", &["-e", script, password, hash]);
    }
}

#[test]
fn secrets_stay_out_of_everything_that_is_printed() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let password = scratch.file("password", "correct horse battery staple\n");
    let selector = format!("file:{}", text(&password));
    for more in [&["-n", "-vv"][..], &["--json", "-vv"], &["-vv"]] {
        let output =
            imgraft().args(["inject", text(&copy), "--root-password", &selector]).args(more).output().expect("it runs");
        assert!(output.status.success());
        for said in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(said);
            assert!(!said.contains("battery") && !said.contains("$y$") && !said.contains("$6$"), "{said}");
        }
    }
}

/// A run that is killed right after the commit has told it too.
#[test]
fn a_made_up_password_is_told_before_the_commit() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let big = scratch.file("big", vec![7; 2 << 20]);
    let upload = format!("{}:/srv/big", text(&big));
    // The commit is what fails.
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 2000 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_imgraft")])
        .args(["inject", text(&copy), "--root-password", "random", "--upload", &upload])
        .output()
        .expect("sh starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("password of root: ") && said.contains("the image is as it was"), "{said}");
}

/// The names and states of the items of a report.
fn states(report: &str) -> Vec<(String, String)> {
    let report: serde_json::Value = serde_json::from_str(report).expect("JSON");
    let word = |item: &serde_json::Value, name: &str| item[name].as_str().expect("a word").to_owned();
    report["items"].as_array().expect("items").iter().map(|item| (word(item, "item"), word(item, "status"))).collect()
}

#[test]
fn optional_items_that_the_guest_has_no_room_for_leave_the_others() {
    let scratch = Scratch::new();
    let big = scratch.path().join("big");
    std::fs::File::create(&big).expect("a file").set_len(8 << 30).expect("a sparse file");
    let upload = format!("{}:/big", text(&big));
    let key = format!("root:string:{KEY}");
    let items = ["--ssh-inject", &key, "--metadata", "role=db", "--upload", &upload, "--json"];
    let on = |image: &std::path::Path, more: &[&str]| -> Vec<String> {
        ["inject", text(image)].iter().chain(&items).chain(more).map(|word| (*word).to_owned()).collect()
    };
    let words = |words: &[String], status| expect(status, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = [("key", "applied"), ("metadata", "applied"), ("files", "failed")];
    let expected = expected.map(|(item, state)| (item.to_owned(), state.to_owned()));

    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let before = oracle::sha256(&copy);
    assert!(words(&on(&copy, &["--optional", "key"]), 3).is_empty(), "what is required has no room");
    assert_eq!(states(&words(&on(&copy, &["--optional", "files", "--dry-run"]), 5)), expected);
    let new = scratch.path().join("new.qcow2");
    assert_eq!(states(&words(&on(&copy, &["--best-effort", "--output", text(&new)]), 5)), expected);
    assert_eq!(oracle::sha256(&copy), before, "the image is as it was");
    let undo = scratch.path().join("undo");
    assert_eq!(states(&words(&on(&copy, &["--optional", "files", "--keep-undo", text(&undo)]), 5)), expected);
    for changed in [&copy, &new] {
        assert!(expect(0, &["cat", text(changed), "/root/.ssh/authorized_keys"]).contains(KEY));
        assert!(!expect(0, &["ls", text(changed), "/"]).contains("big"));
        if oracle::have("qemu-img") && oracle::have("e2fsck") {
            let raw = oracle::raw(&scratch, changed, "qcow2");
            oracle::e2fsck(&raw, image::open(&raw, 1).offset);
        }
    }
    expect(0, &["undo", text(&copy), text(&undo)]);
    assert_eq!(oracle::sha256(&copy), before, "and can be again");
}
