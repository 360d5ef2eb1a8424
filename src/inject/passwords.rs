//! Passwords of the guest's users: the second field of shadow(5), and the third, the day on which it was set.

use super::accounts::{has_expired, lock, today};
use super::table::{self, Text as Field};
use super::{Compat, InjectError, Injector, Item, Outcome, Revealed, cloud_config, label};
use crate::crypt::{self, CryptError, Method, Strength};
use crate::guest::accounts::{LIMIT, PasswordPlace, User};
use crate::guest::{Guest, OsRelease};
use crate::secret::Secret;
use imgraft_vfs::fs::{Attrs, Content, Timestamp};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use zeroize::Zeroizing;

/// Passwords for users of the guest.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// Per user name what its shadow entry is to be.
    pub users: Vec<(String, Selector)>,
    /// How passwords are hashed; `None` for the method that the guest uses.
    pub method: Option<Method>,
    /// Users who have to choose another password at the next login.
    pub expired: Vec<String>,
    /// The time of this run's changes.
    pub now: Timestamp,
    /// Whose behaviour.
    pub compat: Compat,
}

/// What a user's shadow entry is to be.
///
/// An entry that is that already stays as it is, salt and all; only a random password is always a new one. With another hash comes the
/// day of the run, as by chpasswd(8): an old one would have the ages of passwords end the new one's time at once.
#[derive(Clone, Debug)]
pub enum Selector {
    /// The hash of this password, by the method that the guest uses.
    Password(Secret),
    /// The same, and the account locked (`!` before the hash).
    LockedPassword(Secret),
    /// This crypt(3) hash as it stands.
    Hash(Secret),
    /// A password made up now and revealed once.
    Random,
    /// The same, and the account locked.
    LockedRandom,
    /// No password is valid (`*`).
    Disabled,
    /// The same, and the account locked (`!*`).
    LockedDisabled,
    /// The existing entry, locked (`!` before it).
    Locked,
}

impl Selector {
    /// Whether somebody can log in by the password afterwards.
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Password(_) | Self::Random => true,
            Self::Hash(hash) => !hash.expose().starts_with(b"!") && !hash.expose().starts_with(b"*"),
            Self::LockedPassword(_) | Self::LockedRandom | Self::Disabled | Self::LockedDisabled | Self::Locked => {
                false
            }
        }
    }
}

impl Injector for Passwords {
    fn item(&self) -> Item {
        Item::Password
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        check_once(&self.users)?;
        let named = self.users.iter().map(|(user, _)| user).chain(&self.expired);
        let Some(first) = named.clone().next() else { return Ok(Outcome::default()) };
        if let (Compat::Nova, false) = (self.compat, self.expired.is_empty()) {
            return Err(InjectError::NotInNova { what: "have a user choose another password" });
        }
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let path = GuestPath::parse("/etc/shadow")?;
        let accounts: Vec<&User> = named.map(|user| account(guest, user)).collect::<Result<_, _>>()?;
        let (accounts, expired) = accounts.split_at(self.users.len());
        let Some(old) = stage.read(&path, LIMIT)?.map(Zeroizing::new) else {
            return Err(InjectError::NoShadow { user: first.clone() });
        };
        let mut shadow = old.clone();
        for ((user, selector), account) in self.users.iter().zip(accounts) {
            let entry = Entry { user, selector, method: self.method, now: self.now, shadow: &shadow };
            shadow = match self.compat {
                Compat::Imgraft if account.password == PasswordPlace::Passwd => {
                    return Err(InjectError::PasswordInPasswd { user: user.clone() });
                }
                Compat::Imgraft => entry.dated(entry.change(guest, &mut outcome)?, &self.expired),
                Compat::Nova => entry.change_as_nova()?,
            };
        }
        if self.compat == Compat::Imgraft {
            let valid = self.users.iter().filter(|(_, selector)| selector.is_valid());
            let users: Vec<&str> = valid.map(|(user, _)| user.as_str()).collect();
            outcome.notes.extend(users.iter().filter_map(|user| expiry(user, &shadow, self.now)));
            cloud_config::keep_passwords(&users, stage, &mut outcome)?;
        }
        for (user, account) in self.expired.iter().zip(expired) {
            if account.password == PasswordPlace::Passwd {
                return Err(InjectError::PasswordInPasswd { user: user.clone() });
            }
            shadow = expire(user, &shadow, &mut outcome)?;
        }
        if self.compat == Compat::Imgraft && shadow != old {
            lock::pass("/etc/shadow", stage)?;
        }
        stage.write(&path, Content::bytes(&shadow[..]), Attrs { mode: 0o600, uid: 0, gid: 0 })?;
        if self.compat == Compat::Imgraft {
            label::label_new(guest, stage, &before, &mut outcome)?;
        }
        Ok(outcome)
    }
}

/// Fails for two passwords of one user.
pub(super) fn check_once(users: &[(String, Selector)]) -> Result<(), InjectError> {
    for (index, (user, _)) in users.iter().enumerate() {
        if users[..index].iter().any(|(earlier, _)| earlier == user) {
            return Err(InjectError::DuplicatePassword { user: user.clone() });
        }
    }
    Ok(())
}

