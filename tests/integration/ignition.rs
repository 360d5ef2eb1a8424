//! Configurations of Ignition, beside Ignition's own validator.

use crate::refusals::refused;
use crate::support::{Scratch, expect, filled, image, imgraft, inject, oracle, text};
use std::path::Path;
use std::process::Command;

const CONFIG: &str = r#"{
  "ignition": {"version": "3.3.0", "config": {}, "proxy": {}, "security": {"tls": {}}, "timeouts": {}},
  "passwd": {
    "groups": [{"name": "dev", "gid": 4000}],
    "users": [
      {"name": "ann", "uid": 4001, "gecos": "Ann A.", "homeDir": "/srv/ann", "primaryGroup": "dev", "groups": ["adm"], "shell": "/bin/sh",
       "passwordHash": "$HASH", "sshAuthorizedKeys": ["$KEY"]},
      {"name": "bob", "noCreateHome": true, "shouldExist": true},
      {"name": "robot", "system": true}
    ]
  },
  "storage": {
    "directories": [{"path": "/srv/site", "mode": 509, "user": {"name": "ann"}, "group": {"id": 4000}}],
    "files": [
      {"path": "/etc/motd", "overwrite": true, "contents": {"source": "data:,hello%20%24%7Bx%7D%0A"}, "mode": 416, "group": {"name": "adm"}},
      {"path": "/srv/site/bytes", "contents": {"source": "data:application/octet-stream;base64,AAECAw=="}},
      {"path": "/srv/site/empty"}
    ],
    "links": [{"path": "/srv/site/link", "target": "../x"}]
  },
  "systemd": {
    "units": [
      {"name": "web.service", "enabled": true, "contents": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"},
      {"name": "apt-daily.timer", "mask": true},
      {"name": "fstrim.timer", "enabled": false},
      {"name": "ssh.service", "dropins": [{"name": "10-nice.conf", "contents": "[Service]\nNice=1\n"}]}
    ]
  }
}"#;

/// The same in a manifest.
const MANIFEST: &str = r#"
groups: [{name: dev, gid: 4000}]
users:
  - {name: ann, uid: 4001, comment: Ann A., home: /srv/ann, group: dev, groups: [adm], shell: /bin/sh, password: "hash:$HASH", ssh_keys: ["$KEY"]}
  - {name: bob, create_home: false}
  - {name: robot, system: true, create_home: true}
files:
  - mkdir: /srv/site
  - chown: {path: /srv/site, owner: ann, group: dev}
  - chmod: {path: /srv/site, mode: "0775"}
  - write: {path: /etc/motd, content: "hello $${x}\n", mode: "0640", owner: root, group: adm}
  - write: {path: /srv/site/bytes, content_base64: AAECAw==, mode: "0644", owner: root, group: root}
  - write: {path: /srv/site/empty, content: "", mode: "0644", owner: root, group: root}
  - link: {target: ../x, path: /srv/site/link}
  - write:
      path: /etc/systemd/system/web.service
      content: "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
      owner: root
      group: root
  - write: {path: /etc/systemd/system/ssh.service.d/10-nice.conf, content: "[Service]\nNice=1\n", owner: root, group: root}
units: {enable: [web.service], mask: [apt-daily.timer], disable: [fstrim.timer]}
"#;

/// Whether Ignition takes a configuration; `None` where it is not there.
fn is_valid(config: &Path) -> Option<bool> {
    if !oracle::have("ignition-validate") {
        return None;
    }
    Some(Command::new("ignition-validate").arg(config).output().expect("it starts").status.success())
}

#[test]
fn a_configuration_is_its_manifest_to_the_byte() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let twin = scratch.copy(&guest.path, "twin.raw");
    let config = scratch.file("config.ign", filled(CONFIG));
    let plan = scratch.file("plan.yaml", filled(MANIFEST));
    assert_ne!(is_valid(&config), Some(false));
    let report = inject(&disk, &["--ignition", text(&config)]);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    inject(&twin, &["-f", text(&plan)]);
    oracle::succeed("cmp", &[text(&disk), text(&twin)]);
    oracle::e2fsck(&disk, image::open(&disk, guest.partition).offset);
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/motd"]), "hello ${x}\n");
    assert!(expect(0, &["ls", text(&disk), "/etc/systemd/system/multi-user.target.wants"]).contains("web.service"));
    assert_eq!(inject(&disk, &["--ignition", text(&config)])["changed"], false);
}

