//! netplan(5), and cloud-init's network configuration of version 2, which is a part of it.

use super::{Gateways, HEAD, Inexpressible, NetFile, name};
use crate::net::config::{Auto6, Bond, Bridge, Config, Hardware, Kind, Link, Route};
use crate::yaml;
use serde_json::{Map, Value, json};

/// The one file of netplan.
pub(super) fn netplan(config: &Config) -> Result<Vec<NetFile>, Inexpressible> {
    let text = HEAD.to_owned() + &yaml::block(&json!({ "network": document(config, Flavour::Netplan)? }));
    Ok(vec![NetFile { path: "/etc/netplan/50-imgraft.yaml".to_owned(), mode: 0o600, text }])
}

/// A text of [`netplan`]'s that has netplan hand everything to NetworkManager; unasked it takes networkd.
pub(crate) fn for_network_manager(text: &str) -> String {
    text.replacen("\n  version: 2\n", "\n  version: 2\n  renderer: \"NetworkManager\"\n", 1)
}

/// A part of cloud-init's own configuration.
pub(super) fn cloud_init(config: &Config, gateways: Gateways) -> Result<Vec<NetFile>, Inexpressible> {
    let text = HEAD.to_owned() + &yaml::block(&json!({ "network": document(config, Flavour::CloudInit(gateways))? }));
    Ok(vec![NetFile { path: "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg".to_owned(), mode: 0o600, text }])
}

/// The same without a key around it: `network-config` of NoCloud, where the version stands outermost.
pub(super) fn network_config(config: &Config, gateways: Gateways) -> Result<Value, Inexpressible> {
    document(config, Flavour::CloudInit(gateways))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Netplan,
    CloudInit(Gateways),
}

fn document(config: &Config, flavour: Flavour) -> Result<Value, Inexpressible> {
    let mut sections = ["ethernets", "bonds", "bridges", "vlans"].map(|name| (name, Map::new()));
    for link in &config.links {
        if let Flavour::CloudInit(gateways) = flavour
            && let Some(what) = lost(link, gateways)
        {
            return Err(Inexpressible::new("cloud-init", link, what));
        }
        let entry = self::link(config, link, flavour);
        let name = match link.kind {
            Kind::Hardware(_) => "ethernets",
            Kind::Bond(..) => "bonds",
            Kind::Bridge(..) => "bridges",
            Kind::Vlan(..) => "vlans",
        };
        if let Some((_, section)) = sections.iter_mut().find(|(section, _)| *section == name) {
            section.insert(key(link, flavour).to_owned(), Value::Object(entry));
        }
    }
    let mut document = Map::new();
    document.insert("version".into(), 2.into());
    let is_there = |(name, section): &(&str, Map<_, _>)| {
        // Nothing is to be configured: that is said too.
        !section.is_empty() || (*name == "ethernets" && config.links.is_empty())
    };
    for (name, section) in sections.into_iter().filter(is_there) {
        document.insert(name.into(), Value::Object(section));
    }
    Ok(Value::Object(document))
}

/// What an entry is called. Without a name to set, cloud-init's renderers take this for the name that the device has already, and to
/// all of them the parts of others are names of devices.
fn key(link: &Link, flavour: Flavour) -> &str {
    if flavour != Flavour::Netplan { name(link) } else { &link.id }
}

/// What cloud-init does not hand on to its renderers of files (`NetworkStateInterpreter`; to netplan, where the guest has it, it hands on
/// everything).
fn lost(link: &Link, gateways: Gateways) -> Option<&'static str> {
    if let Kind::Hardware(hardware) = &link.kind {
        let is_id_a_name = link.id.len() <= 15 && !link.id.starts_with('-');
        match (hardware.mac, &hardware.rename, hardware.pattern()) {
            (None, Some(_), _) => return Some("a new name for a device that is not known by its MAC address"),
            (_, None, Some(_)) => return Some("a pattern of names"),
            (Some(_), None, None) if hardware.name.is_none() && !is_id_a_name => {
                return Some("a device without a name");
            }
            _ => {}
        }
    } else if link.auto6 == Auto6::Off {
        return Some("accept-ra: false of what is no device of its own");
    }
    // Routes stand with the first address, and with them only where they go and by which router.
    let has_first = link.dhcp4 || link.auto6 == Auto6::Dhcp || !link.addresses.is_empty();
    match link.routes.first() {
        Some(_) if !has_first => return Some("a route without an address or DHCP"),
        _ if link.routes.iter().any(|route| route.via.is_none()) => return Some("a route without a router"),
        _ if link.routes.iter().any(|route| route.metric.is_some()) => return Some("the metric of a route"),
        _ if link.routes.iter().any(|route| route.on_link) => return Some("on-link: true of a route"),
        _ if gateways == Gateways::Keys
            && link.routes.iter().any(is_default6)
            && link.addresses(6).next().is_none() =>
        {
            return Some("a default route of IPv6 without an address of it");
        }
        _ => {}
    }
    match link {
        Link { mac: Some(_), .. } => Some("a MAC address that it is to have"),
        Link { optional: true, .. } => Some("optional: true"),
        _ => None,
    }
}

