//! Which programs configure a guest's network, and which of them a configuration is for.

pub mod device_spec;
mod interfaces;
mod key_file;
mod others;
pub mod unmanaged;
mod versions;

pub use others::Other;

use super::cloud_config::{Configuration, DIRECTORY, Reading};
pub(crate) use super::units::glob;
use super::units::{Service, Units};
use super::{Reader, Version};
use imgraft_vfs::Result;
use imgraft_vfs::fs::{FileType, Lookup as _};
use imgraft_vfs::resolve::Follow;
use imgraft_vfs::stage::Stage;
use unmanaged::Unmanaged;

/// A program that configures the network, with its own spelling of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkStack {
    /// interfaces(5), of Debian and Alpine.
    Ifupdown,
    /// netplan(5), of Ubuntu.
    Netplan,
    /// systemd.network(5).
    Networkd,
    /// nm-settings-keyfile(5).
    NetworkManager,
    /// The ifcfg files of Red Hat, read by its network scripts or by a plugin of NetworkManager.
    Ifcfg,
    /// wicked's ifcfg(5), of SUSE.
    Wicked,
}

impl NetworkStack {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ifupdown, Self::Netplan, Self::Networkd, Self::NetworkManager, Self::Ifcfg, Self::Wicked];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifupdown => "ifupdown",
            Self::Netplan => "netplan",
            Self::Networkd => "systemd-networkd",
            Self::NetworkManager => "NetworkManager",
            Self::Ifcfg => "ifcfg",
            Self::Wicked => "wicked",
        }
    }

    /// What `--network-renderer` calls it.
    pub fn choice(self) -> &'static str {
        match self {
            Self::Networkd => "networkd",
            other => other.name(),
        }
    }

    /// Paths any one of which shows that it is installed, the surest first.
    fn installed(self) -> &'static [&'static str] {
        match self {
            Self::Ifupdown => &["/usr/sbin/ifup", "/sbin/ifup"],
            Self::Netplan => &["/usr/sbin/netplan", "/usr/lib/netplan/generate", "/usr/libexec/netplan/generate"],
            Self::Networkd => &["/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"],
            Self::NetworkManager => &["/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"],
            Self::Ifcfg => &["/etc/sysconfig/network-scripts"],
            Self::Wicked => &["/usr/sbin/wicked", "/usr/sbin/wickedd"],
        }
    }

    /// The service that is it: the name of its unit, of its OpenRC service and of its init script.
    fn service(self) -> Option<Service> {
        match self {
            Self::Ifupdown => Some(Service { unit: "networking.service", openrc: "networking", script: "networking" }),
            // A generator of systemd's.
            Self::Netplan => None,
            Self::Networkd => Some(Service { unit: "systemd-networkd.service", openrc: "", script: "" }),
            Self::NetworkManager => {
                Some(Service { unit: "NetworkManager.service", openrc: "networkmanager", script: "network-manager" })
            }
            // openSUSE calls something else network.service, but has no such script.
            Self::Ifcfg => Some(Service { unit: "", openrc: "", script: "network" }),
            Self::Wicked => Some(Service { unit: "wicked.service", openrc: "", script: "" }),
        }
    }
}

/// An installed stack, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackState {
    /// Which.
    pub stack: NetworkStack,
    /// The path that shows it is installed.
    pub evidence: &'static str,
    /// What shows that it is started at boot, a path; `None` where nothing does.
    pub enabled_by: Option<String>,
    /// Whether it is one of systemd's presets only that starts it, at the first boot.
    pub by_preset: bool,
    /// What has systemd not start it, whoever asks for it: the path of its masked unit.
    pub masked_by: Option<String>,
    /// The file that shows that it has something to configure beside the loopback device.
    pub configured_by: Option<String>,
}

