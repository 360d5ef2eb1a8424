//! qcow2 images that were not closed: their refcounts are counted anew, or they are refused.

mod qemu;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::image::{self, Format, ImageFormat};
use imgraft_vfs::transaction::{Access, Transaction};
use qemu::{Rng, text};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const SIZE: u64 = 6 << 20;

/// Lets QEMU write and be killed before it closes the image.
fn leave_open(image: &Path, commands: &[&str]) {
    let mut words = vec!["-f", "qcow2"];
    for command in commands.iter().chain(&["flush", "sigraise 9"]) {
        words.extend(["-c", command]);
    }
    words.push(text(image));
    let output = Command::new("qemu-io").args(&words).output().unwrap();
    assert!(!output.status.success(), "qemu-io was to be killed");
}

fn is_dirty(image: &Path) -> bool {
    fs::read(image).unwrap()[79] & 1 == 1
}

fn open(txn: &Transaction) -> Arc<dyn ImageFormat> {
    image::open(txn.overlay(), Some(Format::Qcow2)).unwrap()
}

fn read_all(disk: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; disk.size() as usize];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Writes some bytes and commits, in step with `model`.
fn write(image: &Path, model: &mut [u8], rng: &mut Rng) {
    let txn = qemu::begin(image, Access::Write);
    let disk = open(&txn);
    assert!(read_all(&*disk) == model, "a dirty image is read as it is");
    for _ in 0..12 {
        let at = rng.below(model.len() as u64 - 5000) as usize;
        let range = at..at + 1 + rng.below(5000) as usize;
        rng.fill(&mut model[range.clone()]);
        disk.write_at(&model[range], at as u64).unwrap();
    }
    let counted = disk.facts().contains(&("refcounts", "counted anew".to_owned()));
    assert_eq!(counted, is_dirty(image), "the facts are to say it");
    let plan = disk.finish().unwrap();
    txn.commit(plan).unwrap();
}

/// Every kind that lazy refcounts go with: what QEMU leaves behind when it is killed is written to, and is clean then.
#[test]
fn refcounts_are_counted_anew() {
    if !qemu::available() {
        return;
    }
    let mut stale = 0;
    for (name, options) in [
        ("plain", "cluster_size=512"),
        ("plain", "cluster_size=4096,refcount_bits=1"),
        ("plain", "cluster_size=65536,refcount_bits=64"),
        ("plain", "cluster_size=2M"),
        ("compressed", "cluster_size=4096"),
        ("compressed", "cluster_size=65536,compression_type=zstd"),
        ("extended", "cluster_size=16384,extended_l2=on"),
        ("snapshots", "cluster_size=4096,refcount_bits=8"),
        ("snapshots", "cluster_size=65536"),
        ("compressed snapshots", "cluster_size=4096"),
        ("bitmaps", "cluster_size=4096"),
        ("bitmaps snapshots", "cluster_size=65536"),
    ] {
        let what = format!("{name} {options}");
        let dir = tempfile::tempdir().unwrap();
        let [image, raw] = ["disk.qcow2", "source.raw"].map(|name| dir.path().join(name));
        let options = format!("lazy_refcounts=on,{options}");
        let mut rng = Rng::new(what.bytes().map(u64::from).sum());
        let mut bytes = vec![0; SIZE as usize];
        // The second half has nothing yet.
        for chunk in bytes[..SIZE as usize / 2].chunks_mut(30_000).step_by(3) {
            chunk.fill(rng.next() as u8);
        }
        fs::write(&raw, bytes).unwrap();
        let how: &[&str] = if name.contains("compressed") { &["-c"] } else { &[] };
        qemu::img(
            &[&["convert"], how, &["-f", "raw", "-O", "qcow2", "-o", &options, text(&raw), text(&image)]].concat(),
        );
        if name.contains("bitmaps") {
            qemu::img(&["bitmap", "--add", "-g", "64k", text(&image), "daily"]);
            qemu::img(&["bitmap", "--add", "--disable", text(&image), "idle"]);
            qemu::io(&image, &["write -P 3 2M 100k".to_owned()]);
        }
        let mut kept = None;
        if name.contains("snapshots") {
            qemu::img(&["snapshot", "-c", "one", text(&image)]);
            qemu::io(&image, &["write -P 4 1M 200k".to_owned()]);
            qemu::img(&["snapshot", "-c", "two", text(&image)]);
            kept = Some(["one", "two"].map(|name| qemu::snapshot(&image, name)));
        }
        leave_open(&image, &["write -P 5 100k 300k", "write -P 6 2900k 900k", "write -P 7 5M 3k"]);
        assert!(is_dirty(&image), "{what}");
        stale += usize::from(!qemu::img_accepts(&["check", "-f", "qcow2", text(&image)]));
        let mut model = qemu::content(&image);

        write(&image, &mut model, &mut rng);
        qemu::check(&image, &what);
        assert!(qemu::content(&image) == model, "{what}");
        assert!(!is_dirty(&image), "{what}");
        if let Some(kept) = kept {
            assert!(["one", "two"].map(|name| qemu::snapshot(&image, name)) == kept, "{what}: the snapshots");
        }
        // QEMU goes on, is killed again, and we go on. Where all is allocated it has no refcount to change.
        leave_open(&image, &["write -P 8 4300k 400k", "discard 1M 512k"]);
        let mut model = qemu::content(&image);
        write(&image, &mut model, &mut rng);
        qemu::check(&image, &format!("{what}: again"));
        assert!(qemu::content(&image) == model, "{what}: again");
    }
    // Else the test shows nothing.
    assert!(stale > 8, "only {stale} images had stale refcounts");
}

