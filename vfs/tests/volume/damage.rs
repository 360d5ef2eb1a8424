//! Damaged disks: whatever stands there, an answer comes soon, and no panic.

use crate::crafted::{Gpt, SECTOR, listed, mbr};
use imgraft_vfs::error::ErrorKind;

/// A generator that gives the same numbers everywhere (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Lists a disk and checks what a caller relies on.
fn check(disk: &[u8]) {
    match listed(disk) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}"),
        Ok(table) => {
            let mut end = 0;
            let mut volumes = table.volumes;
            volumes.sort_by_key(|volume| volume.start);
            for volume in volumes {
                assert!(volume.start >= end && volume.size > 0);
                end = volume.start + volume.size;
                assert!(end <= disk.len() as u64);
            }
        }
    }
}

#[test]
fn flipped_bits_in_a_gpt() {
    let mut disk = Gpt::new().partition(1, 100, 200).partition(2, 300, 4000).seal();
    let last = disk.len();
    for at in (440..SECTOR + 96).chain(2 * SECTOR..2 * SECTOR + 256).chain(last - SECTOR..last - SECTOR + 96) {
        for bit in 0..8 {
            disk[at] ^= 1 << bit;
            check(&disk);
            disk[at] ^= 1 << bit;
        }
    }
}

#[test]
fn changed_bytes_in_an_mbr() {
    let good = mbr(&[
        (0, 0, 0x83, 10, 20),
        (0, 1, 0x05, 100, 1000),
        (100, 0, 0x83, 1, 50),
        (100, 1, 0x05, 200, 100),
        (300, 0, 0x83, 1, 50),
    ]);
    let mut numbers = Numbers(0x5eed);
    for _ in 0..1000 {
        let mut disk = good.clone();
        for _ in 0..=numbers.below(3) {
            let record = [0, 100, 300][numbers.below(3)] * SECTOR;
            disk[record + 446 + numbers.below(66)] =
                [0, 1, 5, 0x7f, 0x83, 0xee, 0xff, numbers.next() as u8][numbers.below(8)];
        }
        check(&disk);
    }
}

/// Sealed anew after the change, so that the checksums do not stop it.
#[test]
fn gpt_entries_of_noise() {
    let mut numbers = Numbers(7);
    for _ in 0..300 {
        let mut gpt = Gpt::new();
        for number in 1..=1 + numbers.below(20) {
            let (first, length) = (numbers.next() % 4200, numbers.next() % 300);
            gpt = gpt.partition(number, first, first + length);
        }
        check(&gpt.seal());
    }
}

const MAGICS: [(usize, &[u8]); 16] = [
    (0, b"LUKS\xba\xbe\0\x02"),
    (512, b"LABELONE\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xffLVM2 001"),
    (0, b"XFSB\0\0\x10\0"),
    (1024 + 0x38, b"\x53\xef"),
    (0x10040, b"_BHRfS_M"),
    (1024, b"\x10\x20\xf5\xf2"),
    (1024, b"\xe2\xe1\xf5\xe0"),
    (4086, b"SWAPSPACE2"),
    (0x8000, b"\x01CD001"),
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (0x36, b"FAT16   "),
    (0x52, b"FAT32   "),
    (510, b"\x55\xaa"),
    (0, b"hsqs"),
    (0, b"\xfc\x4e\x2b\xa9\x01\0\0\0"),
];

#[test]
fn noise_behind_every_magic() {
    let mut numbers = Numbers(99);
    for _ in 0..12 {
        for (at, magic) in MAGICS {
            let mut disk: Vec<u8> = (0..0x22000 / 8).flat_map(|_| numbers.next().to_le_bytes()).collect();
            disk[at..at + magic.len()].copy_from_slice(magic);
            // The checks before the magic's own fields are passed now and then.
            if numbers.below(2) == 0 {
                disk[11..24].copy_from_slice(&[0, 2, 1, 1, 0, 2, 0, 2, 0, 0, 0xf8, 0, 0]);
                disk[446..510].fill(0);
            }
            disk.truncate(0x22000 - numbers.below(0x21fff));
            check(&disk);
        }
    }
}

/// A FAT32 whose root directory is one endless chain of full clusters.
#[test]
fn a_root_directory_without_an_end() {
    let mut disk = vec![0x20; 8 << 20];
    disk[..512].fill(0);
    disk[..24].copy_from_slice(b"\xeb\x58\x90mkfs.fat\0\x02\x80\x20\0\x02\0\0\0\0\xf8\0\0");
    disk[32..36].copy_from_slice(&16384_u32.to_le_bytes());
    disk[36..40].copy_from_slice(&64_u32.to_le_bytes());
    disk[44..48].copy_from_slice(&2_u32.to_le_bytes());
    disk[0x52..0x5a].copy_from_slice(b"FAT32   ");
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    // The entry of cluster 2 leads to cluster 2.
    disk[0x20 * 512 + 8..0x20 * 512 + 12].copy_from_slice(&2_u32.to_le_bytes());
    let table = listed(&disk).unwrap();
    let signature = table.volumes[0].signature.clone().unwrap();
    assert_eq!((signature.name, signature.label.as_str()), ("vfat", ""));
}
