//! The GUID partition table: UEFI specification, chapter 5.
//!
//! Our own reader: `gptman` 3.1 allocates by the header's entry count before any check and asserts on entries that are
//! not 128 bytes long, so a table of a stranger ends the process.

use super::{Base, SECTOR_SIZES, VolumeInfo, layout};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::{array, byte, guid, le32, le64, text16};
use std::num::NonZeroU32;

pub(super) const SIGNATURE: &[u8] = b"EFI PART";
const PRIMARY_LBA: u64 = 1;
/// The fields of a header, revision 1.0; the rest of its sector is reserved.
const HEADER_SIZE: usize = 92;
const ENTRY_SIZE: u32 = 128;
const MAX_ENTRY_SIZE: u32 = 4096;
/// Eight times what every tool makes; with the largest entries the array takes 4 MiB.
const MAX_ENTRIES: u32 = 1024;

/// A table as it was found.
#[derive(Debug)]
pub(super) struct Gpt {
    pub(super) sector_size: u32,
    pub(super) volumes: Vec<VolumeInfo>,
    pub(super) notes: Vec<String>,
}

/// Why a copy of the table cannot be used: a clause.
#[derive(Debug)]
struct Fault(String);

impl Fault {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A header whose checksum is right and whose numbers fit the disk.
#[derive(Debug)]
struct Header {
    alternate_lba: u64,
    first_usable: u64,
    last_usable: u64,
    entries_lba: u64,
    entries_count: u32,
    entry_size: u32,
    entries_crc: u32,
}

/// A disk divided into sectors of one size.
#[derive(Clone, Copy, Debug)]
struct Sectors<'a> {
    disk: &'a dyn BlockDevice,
    size: u32,
}

/// Reads the table of a disk: the primary, or where that is damaged the backup.
///
/// `protected` is the number of sectors that the protective MBR claims: an image that was grown has its backup at the
/// end of those and not of the disk. `Corrupt` where no copy is whole, or the partitions make no sense.
pub(super) fn read(disk: &dyn BlockDevice, protected: u32) -> Result<Gpt> {
    let mut faults = Vec::new();
    let mut backups = Vec::new();
    for size in SECTOR_SIZES {
        let sectors = Sectors { disk, size };
        let Some(last) = sectors.last() else { continue };
        let mut places = vec![last, u64::from(protected)];
        match sectors.header(PRIMARY_LBA)? {
            Ok(header) => match sectors.entries(&header)? {
                Ok(entries) => return primary(sectors, &header, &entries),
                Err(fault) => {
                    faults.push(fault);
                    places.insert(0, header.alternate_lba);
                }
            },
            Err(fault) => faults.push(fault),
        }
        backups.extend(places.into_iter().filter(|lba| (2..=last).contains(lba)).map(|lba| (sectors, lba)));
    }
    let Fault(damage) = most_telling(faults);
    for (sectors, lba) in backups {
        let Ok(header) = sectors.header(lba)? else { continue };
        let Ok(entries) = sectors.entries(&header)? else { continue };
        let notes = vec![format!("the primary GPT is damaged ({damage}); its backup is used")];
        return Ok(Gpt { sector_size: sectors.size, volumes: sectors.volumes(&header, &entries)?, notes });
    }
    Err(Error::corrupt(Layer::Volume, format!("the disk has a protective MBR and no usable GPT: {damage}, and so its backup"))
        .with_hint("the image may have been cut short; gdisk(8) can rebuild a table; --partition whole takes the disk as one filesystem"))
}

