//! What every description is by every renderer, byte for byte. `UPDATE_GOLDENS=1` writes them anew, to be read before they are
//! committed.

use crate::cases::{Case, RENDERERS, cases, directory};
use imgraft::net::render::render;
use std::fmt::Write as _;

#[test]
fn every_description_by_every_renderer() {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut wrong = Vec::new();
    let mut expected_files = 0;
    for case in cases() {
        for (name, renderer) in RENDERERS {
            let mut text = String::new();
            match render(&case.config, renderer) {
                Ok(files) => {
                    for file in files {
                        let _ = write!(text, "==> {} {:04o}\n{}", file.path, file.mode, file.text);
                    }
                }
                Err(error) => _ = writeln!(text, "error: {error}"),
            }
            let path = directory().join("goldens").join(&case.name).join(name);
            expected_files += 1;
            if update {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_default();
            if golden != text {
                wrong.push(format!("{}\n--- is\n{text}--- should be\n{golden}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let there = walk(&directory().join("goldens"));
    assert_eq!(there, expected_files, "a golden of nothing");
}

/// What no description of a kind can be by a renderer, and the reason in each error: a list of Nova's says which device it is by its MAC
/// address only (its `devname` is the host's), and these programs go by names only.
const BY_NATURE: [(&str, &str, &str); 1] =
    [("network_info.json", "ifupdown-by-name", "a device that is known by its MAC address only")];

/// Every kind of description has a golden of every renderer that is no error.
#[test]
fn every_kind_is_rendered_by_every_renderer() {
    let kinds = ["network_data.json", "network_info.json", "v1.yaml", "v2.yaml", "flags"];
    let cases = cases();
    for case in &cases {
        assert!(kinds.iter().any(|kind| is_of(case, kind)), "{}", case.name);
    }
    for kind in kinds {
        for (name, renderer) in RENDERERS {
            let all = cases.iter().filter(|case| is_of(case, kind)).map(|case| render(&case.config, renderer));
            let (good, bad): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
            match BY_NATURE.iter().find(|(of, by, _)| (*of, *by) == (kind, name)) {
                Some((.., why)) => {
                    assert!(good.is_empty(), "{kind} by {name} is possible");
                    assert!(
                        bad.into_iter().all(|error| error.unwrap_err().to_string().contains(why)),
                        "{kind} by {name}"
                    );
                }
                None => assert!(!good.is_empty(), "{kind} by {name}: {bad:?}"),
            }
        }
    }
}

fn is_of(case: &Case, kind: &str) -> bool {
    case.name.split_once('.').is_some_and(|(_, found)| found == kind)
}

fn walk(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

/// What a configuration is does not depend on which document it came from.
#[test]
fn documents_that_say_the_same_are_the_same() {
    let read = |text: &str| imgraft::net::read::document(text).unwrap();
    let v2 = read(
        r#"{"version": 2, "ethernets": {"eth0": {"match": {"macaddress": "52-54-00-12-34-56"}, "mtu": "1400",
            "addresses": ["192.0.2.10/24"], "gateway4": "192.0.2.1", "nameservers": {"addresses": ["192.0.2.53"]}}}}"#,
    );
    let info = read(
        r#"[{"address": "52:54:00:12:34:56", "network": {"meta": {"mtu": 1400}, "subnets": [{"cidr": "192.0.2.0/24",
            "gateway": {"address": "192.0.2.1"}, "ips": [{"address": "192.0.2.10"}], "dns": [{"address": "192.0.2.53"}]}]}}]"#,
    );
    let data = read(
        r#"{"links": [{"id": "eth0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56", "mtu": 1400}],
            "networks": [{"id": "x", "type": "ipv4", "link": "eth0", "ip_address": "192.0.2.10", "netmask": "255.255.255.0",
            "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]}],
            "services": [{"type": "dns", "address": "192.0.2.53"}]}"#,
    );
    assert_eq!(v2, info);
    assert_eq!(v2, data);
    let named = read("{version: 2, ethernets: {eth0: {dhcp4: true, dhcp6: yes}}}");
    let v1 = read("{version: 1, config: [{type: physical, name: eth0, subnets: [{type: dhcp}, {type: dhcp6}]}]}");
    assert_eq!(named, v1);
}

/// What netplan gets is a description too, and says what it was made of.
#[test]
fn netplan_is_read_as_it_was_written() {
    use imgraft::net::config::Auto6;
    use imgraft::net::render::Renderer;
    for mut case in cases() {
        let files = case.files(Renderer::Netplan).unwrap();
        let mut read =
            imgraft::net::read::document(&files[0].text).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        // netplan sorts by what links are, has no word for stateless DHCP, and is told what the kernel's default is.
        read.links.sort_by(|a, b| a.id.cmp(&b.id));
        case.config.links.sort_by(|a, b| a.id.cmp(&b.id));
        for link in &mut case.config.links {
            if link.auto6 == Auto6::Stateless {
                link.auto6 = Auto6::Slaac;
            }
            if let imgraft::net::config::Kind::Bridge(_, bridge) = &mut link.kind {
                bridge.stp.get_or_insert(false);
            }
        }
        assert_eq!(read, case.config, "{}", case.name);
    }
}
