//! cloud-config, cloud-init's user data, as a manifest: of its keys those that can be honoured while the guest does not run.
//!
//! Source: cloud-init's documentation, "All cloud config examples" and "Module reference".

mod keys;
mod users;

use super::faults::{Elements, Known, read_all};
use super::plain;
use super::untaken::Untaken;
use super::{Append, FirstBoot, Manifest, Mode, Operation, Owner, User, Write, operation};
use crate::config_drive::{Base64, DocumentError, Hidden, Spelling, from_value, value};
use crate::object::objects;
use crate::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use users::{CloudUser, Groups, groups};

/// The first line of a cloud-config.
const HEADER: &[u8] = b"#cloud-config";

/// What is honoured.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", default)]
struct CloudConfig {
    hostname: Option<String>,
    fqdn: Option<String>,
    prefer_fqdn_over_hostname: Option<bool>,
    preserve_hostname: bool,
    timezone: Option<String>,
    locale: Option<Locale>,
    keyboard: Option<Keyboard>,
    groups: Groups,
    /// What is wrong with one of them is told by its own type.
    users: Value,
    ssh_authorized_keys: Vec<String>,
    chpasswd: Option<Chpasswd>,
    write_files: Vec<WriteFile>,
    packages: Vec<Package>,
    /// What is null is passed over, as by cloud-init.
    runcmd: Vec<Option<Run>>,
    disable_root: Option<bool>,
}

const KEYBOARD: &str = "layout alone; write_files with /etc/default/keyboard says the rest on Debian";

const NO_USER_GROUP: &str = "primary_group with another group: then none of the user's own is made";
const SELINUX_USER: &str = "runcmd with semanage login --add --seuser SEUSER USER does it at the first boot";
const SSH_REDIRECT_USER: &str = "leave it out; without ssh_authorized_keys the user cannot log in by a key";

/// Keys in those that are not taken.
const UNTAKEN: &[Untaken] = &[
    ("keyboard.model", KEYBOARD),
    ("keyboard.variant", KEYBOARD),
    ("keyboard.options", KEYBOARD),
    ("users.doas", "write_files puts rules into /etc/doas.conf"),
    ("users.inactive", "runcmd with chage --inactive DAYS USER does it at the first boot"),
    ("users.lock-passwd", "lock_passwd is how it is spelt now"),
    ("users.no_log_init", "leave it out: no log of logins is written to"),
    ("users.no_user_group", NO_USER_GROUP),
    ("users.selinux_user", SELINUX_USER),
    ("users.snapuser", "runcmd with snap create-user does it at the first boot"),
    ("users.create-groups", "create_groups is how it is spelt now"),
    ("users.hashed-passwd", "hashed_passwd is how it is spelt now"),
    ("users.no-create-home", "no_create_home is how it is spelt now"),
    ("users.no-log-init", "leave it out: no log of logins is written to"),
    ("users.no-user-group", NO_USER_GROUP),
    ("users.plain-text-passwd", "plain_text_passwd is how it is spelt now"),
    ("users.primary-group", "primary_group is how it is spelt now"),
    ("users.selinux-user", SELINUX_USER),
    ("users.ssh-redirect-user", SSH_REDIRECT_USER),
    ("users.ssh-authorized-keys", "ssh_authorized_keys is how it is spelt now"),
    ("users.ssh_import_id", "ssh_authorized_keys with the keys themselves: nothing is fetched"),
    ("users.ssh-import-id", "ssh_authorized_keys with the keys themselves: nothing is fetched"),
    ("users.ssh_redirect_user", SSH_REDIRECT_USER),
    ("chpasswd.list", "chpasswd.users, with name, password and type for each user"),
    ("write_files.source", "content, with what is there: nothing is fetched"),
];

/// A locale, or none that cloud-init were to set.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or false")]
enum Locale {
    Name(String),
    Whether(bool),
}

