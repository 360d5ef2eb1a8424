//! Reads a hostile LUKS header and tries a passphrase on it: it ends in a refusal, or in a volume that can be read.
//!
//! The first byte of an input says what it is: a LUKS1 header as it stands, or the JSON of a LUKS2 header, sealed here.

#![no_main]

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::volume::{Base, Key, Keys, Survey, list};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const COPY: usize = 0x4000;
const SIZE: usize = 1 << 20;

fn volume(input: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = input.split_first()?;
    let mut volume = vec![0; SIZE];
    if kind % 2 == 0 {
        let rest = &rest[..rest.len().min(592)];
        volume[..rest.len()].copy_from_slice(rest);
        volume[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
        // Rounds within reason: that many are allowed, and they take their time.
        for place in [164, 212, 260, 308, 356, 404, 452, 500, 548] {
            volume[place..place + 3].fill(0);
        }
        return Some(volume);
    }
    let rest = &rest[..rest.len().min(COPY - 4096)];
    volume[..6].copy_from_slice(b"LUKS\xba\xbe");
    volume[7] = 2;
    volume[8..16].copy_from_slice(&(COPY as u64).to_be_bytes());
    volume[72..78].copy_from_slice(b"sha256");
    volume[4096..4096 + rest.len()].copy_from_slice(rest);
    let sum = Sha256::digest(&volume[..COPY]);
    volume[448..480].copy_from_slice(&sum);
    Some(volume)
}

/// Whether the work that a JSON asks for is small; more is allowed, and takes its time.
fn is_quick(input: &[u8]) -> bool {
    let mut digits = 0;
    input.iter().all(|byte| {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        digits < 6
    })
}

fuzz_target!(|input: &[u8]| {
    let Some(volume) = volume(input) else { return };
    let keys = match input.first() {
        Some(kind) if kind % 2 == 1 && !is_quick(input) => Keys::default(),
        _ => Keys::new(vec![Key::new(None, b"x".to_vec().into())]),
    };
    let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(volume));
    let mut survey = Survey::new(&disk, list(&disk).expect("a whole disk")).expect("memory can be read");
    survey.unlock(&keys).expect("memory can be read");
    for info in survey.volumes().iter().filter(|info| matches!(info.base, Base::Unlocked(_))) {
        let device = survey.open(info).expect("it was opened").device;
        let mut byte = [0];
        for offset in [0, device.size() / 2, device.size() - 1] {
            device.read_at(&mut byte, offset).expect("it lies on the disk");
        }
    }
});
