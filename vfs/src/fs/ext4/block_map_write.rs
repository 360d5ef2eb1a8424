//! Changing the block maps of ext2 and ext3: adding at the end, cutting from the end.

use super::allocate::BlockRun;
use super::block_map::{DIRECT, ROOTS, pointer, put_pointer};
use super::inode::Inode;
use super::mapping::too_large;
use super::store::Store;
use crate::error::{Error, Layer, Result};
use std::collections::BTreeSet;
use std::ops::Range;

/// What is left of a table of block numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// It has entries.
    Kept,
    /// It had none any more, and was freed.
    Freed,
}

impl Store {
    /// Adds blocks to the end of a file, from its block `logical` on. They are counted as the file's already; the tables
    /// that it takes to name them are counted here.
    pub(super) fn append_to_map(&mut self, inode: &mut Inode, logical: u32, run: BlockRun) -> Result<()> {
        let end = run.start.checked_add(u64::from(run.len)).filter(|end| u32::try_from(end - 1).is_ok());
        let end = end.ok_or_else(|| {
            Error::unsupported(Layer::Filesystem, "an ext2 block map cannot name a block past the 32-bit limit")
        })?;
        let mut logical = u64::from(logical);
        let mut next = run.start;
        while next < end {
            let (table, place) = self.table_for(inode, logical, run.start)?;
            let mut bytes = match table {
                Some(block) => self.read(block)?.to_vec(),
                None => inode.block_area().to_vec(),
            };
            let places = if table.is_none() { DIRECT } else { self.map_width() };
            let count = (places - place).min(end - next);
            for (place, block) in (place..).zip(next..next + count) {
                if pointer(&bytes, place) != Some(0) {
                    return Err(inode.damaged("its map of blocks reaches past its end"));
                }
                put_pointer(&mut bytes, place, block)?;
            }
            match table {
                Some(block) => self.write(block, bytes)?,
                None => inode.set_block_area(&bytes),
            }
            next += count;
            logical += count;
        }
        Ok(())
    }

    /// The table that names a block of a file, made where it is missing, and the place in it; the inode itself is `None`.
    fn table_for(&mut self, inode: &mut Inode, logical: u64, near: u64) -> Result<(Option<u64>, u64)> {
        let Some(rest) = logical.checked_sub(DIRECT) else { return Ok((None, logical)) };
        let (slot, mut rest, mut reach) = self.map_root(rest).ok_or_else(too_large)?;
        let mut table = pointer(inode.block_area(), slot).unwrap_or(0);
        if table == 0 {
            table = self.new_table(inode, near)?;
            let mut area = inode.block_area().to_vec();
            put_pointer(&mut area, slot, table)?;
            inode.set_block_area(&area);
        }
        loop {
            reach /= self.map_width();
            if reach <= 1 {
                return Ok((Some(table), rest));
            }
            let place = rest / reach;
            let mut bytes = self.read(table)?.to_vec();
            let mut below = pointer(&bytes, place).unwrap_or(0);
            if below == 0 {
                below = self.new_table(inode, near)?;
                put_pointer(&mut bytes, place, below)?;
                self.write(table, bytes)?;
            }
            table = below;
            rest %= reach;
        }
    }

    fn new_table(&mut self, inode: &mut Inode, near: u64) -> Result<u64> {
        let run = self.allocate_blocks(near, 1)?;
        self.add_blocks(inode, 1)?;
        self.write(run.start, vec![0; self.block_len()])?;
        Ok(run.start)
    }

    /// Frees all blocks of a file from its block `from` on, and the tables that name nothing any more.
    ///
    /// Errors: `Corrupt` where a part stays and the map names a table twice.
    pub(super) fn cut_map(&mut self, inode: &mut Inode, from: u64) -> Result<()> {
        if from > 0 {
            self.check_tables(inode, from)?;
        }
        let mut area = inode.block_area().to_vec();
        let mut base = DIRECT;
        let mut reach = self.map_width();
        self.cut_entries(inode, &mut area, from, DIRECT)?;
        for slot in ROOTS {
            let root = pointer(&area, slot).unwrap_or(0);
            let until = base.saturating_add(reach);
            if root != 0
                && from < until
                && self.cut_table(inode, root, from.saturating_sub(base), reach)? == Table::Freed
            {
                put_pointer(&mut area, slot, 0)?;
            }
            base = until;
            reach = reach.saturating_mul(self.map_width());
        }
        inode.set_block_area(&area);
        Ok(())
    }