/// A package by its name alone, as every package manager takes it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected the name of a package, and no version of it or manager for it")]
enum Package {
    Name(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct Keyboard {
    layout: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct Chpasswd {
    #[serde(default = "yes")]
    expire: bool,
    #[serde(default)]
    users: Vec<PasswordOf>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct PasswordOf {
    name: String,
    password: Option<Hidden>,
    #[serde(default, rename = "type")]
    kind: PasswordKind,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PasswordKind {
    #[default]
    Hash,
    Text,
    #[serde(rename = "RANDOM")]
    Random,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct WriteFile {
    path: String,
    #[serde(default)]
    content: Option<Hidden>,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    permissions: Option<operation::Bits>,
    #[serde(default)]
    append: bool,
    /// Whether it is written after users were made; here all files are.
    #[serde(default, rename = "defer")]
    _defer: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Encoding {
    #[default]
    #[serde(rename = "text/plain")]
    Text,
    #[serde(rename = "b64", alias = "base64")]
    Base64,
    #[serde(
        rename = "gz",
        alias = "gzip",
        alias = "gz+b64",
        alias = "gz+base64",
        alias = "gzip+b64",
        alias = "gzip+base64"
    )]
    Packed,
}

/// A command of the shell, or a program with its arguments.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
enum Run {
    Shell(String),
    Program(Vec<String>),
}

objects!(CloudConfig, Keyboard, Chpasswd, PasswordOf, WriteFile);

impl Manifest {
    /// The manifest that does what a cloud-config says.
    ///
    /// All that is wrong is told, each with its place in the document, what cannot be honoured too; values, which may be secret, are not
    /// repeated.
    pub fn of_cloud_config(text: &[u8]) -> Result<Self, Vec<DocumentError>> {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
        if first != HEADER {
            let headless = DocumentError::new("", "no cloud-config: its first line is not #cloud-config");
            let hint = "cloud-init reads it by that line; other kinds of user data are not taken here";
            return Err(vec![headless.with_hint(hint)]);
        }
        let value = match value(text, Spelling::Yaml).map_err(|error| vec![error])? {
            Value::Null => Value::Object(Map::new()),
            Value::Object(members) => Value::Object(members),
            _ => return Err(vec![DocumentError::new("", "expected an object")]),
        };
        let text = std::str::from_utf8(text).unwrap_or_default();
        let known = Known { untaken: UNTAKEN, elements: Elements::One };
        read_all(text, value, plain::other_to_cloud_init(text), known, |value| {
            keys::check(&value)?;
            from_value::<CloudConfig>(value).map_err(with_way_out)?.manifest()
        })
        .map_err(|wrong| wrong.errors)
    }
}

/// A package with a version is right to cloud-init.
fn with_way_out(error: DocumentError) -> DocumentError {
    match error.at().starts_with("packages[") {
        true => error.with_hint("runcmd with the guest's package manager installs at the first boot"),
        false => error,
    }
}

impl CloudConfig {
    fn manifest(self) -> Result<Manifest, DocumentError> {
        let mut manifest = Manifest {
            hostname: self.host_name()?,
            timezone: self.timezone,
            locale: self.locale.map(Locale::name).transpose()?,
            keymap: self.keyboard.map(|keyboard| keyboard.layout),
            ..Manifest::default()
        };
        for (place, at) in
            [("keymap", "keyboard.layout"), ("hostname", if self.fqdn.is_some() { "fqdn" } else { "hostname" })]
        {
            manifest.origins.set(place, at);
        }
        if self.disable_root.is_some() {
            // Of the keys that are taken none is concerned: cloud-init gives its message to those of the cloud (cc_ssh.py).
            return Err(DocumentError::new("disable_root", "it is about the keys that the guest's own cloud-init gives root")
                .with_hint(
                    "leave it out; write_files with /etc/cloud/cloud.cfg.d/50-disable-root.cfg tells the guest's cloud-init",
                ));
        }
        let (mut missing, mut named) = (Vec::new(), BTreeSet::new());
        for (at, listed) in users::listed(self.users)? {
            let user = from_value::<CloudUser>(listed).map_err(|error| error.within(&at))?;
            let creates_groups = user.create_groups != Some(false);
            let password = ("password", user.password_key());
            let user = user.user().map_err(|error| error.within(&at))?;
            if !named.insert(user.name.clone()) {
                return Err(DocumentError::new(at, "the user is named before it, and cloud-init makes one of both")
                    .with_hint("say it all in one place"));
            }
            if creates_groups {
                let is_name = |(_, group): &(&str, &String)| !group.bytes().all(|byte| byte.is_ascii_digit());
                let further = user.groups.iter().map(|group| ("groups", group));
                let groups = further.chain(user.group.iter().map(|group| ("primary_group", group))).filter(is_name);
                missing.extend(groups.map(|(member, group)| (format!("{at}.{member}"), group.clone())));
            }
            manifest.put_user(&at, user, &[users::MEMBERS, &[password]].concat());
        }
        if !self.ssh_authorized_keys.is_empty() {
            // By its code its default user's; where users leave that out, nobody's (cc_ssh.py).
            return Err(DocumentError::new("ssh_authorized_keys", "whose they are says the guest's own cloud-init")
                .with_hint("give them to a user in users, by ssh_authorized_keys beside the name"));
        }
        groups(self.groups, &mut manifest)?;
        for (at, group) in missing {
            manifest.put_missing_group(&at, group);
        }
        if let Some(chpasswd) = self.chpasswd {
            chpasswd.put(&mut manifest).map_err(|error| error.within("chpasswd"))?;
        }
        for (index, file) in self.write_files.into_iter().enumerate() {
            let at = format!("write_files[{index}]");
            manifest.put_files(&at, file.operations().map_err(|error| error.within(&at))?);
        }
        let packages: Vec<String> = self.packages.into_iter().map(|Package::Name(name)| name).collect();
        if !packages.is_empty() {
            let place = format!("firstboot[{}]", manifest.firstboot.len());
            manifest.origins.set(format!("{place}.install"), "packages");
            manifest.origins.set(place, "packages");
            manifest.firstboot.push(FirstBoot::Install(packages));
        }
        // One script, as cloud-init makes it: what a line does to the shell holds for the next ones.
        let lines: Vec<String> = self.runcmd.into_iter().flatten().map(Run::line).collect();
        if !lines.is_empty() {
            let place = format!("firstboot[{}]", manifest.firstboot.len());
            manifest.origins.set(format!("{place}.command"), "runcmd");
            manifest.origins.set(place, "runcmd");
            manifest.firstboot.push(FirstBoot::Command(hidden(lines.join("\n"))));
        }
        Ok(manifest)
    }

    fn host_name(&self) -> Result<Option<String>, DocumentError> {
        if self.preserve_hostname {
            // cloud-init gives the guest no name then, be there one or not (cc_set_hostname.py).
            return Err(match self.hostname.is_some() || self.fqdn.is_some() {
                true => DocumentError::new("preserve_hostname", "the host name is to stay, and there is one")
                    .with_hint("leave out one of them"),
                false => DocumentError::new("preserve_hostname", "it is said to the guest's own cloud-init").with_hint(
                    "leave it out, and the name stays as it is here; write_files with /etc/cloud/cloud.cfg.d/50-hostname.cfg tells the \
                     guest's cloud-init",
                ),
            });
        }
        let is_dotted = |name: &String| name.find('.').is_some_and(|dot| dot > 0);
        let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        // A name with a dot in it is the fqdn, and what is before the dot the hostname (get_hostname_fqdn of cloud-init's util.py).
        let (key, whole, first) = match (&self.fqdn, &self.hostname) {
            (Some(fqdn), hostname) => ("fqdn", fqdn, hostname.clone().unwrap_or_else(|| short(fqdn))),
            (None, Some(hostname)) if is_dotted(hostname) => ("hostname", hostname, short(hostname)),
            (None, hostname) => return Ok(hostname.clone()),
        };
        match self.prefer_fqdn_over_hostname {
            Some(true) => Ok(Some(whole.clone())),
            Some(false) => Ok(Some(first)),
            None => Err(DocumentError::new(key, "which of the names the guest gets depends on its distribution")
                .with_hint(
                    "hostname alone and without a dot says which; so does prefer_fqdn_over_hostname, true for the whole name, false \
                     for that before the dot",
                )),
        }
    }
}

impl Locale {
    fn name(self) -> Result<String, DocumentError> {
        match self {
            Self::Name(name) => Ok(name),
            Self::Whether(true) => Err(DocumentError::new("locale", "expected a text, or false")),
            // The locale stays as it is then, also where the guest's cloud-init is to run (cc_locale.py).
            Self::Whether(false) => {
                Err(DocumentError::new("locale", "false is said to the guest's own cloud-init").with_hint(
                    "leave it out, and the locale stays as it is here; write_files with /etc/cloud/cloud.cfg.d/50-locale.cfg tells the \
                     guest's cloud-init",
                ))
            }
        }
    }
}

impl Chpasswd {
    fn put(self, manifest: &mut Manifest) -> Result<(), DocumentError> {
        for (index, PasswordOf { name, password, kind }) in self.users.into_iter().enumerate() {
            let at = format!("chpasswd.users[{index}]");
            let password = match (kind, password) {
                (PasswordKind::Random, None) => hidden("random".to_owned()),
                (PasswordKind::Hash, Some(hash)) => selector("hash", &hash),
                (PasswordKind::Text, Some(text)) => selector("password", &text),
                (PasswordKind::Random, Some(_)) => {
                    return Err(DocumentError::new(
                        format!("users[{index}].password"),
                        "with type RANDOM there is none",
                    ));
                }
                _ => return Err(DocumentError::new(format!("users[{index}]"), "it has no password")),
            };
            match manifest.users.iter_mut().enumerate().find(|(_, user)| user.name == name) {
                // That is done after users are made.
                Some((user_index, user)) => {
                    (user.password, user.first_hash, user.lock) = (Some(password), None, None);
                    user.expire_password = self.expire;
                    manifest.origins.set(format!("users[{user_index}].password"), format!("{at}.password"));
                }
                None => {
                    let expire_password = self.expire;
                    let user = User { password: Some(password), expire_password, ..User::existing(name) };
                    manifest.put_user(&at, user, &[]);
                }
            }
        }
        Ok(())
    }
}

impl WriteFile {
    /// The operations; owner and permission bits are set whether the file is there or not, as by cloud-init.
    fn operations(self) -> Result<Vec<Operation>, DocumentError> {
        if !self.path.starts_with('/') {
            return Err(DocumentError::new("path", "not the absolute path of a file"));
        }
        if let Encoding::Packed = self.encoding {
            return Err(DocumentError::new("encoding", "the value is a right one, and contents are not unpacked here")
                .with_hint("unpack it, and give it as text or with encoding: b64"));
        }
        let content = self.content.unwrap_or_else(|| hidden(String::new()));
        let mode = self.permissions.unwrap_or(operation::Bits(0o644));
        let owner = self.owner.as_deref().unwrap_or("root:root");
        let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let (path, owner, group) = (self.path, named(user), named(group));
        // New directories are the owner's as well (ensure_dir in util.py); older ones, that of Debian 12 say, leave them to root.
        let around = Operation::EnsureAround(Owner { path: path.clone(), owner: owner.clone(), group: group.clone() });
        if self.append {
            let line = content.0.expose().strip_suffix(b"\n").filter(|line| !line.contains(&b'\n'));
            let (Some(line), Encoding::Text) = (line, self.encoding) else {
                return Err(DocumentError::new("append", "only a single line with its end is added, as text")
                    .with_hint("an entry for each line, or the whole file without append"));
            };
            let line = hidden(String::from_utf8_lossy(line).into_owned());
            return Ok(vec![
                around,
                Operation::AppendLine(Append { path: path.clone(), line }),
                Operation::Chown(Owner { path: path.clone(), owner, group }),
                Operation::Chmod(Mode { path, mode }),
            ]);
        }
        let (content, content_base64) = match self.encoding {
            Encoding::Text | Encoding::Packed => (Some(content), None),
            Encoding::Base64 => {
                let text = String::from_utf8_lossy(content.0.expose()).into_owned();
                let bytes: Base64 = from_value(Value::String(text)).map_err(|error| error.within("content"))?;
                (None, Some(bytes))
            }
        };
        Ok(vec![around, Operation::Write(Write { path, content, content_base64, mode: Some(mode), owner, group })])
    }
}

impl Run {
    fn line(self) -> String {
        match self {
            Self::Shell(line) => line,
            Self::Program(words) => {
                let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
                quoted.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

fn selector(kind: &str, value: &Hidden) -> Hidden {
    Hidden(Secret::new([kind.as_bytes(), b":", value.0.expose()].concat()))
}

fn hidden(text: String) -> Hidden {
    Hidden(Secret::new(text.into_bytes()))
}
