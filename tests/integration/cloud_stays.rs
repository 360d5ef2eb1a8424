//! What is put in outlives the guest's cloud-init, by cloud-init's own reading of its configuration.

use crate::refusals::refused;
use crate::support::tree::{self, Mounted};
use crate::support::{Scratch, drive, expect, image, oracle, text};
use std::path::Path;
use std::process::Command;

/// What cloud-init goes by: whether it keeps the name, makes /etc/hosts, and removes the host keys.
const READING: &str = "
import sys
from cloudinit import util

config = util.read_conf_with_confd(sys.argv[1] + '/etc/cloud/cloud.cfg')
# As cc_set_hostname.py, cc_update_etc_hosts.py and cc_ssh.py of their versions.
hosts = util.get_cfg_option_str(config, 'manage_etc_hosts', False)
print(
    'keeps the name' if util.get_cfg_option_bool(config, 'preserve_hostname', False) else 'sets the name',
    'makes hosts' if util.translate_bool(hosts, addons=['template']) or hosts == 'localhost' else 'leaves hosts',
    'removes keys' if config.get('ssh_deletekeys', True) else 'keeps keys',
    sep=', ',
)
";

/// Whether it leaves the network alone, as Init._find_networking_config of its stages.py, with a directory from where it is run.
const NETWORK: &str = "
import sys
from cloudinit import util

config = util.read_conf_with_confd(sys.argv[1] + '/etc/cloud/cloud.cfg').get('network')
print('is none' if config is None else 'is off' if config.get('config') == 'disabled' else ', '.join(config['ethernets']))
";

fn reading(package: &Path, disk: &Path, offset: u64) -> String {
    asked(READING, package, disk, offset)
}

