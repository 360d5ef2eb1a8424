//! Why an item cannot be injected, in the words of the domain.

mod hint;

pub use hint::no_room;

use super::accounts::AccountError;
use super::cloud_config::Undoing;
use super::files::FileError;
use super::host_keys::HostKeyError;
use super::locale::LocaleError;
use super::net::{Spelling, Unused};
use super::units::UnitError;
use crate::config_drive::DocumentError;
use crate::crypt::CryptError;
use crate::guest::{Guest, NoListener};
use crate::net::netplan::Newest;
use crate::net::render::Inexpressible;
use imgraft_vfs::path::GuestPath;
use std::error::Error as StdError;
use std::fmt;

/// Why an item cannot be injected. `Display` is one clause and holds no secret; [`hint`](Self::hint) is the way out.
#[derive(Debug)]
#[non_exhaustive]
pub enum InjectError {
    /// The guest's filesystem.
    Vfs(imgraft_vfs::Error),
    /// Users and groups cannot be made as they were asked for.
    Account(AccountError),
    /// The guest's passwd has no such user.
    NoSuchUser {
        /// Who was asked for.
        user: String,
        /// Who could have been meant: root and the people of the guest.
        known: Vec<String>,
    },
    /// The guest's group file has no such group.
    NoSuchGroup {
        /// Which was asked for.
        group: String,
    },
    /// The user's home directory is no place for keys.
    BadHome {
        /// Whose.
        user: String,
        /// What passwd says, escaped.
        home: String,
    },
    /// The place for a user's keys leads, by a link, to what is not the user's.
    ForeignPlace {
        /// Whose.
        user: String,
        /// The place for the keys.
        path: GuestPath,
        /// Where it leads.
        target: String,
    },
    /// What is there for a user's keys is another's, and would be taken from that one, or make keys of that one's the user's.
    OthersPlace {
        /// Whose the keys are.
        user: String,
        /// The user's number.
        uid: u32,
        /// What is there.
        path: GuestPath,
        /// What of it, a clause.
        why: String,
    },
    /// The place for a user's keys is one where others may have put something, or that the user cannot read.
    ExposedPlace {
        /// Whose.
        user: String,
        /// What is there, on the way to it.
        path: GuestPath,
        /// What is wrong with it, a clause.
        why: String,
        /// What makes it right, a clause.
        way: String,
    },
    /// The place for a user's keys is on a filesystem that keeps no owners and modes.
    OwnerlessPlace {
        /// Whose.
        user: String,
        /// The place for the keys.
        path: GuestPath,
    },
    /// sshd reads no file of keys that is the user's alone.
    NoPlaceForKeys {
        /// Whose.
        user: String,
        /// What of the configuration says so, a clause.
        reason: String,
    },
    /// A text that is no line of authorized_keys.
    BadKey {
        /// Why, a clause.
        reason: String,
    },
    /// Two password requests for one user.
    DuplicatePassword {
        /// Which user.
        user: String,
    },
    /// The guest has no shadow file.
    NoShadow {
        /// Whose password was to be set.
        user: String,
    },
    /// The user is in passwd and not in shadow.
    NoShadowEntry {
        /// Which user.
        user: String,
    },
    /// The password stands in passwd itself, where shadow is not consulted.
    PasswordInPasswd {
        /// Which user.
        user: String,
    },
    /// A password that crypt(3) cannot take, or that could not be hashed.
    BadPassword {
        /// Whose.
        user: String,
        /// Why.
        source: CryptError,
    },
    /// A given hash that is none.
    BadHash {
        /// Whose.
        user: String,
        /// Why, a clause.
        reason: &'static str,
    },
    /// The filesystem keeps no owners and modes, so that it is no guest's root.
    NoRoot,
    /// The filesystem is none where cloud-init looks for a seed.
    NoSeedPlace,
    /// A file of a seed is there, and says something else.
    SeedInTheWay {
        /// Which.
        path: GuestPath,
    },
    /// The network of an earlier seed is there, and this seed has none.
    SeedNetworkInTheWay {
        /// Where.
        path: GuestPath,
    },
    /// Something that a seed has no words for.
    NotInSeed {
        /// What, a noun.
        what: String,
        /// The way out.
        way: &'static str,
    },
    /// A description of a network that cannot be understood, for a seed.
    BadSeedNetwork(DocumentError),
    /// A network that cloud-init has no words for, for a seed.
    InexpressibleInSeed(Inexpressible),
    /// A network configuration in none of the known spellings.
    UnknownNetwork,
    /// A network configuration that lacks what its destination is named after, or is no text.
    BadNetwork {
        /// Its spelling, where that is known.
        spelling: Option<Spelling>,
        /// What is wrong, a clause.
        reason: &'static str,
    },
    /// The guest has nothing that reads this spelling.
    NoNetworkStack {
        /// The spelling.
        spelling: Spelling,
        /// What the guest has, by name.
        found: Vec<&'static str>,
    },
    /// The guest has what reads this spelling, and starts something else.
    NotStarted {
        /// The spelling.
        spelling: Spelling,
        /// What shows that it is there, a path.
        evidence: &'static str,
        /// What it starts, each with what shows it.
        listening: Vec<String>,
    },
    /// A device is to ask for an address by DHCP, and the guest's ifupdown has no program for that.
    NoDhcpClient {
        /// The id of the link.
        link: String,
        /// Whether it has one for IPv4, and what is missing is the one for IPv6.
        has_one: bool,
    },
    /// The guest does not have a time zone.
    NoSuchZone {
        /// Which.
        zone: String,
        /// Whether it has any.
        has_zones: bool,
    },
    /// The guest's time zone leads to /etc/localtime, and not to a zone.
    ZoneIsLocaltime {
        /// Which.
        zone: String,
    },
    /// A locale or a keymap that cannot be set.
    Locale(LocaleError),
    /// Host keys that cannot be made.
    HostKeys(HostKeyError),
    /// A unit of systemd's to which something cannot be done.
    Unit(UnitError),
    /// Something that only systemd knows, and the guest is started by another init.
    OnlySystemd {
        /// What, as it was typed.
        what: &'static str,
        /// The way out.
        way: &'static str,
    },
    /// What is put in is nothing to the guest after the rest of the run.
    Afterwards(Box<InjectError>),
    /// Nothing that is known would start a program at the guest's boot.
    NoStarter,
    /// Packages are to be installed, and nothing is there that could.
    NoPackageManager {
        /// What was looked for.
        managers: String,
    },
    /// A group of packages is to be installed, and the guest's package manager has no word for it.
    NoPackageGroups {
        /// The package manager.
        manager: &'static str,
    },
    /// More scripts wait for the first boot than can be put in order.
    TooManyScripts {
        /// Where.
        place: GuestPath,
    },
    /// A text in another spelling than that of the program that was chosen.
    OtherRenderer {
        /// The text's.
        spelling: Spelling,
        /// The program that was chosen.
        chosen: &'static str,
    },
    /// Nothing shows that the guest has a program started that configures the network.
    NoListener {
        /// Stacks that are there and that nothing starts.
        installed: Vec<&'static str>,
        /// Programs that are started and whose spelling imgraft does not have, each with what shows it.
        others: Vec<String>,
        /// Whether cloud-init runs.
        cloud_init: bool,
    },
    /// Several programs configure the network, and nothing shows which has the devices.
    SeveralListeners {
        /// Each with what shows it.
        found: Vec<String>,
    },
    /// A description of a network that cannot be understood.
    BadDescription(DocumentError),
    /// A configuration that the guest's program has no words for.
    Inexpressible(Inexpressible),
    /// A configuration that needs a part of a program which the guest does not have.
    MissingPart {
        /// The program.
        program: &'static str,
        /// The id of the link.
        link: String,
        /// What it does.
        what: &'static str,
        /// What has the part.
        package: &'static str,
    },
    /// A text that only newer versions of netplan read than the guest has.
    NetplanTooOld {
        /// What of the text they know.
        newest: Newest,
        /// The first two numbers of the version that the guest has.
        version: (u32, u32),
    },
    /// What would be written, and nothing that the guest starts would use.
    Unused(Unused),
    /// cloud-init is told by somebody else what to do with the network, and that counts for more.
    CloudInitInsists {
        /// The file that says it.
        path: String,
    },
    /// cloud-init would undo it, as its configuration says.
    CloudInitUndoes(Undoing),
    /// An operation on files.
    File(FileError),
    /// Nova cannot do it, so that its behaviour cannot be shown.
    NotInNova {
        /// What, a clause.
        what: &'static str,
    },
}