/// What ifupdown can do beyond addresses: it leaves that to scripts of other packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ifup {
    /// Whether it is Debian's, which can know a device by its MAC address.
    pub is_debians: bool,
    /// Whether it makes bonds.
    pub bonds: bool,
    /// Whether it makes bridges.
    pub bridges: bool,
    /// Whether something takes the name servers from it.
    pub dns: bool,
    /// Whether one of the programs is there that it asks for an address by DHCP.
    pub dhcp: bool,
    /// The same for DHCPv6: Debian's asks dhclient only.
    pub dhcp6: bool,
}

/// What configures a guest's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The stacks that are installed.
    pub stacks: Vec<StackState>,
    /// The stack that openSUSE's network.service is, as the link of this name says.
    pub alias: Option<NetworkStack>,
    /// Programs that are started at boot and that configure the network in spellings of their own, which imgraft does not have.
    pub others: Vec<Other>,
    /// What shows that cloud-init runs in the guest; `None` where it does not.
    pub cloud_init: Option<&'static str>,
    /// The version of cloud-init, where it runs and that is known.
    pub cloud_init_version: Option<Version>,
    /// The version of netplan, where it is installed and that is known.
    pub netplan_version: Option<Version>,
    /// Where cloud-init reads the files that add to its own configuration; `None` where it reads none.
    pub cloud_init_directory: Option<String>,
    /// What the files of cloud-init's own configuration say of the network, in the order in which they are read; it merges them.
    pub cloud_init_says: Vec<CloudInitSays>,
    /// Whether udev gives devices the names that systemd.link(5) files say.
    pub names: bool,
    /// What its ifupdown can do.
    pub ifup: Ifup,
    /// Whether systemd-resolved is started, which alone takes name servers from systemd-networkd.
    pub resolved: bool,
    /// The plugin by which NetworkManager reads ifcfg files, where it is there and `plugins=` does not leave it out.
    pub ifcfg_plugin: Option<String>,
    /// What its NetworkManager leaves alone.
    pub unmanaged: Unmanaged,
}

/// What a file of cloud-init's own configuration says of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudInitSays {
    /// The file.
    pub path: String,
    /// What it says.
    pub network: CloudInitNetwork,
}

/// What is said to cloud-init of the network. It merges what several files say, key by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudInitNetwork {
    /// By the key `config`, that it is to be left alone; whatever else is said.
    Disabled,
    /// Something else by this key, or nothing at all instead of keys.
    Config,
    /// Keys by this key, which take the place of what any other file says by it (m_str.py of its mergers).
    Keys,
    /// Only by other keys.
    Other,
    /// That is not known: the file is not read here as cloud-init reads it.
    Unknown,
}

/// Why there is no stack that a configuration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoListener {
    /// None is started at boot.
    NoneEnabled,
    /// Several are, and nothing says which of them has the devices: each with what shows it.
    Several(Vec<(NetworkStack, String)>),
}

/// What resolves names for systemd.
const RESOLVED: Service = Service { unit: "systemd-resolved.service", openrc: "", script: "" };
/// The program that ifupdown has ask for an address of IPv6 (`inet6.defn` of its sources).
const DHCLIENT: [&str; 3] = ["/usr/sbin/dhclient", "/sbin/dhclient", "/usr/bin/dhclient"];
/// The other ones that it has ask for one of IPv4 (`inet.defn`): it takes the first that is there.
const DHCP_CLIENTS: [&str; 12] = [
    "/usr/sbin/dhcpcd",
    "/sbin/dhcpcd",
    "/usr/bin/dhcpcd",
    "/usr/sbin/dhcpcd3",
    "/sbin/dhcpcd3",
    "/usr/sbin/udhcpc",
    "/sbin/udhcpc",
    "/usr/bin/udhcpc",
    "/bin/udhcpc",
    "/usr/sbin/pump",
    "/sbin/pump",
    "/usr/local/sbin/dhcpcd",
];
/// Where NetworkManager's plugins are, below directories that have the names of versions.
const PLUGINS: [&str; 2] = ["/usr/lib64/NetworkManager", "/usr/lib/NetworkManager"];
/// Where netplan's generator is, which writes the backend's configuration at every boot.
const GENERATORS: [&str; 2] = ["/usr/lib/systemd/system-generators/netplan", "/lib/systemd/system-generators/netplan"];
/// The largest file of a network's configuration that is looked at, in bytes.
const LIMIT: u64 = 256 * 1024;
/// How many files of a directory are looked at, where a program reads all of them.
const FILES_MAX: usize = 256;

