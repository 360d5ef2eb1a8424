//! The ifcfg files of Red Hat: sysconfig.txt of initscripts, nm-settings-ifcfg-rh(5).

use super::{HEAD, Inexpressible, NetFile, bonding, is_in_bond, name, words};
use crate::net::config::{Auto6, Bond, Bridge, Config, Hardware, Kind, Link, Route};
use std::fmt::Write as _;

/// The spelling's name.
const NAME: &str = "ifcfg";

/// Where the files are.
const DIRECTORY: &str = "/etc/sysconfig/network-scripts";

/// An ifcfg file of each link, and one of its routes of either version where it has some.
pub(super) fn render(config: &Config) -> Result<Vec<NetFile>, Inexpressible> {
    let mut files = Vec::new();
    for link in &config.links {
        if link.optional {
            return Err(Inexpressible::new(NAME, link, "optional: true"));
        }
        let (device, name) = (link.device(), name(link));
        let (text, routes) = ifcfg(config, link)?;
        files.push(file(&format!("ifcfg-{name}"), text));
        for (version, prefix) in [(4, "route"), (6, "route6")] {
            let routes: Vec<_> = routes.iter().filter(|route| route.to.version() == version).collect();
            if routes.is_empty() {
                continue;
            }
            if device.is_none() && routes.iter().any(|route| route.via.is_none() || route.on_link) {
                return Err(Inexpressible::new(NAME, link, "a route on the link of a device without a name"));
            }
            let text: String = routes.into_iter().map(|route| self::route(*route, device)).collect();
            files.push(file(&format!("{prefix}-{name}"), text));
        }
    }
    Ok(files)
}

fn file(name: &str, text: String) -> NetFile {
    NetFile { path: format!("{DIRECTORY}/{name}"), mode: 0o644, text: HEAD.to_owned() + &text }
}

/// The text, and the routes that are not in it.
fn ifcfg(config: &Config, link: &Link) -> Result<(String, Vec<Route>), Inexpressible> {
    let mut text = String::new();
    let mut put = |key: &str, value: &str| _ = writeln!(text, "{key}={}", quoted(value));
    if let Some(device) = link.device() {
        put("DEVICE", device);
    }
    put("NAME", &format!("imgraft-{}", link.id));
    match &link.kind {
        Kind::Hardware(hardware) => {
            put("TYPE", "Ethernet");
            self::hardware(link, hardware, &mut put)?;
        }
        Kind::Bond(_, bond) => {
            put("TYPE", "Bond");
            put("BONDING_MASTER", "yes");
            put("BONDING_OPTS", &bonding(config, link, bond)?);
        }
        Kind::Bridge(_, bridge) => {
            put("TYPE", "Bridge");
            self::bridge(link, bridge, &mut put)?;
        }
        Kind::Vlan(parent, tag) => {
            put("TYPE", "Vlan");
            put("VLAN", "yes");
            let device = config.link(parent).and_then(Link::device);
            let device = device.ok_or_else(|| Inexpressible::new(NAME, link, "a VLAN over a device without a name"))?;
            put("PHYSDEV", device);
            put("VLAN_ID", &tag.to_string());
        }
    }
    put("ONBOOT", "yes");
    if let Some(mac) = link.mac {
        put("MACADDR", &mac.to_string().to_uppercase());
    }
    if let Some(mtu) = link.mtu {
        put("MTU", &mtu.to_string());
    }
    if let Some(master) = config.master(&link.id) {
        if is_in_bond(config, link) {
            put("MASTER", &master.id);
            put("SLAVE", "yes");
        } else {
            put("BRIDGE", &master.id);
        }
        put("BOOTPROTO", "none");
        return Ok((text, Vec::new()));
    }
    let routes = internet(link, &mut put)?;
    Ok((text, routes))
}

fn hardware(link: &Link, hardware: &Hardware, put: &mut impl FnMut(&str, &str)) -> Result<(), Inexpressible> {
    if hardware.pattern().is_some() && hardware.rename.is_none() {
        return Err(Inexpressible::new(NAME, link, "a pattern of names"));
    }
    if let Some(mac) = hardware.mac {
        put("HWADDR", &mac.to_string().to_uppercase());
    }
    Ok(())
}

