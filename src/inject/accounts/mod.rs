//! Users and groups of the guest, as useradd(8), groupadd(8) and usermod(8) would make and change them.

mod clash;
mod database;
mod error;
mod home;
pub(super) mod lock;
mod name;
mod numbers;
mod shadow;
mod sudoers;
mod user;

pub use error::AccountError;
pub use name::AccountName;
pub use shadow::{Day, Expiry};
pub(in crate::inject) use shadow::{has_expired, today};
pub use sudoers::{SudoAsks, Sudoer};
pub(in crate::inject) use sudoers::{check_listens as check_sudo, remove as remove_sudoer};
pub use user::{HomeDirectory, Kind, NewUser};

use super::sshd::logins as sshd;
use super::{InjectError, Injector, Item, Outcome, cloud_config, label};
use crate::guest::Guest;
use database::Database;
use imgraft_vfs::fs::Timestamp;
use imgraft_vfs::stage::Stage;
use shadow::PASSWORD;

/// Users and groups: groups are made before users, and all of them before they become members.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Groups to be made.
    pub groups: Vec<NewGroup>,
    /// Groups to be made where they are missing, whatever those that are there are like.
    pub missing_groups: Vec<AccountName>,
    /// Users to be made.
    pub users: Vec<NewUser>,
    /// Users, each with a group that it is to be a member of.
    pub members: Vec<(String, String)>,
    /// Users who may do everything as anybody, by sudo.
    pub sudo: Vec<Sudoer>,
    /// Users, each with the day on which the account is closed.
    pub expiries: Vec<(String, Expiry)>,
    /// Users whose passwords are unlocked.
    pub unlocked: Vec<String>,
    /// Users whose passwords are locked before others are set.
    pub locked: Vec<String>,
    /// Users whose passwords are unlocked where there is one behind the lock.
    pub opened: Vec<String>,
    /// Users who have to be there.
    pub present: Vec<String>,
    /// The time of this run's changes.
    pub now: Timestamp,
}

impl Accounts {
    /// Nothing is asked for.
    pub fn none(now: Timestamp) -> Self {
        Self {
            groups: Vec::new(),
            missing_groups: Vec::new(),
            users: Vec::new(),
            members: Vec::new(),
            sudo: Vec::new(),
            expiries: Vec::new(),
            unlocked: Vec::new(),
            locked: Vec::new(),
            opened: Vec::new(),
            present: Vec::new(),
            now,
        }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        let Self { groups, missing_groups, users, members, sudo, expiries, unlocked, locked, opened, present, now: _ } =
            self;
        groups.is_empty()
            && missing_groups.is_empty()
            && users.is_empty()
            && members.is_empty()
            && sudo.is_empty()
            && expiries.is_empty()
            && unlocked.is_empty()
            && locked.is_empty()
            && opened.is_empty()
            && present.is_empty()
    }
}

/// A group to be made. One that is there and has what is asked for stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: AccountName,
    /// Its number; `None` takes the next one that is free.
    pub gid: Option<u32>,
    /// Which numbers it may get.
    pub kind: Kind,
}

impl Injector for Accounts {
    fn item(&self) -> Item {
        Item::Accounts
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let mut database = Database::read(stage)?;
        for group in &self.groups {
            group.make(&guest.new_accounts, &mut database, &mut outcome)?;
        }
        for name in &self.missing_groups {
            if database.find_group(name.as_str()).is_none() {
                let group = NewGroup { name: name.clone(), gid: None, kind: Kind::Person };
                group.make(&guest.new_accounts, &mut database, &mut outcome)?;
            }
        }
        for user in &self.users {
            user.make(guest, self.now, &mut database, stage, &mut outcome)?;
        }
        for user in &self.present {
            database.user(user)?;
        }
        for (user, group) in &self.members {
            database.user(user)?;
            database.group(group)?;
            database.add_member(group, user)?;
        }
        for sudoer in &self.sudo {
            sudoer.make(&database, stage, &mut outcome)?;
        }
        for (user, expiry) in &self.expiries {
            expiry.set(user, &mut database)?;
        }
        for user in &self.unlocked {
            shadow::unlock(user, self.now.seconds / 86_400, &mut database, &mut outcome)?;
        }
        for user in &self.locked {
            // One without a password has none to be locked, and keys that an sshd without PAM is to take.
            if sshd::minds_locks(stage).is_none() || database.shadow_field(user, PASSWORD) != Some(&b"*"[..]) {
                shadow::lock(user, &mut database, &mut outcome)?;
            }
        }
        for user in &self.opened {
            shadow::open(user, &mut database, &mut outcome)?;
        }
        let made = self.users.iter().filter(|user| user.hash.is_some()).map(|user| user.name.as_str());
        let users = made.chain(self.unlocked.iter().chain(&self.opened).map(String::as_str));
        let users: Vec<&str> = users.filter(|user| database.has_password(user)).collect();
        cloud_config::keep_passwords(&users, stage, &mut outcome)?;
        database.write(stage)?;
        label::label_new(guest, stage, &before, &mut outcome)?;
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests;
