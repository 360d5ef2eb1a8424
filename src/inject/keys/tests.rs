use super::*;
use crate::inject::testing::*;
use crate::oracle;
use imgraft_vfs::fs::mem::{Builder, MemFs};

const HEADER: &str = "\n# The following ssh key was injected by Nova\n";
const RESTORE: &str =
    "\n# Added by Nova to ensure injected ssh keys have the right context\nrestorecon -RF root/.ssh 2>/dev/null || :\n";

/// With an sshd.
fn phony() -> Builder {
    unconfigured().file("/etc/ssh/sshd_config", "UsePAM yes\n")
}

fn unconfigured() -> Builder {
    crate::inject::testing::phony().file("/usr/sbin/sshd", "")
}

fn keys(keys: &[(&str, &str)]) -> Keys {
    let keys = keys.iter().map(|(user, line)| ((*user).to_owned(), (*line).to_owned())).collect();
    Keys { keys, compat: Compat::Imgraft, now: Timestamp::default() }
}

fn nova(line: &str) -> Keys {
    Keys { compat: Compat::Nova, ..keys(&[("root", line)]) }
}

#[test]
fn keys_belong_to_their_users() {
    let keys = keys(&[("root", ED25519), ("ann", RSA), ("ann", ECDSA)]);
    let fs = inject(&keys, phony().build().unwrap());
    assert_eq!(describe(&fs, "/root/.ssh"), "0700 0:0");
    assert_eq!(describe(&fs, "/root/.ssh/authorized_keys"), "0600 0:0");
    assert_eq!(describe(&fs, "/home/ann/.ssh"), "0700 1000:1001");
    assert_eq!(describe(&fs, "/home/ann/.ssh/authorized_keys"), "0600 1000:1001");
    assert_eq!(text(&fs, "/root/.ssh/authorized_keys"), format!("{ED25519}\n"));
    assert_eq!(text(&fs, "/home/ann/.ssh/authorized_keys"), format!("{RSA}\n{ECDSA}\n"));
    assert_unchanged(&keys, &fs);
    assert_eq!(notes(&keys, &fs), "");
}

#[test]
fn ssh_keygen_reads_them() {
    let Some(keygen) = oracle::find("ssh-keygen") else { return };
    let options = format!("from=\"10.*\",command=\"echo \\\" a\" {ECDSA}");
    let tree = phony().file("/root/.ssh/authorized_keys", "# no newline").build().unwrap();
    let fs = inject(&keys(&[("root", ED25519), ("root", RSA), ("root", &options)]), tree);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authorized_keys");
    std::fs::write(&file, bytes(&fs, "/root/.ssh/authorized_keys")).unwrap();
    let output = std::process::Command::new(keygen).arg("-lf").arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3, "{output:?}");
}

#[test]
fn the_same_key_is_not_added_twice() {
    let bare = ED25519.rsplitn(4, ' ').last().unwrap();
    for existing in [
        ED25519.to_owned(),
        format!("  {bare}\t x"),
        format!("no-pty,command=\"a b\" {bare}\r\n"),
        format!("#\n\n{bare}"),
    ] {
        let tree = phony().file("/root/.ssh/authorized_keys", &existing).build().unwrap();
        assert_unchanged(&keys(&[("root", ED25519)]), &tree);
        let said = notes(&keys(&[("root", ED25519)]), &tree);
        assert_eq!(said.contains("other options"), existing.starts_with("no-pty"), "{said}");
    }
    let fs = inject(&keys(&[("root", ED25519), ("root", bare)]), phony().build().unwrap());
    assert_eq!(text(&fs, "/root/.ssh/authorized_keys"), format!("{ED25519}\n"));
}

#[test]
fn what_is_there_stays_byte_for_byte() {
    let tree = phony().file("/root/.ssh/authorized_keys", b"\xff\0\r\nno newline").mode(0o644).build().unwrap();
    let fs = inject(&keys(&[("root", ED25519)]), tree);
    let expected = [b"\xff\0\r\nno newline\n", ED25519.as_bytes(), b"\n"].concat();
    assert_eq!(bytes(&fs, "/root/.ssh/authorized_keys"), expected);
    assert_eq!(describe(&fs, "/root/.ssh/authorized_keys"), "0644 0:0");
}

#[test]
fn a_missing_home_is_made() {
    let keys = keys(&[("new", ED25519)]);
    let fs = inject(&keys, phony().build().unwrap());
    assert_eq!(describe(&fs, "/srv/deep"), "0755 0:0");
    assert_eq!(describe(&fs, "/srv/deep/new"), "0700 999:999");
    assert_eq!(describe(&fs, "/srv/deep/new/.ssh/authorized_keys"), "0600 999:999");
    assert!(notes(&keys, &phony().build().unwrap()).contains("home directory of 'new' was missing"));
    assert!(notes(&keys, &fs).contains("nobody log in"));
}

