//! The MBR partition table with its chain of logical partitions, numbered as the kernel does.
//!
//! Layout: UEFI specification, section 5.2.1; the chain of extended boot records (EBR) as fdisk(8) writes it and the
//! kernel's `block/partitions/msdos.c` reads it. Our own reader: `mbrman` 0.6 adds the chain's sector numbers in 32 bits
//! unchecked and follows it without a bound, so a table of a stranger panics or reads for hours.

use super::{Base, VolumeInfo, layout};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::{array, byte, le32};
use std::num::NonZeroU32;

const SECTOR: usize = 512;
const FIRST_ENTRY: usize = 446;
const FIRST_LOGICAL: u32 = 5;
/// How many extended boot records are followed; the kernel follows 100.
const MAX_CHAIN: usize = 128;
const PROTECTIVE: u8 = 0xee;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

/// One of the four entries of a boot record; sectors count from the disk's start or from a boot record, as the kind says.
#[derive(Clone, Copy, Debug)]
struct Entry {
    flag: u8,
    kind: u8,
    start: u32,
    sectors: u32,
}

impl Entry {
    fn parse(raw: [u8; 16]) -> Self {
        Self {
            flag: byte(&raw, 0).unwrap_or(0),
            kind: byte(&raw, 4).unwrap_or(0),
            start: le32(&raw, 8).unwrap_or(0),
            sectors: le32(&raw, 12).unwrap_or(0),
        }
    }

    fn is_used(&self) -> bool {
        self.sectors != 0
    }

    fn is_extended(&self) -> bool {
        self.is_used() && EXTENDED.contains(&self.kind)
    }
}

/// A sector that ends with 55 AA, as the first of an MBR disk and of a FAT filesystem both do.
#[derive(Clone, Debug)]
pub(super) struct BootRecord {
    disk_id: u32,
    entries: [Entry; 4],
}

/// The partitions of a table, and what is odd about it.
#[derive(Debug)]
pub(super) struct Partitions {
    pub(super) volumes: Vec<VolumeInfo>,
    pub(super) notes: Vec<String>,
}

impl BootRecord {
    /// Reads the record at `offset`; `None` where the disk ends before or the sector does not end with 55 AA.
    pub(super) fn read(disk: &dyn BlockDevice, offset: u64) -> Result<Option<Self>> {
        let mut sector = [0; SECTOR];
        if offset.checked_add(512).is_none_or(|end| end > disk.size()) {
            return Ok(None);
        }
        disk.read_at(&mut sector, offset)?;
        Ok(Self::parse(&sector))
    }

    fn parse(sector: &[u8; SECTOR]) -> Option<Self> {
        if !sector.ends_with(&[0x55, 0xaa]) {
            return None;
        }
        let [first, second, third, fourth] =
            [0, 16, 32, 48].map(|at: usize| array(sector, FIRST_ENTRY.checked_add(at)?));
        Some(Self { disk_id: le32(sector, 440)?, entries: [first?, second?, third?, fourth?].map(Entry::parse) })
    }

    /// How many sectors the protective entry of a GPT disk claims; `None` where there is no such entry.
    pub(super) fn protected_sectors(&self) -> Option<u32> {
        self.entries.iter().find(|entry| entry.kind == PROTECTIVE).map(|entry| entry.sectors)
    }

    /// Whether there are other partitions beside the protective one of a GPT disk.
    pub(super) fn is_hybrid(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_used() && entry.kind != PROTECTIVE)
    }

    /// Whether the entries can be a table at all: boot code or a filesystem's data there has other flags.
    pub(super) fn is_table(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.flag, 0x00 | 0x80))
    }

    /// Whether no entry is in use.
    pub(super) fn is_empty(&self) -> bool {
        !self.entries.iter().any(Entry::is_used)
    }

    /// The partitions, all inside the disk and beside each other; `Corrupt` otherwise.
    pub(super) fn partitions(&self, disk: &dyn BlockDevice, sector_size: u32) -> Result<Partitions> {
        let mut volumes = Vec::new();
        let mut containers = Vec::new();
        let mut notes = Vec::new();
        for (number, entry) in (1..).zip(&self.entries) {
            if !entry.is_used() {
                continue;
            }
            if entry.start == 0 {
                return Err(Error::corrupt(
                    Layer::Volume,
                    format!("partition {number} starts at sector 0, over the partition table"),
                ));
            }
            let volume = self.volume(number, entry, 0, sector_size);
            if entry.is_extended() { containers.push(volume) } else { volumes.push(volume) }
        }
        let mut all: Vec<VolumeInfo> = volumes.iter().chain(&containers).cloned().collect();
        all.sort_by_key(|volume| volume.index);
        layout::check_inside(&all, disk.size())?;
        layout::check_disjoint(&all)?;

        let mut next = FIRST_LOGICAL;
        let mut records = Vec::new();
        for container in &containers {
            let mut chain = Chain { record: self, disk, sector_size, container, next, seen: Vec::new() };
            volumes.append(&mut chain.logical(&mut notes)?);
            next = chain.next;
            records.append(&mut chain.seen);
        }
        layout::check_disjoint(&volumes)?;
        layout::check_apart(&volumes, &records, sector_size, "the boot record of a logical partition")?;
        Ok(Partitions { volumes, notes })
    }

    /// The partition of an entry whose sectors count from `base` (bytes). 32 bits of sectors of at most 4096 bytes, so
    /// no sum here reaches 2^46 beyond `base`, itself inside the disk.
    fn volume(&self, number: u32, entry: &Entry, base: u64, sector_size: u32) -> VolumeInfo {
        let part_uuid = if self.disk_id == 0 { String::new() } else { format!("{:08x}-{number:02x}", self.disk_id) };
        VolumeInfo {
            index: NonZeroU32::new(number),
            base: Base::Disk,
            start: base.saturating_add(bytes(entry.start, sector_size)),
            size: bytes(entry.sectors, sector_size),
            part_type: format!("{:02x}", entry.kind),
            part_label: String::new(),
            part_uuid,
            attributes: 0,
            signature: None,
            facts: Vec::new(),
            problem: None,
        }
    }
}

