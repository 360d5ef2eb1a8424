//! What is below a directory, and the paths that a pattern means.

use super::super::InjectError;
use glob::{MatchOptions, Pattern};
use imgraft_vfs::fs::FileType;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// How many files are walked at most for one option; a guest of a million files is a large one.
const WALKED_MAX: usize = 1 << 20;

/// As glob(7) has it: a star matches no dot at the beginning of a name.
const AS_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A path whose names may be patterns.
#[derive(Clone, Debug)]
pub struct PathPattern {
    path: GuestPath,
    /// For each name its pattern, where it has one.
    patterns: Vec<Option<Pattern>>,
}

impl PathPattern {
    /// A pattern; else why it is none, a clause.
    pub fn new(path: GuestPath) -> Result<Self, String> {
        let pattern = |name: &[u8]| {
            if !name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
                return Ok(None);
            }
            let name = std::str::from_utf8(name).map_err(|_| "a pattern has to be UTF-8".to_owned())?;
            Pattern::new(name).map(Some).map_err(|error| error.msg.to_owned())
        };
        let patterns = path.components().map(pattern).collect::<Result<_, _>>()?;
        Ok(Self { path, patterns })
    }

    /// The files that are there and that it means, by name; symbolic links to directories are followed before the last name.
    pub(super) fn matches(&self, stage: &Stage<'_>) -> Result<Vec<GuestPath>, InjectError> {
        let mut found = vec![GuestPath::root()];
        for (name, pattern) in self.path.components().zip(&self.patterns) {
            let mut next = Vec::new();
            for directory in found {
                let Some(pattern) = pattern else {
                    next.push(directory.join(name)?);
                    continue;
                };
                if stage.metadata(&directory)?.is_none_or(|metadata| metadata.file_type != FileType::Directory) {
                    continue;
                }
                for entry in stage.read_dir(&directory)?.unwrap_or_default() {
                    // A byte that is no text is one letter, as a star or a question mark takes it.
                    if pattern.matches_with(&String::from_utf8_lossy(&entry.name), AS_A_SHELL) {
                        next.push(directory.join(&entry.name)?);
                    }
                }
                self.check(next.len())?;
            }
            found = next;
        }
        let mut there = Vec::new();
        for path in found {
            if stage.symlink_metadata(&path)?.is_some() {
                there.push(path);
            }
        }
        Ok(there)
    }

    fn check(&self, count: usize) -> Result<(), InjectError> {
        if count > WALKED_MAX { Err(InjectError::TooManyFiles { path: self.path.clone() }) } else { Ok(()) }
    }
}

/// A path and all that is below it, directories before what is in them; no symbolic link is followed.
pub(super) fn below(top: &GuestPath, stage: &Stage<'_>) -> Result<Vec<(GuestPath, FileType)>, InjectError> {
    let Some(metadata) = stage.symlink_metadata(top)? else { return Ok(Vec::new()) };
    let mut found = vec![(top.clone(), metadata.file_type)];
    let mut next = 0;
    while let Some((path, file_type)) = found.get(next) {
        next += 1;
        if *file_type != FileType::Directory {
            continue;
        }
        let path = path.clone();
        for entry in stage.read_dir(&path)?.unwrap_or_default() {
            found.push((path.join(&entry.name)?, entry.file_type));
        }
        if found.len() > WALKED_MAX {
            return Err(InjectError::TooManyFiles { path: top.clone() });
        }
    }
    Ok(found)
}
