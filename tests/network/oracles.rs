//! What the programs make of what they get.

use crate::cases::{Case, cases};
use crate::oracle::{command, put, python, sections, skip, succeed, unpacked};
use imgraft::net::config::{Auto6, Kind, Link, Route};
use imgraft::net::render::{Gateways, Ifup, Renderer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What networkd is told, without what is said in different words by different writers.
type Networkd = BTreeMap<String, BTreeSet<String>>;

fn networkd(files: impl Iterator<Item = (String, String)>) -> Networkd {
    let mut facts = Networkd::new();
    for (name, text) in files {
        let sections = sections(&text);
        let entry = |section: &str, key: &str| -> Vec<String> {
            let matching = sections.iter().filter(|(name, _)| name == section).flat_map(|(_, entries)| entries);
            matching.filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
        };
        let id = name.trim_start_matches("05-imgraft-").trim_start_matches("10-netplan-").to_owned();
        let facts = facts.entry(id).or_default();
        for (section, keys) in [
            ("Match", &["Name", "OriginalName"][..]),
            ("NetDev", &["Name", "Kind", "MACAddress", "MTUBytes"]),
            ("Network", &["Address", "DNS", "Bond", "Bridge", "VLAN", "DHCP", "IPv6AcceptRA"]),
            (
                "Bond",
                &[
                    "Mode",
                    "MIIMonitorSec",
                    "LACPTransmitRate",
                    "TransmitHashPolicy",
                    "AdSelect",
                    "MinLinks",
                    "UpDelaySec",
                    "DownDelaySec",
                ],
            ),
            ("Bridge", &["STP", "Priority", "ForwardDelaySec"]),
            ("VLAN", &["Id"]),
            ("Link", &["Name"]),
        ] {
            for key in keys {
                for value in entry(section, key) {
                    let value = match (value.as_str(), *key) {
                        ("true", _) => "yes",
                        ("false", _) => "no",
                        (_, "Name") if section == "Match" && value.contains('*') => value.as_str(),
                        (value, _) => value,
                    };
                    facts.insert(format!("{section}.{key}={value}"));
                }
            }
        }
        for value in entry("Network", "Domains").iter().flat_map(|domains| domains.split(' ')) {
            facts.insert(format!("Domains={value}"));
        }
        for key in ["MACAddress", "PermanentMACAddress"] {
            entry("Match", key).into_iter().for_each(|mac| _ = facts.insert(format!("Match.mac={mac}")));
        }
        // What nobody has to say: DHCP for IPv6 begins with what routers advertise, and without IPv6 there is none of it.
        facts.remove("Network.DHCP=no");
        if facts.contains("Network.DHCP=yes") || facts.contains("Network.DHCP=ipv6") {
            facts.remove("Network.IPv6AcceptRA=yes");
        }
        if entry("Network", "LinkLocalAddressing") == ["no"] {
            facts.remove("Network.IPv6AcceptRA=no");
        }
        for (section, entries) in &sections {
            if section == "Route" {
                let get = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
                let on_link = get("GatewayOnLink").is_some_and(|value| value == "true" || value == "yes");
                let to = get("Destination").unwrap_or("");
                facts.insert(format!("Route {to} {:?} {:?} {on_link}", get("Gateway"), get("Metric")));
            }
        }
    }
    facts
}

/// netplan takes every file without a warning, and tells networkd what we tell it.
#[test]
fn netplan_and_networkd_are_told_the_same() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let compared: usize = cases().iter().map(|case| told_the_same(case, &generate)).sum();
    assert!(compared > 30, "{compared}");
}

