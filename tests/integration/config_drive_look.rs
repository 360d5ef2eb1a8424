//! `config-drive show`, `verify`, `extract` and `diff`, on drives of our own, of genisoimage and of mkfs.vfat with mcopy,
//! and on broken ones.

use crate::support::drive::{cloud_init, create, drive, goldens, python, unpack};
use crate::support::{Scratch, expect, imgraft, oracle, root, run, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

fn full() -> PathBuf {
    root().join("testdata/goldens/full")
}

/// Every file below a directory, by its path.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(at).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = text(path.strip_prefix(directory).expect("below it")).to_owned();
                found.insert(name, std::fs::read(&path).expect("it can be read"));
            }
        }
    }
    found
}

fn json_of(words: &[&str], status: i32) -> Value {
    serde_json::from_str(&expect(status, words)).expect("the report is JSON")
}

/// The same tree by us, by genisoimage, and by mkfs.vfat and mcopy; the tree itself, as xorriso has unpacked it.
fn by_everyone(scratch: &Scratch) -> Option<(Vec<PathBuf>, PathBuf)> {
    let instance = full().join("scenario.json");
    let seed = ["--compat", "nova"];
    let mut drives = vec![
        create(scratch, &instance, "ours.iso", &seed),
        create(scratch, &instance, "ours.img", &[&seed[..], &["--format", "vfat"]].concat()),
    ];
    let tree = unpack(&drives[0], "iso9660")?;
    if oracle::have("genisoimage") {
        let iso = scratch.path().join("genisoimage.iso");
        let nova = "-ldots -allow-lowercase -allow-multidot -l -quiet -J -r -V config-2 -publisher Nova";
        let words: Vec<&str> = nova.split(' ').chain(["-o", text(&iso), text(&tree)]).collect();
        oracle::succeed("genisoimage", &words);
        drives.push(iso);
    }
    if oracle::have("mkfs.vfat") && oracle::have("mcopy") {
        let image = scratch.path().join("mkfs.img");
        std::fs::File::create(&image).expect("it can be made").set_len(64 << 20).expect("it can be made larger");
        oracle::succeed("mkfs.vfat", &["-n", "config-2", text(&image)]);
        for top in ["ec2", "openstack"] {
            oracle::succeed("mcopy", &["-s", "-i", text(&image), text(&tree.join(top)), "::"]);
        }
        drives.push(image);
    }
    Some((drives, tree))
}

#[test]
fn drives_of_one_tree_are_shown_the_same_whoever_made_them() {
    let scratch = Scratch::new();
    let Some((drives, tree)) = by_everyone(&scratch) else { return };
    let tree = files(&tree);
    let ours = json_of(&["config-drive", "show", text(&drives[0]), "--json", "--show-secrets"], 0);
    let listed = |shown: &Value| -> Vec<(String, u64)> {
        let entries = shown["files"].as_array().expect("a list").iter().filter(|entry| entry["kind"] == "file");
        entries.map(|entry| (entry["path"].as_str().unwrap().to_owned(), entry["size"].as_u64().unwrap())).collect()
    };
    let expected: Vec<(String, u64)> = tree.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
    assert_eq!(listed(&ours), expected);
    for drive in &drives {
        let words = ["config-drive", "show", text(drive), "--json", "--show-secrets"];
        let shown = json_of(&words, 0);
        assert_eq!(shown["documents"], ours["documents"], "{}", drive.display());
        assert_eq!(listed(&shown), expected, "{}", drive.display());
        assert_eq!((&shown["label"], &shown["layout"]), (&json!("config-2"), &json!("openstack")));
        assert_eq!(shown["reads"], "openstack/2018-08-27");
        let is_iso = shown["format"] == "iso9660";
        for entry in shown["files"].as_array().expect("a list") {
            let mode = if entry["kind"] == "file" { 0o444 } else { 0o555 };
            assert_eq!(entry["mode"], if is_iso { json!(mode) } else { Value::Null });
        }
        assert_eq!(expect(0, &["config-drive", "diff", text(&drives[0]), text(drive)]), "");
        let verdict = json_of(&["config-drive", "verify", text(drive), "--json"], 0);
        assert_eq!((&verdict["ok"], &verdict["problems"], &verdict["notes"]), (&json!(true), &json!([]), &json!([])));
        assert_eq!(verdict["reads"], "openstack/2018-08-27");
        let to = scratch.path().join("extracted");
        expect(0, &["config-drive", "extract", text(drive), text(&to)]);
        assert!(files(&to) == tree, "{}", drive.display());
        let modes = [&to, &to.join("openstack"), &to.join("openstack/latest/meta_data.json")]
            .map(|path| path.metadata().unwrap().mode() & 0o7777);
        assert_eq!(modes, [0o700, 0o700, 0o600]);
        std::fs::remove_dir_all(to).unwrap();
    }
}

