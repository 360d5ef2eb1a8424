//! The area for fast commits in an image, from the outside.

use super::oracle;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

/// Where the blocks of the area lie in an image, in bytes, and the tags of the commits in them.
pub struct Area {
    pub blocks: Vec<usize>,
    /// What each tag is, and where in the image.
    pub tags: Vec<(u16, Range<usize>)>,
}

fn be32(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn le16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()))
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Area {
    /// Finds the area in `bytes`, of which `image` is a copy.
    pub fn find(bytes: &[u8], image: &Path) -> Self {
        let block_size = 1024 << bytes[1024 + 0x18];
        let text = oracle::run(Command::new("debugfs").args(["-R", "blocks <8>"]).arg(image));
        let blocks: Vec<usize> = text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .map(|block: usize| block * block_size)
            .collect();
        let first = blocks.iter().position(|at| bytes.get(*at..at + 4) == Some(&[0xc0, 0x3b, 0x39, 0x98])).unwrap();
        let journal = &blocks[first..];
        let (len, area) = (be32(bytes, journal[0] + 0x10), be32(bytes, journal[0] + 0x54));
        let area = if area == 0 { 256 } else { area };
        let blocks = journal[len - area + 1..len].to_vec();
        let mut tags = Vec::new();
        let mut transaction = None;
        'area: for block in &blocks {
            let mut at = *block;
            while at + 4 <= block + block_size {
                let kind = le16(bytes, at) as u16;
                let end = at + 4 + le16(bytes, at + 2);
                if !(1..=9).contains(&kind) || end > block + block_size {
                    break 'area;
                }
                if matches!(kind, 8 | 9) {
                    let told = le32(bytes, at + if kind == 8 { 4 } else { 8 });
                    if *transaction.get_or_insert(told) != told {
                        break 'area;
                    }
                }
                tags.push((kind, at..end));
                at = end;
            }
        }
        Self { blocks, tags }
    }

    /// How many tags there are of each kind.
    pub fn counts(&self) -> BTreeMap<u16, u32> {
        let mut counts = BTreeMap::new();
        for (kind, _) in &self.tags {
            *counts.entry(*kind).or_default() += 1;
        }
        counts
    }

    /// Makes the checksums of all commits right again.
    pub fn seal(&self, bytes: &mut [u8]) {
        let mut sum = 0;
        for (kind, place) in &self.tags {
            if *kind == 8 {
                let before = crc(sum, &bytes[place.start..place.start + 8]);
                bytes[place.start + 8..place.start + 12].copy_from_slice(&before.to_le_bytes());
                sum = 0;
            } else {
                sum = crc(sum, &bytes[place.clone()]);
            }
        }
    }
}

/// The kernel's CRC-32C, which inverts nothing.
fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}
