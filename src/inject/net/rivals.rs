//! What else a guest has for the same program, and what becomes of it.

pub(super) mod devices;
mod shadow;
pub(super) mod sourced;
mod tombstone;

use super::compiled::RESOLVER;
use super::put;
use crate::config_drive::{Spelling, value};
use crate::guest::network::unmanaged::KEYFILES;
use crate::guest::{Reader, systemd_version};
use crate::inject::staging::is_fatal;
use crate::inject::{InjectError, Outcome};
use crate::net::config::Config;
use crate::net::render::Renderer;
use devices::Networkd;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, ErrorKind, Layer};
use shadow::Shadow;
use std::collections::BTreeSet;

/// How a file begins that an earlier run made.
const OURS: &[u8] = b"# Made by imgraft.\n";
/// Where runs make files, for whichever program.
const DIRECTORIES: [&str; 7] = [
    "/etc/systemd/network",
    "/etc/netplan",
    "/etc/NetworkManager/system-connections",
    "/etc/sysconfig/network-scripts",
    "/etc/sysconfig/network",
    "/etc/udev/rules.d",
    "/etc/cloud/cloud.cfg.d",
];
/// The most files of such a directory, and the largest of them that is read, in bytes.
const FILES_MAX: usize = 4096;
const READ_LIMIT: u64 = 1024 * 1024;
/// Where netplan's files are, the ones that win first.
pub(super) const NETPLAN: [&str; 3] = ["/etc/netplan", "/usr/lib/netplan", "/lib/netplan"];
/// Where files are that go by their place among others.
const NETWORKD: &str = "/etc/systemd/network";
/// Why a connection of NetworkManager's goes.
const FIRST: &str = "by its priority NetworkManager would take it for a device of these";
/// The one file of ifupdown, and what it is where ifupdown has nothing to see to.
const INTERFACES: &str = "/etc/network/interfaces";
const LOOPBACK: &[u8] = b"# Made by imgraft.\nauto lo\niface lo inet loopback\n";

/// Removes what earlier runs made and this one does not, and what would be mixed with the configuration; says what stays beside it.
///
/// netplan merges all of its files, so that those which speak of devices go; wicked merges those of a device, so that routes of ours
/// go. For networkd and NetworkManager ours come first, by the name of the file or by the priority of the connection, and what would
/// come before them for one of their devices goes. What the guest's packages have for these and for netplan elsewhere stays, behind a file of
/// its name that is read in its place, or of its UUID. Without a `config` there is a text, whose devices are not known.
pub(super) fn clear(
    renderer: Renderer,
    new: &[&str],
    config: Option<&Config>,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    forget(new, stage, outcome)?;
    let directories: &[&str] = match renderer {
        Renderer::Netplan => &NETPLAN,
        Renderer::Networkd => {
            &[NETWORKD, "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"]
        }
        Renderer::Ifcfg => &["/etc/sysconfig/network-scripts"],
        Renderer::Wicked => &["/etc/sysconfig/network"],
        Renderer::NetworkManager => &[KEYFILES, "/usr/lib/NetworkManager/system-connections"],
        Renderer::Ifupdown(_) | Renderer::CloudInit(_) => &[],
    };
    let (mut beside, mut packages) = (Vec::new(), Vec::new());
    let shadow = match renderer {
        Renderer::Netplan => Shadow::Empty,
        _ => Shadow::Mask,
    };
    let paths = paths(directories, stage)?;
    let networkd = match renderer {
        Renderer::Networkd => networkd(&paths, stage)?,
        _ => Networkd { netdevs: BTreeSet::new(), version: None },
    };
    for path in paths {
        let (directory, name) = path.rsplit_once('/').unwrap_or_default();
        if new.contains(&path.as_str()) {
            continue;
        }
        match renderer {
            Renderer::Netplan if name.ends_with(".yaml") => {
                let at = GuestPath::parse(path.as_str())?;
                // What we cannot read netplan may still read.
                if shadow.is_over(&path, stage)? || !read(&at, stage)?.is_none_or(|text| has_devices(&text)) {
                    continue;
                }
                let why = "netplan would mix its devices with these";
                if directory == "/etc/netplan" {
                    stage.remove(&at)?;
                    outcome.notes.push(format!("{path}: removed, as {why}"));
                } else {
                    shadow.cast(&path, why, stage, outcome)?;
                }
            }
            // The first file that matches a device is the one that counts.
            Renderer::Networkd if name.ends_with(".network") && is_before(name, new) => match config {
                Some(config) if !is_rival(&path, |text| devices::is_for_networkd(text, config, &networkd), stage)? => {}
                _ if shadow.is_over(&path, stage)? => {}
                Some(_) => {
                    let why = "by its name it comes first, and systemd-networkd would take it for a device of these";
                    if directory == NETWORKD {
                        stage.remove(&GuestPath::parse(path.as_str())?)?;
                        outcome.notes.push(format!("{path}: removed, as {why}"));
                    } else {
                        shadow.cast(&path, why, stage, outcome)?;
                    }
                }
                None => beside.push(path),
            },
            Renderer::NetworkManager => {
                let is_first = |text: &str| config.is_none_or(|config| devices::is_for_network_manager(text, config));
                if !is_rival(&path, is_first, stage)? {
                    continue;
                }
                if directory == KEYFILES {
                    stage.remove(&GuestPath::parse(path.as_str())?)?;
                    outcome.notes.push(format!("{path}: removed, as {FIRST}"));
                } else if name.ends_with(".nmconnection") {
                    packages.push(path);
                }
            }
            Renderer::Ifcfg if name.starts_with("ifcfg-") && name != "ifcfg-lo" => beside.push(path),
            Renderer::Wicked => match name.split_once('-') {
                Some(("ifroute", device)) if new.contains(&format!("{directory}/ifcfg-{device}").as_str()) => {
                    stage.remove(&GuestPath::parse(path.as_str())?)?;
                    outcome.notes.push(format!("{path}: removed, as wicked would mix its routes with these"));
                }
                Some(("ifcfg" | "ifroute" | "ifrule" | "ifsysctl", device)) if device != "lo" => beside.push(path),
                None if matches!(name, "routes" | "ifsysctl") => beside.push(path),
                _ => {}
            },
            _ => {}
        }
    }
    beside.extend(tombstone::hide(packages, FIRST, stage, outcome)?);
    if !beside.is_empty() {
        outcome.notes.push(format!("read beside it, and not changed: {}", beside.join(", ")));
    }
    Ok(())
}

