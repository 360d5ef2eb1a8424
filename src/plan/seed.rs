//! The items that become a seed for cloud-init, where one was asked for.

use super::items::Wanted;
use crate::cli;
use crate::failure::Failure;
use crate::inject::{Accounts, Compat, ExistingSeed, FileOperation, Files, Injector, PasswordExpiry, Seed, Selector};

/// What becomes of a seed that is there; `None` where no seed was asked for.
pub(super) fn existing(typed: &cli::Seed) -> Option<ExistingSeed> {
    let cli::SeedKind::Nocloud = typed.seed?;
    Some(if typed.replace_seed { ExistingSeed::Replaced } else { ExistingSeed::Refused })
}

/// Fails where an item is to be optional that is a part of the seed, which is there as a whole or not at all.
pub(super) fn check_optional(typed: &cli::Inject) -> Result<(), Failure> {
    let is_part = |name: &&cli::ItemName| !matches!(name, cli::ItemName::Files | cli::ItemName::Seed);
    match typed.optional.iter().find(is_part) {
        Some(name) if typed.seed.seed.is_some() => {
            let name = super::item_of(*name).name();
            Err(Failure::usage(format!("--optional {name}: with --seed it is a part of the item seed"))
                .with_hint("--optional seed makes all of the seed optional"))
        }
        _ => Ok(()),
    }
}

impl Wanted {
    /// One injector for all that becomes a seed, and one for the files beside it.
    pub(super) fn into_seed(self, existing: ExistingSeed) -> Result<Vec<Box<dyn Injector>>, Failure> {
        if self.has_user_data {
            let message = "--seed: the instance document has user data, and that of a seed is made of the items";
            return Err(Failure::usage(message).with_hint("leave user_data out of the document"));
        }
        self.settings.check_none()?;
        if !self.sysprep.is_empty() {
            return Err(Failure::usage("--seed: what sysprep takes out of a guest has no place in a seed")
                .with_hint("a run of its own, imgraft sysprep, does it"));
        }
        let (opened, accounts) = match self.accounts {
            Some(mut accounts) => (std::mem::take(&mut accounts.opened), Some(accounts)),
            None => (Vec::new(), None),
        };
        if let Some(accounts) = accounts.filter(|accounts| !accounts.is_empty()) {
            let rest = Accounts { locked: Vec::new(), ..accounts.clone() };
            if let (Some(user), true) = (accounts.locked.first(), rest.is_empty()) {
                return Err(Failure::usage(format!(
                    "--seed: a seed has no place for the lock of the password that '{user}' has"
                ))
                .with_hint("lock_passwd: false has it unlocked"));
            }
            return Err(Failure::usage("--seed: users and groups have no place in a seed").with_hint(
                "--firstboot-command 'useradd …' makes them at the first boot; without --seed they go into the guest's own files",
            ));
        }
        let Self {
            expired, keys, network, hostname, zone, metadata, passwords, method, operations, scripts, uuid, ..
        } = self;
        // cloud-init has one word on it for all passwords.
        let asked = |(user, _): &(String, Selector)| expired.contains(user);
        let has_password = |user: &String| passwords.iter().any(|(of, _)| of == user);
        let are_same = passwords.iter().all(asked) && expired.iter().all(has_password);
        if !expired.is_empty() && !are_same {
            return Err(Failure::usage("--seed: a seed asks all users for other passwords that it gives one, or none")
                .with_hint("--firstboot-command 'passwd --expire USER' does it for some at the first boot"));
        }
        let expiry = if expired.is_empty() { PasswordExpiry::Never } else { PasswordExpiry::AtOnce };
        let network = network.map(|network| network.network);
        let instance_id = uuid;
        let files = operations.iter().filter_map(FileOperation::written).cloned().collect();
        let seed = Seed {
            instance_id,
            keys,
            network,
            hostname,
            zone,
            metadata,
            passwords,
            opened,
            method,
            scripts,
            existing,
            expiry,
            files,
        };
        if seed.is_empty() {
            return Err(Failure::usage("--seed: there is nothing to be put into a seed").with_hint(
                "--ssh-inject and --hostname, say, put something in; files go onto the volume without --seed",
            ));
        }
        let mut injectors: Vec<Box<dyn Injector>> = Vec::new();
        if !operations.is_empty() {
            injectors.push(Box::new(Files { operations, compat: Compat::Imgraft }));
        }
        injectors.push(Box::new(seed));
        Ok(injectors)
    }
}
