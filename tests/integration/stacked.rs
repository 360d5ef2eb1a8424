//! Guests whose root is on LVM2 or LUKS: edited, and read by what LVM2 itself says of where a volume lies, and by OpenSSL with the
//! key that cryptsetup gives.

use crate::main_job::content;
use crate::serve::Server;
use crate::support::image::{self, Image};
use crate::support::{FiveItems, Scratch, expect, oracle, root, run, text};
use serde_json::Value;
use std::path::Path;

/// The logical volumes of an image: its root, and another with a filesystem.
fn volumes_of(image: &Image) -> (&'static str, Option<&'static str>) {
    match &*image.name {
        "lvm-gpt" => ("debian-vg/root", Some("debian-vg/home-a")),
        "lvm-striped" => ("vg0/root", Some("vg0/data")),
        "lvm-whole" => ("vgw/root", None),
        other => panic!("{other} is not known here"),
    }
}

fn can_ask_lvm() -> bool {
    if !nix::unistd::geteuid().is_root() {
        oracle::skip("LVM2 works for root only");
        return false;
    }
    ["lvm", "losetup", "sfdisk", "cryptsetup", "e2fsck", "debugfs", "qemu-img"].iter().all(|tool| oracle::have(tool))
}

fn stacked(words: &[&str]) -> String {
    let script = root().join("testdata/images/stacked.py");
    oracle::succeed("/usr/bin/python3", &[&[text(&script)], words].concat())
}

/// A logical volume as LVM2 says where it lies.
fn gathered(scratch: &Scratch, raw: &Path, name: &str) -> std::path::PathBuf {
    let plain = scratch.path().join("gathered");
    stacked(&["lv", "get", text(raw), name, text(&plain)]);
    plain
}

#[test]
fn five_items_on_lvm() {
    if !can_ask_lvm() {
        return;
    }
    for image in image::all(&["stacked"]).iter().filter(|image| image.name.starts_with("lvm-")) {
        let (name, other) = volumes_of(image);
        let scratch = Scratch::new();
        let copy = scratch.copy(&image.path, "disk");
        let before = other.map(|other| oracle::sha256(&gathered(&scratch, &copy, other)));
        let items = FiveItems::new(&scratch);
        let report = expect(0, &items.on(&copy, &["--json"]));
        let report: Value = serde_json::from_str(&report).expect("the report is JSON");
        assert_eq!((&report["changed"], &report["volume"]["name"]), (&true.into(), &name.into()));
        assert_eq!(report["verified"]["verdict"], "agrees");

        let raw = oracle::raw(&scratch, &copy, &image.format);
        let plain = gathered(&scratch, &raw, name);
        oracle::e2fsck(&plain, 0);
        content(&plain, 0, items.network);
        if oracle::have("nbdcopy") {
            let served = scratch.path().join("served");
            let mapper = name.replace('-', "--").replace('/', "-");
            for spelled in [name.to_owned(), format!("/dev/{name}"), format!("/dev/mapper/{mapper}")] {
                let words = ["--nbd", "tcp:127.0.0.1:0", "--read-only", "--partition", &spelled];
                let server = Server::start(&copy, &words);
                oracle::succeed("nbdcopy", &[&server.uri, text(&served)]);
                assert_eq!(server.end(), (Some(0), String::new()));
                assert_eq!(oracle::sha256(&served), oracle::sha256(&plain), "{spelled}");
            }
        }
        if let (Some(other), Some(before)) = (other, before) {
            let plain = gathered(&scratch, &raw, other);
            assert_eq!(oracle::sha256(&plain), before, "{other} is not ours to change");
            oracle::e2fsck(&plain, 0);
        }
        let again = expect(0, &items.on(&copy, &["--json", "--partition", name]));
        assert_eq!(serde_json::from_str::<Value>(&again).expect("JSON")["changed"], false);
    }
}

