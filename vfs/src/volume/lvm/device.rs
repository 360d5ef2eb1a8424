//! A logical volume as a block device: the extents it lies on, one after the other or in stripes.

use super::group::Permission;
use crate::block::{BlockDevice, FilePart, check_range};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::volume::VolumeInfo;
use std::ops::Range;
use std::sync::Arc;

/// Where a logical volume lies; with a disk it becomes a device.
#[derive(Debug)]
pub struct Logical {
    /// Its name with that of its group: `vg/lv`.
    pub(super) name: String,
    pub(super) size: u64,
    /// The physical volumes of the group, those that this one lies on among them.
    pub(super) members: Arc<[VolumeInfo]>,
    pub(super) segments: Vec<Run>,
    pub(super) permission: Permission,
}

/// Bytes of a logical volume that lie in one place, or in several in turn.
#[derive(Debug)]
pub(super) struct Run {
    /// Its first byte in the logical volume.
    pub(super) start: u64,
    pub(super) len: u64,
    /// How much goes to each place in turn.
    pub(super) stripe: u64,
    /// A member's number, and the first byte there.
    pub(super) places: Vec<(usize, u64)>,
}

impl Run {
    /// Where a byte of the logical volume lies (member and offset), and how many follow it there.
    fn locate(&self, offset: u64) -> Option<(usize, u64, u64)> {
        let inside = offset.checked_sub(self.start)?;
        let columns = u64::try_from(self.places.len()).ok()?;
        let (stripe, within) = (inside.checked_div(self.stripe)?, inside.checked_rem(self.stripe)?);
        let (row, column) = (stripe.checked_div(columns)?, stripe.checked_rem(columns)?);
        let (member, base) = *self.places.get(usize::try_from(column).ok()?)?;
        let at = base.checked_add(row.checked_mul(self.stripe)?)?.checked_add(within)?;
        Some((member, at, self.stripe.checked_sub(within)?.min(self.len.checked_sub(inside)?)))
    }
}

impl Logical {
    /// Its name with that of its group: `vg/lv`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its group.
    pub(in crate::volume) fn group(&self) -> &str {
        self.name.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether it is the same volume in the same places.
    pub(in crate::volume) fn is_mapped_as(&self, other: &Self) -> bool {
        let member = |of: &Self, number: usize| of.members.get(number).map(ToString::to_string);
        let is_place = |(ours, theirs): (&(usize, u64), &(usize, u64))| {
            ours.1 == theirs.1 && member(self, ours.0) == member(other, theirs.0)
        };
        let is_run = |(ours, theirs): (&Run, &Run)| {
            (ours.start, ours.len, ours.stripe, ours.places.len())
                == (theirs.start, theirs.len, theirs.stripe, theirs.places.len())
                && ours.places.iter().zip(&theirs.places).all(is_place)
        };
        (&self.name, self.size, self.segments.len()) == (&other.name, other.size, other.segments.len())
            && self.segments.iter().zip(&other.segments).all(is_run)
    }

    /// The physical volumes of its group that are there.
    pub(in crate::volume) fn members(&self) -> &[VolumeInfo] {
        &self.members
    }

    /// Its bytes on a disk.
    pub(in crate::volume) fn device(self: &Arc<Self>, disk: &Arc<dyn BlockDevice>) -> Result<Arc<dyn BlockDevice>> {
        let parents: Result<Vec<_>> = self.members.iter().map(|member| member.device(disk)).collect();
        Ok(Arc::new(LogicalDevice { map: Arc::clone(self), parents: parents? }))
    }

    fn locate(&self, offset: u64) -> Option<(usize, u64, u64)> {
        let after = self.segments.partition_point(|run| run.start <= offset);
        self.segments.get(after.checked_sub(1)?)?.locate(offset)
    }
}

/// A logical volume on a disk.
#[derive(Debug)]
struct LogicalDevice {
    map: Arc<Logical>,
    parents: Vec<Arc<dyn BlockDevice>>,
}

/// A part of what is asked for that lies in one place.
struct Piece<'a> {
    parent: &'a Arc<dyn BlockDevice>,
    /// Its first byte there.
    at: u64,
    /// Which part of what was asked for it is.
    part: Range<usize>,
}

impl LogicalDevice {
    /// The places of `len` bytes from `offset`, in order; the range lies in the device.
    fn pieces(&self, offset: u64, len: usize) -> impl Iterator<Item = Result<Piece<'_>>> {
        let mut done = 0_usize;
        std::iter::from_fn(move || {
            let left = len.checked_sub(done).filter(|left| *left > 0)?;
            let found = u64::try_from(done).ok().and_then(|done| self.map.locate(offset.checked_add(done)?));
            let piece = found.and_then(|(member, at, there)| {
                let end = done.checked_add(usize::try_from(there).unwrap_or(usize::MAX).min(left))?;
                Some(Piece { parent: self.parents.get(member)?, at, part: done..end })
            });
            done = piece.as_ref().map_or(len, |piece| piece.part.end);
            Some(piece.ok_or_else(|| super::corrupt("a part of the logical volume lies nowhere").with_offset(offset)))
        })
    }

    fn check(&self, offset: u64, len: usize) -> Result<()> {
        check_range(Layer::Volume, self.map.size, offset, len)
    }
}

impl BlockDevice for LogicalDevice {
    fn size(&self) -> u64 {
        self.map.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.check(offset, buf.len())?;
        for piece in self.pieces(offset, buf.len()) {
            let Piece { parent, at, part } = piece?;
            parent.read_at(buf.get_mut(part).unwrap_or_default(), at)?;
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.check(offset, buf.len())?;
        if self.map.permission == Permission::ReadOnly {
            let message = format!("the logical volume {} is marked read-only", self.map.name);
            return Err(Error::new(ErrorKind::Denied, Layer::Volume, message)
                .with_hint("lvchange --permission rw allows writes to it"));
        }
        for piece in self.pieces(offset, buf.len()) {
            let Piece { parent, at, part } = piece?;
            parent.write_at(buf.get(part).unwrap_or_default(), at)?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.parents.iter().try_for_each(|parent| parent.flush())
    }

    fn is_as_found(&self) -> bool {
        self.parents.iter().all(|parent| parent.is_as_found())
    }

    fn note_unused(&self, offset: u64, len: u64) {
        let Ok(len) = usize::try_from(len) else { return };
        if self.check(offset, len).is_ok() {
            for Piece { parent, at, part } in self.pieces(offset, len).flatten() {
                parent.note_unused(at, u64::try_from(part.len()).unwrap_or(0));
            }
        }
    }

    fn lend(&self, part: &FilePart, offset: u64) -> Result<u64> {
        let len = usize::try_from(part.len).unwrap_or(usize::MAX);
        if self.map.permission == Permission::ReadOnly || self.check(offset, len).is_err() {
            return Ok(0);
        }
        let mut lent = 0_u64;
        for piece in self.pieces(offset, len) {
            let Piece { parent, at, part: range } = piece?;
            let size = u64::try_from(range.len()).unwrap_or(0);
            let start = part.start.saturating_add(lent);
            let taken = parent.lend(&FilePart { start, len: size, ..part.clone() }, at)?;
            lent = lent.saturating_add(taken);
            if taken < size {
                break;
            }
        }
        Ok(lent)
    }
}
