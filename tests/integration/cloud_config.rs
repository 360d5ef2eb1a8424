//! cloud-configs, beside cloud-init's own schema and what it makes of them.

use crate::support::drive::{cloud_init, python};
use crate::support::tree::{self, Mounted};
use crate::support::{Scratch, expect, filled, image, imgraft, inject, oracle, text};
use base64ct::{Base64, Encoding};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const CONFIG: &str = r#"#cloud-config
hostname: web
timezone: Europe/Berlin
groups:
  - dev
  - daemons: [games, ann]
users:
  - name: ann
    gecos: Ann A.
    primary_group: users
    groups: adm, audio
    uid: 4001
    shell: /bin/sh
    lock_passwd: false
    passwd: $HASH
    ssh_authorized_keys: [$KEY]
    sudo: ALL=(ALL) NOPASSWD:ALL
    expiredate: "2031-02-03"
  - {name: robot, system: true}
  - {name: bob, no_create_home: true, sudo: null}
chpasswd:
  expire: false
  users:
    - {name: bob, password: $HASH}
    - {name: root, password: 'correct $${horse}', type: text}
write_files:
  - path: /etc/web.conf
    content: |
      a ${b}
    permissions: "0640"
    owner: root:adm
  - {path: /srv/deep/bytes, encoding: b64, content: AAECAw==, defer: true}
  - {path: /etc/hosts, content: "192.0.2.9 db\n", append: true}
  - {path: /srv/empty}
packages: [nginx, curl]
runcmd:
  - cd /srv
  - [touch, "a 'b'"]
"#;

/// The same in a manifest.
const MANIFEST: &str = r#"
hostname: web
timezone: Europe/Berlin
groups: [{name: dev}, {name: daemons}]
users:
  - name: ann
    comment: Ann A.
    group: users
    groups: [adm, audio, daemons]
    uid: 4001
    shell: /bin/sh
    password: hash:$HASH
    ssh_keys: [$KEY]
    sudo: nopasswd
    expire: 2031-02-03
  - {name: robot, system: true}
  - {name: bob, create_home: false, password: "hash:$HASH"}
  - {name: games, existing: true, groups: [daemons]}
  - {name: root, password: "password:correct $$$${horse}"}
files:
  - write: {path: /etc/web.conf, content: "a $${b}\n", mode: "0640", owner: root, group: adm}
  - write: {path: /srv/deep/bytes, content_base64: AAECAw==, mode: "0644", owner: root, group: root}
  - append_line: {path: /etc/hosts, line: "192.0.2.9 db"}
  - chown: {path: /etc/hosts, owner: root, group: root}
  - chmod: {path: /etc/hosts, mode: "0644"}
  - write: {path: /srv/empty, content: "", mode: "0644", owner: root, group: root}
firstboot:
  - install: [nginx, curl]
  - command: "cd /srv\n'touch' 'a '\\''b'\\'''"
"#;

/// What cloud-init makes of each; `None` where it is not there.
fn by_cloud_init(texts: &[String]) -> Option<Vec<Value>> {
    let package = cloud_init()?.join("usr/lib/python3/dist-packages");
    let answer = python("support/cloud_config.py", &Value::from(texts.to_vec()), Some(&package));
    Some(answer.as_array().expect("a list").clone())
}

