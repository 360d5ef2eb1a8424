//! The index of a directory: the way from its root to the leaf that has a name, and how it grows.
//!
//! An index block that comes from an image is not trusted: blocks have to be in the directory, none may be above
//! itself, and a search visits no more leaves than there are blocks.

use super::dir::{DirContext, DirStore, Entry, IndexDepth, IndexSupport, read, taken};
use super::dir_block::{DirBlock, Placed};
use super::htree::{HashFunction, NameHash};
use super::index_block::{IndexBlock, IndexEntry};
use crate::error::{Error, ErrorKind, Layer, Result};

/// A block and its number.
pub(super) type Located = (u32, DirBlock);

/// How often an insertion makes room and tries again: every level can split once, and a leaf a few times.
const ATTEMPTS: u32 = 16;

/// An index block on the way to a leaf, and the entry that was followed.
#[derive(Debug)]
struct Frame {
    number: u32,
    block: IndexBlock,
    at: usize,
}

/// The way from the root to a leaf.
#[derive(Debug)]
struct Descent {
    frames: Vec<Frame>,
    leaf: u32,
    /// The hash function of this directory, and the hash looked for.
    hasher: NameHash,
    hash: u32,
}

impl Frame {
    fn target(&self) -> Result<u32> {
        let entry = self.block.entries().get(self.at);
        entry.map(|entry| entry.block).ok_or_else(|| corrupt("a directory index is empty"))
    }
}

impl Descent {
    /// Goes from the root to the leaf in which a name has to be.
    fn new(context: &DirContext, store: &impl DirStore, name: &[u8]) -> Result<Self> {
        let IndexSupport::Present { hash: default, depth } = context.index else {
            return Err(unsupported("a directory with an index on a filesystem without dir_index"));
        };
        let root = IndexBlock::parse_root(read(store, 0)?, context.checksum_seed)?;
        let hasher = NameHash { function: root.function()?, ..default };
        let levels = root.levels();
        if levels > max_levels(depth) {
            return Err(unsupported(&format!("a directory index of {levels} levels")));
        }
        let hash = hasher.of(name);
        let at = root.position(hash);
        let mut descent = Self { frames: vec![Frame { number: 0, block: root, at }], leaf: 0, hasher, hash };
        descent.go_down(context, store, usize::from(levels), |node| node.position(hash))?;
        Ok(descent)
    }

    /// Goes from the innermost frame down to a leaf: to `levels` frames below the root, and one block further.
    fn go_down(
        &mut self,
        context: &DirContext,
        store: &impl DirStore,
        levels: usize,
        choose: impl Fn(&IndexBlock) -> usize,
    ) -> Result<()> {
        let blocks = store.blocks()?;
        loop {
            let number = self.innermost()?.target()?;
            if number >= blocks || self.frames.iter().any(|frame| frame.number == number) {
                return Err(corrupt(format!("a directory index leads to block {number}")));
            }
            if self.frames.len() > levels {
                self.leaf = number;
                return Ok(());
            }
            let block = IndexBlock::parse_node(read(store, number)?, context.checksum_seed)?;
            let at = choose(&block);
            self.frames.push(Frame { number, block, at });
        }
    }

    /// The frame at which the way to the next leaf parts, where that continues the same hash.
    fn continued(&self) -> Option<usize> {
        let next = |frame: &Frame| frame.block.entries().get(frame.at.saturating_add(1)).copied();
        let depth = self.frames.iter().rposition(|frame| next(frame).is_some())?;
        // The lowest bit says that names of this hash may be in the leaf before, too.
        let continues = self.frames.get(depth).and_then(next)?.hash & !1 == self.hash;
        continues.then_some(depth)
    }

    /// Goes on to the next leaf where that continues the same hash; gives whether it did.
    fn go_on(&mut self, context: &DirContext, store: &impl DirStore) -> Result<bool> {
        let levels = self.frames.len().saturating_sub(1);
        let Some(depth) = self.continued() else { return Ok(false) };
        self.frames.truncate(depth.saturating_add(1));
        let frame = self.innermost()?;
        frame.at = frame.at.saturating_add(1);
        self.go_down(context, store, levels, |_| 0)?;
        Ok(true)
    }

