//! What Alpine's ifupdown makes of what it gets.

use crate::cases::{Case, cases};
use crate::ifupdown::{DEFAULTS, METRICS};
use crate::oracle::{put, skip, unpacked};
use imgraft::net::config::{Auto6, Kind, Link};
use imgraft::net::read;
use imgraft::net::render::{Ifup, Renderer};
use std::path::Path;
use std::process::Command;

/// ifupdown-ng itself, in namespaces of its own: every device has what it was to have, and those that a kernel may not have are made by
/// the right command.
#[test]
fn ifupdown_ng_does_it() {
    let Some(_) = unpacked("ifupdown-ng/sbin/ifup") else { return };
    let unpacked = unpacked("ifupdown-ng").unwrap();
    if !nix::unistd::geteuid().is_root() {
        return skip("ifupdown-ng needs root");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/ifupdown-ng.sh");
    let mut tried = 0;
    let more = [("defaults", DEFAULTS), ("metrics", METRICS)];
    let more = more.map(|(name, text)| Case { name: name.to_owned(), config: read::document(text).unwrap() });
    for case in cases().into_iter().chain(more) {
        let Some(files) = case.files(Renderer::Ifupdown(Ifup::ByName)) else { continue };
        let scratch = tempfile::tempdir().unwrap();
        put(scratch.path(), &files);
        let output = Command::new("unshare")
            .args(["--net", "--mount", "--fork", "--kill-child", "bash"])
            .arg(&script)
            .args([&unpacked, scratch.path()])
            .output()
            .unwrap();
        let state = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {state}\n{log}", case.name);
        // Every word of a command has a space behind it.
        let commands = log.replace('\n', " \n");
        let name = |id: &String| case.config.link(id).and_then(Link::device).unwrap();
        for link in &case.config.links {
            let device = link.device().unwrap();
            let has = |text: &str, fact: &str| {
                assert!(text.contains(fact), "{}: {device}: no {fact} in\n{state}\n{log}", case.name);
            };
            // The lines of `ip address` that are about it.
            let start = format!(": {device}");
            let own = state.split("\n").skip_while(|line| {
                line.split_once(&start).is_none_or(|(number, rest)| {
                    !number.bytes().all(|byte| byte.is_ascii_digit()) || !rest.starts_with([':', '@'])
                })
            });
            let own: Vec<_> = own
                .enumerate()
                .take_while(|(number, line)| *number == 0 || line.starts_with(' '))
                .map(|(_, line)| line)
                .collect();
            let own = own.join("\n");
            if let Some(mtu) = link.mtu {
                has(&own, &format!("mtu {mtu} "));
            }
            if let Some(mac) = link.mac {
                has(&own, &format!("link/ether {mac}"));
            }
            for address in &link.addresses {
                has(&own, &format!(" {address} "));
            }
            for route in &link.routes {
                let to = if route.is_default() { "default".to_owned() } else { route.to.to_string() };
                has(&state, &format!("{to} via {} dev {device}", route.via.unwrap()));
            }
            if link.dhcp4 {
                has(&log, &format!("DHCP for {device}\n"));
            }
            match link.auto6 {
                Auto6::Off => has(&state, &format!("/{device}/accept_ra:0\n")),
                Auto6::Slaac => has(&state, &format!("/{device}/accept_ra:1\n")),
                _ => {}
            }
            match &link.kind {
                Kind::Hardware(_) => {}
                Kind::Bond(members, bond) => {
                    has(&log, &format!("ip link add {device} type bond "));
                    has(&commands, &format!(" mode {} ", bond.mode.unwrap()));
                    members.iter().for_each(|id| has(&log, &format!("ip link set master {device} {}\n", name(id))));
                    if let Some(primary) = &bond.primary {
                        has(&commands, &format!(" primary {} ", name(primary)));
                    }
                }
                Kind::Bridge(ports, bridge) => {
                    has(
                        &log,
                        &format!("ip link set dev {device} type bridge stp {}\n", u8::from(bridge.stp == Some(true))),
                    );
                    ports.iter().for_each(|id| has(&log, &format!("ip link set dev {} master {device}\n", name(id))));
                    for (option, value) in [("priority", bridge.priority), ("forward_delay", bridge.forward_delay)] {
                        if let Some(value) = value {
                            has(&log, &format!("ip link set dev {device} type bridge {option} {value}\n"));
                        }
                    }
                }
                Kind::Vlan(parent, tag) => {
                    has(&log, &format!("ip link add link {} name {device} type vlan id {tag}\n", name(parent)));
                }
            }
        }
        tried += 1;
    }
    assert!(tried > 4, "{tried}");
}
