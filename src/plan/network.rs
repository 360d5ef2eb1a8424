//! From the options and the instance document to the network that goes into the guest.

use super::faults::Faults;
use super::items::read;
use crate::cli::{self, NetworkRenderer};
use crate::config_drive::DocumentError;
use crate::failure::Failure;
use crate::guest::NetworkStack;
use crate::inject::{Choice, Compat, Described, Net, Spelling};
use crate::net::Cidr;
use crate::net::netplan::{self, Lines};
use crate::net::read::{self, Kind, flags::Flags, flags::is_device};
use std::net::IpAddr;
use std::path::Path;

/// The network that was asked for, `None` where none was. `instance` is that of an instance document.
pub(super) fn network(
    typed: &cli::Network,
    instance: Option<Described>,
    compat: Compat,
) -> Result<Option<Net>, Failure> {
    let flags = flags(typed)?;
    let described = match (typed.network.as_ref().and_then(Option::as_ref), instance, flags) {
        (Some(path), None, None) => Some(described(path, compat)?),
        (None, Some(described), None) => Some(described),
        (None, None, Some(flags)) => {
            let wrong = |error| {
                let failure = Failure::usage(format!("the network: {error}"));
                let has_address = !flags.addresses.is_empty() || flags.dhcp;
                if has_address { failure } else { failure.with_hint("--ip 192.0.2.10/24, say, or --dhcp") }
            };
            Some(Described::Config(read::flags::config(&flags).map_err(wrong)?))
        }
        (None, None, None) => None,
        (Some(_), Some(_), _) => {
            return Err(Failure::usage("--network: the instance document says what the network is")
                .with_hint("leave --network out, or network_info in the document"));
        }
        (_, _, Some(_)) => {
            return Err(Failure::usage(
                "--ip, --dns, --dhcp and --nic: the instance document says what the network is",
            )
            .with_hint("leave them out, or network_info in the document"));
        }
    };
    chosen(typed.network_renderer, described, compat)
}

/// The network, for the program that was asked for.
pub(super) fn chosen(
    renderer: Option<NetworkRenderer>,
    described: Option<Described>,
    compat: Compat,
) -> Result<Option<Net>, Failure> {
    let renderer = renderer.map(choice);
    match described {
        Some(network) => Ok(Some(Net { network, renderer, compat })),
        None if renderer.is_some() => Err(Failure::usage("--network-renderer: there is no network to be put in")
            .with_hint("--network FILE, --ip ADDRESS/PREFIX or --dhcp describes one")),
        None => Ok(None),
    }
}

fn choice(name: NetworkRenderer) -> Choice {
    match name {
        NetworkRenderer::Ifupdown => Choice::Stack(NetworkStack::Ifupdown),
        NetworkRenderer::Netplan => Choice::Stack(NetworkStack::Netplan),
        NetworkRenderer::Networkd => Choice::Stack(NetworkStack::Networkd),
        NetworkRenderer::NetworkManager => Choice::Stack(NetworkStack::NetworkManager),
        NetworkRenderer::Ifcfg => Choice::Stack(NetworkStack::Ifcfg),
        NetworkRenderer::Wicked => Choice::Stack(NetworkStack::Wicked),
        NetworkRenderer::CloudInit => Choice::CloudInit,
    }
}

/// What is in a file: a text for a guest, or a description of a network.
fn described(path: &Path, compat: Compat) -> Result<Described, Failure> {
    let bytes = read("--network", path)?;
    // Nova injects anything.
    let described = text(&format!("--network: {}", path.display()), &bytes, Lines::Told);
    let is_novas = |text: &[u8]| read::kind(&String::from_utf8_lossy(text)).is_none_or(|kind| kind == Kind::Netplan);
    match described {
        Err(_) if compat == Compat::Nova && is_novas(&bytes) => Ok(Described::Text(bytes)),
        // The text is not the one that was given.
        Ok(Described::Either { config, .. }) if compat == Compat::Nova && !is_novas(&bytes) => config
            .map(Described::Config)
            .map_err(|error| Failure::usage(format!("--network: {}: {error}", path.display()))),
        described => described,
    }
}

