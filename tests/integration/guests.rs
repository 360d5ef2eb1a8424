//! Phony guests of eleven distributions: what is found in each, and what each is given for the same items.

use crate::network::{golden, goldens};
use crate::support::{HASH, KEY, Scratch, imgraft, oracle, root, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The time of the runs: the day in shadow(5) comes from it.
const NOW: &str = "1700000000";

/// The trees of `testdata/guests`, by name.
pub fn trees() -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(root().join("testdata/guests")).expect("testdata is there");
    let files = entries.map(|entry| entry.expect("it can be read").path());
    let trees = files.filter(|path| path.extension().is_some_and(|extension| extension == "tree"));
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    trees.map(|path| (name(&path), std::fs::read_to_string(&path).expect("text"))).collect()
}

/// Makes the tree that a text describes: `d MODE PATH`, `f MODE PATH` with its lines after `|`, `l PATH TARGET`, `x PATH` for a program.
fn plant(tree: &str, top: &Path) {
    let at = |path: &str| {
        let path = top.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        path
    };
    let set = |path: &Path, mode: &str| {
        let mode = u32::from_str_radix(mode, 8).expect("a mode");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let mut lines = tree.lines().peekable();
    while let Some(line) = lines.next() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["#", ..] => {}
            ["d", mode, path] => {
                std::fs::create_dir_all(at(path)).expect("it can be made");
                set(&at(path), mode);
            }
            ["f", mode, path] => {
                let mut content = String::new();
                while let Some(rest) = lines.next_if(|line| line.starts_with('|')) {
                    let rest = rest.trim_start_matches('|');
                    let _ = writeln!(content, "{}", rest.strip_prefix(' ').unwrap_or(rest));
                }
                std::fs::write(at(path), content).expect("it can be written");
                set(&at(path), mode);
            }
            ["l", path, target] => symlink(target, at(path)).expect("nothing is there"),
            ["x", path] => {
                std::fs::write(at(path), "#!/bin/sh\n").expect("it can be written");
                set(&at(path), "0755");
            }
            _ => panic!("no line of a tree: {line}"),
        }
    }
}

/// An image with a guest on an ext4 of the whole disk.
pub fn image(scratch: &Scratch, tree: &str) -> PathBuf {
    let top = scratch.path().join("tree");
    std::fs::create_dir(&top).expect("it can be made");
    plant(tree, &top);
    let image = scratch.file("disk.raw", "");
    oracle::succeed("truncate", &["-s", "16M", text(&image)]);
    let root = ["-L", "root", "-E", "root_owner=0:0", "-d", text(&top)];
    oracle::succeed("mke2fs", &[&["-q", "-F", "-t", "ext4"][..], &root, &[text(&image)]].concat());
    image
}

/// Runs imgraft, which must succeed; gives its standard output.
fn done(words: &[&str]) -> String {
    let output = imgraft().env("SOURCE_DATE_EPOCH", NOW).args(words).output().expect("the binary starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "imgraft {}: {stderr}", words.join(" "));
    String::from_utf8(output.stdout).expect("the output is text")
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&done(words)).expect("JSON")
}