    /// Fails where the map of a file names one of its tables twice, as a table or, as far as that is about to be changed, as
    /// a block of content: what is added to the file in one place would show in the other, and what is cut off in
    /// the one would be free in the other. `end` is the file's block from which on it is to change.
    ///
    /// Only tables that name tables are read, and the one with `end`: a few for a file of any size but the largest.
    fn check_tables(&self, inode: &Inode, end: u64) -> Result<()> {
        let area = inode.block_area();
        let named = |table: &[u8], places: Range<u64>| -> Vec<u64> {
            places.filter_map(|place| pointer(table, place)).filter(|block| *block != 0).collect()
        };
        let mut tables = BTreeSet::new();
        // How many levels of tables are below each.
        let mut pending: Vec<(u64, u64)> =
            ROOTS.filter_map(|slot| Some((pointer(area, slot)?, slot - DIRECT))).collect();
        pending.retain(|(table, _)| *table != 0);
        while let Some((table, below)) = pending.pop() {
            self.superblock.check_blocks(table, 1)?;
            if !tables.insert(table) {
                return Err(inode.damaged("its map of blocks has a table twice"));
            }
            if below > 0 {
                let bytes = self.read(table)?;
                pending.extend(named(&bytes, 0..self.map_width()).into_iter().map(|child| (child, below - 1)));
            }
        }
        let mut content = named(area, 0..DIRECT);
        if let Some(table) = self.map_leaf(inode, end)? {
            content.extend(named(&self.read(table)?, 0..self.map_width()));
        }
        if content.iter().any(|block| tables.contains(block)) {
            return Err(inode.damaged("its map of blocks has a table as a block of content"));
        }
        Ok(())
    }

    /// The table that names a block of a file; `None` where there is none, or it is the inode.
    fn map_leaf(&self, inode: &Inode, logical: u64) -> Result<Option<u64>> {
        let root = logical.checked_sub(DIRECT).and_then(|rest| self.map_root(rest));
        let Some((slot, mut rest, mut reach)) = root else { return Ok(None) };
        let mut table = pointer(inode.block_area(), slot).unwrap_or(0);
        while table != 0 {
            reach /= self.map_width();
            if reach <= 1 {
                return Ok(Some(table));
            }
            table = pointer(&self.read(table)?, rest / reach).unwrap_or(0);
            rest %= reach;
        }
        Ok(None)
    }

    /// Frees what a table that describes `reach` blocks names from its block `from` on, and the table where it is empty
    /// then. A table that is in the map twice is free when it is met again, and that is an error.
    fn cut_table(&mut self, inode: &mut Inode, block: u64, from: u64, reach: u64) -> Result<Table> {
        let before = self.read(block)?;
        let mut bytes = before.to_vec();
        let width = self.map_width();
        let below = reach / width;
        if below <= 1 {
            self.cut_entries(inode, &mut bytes, from, width)?;
        } else {
            for place in from / below..width {
                let child = pointer(&bytes, place).unwrap_or(0);
                let from = from.saturating_sub(place * below);
                // Three levels at most: the reach shrinks by each.
                if child != 0 && self.cut_table(inode, child, from, below)? == Table::Freed {
                    put_pointer(&mut bytes, place, 0)?;
                }
            }
        }
        if bytes.iter().all(|byte| *byte == 0) {
            self.free_blocks(block, 1)?;
            self.add_blocks(inode, -1)?;
            return Ok(Table::Freed);
        }
        if *before != bytes {
            self.write(block, bytes)?;
        }
        Ok(Table::Kept)
    }

    /// Frees the blocks that a table of `count` block numbers names from the place `from` on.
    fn cut_entries(&mut self, inode: &mut Inode, table: &mut [u8], from: u64, count: u64) -> Result<()> {
        let mut run = BlockRun { start: 0, len: 0 };
        for place in from..count {
            let block = pointer(table, place).unwrap_or(0);
            if block == 0 {
                continue;
            }
            put_pointer(table, place, 0)?;
            if block == run.start.saturating_add(u64::from(run.len)) {
                run.len = run.len.saturating_add(1);
            } else {
                self.drop_run(inode, run)?;
                run = BlockRun { start: block, len: 1 };
            }
        }
        self.drop_run(inode, run)
    }

    fn drop_run(&mut self, inode: &mut Inode, run: BlockRun) -> Result<()> {
        if run.len == 0 {
            return Ok(());
        }
        self.free_blocks(run.start, u64::from(run.len))?;
        self.add_blocks(inode, -i64::from(run.len))
    }
}
