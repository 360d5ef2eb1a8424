//! Comparing contents in pieces, never whole.

use crate::error::{Error, Layer, Result};
use crate::fs::{Content, GuestFs};
use crate::path::Resolved;
use std::sync::Arc;

/// How many bytes are compared at a time.
const PIECE: u64 = 64 * 1024;

/// Whether the regular file at `at`, of `size` bytes, holds exactly `content`.
pub(super) fn file_holds(fs: &dyn GuestFs, at: &Resolved, size: u64, content: &Content) -> Result<bool> {
    if size != content.len() {
        return Ok(false);
    }
    compare(size, content, |buf, offset| read_exact(fs, at, buf, offset))
}

/// Whether two contents are the same bytes.
pub(super) fn same(one: &Content, other: &Content) -> Result<bool> {
    match (one, other) {
        _ if one.len() != other.len() => Ok(false),
        (Content::Bytes(one), Content::Bytes(other)) => Ok(Arc::ptr_eq(one, other) || one == other),
        (Content::HostFile { file: one, start: from, .. }, Content::HostFile { file: other, start: to, .. })
            if Arc::ptr_eq(one, other) && from == to =>
        {
            Ok(true)
        }
        _ => compare(one.len(), one, |buf, offset| other.read_at(buf, offset)),
    }
}

fn compare(size: u64, content: &Content, mut other: impl FnMut(&mut [u8], u64) -> Result<()>) -> Result<bool> {
    let mut here = vec![0; size.min(PIECE) as usize];
    let mut there = here.clone();
    let mut offset = 0;
    while offset < size {
        let len = (size - offset).min(PIECE);
        let (here, there) = (&mut here[..len as usize], &mut there[..len as usize]);
        content.read_at(here, offset)?;
        other(there, offset)?;
        if here != there {
            return Ok(false);
        }
        offset += len;
    }
    Ok(true)
}

fn read_exact(fs: &dyn GuestFs, at: &Resolved, mut buf: &mut [u8], mut offset: u64) -> Result<()> {
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
        offset += read as u64;
    }
    Ok(())
}
