//! Whether a configuration makes sense, and holds nothing that a renderer's text could be broken with.

use super::{Config, Kind, Link, Route, is_link_local, is_pattern};
use crate::net::Cidr;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;

/// The most links of a machine.
const LINKS_MAX: usize = 1024;
/// The most addresses, routes or name servers of a link.
const LIST_MAX: usize = 1024;
/// The longest name of a device in bytes (`IFNAMSIZ` with its NUL is 16).
const NAME_MAX: usize = 15;
/// The longest domain name in bytes (RFC 1035, section 2.3.4).
const DOMAIN_MAX: usize = 253;
/// The least and the greatest MTU in bytes: what IPv4 needs (RFC 791), and what its header can say.
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;
/// The least MTU with IPv6 in bytes (RFC 8200, section 5).
const MTU_V6: u32 = 1280;
/// The greatest forward delay, hello time and age of a bridge, in seconds (net/bridge of Linux).
const BRIDGE: [(&str, std::ops::RangeInclusive<u32>); 5] = [
    ("priority", 0..=65535),
    ("forward delay", 0..=30),
    ("hello time", 1..=10),
    ("max age", 6..=40),
    ("ageing time", 0..=1_000_000),
];

/// What makes no sense in a configuration: which link, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsound {
    /// The link's id; empty where it is about all of them.
    pub link: String,
    /// Why, a clause.
    pub reason: String,
}

impl fmt::Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link.as_str() {
            "" => f.write_str(&self.reason),
            link => write!(f, "the link {link:?}: {}", self.reason),
        }
    }
}

impl std::error::Error for Unsound {}

impl Config {
    /// Fails with the first thing that makes no sense.
    pub fn check(&self) -> Result<(), Unsound> {
        let whole = |reason: &str| Err(Unsound { link: String::new(), reason: reason.to_owned() });
        if self.links.is_empty() {
            return whole("it has no links");
        }
        if self.links.len() > LINKS_MAX {
            return whole("it has more than 1024 links");
        }
        let mut ids = HashSet::new();
        let mut devices = HashSet::new();
        let mut masters: HashMap<&str, &str> = HashMap::new();
        for link in &self.links {
            let fail = |reason: String| Err(Unsound { link: link.id.clone(), reason });
            link.check().or_else(&fail)?;
            if !ids.insert(link.id.as_str()) {
                return fail("it is there twice".to_owned());
            }
            if let Some(device) = link.device()
                && !devices.insert(device)
            {
                return fail(format!("another link has the name {device:?} too"));
            }
            let mut lower = HashSet::new();
            for id in link.lower() {
                let Some(_) = self.link(id) else {
                    return fail(format!("there is no link {id:?}"));
                };
                if !lower.insert(id) {
                    return fail(format!("{id:?} is there twice"));
                }
                if !matches!(link.kind, Kind::Vlan(..))
                    && let Some(other) = masters.insert(id, &link.id)
                {
                    return fail(format!("{id:?} is a part of {other:?} already"));
                }
            }
        }
        for link in &self.links {
            if self.is_below_itself(link) {
                return Err(Unsound { link: link.id.clone(), reason: "it lies on itself".to_owned() });
            }
            if let Some(master) = self.master(&link.id)
                && (link.is_configured() || !link.routes.is_empty())
            {
                let reason = format!("it is a part of {:?}, which has the addresses and the routes then", master.id);
                return Err(Unsound { link: link.id.clone(), reason });
            }
        }
        Ok(())
    }

    /// Whether a link is among those that it is made of, or that these are made of.
    fn is_below_itself(&self, link: &Link) -> bool {
        let mut seen = HashSet::new();
        let mut below: Vec<&String> = link.lower().iter().collect();
        while let Some(id) = below.pop() {
            if *id == link.id {
                return true;
            }
            if seen.insert(id) {
                below.extend(self.link(id).into_iter().flat_map(Link::lower));
            }
        }
        false
    }
}

impl Link {
    fn check(&self) -> Result<(), String> {
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(is_word) || self.id.starts_with('.') {
            return Err("its id is not made of 1 to 64 letters, digits and any of . _ - + @".to_owned());
        }
        if let Some(device) = self.device() {
            check_device(device)?;
        }
        if self.id == "lo" || self.device() == Some("lo") {
            return Err("the loopback device is the guest's own; leave it out".to_owned());
        }
        self.check_kind()?;
        if self.mac.is_some_and(|mac| !mac.is_of_a_device()) {
            return Err("no device can have its MAC address".to_owned());
        }
        if let Some(mtu) = self.mtu {
            let has_v6 = self.addresses(6).next().is_some();
            if !MTU.contains(&mtu) || (has_v6 && mtu < MTU_V6) {
                return Err(format!("an MTU of {mtu} bytes: it is 68 (with IPv6: 1280) to 65535"));
            }
        }
        if self.addresses.len().max(self.routes.len()).max(self.dns.servers.len()).max(self.dns.search.len()) > LIST_MAX
        {
            return Err("more than 1024 addresses, routes, name servers or domains".to_owned());
        }
        self.check_addresses()?;
        for domain in &self.dns.search {
            let is_domain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
            if domain.is_empty()
                || domain.len() > DOMAIN_MAX
                || !domain.chars().all(is_domain)
                || domain.starts_with('-')
            {
                return Err(format!("{domain:?} is no domain name"));
            }
        }
        Ok(())
    }

