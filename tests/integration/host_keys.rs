//! ssh host keys, by the programs that make and read them.

use crate::refusals::refused;
use crate::support::rooted::Rooted;
use crate::support::tree::Mounted;
use crate::support::{KEY, Scratch, expect, image, oracle, run, text};
use serde_json::Value;
use std::path::Path;

const PATHS: [&str; 2] = ["/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"];

/// The notes of the item that makes them.
fn notes(report: &Value) -> Vec<&str> {
    let items = report["items"].as_array().expect("items");
    let item = items.iter().find(|item| item["item"] == "host-keys").expect("it is one of them");
    item["notes"].as_array().expect("notes").iter().map(|note| note.as_str().expect("a note")).collect()
}

/// As `notes` has a key that is in a file of the host, by ssh-keygen.
fn told(file: &Path) -> String {
    let line = oracle::succeed("ssh-keygen", &["-lf", text(file)]);
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, fingerprint, .., kind] = words[..] else { panic!("{line}") };
    format!("{} {fingerprint}", kind.trim_matches(['(', ')']))
}

#[test]
fn a_debian_starts_its_sshd_with_them() {
    let scratch = Scratch::new();
    let Some(Rooted { disk, offset }) = Rooted::new(&scratch, &["e2fsck", "chroot", "unshare", "ssh-keygen"]) else {
        return;
    };
    let hint = expect(0, &["sysprep", text(&disk), "--operations", "ssh-hostkeys"]);
    assert!(hint.contains("have them made with imgraft inject --ssh-host-keys"), "{hint}");
    // sshd as it tests itself, in the guest as it is but for what no disk has.
    let sshd = || {
        let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
        let script = "mount -t tmpfs none $1/run && mkdir -m 755 $1/run/sshd && mount --bind /dev $1/dev && exec chroot $1 \
                      /usr/sbin/sshd -t";
        oracle::tool("unshare", &["-m", "sh", "-c", script, "sh", text(mounted.path())])
    };
    assert!(String::from_utf8_lossy(&sshd().stderr).contains("no hostkeys available"), "it asks for them");

    let words = ["inject", text(&disk), "--ssh-host-keys", "--hostname", "web.example.org", "--json"];
    let sum = oracle::sha256(&disk);
    let dry = expect(0, &[&words[..5], &["--dry-run"]].concat());
    assert!(dry.contains("new file /etc/ssh/ssh_host_ed25519_key mode 0600 owner 0:0"), "{dry}");
    assert!(!dry.contains("PRIVATE") && !dry.contains("b3BlbnNzaC1rZXk") && !dry.contains("SHA256:"), "{dry}");
    assert_eq!(oracle::sha256(&disk), sum);
    let json = expect(0, &words);
    assert!(!json.contains("PRIVATE") && !json.contains("b3BlbnNzaC1rZXk"), "{json}");
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["verified"]["verdict"], "agrees", "{report}");
    oracle::e2fsck(&disk, offset);

    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    let mut stay = Vec::new();
    for (path, note) in PATHS.iter().zip(notes(&report)) {
        let (private, public) = (mounted.path().join(&path[1..]), mounted.path().join(format!("{}.pub", &path[1..])));
        assert_eq!(note, format!("{path} is new: {}", told(&public)));
        assert_eq!(told(&public), told(&private));
        stay.push(format!("{path} stays: {}", told(&private)));
        let derived = oracle::succeed("ssh-keygen", &["-y", "-P", "", "-f", text(&private)]);
        assert_eq!(derived, std::fs::read_to_string(&public).expect("it is there"));
        assert!(derived.ends_with(" root@web.example.org\n"), "{derived}");
        for (file, mode) in [(&private, "600 0 0"), (&public, "644 0 0")] {
            assert_eq!(oracle::succeed("stat", &["-c", "%a %u %g", text(file)]).trim_end(), mode);
        }
    }
    drop(mounted);
    let verdict = sshd();
    assert!(verdict.status.success() && verdict.stderr.is_empty(), "{}", String::from_utf8_lossy(&verdict.stderr));

    let sum = oracle::sha256(&disk);
    let again: Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    assert_eq!((&again["changed"], &again["io"]["blocks_written"]), (&false.into(), &0.into()));
    assert_eq!((notes(&again), oracle::sha256(&disk)), (stay.iter().map(String::as_str).collect(), sum));

    // What sshd does not take is told as well.
    expect(0, &["inject", text(&disk), "--chmod", &format!("0640:{}", PATHS[1])]);
    let verdict = String::from_utf8_lossy(&sshd().stderr).into_owned();
    assert!(verdict.contains(&format!("Permissions 0640 for '{}' are too open", PATHS[1])), "{verdict}");
    let told = expect(0, &words[..3]);
    assert!(told.contains(&format!("{}: sshd ignores it, as others can read it (mode 0640)", PATHS[1])), "{told}");
}

