//! Files, and the attributes of files.

pub(super) mod below;
mod braces;
mod copy_in;
mod copying;
mod ensuring;
mod error;
mod lines;
mod linking;
mod moving;
mod name_pattern;
mod reach;
mod scrubbing;
mod substitution;
#[cfg(test)]
mod tests;

pub use below::PathPattern;
pub use braces::alternatives;
pub use copy_in::{HostEntry, HostKind, HostNames, HostTree};
pub use ensuring::Expected;
pub use error::FileError;
pub(super) use error::mkdir;
pub use moving::Placed;
pub use substitution::Substitution;

use super::earlier::Kept;
use super::{Compat, Earlier, InjectError, Injector, Item, Outcome, ROOT_DIR, ROOT_FILE, label};
use crate::guest::{Guest, accounts};
use below::{Walk, below};
use imgraft_vfs::fs::{Attrs, Content, FileType, Metadata, Ownership, SetAttrs, Timestamp};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use std::borrow::Cow;

/// Permission bits (inode(7)).
const SET_USER_ID: u16 = 0o4000;
const SET_GROUP_ID: u16 = 0o2000;
const GROUP_EXECUTES: u16 = 0o010;

/// Files, and the attributes of files, in the order given.
#[derive(Clone, Debug)]
pub struct Files {
    /// What to do.
    pub operations: Vec<FileOperation>,
    /// Whose behaviour.
    pub compat: Compat,
}

/// One operation of [`Files`].
#[derive(Clone, Debug)]
pub enum FileOperation {
    /// Give a file this content.
    Put {
        /// Where; parents that are missing are made.
        destination: GuestPath,
        /// What.
        content: Content,
        /// Its permission bits.
        mode: FileMode,
    },
    /// The same, where that may be a directory which the file goes into.
    Upload {
        /// The name that it has there.
        name: String,
        /// Where, or the directory.
        destination: GuestPath,
        /// What.
        content: Content,
        /// Its permission bits.
        mode: FileMode,
    },
    /// Put a tree of the host, or what is in an archive, below a directory.
    CopyIn {
        /// What.
        tree: HostTree,
        /// Where; it has to be there.
        directory: GuestPath,
    },
    /// Copy a file, or a directory with all that is in it.
    Copy {
        /// Which.
        source: GuestPath,
        /// The path of the copy, or the directory that it goes into.
        destination: GuestPath,
    },
    /// Give a file or a directory another path.
    Move {
        /// Which.
        source: GuestPath,
        /// Its new path, or the directory that it goes into.
        destination: GuestPath,
    },
    /// Add a line to the end of a file, which is made where it is missing.
    AppendLine {
        /// Which file.
        path: GuestPath,
        /// The line without its end.
        line: String,
    },
    /// Replace in each line of a file.
    Edit {
        /// Which file.
        path: GuestPath,
        /// What is replaced.
        substitution: Substitution,
    },
    /// Make a directory and those before it that are missing.
    MakeDirectory {
        /// Which.
        path: GuestPath,
    },
    /// Make an empty file of root's where there is none.
    EnsureFile {
        /// Which.
        path: GuestPath,
    },
    /// Make a directory of root's, and those before it, where there is none.
    EnsureDirectory {
        /// Which.
        path: GuestPath,
    },
    /// Make the directories around a file where there are none.
    EnsureAround {
        /// Whose they are, as for [`FileOperation::Chown`]; `None` for whose the directory is that they are made in.
        user: Option<String>,
        /// Their group, likewise.
        group: Option<String>,
        /// Which file.
        path: GuestPath,
    },
    /// Remove what is at a path where that is a symbolic link itself.
    RemoveLink {
        /// Which.
        path: GuestPath,
    },
    /// Fail where something else is at a path than what is to be put there.
    Expect {
        /// Which.
        path: GuestPath,
        /// What may be there.
        expected: Expected,
    },
    /// Make a symbolic link, or lead one that is there to its target; a file in its place gives way.
    Link {
        /// Where it leads.
        target: String,
        /// Where it is.
        path: GuestPath,
    },
    /// The same, where that may be a directory which the link goes into.
    LinkInto {
        /// Where it leads.
        target: String,
        /// Where it is, or the directory.
        path: GuestPath,
    },
    /// Remove files, and directories with all that is in them.
    Delete {
        /// Which; what is not there is no error.
        pattern: PathPattern,
    },
    /// Remove a regular file, and say what stays of it.
    Scrub {
        /// Which file.
        path: GuestPath,
    },
    /// Make an empty file, or set the time of the last change of one that is there.
    Touch {
        /// Which file.
        path: GuestPath,
        /// The time.
        now: Timestamp,
    },
    /// Empty a file.
    Truncate {
        /// Which file.
        path: GuestPath,
    },
    /// Empty all files below a directory; no link is followed.
    TruncateBelow {
        /// Which directory.
        path: GuestPath,
    },
    /// Change owner or group.
    Chown {
        /// A name of the guest's passwd, or a number; `None` keeps it.
        user: Option<String>,
        /// A name of the guest's group, or a number; `None` keeps it.
        group: Option<String>,
        /// Which file.
        path: GuestPath,
    },
    /// Change the permission bits.
    Chmod {
        /// 0o0000 to 0o7777.
        mode: u16,
        /// Which file.
        path: GuestPath,
    },
}

