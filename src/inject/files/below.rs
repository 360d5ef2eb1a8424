//! What is below a directory, and the paths that a pattern means.

use super::super::InjectError;
use super::FileError;
use super::name_pattern::NamePattern;
use imgraft_vfs::error::ErrorKind;
use imgraft_vfs::fs::{FileType, Metadata};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// How much is walked for one option. A guest of a million files is a large one; one that a stranger has made may have a directory
/// that is in itself.
#[derive(Debug)]
pub(in crate::inject) struct Walk {
    files: usize,
    /// Of their paths.
    bytes: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self { files: 1 << 20, bytes: 128 << 20 }
    }
}

impl Walk {
    fn take(&mut self, path: &GuestPath) -> Result<(), InjectError> {
        let (files, bytes) = (self.files.checked_sub(1), self.bytes.checked_sub(path.as_bytes().len()));
        let (Some(files), Some(bytes)) = (files, bytes) else {
            return Err(InjectError::File(FileError::TooManyFiles { path: path.clone() }));
        };
        (self.files, self.bytes) = (files, bytes);
        Ok(())
    }
}

/// A path whose names may be patterns.
#[derive(Clone, Debug)]
pub struct PathPattern {
    path: GuestPath,
    /// For each name its pattern, where it has one.
    patterns: Vec<Option<NamePattern>>,
    is_of_directories: bool,
}

impl PathPattern {
    /// A pattern; else why it is none, a clause.
    pub fn new(path: GuestPath) -> Result<Self, String> {
        let patterns = path.components().map(NamePattern::parse).collect::<Result<_, _>>()?;
        Ok(Self { path, patterns, is_of_directories: false })
    }

    /// The same of directories alone, where its last name is a pattern.
    #[must_use]
    pub fn of_directories(self) -> Self {
        let is_of_directories = self.patterns.last().is_some_and(Option::is_some);
        Self { is_of_directories, ..self }
    }

    /// The files that are there and that it means, by name; symbolic links to directories are followed before the last name.
    pub(in crate::inject) fn matches(&self, stage: &Stage<'_>, walk: &mut Walk) -> Result<Vec<GuestPath>, InjectError> {
        let mut found = vec![GuestPath::root()];
        for (name, pattern) in self.path.components().zip(&self.patterns) {
            let mut next = Vec::new();
            for directory in found {
                let Some(pattern) = pattern else {
                    next.push(directory.join(name)?);
                    continue;
                };
                if there(stage.metadata(&directory))? != Some(FileType::Directory) {
                    continue;
                }
                for entry in stage.read_dir(&directory)?.unwrap_or_default() {
                    if pattern.matches(&entry.name) {
                        let path = directory.join(&entry.name)?;
                        walk.take(&path)?;
                        next.push(path);
                    }
                }
            }
            found = next;
        }
        let mut matches = Vec::new();
        for path in found {
            let found = there(stage.symlink_metadata(&path))?;
            if found.is_some_and(|file_type| !self.is_of_directories || file_type == FileType::Directory) {
                matches.push(path);
            }
        }
        Ok(matches)
    }
}

/// What is at a path; `None` where the way to it ends before, or in a circle.
pub(in crate::inject) fn there(found: imgraft_vfs::Result<Option<Metadata>>) -> Result<Option<FileType>, InjectError> {
    match found {
        Ok(metadata) => Ok(metadata.map(|metadata| metadata.file_type)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WrongType | ErrorKind::Denied) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A path and all that is below it, directories before what is in them; no symbolic link is followed.
pub(in crate::inject) fn below(
    top: &GuestPath,
    stage: &Stage<'_>,
    walk: &mut Walk,
) -> Result<Vec<(GuestPath, FileType)>, InjectError> {
    let Some(file_type) = there(stage.symlink_metadata(top))? else { return Ok(Vec::new()) };
    let mut found = vec![(top.clone(), file_type)];
    let mut next = 0;
    while let Some((path, file_type)) = found.get(next) {
        next += 1;
        if *file_type != FileType::Directory {
            continue;
        }
        let path = path.clone();
        for entry in stage.read_dir(&path)?.unwrap_or_default() {
            let path = path.join(&entry.name)?;
            walk.take(&path)?;
            found.push((path, entry.file_type));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::testing::phony;

    #[test]
    fn one_walk_has_an_end() {
        let tree = (0..10).fold(phony(), |tree, number| tree.file(format!("/srv/{number}/f"), "")).build().unwrap();
        let stage = Stage::new(&tree);
        let path = |path: &str| GuestPath::parse(path).unwrap();
        let pattern = PathPattern::new(path("/srv/*")).unwrap();
        let walked = |mut walk: Walk| {
            let tops = pattern.matches(&stage, &mut walk)?;
            tops.iter().try_for_each(|top| below(top, &stage, &mut walk).map(drop))
        };
        assert!(walked(Walk { files: 20, bytes: 1000 }).is_ok());
        for walk in [Walk { files: 9, bytes: 1000 }, Walk { files: 19, bytes: 1000 }, Walk { files: 20, bytes: 100 }] {
            assert!(matches!(walked(walk), Err(InjectError::File(FileError::TooManyFiles { .. }))));
        }
    }
}
