//! Version 2 of cloud-init's network configuration, which is netplan(5)'s.
//!
//! What of it has no meaning in every guest (`renderer`, Wi-Fi, tunnels, OpenFlow, overrides of DHCP, …) is an error that names it.

use super::OneOrMore;
use super::typed::{
    AdSelect, AddressText, BondMode, Destination, HashPolicy, LacpRate, MacText, Members, Milliseconds, Number,
    Seconds, Truth,
};
use crate::config_drive::DocumentError;
use crate::net::config::{Auto6, Bond, Bridge, Config, Dns, Hardware, Kind, Link, Route};
use serde::Deserialize;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The document, without the `network:` around it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[allow(dead_code, reason = "looked at before the document is read")]
    version: Number,
    #[serde(default)]
    ethernets: Members<Ethernet>,
    #[serde(default)]
    bonds: Members<Bonded>,
    #[serde(default)]
    bridges: Members<Bridged>,
    #[serde(default)]
    vlans: Members<Tagged>,
    #[serde(default)]
    renderer: Option<Value>,
}

/// What all devices have; `flatten` and `deny_unknown_fields` do not go together, so it is a macro.
macro_rules! devices {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct $name {
            $(#[serde(default)] $field: $type,)*
            #[serde(default)]
            renderer: Option<Value>,
            #[serde(default)]
            dhcp4: Option<Truth>,
            #[serde(default)]
            dhcp6: Option<Truth>,
            #[serde(default)]
            accept_ra: Option<Truth>,
            #[serde(default)]
            addresses: Vec<AddressText>,
            #[serde(default)]
            gateway4: Option<Ipv4Addr>,
            #[serde(default)]
            gateway6: Option<Ipv6Addr>,
            #[serde(default)]
            nameservers: Nameservers,
            #[serde(default)]
            routes: Vec<RouteEntry>,
            #[serde(default)]
            macaddress: Option<MacText>,
            #[serde(default)]
            mtu: Option<Number>,
            #[serde(default)]
            optional: Option<Truth>,
        }

        impl $name {
            /// The link with what all devices have.
            fn link(&mut self, id: &str, kind: Kind) -> Result<Link, DocumentError> {
                if self.renderer.is_some() {
                    return Err(renderer(id));
                }
                let common = Common {
                    dhcp4: self.dhcp4, dhcp6: self.dhcp6, accept_ra: self.accept_ra,
                    addresses: std::mem::take(&mut self.addresses), gateways: [self.gateway4.map(IpAddr::V4), self.gateway6.map(IpAddr::V6)],
                    nameservers: std::mem::take(&mut self.nameservers), routes: std::mem::take(&mut self.routes),
                };
                let mut link = common.link(id, kind)?;
                link.mac = self.macaddress.map(|mac| mac.0);
                link.mtu = self.mtu.map(|mtu| mtu.0);
                link.optional = self.optional.is_some_and(|optional| optional.0);
                Ok(link)
            }
        }
    )+};
}