#[test]
fn a_cloud_config_is_done_as_cloud_init_does_it() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    if !tree::can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let sudo =
        ["--write=/etc/sudoers:@includedir /etc/sudoers.d\n", "--write=/usr/bin/sudo:", "--mkdir=/etc/sudoers.d"];
    inject(&disk, &sudo);
    let twin = scratch.copy(&disk, "twin.raw");
    let config = scratch.file("user-data", filled(CONFIG));
    let plan = scratch.file("plan.yaml", filled(MANIFEST));
    // One hash has a salt of its own.
    let strip = |path: &Path| {
        let text = std::fs::read_to_string(path).expect("it is text");
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("{name: root, password")).collect();
        scratch.file("stripped", kept.join("\n"))
    };
    let offset = image::open(&disk, guest.partition).offset;
    inject(&disk, &["--cloud-config", text(&strip(&config))]);
    inject(&twin, &["-f", text(&strip(&plan))]);
    oracle::succeed("cmp", &[text(&disk), text(&twin)]);
    oracle::e2fsck(&disk, offset);
    let report = inject(&disk, &["--cloud-config", text(&config)]);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");

    let Some(theirs) = by_cloud_init(&[filled(CONFIG)]) else { return };
    assert_eq!(theirs[0]["problem"], Value::Null);
    assert_eq!(theirs[0]["users"].as_object().expect("users").len(), 3);
    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    let id = |file: &str, name: &str| {
        let text = std::fs::read_to_string(mounted.path().join("etc").join(file)).expect("it is text");
        let line =
            text.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("the name is there").to_owned();
        line.split(':').nth(2).expect("a number").parse::<u32>().expect("a number")
    };
    let files = theirs[0]["files"].as_array().expect("a list");
    assert_eq!(files.len(), 4);
    for file in files {
        let (path, content) = (file[0].as_str().expect("a path"), file[1].as_str().expect("base64"));
        let content = Base64::decode_vec(content).expect("base64");
        let at = mounted.path().join(path.trim_start_matches('/'));
        let found = std::fs::read(&at).expect("the file is there");
        // Two runs have added their line.
        let is_right = if file[3] == true { found.ends_with(&content.repeat(2)) } else { found == content };
        assert!(is_right, "{path}: {}", String::from_utf8_lossy(&found));
        let metadata = at.metadata().expect("it is there");
        assert_eq!(u64::from(metadata.permissions().mode() & 0o7777), file[2].as_u64().expect("bits"), "{path}");
        assert_eq!(metadata.uid(), id("passwd", file[4].as_str().expect("a user")), "{path}");
        assert_eq!(metadata.gid(), id("group", file[5].as_str().expect("a group")), "{path}");
    }
}

/// Whoever has written a document mends it once.
#[test]
fn all_that_is_wrong_is_told_at_once() {
    let scratch = Scratch::new();
    let config = scratch.file(
        "user-data",
        "#cloud-config
packages: [nginx, [curl, '1']]
ssh_authorized_keys: [hunter2]
package_update: true
hostnam: web
users:
- default
- name: ann
  doas: [permit ann]
  uid: hunter2
  lock_passwd: 'no'
  passwd: hunter2
  ssh_import_id: [gh:ann]
- name: bob
  sudo: ALL=(ALL) /bin/ls
write_files:
- {path: a, content: hunter2}
- {path: /b, mode: '0600'}
apt: {}
",
    );
    let output = imgraft().args(["inject", "/none", "--cloud-config", text(&config)]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).replace(text(&config), "user-data");
    let places: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("imgraft: user-data: ")).collect();
    let expected = [
        ("packages[1]: expected the name of a package", "(line 2, column 19)"),
        ("ssh_authorized_keys: whose they are", "(line 3, column 1)"),
        ("package_update: the key is one of cloud-config", "(line 4, column 1)"),
        ("hostnam: no key of cloud-config", "(line 5, column 1)"),
        ("users[0]: which user 'default' means", "(line 7, column 3)"),
        ("users[1].doas: the key is a right one", "(line 9, column 3)"),
        // That the password would be locked follows from the value of lock_passwd.
        ("users[1].lock_passwd: ", "(line 11, column 3)"),
        ("users[1].ssh_import_id: the key is a right one", "(line 13, column 3)"),
        ("users[2].sudo: not one rule", "(line 15, column 3)"),
        ("write_files[0].path: not the absolute path", "(line 17, column 4)"),
        ("write_files[1].mode: unknown field", "(line 18, column 14)"),
        ("apt: the key is one of cloud-config", "(line 19, column 1)"),
    ];
    for ((reason, place), told) in expected.iter().zip(&places) {
        assert!(told.starts_with(reason) && told.ends_with(place), "{reason} {place}: {said}");
    }
    assert_eq!(places.len(), expected.len(), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    // A hint that several have is given once.
    assert_eq!(said.matches("hint: runcmd with the guest's package manager").count(), 1, "{said}");
}