fn asked(script: &str, package: &Path, disk: &Path, offset: u64) -> String {
    let mounted = Mounted::new(disk, &format!("ro,noload,offset={offset}"));
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script, text(mounted.path())])
        .current_dir(mounted.path())
        .env("PYTHONPATH", package.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    if told.contains("UnicodeDecodeError") || told.contains("TypeError") {
        return "does not run".to_owned();
    }
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

#[test]
fn a_name_and_host_keys() {
    let Some(package) = drive::cloud_init() else { return };
    if !tree::have(&["e2fsck"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    // Without the directory of what adds to the configuration.
    let config = "--write=/etc/cloud/cloud.cfg:preserve_hostname: false\n";
    expect(0, &["inject", text(&disk), "--mkdir=/etc/cloud", config, "--write=/usr/bin/cloud-init:"]);
    assert_eq!(reading(&package, &disk, offset), "sets the name, leaves hosts, removes keys");
    let words = ["inject", text(&disk), "--hostname=web", "--ssh-host-keys"];
    let told = expect(0, &words);
    assert!(told.contains("told to keep the name") && told.contains("told to keep the host keys"), "{told}");
    let kept = "keeps the name, leaves hosts, keeps keys";
    assert_eq!(reading(&package, &disk, offset), kept);
    assert!(expect(0, &words).contains("unchanged: everything is in place already"));
    oracle::e2fsck(&disk, offset);

    // A file that comes later has the last word.
    let later = "/etc/cloud/cloud.cfg.d/99-zz.cfg";
    for (line, key, option, item, reads) in [
        (
            "preserve_hostname: false",
            "preserve_hostname",
            words[2],
            "hostname",
            "sets the name, leaves hosts, keeps keys",
        ),
        (
            "manage_etc_hosts: template",
            "manage_etc_hosts",
            words[2],
            "hostname",
            "keeps the name, makes hosts, keeps keys",
        ),
        ("ssh_deletekeys: 'no'", "ssh_deletekeys", words[3], "host-keys", "keeps the name, leaves hosts, removes keys"),
    ] {
        let twin = scratch.copy(&disk, "twin.raw");
        let write = format!("--write={later}:{line}\n");
        let undoes = format!("the guest's cloud-init would undo it: {later} has the last word on {key}");
        let after = format!("the item {item} is done before them");
        refused(&twin, 3, &["inject", text(&twin), option, &write], &["item files: with these files", &undoes, &after]);
        expect(0, &["inject", text(&twin), &write]);
        assert_eq!(reading(&package, &twin, offset), reads);
        let delete = format!("--delete={later}");
        let item = format!("item {item}: {undoes}");
        refused(&twin, 3, &["inject", text(&twin), option], &[&item, &format!("--delete {later}")]);
        expect(0, &["inject", text(&twin), &delete, option]);
        assert_eq!(reading(&package, &twin, offset), kept);
        // What says the same is none of these.
        let same = format!("--write={later}:preserve_hostname: yes\nmanage_etc_hosts: false\nssh_deletekeys: false\n");
        expect(0, &["inject", text(&twin), &same]);
        expect(0, &["inject", text(&twin), option]);
        assert_eq!(reading(&package, &twin, offset), kept);
    }
}

/// What of its configuration is odd is read as cloud-init reads it, or said not to be known.
#[test]
fn files_that_cloud_init_reads_in_its_own_way() {
    let Some(package) = drive::cloud_init() else { return };
    if !tree::have(&["e2fsck"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    let later = "/etc/cloud/cloud.cfg.d/99-zz.cfg";
    expect(0, &["inject", text(&disk), "--mkdir=/etc/cloud/cloud.cfg.d", "--write=/usr/bin/cloud-init:"]);
    let (sets, keeps) = ("preserve_hostname: false\n", "preserve_hostname: true\n");
    let packages = [package, image::built().join("cloud-init-new")];
    for (content, reads, is_known) in [
        (format!("{keeps}{sets}").into_bytes(), "sets the name", true),
        (format!("{sets}{keeps}").into_bytes(), "keeps the name", true),
        (format!("\u{feff}{sets}").into_bytes(), "sets the name", true),
        (format!("{sets}x: !foo 1\n").into_bytes(), "keeps the name", true),
        (format!("{sets}---\nx: 1\n").into_bytes(), "keeps the name", true),
        (b"- x\n".to_vec(), "keeps the name", true),
        (format!("{sets}x: !!set {{a}}\n").into_bytes(), "sets the name", false),
        (format!("{sets}x: !!timestamp 2001-01-01\n").into_bytes(), "sets the name", false),
        ([sets.as_bytes(), b"# \xe9\n"].concat(), "does not run", false),
        (format!("{keeps}merge_how:\nmerge_type: ''\n").into_bytes(), "keeps the name", true),
        (format!("{sets}merge_how: dict(replace)\n").into_bytes(), "sets the name", false),
    ] {
        let twin = scratch.copy(&disk, "twin.raw");
        let upload = format!("--upload={}:{later}", text(&scratch.file("content", &content)));
        expect(0, &["inject", text(&twin), &upload]);
        let words = ["inject", text(&twin), "--hostname=web"];
        let said = content.escape_ascii();
        if reads == "sets the name" && is_known {
            refused(&twin, 3, &words, &["the guest's cloud-init would undo it", later]);
            // As it would be, had it been put in.
            expect(
                0,
                &[
                    "inject",
                    text(&twin),
                    "--write=/etc/cloud/cloud.cfg.d/99-imgraft-hostname.cfg:preserve_hostname: true\n",
                ],
            );
        } else {
            let told = expect(0, &words);
            let note = format!("it may undo what is put in: {later}: ");
            assert_eq!(told.contains(&note), !is_known, "{said}: {told}");
        }
        for package in &packages {
            assert!(reading(package, &twin, offset).starts_with(reads), "{said}: {}", reading(package, &twin, offset));
        }
    }
    // What comes first takes the last word where it says so.
    let twin = scratch.copy(&disk, "twin.raw");
    let main = "/etc/cloud/cloud.cfg";
    expect(0, &["inject", text(&twin), &format!("--write={main}:{sets}merge_type: dict(replace)\n")]);
    let told = expect(0, &["inject", text(&twin), "--hostname=web"]);
    assert!(told.contains(&format!("it may undo what is put in: {main}: it has merge_type")), "{told}");
    for package in &packages {
        assert!(reading(package, &twin, offset).starts_with("sets the name"));
    }
    // Another directory.
    let directory = format!("--write={main}:conf_d: srv/cloud\n");
    let network = "network: {version: 2, ethernets: {eth0: {addresses: [192.0.2.5/24]}}}\n";
    let network = format!("--network={}", text(&scratch.file("network", network.as_bytes())));
    expect(0, &["inject", text(&disk), "--mkdir=/etc/cloud/cloud.cfg.d", &directory, "--hostname=web", &network]);
    for package in &packages {
        assert!(reading(package, &disk, offset).starts_with("keeps the name"));
        assert_eq!(asked(NETWORK, package, &disk, offset), "is off");
    }
    let words = ["inject", text(&disk), "--network-renderer=cloud-init", &network];
    expect(0, &words);
    for package in &packages {
        assert_eq!(asked(NETWORK, package, &disk, offset), "eth0");
    }
    assert!(expect(0, &words).contains("unchanged: everything is in place already"));
    // And none.
    expect(0, &["inject", text(&disk), &format!("--write={main}:conf_d:\n")]);
    let hint = "may name another directory, or none, as conf_d";
    refused(&disk, 3, &words, &["no file in /etc/cloud/cloud.cfg.d that it reads has network", hint]);
    oracle::e2fsck(&disk, offset);
}
