//! The content of files.

use super::directory::zeros;
use super::entry::{ARCHIVE, Entry};
use super::table::Next;
use super::volume::{Cursor, Seat, Volume};
use super::{corrupt, failure, unsupported};
use crate::block::BlockDevice;
use crate::error::{ErrorKind, Result};
use crate::fs::Content;
use crate::path::Resolved;

/// How much content is held at a time, in bytes.
const BUFFER: u64 = 1 << 20;
/// What is written whole at the end of a file: the rest of it becomes zero.
const SECTOR: u64 = 512;

/// What is added to a file.
#[derive(Clone, Copy, Debug)]
enum Source<'c> {
    Content(&'c Content),
    Zeros(u64),
}

impl Source<'_> {
    fn len(self) -> u64 {
        match self {
            Self::Content(content) => content.len(),
            Self::Zeros(len) => len,
        }
    }

    /// Writes as much from `offset` on as there is, at most `room` bytes, and zeros to the end of the last sector.
    fn write(self, device: &dyn BlockDevice, offset: u64, at: u64, room: u64) -> Result<()> {
        let len = self.len().saturating_sub(offset).min(room);
        let after = len.next_multiple_of(SECTOR).min(room).saturating_sub(len);
        match self {
            Self::Zeros(_) => zeros(device, at, len)?,
            Self::Content(content) => write(device, content, offset, at, len)?,
        }
        zeros(device, at.saturating_add(len), after)
    }
}

fn write(device: &dyn BlockDevice, content: &Content, offset: u64, at: u64, len: u64) -> Result<()> {
    let lent = match content.part(offset, len) {
        Some(part) => device.lend(&part, at)?.min(len),
        None => 0,
    };
    let mut done = lent;
    let mut bytes = vec![0; usize::try_from(len.saturating_sub(done).min(BUFFER)).unwrap_or_default()];
    while done < len {
        let part = usize::try_from(len.saturating_sub(done)).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.get_mut(..part).unwrap_or_default();
        content.read_at(bytes, offset.saturating_add(done))?;
        device.write_at(bytes, at.saturating_add(done))?;
        done = done.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
    }
    Ok(())
}

impl Volume {
    /// Reads from a byte of a file; gives how much, less than asked only at the end.
    pub(super) fn read(&self, entry: &Entry, buf: &mut [u8], offset: u64) -> Result<usize> {
        let size = u64::from(entry.size());
        let want = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let first = entry.cluster(self.layout.kind);
        if want == 0 {
            return Ok(0);
        }
        let cluster_size = self.layout.cluster_size;
        let mut cursor = self.cursor_of(first)?;
        if u64::from(cursor.count) < size.div_ceil(cluster_size) {
            return Err(corrupt("its chain of clusters ends before the file does"));
        }
        let mut done = 0_usize;
        while done < want {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let index = u32::try_from(at.checked_div(cluster_size).unwrap_or_default()).unwrap_or(u32::MAX);
            cursor = self.forward(cursor, index)?;
            let skip = at.checked_rem(cluster_size).unwrap_or_default();
            let left = want.saturating_sub(done);
            let start = self.layout.cluster_at(cursor.cluster).saturating_add(skip);
            let mut len = cluster_size.saturating_sub(skip);
            // What follows on the volume is read at once.
            while usize::try_from(len).is_ok_and(|len| len < left) {
                match self.after(cursor.cluster)? {
                    Some(next) if Some(next) == cursor.cluster.checked_add(1) => {
                        cursor = Cursor { cluster: next, index: cursor.index.saturating_add(1), ..cursor };
                        len = len.saturating_add(cluster_size);
                    }
                    _ => break,
                }
            }
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(left);
            let part = buf.get_mut(done..done.saturating_add(len)).unwrap_or_default();
            self.device.read_at(part, start)?;
            done = done.saturating_add(len);
        }
        self.cursor.set(Some(cursor));
        Ok(done)
    }

    /// The cursor in a chain, or a new one at its beginning.
    fn cursor_of(&self, first: u32) -> Result<Cursor> {
        match self.cursor.get() {
            Some(cursor) if cursor.first == first => Ok(cursor),
            _ => Ok(Cursor { first, count: self.count(first)?, cluster: first, index: 0 }),
        }
    }

    /// The cursor at another place of its chain.
    fn forward(&self, cursor: Cursor, index: u32) -> Result<Cursor> {
        let mut cursor =
            if index < cursor.index { Cursor { cluster: cursor.first, index: 0, ..cursor } } else { cursor };
        while cursor.index < index {
            let next = self.after(cursor.cluster)?;
            cursor.cluster = next.ok_or_else(|| corrupt("its chain of clusters ends before the file does"))?;
            cursor.index = cursor.index.saturating_add(1);
        }
        Ok(cursor)
    }

