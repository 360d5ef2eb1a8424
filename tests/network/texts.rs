//! Texts in the guests' own spellings that are refused, or told of: what the programs make of them.

use crate::oracle::{command, put, skip, unpacked};
use crate::rivals::run;
use imgraft::guest::{Guest, NetworkStack};
use imgraft::inject::{Choice, Compat, Described, Injector, Net};
use imgraft::net::render::NetFile;
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::stage::Stage;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What a run says of a text, or why it refuses it.
fn said(stack: NetworkStack, text: &str, guest: Builder) -> Result<String, String> {
    let fs = guest.build().unwrap();
    let net =
        Net { network: Described::Text(text.into()), renderer: Some(Choice::Stack(stack)), compat: Compat::Imgraft };
    let outcome = net.stage(&Guest::inspect(&fs).unwrap(), &mut Stage::new(&fs));
    outcome.map(|outcome| outcome.notes.join("\n")).map_err(|error| error.to_string())
}

/// What has nothing in its `[Match]` gives no device an address, nor what has only what networkd does not know there, which is told of; what
/// says `Name=*` gives it to all, be it behind an editor's mark.
#[test]
fn for_networkd() {
    let Some(program) = unpacked("network/lib/systemd/systemd-networkd") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("networkd needs root");
    }
    let unknown = Some("knows none of the keys of its [Match]");
    for (matched, note, is_taken) in [
        ("", None, false),
        ("[Match]\nName=\n", None, false),
        ("[Match]\nname=*\n", unknown, false),
        ("\u{feff}[Match]\nName=*\n", Some(""), true),
        ("[Match]\nVirtualization=!wsl\nname=*\n", Some(""), true),
    ] {
        let text = format!(
            "{matched}[Network]\nAddress=192.0.2.10/24\nAddress=2001:db8::10/64\nGateway=192.0.2.1\nGateway=2001:db8::1\n"
        );
        let said = said(NetworkStack::Networkd, &text, MemFs::builder());
        assert_eq!(said.is_ok(), note.is_some(), "{matched}: {said:?}");
        let is_told = said.is_ok_and(|said| said.contains("knows none of the keys"));
        assert_eq!(is_told, note == unknown, "{matched}");
        let scratch = tempfile::tempdir().unwrap();
        let path = "/etc/systemd/network/10-imgraft.network".to_owned();
        put(&scratch.path().join("case"), &[NetFile { path, mode: 0o644, text }]);
        let state = run("networkd.sh", &[&program, scratch.path(), Path::new("case")]);
        assert_eq!(state.contains(" 192.0.2.10/24 "), is_taken, "{matched}: {state}");
    }
}

/// The programs that ask for an address, which this machine may have.
const CLIENTS: [&str; 3] = ["dhclient", "dhcpcd", "udhcpc"];

/// Whether Debian's ifup brings all up, with one of the clients of DHCP's or none, and what it says and makes.
fn brought_up(files: &[(&str, &str)], client: Option<&str>) -> Option<(bool, String)> {
    let ifup = unpacked("network/sbin/ifup")?;
    if !nix::unistd::geteuid().is_root() {
        skip("ifup needs root");
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = |(path, text): &(&str, &str)| NetFile { path: (*path).into(), mode: 0o644, text: (*text).into() };
    put(scratch.path(), &files.iter().map(file).collect::<Vec<_>>());
    let programs = scratch.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    for name in CLIENTS.into_iter().filter(|name| client == Some(name)) {
        std::fs::write(programs.join(name), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(programs.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    for name in CLIENTS.into_iter().filter(|name| client != Some(name)) {
        // What an overlay has in the place of a file that is not there.
        let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::empty());
        nix::sys::stat::mknod(&programs.join(name), kind, mode, 0).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/ifupdown.sh");
    let mut run = command(Path::new("unshare"));
    run.args(["--net", "--mount", "--fork", "--kill-child", "bash"]).arg(&script).arg(&ifup);
    let output = run.arg(scratch.path().join("etc/network/interfaces")).arg(&programs).output().unwrap();
    let said = [output.stderr, output.stdout].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// Without a client of DHCP's ifup stops at what asks for its address.
#[test]
fn for_ifupdown_without_a_client_of_dhcp() {
    for (text, missing) in [
        ("auto eth0\niface eth0 inet dhcp\n", Some("No DHCP client software found!")),
        ("auto eth0\niface eth0 inet6 dhcp\n", Some("No DHCPv6 client software found!")),
        ("auto eth0\niface eth0 inet6 auto\n  dhcp 1\n", Some("No DHCPv6 client software found!")),
        (
            "auto eth0=home \\\n  lo\niface lo inet loopback\niface home inet dhcp\n",
            Some("No DHCP client software found!"),
        ),
        ("auto eth1\niface eth0 inet dhcp\niface eth1 inet manual\n", None),
        ("auto eth1\n# \\\niface eth1 inet manual\n", None),
    ] {
        let said = said(NetworkStack::Ifupdown, text, MemFs::builder().file("/usr/sbin/ifup", ""));
        assert_eq!(said.is_ok(), missing.is_none(), "{text}: {said:?}");
        let Some((is_up, log)) = brought_up(&[("/etc/network/interfaces", text)], None) else { return };
        assert_eq!(is_up, missing.is_none(), "{text}: {log}");
        assert!(missing.is_none_or(|missing| log.contains(missing)), "{text}: {log}");
    }
}

/// Which of the clients Debian's ifup has ask for an address of each version of IP.
#[test]
fn for_ifupdown_with_a_client_of_dhcp() {
    for client in CLIENTS {
        for (family, is_up) in [("inet", true), ("inet6", client == "dhclient")] {
            let text = format!("auto eth0\niface eth0 {family} dhcp\n");
            let guest = MemFs::builder().file("/usr/sbin/ifup", "").dir("/usr/lib/ifupdown");
            let said = said(NetworkStack::Ifupdown, &text, guest.file(format!("/usr/sbin/{client}"), ""));
            assert_eq!(said.is_ok(), is_up, "{client}: {family}: {said:?}");
            let Some((was_up, log)) = brought_up(&[("/etc/network/interfaces", &text)], Some(client)) else { return };
            assert_eq!(was_up, is_up, "{client}: {family}: {log}");
        }
    }
}

/// What a text includes about its own device ifup does beside what it says itself.
#[test]
fn for_ifupdown_with_a_file_for_the_same_device() {
    let path = "/etc/network/interfaces.d/own";
    let own = "source interfaces.d/*\nauto eth0\niface eth0 inet static\n  address 192.0.2.10/24\n";
    let theirs = |device: &str| format!("iface {device} inet static\n  address 203.0.113.77/24\n");
    for (device, are_both) in [("eth0", true), ("eth1", false)] {
        let theirs = theirs(device);
        let guest = MemFs::builder().file("/usr/sbin/ifup", "").file(path, &*theirs);
        let said = said(NetworkStack::Ifupdown, own, guest).unwrap();
        assert_eq!(said.contains(&format!("{path}: included by this text")), are_both, "{said}");
        let files = [("/etc/network/interfaces", own), (path, &*theirs)];
        let Some((is_up, state)) = brought_up(&files, None) else { return };
        assert!(is_up && state.contains(" 192.0.2.10/24 "), "{state}");
        assert_eq!(state.contains(" 203.0.113.77/24 "), are_both, "{state}");
    }
}
