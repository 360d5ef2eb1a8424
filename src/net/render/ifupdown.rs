//! interfaces(5), with bridge-utils-interfaces(5) and the options of ifenslave.

use super::{HEAD, Ifup, Inexpressible, NetFile, words};
use crate::net::config::{Auto6, Bond, Bridge, Config, Kind, Link, Route};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The program's name.
const NAME: &str = "ifupdown";
/// The metric that systemd-networkd gives the routes that DHCP brings (`RouteMetric=` of systemd.network(5)).
const DHCP_METRIC: u32 = 1024;

/// The one file; it takes the place of the guest's, and does not include others.
pub(super) fn render(config: &Config, ifup: Ifup) -> Result<Vec<NetFile>, Inexpressible> {
    let mut text = format!("{HEAD}auto lo\niface lo inet loopback\n");
    let dhcp_metric = dhcp_metric(config);
    let config = &in_turn(config, ifup);
    for link in &config.links {
        text += &stanzas(config, link, ifup, dhcp_metric)?;
    }
    Ok(vec![NetFile { path: "/etc/network/interfaces".to_owned(), mode: 0o644, text }])
}

/// The metric for default routes that DHCP brings; `None` where they have what the client gives them. dhclient gives none, which goes before
/// any that was asked for. It takes the option `metric` of the stanza for `IF_METRIC`, and so do dhcpcd (`-m`) and Alpine's script of udhcpc.
pub(crate) fn dhcp_metric(config: &Config) -> Option<u32> {
    let is_asked = |route: &Route| route.is_default() && route.metric.is_some_and(|metric| metric > 0);
    config.links.iter().flat_map(|link| link.routes(4)).any(|route| is_asked(&route)).then_some(DHCP_METRIC)
}

/// The links as they are brought up, with metrics that no other has for default routes without any, of the second link that has one and those
/// behind it: beside the first one's, which then goes before them, ifup has the kernel refuse them, and stops.
fn in_turn(config: &Config, ifup: Ifup) -> Config {
    let has_dhcps = dhcp_metric(config).is_none();
    let mut config = Config { links: in_order(config).into_iter().cloned().collect() };
    let members: Vec<bool> = config.links.iter().map(|link| config.master(&link.id).is_some()).collect();
    for version in [4, 6] {
        let routes = config.links.iter().flat_map(|link| link.routes(version)).filter(Route::is_default);
        let mut taken: BTreeSet<u32> = routes.filter_map(|route| route.metric).collect();
        // What no metric is to the kernel, and to ifupdown-ng.
        let none: &[u32] = match (version, ifup) {
            (4, Ifup::Debian) => &[0],
            (4, Ifup::ByName) => &[0, 1],
            _ => &[0, 1024],
        };
        let mut next: u32 = if version == 4 { 2 } else { 1025 };
        let mut has_first = none.iter().any(|metric| taken.contains(metric));
        for (link, is_member) in config.links.iter_mut().zip(&members) {
            let is_own =
                |route: &&mut Route| route.is_default() && route.to.version() == version && route.metric.is_none();
            for route in link.routes.iter_mut().filter(is_own) {
                if has_first {
                    while taken.contains(&next) {
                        next = next.saturating_add(1);
                    }
                    route.metric = Some(next);
                    taken.insert(next);
                }
                has_first = true;
            }
            // The client of DHCP brings one, and takes it that there is one already; the link's own takes its place.
            has_first |= version == 4 && link.dhcp4 && has_dhcps && !is_member;
        }
    }
    config
}

/// The links, each behind those that it is made of or lies on: they are brought up as they stand, and at first there are none of the
/// others.
pub(crate) fn in_order(config: &Config) -> Vec<&Link> {
    let mut ordered: Vec<&Link> = Vec::new();
    let mut waiting: Vec<&Link> = config.links.iter().collect();
    while !waiting.is_empty() {
        let is_there = |id: &String| ordered.iter().any(|link| link.id == *id);
        let (ready, rest): (Vec<&Link>, Vec<&Link>) =
            waiting.iter().partition(|link| link.lower().iter().all(is_there));
        // None lies on itself (`Config::check`).
        if ready.is_empty() {
            ordered.extend(rest);
            break;
        }
        ordered.extend(ready);
        waiting = rest;
    }
    ordered
}

