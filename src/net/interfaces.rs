//! The text for ifupdown, interfaces(5), as Nova renders it from its template.

use super::{FixedIp, Network, Subnet, Vif};
use std::fmt::Write as _;

/// Whose text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Nova's of today, but for subnets with DHCP: where one of the two versions is static and the other is not, both are
    /// written, and DHCP is DHCP however the model says it.
    Imgraft,
    /// Nova's of today.
    Nova,
    /// Nova's of the Grizzly release (2013.1), which takes every subnet for static.
    Grizzly {
        /// Whether interfaces get an IPv6 address (`use_ipv6`).
        use_ipv6: bool,
    },
}

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which interface, counted from 0.
    pub vif: usize,
    /// What it does not have.
    pub what: &'static str,
}

/// The text for the interfaces of networks that are injected; `None` where there are none of them.
///
/// An interface is `eth` and its number among those with subnets. Of each version the first subnet counts, and of that the
/// first address.
pub fn render(vifs: &[Vif], style: Style) -> Result<Option<String>, Missing> {
    let mut stanzas = String::new();
    let with_subnets = vifs.iter().enumerate().filter_map(|(place, vif)| {
        let network = vif.network.as_ref()?;
        (!network.subnets.is_empty()).then_some((place, vif, network))
    });
    for (number, (place, vif, network)) in with_subnets.enumerate() {
        if !network.is_injected() {
            continue;
        }
        match style {
            Style::Grizzly { use_ipv6 } => {
                grizzly(&mut stanzas, number, network, use_ipv6).map_err(|what| Missing { vif: place, what })?
            }
            _ => interface(&mut stanzas, number, vif, network, style),
        }
    }
    let head = match style {
        Style::Grizzly { .. } => HEAD.replacen("#\n", "", 1),
        _ => HEAD.to_owned(),
    };
    Ok((!stanzas.is_empty()).then(|| head + &stanzas))
}

const HEAD: &str = "\
# Injected by Nova on instance boot
#
# This file describes the network interfaces available on your system
# and how to activate them. For more information, see interfaces(5).

# The loopback network interface
auto lo
iface lo inet loopback
";

fn interface(text: &mut String, number: usize, vif: &Vif, network: &Network, style: Style) {
    let (v4, v6) = (network.first(4), network.first(6));
    let by_dhcp = |subnet: Option<&Subnet>| {
        subnet.is_some_and(|subnet| match style {
            Style::Imgraft => subnet.is_dhcp() && subnet.meta.ipv6_address_mode.is_none(),
            _ => subnet.meta.dhcp_server.is_some(),
        })
    };
    let address = |subnet: Option<&Subnet>| subnet.is_some_and(|subnet| !subnet.ips.is_empty());
    match style {
        // Nova writes nothing about an interface whose first IPv4 subnet has DHCP.
        Style::Nova if by_dhcp(v4) => return,
        // What is DHCP altogether needs no text, as in Nova.
        Style::Imgraft if (by_dhcp(v4) || !address(v4)) && (by_dhcp(v6) || !address(v6)) => return,
        _ => {}
    }
    let _ = write!(text, "\nauto eth{number}\n");
    let hardware = vif.address.as_deref().unwrap_or("None");
    for (subnet, family) in [(v4, "inet"), (v6, "inet6")] {
        let Some((subnet, ip)) = subnet.and_then(|subnet| Some((subnet, subnet.ips.first()?))) else { continue };
        if style == Style::Imgraft && by_dhcp(Some(subnet)) {
            let _ = write!(text, "iface eth{number} {family} dhcp\n    hwaddress ether {hardware}\n");
            continue;
        }
        let _ = write!(text, "iface eth{number} {family} static\n    hwaddress ether {hardware}\n");
        stanza(text, subnet, ip, style);
    }
}

fn stanza(text: &mut String, subnet: &Subnet, ip: &FixedIp, style: Style) {
    let _ = writeln!(text, "    address {}", ip.address);
    if subnet.version() == 4 {
        let _ = writeln!(text, "    netmask {}", subnet.cidr.netmask());
        match (subnet.cidr.broadcast(), style) {
            (Some(broadcast), _) => _ = writeln!(text, "    broadcast {broadcast}"),
            (None, Style::Imgraft) => {}
            (None, _) => text.push_str("    broadcast None\n"),
        }
    } else {
        let _ = writeln!(text, "    netmask {}", subnet.cidr.prefix());
    }
    if let Some(gateway) = subnet.gateway() {
        let _ = writeln!(text, "    gateway {gateway}");
    }
    if !subnet.dns.is_empty() {
        let _ = writeln!(text, "    dns-nameservers {}", servers(subnet));
    }
}

fn servers(subnet: &Subnet) -> String {
    subnet.dns.iter().map(|ip| ip.address.as_str()).collect::<Vec<_>>().join(" ")
}

