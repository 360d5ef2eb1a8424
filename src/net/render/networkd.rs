//! systemd.network(5), systemd.netdev(5) and systemd.link(5).

use super::{HEAD, Inexpressible, NetFile, file_name, words};
use crate::net::config::{Auto6, Bond, Bridge, Config, Hardware, Kind, Link, Route};
use std::fmt::Write as _;

/// The files go before those of others: of several that match a device the first counts, by its name.
const PREFIX: &str = "/etc/systemd/network/05-imgraft";

/// A `.network` file of each link, and a `.netdev` file of each that the guest makes.
pub(super) fn render(config: &Config) -> Result<Vec<NetFile>, Inexpressible> {
    let mut files = Vec::new();
    for link in &config.links {
        if let Some(text) = netdev(link) {
            files.push(file(link, "netdev", text));
        }
        files.push(file(link, "network", network(config, link)));
    }
    Ok(files)
}

/// The `.link` file by which udev gives a device its name.
pub(super) fn rename(config: &Config, link: &Link) -> Option<NetFile> {
    let Kind::Hardware(hardware) = &link.kind else { return None };
    let rename = hardware.rename.as_deref()?;
    let matches = matches(config, link, hardware, Stage::Udev);
    Some(file(link, "link", format!("{HEAD}[Match]\n{matches}\n[Link]\nName={rename}\n")))
}

fn file(link: &Link, kind: &str, text: String) -> NetFile {
    NetFile { path: format!("{PREFIX}-{}.{kind}", file_name(link)), mode: 0o644, text }
}

/// Who looks for the device.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// udev, before it is renamed.
    Udev,
    /// networkd, after that.
    Network,
}

fn matches(config: &Config, link: &Link, hardware: &Hardware, stage: Stage) -> String {
    let mut text = String::new();
    // One that was renamed has the name because it has the address.
    if stage == Stage::Network
        && (hardware.rename.is_some() || hardware.mac.is_none())
        && let Some(device) = link.device()
    {
        let _ = writeln!(text, "Name={device}");
        return text;
    }
    if let Some(mac) = hardware.mac {
        // Members of a bond get its address, and VLANs have that of what they lie on: these two the maker's tells apart. A
        // device that is virtual itself has none of a maker.
        let key = if config.is_hardware_only() { "MACAddress" } else { "PermanentMACAddress" };
        let _ = writeln!(text, "{key}={mac}");
    }
    if let Some(name) = &hardware.name {
        let key = if stage == Stage::Udev { "OriginalName" } else { "Name" };
        let _ = writeln!(text, "{key}={name}");
    }
    text
}

fn network(config: &Config, link: &Link) -> String {
    let mut text = format!("{HEAD}[Match]\n");
    match &link.kind {
        Kind::Hardware(hardware) => text += &matches(config, link, hardware, Stage::Network),
        Kind::Bond(..) | Kind::Bridge(..) | Kind::Vlan(..) => _ = writeln!(text, "Name={}", link.id),
    }
    // The MTU and the address of what the guest makes are said where it is made.
    let is_there = matches!(link.kind, Kind::Hardware(_));
    let mut section = String::new();
    if let Some(mac) = link.mac.filter(|_| is_there) {
        let _ = writeln!(section, "MACAddress={mac}");
    }
    if let Some(mtu) = link.mtu.filter(|_| is_there) {
        let _ = writeln!(section, "MTUBytes={mtu}");
    }
    // What has no address of its own, or may never have a carrier, would be waited for in vain.
    if link.optional || is_carrierless(&link.kind) {
        section.push_str("RequiredForOnline=no\n");
    } else if !link.is_configured() && config.master(&link.id).is_none() {
        section.push_str("RequiredForOnline=carrier\n");
    }
    if !section.is_empty() {
        text += &format!("\n[Link]\n{section}");
    }
    text.push_str("\n[Network]\n");
    text += &addresses(config, link);
    for route in &link.routes {
        text += &self::route(*route);
    }
    text
}