#[test]
fn each_distribution_gets_what_it_reads() {
    if !oracle::have("mke2fs") {
        return;
    }
    let trees = trees();
    assert_eq!(trees.len(), 11, "{:?}", trees.keys());
    for (name, tree) in trees {
        let scratch = Scratch::new();
        let disk = image(&scratch, &tree);
        let (key, hash) = (format!("root:string:{KEY}"), format!("hash:{HASH}"));
        let words = [
            "inject",
            text(&disk),
            "--add-user",
            "ann:comment=Ann",
            "--hostname",
            "web1.example.org",
            "--timezone",
            "Europe/Berlin",
            "--ssh-inject",
            &key,
            "--root-password",
            &hash,
            "--metadata",
            "role=web",
            "--ip",
            "192.0.2.10/24",
            "--gateway",
            "192.0.2.1",
            "--dns",
            "192.0.2.53",
            "--nic",
            "eth0",
            "--write",
            "/etc/motd:put here by imgraft\n",
            "--firstboot-command",
            "echo first",
        ];
        let facts = json(&["inspect", text(&disk), "--json"]);
        let guest = &facts["volumes"][0]["guest"];
        let golden = format!(
            "guest: {}\nlistens: {}\n\n{}",
            guest["name"].as_str().expect("a name"),
            guest["network_listener"],
            done(&[&words[..], &["-n"]].concat()).replace(text(&disk), "IMAGE")
        );
        let place = root().join(format!("testdata/guests/goldens/{name}.diff"));
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&place, &golden).expect("it can be written");
        }
        assert_eq!(golden, std::fs::read_to_string(&place).unwrap_or_default(), "{name}");

        assert_eq!(json(&[&words[..], &["--json"]].concat())["changed"], true, "{name}");
        oracle::e2fsck(&disk, 0);
        assert_eq!(json(&[&words[..], &["--json"]].concat())["changed"], false, "{name}: a second time");
        check_by_others(&name, &disk, &scratch);
    }
}

/// A description of a network, in wicked's files; then another one, of which nothing of the first is left.
#[test]
fn a_description_becomes_files_of_wicked() {
    if !oracle::have("mke2fs") {
        return;
    }
    let scratch = Scratch::new();
    let disk = image(&scratch, &trees()["opensuse-leap"]);
    let directory = "/etc/sysconfig/network";
    let cat = |path: &str| done(&["cat", text(&disk), path]);
    for (case, there, gone) in [
        (
            "static.v2.yaml",
            &["ifcfg-uplink", "ifroute-uplink", "ifcfg-second"][..],
            &["ifroute-br0", "ifcfg-bond0", "ifcfg-storage"][..],
        ),
        (
            "stacked.v2.yaml",
            &["ifcfg-eth0", "ifcfg-bond0", "ifcfg-bond0.10", "ifcfg-br0", "ifroute-br0", "ifcfg-storage"],
            &["ifcfg-uplink", "ifroute-uplink", "ifcfg-second"],
        ),
    ] {
        let file = root().join("testdata/network").join(case);
        let words = ["inject", text(&disk), "--network", text(&file), "--json"];
        assert_eq!(json(&words)["changed"], true, "{case}");
        oracle::e2fsck(&disk, 0);
        assert_eq!(json(&words)["changed"], false, "{case}: a second time");
        for name in there {
            let path = format!("{directory}/{name}");
            assert_eq!(cat(&path), golden(case, "wicked", &path), "{case}");
        }
        let listed = done(&["ls", text(&disk), directory]);
        assert!(gone.iter().all(|name| !listed.contains(name)), "{case}: {listed}");
        let config = cat(&format!("{directory}/config"));
        assert!(config.contains("NETCONFIG_DNS_STATIC_SERVERS=") && config.contains("192.0.2.53"), "{config}");
        assert!(config.starts_with("## Type:") && config.ends_with("NETCONFIG_DNS_RANKING=\"auto\"\n"), "{config}");
        let rules = done(&["ls", text(&disk), "/etc/udev/rules.d"]);
        assert_eq!(rules.contains("71-imgraft-net.rules"), case == "static.v2.yaml", "{rules}");
    }
}

