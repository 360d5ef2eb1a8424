//! Opens a hostile qcow2 image, reads some of all it has, writes a bit and finishes: it may fail, and nothing else.
//!
//! An input is the image's file itself, as `qcow2_seeds.py` makes some; a file of any size may not take memory or time
//! that its size does not explain. What was finished must open again, with nothing below the old end changed but the
//! header's sector.

#![no_main]

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::image::qcow2::Qcow2;
use imgraft_vfs::image::ImageFormat;
use imgraft_vfs::transaction::{CommitPlan, Overlay};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

/// Bytes read in a row from the start and from the end of the disk.
const STRETCH: u64 = 1 << 20;
/// Places of the disk looked at between them.
const PLACES: u64 = 64;

fuzz_target!(|bytes: &[u8]| {
    let before = bytes.to_vec();
    let host = Arc::new(Overlay::new(Arc::new(MemDevice::new(before.clone()))));
    let Ok(disk) = Qcow2::open(Arc::clone(&host)) else { return };
    let size = disk.size();
    let mut buf = vec![0; 70_000];
    let mut read = |at: u64| {
        let len = buf.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
        let _ = disk.read_at(&mut buf[..len], at);
    };
    for start in [0, size.saturating_sub(STRETCH)] {
        (0..STRETCH / 70_000).map(|step| start + step * 70_000).filter(|at| *at < size).for_each(&mut read);
    }
    (0..PLACES).map(|place| size / PLACES * place).filter(|at| *at < size).for_each(&mut read);
    // What to write where is taken from the file's end, which is data as a rule.
    for place in bytes.rchunks_exact(4).take(8) {
        let number = u64::from(u32::from_le_bytes([place[0], place[1], place[2], place[3]]));
        let at = if number % 2 == 0 { number % (4 << 20) } else { number.wrapping_mul(size / 7) };
        let data = vec![place[0] | 1; 1 + number as usize % 5000];
        if at < size && at + (data.len() as u64) <= size && disk.write_at(&data, at).is_err() {
            assert!(disk.finish().is_err(), "a failed write must not be committed");
            return;
        }
    }
    let Ok(plan) = disk.finish() else { return };
    let CommitPlan::Switch { sector: 0, freed } = plan else { panic!("not the plan of a qcow2 image") };
    for range in freed {
        // The header's cluster is never given back, and what is new neither.
        assert!(range.start >= 512 && range.start < range.end && range.start < before.len() as u64, "{range:?}");
    }
    let mut below = vec![0; before.len()];
    host.read_at(&mut below, 0).expect("the overlay is in memory");
    let sector = before.len().min(512);
    assert!(below[sector..] == before[sector..], "the old image was overwritten");
    drop(disk);
    drop(Qcow2::open(host).expect("what was finished can be opened"));
});