/// What the guest's networkd makes of these files.
fn networkd(paths: &[String], stage: &Stage<'_>) -> Result<Networkd, InjectError> {
    let mut netdevs = BTreeSet::new();
    for path in paths.iter().filter(|path| path.ends_with(".netdev")) {
        let text = read(&GuestPath::parse(path.as_str())?, stage)?.unwrap_or_default();
        netdevs.extend(devices::netdev(&String::from_utf8_lossy(&text)).map(str::to_owned));
    }
    Ok(Networkd { netdevs, version: systemd_version(&Reader::new(stage.base()))? })
}

/// Whether a name comes before that of one of these files.
fn is_before(name: &str, new: &[&str]) -> bool {
    let names = new.iter().filter_map(|path| path.rsplit('/').next()).filter(|path| path.ends_with(".network"));
    names.into_iter().any(|own| name < own)
}

/// Whether a file's text is one of a kind; one that is too large to be read may be.
fn is_rival(path: &str, is_kind: impl Fn(&str) -> bool, stage: &Stage<'_>) -> Result<bool, InjectError> {
    let text = read(&GuestPath::parse(path)?, stage)?;
    Ok(text.is_none_or(|text| is_kind(&String::from_utf8_lossy(&text))))
}

/// Removes what earlier runs made and this one does not, for whichever program: the guest may start more than one, and a file of
/// another may count for more.
pub(super) fn forget(new: &[&str], stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    for path in paths(&DIRECTORIES, stage)? {
        if new.contains(&path.as_str()) {
            continue;
        }
        let at = GuestPath::parse(path.as_str())?;
        if is_ours(&path, &at, stage)? {
            stage.remove(&at)?;
            outcome.notes.push(format!("{path}: removed, an earlier run had made it"));
        }
    }
    let at = GuestPath::parse(INTERFACES)?;
    if !new.contains(&INTERFACES) && file_type(&at, stage)? == Some(FileType::Regular) {
        let text = read(&at, stage)?;
        if text.as_deref().is_some_and(|text| text.starts_with(OURS) && text != LOOPBACK) {
            put(&at, 0o644, LOOPBACK, stage, outcome)?;
            outcome.notes.push(format!("{INTERFACES}: only the loopback device is left, an earlier run had made it"));
        }
    }
    Ok(())
}

/// Says so where an earlier run has left its name servers. What the guest had before is not known, and some need a file.
pub(super) fn resolver(stage: &Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let at = GuestPath::parse(RESOLVER)?;
    if file_type(&at, stage)? == Some(FileType::Regular) && read(&at, stage)?.is_some_and(|text| text.starts_with(OURS))
    {
        outcome
            .notes
            .push(format!("{RESOLVER}: not changed, an earlier run had made it, with the name servers of then"));
    }
    Ok(())
}

