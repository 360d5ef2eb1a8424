//! A home directory, which begins with what the guest has in its skeleton (useradd(8), `/etc/skel`).

use super::super::{InjectError, Outcome, ROOT_DIR};
use super::error::AccountError;
use crate::guest::NewAccounts;
use imgraft_vfs::fs::{Attrs, Content, FileType, SetAttrs};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;

/// How many files of a skeleton are copied.
const FILES_MAX: usize = 4096;
/// And how many bytes, of one file and of all, for each user: they are held until they are written.
const BYTES_MAX: u64 = 8 << 20;

/// A home directory to be made.
#[derive(Debug)]
pub(super) struct Home<'a> {
    /// Whose.
    pub user: &'a str,
    pub uid: u32,
    pub gid: u32,
    /// Where.
    pub path: GuestPath,
}

impl Home<'_> {
    /// Makes the directory and copies the skeleton; a directory that is there stays as it is.
    pub(super) fn make(
        &self,
        new: &NewAccounts,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let path = &self.path;
        if let Some(found) = stage.metadata(path)? {
            if found.file_type != FileType::Directory {
                return Err(AccountError::HomeInTheWay { path: path.to_string() }.into());
            }
            let whose = format!("{}:{}", found.uid, found.gid);
            outcome.notes.push(format!(
                "{path}: the home directory of '{}' was there and stays as it is, owned by {whose}",
                self.user
            ));
            return Ok(());
        }
        // What there is before the home is: that may lie in the skeleton.
        let mut skeletons = Vec::new();
        for skeleton in &new.skeletons {
            let top = GuestPath::parse(stage.resolve(&GuestPath::parse(skeleton)?)?.as_bytes())?;
            skeletons.push((Skeleton::read(&top, stage)?, top));
        }
        if let Some(parent) = path.parent() {
            stage.create_dirs(&parent, ROOT_DIR)?;
        }
        stage.create_dirs(path, self.own(new.home_mode))?;
        for (found, top) in &skeletons {
            found.paths.iter().try_for_each(|from| self.copy(from, top, stage, outcome))?;
        }
        Ok(())
    }

    /// Whether there is room for what is to be at a path: nothing is there, and nothing but directories above it.
    fn has_room(&self, path: &GuestPath, stage: &Stage<'_>) -> Result<bool, InjectError> {
        let above =
            std::iter::successors(path.parent(), GuestPath::parent).take_while(|directory| *directory != self.path);
        for directory in above.collect::<Vec<_>>().into_iter().rev() {
            if stage.symlink_metadata(&directory)?.is_none_or(|found| found.file_type != FileType::Directory) {
                return Ok(false);
            }
        }
        Ok(stage.symlink_metadata(path)?.is_none())
    }

    fn copy(
        &self,
        from: &GuestPath,
        skeleton: &GuestPath,
        stage: &mut Stage<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), InjectError> {
        let Some(metadata) = stage.symlink_metadata(from)? else { return Ok(()) };
        let to = moved(from.as_bytes(), skeleton, &self.path).map(GuestPath::parse).transpose()?;
        let Some(to) = to else { return Ok(()) };
        if !self.has_room(&to, stage)? {
            return Ok(());
        }
        let attrs = self.own(metadata.mode);
        match metadata.file_type {
            FileType::Directory => drop(stage.create_dirs(&to, attrs)?),
            FileType::Symlink => {
                let target = stage.symlink_target(from)?.unwrap_or_default();
                let target = moved(&target, skeleton, &self.path).unwrap_or(target);
                return Ok(stage.symlink(&to, &target, attrs)?);
            }
            FileType::Regular => {
                let bytes = stage.read(from, BYTES_MAX)?.unwrap_or_default();
                stage.write(&to, Content::bytes(bytes), attrs)?;
                stage.set_attrs(&to, SetAttrs { mtime: Some(metadata.mtime), ..SetAttrs::default() })?;
            }
            _ => {
                outcome.notes.push(format!("{from}: neither a file nor a directory nor a link, and not copied"));
                return Ok(());
            }
        }
        // Of another domain than the user's files are labels and capabilities.
        for xattr in stage.xattrs(from)?.into_iter().filter(|xattr| !xattr.name.starts_with(b"security.")) {
            stage.set_xattr(&to, xattr)?;
        }
        Ok(())
    }

    /// A mailbox, where the guest makes one for each person.
    pub(super) fn make_mailbox(
        &self,
        new: &NewAccounts,
        mail: Option<u32>,
        stage: &mut Stage<'_>,
    ) -> Result<(), InjectError> {
        let Some(directory) = &new.mailboxes else { return Ok(()) };
        let directory = GuestPath::parse(directory)?;
        let path = directory.join(self.user)?;
        let has_directory = stage.metadata(&directory)?.is_some_and(|found| found.file_type == FileType::Directory);
        if !has_directory || stage.symlink_metadata(&path)?.is_some() {
            return Ok(());
        }
        let (mode, gid) = mail.map_or((0o600, self.gid), |gid| (0o660, gid));
        Ok(stage.write(&path, Content::bytes([]), Attrs { mode, uid: self.uid, gid })?)
    }

    fn own(&self, mode: u16) -> Attrs {
        Attrs { mode, uid: self.uid, gid: self.gid }
    }
}

/// What is in a guest's skeleton of a home directory, directories before what is in them.
#[derive(Debug, Default)]
struct Skeleton {
    paths: Vec<GuestPath>,
}

impl Skeleton {
    fn read(top: &GuestPath, stage: &Stage<'_>) -> Result<Self, InjectError> {
        let too_large = || AccountError::LargeSkeleton { path: top.to_string() };
        let mut found = Self::default();
        if stage.metadata(top)?.is_none_or(|found| found.file_type != FileType::Directory) {
            return Ok(found);
        }
        let (mut next, mut bytes) = (Some(top.clone()), 0u64);
        let mut directories = Vec::new();
        while let Some(directory) = next {
            for entry in stage.read_dir(&directory)?.unwrap_or_default() {
                let path = directory.join(&entry.name)?;
                if found.paths.len() >= FILES_MAX {
                    return Err(too_large().into());
                }
                match stage.symlink_metadata(&path)? {
                    Some(metadata) if metadata.file_type == FileType::Directory => directories.push(path.clone()),
                    Some(metadata) if metadata.file_type == FileType::Regular => {
                        bytes = bytes.saturating_add(metadata.size)
                    }
                    _ => {}
                }
                found.paths.push(path);
            }
            if bytes > BYTES_MAX {
                return Err(too_large().into());
            }
            next = directories.pop();
        }
        Ok(found)
    }
}

/// A path below one directory as it is below another.
fn moved(path: &[u8], from: &GuestPath, to: &GuestPath) -> Option<Vec<u8>> {
    let from = from.as_bytes().strip_suffix(b"/").unwrap_or(from.as_bytes());
    let rest = path.strip_prefix(from).filter(|rest| rest.starts_with(b"/"))?;
    Some([to.as_bytes(), rest].concat())
}
