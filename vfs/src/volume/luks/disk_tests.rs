//! Disks with many LUKS volumes: what is bounded for all of them.

use super::{COPY, SIZE, copy, disk, json, volume};
use crate::block::{BlockDevice, MemDevice};
use crate::error::{Error, ErrorKind};
use crate::volume::luks::{Header, MAX_HEADERS};
use crate::volume::{Key, Keys, Mark, Selector, Survey, VolumeInfo, list};
use std::num::NonZeroU32;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A disk whose logical partitions, from 5, have these volumes in them.
fn divided(volumes: &[Vec<u8>]) -> Arc<dyn BlockDevice> {
    let mut bytes = vec![0; 512];
    let sectors: usize = volumes.iter().map(|volume| 1 + volume.len() / 512).sum();
    let entry = |record: &mut [u8], slot: usize, kind: u8, start: usize, len: usize| {
        let at = 446 + slot * 16;
        record[at + 4] = kind;
        record[at + 8..at + 12].copy_from_slice(&(start as u32).to_le_bytes());
        record[at + 12..at + 16].copy_from_slice(&(len as u32).to_le_bytes());
        record[510..512].copy_from_slice(&[0x55, 0xaa]);
    };
    entry(&mut bytes, 0, 5, 1, sectors);
    for (number, volume) in volumes.iter().enumerate() {
        let (at, len) = (bytes.len(), volume.len() / 512);
        bytes.resize(at + 512, 0);
        entry(&mut bytes[at..], 0, 0x83, 1, len);
        if number + 1 < volumes.len() {
            entry(&mut bytes[at..], 1, 5, at / 512 + len, 1 + len);
        }
        bytes.extend_from_slice(volume);
    }
    disk(bytes)
}

/// A volume whose keyslot is as much work as it may be, and fails at once: argon2 takes no such little memory.
fn costly() -> Vec<u8> {
    let json = json(512).replacen("\"time\":1,\"memory\":64,", "\"time\":67108864,\"memory\":1,", 1);
    volume(&json, &json)
}

fn key(volume: Option<Selector>, passphrase: &str) -> Key {
    Key::new(volume, Zeroizing::new(passphrase.as_bytes().to_vec()))
}

fn index(number: u32) -> Selector {
    Selector::Index(NonZeroU32::new(number).unwrap())
}

/// Why each volume is not open, where it is not.
fn locked(disk: &Arc<dyn BlockDevice>, keys: Vec<Key>) -> Vec<Option<Error>> {
    let mut survey = Survey::new(disk, list(disk).unwrap()).unwrap();
    survey.unlock(&Keys::new(keys)).unwrap();
    let volumes: Vec<VolumeInfo> = survey.volumes().to_vec();
    volumes.iter().filter(|volume| volume.index.is_some()).map(|volume| survey.locked(volume)).collect()
}

#[test]
fn keys_for_all_volumes_have_their_work_together() {
    let mut volumes = vec![costly(); 5];
    volumes.push(volume(&json(512), &json(512)));
    let disk = divided(&volumes);
    let tried = "argon2 cannot do it";
    let told = |keys| {
        let all = locked(&disk, keys).into_iter();
        all.map(|error| error.map_or_else(|| "open".to_owned(), |error| error.to_string())).collect::<Vec<_>>()
    };
    // Five tries at the costly ones are paid for, and a small one after them.
    let for_all = || vec![key(None, "guess"), key(None, "open sesame")];
    let found = told(for_all());
    assert!(found[..2].iter().all(|told| told.contains(tried)), "{found:?}");
    assert!(found[2].contains("keys were not tried on all of its keyslots and on 2 other volumes"), "{found:?}");
    assert!(found[3..5].iter().all(|told| told.starts_with("partition") && told.contains("2 other")), "{found:?}");
    assert_eq!(found[5], "open");
    let error = locked(&disk, for_all()).remove(4).unwrap();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.hint().unwrap().contains("--key 9:file:PATH"), "{error:?}");
    // One that names its volume is tried there.
    let found = told(vec![key(None, "guess"), key(Some(index(9)), "guess")]);
    assert!(found[..5].iter().all(|told| told.contains(tried)), "{found:?}");
    // All have the one UUID, so that this names as many as there are.
    let uuid = Selector::Uuid("01234567-89AB-cdef-0123-456789abcdef".into());
    let found = told(vec![key(Some(uuid), "guess")]);
    assert!(found[0].contains(tried) && found[1].contains("and on 3 other volumes"), "{found:?}");
}

