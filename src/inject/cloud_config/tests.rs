use super::*;
use crate::inject::testing::{phony, text};
use imgraft_vfs::fs::mem::Builder;

const OURS: &str = "/etc/cloud/cloud.cfg.d/99-imgraft-password.cfg";

fn cloud() -> Builder {
    phony()
        .file("/usr/bin/cloud-init", "")
        .file(
            "/etc/cloud/cloud.cfg",
            "users: [default]\nsystem_info:\n  distro: debian\n  default_user: {name: debian, lock_passwd: True}\n",
        )
        .dir(DIRECTORY)
}

/// What is noted, and what is told to cloud-init.
fn kept(user: &str, guest: Builder) -> (String, Option<String>) {
    let mut fs = guest.build().unwrap();
    let mut outcome = Outcome::default();
    let changes = {
        let mut stage = Stage::new(&fs);
        keep_passwords(&[user], &mut stage, &mut outcome).unwrap();
        stage.finish().unwrap()
    };
    let is_told = !changes.is_empty();
    changes.apply(&mut fs).unwrap();
    (outcome.notes.join("\n"), is_told.then(|| text(&fs, OURS)))
}

#[test]
fn the_default_users_password() {
    let (note, told) = kept("debian", cloud());
    assert_eq!(note, format!("{OURS}: cloud-init is told not to lock the password of its default user, 'debian'"));
    assert!(told.unwrap().ends_with("system_info: {default_user: {lock_passwd: false}}\n"));
    let nothing = (String::new(), None);
    assert_eq!(kept("ann", cloud()), nothing);
    assert_eq!(kept("debian", phony()), nothing);
    assert_eq!(kept("debian", cloud().file("/etc/cloud/cloud-init.disabled", "")), nothing);
    // The last file that says it counts.
    let with = |name: &str, said: &str| {
        cloud().file(format!("{DIRECTORY}/{name}"), format!("system_info: {{default_user: {{{said}}}}}\n"))
    };
    assert_eq!(kept("debian", with("50-a.cfg", "lock_passwd: no")), nothing);
    assert_eq!(kept("debian", with("50-a.cfg", "name: pi")), nothing);
    assert!(kept("pi", with("50-a.cfg", "name: pi")).1.is_some());
    assert!(kept("debian", with("50-a.txt", "lock_passwd: no")).1.is_some());
    let (note, _) = kept("debian", with("99-z.cfg", "lock_passwd: true"));
    assert_eq!(
        note,
        format!(
            "cloud-init locks the password of its default user, 'debian', at the first boot: lock_passwd: false below default_user in \
             {DIRECTORY}/99-z.cfg keeps it from that"
        )
    );
    let (note, _) = kept("debian", with("50-a.cfg", "hashed_passwd: x, lock_passwd: false"));
    assert_eq!(
        note,
        format!(
            "cloud-init gives 'debian' another password at the first boot, as {DIRECTORY}/50-a.cfg has hashed_passwd"
        )
    );
    assert!(!note.contains('$'));
}

