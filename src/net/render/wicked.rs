//! wicked's ifcfg files, of SUSE: ifcfg(5), ifroute(5), ifsysctl(5), ifcfg-bonding(5), ifcfg-bridge(5) and ifcfg-vlan(5) of wicked.
//!
//! What it takes, and what makes it leave a device alone, is as its own reader has it (client/suse/compat-suse.c, src/bonding.c and
//! src/bridge.c of 0.6.80). Name servers are netconfig(8)'s, and not here.

use super::{HEAD, Inexpressible, NetFile, bonding, name, words};
use crate::net::Cidr;
use crate::net::config::{Auto6, Bond, Bridge, Config, Hardware, Kind, Link, Route};
use std::fmt::Write as _;

/// The program's name.
const NAME: &str = "wicked";

/// Where the files are.
const DIRECTORY: &str = "/etc/sysconfig/network";

/// The rules by which udev names devices: behind YaST's, which are 70-persistent-net.rules.
const RULES: &str = "/etc/udev/rules.d/71-imgraft-net.rules";

/// The longest line that wicked reads in one piece, in bytes.
const LINE_MAX: usize = 510;

/// Names of devices that mean something else to wicked, and ends of files' names that it passes over.
const RESERVED: [&str; 2] = ["all", "default"];
const IGNORED: [&str; 7] = [".old", ".bak", ".orig", ".scpmbackup", ".rpmnew", ".rpmsave", ".rpmorig"];

/// The same configuration, with names for all devices that are known by their MAC address only: their ids. wicked knows a device by
/// nothing but the name of its file.
pub(super) fn named(config: &Config) -> Config {
    let mut config = config.clone();
    for link in &mut config.links {
        let is_nameless = link.device().is_none();
        let id = link.id.clone();
        if let Kind::Hardware(hardware) = &mut link.kind
            && is_nameless
            && hardware.mac.is_some()
        {
            hardware.rename = Some(id);
        }
    }
    config
}

/// An ifcfg file of each link, with one of its routes and one of its sysctls where it has some; and the rules that name devices.
pub(super) fn render(config: &Config) -> Result<Vec<NetFile>, Inexpressible> {
    let mut files = Vec::new();
    let mut rules = String::new();
    for link in &config.links {
        check_name(link)?;
        let name = name(link);
        let texts = [("ifcfg", ifcfg(config, link)?), ("ifroute", routes(link)), ("ifsysctl", sysctls(link))];
        for (kind, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            if text.lines().any(|line| line.len() > LINE_MAX) {
                return Err(Inexpressible::new(NAME, link, format!("a line of more than {LINE_MAX} bytes")));
            }
            files.push(file(format!("{DIRECTORY}/{kind}-{name}"), &text));
        }
        if let Kind::Hardware(hardware) = &link.kind {
            rules += &rule(hardware);
        }
    }
    if !rules.is_empty() {
        files.push(file(RULES.to_owned(), &rules));
    }
    Ok(files)
}

fn file(path: String, text: &str) -> NetFile {
    NetFile { path, mode: 0o644, text: HEAD.to_owned() + text }
}

/// Fails where wicked would not read a link's file, or would not know its device.
fn check_name(link: &Link) -> Result<(), Inexpressible> {
    if let Kind::Hardware(hardware) = &link.kind
        && hardware.rename.is_none()
    {
        if hardware.pattern().is_some() {
            return Err(Inexpressible::new(NAME, link, "a pattern of names"));
        }
        if hardware.mac.is_some() {
            return Err(Inexpressible::new(NAME, link, "a MAC address and a name at once"));
        }
    }
    let name = name(link);
    let is_word = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    // IFNAMSIZ has a NUL in it; of the names that are known Config::check has seen to that.
    if name.len() > 15
        || !name.chars().all(is_word)
        || !name.starts_with(|char: char| char.is_ascii_alphanumeric())
        || RESERVED.contains(&name)
        || IGNORED.iter().any(|end| name.ends_with(end))
    {
        return Err(Inexpressible::new(NAME, link, format!("the name {name:?} of a device")));
    }
    Ok(())
}

