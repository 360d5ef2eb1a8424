//! qcow2 images from strangers: whatever they say, an answer in bounded time and memory, and no panic.

mod qemu;

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::image::ImageFormat;
use imgraft_vfs::image::qcow2::Qcow2;
use imgraft_vfs::transaction::{CommitPlan, Overlay};
use imgraft_vfs::{ErrorKind, Result};
use qemu::{Rng, text};
use std::fs;
use std::sync::Arc;

/// A small image with every kind of cluster, a snapshot, and several L2 tables.
fn sample(cluster: u64, options: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let [raw, path] = ["raw", "disk.qcow2"].map(|name| dir.path().join(name));
    let mut bytes = vec![0u8; 200 << 10];
    Rng::new(cluster).fill(&mut bytes[..60 << 10]);
    bytes[100_000..150_000].fill(3);
    fs::write(&raw, bytes).unwrap();
    let options = format!("cluster_size={cluster},{options}");
    qemu::img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &options, text(&raw), text(&path)]);
    qemu::io(&path, &["write -P 5 8k 20k".to_owned(), "write -z 40k 8k".to_owned()]);
    qemu::img(&["snapshot", "-c", "one", text(&path)]);
    qemu::io(&path, &["write -P 6 12k 4k".to_owned()]);
    fs::read(path).unwrap()
}

/// Reads all of an image (the first 4 MiB), writes here and there, and finishes.
fn exercise(bytes: Vec<u8>) -> Result<()> {
    let base = bytes.len();
    let before = bytes.clone();
    let host = Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes))));
    let disk = Qcow2::open(Arc::clone(&host))?;
    let size = disk.size().min(4 << 20);
    let mut buf = vec![0; 10_000];
    let mut at = 0;
    let mut seen = Ok(());
    while at < size {
        let len = buf.len().min((size - at) as usize);
        if let Err(error) = disk.read_at(&mut buf[..len], at) {
            seen = Err(error);
        }
        at += len as u64;
    }
    for at in [0, 9_000, 41_000, 70_001, 120_000, size.saturating_sub(10)] {
        if at + 10 <= disk.size()
            && let Err(error) = disk.write_at(b"0123456789", at)
        {
            assert_eq!(disk.finish().unwrap_err().kind(), ErrorKind::Invalid, "a failed write must not be committed");
            return Err(error);
        }
    }
    assert!(matches!(disk.finish()?, CommitPlan::Switch { sector: 0, .. }));
    let mut below = vec![0; base];
    host.read_at(&mut below, 0)?;
    assert!(below[512..] == before[512..], "the old image was overwritten");
    // The driver's own result is never refused by it.
    drop(Qcow2::open(host).expect("what was finished can be opened"));
    seen
}

fn acceptable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::NoSpace)
}

/// The places of metadata: header, tables, refcount blocks, the snapshot table.
fn metadata(image: &[u8], cluster: usize) -> Vec<usize> {
    let u64_at = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let mut starts = vec![0usize];
    let mut tables = Vec::new();
    for at in [40, 48, 64] {
        starts.push(u64_at(at) as usize);
        if at != 64 {
            tables.push(u64_at(at) as usize);
        }
    }
    for table in tables {
        for entry in 0..8 {
            let at = (u64_at(table + entry * 8) & 0x00ff_ffff_ffff_fe00) as usize;
            if at != 0 && at + cluster <= image.len() {
                starts.push(at);
            }
        }
    }
    starts
}

