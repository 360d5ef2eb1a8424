//! `config-drive create` from outside: whole drives, options, many at once, and what is refused.

use crate::support::drive::{FORMATS, create, goldens, unpack};
use crate::support::{KEY, Scratch, expect, image, imgraft, oracle, root, run, text};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PLAIN: &str = r#"{"instance": {"uuid": "u-1", "hostname": "h"}}"#;

/// A file of a drive that Nova wrote: its path, and its content as a text or in base64.
fn golden_files(scenario: &Path) -> Vec<(String, Vec<u8>)> {
    use base64ct::{Base64, Encoding};
    let text = std::fs::read_to_string(scenario.with_file_name("drive.jsonl")).expect("it is there");
    let file = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let content = match (line[1].as_str(), line[2].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, encoded) => Base64::decode_vec(encoded.expect("a text or base64")).expect("base64"),
        };
        (line[0].as_str().expect("a path").to_owned(), content)
    };
    text.lines().map(file).collect()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn message(words: &[&str]) -> String {
    let output = run(words);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn drives_hold_what_nova_writes() {
    let scratch = Scratch::new();
    for (name, instance) in goldens() {
        let formats = if name == "full" { &FORMATS[..] } else { &FORMATS[..1] };
        for format in formats {
            let drive = create(&scratch, &instance, &name, &["--compat", "nova", "--force", "--format", format]);
            let Some(files) = unpack(&drive, format) else { return };
            let expected = golden_files(&instance);
            assert_eq!(files_below(&files).len(), expected.len(), "{name}");
            for (path, content) in expected {
                assert_eq!(std::fs::read(files.join(&path)).ok(), Some(content), "{name}, {format}: {path}");
            }
        }
    }
}

#[test]
fn the_report_says_what_is_in_it() {
    let scratch = Scratch::new();
    let drive = scratch.path().join("drive");
    let instance = root().join("testdata/instances/web.yaml");
    let words = ["config-drive", "create", text(&instance), "-o", text(&drive), "--format", "vfat", "--json"];
    let report: Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    assert_eq!((&report["format"], &report["layout"]), (&json!("vfat"), &json!("openstack")));
    assert_eq!((&report["label"], &report["size"]), (&json!("config-2"), &json!(64 << 20)));
    assert_eq!(report["files"].as_array().map(Vec::len), Some(51));
    let mode = std::fs::metadata(&drive).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One that is there stays, unless told otherwise.
    let refused = run(&words);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    let shown = expect(0, &["config-drive", "create", text(&instance), "-o", text(&drive), "--force"]);
    assert!(shown.starts_with(&format!("{}: iso9660, label config-2, 51 files, ", text(&drive))), "{shown}");
    let quiet = expect(0, &["config-drive", "create", text(&instance), "-o", text(&drive), "--force", "-q"]);
    assert_eq!(quiet, "");
}

#[test]
fn options_alone_are_enough_and_go_before_a_document() {
    let scratch = Scratch::new();
    let key = scratch.file("key.pub", format!("{KEY}\n"));
    let user_data = scratch.file("user-data", b"\xff\x00binary");
    let motd = scratch.file("motd", "put here by imgraft\n");
    let secret = scratch.file("secret", "hunter2\nnot this\n");
    let vendor = scratch.file("vendor.json", r#"{"cloud-init": "x"}"#);
    let network = scratch.file("network.yaml", "- address: 52:54:00:12:34:56\n  network:\n    subnets:\n    - cidr: 10.0.0.0/8\n      ips:\n      - address: 10.0.0.9\n");
    let seed = scratch.file("seed", "seed");
    let words = |output: &Path| {
        [
            "--uuid",
            "u-2",
            "--hostname",
            "web",
            "--name",
            "Web",
            "--meta",
            "role=web",
            "--meta",
            "a=b=c",
            "--project-id",
            "p",
            "--availability-zone",
            "nova",
            "--launch-index",
            "3",
            "--user-data",
            text(&user_data),
            "--ssh-key",
            &format!("k={}", text(&key)),
            "--network",
            text(&network),
            "--file",
            &format!("{}:/etc/", text(&motd)),
            "--admin-password",
            &format!("file:{}", text(&secret)),
            "--vendor-data",
            text(&vendor),
            "--random-seed",
            &format!("file:{}", text(&seed)),
            "-o",
            text(output),
        ]
        .map(str::to_owned)
    };
    let document = scratch.file(
        "full.json",
        r#"{"instance": {"uuid": "old", "hostname": "old", "display_name": "old", "user_data": "old", "metadata": {"role": "db"},
            "key_name": "old", "key_data": "old"}, "vendor_data": {"old": 1}, "network_info": [], "random_seed_hex": "00"}"#,
    );
    for (name, document) in [("alone", None), ("over", Some(text(&document).to_owned()))] {
        let drive = scratch.path().join(name);
        let words: Vec<String> =
            ["config-drive", "create"].map(str::to_owned).into_iter().chain(words(&drive)).chain(document).collect();
        expect(0, &words.iter().map(String::as_str).collect::<Vec<_>>());
        let Some(files) = unpack(&drive, "iso9660") else { return };
        let read = |path: &str| std::fs::read(files.join("openstack/latest").join(path)).expect("it is there");
        let json = |path: &str| serde_json::from_slice::<Value>(&read(path)).expect("JSON");
        let data = json("meta_data.json");
        let key = json!([{ "name": "k", "type": "ssh", "data": KEY }]);
        for (member, expected) in [
            ("uuid", json!("u-2")),
            ("hostname", json!("web.novalocal")),
            ("name", json!("Web")),
            ("project_id", json!("p")),
            ("availability_zone", json!("nova")),
            ("launch_index", json!(3)),
            ("admin_pass", json!("hunter2")),
            ("meta", json!({ "role": "web", "a": "b=c" })),
            ("keys", key),
            ("random_seed", json!("c2VlZA==")),
            ("files", json!([{ "path": "/etc/motd", "content_path": "/content/0000" }])),
        ] {
            assert_eq!(data[member], expected, "{name}: {member}");
        }
        assert_eq!(read("user_data"), b"\xff\x00binary", "{name}");
        assert_eq!(json("vendor_data.json"), json!({ "cloud-init": "x" }), "{name}");
        assert_eq!(json("network_data.json")["networks"][0]["ip_address"], "10.0.0.9", "{name}");
        assert_eq!(std::fs::read(files.join("openstack/content/0000")).ok(), Some(b"put here by imgraft\n".to_vec()));
    }
}

