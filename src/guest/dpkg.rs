//! The versions of packages that dpkg has installed.

use super::Reader;
use imgraft_vfs::Result;

/// What dpkg knows of the packages that are installed (dpkg(1), FILES), and the most of it that is read, in bytes.
const STATUS: &str = "/var/lib/dpkg/status";
const LIMIT: u64 = 16 * 1024 * 1024;

/// The first two numbers of a version.
pub type Version = (u32, u32);

/// The one version that these packages are installed in; `None` where dpkg does not say which, or two are of different ones.
pub(super) fn version(reader: &Reader<'_>, names: &[&[u8]]) -> Result<Option<Version>> {
    let text = reader.file_lenient(STATUS, LIMIT)?;
    Ok(text.as_deref().and_then(|text| installed(text, names)))
}

/// The one version that these packages are installed in (deb-control(5): paragraphs of fields).
fn installed(text: &[u8], names: &[&[u8]]) -> Option<Version> {
    let mut found = None;
    let (mut is_named, mut is_installed, mut version) = (false, false, None);
    // An empty line behind the last one, which ends its paragraph.
    for line in text.split(|byte| *byte == b'\n').chain([&b""[..]]) {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            if is_named && is_installed {
                if version.is_none() || found.is_some_and(|other| Some(other) != version) {
                    return None;
                }
                found = version;
            }
            (is_named, is_installed, version) = (false, false, None);
        } else if let Some(name) = line.strip_prefix(b"Package: ") {
            is_named = names.contains(&name);
        } else if let Some(status) = line.strip_prefix(b"Status: ") {
            is_installed = status.ends_with(b" installed");
        } else if let Some(text) = line.strip_prefix(b"Version: ") {
            version = std::str::from_utf8(text).ok().and_then(parse);
        }
    }
    found
}

/// The first two numbers of a version: of `1:24.1.3-0ubuntu1` 24 and 1.
pub(super) fn parse(text: &str) -> Option<Version> {
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let mut numbers = text.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