/// What changes nothing leaves a dirty image as it is.
#[test]
fn no_change_is_no_count() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", text(&image), "8M"]);
    leave_open(&image, &["write -P 1 1M 1M"]);
    assert!(is_dirty(&image));
    let before = fs::read(&image).unwrap();
    let txn = qemu::begin(&image, Access::Write);
    let disk = open(&txn);
    disk.write_at(&[0; 5000], 4 << 20).unwrap();
    let plan = disk.finish().unwrap();
    let counts = txn.commit(plan).unwrap();
    assert_eq!((counts.writes, counts.fsyncs), (0, 0));
    assert!(fs::read(&image).unwrap() == before);
}

/// Where the tables do not fit together nothing is guessed, and the command of the hint helps.
#[test]
fn contradictions_are_refused() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=4096", text(&image), "8M"]);
    qemu::io(&image, &["write -P 1 0 64k".to_owned()]);
    qemu::img(&["snapshot", "-c", "one", text(&image)]);
    leave_open(&image, &["write -P 2 32k 64k"]);
    assert!(is_dirty(&image));
    let good = fs::read(&image).unwrap();
    let word = |at: usize| u64::from_be_bytes(good[at..at + 8].try_into().unwrap());
    let offset = |at: usize| (word(at) & 0x00ff_ffff_ffff_fe00) as usize;
    let (l1, snapshots) = (word(40) as usize, word(64) as usize);
    let l2 = offset(l1);
    let [shared, own] = [l2, l2 + 8 * 8];
    assert!(word(shared) >> 63 == 0 && word(own) >> 63 == 1);
    let set = |at: usize, value: u64| (at, value.to_be_bytes().to_vec());
    for (why, (at, bytes)) in [
        ("flag", set(own, word(own) & !(1 << 63))),
        ("flag", set(shared, word(shared) | 1 << 63)),
        ("flag", set(l1, word(l1) & !(1 << 63))),
        // One cluster for two places, with a flag that says otherwise.
        ("flag", set(own + 8, word(own))),
        ("used as", set(own, l2 as u64 | 1 << 63)),
        ("used as", set(l1 + 8, offset(own) as u64 | 1 << 63)),
        ("used as", set(own, snapshots as u64 | 1 << 63)),
        ("too large", (snapshots + 8, vec![0xff; 4])),
        ("on no cluster", set(snapshots, 77)),
        ("behind the end", set(snapshots, 1 << 40)),
        ("used as", set(snapshots, l2 as u64)),
        ("used as Alone and as Alone", set(word(48) as usize + 8, word(word(48) as usize))),
    ] {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(&bytes);
        fs::write(&image, &bad).unwrap();
        let txn = qemu::begin(&image, Access::Write);
        let disk = open(&txn);
        let error = disk.write_at(b"x", 1000).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Corrupt), "{error:?}");
        assert!(error.to_string().contains(why), "{error} does not say {why:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("qemu-img check")), "{error:?}: {:?}", error.hint());
        disk.finish().unwrap_err();
        drop((disk, txn));
        assert!(fs::read(&image).unwrap() == bad, "{why}: the image was changed");
        if bytes.len() == 8 && (at == own && why == "flag" || at == shared) {
            qemu::img(&["check", "-f", "qcow2", "-r", "all", text(&image)]);
            let mut model = qemu::content(&image);
            write(&image, &mut model, &mut Rng::new(1));
            qemu::check(&image, "after the repair and a write");
        }
    }
}

