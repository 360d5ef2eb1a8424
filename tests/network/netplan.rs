//! What netplan takes as it stands: its own verdict, and ours.

use crate::oracle::{command, unpacked};
use imgraft::net::netplan::{Lines, check, with_outer_key};
use std::path::Path;

/// The version of netplan that is asked, its first two numbers.
const VERSION: (u32, u32) = (0, 106);

/// A public key of WireGuard, and a peer that older versions take.
const PUBLIC: &str = "M9nt4YujIOmNrRmpIRTmYSfMdrpvE7u6WkG8FY8WjG4=";
const PEER: &str = "{keys: {public: M9nt4YujIOmNrRmpIRTmYSfMdrpvE7u6WkG8FY8WjG4=}, allowed-ips: [0.0.0.0/0]}";

/// What netplan says of a text: nothing, or the reason that it refuses it for.
fn verdict(generate: &Path, text: &str) -> Result<(), String> {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("etc/netplan");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("50-imgraft.yaml"), text).unwrap();
    let output = command(generate).arg("--root-dir").arg(scratch.path()).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Documents that are in order, each a thing of its own.
fn right() -> Vec<String> {
    let mut texts: Vec<String> = [
        "network: {}",
        "network: {version: '2'}",
        "# a comment\n---\nnetwork:\n  version: 2\n  renderer: NetworkManager\n",
        "{\"network\": {\"version\": 2, \"ethernets\": {\"eth0\": {\"dhcp4\": true}}}}",
        "network:\n  ethernets:\n    a: &x {dhcp4: true}\n    b: *x\n",
        "network:\n  ethernets:\n    renderer: networkd\n    eth0:\n      dhcp4:\ttrue\n",
        "network: {bonds: {bond0: {interfaces: [eth0], parameters: {mode: 802.3ad, primary: eth0}}}, ethernets: {eth0: {}}}",
        "network: {bonds: {bond0: {interfaces: [], parameters: {arp-ip-targets: [192.0.2.1], mii-monitor-interval: 100}}}}",
        "network: {bridges: {br0: {interfaces: [eth0], parameters: {path-cost: {eth0: 5}, port-priority: {eth0: 63}}}}, ethernets: {eth0: {}}}",
        "network: {vlans: {v5: {id: 5, link: eth0}}, ethernets: {eth0: {}}}",
        "network: {vlans: {v0: {id: 0, link: eth0, renderer: networkd}}, ethernets: {eth0: {}}}",
        "network: {vrfs: {red: {table: 9, interfaces: [eth0]}}, ethernets: {eth0: {}}}",
        "network: {wifis: {wlan0: {access-points: {a b: {password: 'x y z 1 2', mode: infrastructure, band: 5GHz}}}}}",
        "network: {wifis: {wlan0: {access-points: {a: {auth: {key-management: eap, method: tls}}}, wakeonwlan: [default]}}}",
        "network: {tunnels: {t0: {mode: gre, local: 192.0.2.1, remote: 192.0.2.2, key: 7, ttl: 64}}}",
        "network: {tunnels: {t0: {mode: sit, remote: 192.0.2.2, local: 192.0.2.1}}}",
        "network: {renderer: NetworkManager, tunnels: {t0: {mode: isatap, remote: 192.0.2.2, local: 192.0.2.1}}}",
        "network: {tunnels: {t0: {mode: vti, remote: 192.0.2.2, local: 192.0.2.1, key: 9}}}",
        "network: {tunnels: {t0: {mode: ip6gre, local: '2001:db8::2', remote: '2001:db8::1', keys: {input: 1, output: 1.2.3.4}}}}",
        "network: {tunnels: {x: {mode: vxlan, id: 9, checksums: [udp], port-range: [1, 2], mac-learning: true}}}",
        "network: {tunnels: {wg0: {mode: wireguard, key: 4GgaQCy68nzNsUE5aJ9fuLzHhB65tAlwbmA72MWnOm8=, port: 51820, peers: [{keys: {public: M9nt4YujIOmNrRmpIRTmYSfMdrpvE7u6WkG8FY8WjG4=}, allowed-ips: [0.0.0.0/0], endpoint: '192.0.2.9:5'}]}}}",
        "network: {renderer: NetworkManager, modems: {m0: {apn: internet, auto-config: yes}}}",
        "network: {openvswitch: {external-ids: {a: b}}}",
    ]
    .map(str::to_owned)
    .to_vec();
    for body in [
        "dhcp4: y, dhcp6: OFF, accept-ra: 'no'",
        "mtu: 1500, ipv6-mtu: '1400'",
        "mtu: ''",
        "mtu: 010",
        "addresses: [192.0.2.1/24, '2001:db8::1/64', 192.0.2.2/24: {label: 'eth0:1', lifetime: forever}]",
        "addresses: [192.0.2.1/024]",
        "addresses: []",
        "gateway4: 192.0.2.1, gateway6: 'fe80::1'",
        "routes: [{to: default, via: 192.0.2.1, on-link: true, metric: 5}]",
        "routes: [{to: 10.0.0.0/8, scope: link}, {to: 10.1.0.0, via: 192.0.2.1}, {to: 10.3.0.0/16, type: blackhole}]",
        "routes: [{to: 10.0.0.0/8}]",
        "routing-policy: [{from: 192.0.2.0/24, table: 5, priority: 3, mark: 1, type-of-service: 255}]",
        "nameservers: {addresses: [192.0.2.53, '2001:db8::53'], search: [a.example, b]}",
        "match: {}",
        "match: {name: 'e*', driver: [a, b]}, set-name: x",
        "match: {driver: virtio, macaddress: '52:54:00:12:34:56'}",
        "macaddress: '52:54:00:12:34:aB'",
        "renderer: NetworkManager, networkmanager: {name: x, passthrough: {ipv4.method: auto}}",
        "link-local: [IPv4], optional-addresses: [dhcp4], optional: true, critical: no, dhcp-identifier: mac",
        "dhcp4-overrides: {route-metric: 9, use-dns: false, use-domains: route, hostname: h}",
        "wakeonlan: true, emit-lldp: false, receive-checksum-offload: true, activation-mode: manual",
        "auth: {key-management: 802.1x, method: ttls, identity: me}",
        "ipv6-privacy: true, ipv6-address-generation: eui64",
        "neigh-suppress: true, infiniband-mode: datagram",
    ] {
        texts.push(ethernet(body));
    }
    texts
}