#[test]
fn users_that_the_configuration_names() {
    let with =
        |users: &str| phony().file("/usr/bin/cloud-init", "").file(MAIN, format!("users: {users}\n")).dir(DIRECTORY);
    let locks = "cloud-init locks the password of 'ann' at the first boot, as /etc/cloud/cloud.cfg has that user among its users";
    for users in [
        "[default, {name: ann}]",
        "[{name: ann, lock_passwd: true}]",
        "[ann]",
        "[[bob, ann]]",
        "default, ann",
        "{ann: {}}",
        "{ann: true}",
    ] {
        let (note, told) = kept("ann", with(users));
        assert!(note.starts_with(locks) && told.is_none(), "{users}: {note}");
    }
    for users in [
        "[default]",
        "[{name: ann, lock_passwd: false}]",
        "[{name: ann, lock-passwd: false}]",
        "[ann, {name: ann, lock_passwd: false}]",
        "[{name: ann, lock_passwd: false}, {name: ann, lock_passwd: true}]",
        "{ann: {lock-passwd: 0}}",
        "{ann: false}",
        "[{name: anna}]",
        "[{name: ann, lock_passwd: false, passwd: x}]",
        "[{name: ann, lock_passwd: false, hashed_passwd: ''}]",
        "{}",
        "~",
    ] {
        assert_eq!(kept("ann", with(users)), (String::new(), None), "{users}");
    }
    for key in ["plain_text_passwd", "hashed_passwd"] {
        let gives = format!("cloud-init gives 'ann' another password at the first boot, as {MAIN} has {key}");
        for users in [
            format!("[{{name: ann, lock_passwd: false, {key}: x}}]"),
            format!("{{ann: {{lock_passwd: false, {key}: 1}}}}"),
        ] {
            assert_eq!(kept("ann", with(&users)), (gives.clone(), None), "{users}");
        }
        let (note, _) = kept("ann", with(&format!("[{{name: ann, {key}: x}}]")));
        assert!(note.starts_with(&format!("{gives}\n{locks}")), "{note}");
    }
    // The default user by either name.
    for name in ["default", "debian"] {
        let guest =
            cloud().file(format!("{DIRECTORY}/50-a.cfg"), format!("users: [{{name: {name}, hashed_passwd: x}}]\n"));
        let (note, told) = kept("debian", guest);
        assert!(note.starts_with(
            "cloud-init gives 'debian' another password at the first boot, as /etc/cloud/cloud.cfg.d/50-a"
        ));
        assert!(told.is_some());
    }
}

#[test]
fn passwords_that_are_set_once_the_users_are_made() {
    let with = |text: &str| cloud().file(format!("{DIRECTORY}/50-a.cfg"), text);
    let gives = |user: &str, key: &str| {
        format!("cloud-init gives '{user}' another password at the first boot, as {DIRECTORY}/50-a.cfg has {key}")
    };
    for text in [
        "chpasswd: {users: [{name: bob}, {name: ann, password: secret}]}\n",
        "chpasswd: {list: ['bob:x', 'ann:secret']}\n",
        "chpasswd:\n  list: |\n    bob:x\n    ann:secret\n",
    ] {
        assert_eq!(kept("ann", with(text)), (gives("ann", "chpasswd"), None), "{text}");
        assert_eq!(kept("anna", with(text)).0, "", "{text}");
        // A list is all that is set then.
        assert!(!kept("debian", with(&format!("{text}password: secret\n"))).0.contains("another"), "{text}");
    }
    let (note, _) = kept("debian", with("password: secret\nchpasswd: {expire: false, users: []}\n"));
    assert!(note.starts_with(&gives("debian", "password")) && !note.contains("secret"), "{note}");
    for none in ["password: secret\nusers: [ann]\n", "password: ''\n", "password: secret\nusers: []\n"] {
        assert!(!kept("debian", with(none)).0.contains("another"), "{none}");
    }
    // The old key makes another one the default user, or says more of it.
    let (note, told) = kept("ann", with("user: ann\npassword: secret\nusers: []\n"));
    assert!(note.starts_with(&gives("ann", "password")) && note.contains("told not to lock"), "{note}");
    assert!(told.is_some());
    assert_eq!(kept("debian", with("user: ann\n")), (String::new(), None));
    assert_eq!(kept("ann", with("user: {name: ann, lock_passwd: false}\n")), (String::new(), None));
    let (note, _) = kept("debian", with("user: {lock_passwd: true, hashed_passwd: x}\n"));
    assert!(note.starts_with(&gives("debian", "hashed_passwd")), "{note}");
    assert!(note.contains(&format!("lock_passwd: false below user in {DIRECTORY}/50-a.cfg keeps")), "{note}");
}

