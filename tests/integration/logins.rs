//! Whether users can log in by what they were given, as the guest's own sshd and cloud-init see it.

use crate::support::tree::{self, Mounted};
use crate::support::{HASH, Scratch, image, inject, oracle, run, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

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
    let refusals = ["Permission denied", "ROOT LOGIN REFUSED", "Your account has expired"];
    assert!(is_in || refusals.iter().any(|refusal| told.contains(refusal)), "{told}");
    is_in
}

/// A guest with an sshd that has host keys, and a user `old` of the group `crew`.
struct Guest {
    scratch: Scratch,
    disk: PathBuf,
    offset: u64,
    key: PathBuf,
}

impl Guest {
    fn new() -> Option<Self> {
        if !tree::have(&["e2fsck", "chroot", "unshare", "ssh-keygen"]) || !tree::can_mount() {
            return None;
        }
        let guest = image::named("real", "bookworm-gpt")?;
        let scratch = Scratch::new();
        let disk = scratch.copy(&guest.path, "disk.raw");
        let offset = image::open(&disk, guest.partition).offset;
        let key = scratch.path().join("key");
        oracle::succeed("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]);
        inject(&disk, &["--ssh-host-keys", "--add-user=old", "--add-group=crew", "--add-to-group=old:crew"]);
        Some(Self { scratch, disk, offset, key })
    }

    /// The option that gives a user the key.
    fn keys_of(&self, user: &str) -> String {
        format!("--ssh-inject={user}:file:{}.pub", text(&self.key))
    }

    fn is_let_in(&self, user: &str) -> bool {
        is_let_in(&self.disk, self.offset, &self.key, user)
    }

    /// What the guest's sshd says that it goes by for a user who connects from an address.
    fn goes_by(&self, keyword: &str, user: &str, address: &str) -> String {
        let mounted = Mounted::new(&self.disk, &format!("ro,noload,offset={}", self.offset));
        let script = "mount -t tmpfs none $1/run && mkdir -m 755 $1/run/sshd && mount --bind /dev $1/dev && exec chroot $1 \
                      /usr/sbin/sshd -T -C $2";
        let connection = format!("user={user},host=there,addr={address},laddr=192.0.2.99,lport=22");
        let said = oracle::succeed("unshare", &["-m", "sh", "-c", script, "sh", text(mounted.path()), &connection]);
        let values: Vec<_> = said.lines().filter_map(|line| line.strip_prefix(keyword)?.strip_prefix(' ')).collect();
        values.join(" ")
    }
}

/// The option that has sshd say this before all else.
fn says(lines: &str) -> String {
    format!("--write=/etc/ssh/sshd_config.d/50-test.conf:{lines}\n")
}

#[test]
fn what_sshd_says_of_a_key_is_said_before() {
    let Some(guest) = Guest::new() else { return };
    let Guest { disk, offset, key, .. } = &guest;
    let (offset, of) = (*offset, |user: &str| guest.keys_of(user));
    let old = of("old");
    assert_eq!(notes(&inject(disk, &[&old]), "key"), "");
    assert!(is_let_in(disk, offset, key, "old"), "with PAM its lock is none");

    inject(disk, &[&says("UsePAM no")]);
    let locked = notes(&inject(disk, &[&old]), "key");
    assert!(
        locked.contains("takes 'old' for locked") && locked.contains("50-test.conf does not say UsePAM yes"),
        "{locked}"
    );
    assert!(!is_let_in(disk, offset, key, "old"));
    // One who is made has no lock then; and the way out is one.
    let made = inject(disk, &["--add-user=ann", &of("ann"), &of("root")]);
    assert!(notes(&made, "accounts").contains("'*' and not '!'"), "{made}");
    assert_eq!(notes(&made, "key"), "");
    assert!(is_let_in(disk, offset, key, "ann"));
    assert_eq!(inject(disk, &["--add-user=ann", &of("ann")])["changed"], false);
    assert_eq!(notes(&inject(disk, &[&old, "--password=old:disabled"]), "key"), "", "the same run takes the lock off");
    assert!(is_let_in(disk, offset, key, "old"));

    for (lines, user, is_in) in [
        ("AllowUsers bob ann", "old", false),
        ("DenyUsers o?d", "old", false),
        ("AllowGroups adm ann", "old", false),
        ("DenyGroups cr*", "old", false),
        ("PubkeyAuthentication no", "old", false),
        ("DSAAuthentication no", "old", false),
        ("PubkeyAcceptedAlgorithms rsa-sha2-512,ecdsa-*", "old", false),
        ("PubkeyAcceptedKeyTypes -ssh-ed*", "old", false),
        ("PubkeyAcceptedAlgorithms +ssh-rsa", "old", true),
        ("PubkeyAcceptedAlgorithms rsa-sha2-512,ssh-ed*", "old", true),
        ("PermitRootLogin no", "root", false),
        ("PermitRootLogin forced-commands-only", "root", false),
        ("AllowUsers bob\nAllowUsers o*", "old", true),
        ("AllowGroups crew", "old", true),
        ("DenyUsers ann@192.0.2.1\nDenyGroups adm", "old", true),
        ("PermitRootLogin prohibit-password", "root", true),
        ("AuthenticationMethods publickey,password", "old", false),
        ("AuthenticationMethods publickey,password publickey", "old", true),
    ] {
        inject(disk, &[&says(lines)]);
        let report = inject(disk, &[&of(user)]);
        let noted = notes(&report, "key");
        assert_eq!(report["changed"], false);
        assert_eq!(noted.contains(&format!("50-test.conf says {lines}")), !is_in, "{lines}: {noted}");
        assert_eq!(noted.is_empty(), is_in, "{lines}: {noted}");
        assert_eq!(is_let_in(disk, offset, key, user), is_in, "{lines}");
    }
    // No signature of an RSA key is left then, as there is none by SHA-1 where nothing is said of it.
    let rsa = guest.scratch.path().join("rsa");
    oracle::succeed("ssh-keygen", &["-q", "-t", "rsa", "-N", "", "-f", text(&rsa)]);
    for (lines, is_in) in [("PubkeyAcceptedAlgorithms -rsa-sha2-*", false), ("PubkeyAcceptedAlgorithms -ssh-rsa", true)]
    {
        inject(disk, &[&says(lines)]);
        let report = inject(disk, &[&format!("--ssh-inject=old:file:{}.pub", text(&rsa))]);
        let noted = notes(&report, "key");
        assert_eq!(noted.contains("takes no key of the type ssh-rsa"), !is_in, "{lines}: {noted}");
        assert_eq!(is_let_in(disk, offset, &rsa, "old"), is_in, "{lines}");
    }
    oracle::e2fsck(disk, offset);
}

/// By its shell and by the day on which it closes, whether the keys were there first or come after.
#[test]
fn an_account_that_keys_do_not_open_is_said_before() {
    let Some(guest) = Guest::new() else { return };
    let (disk, keys) = (&guest.disk, guest.keys_of("old"));
    let shell = |shell: &str| format!("--edit=/etc/passwd:s,^(old:.*):[^:]*$,$1:{shell},");
    for (option, said) in [
        ("--expire=old:now".to_owned(), "the account of 'old' has expired"),
        ("--expire=old:2020-02-29".to_owned(), "the account of 'old' has expired"),
        ("--expire=old:2200-01-01".to_owned(), ""),
        ("--expire=old:never".to_owned(), ""),
        (shell("/bin/nosuch"), "'old' has the shell /bin/nosuch, which is no program of the guest"),
        (shell("/etc/passwd"), "'old' has the shell /etc/passwd, which is no program of the guest"),
        (shell("/etc/passwd/x"), "'old' has the shell /etc/passwd/x, which is no program of the guest"),
        (shell("/usr"), "'old' has the shell /usr, which is no program of the guest"),
        (shell(""), ""),
        (shell("/bin/sh"), ""),
    ] {
        let noted = notes(&inject(disk, &[&keys, &option]), "key");
        assert!(noted.starts_with(said) && noted.is_empty() == said.is_empty(), "{option}: {noted}");
        assert_eq!(notes(&inject(disk, &[&keys]), "key"), noted, "{option}");
        assert_eq!(guest.is_let_in("old"), said.is_empty(), "{option}");
    }
    inject(disk, &["--expire=old:now"]);
    let noted = notes(&inject(disk, &["--password=old:disabled"]), "password");
    assert_eq!(noted, "", "none is to be let in by it");
    let noted = notes(&inject(disk, &[&format!("--password=old:hash:{HASH}")]), "password");
    assert!(noted.contains("the account of 'old' has expired, so that nobody logs in to it"), "{noted}");
    oracle::e2fsck(disk, guest.offset);
}

/// Keys for an sshd that nothing starts, as systemctl has it: what is said goes by what the run leaves, and the way out is one.
#[test]
fn an_sshd_that_is_not_started_is_said() {
    let Some(guest) = Guest::new() else { return };
    let (disk, key) = (&guest.disk, guest.keys_of("old"));
    let said = |options: &[&str]| notes(&inject(disk, &[&[key.as_str()], options].concat()), "key");
    let state = |unit: &str| {
        let mounted = Mounted::new(disk, &format!("ro,noload,offset={}", guest.offset));
        let output = oracle::tool("systemctl", &["--root", text(mounted.path()), "is-enabled", unit]);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    };
    let (service, socket) = ("ssh.service", "ssh.socket");
    let disabled = "nothing was found that starts the guest's sshd: ssh.service is not enabled, and nobody reads the keys until something does \
                    (--enable-unit ssh.service has it started)";
    let masked = "nothing was found that starts the guest's sshd: /etc/systemd/system/ssh.service masks ssh.service, and nobody reads the keys \
                  until something does (--delete /etc/systemd/system/ssh.service --enable-unit ssh.service has it started)";
    for (options, states, note) in [
        (&[][..], ("enabled", "disabled"), ""),
        (&["--disable-unit", service], ("disabled", "disabled"), disabled),
        (&[], ("disabled", "disabled"), disabled),
        (&["--enable-unit", socket], ("disabled", "enabled"), ""),
        (&["--disable-unit", socket], ("disabled", "disabled"), disabled),
        (&["--enable-unit", service], ("enabled", "disabled"), ""),
        (&["--mask-unit", service], ("masked", "disabled"), masked),
        (&["--delete", "/etc/systemd/system/ssh.service", "--enable-unit", service], ("enabled", "disabled"), ""),
    ] {
        assert_eq!(said(options), note, "{options:?}");
        assert_eq!((state(service).as_str(), state(socket).as_str()), states, "{options:?}");
    }
    oracle::e2fsck(disk, guest.offset);
}

/// The same by OpenRC's runlevels and System V's links, as their own programs have them.
#[test]
fn an_sshd_that_no_script_starts_is_said() {
    if !tree::have(&["e2fsck", "chroot", "unshare", "ssh-keygen"]) || !tree::can_mount() {
        return;
    }
    for (name, starts, stop, note, start) in [
        (
            "bookworm-openrc",
            "chroot $1 rc-update show | grep -w ssh",
            "--delete=/etc/runlevels/default/ssh",
            "ssh is in no runlevel, and nobody reads the keys until something does (--link \
             /etc/init.d/ssh:/etc/runlevels/default/ssh has it started)",
            "--link=/etc/init.d/ssh:/etc/runlevels/default/ssh",
        ),
        (
            "bookworm-sysv",
            "mount -t tmpfs none $1/run && printf '#!/bin/sh\\necho N 2\\n' > $1/run/runlevel && chmod 755 $1/run/runlevel && \
             mount --bind $1/run/runlevel $1/sbin/runlevel && { chroot $1 invoke-rc.d --query ssh start; test $? = 104; }",
            "--delete=/etc/rc?.d/S??ssh",
            "no runlevel has a link to /etc/init.d/ssh, and nobody reads the keys until something does",
            "--link=../init.d/ssh:/etc/rc2.d/S20ssh",
        ),
    ] {
        let Some(guest) = image::named("booted", name) else { return };
        let scratch = Scratch::new();
        let disk = scratch.copy(&guest.path, "disk.raw");
        let offset = image::open(&disk, guest.partition).offset;
        let key = scratch.path().join("key");
        oracle::succeed("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]);
        let key = format!("--ssh-inject=root:file:{}.pub", text(&key));
        let said = |options: &[&str]| notes(&inject(&disk, &[&[key.as_str()], options].concat()), "key");
        let is_started = || {
            let mounted = Mounted::new(&disk, &format!("ro,noload,offset={offset}"));
            oracle::tool("unshare", &["-m", "sh", "-c", starts, "sh", text(mounted.path())]).status.success()
        };
        assert_eq!((said(&[]).as_str(), is_started()), ("", true), "{name}");
        let stopped = said(&[stop]);
        assert!(stopped.contains(note), "{name}: {stopped}");
        assert!(!is_started(), "{name}");
        assert!(stopped.contains(&start.replace('=', " ")), "{name}: {stopped}");
        assert_eq!((said(&[start]).as_str(), is_started()), ("", true), "{name}");
        oracle::e2fsck(&disk, offset);
    }
}

/// What the blocks of `Match` come to for a user.
#[test]
fn blocks_of_match_are_taken_as_by_sshd() {
    let Some(guest) = Guest::new() else { return };
    let disk = &guest.disk;
    inject(disk, &[&guest.keys_of("old"), &guest.keys_of("root")]);
    for (lines, user, refusal) in [
        ("PubkeyAuthentication yes\nMatch User old\nPubkeyAuthentication no", "old", "PubkeyAuthentication no"),
        ("PubkeyAuthentication yes\nMatch User bob,ol?\nPubkeyAuthentication no", "old", "PubkeyAuthentication no"),
        ("PubkeyAuthentication no\nMatch User *,!bob\nPubkeyAuthentication yes", "old", ""),
        ("PubkeyAuthentication no\nMatch User *,!old\nPubkeyAuthentication yes", "old", "PubkeyAuthentication no"),
        ("Match Group crew\nPubkeyAuthentication no", "old", "PubkeyAuthentication no"),
        ("Match Group *,!crew\nPubkeyAuthentication no", "old", ""),
        ("Match User old Group adm\nPubkeyAuthentication no", "old", ""),
        ("PermitRootLogin yes\nMatch all\nPermitRootLogin no", "root", "PermitRootLogin no"),
        ("PermitRootLogin no\nMatch User root\nPermitRootLogin yes\nMatch all\nPermitRootLogin no", "root", ""),
        ("AllowUsers old\nMatch User *\nAllowUsers bob\nAllowUsers ann", "old", "AllowUsers bob"),
        ("AllowUsers bob\nMatch Group crew\nAllowUsers ann\nMatch User old\nAllowUsers old", "old", ""),
        ("DenyGroups crew\nMatch User old\nDenyGroups adm", "old", ""),
        (
            "Match User old\nAuthenticationMethods publickey,publickey",
            "old",
            "AuthenticationMethods publickey,publickey",
        ),
        ("Match User bob\nInclude /etc/ssh/never\nMatch Group crew\nDenyUsers old", "old", "DenyUsers old"),
    ] {
        inject(disk, &["--write=/etc/ssh/never:DenyUsers old\n", &says(lines)]);
        let noted = notes(&inject(disk, &[&guest.keys_of(user)]), "key");
        match refusal {
            "" => assert_eq!(noted, "", "{lines}"),
            _ => assert!(noted.ends_with(&format!("50-test.conf says {refusal}")), "{lines}: {noted}"),
        }
        assert_eq!(guest.is_let_in(user), refusal.is_empty(), "{lines}");
    }
    // What is up to the connection is said to be.
    let (office, elsewhere) = ("192.0.2.1", "198.51.100.1");
    for (lines, noted, of_office, of_others) in [
        (
            "PermitRootLogin no\nMatch Address 192.0.2.0/24\nPermitRootLogin yes",
            "PermitRootLogin no, but not where it has Match Address 192.0.2.0/24",
            "yes",
            "no",
        ),
        (
            "Match Address 192.0.2.0/24 User root\nPermitRootLogin no",
            "where it has Match Address 192.0.2.0/24 User root, the guest's sshd does not let root log in",
            "no",
            "without-password",
        ),
        ("Match User root\nPermitRootLogin yes\nMatch Address 192.0.2.0/24\nPermitRootLogin no", "", "yes", "yes"),
        ("Match Address 192.0.2.0/24 User bob\nPermitRootLogin no", "", "without-password", "without-password"),
    ] {
        inject(disk, &[&says(lines)]);
        let said = notes(&inject(disk, &[&guest.keys_of("root")]), "key");
        assert!(said.contains(noted) && said.is_empty() == noted.is_empty(), "{lines}: {said}");
        let goes_by = |address: &str| guest.goes_by("permitrootlogin", "root", address);
        assert_eq!((goes_by(office).as_str(), goes_by(elsewhere).as_str()), (of_office, of_others), "{lines}");
    }
    oracle::e2fsck(disk, guest.offset);
}

/// Keys go into the file where sshd looks, and nowhere else; and what a run leaves of the configuration is what counts.
#[test]
fn keys_are_where_sshd_looks() {
    let Some(guest) = Guest::new() else { return };
    let disk = &guest.disk;
    for (number, lines) in [
        "AuthorizedKeysFile /etc/ssh/keys/%u",
        "AuthorizedKeysFile none .keys/ours",
        "AuthorizedKeysFile /srv/%U/%%/%u",
        "AuthorizedKeysFile none\nMatch Group crew\nAuthorizedKeysFile %h/ours /etc/%u",
    ]
    .into_iter()
    .enumerate()
    {
        inject(disk, &[&says(lines)]);
        assert!(!guest.is_let_in("old"), "{lines}");
        let report = inject(disk, &[&guest.keys_of("old")]);
        let noted = notes(&report, "key");
        assert!(noted.contains("is where the guest's sshd looks for the keys of 'old'"), "{lines}: {noted}");
        assert!(guest.is_let_in("old"), "{number}: {lines}");
        assert_eq!(inject(disk, &[&guest.keys_of("old")])["changed"], false);
    }
    for lines in [
        "AuthorizedKeysFile none\nAuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody",
        "AuthorizedKeysFile /etc/ssh/of-all",
    ] {
        inject(disk, &[&says(lines)]);
        let key = guest.keys_of("old");
        let output = run(&["inject", text(disk), &key]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains("reads no file of keys for 'old' alone") && told.contains("hint: have the"), "{told}");
        assert!(!guest.is_let_in("old"), "{lines}");
        // The way out.
        let usual = says("AuthorizedKeysFile .ssh/authorized_keys");
        assert_eq!(notes(&inject(disk, &[&usual, &key]), "key"), "");
        assert!(guest.is_let_in("old"));
    }
    // A configuration that comes after the keys.
    let twin = guest.scratch.copy(disk, "twin.raw");
    let root = guest.keys_of("root");
    let said = notes(&inject(disk, &[&root, &says("PermitRootLogin no")]), "key");
    assert!(said.ends_with("50-test.conf says PermitRootLogin no"), "{said}");
    assert!(!guest.is_let_in("root"));
    assert_eq!(notes(&inject(disk, &[&root, &says("PermitRootLogin yes")]), "key"), "", "the new one counts");
    assert!(guest.is_let_in("root"));
    let output = run(&["inject", text(&twin), &root, &says("AuthorizedKeysFile /k/%u")]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("with these files the guest's sshd does not read /root/.ssh/authorized_keys"), "{told}");
    assert_eq!(output.status.code(), Some(3));
    oracle::e2fsck(disk, guest.offset);
}

/// A place that the user does not get to, or where others may have put keys, is refused until it is neither.
#[test]
fn a_place_for_keys_is_nobody_elses() {
    let Some(guest) = Guest::new() else { return };
    let (disk, key) = (&guest.disk, guest.keys_of("old"));
    inject(disk, &[&says("AuthorizedKeysFile /etc/keys/%u"), "--mkdir=/etc/keys"]);
    for (spoilt, said, mended) in [
        ("0700", "/etc/keys: mode 0700 and owner 0 keep 'old' out", "0711"),
        ("0777", "/etc/keys: mode 0777 and owner 0 let others than root and 'old' write there", "0755"),
    ] {
        let [spoilt, mended] = [spoilt, mended].map(|mode| format!("--chmod={mode}:/etc/keys"));
        // What sshd says to a key that is there all the same.
        inject(disk, &[&mended, &key]);
        assert!(guest.is_let_in("old"), "{mended}");
        inject(disk, &[&spoilt]);
        assert!(!guest.is_let_in("old"), "{spoilt}");
        let output = run(&["inject", text(disk), &key]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains(said) && told.contains("--chmod"), "{told}");
        // The way out.
        inject(disk, &[&mended, &key]);
        assert!(guest.is_let_in("old"), "{mended}");
    }
    oracle::e2fsck(disk, guest.offset);
}

/// cloud-init's own part for users, in the guest, as at its first boot.
const FIRST_BOOT: &str = "
from cloudinit import util
from cloudinit.config import cc_set_passwords, cc_ssh, cc_users_groups
from cloudinit.distros import fetch

config = util.read_conf_with_confd('/etc/cloud/cloud.cfg')
system = config['system_info']


class Cloud:
    distro = fetch(system['distro'])('guest', system, None)

    @staticmethod
    def get_public_ssh_keys():
        return []


cc_users_groups.handle('users_groups', config, Cloud, [])
cc_set_passwords.handle('set_passwords', config, Cloud, [])
";
/// The part for ssh, after that.
const FIRST_BOOT_OF_SSH: &str = "cc_ssh.handle('ssh', config, Cloud, [])\n";

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
    let first_boot_with = |more: &str, disk: &Path| {
        let mounted = Mounted::new(disk, &format!("offset={offset}"));
        let script = "mount -t tmpfs none $1/run && mount --bind /dev $1/dev && exec chroot $1 python3 -c \"$2\"";
        oracle::succeed(
            "unshare",
            &["-m", "sh", "-c", script, "sh", text(mounted.path()), &format!("{FIRST_BOOT}{more}")],
        );
        field(mounted.path())
    };
    let first_boot = |disk: &Path| first_boot_with("", disk);
    let twin = scratch.copy(&disk, "twin.raw");
    inject(&twin, &["--delete=/etc/cloud/cloud.cfg.d/99-imgraft-password.cfg"]);
    assert_eq!(first_boot(&twin), format!("!{HASH}"), "cloud-init locks it where nothing is said");
    // What else gives the user a password, or is no reason for it.
    for (config, key) in [
        ("password: other", Some("password")),
        ("chpasswd: {users: [{name: debian, password: other, type: text}]}", Some("chpasswd")),
        ("chpasswd: {list: ['debian:other']}", Some("chpasswd")),
        ("password: other\nchpasswd: {list: ['daemon:other']}", None),
        ("password: other\nusers: []", None),
        ("password: other\nuser: {name: debian, lock_passwd: false}\nusers: []", Some("password")),
        ("user: {name: ann}", None),
    ] {
        let twin = scratch.copy(&disk, "twin.raw");
        let said = inject(&twin, &[&format!("--write=/etc/cloud/cloud.cfg.d/98-z.cfg:{config}\n"), &word]);
        let gives = |key| {
            format!(
                "cloud-init gives 'debian' another password at the first boot, as /etc/cloud/cloud.cfg.d/98-z.cfg has {key}"
            )
        };
        let note = notes(&said, "password");
        assert_eq!(note.contains("another password"), key.is_some(), "{config}: {note}");
        assert!(key.is_none_or(|key| note.contains(&gives(key))), "{config}: {note}");
        assert_eq!(first_boot(&twin) == HASH, key.is_none(), "{config}");
    }
    assert_eq!(first_boot(&disk), HASH);

    // The host keys of its configuration take the place of the guest's.
    let (path, config) = (
        "/etc/ssh/ssh_host_ed25519_key",
        "--write=/etc/cloud/cloud.cfg.d/98-z.cfg:ssh_keys: {ed25519_private: other}\n",
    );
    inject(&disk, &["--ssh-host-keys"]);
    let key = |disk: &Path| {
        std::fs::read_to_string(Mounted::new(disk, &format!("ro,noload,offset={offset}")).path().join(&path[1..]))
            .expect("a key")
    };
    let ours = key(&disk);
    first_boot_with(FIRST_BOOT_OF_SSH, &disk);
    assert_eq!(key(&disk), ours);
    inject(&disk, &[config]);
    let output = run(&["inject", text(&disk), "--ssh-host-keys"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("98-z.cfg has the last word on ssh_keys, and says otherwise"), "{told}");
    assert_eq!(output.status.code(), Some(3));
    first_boot_with(FIRST_BOOT_OF_SSH, &disk);
    assert_eq!(key(&disk), "other");
}