/// Documents that are not.
fn wrong() -> Vec<String> {
    let mut texts: Vec<String> = [
        "network:\n\tversion: 2\n",
        "network:\n  ethernets:\n    eth0:\n \t     dhcp4: true\n",
        "network:\n",
        "network: null\n",
        "network: [a]\n",
        "network: text\n",
        "network: {version: 2\n",
        "network: {version: 3}",
        "network: {version: two}",
        "network: {renderer: systemd}",
        "network: {version: 2}\nother: 1\n",
        "network: {etherents: {eth0: {dhcp4: true}}}",
        "network: {ethernets: [eth0]}",
        "network: {ethernets: {eth0: }}",
        "network: {ethernets: {eth0: [1]}}",
        "network: {ethernets: {eth0: {dhcp4:}}}",
        "network: {ethernets: {eth0: {gateway6: ::1}}}",
        "network: {ethernets: {'': {}}}",
        "network: {ethernets: {a b: {}}}",
        "network: {ethernets: {'e*': {}}}",
        "network: {ethernets: {eth0: {<<: {dhcp4: true}}}}",
        "network: {ethernets: {eth0: {[a]: b}}}",
        "network: {ethernets: {a: {}}, bonds: {a: {}}}",
        "network: {bonds: {bond0: {interfaces: [eth0]}}}",
        "network: {bonds: {bond0: {interfaces: [eth0], parameters: {primary: eth1}}}, ethernets: {eth0: {}}}",
        "network: {bonds: {bond0: {interfaces: [eth0]}, bond1: {interfaces: [eth0]}}, ethernets: {eth0: {}}}",
        "network: {bonds: {bond0: {interfaces: [eth0]}}, bridges: {br0: {interfaces: [eth0]}}, ethernets: {eth0: {}}}",
        "network: {bonds: {bond0: {parameters: {mode: 7}}}}",
        "network: {bridges: {br0: {interfaces: eth0}}, ethernets: {eth0: {}}}",
        "network: {bridges: {br0: {interfaces: [eth0], parameters: {port-priority: {eth0: 64}}}}, ethernets: {eth0: {}}}",
        "network: {bridges: {br0: {parameters: {path-cost: {eth9: 5}}}}}",
        "network: {vlans: {v5: {id: 5}}}",
        "network: {vlans: {v5: {link: eth0}}, ethernets: {eth0: {}}}",
        "network: {vlans: {v5: {id: 4095, link: eth0}}, ethernets: {eth0: {}}}",
        "network: {vlans: {v5: {id: 5, link: eth1}}, ethernets: {eth0: {}}}",
        "network: {vrfs: {red: {interfaces: []}}}",
        "network: {vrfs: {red: {table: 9, routes: [{to: 0.0.0.0/0, via: 192.0.2.1, table: 8}]}}}",
        "network: {wifis: {wlan0: {dhcp4: true}}}",
        "network: {wifis: {wlan0: {access-points: {a: {mode: mesh}}}}}",
        "network: {wifis: {wlan0: {access-points: {a: {auth: {key-management: wep}}}}}}",
        "network: {tunnels: {t0: {remote: 192.0.2.2}}}",
        "network: {tunnels: {t0: {mode: gre}}}",
        "network: {tunnels: {t0: {mode: gre, remote: '2001:db8::1'}}}",
        "network: {tunnels: {t0: {mode: sit, remote: 192.0.2.2, key: 9}}}",
        "network: {tunnels: {t0: {mode: isatap, remote: 192.0.2.2, local: 192.0.2.1}}}",
        "network: {renderer: NetworkManager, tunnels: {t0: {mode: vti, remote: 192.0.2.2, local: 192.0.2.1, key: 9}}}",
        "network: {tunnels: {t0: {mode: gre, remote: 192.0.2.2, key: x}}}",
        "network: {tunnels: {t0: {mode: gre, remote: 192.0.2.2, ttl: 256}}}",
        "network: {tunnels: {x: {mode: vxlan}}}",
        "network: {tunnels: {wg0: {mode: wireguard, key: short, peers: [{keys: {public: M9nt4YujIOmNrRmpIRTmYSfMdrpvE7u6WkG8FY8WjG4=}, allowed-ips: [0.0.0.0/0]}]}}}",
    ]
    .map(str::to_owned)
    .to_vec();
    for body in [
        "dhcp4: maybe",
        "dhcp4: 1",
        "dhcp4: ~",
        "dhcp4: [true]",
        "dhcp4: {a: b}",
        "dhcp5: true",
        "dhcp6-overrides: {metric: 5}",
        "mtu: 0x5dc",
        "mtu: -1",
        "mtu: 1e3",
        "mtu: 99999999999",
        "mtu: big",
        "addresses: 192.0.2.1/24",
        "addresses: [192.0.2.1]",
        "addresses: [192.0.2.1/33]",
        "addresses: [192.0.2.1/0]",
        "addresses: [192.0.2.256/24]",
        "addresses: [192.0.2.1/24: {lifetime: 30}]",
        "addresses: [192.0.2.1/24: {metric: 30}]",
        "gateway4: '2001:db8::1'",
        "gateway6: 192.0.2.1",
        "routes: {to: default, via: 192.0.2.1}",
        "routes: [{to: default}]",
        "routes: [{via: 192.0.2.1}]",
        "routes: [{to: 10.0.0.0/8, via: '2001:db8::1'}]",
        "routes: [{to: somewhere, via: 192.0.2.1}]",
        "routes: [{to: 10.0.0.0/8, scope: global}]",
        "routes: [{to: 10.0.0.0/8, via: 192.0.2.1, on-link: 1}]",
        "routes: [{to: 10.0.0.0/8, gateway: 192.0.2.1}]",
        "routing-policy: [{table: 5}]",
        "routing-policy: [{from: 192.0.2.0/24, type-of-service: 256}]",
        "nameservers: [192.0.2.53]",
        "nameservers: {addresses: [dns.example]}",
        "nameservers: {addresses: 192.0.2.53}",
        "match: {macaddress: 52-54-00-12-34-56}",
        "match: {mac: '52:54:00:12:34:56'}",
        "match: {name: 'a b'}",
        "set-name: x",
        "macaddress: 52:54:00:12:34",
        "renderer: network-manager",
        "link-local: ipv4",
        "link-local: [ipv5]",
        "dhcp-identifier: name",
        "activation-mode: auto",
        "ipv6-address-generation: eui64, ipv6-address-token: '::2'",
        "wakeonwlan: [x]",
    ] {
        texts.push(ethernet(body));
    }
    texts
}

