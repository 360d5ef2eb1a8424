//! Extents: where the blocks of a file lie, as a tree of any depth.
//!
//! Source: kernel Documentation/filesystems/ext4/ifork.rst.

use super::checksum::crc32c;
use super::inode::{BLOCK_AREA_LEN, Inode};
use super::le;
use super::store::Store;
use crate::error::{Error, Layer, Result};

/// The longest extent that holds content, in blocks.
pub(super) const LENGTH_MAX: u32 = 32768;
/// How many entries the root in the inode has room for.
pub(super) const ROOT_ROOM: usize = (BLOCK_AREA_LEN - HEADER) / ENTRY;
/// How deep a tree may be: enough for every file that ext4 can have.
pub(super) const DEPTH_MAX: u16 = 5;

const MAGIC: u16 = 0xf30a;
const HEADER: usize = 12;
const ENTRY: usize = 12;

/// Whether an extent's blocks hold content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// They do.
    Yes,
    /// They are set aside, and read as zeros.
    No,
}

impl Written {
    /// The longest extent of this kind, in blocks: of those without content, one block less can be told.
    pub(super) fn longest(self) -> u32 {
        match self {
            Self::Yes => LENGTH_MAX,
            Self::No => LENGTH_MAX - 1,
        }
    }
}

/// A run of blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first block in the file.
    pub(super) logical: u32,
    /// How many blocks, 1 to 32768.
    pub(super) len: u32,
    /// Its first block in the filesystem.
    pub(super) start: u64,
    /// Whether it holds content.
    pub(super) written: Written,
}

impl Extent {
    /// The block in the file after its last.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.logical) + u64::from(self.len)
    }
}

/// An entry of an inner node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// The first block of the file that is found below.
    pub(super) logical: u32,
    /// The block of the node below.
    pub(super) child: u64,
}

/// The entries of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entries {
    /// Of a node at depth 0.
    Leaf(Vec<Extent>),
    /// Of a node further up.
    Inner(Vec<Branch>),
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// How many levels are below it.
    pub(super) depth: u16,
    /// How many entries it has room for.
    pub(super) room: usize,
    pub(super) entries: Entries,
    generation: u32,
}

impl Node {
    /// A leaf without entries.
    pub(super) fn leaf(room: usize) -> Self {
        Self { depth: 0, room, entries: Entries::Leaf(Vec::new()), generation: 0 }
    }

    /// A node over one other.
    pub(super) fn over(depth: u16, room: usize, branch: Branch) -> Self {
        Self { depth, room, entries: Entries::Inner(vec![branch]), generation: 0 }
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        match &self.entries {
            Entries::Leaf(extents) => extents.len(),
            Entries::Inner(branches) => branches.len(),
        }
    }

    /// Takes the bytes of a node that describes the blocks of a file from `from` up to `until`.
    fn parse(bytes: &[u8], capacity: usize, from: u64, until: u64) -> Option<Self> {
        let count = usize::from(le::u16_at(bytes, 2)?);
        let room = usize::from(le::u16_at(bytes, 4)?);
        let depth = le::u16_at(bytes, 6)?;
        if le::u16_at(bytes, 0)? != MAGIC || count > room || room == 0 || room > capacity || depth > DEPTH_MAX {
            return None;
        }
        let mut fields = bytes.get(HEADER..)?.chunks_exact(ENTRY).take(count);
        let mut next = from;
        let entries = if depth == 0 {
            let mut extents = Vec::with_capacity(count);
            for field in fields.by_ref() {
                let raw_len = u32::from(le::u16_at(field, 4)?);
                let (len, written) =
                    if raw_len > LENGTH_MAX { (raw_len - LENGTH_MAX, Written::No) } else { (raw_len, Written::Yes) };
                let start = u64::from(le::u32_at(field, 8)?) | u64::from(le::u16_at(field, 6)?) << 32;
                let extent = Extent { logical: le::u32_at(field, 0)?, len, start, written };
                if len == 0 || u64::from(extent.logical) < next || extent.end() > until {
                    return None;
                }
                next = extent.end();
                extents.push(extent);
            }
            Entries::Leaf(extents)
        } else {
            let mut branches: Vec<Branch> = Vec::with_capacity(count);
            for field in fields.by_ref() {
                let child = u64::from(le::u32_at(field, 4)?) | u64::from(le::u16_at(field, 8)?) << 32;
                let branch = Branch { logical: le::u32_at(field, 0)?, child };
                if u64::from(branch.logical) < next || u64::from(branch.logical) >= until {
                    return None;
                }
                next = u64::from(branch.logical) + 1;
                branches.push(branch);
            }
            if branches.is_empty() {
                return None;
            }
            Entries::Inner(branches)
        };
        Some(Self { depth, room, entries, generation: le::u32_at(bytes, 8)? })
    }

