//! What systemd keeps of a machine's identity.

use super::super::InjectError;
use super::super::machine_id::{self, Kept};
use super::Site;
use super::rule::entries;
use imgraft_vfs::path::GuestPath;

const SECRET: &str = "/var/lib/systemd/credential.secret";
/// Where credentials are that need the secret (systemd-creds(1)).
const CREDENTIALS: [&str; 2] = ["/etc/credstore.encrypted", "/var/lib/systemd/credstore.encrypted"];

/// Takes the machine ID away; whoever wants a first boot has it.
pub(super) fn forget(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    machine_id::forget(Kept::FirstBoot, site.guest, site.stage)
}

/// Takes the secret of systemd-creds(1) away, unless there are credentials that nothing could decrypt without it.
pub(super) fn credentials(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let secret = GuestPath::parse(SECRET)?;
    if site.stage.symlink_metadata(&secret)?.is_none() {
        return Ok(());
    }
    for directory in CREDENTIALS {
        if !entries(&GuestPath::parse(directory)?, site.stage)?.is_empty() {
            let note = format!("{SECRET} stays, as {directory} has credentials that need it: clones share it");
            site.outcome.notes.push(note);
            return Ok(());
        }
    }
    Ok(site.stage.remove(&secret)?)
}
