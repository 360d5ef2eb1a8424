//! Bitmaps: which blocks or inodes of a group are in use.

use std::cell::Cell;

/// A range of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BitRun {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// The bitmap of a group; bits past its end count as set.
#[derive(Clone, Debug)]
pub(super) struct Bitmap {
    /// A multiple of 8, as every block is.
    bytes: Vec<u8>,
    /// How many bits mean something.
    len: u32,
    /// No range of clear bits is longer than this, as far as [`find`](Self::find) has found out: where free space is in
    /// small pieces, nobody looks for a large one twice.
    longest: Cell<u32>,
}

impl Bitmap {
    /// Takes the bytes of a bitmap whose first `len` bits mean something.
    pub(super) fn new(bytes: Vec<u8>, len: u32) -> Self {
        Self { bytes, len, longest: Cell::new(u32::MAX) }
    }

    /// A bitmap with nothing in use, and the bits past its end set as mke2fs does.
    pub(super) fn empty(bytes: usize, len: u32) -> Self {
        let mut bitmap = Self::new(vec![0; bytes], len);
        let bits = u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX);
        bitmap.set(BitRun { start: len, len: bits.saturating_sub(len) });
        bitmap
    }

    /// The bytes, padding included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a bit is set.
    pub(super) fn get(&self, bit: u32) -> bool {
        if bit >= self.len {
            return true;
        }
        let byte = usize::try_from(bit / 8).ok().and_then(|index| self.bytes.get(index));
        byte.is_none_or(|byte| byte & (1 << (bit % 8)) != 0)
    }

    /// Sets a range of bits.
    pub(super) fn set(&mut self, run: BitRun) {
        self.each(run, |byte, mask| *byte |= mask);
    }

    /// Clears a range of bits.
    pub(super) fn clear(&mut self, run: BitRun) {
        self.longest.set(u32::MAX);
        self.each(run, |byte, mask| *byte &= !mask);
    }

    fn each(&mut self, run: BitRun, change: impl Fn(&mut u8, u8)) {
        let end = run.start.saturating_add(run.len);
        let mut bit = run.start;
        while bit < end {
            let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| self.bytes.get_mut(index)) else { return };
            if bit.is_multiple_of(8) && end - bit >= 8 {
                change(byte, 0xff);
                bit += 8;
            } else {
                change(byte, 1 << (bit % 8));
                bit += 1;
            }
        }
    }

    /// Whether all bits of a range are set.
    pub(super) fn all_set(&self, run: BitRun) -> bool {
        self.pass(run.start, |word| word) >= run.start.saturating_add(run.len).min(self.len)
    }

    /// How many bits are clear.
    pub(super) fn count_clear(&self) -> u32 {
        let whole = usize::try_from(self.len / 8).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(..whole).unwrap_or(&self.bytes);
        let clear: u32 = bytes.iter().map(|byte| byte.count_zeros()).sum();
        let rest = (self.len / 8 * 8..self.len).filter(|bit| !self.get(*bit)).count();
        clear.saturating_add(u32::try_from(rest).unwrap_or(0))
    }

    /// The first clear bits at or after `from`, at most `want` of them.
    pub(super) fn next_clear(&self, from: u32, want: u32) -> Option<BitRun> {
        let start = self.pass(from, |word| word);
        if start >= self.len {
            return None;
        }
        let stop = self.pass(start, |word| !word).min(start.saturating_add(want.max(1)));
        Some(BitRun { start, len: stop - start })
    }

    /// The first bit at or after `from` that is clear in what `passed` makes of its word; the end where there is none.
    fn pass(&self, from: u32, passed: impl Fn(u64) -> u64) -> u32 {
        let words = usize::try_from(from / 64).ok().and_then(|first| self.bytes.as_chunks().0.get(first..));
        let mut asked = u64::MAX << (from % 64);
        for (bit, word) in (from / 64 * 64..self.len).step_by(64).zip(words.unwrap_or_default()) {
            let found = !passed(u64::from_le_bytes(*word)) & asked;
            if found != 0 {
                return bit.saturating_add(found.trailing_zeros()).min(self.len);
            }
            asked = u64::MAX;
        }
        self.len
    }

    /// Clear bits for `want`: at `goal` itself where it is clear, else the first range after the goal, then before it,
    /// that is long enough, else the longest.
    pub(super) fn find(&self, goal: u32, want: u32) -> Option<BitRun> {
        let want = want.min(self.longest.get());
        if !self.get(goal) {
            let run = self.next_clear(goal, want)?;
            // Going on where the file is keeps its extents few even where the range is a little short.
            if run.len >= want.min(16) {
                return Some(run);
            }
        }
        let mut best: Option<BitRun> = None;
        for (from, until) in [(goal, self.len), (0, goal)] {
            let mut bit = from;
            while let Some(run) = self.next_clear(bit, want).filter(|run| run.start < until) {
                if run.len >= want {
                    return Some(run);
                }
                if best.is_none_or(|best| best.len < run.len) {
                    best = Some(run);
                }
                bit = run.start.saturating_add(run.len);
            }
        }
        self.longest.set(best.map_or(0, |best| best.len));
        best
    }

    /// How long a range of clear bits can be at most, as far as that is known.
    pub(super) fn longest(&self) -> u32 {
        self.longest.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_prefers_the_goal_then_a_fit_then_the_longest() {
        let mut bitmap = Bitmap::empty(8, 60);
        assert_eq!(bitmap.count_clear(), 60);
        assert_eq!(bitmap.find(10, 100), Some(BitRun { start: 10, len: 50 }));
        bitmap.set(BitRun { start: 20, len: 20 });
        assert_eq!(bitmap.count_clear(), 40);
        assert_eq!(bitmap.find(18, 8), Some(BitRun { start: 40, len: 8 }));
        assert_eq!(bitmap.find(19, 30), Some(BitRun { start: 40, len: 20 }));
        bitmap.set(BitRun { start: 0, len: 60 });
        assert_eq!(bitmap.find(3, 1), None);
        assert!(bitmap.all_set(BitRun { start: 0, len: 64 }));
        bitmap.clear(BitRun { start: 7, len: 10 });
        assert_eq!(bitmap.find(50, 3), Some(BitRun { start: 7, len: 3 }));
        assert_eq!(bitmap.next_clear(0, 99), Some(BitRun { start: 7, len: 10 }));
    }

    #[test]
    fn a_clear_bit_is_found_wherever_it_is() {
        for len in [1, 8, 63, 64, 65, 200, 512] {
            for clear in 0..len {
                let mut bitmap = Bitmap::new(vec![0xff; 64], len);
                bitmap.clear(BitRun { start: clear, len: 1 });
                for from in 0..len {
                    let expected = (from <= clear).then_some(BitRun { start: clear, len: 1 });
                    assert_eq!(bitmap.next_clear(from, 5), expected, "{clear} of {len} from {from}");
                }
            }
        }
    }

    #[test]
    fn what_a_search_has_found_out_changes_no_answer() {
        // A linear congruential generator: the same numbers every time.
        let mut seed = 1_u64;
        let mut number = move |below: u32| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(seed >> 33).unwrap() % below
        };
        for len in [64, 130, 500, 512] {
            let mut bitmap = Bitmap::empty(64, len);
            for _ in 0..2000 {
                let run = BitRun { start: number(len), len: 1 + number(9) };
                match number(5) {
                    0 => bitmap.clear(BitRun { len: run.len.min(len - run.start), ..run }),
                    1 | 2 => bitmap.set(run),
                    _ => {
                        let (goal, want) = (number(len), 1 + number(20));
                        let bits = |from: u32| (from..len).take_while(|bit| !bitmap.get(*bit)).count();
                        let longest = (0..len).map(bits).max().and_then(|len| u32::try_from(len).ok()).unwrap();
                        let found = bitmap.find(goal, want);
                        let anew = Bitmap::new(bitmap.bytes().to_vec(), len).find(goal, want.min(longest));
                        assert_eq!(found, anew, "{want} of {len} at {goal}");
                        assert!(bitmap.longest() >= longest, "{longest} of {len}");
                        assert!(
                            found
                                .is_none_or(|found| (found.start..found.start + found.len).all(|bit| !bitmap.get(bit)))
                        );
                        if let Some(found) = found.filter(|found| found.start != goal) {
                            assert_eq!(found.len, want.min(longest));
                        }
                        if let Some(found) = found.filter(|_| number(2) == 0) {
                            bitmap.set(found);
                        }
                    }
                }
            }
        }
    }
}
