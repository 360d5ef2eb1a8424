//! A tree of the host, put below a directory of the guest.

use super::super::InjectError;
use imgraft_vfs::fs::{Attrs, Content, FileType, Ownership, SetAttrs, Timestamp};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// The label of a file, which is the guest's to give.
const LABEL: &[u8] = b"security.selinux";

/// What goes into the guest: directories before what is in them.
#[derive(Clone, Debug, Default)]
pub struct HostTree {
    /// Everything in it.
    pub entries: Vec<HostEntry>,
}

/// One of a [`HostTree`].
#[derive(Clone, Debug)]
pub struct HostEntry {
    /// Its path from the directory on: names between slashes.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: HostKind,
    /// Owner and permission bits, which are the host's.
    pub attrs: Attrs,
    /// The time of the last change, which a regular file gets.
    pub mtime: Timestamp,
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
}

impl HostTree {
    /// Stages all of it, as tar(1) unpacks: directories that are there get owner and mode and keep what is in them, files and
    /// links are replaced. A symbolic link to a directory stays where a directory goes, and is followed inside the guest: a
    /// guest whose /lib is one would lose its libraries.
    pub(super) fn stage(&self, directory: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        match stage.metadata(directory)?.map(|metadata| metadata.file_type) {
            Some(FileType::Directory) => {}
            Some(_) => return Err(InjectError::NoDirectory { path: directory.clone() }),
            None => return Err(InjectError::Missing { path: directory.clone() }),
        }
        for entry in &self.entries {
            let mut path = directory.clone();
            for name in entry.path.split(|byte| *byte == b'/') {
                path = path.join(name)?;
            }
            entry.stage(&path, stage)?;
        }
        Ok(())
    }
}

impl HostEntry {
    fn stage(&self, path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        match &self.kind {
            HostKind::Directory => {
                stage.create_dirs(path, self.attrs)?;
                self.set_attrs(None, path, stage)
            }
            HostKind::File(content) => {
                let found = stage.symlink_metadata(path)?;
                match found.map(|found| (found.file_type, found.links)) {
                    None => {}
                    Some((FileType::Directory, _)) => {
                        return Err(InjectError::DirectoryInTheWay { path: path.clone() });
                    }
                    Some((FileType::Regular, 1)) => {
                        // Access lists and capabilities are those of the file that was there.
                        for xattr in stage.xattrs(path)?.into_iter().filter(|xattr| xattr.name != LABEL) {
                            stage.remove_xattr(path, &xattr.name)?;
                        }
                    }
                    // The other names of a file keep what they have.
                    Some(_) => stage.remove(path)?,
                }
                stage.write(path, content.clone(), self.attrs)?;
                self.set_attrs(Some(self.mtime), path, stage)
            }
            HostKind::Symlink(target) => {
                if let Some(found) = stage.symlink_metadata(path)? {
                    match found.file_type {
                        FileType::Directory => return Err(InjectError::DirectoryInTheWay { path: path.clone() }),
                        FileType::Symlink
                            if (found.uid, found.gid) == (self.attrs.uid, self.attrs.gid)
                                && stage.symlink_target(path)?.as_ref() == Some(target) =>
                        {
                            return Ok(());
                        }
                        _ => stage.remove(path)?,
                    }
                }
                Ok(stage.symlink(path, target, self.attrs)?)
            }
        }
    }

    fn set_attrs(&self, mtime: Option<Timestamp>, path: &GuestPath, stage: &mut Stage<'_>) -> Result<(), InjectError> {
        if stage.ownership(path)? != Ownership::Kept {
            // As for --upload, what FAT does not keep is no error; its times are too coarse to be compared.
            return Ok(());
        }
        let Attrs { mode, uid, gid } = self.attrs;
        Ok(stage.set_attrs(path, SetAttrs { mode: Some(mode), uid: Some(uid), gid: Some(gid), mtime })?)
    }
}