#[test]
fn what_sshd_refuses_is_repaired_and_said() {
    let tree = phony()
        .dir("/home/ann/.ssh")
        .mode(0o777)
        .owner(7, 7)
        .file("/home/ann/.ssh/authorized_keys", ED25519)
        .mode(0o600)
        .owner(0, 0)
        .build()
        .unwrap();
    let keys = keys(&[("ann", ED25519)]);
    assert!(notes(&keys, &tree).contains("which sshd refuses"));
    let fs = inject(&keys, tree);
    assert_eq!(describe(&fs, "/home/ann/.ssh"), "0755 1000:1001");
    assert_eq!(describe(&fs, "/home/ann/.ssh/authorized_keys"), "0600 1000:1001");
    assert_eq!(text(&fs, "/home/ann/.ssh/authorized_keys"), ED25519);
    assert_unchanged(&keys, &fs);
    let open = phony().dir("/root").mode(0o770).build();
    assert!(
        notes(
            &super::Keys {
                keys: vec![("root".into(), RSA.into())],
                compat: Compat::Imgraft,
                now: Timestamp::default()
            },
            &open.unwrap()
        )
        .contains("StrictModes")
    );
}

/// What another has of the home is not taken, and keys that a stranger has put there do not become the user's.
#[test]
fn what_is_anothers_is_refused() {
    let with = |passwd: &str, dir: u32, file: u32, config: &str| {
        let ssh = MemFs::builder()
            .file("/usr/sbin/sshd", "")
            .symlink("/var/www", "../srv/www")
            .dir("/srv/www/.ssh")
            .mode(0o700)
            .owner(dir, dir);
        let ssh = ssh.file("/srv/www/.ssh/authorized_keys", RSA).mode(0o600).owner(file, file);
        let tree = ssh.file("/etc/passwd", passwd).file("/etc/ssh/sshd_config", config).build().unwrap();
        stage(&keys(&[("web", ED25519)]), &tree).err().map(|error| error.to_string())
    };
    let one = "web:x:1005:1005::/srv/www:/bin/sh\n";
    let two = "web:x:1005:1005::/srv/www:/bin/sh\nroot:x:0:0::/var/www:/bin/sh\n";
    for (passwd, dir, file, config, said) in [
        (
            two,
            0,
            0,
            "",
            Some("/srv/www/.ssh: owner 0, and /srv/www is the home of 'root' as well; no key of 'web' is put there"),
        ),
        (two, 0, 0, "StrictModes no\n", Some("is the home of 'root' as well")),
        (two, 1005, 0, "", Some("/srv/www/.ssh/authorized_keys: owner 0, and /srv/www is the home of 'root' as well")),
        (two, 1005, 1005, "", None),
        // It is neither's.
        (two, 7, 1005, "", None),
        (one, 0, 0, "", None),
        (one, 7, 0, "", None),
        (
            one,
            1005,
            7,
            "",
            Some("/srv/www/.ssh/authorized_keys: owner 7, so that sshd does not take the keys in it; no key of 'web'"),
        ),
        (one, 1005, 7, "StrictModes no\n", Some("owner 7")),
    ] {
        let found = with(passwd, dir, file, config);
        assert!(
            match (&found, said) {
                (Some(message), Some(said)) => message.contains(said),
                (found, said) => found.is_none() && said.is_none(),
            },
            "{dir} {file} {config}: {found:?}"
        );
    }
}

#[test]
fn what_sshd_does_not_mind_stays() {
    let file = "/home/ann/.ssh/authorized_keys";
    let tree = |config: &str, included: &str| {
        let ssh =
            unconfigured().dir("/home/ann/.ssh").mode(0o777).owner(7, 7).file(file, ED25519).mode(0o666).owner(7, 7);
        ssh.file("/etc/ssh/sshd_config", config).file("/etc/ssh/sshd_config.d/10-a.conf", included).build().unwrap()
    };
    let keys = keys(&[("ann", ED25519)]);
    for (config, included) in [
        ("StrictModes no\n", ""),
        ("strictmodes=NO\nStrictModes yes\n", ""),
        ("Include /etc/ssh/sshd_config.d/*.conf\nStrictModes yes\n", "StrictModes no\n"),
    ] {
        let lenient = tree(config, included);
        let said = notes(&keys, &lenient);
        assert!(!said.contains("sshd refuse"), "{said}");
        let fs = inject(&keys, lenient);
        assert_eq!((describe(&fs, "/home/ann/.ssh"), describe(&fs, file)), ("0777 7:7".into(), "0666 7:7".into()));
    }
    for (config, included) in [
        ("", "StrictModes no\n"),
        ("StrictModes yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", "StrictModes no\n"),
        ("# StrictModes no\nMatch User ann\nStrictModes no\n", ""),
    ] {
        assert!(notes(&keys, &tree(config, included)).contains("which sshd refuses"), "{config}");
    }
    // What the user could not read is mended all the same.
    let tree =
        unconfigured().dir("/home/ann/.ssh").mode(0o700).owner(7, 7).file("/etc/ssh/sshd_config", "StrictModes no\n");
    assert_eq!(describe(&inject(&keys, tree.build().unwrap()), "/home/ann/.ssh"), "0700 1000:1001");
}

