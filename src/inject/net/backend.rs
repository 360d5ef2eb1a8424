//! What netplan hands its work to, and whether the guest starts that.
//!
//! netplan's generator has systemd start networkd where it has work for it, enabled or not (`enable_networkd` of its sources), so that
//! only a mask is in the way. NetworkManager it does not start.

use super::rivals;
use super::unused::{Obstacle, SaidBy, Unused};
use crate::config_drive::{Spelling, value};
use crate::guest::{Guest, NetworkStack};
use crate::inject::{InjectError, Outcome};
use crate::net::render::{self, NetFile};
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

/// Has a file that was compiled say what it needs, where the guest has nothing else; fails where that cannot be.
pub(super) fn choose(
    file: &mut NetFile,
    guest: &Guest,
    stage: &Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let said = said(&file.path, file.text.as_bytes(), stage)?;
    let Some(fault) = said.fault(guest, stage)? else { return Ok(()) };
    if said.by.is_some() || !is_started(NetworkStack::NetworkManager, guest) {
        return Err(InjectError::Unused(fault));
    }
    file.text = render::for_network_manager(&file.text);
    outcome.notes.push(format!("{}: renderer: NetworkManager, as {fault}", file.path));
    Ok(())
}

/// Fails where a text that is to be at `path` has a device that nothing would configure.
pub(super) fn check(path: &str, text: &[u8], guest: &Guest, stage: &Stage<'_>) -> Result<(), InjectError> {
    let said = said(path, text, stage)?;
    for renderer in of_devices(text) {
        let own = renderer.map(|renderer| Said { renderer, by: Some(SaidBy::Description) });
        if let Some(fault) = own.as_ref().unwrap_or(&said).fault(guest, stage)? {
            return Err(InjectError::Unused(fault));
        }
    }
    Ok(())
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
    for found in std::iter::once(path.to_owned()).chain(rivals::paths(&rivals::NETPLAN, stage)?) {
        let name = found.rsplit('/').next().unwrap_or_default().to_owned();
        if name.ends_with(".yaml") {
            files.entry(name).or_insert(found);
        }
    }
    let mut said = Said { renderer: NetworkStack::Networkd, by: None };
    for file in files.into_values() {
        let found = match file == path {
            true => Some(text.to_vec()),
            false => rivals::read(&GuestPath::parse(file.as_str())?, stage)?,
        };
        let document = value(&found.unwrap_or_default(), Spelling::Yaml).unwrap_or_default();
        if let Some(renderer) = document.get("network").and_then(renderer) {
            let by = if file == path { SaidBy::Description } else { SaidBy::File(file) };
            said = Said { renderer, by: Some(by) };
        }
    }
    Ok(said)
}

/// The renderers of a text's devices, each once; `None` is that of all that have none of their own.
fn of_devices(text: &[u8]) -> Vec<Option<NetworkStack>> {
    let document = value(text, Spelling::Yaml).unwrap_or_default();
    let sections = document.get("network").and_then(Value::as_object).into_iter().flatten();
    let mut found = Vec::new();
    for section in sections.filter_map(|(_, section)| section.as_object()) {
        // A string is the section's own renderer.
        for device in section.values().filter(|device| device.is_object()) {
            let own = renderer(device).or_else(|| section.get("renderer").and_then(Value::as_str).and_then(by_name));
            if !found.contains(&own) {
                found.push(own);
            }
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
