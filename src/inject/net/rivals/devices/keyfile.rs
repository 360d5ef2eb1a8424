//! NetworkManager's connections: the devices that they are for.

use super::{Device, ETHERNET, Fit, Own, entries, is_mac, is_same};
use crate::net::config::Mac;

/// The types of NetworkManager's connections that make no device of their names.
const THERE: [&str; 11] = [
    ETHERNET,
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

impl<'a> Own<'a> {
    /// Those of a keyfile of NetworkManager's; none where it is not started by itself, or is for what is no wired device and has no name
    /// that it makes.
    pub(in crate::inject::net) fn of_keyfile(text: &'a str) -> Self {
        let keyfile = Keyfile::of(text);
        let kind = match keyfile.kind {
            None | Some("802-3-ethernet") => ETHERNET,
            Some(kind) => kind,
        };
        let is_one = kind == ETHERNET || (keyfile.name.is_some() && !THERE.contains(&kind));
        let mac = keyfile.mac.and_then(Mac::parse);
        let names = match (keyfile.name, keyfile.names) {
            (None, Some(names)) => names.into_iter().map(Some).collect(),
            (name, _) => vec![name],
        };
        let names = names.into_iter().filter(|_| is_one && keyfile.is_automatic);
        let devices = names.map(|name| Device { name, mac, kind: Some(kind), pattern: None }).collect();
        Self { devices, priority: keyfile.priority, gives_way: Fit::Sure }
    }
}

/// What a keyfile of NetworkManager's says of its connection.
#[derive(Debug)]
struct Keyfile<'a> {
    kind: Option<&'a str>,
    name: Option<&'a str>,
    /// The names that its `[match]` lists, where these are no patterns.
    names: Option<Vec<&'a str>>,
    mac: Option<&'a str>,
    priority: i64,
    is_automatic: bool,
}

impl<'a> Keyfile<'a> {
    fn of(text: &'a str) -> Self {
        let value = |sections: &[&'static str], key: &str| {
            let entries = sections.iter().flat_map(|section| entries(text, section));
            entries.filter(|(found, _)| *found == key).last().map(|(_, value)| value)
        };
        let priority = value(&["connection"], "autoconnect-priority").and_then(|value| value.parse::<i64>().ok());
        Self {
            kind: value(&["connection"], "type"),
            name: value(&["connection"], "interface-name"),
            names: value(&["match"], "interface-name").and_then(names),
            mac: value(&["ethernet", "802-3-ethernet"], "mac-address"),
            priority: priority.unwrap_or_default(),
            is_automatic: !matches!(value(&["connection"], "autoconnect"), Some("false" | "0")),
        }
    }
}

/// The names of a list of NetworkManager's (nm-settings-nmcli(5), `match.interface-name`); `None` where one of them is a pattern, or has
/// an operator or an escape.
fn names(list: &str) -> Option<Vec<&str>> {
    let names: Vec<_> = list.split(';').filter(|name| !name.is_empty()).collect();
    let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte));
    (!names.is_empty() && names.iter().all(is_plain)).then_some(names)
}