fn stanzas(config: &Config, link: &Link, ifup: Ifup, dhcp_metric: Option<u32>) -> Result<String, Inexpressible> {
    let fail = |what: &str| Err(Inexpressible::new(NAME, link, what));
    let (start, name) = match (&link.kind, link.device()) {
        (Kind::Hardware(hardware), Some(_)) if hardware.mac.is_some() && hardware.rename.is_none() => {
            return fail("a MAC address and a name at once");
        }
        (_, Some(device)) => (device.to_owned(), device.to_owned()),
        (Kind::Hardware(hardware), None) => match (hardware.mac, ifup) {
            (Some(_), _) if hardware.name.is_some() => return fail("a MAC address and a pattern of names at once"),
            (Some(mac), Ifup::Debian) => (format!("mac/{mac}={}", link.id), link.id.clone()),
            (Some(_), Ifup::ByName) => return fail("a device that is known by its MAC address only"),
            (None, _) => return fail("a pattern of names"),
        },
        (_, None) => return fail("a device without a name"),
    };
    let auto = if link.optional { "allow-hotplug" } else { "auto" };
    let mut text = format!("\n{auto} {start}\n");
    let mut shared = options(config, link, ifup)?;
    let master = config.master(&link.id);
    if let Some(master) = master {
        if matches!(master.kind, Kind::Bond(..)) && ifup == Ifup::Debian {
            let _ = writeln!(shared, "    bond-master {}", master.id);
        }
        let _ = write!(text, "iface {name} inet manual\n{shared}");
        return Ok(text);
    }
    // What is about the device stands in the first of its stanzas.
    let mut stanza = |head: String, body: String| {
        let _ = write!(text, "iface {name} {head}\n{}{body}", std::mem::take(&mut shared));
    };
    let mut dns = dns(link);
    let (has_v4, has_v6) = (link.addresses(4).next().is_some(), link.addresses(6).next().is_some());
    // Each stanza is done before the next one is begun: a router may be in the network of any address.
    let is_last = |number: usize, version: u8| link.addresses(version).nth(number.saturating_add(1)).is_none();
    if link.dhcp4 {
        let mut body = dhcp_metric.map(|metric| format!("    metric {metric}\n")).unwrap_or_default();
        if !has_v4 {
            body += &routes(link, 4, Default::Command);
        }
        stanza("inet dhcp".to_owned(), body + &std::mem::take(&mut dns));
    }
    for (number, address) in link.addresses(4).enumerate() {
        let mut body = format!("    address {}\n    netmask {}\n", address.ip(), address.netmask());
        if is_last(number, 4) {
            body += &routes(link, 4, if link.dhcp4 { Default::Command } else { Default::Option });
        }
        body += &std::mem::take(&mut dns);
        stanza("inet static".to_owned(), body);
    }
    if !link.dhcp4 && !has_v4 {
        stanza("inet manual".to_owned(), String::new());
    }
    let has_routers = !matches!(link.auto6, Auto6::Unsaid | Auto6::Off);
    let mut v6 = if has_v6 { String::new() } else { routes(link, 6, Default::Command) };
    match link.auto6 {
        Auto6::Unsaid => {}
        Auto6::Off if !has_v6 => return fail("accept-ra: false without an IPv6 address"),
        Auto6::Off => {}
        Auto6::Stateless | Auto6::Dhcp if ifup == Ifup::ByName => return fail("DHCP for IPv6"),
        Auto6::Slaac => stanza("inet6 auto".to_owned(), std::mem::take(&mut v6) + &std::mem::take(&mut dns)),
        Auto6::Stateless => {
            let rest = std::mem::take(&mut v6) + &std::mem::take(&mut dns);
            stanza("inet6 auto".to_owned(), format!("    dhcp 1\n{rest}"));
        }
        Auto6::Dhcp => {
            let rest = std::mem::take(&mut v6) + &std::mem::take(&mut dns);
            stanza("inet6 dhcp".to_owned(), format!("    accept_ra 1\n{rest}"));
        }
    }
    for (number, address) in link.addresses(6).enumerate() {
        let mut body = format!("    address {}\n    netmask {}\n", address.ip(), address.prefix());
        match ifup {
            Ifup::Debian if link.auto6 == Auto6::Off => body.push_str("    accept_ra 0\n"),
            Ifup::ByName if link.auto6 == Auto6::Off && number == 0 => {
                body.push_str("    pre-up echo 0 >/proc/sys/net/ipv6/conf/$IFACE/accept_ra\n");
            }
            _ => {}
        }
        if is_last(number, 6) {
            body += &routes(link, 6, if has_routers { Default::Command } else { Default::Option });
        }
        body += &std::mem::take(&mut dns);
        stanza("inet6 static".to_owned(), body);
    }
    if !v6.is_empty() {
        return fail("an IPv6 route without an IPv6 address");
    }
    Ok(text)
}

