//! The operations, by name.
//!
//! What each removes is held to guestfs-tools' virt-sysprep, of which the names are; where a comment says so, newer places of the same
//! things are added. Its operations that need a device or a program run are here with the reason why they are not done.

use super::rule::Rule::{self, Content, Ending, File, FileBut, FileInHomes, FilesBelow, InHomes, Regular, Tree};
use super::{Entry, Usage, account, cloud_init, host_keys, identity, ifcfg, spool};

/// An operation that is done unless it is left out, and only removes.
const fn removes(name: &'static str, heading: &'static str, rules: &'static [Rule]) -> Entry {
    Entry { name, heading, usage: Usage::Default, rules, also: None }
}

/// One that is not done, and why.
const fn refused(name: &'static str, heading: &'static str, why: &'static str) -> Entry {
    Entry { name, heading, usage: Usage::Refused(why), rules: &[], also: None }
}

/// In the order in which they are done.
pub(super) static OPERATIONS: &[Entry] = &[
    removes("abrt-data", "Remove what ABRT has collected of crashes", &[Tree("/var/spool/abrt/*")]),
    removes(
        "backup-files",
        "Remove backups that editors left in /etc, /root, /srv, /tmp and /var: *.bak and *~",
        BACKUPS,
    ),
    removes("bash-history", "Remove the history of bash, of root and the users", &[FileInHomes(".bash_history")]),
    removes("blkid-tab", "Remove blkid's list of block devices", BLKID),
    Entry {
        usage: Usage::OnRequest,
        also: Some(host_keys::of_authorities),
        ..removes("ca-certificates", "Remove certificates and keys in /etc/pki/CA and /etc/pki/tls", AUTHORITIES)
    },
    Entry {
        also: Some(cloud_init::forget),
        ..removes("cloud-init", "Remove what cloud-init knows of this instance, so that a clone is a new one", &[])
    },
    removes("crash-data", "Remove crash dumps: of the kernel, of programs (systemd-coredump), and of pstore", DUMPS),
    Entry {
        also: Some(identity::credentials),
        ..removes("credential-secret", "Remove the secret by which systemd encrypts credentials for this machine", &[])
    },
    Entry { also: Some(spool::cron), ..removes("cron-spool", "Remove the jobs of users for at and cron", &[]) },
    refused("customize", "Change the guest as virt-customize does", "imgraft inject does that"),
    removes("dhcp-client-state", "Remove leases of DHCP clients, and what these identify the machine by", CLIENTS),
    removes("dhcp-server-state", "Remove leases that DHCP servers have given", SERVERS),
    removes("dovecot-data", "Remove the data of the mail server Dovecot", &[File("/var/lib/dovecot/*")]),
    Entry {
        usage: Usage::OnRequest,
        ..removes("firewall-rules", "Remove the rules of the firewall, which leaves the guest open", FIREWALL)
    },
    Entry {
        usage: Usage::OnRequest,
        also: Some(spool::flag_reconfiguration),
        ..removes(
            "flag-reconfiguration",
            "Have the guest ask at its next boot how it is to be set up: /.unconfigured",
            &[],
        )
    },
    refused(
        "fs-uuids",
        "Change the UUIDs of filesystems",
        "fstab, the boot loader and the initrd look for the filesystems by these, and the guest would not boot",
    ),
    Entry {
        also: Some(host_keys::of_authorities),
        ..removes("ipa-client", "Remove the enrolment in an IPA domain", IPA)
    },
    Entry { usage: Usage::OnRequest, ..removes("kerberos-data", "Remove the database of a Kerberos server", KERBEROS) },
    removes("kerberos-hostkeytab", "Remove the host's Kerberos keys", &[File("/etc/krb5.keytab")]),
    removes("logfiles", "Remove log files, and caches that are made anew", LOGS),
    removes(
        "lvm-system-devices",
        "Remove LVM2's list of the devices that it may use",
        &[File("/etc/lvm/devices/system.devices")],
    ),
    refused(
        "lvm-uuids",
        "Change the UUIDs of LVM2's physical volumes and groups",
        "imgraft writes no LVM2 metadata; vgimportclone(8) gives a clone other ones, where one host sees both disks",
    ),
    Entry {
        also: Some(identity::forget),
        ..removes("machine-id", "Remove the machine ID, so that the guest makes another at its next boot", &[])
    },
    removes("mail-spool", "Remove mail that waits for users", &[Tree("/var/spool/mail/*"), Tree("/var/mail/*")]),
    Entry {
        also: Some(ifcfg::host_names),
        ..removes("net-hostname", "Remove HOSTNAME and DHCP_HOSTNAME from ifcfg files", &[])
    },
    Entry {
        also: Some(ifcfg::addresses),
        ..removes("net-hwaddr", "Remove HWADDR, the MAC address, from ifcfg files", &[])
    },
    Entry {
        also: Some(ifcfg::connections),
        ..removes("net-nmconn", "Remove NetworkManager's own connections, of Fedora and its kin", &[])
    },
    Entry { also: Some(spool::accounting), ..removes("pacct-log", "Remove the logs of process accounting", &[]) },
    removes("package-manager-cache", "Remove packages that package managers have downloaded", PACKAGES),
    removes("pam-data", "Remove what PAM's modules know of logins", PAM),
    removes("passwd-backups", "Remove the backups of account files: /etc/passwd- and its like", PASSWD),
    removes("puppet-data-log", "Remove data, logs and certificates of Puppet", PUPPET),
    removes("random-seed", "Remove the random seeds of systemd, of other inits and of the boot loader", SEEDS),
    removes(
        "rh-subscription-manager",
        "Remove the subscription to Red Hat",
        &[Tree("/etc/pki/consumer/*"), Tree("/etc/pki/entitlement/*")],
    ),
    removes(
        "rhn-systemid",
        "Remove the registration with Red Hat Network",
        &[File("/etc/sysconfig/rhn/systemid"), File("/etc/sysconfig/rhn/osad-auth.conf")],
    ),
    removes(
        "rpm-db",
        "Remove files of RPM's database that belong to one machine",
        &[File("/var/lib/rpm/__db.*"), File("/usr/lib/sysimage/rpm/__db.*")],
    ),
    removes("samba-db-log", "Remove databases and logs of Samba", SAMBA),
    refused(
        "script",
        "Run a script on this machine over the guest's files",
        "imgraft runs no programs over a guest's files",
    ),
    removes(
        "smolt-uuid",
        "Remove Smolt's UUIDs of the hardware",
        &[File("/etc/sysconfig/hw-uuid"), File("/etc/smolt/uuid"), File("/etc/smolt/hw-uuid")],
    ),
    Entry {
        also: Some(host_keys::who_makes_them),
        ..removes("ssh-hostkeys", "Remove the keys by which sshd identifies the host", HOST_KEYS)
    },
    Entry {
        also: Some(host_keys::of_users_elsewhere),
        ..removes("ssh-userdir", "Remove .ssh, with all keys, of root and the users", &[InHomes(".ssh")])
    },
    removes("sssd-db-log", "Remove databases and logs of SSSD", &[File("/var/log/sssd/*"), File("/var/lib/sss/db/*")]),
    removes("tmp-files", "Remove all that is in /tmp and /var/tmp", &[Content("/tmp"), Content("/var/tmp")]),
    removes(
        "udev-persistent-net",
        "Remove the names that udev has given network devices by their MAC addresses",
        &[File("/etc/udev/rules.d/70-persistent-net.rules")],
    ),
    Entry {
        usage: Usage::OnRequest,
        also: Some(account::remove),
        ..removes("user-account", "Remove the accounts of people, with their home directories and mail", &[])
    },
    removes("utmp", "Remove the list of who is logged in", &[File("/var/run/utmp")]),
    removes("yum-uuid", "Remove the UUID by which yum is counted", &[File("/var/lib/yum/uuid")]),
    removes("zsh-history", "Remove the history of zsh, of root and the users", &[FileInHomes(".zsh_history")]),
];