fn grizzly(text: &mut String, number: usize, network: &Network, use_ipv6: bool) -> Result<(), &'static str> {
    let with_address = |version| network.first(version).and_then(|subnet| Some((subnet, subnet.ips.first()?)));
    let (subnet, ip) = with_address(4).ok_or("an IPv4 address")?;
    let gateway = subnet.gateway().map(ToString::to_string).unwrap_or_default();
    let broadcast = subnet.cidr.broadcast().map_or("None".to_owned(), |broadcast| broadcast.to_string());
    let _ = write!(
        text,
        "\nauto eth{number}\niface eth{number} inet static\n        address {}\n        netmask {}\n        broadcast \
         {broadcast}\n        gateway {gateway}\n",
        ip.address,
        subnet.cidr.netmask(),
    );
    if !subnet.dns.is_empty() {
        let _ = writeln!(text, "        dns-nameservers {}", servers(subnet));
    }
    text.push('\n');
    if use_ipv6 {
        let (subnet, ip) = with_address(6).ok_or("an IPv6 address")?;
        let gateway = subnet.gateway().map(ToString::to_string).unwrap_or_default();
        let _ = write!(
            text,
            "iface eth{number} inet6 static\n    address {}\n    netmask {}\n    gateway {gateway}\n\n",
            ip.address,
            subnet.cidr.prefix(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn vif(subnets: Value) -> Vif {
        let network = json!({ "meta": { "injected": true }, "subnets": subnets });
        serde_json::from_value(json!({ "address": "aa:aa:aa:aa:aa:aa", "network": network })).unwrap()
    }

    fn v4(meta: Value) -> Value {
        json!({ "cidr": "10.10.0.0/24", "gateway": { "address": "10.10.0.1" }, "ips": [{ "address": "10.10.0.2" }],
                "dns": [{ "address": "1.2.3.4" }, { "address": "2.3.4.5" }], "meta": meta })
    }

    fn v6() -> Value {
        json!({ "cidr": "fd00::/64", "gateway": { "address": "fd00::1" }, "ips": [{ "address": "fd00::2" }] })
    }

    fn text(vifs: &[Vif], style: Style) -> Option<String> {
        render(vifs, style).unwrap()
    }

    #[test]
    fn grizzlys_words() {
        let expected = "# Injected by Nova on instance boot
# This file describes the network interfaces available on your system
# and how to activate them. For more information, see interfaces(5).

# The loopback network interface
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
        address 10.10.0.2
        netmask 255.255.255.0
        broadcast 10.10.0.255
        gateway 10.10.0.1
        dns-nameservers 1.2.3.4 2.3.4.5

iface eth0 inet6 static
    address fd00::2
    netmask 64
    gateway fd00::1

";
        let both = [vif(json!([v4(json!({})), v6()]))];
        assert_eq!(text(&both, Style::Grizzly { use_ipv6: true }).unwrap(), expected);
        let without = expected.split("iface eth0 inet6").next().unwrap();
        assert_eq!(text(&both, Style::Grizzly { use_ipv6: false }).unwrap(), without);
        // It takes what DHCP gives for static, and fails without an address.
        let dhcp = [vif(json!([v4(json!({ "dhcp_server": "10.10.0.9" }))]))];
        assert_eq!(text(&dhcp, Style::Grizzly { use_ipv6: false }).unwrap(), without);
        let missing = render(&[vif(json!([v6()]))], Style::Grizzly { use_ipv6: false }).unwrap_err();
        assert_eq!(missing, Missing { vif: 0, what: "an IPv4 address" });
    }

    #[test]
    fn dhcp_however_the_model_says_it() {
        let server = vif(json!([v4(json!({ "dhcp_server": "10.10.0.9" }))]));
        let enabled = vif(json!([v4(json!({ "enable_dhcp": true }))]));
        // Nova of today looks for a server only.
        assert_eq!(text(std::slice::from_ref(&server), Style::Nova), None);
        assert!(text(std::slice::from_ref(&enabled), Style::Nova).unwrap().contains("inet static"));
        assert_eq!(text(&[server.clone(), enabled], Style::Imgraft), None);
        // One that is left out has its number all the same.
        let text = text(&[server, vif(json!([v6()]))], Style::Nova).unwrap();
        assert!(text.contains("auto eth1\niface eth1 inet6 static\n") && !text.contains("eth0"), "{text}");
    }

    #[test]
    fn a_range_of_two_addresses_has_no_broadcast() {
        let two = [vif(json!([{ "cidr": "10.0.0.0/31", "ips": [{ "address": "10.0.0.1" }] }]))];
        assert!(text(&two, Style::Nova).unwrap().contains("    broadcast None\n"));
        assert!(!text(&two, Style::Imgraft).unwrap().contains("broadcast"));
    }
}
