//! The overlay against a plain array of bytes.

use super::crash::Random;
use super::overlay::Overlay;
use crate::block::{BlockDevice, FilePart, MemDevice};
use crate::error::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tempfile::NamedTempFile;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
    bytes
}

fn overlay(base: &[u8]) -> Overlay {
    Overlay::new(Arc::new(MemDevice::new(base.to_vec())))
}

fn read(overlay: &Overlay, offset: usize, len: usize) -> Vec<u8> {
    let mut buf = vec![0x55; len];
    overlay.read_at(&mut buf, offset as u64).unwrap();
    buf
}

/// Random writes, reads and growth; `size` and `longest` decide whether pages spill.
fn compare(seed: u64, base: usize, size: usize, longest: usize, steps: usize) {
    let base = noise(seed, base);
    let overlay = overlay(&base);
    let mut expected = base.clone();
    let mut written = vec![false; size.div_ceil(4096)];
    let mut random = Random(seed ^ 0xabcdef);
    for _ in 0..steps {
        if random.below(8) == 0 {
            let len = (expected.len() + random.below(longest)).min(size);
            overlay.grow(len as u64).unwrap();
            expected.resize(len, 0);
        }
        let offset = random.below(expected.len());
        let len = random.below(longest).min(expected.len() - offset);
        if random.below(2) == 0 {
            let bytes = noise(random.next() | 1, len);
            overlay.write_at(&bytes, offset as u64).unwrap();
            expected[offset..offset + len].copy_from_slice(&bytes);
            if len > 0 {
                written[offset / 4096..=(offset + len - 1) / 4096].fill(true);
            }
        } else {
            assert!(read(&overlay, offset, len) == expected[offset..offset + len]);
        }
    }
    assert_eq!(overlay.size(), expected.len() as u64);
    assert!(read(&overlay, 0, expected.len()) == expected);
    let held = overlay.held();
    assert!(held.windows(2).all(|two| two[0].end < two[1].start), "{held:?}");
    for (page, &written) in written.iter().enumerate() {
        let at = page as u64 * 4096;
        assert_eq!(held.iter().any(|range| range.contains(&at)), written, "page {page}");
    }
    let mut unchanged = vec![0; base.len()];
    overlay.read_base(&mut unchanged, 0).unwrap();
    assert!(unchanged == base);
}

#[test]
fn random_writes_read_back_from_memory() {
    for seed in 1..20 {
        compare(seed, 10_000, 60_000, 9000, 300);
        compare(seed, 4096, 4096, 600, 100);
        compare(seed, 1, 30_000, 5000, 100);
    }
}

#[test]
fn random_writes_read_back_after_a_spill() {
    // Four times the memory limit, in pieces small enough to fragment it and large enough to fill it.
    compare(7, 20 << 20, 40 << 20, 1 << 20, 300);
    compare(8, 30 << 20, 40 << 20, 90_000, 1200);
}

#[test]
fn a_long_sequential_write_is_one_range() {
    let overlay = overlay(&[1; 100]);
    let size = 100_u64 << 20;
    overlay.grow(size).unwrap();
    let chunk = noise(3, 1 << 20);
    for at in (0..size).step_by(chunk.len()) {
        overlay.write_at(&chunk, at).unwrap();
    }
    assert_eq!(overlay.held(), std::slice::from_ref(&(0..size)));
    assert!(read(&overlay, (50 << 20) + 4095, 4096) == chunk[4095..8191]);
}

#[test]
fn ranges_past_the_end_are_invalid_and_nothing_is_held() {
    let overlay = overlay(&[1; 5000]);
    for (offset, len) in [(5000, 1), (4999, 2), (u64::MAX, 1), (0, 5001)] {
        let mut buf = vec![0; len];
        assert_eq!(overlay.write_at(&buf, offset).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(overlay.read_at(&mut buf, offset).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(overlay.held().is_empty());
    overlay.grow(100).unwrap();
    assert_eq!(overlay.size(), 5000, "it never shortens");
    overlay.write_at(&[], 5000).unwrap();
}

#[test]
fn growth_is_zero_even_over_a_page_that_is_held() {
    let overlay = overlay(&[9; 5000]);
    overlay.write_at(&[1], 4999).unwrap();
    overlay.grow(20_000).unwrap();
    let mut expected = vec![9; 4999];
    expected.push(1);
    expected.resize(20_000, 0);
    assert_eq!(read(&overlay, 0, 20_000), expected);
}

#[test]
fn readers_and_writers_share_it() {
    let overlay = &overlay(&vec![0; 1 << 20]);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            scope.spawn(move || {
                let start = usize::from(thread) * (256 << 10);
                for round in 1..30_u8 {
                    let bytes = vec![round; 10_000];
                    overlay.write_at(&bytes, (start + usize::from(round) * 100) as u64).unwrap();
                    assert_eq!(read(overlay, start + usize::from(round) * 100, 10_000), bytes);
                }
            });
        }
    });
}

