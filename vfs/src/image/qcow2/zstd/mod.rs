//! Clusters compressed by Zstandard (RFC 8878).
//!
//! Our own decoder: a crate of safe Rust takes three and a half times as long as libzstd, and whoever reads 4 KiB of a
//! cluster waits for all of it. It decodes into the cluster itself, so that no window has to be kept: a cluster is 2 MiB
//! at most. Checksums of the content are not compared, as QEMU writes none; dictionaries are refused.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "counts of bits below 64, and lengths that are bounded by those of slices"
)]

mod bits;
mod fse;
mod huffman;
mod sequences;
#[cfg(test)]
mod tests;

use huffman::Huffman;
use sequences::{Output, Sequences};

const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The logarithm of the largest window that libzstd takes when it is not told otherwise.
const WINDOW_LOG: u8 = 27;
/// The most bytes that a block can stand for.
const BLOCK: usize = 128 << 10;

/// A decoder, whose memory (tables, and the literals of one block) is kept for the next cluster.
pub(super) struct Zstd {
    huffman: Huffman,
    sequences: Sequences,
    literals: Vec<u8>,
}

/// Why a cluster could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It has more than one cluster's bytes.
    TooLong,
    /// What its frames say makes no sense, or ends too early.
    Damaged,
}

impl Zstd {
    pub(super) fn new() -> Self {
        Self { huffman: Huffman::new(), sequences: Sequences::new(), literals: Vec::new() }
    }

    /// Fills `cluster` from one frame or several; whatever follows the last one in `data` is ignored. Fails unless the
    /// frames fill it exactly, as QEMU does: a frame that has more to say is damaged.
    pub(super) fn inflate(&mut self, mut data: &[u8], cluster: &mut [u8]) -> Result<(), Failure> {
        let mut out = Output { bytes: cluster, frame: 0, at: 0 };
        while out.at < out.bytes.len() {
            out.frame = out.at;
            data = self.frame(data, &mut out)?;
        }
        Ok(())
    }

    /// Decodes a frame; gives what follows it.
    fn frame<'a>(&mut self, data: &'a [u8], out: &mut Output<'_>) -> Result<&'a [u8], Failure> {
        let (header, mut data) = Header::parse(data).ok_or(Failure::Damaged)?;
        self.huffman.forget();
        self.sequences.forget();
        loop {
            let (head, rest) = data.split_first_chunk::<3>().ok_or(Failure::Damaged)?;
            let [low, middle, high] = *head;
            let head = u32::from_le_bytes([low, middle, high, 0]);
            let size = usize::try_from(head >> 3).unwrap_or(usize::MAX);
            data = match (head >> 1) & 3 {
                0 => {
                    let (bytes, rest) = rest.split_at_checked(size).ok_or(Failure::Damaged)?;
                    out.add(bytes).ok_or(Failure::TooLong)?;
                    rest
                }
                1 => {
                    let (byte, rest) = rest.split_first().ok_or(Failure::Damaged)?;
                    let place = out.bytes.get_mut(out.at..out.at + size).ok_or(Failure::TooLong)?;
                    place.fill(*byte);
                    out.at += size;
                    rest
                }
                2 => {
                    let (block, rest) = rest.split_at_checked(size).ok_or(Failure::Damaged)?;
                    self.block(block, out).ok_or(Failure::Damaged)?;
                    rest
                }
                _ => return Err(Failure::Damaged),
            };
            if head & 1 == 1 {
                break;
            }
        }
        let produced = u64::try_from(out.at - out.frame).unwrap_or(u64::MAX);
        if header.size.is_some_and(|size| size != produced) {
            return Err(Failure::Damaged);
        }
        data.get(header.checksum..).ok_or(Failure::Damaged)
    }

    fn block(&mut self, data: &[u8], out: &mut Output<'_>) -> Option<()> {
        let Self { huffman, sequences, literals } = self;
        let start = out.at;
        let (literals, rest) = read_literals(huffman, literals, data)?;
        sequences.run(rest, literals, out)?;
        (out.at - start <= BLOCK).then_some(())
    }
}

/// What a frame's header says (RFC 8878, section 3.1.1.1).
struct Header {
    /// The length of the content.
    size: Option<u64>,
    /// The length of the checksum behind it.
    checksum: usize,
}

impl Header {
    /// Gives the header and what follows it; `None` too where it asks for a dictionary.
    fn parse(data: &[u8]) -> Option<(Self, &[u8])> {
        let (flags, data) = data.strip_prefix(&MAGIC)?.split_first()?;
        let single = flags & 0x20 != 0;
        if flags & 0x08 != 0 {
            return None;
        }
        // The window is what lies before in the cluster, whatever its size; QEMU refuses larger ones than these.
        let (window, data) = data.split_at_checked(usize::from(!single))?;
        if window.first().is_some_and(|byte| (byte >> 3) + 10 > WINDOW_LOG) {
            return None;
        }
        let (dictionary, data) = data.split_at_checked([0, 1, 2, 4].get(usize::from(flags & 3)).copied()?)?;
        if dictionary.iter().any(|byte| *byte != 0) {
            return None;
        }
        let len = match flags >> 6 {
            0 => usize::from(single),
            shift => 1usize << shift,
        };
        let (size, data) = data.split_at_checked(len)?;
        let number = size.iter().rev().fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        let size = match len {
            0 => None,
            2 => Some(number + 256),
            _ => Some(number),
        };
        Some((Self { size, checksum: if flags & 0x04 != 0 { 4 } else { 0 } }, data))
    }
}

/// The literals that a block begins with (RFC 8878, section 3.1.1.3.1), and what follows them.
fn read_literals<'a>(huffman: &mut Huffman, buffer: &'a mut Vec<u8>, data: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let head = *data.first()?;
    let format = (head >> 2) & 3;
    let number = |len: usize| -> Option<usize> {
        let bytes = data.get(..len)?;
        Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | usize::from(*byte)))
    };
    if head & 3 < 2 {
        let (len, size) = match format {
            0 | 2 => (1, number(1)? >> 3),
            1 => (2, number(2)? >> 4),
            _ => (3, number(3)? >> 4),
        };
        let rest = data.get(len..)?;
        if head & 3 == 0 {
            return rest.split_at_checked(size);
        }
        let (byte, rest) = rest.split_first()?;
        if size > BLOCK {
            return None;
        }
        buffer.clear();
        buffer.resize(size, *byte);
        return Some((buffer, rest));
    }
    // Two numbers of so many bits behind the first four.
    let (len, bits) = match format {
        0 | 1 => (3, 10),
        2 => (4, 14),
        _ => (5, 18),
    };
    let numbers = number(len)? >> 4;
    let mask = (1usize << bits) - 1;
    let (size, packed) = (numbers & mask, (numbers >> bits) & mask);
    let (mut packed, rest) = data.get(len..)?.split_at_checked(packed)?;
    if size > BLOCK {
        return None;
    }
    if head & 3 == 2 {
        packed = packed.get(huffman.parse(packed)?..)?;
    } else if !huffman.is_set() {
        return None;
    }
    buffer.resize(size, 0);
    match format {
        0 => huffman.one_stream(packed, buffer)?,
        _ => huffman.four_streams(packed, buffer)?,
    }
    Some((buffer, rest))
}
