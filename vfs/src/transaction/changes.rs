//! What a commit has to write: the held bytes that differ from the image.

use super::overlay::{Overlay, PAGE};
use crate::block::{BlockDevice, Ranges};
use crate::error::Result;
use std::ops::Range;

/// The unit that a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;

/// The size of one read or write while a commit streams, in bytes.
pub(super) const CHUNK: usize = 1 << 20;

/// So many bytes that nothing reaches in the old image are worth the one sync more that they take by themselves. The tests
/// have little to write.
const UNUSED_MIN: u64 = if cfg!(test) { 1 } else { 4 << 20 };

/// The ranges that are held and that nothing reaches in the old image, in whole pages, ascending; none where they are few.
pub(super) fn unused(overlay: &Overlay) -> Vec<Range<u64>> {
    unused_from(overlay, UNUSED_MIN)
}

/// The same, where `min` bytes are not few.
fn unused_from(overlay: &Overlay, min: u64) -> Vec<Range<u64>> {
    let unused: Vec<Range<u64>> = overlay.held().iter().flat_map(|range| overlay.unused(range)).collect();
    let len: u64 = unused.iter().map(|range| range.end - range.start).sum();
    if len < min { Vec::new() } else { unused }
}

/// The ranges to write, ascending, apart from each other: below the old end, the sectors that differ from the base; past
/// it, everything held.
pub(super) fn changed(overlay: &Overlay) -> Result<Vec<Range<u64>>> {
    changed_beside(overlay, &[])
}

/// The same, without these ranges.
pub(super) fn changed_beside(overlay: &Overlay, these: &[Range<u64>]) -> Result<Vec<Range<u64>>> {
    let mut left_out = Ranges::default();
    these.iter().for_each(|range| left_out.add(range.clone()));
    let mut changed = Vec::new();
    let base = overlay.base_size();
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for range in overlay.held().iter().flat_map(|range| left_out.outside(range)) {
        let mut at = range.start;
        while at < range.end.min(base) {
            let len = clamp(range.end.min(base) - at);
            new.resize(len, 0);
            old.resize(len, 0);
            overlay.read_at(&mut new, at)?;
            overlay.read_base(&mut old, at)?;
            if new != old {
                for (i, (new, old)) in new.chunks(SECTOR).zip(old.chunks(SECTOR)).enumerate() {
                    if new != old {
                        let start = at + (i * SECTOR) as u64;
                        push(&mut changed, start..start + new.len() as u64);
                    }
                }
            }
            at += len as u64;
        }
        if range.end > base {
            push(&mut changed, range.start.max(base)..range.end);
        }
    }
    Ok(changed)
}

/// The same ranges in whole pages (up to `end`), so that there are few of them.
pub(super) fn in_pages(ranges: &[Range<u64>], end: u64) -> Vec<Range<u64>> {
    let page = PAGE as u64;
    let mut pages: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let start = range.start / page * page;
        let until = range.end.div_ceil(page).saturating_mul(page).min(end);
        match pages.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(until),
            _ => pages.push(start..until),
        }
    }
    pages
}

/// The range in pieces of at most [`CHUNK`] bytes: where each starts, and its length.
pub(super) fn chunks(range: &Range<u64>) -> impl Iterator<Item = (u64, usize)> + use<> {
    let end = range.end;
    (range.start..end).step_by(CHUNK).map(move |at| (at, clamp(end - at)))
}

fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

fn clamp(len: u64) -> usize {
    usize::try_from(len).map_or(CHUNK, |len| len.min(CHUNK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::MemDevice;
    use std::sync::Arc;

    #[test]
    fn what_is_unused_counts_from_a_size_on_and_in_whole_pages() {
        let page = PAGE as u64;
        let overlay = Overlay::new(Arc::new(MemDevice::new(vec![0; 10 * PAGE])));
        overlay.write_at(&vec![1; 6 * PAGE], page).expect("it fits");
        assert_eq!(unused_from(&overlay, 1), []);
        overlay.note_unused(page + 1, 3 * page);
        overlay.note_unused(6 * page, 3 * page);
        // Of what was noted, page 1 is in use in part, and pages 7 and 8 are not held.
        assert_eq!(unused_from(&overlay, 3 * page), [2 * page..4 * page, 6 * page..7 * page]);
        assert_eq!(unused_from(&overlay, 3 * page + 1), []);
    }
}
