//! Which programs configure a guest's network.

use super::Reader;
use imgraft_vfs::Result;

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
}

impl NetworkStack {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ifupdown, Self::Netplan, Self::Networkd, Self::NetworkManager, Self::Ifcfg];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ifupdown => "ifupdown",
            Self::Netplan => "netplan",
            Self::Networkd => "systemd-networkd",
            Self::NetworkManager => "NetworkManager",
            Self::Ifcfg => "ifcfg",
        }
    }

    /// Paths any one of which shows that it is installed, the surest first.
    fn installed(self) -> &'static [&'static str] {
        match self {
            Self::Ifupdown => &["/usr/sbin/ifup", "/sbin/ifup", "/etc/network/interfaces"],
            Self::Netplan => &["/usr/sbin/netplan", "/usr/lib/netplan/generate", "/usr/libexec/netplan/generate"],
            Self::Networkd => &["/usr/lib/systemd/systemd-networkd", "/lib/systemd/systemd-networkd"],
            Self::NetworkManager => &["/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"],
            Self::Ifcfg => &["/etc/sysconfig/network-scripts"],
        }
    }

    /// Paths any one of which shows that it is started at boot.
    fn enabled(self) -> &'static [&'static str] {
        match self {
            Self::Ifupdown => &[
                "/etc/systemd/system/multi-user.target.wants/networking.service",
                "/etc/systemd/system/network-online.target.wants/networking.service",
                "/etc/runlevels/boot/networking",
                "/etc/runlevels/default/networking",
                "/etc/rcS.d/S01networking",
            ],
            // Its generator runs at every boot where it is installed.
            Self::Netplan => self.installed(),
            Self::Networkd => &[
                "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
                "/etc/systemd/system/sysinit.target.wants/systemd-networkd.service",
                "/usr/lib/systemd/system/multi-user.target.wants/systemd-networkd.service",
                "/lib/systemd/system/multi-user.target.wants/systemd-networkd.service",
                // Netplan's generator starts it where it renders for it.
                "/usr/sbin/netplan",
            ],
            Self::NetworkManager => &[
                "/etc/systemd/system/multi-user.target.wants/NetworkManager.service",
                "/usr/lib/systemd/system/multi-user.target.wants/NetworkManager.service",
                "/etc/runlevels/default/networkmanager",
            ],
            Self::Ifcfg => &[
                "/etc/rc.d/init.d/network",
                "/usr/lib64/NetworkManager/libnm-settings-plugin-ifcfg-rh.so",
                "/etc/systemd/system/multi-user.target.wants/NetworkManager.service",
            ],
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
    /// The path that shows it is started at boot; `None` where nothing shows that.
    pub enabled_by: Option<&'static str>,
}

pub(super) fn inspect(reader: &Reader<'_>) -> Result<Vec<StackState>> {
    let first = |paths: &'static [&'static str]| -> Result<Option<&'static str>> {
        for path in paths {
            if reader.exists(path)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    };
    let mut stacks = Vec::new();
    for stack in NetworkStack::ALL {
        if let Some(evidence) = first(stack.installed())? {
            stacks.push(StackState { stack, evidence, enabled_by: first(stack.enabled())? });
        }
    }
    Ok(stacks)
}
