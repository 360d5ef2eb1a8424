use super::*;
use crate::inject::testing::{
    assert_unchanged, bytes, describe, exists, fedora, inject, label, notes, phony, stage, text,
};
use imgraft_vfs::fs::Lookup;
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};

fn sysprep(name: &str) -> Sysprep {
    Sysprep { operation: Operation::named(name).unwrap(), accounts: ChosenAccounts::default() }
}

/// The guest after an operation, which changes nothing the second time.
#[track_caller]
fn after(name: &str, guest: Builder) -> MemFs {
    let fs = inject(&sysprep(name), guest.build().unwrap());
    assert_unchanged(&sysprep(name), &fs);
    fs
}

fn systemd() -> Builder {
    phony().symlink("/sbin/init", "/lib/systemd/systemd").file("/lib/systemd/systemd", "")
}

fn target(fs: &MemFs, path: &str) -> String {
    let at = resolve(fs, &GuestPath::parse(path).unwrap(), Follow::ExcludeLast).unwrap();
    String::from_utf8(fs.read_link(&at).unwrap()).unwrap()
}

#[test]
fn the_table_is_in_the_order_of_its_names() {
    let names: Vec<_> = Operation::all().map(Operation::name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for operation in Operation::all() {
        assert_eq!(Operation::named(operation.name()), Some(operation));
        let heading = operation.heading();
        assert!(heading.starts_with(char::is_uppercase) && !heading.ends_with('.'), "{heading}");
    }
}

const ID: &str = "0123456789abcdef0123456789abcdef\n";

#[test]
fn a_machine_id_as_systemd_wants_it() {
    let fs =
        after("machine-id", systemd().file("/etc/machine-id", ID).mode(0o444).file("/var/lib/dbus/machine-id", ID));
    assert_eq!(text(&fs, "/etc/machine-id"), "");
    assert_eq!(describe(&fs, "/etc/machine-id"), "0444 0:0");
    assert_eq!(target(&fs, "/var/lib/dbus/machine-id"), "/etc/machine-id");

    // Whoever wants a first boot has it, and a link stays the link that it is.
    let wanted = systemd()
        .file("/etc/machine-id", "uninitialized\n")
        .symlink("/var/lib/dbus/machine-id", "../../../etc/machine-id");
    let fs = after("machine-id", wanted);
    assert_eq!(text(&fs, "/etc/machine-id"), "uninitialized\n");
    assert_eq!(target(&fs, "/var/lib/dbus/machine-id"), "../../../etc/machine-id");
    let fs = after("machine-id", systemd().file("/var/lib/dbus/machine-id", ID));
    assert!(!exists(&fs, "/etc/machine-id"));
    assert_eq!(target(&fs, "/var/lib/dbus/machine-id"), "/etc/machine-id", "or systemd would take it for the ID");

    let other_way =
        systemd().symlink("/etc/machine-id", "/var/lib/dbus/machine-id").file("/var/lib/dbus/machine-id", ID);
    let fs = after("machine-id", other_way);
    assert_eq!(text(&fs, "/var/lib/dbus/machine-id"), "");

    // dbus-uuidgen makes an ID where there is no file, and fails where one is empty.
    let alpine = phony().file("/sbin/init", "").file("/etc/machine-id", ID).file("/var/lib/dbus/machine-id", ID);
    let fs = after("machine-id", alpine);
    assert!(!exists(&fs, "/etc/machine-id") && !exists(&fs, "/var/lib/dbus/machine-id"));

    let fs = after(
        "machine-id",
        fedora()
            .symlink("/sbin/init", "/lib/systemd/systemd")
            .file("/lib/systemd/systemd", "")
            .file("/var/lib/dbus/machine-id", ID),
    );
    assert_eq!(label(&fs, "/etc/passwd"), None);
    let at = resolve(&fs, &GuestPath::parse("/var/lib/dbus/machine-id").unwrap(), Follow::ExcludeLast).unwrap();
    use imgraft_vfs::fs::GuestFs;
    assert_eq!(fs.xattrs(&at).unwrap()[0].value, b"system_u:object_r:default_t:s0\0", "a new link has a label");
}

#[test]
fn a_secret_that_credentials_need_stays() {
    let secret = || phony().file("/var/lib/systemd/credential.secret", "x").dir("/etc/credstore.encrypted");
    assert!(!exists(&after("credential-secret", secret()), "/var/lib/systemd/credential.secret"));
    let needed = secret().file("/etc/credstore.encrypted/tls", "x").build().unwrap();
    assert!(notes(&sysprep("credential-secret"), &needed).contains("/etc/credstore.encrypted has credentials"));
    assert_unchanged(&sysprep("credential-secret"), &needed);
}

#[test]
fn homes_are_those_of_people_wherever_they_are() {
    let guest = phony()
        .file("/root/.bash_history", "x")
        .file("/home/ann/.bash_history", "x")
        .file("/home/left/.bash_history", "x")
        .file("/home/b/.bash_history", "x")
        .file("/srv/deep/new/.bash_history", "a system user's")
        .symlink("/home/link", "/home/ann")
        .symlink("/home/quiet/.bash_history", "/dev/null");
    let fs = after("bash-history", guest);
    for gone in ["/root", "/home/ann", "/home/left", "/home/b"] {
        assert!(!exists(&fs, &format!("{gone}/.bash_history")), "{gone}");
    }
    assert!(exists(&fs, "/srv/deep/new/.bash_history"));
    assert_eq!(target(&fs, "/home/quiet/.bash_history"), "/dev/null");
    let linked = phony().file("/srv/keys/id", "x").symlink("/home/ann/.ssh", "/srv/keys");
    let fs = after("ssh-userdir", linked);
    assert!(exists(&fs, "/srv/keys/id") && !exists(&fs, "/home/ann/.ssh"), "a link goes, and not what it leads to");
}

#[test]
fn keys_of_users_in_no_home_are_told_of() {
    let told = |config: &str| {
        let guest = phony()
            .file("/etc/ssh/sshd_config", config)
            .file("/etc/keys/ann", "x")
            .file("/home/ann/.ssh/authorized_keys", "x")
            .dir("/etc/keys/root");
        notes(&sysprep("ssh-userdir"), &guest.build().unwrap())
    };
    for (config, file) in [
        ("AuthorizedKeysFile .ssh/authorized_keys /etc/keys/%u\n", "/etc/keys/ann"),
        ("Match Group staff\nAuthorizedKeysFile /etc/keys/%u\n", "/etc/keys/ann"),
        ("AuthorizedKeysFile /etc/keys/ann\n", "/etc/keys/ann"),
    ] {
        let line = config.trim_start_matches("Match Group staff\n").trim_end();
        assert_eq!(
            told(config),
            format!(
                "{file} has keys by which a user is let in, as /etc/ssh/sshd_config says {line}, and stays with all that is beside it: \
                 imgraft inject --delete PATH takes that out of the template"
            )
        );
    }
    for config in [
        "",
        "AuthorizedKeysFile %h/.ssh/authorized_keys /home/%u/.ssh/authorized_keys /etc/none/%u\n",
        "AuthorizedKeysFile none\n",
    ] {
        assert_eq!(told(config), "", "{config}");
    }
}

#[test]
fn people_are_those_of_the_guests_own_range() {
    let passwd = "root:x:0:0::/root:/bin/sh\nann:x:500:500::/export/ann:/bin/sh\nsvc:x:400:400::/export/svc:/bin/sh\n";
    let guest = MemFs::builder()
        .file("/etc/passwd", passwd)
        .file("/etc/login.defs", "UID_MIN 500\n")
        .file("/export/ann/.ssh/id", "x")
        .file("/export/svc/.ssh/id", "x");
    let fs = after("ssh-userdir", guest);
    assert!(!exists(&fs, "/export/ann/.ssh") && exists(&fs, "/export/svc/.ssh/id"));
}

#[test]
fn an_odd_home_is_no_reason_to_fail() {
    let passwd = "root:x:0:0::/root:/bin/sh\na:x:1000:1::/etc/passwd/x:/bin/sh\nb:x:1001:1::/round:/bin/sh\nc/d:x:1002:1::/home/c:/bin/sh\n";
    let guest = MemFs::builder().file("/etc/passwd", passwd).symlink("/round", "round");
    let fs = after("user-account", guest);
    assert_eq!(text(&fs, "/etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
}

#[test]
fn a_link_does_not_lead_a_walk_out_of_its_directory() {
    let guest = phony()
        .file("/tmp/a/b/c", "x")
        .file("/tmp/.hidden", "x")
        .symlink("/tmp/a/etc", "/etc")
        .symlink("/tmp/root", "/")
        .symlink("/var/tmp", "../tmp");
    let fs = after("tmp-files", guest);
    assert!(exists(&fs, "/etc/passwd") && exists(&fs, "/tmp"));
    assert_eq!(stage(&sysprep("tmp-files"), &fs).unwrap().1.len(), 0);
    assert!(!exists(&fs, "/tmp/a") && !exists(&fs, "/tmp/.hidden"));
}

#[test]
fn the_last_numbers_of_at_begin_anew() {
    let guest = phony()
        .file("/var/spool/cron/crontabs/ann", "* * * * * x\n")
        .file("/var/spool/cron/atjobs/.SEQ", "0001f\n")
        .mode(0o600)
        .file("/var/spool/cron/atjobs/a00001f", "x")
        .dir("/var/spool/at/spool")
        .file("/var/spool/at/.SEQ", "00000\n");
    let fs = after("cron-spool", guest);
    assert_eq!(
        (text(&fs, "/var/spool/cron/atjobs/.SEQ"), text(&fs, "/var/spool/at/.SEQ")),
        ("00000\n".into(), "00000\n".into())
    );
    assert_eq!(describe(&fs, "/var/spool/cron/atjobs/.SEQ"), "0600 0:0");
    assert!(!exists(&fs, "/var/spool/cron/crontabs/ann") && !exists(&fs, "/var/spool/cron/atjobs/a00001f"));
    assert!(exists(&fs, "/var/spool/cron/crontabs") && exists(&fs, "/var/spool/at/spool"));
}

#[test]
fn who_makes_host_keys_again() {
    let keys = || {
        phony()
            .file("/usr/sbin/sshd", "")
            .file("/etc/ssh/ssh_host_rsa_key", "x")
            .file("/etc/ssh/ssh_host_rsa_key.pub", "x")
    };
    let told = |guest: Builder| notes(&sysprep("ssh-hostkeys"), &guest.build().unwrap());
    assert!(told(keys()).starts_with("nothing in the guest makes host keys again"), "{}", told(keys()));
    let debian = keys().file("/usr/lib/systemd/system/ssh.service", "ExecStart=/usr/sbin/sshd -D\n");
    assert!(told(keys()).contains(": have them made with imgraft inject --ssh-host-keys, "));
    assert!(told(debian).contains("systemctl reset-failed ssh && systemctl restart ssh'"));
    assert!(told(keys().file("/usr/bin/cloud-init", "")).starts_with("cloud-init (/usr/bin/cloud-init) makes"));
    let red_hat = keys().file("/usr/lib/systemd/system/sshd.service", "Wants=sshd-keygen.target\n");
    assert!(told(red_hat).starts_with("the guest makes host keys again at its next boot"));
    let first = |id: &str| {
        let unit = "[Unit]\nConditionFirstBoot=yes\n[Service]\nExecStart=ssh-keygen -A\n";
        told(keys().file("/etc/systemd/system/ssh.service.wants/sshd-keygen.service", unit).file("/etc/machine-id", id))
    };
    assert!(first("0123456789abcdef0123456789abcdef\n").contains("at a first boot only"));
    assert!(first("uninitialized\n").contains("at its next boot, which is its first one"));
    let named = "HostKey /etc/keys/own_ed25519\nHostKey /etc/ssh/ssh_host_rsa_key\nHostKey /etc/keys/gone_ecdsa\n";
    let elsewhere = || keys().file("/etc/ssh/sshd_config", named).file("/etc/keys/own_ed25519", "x");
    assert_eq!(
        told(elsewhere()),
        "host keys that sshd_config names elsewhere stay, and every clone has them: /etc/keys/own_ed25519; imgraft inject --delete \
         PATH takes one out of the template, and --ssh-host-keys makes a new one in each clone"
    );
    assert!(exists(&after("ssh-hostkeys", elsewhere()), "/etc/keys/own_ed25519"));
    let agent = |line: &str| {
        let config = format!("HostKey /etc/keys/a.pub\n{line}\n");
        told(keys().file("/etc/ssh/sshd_config", config).file("/etc/keys/a.pub", "x"))
    };
    let of_agent = "host keys of which an agent has the private halves (HostKeyAgent in sshd_config) stay, and every clone whose agent has \
                    them is known by them: /etc/keys/a.pub";
    assert_eq!(agent("HostKeyAgent /run/agent"), of_agent);
    for none in ["", "HostKeyAgent none"] {
        assert!(agent(none).starts_with("nothing in the guest makes host keys again"), "{none}");
    }
    let alpine = |variables: &str| {
        let script = "yesno \"$sshd_disable_keygen\" || ssh-keygen -A\n";
        told(keys().file("/etc/init.d/sshd", script).file("/etc/conf.d/sshd", variables))
    };
    assert!(alpine("").starts_with("the guest makes host keys again at its next boot, as /etc/init.d/sshd shows"));
    assert!(alpine("sshd_disable_keygen=\"yes\"\n").starts_with("nothing in the guest makes host keys again"));
    assert_eq!(told(phony().file("/etc/ssh/ssh_host_rsa_key", "x")), "", "without an sshd nobody needs them");
    // What is only told of is no reason to leave the keys there.
    let unread = || keys().symlink("/etc/ssh/sshd_config", "sshd_config");
    assert!(
        told(unread()).starts_with("sshd's configuration cannot be read (/etc/ssh/sshd_config"),
        "{}",
        told(unread())
    );
    assert!(told(unread()).contains("nothing in the guest makes host keys again"));
    assert!(!exists(&after("ssh-hostkeys", unread()), "/etc/ssh/ssh_host_rsa_key"));
    let no_config = "the guest has an sshd and no /etc/ssh/sshd_config, without which that does not start, unless it is started with \
                     another one (-f) or something brings it";
    assert!(told(keys()).ends_with(no_config));
    let certified =
        keys().file("/etc/ssh/sshd_config", "HostCertificate /etc/ca/a-cert.pub\nHostCertificate /etc/gone\n");
    let said = told(certified.file("/etc/ca/a-cert.pub", "x"));
    assert!(
        said.contains("\n/etc/ca/a-cert.pub: the certificate that sshd_config names (HostCertificate) stays, and"),
        "{said}"
    );
    assert!(!said.contains("/etc/gone") && !said.contains(no_config), "{said}");
    // What is true after the first run is so after the second.
    let fs = after("ssh-hostkeys", keys());
    assert!(notes(&sysprep("ssh-hostkeys"), &fs).starts_with("nothing in the guest"));
}

#[test]
fn a_cloud_init_that_makes_no_host_keys() {
    let guest =
        || phony().file("/usr/sbin/sshd", "").file("/usr/bin/cloud-init", "").file("/etc/ssh/ssh_host_rsa_key", "x");
    let told = |guest: Builder| notes(&sysprep("ssh-hostkeys"), &guest.build().unwrap());
    let config = |text: &str| guest().file("/etc/cloud/cloud.cfg", text);
    for makes in [
        guest(),
        config("cloud_init_modules: [migrator, [ssh, always]]\nssh_genkeytypes: [ed25519]\nssh_deletekeys: false\n"),
        config("ssh_genkeytypes: []\n").file("/etc/cloud/cloud.cfg.d/1.cfg", "ssh_genkeytypes: [rsa]\n"),
        config("cloud_init_modules: [migrator]\ncloud_config_modules:\n- name: ssh\n"),
        config("cloud_init_modules: [cc_ssh]\n"),
        config("cloud_init_modules: [ssh.py]\n"),
        config("cloud_init_modules: [[cc-ssh, always]]\n"),
        guest().symlink("/etc/systemd/system/cloud-final.service", "/dev/null"),
    ] {
        assert!(told(makes).starts_with("cloud-init (/usr/bin/cloud-init) makes host keys again"));
    }
    for (guest, why) in [
        (config("ssh_genkeytypes: []\n"), "/etc/cloud/cloud.cfg has ssh_genkeytypes with nothing in it"),
        (config("ssh_genkeytypes: ~\n"), "/etc/cloud/cloud.cfg has ssh_genkeytypes with nothing in it"),
        (config("ssh_keys: {rsa_private: x}\n"), "/etc/cloud/cloud.cfg has ssh_keys, which are those of every clone"),
        (
            config("cloud_init_modules: [migrator, cc_ssh_import_id]\n"),
            "/etc/cloud/cloud.cfg has it run no module 'ssh'",
        ),
        (
            config("cloud_init_modules: [ssh]\ncloud_final_modules: [x]\n")
                .file("/etc/cloud/cloud.cfg.d/5.cfg", "cloud_init_modules: [migrator]\n"),
            "/etc/cloud/cloud.cfg.d/5.cfg has it run no module 'ssh'",
        ),
        (
            guest().symlink("/etc/systemd/system/cloud-init.service", "../../../dev/null"),
            "/etc/systemd/system/cloud-init.service is masked",
        ),
        (
            guest().symlink("/etc/systemd/system/cloud-init-network.service", "/dev/null"),
            "/etc/systemd/system/cloud-init-network.service is masked",
        ),
    ] {
        let said = told(guest);
        let expected = format!(
            "nothing in the guest makes host keys again, cloud-init neither ({why}), and its sshd does not start without: "
        );
        assert!(said.starts_with(&expected), "{said}");
    }
    let disabled = told(guest().file("/etc/cloud/cloud-init.disabled", ""));
    assert!(disabled.starts_with("nothing in the guest makes host keys again, and"), "{disabled}");
}

/// What starts sshd again is what the guest has.
#[test]
fn services_are_started_as_the_guest_does() {
    let told = |guest: Builder| {
        let keys = guest.file("/usr/sbin/sshd", "").file("/etc/ssh/ssh_host_rsa_key", "x");
        notes(&sysprep("ssh-hostkeys"), &keys.build().unwrap())
    };
    let other = || phony().symlink("/sbin/init", "/bin/busybox").file("/bin/busybox", "");
    assert!(told(other().file("/sbin/openrc-run", "")).contains("'ssh-keygen -A && rc-service sshd restart'"));
    assert!(told(other().file("/etc/init.d/sshd", "")).contains("'ssh-keygen -A && /etc/init.d/sshd restart'"));
    assert!(told(phony()).contains("'ssh-keygen -A && systemctl reset-failed sshd && systemctl restart sshd'"));
}

#[test]
fn the_right_to_sudo_goes_with_its_user() {
    let passwd = "root:x:0:0::/root:/bin/sh\na.n:x:1000:1000::/:\nbob:x:1001:1001::/:\nALL:x:1002:1002::/:\neve:x:1003:1003::/:\n";
    let ours = |rule: &str| format!("# Added by imgraft\n{rule} ALL=(ALL:ALL) ALL\n");
    let guest = || {
        MemFs::builder()
            .file("/etc/passwd", passwd)
            .file("/etc/sudoers.d/90-imgraft-a%2En", ours("a.n"))
            .file("/etc/sudoers.d/90-imgraft-ALL", ours("#1002"))
            .file("/etc/sudoers.d/90-imgraft-bob", ours("bob") + "eve ALL=(ALL) ALL\n")
            .file("/etc/sudoers.d/90-imgraft-root", ours("root"))
            .file("/etc/sudoers.d/eve", ours("eve"))
            .symlink("/etc/sudoers.d/90-imgraft-eve", "eve")
    };
    let left = |fs: &MemFs| {
        let of = ["90-imgraft-a%2En", "90-imgraft-ALL", "90-imgraft-bob", "90-imgraft-root", "eve", "90-imgraft-eve"];
        of.into_iter().filter(|name| exists(fs, &format!("/etc/sudoers.d/{name}"))).collect::<Vec<_>>()
    };
    let fs = after("user-account", guest());
    assert_eq!(left(&fs), ["90-imgraft-bob", "90-imgraft-root", "eve", "90-imgraft-eve"]);
    let keep = ChosenAccounts { keep: vec!["a.n".to_owned()], ..ChosenAccounts::default() };
    let fs = inject(&Sysprep { accounts: keep, ..sysprep("user-account") }, guest().build().unwrap());
    assert_eq!(left(&fs), ["90-imgraft-a%2En", "90-imgraft-bob", "90-imgraft-root", "eve", "90-imgraft-eve"]);
}

#[test]
fn accounts_of_people() {
    let guest = || {
        MemFs::builder()
            .file("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\nbob:x:1001:50::/home/bob/:/bin/sh\ncid:x:1002:1002::/home:/bin/sh\nsys:x:33:33::/home/ann:/bin/false\n")
            .file("/etc/shadow", "root:*:1::::::\nann:$1$a$b:1::::::\nbob:!:1::::::\ncid:!:1::::::\nsys:*:1::::::\n")
            .mode(0o640)
            .file("/etc/group", "root:x:0:\nstaff:x:50:ann,root,bob\nann:x:1001:\ncid:x:1002:sys\nempty:x:9:bob")
            .file("/etc/gshadow", "root:*::\nstaff:*:bob,root:ann,root,bob\nann:!::\ncid:!::sys\n")
            .file("/etc/subuid", "ann:100000:65536\nbob:165536:65536\n")
            .dir("/home/ann")
            .owner(1000, 1001)
            .file("/home/bob/.profile", "x")
            .owner(1001, 50)
            .dir("/home/bob")
            .owner(1001, 50)
            .file("/var/mail/bob", "x")
    };
    let all = sysprep("user-account");
    let fs = inject(&all, guest().build().unwrap());
    assert_unchanged(&all, &fs);
    assert_eq!(text(&fs, "/etc/passwd"), "root:x:0:0::/root:/bin/sh\nsys:x:33:33::/home/ann:/bin/false\n");
    assert_eq!(text(&fs, "/etc/shadow"), "root:*:1::::::\nsys:*:1::::::\n");
    assert_eq!(describe(&fs, "/etc/shadow"), "0640 0:0");
    assert_eq!(text(&fs, "/etc/group"), "root:x:0:\nstaff:x:50:root\ncid:x:1002:sys\nempty:x:9:");
    assert_eq!(text(&fs, "/etc/gshadow"), "root:*::\nstaff:*:root:root\ncid:!::sys\n");
    assert_eq!(text(&fs, "/etc/subuid"), "");
    assert!(!exists(&fs, "/home/bob") && !exists(&fs, "/var/mail/bob"));
    let told = notes(&all, &guest().build().unwrap());
    assert!(told.contains("of 'ann' stays: /home/ann has the home of somebody"), "{told}");
    assert!(told.contains("of 'cid' stays: /home belongs to somebody else"), "{told}");

    let chosen = |remove: &[&str], keep: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Sysprep { accounts: ChosenAccounts { remove: names(remove), keep: names(keep) }, ..sysprep("user-account") }
    };
    let people = |injector: &Sysprep| {
        let fs = inject(injector, guest().build().unwrap());
        let lines: Vec<_> =
            text(&fs, "/etc/passwd").lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        lines.join(" ")
    };
    assert_eq!(people(&chosen(&["bob"], &[])), "root ann cid sys");
    assert_eq!(people(&chosen(&[], &["bob", "cid"])), "root bob cid sys");
    assert_eq!(people(&chosen(&["bob", "ann"], &["ann"])), "root ann cid sys");
    let told = notes(&chosen(&["sys", "nobody-here", "root"], &[]), &guest().build().unwrap());
    assert!(told.contains("'sys' stays, as its number, 33,") && told.contains("no user 'nobody-here'"), "{told}");
    assert_eq!(people(&chosen(&["sys", "root"], &[])), "root ann bob cid sys");
}

/// What stands where a directory is meant, and what a stranger may have put there.
#[test]
fn places_that_are_bent_out_of_shape() {
    let odd = || {
        phony()
            .file("/tmp", "a file")
            .symlink("/var/tmp", "/var/tmp")
            .file("/var/lib/cloud", "")
            .file("/etc/credstore.encrypted", "")
            .symlink("/var/log", "/nowhere")
            .symlink("/home/loop", "loop")
            .file("/etc/sysconfig/network-scripts", "")
            .symlink("/etc/ssh", "/etc/passwd")
            .dir("/etc/krb5.keytab")
            .file("/var/lib/systemd/credential.secret", "x")
    };
    for operation in Operation::all() {
        let fs = odd().build().unwrap();
        let done = stage(&Sysprep { operation, accounts: ChosenAccounts::default() }, &fs);
        let changes = done.unwrap_or_else(|error| panic!("{}: {error}", operation.name())).1;
        let expected = matches!(operation.name(), "credential-secret" | "user-account" | "flag-reconfiguration");
        assert_eq!(!changes.is_empty(), expected, "{}: {changes:?}", operation.name());
    }
    assert_eq!(bytes(&odd().build().unwrap(), "/tmp"), b"a file");
}