/// What a text is; `place` is where it is, for errors.
pub(super) fn text(place: &str, bytes: &[u8], lines: Lines) -> Result<Described, Failure> {
    let failed = |what: &str, error: &DocumentError| {
        let failure = Failure::usage(format!("{place}: {what}: {error}"));
        error.hint().into_iter().fold(failure, |failure, hint| failure.with_hint(hint))
    };
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let as_it_stands = || Ok(Described::Text(bytes.to_vec()));
    let kind = match Spelling::detect(text) {
        // Whatever else it may be read as.
        Some(Spelling(stack)) if stack != NetworkStack::Netplan => return as_it_stands(),
        Some(_) => read::kind(text).or(Some(Kind::Netplan)),
        None if is_structured(text) => {
            read::check(text).map_err(|error| failed("a description", &error)).map(|()| read::kind(text))?
        }
        None => read::kind(text),
    };
    let Some(kind) = kind else { return as_it_stands() };
    match kind {
        // A guest with netplan can have it as it stands, whatever we know of it; if netplan can read it. The key around it makes
        // no other document of it.
        Kind::V2 | Kind::Netplan => {
            let failed = |error: DocumentError| failed(kind.name(), &error);
            let newest = netplan::check(text, lines).map_err(failed)?;
            let config = read::document(text).map_err(netplan::only);
            let text = if kind == Kind::V2 { netplan::with_outer_key(text).map_err(failed)? } else { text.to_owned() };
            Ok(Described::Either { config, newest, text: text.into_bytes() })
        }
        _ => Ok(Described::Config(read::document(text).map_err(|error| failed(kind.name(), &error))?)),
    }
}

/// Whether a text is meant to be YAML or JSON: it begins as an object, or has the keys that descriptions begin with.
fn is_structured(text: &str) -> bool {
    let begins = |line: &str| ["version:", "ethernets:", "config:", "links:"].iter().any(|key| line.starts_with(key));
    text.trim_start().starts_with('{') || text.lines().any(begins)
}

fn flags(typed: &cli::Network) -> Result<Option<Flags>, Failure> {
    let cli::Network { ip, gateway, dns, dhcp, nic, .. } = typed;
    if ip.is_empty() && gateway.is_empty() && dns.is_empty() && !dhcp && nic.is_none() {
        return Ok(None);
    }
    let mut faults = Faults::default();
    let device = nic.as_deref().and_then(|typed| faults.keep("--nic", device(typed)));
    let flags = Flags {
        device,
        addresses: faults.each("--ip", ip, |typed| {
            Cidr::parse(typed).ok_or_else(|| {
                Failure::usage(format!("--ip {typed}: not ADDRESS/PREFIX")).with_hint("--ip 192.0.2.10/24, say")
            })
        }),
        gateways: faults.each("--gateway", gateway, |typed| address("--gateway", typed)),
        servers: faults.each("--dns", dns, |typed| address("--dns", typed)),
        dhcp: *dhcp,
    };
    if let (Some(gateway), true) = (gateway.first(), ip.is_empty()) {
        let failure = Failure::usage(format!("--gateway {gateway}: it goes with an address of --ip"));
        let hint = "--ip 192.0.2.10/24, say, beside it; with --dhcp the router is the one that the server names";
        faults.tell("--gateway[0]", failure.with_hint(hint));
    }
    for (number, gateway) in flags.gateways.iter().enumerate() {
        let is_other = |other: &&IpAddr| other.is_ipv4() == gateway.is_ipv4();
        if let Some(first) = flags.gateways.iter().take(number).find(is_other) {
            let failure =
                Failure::usage(format!("--gateway {gateway}: beside --gateway {first}, of the same version of IP"));
            let hint = "give one of each version; a description has several, with metrics (--network FILE)";
            faults.tell(&format!("--gateway[{number}]"), failure.with_hint(hint));
        }
    }
    if faults.is_empty() {
        for (number, gateway) in flags.gateways.iter().enumerate() {
            if let Some(why) = read::flags::no_router(&flags, *gateway) {
                let failure = Failure::usage(format!("--gateway {gateway}: {why}"));
                let host = if gateway.is_ipv4() { "192.0.2.10/32" } else { "2001:db8::10/128" };
                let hint = format!(
                    "--ip {host}, say, an address that is its own network, has its router on the link; so has on-link: true of a \
                     description"
                );
                faults.tell(&format!("--gateway[{number}]"), failure.with_hint(hint));
            }
        }
    }
    faults.together(|_, failure| failure).map_or(Ok(Some(flags)), Err)
}

fn device(typed: &str) -> Result<String, Failure> {
    match typed {
        "lo" => Err(Failure::usage("--nic lo: the loopback device is the guest's own")
            .with_hint("name another device; without --nic it is whichever Ethernet device there is")),
        typed if is_device(typed) => Ok(typed.to_owned()),
        typed => {
            let why = "neither a name of a device (1 to 15 letters, digits and any of . _ - + @), a pattern of names nor a MAC address";
            Err(Failure::usage(format!("--nic {typed:?}: {why}"))
                .with_hint("--nic eth0, say, or the MAC address: 52:54:00:12:34:56"))
        }
    }
}

