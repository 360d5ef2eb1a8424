//! Free clusters: found in one piece where there is one, and made into chains.

use super::failure;
use super::layout::FIRST_CLUSTER;
use super::table::Next;
use super::volume::Volume;
use crate::block::BlockDevice;
use crate::error::{ErrorKind, Result};

/// The clusters that are looked at for one free piece that is large enough.
const LOOKED_MAX: u32 = 4 << 20;

/// Clusters that follow each other.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u32,
    len: u32,
}

/// Fills new clusters: the device, the byte at which they begin, and how many bytes they have.
pub(super) type Fill<'f> = dyn FnMut(&dyn BlockDevice, u64, u64) -> Result<()> + 'f;

impl Volume {
    /// Adds so many clusters to the end of a chain, `tail`, or begins one; gives the first and the last of them.
    ///
    /// `NoSpace` where there are not so many.
    pub(super) fn grow(&mut self, tail: Option<u32>, count: u32, fill: &mut Fill<'_>) -> Result<(u32, u32)> {
        if self.counters.free.is_some_and(|free| free < count) {
            return Err(no_space());
        }
        let (mut first, mut last) = (None, tail);
        let mut left = count;
        // One that is large enough is looked for once; pieces are taken as they come.
        let mut found = self.whole(count)?;
        let mut place = self.counters.next;
        let mut looked = 0_u32;
        while left > 0 {
            let run = match found.take() {
                Some(run) => run,
                None => self.piece(&mut place, &mut looked, left)?.ok_or_else(no_space)?,
            };
            let end = run.first.saturating_add(run.len);
            for cluster in run.first..end {
                let next = cluster.saturating_add(1);
                self.link(cluster, if next == end { Next::End } else { Next::Cluster(next) })?;
            }
            if let Some(last) = last {
                self.link(last, Next::Cluster(run.first))?;
            }
            first = first.or(Some(run.first));
            last = end.checked_sub(1);
            left = left.saturating_sub(run.len);
            self.counters.take(run.len);
            self.counters.next = if self.layout.holds(end) { end } else { FIRST_CLUSTER };
            let bytes = u64::from(run.len).saturating_mul(self.layout.cluster_size);
            fill(&*self.device, self.layout.cluster_at(run.first), bytes)?;
        }
        first.zip(last).ok_or_else(no_space)
    }

    /// The first free run of so many clusters from where the last search ended, as far as is looked.
    fn whole(&self, count: u32) -> Result<Option<Run>> {
        let mut place = self.counters.next;
        let mut looked = 0;
        while looked < LOOKED_MAX {
            match self.piece(&mut place, &mut looked, count)? {
                Some(run) if run.len >= count => return Ok(Some(run)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The next free run from a place on, of at most so many clusters; `None` once the whole table was `looked` at.
    fn piece(&self, place: &mut u32, looked: &mut u32, most: u32) -> Result<Option<Run>> {
        let mut run: Option<Run> = None;
        while *looked < self.layout.clusters() {
            if !self.layout.holds(*place) {
                *place = FIRST_CLUSTER;
                if run.is_some() {
                    return Ok(run);
                }
            }
            let is_free = self.table.next(&*self.device, *place)? == Next::Free;
            match &mut run {
                Some(run) if is_free && run.len < most => run.len = run.len.saturating_add(1),
                Some(_) => return Ok(run),
                None if is_free => run = Some(Run { first: *place, len: 1 }),
                None => {}
            }
            *place = place.saturating_add(1);
            *looked = looked.saturating_add(1);
        }
        Ok(run)
    }
}

pub(super) fn no_space() -> crate::error::Error {
    failure(ErrorKind::NoSpace, "no cluster is free")
}
