//! cloud-init's configuration of a guest: a file, and those of a directory that add to it.

use super::{Directory, Reading, read};
use crate::guest::Reader;
use imgraft_vfs::fs::{FileType, Lookup as _};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::resolve::Follow;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::{ErrorKind, Result};
use serde_json::Map;

/// cloud-init's configuration, and where it reads what adds to that, in the order of the names.
pub(crate) const MAIN: &str = "/etc/cloud/cloud.cfg";
pub(crate) const DIRECTORY: &str = "/etc/cloud/cloud.cfg.d";
/// How many files of the directory are read: the last ones, as these have the last word.
pub(crate) const FILES_MAX: usize = 256;
/// How much is read of all files together, in bytes and in values with their aliases followed. Those of a distribution have some
/// 10 KiB and 300 values.
pub(crate) const TOTAL: u64 = 1024 * 1024;
pub(crate) const NODES: usize = 10_000;

/// What cloud-init's configuration says, read once.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// What each file says. cloud-init mixes them, and the last one has the last word (read_conf_with_confd of its util.py).
    pub(crate) files: Vec<(GuestPath, Reading)>,
    /// Where those are that add to the first one.
    pub(crate) directory: Directory,
    /// Whether there are more than [`FILES_MAX`] of them.
    has_skipped: bool,
}

impl Configuration {
    /// That of a guest as a run makes it.
    pub(crate) fn staged(stage: &Stage<'_>) -> Result<Self> {
        Self::inspect(&Reader::staged(stage))
    }

    pub(in crate::guest) fn inspect(reader: &Reader<'_>) -> Result<Self> {
        let (mut bytes, mut nodes) = (TOTAL, NODES);
        let mut reading = |path: &GuestPath| file(reader, path, &mut bytes, &mut nodes);
        let main = GuestPath::parse(MAIN)?;
        let first = reading(&main)?;
        let directory = match &first {
            Some(Reading::Keys(keys)) => Directory::of(keys),
            _ => Directory::of(&Map::new()),
        };
        let mut names = Vec::new();
        if let Some(path) = directory.path()
            && let Some((at, FileType::Directory)) = reader.find(path.as_bytes(), Follow::All)?
        {
            names.extend(reader.list(&at)?.iter().filter(|name| name.ends_with(b".cfg")).cloned());
        }
        let skipped = names.len().saturating_sub(FILES_MAX);
        let mut files = Vec::new();
        // The last ones first, as what there is to read may come to its end.
        for name in names.into_iter().skip(skipped).rev() {
            let Some(path) = directory.path().and_then(|path| path.join(name).ok()) else { continue };
            if let Some(reading) = reading(&path)? {
                files.push((path, reading));
            }
        }
        files.extend(first.map(|first| (main, first)));
        files.reverse();
        Ok(Self { files, directory, has_skipped: skipped > 0 })
    }

    /// Whether there is more than is read.
    pub(crate) fn is_cut(&self) -> bool {
        self.has_skipped || self.files.iter().any(|(_, reading)| *reading == Reading::TooMuch)
    }

    /// What of it is not known, the first of that and why, a clause.
    pub(crate) fn unread(&self) -> Option<String> {
        let of_file = self.files.iter().find_map(|(path, reading)| match reading {
            Reading::Keys(_) | Reading::Nothing => None,
            Reading::Unknown(reason) => Some(format!("{path}: {reason}")),
            Reading::TooMuch => Some(format!(
                "{path}: with it there is more of cloud-init's configuration than the {} MiB and the {NODES} values that are read",
                TOTAL / (1024 * 1024)
            )),
        });
        let of_directory = match &self.directory {
            Directory::Broken => Some(format!("{MAIN}: conf_d is no text, and cloud-init does not run with that")),
            directory => directory
                .path()
                .filter(|_| self.has_skipped)
                .map(|path| format!("{path}: there are more than {FILES_MAX} files, and the last ones are read")),
        };
        of_file.or(of_directory)
    }
}

/// What a file says, of what is left to be read; `None` where there is no file.
fn file(reader: &Reader<'_>, path: &GuestPath, bytes: &mut u64, nodes: &mut usize) -> Result<Option<Reading>> {
    if let Some((at, FileType::Regular)) = reader.find(path.as_bytes(), Follow::All)?
        && reader.lookup(&at)?.is_some_and(|metadata| metadata.size > *bytes)
    {
        return Ok(Some(Reading::TooMuch));
    }
    let text = match reader.file(path.as_bytes(), *bytes) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Corrupt) => return Err(error),
        Err(error) => return Ok(Some(Reading::Unknown(error.to_string()))),
    };
    Ok(text.map(|text| {
        *bytes = bytes.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
        read(&text, nodes)
    }))
}
