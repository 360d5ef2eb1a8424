//! The items as a seed of cloud-init's NoCloud, for a guest of which only a boot partition can be written to.
//!
//! `user-data`, `meta-data` and `network-config` lie in the root of a FAT volume; the guest's own cloud-init does the rest at its
//! first boot (cloud-init's documentation, "NoCloud" and "Module reference").

mod cloud_config;
mod hashes;
#[cfg(test)]
mod tests;

use super::authorized_keys::check;
use super::{Described, HostName, InjectError, Injector, Item, Outcome, READ_LIMIT, ROOT_FILE, Script, Selector, Zone};
use crate::config_drive::MetaData;
use crate::crypt::Method;
use crate::guest::Guest;
use crate::net::render::{self, HEAD, is_ours};
use crate::yaml;
use cloud_config::CloudConfig;
use imgraft_vfs::fs::{Content, FileType, Ownership};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::{Savepoint, Stage};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use zeroize::Zeroizing;

const USER_DATA: &str = "/user-data";
const META_DATA: &str = "/meta-data";
const NETWORK_CONFIG: &str = "/network-config";
/// What cloud-init reads beside these three, and no item becomes.
const VENDOR_DATA: &str = "/vendor-data";
/// The longest script that is one argument of a program (MAX_ARG_STRLEN of Linux, its NUL not counted), in bytes.
const SCRIPT_MAX: usize = (128 << 10) - 1;
/// What comes before a script of the shell that cloud-init is given as a command.
const SHELL: &[u8] = b"#!/bin/sh\n";

/// The items of a seed.
#[derive(Debug, Default)]
pub struct Seed {
    /// The instance's id; without one it is made of what the seed says, so that a guest does a changed one anew.
    pub instance_id: Option<String>,
    /// Per user name: the lines for authorized_keys, validated, without a line end.
    pub keys: Vec<(String, String)>,
    /// The network.
    pub network: Option<Described>,
    /// The host name.
    pub hostname: Option<HostName>,
    /// The time zone.
    pub zone: Option<Zone>,
    /// Metadata, in order; a later equal key wins.
    pub metadata: Vec<(String, String)>,
    /// Per user name what the password is to be.
    pub passwords: Vec<(String, Selector)>,
    /// Users of whose passwords, if they have any, a lock is taken off.
    pub opened: Vec<String>,
    /// How they are hashed; `None` for what every guest takes.
    pub method: Option<Method>,
    /// When they have to be replaced.
    pub expiry: PasswordExpiry,
    /// What is run once at the first boot, in order.
    pub scripts: Vec<Script>,
    /// What becomes of a seed that is there.
    pub existing: ExistingSeed,
    /// The files that the same run puts onto the volume by their paths: they are no earlier seed's.
    pub files: Vec<GuestPath>,
}

/// When passwords have to be replaced by those whose they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordExpiry {
    /// When their ages say so.
    #[default]
    Never,
    /// At the next login.
    AtOnce,
}

/// What becomes of a seed that is there and says something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExistingSeed {
    /// It stays, and the item fails.
    #[default]
    Refused,
    /// It gives way.
    Replaced,
}

impl Injector for Seed {
    fn item(&self) -> Item {
        Item::Seed
    }

    fn stage(&self, _: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        if let Ownership::Kept = stage.ownership(&GuestPath::parse("/")?)? {
            return Err(InjectError::NoSeedPlace);
        }
        let mut outcome = Outcome::default();
        let savepoint = stage.savepoint();
        let before = stage.read(&GuestPath::parse(USER_DATA)?, READ_LIMIT)?.map(Zeroizing::new);
        let user_data = self.user_data(before.as_deref().map(Vec::as_slice), &mut outcome)?;
        let network = self.network.as_ref().map(network_config).transpose()?;
        let meta_data = self.meta_data(&user_data, network.as_deref().unwrap_or_default());
        self.put(USER_DATA, user_data.as_bytes(), stage)?;
        self.put(META_DATA, meta_data.as_bytes(), stage)?;
        match network {
            Some(network) => self.put(NETWORK_CONFIG, network.as_bytes(), stage)?,
            None => self.without_network(&savepoint, stage, &mut outcome)?,
        }
        if is_file(&GuestPath::parse(VENDOR_DATA)?, stage)? {
            outcome.notes.push(is_read_too(VENDOR_DATA));
        }
        self.remark(&mut outcome);
        Ok(outcome)
    }
}

impl Seed {
    /// Whether there is nothing that it would say.
    pub fn is_empty(&self) -> bool {
        let Self {
            instance_id: _,
            keys,
            network,
            hostname,
            zone,
            metadata,
            passwords,
            opened,
            method: _,
            expiry: _,
            scripts,
            existing: _,
            files: _,
        } = self;
        keys.is_empty()
            && metadata.is_empty()
            && passwords.is_empty()
            && opened.is_empty()
            && scripts.is_empty()
            && (network.is_none() && hostname.is_none() && zone.is_none())
    }

    /// The text of `user-data`. `before` is that of an earlier run, whose hashes stay where they fit.
    fn user_data(&self, before: Option<&[u8]>, outcome: &mut Outcome) -> Result<Zeroizing<String>, InjectError> {
        for (_, line) in &self.keys {
            check(line)?;
        }
        self.users().try_for_each(check_user)?;
        let config = CloudConfig {
            keys: &self.keys,
            hashes: hashes::hashes(&self.passwords, self.method, before.unwrap_or_default(), outcome)?,
            opened: &self.opened,
            expiry: self.expiry,
            keeps_hosts: self.hostname.is_some(),
            zone: self.zone.as_ref().map(Zone::name),
            commands: self.scripts.iter().map(command).collect::<Result<_, _>>()?,
        };
        Ok(config.render())
    }