fn ethernet(body: &str) -> String {
    format!("network:\n  version: 2\n  ethernets:\n    eth0: {{{body}}}\n")
}

#[test]
fn netplan_says_so() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let mut wrongly = Vec::new();
    for (texts, is_right) in [(right(), true), (wrong(), false)] {
        for text in texts {
            let theirs = verdict(&generate, &text);
            match check(&text, Lines::Told) {
                Ok(newest)
                    if !is_right || theirs.is_err() || newest.as_ref().is_some_and(|newest| newest.since > VERSION) =>
                {
                    wrongly.push(format!("taken: {text}: {theirs:?}"));
                }
                Err(error) if is_right || theirs.is_ok() => {
                    wrongly.push(format!("refused: {text}: {error}: {theirs:?}"))
                }
                Err(error) if !error.to_string().contains("line ") => wrongly.push(format!("no line: {text}: {error}")),
                Ok(_) | Err(_) => {}
            }
        }
    }
    assert!(wrongly.is_empty(), "{}", wrongly.join("\n"));
}

/// The same documents without the key around them, as cloud-init has them too: the same is taken, and netplan gets what it takes.
#[test]
fn the_outer_key_makes_no_difference() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let mut tried = 0;
    for outer in right().into_iter().chain(wrong()) {
        let inner = match outer.strip_prefix("network: {") {
            Some(rest) if !rest.starts_with('}') && !rest.contains("version") && outer.ends_with('}') => {
                format!("{{version: 2, {rest}")
            }
            _ if outer.starts_with("network:\n  version: 2\n") => {
                let lines = outer.lines().skip(1).map(|line| line.strip_prefix("  ").unwrap_or(line));
                lines.collect::<Vec<_>>().join("\n")
            }
            _ => continue,
        };
        tried += 1;
        let same = |text: &str| {
            let said = check(text, Lines::Untold).map(drop).map_err(|error| error.to_string());
            // What is no YAML is told with its place all the same.
            said.map_err(|error| error.split(" (line ").next().unwrap_or_default().to_owned())
        };
        let without = same(&outer).map_err(|error| error.strip_prefix("network.").unwrap_or(&error).to_owned());
        assert_eq!(same(&inner), without, "{inner}");
        if without.is_ok() {
            let text = with_outer_key(&inner).unwrap();
            assert_eq!(verdict(&generate, &text), Ok(()), "{text}");
            assert!(verdict(&generate, &inner).is_err(), "{inner}");
        }
    }
    assert!(tried > 80, "{tried}");
    // With tabs, with a mark at its beginning, by its aliases, as it stands and written anew.
    for text in [
        "{\n\t\"version\": 2,\n\t\"ethernets\": {\"eth0\": {\"dhcp4\": true}}\n}",
        "---\nversion: 2\nethernets:\n  eth0: &x\n    dhcp4: true\n  eth1: *x\n...\n",
        "--- {version: 2, ethernets: {eth0: {dhcp4: y, mtu: 01500}}}\n",
        "%YAML 1.1\n---\nversion: 2\nethernets:\n  eth0:\n    nameservers:\n      search:\n        - \"a.\\\n          example\"\n",
    ] {
        let text = with_outer_key(text).unwrap();
        assert_eq!(verdict(&generate, &text), Ok(()), "{text}");
    }
}

