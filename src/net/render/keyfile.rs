//! NetworkManager's connections: nm-settings-keyfile(5), nm-settings(5).

use super::{Inexpressible, NetFile, bonding, file_name};
use crate::net::config::{Auto6, Bond, Bridge, Config, Hardware, Kind, Link, Route};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::IpAddr;

/// The program's name.
const NAME: &str = "NetworkManager";

/// Where its connections are.
const DIRECTORY: &str = "/etc/NetworkManager/system-connections";

/// Of several connections for a device the one with the greatest priority is taken; cloud-init's have 120.
pub(crate) const PRIORITY: u32 = 200;

/// A connection of each link.
pub(super) fn render(config: &Config) -> Result<Vec<NetFile>, Inexpressible> {
    config.links.iter().map(|link| connection(config, link)).collect()
}

fn connection(config: &Config, link: &Link) -> Result<NetFile, Inexpressible> {
    if link.optional {
        return Err(Inexpressible::new(NAME, link, "optional: true"));
    }
    let kind = match &link.kind {
        Kind::Hardware(_) => "ethernet",
        Kind::Bond(..) => "bond",
        Kind::Bridge(..) => "bridge",
        Kind::Vlan(..) => "vlan",
    };
    let mut text = format!("# Made by imgraft.\n[connection]\nid={}\nuuid={}\ntype={kind}\n", id(link), uuid(link));
    if let Some(device) = link.device() {
        let _ = writeln!(text, "interface-name={device}");
    }
    let _ = writeln!(text, "autoconnect-priority={PRIORITY}");
    let master = config.master(&link.id);
    if let Some(master) = master {
        let kind = if matches!(master.kind, Kind::Bond(..)) { "bond" } else { "bridge" };
        let _ = write!(text, "master={}\nslave-type={kind}\n", master.id);
    }
    let mut ethernet = String::new();
    match &link.kind {
        Kind::Hardware(hardware) => text += &self::hardware(hardware, &mut ethernet),
        Kind::Bond(_, bond) => text += &self::bond(config, link, bond)?,
        Kind::Bridge(_, bridge) => text += &self::bridge(bridge),
        Kind::Vlan(parent, tag) => {
            let parent = config.link(parent);
            let name = parent.and_then(|parent| parent.device().map(str::to_owned).or_else(|| Some(uuid(parent))));
            let _ = write!(text, "\n[vlan]\nid={tag}\nparent={}\n", name.unwrap_or_default());
        }
    }
    if let Some(mac) = link.mac {
        let _ = writeln!(ethernet, "cloned-mac-address={}", mac.to_string().to_uppercase());
    }
    if let Some(mtu) = link.mtu {
        let _ = writeln!(ethernet, "mtu={mtu}");
    }
    if !ethernet.is_empty() {
        text += &format!("\n[ethernet]\n{ethernet}");
    }
    if master.is_none() {
        text += &internet(config, link, 4)?;
        text += &internet(config, link, 6)?;
    }
    Ok(NetFile { path: format!("{DIRECTORY}/imgraft-{}.nmconnection", file_name(link)), mode: 0o600, text })
}

fn id(link: &Link) -> String {
    format!("imgraft-{}", link.id)
}

/// A UUID of the connection's id, the same each time: version 8 of RFC 9562.
fn uuid(link: &Link) -> String {
    let hash = Sha256::digest(id(link).as_bytes());
    hashed_uuid(&hash, 8)
}

/// The UUID of a version (RFC 9562) that begins as a hash does, as a text.
pub(crate) fn hashed_uuid(hash: &[u8], version: u8) -> String {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(byte, hashed)| *byte = *hashed);
    let number = u128::from_be_bytes(bytes);
    let number = (number & !(0xf << 76) & !(0x3 << 62)) | (u128::from(version) << 76) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let mut parts = Vec::new();
    let mut rest = hex.as_str();
    for length in [8, 4, 4, 4] {
        let (part, after) = rest.split_at(length);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts.join("-")
}

fn hardware(hardware: &Hardware, ethernet: &mut String) -> String {
    if let Some(mac) = hardware.mac {
        let _ = writeln!(ethernet, "mac-address={}", mac.to_string().to_uppercase());
    }
    match hardware.pattern() {
        Some(pattern) if hardware.rename.is_none() => format!("\n[match]\ninterface-name={pattern};\n"),
        _ => String::new(),
    }
}

fn bond(config: &Config, link: &Link, bond: &Bond) -> Result<String, Inexpressible> {
    Ok(section("bond", bonding::options(NAME, config, link, bond)?))
}

