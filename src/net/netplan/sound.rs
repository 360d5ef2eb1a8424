//! What the definitions of a text have to have, and may not have together.

use super::tree::{Node, Value};
use super::{Since, address, member, number};
use crate::config_drive::DocumentError;
use std::collections::{HashMap, HashSet};

/// The sections that have definitions.
const SECTIONS: [&str; 11] = [
    "ethernets",
    "wifis",
    "modems",
    "bonds",
    "bridges",
    "vlans",
    "vrfs",
    "tunnels",
    "dummy-devices",
    "virtual-ethernets",
    "nm-devices",
];

/// Definitions of a document: the section, the name's node and the definition.
fn definitions(root: &Node) -> impl Iterator<Item = (&'static str, &Node, &Node)> {
    let network = root.get("network");
    SECTIONS.into_iter().flat_map(move |section| {
        let members = network.and_then(|network| network.get(section)).map(Node::members).unwrap_or_default();
        members
            .iter()
            .filter(|(name, _)| name.text() != Some("renderer"))
            .map(move |(name, node)| (section, name, node))
    })
}

/// The names of all definitions, and of the ports of Open vSwitch.
pub(super) fn names(root: &Node) -> HashSet<String> {
    let ports = root.get("network").and_then(|network| network.get("openvswitch")?.get("ports"));
    let ports = ports.into_iter().flat_map(Node::elements).flat_map(Node::elements).filter_map(Node::text);
    definitions(root).filter_map(|(_, name, _)| name.text()).chain(ports).map(str::to_owned).collect()
}

/// Whether NetworkManager is the renderer of the whole document.
pub(super) fn is_network_managers(root: &Node) -> bool {
    let renderer = root.get("network").and_then(|network| network.get("renderer")).and_then(Node::text);
    renderer == Some("NetworkManager")
}

/// Fails with the first definition that lacks something, or that another one is against.
pub(super) fn check(root: &Node) -> Result<(), DocumentError> {
    let mut sections: HashMap<&str, &str> = HashMap::new();
    let mut masters: HashMap<&str, (&str, &str)> = HashMap::new();
    for (section, name, node) in definitions(root) {
        let id = name.text().unwrap_or_default();
        let at = member(&member("network", section), id);
        if sections.insert(id, section).is_some_and(|other| other != section) {
            return Err(name.wrong(&at, "it is a device of another type too"));
        }
        let by = renderer(root, section, node);
        complete(section, name, node, by, &at)?;
        if let Some(settings) = node.get("networkmanager")
            && section != "nm-devices"
            && by != Some("NetworkManager")
        {
            return Err(settings.wrong(&member(&at, "networkmanager"), "its renderer is not NetworkManager"));
        }
        if !matches!(section, "bonds" | "bridges") {
            continue;
        }
        for part in node.get("interfaces").into_iter().flat_map(Node::elements) {
            let Some(part_id) = part.text() else { continue };
            if let Some((kind, other)) = masters.insert(part_id, (section, id))
                && (other != id || kind != section)
            {
                let at = member(&at, "interfaces");
                return Err(part.wrong(&at, format!("{part_id:?} is a part of {other:?} already")));
            }
        }
    }
    Ok(())
}

/// The renderer of a definition: its own, that of its section, or that of all.
fn renderer<'a>(root: &'a Node, section: &str, node: &'a Node) -> Option<&'a str> {
    let network = root.get("network")?;
    let renderer = |node: &'a Node| node.get("renderer").and_then(Node::text);
    renderer(node).or_else(|| network.get(section).and_then(renderer)).or_else(|| renderer(network))
}

fn complete(section: &str, name: &Node, node: &Node, by: Option<&str>, at: &str) -> Result<(), DocumentError> {
    let fail = |reason: &str| Err(name.wrong(at, reason));
    let has = |key: &str| node.get(key).is_some();
    if has("set-name") && !has("match") {
        return fail("set-name goes with a match");
    }
    if has("ipv6-address-generation") && has("ipv6-address-token") {
        return fail("ipv6-address-generation and ipv6-address-token do not go together");
    }
    match section {
        "wifis" if node.get("access-points").is_none_or(|points| points.members().is_empty()) => {
            fail("it has no access-points")
        }
        "vlans" if !has("link") => fail("it has no link"),
        "vlans" => match node.get("id").and_then(Node::text).map(number) {
            Some(Some(0..=4094)) => Ok(()),
            Some(_) => fail("the id of a VLAN is 0 to 4094"),
            None => fail("it has no id"),
        },
        "vrfs" if !has("table") => fail("it has no table"),
        "vrfs" => tables(node, at),
        "virtual-ethernets" if !has("peer") => fail("it has no peer"),
        "nm-devices" => {
            let passthrough = node.get("networkmanager").and_then(|settings| settings.get("passthrough"));
            match passthrough.and_then(|passthrough| passthrough.get("connection.type")) {
                Some(_) => Ok(()),
                None => fail("its networkmanager.passthrough has no connection.type"),
            }
        }
        "tunnels" => tunnel(name, node, by, at),
        _ => Ok(()),
    }
}