    /// Whether a hash may be in the leaf: it is not before its entry of the index, and not past the next one.
    fn may_hold(&self, hash: u32) -> bool {
        let entry = |frame: &Frame, at: usize| frame.block.entries().get(at).map(|entry| entry.hash);
        let next = self.frames.iter().rev().find_map(|frame| entry(frame, frame.at.saturating_add(1)));
        // Of a node's first entry the hash is in the node above.
        let own = self.frames.iter().rev().find(|frame| frame.at > 0).and_then(|frame| entry(frame, frame.at));
        own.is_none_or(|own| own & !1 <= hash) && next.is_none_or(|next| hash < next)
    }

    fn innermost(&mut self) -> Result<&mut Frame> {
        self.frames.last_mut().ok_or_else(|| corrupt("a directory index without a root"))
    }
}

/// The leaf that has a name; `Unsupported` where the index cannot be followed.
pub(super) fn locate(context: &DirContext, store: &impl DirStore, name: &[u8]) -> Result<Option<Located>> {
    let mut descent = Descent::new(context, store, name)?;
    for _ in 0..store.blocks()? {
        let block = context.block(store, descent.leaf)?;
        if block.find(name).is_some() {
            return Ok(Some((descent.leaf, block)));
        }
        if !descent.go_on(context, store)? {
            return Ok(None);
        }
    }
    Err(corrupt("a directory index has more leaves than the directory has blocks"))
}

/// Puts an entry into the leaf of its hash; splits what is full. `Invalid` where the name is there already.
pub(super) fn insert(context: &DirContext, store: &mut impl DirStore, entry: &Entry) -> Result<()> {
    let mut descent = Descent::new(context, store, &entry.name)?;
    let mut leaf = context.block(store, descent.leaf)?;
    let further = descent.continued().is_some() && locate(context, store, &entry.name)?.is_some();
    if further || leaf.find(&entry.name).is_some() {
        return Err(taken());
    }
    for _ in 0..ATTEMPTS {
        if leaf.insert(&entry.name, entry.inode, entry.file_type)? == Placed::Here {
            return store.write(descent.leaf, leaf.seal()?);
        }
        if descent.frames.last().is_some_and(|frame| frame.block.is_full()) {
            grow(context, store, descent)?;
        } else {
            split(context, store, descent, &leaf)?;
        }
        descent = Descent::new(context, store, &entry.name)?;
        leaf = context.block(store, descent.leaf)?;
    }
    Err(corrupt("a directory index does not make room"))
}

/// Makes a linear directory of one block an indexed one: its entries go to block 1, and block 0 becomes the root.
pub(super) fn convert(context: &DirContext, store: &mut impl DirStore, function: HashFunction) -> Result<()> {
    let linear = context.block(store, 0)?;
    let mut entries = linear.entries();
    let (own, parent) = match (entries.next(), entries.next()) {
        (Some(own), Some(parent)) if own.name == b"." && parent.name == b".." => (own.inode, parent.inode),
        _ => return Err(corrupt("a directory does not begin with . and ..")),
    };
    let size = store.block_size();
    let leaf = filled(context, size, entries.map(Entry::from))?;
    let number = store.append()?;
    if number != 1 {
        return Err(corrupt("a directory of one block does not grow to two"));
    }
    let dots = (own, parent);
    let root = IndexBlock::new_root(size, context.checksum_seed, context.file_types, dots, function, number)?;
    store.write(number, leaf.seal()?)?;
    store.write(0, root.seal()?)
}

