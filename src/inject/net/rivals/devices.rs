//! Whether a file of the guest's own may be for a device of a configuration, and would be taken in the place of ours.

mod keyfile;

pub(super) use keyfile::for_network_manager;

use crate::guest::Version;
use crate::guest::network::{device_spec::Device, glob};
use crate::net::config::{Config, Kind, Mac, is_pattern};
use crate::net::render::PRIORITY;
use std::collections::BTreeSet;

/// The longest name of a device, in bytes (IFNAMSIZ of Linux, less its NUL).
const NAME_MAX: usize = 15;

/// The type of a wired device.
const ETHERNET: &str = "ethernet";

/// Since when systemd.network(5) has `Kind=`.
const KIND_SINCE: Version = (251, 0);
/// Since when networkd ignores a file with nothing in its `[Match]` (`network_verify` of its sources); before, that was for all devices.
const NOTHING_SINCE: Version = (245, 0);

/// The name of the device that a systemd.netdev(5) text makes.
pub(super) fn netdev(text: &str) -> Option<&str> {
    let name = entries(text, "NetDev").filter(|(key, _)| *key == "Name").last().map(|(_, name)| name);
    name.filter(|name| !name.is_empty() && name.len() <= NAME_MAX)
}

/// What a guest's networkd makes of its files.
#[derive(Debug)]
pub(super) struct Networkd {
    /// The names of the devices that it makes.
    pub(super) netdevs: BTreeSet<String>,
    /// The version of systemd that it is of, where that is known.
    pub(super) version: Option<Version>,
}

/// Whether a file is for a device of another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::inject::net) enum Fit {
    /// For none.
    #[default]
    No,
    /// It is not known.
    May,
    /// All that is known of that one is within it: it has the same name, MAC address or pattern, or a wider pattern.
    Sure,
}

/// The devices that a network is for, and what it does for them.
#[derive(Debug, Default)]
pub(in crate::inject::net) struct Own<'a> {
    /// What is known of each. Of a device without a name, a pattern and a MAC address that is nothing.
    devices: Vec<Device<'a>>,
    /// The priority of its connections, as NetworkManager has it (-999 to 999).
    priority: i64,
    /// How surely a file of the guest's has to be for one of them to give way.
    pub(super) gives_way: Fit,
}

impl<'a> Own<'a> {
    /// Those of a configuration that is compiled, which is all that the guest is to have; what may be for one of them gives way, where it
    /// says of all which they are.
    pub(in crate::inject::net) fn of(config: &'a Config) -> Self {
        let devices = config.links.iter().map(|link| match &link.kind {
            Kind::Hardware(hardware) => {
                Device { name: link.device(), pattern: hardware.pattern(), mac: hardware.mac, kind: Some(ETHERNET) }
            }
            Kind::Bond(..) => Device { name: Some(&link.id), kind: Some("bond"), ..Device::default() },
            Kind::Bridge(..) => Device { name: Some(&link.id), kind: Some("bridge"), ..Device::default() },
            Kind::Vlan(..) => Device { name: Some(&link.id), kind: Some("vlan"), ..Device::default() },
        });
        let devices: Vec<_> = devices.collect();
        let is_known = |device: &Device<'_>| {
            device.name.is_some() || device.mac.is_some() || device.pattern.is_some_and(|name| name != "*")
        };
        let gives_way = if devices.iter().all(is_known) { Fit::May } else { Fit::Sure };
        Self { devices, priority: PRIORITY.into(), gives_way }
    }

    /// Those of a systemd.network(5) text; `None` where a networkd of this version ignores it.
    pub(in crate::inject::net) fn of_network(text: &'a str, version: Option<Version>) -> Option<Self> {
        if is_ignored(text, version) {
            return None;
        }
        let kind = match (&words(text, &["Type"])[..], &words(text, &["Kind"])[..]) {
            ([] | ["ether"], [] | ["!*"]) => Some(ETHERNET),
            _ => None,
        };
        let mac = match words(text, MACS)[..] {
            [word] => Mac::parse(word),
            _ => None,
        };
        let unnamed = Device { mac, kind, ..Device::default() };
        let mut devices = Vec::new();
        for word in words(text, &["Name"]) {
            if word.starts_with('!') {
                devices.clear();
                break;
            }
            devices.push(match is_pattern(word) {
                true => Device { pattern: Some(word), ..unnamed },
                false => Device { name: Some(word), ..unnamed },
            });
        }
        if devices.is_empty() {
            devices.push(unnamed);
        }
        Some(Self { devices, priority: 0, gives_way: Fit::Sure })
    }
}

/// The keys by which systemd.network(5) goes by MAC addresses.
const MACS: &[&str] = &["MACAddress", "PermanentMACAddress"];

