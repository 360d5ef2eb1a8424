//! Version 1 of cloud-init's network configuration.
//!
//! A list of links, name servers and routes. What has no meaning in every guest is an error that names it.

use super::OneOrMore;
use super::netmask::{self, Netmask};
use super::typed::{
    AdSelect, BondMode, Destination, HashPolicy, LacpRate, MacText, Milliseconds, Number, Seconds, Truth,
};
use crate::config_drive::{DocumentError, from_value};
use crate::net::config::{Auto6, Bond, Bridge, Config, Dns, Hardware, Kind, Link, Route};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// The document, without the `network:` around it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[allow(dead_code, reason = "looked at before the document is read")]
    version: Number,
    config: Vec<Map<String, Value>>,
}

/// What all links have; `flatten` and `deny_unknown_fields` do not go together, so it is a macro.
macro_rules! links {
    ($($(#[$doc:meta])* $name:ident { $($(#[$serde:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            name: String,
            $($(#[$serde])* $field: $type,)*
            #[serde(default)]
            mac_address: Option<MacText>,
            #[serde(default)]
            mtu: Option<Number>,
            #[serde(default, rename = "accept-ra")]
            accept_ra: Option<Truth>,
            #[serde(default)]
            subnets: Vec<Subnet>,
        }

        impl $name {
            /// The link with what all links have.
            fn link(self, kind: Kind) -> Result<Link, DocumentError> {
                let mut link = Link::new(self.name, kind);
                if !matches!(link.kind, Kind::Hardware(_)) {
                    link.mac = self.mac_address.map(|mac| mac.0);
                }
                link.mtu = self.mtu.map(|mtu| mtu.0);
                for (number, subnet) in self.subnets.into_iter().enumerate() {
                    put(&mut link, subnet).map_err(|error| error.within(&format!("subnets[{number}]")))?;
                }
                accept_ra(&mut link, self.accept_ra.map(|truth| truth.0))?;
                Ok(link)
            }
        }
    )+};
}

links! {
    /// A device that is there.
    Physical {}
    /// Several links as one.
    Bonded { bond_interfaces: Vec<String>, #[serde(default)] params: BondParameters, }
    /// A switch.
    Bridged { #[serde(default)] bridge_interfaces: Vec<String>, #[serde(default)] params: BridgeParameters, }
    /// A VLAN.
    Tagged { vlan_link: String, vlan_id: Number, }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nameserver {
    #[serde(default)]
    address: Option<OneOrMore<IpAddr>>,
    #[serde(default)]
    search: Option<OneOrMore<String>>,
    #[serde(default)]
    interface: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subnet {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    netmask: Option<Netmask>,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    dns_nameservers: Option<OneOrMore<IpAddr>>,
    #[serde(default)]
    dns_search: Option<OneOrMore<String>>,
    #[serde(default)]
    routes: Vec<RouteEntry>,
    #[serde(default)]
    metric: Option<Number>,
    #[serde(default)]
    control: Option<String>,
    /// Taken and not used: the netmask says it.
    #[serde(default, rename = "broadcast")]
    _broadcast: Option<IpAddr>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteEntry {
    #[serde(alias = "destination")]
    network: Destination,
    #[serde(default)]
    netmask: Option<Netmask>,
    gateway: IpAddr,
    #[serde(default)]
    metric: Option<Number>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BondParameters {
    #[serde(default, rename = "bond-mode", alias = "mode")]
    mode: Option<BondMode>,
    #[serde(default, rename = "bond-miimon", alias = "miimon")]
    miimon: Option<Milliseconds>,
    #[serde(default, rename = "bond-updelay")]
    up_delay: Option<Milliseconds>,
    #[serde(default, rename = "bond-downdelay")]
    down_delay: Option<Milliseconds>,
    #[serde(default, rename = "bond-lacp-rate", alias = "bond-lacp_rate")]
    lacp_rate: Option<LacpRate>,
    #[serde(default, rename = "bond-xmit-hash-policy", alias = "bond-xmit_hash_policy")]
    xmit_hash_policy: Option<HashPolicy>,
    #[serde(default, rename = "bond-ad-select", alias = "bond-ad_select")]
    ad_select: Option<AdSelect>,
    #[serde(default, rename = "bond-min-links", alias = "bond-min_links")]
    min_links: Option<Number>,
    #[serde(default, rename = "bond-primary")]
    primary: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BridgeParameters {
    #[serde(default)]
    bridge_stp: Option<Truth>,
    #[serde(default)]
    bridge_bridgeprio: Option<Number>,
    #[serde(default)]
    bridge_fd: Option<Seconds>,
    #[serde(default)]
    bridge_hello: Option<Seconds>,
    #[serde(default)]
    bridge_maxage: Option<Seconds>,
    #[serde(default)]
    bridge_ageing: Option<Seconds>,
}

/// The configuration of a document.
pub(super) fn config(document: Document) -> Result<Config, DocumentError> {
    let mut links: Vec<Link> = Vec::new();
    let mut everywhere = Dns::default();
    let mut of_links: Vec<(usize, String, Dns)> = Vec::new();
    let mut routes: Vec<(usize, Route)> = Vec::new();
    for (number, mut entry) in document.config.into_iter().enumerate() {
        let kind = entry.remove("type");
        let entry = Value::Object(entry);
        let fail = |error: DocumentError| error.within(&format!("config[{number}]"));
        match kind.as_ref().and_then(Value::as_str) {
            Some("nameserver") => {
                let Nameserver { address, search, interface } = from_value(entry).map_err(fail)?;
                let dns = dns(address, search);
                match interface {
                    Some(id) => of_links.push((number, id, dns)),
                    None => merge(&mut everywhere, &dns),
                }
            }
            Some("route") => routes.push((number, from_value(entry).and_then(route).map_err(fail)?)),
            // The guest has its own.
            Some("loopback") => {}
            Some(kind) => links.push(link(kind, entry).map_err(fail)?),
            None => return Err(fail(DocumentError::new("type", "it is missing"))),
        }
    }
    for (number, id, dns) in of_links {
        let link = links.iter_mut().find(|link| link.id == id);
        let missing = || DocumentError::new(format!("config[{number}].interface"), format!("there is no link {id:?}"));
        merge(&mut link.ok_or_else(missing)?.dns, &dns);
    }
    for (number, route) in routes {
        let link = links.iter_mut().find(|link| route.via.is_some_and(|via| link.reaches(via)));
        let missing =
            || DocumentError::new(format!("config[{number}]"), "no link's addresses have the route's gateway");
        link.ok_or_else(missing)?.routes.push(route);
    }
    for link in &mut links {
        super::put_hosts_routers_on_link(link);
        if link.is_configured() {
            merge(&mut link.dns, &everywhere);
        }
    }
    Ok(Config { links })
}

fn link(kind: &str, entry: Value) -> Result<Link, DocumentError> {
    match kind {
        "physical" => {
            let entry: Physical = from_value(entry)?;
            // As cloud-init has it: the device with this address gets this name.
            let hardware = match entry.mac_address {
                Some(mac) => Hardware { rename: Some(entry.name.clone()), ..Hardware::with_mac(mac.0) },
                None => Hardware::named(entry.name.clone()),
            };
            entry.link(Kind::Hardware(hardware))
        }
        "bond" => {
            let entry: Bonded = from_value(entry)?;
            let kind = Kind::Bond(entry.bond_interfaces.clone(), entry.params.clone().into());
            entry.link(kind)
        }
        "bridge" => {
            let entry: Bridged = from_value(entry)?;
            let kind = Kind::Bridge(entry.bridge_interfaces.clone(), entry.params.clone().into());
            entry.link(kind)
        }
        "vlan" => {
            let entry: Tagged = from_value(entry)?;
            let tag = u16::try_from(entry.vlan_id.0)
                .map_err(|_| DocumentError::new("vlan_id", "a VLAN has an id of 1 to 4094"))?;
            let kind = Kind::Vlan(entry.vlan_link.clone(), tag);
            entry.link(kind)
        }
        _ => Err(DocumentError::new("type", "expected physical, bond, bridge, vlan, nameserver or route")),
    }
}

fn accept_ra(link: &mut Link, accept: Option<bool>) -> Result<(), DocumentError> {
    match accept {
        Some(true) if link.auto6 == Auto6::Unsaid => link.auto6 = Auto6::Slaac,
        Some(false) if link.auto6 == Auto6::Unsaid => link.auto6 = Auto6::Off,
        Some(false) => {
            return Err(DocumentError::new("accept-ra", "it is false, and a subnet needs what routers advertise"));
        }
        Some(true) | None => {}
    }
    Ok(())
}

fn put(link: &mut Link, subnet: Subnet) -> Result<(), DocumentError> {
    match subnet.control.as_deref() {
        None | Some("auto") => {}
        Some(_) => return Err(DocumentError::new("control", "only auto is supported")),
    }
    match subnet.kind.as_str() {
        "static" | "static6" => {
            let text = subnet.address.as_deref().ok_or_else(|| DocumentError::new("address", "it is missing"))?;
            link.addresses.push(netmask::address(text, subnet.netmask.as_ref())?);
        }
        "dhcp" | "dhcp4" => link.dhcp4 = true,
        "dhcp6" | "ipv6_dhcpv6-stateful" => link.auto6 = Auto6::Dhcp,
        "ipv6_dhcpv6-stateless" => link.auto6 = Auto6::Stateless,
        "ipv6_slaac" => link.auto6 = Auto6::Slaac,
        "manual" => {}
        _ => {
            let known = "expected static, static6, dhcp, dhcp4, dhcp6, manual, ipv6_slaac, ipv6_dhcpv6-stateful or \
                         ipv6_dhcpv6-stateless";
            return Err(DocumentError::new("type", known));
        }
    }
    let metric = subnet.metric.map(|metric| metric.0);
    match subnet.gateway {
        Some(gateway) => link.routes.push(Route { metric, ..Route::default_via(gateway) }),
        None if metric.is_some() => return Err(DocumentError::new("metric", "it goes with a gateway")),
        None => {}
    }
    for (number, entry) in subnet.routes.into_iter().enumerate() {
        link.routes.push(route(entry).map_err(|error| error.within(&format!("routes[{number}]")))?);
    }
    merge(&mut link.dns, &dns(subnet.dns_nameservers, subnet.dns_search));
    Ok(())
}

fn route(entry: RouteEntry) -> Result<Route, DocumentError> {
    let to = entry.network.range(Some(entry.gateway));
    let mut to = to.ok_or_else(|| DocumentError::new("network", "it is missing"))?;
    if let Some(netmask) = entry.netmask {
        let prefix = netmask.prefix(to.ip());
        let prefix = prefix.ok_or_else(|| DocumentError::new("netmask", "it is no netmask of this version of IP"))?;
        to = to.with_prefix(prefix).lowest();
    }
    Ok(Route { to, via: Some(entry.gateway), metric: entry.metric.map(|metric| metric.0), on_link: false })
}

fn dns(servers: Option<OneOrMore<IpAddr>>, search: Option<OneOrMore<String>>) -> Dns {
    Dns {
        servers: servers.map(OneOrMore::into_vec).unwrap_or_default(),
        search: search.map(OneOrMore::into_vec).unwrap_or_default(),
    }
}

fn merge(into: &mut Dns, from: &Dns) {
    for server in &from.servers {
        if !into.servers.contains(server) {
            into.servers.push(*server);
        }
    }
    for domain in &from.search {
        if !into.search.contains(domain) {
            into.search.push(domain.clone());
        }
    }
}

impl From<BondParameters> for Bond {
    fn from(given: BondParameters) -> Self {
        Self {
            mode: given.mode.map(|mode| mode.0),
            miimon: given.miimon.map(|time| time.0),
            up_delay: given.up_delay.map(|time| time.0),
            down_delay: given.down_delay.map(|time| time.0),
            lacp_rate: given.lacp_rate.map(|rate| rate.0),
            xmit_hash_policy: given.xmit_hash_policy.map(|policy| policy.0),
            ad_select: given.ad_select.map(|select| select.0),
            min_links: given.min_links.map(|links| links.0),
            primary: given.primary,
        }
    }
}

impl From<BridgeParameters> for Bridge {
    fn from(given: BridgeParameters) -> Self {
        Self {
            stp: given.bridge_stp.map(|stp| stp.0),
            priority: given.bridge_bridgeprio.map(|priority| priority.0),
            forward_delay: given.bridge_fd.map(|time| time.0),
            hello_time: given.bridge_hello.map(|time| time.0),
            max_age: given.bridge_maxage.map(|time| time.0),
            ageing_time: given.bridge_ageing.map(|time| time.0),
        }
    }
}
