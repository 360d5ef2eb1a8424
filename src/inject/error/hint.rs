//! What the user can do where an item cannot be injected.

use super::super::files::mkdir;
use super::super::net::Spelling;
use super::InjectError;
use crate::crypt::CryptError;
use imgraft_vfs::{ErrorKind, Layer, shell};

impl InjectError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Vfs(error) => error.hint().map(str::to_owned).or_else(|| room_for(error)),
            Self::File(error) => error.hint(),
            Self::Account(error) => error.hint(),
            Self::NoSuchUser { known, .. } if known.is_empty() => Some("the guest has no passwd file".to_owned()),
            Self::NoSuchUser { known, .. } => Some(format!("people in the guest: {}; --add-user NAME makes one", known.join(", "))),
            Self::NoSuchGroup { .. } => Some("give the group's number, or a name that the guest has".to_owned()),
            Self::BadHome { .. } => Some(
                "give the key to another user; or have AuthorizedKeysFile of the guest's sshd_config name a place outside of home directories, \
                 /etc/ssh/authorized_keys/%u say"
                    .to_owned(),
            ),
            Self::ForeignPlace { path, .. } => Some(format!("find out who made the link, and remove it: {path}")),
            Self::ExposedPlace { way, .. } => Some(format!(
                "see what is there; then, before the key, {way}; or have AuthorizedKeysFile of the guest's sshd_config name another place"
            )),
            Self::OthersPlace { uid, path, .. } => Some(format!(
                "see what is there; then, before the key, --chown {uid}::{path} gives it to the user, and so with what is below it, or --delete {path} \
                 takes it away; or have AuthorizedKeysFile of the guest's sshd_config name a place for each user, /etc/ssh/authorized_keys/%u \
                 say"
            )),
            Self::OwnerlessPlace { path, .. } => Some(format!(
                "whether sshd takes keys there is up to the options of the mount: --write {path}:KEY puts the file there all the same"
            )),
            Self::NoPlaceForKeys { .. } => Some(
                "have the configuration say AuthorizedKeysFile .ssh/authorized_keys first, with an --edit or --upload of it that stands before \
                 the key; or put the key with --append-line where sshd looks, for all users that it is read for"
                    .to_owned(),
            ),
            Self::BadKey { .. } => {
                Some("give the public key, as it stands in a .pub file: [options] type base64 [comment]".to_owned())
            }
            Self::DuplicatePassword { user } => Some(format!("give one password for '{user}'")),
            Self::NoShadow { .. } => Some(
                "--write '/etc/shadow:root:*:::::::' --chmod 0600:/etc/shadow before it makes one, and --append-line adds a line of each \
                 other user"
                    .to_owned(),
            ),
            Self::NoShadowEntry { user } => {
                let line = format!("/etc/shadow:{user}:*:::::::");
                Some(format!("--append-line {} before it adds the user's line", shell::word(line.as_ref())))
            }
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
                 {path}` shows what there is"
            )),
            Self::SeedNetworkInTheWay { path } => Some(format!(
                "--replace-seed removes it, and so does --delete {path}; `imgraft cat IMAGE {path}` shows what \
                 there is"
            )),
            Self::NotInSeed { way, .. } => Some((*way).to_owned()),
            Self::BadSeedNetwork(_) => Some(AS_IT_STANDS.to_owned()),
            Self::InexpressibleInSeed(_) => {
                Some(format!("name the device (--nic, in a description its key or match:) where that is what is missing; {AS_IT_STANDS}"))
            }
            Self::UnknownNetwork => {
                let known: Vec<_> = Spelling::ALL.iter().map(|spelling| spelling.name()).collect();
                Some(format!(
                    "known spellings: {}; and descriptions: network-config of version 1 or 2, network_data.json, network_info",
                    known.join("; ")
                ))
            }
            Self::NoNetworkStack { found, .. } if found.is_empty() => {
                Some("no network stack was found in the guest; to put the file there all the same, use --upload".into())
            }
            Self::NoNetworkStack { found, spelling } => Some(format!(
                "the guest has {}; a description of the network, in netplan's words say, is compiled for what it has; \
                 --network-renderer {} puts this text there all the same",
                found.join(", "),
                spelling.0.choice()
            )),
            Self::NotStarted { spelling, listening, .. } => Some(format!(
                "the guest starts {}; a description of the network, in netplan's words say, is compiled for what it starts; \
                 --network-renderer {} puts this text there all the same",
                listening.join("; "),
                spelling.0.choice()
            )),
            Self::NoDhcpClient { has_one: true, .. } => Some(
                "put it into the guest (isc-dhcp-client of Debian); or give the device its address, by --ip; or leave DHCPv6 out of it"
                    .to_owned(),
            ),
            Self::NoDhcpClient { has_one: false, .. } => Some(
                "put one into the guest (isc-dhcp-client or dhcpcd-base of Debian, busybox's udhcpc); or give the device its address, by --ip"
                    .to_owned(),
            ),
            Self::ZoneIsLocaltime { .. } => {
                Some("name the zone itself, like Europe/Berlin: `imgraft ls IMAGE /usr/share/zoneinfo` lists them".to_owned())
            }
            Self::NoSuchZone { has_zones, .. } => Some(match has_zones {
                true => "`imgraft ls IMAGE /usr/share/zoneinfo` lists what it has".to_owned(),
                false => "it has no time zones at all: its package tzdata is not installed".to_owned(),
            }),
            Self::Locale(error) => error.hint(),
            Self::HostKeys(error) => error.hint(),
            Self::Unit(error) => error.hint(),
            Self::OnlySystemd { way, .. } => Some((*way).to_owned()),
            Self::Afterwards(error) => Some(match (&**error, error.hint()) {
                // These can be told which program it is.
                (Self::NoListener { .. } | Self::SeveralListeners { .. }, Some(hint)) => {
                    format!("{hint}; or leave out of this run what does that")
                }
                _ => "leave out of this run what does that, or leave out the network".to_owned(),
            }),
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
                let ways = "name the device where that is what is missing, or give its MAC address where the program knows devices by \
                            that (--nic or nic, without which it is whichever has a name with e at its beginning; in a description the \
                            device's key or its match:); or leave it out, or have it done by another program of the guest's (--network-renderer NAME)";
                Some(ways.to_owned())
            }
            Self::MissingPart { package, .. } => Some(format!("the guest needs {package} for it")),
            Self::CloudInitInsists { path } => Some(format!("take network: out of {path} first")),
            Self::CloudInitUndoes(undoing) => Some(undoing.hint()),
            Self::Unused(unused) => Some(unused.hint()),
            Self::NotInNova { .. } => Some("leave --compat nova out".to_owned()),
            Self::BadPassword { source: CryptError::Empty | CryptError::TooLong | CryptError::Nul, .. } => {
                Some("give another one; disabled instead of one keeps everybody from logging in by a password".to_owned())
            }
            Self::BadPassword { .. } | Self::BadNetwork { .. } => None,
        }
    }
}

/// The way out where the guest's filesystem does not take a file.
fn room_for(error: &imgraft_vfs::Error) -> Option<String> {
    if error.kind() == ErrorKind::NoSpace {
        return Some(NO_ROOM.to_owned());
    }
    let path = String::from_utf8_lossy(error.guest_path()?);
    match (error.kind(), error.layer()) {
        (ErrorKind::WrongType, Layer::Stage | Layer::Path | Layer::Filesystem) => Some(format!(
            "`imgraft ls IMAGE {}` shows what is there; a run of its own with --move or --delete takes it out of the way",
            shell::word(path.as_ref().as_ref())
        )),
        (ErrorKind::NotFound, Layer::Stage) => Some(mkdir(path)),
        (ErrorKind::Denied, Layer::Path) => {
            let word = shell::word(path.as_ref().as_ref());
            Some(format!(
                "--delete {word} before it takes the link away, where that path is one, and else that of the directory that is"
            ))
        }
        _ => None,
    }
}

/// The same of one of which it is known how much of its room is asked for, in bytes.
pub fn no_room(wanted: u64, free: u64) -> String {
    format!("{wanted} bytes are to be written, and {free} are free; {NO_ROOM}")
}

/// What can be done for a filesystem without room.
const NO_ROOM: &str = "`imgraft inspect IMAGE` shows how much is free; --delete in a run of its own makes room; or `qemu-img resize IMAGE +2G` \
                       enlarges the disk, and growpart and resize2fs (xfs_growfs) in the guest, or cloud-init as it boots, its filesystem";

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
