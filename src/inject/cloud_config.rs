//! What the guest's cloud-init is told to leave as it is.

use super::staging::is_fatal;
use super::{InjectError, Outcome, ROOT_FILE};
use crate::config_drive::{Spelling, value};
use crate::guest::Guest;
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, Layer};
use serde_json::Value;
use std::collections::BTreeMap;

/// cloud-init's configuration, and where it reads what adds to that, in the order of the names.
const MAIN: &str = "/etc/cloud/cloud.cfg";
const DIRECTORY: &str = "/etc/cloud/cloud.cfg.d";
/// The largest file that is read, and how many.
const LIMIT: u64 = 1024 * 1024;
const FILES_MAX: usize = 256;
/// The most bytes of all of them.
const TOTAL: u64 = 8 * 1024 * 1024;
/// What counts of what is said of the default user.
const KEYS: [&str; 4] = ["name", "lock_passwd", "hashed_passwd", "plain_text_passwd"];

/// What it runs, in the order in which it does.
const MODULES: [&str; 3] = ["cloud_init_modules", "cloud_config_modules", "cloud_final_modules"];

/// Puts a text for cloud-init past what distributions and installers put there, and says where; `None` where the guest has no
/// place for it. `subject` is a part of the file's name.
pub(super) fn tell(subject: &str, text: &str, stage: &mut Stage<'_>) -> Result<Option<GuestPath>, InjectError> {
    let directory = stage.metadata(&GuestPath::parse(DIRECTORY)?)?;
    if directory.is_none_or(|metadata| metadata.file_type != FileType::Directory) {
        return Ok(None);
    }
    let path = GuestPath::parse(format!("{DIRECTORY}/99-imgraft-{subject}.cfg"))?;
    stage.write(&path, Content::bytes(text.as_bytes()), ROOT_FILE)?;
    Ok(Some(path))
}

/// Has the password of a user valid after the guest's first boot, at which cloud-init locks that of its default user, unless it is
/// told not to; says what it cannot be kept from.
pub(super) fn keep_password(
    user: &str,
    guest: &Guest,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    if guest.network.cloud_init.is_none() {
        return Ok(());
    }
    let default = default_user(stage)?;
    let said = |key: &str| default.get(key);
    if said("name").and_then(|(_, name)| name.as_str()) != Some(user) {
        return remark_user(user, stage, outcome);
    }
    for key in ["hashed_passwd", "plain_text_passwd"] {
        if let Some((path, _)) =
            said(key).filter(|(_, password)| password.as_str().is_some_and(|text| !text.is_empty()))
        {
            outcome
                .notes
                .push(format!("cloud-init gives '{user}' another password at the first boot, as {path} has {key}"));
        }
    }
    let is_left = |default: &BTreeMap<String, (GuestPath, Value)>| {
        default.get("lock_passwd").is_some_and(|(_, locks)| *locks == Value::Bool(false))
    };
    if is_left(&default) {
        return Ok(());
    }
    let text = "# The password that the default user has in /etc/shadow is to be valid.\nsystem_info: {default_user: {lock_passwd: false}}\n";
    let told = tell("password", text, stage)?;
    match told {
        Some(path) if is_left(&default_user(stage)?) => {
            outcome.notes.push(format!("{path}: cloud-init is told not to lock the password of its default user, '{user}'"));
        }
        _ => outcome.notes.push(format!(
            "cloud-init locks the password of its default user, '{user}', at the first boot: lock_passwd: false below default_user \
             in {MAIN} keeps it from that"
        )),
    }
    Ok(())
}