fn link(config: &Config, link: &Link, flavour: Flavour) -> Map<String, Value> {
    let mut entry = Map::new();
    let mut put = |key: &str, value: Value| _ = entry.insert(key.to_owned(), value);
    let key_of = |id: &String| config.link(id).map_or(id.as_str(), |link| key(link, flavour)).to_owned();
    let keys_of = |ids: &[String]| Value::from(ids.iter().map(key_of).collect::<Vec<_>>());
    match &link.kind {
        Kind::Hardware(hardware) => self::hardware(hardware, key(link, flavour), flavour, &mut put),
        Kind::Bond(members, bond) => {
            put("interfaces", keys_of(members));
            put_parameters(&mut put, self::bond(bond, bond.primary.as_ref().map(key_of), flavour));
        }
        Kind::Bridge(ports, bridge) => {
            put("interfaces", keys_of(ports));
            put_parameters(&mut put, self::bridge(bridge));
        }
        Kind::Vlan(parent, tag) => {
            put("id", (*tag).into());
            put("link", key_of(parent).into());
        }
    }
    if let Some(mac) = link.mac {
        put("macaddress", mac.to_string().into());
    }
    if let Some(mtu) = link.mtu {
        put("mtu", mtu.into());
    }
    if link.optional {
        put("optional", true.into());
    }
    if config.master(&link.id).is_none() {
        for (key, value) in addresses(link, flavour) {
            put(key, value);
        }
    }
    entry
}

fn hardware(hardware: &Hardware, key: &str, flavour: Flavour, put: &mut impl FnMut(&str, Value)) {
    let is_key = hardware.mac.is_none() && hardware.rename.is_none() && hardware.name.as_deref() == Some(key);
    if !is_key {
        let mut matches = Map::new();
        if let Some(name) = &hardware.name {
            matches.insert("name".into(), name.clone().into());
        }
        if let Some(mac) = hardware.mac {
            matches.insert("macaddress".into(), mac.to_string().into());
        }
        put("match", Value::Object(matches));
    }
    match &hardware.rename {
        Some(rename) => put("set-name", rename.clone().into()),
        None if flavour != Flavour::Netplan && hardware.name.is_none() => put("set-name", key.into()),
        None => {}
    }
}

fn addresses(link: &Link, flavour: Flavour) -> Vec<(&'static str, Value)> {
    let mut entries = Vec::new();
    if link.dhcp4 {
        entries.push(("dhcp4", true.into()));
    }
    match link.auto6 {
        Auto6::Unsaid => {}
        Auto6::Off => entries.push(("accept-ra", false.into())),
        // Whether to ask by DHCP too is a thing that routers say.
        Auto6::Slaac | Auto6::Stateless => entries.push(("accept-ra", true.into())),
        Auto6::Dhcp => entries.push(("dhcp6", true.into())),
    }
    if !link.addresses.is_empty() {
        let addresses: Vec<_> = link.addresses.iter().map(ToString::to_string).collect();
        entries.push(("addresses", addresses.into()));
    }
    let (gateways, routes): (Vec<Route>, Vec<Route>) =
        link.routes.iter().partition(|route| flavour == Flavour::CloudInit(Gateways::Keys) && is_default6(route));
    if let Some(via) = gateways.first().and_then(|route| route.via) {
        entries.push(("gateway6", via.to_string().into()));
    }
    if !routes.is_empty() {
        entries.push(("routes", routes.into_iter().map(self::route).collect()));
    }
    let mut dns = Map::new();
    if !link.dns.servers.is_empty() {
        let servers: Vec<_> = link.dns.servers.iter().map(ToString::to_string).collect();
        dns.insert("addresses".into(), servers.into());
    }
    if !link.dns.search.is_empty() {
        dns.insert("search".into(), link.dns.search.clone().into());
    }
    if !dns.is_empty() {
        entries.push(("nameservers", Value::Object(dns)));
    }
    entries
}

/// Whether it is the route that cloud-init takes for one to `::/64` (22.4, which takes a length of 0 for none), and knows as a gateway.
fn is_default6(route: &Route) -> bool {
    route.is_default() && route.to.version() == 6
}

fn route(route: Route) -> Value {
    let mut entry = Map::new();
    entry.insert("to".into(), route.to.to_string().into());
    match route.via {
        Some(via) => _ = entry.insert("via".into(), via.to_string().into()),
        None => _ = entry.insert("scope".into(), "link".into()),
    }
    if let Some(metric) = route.metric {
        entry.insert("metric".into(), metric.into());
    }
    if route.on_link {
        entry.insert("on-link".into(), true.into());
    }
    Value::Object(entry)
}

fn bond(bond: &Bond, primary: Option<String>, flavour: Flavour) -> Vec<(&'static str, Option<Value>)> {
    // The schema of cloud-init has a text here, and numbers for the delays.
    let interval = |time: u32| if flavour == Flavour::Netplan { time.into() } else { time.to_string().into() };
    vec![
        ("mode", bond.mode.map(Value::from)),
        ("mii-monitor-interval", bond.miimon.map(interval)),
        ("up-delay", bond.up_delay.map(Value::from)),
        ("down-delay", bond.down_delay.map(Value::from)),
        ("lacp-rate", bond.lacp_rate.map(Value::from)),
        ("transmit-hash-policy", bond.xmit_hash_policy.map(Value::from)),
        ("ad-select", bond.ad_select.map(Value::from)),
        ("min-links", bond.min_links.map(Value::from)),
        ("primary", primary.map(Value::from)),
    ]
}

fn bridge(bridge: &Bridge) -> Vec<(&'static str, Option<Value>)> {
    vec![
        // netplan's default is that it speaks the protocol, the kernel's that it does not.
        ("stp", Some(bridge.stp.unwrap_or(false).into())),
        ("priority", bridge.priority.map(Value::from)),
        ("forward-delay", bridge.forward_delay.map(Value::from)),
        ("hello-time", bridge.hello_time.map(Value::from)),
        ("max-age", bridge.max_age.map(Value::from)),
        ("ageing-time", bridge.ageing_time.map(Value::from)),
    ]
}

fn put_parameters(put: &mut impl FnMut(&str, Value), parameters: Vec<(&'static str, Option<Value>)>) {
    let parameters: Map<_, _> =
        parameters.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    if !parameters.is_empty() {
        put("parameters", Value::Object(parameters));
    }
}
