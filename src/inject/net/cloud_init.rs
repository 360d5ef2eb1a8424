//! cloud-init is told to leave the network alone, where somebody else has it.

use super::{InjectError, Outcome, put};
use crate::config_drive::{Spelling, value};
use crate::guest::{CloudInitNetwork, CloudInitSays, Guest};
use crate::inject::READ_LIMIT;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use serde_json::Value;

/// The file that cloud-init's own files name for this.
const ASIDE: &str = "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg";
/// The file that has a configuration of ours for cloud-init.
const OURS: &str = "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg";

/// Has cloud-init leave the network alone, unless it does already, or does not run.
pub(super) fn stand_aside(guest: &Guest, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let Some(evidence) = guest.network.cloud_init else { return Ok(()) };
    let is_unread = |says: &&CloudInitSays| says.network == CloudInitNetwork::Unknown;
    outcome.notes.extend(guest.network.cloud_init_says.iter().filter(is_unread).map(|says| unread(&says.path)));
    let says = guest.network.cloud_init_config();
    if let Some(CloudInitSays { path, network: CloudInitNetwork::Disabled }) = says {
        outcome.notes.push(format!("cloud-init leaves the network alone already, as {path} says"));
        if path == OURS {
            return Ok(());
        }
    }
    remove(OURS, "as cloud-init is not to have the network any more", stage, outcome)?;
    match says {
        Some(CloudInitSays { network: CloudInitNetwork::Disabled, .. }) => {}
        Some(CloudInitSays { path, .. }) if path.as_str() > ASIDE => {
            return Err(InjectError::CloudInitInsists { path: path.clone() });
        }
        _ => {
            let path = if says_more(ASIDE, stage)? { OURS } else { ASIDE };
            put(&GuestPath::parse(path)?, 0o644, b"network: {config: disabled}\n", stage, outcome)?;
            let note = format!("{path}: has cloud-init, which runs in the guest ({evidence}), leave the network alone");
            outcome.notes.push(note);
        }
    }
    Ok(())
}

/// Takes back what [`stand_aside`] says, for a configuration that cloud-init is to have.
pub(super) fn step_in(guest: &Guest, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    for CloudInitSays { path, network } in &guest.network.cloud_init_says {
        match network {
            _ if path == OURS => {}
            CloudInitNetwork::Disabled if path == ASIDE && !says_more(ASIDE, stage)? => {
                remove(ASIDE, "as it had cloud-init leave the network alone", stage, outcome)?;
            }
            // Wherever it stands, it is merged with ours.
            CloudInitNetwork::Disabled | CloudInitNetwork::Config => {
                return Err(InjectError::CloudInitInsists { path: path.clone() });
            }
            CloudInitNetwork::Other if path.as_str() > OURS => {
                return Err(InjectError::CloudInitInsists { path: path.clone() });
            }
            CloudInitNetwork::Unknown => outcome.notes.push(unread(path)),
            CloudInitNetwork::Other => {
                outcome.notes.push(format!("read beside it, and not changed: {path}, which cloud-init mixes with it"));
            }
        }
    }
    Ok(())
}

/// What there is to say of a file that is not read here as cloud-init reads it.
fn unread(path: &str) -> String {
    format!("{path}: what it tells cloud-init is not known here, and it may have it configure the network all the same")
}

/// Whether a file has more to say to cloud-init than of the network: the name is one that administrators give theirs, too.
fn says_more(path: &str, stage: &Stage<'_>) -> Result<bool, InjectError> {
    let Some(text) = stage.read(&GuestPath::parse(path)?, READ_LIMIT)? else { return Ok(false) };
    Ok(match value(&text, Spelling::Yaml) {
        Ok(Value::Object(keys)) => keys.keys().any(|key| key != "network"),
        Ok(document) => !document.is_null(),
        Err(_) => true,
    })
}

fn remove(path: &str, why: &str, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let at = GuestPath::parse(path)?;
    if stage.metadata(&at)?.is_some() {
        stage.remove(&at)?;
        outcome.notes.push(format!("{path}: removed, {why}"));
    }
    Ok(())
}
