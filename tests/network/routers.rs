//! Which routers a link can have: the kernel's verdict, and ours.

use crate::oracle::{command, skip};
use imgraft::net::config::Config;
use imgraft::net::read::{self, flags::Flags};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

/// A route: where to, by which router, and how.
type Route = (&'static str, &'static str, &'static str);

/// Addresses of a link, its routes, and whether the kernel takes them.
const LINKS: &[(&[&str], &[Route], bool)] = &[
    (&["192.0.2.10/24"], &[("0.0.0.0/0", "192.0.2.1", "")], true),
    (&["192.0.2.10/24"], &[("0.0.0.0/0", "192.0.3.1", "")], false),
    (&["192.0.2.10/24"], &[("0.0.0.0/0", "192.0.3.1", "onlink")], true),
    (&["192.0.2.10/24", "198.51.100.7/25"], &[("10.0.0.0/8", "198.51.100.1", "")], true),
    (&["192.0.2.10/24", "198.51.100.7/25"], &[("10.0.0.0/8", "198.51.100.129", "")], false),
    // A host at a hoster's.
    (&["203.0.113.9/32"], &[("0.0.0.0/0", "203.0.113.1", "")], false),
    (&["203.0.113.9/32"], &[("0.0.0.0/0", "203.0.113.1", "onlink")], true),
    (&["203.0.113.9/32"], &[("203.0.113.1/32", "", ""), ("0.0.0.0/0", "203.0.113.1", "")], true),
    (&["203.0.113.9/32"], &[("203.0.113.2/32", "", ""), ("0.0.0.0/0", "203.0.113.1", "")], false),
    // Ends of a point to point link.
    (&["192.0.2.10/31"], &[("0.0.0.0/0", "192.0.2.11", "")], true),
    // What is no neighbour: itself, and all of them.
    (&["192.0.2.10/24"], &[("0.0.0.0/0", "192.0.2.10", "")], true),
    (&["192.0.2.10/24"], &[("0.0.0.0/0", "192.0.2.255", "")], false),
    (&["192.0.2.10/24"], &[("0.0.0.0/0", "192.0.2.10", "onlink")], false),
    (&["2001:db8::10/64"], &[("::/0", "2001:db8::1", "")], true),
    (&["2001:db8::10/64"], &[("::/0", "2001:db8:1::1", "")], false),
    (&["2001:db8::10/64"], &[("::/0", "2001:db8:1::1", "onlink")], true),
    (&["2001:db8::10/64"], &[("::/0", "fe80::1", "")], true),
    (&["2001:db8::10/128"], &[("::/0", "fe80::1", "")], true),
    (&["2001:db8::10/128"], &[("::/0", "2001:db8::1", "")], false),
    (&["2001:db8::10/128"], &[("2001:db8::1/128", "", ""), ("::/0", "2001:db8::1", "")], true),
    (&["2001:db8::10/64"], &[("::/0", "2001:db8::10", "")], false),
    (&["192.0.2.10/24", "2001:db8::10/64"], &[("0.0.0.0/0", "192.0.2.1", ""), ("::/0", "2001:db8::1", "")], true),
    (&["192.0.2.10/24"], &[("198.51.100.0/24", "", ""), ("0.0.0.0/0", "198.51.100.1", "")], true),
];

fn described(addresses: &[&str], routes: &[Route]) -> String {
    let routes = routes.iter().map(|(to, via, flags)| {
        let via = if via.is_empty() { "scope: link".to_owned() } else { format!("via: '{via}'") };
        format!("{{to: '{to}', {via}, on-link: {}}}", *flags == "onlink")
    });
    let addresses: Vec<_> = addresses.iter().map(|address| format!("'{address}'")).collect();
    format!(
        "{{version: 2, ethernets: {{eth0: {{addresses: [{}], routes: [{}]}}}}}}",
        addresses.join(", "),
        routes.collect::<Vec<_>>().join(", ").replace("scope: link, on-link: false", "on-link: false")
    )
}

#[test]
fn the_kernel_says_which_routers_there_are() {
    for (addresses, routes, is_right) in LINKS {
        let text = described(addresses, routes);
        match read::document(&text) {
            Ok(_) => assert!(is_right, "{text}"),
            Err(error) => assert!(!is_right && error.to_string().contains("router"), "{text}: {error}"),
        }
    }
    if !nix::unistd::geteuid().is_root() {
        return skip("devices need root");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/routers.sh");
    let mut run = command(Path::new("unshare"));
    run.args(["--net", "--fork", "--kill-child", "bash"]).arg(script);
    let mut child = run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for (addresses, routes, _) in LINKS {
        let routes: Vec<_> = routes.iter().map(|(to, via, flags)| format!("{to}-{via}-{flags}")).collect();
        writeln!(input, "{} {}", addresses.join(","), routes.join(",")).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<_> = said.lines().map(|answer| answer == "yes").collect();
    let expected: Vec<_> = LINKS.iter().map(|(.., is_right)| *is_right).collect();
    assert_eq!(answers, expected, "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn on_link(config: &Config) -> Vec<bool> {
    config.links.iter().flat_map(|link| &link.routes).map(|route| route.on_link).collect()
}

/// Descriptions without a word for it: of a machine that is its own network the router is on the link, and of OpenStack's any.
#[test]
fn routers_of_descriptions_without_a_word_for_it() {
    let v1 = |address: &str, gateway: &str| {
        format!(
            "{{version: 1, config: [{{type: physical, name: eth0, subnets: [{{type: static, address: {address}, gateway: {gateway}}}]}}]}}"
        )
    };
    let data = |address: &str, gateway: &str| {
        format!(
            r#"{{"links": [{{"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}}], "networks": [{{"link": "a",
            "type": "ipv4", "ip_address": "{address}", "routes": [{{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "{gateway}"}}]}}]}}"#
        )
    };
    let info = |address: &str, gateway: &str| {
        let (ip, _) = address.split_once('/').unwrap();
        format!(
            r#"[{{"address": "52:54:00:12:34:56", "network": {{"subnets": [{{"cidr": "{address}", "ips": [{{"address": "{ip}"}}],
            "gateway": {{"address": "{gateway}"}}}}]}}}}]"#
        )
    };
    let flags = |address: &str, gateway: &str| {
        let addresses = vec![imgraft::net::Cidr::parse(address).unwrap()];
        read::flags::config(&Flags { addresses, gateways: vec![gateway.parse().unwrap()], ..Flags::default() })
    };
    let (inside, host, outside) =
        (("192.0.2.9/24", "192.0.2.1"), ("192.0.2.9/32", "198.51.100.1"), ("192.0.2.9/24", "198.51.100.1"));
    for (pair, is_on_link) in [(inside, false), (host, true)] {
        for text in [v1(pair.0, pair.1), data(pair.0, pair.1), info(pair.0, pair.1)] {
            assert_eq!(on_link(&read::document(&text).unwrap()), [is_on_link], "{text}");
        }
        assert_eq!(on_link(&flags(pair.0, pair.1).unwrap()), [is_on_link]);
    }
    for text in [data(outside.0, outside.1), info(outside.0, outside.1)] {
        assert_eq!(on_link(&read::document(&text).unwrap()), [true], "{text}");
    }
    for error in [read::document(&v1(outside.0, outside.1)).unwrap_err(), flags(outside.0, outside.1).unwrap_err()] {
        assert!(error.to_string().contains("its router 198.51.100.1 is in none of the networks"), "{error}");
        assert!(error.to_string().contains("say on-link: true"), "{error}");
        assert!(error.to_string().contains("of IPv4 as a /32 (--ip, network-config version 1)"), "{error}");
    }
    // The way out of IPv6; none is said where it is taken already.
    let (wide, host) = (("2001:db8::9/64", "2001:db8:1::1"), ("2001:db8::9/128", "2001:db8:1::1"));
    let error = flags(wide.0, wide.1).unwrap_err().to_string();
    assert!(error.contains("of IPv6 as a /128 (--ip"), "{error}");
    assert_eq!(on_link(&flags(host.0, host.1).unwrap()), [true]);
    let error = read::document(&described(&[host.0], &[("::/0", host.1, "")])).unwrap_err().to_string();
    assert!(error.contains("say on-link: true") && !error.contains("/128 (--ip"), "{error}");
    // What DHCP gives, or routers advertise, nobody knows before.
    for text in [
        "{version: 2, ethernets: {e: {dhcp4: true, addresses: [192.0.2.9/24], routes: [{to: 10.0.0.0/8, via: 198.51.100.1}]}}}",
        "{version: 2, ethernets: {e: {accept-ra: true, addresses: ['2001:db8::9/64'], routes: [{to: '2001:db8:9::/48', via: '2001:db8:1::1'}]}}}",
        "{version: 2, ethernets: {e: {dhcp4: true, routes: [{to: '::/0', via: 'fe80::1'}]}}}",
        "{version: 1, config: [{type: physical, name: e, subnets: [{type: dhcp}, {type: static, address: 192.0.2.9/32, gateway: 192.0.2.1}]}]}",
    ] {
        assert_eq!(on_link(&read::document(text).unwrap()), [false], "{text}");
    }
}