/// The keys of `[Match]` (systemd.network(5) of version 257).
const KEYS: [&str; 18] = [
    "Architecture",
    "BSSID",
    "Credential",
    "Driver",
    "Firmware",
    "Host",
    "KernelCommandLine",
    "KernelVersion",
    "Kind",
    "MACAddress",
    "Name",
    "Path",
    "PermanentMACAddress",
    "Property",
    "SSID",
    "Type",
    "Virtualization",
    "WLANInterfaceType",
];

/// The words of keys of the `[Match]` of a systemd.network(5).
fn words<'a>(text: &'a str, keys: &[&str]) -> Vec<&'a str> {
    let mut words: Vec<&str> = Vec::new();
    for (_, value) in entries(text, "Match").filter(|(key, _)| keys.contains(key)) {
        // An empty one takes back what was said before.
        if value.is_empty() {
            words.clear();
        }
        words.extend(value.split_whitespace());
    }
    words
}

/// Whether a networkd of a version passes over `Kind=`, as over all keys that it does not know. One of no known version knows it.
fn is_before_kind(version: Option<Version>) -> bool {
    version.is_some_and(|version| version < KIND_SINCE)
}

/// Whether a networkd of a version ignores a systemd.network(5) text: an empty one, and since 245 one with nothing in its `[Match]`.
fn is_ignored(text: &str, version: Option<Version>) -> bool {
    let counts = |(key, value): (&str, &str)| !value.is_empty() && (key != "Kind" || !is_before_kind(version));
    text.is_empty() || !is_for_all(version) && !entries(text, "Match").any(counts)
}

/// Whether to a networkd of a version nothing in `[Match]` is all devices.
fn is_for_all(version: Option<Version>) -> bool {
    version.is_some_and(|version| version < NOTHING_SINCE)
}

/// Whether a systemd.network(5) text is ignored by a networkd of a version for having nothing in its `[Match]` that one of today knows.
pub(in crate::inject::net) fn is_unknown(text: &str, version: Option<Version>) -> bool {
    !is_for_all(version) && !entries(text, "Match").any(|(key, value)| !value.is_empty() && KEYS.contains(&key))
}

/// Whether a systemd.network(5) text is for a device of these: it may be, where nothing in its `[Match]` says otherwise.
pub(super) fn for_networkd(text: &str, own: &Own<'_>, networkd: &Networkd) -> Fit {
    if is_ignored(text, networkd.version) {
        return Fit::No;
    }
    let (names, macs, types) = (words(text, &["Name"]), words(text, MACS), words(text, &["Type"]));
    let kinds = if is_before_kind(networkd.version) { Vec::new() } else { words(text, &["Kind"]) };
    // What is there has neither the name of the loopback device nor of one that networkd makes.
    let may_be_there = |pattern: &str| pattern != "lo" && !networkd.netdevs.contains(pattern);
    // A driver, say, which a device may not have.
    let is_plain =
        entries(text, "Match").all(|(key, _)| ["Name", "Type", "Kind"].contains(&key) || MACS.contains(&key));
    let fits = own.devices.iter().map(|device| {
        let is_made = device.name.is_some_and(|name| networkd.netdevs.contains(name));
        let is_there = device.kind == Some(ETHERNET) && !is_made;
        // Only what is made has a kind (rtnetlink's).
        let made = device.kind.filter(|kind| *kind != ETHERNET);
        let has_name = |word: &str| match (device.name, device.pattern) {
            (Some(name), _) => may_match(word, name),
            (None, Some(own)) if !is_pattern(word) => may_be_there(word) && may_match(own, word),
            (None, _) => may_be_there(word),
        };
        let may_be = may_have(&names, has_name)
            && may_have(&macs, |word| is_mac(word, device.mac))
            && may_have(&kinds, |word| made.map_or(!is_there, |kind| may_match(word, kind)))
            && (!is_there || may_have(&types, |word| may_match(word, "ether")));
        let is_same = macs.iter().any(|word| is_same(word, device.mac));
        let own = device.name.or(device.pattern).or(device.mac.map(|_| "*"));
        let is_listed = names.first().is_some_and(|first| !first.starts_with('!'));
        let is_within = own
            .filter(|_| is_listed)
            .is_some_and(|own| names.contains(&own) || is_plain && names.iter().any(|word| covers(word, own)));
        match may_be {
            false => Fit::No,
            true if is_same || is_within && macs.is_empty() => Fit::Sure,
            true => Fit::May,
        }
    });
    fits.max().unwrap_or_default()
}

