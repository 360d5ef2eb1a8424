//! From the options typed to the injectors.

use super::faults::Faults;
use super::files::Places;
use super::injected::Injected;
use super::network::network;
use super::setting::Settings;
use super::{accounts, files, firstboot, manifest, seed, selector};
use crate::cli::{self, Order};
use crate::crypt::Method;
use crate::failure::Failure;
use crate::inject::authorized_keys;
use crate::inject::{
    Accounts, ChosenAccounts, Compat, FileOperation, Files, Firstboot, HostName, Hostname, Injector, Item, Keys,
    MadeKeys, Metadata, Net, Operation, Passwords, Script, Selector, Sysprep, Timezone, Zone,
};
use imgraft_vfs::fs::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest key, network or metadata file that is read, in bytes.
const TEXT_MAX: u64 = 1 << 20;

/// What can be done where two sources say what one of them may.
pub(super) const ONCE: &str = "say it once, in one manifest or in an option";

/// The injectors that the manifests and the options ask for, in the order of the items.
pub(super) fn injectors(
    typed: &cli::Inject,
    order: &Order,
    compat: Compat,
    now: Timestamp,
) -> Result<Vec<Box<dyn Injector>>, Failure> {
    let mut wanted = Wanted::default();
    for manifest in manifest::all(typed, now)? {
        wanted = wanted.join(manifest)?;
    }
    let wanted = wanted.join(Wanted::new(typed, order, compat, now)?)?.unlocked()?;
    match seed::existing(&typed.seed) {
        None => Ok(wanted.apart(compat, now, if typed.writing.dry_run { MadeKeys::Go } else { MadeKeys::Stay })),
        Some(existing) => wanted.into_seed(existing),
    }
}

/// What the options, the instance document, or a manifest ask for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// What is taken out before all else.
    pub sysprep: BTreeSet<Operation>,
    /// Users and groups.
    pub accounts: Option<Accounts>,
    /// Keys, each with its user.
    pub keys: Vec<(String, String)>,
    /// The network.
    pub network: Option<Net>,
    /// The host name.
    pub hostname: Option<HostName>,
    /// The time zone.
    pub zone: Option<Zone>,
    /// Further settings.
    pub settings: Settings,
    /// Metadata.
    pub metadata: Vec<(String, String)>,
    /// Passwords, each with its user.
    pub passwords: Vec<(String, Selector)>,
    /// How passwords are hashed, where that was asked for.
    pub method: Option<Method>,
    /// Users who have to choose another password.
    pub expired: Vec<String>,
    /// What is done to files.
    pub operations: Vec<FileOperation>,
    /// Where the items stand among that; before it where nothing is said.
    pub places: Places,
    /// Scripts for the first boot.
    pub scripts: Vec<Script>,
    /// The UUID of the instance document, where there is one.
    pub uuid: Option<String>,
    /// Whether that has user data.
    pub has_user_data: bool,
}

