//! Users and groups of a configuration.

use super::super::{Group, Manifest, User};
use crate::config_drive::{DocumentError, Hidden};
use crate::object::objects;
use crate::secret::Secret;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", default)]
pub(super) struct Passwd {
    users: Vec<PasswdUser>,
    groups: Vec<PasswdGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", rename_all = "camelCase")]
struct PasswdUser {
    name: String,
    password_hash: Option<Hidden>,
    #[serde(default)]
    ssh_authorized_keys: Vec<String>,
    uid: Option<u32>,
    gecos: Option<String>,
    home_dir: Option<String>,
    no_create_home: Option<bool>,
    primary_group: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    shell: Option<String>,
    system: Option<bool>,
    should_exist: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self", rename_all = "camelCase")]
struct PasswdGroup {
    name: String,
    gid: Option<u32>,
    system: Option<bool>,
    should_exist: Option<bool>,
}

objects!(Passwd, PasswdUser, PasswdGroup);

impl Passwd {
    pub(super) fn put(self, manifest: &mut Manifest) -> Result<(), DocumentError> {
        for (index, group) in self.groups.into_iter().enumerate() {
            let at = format!("passwd.groups[{index}]");
            exists(group.should_exist).map_err(|error| error.within(&at))?;
            manifest.origins.set(format!("groups[{}]", manifest.groups.len()), at);
            manifest.groups.push(Group { name: group.name, gid: group.gid, system: group.system.unwrap_or(false) });
        }
        for (index, user) in self.users.into_iter().enumerate() {
            let at = format!("passwd.users[{index}]");
            let user = user.user().map_err(|error| error.within(&at))?;
            manifest.put_user(&at, user, &[("password", "passwordHash"), ("ssh_keys", "sshAuthorizedKeys")]);
        }
        Ok(())
    }
}

impl PasswdUser {
    fn user(self) -> Result<User, DocumentError> {
        exists(self.should_exist)?;
        // An empty one has no password be valid (EnsureUser in Ignition's internal/exec/util/passwd.go).
        let password = self.password_hash.map(|hash| match hash.0.expose() {
            b"" => b"disabled".to_vec(),
            hash => [b"hash:", hash].concat(),
        });
        let password = password.map(|password| Hidden(Secret::new(password)));
        let user = User {
            uid: self.uid,
            group: self.primary_group,
            groups: self.groups,
            shell: self.shell,
            home: self.home_dir,
            // useradd is told one or the other, of a service's account too.
            create_home: (self.name != "root").then_some(self.no_create_home != Some(true)),
            comment: self.gecos,
            system: self.system.unwrap_or(false),
            password,
            ssh_keys: self.ssh_authorized_keys,
            ..User::existing(self.name)
        };
        Ok(User { existing: false, ..user })
    }
}

fn exists(should_exist: Option<bool>) -> Result<(), DocumentError> {
    match should_exist {
        Some(false) => Err(DocumentError::new("shouldExist", "nobody is removed").with_hint("leave it out")),
        _ => Ok(()),
    }
}