/// What the one that is asked does not know, and later ones do.
#[test]
fn newer_keys_are_told() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    for (text, at, since) in [
        ("network: {dummy-devices: {d: {}}}".to_owned(), "network.dummy-devices", (0, 107)),
        (
            "network: {virtual-ethernets: {a: {peer: b}, b: {peer: a}}}".to_owned(),
            "network.virtual-ethernets",
            (0, 107),
        ),
        (
            "network: {tunnels: {t0: {mode: sit, remote: 192.0.2.2}}}".to_owned(),
            "network.tunnels.t0 (without local)",
            (1, 0),
        ),
        (
            "network: {wifis: {w: {access-points: {a: {auth: {key-management: sae}}}}}}".to_owned(),
            "network.wifis.w.access-points.a.auth.key-management",
            (1, 0),
        ),
        (
            "network: {tunnels: {wg0: {mode: wireguard, peers: []}}}".to_owned(),
            "network.tunnels.wg0 (WireGuard without a key)",
            (0, 107),
        ),
        (
            "network: {tunnels: {wg0: {mode: wireguard, key: /etc/key}}}".to_owned(),
            "network.tunnels.wg0 (WireGuard without peers)",
            (0, 107),
        ),
        (
            format!(
                "network: {{tunnels: {{wg0: {{mode: wireguard, key: /etc/key, peers: [{PEER}, {{keys: {{public: {PUBLIC}}}}}]}}}}}}"
            ),
            "network.tunnels.wg0.peers[1] (without allowed-ips)",
            (0, 107),
        ),
        (
            "network: {tunnels: {t0: {renderer: NetworkManager, mode: gretap, remote: 192.0.2.2, local: 192.0.2.1}}}"
                .to_owned(),
            "network.tunnels.t0 (gretap with NetworkManager)",
            (0, 107),
        ),
        (ethernet("hairpin: true"), "network.ethernets.eth0.hairpin", (1, 0)),
        (ethernet("macaddress: random"), "network.ethernets.eth0.macaddress", (1, 0)),
        (ethernet("ra-overrides: {use-domains: route}"), "network.ethernets.eth0.ra-overrides", (1, 1)),
        (
            ethernet("routes: [{to: default, via: 192.0.2.1, advertised-mss: 9}], hairpin: no"),
            "network.ethernets.eth0.routes[0].advertised-mss",
            (1, 1),
        ),
    ] {
        let newest = check(&text, Lines::Told).unwrap().unwrap();
        assert_eq!((newest.at.as_str(), newest.since), (at, since), "{text}");
        assert!(verdict(&generate, &text).is_err(), "{text}");
    }
}