/// What is said of the device itself.
fn options(config: &Config, link: &Link, ifup: Ifup) -> Result<String, Inexpressible> {
    let mut text = String::new();
    let mut put = |key: &str, value: &str| _ = writeln!(text, "    {key} {value}");
    let devices = |members: &[String]| -> Result<String, Inexpressible> {
        let device = |id: &String| {
            let device = config.link(id).and_then(Link::device);
            device.ok_or_else(|| Inexpressible::new(NAME, link, format!("its part {id:?}, whose name is not known")))
        };
        Ok(words(members.iter().map(device).collect::<Result<Vec<_>, _>>()?))
    };
    match &link.kind {
        Kind::Hardware(_) => {}
        Kind::Bond(members, bond) => {
            // To Debian's ifenslave each member says whose it is.
            put("bond-slaves", &if ifup == Ifup::Debian { "none".to_owned() } else { devices(members)? });
            self::bond(&mut put, bond);
            if let Some(primary) = &bond.primary {
                put("bond-primary", &devices(std::slice::from_ref(primary))?);
            }
        }
        Kind::Bridge(ports, bridge) => {
            // ifupdown-ng knows these by hyphens only, bridge-utils-interfaces(5) has them with underscores; to the first `on` is no.
            let mut put = |key: &str, value: &str| match ifup {
                Ifup::Debian => put(key, value),
                Ifup::ByName => put(&key.replace('_', "-"), if value == "on" { "yes" } else { value }),
            };
            put("bridge_ports", &if ports.is_empty() { "none".to_owned() } else { devices(ports)? });
            self::bridge(&mut put, bridge);
        }
        Kind::Vlan(parent, tag) => {
            let parent = devices(std::slice::from_ref(parent))?;
            // By a name like this one ifupdown knows the VLAN and makes it; by any other it is told how.
            if link.id != format!("{parent}.{tag}") {
                let add = format!("ip link add link {parent} name {} type vlan id {tag}", link.id);
                put("pre-up", &format!("ip link show dev {} >/dev/null 2>&1 || {add}", link.id));
                put("post-down", &format!("ip link del dev {}", link.id));
            }
        }
    }
    if let Some(mac) = link.mac {
        match ifup {
            Ifup::Debian => put("hwaddress", &format!("ether {mac}")),
            // Of ifupdown-ng and busybox's, one takes no class of the address, and the other takes none without.
            Ifup::ByName => put("pre-up", &format!("ip link set dev $IFACE address {mac}")),
        }
    }
    match link.mtu {
        // DHCP's stanza has no such option. Once it is up, what scripts make is there too, and a server's word is overridden.
        Some(mtu) if link.dhcp4 => put("up", &format!("ip link set dev $IFACE mtu {mtu}")),
        Some(mtu) => put("mtu", &mtu.to_string()),
        None => {}
    }
    Ok(text)
}

fn bond(put: &mut impl FnMut(&str, &str), bond: &Bond) {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let owned = |text: Option<&'static str>| text.map(str::to_owned);
    for (key, value) in [
        ("bond-mode", owned(bond.mode)),
        ("bond-miimon", number(bond.miimon)),
        ("bond-updelay", number(bond.up_delay)),
        ("bond-downdelay", number(bond.down_delay)),
        ("bond-lacp-rate", owned(bond.lacp_rate)),
        ("bond-xmit-hash-policy", owned(bond.xmit_hash_policy)),
        ("bond-ad-select", owned(bond.ad_select)),
        ("bond-min-links", number(bond.min_links)),
    ] {
        if let Some(value) = value {
            put(key, &value);
        }
    }
}

fn bridge(put: &mut impl FnMut(&str, &str), bridge: &Bridge) {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    for (key, value) in [
        ("bridge_stp", Some(if bridge.stp.unwrap_or(false) { "on" } else { "off" }.to_owned())),
        ("bridge_bridgeprio", number(bridge.priority)),
        ("bridge_fd", number(bridge.forward_delay)),
        ("bridge_hello", number(bridge.hello_time)),
        ("bridge_maxage", number(bridge.max_age)),
        ("bridge_ageing", number(bridge.ageing_time)),
    ] {
        if let Some(value) = value {
            put(key, &value);
        }
    }
}

/// How a default route is spelt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Default {
    /// As the option that stanzas with an address have.
    Option,
    /// As any other route, which takes the place of one that is there: the client of DHCP, or the kernel as a router says so, has made one by
    /// then, beside which the kernel refuses another, and ifup stops.
    Command,
}

/// The routes of a version, for the last of its stanzas.
fn routes(link: &Link, version: u8, default: Default) -> String {
    let mut text = String::new();
    let mut gateway = default == Default::Command;
    let family = if version == 4 { "" } else { "-6 " };
    for route in link.routes(version) {
        if let Some(via) =
            route.via.filter(|_| !gateway && route.is_default() && route.metric.is_none() && !route.on_link)
        {
            gateway = true;
            let _ = writeln!(text, "    gateway {via}");
            continue;
        }
        let mut command = format!("ip {family}route replace {}", route.to);
        if let Some(via) = route.via {
            let _ = write!(command, " via {via}");
        }
        command.push_str(" dev $IFACE");
        if let Some(metric) = route.metric {
            let _ = write!(command, " metric {metric}");
        }
        if route.on_link {
            command.push_str(" onlink");
        }
        let _ = writeln!(text, "    up {command}");
    }
    text
}

fn dns(link: &Link) -> String {
    let mut text = String::new();
    if !link.dns.servers.is_empty() {
        let _ = writeln!(text, "    dns-nameservers {}", words(&link.dns.servers));
    }
    if !link.dns.search.is_empty() {
        let _ = writeln!(text, "    dns-search {}", words(&link.dns.search));
    }
    text
}
