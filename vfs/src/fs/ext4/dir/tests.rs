use super::*;
use crate::fs::ext4::dir_block::entry_length;
use crate::fs::ext4::htree::{CharSign, HashFunction};
use crate::fs::ext4::testing::Random;
use std::collections::{BTreeMap, BTreeSet};

/// A directory in memory.
#[derive(Clone)]
pub(in crate::fs::ext4) struct MemStore {
    pub(in crate::fs::ext4) size: usize,
    pub(in crate::fs::ext4) blocks: Vec<Vec<u8>>,
    /// How many blocks there is room for.
    pub(in crate::fs::ext4) room: usize,
}

impl DirStore for MemStore {
    fn block_size(&self) -> usize {
        self.size
    }
    fn blocks(&self) -> Result<u32> {
        Ok(u32::try_from(self.blocks.len()).unwrap())
    }
    fn read(&self, logical: u32) -> Result<BlockBytes> {
        let block = self.blocks.get(logical as usize);
        Ok(block.expect("the block is in the directory").clone().into())
    }
    fn write(&mut self, logical: u32, block: BlockBytes) -> Result<()> {
        assert_eq!(block.len(), self.size);
        self.blocks[logical as usize] = block.to_vec();
        Ok(())
    }
    fn append(&mut self) -> Result<u32> {
        if self.blocks.len() == self.room {
            return Err(Error::new(ErrorKind::NoSpace, Layer::Filesystem, "no room"));
        }
        self.blocks.push(vec![0xaa; self.size]);
        Ok(u32::try_from(self.blocks.len() - 1).unwrap())
    }
}

pub(in crate::fs::ext4) fn hasher() -> NameHash {
    NameHash { function: HashFunction::HalfMd4, sign: CharSign::Signed, seed: [1, 2, 3, 4] }
}

pub(in crate::fs::ext4) fn context() -> DirContext {
    DirContext {
        checksum_seed: Some(0xfeed_beef),
        file_types: FileTypes::Stored,
        index: IndexSupport::Present { hash: hasher(), depth: IndexDepth::One },
        layout: DirLayout::Linear,
    }
}

fn new_dir(context: &DirContext, size: usize) -> MemStore {
    MemStore { size, blocks: vec![context.first_block(size, 12, 2).unwrap().to_vec()], room: usize::MAX }
}

const WITHOUT_INDEX: DirContext = DirContext {
    checksum_seed: None,
    file_types: FileTypes::Absent,
    index: IndexSupport::Absent,
    layout: DirLayout::Linear,
};

fn check(context: &DirContext, store: &MemStore, model: &BTreeMap<Vec<u8>, u32>) {
    let listed = context.list(store).unwrap();
    assert_eq!(listed.len(), model.len());
    for entry in listed {
        assert_eq!(model.get(&entry.name), Some(&entry.inode));
    }
    assert_eq!(context.is_empty(store).unwrap(), model.is_empty());
    assert_eq!(context.find(store, b".").unwrap().unwrap().inode, 12);
    assert_eq!(context.find(store, b"..").unwrap().unwrap().inode, 2);
}

/// Every leaf holds only what its range in the index says, every block is referenced once, all leaves are equally deep.
fn check_index(context: &DirContext, store: &MemStore) {
    let seed = context.checksum_seed;
    let root = IndexBlock::parse_root(store.blocks[0].clone(), seed).unwrap();
    let levels = root.levels();
    let mut seen = BTreeSet::from([0_u32]);
    let mut level: Vec<(u32, u32, u32)> = ranges(&root, 0, u32::MAX);
    for _ in 0..levels {
        level = level
            .into_iter()
            .flat_map(|(block, low, high)| {
                assert!(seen.insert(block));
                let node = IndexBlock::parse_node(store.blocks[block as usize].clone(), seed).unwrap();
                ranges(&node, low, high)
            })
            .collect();
    }
    for (block, low, high) in level {
        assert!(seen.insert(block));
        for slot in context.block(store, block).unwrap().entries() {
            let hash = hasher().of(slot.name);
            assert!(low & !1 <= hash && hash <= high, "{hash:x} outside {low:x} to {high:x}");
        }
    }
    assert_eq!(seen.len(), store.blocks.len());
}

