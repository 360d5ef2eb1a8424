//! What `sysprep` takes out of a guest that has one of everything, by the trees before and after as debugfs and a kernel show them,
//! and by the programs that make again what is gone.

use crate::refusals::refused;
use crate::support::{Scratch, drive, expect, image, oracle, run, text, tree};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What an operation does to the guest: the paths that go (directories end with a slash), those beside them that stay, and those whose
/// content becomes another one.
struct Case {
    name: &'static str,
    gone: &'static [&'static str],
    stays: &'static [&'static str],
    becomes: &'static [(&'static str, &'static str, &'static str)],
}

const fn removes(name: &'static str, gone: &'static [&'static str], stays: &'static [&'static str]) -> Case {
    Case { name, gone, stays, becomes: &[] }
}

const ID: &str = "0123456789abcdef0123456789abcdef\n";
const IFCFG: &str = "DEVICE=eth0\nHOSTNAME=web\nHWADDR=52:54:00:12:34:56\nDHCP_HOSTNAME=web\n# HWADDR=kept\n";

/// Every operation that can be done, by name.
const CASES: &[Case] = &[
    removes("abrt-data", &["/var/spool/abrt/ccpp-1/", "/var/spool/abrt/ccpp-1/core"], &["/var/spool/abrt-upload"]),
    removes(
        "backup-files",
        &["/etc/hosts.bak", "/etc/deep/er/fstab~", "/root/notes~", "/srv/a.bak", "/var/lib/x.bak"],
        &["/etc/bak", "/etc/a.bak.txt", "/etc/dir.bak/file", "/usr/lib/a.bak", "/home/ann/a~", "/opt/b~"],
    ),
    removes(
        "bash-history",
        &["/root/.bash_history", "/home/ann/.bash_history", "/srv/people/bob/.bash_history"],
        &["/root/.bashrc", "/home/ann/.bash_logout", "/srv/people/.bash_history"],
    ),
    removes("blkid-tab", &["/etc/blkid/blkid.tab", "/etc/blkid.tab.old", "/run/blkid.tab"], &["/etc/blkid.conf"]),
    removes(
        "ca-certificates",
        &[
            "/etc/pki/CA/certs/a.crt",
            "/etc/pki/CA/private/a.key",
            "/etc/pki/tls/private/a.key",
            "/etc/pki/tls/certs/a.crt",
        ],
        &["/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.trust.crt", "/etc/pki/tls/openssl.cnf"],
    ),
    removes(
        "cloud-init",
        &[
            "/var/lib/cloud/data/",
            "/var/lib/cloud/data/instance-id",
            "/var/lib/cloud/instances/",
            "/var/lib/cloud/instances/i-1/",
            "/var/lib/cloud/instances/i-1/sem/",
            "/var/lib/cloud/instances/i-1/sem/config_ssh",
            "/var/lib/cloud/sem/",
            "/var/lib/cloud/sem/once",
        ],
        &["/var/lib/cloud/seed/nocloud/meta-data", "/etc/cloud/cloud.cfg"],
    ),
    removes(
        "crash-data",
        &["/var/crash/1/", "/var/crash/1/vmcore", "/var/log/dump/d", "/var/lib/systemd/coredump/core.x"],
        &["/var/lib/systemd/timers/stamp", "/var/crashes"],
    ),
    removes("credential-secret", &["/var/lib/systemd/credential.secret"], &["/var/lib/systemd/catalog/database"]),
    Case {
        name: "cron-spool",
        gone: &["/var/spool/cron/crontabs/ann", "/var/spool/cron/root", "/var/spool/at/a0001", "/var/spool/atjobs/j"],
        stays: &["/etc/cron.d/job", "/var/spool/anacron/cron.daily"],
        becomes: &[("/var/spool/at/.SEQ", "0001f\n", "00000\n")],
    },
    removes(
        "dhcp-client-state",
        &[
            "/var/lib/dhclient/dhclient.leases",
            "/var/lib/dhcp/dhclient.eth0.leases",
            "/var/lib/NetworkManager/internal-1.lease",
            "/var/lib/NetworkManager/secret_key",
            "/var/lib/dhcpcd/eth0.lease",
            "/etc/dhcpcd.duid",
            "/var/lib/wicked/duid.xml",
        ],
        &["/var/lib/NetworkManager/NetworkManager.state", "/etc/dhcpcd.conf", "/etc/dhcp/dhclient.conf"],
    ),
    removes(
        "dhcp-server-state",
        &["/var/lib/dhcpd/dhcpd.leases", "/var/lib/kea/kea-leases4.csv.2", "/var/lib/misc/dnsmasq.leases"],
        &["/var/lib/kea/other", "/etc/dhcp/dhcpd.conf"],
    ),
    removes(
        "dovecot-data",
        &["/var/lib/dovecot/instances"],
        &["/var/lib/dovecot/sieve/a", "/etc/dovecot/dovecot.conf"],
    ),
    removes(
        "firewall-rules",
        &["/etc/sysconfig/iptables", "/etc/firewalld/zones/public.xml", "/etc/firewalld/services/a.xml"],
        &["/etc/firewalld/firewalld.conf", "/etc/sysconfig/iptables-config"],
    ),
    Case { name: "flag-reconfiguration", gone: &[], stays: &[], becomes: &[("/.unconfigured", "", "")] },
    removes(
        "ipa-client",
        &[
            "/etc/ipa/ca.crt",
            "/etc/ipa/default.conf",
            "/var/lib/ipa-client/sysrestore/a",
            "/etc/pki/ca-trust/source/anchors/ipa-ca.crt",
        ],
        &["/etc/pki/ca-trust/source/anchors/mine.crt", "/etc/ipa/nssdb/key4.db"],
    ),
    removes(
        "kerberos-data",
        &["/var/kerberos/krb5kdc/principal"],
        &["/var/kerberos/krb5kdc/kadm5.acl", "/var/kerberos/krb5kdc/kdc.conf"],
    ),
    removes("kerberos-hostkeytab", &["/etc/krb5.keytab"], &["/etc/krb5.conf"]),
    removes(
        "logfiles",
        &[
            "/var/log/dpkg.log",
            "/var/log/dpkg.log.1.gz",
            "/var/log/syslog",
            "/var/log/journal/0123/",
            "/var/log/journal/0123/system.journal",
            "/var/log/installer/cdebconf/",
            "/var/log/installer/cdebconf/questions.dat",
            "/var/log/httpd/access_log",
            "/var/log/audit/audit.log",
            "/root/anaconda-ks.cfg",
            "/var/cache/man/index.db",
        ],
        &["/var/log/README", "/var/log/httpd/keep", "/var/log/.hidden.log", "/root/kept.cfg", "/var/cache/other"],
    ),
    removes("lvm-system-devices", &["/etc/lvm/devices/system.devices"], &["/etc/lvm/lvm.conf"]),
    Case {
        name: "machine-id",
        gone: &[],
        stays: &["/etc/machine-info"],
        becomes: &[("/etc/machine-id", ID, ""), ("/var/lib/dbus/machine-id", ID, "-> /etc/machine-id")],
    },
    removes("mail-spool", &["/var/spool/mail/ann"], &["/var/spool/mail-other"]),
    Case {
        name: "net-hostname",
        gone: &[],
        stays: &["/etc/sysconfig/network-scripts/ifup-eth"],
        becomes: &[(
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            IFCFG,
            "DEVICE=eth0\nHWADDR=52:54:00:12:34:56\n# HWADDR=kept\n",
        )],
    },
    Case {
        name: "net-hwaddr",
        gone: &[],
        stays: &[],
        becomes: &[(
            "/etc/sysconfig/network-scripts/ifcfg-eth0",
            IFCFG,
            "DEVICE=eth0\nHOSTNAME=web\nDHCP_HOSTNAME=web\n# HWADDR=kept\n",
        )],
    },
    removes(
        "net-nmconn",
        &["/etc/NetworkManager/system-connections/eth0.nmconnection"],
        &["/etc/NetworkManager/NetworkManager.conf", "/etc/NetworkManager/system-connections/other"],
    ),
    Case {
        name: "pacct-log",
        gone: &["/var/account/pacct-1", "/var/log/account/pacct.0"],
        stays: &["/var/account/other"],
        becomes: &[("/var/account/pacct", "x", ""), ("/var/log/account/pacct", "x", "")],
    },
    removes(
        "package-manager-cache",
        &["/var/cache/apt/archives/a.deb", "/var/cache/apt/archives/partial/b.deb", "/var/cache/dnf/x/y.rpm"],
        &["/var/cache/apt/pkgcache.bin", "/var/cache/debconf/config.dat"],
    ),
    removes("pam-data", &["/run/faillock/ann", "/var/lib/faillock/ann", "/run/console/a"], &["/run/other"]),
    removes(
        "passwd-backups",
        &["/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-"],
        &["/etc/passwd-note"],
    ),
    removes(
        "puppet-data-log",
        &[
            "/var/log/puppet/agent",
            "/var/lib/puppet/ssl/key",
            "/var/lib/puppet/ssl/certs/c.pem",
            "/etc/puppetlabs/puppet/ssl/certs/c.pem",
        ],
        &["/etc/puppetlabs/puppet/puppet.conf", "/var/lib/puppet/kept"],
    ),
    removes(
        "random-seed",
        &["/var/lib/systemd/random-seed", "/boot/loader/random-seed"],
        &["/boot/loader/loader.conf"],
    ),
    removes(
        "rh-subscription-manager",
        &["/etc/pki/consumer/cert.pem", "/etc/pki/entitlement/1.pem"],
        &["/etc/pki/product/69.pem"],
    ),
    removes("rhn-systemid", &["/etc/sysconfig/rhn/systemid"], &["/etc/sysconfig/rhn/up2date"]),
    removes("rpm-db", &["/var/lib/rpm/__db.001"], &["/var/lib/rpm/Packages"]),
    removes(
        "samba-db-log",
        &["/var/log/samba/smbd", "/var/lib/samba/a.tdb", "/var/lib/samba/private/secrets.tdb"],
        &["/etc/samba/smb.conf", "/var/lib/samba/sysvol/a/deep"],
    ),
    removes("smolt-uuid", &["/etc/sysconfig/hw-uuid", "/etc/smolt/uuid"], &["/etc/smolt/config.py"]),
    removes(
        "ssh-hostkeys",
        &[
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/etc/ssh/ssh_host_rsa_key-cert_host_x",
        ],
        &["/etc/ssh/sshd_config", "/etc/ssh/ssh_known_hosts", "/etc/ssh/moduli"],
    ),
    removes(
        "ssh-userdir",
        &[
            "/root/.ssh/",
            "/root/.ssh/authorized_keys",
            "/home/ann/.ssh/",
            "/home/ann/.ssh/id_rsa",
            "/srv/people/bob/.ssh/",
            "/srv/people/bob/.ssh/config",
        ],
        &["/root/.sshrc", "/srv/git/.ssh/config"],
    ),
    removes("sssd-db-log", &["/var/log/sssd/sssd", "/var/lib/sss/db/cache.ldb"], &["/var/lib/sss/pubconf/a"]),
    removes(
        "tmp-files",
        &["/tmp/.X11-unix/", "/tmp/.X11-unix/X0", "/tmp/a", "/var/tmp/b/", "/var/tmp/b/c"],
        &["/var/tmpfile"],
    ),
    removes(
        "udev-persistent-net",
        &["/etc/udev/rules.d/70-persistent-net.rules"],
        &["/etc/udev/rules.d/70-persistent-cd.rules"],
    ),
    Case {
        name: "user-account",
        gone: &["/home/ann/", "/home/ann/.profile", "/srv/people/bob/", "/var/spool/mail/ann"],
        stays: &["/home/left/.profile"],
        becomes: &[
            ("/etc/passwd", PASSWD, "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"),
            ("/etc/shadow", SHADOW, "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n"),
            ("/etc/group", GROUP, "root:x:0:\nsudo:x:27:root\nnogroup:x:65534:\n"),
            ("/etc/gshadow", GSHADOW, "root:*::\nsudo:*::root\nnogroup:*::\n"),
        ],
    },
    removes("utmp", &["/run/utmp"], &["/run/utmp.other"]),
    removes("yum-uuid", &["/var/lib/yum/uuid"], &["/var/lib/yum/yumdb/a"]),
    removes("zsh-history", &["/root/.zsh_history", "/home/ann/.zsh_history"], &["/home/ann/.zshrc"]),
];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/srv/people/bob:/bin/sh\n";
const SHADOW: &str =
    "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\nann:!:19000:0:99999:7:::\nbob:!:19000:0:99999:7:::\n";
const GROUP: &str = "root:x:0:\nsudo:x:27:ann,root\nnogroup:x:65534:\nann:x:1000:\nbob:x:1001:\n";
const GSHADOW: &str = "root:*::\nsudo:*::ann,root\nnogroup:*::\nann:!::\nbob:!::\n";

/// What the guest has besides.
const ALWAYS: &[(&str, &str)] = &[
    ("/etc/os-release", "ID=rhel\nID_LIKE=fedora\nVERSION_ID=9.4\nPRETTY_NAME=\"One of everything\"\n"),
    ("/usr/lib/systemd/systemd", ""),
    ("/usr/sbin/sshd", ""),
    ("/etc/login.defs", "UID_MIN 1000\nUID_MAX 60000\n"),
    ("/etc/passwd", PASSWD),
    ("/etc/shadow", SHADOW),
    ("/etc/group", GROUP),
    ("/etc/gshadow", GSHADOW),
];
const LINKS: &[(&str, &str)] = &[
    ("/sbin", "usr/sbin"),
    ("/var/run", "/run"),
    ("/var/mail", "spool/mail"),
    ("/usr/sbin/init", "../lib/systemd/systemd"),
];
const DIRECTORIES: &[&str] = &["/proc", "/sys", "/dev", "/var/tmp", "/home/ann", "/srv/people/bob"];

/// A path, and what is there: kind, mode, owner, content.
type Listing = BTreeMap<String, String>;

/// The guest that has one of everything, as an image of one ext4 that mke2fs has made.
fn guest(scratch: &Scratch) -> PathBuf {
    let at = scratch.path().join("tree");
    let place = |path: &str| at.join(path.trim_start_matches('/'));
    let write = |path: &str, content: &str| {
        std::fs::create_dir_all(place(path).parent().expect("it has one")).expect("it is made");
        std::fs::write(place(path), content).expect("it is written");
    };
    let make = |path: &str| std::fs::create_dir_all(place(path)).expect("it is made");
    DIRECTORIES.iter().for_each(|path| make(path));
    ["/usr/sbin", "/run", "/var/spool/mail"].iter().for_each(|path| make(path));
    for (path, target) in LINKS {
        std::os::unix::fs::symlink(target, place(path)).expect("it is made");
    }
    for (path, content) in ALWAYS {
        write(path, content);
    }
    for case in CASES {
        for path in case.gone.iter().chain(case.stays) {
            match path.strip_suffix('/') {
                Some(directory) => make(directory),
                None => write(path, path),
            }
        }
        for (path, before, _) in case.becomes.iter().filter(|(path, ..)| *path != "/.unconfigured") {
            write(path, before);
        }
    }
    let disk = scratch.path().join("disk.raw");
    std::fs::File::create(&disk).and_then(|file| file.set_len(16 << 20)).expect("there is room");
    oracle::succeed("mke2fs", &["-q", "-F", "-t", "ext4", "-d", text(&at), text(&disk)]);
    // mke2fs has all of them of whoever runs this, root or not.
    let mut requests = String::new();
    for (path, owner) in [("/home/ann", 1000), ("/srv/people/bob", 1001)] {
        requests.push_str(&format!("sif {path} uid {owner}\n"));
    }
    let requests = scratch.file("requests", requests);
    oracle::succeed("debugfs", &["-w", "-f", text(&requests), text(&disk)]);
    disk
}

/// The tree of an image of one filesystem, as debugfs copies it out.
fn listing(scratch: &Scratch, disk: &Path) -> Listing {
    oracle::e2fsck(disk, 0);
    let out = scratch.path().join("out");
    let _ = std::fs::remove_dir_all(&out);
    std::fs::create_dir(&out).expect("it is made");
    oracle::debugfs(disk, 0, &format!("rdump / {}", text(&out)));
    let mut listing = Listing::new();
    list(&out, "", &mut listing);
    assert!(listing.len() > 200, "{}", listing.len());
    listing
}

fn list(root: &Path, directory: &str, listing: &mut Listing) {
    for entry in std::fs::read_dir(root.join(directory.trim_start_matches('/'))).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let path = format!("{directory}/{}", entry.file_name().to_str().expect("a text"));
        let metadata = entry.metadata().expect("it is there");
        let (kind, content) = if metadata.is_dir() {
            ("d", String::new())
        } else if metadata.is_symlink() {
            ("l", std::fs::read_link(entry.path()).expect("a link").display().to_string())
        } else {
            ("f", std::fs::read_to_string(entry.path()).expect("a text"))
        };
        let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
        if path != "/lost+found" {
            listing.insert(path.clone(), format!("{kind} {mode:o} {uid}:{gid} {content}"));
        }
        if kind == "d" {
            list(root, &path, listing);
        }
    }
}

/// Runs `sysprep` twice; gives the report of the first run.
fn sysprep(disk: &Path, words: &[&str]) -> serde_json::Value {
    let words = [&["sysprep", text(disk), "--json"], words].concat();
    let report: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    let sum = oracle::sha256(disk);
    let again: serde_json::Value = serde_json::from_str(&expect(0, &words)).expect("JSON");
    assert_eq!(again["changed"], false, "{words:?}: {}", again["items"]);
    assert_eq!(again["io"]["blocks_written"], 0, "{words:?}");
    assert_eq!(oracle::sha256(disk), sum, "{words:?}");
    report
}

/// Compares two trees: only what the cases name may differ, and it must.
fn assert_done(before: &Listing, after: &Listing, cases: &[&Case]) {
    let names: Vec<_> = cases.iter().map(|case| case.name).collect();
    let gone: BTreeSet<&str> = cases.iter().flat_map(|case| case.gone).map(|path| path.trim_end_matches('/')).collect();
    let within = |path: &str| {
        gone.contains(path)
            || names.contains(&"user-account") && path.starts_with("/home/ann/")
            || names.contains(&"user-account") && path.starts_with("/srv/people/bob/")
    };
    let becomes: BTreeMap<&str, &str> =
        cases.iter().flat_map(|case| case.becomes).map(|(path, _, after)| (*path, *after)).collect();
    for (path, node) in before {
        match (within(path), becomes.get(path.as_str()), after.get(path)) {
            (true, _, found) => assert_eq!(found, None, "{names:?}: {path} is still there"),
            (false, None, found) => assert_eq!(found, Some(node), "{names:?}: {path} is not theirs to change"),
            (false, Some(expected), found) => {
                let found = found.unwrap_or_else(|| panic!("{names:?}: {path} is gone"));
                let attributes = |node: &str| node.split(' ').take(3).map(str::to_owned).collect::<Vec<_>>();
                if let Some(target) = expected.strip_prefix("-> ") {
                    assert!(found.starts_with("l ") && found.ends_with(target), "{names:?}: {path}: {found}");
                    continue;
                }
                assert_eq!(attributes(found), attributes(node), "{names:?}: {path}");
                let content = found.splitn(4, ' ').nth(3);
                assert_eq!(content, Some(*expected), "{names:?}: {path}");
            }
        }
    }
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    let expected: Vec<_> = becomes.keys().filter(|path| !before.contains_key(**path)).collect();
    assert_eq!(new, expected, "{names:?}");
}

fn have_tools() -> bool {
    ["mke2fs", "debugfs", "e2fsck", "find"].iter().all(|tool| oracle::have(tool))
}

#[test]
fn each_operation_removes_what_it_says_and_nothing_else() {
    if !have_tools() {
        return;
    }
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let before = listing(&scratch, &disk);
    for case in CASES {
        let copy = scratch.copy(&disk, "copy.raw");
        let report = sysprep(&copy, &["--enable", case.name]);
        let after = listing(&scratch, &copy);
        assert_done(&before, &after, &[case]);
        // The report names every path that differs, and no other.
        let items = report["items"].as_array().expect("items");
        assert_eq!((items.len(), &items[0]["item"], &items[0]["status"]), (1, &case.name.into(), &"applied".into()));
        let told: BTreeSet<&str> = items[0]["files"]
            .as_array()
            .expect("files")
            .iter()
            .map(|file| file["path"].as_str().expect("a path"))
            .collect();
        let differs: BTreeSet<&str> = before
            .iter()
            .filter(|(path, node)| after.get(*path) != Some(node))
            .map(|(path, _)| path)
            .chain(after.keys().filter(|path| !before.contains_key(*path)))
            .map(String::as_str)
            .collect();
        assert_eq!(told, differs, "{}", case.name);
        assert_eq!(report["verified"]["verdict"], "agrees", "{}: {}", case.name, report["verified"]);
    }
}

/// Every operation that there is has a case, or is refused.
#[test]
fn every_operation_is_tried_or_refused() {
    let listed = expect(0, &["sysprep", "--list-operations"]);
    let mut done = Vec::new();
    for line in listed.lines() {
        let (name, rest) = line.split_once(' ').expect("a name");
        match rest.starts_with("- ") {
            false => done.push(name),
            true => {
                let phony = image::phony();
                for words in [&["--enable", name][..], &["--operations", &format!("defaults,{name}")]] {
                    let words = [&["sysprep", text(&phony)], words].concat();
                    refused(&phony, 2, &words, &[name, "cannot be done", "--list-operations"]);
                }
            }
        }
    }
    let tried: Vec<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(done, tried);
    assert!(
        listed.contains("\nmachine-id * ") && listed.contains("\nuser-account   ") && listed.contains("\nlvm-uuids - ")
    );
}

#[test]
fn all_at_once_and_nothing_of_it_in_a_dry_run() {
    if !have_tools() {
        return;
    }
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let before = listing(&scratch, &disk);
    let sum = oracle::sha256(&disk);
    let shown = expect(0, &["sysprep", text(&disk), "--dry-run"]);
    assert_eq!(oracle::sha256(&disk), sum);
    assert!(shown.contains("removed file /etc/ssh/ssh_host_ed25519_key\n"), "{shown}");
    assert!(shown.contains("dry run: nothing was written"), "{shown}");
    // A removed file holds its own path; of what goes nothing but the name is shown.
    assert!(
        !shown.contains("-/etc/ssh/ssh_host_ed25519_key") && !shown.contains("-/root/.ssh/authorized_keys"),
        "{shown}"
    );

    let undo = scratch.path().join("undo");
    let defaults: Vec<&Case> = CASES.iter().filter(|case| is_default(case.name)).collect();
    let copy = scratch.copy(&disk, "copy.raw");
    expect(0, &["sysprep", text(&copy), "--keep-undo", text(&undo), "--quiet"]);
    let mut together = listing(&scratch, &copy);
    // Two operations change one file.
    let ifcfg = together.get_mut("/etc/sysconfig/network-scripts/ifcfg-eth0").expect("it is there");
    assert!(ifcfg.ends_with(" DEVICE=eth0\n# HWADDR=kept\n"), "{ifcfg}");
    let apart = defaults.iter().filter(|case| !case.name.starts_with("net-h")).copied().collect::<Vec<_>>();
    ifcfg.clone_from(&before["/etc/sysconfig/network-scripts/ifcfg-eth0"]);
    assert_done(&before, &together, &apart);
    expect(0, &["undo", text(&copy), text(&undo)]);
    assert_eq!(oracle::sha256(&copy), sum);

    let thin = scratch.path().join("thin.qcow2");
    expect(0, &["sysprep", text(&disk), "--format", "raw", "--overlay", text(&thin)]);
    assert_eq!(oracle::sha256(&disk), sum, "the image under an overlay stays");
    let raw = oracle::raw(&scratch, &thin, "qcow2");
    let mut through = listing(&scratch, &raw);
    through
        .get_mut("/etc/sysconfig/network-scripts/ifcfg-eth0")
        .expect("it is there")
        .clone_from(&before["/etc/sysconfig/network-scripts/ifcfg-eth0"]);
    assert_eq!(through, together);
    // All that can be done, and said what cannot.
    let report = sysprep(&copy, &["--operations", "all"]);
    assert!(
        report["notes"][0].as_str().expect("a note").contains("customize, fs-uuids, lvm-uuids, script"),
        "{report}"
    );
    listing(&scratch, &copy);
}

fn is_default(name: &str) -> bool {
    let listed = expect(0, &["sysprep", "--list-operations"]);
    listed.lines().any(|line| line.starts_with(&format!("{name} * ")))
}

/// The programs of the guest make again what is gone: systemd a machine ID, ssh-keygen host keys.
#[test]
fn what_is_gone_is_made_again() {
    let tools = ["systemd-machine-id-setup", "ssh-keygen", "pwck", "grpck"];
    if !have_tools() || !tools.iter().all(|tool| oracle::have(tool)) {
        return;
    }
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let out = scratch.path().join("out");
    let set_up = || {
        let _ = oracle::tool("systemd-machine-id-setup", &["--root", text(&out)]);
        std::fs::read_to_string(out.join("etc/machine-id")).expect("it is there")
    };
    listing(&scratch, &disk);
    assert_eq!(set_up(), ID, "an ID that is there stays");
    sysprep(&disk, &["--operations", "defaults,user-account"]);
    listing(&scratch, &disk);
    assert!(!out.join("etc/ssh/ssh_host_ed25519_key").exists());
    let new = set_up();
    assert!(new.len() == 33 && new != ID, "{new:?}");
    oracle::succeed("ssh-keygen", &["-A", "-f", text(&out)]);
    assert!(out.join("etc/ssh/ssh_host_ed25519_key").exists());
    let at = |name: &str| out.join("etc").join(name);
    oracle::succeed("pwck", &["-qr", text(&at("passwd")), text(&at("shadow"))]);
    oracle::succeed("grpck", &["-r", text(&at("group")), text(&at("gshadow"))]);
}

/// What is left of cloud-init's state is what `cloud-init clean` leaves.
#[test]
fn as_cloud_init_cleans() {
    let Some(package) = drive::cloud_init().filter(|_| have_tools()) else { return };
    let scratch = Scratch::new();
    let disk = guest(&scratch);
    let beside = scratch.path().join("twin");
    listing(&scratch, &disk);
    std::fs::rename(scratch.path().join("out"), &beside).expect("it is moved");
    let program = "import sys\nfrom cloudinit.cmd import clean\nclean.settings.CLEAN_RUNPARTS_DIR = '/nonexistent'\n\
                   class Paths: cloud_dir = sys.argv[1]\n\
                   class Init:\n    paths = Paths\n    cfg = {}\n    def __init__(self, **_): pass\n    def read_cfg(self): pass\n\
                   clean.Init = Init\nsys.exit(clean.remove_artifacts(False))\n";
    let state = beside.join("var/lib/cloud");
    let cleaned = Command::new("/usr/bin/python3")
        .args(["-c", program, text(&state)])
        .env("PYTHONPATH", package.join("usr/lib/python3/dist-packages"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("it starts");
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    let report = sysprep(&disk, &["--enable", "cloud-init"]);
    assert!(report["items"][0]["notes"][0].as_str().expect("a note").contains("/var/lib/cloud/seed stays"));
    listing(&scratch, &disk);
    let names = |at: &Path| oracle::succeed("sh", &["-c", "cd $1 && find . | LC_ALL=C sort", "sh", text(at)]);
    assert_eq!(names(&scratch.path().join("out/var/lib/cloud")), names(&state));
    assert_eq!(names(&state), ".\n./seed\n./seed/nocloud\n./seed/nocloud/meta-data\n");
}

/// A Debian as it is: only what goes is gone by the kernel's word, and it is said that nobody makes host keys there.
#[test]
fn a_debian_by_the_kernel() {
    if !tree::can_mount() {
        return;
    }
    for name in ["bookworm-gpt", "trixie-gpt"] {
        let Some(guest) = image::named("real", name) else { return };
        let scratch = Scratch::new();
        let disk = scratch.copy(&guest.path, "disk.raw");
        let offset = image::open(&disk, guest.partition).offset;
        let nodes = |disk: &Path| tree::Mounted::new(disk, &format!("ro,noload,offset={offset}")).tree();
        let before = nodes(&disk);
        let run = || -> serde_json::Value {
            serde_json::from_str(&expect(0, &["sysprep", text(&disk), "--json"])).expect("JSON")
        };
        let report = run();
        let after = nodes(&disk);
        oracle::e2fsck(&disk, offset);
        let items = report["items"].as_array().expect("items");
        let files = items.iter().flat_map(|item| item["files"].as_array().expect("files"));
        let told: BTreeSet<&str> = files.map(|file| file["path"].as_str().expect("a path")).collect();
        let gone: BTreeSet<String> = before
            .keys()
            .filter(|path| !after.contains_key(*path))
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect();
        assert!(gone.iter().all(|path| told.contains(path.as_str())), "{name}: {gone:?}");
        assert!(gone.contains("/etc/ssh/ssh_host_ed25519_key") && gone.contains("/etc/shadow-"), "{name}: {gone:?}");
        assert!(after.keys().all(|path| before.contains_key(path)), "{name}");
        let keys = items.iter().find(|item| item["item"] == "ssh-hostkeys").expect("it is done");
        let note = keys["notes"][0].as_str().expect("a note");
        // Debian's openssh-server has a unit for that since trixie, for a first boot.
        let expected = match name {
            "bookworm-gpt" => "nothing in the guest makes host keys again",
            _ => "ssh.service.wants/sshd-keygen.service makes host keys again at a first boot only",
        };
        assert!(note.contains(expected), "{name}: {note}");
        let again = run();
        assert_eq!((&again["changed"], &again["io"]["blocks_written"]), (&false.into(), &0.into()), "{name}");
    }
}

/// Of several filesystems each loses what is on it, a /tmp in memory and a mount that is missing among them.
#[test]
fn optional_operations_and_mounts() {
    let scratch = Scratch::new();
    if !have_tools() {
        return;
    }
    let disk = guest(&scratch);
    let fstab = scratch.file("fstab", "tmpfs /tmp tmpfs defaults 0 0\n/dev/sdz1 /home ext4 defaults 0 0\n");
    expect(0, &["inject", text(&disk), "--upload", &format!("{}:/etc/fstab", text(&fstab))]);
    refused(
        &disk,
        3,
        &["sysprep", text(&disk)],
        &[
            "operation bash-history",
            "/dev/sdz1",
            "--operations that ends with -bash-history",
            "defaults,-bash-history",
            "--mount none:PATH",
        ],
    );
    let words = ["sysprep", text(&disk), "--optional", "bash-history,ssh-userdir,zsh-history"];
    let told = expect(5, &words);
    assert!(told.contains("bash-history FAILED (optional)"), "{told}");
    assert!(
        told.contains("remove   /tmp/a ") && told.contains("remove   /etc/machine-id")
            || told.contains("modify   /etc/machine-id"),
        "{told}"
    );
    let after = listing(&scratch, &disk);
    assert!(
        !after.contains_key("/tmp/a")
            && after.contains_key("/home/ann/.bash_history")
            && after.contains_key("/root/.bash_history")
    );
    let told = expect(0, &["sysprep", text(&disk), "--mount", "none:/home"]);
    assert!(told.contains("remove   /home/ann/.bash_history"), "{told}");
}

#[test]
fn the_list_needs_no_image() {
    let listed = expect(0, &["sysprep", "--list-operations"]);
    assert!(listed.lines().count() > 40, "{listed}");
    // As virt-sysprep, which is done when it comes to the option.
    for more in [&["-a", "none.raw"][..], &["none.raw", "--enable", "utmp"], &["--network", "-q", "--dry-run"]] {
        assert_eq!(expect(0, &[&["sysprep", "--list-operations"], more].concat()), listed);
    }
    assert_eq!(run(&["sysprep", "--list-operations", "--json"]).status.code(), Some(2));
    assert_eq!(run(&["sysprep"]).status.code(), Some(2));
}
