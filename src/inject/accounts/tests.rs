use super::*;
use crate::inject::testing::*;
use crate::secret::Secret;
use imgraft_vfs::fs::mem::{Builder, MemFs};

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };

pub(super) fn nothing() -> Accounts {
    Accounts::none(NOW)
}

fn new_user(name: &str) -> NewUser {
    NewUser::named(AccountName::parse(name).unwrap())
}

fn user(name: &str) -> Accounts {
    with(new_user(name))
}

fn with(user: NewUser) -> Accounts {
    Accounts { users: vec![user], ..nothing() }
}

pub(super) fn with_number(name: &str, uid: u32) -> Accounts {
    with(NewUser { uid: Some(uid), ..new_user(name) })
}

fn group(name: &str, gid: Option<u32>, kind: Kind) -> Accounts {
    Accounts { groups: vec![NewGroup { name: AccountName::parse(name).unwrap(), gid, kind }], ..nothing() }
}

fn member(user: &str, group: &str) -> Accounts {
    Accounts { members: vec![(user.into(), group.into())], ..nothing() }
}

pub(super) fn guest() -> Builder {
    bare().file("/etc/login.defs", "USERGROUPS_ENAB yes\nPASS_MAX_DAYS 99999\nHOME_MODE 0750\n")
}

/// The same without its own ways.
fn bare() -> Builder {
    MemFs::builder()
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1001:Ann,,,:/home/ann:\n")
        .file("/etc/group", "root:x:0:\nstaff:x:50:ann\nann:x:1001:\n")
        .file("/etc/shadow", "root:*:1::::::\nann:!:1::::::\n")
        .mode(0o640)
        .owner(0, 42)
        .dir("/home")
}

/// What the vendor has is added to what the guest has, and takes the place of nothing.
#[test]
fn a_home_begins_with_two_skeletons() {
    let tree = guest()
        .file("/etc/skel/both", "etc\n")
        .dir("/etc/skel/.config")
        .mode(0o700)
        .file("/etc/skel/.config/e", "e\n")
        .file("/etc/skel/file", "file\n")
        .symlink("/etc/skel/link", "/etc")
        .file("/usr/etc/skel/both", "usr\n")
        .file("/usr/etc/skel/only", "only\n")
        .file("/usr/etc/skel/.config/u", "u\n")
        .file("/usr/etc/skel/file/below", "below\n")
        .file("/usr/etc/skel/link/ssh/sshd_config", "evil\n");
    let fs = inject(&with(new_user("bob")), tree.build().unwrap());
    for (name, expected) in
        [("both", "etc\n"), ("only", "only\n"), (".config/e", "e\n"), (".config/u", "u\n"), ("file", "file\n")]
    {
        assert_eq!(text(&fs, &format!("/home/bob/{name}")), expected, "{name}");
    }
    assert!(describe(&fs, "/home/bob/.config").starts_with("0700 "));
    assert!(!exists(&fs, "/etc/ssh/sshd_config"), "no link of the skeleton leads out of the home");
}

#[test]
fn a_user_in_all_files_and_a_home() {
    let tree = guest()
        .file("/etc/gshadow", "root:*::\nstaff:!::ann")
        .file("/etc/subuid", "ann:100000:65536\n")
        .file("/etc/subgid", "")
        .file("/etc/skel/.profile", "profile\n")
        .mode(0o640)
        .dir("/etc/skel/.config")
        .mode(0o700)
        .file("/etc/skel/.config/rc", "rc\n")
        .symlink("/etc/skel/own", "/etc/skel/.profile")
        .symlink("/etc/skel/other", "../x");
    let injector = with(NewUser { groups: vec!["staff".into()], ..new_user("bob") });
    let fs = inject(&injector, tree.build().unwrap());
    assert!(text(&fs, "/etc/passwd").ends_with("\nbob:x:1001:1002::/home/bob:/bin/sh\n"));
    assert_eq!(text(&fs, "/etc/shadow"), "root:*:1::::::\nann:!:1::::::\nbob:!:19675::99999::::\n");
    assert_eq!(describe(&fs, "/etc/shadow"), "0640 0:42");
    assert_eq!(text(&fs, "/etc/group"), "root:x:0:\nstaff:x:50:ann,bob\nann:x:1001:\nbob:x:1002:\n");
    assert_eq!(text(&fs, "/etc/gshadow"), "root:*::\nstaff:!::ann,bob\nbob:!::\n");
    assert_eq!(text(&fs, "/etc/subuid"), "ann:100000:65536\nbob:165536:65536\n");
    assert_eq!(text(&fs, "/etc/subgid"), "bob:100000:65536\n");
    for (path, expected) in [
        ("/home/bob", "0750 1001:1002"),
        ("/home/bob/.profile", "0640 1001:1002"),
        ("/home/bob/.config", "0700 1001:1002"),
        ("/home/bob/.config/rc", "0644 1001:1002"),
        ("/home/bob/own", "0640 1001:1002"),
    ] {
        assert_eq!(describe(&fs, path), expected, "{path}");
    }
    assert_eq!(text(&fs, "/home/bob/own"), "profile\n");
    assert_unchanged(&injector, &fs);
}