fn addresses(config: &Config, link: &Link) -> String {
    let mut text = String::new();
    let mut put = |key: &str, value: &str| _ = writeln!(text, "{key}={value}");
    let master = config.master(&link.id);
    match master.map(|master| (&master.kind, &master.id)) {
        Some((Kind::Bond(_, bond), id)) => {
            put("Bond", id);
            if bond.primary.as_ref() == Some(&link.id) {
                put("PrimarySlave", "yes");
            }
        }
        Some((_, id)) => put("Bridge", id),
        None => {}
    }
    for vlan in config.vlans(&link.id) {
        put("VLAN", &vlan.id);
    }
    if master.is_some() || !link.is_configured() {
        // What is a part, or only carries others, has no addresses: not even the one that IPv6 makes by itself.
        put("LinkLocalAddressing", "no");
        put("IPv6AcceptRA", "no");
        return text;
    }
    let dhcp = match (link.dhcp4, link.auto6) {
        (true, Auto6::Dhcp) => "yes",
        (true, _) => "ipv4",
        (false, Auto6::Dhcp) => "ipv6",
        (false, _) => "no",
    };
    put("DHCP", dhcp);
    match link.auto6 {
        Auto6::Unsaid => {}
        Auto6::Off => put("IPv6AcceptRA", "no"),
        Auto6::Slaac | Auto6::Stateless | Auto6::Dhcp => put("IPv6AcceptRA", "yes"),
    }
    for address in &link.addresses {
        put("Address", &address.to_string());
    }
    for server in &link.dns.servers {
        put("DNS", &server.to_string());
    }
    if !link.dns.search.is_empty() {
        put("Domains", &words(&link.dns.search));
    }
    if is_carrierless(&link.kind) {
        put("ConfigureWithoutCarrier", "yes");
    }
    text
}

/// Whether it may have no carrier for ever: a bridge without ports.
fn is_carrierless(kind: &Kind) -> bool {
    matches!(kind, Kind::Bridge(ports, _) if ports.is_empty())
}

fn route(route: Route) -> String {
    let mut text = format!("\n[Route]\nDestination={}\n", route.to);
    if let Some(via) = route.via {
        let _ = writeln!(text, "Gateway={via}");
    }
    if let Some(metric) = route.metric {
        let _ = writeln!(text, "Metric={metric}");
    }
    if route.on_link {
        text.push_str("GatewayOnLink=yes\n");
    }
    text
}

fn netdev(link: &Link) -> Option<String> {
    let (kind, section) = match &link.kind {
        Kind::Hardware(_) => return None,
        Kind::Bond(_, bond) => ("bond", self::bond(bond)),
        Kind::Bridge(_, bridge) => ("bridge", self::bridge(bridge)),
        Kind::Vlan(_, tag) => ("vlan", format!("\n[VLAN]\nId={tag}\n")),
    };
    let mut text = format!("{HEAD}[NetDev]\nName={}\nKind={kind}\n", link.id);
    if let Some(mac) = link.mac {
        let _ = writeln!(text, "MACAddress={mac}");
    }
    if let Some(mtu) = link.mtu {
        let _ = writeln!(text, "MTUBytes={mtu}");
    }
    Some(text + &section)
}

fn bond(bond: &Bond) -> String {
    let milliseconds = |time: Option<u32>| time.map(|time| format!("{time}ms"));
    let owned = |text: Option<&'static str>| text.map(str::to_owned);
    section(
        "Bond",
        [
            ("Mode", owned(bond.mode)),
            ("MIIMonitorSec", milliseconds(bond.miimon)),
            ("UpDelaySec", milliseconds(bond.up_delay)),
            ("DownDelaySec", milliseconds(bond.down_delay)),
            ("LACPTransmitRate", owned(bond.lacp_rate)),
            ("TransmitHashPolicy", owned(bond.xmit_hash_policy)),
            ("AdSelect", owned(bond.ad_select)),
            ("MinLinks", bond.min_links.map(|links| links.to_string())),
        ],
    )
}

fn bridge(bridge: &Bridge) -> String {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    section(
        "Bridge",
        [
            ("STP", bridge.stp.map(|stp| if stp { "yes" } else { "no" }.to_owned())),
            ("Priority", number(bridge.priority)),
            ("ForwardDelaySec", number(bridge.forward_delay)),
            ("HelloTimeSec", number(bridge.hello_time)),
            ("MaxAgeSec", number(bridge.max_age)),
            ("AgeingTimeSec", number(bridge.ageing_time)),
        ],
    )
}

fn section<const N: usize>(name: &str, entries: [(&str, Option<String>); N]) -> String {
    let mut text = String::new();
    for (key, value) in entries {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}={value}");
        }
    }
    if text.is_empty() { text } else { format!("\n[{name}]\n{text}") }
}