const BACKUPS: &[Rule] = &[
    Ending("/etc", EDITORS),
    Ending("/root", EDITORS),
    Ending("/srv", EDITORS),
    Ending("/tmp", EDITORS),
    Ending("/var", EDITORS),
];
const EDITORS: &[&str] = &[".bak", "~"];

const BLKID: &[Rule] = &[
    Regular("/var/run/blkid.tab"),
    Regular("/var/run/blkid.tab.old"),
    Regular("/etc/blkid/blkid.tab"),
    Regular("/etc/blkid/blkid.tab.old"),
    Regular("/etc/blkid.tab"),
    Regular("/etc/blkid.tab.old"),
    Regular("/dev/.blkid.tab"),
    Regular("/dev/.blkid.tab.old"),
];

const AUTHORITIES: &[Rule] = &[
    File("/etc/pki/CA/certs/*.crt"),
    File("/etc/pki/CA/crl/*.crt"),
    File("/etc/pki/CA/newcerts/*.crt"),
    File("/etc/pki/CA/private/*.key"),
    File("/etc/pki/tls/private/*.key"),
    FileBut(
        "/etc/pki/tls/certs/*.crt",
        &["/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.trust.crt"],
    ),
];

const DUMPS: &[Rule] = &[
    Tree("/var/crash/*"),
    Tree("/var/log/dump/*"),
    // Beside kexec-tools': systemd-coredump(8), systemd-pstore(8).
    Tree("/var/lib/systemd/coredump/*"),
    Tree("/var/lib/systemd/pstore/*"),
];

