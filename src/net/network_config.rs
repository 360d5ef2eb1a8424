//! `network-config` of a NoCloud drive: cloud-init's networking configuration, version 2 (a subset of netplan's YAML).
//!
//! Interfaces are matched by their MAC addresses and called `eth0`, `eth1`, …, as in the [interfaces](super::interfaces)
//! text: without a name to set, cloud-init's renderers for networkd and ifupdown take the entry's key for a name that the
//! interface has already. The document is JSON, which is YAML too.

use super::{Subnet, Vif};
use serde_json::{Map, Value, json};

/// The configuration of these interfaces, by the same rules as [`network_data`](super::network_data).
pub fn render(vifs: &[Vif]) -> Value {
    let mut ethernets = Map::new();
    for vif in vifs {
        let Some(network) = vif.network.as_ref().filter(|network| !network.subnets.is_empty()) else { continue };
        let name = format!("eth{}", ethernets.len());
        let mut entry = Map::new();
        entry.insert("match".into(), json!({ "macaddress": vif.address.as_ref().map(|mac| mac.to_ascii_lowercase()) }));
        entry.insert("set-name".into(), name.clone().into());
        if let Some(mtu) = network.mtu() {
            entry.insert("mtu".into(), mtu.into());
        }
        let (mut addresses, mut routes, mut servers) = (Vec::new(), Vec::new(), Vec::new());
        let subnets = [network.first(4), network.first(6)].into_iter().flatten();
        for subnet in subnets.filter(|subnet| !subnet.ips.is_empty()) {
            let version = subnet.version();
            servers.extend(subnet.dns.iter().map(|ip| ip.address.as_str()));
            match subnet.meta.ipv6_address_mode.as_deref() {
                Some("dhcpv6-stateful") => _ = entry.insert("dhcp6".into(), true.into()),
                // The router says all, or all but what DHCP adds.
                Some(_) => _ = entry.insert("accept-ra".into(), true.into()),
                None if subnet.is_dhcp() => _ = entry.insert(format!("dhcp{version}"), true.into()),
                None => {
                    let address = subnet.ips.first().map(|ip| &ip.address);
                    addresses.extend(address.map(|address| format!("{address}/{}", subnet.cidr.prefix())));
                    routes.extend(self::routes(subnet));
                }
            }
        }
        if !addresses.is_empty() {
            entry.insert("addresses".into(), addresses.into());
        }
        if !routes.is_empty() {
            entry.insert("routes".into(), routes.into());
        }
        if !servers.is_empty() {
            entry.insert("nameservers".into(), json!({ "addresses": servers }));
        }
        ethernets.insert(name, Value::Object(entry));
    }
    json!({ "version": 2, "ethernets": ethernets })
}

fn routes(subnet: &Subnet) -> Vec<Value> {
    let all = if subnet.version() == 4 { "0.0.0.0/0" } else { "::/0" };
    let default = subnet.gateway().map(|gateway| json!({ "to": all, "via": gateway.as_str() }));
    let others = subnet.routes.iter().map(|route| {
        let to = format!("{}/{}", route.cidr.network(), route.cidr.prefix());
        json!({ "to": to, "via": route.gateway.address.as_str() })
    });
    default.into_iter().chain(others).collect()
}
