//! What cloud-init hands on of what it gets to those of its renderers that write files.

use crate::cases::cases;
use crate::oracle::{python, unpacked};
use imgraft::net::config::{Auto6, Config, Kind, Link};
use imgraft::net::read;
use imgraft::net::render::{Gateways, Renderer, render};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is known of each device.
type State = BTreeMap<String, BTreeSet<String>>;

/// The same of what it was made of.
fn state(config: &Config) -> State {
    let name = |link: &Link| link.device().unwrap_or(&link.id).to_owned();
    let name_of = |id: &String| name(config.link(id).unwrap());
    let facts = |link: &Link| {
        let mut facts = BTreeSet::new();
        facts.extend(link.mtu.map(|mtu| format!("MTU {mtu}")));
        match &link.kind {
            Kind::Hardware(hardware) => {
                facts.extend(hardware.mac.map(|mac| format!("known by {mac}")));
                // Of the others it has none, and they do as the guest does by itself.
                facts.extend(match link.auto6 {
                    Auto6::Slaac | Auto6::Stateless => Some("accept-ra True".to_owned()),
                    Auto6::Off => Some("accept-ra False".to_owned()),
                    Auto6::Unsaid | Auto6::Dhcp => None,
                });
            }
            Kind::Bond(_, bond) => {
                facts.extend(bond.mode.map(|mode| format!("mode {mode}")));
                facts.extend(bond.primary.as_ref().map(|primary| format!("primary {}", name_of(primary))));
            }
            Kind::Bridge(ports, _) => facts.extend(ports.iter().map(|port| format!("port {}", name_of(port)))),
            Kind::Vlan(parent, tag) => facts.extend([format!("over {}", name_of(parent)), format!("tag {tag}")]),
        }
        if let Some(master) = config.master(&link.id).filter(|master| matches!(master.kind, Kind::Bond(..))) {
            facts.insert(format!("in {}", name(master)));
        }
        facts.extend(link.dhcp4.then(|| "dhcp4".to_owned()));
        facts.extend((link.auto6 == Auto6::Dhcp).then(|| "dhcp6".to_owned()));
        facts.extend(link.addresses.iter().map(|address| format!("address {address}")));
        facts.extend(link.dns.servers.iter().map(|server| format!("DNS {server}")));
        facts.extend(link.routes.iter().map(|route| {
            assert!(route.metric.is_none() && !route.on_link, "{link:?}");
            format!("route {} via {}", route.to, route.via.unwrap())
        }));
        facts
    };
    config.links.iter().map(|link| (name(link), facts(link))).collect()
}

/// Where a cloud-init is that understands this.
fn library(gateways: Gateways) -> Option<PathBuf> {
    let directory = match gateways {
        Gateways::Keys => "cloud-init",
        Gateways::Routes => "cloud-init-new",
    };
    unpacked(&format!("{directory}/usr/lib/python3/dist-packages/cloudinit"))
}

#[test]
fn cloud_init_hands_on_everything() {
    hands_on_everything(Gateways::Keys);
}

#[test]
fn a_newer_cloud_init_hands_on_everything() {
    hands_on_everything(Gateways::Routes);
}

fn hands_on_everything(gateways: Gateways) {
    let Some(library) = library(gateways) else { return };
    let text = |config: &Config| Some(render(config, Renderer::CloudInit(gateways)).ok()?.remove(0).text);
    let cases: Vec<_> =
        cases().into_iter().filter_map(|case| Some((text(&case.config)?, case.name, case.config))).collect();
    assert!(cases.len() >= 9, "{}", cases.len());
    let texts: Vec<_> = cases.iter().map(|(text, ..)| text).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/state.py");
    let answers: Vec<State> = python(&script, library.parent().unwrap(), &texts);
    assert_eq!(answers.len(), cases.len());
    for ((_, name, config), theirs) in cases.iter().zip(answers) {
        assert_eq!(state(config), theirs, "{name}");
    }
}

/// What a metric that it hands on looks like in a [`State`], whatever its value.
const METRIC: &str = "('metric', ";