fn address(option: &str, typed: &str) -> Result<IpAddr, Failure> {
    typed.parse().map_err(|_| {
        Failure::usage(format!("{option} {typed}: not an address of IPv4 or IPv6"))
            .with_hint(format!("{option} 192.0.2.1, say"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_descriptions() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            described(file.path(), Compat::Imgraft)
        };
        for text in [
            "auto lo\niface lo inet loopback\n",
            "[Match]\nName=e*\n\n[Network]\nDHCP=yes\n",
            "[connection]\nid=a\ntype=ethernet\n",
            "DEVICE=eth0\nBOOTPROTO=dhcp\n",
            "[Match]\n",
            "hello\n",
            "",
        ] {
            assert!(matches!(read(text), Ok(Described::Text(kept)) if kept == text.as_bytes()), "{text}");
        }
        for text in ["network:\n  version: 2\n  ethernets: {a: {}}\n", "{\"network\": {\"ethernets\": {}}}"] {
            assert!(
                matches!(read(text), Ok(Described::Either { text: kept, .. }) if kept == text.as_bytes()),
                "{text}"
            );
        }
        for text in [
            "network: {version: 1, config: [{type: physical, name: a}]}\n",
            "{\"links\": [{\"id\": \"a\", \"type\": \"phy\", \"ethernet_mac_address\": \"52:54:00:12:34:56\"}]}",
            "[{\"address\": \"52:54:00:12:34:56\", \"network\": {\"subnets\": [{\"cidr\": \"10.0.0.0/8\"}]}}]",
        ] {
            assert!(matches!(read(text), Ok(Described::Config(_))), "{text}");
        }
        for text in ["version: 2\nethernets: 1\n", "{\"links\": 1}", "[]"] {
            assert!(read(text).is_err(), "{text}");
        }
        let nova = described(file.path(), Compat::Nova);
        assert!(nova.is_err());
        std::fs::write(file.path(), "version: 2\nethernets: {a: {}}\n").unwrap();
        assert!(matches!(described(file.path(), Compat::Nova), Ok(Described::Config(_))));
    }

    /// cloud-init takes version 2 with netplan's outer key and without it; so does whoever reads it here, with the same answers.
    #[test]
    fn an_outer_key_makes_no_difference() {
        for (inner, said) in [
            ("ethernets: {a: {dhcp4: true}}", ""),
            (
                "ethernets: {a: {dhcp4: true, dhcp4-overrides: {use-dns: no}, wakeonlan: yes}}",
                "ethernets.a.dhcp4-overrides: netplan has",
            ),
            ("renderer: networkd", "which program configures the network"),
            ("wifis: {w: {access-points: {a: {}}}}", "wifis: netplan has this"),
            ("ethernets: {a: {hairpin: true}}", "hairpin: netplan has"),
            ("tunnels: {t: {mode: sit, remote: 192.0.2.2}}", "tunnels: netplan has"),
            ("ethernets: {}", "it has no links"),
        ] {
            let read = |text: &str| match super::text("FILE", text.as_bytes(), Lines::Told) {
                Ok(Described::Either { text, config, newest }) => (text, config, newest),
                other => panic!("{inner}: {other:?}"),
            };
            let outer = format!("network:\n  version: 2\n  {inner}\n");
            let (text, config, newest) = read(&format!("version: 2\n{inner}\n"));
            let (outer_text, outer_config, outer_newest) = read(&outer);
            assert_eq!((text, outer_text), (outer.clone().into_bytes(), outer.into_bytes()));
            let config = config.map_err(|error| (error.to_string(), error.hint().map(str::to_owned)));
            assert_eq!(config, outer_config.map_err(|error| (error.to_string(), error.hint().map(str::to_owned))));
            assert_eq!(newest.map(|newest| format!("network.{newest}")), outer_newest.map(|newest| newest.to_string()));
            assert!(config.map_or_else(|(error, _)| error.contains(said), |_| said.is_empty()), "{inner}");
        }
        for (inner, said) in [
            ("ethernets: {a: {dhcp4: 1}}", "ethernets.a.dhcp4: expected true or false (line 2, column "),
            ("etherents: {}", "etherents: netplan has no such key here (line 2"),
            ("vlans: {v: {id: 1}}", "vlans.v: it has no link (line 2"),
        ] {
            let refused = |text: &str| super::text("FILE", text.as_bytes(), Lines::Told).unwrap_err().message;
            let message = refused(&format!("version: 2\n{inner}\n"));
            assert!(message.starts_with(&format!("FILE: network-config version 2: {said}")), "{message}");
            let message = refused(&format!("network:\n  version: 2\n  {inner}\n"));
            let said = said.replace("line 2", "line 3");
            assert!(message.starts_with(&format!("FILE: netplan: network.{said}")), "{message}");
        }
    }

    /// What is wrong in each of the options, all at once.
    #[test]
    fn what_is_wrong_names_its_option() {
        let typed = |nic: &str, gateway: &[&str]| cli::Network {
            ip: vec!["192.0.2.10/24".to_owned()],
            gateway: gateway.iter().map(|text| (*text).to_owned()).collect(),
            nic: Some(nic.to_owned()),
            ..cli::Network::default()
        };
        for nic in ["eth0", "e*", "52:54:00:12:34:56", "en?p0"] {
            assert!(network(&typed(nic, &["192.0.2.1"]), None, Compat::Imgraft).is_ok(), "{nic}");
        }
        for nic in ["", "e th", "zz:zz", "abcdefghijklmnopq", "lo", "01:00:5e:00:00:01", ".x"] {
            let failure = network(&typed(nic, &["192.0.2.1", "x", "192.0.2.2"]), None, Compat::Imgraft).unwrap_err();
            let said = failure.render();
            assert!(said.contains("--nic ") && said.contains("--gateway x: not an address"), "{nic}: {said}");
            assert!(said.contains("--gateway 192.0.2.2: beside --gateway 192.0.2.1"), "{nic}: {said}");
            assert!(!said.contains("the link"), "{nic}: {said}");
        }
        for (ip, gateway, said) in [
            ("192.0.2.10/24", "192.0.3.1", "in none of the networks of 192.0.2.10/24\n"),
            ("192.0.2.10/24", "192.0.2.255", "no router can have it"),
            ("2001:db8::10/64", "2001:db8::10", "no router can have it"),
            ("2001:db8::10/64", "192.0.2.1", "there is no address of IPv4 beside it"),
            ("2001:db8::10/64", "2001:db8:1::1", "in none of the networks of 2001:db8::10/64\n"),
        ] {
            let typed = cli::Network { ip: vec![ip.to_owned()], ..typed("eth0", &[gateway]) };
            let failure = network(&typed, None, Compat::Imgraft).unwrap_err().render();
            assert!(failure.starts_with(&format!("imgraft: --gateway {gateway}: {said}")), "{failure}");
            assert!(failure.contains("--ip ") && !failure.contains("the link \""), "{failure}");
        }
        for (ip, gateway) in [("192.0.2.10/32", "192.0.3.1"), ("2001:db8::10/64", "fe80::1")] {
            let typed = cli::Network { ip: vec![ip.to_owned()], ..typed("eth0", &[gateway]) };
            assert!(network(&typed, None, Compat::Imgraft).is_ok(), "{ip} {gateway}");
        }
    }

    #[test]
    fn what_netplan_would_refuse() {
        let refused = |text: &str| super::text("FILE", text.as_bytes(), Lines::Told).unwrap_err().message;
        for (text, said) in [
            ("network:\n\tversion: 2\n", "FILE: netplan: not YAML: "),
            ("network:\n  version: 2\n  version: 2\n", "line 3"),
            (
                "network:\n  ethernets:\n    eth0:\n      dhcp: true\n",
                "FILE: netplan: network.ethernets.eth0.dhcp: netplan has no such key here (line 4, column 7)",
            ),
            (
                "network:\n  ethernets:\n    eth0: {dhcp4: 1}\n",
                "eth0.dhcp4: expected true or false (line 3, column 19)",
            ),
            ("network:\n", "network: expected an object; is it indented? (line 1, column 8)"),
            (
                "'network': {renderer: x}",
                "network.renderer: expected one of networkd, NetworkManager (line 1, column 23)",
            ),
            // What is no description of netplan's, and no YAML.
            ("version: 2\nethernets:\n\teth0: {}\n", "FILE: a description: not YAML: "),
            ("{\"links\": [}", "line 1 column 12"),
        ] {
            let message = refused(text);
            assert!(message.contains(said), "{message}");
        }
        let made = super::text("config", b"network: {ethernets: {eth0: {mtu: x}}}", Lines::Untold).unwrap_err().message;
        assert_eq!(made, "config: netplan: network.ethernets.eth0.mtu: expected a whole number");
        // Nova injects anything into everything.
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["network:\n\tversion: 2\n", "network: 1\n", "{\"a"] {
            std::fs::write(file.path(), text).unwrap();
            assert!(matches!(described(file.path(), Compat::Nova), Ok(Described::Text(_))), "{text}");
        }
    }

    #[test]
    fn what_netplan_has_alone() {
        for (text, said) in [
            ("network: {wifis: {w: {access-points: {a: {}}}}}", "wifis: netplan has this, and imgraft"),
            ("network: {ethernets: {e: {wakeonlan: true}}}", "ethernets.e.wakeonlan: netplan has this"),
            ("network: {ethernets: {e: {routes: [{to: 10.0.0.0/8, table: 5}]}}}", "routes[0].table: netplan has this"),
        ] {
            let Ok(Described::Either { config: Err(error), newest: None, .. }) =
                super::text("FILE", text.as_bytes(), Lines::Told)
            else {
                panic!("{text}");
            };
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }
}
