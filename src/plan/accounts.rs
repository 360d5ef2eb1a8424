//! The users and groups that are asked for.

use super::faults::Faults;
use super::items::shorten;
use crate::cli;
use crate::failure::Failure;
use crate::guest::accounts::number;
use crate::inject::{AccountName, Accounts, Day, Expiry, HomeDirectory, Kind, NewGroup, NewUser, SudoAsks, Sudoer};
use imgraft_vfs::fs::Timestamp;
use imgraft_vfs::path::GuestPath;

/// What is asked for; `None` where that is nothing.
pub(super) fn accounts(typed: &cli::Accounts, now: Timestamp, faults: &mut Faults) -> Option<Accounts> {
    let cli::Accounts { add_group, add_user, add_to_group, sudo, expire, unlock, expire_password: _ } = typed;
    let accounts = Accounts {
        groups: faults.each("--add-group", add_group, group),
        users: faults.each("--add-user", add_user, user),
        members: faults.each("--add-to-group", add_to_group, member),
        sudo: faults.each("--sudo", sudo, sudoer),
        expiries: faults.each("--expire", expire, expiry),
        unlocked: faults.each("--unlock", unlock, |typed| user_alone("--unlock", typed)),
        ..Accounts::none(now)
    };
    (!accounts.is_empty()).then_some(accounts)
}

/// The name of a user who may be in the guest: one that a line of passwd(5) can have, if not one that shadow-utils would give.
pub(super) fn user_name(option: &str, user: &str) -> Result<String, Failure> {
    let is_none =
        user.is_empty() || user.starts_with('-') || user.contains(|c: char| c.is_control() || ":/".contains(c));
    match is_none {
        true => Err(Failure::usage(format!("{option}: '{}' is not the name of a user", shorten(user)))
            .with_hint("a name has no colon or slash in it, and does not begin with '-'")),
        false => Ok(user.to_owned()),
    }
}

/// All that two sources ask for.
pub(super) fn join(one: Option<Accounts>, other: Option<Accounts>) -> Result<Option<Accounts>, Failure> {
    let joined = match (one, other) {
        (Some(mut one), Some(other)) => {
            one.groups.extend(other.groups);
            one.missing_groups.extend(other.missing_groups);
            one.users.extend(other.users);
            one.members.extend(other.members);
            one.sudo.extend(other.sudo);
            one.expiries.extend(other.expiries);
            one.unlocked.extend(other.unlocked);
            one.locked.extend(other.locked);
            one.opened.extend(other.opened);
            one.present.extend(other.present);
            Some(one)
        }
        (one, other) => one.or(other),
    };
    if let Some(accounts) = &joined {
        once("--sudo", accounts.sudo.iter().map(|sudoer| &*sudoer.user))?;
        once("--expire", accounts.expiries.iter().map(|(user, _)| &**user))?;
    }
    Ok(joined)
}

fn group(typed: &str) -> Result<NewGroup, Failure> {
    let option = Typed { option: "--add-group", typed };
    let (name, settings) = option.name_and_settings()?;
    let mut group = NewGroup { name, gid: None, kind: Kind::Person };
    for setting in settings {
        match setting {
            ("gid", Some(value)) => group.gid = Some(option.number(value)?),
            ("system", None) => group.kind = Kind::System,
            other => return Err(option.unknown(other, "gid=N, system")),
        }
    }
    Ok(group)
}

fn user(typed: &str) -> Result<NewUser, Failure> {
    let option = Typed { option: "--add-user", typed };
    let (name, settings) = option.name_and_settings()?;
    let mut user = NewUser::named(name);
    for setting in settings {
        match setting {
            ("uid", Some(value)) => user.uid = Some(option.number(value)?),
            ("gid", Some(value)) if !value.is_empty() => user.group = Some(value.to_owned()),
            ("groups", Some(value)) if value.split('+').all(|group| !group.is_empty()) => {
                user.groups = value.split('+').map(str::to_owned).collect();
            }
            ("shell", Some(value)) => user.shell = Some(option.path(value)?),
            ("home", Some(value)) => user.home = Some(option.path(value)?),
            ("comment", Some(value)) => user.comment = Some(option.field(value)?.to_owned()),
            ("system", None) => user.kind = Kind::System,
            ("no-home", None) => user.home_directory = HomeDirectory::NotMade,
            other => {
                let known = "uid=N, gid=GROUP, groups=A+B, shell=PATH, home=PATH, comment=TEXT (without a comma), system, no-home";
                return Err(option.unknown(other, known));
            }
        }
    }
    Ok(user)
}

