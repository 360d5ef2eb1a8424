//! What netplan hands its work to in guests that start one program and not the other: by its generator, and ours.

use crate::oracle::{command, put, skip, succeed, unpacked};
use imgraft::guest::Guest;
use imgraft::inject::{Compat, Described, Injector, Net};
use imgraft::net::read;
use imgraft::net::render::{NetFile, Renderer, render};
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{GuestFs, read_file};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::{Follow, resolve};
use imgraft_vfs::stage::Stage;
use std::path::Path;
use std::process::Command;

const NETWORKD: &str = "systemd-networkd.service";
const MASK: &str = "/etc/systemd/system/systemd-networkd.service";
const OWN: &str = "/etc/netplan/50-imgraft.yaml";
const PLAIN: &str = "{version: 2, ethernets: {eth0: {dhcp4: true}}}";
const CHOSEN: &str = "network: {version: 2, renderer: NetworkManager, ethernets: {eth0: {dhcp4: true}}}";
const BY_SECTION: &str = "network: {version: 2, ethernets: {renderer: NetworkManager, eth0: {dhcp4: true}}}";
const BY_DEVICE: &str =
    "network: {version: 2, renderer: NetworkManager, ethernets: {eth0: {dhcp4: true, renderer: networkd}}}";

const EARLY: &str = "/etc/netplan/01-all.yaml";
const LATE: &str = "/etc/netplan/90-all.yaml";
const BY_NETWORKD: &str = "network: {version: 2, renderer: networkd}";
const BY_MANAGER: &str = "network: {version: 2, renderer: NetworkManager}";
const WITH_DEVICE: &str = "network: {version: 2, renderer: NetworkManager, ethernets: {old: {dhcp4: true}}}";

