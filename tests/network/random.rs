//! Networks that nobody thought of: made by chance, the same ones in each run, and compared with what the programs make of them.

use crate::cases::{Case, RENDERERS};
use crate::cloud_init::{State, library, state};
use crate::ifupdown::brought_up;
use crate::oracle::{python, unpacked};
use crate::oracles::told_the_same;
use imgraft::net::Cidr;
use imgraft::net::config::{Auto6, BOND_MODES, Bond, Bridge, Config, Dns, Hardware, Kind, Link, Mac, Route};
use imgraft::net::read;
use imgraft::net::render::{Gateways, Renderer, network_config, render};
use serde_json::json;
use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

/// Marsaglia's xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// So many networks that make sense.
fn networks(number: usize, seed: u64) -> Vec<Case> {
    let mut chance = Chance(seed);
    let made = std::iter::repeat_with(|| network(&mut chance)).take(number.saturating_mul(4));
    let sound = made.filter(|config| config.check().is_ok()).take(number);
    let cases = sound.enumerate().map(|(number, config)| Case { name: format!("random {number}"), config });
    let cases: Vec<_> = cases.collect();
    assert_eq!(cases.len(), number, "most of them make sense");
    cases
}

fn network(chance: &mut Chance) -> Config {
    let hardware = 1 + chance.below(3);
    let mut links: Vec<Link> = (0..hardware).map(|number| device(number, chance)).collect();
    let mut free: Vec<String> = links.iter().map(|link| link.id.clone()).collect();
    if free.len() > 1 && chance.one_in(4) {
        let mode = chance.of(&BOND_MODES);
        let primary = (mode == "active-backup" && chance.one_in(2)).then(|| free[0].clone());
        let bond = Bond { mode: Some(mode), miimon: Some(100), primary, ..Bond::default() };
        links.push(Link::new("bond0", Kind::Bond(std::mem::take(&mut free), bond)));
        free.push("bond0".to_owned());
    }
    if chance.one_in(4) {
        let port = free.remove(0);
        let bridge = Bridge { stp: chance.of(&[None, Some(true), Some(false)]), ..Bridge::default() };
        links.push(Link::new("br0", Kind::Bridge(vec![port], bridge)));
        free.push("br0".to_owned());
    }
    if chance.one_in(3) {
        let parent = chance.of(&free);
        let tag = chance.of(&[1, 20, 4094]);
        let name = chance.of(&[format!("vlan{tag}"), format!("v.{tag}")]);
        links.push(Link::new(name.clone(), Kind::Vlan(parent, tag)));
        free.push(name);
    }
    for (number, link) in links.iter_mut().enumerate() {
        if chance.one_in(4) {
            link.mtu = Some(chance.of(&[1280, 1400, 9000]));
        }
        link.optional = chance.one_in(12);
        if chance.one_in(12) {
            link.mac = Mac::parse(&format!("52:54:00:00:99:0{number}"));
        }
        if free.contains(&link.id) {
            put_addresses(link, number, chance);
        }
    }
    // Of two default routes with one metric netplan complains, and of any two the kernel has one.
    let mut ranges = HashSet::new();
    for link in &mut links {
        link.routes.retain(|route| ranges.insert((route.to.to_string(), route.metric)));
    }
    Config { links }
}

fn device(number: usize, chance: &mut Chance) -> Link {
    let name = format!("eth{number}");
    // Those that tests/network/devices.sh makes.
    let mac = Mac::parse(&format!("52:54:00:12:34:5{}", 6 + number)).unwrap();
    match chance.below(6) {
        0 => Link::new(format!("id{number}"), Kind::Hardware(Hardware::with_mac(mac))),
        1 => {
            let hardware = Hardware { rename: Some(name), ..Hardware::with_mac(mac) };
            Link::new(format!("id{number}"), Kind::Hardware(hardware))
        }
        2 => Link::new(name.clone(), Kind::Hardware(Hardware { name: Some(name), ..Hardware::with_mac(mac) })),
        _ => Link::new(name.clone(), Kind::Hardware(Hardware::named(name))),
    }
}

/// Of each link the networks are its own: 10.LINK.NUMBER.0 and 2001:db8:LINK:NUMBER::.
fn put_addresses(link: &mut Link, number: usize, chance: &mut Chance) {
    link.dhcp4 = chance.one_in(5);
    let ways = [Auto6::Unsaid, Auto6::Unsaid, Auto6::Unsaid, Auto6::Off, Auto6::Slaac, Auto6::Stateless, Auto6::Dhcp];
    link.auto6 = chance.of(&ways);
    for version in [4, 6] {
        let many = chance.below(4);
        for network in 0..many {
            let (text, prefixes) = match version {
                4 => (format!("10.{number}.{network}.9"), [24, 25, 32]),
                _ => (format!("2001:db8:{number}:{network}::9"), [64, 80, 128]),
            };
            link.addresses.push(Cidr::host(text.parse().unwrap()).with_prefix(chance.of(&prefixes)));
        }
        if many > 0 {
            put_routes(link, (version, number, many), chance);
        }
    }
    let servers = [("192.0.2.53", 4), ("192.0.2.54", 4), ("2001:db8::53", 6)];
    let is_asked = |version: u8| link.addresses(version).next().is_some();
    let servers: Vec<&str> =
        servers.iter().filter(|(_, version)| is_asked(*version)).map(|(server, _)| *server).collect();
    if !servers.is_empty() && chance.one_in(2) {
        let search =
            chance.of(&[vec![], vec!["example.net".to_owned()], vec!["a.example".to_owned(), "b.example".to_owned()]]);
        link.dns = Dns { servers: servers.iter().map(|server| server.parse().unwrap()).collect(), search };
    }
}

