//! Subclusters: the 32 equal parts of a standard cluster where L2 entries are extended.

use std::ops::Range;

/// Subclusters in a cluster.
pub(super) const COUNT: u32 = 32;

/// How a part of a cluster reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// From the host cluster.
    Allocated,
    /// As zeros.
    Zero,
    /// As an unallocated cluster.
    Unallocated,
}

/// The states of a cluster's subclusters: bit `i` of each set is subcluster `i`, and no bit is in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subclusters {
    allocated: u32,
    zero: u32,
}

impl Subclusters {
    /// Takes the second word of an extended entry apart; `None` where a subcluster is both allocated and zero.
    pub(super) fn parse(word: u64) -> Option<Self> {
        let allocated = u32::try_from(word & u64::from(u32::MAX)).ok()?;
        let zero = u32::try_from(word >> 32).ok()?;
        (allocated & zero == 0).then_some(Self { allocated, zero })
    }

    /// The state of all of them, where it is one.
    pub(super) fn uniform(self) -> Option<State> {
        match (self.allocated, self.zero) {
            (u32::MAX, _) => Some(State::Allocated),
            (_, u32::MAX) => Some(State::Zero),
            (0, 0) => Some(State::Unallocated),
            _ => None,
        }
    }

    /// Whether some subcluster is read from the host cluster.
    pub(super) fn any_allocated(self) -> bool {
        self.allocated != 0
    }

    /// Cuts a range of bytes of a cluster of `size` bytes into parts of one state each.
    pub(super) fn parts(self, size: u64, range: Range<u64>) -> impl Iterator<Item = (State, Range<u64>)> {
        let each = size.checked_div(u64::from(COUNT)).unwrap_or(0).max(1);
        let mut at = range.start;
        std::iter::from_fn(move || {
            let start = at;
            let state = self.state(start.checked_div(each)?);
            while at < range.end && self.state(at.checked_div(each)?) == state {
                at = at.checked_div(each)?.checked_add(1)?.checked_mul(each)?;
            }
            at = at.min(range.end);
            (start < at).then_some((state, start..at))
        })
    }

    fn state(self, index: u64) -> State {
        let bit = u32::try_from(index).ok().and_then(|index| 1u32.checked_shl(index)).unwrap_or(0);
        match (self.allocated & bit != 0, self.zero & bit != 0) {
            (true, _) => State::Allocated,
            (false, true) => State::Zero,
            (false, false) => State::Unallocated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{State, Subclusters};

    #[test]
    fn both_is_neither() {
        assert_eq!(Subclusters::parse(1 << 32 | 1), None);
        assert_eq!(Subclusters::parse(u64::MAX), None);
        assert_eq!(Subclusters::parse(0xffff_ffff).unwrap().uniform(), Some(State::Allocated));
        assert_eq!(Subclusters::parse(0xffff_ffff << 32).unwrap().uniform(), Some(State::Zero));
        assert_eq!(Subclusters::parse(0).unwrap().uniform(), Some(State::Unallocated));
        assert_eq!(Subclusters::parse(1).unwrap().uniform(), None);
    }

    #[test]
    fn parts_are_as_long_as_their_state() {
        // Subclusters of 512 bytes: the first two allocated, the fourth and the last zero.
        let some = Subclusters::parse(0b11 | (0b1000 | 1 << 31) << 32).unwrap();
        let parts: Vec<_> = some.parts(16384, 100..16384).collect();
        assert_eq!(
            parts,
            [
                (State::Allocated, 100..1024),
                (State::Unallocated, 1024..1536),
                (State::Zero, 1536..2048),
                (State::Unallocated, 2048..31 * 512),
                (State::Zero, 31 * 512..16384),
            ]
        );
        assert_eq!(some.parts(16384, 1023..1025).count(), 2);
        assert_eq!(some.parts(16384, 700..700).count(), 0);
        assert_eq!(some.parts(16384, 700..701).collect::<Vec<_>>(), [(State::Allocated, 700..701)]);
    }
}
