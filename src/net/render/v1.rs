//! cloud-init's network configuration of version 1, for devices that are there.
//!
//! Of a router it has what each of cloud-init's versions understands and none calls deprecated: 22.4 and older make `::/64` of a route of
//! version 2 to `::/0`, newer ones complain of `gateway6`, and some of both refuse `default`. It is also where cloud-init itself sees
//! that a router is on the link (since 23.1 for netplan, since 24.2 for networkd), and has no word for it in version 2.

use super::name;
use crate::net::config::{Auto6, Config, Hardware, Kind, Link, Route};
use serde_json::{Map, Value, json};

/// Whether it says all of a configuration, and version 2 does not do so to every cloud-init.
pub(super) fn is_better(config: &Config) -> bool {
    config.links.iter().any(has_router_of_its_own) && config.links.iter().all(is_expressible)
}

/// Whether a default route is one of IPv6, or its router in none of the networks that the link has addresses of.
fn has_router_of_its_own(link: &Link) -> bool {
    let is_outside = |route: &Route| route.via.is_some_and(|via| !link.reaches(via));
    link.routes.iter().any(|route| route.is_default() && (route.to.version() == 6 || is_outside(route)))
}

/// Whether cloud-init hands on to netplan too what this makes of a link: routes and name servers stand with addresses that are given.
fn is_expressible(link: &Link) -> bool {
    let Kind::Hardware(Hardware { mac, name, rename }) = &link.kind else { return false };
    let is_known = match (mac, name) {
        (Some(_), None) => true,
        (None, Some(_)) => rename.is_none(),
        _ => false,
    };
    let has_address = |version: u8| link.addresses(version).next().is_some();
    let has_dns = !link.dns.servers.is_empty() || !link.dns.search.is_empty();
    is_known
        && link.routes.iter().all(|route| has_address(route.to.version()))
        && (!has_dns || !link.addresses.is_empty())
}

/// The configuration. What [`is_better`] does not ask for is left out.
pub(super) fn document(config: &Config) -> Value {
    let devices: Vec<_> = config.links.iter().map(device).collect();
    json!({ "version": 1, "config": devices })
}

fn device(link: &Link) -> Value {
    let mut entry = Map::new();
    entry.insert("type".into(), "physical".into());
    entry.insert("name".into(), name(link).into());
    if let Kind::Hardware(Hardware { mac: Some(mac), .. }) = &link.kind {
        entry.insert("mac_address".into(), mac.to_string().into());
    }
    if let Some(mtu) = link.mtu {
        entry.insert("mtu".into(), mtu.into());
    }
    match link.auto6 {
        Auto6::Unsaid | Auto6::Dhcp => {}
        Auto6::Off => _ = entry.insert("accept-ra".into(), false.into()),
        // As in version 2: whether to ask by DHCP too is a thing that routers say.
        Auto6::Slaac | Auto6::Stateless => _ = entry.insert("accept-ra".into(), true.into()),
    }
    entry.insert("subnets".into(), subnets(link).into());
    Value::Object(entry)
}

fn subnets(link: &Link) -> Vec<Value> {
    let mut subnets = Vec::new();
    if link.dhcp4 {
        subnets.push(json!({ "type": "dhcp4" }));
    }
    if link.auto6 == Auto6::Dhcp {
        subnets.push(json!({ "type": "dhcp6" }));
    }
    for (number, address) in link.addresses.iter().enumerate() {
        let mut subnet = Map::new();
        // Of both versions of IP: 19.4 and older have no static6 for all of their renderers.
        subnet.insert("type".into(), "static".into());
        subnet.insert("address".into(), address.to_string().into());
        if link.addresses(address.version()).next() == Some(*address) {
            put_routes(&mut subnet, link.routes(address.version()));
        }
        // All with one: the last one that has any counts for ifcfg files.
        if number == 0 {
            put_dns(&mut subnet, link);
        }
        subnets.push(Value::Object(subnet));
    }
    subnets
}

fn put_routes(subnet: &mut Map<String, Value>, routes: impl Iterator<Item = Route>) {
    let mut others = Vec::new();
    for Route { to, via, .. } in routes {
        let Some(via) = via else { continue };
        if to.prefix() == 0 && !subnet.contains_key("gateway") {
            subnet.insert("gateway".into(), via.to_string().into());
        } else {
            others.push(json!({ "network": to.to_string(), "gateway": via.to_string() }));
        }
    }
    if !others.is_empty() {
        subnet.insert("routes".into(), others.into());
    }
}

fn put_dns(subnet: &mut Map<String, Value>, link: &Link) {
    if !link.dns.servers.is_empty() {
        let servers: Vec<_> = link.dns.servers.iter().map(ToString::to_string).collect();
        subnet.insert("dns_nameservers".into(), servers.into());
    }
    if !link.dns.search.is_empty() {
        subnet.insert("dns_search".into(), link.dns.search.clone().into());
    }
}
