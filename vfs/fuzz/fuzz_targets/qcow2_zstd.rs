//! A hostile zstd cluster: it may fail, and what it gives is what ruzstd makes of the same bytes.
//!
//! An input is what lies in the image for a cluster of 16 KiB, as `zstd_seeds.py` makes some.

#![no_main]

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::image::qcow2::Qcow2;
use imgraft_vfs::transaction::Overlay;
use libfuzzer_sys::fuzz_target;
use ruzstd::decoding::StreamingDecoder;
use std::io::Read;
use std::sync::Arc;

const CLUSTER: usize = 16 << 10;
/// Where the compressed bytes lie: behind the header, the refcount table and block, the L1 and the L2 table.
const DATA: usize = 5 * CLUSTER;

/// An image of one cluster, with the compressed bytes still to come.
fn image(data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; DATA + 2 * CLUSTER];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    let at = |cluster: usize| ((cluster * CLUSTER) as u64).to_be_bytes();
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &14u32.to_be_bytes());
    put(24, &(CLUSTER as u64).to_be_bytes());
    put(36, &1u32.to_be_bytes());
    put(40, &at(3));
    put(48, &at(1));
    put(56, &1u32.to_be_bytes());
    // Another compression method, and which.
    put(72, &8u64.to_be_bytes());
    put(96, &4u32.to_be_bytes());
    put(100, &112u32.to_be_bytes());
    put(104, &[1]);
    put(CLUSTER, &at(2));
    put(3 * CLUSTER, &((4 * CLUSTER) as u64 | 1 << 63).to_be_bytes());
    // All of its 64 sectors.
    put(4 * CLUSTER, &(1u64 << 62 | 63 << 56 | DATA as u64).to_be_bytes());
    for cluster in 0..7 {
        put(2 * CLUSTER + 2 * cluster, &1u16.to_be_bytes());
    }
    put(DATA, data);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(2 * CLUSTER)];
    let host = Arc::new(Overlay::new(Arc::new(MemDevice::new(image(data)))));
    let disk = Qcow2::open(host).expect("the image around it is sound");
    let mut ours = vec![0; CLUSTER];
    if disk.read_at(&mut ours, 0).is_err() {
        return;
    }
    // It reads one frame, which may be a part of the cluster.
    let mut theirs = Vec::new();
    let decoder = StreamingDecoder::new(data).ok();
    if decoder.and_then(|decoder| decoder.take(CLUSTER as u64).read_to_end(&mut theirs).ok()).is_some() {
        assert!(ours[..theirs.len()] == theirs[..], "another content than ruzstd's");
    }
});