/// As sshd does: up to the home, or to the root where the keys do not lie in that.
#[test]
fn the_directories_that_sshd_looks_at() {
    let keys = keys(&[("ann", ED25519)]);
    let above = phony().dir("/home").mode(0o777).dir("/home/ann").mode(0o755).owner(1000, 1001).build().unwrap();
    let said = notes(&keys, &above);
    assert!(!said.contains("StrictModes"), "{said}");
    let tree = |mode| {
        let ssh = phony().dir("/data").mode(mode).dir("/data/keys/ann").mode(0o755).owner(1000, 1001);
        ssh.symlink("/home/ann/.ssh", "/data/keys/ann").build().unwrap()
    };
    assert!(!notes(&keys, &tree(0o755)).contains("StrictModes"));
    let said = notes(&keys, &tree(0o775));
    assert!(said.contains("/data: mode 0775 and owner 0 make sshd refuse the keys in it (StrictModes)"), "{said}");
    // A home that is reached by a link ends there, too.
    let linked = phony().dir("/data").mode(0o777).dir("/data/new").mode(0o755).owner(999, 999);
    let new = self::keys(&[("new", ED25519)]);
    let said = notes(&new, &linked.symlink("/srv/deep", "/data").build().unwrap());
    assert!(!said.contains("StrictModes"), "{said}");
}

#[test]
fn links_are_followed_inside_the_guest() {
    let tree = phony().dir("/data/ssh").mode(0o700).symlink("/root/.ssh", "../../../data/ssh").build().unwrap();
    let fs = inject(&keys(&[("root", ED25519)]), tree);
    assert_eq!(text(&fs, "/data/ssh/authorized_keys"), format!("{ED25519}\n"));
    let tree = phony().dir("/keys").symlink("/root/.ssh/authorized_keys", "/keys/root").build().unwrap();
    let fs = inject(&keys(&[("root", ED25519)]), tree);
    assert_eq!(describe(&fs, "/keys/root"), "0600 0:0");
    let tree = phony().symlink("/root/.ssh", "/root/.ssh").build().unwrap();
    assert!(refusal(&keys(&[("root", ED25519)]), tree).contains("40 symbolic links"));
    let tree = phony().symlink("/root/.ssh", "/gone/ssh").build().unwrap();
    assert!(exists(&inject(&keys(&[("root", ED25519)]), tree), "/gone/ssh/authorized_keys"));
}

#[test]
fn who_cannot_have_keys() {
    let why = |user| refusal(&keys(&[(user, ED25519)]), phony().build().unwrap());
    assert_eq!(
        why("bob"),
        "no user 'bob' in the guest (people in the guest: root, ann, bl\\xf6d; --add-user NAME makes one)"
    );
    assert!(why("nobody").contains("'/nonexistent'"));
    assert!(why("lost").contains("'relative'"));
    assert!(refusal(&keys(&[("root", "x")]), phony().build().unwrap()).contains("not an ssh public key"));
}

#[test]
fn a_guest_without_passwd_has_its_superuser() {
    let tree = imgraft_vfs::fs::mem::MemFs::builder().dir("/etc").build().unwrap();
    let fs = inject(&keys(&[("root", ED25519)]), tree.clone());
    assert_eq!(describe(&fs, "/root"), "0700 0:0");
    assert!(refusal(&keys(&[("ann", ED25519)]), tree).contains("no passwd file"));
}

#[test]
fn keys_go_where_sshd_looks() {
    let tree = |config: &str| {
        unconfigured()
            .file("/etc/ssh/sshd_config", format!("UsePAM yes\n{config}"))
            .file("/etc/ssh/sshd_config.d/10-a.conf", "Match User x\nAuthorizedKeysFile /no\n")
            .file("/etc/ssh/sshd_config.d/20-b.conf", "authorizedkeysfile=/etc/ssh/keys/%u\n")
    };
    let keys = keys(&[("ann", ED25519)]);
    let usual = "/home/ann/.ssh/authorized_keys";
    for fine in [
        "",
        "AuthorizedKeysFile .ssh/authorized_keys .ssh/x",
        "AuthorizedKeysFile /etc/x/%u %h/.ssh/authorized_keys",
        "Match User x\nAuthorizedKeysFile x",
        "AuthorizedKeysFile .ssh/authorized_keys\nInclude sshd_config.d/*.conf\n",
        "AuthorizedKeysFile none\nMatch Group a*\nAuthorizedKeysFile .ssh/authorized_keys\n",
    ] {
        let guest = tree(fine).build().unwrap();
        assert_eq!(notes(&keys, &guest), "", "{fine}");
        assert!(exists(&inject(&keys, guest), usual), "{fine}");
    }
    for (config, file, attrs, said) in [
        ("Match all\nAuthorizedKeysFile x/y", "/home/ann/x/y", "0600 1000:1001", "says AuthorizedKeysFile x/y"),
        ("AuthorizedKeysFile /k/%u\nAuthorizedKeysFile x", "/k/ann", "0644 0:0", "says AuthorizedKeysFile /k/%u"),
        (
            "Include /etc/ssh/sshd_config.d/*.conf\n",
            "/etc/ssh/keys/ann",
            "0644 0:0",
            "20-b.conf says AuthorizedKeysFile",
        ),
    ] {
        let guest = tree(config).build().unwrap();
        let told = notes(&keys, &guest);
        assert!(told.starts_with(&format!("{file} is where the guest's sshd looks")), "{told}");
        assert!(told.contains(said) && !told.contains('\n'), "{told}");
        let fs = inject(&keys, guest);
        assert_eq!((text(&fs, file), describe(&fs, file)), (format!("{ED25519}\n"), attrs.to_owned()));
        assert!(!exists(&fs, "/home/ann/.ssh"), "{config}");
        assert_unchanged(&keys, &fs);
    }
    let fs = inject(&keys, tree("AuthorizedKeysFile x/y").build().unwrap());
    assert_eq!(describe(&fs, "/home/ann/x"), "0700 1000:1001");
    let there = |mode, owner, group| {
        let guest = tree("AuthorizedKeysFile /k/%u").file("/k/ann", "").mode(mode).owner(owner, group);
        describe(&inject(&keys, guest.build().unwrap()), "/k/ann")
    };
    assert_eq!(there(0o600, 1000, 1001), "0600 1000:1001");
    assert_eq!(there(0o640, 0, 1001), "0640 0:1001");
    assert_eq!(there(0o640, 0, 50), "0640 0:50", "staff lists ann");
    for (config, reason) in [
        (
            "AuthorizedKeysFile none\nAuthorizedKeysCommand /k",
            "AuthorizedKeysFile none, and /etc/ssh/sshd_config says AuthorizedKeysCommand /k",
        ),
        (
            "AuthorizedKeysFile /etc/keys",
            "for 'ann' alone: /etc/ssh/sshd_config says AuthorizedKeysFile /etc/keys (have the",
        ),
    ] {
        let told = refusal(&keys, tree(config).build().unwrap());
        assert!(told.contains(reason), "{told}");
    }
}

