//! Tags: what a fast commit consists of.

use super::super::damaged;
use crate::error::Result;
use crate::fs::ext4::extent::{Extent, LENGTH_MAX, Written};
use crate::fs::ext4::le;

/// What a tag is.
pub(super) mod kind {
    pub(in super::super) const ADD_RANGE: u16 = 1;
    pub(in super::super) const DEL_RANGE: u16 = 2;
    pub(in super::super) const CREAT: u16 = 3;
    pub(in super::super) const LINK: u16 = 4;
    pub(in super::super) const UNLINK: u16 = 5;
    pub(in super::super) const INODE: u16 = 6;
    pub(in super::super) const PAD: u16 = 7;
    pub(in super::super) const TAIL: u16 = 8;
    pub(in super::super) const HEAD: u16 = 9;
}

/// The length of a tag's own head: what it is, and how long what follows is.
pub(super) const HEAD: usize = 4;
/// The parent and the inode before a name, in bytes.
const BEFORE_NAME: usize = 8;
/// The number before an inode, in bytes.
const BEFORE_INODE: usize = 4;
/// The bytes of an inode without extra fields.
const INODE_MIN: usize = 128;

/// A tag as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    pub(super) kind: u16,
    /// All of it, with its head.
    pub(super) bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// What follows its head.
    pub(super) fn value(&self) -> &'a [u8] {
        self.bytes.get(HEAD..).unwrap_or_default()
    }

    /// Whether a tag of this kind can be so long; one of no known kind cannot.
    pub(super) fn fits(&self, inode_size: u16) -> bool {
        let len = self.value().len();
        match self.kind {
            kind::ADD_RANGE => len == 16,
            kind::DEL_RANGE => len == 12,
            kind::CREAT | kind::LINK | kind::UNLINK => (BEFORE_NAME + 1..=BEFORE_NAME + 255).contains(&len),
            kind::INODE => (BEFORE_INODE + INODE_MIN..=BEFORE_INODE + usize::from(inode_size)).contains(&len),
            kind::PAD => true,
            kind::TAIL => len >= 8,
            kind::HEAD => len == 8,
            _ => false,
        }
    }
}

/// The tags of a block, up to its end or to one that does not end in it.
#[derive(Debug)]
pub(super) struct Tags<'a>(&'a [u8]);

impl<'a> Tags<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self(block)
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Result<Raw<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = le::u16_at(self.0, 0)?;
        let len = HEAD + usize::from(le::u16_at(self.0, 2)?);
        match self.0.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.0 = rest;
                Some(Ok(Raw { kind, bytes }))
            }
            None => {
                self.0 = &[];
                Some(Err(damaged("a fast commit has a tag that does not end")))
            }
        }
    }
}

/// What is done to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// A new file gets its first name.
    Create,
    /// A file gets a further name.
    Link,
    /// A name goes.
    Unlink,
}

/// A tag, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag<'a> {
    /// Blocks of a file are these from now on.
    AddRange { inode: u32, extent: Extent },
    /// A file has no blocks there from now on.
    DelRange { inode: u32, from: u32, len: u32 },
    /// A directory changes.
    Name { naming: Naming, parent: u32, inode: u32, name: &'a [u8] },
    /// An inode is this from now on, its mapping excepted.
    Inode { number: u32, raw: &'a [u8] },
    /// Nothing changes.
    None,
}

impl<'a> Tag<'a> {
    /// Takes a tag that [fits](Raw::fits).
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self> {
        Self::of(raw).ok_or_else(|| damaged("a fast commit has a tag of an impossible length"))
    }

    fn of(raw: Raw<'a>) -> Option<Self> {
        let value = raw.value();
        let u32_at = |offset| le::u32_at(value, offset);
        let name = |naming| {
            Some(Self::Name { naming, parent: u32_at(0)?, inode: u32_at(4)?, name: value.get(BEFORE_NAME..)? })
        };
        match raw.kind {
            kind::ADD_RANGE => {
                let len = u32::from(le::u16_at(value, 8)?);
                let (len, written) =
                    if len > LENGTH_MAX { (len - LENGTH_MAX, Written::No) } else { (len, Written::Yes) };
                let start = u64::from(u32_at(12)?) | u64::from(le::u16_at(value, 10)?) << 32;
                Some(Self::AddRange { inode: u32_at(0)?, extent: Extent { logical: u32_at(4)?, len, start, written } })
            }
            kind::DEL_RANGE => Some(Self::DelRange { inode: u32_at(0)?, from: u32_at(4)?, len: u32_at(8)? }),
            kind::CREAT => name(Naming::Create),
            kind::LINK => name(Naming::Link),
            kind::UNLINK => name(Naming::Unlink),
            kind::INODE => Some(Self::Inode { number: u32_at(0)?, raw: value.get(BEFORE_INODE..)? }),
            kind::PAD | kind::TAIL | kind::HEAD => Some(Self::None),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = value.len() as u16;
        [&kind.to_le_bytes()[..], &len.to_le_bytes(), value].concat()
    }

    #[test]
    fn tags_follow_each_other_and_end_with_the_block() {
        let range = [&[7, 0, 0, 0, 9, 0, 0, 0, 3, 0x80, 1, 0][..], &[5, 0, 0, 0]].concat();
        let mut block = [tag(1, &range), tag(5, &[2, 0, 0, 0, 12, 0, 0, 0, b'a']), tag(7, &[0; 3])].concat();
        let tags: Vec<_> = Tags::new(&block).map(|raw| Tag::parse(raw.unwrap()).unwrap()).collect();
        let extent = Extent { logical: 9, len: 3, start: 1 << 32 | 5, written: Written::No };
        let name = Tag::Name { naming: Naming::Unlink, parent: 2, inode: 12, name: b"a" };
        assert_eq!(tags, [Tag::AddRange { inode: 7, extent }, name, Tag::None]);
        block.pop();
        assert!(Tags::new(&block).last().unwrap().is_err());
        block.truncate(3);
        assert!(Tags::new(&block).next().is_none());
    }

    #[test]
    fn each_kind_has_its_lengths() {
        for (kind, lengths) in [
            (kind::ADD_RANGE, 16..=16),
            (kind::DEL_RANGE, 12..=12),
            (kind::CREAT, 9..=263),
            (kind::LINK, 9..=263),
            (kind::UNLINK, 9..=263),
            (kind::INODE, 132..=260),
            (kind::PAD, 0..=300),
            (kind::TAIL, 8..=300),
            (kind::HEAD, 8..=8),
        ] {
            for len in 0..=300 {
                let bytes = tag(kind, &vec![0; len]);
                let raw = Raw { kind, bytes: &bytes };
                assert_eq!(raw.fits(256), lengths.contains(&len), "{kind} {len}");
                assert!(!raw.fits(256) || Tag::parse(raw).is_ok());
            }
        }
        assert!(!Raw { kind: 0, bytes: &[0; 4] }.fits(256) && !Raw { kind: 10, bytes: &[0; 4] }.fits(256));
    }
}