impl Wanted {
    fn new(typed: &cli::Inject, order: &Order, compat: Compat, now: Timestamp) -> Result<Self, Failure> {
        let instance =
            typed.instance.as_deref().map(|path| Injected::new(path, compat)).transpose()?.unwrap_or_default();
        let mut faults = Faults::default();
        let mut keys: Vec<(String, String)> = instance.key.map(|key| ("root".to_owned(), key)).into_iter().collect();
        for (user, lines) in faults.each("--ssh-inject", &typed.ssh_inject, key) {
            keys.extend(lines.into_iter().map(|line| (user.clone(), line)));
        }
        let network = faults.keep("", network(&typed.network, instance.network, compat)).flatten();
        let hostname = faults.last("--hostname", &typed.hostname, |typed| host_name("--hostname", typed));
        let zone = faults.last("--timezone", &typed.timezone, |typed| zone("--timezone", typed));
        let settings = Settings::new(&typed.setting, |option| format!("--{option}"), &mut faults);
        let mut metadata = instance.metadata;
        metadata.extend(match &typed.metadata_file {
            Some(path) => faults.keep("--metadata-file[0]", members(path)).unwrap_or_default(),
            None => {
                let mut given = BTreeSet::new();
                faults.each("--metadata", &typed.metadata, |typed| {
                    let (key, value) = pair("--metadata", typed)?;
                    match given.insert(key.clone()) {
                        true => Ok((key, value)),
                        false => Err(Failure::usage(format!("--metadata {}: the key is given twice", shorten(&key)))
                            .with_hint("give each key one value")),
                    }
                })
            }
        });
        let method = faults.last("--password-crypto", &typed.password_crypto, |typed| selector::method(*typed, compat));
        let mut operations = instance.files;
        let (typed_operations, mut places) = files::operations(typed, order, now, &mut faults);
        if !operations.is_empty() || compat == Compat::Nova {
            places.clear();
        }
        operations.extend(typed_operations);
        let scripts = firstboot::scripts(typed, order, &mut faults);
        let accounts = accounts::accounts(&typed.accounts, now, &mut faults);
        let expired = accounts::expired(&typed.accounts, &mut faults);
        let root = instance.password.map(|password| ("root".to_owned(), Selector::Password(password)));
        let mut passwords: Vec<(String, Selector)> = root.into_iter().collect();
        // Nobody is asked for a password while something else is wrong already.
        let is_asked = faults.is_empty();
        let password = |option: &str, user: &str, typed: &str| match is_asked || !selector::is_stdin(typed) {
            true => selector::parse(option, typed).map(|selector| Some((user.to_owned(), selector))),
            false => Ok(None),
        };
        let of_root = |typed: &str| password("--root-password", "root", typed);
        let of_user = |typed: &str| {
            let (user, rest) = typed.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or_else(|| {
                Failure::usage("--password: not USER:SELECTOR")
                    .with_hint("--password USER:file:PATH, or another selector")
            })?;
            password("--password", &accounts::user_name("--password", user)?, rest)
        };
        passwords.extend(faults.each("--root-password", typed.root_password.as_slice(), of_root).into_iter().flatten());
        passwords.extend(faults.each("--password", &typed.password, of_user).into_iter().flatten());
        let told = |place: &str, failure: Failure| {
            let failure = failure.within(place.split('[').next().unwrap_or_default());
            order.lines.get(place).into_iter().fold(failure, |failure, line| failure.within(line))
        };
        if let Some(failure) = faults.together(told) {
            return Err(failure);
        }
        let (uuid, has_user_data) = (instance.uuid, instance.has_user_data);
        Ok(Self {
            sysprep: BTreeSet::new(),
            accounts,
            keys,
            network,
            hostname,
            zone,
            settings,
            metadata,
            passwords,
            method,
            expired,
            operations,
            places,
            scripts,
            uuid,
            has_user_data,
        })
    }

    /// All that two sources ask for, the second one's after the first one's.
    fn join(self, other: Self) -> Result<Self, Failure> {
        Ok(Self {
            sysprep: self.sysprep.union(&other.sysprep).copied().collect(),
            accounts: accounts::join(self.accounts, other.accounts)?,
            keys: [self.keys, other.keys].concat(),
            network: single("the network", self.network, other.network)?,
            hostname: single("the host name", self.hostname, other.hostname)?,
            zone: single("the time zone", self.zone, other.zone)?,
            settings: self.settings.join(other.settings)?,
            metadata: [self.metadata, other.metadata].concat(),
            passwords: [self.passwords, other.passwords].concat(),
            method: self.method.or(other.method),
            expired: [self.expired, other.expired].concat(),
            // What a manifest says of files is no order among items, and comes first.
            places: if self.operations.is_empty() { other.places } else { Places::new() },
            operations: [self.operations, other.operations].concat(),
            scripts: [self.scripts, other.scripts].concat(),
            uuid: self.uuid.or(other.uuid),
            has_user_data: self.has_user_data || other.has_user_data,
        })
    }

    /// The same without the locks that a password of the run takes off: it is set after them, and they may have none behind them.
    fn unlocked(mut self) -> Result<Self, Failure> {
        let Some(accounts) = &mut self.accounts else { return Ok(self) };
        for (user, selector) in &self.passwords {
            let is_unlocked = accounts.unlocked.contains(user);
            if is_unlocked
                && matches!(
                    selector,
                    Selector::Locked | Selector::LockedPassword(_) | Selector::LockedRandom | Selector::LockedDisabled
                )
            {
                return Err(Failure::usage(format!(
                    "the password of '{}' is to be unlocked, and to be locked",
                    shorten(user)
                ))
                .with_hint("leave out --unlock (in a manifest: unlock), or locked in the selector of the password"));
            }
            if !matches!(selector, Selector::Disabled) {
                accounts.unlocked.retain(|unlocked| unlocked != user);
            }
        }
        self.accounts = self.accounts.filter(|accounts| !accounts.is_empty());
        Ok(self)
    }

