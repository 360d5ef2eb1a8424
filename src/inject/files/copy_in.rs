//! A tree of the host, put below a directory of the guest.

use super::super::{InjectError, ROOT_DIR};
use super::FileError;
use super::below::there;
use imgraft_vfs::fs::{Attrs, Content, FileType, Ownership, SetAttrs, SpecialFile, Timestamp};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The label of a file, which is the guest's to give.
const LABEL: &[u8] = b"security.selinux";

/// What goes into the guest: directories before what is in them.
#[derive(Clone, Debug, Default)]
pub struct HostTree {
    /// Everything in it.
    pub entries: Vec<HostEntry>,
    /// What is told of it.
    pub notes: Vec<String>,
}

/// One of a [`HostTree`].
#[derive(Clone, Debug)]
pub struct HostEntry {
    /// Its path from the directory on: names between slashes; empty for that directory itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: HostKind,
    /// Owner and permission bits, which are the host's. A further name of a file has that file's.
    pub attrs: Attrs,
    /// The time of the last change, where it gets that.
    pub mtime: Option<Timestamp>,
    /// Whether others of the tree are the same file.
    pub names: HostNames,
}

/// How many names of a tree a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostNames {
    /// This one.
    One,
    /// Others too.
    Several,
}

/// What can be copied.
#[derive(Clone, Debug)]
pub enum HostKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A device, a pipe or a socket.
    Special(SpecialFile),
    /// A further name of the file that is at this path of the tree, which comes before it and has [`HostNames::Several`].
    Link(Vec<u8>),
}

impl HostTree {
    /// Stages all of it, as tar(1) unpacks: directories that are there get owner and mode and keep what is in them, other files
    /// are replaced, and directories that the tree itself lacks are made, root's. A symbolic link to a directory stays where a
    /// directory goes, and is followed inside the guest (tar's --keep-directory-symlink): a guest whose /lib is one would lose its
    /// libraries. One that leads to no directory gives way to it.
    pub(super) fn stage(&self, directory: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        match stage.metadata(directory)?.map(|metadata| metadata.file_type) {
            Some(FileType::Directory) => {}
            Some(_) => return Err(InjectError::File(FileError::NoDirectory { path: directory.clone() })),
            None => return Err(InjectError::File(FileError::MissingDirectory { path: directory.clone() })),
        }
        let mut last = directory.clone();
        for entry in &self.entries {
            let path = inside(directory, &entry.path)?;
            if let Some(parent) = path.parent().filter(|parent| *parent != last && !entry.path.is_empty()) {
                stage.create_dirs(&parent, ROOT_DIR)?;
                last = parent;
            }
            match &entry.kind {
                HostKind::Link(first) => link(&inside(directory, first)?, &path, stage)?,
                _ => entry.stage(&path, stage)?,
            }
        }
        Ok(())
    }
}

impl HostEntry {
    fn stage(&self, path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        if let HostKind::Directory = self.kind {
            if leads_to_no_directory(path, stage)? {
                stage.remove(path)?;
            }
            stage.create_dirs(path, self.attrs)?;
            return self.set_attrs(path, stage);
        }
        let found = stage.symlink_metadata(path)?;
        match found.map(|found| (found.file_type, found.links)) {
            None => {}
            Some((FileType::Directory, _)) => {
                return Err(InjectError::File(FileError::DirectoryInTheWay { path: path.clone() }));
            }
            Some((FileType::Regular, 1)) if self.is_file() && self.names == HostNames::One => {
                // Access lists and capabilities are those of the file that was there.
                for xattr in stage.xattrs(path)?.into_iter().filter(|xattr| xattr.name != LABEL) {
                    stage.remove_xattr(path, &xattr.name)?;
                }
            }
            Some(_) if self.names == HostNames::One && self.is_there(path, stage)? => {}
            // The other names of a file keep what they have.
            Some(_) => stage.remove(path)?,
        }
        match &self.kind {
            HostKind::File(content) => stage.write(path, content.clone(), self.attrs)?,
            HostKind::Symlink(target) => stage.symlink(path, target, self.attrs)?,
            HostKind::Special(special) => stage.create_special(path, *special, self.attrs)?,
            HostKind::Directory | HostKind::Link(_) => {}
        }
        self.set_attrs(path, stage)
    }

    fn is_file(&self) -> bool {
        matches!(self.kind, HostKind::File(_))
    }

    /// Whether this link, device, pipe or socket is what is at a path.
    fn is_there(&self, path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
        let Some(found) = stage.symlink_metadata(path)? else { return Ok(false) };
        Ok(match &self.kind {
            HostKind::Symlink(target) => {
                found.file_type == FileType::Symlink
                    && (found.uid, found.gid) == (self.attrs.uid, self.attrs.gid)
                    && stage.symlink_target(path)?.as_ref() == Some(target)
            }
            HostKind::Special(special) => {
                found.file_type == special.file_type() && stage.special(path)? == Some(*special)
            }
            HostKind::Directory | HostKind::File(_) | HostKind::Link(_) => false,
        })
    }

    fn set_attrs(&self, path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        if stage.ownership(path)? != Ownership::Kept {
            // As for --upload, what FAT does not keep is no error; its times are too coarse to be compared.
            return Ok(());
        }
        let Attrs { mode, uid, gid } = self.attrs;
        let attrs = SetAttrs { mode: Some(mode), uid: Some(uid), gid: Some(gid), mtime: self.mtime };
        let set = match self.kind {
            HostKind::Directory => stage.set_attrs(path, attrs),
            // Its mode is always the same.
            HostKind::Symlink(_) => stage.set_symlink_attrs(path, SetAttrs { mode: None, ..attrs }),
            _ => stage.set_symlink_attrs(path, attrs),
        };
        Ok(set?)
    }
}

/// Whether a symbolic link is at a path that leads to a file, to nothing, or in a circle.
fn leads_to_no_directory(path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
    let is_link = stage.symlink_metadata(path)?.is_some_and(|found| found.file_type == FileType::Symlink);
    Ok(is_link && there(stage.metadata(path))? != Some(FileType::Directory))
}

/// A path of the tree, in the guest.
fn inside(directory: &GuestPath, path: &[u8]) -> Result<GuestPath, InjectError> {
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    Ok(names.try_fold(directory.clone(), |path, name| path.join(name))?)
}

/// Gives the file at `first` the further name `path`; what has that name gives way.
fn link(first: &GuestPath, path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
    if let Some(found) = stage.symlink_metadata(path)? {
        if found.file_type == FileType::Directory {
            return Err(InjectError::File(FileError::DirectoryInTheWay { path: path.clone() }));
        }
        if stage.symlink_metadata(first)?.is_some_and(|first| first.inode == found.inode) {
            // One name, reached by a link of the guest to a directory.
            return Ok(());
        }
        stage.remove(path)?;
    }
    Ok(stage.hard_link(first, path)?)
}
