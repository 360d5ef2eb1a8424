//! Changing the tree of extents: only ever at its end.

use super::extent::{Branch, DEPTH_MAX, Entries, Extent, Node, ROOT_ROOM, Span};
use super::inode::Inode;
use super::mapping::too_large;
use super::store::Store;
use crate::error::{Error, Layer, Result};

/// A node on the way from the root to the last extent.
#[derive(Debug)]
struct Step {
    /// Where the node is; `None` for the root in the inode.
    block: Option<u64>,
    node: Node,
}

/// A cluster of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cluster {
    /// Which of the file's it is.
    logical: u64,
    /// Its first block in the filesystem.
    start: u64,
}

impl Store {
    /// Makes a file have no extents, without freeing any.
    pub(super) fn clear_extents(&self, inode: &mut Inode) -> Result<()> {
        put_root(inode, &Node::leaf(ROOT_ROOM))
    }

    /// The last extent of a file.
    pub(super) fn last_extent(&self, inode: &Inode) -> Result<Option<Extent>> {
        Ok(match self.right_edge(inode)?.last().map(|step| &step.node.entries) {
            Some(Entries::Leaf(extents)) => extents.last().copied(),
            _ => None,
        })
    }

    /// Adds an extent to the end of a file. Its blocks are counted as the file's already; the nodes that it takes to name
    /// them are counted here.
    pub(super) fn append_extent(&mut self, inode: &mut Inode, mut extent: Extent) -> Result<()> {
        let longest = extent.written.longest();
        if extent.len == 0 || extent.len > longest || extent.end() > Span::ALL.until {
            return Err(too_large());
        }
        let mut steps = self.right_edge(inode)?;
        let leaf = steps.pop().ok_or_else(|| inode.damaged("it has no extents"))?;
        let Step { block, mut node } = leaf;
        let Entries::Leaf(extents) = &mut node.entries else { return Err(inode.damaged("its extents have no end")) };
        if let Some(last) = extents.last_mut() {
            if last.end() > u64::from(extent.logical) {
                return Err(inode.damaged("its extents reach past its end"));
            }
            let follows = last.end() == u64::from(extent.logical)
                && last.start.checked_add(u64::from(last.len)) == Some(extent.start);
            if follows && last.written == extent.written {
                let more = extent.len.min(longest.saturating_sub(last.len));
                last.len += more;
                extent.len -= more;
                extent.logical += more;
                extent.start += u64::from(more);
            }
        }
        let overflow = if extent.len == 0 {
            None
        } else if extents.len() < node.room {
            extents.push(extent);
            None
        } else {
            Some(extent)
        };
        self.put_step(inode, &Step { block, node })?;
        match overflow {
            Some(extent) => self.grow_tree(inode, extent),
            None => Ok(()),
        }
    }

    /// Adds an extent behind a last leaf that is full.
    fn grow_tree(&mut self, inode: &mut Inode, extent: Extent) -> Result<()> {
        let mut steps = self.right_edge(inode)?;
        if steps.iter().all(|step| step.node.len() >= step.node.room) {
            self.deepen_tree(inode, extent.start)?;
            steps = self.right_edge(inode)?;
        }
        let mut node = Node::leaf(self.node_room());
        node.entries = Entries::Leaf(vec![extent]);
        while let Some(mut step) = steps.pop() {
            if step.node.len() < step.node.room {
                match &mut step.node.entries {
                    Entries::Inner(branches) => {
                        let child = self.put_new_node(inode, &node, extent.start)?;
                        branches.push(Branch { logical: extent.logical, child });
                    }
                    // The leaf was moved and has room now.
                    Entries::Leaf(extents) => extents.push(extent),
                }
                return self.put_step(inode, &step);
            }
            if step.node.depth > 0 {
                let child = self.put_new_node(inode, &node, extent.start)?;
                let branch = Branch { logical: extent.logical, child };
                node = Node::over(step.node.depth, self.node_room(), branch);
            }
        }
        Err(inode.damaged("its extents cannot grow"))
    }

    /// Moves the root's entries into a block, and puts a level above them.
    fn deepen_tree(&mut self, inode: &mut Inode, near: u64) -> Result<()> {
        let mut moved = self.extent_root(inode)?;
        let depth = moved.depth.checked_add(1).filter(|depth| *depth <= DEPTH_MAX);
        let depth = depth.ok_or_else(|| Error::unsupported(Layer::Filesystem, "the file has too many extents"))?;
        let logical = match &moved.entries {
            Entries::Leaf(extents) => extents.first().map(|first| first.logical),
            Entries::Inner(branches) => branches.first().map(|first| first.logical),
        };
        moved.room = self.node_room();
        let child = self.put_new_node(inode, &moved, near)?;
        put_root(inode, &Node::over(depth, ROOT_ROOM, Branch { logical: logical.unwrap_or(0), child }))
    }

    fn put_new_node(&mut self, inode: &mut Inode, node: &Node, near: u64) -> Result<u64> {
        let run = self.allocate_blocks(near, 1)?;
        self.add_blocks(inode, 1)?;
        self.put_extent_node(inode, run.start, node)?;
        Ok(run.start)
    }

