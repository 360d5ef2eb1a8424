//! Contents that are copied from files which the same changes concern.

use super::body::Copied;
use super::change::Change;
use super::places::Places;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{Attrs, Content, FileType, GuestFs, Ownership, SetAttrs, Timestamp};
use crate::path::Resolved;
use std::collections::{BTreeMap, BTreeSet};

/// How many bytes are held at a time.
const PIECE: u64 = 1 << 20;

/// Where contents are read from that are copied.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// By inode number, for the files that change.
    files: BTreeMap<u64, Resolved>,
    /// The directories that hold them, by the number of the part.
    directories: BTreeMap<usize, Resolved>,
    /// The times of those in which nothing else comes or goes.
    times: Vec<(Resolved, Timestamp)>,
}

impl Aside {
    /// Copies what is to be in another file, too, and lies in a file that the changes concern, to a file for the time of the
    /// changes.
    pub(super) fn keep(changes: &[Change], fs: &mut dyn GuestFs) -> Result<Self> {
        let mut aside = Self::default();
        let copies = || changes.iter().filter_map(|change| Some((change, change.copied()?)));
        if copies().next().is_none() {
            return Ok(aside);
        }
        let inodes = |change: &Change| {
            let moved = change.moved.as_ref().map(|moved| moved.state.metadata.inode);
            [change.before.as_ref().map(|before| before.metadata.inode), moved]
        };
        let concerned: BTreeSet<u64> = changes.iter().flat_map(inodes).flatten().collect();
        let places = Places::of(changes);
        for (change, copied) in copies().filter(|(_, copied)| concerned.contains(&copied.inode)) {
            if aside.files.contains_key(&copied.inode) {
                continue;
            }
            aside.set(copied, &change.path, &places, fs).map_err(|error| full(error, copied))?;
        }
        Ok(aside)
    }

    /// Sets one content aside, on the filesystem of `destination`.
    fn set(
        &mut self,
        copied: &Copied,
        destination: &Resolved,
        places: &Places<'_>,
        fs: &mut dyn GuestFs,
    ) -> Result<()> {
        let place = self.next_place(destination, places, fs)?;
        fs.create_file(&place, attrs(fs, &place, FileType::Regular))?;
        pour(fs, &copied.from, copied.len, &place)?;
        self.files.insert(copied.inode, place);
        Ok(())
    }

    /// A path for a file, on the filesystem of `destination`.
    fn next_place(&mut self, destination: &Resolved, places: &Places<'_>, fs: &mut dyn GuestFs) -> Result<Resolved> {
        let part = fs.part(destination);
        let directory = match self.directories.get(&part) {
            Some(directory) => directory.clone(),
            None => {
                let around = places.around(destination, fs);
                if !places.turns(&around)
                    && let Some(found) = fs.lookup(&around)?
                {
                    self.times.push((around.clone(), found.mtime));
                }
                let directory = places.unused_name(&around, &mut 0, fs)?;
                fs.create_dir(&directory, attrs(fs, &directory, FileType::Directory))?;
                self.directories.insert(part, directory.clone());
                directory
            }
        };
        Ok(directory.child(self.files.len().to_string().as_bytes()))
    }

    /// Gives a regular file that is there a content, holes as holes.
    pub(super) fn copy(&self, copied: &Copied, to: &Resolved, fs: &mut dyn GuestFs) -> Result<()> {
        pour(fs, self.files.get(&copied.inode).unwrap_or(&copied.from), copied.len, to)
    }

    /// Removes what was for the time of the changes.
    pub(super) fn clear(self, fs: &mut dyn GuestFs) -> Result<()> {
        self.files.values().chain(self.directories.values()).try_for_each(|place| fs.remove(place))?;
        self.times.iter().try_for_each(|(directory, mtime)| {
            fs.set_attrs(directory, SetAttrs { mtime: Some(*mtime), ..SetAttrs::default() })
        })
    }
}

/// What a filesystem without room means for a file that nobody asked for.
fn full(error: Error, copied: &Copied) -> Error {
    if error.kind() != ErrorKind::NoSpace {
        return error;
    }
    let message = "there is no room to set aside what it holds, which is copied and changed in one run";
    Error::new(ErrorKind::NoSpace, Layer::Stage, message)
        .with_guest_path(copied.from.as_bytes())
        .with_hint("copy it in a run of its own first, or --move it")
}

/// Of a file or a directory that only root sees.
fn attrs(fs: &dyn GuestFs, at: &Resolved, file_type: FileType) -> Attrs {
    match (fs.ownership(at), file_type) {
        (Ownership::Kept, FileType::Directory) => Attrs { mode: 0o700, uid: 0, gid: 0 },
        (Ownership::Kept, _) => Attrs { mode: 0o600, uid: 0, gid: 0 },
        (Ownership::Fixed { directory, .. }, FileType::Directory) => directory,
        (Ownership::Fixed { file, .. }, _) => file,
    }
}

/// Replaces the content of the file at `to` by the `len` bytes of the one at `from`, which is another; pieces of zeros become holes.
fn pour(fs: &mut dyn GuestFs, from: &Resolved, len: u64, to: &Resolved) -> Result<()> {
    let mut buf = vec![0; usize::try_from(len.min(PIECE)).unwrap_or(0)];
    let (mut offset, mut end) = (0, 0);
    while offset < len {
        let want = usize::try_from(len - offset).unwrap_or(usize::MAX).min(buf.len());
        let piece = buf.get_mut(..want).unwrap_or_default();
        super::body::read_exact(fs, from, piece, offset)?;
        if piece.iter().any(|byte| *byte != 0) {
            let content = Content::bytes(&*piece);
            if offset == 0 {
                fs.put(to, &content)?;
            } else {
                if end == 0 {
                    // Whatever the file held.
                    fs.truncate(to, 0)?;
                }
                if end < offset {
                    fs.truncate(to, offset)?;
                }
                fs.append(to, &content)?;
            }
            end = offset.saturating_add(content.len());
        }
        offset = offset.saturating_add(PIECE);
    }
    if end == 0 {
        fs.truncate(to, 0)?;
    }
    if end < len {
        fs.truncate(to, len)?;
    }
    Ok(())
}