/// Says that cloud-init locks the password of a user whom its configuration names, as it does of all but those of whom it is told not to
/// (create_user of its distros/__init__.py).
fn remark_user(user: &str, stage: &Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let Some((path, users)) = said("", &["users"], stage)?.remove("users") else { return Ok(()) };
    let is_locked = |entry: &Value| match entry {
        Value::Object(keys) => {
            keys.get("name").and_then(Value::as_str) == Some(user)
                && keys.get("lock_passwd") != Some(&Value::Bool(false))
        }
        Value::String(names) => names.split(',').any(|name| name.trim() == user),
        _ => false,
    };
    let has_it = match &users {
        Value::Array(entries) => entries.iter().any(is_locked),
        other => is_locked(other),
    };
    if has_it {
        outcome.notes.push(format!(
            "cloud-init locks the password of '{user}' at the first boot, as {path} has that user among its users: lock_passwd: false there \
             keeps it from that"
        ));
    }
    Ok(())
}

/// What cloud-init does about a setting that its configuration does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsaid {
    /// It leaves the guest's.
    Left,
    /// It sets one of its own.
    Set,
}

/// Has a setting of the guest's outlive its first boot, at which cloud-init makes it what its own configuration says.
pub(super) fn keep_setting(
    key: &'static str,
    wanted: &str,
    unsaid: Unsaid,
    guest: &Guest,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    if guest.network.cloud_init.is_none() {
        return Ok(());
    }
    let before = said("", &[key], stage)?.remove(key);
    // What is false is not set (cc_locale.py, cc_timezone.py).
    let is_kept = |value: &Value| value.as_str() == Some(wanted) || *value == Value::Bool(false);
    match &before {
        None if unsaid == Unsaid::Left => return Ok(()),
        Some((_, value)) if is_kept(value) || (value.is_null() && unsaid == Unsaid::Left) => return Ok(()),
        _ => {}
    }
    let text = format!("# What the guest was given.\n{key}: \"{wanted}\"\n");
    let told = tell(key, &text, stage)?;
    let now = said("", &[key], stage)?.remove(key);
    outcome.notes.push(match (told, now, before) {
        (Some(path), Some((_, value)), _) if is_kept(&value) => {
            format!("{path}: cloud-init is told of the {key}, which it would set to another one at the first boot")
        }
        (_, Some((path, _)), _) | (_, None, Some((path, _))) => {
            format!("cloud-init sets the {key} to another one at the first boot, as {path} says: {key}: {wanted} there keeps it from that")
        }
        (_, None, None) => {
            format!("cloud-init sets the {key} to another one at the first boot: {key}: {wanted} in {MAIN} keeps it from that")
        }
    });
    Ok(())
}

/// What is there and can be read; what is wrong with the image or its host is wrong here too.
fn found<T>(read: Result<Option<T>, Error>) -> Result<Option<T>, InjectError> {
    match read {
        Err(error) if is_fatal(error.kind()) => Err(error.into()),
        found => Ok(found.ok().flatten()),
    }
}

/// Why cloud-init makes no host keys of a new instance's own, a clause (cc_ssh.py): where it is told to make none, or has some.
pub(super) fn makes_no_host_keys(stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let said = said("", &["ssh_genkeytypes", "ssh_keys", MODULES[0], MODULES[1], MODULES[2]], stage)?;
    if let Some((path, _)) = said.get("ssh_keys") {
        return Ok(Some(format!("{path} has ssh_keys, which are those of every clone")));
    }
    let makes_none = |types: &Value| types.is_null() || types.as_array().is_some_and(Vec::is_empty);
    if let Some((path, _)) = said.get("ssh_genkeytypes").filter(|(_, types)| makes_none(types)) {
        return Ok(Some(format!("{path} has ssh_genkeytypes with nothing in it")));
    }
    let lists: Vec<_> = MODULES.iter().filter_map(|name| said.get(*name)).collect();
    let is_ssh = |module: &Value| {
        let name = module.get(0).or_else(|| module.get("name")).unwrap_or(module);
        name.as_str() == Some("ssh")
    };
    let has_it = lists.iter().any(|(_, modules)| modules.as_array().is_some_and(|modules| modules.iter().any(is_ssh)));
    Ok((!lists.is_empty() && !has_it).then(|| format!("{MAIN} has it run no module 'ssh'")))
}

