//! Whether a file of the guest's own may be for a device of a configuration, and would be taken in the place of ours.

use crate::guest::Version;
use crate::net::config::{Config, Kind, Mac};
use crate::net::render::PRIORITY;
use std::collections::BTreeSet;

/// The longest name of a device, in bytes (IFNAMSIZ of Linux, less its NUL).
const NAME_MAX: usize = 15;

/// The types of NetworkManager's connections that make no device of their names.
const THERE: [&str; 11] = [
    "ethernet",
    "802-3-ethernet",
    "wifi",
    "802-11-wireless",
    "bluetooth",
    "gsm",
    "cdma",
    "infiniband",
    "adsl",
    "pppoe",
    "vpn",
];

/// Since when systemd.network(5) has `Kind=`.
const KIND_SINCE: Version = (251, 0);

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

/// Whether a systemd.network(5) text may be for a device of these: it may, where nothing in its `[Match]` says otherwise.
pub(super) fn is_for_networkd(text: &str, config: &Config, networkd: &Networkd) -> bool {
    // A key that an older one does not know it passes over.
    let knows_kind = networkd.version.is_none_or(|version| version >= KIND_SINCE);
    let matches = || entries(text, "Match").filter(|(key, _)| knows_kind || *key != "Kind");
    let words = |keys: &[&str]| {
        let mut words: Vec<&str> = Vec::new();
        for (_, value) in matches().filter(|(key, _)| keys.contains(key)) {
            // An empty one takes back what was said before.
            if value.is_empty() {
                words.clear();
            }
            words.extend(value.split_whitespace());
        }
        words
    };
    let (names, macs) = (words(&["Name"]), words(&["MACAddress", "PermanentMACAddress"]));
    let (types, kinds) = (words(&["Type"]), words(&["Kind"]));
    // What is there has neither the name of the loopback device nor of one that networkd makes.
    let may_be_there = |pattern: &str| pattern != "lo" && !networkd.netdevs.contains(pattern);
    // networkd ignores a file without any.
    if matches().next().is_none() {
        return false;
    }
    config.links.iter().any(|link| {
        // Only what is made has a kind (rtnetlink's).
        let (made, mac) = match &link.kind {
            Kind::Hardware(hardware) => (None, hardware.mac),
            Kind::Bond(..) => (Some("bond"), None),
            Kind::Bridge(..) => (Some("bridge"), None),
            Kind::Vlan(..) => (Some("vlan"), None),
        };
        may_have(&names, |pattern| link.device().map_or_else(|| may_be_there(pattern), |name| may_match(pattern, name)))
            && may_have(&macs, |word| is_mac(word, mac))
            && may_have(&kinds, |pattern| made.is_some_and(|kind| may_match(pattern, kind)))
            && (made.is_some() || may_have(&types, |pattern| may_match(pattern, "ether")))
    })
}

/// Whether a keyfile of NetworkManager's may be for a device of these, and goes before ours or may do so.
pub(super) fn is_for_network_manager(text: &str, config: &Config) -> bool {
    let value = |sections: &[&'static str], key: &str| {
        let entries = sections.iter().flat_map(|section| entries(text, section));
        entries.filter(|(found, _)| *found == key).last().map(|(_, value)| value)
    };
    let priority = value(&["connection"], "autoconnect-priority").and_then(|value| value.parse::<i64>().ok());
    // Of two with the same one, the one that was used last is taken.
    if priority.unwrap_or_default() < i64::from(PRIORITY) || value(&["connection"], "autoconnect") == Some("false") {
        return false;
    }
    let kind = value(&["connection"], "type");
    let name = value(&["connection"], "interface-name");
    let address = value(&["ethernet", "802-3-ethernet"], "mac-address");
    config.links.iter().any(|link| {
        let mac = match &link.kind {
            Kind::Hardware(_) if !matches!(kind, Some("ethernet" | "802-3-ethernet") | None) => return false,
            Kind::Hardware(hardware) => hardware.mac,
            // What the guest makes goes by its name, and another that is made takes that away.
            Kind::Bond(..) | Kind::Bridge(..) | Kind::Vlan(..) => {
                return name == Some(&link.id) && kind.is_none_or(|kind| !THERE.contains(&kind));
            }
        };
        let is_named = name.is_none_or(|name| link.device().is_none_or(|device| device == name));
        is_named && address.is_none_or(|word| is_mac(word, mac))
    })
}

/// The entries of the sections of a name: keys and values.
pub(in crate::inject::net) fn entries<'a>(text: &'a str, section: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut is_within = false;
    text.lines().map(str::trim).filter_map(move |line| {
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

/// Whether a pattern of glob(7) may match a name; brackets may match anything.
fn may_match(pattern: &str, name: &str) -> bool {
    pattern.contains(['[', '\\']) || crate::guest::network::glob(pattern.as_bytes(), name.as_bytes())
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
            assert_eq!(is_for_networkd(&text, &config(NAMED), &networkd), by_name, "{section}");
            assert_eq!(is_for_networkd(&text, &config(BY_MAC), &networkd), by_mac, "{section}");
        }
    }

    #[test]
    fn a_kind_where_it_is_known() {
        let config = read::document(NAMED).unwrap();
        let is_rival = |version, section| {
            let networkd = Networkd { netdevs: BTreeSet::new(), version: Some(version) };
            is_for_networkd(&format!("[Match]\n{section}\n"), &config, &networkd)
        };
        for (section, before, since) in [("Kind=wireguard\nName=e*", true, false), ("Kind=vlan", false, true)] {
            assert_eq!((is_rival((249, 11), section), is_rival((251, 4), section)), (before, since), "{section}");
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
    fn of_network_manager() {
        for (text, by_name, by_mac) in [
            ("interface-name=eth0\nautoconnect-priority=999", true, true),
            ("autoconnect-priority=200", true, true),
            ("interface-name=eth0\nautoconnect-priority=199", false, false),
            ("autoconnect-priority=1\nautoconnect-priority=999", true, true),
            ("interface-name=eth0", false, false),
            ("interface-name=eth0\nautoconnect-priority=999\nautoconnect=false", false, false),
            ("interface-name=eth1\nautoconnect-priority=999", false, true),
            ("type=wifi\nautoconnect-priority=999", false, false),
            ("type=vlan\ninterface-name=v7\nautoconnect-priority=999", true, false),
            ("type=ip-tunnel\ninterface-name=v7\nautoconnect-priority=999", true, false),
            ("type=ethernet\ninterface-name=v7\nautoconnect-priority=999", false, true),
            ("type=vpn\ninterface-name=v7\nautoconnect-priority=999", false, false),
            ("type=802-11-wireless\ninterface-name=eth0\nautoconnect-priority=999", false, false),
            ("type=bluetooth\nautoconnect-priority=999", false, false),
            ("type=ip-tunnel\ninterface-name=eth0\nautoconnect-priority=999", false, false),
            ("autoconnect-priority=999\n[ethernet]\nmac-address=52:54:00:12:34:57", true, false),
        ] {
            let text = format!("[connection]\nid=own\n{text}\n");
            let config = |document| read::document(document).unwrap();
            assert_eq!(is_for_network_manager(&text, &config(NAMED)), by_name, "{text}");
            assert_eq!(is_for_network_manager(&text, &config(BY_MAC)), by_mac, "{text}");
        }
    }
}