#[test]
fn a_guest_without_shadow_and_gshadow() {
    let tree = MemFs::builder().file("/etc/passwd", "root:*:0:0::/:").file("/etc/group", "root:*:0:").dir("/bin");
    let fs = inject(&user("bob"), tree.file("/bin/bash", "").build().unwrap());
    assert_eq!(text(&fs, "/etc/passwd"), "root:*:0:0::/:\nbob:!:1000:1000::/home/bob:/bin/bash\n");
    assert_eq!(text(&fs, "/etc/group"), "root:*:0:\nbob:!:1000:\n");
    for path in ["/etc/shadow", "/etc/gshadow", "/etc/subuid"] {
        assert!(!exists(&fs, path), "{path}");
    }
    assert_eq!(describe(&fs, "/home/bob"), "0755 1000:1000");
    assert_unchanged(&user("bob"), &fs);
}

#[test]
fn what_an_account_left_behind_gives_way() {
    let tree = MemFs::builder()
        .file("/etc/passwd", "root:x:0:0::/:\n")
        .file("/etc/group", "root:x:0:\n")
        .file("/etc/shadow", "bob:$6$old:1::::::\nroot:*:::::::\nbob::2::::::\n")
        .file("/etc/gshadow", "bob:$6$old:bob:bob\n");
    let fs = inject(&user("bob"), tree.build().unwrap());
    assert_eq!(text(&fs, "/etc/shadow"), "bob:!:19675::::::\nroot:*:::::::\n");
    assert_eq!(text(&fs, "/etc/gshadow"), "bob:!::\n");
}

#[test]
fn services_and_groups_they_share() {
    let injector = with(NewUser { kind: Kind::System, ..new_user("svc") });
    let fs = inject(&injector, guest().file("/etc/subuid", "").build().unwrap());
    assert!(text(&fs, "/etc/passwd").ends_with("svc:x:999:999::/home/svc:/bin/sh\n"));
    assert!(text(&fs, "/etc/shadow").ends_with("svc:!:19675::::::\n"));
    assert!(!exists(&fs, "/home/svc") && text(&fs, "/etc/subuid").is_empty());
    assert_unchanged(&injector, &fs);

    let suse = bare()
        .file("/etc/login.defs", "USERGROUPS_ENAB no\nMAIL_DIR /var/spool/mail\n")
        .file("/etc/default/useradd", "GROUP=50\nSHELL=/bin/zsh\nCREATE_MAIL_SPOOL=yes\nHOME=/srv/home/\n")
        .dir("/var/spool/mail");
    let fs = inject(&user("bob"), suse.build().unwrap());
    assert!(text(&fs, "/etc/passwd").ends_with("bob:x:1001:50::/srv/home/bob:/bin/zsh\n"));
    assert_eq!(describe(&fs, "/var/spool/mail/bob"), "0600 1001:50");
    assert_eq!(
        (describe(&fs, "/srv/home"), describe(&fs, "/srv/home/bob")),
        ("0755 0:0".into(), "0755 1001:50".into())
    );
    assert!(!text(&fs, "/etc/group").contains("bob"));
}

#[test]
fn one_that_is_there_and_the_same_is_no_change() {
    let fs = guest().build().unwrap();
    let everything = NewUser {
        uid: Some(1000),
        group: Some("1001".into()),
        groups: vec!["staff".into(), "ann".into()],
        shell: Some("/bin/sh".into()),
        home: Some("/home/ann".into()),
        comment: Some("Ann,,,".into()),
        ..new_user("ann")
    };
    for same in [
        user("ann"),
        with(everything),
        group("staff", Some(50), Kind::Person),
        group("staff", None, Kind::System),
        member("ann", "staff"),
    ] {
        assert_unchanged(&same, &fs);
        assert_eq!(notes(&same, &fs), "");
    }
}

