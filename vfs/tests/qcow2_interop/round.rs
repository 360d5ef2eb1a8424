//! What is done to an image of the matrix, and who judges it.

use crate::case::{Case, place};
use crate::qemu::{self, Rng, text};
use crate::second;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::image::{self, Format, ImageFormat};
use imgraft_vfs::transaction::{Access, CommitPlan, Transaction};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn open(txn: &Transaction) -> Arc<dyn ImageFormat> {
    image::open(txn.overlay(), Some(Format::Qcow2)).unwrap()
}

pub fn read_all(disk: &dyn BlockDevice, piece: usize) -> Vec<u8> {
    let mut bytes = vec![0xaa; disk.size() as usize];
    for (index, chunk) in bytes.chunks_mut(piece).enumerate() {
        disk.read_at(chunk, (index * piece) as u64).unwrap();
    }
    bytes
}

pub fn assert_same(left: &[u8], right: &[u8], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}: sizes");
    // Fast where tests are not optimised; the search is for the message.
    if left == right {
        return;
    }
    if let Some(at) = left.iter().zip(right).position(|(a, b)| a != b) {
        panic!("{what}: byte {at} is {:#04x}, not {:#04x}", left[at], right[at]);
    }
}

/// Writes to random places through the driver, keeps `model` in step, and commits.
pub fn write_some(path: &Path, model: &mut [u8], cluster: u64, rng: &mut Rng, what: &str) {
    let mut before = fs::read(path).unwrap();
    let txn = qemu::begin(path, Access::Write);
    let disk = open(&txn);
    for step in 0..40 {
        let size = model.len() as u64;
        let (at, len) = match step % 4 {
            // Small and unaligned; a few clusters; whole clusters; the very end.
            0 => place(size, 3000, rng),
            1 => place(size, 3 * cluster, rng),
            2 => {
                let at = rng.below(size.div_ceil(cluster)) * cluster;
                (at, cluster.min(size - at))
            }
            _ => (size - 1 - rng.below(100), 1),
        };
        let range = at as usize..(at + len) as usize;
        if step % 5 == 4 {
            model[range.clone()].fill(0);
        } else {
            rng.fill(&mut model[range.clone()]);
        }
        disk.write_at(&model[range], at).unwrap();
        let (at, len) = place(size, 2 * cluster, rng);
        let mut seen = vec![0; len as usize];
        disk.read_at(&mut seen, at).unwrap();
        assert_same(&seen, &model[at as usize..(at + len) as usize], &format!("{what}: read in step {step}"));
    }
    let plan = disk.finish().unwrap();
    let CommitPlan::Switch { freed, .. } = &plan else { panic!("{what}: not the plan of a qcow2 image") };
    for range in freed {
        // What nothing uses any more is given back, and nothing else is touched.
        let end = (range.end as usize).min(before.len());
        before[range.start as usize..end].fill(0);
    }
    // What will be there after the commit can be read before it, by whoever opens it anew.
    assert_same(&read_all(&*open(&txn), 1 << 20), model, &format!("{what}: before the commit"));
    txn.commit(plan).unwrap();
    // It holds the lock as long as it lives.
    drop(disk);
    let after = fs::read(path).unwrap();
    assert_same(&after[512..before.len()], &before[512..], &format!("{what}: below the old end"));
    qemu::check(path, what);
    assert_same(&qemu::content(path), model, what);
    second::agrees(path, model, what);
}

pub fn run(case: Case) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("disk.qcow2");
    let mut rng = Rng::new(case.seed());
    let snapshots = case.build(&path, &mut rng);
    let what = format!("{case:?}");
    qemu::check(&path, &format!("{what}: as QEMU made it"));
    let mut model = qemu::content(&path);
    let kept: Vec<_> = snapshots.iter().map(|name| qemu::snapshot(&path, name)).collect();

    let txn = qemu::begin(&path, Access::Read);
    let disk = open(&txn);
    assert_eq!(disk.size(), case.size(), "{what}");
    assert_same(&read_all(&*disk, 1000 + rng.below(200_000) as usize), &model, &format!("{what}: first read"));
    drop(disk);
    drop(txn);

    for round in ["first", "second"] {
        write_some(&path, &mut model, case.cluster, &mut rng, &format!("{what}: {round} write"));
        for (name, kept) in snapshots.iter().zip(&kept) {
            assert_same(
                &qemu::snapshot(&path, name),
                kept,
                &format!("{what}: snapshot {name} after the {round} write"),
            );
        }
    }

    // QEMU goes on with what we left, and we with what QEMU left.
    case.fill(&path, &mut rng);
    if let Some(name) = snapshots.first() {
        qemu::img(&["snapshot", "-d", name, text(&path)]);
    }
    qemu::check(&path, &format!("{what}: after QEMU wrote again"));
    let mut model = qemu::content(&path);
    write_some(&path, &mut model, case.cluster, &mut rng, &format!("{what}: third write"));
    for (name, kept) in snapshots.iter().zip(&kept).skip(1) {
        assert_same(&qemu::snapshot(&path, name), kept, &format!("{what}: snapshot {name} in the end"));
    }
}