    /// An injector for each item.
    fn apart(self, compat: Compat, now: Timestamp, made: MadeKeys) -> Vec<Box<dyn Injector>> {
        let Self {
            sysprep,
            accounts,
            keys,
            network,
            hostname,
            zone,
            settings,
            metadata,
            passwords,
            method,
            expired,
            operations,
            places,
            scripts,
            ..
        } = self;
        let mut injectors: Vec<Box<dyn Injector>> = Vec::new();
        if let Some(accounts) = accounts {
            injectors.push(Box::new(accounts));
        }
        if !keys.is_empty() {
            injectors.push(Box::new(Keys { keys, compat, now }));
        }
        if let Some(network) = network {
            injectors.push(Box::new(network));
        }
        if let Some(name) = hostname {
            injectors.push(Box::new(Hostname { name }));
        }
        if let Some(zone) = zone {
            injectors.push(Box::new(Timezone { zone }));
        }
        injectors.extend(settings.injectors(made));
        if !metadata.is_empty() {
            injectors.push(Box::new(Metadata { pairs: metadata, compat }));
        }
        if !passwords.is_empty() || !expired.is_empty() {
            injectors.push(Box::new(Passwords { users: passwords, method, expired, now, compat }));
        }
        if !scripts.is_empty() {
            injectors.push(Box::new(Firstboot { scripts }));
        }
        let taken =
            |operation| Box::new(Sysprep { operation, accounts: ChosenAccounts::default() }) as Box<dyn Injector>;
        sysprep.into_iter().map(taken).chain(in_order(injectors, operations, &places, compat)).collect()
    }
}

/// The injectors in the order of their items, with the operations on files where they stand among them.
fn in_order(
    injectors: Vec<Box<dyn Injector>>,
    mut operations: Vec<FileOperation>,
    places: &Places,
    compat: Compat,
) -> Vec<Box<dyn Injector>> {
    let place = |item: Item| match item {
        // As for virt-customize, and not for Nova.
        Item::Password if compat == Compat::Imgraft => operations.len(),
        item if item > Item::Files => usize::MAX,
        item => places.get(&item).copied().unwrap_or_default(),
    };
    let mut placed: Vec<_> = injectors.into_iter().map(|injector| (place(injector.item()), injector)).collect();
    let starts: BTreeSet<usize> = places.values().copied().chain([0]).collect();
    for start in starts.into_iter().rev() {
        let operations = operations.split_off(start);
        if !operations.is_empty() {
            placed.push((start, Box::new(Files { operations, compat })));
        }
    }
    placed.sort_by_key(|(place, injector)| (*place, injector.item()));
    placed.into_iter().map(|(_, injector)| injector).collect()
}

/// What one of two sources says.
pub(super) fn single<T>(what: &str, one: Option<T>, other: Option<T>) -> Result<Option<T>, Failure> {
    match (one, other) {
        (Some(_), Some(_)) => Err(Failure::usage(format!("{what} is given twice")).with_hint(ONCE)),
        (one, other) => Ok(one.or(other)),
    }
}

pub(super) fn host_name(option: &str, typed: &str) -> Result<HostName, Failure> {
    HostName::parse(typed).map_err(|reason| {
        let typed = if typed.is_empty() { "''".to_owned() } else { shorten(typed) };
        Failure::usage(format!("{option} {typed}: {reason}"))
    })
}

pub(super) fn zone(option: &str, typed: &str) -> Result<Zone, Failure> {
    Zone::parse(typed).ok_or_else(|| {
        Failure::usage(format!("{option} {}: no name of a time zone", shorten(typed)))
            .with_hint("Europe/Berlin, say, or UTC")
    })
}

