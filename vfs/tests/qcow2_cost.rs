//! What opening an image and the first read cost: tables are read as they are needed, whatever the image holds.

mod qemu;

use imgraft_vfs::image::{self, Format, ImageFormat};
use imgraft_vfs::transaction::{Access, IoCounts, Transaction};
use qemu::text;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn open(txn: &Transaction) -> Arc<dyn ImageFormat> {
    image::open(txn.overlay(), Some(Format::Qcow2)).unwrap()
}

/// Opens the image, reads 4 KiB from byte `at`, and says what that took.
fn first_read(path: &Path, at: u64) -> (Vec<u8>, IoCounts) {
    let txn = qemu::begin(path, Access::Read);
    let mut seen = vec![0; 4096];
    open(&txn).read_at(&mut seen, at).unwrap();
    (seen, txn.counts())
}

/// A header's cluster, two tables, a refcount block, an L2 table and the data.
#[track_caller]
fn is_cheap(counts: IoCounts, cluster: u64, tables: u64) {
    assert!(counts.reads <= 12, "{counts:?}");
    assert!(counts.bytes_read <= 4 * cluster + tables + 8192, "{counts:?}");
}

#[test]
fn a_disk_of_two_tebibytes() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", text(&path), "2T"]);
    qemu::io(&path, &["write -P 7 1900G 64k".to_owned()]);
    let (seen, counts) = first_read(&path, (1900 << 30) + 4096);
    assert!(seen.iter().all(|byte| *byte == 7));
    is_cheap(counts, 65536, 32768);
}

/// Every cluster has its place: 40 L2 tables and a refcount block, of which one each is read.
#[test]
fn a_disk_with_all_tables() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", text(&path), "20G"]);
    qemu::io(&path, &["write -P 9 19G 64k".to_owned()]);
    let (seen, counts) = first_read(&path, 19 << 30);
    assert!(seen.iter().all(|byte| *byte == 9));
    is_cheap(counts, 65536, 4096);
}

const CLUSTER: usize = 4096;
const SNAPSHOTS: usize = 1000;

/// An image of 2 MiB with a thousand snapshots that share one L2 table and one cluster of data, as QEMU would make it, but
/// that it takes minutes for them.
fn many_snapshots() -> Vec<u8> {
    let table = 4;
    let mut entries = Vec::new();
    let l1s = table + 16;
    for number in 1..=SNAPSHOTS {
        let (id, name) = (number.to_string(), format!("s{number}"));
        entries.extend(((l1s + number) as u64 * CLUSTER as u64).to_be_bytes());
        entries.extend(1u32.to_be_bytes());
        entries.extend((id.len() as u16).to_be_bytes());
        entries.extend((name.len() as u16).to_be_bytes());
        // Dates and the machine's state are zero; the extra data has the size of that state and of the disk.
        entries.extend([0; 20]);
        entries.extend(16u32.to_be_bytes());
        entries.extend(0u64.to_be_bytes());
        entries.extend((2u64 << 20).to_be_bytes());
        entries.extend(id.bytes().chain(name.bytes()));
        entries.resize(entries.len().next_multiple_of(8), 0);
    }
    assert!(entries.len() <= 16 * CLUSTER);
    let [l2, data] = [l1s + SNAPSHOTS + 1, l1s + SNAPSHOTS + 2];
    let mut bytes = vec![0; (data + 1) * CLUSTER];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &12u32.to_be_bytes());
    put(24, &(2u64 << 20).to_be_bytes());
    put(36, &1u32.to_be_bytes());
    put(40, &(3 * CLUSTER as u64).to_be_bytes());
    put(48, &(CLUSTER as u64).to_be_bytes());
    put(56, &1u32.to_be_bytes());
    put(60, &(SNAPSHOTS as u32).to_be_bytes());
    put(64, &((table * CLUSTER) as u64).to_be_bytes());
    put(96, &4u32.to_be_bytes());
    put(100, &112u32.to_be_bytes());
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    put(table * CLUSTER, &entries);
    for l1 in [3].into_iter().chain(l1s + 1..=l1s + SNAPSHOTS) {
        put(l1 * CLUSTER, &((l2 * CLUSTER) as u64).to_be_bytes());
    }
    put(l2 * CLUSTER, &((data * CLUSTER) as u64).to_be_bytes());
    put(data * CLUSTER, &[5; CLUSTER]);
    let used = table + entries.len().div_ceil(CLUSTER);
    for cluster in (0..used).chain(l1s + 1..=data) {
        let count = if cluster >= l2 { SNAPSHOTS as u16 + 1 } else { 1 };
        put(2 * CLUSTER + 2 * cluster, &count.to_be_bytes());
    }
    bytes
}

#[test]
fn a_thousand_snapshots() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    fs::write(&path, many_snapshots()).unwrap();
    qemu::check(&path, "as it was made");
    let (seen, counts) = first_read(&path, 0);
    assert!(seen.iter().all(|byte| *byte == 5));
    is_cheap(counts, CLUSTER as u64, 4096);

    let mut kept = vec![0; 2 << 20];
    kept[..CLUSTER].fill(5);
    // What is written costs no more either, and whoever has lost count counts right.
    for dirty in [0, 1] {
        let mut bytes = fs::read(&path).unwrap();
        bytes[79] = dirty;
        fs::write(&path, bytes).unwrap();
        let txn = qemu::begin(&path, Access::Write);
        let disk = open(&txn);
        disk.write_at(&[6; 100], 50).unwrap();
        disk.write_at(&[6; 100], 1 << 20).unwrap();
        let plan = disk.finish().unwrap();
        let counts = txn.commit(plan).unwrap();
        assert!(counts.bytes_written < 16 * CLUSTER as u64, "{counts:?}");
        drop(disk);
        qemu::check(&path, "after a write");
        for name in ["s1", "s500", "s1000"] {
            assert!(qemu::snapshot(&path, name) == kept, "{name}");
        }
    }
    let listed = qemu::img(&["snapshot", "-l", text(&path)]);
    assert_eq!(listed.lines().filter(|line| line.contains(" s")).count(), SNAPSHOTS, "{listed}");
}
