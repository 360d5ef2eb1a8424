//! Why an item cannot be injected, in the words of the domain.

use super::accounts::AccountError;
use super::files::FileError;
use super::host_keys::HostKeyError;
use super::locale::LocaleError;
use super::net::Spelling;
use super::units::UnitError;
use crate::config_drive::DocumentError;
use crate::crypt::CryptError;
use crate::guest::{Guest, NoListener};
use crate::net::netplan::Newest;
use crate::net::render::Inexpressible;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::{ErrorKind, Layer, shell};
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
    /// The place for a user's keys is on a filesystem that keeps no owners and modes.
    OwnerlessPlace {
        /// Whose.
        user: String,
        /// The place for the keys.
        path: GuestPath,
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
    },
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
    /// cloud-init is told by somebody else what to do with the network, and that counts for more.
    CloudInitInsists {
        /// The file that says it.
        path: String,
    },
    /// An operation on files.
    File(FileError),
    /// Nova cannot do it, so that its behaviour cannot be shown.
    NotInNova {
        /// What, a clause.
        what: &'static str,
    },
}

impl InjectError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Vfs(error) => error.hint().map(str::to_owned).or_else(|| room_for(error)),
            Self::File(error) => error.hint(),
            Self::Account(error) => error.hint(),
            Self::NoSuchUser { known, .. } if known.is_empty() => Some("the guest has no passwd file".to_owned()),
            Self::NoSuchUser { known, .. } => Some(format!("users of the guest: {}", known.join(", "))),
            Self::NoSuchGroup { .. } => Some("give the group's number, or a name that the guest has".to_owned()),
            Self::BadHome { .. } => Some("write the key to where the guest's sshd looks, with --write".to_owned()),
            Self::ForeignPlace { path, .. } => Some(format!("find out who made the link, and remove it: {path}")),
            Self::OwnerlessPlace { path, .. } => Some(format!(
                "whether sshd takes keys there is up to the options of the mount: --write {path}:KEY puts the file there all the same"
            )),
            Self::BadKey { .. } => {
                Some("give the public key, as it stands in a .pub file: [options] type base64 [comment]".to_owned())
            }
            Self::DuplicatePassword { user } => Some(format!("give one password for '{user}'")),
            Self::NoShadow { .. } => Some("make /etc/shadow in the guest first (pwconv)".to_owned()),
            Self::NoShadowEntry { .. } => Some("add the user's line to /etc/shadow first (pwconv)".to_owned()),
            Self::PasswordInPasswd { .. } => Some("put 'x' into the second field of its passwd line".to_owned()),
            Self::BadHash { .. } => Some("make one with: mkpasswd -m yescrypt, or openssl passwd -6".to_owned()),
            Self::NoRoot => Some(
                "choose the root filesystem with --partition; or add --seed nocloud, and the guest's cloud-init reads it from this \
                 volume and does it"
                    .to_owned(),
            ),
            Self::NoSeedPlace => Some(
                "choose the guest's FAT boot partition with --partition, or leave --seed out to have the items in the guest's \
                 own files"
                    .to_owned(),
            ),
            Self::SeedInTheWay { path } => Some(format!(
                "--replace-seed puts the new one in its place, and so does --delete {path} of that one file; `imgraft cat IMAGE \
                 --partition N {path}` shows what there is, with the N of this run"
            )),
            Self::SeedNetworkInTheWay { path } => Some(format!(
                "--replace-seed removes it, and so does --delete {path}; `imgraft cat IMAGE --partition N {path}` shows what \
                 there is, with the N of this run"
            )),
            Self::NotInSeed { way, .. } => Some((*way).to_owned()),
            Self::BadSeedNetwork(_) => Some(AS_IT_STANDS.to_owned()),
            Self::InexpressibleInSeed(_) => {
                Some(format!("name the device with --nic where that is what is missing; {AS_IT_STANDS}"))
            }
            Self::UnknownNetwork => {
                let known: Vec<_> = Spelling::ALL.iter().map(|spelling| spelling.name()).collect();
                Some(format!("known spellings: {}", known.join("; ")))
            }
            Self::NoNetworkStack { found, .. } if found.is_empty() => {
                Some("no network stack was found in the guest; to put the file there all the same, use --upload".into())
            }
            Self::NoNetworkStack { found, .. } => Some(format!("the guest has {}", found.join(", "))),
            Self::NotStarted { spelling, listening, .. } => Some(format!(
                "the guest starts {}; a description of the network, in netplan's words say, is compiled for what it starts; \
                 --network-renderer {} puts this text there all the same",
                listening.join("; "),
                spelling.0.choice()
            )),
            Self::NoDhcpClient { .. } => Some(
                "put one into the guest (isc-dhcp-client or dhcpcd-base of Debian, busybox's udhcpc); or give the device its address, by --ip"
                    .to_owned(),
            ),
            Self::ZoneIsLocaltime { .. } => {
                Some("name the zone itself, like Europe/Berlin: imgraft ls IMAGE /usr/share/zoneinfo lists them".to_owned())
            }
            Self::NoSuchZone { has_zones, .. } => Some(match has_zones {
                true => "imgraft ls IMAGE /usr/share/zoneinfo lists what it has".to_owned(),
                false => "it has no time zones at all: its package tzdata is not installed".to_owned(),
            }),
            Self::Locale(error) => error.hint(),
            Self::HostKeys(error) => error.hint(),
            Self::Unit(error) => error.hint(),
            Self::OnlySystemd { .. } => Some("leave it out".to_owned()),
            Self::NoStarter => Some("--upload puts the script into the guest; what starts it there is up to the guest".to_owned()),
            Self::NoPackageManager { .. } => {
                Some("--firstboot-command COMMAND has the guest run what installs them there".to_owned())
            }
            Self::NoPackageGroups { .. } => Some("name the packages themselves".to_owned()),
            Self::TooManyScripts { .. } => Some("boot the guest once, or remove what is there".to_owned()),
            Self::OtherRenderer { .. } => {
                Some("leave --network-renderer out, or describe the network in netplan's words, which are compiled".to_owned())
            }
            Self::NetplanTooOld { .. } => Some(
                "leave it out, or upgrade netplan in the guest; one that knows it all the same, by a patch, gets it with --upload \
                 FILE:/etc/netplan/50-imgraft.yaml"
                    .to_owned(),
            ),
            Self::NoListener { installed, others, cloud_init } => Some(nobody(installed, others, *cloud_init)),
            Self::SeveralListeners { .. } => Some("choose with --network-renderer NAME".to_owned()),
            Self::BadDescription(error) => error.hint().map(str::to_owned),
            Self::Inexpressible(_) => {
                let ways = "name the device where that is what is missing (--nic NAME, or --nic MAC where the program knows devices by \
                            that: without --nic it is whichever has a name with e at its beginning); or leave it out, or have it done by another \
                            program of the guest's (--network-renderer NAME)";
                Some(ways.to_owned())
            }
            Self::MissingPart { package, .. } => Some(format!("the guest needs {package} for it")),
            Self::CloudInitInsists { path } => Some(format!("take network: out of {path} first")),
            Self::NotInNova { .. } => Some("leave --compat nova out".to_owned()),
            Self::BadPassword { .. } | Self::BadNetwork { .. } => None,
        }
    }
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
            Self::OwnerlessPlace { user, path } => write!(
                f,
                "{path}: a FAT filesystem keeps no owners and modes, which sshd wants of the keys of '{}'",
                user.escape_debug()
            ),
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
            Self::NoDhcpClient { link } => write!(
                f,
                "the link {link:?} asks for its address by DHCP, and the guest's ifupdown has no program for that: none of dhclient, \
                 dhcpcd, udhcpc and pump is there"
            ),
            Self::NoSuchZone { zone, .. } => write!(f, "the guest has no time zone {zone}"),
            Self::ZoneIsLocaltime { zone } => {
                write!(f, "the guest's time zone {zone} is a link to /etc/localtime, which cannot lead to itself")
            }
            Self::Locale(error) => error.fmt(f),
            Self::HostKeys(error) => error.fmt(f),
            Self::Unit(error) => error.fmt(f),
            Self::OnlySystemd { what } => write!(f, "{what} is for systemd, and another init starts the guest"),
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
            Self::NetplanTooOld { newest, version: (major, minor) } => {
                write!(f, "{newest}, and the guest has {major}.{minor}")
            }
            Self::NotInNova { what } => write!(f, "Nova cannot do this: {what}"),
        }
    }
}

