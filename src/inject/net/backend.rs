//! What netplan hands its work to, and whether the guest starts that.
//!
//! netplan's generator has systemd start networkd where it has work for it, enabled or not (`enable_networkd` of its sources), so that
//! only a mask is in the way. NetworkManager it does not start.

use super::unused::{Obstacle, SaidBy, Unused};
use super::{rivals, unmanaged};
use crate::config_drive::{NODES_MAX, Spelling, value};
use crate::guest::{Guest, NetworkStack};
use crate::inject::{InjectError, Outcome};
use crate::net::render::{self, NetFile};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use serde_json::Value;
use std::collections::BTreeMap;

/// A `renderer:` of netplan's.
#[derive(Clone, Debug)]
struct Said {
    renderer: NetworkStack,
    /// What says it; without any it is networkd.
    by: Option<SaidBy>,
}

/// A device of a text of netplan's.
#[derive(Debug)]
pub(super) struct Handed {
    /// The section that has it.
    pub(super) section: String,
    /// What the text calls it.
    pub(super) id: String,
    /// What the text says of it.
    pub(super) device: Value,
    /// Whom it is handed to, where the section or the device says it.
    own: Option<NetworkStack>,
}

/// Has a file that was compiled say what it needs, where the guest has nothing else; fails where that cannot be.
pub(super) fn choose(
    file: &mut NetFile,
    guest: &Guest,
    stage: &Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let said = said(&file.path, file.text.as_bytes(), stage)?;
    let Some(fault) = said.fault(guest, stage)? else {
        return check_managed(&file.path, devices(file.text.as_bytes()), said.renderer, guest, stage, outcome);
    };
    if said.by.is_some() || !is_started(NetworkStack::NetworkManager, guest) {
        return Err(InjectError::Unused(fault));
    }
    file.text = render::for_network_manager(&file.text);
    outcome.notes.push(format!("{}: renderer: NetworkManager, as {fault}", file.path));
    let devices = devices(file.text.as_bytes());
    check_managed(&file.path, devices, NetworkStack::NetworkManager, guest, stage, outcome)
}

/// Fails where a text that is to be at `path` has a device that nothing would configure.
pub(super) fn check(
    path: &str,
    text: &[u8],
    guest: &Guest,
    stage: &Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let said = said(path, text, stage)?;
    let devices = devices(text);
    let mut renderers: Vec<Option<NetworkStack>> = Vec::new();
    for own in devices.iter().map(|device| device.own) {
        if !renderers.contains(&own) {
            renderers.push(own);
        }
    }
    for renderer in renderers {
        let own = renderer.map(|renderer| Said { renderer, by: Some(SaidBy::Description) });
        if let Some(fault) = own.as_ref().unwrap_or(&said).fault(guest, stage)? {
            return Err(InjectError::Unused(fault));
        }
    }
    check_managed(path, devices, said.renderer, guest, stage, outcome)
}

/// Fails where NetworkManager would leave alone what it is handed, of all that have no renderer of their own where that is `renderer`.
fn check_managed(
    path: &str,
    mut devices: Vec<Handed>,
    renderer: NetworkStack,
    guest: &Guest,
    stage: &Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    devices.retain(|device| device.own.unwrap_or(renderer) == NetworkStack::NetworkManager);
    if devices.is_empty() || guest.network.state(NetworkStack::Netplan).is_none() {
        return Ok(());
    }
    unmanaged::Manager::new(guest, &[path], stage)?.check_handed(&devices, outcome)
}

impl Said {
    /// Why the guest would not configure what is handed on; of a netplan that is not there nothing is known.
    fn fault(&self, guest: &Guest, stage: &Stage<'_>) -> Result<Option<Unused>, InjectError> {
        if guest.network.state(NetworkStack::Netplan).is_none() {
            return Ok(None);
        }
        let state = guest.network.state(self.renderer);
        let masked_by = state.and_then(|state| state.masked_by.clone());
        let obstacle = match (masked_by, state, self.renderer) {
            (Some(path), ..) => Obstacle::Masked(path),
            (None, Some(_), NetworkStack::Networkd) => return Ok(None),
            (None, Some(state), _) if state.enabled_by.is_some() => return Ok(None),
            (None, Some(_), _) => Obstacle::Off,
            (None, None, NetworkStack::Networkd) if has_networkd(stage)? => return Ok(None),
            (None, None, _) => Obstacle::Missing,
        };
        Ok(Some(Unused::Backend { backend: self.renderer, said_by: self.by.clone(), obstacle }))
    }
}

/// Whether there is a unit of networkd, wherever its program is.
fn has_networkd(stage: &Stage<'_>) -> Result<bool, InjectError> {
    for directory in
        ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
    {
        let unit = GuestPath::parse(format!("{directory}/systemd-networkd.service"))?;
        if rivals::file_type(&unit, stage)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_started(stack: NetworkStack, guest: &Guest) -> bool {
    guest.network.state(stack).is_some_and(|state| state.enabled_by.is_some())
}

/// What holds for devices that have none of their own, once a text is at `path`: of the files that have a `renderer`, the last one by its
/// name says it, whichever the directory.
fn said(path: &str, text: &[u8], stage: &Stage<'_>) -> Result<Said, InjectError> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for found in std::iter::once(path.to_owned()).chain(rivals::netplan::files(stage)?) {
        let name = found.rsplit('/').next().unwrap_or_default().to_owned();
        files.entry(name).or_insert(found);
    }
    let mut said = Said { renderer: NetworkStack::Networkd, by: None };
    let mut left = NODES_MAX;
    for file in files.into_values() {
        let at = GuestPath::parse(file.as_str())?;
        let document = match file == path {
            true => value(text, Spelling::Yaml),
            false if rivals::file_type(&at, stage)? == Some(FileType::Regular) => {
                rivals::netplan::document(&at, &rivals::read(&at, stage)?.unwrap_or_default(), &mut left)?
            }
            false => continue,
        };
        let document = document.unwrap_or_default();
        if let Some(renderer) = document.get("network").and_then(renderer) {
            let by = if file == path { SaidBy::Description } else { SaidBy::File(file) };
            said = Said { renderer, by: Some(by) };
        }
    }
    Ok(said)
}

/// The devices of a text.
fn devices(text: &[u8]) -> Vec<Handed> {
    let document = value(text, Spelling::Yaml).unwrap_or_default();
    let sections = document.get("network").and_then(Value::as_object).into_iter().flatten();
    let mut found = Vec::new();
    for (name, section) in sections.filter_map(|(name, section)| Some((name, section.as_object()?))) {
        let of_section = section.get("renderer").and_then(Value::as_str).and_then(by_name);
        // A string is the section's own renderer.
        for (id, device) in section.iter().filter(|(_, device)| device.is_object()) {
            let own = renderer(device).or(of_section);
            found.push(Handed { section: name.clone(), id: id.clone(), device: device.clone(), own });
        }
    }
    found
}

fn renderer(entry: &Value) -> Option<NetworkStack> {
    entry.get("renderer")?.as_str().and_then(by_name)
}

fn by_name(name: &str) -> Option<NetworkStack> {
    match name {
        "networkd" => Some(NetworkStack::Networkd),
        "NetworkManager" => Some(NetworkStack::NetworkManager),
        _ => None,
    }
}