#[test]
fn flipped_bytes() {
    if !qemu::available() {
        return;
    }
    let (mut fine, mut refused) = (0, 0);
    let zstd = "compression_type=zstd";
    for (cluster, options) in
        [(512, "compat=1.1"), (4096, "compat=0.10"), (4096, zstd), (16384, "extended_l2=on"), (65536, "compat=1.1")]
    {
        let image = sample(cluster, options);
        exercise(image.clone()).unwrap();
        let starts = metadata(&image, cluster as usize);
        let mut rng = Rng::new(cluster);
        for round in 0..1500 {
            let mut bytes = image.clone();
            for _ in 0..=round % 3 {
                let start = starts[rng.below(starts.len() as u64) as usize];
                let at = (start + rng.below(128.min(cluster)) as usize).min(bytes.len() - 1);
                bytes[at] = match rng.below(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => bytes[at] ^ (1 << rng.below(8)),
                    _ => rng.next() as u8,
                };
            }
            match exercise(bytes) {
                Ok(()) => fine += 1,
                Err(error) => {
                    assert!(acceptable(error.kind()), "{error:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(fine > 100 && refused > 100, "the flips hit nothing: {fine} fine, {refused} refused");
}

/// Two guest clusters on one host cluster that is counted once, and a cluster that is not counted at all: they can be
/// read, and a write that would need their count is refused.
#[test]
fn clusters_counted_wrongly() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", text(&path), "8M"]);
    qemu::io(&path, &["write -P 1 0 128k".to_owned()]);
    let image = fs::read(&path).unwrap();
    let u64_at = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let l2 = (u64_at(u64_at(40) as usize) & 0x00ff_ffff_ffff_fe00) as usize;
    let open = |bytes: Vec<u8>| Qcow2::open(Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes))))).unwrap();

    let mut shared = image.clone();
    shared.copy_within(l2..l2 + 8, l2 + 8);
    let disk = open(shared);
    disk.write_at(b"x", 0).unwrap();
    let mut seen = [0; 1];
    disk.read_at(&mut seen, 65536).unwrap();
    assert_eq!(seen, [1]);
    assert_eq!(disk.write_at(b"x", 65536).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(disk.finish().unwrap_err().kind(), ErrorKind::Invalid);

    let mut uncounted = image.clone();
    let block = u64_at(u64_at(48) as usize) as usize;
    let cluster = ((u64_at(l2) & 0x00ff_ffff_ffff_fe00) >> 16) as usize;
    uncounted[block + cluster * 2..][..2].fill(0);
    let disk = open(uncounted);
    let error = disk.write_at(b"x", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.hint().unwrap().contains("qemu-img check"), "{error:?}");
}

/// Compressed clusters that inflate to too little, too much or nothing.
#[test]
fn bad_compressed_clusters() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [raw, path] = ["raw", "disk.qcow2"].map(|name| dir.path().join(name));
    fs::write(&raw, vec![7; 1 << 20]).unwrap();
    qemu::img(&["convert", "-c", "-f", "raw", "-O", "qcow2", text(&raw), text(&path)]);
    let image = fs::read(&path).unwrap();
    let u64_at = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let l2 = (u64_at(u64_at(40) as usize) & 0x00ff_ffff_ffff_fe00) as usize;
    let data = (u64_at(l2) & ((1 << 54) - 1)) as usize;
    let open = |bytes: Vec<u8>| Qcow2::open(Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes))))).unwrap();
    // An empty stored block that is the last; a stored block of three bytes; an invalid block type; zeros.
    for stream in [&[1, 0, 0, 0xff, 0xff][..], &[1, 3, 0, 0xfc, 0xff, 1, 2, 3], &[0xff; 64], &[0; 64]] {
        let mut bytes = image.clone();
        bytes[data..data + stream.len()].copy_from_slice(stream);
        let disk = open(bytes);
        let mut seen = [0; 1];
        assert_eq!(disk.read_at(&mut seen, 0).unwrap_err().kind(), ErrorKind::Corrupt, "{stream:?}");
        // The whole cluster can be replaced: nothing of it is needed.
        disk.write_at(&[1; 65536], 0).unwrap();
        disk.finish().unwrap();
    }
}

