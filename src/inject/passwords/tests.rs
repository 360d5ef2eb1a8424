use super::*;
use crate::inject::testing::*;
use imgraft_vfs::stage::Body;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn one(user: &str, selector: Selector) -> Passwords {
    Passwords {
        users: vec![(user.to_owned(), selector)],
        method: None,
        expired: Vec::new(),
        now: Timestamp { seconds: 19_675 * 86_400 + 86_399, nanoseconds: 0 },
        compat: Compat::Imgraft,
    }
}

fn password(text: &str) -> Selector {
    Selector::Password(secret(text))
}

/// The second field of the user's first line.
fn field(fs: &imgraft_vfs::fs::mem::MemFs, user: &str) -> String {
    let shadow = bytes(fs, "/etc/shadow");
    let prefix = [user.as_bytes(), b":"].concat();
    let line = shadow.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(&prefix[..])).unwrap();
    String::from_utf8(line.split(|byte| *byte == b':').next().unwrap().to_vec()).unwrap()
}

fn with_shadow(shadow: &str) -> imgraft_vfs::fs::mem::MemFs {
    imgraft_vfs::fs::mem::MemFs::builder().file("/etc/passwd", PASSWD).file("/etc/shadow", shadow).build().unwrap()
}

#[test]
fn a_password_is_set_once() {
    let injector = one("ann", password("pässwörd"));
    let fs = inject(&injector, phony().build().unwrap());
    let hash = field(&fs, "ann");
    assert_eq!(crypt::verify("pässwörd".as_bytes(), hash.as_bytes()), Some(true));
    assert_eq!(describe(&fs, "/etc/shadow"), "0640 0:42");
    // With the day of the run, as by chpasswd.
    let expected = String::from_utf8_lossy(SHADOW).replacen("ann:!:19000:", &format!("ann:{hash}:19675:"), 1);
    assert_eq!(String::from_utf8_lossy(&bytes(&fs, "/etc/shadow")), expected);
    assert_unchanged(&injector, &fs);
    assert_eq!(notes(&injector, &fs), "");
}

#[test]
fn only_the_hash_and_its_day_change_byte_for_byte() {
    let hash = format!("$6$salt${}", "h".repeat(86));
    let fs = inject(&one("old2", Selector::Hash(secret(&hash))), {
        let passwd = b"old2:x:5:5::/:\n";
        let shadow = b"\xff\nold2:x\nOLD2:x:\n\nold2::19:a:::::\r\nold22:y:\n old2:z:\nold2";
        imgraft_vfs::fs::mem::MemFs::builder().file("/etc/passwd", passwd).file("/etc/shadow", shadow).build().unwrap()
    });
    let rest = format!("\nold2:{hash}\nOLD2:x:\n\nold2:{hash}:19675:a:::::\r\nold22:y:\n old2:z:\nold2");
    assert_eq!(bytes(&fs, "/etc/shadow"), [b"\xff", rest.as_bytes()].concat());
}

#[test]
fn the_method_is_the_guests() {
    let said = |fs: &imgraft_vfs::fs::mem::MemFs| notes(&one("root", password("x")), fs);
    assert!(said(&phony().build().unwrap()).contains("yescrypt: the default for debian"));
    assert!(said(&with_shadow("root:*:\n")).contains("sha512: the default for linux"));
    assert!(said(&with_shadow("root:!$5$a$b:\n")).contains("sha256: the user's hash is"));
    assert!(said(&with_shadow("ghost:$y$a$b\nann:$6$a$b:\nroot:*:\n")).contains("sha512: the hash of 'ann' is"));
    assert!(said(&with_shadow("root:$1$a$b:\n")).contains("sha512"));
    let tree = phony().file("/etc/login.defs", "ENCRYPT_METHOD SHA256\n").build().unwrap();
    assert!(said(&tree).contains("sha256: login.defs says so"));
    for (id, version, method) in [
        ("debian", "10", Method::Sha512),
        ("debian", "11", Method::Yescrypt),
        ("debian", "", Method::Sha512),
        ("ubuntu", "20.04", Method::Sha512),
        ("ubuntu", "21.10", Method::Sha512),
        ("ubuntu", "22.04", Method::Yescrypt),
        ("fedora", "41", Method::Yescrypt),
        ("rhel", "9.4", Method::Sha512),
        ("alpine", "3.20.1", Method::Sha512),
    ] {
        let os = OsRelease { id: id.into(), version_id: version.into(), ..OsRelease::default() };
        assert_eq!(distribution_method(&os), method, "{id} {version}");
    }
}

