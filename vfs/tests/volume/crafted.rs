//! Tables that no tool makes: their checksums are right, their contents are not.

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::error::ErrorKind;
use imgraft_vfs::volume::{Scheme, Table, VolumeInfo, list};
use std::sync::Arc;

pub const SECTOR: usize = 512;
const SECTORS: usize = 4096;

pub fn listed(disk: &[u8]) -> imgraft_vfs::Result<Table> {
    let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(disk.to_vec()));
    list(&disk)
}

fn refused(disk: &[u8]) -> String {
    let error = listed(disk).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    error.to_string()
}

/// A GPT of 512-byte sectors that a test bends before it is sealed.
pub struct Gpt {
    pub disk: Vec<u8>,
    count: u32,
    entry_size: u32,
    first_usable: u64,
    last_usable: u64,
    entries_lba: u64,
    alternate: u64,
}

impl Gpt {
    pub fn new() -> Self {
        let mut disk = vec![0; SECTORS * SECTOR];
        disk[450] = 0xee;
        disk[454] = 1;
        disk[458..462].copy_from_slice(&(SECTORS as u32 - 1).to_le_bytes());
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        let last = SECTORS as u64 - 1;
        Self {
            disk,
            count: 128,
            entry_size: 128,
            first_usable: 34,
            last_usable: last - 33,
            entries_lba: 2,
            alternate: last,
        }
    }