/// Splits the leaf of a descent, by hash and near the middle of its bytes; the index block above has room.
fn split(context: &DirContext, store: &mut impl DirStore, mut descent: Descent, leaf: &DirBlock) -> Result<()> {
    let size = store.block_size();
    let hasher = descent.hasher;
    let mut entries: Vec<(u32, Entry)> = leaf.entries().map(|slot| (hasher.of(slot.name), Entry::from(slot))).collect();
    if entries.iter().any(|(hash, _)| !descent.may_hold(*hash)) {
        return Err(corrupt("a name is in the wrong leaf of a directory index"));
    }
    entries.sort_by_key(|(hash, _)| *hash);
    let Some(middle) = middle(&entries, size) else {
        // One entry, and gaps too small on either side of it: moving it to the front makes room.
        let packed = filled(context, size, entries.into_iter().map(|(_, entry)| entry))?;
        return store.write(descent.leaf, packed.seal()?);
    };
    let upper = entries.split_off(middle);
    let (Some((below, _)), Some(&(hash, _))) = (entries.last(), upper.first()) else {
        return Err(corrupt("a directory leaf cannot be split"));
    };
    let hash = if hash == *below { hash | 1 } else { hash };
    let lower = filled(context, size, entries.into_iter().map(|(_, entry)| entry))?.seal()?;
    let upper = filled(context, size, upper.into_iter().map(|(_, entry)| entry))?.seal()?;
    let block = store.append()?;
    let leaf = descent.leaf;
    let frame = descent.innermost()?;
    frame.block.insert_after(frame.at, IndexEntry { hash, block })?;
    let (number, index) = (frame.number, frame.block.clone().seal()?);
    store.write(block, upper)?;
    store.write(leaf, lower)?;
    store.write(number, index)
}

/// Where to split entries sorted by hash: so that neither part is over half full, as far as that can be. `None` where
/// there are fewer than two.
fn middle(entries: &[(u32, Entry)], size: usize) -> Option<usize> {
    if entries.len() < 2 {
        return None;
    }
    let mut bytes = 0_usize;
    let mut moved = 0_usize;
    for (_, entry) in entries.iter().rev() {
        let length = super::dir_block::entry_length(entry.name.len());
        if bytes.saturating_add(length / 2) > size / 2 {
            break;
        }
        bytes = bytes.saturating_add(length);
        moved = moved.saturating_add(1);
    }
    // A leaf with much unused space in small pieces: half of the entries go.
    let moved = if moved >= entries.len() { entries.len() / 2 } else { moved.max(1) };
    entries.len().checked_sub(moved)
}

/// Makes room in the innermost index block of a descent: splits the uppermost full one whose parent has room, or adds
/// a level below the root.
fn grow(context: &DirContext, store: &mut impl DirStore, mut descent: Descent) -> Result<()> {
    let size = store.block_size();
    let seed = context.checksum_seed;
    if let Some(parent) = descent.frames.iter().rposition(|frame| !frame.block.is_full()) {
        let Some([parent, full, ..]) = descent.frames.get_mut(parent..) else {
            return Err(corrupt("a directory index block is not full"));
        };
        let upper = full.block.take_upper_half();
        let hash = upper.first().map(|entry| entry.hash).ok_or_else(|| corrupt("a directory index is empty"))?;
        let node = IndexBlock::new_node(size, seed, upper)?.seal()?;
        let block = store.append()?;
        parent.block.insert_after(parent.at, IndexEntry { hash, block })?;
        store.write(block, node)?;
        store.write(full.number, full.block.clone().seal()?)?;
        return store.write(parent.number, parent.block.clone().seal()?);
    }
    let limit = match context.index {
        IndexSupport::Present { depth, .. } => max_levels(depth),
        IndexSupport::Absent => 0,
    };
    let Some(root) = descent.frames.first_mut() else { return Err(corrupt("a directory index without a root")) };
    if root.block.levels() >= limit {
        return Err(Error::new(ErrorKind::NoSpace, Layer::Filesystem, "the index of the directory is full"));
    }
    let block = store.append()?;
    let entries = root.block.push_down(block)?;
    store.write(block, IndexBlock::new_node(size, seed, entries)?.seal()?)?;
    store.write(0, root.block.clone().seal()?)
}

/// A leaf with these entries, which came from one block and so have room in one.
fn filled(context: &DirContext, size: usize, entries: impl Iterator<Item = Entry>) -> Result<DirBlock> {
    let mut block = DirBlock::empty(size, context.format())?;
    for entry in entries {
        if block.insert(&entry.name, entry.inode, entry.file_type)? == Placed::Full {
            return Err(corrupt("the entries of a directory block do not fit into one"));
        }
    }
    Ok(block)
}

fn max_levels(depth: IndexDepth) -> u8 {
    match depth {
        IndexDepth::One => 1,
        IndexDepth::Two => 2,
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Filesystem, message)
}

fn unsupported(message: &str) -> Error {
    Error::unsupported(Layer::Filesystem, message)
        .with_hint("`e2fsck -D` on the unmounted filesystem rebuilds the indexes of its directories")
}
