//! What is refused, and the place that is named.

use crate::cases::RENDERERS;
use imgraft::net::read;
use imgraft::net::render::{NetFile, render};

#[track_caller]
fn refused(text: &str, reason: &str) {
    let error = read::document(text).expect_err(text).to_string();
    assert!(error.contains(reason), "{text}: {error}");
}

#[test]
fn version_2() {
    let ethernet = |body: &str| format!("{{version: 2, ethernets: {{eth0: {{{body}}}}}}}");
    for (body, reason) in [
        ("dhcp4: maybe", "ethernets.eth0.dhcp4: expected true or false"),
        ("addresses: [192.0.2.10]", "ethernets.eth0.addresses[0]: not an address with a prefix"),
        ("addresses: [192.0.2.10/33]", "not an address with a prefix"),
        ("addresses: [192.0.2.10/+8]", "not an address with a prefix"),
        ("addresses: [{192.0.2.10/24: {label: x}}]", "an address with options"),
        ("addresses: [192.0.2.10/24, 192.0.2.10/25]", "there twice"),
        ("addresses: [127.0.0.1/8]", "no address of a machine"),
        ("addresses: [224.0.0.1/8]", "no address of a machine"),
        ("macaddress: '01:00:5e:00:00:01'", "no device can have"),
        ("macaddress: '52:54:00:12:34'", "ethernets.eth0.macaddress: not a MAC address"),
        ("mtu: 67", "an MTU of 67 bytes"),
        ("mtu: 1279, addresses: ['2001:db8::1/64']", "an MTU of 1279 bytes"),
        ("mtu: -1", "ethernets.eth0.mtu: expected a whole number"),
        ("set-name: a", "ethernets.eth0.set-name: it needs a match"),
        ("match: {}", "ethernets.eth0.match: it is empty"),
        ("match: {driver: virtio_net}", "ethernets.eth0.match.driver"),
        ("match: {name: 'e*'}, set-name: a", "a pattern may be several devices"),
        ("match: {name: 'e*;x'}", "no pattern of device names"),
        ("match: {name: \"e\\nx\"}", "no name of a device"),
        ("match: {name: '0123456789abcdef'}", "no name of a device"),
        ("routes: [{to: default}]", "ethernets.eth0.routes[0]: a default route has a router"),
        ("dhcp4: yes, routes: [{to: 10.0.0.0/8, via: '2001:db8::1'}]", "of the other version of IP"),
        ("routes: [{to: 10.0.0.0/8, via: 1.2.3.4}]", "a route of IPv4, and no address of it"),
        ("dhcp4: on, routes: [{to: 10.0.0.0/8, via: 1.2.3.4}, {to: 10.1.0.0/8, via: 1.2.3.5}]", "is there twice"),
        ("routes: [{to: x, via: 1.2.3.4}]", "routes[0].to: not the destination of a route"),
        ("routes: [{to: 10.0.0.0/8, via: 1.2.3.4, table: 7}]", "unknown field `table`"),
        ("nameservers: {search: ['a b']}", "\"a b\" is no domain name"),
        ("nameservers: {search: [\"a\\nb\"]}", "is no domain name"),
        ("nameservers: {addresses: [0.0.0.0]}", "no name server"),
        ("dhcp6: true, accept-ra: false", "accept-ra: it is false"),
        ("dhcp4-overrides: {use-dns: false}", "unknown field `dhcp4-overrides`"),
        ("renderer: networkd", "a question to the guest"),
    ] {
        refused(&ethernet(body), reason);
    }
    for (text, reason) in [
        ("{version: 2}", "it has no links"),
        ("{version: 2, wifis: {}}", "unknown field `wifis`"),
        ("{version: 2, renderer: networkd, ethernets: {a: {}}}", "a question to the guest"),
        ("{version: 2, ethernets: {lo: {}}}", "the loopback device"),
        ("{version: 2, ethernets: {'a b': {}}}", "its id is not made of"),
        ("{version: 2, ethernets: {'../x': {}}}", "its id is not made of"),
        ("{version: 2, ethernets: {a: {}}, bonds: {a: {interfaces: [a]}}}", "there twice"),
        ("{version: 2, bonds: {b: {}}}", "a bond has members"),
        ("{version: 2, bonds: {b: {interfaces: [x]}}}", "there is no link \"x\""),
        ("{version: 2, ethernets: {a: {}}, bonds: {b: {interfaces: [a, a]}}}", "there twice"),
        (
            "{version: 2, ethernets: {a: {}}, bonds: {b: {interfaces: [a]}, c: {interfaces: [a]}}}",
            "is a part of \"b\" already",
        ),
        ("{version: 2, ethernets: {a: {dhcp4: true}}, bridges: {b: {interfaces: [a]}}}", "it is a part of \"b\""),
        ("{version: 2, bridges: {b: {interfaces: [c]}, c: {interfaces: [b]}}}", "it lies on itself"),
        ("{version: 2, bridges: {b: {interfaces: [v]}}, vlans: {v: {id: 1, link: b}}}", "it lies on itself"),
        ("{version: 2, ethernets: {a: {}}, vlans: {v: {id: 4095, link: a}}}", "1 to 4094"),
        ("{version: 2, ethernets: {a: {}}, vlans: {v: {id: 70000, link: a}}}", "vlans.v.id: a VLAN has an id"),
        ("{version: 2, ethernets: {a: {}}, vlans: {v: {link: a}}}", "vlans.v: it has no id"),
        (
            "{version: 2, ethernets: {a: {}}, bonds: {b: {interfaces: [a], parameters: {mode: 7}}}}",
            "expected one of balance-rr",
        ),
        (
            "{version: 2, ethernets: {a: {}}, bonds: {b: {interfaces: [a], parameters: {primary: c}}}}",
            "is not a member",
        ),
        (
            "{version: 2, ethernets: {a: {}}, bonds: {b: {interfaces: [a], parameters: {arp-interval: 1}}}}",
            "arp-interval",
        ),
        ("{version: 2, bridges: {b: {parameters: {forward-delay: 31}}}}", "forward delay is 0 to 30"),
        ("{version: 3}", "no network configuration"),
        ("hello", "no network configuration"),
        ("{version: 2, ethernets: {a: {dhcp4: true, dhcp4: false}}}", "a duplicate key, dhcp4"),
    ] {
        refused(text, reason);
    }
}

