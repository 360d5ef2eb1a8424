//! Reads a hostile physical volume: every logical volume that is offered can be read, and no two of them share a byte.
//!
//! An input is a text of metadata, sealed here with the checksums that it needs: the fuzzer would not find them.

#![no_main]

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::volume::{Base, Survey, list};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const AREA: usize = 4096;
const AREA_SIZE: usize = 252 << 10;
const SIZE: usize = 2 << 20;

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A physical volume whose metadata is this text.
fn volume(text: &[u8]) -> Vec<u8> {
    let mut volume = vec![0; SIZE];
    volume[512..520].copy_from_slice(b"LABELONE");
    volume[520] = 1;
    volume[532] = 32;
    volume[536..544].copy_from_slice(b"LVM2 001");
    volume[544..576].copy_from_slice(b"aaaaaabbbbccccddddeeeeffffgggggg");
    let lists = [SIZE, 1 << 20, 0, 0, 0, AREA, AREA_SIZE, 0, 0];
    for (place, number) in lists.into_iter().enumerate() {
        volume[576 + place * 8..584 + place * 8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    let sum = checksum(&volume[532..1024]);
    volume[528..532].copy_from_slice(&sum.to_le_bytes());
    let area = &mut volume[AREA..AREA + AREA_SIZE];
    area[4..20].copy_from_slice(b"\x20LVM2\x20x[5A%r0N*>");
    area[20] = 1;
    for (place, number) in [AREA, AREA_SIZE, 512, text.len()].into_iter().enumerate() {
        area[24 + place * 8..32 + place * 8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    area[56..60].copy_from_slice(&checksum(text).to_le_bytes());
    area[512..512 + text.len()].copy_from_slice(text);
    let sum = checksum(&area[4..512]);
    area[..4].copy_from_slice(&sum.to_le_bytes());
    volume
}

fuzz_target!(|text: &[u8]| {
    let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(volume(&text[..text.len().min(AREA_SIZE - 512)])));
    let survey = Survey::new(&disk, list(&disk).expect("a whole disk")).expect("memory can be read");
    let mut total = 0;
    for info in survey.volumes().iter().filter(|info| matches!(info.base, Base::Logical(_))) {
        let device = survey.open(info).expect("it is offered").device;
        assert_eq!(device.size(), info.size);
        total += device.size();
        let mut byte = [0];
        for offset in [0, device.size() / 2, device.size() - 1] {
            device.read_at(&mut byte, offset).expect("it lies on the disk");
        }
        assert!(device.read_at(&mut byte, device.size()).is_err());
    }
    assert!(total <= 1 << 20, "the volumes are larger than what they lie on");
});
