//! A Raspberry-Pi-like image whose root cannot be written to: the items go onto its FAT boot partition, as a seed for cloud-init.

use crate::fat::{self, SIZE, START};
use crate::support::{HASH, KEY, Scratch, drive, expect, oracle, run, text, tree};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The same disk as that of the tests of FAT, and a root on squashfs behind its boot partition.
fn image(scratch: &Scratch) -> Option<PathBuf> {
    let disk = fat::image(scratch)?;
    if !tree::have(&["mksquashfs"]) {
        return None;
    }
    let etc = scratch.path().join("root/etc");
    std::fs::create_dir_all(&etc).expect("a directory");
    std::fs::write(etc.join("os-release"), "ID=raspbian\n").expect("there is room");
    let root = scratch.path().join("root.squashfs");
    tree::run(Command::new("mksquashfs").arg(scratch.path().join("root")).arg(&root).args(["-quiet", "-no-progress"]));
    let after = START + SIZE / 512;
    let lines = format!("label: dos\nstart={START}, size={}, type=c\nstart={after}, type=83\n", SIZE / 512);
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.env("PATH", tree::path_with_sbin()).args(["-q", "--no-reread"]).arg(&disk);
    let table = scratch.file("table", lines);
    tree::run(sfdisk.stdin(std::fs::File::open(table).expect("it was made")));
    let (mut bytes, root) = (std::fs::read(&disk).expect("a disk"), std::fs::read(&root).expect("a filesystem"));
    bytes[(after * 512) as usize..][..root.len()].copy_from_slice(&root);
    std::fs::write(&disk, bytes).expect("there is room");
    Some(disk)
}

/// What is on the volume by mtools, as the files of a directory; no complaint from fsck.vfat.
fn unpacked(scratch: &Scratch, disk: &Path, name: &str) -> PathBuf {
    let boot = fat::partition(scratch, disk);
    let directory = scratch.path().join(name);
    std::fs::create_dir(&directory).expect("a directory");
    for file in ["user-data", "meta-data", "network-config"] {
        let path = directory.join(file);
        std::fs::write(path, fat::mtools("mtype", &boot, &[&format!("::{file}")])).expect("there is room");
    }
    directory
}

/// What cloud-init makes of the volume, `None` after a skip.
fn read_by_cloud_init(directory: &Path) -> Option<Value> {
    drive::read_by_cloud_init(&[(directory, "nocloud", json!({}))]).map(|mut results| results.remove(0))
}

