//! Descriptions of a network, put into real guests: each gets the spelling that it listens to.

use crate::support::{Scratch, expect, image, oracle, root, run, text};
use serde_json::Value;

/// A file of a golden of the network compiler: its path, its permission bits and its text.
pub struct Golden {
    pub path: String,
    pub mode: String,
    pub text: String,
}

/// The files of a golden of the network compiler.
pub fn goldens(case: &str, renderer: &str) -> Vec<Golden> {
    let goldens = root().join("testdata/network/goldens").join(case).join(renderer);
    let goldens = std::fs::read_to_string(goldens).expect("the golden is there");
    let (first, files) = goldens.split_once("==> ").expect("it has files");
    assert_eq!(first, "", "{case} by {renderer}");
    let file = |file: &str| {
        let (head, text) = file.split_once('\n').expect("its head is a line");
        let (path, mode) = head.split_once(' ').expect("a path and a mode");
        Golden { path: path.to_owned(), mode: mode.to_owned(), text: text.to_owned() }
    };
    files.split("==> ").map(file).collect()
}

/// The text of a file of a golden.
pub fn golden(case: &str, renderer: &str, path: &str) -> String {
    goldens(case, renderer).into_iter().find(|file| file.path == path).expect("the file is in it").text
}

#[test]
fn it_goes_to_whom_the_guest_listens_to() {
    for (guest, renderer, stack, path) in [
        ("bookworm-gpt", "ifupdown", "ifupdown", "/etc/network/interfaces"),
        ("trixie-gpt", "networkd", "systemd-networkd", "/etc/systemd/network/05-imgraft-uplink.network"),
    ] {
        let Some(image) = image::named("real", guest) else { continue };
        let scratch = Scratch::new();
        let copy = scratch.copy(&image.path, "disk.raw");
        let case = root().join("testdata/network/static.v2.yaml");
        let words = ["inject", text(&copy), "--network", text(&case), "--json"];
        if stack == "ifupdown" {
            // One of the links asks for its address, and this guest has nothing that would.
            let output = run(&words);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.code() == Some(3) && said.contains("none of dhclient, dhcpcd, udhcpc and pump"),
                "{said}"
            );
            expect(0, &["inject", text(&copy), "--write", "/usr/sbin/dhclient:one"]);
        }
        let report: Value = serde_json::from_str(&expect(0, &words)).expect("a report");
        let notes = report["items"][0]["notes"].to_string();
        assert!(notes.contains(path) && notes.contains(&format!("for {stack}, /etc/")), "{guest}: {notes}");
        let inspected: Value = serde_json::from_str(&expect(0, &["inspect", text(&copy), "--json"])).expect("facts");
        let guests = inspected["volumes"].as_array().expect("volumes").iter().map(|volume| &volume["guest"]);
        let listeners: Vec<_> = guests.filter_map(|guest| guest["network_listener"].as_str()).collect();
        assert_eq!(listeners, [stack], "{guest}: {inspected}");
        let again: Value = serde_json::from_str(&expect(0, &words)).expect("a report");
        assert_eq!(again["changed"], false, "{guest}");
        assert_eq!(expect(0, &["cat", text(&copy), path]), golden("static.v2.yaml", renderer, path), "{guest}");
        if oracle::have("e2fsck") {
            let offset = image::open(&copy, image.partition).offset;
            oracle::e2fsck(&copy, offset);
        }
    }
}

#[test]
fn by_options_and_by_choice() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let address = ["--ip", "192.0.2.10/24", "--gateway", "192.0.2.1", "--dns", "192.0.2.53", "--nic", "eth0"];
    let on = |more: &[&str]| -> Vec<String> {
        ["inject", text(&copy)].iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let diff = |words: &[&str]| {
        let words = on(&[words, &["-n"]].concat());
        expect(0, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (name, path, line) in [
        ("ifupdown", "/etc/network/interfaces", "+    address 192.0.2.10"),
        ("netplan", "/etc/netplan/50-imgraft.yaml", "+        - \"192.0.2.10/24\""),
        ("networkd", "/etc/systemd/network/05-imgraft-eth0.network", "+Address=192.0.2.10/24"),
        (
            "NetworkManager",
            "/etc/NetworkManager/system-connections/imgraft-eth0.nmconnection",
            "+address1=192.0.2.10/24,192.0.2.1",
        ),
        ("ifcfg", "/etc/sysconfig/network-scripts/ifcfg-eth0", "+IPADDR=192.0.2.10"),
        ("wicked", "/etc/sysconfig/network/ifcfg-eth0", "+IPADDR='192.0.2.10/24'"),
        ("wicked", "/etc/sysconfig/network/config", "+NETCONFIG_DNS_STATIC_SERVERS=192.0.2.53"),
        ("cloud-init", "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg", "+        - \"192.0.2.10/24\""),
    ] {
        let shown = diff(&[&address[..], &["--network-renderer", name]].concat());
        assert!(shown.contains(path) && shown.contains(line), "{name}: {shown}");
    }
    for (words, status, reason) in [
        (&["--gateway", "192.0.2.1"][..], 2, "--ip"),
        (&["--ip", "192.0.2.10"], 2, "--ip 192.0.2.10: not ADDRESS/PREFIX"),
        (&["--dns", "x", "--dhcp"], 2, "--dns x: not an address"),
        (&["--dns", "192.0.2.53"], 2, "no address: --ip has one, or --dhcp asks for one"),
        (&["--dhcp", "--nic", "a b"], 2, "--nic \"a b\": neither a name of a device"),
        (&["--network-renderer", "netplan"], 2, "there is no network"),
        (&["--dhcp", "--compat", "nova"], 2, "cannot be used with"),
        (&["--dhcp", "--network", "x"], 2, "cannot be used with"),
        (&["--dhcp", "--network-renderer", "ifupdown"], 3, "a pattern of names"),
    ] {
        let words = on(words);
        let output = run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(status) && said.contains(reason), "{words:?}: {said}");
    }
    let wrong = scratch.file("wrong.yaml", "version: 2\nethernets: {eth0: {dhcp4: maybe}}\n");
    let output = run(&["inject", text(&copy), "--network", text(&wrong)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("wrong.yaml: network-config version 2: ethernets.eth0.dhcp4: expected true or false"),
        "{said}"
    );
}

/// Whatever the guest listens to: what netplan would refuse is refused, with its line, and nothing is written.
#[test]
fn what_netplan_would_refuse_is_refused_for_every_guest() {
    let scratch = Scratch::new();
    let copy = scratch.copy(&image::phony(), "disk.qcow2");
    let before = std::fs::read(&copy).expect("a copy");
    for (document, said) in [
        ("network:\n\tversion: 2\n", "line 2"),
        ("network:\n  version: 2\n  version: 2\n", "the key \"version\" is there twice (line 3, column 3)"),
        ("network:\n  ethernets:\n    eth0: {dhcp: true}\n", "no such key here (line 3, column 12)"),
        ("network:\n  ethernets:\n    eth0: {dhcp4: 1}\n", "expected true or false (line 3, column 19)"),
    ] {
        let file = scratch.file("netplan.yaml", document);
        for renderer in [&["--network-renderer", "netplan"][..], &["--network-renderer", "ifupdown"], &[]] {
            let output = run(&[&["inject", text(&copy), "--network", text(&file)], renderer].concat());
            let why = String::from_utf8(output.stderr).expect("a text");
            assert!(output.status.code() == Some(2) && why.contains(said), "{document}: {why}");
        }
    }
    assert_eq!(before, std::fs::read(&copy).expect("a copy"));
}