/// Zstandard that is cut short, goes on after a cluster, asks for a huge window, or is none.
#[test]
fn bad_zstd_clusters() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [raw, path] = ["raw", "disk.qcow2"].map(|name| dir.path().join(name));
    let mut content = vec![7; 1 << 20];
    Rng::new(1).fill(&mut content[..30_000]);
    fs::write(&raw, content).unwrap();
    let options = "compression_type=zstd";
    qemu::img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, text(&raw), text(&path)]);
    let image = fs::read(&path).unwrap();
    let u64_at = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
    let l2 = (u64_at(u64_at(40) as usize) & 0x00ff_ffff_ffff_fe00) as usize;
    let data = (u64_at(l2) & ((1 << 54) - 1)) as usize;
    let open = |bytes: Vec<u8>| Qcow2::open(Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes))))).unwrap();
    let frame = |blocks: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x30][..], blocks].concat();
    // Run-length blocks of 64 KiB: 2 is their type, 1 marks the last one.
    let (run, last) = ([2, 0, 8, 7], [3, 0, 8, 7]);
    let read = |stream: &[u8]| {
        let mut bytes = image.clone();
        bytes[data..data + stream.len()].copy_from_slice(stream);
        let disk = open(bytes);
        let mut seen = vec![0; 65536];
        let read = disk.read_at(&mut seen, 0).map(|()| seen);
        // The whole cluster can be replaced: nothing of it is needed.
        disk.write_at(&[1; 65536], 0).unwrap();
        disk.finish().unwrap();
        read
    };
    assert!(read(&frame(&last)).unwrap() == [7; 65536]);
    // Two frames with half a cluster each are as good as one.
    let half = [3, 0, 4, 7];
    assert!(read(&[frame(&half), frame(&half)].concat()).unwrap() == [7; 65536]);
    // The last block may say nothing.
    assert!(read(&frame(&[&run[..], &[1, 0, 0]].concat())).unwrap() == [7; 65536]);
    let bomb = [[run; 2000].concat(), last.to_vec()].concat();
    for (name, stream) in [
        ("too long", frame(&[run, last].concat())),
        ("a bomb", frame(&bomb)),
        ("a cluster, and the frame goes on", frame(&[run, [1, 0, 0, 0]].concat())[..10].to_vec()),
        ("a huge window", [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0xff][..], &last].concat()),
        ("half a cluster", [frame(&half), vec![0; 64]].concat()),
        ("a reserved block", frame(&[7, 0, 8, 7])),
        ("no frame", vec![0xff; 64]),
        ("zeros", vec![0; 64]),
    ] {
        assert_eq!(read(&stream).unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
    }
}

/// The largest tables that are allowed, all of them pointing at the same two clusters.
#[test]
fn the_largest_tables() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", text(&path), "8M"]);
    qemu::io(&path, &["write -P 1 0 2M".to_owned()]);
    let mut bytes = fs::read(&path).unwrap();
    let u64_at = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let l2 = u64_at(&bytes, u64_at(&bytes, 40) as usize);
    let block = u64_at(&bytes, u64_at(&bytes, 48) as usize);
    let end = bytes.len();
    bytes.resize(end.next_multiple_of(2 << 20), 0);
    let l1 = bytes.len() as u64;
    for _ in 0..4 << 20 {
        bytes.extend(l2.to_be_bytes());
    }
    let table = bytes.len() as u64;
    for _ in 0..1 << 20 {
        bytes.extend(block.to_be_bytes());
    }
    bytes[36..40].copy_from_slice(&(4u32 << 20).to_be_bytes());
    bytes[40..48].copy_from_slice(&l1.to_be_bytes());
    bytes[48..56].copy_from_slice(&table.to_be_bytes());
    bytes[56..60].copy_from_slice(&4u32.to_be_bytes());
    let open = |bytes: &[u8]| Qcow2::open(Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes.to_vec())))));
    // Refcount blocks that count clusters far behind the end of the file: not all of them are read.
    let error = open(&bytes).unwrap_err();
    assert!(error.to_string().contains("truncated"), "{error}");
    // Blocks of zeros there are harmless, and still not all of them are read.
    bytes[table as usize + 8..].fill(0);
    let disk = open(&bytes).unwrap();
    // The table has a reference more than it is counted for: once it is released, and then no more.
    disk.write_at(b"x", 0).unwrap();
    disk.write_at(b"x", 5 << 20).unwrap();
    let mut seen = [0; 2];
    disk.read_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"x\x01");
    // The old L1 and refcount tables are not counted.
    assert_eq!(disk.finish().unwrap_err().kind(), ErrorKind::Corrupt);
}