    fn check_kind(&self) -> Result<(), String> {
        match &self.kind {
            Kind::Hardware(hardware) => {
                if hardware.mac.is_none() && hardware.name.is_none() {
                    return Err("nothing says which device it is: a MAC address, or a name".to_owned());
                }
                if hardware.mac.is_some_and(|mac| !mac.is_of_a_device()) {
                    return Err("no device can have the MAC address that it is known by".to_owned());
                }
                if let Some(pattern) = hardware.pattern() {
                    let is_glob = |char| is_word(char) || matches!(char, '*' | '?' | '[' | ']');
                    if pattern.len() > 64 || !pattern.chars().all(is_glob) {
                        return Err(format!("{pattern:?} is no pattern of device names"));
                    }
                    if hardware.mac.is_none() && (hardware.rename.is_some() || self.mac.is_some()) {
                        return Err(
                            "a pattern may be several devices, which cannot all get one name or one MAC address"
                                .to_owned(),
                        );
                    }
                } else if let Some(name) = &hardware.name {
                    check_device(name)?;
                }
                if let Some(rename) = &hardware.rename {
                    check_device(rename)?;
                }
                Ok(())
            }
            Kind::Vlan(_, tag) => match tag {
                1..=4094 => Ok(()),
                _ => Err(format!("a VLAN has an id of 1 to 4094, not {tag}")),
            },
            Kind::Bond(members, bond) => {
                if members.is_empty() {
                    return Err("a bond has members".to_owned());
                }
                match &bond.primary {
                    Some(primary) if !members.contains(primary) => {
                        Err(format!("{primary:?}, its primary member, is not a member"))
                    }
                    _ => Ok(()),
                }
            }
            Kind::Bridge(_, bridge) => {
                let values =
                    [bridge.priority, bridge.forward_delay, bridge.hello_time, bridge.max_age, bridge.ageing_time];
                for ((name, range), value) in BRIDGE.iter().zip(values) {
                    if let Some(value) = value.filter(|value| !range.contains(value)) {
                        return Err(format!("a bridge's {name} is {} to {}, not {value}", range.start(), range.end()));
                    }
                }
                Ok(())
            }
        }
    }

    fn check_addresses(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        for address in &self.addresses {
            let ip = address.ip();
            if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() {
                return Err(format!("{address} is no address of a machine"));
            }
            if !seen.insert(ip) {
                return Err(format!("the address {ip} is there twice"));
            }
        }
        if self.routes(4).next().is_some() && !self.dhcp4 && self.addresses(4).next().is_none() {
            return Err("it has a route of IPv4, and no address of it".to_owned());
        }
        let mut routes = HashSet::new();
        for route in &self.routes {
            if let Some(via) = route.via {
                if via.is_ipv4() != (route.to.version() == 4) {
                    return Err(format!("the route to {}: its router {via} is of the other version of IP", route.to));
                }
                if via.is_multicast() || via.is_unspecified() || self.is_no_neighbour(route, via) {
                    return Err(format!("the route to {}: {via} is no router", route.to));
                }
                if !self.has_router(route, via) {
                    return Err(format!(
                        "the route to {}: its router {via} is in none of the networks that the link has addresses of; if it is on \
                         the link all the same, say on-link: true (netplan, network-config version 2){}",
                        route.to,
                        self.way_out(route.to.version())
                    ));
                }
            } else if route.on_link || route.is_default() {
                return Err(format!("the route to {}: it has no router", route.to));
            }
            if !routes.insert((route.to.to_string(), route.metric)) {
                return Err(format!("the route to {} is there twice", route.to));
            }
        }
        if let Some(server) = self.dns.servers.iter().find(|server| server.is_unspecified() || server.is_multicast()) {
            return Err(format!("{server} is no name server"));
        }
        Ok(())
    }
}

impl Link {
    /// Whether an address is that of a whole network, or the link's own, which the kernel takes for no router; of IPv4 it takes an
    /// own one for saying that everything is on the link.
    fn is_no_neighbour(&self, route: &Route, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| {
            let is_of_all = address.broadcast().is_some_and(|all| [IpAddr::V4(all), address.network()].contains(&ip));
            is_of_all || (address.ip() == ip && (ip.is_ipv6() || route.on_link))
        })
    }

    /// What else puts a router of a version of IP on the link, where it is not so already: addresses that are their own networks, in
    /// descriptions that have no word for it.
    fn way_out(&self, version: u8) -> String {
        let host = if version == 4 { 32 } else { 128 };
        if self.addresses(version).all(Cidr::is_host) {
            return String::new();
        }
        format!(", or give each of its addresses of IPv{version} as a /{host} (--ip, network-config version 1)")
    }

    /// Whether the kernel finds a router on the link.
    fn has_router(&self, route: &Route, via: IpAddr) -> bool {
        let version = route.to.version();
        let has_none = version == 6 && self.addresses(6).next().is_none();
        route.on_link || is_link_local(via) || self.is_given(version) || has_none || self.reaches(via)
    }
}

/// A name that the kernel takes for a device, and every spelling for a word.
fn check_device(name: &str) -> Result<(), String> {
    if name.is_empty()
        || name.len() > NAME_MAX
        || !name.chars().all(is_word)
        || name.starts_with(['.', '-'])
        || is_pattern(name)
    {
        return Err(format!("{name:?} is no name of a device: 1 to 15 letters, digits and any of . _ - + @"));
    }
    Ok(())
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-' | '+' | '@')
}