#[test]
fn headers_are_read_to_a_bound() {
    let sound = volume(&json(512), &json(512));
    let read = |mut room: u64| Header::read(&MemDevice::new(sound.clone()), &mut room).map(|_| room);
    // Two copies, and the start of each once more.
    let cost = 2 * (COPY as u64 + 4096);
    assert_eq!(read(cost + 1).unwrap(), 1);
    // Not the first copy alone, which may be the older one.
    for room in [cost, cost - 1, COPY as u64 + 5000, 1, 0] {
        let error = read(room).unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("not looked at"), "{error}");
    }
}

#[test]
fn the_headers_of_a_disk_are_bounded_in_sum() {
    const LARGE: usize = 4 << 20;
    let json = json(512).replacen("\"offset\":\"557056\"", &format!("\"offset\":\"{}\"", 2 * LARGE + (512 << 10)), 1);
    let json = json.replacen("\"offset\":\"32768\"", &format!("\"offset\":\"{}\"", 2 * LARGE), 1);
    let grown = |place: usize| {
        let mut grown = copy(&json, place, 3);
        grown.resize(LARGE, 0);
        grown[8..16].copy_from_slice(&(LARGE as u64).to_be_bytes());
        grown[448..512].fill(0);
        let sum = super::Hash::Sha256.of(&[&grown]);
        grown[448..480].copy_from_slice(&sum);
        grown
    };
    let mut volume = [grown(0), grown(LARGE)].concat();
    volume.resize(2 * LARGE + SIZE, 0);
    assert_eq!(MAX_HEADERS, 16 * LARGE as u64);
    let disk = divided(&vec![volume; 9]);
    let survey = Survey::new(&disk, list(&disk).unwrap()).unwrap();
    let problems: Vec<_> =
        survey.volumes().iter().map(|volume| volume.problem.as_ref().map(|e| e.to_string())).collect();
    assert!(problems[..7].iter().all(Option::is_none), "{problems:?}");
    assert!(problems[7..].iter().flatten().filter(|told| told.contains("not looked at")).count() == 2, "{problems:?}");
    assert!(problems[8].as_ref().unwrap().starts_with("the LUKS volume partition 13 cannot be used"), "{problems:?}");
}

#[test]
fn a_luks_volume_and_what_is_in_it_are_one_choice() {
    // Both have the label.
    let mut bytes = volume(&json(512), &json(512));
    for place in [0, COPY] {
        bytes[place + 24..place + 28].copy_from_slice(b"data");
        bytes[place + 448..place + 512].fill(0);
        let sum = super::Hash::Sha256.of(&[&bytes[place..place + COPY]]);
        bytes[place + 448..place + 480].copy_from_slice(&sum);
    }
    let disk = divided(&[bytes.clone(), vec![0; SIZE]]);
    let keys = Keys::new(vec![key(None, "open sesame")]);
    let survey = || Survey::new(&disk, list(&disk).unwrap()).unwrap();
    let mut first = survey();
    let container = first.volumes()[0].clone();
    let inside = first.through(&container, &keys).unwrap();
    let mut superblock = vec![0; 1024];
    superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
    superblock[0x78..0x7c].copy_from_slice(b"data");
    first.open(&inside).unwrap().device.write_at(&superblock, 1024).unwrap();

    let mut survey = survey();
    for label in [Selector::Label("data".into()), Selector::Marked(Mark::Label, "data".into())] {
        for _ in 0..2 {
            let found = survey.find_through(&label, &keys).unwrap();
            assert_eq!(found.signature.map(|signature| signature.name), Some("ext2"));
        }
    }
    // The label of something else is one too many.
    let mut rival = vec![0; SIZE];
    rival[1024..2048].copy_from_slice(&superblock);
    let disk = divided(&[bytes, rival]);
    let mut survey = Survey::new(&disk, list(&disk).unwrap()).unwrap();
    let error = survey.find_through(&Selector::Label("data".into()), &keys).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
}
