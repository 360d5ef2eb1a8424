//! What others make of wicked's files: cloud-init's writer of such files, and wicked itself.

use crate::cases::{Case, cases, directory};
use crate::oracle::{put, python, unpacked};
use crate::oracles::ifcfg;
use imgraft::net::Cidr;
use imgraft::net::config::{Auto6, Kind, Link};
use imgraft::net::render::{Gateways, NetFile, Renderer, render};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What the cases of all renderers have not: a router that is on the link and in none of its networks, a device that may be missing, and
/// all numbers of a bridge.
const MORE: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/32, '2001:db8::10/64'], routes: [{to: default, via: 203.0.113.1, \
    on-link: true}, {to: 10.0.0.0/8, via: 203.0.113.1, on-link: true, metric: 7}, {to: default, via: 'fe80::1', on-link: true}, {to: \
    '2001:db8:1::/48', via: '2001:db8::1', on-link: true}]}, eth1: {optional: true, dhcp4: true}, eth2: {}}, bridges: {br.2: {interfaces: \
    [eth2], addresses: [192.0.2.20/24], accept-ra: false, parameters: {stp: true, priority: 4096, forward-delay: 2, hello-time: 2, max-age: \
    20, ageing-time: 300}}}}";

/// The cases that wicked has words for, each with its files.
fn expressible() -> Vec<(Case, Vec<NetFile>)> {
    let more = Case { name: "more".to_owned(), config: imgraft::net::read::document(MORE).unwrap() };
    let files = |case: Case| case.files(Renderer::Wicked).map(|files| (case, files));
    cases().into_iter().chain([more]).filter_map(files).collect()
}

#[test]
fn routers_on_the_link_have_routes_of_their_own() {
    let files = expressible().pop().unwrap().1;
    let text =
        |name: &str| &files.iter().find(|file| file.path == format!("/etc/sysconfig/network/{name}")).unwrap().text;
    let routes = "# Made by imgraft.\n203.0.113.1/32 - - eth0\ndefault 203.0.113.1 - eth0\n10.0.0.0/8 203.0.113.1 - eth0 metric 7\n\
                  fe80::1/128 - - eth0\ndefault fe80::1 - eth0\n2001:db8:1::/48 2001:db8::1 - eth0\n";
    assert_eq!(text("ifroute-eth0"), routes);
    assert_eq!(text("ifsysctl-br.2"), "# Made by imgraft.\nnet/ipv6/conf/br.2/accept_ra = 0\n");
}

/// What wicked leaves a device alone for, or reads as something else: each was tried on it.
#[test]
fn what_wicked_would_refuse_is_refused() {
    let bond = |parameters: &str| {
        format!(
            "ethernets: {{eth0: {{}}}}, bonds: {{bond0: {{interfaces: [eth0], dhcp4: true, parameters: {{{parameters}}}}}}}"
        )
    };
    let named = |name: &str| format!("ethernets: {{{name}: {{dhcp4: true}}}}");
    let ports = |number: usize| {
        let all: Vec<String> = (0..number).map(|number| format!("port{number:011}")).collect();
        format!("ethernets: {{{}: {{}}}}, bridges: {{br0: {{interfaces: [{}]}}}}", all.join(": {}, "), all.join(", "))
    };
    for (body, why) in [
        (bond("mode: 802.3ad"), ""),
        (bond("mode: 802.3ad, mii-monitor-interval: 0"), "a bond whose links are not looked at (a miimon of 0)"),
        (bond("up-delay: 99"), "an up delay of less than the 100 ms of its miimon"),
        (bond("mii-monitor-interval: 50, up-delay: 50, down-delay: 99"), ""),
        (bond("mii-monitor-interval: 50, down-delay: 49"), "a down delay of less than the 50 ms of its miimon"),
        (bond("mii-monitor-interval: 2147483648"), "a number of more than 2147483647 in a bond"),
        (bond("mode: balance-tlb, transmit-hash-policy: layer3+4"), "a hash policy in the mode balance-tlb"),
        (bond("mode: balance-xor, transmit-hash-policy: layer3+4"), ""),
        (bond("mode: balance-tlb, transmit-hash-policy: layer2"), ""),
        (bond("lacp-rate: fast"), "an LACP rate in the mode balance-rr"),
        (bond("lacp-rate: slow, ad-select: stable, min-links: 0"), ""),
        (bond("ad-select: count"), "an ad_select in the mode balance-rr"),
        (bond("min-links: 1"), "a least number of links in the mode balance-rr"),
        (bond("mode: 802.3ad, min-links: 1, lacp-rate: fast, ad-select: count"), ""),
        (bond("mode: balance-rr, primary: eth0"), "a primary member in the mode balance-rr"),
        (bond("mode: balance-alb, primary: eth0"), ""),
        (
            "bridges: {br0: {parameters: {stp: true, forward-delay: 1}}}".to_owned(),
            "a forward delay of 1 s with the spanning tree protocol",
        ),
        ("bridges: {br0: {parameters: {stp: false, forward-delay: 1}}}".to_owned(), ""),
        ("ethernets: {eth0: {addresses: [192.0.2.1/0]}}".to_owned(), "the prefix of 192.0.2.1/0"),
        (named("default"), "the name \"default\" of a device"),
        (named("eth0.bak"), "the name \"eth0.bak\" of a device"),
        (named("_x"), "the name \"_x\" of a device"),
        (named("a+b"), "the name \"a+b\" of a device"),
        (named("eth0.bake"), ""),
        (ports(31), ""),
        (ports(32), "a line of more than 510 bytes"),
    ] {
        let config = imgraft::net::read::document(&format!("{{version: 2, {body}}}")).unwrap();
        let said = render(&config, Renderer::Wicked).map_or_else(|error| error.what, |_| String::new());
        assert_eq!(said, why, "{body}");
    }
}

