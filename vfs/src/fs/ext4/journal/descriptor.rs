//! Descriptor blocks: which blocks of the filesystem the blocks that follow are copies of.

use super::header::LENGTH as HEADER;
use super::superblock::{Checksums, Width};
use super::{be, checksum};

const ESCAPED: u16 = 0x1;
const SAME_UUID: u16 = 0x2;
const LAST: u16 = 0x8;
const UUID_LEN: usize = 16;

/// Whether the first four bytes of a copy were replaced by zeros, because they would look like the journal's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaped {
    /// They were.
    Yes,
    /// They were not.
    No,
}

/// What a descriptor block says of one block that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// The block of the filesystem that the next block is a copy of.
    pub(super) block: u64,
    pub(super) escaped: Escaped,
    /// The copy's checksum, where there is one: the low 16 bits of it, or all.
    sum: u32,
}

impl Tag {
    /// Whether a copy in transaction `sequence` is as it was written, as far as its checksum tells.
    pub(super) fn is_intact(&self, copy: &[u8], sequence: u32, checksums: Checksums) -> bool {
        match checksums {
            Checksums::None | Checksums::Transaction => true,
            Checksums::Short(seed) => self.sum == checksum::of_copy(seed, sequence, copy) & 0xffff,
            Checksums::Whole(seed) => self.sum == checksum::of_copy(seed, sequence, copy),
        }
    }
}

/// The tags of a descriptor block, in order: fewer than it has bytes, whatever it says.
pub(super) fn tags(block: &[u8], checksums: Checksums, width: Width) -> Vec<Tag> {
    let len = match (checksums, width) {
        (Checksums::Whole(_), _) => 16,
        (Checksums::Short(_), Width::Wide) => 14,
        (Checksums::Short(_), Width::Narrow) => 10,
        (_, Width::Wide) => 12,
        (_, Width::Narrow) => 8,
    };
    let mut rest = checksum::without_tail(block, checksums).get(HEADER..).unwrap_or_default();
    let mut tags = Vec::new();
    while let Some((tag, flags)) = rest.get(..len).and_then(|field| parse(field, checksums, width)) {
        tags.push(tag);
        let skip = if flags & SAME_UUID == 0 { len + UUID_LEN } else { len };
        rest = rest.get(skip..).unwrap_or_default();
        if flags & LAST != 0 {
            break;
        }
    }
    tags
}

fn parse(field: &[u8], checksums: Checksums, width: Width) -> Option<(Tag, u16)> {
    let flags = be::u16_at(field, 6)?;
    let high = if width == Width::Wide { be::u32_at(field, 8)? } else { 0 };
    let sum = match checksums {
        Checksums::Whole(_) => be::u32_at(field, 12)?,
        _ => u32::from(be::u16_at(field, 4)?),
    };
    let block = u64::from(be::u32_at(field, 0)?) | u64::from(high) << 32;
    let escaped = if flags & ESCAPED == 0 { Escaped::No } else { Escaped::Yes };
    Some((Tag { block, escaped, sum }, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(fields: &[&[u8]]) -> Vec<u8> {
        let mut block = vec![0; HEADER];
        block.extend(fields.concat());
        block.resize(1024, 0);
        block
    }

    #[test]
    fn tags_have_a_length_for_each_kind_of_journal() {
        let uuid = [0xee; 16];
        // The number, 16 bits of checksum, the flags, the high half, and what else there is.
        let cases: [(Checksums, Width, Vec<u8>); 5] = [
            (Checksums::None, Width::Narrow, vec![]),
            (Checksums::Transaction, Width::Wide, vec![0, 0, 0, 9]),
            (Checksums::Short(1), Width::Narrow, vec![0, 0]),
            (Checksums::Short(1), Width::Wide, vec![0, 0, 0, 9, 0, 0]),
            (Checksums::Whole(1), Width::Wide, vec![0, 0, 0, 9, 0xa, 0xb, 0xc, 0xd]),
        ];
        for (checksums, width, more) in cases {
            let block = block(&[
                &[0, 0, 0, 5, 0, 0, 0, 0],
                &more,
                &uuid,
                &[0, 0, 1, 6, 0, 0, 0, 3],
                &more,
                &[0, 0, 0, 7, 0, 0, 0, 0xa],
                &more,
                &[0, 0, 0, 8, 0, 0, 0, 2],
            ]);
            let tags = tags(&block, checksums, width);
            let high = if width == Width::Wide { 9 << 32 } else { 0 };
            let blocks: Vec<_> = tags.iter().map(|tag| (tag.block - high, tag.escaped)).collect();
            assert_eq!(blocks, [(5, Escaped::No), (0x106, Escaped::Yes), (7, Escaped::No)], "{checksums:?} {width:?}");
        }
    }

    #[test]
    fn a_block_without_a_last_tag_ends_where_it_ends() {
        let block = vec![0xfe - 8; 4096];
        // 0xf6f6 has SAME_UUID and no LAST bit.
        assert_eq!(tags(&block, Checksums::None, Width::Narrow).len(), (4096 - 12) / 8);
        assert_eq!(tags(&block, Checksums::Whole(0), Width::Wide).len(), (4096 - 12 - 4) / 16);
        assert!(tags(&[0; 15], Checksums::None, Width::Narrow).is_empty());
        assert!(tags(&[], Checksums::Whole(0), Width::Wide).is_empty());
    }
}
