//! Where NetworkManager reads its connections: `path=` of `[keyfile]`.

use super::{BRIDGE, ETC, LATE, MAIN, PATTERN, USR, guest, judged, netplan, staged, started};
use crate::oracle::{skip, unpacked};
use imgraft::inject::{Choice, Described};
use imgraft::net::read;

const KEYFILE: &str =
    "[connection]\nid=own\ntype=bridge\ninterface-name=br0\n[ipv4]\nmethod=manual\naddress1=192.0.2.10/24\n";

/// What the run says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Nothing,
    /// Whether the connection is read depends on what is not known here, and it is or is not.
    Told {
        is_read: bool,
    },
    Refused(&'static str),
}
use Said::{Nothing, Refused, Told};

/// Each with the files of the guest's configuration.
const CASES: &[(&[(&str, &str)], Said)] = &[
    (
        &[(MAIN, "[keyfile]\npath=/var/lib/own\n")],
        Refused(
            "NetworkManager.conf has \"/var/lib/own\" in its place (path= of [keyfile]) (take the path out of /etc/N",
        ),
    ),
    (&[(MAIN, "[keyfile]\npath=/etc/NetworkManager/system-connections\n")], Nothing),
    (&[(MAIN, "[keyfile]\npath=/etc//NetworkManager/./system-connections//\n")], Nothing),
    (&[(MAIN, "[keyfile]\npath= /etc/NetworkManager/system-connections \t\n")], Nothing),
    (&[(MAIN, "[keyfile]\npath=/etc/NetworkManager/system-connections/own\n")], Refused("")),
    (&[(MAIN, "[keyfile]\npath=/etc/NetworkManager\n")], Refused("")),
    // None at all, and one that it passes over.
    (&[(MAIN, "[keyfile]\npath=\n")], Refused("has \"\" in its place")),
    (&[(MAIN, "[keyfile]\npath=var/lib/own\n")], Nothing),
    (&[(MAIN, "[keyfile]\npath+=/var/lib/own\n")], Nothing),
    (&[(MAIN, "[main]\npath=/var/lib/own\n")], Nothing),
    (&[(MAIN, "[keyfile]\npath=/usr/lib/NetworkManager/system-connections\n")], Refused("")),
    // Which file counts.
    (&[(USR, "[keyfile]\npath=/var/lib/own\n")], Refused("--touch /etc/NetworkManager/conf.d/50-own.conf")),
    (&[(USR, "[keyfile]\npath=/var/lib/own\n"), (ETC, "")], Nothing),
    (&[(USR, "[keyfile]\npath=/var/lib/own\n"), (MAIN, "[keyfile]\npath=own\n")], Nothing),
    (&[(MAIN, "[keyfile]\npath=own\n"), (ETC, "[keyfile]\npath=/var/lib/own\n")], Refused("50-own.conf has")),
    (&[(ETC, "[keyfile]\npath=\n"), (LATE, "[keyfile]\npath=/var/lib/own\n")], Refused("90-own.conf has")),
    (&[(ETC, "[keyfile]\npath=/var/lib/own\npath=own\n")], Nothing),
    (&[(ETC, "[.config]\nenable=false\n[keyfile]\npath=/var/lib/own\n")], Nothing),
    (&[(ETC, "[.config]\nenable=nm-version-min:1.2\n[keyfile]\npath=/var/lib/own\n")], Told { is_read: false }),
    (
        &[
            (MAIN, "[keyfile]\npath=/var/lib/own\n"),
            (ETC, "[.config]\nenable=nm-version-min:1.2\n[keyfile]\npath=own\n"),
        ],
        Told { is_read: true },
    ),
    (
        &[
            (MAIN, "[keyfile]\npath=/var/lib/own\n"),
            (ETC, "[.config]\nenable=nm-version-min:1.2\n[keyfile]\npath=/var/lib/other\n"),
        ],
        Refused("NetworkManager.conf"),
    ),
    // Whatever the plugins, it is one.
    (&[(MAIN, "[main]\nplugins=ifupdown\n")], Nothing),
    (&[(MAIN, "[main]\nplugins=\n")], Nothing),
    (&[(MAIN, "[main]\nplugins=keyfile\nplugins-=keyfile\n")], Nothing),
];

#[test]
fn network_manager_says_where_it_reads_its_connections() {
    for (files, expected) in CASES {
        for text in [BRIDGE, KEYFILE] {
            match (judged(files, text), expected) {
                (Ok(notes), Nothing | Told { .. }) => {
                    let is_told = notes.iter().any(|note| note.contains("whether NetworkManager reads it depends"));
                    assert_eq!(is_told, *expected != Nothing, "{files:?}: {notes:?}");
                }
                (Err(said), Refused(why)) => {
                    let place = "does not read /etc/NetworkManager/system-connections, as /";
                    assert!(said.contains(place) && said.contains(why), "{files:?}: {said}");
                }
                (found, _) => panic!("{files:?}: {found:?}"),
            }
        }
    }
    let Some(_) = unpacked("network/usr/sbin/NetworkManager") else { return };
    let unpacked = unpacked("network").unwrap();
    if !nix::unistd::geteuid().is_root() {
        return skip("NetworkManager needs root");
    }
    for cases in CASES.chunks(8) {
        let running: Vec<_> = cases.iter().map(|(files, _)| started(&unpacked, files, KEYFILE)).collect();
        for ((files, said), (_scratch, child)) in cases.iter().zip(running) {
            let output = child.wait_with_output().unwrap();
            let (state, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{files:?}: {state}\n{log}");
            let is_read = matches!(said, Nothing | Told { is_read: true });
            assert_eq!(state.contains("inet 192.0.2.10/24"), is_read, "{files:?}: {state}\n{log}");
        }
    }
}

/// What netplan hands on to it is in `/run`, which it reads in any case.
#[test]
fn what_netplan_hands_on_is_read_wherever_the_others_are() {
    let files = [(MAIN, "[keyfile]\npath=/var/lib/own\n")];
    let config = || Described::Config(read::document(PATTERN).unwrap());
    staged(&netplan(&files), config(), None).unwrap();
    // Nor do others mind.
    let networkd = Some(Choice::Stack(imgraft::guest::NetworkStack::Networkd));
    staged(&guest(&files), config(), networkd).unwrap();
    staged(&guest(&files), config(), None).unwrap_err();
}