/// Fails where what was given for a user is no hash, and notes it where it is a weak one.
pub(super) fn check_given(user: &str, hash: &Secret, outcome: &mut Outcome) -> Result<(), InjectError> {
    let bad = |reason| InjectError::BadHash { user: user.to_owned(), reason };
    if let Strength::Weak(method) = crypt::strength(hash.expose()).map_err(bad)? {
        outcome.notes.push(format!("the hash given for '{user}' is {method}, which is weak"));
    }
    Ok(())
}

fn account<'a>(guest: &'a Guest, user: &str) -> Result<&'a User, InjectError> {
    let missing = || InjectError::NoSuchUser { user: user.to_owned(), known: guest.accounts.people() };
    guest.accounts.user(user).ok_or_else(missing)
}

/// One user's entry, to be changed.
struct Entry<'a> {
    user: &'a str,
    selector: &'a Selector,
    method: Option<Method>,
    now: Timestamp,
    shadow: &'a [u8],
}

impl Entry<'_> {
    /// The shadow file with the entry as the selector wants it.
    fn change(&self, guest: &Guest, outcome: &mut Outcome) -> Result<Field, InjectError> {
        let bad = |source| InjectError::BadPassword { user: self.user.to_owned(), source };
        match self.selector {
            Selector::Password(password) => self.set_password(password.expose(), Lock::Open, guest, outcome),
            Selector::LockedPassword(password) => self.set_password(password.expose(), Lock::Locked, guest, outcome),
            Selector::Hash(hash) => {
                check_given(self.user, hash, outcome)?;
                self.replace(|_| Ok(Some(hash.expose().to_vec().into())))
            }
            Selector::Random | Selector::LockedRandom => {
                let password = crypt::random_password().map_err(bad)?;
                let locked = matches!(self.selector, Selector::LockedRandom);
                let lock = if locked { Lock::Locked } else { Lock::Open };
                let shadow = self.set_password(&password, lock, guest, outcome)?;
                let password = Secret::new(password.to_vec());
                outcome.revealed.push(Revealed { user: self.user.to_owned(), password });
                Ok(shadow)
            }
            Selector::Disabled => self.replace(|_| Ok(Some(b"*".to_vec().into()))),
            Selector::LockedDisabled => self.replace(|_| Ok(Some(b"!*".to_vec().into()))),
            Selector::Locked => self.replace(|old| Ok((!old.starts_with(b"!")).then(|| lock(old)))),
        }
    }

    /// The shadow file as it was changed, with the day of the run in the place of that of the old hash, or of the day 0, which has another
    /// password asked for. A lock is no new password; a line without the field stays without it.
    fn dated(&self, changed: Field, expired: &[String]) -> Field {
        if matches!(self.selector, Selector::Disabled | Selector::LockedDisabled | Selector::Locked)
            || expired.iter().any(|user| user == self.user)
        {
            return changed;
        }
        let bare = |shadow| {
            let hash = table::fields(shadow, self.user.as_bytes()).and_then(|fields| fields.get(1).copied());
            hash.map(|hash| &hash[hash.iter().take_while(|byte| **byte == b'!').count()..])
        };
        let is_new = bare(self.shadow) != bare(&changed);
        let day = |old: &[u8]| (is_new || old == b"0").then(|| today(self.now).into_bytes().into());
        table::replace_present(&changed, self.user.as_bytes(), DAY, day)
    }

    fn set_password(
        &self,
        password: &[u8],
        wanted: Lock,
        guest: &Guest,
        outcome: &mut Outcome,
    ) -> Result<Field, InjectError> {
        let bad = |source| InjectError::BadPassword { user: self.user.to_owned(), source };
        crypt::check(password).map_err(bad)?;
        let (method, why) = match self.method {
            Some(method) => (method, "it was asked for".to_owned()),
            None => choose(guest, self.shadow, self.user),
        };
        let mut first: Option<Field> = None;
        let mut is_made = false;
        let mut weak = None;
        let shadow = self.replace(|old| {
            let bare = &old[old.iter().take_while(|byte| **byte == b'!').count()..];
            let hash = match &first {
                // The user's first line is the one that counts, and to verify is dear: a guest with thousands of lines for
                // one user would hold the run up for hours.
                Some(hash) => hash.clone(),
                None => {
                    let is_by_method = self.method.is_none_or(|method| Method::of(bare) == Some(method));
                    let hash = if is_by_method && crypt::verify(password, bare) == Some(true) {
                        // The salt of a hash that fits stays, so that the same run again changes nothing.
                        if let Ok(Strength::Weak(method)) = crypt::strength(bare) {
                            weak = Some(method);
                        }
                        bare.to_vec()
                    } else {
                        is_made = true;
                        crypt::hash(method, password)?.as_bytes().to_vec()
                    };
                    first.insert(hash.into()).clone()
                }
            };
            Ok(match wanted {
                Lock::Open => Some(hash),
                Lock::Locked if old.starts_with(b"!") && *hash == *bare => None,
                Lock::Locked => Some(lock(&hash)),
            })
        })?;
        if let Some(weak) = weak {
            outcome.notes.push(format!("the hash of '{}' fits and stays, but it is {weak}, which is weak", self.user));
        }
        if is_made {
            outcome.notes.push(format!("password of '{}' hashed with {}: {why}", self.user, method.name()));
        }
        Ok(shadow)
    }

    /// Replaces the second field of every line of the user's, where `change` gives another; everything else stays byte for
    /// byte.
    fn replace(&self, change: impl FnMut(&[u8]) -> Result<Option<Field>, CryptError>) -> Result<Field, InjectError> {
        let bad = |source| InjectError::BadPassword { user: self.user.to_owned(), source };
        let replaced = table::replace_field(self.shadow, self.user.as_bytes(), 1, change);
        replaced.map_err(bad)?.ok_or_else(|| InjectError::NoShadowEntry { user: self.user.to_owned() })
    }

    /// As `_set_passwd` of Nova: root, MD5-crypt, and a new salt each time.
    fn change_as_nova(&self) -> Result<Field, InjectError> {
        let Selector::Password(password) = self.selector else {
            return Err(InjectError::NotInNova { what: "set anything but a given password" });
        };
        if self.user != "root" {
            return Err(InjectError::NotInNova { what: "set the password of another user than root" });
        }
        self.replace(|_| {
            crypt::check(password.expose())?;
            let hash = crypt::md5_crypt(password.expose(), &crypt::nova_salt()?);
            Ok(Some(hash.as_bytes().to_vec().into()))
        })
    }
}

