//! The network of a manifest.

use super::combined::{any, filled, given, implies, is};
use super::pattern;
use super::variables::allowed;
use crate::object::objects;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The network: a file, a description in its place, or addresses for the guest's device.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self", default)]
#[schemars(rename = "Network", extend("oneOf" = Network::ways(), "allOf" = Network::addressed()))]
pub struct Network {
    /// A host file: a text in the guest's own spelling, or a description as `config`.
    pub file: Option<String>,
    /// A description: netplan, network-config version 1 or 2, or network_data.json.
    pub config: Option<Map<String, Value>>,
    /// Addresses with their prefixes: `192.0.2.10/24`.
    #[schemars(inner(regex(pattern = pattern::NETWORK)))]
    pub ip: Vec<String>,
    /// The routers of the default routes.
    #[schemars(inner(regex(pattern = pattern::ADDRESS)))]
    pub gateway: Vec<String>,
    /// Name servers.
    #[schemars(inner(regex(pattern = pattern::ADDRESS)))]
    pub dns: Vec<String>,
    /// Whether the device asks for an IPv4 address by DHCP. Default false.
    pub dhcp: bool,
    /// The device, by its name or MAC address. Default: the Ethernet devices.
    pub nic: Option<String>,
    /// The program of the guest that the network is for. Default: the one that the guest listens to.
    pub renderer: Option<Renderer>,
}

impl Network {
    /// The ways of saying what the network is, of which one is taken.
    fn ways() -> Value {
        json!([given("file"), given("config"), Self::simple()])
    }

    fn simple() -> Value {
        any([filled("ip"), filled("gateway"), filled("dns"), is("dhcp", true), given("nic")])
    }

    /// A device has an address or asks for one, and a router goes with an address.
    fn addressed() -> Value {
        let has_address = any([filled("ip"), is("dhcp", true)]);
        json!([implies(&Self::simple(), &has_address), implies(&filled("gateway"), &filled("ip"))])
    }
}

/// The programs that a network can be for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[schemars(transform = allowed)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Renderer {
    #[serde(rename = "ifupdown")]
    Ifupdown,
    #[serde(rename = "netplan")]
    Netplan,
    #[serde(rename = "networkd")]
    Networkd,
    NetworkManager,
    #[serde(rename = "ifcfg")]
    Ifcfg,
    #[serde(rename = "wicked")]
    Wicked,
    #[serde(rename = "cloud-init")]
    CloudInit,
}

objects!(Network);
