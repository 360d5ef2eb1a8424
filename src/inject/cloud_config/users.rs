//! The passwords of users of whom the guest's cloud-init is told.

use super::{TRUE, is_one_of, not_known, runs, said, tell};
use crate::guest::cloud_config::{Configuration, MAIN, is_nothing};
use crate::inject::{InjectError, Outcome};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What counts of what is said of the default user.
const KEYS: [&str; 4] = ["name", "lock_passwd", "hashed_passwd", "plain_text_passwd"];

/// What is said of a user, each key with the file that says it.
type Said = BTreeMap<String, (GuestPath, Value)>;
/// A user's keys, and the file that has the users.
type Entry = (GuestPath, Map<String, Value>);

/// Has the passwords of users valid after the guest's first boot, at which cloud-init locks that of its default user, unless it is
/// told not to; says what it cannot be kept from.
pub(in crate::inject) fn keep_passwords(
    users: &[&str],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    if users.is_empty() || !runs(stage)? {
        return Ok(());
    }
    let mut configuration = Configuration::staged(stage)?;
    outcome.notes.extend(not_known(&configuration));
    for user in users {
        if keep_password(user, &configuration, stage, outcome)? == Told::Something {
            configuration = Configuration::staged(stage)?;
        }
    }
    Ok(())
}

/// Whether cloud-init's configuration is another one than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Something,
    Nothing,
}

fn keep_password(
    user: &str,
    configuration: &Configuration,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<Told, InjectError> {
    let default = default_user(configuration);
    let is_default = default.get("name").and_then(|(_, name)| name.as_str()) == Some(user);
    let among_users = of_users(user, is_default, configuration);
    let is_left = |said: &Said| said.get("lock_passwd").is_some_and(|(_, locks)| is_nothing(locks));
    // What is said of the default user by itself counts for more.
    let mut said = if is_default { default } else { Said::new() };
    if let Some((path, keys)) = &among_users {
        for (key, value) in keys {
            said.entry(key.clone()).or_insert_with(|| (path.clone(), value.clone()));
        }
    }
    if let Some((path, key)) = set_afterwards(user, is_default, configuration) {
        outcome
            .notes
            .push(format!("cloud-init gives '{user}' another password at the first boot, as {path} has {key}"));
    }
    for key in ["hashed_passwd", "plain_text_passwd"] {
        if let Some((path, _)) = said.get(key).filter(|(_, password)| !is_nothing(password)) {
            outcome
                .notes
                .push(format!("cloud-init gives '{user}' another password at the first boot, as {path} has {key}"));
        }
    }
    if is_left(&said) {
        return Ok(Told::Nothing);
    }
    if is_default {
        let text = "# The password that the default user has in /etc/shadow is to be valid.\nsystem_info: {default_user: {lock_passwd: false}}\n";
        let told = tell("password", text, stage)?;
        let configuration = Configuration::staged(stage)?;
        let default = default_user(&configuration);
        outcome.notes.push(if is_left(&default) {
            format!("{told}: cloud-init is told not to lock the password of its default user, '{user}'")
        } else {
            let path = default.get("lock_passwd").map_or_else(|| MAIN.to_owned(), |(path, _)| path.to_string());
            let place = if old_user(&configuration).contains_key("lock_passwd") { "user" } else { "default_user" };
            format!(
                "cloud-init locks the password of its default user, '{user}', at the first boot: lock_passwd: false below {place} in \
                 {path} keeps it from that"
            )
        });
        return Ok(Told::Something);
    }
    if let Some((path, _)) = among_users {
        // As it does of all but those of whom it is told not to (create_user of its distros/__init__.py).
        outcome.notes.push(format!(
            "cloud-init locks the password of '{user}' at the first boot, as {path} has that user among its users: lock_passwd: false there \
             keeps it from that"
        ));
    }
    Ok(Told::Nothing)
}

/// What cloud-init's configuration says of its default user, each key with the file that has the last word on it.
pub(super) fn default_user(configuration: &Configuration) -> Said {
    let mut found = old_user(configuration);
    for (key, said) in said("/system_info/default_user", &KEYS, configuration) {
        found.entry(key).or_insert(said);
    }
    found
}

/// What the old key for the default user says of it, which counts for more (normalize_users_groups of its distros/ug_util.py).
fn old_user(configuration: &Configuration) -> Said {
    match said("", &["user"], configuration).remove("user") {
        Some((path, Value::String(name))) if !name.is_empty() => {
            Said::from([("name".to_owned(), (path, Value::String(name)))])
        }
        Some((_, Value::Object(_))) => said("/user", &KEYS, configuration),
        _ => Said::new(),
    }
}

/// By which key of its configuration, and in which file, cloud-init sets a user's password once the users are made (cc_set_passwords.py);
/// `None` where by none.
fn set_afterwards(user: &str, is_default: bool, configuration: &Configuration) -> Option<(GuestPath, &'static str)> {
    let lists = said("/chpasswd", &["users", "list"], configuration);
    let of_line = |line: &str| line.split_once(':').is_some_and(|(name, _)| name == user);
    let is_users = |entry: &Value| match entry {
        Value::Object(keys) => keys.get("name").and_then(Value::as_str) == Some(user),
        entry => entry.as_str().is_some_and(of_line),
    };
    for (path, list) in lists.values() {
        let has_user = match list {
            Value::Array(entries) => entries.iter().any(is_users),
            list => list.as_str().is_some_and(|lines| lines.lines().any(of_line)),
        };
        if has_user {
            return Some((path.clone(), "chpasswd"));
        }
    }
    // The password that is nobody's by name is the default user's, where cloud-init makes that one, and no list says more.
    let is_made = || !old_user(configuration).is_empty() || of_users("default", false, configuration).is_some();
    if !is_default || lists.values().any(|(_, list)| !is_nothing(list)) || !is_made() {
        return None;
    }
    let password = said("", &["password"], configuration).remove("password");
    password.filter(|(_, password)| !is_nothing(password)).map(|(path, _)| (path, "password"))
}

/// What cloud-init's users say of one of them, and in which file (_normalize_users of its distros/ug_util.py); `None` where it is none of
/// them. The default user is `default` among them, too.
fn of_users(user: &str, is_default: bool, configuration: &Configuration) -> Option<Entry> {
    let (path, users) = said("", &["users"], configuration).remove("users")?;
    let is_meant = |name: &str| name == user || (is_default && name == "default");
    let has_name = |names: &str| names.split(',').any(|name| is_meant(name.trim()));
    let mut found: Option<Map<String, Value>> = None;
    let mut add = |keys: &Map<String, Value>| {
        let found = found.get_or_insert_default();
        for (key, value) in keys {
            found.entry(key.replace('-', "_").trim()).or_insert_with(|| value.clone());
        }
    };
    match &users {
        Value::Array(entries) => {
            for entry in entries {
                match entry {
                    Value::Object(keys) if is_meant(keys.get("name").and_then(Value::as_str).unwrap_or("default")) => {
                        add(keys);
                    }
                    Value::String(names) if has_name(names) => add(&Map::new()),
                    Value::Array(names) if names.iter().filter_map(Value::as_str).any(is_meant) => add(&Map::new()),
                    _ => {}
                }
            }
        }
        Value::Object(entries) => {
            for (_, entry) in entries.iter().filter(|(name, _)| is_meant(name)) {
                match entry {
                    Value::Object(keys) => add(keys),
                    other if is_one_of(other, &TRUE) => add(&Map::new()),
                    _ => {}
                }
            }
        }
        Value::String(names) if has_name(names) => add(&Map::new()),
        _ => {}
    }
    found.map(|keys| (path, keys))
}
