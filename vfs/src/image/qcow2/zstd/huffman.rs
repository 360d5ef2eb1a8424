//! Literals compressed by Huffman's codes (RFC 8878, section 4.2).

use super::bits::Backward;
use super::fse::Counts;

/// The longest code, and so the number of bits that a table is looked up by.
const LONGEST: u32 = 11;
const TABLE: usize = 1 << LONGEST;
/// The largest accuracy of the table for weights, and the weights there are.
const WEIGHT_LOG: u32 = 6;
const WEIGHTS: usize = 12;
/// Symbols decoded between two refills: five codes of at most 11 bits.
const RUN: usize = 5;

#[derive(Clone, Copy, Default)]
struct Code {
    symbol: u8,
    bits: u8,
}

/// A decoding table, looked up by the next 11 bits whatever the longest code is.
pub(super) struct Huffman {
    codes: Box<[Code; TABLE]>,
    is_set: bool,
}

impl Huffman {
    pub(super) fn new() -> Self {
        Self { codes: Box::new([Code::default(); TABLE]), is_set: false }
    }

    /// Forgets the table, as every frame begins.
    pub(super) fn forget(&mut self) {
        self.is_set = false;
    }

    /// Whether there is a table to go on with.
    pub(super) fn is_set(&self) -> bool {
        self.is_set
    }

    /// Takes the table that `data` begins with; gives its length in bytes.
    pub(super) fn parse(&mut self, data: &[u8]) -> Option<usize> {
        self.is_set = false;
        let (head, rest) = data.split_first()?;
        let mut weights = [0u8; 256];
        let (count, len) = match usize::from(*head) {
            direct @ 128.. => {
                let count = direct - 127;
                let bytes = rest.get(..count.div_ceil(2))?;
                let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                weights.iter_mut().zip(halves.take(count)).for_each(|(to, from)| *to = from);
                (count, bytes.len())
            }
            len => (weights_of(rest.get(..len)?, &mut weights)?, len),
        };
        self.build(&mut weights, count)?;
        self.is_set = true;
        Some(len + 1)
    }

    /// Makes the table; the last symbol's weight is what is left.
    fn build(&mut self, weights: &mut [u8; 256], count: usize) -> Option<()> {
        if weights.iter().any(|weight| usize::from(*weight) >= WEIGHTS) {
            return None;
        }
        let total: u32 = weights.iter().take(count).map(|weight| (1u32 << weight) >> 1).sum();
        let longest = total.checked_ilog2()? + 1;
        let left = (1u32 << longest) - total;
        if longest > LONGEST || !left.is_power_of_two() {
            return None;
        }
        *weights.get_mut(count)? = u8::try_from(left.ilog2() + 1).ok()?;
        // Codes of small weights, the long ones, come first; each fills all places that begin with it.
        let mut at = 0;
        for weight in 1..=longest {
            let bits = longest + 1 - weight;
            let places = 1usize << (LONGEST - bits);
            let bits = u8::try_from(bits).ok()?;
            for (symbol, _) in (0u8..=255).zip(weights.iter()).filter(|(_, its)| u32::from(**its) == weight) {
                self.codes.get_mut(at..at + places)?.fill(Code { symbol, bits });
                at += places;
            }
        }
        (at == TABLE).then_some(())
    }

    /// Fills `out` from one stream.
    pub(super) fn one_stream(&self, data: &[u8], out: &mut [u8]) -> Option<()> {
        let mut bits = Backward::new(data)?;
        self.run(&mut bits, out)
    }

    /// Fills `out` from four streams, of which `data` begins with the lengths.
    pub(super) fn four_streams(&self, data: &[u8], out: &mut [u8]) -> Option<()> {
        let (lengths, mut rest) = data.split_first_chunk::<6>()?;
        let mut streams = [&[][..]; 4];
        let (three, last) = streams.split_at_mut(3);
        for (stream, length) in three.iter_mut().zip(lengths.as_chunks::<2>().0) {
            (*stream, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        }
        last.fill(rest);
        let [a, b, c, d] = streams;
        let [mut a, mut b, mut c, mut d] = [Backward::new(a)?, Backward::new(b)?, Backward::new(c)?, Backward::new(d)?];
        let each = out.len().div_ceil(4);
        let (out_a, rest) = out.split_at_mut_checked(each)?;
        let (out_b, rest) = rest.split_at_mut_checked(each)?;
        let (out_c, out_d) = rest.split_at_mut_checked(each)?;
        // All four at once, for as long as the shortest goes.
        let together = out_d.len() / RUN * RUN;
        let (now_a, out_a) = out_a.split_at_mut_checked(together)?;
        let (now_b, out_b) = out_b.split_at_mut_checked(together)?;
        let (now_c, out_c) = out_c.split_at_mut_checked(together)?;
        let (now_d, out_d) = out_d.split_at_mut_checked(together)?;
        let quads = now_a
            .as_chunks_mut::<RUN>()
            .0
            .iter_mut()
            .zip(now_b.as_chunks_mut::<RUN>().0)
            .zip(now_c.as_chunks_mut::<RUN>().0)
            .zip(now_d.as_chunks_mut::<RUN>().0);
        for (((run_a, run_b), run_c), run_d) in quads {
            a.refill();
            b.refill();
            c.refill();
            d.refill();
            for (((to_a, to_b), to_c), to_d) in run_a.iter_mut().zip(run_b).zip(run_c).zip(run_d) {
                *to_a = self.next(&mut a);
                *to_b = self.next(&mut b);
                *to_c = self.next(&mut c);
                *to_d = self.next(&mut d);
            }
        }
        self.run(&mut a, out_a)?;
        self.run(&mut b, out_b)?;
        self.run(&mut c, out_c)?;
        self.run(&mut d, out_d)
    }

    #[inline(always)]
    fn next(&self, bits: &mut Backward<'_>) -> u8 {
        let code = self.codes.get(bits.peek() & (TABLE - 1)).copied().unwrap_or_default();
        bits.skip(code.bits);
        code.symbol
    }

    /// Fills `out`, with which the stream has to end.
    fn run(&self, bits: &mut Backward<'_>, out: &mut [u8]) -> Option<()> {
        for run in out.chunks_mut(RUN) {
            bits.refill();
            for to in run {
                *to = self.next(bits);
            }
        }
        bits.is_spent().then_some(())
    }
}

/// Decodes weights, by two states in turn until there are no more bits; gives their number.
fn weights_of(data: &[u8], weights: &mut [u8; 256]) -> Option<usize> {
    let (counts, len) = Counts::parse(data, WEIGHT_LOG, WEIGHTS)?;
    let mut table = [(0u8, 0u8, 0u16); 1 << WEIGHT_LOG];
    counts.states(|state, symbol, bits, base| {
        if let Some(entry) = table.get_mut(state) {
            *entry = (symbol, bits, base);
        }
    })?;
    let mut bits = Backward::new(data.get(len..)?)?;
    bits.refill();
    // The two states take turns.
    let (mut one, mut other) = (bits.take(counts.log), bits.take(counts.log));
    let at = |state: u64| table.get(usize::try_from(state).ok()?).copied();
    let mut count = 0;
    // The last weight follows from the others, so that there are 255 at most.
    let mut places = weights.iter_mut().take(255);
    loop {
        let (symbol, width, base) = at(one)?;
        *places.next()? = symbol;
        count += 1;
        if bits.has_less_than(0) {
            return None;
        }
        if bits.has_less_than(width) {
            *places.next()? = at(other)?.0;
            return Some(count + 1);
        }
        bits.refill();
        one = u64::from(base) + bits.take(u32::from(width));
        (one, other) = (other, one);
    }
}
