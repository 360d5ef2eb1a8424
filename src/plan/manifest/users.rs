//! The users of a manifest.

use super::super::accounts::Typed;
use super::super::faults::Faults;
use super::super::items::{Wanted, read};
use super::super::selector;
use super::{Reader, kind, number};
use crate::config_drive::Hidden;
use crate::failure::Failure;
use crate::inject::{Accounts, HomeDirectory, NewUser, Selector, SudoAsks, Sudoer, authorized_keys};
use crate::manifest;

impl Reader<'_> {
    /// A user, and what it gets.
    pub(super) fn user(
        &self,
        place: &str,
        mut user: manifest::User,
        accounts: &mut Accounts,
        wanted: &mut Wanted,
        faults: &mut Faults,
    ) {
        if let Some(hash) = &user.first_hash {
            let place = format!("{place}.first_hash");
            faults.keep(&place, selector::check_hash(&self.at(&place), &hash.0));
        }
        faults.keep(place, self.account(place, &mut user, accounts));
        if let Some(password) = user.password {
            let place = format!("{place}.password");
            let selector = faults.keep(&place, self.password(&self.at(&place), &password));
            wanted.passwords.extend(selector.map(|selector| (user.name.clone(), selector)));
        }
        for (index, key) in user.ssh_keys.iter().enumerate() {
            let place = format!("{place}.ssh_keys[{index}]");
            let lines = faults.keep(&place, self.keys(&self.at(&place), key));
            wanted.keys.extend(lines.into_iter().flatten().map(|line| (user.name.clone(), line)));
        }
        if let Some(sudo) = user.sudo {
            let asks = match sudo {
                manifest::Sudo::Password => SudoAsks::Password,
                manifest::Sudo::Nopasswd => SudoAsks::Nothing,
            };
            accounts.sudo.push(Sudoer { user: user.name.clone(), asks });
        }
        if let Some(when) = user.expire {
            let place = format!("{place}.expire");
            let expiry = faults.keep(&place, Typed { option: &self.at(&place), typed: &when }.expiry(&when));
            accounts.expiries.extend(expiry.map(|expiry| (user.name.clone(), expiry)));
        }
        match user.lock {
            Some(true) => accounts.locked.push(user.name.clone()),
            Some(false) => accounts.opened.push(user.name.clone()),
            None => {}
        }
        if user.expire_password {
            wanted.expired.push(user.name.clone());
        }
        if user.unlock {
            accounts.unlocked.push(user.name);
        }
    }

    fn password(&self, place: &str, password: &Hidden) -> Result<Selector, Failure> {
        let text = std::str::from_utf8(password.0.expose()).unwrap_or_default();
        if selector::is_stdin(text) {
            return Err(Failure::usage(format!("{place}: not from standard input in a manifest"))
                .with_hint("file:PATH, or --password on the command line"));
        }
        selector::parse_beside(place, text, &self.source.directory)
    }

    /// Who is made, or has to be there.
    fn account(&self, place: &str, user: &mut manifest::User, accounts: &mut Accounts) -> Result<(), Failure> {
        let place = self.at(place);
        let typed = Typed { option: &place, typed: &user.name };
        let name = typed.name(&user.name)?;
        if user.existing || user.name == "root" {
            let is_made = user.uid.is_some()
                || user.group.is_some()
                || user.shell.is_some()
                || user.home.is_some()
                || user.create_home.is_some()
                || user.comment.is_some()
                || user.system;
            if is_made {
                return Err(typed
                    .wrong("the user is there and is not made, and something is said that only one who is made gets")
                    .with_hint(
                        "leave out number, first group, shell, home directory, full name and system; or existing, where that is said",
                    ));
            }
            let is_alone = user.groups.is_empty()
                && user.password.is_none()
                && user.ssh_keys.is_empty()
                && user.sudo.is_none()
                && user.expire.is_none()
                && !user.unlock
                && !user.expire_password
                && user.lock.is_none();
            // Whoever is asked something of is looked for by what does it.
            if user.existing && is_alone {
                accounts.present.push(user.name.clone());
            }
            let groups = std::mem::take(&mut user.groups);
            accounts.members.extend(groups.into_iter().map(|group| (user.name.clone(), group)));
        } else {
            let mut new = NewUser::named(name);
            new.uid = number(typed, user.uid)?;
            new.group = user.group.take();
            new.groups = user.groups.clone();
            new.shell = user.shell.as_deref().map(|path| typed.path(path)).transpose()?;
            new.home = user.home.as_deref().map(|path| typed.path(path)).transpose()?;
            new.comment = user.comment.as_deref().map(|text| typed.field(text).map(str::to_owned)).transpose()?;
            new.kind = kind(user.system);
            new.home_directory = match user.create_home {
                Some(true) => HomeDirectory::MadeForAny,
                Some(false) => HomeDirectory::NotMade,
                None => HomeDirectory::Made,
            };
            new.hash = user.first_hash.take().map(|hash| hash.0);
            accounts.users.push(new);
        }
        Ok(())
    }

    fn keys(&self, place: &str, key: &str) -> Result<Vec<String>, Failure> {
        let text = match key.strip_prefix("file:") {
            Some(path) => read(place, &self.file(path))?,
            None => key.as_bytes().to_vec(),
        };
        authorized_keys::parse(&text).map_err(|error| {
            let failure = Failure::usage(format!("{place}: {error}"));
            error.hint().into_iter().fold(failure, |failure, hint| failure.with_hint(hint))
        })
    }
}
