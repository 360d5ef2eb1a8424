//! The messages: what is asked, and what is answered.

use super::codec::{List, Part, Rest, choice, structure};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{
    Attrs, DeviceNumber, DirEntry, Features, FileType, Metadata, Recovered, SetAttrs, SpecialFile, Timestamp, Xattr,
};
use crate::path::{GuestPath, Resolved};
use crate::volume::Signature;
use std::error::Error as _;

/// How many letters of the text of an error are taken.
const TEXT_MAX: usize = 2000;

/// What the far end is to mount before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What the near end has found in the volume.
    pub signature: Signature,
    /// The time of all changes; `None` to mount for reading only.
    pub now: Option<Timestamp>,
}

/// Where the far end has mounted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which kernel, for a report: `Linux 6.1.176`.
    pub kernel: String,
    /// The subvolume of btrfs that is the guest's root, where it is not the default one.
    pub subvolume: Option<String>,
}

/// What is asked of the far end.
#[derive(Debug)]
pub(super) enum Request {
    Mount(Mount),
    Lookup(Resolved),
    ReadLink(Resolved),
    /// Offset, length.
    ReadAt(Resolved, u64, u32),
    ReadDir(Resolved),
    Special(Resolved),
    Xattrs(Resolved),
    CreateFile(Resolved, Attrs),
    CreateDir(Resolved, Attrs),
    CreateSymlink(Resolved, Vec<u8>, Attrs),
    CreateSpecial(Resolved, SpecialFile, Attrs),
    /// What exists, its further name.
    HardLink(Resolved, Resolved),
    Put(Resolved, Vec<u8>),
    Append(Resolved, Vec<u8>),
    Truncate(Resolved, u64),
    SetAttrs(Resolved, SetAttrs),
    SetXattr(Resolved, Xattr),
    RemoveXattr(Resolved, Vec<u8>),
    Remove(Resolved),
    Rename(Resolved, Resolved),
    Close,
}

/// What the far end answers.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Mounted(Features, Place),
    Found(Option<Metadata>),
    Bytes(Vec<u8>),
    Entries(List<DirEntry>),
    Special(SpecialFile),
    Xattrs(List<Xattr>),
    Failed(Failed),
}

/// An error on its way.
#[derive(Debug)]
pub(super) struct Failed {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<String>,
}

choice! { Request {
    1 Mount(mount), 2 Lookup(at), 3 ReadLink(at), 4 ReadAt(at, offset, len), 5 ReadDir(at), 6 Xattrs(at),
    7 CreateFile(at, attrs), 8 CreateDir(at, attrs), 9 CreateSymlink(at, target, attrs), 10 HardLink(existing, at),
    11 Put(at, bytes), 12 Append(at, bytes), 13 Truncate(at, size), 14 SetAttrs(at, attrs), 15 SetXattr(at, xattr),
    16 RemoveXattr(at, name), 17 Remove(at), 18 Rename(from, to), 19 Close,
    20 Special(at), 21 CreateSpecial(at, special, attrs),
} }

choice! { Answer {
    1 Done, 2 Mounted(features, place), 3 Found(metadata), 4 Bytes(bytes), 5 Entries(entries), 6 Xattrs(xattrs), 7 Failed(failed),
    8 Special(special),
} }

choice! { FileType {
    1 Regular, 2 Directory, 3 Symlink, 4 CharDevice, 5 BlockDevice, 6 Fifo, 7 Socket,
} }

choice! { SpecialFile {
    1 CharDevice(number), 2 BlockDevice(number), 3 Fifo, 4 Socket,
} }

choice! { ErrorKind {
    1 Io, 2 Corrupt, 3 Unsupported, 4 NotFound, 5 WrongType, 6 Denied, 7 Ambiguous, 8 Invalid, 9 NoSpace, 10 InUse,
    11 Unfinished,
} }

structure! { Mount { signature, now } }
structure! { Place { kernel, subvolume } }
structure! { DeviceNumber { major, minor } }
structure! { Attrs { mode, uid, gid } }
structure! { SetAttrs { mode, uid, gid, mtime } }
structure! { Timestamp { seconds, nanoseconds } }
structure! { Metadata { file_type, mode, uid, gid, size, links, inode, mtime } }
structure! { DirEntry { name, file_type } }
structure! { Xattr { name, value } }
structure! { Recovered { transactions, orphans } }
structure! { Failed { kind, message, hint, source } }

impl Part for Signature {
    fn write(&self, to: &mut Vec<u8>) {
        self.name.to_owned().write(to);
        self.label.write(to);
        self.uuid.write(to);
    }

    fn read(from: &mut Rest<'_>) -> Option<Self> {
        Some(Self { name: known(&String::read(from)?), label: Part::read(from)?, uuid: Part::read(from)? })
    }
}

impl Part for Features {
    fn write(&self, to: &mut Vec<u8>) {
        self.name.to_owned().write(to);
        self.label.write(to);
        self.uuid.write(to);
        self.block_size.write(to);
        self.total_bytes.write(to);
        self.free_bytes.write(to);
        self.free_inodes.write(to);
        List(self.feature_names.clone()).write(to);
        self.recovered.write(to);
    }

    fn read(from: &mut Rest<'_>) -> Option<Self> {
        Some(Self {
            name: known(&String::read(from)?),
            label: String::read(from)?,
            uuid: String::read(from)?,
            block_size: Part::read(from)?,
            total_bytes: Part::read(from)?,
            free_bytes: Part::read(from)?,
            free_inodes: Part::read(from)?,
            feature_names: List::read(from)?.0,
            recovered: Part::read(from)?,
        })
    }
}

/// A path that the other end has resolved.
impl Part for Resolved {
    fn write(&self, to: &mut Vec<u8>) {
        self.as_bytes().to_vec().write(to);
    }

    fn read(from: &mut Rest<'_>) -> Option<Self> {
        let path = GuestPath::parse(Vec::read(from)?).ok()?;
        Some(path.components().fold(Self::root(), |at, name| at.child(name)))
    }
}

/// The name of a filesystem as this program spells it.
fn known(name: &str) -> &'static str {
    const NAMES: [&str; 9] = ["ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs", "bcachefs", "vfat", "mem"];
    NAMES.iter().find(|known| **known == name).copied().unwrap_or("unknown")
}

/// A message in bytes.
pub(super) fn encode(part: &impl Part) -> Vec<u8> {
    let mut bytes = Vec::new();
    part.write(&mut bytes);
    bytes
}

/// A message of bytes; `Corrupt` where they are none, or more than one.
pub(super) fn decode<T: Part>(bytes: &[u8]) -> Result<T> {
    let mut rest = Rest(bytes);
    let part = T::read(&mut rest).filter(|_| rest.0.is_empty());
    part.ok_or_else(|| Error::corrupt(Layer::Filesystem, "a message of the other end that makes no sense"))
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        let source = (!causes.is_empty()).then(|| causes.join(": "));
        Self { kind: error.kind(), message: error.message().to_owned(), hint: error.hint().map(str::to_owned), source }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let mut error = Self::new(failed.kind, Layer::Filesystem, plain(&failed.message));
        if let Some(hint) = &failed.hint {
            error = error.with_hint(plain(hint));
        }
        match &failed.source {
            Some(source) => error.with_source(plain(source)),
            None => error,
        }
    }
}

/// A stranger's text for a terminal: one line, not too long.
pub(super) fn plain(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
