//! The sound images, one for each kind of structure that ext4 has: those that the fuzz target damages too.

use crate::oracle;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where the read-only-compatible features are, and which of them gives everything a checksum.
const RO_COMPAT: usize = 1024 + 0x64;
const METADATA_CSUM: usize = 0x400;
const INODES_PER_GROUP: usize = 1024 + 0x28;
const INODE_SIZE: usize = 1024 + 0x58;
/// Where the group descriptors begin: behind the superblock.
const DESCRIPTORS: usize = 2048;

/// A sound image.
#[derive(Debug)]
pub struct Base {
    pub number: usize,
    pub name: String,
    pub bytes: Vec<u8>,
    /// Where its metadata is not zero, in steps of 16 bytes.
    pub places: Vec<usize>,
    /// Its blocks of metadata, of 1 KiB each.
    pub blocks: Vec<usize>,
}

impl Base {
    /// The blocks with the bitmaps of group 0.
    pub fn bitmaps(&self) -> [usize; 2] {
        [self.word(DESCRIPTORS), self.word(DESCRIPTORS + 4)]
    }

    /// Whether all metadata has checksums.
    pub fn is_summed(&self) -> bool {
        self.word(RO_COMPAT) & METADATA_CSUM != 0
    }

    /// The blocks of group 0 that no file can have: what lies before its bitmaps, these, and its inodes. With `flex_bg`
    /// there may be a file's between them.
    pub fn own(&self) -> BTreeSet<u64> {
        let table = self.word(DESCRIPTORS + 8);
        let inodes = self.word(INODES_PER_GROUP) * (self.word(INODE_SIZE) & 0xffff);
        let [first, second] = self.bitmaps();
        let own = (0..=first).chain([second]).chain(table..table + inodes / 1024);
        own.map(|block| block as u64).collect()
    }

    fn word(&self, at: usize) -> usize {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap()) as usize
    }
}

/// Makes all of them.
pub fn all(scratch: &Path) -> Vec<Base> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/bases.py");
    oracle::run(Command::new("python3").arg(script).arg(scratch));
    let list = std::fs::read_to_string(scratch.join("bases.tsv")).unwrap();
    let numbers = |text: &str| text.split(',').map(|number| number.parse().unwrap()).collect();
    list.lines()
        .enumerate()
        .map(|(number, line)| {
            let fields: Vec<&str> = line.split('\t').collect();
            let bytes = std::fs::read(scratch.join(format!("{}.img", fields[0]))).unwrap();
            Base { number, name: fields[0].into(), bytes, places: numbers(fields[1]), blocks: numbers(fields[2]) }
        })
        .collect()
}