const CLIENTS: &[Rule] = &[
    Tree("/var/lib/dhclient/*"),
    Tree("/var/lib/dhcp/*"),
    // Beside dhclient's: NetworkManager's leases, and the secret that its identifiers and addresses are made of; dhcpcd(8); wicked(8).
    File("/var/lib/NetworkManager/*.lease"),
    File("/var/lib/NetworkManager/secret_key"),
    Tree("/var/lib/dhcpcd/*"),
    Tree("/var/lib/dhcpcd5/*"),
    File("/etc/dhcpcd.duid"),
    File("/etc/dhcpcd.secret"),
    File("/var/lib/wicked/*"),
];

const SERVERS: &[Rule] = &[
    Tree("/var/lib/dhcpd/*"),
    // Beside ISC's: Kea's, and dnsmasq's.
    File("/var/lib/kea/*.csv*"),
    File("/var/lib/misc/dnsmasq.leases"),
    File("/var/lib/dnsmasq/*.leases"),
];

const FIREWALL: &[Rule] =
    &[File("/etc/sysconfig/iptables"), File("/etc/firewalld/services/*"), File("/etc/firewalld/zones/*")];

const IPA: &[Rule] = &[
    File("/etc/ipa/ca.crt"),
    File("/etc/ipa/default.conf"),
    File("/var/lib/ipa-client/sysrestore/*"),
    File("/var/lib/ipa-client/pki/*"),
    File("/etc/pki/ca-trust/source/anchors/ipa-ca.crt"),
    File("/usr/local/share/ca-certificates/ipa-ca.crt"),
    File("/etc/pki/ca-trust/source/ipa.p11-kit"),
];

const KERBEROS: &[Rule] =
    &[FileBut("/var/kerberos/krb5kdc/*", &["/var/kerberos/krb5kdc/kadm5.acl", "/var/kerberos/krb5kdc/kdc.conf"])];