fn member(typed: &str) -> Result<(String, String), Failure> {
    let (user, group) = Typed { option: "--add-to-group", typed }.user_and_rest("USER:GROUP")?;
    Ok((user_name("--add-to-group", user)?, group.to_owned()))
}

fn sudoer(typed: &str) -> Result<Sudoer, Failure> {
    let (user, asks) = match typed.split_once(':') {
        None => (typed, SudoAsks::Password),
        Some((user, "nopasswd")) => (user, SudoAsks::Nothing),
        Some(_) => ("", SudoAsks::Password),
    };
    if user.is_empty() {
        return Err(Typed { option: "--sudo", typed }.wrong("not USER or USER:nopasswd"));
    }
    Ok(Sudoer { user: user_name("--sudo", user)?, asks })
}

fn expiry(typed: &str) -> Result<(String, Expiry), Failure> {
    let option = Typed { option: "--expire", typed };
    let (user, when) = option.user_and_rest("USER:YYYY-MM-DD, USER:now or USER:never")?;
    Ok((user_name("--expire", user)?, option.expiry(when)?))
}

/// Who has to choose another password.
pub(super) fn expired(typed: &cli::Accounts, faults: &mut Faults) -> Vec<String> {
    faults.each("--expire-password", &typed.expire_password, |typed| user_alone("--expire-password", typed))
}

fn user_alone(option: &str, typed: &str) -> Result<String, Failure> {
    match typed.is_empty() || typed.contains(':') {
        true => Err(Typed { option, typed }.wrong("not USER")),
        false => user_name(option, typed),
    }
}

/// Fails for a user who is named twice.
fn once<'a>(option: &str, users: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut named = std::collections::BTreeSet::new();
    for user in users {
        if !named.insert(user) {
            return Err(Failure::usage(format!("{option}: '{}' is named twice", shorten(user)))
                .with_hint("name each user once, in one manifest or in an option"));
        }
    }
    Ok(())
}

/// A key, with what stands after its `=`.
type Setting<'a> = (&'a str, Option<&'a str>);

/// What was typed after an option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed<'a> {
    /// The option, or what else it stands in.
    pub option: &'a str,
    /// What was typed.
    pub typed: &'a str,
}

impl<'a> Typed<'a> {
    pub(super) fn wrong(self, reason: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{} {}: {reason}", self.option, shorten(self.typed)))
    }

    pub(super) fn name(self, name: &str) -> Result<AccountName, Failure> {
        AccountName::parse(name)
            .ok_or_else(|| self.wrong(format!("not a name: '{}'", shorten(name))).with_hint(AccountName::RULE))
    }

    pub(super) fn expiry(self, when: &str) -> Result<Expiry, Failure> {
        match when {
            "now" => Ok(Expiry::Now),
            "never" => Ok(Expiry::Never),
            day => Day::parse(day)
                .map(Expiry::On)
                .ok_or_else(|| self.wrong("no day after 1970-01-01, as YYYY-MM-DD").with_hint("or say now, or never")),
        }
    }

    /// The name, and the settings after it; a setting twice is an error.
    fn name_and_settings(self) -> Result<(AccountName, Vec<Setting<'a>>), Failure> {
        let (name, settings) = match self.typed.split_once(':') {
            Some((name, settings)) => (name, settings.split(',').collect()),
            None => (self.typed, Vec::new()),
        };
        let name = self.name(name)?;
        let settings: Vec<Setting<'_>> = settings
            .into_iter()
            .map(|setting| setting.split_once('=').map_or((setting, None), |(key, value)| (key, Some(value))))
            .collect();
        for (index, (key, _)) in settings.iter().enumerate() {
            if settings[..index].iter().any(|(earlier, _)| earlier == key) {
                return Err(self.wrong(format!("'{key}' is there twice")));
            }
        }
        Ok((name, settings))
    }

    fn user_and_rest(self, shape: &str) -> Result<(&'a str, &'a str), Failure> {
        let parts = self.typed.split_once(':').filter(|(user, rest)| !user.is_empty() && !rest.is_empty());
        parts.ok_or_else(|| self.wrong(format!("not {shape}")))
    }

