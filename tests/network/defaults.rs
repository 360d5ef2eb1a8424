//! Several links with a default route: whether nothing says which one is taken, as netplan has it and as we do.

use crate::ifupdown::DEFAULTS;
use crate::oracle::{command, put, succeed, unpacked};
use imgraft::guest::{Guest, NetworkStack};
use imgraft::inject::{Choice, Compat, Described, Injector, Net};
use imgraft::net::read;
use imgraft::net::render::{Renderer, render};
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::stage::Stage;

fn two(first: &str, second: &str) -> String {
    format!(
        "{{version: 2, ethernets: {{eth0: {{addresses: [192.0.2.10/24, '2001:db8::10/64'], routes: [{first}]}}, eth1: {{addresses: \
         [198.51.100.10/24, '2001:db8:1::10/64'], routes: [{second}]}}}}}}"
    )
}

/// What no metric is has none, and DHCP beside one brings another.
#[test]
fn the_metric_that_none_is() {
    let (v4, other) = ("{to: default, via: 192.0.2.1}", "{to: default, via: 198.51.100.1}");
    let (v6, other6) = ("{to: '::/0', via: '2001:db8::1'}", "{to: '::/0', via: '2001:db8:1::1'}");
    let metric = |route: &str, metric: u32| route.replace('}', &format!(", metric: {metric}}}"));
    let notes = |text: &str, evidence: &str, stack| {
        let fs = MemFs::builder().file(evidence, "").build().unwrap();
        let guest = Guest::inspect(&fs).unwrap();
        let network = Described::Config(read::document(text).unwrap());
        let net = Net { network, renderer: Some(Choice::Stack(stack)), compat: Compat::Imgraft };
        let mut notes = net.stage(&guest, &mut Stage::new(&fs)).unwrap().notes;
        notes.retain(|note| note.contains("each has a default route"));
        notes.join("\n")
    };
    let (debians, other_ones) = ("/usr/lib/ifupdown/x", "/usr/libexec/ifupdown-ng/x");
    let none = "eth0, eth1: each has a default route of IPv4 without a metric, ";
    let said = notes(&two(v4, &metric(other, 0)), debians, NetworkStack::Ifupdown);
    assert!(said.starts_with(&format!("{none}of these that of eth1 is taken first")), "{said}");
    let said = notes(&two(&metric(v4, 0), other), debians, NetworkStack::Networkd);
    assert!(said.starts_with(&format!("{none}so that nothing says")), "{said}");
    assert_eq!(notes(&two(v4, &metric(other, 1)), debians, NetworkStack::Ifupdown), "");
    let said = notes(&two(v4, &metric(other, 1)), other_ones, NetworkStack::Ifupdown);
    assert!(said.starts_with(&format!("{none}of these that of eth1 is taken first")), "{said}");
    for given in [0, 1024] {
        let said = notes(&two(v6, &metric(other6, given)), debians, NetworkStack::Ifupdown);
        assert!(said.contains("IPv6 without a metric, of these that of eth1 is taken first"), "{said}");
    }
    let said = notes(&two(&metric(v6, 0), &metric(other6, 1024)), debians, NetworkStack::Ifupdown);
    assert!(said.contains("IPv6 without a metric, so that nothing says"), "{said}");
    let dhcp = "{version: 2, ethernets: {eth0: {dhcp4: true}, eth1: {addresses: [198.51.100.10/24], routes: [ROUTE]}}}";
    let said = notes(&dhcp.replace("ROUTE", other), debians, NetworkStack::Ifupdown);
    assert!(
        said.starts_with("eth1, eth0: each has a default route of IPv4 without a metric, eth0 by DHCP, so that"),
        "{said}"
    );
    for (text, stack) in [
        (dhcp.replace("ROUTE", &metric(other, 9)), NetworkStack::Ifupdown),
        (dhcp.replace("ROUTE", &format!("{other}, {}", metric(other, 9))), NetworkStack::Ifupdown),
        (dhcp.replace("ROUTE", other), NetworkStack::Networkd),
        (dhcp.replace("routes: [ROUTE]", "dhcp6: true"), NetworkStack::Ifupdown),
    ] {
        assert_eq!(notes(&text, debians, stack), "", "{text}");
    }
}

