//! Journals in a directory, by what they say of the image that they were made for and not by their names.

use super::identity::Identity;
use super::record::{HEADER, Header, Opening};
use super::sidecar::{Owner, distrust, is_journal};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The most entries of a directory that are looked at, and the most journals among them.
const ENTRIES: usize = 1 << 20;
const JOURNALS: usize = 4096;

/// A journal that was found by what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) path: PathBuf,
    /// What it was made for.
    pub(super) identity: Identity,
    /// The size of that in bytes.
    pub(super) size: u64,
}

/// Those of what `thing` stands for in the directory, which is at `path`, where whoever made them can write to the image.
pub(super) fn all(directory: &File, thing: u64, owner: Owner, path: &Path) -> Vec<Stray> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let listed = openat(directory, ".", flags, Mode::empty()).ok().and_then(|list| rustix::fs::Dir::new(list).ok());
    let Some(listed) = listed else {
        tracing::debug!(path = %path.display(), "this user may not list the directory: journals are found by their names");
        return Vec::new();
    };
    let names = listed.take(ENTRIES).map_while(Result::ok).map(|entry| entry.file_name().to_bytes().to_vec());
    let journals = names.filter(|name| is_journal(Path::new(OsStr::from_bytes(name)))).take(JOURNALS);
    let read = journals.filter_map(|name| read(directory, OsStr::from_bytes(&name), thing, owner, path));
    read.collect()
}

fn read(directory: &File, name: &OsStr, thing: u64, owner: Owner, path: &Path) -> Option<Stray> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let file = openat(directory, name, flags, Mode::empty()).ok()?;
    if distrust(&fstat(&file).ok()?, owner).is_some() {
        return None;
    }
    let mut first = [0; HEADER];
    File::from(file).read_exact_at(&mut first, 0).ok()?;
    let Opening::Header(header) = Header::decode(&first) else { return None };
    let identity = header.stamp.identity;
    let its = identity.thing == thing && thing != 0;
    its.then(|| Stray { path: path.join(name), identity, size: header.image_size })
}
