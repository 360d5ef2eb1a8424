//! What an interfaces(5) includes and another does not.

use super::{FILES_MAX, INTERFACES, check_total, file_type, paths, read};
use crate::guest::network::{glob, has_interfaces};
use crate::inject::staging::is_fatal;
use crate::inject::{InjectError, Outcome};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{Error, Layer};
use std::collections::{BTreeMap, BTreeSet};

/// Where ifupdown's own files are.
const DIRECTORY: &str = "/etc/network/";
/// The most different words that say what is included.
const SOURCES_MAX: usize = 256;

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
    let own = stage.resolve_parent(&at)?;
    let own = String::from_utf8_lossy(own.as_bytes());
    let directory = own.trim_end_matches(|letter| letter != '/');
    let included = included(&String::from_utf8_lossy(&old), stage)?;
    check_total(included.iter(), stage)?;
    for path in included {
        let at = GuestPath::parse(path.as_str())?;
        let is_about_devices = read(&at, stage)?.is_none_or(|text| has_interfaces(&String::from_utf8_lossy(&text)));
        if path == own || kept.contains(&path) || !is_about_devices {
            continue;
        }
        if path.starts_with(directory) {
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

/// The files that a text includes by `source` and `source-directory`; of patterns only those in the last part of a path. Refuses a
/// text that includes more than a guest needs.
pub(in crate::inject::net) fn included(text: &str, stage: &Stage<'_>) -> Result<BTreeSet<String>, InjectError> {
    let mut sources = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let is_directory = match words.next() {
            Some("source") => false,
            Some("source-directory") => true,
            _ => continue,
        };
        for word in words {
            sources.insert((word, is_directory));
            if sources.len() > SOURCES_MAX {
                return Err(too_many(SOURCES_MAX, "files and patterns"));
            }
        }
    }
    // Each directory is read once: what is taken of it by these patterns, and by `None` as run-parts(8) does.
    let mut directories: BTreeMap<String, Vec<Option<Vec<u8>>>> = BTreeMap::new();
    for (word, is_directory) in sources {
        let path = if word.starts_with('/') { word.to_owned() } else { format!("{DIRECTORY}{word}") };
        let Ok(at) = GuestPath::parse(path.as_str()) else { continue };
        let (directory, pattern) = match (at.parent(), at.file_name()) {
            (Some(directory), Some(pattern))
                if !is_directory && file_type(&at, stage)? != Some(FileType::Directory) =>
            {
                (directory, Some(pattern.to_vec()))
            }
            _ => (at, None),
        };
        // It may have two names, by a link.
        let directory = match stage.resolve(&directory) {
            Err(error) if is_fatal(error.kind()) => return Err(error.into()),
            Err(_) => continue,
            Ok(directory) => String::from_utf8_lossy(directory.as_bytes()).into_owned(),
        };
        directories.entry(directory).or_default().push(pattern);
    }
    let mut found = BTreeSet::new();
    for (directory, patterns) in directories {
        for path in paths(&[directory.as_str()], stage)? {
            let name = path.rsplit('/').next().unwrap_or_default();
            let is_named = patterns.iter().any(|pattern| match pattern {
                None => name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
                Some(pattern) => !name.starts_with('.') && glob(pattern, name.as_bytes()),
            });
            if is_named {
                found.insert(path);
            }
            if found.len() > FILES_MAX {
                return Err(too_many(FILES_MAX, "files"));
            }
        }
    }
    Ok(found)
}

fn too_many(limit: usize, what: &str) -> InjectError {
    let error = Error::unsupported(Layer::Filesystem, format!("it includes more than {limit} {what}"));
    error.with_guest_path(INTERFACES).with_hint("remove those that nothing needs first").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;

    /// What a text includes, or why that is refused, of a guest with a directory of so many files.
    fn of(text: &str, files: usize) -> Result<BTreeSet<String>, String> {
        let guest = (0..files).fold(phony(), |guest, n| guest.file(format!("{DIRECTORY}d/{n}"), ""));
        let fs = guest.dir("/etc/network/d").build().unwrap();
        included(text, &Stage::new(&fs)).map_err(|error| error.to_string())
    }

    #[test]
    fn many_sources_are_bounded() {
        // The same one however often is one.
        let many = "source d/*\nsource /etc/network/d/1* d\nsource-directory d\n".repeat(20_000);
        assert_eq!(of(&many, 12).unwrap().len(), 12);
        let several = |count| (0..count).map(|n| format!("source d/{n}\n")).collect::<String>();
        assert_eq!(of(&several(SOURCES_MAX), 3).unwrap().len(), 3);
        let refused = of(&several(SOURCES_MAX + 1), 3).unwrap_err();
        assert!(refused.contains(&format!("it includes more than {SOURCES_MAX} files and patterns")), "{refused}");
        let words = format!("source{}\n", (0..100_000).map(|n| format!(" d/{n}*")).collect::<String>());
        assert!(of(&words, 3).is_err());
    }

    #[test]
    fn many_files_are_bounded() {
        let guest = ["a", "b", "c"].into_iter().fold(phony(), |guest, name| {
            (0..FILES_MAX / 2).fold(guest, |guest, n| guest.file(format!("{DIRECTORY}{name}/{n}"), ""))
        });
        let fs = guest.file(format!("{DIRECTORY}c/more"), "").build().unwrap();
        let of = |text: &str| included(text, &Stage::new(&fs)).map_err(|error| error.to_string());
        assert_eq!(of("source a/*\nsource b/*\n").unwrap().len(), FILES_MAX);
        let refused = of("source a/*\nsource-directory b\nsource c/m*\n").unwrap_err();
        assert!(refused.contains(&format!("it includes more than {FILES_MAX} files")), "{refused}");
        // So are those of one directory.
        let refused = super::tests::of("source d/*\n", FILES_MAX + 1).unwrap_err();
        assert!(refused.contains(&format!("more than {FILES_MAX} files")), "{refused}");
        assert_eq!(super::tests::of("source /x\n", 1).unwrap().len(), 0);
    }

    #[test]
    fn a_directory_has_one_name() {
        let text = "source interfaces.d/*\nsource-directory /etc/network/./interfaces.d\nsource /etc/network/interfaces.d//*\nsource linked/*\n";
        let fs = phony()
            .file(INTERFACES, text)
            .file("/etc/network/interfaces.d/eth0", "auto eth0\niface eth0 inet dhcp\n")
            .symlink("/etc/network/linked", "interfaces.d")
            .build()
            .unwrap();
        let mut stage = Stage::new(&fs);
        let mut outcome = Outcome::default();
        clear("source /etc/network/linked//*\n", &mut stage, &mut outcome).unwrap();
        assert!(outcome.notes.is_empty(), "{:?}", outcome.notes);
        clear("", &mut stage, &mut outcome).unwrap();
        assert_eq!(outcome.notes.len(), 1, "{:?}", outcome.notes);
        assert!(outcome.notes[0].starts_with("/etc/network/interfaces.d/eth0: removed"), "{:?}", outcome.notes);
    }
}