/// A table whose primary copy is whole; the backup is looked at for the notes only.
fn primary(sectors: Sectors<'_>, header: &Header, entries: &[u8]) -> Result<Gpt> {
    let volumes = sectors.volumes(header, entries)?;
    let backup: Vec<u64> = sectors.offset(header.alternate_lba).into_iter().collect();
    layout::check_apart(&volumes, &backup, sectors.size, "the backup GPT")?;
    let mut notes = Vec::new();
    if sectors.last().is_some_and(|last| header.alternate_lba < last) {
        notes.push("the disk is larger than its GPT knows".to_owned());
    }
    let backup = match sectors.header(header.alternate_lba)? {
        Ok(backup) => sectors.entries(&backup)?,
        Err(fault) => Err(fault),
    };
    match backup {
        Ok(copy) if copy == entries => {}
        Ok(_) => notes.push("the backup GPT differs from the primary, which is used".to_owned()),
        Err(Fault(reason)) => {
            notes.push(format!("the backup GPT is damaged ({reason}); the primary is used"));
        }
    }
    Ok(Gpt { sector_size: sectors.size, volumes, notes })
}

/// Of what the sector sizes gave, what says more than that there is no header.
fn most_telling(faults: Vec<Fault>) -> Fault {
    let mut faults = faults.into_iter();
    let first = faults.next().unwrap_or_else(|| Fault::new("the disk is too small"));
    if first.0 == NO_HEADER { faults.find(|fault| fault.0 != NO_HEADER).unwrap_or(first) } else { first }
}

const NO_HEADER: &str = "no header";

impl Sectors<'_> {
    /// The number of the last whole sector, where there is room for a table at all.
    fn last(self) -> Option<u64> {
        self.disk.size().checked_div(u64::from(self.size))?.checked_sub(1).filter(|last| *last > PRIMARY_LBA)
    }

    fn offset(self, lba: u64) -> Option<u64> {
        lba.checked_mul(u64::from(self.size))
    }

    /// The header in a sector. An `Err` outside is the image's, one inside the header's.
    fn header(self, lba: u64) -> Result<Result<Header, Fault>> {
        let (Some(last), Some(offset)) = (self.last(), self.offset(lba)) else {
            return Ok(Err(Fault::new("it lies past the end of the disk")));
        };
        if lba > last {
            return Ok(Err(Fault::new("it lies past the end of the disk")));
        }
        let mut sector = vec![0; self.size.try_into().unwrap_or(0)];
        self.disk.read_at(&mut sector, offset)?;
        Ok(parse_header(&sector, lba, last))
    }

    /// The entry array of a header, its checksum right.
    fn entries(self, header: &Header) -> Result<Result<Vec<u8>, Fault>> {
        let past = "its entries lie past the end of the disk";
        let Some(offset) = self.offset(header.entries_lba) else { return Ok(Err(Fault::new(past))) };
        let length = u64::from(header.entries_count).saturating_mul(u64::from(header.entry_size));
        let Some(end) = offset.checked_add(length).filter(|end| *end <= self.disk.size()) else {
            return Ok(Err(Fault::new(past)));
        };
        let usable_start = self.offset(header.first_usable).unwrap_or(u64::MAX);
        let usable_end = self.offset(header.last_usable.saturating_add(1)).unwrap_or(u64::MAX);
        if offset < usable_end && end > usable_start {
            return Ok(Err(Fault::new("its entries lie where partitions may lie")));
        }
        let Ok(length) = usize::try_from(length) else { return Ok(Err(Fault::new(past))) };
        let mut entries = vec![0; length];
        self.disk.read_at(&mut entries, offset)?;
        if crc32fast::hash(&entries) != header.entries_crc {
            return Ok(Err(Fault::new("the checksum of its entries is wrong")));
        }
        Ok(Ok(entries))
    }

    /// The partitions of an entry array: `Corrupt` where one is out of range or two overlap.
    fn volumes(self, header: &Header, entries: &[u8]) -> Result<Vec<VolumeInfo>> {
        let entry_size = usize::try_from(header.entry_size).unwrap_or(usize::MAX);
        let mut volumes = Vec::new();
        for (number, entry) in (1..).zip(entries.chunks_exact(entry_size)) {
            let part_type = guid(array(entry, 0).unwrap_or_default());
            if part_type.is_empty() {
                continue;
            }
            let first = le64(entry, 32).unwrap_or(0);
            let last = le64(entry, 40).unwrap_or(0);
            let extent = (header.first_usable <= first && first <= last && last <= header.last_usable)
                .then(|| self.extent(first, last))
                .flatten();
            let Some((start, size)) = extent else {
                return Err(Error::corrupt(
                    Layer::Volume,
                    format!(
                        "partition {number} takes the sectors {first} to {last}, outside the {} to {} that the GPT has for partitions",
                        header.first_usable, header.last_usable
                    ),
                ));
            };
            volumes.push(VolumeInfo {
                index: NonZeroU32::new(number),
                base: Base::Disk,
                start,
                size,
                part_type,
                part_label: text16(entry.get(56..128).unwrap_or_default()),
                part_uuid: guid(array(entry, 16).unwrap_or_default()),
                attributes: le64(entry, 48).unwrap_or(0),
                signature: None,
                facts: Vec::new(),
                problem: None,
            });
        }
        layout::check_inside(&volumes, self.disk.size())?;
        layout::check_disjoint(&volumes)?;
        Ok(volumes)
    }

    /// The start and size in bytes of the sectors `first` to `last`.
    fn extent(self, first: u64, last: u64) -> Option<(u64, u64)> {
        let start = self.offset(first)?;
        Some((start, self.offset(last.checked_add(1)?)?.checked_sub(start)?))
    }
}