/// cloud-init reads the files of another directory where the first file names that.
#[test]
fn another_directory() {
    let rules = || vec![Rule { key: "key", wanted: Wanted::True }];
    let told = |guest: Builder| {
        let fs = guest.build().unwrap();
        keep("x", "", rules(), &mut Stage::new(&fs), &mut Outcome::default())
            .map(|path| path.unwrap().to_string())
            .map_err(|error| format!("{error}: {}", error.hint().unwrap()))
    };
    let main = |text: &str| phony().file("/usr/bin/cloud-init", "").file(MAIN, text);
    assert_eq!(told(main("")).unwrap(), format!("{DIRECTORY}/99-imgraft-x.cfg"));
    assert_eq!(told(main("conf_d: ' /srv/c '\n")).unwrap(), "/srv/c/99-imgraft-x.cfg");
    let undone = told(main("conf_d: srv/c\n").file("/srv/c/99-z.cfg", "key: no\n")).unwrap_err();
    assert!(undone.contains("/srv/c/99-z.cfg has the last word on key"), "{undone}");
    assert!(told(main("conf_d: srv/c\n").file(format!("{DIRECTORY}/99-z.cfg"), "key: no\n")).is_ok());
    assert_eq!(told(main("conf_d: '  '\n")).unwrap_err().to_string(), told(main("conf_d:\n")).unwrap_err().to_string());
    let nowhere = told(main("conf_d:\n")).unwrap_err();
    assert!(nowhere.contains("that it reads has key: /etc/cloud/cloud.cfg may name another directory"), "{nowhere}");
}

/// What is not read as cloud-init reads it is told, and what that passes over is not.
#[test]
fn what_is_not_known_is_said() {
    let note = |guest: Builder| unread(&Stage::new(&guest.build().unwrap())).unwrap();
    let with = |text: &[u8]| cloud().file(format!("{DIRECTORY}/50-a.cfg"), text);
    let about = "what the guest's cloud-init is told is not all known, and it may undo what is put in: ";
    for (guest, reason) in [
        (with(b"a: \xe9\n"), format!("{DIRECTORY}/50-a.cfg: it is no text in UTF-8, and cloud-init does not run")),
        (with(&vec![b'\n'; 1024 * 1024 + 1]), format!("{DIRECTORY}/50-a.cfg: with it there is more of cloud-init's")),
        (with(b"merge_how: 'dict(replace)'\n"), format!("{DIRECTORY}/50-a.cfg: it has merge_how, by which cloud-init")),
        (cloud().file(format!("{DIRECTORY}/50-a.cfg"), "a: ["), format!("{DIRECTORY}/50-a.cfg: it is no YAML")),
        (phony().file(MAIN, "conf_d: [a]\n"), format!("{MAIN}: conf_d is no text")),
        (
            (0..257).fold(cloud(), |guest, number| guest.file(format!("{DIRECTORY}/{number:03}.cfg"), "")),
            format!("{DIRECTORY}: there are more than 256 files"),
        ),
    ] {
        let said = note(guest).unwrap();
        assert!(said.starts_with(&format!("{about}{reason}")), "{said}");
    }
    let directory = cloud().dir(format!("{DIRECTORY}/50-a.cfg"));
    let link = cloud().symlink(format!("{DIRECTORY}/50-a.cfg"), "/gone");
    for guest in [cloud(), with(b"a: 1\n---\na: 2\n"), with(b"a: !x 1\n"), with(b"- a\n"), directory, link] {
        assert_eq!(note(guest), None);
    }
    // The last one of what is there twice counts.
    let (note, _) = kept("debian", with(b"password: ''\npassword: x\n"));
    assert!(note.contains("50-a.cfg has password"), "{note}");
    let (note, _) = kept("debian", with(b"a: \xe9\n"));
    assert!(note.starts_with(about), "{note}");
}

