//! Streams of bits: those that are read from their end, and those that are not.

/// The most bits that can be taken after [`refill`](Backward::refill).
pub(super) const READY: u32 = 57;

/// A stream that was written forwards and is read backwards: its last byte's highest bit that is set marks the end.
///
/// What is read before its beginning is zero, and shows in [`is_spent`](Self::is_spent) and [`is_overdrawn`](Self::is_overdrawn).
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    data: &'a [u8],
    /// Bits that have not been taken; negative where more were taken than there are.
    left: i64,
    /// The next bits, from the highest down.
    word: u64,
}

impl<'a> Backward<'a> {
    /// Begins behind the mark; `None` where there is none.
    pub(super) fn new(data: &'a [u8]) -> Option<Self> {
        let last = *data.last()?;
        let above = last.checked_ilog2()?;
        let left = i64::try_from(data.len()).ok()? * 8 - 8 + i64::from(above);
        Some(Self { data, left, word: 0 })
    }

    /// Makes the next [`READY`] bits ready, or as many as there are.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let left = usize::try_from(self.left).unwrap_or(0);
        let end = left.div_ceil(8);
        let word = match self.data.get(..end).and_then(|data| data.last_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => self.first_word(end),
        };
        self.word = word << ((end * 8 - left) & 7);
    }

    /// The first bytes, as the highest of a word.
    #[cold]
    fn first_word(&self, end: usize) -> u64 {
        let mut bytes = [0; 8];
        for (byte, from) in bytes.iter_mut().rev().zip(self.data.get(..end).unwrap_or_default().iter().rev()) {
            *byte = *from;
        }
        u64::from_le_bytes(bytes)
    }

    /// Takes `count` bits, at most 32 and no more than are ready.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        let count = count & 63;
        let value = (self.word >> 1) >> (63 - count);
        self.word <<= count;
        self.left -= i64::from(count);
        value
    }

    /// The next 11 bits, which stay.
    #[inline(always)]
    pub(super) fn peek(&self) -> usize {
        usize::try_from(self.word >> 53).unwrap_or(0)
    }

    /// Lets `count` bits go, as [`take`](Self::take).
    #[inline(always)]
    pub(super) fn skip(&mut self, count: u8) {
        self.word <<= count & 63;
        self.left -= i64::from(count);
    }

    /// Whether exactly all has been taken.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Whether fewer than `count` bits are left.
    pub(super) fn has_less_than(&self, count: u8) -> bool {
        self.left < i64::from(count)
    }
}

/// A stream that is read from its beginning, the lowest bit of a byte first.
pub(super) struct Forward<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Forward<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The next `count` bits, at most 16; `None` past the end.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let rest = self.data.get(self.at >> 3..)?;
        let bytes = rest.iter().take(4).rev().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
        let value = (bytes >> (self.at & 7)) & ((1 << (count & 31)) - 1);
        self.at += usize::try_from(count).ok()?;
        (self.at <= self.data.len() * 8).then_some(value)
    }

    /// Gives one bit back.
    pub(super) fn back(&mut self) {
        self.at = self.at.saturating_sub(1);
    }

    /// How many bytes were begun.
    pub(super) fn bytes(&self) -> usize {
        self.at.div_ceil(8)
    }
}