#[test]
fn version_1() {
    for (entry, reason) in [
        ("{type: infiniband, name: a}", "config[0].type: expected physical"),
        ("{name: a}", "config[0].type: it is missing"),
        ("{type: physical}", "config[0]: missing field `name`"),
        ("{type: physical, name: a, subnets: [{type: static}]}", "config[0].subnets[0].address: it is missing"),
        (
            "{type: physical, name: a, subnets: [{type: static, address: 1.2.3.4}]}",
            "config[0].subnets[0].netmask: it is missing",
        ),
        ("{type: physical, name: a, subnets: [{type: static, address: 1.2.3.4, netmask: 255.0.255.0}]}", "no netmask"),
        ("{type: physical, name: a, subnets: [{type: x}]}", "config[0].subnets[0].type: expected static"),
        ("{type: physical, name: a, subnets: [{type: manual, control: manual}]}", "control: only auto"),
        ("{type: physical, name: a, subnets: [{type: manual, metric: 3}]}", "it goes with a gateway"),
        ("{type: physical, name: a, accept-ra: false, subnets: [{type: dhcp6}]}", "config[0].accept-ra: it is false"),
        (
            "{type: physical, name: a}, {type: nameserver, address: 1.2.3.4, interface: b}",
            "config[1].interface: there is no",
        ),
        ("{type: physical, name: a}, {type: route, destination: 10.0.0.0/8, gateway: 1.2.3.4}", "config[1]: no link"),
        ("{type: vlan, name: a, vlan_link: b, vlan_id: 1}", "there is no link \"b\""),
        ("{type: bond, name: a}", "missing field `bond_interfaces`"),
    ] {
        refused(&format!("{{version: 1, config: [{entry}]}}"), reason);
    }
}

