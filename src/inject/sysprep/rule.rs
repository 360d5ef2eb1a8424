//! Which files an operation removes.

use super::super::InjectError;
use super::super::files::below::{PathPattern, Walk, below, there};
use crate::guest::Guest;
use imgraft_vfs::fs::{DirEntry, FileType};
use imgraft_vfs::path::{GuestPath, Resolved};
use imgraft_vfs::stage::Stage;

/// What is removed. Names may have `*` and `?`; symbolic links are followed on the way and never at the end, and what is not there
/// is passed over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Files, and directories with all that is in them.
    Tree(&'static str),
    /// All that is in a directory, hidden names too.
    Content(&'static str),
    /// What is no directory.
    File(&'static str),
    /// The same, but for these.
    FileBut(&'static str, &'static [&'static str]),
    /// Regular files alone, and no symbolic links.
    Regular(&'static str),
    /// All regular files below a directory; the directories stay.
    FilesBelow(&'static str),
    /// Regular files below a directory whose names end so.
    Ending(&'static str, &'static [&'static str]),
    /// A file or directory in the home directories of root and of the people.
    InHomes(&'static str),
    /// The same where it is a regular file: a link to /dev/null is somebody's wish.
    FileInHomes(&'static str),
}

/// Removes what the rules mean; gives how many paths that are.
pub(super) fn remove(rules: &[Rule], guest: &Guest, stage: &mut Stage<'_>) -> Result<usize, InjectError> {
    remove_but(rules, &[], guest, stage)
}

/// The same, but for these files.
pub(super) fn remove_but(
    rules: &[Rule],
    kept: &[GuestPath],
    guest: &Guest,
    stage: &mut Stage<'_>,
) -> Result<usize, InjectError> {
    let kept: Vec<Resolved> = kept.iter().map(|path| stage.resolve(path)).collect::<Result<_, _>>()?;
    let mut walk = Walk::default();
    let mut removed = 0_usize;
    for rule in rules {
        for path in rule.paths(guest, stage, &mut walk)? {
            // Two homes may be one, by a symbolic link.
            let is_there = kind(&path, stage)?.is_some();
            if is_there && (kept.is_empty() || !kept.contains(&stage.resolve(&path)?)) {
                stage.remove(&path)?;
                removed = removed.saturating_add(1);
            }
        }
    }
    Ok(removed)
}

/// Removes a file, or a directory with all that is in it.
pub(super) fn remove_tree(top: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    tree(top, stage, &mut Walk::default())?.iter().try_for_each(|path| Ok(stage.remove(path)?))
}

/// The home directories of root and of the people of a guest, and whatever else is in /home.
fn homes(guest: &Guest, stage: &Stage<'_>, walk: &mut Walk) -> Result<Vec<GuestPath>, InjectError> {
    let mut homes = vec![GuestPath::parse("/root")?];
    homes.extend(matches("/home/*", stage, walk)?);
    let people = guest
        .accounts
        .users
        .iter()
        .flatten()
        .filter(|user| user.is_person() || guest.new_accounts.uids.people.contains(&user.uid));
    // What is no path is nobody's home.
    homes.extend(people.filter_map(|user| GuestPath::parse(&user.home).ok()));
    homes.sort();
    homes.dedup();
    Ok(homes)
}

fn matches(pattern: &str, stage: &Stage<'_>, walk: &mut Walk) -> Result<Vec<GuestPath>, InjectError> {
    let pattern = PathPattern::new(GuestPath::parse(pattern)?);
    pattern.map_or_else(|_| Ok(Vec::new()), |pattern| pattern.matches(stage, walk))
}

/// What is in a directory; nothing where there is none.
pub(super) fn entries(directory: &GuestPath, stage: &Stage<'_>) -> Result<Vec<DirEntry>, InjectError> {
    match there(stage.metadata(directory))? {
        Some(FileType::Directory) => Ok(stage.read_dir(directory)?.unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

/// What is there, be it a symbolic link.
fn kind(path: &GuestPath, stage: &Stage<'_>) -> Result<Option<FileType>, InjectError> {
    there(stage.symlink_metadata(path))
}

/// A path and all that is below it, what is in a directory before that.
fn tree(top: &GuestPath, stage: &Stage<'_>, walk: &mut Walk) -> Result<Vec<GuestPath>, InjectError> {
    Ok(below(top, stage, walk)?.into_iter().rev().map(|(path, _)| path).collect())
}

/// The regular files below a directory, which may be one by a symbolic link.
fn files_below(top: &str, stage: &Stage<'_>, walk: &mut Walk) -> Result<Vec<GuestPath>, InjectError> {
    let mut files = Vec::new();
    for top in matches(top, stage, walk)? {
        if there(stage.metadata(&top))? != Some(FileType::Directory) {
            continue;
        }
        let top = GuestPath::parse(stage.resolve(&top)?.as_bytes())?;
        let found = below(&top, stage, walk)?.into_iter();
        files.extend(found.filter(|(_, kind)| *kind == FileType::Regular).map(|(path, _)| path));
    }
    Ok(files)
}

impl Rule {
    /// The paths that are there and that it means, what is in a directory before that.
    fn paths(self, guest: &Guest, stage: &Stage<'_>, walk: &mut Walk) -> Result<Vec<GuestPath>, InjectError> {
        let mut paths = Vec::new();
        match self {
            Self::Tree(pattern) => {
                for top in matches(pattern, stage, walk)? {
                    paths.extend(tree(&top, stage, walk)?);
                }
            }
            Self::Content(directory) => {
                let directory = GuestPath::parse(directory)?;
                for entry in entries(&directory, stage)? {
                    paths.extend(tree(&directory.join(&entry.name)?, stage, walk)?);
                }
            }
            Self::File(pattern) | Self::FileBut(pattern, _) | Self::Regular(pattern) => {
                let kept: &[&str] = if let Self::FileBut(_, kept) = self { kept } else { &[] };
                for path in matches(pattern, stage, walk)? {
                    let is_meant = match kind(&path, stage)? {
                        None | Some(FileType::Directory) => false,
                        Some(FileType::Symlink) => !matches!(self, Self::Regular(_)),
                        Some(_) => true,
                    };
                    if is_meant && kept.iter().all(|kept| kept.as_bytes() != path.as_bytes()) {
                        paths.push(path);
                    }
                }
            }
            Self::FilesBelow(top) => paths = files_below(top, stage, walk)?,
            Self::Ending(top, ends) => {
                paths = files_below(top, stage, walk)?;
                paths.retain(|path| ends.iter().any(|end| path.as_bytes().ends_with(end.as_bytes())));
            }
            Self::InHomes(name) => {
                for home in homes(guest, stage, walk)? {
                    paths.extend(tree(&home.join(name)?, stage, walk)?);
                }
            }
            Self::FileInHomes(name) => {
                for home in homes(guest, stage, walk)? {
                    let path = home.join(name)?;
                    if kind(&path, stage)? == Some(FileType::Regular) {
                        paths.push(path);
                    }
                }
            }
        }
        Ok(paths)
    }
}