/// Descriptions, in the ifcfg files of guests that have the `network` script started, and in cloud-init's own configuration: each file is
/// there as the oracles of the network compiler know it, and nothing of the description before.
#[test]
fn descriptions_become_files_of_ifcfg_and_of_cloud_init() {
    if !(oracle::have("mke2fs") && oracle::have("debugfs")) {
        return;
    }
    let trees = trees();
    let manager = "l /etc/systemd/system/multi-user.target.wants/NetworkManager.service";
    let rocky = trees["rocky-9"].lines().filter(|line| !line.starts_with(manager));
    let rocky: String = rocky.flat_map(|line| [line, "\n"]).collect();
    let script = format!("{rocky}x /etc/rc.d/init.d/network\nl /etc/rc.d/rc3.d/S10network ../init.d/network\n");
    let version = |version: &str| {
        let path = "/usr/lib/python3/dist-packages/cloudinit/version.py";
        format!("{}f 0644 {path}\n| __VERSION__ = \"{version}\"\n", trees["ubuntu-24.04"])
    };
    let chosen = ["--network-renderer", "cloud-init"];
    let shown = "for ifcfg, /etc/rc.d/rc3.d/S10network";
    for (tree, renderer, options, cases, shown) in [
        (&script, "ifcfg", &[][..], ["all_links.v1.yaml", "host.v2.yaml", "named.network_data.json"], shown),
        (
            &version("24.1.3"),
            "cloud-init",
            &chosen,
            ["plain.v1.yaml", "static.flags", "nova.network_info.json"],
            "cloud-init, /usr/bin/cloud-init shows it",
        ),
        (
            &version("22.4.2"),
            "cloud-init-22",
            &chosen,
            ["plain.v1.yaml", "known.v2.yaml", "nova.network_info.json"],
            "cloud-init, /usr/bin/cloud-init shows it",
        ),
    ] {
        let scratch = Scratch::new();
        let disk = image(&scratch, tree);
        let mut before: Vec<String> = Vec::new();
        for case in cases {
            let file = root().join("testdata/network").join(case);
            let flags = std::fs::read_to_string(&file).expect("it is there");
            let described = match case.ends_with(".flags") {
                true => flags.split_whitespace().collect(),
                false => vec!["--network", text(&file)],
            };
            let words = [&["inject", text(&disk), "--json"], options, &described].concat();
            let report = json(&words);
            assert!(report["items"][0]["notes"].to_string().contains(shown), "{case}: {report}");
            oracle::e2fsck(&disk, 0);
            assert_eq!(json(&words)["changed"], false, "{case}: a second time");
            let files = goldens(case, renderer);
            for file in &files {
                assert_eq!(done(&["cat", text(&disk), &file.path]), file.text, "{case} by {renderer}: {}", file.path);
                assert_eq!(oracle::owner(&disk, 0, &file.path), (file.mode.clone(), 0, 0), "{case}: {}", file.path);
            }
            for gone in before.iter().filter(|path| !files.iter().any(|file| file.path == **path)) {
                assert!(oracle::debugfs(&disk, 0, &format!("stat {gone}")).is_empty(), "{case}: {gone}");
            }
            before = files.into_iter().map(|file| file.path).collect();
        }
    }
}

/// What the guests' own programs say of the tree that came out.
fn check_by_others(name: &str, disk: &Path, scratch: &Scratch) {
    if !(oracle::have("debugfs") && oracle::have("pwck") && oracle::have("systemctl")) {
        return;
    }
    let out = scratch.path().join("out");
    std::fs::create_dir(&out).expect("it can be made");
    oracle::debugfs(disk, 0, &format!("rdump / {}", text(&out)));
    let file = |path: &str| out.join(path);
    let output = oracle::tool("pwck", &["-q", "-r", text(&file("etc/passwd")), text(&file("etc/shadow"))]);
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    if file("usr/lib/systemd/systemd").is_file() {
        let unit = "imgraft-firstboot.service";
        let state = || oracle::succeed("systemctl", &["--root", text(&out), "is-enabled", unit]).trim().to_owned();
        assert_eq!(state(), "enabled", "{name}");
        if std::fs::read_to_string(file("etc/machine-id")).expect("it is there") == "uninitialized\n" {
            // What the first boot does.
            oracle::succeed("systemctl", &["--root", text(&out), "preset-all"]);
            assert_eq!(state(), "enabled", "{name}: after the presets");
        }
    } else {
        assert!(file("etc/runlevels/default/imgraft-firstboot").is_symlink(), "{name}");
    }
}