#[test]
fn one_that_is_there_and_differs_is_refused() {
    let why = |injector: Accounts| refusal(&injector, guest().build().unwrap());
    let ann = || new_user("ann");
    for (user, how) in [
        (NewUser { uid: Some(7), ..ann() }, "its user number is 1000, not 7"),
        (NewUser { group: Some("staff".into()), ..ann() }, "its first group is number 1001, not staff (50)"),
        (NewUser { groups: vec!["root".into()], ..ann() }, "it is not in the group 'root' (--add-to-group ann:root"),
        (NewUser { shell: Some("/bin/zsh".into()), ..ann() }, "its shell is /bin/sh, not /bin/zsh"),
        (NewUser { home: Some("/srv".into()), ..ann() }, "its home directory is /home/ann, not /srv"),
        (NewUser { comment: Some("Ann".into()), ..ann() }, "its comment is 'Ann,,,', not 'Ann'"),
        (NewUser { kind: Kind::System, ..ann() }, "its user number is 1000, a person's"),
        (new_user("root"), "its user number is 0, a system account's"),
    ] {
        let said = why(with(user));
        assert!(said.contains("already, and it is another: ") && said.contains(how), "{said}");
    }
    for (injector, said) in [
        (group("staff", Some(51), Kind::Person), "its number is 50, not 51"),
        (group("staff", None, Kind::Person), "a system account's"),
        (group("dev", Some(50), Kind::Person), "the group number 50 is that of 'staff' in the guest"),
        (with(NewUser { uid: Some(0), ..new_user("bob") }), "the user number 0 is that of 'root' in the guest"),
        (
            user("staff"),
            "a group 'staff' already, which is what the user's own group would be called (--add-user staff:gid=staff",
        ),
        (with(NewUser { group: Some("nogroup".into()), ..new_user("bob") }), "no group 'nogroup' in the guest"),
        (with(NewUser { groups: vec!["x".into()], ..new_user("bob") }), "no group 'x' in the guest"),
        (member("bob", "staff"), "no user 'bob' in the guest"),
        (member("ann", "x"), "no group 'x' in the guest"),
    ] {
        let found = why(injector);
        assert!(found.contains(said), "{found}");
    }
    let twice = Accounts { users: vec![new_user("bob"), NewUser { uid: Some(5), ..new_user("bob") }], ..nothing() };
    assert!(why(twice).contains("its user number is 1001, not 5"));
}

#[test]
fn a_hostile_guest_ends_in_an_error_or_a_change() {
    let passwd = "root:x:0:0::/:\n\nx\n:::\n\u{1}:x:y:z\nann\nann:x:1000\n+::::::\n";
    let group = "g\nstaff:x:50\nstaff:x:51:x\n:\n";
    let tree = || MemFs::builder().file("/etc/passwd", passwd).file("/etc/group", group);
    let injector = with(NewUser { groups: vec!["staff".into()], ..new_user("bob") });
    let fs = inject(&injector, tree().build().unwrap());
    assert_eq!(text(&fs, "/etc/group"), "g\nstaff:x:50:bob\nstaff:x:51:x,bob\n:\nbob:!:1000:\n");
    assert!(text(&fs, "/etc/passwd").ends_with("\nbob:!:1000:1000::/home/bob:/bin/sh\n+::::::\n"));
    assert_unchanged(&injector, &fs);

    let why = |tree: Builder| refusal(&user("bob"), tree.build().unwrap());
    assert!(why(MemFs::builder().dir("/etc")).starts_with("the guest has no /etc/passwd (choose"));
    assert!(why(MemFs::builder().file("/etc/passwd", "")).starts_with("the guest has no /etc/group"));
    assert!(why(MemFs::builder().file("/etc/passwd", "").dir("/etc/group")).contains("not a regular file"));
    assert!(why(tree().file("/etc/shadow", vec![b'\n'; 9 << 20])).contains("more than the 8388608"));
    assert!(why(tree().file("/home/bob", "")).starts_with("/home/bob: the home directory is to be there"));
    let full = tree().file("/etc/login.defs", "UID_MIN 5\nUID_MAX 4\nUSERGROUPS_ENAB yes\n");
    assert!(why(full).contains("no user numbers are free in the guest, from 5 to 4"));
    let full = tree().file("/etc/subuid", "x:0:4294967294\n");
    assert!(why(full).contains("no subordinate numbers are free"));

    let many = (0..4097).fold(tree(), |tree, number| tree.file(format!("/etc/skel/{number}"), ""));
    assert!(why(many).starts_with("/etc/skel: more than the 4096 files"));
    let large = tree().file("/etc/skel/a", vec![0; 5 << 20]).file("/etc/skel/b", vec![0; 5 << 20]);
    assert!(why(large).contains("8 MiB"));
    let loops = tree().symlink("/etc/skel/up", "..").symlink("/etc/skel/loop", "loop");
    let fs = inject(&user("bob"), loops.build().unwrap());
    assert!(exists(&fs, "/home/bob/up") && text(&fs, "/etc/passwd").contains("bob"));
    // The skeleton is the whole guest, and the home is in it.
    let root = tree().file("/etc/default/useradd", "SKEL=/\n").dir("/home");
    assert!(exists(&inject(&user("bob"), root.build().unwrap()), "/home/bob/etc/passwd"));
    // By a link of the guest's the file is another one, and stays in the guest.
    let linked =
        MemFs::builder().file("/etc/real", passwd).symlink("/etc/passwd", "../../../etc/real").file("/etc/group", "");
    assert!(text(&inject(&user("bob"), linked.build().unwrap()), "/etc/real").contains("bob:!:1000:1000"));
}