/// Of how many of networkd's files netplan has the same to say.
pub fn told_the_same(case: &Case, generate: &Path) -> usize {
    let scratch = tempfile::tempdir().unwrap();
    put(scratch.path(), &case.files(Renderer::Netplan).unwrap());
    let (_, warnings) = succeed(command(generate).arg("--root-dir").arg(scratch.path()), &case.name);
    // Not of the file, but of the machine that it is tried on.
    let warnings: Vec<_> =
        warnings.lines().filter(|line| !line.trim().is_empty() && !line.contains("systemctl")).collect();
    assert!(warnings.is_empty(), "{}: {warnings:?}", case.name);
    let directory = scratch.path().join("run/systemd/network");
    let theirs = networkd(std::fs::read_dir(directory).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
    }));
    let ours = case.files(Renderer::Networkd).unwrap();
    let ours = networkd(ours.into_iter().map(|file| (file.path.rsplit('/').next().unwrap().to_owned(), file.text)));
    for (name, facts) in &ours {
        let theirs = theirs.get(name).unwrap_or_else(|| panic!("{}: netplan makes no {name}", case.name));
        let mut theirs = theirs.clone();
        let mut ours = facts.clone();
        // The kernel's default, which they do not say.
        ours.remove("Bridge.STP=no");
        theirs.remove("Bridge.STP=no");
        // A link whose name is set is known by it already.
        let link = name.strip_suffix(".network").and_then(|id| case.config.link(id));
        let is_renamed =
            link.is_some_and(|link| matches!(&link.kind, Kind::Hardware(hardware) if hardware.rename.is_some()));
        theirs.retain(|fact| !(is_renamed && fact.starts_with("Match.mac=")));
        assert_eq!(ours, theirs, "{}: {name}", case.name);
    }
    ours.len()
}

