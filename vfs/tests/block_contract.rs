//! What every block device owes to its users: one list of cases, run over every implementation.
//!
//! An implementation takes part by one line at the end and a function that gives a device holding given bytes.

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::{BlockDevice, MemDevice, SliceDevice};
use std::sync::Arc;

/// Not a round number of clusters, and a whole number of sectors.
const SIZE: usize = (1 << 20) + 3 * 512;

/// A device (a maker gives `None` where a tool that it needs is missing), and a check that its maker wants afterwards: that what is not the device's was left alone.
struct Made {
    device: Arc<dyn BlockDevice>,
    untouched: Box<dyn Fn()>,
}

/// Every case as a test of its own over an implementation.
macro_rules! contract {
    ($name:ident: $make:expr) => {
        contract! { $name: $make;
            reads_are_exact, reads_outside_are_refused, writes_outside_are_refused, writes_are_read, neighbours_stay,
            nothing_is_something, flushing_keeps, any_sequence, shared_between_threads
        }
    };
    ($name:ident: $make:expr; $($case:ident),*) => {
        mod $name {
            $(#[test] fn $case() {
                let bytes = super::noise(super::SIZE, 1);
                let Some(made) = $make(&bytes) else { return };
                super::$case(&*made.device, bytes);
                (made.untouched)();
            })*
        }
    };
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    std::iter::repeat_with(|| random.below(256) as u8).take(len).collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }
}

fn read(device: &dyn BlockDevice, offset: usize, len: usize) -> Vec<u8> {
    let mut buf = vec![0x5a; len];
    device.read_at(&mut buf, offset as u64).unwrap();
    buf
}

fn check(device: &dyn BlockDevice, expected: &[u8]) {
    let found = read(device, 0, expected.len());
    let wrong = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(wrong, None, "the first byte that is not as expected");
}

fn reads_are_exact(device: &dyn BlockDevice, bytes: Vec<u8>) {
    assert_eq!(device.size(), SIZE as u64);
    check(device, &bytes);
    for offset in [0, 1, 511, 512, 513, 65_535, 65_536, 65_537, SIZE - 1] {
        for len in [1, 2, 511, 512, 513, 4096, 65_536, 200_000] {
            let len = len.min(SIZE - offset);
            assert!(read(device, offset, len) == bytes[offset..offset + len], "{len} bytes at {offset}");
        }
    }
}

/// Ranges that do not lie in the device: offset and length.
fn outside() -> impl Iterator<Item = (u64, usize)> {
    let size = SIZE as u64;
    [
        (size, 1),
        (size - 1, 2),
        (0, SIZE + 1),
        (size + 1, 1),
        (size + 1, 0),
        (u64::MAX, 0),
        (u64::MAX, 1),
        (u64::MAX - 1, 512),
    ]
    .into_iter()
}

fn reads_outside_are_refused(device: &dyn BlockDevice, _bytes: Vec<u8>) {
    for (offset, len) in outside() {
        let error = device.read_at(&mut vec![0; len], offset).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{len} bytes at {offset}");
    }
}

fn writes_outside_are_refused(device: &dyn BlockDevice, bytes: Vec<u8>) {
    for (offset, len) in outside() {
        let error = device.write_at(&vec![0; len], offset).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{len} bytes at {offset}");
    }
    assert_eq!(device.size(), SIZE as u64);
    check(device, &bytes);
}

fn writes_are_read(device: &dyn BlockDevice, mut bytes: Vec<u8>) {
    for (round, (offset, len)) in
        [(0, 1), (SIZE - 1, 1), (65_530, 12), (4096, 4096), (300, 200_000)].into_iter().enumerate()
    {
        let data = noise(len, round as u64);
        device.write_at(&data, offset as u64).unwrap();
        bytes[offset..offset + len].copy_from_slice(&data);
        assert!(read(device, offset, len) == data);
        check(device, &bytes);
    }
    device.write_at(&vec![0; SIZE], 0).unwrap();
    check(device, &vec![0; SIZE]);
}