#[test]
fn no_link_of_a_users_leads_elsewhere() {
    let tree = || {
        unconfigured().file("/etc/ssh/sshd_config", "AuthorizedKeysFile /k/%u/keys\n").dir("/k/ann").owner(1000, 1001)
    };
    let of_ann = keys(&[("ann", ED25519)]);
    let users = tree().symlink("/k/ann/keys", "/etc/shadow").owner(1000, 1001).build().unwrap();
    assert!(refusal(&of_ann, users).contains("/k/ann/keys: a symbolic link (mode 0777 and owner 1000) is where"));
    let hard = tree().hard_link("/k/ann/keys", "/etc/shadow").build().unwrap();
    assert!(refusal(&of_ann, hard).contains("/k/ann/keys: the file (mode 0640 and owner 0) has other names"));
    let roots = tree().symlink("/k/ann/keys", "/etc/shadow").build().unwrap();
    assert!(refusal(&of_ann, roots).contains("/k/ann/keys: a symbolic link (mode 0777 and owner 0) is where"));
    let around = unconfigured().file("/etc/ssh/sshd_config", "AuthorizedKeysFile /k/%u/keys\n").dir("/real/ann");
    let around = around.symlink("/k", "/real").build().unwrap();
    assert_eq!(describe(&inject(&of_ann, around), "/real/ann/keys"), "0644 0:0");
    // Nor one further up.
    let deep =
        unconfigured().file("/etc/ssh/sshd_config", "AuthorizedKeysFile .a/b/keys\n").symlink("/home/ann/.a", "/etc");
    assert!(refusal(&of_ann, deep.build().unwrap()).contains("/home/ann/.a: a link to /etc"));
}

/// Whose keys are in a place outside of the home is not known, where others than its user and root can write there.
#[test]
fn nothing_of_others_outside_the_home_becomes_valid() {
    let tree = |place: &str| {
        let config = format!("UsePAM yes\nAuthorizedKeysFile {place}\n");
        unconfigured().file("/etc/ssh/sshd_config", config)
    };
    let why = |user: &str, tree: Builder| refusal(&keys(&[(user, ED25519)]), tree.build().unwrap());
    let file = |mode, owner| tree("/k/%u").file("/k/ann", "ssh-rsa bobs\n").mode(mode).owner(owner, owner);
    for (mode, owner, said) in [
        (0o644, 7, "/k/ann: mode 0644 and owner 7 let others than root and 'ann' write there"),
        (0o666, 0, "/k/ann: mode 0666 and owner 0 let others than root and 'ann' write there"),
        (0o664, 1000, "/k/ann: mode 0664 and owner 1000 let others"),
        (0o600, 0, "/k/ann: mode 0600 and owner 0 keep 'ann' out, and sshd reads keys as that user"),
    ] {
        let told = why("ann", file(mode, owner));
        assert!(told.starts_with(said) && told.contains("; no key of 'ann' is put there (see what"), "{told}");
        assert!(told.contains("--chown and --chmod give it") && told.contains(", or --delete /k/ann takes"), "{told}");
    }
    for (mode, owner, said) in [
        (0o1777, 0, "/k: mode 1777 and owner 0 let others"),
        (0o755, 7, "/k: mode 0755 and owner 7 let others"),
        (0o700, 0, "/k: mode 0700 and owner 0 keep 'ann' out"),
    ] {
        let told = why("ann", tree("/k/%u").dir("/k").mode(mode).owner(owner, owner));
        assert!(told.starts_with(said) && told.contains("--chown") && !told.contains("--delete"), "{told}");
    }
    // Root's are not another's to lead elsewhere, either.
    let of_root = |tree: Builder| why("root", tree.dir("/var/keys").mode(0o1777));
    let told = of_root(tree("/var/keys/%u").symlink("/var/keys/root", "/etc/passwd").owner(7, 7));
    assert!(told.starts_with("/var/keys: mode 1777 and owner 0 let others than root and 'root' write"), "{told}");
    let lenient = || tree("/var/keys/%u\nStrictModes no");
    let told = of_root(lenient().symlink("/var/keys/root", "/etc/passwd").owner(7, 7));
    assert!(told.starts_with("/var/keys/root: a symbolic link (mode 0777 and owner 7) is where"), "{told}");
    assert!(told.contains("before the key, --delete /var/keys/root takes it away; or have"), "{told}");
    let told = of_root(lenient().hard_link("/var/keys/root", "/etc/shadow"));
    assert!(told.starts_with("/var/keys/root: the file (mode 0640 and owner 0) has other names"), "{told}");
    assert!(told.contains("--delete /var/keys/root") && !told.contains("--chown"), "{told}");
    // By another's link a place outside of the home would come to lie in it.
    let into = tree("/home/ann/k/keys-%u").symlink("/home/ann/k", "/root").owner(1000, 1001);
    let told = why("root", into);
    assert!(told.starts_with("/home/ann/k: a symbolic link (mode 0777 and owner 1000) of neither"), "{told}");
    // One of root's that leads to another's is in what it leads through.
    let through = tree("/k/%u").dir("/home/ann/a").owner(1000, 1001).symlink("/home/ann/a/b", "/etc").owner(1000, 1001);
    let told = why("root", through.symlink("/k", "/home/ann/a/b"));
    assert!(told.starts_with("/home/ann: mode 0755 and owner 1000 let others"), "{told}");
    let told = why(
        "root",
        phony()
            .symlink("/root/.ssh", "/data")
            .dir("/data")
            .mode(0o777)
            .hard_link("/data/authorized_keys", "/etc/shadow"),
    );
    assert!(told.contains("a link to /data/authorized_keys"), "{told}");
    let told = why("root", phony().symlink("/root/.ssh", "/home/ann/x").dir("/home/ann/x").owner(1000, 1001));
    assert!(told.contains("a link to /home/ann/x, which does not belong to 'root'"), "{told}");
}