#[test]
fn users_who_are_there_and_groups_that_are_not() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    let hash = filled("$HASH");
    let field = |user: &str| {
        let shadow = oracle::debugfs(&disk, offset, "cat /etc/shadow");
        let line = shadow.lines().find(|line| line.starts_with(&format!("{user}:"))).expect("the user is there");
        line.split(':').nth(1).expect("a field").to_owned()
    };
    inject(&disk, &["--add-user=old", "--add-user=kept", "--add-user=shut", "--add-user=barred"]);
    for user in ["old", "kept", "shut", "barred"] {
        inject(&disk, &[&format!("--password={user}:hash:{hash}")]);
    }
    inject(&disk, &["--password=barred:locked"]);
    let other = hash.replace(&hash[hash.len() - 4..], "abcd");
    let document = format!(
        "#cloud-config\ngroups: [adm, crew]\nusers:\n\
         - {{name: shut}}\n\
         - {{name: kept, lock_passwd: false}}\n\
         - {{name: old, lock_passwd: false, passwd: '{other}'}}\n\
         - {{name: eve, lock_passwd: false, passwd: '{hash}', groups: 'adm, wheels', primary_group: team}}\n\
         - {{name: fay, lock_passwd: true}}\n\
         - {{name: barred, lock_passwd: false}}\n"
    );
    let config = scratch.file("user-data", &document);
    if let Some(theirs) = by_cloud_init(&[document]) {
        assert_eq!(theirs[0]["problem"], Value::Null);
    }
    let report = inject(&disk, &["--cloud-config", text(&config)]);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    let said = report.to_string();
    assert!(said.contains("'old' is there already and keeps the password"), "{said}");
    assert!(said.contains("locked the password that 'shut' had"), "{said}");
    assert!(!said.contains(&hash) && !said.contains(&other));
    assert!(said.contains("took the lock off the password that 'barred' had"), "{said}");
    let fields = ["shut", "kept", "old", "eve", "fay", "barred"].map(field);
    assert_eq!(fields, [format!("!{hash}"), hash.clone(), hash.clone(), hash.clone(), "!".to_owned(), hash.clone()]);
    let group = oracle::debugfs(&disk, offset, "cat /etc/group");
    for name in ["crew", "team", "wheels"] {
        assert!(group.lines().any(|line| line.starts_with(&format!("{name}:"))), "{name}: {group}");
    }
    assert!(group.lines().any(|line| line.starts_with("wheels:") && line.ends_with(":eve")), "{group}");
    for file in ["passwd", "shadow", "group", "gshadow"] {
        scratch.file(file, oracle::debugfs(&disk, offset, &format!("cat /etc/{file}")));
    }
    let beside = |file: &str| text(&scratch.path().join(file)).to_owned();
    // Who and what is of this machine they do not find in the guest; of the lines they would say that they are wrong.
    for (tool, one, other) in [("pwck", "passwd", "shadow"), ("grpck", "group", "gshadow")] {
        let output = oracle::tool(tool, &["-r", &beside(one), &beside(other)]);
        let faults = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(["invalid", "duplicate", "no matching"].iter().all(|fault| !faults.contains(fault)), "{faults}");
    }
    oracle::e2fsck(&disk, offset);
    assert_eq!(inject(&disk, &["--cloud-config", text(&config)])["changed"], false);
    // A password of chpasswd is set after the lock, as cloud-init does it.
    let config = scratch.file(
        "user-data",
        format!(
            "#cloud-config\nusers: [{{name: shut}}]\nchpasswd: {{expire: false, users: [{{name: shut, password: '{hash}'}}]}}\n"
        ),
    );
    inject(&disk, &["--cloud-config", text(&config)]);
    assert_eq!(field("shut"), hash);
    assert_eq!(inject(&disk, &["--cloud-config", text(&config)])["changed"], false);
    // Groups are not made where that is said.
    let config =
        scratch.file("user-data", "#cloud-config\nusers: [{name: gil, groups: nowhere, create_groups: false}]\n");
    let output = imgraft().args(["inject", text(&disk), "--cloud-config", text(&config)]).output().expect("it starts");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no group 'nowhere'"));
    // A seed cannot say it.
    let config =
        scratch.file("user-data", filled("#cloud-config\nusers: [{name: root, ssh_authorized_keys: [$KEY]}]\n"));
    let words = ["inject", text(&disk), "--seed=nocloud", "--cloud-config", text(&config)];
    let output = imgraft().args(words).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("lock of the password that 'root' has") && said.contains("lock_passwd: false"), "{said}");
}

