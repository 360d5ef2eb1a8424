//! Which devices NetworkManager leaves alone, by the guest's own configuration: its own verdict, and ours.

mod places;

use crate::oracle::{command, put, skip, succeed, unpacked};
use imgraft::guest::{Guest, NetworkStack};
use imgraft::inject::{Choice, Compat, Described, Injector, Net};
use imgraft::net::read;
use imgraft::net::render::{NetFile, Renderer, render};
use imgraft_vfs::fs::mem::{Builder, MemFs};
use imgraft_vfs::stage::Stage;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const NAMED: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/24]}}}";
const BY_MAC: &str =
    "{version: 2, ethernets: {nic: {match: {macaddress: '52:54:00:12:34:56'}, addresses: [192.0.2.10/24]}}}";
const BY_MANAGER: &str = "network: {version: 2, renderer: NetworkManager}";
const BRIDGE: &str = "{version: 2, bridges: {br0: {interfaces: [], addresses: [192.0.2.10/24]}}}";
const PATTERN: &str = "{version: 2, ethernets: {nic: {match: {name: 'eth0*'}, addresses: [192.0.2.10/24]}}}";
const BRIDGE_WITH_MAC: &str =
    "{version: 2, bridges: {br0: {interfaces: [], macaddress: '02:00:00:00:00:07', addresses: [192.0.2.10/24]}}}";
const KEYFILE: &str =
    "[connection]\nid=own\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=manual\naddress1=192.0.2.10/24\n";

const MAIN: &str = "/etc/NetworkManager/NetworkManager.conf";
const ETC: &str = "/etc/NetworkManager/conf.d/50-own.conf";
const LATE: &str = "/etc/NetworkManager/conf.d/90-own.conf";
const INTERFACES: &str = "/etc/network/interfaces";
const EXTRA: &str = "/etc/network/interfaces.d/own";
const IFUPDOWN: &str = "[main]\nplugins=ifupdown,keyfile\n\n[ifupdown]\nmanaged=false\n";
const STANZA: &str = "auto eth0\niface eth0 inet dhcp\n";
const USR: &str = "/usr/lib/NetworkManager/conf.d/50-own.conf";
/// How a text begins that is the target of a link; the target that switches a file of systemd's off.
const LINK: &str = "-> ";
const OFF: &str = "-> /dev/null";