/// A home is where it lies, not how it is spelled.
#[test]
fn a_home_behind_a_link_is_one() {
    for place in ["/export/home/%u/.ssh/authorized_keys", "/home/%u/.ssh/authorized_keys"] {
        let config = format!("UsePAM yes\nAuthorizedKeysFile {place}\n");
        let tree = MemFs::builder()
            .file("/etc/passwd", PASSWD)
            .file("/usr/sbin/sshd", "")
            .file("/etc/ssh/sshd_config", config)
            .dir("/export/home/ann")
            .owner(1000, 1001)
            .symlink("/home", "/export/home");
        let fs = inject(&keys(&[("ann", ED25519)]), tree.build().unwrap());
        assert_eq!(describe(&fs, "/export/home/ann/.ssh"), "0700 1000:1001", "{place}");
        assert_eq!(describe(&fs, "/export/home/ann/.ssh/authorized_keys"), "0600 1000:1001", "{place}");
    }
}

/// sshd opens the file as the user.
#[test]
fn the_user_gets_to_the_keys() {
    let of_ann = keys(&[("ann", ED25519)]);
    let tree = |lines: &str| unconfigured().file("/etc/ssh/sshd_config", format!("UsePAM yes\n{lines}"));
    for lines in ["", "StrictModes no\n"] {
        let place = format!("{lines}AuthorizedKeysFile .config/ssh/keys\n");
        let fs = inject(&of_ann, tree(&place).dir("/home/ann/.config").mode(0o700).build().unwrap());
        assert_eq!(describe(&fs, "/home/ann/.config"), "0700 1000:1001");
        for shut in ["/home", "/home/ann"] {
            let guest = tree(lines).dir(shut).mode(0o700).owner(0, 0).build().unwrap();
            let told = notes(&of_ann, &guest);
            let expected =
                format!("{shut}: mode 0700 and owner 0 keep 'ann' out, and sshd reads the keys in it as that user");
            assert!(told.contains(&expected), "{told}");
        }
    }
}

/// What stands in the part that is not read may name another place.
#[test]
fn a_configuration_that_is_not_read_whole_names_no_place() {
    let config = "AuthorizedKeysFile .ssh/authorized_keys\nInclude d\n";
    let tree = unconfigured().file("/etc/ssh/sshd_config", config).dir("/etc/ssh/d").build().unwrap();
    let told = refusal(&keys(&[("ann", ED25519)]), tree);
    assert!(told.contains("/etc/ssh/d"), "{told}");
    let users: String = (0..280).map(|number| format!("AllowUsers u{number}\n")).collect();
    let many = unconfigured().file("/etc/ssh/sshd_config", format!("{users}AllowUsers ann\n")).build().unwrap();
    let told = notes(&keys(&[("ann", ED25519)]), &many);
    assert_eq!(told.matches("is not read whole").count(), 1, "{told}");
    assert!(told.contains("says allowusers more than 256 times") && !told.contains("does not let"), "{told}");
}

/// A place that is not in the home needs none.
#[test]
fn who_has_no_home_can_have_keys_elsewhere() {
    let tree = unconfigured().file("/etc/ssh/sshd_config", "UsePAM yes\nAuthorizedKeysFile /k/%u\n");
    let fs = inject(&keys(&[("nobody", ED25519)]), tree.build().unwrap());
    assert_eq!(describe(&fs, "/k/nobody"), "0644 0:0");
    assert!(!exists(&fs, "/nonexistent"));
}

