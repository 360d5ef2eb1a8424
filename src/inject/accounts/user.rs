//! A user or group that is made.

use super::super::files::below::there;
use super::super::sshd::logins as sshd;
use super::super::{InjectError, Outcome, passwords};
use super::database::{Database, Which};
use super::error::AccountError;
use super::home::Home;
use super::name::AccountName;
use super::shadow::{self, PASSWORD};
use super::{NewGroup, numbers};
use crate::guest::Guest;
use crate::guest::accounts;
use crate::guest::new_accounts::{NewAccounts, Subordinate};
use crate::secret::Secret;
use imgraft_vfs::fs::Timestamp;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use zeroize::Zeroizing;

/// A user to be made. One that is there and has what is asked for stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUser {
    /// The name.
    pub name: AccountName,
    /// The number; `None` takes the next one that is free.
    pub uid: Option<u32>,
    /// The first group, by name or number; `None` makes one of the user's name, or takes what the guest's users share.
    pub group: Option<String>,
    /// Further groups, by name.
    pub groups: Vec<String>,
    /// The shell, an absolute path without a colon; `None` takes the guest's choice.
    pub shell: Option<String>,
    /// The home directory, an absolute path without a colon; `None` is one of the user's name beside the others.
    pub home: Option<String>,
    /// The comment (GECOS), without a colon.
    pub comment: Option<String>,
    /// Which numbers it may get.
    pub kind: Kind,
    /// Whether the home directory is made.
    pub home_directory: HomeDirectory,
    /// The crypt(3) hash of the password with which the user is made, `None` for none; one who is there keeps his.
    pub hash: Option<Secret>,
}

impl NewUser {
    /// A person of this name, with what the guest gives by itself.
    pub fn named(name: AccountName) -> Self {
        Self {
            name,
            uid: None,
            group: None,
            groups: Vec::new(),
            shell: None,
            home: None,
            comment: None,
            kind: Kind::Person,
            home_directory: HomeDirectory::Made,
            hash: None,
        }
    }
}

/// Whose an account is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A person's.
    #[default]
    Person,
    /// A service's: a low number, no ages of its password, no subordinate numbers.
    System,
}

/// Whether a home directory is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum HomeDirectory {
    /// A person's is.
    #[default]
    Made,
    /// It is, a service's too.
    MadeForAny,
    NotMade,
}

/// The number of a group that is there, by its name or its number.
pub(super) fn gid_of(group: &str, database: &Database) -> Result<u32, InjectError> {
    let by_number = || accounts::number(group.as_bytes()).and_then(|gid| database.group_of(gid));
    let found = database.find_group(group).or_else(by_number).map(|group| group.gid);
    found.ok_or_else(|| InjectError::NoSuchGroup { group: group.to_owned() })
}

impl NewGroup {
    pub(super) fn make(
        &self,
        new: &NewAccounts,
        database: &mut Database,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        if let Some(group) = database.find_group(self.name.as_str()) {
            self.check_same(group, new)?;
            database.rely_on(&[Which::Group, Which::Gshadow], self.name.as_str());
            return Ok(());
        }
        let gid = match self.gid {
            Some(gid) => match database.group_of(gid) {
                Some(group) => return Err(taken("group number", gid, &group.name).into()),
                None => gid,
            },
            None => next_gid(self.kind, new, database)?,
        };
        // As groupadd does it, whether there is a gshadow or not; useradd goes by that.
        add_group(&self.name, gid, "x", database);
        outcome.notes.push(format!("made the group '{}' with the number {gid}", self.name));
        Ok(())
    }
}

fn next_gid(kind: Kind, new: &NewAccounts, database: &Database) -> Result<u32, AccountError> {
    numbers::free(&new.gids, kind, &database.gids()).ok_or_else(|| {
        let range = numbers::range(&new.gids, kind);
        let key = if kind == Kind::System { "SYS_GID_MAX" } else { "GID_MAX" };
        AccountError::NoneFree { what: "group numbers", range: (*range.start(), *range.end()), key }
    })
}

