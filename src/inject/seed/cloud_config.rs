//! `user-data`: a cloud-config document, in the words of cloud-init's module reference (users and groups, set passwords, SSH,
//! update etc hosts, timezone, runcmd).

use super::PasswordExpiry;
use crate::net::render::HEAD;
use crate::yaml;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// What a cloud-config document says.
#[derive(Debug)]
pub(super) struct CloudConfig<'a> {
    /// Per user name a key.
    pub keys: &'a [(String, String)],
    /// Per user name the second field of shadow(5).
    pub hashes: Vec<(&'a str, Zeroizing<String>)>,
    /// Users whose passwords are not locked, as those of others that are named are.
    pub opened: &'a [String],
    /// When passwords have to be replaced.
    pub expiry: PasswordExpiry,
    /// Whether the guest is to find the host name that it is given: a line for 127.0.1.1 in hosts(5).
    pub keeps_hosts: bool,
    /// The time zone.
    pub zone: Option<&'a str>,
    /// Commands of the shell.
    pub commands: Vec<&'a str>,
}

impl CloudConfig<'_> {
    /// The document; empty where it says nothing, as an empty one is none to cloud-init.
    pub(super) fn render(&self) -> Zeroizing<String> {
        let mut config = Map::new();
        if self.keeps_hosts {
            config.insert("preserve_hostname".into(), false.into());
            config.insert("manage_etc_hosts".into(), "localhost".into());
        }
        if let Some(zone) = self.zone {
            config.insert("timezone".into(), zone.into());
        }
        if self.keys.iter().any(|(user, _)| user == "root") {
            config.insert("disable_root".into(), false.into());
        }
        let users = self.users();
        if !users.is_empty() {
            // A list of users is in place of the one that has but the default user in it.
            let all = std::iter::once("default".into()).chain(users);
            config.insert("users".into(), all.collect());
        }
        if !self.hashes.is_empty() {
            let users: Vec<Value> = self
                .hashes
                .iter()
                .map(|(name, hash)| json!({ "name": name, "type": "hash", "password": hash.as_str() }))
                .collect();
            // Where nothing is said, whoever logs in is asked for another password.
            let expire = self.expiry == PasswordExpiry::AtOnce;
            config.insert("chpasswd".into(), json!({ "expire": expire, "users": users }));
        }
        let commands = self.run();
        if !commands.is_empty() {
            config.insert("runcmd".into(), commands.into());
        }
        if config.is_empty() {
            return Zeroizing::default();
        }
        Zeroizing::new(format!("#cloud-config\n{HEAD}") + &yaml::block(&Value::Object(config)))
    }

    /// What is run at the first boot.
    fn run(&self) -> Vec<Value> {
        // The cloud-init of Ubuntu 22.04 and 20.04, of whichever version, expires no password that it is given as a hash
        // (EXPIRE_APPLIES_TO_HASHED_USERS of cloudinit/features.py); where it did, this changes nothing.
        let expired = self.hashes.iter().filter(|_| self.expiry == PasswordExpiry::AtOnce);
        let expiring = expired.map(|(user, _)| json!(["passwd", "--expire", user]));
        // Each in a shell of its own: one that exits does not keep the next from running.
        let commands = self.commands.iter().map(|command| json!(["sh", "-c", command]));
        expiring.chain(commands).collect()
    }

    /// Whoever gets a key, or a password and may not be there, or is not to lose one. root always is there.
    fn users(&self) -> Vec<Value> {
        let with_password = self.hashes.iter().map(|(user, _)| *user).filter(|user| *user != "root");
        let mut names: Vec<&str> = Vec::new();
        let opened = self.opened.iter().map(String::as_str);
        for name in self.keys.iter().map(|(user, _)| user.as_str()).chain(with_password).chain(opened) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let entry = |name: &str| {
            let mut lines: Vec<&str> = Vec::new();
            for (_, line) in self.keys.iter().filter(|(user, _)| user == name) {
                if !lines.contains(&line.as_str()) {
                    lines.push(line);
                }
            }
            let mut entry = Map::from_iter([("name".to_owned(), Value::from(name))]);
            if !lines.is_empty() {
                entry.insert("ssh_authorized_keys".into(), lines.into());
            }
            if self.opened.iter().any(|opened| opened == name) {
                entry.insert("lock_passwd".into(), false.into());
            }
            Value::Object(entry)
        };
        names.into_iter().map(entry).collect()
    }
}
