//! Connections of packages that NetworkManager passes over, by a link to `/dev/null` in the name of their UUID.

use super::devices::entries;
use super::shadow::{NOTHING, mask};
use super::{KEYFILES, paths, read};
use crate::inject::{InjectError, Outcome};
use crate::net::render::hashed_uuid;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use md5::{Digest, Md5};
use std::collections::BTreeSet;

/// Where it has the UUIDs from of connections that say none (`nm_uuid_ns_1` of its sources).
const NAMESPACE: u128 = 0xb425_e9fb_7598_44b4_9e3b_5a2e_3aaa_4905;

/// Hides connections of packages, which stay as they are, by links in `/etc`: such a link counts for more than any file of its UUID
/// (`_load_file` of NetworkManager's keyfile plugin), and so does another file of the UUID there. What cannot be hidden, as its UUID is
/// none, or one of before RFC 4122, or as it is too large to be read, is given back.
pub(super) fn hide(
    rivals: Vec<String>,
    why: &str,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<Vec<String>, InjectError> {
    let mut beside = Vec::new();
    if rivals.is_empty() {
        return Ok(beside);
    }
    let mut own = BTreeSet::new();
    for path in paths(&[KEYFILES], stage)?.iter().filter(|path| is_read(path)) {
        own.extend(uuid(path, stage)?);
    }
    for path in rivals {
        let Some(uuid) = uuid(&path, stage)? else {
            beside.push(path);
            continue;
        };
        let link = GuestPath::parse(format!("{KEYFILES}/{uuid}.nmmeta"))?;
        let is_link = stage.symlink_metadata(&link)?.is_some_and(|there| there.file_type == FileType::Symlink);
        let is_hidden = is_link && stage.symlink_target(&link)?.is_some_and(|target| target == NOTHING);
        if !is_hidden && !own.contains(&uuid) {
            mask(&link, &path, why, stage, outcome)?;
        }
    }
    Ok(beside)
}

/// Whether a file in `/etc` is not one that an editor left or hides (`nm_keyfile_utils_ignore_filename`).
fn is_read(path: &str) -> bool {
    !path.ends_with('~') && !path.contains("/.")
}

/// The UUID of a connection as NetworkManager has it: what it says in small letters, or else one of its name, as if it were in `/etc`.
fn uuid(path: &str, stage: &Stage<'_>) -> Result<Option<String>, InjectError> {
    let Some(text) = read(&GuestPath::parse(path)?, stage)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let said = entries(&text, "connection").filter(|(key, _)| *key == "uuid").last();
    let Some((_, said)) = said else {
        let name = path.rsplit('/').next().unwrap_or_default();
        let hash = Md5::new()
            .chain_update(NAMESPACE.to_be_bytes())
            .chain_update(format!("keyfile\0{KEYFILES}/{name}\0"))
            .finalize();
        return Ok(Some(hashed_uuid(&hash, 3)));
    };
    let mut parts = said.split('-').map(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(part.len()));
    let is_one =
        [8, 4, 4, 4, 12].into_iter().all(|length| parts.next() == Some(Some(length))) && parts.next().is_none();
    Ok(is_one.then(|| said.to_ascii_lowercase()))
}
