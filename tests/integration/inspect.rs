//! `inspect`, `ls` and `cat`.

use crate::support::{Scratch, expect, image, oracle, run, text};

#[test]
fn inspect_tells_format_partitions_filesystems_and_guest() {
    let path = image::phony();
    let before = oracle::sha256(&path);
    let report: serde_json::Value =
        serde_json::from_str(&expect(0, &["inspect", text(&path), "--json"])).expect("JSON");
    assert_eq!(report["format"], "qcow2");
    assert_eq!(report["partition_table"], "gpt");
    let root = &report["volumes"][0];
    assert_eq!(root["filesystem"], "ext4");
    assert!(root["usage"]["free_bytes"].as_u64().expect("a number") > 0);
    assert_eq!(root["guest"]["id"], "debian");
    let users = root["guest"]["users"].as_array().expect("users");
    assert!(users.iter().any(|user| user["name"] == "root" && user["uid"] == 0));
    let shown = expect(0, &["inspect", text(&path)]);
    assert!(shown.contains("Debian GNU/Linux 12"), "{shown}");
    assert_eq!(oracle::sha256(&path), before);
}

#[test]
fn inspect_agrees_with_blkid_on_label_and_uuid() {
    if !oracle::have("blkid") {
        return;
    }
    for image in image::all(&["real", "profile"]).into_iter().filter(|image| image.format == "raw") {
        let report: serde_json::Value =
            serde_json::from_str(&expect(0, &["inspect", text(&image.path), "--json"])).expect("JSON");
        for volume in report["volumes"].as_array().expect("volumes") {
            let offset = volume["start"].to_string();
            let blkid = oracle::tool(
                "blkid",
                &["-p", "-o", "export", "-O", &offset, "-S", &volume["size"].to_string(), text(&image.path)],
            );
            let said = String::from_utf8_lossy(&blkid.stdout).into_owned();
            let value =
                |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
            assert_eq!(volume["filesystem"].as_str().unwrap_or_default(), value("TYPE="), "{}: {said}", image.name);
            assert_eq!(volume["uuid"], value("UUID="), "{}", image.name);
            assert_eq!(volume["label"], value("LABEL=").replace("\\ ", " "), "{}", image.name);
        }
    }
}

#[test]
fn ls_and_cat() {
    let path = image::phony();
    let listing = expect(0, &["ls", text(&path), "/etc"]);
    assert!(listing.lines().any(|line| line.starts_with("-rw-r-----") && line.ends_with(" shadow")), "{listing}");
    assert!(expect(0, &["ls", text(&path), "/etc/passwd"]).ends_with(" /etc/passwd\n"));
    assert!(expect(0, &["cat", text(&path), "/etc/os-release"]).contains("ID=debian"));
    for (words, status) in
        [(["ls", "/no/such"], 3), (["cat", "/etc"], 3), (["cat", "relative"], 2), (["cat", "/etc/../etc/passwd"], 2)]
    {
        let output = run(&[words[0], text(&path), words[1]]);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn two_roots_are_ambiguous_and_the_hint_is_what_to_type() {
    if !(oracle::have("sfdisk") && oracle::have("mke2fs")) {
        return;
    }
    let scratch = Scratch::new();
    let tree = scratch.path().join("tree/etc");
    std::fs::create_dir_all(&tree).expect("a tree");
    std::fs::write(tree.join("os-release"), "ID=test\n").expect("a file");
    std::fs::write(tree.join("passwd"), "root:x:0:0::/root:/bin/sh\n").expect("a file");
    let disk = scratch.path().join("disk.raw");
    std::fs::File::create(&disk).and_then(|file| file.set_len(64 << 20)).expect("a disk");
    let table = scratch.file("table", "label: gpt\nstart=2048, size=40960\nstart=45056, size=40960\n");
    oracle::succeed("sh", &["-c", &format!("sfdisk -q {} < {}", text(&disk), text(&table))]);
    for offset in ["1048576", "23068672"] {
        let tree = scratch.path().join("tree");
        let device = format!("offset={offset}");
        oracle::succeed("mke2fs", &["-q", "-F", "-t", "ext4", "-d", text(&tree), "-E", &device, text(&disk), "20M"]);
    }
    let output = run(&["inject", text(&disk), "--write", "/etc/motd:x"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--partition 1") && said.contains("--partition 2"), "{said}");
    expect(0, &["inject", text(&disk), "--write", "/etc/motd:x", "--partition", "2"]);
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/motd", "--partition", "2"]), "x");
    oracle::e2fsck(&disk, 23_068_672);
    oracle::e2fsck(&disk, 1_048_576);
}