/// What is to become of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// NetworkManager sees to it.
    Up,
    /// It does not, and the run is refused: what that says.
    Refused(&'static str),
    /// It may not, and does or does not here.
    Told { is_up: bool },
    /// It does not start at all, and the run is refused: what that says.
    Stopped(&'static str),
}
use Fate::{Refused, Stopped, Told, Up};

type Case = (&'static [(&'static str, &'static str)], &'static str, Fate);

const CASES: &[Case] = &[
    (&[], NAMED, Up),
    (
        &[(MAIN, "[keyfile]\nunmanaged-devices=interface-name:eth0\n")],
        NAMED,
        Refused("\"eth0\" alone, as /etc/NetworkManager/NetworkManager.conf says (take the device out"),
    ),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=interface-name:eth0\n")], KEYFILE, Refused("\"eth0\" alone")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=eth1;interface-name:br*, wlan0\n")], NAMED, Up),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=eth1;interface-name:br*, wlan0\n")], BRIDGE, Refused("\"br0\" alone")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=eth0\n")], NAMED, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=interface-name:=eth*\n")], NAMED, Up),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=Interface-Name:~eth?\n")], NAMED, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=mac:52:54:00:12:34:56\n")], BY_MAC, Refused("\"nic\" alone")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=52:54:00:12:34:56\n")], BY_MAC, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=mac:52:54:00:12:34:57\n")], BY_MAC, Up),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=mac:52:54:00:12:34:56\n")], NAMED, Told { is_up: false }),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=interface-name:eth0\n")], BY_MAC, Told { is_up: false }),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=driver:none\n")], NAMED, Told { is_up: true }),
    // Of a pattern of ours it is known what it cannot be.
    (&[(MAIN, "[keyfile]\nunmanaged-devices=interface-name:docker*;veth0\n")], PATTERN, Up),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=interface-name:*0\n")], PATTERN, Told { is_up: false }),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=eth0\n")], PATTERN, Told { is_up: false }),
    // What is made has another address at first than the one that we give it.
    (&[(MAIN, "[keyfile]\nunmanaged-devices=mac:02:00:00:00:00:07\n")], BRIDGE_WITH_MAC, Told { is_up: true }),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=*,except:interface-name:eth0\n")], NAMED, Up),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=*,except:type:wifi,except:type:gsm\n")], NAMED, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=except:type:wifi\n")], BRIDGE, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=type:bridge\n")], BRIDGE, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=type:bridge\n")], NAMED, Up),
    // An exception has to say what it goes by.
    (&[(MAIN, "[keyfile]\nunmanaged-devices=*,except:eth0\n")], NAMED, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=*,except:52:54:00:12:34:56\n")], BY_MAC, Refused("")),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=*,except:mac:52:54:00:12:34:56\n")], BY_MAC, Up),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=except:eth0\n")], NAMED, Refused("")),
    // Which file counts.
    (&[(USR, "[keyfile]\nunmanaged-devices=eth0\n")], NAMED, Refused("--touch /etc/NetworkManager/conf.d/50-own.conf")),
    (&[(USR, "[keyfile]\nunmanaged-devices=eth0\n"), (ETC, "")], NAMED, Up),
    (&[(USR, "[keyfile]\nunmanaged-devices=eth0\n"), (MAIN, "[keyfile]\nunmanaged-devices=eth1\n")], NAMED, Up),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=eth0\n"), (LATE, "[keyfile]\nunmanaged-devices=\n")], NAMED, Up),
    (
        &[(MAIN, "[keyfile]\nunmanaged-devices=eth1\n"), (ETC, "[keyfile]\nunmanaged-devices+=eth0\n")],
        NAMED,
        Refused("as /etc/NetworkManager/conf.d/50-own.conf says"),
    ),
    (&[(MAIN, "[keyfile]\nunmanaged-devices=eth1;eth0\n"), (ETC, "[keyfile]\nunmanaged-devices-=eth0\n")], NAMED, Up),
    (
        &[(MAIN, "[keyfile]\nunmanaged-devices=eth0\n"), (ETC, "[keyfile]\nunmanaged-devices+=eth1\n")],
        NAMED,
        Refused("as /etc/NetworkManager/NetworkManager.conf says"),
    ),
    (&[(ETC, "[keyfile]\nunmanaged-devices+=eth0\nunmanaged-devices+=eth1\n")], NAMED, Up),
    (&[("/etc/NetworkManager/conf.d/50-own.conf.off", "[keyfile]\nunmanaged-devices=eth0\n")], NAMED, Up),
    (&[(ETC, "[.config]\nenable=false\n[keyfile]\nunmanaged-devices=eth0\n")], NAMED, Up),
    (&[(MAIN, "[.config]\nenable=false\n[keyfile]\nunmanaged-devices=eth0\n")], NAMED, Refused("NetworkManager.conf")),
    // What it cannot read keeps it from starting, be it switched off.
    (&[(ETC, "[keyfile]\nunmanaged-devices\n")], NAMED, Stopped("50-own.conf: line 2 is neither a section")),
    (&[(ETC, "; x\n")], KEYFILE, Stopped("line 1 is neither")),
    (
        &[(ETC, "a=b\n")],
        BRIDGE,
        Stopped("line 1 is outside of any section (mend it, or take it away by --delete /etc/"),
    ),
    (&[(USR, "[a[b]\n")], NAMED, Stopped("line 1 is a section")),
    (&[(MAIN, "[a]\nk[x y]=z\n")], NAMED, Stopped("line 2 is a key")),
    (&[(ETC, "[.config]\nenable=false\n[keyfile\n")], NAMED, Stopped("line 3 is neither")),
    (&[(ETC, OFF)], NAMED, Stopped("50-own.conf: it is no regular file")),
    (&[(ETC, "-> /nowhere")], NAMED, Stopped("50-own.conf: it is a link that leads to nothing (mend it, or take it")),
    (&[(USR, "-> 50-own.conf")], KEYFILE, Stopped("/usr/lib/NetworkManager/conf.d/50-own.conf: it is a link")),
    // It is there by then; here it is the script's.
    (&[(ETC, "-> /run/NetworkManager.conf")], NAMED, Up),
    (&[(USR, "-> /nowhere"), (ETC, "")], NAMED, Up),
    (&[(USR, OFF), (ETC, "# x\n\n [a]\t\n k[x_y]  =z\n b c=\n")], NAMED, Up),
    (
        &[(ETC, "[.config]\nenable=nm-version-min:1.2\n[keyfile]\nunmanaged-devices=eth0\n")],
        NAMED,
        Told { is_up: false },
    ),
    (
        &[
            (MAIN, "[keyfile]\nunmanaged-devices=eth0\n"),
            (ETC, "[.config]\nenable=nm-version-min:1.2\n[keyfile]\nunmanaged-devices+=eth1\n"),
        ],
        NAMED,
        Refused("as /etc/NetworkManager/NetworkManager.conf says"),
    ),
    (&[(ETC, "[.config]\nenable=nm-version-min:1.2\n[keyfile]\nunmanaged-devices=eth1\n")], NAMED, Up),
    (
        &[
            (MAIN, "[keyfile]\nunmanaged-devices=eth0\n"),
            (ETC, "[.config]\nenable=nm-version-min:1.2\n[keyfile]\nunmanaged-devices-=eth0\n"),
        ],
        NAMED,
        Told { is_up: true },
    ),
    // What is space, and what is none.
    (&[(ETC, "\x0c[keyfile]\r\n\x0cunmanaged-devices\x0c=\x0ceth0\x0c\r\n")], NAMED, Refused("")),
    (&[(ETC, "\x0b[keyfile]\n")], NAMED, Stopped("line 1 is neither")),
    (&[(ETC, "[keyfile]\x0b\n")], NAMED, Stopped("line 1 is neither")),
    (&[(ETC, "[keyfile]\nunmanaged-devices\x0b=eth0\n")], NAMED, Up),
    (&[(ETC, "[keyfile]\nunmanaged-devices=\x0beth0,eth0\x0b;eth0\u{a0}\n")], NAMED, Up),
    (&[(ETC, "[device]\nmatch-device=eth0\nmanaged=0\x0b\n")], NAMED, Up),
    // Devices of ifupdown's.
    (
        &[(MAIN, IFUPDOWN), (INTERFACES, STANZA)],
        NAMED,
        Refused("\"eth0\" alone, as /etc/network/interfaces says (take the device out of /etc/network/interfaces"),
    ),
    (&[(MAIN, IFUPDOWN), (INTERFACES, STANZA)], KEYFILE, Refused("")),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "auto lo\niface lo inet loopback\nauto eth0\n")], NAMED, Up),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "iface eth1 inet dhcp\niface eth0 inet\n")], NAMED, Up),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "iface \\\neth0 inet dhcp\n")], NAMED, Refused("")),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "mapping eth0\n script /bin/true\n")], NAMED, Refused("")),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "iface br0 inet dhcp\n bridge_ports eth0\n")], NAMED, Refused("")),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "iface br0 inet dhcp\n bridge_ports none\n")], BRIDGE, Up),
    (
        &[(MAIN, IFUPDOWN), (INTERFACES, "source /etc/network/interfaces.d/*\n"), (EXTRA, STANZA)],
        NAMED,
        Refused("as /etc/network/interfaces.d/own says"),
    ),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "source-directory interfaces.d\n"), (EXTRA, STANZA)], NAMED, Refused("")),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "source interfaces.d/o?n\n"), (EXTRA, STANZA)], NAMED, Refused("")),
    (&[(MAIN, IFUPDOWN), (INTERFACES, ""), (EXTRA, STANZA)], NAMED, Up),
    (&[(MAIN, IFUPDOWN), (INTERFACES, STANZA), (ETC, "[ifupdown]\nmanaged=true\n")], BRIDGE, Up),
    (&[(MAIN, IFUPDOWN), (INTERFACES, STANZA), (ETC, "[main]\nplugins=keyfile\n")], NAMED, Up),
    (&[(MAIN, IFUPDOWN), (INTERFACES, STANZA), (ETC, "[main]\nplugins-=ifupdown\n")], NAMED, Up),
    (&[(MAIN, "[main]\nplugins+=ifupdown\n"), (INTERFACES, STANZA)], NAMED, Refused("")),
    (&[(MAIN, "[main]\nplugins=keyfile\n"), (INTERFACES, STANZA)], NAMED, Up),
    (&[(MAIN, IFUPDOWN), (INTERFACES, "# Made by imgraft.\niface lo inet loopback\n")], NAMED, Up),
    (
        &[(MAIN, IFUPDOWN), (INTERFACES, STANZA), (ETC, "[.config]\nenable=x\n[ifupdown]\nmanaged=true\n")],
        NAMED,
        Told { is_up: false },
    ),
    // Sections of devices.
    (
        &[(ETC, "[device]\nmatch-device=interface-name:eth0\nmanaged=0\n")],
        NAMED,
        Refused("as /etc/NetworkManager/conf.d/50-own.conf says"),
    ),
    (&[(ETC, "[device]\nmanaged=false\n")], BRIDGE, Refused("")),
    (&[(ETC, "[device-a]\nmatch-device=eth0\nmanaged=1\n[device-b]\nmatch-device=eth0\nmanaged=0\n")], NAMED, Up),
    (
        &[(ETC, "[device-a]\nmatch-device=eth0\nmanaged=1\n"), (LATE, "[device-b]\nmatch-device=eth0\nmanaged=0\n")],
        NAMED,
        Refused("90-own.conf"),
    ),
    (
        &[
            (ETC, "[device-a]\nmatch-device=eth0\nmanaged=1\n"),
            (LATE, "[device-b]\nmatch-device=eth1\nmanaged=0\n[device]\nmanaged=0\n"),
        ],
        NAMED,
        Up,
    ),
    (&[(ETC, "[device-a]\nmatch-device=eth0\nmanaged=0\n"), (LATE, "[device-a]\nmanaged=1\n")], NAMED, Up),
    (&[(ETC, "[device-a]\nmatch-device=eth0\nstop-match=1\n[device]\nmanaged=0\n")], NAMED, Up),
    (
        &[(ETC, "[device-a]\nmatch-device=eth1\nmanaged=0\n"), (LATE, "[device-a]\nmatch-device+=eth0\n")],
        NAMED,
        Refused("50-own.conf"),
    ),
    (
        &[(ETC, "[device-a]\nmatch-device=eth1,eth0\nmanaged=0\n"), (LATE, "[device-a]\nmatch-device-=eth0\n")],
        NAMED,
        Up,
    ),
    (&[(ETC, "[device-a]\nmatch-device=eth0\nmanaged=0\n"), (LATE, "[device-a]\nmatch-device-=eth0\n")], NAMED, Up),
    (
        &[(ETC, "[device-a]\nmatch-device=eth0\nmanaged=0\n"), (LATE, "[device-a]\nmatch-device+=eth1\n")],
        NAMED,
        Refused("50-own.conf"),
    ),
    (&[(ETC, "[device-a]\nmatch-device+=eth0\nmanaged=0\n")], NAMED, Refused("")),
    // What is neither yes nor no is yes.
    (&[(ETC, "[device-a]\nmatch-device=eth0\nmanaged=maybe\n[device]\nmanaged=0\n")], NAMED, Up),
    (&[(ETC, "[device-a]\nmatch-device=eth0\nmanaged=\n[device]\nmanaged=0\n")], NAMED, Up),
    (&[(ETC, "[device]\nmanaged=No\n")], NAMED, Refused("")),
    (&[(ETC, "[device-a]\nmatch-device=eth0\nstop-match=maybe\n[device]\nmanaged=0\n")], NAMED, Refused("")),
    // Of the two, what is for keyfiles is the stricter one.
    (
        &[(MAIN, "[keyfile]\nunmanaged-devices=eth0\n"), (ETC, "[device]\nmanaged=1\n")],
        NAMED,
        Refused("NetworkManager.conf"),
    ),
];