#[test]
fn what_is_there_stays_where_nothing_is_said_of_it() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    inject(
        &disk,
        &[
            "--write=/etc/kept.conf:kept\n",
            "--chown=7:8:/etc/kept.conf",
            "--chmod=0640:/etc/kept.conf",
            "--write=/etc/target:target\n",
            "--link=target:/etc/link",
            "--link=target:/etc/systemd/system/web.service",
            "--mkdir=/srv/own",
            "--chown=7:8:/srv/own",
        ],
    );
    let config = scratch.file(
        "config.ign",
        r#"{"ignition": {"version": "3.3.0"},
            "storage": {
              "directories": [{"path": "/tmp"}, {"path": "/srv/own", "mode": 448}, {"path": "/srv/own/new"}, {"path": "/srv/own/dir/deep"}],
              "links": [{"path": "/srv/own/to/link", "target": "x"}],
              "files": [
                {"path": "/etc/kept.conf", "mode": 384},
                {"path": "/srv/own/file", "user": {"id": 9}},
                {"path": "/srv/own/with/file", "user": {"id": 9}, "contents": {"source": "data:,"}},
                {"path": "/etc/link", "overwrite": true, "contents": {"source": "data:,own%0A"}}
              ]
            },
            "systemd": {"units": [{"name": "web.service", "contents": "[Service]\nExecStart=/bin/true\n"}]}}"#,
    );
    assert_ne!(is_valid(&config), Some(false));
    let report = inject(&disk, &["--ignition", text(&config)]);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    oracle::e2fsck(&disk, offset);
    let attributes = |path: &str| oracle::owner(&disk, offset, path);
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/kept.conf"]), "kept\n");
    assert_eq!(attributes("/etc/kept.conf"), ("0600".to_owned(), 7, 8));
    assert_eq!(attributes("/tmp"), ("01777".to_owned(), 0, 0));
    assert_eq!(attributes("/srv/own"), ("0700".to_owned(), 7, 8));
    // What is new is root's, in whosever directory, with the directories around it.
    for path in ["/srv/own/dir", "/srv/own/dir/deep", "/srv/own/to", "/srv/own/with", "/srv/own/to/link"] {
        let (_, uid, gid) = attributes(path);
        assert_eq!((uid, gid), (0, 0), "{path}");
    }
    assert_eq!(attributes("/srv/own/new"), ("0755".to_owned(), 0, 0));
    assert_eq!(attributes("/srv/own/file"), ("0644".to_owned(), 9, 0));
    // A link is replaced itself.
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/link"]), "own\n");
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/target"]), "target\n");
    assert!(expect(0, &["cat", text(&disk), "/etc/systemd/system/web.service"]).starts_with("[Service]"));
    assert_eq!(inject(&disk, &["--ignition", text(&config)])["changed"], false);
    // Without overwrite nothing is replaced; what is the same is none that would be.
    let replacing = |kind: &str, node: &str, overwrite: &str| {
        let config = format!(
            r#"{{"ignition": {{"version": "3.3.0"}}, "storage": {{"{kind}": [{{"path": {node}{overwrite}}}]}}}}"#
        );
        let config = scratch.file("config.ign", config.as_bytes());
        assert_ne!(is_valid(&config), Some(false));
        config
    };
    let (yes, no) = (r#", "overwrite": true"#, r#", "overwrite": false"#);
    expect(0, &["inject", text(&disk), "--link=gone:/etc/dangling"]);
    for (kind, node, overwrite) in [
        ("files", r#""/etc/kept.conf", "contents": {"source": "data:,new%0A"}"#, ""),
        ("files", r#""/etc/dangling", "contents": {"source": "data:,new%0A"}"#, no),
        ("links", r#""/srv/own/to/link", "target": "y""#, ""),
    ] {
        let path = node.split('"').nth(1).expect("a path");
        let config = replacing(kind, node, overwrite);
        let words = ["inject", text(&disk), "--ignition", text(&config)];
        let there = format!("item files: {path}: something else is there already, and overwrite is false");
        refused(&disk, 3, &words, &[&there, "\"overwrite\": true in the configuration has it replaced"]);
        let config = replacing(kind, node, yes);
        assert_eq!(inject(&disk, &["--ignition", text(&config)])["changed"], true, "{node}");
        // The same again is there already, overwrite or not.
        let config = replacing(kind, node, overwrite);
        assert_eq!(inject(&disk, &["--ignition", text(&config)])["changed"], false, "{node}");
    }
    oracle::e2fsck(&disk, offset);
    // Where something else is, no empty file is made.
    let config = r#"{"ignition": {"version": "3.3.0"}, "storage": {"files": [{"path": "/etc/systemd"}]}}"#;
    let config = scratch.file("config.ign", config);
    let output = imgraft().args(["inject", text(&disk), "--ignition", text(&config)]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("/etc/systemd: no regular file"), "{said}");
}

#[test]
fn what_is_not_honoured_is_named() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let with = |rest: &str| format!(r#"{{"ignition": {{"version": "3.0.0"}}, {rest}}}"#);
    // Documents that are right to Ignition.
    let right = [
        (
            with(r#""storage": {"filesystems": [{"device": "/dev/sda", "format": "ext4", "path": "/"}]}"#),
            "storage.filesystems: the key is a right one",
        ),
        (
            with(r#""storage": {"files": [{"path": "/a", "contents": {"source": "https://example.org/hunter2"}}]}"#),
            "storage.files[0].contents.source: not a data: URL",
        ),
        (with(r#""storage": {"disks": [{"device": "/dev/sda"}]}"#), "storage.disks: the key is a right one"),
        (
            r#"{"ignition": {"version": "3.3.0"}, "kernelArguments": {"shouldExist": ["quiet"]}}"#.to_owned(),
            "kernelArguments: the key is a right one",
        ),
        (
            r#"{"ignition": {"version": "3.2.0"}, "storage": {"luks": [{"name": "a", "device": "/dev/a"}]}}"#
                .to_owned(),
            "storage.luks: the key is a right one",
        ),
        (
            with(
                r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:,", "verification": {"hash": "sha512-cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"}}}]}"#,
            ),
            "storage.files[0].contents.verification: the key is a right one",
        ),
        (
            with(r#""storage": {"files": [{"path": "/a", "append": [{"source": "data:,hunter2"}]}]}"#),
            "storage.files[0].append: the key is a right one",
        ),
        (
            with(r#""storage": {"directories": [{"path": "/a", "overwrite": true}]}"#),
            "storage.directories[0].overwrite: a directory that is there keeps",
        ),
        (
            with(r#""storage": {"links": [{"path": "/a", "target": "/b", "hard": true}]}"#),
            "storage.links[0].hard: hard links",
        ),
        (
            with(r#""passwd": {"users": [{"name": "ann", "noUserGroup": true}]}"#),
            "passwd.users[0].noUserGroup: the key is a right one",
        ),
        (
            r#"{"ignition": {"version": "3.2.0"}, "passwd": {"users": [{"name": "ann", "shouldExist": false}]}}"#
                .to_owned(),
            "passwd.users[0].shouldExist: nobody is removed",
        ),
        (
            r#"{"ignition": {"version": "3.0.0", "config": {"merge": [{"source": "https://example.org/"}]}}}"#
                .to_owned(),
            "ignition.config: it cannot be honoured",
        ),
        (
            with(r#""systemd": {"units": [{"name": "a.service", "mask": true, "contents": "[Unit]"}]}"#),
            "systemd.units[0].contents: of a unit that is masked nothing is left of them",
        ),
        (
            with(r#""storage": {"files": [{"path": "/a", "mode": 2541}]}"#),
            "storage.files[0].mode: set-user-ID, set-group-ID and the sticky bit say nothing before version 3.6.0",
        ),
        (
            with(r#""storage": {"directories": [{"path": "/a", "mode": 1023}]}"#),
            "511 without them, as Ignition 2.22 and newer take it; ignition.version 3.6.0 where",
        ),
    ];
    // And some that are not.
    let wrong = [
        (
            with(r#""storage": {"files": [{"path": "/a", "overwrite": true}]}"#),
            "storage.files[0].overwrite: there are no contents",
        ),
        (with(r#""storage": {"files": [{"path": "a"}]}"#), "storage.files[0].path: not an absolute path"),
        (with(r#""storage": {"file": []}"#), "storage.file: unknown field"),
        (with(r#""storage": {"files": [{"path": "/a", "mode": 99999}]}"#), "storage.files[0].mode: "),
        (with(r#""storage": {"files": [{"path": "/a", "mode": "0644"}]}"#), "storage.files[0].mode: invalid type"),
        (
            with(r#""storage": {"files": [{"path": "/a", "contents": {"source": "data:;base64,hunter2"}}]}"#),
            "contents.source: not base64",
        ),
        (
            with(r#""systemd": {"units": [{"name": "../x", "contents": "hunter2"}]}"#),
            "systemd.units[0].name: no name of a unit",
        ),
        (
            with(r#""systemd": {"units": [{"name": "a.service"}, {"name": "x y.service", "enabled": true}]}"#),
            "systemd.units[1].name: no name of a unit (line 1, column 82)",
        ),
        (with(r#""storage": {"files": [{"path": "/a/"}]}"#), "storage.files[0].path: not the shortest spelling"),
        (with(r#""storage": {"directories": [{"path": "/a/./b"}]}"#), "storage.directories[0].path: not the shortest"),
        (with(r#""storage": {"links": [{"path": "//a", "target": "b"}]}"#), "storage.links[0].path: not the shortest"),
        (r#"{"ignition": {"version": false}}"#.to_owned(), "ignition.version: it cannot be honoured"),
        (r#"{"ignition": {"version": "2.3.0"}}"#.to_owned(), "ignition.version: it cannot be honoured"),
        (r#"{"ignition": {}}"#.to_owned(), "ignition: missing field `version`"),
        ("{}".to_owned(), "missing field `ignition`"),
        ("hunter2".to_owned(), "config.ign: "),
    ];
    let mut failed = Vec::new();
    for (number, (document, said)) in right.iter().chain(&wrong).enumerate() {
        let config = scratch.file("config.ign", document);
        if number < right.len() && is_valid(&config) == Some(false) {
            failed.push(format!("{document}: Ignition refuses it too"));
        }
        let output = imgraft().args(["inject", text(&disk), "--ignition", text(&config)]).output().expect("it starts");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_right = output.status.code() == Some(2) && shown.contains(said) && shown.contains("config.ign: ");
        if !is_right || shown.contains("hunter2") || !shown.contains("hint: ") {
            failed.push(format!("{document}: {said}: {shown}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    oracle::succeed("cmp", &[text(&disk), text(&guest.path)]);
}

/// Ignition's validator refuses these too, all but what only newer ones than that of Debian 12 refuse.
#[test]
fn what_is_in_two_places_is_refused() {
    let scratch = Scratch::new();
    let mut failed = Vec::new();
    for (rest, said) in [
        (
            r#""storage": {"files": [{"path": "/a"}, {"path": "/b"}, {"path": "/a"}]}"#,
            "storage.files[2].path: it is that of storage.files[0] (line 2, column 23) (line 2, column 56)",
        ),
        (
            r#""storage": {"files": [{"path": "/a"}], "directories": [{"path": "/a"}]}"#,
            "storage.files[0].path: it is that of storage.directories[0] (",
        ),
        (
            r#""storage": {"links": [{"path": "/a", "target": "b"}], "directories": [{"path": "/a"}]}"#,
            "storage.links[0].path: it is that of storage.directories[0] (",
        ),
        (
            r#""storage": {"links": [{"path": "/a", "target": "b"}], "files": [{"path": "/a/b/c"}]}"#,
            "storage.files[0].path: it lies below the link of storage.links[0] (",
        ),
        (
            r#""systemd": {"units": [{"name": "a.service", "dropins": [{"name": "a.conf"}, {"name": "a.conf"}]}]}"#,
            "systemd.units[0].dropins[1].name: it is that of systemd.units[0].dropins[0] (",
        ),
        (
            r#""systemd": {"units": [{"name": "a.service", "mask": true}, {"name": "a.service", "enabled": true}]}"#,
            "systemd.units[1].name: it is that of systemd.units[0] (",
        ),
        (
            r#""passwd": {"users": [{"name": "a"}, {"name": "a"}]}"#,
            "passwd.users[1].name: it is that of passwd.users[0] (",
        ),
        (
            r#""passwd": {"groups": [{"name": "a"}, {"name": "a"}]}"#,
            "passwd.groups[1].name: it is that of passwd.groups[0] (",
        ),
    ] {
        let document = format!("{{\"ignition\": {{\"version\": \"3.3.0\"}},\n{rest}}}");
        let config = scratch.file("config.ign", &document);
        if is_valid(&config) == Some(true) {
            failed.push(format!("{document}: Ignition takes it"));
        }
        let output = imgraft().args(["inject", "/none", "--ignition", text(&config)]).output().expect("it starts");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = shown.lines().filter(|line| line.starts_with("imgraft: ")).count();
        if output.status.code() != Some(2) || !shown.contains(said) || told != 1 || !shown.contains("hint: ") {
            failed.push(format!("{document}: {said}: {shown}"));
        }
    }
    // As Ignition 2.15 and newer.
    for (unit, path) in [
        (r#""contents": "[Unit]""#, "a.service"),
        (r#""dropins": [{"name": "b.conf", "contents": "[Unit]"}]"#, "a.service.d/b.conf"),
    ] {
        let document = format!(
            r#"{{"ignition": {{"version": "3.3.0"}}, "systemd": {{"units": [{{"name": "a.service", {unit}}}]}},
                "storage": {{"files": [{{"path": "/etc/systemd/system/{path}"}}]}}}}"#
        );
        let config = scratch.file("config.ign", &document);
        let output = imgraft().args(["inject", "/none", "--ignition", text(&config)]).output().expect("it starts");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        if !shown.contains("storage.files[0].path: it is that of systemd.units[0]") {
            failed.push(format!("{document}: {shown}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Members that are null or empty ask for nothing, and the bits that version 3.6.0 has given a meaning are set.
#[test]
fn what_asks_for_nothing_is_taken() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let config = |version: &str, modes: [u16; 2]| {
        let [file, directory] = modes;
        format!(
            r#"{{"ignition": {{"version": "{version}", "config": null}}, "kernelArguments": {{"shouldExist": []}},
                "passwd": {{"users": null, "groups": [{{"name": "dev", "passwordHash": "", "gid": null}}]}},
                "storage": {{
                  "disks": [], "raid": null, "filesystems": [], "luks": [],
                  "directories": [{{"path": "/srv/d", "mode": {directory}, "overwrite": null}}],
                  "files": [{{"path": "/srv/f", "mode": {file}, "append": [],
                             "contents": {{"source": "data:,a", "compression": null, "verification": {{"hash": null}}, "httpHeaders": []}}}}],
                  "links": [{{"path": "/srv/l", "target": "f", "user": {{"name": null}}, "group": {{}}}}]
                }},
                "systemd": null}}"#
        )
    };
    let file = scratch.file("config.ign", config("3.3.0", [0o640, 0o750]));
    assert_ne!(is_valid(&file), Some(false));
    inject(&disk, &["--ignition", text(&file)]);
    let offset = image::open(&disk, guest.partition).offset;
    assert_eq!(oracle::owner(&disk, offset, "/srv/f"), ("0640".to_owned(), 0, 0));
    let file = scratch.file("config.ign", config("3.6.0", [0o4755, 0o1777]));
    inject(&disk, &["--ignition", text(&file)]);
    assert_eq!(oracle::owner(&disk, offset, "/srv/f"), ("04755".to_owned(), 0, 0));
    assert_eq!(oracle::owner(&disk, offset, "/srv/d"), ("01777".to_owned(), 0, 0));
}

/// Hashes with which no password is valid are taken as Ignition gives them to useradd(8); what is no hash has its place.
#[test]
fn password_hashes() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let config = |hashes: &[&str]| {
        let user = |(n, hash): (usize, &&str)| format!(r#"{{"name": "u{n}", "passwordHash": "{hash}"}}"#);
        let users = hashes.iter().enumerate().map(user).collect::<Vec<_>>().join(",\n");
        let document = "{\"ignition\": {\"version\": \"3.3.0\"}, \"passwd\": {\"users\": [\n$USERS]}}";
        scratch.file("config.ign", document.replace("$USERS", &users))
    };
    inject(&disk, &["--ignition", text(&config(&["", "*", "!", "!!", "!*"]))]);
    let shadow = expect(0, &["cat", text(&disk), "/etc/shadow"]);
    for (n, hash) in ["*", "*", "!", "!!", "!*"].iter().enumerate() {
        assert!(shadow.lines().any(|line| line.starts_with(&format!("u{n}:{hash}:"))), "{shadow}");
    }
    let config = config(&["hunter2", "*", "$6$hunter2$short"]);
    let output = imgraft().args(["inject", "/none", "--ignition", text(&config)]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for (n, reason) in [(0, "it is not of the form $method$salt$hash"), (2, "it is shorter or longer than the hashes")]
    {
        let place = format!("config.ign: passwd.users[{n}].passwordHash: not a password hash: {reason}");
        assert!(
            said.lines().any(|line| line.contains(&place) && line.contains(&format!("(line {}, ", n + 2))),
            "{said}"
        );
    }
    assert!(!said.contains("hunter2") && said.contains("hint: make one with: mkpasswd"), "{said}");
}

/// The keys of the schemas of Ignition's `config/v3_0` to `v3_6`, as far as what is around them is taken. Each with a value that asks for
/// something.
const KEYS: &[&str] = &[
    r#"{"ignition": {"version": "3.6.0", "config": {"merge": [{"source": "data:,", "compression": "gzip", "httpHeaders": [{"name": "a", "value": "b"}], "verification": {"hash": "sha512-00"}}]}}}"#,
    r#"{"ignition": {"version": "3.6.0", "config": {"replace": {"source": "data:,"}}}}"#,
    r#"{"ignition": {"version": "3.6.0", "timeouts": {"httpResponseHeaders": 1, "httpTotal": 2}}}"#,
    r#"{"ignition": {"version": "3.6.0", "security": {"tls": {"certificateAuthorities": [{"source": "data:,"}]}}}}"#,
    r#"{"ignition": {"version": "3.6.0", "proxy": {"httpProxy": "http://a", "httpsProxy": "https://a", "noProxy": ["a"]}}}"#,
    r#"{"storage": {"disks": [{"device": "/dev/a"}]}}"#,
    r#"{"storage": {"raid": [{"name": "a", "level": "stripe", "devices": ["/dev/a"]}]}}"#,
    r#"{"storage": {"filesystems": [{"device": "/dev/a"}]}}"#,
    r#"{"storage": {"luks": [{"name": "a", "device": "/dev/a"}]}}"#,
    r#"{"storage": {"files": [{"path": "/a", "overwrite": true, "contents": {"source": "data:,", "compression": "gzip", "httpHeaders": [{"name": "a", "value": "b"}], "verification": {"hash": "sha512-00"}}, "append": [{"source": "data:,"}], "mode": 420, "user": {"id": 0}, "group": {"name": "a"}}]}}"#,
    r#"{"storage": {"directories": [{"path": "/a", "overwrite": false, "mode": 420, "user": {"name": "a"}, "group": {"id": 0}}]}}"#,
    r#"{"storage": {"links": [{"path": "/a", "overwrite": true, "user": {"id": 0}, "group": {"id": 0}, "target": "b", "hard": false}]}}"#,
    r#"{"systemd": {"units": [{"name": "a.service", "enabled": true, "mask": false, "contents": "a", "dropins": [{"name": "a.conf", "contents": "a"}]}]}}"#,
    r#"{"passwd": {"users": [{"name": "a", "passwordHash": "a", "sshAuthorizedKeys": ["a"], "uid": 1, "gecos": "a", "homeDir": "/a", "noCreateHome": true, "primaryGroup": "a", "groups": ["a"], "noUserGroup": true, "noLogInit": true, "shell": "/a", "shouldExist": true, "system": true}]}}"#,
    r#"{"passwd": {"groups": [{"name": "a", "gid": 1, "passwordHash": "a", "shouldExist": true, "system": true}]}}"#,
    r#"{"kernelArguments": {"shouldExist": ["a"], "shouldNotExist": ["b"]}}"#,
];

#[test]
fn every_key_is_known() {
    let scratch = Scratch::new();
    for document in KEYS {
        let mut value: serde_json::Value = serde_json::from_str(document).expect("JSON");
        if value.get("ignition").is_none() {
            value["ignition"] = serde_json::json!({ "version": "3.6.0" });
        }
        let config = scratch.file("config.ign", value.to_string());
        let output = imgraft().args(["inject", "/none", "--ignition", text(&config)]).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("unknown field") && said.contains("imgraft: "), "{document}: {said}");
    }
}

/// What is wrong only to whom it is given to is found in the document all the same.
#[test]
fn places_are_those_of_the_document() {
    let scratch = Scratch::new();
    let config = scratch.file(
        "config.ign",
        r#"{
  "ignition": {"version": "3.3.0"},
  "passwd": {
    "groups": [{"name": "-x"}],
    "users": [{"name": "a/b"},
      {"name": "c", "sshAuthorizedKeys": ["hunter2"]}]
  },
  "storage": {
    "directories": [{"path": "/tmp"}],
    "files": [{"path": "/a", "contents": {"source": "data:,"}, "mode": 420, "user": {"id": 0}},
      {"path": "/srv/../b", "contents": {"source": "data:,hunter2"}},
      {"path": "/srv/../c"}],
    "links": [{"path": "/l", "target": ""}]
  }
}"#,
    );
    let output = imgraft().args(["inject", "/none", "--ignition", text(&config)]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).replace(text(&config), "config.ign");
    let mut places: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("imgraft: config.ign: ")).collect();
    for (begins, ends) in [
        ("passwd.groups[0] -x: not a name", "(line 4, column 16)"),
        ("passwd.users[0] a/b: not a name", "(line 5, column 15)"),
        ("passwd.users[1].sshAuthorizedKeys[0]: not an ssh public key", "(line 6, column 43)"),
        ("storage.files[1].path: /srv/../b: not a guest path", "(line 11, column 8)"),
        ("storage.files[2].path: /srv/../c: not a guest path", "(line 12, column 8)"),
        ("storage.links[0]: the target is empty", "(line 13, column 30)"),
    ] {
        let found = places.iter().position(|told| told.starts_with(begins) && told.ends_with(ends));
        assert!(found.is_some(), "{begins} {ends}: {said}");
        places.remove(found.unwrap_or_default());
    }
    assert!(places.is_empty() && !said.contains("hunter2"), "{places:?}: {said}");
}

/// Whoever has written a configuration mends it once.
#[test]
fn all_that_is_wrong_is_told_at_once() {
    let scratch = Scratch::new();
    let config = scratch.file(
        "config.ign",
        r#"{
  "ignition": {"version": "3.3.0", "config": {"merge": [{"source": "https://example.org/"}]}},
  "storage": {
    "disks": [{"device": "/dev/a"}],
    "files": [
      {"path": "a", "mode": 9999, "append": [{"source": "data:,"}]},
      {"path": "/b", "contents": {"source": "data:,hunter2", "compression": "gzip"}}
    ]
  },
  "passwd": {"users": [{"name": "ann", "shouldExist": false}]},
  "systemd": {"unit": []}
}"#,
    );
    let output = imgraft().args(["inject", "/none", "--ignition", text(&config)]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).replace(text(&config), "config.ign");
    let places: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("imgraft: config.ign: ")).collect();
    let expected = [
        ("ignition.config: it cannot be honoured", "(line 2, column 36)"),
        ("storage.disks: the key is a right one", "(line 4, column 5)"),
        ("storage.files[0].path: not an absolute path", "(line 6, column 8)"),
        ("storage.files[0].append: the key is a right one", "(line 6, column 35)"),
        ("storage.files[1].contents.compression: the content is not unpacked", "(line 7, column 62)"),
        ("passwd.users[0].shouldExist: nobody is removed", "(line 10, column 40)"),
        ("systemd.unit: unknown field", "(line 11, column 15)"),
    ];
    for ((reason, place), told) in expected.iter().zip(&places) {
        assert!(told.starts_with(reason) && told.ends_with(place), "{reason} {place}: {said}");
    }
    assert_eq!(places.len(), expected.len(), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