    fn unknown(self, (key, value): Setting<'_>, known: &str) -> Failure {
        let setting = value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"));
        self.wrong(format!("'{}' is no setting", shorten(&setting))).with_hint(format!("settings: {known}"))
    }

    pub(super) fn number(self, value: &str) -> Result<u32, Failure> {
        number(value.as_bytes()).ok_or_else(|| self.wrong(format!("'{value}' is no number below 4294967295")))
    }

    /// A field of passwd(5).
    pub(super) fn field(self, value: &str) -> Result<&str, Failure> {
        match value.chars().any(|char| char == ':' || char.is_control()) {
            true => Err(self.wrong("a field of passwd has no colon, line end or other control character in it")),
            false => Ok(value),
        }
    }

    pub(super) fn path(self, value: &str) -> Result<String, Failure> {
        let is_path = value.starts_with('/') && GuestPath::parse(value).is_ok();
        match is_path && !value.chars().any(|char| char == ':' || char.is_control()) {
            true => Ok(value.to_owned()),
            false => Err(self
                .wrong(format!("'{}' is no absolute path that passwd can hold", shorten(value)))
                .with_hint("give the whole path, as in shell=/bin/bash; no colon can be in it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn a_user_with_everything() {
        let user =
            user("ann:uid=1500,gid=users,groups=adm+sudo,shell=/bin/zsh,home=/srv/ann,comment=Ann A=B,system,no-home")
                .unwrap();
        assert_eq!((user.name.as_str(), user.uid, user.group.as_deref()), ("ann", Some(1500), Some("users")));
        assert_eq!(user.groups, ["adm", "sudo"]);
        assert_eq!((user.shell.as_deref(), user.home.as_deref()), (Some("/bin/zsh"), Some("/srv/ann")));
        assert_eq!((user.comment.as_deref(), user.kind), (Some("Ann A=B"), Kind::System));
        assert_eq!(user.home_directory, HomeDirectory::NotMade);
        let group = group("dev:gid=7,system").unwrap();
        assert_eq!((group.name.as_str(), group.gid, group.kind), ("dev", Some(7), Kind::System));
    }

    #[test]
    fn what_is_no_user() {
        for (typed, said) in [
            ("", "not a name: ''"),
            ("-x", "not a name: '-x'"),
            ("ann:", "'' is no setting"),
            ("ann:uid", "'uid' is no setting"),
            ("ann:uid=x", "'x' is no number"),
            ("ann:uid=4294967295", "is no number"),
            ("ann:uid=1,uid=2", "'uid' is there twice"),
            ("ann:gid=", "'gid=' is no setting"),
            ("ann:groups=a++b", "is no setting"),
            ("ann:shell=zsh", "'zsh' is no absolute path"),
            ("ann:home=/a:b", "is no absolute path"),
            ("ann:comment=a:b", "has no colon"),
            ("ann:comment=a\nroot", "has no colon"),
            ("ann:comment=Ann,Berlin", "'Berlin' is no setting"),
            ("ann:system=yes", "'system=yes' is no setting"),
        ] {
            let reason = reason(user(typed));
            assert!(reason.starts_with("--add-user ") && reason.contains(said), "{reason}");
        }
        assert!(reason(group("g:uid=1")).contains("no setting"));
        assert!(reason(member("ann")).ends_with("not USER:GROUP"));
        for typed in ["ann", ":now", "ann:"] {
            assert!(reason(expiry(typed)).contains("not USER:YYYY-MM-DD"));
        }
        assert!(reason(expiry("ann:2023-02-29")).contains("no day after"));
        assert_eq!(expiry("ann:now").unwrap(), ("ann".to_owned(), Expiry::Now));
        assert_eq!(expiry("ann:never").unwrap().1, Expiry::Never);
        assert!(
            reason(user_alone("--unlock", "ann:x")).contains("not USER")
                && reason(user_alone("--unlock", "")).contains("not USER")
        );
        assert!(reason(sudoer("ann:x")).ends_with("not USER or USER:nopasswd"));
        assert!(reason(sudoer("")).ends_with("not USER or USER:nopasswd"));
        assert!(reason(once("--sudo", ["a", "b", "a"].into_iter())).contains("'a' is named twice"));
        assert!(reason(member("ann:")).ends_with("not USER:GROUP"));
    }
}