#[test]
fn a_method_that_was_asked_for() {
    let by = |method, old: &str| {
        let injector = Passwords { method: Some(method), ..one("root", password("x")) };
        let before = with_shadow(&format!("root:{old}:1:\n"));
        let said = notes(&injector, &before);
        let fs = inject(&injector, before);
        assert_unchanged(&injector, &fs);
        (field(&fs, "root"), said)
    };
    for (method, prefix) in [(Method::Yescrypt, "$y$j9T$"), (Method::Sha512, "$6$"), (Method::Sha256, "$5$")] {
        for old in [Method::Yescrypt, Method::Sha512, Method::Sha256] {
            let old_hash = crypt::hash_with_salt(old, b"x", [7; 16]).unwrap().to_string();
            let (hash, said) = by(method, &old_hash);
            assert!(hash.starts_with(prefix), "{hash}");
            assert_eq!(crypt::verify(b"x", hash.as_bytes()), Some(true));
            // One that fits and is by the method stays.
            assert_eq!(hash == old_hash, method == old);
            assert_eq!(said.contains(&format!("{}: it was asked for", method.name())), method != old, "{said}");
        }
    }
    let old = crypt::md5_crypt(b"x", b"salt").to_string();
    assert!(by(Method::Sha256, &old).0.starts_with("$5$"));
    assert!(by(Method::Sha256, "*").0.starts_with("$5$"));
}

#[test]
fn selectors() {
    let hash = crypt::hash_with_salt(Method::Sha256, b"x", [7; 16]).unwrap().to_string();
    let other = crypt::hash_with_salt(Method::Sha256, b"y", [7; 16]).unwrap().to_string();
    let after = |old: &str, selector: Selector| {
        let injector = one("root", selector);
        let fs = inject(&injector, with_shadow(&format!("root:{old}:1:\n")));
        assert_unchanged(&injector, &fs);
        field(&fs, "root")
    };
    assert_eq!(after("a", Selector::Disabled), "*");
    assert_eq!(after("a", Selector::LockedDisabled), "!*");
    assert_eq!(after("*", Selector::LockedDisabled), "!*");
    assert_eq!(after("*", Selector::Locked), "!*");
    assert_eq!(after("", Selector::Locked), "!");
    assert_eq!(after("!!", Selector::Locked), "!!");
    assert_eq!(after(&hash, Selector::Locked), format!("!{hash}"));
    assert_eq!(after(&hash, password("x")), hash);
    assert_eq!(after(&format!("!{hash}"), password("x")), hash);
    assert_eq!(after(&hash, Selector::LockedPassword(secret("x"))), format!("!{hash}"));
    assert_eq!(after(&format!("!!{hash}"), Selector::LockedPassword(secret("x"))), format!("!!{hash}"));
    let locked = after(&other, Selector::LockedPassword(secret("x")));
    assert_eq!(crypt::verify(b"x", locked.strip_prefix('!').unwrap().as_bytes()), Some(true));
    assert_eq!(after(&hash, Selector::Hash(secret(&other))), other);
    let old = crypt::md5_crypt(b"x", b"salt").to_string();
    assert_eq!(after(&old, password("x")), old);
    assert!(
        notes(&one("root", password("x")), &with_shadow(&format!("root:{old}:")))
            .contains("fits and stays, but it is MD5")
    );
}

#[test]
fn a_random_password_is_revealed_and_fits() {
    for (selector, prefix) in [(Selector::Random, ""), (Selector::LockedRandom, "!")] {
        let fs = with_shadow("root:*:\n");
        let (outcome, changes) = stage(&one("root", selector.clone()), &fs).unwrap();
        let [revealed] = &outcome.revealed[..] else { panic!() };
        assert_eq!((revealed.user.as_str(), changes.len()), ("root", 1));
        assert!(revealed.password.expose().len() >= 16);
        let Some(Body::New(Content::Bytes(shadow))) = changes[0].after.as_ref().and_then(|state| state.content.clone())
        else {
            panic!()
        };
        let hash = shadow.strip_prefix(format!("root:{prefix}").as_bytes()).unwrap().strip_suffix(b":19675\n").unwrap();
        assert_eq!(crypt::verify(revealed.password.expose(), hash), Some(true));
        assert!(!format!("{outcome:?}").contains(std::str::from_utf8(revealed.password.expose()).unwrap()));
    }
}