/// The keys of both versions of IP; gives the routes that need a file of their own.
fn internet(link: &Link, put: &mut impl FnMut(&str, &str)) -> Result<Vec<Route>, Inexpressible> {
    put("BOOTPROTO", if link.dhcp4 { "dhcp" } else { "none" });
    let mut routes: Vec<Route> = link.routes.clone();
    let mut gateway = |version: u8| {
        let is_plain = |route: &Route| {
            route.is_default() && route.to.version() == version && route.metric.is_none() && !route.on_link
        };
        let place = routes.iter().position(is_plain)?;
        routes.remove(place).via
    };
    for (number, address) in link.addresses(4).enumerate() {
        // The first one has no number, the second is number one.
        let number = if number == 0 { String::new() } else { number.to_string() };
        put(&format!("IPADDR{number}"), &address.ip().to_string());
        put(&format!("PREFIX{number}"), &address.prefix().to_string());
    }
    if let Some(gateway) = gateway(4) {
        put("GATEWAY", &gateway.to_string());
    }
    let mut v6 = link.addresses(6);
    let first = v6.next();
    let rest = words(v6);
    let uses_v6 = first.is_some() || !matches!(link.auto6, Auto6::Unsaid | Auto6::Off);
    if uses_v6 {
        put("IPV6INIT", "yes");
    }
    match link.auto6 {
        Auto6::Unsaid if first.is_some() => put("IPV6_AUTOCONF", "no"),
        Auto6::Unsaid => {}
        Auto6::Off => put("IPV6_AUTOCONF", "no"),
        Auto6::Slaac => put("IPV6_AUTOCONF", "yes"),
        Auto6::Stateless => {
            put("IPV6_AUTOCONF", "yes");
            put("DHCPV6C", "yes");
            put("DHCPV6C_OPTIONS", "-S");
        }
        Auto6::Dhcp => {
            put("IPV6_AUTOCONF", "no");
            put("DHCPV6C", "yes");
        }
    }
    if let Some(first) = first {
        put("IPV6ADDR", &first.to_string());
    }
    if !rest.is_empty() {
        put("IPV6ADDR_SECONDARIES", &rest);
    }
    if let Some(gateway) = gateway(6) {
        put("IPV6_DEFAULTGW", &gateway.to_string());
    }
    for (number, server) in (1..).zip(&link.dns.servers) {
        put(&format!("DNS{number}"), &server.to_string());
    }
    if !link.dns.search.is_empty() {
        put("DOMAIN", &words(&link.dns.search));
    }
    Ok(routes)
}

/// A line of the arguments of ip-route(8), which both versions' files may have.
fn route(route: Route, device: Option<&str>) -> String {
    let mut text = route.to.to_string();
    if let Some(via) = route.via {
        let _ = write!(text, " via {via}");
    }
    if let Some(device) = device {
        let _ = write!(text, " dev {device}");
    }
    if let Some(metric) = route.metric {
        let _ = write!(text, " metric {metric}");
    }
    if route.on_link {
        text.push_str(" onlink");
    }
    text.push('\n');
    text
}

fn bonding(config: &Config, link: &Link, bond: &Bond) -> Result<String, Inexpressible> {
    let options = bonding::options(NAME, config, link, bond)?;
    Ok(words(options.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)))))
}

fn bridge(link: &Link, bridge: &Bridge, put: &mut impl FnMut(&str, &str)) -> Result<(), Inexpressible> {
    put("STP", if bridge.stp.unwrap_or(false) { "on" } else { "off" });
    if let Some(delay) = bridge.forward_delay {
        put("DELAY", &delay.to_string());
    }
    if let Some(priority) = bridge.priority {
        put("BRIDGING_OPTS", &format!("priority={priority}"));
    }
    // The network scripts and NetworkManager disagree on the unit of these.
    for (name, value) in
        [("hello time", bridge.hello_time), ("max age", bridge.max_age), ("ageing time", bridge.ageing_time)]
    {
        if value.is_some() {
            return Err(Inexpressible::new(NAME, link, format!("the {name} of a bridge")));
        }
    }
    Ok(())
}

/// A value of a shell's assignment: in quotes where it is more than a word. It holds no quote (`Config::check`).
fn quoted(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:/+@".contains(&byte));
    if is_plain { value.to_owned() } else { format!("\"{value}\"") }
}
