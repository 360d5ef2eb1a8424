//! Why an operation on files cannot be done.

use super::Placed;
use crate::inject::{InjectError, Item, Reader};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::shell;
use imgraft_vfs::stage::Stage;
use std::fmt;

/// Why an operation on files cannot be done. `Display` is one clause; [`hint`](Self::hint) is the way out.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// A file that is to change is not there.
    Missing {
        /// Which file.
        path: GuestPath,
        /// The innermost directory around it that is there.
        around: GuestPath,
    },
    /// A directory that something is to go into is not there.
    MissingDirectory {
        /// Which.
        path: GuestPath,
    },
    /// Something other than a directory is where one has to be.
    NoDirectory {
        /// Where.
        path: GuestPath,
    },
    /// Something cannot come to another path.
    NotPlaced {
        /// How it was to.
        placed: Placed,
        /// What.
        path: GuestPath,
        /// Where it was to go.
        to: GuestPath,
        /// Why, a clause.
        reason: &'static str,
        /// The way out.
        way: &'static str,
    },
    /// A directory is where a file or a link is to be.
    DirectoryInTheWay {
        /// Which.
        path: GuestPath,
    },
    /// Something else where a file or a link is to be that may not replace it.
    NotReplaced {
        /// Which.
        path: GuestPath,
    },
    /// A directory that is to be emptied as a file.
    NotTruncated {
        /// Which.
        path: GuestPath,
    },
    /// Something other than a regular file that is to be scrubbed.
    NotScrubbed {
        /// Which.
        path: GuestPath,
        /// Where it leads, of a symbolic link.
        leads_to: Option<GuestPath>,
    },
    /// A file that is to be emptied as a directory.
    NotTruncatedBelow {
        /// Which.
        path: GuestPath,
    },
    /// One option is about more files than are walked.
    TooManyFiles {
        /// How far it came.
        path: GuestPath,
    },
    /// Something else where an empty file is to be.
    NotAFile {
        /// Which.
        path: GuestPath,
    },
    /// A directory where a file is to be written.
    IsDirectory {
        /// Which.
        path: GuestPath,
    },
    /// An operation on files would undo what an earlier item of the run has put there.
    Undone {
        /// The option.
        option: &'static str,
        /// Where.
        path: GuestPath,
        /// Whose it is.
        item: Item,
    },
    /// The files would have the guest not use what an earlier item has put in.
    Unread {
        /// Whose it is.
        item: Item,
        /// Why, a clause.
        reason: String,
    },
    /// An operation on files would leave one to an owner or a mode with which nobody reads what an earlier item has put in.
    NotTaken {
        /// The option.
        option: &'static str,
        /// Where.
        path: GuestPath,
        /// Who would read it.
        reader: Reader,
        /// Whose it is.
        item: Item,
        /// The permission bits.
        mode: u16,
        /// The owner.
        uid: u32,
    },
}

/// How a directory comes to be where none is.
pub(in crate::inject) fn mkdir(path: impl fmt::Display) -> String {
    format!("--mkdir {} before it makes the directory", shell::word(path.to_string().as_ref()))
}

impl FileError {
    pub(super) fn missing(path: &GuestPath, stage: &Stage<'_>) -> InjectError {
        let is_there = |ancestor: &GuestPath| matches!(stage.metadata(ancestor), Ok(Some(_)));
        let around = std::iter::successors(path.parent(), GuestPath::parent).find(is_there);
        let around = around.unwrap_or_else(GuestPath::root);
        InjectError::File(Self::Missing { path: path.clone(), around })
    }

