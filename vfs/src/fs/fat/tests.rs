//! Damaged filesystems, made of one that the builder of config drives makes: refused, and never followed in a circle.

use super::Fat;
use super::claims::Limits;
use super::layout::{BOOT, Kind, Layout, Root};
use super::survey::Survey;
use super::table::{Next, Table};
use crate::block::{BlockDevice, MemDevice};
use crate::error::{ErrorKind, Result};
use crate::fs::{Attrs, Content, GuestFs, Lookup, Mode, Timestamp, read_file};
use crate::master::{Tree, vfat};
use crate::path::Resolved;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_750_000_000, nanoseconds: 0 };
const WRITE: Mode = Mode::ReadWrite { now: NOW };
const ANY: Attrs = Attrs { mode: 0o600, uid: 7, gid: 8 };

fn at(path: &str) -> Resolved {
    path.split('/').filter(|name| !name.is_empty()).fold(Resolved::root(), |at, name| at.child(name.as_bytes()))
}

/// A filesystem with two files of three clusters (of 2 KiB, or 512 bytes) and a directory, in this order: the directory begins
/// with cluster 2 (3 where the root takes one), and the files follow it.
fn image(size: u64) -> Vec<u8> {
    let mut tree = Tree::new();
    let bytes = if size > 1 << 29 { 3 * 4096 } else { 3 * 2048 };
    tree.put("a file", Content::bytes(vec![1; bytes])).unwrap();
    tree.put("another", Content::bytes(vec![2; bytes])).unwrap();
    tree.put("dir/inner", Content::bytes(*b"inner")).unwrap();
    image_of(&tree, size)
}

/// The first 8 MiB, at most.
fn image_of(tree: &Tree, size: u64) -> Vec<u8> {
    let image = vfat::image(tree, &vfat::Options { label: "test".into(), size, time: NOW }).unwrap();
    let mut bytes = vec![0; usize::try_from(image.size()).unwrap().min(8 << 20)];
    image.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// A small one with "another" in the root, and the first cluster of `/dir/below`.
fn with_directory_below() -> (Vec<u8>, u8) {
    let mut tree = Tree::new();
    tree.put("another", Content::bytes(vec![2; 100])).unwrap();
    tree.put("dir/below/inner", Content::bytes(*b"inner")).unwrap();
    let bytes = image_of(&tree, 1 << 20);
    let below = bytes.windows(11).position(|window| window == b"BELOW      ").unwrap();
    let cluster = bytes[below + 26];
    (bytes, cluster)
}

/// The small one, of FAT12, with entries of its table changed.
fn with_links(links: &[(u32, Next)]) -> Vec<u8> {
    let bytes = image(1 << 20);
    let layout = Layout::parse(&bytes[..BOOT]).unwrap();
    let device = MemDevice::new(bytes);
    let mut table = Table::new(&layout);
    for (cluster, next) in links {
        table.set(&device, *cluster, *next).unwrap();
    }
    table.flush(&device).unwrap();
    device.into_bytes()
}

fn open(bytes: Vec<u8>, mode: Mode) -> Result<Fat> {
    Fat::open(Arc::new(MemDevice::new(bytes)), mode)
}

fn reads(bytes: &[u8]) -> Fat {
    open(bytes.to_vec(), Mode::ReadOnly).unwrap()
}

#[track_caller]
fn assert_corrupt<T: std::fmt::Debug>(result: Result<T>, part: &str) {
    let error = result.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains(part), "{error:?}");
    assert!(error.hint().unwrap().contains("fsck.vfat"));
}

#[test]
fn the_clusters_are_where_the_tests_think() {
    let fs = reads(&image(1 << 20));
    let firsts = ["/dir", "/a file", "/another", "/dir/inner"].map(|path| match fs.spot(&at(path)).unwrap() {
        super::Spot::File(seat) => seat.file.entry.cluster(Kind::Fat12),
        super::Spot::Root => 0,
    });
    assert_eq!(firsts, [2, 3, 6, 9]);
}