/// Names alone are users, users and groups may be objects by their names, and what is null is no command.
#[test]
fn shorter_forms() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    for (short, long) in [
        ("users: 'ann, bob'", "users: [{name: ann}, {name: bob}]"),
        ("users: [ann, [bob, eve]]", "users: [{name: ann}, {name: bob}, {name: eve}]"),
        ("users: {ann: {gecos: A}, bob: true, eve: false}", "users: [{name: ann, gecos: A}, {name: bob}]"),
        (
            "users: [ann]\ngroups: {crew: [ann, games], adm: ann}",
            "users: [ann]\ngroups: [crew: [ann, games], adm: [ann]]",
        ),
        ("runcmd: [null, ls, [touch, /a], ]", "runcmd: [ls, [touch, /a]]"),
        ("users: null\nhostname: web", "hostname: web"),
    ] {
        let (short, long) = (format!("#cloud-config\n{short}\n"), format!("#cloud-config\n{long}\n"));
        if let Some(theirs) = by_cloud_init(&[short.clone(), long.clone()]) {
            assert_eq!(theirs[0]["users"], theirs[1]["users"], "{short}");
        }
        let disks = [short, long].map(|document| {
            let disk = scratch.copy(&guest.path, "disk.raw");
            let config = scratch.file("user-data", &document);
            inject(&disk, &["--cloud-config", text(&config)]);
            let kept = scratch.path().join(format!("{}.raw", document.len()));
            std::fs::rename(&disk, &kept).expect("it can be renamed");
            kept
        });
        oracle::succeed("cmp", &[text(&disks[0]), text(&disks[1])]);
    }
}

/// As cloud-init's newer releases have it, who writes a file owns the directories that are made for it.
#[test]
fn new_directories_are_the_owners() {
    let package = image::built().join("cloud-init-new/usr/lib/python3/dist-packages");
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    let config = scratch.file(
        "user-data",
        "#cloud-config
write_files:
- {path: /srv/a/b/c, owner: 'games:adm'}
- {path: /srv/d/e, owner: 'games', append: true, content: \"x\\n\"}
- {path: /srv/f/g}
- {path: /etc/h, owner: 'games:adm'}
",
    );
    inject(&disk, &["--cloud-config", text(&config)]);
    oracle::e2fsck(&disk, offset);
    let owner = |path: &str| oracle::owner(&disk, offset, path);
    let passwd = expect(0, &["cat", text(&disk), "/etc/passwd"]);
    let games = passwd.lines().find_map(|line| line.strip_prefix("games:x:")).and_then(|rest| rest.split(':').next());
    let games: u32 = games.expect("games is there").parse().expect("a number");
    for (path, mode, uid, gid) in [
        ("/srv/a", "0755", games, 4),
        ("/srv/a/b", "0755", games, 4),
        ("/srv/d", "0755", games, 0),
        ("/srv/f", "0755", 0, 0),
        ("/etc", "0755", 0, 0),
        ("/srv", "0755", 0, 0),
    ] {
        assert_eq!(owner(path), (mode.to_owned(), uid, gid), "{path}");
    }
    // What cloud-init gives the owner and the group to.
    let files = serde_json::json!([
        ["a/b/c", "games", "adm"],
        ["d/e", "games", null],
        ["f/g", "root", "root"],
        ["h", "games", "adm"]
    ]);
    let theirs = python("support/cloud_directories.py", &files, Some(&package));
    assert_eq!(theirs, serde_json::json!([["a", "a/b"], ["d"], ["f"], []]));
}

/// Every key of cloud-init's schemas, the older one's and the newer one's: it is taken, or it is refused as a right one.
#[test]
fn every_key_is_known() {
    let Some(old) = cloud_init() else { return };
    let new = image::built().join("cloud-init-new");
    let scratch = Scratch::new();
    let mut known = 0;
    for root in [old, new] {
        let place = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json";
        let schema = std::fs::read(root.join(place)).expect("the schema is there");
        let schema: Value = serde_json::from_slice(&schema).expect("JSON");
        let user = &schema["$defs"]["users_groups.user"];
        let member = |name: &str| {
            let defs = schema["$defs"].as_object().expect("an object");
            defs.values().find_map(|def| def["properties"].get(name)).expect("a key of a module").clone()
        };
        let (files, chpasswd) = (member("write_files"), member("chpasswd"));
        for (before, node, after) in [
            ("", &schema, ""),
            ("users: [{name: a, ", user, "}]"),
            ("write_files: [{path: /a, ", &files["items"], "}]"),
            ("chpasswd: {", &chpasswd, "}"),
            ("chpasswd: {users: [{name: a, ", &chpasswd["properties"]["users"]["items"], "}]}"),
            ("keyboard: {layout: de, ", &member("keyboard"), "}"),
        ] {
            for key in keys(node, &schema["$defs"]) {
                if before.contains(&format!("{key}: ")) {
                    continue;
                }
                let config = scratch.file("user-data", format!("#cloud-config\n{before}{key}: 7{after}\n"));
                let words = ["inject", "/none", "--cloud-config", text(&config)];
                let output = imgraft().args(words).output().expect("it starts");
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let is_told = ["no key of cloud-config", "unknown field"].iter().all(|unknown| !said.contains(unknown));
                // What is taken with that value fails later, as there is no image.
                assert!(is_told && (said.contains(&key) || said.contains("/none")), "{before}{key}: {said}");
                known += 1;
            }
        }
    }
    assert!(known > 200, "only {known} keys");
}

/// The keys of an object of a JSON Schema.
fn keys(node: &Value, defs: &Value) -> std::collections::BTreeSet<String> {
    let mut found: std::collections::BTreeSet<String> =
        node["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    for list in ["allOf", "anyOf", "oneOf"] {
        found.extend(node[list].as_array().into_iter().flatten().flat_map(|node| keys(node, defs)));
    }
    if let Some(name) = node["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        found.extend(keys(&defs[name], defs));
    }
    found
}

/// What is wrong only to whom it is given to is found in the document all the same.
#[test]
fn places_are_those_of_the_document() {
    let scratch = Scratch::new();
    let config = scratch.file(
        "user-data",
        "#cloud-config
keyboard: {layout: 'a b'}
groups:
- a/b
users:
- {name: root, gecos: x}
- name: ann
  groups: [c/d]
  expiredate: tomorrow
  ssh_authorized_keys:
  - hunter2
- {name: 'e:f'}
write_files:
- {path: /a, content: x, append: false}
- {path: /srv/../b, content: hunter2}
",
    );
    let output = imgraft().args(["inject", "/none", "--cloud-config", text(&config)]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).replace(text(&config), "user-data");
    let mut places: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("imgraft: user-data: ")).collect();
    for (begins, ends) in [
        ("keyboard.layout a b: no such name", "(line 2, column 12)"),
        ("groups[0] a/b: not a name", "(line 4, column 3)"),
        ("users[0] root: the user is there and is not made", "(line 6, column 3)"),
        ("users[1].groups c/d: not a name", "(line 8, column 3)"),
        ("users[1].expiredate tomorrow: no day", "(line 9, column 3)"),
        ("users[1].ssh_authorized_keys[0]: not an ssh public key", "(line 11, column 5)"),
        ("users[2] e:f: not a name", "(line 12, column 3)"),
        ("write_files[1].path: /srv/../b: not a guest path", "(line 15, column 4)"),
    ] {
        let found = places.iter().position(|told| told.starts_with(begins) && told.ends_with(ends));
        assert!(found.is_some(), "{begins} {ends}: {said}");
        places.remove(found.unwrap_or_default());
    }
    assert!(places.is_empty() && !said.contains("hunter2"), "{places:?}: {said}");
}