/// Routes and rules of a VRF are those of its table.
fn tables(node: &Node, at: &str) -> Result<(), DocumentError> {
    let table = |node: &Node| node.get("table").and_then(Node::text).and_then(number);
    for key in ["routes", "routing-policy"] {
        for (index, entry) in node.get(key).into_iter().flat_map(Node::elements).enumerate() {
            if entry.get("table").is_some() && table(entry) != table(node) {
                return Err(entry.wrong(&format!("{at}.{key}[{index}]"), "its table is not that of the VRF"));
            }
        }
    }
    Ok(())
}

/// What older versions of netplan refuse of tunnels that newer ones take: each with its path, and the first version that does.
pub(super) fn needs(root: &Node) -> Vec<(String, Since)> {
    let mut needs = Vec::new();
    for (_, name, node) in definitions(root).filter(|(section, ..)| *section == "tunnels") {
        let at = format!("network.tunnels.{}", name.text().unwrap_or_default());
        let mode = node.get("mode").and_then(Node::text).unwrap_or_default();
        let peers = node.get("peers").map(Node::elements).unwrap_or_default();
        let lacks = |peer: &Node| peer.get("allowed-ips").is_none_or(|list| list.elements().is_empty());
        match mode {
            "vxlan" => {}
            "wireguard" if key_of(node, "private").is_none() => {
                needs.push((format!("{at} (WireGuard without a key)"), (0, 107)));
            }
            "wireguard" if peers.is_empty() => needs.push((format!("{at} (WireGuard without peers)"), (0, 107))),
            "wireguard" => {
                if let Some(index) = peers.iter().position(lacks) {
                    needs.push((format!("{at}.peers[{index}] (without allowed-ips)"), (0, 107)));
                }
            }
            _ if node.get("local").is_none() => needs.push((format!("{at} (without local)"), (1, 0))),
            "gretap" | "ip6gretap" if renderer(root, "tunnels", node) == Some("NetworkManager") => {
                needs.push((format!("{at} ({mode} with NetworkManager)"), (0, 107)));
            }
            _ => {}
        }
    }
    needs
}

/// A key of a tunnel: one of its own, or the one that it has for all.
fn key_of<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    let key = node.get("keys").or_else(|| node.get("key"))?;
    match &key.value {
        Value::Text(text) => Some(text),
        _ => key.get(name)?.text(),
    }
}

fn tunnel(name: &Node, node: &Node, by: Option<&str>, at: &str) -> Result<(), DocumentError> {
    let fail = |reason: &str| Err(name.wrong(at, reason));
    let text = |key: &str| node.get(key).and_then(Node::text);
    let Some(mode) = text("mode") else { return fail("it has no mode") };
    let key_of = |name: &str| key_of(node, name);
    if mode == "wireguard" {
        if key_of("private").is_some_and(|key| !key.starts_with('/') && !is_wireguard_key(key)) {
            return fail("its private key is none of WireGuard");
        }
        for peer in node.get("peers").into_iter().flat_map(Node::elements) {
            let key = |name: &str| peer.get("keys")?.get(name)?.text();
            if !key("public").is_some_and(is_wireguard_key) {
                return Err(peer.wrong(at, "a peer has a public key of WireGuard"));
            }
            if key("shared").is_some_and(|key| !key.starts_with('/') && !is_wireguard_key(key)) {
                return Err(peer.wrong(at, "the shared key of a peer is none of WireGuard"));
            }
        }
        return Ok(());
    }
    let is_key = |key: &str| number(key).is_some() || address(key).is_some_and(|ip| ip.is_ipv4());
    if [key_of("input"), key_of("output")].into_iter().flatten().any(|key| !is_key(key)) {
        return fail("its key is neither a number nor an address of IPv4");
    }
    let is_4 = |key: &str| text(key).and_then(address).map(|ip| ip.is_ipv4());
    if mode == "vxlan" {
        return match text("id").and_then(number) {
            Some(1..=16_777_215) if is_4("local").is_none() || is_4("remote").is_none() => Ok(()),
            Some(1..=16_777_215) if is_4("local") == is_4("remote") => Ok(()),
            Some(1..=16_777_215) => fail("local and remote are of both versions of IP"),
            _ => fail("a VXLAN has an id of 1 to 16777215"),
        };
    }
    let wants_4 = !matches!(mode, "ipip6" | "ip6ip6" | "ip6gre" | "ip6gretap" | "vti6");
    match (is_4("remote"), is_4("local")) {
        (None, _) => fail("it has no remote"),
        (Some(remote), local) if remote == wants_4 && local.unwrap_or(wants_4) == wants_4 => {
            match (mode, key_of("input").or_else(|| key_of("output"))) {
                ("isatap", _) if by != Some("NetworkManager") => fail("netplan has no isatap for systemd-networkd"),
                ("vti" | "vti6" | "isatap", Some(_)) if by == Some("NetworkManager") => {
                    fail("netplan has no key for a tunnel of this mode and NetworkManager")
                }
                ("ipip" | "sit" | "ip6ip6" | "ipip6", Some(_)) => fail("a tunnel of this mode has no key"),
                _ => Ok(()),
            }
        }
        _ => fail("local or remote is not of the version of IP that the mode is for"),
    }
}

/// 32 bytes in base64.
fn is_wireguard_key(key: &str) -> bool {
    let (letters, end) = key.split_at_checked(43).unwrap_or((key, ""));
    end == "=" && letters.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
