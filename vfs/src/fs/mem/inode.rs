//! An inode of the filesystem in memory.

use crate::fs::{Attrs, FileType, Metadata, SpecialFile, Timestamp};
use std::collections::BTreeMap;

#[derive(Clone)]
pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) attrs: Attrs,
    pub(super) mtime: Timestamp,
    pub(super) links: u32,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone)]
pub(super) enum Body {
    Regular(Vec<u8>),
    /// Names and inode numbers.
    Directory(BTreeMap<Vec<u8>, u64>),
    Symlink(Vec<u8>),
    /// A device, pipe or socket.
    Special(SpecialFile),
}

impl Inode {
    pub(super) fn new(body: Body, attrs: Attrs) -> Self {
        let links = if matches!(body, Body::Directory(_)) { 2 } else { 1 };
        Self { body, attrs, mtime: Timestamp::default(), links, xattrs: BTreeMap::new() }
    }

    pub(super) fn metadata(&self, number: u64) -> Metadata {
        Metadata {
            file_type: self.body.file_type(),
            mode: self.attrs.mode,
            uid: self.attrs.uid,
            gid: self.attrs.gid,
            size: self.body.size(),
            links: self.links,
            inode: number,
            mtime: self.mtime,
        }
    }
}

impl Body {
    pub(super) fn file_type(&self) -> FileType {
        match self {
            Self::Regular(_) => FileType::Regular,
            Self::Directory(_) => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Special(special) => special.file_type(),
        }
    }

    /// The size in bytes: of the content, of a link's target, else 0.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Regular(bytes) | Self::Symlink(bytes) => bytes.len() as u64,
            Self::Directory(_) | Self::Special(_) => 0,
        }
    }
}