/// A link's variables and what cloud-init's writer for openSUSE has for them, where both say it: its words are of older days.
#[test]
fn it_is_what_cloud_init_writes() {
    let Some(library) = unpacked("cloud-init/usr/lib/python3/dist-packages/cloudinit") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/ifcfg.py");
    // It has no word for a device whose name is not known.
    let is_named = |case: &Case| case.config.links.iter().all(|link| link.device().is_some());
    let cases: Vec<_> = expressible().into_iter().filter(|(case, _)| is_named(case)).collect();
    let text = |case: &Case| {
        case.files(Renderer::CloudInit(Gateways::Keys))
            .or_else(|| case.files(Renderer::Netplan))
            .map(|mut files| files.remove(0).text)
    };
    let networks: Vec<_> = cases.iter().map(|(case, _)| ("opensuse", text(case).unwrap())).collect();
    let answers: Vec<BTreeMap<String, String>> = python(&script, library.parent().unwrap(), &networks);
    let mut compared = 0;
    for ((case, files), theirs) in cases.iter().zip(answers) {
        assert!(!theirs.contains_key("error"), "{}: {theirs:?}", case.name);
        for link in &case.config.links {
            let name = format!("ifcfg-{}", link.device().unwrap());
            let ours = files.iter().find(|file| file.path.ends_with(&format!("/{name}"))).unwrap();
            let theirs = ifcfg(theirs.get(&name).unwrap_or_else(|| panic!("{}: no {name} in {theirs:?}", case.name)));
            let ours = ifcfg(&ours.text);
            let is_port = case.config.master(&link.id).is_some_and(|master| matches!(master.kind, Kind::Bridge(..)));
            let mut keys = vec![
                "MTU",
                "BONDING_MASTER",
                "BONDING_SLAVE_0",
                "BONDING_SLAVE_1",
                "VLAN_ID",
                "BRIDGE_PORTS",
                "BRIDGE_STP",
            ];
            keys.push("BRIDGE_PRIORITY");
            // Ports are to it devices with DHCP, SLAAC is DHCP for IPv6, and version 2 has no word for stateless DHCP.
            if !is_port && !matches!(link.auto6, Auto6::Slaac | Auto6::Stateless) {
                keys.extend(["BOOTPROTO", "DHCLIENT6_MODE"]);
            }
            if !is_port && !link.optional {
                keys.push("STARTMODE");
            }
            // It has a VLAN's name for that of its device.
            if matches!(&link.kind, Kind::Vlan(parent, tag) if link.id == format!("{parent}.{tag}")) {
                keys.push("ETHERDEVICE");
            }
            for key in keys {
                let (ours, theirs) = (
                    ours.get(key).map(|value| value.to_lowercase()),
                    theirs.get(key).map(|value| value.to_lowercase()),
                );
                // What is off anyway it does not say.
                let is_unsaid = matches!(key, "BRIDGE_STP" | "BRIDGE_PORTS") && theirs.is_none();
                assert!(ours == theirs || is_unsaid, "{}: {key} of {name}: {ours:?} {theirs:?}", case.name);
            }
            // Of each version the addresses one by one, in keys of other names.
            let values = |files: &BTreeMap<String, String>| -> BTreeSet<String> {
                let of = |(key, value): (&String, &String)| {
                    let address = value.split('/').next().unwrap_or_default().to_owned();
                    key.starts_with("IPADDR").then_some(address)
                };
                files.iter().filter_map(of).collect()
            };
            assert_eq!(values(&ours), values(&theirs), "{}: {name}", case.name);
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared}");
}

/// Which wicked was asked.
const VERSION: &str = "0.6.80";

/// What wicked's `show-config` said of a case when it was last asked, and the files that it was asked about.
fn asked(case: &Case, files: &[NetFile]) -> String {
    let record = directory().join("wicked").join(format!("{}.xml", case.name));
    let texts: String = files.iter().map(|file| format!("{}\n{}", file.path, file.text)).collect();
    let hash: String = Sha256::digest(texts.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!("<!-- wicked {VERSION}, of files with the SHA-256 {hash} -->\n");
    if let Some(program) = std::env::var_os("IMGRAFT_WICKED") {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), files);
        for name in ["config", "dhcp"] {
            std::fs::write(root.path().join("etc/sysconfig/network").join(name), "").unwrap();
        }
        let mut command = Command::new(program);
        command.args(["--log-target", "stderr", "--root-directory"]).arg(root.path());
        let output = command.args(["show-config", "--ifconfig", "compat:suse:"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap().replace(root.path().to_str().unwrap(), "");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && errors.is_empty(), "{}: {errors}", case.name);
        std::fs::create_dir_all(record.parent().unwrap()).unwrap();
        std::fs::write(&record, format!("{head}<config>\n{said}</config>\n")).unwrap();
    }
    let text = std::fs::read_to_string(&record).unwrap_or_default();
    assert!(text.starts_with(&head), "{}: wicked was asked about other files: see testdata/INDEX.md", record.display());
    text
}

/// wicked reads of every file what it was to say, and nothing that it complains about.
#[test]
fn wicked_reads_it() {
    let cases = expressible();
    let texts: Vec<String> = cases.iter().map(|(case, files)| asked(case, files)).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/wicked.py");
    let answers: Vec<BTreeMap<String, BTreeSet<String>>> = python(&script, Path::new("/"), &texts);
    let mut read = 0;
    for ((case, _), theirs) in cases.iter().zip(answers) {
        let ours: BTreeMap<_, _> =
            case.config.links.iter().map(|link| (name(link).to_owned(), facts(case, link))).collect();
        assert_eq!(ours, theirs, "{}", case.name);
        read += ours.len();
    }
    assert!(read > 20, "{read}");
}

fn name(link: &Link) -> &str {
    link.device().unwrap_or(&link.id)
}

/// What wicked is to know of a link.
fn facts(case: &Case, link: &Link) -> BTreeSet<String> {
    let config = &case.config;
    let mut facts = BTreeSet::new();
    let mut put = |fact: String| _ = facts.insert(fact);
    let device = |id: &String| name(config.link(id).unwrap());
    let master = config.master(&link.id);
    if let Some(master) = master {
        put(format!("in {}", master.id));
    }
    let is_hardware = matches!(link.kind, Kind::Hardware(_));
    put(if link.optional || (master.is_some() && is_hardware) { "hotplug" } else { "boot" }.to_owned());
    if let Some(mtu) = link.mtu {
        put(format!("mtu {mtu}"));
    }
    if let Some(mac) = link.mac {
        put(format!("address {mac}"));
    }
    match &link.kind {
        Kind::Hardware(_) => {}
        Kind::Bond(_, bond) => {
            put(format!("mode {}", bond.mode.unwrap_or("balance-rr").replace("802.3ad", "ieee802-3ad")));
            put(format!("miimon {}", bond.miimon.unwrap_or(100)));
            for (word, value) in [
                ("updelay", bond.up_delay.map(|delay| delay.to_string())),
                ("downdelay", bond.down_delay.map(|delay| delay.to_string())),
                ("primary", bond.primary.as_ref().map(|primary| device(primary).to_owned())),
                ("rate", bond.lacp_rate.map(str::to_owned)),
                ("select", bond.ad_select.map(str::to_owned)),
                ("policy", bond.xmit_hash_policy.map(|policy| policy.replace('+', ""))),
                ("least", bond.min_links.map(|links| links.to_string())),
            ] {
                value.into_iter().for_each(|value| put(format!("{word} {value}")));
            }
        }
        Kind::Bridge(ports, bridge) => {
            put(format!("stp {}", bridge.stp.unwrap_or(false)));
            if ports.is_empty() {
                put("needs no carrier".to_owned());
            }
            let seconds = |seconds: u32| format!("{seconds}.00");
            for (key, value) in [
                ("priority", bridge.priority.map(|priority| priority.to_string())),
                ("forward-delay", bridge.forward_delay.map(seconds)),
                ("hello-time", bridge.hello_time.map(seconds)),
                ("max-age", bridge.max_age.map(seconds)),
                ("aging-time", bridge.ageing_time.map(seconds)),
            ] {
                value.into_iter().for_each(|value| put(format!("{key} {value}")));
            }
        }
        Kind::Vlan(parent, tag) => put(format!("vlan {tag} over {}", device(parent))),
    }
    for address in &link.addresses {
        put(format!("address {address}"));
    }
    for route in &link.routes {
        let via = route.via.map_or_else(String::new, |via| format!(" via {via}"));
        let metric = route.metric.map_or_else(String::new, |metric| format!(" metric {metric}"));
        // It is there for itself where no network has it.
        if let Some(router) = route.via.filter(|via| route.on_link && !link.reaches(*via)) {
            put(format!("route {}", Cidr::host(router)));
        }
        put(format!("route {}{via}{metric}", route.to));
    }
    if link.dhcp4 {
        put("dhcp4".to_owned());
    }
    match link.auto6 {
        Auto6::Unsaid => {}
        Auto6::Off => put("accept-ra 0".to_owned()),
        Auto6::Slaac => put("auto6".to_owned()),
        Auto6::Stateless => put("dhcp6 info".to_owned()),
        Auto6::Dhcp => put("dhcp6 managed".to_owned()),
    }
    facts
}
