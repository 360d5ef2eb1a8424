//! What else a guest has for the same program, and what becomes of it.

pub(super) mod devices;
pub(super) mod netplan;
mod shadow;
pub(super) mod sourced;
mod tombstone;

use super::compiled::RESOLVER;
use super::put;
use crate::guest::network::unmanaged::KEYFILES;
use crate::guest::{Reader, systemd_version};
use crate::inject::staging::is_fatal;
use crate::inject::{InjectError, Outcome};
use crate::net::render::Renderer;
use devices::{Fit, Networkd, Own};
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
/// The most files of such a directory, the largest of them that is read, and all that are read for one purpose, in bytes.
const FILES_MAX: usize = 4096;
const READ_LIMIT: u64 = 1024 * 1024;
const TOTAL: u64 = 4 * READ_LIMIT;
/// Where files are that go by their place among others, the ones that win first (systemd.network(5)).
const NETWORKD: [&str; 4] =
    ["/etc/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"];
/// Why a connection of NetworkManager's goes.
const FIRST: &str = "by its priority NetworkManager would take it for a device of these";
/// The one file of ifupdown, and what it is where ifupdown has nothing to see to.
pub(super) const INTERFACES: &str = "/etc/network/interfaces";
const LOOPBACK: &[u8] = b"# Made by imgraft.\nauto lo\niface lo inet loopback\n";