const LOGS: &[Rule] = &[
    Tree("/var/log/*.log*"),
    Tree("/var/log/ConsoleKit/*"),
    Tree("/var/log/anaconda.syslog"),
    Tree("/var/log/anaconda/*"),
    Tree("/var/log/apache2/*_log"),
    Tree("/var/log/apache2/*_log-*"),
    Tree("/var/log/apt/*"),
    Tree("/var/log/aptitude*"),
    Tree("/var/log/audit/*"),
    Tree("/var/log/btmp*"),
    Tree("/var/log/BackupPC/LOG"),
    Tree("/var/log/ceph/*.log"),
    Tree("/var/log/chrony/*.log"),
    Tree("/var/log/cron*"),
    Tree("/var/log/cups/*_log*"),
    Tree("/var/log/debug*"),
    Tree("/var/log/dmesg*"),
    Tree("/var/log/exim4/*"),
    Tree("/var/log/faillog*"),
    Tree("/var/log/firewalld*"),
    Tree("/var/log/gdm/*"),
    Tree("/var/log/glusterfs/*glusterd.vol.log"),
    Tree("/var/log/glusterfs/glusterfs.log"),
    Tree("/var/log/grubby*"),
    Tree("/var/log/httpd/*log"),
    Tree("/var/log/installer/*"),
    Tree("/var/log/jetty/jetty-console.log"),
    Tree("/var/log/journal/*"),
    Tree("/var/log/lastlog*"),
    Tree("/var/log/libvirt/libvirtd.log"),
    Tree("/var/log/libvirt/libxl/*.log"),
    Tree("/var/log/libvirt/lxc/*.log"),
    Tree("/var/log/libvirt/qemu/*.log"),
    Tree("/var/log/libvirt/uml/*.log"),
    Tree("/var/log/lightdm/*"),
    Tree("/var/log/mail/*"),
    Tree("/var/log/maillog*"),
    Tree("/var/log/messages*"),
    Tree("/var/log/ntp"),
    Tree("/var/log/ntpstats/*"),
    Tree("/var/log/ppp/connect-errors"),
    Tree("/var/log/rhsm/*"),
    Tree("/var/log/sa/*"),
    Tree("/var/log/secure*"),
    Tree("/var/log/setroubleshoot/*.log"),
    Tree("/var/log/spooler*"),
    Tree("/var/log/squid/*.log"),
    Tree("/var/log/syslog*"),
    Tree("/var/log/tallylog*"),
    Tree("/var/log/tuned/tuned.log"),
    Tree("/var/log/wtmp*"),
    Tree("/var/log/xferlog*"),
    Tree("/var/named/data/named.run"),
    Tree("/var/lib/logrotate.status"),
    // Where logrotate keeps it by now, in its two distributions.
    Tree("/var/lib/logrotate/status"),
    Tree("/var/lib/logrotate/logrotate.status"),
    // What installers say that they did.
    Tree("/root/anaconda-ks.cfg"),
    Tree("/root/anaconda-post.log"),
    Tree("/root/initial-setup-ks.cfg"),
    Tree("/root/install.log"),
    Tree("/root/install.log.syslog"),
    Tree("/root/original-ks.cfg"),
    // Caches, and what desktops keep of users.
    Tree("/var/cache/fontconfig/*"),
    Tree("/var/cache/gdm/*"),
    Tree("/var/cache/man/*"),
    Tree("/var/lib/AccountService/users/*"),
    Tree("/var/lib/AccountsService/users/*"),
    Tree("/var/lib/fprint/*"),
    Tree("/etc/Pegasus/*.cnf"),
    Tree("/etc/Pegasus/*.crt"),
    Tree("/etc/Pegasus/*.csr"),
    Tree("/etc/Pegasus/*.pem"),
    Tree("/etc/Pegasus/*.srl"),
];

const PACKAGES: &[Rule] = &[
    FilesBelow("/var/cache/apt/archives"),
    FilesBelow("/var/cache/dnf"),
    FilesBelow("/var/cache/yum"),
    FilesBelow("/var/cache/zypp*"),
    // Those of further package managers: DNF 5, pacman, apk.
    FilesBelow("/var/cache/libdnf5"),
    FilesBelow("/var/cache/pacman/pkg"),
    FilesBelow("/var/cache/apk"),
];

const PAM: &[Rule] = &[
    File("/var/run/console/*"),
    File("/var/run/faillock/*"),
    // Where guests are told to keep it from one boot to the next (`dir` of faillock.conf(5)); virt-sysprep does not know the place.
    File("/var/lib/faillock/*"),
    File("/var/run/sepermit/*"),
];

const PASSWD: &[Rule] = &[
    File("/etc/group-"),
    File("/etc/gshadow-"),
    File("/etc/passwd-"),
    File("/etc/shadow-"),
    File("/etc/subgid-"),
    File("/etc/subuid-"),
];

const PUPPET: &[Rule] = &[
    File("/var/log/puppet/*"),
    File("/var/lib/puppet/*/*"),
    File("/var/lib/puppet/*/*/*"),
    // Since Puppet 4.
    File("/var/log/puppetlabs/*/*"),
    File("/etc/puppetlabs/puppet/ssl/*/*"),
];

const SEEDS: &[Rule] = &[
    File("/var/lib/systemd/random-seed"),
    // Of sysvinit: Debian's, Red Hat's; of OpenRC.
    File("/var/lib/urandom/random-seed"),
    File("/var/lib/random-seed"),
    File("/var/lib/misc/random-seed"),
    File("/var/lib/seedrng/seed.*"),
    // systemd-boot(7)'s, wherever the ESP is mounted.
    File("/boot/efi/loader/random-seed"),
    File("/boot/loader/random-seed"),
    File("/efi/loader/random-seed"),
];

const SAMBA: &[Rule] =
    &[File("/var/log/samba/old/*"), File("/var/log/samba/*"), File("/var/lib/samba/*/*"), File("/var/lib/samba/*")];

const HOST_KEYS: &[Rule] = &[
    File("/etc/ssh/*_host_*"),
    // Dropbear's.
    File("/etc/dropbear/dropbear_*_host_key"),
];