    /// Frees all blocks of a file from its block `from` on, and the nodes that describe nothing any more.
    pub(super) fn cut_extents(&mut self, inode: &mut Inode, from: u64) -> Result<()> {
        let mut held = None;
        loop {
            let mut steps = self.right_edge(inode)?;
            let Some(mut step) = steps.pop() else { return Err(inode.damaged("it has no extents")) };
            let Entries::Leaf(extents) = &mut step.node.entries else {
                return Err(inode.damaged("its extents have no end"));
            };
            let mut cut = 0_u32;
            while let Some(last) = extents.last_mut().filter(|last| last.end() > from) {
                let keep = u32::try_from(from.saturating_sub(u64::from(last.logical))).unwrap_or(u32::MAX);
                let gone = Extent {
                    logical: last.logical + keep,
                    start: last.start + u64::from(keep),
                    len: last.len - keep,
                    ..*last
                };
                if keep == 0 {
                    extents.pop();
                } else {
                    last.len = keep;
                }
                held = self.drop_extent(inode, gone, held)?;
                cut += 1;
            }
            if cut == 0 {
                break;
            }
            if step.node.len() > 0 || step.block.is_none() {
                self.put_step(inode, &step)?;
                self.flatten_tree(inode)?;
                break;
            }
            self.drop_last_leaf(inode, step, steps)?;
        }
        let Some(held) = held else { return Ok(()) };
        let cluster = u64::from(self.superblock.cluster_blocks());
        let used = self.last_extent(inode)?.is_some_and(|last| (last.end() - 1) / cluster == held.logical);
        if used { Ok(()) } else { self.drop_clusters(inode, held.start, 1) }
    }

    /// Frees the clusters of an extent that was cut off, but for one that a block before it may be in, which is given;
    /// `held` is the one that the extent after it has left so.
    fn drop_extent(&mut self, inode: &mut Inode, gone: Extent, held: Option<Cluster>) -> Result<Option<Cluster>> {
        let cluster = u64::from(self.superblock.cluster_blocks());
        let inside = u64::from(gone.logical) % cluster;
        let first = Cluster { logical: u64::from(gone.logical) / cluster, start: gone.start.saturating_sub(inside) };
        let count = (inside + u64::from(gone.len)).div_ceil(cluster);
        if let Some(held) = held {
            let last = Cluster { logical: first.logical + count - 1, start: first.start + (count - 1) * cluster };
            if held.logical != last.logical {
                self.drop_clusters(inode, held.start, 1)?;
            } else if held != last {
                return Err(inode.damaged("blocks of one cluster are in two places"));
            }
        }
        if inside == 0 {
            self.drop_clusters(inode, first.start, count)?;
            return Ok(None);
        }
        self.drop_clusters(inode, first.start + cluster, count - 1)?;
        Ok(Some(first))
    }

    fn drop_clusters(&mut self, inode: &mut Inode, start: u64, count: u64) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let blocks = count * u64::from(self.superblock.cluster_blocks());
        // The last cluster of the filesystem may be cut short.
        self.free_blocks(start, blocks.min(self.superblock.blocks.saturating_sub(start)))?;
        self.add_blocks(inode, -i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Frees an empty last leaf, and the nodes above it that become empty by that.
    fn drop_last_leaf(&mut self, inode: &mut Inode, leaf: Step, mut above: Vec<Step>) -> Result<()> {
        let mut empty = leaf.block;
        while let Some(block) = empty {
            self.free_blocks(block, 1)?;
            self.add_blocks(inode, -1)?;
            let Some(mut step) = above.pop() else { return Err(inode.damaged("its extents have no root")) };
            if let Entries::Inner(branches) = &mut step.node.entries {
                branches.pop();
            }
            if step.node.len() > 0 {
                return self.put_step(inode, &step);
            }
            empty = step.block;
        }
        put_root(inode, &Node::leaf(ROOT_ROOM))
    }

    /// Takes away levels as long as what is below the root fits into it.
    fn flatten_tree(&mut self, inode: &mut Inode) -> Result<()> {
        loop {
            let root = self.extent_root(inode)?;
            let Entries::Inner(branches) = &root.entries else { return Ok(()) };
            let ([branch], Some(span)) = (branches.as_slice(), Span::ALL.below(branches, 0)) else { return Ok(()) };
            let mut child = self.extent_node(inode, branch.child, root.depth, span)?;
            if child.len() > ROOT_ROOM {
                return Ok(());
            }
            child.room = ROOT_ROOM;
            self.free_blocks(branch.child, 1)?;
            self.add_blocks(inode, -1)?;
            put_root(inode, &child)?;
        }
    }

    /// The nodes from the root to the last leaf.
    fn right_edge(&self, inode: &Inode) -> Result<Vec<Step>> {
        let mut step = Step { block: None, node: self.extent_root(inode)? };
        let mut span = Span::ALL;
        let mut steps = Vec::new();
        while let Entries::Inner(branches) = &step.node.entries {
            let last = branches.len().checked_sub(1);
            let below = last.and_then(|last| Some((branches.get(last)?.child, span.below(branches, last)?)));
            let (block, below) = below.ok_or_else(|| inode.damaged("its extents end early"))?;
            let node = self.extent_node(inode, block, step.node.depth, below)?;
            span = below;
            steps.push(std::mem::replace(&mut step, Step { block: Some(block), node }));
        }
        steps.push(step);
        Ok(steps)
    }

    fn put_step(&mut self, inode: &mut Inode, step: &Step) -> Result<()> {
        match step.block {
            Some(block) => self.put_extent_node(inode, block, &step.node),
            None => put_root(inode, &step.node),
        }
    }
}

fn put_root(inode: &mut Inode, root: &Node) -> Result<()> {
    let area = root.encode(super::inode::BLOCK_AREA_LEN);
    let area = area.ok_or_else(|| inode.damaged("the root of its extents has too many entries"))?;
    inode.set_block_area(&area);
    Ok(())
}