/// An overlay over zeros, and a host file of noise.
fn lending(len: usize) -> (Overlay, NamedTempFile, Vec<u8>) {
    let (file, bytes) = (NamedTempFile::new().unwrap(), noise(11, len));
    std::fs::write(file.path(), &bytes).unwrap();
    (overlay(&vec![0; 8 << 20]), file, bytes)
}

fn part(file: &NamedTempFile, start: u64, len: usize) -> FilePart {
    FilePart { file: Arc::new(file.reopen().unwrap()), path: file.path().to_path_buf(), start, len: len as u64 }
}

#[test]
fn a_part_of_a_host_file_reads_and_is_written_over_like_any_other_bytes() {
    for seed in 1..6 {
        let (overlay, file, bytes) = lending(5 << 20);
        let mut expected = vec![0; 8 << 20];
        overlay.write_at(&[9; 100], 4096).unwrap();
        expected[4096..4196].fill(9);
        // What is held stays, a part of a page is left over, and few pages are not worth it.
        assert_eq!(overlay.lend(&part(&file, 3, 4 << 20), 0).unwrap(), 0);
        assert_eq!(overlay.lend(&part(&file, 3, 4 << 20), 8193).unwrap(), 0);
        assert_eq!(overlay.lend(&part(&file, 3, 100_000), 8192).unwrap(), 0);
        assert_eq!(overlay.lend(&part(&file, 3, 5 << 20), 6 << 20).unwrap(), 0, "past the end");
        let len = (3 << 20) + 8192;
        assert_eq!(overlay.lend(&part(&file, 3, len + 4095), 8192).unwrap(), len as u64);
        expected[8192..8192 + len].copy_from_slice(&bytes[3..3 + len]);
        assert_eq!(overlay.lend(&part(&file, 9, 1 << 20), 4 << 20).unwrap(), 1 << 20);
        expected[4 << 20..5 << 20].copy_from_slice(&bytes[9..9 + (1 << 20)]);
        assert_eq!(overlay.held(), [4096..8192 + len as u64, 4 << 20..5 << 20]);
        let mut random = Random(seed);
        for _ in 0..100 {
            let (at, len) = (random.below(5 << 20), random.below(2 << 20));
            assert!(read(&overlay, at, len) == expected[at..at + len], "{seed}: {len} from {at}");
            if random.below(10) == 0 {
                let (at, len) = (random.below(5 << 20), random.below(90_000));
                let bytes = noise(random.next() | 1, len);
                overlay.write_at(&bytes, at as u64).unwrap();
                expected[at..at + len].copy_from_slice(&bytes);
            }
        }
        assert!(read(&overlay, 0, 8 << 20) == expected);
    }
}

#[test]
fn a_host_file_that_changes_after_it_was_read_is_an_error() {
    for change in ["a byte", "the end"] {
        let (overlay, file, bytes) = lending(2 << 20);
        overlay.lend(&part(&file, 0, 2 << 20), 0).unwrap();
        assert!(read(&overlay, 100, 50) == bytes[100..150]);
        assert!(read(&overlay, (1 << 20) + 5, 50) == bytes[(1 << 20) + 5..(1 << 20) + 55]);
        match change {
            "a byte" => file.as_file().write_all_at(&[!bytes[70_000]], 70_000).unwrap(),
            _ => file.as_file().set_len(60_000).unwrap(),
        }
        let mut buf = vec![0; 1 << 20];
        assert_eq!(overlay.read_at(&mut buf, 0).unwrap_err().kind(), ErrorKind::Io, "{change}");
        assert_eq!(overlay.write_at(&[1], 0).unwrap_err().kind(), ErrorKind::Io, "{change}");
    }
}