/// What netplan takes and does not do as it stands there: the first of a key that is there twice, a document behind the first one,
/// words that nothing behind it knows.
#[test]
fn what_netplan_passes_over_is_refused() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    for text in [
        "network:\n  version: 2\n  version: 2\n".to_owned(),
        "network:\n  ethernets:\n    eth0: {dhcp4: true}\n    eth0: {dhcp6: true}\n".to_owned(),
        ethernet("dhcp4: true, dhcp4: false"),
        "network: {version: 2}\n---\nnetwork: {version: 3}\n".to_owned(),
        "network: !include {version: 2}\n".to_owned(),
        // Later versions refuse these.
        "network: {bonds: {bond0: {parameters: {lacp-rate: 1}}}}".to_owned(),
        ethernet("networkmanager: {name: x}"),
    ] {
        assert_eq!(verdict(&generate, &text), Ok(()), "{text}");
        check(&text, Lines::Told).expect_err(&text);
    }
}

/// Texts that are made to take long, or much: they come to an end, within bounds.
#[test]
fn hostile_texts_end() {
    let mut laughs = String::from("network: &a0 [lol, lol]\n");
    for level in 1..40 {
        let below = level - 1;
        laughs += &format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n");
    }
    let nested = (0..5000).map(|level| format!("&n{level} [")).collect::<String>();
    for text in [
        laughs,
        nested,
        format!("network: {{}}\nx: &a \"{}\"\ny: [{}]\n", "x".repeat(700_000), "*a,".repeat(80_000)),
        format!("network: {}", "[".repeat(100_000)),
        format!("network: {}", "{a: ".repeat(100_000)),
        "network: &a {b: *a}".to_owned(),
        "network: *a".to_owned(),
        "network: {ethernets: {eth0: {match: {name: \u{1f600}}}}}".to_owned(),
        "network: {ethernets: {eth0: {a: :".to_owned(),
        "network: {? [a] : b}".to_owned(),
    ] {
        check(&text, Lines::Told).expect_err(&text[..10]);
    }
    // Every prefix, and every text without one of its characters.
    for text in right().into_iter().chain(wrong()) {
        for (at, char) in text.char_indices() {
            let _ = check(&text[..at], Lines::Told);
            let _ = check(&format!("{}{}", &text[..at], &text[at + char.len_utf8()..]), Lines::Told);
        }
    }
}
