//! The facts about a guest as a report shows them.

use super::{Guest, User};
use crate::failure::printable;
use serde::Serialize;
use std::fmt::Write as _;

/// The facts about a guest, as text and JSON show them. Bytes that are not UTF-8 are escaped.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// `ID` of os-release(5).
    pub id: String,
    /// `VERSION_ID`.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
    /// Root, and whoever is a person by the range of the uid.
    pub users: Vec<UserFacts>,
    /// How many further users there are.
    pub system_users: usize,
    /// The network stacks that are installed.
    pub network: Vec<StackFacts>,
    /// The one that the guest listens to; null where that is none, or not clear.
    pub network_listener: Option<&'static str>,
    /// Further programs that configure the network, by name.
    pub network_others: Vec<&'static str>,
    /// The SELinux mode and policy, where there is a configuration.
    pub selinux: Option<SelinuxFacts>,
}

/// A user.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "passwd(5) says it")]
pub struct UserFacts {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

/// A network stack.
#[derive(Clone, Debug, Serialize)]
pub struct StackFacts {
    /// Its name.
    pub stack: &'static str,
    /// The file that shows that it is enabled; null where none was found.
    pub enabled_by: Option<String>,
}

/// SELinux.
#[derive(Clone, Debug, Serialize)]
pub struct SelinuxFacts {
    /// enforcing, permissive or disabled.
    pub mode: &'static str,
    /// The policy's name.
    pub policy: Option<String>,
}

impl Guest {
    /// The guest's name for people.
    pub fn name(&self) -> String {
        match (&*self.os.pretty_name, &*self.os.id) {
            ("", "") => "an unnamed guest".to_owned(),
            ("", id) => format!("{id} {}", self.os.version_id).trim_end().to_owned(),
            (name, _) => name.to_owned(),
        }
    }

    /// The facts for a report.
    pub fn facts(&self) -> Facts {
        let users = self.accounts.users.as_deref().unwrap_or_default();
        let shown: Vec<UserFacts> =
            users.iter().filter(|user| user.uid == 0 || user.is_person()).map(UserFacts::of).collect();
        Facts {
            id: self.os.id.clone(),
            version: self.os.version_id.clone(),
            name: self.name(),
            system_users: users.len() - shown.len(),
            users: shown,
            network: self
                .network
                .stacks
                .iter()
                .map(|state| StackFacts { stack: state.stack.name(), enabled_by: state.enabled_by.clone() })
                .collect(),
            network_listener: self.network.listener().ok().map(|state| state.stack.name()),
            network_others: self.network.others.iter().map(|other| other.name).collect(),
            selinux: self
                .selinux
                .as_ref()
                .map(|selinux| SelinuxFacts { mode: selinux.enforcement.name(), policy: selinux.policy.clone() }),
        }
    }
}

impl UserFacts {
    fn of(user: &User) -> Self {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        Self { name: text(&user.name), uid: user.uid, gid: user.gid, home: text(&user.home), shell: text(&user.shell) }
    }
}

impl Facts {
    /// Adds the lines for people.
    pub fn to_text(&self, text: &mut String) {
        let _ = writeln!(text, "  guest          {}", printable(&self.name));
        let users: Vec<String> = self.users.iter().map(|user| format!("{} ({})", user.name, user.uid)).collect();
        let _ = writeln!(text, "  users          {}; {} system users", users.join(", "), self.system_users);
        let network: Vec<String> = self
            .network
            .iter()
            .map(|state| match &state.enabled_by {
                Some(_) if self.network_listener == Some(state.stack) => format!("{} (listens)", state.stack),
                Some(_) => format!("{} (enabled)", state.stack),
                None => state.stack.to_owned(),
            })
            .chain(self.network_others.iter().map(|name| format!("{name} (enabled)")))
            .collect();
        let network = if network.is_empty() { "none found".to_owned() } else { network.join(", ") };
        let _ = writeln!(text, "  network        {network}");
        if let Some(SelinuxFacts { mode, policy }) = &self.selinux {
            let _ = writeln!(text, "  selinux        {mode} {}", printable(policy.as_deref().unwrap_or_default()));
        }
    }
}
