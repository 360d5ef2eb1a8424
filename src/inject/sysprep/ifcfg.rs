//! What Red Hat's network configuration says of one machine.

use super::super::{InjectError, READ_LIMIT, ROOT_FILE};
use super::Site;
use super::rule::{Rule, entries, remove};
use crate::guest::OsRelease;
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::path::GuestPath;

const DIRECTORY: &str = "/etc/sysconfig/network-scripts";
const CONNECTIONS: Rule = Rule::File("/etc/NetworkManager/system-connections/*.nmconnection");

pub(super) fn host_names(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    without(site, &["HOSTNAME=", "DHCP_HOSTNAME="])
}

pub(super) fn addresses(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    without(site, &["HWADDR="])
}

/// Elsewhere than in Fedora and its kin they are an administrator's own.
pub(super) fn connections(site: &mut Site<'_, '_>) -> Result<(), InjectError> {
    if is_red_hat(&site.guest.os) {
        remove(&[CONNECTIONS], site.guest, site.stage)?;
    }
    Ok(())
}

fn is_red_hat(os: &OsRelease) -> bool {
    let kin = ["fedora", "rhel", "centos"];
    kin.contains(&&*os.id) || os.id_like.iter().any(|id| kin.contains(&&**id))
}

/// Takes the lines that begin so out of all ifcfg files.
fn without(site: &mut Site<'_, '_>, keys: &[&str]) -> Result<(), InjectError> {
    let directory = GuestPath::parse(DIRECTORY)?;
    let found = entries(&directory, site.stage)?.into_iter();
    for name in found.map(|entry| entry.name).filter(|name| name.starts_with(b"ifcfg-")) {
        let path = directory.join(name)?;
        if site.stage.metadata(&path)?.is_none_or(|metadata| metadata.file_type != FileType::Regular) {
            continue;
        }
        let text = site.stage.read(&path, READ_LIMIT)?.unwrap_or_default();
        let is_kept = |line: &&[u8]| !keys.iter().any(|key| line.starts_with(key.as_bytes()));
        let kept: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').filter(is_kept).collect();
        let kept = kept.concat();
        if kept.len() != text.len() {
            site.stage.write(&path, Content::bytes(kept), ROOT_FILE)?;
        }
    }
    Ok(())
}
