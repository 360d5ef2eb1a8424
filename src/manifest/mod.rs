//! The manifest: what goes into a guest, as one document in YAML or JSON. Its schema is made from these types.

mod cloud_config;
mod combined;
mod faults;
mod ignition;
mod network;
mod operation;
mod origin;
mod pattern;
mod place;
mod plain;
mod untaken;
mod variables;

pub(crate) use faults::MOST;
pub use faults::Wrong;
pub use network::{Network, Renderer};
pub use operation::{Append, Between, Bits, Edit, Inside, Link, Mode, Operation, Owner, Unpack, Upload, Write};
pub use origin::Origins;
pub(crate) use place::position;
pub use variables::{Unused, Variables};

use crate::config_drive::{Hidden, Spelling, from_value, value};
use crate::object::objects;
use combined::{any, given, implies, is};
use faults::{Elements, Known, read_all};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The largest manifest, in bytes. What is in files of their own may be larger.
pub const MANIFEST_MAX: u64 = 1 << 20;

/// What goes into a guest: the items of `imgraft inject`, with the same meaning and in the same order. Paths of host files are
/// relative to the manifest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self", default)]
#[schemars(rename = "Manifest", title = "imgraft manifest")]
pub struct Manifest {
    /// What is taken out of the guest before all else: operations of `imgraft sysprep` by their names, `defaults` or `all`, and
    /// with `-` before it what is left out of those.
    #[schemars(transform = pattern::operations)]
    pub sysprep: Vec<String>,
    /// Groups to be made; one that is there and has what is said here stays as it is.
    pub groups: Vec<Group>,
    /// Users to be made, and what they get; root, and those who are said to exist, are not made.
    pub users: Vec<User>,
    /// The network.
    pub network: Option<Network>,
    /// The host name.
    #[schemars(regex(pattern = pattern::HOST_NAME))]
    pub hostname: Option<String>,
    /// Whether the ssh host keys that the guest lacks are made, ed25519 and ecdsa, and told by their fingerprints. Default false.
    pub ssh_host_keys: bool,
    /// The time zone, one that the guest's tzdata has: `Europe/Berlin`.
    #[schemars(regex(pattern = pattern::ZONE))]
    pub timezone: Option<String>,
    /// The language, a locale that the guest has: `de_DE.UTF-8`.
    #[schemars(regex(pattern = pattern::SETTING))]
    pub locale: Option<String>,
    /// The keymap of the console, one that the guest has; on Debian the keyboard's layout.
    #[schemars(regex(pattern = pattern::SETTING))]
    pub keymap: Option<String>,
    /// The machine ID: `empty`, `uninitialized`, or 32 hexadecimal digits.
    #[schemars(regex(pattern = pattern::MACHINE_ID), extend("not" = { "pattern": "^0{32}$" }))]
    pub machine_id: Option<String>,
    /// How the passwords are hashed, whatever the guest uses.
    pub password_crypto: Option<PasswordCrypto>,
    /// Instance metadata, for /meta.js; no key is empty.
    #[schemars(extend("propertyNames" = { "minLength": 1 }))]
    pub metadata: BTreeMap<String, String>,
    /// What is done to files, in this order.
    pub files: Vec<Operation>,
    /// What becomes of systemd's units.
    pub units: Units,
    /// What the guest runs once, as root, when it is first booted, in this order.
    pub firstboot: Vec<FirstBoot>,
    /// Groups that are made where they are missing; no key of a manifest, but what cloud-init does.
    #[serde(skip)]
    pub missing_groups: Vec<String>,
    /// Where the document has it, of which the manifest was made; no key of a manifest.
    #[serde(skip)]
    pub origins: Origins,
}

/// A method of hashing passwords (crypt(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum PasswordCrypto {
    Yescrypt,
    Sha512,
    Sha256,
}

/// A group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Group")]
pub struct Group {
    /// Its name.
    #[schemars(regex(pattern = pattern::ACCOUNT), extend("not" = { "pattern": pattern::NO_ACCOUNT }))]
    pub name: String,
    /// Its number. Default: the next one that is free in the guest's range.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub gid: Option<u32>,
    /// Whether it is a service's. Default false.
    #[serde(default)]
    pub system: bool,
}

