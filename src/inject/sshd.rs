//! Where a guest's sshd looks for keys, and what it minds there: `AuthorizedKeysFile`, `StrictModes` and `HostKey` of sshd_config(5).

use imgraft_vfs::Result;
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

const LIMIT: u64 = 256 * 1024;
/// How many files an `Include` is followed into.
const INCLUDES: usize = 64;
/// How many files are read, and after how many values no other file is.
const FILES_MAX: usize = 256;
const VALUES_MAX: usize = 256;

/// What `AuthorizedKeysFile` says outside `Match` blocks, and in which file; `None` where nothing does, or where the
/// configuration cannot be read.
pub(super) fn authorized_keys_file(stage: &Stage<'_>) -> Option<(GuestPath, Vec<String>)> {
    // The first value counts, so that an included file counts where it is included.
    values("authorizedkeysfile", stage).into_iter().next()
}

/// Whether sshd minds who owns the keys, and who else can write to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Modes {
    /// It does, as where nothing is said.
    Strict,
    /// It does not.
    Lenient,
}

/// What `StrictModes` says.
pub(super) fn modes(stage: &Stage<'_>) -> Modes {
    let first = values("strictmodes", stage).into_iter().next();
    let says_no =
        first.is_some_and(|(_, arguments)| arguments.first().is_some_and(|said| said.eq_ignore_ascii_case("no")));
    if says_no { Modes::Lenient } else { Modes::Strict }
}

/// The files that `HostKey` names, in order; empty where nothing does, and sshd has its own.
pub(super) fn host_keys(stage: &Stage<'_>) -> Vec<GuestPath> {
    let lines = values("hostkey", stage).into_iter();
    let mut paths: Vec<GuestPath> = Vec::new();
    for path in lines.filter_map(|(_, arguments)| GuestPath::parse(arguments.first()?.as_str()).ok()) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// Whether one of the patterns means `file`, for the user and the home given.
pub(super) fn names(patterns: &[String], file: &GuestPath, user: &str, home: &GuestPath) -> bool {
    let home = String::from_utf8_lossy(home.as_bytes()).into_owned();
    patterns.iter().any(|pattern| {
        let path = pattern.replace("%%", "%").replace("%h", &home).replace("%u", user);
        let path = if path.starts_with('/') { path } else { format!("{home}/{path}") };
        GuestPath::parse(path).is_ok_and(|path| path == *file)
    })
}

/// What a keyword is given outside `Match` blocks, with the file that says it; nothing where the configuration cannot be read.
fn values(keyword: &str, stage: &Stage<'_>) -> Vec<(GuestPath, Vec<String>)> {
    GuestPath::parse("/etc/ssh/sshd_config").and_then(|main| find(keyword, stage, &main)).unwrap_or_default()
}

fn find(wanted: &str, stage: &Stage<'_>, main: &GuestPath) -> Result<Vec<(GuestPath, Vec<String>)>> {
    let mut found = Vec::new();
    let Some(text) = stage.read(main, LIMIT)? else { return Ok(found) };
    let mut files = 0;
    for (keyword, arguments) in directives(&text) {
        if keyword == wanted {
            found.push((main.clone(), arguments));
        } else if keyword == "include" {
            for path in arguments.iter().flat_map(|pattern| expand(stage, pattern)) {
                if files == FILES_MAX || found.len() >= VALUES_MAX {
                    return Ok(found);
                }
                files += 1;
                let text = stage.read(&path, LIMIT).ok().flatten().unwrap_or_default();
                let values = directives(&text).filter(|(keyword, _)| keyword == wanted);
                found.extend(values.map(|(_, arguments)| (path.clone(), arguments)));
            }
        }
    }
    Ok(found)
}

/// The directives before the first `Match`, keywords in lower case.
fn directives(text: &[u8]) -> impl Iterator<Item = (String, Vec<String>)> {
    let text = String::from_utf8_lossy(text).into_owned();
    let lines: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let mut words =
                line.split(|char: char| char.is_whitespace() || char == '=').filter(|word| !word.is_empty());
            let keyword = words.next().filter(|word| !word.starts_with('#'))?.to_ascii_lowercase();
            Some((keyword, words.map(|word| word.trim_matches('"').to_owned()).collect()))
        })
        .take_while(|(keyword, _)| keyword != "match")
        .collect();
    lines.into_iter()
}

/// The files of an `Include` pattern with at most one `*`, in its last component, sorted as glob(7) does.
fn expand(stage: &Stage<'_>, pattern: &str) -> Vec<GuestPath> {
    let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/ssh/{pattern}") };
    let Ok(path) = GuestPath::parse(pattern) else { return Vec::new() };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let Some(star) = name.iter().position(|byte| *byte == b'*') else { return vec![path] };
    let (head, tail) = (&name[..star], &name[star + 1..]);
    let entries = stage.read_dir(&parent).ok().flatten().unwrap_or_default();
    let mut names: Vec<Vec<u8>> = entries
        .into_iter()
        .filter(|entry| matches!(entry.file_type, FileType::Regular | FileType::Symlink))
        .map(|entry| entry.name)
        .filter(|name| name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail))
        .collect();
    names.sort();
    names.truncate(INCLUDES);
    names.iter().filter_map(|name| parent.join(name).ok()).collect()
}