/// A rule of udev(7). Only what has a driver below it has its MAC address of its maker: what is made of it has not.
fn rule(hardware: &Hardware) -> String {
    let Some(rename) = &hardware.rename else { return String::new() };
    let mut text = "SUBSYSTEM==\"net\", ACTION==\"add\", ".to_owned();
    if let Some(mac) = hardware.mac {
        let _ = write!(text, "DRIVERS==\"?*\", ATTR{{address}}==\"{mac}\", ");
    }
    if let Some(name) = &hardware.name {
        let _ = write!(text, "KERNEL==\"{name}\", ");
    }
    let _ = writeln!(text, "NAME:=\"{rename}\"");
    text
}

fn ifcfg(config: &Config, link: &Link) -> Result<String, Inexpressible> {
    let mut text = String::new();
    let mut put = |key: &str, value: &str| _ = writeln!(text, "{key}='{value}'");
    let is_member = config.master(&link.id).is_some();
    // What is there is a part as soon as it is there; booting does not wait for it.
    let may_be_late = link.optional || (is_member && matches!(link.kind, Kind::Hardware(_)));
    put("STARTMODE", if may_be_late { "hotplug" } else { "auto" });
    let (protocol, mode) = protocol(link);
    put("BOOTPROTO", if is_member { "none" } else { protocol });
    if let Some(mode) = mode {
        put("DHCLIENT6_MODE", mode);
    }
    let device = |id: &String| {
        let device = config.link(id).and_then(Link::device);
        device.ok_or_else(|| Inexpressible::new(NAME, link, format!("its part {id:?}, whose name is not known")))
    };
    match &link.kind {
        Kind::Hardware(_) => {}
        Kind::Bond(members, bond) => {
            put("BONDING_MASTER", "yes");
            put("BONDING_MODULE_OPTS", &bonding(config, link, bond)?);
            for (number, member) in members.iter().enumerate() {
                put(&format!("BONDING_SLAVE_{number}"), device(member)?);
            }
        }
        Kind::Bridge(ports, bridge) => {
            put("BRIDGE", "yes");
            put("BRIDGE_PORTS", &words(ports.iter().map(device).collect::<Result<Vec<_>, _>>()?));
            self::bridge(link, bridge, &mut put)?;
            if ports.is_empty() {
                // It never has a carrier, which would be waited for.
                put("LINK_REQUIRED", "no");
            }
        }
        Kind::Vlan(parent, tag) => {
            put("ETHERDEVICE", device(parent)?);
            put("VLAN_ID", &tag.to_string());
        }
    }
    if let Some(mac) = link.mac {
        put("LLADDR", &mac.to_string());
    }
    if let Some(mtu) = link.mtu {
        put("MTU", &mtu.to_string());
    }
    for (number, address) in link.addresses.iter().enumerate() {
        if address.prefix() == 0 {
            return Err(Inexpressible::new(NAME, link, format!("the prefix of {address}")));
        }
        let key = if number == 0 { "IPADDR".to_owned() } else { format!("IPADDR_{number}") };
        put(&key, &address.to_string());
    }
    Ok(text)
}

/// By which protocols there are addresses beside those that are given; and what is asked for by DHCP for IPv6.
fn protocol(link: &Link) -> (&'static str, Option<&'static str>) {
    match (link.dhcp4, link.auto6) {
        (true, Auto6::Dhcp) => ("dhcp", Some("managed")),
        (true, Auto6::Stateless) => ("dhcp", Some("info")),
        (true, Auto6::Slaac) => ("dhcp4+auto6", None),
        (true, Auto6::Unsaid | Auto6::Off) => ("dhcp4", None),
        (false, Auto6::Dhcp) => ("dhcp6", Some("managed")),
        (false, Auto6::Stateless) => ("dhcp6", Some("info")),
        (false, Auto6::Slaac) => ("auto6", None),
        // With addresses or without: what is to have none is brought up all the same.
        (false, Auto6::Unsaid | Auto6::Off) => ("static", None),
    }
}

/// The lines of ifroute(5): destination, router, an obsolete column, the device, options.
fn routes(link: &Link) -> String {
    let mut text = String::new();
    let mut put = |to: &str, via: Option<String>, metric: Option<u32>| {
        let _ = write!(text, "{to} {} - {}", via.as_deref().unwrap_or("-"), name(link));
        let _ = match metric {
            Some(metric) => writeln!(text, " metric {metric}"),
            None => writeln!(text),
        };
    };
    let is_near = |router: Cidr| {
        let of = |address: &Cidr| router.with_prefix(address.prefix()).network() == address.network();
        link.addresses.iter().any(of)
    };
    let mut near: Vec<Cidr> = link.routes.iter().filter(|route| route.via.is_none()).map(|route| route.to).collect();
    for Route { to, via, metric, on_link } in &link.routes {
        // Of a route with one router the flag is read, and not handed to the kernel: a route to the router says the same.
        if let Some(router) = via.filter(|_| *on_link).map(Cidr::host)
            && !is_near(router)
            && !near.contains(&router)
        {
            put(&router.to_string(), None, None);
            near.push(router);
        }
        let to = if to.prefix() == 0 && via.is_some() { "default".to_owned() } else { to.to_string() };
        put(&to, via.map(|via| via.to_string()), *metric);
    }
    text
}

