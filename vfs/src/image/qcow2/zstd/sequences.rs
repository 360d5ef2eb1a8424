//! Sequences: how many literals to take, and what to repeat after them (RFC 8878, section 3.1.1.3.2).

use super::bits::Backward;
use super::fse::{Counts, STATES};

/// A table's entry: what its symbol stands for, and where the next state is.
#[derive(Clone, Copy, Default)]
struct Entry {
    value: u32,
    extra: u8,
    bits: u8,
    next: u16,
}

/// What a symbol of a table stands for: a value, and how many bits are added to it. `None` past the last symbol.
type Meaning = fn(u8) -> Option<(u32, u8)>;

/// One of the three tables of a block.
struct Table {
    entries: Box<[Entry; STATES]>,
    log: u32,
    is_set: bool,
}

impl Table {
    fn new() -> Self {
        Self { entries: Box::new([Entry::default(); STATES]), log: 0, is_set: false }
    }

    /// Takes the table that `mode` says; gives what follows it in `data`.
    fn read<'a>(&mut self, mode: u8, data: &'a [u8], kind: &Kind) -> Option<&'a [u8]> {
        let was_set = std::mem::replace(&mut self.is_set, false);
        let rest = match mode & 3 {
            0 => {
                self.build(&Counts::fixed(kind.fixed_log, kind.fixed), kind.meaning)?;
                data
            }
            1 => {
                let (symbol, rest) = data.split_first()?;
                let (value, extra) = (kind.meaning)(*symbol)?;
                *self.entries.first_mut()? = Entry { value, extra, bits: 0, next: 0 };
                self.log = 0;
                rest
            }
            2 => {
                let (counts, len) = Counts::parse(data, kind.most, kind.symbols)?;
                self.build(&counts, kind.meaning)?;
                data.get(len..)?
            }
            _ if was_set => data,
            _ => return None,
        };
        self.is_set = true;
        Some(rest)
    }

    fn build(&mut self, counts: &Counts, meaning: Meaning) -> Option<()> {
        self.log = counts.log;
        let mut all = Some(());
        counts.states(|state, symbol, bits, next| match (self.entries.get_mut(state), meaning(symbol)) {
            (Some(entry), Some((value, extra))) => *entry = Entry { value, extra, bits, next },
            _ => all = None,
        })?;
        all
    }

    #[inline(always)]
    fn at(&self, state: usize) -> Entry {
        self.entries.get(state & (STATES - 1)).copied().unwrap_or_default()
    }

    fn first(&self, bits: &mut Backward<'_>) -> usize {
        usize::try_from(bits.take(self.log)).unwrap_or(0)
    }
}

impl Entry {
    #[inline(always)]
    fn follow(self, bits: &mut Backward<'_>) -> usize {
        usize::from(self.next) + usize::try_from(bits.take(u32::from(self.bits))).unwrap_or(0)
    }
}

/// What differs between the three tables.
struct Kind {
    meaning: Meaning,
    most: u32,
    symbols: usize,
    fixed_log: u32,
    fixed: &'static [i16],
}

const LITERALS: Kind = Kind {
    meaning: |symbol| VALUES_OF_LITERALS.get(usize::from(symbol)).copied(),
    most: 9,
    symbols: VALUES_OF_LITERALS.len(),
    fixed_log: 6,
    fixed: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
    ],
};
const MATCHES: Kind = Kind {
    meaning: |symbol| VALUES_OF_MATCHES.get(usize::from(symbol)).copied(),
    most: 9,
    symbols: VALUES_OF_MATCHES.len(),
    fixed_log: 6,
    fixed: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
};
const OFFSETS: Kind = Kind {
    meaning: |symbol| (symbol < 32).then(|| (1u32 << symbol, symbol)),
    most: 8,
    symbols: 32,
    fixed_log: 5,
    fixed: &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
};

const VALUES_OF_LITERALS: [(u32, u8); 36] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 0),
    (12, 0),
    (13, 0),
    (14, 0),
    (15, 0),
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];
const VALUES_OF_MATCHES: [(u32, u8); 53] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 0),
    (12, 0),
    (13, 0),
    (14, 0),
    (15, 0),
    (16, 0),
    (17, 0),
    (18, 0),
    (19, 0),
    (20, 0),
    (21, 0),
    (22, 0),
    (23, 0),
    (24, 0),
    (25, 0),
    (26, 0),
    (27, 0),
    (28, 0),
    (29, 0),
    (30, 0),
    (31, 0),
    (32, 0),
    (33, 0),
    (34, 0),
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

/// The tables of the last block, which the next may go on with, and the last three offsets.
pub(super) struct Sequences {
    literals: Table,
    offsets: Table,
    matches: Table,
    recent: [usize; 3],
}

/// Where a block's bytes go.
pub(super) struct Output<'a> {
    /// The cluster.
    pub(super) bytes: &'a mut [u8],
    /// Where the frame begins in it: nothing before can be repeated.
    pub(super) frame: usize,
    /// Where the next byte goes.
    pub(super) at: usize,
}

/// Bytes that are copied at once where there is room for so many.
const STEP: usize = 16;
/// The same where what is repeated is as short as this.
const HALF: usize = 8;