/// ifup says what it would do: each address and router is among it, and nothing fails.
#[test]
fn ifupdown_would_do_it() {
    let Some(ifup) = unpacked("network/sbin/ifup") else { return };
    let mut tried = 0;
    let flavours = [Ifup::Debian, Ifup::ByName];
    for (case, ifup_is) in cases().into_iter().flat_map(|case| flavours.map(|ifup| (case.clone(), ifup))) {
        let Some(files) = case.files(Renderer::Ifupdown(ifup_is)) else { continue };
        let scratch = tempfile::tempdir().unwrap();
        put(scratch.path(), &files);
        let interfaces = scratch.path().join("etc/network/interfaces");
        let state = scratch.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let base = |command: &mut Command| {
            _ = command
                .args(["--no-act", "--verbose", "--no-scripts", "--ignore-errors", "--interfaces"])
                .arg(&interfaces)
                .arg("--state-dir")
                .arg(&state);
        };
        // At boot: each behind what it is made of.
        let mut all = command(&ifup);
        base(&mut all);
        let (_, order) = succeed(all.arg("--all"), &case.name);
        let place = |link: &Link| order.find(&format!("configuring interface {}=", link.device()?));
        for link in &case.config.links {
            for lower in link.lower().iter().filter_map(|id| case.config.link(id)) {
                assert!(place(lower) <= place(link), "{}: {} comes before {}\n{order}", case.name, link.id, lower.id);
            }
        }
        for link in &case.config.links {
            // By its MAC address it is known only to a machine that has it.
            let Some(device) = link.device() else { continue };
            let mut try_it = command(&ifup);
            base(&mut try_it);
            let (said, more) = succeed(try_it.arg(device), &case.name);
            let said = said + &more;
            for address in &link.addresses {
                assert!(
                    said.contains(&format!("{}", address.ip())),
                    "{}: {device}: {address} is not in\n{said}",
                    case.name
                );
            }
            for route in link.routes.iter().filter_map(|route| route.via) {
                assert!(said.contains(&format!("via {route}")), "{}: {device}: {route} is not in\n{said}", case.name);
            }
            if link.dhcp4 {
                assert!(
                    ["dhclient", "udhcpc", "dhcpcd", "No DHCP client"].iter().any(|word| said.contains(word)),
                    "{said}"
                );
            }
            if let (Kind::Vlan(_, tag), None) = (&link.kind, case.config.master(&link.id)) {
                assert!(said.contains(&format!("vlan id {tag}")), "{}: {device}: no VLAN in\n{said}", case.name);
            }
            if let Some(mtu) = link.mtu {
                let commands = [device, "$IFACE"].map(|device| format!("ip link set dev {device} mtu {mtu}"));
                assert!(
                    commands.iter().any(|command| said.contains(command)),
                    "{}: {device}: no MTU in\n{said}",
                    case.name
                );
            }
            assert!(!said.contains("unknown") && !said.contains("misplaced"), "{said}");
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
}

/// networkd itself, in namespaces of its own: it knows every key, and a device has the addresses and routes that it was to have.
#[test]
fn networkd_does_it() {
    let Some(program) = unpacked("network/lib/systemd/systemd-networkd") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("networkd needs root");
    }
    let scratch = tempfile::tempdir().unwrap();
    for case in cases() {
        let directory = scratch.path().join(&case.name);
        std::fs::create_dir(&directory).unwrap();
        put(&directory, &case.files(Renderer::Networkd).unwrap());
        for renderer in [Renderer::NetworkManager, Renderer::Ifcfg, Renderer::Ifupdown(Ifup::Debian)] {
            let files = case.files(renderer).unwrap_or_default();
            put(&directory, &files.into_iter().filter(|file| file.path.ends_with(".link")).collect::<Vec<_>>());
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/networkd.sh");
    let mut run = command(Path::new("unshare"));
    run.args(["--net", "--mount", "--fork", "--kill-child", "bash"]).arg(script).arg(&program).arg(scratch.path());
    run.args([
        "static.v2.yaml",
        "names.v2.yaml",
        "static.flags",
        "known.v2.yaml",
        "host.flags",
        "host.v1.yaml",
        "host.v2.yaml",
    ]);
    let (said, log) = succeed(&mut run, "networkd");
    let complaints: Vec<_> = log
        .lines()
        .filter(|line| line.contains("/run/systemd/network/") && (line.contains("ignoring") || line.contains("ailed")))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    for case in cases() {
        assert!(log.contains(&format!("case {}", case.name)), "{} was not tried: {log}", case.name);
    }
    for (case, facts) in [
        (
            "static.v2.yaml",
            &[
                "192.0.2.10/24",
                "198.51.100.7/25",
                "2001:db8::10/64",
                "mtu 1450",
                "default via 192.0.2.1 ",
                "10.0.0.0/8 via 192.0.2.254",
                "metric 100",
                "203.0.113.9 via 198.51.100.1",
                "default via 2001:db8::1 ",
            ][..],
        ),
        (
            "names.v2.yaml",
            &["192.0.2.10/24", "2001:db8:1::2/64", "default via 192.0.2.1 ", "default via 2001:db8:1::1 "],
        ),
        ("static.flags", &["192.0.2.10/24", "2001:db8::10/64", "default via 192.0.2.1 ", "default via 2001:db8::1 "]),
        (
            "known.v2.yaml",
            &["192.0.2.10/24", "mtu 1400", "198.51.100.1/24", "default via 192.0.2.1 ", "default via 2001:db8::1 "],
        ),
        // Of a hoster: a machine that is its own network, and routers that are in none.
        ("host.flags", &["203.0.113.9/32", "2001:db8::9/128", "default via 203.0.113.1 ", "default via fe80::1 "]),
        ("host.v1.yaml", &["203.0.113.9/32", "default via 198.51.100.1 ", "default via 2001:db8:1::1 "]),
        (
            "host.v2.yaml",
            &[
                "203.0.113.9/32",
                "2001:db8::9/64",
                "default via 172.31.1.1 dev eth0 proto static onlink",
                "10.0.0.0/8 via 172.31.1.2 dev eth0 proto static metric 50 onlink",
                "default via fe80::1 ",
                "2001:db8:9::/48 via 2001:db8:1::1 dev eth0",
            ],
        ),
    ] {
        let state = said.split(&format!("state {case}\n")).nth(1).unwrap_or_else(|| panic!("no {case} in {said}"));
        let state = state.split("\nstate ").next().unwrap();
        for fact in facts {
            assert!(state.contains(fact), "{case}: no {fact} in\n{state}\n{log}");
        }
        // A device of the name, and with another MAC address.
        assert!(!state.contains("203.0.113.1/24"), "{case}: {state}\n{log}");
    }
}

/// What cloud-init's writer of ifcfg files makes of the same, for the keys that both have.
#[test]
fn ifcfg_is_what_cloud_init_writes() {
    let Some(library) = unpacked("cloud-init/usr/lib/python3/dist-packages/cloudinit") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/ifcfg.py");
    // It has no word for a device whose name is not known.
    let cases: Vec<_> = cases()
        .into_iter()
        .filter(|case| case.config.links.iter().all(|link| link.device().is_some()))
        .filter_map(|case| case.files(Renderer::Ifcfg).map(|files| (case, files)))
        .collect();
    // What it hands on to none of its writers is in the file for netplan only.
    let text = |case: &Case| {
        case.files(Renderer::CloudInit(Gateways::Keys))
            .or_else(|| case.files(Renderer::Netplan))
            .map(|mut files| files.remove(0).text)
    };
    let networks: Vec<_> = cases.iter().map(|(case, _)| ("rhel", text(case).unwrap())).collect();
    let answers: Vec<BTreeMap<String, String>> = python(&script, library.parent().unwrap(), &networks);
    let mut compared = 0;
    for ((case, files), theirs) in cases.iter().zip(answers) {
        assert!(!theirs.contains_key("error"), "{}: {theirs:?}", case.name);
        for file in files.iter().filter(|file| file.path.contains("/ifcfg-")) {
            let name = file.path.rsplit('/').next().unwrap();
            let theirs = theirs.get(name).unwrap_or_else(|| panic!("{}: no {name} in {theirs:?}", case.name));
            let (ours, theirs) = (ifcfg(&file.text), ifcfg(theirs));
            for key in [
                "DEVICE",
                "HWADDR",
                "IPADDR",
                "IPADDR1",
                "GATEWAY",
                "IPV6ADDR",
                "IPV6_DEFAULTGW",
                "MTU",
                "DNS1",
                "DNS2",
                "DOMAIN",
                "BOOTPROTO",
                "MASTER",
                "SLAVE",
                "BRIDGE",
                "VLAN",
                "PHYSDEV",
                "BONDING_MASTER",
            ] {
                // It gives name servers to what has an address of its own only.
                let is_static = ours.contains_key("IPADDR") || ours.contains_key("IPV6ADDR");
                if !is_static && (key.starts_with("DNS") || key == "DOMAIN") {
                    continue;
                }
                // It does not know that a router can be on the link whatever the addresses say.
                let has_default = |route: &Route| route.is_default() && route.on_link;
                if key == "GATEWAY" && case.config.links.iter().flat_map(|link| &link.routes).any(has_default) {
                    continue;
                }
                // Of `::/0` it makes a route to `::/64`.
                if key == "IPV6_DEFAULTGW" && case.files(Renderer::CloudInit(Gateways::Keys)).is_none() {
                    continue;
                }
                let ours = ours.get(key).map(|value| value.to_lowercase());
                let theirs = theirs.get(key).map(|value| value.to_lowercase());
                assert_eq!(ours, theirs, "{}: {key} of {name}", case.name);
            }
            compared += 1;
        }
    }
    assert!(compared > 8, "{compared}");
}

/// The variables of a shell's file.
pub fn ifcfg(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect()
}

/// Every ifcfg file is a shell's, and means to it what it says.
#[test]
fn ifcfg_is_read_by_a_shell() {
    for (case, renderer) in
        cases().into_iter().flat_map(|case| [Renderer::Ifcfg, Renderer::Wicked].map(|r| (case.clone(), r)))
    {
        for file in case.files(renderer).into_iter().flatten().filter(|file| file.path.contains("/ifcfg-")) {
            for (key, value) in ifcfg(&file.text) {
                let mut shell = Command::new("sh");
                let (said, _) = succeed(
                    shell.args(["-euc", "eval \"$1\"; eval \"printf %s \\\"\\$$2\\\"\"", "-", &file.text, &key]),
                    &case.name,
                );
                assert_eq!(said, value, "{}: {}: {key}", case.name, file.path);
            }
        }
    }
}

/// The cases have something of everything.
#[test]
fn the_cases_are_many() {
    let all: Vec<Case> = cases();
    let links = || all.iter().flat_map(|case| &case.config.links);
    assert!(links().any(|link| matches!(link.kind, Kind::Bond(..))));
    assert!(links().any(|link| matches!(link.kind, Kind::Bridge(..))));
    assert!(links().any(|link| matches!(link.kind, Kind::Vlan(..))));
    for auto6 in [Auto6::Unsaid, Auto6::Off, Auto6::Slaac, Auto6::Stateless, Auto6::Dhcp] {
        assert!(links().any(|link| link.auto6 == auto6), "{auto6:?}");
    }
    assert!(links().any(|link| link.routes.iter().any(|route| route.on_link)));
    assert!(
        links().any(|link| link.optional)
            && links().any(|link| link.mac.is_some())
            && links().any(|link| link.mtu.is_some())
    );
}
