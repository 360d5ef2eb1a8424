//! The host's side of a transaction: the image file, and the journal beside it.

use super::identity::{Identity, Likeness};
use crate::error::Result;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The file that holds the image, as a transaction uses it.
///
/// A trait, so that tests can stand between a commit and the file: they record what is written and made durable in which
/// order, build every state that a crash could leave, and let any single call fail.
pub trait Host: Debug + Send + Sync {
    /// The path of the image, for messages.
    fn path(&self) -> &Path;

    /// The size of the image in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Whether it can become larger.
    fn growth(&self) -> Growth;

    /// What tells this file from another one of the same name.
    fn stamp(&self) -> io::Result<Stamp>;

    /// Fails with `InUse` where the image's name is that of another file now, or of none.
    fn still_named(&self) -> Result<()>;

    /// The file itself, where there is one: a copy of it can be cheap then.
    fn file(&self) -> Option<&File>;

    /// Fills `buf` from byte `offset`, or fails.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at byte `offset`; a write past the end lengthens the file. On an error any part may have been
    /// written.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Gives these `len` bytes of the file their room on the disk, holes included, without a change to what they hold.
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Gives the room of these `len` bytes back to the disk; they read as zeros then.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Cuts or lengthens (with zeros) the file to `size` bytes.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes what was written durable, and the size.
    fn sync(&self) -> io::Result<()>;

    /// Gives the file another time of its last write.
    fn set_modified(&self, time: Time) -> io::Result<()>;

    /// The journal's place beside the image.
    fn journal(&self) -> &dyn Sidecar;
}

/// Whether what holds an image can become larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Growth {
    Possible,
    /// As of a block device.
    Impossible,
}

/// Where a journal lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the directory of the image.
    Beside,
    /// In the state directory that is taken where the caller names none.
    Usual,
    /// In the state directory that the caller has named, and has to name again.
    Chosen(&'a Path),
}

/// The journal file beside the image, and the directory that names it.
pub trait Sidecar: Debug + Send + Sync {
    /// The path of the file, for messages.
    fn path(&self) -> &Path;

    /// Where it lies.
    fn place(&self) -> Place<'_>;

    /// Opens the file for reading and gives its size in bytes, or `None` where there is none. `Denied` where it is not a
    /// plain file that only the image's owner, this user or root can have made.
    fn open(&self) -> Result<Option<u64>>;

    /// Fills `buf` from byte `offset` of the file that was opened or created.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Makes the file, empty, readable by this user alone; fails where the name is taken, by whatever.
    fn create(&self) -> io::Result<()>;

    /// Appends to the file that was created. On an error any part may have been written.
    fn append(&self, buf: &[u8]) -> io::Result<()>;

    /// Writes over the first bytes of the file that was created, all of them in one sector.
    fn seal(&self, buf: &[u8]) -> io::Result<()>;

    /// Makes the file's contents durable.
    fn sync(&self) -> io::Result<()>;

    /// Makes the file empty, durably.
    fn clear(&self) -> io::Result<()>;

    /// Removes the file's name.
    fn remove(&self) -> io::Result<()>;

    /// Makes the directory durable: whether the file's name is in it.
    fn sync_dir(&self) -> io::Result<()>;
}

/// What tells a file from another one of the same name, and from itself after somebody has written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which file or device it is, or which part of one.
    pub identity: Identity,
    /// The time of the last write; `None` where the host does not keep it (a block device).
    pub time: Option<Time>,
}

impl Stamp {
    /// Whether nothing has been written to the file since it had the other stamp. A time of whole seconds says nothing: it
    /// may be that of a filesystem that keeps no more, where a later write can have the same.
    pub(super) fn is_untouched(self, since: Self) -> bool {
        self.identity.inode == since.identity.inode
            && self.has_time_of(since)
            && self.time.is_some_and(|time| time.nanos != 0)
    }

    fn has_time_of(self, other: Self) -> bool {
        self.time.is_some() && self.time == other.time
    }

    /// Whether this is certainly not the file that had the other stamp. What filesystems are called may change with the
    /// numbers of their devices: what has the same time of birth, or of its last write, is the same file all the same.
    pub(super) fn is_of_another(self, other: Self) -> bool {
        match self.identity.against(other.identity) {
            Likeness::Same => false,
            Likeness::Perhaps => !self.has_time_of(other),
            Likeness::Another => true,
        }
    }
}

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds of that second, less than 1,000,000,000.
    pub nanos: u32,
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        let second =
            if time.seconds < 0 { Self::UNIX_EPOCH.checked_sub(whole) } else { Self::UNIX_EPOCH.checked_add(whole) };
        let nanos = Duration::from_nanos(u64::from(time.nanos));
        second.and_then(|second| second.checked_add(nanos)).unwrap_or(Self::UNIX_EPOCH)
    }
}
