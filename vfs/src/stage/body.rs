//! What a regular file is to hold, compared in pieces and never whole.

use crate::error::{Error, Layer, Result};
use crate::fs::{Content, GuestFs};
use crate::path::Resolved;
use sha2::{Digest as _, Sha256};
use std::ops::ControlFlow;
use std::sync::Arc;

/// How many bytes are read at a time.
const PIECE: u64 = 64 * 1024;

/// What a regular file is to hold.
#[derive(Clone, Debug)]
pub enum Body {
    /// This.
    New(Content),
    /// What another file holds in the filesystem under the stage.
    Copy(Arc<Copied>),
}

/// The content of a file of the filesystem under the stage, which is read where it is when the changes are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where the file is.
    pub from: Resolved,
    /// Its inode number.
    pub(super) inode: u64,
    /// Its size in bytes.
    pub(super) len: u64,
    /// The SHA-256 of what it holds.
    digest: [u8; 32],
}

impl Copied {
    /// The content of the file at `from`, which is read once for its digest.
    pub(super) fn of(fs: &dyn GuestFs, from: &Resolved, inode: u64, len: u64) -> Result<Self> {
        let digest = digest(len, |buf, offset| read_exact(fs, from, buf, offset))?;
        Ok(Self { from: from.clone(), inode, len, digest })
    }

    /// Whether `read`, which fills a buffer with what is from a byte on, one piece after the other, finds the same bytes.
    pub(crate) fn is_what<E>(&self, read: impl FnMut(&mut [u8], u64) -> Result<(), E>) -> Result<bool, E> {
        Ok(digest(self.len, read)? == self.digest)
    }
}

impl Body {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::New(content) => content.len(),
            Self::Copy(copied) => copied.len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether two of them are the same bytes.
    pub(super) fn is_same(&self, other: &Self) -> Result<bool> {
        if self.len() != other.len() {
            return Ok(false);
        }
        match (self, other) {
            (Self::New(Content::Bytes(one)), Self::New(Content::Bytes(other))) => {
                Ok(Arc::ptr_eq(one, other) || one == other)
            }
            (
                Self::New(Content::HostFile { file: one, start: from, .. }),
                Self::New(Content::HostFile { file: other, start: to, .. }),
            ) if Arc::ptr_eq(one, other) && from == to => Ok(true),
            (Self::New(one), Self::New(other)) => compare(one, |buf, offset| other.read_at(buf, offset)),
            (Self::Copy(one), Self::Copy(other)) => Ok(one.digest == other.digest),
            (Self::New(content), Self::Copy(copied)) | (Self::Copy(copied), Self::New(content)) => {
                copied.is_what(|buf, offset| content.read_at(buf, offset))
            }
        }
    }

    /// Whether the regular file at `at`, of `size` bytes, holds exactly this.
    pub(super) fn is_in(&self, fs: &dyn GuestFs, at: &Resolved, size: u64) -> Result<bool> {
        if size != self.len() {
            return Ok(false);
        }
        let read = |buf: &mut [u8], offset| read_exact(fs, at, buf, offset);
        match self {
            Self::New(content) => compare(content, read),
            Self::Copy(copied) if copied.from == *at => Ok(true),
            Self::Copy(copied) => copied.is_what(read),
        }
    }
}

fn compare(content: &Content, mut other: impl FnMut(&mut [u8], u64) -> Result<()>) -> Result<bool> {
    let mut there = Vec::new();
    let differs = pieces(content.len(), |here, offset| {
        content.read_at(here, offset)?;
        there.resize(here.len(), 0);
        other(&mut there, offset)?;
        Ok::<_, Error>(if *here == *there { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(differs.is_continue())
}

fn digest<E>(len: u64, mut read: impl FnMut(&mut [u8], u64) -> Result<(), E>) -> Result<[u8; 32], E> {
    let mut hash = Sha256::new();
    let whole = pieces(len, |buf, offset| {
        read(buf, offset)?;
        hash.update(&*buf);
        Ok::<_, E>(ControlFlow::Continue(()))
    })?;
    debug_assert!(whole.is_continue());
    Ok(hash.finalize().into())
}

/// Gives `take` a buffer for each piece of `len` bytes, and the offset of it, until it breaks off.
fn pieces<E>(
    len: u64,
    mut take: impl FnMut(&mut [u8], u64) -> Result<ControlFlow<()>, E>,
) -> Result<ControlFlow<()>, E> {
    let mut buf = vec![0; usize::try_from(len.min(PIECE)).unwrap_or(0)];
    let mut offset = 0;
    while offset < len {
        let left = usize::try_from(len - offset).unwrap_or(usize::MAX).min(buf.len());
        if take(buf.get_mut(..left).unwrap_or_default(), offset)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        offset = offset.saturating_add(PIECE);
    }
    Ok(ControlFlow::Continue(()))
}

pub(super) fn read_exact(fs: &dyn GuestFs, at: &Resolved, mut buf: &mut [u8], mut offset: u64) -> Result<()> {
    while !buf.is_empty() {
        let read = fs.read_at(at, buf, offset)?;
        match buf.get_mut(read..) {
            Some(rest) if read > 0 => buf = rest,
            _ => {
                return Err(Error::corrupt(Layer::Stage, "the file is shorter than its size says")
                    .with_guest_path(at.as_bytes())
                    .with_offset(offset));
            }
        }
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok(())
}