    /// The bytes of a node, `len` of them, without a checksum.
    pub(super) fn encode(&self, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        if self.len() > self.room {
            return None;
        }
        le::put(&mut bytes, 0, &MAGIC.to_le_bytes())?;
        le::put(&mut bytes, 2, &u16::try_from(self.len()).ok()?.to_le_bytes())?;
        le::put(&mut bytes, 4, &u16::try_from(self.room).ok()?.to_le_bytes())?;
        le::put(&mut bytes, 6, &self.depth.to_le_bytes())?;
        le::put(&mut bytes, 8, &self.generation.to_le_bytes())?;
        let mut fields = bytes.get_mut(HEADER..)?.chunks_exact_mut(ENTRY);
        match &self.entries {
            Entries::Leaf(extents) => {
                for extent in extents {
                    let field = fields.next()?;
                    let [s0, s1, s2, s3, s4, s5, ..] = extent.start.to_le_bytes();
                    let raw_len = match extent.written {
                        Written::Yes => extent.len,
                        Written::No => extent.len + LENGTH_MAX,
                    };
                    le::put(field, 0, &extent.logical.to_le_bytes())?;
                    le::put(field, 4, &u16::try_from(raw_len).ok()?.to_le_bytes())?;
                    le::put(field, 6, &[s4, s5, s0, s1, s2, s3])?;
                }
            }
            Entries::Inner(branches) => {
                for branch in branches {
                    let field = fields.next()?;
                    let [c0, c1, c2, c3, c4, c5, ..] = branch.child.to_le_bytes();
                    le::put(field, 0, &branch.logical.to_le_bytes())?;
                    le::put(field, 4, &[c0, c1, c2, c3, c4, c5])?;
                }
            }
        }
        Some(bytes)
    }
}

/// A part of a file, at least one block long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// So many blocks that read as zeros, stored or not.
    Hole(u64),
    /// Blocks with content: the first in the filesystem, and how many.
    Blocks {
        /// The first block in the filesystem.
        start: u64,
        /// How many blocks.
        len: u64,
    },
}

/// Where a node is, and which blocks of the file it describes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The first block.
    pub(super) from: u64,
    /// The block after the last.
    pub(super) until: u64,
}

impl Span {
    /// All the blocks that a file can have.
    pub(super) const ALL: Self = Self { from: 0, until: u32::MAX as u64 };

    /// What the branch at `index` describes of this.
    pub(super) fn below(self, branches: &[Branch], index: usize) -> Option<Self> {
        let from = u64::from(branches.get(index)?.logical);
        let next = index.checked_add(1).and_then(|next| branches.get(next));
        Some(Self { from, until: next.map_or(self.until, |next| u64::from(next.logical)) })
    }
}

impl Store {
    /// How many entries a node in a block has room for.
    pub(super) fn node_room(&self) -> usize {
        self.block_len().saturating_sub(HEADER) / ENTRY
    }

    /// The root of a file's extents.
    pub(super) fn extent_root(&self, inode: &Inode) -> Result<Node> {
        let node = Node::parse(inode.block_area(), ROOT_ROOM, Span::ALL.from, Span::ALL.until);
        let node = node.ok_or_else(|| inode.damaged("the root of its extents contradicts itself"))?;
        self.check_extents(inode, &node)?;
        Ok(node)
    }