#[test]
fn selinux_labels_come_from_the_guests_policy() {
    let injector = keys(&[("root", ED25519), ("ann", ED25519)]);
    let fs = inject(&injector, fedora().build().unwrap());
    assert_eq!(label(&fs, "/root/.ssh").unwrap(), "system_u:object_r:ssh_home_t:s0");
    assert_eq!(label(&fs, "/root/.ssh/authorized_keys").unwrap(), "system_u:object_r:ssh_home_t:s0");
    assert_eq!(label(&fs, "/home/ann/.ssh/authorized_keys").unwrap(), "unconfined_u:object_r:ssh_home_t:s0");
    assert_eq!(label(&fs, "/root"), None);
    assert!(!exists(&fs, "/etc/rc.d/rc.local"));
    assert_unchanged(&injector, &fs);
    let disabled = phony().file("/etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=targeted\n").build().unwrap();
    let fs = inject(&injector, disabled);
    assert_eq!((label(&fs, "/root/.ssh"), exists(&fs, "/etc/rc.local")), (None, false));
}

#[test]
fn without_a_policy_restorecon_runs_at_boot() {
    let plain = || phony().file("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=targeted\n");
    let tree = || labelling(plain(), "/etc/rc.local");
    let injector = keys(&[("root", ED25519), ("ann", ED25519)]);
    let fs = inject(&injector, tree().file("/etc/rc.local", "#!/bin/sh\ntrue\nexit 0\n").mode(0o644).build().unwrap());
    assert_eq!(describe(&fs, "/etc/rc.local"), "0744 0:0");
    let comment = "# Added by imgraft to give injected files the right SELinux context";
    assert_eq!(
        text(&fs, "/etc/rc.local"),
        format!(
            "#!/bin/sh\n{comment}\nrestorecon -RF /home/ann/.ssh 2>/dev/null || :\n{comment}\nrestorecon -RF /root/.ssh 2>/dev/null || :\ntrue\nexit 0\n"
        )
    );
    assert_unchanged(&injector, &fs);
    let fs = inject(&keys(&[("root", ED25519)]), labelling(plain(), "/etc/rc.d/rc.local").build().unwrap());
    assert_eq!(describe(&fs, "/etc/rc.d/rc.local"), "0700 0:0");
    assert!(text(&fs, "/etc/rc.d/rc.local").starts_with("#!/bin/sh\n# Added"));
    let tree = tree().file("/etc/rc.local", "#!/usr/bin/perl\n").build().unwrap();
    let told = notes(&keys(&[("root", ED25519)]), &tree);
    assert!(told.contains("/.autorelabel has it label all of its files at its next boot with SELinux"), "{told}");
    let fs = inject(&injector, tree);
    assert_eq!(describe(&fs, "/etc/rc.local"), "0644 0:0");
    assert_eq!((describe(&fs, "/.autorelabel"), text(&fs, "/.autorelabel")), ("0644 0:0".to_owned(), String::new()));
    assert_unchanged(&injector, &fs);
    // Nothing runs such a script, and nothing looks for the other.
    let generator = "/usr/lib/systemd/system-generators/selinux-autorelabel-generator.sh";
    let bare = || plain().file("/etc/rc.local", "#!/bin/sh\n").file("/usr/lib/systemd/systemd", "");
    let told = notes(&injector, &bare().file(generator, "x").mode(0o755).build().unwrap());
    assert!(told.contains(&format!("from an rc.local: /.autorelabel has it label all of its files at its next boot with SELinux, as {generator} shows")), "{told}");
    let told = notes(&injector, &bare().build().unwrap());
    assert!(told.contains("nothing in the guest is known to look for that; boot it with enforcing=0"), "{told}");
    let fs = inject(&injector, bare().build().unwrap());
    assert_eq!((text(&fs, "/etc/rc.local").as_str(), exists(&fs, "/.autorelabel")), ("#!/bin/sh\n", true));
    assert_unchanged(&injector, &fs);
}

/// What PCRE2 knows and is no expression to us may be the line for a file, and restorecon knows it.
#[test]
fn a_line_that_cannot_be_tried_is_left_to_restorecon() {
    let policy = "/.* u:r:default_t:s0\n/root/(?!x).* u:r:odd_t:s0\n/home/.* u:r:home_t:s0\n";
    let tree = || {
        labelling(phony(), "/etc/rc.d/rc.local")
            .file("/etc/selinux/config", "SELINUX=enforcing\n")
            .file("/etc/selinux/targeted/contexts/files/file_contexts", policy)
    };
    let injector = keys(&[("root", ED25519), ("ann", ED25519)]);
    let told = notes(&injector, &tree().build().unwrap());
    let expected = "expressions of the guest's SELinux policy could not be tried (/root/(?!x).*): restorecon runs from /etc/rc.d/rc.local";
    assert!(told.contains(expected), "{told}");
    let fs = inject(&injector, tree().build().unwrap());
    let script = text(&fs, "/etc/rc.d/rc.local");
    assert!(script.contains("restorecon -RF /root/.ssh ") && !script.contains("/home"), "{script}");
    assert_eq!(label(&fs, "/home/ann/.ssh").unwrap(), "u:r:home_t:s0");
    assert_unchanged(&injector, &fs);
    // Nothing of it where the line is none for what is put in.
    assert!(!exists(&inject(&keys(&[("ann", ED25519)]), tree().build().unwrap()), "/etc/rc.d/rc.local"));
    let perl = tree().file("/etc/rc.d/rc.local", "#!/usr/bin/perl\n").build().unwrap();
    assert!(exists(&inject(&injector, perl), "/.autorelabel"));
}

