//! Whether users can log in by what they were given, as the guest's own sshd and cloud-init see it.

use crate::support::tree::{self, Mounted};
use crate::support::{HASH, Scratch, image, inject, oracle, text};
use serde_json::Value;
use std::path::Path;

/// The notes of an item.
fn notes(report: &Value, item: &str) -> String {
    let items = report["items"].as_array().expect("items");
    let item = items.iter().find(|found| found["item"] == item).expect("it is one of them");
    let notes = item["notes"].as_array().into_iter().flatten().map(|note| note.as_str().expect("a note"));
    notes.collect::<Vec<_>>().join("\n")
}

/// Whether the guest's own ssh, with this key, is let in by the guest's own sshd.
fn is_let_in(disk: &Path, offset: u64, key: &Path, user: &str) -> bool {
    let mounted = Mounted::new(disk, &format!("ro,noload,offset={offset}"));
    let script = "mount -t tmpfs none $1/run && mkdir -m 755 $1/run/sshd && mount --bind /dev $1/dev && \
                  mount -t proc none $1/proc && cp $2 $1/run/key && chmod 600 $1/run/key && exec chroot $1 ssh -F none \
                  -i /run/key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                  -o 'ProxyCommand=/usr/sbin/sshd -i -e' $3@guest id -un";
    let output = oracle::tool("unshare", &["-m", "sh", "-c", script, "sh", text(mounted.path()), text(key), user]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_in = output.status.success();
    assert_eq!(is_in, String::from_utf8_lossy(&output.stdout).trim_end() == user, "{told}");
    assert!(is_in || told.contains("Permission denied") || told.contains("ROOT LOGIN REFUSED"), "{told}");
    is_in
}

#[test]
fn what_sshd_says_of_a_key_is_said_before() {
    if !tree::have(&["e2fsck", "chroot", "unshare", "ssh-keygen"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("real", "bookworm-gpt") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    let key = scratch.path().join("key");
    oracle::succeed("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]);
    let of = |user: &str| format!("--ssh-inject={user}:file:{}.pub", text(&key));
    let old = of("old");
    inject(&disk, &["--ssh-host-keys", "--add-user=old", "--add-group=crew", "--add-to-group=old:crew"]);
    assert_eq!(notes(&inject(&disk, &[&old]), "key"), "");
    assert!(is_let_in(&disk, offset, &key, "old"), "with PAM its lock is none");
    let says = |lines: &str| format!("--write=/etc/ssh/sshd_config.d/50-test.conf:{lines}\n");

    inject(&disk, &[&says("UsePAM no")]);
    let locked = notes(&inject(&disk, &[&old]), "key");
    assert!(
        locked.contains("takes 'old' for locked") && locked.contains("50-test.conf does not say UsePAM yes"),
        "{locked}"
    );
    assert!(!is_let_in(&disk, offset, &key, "old"));
    // One who is made has no lock then; and the way out is one.
    let made = inject(&disk, &["--add-user=ann", &of("ann"), &of("root")]);
    assert!(notes(&made, "accounts").contains("'*' and not '!'"), "{made}");
    assert_eq!(notes(&made, "key"), "");
    assert!(is_let_in(&disk, offset, &key, "ann"));
    assert_eq!(inject(&disk, &["--add-user=ann", &of("ann")])["changed"], false);
    assert_eq!(notes(&inject(&disk, &[&old, "--password=old:disabled"]), "key"), "", "the same run takes the lock off");
    assert!(is_let_in(&disk, offset, &key, "old"));

    for (lines, user, is_in) in [
        ("AllowUsers bob ann", "old", false),
        ("DenyUsers o?d", "old", false),
        ("AllowGroups adm ann", "old", false),
        ("DenyGroups cr*", "old", false),
        ("PubkeyAuthentication no", "old", false),
        ("PermitRootLogin no", "root", false),
        ("PermitRootLogin forced-commands-only", "root", false),
        ("AllowUsers bob\nAllowUsers o*", "old", true),
        ("AllowGroups crew", "old", true),
        ("DenyUsers ann@192.0.2.1\nDenyGroups adm", "old", true),
        ("PermitRootLogin prohibit-password", "root", true),
    ] {
        inject(&disk, &[&says(lines)]);
        let report = inject(&disk, &[&of(user)]);
        let noted = notes(&report, "key");
        assert_eq!(report["changed"], false);
        assert_eq!(noted.contains(&format!("50-test.conf says {lines}")), !is_in, "{lines}: {noted}");
        assert_eq!(noted.is_empty(), is_in, "{lines}: {noted}");
        assert_eq!(is_let_in(&disk, offset, &key, user), is_in, "{lines}");
    }
    oracle::e2fsck(&disk, offset);
}

/// cloud-init's own part for users, in the guest, as at its first boot.
const FIRST_BOOT: &str = "
from cloudinit import util
from cloudinit.config import cc_users_groups
from cloudinit.distros import fetch

config = util.read_conf_with_confd('/etc/cloud/cloud.cfg')
system = config['system_info']


class Cloud:
    distro = fetch(system['distro'])('guest', system, None)

    @staticmethod
    def get_public_ssh_keys():
        return []


cc_users_groups.handle('users_groups', config, Cloud, [])
";

#[test]
fn the_password_of_a_default_user_outlives_the_first_boot() {
    if !tree::have(&["e2fsck", "chroot", "unshare"]) || !tree::can_mount() {
        return;
    }
    let Some(guest) = image::named("booted", "trixie-cloud") else { return };
    let scratch = Scratch::new();
    let disk = scratch.copy(&guest.path, "disk.raw");
    let offset = image::open(&disk, guest.partition).offset;
    let word = format!("--password=debian:hash:{HASH}");
    let note = notes(&inject(&disk, &[&word]), "password");
    assert!(
        note.contains(
            "99-imgraft-password.cfg: cloud-init is told not to lock the password of its default user, 'debian'"
        ),
        "{note}"
    );
    assert_eq!(inject(&disk, &[&word])["changed"], false);
    oracle::e2fsck(&disk, offset);
    let field = |root: &Path| {
        let shadow = std::fs::read_to_string(root.join("etc/shadow")).expect("it is text");
        let line = shadow.lines().find_map(|line| line.strip_prefix("debian:").map(str::to_owned)).expect("the user");
        line.split(':').next().expect("a field").to_owned()
    };
    let first_boot = |disk: &Path| {
        let mounted = Mounted::new(disk, &format!("offset={offset}"));
        let script = "mount -t tmpfs none $1/run && mount --bind /dev $1/dev && exec chroot $1 python3 -c \"$2\"";
        oracle::succeed("unshare", &["-m", "sh", "-c", script, "sh", text(mounted.path()), FIRST_BOOT]);
        field(mounted.path())
    };
    let twin = scratch.copy(&disk, "twin.raw");
    inject(&twin, &["--delete=/etc/cloud/cloud.cfg.d/99-imgraft-password.cfg"]);
    assert_eq!(first_boot(&twin), format!("!{HASH}"), "cloud-init locks it where nothing is said");
    assert_eq!(first_boot(&disk), HASH);
}