/// The entries of the sections of a name: keys and values.
pub(in crate::inject::net) fn entries<'a>(text: &'a str, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut is_within = false;
    // networkd passes over the mark of an editor's.
    text.trim_start_matches('\u{feff}').lines().map(str::trim).filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_within = name == section;
            return None;
        }
        let (key, value) = line.split_once('=').filter(|_| is_within && !line.starts_with(['#', ';']))?;
        Some((key.trim(), value.trim()))
    })
}

/// Whether a list of patterns lets something through: an empty one everything; one that begins with `!`, what none of them is about.
fn may_have(words: &[&str], is_about: impl Fn(&str) -> bool) -> bool {
    match words.split_first() {
        None => true,
        // What is about it may be so only as far as is known.
        Some((first, _)) if first.starts_with('!') => true,
        Some(_) => words.iter().any(|word| is_about(word)),
    }
}

/// Whether it may be the MAC address of a device, of which that may not be known.
fn is_mac(word: &str, mac: Option<Mac>) -> bool {
    match (Mac::parse(word), mac) {
        (Some(word), Some(mac)) => word == mac,
        _ => true,
    }
}

/// Whether it is the MAC address of a device.
fn is_same(word: &str, mac: Option<Mac>) -> bool {
    mac.is_some_and(|mac| Mac::parse(word) == Some(mac))
}

/// Whether a pattern surely matches a name, or all names that another pattern does. That is known of stars alone, as these match whatever
/// is in its place in the other one.
fn covers(pattern: &str, own: &str) -> bool {
    let unknown: &[char] = if is_pattern(own) { &['?', '[', ']', '\\'] } else { &['[', '\\'] };
    !pattern.contains(unknown) && glob(pattern.as_bytes(), own.as_bytes())
}

