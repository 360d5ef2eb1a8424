//! What NetworkManager makes of what it gets.

use crate::cases::cases;
use crate::oracle::{command, put, sections, skip, unpacked};
use imgraft::net::read;
use imgraft::net::render::{Inexpressible, Renderer, render};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// NetworkManager's own reader finds every entry and leaves out none.
#[test]
fn network_manager_reads_every_entry() {
    let Some(nmcli) = unpacked("network/usr/bin/nmcli") else { return };
    let mut read = 0;
    for case in cases() {
        for file in case.files(Renderer::NetworkManager).into_iter().flatten() {
            if !file.path.ends_with(".nmconnection") {
                continue;
            }
            let about = format!("{}: {}", case.name, file.path);
            let mut child = command(&nmcli)
                .args(["--offline", "connection", "modify"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), file.text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && errors.is_empty(), "{about}: {errors}\n{}", file.text);
            let theirs: BTreeSet<_> = flat(&said).collect();
            for entry in flat(&file.text) {
                // What is the default is not said again.
                let is_default = ["vlan.flags=1", "bridge.stp=true", "bridge.priority=32768"].contains(&entry.as_str());
                assert!(is_default || theirs.contains(&entry), "{about}: {entry} is lost in\n{said}");
            }
            read += 1;
        }
    }
    assert!(read > 25, "{read}");
}

/// OpenStack has name servers that all links are to ask: a link that cannot ask one leaves it to another that can.
#[test]
fn a_name_server_of_all_links_is_asked_by_those_that_can() {
    let links = ["0", "1"]
        .map(|id| format!(r#"{{"id": "port{id}", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:0{id}"}}"#));
    let network = |addresses: [&str; 2], server: &str| {
        let network = |(id, address): (usize, &str)| {
            let version = if address.contains(':') { 6 } else { 4 };
            format!(r#"{{"type": "ipv{version}", "link": "port{id}", "ip_address": "{address}"}}"#)
        };
        let networks: Vec<_> = addresses.into_iter().enumerate().map(network).collect();
        let (links, networks) = (links.join(", "), networks.join(", "));
        let services = format!(r#"[{{"type": "dns", "address": "{server}"}}]"#);
        let text = format!(r#"{{"links": [{links}], "networks": [{networks}], "services": {services}}}"#);
        let files = render(&read::document(&text).unwrap(), Renderer::NetworkManager)?;
        Ok::<_, Inexpressible>(files.into_iter().map(|file| file.text.contains(server)).collect::<Vec<_>>())
    };
    let both = ["192.0.2.7/24", "2001:db8::7/64"];
    assert_eq!(network(both, "192.0.2.53").unwrap(), [true, false]);
    // IPv6 is on wherever there is an address.
    assert_eq!(network(both, "2001:db8::53").unwrap(), [true, true]);
    let error = network(["2001:db8::6/64", "2001:db8::7/64"], "192.0.2.53").unwrap_err().to_string();
    assert!(error.contains("a name server of IPv4 without IPv4"), "{error}");
}

fn flat(text: &str) -> impl Iterator<Item = String> {
    let sections = sections(text);
    sections.into_iter().flat_map(|(section, entries)| {
        let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("{section}.{key}={value}")).collect();
        entries
    })
}

/// NetworkManager itself, in namespaces of its own: a device has the addresses, routes and name servers that it was to have.
#[test]
fn network_manager_does_it() {
    // What it needs beyond what nmcli needs.
    let library = format!("network/usr/lib/{}-linux-gnu/libndp.so.0", std::env::consts::ARCH);
    let Some(_) = unpacked(&library) else { return };
    let unpacked = unpacked("network").unwrap();
    if !nix::unistd::geteuid().is_root() {
        return skip("NetworkManager needs root");
    }
    let cases = cases();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/networkmanager.sh");
    let run = |name: &str| {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        put(scratch.path(), &case.files(Renderer::NetworkManager).unwrap());
        let child = Command::new("unshare")
            .args(["--net", "--mount", "--fork", "--kill-child", "bash"])
            .arg(&script)
            .args([&unpacked, scratch.path()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        (scratch, child)
    };
    let expected = [
        (
            "static.v2.yaml",
            &[
                "mtu 1450",
                "inet 192.0.2.10/24",
                "inet 198.51.100.7/25",
                "inet6 2001:db8::10/64",
                "default via 192.0.2.1 dev eth0",
                "10.0.0.0/8 via 192.0.2.254 dev eth0 proto static metric 100",
                "203.0.113.9 via 198.51.100.1 dev eth0 proto static metric 100 onlink",
                "default via 2001:db8::1 dev eth0",
                "nameserver 192.0.2.53\n",
                "nameserver 2001:db8::53\n",
                "search example.net lab.example.net\n",
                "dhcp4 (eth1): activation: beginning transaction",
            ][..],
        ),
        (
            // What eth1 and eth2 are parts of needs a kernel with bonds.
            "all_links.v1.yaml",
            &[
                "inet 192.0.2.10/24",
                "inet6 2001:db8::10/64",
                "inet 198.51.100.1/24 brd 198.51.100.255 scope global noprefixroute br0",
                "203.0.113.0/24 via 192.0.2.253 dev eth0 proto static metric 5",
                "nameserver 192.0.2.53\n",
                "search example.net example.org\n",
            ],
        ),
        (
            "known.v2.yaml",
            &[
                "mtu 1400",
                "inet 192.0.2.10/24 brd 192.0.2.255 scope global noprefixroute eth0",
                "inet 198.51.100.1/24 brd 198.51.100.255 scope global noprefixroute eth1",
                "default via 2001:db8::1 dev eth0",
            ],
        ),
        (
            "host.flags",
            &[
                "inet 203.0.113.9/32",
                "inet6 2001:db8::9/128",
                "default via 203.0.113.1 dev eth0",
                "default via fe80::1 dev eth0",
            ],
        ),
        ("host.v1.yaml", &["default via 198.51.100.1 dev eth0", "default via 2001:db8:1::1 dev eth0"]),
        (
            "host.v2.yaml",
            &[
                "inet 203.0.113.9/32",
                "inet6 2001:db8::9/64",
                "default via 172.31.1.1 dev eth0",
                "10.0.0.0/8 via 172.31.1.2 dev eth0 proto static metric 50 onlink",
                "default via fe80::1 dev eth0",
                "2001:db8:9::/48 via 2001:db8:1::1 dev eth0",
            ],
        ),
    ];
    // At the same time, as they wait for DHCP and for carriers.
    let running: Vec<_> = expected.iter().map(|(name, _)| run(name)).collect();
    for ((name, facts), (_scratch, child)) in expected.iter().zip(running) {
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        let state = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {state}\n{log}");
        for fact in *facts {
            assert!(state.contains(fact) || log.contains(fact), "{name}: no {fact} in\n{state}\n{log}");
        }
        // A device of the name, and with another MAC address.
        assert!(!state.contains("203.0.113.1/24"), "{name}: {state}\n{log}");
    }
}