/// What is noted of a time zone or a locale, and what cloud-init is told.
fn setting(key: &'static str, unsaid: Unsaid, guest: Builder) -> (String, Option<String>) {
    let mut fs = guest.build().unwrap();
    let mut outcome = Outcome::default();
    let changes = {
        let mut stage = Stage::new(&fs);
        keep_setting(key, "A/B", unsaid, &mut stage, &mut outcome).unwrap();
        stage.finish().unwrap()
    };
    let is_told = !changes.is_empty();
    changes.apply(&mut fs).unwrap();
    (outcome.notes.join("\n"), is_told.then(|| text(&fs, &format!("{DIRECTORY}/99-imgraft-{key}.cfg"))))
}

#[test]
fn settings_of_the_guest() {
    let nothing = (String::new(), None);
    let with = |name: &str, text: &str| cloud().file(format!("{DIRECTORY}/{name}"), text);
    assert_eq!(setting("timezone", Unsaid::Left, cloud()), nothing);
    assert_eq!(setting("timezone", Unsaid::Left, with("50-a.cfg", "timezone: A/B\n")), nothing);
    assert_eq!(setting("timezone", Unsaid::Left, with("50-a.cfg", "timezone:\n")), nothing);
    assert_eq!(setting("timezone", Unsaid::Left, with("50-a.cfg", "timezone: ''\n")), nothing);
    assert!(setting("locale", Unsaid::Left, with("50-a.cfg", "locale: ''\n")).1.is_some());
    assert_eq!(setting("timezone", Unsaid::Set, phony()), nothing);
    assert_eq!(setting("locale", Unsaid::Set, with("50-a.cfg", "locale: false\n")), nothing);
    let (note, told) = setting("timezone", Unsaid::Left, with("50-a.cfg", "timezone: UTC\n"));
    assert_eq!(told.unwrap(), "# What the guest was given.\ntimezone: \"A/B\"\n");
    assert!(
        note.starts_with("/etc/cloud/cloud.cfg.d/99-imgraft-timezone.cfg: cloud-init is told of the timezone, which"),
        "{note}"
    );
    assert!(setting("locale", Unsaid::Set, cloud()).1.is_some());
    let bare = phony().file("/usr/bin/cloud-init", "");
    assert!(setting("locale", Unsaid::Set, bare).1.is_some(), "the directory is made");
    let fs = with("99-z.cfg", "timezone: UTC\n").build().unwrap();
    let rules = vec![timezone()];
    let refused = keep("timezone", "", rules, &mut Stage::new(&fs), &mut Outcome::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the guest's cloud-init would undo it: /etc/cloud/cloud.cfg.d/99-z.cfg has the last word on timezone, and says otherwise"
    );
    assert!(
        refused
            .hint()
            .unwrap()
            .starts_with("take timezone out of that file first: --delete /etc/cloud/cloud.cfg.d/99-z")
    );
}

fn timezone() -> Rule {
    Rule { key: "timezone", wanted: Wanted::Setting { value: "A/B".to_owned(), unsaid: Unsaid::Left } }
}

/// What keeps a value is what cloud-init's modules take for it.
#[test]
fn values_as_cloud_init_takes_them() {
    let rule = |wanted| Rule { key: "key", wanted };
    let is_kept = |rule: &Rule, text: &str| {
        let fs = cloud().file(format!("{DIRECTORY}/99-z.cfg"), format!("{text}\n")).build().unwrap();
        undoing(std::slice::from_ref(rule), &Stage::new(&fs)).unwrap().is_none()
    };
    for (wanted, kept, undone) in [
        (Wanted::True, vec!["true", "yes", "'On'", "1"], vec!["false", "~", "2", "[true]"]),
        (Wanted::False, vec!["false", "no", "0", "''", "~", "[]"], vec!["true", "'no'", "1", "{a: b}"]),
        (Wanted::HostsAreLeft, vec!["false", "no", "~", "x"], vec!["true", "'1'", "template", "localhost"]),
        (timezone().wanted, vec!["A/B", "false", "~", "'No'", "0"], vec!["B/A", "true", "1", "''"]),
    ] {
        let rule = rule(wanted);
        for (texts, expected) in [(kept, true), (undone, false)] {
            for text in texts {
                assert_eq!(is_kept(&rule, &format!("key: {text}")), expected, "{rule:?}: {text}");
            }
        }
        let is_left = matches!(rule.wanted, Wanted::HostsAreLeft | Wanted::Setting { .. });
        assert_eq!(is_kept(&rule, "other: 1"), is_left, "{rule:?}");
    }
}