/// Whether a pattern of glob(7) may match a name; brackets may match anything.
fn may_match(pattern: &str, name: &str) -> bool {
    pattern.contains(['[', '\\']) || glob(pattern.as_bytes(), name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::read;

    const NAMED: &str = "{version: 2, ethernets: {eth0: {dhcp4: true}}, vlans: {v7: {link: eth0, id: 7}}}";
    const BY_MAC: &str = "{version: 2, ethernets: {a: {match: {macaddress: '52:54:00:12:34:56'}, dhcp4: true}}}";

    #[test]
    fn of_networkd() {
        for (section, by_name, by_mac) in [
            ("Name=eth0", true, true),
            ("Name=e*", true, true),
            ("Name=v7", true, true),
            ("Name=eth1 lo", false, true),
            ("Name=lo", false, false),
            ("Name=wg0", false, false),
            ("Name=lo br0", false, false),
            ("Name=wg0 eth1", false, true),
            ("Name=wg1", false, true),
            ("Name=!wg0", true, true),
            ("Kind=wireguard", false, false),
            ("Kind=vlan", true, false),
            ("Kind=*", true, false),
            ("Kind=vlan\nName=eth0", false, false),
            ("Kind=!bridge", true, true),
            ("Name=eth0\nName=\nName=eth1", false, true),
            ("Name=eth1\nName=eth0", true, true),
            ("Name=!eth1", true, true),
            ("Name=eth[0-9]", true, true),
            ("# Name=eth1", false, false),
            ("MACAddress=52:54:00:12:34:56", true, true),
            ("MACAddress=52:54:00:12:34:57", true, false),
            ("PermanentMACAddress=52-54-00-12-34-57 52:54:00:12:34:56", true, true),
            ("Type=ether", true, true),
            ("Type=wlan\nName=eth*", false, false),
            ("Driver=virtio", true, true),
            ("", false, false),
        ] {
            let text = format!("[Match]\n{section}\n\n[Network]\nName=eth9\n");
            let config = |document| read::document(document).unwrap();
            let networkd = Networkd { netdevs: ["wg0", "br0"].map(str::to_owned).into(), version: None };
            let may_be = |own| for_networkd(&text, &Own::of(&config(own)), &networkd) >= Fit::May;
            assert_eq!((may_be(NAMED), may_be(BY_MAC)), (by_name, by_mac), "{section}");
        }
    }

    #[test]
    fn a_kind_where_it_is_known() {
        let config = read::document(NAMED).unwrap();
        let is_rival = |version, section| {
            let networkd = Networkd { netdevs: BTreeSet::new(), version: Some(version) };
            for_networkd(&format!("[Match]\n{section}\n"), &Own::of(&config), &networkd) >= Fit::May
        };
        for (section, before, since) in [("Kind=wireguard\nName=e*", true, false), ("Kind=vlan", false, true)] {
            assert_eq!((is_rival((249, 11), section), is_rival((251, 4), section)), (before, since), "{section}");
        }
    }

    /// What has nothing in its `[Match]` is for no device, or for all of them.
    #[test]
    fn nothing_to_match() {
        let config = read::document(NAMED).unwrap();
        for (text, [old, before_kind, new]) in [
            ("[Network]\nDHCP=yes\n", [true, false, false]),
            ("[Match]\n#Name=eth0\n", [true, false, false]),
            ("[Match]\nName=\n", [true, false, false]),
            ("[Match]\nKind=vlan\n", [true, false, true]),
            ("[Match]\nName=eth0\n", [true, true, true]),
            ("", [false, false, false]),
        ] {
            for (version, is_read) in
                [(Some((244, 3)), old), (Some((245, 4)), before_kind), (Some((252, 1)), new), (None, new)]
            {
                assert_eq!(Own::of_network(text, version).is_some(), is_read, "{version:?}: {text}");
                let networkd = Networkd { netdevs: BTreeSet::new(), version };
                let may_be = for_networkd(text, &Own::of(&config), &networkd) >= Fit::May;
                assert_eq!(may_be, is_read, "{version:?}: {text}");
            }
        }
    }

    #[test]
    fn names_of_netdevs() {
        assert_eq!(netdev("[NetDev]\nName=wg0\nKind=wireguard\n[WireGuard]\nName=x\n"), Some("wg0"));
        assert_eq!(netdev("[NetDev]\nName=a\nName=b\n"), Some("b"));
        assert_eq!(netdev("[NetDev]\n#Name=wg0\n"), None);
        assert_eq!(netdev(&format!("[NetDev]\nName={}\n", "a".repeat(16))), None);
    }

    #[test]
    fn of_a_text_for_networkd() {
        use Fit::{May, No, Sure};
        let networkd = Networkd { netdevs: ["wg0", "bond0"].map(str::to_owned).into(), version: None };
        for (own, theirs, fit) in [
            ("Name=eth0", "Name=eth0", Sure),
            ("Name=eth0", "Name=e*", Sure),
            ("Name=eth0", "Name=e*\nMACAddress=52:54:00:12:34:56", May),
            ("Name=eth0", "Name=e*\nDriver=virtio_net", May),
            ("Name=eth0", "Name=eth?", Sure),
            ("Name=eth0", "Name=eth[0-9]", May),
            ("Name=e*", "Name=e?", May),
            ("Name=eth0", "Name=eth1", No),
            ("Name=eth0", "Name=!eth1 eth0", May),
            ("Name=eth0", "Name=eth1\nDriver=virtio_net\nName=eth0", Sure),
            ("Name=eth0", "Kind=bond", No),
            ("Name=eth0", "Type=ether", May),
            ("Name=eth0", "Name=eth0\nType=wlan", No),
            ("Name=eth0", "MACAddress=52:54:00:12:34:56", May),
            ("Name=eth0 eth1", "Name=eth1", Sure),
            ("Name=eth1\nName=\nName=eth0", "Name=eth1", No),
            ("Name=e*", "Name=eth1", May),
            ("Name=e*", "Name=wlan0", No),
            ("Name=e*", "Name=w*", May),
            ("Name=e*", "Name=e*", Sure),
            ("Name=en[0-9]", "Name=wl* e*", Sure),
            ("Name=e*", "Name=*", Sure),
            ("Name=e*", "Name=en*", May),
            ("Name=e*", "Name=!lo", May),
            ("Name=bond0", "Kind=bond", May),
            ("Name=bond0", "Type=bond", May),
            ("Name=wg0 eth0\nKind=wireguard", "Name=wg0", Sure),
            ("MACAddress=52:54:00:12:34:56", "Name=eth0", May),
            ("MACAddress=52:54:00:12:34:56", "Name=wg0", No),
            ("MACAddress=52:54:00:12:34:56", "Name=e*", May),
            ("MACAddress=52:54:00:12:34:56", "Name=*", Sure),
            ("MACAddress=52:54:00:12:34:56", "MACAddress=52:54:00:12:34:57", No),
            ("MACAddress=52:54:00:12:34:56", "PermanentMACAddress=52-54-00-12-34-56\nName=eth*", Sure),
            ("Name=*", "Name=eth0", May),
            ("Name=*", "Name=wg0", No),
            ("Name=!eth1", "Name=eth0", May),
            ("Type=ether", "Type=wlan", No),
            ("Type=ether", "Name=*", May),
            ("Driver=virtio_net", "Name=eth0", May),
        ] {
            let text = format!("[Match]\n{own}\n\n[Network]\nName=eth9\n");
            let of = Own::of_network(&text, None).unwrap();
            let theirs = format!("[Match]\n{theirs}\n");
            assert_eq!(for_networkd(&theirs, &of, &networkd), fit, "{own} {theirs}");
        }
    }
}
