//! Disks that QEMU has made larger or smaller: their L1 tables have moved, or are longer than the disk needs.

use crate::qemu::{self, Rng, text};
use crate::round::write_some;

#[test]
fn larger_and_smaller_disks() {
    if !qemu::available() {
        return;
    }
    for (cluster, options) in
        [(512, ""), (512, ",refcount_bits=1"), (4096, ",refcount_bits=64"), (65536, ""), (16384, ",extended_l2=on")]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.qcow2");
        let mut rng = Rng::new(cluster);
        let what = format!("clusters of {cluster}{options}");
        let options = format!("cluster_size={cluster}{options}");
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), "1M"]);
        qemu::io(&path, &["write -P 1 100k 300k".to_owned(), "write -P 2 1020k 4k".to_owned()]);
        // A table of clusters of 512 bytes maps 32 KiB, and a cluster of the L1 table 2 MiB.
        for (size, how) in [("17M", &[][..]), ("3M", &["--shrink"]), ("9M", &["--preallocation=metadata"])] {
            qemu::img(&[&["resize", "-q", "-f", "qcow2"], how, &[text(&path), size]].concat());
            let mut model = qemu::content(&path);
            write_some(&path, &mut model, cluster, &mut rng, &format!("{what}, {size}"));
        }
    }
}

/// Snapshots of a disk of another size keep it.
#[test]
fn snapshots_of_another_size() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=512", text(&path), "1M"]);
    qemu::io(&path, &["write -P 1 0 700k".to_owned()]);
    qemu::img(&["snapshot", "-c", "small", text(&path)]);
    qemu::img(&["resize", "-q", "-f", "qcow2", text(&path), "5M"]);
    // QEMU shows it as long as the disk is now.
    let small = qemu::snapshot(&path, "small");
    assert!(small[..700 << 10].iter().all(|byte| *byte == 1));
    let mut model = qemu::content(&path);
    write_some(&path, &mut model, 512, &mut Rng::new(5), "larger than its snapshot");
    assert!(qemu::snapshot(&path, "small") == small);
}
