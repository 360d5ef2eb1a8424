//! A `/tmp` in memory that no fstab speaks of: systemd's `tmp.mount` (file-hierarchy(7)).

use super::{Init, Planned, Reader, Said, What, in_memory, unseen};
use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::fs::tree::Takes;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::Follow;

const TMP: &str = "/tmp";
/// Where an administrator has another unit than the distribution's, or none.
const OWN: &str = "/etc/systemd/system/tmp.mount";
/// Where units are, and links to them, the strongest first (systemd.unit(5)).
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// What the guest's systemd mounts at `/tmp`; `None` where fstab says what, or where it has nothing to be mounted.
pub(super) fn tmp(reader: &Reader<'_>, said: &[Said]) -> Result<Option<Planned>> {
    if said.iter().any(|said| said.path.as_bytes() == TMP.as_bytes()) {
        return Ok(None);
    }
    let mut starter = None;
    for directory in UNITS {
        let link = format!("{directory}/local-fs.target.wants/tmp.mount");
        if starter.is_none() && reader.exists(&link)? {
            starter = Some(link);
        }
    }
    // The unit is not for a /tmp that is a symbolic link.
    let is_directory = matches!(reader.find(TMP, Follow::ExcludeLast)?, None | Some((_, FileType::Directory)));
    let Some(origin) = starter.filter(|_| is_directory) else { return Ok(None) };
    if Init::inspect(reader)? != Init::Systemd || reader.is_masked(OWN)? {
        return Ok(None);
    }
    let path = GuestPath::parse(TMP)?;
    let what = if reader.exists(OWN)? {
        let reason = format!("{OWN} says what is mounted there, and is not read");
        What::Unusable { reason, hint: Some(unseen(&path)) }
    } else {
        in_memory("tmpfs", &path)
    };
    Ok(Some(Planned { path, origin, what, takes: Takes::NewDirectory }))
}