#[test]
fn the_five_items_by_one_command() {
    let scratch = Scratch::new();
    let Some(disk) = image(&scratch) else { return };
    let key = scratch.file("key.pub", format!("{KEY}\n"));
    let secret = scratch.file("secret", "sesam öffne dich\n");
    let config = scratch.file("usercfg", "arm_64bit=1\n");
    let (pi, root) = (format!("pi:file:{}", text(&key)), format!("root:file:{}", text(&key)));
    let (password, upload) = (format!("pi:file:{}", text(&secret)), format!("{}:/usercfg.txt", text(&config)));
    let items = |role: &'static str| {
        ["inject", text(&disk), "--partition", "1", "--seed", "nocloud", "--ssh-inject", &pi, "--ssh-inject", &root]
            .into_iter()
            .chain(["--ip", "192.0.2.10/24", "--gateway", "192.0.2.1", "--dns", "192.0.2.53", "--nic", "eth0"])
            .chain(["--metadata", role, "--hostname", "web", "--timezone", "Europe/Berlin", "--password", &password])
            .chain(["--root-password", root_password(), "--upload", &upload, "--firstboot-command", "touch /ran"])
            .collect::<Vec<&str>>()
    };
    let words = items("role=pi");
    assert_eq!(run(&["inject", text(&disk), "--ssh-inject", &pi]).status.code(), Some(3), "its root is not to be had");

    let before = oracle::sha256(&disk);
    let dry = expect(0, &[&words[..], &["-n"]].concat());
    assert!(dry.contains("+    - name: \"pi\"") && dry.contains("password: <new secret>"), "{dry}");
    assert!(!dry.contains("$6$") && !dry.contains("sesam"), "no hash: {dry}");
    assert_eq!(oracle::sha256(&disk), before);
    let said = expect(0, &words);
    assert!(said.contains("a second reader agrees on 4 paths"), "{said}");
    let directory = unpacked(&scratch, &disk, "first");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).expect("a text");
    assert!(!read("user-data").contains("sesam"));
    assert_eq!(fat::mtools("mtype", &fat::partition(&scratch, &disk), &["::usercfg.txt"]), "arm_64bit=1\n");

    let after = oracle::sha256(&disk);
    let said = expect(0, &words);
    assert!(said.contains("unchanged: everything is in place already"), "{said}");
    assert_eq!(oracle::sha256(&disk), after, "the same again changes nothing");

    // Another seed does not get into the first one's place unasked, and is another instance.
    let other = items("role=other");
    let refused = run(&other);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("item seed: /meta-data is there already") && said.contains("--replace-seed"), "{said}");
    assert_eq!(oracle::sha256(&disk), after);
    let dry = expect(0, &[&other[..], &["--replace-seed", "-n"]].concat());
    assert!(dry.contains("-  role: \"pi\"") && dry.contains("+  role: \"other\"") && !dry.contains("$6$"), "{dry}");
    expect(0, &[&other[..], &["--replace-seed"]].concat());
    let second = unpacked(&scratch, &disk, "second");

    let (Some(first), Some(second)) = (read_by_cloud_init(&directory), read_by_cloud_init(&second)) else { return };
    assert_eq!((&first["found"], &first["hostname"]), (&json!(true), &json!("web")));
    assert!(first["instance_id"].as_str().is_some_and(|id| id.starts_with("imgraft-")), "{first}");
    assert_ne!(first["instance_id"], second["instance_id"]);
    assert_eq!(first["user_data"], json!(Base64::encode_string(read("user-data").as_bytes())));
    assert_eq!(second["user_data"], first["user_data"], "the salt of what fits stays");
    let cloud_config = &first["cloud_config"];
    assert_eq!(cloud_config["users"]["pi"]["ssh_authorized_keys"], json!([KEY]), "{cloud_config}");
    assert_eq!(cloud_config["users"]["pi"]["default"], json!(true), "it is the guest's own default user");
    assert_eq!(cloud_config["users"]["root"]["ssh_authorized_keys"], json!([KEY]));
    assert_eq!(cloud_config["hashes"]["root"], json!(HASH));
    let hash = cloud_config["hashes"]["pi"].as_str().expect("a hash");
    assert_eq!(imgraft::crypt::verify("sesam öffne dich".as_bytes(), hash.as_bytes()), Some(true));
    assert_eq!(cloud_config["config"]["timezone"], json!("Europe/Berlin"));
    assert_eq!(cloud_config["config"]["runcmd"], json!([["sh", "-c", "touch /ran"]]));
    let networkd = first["networkd"].to_string();
    for part in ["Name=eth0", "Address=192.0.2.10/24", "Gateway=192.0.2.1", "DNS=192.0.2.53"] {
        assert!(networkd.contains(part), "no {part} in {networkd}");
    }
}

/// The hash of root's password as a selector.
fn root_password() -> &'static str {
    static SELECTOR: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("hash:{HASH}"));
    &SELECTOR
}