/// What a guest starts: what there is of networkd, and whether it starts NetworkManager.
#[derive(Clone, Copy, PartialEq)]
struct Starts {
    networkd: Networkd,
    manager: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Networkd {
    /// Not enabled either: netplan sees to that.
    Off,
    Masked,
    Gone,
}

const MASKED: Starts = Starts { networkd: Networkd::Masked, manager: false };
const MASKED_BESIDE: Starts = Starts { networkd: Networkd::Masked, manager: true };
const OFF: Starts = Starts { networkd: Networkd::Off, manager: false };
const OFF_BESIDE: Starts = Starts { networkd: Networkd::Off, manager: true };
const GONE: Starts = Starts { networkd: Networkd::Gone, manager: false };
const GONE_BESIDE: Starts = Starts { networkd: Networkd::Gone, manager: true };

fn guest(starts: Starts, files: &[(&str, &str)]) -> MemFs {
    let mut guest = MemFs::builder()
        .file("/usr/lib/systemd/systemd", "")
        .file("/usr/sbin/netplan", "")
        .file("/usr/lib/systemd/system-generators/netplan", "")
        .file("/usr/sbin/NetworkManager", "");
    if starts.networkd != Networkd::Gone {
        guest = guest
            .file("/usr/lib/systemd/systemd-networkd", "")
            .file(format!("/usr/lib/systemd/system/{NETWORKD}"), "[Unit]\n");
    }
    if starts.networkd == Networkd::Masked {
        guest = guest.symlink(MASK, "/dev/null");
    }
    if starts.manager {
        guest = guest
            .file("/usr/lib/systemd/system/NetworkManager.service", "[Unit]\n")
            .symlink("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "/gone");
    }
    files.iter().fold(guest, |guest, (path, text)| guest.file(*path, *text)).build().unwrap()
}

/// The guest after a run, and what was said; or why there was none.
fn injected(mut fs: MemFs, text: &str) -> Result<(MemFs, String), String> {
    let config = read::document(text);
    let network = match text.starts_with("network:") {
        true => Described::Either { text: text.into(), config, newest: None },
        false => Described::Config(config.unwrap()),
    };
    let net = Net { network, renderer: None, compat: Compat::Imgraft };
    let (changes, notes) = {
        let guest = Guest::inspect(&fs).unwrap();
        let mut stage = Stage::new(&fs);
        let outcome = net.stage(&guest, &mut stage).map_err(|error| format!("{error} ({})", error.hint().unwrap()))?;
        (stage.finish().unwrap(), outcome.notes.join("\n"))
    };
    changes.apply(&mut fs).unwrap();
    Ok((fs, notes))
}

/// netplan's files of a guest.
fn files(fs: &MemFs) -> Vec<NetFile> {
    let at = |path: &str| resolve(fs, &GuestPath::parse(path).unwrap(), Follow::All);
    let mut files = Vec::new();
    for directory in ["/etc/netplan", "/lib/netplan"] {
        let Ok(place) = at(directory) else { continue };
        for entry in fs.read_dir(&place).unwrap_or_default() {
            let path = format!("{directory}/{}", String::from_utf8(entry.name).unwrap());
            let text = String::from_utf8(read_file(fs, &at(&path).unwrap(), 1 << 20).unwrap()).unwrap();
            files.push(NetFile { path, mode: 0o600, text });
        }
    }
    files
}

/// Who configures eth0, by netplan's generator and systemctl; nobody where what it is handed to is not started.
fn in_effect(generate: &Path, starts: Starts, files: &[NetFile]) -> Option<&'static str> {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    put(root, files);
    for directory in [
        "gen/normal",
        "gen/early",
        "gen/late",
        "systemd/system-generators",
        "usr/lib/systemd/system",
        "etc/systemd/system",
    ] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    if starts.networkd != Networkd::Gone {
        std::fs::write(root.join("usr/lib/systemd/system").join(NETWORKD), "[Unit]\n").unwrap();
    }
    if starts.networkd == Networkd::Masked {
        std::os::unix::fs::symlink("/dev/null", root.join(&MASK[1..])).unwrap();
    }
    // By its name it knows that it is one.
    let generator = root.join("systemd/system-generators/netplan");
    std::os::unix::fs::symlink(generate, &generator).unwrap();
    let gen_dirs = ["gen/normal", "gen/early", "gen/late"].map(|directory| root.join(directory));
    succeed(command(&generator).arg("--root-dir").arg(root).args(gen_dirs), "netplan");
    if root.join("run/NetworkManager/system-connections/netplan-eth0.nmconnection").exists() {
        assert!(!root.join("gen/normal/multi-user.target.wants/NetworkManager.service").is_symlink());
        return starts.manager.then_some("NetworkManager");
    }
    assert!(root.join("run/systemd/network/10-netplan-eth0.network").exists());
    let rules = std::fs::read_to_string(root.join("run/udev/rules.d/90-netplan.rules")).unwrap();
    assert!(rules.contains("ENV{NM_UNMANAGED}=\"1\""), "{rules}");
    let is_wanted = root.join("gen/normal/multi-user.target.wants").join(NETWORKD).is_symlink();
    let said = Command::new("systemctl").arg("--root").arg(root).args(["is-enabled", NETWORKD]).output().unwrap();
    // One that is there and not masked, of which nothing says how it is enabled.
    (is_wanted && said.stdout == b"static\n").then_some("systemd-networkd")
}

/// What a guest starts, netplan's files in it, what is described, and who is to configure it or why nobody can.
type Case = (Starts, &'static [(&'static str, &'static str)], &'static str, Result<&'static str, &'static str>);

#[test]
fn who_is_handed_the_network_is_started() {
    let Some(generate) = unpacked("network/usr/libexec/netplan/generate") else { return };
    if Command::new("systemctl").arg("--version").output().is_err() {
        return skip("there is no systemctl");
    }
    let cases: [Case; 24] = [
        (OFF, &[], PLAIN, Ok("systemd-networkd")),
        (OFF_BESIDE, &[], PLAIN, Ok("systemd-networkd")),
        (OFF_BESIDE, &[(EARLY, BY_MANAGER)], PLAIN, Ok("NetworkManager")),
        (OFF_BESIDE, &[(LATE, BY_MANAGER)], PLAIN, Ok("NetworkManager")),
        (OFF_BESIDE, &[(EARLY, BY_MANAGER), (LATE, BY_NETWORKD)], PLAIN, Ok("systemd-networkd")),
        // The same name in another directory is the same file.
        (OFF, &[("/lib/netplan/01-all.yaml", BY_MANAGER), (EARLY, BY_NETWORKD)], PLAIN, Ok("systemd-networkd")),
        (
            OFF,
            &[("/lib/netplan/01-all.yaml", BY_MANAGER)],
            PLAIN,
            Err("NetworkManager, as /lib/netplan/01-all.yaml says, which nothing in the guest starts"),
        ),
        (OFF, &[(EARLY, BY_MANAGER)], PLAIN, Err("--enable-unit NetworkManager.service has it started")),
        (OFF, &[(EARLY, BY_MANAGER)], PLAIN, Err("have /etc/netplan/01-all.yaml say renderer: networkd")),
        // What only a file said that goes is said no more.
        (OFF, &[(LATE, WITH_DEVICE)], PLAIN, Ok("systemd-networkd")),
        (MASKED_BESIDE, &[], PLAIN, Ok("NetworkManager")),
        (MASKED_BESIDE, &[(LATE, WITH_DEVICE)], PLAIN, Ok("NetworkManager")),
        (MASKED_BESIDE, &[(EARLY, BY_MANAGER)], PLAIN, Ok("NetworkManager")),
        (
            MASKED_BESIDE,
            &[(EARLY, BY_NETWORKD)],
            PLAIN,
            Err("as /etc/netplan/01-all.yaml says, which is masked: /etc/systemd/system/systemd-networkd.service"),
        ),
        (MASKED, &[], PLAIN, Err("--delete /etc/systemd/system/systemd-networkd.service takes the mask away")),
        (GONE_BESIDE, &[], PLAIN, Ok("NetworkManager")),
        (
            GONE,
            &[],
            PLAIN,
            Err("says otherwise, which is not in the guest (put systemd-networkd into the guest first)"),
        ),
        (
            GONE_BESIDE,
            &[(EARLY, BY_NETWORKD)],
            PLAIN,
            Err(
                "not in the guest (put systemd-networkd into the guest first; or have /etc/netplan/01-all.yaml say renderer: Net",
            ),
        ),
        // Texts that stay as they are.
        (GONE_BESIDE, &[], BY_DEVICE, Err("as the description says, which is not in the guest")),
        (
            MASKED_BESIDE,
            &[],
            "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}",
            Err("as no file of its own says otherwise, which is masked"),
        ),
        (MASKED_BESIDE, &[], CHOSEN, Ok("NetworkManager")),
        (MASKED_BESIDE, &[], BY_SECTION, Ok("NetworkManager")),
        (MASKED_BESIDE, &[], BY_DEVICE, Err("as the description says, which is masked")),
        (OFF, &[], CHOSEN, Err("NetworkManager, as the description says, which nothing in the guest starts")),
    ];
    for (starts, there, text, expected) in cases {
        let about = format!("{there:?}: {text}");
        let fs = guest(starts, there);
        match (injected(fs.clone(), text), expected) {
            (Ok((after, notes)), Ok(program)) => {
                assert_eq!(in_effect(&generate, starts, &files(&after)), Some(program), "{about}");
                let is_said = notes.contains(&format!("{OWN}: renderer: NetworkManager, as netplan would"));
                let is_ours =
                    files(&after).iter().any(|file| file.path == OWN && file.text.contains("renderer: \"Net"));
                assert_eq!(is_said, is_ours, "{about}: {notes}");
                let (again, _) = injected(after.clone(), text).unwrap();
                assert_eq!(files(&again), files(&after), "{about}: a second time");
            }
            (Err(said), Err(why)) => {
                assert!(said.contains(why), "{about}: {said}");
                // As it would have been.
                let mut files = files(&fs);
                files.push(match text.starts_with("network:") {
                    true => NetFile { path: OWN.to_owned(), mode: 0o600, text: text.to_owned() },
                    false => render(&read::document(text).unwrap(), Renderer::Netplan).unwrap().remove(0),
                });
                assert_eq!(in_effect(&generate, starts, &files), None, "{about}");
            }
            (found, _) => panic!("{about}: {:?}", found.map(|(_, notes)| notes)),
        }
    }
}

/// A NetworkManager that is not there is put there, not started.
#[test]
fn what_is_not_there_is_not_to_be_started() {
    let fs = MemFs::builder()
        .file("/usr/sbin/netplan", "")
        .file("/usr/lib/systemd/system-generators/netplan", "")
        .file(EARLY, BY_MANAGER)
        .build()
        .unwrap();
    let said = injected(fs, PLAIN).map(|(_, notes)| notes).unwrap_err();
    let why = "which is not in the guest (put NetworkManager into the guest first; or have /etc/netplan/01-all.yaml say renderer: networkd)";
    assert!(said.contains(why) && !said.contains("--enable-unit"), "{said}");
}