    pub(in crate::inject) fn hint(&self) -> Option<String> {
        match self {
            Self::Undone { .. } => Some(
                "an option for files is done in its place, so put it before that of the item; users come before all files, and \
                 those of a manifest after all items: do this in a run of its own before, or leave it out"
                    .to_owned(),
            ),
            Self::Unread { item, .. } => Some(format!(
                "put the option for that file before that of the {} {}; for what is in a manifest, and for users, a run of its own \
                 before this one does it",
                item.noun(),
                item.name()
            )),
            Self::NotTaken { reader, .. } => Some(format!("{}; an option for files is done in its place among the others", reader.wants())),
            Self::IsDirectory { path } => {
                let path = path.to_string();
                let path = path.trim_end_matches('/');
                Some(format!("name the file in it; --upload FILE:{path}/, with a slash at the end, puts FILE into it"))
            }
            Self::NotAFile { .. } => {
                Some("a content for it takes the place of a symbolic link; otherwise name another path".to_owned())
            }
            Self::NotReplaced { path } => Some(format!(
                "\"overwrite\": true in the configuration has it replaced, which Ignition without it does not do either; or \
                 --delete {path} in a run before this one"
            )),
            Self::DirectoryInTheWay { path } => Some(format!(
                "name what is to be in it, {path}/NAME; --delete {path} before it would remove all that is there"
            )),
            Self::NotTruncated { path } => {
                let word = shell::word(path.to_string().as_ref());
                Some(format!("--truncate-recursive {word} empties the files in it"))
            }
            Self::NotTruncatedBelow { path } => {
                Some(format!("--truncate {} empties a file", shell::word(path.to_string().as_ref())))
            }
            Self::NotScrubbed { leads_to: Some(to), .. } => {
                Some(format!("name the file that it leads to, {to}; --delete removes the link"))
            }
            Self::NotScrubbed { path, .. } => {
                Some(format!("--delete {} removes it", shell::word(path.to_string().as_ref())))
            }
            Self::TooManyFiles { .. } => Some("name a part of them at a time".to_owned()),
            Self::NotPlaced { way, .. } => Some((*way).to_owned()),
            Self::NoDirectory { .. } => Some("name a directory".to_owned()),
            Self::Missing { around, .. } => Some(format!(
                "`imgraft ls IMAGE {}` shows what is there; --write, --touch or --mkdir before it makes what is to be new",
                shell::word(around.to_string().as_ref())
            )),
            Self::MissingDirectory { path } => Some(mkdir(path)),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path, .. } => write!(f, "{path}: no such file in the guest"),
            Self::NotPlaced { placed, path, to, reason, .. } => {
                write!(f, "{path} cannot be {placed} to {to}: {reason}")
            }
            Self::MissingDirectory { path } => write!(f, "{path}: no such directory in the guest"),
            Self::NoDirectory { path } => write!(f, "{path}: no directory in the guest"),
            Self::NotScrubbed { path, .. } => {
                write!(f, "{path}: no regular file in the guest, and no other is scrubbed")
            }
            Self::NotTruncatedBelow { path } => write!(f, "{path}: no directory in the guest"),
            Self::IsDirectory { path } | Self::NotTruncated { path } => write!(f, "{path}: a directory in the guest"),
            Self::NotAFile { path } => {
                write!(f, "{path}: no regular file in the guest, and a file without content is to be there")
            }
            Self::NotReplaced { path } => write!(f, "{path}: something else is there already, and overwrite is false"),
            Self::DirectoryInTheWay { path } => write!(f, "{path}: a directory is where a file or a link is to be"),
            Self::TooManyFiles { path } => write!(
                f,
                "{path}: so far were a million files, or 128 MiB of their paths, which is all that is walked for one option"
            ),
            Self::Undone { option, path, item } => {
                write!(f, "{path}: {option} undoes what the {} {} has put there", item.noun(), item.name())
            }
            Self::Unread { item, reason } => write!(
                f,
                "with these files {reason}: the {} {} is done before them, and would be for nothing",
                item.noun(),
                item.name()
            ),
            Self::NotTaken { option, path, reader, item, mode, uid } => write!(
                f,
                "{path}: with mode {mode:04o} and owner {uid}, which {option} gives it, {} ignores what the {} {} has put in",
                reader.name(),
                item.noun(),
                item.name()
            ),
        }
    }
}
