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
    let guest = Guest::inspect(&fs).unwrap();
    let mut outcome = Outcome::default();
    let changes = {
        let mut stage = Stage::new(&fs);
        keep_password(user, &guest, &mut stage, &mut outcome).unwrap();
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

/// What is noted of a time zone or a locale, and what cloud-init is told.
fn setting(key: &'static str, unsaid: Unsaid, guest: Builder) -> (String, Option<String>) {
    let mut fs = guest.build().unwrap();
    let guest = Guest::inspect(&fs).unwrap();
    let mut outcome = Outcome::default();
    let changes = {
        let mut stage = Stage::new(&fs);
        keep_setting(key, "A/B", unsaid, &guest, &mut stage, &mut outcome).unwrap();
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
    let guest = Guest::inspect(&fs).unwrap();
    let refused = keep("timezone", "", rules, &guest, &mut Stage::new(&fs), &mut Outcome::default()).unwrap_err();
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
        (timezone().wanted, vec!["A/B", "false", "~"], vec!["B/A", "true", "1"]),
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
    // Each file within its limit, with keys of its own.
    let with = |files: usize, lines: usize| {
        let text = |file: usize| {
            let keys = (0..lines).map(|n| format!("    k{file}x{n}: {}\n", "a".repeat(1000))).collect::<String>();
            format!("system_info:\n  default_user:\n    name: u{file:02}\n{keys}")
        };
        (0..files).fold(cloud(), |guest, n| guest.file(format!("{DIRECTORY}/{n:02}.cfg"), text(n)))
    };
    let fs = with(3, 100).build().unwrap();
    let said = users::default_user(&Stage::new(&fs)).unwrap();
    assert_eq!(said.keys().collect::<Vec<_>>(), ["lock_passwd", "name"]);
    assert_eq!(said["name"].1, "u02");
    let fs = with(9, 1000).build().unwrap();
    let refused = users::default_user(&Stage::new(&fs)).unwrap_err().to_string();
    assert!(refused.contains("more than 8 MiB of cloud-init's configuration"), "{refused}");
}