fn put_routes(link: &mut Link, (version, number, networks): (u8, usize, usize), chance: &mut Chance) {
    let ranges: [&str; 3] = if version == 4 {
        ["0.0.0.0/0", "172.16.0.0/12", "192.168.7.0/24"]
    } else {
        ["::/0", "2001:db8:ffff::/48", "fd00::/8"]
    };
    for range in ranges {
        if chance.one_in(2) {
            continue;
        }
        let network = chance.below(networks);
        let (near, far) = match version {
            4 => (format!("10.{number}.{network}.1"), "198.51.100.1"),
            _ => (chance.of(&[format!("2001:db8:{number}:{network}::1"), "fe80::1".to_owned()]), "2001:db8:eeee::1"),
        };
        let near: IpAddr = near.parse().unwrap();
        let is_far = chance.one_in(8);
        let is_held = link.addresses.iter().any(|address| address.holds(near)) || near.to_string().starts_with("fe80:");
        let via = if is_far { far.parse().unwrap() } else { near };
        let metric = chance.one_in(8).then_some(77);
        let to = Cidr::parse(range).unwrap();
        link.routes.push(Route { to, via: Some(via), metric, on_link: is_far || !is_held });
    }
}

/// What is said to cloud-init, whichever it is, arrives.
#[test]
fn cloud_init_hands_on_what_chance_makes() {
    let cases = networks(3000, 0x1234_5678_9abc_def1);
    for gateways in [Gateways::Keys, Gateways::Routes] {
        let Some(library) = library(gateways) else { return };
        let text = |config: &Config| Some(render(config, Renderer::CloudInit(gateways)).ok()?.remove(0).text);
        let drive = |config: &Config| Some(json!({ "network": network_config(config).ok()? }).to_string());
        let texts = cases.iter().flat_map(|case| {
            [text(&case.config), drive(&case.config)].into_iter().flatten().map(|text| (case.config.clone(), text))
        });
        let asked: Vec<(Config, String)> = texts.collect();
        assert!(asked.len() > 500, "{}", asked.len());
        let texts: Vec<_> = asked.iter().map(|(_, text)| text).collect();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/state.py");
        let answers: Vec<State> = python(&script, library.parent().unwrap(), &texts);
        for ((config, text), theirs) in asked.iter().zip(answers) {
            assert_eq!(state(config), theirs, "{gateways:?}: {text}");
        }
        let versions = asked.iter().filter(|(_, text)| text.contains(r#""version":1"#)).count();
        assert!(versions > 20, "{versions}");
    }
}

/// netplan takes what is written for it, and tells networkd the same as we do.
#[test]
fn netplan_and_networkd_are_told_what_chance_makes() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let compared: usize = networks(120, 0x0fed_cba9_8765_4321).iter().map(|case| told_the_same(case, &generate)).sum();
    assert!(compared > 200, "{compared}");
}

/// ifup gives devices the addresses and routes.
#[test]
fn ifup_does_what_chance_makes() {
    let Some(tried) = brought_up(networks(400, 0x5555_0123_aaaa_4567).into_iter()) else { return };
    assert!(tried > 10, "{tried}");
}

/// What netplan gets is read as what it was made of, and nothing is too odd for a renderer to say so.
#[test]
fn netplan_is_read_as_what_chance_made() {
    for mut case in networks(2000, 0x7777_1111_3333_5555) {
        for (_, renderer) in RENDERERS {
            let _ = case.files(renderer);
        }
        let files = case.files(Renderer::Netplan).unwrap();
        let mut read = read::document(&files[0].text).unwrap_or_else(|error| panic!("{}: {error}", files[0].text));
        read.links.sort_by(|a, b| a.id.cmp(&b.id));
        case.config.links.sort_by(|a, b| a.id.cmp(&b.id));
        for link in &mut case.config.links {
            if link.auto6 == Auto6::Stateless {
                link.auto6 = Auto6::Slaac;
            }
            if let Kind::Bridge(_, bridge) = &mut link.kind {
                bridge.stp.get_or_insert(false);
            }
        }
        assert_eq!(read, case.config, "{}", files[0].text);
    }
}