/// What ifcfg files have no key for, in sysctl.conf(5)'s words with slashes: names of devices have dots.
fn sysctls(link: &Link) -> String {
    match link.auto6 {
        Auto6::Off => format!("net/ipv6/conf/{}/accept_ra = 0\n", name(link)),
        Auto6::Unsaid | Auto6::Slaac | Auto6::Stateless | Auto6::Dhcp => String::new(),
    }
}

/// The options of a bond; an error where wicked would refuse the bond for them (`ni_bonding_validate`).
fn bonding(config: &Config, link: &Link, bond: &Bond) -> Result<String, Inexpressible> {
    // It makes no bond whose links nobody looks at. The kernel's default is that nobody does, YaST's is this.
    let interval = bond.miimon.unwrap_or(100);
    let mode = bond.mode.unwrap_or("balance-rr");
    let is_in = |modes: &[&str]| modes.contains(&mode);
    let is_short = |delay: Option<u32>| delay.is_some_and(|delay| delay > 0 && delay < interval);
    let numbers = [bond.miimon, bond.up_delay, bond.down_delay, bond.min_links];
    for (is_refused, what) in [
        (interval == 0, "a bond whose links are not looked at (a miimon of 0)".to_owned()),
        (is_short(bond.up_delay), format!("an up delay of less than the {interval} ms of its miimon")),
        (is_short(bond.down_delay), format!("a down delay of less than the {interval} ms of its miimon")),
        (
            numbers.iter().flatten().any(|number| i32::try_from(*number).is_err()),
            "a number of more than 2147483647 in a bond".to_owned(),
        ),
        (
            bond.xmit_hash_policy.is_some_and(|policy| policy != "layer2") && !is_in(&["balance-xor", "802.3ad"]),
            format!("a hash policy in the mode {mode}"),
        ),
        (bond.lacp_rate == Some("fast") && !is_in(&["802.3ad"]), format!("an LACP rate in the mode {mode}")),
        (
            bond.ad_select.is_some_and(|select| select != "stable") && !is_in(&["802.3ad"]),
            format!("an ad_select in the mode {mode}"),
        ),
        (
            bond.min_links.is_some_and(|links| links > 0) && !is_in(&["802.3ad"]),
            format!("a least number of links in the mode {mode}"),
        ),
        (
            bond.primary.is_some() && !is_in(&["active-backup", "balance-tlb", "balance-alb"]),
            format!("a primary member in the mode {mode}"),
        ),
    ] {
        if is_refused {
            return Err(Inexpressible::new(NAME, link, what));
        }
    }
    let bond = Bond { miimon: Some(interval), ..bond.clone() };
    let options = bonding::options(NAME, config, link, &bond)?;
    Ok(words(options.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)))))
}

fn bridge(link: &Link, bridge: &Bridge, put: &mut impl FnMut(&str, &str)) -> Result<(), Inexpressible> {
    let stp = bridge.stp.unwrap_or(false);
    if let Some(delay) = bridge.forward_delay.filter(|delay| stp && *delay < 2) {
        // `ni_bridge_validate`.
        let what = format!("a forward delay of {delay} s with the spanning tree protocol");
        return Err(Inexpressible::new(NAME, link, what));
    }
    put("BRIDGE_STP", if stp { "on" } else { "off" });
    for (key, value) in [
        ("BRIDGE_PRIORITY", bridge.priority),
        ("BRIDGE_FORWARDDELAY", bridge.forward_delay),
        ("BRIDGE_HELLOTIME", bridge.hello_time),
        ("BRIDGE_MAXAGE", bridge.max_age),
        ("BRIDGE_AGEINGTIME", bridge.ageing_time),
    ] {
        if let Some(value) = value {
            put(key, &value.to_string());
        }
    }
    Ok(())
}
