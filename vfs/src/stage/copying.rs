//! Files that are copied within the guest.

use super::body::{Body, Copied};
use super::node::Staged;
use super::{Stage, failure};
use crate::error::{ErrorKind, Result};
use crate::fs::{Attrs, FileType, Lookup, Metadata, Ownership};
use crate::path::{GuestPath, Resolved};
use crate::resolve::{Follow, resolve};
use std::sync::Arc;

/// How many bytes are copied in one run, holes counted: all are read for a digest, to be copied and to be verified, and a file of
/// a stranger may be a hole of many tebibytes.
const COPIED_MAX: u64 = 64 << 30;
/// How many bytes of extended attributes and of targets of symbolic links are held for copies, and for further names of files.
const ATTRIBUTES_MAX: u64 = 64 << 20;

/// What copies have cost, of the limits above.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    content: u64,
    attributes: u64,
}

impl Stage<'_> {
    /// Makes `to` a copy of `from`, with its content (or target), owner, mode, time and extended attributes, where the
    /// filesystem keeps them. A symbolic link is copied itself; of a directory what is in it is not copied.
    ///
    /// A directory that is there keeps what is in it. A regular file stays the file that it is, unless it has further names,
    /// which keep what they have; anything else gives way.
    ///
    /// Errors: `WrongType` where one of the two is a directory and the other is not, `Invalid` where both are names of one
    /// file, `NotFound` where `from` or the directory of `to` is missing, `Unsupported` for what the filesystem of `to`
    /// cannot hold and for more than 64 GiB.
    pub fn copy(&mut self, from: &GuestPath, to: &GuestPath) -> Result<()> {
        let from = resolve(self, from, Follow::ExcludeLast)?;
        let to = resolve(self, to, Follow::ExcludeLast)?;
        let source = self.existing(&from)?;
        self.check_unchanged(&from, &source.metadata, "copy it first, or in a run of its own")?;
        let is_directory = |metadata: &Metadata| metadata.file_type == FileType::Directory;
        let Some(there) = self.view().staged(&to)? else {
            self.check_parent(&to)?;
            let copy = self.duplicate(&from, source, &to)?;
            self.origins.add(from, to.clone());
            self.put(to, copy);
            return Ok(());
        };
        if there.metadata.inode == source.metadata.inode {
            return Err(failure(ErrorKind::Invalid, &from, &format!("it is the same file as {to}")));
        }
        if is_directory(&there.metadata) != is_directory(&source.metadata) {
            let what =
                if is_directory(&source.metadata) { "a file is in the way" } else { "a directory is in the way" };
            return Err(failure(ErrorKind::WrongType, &to, what));
        }
        let copy = self.duplicate(&from, source, &to)?;
        let staged = match self.turned_into(&to, there, &copy)? {
            Some(staged) => staged,
            None => {
                self.check_alone(&to)?;
                copy
            }
        };
        self.origins.add(from, to.clone());
        self.put(to, staged);
        Ok(())
    }

    /// A new file for `to` that is as the one at `from`.
    fn duplicate(&mut self, from: &Resolved, source: Staged, to: &Resolved) -> Result<Staged> {
        let Metadata { file_type, mode, uid, gid, size, inode, mtime, .. } = source.metadata;
        let place = source.origin.place(from);
        // One that is new, or was changed, has the time of the run.
        let old = place.filter(|_| source.content.is_none());
        let (mut content, mut target, mut special) = (None, None, None);
        match file_type {
            FileType::Regular => {
                content = match (source.content, place) {
                    (Some(body), _) => Some(body),
                    (None, Some(place)) => {
                        self.spent.content = self.spent.content.saturating_add(size);
                        if self.spent.content > COPIED_MAX {
                            let message = format!(
                                "{size} bytes, holes counted, and no more than {COPIED_MAX} are copied in one run"
                            );
                            return Err(failure(ErrorKind::Unsupported, from, &message));
                        }
                        Some(Body::Copy(Arc::new(Copied::of(self.base, place, inode, size)?)))
                    }
                    (None, None) => None,
                };
            }
            FileType::Directory => {}
            FileType::Symlink => {
                self.check_kept(to, "symbolic links")?;
                target = Some(self.read_link(from)?);
            }
            _ => {
                self.check_kept(to, "devices, pipes and sockets")?;
                special = Some(self.view().special(from)?);
            }
        }
        let size = if file_type == FileType::Directory { 0 } else { size };
        let copy = match self.base.ownership(to) {
            Ownership::Kept => {
                let xattrs = self.view().xattrs(from)?.into_iter().map(|(name, value)| (name, Some(value))).collect();
                let mtime = source.mtime.or_else(|| old.map(|_| mtime));
                let mut metadata = self.new_metadata(file_type, Attrs { mode, uid, gid }, size);
                metadata.mtime = mtime.unwrap_or_default();
                Staged { content, target, special, mtime, xattrs, ..Staged::fresh(metadata) }
            }
            Ownership::Fixed { file, directory } => {
                let attrs = if file_type == FileType::Directory { directory } else { file };
                // FAT's times are coarse: only those that are such already are there afterwards.
                let mtime = source.mtime.or_else(|| old.map(|_| mtime));
                let mtime = mtime.filter(|_| self.base.ownership(from) != Ownership::Kept);
                let metadata = self.new_metadata(file_type, attrs, size);
                Staged { content, target, mtime, ..Staged::fresh(metadata) }
            }
        };
        self.spend_attributes(from, &copy)?;
        Ok(copy)
    }

    /// Counts what a file more holds beside its content; `Unsupported` where all of them hold too much.
    pub(super) fn spend_attributes(&mut self, at: &Resolved, staged: &Staged) -> Result<()> {
        let of_one = |(name, value): (&Vec<u8>, &Option<Vec<u8>>)| name.len() + value.as_ref().map_or(0, Vec::len);
        let bytes = staged.xattrs.iter().map(of_one).sum::<usize>() + staged.target.as_ref().map_or(0, Vec::len);
        self.spent.attributes = self.spent.attributes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.spent.attributes > ATTRIBUTES_MAX {
            let message = format!("more than {ATTRIBUTES_MAX} bytes of extended attributes and links in one run");
            return Err(failure(ErrorKind::Unsupported, at, &message));
        }
        Ok(())
    }

    /// The file that is at `to`, changed so that it is as `copy`; `None` where that is to take its place.
    fn turned_into(&self, to: &Resolved, there: Staged, copy: &Staged) -> Result<Option<Staged>> {
        let (old, new) = (&there.metadata, &copy.metadata);
        if old.file_type != new.file_type || (old.file_type != FileType::Directory && old.links > 1) {
            return Ok(None);
        }
        let other_target = copy.target.is_some() && copy.target != Some(self.read_link(to)?);
        if other_target || copy.special.is_some() && copy.special != Some(self.view().special(to)?) {
            return Ok(None);
        }
        let mut staged = there.clone();
        (staged.metadata.mode, staged.metadata.uid, staged.metadata.gid) = (new.mode, new.uid, new.gid);
        if copy.mtime.is_some() {
            staged.mtime = copy.mtime;
            staged.metadata.mtime = new.mtime;
        }
        if let Some(body) = &copy.content {
            self.fill(to, &mut staged, body.clone())?;
        }
        if self.base.ownership(to) == Ownership::Kept {
            let found = self.view().xattrs(to)?;
            for name in found.keys().filter(|name| !copy.xattrs.contains_key(*name)) {
                staged.xattrs.insert(name.clone(), None);
            }
            for (name, value) in copy.xattrs.iter().filter(|(name, value)| found.get(*name) != value.as_ref()) {
                staged.xattrs.insert(name.clone(), value.clone());
            }
        }
        Ok(Some(staged))
    }
}
