//! cloud-init is told to leave the network alone, where somebody else has it.

use super::{InjectError, Outcome, put};
use crate::config_drive::{Spelling, value};
use crate::guest::cloud_config::MAIN;
use crate::guest::{CloudInitNetwork, CloudInitSays, Guest};
use crate::inject::READ_LIMIT;
use crate::inject::cloud_config::Undoing;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use serde_json::Value;

/// The file that cloud-init's own files name for this, and the one that has a configuration of ours for cloud-init.
const ASIDE: &str = "99-disable-network-config.cfg";
const OURS: &str = "99-imgraft-network.cfg";

/// Where a file has to be for cloud-init to read it; an error where it reads no such files.
pub(super) fn place(name: &str, guest: &Guest) -> Result<String, InjectError> {
    match &guest.network.cloud_init_directory {
        Some(directory) => Ok(format!("{}/{name}", directory.trim_end_matches('/'))),
        None => Err(InjectError::CloudInitUndoes(Undoing::nowhere("network"))),
    }
}

/// Whether of two files cloud-init reads one after the other, which is none but the first one of all.
fn is_after(path: &str, other: &str) -> bool {
    path != MAIN && path > other
}

/// Has cloud-init leave the network alone, unless it does already, or does not run.
pub(super) fn stand_aside(guest: &Guest, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let Some(evidence) = guest.network.cloud_init else { return Ok(()) };
    let is_unread = |says: &&CloudInitSays| says.network == CloudInitNetwork::Unknown;
    outcome.notes.extend(guest.network.cloud_init_says.iter().filter(is_unread).map(|says| unread(&says.path)));
    let says = guest.network.cloud_init_config();
    let is_told = matches!(says, Some(CloudInitSays { network: CloudInitNetwork::Disabled, .. }));
    if is_told && let Some(CloudInitSays { path, .. }) = says {
        outcome.notes.push(format!("cloud-init leaves the network alone already, as {path} says"));
    }
    if is_told && guest.network.cloud_init_directory.is_none() {
        return Ok(());
    }
    let (aside, ours) = (place(ASIDE, guest)?, place(OURS, guest)?);
    if is_told && says.is_some_and(|says| says.path == ours) {
        return Ok(());
    }
    remove(&ours, "as cloud-init is not to have the network any more", stage, outcome)?;
    match says {
        _ if is_told => {}
        Some(CloudInitSays { path, network: CloudInitNetwork::Keys })
            if *path != aside || says_more(&aside, stage)? =>
        {
            return Err(InjectError::CloudInitInsists { path: path.clone() });
        }
        Some(CloudInitSays { path, .. }) if is_after(path, &aside) => {
            return Err(InjectError::CloudInitInsists { path: path.clone() });
        }
        _ => {
            let path = if says_more(&aside, stage)? { ours } else { aside };
            put(&GuestPath::parse(&path)?, 0o644, b"network: {config: disabled}\n", stage, outcome)?;
            let note = format!("{path}: has cloud-init, which runs in the guest ({evidence}), leave the network alone");
            outcome.notes.push(note);
        }
    }
    Ok(())
}

/// Takes back what [`stand_aside`] says, for a configuration that cloud-init is to have.
pub(super) fn step_in(guest: &Guest, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let (aside, ours) = (place(ASIDE, guest)?, place(OURS, guest)?);
    for CloudInitSays { path, network } in &guest.network.cloud_init_says {
        match network {
            _ if *path == ours => {}
            CloudInitNetwork::Disabled if *path == aside && !says_more(&aside, stage)? => {
                remove(&aside, "as it had cloud-init leave the network alone", stage, outcome)?;
            }
            // Wherever it stands, it is merged with ours.
            CloudInitNetwork::Disabled | CloudInitNetwork::Config | CloudInitNetwork::Keys => {
                return Err(InjectError::CloudInitInsists { path: path.clone() });
            }
            CloudInitNetwork::Other if is_after(path, &ours) => {
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