/// What it would lose is refused: netplan's spelling of the same, which cloud-init reads too, shows that it would.
#[test]
fn what_cloud_init_loses_is_refused() {
    let Some(library) = unpacked("cloud-init/usr/lib/python3/dist-packages/cloudinit") else { return };
    let ethernet = |body: &str| format!("{{version: 2, ethernets: {{eth0: {{{body}}}}}}}");
    let bridge = |body: &str| format!("{{version: 2, bridges: {{br0: {{interfaces: [], {body}}}}}}}");
    let lost = [
        (
            ethernet("addresses: [192.0.2.9/24], routes: [{to: default, via: 192.0.2.1, metric: 9}]"),
            "the metric of a route",
        ),
        (
            ethernet("addresses: [192.0.2.9/24], routes: [{to: default, via: 192.0.2.1, on-link: true}]"),
            "on-link: true of a route",
        ),
        (ethernet("addresses: [192.0.2.9/24], routes: [{to: 10.0.0.0/8}]"), "a route without a router"),
        (
            ethernet("accept-ra: true, routes: [{to: '2001:db8::/32', via: 'fe80::1'}]"),
            "a route without an address or DHCP",
        ),
        (
            ethernet("dhcp4: true, routes: [{to: '::/0', via: 'fe80::1'}]"),
            "a default route of IPv6 without an address of it",
        ),
        (ethernet("macaddress: '52:54:00:12:34:99', dhcp4: true"), "a MAC address that it is to have"),
        (ethernet("optional: true, dhcp4: true"), "optional: true"),
        (
            ethernet("match: {name: eth7}, set-name: eth0, dhcp4: true"),
            "a new name for a device that is not known by its MAC address",
        ),
        (bridge("accept-ra: false, addresses: [192.0.2.9/24]"), "accept-ra: false of what is no device of its own"),
    ];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/state.py");
    let mut texts: Vec<_> = lost
        .iter()
        .map(|(text, what)| {
            let config = read::document(text).unwrap();
            assert_eq!(render(&config, Renderer::CloudInit(Gateways::Keys)).unwrap_err().what, *what, "{text}");
            render(&config, Renderer::Netplan).unwrap().remove(0).text
        })
        .collect();
    // In version 1 it does not lose the metric: so it would show.
    let route = "{network: 10.0.0.0, netmask: 255.0.0.0, gateway: 192.0.2.1, metric: 9}";
    let subnet = format!("{{type: static, address: 192.0.2.9/24, routes: [{route}]}}");
    let device = format!("{{type: physical, name: eth0, subnets: [{subnet}]}}");
    texts.push(format!("network: {{version: 1, config: [{device}]}}"));
    let mut answers: Vec<State> = python(&script, library.parent().unwrap(), &texts);
    let kept = format!("{:?}", answers.pop().unwrap());
    assert!(kept.contains(METRIC), "{kept}");
    assert_eq!(answers.len(), lost.len());
    for ((text, what), state) in lost.iter().zip(answers) {
        let said = format!("{state:?}");
        for word in [METRIC, "onlink", "on-link", "52:54:00:12:34:99", "optional", "accept-ra False", "::/0"] {
            assert!(!said.contains(word), "{what}: {text}: {said}");
        }
        match *what {
            "a route without a router" => assert!(said.contains("via None"), "{said}"),
            "a route without an address or DHCP" => assert!(!said.contains("route"), "{said}"),
            _ => {}
        }
    }
}

/// What is written for a newer one it takes without a word of what is deprecated, and what is written for an old one not.
#[test]
fn nothing_is_deprecated() {
    let Some(library) = library(Gateways::Routes) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/deprecated.py");
    let asked = |gateways| -> Vec<(String, String)> {
        let text =
            |config: &Config| render(config, Renderer::CloudInit(gateways)).ok().map(|mut files| files.remove(0).text);
        cases().into_iter().filter_map(|case| Some((case.name, text(&case.config)?))).collect()
    };
    let say = |texts: &[(String, String)]| -> Vec<Vec<String>> {
        let texts: Vec<_> = texts.iter().map(|(_, text)| text).collect();
        python(&script, library.parent().unwrap(), &texts)
    };
    let (new, old) = (asked(Gateways::Routes), asked(Gateways::Keys));
    assert!(new.len() >= old.len() && old.len() >= 9);
    for ((name, text), said) in new.iter().zip(say(&new)) {
        assert!(said.is_empty(), "{name}: {said:?}\n{text}");
    }
    // It says so once.
    assert!(say(&old).into_iter().flatten().any(|said| said.contains("gateway6")));
}