/// Adds a group to both files; `password` is what stands in group.
fn add_group(name: &AccountName, gid: u32, password: &str, database: &mut Database) {
    database.put(Which::Group, name.as_bytes(), format!("{name}:{password}:{gid}:").as_bytes());
    database.put(Which::Gshadow, name.as_bytes(), format!("{name}:!::").as_bytes());
}

fn taken(what: &'static str, number: u32, owner: &[u8]) -> AccountError {
    AccountError::Taken { what, number, owner: owner.escape_ascii().to_string() }
}

impl NewUser {
    pub(super) fn make(
        &self,
        guest: &Guest,
        now: Timestamp,
        database: &mut Database,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let (name, new) = (&self.name, &guest.new_accounts);
        if let Some(hash) = &self.hash {
            passwords::check_given(name.as_str(), hash, outcome)?;
        }
        if let Some(user) = database.find_user(name.as_str()) {
            let has_other = |hash: &Secret| database.shadow_field(name.as_str(), PASSWORD) != Some(hash.expose());
            if self.hash.as_ref().is_some_and(has_other) {
                outcome
                    .notes
                    .push(format!("'{name}' is there already and keeps the password: the one given is for a new user"));
            }
            self.check_same(user, new, database)?;
            let home = GuestPath::parse(&user.home).ok().filter(|_| self.home_directory != HomeDirectory::NotMade);
            database.rely_on(&Which::ALL, name.as_str());
            for group in &self.groups {
                database.rely_on(&[Which::Group, Which::Gshadow], group);
            }
            return match home {
                Some(home) if there(stage.metadata(&home))?.is_some() => Ok(stage.confirm(&home)?),
                _ => Ok(()),
            };
        }
        if self.hash.is_some() && database.text(Which::Shadow).is_none() {
            return Err(InjectError::NoShadow { user: name.to_string() });
        }
        let uid = self.number(new, database)?;
        let gid = self.first_group(uid, new, database)?;
        let home = self.home.clone().unwrap_or_else(|| format!("{}/{name}", new.homes.trim_end_matches('/')));
        let shell = self.shell(new, stage)?;
        let password = if database.text(Which::Shadow).is_some() { "x" } else { "!" };
        let comment = self.comment.as_deref().unwrap_or_default();
        let line = format!("{name}:{password}:{uid}:{gid}:{comment}:{home}:{shell}");
        database.put(Which::Passwd, name.as_bytes(), line.as_bytes());
        // Both let nobody in by a password; but one of them keeps an sshd without PAM from taking keys.
        let is_open = self.kind == Kind::Person && self.hash.is_none();
        let minds_locks = sshd::minds_locks(stage).filter(|_| is_open);
        let closed = if minds_locks.is_some() { "*" } else { "!" };
        database.put(Which::Shadow, name.as_bytes(), &self.shadow(closed, new, now));
        for group in &self.groups {
            database.group(group)?;
            database.add_member(group, name.as_str())?;
        }
        self.subordinate(Which::Subuid, uid, (&new.subuids, new), database)?;
        self.subordinate(Which::Subgid, uid, (&new.subgids, new), database)?;
        outcome
            .notes
            .push(format!("made the user '{name}' with the number {uid}, group {gid}, home {home}, shell {shell}"));
        if let Some(config) = minds_locks {
            outcome.notes.push(format!(
                "'*' and not '!' says that '{name}' has no password: the guest's sshd, as {config} does not say UsePAM yes, would take no \
                 keys of one who is locked"
            ));
        }
        if stage.metadata(&GuestPath::parse(&shell)?)?.is_none() {
            outcome.notes.push(format!("{shell}: the guest does not have the shell of '{name}'"));
        }
        let home = Home { user: name.as_str(), uid, gid, path: GuestPath::parse(&home)? };
        let is_made = match self.home_directory {
            HomeDirectory::Made => self.kind == Kind::Person,
            HomeDirectory::MadeForAny => true,
            HomeDirectory::NotMade => false,
        };
        if is_made {
            home.make(new, stage, outcome)?;
        }
        // A service has none (useradd(8)).
        if self.kind == Kind::Person {
            home.make_mailbox(new, database.find_group("mail").map(|group| group.gid), stage)?;
        }
        Ok(())
    }