/// An entry that names what something else uses too, and is counted once: a write there would free it.
#[test]
fn clusters_that_are_used_twice_are_not_freed() {
    if !qemu::available() {
        return;
    }
    const MASK: u64 = 0x00ff_ffff_ffff_fe00;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=512", text(&path), "200k"]);
    qemu::io(&path, &["write -P 5 0 150k".to_owned()]);
    qemu::img(&["bitmap", "--add", text(&path), "b"]);
    qemu::io(&path, &["write -P 5 100k 4k".to_owned()]);
    qemu::img(&["bitmap", "--disable", text(&path), "b"]);
    qemu::img(&["snapshot", "-c", "one", text(&path)]);
    // The clusters of the first table, and itself, are the active disk's alone.
    qemu::io(&path, &["write -P 6 0 34k".to_owned()]);
    let image = fs::read(&path).unwrap();
    let at = |place: u64| u64::from_be_bytes(image[place as usize..][..8].try_into().unwrap());
    let [l1, refcounts, snapshots] = [at(40), at(48), at(64)];
    let [first, second] = [0, 8].map(|entry| at(l1 + entry) & MASK);
    // The only extension of 24 bytes, which ends with the place of the directory.
    let extension = image.windows(8).position(|part| part == [0x23, 0x85, 0x28, 0x75, 0, 0, 0, 24]).unwrap();
    let directory = at(extension as u64 + 24);
    assert_ne!(at(at(directory)) & MASK, 0);
    let victims = [
        ("another L2 table", second),
        ("a refcount block", at(refcounts)),
        ("another entry's cluster", at(first + 8 * 9) & MASK),
        ("the L1 table of a snapshot", at(snapshots)),
        ("an L2 table of the snapshot alone", at(at(snapshots)) & MASK),
        ("the directory of bitmaps", directory),
        ("the table of a bitmap", at(directory)),
        ("a cluster of a bitmap", at(at(directory)) & MASK),
        ("the snapshot table", snapshots),
    ];
    let write = |bytes: Vec<u8>| {
        let disk = Qcow2::open(Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes)))))?;
        disk.write_at(b"here", 3 * 512)?;
        disk.finish()
    };
    let CommitPlan::Switch { freed, .. } = write(image.clone()).unwrap() else { panic!() };
    let own = at(first + 8 * 3) & MASK;
    assert!(freed.iter().any(|range| range.contains(&own)), "{freed:?}");
    // Of a bitmap that is disabled nothing is believed, be its table behind the end of the file, or partly.
    for table in [1 << 40, image.len() as u64 - 512, 0xffff_ffff_ffff_fe00] {
        let mut bytes = image.clone();
        bytes[directory as usize..][..8].copy_from_slice(&table.to_be_bytes());
        bytes[directory as usize + 8..][..4].copy_from_slice(&65_u32.to_be_bytes());
        write(bytes).unwrap();
    }
    for (what, victim) in victims {
        let mut bytes = image.clone();
        bytes[first as usize + 8 * 3..][..8].copy_from_slice(&(victim | 1 << 63).to_be_bytes());
        let error = write(bytes).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
        assert!(error.hint().unwrap().contains("qemu-img check"), "{what}: {error:?}");
    }
}
