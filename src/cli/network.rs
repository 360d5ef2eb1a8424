//! The network of a guest, as it is typed.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The network configuration.
#[derive(Debug, Default, Args)]
pub struct Network {
    /// Install a network configuration (item "net")
    ///
    /// A text in one of the guests' own spellings (ifupdown, netplan, systemd-networkd, NetworkManager keyfile, ifcfg, wicked), which
    /// is recognised, goes as it is to where the guest reads it. A description (netplan, network-config version 1 or 2 of
    /// cloud-init, network_data.json of OpenStack, Nova's network_info; YAML or JSON) is compiled into the spelling of the program that
    /// the guest listens to; the report says which that is and what shows it.
    ///
    /// With -a IMAGE and without FILE it is virt-customize's switch, for which there is nothing to do.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub network: Option<Option<PathBuf>>,

    /// The program of the guest that the network is for [default: the one that the guest listens to]
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "compat")]
    pub network_renderer: Option<NetworkRenderer>,

    /// Give the guest's device this address (item "net"; repeatable)
    #[arg(long, value_name = "ADDRESS/PREFIX", conflicts_with_all = ["network", "compat"])]
    pub ip: Vec<String>,

    /// The router of the default route, of either version of IP (repeatable)
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["network", "compat"])]
    pub gateway: Vec<String>,

    /// A name server (repeatable)
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["network", "compat"])]
    pub dns: Vec<String>,

    /// Have the guest's device ask for an IPv4 address by DHCP (item "net")
    #[arg(long, conflicts_with_all = ["network", "compat"])]
    pub dhcp: bool,

    /// The device that --ip and --dhcp are about [default: the Ethernet devices, by names that begin with e]
    #[arg(long, value_name = "NAME|MAC", conflicts_with_all = ["network", "compat"])]
    pub nic: Option<String>,
}

/// The programs by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkRenderer {
    /// interfaces(5), of Debian and Alpine
    Ifupdown,
    /// netplan(5), of Ubuntu
    Netplan,
    /// systemd.network(5)
    #[value(alias = "systemd-networkd")]
    Networkd,
    /// nm-settings-keyfile(5)
    #[value(name = "NetworkManager", alias = "networkmanager", alias = "nm")]
    NetworkManager,
    /// The ifcfg files of Red Hat
    Ifcfg,
    /// wicked's ifcfg files, of SUSE
    Wicked,
    /// cloud-init, which hands it on at the first boot
    CloudInit,
}