    /// The node that a branch of a node at `depth` leads to.
    pub(super) fn extent_node(&self, inode: &Inode, block: u64, depth: u16, span: Span) -> Result<Node> {
        let damaged = |what: &str| inode.damaged(&format!("its extents in block {block} {what}"));
        let bytes = self.read(block)?;
        let node = Node::parse(&bytes, self.node_room(), span.from, span.until)
            .ok_or_else(|| damaged("contradict themselves"))?;
        if node.depth.checked_add(1) != Some(depth) || node.len() == 0 {
            return Err(damaged("are not where they belong"));
        }
        if let Some(seed) = self.superblock.seed {
            let tail = HEADER + ENTRY * node.room;
            let sum = crc32c(inode.seed(seed), bytes.get(..tail).unwrap_or_default());
            if le::u32_at(&bytes, tail) != Some(sum) {
                return Err(damaged("have a wrong checksum"));
            }
        }
        self.check_extents(inode, &node)?;
        Ok(node)
    }

    /// Writes a node into a block.
    pub(super) fn put_extent_node(&mut self, inode: &Inode, block: u64, node: &Node) -> Result<()> {
        let overfull = || Error::corrupt(Layer::Filesystem, "a node of extents has more entries than room");
        let mut bytes = node.encode(self.block_len()).ok_or_else(overfull)?;
        if let Some(seed) = self.superblock.seed {
            let tail = HEADER + ENTRY * node.room;
            let sum = crc32c(inode.seed(seed), bytes.get(..tail).unwrap_or_default());
            le::put(&mut bytes, tail, &sum.to_le_bytes()).ok_or_else(overfull)?;
        }
        self.write(block, bytes)
    }

    fn check_extents(&self, inode: &Inode, node: &Node) -> Result<()> {
        let inside = match &node.entries {
            Entries::Leaf(extents) => {
                extents.iter().all(|extent| self.superblock.check_blocks(extent.start, u64::from(extent.len)).is_ok())
            }
            Entries::Inner(branches) => {
                branches.iter().all(|branch| self.superblock.check_blocks(branch.child, 1).is_ok())
            }
        };
        if !inside {
            return Err(inode.damaged("its extents lie outside the filesystem"));
        }
        // With bigalloc a block has one place in the file's cluster and in the filesystem's.
        let cluster = u64::from(self.superblock.cluster_blocks());
        match &node.entries {
            Entries::Leaf(extents)
                if extents.iter().any(|extent| u64::from(extent.logical) % cluster != extent.start % cluster) =>
            {
                Err(inode.damaged("its extents do not fit the clusters of the filesystem"))
            }
            _ => Ok(()),
        }
    }

    /// What a file has from a block on.
    pub(super) fn extent_segment(&self, inode: &Inode, logical: u64) -> Result<Segment> {
        let mut node = self.extent_root(inode)?;
        let mut span = Span::ALL;
        loop {
            let hole_until = |until: u64| Segment::Hole(until.saturating_sub(logical).max(1));
            match &node.entries {
                Entries::Leaf(extents) => {
                    let after = extents.partition_point(|extent| u64::from(extent.logical) <= logical);
                    let until = extents.get(after).map_or(span.until, |next| u64::from(next.logical));
                    let found = after.checked_sub(1).and_then(|index| extents.get(index));
                    return Ok(match found {
                        Some(extent) if logical < extent.end() => {
                            let skip = logical - u64::from(extent.logical);
                            match extent.written {
                                Written::Yes => {
                                    Segment::Blocks { start: extent.start + skip, len: u64::from(extent.len) - skip }
                                }
                                Written::No => hole_until(extent.end()),
                            }
                        }
                        _ => hole_until(until),
                    });
                }
                Entries::Inner(branches) => {
                    let after = branches.partition_point(|branch| u64::from(branch.logical) <= logical);
                    let Some(index) = after.checked_sub(1) else {
                        let first = branches.first().map_or(span.until, |first| u64::from(first.logical));
                        return Ok(hole_until(first));
                    };
                    let (Some(branch), Some(below)) = (branches.get(index), span.below(branches, index)) else {
                        return Err(inode.damaged("its extents end early"));
                    };
                    node = self.extent_node(inode, branch.child, node.depth, below)?;
                    span = below;
                }
            }
        }
    }
}
