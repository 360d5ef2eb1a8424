//! Which group keeps its metadata where, so that no two keep it in one place.
//!
//! Descriptors that name one inode table twice look right one by one; the first new inode would overwrite another group's.

use super::group::{Group, inode_table_blocks};
use super::superblock::Superblock;
use crate::error::Result;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The metadata of the groups that were looked at so far: a few while a filesystem is read, all before a block is taken.
#[derive(Debug, Default)]
pub(super) struct Places(RefCell<Taken>);

#[derive(Debug, Default)]
struct Taken {
    groups: BTreeSet<u32>,
    /// Whether these are all.
    complete: bool,
    /// By the first block of a range: the block after it.
    ranges: BTreeMap<u64, u64>,
}

impl Places {
    /// Notes where a group has its metadata; `Corrupt` where other metadata is there already.
    pub(super) fn take(&self, group: &Group, superblock: &Superblock) -> Result<()> {
        let mut taken = self.0.borrow_mut();
        if taken.groups.contains(&group.number) {
            return Ok(());
        }
        let own = [
            ("superblock", superblock.group_start(group.number), u64::from(superblock.base_blocks(group.number))),
            ("block bitmap", group.block_bitmap(), 1),
            ("inode bitmap", group.inode_bitmap(), 1),
            ("inode table", group.inode_table(), u64::from(inode_table_blocks(superblock))),
        ];
        for (what, start, len) in own {
            if !taken.add(start, start.saturating_add(len)) {
                return Err(group.damaged(&format!("its {what} lies where other metadata does")));
            }
        }
        taken.groups.insert(group.number);
        Ok(())
    }

    /// What is known to be metadata of the blocks from `start` up to `end`: ranges, by the first block and the one after
    /// the last.
    pub(super) fn within(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let taken = self.0.borrow();
        // Ranges do not overlap, so that of those before `start` only the last can reach it.
        let before = taken.ranges.range(..start).next_back();
        let ranges = before.into_iter().chain(taken.ranges.range(start..end));
        ranges
            .map(|(from, until)| ((*from).max(start), (*until).min(end)))
            .filter(|(from, until)| from < until)
            .collect()
    }

    /// Whether every group was looked at.
    pub(super) fn are_complete(&self) -> bool {
        self.0.borrow().complete
    }

    /// Notes that every group was looked at.
    pub(super) fn complete(&self) {
        self.0.borrow_mut().complete = true;
    }
}

impl Taken {
    /// Adds a range, unless it overlaps one that is there.
    fn add(&mut self, start: u64, end: u64) -> bool {
        if start >= end {
            return true;
        }
        let before = self.ranges.range(..end).next_back().map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, other_end)| other_end > start) {
            return false;
        }
        // Neighbours become one, so that a filesystem of many groups takes little room here.
        let start = before.filter(|(_, other_end)| *other_end == start).map_or(start, |(other_start, _)| other_start);
        let end = self.ranges.remove(&end).unwrap_or(end);
        self.ranges.insert(start, end);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Taken;

    #[test]
    fn ranges_may_touch_and_not_overlap() {
        let mut taken = Taken::default();
        for (start, end, fits) in [
            (10, 20, true),
            (20, 30, true),
            (5, 10, true),
            (5, 5, true),
            (12, 13, false),
            (0, 6, false),
            (0, 99, false),
            (29, 31, false),
            (30, 31, true),
        ] {
            assert_eq!(taken.add(start, end), fits, "{start} to {end}");
        }
        assert_eq!(taken.ranges.into_iter().collect::<Vec<_>>(), [(5, 31)]);
    }
}