/// The permission bits that a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// These where it is new; one that is there keeps its own.
    WhereNew(u16),
    /// These in any case.
    Always(u16),
}

impl FileMode {
    fn bits(self) -> u16 {
        match self {
            Self::WhereNew(bits) | Self::Always(bits) => bits,
        }
    }
}

impl Injector for Files {
    fn item(&self) -> Item {
        Item::Files
    }

    fn stage(&self, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        self.stage_after(&Earlier::default(), guest, stage)
    }

    fn stage_after(&self, earlier: &Earlier, guest: &Guest, stage: &mut Stage<'_>) -> Result<Outcome, InjectError> {
        let before = stage.savepoint();
        let mut outcome = Outcome::default();
        let mut kept = match self.compat {
            Compat::Imgraft => earlier.kept(stage)?,
            // There a file of the instance's has the last word.
            Compat::Nova => Kept::default(),
        };
        // Those of one option are looked at together.
        for operations in self.operations.chunk_by(|one, next| one.option() == next.option()) {
            for operation in operations {
                let operation = operation.placed(stage, &mut outcome)?;
                operation.stage(self.compat, guest, stage, &mut outcome)?;
                if let (Compat::Imgraft, Some(name)) = (self.compat, earlier.host_name()) {
                    operation.keep_host_name(name, &mut kept, stage, &mut outcome)?;
                }
                operation.check_path(&mut kept, stage)?;
            }
            if let Some(last) = operations.last() {
                last.check_tree(&kept, stage)?;
                last.check_readers(&kept, stage)?;
            }
        }
        if self.compat == Compat::Imgraft {
            earlier.check_premises(stage)?;
            label::label_new(guest, stage, &before, &mut outcome)?;
        }
        Ok(outcome)
    }
}