fn neighbours_stay(device: &dyn BlockDevice, mut bytes: Vec<u8>) {
    for offset in [1, 511, 512, 65_535, 65_536, 131_071, SIZE - 2] {
        bytes[offset] = !bytes[offset];
        device.write_at(&bytes[offset..offset + 1], offset as u64).unwrap();
        check(device, &bytes);
    }
}

fn nothing_is_something(device: &dyn BlockDevice, bytes: Vec<u8>) {
    for offset in [0, 1, 512, SIZE as u64] {
        device.read_at(&mut [], offset).unwrap();
        device.write_at(&[], offset).unwrap();
    }
    check(device, &bytes);
}

fn flushing_keeps(device: &dyn BlockDevice, mut bytes: Vec<u8>) {
    device.flush().unwrap();
    bytes[70_000..70_003].copy_from_slice(b"abc");
    device.write_at(b"abc", 70_000).unwrap();
    device.flush().unwrap();
    device.flush().unwrap();
    check(device, &bytes);
}

fn any_sequence(device: &dyn BlockDevice, mut bytes: Vec<u8>) {
    let mut random = Random(7);
    for round in 0..600 {
        let reach = [16, 600, 5000, 150_000][random.below(4)];
        let len = 1 + random.below(reach);
        let offset = random.below(SIZE - len + 1);
        match random.below(5) {
            0 | 1 => {
                let data = noise(len, round);
                device.write_at(&data, offset as u64).unwrap();
                bytes[offset..offset + len].copy_from_slice(&data);
            }
            2 if round % 16 == 0 => device.flush().unwrap(),
            _ => assert!(read(device, offset, len) == bytes[offset..offset + len], "round {round}: {len} at {offset}"),
        }
    }
    check(device, &bytes);
}

fn shared_between_threads(device: &dyn BlockDevice, mut bytes: Vec<u8>) {
    // Stripes that share sectors and clusters, so that a write that reads its surroundings first must not lose any.
    const STRIPE: usize = 300;
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            scope.spawn(move || {
                for stripe in (thread..400).step_by(4) {
                    device.write_at(&[stripe as u8; STRIPE], (stripe * STRIPE) as u64).unwrap();
                    assert_eq!(read(device, stripe * STRIPE, STRIPE), [stripe as u8; STRIPE]);
                }
            });
        }
    });
    for stripe in 0..400 {
        bytes[stripe * STRIPE..(stripe + 1) * STRIPE].fill(stripe as u8);
    }
    check(device, &bytes);
}

fn mem(bytes: &[u8]) -> Option<Made> {
    Some(Made { device: Arc::new(MemDevice::new(bytes.to_vec())), untouched: Box::new(|| ()) })
}

fn slice(bytes: &[u8]) -> Option<Made> {
    const BEFORE: usize = 1000;
    let all = [&noise(BEFORE, 2), bytes, &noise(777, 3)].concat();
    let parent: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(all.clone()));
    let device = Arc::new(SliceDevice::new(Arc::clone(&parent), BEFORE as u64, bytes.len() as u64).unwrap());
    let untouched = move || {
        let now = read(&*parent, 0, all.len());
        assert!(now[..BEFORE] == all[..BEFORE], "what lies before the slice");
        assert!(now[BEFORE + SIZE..] == all[BEFORE + SIZE..], "what lies after it");
    };
    Some(Made { device, untouched: Box::new(untouched) })
}

contract! { mem: crate::mem }
contract! { slice: crate::slice }

#[test]
fn a_slice_lies_inside_its_parent() {
    let parent: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(vec![0; 4096]));
    for (start, size, fits) in [
        (0, 4096, true),
        (4096, 0, true),
        (1, 4096, false),
        (4097, 0, false),
        (u64::MAX, 2, false),
        (2, u64::MAX, false),
    ] {
        let made = SliceDevice::new(Arc::clone(&parent), start, size);
        match made {
            Ok(slice) => assert!(fits && slice.size() == size, "{size} at {start}"),
            Err(error) => assert!(!fits && error.kind() == ErrorKind::Invalid, "{size} at {start}"),
        }
    }
}