#[test]
fn secrets_are_shown_only_when_they_are_asked_for() {
    let scratch = Scratch::new();
    let with = |name: &str, password: &str, data: &str| {
        let meta = json!({"uuid": "1", "admin_pass": password, "random_seed": "AAAA", "meta": {"role": password.len().to_string()}});
        drive(
            &scratch,
            name,
            "config-2",
            &[
                ("openstack/latest/meta_data.json", &meta.to_string()),
                ("openstack/latest/user_data", data),
                ("openstack/content/0000", data),
                ("openstack/latest/vendor_data.json", &format!("{{\"broken\": \"{password}")),
            ],
        )
    };
    let a = with("a.iso", "hunter2!", "#cloud-config\npassword: hunter2!\n");
    let b = with("b.iso", "correct horse", "#cloud-config\npassword: correct horse\n");
    let show = ["config-drive", "show", text(&a)];
    let diff = ["config-drive", "diff", text(&a), text(&b)];
    let verify = ["config-drive", "verify", text(&a)];
    for (words, status) in [(&show[..], 0), (&diff, 1), (&verify, 3)] {
        for more in [&[][..], &["--json"]] {
            let output = run(&[words, more].concat());
            assert_eq!(output.status.code(), Some(status), "{words:?}");
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(
                !said.contains("hunter2") && !said.contains("horse") && !said.contains("AAAA"),
                "{words:?}: {said}"
            );
        }
    }
    for more in [&[][..], &["--all"], &["--json"]] {
        assert!(expect(0, &[&show[..], &["--show-secrets"], more].concat()).contains("password: hunter2!"), "{more:?}");
    }
    let said = expect(1, &diff);
    assert!(said.contains("openstack/latest/meta_data.json: meta.role: \"8\" -> \"13\"\n"), "{said}");
    assert!(
        said.contains("openstack/latest/meta_data.json: admin_pass: changed (hidden; --show-secrets shows it)\n"),
        "{said}"
    );
    assert!(said.contains("openstack/latest/user_data: changed (hidden;") && !said.contains("uuid"), "{said}");
    let said = expect(1, &[&diff[..], &["--show-secrets"]].concat());
    assert!(said.contains("admin_pass: \"hunter2!\" -> \"correct horse\"\n"), "{said}");
    assert!(said.contains("  -password: hunter2!\n  +password: correct horse\n"), "{said}");
}

const META: &str = r#"{"uuid": "1", "hostname": "h"}"#;

/// Files of a drive: paths and contents.
type Files = Vec<(&'static str, &'static str)>;