    fn number(&self, new: &NewAccounts, database: &Database) -> Result<u32, InjectError> {
        match self.uid {
            Some(uid) => match database.user_of(uid) {
                Some(user) => Err(taken("user number", uid, &user.name).into()),
                None => Ok(uid),
            },
            None => Ok(numbers::free(&new.uids, self.kind, &database.uids()).ok_or_else(|| {
                let range = numbers::range(&new.uids, self.kind);
                let key = if self.kind == Kind::System { "SYS_UID_MAX" } else { "UID_MAX" };
                AccountError::NoneFree { what: "user numbers", range: (*range.start(), *range.end()), key }
            })?),
        }
    }

    fn first_group(&self, uid: u32, new: &NewAccounts, database: &mut Database) -> Result<u32, InjectError> {
        if let Some(group) = self.group.as_ref().or(new.shared_group.as_ref()) {
            return gid_of(group, database);
        }
        if database.find_group(self.name.as_str()).is_some() {
            return Err(AccountError::OwnGroupExists { name: self.name.to_string() }.into());
        }
        let is_free = numbers::suits(uid, &new.gids, self.kind) && database.group_of(uid).is_none();
        let gid = if is_free { uid } else { next_gid(self.kind, new, database)? };
        let password = if database.text(Which::Gshadow).is_some() { "x" } else { "!" };
        add_group(&self.name, gid, password, database);
        Ok(gid)
    }

    /// The guest's choice, as useradd(8) has it, which takes bash; a guest that does not have that gets sh.
    fn shell(&self, new: &NewAccounts, stage: &Stage<'_>) -> Result<String, InjectError> {
        if let Some(shell) = self.shell.as_ref().or(new.shell.as_ref()) {
            return Ok(shell.clone());
        }
        let bash = "/bin/bash";
        let has_bash = stage.metadata(&GuestPath::parse(bash)?)?.is_some();
        Ok(if has_bash { bash } else { "/bin/sh" }.to_owned())
    }

    /// The line of shadow(5): no password is valid, or the one that was given is.
    fn shadow(&self, closed: &str, new: &NewAccounts, now: Timestamp) -> Zeroizing<Vec<u8>> {
        let ages = if self.kind == Kind::Person { new.ages } else { [None; 5] };
        let today = shadow::today(now);
        let [least, most, warning, inactive, expiry] =
            ages.map(|days| days.map(|days| days.to_string()).unwrap_or_default());
        let hash = self.hash.as_ref().map_or(closed.as_bytes(), Secret::expose);
        let rest = format!(":{today}:{least}:{most}:{warning}:{inactive}:{expiry}:");
        Zeroizing::new([self.name.as_bytes(), b":", hash, rest.as_bytes()].concat())
    }

    /// Gives a person a range of subordinate numbers, where the guest has a file of them.
    fn subordinate(
        &self,
        which: Which,
        uid: u32,
        (wanted, new): (&Subordinate, &NewAccounts),
        database: &mut Database,
    ) -> Result<(), InjectError> {
        let Some(text) = database.text(which) else { return Ok(()) };
        let has_some = super::super::table::fields(text, self.name.as_bytes()).is_some();
        if self.kind == Kind::System || wanted.count == 0 || !new.uids.people.contains(&uid) || has_some {
            return Ok(());
        }
        let start = numbers::free_range(wanted, text).ok_or_else(|| AccountError::NoneFree {
            what: "subordinate numbers",
            range: (*wanted.within.start(), *wanted.within.end()),
            key: if which == Which::Subuid { "SUB_UID_MAX" } else { "SUB_GID_MAX" },
        })?;
        database.put(which, self.name.as_bytes(), format!("{}:{start}:{}", self.name, wanted.count).as_bytes());
        Ok(())
    }
}
