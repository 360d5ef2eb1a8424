//! The files of users and groups: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), subgid(5).

use super::super::InjectError;
use super::super::table::{self, Text};
use super::error::AccountError;
use super::lock;
use super::shadow::PASSWORD;
use crate::guest::accounts::{LIMIT, parse_group, parse_passwd};
use crate::guest::{Accounts, Group, User};
use imgraft_vfs::fs::{Attrs, Content};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::collections::BTreeSet;

/// The files as they are to be. Those that a guest does not have stay missing.
#[derive(Debug)]
pub(super) struct Database {
    files: [File; 6],
    accounts: Accounts,
}

/// Which of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Passwd,
    Shadow,
    Group,
    Gshadow,
    Subuid,
    Subgid,
}

#[derive(Debug)]
struct File {
    path: &'static str,
    text: Option<Text>,
    /// Whether what is asked for is in it.
    is_relied_on: bool,
    is_changed: bool,
}

impl Which {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Passwd, Self::Shadow, Self::Group, Self::Gshadow, Self::Subuid, Self::Subgid];

    const PATHS: [&'static str; 6] =
        ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

    fn index(self) -> usize {
        match self {
            Self::Passwd => 0,
            Self::Shadow => 1,
            Self::Group => 2,
            Self::Gshadow => 3,
            Self::Subuid => 4,
            Self::Subgid => 5,
        }
    }
}

impl Database {
    /// Reads them; an error where there is no passwd or no group.
    pub(super) fn read(stage: &Stage<'_>) -> Result<Self, InjectError> {
        let mut files = Which::PATHS.map(|path| File { path, text: None, is_relied_on: false, is_changed: false });
        for file in &mut files {
            file.text = stage.read(&GuestPath::parse(file.path)?, LIMIT)?.map(Text::new);
        }
        let mut database = Self { files, accounts: Accounts::default() };
        for which in [Which::Passwd, Which::Group] {
            if database.text(which).is_none() {
                let path = database.file(which).path;
                return Err(AccountError::NoFile { path }.into());
            }
        }
        database.accounts = database.accounts();
        Ok(database)
    }

    /// Puts what has changed on the stage.
    pub(super) fn write(&self, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        for file in self.files.iter().filter(|file| file.is_relied_on) {
            if !file.is_changed {
                stage.confirm(&GuestPath::parse(file.path)?)?;
            } else if let Some(text) = &file.text {
                lock::pass(file.path, stage)?;
                // They are there, so that they keep their mode.
                stage.write(
                    &GuestPath::parse(file.path)?,
                    Content::bytes(&text[..]),
                    Attrs { mode: 0o600, uid: 0, gid: 0 },
                )?;
            }
        }
        Ok(())
    }

    /// The users and groups as they are to be.
    pub(super) fn accounts(&self) -> Accounts {
        Accounts {
            users: self.text(Which::Passwd).map(parse_passwd),
            groups: self.text(Which::Group).map(parse_group).unwrap_or_default(),
        }
    }

    pub(super) fn text(&self, which: Which) -> Option<&[u8]> {
        self.file(which).text.as_ref().map(|text| &text[..])
    }

    /// A user that is there.
    pub(super) fn user(&self, name: &str) -> Result<&User, InjectError> {
        let missing = || InjectError::NoSuchUser { user: name.to_owned(), known: self.accounts.people() };
        self.find_user(name).ok_or_else(missing)
    }

    /// A group that is there.
    pub(super) fn group(&self, name: &str) -> Result<&Group, InjectError> {
        self.find_group(name).ok_or_else(|| AccountError::NoSuchGroup { group: name.to_owned() }.into())
    }

    pub(super) fn find_user(&self, name: &str) -> Option<&User> {
        self.accounts.user(name)
    }

    pub(super) fn find_group(&self, name: &str) -> Option<&Group> {
        self.accounts.group(name)
    }

    /// The user that has a number.
    pub(super) fn user_of(&self, uid: u32) -> Option<&User> {
        self.accounts.users.iter().flatten().find(|user| user.uid == uid)
    }

    /// The group that has a number.
    pub(super) fn group_of(&self, gid: u32) -> Option<&Group> {
        self.accounts.groups.iter().find(|group| group.gid == gid)
    }

    pub(super) fn uids(&self) -> BTreeSet<u32> {
        self.accounts.users.iter().flatten().map(|user| user.uid).collect()
    }

    pub(super) fn gids(&self) -> BTreeSet<u32> {
        self.accounts.groups.iter().map(|group| group.gid).collect()
    }

    /// Gives a name this line in one of the files, where the guest has that.
    pub(super) fn put(&mut self, which: Which, name: &[u8], line: &[u8]) {
        if let Some(text) = self.text(which) {
            let text = table::put(text, name, line);
            self.change(which, text);
        }
    }

    /// Adds a user to the members of a group, in group and where that has a line in gshadow.
    pub(super) fn add_member(&mut self, group: &str, user: &str) -> Result<(), InjectError> {
        for which in [Which::Group, Which::Gshadow] {
            let Some(text) = self.text(which) else { continue };
            let add = |members: &[u8]| Ok::<_, InjectError>(table::listed(members, user.as_bytes()));
            if let Some(text) = table::replace_field(text, group.as_bytes(), 3, add)? {
                self.change(which, text);
            }
        }
        Ok(())
    }

    /// Replaces a field of a user's lines of shadow, where `change` gives another.
    pub(super) fn replace_shadow(
        &mut self,
        user: &str,
        field: usize,
        change: impl FnMut(&[u8]) -> Result<Option<Text>, InjectError>,
    ) -> Result<(), InjectError> {
        let shadow = self.text(Which::Shadow).ok_or_else(|| InjectError::NoShadow { user: user.to_owned() })?;
        let text = table::replace_field(shadow, user.as_bytes(), field, change)?;
        let text = text.ok_or_else(|| InjectError::NoShadowEntry { user: user.to_owned() })?;
        self.change(Which::Shadow, text);
        Ok(())
    }

    /// A field of a user's first line of shadow.
    pub(super) fn shadow_field(&self, user: &str, field: usize) -> Option<&[u8]> {
        table::fields(self.text(Which::Shadow)?, user.as_bytes())?.get(field).copied()
    }

    /// Whether somebody can log in by a user's password, as far as shadow says.
    pub(super) fn has_password(&self, user: &str) -> bool {
        self.shadow_field(user, PASSWORD).is_some_and(|hash| !hash.is_empty() && !matches!(hash[0], b'!' | b'*'))
    }

    /// Whether a user is a member of a group, by the group's list.
    pub(super) fn is_member(&self, group: &str, user: &str) -> bool {
        let fields = self.text(Which::Group).and_then(|text| table::fields(text, group.as_bytes()));
        fields.and_then(|fields| fields.get(3).copied()).is_some_and(|members| table::lists(members, user.as_bytes()))
    }

    /// Says that what is asked for is in those of the files that have lines of this name.
    pub(super) fn rely_on(&mut self, among: &[Which], name: &str) {
        for which in among {
            let has = self.text(*which).is_some_and(|text| table::fields(text, name.as_bytes()).is_some());
            self.files[which.index()].is_relied_on |= has;
        }
    }

    fn change(&mut self, which: Which, text: Text) {
        let Some(file) = self.files.get_mut(which.index()) else { return };
        file.is_relied_on = true;
        if file.text.as_ref() != Some(&text) {
            (file.text, file.is_changed) = (Some(text), true);
            self.accounts = self.accounts();
        }
    }

    fn file(&self, which: Which) -> &File {
        &self.files[which.index()]
    }
}