/// cloud-init's own answer, in a guest's distribution that prefers short names and in one that does not.
#[test]
fn host_names_with_dots() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    for (document, name) in [
        ("hostname: a.example.org\nprefer_fqdn_over_hostname: true", "a.example.org"),
        ("hostname: b.example.org\nprefer_fqdn_over_hostname: false", "b"),
        ("hostname: c\nfqdn: d.example.org\nprefer_fqdn_over_hostname: true", "d.example.org"),
        ("hostname: e\nfqdn: f.example.org\nprefer_fqdn_over_hostname: off", "e"),
        ("fqdn: g.example.org\nprefer_fqdn_over_hostname: false", "g"),
    ] {
        let document = format!("#cloud-config\n{document}\n");
        if let Some(theirs) = by_cloud_init(std::slice::from_ref(&document)) {
            assert_eq!(theirs[0]["hostname"], name, "{document}");
        }
        let config = scratch.file("user-data", &document);
        inject(&disk, &["--cloud-config", text(&config)]);
        assert_eq!(expect(0, &["cat", text(&disk), "/etc/hostname"]), format!("{name}\n"), "{document}");
    }
    // Without a word on it the two do not agree.
    if let Some(theirs) = by_cloud_init(&["#cloud-config\nhostname: a.example.org\n".to_owned()]) {
        assert_eq!(theirs[0]["hostname"], Value::Null);
    }
}

