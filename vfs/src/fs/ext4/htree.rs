//! The hashes by which an indexed directory orders its names.
//!
//! Source: kernel Documentation/filesystems/ext4/directory.rst; the functions are those of `debugfs dx_hash`.

use crate::error::{Error, Layer, Result};

/// How bytes above 0x7f enter a hash: it once depended on the machine, and the superblock's flags now say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CharSign {
    /// As negative numbers (x86).
    Signed,
    /// As positive numbers (ARM).
    Unsigned,
}

/// The hash function proper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashFunction {
    /// The original one.
    Legacy,
    /// A shortened MD4; what mke2fs chooses.
    HalfMd4,
    /// The Tiny Encryption Algorithm.
    Tea,
}

/// Everything that a name's hash depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameHash {
    /// The function: of an indexed directory its root says which, else the superblock.
    pub(super) function: HashFunction,
    /// How bytes above 0x7f are taken.
    pub(super) sign: CharSign,
    /// The superblock's `s_hash_seed` as four little-endian words; all zero means the constants of MD4.
    pub(super) seed: [u32; 4],
}

/// The hash that marks the end of an index; a name's is moved one step below it.
const END_MARK: u32 = 0xffff_fffe;

impl HashFunction {
    /// From the number in the superblock's `s_def_hash_version` or a root's `hash_version` (0 to 2); the numbers of
    /// the unsigned variants (3 to 5) are never stored and, like every other, are `Unsupported`.
    pub(super) fn from_version(version: u8) -> Result<Self> {
        match version {
            0 => Ok(Self::Legacy),
            1 => Ok(Self::HalfMd4),
            2 => Ok(Self::Tea),
            _ => Err(Error::unsupported(Layer::Filesystem, format!("directory hash version {version}"))),
        }
    }

    /// The number under which a root stores it, 0 to 2.
    pub(super) fn version(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::HalfMd4 => 1,
            Self::Tea => 2,
        }
    }
}

impl NameHash {
    /// The hash of a name; always even, and never the end mark 0xfffffffe.
    pub(super) fn of(&self, name: &[u8]) -> u32 {
        let hash = match self.function {
            HashFunction::Legacy => self.legacy(name),
            HashFunction::HalfMd4 => {
                let [_, hash, ..] = self.fold::<8>(name, half_md4);
                hash
            }
            HashFunction::Tea => {
                let [hash, ..] = self.fold::<4>(name, tea);
                hash
            }
        };
        match hash & !1 {
            END_MARK => END_MARK.wrapping_sub(2),
            hash => hash,
        }
    }

    /// A byte of the name as a 32-bit number of the right sign, modulo 2^32.
    fn widen(&self, byte: u8) -> u32 {
        match self.sign {
            CharSign::Unsigned => u32::from(byte),
            CharSign::Signed => i32::from(byte.cast_signed()).cast_unsigned(),
        }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for &byte in name {
            let mut hash = before.wrapping_add(last ^ self.widen(byte).wrapping_mul(7_152_373));
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            (before, last) = (last, hash);
        }
        last << 1
    }

    /// Runs a transformation over the name in pieces of `WORDS` * 4 bytes.
    fn fold<const WORDS: usize>(&self, name: &[u8], transform: fn(&mut [u32; 4], &[u32; WORDS])) -> [u32; 4] {
        let mut state = match self.seed {
            [0, 0, 0, 0] => [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476],
            seed => seed,
        };
        let mut rest = name;
        while !rest.is_empty() {
            transform(&mut state, &self.words(rest));
            rest = rest.get(WORDS.saturating_mul(4)..).unwrap_or_default();
        }
        state
    }

    /// The first `WORDS` * 4 bytes of `rest` as big-endian words, whatever is missing filled up with the length of
    /// `rest`.
    fn words<const WORDS: usize>(&self, rest: &[u8]) -> [u32; WORDS] {
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let filler = length | length << 8;
        let filler = filler | filler << 16;
        let mut chunks = rest.chunks(4);
        std::array::from_fn(|_| {
            let chunk = chunks.next().unwrap_or_default();
            chunk.iter().fold(filler, |word, &byte| self.widen(byte).wrapping_add(word << 8))
        })
    }
}

/// Three rounds of MD4 with eight steps each.
fn half_md4(state: &mut [u32; 4], input: &[u32; 8]) {
    let [i0, i1, i2, i3, i4, i5, i6, i7] = *input;
    let choose = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let majority = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;

    let [mut a, mut b, mut c, mut d] = *state;
    let mut round = |f: &dyn Fn(u32, u32, u32) -> u32, words: [u32; 8], constant: u32, shifts: [u32; 4]| {
        for (&word, &shift) in words.iter().zip(shifts.iter().cycle()) {
            let sum = a.wrapping_add(f(b, c, d)).wrapping_add(word).wrapping_add(constant);
            // The four words change places instead of the code being written out four times.
            (a, b, c, d) = (d, sum.rotate_left(shift), b, c);
        }
    };
    round(&choose, [i0, i1, i2, i3, i4, i5, i6, i7], 0, [3, 7, 11, 19]);
    round(&majority, [i1, i3, i5, i7, i0, i2, i4, i6], 0x5a82_7999, [3, 5, 9, 13]);
    round(&parity, [i3, i7, i2, i6, i1, i5, i0, i4], 0x6ed9_eba1, [3, 9, 11, 15]);
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

/// Sixteen rounds of TEA with the input as the key, over the first two words of the state.
fn tea(state: &mut [u32; 4], key: &[u32; 4]) {
    let [k0, k1, k2, k3] = *key;
    let [first, second, ..] = state;
    let (mut x, mut y, mut sum) = (*first, *second, 0_u32);
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        x = x.wrapping_add((y << 4).wrapping_add(k0) ^ y.wrapping_add(sum) ^ (y >> 5).wrapping_add(k1));
        y = y.wrapping_add((x << 4).wrapping_add(k2) ^ x.wrapping_add(sum) ^ (x >> 5).wrapping_add(k3));
    }
    *first = first.wrapping_add(x);
    *second = second.wrapping_add(y);
}

#[cfg(test)]
mod tests;