/// Where the guest's own sshd finds them, whatever its configuration's spelling.
#[test]
fn they_are_made_where_sshd_reads_them() {
    let scratch = Scratch::new();
    let Some(Rooted { disk, offset }) = Rooted::new(&scratch, &["e2fsck", "chroot", "unshare"]) else { return };
    let include = "/etc/ssh/sshd_config.d/a.conf:Include \"/etc/ssh/a b/?.x[a-c]\" b/*\n";
    expect(0, &["inject", text(&disk), "--write", include, "--mkdir", "/etc/ssh/a b", "--mkdir", "/etc/ssh/b"]);
    expect(0, &["sysprep", text(&disk), "--operations", "ssh-hostkeys"]);
    let files = [
        "/etc/ssh/a b/1.xb:HostKey \"/srv/keys of it/ed25519\"\n",
        "/etc/ssh/a b/1.xd:HostKey /srv/no/ed25519\n",
        "/etc/ssh/b/c:HostKey=/srv/my\\ ecdsa # mine\nMatch User x\nX11Forwarding no\n",
        "/etc/ssh/b/.d:HostKey /srv/no/ecdsa\n",
    ];
    let words = files.iter().flat_map(|file| ["--write", file]);
    expect(0, &["inject", text(&disk)].into_iter().chain(words).collect::<Vec<_>>());
    let told = expect(0, &["inject", text(&disk), "--ssh-host-keys"]);
    assert_eq!(told.matches("is new: ").count(), 2, "{told}");
    oracle::e2fsck(&disk, offset);
    let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
    let script = "mount -t tmpfs none $1/run && mkdir -m 755 $1/run/sshd && mount --bind /dev $1/dev && exec chroot $1 \
                  /usr/sbin/sshd -T";
    let said = oracle::succeed("unshare", &["-m", "sh", "-c", script, "sh", text(mounted.path())]);
    let read: Vec<&str> = said.lines().filter(|line| line.starts_with("hostkey ")).collect();
    assert_eq!(read, ["hostkey /srv/keys of it/ed25519", "hostkey /srv/my ecdsa"]);
    for path in ["srv/keys of it/ed25519.pub", "srv/my ecdsa.pub"] {
        assert!(mounted.path().join(path).exists(), "{path}");
    }
}

