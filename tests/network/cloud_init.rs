//! What cloud-init hands on of what it gets to those of its renderers that write files.

use crate::cases::{cases, directory};
use crate::oracle::{command, python, succeed, unpacked};
use imgraft::config_drive::{self, Documents, Flavour, Instance, Layout, Place, Spelling};
use imgraft::net::config::{Auto6, Config, Kind, Link};
use imgraft::net::read;
use imgraft::net::render::{Gateways, Renderer, network_config, render};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is known of each device.
pub type State = BTreeMap<String, BTreeSet<String>>;

/// The same of what it was made of.
pub fn state(config: &Config) -> State {
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
pub fn library(gateways: Gateways) -> Option<PathBuf> {
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

/// What a machine gets of the network by NoCloud, by a drive of its own.
fn of_a_drive(network_info: &str) -> Value {
    let instance = format!(r#"{{"instance": {{"uuid": "u-1", "hostname": "h"}}, "network_info": {network_info}}}"#);
    let document = config_drive::read(instance.as_bytes(), Spelling::Json).unwrap();
    let instance = Instance::new(document, Flavour::Imgraft, &Place::Nowhere).unwrap();
    let documents = Documents::new(&instance, Flavour::Imgraft, Layout::NoCloud).unwrap();
    let (_, content) = documents.files.iter().find(|(path, _)| path == "network-config").unwrap();
    let mut text = vec![0; usize::try_from(content.len()).unwrap()];
    content.read_at(&mut text, 0).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The network on a NoCloud drive and in a seed, whichever cloud-init reads it: the oldest that the tests have and the newest hand on the
/// same, the newest without a word of what is wrong or deprecated, and netplan takes what they make of it.
#[test]
fn every_cloud_init_takes_what_nocloud_says() {
    let subnets = |more: &str| {
        format!(
            r#"[{{"address": "52:54:00:12:34:56", "network": {{"meta": {{"mtu": 1400}}, "subnets": [{{"cidr": "192.0.2.0/24",
            "dns": [{{"address": "192.0.2.53"}}], "gateway": {{"address": "192.0.2.1"}}, "ips": [{{"address": "192.0.2.10"}}]}}, {more}]}}}}]"#
        )
    };
    let six = |more: &str| {
        subnets(&format!(
            r#"{{"cidr": "2001:db8::/64", "dns": [{{"address": "2001:db8::53"}}], "ips": [{{"address": "2001:db8::10"}}], {more}}}"#
        ))
    };
    let route = |cidr: &str| format!(r#"{{"cidr": "{cidr}", "gateway": {{"address": "2001:db8::2"}}}}"#);
    let drives = [
        std::fs::read_to_string(directory().join("nova.network_info.json")).unwrap(),
        six(r#""gateway": {"address": "2001:db8::1"}"#),
        six(r#""gateway": {"address": "fe80::1"}"#),
        six(&format!(r#""gateway": {{"address": "2001:db8::1"}}, "routes": [{}]"#, route("2001:db8:9::/48"))),
        six(&format!(r#""routes": [{}, {}]"#, route("2001:db8:9::/48"), route("::/0"))),
        // Its routers are not in its networks, but for the kernel on the link.
        subnets(
            r#"{"cidr": "2001:db8::/128", "ips": [{"address": "2001:db8::10"}], "gateway": {"address": "2001:db8:1::1"}}"#,
        ),
        // Without a router of IPv6.
        subnets(
            r#"{"cidr": "2001:db8::/64", "ips": [{"address": "2001:db8::10"}], "meta": {"ipv6_address_mode": "slaac"}}"#,
        ),
        "[]".to_owned(),
    ];
    let mut asked: Vec<(Config, Value)> = drives
        .iter()
        .map(|text| {
            let vifs = config_drive::read_network(text.as_bytes(), Spelling::Json).unwrap();
            let mut config = read::network_info::config(&vifs).unwrap();
            config.links.iter_mut().flat_map(|link| &mut link.routes).for_each(|route| route.on_link = false);
            (config, of_a_drive(text))
        })
        .collect();
    let seeds = cases().into_iter().map(|case| case.config);
    let more = [
        "{version: 2, ethernets: {eth0: {accept-ra: false, addresses: ['2001:db8::10/64', '2001:db8:1::10/64'], gateway6: 'fe80::1'}}}",
        "{version: 2, ethernets: {eth0: {dhcp4: true, addresses: ['2001:db8::10/64'], gateway6: 'fe80::1', nameservers: {addresses: \
         [192.0.2.53], search: [example.net]}}, eth1: {dhcp6: true}}}",
        // Of these version 1 would not say all, or not the same.
        "{version: 2, ethernets: {eth0: {addresses: ['2001:db8::10/64'], gateway6: 'fe80::1'}, eth1: {dhcp4: true, nameservers: {addresses: \
         [192.0.2.53]}}}}",
        "{version: 2, ethernets: {eth0: {addresses: ['2001:db8::10/64'], gateway6: 'fe80::1'}, eth1: {dhcp4: true, routes: [{to: \
         10.0.0.0/8, via: 192.0.2.1}]}}}",
        "{version: 2, ethernets: {eth0: {match: {name: eth0, macaddress: '52:54:00:12:34:56'}, addresses: ['2001:db8::10/64'], gateway6: \
         'fe80::1'}}}",
        "{version: 2, ethernets: {eth0: {}}, bridges: {br0: {interfaces: [eth0], addresses: ['2001:db8::10/64'], gateway6: 'fe80::1'}}}",
    ];
    let seeds = seeds.chain(more.map(|text| read::document(text).unwrap()));
    asked.extend(seeds.filter_map(|config| Some((config.clone(), network_config(&config).ok()?))));
    let versions: Vec<u64> = asked.iter().map(|(_, document)| document["version"].as_u64().unwrap()).collect();
    assert_eq!(versions[..8], [1, 1, 1, 1, 1, 1, 2, 2], "{asked:?}");
    assert_eq!(versions[versions.len() - 6..], [1, 1, 2, 2, 2, 2], "{asked:?}");

    let texts: Vec<_> = asked.iter().map(|(_, document)| json!({ "network": document }).to_string()).collect();
    let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network").join(name);
    for gateways in [Gateways::Keys, Gateways::Routes] {
        let Some(library) = library(gateways) else { return };
        let answers: Vec<State> = python(&script("state.py"), library.parent().unwrap(), &texts);
        for ((config, document), theirs) in asked.iter().zip(answers) {
            assert_eq!(state(config), theirs, "{gateways:?}: {document}");
        }
        let said: Vec<Vec<String>> = python(&script("deprecated.py"), library.parent().unwrap(), &texts);
        for ((_, document), said) in asked.iter().zip(said) {
            assert!(
                said.is_empty() || document["version"] == 2 && document.to_string().contains("gateway6"),
                "{document}: {said:?}"
            );
        }
        let answers: Vec<String> = python(&script("for_netplan.py"), library.parent().unwrap(), &texts);
        netplan_takes(&asked, &answers);
        // Newer ones see that a router is on the link.
        let is_told = |text: &String| text.contains("on-link: true");
        assert_eq!(answers[..8].iter().position(is_told), (gateways == Gateways::Routes).then_some(2), "{answers:?}");
    }
}

/// netplan takes what cloud-init makes for it, and gets all addresses, routers and name servers.
fn netplan_takes(asked: &[(Config, Value)], answers: &[String]) {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    for ((config, document), text) in asked.iter().zip(answers) {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("etc/netplan")).unwrap();
        std::fs::write(scratch.path().join("etc/netplan/50-cloud-init.yaml"), text).unwrap();
        succeed(command(&generate).arg("--root-dir").arg(scratch.path()), text);
        for link in &config.links {
            let servers = link.dns.servers.iter().map(ToString::to_string);
            let routers = link.routes.iter().filter_map(|route| route.via).map(|via| via.to_string());
            for fact in link.addresses.iter().map(ToString::to_string).chain(servers).chain(routers) {
                assert!(text.contains(&fact), "{document}: no {fact} in\n{text}");
            }
        }
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