fn ranges(index: &IndexBlock, low: u32, high: u32) -> Vec<(u32, u32, u32)> {
    let entries = index.entries();
    let begin = |i: usize| if i == 0 { low } else { entries[i].hash };
    // A range whose successor continues it may hold the successor's hash; else it ends below it.
    let end =
        |i: usize| entries.get(i + 1).map_or(high, |next| if next.hash & 1 == 1 { next.hash } else { next.hash - 1 });
    entries.iter().enumerate().map(|(i, entry)| (entry.block, begin(i), end(i))).collect()
}

fn fill(mut context: DirContext, size: usize, count: usize, longest: usize) -> (DirContext, MemStore) {
    let mut random = Random(4);
    let mut store = new_dir(&context, size);
    let mut model = BTreeMap::new();
    let mut refused = false;
    while model.len() < count && !refused {
        let name = random.name(longest);
        let inode = random.next() as u32 | 1;
        match context.insert(&mut store, &name, inode, FileType::Regular) {
            Ok(_) => assert!(model.insert(name, inode).is_none()),
            Err(error) if error.kind() == ErrorKind::Invalid => assert!(model.contains_key(&name)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace);
                refused = true;
            }
        }
    }
    check(&context, &store, &model);
    if context.layout == DirLayout::Indexed {
        check_index(&context, &store);
    }
    for (name, inode) in &model {
        assert_eq!(context.find(&store, name).unwrap().unwrap().inode, *inode);
    }
    assert!(context.find(&store, b"not there").unwrap().is_none());
    // Replace a third, remove two thirds, put some back.
    let names: Vec<Vec<u8>> = model.keys().cloned().collect();
    for (number, name) in names.iter().enumerate() {
        if number % 3 == 0 {
            let former = context.replace(&mut store, name, 5, FileType::Directory).unwrap();
            assert_eq!(Some(former.inode), model.insert(name.clone(), 5));
        } else {
            assert_eq!(Some(context.remove(&mut store, name).unwrap().inode), model.remove(name));
            assert_eq!(context.remove(&mut store, name).unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
    check(&context, &store, &model);
    for name in names.iter().skip(1).step_by(6) {
        context.insert(&mut store, name, 6, FileType::Fifo).unwrap();
        model.insert(name.clone(), 6);
    }
    check(&context, &store, &model);
    assert_eq!(context.set_parent(&mut store, 99).unwrap(), 2);
    assert_eq!(context.find(&store, b"..").unwrap().unwrap().inode, 99);
    assert_eq!(context.set_parent(&mut store, 2).unwrap(), 99);
    for name in model.keys() {
        context.remove(&mut store, name).unwrap();
    }
    check(&context, &store, &BTreeMap::new());
    (context, store)
}

#[test]
fn large_blocks_hold_fifty_thousand_names() {
    let (context, store) = fill(context(), 4096, 50_000, 255);
    assert_eq!(context.layout, DirLayout::Indexed);
    assert_eq!(IndexBlock::parse_root(store.blocks[0].clone(), context.checksum_seed).unwrap().levels(), 1);
}

#[test]
fn small_blocks_hold_fifty_thousand_names_three_deep() {
    let deep = IndexSupport::Present { hash: hasher(), depth: IndexDepth::Two };
    let (context, store) = fill(DirContext { index: deep, ..context() }, 1024, 50_000, 255);
    assert_eq!(IndexBlock::parse_root(store.blocks[0].clone(), context.checksum_seed).unwrap().levels(), 2);
}

#[test]
fn without_large_dir_an_index_is_full_some_day() {
    let mut context = context();
    let mut store = new_dir(&context, 1024);
    let mut count = 0_u32;
    let full = loop {
        let name = format!("{count:0250}");
        if let Err(error) = context.insert(&mut store, name.as_bytes(), 7, FileType::Regular) {
            break error;
        }
        count += 1;
    };
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    assert!(count > 15_000, "{count}");
    check_index(&context, &store);
}

#[test]
fn linear_directories_grow() {
    let (context, store) = fill(WITHOUT_INDEX, 1024, 700, 255);
    assert_eq!(context.layout, DirLayout::Linear);
    assert!(store.blocks.len() > 50);
    fill(DirContext { checksum_seed: Some(3), ..WITHOUT_INDEX }, 4096, 700, 255);
}

#[test]
fn without_checksums() {
    fill(DirContext { checksum_seed: None, ..context() }, 1024, 5000, 100);
    fill(DirContext { file_types: FileTypes::Absent, ..context() }, 2048, 5000, 255);
}

/// The ends of names that all have the same legacy hash after 200 times `x`; found by trying.
const COLLIDING: &str = "000aaaaa 0013fHsD 005D5vlX 010gmL3K 011hejtw 017MhU9F 021y4AUU 025ynGnN 026doQAc 0279oFMI 028j6Ed3 \
     032tWxBm 034jbUZg 0353ZiUX 036S0Chn 037PNR2N 0392Q4WS 041Npd8e 045PCfZf 046pQK8b 048JVhRo 049di55U \
     051QvqmA 052jkwnE 053bDnvd 055OkSfH 059wgAVL 063YYm6o 064jWrCU 068onhl4 070SSH2l 071mySNk 076Vl5R9 \
     078PFaCy 079ZTVfW 080RBaTM 081o9ekP 082ewK0O 085ljme2 088WI3rE";

pub(in crate::fs::ext4) fn colliding() -> impl Iterator<Item = Vec<u8>> {
    COLLIDING.split(' ').map(|end| [&[b'x'; 200], end.as_bytes()].concat())
}

/// Names of one hash spill over many leaves, and are all found.
#[test]
fn collisions() {
    let weak = NameHash { function: HashFunction::Legacy, ..hasher() };
    let names: Vec<Vec<u8>> = colliding().collect();
    let hashes: BTreeSet<u32> = names.iter().map(|name| weak.of(name)).collect();
    assert_eq!((names.len(), hashes.len()), (40, 1));
    let mut context = DirContext { index: IndexSupport::Present { hash: weak, depth: IndexDepth::One }, ..context() };
    let mut store = new_dir(&context, 1024);
    let mut random = Random(11);
    let mut model = BTreeMap::new();
    for round in 0..4 {
        for name in &names {
            for _ in 0..random.below(10) {
                let other = random.name(255);
                context.insert(&mut store, &other, 6, FileType::Regular).unwrap();
                model.insert(other, 6);
            }
            context.insert(&mut store, name, 5, FileType::Regular).unwrap();
            model.insert(name.clone(), 5);
            let again = context.insert(&mut store, name, 5, FileType::Regular).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Invalid);
        }
        check(&context, &store, &model);
        for name in model.keys() {
            assert!(context.find(&store, name).unwrap().is_some());
        }
        if round < 3 {
            for name in &names {
                context.remove(&mut store, name).unwrap();
                assert!(context.find(&store, name).unwrap().is_none());
                model.remove(name);
            }
        }
    }
    let leaves = store.blocks.iter().enumerate().filter(|(number, _)| {
        let block = context.block(&store, *number as u32);
        block.is_ok_and(|block| block.entries().any(|slot| weak.of(slot.name) == weak.of(&names[0])))
    });
    assert!(leaves.count() > 8);
}

#[test]
fn no_room_changes_nothing() {
    let mut context = context();
    let mut store = new_dir(&context, 1024);
    let mut random = Random(8);
    for room in [1, 2, 3, 10, 150, 151, 152] {
        store.room = room;
        loop {
            let before = (context, store.clone());
            let name = random.name(255);
            match context.insert(&mut store, &name, 3, FileType::Socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NoSpace => {
                    // An index may have grown; the names are what they were.
                    assert_eq!(before.0.list(&before.1).unwrap().len(), context.list(&store).unwrap().len());
                    break;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        if context.layout == DirLayout::Indexed {
            check_index(&context, &store);
        }
    }
}

#[test]
fn unsupported_indexes_are_read_and_never_grown() {
    let (mut context, mut store) = {
        let mut context = DirContext { checksum_seed: None, ..context() };
        let mut store = new_dir(&context, 1024);
        for number in 0..200 {
            context.insert(&mut store, format!("name{number}").as_bytes(), 9, FileType::Regular).unwrap();
        }
        (context, store)
    };
    let good = store.clone();
    // Hash version, information length, levels, flags.
    for (offset, value, kind) in [
        (28, 3, ErrorKind::Unsupported),
        (28, 6, ErrorKind::Unsupported),
        (29, 12, ErrorKind::Corrupt),
        (30, 2, ErrorKind::Unsupported),
        (31, 1, ErrorKind::Unsupported),
        (24, 1, ErrorKind::Corrupt),
    ] {
        store = good.clone();
        store.blocks[0][offset] = value;
        let bad = store.clone();
        assert_eq!(context.insert(&mut store, b"new", 9, FileType::Regular).unwrap_err().kind(), kind);
        assert_eq!(store.blocks, bad.blocks);
        if kind == ErrorKind::Unsupported {
            assert_eq!(context.list(&store).unwrap().len(), 200);
            assert!(context.find(&store, b"name7").unwrap().is_some());
            context.remove(&mut store, b"name7").unwrap();
            assert_eq!(context.list(&store).unwrap().len(), 199);
        }
    }
    store = good.clone();
    context.index = IndexSupport::Absent;
    assert_eq!(context.list(&store).unwrap().len(), 200);
    assert_eq!(context.insert(&mut store, b"new", 9, FileType::Regular).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Index entries that lead in circles or outside end in an error.
#[test]
fn hostile_indexes_end() {
    let mut random = Random(6);
    let mut context = DirContext { checksum_seed: None, ..context() };
    let mut store = new_dir(&context, 1024);
    let mut names = Vec::new();
    while store.blocks.len() < 200 {
        let name = random.name(200);
        if context.insert(&mut store, &name, 9, FileType::Regular).is_ok() {
            names.push(name);
        }
    }
    for round in 0..1000 {
        let mut bad = store.clone();
        for _ in 0..1 + random.below(6) {
            // Mostly the root and the nodes: there the paths are.
            let block = if random.below(2) == 0 { 0 } else { random.below(bad.blocks.len()) };
            let offset = if random.below(2) == 0 { random.below(64) } else { random.below(1024) };
            bad.blocks[block][offset] = random.next() as u8;
        }
        let name = &names[round % names.len()];
        let _ = context.find(&bad, name);
        let _ = context.list(&bad);
        let _ = context.is_empty(&bad);
        let mut copy = context;
        let _ = copy.insert(&mut bad, &random.name(255), 3, FileType::Regular);
        let _ = context.remove(&mut bad, name);
        let _ = context.set_parent(&mut bad, 3);
    }
    // All entries of all index blocks lead to one node or leaf, with one hash.
    for target in 0..200_u32 {
        let mut bad = store.clone();
        for number in 0..bad.blocks.len() {
            let at = if number == 0 { 32 } else { 8 };
            if number == 0 || IndexBlock::looks_like_node(&bad.blocks[number]) {
                for entry in bad.blocks[number][at..].chunks_exact_mut(8) {
                    entry[4..].copy_from_slice(&target.to_le_bytes());
                }
            }
        }
        let _ = context.find(&bad, &names[0]);
        let _ = context.insert(&mut bad, b"new", 3, FileType::Regular);
    }
}

#[test]
fn a_block_whose_checksum_is_wrong_is_refused() {
    let mut context = context();
    let mut store = new_dir(&context, 1024);
    let mut random = Random(5);
    for number in 1..300 {
        context.insert(&mut store, &random.name(60), number, FileType::Regular).unwrap();
    }
    context.insert(&mut store, b"name", 300, FileType::Regular).unwrap();
    assert_eq!(context.layout, DirLayout::Indexed);
    for number in 0..store.blocks.len() {
        let mut bad = store.clone();
        *bad.blocks[number].last_mut().unwrap() ^= 1;
        assert_eq!(context.list(&bad).unwrap_err().kind(), ErrorKind::Corrupt, "block {number}");
        if number == 0 {
            assert_eq!(context.find(&bad, b"name").unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}

#[test]
fn names_that_cannot_be() {
    let mut context = context();
    let mut store = new_dir(&context, 1024);
    let long = vec![b'a'; 256];
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &long] {
        let kind = context.insert(&mut store, name, 5, FileType::Regular).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Invalid);
        assert_eq!(context.remove(&mut store, name).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(entry_length(255), 264);
    context.insert(&mut store, &long[1..], 5, FileType::Regular).unwrap();
    assert_eq!(context.insert(&mut store, &long[1..], 5, FileType::Regular).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(context.insert(&mut store, b"zero", 0, FileType::Regular).unwrap_err().kind(), ErrorKind::Invalid);
}