#[test]
fn what_is_new_is_labelled() {
    let tree = fedora().file("/etc/skel/.profile", "").build().unwrap();
    let fs = inject(&user("bob"), tree);
    assert_eq!(label(&fs, "/home/bob/.profile").as_deref(), Some("unconfined_u:object_r:user_home_t:s0"));
}

#[test]
fn a_home_that_is_there_stays_as_it_is() {
    let fs = guest().dir("/home/bob").owner(5, 6).file("/etc/skel/x", "").build().unwrap();
    assert!(notes(&user("bob"), &fs).contains("was there and stays as it is, owned by 5:6"));
    let fs = inject(&user("bob"), fs);
    assert!(!exists(&fs, "/home/bob/x"));
    let no_home = with(NewUser { home_directory: HomeDirectory::NotMade, ..new_user("cyd") });
    assert!(!exists(&inject(&no_home, guest().build().unwrap()), "/home/cyd"));
}

#[test]
fn who_has_to_be_there() {
    let present = |user: &str| Accounts { present: vec![user.into()], ..nothing() };
    assert_unchanged(&present("ann"), &guest().build().unwrap());
    assert!(refusal(&present("ghost"), guest().build().unwrap()).contains("no user 'ghost'"));
}

#[test]
fn a_hash_is_for_a_new_user() {
    let hash = Secret::new(b"$6$salt$hash".to_vec());
    let asked = |name: &str| with(NewUser { hash: Some(hash.clone()), ..new_user(name) });
    let strong = "$6$abcdefgh$".to_owned() + &"a".repeat(86);
    let made = with(NewUser { hash: Some(Secret::new(strong.clone().into_bytes())), ..new_user("bob") });
    let fs = inject(&made, guest().build().unwrap());
    assert!(text(&fs, "/etc/shadow").contains(&format!("bob:{strong}:19675:")), "{}", text(&fs, "/etc/shadow"));
    assert_unchanged(&made, &fs);
    assert!(refusal(&asked("bob"), guest().build().unwrap()).contains("'bob'"));
    let there = with(NewUser { hash: Some(Secret::new(strong.into_bytes())), ..new_user("ann") });
    assert!(notes(&there, &guest().build().unwrap()).contains("'ann' is there already and keeps the password"));
    assert_unchanged(&there, &guest().build().unwrap());
}

#[test]
fn groups_that_are_missing_are_made() {
    let names = ["staff", "crew"].map(|name| AccountName::parse(name).unwrap());
    let asked = Accounts { missing_groups: names.into(), ..nothing() };
    let fs = inject(&asked, guest().build().unwrap());
    assert!(text(&fs, "/etc/group").starts_with("root:x:0:\nstaff:x:50:ann\nann:x:1001:\ncrew:x:"));
    assert_unchanged(&asked, &fs);
}

#[test]
fn no_lock_keeps_an_sshd_without_pam_from_taking_keys() {
    let shadow = |config: &str, accounts: &Accounts| {
        let fs = inject(accounts, guest().file("/etc/ssh/sshd_config", config).build().unwrap());
        assert_unchanged(accounts, &fs);
        text(&fs, "/etc/shadow")
            .lines()
            .find_map(|line| line.strip_prefix("bob:")?.split(':').next().map(str::to_owned))
            .unwrap()
    };
    assert_eq!(shadow("UsePAM yes\n", &user("bob")), "!");
    assert_eq!(shadow("#UsePAM yes\n", &user("bob")), "*");
    let said = notes(&user("bob"), &guest().file("/etc/ssh/sshd_config", "").build().unwrap());
    assert!(said.contains("'*' and not '!' says that 'bob' has no password: "), "{said}");
    // As cloud-init would have it locked, which without a password is nothing.
    let locked = Accounts { locked: vec!["bob".into()], ..user("bob") };
    assert_eq!((shadow("", &locked), shadow("UsePAM yes\n", &locked)), ("*".into(), "!".into()));
    assert_eq!(shadow("", &with(NewUser { kind: Kind::System, ..new_user("bob") })), "!");
}