    fn regular(&self, at: &Resolved) -> Result<Seat> {
        let spot = self.walk(at)?.ok_or_else(|| failure(ErrorKind::NotFound, "no such file"))?;
        spot.regular().cloned()
    }

    /// Replaces the whole content. The old clusters may be taken again at once, so that a full filesystem can take a file of the
    /// same size: it is the transaction that keeps what was there until it is committed.
    pub(super) fn put(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.writable()?;
        let mut seat = self.regular(at)?;
        check_size(content.len())?;
        self.free(seat.file.entry.cluster(self.layout.kind))?;
        seat.file.entry.set_place(self.layout.kind, 0, 0);
        self.add(seat, Source::Content(content))
    }

    /// Adds to the end of the content.
    pub(super) fn append(&mut self, at: &Resolved, content: &Content) -> Result<()> {
        self.writable()?;
        let mut seat = self.regular(at)?;
        let size = seat.file.entry.size();
        self.cut(&mut seat, size)?;
        self.add(seat, Source::Content(content))
    }

    /// Cuts the content, or lengthens it with zeros.
    pub(super) fn truncate(&mut self, at: &Resolved, size: u64) -> Result<()> {
        self.writable()?;
        let mut seat = self.regular(at)?;
        let size = check_size(size)?;
        let old = seat.file.entry.size();
        self.cut(&mut seat, old.min(size))?;
        self.add(seat, Source::Zeros(u64::from(size.saturating_sub(old))))
    }

    /// Cuts a file to a size that is not above its own, and its chain to what that needs.
    fn cut(&mut self, seat: &mut Seat, size: u32) -> Result<()> {
        let kind = self.layout.kind;
        let first = seat.file.entry.cluster(kind);
        let needed = u64::from(size).div_ceil(self.layout.cluster_size);
        if needed == 0 {
            self.free(first)?;
            seat.file.entry.set_place(kind, 0, 0);
            return Ok(());
        }
        let count = self.count(first)?;
        if u64::from(count) < needed {
            return Err(corrupt("its chain of clusters ends before the file does"));
        }
        if u64::from(count) > needed {
            let last = self.nth(first, needed)?;
            if let Some(rest) = self.after(last)? {
                self.link(last, Next::End)?;
                self.free(rest)?;
            }
        }
        seat.file.entry.set_place(kind, first, size);
        Ok(())
    }

    /// The cluster that ends a chain's first so many.
    fn nth(&self, first: u32, number: u64) -> Result<u32> {
        let index = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX);
        let cursor = Cursor { first, count: index.saturating_add(1), cluster: first, index: 0 };
        Ok(self.forward(cursor, index)?.cluster)
    }

    /// Adds to a file whose chain has no more clusters than it needs, and writes its entry.
    fn add(&mut self, mut seat: Seat, source: Source<'_>) -> Result<()> {
        let now = self.writable()?;
        let kind = self.layout.kind;
        let cluster_size = self.layout.cluster_size;
        let size = u64::from(seat.file.entry.size());
        let total = check_size(size.saturating_add(source.len()))?;
        let mut first = seat.file.entry.cluster(kind);
        let have = size.div_ceil(cluster_size);
        let mut tail = None;
        let mut done = 0;
        if have > 0 {
            let last = self.nth(first, have)?;
            tail = Some(last);
            let room = have.saturating_mul(cluster_size).saturating_sub(size);
            let start = self.layout.cluster_at(last).saturating_add(cluster_size).saturating_sub(room);
            let len = room.min(source.len());
            if len > 0 {
                source.write(&*self.device, 0, start, room)?;
                done = len;
            }
        }
        let count = u64::from(total).div_ceil(cluster_size).saturating_sub(have);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count > 0 {
            let mut fill = |device: &dyn BlockDevice, at: u64, room: u64| {
                source.write(device, done, at, room)?;
                done = done.saturating_add(room);
                Ok(())
            };
            let (new, _) = self.grow(tail, count, &mut fill)?;
            if tail.is_none() {
                first = new;
            }
        }
        seat.file.entry.set_place(kind, first, total);
        seat.file.entry.set_changed(now);
        seat.file.entry.add(ARCHIVE);
        self.update(seat)
    }
}

/// The size as FAT keeps it.
fn check_size(size: u64) -> Result<u32> {
    u32::try_from(size).map_err(|_| unsupported(format!("{size} bytes, and FAT files are smaller than 4 GiB")))
}
