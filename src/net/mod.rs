//! One network model, Nova's network information, and pure renderers of it: no I/O here.
//!
//! The model is the JSON that Nova keeps of an instance's network interfaces (`network_info`, a list of VIFs).

mod address;
pub mod config;
pub mod interfaces;
pub mod netplan;
pub mod network_data;
pub mod read;
pub mod render;

pub use address::{Address, Cidr};

use crate::object::objects;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A virtual network interface as Nova knows it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Vif")]
pub struct Vif {
    /// The port's id; it becomes the link's `vif_id`. Default null.
    #[serde(default)]
    pub id: Option<String>,
    /// The MAC address, six pairs of hexadecimal digits with colons. Required but with --compat nova. Default null.
    #[serde(default)]
    pub address: Option<String>,
    /// The network that it is attached to; an interface without one is left out. Default null.
    #[serde(default)]
    pub network: Option<Network>,
    /// Its type (`ovs`, `bridge`, `tap`, …); one that guests do not know becomes `phy`. Default null.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// The host's name of the device; it becomes the link's id. Default null: `interface0`, `interface1`, …
    #[serde(default)]
    pub devname: Option<String>,
    /// Taken and not used. Default empty.
    #[serde(default)]
    pub details: Option<Map<String, Value>>,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub ovs_interfaceid: Option<String>,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub qbh_params: Option<Value>,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub qbg_params: Option<Value>,
    /// Taken and not used. Default false.
    #[serde(default)]
    pub active: Option<bool>,
    /// Taken and not used. Default `normal`.
    #[serde(default)]
    pub vnic_type: Option<String>,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub profile: Option<Map<String, Value>>,
    /// Taken and not used. Default false.
    #[serde(default)]
    pub preserve_on_delete: Option<bool>,
    /// Taken and not used. Default false.
    #[serde(default)]
    pub delegate_create: Option<bool>,
    /// Taken and not used. Default empty.
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}

/// A network.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Network")]
pub struct Network {
    /// Its id; it becomes `network_id`. Default null.
    #[serde(default)]
    pub id: Option<String>,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub bridge: Option<String>,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub label: Option<String>,
    /// Its subnets; of each version the first one counts. Default empty.
    #[serde(default)]
    pub subnets: Vec<Subnet>,
    /// What else is known of it. Default empty.
    #[serde(default)]
    pub meta: NetworkMeta,
}

/// What else is known of a network.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(rename = "NetworkMeta")]
pub struct NetworkMeta {
    /// Whether the interfaces text has this network. Default false.
    #[serde(default)]
    pub injected: Option<bool>,
    /// The MTU in bytes. Default null.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Anything else, not used.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A subnet.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Subnet")]
pub struct Subnet {
    /// Its addresses: base address and prefix length (`10.0.0.0/24`).
    pub cidr: Cidr,
    /// Name servers. Default empty.
    #[serde(default)]
    pub dns: Vec<Ip>,
    /// The default gateway. Default null.
    #[serde(default)]
    pub gateway: Option<Gateway>,
    /// The interface's addresses; the first one counts. Default empty.
    #[serde(default)]
    pub ips: Vec<FixedIp>,
    /// Routes beside the default one. Default empty.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// 4 or 6. Default what `cidr` is.
    #[serde(default)]
    pub version: Option<u8>,
    /// What else is known of it. Default empty.
    #[serde(default)]
    pub meta: SubnetMeta,
}

/// What else is known of a subnet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(rename = "SubnetMeta")]
pub struct SubnetMeta {
    /// The address of the DHCP server; its presence says that the subnet has one. Default null.
    #[serde(default)]
    pub dhcp_server: Option<String>,
    /// Whether there is DHCP, without the server's address. Default false.
    #[serde(default)]
    pub enable_dhcp: Option<bool>,
    /// `slaac`, `dhcpv6-stateful` or `dhcpv6-stateless`. Default null.
    #[serde(default)]
    pub ipv6_address_mode: Option<String>,
    /// Anything else, not used.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An address of something.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Ip")]
pub struct Ip {
    /// The address.
    pub address: Address,
    /// Taken and not used. Default null.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Taken and not used: the address says it. Default null.
    #[serde(default)]
    pub version: Option<u8>,
    /// Taken and not used. Default empty.
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}

/// A gateway, which may be there without an address.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Gateway")]
pub struct Gateway {
    /// The address; none is as no gateway. Default null.
    #[serde(default)]
    pub address: Option<Address>,
    /// Taken and not used. Default null.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub version: Option<u8>,
    /// Taken and not used. Default empty.
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}

/// An address of the interface.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "FixedIp")]
pub struct FixedIp {
    /// The address.
    pub address: Address,
    /// Taken and not used. Default `fixed`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Taken and not used: the address says it. Default null.
    #[serde(default)]
    pub version: Option<u8>,
    /// Addresses outside that lead to this one; the first of all is the EC2 `public-ipv4`. Default empty.
    #[serde(default)]
    pub floating_ips: Vec<Ip>,
    /// Taken and not used. Default empty.
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}

/// A route.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "Route")]
pub struct Route {
    /// Where to.
    pub cidr: Cidr,
    /// Over which router.
    pub gateway: Ip,
    /// Taken and not used. Default null.
    #[serde(default)]
    pub interface: Option<Value>,
    /// Taken and not used. Default empty.
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}

objects!(Vif, Network, NetworkMeta, Subnet, SubnetMeta, Ip, Gateway, FixedIp, Route);

impl Vif {
    /// The addresses of the interface, of all subnets.
    pub fn fixed_ips(&self) -> impl Iterator<Item = &FixedIp> {
        self.network.iter().flat_map(|network| &network.subnets).flat_map(|subnet| &subnet.ips)
    }
}

impl Network {
    /// The first subnet of this version (4 or 6), the only one that Nova's documents have.
    pub fn first(&self, version: u8) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.version() == version)
    }

    /// Whether the interfaces text has it.
    pub fn is_injected(&self) -> bool {
        self.meta.injected.unwrap_or(false)
    }

    /// The MTU that goes into documents: none where DHCP gives it.
    pub fn mtu(&self) -> Option<u32> {
        let by_dhcp = |subnet: &Subnet| subnet.meta.dhcp_server.as_deref().is_some_and(|server| !server.is_empty());
        if self.subnets.iter().any(by_dhcp) { None } else { self.meta.mtu }
    }
}

impl Subnet {
    /// 4 or 6.
    pub fn version(&self) -> u8 {
        self.version.unwrap_or(self.cidr.version())
    }

    /// Whether the guest gets its address by DHCP.
    pub fn is_dhcp(&self) -> bool {
        self.meta.dhcp_server.is_some() || self.meta.enable_dhcp.unwrap_or(false)
    }

    /// The gateway's address.
    pub fn gateway(&self) -> Option<&Address> {
        self.gateway.as_ref()?.address.as_ref()
    }
}
