//! Finite state entropy: tables of probabilities, and the states made of them (RFC 8878, section 4.1).

use super::bits::Forward;

/// The most symbols of any alphabet here: the codes of match lengths.
pub(super) const SYMBOLS: usize = 53;
/// The most states of a table, 2 to the power of the largest accuracy (9).
pub(super) const STATES: usize = 512;

/// How often each symbol occurs among the states; -1 for less than once.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) log: u32,
    pub(super) of: [i16; SYMBOLS],
}

impl Counts {
    /// A table that the format fixes.
    pub(super) fn fixed(log: u32, counts: &[i16]) -> Self {
        let mut of = [0; SYMBOLS];
        of.iter_mut().zip(counts).for_each(|(to, from)| *to = *from);
        Self { log, of }
    }

    /// Reads a description of at most `symbols` symbols and an accuracy of at most `most`; gives its length in bytes.
    pub(super) fn parse(data: &[u8], most: u32, symbols: usize) -> Option<(Self, usize)> {
        let mut bits = Forward::new(data);
        let log = bits.take(4)? + 5;
        if log > most {
            return None;
        }
        let mut of = [0; SYMBOLS];
        let mut places = of.iter_mut().take(symbols);
        let mut left = 1u32 << log;
        while left > 0 {
            let width = (left + 1).ilog2() + 1;
            let mut value = bits.take(width)?;
            // The smaller values take a bit less.
            let (low, spare) = ((1u32 << (width - 1)) - 1, (1u32 << width) - 1 - (left + 1));
            if value & low < spare {
                bits.back();
                value &= low;
            } else if value > low {
                value -= spare;
            }
            let count = i16::try_from(value).ok()? - 1;
            left = left.checked_sub(u32::from(count.unsigned_abs()))?;
            *places.next()? = count;
            if count == 0 {
                loop {
                    let zeros = bits.take(2)?;
                    for _ in 0..zeros {
                        places.next()?;
                    }
                    if zeros < 3 {
                        break;
                    }
                }
            }
        }
        Some((Self { log, of }, bits.bytes()))
    }

    /// Tells `each` of every state, from 0 up: its symbol, how many bits the next state takes, and what is added to them.
    pub(super) fn states(&self, mut each: impl FnMut(usize, u8, u8, u16)) -> Option<()> {
        let size = 1usize << self.log;
        let mask = size - 1;
        let mut symbols = [0u8; STATES];
        let mut next = [0u16; SYMBOLS];
        let mut high = size;
        for ((symbol, count), next) in (0u8..).zip(&self.of).zip(&mut next) {
            if *count < 0 {
                high = high.checked_sub(1)?;
                *symbols.get_mut(high)? = symbol;
                *next = 1;
            }
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for ((symbol, count), next) in (0u8..).zip(&self.of).zip(&mut next) {
            let count = u16::try_from(*count).unwrap_or(0);
            if count > 0 {
                *next = count;
            }
            for _ in 0..count {
                *symbols.get_mut(at & (STATES - 1))? = symbol;
                at = (at + step) & mask;
                while at >= high {
                    at = (at + step) & mask;
                }
            }
        }
        if at != 0 {
            return None;
        }
        for (state, symbol) in symbols.iter().take(size).enumerate() {
            let next = next.get_mut(usize::from(*symbol))?;
            let bits = self.log.checked_sub(next.checked_ilog2()?)?;
            let base = (usize::from(*next) << bits).checked_sub(size)?;
            *next += 1;
            each(state, *symbol, u8::try_from(bits).ok()?, u16::try_from(base).ok()?);
        }
        Some(())
    }
}
