//! Sets of numbers, of bytes or blocks, as ranges that do not touch each other.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds a range.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        while let Some((&first, &last)) = self.0.range(..=end).next_back().filter(|(_, last)| **last >= start) {
            self.0.remove(&first);
            start = start.min(first);
            end = end.max(last);
        }
        self.0.insert(start, end);
    }

    /// How many ranges it is.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What of a range is not in the set, ascending.
    pub(crate) fn outside(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut from = range.start;
        let mut outside = Vec::new();
        for part in self.within(range) {
            outside.push(from..part.start);
            from = part.end;
        }
        outside.push(from..range.end);
        outside.retain(|part| !part.is_empty());
        outside
    }

    /// What of a range is in the set, ascending.
    pub(crate) fn within(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let before = self.0.range(..range.start).next_back();
        let inside = before.into_iter().chain(self.0.range(range.start..range.end.max(range.start)));
        let clip = |(&start, &end): (&u64, &u64)| start.max(range.start)..end.min(range.end);
        inside.map(clip).filter(|part| !part.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut ranges = Ranges::default();
        for range in [10..20, 30..40, 50..60, 20..25, 3..3] {
            ranges.add(range);
        }
        assert_eq!(ranges.within(&(0..100)), [10..25, 30..40, 50..60]);
        assert_eq!(ranges.within(&(12..35)), [12..25, 30..35]);
        assert_eq!(ranges.within(&(25..30)), []);
        assert_eq!(ranges.outside(&(0..100)), [0..10, 25..30, 40..50, 60..100]);
        assert_eq!(ranges.outside(&(31..39)), []);
        assert_eq!(ranges.outside(&(41..52)).first(), Some(&(41..50)));
        ranges.add(24..55);
        assert_eq!((ranges.len(), ranges.within(&(0..100)).first()), (1, Some(&(10..60))));
        assert_eq!(ranges.within(&(70..80)), []);
        ranges.add(0..100);
        assert_eq!(ranges.within(&(5..6)).first(), Some(&(5..6)));
    }
}
