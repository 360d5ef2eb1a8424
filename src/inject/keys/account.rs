//! What of a user's account keeps sshd from letting the user in, whatever the keys: its shell, and that it has expired.

use crate::guest::mounts::is_never_seen;
use crate::guest::{self, Accounts};
use crate::inject::files::below::there;
use crate::inject::{InjectError, passwords};
use imgraft_vfs::fs::{FileType, Timestamp};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use zeroize::Zeroizing;

/// The shell of who has none in passwd(5).
const SH: &str = "/bin/sh";

/// A sentence on each, with all that is staged: sshd asks for a shell that it can run (allowed_user of OpenSSH's auth.c), and PAM or
/// sshd for an account that has not expired (shadow(5)).
pub(in crate::inject) fn remarks(user: &str, now: Timestamp, stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    let mut remarks: Vec<String> = shell(user, stage)?.into_iter().collect();
    remarks.extend(expiry(user, now, stage)?);
    Ok(remarks)
}

fn shell(user: &str, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let accounts = Accounts::staged(stage)?;
    let Some(account) = accounts.user(user) else { return Ok(None) };
    if account.has_no_login() {
        return Ok(Some(format!("'{user}' has a shell that lets nobody log in")));
    }
    // A tree without it is not all of the guest: its programs are on another volume.
    if there(stage.metadata(&GuestPath::parse(SH)?))?.is_none() {
        return Ok(None);
    }
    let shell: &[u8] = if account.shell.is_empty() { SH.as_bytes() } else { &account.shell };
    let Ok(path) = GuestPath::parse(shell) else { return Ok(None) };
    if is_never_seen(path.as_bytes()) {
        return Ok(None);
    }
    if there(stage.metadata(&path))? == Some(FileType::Regular)
        && stage.metadata(&path)?.is_some_and(|found| found.mode & 0o111 != 0)
    {
        return Ok(None);
    }
    Ok(Some(format!("'{user}' has the shell {path}, which is no program of the guest: sshd lets nobody in with that")))
}

fn expiry(user: &str, now: Timestamp, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let shadow = stage.read(&GuestPath::parse("/etc/shadow")?, guest::accounts::LIMIT)?.map(Zeroizing::new);
    Ok(shadow.and_then(|shadow| passwords::expiry(user, &shadow, now)))
}