fn bridge(bridge: &Bridge) -> String {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    // NetworkManager's default is that it speaks the protocol, the kernel's that it does not.
    let stp = bridge.stp.unwrap_or(false);
    section(
        "bridge",
        [
            ("stp", Some(stp.to_string())),
            ("priority", number(bridge.priority)),
            ("forward-delay", number(bridge.forward_delay)),
            ("hello-time", number(bridge.hello_time)),
            ("max-age", number(bridge.max_age)),
            ("ageing-time", number(bridge.ageing_time)),
        ],
    )
}

fn section<const N: usize>(name: &str, entries: [(&str, Option<String>); N]) -> String {
    let mut text = format!("\n[{name}]\n");
    for (key, value) in entries {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}={value}");
        }
    }
    text
}

/// How a link comes by its addresses of a version of IP.
fn method(link: &Link, version: u8) -> &'static str {
    let has_addresses = link.addresses(version).next().is_some();
    match (version, link.dhcp4, link.auto6) {
        (4, true, _) => "auto",
        (4, false, _) if has_addresses => "manual",
        (4, false, _) => "disabled",
        // What a router says is listened to, and whether to ask by DHCP is a thing that it says.
        (_, _, Auto6::Slaac | Auto6::Stateless) => "auto",
        (_, _, Auto6::Dhcp) => "auto",
        (_, _, Auto6::Unsaid | Auto6::Off) if has_addresses => "manual",
        (_, _, Auto6::Unsaid) if link.is_configured() => "auto",
        (_, _, Auto6::Off) => "link-local",
        (_, _, Auto6::Unsaid) => "disabled",
    }
}

/// Whether a link has a name server, and the version of IP by which it is asked.
fn is_asked(config: &Config, server: IpAddr) -> bool {
    let version = if server.is_ipv4() { 4 } else { 6 };
    config.links.iter().any(|link| {
        config.master(&link.id).is_none()
            && method(link, version) != "disabled"
            && link.servers(version).any(|other| other == server)
    })
}

/// The section of a version of IP.
fn internet(config: &Config, link: &Link, version: u8) -> Result<String, Inexpressible> {
    let method = method(link, version);
    let has_addresses = link.addresses(version).next().is_some();
    let mut servers: Vec<_> = link.servers(version).collect();
    if method == "disabled" {
        // One for all links, as OpenStack has them, is asked by way of the links that can.
        servers.retain(|server| !is_asked(config, *server));
        if !servers.is_empty() || link.routes(version).next().is_some() {
            let what = format!("a route or a name server of IPv{version} without IPv{version}");
            return Err(Inexpressible::new(NAME, link, what));
        }
    }
    let mut text = format!("\n[ipv{version}]\nmethod={method}\n");
    let mut routes = link.routes(version).collect::<Vec<_>>();
    // The first router of all stands with the first address, unless it has what only a route can have.
    let is_plain = |route: &Route| route.is_default() && route.metric.is_none() && !route.on_link;
    let plain = routes.iter().position(is_plain).filter(|_| has_addresses);
    let mut gateway = plain.and_then(|place| routes.remove(place).via);
    for (number, address) in (1..).zip(link.addresses(version)) {
        let _ = match gateway.take() {
            Some(gateway) => writeln!(text, "address{number}={address},{gateway}"),
            None => writeln!(text, "address{number}={address}"),
        };
    }
    for (number, route) in (1..).zip(routes) {
        let any = if version == 4 { "0.0.0.0" } else { "::" };
        let via = route.via.map_or_else(|| any.to_owned(), |via| via.to_string());
        let _ = match route.metric {
            Some(metric) => writeln!(text, "route{number}={},{via},{metric}", route.to),
            None => writeln!(text, "route{number}={},{via}", route.to),
        };
        if route.on_link {
            let _ = writeln!(text, "route{number}_options=onlink=true");
        }
    }
    let servers: String = servers.iter().map(|server| format!("{server};")).collect();
    if !servers.is_empty() {
        let _ = writeln!(text, "dns={servers}");
    }
    if !link.dns.search.is_empty() && is_searching(link, version) {
        let domains: String = link.dns.search.iter().map(|domain| format!("{domain};")).collect();
        let _ = writeln!(text, "dns-search={domains}");
    }
    Ok(text)
}

/// Whether this version's section has the domains: one that is not in use may have none.
fn is_searching(link: &Link, version: u8) -> bool {
    let v4 = link.dhcp4 || link.addresses(4).next().is_some();
    (version == 4) == v4
}
