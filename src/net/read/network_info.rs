//! Nova's list of virtual interfaces, by the rules of the documents that Nova makes of it.

use crate::config_drive::DocumentError;
use crate::net::config::{Auto6, Config, Hardware, Kind, Link, Mac, Route};
use crate::net::{Cidr, Subnet, Vif};

/// The configuration of interfaces: of each version the first subnet counts, and of that the first address; an interface without
/// subnets is left out.
pub fn config(vifs: &[Vif]) -> Result<Config, DocumentError> {
    let mut links = Vec::new();
    for (number, vif) in vifs.iter().enumerate() {
        let Some(network) = vif.network.as_ref().filter(|network| !network.subnets.is_empty()) else { continue };
        let mac = vif.address.as_deref().and_then(Mac::parse);
        let mac = mac.ok_or_else(|| {
            DocumentError::new(format!("[{number}].address"), "it is no MAC address: nothing says which device it is")
        })?;
        let id = format!("eth{}", links.len());
        let mut link = Link::new(id, Kind::Hardware(Hardware::with_mac(mac)));
        link.mtu = network.mtu();
        let subnets = [network.first(4), network.first(6)].into_iter().flatten();
        for subnet in subnets.filter(|subnet| !subnet.ips.is_empty()) {
            put(&mut link, subnet);
        }
        // OpenStack allows a subnet a gateway outside of it, which is then on the link.
        link.put_on_link(|_, _| true);
        links.push(link);
    }
    Ok(Config { links })
}

fn put(link: &mut Link, subnet: &Subnet) {
    for server in subnet.dns.iter().map(|server| server.address.ip()) {
        if !link.dns.servers.contains(&server) {
            link.dns.servers.push(server);
        }
    }
    match subnet.meta.ipv6_address_mode.as_deref() {
        Some("dhcpv6-stateful") => link.auto6 = Auto6::Dhcp,
        Some("dhcpv6-stateless") => link.auto6 = Auto6::Stateless,
        Some(_) => link.auto6 = Auto6::Slaac,
        None if subnet.is_dhcp() && subnet.version() == 4 => link.dhcp4 = true,
        None if subnet.is_dhcp() => link.auto6 = Auto6::Dhcp,
        None => {
            let address = subnet.ips.first().map(|ip| ip.address.ip());
            link.addresses.extend(address.map(|ip| Cidr::host(ip).with_prefix(subnet.cidr.prefix())));
            link.routes.extend(subnet.gateway().map(|gateway| Route::default_via(gateway.ip())));
            link.routes.extend(subnet.routes.iter().map(|route| Route {
                to: route.cidr.lowest(),
                via: Some(route.gateway.address.ip()),
                metric: None,
                on_link: false,
            }));
        }
    }
}