    /// The text of `meta-data`, beside these texts of the other two.
    fn meta_data(&self, user_data: &str, network: &str) -> String {
        let mut data = MetaData {
            local_hostname: self.hostname.as_ref().map(|name| name.name().to_owned()),
            meta: self.metadata.clone(),
            ..MetaData::default()
        };
        data.instance_id = self.instance_id.clone().unwrap_or_else(|| {
            let rest = yaml::flow(&data.to_json());
            let mut id = String::from("imgraft-");
            for byte in digest(&[user_data, network, &rest]).iter().take(16) {
                let _ = write!(id, "{byte:02x}");
            }
            id
        });
        HEAD.to_owned() + &yaml::block(&data.to_json())
    }

    /// Puts a file into the root of the volume, unless it is there as it would be.
    fn put(&self, path: &str, text: &[u8], stage: &mut Stage<'_>) -> Result<(), InjectError> {
        let path = GuestPath::parse(path)?;
        match stage.read(&path, READ_LIMIT)?.map(Zeroizing::new) {
            Some(there) if *there == text => return Ok(()),
            Some(_) if self.existing == ExistingSeed::Refused => return Err(InjectError::SeedInTheWay { path }),
            _ => {}
        }
        Ok(stage.write(&path, Content::bytes(text), ROOT_FILE)?)
    }

    /// What becomes of a network that is there where this seed, which is another instance, has none. That of an earlier seed goes with
    /// it, or stays with all of it.
    fn without_network(
        &self,
        before: &Savepoint,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let path = GuestPath::parse(NETWORK_CONFIG)?;
        if !is_file(&path, stage)? {
            return Ok(());
        }
        let mut names = self.files.iter().map(|file| file.to_string());
        let is_new = names.any(|name| name.eq_ignore_ascii_case(NETWORK_CONFIG));
        if !is_new && stage.read(&path, READ_LIMIT)?.map(Zeroizing::new).is_some_and(|text| is_ours(&text)) {
            if self.existing == ExistingSeed::Replaced {
                return Ok(stage.remove(&path)?);
            }
            if !stage.changes_since(before)?.is_empty() {
                return Err(InjectError::SeedNetworkInTheWay { path });
            }
        }
        outcome.notes.push(is_read_too(NETWORK_CONFIG));
        Ok(())
    }

    /// What cloud-init makes of it that is not plain to see.
    fn remark(&self, outcome: &mut Outcome) {
        let has_password = |user: &str| self.passwords.iter().any(|(name, _)| name == user);
        let keyed: BTreeSet<&str> =
            self.keys.iter().map(|(user, _)| user.as_str()).filter(|user| !has_password(user)).collect();
        if !keyed.is_empty() {
            let users = keyed.iter().map(|user| format!("'{user}'")).collect::<Vec<_>>().join(", ");
            outcome.notes.push(format!("cloud-init locks the password of whoever gets a key and no password: {users}"));
        }
        if self.users().any(|user| user != "root") {
            outcome
                .notes
                .push("a user whom the guest does not have is made by its cloud-init, without sudo".to_owned());
        }
    }

    /// Who gets a key or a password, once for each.
    fn users(&self) -> impl Iterator<Item = &str> {
        let with_password = self.passwords.iter().map(|(user, _)| user.as_str());
        self.keys.iter().map(|(user, _)| user.as_str()).chain(with_password)
    }
}

/// Whether there is something at a path that cloud-init can read.
fn is_file(path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    Ok(stage.metadata(path)?.is_some_and(|metadata| metadata.file_type == FileType::Regular))
}

/// What is to be told of a file that is no part of the seed.
fn is_read_too(path: &str) -> String {
    format!("{path} is there, and is not made by these options: it stays, and cloud-init reads it too")
}

/// A digest of texts, of which none can take a part of another.
fn digest(texts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        digest.update(text.as_bytes());
    }
    digest.finalize().into()
}

/// Fails for what useradd(8) and the lines of chpasswd(8) do not take, or take for something else.
fn check_user(user: &str) -> Result<(), InjectError> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || ":/,".contains(c);
    if user.is_empty() || user.starts_with('-') || user.contains(is_odd) || user == "default" {
        return Err(InjectError::NotInSeed {
            what: format!("a user called '{}'", user.escape_debug()),
            way: "give the name that the user has in the guest",
        });
    }
    Ok(())
}

/// A script as an argument of `sh -c`.
fn command(script: &Script) -> Result<&str, InjectError> {
    let text = script.text.strip_prefix(SHELL).and_then(|text| std::str::from_utf8(text).ok());
    let text = text.filter(|text| text.len() <= SCRIPT_MAX && !text.contains('\0'));
    text.map(|text| text.strip_suffix('\n').unwrap_or(text)).ok_or_else(|| InjectError::NotInSeed {
        what: format!("the script {}, which is not one of /bin/sh of less than 128 KiB", script.name),
        way: "--upload puts it onto the volume, and --firstboot-command runs it from where the guest has that mounted",
    })
}

/// The text of `network-config`.
fn network_config(network: &Described) -> Result<String, InjectError> {
    let config = match network {
        Described::Config(config) | Described::Either { config: Ok(config), .. } => config,
        Described::Either { config: Err(error), .. } => return Err(InjectError::BadSeedNetwork(error.clone())),
        Described::Text(_) => {
            return Err(InjectError::NotInSeed {
                what: "a network in the words of one program".to_owned(),
                way: "describe it: as netplan, network-config or network_data.json, or by --ip, --dhcp and --nic",
            });
        }
    };
    let document = render::network_config(config).map_err(InjectError::InexpressibleInSeed)?;
    Ok(HEAD.to_owned() + &yaml::block(&document))
}