#[test]
fn the_same_again_gives_the_same_bytes() {
    let scratch = Scratch::new();
    let instance = scratch.file("i.json", PLAIN);
    let seed = scratch.file("seed", [7; 512]);
    let seed = format!("file:{}", text(&seed));
    let mut sums = Vec::new();
    for (format, seeded) in [("iso9660", true), ("vfat", true), ("iso9660", false)] {
        for _ in 0..2 {
            let drive = scratch.path().join(format!("drive{}", sums.len()));
            let mut command = imgraft();
            command.args(["config-drive", "create", text(&instance), "-o", text(&drive), "--format", format]);
            command.args(seeded.then_some(["--random-seed", &seed]).into_iter().flatten());
            let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output().expect("it starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            sums.push(oracle::sha256(&drive));
        }
    }
    assert_eq!((&sums[0], &sums[2]), (&sums[1], &sums[3]));
    assert_ne!(sums[4], sums[5], "a seed of its own for each");
}

#[test]
fn many_drives_in_one_run() {
    let scratch = Scratch::new();
    let line = |number: usize| {
        let file = json!({ "path": "/number", "contents": number.to_string() });
        json!({ "instance": { "uuid": format!("u-{number}"), "hostname": "h" }, "files": [file] }).to_string() + "\n"
    };
    let lines = scratch.file("instances.jsonl", (0..50).map(line).collect::<String>() + "\n");
    let out = scratch.path().join("drives");
    std::fs::create_dir(&out).expect("it can be made");
    let pattern = format!("{}/{{uuid}}.iso", text(&out));
    let words = ["config-drive", "create", "--instances", text(&lines), "-o", &pattern];
    assert_eq!(expect(0, &words), "50 drives made, 23 MiB\n");
    assert_eq!(files_below(&out).len(), 50);
    let Some(files) = unpack(&out.join("u-49.iso"), "iso9660") else { return };
    assert_eq!(std::fs::read(files.join("openstack/content/0000")).ok(), Some(b"49".to_vec()));
    let report = expect(0, &[&words[..], &["--force", "--json"]].concat());
    let sizes: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((sizes.len(), &sizes[49]["instance"]), (50, &json!("u-49")));

    // All lines are looked at before the first drive is made.
    for (last, expected) in [
        (
            r#"{"instance": {"uuid": "u-99", "hostname": 7}}"#,
            "line 3: instance.hostname: invalid type: integer, expected a string at column",
        ),
        (r#"{"instance": {"uuid": "u-1", "hostname": "h"}}"#, "line 3: instance.uuid: a line before it has the same"),
        (r#"{"instance": {"uuid": "../x", "hostname": "h"}}"#, "line 3: instance.uuid: expected letters, digits"),
    ] {
        let lines = scratch.file("bad.jsonl", format!("{}\n{last}\n", line(1)));
        let empty = scratch.path().join("empty");
        std::fs::create_dir_all(&empty).expect("it can be made");
        let pattern = format!("{}/{{uuid}}.iso", text(&empty));
        let message = message(&["config-drive", "create", "--instances", text(&lines), "-o", &pattern]);
        assert!(message.contains(expected), "{message}");
        assert_eq!(files_below(&empty).len(), 0);
    }
    for twice in [format!("{}/{{uuid}}-{{uuid}}", text(&out)), format!("{}/{{uuid}}/{{uuid}}.iso", text(&out))] {
        let message = message(&["config-drive", "create", "--instances", text(&lines), "-o", &twice]);
        assert!(message.contains("more than one {uuid}"), "{message}");
    }
    // What can be read only once cannot be looked at first.
    let message = message(&["config-drive", "create", "--instances", "/dev/null", "-o", &pattern]);
    assert!(message.contains("/dev/null: no regular file"), "{message}");
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_made() {
    let scratch = Scratch::new();
    let instance = scratch.file("i.json", PLAIN);
    let instance = text(&instance);
    let broken = scratch.file("b.yaml", "instance:\n  uuid: u\n  hostname: h\n  user_data_b64: 'hunter2!'\n");
    let missing =
        scratch.file("m.json", r#"{"instance": {"uuid": "u", "hostname": "h", "user_data_file": "not-there"}}"#);
    let text_file = scratch.file("text", "no JSON, hunter2");
    let out = scratch.path().join("out");
    let file = |destination: &str| format!("{}:{destination}", text(&text_file));
    for (words, expected) in [
        (vec![instance, "--format", "udf"], "[possible values: iso9660, vfat]"),
        (vec![], "an instance has a UUID and a host name"),
        (vec!["--uuid", "u"], "name an instance document, or say --uuid and --hostname"),
        (vec![text(&broken)], "b.yaml: instance.user_data_b64: not base64"),
        (vec![text(&missing)], "m.json: instance.user_data_file: "),
        (vec![text(&missing)], "not-there: No such file or directory"),
        (vec!["/not/there.json"], "the instance document: /not/there.json: No such file"),
        (vec![instance, "--user-data", "/not/there"], "--user-data: /not/there: No such file"),
        (vec![instance, "--file", "/not/there:/etc/x"], "/not/there: "),
        (vec![instance, "--file", "x"], "--file x: not FILE:DEST"),
        (
            vec![instance, "--file", &file("/a"), "--file", &file("//a")],
            "files[1].path: a file before it has the same path",
        ),
        (vec![instance, "--file", &file("/etc/../a")], "files[0].path: it leads up with '..'"),
        (vec![instance, "--network", text(&text_file)], "--network: "),
        (vec![instance, "--vendor-data", text(&text_file)], "expected a JSON object; it is none at line 1 column 2"),
        (vec![instance, "--ssh-key", "k"], "--ssh-key: not NAME=FILE"),
        (vec![instance, "--ssh-key", &format!("k={}", text(&text_file))], "--ssh-key: "),
        (vec![instance, "--admin-password", "hunter2"], "--admin-password: not a selector"),
        (vec![instance, "--admin-password", "hash:$6$hunter2"], "a drive holds the password itself"),
        (vec![instance, "--random-seed", "hunter2"], "--random-seed: not file:PATH"),
        (vec![instance, "--meta", "hunter2"], "--meta: not KEY=VALUE"),
        (vec![instance, "--layout", "nocloud", "--compat", "nova"], "Nova makes no NoCloud drives"),
        (vec![instance, "--layout", "nocloud", "--file", &file("/a")], "files: a NoCloud drive has no place for files"),
        (vec![instance, "--instances", instance], "cannot be used with"),
        (vec!["--uuid", "u", "--instances", instance], "cannot be used with"),
        (vec!["--instances", instance], "no {uuid} in the file's name"),
        (vec![instance, "--size", "0"], "0 is not in 1..=2048"),
    ] {
        let words = [&["config-drive", "create", "-vv", "-o", text(&out)], &words[..]].concat();
        let message = message(&words);
        assert!(message.contains(expected), "{words:?}: {message}");
        assert!(!message.contains("hunter2"), "{words:?}: {message}");
        assert!(!out.exists(), "{words:?}");
    }
    let full = scratch.file("big", vec![b'x'; 3 << 20]);
    let upload = format!("{}:/big", text(&full));
    let words =
        ["config-drive", "create", instance, "-o", text(&out), "--format", "vfat", "--size", "2", "--file", &upload];
    let refused = run(&words);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{message}");
    assert!(message.contains(text(&out)) && !out.exists(), "{message}");
}

#[test]
fn secrets_are_on_the_drive_and_nowhere_else() {
    let scratch = Scratch::new();
    let document = json!({
        "instance": { "uuid": "u", "hostname": "h", "user_data": "hunter2-user-data" },
        "extra_md": { "admin_pass": "hunter2-admin" },
        "files": [{ "path": "/f", "contents": "hunter2-file" }],
    });
    let instance = scratch.file("i.json", document.to_string());
    for (number, more) in [&["--json"][..], &[], &["--layout", "openstack", "--format", "vfat"]].into_iter().enumerate()
    {
        let drive = scratch.path().join(format!("drive{number}"));
        let output = run(&[&["config-drive", "create", "-vv", text(&instance), "-o", text(&drive)], more].concat());
        assert!(output.status.success());
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains("hunter2"), "{}", String::from_utf8_lossy(&said));
        let bytes = std::fs::read(&drive).expect("it is there");
        for secret in ["hunter2-user-data", "hunter2-admin", "hunter2-file"] {
            assert!(bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
        }
    }
    // A password that is made up is shown once, where no report goes.
    let drive = scratch.path().join("random");
    let output =
        run(&["config-drive", "create", text(&instance), "-o", text(&drive), "--admin-password", "random", "--json"]);
    let said = String::from_utf8(output.stderr).expect("text");
    let password = said.strip_prefix("password of the administrator: ").expect("it is shown").trim();
    assert!(!String::from_utf8_lossy(&output.stdout).contains(password));
    let bytes = std::fs::read(&drive).expect("it is there");
    assert!(bytes.windows(password.len()).any(|window| window == password.as_bytes()));
}

#[test]
fn an_image_gets_the_same_from_the_same_document() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let mut asked: Value = json!({
        "conf": { "libvirt.inject_password": true },
        "instance": { "uuid": "u", "hostname": "h", "key_name": "k", "key_data": KEY, "metadata": { "role": "web" } },
        "extra_md": { "admin_pass": "hunter2" },
        "files": [{ "path": "/srv/deep/file", "contents_b64": "AAEC/w==" }, { "path": "srv/other", "contents": "" }],
        "network_info": [{ "address": "52:54:00:12:34:56", "network": { "meta": { "injected": true }, "subnets": [
            { "cidr": "192.0.2.0/24", "ips": [{ "address": "192.0.2.10" }] }] } }],
    });
    let instance = scratch.file("i.json", asked.to_string());
    let words = ["inject", "--instance", text(&instance), text(&copy), "--metadata", "more=1", "-vv"];
    let output = run(&words);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let cat = |path: &str| run(&["cat", text(&copy), path]).stdout;
    let contains = |path: &str, expected: &str| String::from_utf8_lossy(&cat(path)).contains(expected);
    assert!(contains("/root/.ssh/authorized_keys", KEY));
    assert!(contains("/etc/network/interfaces", "    hwaddress ether 52:54:00:12:34:56\n    address 192.0.2.10\n"));
    assert_eq!(cat("/meta.js"), br#"{"role": "web", "more": "1"}"#);
    assert_eq!(cat("/srv/deep/file"), [0, 1, 2, 255]);
    assert!(contains("/etc/shadow", "root:$y$"));
    assert!(run(&["ls", text(&copy), "/srv/other"]).status.success());
    // The same again changes nothing.
    let again: Value = serde_json::from_str(&expect(0, &[&words[..6], &["--json"]].concat())).expect("JSON");
    assert_eq!(again["changed"], false);
    if oracle::have("qemu-img") && oracle::have("e2fsck") {
        let offset = image::open(&copy, 1).offset;
        oracle::e2fsck(&oracle::raw(&scratch, &copy, "qcow2"), offset);
    }

    // As Nova: without its option no key, and with a config drive nothing at all.
    let copy = scratch.copy(&image::phony(), "nova.qcow2");
    let output = run(&["inject", "--instance", text(&instance), text(&copy), "--compat", "nova"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("libvirt.inject_key is not set"));
    assert!(!run(&["ls", text(&copy), "/root/.ssh/authorized_keys"]).status.success());
    let shadow = run(&["cat", text(&copy), "/etc/shadow"]).stdout;
    assert!(String::from_utf8_lossy(&shadow).contains("root:$1$"));
    asked["instance"]["config_drive"] = json!(true);
    let instance = scratch.file("i.json", asked.to_string());
    let said = message(&["inject", "--instance", text(&instance), text(&copy)]);
    assert!(said.contains("instance.config_drive: the instance has a config drive"), "{said}");
}