/// The notes about it of a run for each program, which have to be the same; but ifupdown gets metrics, and there it is said which one
/// is taken.
fn told(text: &str) -> Vec<String> {
    let fs = MemFs::builder().file("/usr/lib/ifupdown/x", "").build().unwrap();
    let guest = Guest::inspect(&fs).unwrap();
    let config = read::document(text).unwrap();
    let outer = text.replacen("{version: 2, ", "network: {version: 2, ", 1);
    let mut described: Vec<(Described, NetworkStack)> =
        NetworkStack::ALL.iter().map(|stack| (Described::Config(config.clone()), *stack)).collect();
    let as_it_is = Described::Either { text: outer.into(), config: Ok(config), newest: None };
    described.push((as_it_is, NetworkStack::Netplan));
    let mut told = described.into_iter().map(|(network, stack)| {
        let net = Net { network, renderer: Some(Choice::Stack(stack)), compat: Compat::Imgraft };
        let mut notes = net.stage(&guest, &mut Stage::new(&fs)).unwrap().notes;
        notes.retain(|note| {
            note.contains("of these that of eth0 is taken") || note.contains("nothing says which one is taken")
        });
        let is_ours = |note: &String| note.contains("without a metric") && stack == NetworkStack::Ifupdown;
        assert!(notes.iter().all(|note| is_ours(note) != note.contains("nothing says")), "{stack:?}: {notes:?}");
        let start = |note: String| note.split_once(", so that").or(note.split_once(", of these")).unwrap().0.to_owned();
        notes.into_iter().map(start).collect::<Vec<_>>()
    });
    let first = told.next().unwrap();
    assert!(told.all(|notes| notes == first), "{text}");
    first
}

#[test]
fn netplan_warns_of_the_same() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let (v4, other) = ("{to: default, via: 192.0.2.1}", "{to: default, via: 198.51.100.1}");
    let (v6, other6) = ("{to: '::/0', via: '2001:db8::1'}", "{to: '::/0', via: '2001:db8:1::1'}");
    let metric = |route: &str, metric: u32| route.replace('}', &format!(", metric: {metric}}}"));
    let eth = "eth0, eth1: each has a default route of ";
    for (text, expected) in [
        (two(v4, ""), &[][..]),
        (two(v4, other6), &[]),
        (two(v4, &other.replace("default", "10.0.0.0/8")), &[]),
        (two(v4, other), &["IPv4 without a metric"]),
        (two(v6, other6), &["IPv6 without a metric"]),
        (two(v4, &metric(other, 9)), &[]),
        (two(&metric(v4, 8), &metric(other, 9)), &[]),
        (two(&metric(v4, 9), &metric(other, 9)), &["IPv4 with the metric 9"]),
        (two(&format!("{v4}, {v6}"), &format!("{other}, {other6}")), &["IPv4 without", "IPv6 without"]),
        (two(&format!("{v4}, {v6}"), &format!("{other}, {}", metric(other6, 5))), &["IPv4 without"]),
    ] {
        let notes = told(&text);
        assert_eq!(notes.len(), expected.len(), "{text}: {notes:?}");
        for (note, start) in notes.iter().zip(expected) {
            assert!(note.starts_with(&format!("{eth}{start}")), "{text}: {note}");
        }
        let scratch = tempfile::tempdir().unwrap();
        put(scratch.path(), &render(&read::document(&text).unwrap(), Renderer::Netplan).unwrap());
        let (_, warnings) = succeed(command(&generate).arg("--root-dir").arg(scratch.path()), "netplan");
        // It stops at the first of them.
        let is_warned = warnings.contains("Conflicting default route declarations");
        assert_eq!(is_warned, !expected.is_empty(), "{text}: {warnings}");
    }
    let notes = told(DEFAULTS);
    assert!(notes[0].starts_with("eth0, eth1, eth2: each") && notes.len() == 2, "{notes:?}");
}
