//! Whether a user or group that is there is the one that was asked for.

use super::super::InjectError;
use super::super::table;
use super::database::{Database, Which};
use super::error::AccountError;
use super::{Kind, NewGroup, NewUser};
use crate::guest::new_accounts::{NewAccounts, Numbers};
use crate::guest::{Group, User};

impl NewUser {
    /// Fails where the user that is there lacks something that was asked for; what was not asked for may be as it likes.
    pub(super) fn check_same(&self, user: &User, new: &NewAccounts, database: &Database) -> Result<(), InjectError> {
        let differs = |how: String| Err(AccountError::UserDiffers { user: self.name.to_string(), how }.into());
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match self.uid {
            Some(uid) if uid != user.uid => return differs(format!("its user number is {}, not {uid}", user.uid)),
            Some(_) => {}
            None => {
                if let Some(how) = other_kind(user.uid, self.kind, &new.uids) {
                    return differs(format!("its user number is {}, {how}", user.uid));
                }
            }
        }
        if let Some(group) = &self.group {
            let gid = super::user::gid_of(group, database)?;
            if gid != user.gid {
                return differs(format!("its first group is number {}, not {group} ({gid})", user.gid));
            }
        }
        for group in &self.groups {
            let gid = database.group(group)?.gid;
            if gid != user.gid && !database.is_member(group, self.name.as_str()) {
                return differs(format!(
                    "it is not in the group '{group}' (--add-to-group {}:{group} puts it there)",
                    self.name
                ));
            }
        }
        let shell = if user.shell.is_empty() { b"/bin/sh" } else { &user.shell[..] };
        if let Some(asked) = self.shell.as_deref().filter(|asked| asked.as_bytes() != shell) {
            return differs(format!("its shell is {}, not {asked}", text(shell)));
        }
        if let Some(asked) = self.home.as_deref().filter(|asked| asked.as_bytes() != user.home) {
            return differs(format!("its home directory is {}, not {asked}", text(&user.home)));
        }
        let fields = database.text(Which::Passwd).and_then(|passwd| table::fields(passwd, self.name.as_bytes()));
        let comment = fields.and_then(|fields| fields.get(4).copied()).unwrap_or_default();
        if let Some(asked) = self.comment.as_deref().filter(|asked| asked.as_bytes() != comment) {
            return differs(format!("its comment is '{}', not '{asked}'", text(comment)));
        }
        Ok(())
    }
}

impl NewGroup {
    /// The same of a group.
    pub(super) fn check_same(&self, group: &Group, new: &NewAccounts) -> Result<(), InjectError> {
        let differs = |how: String| Err(AccountError::GroupDiffers { group: self.name.to_string(), how }.into());
        match self.gid {
            Some(gid) if gid != group.gid => differs(format!("its number is {}, not {gid}", group.gid)),
            Some(_) => Ok(()),
            None => match (other_kind(group.gid, self.kind, &new.gids), self.kind) {
                (Some(how), Kind::Person) => differs(format!(
                    "its number is {}, {how} (--add-group {}:system takes it as it is)",
                    group.gid, self.name
                )),
                (Some(how), Kind::System) => differs(format!("its number is {}, {how}", group.gid)),
                (None, _) => Ok(()),
            },
        }
    }
}

/// Why a number is not one of the kind that was asked for.
fn other_kind(number: u32, asked: Kind, numbers: &Numbers) -> Option<String> {
    let first = *numbers.people.start();
    match asked {
        Kind::Person if number < first => {
            Some(format!("a system account's (people have {first} and more), and 'system' was not asked for"))
        }
        Kind::System if number >= first => Some(format!("a person's, and 'system' was asked for (below {first})")),
        _ => None,
    }
}