#[test]
fn openstack() {
    let link = r#"{"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}"#;
    let network = |body: &str| format!(r#"{{"links": [{link}], "networks": [{{"link": "a", {body}}}]}}"#);
    for (body, reason) in [
        (r#""type": "ipv4""#, "networks[0].ip_address: it is missing"),
        (r#""type": "ipv4", "ip_address": "1.2.3.4""#, "networks[0].netmask: it is missing"),
        (r#""type": "ipv6", "ip_address": "1.2.3.4/8""#, "not of the version"),
        (r#""type": "ipv4", "ip_address": "1.2.3.4", "netmask": "ffff::""#, "no netmask"),
        (r#""type": "ipv5""#, "networks[0].type: \"ipv5\" is not known"),
        (r#""type": "ipv4_dhcp", "services": [{"type": "ntp"}]"#, "networks[0].services: the service"),
        (r#""type": "ipv4_dhcp", "x": 1"#, "unknown field `x`"),
    ] {
        refused(&network(body), reason);
    }
    for (text, reason) in [
        (r#"{"links": [{"id": "a", "type": "phy"}]}"#, "links[0].ethernet_mac_address: it is missing"),
        (r#"{"links": [{"id": "a", "type": "vlan"}]}"#, "links[0].vlan_id"),
        (
            r#"{"links": [{"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56", "vlan_id": 3}]}"#,
            "neither bond nor vlan",
        ),
        (r#"{"links": [], "networks": [{"link": "a", "type": "ipv4_dhcp"}]}"#, "networks[0].link: there is no link"),
        (r#"{"links": []}"#, "it has no links"),
        (
            r#"[{"address": "x", "network": {"subnets": [{"cidr": "10.0.0.0/8"}]}}]"#,
            "[0].address: it is no MAC address",
        ),
        ("[]", "it has no links"),
        (r#"{"links": [], "links": []}"#, "a duplicate key"),
    ] {
        refused(text, reason);
    }
}

fn assert_distinct(files: &[NetFile]) {
    let paths: std::collections::BTreeSet<_> = files.iter().map(|file| &file.path).collect();
    assert_eq!(paths.len(), files.len(), "{paths:?}");
}

/// Which programs have no word for what is understood, and what for.
#[test]
fn inexpressible() {
    let mac = "macaddress: '52:54:00:12:34:56'";
    for (ethernets, refusing) in [
        ("eth0: {dhcp4: true}".to_owned(), ""),
        // By its name and its MAC address, as networkd, NetworkManager and ifcfg files know it.
        (
            format!("a: {{match: {{name: eth0, {mac}}}, dhcp4: true}}"),
            "ifupdown, ifupdown-by-name, wicked: a MAC address and a name at once",
        ),
        (format!("a: {{match: {{{mac}}}, set-name: eth0, dhcp4: true}}"), ""),
        // One by its MAC address, and another by the name that the first has in the document.
        (
            format!("eth0: {{match: {{{mac}}}, dhcp4: true}}, b: {{match: {{name: eth0}}, dhcp4: true}}"),
            "ifupdown, ifupdown-by-name, ifcfg, wicked, cloud-init, cloud-init-22: the name \"eth0\", by which another link goes already",
        ),
        (
            format!("a: {{match: {{{mac}}}, dhcp4: true}}"),
            "ifupdown-by-name: a device that is known by its MAC address only",
        ),
        (
            format!("a-name-of-many-letters: {{match: {{{mac}}}, dhcp4: true}}"),
            "ifupdown-by-name: a device that is known by its MAC address only, \
             wicked: the name \"a-name-of-many-letters\" of a device, cloud-init, cloud-init-22: a device without a name",
        ),
        (
            format!("-x: {{match: {{{mac}}}, dhcp4: true}}"),
            "ifupdown-by-name: a device that is known by its MAC address only, wicked: the name \"-x\" of a device, \
             cloud-init, cloud-init-22: a device without a name",
        ),
        ("a@b: {dhcp4: true}, a_b: {dhcp4: true}".to_owned(), "wicked: the name \"a@b\" of a device"),
        (
            format!(
                "a@b: {{match: {{{mac}}}, set-name: x0}}, a_b: {{match: {{macaddress: '52:54:00:12:34:57'}}, set-name: y0}}"
            ),
            "",
        ),
    ] {
        let config = read::document(&format!("{{version: 2, ethernets: {{{ethernets}}}}}")).unwrap();
        let mut said = String::new();
        for (name, renderer) in RENDERERS {
            match render(&config, renderer) {
                Ok(files) => assert_distinct(&files),
                Err(error) if said.ends_with(&format!(": {}", error.what)) => {
                    let what = said.split_off(said.len() - error.what.len() - 2);
                    said += &format!(", {name}{what}");
                }
                Err(error) => said += &format!("{}{name}: {}", if said.is_empty() { "" } else { ", " }, error.what),
            }
        }
        assert_eq!(said, refusing, "{ethernets}");
    }
}

/// Aliases upon aliases make a document of any size out of a few lines; they are read within bounds.
#[test]
fn a_billion_laughs() {
    let mut text = String::from("a0: &a0 [lol, lol]\n");
    for level in 1..40 {
        let below = level - 1;
        text += &format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n");
    }
    text += "version: 2\nethernets: *a39\n";
    assert_eq!(read::kind(&text), None);
    refused(&text, "more than 250000 values");
    let deep = format!("version: 2\nethernets: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let error = read::document(&deep).expect_err("too deep").to_string();
    assert!(error.contains("limit") || error.contains("deeper"), "{error}");
}

/// Lines of real documents, shuffled, cut and put into each other: nothing panics, and whatever is understood is rendered or refused.
#[test]
fn noise_is_survived() {
    let entries = std::fs::read_dir(crate::cases::directory()).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.is_file()).collect();
    paths.sort();
    let texts: Vec<String> = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut understood, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let mut lines: Vec<&str> = texts[next(texts.len())].lines().collect();
        for _ in 0..=next(3) {
            let at = next(lines.len());
            match next(4) {
                0 if lines.len() > 1 => _ = lines.remove(at),
                1 => lines.swap(0, at),
                2 => lines.insert(at, lines[next(lines.len())]),
                _ => {
                    let other: Vec<&str> = texts[next(texts.len())].lines().collect();
                    let line = other[next(other.len())];
                    let mut end = next(line.len() + 1);
                    while !line.is_char_boundary(end) {
                        end -= 1;
                    }
                    lines.insert(at, &line[..end]);
                }
            }
        }
        let Ok(config) = read::document(&lines.join("\n")) else {
            refused += 1;
            continue;
        };
        understood += 1;
        for (_, renderer) in RENDERERS {
            if let Ok(files) = render(&config, renderer) {
                assert_distinct(&files);
            }
        }
    }
    assert!(understood > 100 && refused > 100, "{understood} {refused}");
}
