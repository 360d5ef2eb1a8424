//! What a file's tree of extents takes: its extents, and the blocks of its nodes.

use super::ranges::Ranges;
use crate::error::{Error, Layer, Result};
use crate::fs::ext4::extent::{Entries, Node, Span};
use crate::fs::ext4::inode::Inode;
use crate::fs::ext4::store::Store;

/// How many extents may be held of all files together: those of 2 GiB in single blocks.
const EXTENTS_MAX: usize = 1 << 19;

/// The extents of a file, and where the nodes are that say so.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) ranges: Ranges,
    pub(super) nodes: Vec<u64>,
}

/// How many more extents may be held.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(EXTENTS_MAX)
    }
}

impl Budget {
    /// Takes room for `count` more; `Unsupported` where there is none.
    pub(super) fn take(&mut self, count: usize) -> Result<()> {
        self.0 = self.0.checked_sub(count).ok_or_else(|| {
            let what = format!("the ext4 journal has fast commits on files of more than {EXTENTS_MAX} extents");
            Error::unsupported(Layer::Filesystem, what).with_hint("run e2fsck -fy on the filesystem")
        })?;
        Ok(())
    }
}

impl Layout {
    /// Goes through the extents of a file that has such.
    pub(super) fn read(store: &Store, inode: &Inode, budget: &mut Budget) -> Result<Self> {
        let mut layout = Self::default();
        let root = store.extent_root(inode)?;
        layout.visit(store, inode, &root, Span::ALL, budget)?;
        Ok(layout)
    }

    /// Every node is less deep than the one above it, so that this ends.
    fn visit(&mut self, store: &Store, inode: &Inode, node: &Node, span: Span, budget: &mut Budget) -> Result<()> {
        budget.take(node.len())?;
        match &node.entries {
            Entries::Leaf(extents) => extents.iter().for_each(|extent| self.ranges.put(*extent)),
            Entries::Inner(branches) => {
                for (index, branch) in branches.iter().enumerate() {
                    let below = span.below(branches, index).ok_or_else(|| inode.damaged("its extents end early"))?;
                    let child = store.extent_node(inode, branch.child, node.depth, below)?;
                    self.nodes.push(branch.child);
                    self.visit(store, inode, &child, below, budget)?;
                }
            }
        }
        Ok(())
    }
}