impl Network {
    /// What configures the network of a guest as a run makes it.
    pub(crate) fn staged(stage: &Stage<'_>) -> Result<Self> {
        Self::inspect(&Reader::staged(stage))
    }

    pub(super) fn inspect(reader: &Reader<'_>) -> Result<Self> {
        let units = Units::new(reader)?;
        let mut stacks = Vec::new();
        for stack in NetworkStack::ALL {
            let Some(evidence) = first(reader, stack.installed())? else { continue };
            let mut enabled_by = match stack.service() {
                Some(service) => units.started(service)?,
                None => generator(reader)?,
            };
            let mut by_preset = false;
            if enabled_by.is_none()
                && let Some(service) = stack.service()
            {
                enabled_by = units.preset(service.unit)?;
                by_preset = enabled_by.is_some();
            }
            let masked_by = match stack.service() {
                Some(service) => units.masked(service.unit)?,
                None => None,
            };
            let configured_by = configured(reader, stack)?;
            stacks.push(StackState { stack, evidence, enabled_by, by_preset, masked_by, configured_by });
        }
        let has_netplan = stacks.iter().any(|state| state.stack == NetworkStack::Netplan);
        let has_manager = stacks.iter().any(|state| state.stack == NetworkStack::NetworkManager);
        let CloudInit { shown_by: cloud_init, directory: cloud_init_directory, says: cloud_init_says } =
            cloud_init(reader)?;
        let unmanaged = if has_manager { Unmanaged::inspect(reader)? } else { Unmanaged::default() };
        let exists = |paths: &'static [&'static str]| first(reader, paths).map(|found| found.is_some());
        let is_debians = exists(&["/usr/lib/ifupdown", "/lib/ifupdown"])?;
        let dhclient = exists(&DHCLIENT)?;
        let dhcp = dhclient || exists(&DHCP_CLIENTS)?;
        Ok(Self {
            stacks,
            alias: alias(reader)?,
            others: others::inspect(reader, &units)?,
            cloud_init,
            cloud_init_version: if cloud_init.is_some() { versions::cloud_init(reader)? } else { None },
            netplan_version: if has_netplan { versions::netplan(reader)? } else { None },
            cloud_init_directory,
            cloud_init_says,
            names: exists(&["/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd"])?,
            ifup: Ifup {
                is_debians,
                bonds: exists(&["/etc/network/if-pre-up.d/ifenslave", "/usr/libexec/ifupdown-ng/bond"])?,
                bridges: exists(&["/etc/network/if-pre-up.d/bridge", "/usr/libexec/ifupdown-ng/bridge"])?,
                dns: exists(&["/usr/sbin/resolvconf", "/sbin/resolvconf", "/usr/bin/resolvconf"])?
                    // ifupdown's own, which does nothing where systemd-resolved is not enabled.
                    || exists(&["/etc/network/if-up.d/resolved"])? && units.is_enabled(RESOLVED)?,
                dhcp,
                dhcp6: if is_debians { dhclient } else { dhcp },
            },
            resolved: units.is_enabled(RESOLVED)?,
            ifcfg_plugin: ifcfg_plugin(reader)?.filter(|_| unmanaged.has_ifcfg()),
            unmanaged,
        })
    }

    /// The state of a stack; `None` where it is not installed.
    pub fn state(&self, stack: NetworkStack) -> Option<&StackState> {
        self.stacks.iter().find(|state| state.stack == stack)
    }

    /// What says to cloud-init whether it is to leave the network alone: of the files that have the key, the last one, and before
    /// these one that has keys by it.
    pub fn cloud_init_config(&self) -> Option<&CloudInitSays> {
        let last =
            |wanted: &[CloudInitNetwork]| self.cloud_init_says.iter().rfind(|says| wanted.contains(&says.network));
        last(&[CloudInitNetwork::Keys]).or_else(|| last(&[CloudInitNetwork::Disabled, CloudInitNetwork::Config]))
    }

    /// The one stack that the guest listens to.
    ///
    /// Of those that are started at boot: not what netplan hands its work to, and not what systemd's presets start where something
    /// else is enabled outright; where wicked and NetworkManager are, the one that network.service is. If several are left, those that have something to configure; an ifupdown that has only the
    /// loopback device to see to, as Debian's has when it was never used, is none of them.
    pub fn listener(&self) -> Result<&StackState, NoListener> {
        let mut started: Vec<&StackState> = self.stacks.iter().filter(|state| state.enabled_by.is_some()).collect();
        let narrow = |keep: &dyn Fn(&StackState) -> bool, started: &mut Vec<&StackState>| {
            if started.iter().any(|state| keep(state)) {
                started.retain(|state| keep(state));
            }
        };
        narrow(&|state| !state.by_preset, &mut started);
        if started.iter().any(|state| state.stack == NetworkStack::Netplan) {
            started.retain(|state| !matches!(state.stack, NetworkStack::Networkd | NetworkStack::NetworkManager));
        }
        narrow(&|state| Some(state.stack) == self.alias, &mut started);
        narrow(&|state| state.configured_by.is_some(), &mut started);
        narrow(&|state| state.stack != NetworkStack::Ifupdown || state.configured_by.is_some(), &mut started);
        match &started[..] {
            [] => Err(NoListener::NoneEnabled),
            [one] => Ok(one),
            several => {
                let shown = |state: &&StackState| (state.stack, state.enabled_by.clone().unwrap_or_default());
                Err(NoListener::Several(several.iter().map(shown).collect()))
            }
        }
    }
}

