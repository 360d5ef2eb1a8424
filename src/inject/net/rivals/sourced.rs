//! What an interfaces(5) includes and another does not.

use super::{INTERFACES, file_type, paths, read};
use crate::guest::network::{glob, has_interfaces};
use crate::inject::{InjectError, Outcome};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// Where ifupdown's own files are.
const DIRECTORY: &str = "/etc/network/";

/// Removes the files with devices that the guest's own interfaces(5) includes and `new` does not: nothing would read them any more,
/// and a later line that does would mix them with it. What lies elsewhere may be another program's, and stays.
pub(in crate::inject::net) fn clear(
    new: &str,
    stage: &mut Stage<'_>,
    outcome: &mut Outcome,
) -> Result<(), InjectError> {
    let at = GuestPath::parse(INTERFACES)?;
    if file_type(&at, stage)? != Some(FileType::Regular) {
        return Ok(());
    }
    let Some(old) = read(&at, stage)? else { return Ok(()) };
    let kept = included(new, stage)?;
    for path in included(&String::from_utf8_lossy(&old), stage)? {
        let at = GuestPath::parse(path.as_str())?;
        let is_about_devices = read(&at, stage)?.is_none_or(|text| has_interfaces(&String::from_utf8_lossy(&text)));
        if path == INTERFACES || kept.contains(&path) || !is_about_devices {
            continue;
        }
        if path.starts_with(DIRECTORY) {
            stage.remove(&at)?;
            outcome.notes.push(format!(
                "{path}: removed, as {INTERFACES} included it, and this one says by itself what the network is"
            ));
        } else {
            outcome.notes.push(format!("{path}: not read any more, and not changed: {INTERFACES} included it"));
        }
    }
    Ok(())
}

/// The files that a text includes by `source` and `source-directory`, each once; of patterns only those in the last part of a path.
fn included(text: &str, stage: &Stage<'_>) -> Result<Vec<String>, InjectError> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let is_directory = match words.next() {
            Some("source") => false,
            Some("source-directory") => true,
            _ => continue,
        };
        for word in words {
            let path = if word.starts_with('/') { word.to_owned() } else { format!("{DIRECTORY}{word}") };
            let Ok(at) = GuestPath::parse(path.as_str()) else { continue };
            let is_directory = is_directory || file_type(&at, stage)? == Some(FileType::Directory);
            let path = path.trim_end_matches('/');
            let (directory, pattern) =
                if is_directory { (path, "*") } else { path.rsplit_once('/').unwrap_or_default() };
            for path in paths(&[directory], stage).unwrap_or_default() {
                let name = path.rsplit('/').next().unwrap_or_default();
                let is_named = match is_directory {
                    true => name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                    false => glob(pattern.as_bytes(), name.as_bytes()) && !name.starts_with('.'),
                };
                if is_named && !found.contains(&path) {
                    found.push(path);
                }
            }
        }
    }
    Ok(found)
}