/// The field with the day on which the password was set.
const DAY: usize = 2;

/// Has a user choose another password at the next login, as `passwd --expire` does: by the day 0.
fn expire(user: &str, shadow: &[u8], outcome: &mut Outcome) -> Result<Field, InjectError> {
    let mut is_new = false;
    let changed = table::replace_field(shadow, user.as_bytes(), DAY, |old| {
        is_new |= old != b"0";
        Ok::<_, InjectError>((old != b"0").then(|| b"0".to_vec().into()))
    })?;
    let changed = changed.ok_or_else(|| InjectError::NoShadowEntry { user: user.to_owned() })?;
    if is_new {
        outcome.notes.push(format!("'{user}' has to choose another password at the next login"));
    }
    let hash = table::fields(shadow, user.as_bytes()).and_then(|fields| fields.get(1).copied()).unwrap_or_default();
    if hash.starts_with(b"!") || hash.starts_with(b"*") {
        outcome.notes.push(format!(
            "no password of '{user}' is valid, and none can be chosen without it, after a login by key neither; --password {user}:SELECTOR sets one"
        ));
    }
    Ok(changed)
}

/// A sentence on an account that has expired: PAM lets nobody in by any password then.
pub(super) fn expiry(user: &str, shadow: &[u8], now: Timestamp) -> Option<String> {
    let fields = table::fields(shadow, user.as_bytes())?;
    has_expired(&fields, now).then(|| {
        format!("the account of '{user}' has expired, so that nobody logs in to it; --expire {user}:never opens it")
    })
}

/// Whether the account is to be open to its password.
#[derive(Clone, Copy)]
enum Lock {
    Open,
    Locked,
}

fn lock(field: &[u8]) -> Field {
    [b"!", field].concat().into()
}

/// The method for a new hash, and why: what the user has, else what others of the guest have, else what login.defs says,
/// else what the distribution takes.
fn choose(guest: &Guest, shadow: &[u8], user: &str) -> (Method, String) {
    let fields = || {
        shadow.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.splitn(3, |byte| *byte == b':');
            let (name, hash) = (fields.next()?, fields.next()?);
            let bare = &hash[hash.iter().take_while(|byte| **byte == b'!').count()..];
            Some((name, Method::of(bare)?))
        })
    };
    let known = |name: &[u8]| guest.accounts.users.iter().flatten().any(|account| account.name == name);
    if let Some((_, method)) = fields().find(|(name, _)| *name == user.as_bytes()) {
        return (method, "the user's hash is".to_owned());
    }
    if let Some((name, method)) = fields().find(|(name, _)| known(name)) {
        return (method, format!("the hash of '{}' is", name.escape_ascii()));
    }
    if let Some(method) = guest.encrypt_method {
        return (method, "login.defs says so".to_owned());
    }
    let os = &guest.os;
    (distribution_method(os), format!("the default for {}", os.pretty_name))
}

/// yescrypt where every release from this one on has it.
fn distribution_method(os: &OsRelease) -> Method {
    let since = match os.id.as_str() {
        "debian" => (11, 0),
        "ubuntu" => (22, 4),
        "fedora" => (35, 0),
        _ => return Method::Sha512,
    };
    // Ubuntu writes 22.04, of which the minor number is 4.
    if os.version().is_some_and(|version| version >= since) { Method::Yescrypt } else { Method::Sha512 }
}

#[cfg(test)]
mod tests;