impl fmt::Display for InjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vfs(error) => error.fmt(f),
            Self::Account(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::NoSuchUser { user, .. } => write!(f, "no user '{}' in the guest", user.escape_debug()),
            Self::NoSuchGroup { group } => write!(f, "no group '{}' in the guest", group.escape_debug()),
            Self::BadHome { user, home } => {
                write!(f, "the home directory of '{}' cannot hold keys: '{home}'", user.escape_debug())
            }
            Self::ForeignPlace { user, path, target } => {
                write!(f, "{path}: a link to {target}, which does not belong to '{}'", user.escape_debug())
            }
            Self::ExposedPlace { user, path, why, .. } | Self::OthersPlace { user, path, why, .. } => {
                write!(f, "{path}: {why}; no key of '{}' is put there", user.escape_debug())
            }
            Self::OwnerlessPlace { user, path } => write!(
                f,
                "{path}: a FAT filesystem keeps no owners and modes, which sshd wants of the keys of '{}'",
                user.escape_debug()
            ),
            Self::NoPlaceForKeys { user, reason } => {
                write!(f, "the guest's sshd reads no file of keys for '{}' alone: {reason}", user.escape_debug())
            }
            Self::BadKey { reason } => write!(f, "not an ssh public key: {reason}"),
            Self::DuplicatePassword { user } => write!(f, "more than one password for '{}'", user.escape_debug()),
            Self::NoShadow { user } => {
                write!(f, "no /etc/shadow in the guest to hold the password of '{}'", user.escape_debug())
            }
            Self::NoShadowEntry { user } => write!(f, "no entry for '{}' in the guest's shadow", user.escape_debug()),
            Self::PasswordInPasswd { user } => {
                write!(f, "the guest does not look into shadow for '{}'", user.escape_debug())
            }
            Self::BadPassword { user, .. } => write!(f, "the password of '{}' cannot be set", user.escape_debug()),
            Self::BadHash { user, reason } => {
                write!(f, "not a password hash, for '{}': {reason}", user.escape_debug())
            }
            Self::NoRoot => f.write_str("it is for a guest's root filesystem, and this is FAT, which cannot be one"),
            Self::NoSeedPlace => f.write_str("a seed lies on a FAT volume, where cloud-init looks for it, and this is none"),
            Self::SeedInTheWay { path } => write!(f, "{path} is there already, and is not what these options make"),
            Self::SeedNetworkInTheWay { path } => {
                write!(f, "{path} of an earlier seed is there, and cloud-init would take it for the network of this one")
            }
            Self::NotInSeed { what, .. } => write!(f, "a seed has no place for {what}"),
            Self::UnknownNetwork => f.write_str("the network configuration is in no known spelling"),
            Self::BadNetwork { spelling: Some(spelling), reason } => {
                write!(f, "the network configuration ({}) cannot be used: {reason}", spelling.name())
            }
            Self::BadNetwork { spelling: None, reason } => {
                write!(f, "the network configuration cannot be used: {reason}")
            }
            Self::NoNetworkStack { spelling, .. } => {
                write!(f, "nothing in the guest reads a network configuration of {}", spelling.name())
            }
            Self::NotStarted { spelling, evidence, .. } => write!(
                f,
                "nothing that the guest starts reads a network configuration of {}: {evidence} is there, but nothing starts it",
                spelling.name()
            ),
            Self::NoDhcpClient { link, has_one: false } => write!(
                f,
                "the link {link:?} asks for its address by DHCP, and the guest's ifupdown has no program for that: none of dhclient, \
                 dhcpcd, udhcpc and pump is there"
            ),
            Self::NoDhcpClient { link, has_one: true } => write!(
                f,
                "the link {link:?} asks for its address by DHCPv6, and the guest's ifupdown has no program for that: it asks dhclient only, \
                 which is not there"
            ),
            Self::NoSuchZone { zone, .. } => write!(f, "the guest has no time zone {zone}"),
            Self::ZoneIsLocaltime { zone } => {
                write!(f, "the guest's time zone {zone} is a link to /etc/localtime, which cannot lead to itself")
            }
            Self::Locale(error) => error.fmt(f),
            Self::HostKeys(error) => error.fmt(f),
            Self::Unit(error) => error.fmt(f),
            Self::OnlySystemd { what, .. } => write!(f, "{what} is for systemd, and another init starts the guest"),
            Self::Afterwards(error) => write!(f, "with what comes after it in this run, {error}"),
            Self::NoStarter => {
                f.write_str("the guest has neither systemd nor OpenRC nor the directories of sysvinit, to start scripts at its boot")
            }
            Self::NoPackageManager { managers } => {
                write!(f, "packages cannot be installed: the guest has none of {managers}")
            }
            Self::NoPackageGroups { manager } => {
                write!(f, "the guest's package manager, {manager}, knows no groups of packages (@NAME)")
            }
            Self::TooManyScripts { place } => write!(f, "{place}: more than 9999 scripts wait there already"),
            Self::OtherRenderer { spelling, chosen } => {
                write!(f, "the network configuration is one of {}, not of {chosen}", spelling.name())
            }
            Self::NoListener { .. } => f.write_str("nothing shows which program configures the guest's network"),
            Self::SeveralListeners { found } => {
                write!(
                    f,
                    "several programs configure the guest's network, and nothing shows which has the devices: {}",
                    found.join("; ")
                )
            }
            Self::BadDescription(error) | Self::BadSeedNetwork(error) => write!(f, "the network configuration cannot be understood: {error}"),
            Self::Inexpressible(error) | Self::InexpressibleInSeed(error) => error.fmt(f),
            Self::MissingPart { program, link, what, .. } => {
                write!(f, "the link {link:?} is {what}, and the guest's {program} cannot make it")
            }
            Self::CloudInitInsists { path } => {
                write!(f, "{path} tells the guest's cloud-init what to do with the network, and that holds")
            }
            Self::CloudInitUndoes(undoing) => undoing.fmt(f),
            Self::NetplanTooOld { newest, version: (major, minor) } => {
                write!(f, "{newest}, and the guest has {major}.{minor}")
            }
            Self::Unused(unused) => unused.fmt(f),
            Self::NotInNova { what } => write!(f, "Nova cannot do this: {what}"),
        }
    }
}

impl InjectError {
    pub(super) fn no_listener(reason: &NoListener, guest: &Guest) -> Self {
        match reason {
            NoListener::NoneEnabled => Self::NoListener {
                installed: guest.network.stacks.iter().map(|state| state.stack.name()).collect(),
                others: guest.network.others.iter().map(|o| format!("{} ({})", o.name, o.enabled_by)).collect(),
                cloud_init: guest.network.cloud_init.is_some(),
            },
            NoListener::Several(several) => Self::SeveralListeners {
                found: several.iter().map(|(stack, by)| format!("{} ({by})", stack.name())).collect(),
            },
        }
    }
}

impl StdError for InjectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            // `Display` is the error's own, so that its source is ours.
            Self::Vfs(error) => error.source(),
            Self::BadPassword { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<imgraft_vfs::Error> for InjectError {
    fn from(error: imgraft_vfs::Error) -> Self {
        Self::Vfs(error)
    }
}

impl From<HostKeyError> for InjectError {
    fn from(error: HostKeyError) -> Self {
        Self::HostKeys(error)
    }
}

impl From<AccountError> for InjectError {
    fn from(error: AccountError) -> Self {
        Self::Account(error)
    }
}