impl Output<'_> {
    /// Adds all of these.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.bytes.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    /// Adds the first `len` bytes of `from`, which may hold more.
    #[inline(always)]
    fn add_some(&mut self, from: &[u8], len: usize) -> Option<()> {
        if len <= STEP
            && let Some(from) = from.first_chunk::<STEP>()
            && let Some(to) = self.bytes.get_mut(self.at..).and_then(|to| to.first_chunk_mut::<STEP>())
        {
            // What is too much is written over, or lies behind what the next one ends with.
            *to = *from;
            self.at += len;
            return Some(());
        }
        self.add(from.get(..len)?)
    }

    /// Adds `len` bytes, the first of which were added `offset` bytes ago.
    #[inline(always)]
    fn repeat(&mut self, offset: usize, len: usize) -> Option<()> {
        let from = self.at.checked_sub(offset).filter(|from| *from >= self.frame && offset > 0)?;
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        if offset >= STEP && end + STEP <= self.bytes.len() {
            let (mut from, mut to) = (from, self.at);
            while to < end {
                let piece = *self.bytes.get(from..)?.first_chunk::<STEP>()?;
                *self.bytes.get_mut(to..)?.first_chunk_mut::<STEP>()? = piece;
                from += STEP;
                to += STEP;
            }
        } else if offset >= HALF && end + STEP <= self.bytes.len() {
            let (mut from, mut to) = (from, self.at);
            while to < end {
                let piece = *self.bytes.get(from..)?.first_chunk::<HALF>()?;
                *self.bytes.get_mut(to..)?.first_chunk_mut::<HALF>()? = piece;
                from += HALF;
                to += HALF;
            }
        } else if offset == 1 {
            let byte = *self.bytes.get(from)?;
            self.bytes.get_mut(self.at..end)?.fill(byte);
        } else {
            // What was copied is as good to copy from, and twice as long each time.
            let mut to = self.at;
            while to < end {
                let now = (to - from).min(end - to);
                self.bytes.copy_within(from..from + now, to);
                to += now;
            }
        }
        self.at = end;
        Some(())
    }
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self { literals: Table::new(), offsets: Table::new(), matches: Table::new(), recent: [1, 4, 8] }
    }

    /// Forgets what the last frame left.
    pub(super) fn forget(&mut self) {
        for table in [&mut self.literals, &mut self.offsets, &mut self.matches] {
            table.is_set = false;
        }
        self.recent = [1, 4, 8];
    }

    /// Carries out the sequences in `data` with these literals.
    pub(super) fn run(&mut self, data: &[u8], literals: &[u8], out: &mut Output<'_>) -> Option<()> {
        let (first, rest) = data.split_first()?;
        let (count, rest) = match *first {
            0 => return if rest.is_empty() { out.add(literals) } else { None },
            1..=127 => (usize::from(*first), rest),
            128..=254 => {
                let (low, rest) = rest.split_first()?;
                (((usize::from(*first) - 128) << 8) + usize::from(*low), rest)
            }
            255 => {
                let (low, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_le_bytes(*low)) + 0x7f00, rest)
            }
        };
        let (modes, rest) = rest.split_first()?;
        if modes & 3 != 0 {
            return None;
        }
        let rest = self.literals.read(modes >> 6, rest, &LITERALS)?;
        let rest = self.offsets.read(modes >> 4, rest, &OFFSETS)?;
        let rest = self.matches.read(modes >> 2, rest, &MATCHES)?;
        self.carry_out(Backward::new(rest)?, count, literals, out)
    }

    fn carry_out(&mut self, bits: Backward<'_>, count: usize, literals: &[u8], out: &mut Output<'_>) -> Option<()> {
        let Self { literals: lengths, offsets, matches, recent } = self;
        // What changes with every sequence is kept apart, so that it can stay in registers.
        let mut bits = bits;
        let mut last = *recent;
        let mut literals = literals;
        let mut now = Output { bytes: &mut *out.bytes, ..*out };
        bits.refill();
        let mut states = (lengths.first(&mut bits), offsets.first(&mut bits), matches.first(&mut bits));
        for left in (0..count).rev() {
            let (length, offset, again) = (lengths.at(states.0), offsets.at(states.1), matches.at(states.2));
            let extra = u32::from(length.extra) + u32::from(offset.extra) + u32::from(again.extra);
            bits.refill();
            // At most 31 bits, or 57 with the others and the states.
            let value = u64::from(offset.value) + bits.take(u32::from(offset.extra));
            if extra > READY_FOR_STATES {
                bits.refill();
            }
            let again_len = u64::from(again.value) + bits.take(u32::from(again.extra));
            let length_len = u64::from(length.value) + bits.take(u32::from(length.extra));
            if left > 0 {
                if extra > READY_FOR_STATES {
                    bits.refill();
                }
                states.0 = length.follow(&mut bits);
                states.2 = again.follow(&mut bits);
                states.1 = offset.follow(&mut bits);
            }
            let length = usize::try_from(length_len).ok()?;
            let distance = recall(&mut last, usize::try_from(value).ok()?, length)?;
            now.add_some(literals, length)?;
            literals = literals.get(length..)?;
            now.repeat(distance, usize::try_from(again_len).ok()?)?;
        }
        if !bits.is_spent() {
            return None;
        }
        now.add(literals)?;
        out.at = now.at;
        *recent = last;
        Some(())
    }
}

/// Bits that can be taken beside the three states' 26 at most.
const READY_FOR_STATES: u32 = super::bits::READY - 26;

/// The offset that a value stands for: one of the last three, or a new one (RFC 8878, section 3.1.1.5).
#[inline(always)]
fn recall(recent: &mut [usize; 3], value: usize, literals: usize) -> Option<usize> {
    let [one, two, three] = *recent;
    if value > 3 {
        *recent = [value - 3, one, two];
        return Some(value - 3);
    }
    // Without literals the last offset would be a longer match.
    let offset = match value + usize::from(literals == 0) {
        1 => return Some(one),
        2 => {
            *recent = [two, one, three];
            return Some(two);
        }
        3 => three,
        _ => one.checked_sub(1).filter(|offset| *offset > 0)?,
    };
    *recent = [offset, one, two];
    Some(offset)
}
