//! Damaged and hostile images: reading them may fail, and nothing else.

use super::iso9660::options as iso_options;
use super::oracle::Random;
use super::sample;
use super::vfat::options as fat_options;
use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::{Content, FileType};
use imgraft_vfs::master::{Drive, Tree, View, iso9660, vfat};
use std::sync::Arc;

const VIEWS: [View; 3] = [View::Best, View::Joliet, View::Plain];

fn small() -> Tree {
    let mut tree = sample::drive();
    tree.put("n".repeat(200) + "/x", Content::bytes(*b"x")).unwrap();
    tree.put("two clusters", Content::bytes(vec![7; 9000])).unwrap();
    tree
}

/// The bytes of an image up to the padding.
fn bytes(image: &dyn BlockDevice, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; (image.size() as usize).min(most)];
    image.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn iso() -> Vec<u8> {
    bytes(&iso9660::image(&small(), &iso_options()).unwrap(), usize::MAX)
}

fn fat(size: u64) -> Vec<u8> {
    bytes(&vfat::image(&small(), &fat_options(size)).unwrap(), usize::MAX)
}

/// Lists and reads everything that can be read; the kinds of failure are those that an image can cause.
fn look(image: Vec<u8>, view: View) -> Result<usize, imgraft_vfs::Error> {
    let size = image.len() as u64;
    let drive = Drive::open(Arc::new(MemDevice::new(image)), view)?;
    for entry in drive.entries() {
        for name in entry.path.split(|byte| *byte == b'/') {
            assert!((1..=255).contains(&name.len()) && name != b"." && name != b".." && !name.contains(&0));
        }
        if entry.file_type == FileType::Regular {
            assert!(entry.size <= size * 1024, "{} bytes", entry.size);
            drive
                .read(entry, 1 << 20)
                .map(|bytes| assert_eq!(bytes.len() as u64, entry.size))
                .or_else(|error| if error.kind() == ErrorKind::Unsupported { Ok(()) } else { Err(error) })?;
        }
    }
    Ok(drive.entries().len())
}

fn survives(image: Vec<u8>, view: View) -> bool {
    match look(image, view) {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error:?}");
            false
        }
    }
}

/// The boot sector and what of the table is in use, or the first descriptor of a volume; in bytes.
const BEGINNING: u64 = 1024;

#[test]
fn flipped_bytes() {
    let rounds = std::env::var("IMGRAFT_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let iso = iso();
    let fat12 = fat(1 << 20);
    let fat16 = fat(9 << 20);
    // The boot sector, the tables, the directories; past the descriptors, the path tables and directories. Half of the damage
    // goes to the beginning: most of a table is about free clusters.
    let parts = [(&iso, 0x8000..0x20000_usize, rounds), (&fat12, 0..0x9000, rounds), (&fat16, 0..0x15000, rounds / 4)];
    for (image, range, rounds) in parts {
        let mut random = Random(7);
        let mut failed = 0;
        for _ in 0..rounds {
            let mut damaged = image.clone();
            for _ in 0..=random.below(4) {
                let len = if random.below(2) == 0 { BEGINNING } else { range.len() as u64 };
                let at = range.start + random.below(len) as usize;
                damaged[at] = random.next() as u8;
            }
            let view = VIEWS[random.below(3) as usize];
            failed += usize::from(!survives(damaged, if image.len() == iso.len() { view } else { View::Best }));
        }
        assert!(failed > rounds / 100, "the damage was noticed {failed} times in {rounds}");
    }
}

#[test]
fn truncated_images() {
    for image in [iso(), fat(1 << 20)] {
        let mut cuts: Vec<usize> = (0..image.len()).step_by(4099).collect();
        cuts.extend([0, 1, 511, 512, 0x8000, 0x87ff, 0x8800]);
        for cut in cuts {
            for view in VIEWS {
                survives(image[..cut.min(image.len())].to_vec(), view);
            }
        }
        assert!(!survives(image[..image.len() / 10].to_vec(), View::Best));
    }
}

/// The message of the refusal.
fn refused(image: Vec<u8>, view: View) -> String {
    let error = look(image, view).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    error.to_string()
}

/// Where the record of a directory begins in an ISO 9660 image, found by its identifier.
fn record(image: &[u8], identifier: &[u8]) -> usize {
    let places = image.windows(identifier.len()).enumerate().filter(|(_, window)| *window == identifier);
    let mut records = places.filter_map(|(at, _)| {
        let start = at.checked_sub(33)?;
        (usize::from(image[at - 1]) == identifier.len() && image[start + 25] == 2 && image[start] > 33).then_some(start)
    });
    records.next().unwrap()
}

#[test]
fn iso_directories_that_lead_back_and_extents_that_lead_out() {
    let image = iso();
    let at = record(&image, b"openstack");
    let root: [u8; 16] = image[0x8000 + 156 + 2..0x8000 + 156 + 18].try_into().unwrap();

    let mut circle = image.clone();
    circle[at + 2..at + 18].copy_from_slice(&root);
    assert!(refused(circle, View::Best).contains("lies in itself"));

    let mut outside = image.clone();
    outside[at + 2..at + 6].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes());
    assert!(refused(outside, View::Best).contains("past the end"));

    let mut huge = image.clone();
    huge[at + 10..at + 14].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(huge, View::Best).contains("too large"));

    let mut interleaved = image.clone();
    interleaved[at + 26] = 1;
    assert!(refused(interleaved, View::Best).contains("damaged"));

    // A name that would lead out of the directory that it is extracted to.
    let name = image.windows(14).position(|window| window == b"NM\x0e\x01\x00openstack").unwrap();
    for evil in [b"../../etc", b"/etc/shad", b"open\0tack"] {
        let mut named = image.clone();
        named[name + 5..name + 14].copy_from_slice(evil);
        assert!(refused(named, View::Best).contains("a name that is none"));
    }

    // A continuation that continues in itself.
    let pointer = image.windows(4).rposition(|window| window == b"CE\x1c\x01").unwrap();
    let number = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    let area = number(pointer + 4) * 2048 + number(pointer + 12);
    let mut endless = image.clone();
    endless.copy_within(pointer..pointer + 28, area);
    assert!(refused(endless, View::Best).contains("does not end"));
}