#[test]
fn who_cannot_have_a_password() {
    let why = |user: &str, selector| refusal(&one(user, selector), phony().build().unwrap());
    assert!(why("bob", password("x")).starts_with("no user 'bob' in the guest (people in the guest: "));
    assert_eq!(
        why("daemon", password("x")),
        "no entry for 'daemon' in the guest's shadow (--append-line '/etc/shadow:daemon:*:::::::' before it adds the user's line)"
    );
    assert!(why("old", password("x")).starts_with("the guest does not look into shadow for 'old'"));
    let way = "(give another one; disabled instead of one keeps everybody from logging in by a password)";
    assert_eq!(why("root", password("")), format!("the password of 'root' cannot be set {way}"));
    assert!(why("root", Selector::Hash(secret("top secret"))).starts_with("not a password hash, for 'root': it holds"));
    assert!(!why("root", Selector::Hash(secret("top secret"))).contains("top"));
    let users = vec![("ann".into(), Selector::Random), ("ann".into(), Selector::Locked)];
    let twice = Passwords { users, ..one("ann", Selector::Locked) };
    assert!(refusal(&twice, phony().build().unwrap()).starts_with("more than one password for 'ann'"));
    let bare = imgraft_vfs::fs::mem::MemFs::builder().file("/etc/passwd", PASSWD).build().unwrap();
    assert!(refusal(&one("root", Selector::Random), bare).starts_with("no /etc/shadow in the guest"));
    let weak = notes(&one("root", Selector::Hash(secret("$1$a$bbbbbbbbbbbbbbbbbbbbbb"))), &with_shadow("root:*:\n"));
    assert!(weak.contains("MD5, which is weak"));
}

#[test]
fn a_hostile_shadow_ends_in_an_error_or_a_change() {
    let huge = format!("root:{}:\n", "x".repeat(1 << 20)).repeat(3);
    let fs = inject(&one("root", Selector::Disabled), with_shadow(&huge));
    assert_eq!(text(&fs, "/etc/shadow"), "root:*:\n".repeat(3));
    let fs = with_shadow("root:$y$jzzzzzz$a$b:\nroot:$6$rounds=999999999$a$b:\nroot");
    let fs = inject(&one("root", password("x")), fs);
    assert_eq!(text(&fs, "/etc/shadow").matches("root:$").count(), 2);
    let tree = phony().symlink("/etc/passwd2", "/etc/passwd").build().unwrap();
    assert!(stage(&one("root", Selector::Disabled), &tree).is_ok());
    let tree = imgraft_vfs::fs::mem::MemFs::builder().file("/etc/passwd", PASSWD).dir("/etc/shadow").build().unwrap();
    assert!(refusal(&one("root", Selector::Disabled), tree).contains("not a regular file"));
    let large = vec![b'\n'; 9 << 20];
    let tree = imgraft_vfs::fs::mem::MemFs::builder().file("/etc/passwd", PASSWD).file("/etc/shadow", large).build();
    assert!(refusal(&one("root", Selector::Disabled), tree.unwrap()).contains("more than the 8388608"));
}

#[test]
fn the_first_of_equal_lines_decides() {
    let hash = |salt| crypt::hash_with_salt(crypt::Method::Sha512, b"x", [salt; 16]).unwrap();
    let (first, second) = (hash(1), hash(2));
    let injector = one("root", password("x"));
    let fs = inject(&injector, with_shadow(&format!("root:{}:1\nroot:{}:2\n", *first, *second)));
    assert_eq!(text(&fs, "/etc/shadow"), format!("root:{}:1\nroot:{}:2\n", *first, *first));
    assert_unchanged(&injector, &fs);
}

