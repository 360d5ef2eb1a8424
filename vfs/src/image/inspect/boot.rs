//! The boot record of a disk with a partition table (UEFI specification, section 5.2).

use super::field::{has, little, piece};
use super::mark::SECTOR;
use super::{Finding, Mark};
use crate::block::BlockDevice;
use crate::error::Result;

const PROTECTIVE: u64 = 0xee;

/// An entry of the table: boot flag, first cylinder, head and sector, type, first sector, length.
struct Entry {
    flag: u64,
    start: u64,
    kind: u64,
    first: u64,
    sectors: u64,
}

impl Entry {
    fn is_used(&self) -> bool {
        self.kind != 0 || self.sectors != 0
    }
}

fn entries(sector: &[u8]) -> Option<[Entry; 4]> {
    if !has(sector, 510, b"\x55\xaa") {
        return None;
    }
    Some([446_usize, 462, 478, 494].map(|at| {
        let field = |within: usize, len| little(sector, at.saturating_add(within), len);
        Entry { flag: field(0, 1), start: field(1, 3), kind: field(4, 1), first: field(8, 4), sectors: field(12, 4) }
    }))
}

/// The table that a disk with this first sector has. A filesystem's own boot sector, which ends as a table does, has
/// code or text in the place of the entries.
pub(super) fn table(sector: &[u8]) -> Option<Mark> {
    let entries = entries(sector)?;
    // Two file allocation tables on a fixed disk.
    let is_fat = little(sector, 16, 1) == 2 && little(sector, 21, 1) == 0xf8;
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        return Some(Mark::Gpt);
    }
    let can_be = entries.iter().all(|entry| matches!(entry.flag, 0 | 0x80)) && entries.iter().any(Entry::is_used);
    (can_be && !is_fat).then_some(Mark::Mbr)
}

/// What is odd about a partition table: what one program reads as partitions, another may not.
pub(super) fn findings(host: &dyn BlockDevice) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let Some(entries) = entries(&piece(host, 0, SECTOR)?) else { return Ok(found) };
    let mut say = |text: &str| found.push(Finding::new("mbr", text));
    if entries.iter().any(|entry| !matches!(entry.flag, 0 | 0x80)) {
        say("a boot flag in the MBR is neither 0x00 nor 0x80");
    }
    if let Some(protective) = entries.iter().find(|entry| entry.kind == PROTECTIVE) {
        let used = entries.iter().filter(|entry| entry.is_used()).count();
        if used > 1 || entries.first().is_none_or(|first| first.kind != PROTECTIVE) {
            say("the MBR has partitions beside the one that protects the GPT");
        }
        // Cylinder 0, head 0, sector 2.
        if protective.start != 0x0000_0200 || protective.first != 1 {
            say("the partition that protects the GPT does not begin at sector 1");
        }
    }
    Ok(found)
}
