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
