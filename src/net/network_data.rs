//! `network_data.json`: OpenStack's network metadata.

use super::{Network, Subnet, Vif};
use serde_json::{Value, json};

/// The types of links that guests know; any other is `phy` to them.
const TYPES: [&str; 8] = ["bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif"];

/// The document with the links, networks and services of these interfaces, members in Nova's order.
///
/// Of each version the first subnet counts, and of that the first address; an interface without subnets is left out.
pub fn render(vifs: &[Vif]) -> Value {
    let mut links = Vec::new();
    let mut networks = Vec::new();
    let mut services = Vec::new();
    for vif in vifs {
        let Some(network) = vif.network.as_ref().filter(|network| !network.subnets.is_empty()) else { continue };
        let subnets = [network.first(4), network.first(6)];
        if subnets.iter().all(Option::is_none) {
            continue;
        }
        let link = link(vif, network, links.len());
        for subnet in subnets.into_iter().flatten().filter(|subnet| !subnet.ips.is_empty()) {
            networks.push(entry(network, subnet, &link["id"], networks.len()));
            for service in dns(subnet) {
                if !services.contains(&service) {
                    services.push(service);
                }
            }
        }
        links.push(link);
    }
    json!({ "links": links, "networks": networks, "services": services })
}

fn link(vif: &Vif, network: &Network, number: usize) -> Value {
    let id = vif.devname.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| format!("interface{number}"));
    let kind = vif.kind.as_deref().filter(|kind| TYPES.contains(kind)).unwrap_or("phy");
    json!({
        "id": id,
        "vif_id": vif.id,
        "type": kind,
        "mtu": network.mtu(),
        "ethernet_mac_address": vif.address,
    })
}

fn entry(network: &Network, subnet: &Subnet, link: &Value, number: usize) -> Value {
    let (id, version) = (format!("network{number}"), subnet.version());
    let mode = match &subnet.meta.ipv6_address_mode {
        Some(mode) => format!("_{mode}"),
        None if subnet.is_dhcp() => {
            let kind = format!("ipv{version}_dhcp");
            return json!({ "id": id, "type": kind, "link": link, "network_id": network.id });
        }
        None => String::new(),
    };
    let mut routes = Vec::new();
    if let Some(gateway) = subnet.gateway() {
        let all = if version == 4 { "0.0.0.0" } else { "::" };
        routes.push(json!({ "network": all, "netmask": all, "gateway": gateway.as_str() }));
    }
    for route in &subnet.routes {
        routes.push(json!({
            "network": route.cidr.network(),
            "netmask": route.cidr.netmask(),
            "gateway": route.gateway.address.as_str(),
        }));
    }
    json!({
        "id": id,
        "type": format!("ipv{version}{mode}"),
        "link": link,
        "ip_address": subnet.ips.first().map(|ip| ip.address.as_str()),
        "netmask": subnet.cidr.netmask(),
        "routes": routes,
        "network_id": network.id,
        "services": dns(subnet),
    })
}

fn dns(subnet: &Subnet) -> Vec<Value> {
    subnet.dns.iter().map(|ip| json!({ "type": "dns", "address": ip.address.as_str() })).collect()
}
