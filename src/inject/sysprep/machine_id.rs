//! The machine ID, machine-id(5), and what else systemd keeps of a machine's identity.

use super::super::{InjectError, READ_LIMIT, ROOT_FILE};
use super::Site;
use super::rule::entries;
use crate::guest::Init;
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;

const MACHINE_ID: &str = "/etc/machine-id";
/// D-Bus's, where systemd looks before it makes one up.
const DBUS: &str = "/var/lib/dbus/machine-id";
const SECRET: &str = "/var/lib/systemd/credential.secret";
/// Where credentials are that need the secret (systemd-creds(1)).
const CREDENTIALS: [&str; 2] = ["/etc/credstore.encrypted", "/var/lib/systemd/credstore.encrypted"];

/// Takes the machine ID away as whatever starts the guest wants it.
///
/// systemd fills an empty file at boot and does not take that boot for the first one, so that its presets leave alone what
/// is enabled; `uninitialized`, and no file at all, have it a first boot, and are left as somebody wanted them. D-Bus's own
/// file would be taken for the ID: it becomes a link, as systemd's tmpfiles.d has it. Other guests make an ID where there is no
/// file, and fail where it is empty (dbus-uuidgen(1)): there both go.
pub(super) fn forget(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    let (id, dbus) = (GuestPath::parse(MACHINE_ID)?, GuestPath::parse(DBUS)?);
    let regular = |path: &GuestPath, site: &Site<'_, '_>| -> Result<bool, InjectError> {
        Ok(site.stage.symlink_metadata(path)?.is_some_and(|metadata| metadata.file_type == FileType::Regular))
    };
    if site.guest.init == Init::Other {
        for path in [&id, &dbus] {
            if regular(path, site)? {
                site.stage.remove(path)?;
            }
        }
        return Ok(());
    }
    let text = site.stage.read(&id, READ_LIMIT)?;
    if text.as_ref().is_some_and(|text| !text.is_empty() && text.trim_ascii() != b"uninitialized") {
        site.stage.write(&id, Content::bytes([]), ROOT_FILE)?;
    }
    // Unless the one is a link to the other.
    if regular(&dbus, site)? && site.stage.resolve(&id)? != site.stage.resolve(&dbus)? {
        site.stage.remove(&dbus)?;
        site.stage.symlink(&dbus, MACHINE_ID.as_bytes(), ROOT_FILE)?;
    }
    Ok(())
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
