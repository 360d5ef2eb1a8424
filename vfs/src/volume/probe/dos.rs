//! What begins with a DOS boot sector: FAT, exFAT, NTFS, BitLocker.

use super::{Source, signature};
use crate::error::Result;
use crate::field::{array, byte, has, le16, le32, le64, text, text16};
use crate::volume::Signature;

const DIR_ENTRY: usize = 32;
/// How much of a root directory is searched for the label: a hostile one may be chained through the whole disk.
const DIR_PIECE: usize = 4096;
const MAX_DIR_PIECES: u32 = 256;

/// BitLocker, which replaces NTFS's name in the boot sector.
pub(super) fn bitlocker(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(0, 512, |boot| {
        if !has(boot, 3, b"-FVE-FS-") {
            return None;
        }
        signature("BitLocker", String::new(), String::new())
    })
}

/// NTFS: the serial number; the label is in a file and not read.
pub(super) fn ntfs(source: &Source<'_>) -> Result<Option<Signature>> {
    source.parse(0, 512, |boot| {
        if !has(boot, 3, b"NTFS    ") {
            return None;
        }
        signature("ntfs", String::new(), format!("{:016X}", le64(boot, 72)?))
    })
}

/// exFAT (Microsoft's specification, sections 3 and 7.3): the label is an entry of the root directory.
pub(super) fn exfat(source: &Source<'_>) -> Result<Option<Signature>> {
    let Some(boot) = source.bytes(0, 512)? else { return Ok(None) };
    if !has(&boot, 3, b"EXFAT   ") {
        return Ok(None);
    }
    let directory = exfat_root(&boot);
    let mut label = String::new();
    if let Some(entries) = directory.map(|at| source.bytes(at, DIR_PIECE)).transpose()?.flatten() {
        for entry in entries.chunks_exact(DIR_ENTRY) {
            match entry {
                [0, ..] => break,
                [0x83, length, name @ ..] => {
                    let bytes = usize::from(*length).min(11).saturating_mul(2);
                    label = text16(name.get(..bytes).unwrap_or_default());
                    break;
                }
                _ => {}
            }
        }
    }
    Ok(signature("exfat", label, serial(le32(&boot, 100))))
}

/// The byte at which the root directory starts.
fn exfat_root(boot: &[u8]) -> Option<u64> {
    let heap = u64::from(le32(boot, 88)?);
    let cluster = u64::from(le32(boot, 96)?).checked_sub(2)?;
    let sector_shift = u32::from(byte(boot, 108).filter(|shift| (9..=12).contains(shift))?);
    let cluster_shift = u32::from(byte(boot, 109).filter(|shift| *shift <= 25)?);
    let sectors = cluster.checked_mul(1_u64.checked_shl(cluster_shift)?)?.checked_add(heap)?;
    sectors.checked_mul(1_u64.checked_shl(sector_shift)?)
}

/// FAT12, FAT16 and FAT32 (Microsoft's FAT specification 1.03): the label in the root directory, and the serial number.
pub(super) fn fat(source: &Source<'_>) -> Result<Option<Signature>> {
    let Some(boot) = source.bytes(0, 512)? else { return Ok(None) };
    let Some(fat) = Fat::parse(&boot) else { return Ok(None) };
    Ok(signature("vfat", fat.label(source)?.unwrap_or_default(), serial(fat.serial)))
}

fn serial(number: Option<u32>) -> String {
    match number {
        Some(number) if number != 0 => format!("{:04X}-{:04X}", number >> 16, number & 0xffff),
        _ => String::new(),
    }
}

/// Where the parts of a FAT filesystem lie, in bytes.
#[derive(Debug)]
struct Fat {
    table: u64,
    /// Where the fixed root directory of FAT12 and FAT16, or the first cluster of FAT32, starts.
    data: u64,
    root: Root,
    serial: Option<u32>,
}

#[derive(Debug)]
enum Root {
    Fixed { bytes: u64 },
    Chained { first: u64, cluster_size: u64, clusters: u64 },
}

