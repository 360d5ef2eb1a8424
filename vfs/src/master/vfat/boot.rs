//! The boot sector and what goes with it (Microsoft's FAT specification 1.03, "Boot Sector and BPB").

use super::geometry::{Geometry, SECTOR, TABLES};
use crate::fs::fat::layout::Kind;

/// Who made the filesystem.
const MAKER: &[u8; 8] = b"imgraft ";
/// A fixed disk.
pub(super) const MEDIA: u8 = 0xf8;
/// The sectors of FAT32's second boot sector and of its counters.
pub(super) const BACKUP: u64 = 6;
const COUNTERS: u16 = 1;
/// FAT32: the first cluster of the root directory.
pub(super) const ROOT_CLUSTER: u32 = 2;
/// What a program that starts this finds: stop, and stop again after an interrupt.
const STOP: [u8; 3] = [0xf4, 0xeb, 0xfd];

/// The boot sector.
pub(super) fn boot_sector(geometry: &Geometry, label: &[u8; 11], serial: u32) -> Vec<u8> {
    let mut sector = Vec::with_capacity(512);
    let extended_at = if geometry.kind == Kind::Fat32 { 64 } else { 36 };
    let code_at = extended_at + 26;
    // A jump over the fields.
    sector.extend([0xeb, code_at as u8 - 2, 0x90]);
    sector.extend(MAKER);
    sector.extend((SECTOR as u16).to_le_bytes());
    sector.push(geometry.per_cluster);
    sector.extend(geometry.reserved.to_le_bytes());
    sector.push(TABLES as u8);
    sector.extend(geometry.root_entries.to_le_bytes());
    let small = u16::try_from(geometry.sectors).ok().filter(|_| geometry.kind != Kind::Fat32);
    sector.extend(small.unwrap_or(0).to_le_bytes());
    sector.push(MEDIA);
    let table = if geometry.kind == Kind::Fat32 { 0 } else { geometry.table as u16 };
    sector.extend(table.to_le_bytes());
    // Sectors of a track, heads, hidden sectors: nobody reads them any more.
    sector.extend(32_u16.to_le_bytes());
    sector.extend(8_u16.to_le_bytes());
    sector.extend(0_u32.to_le_bytes());
    sector.extend(if small.is_some() { 0 } else { geometry.sectors }.to_le_bytes());
    if geometry.kind == Kind::Fat32 {
        sector.extend(geometry.table.to_le_bytes());
        sector.extend([0; 4]);
        sector.extend(ROOT_CLUSTER.to_le_bytes());
        sector.extend(COUNTERS.to_le_bytes());
        sector.extend((BACKUP as u16).to_le_bytes());
        sector.extend([0; 12]);
    }
    // The drive's number; 29: serial number, label and name follow.
    sector.extend([0x80, 0, 0x29]);
    sector.extend(serial.to_le_bytes());
    sector.extend(label);
    sector.extend(match geometry.kind {
        Kind::Fat12 => b"FAT12   ",
        Kind::Fat16 => b"FAT16   ",
        Kind::Fat32 => b"FAT32   ",
    });
    sector.extend(STOP);
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

/// FAT32's sector of counters (FSInfo).
pub(super) fn counters(free: u32, next: u32) -> Vec<u8> {
    let mut sector = b"RRaA".to_vec();
    sector.resize(484, 0);
    sector.extend(b"rrAa");
    sector.extend(free.to_le_bytes());
    sector.extend(next.to_le_bytes());
    sector.resize(508, 0);
    sector.extend([0, 0, 0x55, 0xaa]);
    sector
}