#[test]
fn lvm_lists_what_inspect_lists() {
    if !can_ask_lvm() {
        return;
    }
    for image in image::all(&["stacked"]).iter().filter(|image| image.name.starts_with("lvm-")) {
        let scratch = Scratch::new();
        let raw = oracle::raw(&scratch, &image.path, &image.format);
        let fields = ["--units", "b", "--nosuffix", "--reportformat", "json", "-o"];
        let listed = |verb: &str, names: &str| {
            let report = stacked(&[&["lv", "run", text(&raw), verb], &fields[..], &[names]].concat());
            let report: Value = serde_json::from_str(&report).expect("JSON");
            report["report"][0][&verb[..verb.len() - 1]].as_array().expect("a list").clone()
        };
        let inspected: Value =
            serde_json::from_str(&expect(0, &["inspect", text(&image.path), "--json"])).expect("JSON");
        let volumes = inspected["volumes"].as_array().expect("a list");

        let mut theirs: Vec<_> = listed("lvs", "vg_name,lv_name,lv_size,lv_uuid,vg_uuid")
            .iter()
            .map(|row| {
                let word = |name: &str| row[name].as_str().expect("a text").to_owned();
                (
                    format!("{}/{}", word("vg_name"), word("lv_name")),
                    word("lv_size"),
                    word("vg_uuid") + &word("lv_uuid"),
                )
            })
            .collect();
        let mut ours: Vec<_> = volumes
            .iter()
            .filter(|volume| volume["facts"]["lv-uuid"].is_string())
            .map(|volume| {
                let word = |value: &Value| value.as_str().expect("a text").to_owned();
                let uuids = ["vg-uuid", "lv-uuid"].map(|name| word(&volume["facts"][name])).concat();
                (word(&volume["name"]), volume["size"].to_string(), uuids)
            })
            .collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs);
        if let Some((_, _, uuids)) = ours.iter().find(|(name, ..)| *name == volumes_of(image).0) {
            let by_id = format!("/dev/disk/by-id/dm-uuid-LVM-{}", uuids.replace('-', ""));
            let told = expect(0, &["ls", text(&image.path), "/etc", "--partition", &by_id]);
            assert!(told.contains("fstab"), "{by_id}: {told}");
        }

        let theirs: Vec<_> = listed("pvs", "pv_uuid,vg_name")
            .iter()
            .map(|row| [row["pv_uuid"].clone(), row["vg_name"].clone()])
            .collect();
        let members = volumes.iter().filter(|volume| volume["filesystem"] == "LVM2_member");
        let mut ours: Vec<_> =
            members.map(|volume| [volume["uuid"].clone(), volume["facts"]["volume-group"].clone()]).collect();
        ours.sort_by_key(|pair| theirs.iter().position(|other| other == pair));
        assert_eq!(ours, theirs);
        let guests = volumes.iter().filter(|volume| volume["guest"].is_object()).map(|volume| &volume["name"]);
        assert_eq!(guests.collect::<Vec<_>>(), [volumes_of(image).0]);
    }
}

#[test]
fn a_volume_that_is_not_there_is_told_with_those_that_are() {
    for image in image::all(&["stacked"]).iter().filter(|image| image.name == "lvm-gpt") {
        let refused = |partition: &str| {
            let output = run(&["ls", text(&image.path), "/", "--partition", partition]);
            assert_eq!(output.status.code(), Some(3), "{partition}");
            String::from_utf8(output.stderr).expect("text")
        };
        let said = refused("debian-vg/rot");
        assert!(said.contains("no volume has the name \"debian-vg/rot\"; there are"), "{said}");
        assert!(said.contains("--partition debian-vg/root"), "{said}");
        let said = refused("2");
        assert!(said.contains("partition 2 is a physical volume of the volume group debian-vg"), "{said}");
        assert!(said.contains("--partition GROUP/VOLUME"), "{said}");
    }
}