#[test]
fn chains_that_run_in_a_circle() {
    let bytes = with_links(&[(5, Next::Cluster(3)), (2, Next::Cluster(2))]);
    let fs = reads(&bytes);
    assert_corrupt(read_file(&fs, &at("/a file"), 1 << 20), "in a circle");
    assert_corrupt(fs.read_dir(&at("/dir")), "in a circle");
    assert_corrupt(fs.lookup(&at("/dir/inner")), "in a circle");
    for link in [(5, Next::Cluster(3)), (2, Next::Cluster(2))] {
        assert_corrupt(open(with_links(&[link]), WRITE), "begins inside of a chain");
    }
    assert_corrupt(open(bytes, WRITE), "begins inside of a chain");
    let mut fs = open(with_links(&[(5, Next::Cluster(4))]), Mode::ReadOnly).unwrap();
    assert_corrupt(read_file(&fs, &at("/a file"), 1 << 20), "in a circle");
    assert_eq!(fs.remove(&at("/a file")).unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn chains_that_lead_where_none_can() {
    for (link, part, reading) in [
        (Next::Cluster(7), "run into one", "circle"),
        (Next::Cluster(4000), "out of the filesystem", "out of the filesystem"),
        (Next::Cluster(100), "free or bad", "free or bad"),
        (Next::Free, "free or bad", "free or bad"),
        (Next::End, "", "ends before the file"),
    ] {
        // The second cluster of three.
        let bytes = with_links(&[(4, link)]);
        let read = read_file(&reads(&bytes), &at("/a file"), 1 << 20);
        match link {
            // Which of the two it belongs to nobody knows; the one that is long enough is read.
            Next::Cluster(7) => assert_eq!(read.unwrap().len(), 3 * 2048),
            _ => assert_corrupt(read, reading),
        }
        match (open(bytes, WRITE), link) {
            (Ok(mut fs), Next::End) => assert_corrupt(fs.append(&at("/a file"), &Content::bytes(*b"x")), reading),
            (opened, _) => assert_corrupt(opened.map(drop), part),
        }
    }
}

/// A filesystem whose "another" begins with another cluster.
fn with_begin(mut bytes: Vec<u8>, cluster: u32) -> Vec<u8> {
    let place = bytes.windows(11).position(|window| window == b"ANOTHER    ").unwrap();
    bytes[place + 20..place + 22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    bytes[place + 26..place + 28].copy_from_slice(&(cluster as u16).to_le_bytes());
    bytes
}

#[test]
fn entries_that_begin_where_they_cannot() {
    let small = image(1 << 20);
    let path = |result: Result<Fat>| String::from_utf8(result.unwrap_err().guest_path().unwrap().to_vec()).unwrap();
    // Of a file, in it, of a directory, of a file in a directory; free, too far, and none.
    for (cluster, part) in [
        (3, "where another file or directory does (at cluster 3)"),
        (4, "inside of a chain of clusters (at cluster 4)"),
        (2, "where another file or directory does (at cluster 2)"),
        (100, "free or bad (cluster 100)"),
        (4000, "where none can (at cluster 4000)"),
        (1, "where none can (at cluster 1)"),
    ] {
        let bytes = with_begin(small.clone(), cluster);
        assert_corrupt(open(bytes.clone(), WRITE), part);
        assert_eq!(path(open(bytes.clone(), WRITE)), if cluster == 2 { "/dir" } else { "/another" });
        reads(&bytes).read_dir(&at("/")).unwrap();
    }
    assert_eq!(read_file(&reads(&with_begin(small.clone(), 3)), &at("/another"), 1 << 20).unwrap()[0], 1);
    // What lies deeper is found last.
    let bytes = with_begin(small.clone(), 9);
    assert_corrupt(open(bytes.clone(), WRITE), "where another file or directory does");
    assert_eq!(path(open(bytes, WRITE)), "/dir/inner");
    let (crossed, below) = with_directory_below();
    let bytes = with_begin(crossed, below.into());
    assert_corrupt(open(bytes.clone(), WRITE), "where another file or directory does");
    assert_eq!(path(open(bytes, WRITE)), "/dir/below");
    // A chain that is not its own is nobody's where there is none, and what is missing is only not there.
    assert!(open(with_begin(small.clone(), 0), WRITE).is_ok());
    // A bad cluster; one of the root.
    let bad = 100 * 3 / 2 + Layout::parse(&small[..BOOT]).unwrap().table_at as usize;
    let mut bytes = with_begin(small.clone(), 100);
    bytes[bad..bad + 2].copy_from_slice(&0x0ff7_u16.to_le_bytes());
    assert_corrupt(open(bytes, WRITE), "free or bad (cluster 100)");
    let large = image(1 << 30);
    let layout = Layout::parse(&large[..BOOT]).unwrap();
    let Root::Chain(root) = layout.root else { panic!("it is no FAT32") };
    let sparse = |bytes| Fat::open(Arc::new(Sparse(MemDevice::new(bytes), layout.size)), WRITE);
    assert!(sparse(large.clone()).is_ok());
    assert_corrupt(sparse(with_begin(large.clone(), root)), "where another file or directory does");
    assert_corrupt(sparse(with_begin(large.clone(), 0x0fff_ffff)), "where none can");
    // A root that another one leads to.
    let device = Sparse(MemDevice::new(large.clone()), layout.size);
    let mut table = Table::new(&layout);
    table.set(&device, root + 1, Next::Cluster(root)).unwrap();
    table.flush(&device).unwrap();
    let error = Fat::open(Arc::new(device), WRITE).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.guest_path() == Some(b"/"), "{error:?}");
    // A directory that lies in itself, and one that begins nowhere.
    let mut bytes = small;
    let inner = bytes.windows(11).position(|window| window == b"INNER      ").unwrap();
    bytes[inner + 11] = 0x10;
    bytes[inner + 26] = 2;
    assert_corrupt(reads(&bytes).read_dir(&at("/dir/inner/inner")).map(drop), "lies in itself");
    assert_corrupt(open(bytes.clone(), WRITE), "where another file or directory does");
    assert_eq!(path(open(bytes.clone(), WRITE)), "/dir/inner");
    bytes[inner + 26] = 0;
    assert_corrupt(reads(&bytes).read_dir(&at("/dir/inner")), "begins where none can be");
    assert_corrupt(open(bytes, WRITE), "where none can (at cluster 0)");
}

#[test]
fn what_is_no_file_claims_nothing() {
    let bytes = image(1 << 20);
    let place = bytes.windows(11).position(|window| window == b"ANOTHER    ").unwrap();
    let directory = bytes.windows(11).position(|window| window == b".          ").unwrap();
    // Free again, a label, a piece of a long name; and the two that lead back.
    for (at, field, value) in
        [(place, 0, 0xe5), (place, 11, 8), (place, 11, 0x0f), (directory, 26, 3), (directory + 32, 26, 3)]
    {
        let mut bytes = bytes.clone();
        if at == place {
            bytes = with_begin(bytes, 3);
        }
        bytes[at + field] = value;
        assert!(open(bytes, WRITE).is_ok(), "{at} {field} {value}");
    }
    // What stands behind the end is nothing either.
    let mut bytes = bytes;
    let end = (place..).step_by(32).find(|at| bytes[*at] == 0).unwrap();
    let entry: [u8; 32] = bytes[place..place + 32].try_into().unwrap();
    bytes[end + 32..end + 64].copy_from_slice(&entry);
    assert!(open(bytes, WRITE).is_ok());
}

#[test]
fn directories_are_looked_at_within_limits() {
    let device = Arc::new(MemDevice::new(image(1 << 20)));
    let fs = Fat::open(device, Mode::ReadOnly).unwrap();
    let volume = &fs.volume;
    let claim = |directories, entries| {
        let mut survey = Survey::new(&*volume.device, &volume.layout, &volume.table).unwrap();
        volume.claim(&mut survey, Limits { directories, entries })
    };
    let error = claim(1, 1000).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("more than 1 directories"), "{error}");
    claim(2, 1000).unwrap();
    let needed = (0..1000).find(|entries| claim(2, *entries).is_ok()).unwrap();
    // The label, two files with their long names, "dir" and the end; two that lead back, one file and the end.
    assert!((9..20).contains(&needed), "{needed}");
}

#[test]
fn boot_sectors_of_every_kind() {
    let good = image(1 << 20);
    let mut refused = 0;
    for place in (0..64).chain([510, 511]) {
        for value in [0, 1, 2, 3, 7, 0x20, 0x7f, 0x80, 0xf8, 0xff] {
            let mut bytes = good.clone();
            bytes[place] = value;
            for mode in [Mode::ReadOnly, WRITE] {
                match open(bytes.clone(), mode) {
                    Ok(fs) => {
                        fs.features();
                        for path in ["/a file", "/dir/inner", "/none"] {
                            let _ = fs.lookup(&at(path)).map(|_| read_file(&fs, &at(path), 1 << 20));
                        }
                    }
                    Err(error) => {
                        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error:?}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 200, "{refused}");
    assert_corrupt(open(good[..good.len() - 512].to_vec(), Mode::ReadOnly), "and the volume");
    assert_corrupt(open(vec![0; 100], Mode::ReadOnly), "too small");
}

#[test]
fn one_that_was_not_unmounted_cleanly() {
    for (size, flags, entry) in
        [(1 << 20, 0x25, None), (64 << 20, 0x25, Some((3, 0x80))), (600 << 20, 0x41, Some((7, 0x08)))]
    {
        let mut bytes = image(size);
        let layout = Layout::parse(&bytes[..BOOT]).unwrap();
        // What is behind the files is not needed.
        let device = |bytes: Vec<u8>| -> Arc<dyn BlockDevice> { Arc::new(Sparse(MemDevice::new(bytes), layout.size)) };
        assert!(Fat::open(device(bytes.clone()), WRITE).is_ok());
        bytes[flags] |= 1;
        let error = Fat::open(device(bytes.clone()), WRITE).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.hint().unwrap().contains("fsck.vfat"), "{error:?}");
        assert!(Fat::open(device(bytes.clone()), Mode::ReadOnly).is_ok());
        bytes[flags] &= !1;
        if let Some((byte, bit)) = entry {
            bytes[layout.table_at as usize + byte] &= !bit;
            assert_eq!(Fat::open(device(bytes), WRITE).unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }
}

/// A device that is larger than what is held of it.
#[derive(Debug)]
struct Sparse(MemDevice, u64);

impl BlockDevice for Sparse {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        if offset >= self.0.size() {
            buf.fill(0);
            return Ok(());
        }
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.0.write_at(buf, offset)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn copies_of_the_table_that_differ() {
    let mut bytes = image(1 << 20);
    let layout = Layout::parse(&bytes[..BOOT]).unwrap();
    bytes[layout.nth_table(1) as usize + 20] ^= 1;
    let mut fs = open(bytes, WRITE).unwrap();
    fs.create_file(&at("/new"), ANY).unwrap();
    fs.put(&at("/new"), &Content::bytes(*b"x")).unwrap();
    assert_corrupt(Box::new(fs).close(), "copies of the table");
}

#[test]
fn names_by_their_cases_and_short_forms() {
    let mut fs = open(image(1 << 20), WRITE).unwrap();
    let same = |fs: &Fat, a: &str, b: &str| fs.lookup(&at(a)).unwrap() == fs.lookup(&at(b)).unwrap();
    assert!(
        same(&fs, "/A FILE", "/a file") && same(&fs, "/AFILE~1", "/a file") && same(&fs, "/DIR/Inner", "/dir/inner")
    );
    fs.create_file(&at("/Größe"), ANY).unwrap();
    assert!(same(&fs, "/GRÖSSE", "/none") && same(&fs, "/gRÖßE", "/Größe"));
    let refused = fs.create_file(&at("/GRÖßE"), ANY).unwrap_err();
    assert!(
        refused.kind() == ErrorKind::Unsupported && refused.message().contains("does not tell it from"),
        "{refused}"
    );
    fs.rename(&at("/größe"), &at("/GRÖßE")).unwrap();
    let names: Vec<_> = fs.read_dir(&at("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert!(names.contains(&"GRÖßE".as_bytes().to_vec()) && !names.contains(&"Größe".as_bytes().to_vec()));
    for name in ["a:b", "end.", "end ", "tab\t"] {
        assert_eq!(fs.create_file(&at("/").child(name.as_bytes()), ANY).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(fs.create_file(&at("/").child(b"\xff"), ANY).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(fs.lookup(&at("/").child(b"\xff")).unwrap(), None);
}

#[test]
fn a_root_directory_that_is_full() {
    let mut fs = open(image(1 << 20), WRITE).unwrap();
    let error = (0..600).find_map(|number| fs.create_file(&at(&format!("/N{number}")), ANY).err()).unwrap();
    assert!(error.kind() == ErrorKind::NoSpace && error.message().contains("root directory"), "{error:?}");
}

/// What a filesystem has become when it is closed.
fn closed(fs: Fat, device: &MemDevice) -> Vec<u8> {
    Box::new(fs).close().unwrap();
    let mut bytes = vec![0; device.size() as usize];
    device.read_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn an_entry_of_twelve_bits_over_the_end_of_a_sector() {
    // That of the cluster 341 has its first four bits in the last byte of a sector, and the others in the next sector.
    for cluster in [340, 341, 342] {
        let bytes = with_links(&[(cluster, Next::Cluster(0x123))]);
        let layout = Layout::parse(&bytes[..BOOT]).unwrap();
        assert!(layout.kind == Kind::Fat12 && layout.holds(0x123) && layout.holds(342));
        let [one, other] = [0, 1].map(|number| {
            let start = layout.nth_table(number) as usize;
            bytes[start..start + layout.table_len as usize].to_vec()
        });
        assert_eq!(one, other, "{cluster}");
        let (table, device) = (Table::new(&layout), MemDevice::new(bytes));
        for near in 340..=343 {
            let expected = if near == cluster { Next::Cluster(0x123) } else { Next::Free };
            assert_eq!(table.next(&device, near).unwrap(), expected, "{cluster}: {near}");
        }
    }
}

/// The small one whose `/dir` has this behind its end, and where that begins.
fn with_behind_end(entry: &[u8; 11]) -> Vec<u8> {
    let mut bytes = image(1 << 20);
    let layout = Layout::parse(&bytes[..BOOT]).unwrap();
    let start = layout.cluster_at(2) as usize;
    let slots = layout.cluster_size as usize / 32;
    let end = (0..slots).find(|slot| bytes[start + slot * 32] == 0).unwrap();
    for slot in end + 1..slots {
        bytes[start + slot * 32..][..11].copy_from_slice(entry);
        bytes[start + slot * 32 + 11] = 0x20;
    }
    bytes
}

#[test]
fn what_was_removed_behind_the_end_of_a_directory_is_room() {
    let device = Arc::new(MemDevice::new(with_behind_end(b"\xe5HOST   TXT")));
    for number in 0..20 {
        let mut fs = Fat::open(Arc::clone(&device) as Arc<dyn BlockDevice>, WRITE).unwrap();
        // Two entries and one, in turn.
        let name = if number % 2 == 0 { format!("/dir/n{number}") } else { format!("/dir/N{number}") };
        fs.create_file(&at(&name), ANY).unwrap();
        let names = reads(&closed(fs, &device)).read_dir(&at("/dir")).unwrap();
        assert_eq!(names.len(), number + 2, "{name}");
    }
}

/// Every change of `/dir` is refused, and it is shown as it was.
fn assert_not_changed(bytes: Vec<u8>, part: &str) {
    let shown = reads(&bytes).read_dir(&at("/dir")).unwrap();
    let device = Arc::new(MemDevice::new(bytes.clone()));
    let mut fs = Fat::open(Arc::clone(&device) as Arc<dyn BlockDevice>, WRITE).unwrap();
    assert_corrupt(fs.create_file(&at("/dir/new"), ANY), part);
    assert_corrupt(fs.create_dir(&at("/dir/NEW"), ANY), part);
    for entry in &shown {
        let inside = at(&format!("/dir/{}", String::from_utf8_lossy(&entry.name)));
        assert_corrupt(fs.remove(&inside), part);
        assert_corrupt(fs.rename(&inside, &at("/elsewhere")), part);
    }
    assert_corrupt(fs.remove(&at("/dir")), part);
    // What lies beside it can be changed.
    fs.create_file(&at("/beside"), ANY).unwrap();
    let after = closed(fs, &device);
    assert_eq!(reads(&after).read_dir(&at("/dir")).unwrap(), shown);
    let layout = Layout::parse(&bytes[..BOOT]).unwrap();
    let (start, len) = (layout.cluster_at(2) as usize, layout.cluster_size as usize);
    assert_eq!(after[start..start + len], bytes[start..start + len]);
}

#[test]
fn a_directory_with_entries_behind_its_end_is_not_changed() {
    assert_not_changed(with_behind_end(b"GHOST   TXT"), "behind its end");
}

#[test]
fn a_directory_without_its_first_two_entries_is_not_changed() {
    let good = image(1 << 20);
    let start = Layout::parse(&good[..BOOT]).unwrap().cluster_at(2) as usize;
    for (place, len) in [(0, 64), (0, 32), (32, 32)] {
        // Zeros, removed, no directory.
        for (from, value) in [(place, 0), (place, 0xe5), (place + 11, 0x20)] {
            let mut bytes = good.clone();
            if value == 0 {
                bytes[start + from..][..len].fill(0);
            } else {
                bytes[start + from] = value;
            }
            let part = if value == 0 { "the directory is damaged" } else { "does not begin with the entries . and .." };
            assert_not_changed(bytes, part);
        }
    }
}

#[test]
fn nothing_of_what_was_there_shows_behind_the_end_of_a_file() {
    let mut bytes = image(1 << 20);
    let layout = Layout::parse(&bytes[..BOOT]).unwrap();
    let free = layout.cluster_at(10) as usize;
    bytes[free..].fill(0xaa);
    let device = Arc::new(MemDevice::new(bytes));
    let mut len = 0;
    // In a sector, to its end, over several, into the next cluster.
    for more in [5_usize, 300, 207, 1, 1500, 2048 * 3 - 1] {
        let mut fs = Fat::open(Arc::clone(&device) as Arc<dyn BlockDevice>, WRITE).unwrap();
        if len == 0 {
            fs.create_file(&at("/new"), ANY).unwrap();
        }
        fs.append(&at("/new"), &Content::bytes(vec![1; more])).unwrap();
        len += more;
        let bytes = closed(fs, &device);
        let fs = reads(&bytes);
        assert_eq!(read_file(&fs, &at("/new"), 1 << 20).unwrap(), vec![1; len]);
        let super::Spot::File(seat) = fs.spot(&at("/new")).unwrap() else { panic!("it is a file") };
        // Its clusters follow each other.
        let start = layout.cluster_at(seat.file.entry.cluster(layout.kind)) as usize;
        let behind = &bytes[start + len..start + len.next_multiple_of(512)];
        assert!(behind.iter().all(|byte| *byte == 0), "{len}");
    }
}

#[test]
fn what_was_removed_leaves_its_places_to_others() {
    let device = Arc::new(MemDevice::new(image(1 << 20)));
    let mut fs = Fat::open(Arc::clone(&device) as Arc<dyn BlockDevice>, WRITE).unwrap();
    let long = at("/dir/a long name that takes several entries");
    fs.create_file(&long, ANY).unwrap();
    fs.remove(&long).unwrap();
    // More of them, one after the other, than the root has places for.
    for number in 0..600 {
        let name = at(&format!("/N{number}"));
        fs.create_file(&name, ANY).unwrap();
        fs.remove(&name).unwrap();
    }
    let bytes = closed(fs, &device);
    let layout = Layout::parse(&bytes[..BOOT]).unwrap();
    let directory = &bytes[layout.cluster_at(2) as usize..][..layout.cluster_size as usize];
    let firsts: Vec<u8> = directory.chunks(32).map(|entry| entry[0]).collect();
    let inner = firsts.iter().position(|first| *first == b'I').unwrap();
    let end = firsts.iter().position(|first| *first == 0).unwrap();
    assert!(end > inner + 4 && firsts[inner + 1..end].iter().all(|first| *first == 0xe5), "{firsts:x?}");
}

#[test]
fn a_table_of_which_only_a_part_is_held_at_once() {
    let mut layout = Layout::parse(&image(600 << 20)[..BOOT]).unwrap();
    assert_eq!(layout.kind, Kind::Fat32);
    (layout.table_len, layout.end) = (4 << 20, 1 << 20);
    let device = MemDevice::new(vec![0; layout.nth_table(2) as usize]);
    // One in each window, and one beside it in the second round, when the first has been written already.
    let clusters: Vec<u32> = (0..85).map(|window| 7 + window * 12_288).collect();
    let mut table = Table::new(&layout);
    for step in [0, 1] {
        for cluster in &clusters {
            table.set(&device, cluster + step, Next::Cluster(*cluster)).unwrap();
        }
    }
    table.flush(&device).unwrap();
    let table = Table::new(&layout);
    for cluster in &clusters {
        for (near, expected) in [(0, Next::Cluster(*cluster)), (1, Next::Cluster(*cluster)), (2, Next::Free)] {
            assert_eq!(table.next(&device, cluster + near).unwrap(), expected, "{cluster}");
        }
    }
    let bytes = device.into_bytes();
    let [one, other] = [0, 1].map(|number| &bytes[layout.nth_table(number) as usize..][..4 << 20]);
    assert!(one == other);
}
