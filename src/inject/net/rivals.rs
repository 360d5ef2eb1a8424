//! What else a guest has for the same program, and what becomes of it.

use crate::config_drive::{Spelling, value};
use crate::inject::{InjectError, Outcome, READ_LIMIT};
use crate::net::render::Renderer;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// How a file begins that an earlier run made.
const OURS: &[u8] = b"# Made by imgraft.\n";

/// Removes what earlier runs made and this one does not, and what would be mixed with the configuration; says what stays beside it.
///
/// netplan merges all of its files, so that those which speak of devices go. For the others ours come first: by the name of the
/// file, or by the priority of the connection.
pub(super) fn clear(
    renderer: Renderer,
    new: &[&str],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    forget(renderer, new, stage, outcome)?;
    let directories: &[&str] = match renderer {
        Renderer::Netplan => &["/etc/netplan", "/usr/lib/netplan", "/lib/netplan"],
        Renderer::Networkd => &["/etc/systemd/network", "/usr/lib/systemd/network"],
        Renderer::Ifcfg => &["/etc/sysconfig/network-scripts"],
        Renderer::Ifupdown(_) | Renderer::NetworkManager | Renderer::CloudInit => &[],
    };
    let mut beside = Vec::new();
    for path in paths(directories, stage)? {
        let (directory, name) = path.rsplit_once('/').unwrap_or_default();
        if new.contains(&path.as_str()) {
            continue;
        }
        match renderer {
            Renderer::Netplan if name.ends_with(".yaml") => {
                let at = GuestPath::parse(path.as_str())?;
                if !has_devices(&at, stage)? {
                    continue;
                }
                if directory == "/etc/netplan" {
                    stage.remove(&at)?;
                    outcome.notes.push(format!("{path}: removed, as netplan would mix its devices with these"));
                } else {
                    beside.push(path);
                }
            }
            // The first file that matches a device is the one that counts.
            Renderer::Networkd if name.ends_with(".network") && name < "05-imgraft" => beside.push(path),
            Renderer::Ifcfg if name.starts_with("ifcfg-") && name != "ifcfg-lo" => beside.push(path),
            _ => {}
        }
    }
    if !beside.is_empty() {
        outcome.notes.push(format!("read beside it, and not changed: {}", beside.join(", ")));
    }
    Ok(())
}

/// Removes what earlier runs compiled for a program and this one does not: it would count for more than a text of the guest's own.
pub(super) fn forget(
    renderer: Renderer,
    new: &[&str],
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let directories: &[&str] = match renderer {
        Renderer::Ifupdown(_) | Renderer::Networkd => &["/etc/systemd/network"],
        Renderer::Netplan => &["/etc/netplan"],
        Renderer::NetworkManager => &["/etc/NetworkManager/system-connections", "/etc/systemd/network"],
        Renderer::Ifcfg => &["/etc/sysconfig/network-scripts", "/etc/systemd/network"],
        Renderer::CloudInit => &["/etc/cloud/cloud.cfg.d"],
    };
    for path in paths(directories, stage)? {
        let name = path.rsplit('/').next().unwrap_or_default();
        if new.contains(&path.as_str()) || !(name.contains("imgraft") || is_ifcfg(name)) {
            continue;
        }
        let at = GuestPath::parse(path.as_str())?;
        if is_ours(&at, stage)? {
            stage.remove(&at)?;
            outcome.notes.push(format!("{path}: removed, an earlier run had made it"));
        }
    }
    Ok(())
}

fn is_ifcfg(name: &str) -> bool {
    ["ifcfg-", "route-", "route6-"].iter().any(|prefix| name.starts_with(prefix))
}

/// The regular files in directories, sorted within each.
fn paths(directories: &[&str], stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    let mut paths = Vec::new();
    for directory in directories {
        let path = GuestPath::parse(*directory)?;
        if stage.metadata(&path)?.is_none_or(|metadata| metadata.file_type != FileType::Directory) {
            continue;
        }
        let entries = stage.read_dir(&path)?.unwrap_or_default();
        let regular = entries.into_iter().filter(|entry| entry.file_type == FileType::Regular);
        let mut names: Vec<_> = regular.filter_map(|entry| String::from_utf8(entry.name).ok()).collect();
        names.sort();
        paths.extend(names.into_iter().map(|name| format!("{directory}/{name}")));
    }
    Ok(paths)
}

fn is_ours(path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    Ok(stage.read(path, READ_LIMIT)?.is_some_and(|text| text.starts_with(OURS)))
}

/// Whether a netplan file is about devices, and not only about who sees to them.
fn has_devices(path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    let Some(text) = stage.read(path, READ_LIMIT)? else { return Ok(false) };
    // What we cannot read netplan may still read.
    let Ok(document) = value(&text, Spelling::Yaml) else { return Ok(!text.is_empty()) };
    let network = document.get("network").and_then(|network| network.as_object());
    Ok(network.is_some_and(|network| network.keys().any(|key| key != "version" && key != "renderer")))
}