/// What cloud-init's configuration says of its default user, each key with the file that has the last word on it.
fn default_user(stage: &Stage<'_>) -> Result<BTreeMap<String, (GuestPath, Value)>, InjectError> {
    said("/system_info/default_user", &KEYS, stage)
}

/// What cloud-init's configuration says of some keys at a place (a JSON pointer), each with the file that has the last word on it.
fn said(place: &str, wanted: &[&str], stage: &Stage<'_>) -> Result<BTreeMap<String, (GuestPath, Value)>, InjectError> {
    let directory = GuestPath::parse(DIRECTORY)?;
    let entries = found(stage.read_dir(&directory))?.unwrap_or_default();
    let mut names: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(b".cfg"));
    names.sort();
    // The last ones, as these have the last word.
    let skipped = names.len().saturating_sub(FILES_MAX);
    let mut paths = vec![GuestPath::parse(MAIN)?];
    for name in names.into_iter().skip(skipped) {
        paths.push(directory.join(name)?);
    }
    let mut said = BTreeMap::new();
    let mut left = TOTAL;
    for path in paths {
        let Some(text) = found(stage.read(&path, LIMIT))? else { continue };
        left = left.checked_sub(text.len() as u64).ok_or_else(|| {
            let error = Error::unsupported(Layer::Filesystem, "more than 8 MiB of cloud-init's configuration");
            error.with_guest_path(DIRECTORY).with_hint("remove what nothing needs first")
        })?;
        let Ok(document) = value(&text, Spelling::Yaml) else { continue };
        if let Some(Value::Object(keys)) = document.pointer(place) {
            let keys = keys.iter().filter(|(key, _)| wanted.contains(&key.as_str()));
            said.extend(keys.map(|(key, value)| (key.clone(), (path.clone(), value.clone()))));
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
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
        assert!(note.starts_with("cloud-init locks the password of its default user, 'debian', at the first boot: "));
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
        let with = |users: &str| {
            phony().file("/usr/bin/cloud-init", "").file(MAIN, format!("users: {users}\n")).dir(DIRECTORY)
        };
        for users in ["[default, {name: ann}]", "[{name: ann, lock_passwd: true}]", "[ann]", "default, ann"] {
            let (note, told) = kept("ann", with(users));
            let expected = "cloud-init locks the password of 'ann' at the first boot, as /etc/cloud/cloud.cfg has that user among its users";
            assert!(note.starts_with(expected) && told.is_none(), "{users}: {note}");
        }
        for users in ["[default]", "[{name: ann, lock_passwd: false}]", "[{name: anna}]", "{}", "~"] {
            assert_eq!(kept("ann", with(users)), (String::new(), None), "{users}");
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
            note.starts_with(
                "/etc/cloud/cloud.cfg.d/99-imgraft-timezone.cfg: cloud-init is told of the timezone, which"
            ),
            "{note}"
        );
        assert!(setting("locale", Unsaid::Set, cloud()).1.is_some());
        let (note, _) = setting("timezone", Unsaid::Left, with("99-z.cfg", "timezone: UTC\n"));
        assert!(note.contains("as /etc/cloud/cloud.cfg.d/99-z.cfg says: timezone: A/B there keeps it"), "{note}");
        let bare = phony().file("/usr/bin/cloud-init", "");
        assert!(
            setting("locale", Unsaid::Set, bare).0.ends_with("locale: A/B in /etc/cloud/cloud.cfg keeps it from that")
        );
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
        let said = default_user(&Stage::new(&fs)).unwrap();
        assert_eq!(said.keys().collect::<Vec<_>>(), ["lock_passwd", "name"]);
        assert_eq!(said["name"].1, "u02");
        let fs = with(9, 1000).build().unwrap();
        let refused = default_user(&Stage::new(&fs)).unwrap_err().to_string();
        assert!(refused.contains("more than 8 MiB of cloud-init's configuration"), "{refused}");
    }
}