fn key(typed: &str) -> Result<(String, Vec<String>), Failure> {
    let usage = |reason: &str| Failure::usage(format!("--ssh-inject {}: {reason}", shorten(typed)));
    let (user, selector) = if typed.starts_with("file:") || typed.starts_with("string:") {
        ("root", Some(typed))
    } else {
        match typed.split_once(':') {
            // Nothing after the colon is no selector, to virt-customize as well.
            Some((user, selector)) => (user, Some(selector).filter(|selector| !selector.is_empty())),
            None => (typed, None),
        }
    };
    if user.is_empty() {
        return Err(usage("the user is empty"));
    }
    let (text, of) = match selector {
        None => {
            let path = default_key().ok_or_else(|| {
                // The path of a key, typed where the user goes.
                let path = if user.contains('/') || user.ends_with(".pub") { user } else { "PATH" };
                let user = if path == user { "root" } else { user };
                usage("no key given, and none is there as ~/.ssh/id*.pub")
                    .with_hint(format!("--ssh-inject {user}:file:{path}"))
            })?;
            (read("--ssh-inject", &path)?, format!("{}, the newest of ~/.ssh/id*.pub: ", path.display()))
        }
        Some(selector) => match selector.split_once(':') {
            Some(("file", path)) => (read("--ssh-inject", Path::new(path))?, String::new()),
            Some(("string", key)) => (key.as_bytes().to_vec(), String::new()),
            _ => {
                return Err(usage("after USER comes file:PATH or string:KEY")
                    .with_hint(format!("--ssh-inject {user}:file:PATH")));
            }
        },
    };
    let lines = authorized_keys::parse(&text)
        .map_err(|error| Failure { hints: error.hint().into_iter().collect(), ..usage(&format!("{of}{error}")) })?;
    Ok((accounts::user_name("--ssh-inject", user)?, lines))
}

/// What was typed, cut where a whole key would fill the line.
pub(super) fn shorten(typed: &str) -> String {
    match typed.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &typed[..end]),
        None => typed.to_owned(),
    }
}

/// The key that is meant where none is named: the newest of ~/.ssh/id*.pub that is no certificate, as for ssh-copy-id(1) and virt-customize.
fn default_key() -> Option<PathBuf> {
    let keys = PathBuf::from(std::env::var_os("HOME")?).join(".ssh").read_dir().ok()?;
    let dated = keys.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let name = name.to_str()?;
        let is_key = name.starts_with("id") && name.ends_with(".pub") && !name.ends_with("-cert.pub");
        let metadata = entry.path().metadata().ok().filter(|metadata| is_key && metadata.is_file())?;
        Some((metadata.modified().ok()?, entry.path()))
    });
    dated.max().map(|(_, path)| path)
}

/// What is told where a key was not named.
pub(super) fn key_unasked(typed: &[String]) -> Option<String> {
    let is_unnamed = |typed: &&String| typed.split_once(':').is_none_or(|(_, selector)| selector.is_empty());
    let typed = typed.iter().find(is_unnamed)?;
    Some(format!(
        "--ssh-inject {}: the key is the newest of ~/.ssh/id*.pub, {}",
        shorten(typed),
        default_key()?.display()
    ))
}

/// The members of the JSON object in a file.
fn members(path: &Path) -> Result<Vec<(String, String)>, Failure> {
    let usage = |reason: String| Failure::usage(format!("--metadata-file {}: {reason}", path.display()));
    let bytes = read("--metadata-file", path)?;
    let object: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&bytes).map_err(|error| usage(format!("not a JSON object: {error}")))?;
    object
        .into_iter()
        .map(|(key, value)| match value {
            _ if key.is_empty() => Err(usage("a key is empty".to_owned())),
            serde_json::Value::String(value) => Ok((key, value)),
            _ => Err(usage(format!("the member {key:?} is not a string"))
                .with_hint("instance metadata are strings; put the value into quotes")),
        })
        .collect()
}

/// A key and its value.
pub(super) fn pair(option: &str, typed: &str) -> Result<(String, String), Failure> {
    match typed.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        // What was typed is not repeated: it may be a value.
        _ => {
            Err(Failure::usage(format!("{option}: not KEY=VALUE"))
                .with_hint("role=web, say; a value may be empty: role="))
        }
    }
}

pub(super) fn read(option: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |reason: String| Failure::usage(format!("{option}: {}: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(TEXT_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > TEXT_MAX {
        return Err(failed("larger than 1 MiB".to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_shown_as_it_would_be_typed() {
        let hint = |typed| key(typed).unwrap_err().hints.join("; ");
        assert_eq!(hint("debian:id.pub"), "--ssh-inject debian:file:PATH");
        if default_key().is_none() {
            assert_eq!(hint("debian"), "--ssh-inject debian:file:PATH");
            assert_eq!(hint("./id.pub"), "--ssh-inject root:file:./id.pub");
        }
    }
}
