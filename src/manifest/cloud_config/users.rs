//! Users and groups of a cloud-config.
//!
//! Source: cloud-init's module reference, "Users and Groups".

use super::super::{Manifest, Sudo, User};
use super::selector;
use crate::config_drive::{DocumentError, Hidden, from_value};
use crate::object::objects;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Names with commas between them, a list of names, each of which may have members, or an object of members by names.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged, expecting = "expected names, or a list or an object of names")]
pub(super) enum Groups {
    #[default]
    None,
    Text(String),
    List(Vec<GroupEntry>),
    Members(Map<String, Value>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a name, or an object of names")]
pub(super) enum GroupEntry {
    Name(String),
    Members(Map<String, Value>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(super) struct CloudUser {
    name: String,
    gecos: Option<String>,
    homedir: Option<String>,
    primary_group: Option<String>,
    #[serde(default)]
    groups: Names,
    /// Whether groups that are missing are made. Default true.
    pub(super) create_groups: Option<bool>,
    uid: Option<Number>,
    shell: Option<String>,
    #[serde(default)]
    system: bool,
    #[serde(default)]
    no_create_home: bool,
    lock_passwd: Option<bool>,
    passwd: Option<Hidden>,
    hashed_passwd: Option<Hidden>,
    plain_text_passwd: Option<Hidden>,
    #[serde(default)]
    ssh_authorized_keys: Vec<String>,
    sudo: Option<SudoRule>,
    expiredate: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged, expecting = "expected names with commas between them, or a list of names")]
pub(super) enum Names {
    #[default]
    None,
    Text(String),
    List(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number")]
pub(super) enum Number {
    Number(u32),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a rule, a list of rules, or false")]
pub(super) enum SudoRule {
    Whether(bool),
    Text(String),
    List(Vec<String>),
}

objects!(CloudUser);

/// What members of a manifest's user are called here.
pub(super) const MEMBERS: &[(&str, &str)] =
    &[("ssh_keys", "ssh_authorized_keys"), ("expire", "expiredate"), ("first_hash", "passwd")];

/// The users with their places, each as an object, of what `users` may be: names with commas between them, a list of these and of objects,
/// or objects by their names (_normalize_users of cloud-init's distros/ug_util.py).
pub(super) fn listed(users: Value) -> Result<Vec<(String, Value)>, DocumentError> {
    let of = |name: &str| Value::Object(Map::from_iter([("name".to_owned(), name.into())]));
    let named = |at: &str, text: &str| -> Result<Vec<_>, DocumentError> {
        let names = names(Names::Text(text.to_owned()));
        if names.iter().any(|name| name == "default") {
            return Err(DocumentError::new(at, "which user 'default' means says the guest's own cloud-init")
                .with_hint("name the user in an object: {name: debian, …}; one that is there stays as it is"));
        }
        Ok(names.iter().map(|name| (at.to_owned(), of(name))).collect())
    };
    match users {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => named("users", &text),
        Value::Object(members) => {
            let mut users = Vec::new();
            for (name, value) in members {
                let at = format!("users.{name}");
                match value {
                    Value::Object(_) if name == "default" => users.extend(named(&at, &name)?),
                    Value::Object(mut user) => {
                        user.insert("name".to_owned(), name.into());
                        users.push((at, Value::Object(user)));
                    }
                    Value::Bool(true) => users.extend(named(&at, &name)?),
                    Value::Bool(false) => {}
                    _ => return Err(DocumentError::new(at, "expected an object, true or false")),
                }
            }
            Ok(users)
        }
        Value::Array(elements) => {
            let mut users = Vec::new();
            for (index, element) in elements.into_iter().enumerate() {
                let at = format!("users[{index}]");
                match element {
                    Value::String(text) => users.extend(named(&at, &text)?),
                    Value::Array(list) => {
                        let list: Vec<String> = from_value(Value::Array(list)).map_err(|error| error.within(&at))?;
                        for text in list {
                            users.extend(named(&at, &text)?);
                        }
                    }
                    other => users.push((at, other)),
                }
            }
            Ok(users)
        }
        _ => Err(DocumentError::new("users", "expected a list of users")),
    }
}

impl CloudUser {
    /// The key of the password of one who may be there.
    pub(super) fn password_key(&self) -> &'static str {
        if self.hashed_passwd.is_some() { "hashed_passwd" } else { "plain_text_passwd" }
    }

    pub(super) fn user(self) -> Result<User, DocumentError> {
        let wrong = |at: &str, reason: &str| DocumentError::new(at, reason);
        let mut passwords = Vec::new();
        for (key, kind, given) in [
            ("passwd", None, self.passwd),
            ("hashed_passwd", Some("hash"), self.hashed_passwd),
            ("plain_text_passwd", Some("password"), self.plain_text_passwd),
        ] {
            if given.as_ref().is_some_and(|given| given.0.expose().is_empty()) {
                return Err(wrong(key, "it is empty, and cloud-init sets no password then").with_hint("leave it out"));
            }
            passwords.extend(given.map(|given| (key, kind.map_or(given.clone(), |kind| selector(kind, &given)))));
        }
        if let Some((key, _)) = passwords.get(1) {
            return Err(wrong(key, "a second password"));
        }
        let lock = self.lock_passwd.unwrap_or(true);
        let (password, first_hash) = match passwords.pop() {
            Some((key, _)) if lock => {
                return Err(wrong(key, "it would be locked at once: lock_passwd is true where it is left out")
                    .with_hint("lock_passwd: false, or no password"));
            }
            Some(("passwd", _)) if self.name == "root" => {
                return Err(wrong("passwd", "it is for a new user, and root is there")
                    .with_hint("hashed_passwd sets the password of one who is there"));
            }
            Some(("passwd", hash)) => (None, Some(hash)),
            Some((_, password)) => (Some(password), None),
            None => (None, None),
        };
        let is_set = password.is_some();
        let uid = match self.uid {
            None => None,
            Some(Number::Number(uid)) => Some(uid),
            Some(Number::Text(text)) => Some(text.parse().map_err(|_| wrong("uid", "not a number"))?),
        };
        Ok(User {
            existing: false,
            uid,
            group: self.primary_group,
            groups: names(self.groups),
            shell: self.shell,
            home: self.homedir,
            create_home: self.no_create_home.then_some(false),
            comment: self.gecos,
            system: self.system,
            password,
            unlock: false,
            expire_password: false,
            ssh_keys: self.ssh_authorized_keys,
            sudo: self.sudo.map_or(Ok(None), sudo)?,
            expire: self.expiredate,
            first_hash,
            // One who gets a password here has it without a lock.
            lock: if is_set { None } else { Some(lock) },
            name: self.name,
        })
    }
}

fn names(names: Names) -> Vec<String> {
    match names {
        Names::None => Vec::new(),
        Names::Text(text) => {
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        }
        Names::List(list) => list,
    }
}

/// What a rule of sudoers(5) lets the user do: everything, or it is not taken.
fn sudo(rule: SudoRule) -> Result<Option<Sudo>, DocumentError> {
    let rules = match rule {
        SudoRule::Whether(false) => return Ok(None),
        SudoRule::Whether(true) => {
            return Err(DocumentError::new(
                "sudo",
                "true says nothing of what is allowed, and is none of cloud-init's",
            )
            .with_hint("\"ALL=(ALL) ALL\", or \"ALL=(ALL) NOPASSWD:ALL\"; false, or nothing, allows nothing"));
        }
        SudoRule::Text(rule) => vec![rule],
        SudoRule::List(rules) => rules,
    };
    let plain = |rule: &String| rule.chars().filter(|char| !char.is_whitespace()).collect::<String>();
    match &rules.iter().map(plain).collect::<Vec<_>>()[..] {
        [rule] if matches!(rule.as_str(), "ALL=(ALL)NOPASSWD:ALL" | "ALL=(ALL:ALL)NOPASSWD:ALL") => {
            Ok(Some(Sudo::Nopasswd))
        }
        [rule] if matches!(rule.as_str(), "ALL=(ALL)ALL" | "ALL=(ALL:ALL)ALL") => Ok(Some(Sudo::Password)),
        _ => Err(DocumentError::new(
            "sudo",
            "not one rule that allows everything: ALL=(ALL) ALL, or ALL=(ALL) NOPASSWD:ALL",
        )
        .with_hint("write_files puts other rules into /etc/sudoers.d, with permissions \"0440\"")),
    }
}

/// The groups, and who is in them.
pub(super) fn groups(groups: Groups, manifest: &mut Manifest) -> Result<(), DocumentError> {
    let is_list = matches!(groups, Groups::List(_));
    let entries = match groups {
        Groups::None => return Ok(()),
        Groups::Text(text) => names(Names::Text(text)).into_iter().map(GroupEntry::Name).collect(),
        Groups::List(entries) => entries,
        Groups::Members(map) => vec![GroupEntry::Members(map)],
    };
    for (index, entry) in entries.into_iter().enumerate() {
        let place = if is_list { format!("groups[{index}]") } else { "groups".to_owned() };
        let named = match entry {
            GroupEntry::Name(name) => vec![(name, Names::None)],
            GroupEntry::Members(map) => map
                .into_iter()
                .map(|(name, members)| {
                    let at = format!("{place}.{name}");
                    let members = from_value(members).map_err(|_| DocumentError::new(at, "expected names of users"))?;
                    Ok((name, members))
                })
                .collect::<Result<_, DocumentError>>()?,
        };
        for (name, members) in named {
            for member in names(members) {
                match manifest.users.iter_mut().find(|user| user.name == member) {
                    Some(user) => user.groups.push(name.clone()),
                    None => {
                        let user = User { groups: vec![name.clone()], ..User::existing(member) };
                        manifest.put_user(&format!("{place}.{name}"), user, &[]);
                    }
                }
            }
            manifest.put_missing_group(&place, name);
        }
    }
    Ok(())
}