/// Drives that are broken, or look it: a name, the files, and what is said of them where cloud-init does not read them.
fn broken() -> Vec<(&'static str, Files, Option<&'static str>)> {
    let old = "openstack/2012-08-10/meta_data.json";
    let latest = "openstack/latest/meta_data.json";
    let network = "openstack/latest/network_data.json";
    vec![
        ("fine", vec![(latest, META)], None),
        ("no uuid", vec![(latest, "{}")], Some("there is no uuid")),
        ("no object", vec![(latest, "[1]")], Some("no JSON object")),
        ("not JSON", vec![(latest, "{\"uuid\": 1")], Some("not JSON, at line 1 column 10")),
        (
            "the newest version has no metadata",
            vec![(latest, META), (old, META), ("openstack/2018-08-27/user_data", "x")],
            Some("openstack/2018-08-27/meta_data.json: it is missing"),
        ),
        ("only what is too new", vec![("openstack/2025-04-04/meta_data.json", META)], Some("none of the versions")),
        (
            "content is missing",
            vec![(latest, r#"{"uuid": "1", "files": [{"path": "/etc/a", "content_path": "/content/0000"}]}"#)],
            Some("the file /etc/a: its content, openstack/content/0000, is missing"),
        ),
        (
            "content has no path",
            vec![(latest, r#"{"uuid": "1", "files": [{"path": "/etc/a", "content_path": ""}]}"#)],
            Some("has no content_path"),
        ),
        (
            "content is there",
            vec![
                (
                    latest,
                    r#"{"uuid": "1", "files": [{"path": "/etc/a", "content_path": "/content/0000"}, {"content_path": "/content/7"}]}"#,
                ),
                ("openstack/content/0000", "x"),
            ],
            None,
        ),
        (
            "network content is missing",
            vec![(
                latest,
                r#"{"uuid": "1", "network_config": {"name": "network_config", "content_path": "/content/0000"}}"#,
            )],
            Some("network_config: its content"),
        ),
        (
            "vendor data",
            vec![(latest, META), ("openstack/latest/vendor_data.json", "{")],
            Some("vendor_data.json: not JSON"),
        ),
        (
            "vendor data 2",
            vec![(latest, META), ("openstack/latest/vendor_data2.json", "1")],
            Some("no JSON object, list"),
        ),
        (
            "network data",
            vec![(latest, META), ("openstack/latest/network_data.json", "{]")],
            Some("network_data.json: not"),
        ),
        (
            "ec2",
            vec![(latest, META), ("ec2/latest/meta-data.json", "{'a': 1}")],
            Some("ec2/latest/meta-data.json: not JSON"),
        ),
        ("disabled", vec![(latest, r#"{"uuid": "1", "meta": {"dsmode": "disabled"}}"#)], Some("declines")),
        ("odd mode", vec![(latest, r#"{"uuid": "1", "meta": {"dsmode": "pass"}}"#)], None),
        ("odd seed", vec![(latest, r#"{"uuid": "1", "random_seed": "%%%"}"#)], None),
        ("cut seed", vec![(latest, r#"{"uuid": "1", "random_seed": "YWI"}"#)], Some("random_seed is not base64")),
        ("padded seed", vec![(latest, r#"{"uuid": "1", "random_seed": "YW%I="}"#)], None),
        ("seed", vec![(latest, r#"{"uuid": "1", "random_seed": 5}"#)], Some("random_seed is no text")),
        ("files", vec![(latest, r#"{"uuid": "1", "files": 5}"#)], Some("files is no list")),
        ("a file", vec![(latest, r#"{"uuid": "1", "files": [5]}"#)], Some("an entry of files is no object")),
        ("meta", vec![(latest, r#"{"uuid": "1", "meta": "x"}"#)], Some("meta is no object")),
        ("network list", vec![(latest, META), (network, "[]")], Some("network_data.json: it is no JSON object")),
        ("links", vec![(latest, META), (network, r#"{"links": "x"}"#)], Some("links is no list")),
        ("a link", vec![(latest, META), (network, r#"{"links": [{}]}"#)], Some("a link has no id")),
        (
            "a link's address",
            vec![(latest, META), (network, r#"{"links": [{"id": "a", "type": "phy"}]}"#)],
            Some("address"),
        ),
        (
            "a network",
            vec![
                (latest, META),
                (network, r#"{"links": [{"id": "a", "type": "phy", "name": "e"}], "networks": [{"type": "ipv4"}]}"#),
            ],
            Some("a network has no link"),
        ),
        (
            "a bond",
            vec![(latest, META), (network, r#"{"links": [{"id": "a", "type": "bond"}]}"#)],
            Some("a bond has no bond_links"),
        ),
        (
            "a vlan",
            vec![(latest, META), (network, r#"{"links": [{"id": "a", "type": "vlan", "vlan_id": 1}]}"#)],
            Some("a vlan has no vlan_link"),
        ),
        (
            "no networks",
            vec![(latest, META), (network, r#"{"links": [{"id": "a", "type": "phy", "name": "e"}]}"#)],
            None,
        ),
    ]
}

#[test]
fn verify_says_what_cloud_init_would() {
    let scratch = Scratch::new();
    let mut jobs = Vec::new();
    let mut verdicts = Vec::new();
    for (number, (name, files, said)) in broken().into_iter().enumerate() {
        let drive = drive(&scratch, &format!("{number}.iso"), "config-2", &files);
        let output = run(&["config-drive", "verify", text(&drive)]);
        let report = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(if said.is_some() { 3 } else { 0 }), "{name}: {report}");
        assert!(report.contains(said.unwrap_or("no problem")), "{name}: {report}");
        let to = scratch.path().join(number.to_string());
        expect(0, &["config-drive", "extract", text(&drive), text(&to)]);
        jobs.push(json!({"directory": text(&to), "layout": "openstack", "names": {}}));
        verdicts.push((name, said.is_none()));
    }
    let Some(package) = cloud_init() else { return };
    let package = package.join("usr/lib/python3/dist-packages");
    let results = python("support/cloud_init.py", &Value::from(jobs), Some(&package));
    for ((name, fine), result) in verdicts.into_iter().zip(results.as_array().expect("a list")) {
        let read = result.get("error").is_none() && result["found"] == true;
        assert_eq!(read, fine, "{name}: {result}");
    }
}

#[test]
fn labels_and_layouts() {
    let scratch = Scratch::new();
    let openstack = [("openstack/latest/meta_data.json", META)];
    let nocloud = [("user-data", "#cloud-config\n"), ("meta-data", "instance-id: i-1\nlocal-hostname: h\n")];
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let cases: [Case<'_>; 12] = [
        ("config-2", &openstack, None),
        ("CONFIG-2", &openstack, None),
        ("Config-2", &openstack, Some("the label is \"Config-2\"")),
        ("cidata", &openstack, Some("cloud-init looks for config-2 or CONFIG-2")),
        ("cidata", &nocloud, None),
        ("CIDATA", &nocloud, None),
        ("config-2", &nocloud, Some("cloud-init looks for cidata or CIDATA")),
        ("cidata", &nocloud[..1], Some("meta-data: it is missing")),
        ("cidata", &[("user-data", ""), ("meta-data", "a: [")], Some("not YAML")),
        (
            "cidata",
            &[("user-data", ""), ("meta-data", "x"), ("network-config", "- 1")],
            Some("network-config: it is no mapping"),
        ),
        ("config-2", &[("meta.js", "{}")], Some("version 1")),
        ("config-2", &[], Some("neither an openstack directory")),
    ];
    for (number, (label, files, said)) in cases.into_iter().enumerate() {
        let drive = drive(&scratch, &format!("{number}.iso"), label, files);
        let report = expect(if said.is_some() { 3 } else { 0 }, &["config-drive", "verify", text(&drive)]);
        assert!(report.contains(said.unwrap_or("no problem")), "{label} {files:?}: {report}");
    }
    let report = expect(0, &["config-drive", "verify", text(&scratch.path().join("4.iso"))]);
    assert!(report.contains("cloud-init reads it as nocloud") && report.contains("instance i-1"), "{report}");
}

#[test]
fn extract_overwrites_nothing_and_stays_inside() {
    let scratch = Scratch::new();
    let (_, instance) = goldens().into_iter().find(|(name, _)| name == "minimal").expect("it is there");
    let drive = create(&scratch, &instance, "drive.iso", &[]);
    let taken = scratch.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("x"), "mine").unwrap();
    let elsewhere = scratch.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    for (to, status, said) in [
        (&taken, 3, "not empty"),
        (&link, 3, "is no directory"),
        (&drive, 3, "is no directory"),
        (&scratch.path().join("no/such"), 2, "no directory to make it in"),
    ] {
        let output = run(&["config-drive", "extract", text(&drive), text(to)]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(status) && error.contains(said), "{}: {error}", to.display());
    }
    assert_eq!(files(&taken).len(), 1);
    assert!(files(&elsewhere).is_empty());
    expect(0, &["config-drive", "extract", text(&drive), text(&elsewhere)]);
    assert!(elsewhere.join("openstack/latest/meta_data.json").is_file());
    // Links of a drive are not made.
    if oracle::have("genisoimage") {
        let tree = scratch.path().join("tree");
        std::fs::create_dir_all(tree.join("sub")).unwrap();
        std::os::unix::fs::symlink("/etc", tree.join("sub/link")).unwrap();
        std::fs::write(tree.join("sub/real"), "real").unwrap();
        let iso = scratch.path().join("links.iso");
        oracle::succeed("genisoimage", &["-quiet", "-R", "-o", text(&iso), text(&tree)]);
        let to = scratch.path().join("links");
        let said = expect(0, &["config-drive", "extract", text(&iso), text(&to)]);
        assert!(said.contains("sub/link: neither file nor directory, left out"), "{said}");
        assert!(to.join("sub/link").symlink_metadata().is_err() && to.join("sub/real").is_file());
    }
}

#[test]
fn what_a_drive_says_cannot_drive_a_terminal() {
    let scratch = Scratch::new();
    let meta = "{\"uuid\": \"1\u{9b}2J\", \"hostname\": \"h\\u001b[2J\u{7f}\u{202e}\"}";
    let files =
        [("openstack/latest/meta_data.json", meta), ("openstack/latest/user_data", "a\u{1b}[2Jb\n"), ("x\u{1b}y", "")];
    let a = drive(&scratch, "a.iso", "config-2", &files);
    let b = drive(&scratch, "b.iso", "config-2", &[("openstack/latest/meta_data.json", META)]);
    for words in [
        ["config-drive", "show", text(&a), "--show-secrets"],
        ["config-drive", "verify", text(&a), "-v"],
        ["config-drive", "diff", text(&a), text(&b)],
        ["config-drive", "show", text(&a), "--json"],
        ["config-drive", "verify", text(&a), "--json"],
    ] {
        let said = String::from_utf8(run(&words).stdout).unwrap();
        let drives = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(said.contains("2J") && !said.contains(drives), "{words:?}: {said:?}");
    }
}

#[test]
fn what_is_no_drive_is_refused() {
    let scratch = Scratch::new();
    let noise = scratch.file("noise", vec![0x5a; 1 << 20]);
    let empty = scratch.file("empty", "");
    let missing = scratch.path().join("missing");
    let good = drive(&scratch, "good.iso", "config-2", &[("openstack/latest/meta_data.json", META)]);
    for command in ["show", "verify", "diff", "extract"] {
        for (path, status) in [(&noise, 3), (&empty, 3), (&missing, 2)] {
            let mut words = imgraft();
            words.args(["config-drive", command]).arg(path);
            match command {
                "diff" => words.arg(&good),
                "extract" => words.arg(scratch.path().join("to")),
                _ => &mut words,
            };
            let output = words.output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(status), "{command} {}: {error}", path.display());
            assert!(error.contains(text(path)), "{command}: {error}");
            assert_eq!(error.contains("hint: a config drive is an ISO 9660 or FAT"), *path == noise, "{error}");
        }
    }
    assert!(!scratch.path().join("to").exists());
    let truncated = scratch.file("truncated", &std::fs::read(&good).unwrap()[..50_000]);
    expect(3, &["config-drive", "show", text(&truncated)]);
}
