//! Texts in the guests' own spellings that are refused, or told of: what the programs make of them.

use crate::oracle::{put, skip, unpacked};
use crate::rivals::run;
use imgraft::guest::{Guest, NetworkStack};
use imgraft::inject::{Choice, Compat, Described, Injector, Net};
use imgraft::net::render::NetFile;
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::stage::Stage;
use std::path::Path;

/// What a run says of a text, or why it refuses it.
fn said(stack: NetworkStack, text: &str, guest: Builder) -> Result<String, String> {
    let fs = guest.build().unwrap();
    let net =
        Net { network: Described::Text(text.into()), renderer: Some(Choice::Stack(stack)), compat: Compat::Imgraft };
    let outcome = net.stage(&Guest::inspect(&fs).unwrap(), &mut Stage::new(&fs));
    outcome.map(|outcome| outcome.notes.join("\n")).map_err(|error| error.to_string())
}

/// What has nothing in its `[Match]` gives no device an address, and what says `Name=*` gives it to all.
#[test]
fn for_networkd() {
    let Some(program) = unpacked("network/lib/systemd/systemd-networkd") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("networkd needs root");
    }
    for (matched, is_taken) in [("", false), ("[Match]\nName=\n", false), ("[Match]\nName=*\n", true)] {
        let text = format!(
            "{matched}[Network]\nAddress=192.0.2.10/24\nAddress=2001:db8::10/64\nGateway=192.0.2.1\nGateway=2001:db8::1\n"
        );
        let said = said(NetworkStack::Networkd, &text, MemFs::builder());
        assert_eq!(said.is_ok(), is_taken, "{matched}: {said:?}");
        let scratch = tempfile::tempdir().unwrap();
        let path = "/etc/systemd/network/10-imgraft.network".to_owned();
        put(&scratch.path().join("case"), &[NetFile { path, mode: 0o644, text }]);
        let state = run("networkd.sh", &[&program, scratch.path(), Path::new("case")]);
        assert_eq!(state.contains(" 192.0.2.10/24 "), is_taken, "{matched}: {state}");
    }
}
