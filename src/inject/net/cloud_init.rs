//! cloud-init is told to leave the network alone, where somebody else has it.

use super::{InjectError, Outcome, put};
use crate::guest::{CloudInitNetwork, CloudInitSays, Guest};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The file that cloud-init's own files name for this.
const ASIDE: &str = "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg";
/// The file that has a configuration of ours for cloud-init.
const OURS: &str = "/etc/cloud/cloud.cfg.d/99-imgraft-network.cfg";

/// Has cloud-init leave the network alone, unless it does already, or does not run.
pub(super) fn stand_aside(guest: &Guest, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let Some(evidence) = guest.network.cloud_init else { return Ok(()) };
    remove(OURS, "as cloud-init is not to have the network any more", stage, outcome)?;
    match guest.network.cloud_init_config() {
        Some(CloudInitSays { path, network: CloudInitNetwork::Disabled }) => {
            outcome.notes.push(format!("cloud-init leaves the network alone already, as {path} says"));
        }
        Some(CloudInitSays { path, .. }) if path.as_str() > ASIDE => {
            return Err(InjectError::CloudInitInsists { path: path.clone() });
        }
        _ => {
            put(&GuestPath::parse(ASIDE)?, 0o644, b"network: {config: disabled}\n", stage, outcome)?;
            let note =
                format!("{ASIDE}: has cloud-init, which runs in the guest ({evidence}), leave the network alone");
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
            CloudInitNetwork::Disabled if path == ASIDE => {
                remove(ASIDE, "as it had cloud-init leave the network alone", stage, outcome)?;
            }
            // Wherever it stands, it is merged with ours.
            CloudInitNetwork::Disabled | CloudInitNetwork::Config => {
                return Err(InjectError::CloudInitInsists { path: path.clone() });
            }
            CloudInitNetwork::Other if path.as_str() > OURS => {
                return Err(InjectError::CloudInitInsists { path: path.clone() });
            }
            CloudInitNetwork::Other => {
                outcome.notes.push(format!("read beside it, and not changed: {path}, which cloud-init mixes with it"));
            }
        }
    }
    Ok(())
}

fn remove(path: &str, why: &str, stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), InjectError> {
    let at = GuestPath::parse(path)?;
    if stage.metadata(&at)?.is_some() {
        stage.remove(&at)?;
        outcome.notes.push(format!("{path}: removed, {why}"));
    }
    Ok(())
}