/// Which substitution is taken is up to the guest's libselinux; where that may be any, the labels that are up to it are told.
#[test]
fn substitutions_by_the_guests_libselinux() {
    let subs = "/etc/selinux/targeted/contexts/files/file_contexts.subs";
    let guest = || fedora().file(subs, "/home/ann /srv\n/home/ann/.ssh /root/.ssh\n");
    let status = |version: &str| format!("Package: libselinux1\nStatus: install ok installed\nVersion: {version}-1\n");
    let injector = keys(&[("ann", ED25519)]);
    for (version, expected) in [("3.4", "ssh_home_t"), ("3.8.1", "default_t"), ("3.9", "ssh_home_t")] {
        let guest = || guest().file("/var/lib/dpkg/status", status(version)).build().unwrap();
        let label = label(&inject(&injector, guest()), "/home/ann/.ssh/authorized_keys").unwrap();
        assert_eq!(label, format!("system_u:object_r:{expected}:s0"), "{version}");
        assert!(!notes(&injector, &guest()).contains("libselinux"));
    }
    let told = notes(&injector, &guest().build().unwrap());
    assert!(told.contains("another label for /home/ann/.ssh, /home/ann/.ssh/authorized_keys"), "{told}");
    assert!(!notes(&injector, &fedora().build().unwrap()).contains("libselinux"));
}

/// A guest with labels and SELinux's programs has use for them, be its configuration there or not.
#[test]
fn labels_without_a_configuration() {
    let injector = keys(&[("root", ED25519)]);
    for labelled in ["/", "/etc"] {
        let bare = || phony().dir(labelled).xattr("security.selinux", b"system_u:object_r:etc_t:s0\0");
        let tree = || labelling(bare(), "/etc/rc.local");
        let told = notes(&injector, &tree().build().unwrap());
        let expected =
            "the guest has SELinux labels and no /etc/selinux/config: /.autorelabel has it label all of its files";
        assert!(told.contains(expected), "{told}");
        let fs = inject(&injector, tree().build().unwrap());
        assert!(exists(&fs, "/.autorelabel") && !exists(&fs, "/etc/rc.local"));
        assert_unchanged(&injector, &fs);
        let disabled = tree().file("/etc/selinux/config", "SELINUX=disabled\n").build().unwrap();
        assert_eq!(notes(&injector, &disabled), "");
        let nova = inject(&nova("k"), tree().build().unwrap());
        assert!(!exists(&nova, "/.autorelabel"));
        let activated = "GRUB_CMDLINE_LINUX=\" selinux=1 security=selinux\"\n";
        let told = bare().file("/etc/default/grub", activated).build().unwrap();
        assert!(exists(&inject(&injector, told), "/.autorelabel"));
        // Labels of the host that a tree was made on, in a guest that has no use for them.
        let debian = || {
            bare()
                .file("/usr/lib/x86_64-linux-gnu/libselinux.so.1", "")
                .file("/etc/selinux/semanage.conf", "")
                .file("/etc/default/grub", "# selinux=1\nGRUB_CMDLINE_LINUX=\"selinux=0 noselinux=1\"\n")
        };
        assert_eq!(notes(&injector, &debian().build().unwrap()), "");
        assert!(!exists(&inject(&injector, debian().build().unwrap()), "/.autorelabel"));
    }
    let other = phony().dir("/etc").xattr("user.x", b"y").build().unwrap();
    assert!(!exists(&inject(&injector, other), "/.autorelabel"));
}

#[test]
fn nova_golden() {
    let tree = phony().file("/root/.ssh/authorized_keys", "old").owner(5, 6).build().unwrap();
    let fs = inject(&nova(&format!("  {ED25519}\n")), tree);
    assert_eq!(text(&fs, "/root/.ssh/authorized_keys"), format!("old{HEADER}{ED25519}\n"));
    assert_eq!(describe(&fs, "/root/.ssh/authorized_keys"), "0600 5:6");
    assert_eq!(describe(&fs, "/root/.ssh"), "0700 0:0");
    // Again, and it is there twice.
    let fs = inject(&nova(ED25519), fs);
    assert_eq!(text(&fs, "/root/.ssh/authorized_keys"), format!("old{HEADER}{ED25519}\n{HEADER}{ED25519}\n"));
    assert!(!exists(&fs, "/etc/rc.local"));
    let other = Keys { compat: Compat::Nova, ..keys(&[("ann", ED25519)]) };
    assert!(refusal(&other, fs).contains("Nova cannot"));
}

