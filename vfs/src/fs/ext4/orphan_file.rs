//! The orphan file: blocks with the numbers of files that are to be deleted or cut (`orphan_file`).
//!
//! Source: kernel Documentation/filesystems/ext4/orphan.rst.

use super::checksum::crc32c;
use super::extent::Segment;
use super::inode::Inode;
use super::le;
use super::orphan::bad_orphan;
use super::store::Store;
use crate::error::Result;
use crate::fs::FileType;
use std::collections::BTreeSet;

/// The largest orphan file, in bytes, as the kernel has it.
const SIZE_MAX: u64 = 8 << 20;
/// The length of what is at the end of each block: a mark and a checksum.
const TAIL: usize = 8;
const MAGIC: u32 = 0x0b10_ca04;

impl Store {
    /// Finishes what the orphan file lists, and empties it; gives how many files there were.
    pub(super) fn finish_orphan_file(&mut self, number: u32) -> Result<u32> {
        let (inode, blocks) = self.open_orphan_file(number)?;
        let mut seen = BTreeSet::new();
        for logical in 0..blocks {
            let Segment::Blocks { start, .. } = self.segment(&inode, logical)? else {
                return Err(inode.damaged("the orphan file has a hole"));
            };
            let mut bytes = self.read(start)?.to_vec();
            let mut found = Vec::new();
            for field in self.orphan_entries(&inode, start, &bytes)?.chunks_exact(4) {
                found.extend(le::u32_at(field, 0).filter(|number| *number != 0));
            }
            for number in &found {
                if !seen.insert(*number) {
                    return Err(bad_orphan(*number, "is listed twice"));
                }
                let orphan = self.orphan(*number)?;
                self.finish_orphan(orphan)?;
            }
            if !found.is_empty() {
                let entries = bytes.len().saturating_sub(TAIL);
                bytes.get_mut(..entries).unwrap_or_default().fill(0);
                if let Some(sum) = self.orphan_sum(&inode, start, bytes.get(..entries).unwrap_or_default()) {
                    let stored = le::put(&mut bytes, entries + 4, &sum.to_le_bytes());
                    stored.ok_or_else(|| inode.damaged("its blocks are too short"))?;
                }
                self.write(start, bytes)?;
            }
        }
        Ok(u32::try_from(seen.len()).unwrap_or(u32::MAX))
    }

    /// What the orphan file lists.
    pub(super) fn filed_orphans(&self, number: u32) -> Result<Vec<u32>> {
        let (inode, blocks) = self.open_orphan_file(number)?;
        let mut found = Vec::new();
        for logical in 0..blocks {
            let Segment::Blocks { start, .. } = self.segment(&inode, logical)? else {
                return Err(inode.damaged("the orphan file has a hole"));
            };
            let bytes = self.read(start)?;
            for field in self.orphan_entries(&inode, start, &bytes)?.chunks_exact(4) {
                found.extend(le::u32_at(field, 0).filter(|number| *number != 0));
            }
        }
        Ok(found)
    }

    /// The inode of the orphan file, and how many blocks it has.
    fn open_orphan_file(&self, number: u32) -> Result<(Inode, u64)> {
        let inode = self.inode(number)?;
        let block_size = u64::from(self.superblock.block_size);
        if inode.links() == 0
            || inode.file_type()? != FileType::Regular
            || inode.size() > SIZE_MAX
            || !inode.size().is_multiple_of(block_size)
        {
            return Err(inode.damaged("it is no orphan file"));
        }
        let blocks = inode.size() / block_size;
        Ok((inode, blocks))
    }

    /// The numbers in a block of the orphan file, checked.
    fn orphan_entries<'a>(&self, inode: &Inode, block: u64, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let (entries, tail) = bytes.split_at_checked(bytes.len().saturating_sub(TAIL)).unwrap_or_default();
        if le::u32_at(tail, 0) != Some(MAGIC) {
            return Err(inode.damaged("a block of the orphan file is none"));
        }
        match self.orphan_sum(inode, block, entries) {
            Some(sum) if le::u32_at(tail, 4) != Some(sum) => {
                Err(inode.damaged("the checksum of a block of the orphan file is wrong"))
            }
            _ => Ok(entries),
        }
    }

    fn orphan_sum(&self, inode: &Inode, block: u64, entries: &[u8]) -> Option<u32> {
        let seed = inode.seed(self.superblock.seed?);
        Some(crc32c(crc32c(seed, &block.to_le_bytes()), entries))
    }
}