impl StackState {
    /// What shows that the guest listens to it, for people.
    pub fn shown_by(&self) -> String {
        match (&self.enabled_by, &self.configured_by) {
            (Some(enabled), Some(configured)) if enabled != configured => format!("{enabled} and {configured} show it"),
            (Some(enabled), _) => format!("{enabled} shows it"),
            (None, _) => format!("{} shows that it is there, but nothing that the guest starts it", self.evidence),
        }
    }
}

fn first(reader: &Reader<'_>, paths: &'static [&'static str]) -> Result<Option<&'static str>> {
    for path in paths {
        if reader.exists(path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// netplan's generator, unless one of the same name takes its place (systemd.generator(7)).
fn generator(reader: &Reader<'_>) -> Result<Option<String>> {
    if reader.is_masked("/etc/systemd/system-generators/netplan")? {
        return Ok(None);
    }
    Ok(first(reader, &GENERATORS)?.map(str::to_owned))
}

/// What network.service is: wicked.service and NetworkManager.service of openSUSE have this alias, and whichever is enabled gets it.
fn alias(reader: &Reader<'_>) -> Result<Option<NetworkStack>> {
    let found = reader.find("/etc/systemd/system/network.service", Follow::ExcludeLast)?;
    let Some((at, FileType::Symlink)) = found else { return Ok(None) };
    let target = reader.read_link(&at)?;
    let unit = target.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let has_unit = |stack: &NetworkStack| stack.service().is_some_and(|service| service.unit.as_bytes() == unit);
    Ok(NetworkStack::ALL.into_iter().find(has_unit).filter(|_| !unit.is_empty()))
}

/// NetworkManager's plugin for ifcfg files: a part of it in RHEL 9, in older ones and in Fedora a package of its own, gone since RHEL 10.
fn ifcfg_plugin(reader: &Reader<'_>) -> Result<Option<String>> {
    const NAME: &str = "libnm-settings-plugin-ifcfg-rh.so";
    for directory in PLUGINS {
        let versions = reader.names(directory)?.into_iter().take(FILES_MAX).map(|name| format!("{directory}/{name}"));
        for path in std::iter::once(directory.to_owned()).chain(versions).map(|place| format!("{place}/{NAME}")) {
            if reader.exists(&path)? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// The file by which a stack has more to configure than the loopback device.
fn configured(reader: &Reader<'_>, stack: NetworkStack) -> Result<Option<String>> {
    let ending_in = |directory: &str, suffix: &str| -> Result<Option<String>> {
        let names = reader.names(directory)?;
        Ok(names.into_iter().find(|name| name.ends_with(suffix)).map(|name| format!("{directory}/{name}")))
    };
    let ifcfg = |directory: &str| -> Result<Option<String>> {
        let mut names = reader.names(directory)?.into_iter();
        let found = names.find(|name| name.starts_with("ifcfg-") && name != "ifcfg-lo");
        Ok(found.map(|name| format!("{directory}/{name}")))
    };
    match stack {
        NetworkStack::Ifupdown => {
            let mut paths = vec!["/etc/network/interfaces".to_owned()];
            let directory = "/etc/network/interfaces.d";
            let names = reader.names(directory)?.into_iter().take(FILES_MAX);
            paths.extend(names.map(|name| format!("{directory}/{name}")));
            for path in paths {
                let text = reader.file_lenient(&path, LIMIT)?.unwrap_or_default();
                if has_interfaces(&String::from_utf8_lossy(&text)) {
                    return Ok(Some(path));
                }
            }
            Ok(None)
        }
        NetworkStack::Netplan => {
            for directory in ["/etc/netplan", "/usr/lib/netplan", "/lib/netplan"] {
                if let Some(found) = ending_in(directory, ".yaml")? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        NetworkStack::Networkd => ending_in("/etc/systemd/network", ".network"),
        NetworkStack::NetworkManager => ending_in("/etc/NetworkManager/system-connections", ""),
        NetworkStack::Ifcfg => ifcfg("/etc/sysconfig/network-scripts"),
        NetworkStack::Wicked => ifcfg("/etc/sysconfig/network"),
    }
}

/// Whether an interfaces(5) text is about more than the loopback device.
pub(crate) fn has_interfaces(text: &str) -> bool {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.any(|mut words| words.next() == Some("iface") && words.next().is_some_and(|name| name != "lo"))
}

/// cloud-init's program, and the file that switches it off (its systemd generator, and ds-identify).
pub(crate) const CLOUD_INIT: &str = "/usr/bin/cloud-init";
pub(crate) const CLOUD_INIT_OFF: &str = "/etc/cloud/cloud-init.disabled";

/// What is known of a guest's cloud-init.
struct CloudInit {
    shown_by: Option<&'static str>,
    directory: Option<String>,
    says: Vec<CloudInitSays>,
}

/// What shows that cloud-init runs, and what it is told of the network.
fn cloud_init(reader: &Reader<'_>) -> Result<CloudInit> {
    let found = first(reader, &[CLOUD_INIT])?;
    if found.is_none() || reader.exists(CLOUD_INIT_OFF)? {
        return Ok(CloudInit { shown_by: None, directory: Some(DIRECTORY.to_owned()), says: Vec::new() });
    }
    let configuration = Configuration::inspect(reader)?;
    let mut says = Vec::new();
    for (path, reading) in &configuration.files {
        let network = match reading {
            Reading::Nothing => continue,
            Reading::Unknown(_) | Reading::TooMuch => CloudInitNetwork::Unknown,
            Reading::Keys(keys) => {
                let Some(network) = keys.get("network") else { continue };
                match (network.as_object(), network.get("config")) {
                    (_, Some(config)) if config.as_str() == Some("disabled") => CloudInitNetwork::Disabled,
                    (_, Some(config)) if config.is_object() => CloudInitNetwork::Keys,
                    (Some(_), None) => CloudInitNetwork::Other,
                    _ => CloudInitNetwork::Config,
                }
            }
        };
        says.push(CloudInitSays { path: path.to_string(), network });
    }
    let directory = configuration.directory.path().map(|path| path.to_string());
    Ok(CloudInit { shown_by: found, directory, says })
}

#[cfg(test)]
mod tests;
