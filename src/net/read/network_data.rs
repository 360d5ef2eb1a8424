//! OpenStack's network_data.json.
//!
//! Read as cloud-init reads it (`convert_net_json`); what it and Nova's schema do not know is an error.

use super::netmask::{self, Netmask};
use super::typed::{BondMode, HashPolicy, LacpRate, MacText, Milliseconds, Number};
use crate::config_drive::DocumentError;
use crate::net::Cidr;
use crate::net::config::{Auto6, Bond, Config, Hardware, Kind, Link, Route};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::net::IpAddr;

/// The document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(default)]
    links: Vec<LinkEntry>,
    #[serde(default)]
    networks: Vec<Network>,
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkEntry {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    ethernet_mac_address: Option<MacText>,
    #[serde(default)]
    mtu: Option<Number>,
    #[serde(default)]
    bond_links: Vec<String>,
    #[serde(default)]
    bond_mode: Option<BondMode>,
    #[serde(default)]
    bond_miimon: Option<Milliseconds>,
    #[serde(default)]
    bond_xmit_hash_policy: Option<HashPolicy>,
    #[serde(default)]
    bond_lacp_rate: Option<LacpRate>,
    #[serde(default)]
    vlan_id: Option<Number>,
    #[serde(default)]
    vlan_link: Option<String>,
    #[serde(default)]
    vlan_mac_address: Option<MacText>,
    #[serde(default, rename = "vif_id")]
    _vif_id: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(rename = "type")]
    kind: String,
    link: String,
    #[serde(default)]
    ip_address: Option<String>,
    #[serde(default)]
    netmask: Option<Netmask>,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    routes: Vec<RouteEntry>,
    #[serde(default)]
    services: Vec<Service>,
    #[serde(default)]
    dns_nameservers: Vec<IpAddr>,
    #[serde(default, rename = "id")]
    _id: Option<Value>,
    #[serde(default, rename = "network_id")]
    _network_id: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteEntry {
    network: IpAddr,
    #[serde(default)]
    netmask: Option<Netmask>,
    gateway: IpAddr,
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    address: Option<IpAddr>,
}

/// The longest name of a device in bytes.
const DEVICE_MAX: usize = 15;

/// The configuration of a document.
pub(super) fn config(document: Document) -> Result<Config, DocumentError> {
    let Document { links: entries, networks, services } = document;
    let names: HashMap<&str, String> =
        entries.iter().enumerate().map(|(number, entry)| (entry.id.as_str(), name(entry, number))).collect();
    let mut links = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        links.push(link(entry, &names).map_err(|error| error.within(&format!("links[{number}]")))?);
    }
    for (number, network) in networks.iter().enumerate() {
        let place = entries.iter().position(|entry| entry.id == network.link);
        let missing = || DocumentError::new("link", format!("there is no link {:?}", network.link));
        let link = place.and_then(|place| links.get_mut(place)).ok_or_else(missing);
        link.and_then(|link| put(link, network)).map_err(|error| error.within(&format!("networks[{number}]")))?;
    }
    let everywhere = servers(&services).map_err(|error| error.within("services"))?;
    for link in &mut links {
        // OpenStack allows a subnet a gateway outside of it, which is then on the link.
        link.put_on_link(|_, _| true);
        if link.is_configured() {
            add(link, &everywhere);
        }
    }
    Ok(Config { links })
}

/// What the link is called: its name or, for what the guest makes, its id, where that can be a device's name.
fn name(entry: &LinkEntry, number: usize) -> String {
    let is_virtual = matches!(entry.kind.as_str(), "bond" | "vlan");
    match &entry.name {
        Some(name) if is_virtual => name.clone(),
        _ if !is_virtual || entry.id.len() <= DEVICE_MAX => entry.id.clone(),
        _ => format!("{}{number}", entry.kind),
    }
}

