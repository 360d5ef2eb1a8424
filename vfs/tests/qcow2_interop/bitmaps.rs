//! Persistent bitmaps: an enabled one knows of every write.

use crate::qemu::{self, Rng, text};
use crate::round::open;
use imgraft_vfs::image::{self, Backing};
use imgraft_vfs::transaction::{Access, StateDir};
use std::fs;

/// An enabled bitmap knows what was written, to the cluster; one that is not stays as it is.
#[test]
fn bitmaps_know_of_writes() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    for (cluster, options) in [(4096u64, ""), (65536, ""), (16384, ",extended_l2=on"), (65536, ",lazy_refcounts=on")] {
        let size = 8 << 20;
        let options = format!("cluster_size={cluster}{options}");
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), &size.to_string()]);
        for (name, how) in [("coarse", &["-g", "65536"][..]), ("fine", &["-g", "512"]), ("idle", &["--disable"])] {
            qemu::img(&[&["bitmap", "--add"], how, &[text(&path), name]].concat());
        }
        qemu::io(&path, &["write -P 1 2M 70k".to_owned()]);
        let before = ["coarse", "fine", "idle"].map(|name| qemu::dirty(&path, name));
        assert!(!before[0].is_empty() && !before[1].is_empty() && before[2].is_empty());
        let written = [(0u64, 1u64), (3 << 20, 100_000), ((5 << 20) + 4096, 512), (size - 1, 1)];
        for _ in 0..2 {
            let txn = qemu::begin(&path, Access::Write);
            let disk = open(&txn);
            for (at, len) in written {
                disk.write_at(&vec![7; len as usize], at).unwrap();
            }
            // What is zero already is not written.
            disk.write_at(&[0; 5000], 6 << 20).unwrap();
            let plan = disk.finish().unwrap();
            txn.commit(plan).unwrap();
            drop(disk);
            qemu::check(&path, &options);
            for ((name, before), granule) in ["coarse", "fine", "idle"].iter().zip(&before).zip([65536, 512, 65536]) {
                let unit = cluster.max(granule);
                let new =
                    written.iter().map(|(at, len)| (at & !(unit - 1))..(at + len).next_multiple_of(unit).min(size));
                let mut expected = vec![false; (size / 512) as usize];
                let new = new.filter(|_| *name != "idle");
                for range in before.iter().cloned().chain(new) {
                    expected[(range.start / 512) as usize..(range.end / 512) as usize].fill(true);
                }
                let mut seen = vec![false; expected.len()];
                for range in qemu::dirty(&path, name) {
                    seen[(range.start / 512) as usize..(range.end / 512) as usize].fill(true);
                }
                assert!(seen == expected, "{options}: {name}");
            }
        }
        // QEMU goes on with them.
        qemu::io(&path, &["write -P 1 7M 4k".to_owned()]);
        assert!(qemu::dirty(&path, "fine").iter().any(|range| range.contains(&(7 << 20))));
        qemu::img(&["bitmap", "--clear", text(&path), "fine"]);
        qemu::img(&["bitmap", "--remove", text(&path), "coarse"]);
        qemu::check(&path, "after QEMU changed the bitmaps");
    }
}

/// An overlay's bitmap knows of its own writes, and the files below stay as they are.
#[test]
fn bitmaps_of_an_overlay() {
    if !qemu::available() {
        return;
    }
    for options in ["cluster_size=4096", "cluster_size=65536,extended_l2=on"] {
        let dir = tempfile::tempdir().unwrap();
        let [base, path] = ["base.raw", "disk.qcow2"].map(|name| dir.path().join(name));
        let mut rng = Rng::new(options.len() as u64);
        let mut model = vec![0; 4 << 20];
        rng.fill(&mut model[1 << 20..3 << 20]);
        fs::write(&base, &model).unwrap();
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", options, "-b", text(&base), "-F", "raw", text(&path)]);
        qemu::img(&["bitmap", "--add", "-g", "65536", text(&path), "daily"]);
        qemu::io(&path, &["write -P 7 512k 64k".to_owned()]);
        model[512 << 10..576 << 10].fill(7);
        for round in 0..2u8 {
            let at = (2 << 20) + (usize::from(round) << 19) + 777;
            let txn = qemu::begin(&path, Access::Write);
            let disk =
                image::open_chain(txn.overlay(), &path, None, &Backing::Within(Vec::new()), &StateDir::default())
                    .unwrap();
            model[at..at + 100].fill(round);
            disk.write_at(&[round; 100], at as u64).unwrap();
            let plan = disk.finish().unwrap();
            txn.commit(plan).unwrap();
            drop(disk);
            qemu::check(&path, options);
            assert!(qemu::content(&path) == model, "{options}");
            let dirty = qemu::dirty(&path, "daily");
            assert!(dirty.iter().any(|range| range.contains(&(at as u64))), "{options}: {dirty:?}");
            assert!(!dirty.iter().any(|range| range.contains(&(3 << 20))), "{options}: {dirty:?}");
        }
        let mut below = model.clone();
        below.copy_from_slice(&fs::read(&base).unwrap());
        assert!(below[512 << 10..576 << 10].iter().all(|byte| *byte == 0), "the base was written to");
    }
}