#[test]
fn the_day_of_a_password() {
    let hash = crypt::hash_with_salt(Method::Sha256, b"x", [7; 16]).unwrap().to_string();
    let other = crypt::hash_with_salt(Method::Sha256, b"y", [7; 16]).unwrap().to_string();
    let given = || Selector::Hash(secret(&hash));
    for (field, day, selector, after) in [
        (&*other, "7", given(), "19675"),
        ("*", "", password("x"), "19675"),
        (&hash, "7", given(), "7"),
        (&hash, "7", password("x"), "7"),
        // The lock alone is no new password.
        (&format!("!{hash}"), "7", given(), "7"),
        (&hash, "7", Selector::LockedPassword(secret("x")), "7"),
        (&hash, "7", Selector::Locked, "7"),
        (&hash, "0", Selector::Disabled, "0"),
        (&hash, "0", Selector::Locked, "0"),
        // Who is asked for another one is so no more.
        (&hash, "0", given(), "19675"),
        (&hash, "0", password("x"), "19675"),
    ] {
        let injector = one("root", selector);
        let fs = inject(&injector, with_shadow(&format!("ann:z:3:4\nroot:{field}:{day}:1:9:7:::\n")));
        let shadow = text(&fs, "/etc/shadow");
        let rest = shadow.strip_prefix("ann:z:3:4\nroot:").unwrap().split_once(':').unwrap().1;
        assert_eq!(rest, format!("{after}:1:9:7:::\n"), "{field} {day}");
        assert_unchanged(&injector, &fs);
    }
    // The day 0 has another password asked for, and a line without days gets none.
    let first = Passwords { now: Timestamp { seconds: 86_399, nanoseconds: 0 }, ..one("root", given()) };
    let after = |shadow| text(&inject(&first, with_shadow(shadow)), "/etc/shadow");
    assert_eq!(after("root:*:7:\n"), format!("root:{hash}::\n"));
    assert_eq!(after("root:*"), format!("root:{hash}"));
}

#[test]
fn another_password_is_asked_for() {
    let hash = format!("$6$salt${}", "h".repeat(86));
    let expired = |users: &[&str]| Passwords {
        users: Vec::new(),
        expired: users.iter().map(|user| (*user).to_owned()).collect(),
        ..one("", Selector::Random)
    };
    let ann = expired(&["ann"]);
    for (before, after) in [
        (format!("ann:{hash}:7:1:9:7:::\nroot:*:5\n"), format!("ann:{hash}:0:1:9:7:::\nroot:*:5\n")),
        (format!("ann:{hash}::::::"), format!("ann:{hash}:0:::::")),
        (format!("ann:{hash}"), format!("ann:{hash}:0")),
    ] {
        let said = notes(&ann, &with_shadow(&before));
        assert_eq!(said, "'ann' has to choose another password at the next login");
        let fs = inject(&ann, with_shadow(&before));
        assert_eq!(text(&fs, "/etc/shadow"), after);
        assert_unchanged(&ann, &fs);
        assert_eq!(notes(&ann, &fs), "");
    }
    let both = Passwords { users: vec![("ann".into(), Selector::Hash(secret(&hash)))], ..expired(&["ann", "ann"]) };
    let fs = inject(&both, with_shadow("ann:!:7:\n"));
    assert_eq!(text(&fs, "/etc/shadow"), format!("ann:{hash}:0:\n"));
    assert_unchanged(&both, &fs);
    for none in ["!", "*", "!!"] {
        assert!(notes(&ann, &with_shadow(&format!("ann:{none}:7:\n"))).contains("no password of 'ann' is valid"));
    }
    let why = |user: &str| refusal(&expired(&[user]), phony().build().unwrap());
    assert!(why("bob").starts_with("no user 'bob'"));
    assert!(why("daemon").starts_with("no entry for 'daemon'"));
    assert!(why("old").starts_with("the guest does not look into shadow for 'old'"));
    let nova = Passwords { compat: Compat::Nova, ..expired(&["root"]) };
    assert!(refusal(&nova, phony().build().unwrap()).contains("Nova cannot"));
}

#[test]
fn nova_golden() {
    let nova = |user: &str, selector| Passwords { compat: Compat::Nova, ..one(user, selector) };
    let fs = inject(&nova("root", password("123456")), phony().build().unwrap());
    let hash = field(&fs, "root");
    let salt = hash.strip_prefix("$1$").unwrap().split('$').next().unwrap().to_owned();
    assert_eq!(salt.len(), 8);
    assert_eq!(hash, *crypt::md5_crypt(b"123456", salt.as_bytes()));
    assert_eq!(describe(&fs, "/etc/shadow"), "0640 0:42");
    let expected = String::from_utf8_lossy(SHADOW).replacen("root:*:", &format!("root:{hash}:"), 1);
    assert_eq!(String::from_utf8_lossy(&bytes(&fs, "/etc/shadow")), expected);
    assert!(refusal(&nova("ann", password("x")), phony().build().unwrap()).contains("Nova cannot"));
    assert!(refusal(&nova("root", Selector::Disabled), phony().build().unwrap()).contains("Nova cannot"));
}
