//! What is at an end: nothing written, the largest disk, the oddest size, what lies behind the file's end.

use crate::case::{Case, L2, Shape};
use crate::qemu::{self, Rng, text};
use crate::round::{open, write_some};
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::image::qcow2::Qcow2;
use imgraft_vfs::image::{self, Format};
use imgraft_vfs::transaction::Access;
use std::fs;

/// Nothing written is nothing changed, not even by a write of zeros to what is zero.
#[test]
fn no_change_is_no_write() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", text(&path), "64M"]);
    let before = fs::read(&path).unwrap();
    let txn = qemu::begin(&path, Access::Write);
    let disk = open(&txn);
    disk.write_at(&[0; 100_000], 12_345).unwrap();
    disk.write_at(&[], 64 << 20).unwrap();
    let plan = disk.finish().unwrap();
    let counts = txn.commit(plan).unwrap();
    assert_eq!((counts.writes, counts.fsyncs), (0, 0));
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// The cost is that of what is written, not of the image.
#[test]
fn a_huge_image_costs_no_more() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", text(&path), "20T"]);
    let places: Vec<u64> = (0..20).map(|i| i << 40).map(|at| at + 123).collect();
    qemu::io(&path, &places.iter().map(|at| format!("write -P 7 {} 4k", at & !511)).collect::<Vec<_>>());
    let txn = qemu::begin(&path, Access::Write);
    let disk = open(&txn);
    for at in &places {
        disk.write_at(b"here", *at).unwrap();
    }
    let plan = disk.finish().unwrap();
    let counts = txn.commit(plan).unwrap();
    // Per place a cluster and an L2 table of 64 KiB, each read and written; the L1 table is 320 KiB.
    assert!(counts.bytes_read < 5 << 20 && counts.bytes_written < 4 << 20, "{counts:?}");
    drop(disk);
    qemu::check(&path, "20 TiB");
    let txn = qemu::begin(&path, Access::Read);
    let disk = open(&txn);
    for at in &places {
        let mut seen = [0; 6];
        disk.read_at(&mut seen, *at - 1).unwrap();
        assert_eq!(&seen, b"\x07here\x07");
    }
}

/// A disk need not even end at a sector.
#[test]
fn a_disk_of_any_size() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    for cluster in [512, 65536] {
        let options = format!("cluster_size={cluster}");
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), "1M"]);
        qemu::io(&path, &["write -P 9 1044480 4096".to_owned()]);
        let size = (1u64 << 20) - 77;
        let mut bytes = fs::read(&path).unwrap();
        bytes[24..32].copy_from_slice(&size.to_be_bytes());
        fs::write(&path, bytes).unwrap();
        let txn = qemu::begin(&path, Access::Write);
        let disk = open(&txn);
        assert_eq!(disk.size(), size);
        disk.write_at(b"end", size - 3).unwrap();
        disk.write_at(b"!", size).unwrap_err();
        let mut tail = [0; 4];
        disk.read_at(&mut tail, size - 4).unwrap();
        assert_eq!(&tail, b"\x09end");
        let plan = disk.finish().unwrap();
        txn.commit(plan).unwrap();
        drop(disk);
        qemu::check(&path, "odd end");
        // QEMU sees whole sectors only.
        assert!(qemu::content(&path)[1_044_480..].iter().all(|byte| *byte == 9));
    }
}

/// What an interrupted run leaves behind the end of the file is in nobody's way.
#[test]
fn garbage_behind_the_end() {
    if !qemu::available() {
        return;
    }
    for cluster in [512, 65536] {
        let case = Case { shape: Shape::Plain, compat: "1.1", cluster, refcount_bits: 16, l2: L2::Standard };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.qcow2");
        let mut rng = Rng::new(cluster);
        case.build(&path, &mut rng);
        let mut model = qemu::content(&path);
        for _ in 0..2 {
            let mut bytes = fs::read(&path).unwrap();
            let end = bytes.len();
            bytes.resize(end + 300_001, 0);
            rng.fill(&mut bytes[end..]);
            fs::write(&path, bytes).unwrap();
            write_some(&path, &mut model, cluster, &mut rng, "garbage");
        }
    }
}

/// More tables than the caches hold, and a file that outgrows its refcount table.
#[test]
fn many_small_tables_and_a_larger_refcount_table() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", text(&path), "2G"]);
    let txn = qemu::begin(&path, Access::Write);
    let disk = open(&txn);
    // An L2 table maps 32 KiB, so that this takes 20,000 of them; then those that left the cache come back.
    for round in 1..=2u8 {
        for index in 0..20_000u64 {
            disk.write_at(&[round; 700], index * (64 << 10) + u64::from(round) * 300).unwrap();
        }
    }
    let plan = disk.finish().unwrap();
    txn.commit(plan).unwrap();
    drop(disk);
    qemu::check(&path, "small tables");
    let txn = qemu::begin(&path, Access::Read);
    let disk = open(&txn);
    for index in (0..20_000u64).step_by(77) {
        let mut seen = [0; 1100];
        disk.read_at(&mut seen, index * (64 << 10) + 200).unwrap();
        let expected = [&[0; 100][..], &[1; 300], &[2; 700]].concat();
        assert_eq!(seen[..], expected[..]);
    }
    drop(disk);
    drop(txn);
    assert_eq!(
        qemu::img(&["compare", "-f", "qcow2", "-F", "qcow2", text(&path), text(&path)]).trim(),
        "Images are identical."
    );
}

/// The format is detected, and the facts are what QEMU was asked for.
#[test]
fn facts() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    let options = "cluster_size=4096,refcount_bits=8,lazy_refcounts=on";
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", options, text(&path), "10M"]);
    qemu::img(&["snapshot", "-c", "one", text(&path)]);
    let txn = qemu::begin(&path, Access::Read);
    let disk = image::open(txn.overlay(), None).unwrap();
    assert_eq!(disk.format(), Format::Qcow2);
    let facts = disk.facts();
    for (name, value) in [
        ("version", "3"),
        ("cluster-size", "4096"),
        ("refcount-bits", "8"),
        ("virtual-size", "10485760"),
        ("snapshots", "1"),
        ("compression", "zlib"),
        ("features", "lazy refcounts"),
    ] {
        assert!(facts.contains(&(name, value.to_owned())), "{name}: {facts:?}");
    }
    let error = Qcow2::open(txn.overlay()).unwrap().write_at(&[1; 2], (10 << 20) - 1).unwrap_err();
    assert_eq!(error.kind(), imgraft_vfs::ErrorKind::Invalid);
}