fn guest(files: &[(&str, &str)]) -> MemFs {
    let guest = MemFs::builder()
        .file("/usr/sbin/NetworkManager", "")
        .file("/usr/lib/systemd/system/NetworkManager.service", "[Unit]\n")
        .symlink("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "/gone");
    with(guest, files)
}

fn with(guest: Builder, files: &[(&str, &str)]) -> MemFs {
    let add = |guest: Builder, (path, text): &(&str, &str)| match text.strip_prefix(LINK) {
        Some(target) => guest.symlink(*path, target),
        None => guest.file(*path, *text),
    };
    files.iter().fold(guest, add).build().unwrap()
}

/// A guest with netplan, that is to have NetworkManager do it.
fn netplan(files: &[(&str, &str)]) -> MemFs {
    let guest = MemFs::builder()
        .file("/usr/sbin/NetworkManager", "")
        .file("/usr/lib/systemd/system/NetworkManager.service", "[Unit]\n")
        .symlink("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "/gone")
        .file("/usr/sbin/netplan", "")
        .file("/usr/lib/systemd/system-generators/netplan", "")
        .file("/etc/netplan/01-all.yaml", BY_MANAGER);
    with(guest, files)
}

/// What is said of a run, or why there is none.
fn judged(files: &[(&str, &str)], text: &str) -> Result<Vec<String>, String> {
    let network = match text.starts_with('[') {
        true => Described::Text(text.into()),
        false => Described::Config(read::document(text).unwrap()),
    };
    staged(&guest(files), network, None)
}

fn staged(fs: &MemFs, network: Described, renderer: Option<Choice>) -> Result<Vec<String>, String> {
    let net = Net { network, renderer, compat: Compat::Imgraft };
    let guest = Guest::inspect(fs).unwrap();
    let outcome = net.stage(&guest, &mut Stage::new(fs));
    outcome.map(|outcome| outcome.notes).map_err(|error| format!("{error} ({})", error.hint().unwrap()))
}

/// Whether what was said of a run, or why there is none, is what is to become of the link.
fn assert_fate(said: Result<Vec<String>, String>, fate: Fate, about: &str) {
    match (said, fate) {
        (Ok(notes), Up | Told { .. }) => {
            let is_told = notes.iter().any(|note| note.contains("whether NetworkManager leaves it alone depends"));
            assert_eq!(is_told, fate != Up, "{about}: {notes:?}");
        }
        (Err(said), Refused(why)) => {
            assert!(said.contains("leaves the link") && said.contains(why), "{about}: {said}");
        }
        (Err(said), Stopped(why)) => {
            assert!(said.contains("does not start with") && said.contains(why), "{about}: {said}");
        }
        (found, _) => panic!("{about}: {found:?}"),
    }
}

/// NetworkManager, in namespaces of its own, with the guest's configuration and the connection.
fn started(unpacked: &Path, files: &[(&str, &str)], text: &str) -> (tempfile::TempDir, Child) {
    let connection = "/etc/NetworkManager/system-connections/own.nmconnection".to_owned();
    let ours = match text.starts_with('[') {
        true => vec![NetFile { path: connection, mode: 0o600, text: text.to_owned() }],
        false => render(&read::document(text).unwrap(), Renderer::NetworkManager).unwrap(),
    };
    run(unpacked, files, ours)
}

fn run(unpacked: &Path, files: &[(&str, &str)], ours: Vec<NetFile>) -> (tempfile::TempDir, Child) {
    let scratch = tempfile::tempdir().unwrap();
    let theirs =
        files.iter().map(|(path, text)| NetFile { path: (*path).to_owned(), mode: 0o644, text: (*text).to_owned() });
    put(scratch.path(), &theirs.chain(ours).collect::<Vec<_>>());
    for (path, target) in files.iter().filter_map(|(path, text)| Some((path, text.strip_prefix(LINK)?))) {
        let path = scratch.path().join(&path[1..]);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network/networkmanager.sh");
    let mut run = Command::new("unshare");
    run.args(["--net", "--mount", "--fork", "--kill-child", "bash"]).arg(script).args([unpacked, scratch.path()]);
    let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    (scratch, child)
}

#[test]
fn network_manager_says_what_it_leaves_alone() {
    for (files, text, fate) in CASES {
        let about = format!("{files:?}: {text}");
        assert_fate(judged(files, text), *fate, &about);
    }
    let Some(_) = unpacked("network/usr/sbin/NetworkManager") else { return };
    let unpacked = unpacked("network").unwrap();
    if !nix::unistd::geteuid().is_root() {
        return skip("NetworkManager needs root");
    }
    // Several at the same time, as they wait for carriers.
    // Specs go by the address of a device's maker, and those that can be made here have none.
    let is_asked = |(files, ..): &&Case| files.iter().all(|(_, text)| !text.contains("52:54:00:12:34:56"));
    let asked: Vec<&Case> = CASES.iter().filter(is_asked).collect();
    assert_eq!(asked.len() + 5, CASES.len());
    for cases in asked.chunks(8) {
        let running: Vec<_> = cases.iter().map(|(files, text, _)| started(&unpacked, files, text)).collect();
        for ((files, text, fate), (_scratch, child)) in cases.iter().zip(running) {
            let output = child.wait_with_output().unwrap();
            let (state, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if matches!(fate, Stopped(_)) {
                let is_said = log.contains("Failed to read configuration");
                assert!(!output.status.success() && is_said, "{files:?}: {text}: {state}\n{log}");
                continue;
            }
            assert!(output.status.success(), "{files:?}: {text}: {state}\n{log}");
            let is_up = matches!(fate, Up | Told { is_up: true });
            // It may quit before a device of its is up, where nothing else is to be.
            let managed = "device (eth0): state change: unmanaged -> unavailable (reason 'managed'";
            let is_its = state.contains("inet 192.0.2.10/24") || !text.contains("br0") && log.contains(managed);
            assert_eq!(is_its, is_up, "{files:?}: {text}: {state}\n{log}");
        }
    }
}

/// What netplan hands NetworkManager, by our own files and by others in its words.
#[test]
fn what_netplan_hands_on_is_compared() {
    for (files, text, fate) in CASES.iter().filter(|(_, text, _)| !text.starts_with('[')) {
        let about = format!("{files:?}: {text}");
        let config = read::document(text).unwrap();
        assert_fate(staged(&netplan(files), Described::Config(config.clone()), None), *fate, &about);
        let own = format!("network: {text}");
        let text = Described::Either { text: own.clone().into(), config: read::document(&own), newest: None };
        assert_fate(staged(&netplan(files), text, None), *fate, &about);
    }
    let of = |text: &str, files: &[(&str, &str)]| {
        let text = Described::Either { text: text.into(), config: read::document(text), newest: None };
        staged(&netplan(files), text, None)
    };
    let leaving = [(MAIN, "[keyfile]\nunmanaged-devices=eth0,type:wifi\n")];
    let own = "network: {version: 2, ethernets: {eth0: {renderer: networkd, dhcp4: true}, eth1: {dhcp4: true}}}";
    let both = "network: {version: 2, ethernets: {renderer: networkd, eth0: {renderer: NetworkManager, dhcp4: true}}}";
    // networkd sees to what it is handed, if the guest has it.
    let with_networkd = [leaving[0], ("/usr/lib/systemd/systemd-networkd", "")];
    assert_fate(of(own, &with_networkd), Up, own);
    assert_fate(of(both, &with_networkd), Refused("\"eth0\" alone, as /etc/NetworkManager/NetworkManager.conf"), both);
    for (device, fate) in [
        ("ethernets: {x: {match: {name: eth0}, dhcp4: true}}", Refused("\"x\"")),
        ("ethernets: {eth0: {match: {name: eth1}, dhcp4: true}}", Up),
        ("ethernets: {x: {match: {macaddress: '52:54:00:12:34:56'}, set-name: eth0, dhcp4: true}}", Refused("\"x\"")),
        ("ethernets: {x: {match: {driver: virtio}, dhcp4: true}}", Told { is_up: false }),
        ("wifis: {w: {dhcp4: true, access-points: {a: {}}}}", Refused("\"w\"")),
        ("dummy-devices: {d: {addresses: [192.0.2.1/24]}}", Told { is_up: false }),
    ] {
        assert_fate(of(&format!("network: {{version: 2, {device}}}"), &leaving), fate, device);
    }
    // The file that netplan has an empty one for.
    let ubuntus = "/usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf";
    let all = "[keyfile]\nunmanaged-devices=*,except:type:wifi\n";
    assert_fate(of(both, &[(ubuntus, all)]), Up, ubuntus);
    let more = (ETC, "[keyfile]\nunmanaged-devices+=eth0\n");
    assert_fate(of(both, &[(ubuntus, all), more]), Refused("50-own.conf"), ubuntus);

    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let Some(_) = unpacked("network/usr/sbin/NetworkManager") else { return };
    if !nix::unistd::geteuid().is_root() {
        return skip("NetworkManager needs root");
    }
    for (files, is_up) in [(&[][..], true), (&leaving, false)] {
        let scratch = tempfile::tempdir().unwrap();
        let text = format!("network: {{renderer: NetworkManager, {}", &NAMED[1..]);
        put(scratch.path(), &[NetFile { path: "/etc/netplan/01-all.yaml".to_owned(), mode: 0o600, text }]);
        succeed(command(&generate).arg("--root-dir").arg(scratch.path()), "netplan");
        let name = "system-connections/netplan-eth0.nmconnection";
        let text = std::fs::read_to_string(scratch.path().join("run/NetworkManager").join(name)).unwrap();
        let connection = NetFile { path: format!("/etc/NetworkManager/{name}"), mode: 0o600, text };
        let (_scratch, child) = run(&unpacked("network").unwrap(), files, vec![connection]);
        let output = child.wait_with_output().unwrap();
        let (state, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let is_managed = log.contains("device (eth0): state change: unmanaged -> unavailable (reason 'managed'");
        assert_eq!(is_managed, is_up, "{files:?}: {state}\n{log}");
    }
}

/// A NetworkManager with the plugin for ifcfg files, which Debian's has not: `create_unhandled_connection` of its sources says what it takes.
#[test]
fn what_ifcfg_files_leave_alone() {
    const PLUGIN: &str = "/usr/lib64/NetworkManager/1.42.2-1.el9/libnm-settings-plugin-ifcfg-rh.so";
    let text = |text: &str| Described::Text(text.into());
    let named = || Described::Config(read::document(NAMED).unwrap());
    let by_mac = || Described::Config(read::document(BY_MAC).unwrap());
    let ifcfg = Some(Choice::Stack(NetworkStack::Ifcfg));
    let judge = |files: &[(&str, &str)], network, choice, fate, about: &str| {
        let files: Vec<_> = files.iter().copied().chain([(PLUGIN, "")]).collect();
        assert_fate(staged(&guest(&files), network, choice), fate, &format!("{about}: {files:?}"));
    };
    let leaving = [(MAIN, "[keyfile]\nunmanaged-devices=eth0\n")];
    let own = "DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=yes\n";
    judge(&[], text(own), None, Up, "a text");
    judge(&leaving, text(own), None, Refused("\"eth0\" alone, as /etc/NetworkManager/NetworkManager.conf"), "a text");
    judge(&leaving, named(), ifcfg, Refused("\"eth0\" alone"), "compiled");
    judge(
        &[(ETC, "[device]\nmatch-device=type:ethernet\nmanaged=0\n")],
        text(own),
        None,
        Told { is_up: false },
        "no TYPE",
    );
    let typed = format!("{own}TYPE=Ethernet\n");
    judge(&[(ETC, "[device]\nmatch-device=type:ethernet\nmanaged=0\n")], text(&typed), None, Refused(""), "a TYPE");
    // What is not read by the plugin is nothing to compare.
    let without = [(MAIN, "[main]\nplugins=keyfile\n[keyfile]\nunmanaged-devices=eth0\n"), (PLUGIN, "")];
    let said = staged(&guest(&without), named(), ifcfg).unwrap();
    assert!(!said.join("\n").contains("NetworkManager"), "{said:?}");
    // What is said to the plugin.
    for no in ["no", "N", "\"false\"", "0"] {
        let text = text(&format!("{own}NM_CONTROLLED={no}\n"));
        judge(
            &[],
            text,
            None,
            Refused("as the description says NM_CONTROLLED=no (take NM_CONTROLLED=no out of it)"),
            no,
        );
    }
    judge(&[], text(&format!("{own}NM_CONTROLLED=no\nNM_CONTROLLED=yes\n")), None, Up, "the last one");
    let place = "/etc/sysconfig/network-scripts/ifcfg-own";
    let other = |content: &'static str| [(place, content)];
    let why = Refused(
        "alone, as /etc/sysconfig/network-scripts/ifcfg-own says NM_CONTROLLED=no (take NM_CONTROLLED=no out of /etc",
    );
    judge(&other("DEVICE=eth0\nNM_CONTROLLED=no\n"), named(), None, why, "a keyfile");
    judge(&other("DEVICE=eth0\nNM_CONTROLLED=no\n"), named(), ifcfg, why, "compiled");
    judge(&other("DEVICE=eth0\nNM_CONTROLLED=yes\n"), named(), None, Up, "controlled");
    judge(&other("DEVICE=eth1\nNM_CONTROLLED=no\n"), named(), None, Up, "another");
    judge(&other("HWADDR=52:54:00:12:34:56\nDEVICE=eth1\nNM_CONTROLLED=no\n"), by_mac(), None, why, "by MAC");
    judge(&other("HWADDR=52:54:00:12:34:56\nNM_CONTROLLED=no\n"), named(), None, Told { is_up: false }, "unknown");
    judge(&other("NM_CONTROLLED=no\n"), named(), None, Up, "no device");
    // What is put in its place says it no more.
    let same = [("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\nNM_CONTROLLED=no\n")];
    judge(&same, named(), ifcfg, Up, "its own file");
    judge(&same, named(), None, Refused("ifcfg-eth0 says NM_CONTROLLED=no"), "its own file stays");
    // Without the plugin nobody reads it.
    assert_fate(staged(&guest(&same), named(), None), Up, "no plugin");
}

/// Where netplan is to have NetworkManager do it, its generator has an empty file in the place of Ubuntu's about all but Wi-Fi.
#[test]
fn what_netplan_has_in_its_place_is_told() {
    let name = "NetworkManager/conf.d/10-globally-managed-devices.conf";
    let path = format!("/usr/lib/{name}");
    let text = "[keyfile]\nunmanaged-devices=*,except:type:wifi,except:type:gsm,except:type:cdma\n";
    let renderer = Some(Choice::Stack(NetworkStack::NetworkManager));
    let net = Net { network: Described::Config(read::document(NAMED).unwrap()), renderer, compat: Compat::Imgraft };
    let said = |fs: MemFs| {
        let guest = Guest::inspect(&fs).unwrap();
        net.stage(&guest, &mut Stage::new(&fs))
            .map(|outcome| outcome.notes.join("\n"))
            .map_err(|error| error.to_string())
    };
    let own = (path.as_str(), text);
    assert!(said(guest(&[own])).unwrap_err().contains(&path));
    let generator = "/usr/lib/systemd/system-generators/netplan";
    let notes = said(guest(&[own, ("/usr/sbin/netplan", ""), (generator, "")])).unwrap();
    assert!(notes.contains("eth0: whether NetworkManager leaves it alone") && notes.contains(&path), "{notes}");
    // What another file adds stays.
    let more = ("/etc/NetworkManager/conf.d/50-docker.conf", "[keyfile]\nunmanaged-devices+=interface-name:docker0\n");
    let notes = said(guest(&[own, more, ("/usr/sbin/netplan", ""), (generator, "")])).unwrap();
    assert!(notes.contains("eth0: whether NetworkManager leaves it alone") && notes.contains(&path), "{notes}");
    let more = (more.0, "[keyfile]\nunmanaged-devices+=interface-name:eth0\n");
    assert!(said(guest(&[own, more, ("/usr/sbin/netplan", ""), (generator, "")])).unwrap_err().contains(more.0));

    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let text = "network: {version: 2, renderer: NetworkManager}\n".to_owned();
    put(scratch.path(), &[NetFile { path: "/etc/netplan/01-all.yaml".to_owned(), mode: 0o600, text }]);
    succeed(command(&generate).arg("--root-dir").arg(scratch.path()), "netplan");
    assert_eq!(std::fs::read(scratch.path().join("run").join(name)).unwrap(), b"");
}