impl Fat {
    /// Understands a boot sector; every field is checked, as an old FAT has little else that tells it from data.
    fn parse(boot: &[u8]) -> Option<Self> {
        let is_named = [&b"FAT12   "[..], b"FAT16   ", b"FAT     ", b"MSDOS"].iter().any(|name| has(boot, 0x36, name))
            || [&b"FAT32   "[..], b"MSWIN"].iter().any(|name| has(boot, 0x52, name));
        if !is_named && (!has(boot, 510, &[0x55, 0xaa]) || !matches!(byte(boot, 0)?, 0xeb | 0xe9)) {
            return None;
        }
        let sector = u64::from(le16(boot, 11).filter(|size| size.is_power_of_two() && (512..=4096).contains(size))?);
        let per_cluster = u64::from(byte(boot, 13).filter(|sectors| sectors.is_power_of_two())?);
        let reserved = u64::from(le16(boot, 14).filter(|sectors| *sectors != 0)?);
        let copies = u64::from(byte(boot, 16).filter(|copies| *copies != 0)?);
        byte(boot, 21).filter(|media| *media == 0xf0 || *media >= 0xf8)?;
        let root_entries = u64::from(le16(boot, 17)?);
        let sectors = match le16(boot, 19)? {
            0 => u64::from(le32(boot, 32)?),
            sectors => u64::from(sectors),
        };
        let short_table = u64::from(le16(boot, 22)?);
        let table_sectors = if short_table == 0 { u64::from(le32(boot, 36)?) } else { short_table };

        let data = reserved.checked_add(copies.checked_mul(table_sectors)?)?;
        let root_bytes = root_entries.checked_mul(32)?;
        let root_sectors = root_bytes.div_ceil(sector);
        let clusters = sectors.checked_sub(data.checked_add(root_sectors)?)?.checked_div(per_cluster)?;
        let (limit, root, extended) = if short_table == 0 {
            let first = u64::from(le32(boot, 44)?);
            let cluster_size = per_cluster.checked_mul(sector)?;
            (0x0fff_fff6, Root::Chained { first, cluster_size, clusters }, 66)
        } else {
            (0xfff4, Root::Fixed { bytes: root_bytes }, 38)
        };
        if clusters > limit || table_sectors == 0 {
            return None;
        }
        let serial = match byte(boot, extended)? {
            0x28 | 0x29 => le32(boot, extended.checked_add(1)?),
            _ => None,
        };
        Some(Self { table: reserved.checked_mul(sector)?, data: data.checked_mul(sector)?, root, serial })
    }

    /// The name of the volume entry in the root directory; the copy in the boot sector is often stale.
    fn label(&self, source: &Source<'_>) -> Result<Option<String>> {
        let mut search = Search { source, pieces: MAX_DIR_PIECES };
        match self.root {
            Root::Fixed { bytes } => Ok(match search.directory(self.data, bytes)? {
                Outcome::Found(label) => Some(label),
                Outcome::End | Outcome::GoOn => None,
            }),
            Root::Chained { first, cluster_size, clusters } => {
                let mut cluster = first;
                // Every round takes a piece, so a chain that runs in a circle ends with them.
                while let Some(place) = cluster.checked_sub(2).filter(|place| *place < clusters) {
                    let at = place.checked_mul(cluster_size).and_then(|at| at.checked_add(self.data));
                    let Some(at) = at else { break };
                    match search.directory(at, cluster_size)? {
                        Outcome::Found(label) => return Ok(Some(label)),
                        Outcome::End => break,
                        Outcome::GoOn => {}
                    }
                    let Some(next) = cluster.checked_mul(4).and_then(|at| at.checked_add(self.table)) else { break };
                    let Some(next) = source.bytes(next, 4)?.and_then(|bytes| le32(&bytes, 0)) else { break };
                    cluster = u64::from(next & 0x0fff_ffff);
                }
                Ok(None)
            }
        }
    }
}

/// What a part of a root directory says of the label.
enum Outcome {
    Found(String),
    End,
    GoOn,
}

/// The search for the volume entry, and how many pieces of directory it may still read.
struct Search<'a> {
    source: &'a Source<'a>,
    pieces: u32,
}

impl Search<'_> {
    /// Looks through `length` bytes of directory from `start`.
    fn directory(&mut self, start: u64, length: u64) -> Result<Outcome> {
        let mut done = 0_u64;
        while done < length {
            let Some(pieces) = self.pieces.checked_sub(1) else { return Ok(Outcome::End) };
            self.pieces = pieces;
            let left = length.saturating_sub(done);
            let piece = usize::try_from(left).unwrap_or(DIR_PIECE).min(DIR_PIECE);
            let Some(at) = start.checked_add(done) else { return Ok(Outcome::End) };
            let Some(entries) = self.source.bytes(at, piece)? else { return Ok(Outcome::End) };
            match volume_entry(&entries) {
                Outcome::GoOn => {}
                outcome => return Ok(outcome),
            }
            done = done.saturating_add(u64::try_from(piece).unwrap_or(left));
        }
        Ok(Outcome::GoOn)
    }
}

fn volume_entry(entries: &[u8]) -> Outcome {
    for entry in entries.chunks_exact(DIR_ENTRY) {
        let (Some(name), Some(attributes)) = (array::<11>(entry, 0), byte(entry, 11)) else { continue };
        let has_cluster = (le16(entry, 20), le16(entry, 26)) != (Some(0), Some(0));
        match name {
            [0, ..] => return Outcome::End,
            [0xe5, ..] => {}
            // The volume bit without the directory bit; all four low bits mean a piece of a long name.
            _ if attributes & 0x3f == 0x0f || attributes & 0x18 != 0x08 || has_cluster => {}
            // E5 marks a deleted entry, so a name that begins with it is stored with 05.
            [0x05, rest @ ..] => {
                let mut name = vec![0xe5];
                name.extend(rest);
                return Outcome::Found(text(&name));
            }
            name => return Outcome::Found(text(&name)),
        }
    }
    Outcome::GoOn
}