/// The chain of extended boot records in an extended partition.
struct Chain<'a> {
    record: &'a BootRecord,
    disk: &'a dyn BlockDevice,
    sector_size: u32,
    container: &'a VolumeInfo,
    /// The number of the next logical partition.
    next: u32,
    /// Where its records lie.
    seen: Vec<u64>,
}

impl Chain<'_> {
    /// Follows the chain: each record has a partition counted from itself and a link counted from the container.
    fn logical(&mut self, notes: &mut Vec<String>) -> Result<Vec<VolumeInfo>> {
        let mut volumes = Vec::new();
        let mut at = self.container.start;
        // What the link to the record says of its size.
        let mut claimed = self.container.size;
        let mut misfits = 0_u32;
        loop {
            if self.seen.contains(&at) {
                return Err(self.corrupt("runs in a circle", at));
            }
            if self.seen.len() >= MAX_CHAIN {
                return Err(self.corrupt(&format!("is longer than {MAX_CHAIN}"), at));
            }
            let Some(record) = BootRecord::read(self.disk, at)? else {
                if self.seen.is_empty() {
                    // Some tools leave an empty extended partition unwritten; the kernel takes it as empty too.
                    notes.push(format!("extended partition {} has no boot record", self.number()));
                    return Ok(volumes);
                }
                return Err(self.corrupt("leads to a sector that is no boot record", at));
            };
            self.seen.push(at);
            for (slot, entry) in record.entries.iter().enumerate() {
                if !entry.is_used() || entry.is_extended() {
                    continue;
                }
                let volume = self.record.volume(self.next, entry, at, self.sector_size);
                // "Random garbage" is in the third and the fourth at times, says the kernel, and passes it over like this.
                let end = bytes(entry.start, self.sector_size).saturating_add(volume.size);
                if slot >= 2 && (end > claimed || volume.end() > self.container.end()) {
                    misfits = misfits.saturating_add(1);
                    continue;
                }
                if entry.start == 0 || volume.end() > self.container.end() {
                    return Err(Error::corrupt(
                        Layer::Volume,
                        format!("partition {} lies outside the extended partition {}", self.next, self.number()),
                    )
                    .with_offset(volume.start));
                }
                volumes.push(volume);
                self.next = self.next.saturating_add(1);
            }
            let Some(link) = record.entries.iter().find(|entry| entry.is_extended()) else { break };
            claimed = bytes(link.sectors, self.sector_size);
            at = self.container.start.saturating_add(bytes(link.start, self.sector_size));
            if at >= self.container.end() {
                return Err(self.corrupt("leaves it", at));
            }
        }
        if misfits > 0 {
            notes.push(format!(
                "in boot records of the extended partition {} third or fourth entries do not fit ({misfits}), and are passed \
                 over as the kernel does",
                self.number()
            ));
        }
        Ok(volumes)
    }

    fn number(&self) -> u32 {
        self.container.index.map_or(0, NonZeroU32::get)
    }

    fn corrupt(&self, what: &str, offset: u64) -> Error {
        Error::corrupt(
            Layer::Volume,
            format!("the chain of logical partitions in extended partition {} {what}", self.number()),
        )
        .with_offset(offset)
    }
}

fn bytes(sectors: u32, sector_size: u32) -> u64 {
    u64::from(sectors).saturating_mul(u64::from(sector_size))
}
