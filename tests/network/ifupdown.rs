//! What Debian's ifup does with what it gets.

use crate::cases::{Case, cases};
use crate::oracle::{command, put, skip, unpacked};
use imgraft::net::config::{Auto6, Config, Kind, Link};
use imgraft::net::read;
use imgraft::net::render::{Ifup, Renderer};
use std::path::Path;

/// Routers in the network of an address that is not the first.
const ROUTERS: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/24, 198.51.100.7/25, '2001:db8::10/64', '2001:db8:1::10/64'], \
    routes: [{to: default, via: 192.0.2.1, metric: 100}, {to: default, via: 198.51.100.1, metric: 200}, {to: 10.0.0.0/8, via: 198.51.100.1}, \
    {to: '::/0', via: '2001:db8:1::1'}, {to: '2001:db8:9::/48', via: '2001:db8:1::2'}]}, eth1: {addresses: [203.0.113.9/24, 203.0.114.9/24], \
    routes: [{to: 10.9.0.0/16, via: 203.0.114.1}]}}}";

/// Several links with a default route without a metric.
pub const DEFAULTS: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/24, '2001:db8::10/64'], routes: [{to: default, via: 192.0.2.1}, \
    {to: '::/0', via: '2001:db8::1'}]}, eth1: {addresses: [198.51.100.10/24, '2001:db8:1::10/64'], routes: [{to: default, via: 198.51.100.1}, \
    {to: '::/0', via: '2001:db8:1::1'}]}, eth2: {addresses: [203.0.113.10/24], routes: [{to: default, via: 203.0.113.1, on-link: true}]}}}";

/// The same with metrics beside them, some of them those that are next.
pub const METRICS: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/24, '2001:db8::10/64'], routes: [{to: default, via: 192.0.2.1, \
    metric: 2}, {to: '::/0', via: '2001:db8::1', metric: 1024}]}, eth1: {addresses: [198.51.100.10/24, '2001:db8:1::10/64'], routes: \
    [{to: default, via: 198.51.100.1}, {to: '::/0', via: '2001:db8:1::1'}]}, eth2: {addresses: [203.0.113.10/24, '2001:db8:2::10/64'], \
    routes: [{to: default, via: 203.0.113.1}, {to: '::/0', via: '2001:db8:2::1'}]}}}";

/// Whether it is brought up at boot, without scripts of other packages, without an answer of DHCP's and on the devices that the script
/// makes.
fn is_tried(config: &Config) -> bool {
    let is_plain = |link: &Link| {
        matches!(link.kind, Kind::Hardware(_))
            && link.device().is_some_and(|device| ["eth0", "eth1", "eth2"].contains(&device))
            && !link.dhcp4
            && !link.optional
            && matches!(link.auto6, Auto6::Unsaid | Auto6::Off)
    };
    config.links.iter().all(is_plain)
}

/// ifup itself, in namespaces of its own: every device has its addresses and routes.
#[test]
fn ifup_does_it() {
    let more = [("routers", ROUTERS), ("defaults", DEFAULTS), ("metrics", METRICS)];
    let more = more.map(|(name, text)| Case { name: name.to_owned(), config: read::document(text).unwrap() });
    let Some(tried) = brought_up(cases().into_iter().chain(more)) else { return };
    assert!(tried > 4, "{tried}");
}

/// A client of DHCP's that does as dhclient's script does: an error about the default route is none.
const CLIENT: &str = "#!/bin/sh\nfor word; do\n  case $word in eth?) device=$word ;; IF_METRIC=*) metric=${word#*=} ;; esac\ndone\n\
    ip link set dev $device up\nip address add 203.0.113.5/24 dev $device\nip route add default via 203.0.113.1 dev $device ${metric:+metric $metric} \
    2>/dev/null || :\n";