fn link(entry: &LinkEntry, names: &HashMap<&str, String>) -> Result<Link, DocumentError> {
    let name = |id: &String| names.get(id.as_str()).unwrap_or(id).clone();
    let mac = entry.ethernet_mac_address.map(|mac| mac.0);
    let mut link = match entry.kind.as_str() {
        "bond" => {
            let bond = Bond {
                mode: entry.bond_mode.map(|mode| mode.0),
                miimon: entry.bond_miimon.map(|time| time.0),
                xmit_hash_policy: entry.bond_xmit_hash_policy.map(|policy| policy.0),
                lacp_rate: entry.bond_lacp_rate.map(|rate| rate.0),
                ..Bond::default()
            };
            let members = entry.bond_links.iter().map(name).collect();
            Link { mac, ..Link::new(name(&entry.id), Kind::Bond(members, bond)) }
        }
        "vlan" => {
            let tag = entry.vlan_id.and_then(|tag| u16::try_from(tag.0).ok());
            let tag = tag.ok_or_else(|| DocumentError::new("vlan_id", "a VLAN has an id of 1 to 4094"))?;
            let parent = entry.vlan_link.as_ref().map(name);
            let parent = parent.ok_or_else(|| DocumentError::new("vlan_link", "it is missing"))?;
            let mac = entry.vlan_mac_address.map(|mac| mac.0).or(mac);
            Link { mac, ..Link::new(name(&entry.id), Kind::Vlan(parent, tag)) }
        }
        _ if entry.vlan_id.is_some() || !entry.bond_links.is_empty() => {
            return Err(DocumentError::new("type", "it is neither bond nor vlan, and has what these have"));
        }
        _ => {
            // Nova's other types say how the host has connected it; to the guest it is a device with this address.
            let missing =
                || DocumentError::new("ethernet_mac_address", "it is missing: nothing says which device it is");
            let hardware = Hardware { rename: entry.name.clone(), ..Hardware::with_mac(mac.ok_or_else(missing)?) };
            Link::new(entry.id.clone(), Kind::Hardware(hardware))
        }
    };
    link.mtu = entry.mtu.map(|mtu| mtu.0);
    Ok(link)
}

fn put(link: &mut Link, network: &Network) -> Result<(), DocumentError> {
    match network.kind.as_str() {
        "ipv4" | "ipv6" => {
            let version = if network.kind == "ipv4" { 4 } else { 6 };
            let missing = || DocumentError::new("ip_address", "it is missing");
            let text = network.ip_address.as_deref().ok_or_else(missing)?;
            let address = netmask::address(text, network.netmask.as_ref())
                .map_err(|error| if network.netmask.is_some() { error.within("ip_address") } else { error })?;
            if address.version() != version {
                return Err(DocumentError::new("ip_address", "it is not of the version that the type says"));
            }
            link.addresses.push(address);
        }
        "ipv4_dhcp" => link.dhcp4 = true,
        "ipv6_dhcp" | "ipv6_dhcpv6-stateful" => link.auto6 = Auto6::Dhcp,
        "ipv6_dhcpv6-stateless" => link.auto6 = Auto6::Stateless,
        "ipv6_slaac" => link.auto6 = Auto6::Slaac,
        other => return Err(DocumentError::new("type", format!("{other:?} is not known"))),
    }
    link.routes.extend(network.gateway.map(Route::default_via));
    for (number, route) in network.routes.iter().enumerate() {
        let fail = |error: DocumentError| error.within(&format!("routes[{number}]"));
        let prefix = match &route.netmask {
            Some(netmask) => netmask.prefix(route.network),
            None => Some(u8::MAX),
        };
        let unfit = || fail(DocumentError::new("netmask", "it is no netmask of this version of IP"));
        let to = Cidr::host(route.network).with_prefix(prefix.ok_or_else(unfit)?).lowest();
        let new = Route { to, via: Some(route.gateway), metric: None, on_link: false };
        if !link.routes.contains(&new) {
            link.routes.push(new);
        }
        add(link, &servers(&route.services).map_err(fail)?);
    }
    add(link, &network.dns_nameservers);
    add(link, &servers(&network.services).map_err(|error| error.within("services"))?);
    Ok(())
}

fn add(link: &mut Link, servers: &[IpAddr]) {
    for server in servers {
        if !link.dns.servers.contains(server) {
            link.dns.servers.push(*server);
        }
    }
}

fn servers(services: &[Service]) -> Result<Vec<IpAddr>, DocumentError> {
    let server = |service: &Service| match (service.kind.as_str(), service.address) {
        ("dns", Some(address)) => Ok(address),
        ("dns", None) => Err(DocumentError::new("", "a name server has an address")),
        (other, _) => Err(DocumentError::new("", format!("the service {other:?} is not known"))),
    };
    services.iter().map(server).collect()
}