/// Whether an earlier run made a file: by its name, or by its name and its beginning.
fn is_ours(path: &str, at: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    let (directory, name) = path.rsplit_once('/').unwrap_or_default();
    let may_be = match directory {
        "/etc/sysconfig/network-scripts" => {
            ["ifcfg-", "route-", "route6-"].iter().any(|prefix| name.starts_with(prefix))
        }
        "/etc/sysconfig/network" => ["ifcfg-", "ifroute-", "ifsysctl-"].iter().any(|prefix| name.starts_with(prefix)),
        // Beside it there may be one that is about the guest's name.
        "/etc/cloud/cloud.cfg.d" => name == "99-imgraft-network.cfg",
        // Texts that were put in as they stood.
        _ if matches!(name, "10-imgraft.network" | "50-imgraft.yaml") => return Ok(true),
        _ => name.contains("imgraft"),
    };
    Ok(may_be && read(at, stage)?.is_some_and(|text| text.starts_with(OURS)))
}

/// The files in directories, and the links to files, sorted within each.
pub(super) fn paths(directories: &[&str], stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    let mut paths = Vec::new();
    for directory in directories {
        let path = GuestPath::parse(*directory)?;
        if file_type(&path, stage)? != Some(FileType::Directory) {
            continue;
        }
        let mut names: Vec<_> = stage.read_dir(&path)?.unwrap_or_default();
        if names.len() > FILES_MAX {
            let error = Error::unsupported(Layer::Filesystem, format!("more than {FILES_MAX} files of a network"));
            return Err(error.with_guest_path(directory).with_hint("remove those that nothing needs first").into());
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in names {
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            let path = format!("{}/{name}", directory.trim_end_matches('/'));
            let is_file = match entry.file_type {
                FileType::Regular => true,
                FileType::Symlink => file_type(&GuestPath::parse(path.as_str())?, stage)? == Some(FileType::Regular),
                _ => false,
            };
            if is_file {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}

/// What a path leads to; `None` where that is nothing, or nowhere in the guest.
pub(super) fn file_type(path: &GuestPath, stage: &Stage<'_>) -> Result<Option<FileType>, InjectError> {
    match stage.metadata(path) {
        Err(error) if is_fatal(error.kind()) => Err(error.into()),
        found => Ok(found.ok().flatten().map(|metadata| metadata.file_type)),
    }
}

/// A file's text; `None` where it is larger than those of ours.
pub(super) fn read(path: &GuestPath, stage: &Stage<'_>) -> Result<Option<Vec<u8>>, InjectError> {
    match stage.read(path, READ_LIMIT) {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        text => Ok(text?),
    }
}

/// Whether a text of netplan's is about devices, and not only about who sees to them.
pub(super) fn has_devices(text: &[u8]) -> bool {
    let Ok(document) = value(text, Spelling::Yaml) else { return !text.is_empty() };
    let network = document.get("network").and_then(|network| network.as_object());
    network.is_some_and(|network| network.keys().any(|key| key != "version" && key != "renderer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;
    use crate::net::read::document;

    #[test]
    fn what_networkd_makes_is_no_rival_of_a_link_by_mac_or_pattern() {
        let fs = phony()
            .file("/etc/systemd/network/00-lo.network", "[Match]\nName=lo\n")
            .file("/etc/systemd/network/00-wg.network", "[Match]\nName=wg0\n")
            .file("/etc/systemd/network/00-wg.netdev", "[NetDev]\nName=wg0\nKind=wireguard\n")
            .file("/etc/systemd/network/01-br.network", "[Match]\nName=br0\n")
            .file("/usr/lib/systemd/network/99-br.netdev", "[NetDev]\nName=br0\nKind=bridge\n")
            .file("/etc/systemd/network/02-kind.network", "[Match]\nKind=bond\n")
            .file("/etc/systemd/network/03-own.network", "[Match]\nName=br1\n")
            .build()
            .unwrap();
        for matched in ["macaddress: '52:54:00:12:34:56'", "name: 'e*'"] {
            let config =
                document(&format!("{{version: 2, ethernets: {{a: {{match: {{{matched}}}, dhcp4: true}}}}}}")).unwrap();
            let mut outcome = Outcome::default();
            let mut stage = Stage::new(&fs);
            let new = ["/etc/systemd/network/05-imgraft-a.network"];
            clear(Renderer::Networkd, &new, Some(&config), &mut stage, &mut outcome).unwrap();
            let removed: Vec<_> = outcome.notes.iter().filter_map(|note| note.split_once(": removed")).collect();
            assert!(matches!(removed[..], [("/etc/systemd/network/03-own.network", _)]), "{removed:?}");
        }
    }
}
