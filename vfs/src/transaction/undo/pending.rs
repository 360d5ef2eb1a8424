//! The undo file of a commit that is to follow: written before it, and sealed after it.

use super::super::base::Base;
use super::super::changes::{self, CHUNK, SECTOR};
use super::super::fresh::NewFile;
use super::super::host::Time;
use super::super::overlay::Overlay;
use super::super::{CommitPlan, IoCounts, journal};
use super::record::{Extent, HEADER, Header, SEAL, Stored, TRAILER, Way, Witness};
use crate::block::BlockDevice;
use crate::error::Result;
use crc32c::{crc32c, crc32c_append};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// The mode of an undo file: it holds what was in the guest, password hashes included.
const MODE: u32 = 0o600;

/// The coarsest clock that a kernel gives its files; after it a write gets another time than those before.
const TICK: Duration = Duration::from_millis(11);

/// The same where the host's filesystem keeps whole seconds (ext4 with inodes of 128 bytes, ext3), or every other one (FAT).
const SECONDS: Duration = Duration::from_secs(2);

/// How long after a write at this time another one may get the same.
fn tick(time: Time) -> Duration {
    if time.nanos == 0 { SECONDS } else { TICK }
}

/// What became of the undo file of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The commit had nothing to write, and there is no undo file.
    Nothing,
    /// It is there, and whole.
    Sealed,
    /// It is there, and the host failed to let it be sealed: nothing in it tells whether the image is written to later.
    Unsealed,
}

/// An undo file that has its name, of a commit that is to follow.
#[derive(Debug)]
pub(in super::super) struct Pending {
    file: NewFile,
    header: Header,
    counts: IoCounts,
}

/// Writes the undo file of a commit of `overlay` by `plan`, and makes it durable with its name; `None`, and no file, where
/// the commit has nothing to write.
pub(in super::super) fn write(
    base: &Base,
    overlay: &Overlay,
    plan: &CommitPlan,
    file: NewFile,
) -> Result<Option<Pending>> {
    let changed = changes::changed(overlay)?;
    if changed.is_empty() {
        return Ok(None);
    }
    let (way, ranges) = match plan {
        CommitPlan::Journal => (Way::Journal, changes::in_pages(&changed, base.size())),
        CommitPlan::Switch { sector, freed } => {
            let mut ranges: Vec<Range<u64>> =
                freed.iter().map(|range| range.start..range.end.min(base.size())).collect();
            ranges.push(*sector..sector.saturating_add(SECTOR as u64));
            // What is written past the old end; no part of a sector of the old image.
            ranges.push(base.size().next_multiple_of(SECTOR as u64)..overlay.size());
            ranges.retain(|range| !range.is_empty());
            ranges.sort_unstable_by_key(|range| range.start);
            (Way::Switch(*sector), ranges)
        }
    };
    let stamp = base.stamp()?;
    let header = Header {
        id: journal::random_id(),
        way,
        witness: match stamp.time {
            Some(_) => Witness::Time,
            None => Witness::Content(checksum(overlay, overlay.size())?),
        },
        old_size: base.size(),
        new_size: overlay.size(),
        old_time: stamp.time,
        records: 0,
        file_size: 0,
    };
    let pending = fill(overlay, header, &ranges, file)
        .map_err(|error| base.wrap("the undo file could not be written; the image is as it was", error))?;
    Ok(Some(pending))
}

/// The CRC-32C of the device's bytes.
pub(super) fn checksum(device: &dyn BlockDevice, size: u64) -> Result<u32> {
    let mut checksum = 0;
    let mut buf = Vec::new();
    for (at, len) in changes::chunks(&(0..size)) {
        buf.resize(len, 0);
        device.read_at(&mut buf, at)?;
        checksum = crc32c_append(checksum, &buf);
    }
    Ok(checksum)
}

fn fill(overlay: &Overlay, mut header: Header, ranges: &[Range<u64>], file: NewFile) -> Result<Pending> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let (mut at, mut checksum) = (HEADER as u64, 0);
    let mut pending = Vec::new();
    for (offset, len) in ranges.iter().flat_map(changes::chunks) {
        old.resize(len, 0);
        new.resize(len, 0);
        overlay.read_at(&mut new, offset)?;
        let stored = if matches!(header.way, Way::Switch(sector) if offset != sector) {
            Stored::Kept
        } else {
            overlay.read_base(&mut old, offset)?;
            if old.iter().all(|&byte| byte == 0) { Stored::Zeros } else { Stored::Here }
        };
        pending.extend_from_slice(&Extent { offset, len, stored }.encode());
        new.chunks(SECTOR).for_each(|sector| pending.extend_from_slice(&crc32c(sector).to_le_bytes()));
        if stored == Stored::Here {
            pending.extend_from_slice(&old);
        }
        header.records += 1;
        if pending.len() >= CHUNK {
            file.write_at(&pending, at)?;
            checksum = crc32c_append(checksum, &pending);
            at += pending.len() as u64;
            pending.clear();
        }
    }
    checksum = crc32c_append(checksum, &pending);
    header.file_size = at + (pending.len() + TRAILER) as u64;
    let encoded = header.encode();
    pending.extend_from_slice(&header.trailer(crc32c_append(checksum, &encoded)));
    file.write_at(&pending, at)?;
    file.write_at(&encoded, 0)?;
    let counts = IoCounts { writes: 2, bytes_written: header.file_size, fsyncs: 2, ..IoCounts::default() };
    Ok(Pending { file: file.publish_and_keep(MODE)?, header, counts })
}

impl Pending {
    /// Seals the file of a commit that is done, while the image is still locked; a later write to the image gets another
    /// time than the seal's.
    pub(in super::super) fn seal(self, base: &Base) -> (Kept, IoCounts) {
        let sealed = base.stamp().and_then(|stamp| {
            self.file.write_at(&self.header.seal(stamp.time), self.header.file_size)?;
            self.file.sync()?;
            Ok(stamp.time)
        });
        let mut counts = self.counts;
        counts.writes += 1;
        counts.bytes_written += SEAL as u64;
        counts.fsyncs += 1;
        match sealed {
            Ok(time) => {
                if let Some(time) = time {
                    let since = SystemTime::now().duration_since(time.into()).unwrap_or_default();
                    std::thread::sleep(tick(time).saturating_sub(since));
                }
                (Kept::Sealed, counts)
            }
            Err(error) => {
                tracing::warn!(%error, "the commit is done, and its undo file could not be sealed");
                (Kept::Unsealed, counts)
            }
        }
    }

    /// Removes the file of a commit that failed, where the image is the old one.
    pub(in super::super) fn remove(self) {
        let path = self.file.path().to_path_buf();
        if let Err(error) = self.file.unpublish() {
            tracing::warn!(%error, path = %path.display(), "the undo file of the failed commit could not be removed");
        }
    }

    /// Says that the file stays, since the image may be the new one.
    pub(in super::super) fn leave(self) {
        tracing::warn!(path = %self.file.path().display(), "the undo file stays: the commit may have been done");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_whole_seconds_is_that_of_a_coarse_clock() {
        assert_eq!(tick(Time { seconds: 7, nanos: 0 }), SECONDS);
        assert_eq!(tick(Time { seconds: 7, nanos: 4_000_000 }), TICK);
    }
}