/// A file that a header makes gigantic costs no memory.
#[test]
fn only_so_many_clusters_are_counted() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=512", text(&image), "8M"]);
    leave_open(&image, &["write -P 1 0 64k"]);
    fs::OpenOptions::new().write(true).open(&image).unwrap().set_len((512 * 8) << 20 | 512).unwrap();
    let txn = qemu::begin(&image, Access::Write);
    let disk = open(&txn);
    let error = disk.write_at(b"x", 1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("at most 8388608 are counted"), "{error}");
    drop((disk, txn));

    // 513 L2 tables of 2 MiB, none of which takes room.
    let options = "lazy_refcounts=on,cluster_size=2M";
    fs::remove_file(&image).unwrap();
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", options, text(&image), "257T"]);
    leave_open(&image, &["write -P 1 0 64k"]);
    let file = fs::OpenOptions::new().read(true).write(true).open(&image).unwrap();
    let end = file.metadata().unwrap().len().next_multiple_of(2 << 20);
    file.set_len(end + (513 << 21)).unwrap();
    let mut l1 = [0; 8];
    file.read_exact_at(&mut l1, 40).unwrap();
    for table in 1..514 {
        let entry = (end + ((table - 1) << 21)) | 1 << 63;
        file.write_all_at(&entry.to_be_bytes(), u64::from_be_bytes(l1) + 8 * table).unwrap();
    }
    let txn = qemu::begin(&image, Access::Write);
    let error = open(&txn).write_at(b"x", 1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("too many L2 tables"), "{error}");
}

/// A refcount of one bit cannot say that two places share a cluster.
#[test]
fn what_a_refcount_cannot_say_is_refused() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.qcow2");
    let options = "lazy_refcounts=on,cluster_size=4096,refcount_bits=1";
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", options, text(&image), "8M"]);
    leave_open(&image, &["write -P 1 0 4k"]);
    let mut bytes = fs::read(&image).unwrap();
    let word = |at: usize, bytes: &[u8]| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let l2 = (word(word(40, &bytes) as usize, &bytes) & !(1 << 63)) as usize;
    let shared = word(l2, &bytes) & !(1 << 63);
    for at in [l2, l2 + 8] {
        bytes[at..at + 8].copy_from_slice(&shared.to_be_bytes());
    }
    fs::write(&image, &bytes).unwrap();
    let txn = qemu::begin(&image, Access::Write);
    let error = open(&txn).write_at(b"x", 100_000).unwrap_err();
    assert!(error.to_string().contains("more often than a refcount can say"), "{error}");
}

/// However often one table is named, it is read once.
#[test]
fn a_table_with_many_names() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.qcow2");
    let options = "lazy_refcounts=on,cluster_size=4096,refcount_bits=64";
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", options, text(&image), "256G"]);
    leave_open(&image, &["write -P 1 0 4k"]);
    let mut bytes = fs::read(&image).unwrap();
    let word = |at: usize, bytes: &[u8]| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let l1 = word(40, &bytes) as usize;
    let shared = word(l1, &bytes) & !(1 << 63);
    let entry = word(shared as usize, &bytes) & !(1 << 63);
    let entries = (256 << 30) / (512 * 4096);
    for at in (l1..).step_by(8).take(entries) {
        bytes[at..at + 8].copy_from_slice(&shared.to_be_bytes());
    }
    bytes[shared as usize..shared as usize + 8].copy_from_slice(&entry.to_be_bytes());
    fs::write(&image, &bytes).unwrap();

    let txn = qemu::begin(&image, Access::Write);
    let disk = open(&txn);
    disk.write_at(b"x", 1000).unwrap();
    let plan = disk.finish().unwrap();
    let counts = txn.commit(plan).unwrap();
    assert!(counts.bytes_read < 4 * bytes.len() as u64, "{counts:?} of {} bytes", bytes.len());
    drop(disk);
    qemu::check(&image, "one table for every place");
}
