//! The things that can be put into a guest: each describes its changes on the stage, none writes.
//!
//! Every injector ends with [`label::label_new`], so that what it made carries the label of the guest's policy.

mod accounts;
pub mod authorized_keys;
mod cloud_config;
mod earlier;
mod error;
mod files;
mod firstboot;
pub mod fitting;
mod host_keys;
mod hostname;
mod keys;
mod label;
mod locale;
mod machine_id;
mod metadata;
mod net;
mod passwords;
mod premise;
mod presets;
mod rc_local;
mod reader;
mod seed;
mod sshd;
pub mod staging;
mod sysprep;
mod table;
mod timezone;
mod units;
mod variables;

#[cfg(test)]
mod testing;

pub use accounts::{
    AccountError, AccountName, Accounts, Day, Expiry, HomeDirectory, Kind, NewGroup, NewUser, SudoAsks, Sudoer,
};
pub use earlier::Earlier;
pub use error::{InjectError, no_room};
pub use files::{
    Expected, FileError, FileMode, FileOperation, Files, HostEntry, HostKind, HostNames, HostTree, PathPattern,
    Substitution, alternatives,
};
pub use firstboot::{Firstboot, Needs, Script};
pub use host_keys::{HostKeyError, HostKeys, MadeKeys};
pub use hostname::{HostName, Hostname};
pub use keys::Keys;
pub use locale::{Locale, LocaleError, SettingName};
pub use machine_id::MachineId;
pub use metadata::Metadata;
pub use net::{Choice, Described, Net, Spelling, Unused};
pub use passwords::{Passwords, Selector};
pub use premise::Premise;
pub use reader::Reader;
pub use seed::{ExistingSeed, PasswordExpiry, Seed};
pub use sysprep::{ChosenAccounts, Operation, Sysprep, Usage};
pub use timezone::{Timezone, Zone};
pub use units::{UnitError, UnitName, Units};

use crate::guest::Guest;
use crate::secret::Secret;
use imgraft_vfs::fs::Attrs;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::fmt;

/// The items in the order of injection: accounts before what is about them, Nova's five in Nova's order, and what a guest is called,
/// what it is known by and where it stands before its metadata.
/// Files that options ask for have their places among these as they were typed. A seed comes last, so that it sees what else is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Item {
    Accounts,
    Key,
    Net,
    Hostname,
    HostKeys,
    Timezone,
    Locale,
    MachineId,
    Metadata,
    Password,
    Files,
    Units,
    Firstboot,
    Seed,
    /// One of sysprep's operations, which are items of their own.
    Operation(Operation),
}

impl Item {
    /// All items that are put in, in order.
    pub const ALL: [Self; 14] = [
        Self::Accounts,
        Self::Key,
        Self::Net,
        Self::Hostname,
        Self::HostKeys,
        Self::Timezone,
        Self::Locale,
        Self::MachineId,
        Self::Metadata,
        Self::Password,
        Self::Files,
        Self::Units,
        Self::Firstboot,
        Self::Seed,
    ];

    /// The name that the command line and the report use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Key => "key",
            Self::Net => "net",
            Self::Hostname => "hostname",
            Self::HostKeys => "host-keys",
            Self::Timezone => "timezone",
            Self::Locale => "locale",
            Self::MachineId => "machine-id",
            Self::Metadata => "metadata",
            Self::Password => "password",
            Self::Files => "files",
            Self::Units => "units",
            Self::Firstboot => "firstboot",
            Self::Seed => "seed",
            Self::Operation(operation) => operation.name(),
        }
    }

    /// What it is called where it is spoken of.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Operation(_) => "operation",
            _ => "item",
        }
    }
}

/// Whose behaviour to show where ours differs on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Ours.
    #[default]
    Imgraft,
    /// Nova's, byte for byte, harmful quirks included.
    Nova,
}

/// One thing to put into a guest.
pub trait Injector: fmt::Debug {
    /// Which item it is.
    fn item(&self) -> Item;

    /// Puts the changes on the stage; on error the caller goes back to the savepoint before it.
    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError>;

    /// The same after other items of the run, of which an item that could undo them takes care.
    fn stage_after(&self, _earlier: &Earlier, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        self.stage(guest, stage)
    }
}

/// What an injector has to say beside its changes.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the user should know, a sentence each (which policy gave the label, which hash was chosen and why).
    pub notes: Vec<String>,
    /// Passwords that were made up and are to be shown once.
    pub revealed: Vec<Revealed>,
    /// Who reads what the item needs, and takes it by owner and mode.
    pub readers: Vec<(GuestPath, Reader)>,
    /// What has to stay so for the guest to use what the item has put in.
    pub premises: Vec<Premise>,
    /// What the guest is called from now on, where that was asked for.
    pub host_name: Option<HostName>,
}

/// A password that was made up for a user.
#[derive(Debug)]
pub struct Revealed {
    /// Whose it is.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// An item to inject.
#[derive(Debug)]
pub struct Request {
    /// What to do.
    pub injector: Box<dyn Injector>,
    /// Whether a failure of this item fails the run; otherwise it is rolled back and reported.
    pub required: bool,
}

/// The attributes of what Nova makes: root's, and as libguestfs' umask leaves it.
const ROOT_FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
const ROOT_DIR: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
/// The largest file of the guest's that an injector reads to change it.
const READ_LIMIT: u64 = 8 * 1024 * 1024;