/// Default routes beside one that DHCP brings, and beside one with the metric that none is.
#[test]
fn a_default_route_that_is_there_already_stops_nothing() {
    let Some(ifup) = unpacked("network/sbin/ifup") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("ifup needs root");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/ifupdown.sh");
    let fixed = "eth1: {addresses: [198.51.100.10/24], routes: [{to: default, via: 198.51.100.1}]}";
    let other = |metric: u32| {
        format!("eth2: {{addresses: [192.0.2.10/24], routes: [{{to: default, via: 192.0.2.1, metric: {metric}}}]}}")
    };
    let dhcp = "eth0: {dhcp4: true}";
    let own = "eth0: {dhcp4: true, addresses: [192.0.2.10/24], routes: [{to: default, via: 192.0.2.1}]}";
    let bare = "eth0: {dhcp4: true, routes: [{to: default, via: 203.0.113.9}]}";
    let metric = |device: &str, metric: u32| device.replace("}]}", &format!(", metric: {metric}}}]}}"));
    let (by_dhcp, behind) = ("default via 203.0.113.1 dev eth0 \n", "default via 198.51.100.1 dev eth1 metric 2 \n");
    for (devices, has) in [
        (format!("{dhcp}, {fixed}"), vec![by_dhcp, behind]),
        (format!("{fixed}, {dhcp}"), vec!["default via 198.51.100.1 dev eth1 onlink \n"]),
        // One of the same device goes before what DHCP brings, as it does for networkd; those behind it get metrics.
        (format!("{own}, {fixed}"), vec!["default via 192.0.2.1 dev eth0 \n", behind]),
        (format!("{fixed}, {own}"), vec!["via 198.51.100.1 dev eth1 onlink \n", "via 192.0.2.1 dev eth0 metric 2 \n"]),
        // With a metric that was asked for DHCP's has networkd's, and is behind it.
        (metric(own, 100), vec!["via 192.0.2.1 dev eth0 metric 100 \n", "via 203.0.113.1 dev eth0 metric 1024 \n"]),
        (metric(bare, 100), vec!["via 203.0.113.9 dev eth0 metric 100 \n", "via 203.0.113.1 dev eth0 metric 1024 \n"]),
        (metric(own, 1024), vec!["default via 192.0.2.1 dev eth0 metric 1024 \n"]),
        (format!("{dhcp}, {}", other(100)), vec!["192.0.2.1 dev eth2 metric 100 \n", "dev eth0 metric 1024 \n"]),
        // And what has none is before both.
        (
            format!("{}, {fixed}", metric(own, 100)),
            vec!["default via 198.51.100.1 dev eth1 onlink \n", "dev eth0 metric 100 \n", "dev eth0 metric 1024 \n"],
        ),
        // In the network of DHCP's address.
        (format!("{bare}, {fixed}"), vec!["default via 203.0.113.9 dev eth0 \n", behind]),
        (format!("{fixed}, {}", other(0)), vec!["default via 192.0.2.1 dev eth2 \n", behind]),
        // One to Debian's is another one.
        (
            format!("{fixed}, {}", other(1)),
            vec!["default via 198.51.100.1 dev eth1 onlink \n", "192.0.2.1 dev eth2 metric 1 "],
        ),
    ] {
        let config = read::document(&format!("{{version: 2, ethernets: {{{devices}}}}}")).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let files = imgraft::net::render::render(&config, Renderer::Ifupdown(Ifup::Debian)).unwrap();
        put(scratch.path(), &files);
        let programs = scratch.path().join("programs");
        std::fs::create_dir(&programs).unwrap();
        std::fs::write(programs.join("dhclient"), CLIENT).unwrap();
        std::fs::set_permissions(programs.join("dhclient"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let mut run = command(Path::new("unshare"));
        run.args(["--net", "--mount", "--fork", "--kill-child", "bash"]).arg(&script).arg(&ifup);
        let output = run.arg(scratch.path().join("etc/network/interfaces")).arg(&programs).output().unwrap();
        let state = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{devices}: {}{state}\n{log}", files[0].text);
        for route in has {
            assert!(state.contains(route), "{devices}: no {route} in {}{state}\n{log}", files[0].text);
        }
    }
}

/// What lies on others comes behind them, wherever it stands: a VLAN of the DHCP client's device.
#[test]
fn the_first_default_route_is_that_of_the_first_that_is_brought_up() {
    let text = "{version: 2, vlans: {eth0.7: {id: 7, link: eth0, addresses: [192.0.2.9/24], routes: [{to: default, via: 192.0.2.1}]}}, \
                ethernets: {eth0: {dhcp4: true}}}";
    let mut config = read::document(text).unwrap();
    config.links.reverse();
    for config in [read::document(text).unwrap(), config] {
        let files = imgraft::net::render::render(&config, Renderer::Ifupdown(Ifup::Debian)).unwrap();
        assert!(files[0].text.contains("via 192.0.2.1 dev $IFACE metric 2"), "{}", files[0].text);
    }
}

/// How many of these it has brought up; it was none to ask for `None`.
pub fn brought_up(cases: impl Iterator<Item = Case>) -> Option<usize> {
    let ifup = unpacked("network/sbin/ifup")?;
    if !nix::unistd::geteuid().is_root() {
        skip("ifup needs root");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/ifupdown.sh");
    let mut tried = 0;
    for case in cases.filter(|case| is_tried(&case.config)) {
        let Some(files) = case.files(Renderer::Ifupdown(Ifup::Debian)) else { continue };
        let scratch = tempfile::tempdir().unwrap();
        put(scratch.path(), &files);
        let mut run = command(Path::new("unshare"));
        run.args(["--net", "--mount", "--fork", "--kill-child", "bash"]).arg(&script).arg(&ifup);
        let output = run.arg(scratch.path().join("etc/network/interfaces")).output().unwrap();
        let state = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {state}\n{log}", case.name);
        for link in &case.config.links {
            let device = link.device().unwrap();
            for address in &link.addresses {
                let line = state.lines().find(|line| line.contains(&format!(" {address} ")));
                assert!(line.is_some(), "{}: {device}: no {address} in\n{state}\n{log}", case.name);
            }
            for route in &link.routes {
                let to = if route.is_default() { "default".to_owned() } else { route.to.to_string() };
                let start = format!("{to} via {} dev {device} ", route.via.unwrap());
                let metric = route.metric.map(|metric| format!("metric {metric} ")).unwrap_or_default();
                let has = |line: &str| format!("{line} ").starts_with(&start) && format!("{line} ").contains(&metric);
                assert!(state.lines().any(has), "{}: no {start}{metric}in\n{state}\n{log}", case.name);
            }
        }
        tried += 1;
    }
    Some(tried)
}