fn parse_header(sector: &[u8], lba: u64, last: u64) -> Result<Header, Fault> {
    if !sector.starts_with(SIGNATURE) {
        return Err(Fault::new(NO_HEADER));
    }
    let short = || Fault::new("the header is cut short");
    let size = le32(sector, 12).and_then(|size| usize::try_from(size).ok()).ok_or_else(short)?;
    let header = match sector.get(..size) {
        Some(header) if size >= HEADER_SIZE => header,
        _ => return Err(Fault::new(format!("its header claims {size} bytes"))),
    };
    // The checksum is of the header with its own field zeroed.
    let mut crc = crc32fast::Hasher::new();
    crc.update(header.get(..16).ok_or_else(short)?);
    crc.update(&[0; 4]);
    crc.update(header.get(20..).ok_or_else(short)?);
    if le32(header, 16) != Some(crc.finalize()) {
        return Err(Fault::new("the checksum of its header is wrong"));
    }
    if byte(header, 10) != Some(1) {
        return Err(Fault::new("its revision is not 1"));
    }
    if le64(header, 24) != Some(lba) {
        return Err(Fault::new("its header belongs to another sector"));
    }
    let parsed = Header {
        alternate_lba: le64(header, 32).ok_or_else(short)?,
        first_usable: le64(header, 40).ok_or_else(short)?,
        last_usable: le64(header, 48).ok_or_else(short)?,
        entries_lba: le64(header, 72).ok_or_else(short)?,
        entries_count: le32(header, 80).ok_or_else(short)?,
        entry_size: le32(header, 84).ok_or_else(short)?,
        entries_crc: le32(header, 88).ok_or_else(short)?,
    };
    if parsed.last_usable > last {
        return Err(Fault::new(format!(
            "it has partitions up to sector {} and the disk ends at {last}",
            parsed.last_usable
        )));
    }
    if parsed.first_usable > parsed.last_usable || (parsed.first_usable..=parsed.last_usable).contains(&lba) {
        return Err(Fault::new("its range for partitions makes no sense"));
    }
    if parsed.first_usable <= PRIMARY_LBA || parsed.entries_lba <= PRIMARY_LBA {
        return Err(Fault::new("it would lie over the MBR"));
    }
    let size = parsed.entry_size;
    if !(ENTRY_SIZE..=MAX_ENTRY_SIZE).contains(&size) || !size.is_power_of_two() {
        return Err(Fault::new(format!("its entries are {size} bytes long")));
    }
    if parsed.entries_count > MAX_ENTRIES {
        return Err(Fault::new(format!("it has {} entries, more than {MAX_ENTRIES}", parsed.entries_count)));
    }
    Ok(parsed)
}
