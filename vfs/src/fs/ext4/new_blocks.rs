//! Blocks that nothing reaches in the image as it is: those that were free when it was opened.

use crate::block::Ranges;
use std::ops::Range;

/// How many ranges of freed blocks are remembered; past it no block counts as new any more.
const FREED_MAX: usize = 1 << 16;

/// Which of the blocks that are free now were so when the filesystem was opened.
#[derive(Debug, Default)]
pub(super) struct NewBlocks {
    /// Those that were in use when it was opened and are not any more; `None` where it is not known what was free then.
    freed: Option<Ranges>,
}

impl NewBlocks {
    /// The filesystem is the image's as it is, and nothing has been freed: what is free now is new.
    pub(super) fn begin(&mut self) {
        self.freed = Some(Ranges::default());
    }

    /// Blocks are freed.
    pub(super) fn forget(&mut self, start: u64, len: u64) {
        if let Some(freed) = &mut self.freed {
            freed.add(start..start.saturating_add(len));
            if freed.len() > FREED_MAX {
                self.freed = None;
            }
        }
    }

    /// Those of free blocks that were so from the beginning.
    pub(super) fn among(&self, start: u64, len: u64) -> Vec<Range<u64>> {
        let blocks = start..start.saturating_add(len);
        self.freed.as_ref().map_or_else(Vec::new, |freed| freed.outside(&blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_is_not_new() {
        let mut blocks = NewBlocks::default();
        blocks.forget(1, 1);
        assert_eq!(blocks.among(0, 10), []);
        blocks.begin();
        blocks.forget(3, 2);
        assert_eq!(blocks.among(0, 10), [0..3, 5..10]);
        for block in 0..=FREED_MAX as u64 {
            blocks.forget(100 + block * 2, 1);
        }
        assert_eq!(blocks.among(0, 10), []);
    }
}