/// Whether a keyfile of NetworkManager's is for a device of these, and goes before ours or may do so.
pub(in crate::inject::net) fn for_network_manager(text: &str, own: &Own<'_>) -> Fit {
    let Keyfile { kind, name, names, mac, priority, is_automatic } = Keyfile::of(text);
    // Of two with the same one, the one that was used last is taken.
    if priority < own.priority || !is_automatic {
        return Fit::No;
    }
    let fits = own.devices.iter().map(|device| {
        let is_among = |own: &str| names.as_ref().is_none_or(|names| names.contains(&own));
        let may_be = match device.kind {
            Some(ETHERNET) => {
                matches!(kind, Some(ETHERNET | "802-3-ethernet") | None)
                    && device.name.is_none_or(|own| name.is_none_or(|name| own == name) && is_among(own))
                    && mac.is_none_or(|word| is_mac(word, device.mac))
            }
            // What the guest makes goes by its name, and another that is made takes that away.
            _ => name == device.name && name.is_none_or(is_among) && kind.is_none_or(|kind| !THERE.contains(&kind)),
        };
        // A connection is on one device at a time, of those that it lists.
        let is_alone = name.is_some() || names.as_ref().is_some_and(|names| names.len() == 1);
        let is_named = own.devices.len() == 1 && device.name.is_some() && is_alone;
        match may_be {
            false => Fit::No,
            true if is_named || mac.is_some_and(|word| is_same(word, device.mac)) => Fit::Sure,
            true => Fit::May,
        }
    });
    fits.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::read;

    const NAMED: &str = "{version: 2, ethernets: {eth0: {dhcp4: true}}, vlans: {v7: {link: eth0, id: 7}}}";
    const BY_MAC: &str = "{version: 2, ethernets: {a: {match: {macaddress: '52:54:00:12:34:56'}, dhcp4: true}}}";

    #[test]
    fn of_network_manager() {
        for (text, by_name, by_mac) in [
            ("interface-name=eth0\nautoconnect-priority=999", true, true),
            ("autoconnect-priority=200", true, true),
            ("interface-name=eth0\nautoconnect-priority=199", false, false),
            ("autoconnect-priority=1\nautoconnect-priority=999", true, true),
            ("interface-name=eth0", false, false),
            ("interface-name=eth0\nautoconnect-priority=999\nautoconnect=false", false, false),
            ("interface-name=eth0\nautoconnect-priority=999\nautoconnect=0", false, false),
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
            ("autoconnect-priority=999\n[match]\ninterface-name=eth0;eth1;", true, true),
            ("autoconnect-priority=999\n[match]\ninterface-name=eth1;wlan0", false, true),
            ("interface-name=eth0\nautoconnect-priority=999\n[match]\ninterface-name=eth1", false, true),
            ("type=vlan\ninterface-name=v7\nautoconnect-priority=999\n[match]\ninterface-name=v8", false, false),
            // Patterns, operators and escapes; only a semicolon separates.
            ("autoconnect-priority=999\n[match]\ninterface-name=w*;eth1;", true, true),
            ("autoconnect-priority=999\n[match]\ninterface-name=!eth1;", true, true),
            ("autoconnect-priority=999\n[match]\ninterface-name=&eth1", true, true),
            ("autoconnect-priority=999\n[match]\ninterface-name=|eth1;|eth2", true, true),
            ("autoconnect-priority=999\n[match]\ninterface-name=eth1 eth2", true, true),
            ("autoconnect-priority=999\n[match]\ninterface-name=\\seth1", true, true),
            ("autoconnect-priority=999\n[match]\ndriver=virtio_net", true, true),
        ] {
            let text = format!("[connection]\nid=own\n{text}\n");
            let config = |document| read::document(document).unwrap();
            let may_be = |own| for_network_manager(&text, &Own::of(&config(own))) >= Fit::May;
            assert_eq!((may_be(NAMED), may_be(BY_MAC)), (by_name, by_mac), "{text}");
        }
    }

    #[test]
    fn of_a_text_for_network_manager() {
        use Fit::{May, No, Sure};
        let by_mac = "[ethernet]\nmac-address=52:54:00:12:34:56";
        for (own, theirs, fit) in [
            ("interface-name=eth0", "interface-name=eth0\nautoconnect-priority=120", Sure),
            ("interface-name=eth0", "interface-name=eth0", Sure),
            ("interface-name=eth0", "interface-name=eth0\nautoconnect-priority=-1", No),
            ("interface-name=eth0\nautoconnect-priority=121", "interface-name=eth0\nautoconnect-priority=120", No),
            ("interface-name=eth0\nautoconnect-priority=-9", "interface-name=eth0\nautoconnect-priority=-9", Sure),
            ("interface-name=eth0", "interface-name=eth1", No),
            ("type=802-3-ethernet\ninterface-name=eth0", "type=ethernet", May),
            ("interface-name=eth0", "type=wifi", No),
            ("interface-name=eth0\nautoconnect=false", "interface-name=eth0", No),
            ("type=vlan\ninterface-name=v7", "type=vlan\ninterface-name=v7", Sure),
            ("type=vlan\ninterface-name=v7", "type=vlan", No),
            ("type=vlan\nid=v", "type=vlan", No),
            ("type=wifi\ninterface-name=w0", "type=wifi\ninterface-name=w0", No),
            (by_mac, "interface-name=eth0", May),
            ("interface-name=eth0", by_mac, May),
            (by_mac, by_mac, Sure),
            ("id=any", "interface-name=eth0", May),
            ("[match]\ninterface-name=eth0;", "interface-name=eth0", Sure),
            ("[match]\ninterface-name=eth0;eth1", "interface-name=eth1", May),
            ("[match]\ninterface-name=eth0;eth1", "interface-name=eth2", No),
            ("interface-name=eth0", "[match]\ninterface-name=eth0", Sure),
            ("[match]\ninterface-name=eth0", "[match]\ninterface-name=eth2;eth0;", May),
            ("[match]\ninterface-name=eth0", "[match]\ninterface-name=eth*", May),
            ("[match]\ninterface-name=eth*", "interface-name=eth0", May),
            ("interface-name=eth0\n[match]\ninterface-name=eth1", "interface-name=eth0", Sure),
        ] {
            let (text, theirs) = (format!("[connection]\n{own}\n"), format!("[connection]\n{theirs}\n"));
            assert_eq!(for_network_manager(&theirs, &Own::of_keyfile(&text)), fit, "{own} {theirs}");
        }
    }
}
