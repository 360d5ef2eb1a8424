//! Which devices NetworkManager leaves alone, by the guest's own configuration: its own verdict, and ours.

use crate::oracle::{command, put, skip, succeed, unpacked};
use imgraft::guest::{Guest, NetworkStack};
use imgraft::inject::{Choice, Compat, Described, Injector, Net};
use imgraft::net::read;
use imgraft::net::render::{NetFile, Renderer, render};
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::stage::Stage;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const NAMED: &str = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.10/24]}}}";
const BY_MAC: &str =
    "{version: 2, ethernets: {nic: {match: {macaddress: '52:54:00:12:34:56'}, addresses: [192.0.2.10/24]}}}";
const BRIDGE: &str = "{version: 2, bridges: {br0: {interfaces: [], addresses: [192.0.2.10/24]}}}";
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

/// What is to become of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// NetworkManager sees to it.
    Up,
    /// It does not, and the run is refused: what that says.
    Refused(&'static str),
    /// It may not, and does or does not here.
    Told { is_up: bool },
}
use Fate::{Refused, Told, Up};

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
        .symlink("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "/gone");
    files.iter().fold(guest, |guest, (path, text)| guest.file(*path, *text)).build().unwrap()
}

/// What is said of a run, or why there is none.
fn judged(files: &[(&str, &str)], text: &str) -> Result<Vec<String>, String> {
    let network = match text.starts_with('[') {
        true => Described::Text(text.into()),
        false => Described::Config(read::document(text).unwrap()),
    };
    let net = Net { network, renderer: None, compat: Compat::Imgraft };
    let fs = guest(files);
    let guest = Guest::inspect(&fs).unwrap();
    let outcome = net.stage(&guest, &mut Stage::new(&fs));
    outcome.map(|outcome| outcome.notes).map_err(|error| format!("{error} ({})", error.hint().unwrap()))
}

/// NetworkManager, in namespaces of its own, with the guest's configuration and the connection.
fn started(unpacked: &Path, files: &[(&str, &str)], text: &str) -> (tempfile::TempDir, Child) {
    let scratch = tempfile::tempdir().unwrap();
    let connection = "/etc/NetworkManager/system-connections/own.nmconnection".to_owned();
    let ours = match text.starts_with('[') {
        true => vec![NetFile { path: connection, mode: 0o600, text: text.to_owned() }],
        false => render(&read::document(text).unwrap(), Renderer::NetworkManager).unwrap(),
    };
    let theirs =
        files.iter().map(|(path, text)| NetFile { path: (*path).to_owned(), mode: 0o644, text: (*text).to_owned() });
    put(scratch.path(), &theirs.chain(ours).collect::<Vec<_>>());
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
        match (judged(files, text), fate) {
            (Ok(notes), Up | Told { .. }) => {
                let is_told = notes.iter().any(|note| note.contains("whether NetworkManager leaves it alone depends"));
                assert_eq!(is_told, *fate != Up, "{about}: {notes:?}");
            }
            (Err(said), Refused(why)) => {
                assert!(said.contains("leaves the link") && said.contains(why), "{about}: {said}")
            }
            (found, _) => panic!("{about}: {found:?}"),
        }
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
            assert!(output.status.success(), "{files:?}: {text}: {state}\n{log}");
            let is_up = matches!(fate, Up | Told { is_up: true });
            // It may quit before a device of its is up, where nothing else is to be.
            let managed = "device (eth0): state change: unmanaged -> unavailable (reason 'managed'";
            let is_its = state.contains("inet 192.0.2.10/24") || *text != BRIDGE && log.contains(managed);
            assert_eq!(is_its, is_up, "{files:?}: {text}: {state}\n{log}");
        }
    }
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
