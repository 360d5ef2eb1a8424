//! Manifests: the same as the options, to the byte; and what is no manifest.

use crate::support::image::Image;
use crate::support::rooted::{Rooted, assert_same};
use crate::support::{HASH, KEY, Scratch, expect, image, imgraft, inject, oracle, root, run, text};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// The manifest that README shows.
pub fn example() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README is text");
    let (_, rest) = readme.split_once("```yaml\n# plan.yaml\n").expect("README has the example");
    rest.split_once("```").expect("it ends").0.to_owned()
}

/// A disk with a guest of the manifest of images; `None` where the test is skipped.
fn disk(scratch: &Scratch, name: &str) -> Option<(std::path::PathBuf, Image)> {
    let guest = image::named("real", "bookworm-gpt")?;
    let disk = scratch.copy(&guest.path, name);
    let sudo =
        ["--write=/etc/sudoers:@includedir /etc/sudoers.d\n", "--write=/usr/bin/sudo:", "--mkdir=/etc/sudoers.d"];
    inject(&disk, &sudo);
    Some((disk, guest))
}

pub const MANIFEST: &str = r#"
groups:
  - name: dev
    gid: 4000
  - {name: daemons, system: true}
users:
  - name: root
    password: hash:$6$saltsalt$u3xff2xCciHcRjzEt4obayPOLwwIpESVvrJLn9VCG6oY93h9mvv2qWPp7RJ.WDEyKnX7/wBdIpeFTaImaToUY1
    ssh_keys: ["file:keys/root.pub"]
  - name: ann
    uid: 4001
    group: dev
    groups: [adm, sudo]
    shell: /bin/sh
    home: /srv/ann
    comment: ${name} of ${place}
    password: locked:hash-is-not-locked
    ssh_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBDlupvmsDyDQUo90KjWHvxl6pLl7jje9Rk4mVE9qlbt ann@${place}
    sudo: nopasswd
    expire: 2031-02-03
  - {name: robot, system: true, sudo: password}
  - {name: bob, create_home: false}
  - {name: games, existing: true, groups: [dev]}
network:
  ip: [192.0.2.10/24, "2001:db8::5/64"]
  gateway: [192.0.2.1]
  dns: [192.0.2.53]
  nic: eth7
hostname: ${name}.example.org
timezone: Europe/Berlin
machine_id: uninitialized
metadata:
  role: web
  "a b": "1"
