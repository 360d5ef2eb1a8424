//! The blocks of a file as ranges that can be put anywhere and taken away again.

use crate::fs::ext4::extent::Extent;
use std::collections::BTreeMap;

/// Extents by their first block in the file; none overlaps another.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u32, Extent>);

impl Ranges {
    /// All of them, in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.0.values()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts an extent over what is there.
    pub(super) fn put(&mut self, extent: Extent) {
        self.take(u64::from(extent.logical), extent.end());
        if extent.len > 0 {
            self.0.insert(extent.logical, extent);
        }
    }

    /// Takes away the blocks from `from` up to `until`.
    pub(super) fn take(&mut self, from: u64, until: u64) {
        let Ok(first) = u32::try_from(from) else { return };
        let last = u32::try_from(until).unwrap_or(u32::MAX);
        if until <= from {
            return;
        }
        let before = self.0.range(..first).next_back().map(|(_, extent)| *extent).filter(|it| it.end() > from);
        let inside = self.0.range(first..=last).map(|(_, extent)| *extent);
        let touched: Vec<Extent> =
            before.into_iter().chain(inside).filter(|it| u64::from(it.logical) < until).collect();
        for extent in touched {
            self.0.remove(&extent.logical);
            for piece in [part(extent, 0, from), part(extent, until, u64::MAX)].into_iter().flatten() {
                self.0.insert(piece.logical, piece);
            }
        }
    }

    /// The same with as few extents as possible, however long: by that two are compared.
    pub(super) fn runs(&self) -> Vec<(Extent, u64)> {
        let mut runs: Vec<(Extent, u64)> = Vec::new();
        for extent in self.iter() {
            if let Some((last, len)) = runs.last_mut()
                && u64::from(last.logical).checked_add(*len) == Some(u64::from(extent.logical))
                && last.start.checked_add(*len) == Some(extent.start)
                && last.written == extent.written
            {
                *len = len.saturating_add(u64::from(extent.len));
            } else {
                // A run's own length is the second field.
                runs.push((Extent { len: 0, ..*extent }, u64::from(extent.len)));
            }
        }
        runs
    }
}

/// What an extent has from `from` up to `until`.
fn part(extent: Extent, from: u64, until: u64) -> Option<Extent> {
    let start = from.max(u64::from(extent.logical));
    let end = until.min(extent.end());
    let len = u32::try_from(end.checked_sub(start)?).ok().filter(|len| *len > 0)?;
    let skip = start.checked_sub(u64::from(extent.logical))?;
    Some(Extent { logical: u32::try_from(start).ok()?, len, start: extent.start.checked_add(skip)?, ..extent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::ext4::extent::Written;

    fn extent(logical: u32, len: u32, start: u64) -> Extent {
        Extent { logical, len, start, written: Written::Yes }
    }

    fn blocks(ranges: &Ranges) -> Vec<Option<u64>> {
        let mut blocks = vec![None; 40];
        for extent in ranges.iter() {
            for at in 0..extent.len {
                let place: &mut Option<u64> = &mut blocks[(extent.logical + at) as usize];
                assert_eq!(place.replace(extent.start + u64::from(at)), None);
            }
        }
        blocks
    }

    #[test]
    fn every_way_to_overlap_is_what_a_list_of_blocks_says() {
        for (from, until) in (0..30).flat_map(|from| (from..34).map(move |until| (from, until))) {
            let mut ranges = Ranges::default();
            for at in [3, 10, 15, 25] {
                ranges.put(extent(at, 5, 1000 + u64::from(at)));
            }
            let mut expected = blocks(&ranges);
            let mut taken = ranges.clone();
            taken.take(u64::from(from), u64::from(until));
            ranges.put(extent(from, until - from, 2000));
            expected[from as usize..until as usize].fill(None);
            assert_eq!(blocks(&taken), expected, "{from} {until}");
            for at in from..until {
                expected[at as usize] = Some(2000 + u64::from(at - from));
            }
            assert_eq!(blocks(&ranges), expected, "{from} {until}");
        }
    }

    #[test]
    fn the_ends_of_what_a_file_can_have() {
        let mut ranges = Ranges::default();
        ranges.put(extent(u32::MAX - 2, 2, 7));
        ranges.take(u64::from(u32::MAX), 1 << 33);
        assert_eq!(ranges.len(), 1);
        ranges.take(u64::from(u32::MAX) - 1, 1 << 33);
        assert_eq!(ranges.iter().map(|it| it.len).collect::<Vec<_>>(), [1]);
        ranges.take(0, u64::MAX);
        assert_eq!(ranges.len(), 0);
    }

    #[test]
    fn runs_do_not_depend_on_where_they_were_cut() {
        let mut one = Ranges::default();
        one.put(extent(0, 30, 100));
        let mut other = one.clone();
        other.put(extent(5, 7, 105));
        assert!(other.len() > 1 && other.runs() == one.runs());
        other.put(Extent { written: Written::No, ..extent(5, 7, 105) });
        assert!(other.runs() != one.runs());
    }
}