/// An image whose directory `openstack` has `count` records of this tail: flags, and fields of Rock Ridge. What a field
/// points to lies in the sector that is given to `tail`, and begins with `area`.
fn records(count: usize, flags: u8, area: &[u8], tail: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut image = iso();
    image.resize(image.len().next_multiple_of(2048), 0);
    let place = (image.len() / 2048) as u32;
    image.extend(area);
    image.resize(image.len().next_multiple_of(2048), 0);
    let first = (image.len() / 2048) as u32;
    let fields = tail(place);
    let mut record = vec![0; 33];
    record[0] = (34 + fields.len()) as u8;
    (record[25], record[32]) = (flags, 1);
    record.push(b'A');
    record.extend(fields);
    let mut sector = record.repeat(2048 / record.len());
    let each = 2048 / record.len();
    sector.resize(2048, 0);
    let sectors = count.div_ceil(each);
    image.extend(sector.repeat(sectors));
    let at = self::record(&image, b"openstack");
    image[at + 2..at + 6].copy_from_slice(&first.to_le_bytes());
    image[at + 10..at + 14].copy_from_slice(&(sectors as u32 * 2048).to_le_bytes());
    image
}

/// A "CE" field: what is said goes on at a sector, an offset, for so many bytes.
fn continues(sector: u32, offset: u32, len: u32) -> Vec<u8> {
    let mut field = vec![b'C', b'E', 28, 1];
    for number in [sector, offset, len] {
        field.extend(number.to_le_bytes());
        field.extend(number.to_be_bytes());
    }
    field
}

#[test]
fn iso_records_are_counted_whatever_comes_of_them() {
    const FULL: &str = "more files than are read here";
    let moved = b"RE\x04\x01".to_vec();
    assert!(refused(records(200_100, 0, &[], |_| moved.clone()), View::Best).contains(FULL));
    assert!(refused(records(200_100, 0x80, &[], |_| Vec::new()), View::Best).contains(FULL));

    // 32 continuations for each record, and the last one says that it is none. The sector is known beforehand.
    let sector = (iso().len().div_ceil(2048)) as u32;
    let mut chain: Vec<u8> = (1..32).flat_map(|next| continues(sector, next * 28, 28)).collect();
    chain.extend(&moved);
    let image = records(12_600, 0, &chain, |place| {
        assert_eq!(place, sector);
        continues(place, 0, 28)
    });
    assert!(refused(image, View::Best).contains("continues too often"));

    // Links of more than 64 MiB in all: eight times 250 bytes each, where a record has hardly any.
    let mut link = vec![b'S', b'L', 255, 1, 0, 0, 248];
    link.extend([b'x'; 248]);
    let area = link.repeat(8);
    let image = records(34_000, 0, &area, |place| continues(place, 0, area.len() as u32));
    assert!(refused(image, View::Best).contains(FULL));
}

#[test]
fn fat_chains_that_run_in_circles_and_out() {
    let image = fat(9 << 20);
    let table = usize::from(u16::from_le_bytes([image[14], image[15]])) * 512;
    let short = image.windows(11).position(|window| window == b"TWOCLU~1   ").unwrap();
    let first = u16::from_le_bytes([image[short + 26], image[short + 27]]);
    let entry = table + usize::from(first) * 2;
    let with = |at: usize, bytes: &[u8]| {
        let mut damaged = image.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        damaged
    };
    assert!(look(image.clone(), View::Best).is_ok());
    // A file's chain ends where its size says, so a circle shows when the size is large.
    let mut circle = with(entry, &first.to_le_bytes());
    circle[short + 28..short + 32].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(circle, View::Best).contains("in a circle"));
    assert!(refused(with(entry, &[0xff, 0xff]), View::Best).contains("ends before"));
    assert!(refused(with(entry, &[0, 0]), View::Best).contains("free or bad"));
    assert!(refused(with(short + 26, &[0xf0, 0xfe]), View::Best).contains("out of the filesystem"));

    let directory = image.windows(11).position(|window| window == b"OPENST~1   ").unwrap();
    let first = u16::from_le_bytes([image[directory + 26], image[directory + 27]]);
    let circle = refused(with(table + usize::from(first) * 2, &first.to_le_bytes()), View::Best);
    assert!(circle.contains("too long") || circle.contains("in a circle"), "{circle}");

    // A directory in itself.
    let at = usize::from(u16::from_le_bytes([image[22], image[23]])) * 1024 + table + 512 * 32;
    let cluster = usize::from(image[13]) * 512;
    let inside = at + (usize::from(first) - 2) * cluster;
    let latest = image[inside..].windows(11).position(|window| window == b"LATEST     ").unwrap() + inside;
    assert!(refused(with(latest + 26, &first.to_le_bytes()), View::Best).contains("lies in itself"));

    // More sectors than there are.
    assert!(refused(with(19, &[0xff, 0xff]), View::Best).contains("the image"));
}