devices! {
    /// A device that is there.
    Ethernet { r#match: Option<Matches>, set_name: Option<String>, }
    /// Several devices as one.
    Bonded { interfaces: Vec<String>, parameters: BondParameters, }
    /// A switch.
    Bridged { interfaces: Vec<String>, parameters: BridgeParameters, }
    /// A VLAN.
    Tagged { id: Option<Number>, link: Option<String>, }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Matches {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    macaddress: Option<MacText>,
    #[serde(default)]
    driver: Option<OneOrMore<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nameservers {
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default)]
    search: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RouteEntry {
    to: Destination,
    #[serde(default)]
    via: Option<IpAddr>,
    #[serde(default)]
    metric: Option<Number>,
    #[serde(default)]
    on_link: Option<Truth>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BondParameters {
    #[serde(default)]
    mode: Option<BondMode>,
    #[serde(default)]
    lacp_rate: Option<LacpRate>,
    #[serde(default)]
    mii_monitor_interval: Option<Milliseconds>,
    #[serde(default)]
    min_links: Option<Number>,
    #[serde(default)]
    transmit_hash_policy: Option<HashPolicy>,
    #[serde(default)]
    ad_select: Option<AdSelect>,
    #[serde(default)]
    up_delay: Option<Milliseconds>,
    #[serde(default)]
    down_delay: Option<Milliseconds>,
    #[serde(default)]
    primary: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BridgeParameters {
    #[serde(default)]
    stp: Option<Truth>,
    #[serde(default)]
    priority: Option<Number>,
    #[serde(default)]
    forward_delay: Option<Seconds>,
    #[serde(default)]
    hello_time: Option<Seconds>,
    #[serde(default)]
    max_age: Option<Seconds>,
    #[serde(default)]
    ageing_time: Option<Seconds>,
}

/// The configuration of a document.
pub(super) fn config(document: Document) -> Result<Config, DocumentError> {
    let mut links = Vec::new();
    let Document { version: _, ethernets, bonds, bridges, vlans, renderer } = document;
    if renderer.is_some() {
        return Err(self::renderer(""));
    }
    for (id, mut ethernet) in ethernets.0 {
        let hardware = hardware(&id, &mut ethernet)?;
        links.push(
            ethernet.link(&id, Kind::Hardware(hardware)).map_err(|error| error.within(&format!("ethernets.{id}")))?,
        );
    }
    for (id, mut bond) in bonds.0 {
        let kind = Kind::Bond(std::mem::take(&mut bond.interfaces), bond.parameters.clone().into());
        links.push(bond.link(&id, kind).map_err(|error| error.within(&format!("bonds.{id}")))?);
    }
    for (id, mut bridge) in bridges.0 {
        let kind = Kind::Bridge(std::mem::take(&mut bridge.interfaces), bridge.parameters.clone().into());
        links.push(bridge.link(&id, kind).map_err(|error| error.within(&format!("bridges.{id}")))?);
    }
    for (id, mut vlan) in vlans.0 {
        let missing = |what: &str| DocumentError::new(format!("vlans.{id}"), format!("it has no {what}"));
        let tag = vlan.id.ok_or_else(|| missing("id"))?.0;
        let tag = u16::try_from(tag)
            .map_err(|_| DocumentError::new(format!("vlans.{id}.id"), "a VLAN has an id of 1 to 4094"))?;
        let parent = vlan.link.take().ok_or_else(|| missing("link"))?;
        links.push(vlan.link(&id, Kind::Vlan(parent, tag)).map_err(|error| error.within(&format!("vlans.{id}")))?);
    }
    Ok(Config { links })
}

fn hardware(id: &str, ethernet: &mut Ethernet) -> Result<Hardware, DocumentError> {
    let rename = ethernet.set_name.take();
    let at = |what: &str| format!("ethernets.{id}.{what}");
    let Some(matches) = ethernet.r#match.take() else {
        return match rename {
            Some(_) => Err(DocumentError::new(at("set-name"), "it needs a match")),
            None => Ok(Hardware::named(id)),
        };
    };
    if matches.driver.is_some_and(|driver| !driver.into_vec().is_empty()) {
        return Err(DocumentError::new(at("match.driver"), "not every guest can tell a device by its driver")
            .with_hint("say macaddress or name"));
    }
    let mac = matches.macaddress.map(|mac| mac.0);
    if mac.is_none() && matches.name.is_none() {
        return Err(DocumentError::new(at("match"), "it is empty, which is every device")
            .with_hint("say macaddress or name, or leave match out"));
    }
    Ok(Hardware { mac, name: matches.name, rename })
}

struct Common {
    dhcp4: Option<Truth>,
    dhcp6: Option<Truth>,
    accept_ra: Option<Truth>,
    addresses: Vec<AddressText>,
    gateways: [Option<IpAddr>; 2],
    nameservers: Nameservers,
    routes: Vec<RouteEntry>,
}

impl Common {
    fn link(self, id: &str, kind: Kind) -> Result<Link, DocumentError> {
        let mut link = Link::new(id, kind);
        let is_on = |truth: Option<Truth>| truth.is_some_and(|truth| truth.0);
        link.dhcp4 = is_on(self.dhcp4);
        link.auto6 = match (is_on(self.dhcp6), self.accept_ra.map(|truth| truth.0)) {
            (true, Some(false)) => {
                return Err(DocumentError::new(
                    "accept-ra",
                    "it is false, and dhcp6 begins with what a router advertises",
                ));
            }
            (true, _) => Auto6::Dhcp,
            (false, Some(true)) => Auto6::Slaac,
            (false, Some(false)) => Auto6::Off,
            (false, None) => Auto6::Unsaid,
        };
        link.addresses = self.addresses.into_iter().map(|address| address.0).collect();
        link.routes.extend(self.gateways.into_iter().flatten().map(Route::default_via));
        for (number, route) in self.routes.into_iter().enumerate() {
            let to = route.to.range(route.via);
            let to = to
                .ok_or_else(|| DocumentError::new(format!("routes[{number}]"), "a default route has a router (via)"))?;
            let metric = route.metric.map(|metric| metric.0);
            link.routes.push(Route { to, via: route.via, metric, on_link: is_on(route.on_link) });
        }
        link.dns = Dns { servers: self.nameservers.addresses, search: self.nameservers.search };
        Ok(link)
    }
}

impl From<BondParameters> for Bond {
    fn from(given: BondParameters) -> Self {
        Self {
            mode: given.mode.map(|mode| mode.0),
            miimon: given.mii_monitor_interval.map(|time| time.0),
            up_delay: given.up_delay.map(|time| time.0),
            down_delay: given.down_delay.map(|time| time.0),
            lacp_rate: given.lacp_rate.map(|rate| rate.0),
            xmit_hash_policy: given.transmit_hash_policy.map(|policy| policy.0),
            ad_select: given.ad_select.map(|select| select.0),
            min_links: given.min_links.map(|links| links.0),
            primary: given.primary,
        }
    }
}

impl From<BridgeParameters> for Bridge {
    fn from(given: BridgeParameters) -> Self {
        Self {
            stp: given.stp.map(|stp| stp.0),
            priority: given.priority.map(|priority| priority.0),
            forward_delay: given.forward_delay.map(|time| time.0),
            hello_time: given.hello_time.map(|time| time.0),
            max_age: given.max_age.map(|time| time.0),
            ageing_time: given.ageing_time.map(|time| time.0),
        }
    }
}

fn renderer(id: &str) -> DocumentError {
    let at = if id.is_empty() { "renderer" } else { "" };
    DocumentError::new(at, "which program configures the network is a question to the guest, not to the document")
        .with_hint("leave renderer out, or choose with --network-renderer")
}