/// Removes what earlier runs made and this one does not, and what would be mixed with the configuration; says what stays beside it.
///
/// netplan merges all of its files ([`netplan`]); wicked merges those of a device, so that routes of ours
/// go. For networkd and NetworkManager ours come first, by the name of the file or by the priority of the connection, and what would
/// come before them for one of their devices goes. What the guest's packages have for these and for netplan elsewhere stays, behind a file of
/// its name that is read in its place, or of its UUID. What is not for one of the devices of `own` as surely as it says stays, and is told of.
pub(super) fn clear(
    renderer: Renderer,
    new: &[&str],
    own: &Own<'_>,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    forget(new, stage, outcome)?;
    let directories: &[&str] = match renderer {
        Renderer::Netplan => return netplan::clear(new, stage, outcome),
        Renderer::Networkd => &NETWORKD,
        Renderer::Ifcfg => &["/etc/sysconfig/network-scripts"],
        Renderer::Wicked => &["/etc/sysconfig/network"],
        Renderer::NetworkManager => &[KEYFILES, "/usr/lib/NetworkManager/system-connections"],
        Renderer::Ifupdown(_) | Renderer::CloudInit(_) => &[],
    };
    let (mut beside, mut first, mut packages) = (Vec::new(), Vec::new(), Vec::new());
    let paths = paths(directories, stage)?;
    let is_read = |path: &&String| match renderer {
        Renderer::Networkd => path.ends_with(".network") || path.ends_with(".netdev"),
        renderer => renderer == Renderer::NetworkManager,
    };
    check_total(paths.iter().filter(is_read), stage)?;
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
            // The first file that matches a device is the one that counts.
            Renderer::Networkd if name.ends_with(".network") && is_before(name, new) => {
                let fit = fit(&path, |text| devices::for_networkd(text, own, &networkd), stage)?;
                if fit == Fit::No || Shadow::Mask.is_over(&path, stage)? {
                    continue;
                }
                let why = "by its name it comes first, and systemd-networkd would take it for a device of these";
                if fit < own.gives_way {
                    first.push(path);
                } else if directory == NETWORKD[0] {
                    stage.remove(&GuestPath::parse(path.as_str())?)?;
                    outcome.notes.push(format!("{path}: removed, as {why}"));
                } else {
                    Shadow::Mask.cast(&path, why, stage, outcome)?;
                }
            }
            Renderer::NetworkManager if directory == KEYFILES || name.ends_with(".nmconnection") => {
                let fit = fit(&path, |text| devices::for_network_manager(text, own), stage)?;
                if fit == Fit::No {
                    continue;
                }
                if fit < own.gives_way {
                    first.push(path);
                } else if directory == KEYFILES {
                    stage.remove(&GuestPath::parse(path.as_str())?)?;
                    outcome.notes.push(format!("{path}: removed, as {FIRST}"));
                } else {
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
    for path in first {
        outcome.notes.push(format!(
            "{path}: not changed, as it may be for other devices, though it goes before this network for those that both are for (imgraft \
             inject --delete {path} takes it away)"
        ));
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
        if Shadow::Mask.is_over(path, stage)? {
            continue;
        }
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

/// Whether a file is for a device of ours, by its text; one that is too large to be read may be.
fn fit(path: &str, of: impl Fn(&str) -> Fit, stage: &Stage<'_>) -> Result<Fit, InjectError> {
    let text = read(&GuestPath::parse(path)?, stage)?;
    Ok(text.map_or(Fit::May, |text| of(&String::from_utf8_lossy(&text))))
}

/// Removes what earlier runs made and this one does not, for whichever program: the guest may start more than one, and a file of
/// another may count for more.
pub(super) fn forget(new: &[&str], stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let mut paths = paths(&DIRECTORIES, stage)?;
    paths.retain(|path| !new.contains(&path.as_str()) && may_be_ours(path));
    check_total(paths.iter(), stage)?;
    for path in paths {
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

/// Whether an earlier run may have made a file, by its name.
fn may_be_ours(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or_default();
    match directory {
        "/etc/sysconfig/network-scripts" => {
            ["ifcfg-", "route-", "route6-"].iter().any(|prefix| name.starts_with(prefix))
        }
        "/etc/sysconfig/network" => ["ifcfg-", "ifroute-", "ifsysctl-"].iter().any(|prefix| name.starts_with(prefix)),
        // Beside it there may be one that is about the guest's name.
        "/etc/cloud/cloud.cfg.d" => name == "99-imgraft-network.cfg",
        _ => name.contains("imgraft"),
    }
}

/// Whether an earlier run made a file that it may have made: by its name, or by its beginning.
fn is_ours(path: &str, at: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    // Texts that were put in as they stood.
    let is_text = path.ends_with("/10-imgraft.network") || path.ends_with("/50-imgraft.yaml");
    Ok(is_text || read(at, stage)?.is_some_and(|text| text.starts_with(OURS)))
}

/// Fails where these files, of which each is read once or twice, are more together than is read of a guest's. Several names of one
/// file are several.
pub(super) fn check_total<'p>(paths: impl Iterator<Item = &'p String>, stage: &Stage<'_>) -> Result<(), InjectError> {
    let mut left = TOTAL;
    for path in paths {
        let size = match stage.metadata(&GuestPath::parse(path.as_str())?) {
            Err(error) if is_fatal(error.kind()) => return Err(error.into()),
            found => found.ok().flatten().map_or(0, |metadata| metadata.size),
        };
        // What is larger is not read.
        let Some(rest) = left.checked_sub(if size > READ_LIMIT { 0 } else { size }) else {
            let directory = path.rsplit_once('/').unwrap_or_default().0;
            let what = format!("with {path} there are more than {} MiB of files of a network", TOTAL / (1024 * 1024));
            let error = Error::unsupported(Layer::Filesystem, what).with_guest_path(directory);
            return Err(error.with_hint("remove those that nothing needs first").into());
        };
        left = rest;
    }
    Ok(())
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
            // In the place of these, another file of the name makes another device, or none.
            .file("/usr/lib/systemd/network/00-wg.netdev", "[NetDev]\nName=wg1\nKind=wireguard\n")
            .file("/etc/systemd/network/04-over.network", "[Match]\nName=wg1\n")
            .file("/usr/lib/systemd/network/98-br.netdev", "[NetDev]\nName=br2\nKind=bridge\n")
            .symlink("/etc/systemd/network/98-br.netdev", "/dev/null")
            .file("/etc/systemd/network/04-off.network", "[Match]\nName=br2\n")
            .build()
            .unwrap();
        for (matched, rivals) in [
            ("macaddress: '52:54:00:12:34:56'", &["03-own.network", "04-off.network", "04-over.network"][..]),
            ("name: 'b*'", &["03-own.network", "04-off.network"]),
            // What it says matches none of these.
            ("name: 'e*'", &[]),
        ] {
            let config =
                document(&format!("{{version: 2, ethernets: {{a: {{match: {{{matched}}}, dhcp4: true}}}}}}")).unwrap();
            let mut outcome = Outcome::default();
            let mut stage = Stage::new(&fs);
            let new = ["/etc/systemd/network/05-imgraft-a.network"];
            clear(Renderer::Networkd, &new, &Own::of(&config), &mut stage, &mut outcome).unwrap();
            let removed: Vec<_> = outcome.notes.iter().filter_map(|note| note.split_once(": removed")).collect();
            let removed: Vec<_> = removed.iter().filter_map(|(path, _)| path.rsplit('/').next()).collect();
            assert_eq!(removed, rivals, "{matched}");
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let size = usize::try_from(READ_LIMIT).unwrap();
        for (renderer, directory, name) in [
            (Renderer::Networkd, "/etc/systemd/network", ".network"),
            (Renderer::Networkd, "/usr/lib/systemd/network", ".netdev"),
            (Renderer::NetworkManager, "/etc/NetworkManager/system-connections", ".nmconnection"),
            (Renderer::Netplan, "/etc/netplan", ".yaml"),
            (Renderer::Ifcfg, "/etc/sysconfig/network-scripts", ""),
        ] {
            let of = |sizes: &[usize], name: &str| {
                let guest = sizes.iter().enumerate().fold(phony(), |guest, (number, size)| {
                    guest.file(format!("{directory}/ifcfg-{number}{name}"), "#".repeat(*size))
                });
                let fs = guest.build().unwrap();
                let config = document("{version: 2, ethernets: {eth0: {dhcp4: true}}}").unwrap();
                clear(renderer, &[], &Own::of(&config), &mut Stage::new(&fs), &mut Outcome::default())
                    .map_err(|error| error.to_string())
            };
            of(&[size; 4], name).unwrap();
            let refused = of(&[size, size, size, size, 1], name).unwrap_err();
            assert!(
                refused.contains(&format!("with {directory}/ifcfg-4{name} there are more than 4 MiB")),
                "{refused}"
            );
            // What is not read does not count.
            of(&[size, size, size, size, size + 1, size + 1], name).unwrap();
            if renderer != Renderer::NetworkManager && renderer != Renderer::Ifcfg {
                of(&[size; 5], ".other").unwrap();
            }
        }
        let many = (0..5).fold(phony().file("/etc/netplan/a.yaml", "#".repeat(size)), |guest, number| {
            guest.hard_link(format!("/etc/netplan/b{number}.yaml"), "/etc/netplan/a.yaml")
        });
        let fs = many.build().unwrap();
        assert!(clear(Renderer::Netplan, &[], &Own::default(), &mut Stage::new(&fs), &mut Outcome::default()).is_err());
    }
}