#[test]
fn much_configuration_is_bounded() {
    // Each file with keys of its own, of a thousand bytes each.
    let with = |files: usize, lines: usize| {
        let text = |file: usize| {
            let keys = (0..lines).map(|n| format!("    k{file}x{n}: {}\n", "a".repeat(1000))).collect::<String>();
            format!("system_info:\n  default_user:\n    name: u{file:02}\n{keys}")
        };
        (0..files).fold(cloud(), |guest, n| guest.file(format!("{DIRECTORY}/{n:02}.cfg"), text(n)))
    };
    let read = |guest: Builder| Configuration::staged(&Stage::new(&guest.build().unwrap())).unwrap();
    let configuration = read(with(3, 100));
    let said = users::default_user(&configuration);
    assert_eq!(said.keys().collect::<Vec<_>>(), ["lock_passwd", "name"]);
    assert_eq!(said["name"].1, "u02");
    assert!(!configuration.is_cut() && configuration.unread().is_none());
    // The last ones are read as far as that goes, and the first one of all.
    let configuration = read(with(20, 100));
    let said = users::default_user(&configuration);
    assert_eq!((&said["lock_passwd"].1, &said["name"].1), (&true.into(), &"u19".into()));
    let cut = configuration.files.iter().filter(|(_, reading)| *reading == Reading::TooMuch).count();
    assert_eq!(cut, 10);
    assert!(configuration.unread().unwrap().starts_with(&format!("{DIRECTORY}/00.cfg: with it there is more of")));
    let values = format!("a: [{}]\n", "1, ".repeat(900));
    let many = (0..20).fold(cloud(), |guest, n| guest.file(format!("{DIRECTORY}/{n:02}.cfg"), values.as_str()));
    assert_eq!(read(many).files.iter().filter(|(_, reading)| matches!(reading, Reading::Keys(_))).count(), 12);
}

/// Where ours is not among what is read, it is not known whether it is.
#[test]
fn what_is_told_has_to_be_read() {
    let told = |guest: Builder| {
        let rules = vec![Rule { key: "key", wanted: Wanted::True }];
        let fs = guest.build().unwrap();
        keep("x", "", rules, &mut Stage::new(&fs), &mut Outcome::default()).map_err(|error| {
            let hint = error.hint().unwrap();
            (error.to_string(), hint)
        })
    };
    let after = |number: usize, text: &str| {
        (0..number).fold(cloud(), |guest, n| guest.file(format!("{DIRECTORY}/99-z{n:03}.cfg"), text))
    };
    assert!(told(after(255, "")).is_ok());
    for (guest, cut) in [
        (after(256, ""), format!("{DIRECTORY}: there are more than 256 files, and the last ones are read")),
        (after(1, &"#".repeat(1024 * 1024 - 100)), format!("{DIRECTORY}/99-imgraft-x.cfg: with it there is more of")),
        (
            after(2, &format!("a: [{}]\n", "1, ".repeat(6000))),
            format!("{DIRECTORY}/99-imgraft-x.cfg: with it there is"),
        ),
    ] {
        let (message, hint) = told(guest).unwrap_err();
        assert!(message.contains(&format!("has key, as far as they are read here: {cut}")), "{message}");
        assert!(
            hint.starts_with("256 files are read, and of all together 1 MiB with 10000 values: take out"),
            "{hint}"
        );
    }
    // Whoever does not run has nothing to read.
    let off = after(256, "").file("/etc/cloud/cloud-init.disabled", "");
    assert!(told(off).is_ok());
}