    pub fn partition(mut self, number: usize, first: u64, last: u64) -> Self {
        let at = 2 * SECTOR + (number - 1) * self.entry_size as usize;
        self.disk[at..at + 16].fill(0x83);
        self.disk[at + 16..at + 32].fill(number as u8);
        self.disk[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
        self.disk[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
        self
    }

    /// Writes the primary header and, where `count * entry_size` is honest, the backup.
    pub fn seal(mut self) -> Vec<u8> {
        let last = SECTORS as u64 - 1;
        let length = (self.count as usize).saturating_mul(self.entry_size as usize);
        let entries = self.disk.get(2 * SECTOR..).and_then(|tail| tail.get(..length)).unwrap_or_default().to_vec();
        self.header(1, self.alternate, self.entries_lba, &entries);
        if entries.len() == 32 * SECTOR {
            let at = (last as usize - 32) * SECTOR;
            self.disk[at..at + entries.len()].copy_from_slice(&entries);
            self.header(last, 1, last - 32, &entries);
        }
        self.disk
    }

    fn header(&mut self, lba: u64, alternate: u64, entries_lba: u64, entries: &[u8]) {
        let mut header = Vec::from(*b"EFI PART\0\0\x01\0\x5c\0\0\0\0\0\0\0\0\0\0\0");
        for field in [lba, alternate, self.first_usable, self.last_usable, 0xd15c, 0xd15c, entries_lba] {
            header.extend(field.to_le_bytes());
        }
        for field in [self.count, self.entry_size, crc32fast::hash(entries)] {
            header.extend(field.to_le_bytes());
        }
        let crc = crc32fast::hash(&header).to_le_bytes();
        header[16..20].copy_from_slice(&crc);
        let at = lba as usize * SECTOR;
        self.disk[at..at + header.len()].copy_from_slice(&header);
    }
}

#[test]
fn an_honest_gpt_is_read() {
    let table = listed(&Gpt::new().partition(1, 34, 99).partition(7, 100, 4062).seal()).unwrap();
    assert_eq!((table.scheme, table.notes.len()), (Scheme::Gpt, 0));
    let found: Vec<_> = table.volumes.iter().map(|volume| (volume.to_string(), volume.start, volume.size)).collect();
    assert_eq!(found, [("partition 1".into(), 34 * 512, 66 * 512), ("partition 7".into(), 100 * 512, 3963 * 512)]);
}

#[test]
fn gpt_partitions_that_overlap_are_refused_by_number() {
    let disk = Gpt::new().partition(3, 100, 200).partition(1, 200, 300).partition(2, 400, 500).seal();
    assert_eq!(refused(&disk), "partitions 1 and 3 overlap (at byte 102400)");
    // Swallowed whole, with another after it.
    let disk = Gpt::new().partition(1, 100, 3000).partition(2, 200, 300).partition(3, 3001, 3002).seal();
    assert!(refused(&disk).starts_with("partitions 1 and 2 overlap"));
}

#[test]
fn gpt_partitions_out_of_range_are_refused_by_number() {
    for (first, last) in
        [(0, 99), (1, 40), (4000, 4095), (200, 100), (100, u64::MAX), (u64::MAX, u64::MAX), (1 << 60, 1 << 61)]
    {
        let message = refused(&Gpt::new().partition(2, first, last).seal());
        assert!(message.starts_with(&format!("partition 2 takes the sectors {first} to {last}, outside")), "{message}");
    }
}

#[test]
fn a_gpt_partition_over_the_backup_is_refused() {
    for last_usable in [4094, 4095] {
        let mut gpt = Gpt::new().partition(2, 4000, last_usable);
        gpt.last_usable = last_usable;
        let disk = gpt.seal();
        match last_usable {
            4095 => assert!(refused(&disk).starts_with("partition 2 lies over the backup GPT")),
            // The header is beside it, and has to be of use for itself.
            _ => assert!(listed(&disk).unwrap().notes[0].starts_with("the backup GPT is damaged")),
        }
    }
}

type Bend = fn(&mut Gpt);

#[test]
fn gpt_headers_that_lie_are_refused() {
    let bent: [(&str, Bend); 12] = [
        ("entries, more than 1024", |gpt| gpt.count = u32::MAX),
        ("entries, more than 1024", |gpt| gpt.count = 1025),
        ("entries are 4294967295 bytes", |gpt| gpt.entry_size = u32::MAX),
        ("entries are 0 bytes", |gpt| gpt.entry_size = 0),
        ("entries are 8192 bytes", |gpt| gpt.entry_size = 8192),
        ("entries are 192 bytes", |gpt| gpt.entry_size = 192),
        ("past the end of the disk", |gpt| gpt.entries_lba = u64::MAX),
        ("past the end of the disk", |gpt| gpt.entries_lba = 4090),
        ("where partitions may lie", |gpt| gpt.entries_lba = 30),
        ("over the MBR", |gpt| gpt.entries_lba = 0),
        ("up to sector 18446744073709551615", |gpt| gpt.last_usable = u64::MAX),
        ("makes no sense", |gpt| gpt.first_usable = 4090),
    ];
    for (reason, bend) in bent {
        let mut gpt = Gpt::new().partition(1, 100, 200);
        bend(&mut gpt);
        let mut disk = gpt.seal();
        let last = disk.len() - SECTOR;
        disk[last..].fill(0);
        let message = refused(&disk);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn gpt_entries_may_be_large() {
    let mut gpt = Gpt::new();
    (gpt.entry_size, gpt.count, gpt.first_usable) = (4096, 4, 64);
    let disk = gpt.partition(3, 100, 200).seal();
    let table = listed(&disk).unwrap();
    assert_eq!(table.volumes.len(), 1);
    assert_eq!(table.volumes[0].index.unwrap().get(), 3);
}

#[test]
fn a_gpt_that_is_cut_short_says_so() {
    let mut disk = Gpt::new().partition(1, 100, 200).seal();
    disk.truncate(2048 * SECTOR);
    let message = refused(&disk);
    assert!(message.contains("partitions up to sector 4062 and the disk ends at 2047"), "{message}");
}

#[test]
fn a_damaged_backup_is_only_noted() {
    let mut disk = Gpt::new().partition(1, 100, 200).seal();
    let last = disk.len() - SECTOR;
    disk[last + 60] ^= 1;
    assert_eq!(
        listed(&disk).unwrap().notes,
        ["the backup GPT is damaged (the checksum of its header is wrong); the primary is used"]
    );
    let mut gpt = Gpt::new().partition(1, 100, 200);
    gpt.alternate = u64::MAX;
    assert_eq!(listed(&gpt.seal()).unwrap().notes.len(), 1);
}

#[test]
fn a_gpt_without_its_mbr_is_ignored() {
    let mut disk = Gpt::new().partition(1, 100, 200).seal();
    disk[..SECTOR].fill(0);
    let table = listed(&disk).unwrap();
    assert_eq!((table.scheme, table.notes.len()), (Scheme::Whole, 1));
}

#[test]
fn a_hybrid_mbr_is_noted() {
    let mut disk = Gpt::new().partition(1, 100, 200).seal();
    disk[466] = 0x83;
    disk[474] = 9;
    let table = listed(&disk).unwrap();
    assert_eq!((table.scheme, table.notes.len()), (Scheme::Gpt, 1));
}

/// A disk whose sectors have the entries `(sector, slot, kind, start, sectors)`.
pub fn mbr(entries: &[(usize, usize, u8, u32, u32)]) -> Vec<u8> {
    let mut disk = vec![0; SECTORS * SECTOR];
    for &(sector, slot, kind, start, sectors) in entries {
        let base = sector * SECTOR;
        let at = base + 446 + slot * 16;
        disk[at + 4] = kind;
        disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        disk[base + 510..base + 512].copy_from_slice(&[0x55, 0xaa]);
    }
    disk
}

#[test]
fn mbr_partitions_that_cannot_be_are_refused_by_number() {
    for (entries, message) in [
        (&[(0, 0, 0x83, 100, 200), (0, 2, 0x83, 299, 10)][..], "partitions 1 and 3 overlap"),
        (&[(0, 0, 0x83, 100, 200), (0, 1, 0x05, 150, 10)], "partitions 1 and 2 overlap"),
        (&[(0, 3, 0x83, 4000, 97)], "partition 4 ends at byte 2097664, past the end of the disk of 2097152 bytes"),
        (&[(0, 0, 0x83, u32::MAX, u32::MAX)], "partition 1 ends at byte"),
        (&[(0, 1, 0x83, 0, 9)], "partition 2 starts at sector 0"),
        (&[(0, 0, 0x05, 4000, 200)], "partition 1 ends at byte"),
        (&[(0, 1, 0x05, 100, 100), (100, 0, 0x83, 1, 100)], "partition 5 lies outside the extended partition 2"),
        (&[(0, 1, 0x05, 100, 100), (100, 0, 0x83, 0, 9)], "partition 5 lies outside the extended partition 2"),
        (
            &[(0, 0, 0x05, 100, 100), (100, 0, 0x83, 1, 50), (100, 1, 0x05, 20, 9), (120, 0, 0x83, 1, 9)],
            "partitions 5 and 6 overlap",
        ),
        (
            &[(0, 0, 0x05, 100, 100), (100, 0, 0x83, 1, 50), (100, 1, 0x05, 20, 9), (120, 0, 0x83, 40, 9)],
            "partition 5 lies over the boot record of a logical partition",
        ),
    ] {
        let found = refused(&mbr(entries));
        assert!(found.starts_with(message), "{found}");
    }
}

#[test]
fn third_and_fourth_entries_that_do_not_fit_are_passed_over() {
    let garbage = [(100, 2, 0x20, 0x6572_6f6d, 0x746f_6f62), (100, 3, 0x83, 90, 11), (150, 2, 0x83, 1, 50)];
    let mut entries =
        vec![(0, 0, 0x05, 100, 100), (100, 0, 0x83, 1, 30), (100, 1, 0x05, 50, 40), (150, 0, 0x83, 1, 30)];
    let found = |entries: &[_]| {
        let table = listed(&mbr(entries)).unwrap();
        let places = |volume: &VolumeInfo| (volume.index.unwrap().get(), volume.start / 512, volume.size / 512);
        (table.volumes.iter().map(places).collect::<Vec<_>>(), table.notes)
    };
    let (sound, notes) = found(&entries);
    assert_eq!((sound.as_slice(), notes.len()), (&[(5, 101, 30), (6, 151, 30)][..], 0));
    entries.extend(garbage);
    let (volumes, notes) = found(&entries);
    assert_eq!(volumes, sound);
    assert!(notes.len() == 1 && notes[0].contains("do not fit (3), and are passed over"), "{notes:?}");
    // One that fits is a partition, as OS/2 makes them.
    entries[5] = (100, 3, 0x83, 40, 5);
    let (volumes, _) = found(&entries);
    assert_eq!(volumes, [(5, 101, 30), (6, 140, 5), (7, 151, 30)]);
    // What does not fit in the first two is no garbage.
    assert!(refused(&mbr(&[(0, 0, 0x05, 100, 100), (100, 1, 0x83, 1, 100)])).starts_with("partition 5 lies outside"));
}

#[test]
fn chains_that_do_not_end_are_refused() {
    let chain = "the chain of logical partitions in extended partition 1";
    for (entries, what) in [
        (&[(0, 0, 0x0f, 100, 1000), (100, 1, 0x05, 0, 100)][..], "runs in a circle"),
        (&[(0, 0, 0x0f, 100, 1000), (100, 1, 0x05, 50, 100), (150, 1, 0x85, 0, 100)], "runs in a circle"),
        (&[(0, 0, 0x0f, 100, 1000), (100, 1, 0x05, 1000, 100)], "leaves it"),
        (&[(0, 0, 0x0f, 100, 1000), (100, 1, 0x05, u32::MAX, 1)], "leaves it"),
        (&[(0, 0, 0x0f, 100, 1000), (100, 1, 0x05, 50, 100)], "leads to a sector that is no boot record"),
    ] {
        let found = refused(&mbr(entries));
        assert!(found.starts_with(&format!("{chain} {what}")), "{found}");
    }
    let mut long = vec![(0, 0, 0x0f, 100, 3000)];
    long.extend((0..200).map(|link| (100 + link * 2, 1, 0x05, (link as u32 + 1) * 2, 2)));
    assert!(refused(&mbr(&long)).starts_with(&format!("{chain} is longer than 128")));
}

#[test]
fn an_unwritten_extended_partition_is_empty() {
    let table = listed(&mbr(&[(0, 0, 0x83, 10, 20), (0, 1, 0x05, 100, 1000)])).unwrap();
    assert_eq!((table.volumes.len(), table.notes.len()), (1, 1));
}

#[test]
fn boot_code_is_no_table() {
    let mut disk = mbr(&[(0, 0, 0x83, 10, 20)]);
    disk[446] = 0x17;
    let table = listed(&disk).unwrap();
    assert_eq!((table.scheme, table.volumes.len()), (Scheme::Whole, 1));
}

#[test]
fn a_table_over_an_old_filesystem_is_used_and_one_that_cannot_be_is_refused() {
    let mut disk = mbr(&[(0, 0, 0x83, 10, 20)]);
    disk[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
    let table = listed(&disk).unwrap();
    assert_eq!((table.scheme, table.notes.len()), (Scheme::Mbr, 1));
    let mut disk = mbr(&[(0, 0, 0x83, 10, 20), (0, 1, 0x83, 10, 20)]);
    disk[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
    assert_eq!(refused(&disk), "partitions 1 and 2 overlap (at byte 5120)");
}

#[test]
fn tiny_disks_hold_nothing() {
    for size in [0, 1, 511, 512, 513, 1023, 4095, 4096, 4097] {
        let table = listed(&vec![0; size]).unwrap();
        assert_eq!((table.scheme, table.volumes.len()), (Scheme::Whole, 1));
        let mut disk = vec![0; size];
        if size >= 512 {
            disk[510..512].copy_from_slice(&[0x55, 0xaa]);
            assert_eq!(listed(&disk).unwrap().scheme, Scheme::Mbr);
            disk[450] = 0xee;
            refused(&disk);
        }
    }
}