/// The way out where something else lies in the place of a file.
fn room_for(error: &imgraft_vfs::Error) -> Option<String> {
    let path = error.guest_path().filter(|_| error.kind() == ErrorKind::WrongType && error.layer() == Layer::Stage)?;
    let path = shell::word(String::from_utf8_lossy(path).as_ref().as_ref());
    Some(format!(
        "`imgraft ls IMAGE {path}` shows what is there; a run of its own with --move or --delete takes it out of the way"
    ))
}

/// The way around the compiler of networks.
const AS_IT_STANDS: &str = "a network-config that is written already goes as it stands: leave --network out, and --upload FILE:/network-config";

/// What was looked for and what the choice is.
fn nobody(installed: &[&str], others: &[String], cloud_init: bool) -> String {
    let mut text = "looked for what starts networking, systemd-networkd, NetworkManager, wicked or network (links in \
                    /etc/systemd/system/*.wants, systemd's presets, /etc/runlevels, /etc/rc*.d) and for netplan's generator"
        .to_owned();
    if !installed.is_empty() {
        text += &format!("; there, but not started: {}", installed.join(", "));
    }
    if !others.is_empty() {
        text += &format!("; started, but imgraft does not have its spelling: {}", others.join(", "));
    }
    text += "; choose with --network-renderer NAME";
    if cloud_init {
        text += ", for example cloud-init, which runs in the guest";
    }
    text
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