#[test]
fn nova_selinux_golden() {
    let fs = inject(&nova("k"), phony().dir("/etc/selinux").dir("/etc/rc.d").build().unwrap());
    assert_eq!(text(&fs, "/etc/rc.d/rc.local"), format!("#!/bin/sh{RESTORE}"));
    assert_eq!(describe(&fs, "/etc/rc.d/rc.local"), "0700 0:0");
    let tree = phony().dir("/etc/selinux").dir("/etc/rc.d").file("/etc/rc.local", "a\nexit 0\n").owner(3, 3).build();
    let fs = inject(&nova("k"), tree.unwrap());
    assert_eq!(text(&fs, "/etc/rc.local"), format!("a\nexit 0\n{RESTORE}"));
    assert_eq!(describe(&fs, "/etc/rc.local"), "0700 3:3");
    let fs = inject(&nova("k"), phony().dir("/etc/selinux").build().unwrap());
    assert_eq!(text(&fs, "/etc/rc.local"), format!("#!/bin/sh{RESTORE}"));
    assert_eq!(label(&inject(&nova("k"), fedora().build().unwrap()), "/root/.ssh"), None);
}

#[test]
fn links_of_a_user_lead_to_what_is_the_users() {
    let shadow = |tree: imgraft_vfs::fs::mem::Builder| refusal(&keys(&[("ann", ED25519)]), tree.build().unwrap());
    let said = shadow(
        phony().dir("/home/ann/.ssh").owner(1000, 1001).symlink("/home/ann/.ssh/authorized_keys", "/etc/shadow"),
    );
    assert!(said.contains("a link to /etc/shadow, which does not belong to 'ann'"), "{said}");
    let said = shadow(phony().dir("/home/ann/.ssh").hard_link("/home/ann/.ssh/authorized_keys", "/etc/shadow"));
    assert!(said.contains("a link to another file"), "{said}");
    let said = shadow(phony().symlink("/home/ann/.ssh", "../../etc"));
    assert!(said.contains("a link to /etc, which"), "{said}");
    let said = shadow(phony().dir("/home/ann/.ssh").symlink("/home/ann/.ssh/authorized_keys", "/etc/cron.allow"));
    assert!(said.contains("a link to /etc/cron.allow"), "{said}");

    let tree = phony().dir("/home/ann/dots").owner(1000, 1001).symlink("/home/ann/.ssh", "dots").build().unwrap();
    let fs = inject(&keys(&[("ann", ED25519)]), tree);
    assert_eq!(describe(&fs, "/home/ann/dots/authorized_keys"), "0600 1000:1001");
}

#[test]
fn what_keeps_sshd_from_taking_them_is_said() {
    let said = |keys: &Keys, config: &str| {
        let guest = crate::inject::testing::phony().file("/usr/sbin/sshd", "");
        notes(keys, &guest.file("/etc/ssh/sshd_config", config).build().unwrap())
    };
    let (ann, both) = (keys(&[("ann", ED25519)]), keys(&[("ann", ED25519), ("root", ED25519)]));
    assert_eq!(said(&ann, "UsePAM yes\n"), "");
    let locked = said(&ann, "UsePAM no\n");
    assert!(locked.starts_with("the guest's sshd takes 'ann' for locked, and no keys: "), "{locked}");
    assert!(locked.ends_with("/etc/ssh/sshd_config does not say UsePAM yes; --password ann:disabled takes it away"));
    assert_eq!(said(&both, ""), said(&ann, ""), "of root '*' says it");
    let shut = MemFs::builder()
        .file("/etc/passwd", "ann:x:1000:1001::/home/ann:/bin/sh\n")
        .file("/etc/group", "ann:x:1001:\n")
        .file("/etc/shadow", "ann:!$6$a$b:1::::::\n")
        .file("/usr/sbin/sshd", "")
        .file("/etc/ssh/sshd_config", "");
    assert!(notes(&ann, &shut.build().unwrap()).contains("; --unlock ann takes it away"));
    // An authority's key signs certificates, which have types of their own.
    let authority = keys(&[("ann", &format!("cert-authority {ED25519}"))]);
    let rsa = "UsePAM yes\nPubkeyAcceptedAlgorithms rsa-sha2-512,ssh-ed25519-cert-v01@openssh.com\n";
    assert!(said(&ann, rsa).starts_with("the guest's sshd takes no key of the type ssh-ed25519: "));
    assert_eq!(said(&authority, rsa), "");
    // What holds for all is said once.
    let told = "the guest's sshd takes no keys: /etc/ssh/sshd_config says PubkeyAuthentication no";
    assert_eq!(said(&both, "UsePAM yes\nPubkeyAuthentication no\n"), told);
    assert_eq!(
        said(&both, "UsePAM yes\nPermitRootLogin no\nAllowGroups root\n"),
        "the guest's sshd does not let 'ann' log in: /etc/ssh/sshd_config says AllowGroups root\nthe guest's sshd does not let root log in: \
         /etc/ssh/sshd_config says PermitRootLogin no"
    );
    let none = notes(&both, &crate::inject::testing::phony().build().unwrap());
    assert_eq!(none, "the guest has no sshd: nobody reads the keys until it gets one");
    let bare = crate::inject::testing::phony().file("/usr/sbin/sshd", "").build().unwrap();
    assert_eq!(
        notes(&both, &bare),
        "the guest has an sshd and no /etc/ssh/sshd_config, without which that does not start, unless it is started with another one \
         (-f) or something brings it"
    );
}
