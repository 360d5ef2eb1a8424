//! What cloud-init knows of an instance.

use super::super::InjectError;
use super::Site;
use super::rule::{entries, remove_tree};
use imgraft_vfs::path::GuestPath;

const STATE: &str = "/var/lib/cloud";
/// A seed is put there for the guest, and is not its state.
const SEED: &[u8] = b"seed";

/// Removes what `cloud-init clean` removes without further options: all in /var/lib/cloud whose name is not hidden, but for the seed.
/// At the next boot there is no instance that has been here before, and every module that runs once for an instance runs.
pub(super) fn forget(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let state = GuestPath::parse(STATE)?;
    let mut has_seed = false;
    for entry in entries(&state, site.stage)? {
        match &*entry.name {
            SEED => has_seed = true,
            [b'.', ..] => {}
            name => remove_tree(&state.join(name)?, site.stage)?,
        }
    }
    if has_seed {
        site.outcome.notes.push(format!(
            "{STATE}/seed stays, as it was put there for the guest: every clone will take it for its own"
        ));
    }
    Ok(())
}
