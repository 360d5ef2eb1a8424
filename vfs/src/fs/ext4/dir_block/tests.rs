use super::*;
use crate::fs::ext4::testing::Random;
use std::collections::BTreeMap;

const FORMATS: [BlockFormat; 4] = [
    BlockFormat { file_types: FileTypes::Stored, checksum_seed: None },
    BlockFormat { file_types: FileTypes::Stored, checksum_seed: Some(0x1234_5678) },
    BlockFormat { file_types: FileTypes::Absent, checksum_seed: None },
    BlockFormat { file_types: FileTypes::Absent, checksum_seed: Some(7) },
];

#[test]
fn a_block_is_a_map() {
    let mut random = Random(2);
    for format in FORMATS {
        for (size, steps) in [(1024, 1500), (4096, 1500), (0x1_0000, 400)] {
            let mut block = DirBlock::empty(size, format).unwrap();
            let mut model = BTreeMap::<Vec<u8>, u32>::new();
            for _ in 0..steps {
                if random.below(3) < 2 {
                    let longest = if random.below(2) == 0 { 255 } else { 12 };
                    let name = random.name(longest);
                    let inode = random.next() as u32 | 1;
                    let file_type = Some(FileType::Symlink);
                    if block.find(&name).is_some() {
                        assert!(block.change(&name, inode, file_type).unwrap());
                        model.insert(name, inode);
                    } else if block.insert(&name, inode, file_type).unwrap() == Placed::Here {
                        model.insert(name, inode);
                    }
                } else if let Some(name) = model.keys().nth(random.below(model.len().max(1))).cloned() {
                    assert!(block.remove(&name).unwrap());
                    assert!(!block.remove(&name).unwrap());
                    model.remove(&name);
                }
                block = DirBlock::parse(block.seal().unwrap().to_vec(), format).unwrap();
                assert!(block.entries().count() == model.len());
            }
            for slot in block.entries() {
                assert_eq!(model.get(slot.name), Some(&slot.inode));
                let stored = format.file_types == FileTypes::Stored;
                assert_eq!(slot.file_type, stored.then_some(FileType::Symlink));
            }
        }
    }
}

#[test]
fn removal_leaves_nothing_behind() {
    let mut block = DirBlock::first(1024, FORMATS[0], 12, 2).unwrap();
    let empty = block.clone().seal().unwrap();
    assert_eq!(block.insert(b"secret", 77, None).unwrap(), Placed::Here);
    assert!(block.remove(b"secret").unwrap());
    assert_eq!(block.seal().unwrap(), empty);
}

#[test]
fn bad_blocks_are_refused() {
    let format = FORMATS[0];
    let good = || {
        let mut block = DirBlock::first(1024, format, 12, 2).unwrap();
        assert_eq!(block.insert(b"name", 13, Some(FileType::Regular)).unwrap(), Placed::Here);
        block.seal().unwrap().to_vec()
    };
    assert!(DirBlock::parse(good(), format).is_ok());
    // Offset and byte: lengths of 0, not of 4, too short, too long, short of the end; names with a slash, a NUL, empty.
    for (offset, byte) in [(4, 0), (4, 13), (4, 8), (28, 0xff), (29, 0xff), (28, 0xe0), (33, b'/'), (33, 0), (30, 0)] {
        let mut bytes = good();
        bytes[offset] = byte;
        assert_eq!(DirBlock::parse(bytes, format).unwrap_err().kind(), ErrorKind::Corrupt, "{offset}: {byte}");
    }
    for size in [0, 4, 11] {
        assert_eq!(DirBlock::parse(vec![0; size], FORMATS[1]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let mut bytes = DirBlock::first(1024, FORMATS[1], 12, 2).unwrap().seal().unwrap().to_vec();
    bytes[0] ^= 1;
    assert_eq!(DirBlock::parse(bytes, FORMATS[1]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(DirBlock::empty(1024, format).unwrap().insert(b"a/b", 5, None).is_err());
    assert!(DirBlock::empty(1024, format).unwrap().insert(b"", 5, None).is_err());
}

#[test]
fn flipped_bytes_end_in_an_error_or_a_block() {
    let mut random = Random(3);
    let format = FORMATS[0];
    for _ in 0..4000 {
        let mut block = DirBlock::first(1024, format, 12, 2).unwrap();
        while block.insert(&random.name(40), 9, None).unwrap() == Placed::Here {}
        let mut bytes = block.seal().unwrap().to_vec();
        for _ in 0..1 + random.below(4) {
            let offset = random.below(bytes.len());
            bytes[offset] = random.next() as u8;
        }
        if let Ok(mut block) = DirBlock::parse(bytes, format) {
            while block.insert(&random.name(255), 9, None).unwrap() == Placed::Here {}
            let names: Vec<Vec<u8>> = block.entries().map(|slot| slot.name.to_vec()).collect();
            for name in names {
                block.remove(&name).unwrap();
            }
            DirBlock::parse(block.seal().unwrap().to_vec(), format).unwrap();
        }
    }
}