impl FileOperation {
    /// The file that gets a content or another one, as far as it is one file.
    pub fn written(&self) -> Option<&GuestPath> {
        match self {
            Self::Put { destination: path, .. } | Self::AppendLine { path, .. } | Self::Edit { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The same with the path that an upload or a link goes to, as the guest has directories now (`Upload` in customize_run.ml).
    fn placed(&self, stage: &Stage<'_>, outcome: &mut Outcome) -> Result<Cow<'_, Self>, InjectError> {
        Ok(match self {
            Self::Upload { name, destination, content, mode } => {
                let is_directory = below::there(stage.metadata(destination))? == Some(FileType::Directory);
                let destination = if is_directory { destination.join(name)? } else { destination.clone() };
                Cow::Owned(Self::Put { destination, content: content.clone(), mode: *mode })
            }
            Self::LinkInto { target, path } => {
                let placed = linking::placed(target, path, stage)?;
                if placed != *path {
                    outcome
                        .notes
                        .push(format!("--link: {path} is a directory, so that the link goes into it: {placed}"));
                }
                Cow::Owned(Self::Link { target: target.clone(), path: placed })
            }
            _ => Cow::Borrowed(self),
        })
    }

    fn stage(
        &self,
        compat: Compat,
        guest: &Guest,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        match self {
            Self::Upload { .. } | Self::LinkInto { .. } => {
                self.placed(stage, outcome)?.into_owned().stage(compat, guest, stage, outcome)
            }
            Self::Put { destination, content, mode } => match compat {
                Compat::Imgraft => put(destination, content, *mode, stage),
                Compat::Nova => put_as_nova(destination, content, stage),
            },
            Self::CopyIn { tree, directory } => {
                outcome.notes.extend_from_slice(&tree.notes);
                tree.stage(directory, stage)
            }
            Self::Copy { source, destination } => copying::copied(source, destination, stage),
            Self::Move { source, destination } => moving::moved(source, destination, stage),
            Self::AppendLine { path, line } => lines::append(path, line, stage),
            Self::Edit { path, substitution } => {
                if !lines::edit(path, substitution, stage)? {
                    outcome.notes.push(format!("{path}: nothing in it matches the expression"));
                }
                Ok(())
            }
            Self::MakeDirectory { path } => make_directory(path, stage),
            Self::EnsureFile { path } => ensuring::file(path, stage),
            Self::EnsureDirectory { path } => ensuring::directory(path, stage),
            Self::EnsureAround { user, group, path } => {
                let uid = user.as_deref().map(|user| uid(guest, user)).transpose()?;
                let gid = group.as_deref().map(|group| gid(guest, group)).transpose()?;
                ensuring::around(path, uid, gid, stage)
            }
            Self::RemoveLink { path } => ensuring::no_link(path, stage),
            Self::Expect { path, expected } => ensuring::expected(path, expected, stage),
            Self::Link { target, path } => linking::link(target, path, stage),
            Self::Delete { pattern } => {
                let mut walk = Walk::default();
                for top in pattern.matches(stage, &mut walk)? {
                    for (path, _) in below(&top, stage, &mut walk)?.iter().rev() {
                        stage.remove(path)?;
                    }
                }
                Ok(())
            }
            Self::Scrub { path } => scrubbing::scrubbed(path, stage, outcome),
            Self::Touch { path, now } if stage.metadata(path)?.is_some() => {
                Ok(stage.set_attrs(path, SetAttrs { mtime: Some(*now), ..SetAttrs::default() })?)
            }
            Self::Touch { path, .. } => put(path, &Content::bytes([]), FileMode::WhereNew(0o644), stage),
            Self::Truncate { path } => truncate(path, stage),
            Self::TruncateBelow { path } => {
                match stage.metadata(path)?.map(|found| found.file_type) {
                    None => return Err(FileError::missing(path, stage)),
                    Some(FileType::Directory) => {}
                    // As find0 of libguestfs, by which virt-customize does it.
                    Some(_) => return Err(InjectError::File(FileError::NotTruncatedBelow { path: path.clone() })),
                }
                // A link to a directory stands for that.
                let top = GuestPath::parse(stage.resolve(path)?.as_bytes())?;
                let files = below(&top, stage, &mut Walk::default())?;
                files
                    .iter()
                    .filter(|(_, kind)| *kind == FileType::Regular)
                    .try_for_each(|(path, _)| truncate(path, stage))
            }
            Self::Chown { user, group, path } => {
                let uid = user.as_deref().map(|user| uid(guest, user)).transpose()?;
                let gid = group.as_deref().map(|group| gid(guest, group)).transpose()?;
                let mode = stage.metadata(path)?.and_then(|metadata| without_privileges(&metadata));
                change(stage, path, SetAttrs { uid, gid, mode, ..SetAttrs::default() })
            }
            Self::Chmod { mode, path } => change(stage, path, SetAttrs { mode: Some(*mode), ..SetAttrs::default() }),
        }
    }
}

/// New directories and files belong to whom the directory belongs that they are made in.
fn put(destination: &GuestPath, content: &Content, mode: FileMode, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    refuse_directory(destination, stage)?;
    let around = directory_around(destination, stage)?;
    if let Some(parent) = destination.parent()
        && stage.metadata(&parent)?.is_none()
    {
        stage.create_dirs(&parent, around)?;
    }
    stage.write(destination, content.clone(), Attrs { mode: mode.bits(), ..around })?;
    if let FileMode::Always(bits) = mode
        && stage.ownership(destination)? == Ownership::Kept
        && stage.metadata(destination)?.is_some_and(|found| found.mode != bits)
    {
        stage.set_attrs(destination, SetAttrs { mode: Some(bits), ..SetAttrs::default() })?;
    }
    Ok(())
}

/// What a new directory gets: the owner of the innermost directory that is there of those around its path, and the
/// set-group-ID bit where that has it, as from the kernel.
fn directory_around(path: &GuestPath, stage: &Stage<'_>) -> Result<Attrs, InjectError> {
    for ancestor in std::iter::successors(path.parent(), GuestPath::parent) {
        if let Some(metadata) = stage.metadata(&ancestor)? {
            let Metadata { mode, uid, gid, .. } = metadata;
            return Ok(Attrs { mode: 0o755 | mode & SET_GROUP_ID, uid, gid });
        }
    }
    Ok(Attrs { mode: 0o755, uid: 0, gid: 0 })
}

/// The permission bits of a file that gets another owner, be it a device or a socket, where the kernel takes some off: set-user-ID, and the set-group-ID
/// that the group could run it by (chown(2)).
fn without_privileges(metadata: &Metadata) -> Option<u16> {
    let mode = metadata.mode;
    let taken = SET_USER_ID | if mode & GROUP_EXECUTES == 0 { 0 } else { SET_GROUP_ID };
    (metadata.file_type != FileType::Directory && mode & taken != 0).then_some(mode & !taken)
}

fn make_directory(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    stage.create_dirs(path, directory_around(path, stage)?)?;
    Ok(())
}

fn truncate(path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    match stage.metadata(path)?.map(|found| found.file_type) {
        None => return Err(FileError::missing(path, stage)),
        Some(FileType::Directory) => return Err(InjectError::File(FileError::NotTruncated { path: path.clone() })),
        Some(_) => {}
    }
    Ok(stage.write(path, Content::bytes([]), ROOT_FILE)?)
}

/// As `_inject_file_into_fs` of Nova: everything is root's, and the innermost of the directories it makes gets a mode that
/// keeps everybody else out.
fn put_as_nova(destination: &GuestPath, content: &Content, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    refuse_directory(destination, stage)?;
    if let Some(parent) = destination.parent()
        && stage.create_dirs(&parent, ROOT_DIR)?
    {
        stage.set_attrs(&parent, SetAttrs { mode: Some(0o744), uid: Some(0), gid: Some(0), mtime: None })?;
    }
    Ok(stage.write(destination, content.clone(), ROOT_FILE)?)
}

fn refuse_directory(path: &GuestPath, stage: &Stage<'_>) -> Result<(), InjectError> {
    match stage.metadata(path)? {
        Some(metadata) if metadata.file_type == FileType::Directory => {
            Err(InjectError::File(FileError::IsDirectory { path: path.clone() }))
        }
        _ => Ok(()),
    }
}

fn change(stage: &mut Stage<'_>, path: &GuestPath, attrs: SetAttrs) -> Result<(), InjectError> {
    if stage.metadata(path)?.is_none() {
        return Err(FileError::missing(path, stage));
    }
    Ok(stage.set_attrs(path, attrs)?)
}

/// A name goes before a number, as chown(1) has it.
fn uid(guest: &Guest, user: &str) -> Result<u32, InjectError> {
    let found = guest.accounts.user(user).map(|user| user.uid).or_else(|| accounts::number(user.as_bytes()));
    found.ok_or_else(|| InjectError::NoSuchUser { user: user.to_owned(), known: guest.accounts.people() })
}

fn gid(guest: &Guest, group: &str) -> Result<u32, InjectError> {
    let found = guest.accounts.group(group).map(|group| group.gid).or_else(|| accounts::number(group.as_bytes()));
    found.ok_or_else(|| InjectError::NoSuchGroup { group: group.to_owned() })
}