/// What a volume lies in, from the disk on.
#[derive(Clone, Copy)]
enum Layer {
    Partition(&'static str),
    Logical(&'static str),
    Luks,
}

/// The layers of an encrypted image, and the word that chooses its root.
fn layers_of(image: &Image) -> (&'static [Layer], &'static str) {
    use Layer::{Logical, Luks, Partition};
    match &*image.name {
        "luks1-gpt" | "luks2-gpt" | "luks2-4k" => (&[Partition("2"), Luks], "2"),
        "luks1-cbc" => (&[Luks], "whole"),
        "luks2-lvm" => (&[Partition("2"), Luks, Logical("vgc/root")], "vgc/root"),
        "luks2-on-lvm" => (&[Logical("vgd/crypt"), Luks], "vgd/crypt"),
        other => panic!("{other} is not known here"),
    }
}

/// The option that says what an image is: one that begins with LUKS might be QEMU's format of that name.
fn declared(image: &Image) -> [&str; 2] {
    ["--format", &image.format]
}

fn encrypted() -> Vec<Image> {
    image::all(&["stacked"]).into_iter().filter(|image| image.name.starts_with("luks")).collect()
}

/// What is in the layers, taken out one after the other.
fn peeled(scratch: &Scratch, raw: &Path, layers: &[Layer], key: &Path) -> std::path::PathBuf {
    let mut outer = raw.to_path_buf();
    for (number, layer) in layers.iter().enumerate() {
        let inner = scratch.path().join(format!("layer-{number}"));
        match layer {
            Layer::Partition(number) => stacked(&["part", "get", text(&outer), number, text(&inner)]),
            Layer::Logical(name) => stacked(&["lv", "get", text(&outer), name, text(&inner)]),
            Layer::Luks => stacked(&["luks", "get", text(&outer), text(key), text(&inner)]),
        };
        outer = inner;
    }
    outer
}

#[test]
fn five_items_on_luks() {
    if !can_ask_lvm() {
        return;
    }
    for image in encrypted() {
        let (layers, name) = layers_of(&image);
        let scratch = Scratch::new();
        let copy = scratch.copy(&image.path, "disk");
        let key = scratch.file("key", "open sesame");
        let items = FiveItems::new(&scratch);
        let all = format!("all:file:{}", text(&key));
        let report = expect(0, &items.on(&copy, &[&declared(&image)[..], &["--json", "--key", &all]].concat()));
        let report: Value = serde_json::from_str(&report).expect("the report is JSON");
        assert_eq!((&report["changed"], &report["volume"]["name"]), (&true.into(), &name.into()), "{}", image.name);
        assert_eq!(report["verified"]["verdict"], "agrees");

        let raw = oracle::raw(&scratch, &copy, &image.format);
        let plain = peeled(&scratch, &raw, layers, &key);
        oracle::e2fsck(&plain, 0);
        content(&plain, 0, items.network);
        if image.name == "luks1-gpt" {
            // QEMU has a LUKS1 of its own.
            let by_qemu = scratch.path().join("qemu");
            let secret = format!("secret,id=key,file={}", text(&key));
            let container = scratch.path().join("layer-0");
            let options = format!("driver=luks,key-secret=key,file.filename={}", text(&container));
            let words = ["convert", "--object", &secret, "--image-opts", &options, "-O", "raw", text(&by_qemu)];
            oracle::succeed("qemu-img", &words);
            assert_eq!(oracle::sha256(&by_qemu), oracle::sha256(&plain), "QEMU reads something else");
        }
        if oracle::have("nbdcopy") {
            let served = scratch.path().join("served");
            let words = ["--nbd", "tcp:127.0.0.1:0", "--read-only", "--partition", name, "--key", &all];
            let server = Server::start(&copy, &[&declared(&image)[..], &words].concat());
            oracle::succeed("nbdcopy", &[&server.uri, text(&served)]);
            assert_eq!(server.end(), (Some(0), String::new()));
            assert_eq!(oracle::sha256(&served), oracle::sha256(&plain), "{}", image.name);
        }
        let again = expect(
            0,
            &items.on(&copy, &[&declared(&image)[..], &["--json", "--partition", name, "--key", &all]].concat()),
        );
        assert_eq!(serde_json::from_str::<Value>(&again).expect("JSON")["changed"], false);
    }
}

#[test]
fn without_the_right_key_nothing_is_touched() {
    for image in encrypted().iter().filter(|image| ["luks1-cbc", "luks2-gpt", "luks2-on-lvm"].contains(&&*image.name)) {
        let (_, name) = layers_of(image);
        let scratch = Scratch::new();
        let copy = scratch.copy(&image.path, "disk");
        let before = oracle::sha256(&copy);
        let items = FiveItems::new(&scratch);
        let refused = |more: &[&str]| {
            let output = run(&items.on(&copy, &[&declared(image)[..], more].concat()));
            assert_eq!(output.status.code(), Some(3), "{more:?}");
            let said = String::from_utf8(output.stderr).expect("text");
            assert!(!said.contains("hunter2") && said.lines().count() <= 2, "{said}");
            said
        };
        let wrong = format!("{name}:key:hunter2");
        for more in [&[][..], &["--partition", name]] {
            let said = refused(more);
            assert!(said.contains("is encrypted (LUKS), and there is no key for it"), "{said}");
            assert!(said.contains(&format!("--key {name}:file:PATH")), "{said}");
            let said = refused(&[more, &["--key", &wrong]].concat());
            assert!(said.contains("no key that was given opens"), "{said}");
        }
        assert_eq!(oracle::sha256(&copy), before);
    }
}

#[test]
fn keys_as_they_are_spelled() {
    for image in encrypted().iter().filter(|image| image.name == "luks1-cbc") {
        let uuid = oracle::succeed("cryptsetup", &["luksUUID", text(&image.path)]);
        let uuid = uuid.trim();
        for key in [
            format!("{uuid}:key:open sesame"),
            "/dev/sda:key:open sesame".to_owned(),
            "all:key:second key".to_owned(),
            "whole:key:second key".to_owned(),
        ] {
            let listed = expect(0, &["ls", text(&image.path), "/etc/hostname", "--format", "raw", "--key", &key]);
            assert!(listed.contains("hostname"), "{listed}");
        }
        let mut child = crate::support::imgraft()
            .args(["ls", text(&image.path), "/etc/hostname", "--format", "raw", "--keys-from-stdin"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        std::io::Write::write_all(&mut stdin, b"wrong\nopen sesame\n").expect("it reads");
        drop(stdin);
        assert!(child.wait_with_output().expect("it ends").status.success());
    }
}

/// What inspect says of a header is what cryptsetup says.
#[test]
fn cryptsetup_says_what_inspect_says() {
    if !can_ask_lvm() {
        return;
    }
    for image in encrypted().iter().filter(|image| image.format == "raw" && image.name != "luks2-on-lvm") {
        let scratch = Scratch::new();
        let (layers, name) = layers_of(image);
        let outer = &layers[..layers.len() - 1];
        let container = peeled(&scratch, &image.path, outer, Path::new("none"));
        let dump = oracle::succeed("cryptsetup", &["luksDump", text(&container)]);
        let inspected = |more: &[&str]| {
            let words = [&["inspect", text(&image.path), "--json"], &declared(image)[..], more].concat();
            let report: Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
            report["volumes"].as_array().expect("a list").clone()
        };
        let volumes = inspected(&[]);
        let lock = volumes.iter().find(|volume| volume["filesystem"] == "crypto_LUKS").expect("the LUKS volume");
        assert_eq!(lock["name"], name);
        assert!(dump.contains(lock["uuid"].as_str().expect("a UUID")), "{dump}");
        let facts = &lock["facts"];
        let version = dump.lines().find_map(|line| line.strip_prefix("Version:")).expect("a version").trim().to_owned();
        assert_eq!(facts["luks-version"].as_str(), Some(&*version));
        let cipher = facts["cipher"].as_str().expect("a cipher").split(',').next().expect("a name");
        let (family, mode) = cipher.split_once('-').expect("a mode");
        assert!(dump.contains(cipher) || (dump.contains(family) && dump.contains(mode)), "{cipher}: {dump}");
        assert!(volumes.iter().all(|volume| volume["guest"].is_null()), "nothing is seen without a key");

        let volumes = inspected(&["--key", "all:key:open sesame"]);
        let payload = volumes.iter().find(|volume| volume["unlocked"] == true).expect("what is in it");
        assert_eq!((&payload["filesystem"], &payload["name"]), (&"ext4".into(), &name.into()));
        assert!(payload["guest"].is_object());
    }
}
