use super::*;
use crate::error::ErrorKind;
use std::cmp::Ordering;
use std::collections::BTreeMap;

#[derive(Debug)]
struct Held(Vec<Vec<u8>>);

impl QuotaBlocks for Held {
    fn count(&self) -> u32 {
        self.0.len() as u32
    }

    fn read(&self, number: u32) -> Result<Vec<u8>> {
        self.0.get(number as usize).cloned().ok_or_else(|| corrupt("past the end"))
    }

    fn write(&mut self, number: u32, block: &[u8]) -> Result<()> {
        assert_eq!(block.len(), BLOCK);
        match number.cmp(&self.count()) {
            Ordering::Less => self.0[number as usize] = block.to_vec(),
            Ordering::Equal => self.0.push(block.to_vec()),
            Ordering::Greater => return Err(corrupt("past the end")),
        }
        Ok(())
    }
}

fn empty() -> Held {
    let mut header = vec![0; BLOCK];
    for (offset, value) in [(0, Kind::User.magic()), (4, 1), (8, 10), (12, 20), (20, 2)] {
        le::put(&mut header, offset, &u32::to_le_bytes(value)).unwrap();
    }
    Held(vec![header, vec![0; BLOCK]])
}

/// Every entry that the tree leads to, and that each is counted in its block.
fn entries(held: &Held) -> BTreeMap<u32, (u64, u64)> {
    fn walk(held: &Held, number: u32, level: u32, found: &mut BTreeMap<u32, (u64, u64)>) {
        let block = &held.0[number as usize];
        if level == 4 {
            let slots: Vec<Entry> = block[HEADER..].chunks_exact(entry::LENGTH).filter_map(Entry::parse).collect();
            assert_eq!(slots.len(), usize::from(le::u16_at(block, COUNT).unwrap()));
            found.extend(slots.iter().map(|entry| (entry.id(), entry.usage())));
            return;
        }
        for place in (0..BLOCK).step_by(4) {
            match reference(block, place) {
                0 => {}
                next => walk(held, next, level + 1, found),
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(held, ROOT, 0, &mut found);
    found
}

#[test]
fn every_owner_has_one_entry() {
    let mut held = empty();
    let mut expected: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let ids = (0..40).chain([255, 256, 65_535, 65_536, 70_000, 1 << 24, u32::MAX, 0, 256, 39]);
    for (step, id) in ids.enumerate() {
        let step = step as u64 + 1;
        let mut tree = Tree::open(held, Kind::User).unwrap();
        tree.apply(id, Change { space: (step * 1024) as i64, inodes: step as i64 }, 5).unwrap();
        held = tree.close().unwrap();
        let usage = expected.entry(id).or_default();
        *usage = (usage.0 + step * 1024, usage.1 + step);
        assert_eq!(entries(&held), expected, "{id}");
    }
    // 47 entries of 14 a block: what is full is used no more.
    let with_room = le::u32_at(&held.0[0], 28).unwrap();
    assert_eq!(le::u16_at(&held.0[with_room as usize], COUNT), Some(47 % 14));
}

#[test]
fn a_free_block_is_used_before_the_file_grows() {
    let mut held = empty();
    let mut free = vec![0xee; BLOCK];
    le::put(&mut free, NEXT, &[0; 8]).unwrap();
    held.0.push(free);
    le::put(&mut held.0[0], 20, &3_u32.to_le_bytes()).unwrap();
    le::put(&mut held.0[0], 24, &2_u32.to_le_bytes()).unwrap();
    let mut tree = Tree::open(held, Kind::User).unwrap();
    tree.apply(9, Change { space: 1, inodes: 1 }, 0).unwrap();
    let held = tree.close().unwrap();
    assert_eq!(entries(&held), BTreeMap::from([(9, (1, 1))]));
    assert_eq!((held.0.len(), le::u32_at(&held.0[0], 24)), (6, Some(0)));
}

#[test]
fn a_list_is_mended_around_a_block_that_fills() {
    let mut held = empty();
    for number in 2..5_u32 {
        let mut block = vec![0; BLOCK];
        // 3 is first, full but for one; 2 and 4 follow.
        let (next, previous) = [(4, 3), (2, 0), (0, 2)][number as usize - 2];
        for slot in block[HEADER..].chunks_exact_mut(entry::LENGTH).take(13) {
            slot.copy_from_slice(&Entry::new(1000 + number).encode());
        }
        for (offset, value) in [(NEXT, next), (PREVIOUS, previous), (COUNT, 13)] {
            le::put(&mut block, offset, &u32::to_le_bytes(value)).unwrap();
        }
        held.0.push(block);
    }
    le::put(&mut held.0[0], 20, &5_u32.to_le_bytes()).unwrap();
    le::put(&mut held.0[0], 28, &3_u32.to_le_bytes()).unwrap();
    let mut tree = Tree::open(held, Kind::User).unwrap();
    tree.apply(9, Change { space: 1, inodes: 1 }, 0).unwrap();
    let held = tree.close().unwrap();
    let links = |number: usize| (le::u32_at(&held.0[number], NEXT), le::u32_at(&held.0[number], PREVIOUS));
    assert_eq!(le::u32_at(&held.0[0], 28), Some(2));
    assert_eq!([links(2), links(3), links(4)], [(Some(4), Some(0)), (Some(0), Some(0)), (Some(0), Some(2))]);
}

#[test]
fn damage_only_makes_it_fail() {
    let mut sound = empty();
    for id in [0, 1, 300, 70_000] {
        let mut tree = Tree::open(sound, Kind::User).unwrap();
        tree.apply(id, Change { space: 1, inodes: 1 }, 0).unwrap();
        sound = tree.close().unwrap();
    }
    let mut failed = 0;
    for number in 0..sound.0.len() {
        for offset in (0..BLOCK).step_by(4) {
            if number > 1 && sound.0[number][offset..offset + 4] == [0; 4] {
                continue;
            }
            for value in [0, 1, number as u32, 0xffff_ffff] {
                let mut held = Held(sound.0.clone());
                le::put(&mut held.0[number], offset, &value.to_le_bytes()).unwrap();
                let Ok(mut tree) = Tree::open(held, Kind::User) else {
                    failed += 1;
                    continue;
                };
                for id in [1, 2, 70_000, 70_001] {
                    failed += u32::from(tree.apply(id, Change { space: 1, inodes: -1 }, 0).is_err());
                }
            }
        }
    }
    assert!(failed > 50, "{failed}");
    let other = Tree::open(empty(), Kind::Group).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Corrupt);
}