#[test]
fn a_seed_of_others_stays_unless_it_is_to_go() {
    let scratch = Scratch::new();
    let Some(disk) = fat::image(&scratch) else { return };
    let on = |words: &[&'static str]| {
        [&["inject", text(&disk), "--partition", "1"], words]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let said = |words: &[&'static str], status: i32| {
        let words = on(words);
        let output = run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{said}");
        said
    };
    said(&["--write", "/USER-DATA:#cloud-config\nchpasswd: {list: [pi:geheim]}\n"], 0);
    let seed = ["--seed", "nocloud", "--hostname", "web"];
    let before = oracle::sha256(&disk);
    assert!(said(&seed, 3).contains("/user-data is there already, and is not what these options make"));
    // Nothing of it is shown, whichever option makes another one of it.
    let foreign = scratch.file("foreign", "#cloud-config\nchpasswd:\n  list: |\n    pi:geheim\n");
    let upload = format!("{}:/user-data", text(&foreign));
    for words in [
        ["--append-line", "/user-data:timezone: UTC"],
        ["--edit", "/user-data:s/cloud/Cloud/"],
        ["--write", "/user-data:#cloud-config\nchpasswd: {list: ['ann:geheim']}\n"],
        ["--write", "/vendor-data:#cloud-config\nchpasswd: {list: ['ann:geheim']}\n"],
        ["--upload", &upload],
    ] {
        let dry = expect(0, &[&["inject", text(&disk), "--partition", "1", "-n"], &words[..]].concat());
        assert!(dry.contains("+<new text: ") && !dry.contains("geheim"), "{words:?}: {dry}");
    }
    assert_eq!(oracle::sha256(&disk), before);
    let both =
        said(&["--seed", "nocloud", "--hostname", "web", "--write", "/meta-data:x", "--delete", "/user-data"], 3);
    assert!(both.contains("/meta-data is there already"), "what the same run puts there counts: {both}");
    let dry = said(&["--seed", "nocloud", "--hostname", "web", "--replace-seed", "-n"], 0);
    assert!(dry.contains("manage_etc_hosts: \"localhost\"") && !dry.contains("geheim"), "{dry}");
    said(&["--seed", "nocloud", "--hostname", "web", "--optional", "key"], 2);
    assert!(said(&["--seed", "nocloud", "--write", "/a:b"], 2).contains("nothing to be put into a seed"));
    assert_eq!(oracle::sha256(&disk), before);
    let partly = said(&["--seed", "nocloud", "--hostname", "web", "--write", "/a:b", "--optional", "seed"], 5);
    assert!(partly.contains("seed      FAILED (optional)"), "{partly}");
    assert_eq!(fat::mtools("mtype", &fat::partition(&scratch, &disk), &["::a"]), "b");

    said(&["--seed", "nocloud", "--hostname", "web", "--delete", "/user-data"], 0);
    let boot = fat::partition(&scratch, &disk);
    assert!(fat::mtools("mtype", &boot, &["::user-data"]).starts_with("#cloud-config\n# Made by imgraft.\n"));
    assert!(said(&seed, 0).contains("unchanged"));
}

#[test]
fn the_network_of_an_earlier_seed_goes_with_it() {
    let scratch = Scratch::new();
    let Some(disk) = fat::image(&scratch) else { return };
    let document =
        scratch.file("instance.json", json!({ "instance": { "uuid": "83679162", "hostname": "web" } }).to_string());
    let on = |words: &[&str]| [&["inject", text(&disk), "--partition", "1"], words].concat().join("\u{1}");
    let said = |status: i32, words: &[&str]| {
        let output = run(&on(words).split('\u{1}').collect::<Vec<_>>());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        said
    };
    let files = || fat::mtools("mdir", &fat::partition(&scratch, &disk), &["-b", "::"]);
    let network = ["--ip", "192.0.2.10/24", "--nic", "eth0"];
    let ours = ["--seed", "nocloud", "--instance", text(&document), "--hostname", "web"];
    let other = ["--seed", "nocloud", "--hostname", "other"];

    // With the rest unchanged it is the same instance: nothing changes, and nothing is passed over.
    said(0, &[&ours[..], &network].concat());
    let before = oracle::sha256(&disk);
    let same = said(0, &ours);
    assert!(same.contains("unchanged") && same.contains("/network-config is there"), "{same}");

    assert!(said(3, &other).contains("/meta-data is there already"));
    let refused = said(3, &[&other[..], &["--delete", "/meta-data"]].concat());
    assert!(refused.contains("item seed: /network-config of an earlier seed is there"), "{refused}");
    assert!(refused.contains("--replace-seed removes it"), "{refused}");
    assert_eq!(oracle::sha256(&disk), before);
    let dry = said(0, &[&other[..], &["--replace-seed", "-n"]].concat());
    assert!(dry.contains("removed file /network-config"), "{dry}");
    said(0, &[&other[..], &["--replace-seed"]].concat());
    assert!(!files().contains("network-config"), "{}", files());
    assert!(said(0, &other).contains("unchanged"));

    // What somebody else made stays, and is named; so does what the same run puts there, whoever made it.
    let foreign = ["--write", "/network-config:version: 2\n", "--write", "/vendor-data:#cloud-config\ntimezone: UTC\n"];
    said(0, &foreign);
    let mixed = said(0, &["--seed", "nocloud", "--hostname", "third", "--replace-seed"]);
    for name in ["/network-config is there", "/vendor-data is there"] {
        assert!(mixed.contains(name) && mixed.contains("cloud-init reads it too"), "no {name}: {mixed}");
    }
    assert!(files().contains("network-config") && files().contains("vendor-data"), "{}", files());
    let edited = ["--write", "/Network-Config:# Made by imgraft.\nversion: 2\nwifis: {}\n", "--replace-seed"];
    for _ in 0..2 {
        said(0, &[&other[..], &edited].concat());
        let boot = fat::partition(&scratch, &disk);
        assert!(fat::mtools("mtype", &boot, &["::network-config"]).contains("wifis"));
    }
    assert!(!said(0, &[&other[..], &network, &["--replace-seed"]].concat()).contains("/network-config is there"));
}