/// What ssh-keygen has made stays, with the types that are not made here, and gets what it lacks.
#[test]
fn beside_those_of_ssh_keygen() {
    if !oracle::have("ssh-keygen") {
        return;
    }
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let mut expected = Vec::new();
    for (kind, options) in [("rsa", &["-m", "PEM"][..]), ("ecdsa", &["-b", "384"]), ("ed25519", &[])] {
        let file = scratch.path().join(format!("ssh_host_{kind}_key"));
        let words = ["-q", "-t", kind, "-N", "", "-C", "me", "-f", text(&file)];
        oracle::succeed("ssh-keygen", &[&words, options].concat());
        let path = format!("/etc/ssh/ssh_host_{kind}_key");
        expect(0, &["inject", text(&disk), "--upload", &format!("{}:{path}", text(&file))]);
        let public = format!("{path}.pub");
        if kind == "rsa" {
            expect(0, &["inject", text(&disk), "--upload", &format!("{}.pub:{public}", text(&file))]);
            expected.push(format!("{path} stays: {}, as {public} says", told(&file)));
        } else {
            expected.push(format!("{path} stays: {}; {public} was missing and is made", told(&file)));
        }
    }
    let report = expect(0, &["inject", text(&disk), "--ssh-host-keys", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(notes(&report), expected);
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let name = format!("ssh_host_{kind}_key.pub");
        let own = std::fs::read_to_string(scratch.path().join(&name)).expect("it is there");
        assert_eq!(expect(0, &["cat", text(&disk), &format!("/etc/ssh/{name}")]), own);
    }
    if oracle::have("e2fsck") && oracle::have("qemu-img") {
        let raw = oracle::raw(&scratch, &disk, "qcow2");
        oracle::e2fsck(&raw, image::open(&raw, 1).offset);
    }
}

#[test]
fn what_is_refused() {
    let scratch = Scratch::new();
    let disk = scratch.copy(&image::phony(), "disk.qcow2");
    let bare = scratch.copy(&disk, "bare.qcow2");
    expect(0, &["inject", text(&bare), "--delete", "/usr/sbin/sshd"]);
    let words = ["inject", text(&bare), "--ssh-host-keys"];
    refused(&bare, 3, &words, &["item host-keys: the guest has no OpenSSH server (sshd)", "hint: leave it out"]);
    // One that the same run puts there before counts.
    let served = scratch.copy(&bare, "served.qcow2");
    expect(0, &["inject", text(&served), "--write", "/usr/sbin/sshd:elf", "--ssh-host-keys"]);
    let seed = ["inject", text(&bare), "--ssh-host-keys", "--seed", "nocloud", "--hostname", "web"];
    refused(&bare, 2, &seed, &["--ssh-host-keys: a seed has no place for it"]);

    let words = ["inject", text(&disk), "--ssh-host-keys", "--delete", "/etc/ssh/ssh_host_*"];
    let undoes = "undoes what the item host-keys has put there";
    refused(&disk, 3, &words, &["item files: ", "/etc/ssh/ssh_host_", undoes]);
    let config = scratch.copy(&disk, "config.qcow2");
    expect(0, &["inject", text(&config), "--write", "/etc/ssh/sshd_config:HostKey /etc/ssh/ssh_host_rsa_key"]);
    let words = ["inject", text(&config), "--ssh-host-keys"];
    refused(&config, 3, &words, &["item host-keys: sshd_config names no host key (HostKey)", "hint: only ed25519"]);
    // Also once they are there.
    let copy = scratch.copy(&disk, "again.qcow2");
    let again = ["inject", text(&copy), "--ssh-host-keys"];
    expect(0, &again);
    for (option, value, why) in [
        ("--delete", "/etc/ssh/ssh_host_*", undoes),
        ("--write", "/etc/ssh/ssh_host_ed25519_key.pub:x", undoes),
        (
            "--chmod",
            "0644:/etc/ssh/ssh_host_ed25519_key",
            "sshd reads host keys that root owns and nobody else can read",
        ),
    ] {
        refused(&copy, 3, &[&again[..], &[option, value]].concat(), &["item files: ", why]);
    }
    // An item as any other.
    let thin = scratch.path().join("thin.qcow2");
    let words = ["inject", text(&bare), "--overlay", text(&thin), "--ssh-host-keys"];
    let key = format!("root:string:{KEY}");
    let optional = run(&[&words[..], &["--ssh-inject", &key, "--optional", "host-keys"]].concat());
    assert_eq!(optional.status.code(), Some(5), "{}", String::from_utf8_lossy(&optional.stderr));
    let plan = scratch.file("plan.yaml", "ssh_host_keys: true\n");
    let report = expect(0, &["inject", text(&disk), "-f", text(&plan), "--json"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(notes(&report).len(), 2, "{report}");
    let none = scratch.file("none.yaml", "ssh_host_keys: false\n");
    refused(&disk, 2, &["inject", text(&disk), "-f", text(&none)], &["nothing to inject"]);
}