files:
  - upload: {from: site/motd, to: /etc/motd}
  - upload: {from: site/motd, to: /srv/site/, mode: "0600", owner: ann, group: dev}
  - copy_in: {from: site, to: /srv}
  - tar_in: {from: site.tar, to: /srv/site}
  - write:
      path: /etc/${name}.conf
      content: |
        a: $${b}
        c
      mode: "0640"
      group: adm
  - write: {path: /srv/bytes, content_base64: "AAECAw=="}
  - append_line: {path: /etc/hosts, line: "192.0.2.9 db"}
  - edit: {path: /etc/hosts, expression: "s/db$/db db.example.org/"}
  - mkdir: /srv/a/b
  - copy: {from: /etc/hosts, to: /srv/a/hosts.orig}
  - move: {from: /etc/issue.net, to: /srv/a/}
  - link: {target: ../b, path: /srv/a/c}
  - touch: /srv/a/touched
  - delete: /etc/cron.daily/*
  - truncate: /etc/issue
  - truncate_recursive: /etc/apt
  - chown: {path: /srv/a, owner: ann}
  - chmod: {path: /srv/a/b, mode: "2770"}
units:
  mask: [apt-daily.timer]
  disable: [fstrim.timer]
firstboot:
  - script: set-up.sh
  - command: echo ${name}
  - install: [nginx, curl]
"#;

/// The same in options, beside the manifest's directory.
fn options(place: &Path) -> Vec<String> {
    let at = |path: &str| text(&place.join(path)).to_owned();
    let mut words = Vec::new();
    for word in [
        "--add-group=dev:gid=4000",
        "--add-group=daemons:system",
        "--add-user=ann:uid=4001,gid=dev,groups=adm+sudo,shell=/bin/sh,home=/srv/ann,comment=web of Berlin",
        "--add-user=robot:system",
        "--add-user=bob:no-home",
        "--add-to-group=games:dev",
        "--sudo=ann:nopasswd",
        "--sudo=robot",
        "--expire=ann:2031-02-03",
        "--ip=192.0.2.10/24",
        "--ip=2001:db8::5/64",
        "--gateway=192.0.2.1",
        "--dns=192.0.2.53",
        "--nic=eth7",
        "--hostname=web.example.org",
        "--timezone=Europe/Berlin",
        "--machine-id=uninitialized",
        "--metadata=a b=1",
        "--metadata=role=web",
        "--mask-unit=apt-daily.timer",
        "--disable-unit=fstrim.timer",
        "--firstboot-command=echo web",
        "--firstboot-install=nginx,curl",
    ] {
        words.push(word.to_owned());
    }
    let script = words.len() - 2;
    words.insert(script, format!("--firstboot={}", at("set-up.sh")));
    words.push(format!("--root-password=hash:{HASH}"));
    words.push(format!("--ssh-inject=root:file:{}", at("keys/root.pub")));
    words.push(format!("--ssh-inject=ann:string:{} ann@Berlin", KEY.rsplit_once(' ').expect("a comment").0));
    words.push(format!("--upload={}:/etc/motd", at("site/motd")));
    words.push(format!("--upload={}:/srv/site/", at("site/motd")));
    words.push("--chown=ann:dev:/srv/site/motd".into());
    words.push("--chmod=0600:/srv/site/motd".into());
    words.push(format!("--copy-in={}:/srv", at("site")));
    words.push(format!("--tar-in={}:/srv/site", at("site.tar")));
    for word in [
        "--write=/etc/web.conf:a: ${b}\nc\n",
        "--chown=:adm:/etc/web.conf",
        "--chmod=0640:/etc/web.conf",
        "--write=/srv/bytes:\u{0}\u{1}\u{2}\u{3}",
        "--append-line=/etc/hosts:192.0.2.9 db",
        "--edit=/etc/hosts:s/db$/db db.example.org/",
        "--mkdir=/srv/a/b",
        "--copy=/etc/hosts:/srv/a/hosts.orig",
        "--move=/etc/issue.net:/srv/a/",
        "--link=../b:/srv/a/c",
        "--touch=/srv/a/touched",
        "--delete=/etc/cron.daily/*",
        "--truncate=/etc/issue",
        "--truncate-recursive=/etc/apt",
        "--chown=ann::/srv/a",
        "--chmod=02770:/srv/a/b",
    ] {
        words.push(
            word.replace("--write=/srv/bytes:\u{0}\u{1}\u{2}\u{3}", &format!("--upload={}:/srv/bytes", at("bytes"))),
        );
    }
    words
}

/// What the manifest names.
fn beside(scratch: &Scratch) -> std::path::PathBuf {
    let place = scratch.path().join("plans");
    for directory in ["keys", "site/sub"] {
        std::fs::create_dir_all(place.join(directory)).expect("it can be made");
    }
    for (name, content) in [
        ("keys/root.pub", format!("{KEY}\n")),
        ("site/motd", "hello\n".into()),
        ("site/sub/page", "page\n".into()),
        ("set-up.sh", "#!/bin/sh\ntrue\n".into()),
        ("bytes", "\u{0}\u{1}\u{2}\u{3}".into()),
    ] {
        std::fs::write(place.join(name), content).expect("it can be written");
    }
    oracle::succeed("tar", &["-C", text(&place), "-cf", text(&place.join("site.tar")), "site/sub"]);
    place
}

#[test]
fn a_manifest_is_its_options_to_the_byte() {
    let scratch = Scratch::new();
    let Some((one, guest)) = disk(&scratch, "one.raw") else { return };
    let twin = scratch.copy(&one, "twin.raw");
    let place = beside(&scratch);
    let plan = place.join("plan.yaml");
    // A lock and a hash of its own have no spelling together.
    std::fs::write(&plan, MANIFEST.replace("    password: locked:hash-is-not-locked\n", ""))
        .expect("it can be written");
    let words = ["-f", text(&plan), "--set", "name=web", "--set", "place=Berlin"];
    let options = options(&place);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();

    let mut dry =
        (inject(&one, &[&words[..], &["--dry-run"]].concat()), inject(&twin, &[&options[..], &["--dry-run"]].concat()));
    for report in [&mut dry.0, &mut dry.1] {
        report.as_object_mut().expect("an object").retain(|key, _| key != "image");
    }
    assert_eq!(dry.0["items"], dry.1["items"]);
    let report = inject(&one, &words);
    inject(&twin, &options);
    assert_eq!(report["changed"], true);
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    oracle::succeed("cmp", &[text(&one), text(&twin)]);
    oracle::e2fsck(&one, image::open(&one, guest.partition).offset);
    let shown = |path: &str| expect(0, &["cat", text(&one), path]);
    assert_eq!(shown("/etc/web.conf"), "a: ${b}\nc\n");
    assert!(shown("/etc/passwd").contains("\nann:x:4001:4000:web of Berlin:/srv/ann:/bin/sh\n"));

    // What adds a line adds it each time; without that a rerun changes nothing.
    let without: String = MANIFEST
        .lines()
        .filter(|line| {
            !line.contains("append_line")
                && !line.contains("move:")
                && !line.contains("edit:")
                && !line.contains("hash-is-not")
        })
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&plan, without).expect("it can be written");
    let again = inject(&one, &words);
    assert_eq!(again["changed"], false, "{again}");
    oracle::succeed("cmp", &[text(&one), text(&twin)]);
}

#[test]
fn readmes_example_works() {
    let scratch = Scratch::new();
    let Some((disk, guest)) = disk(&scratch, "disk.raw") else { return };
    for (name, content) in
        [("ann.pub", KEY), ("ann.password", "correct horse\n"), ("nginx.conf", "x\n"), ("set-up.sh", "#!/bin/sh\n")]
    {
        scratch.file(name, content);
    }
    // Its network asks for an address, which ifupdown leaves to a program that this guest lacks.
    inject(&disk, &["--write", "/sbin/dhclient:#!/bin/sh\n", "--chmod", "0755:/sbin/dhclient"]);
    let plan = scratch.file("plan.yaml", example());
    let report = inject(&disk, &["--manifest", text(&plan), "--set", "site=web1"]);
    assert_eq!(report["changed"], true, "{report}");
    oracle::e2fsck(&disk, image::open(&disk, guest.partition).offset);
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/hostname"]), "web1.example.org\n");
    assert!(expect(0, &["cat", text(&disk), "/etc/sudoers.d/90-imgraft-ann"]).contains("ann "));
}

#[test]
fn several_manifests_and_options() {
    let scratch = Scratch::new();
    let Some((disk, _)) = disk(&scratch, "disk.raw") else { return };
    let base =
        scratch.file("base.yaml", "timezone: Europe/Berlin\nfiles: [{write: {path: /etc/motd, content: base}}]\n");
    let more = scratch
        .file("more.json", r#"{"hostname": "web", "files": [{"write": {"path": "/etc/motd", "content": "${a}"}}]}"#);
    inject(&disk, &["-f", text(&base), "-f", text(&more), "--set=a=more", "--append-line=/etc/motd:typed"]);
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/motd"]), "more\ntyped\n");
    assert_eq!(expect(0, &["cat", text(&disk), "/etc/hostname"]), "web\n");
    for (words, said) in [
        (&["-f", text(&base), "-f", text(&base)][..], "the time zone is given twice"),
        (&["-f", text(&base), "--timezone=UTC"], "the time zone is given twice"),
        (&["-f", text(&base), "--set=b=1"], "--set b: no manifest has ${b} in it"),
        (&["-f", text(&more), "--set=a=1", "--set=a=2"], "--set a: it is given twice"),
        (&["-f", text(&more), "--set=1=a"], "--set: not NAME=VALUE"),
        (&["--set=a=1"], "--manifest <FILE>"),
        (&["-f", text(&base), "--compat=nova"], "cannot be used with"),
        (&["-f", "-", "--root-password=stdin"], "both read standard input"),
        (&["-f", "/no/such.yaml"], "/no/such.yaml: No such file"),
    ] {
        let output = imgraft().args(["inject", text(&disk)]).args(words).output().expect("the binary starts");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(shown.contains(said), "{words:?}: {shown}");
    }
    // From standard input, with paths from where we are.
    let mut command = imgraft();
    command.args(["inject", text(&disk), "--manifest", "-"]).current_dir(scratch.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the binary starts");
    let input = b"files: [{upload: {from: base.yaml, to: /srv/}}]";
    child.stdin.take().expect("a pipe").write_all(input).expect("it is read");
    assert!(child.wait().expect("it ends").success());
    assert!(expect(0, &["cat", text(&disk), "/srv/base.yaml"]).starts_with("timezone"));
}

#[test]
fn who_is_said_to_exist_has_to_be_there() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let plan = |text: &str| scratch.file("plan.yaml", text);
    let there = plan("users: [{name: games, existing: true}]\nhostname: web\n");
    expect(0, &["inject", text(&disk), "--dry-run", "-f", text(&there)]);
    let ghost = plan("users: [{name: ghost, existing: true}]\nhostname: web\n");
    let output = imgraft().args(["inject", text(&disk), "-f", text(&ghost)]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no user 'ghost' in the guest"), "{said}");
    oracle::succeed("cmp", &[text(&disk), text(&guest.path)]);
}

#[test]
fn a_document_of_another_kind_is_told() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let cloud = "#cloud-config\nfqdn: hunter2\n";
    let ignition = r#"{"ignition": {"version": "3.3.0"}}"#;
    let butane = "variant: fcos\nversion: 1.5.0\npasswd: {users: [{name: hunter2}]}\n";
    for (option, document, way) in [
        ("--manifest", cloud, "which --cloud-config takes"),
        ("--manifest", ignition, "which --ignition takes"),
        ("--manifest", butane, "butane --strict makes"),
        ("--cloud-config", ignition, "which --ignition takes"),
        ("--ignition", cloud, "which --cloud-config takes"),
        ("--ignition", butane, "butane --strict makes"),
        ("--manifest", "variant: hunter2\n", "imgraft schema says"),
        ("--ignition", "{}", "ignition-validate says"),
        ("--cloud-config", cloud, "prefer_fqdn_over_hostname"),
    ] {
        let file = scratch.file("document", document);
        let output = imgraft().args(["inject", text(&disk), option, text(&file)]).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let hints: Vec<&str> = said.lines().filter(|line| line.contains("hint: ")).collect();
        assert!(hints.len() == 1 && hints[0].contains(way) && !said.contains("hunter2"), "{option} {document}: {said}");
    }
    oracle::succeed("cmp", &[text(&disk), text(&guest.path)]);
}

#[test]
fn what_is_no_manifest() {
    let scratch = Scratch::new();
    let Some((disk, _)) = disk(&scratch, "disk.raw") else { return };
    let before = scratch.copy(&disk, "before.raw");
    scratch.file("no-script", "true\r\n");
    let deep = format!("metadata: {}{}", "[".repeat(200), "]".repeat(200));
    let deeper = format!("files: {}", "[".repeat(400_000));
    let level = |n: u8| {
        let (name, below) = (char::from(b'b' + n), char::from(b'a' + n));
        format!("{name}: &{name} [{}]\n", vec![format!("*{below}"); 9].join(","))
    };
    let bomb = format!("a: &a [x,x,x,x,x,x,x,x,x]\n{}", (0..9).map(level).collect::<String>());
    // A few values, and a text that would be in memory a hundred thousand times.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 100_000].join(","));
    let large = format!("hostname: a\n#{}", "x".repeat(1 << 20));
    let cases: &[(&[u8], &str)] = &[
        (b"hostnam: web", "plan.yaml: hostnam: unknown field"),
        (b"hostname: web\nhostname: hunter2", "duplicate"),
        (
            b"hostname: no",
            "plan.yaml: hostname: a truth value to some readers of YAML, and a text to others (line 1, column 11)",
        ),
        (b"hostname: 22:22", "hostname: a number in base 60"),
        (b"users: [{<<: {name: hunter2}}]", "users[0].<<: a merge key"),
        (b"users:\n- name: a\n  ud: 1\n", "plan.yaml: users[0].ud: unknown field `ud`, expected one of"),
        (b"users:\n- name: a\n  uid: -1\n", "(line 3, column 3)"),
        (b"hostname: 12", "hostname: invalid type: integer, expected a string"),
        (b"hostname: web_1", "hostname web_1: "),
        (b"- hostname", "expected an object"),
        (b"hunter2", "expected an object"),
        (b"users: [{}]", "users[0]: missing field `name`"),
        (b"users: [{name: ann, password: hunter2}]", "users[0].password: not a selector"),
        (b"users: [{name: ann, password: 'file:/no/such'}]", "users[0].password: cannot read /no/such"),
        (b"users: [{name: ann, password: stdin}]", "users[0].password: not from standard input"),
        (b"users: [{name: ann, password: 12}]", "in YAML, what looks like a number"),
        (b"users: [{name: ann, uid: -1}]", "users[0].uid: invalid value"),
        (b"users: [{name: ann, uid: 4294967295}]", "users[0] ann: '4294967295' is no number"),
        (b"users: [{name: ann, uid: '1'}]", "users[0].uid: invalid type: string"),
        (b"users: [{name: 'a:b'}]", "users[0] a:b: not a name"),
        (b"users: [{name: ann, shell: 'a'}]", "users[0] ann: 'a' is no absolute path"),
        (b"users: [{name: ann, comment: 'a:b'}]", "users[0] ann: a field of passwd"),
        (b"users: [{name: root, uid: 7}]", "users[0] root: the user is there and is not made"),
        (b"users: [{name: ann, sudo: yes}]", "users[0].sudo: "),
        (b"users: [{name: ann, expire: tomorrow}]", "users[0].expire tomorrow: no day"),
        (b"users: [{name: ann, ssh_keys: [hunter2]}]", "users[0].ssh_keys[0]: "),
        (b"users: [{name: ann, sudo: password}, {name: ann, sudo: password}]", "'ann' is named twice"),
        (b"network: {}", "network: not one of file, config, and ip"),
        (b"network: {dhcp: true, file: x}", "network: not one of"),
        (b"network: {gateway: [192.0.2.1], dns: [192.0.2.1]}", "network: a gateway goes with an ip"),
        (b"network: {ip: [192.0.2.1]}", "network: ip 192.0.2.1: not ADDRESS/PREFIX"),
        (b"network: {ip: [192.0.2.1]}", "hint: ip 192.0.2.10/24, say"),
        (
            b"network: {nic: eth0}",
            "plan.yaml: network: no address (line 1, column 1)\nhint: ip has one, or dhcp: true asks",
        ),
        (b"network: {dhcp: true, nic: a/b}", "plan.yaml: network: nic \"a/b\": neither a name of a device"),
        (b"hostname: a\nmetadata:\n  '': x\n", "plan.yaml: metadata: a key is empty (line 3, column 3)"),
        (b"network: {config: {a: 1}}", "network: config: neither netplan"),
        (b"network: {config: {version: 2, ethernets: 3}}", "network: config: network-config version 2: "),
        (b"network: {dhcp: true, renderer: magic}", "network.renderer: unknown variant"),
        (b"files: [{write: {path: /a, content: hunter2, mode: 0644}}]", "files[0].write.mode: a number in base 8"),
        (b"files: [{write: {path: /a, content: hunter2, mode: 644}}]", "mode: invalid type: integer"),
        (b"files: [{write: {path: /a, content: hunter2, mode: '0888'}}]", "not permission bits"),
        (b"files: [{write: {path: a, content: hunter2}}]", "files[0].write: "),
        (b"files: [{write: {path: /a}}]", "files[0].write: not one of content and content_base64"),
        (b"files: [{write: {path: /a, content_base64: '='}}]", "content_base64: not base64"),
        (b"files: [{mkdir: /a, touch: /b}]", "files[0]: "),
        (b"files: [{move: {from: /a, to: b}}]", "files[0].move: "),
        (b"files: [{explode: /a}]", "files[0]: unknown variant `explode`"),
        (b"files: [{upload: {from: no-such, to: /a}}]", "files[0].upload: "),
        (b"files: [{append_line: {path: /a, line: \"x\\nhunter2\"}}]", "files[0].append_line /a: more than one line"),
        (b"files: [{edit: {path: /a, expression: y/a/hunter2/}}]", "files[0].edit /a: "),
        (b"files: [{chown: {path: /a}}]", "files[0].chown: neither owner nor group"),
        (b"files: [{delete: '/[z-a]hunter2'}]", "files[0].delete: "),
        (b"units: {enable: [a.service], mask: [a.service]}", "units.mask a.service: something was said"),
        (b"units: {enable: [../x]}", "units.enable ../x: no name of a unit"),
        (b"locale: 'a b'", "locale a b: no such name"),
        (b"machine_id: x", "machine_id x: neither empty"),
        (b"timezone: '../x'", "timezone ../x: no name"),
        (b"metadata: {a: 1}", "metadata.a: invalid type"),
        (b"firstboot: [{script: no-script}]", "firstboot[0].script: "),
        (b"firstboot: [{command: ' '}]", "firstboot[0].command: it is empty"),
        (b"hostname: ${a}", "hostname: the variable a has no value"),
        (b"hostname: '${'", "hostname: ${ begins a variable"),
        (b"hostname: !include hunter2", "it has a tag"),
        (b"a: &x {hostname: b}\n<<: *x", "plan.yaml: <<: a merge key (<<) is not followed (line 2"),
        (b"hostname: a\n---\nhostname: hunter2", "not YAML"),
        (b"metadata:\n\ta: hunter2", "not YAML"),
        (b"hostname: \"\\xff\xff\"", "not a text in UTF-8"),
        (b"hostname: a\0b", "plan.yaml: "),
        (deep.as_bytes(), "deeper than 128"),
        (deeper.as_bytes(), "plan.yaml: "),
        (bomb.as_bytes(), "more than 250000 values"),
        (long.as_bytes(), "more than 250000 values"),
        (large.as_bytes(), "larger than 1 MiB"),
        (b"", "nothing to inject"),
        (b"users: [{name: root}]", "nothing to inject"),
    ];
    let mut wrong = Vec::new();
    for (content, said) in cases {
        let plan = scratch.file("plan.yaml", content);
        let output = imgraft().args(["inject", text(&disk), "-f", text(&plan)]).output().expect("the binary starts");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        let named = String::from_utf8_lossy(&content[..content.len().min(80)]).into_owned();
        let is_right = output.status.code() == Some(2)
            && shown.contains(said)
            && !shown.contains("hunter2")
            && output.stdout.is_empty();
        if !is_right {
            wrong.push(format!("{named}: {said}: {shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    oracle::succeed("cmp", &[text(&disk), text(&before)]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let said = |name: &str, document: &str| {
        let plan = scratch.file(name, document);
        let output = imgraft().args(["inject", text(&disk), "-f", text(&plan)]).output().expect("it starts");
        assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]));
        let shown = String::from_utf8_lossy(&output.stderr).replace(&format!("imgraft: {}: ", text(&plan)), "");
        assert!(!shown.contains("hunter2"), "{shown}");
        shown
    };
    let faults = |name: &str, document: &str| {
        let shown = said(name, document);
        let lines = shown.lines().filter(|line| !line.starts_with("hint: "));
        // The place, and the line.
        let short = lines.map(|line| {
            let place = line.split([':', ' ']).next().unwrap_or_default().to_owned();
            let line = line.rsplit_once("(line ").and_then(|(_, at)| at.split(',').next()).unwrap_or("-").to_owned();
            format!("{place} {line}")
        });
        short.collect::<Vec<_>>()
    };
    // What is wrong with the document.
    let document = "hostname: no\nhostnam: hunter2\nusers:\n- name: 12\n  uid: -1\n- {}\n- {name: '${nobody}', ud: 1}\n\
                    files:\n- chmod: {path: /a, mode: 0644}\n- explode: hunter2\ntimezone: 7\n";
    let expected = [
        "hostname 1",
        "hostnam 2",
        "users[0].name 4",
        "users[0].uid 5",
        "users[1] 6",
        "users[2].name 7",
        "users[2].ud 7",
        "files[0].chmod.mode 9",
        "files[1] 10",
        "timezone 11",
    ];
    assert_eq!(faults("plan.yaml", document), expected);
    // What is wrong with what it asks for.
    let document = "hostname: web_1\ntimezone: ../x\nlocale: a b\nkeymap: a b\nmachine_id: x\nunits:\n  enable: [a.service]\n  \
                    mask: [a.service]\ngroups:\n- name: a:b\nusers:\n- name: a:b\n- name: ann\n  password: hunter2\n  expire: x\n  \
                    ssh_keys:\n  - hunter2\n  - hunter2\nnetwork: {dhcp: true, gateway: [192.0.2.1]}\nfiles:\n- mkdir: /a\n- touch: b\n\
                    firstboot:\n- command: ' '\n";
    let expected = [
        "hostname 1",
        "timezone 2",
        "locale 3",
        "keymap 4",
        "machine_id 5",
        "units.mask 8",
        "groups[0] 10",
        "users[0] 12",
        "users[1].password 14",
        "users[1].expire 15",
        "users[1].ssh_keys[0] 17",
        "users[1].ssh_keys[1] 18",
        "network 19",
        "files[1].touch 22",
        "firstboot[0].command 24",
    ];
    let mut told = faults("plan.yaml", document);
    told.sort_by_key(|told| told.rsplit_once(' ').and_then(|(_, line)| line.parse::<u32>().ok()));
    assert_eq!(told, expected);
    // Both at once, but for what may follow from the other: not in the same member.
    let document = "hostname: web_1\nusers:\n- name: a:b\n- {name: ann, ud: 1}\n- name: c:d\nfiles:\n- touch: b\n- write:\n    path: /a\n    \
                    content: x\n    mode: '0644'\n- write:\n    content: x\n    path: b\n- upload:\n    to: /a\n    from: none\nunknown: 1\nlocale: a b\n";
    let expected = [
        "users[1].ud 4",
        "unknown 18",
        "hostname 1",
        "locale 19",
        "files[0].touch 7",
        "files[2].write 14",
        "files[3].upload 17",
    ];
    assert_eq!(faults("plan.yaml", document), expected);
    // JSON has places too, and what is more than is told is told to be.
    assert_eq!(faults("plan.json", "{\"hostname\": \"web\",\n\"uuid\": 1,\n\"locale\": 2}"), ["uuid 2", "locale 3"]);
    let many = |count: usize, fault: &str| (0..count).map(|_| format!("- {fault}\n")).collect::<String>();
    for (fault, more) in [
        ("explode: hunter2", "and more is wrong"),
        ("chmod: {path: /a, mode: 0644}", "and more is wrong"),
        ("mkdir: a", "and 1 more"),
    ] {
        let shown = said("plan.yaml", &format!("files:\n{}", many(50, fault)));
        assert!(shown.contains("files[49]") && shown.contains("(line 51, "), "{shown}");
        assert!(!shown.lines().any(|line| line.starts_with("and ")), "{shown}");
        let shown = said("plan.yaml", &format!("files:\n{}", many(51, fault)));
        assert!(!shown.contains("files[50]") && shown.lines().any(|line| line.starts_with(more)), "{shown}");
    }
    oracle::succeed("cmp", &[text(&disk), text(&guest.path)]);
}

/// Beside a run of sysprep and one of inject on a twin.
#[test]
fn a_template_is_cleaned_before_all_else() {
    let scratch = Scratch::new();
    let Some(guest) = Rooted::new(&scratch, &["e2fsck", "find"]) else { return };
    let twin = guest.twin(&scratch, "twin.raw");
    let plan = scratch.file(
        "plan.yaml",
        "sysprep: [defaults, -ssh-hostkeys]\npassword_crypto: sha256\nhostname: clone\nmachine_id: uninitialized\n\
         users: [{name: root, password: 'password:secret'}]\nfiles: [{write: {path: /var/log/new, content: new}}, {write: {path: /etc/resolv.conf, content: mine}}]\n",
    );
    let report = guest.inject(&["-f", text(&plan)]);
    let names: Vec<_> = report["items"].as_array().expect("a list").iter().map(|item| item["item"].clone()).collect();
    assert_eq!(names.first().expect("one"), "abrt-data");
    assert_eq!(names[names.len() - 4..], ["hostname", "machine-id", "files", "password"]);
    assert!(!names.contains(&"ssh-hostkeys".into()), "{names:?}");
    expect(0, &["sysprep", text(&twin.disk), "--operations", "defaults,-ssh-hostkeys"]);
    let words = ["--hostname", "clone", "--machine-id", "uninitialized", "--root-password", "password:secret"];
    twin.inject(
        &[
            &words[..],
            &["--password-crypto", "sha256", "--write", "/var/log/new:new", "--write", "/etc/resolv.conf:mine"],
        ]
        .concat(),
    );
    let listing = "cd $1; find . -type d -printf '%p %m %U %G\\n' -o -printf '%p %m %U %G %s %l\\n' | sort";
    assert_same(&guest.list(listing), &twin.list(listing));
    let shadow = guest.list("cat $1/etc/shadow");
    assert!(shadow.contains("\nroot:$5$"), "{shadow}");
    assert_eq!(guest.list("cat $1/etc/machine-id $1/etc/hostname"), "uninitialized\nclone\n");
    for (value, told) in [
        ("sysprep: [defaults, none-such]", "no operation is called 'none-such'"),
        ("sysprep: [defaults, -defaults]", "none is left"),
        ("sysprep: [customize]", "customize: this operation cannot be done"),
        ("password_crypto: md5", "md5"),
    ] {
        let plan = scratch.file("wrong.yaml", format!("hostname: x\n{value}\n"));
        let output = run(&["inject", text(&guest.disk), "-f", text(&plan)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told) && said.contains("line 2"), "{said}");
    }
}