#[test]
fn what_is_not_honoured_is_named() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    // Documents that are right to cloud-init.
    let right = [
        (
            "packages: [[nginx, '1.2']]",
            "packages[0]: expected the name of a package, and no version of it or manager for it (line 2, column 12)\n\
             hint: runcmd with the guest's package manager installs at the first boot",
        ),
        (
            "users: [{name: ann}, {name: ann, gecos: A}]",
            "users[1]: the user is named before it, and cloud-init makes one",
        ),
        ("users: [ann, bob, [ann]]", "users[2]: the user is named before it"),
        ("package_upgrade: true", "package_upgrade: the key is one of cloud-config, and it cannot be honoured while"),
        ("bootcmd: [ls]", "bootcmd: "),
        ("ssh_pwauth: true", "ssh_pwauth: "),
        ("power_state: {mode: reboot}", "power_state: "),
        ("fqdn: web.example.org", "fqdn: which of the names"),
        ("hostname: web.example.org", "hostname: which of the names"),
        ("hostname: web.example.org\nfqdn: web.example.net", "fqdn: which of the names"),
        // It is its default user's, whoever else is named.
        ("users: [{name: ann}]\nssh_authorized_keys: [hunter2]", "ssh_authorized_keys: whose they are"),
        ("users: [default]", "users[0]: which user 'default' means"),
        ("users: default", "users: which user 'default' means"),
        ("users: [[bob, default]]", "users[0]: which user 'default' means"),
        ("users: {default: true}", "users.default: which user 'default' means"),
        ("users: {bob: {sudo: 'ALL=(ALL) /bin/ls'}}", "users.bob.sudo: not one rule"),
        ("users: [{name: ann, lock_passwd: false, plain_text_passwd: ''}]", "users[0].plain_text_passwd: it is empty"),
        ("users: [{name: ann, passwd: ''}]", "users[0].passwd: it is empty, and cloud-init sets no password then"),
        (
            "users: [{name: ann, lock_passwd: false, passwd: hunter2}]",
            "users[0].passwd: not a password hash: it is not of the form $method$salt$hash (line 2, column 41)",
        ),
        (
            "users: [{name: ann, lock_passwd: false, hashed_passwd: hunter2}]",
            "users[0].hashed_passwd: not a password hash: it is not of the form $method$salt$hash (line 2, column 41)",
        ),
        (
            "chpasswd: {users: [{name: root, password: hunter2}]}",
            "chpasswd.users[0].password: not a password hash: it is not of the form $method$salt$hash (line 2, column 33)",
        ),
        (
            "a: &a {path: b}\nwrite_files: [*a]",
            "write_files[0].path: not the absolute path of a file (line 3, column 15)",
        ),
        ("ssh_authorized_keys: [hunter2]", "ssh_authorized_keys: whose they are"),
        ("users: [{name: ann, ssh_import_id: [gh:x]}]", "users[0].ssh_import_id: the key is a right one"),
        ("users: [{name: ann, passwd: hunter2}]", "users[0].passwd: it would be locked at once"),
        (
            "users: [{name: root, lock_passwd: false, passwd: hunter2}]",
            "users[0].passwd: it is for a new user, and root is there",
        ),
        ("users: [{name: ann, sudo: 'ALL=(ALL) /bin/ls'}]", "users[0].sudo: not one rule"),
        ("write_files: [{path: /a, content: 'hunter2', append: true}]", "write_files[0].append: only a single line"),
        ("disable_root: true", "disable_root: it is about the keys that the guest's own cloud-init gives root"),
        ("disable_root: false", "disable_root: it is about the keys that the guest's own cloud-init gives root"),
        ("preserve_hostname: true", "preserve_hostname: it is said to the guest's own cloud-init"),
        ("hostname: web\npreserve_hostname: true", "preserve_hostname: the host name is to stay, and there is one"),
        (
            "write_files: [{path: /a, content: 'H4sIAAAAAAACA0vkAgAHoerdAgAAAA==', encoding: gz+b64}]",
            "write_files[0].encoding: the value is a right",
        ),
        ("users: [{name: ann, selinux_user: staff_u}]", "users[0].selinux_user: the key is a right one"),
        ("users: [{name: ann, inactive: '7'}]", "users[0].inactive: the key is a right one"),
        ("users: [{name: ann, no_user_group: true}]", "users[0].no_user_group: the key is a right one"),
        ("users: [{name: ann, ssh_redirect_user: true}]", "users[0].ssh_redirect_user: the key is a right one"),
        ("keyboard: {layout: de, model: pc105}", "keyboard.model: the key is a right one"),
        ("keyboard: {layout: de, variant: neo}", "keyboard.variant: the key is a right one"),
    ];
    // And some that are not.
    let wrong = [
        ("users: [{name: ann, lock_passwd: n}]", "users[0].lock_passwd: a truth value to some"),
        ("users: [{name: ann, uid: 0o17}]", "users[0].uid: a number in base 8"),
        ("users: [{name: ann, gecos: 22:22}]", "users[0].gecos: a number in base 60"),
        ("runcmd: [[hunter2, 0_7]]", "runcmd[0][1]: a number to some"),
        ("write_files: [{path: /a, content: 'x', encoding: rot13}]", "write_files[0].encoding: unknown variant"),
        // Right to older and newer ones.
        ("chpasswd: {list: ['root:hunter2']}", "chpasswd.list: the key is a right one"),
        ("write_files: [{path: /a, source: {uri: 'https://a'}}]", "write_files[0].source: the key is a right one"),
        ("chpasswd: {lists: [hunter2]}", "chpasswd.lists: unknown field"),
        ("hostnam: web", "hostnam: no key of cloud-config"),
        ("users: [{nam: ann}]", "users[0].nam: unknown field"),
        ("users: [{name: ann, uid: x}]", "users[0].uid: not a number"),
        ("write_files: [{path: a, content: hunter2}]", "write_files[0].path: not the absolute path"),
        ("write_files: [{path: /a, content: '=', encoding: b64}]", "write_files[0].content: not base64"),
        ("write_files: [{path: /a, permissions: 0644}]", "write_files[0].permissions: a number in base 8"),
        ("hostname: a\nhostname: b", "not YAML: a duplicate key, hostname (line 3, column 1)"),
        ("users: [{name: ann, sudo: true}]", "users[0].sudo: true says nothing"),
        ("users: {bob: [a]}", "users.bob: expected an object, true or false"),
        ("users: 7", "users: expected a list of users"),
        // Right to newer ones.
        ("locale: false", "locale: false is said to the guest's own cloud-init"),
        ("locale: true", "locale: expected a text, or false"),
        ("groups: {a/b: [root]}", "groups a/b: not a name"),
        ("hostname: a\n---\nhostname: b", "a second one begins (---) (line 4, column 1)"),
        ("users: &a [*a]", "an alias (*…) inside of the value that it stands for (line 2, column 12)"),
        ("hostname: *hunter", "an alias (*…) without its anchor (&…) before it (line 2, column 11)"),
        ("hostname: !!binary YWJj", "line 2: it has a tag"),
        ("hostname: !!binary /w==", "not YAML: !!binary with bytes that are no text in UTF-8 (line 2, column 20)"),
        ("hostname: !!binary '='", "!!binary without base64 behind it (line 2, column 20)"),
        ("hostname: !!int hunter2", "a tag (!…) that its value does not fit (line 2, column 17)"),
        ("hostname: !include hunter2", "line 2: it has a tag"),
        ("? [a]\n: b", "a key that is no text (line 2, column 3)"),
        ("- a", "expected an object"),
    ];
    let documents: Vec<String> = right.iter().map(|(document, _)| format!("#cloud-config\n{document}\n")).collect();
    if let Some(theirs) = by_cloud_init(&documents) {
        for (document, theirs) in documents.iter().zip(theirs) {
            assert_eq!(theirs["problem"], Value::Null, "{document}");
        }
    }
    let mut failed = Vec::new();
    let headless = [("hostname: web", "its first line is not #cloud-config"), ("#!/bin/sh", "no cloud-config")];
    let all = right.iter().chain(&wrong).map(|(document, said)| (format!("#cloud-config\n{document}\n"), said));
    for (document, said) in all.chain(headless.iter().map(|(document, said)| ((*document).to_owned(), said))) {
        let config = scratch.file("user-data", &document);
        let output =
            imgraft().args(["inject", text(&disk), "--cloud-config", text(&config)]).output().expect("it starts");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_right = output.status.code() == Some(2) && shown.contains(*said) && shown.contains("user-data: ");
        if !is_right || shown.contains("hunter2") || !shown.contains("hint: ") {
            failed.push(format!("{document}: {said}: {shown}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    oracle::succeed("cmp", &[text(&disk), text(&guest.path)]);
}
