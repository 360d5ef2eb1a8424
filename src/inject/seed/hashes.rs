//! Hashes of passwords for a guest that nothing is known of, and those of an earlier run.

use crate::config_drive::{Spelling, value};
use crate::crypt::{self, Method};
use crate::inject::passwords::{check_given, check_once};
use crate::inject::{InjectError, Outcome, Revealed, Selector};
use crate::secret::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

type Hash = Zeroizing<String>;

/// What every guest's libcrypt takes.
const METHOD: Method = Method::Sha512;

/// Per user the second field of shadow(5). The salt of a hash in `before` that fits stays, so that the same run again makes the same.
pub(super) fn hashes<'a>(
    wanted: &'a [(String, Selector)],
    method: Option<Method>,
    before: &[u8],
    outcome: &mut Outcome,
) -> Result<Vec<(&'a str, Hash)>, InjectError> {
    check_once(wanted)?;
    let mut hashes: Vec<(&str, Hash)> = Vec::with_capacity(wanted.len());
    let there = if wanted.is_empty() { Vec::new() } else { there(before) };
    for (user, selector) in wanted {
        let old = there.iter().find(|(name, _)| name == user).map(|(_, hash)| hash.as_str());
        hashes.push((user, hash(user, selector, method.unwrap_or(METHOD), old, outcome)?));
    }
    Ok(hashes)
}

fn hash(
    user: &str,
    selector: &Selector,
    method: Method,
    old: Option<&str>,
    outcome: &mut Outcome,
) -> Result<Hash, InjectError> {
    let bad = |source| InjectError::BadPassword { user: user.to_owned(), source };
    let of = |password: &[u8]| {
        crypt::check(password).map_err(bad)?;
        let old = old.map(|old| old.trim_start_matches('!')).filter(|old| Method::of(old.as_bytes()) == Some(method));
        match old.filter(|old| crypt::verify(password, old.as_bytes()) == Some(true)) {
            Some(old) => Ok(Hash::new(old.to_owned())),
            None => crypt::hash(method, password).map_err(bad),
        }
    };
    let locked = |hash: Hash| Hash::new(format!("!{}", hash.as_str()));
    let mut made_up = || {
        let password = crypt::random_password().map_err(bad)?;
        let hash = of(&password)?;
        outcome.revealed.push(Revealed { user: user.to_owned(), password: Secret::new(password.to_vec()) });
        Ok(hash)
    };
    match selector {
        Selector::Password(password) => of(password.expose()),
        Selector::LockedPassword(password) => of(password.expose()).map(locked),
        Selector::Random => made_up(),
        Selector::LockedRandom => made_up().map(locked),
        Selector::Disabled => Ok(Hash::new("*".to_owned())),
        Selector::LockedDisabled => Ok(Hash::new("!*".to_owned())),
        Selector::Hash(hash) => {
            check_given(user, hash, outcome)?;
            let text = std::str::from_utf8(hash.expose())
                .map_err(|_| InjectError::BadHash { user: user.to_owned(), reason: "it is no text in UTF-8" })?;
            Ok(Hash::new(text.to_owned()))
        }
        Selector::Locked => Err(InjectError::NotInSeed {
            what: format!("the lock of the password that '{}' has", user.escape_debug()),
            way: "give a password with the lock (locked:file:PATH), or disabled",
        }),
    }
}

/// The hashes of a cloud-config document, per user.
fn there(user_data: &[u8]) -> Vec<(String, Hash)> {
    let Some(config) = value(user_data, Spelling::Yaml).ok() else { return Vec::new() };
    let users = config.pointer("/chpasswd/users").and_then(Value::as_array).into_iter().flatten();
    let text = |user: &Value, key: &str| user.get(key).and_then(Value::as_str).map(str::to_owned);
    users.filter_map(|user| Some((text(user, "name")?, Hash::new(text(user, "password")?)))).collect()
}