/// A user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "User", extend("allOf" = User::combined()))]
pub struct User {
    /// The user's name.
    #[schemars(regex(pattern = pattern::ACCOUNT), extend("not" = { "pattern": pattern::NO_ACCOUNT }))]
    pub name: String,
    /// Whether the user has to be there already, and is not made. Default false; root always is.
    #[serde(default)]
    pub existing: bool,
    /// The user's number. Default: the next one that is free in the guest's range.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub uid: Option<u32>,
    /// The first group. Default: one of the user's own, or what the guest's useradd gives.
    #[serde(default)]
    pub group: Option<String>,
    /// Further groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The login shell. Default: what the guest's useradd gives.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::PATH_OF_USER))]
    pub shell: Option<String>,
    /// The home directory. Default: what the guest's useradd gives.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::PATH_OF_USER))]
    pub home: Option<String>,
    /// Whether a home directory is made, with what is in /etc/skel. Default: for people, not for services.
    #[serde(default)]
    pub create_home: Option<bool>,
    /// The user's full name, or another remark.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::REMARK))]
    pub comment: Option<String>,
    /// Whether the account is a service's. Default false.
    #[serde(default)]
    pub system: bool,
    /// The password, by a selector: `[locked:]file:PATH` (its first line), `[locked:]env:NAME`, `[locked:]password:TEXT`,
    /// `hash:CRYPT`, `[locked:]random` (shown once), `[locked:]disabled` or `locked`. Default: it stays; a new user has none.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::PASSWORD))]
    pub password: Option<Hidden>,
    /// Whether the lock is taken off the password. Default false.
    #[serde(default)]
    pub unlock: bool,
    /// Whether the user has to choose another password at the next login. Default false.
    #[serde(default)]
    pub expire_password: bool,
    /// Public keys that may log in: each a key, or `file:PATH` for all keys of a file.
    #[serde(default)]
    #[schemars(inner(length(min = 1)))]
    pub ssh_keys: Vec<String>,
    /// Whether the user may do everything by sudo. Default: nothing is said.
    #[serde(default)]
    pub sudo: Option<Sudo>,
    /// When the account is closed: `YYYY-MM-DD`, `now` or `never`. Default: nothing is said.
    #[serde(default)]
    #[schemars(regex(pattern = pattern::EXPIRY))]
    pub expire: Option<String>,
    /// The hash of the password of one who is made; no key of a manifest, but what cloud-init knows.
    #[serde(skip)]
    pub first_hash: Option<Hidden>,
    /// Whether the password is locked before one is set, or a lock is taken off where there is a password; no key of a manifest.
    #[serde(skip)]
    pub lock: Option<bool>,
}

impl User {
    /// Which members go together: who is there is not made.
    fn combined() -> Value {
        let is_there = any([is("existing", true), is("name", "root")]);
        let made = ["uid", "group", "shell", "home", "create_home", "comment"].map(given);
        let is_made = json!({ "anyOf": [any(made), is("system", true)] });
        json!([implies(&is_there, &json!({ "not": is_made }))])
    }

    /// One who has to be there.
    fn existing(name: String) -> Self {
        Self {
            name,
            existing: true,
            uid: None,
            group: None,
            groups: Vec::new(),
            shell: None,
            home: None,
            create_home: None,
            comment: None,
            system: false,
            password: None,
            unlock: false,
            expire_password: false,
            ssh_keys: Vec::new(),
            sudo: None,
            expire: None,
            first_hash: None,
            lock: None,
        }
    }
}

/// What sudo asks for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = variables::allowed)]
pub enum Sudo {
    /// The user's password.
    Password,
    /// Nothing.
    Nopasswd,
}

/// Units of systemd, each named once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self", default)]
#[schemars(rename = "Units")]
pub struct Units {
    /// Units that are started, as their [Install] sections say.
    #[schemars(inner(regex(pattern = pattern::UNIT)), extend("uniqueItems" = true))]
    pub enable: Vec<String>,
    /// Units that are not started any more.
    #[schemars(inner(regex(pattern = pattern::UNIT)), extend("uniqueItems" = true))]
    pub disable: Vec<String>,
    /// Units that cannot be started by whatever.
    #[schemars(inner(regex(pattern = pattern::UNIT)), extend("uniqueItems" = true))]
    pub mask: Vec<String>,
    /// Units that are not masked any more; no key of a manifest, but what Ignition does.
    #[serde(skip)]
    pub unmask: Vec<String>,
}

/// What is run at the first boot.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstBoot {
    /// A host file with a script, which begins with `#!`.
    Script(String),
    /// A command of /bin/sh.
    Command(Hidden),
    /// Packages are installed by the guest's own package manager.
    Install(#[schemars(length(min = 1))] Vec<String>),
}

objects!(Manifest, Group, User, Units);

impl Manifest {
    /// The manifest of a text, with the variables in its texts replaced.
    ///
    /// All that is wrong is told, each with its place in the document; values, which may be secret, are not repeated.
    pub fn read(text: &[u8], spelling: Spelling, variables: &mut Variables) -> Result<Self, Wrong> {
        // What is no text in UTF-8 is refused by the reader of values.
        let plain = std::str::from_utf8(text).unwrap_or_default();
        let found = if spelling == Spelling::Yaml { plain::faults(plain) } else { Vec::new() };
        let value = match value(text, spelling) {
            Ok(Value::Null) => Value::Object(serde_json::Map::new()),
            Ok(value) => value,
            Err(error) => {
                let errors: Vec<_> = found.into_iter().map(|(_, error)| error).take(MOST).chain([error]).collect();
                return Err(errors.into());
            }
        };
        let known = Known { untaken: &[], elements: Elements::Each };
        read_all(plain, value, found, known, |value| variables.replaced(value).and_then(from_value))
    }
}

/// The JSON Schema of manifests (draft 2020-12), made from the types that read them.
pub fn schema() -> Value {
    schemars::schema_for!(Manifest).to_value()
}
