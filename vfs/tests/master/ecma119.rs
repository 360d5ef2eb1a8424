//! What readers of ISO 9660 do not look at: the second of each pair of byte orders, path tables, `..`, the order of names.

use std::collections::{BTreeMap, VecDeque};

const SECTOR: usize = 2048;

fn little(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn big(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// A number in both byte orders, which have to agree.
fn both32(bytes: &[u8], at: usize) -> u32 {
    assert_eq!(little(bytes, at), big(bytes, at + 4), "byte orders at {at}: {}", bytes[..34].escape_ascii());
    little(bytes, at)
}

fn both16(bytes: &[u8], at: usize) -> u16 {
    let [a, b, c, d] = bytes[at..at + 4].try_into().unwrap();
    assert_eq!(u16::from_le_bytes([a, b]), u16::from_be_bytes([c, d]), "byte orders at {at}");
    u16::from_le_bytes([a, b])
}

/// Whether the order of names is looked at: genisoimage's is another one where a name has several dots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Checked,
    Any,
}

/// Checks both trees of an image against ECMA-119, sections 6.9, 7, 8.4, 9.1, 9.3 and 9.4.
pub fn check(image: &[u8], order: Order) {
    let mut trees = 0;
    for descriptor in image[16 * SECTOR..].chunks(SECTOR).take_while(|descriptor| descriptor[0] != 255) {
        assert_eq!(&descriptor[1..7], b"CD001\x01");
        if matches!(descriptor[0], 1 | 2) {
            tree(image, descriptor, order);
            trees += 1;
        }
    }
    assert_eq!(trees, 2);
}

fn tree(image: &[u8], descriptor: &[u8], order: Order) {
    assert_eq!(both32(descriptor, 80) as usize * SECTOR, image.len());
    assert_eq!([both16(descriptor, 120), both16(descriptor, 124), both16(descriptor, 128)], [1, 1, 2048]);
    let size = both32(descriptor, 132) as usize;
    let table = |at: u32, number32: fn(&[u8], usize) -> u32, number16: fn([u8; 2]) -> u16| {
        let bytes = &image[at as usize * SECTOR..][..size];
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let length = usize::from(bytes[at]);
            let parent = number16(bytes[at + 6..at + 8].try_into().unwrap());
            found.push((bytes[at + 8..at + 8 + length].to_vec(), number32(bytes, at + 2), parent));
            at += (8 + length).next_multiple_of(2);
        }
        found
    };
    let table_little = table(little(descriptor, 140), little, u16::from_le_bytes);
    assert_eq!(table_little, table(big(descriptor, 148), big, u16::from_be_bytes), "the two path tables");

    // Directories by level, parent and name: the path table is that order.
    let root = &descriptor[156..190];
    let mut expected: Vec<(Vec<u8>, u32, u16)> = Vec::new();
    let mut waiting = VecDeque::from([(vec![0], both32(root, 2), both32(root, 10), 1_u16)]);
    let mut places = BTreeMap::new();
    while let Some((name, at, size, parent)) = waiting.pop_front() {
        expected.push((name, at, parent));
        let number = u16::try_from(expected.len()).unwrap();
        places.insert(number, (at, size));
        let bytes = &image[at as usize * SECTOR..][..size as usize];
        let mut names = Vec::new();
        let mut count = 0;
        for sector in bytes.chunks(SECTOR) {
            let mut from = 0;
            while from < SECTOR && sector[from] != 0 {
                let record = &sector[from..from + usize::from(sector[from])];
                from += record.len();
                let name = &record[33..33 + usize::from(record[32])];
                let extent = (both32(record, 2), both32(record, 10));
                assert_eq!(both16(record, 28), 1);
                assert_eq!(record.len() % 2, 0);
                match count {
                    0 => assert!(name == [0] && extent == (at, size), "the directory's own record"),
                    1 => assert!(name == [1] && extent == places[&parent], "the record of the directory before it"),
                    _ => names.push(name.to_vec()),
                }
                if count > 1 && record[25] & 2 != 0 {
                    waiting.push_back((name.to_vec(), extent.0, extent.1, number));
                }
                count += 1;
                fields(&record[(33 + name.len()).next_multiple_of(2)..]);
            }
        }
        let key = |name: &Vec<u8>| match name.iter().rposition(|byte| *byte == b'.') {
            Some(dot) if descriptor[0] == 1 => (name[..dot].to_vec(), name[dot + 1..].to_vec()),
            _ => (name.clone(), Vec::new()),
        };
        let is_sorted = names.windows(2).all(|pair| key(&pair[0]) < key(&pair[1]));
        assert!(is_sorted || order == Order::Any, "the order of names");
    }
    assert_eq!(table_little, expected, "the path table and the directories");
}

/// The numbers of Rock Ridge's fields.
fn fields(mut rest: &[u8]) {
    while rest.len() >= 4 && rest[2] >= 4 {
        let (field, more) = rest.split_at(usize::from(rest[2]));
        let numbers = match &field[..2] {
            b"PX" => [4, 12, 20, 28].as_slice(),
            b"CE" => &[4, 12, 20],
            _ => &[],
        };
        for at in numbers {
            both32(field, *at);
        }
        rest = more;
    }
}
