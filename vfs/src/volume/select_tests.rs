//! The choice over disks in memory; what an opener answers is given, so no driver is needed.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use super::{Answer, Choice, Keys, MAX_LISTED, Only, Opener, Purpose, Selector, Volume, select_through, some};
use crate::block::{BlockDevice, MemDevice};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::mem::MemFs;
use crate::fs::{GuestFs, Mode, Timestamp};
use crate::kernel::{self, Access, Attach, Attached, Request};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

const SECTOR: usize = 512;
const SIZE: usize = 200;

/// What lies in a partition of a test.
enum Part {
    /// ext4 with this last byte of a UUID, and this label.
    Ext4(u8, &'static str),
    Xfs,
    Luks,
    Swap,
    Suspended,
    Nothing,
}

/// An MBR disk with these partitions, 200 sectors each.
fn disk(parts: &[Part]) -> Arc<dyn BlockDevice> {
    let mut bytes = vec![0; 1000 * SECTOR];
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes[440..444].copy_from_slice(&0xabcd_0123_u32.to_le_bytes());
    for (slot, part) in parts.iter().enumerate() {
        let start = 1 + slot * SIZE;
        let entry = 446 + slot * 16;
        bytes[entry + 4] = 0x83;
        bytes[entry + 8..entry + 10].copy_from_slice(&(start as u16).to_le_bytes());
        bytes[entry + 12] = SIZE as u8;
        fill(&mut bytes[start * SECTOR..], part);
    }
    Arc::new(MemDevice::new(bytes))
}

fn fill(volume: &mut [u8], part: &Part) {
    match part {
        Part::Ext4(id, label) => {
            volume[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
            volume[1024 + 0x60] = 0x40;
            volume[1024 + 0x77] = *id;
            volume[1024 + 0x78..1024 + 0x78 + label.len()].copy_from_slice(label.as_bytes());
        }
        Part::Xfs => volume[..8].copy_from_slice(b"XFSB\0\0\x10\0"),
        Part::Luks => volume[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01"),
        Part::Swap => volume[4086..4096].copy_from_slice(b"SWAPSPACE2"),
        Part::Suspended => volume[4086..4096].copy_from_slice(b"S1SUSPEND\0"),
        Part::Nothing => {}
    }
}

fn id(device: &dyn BlockDevice) -> Result<u8> {
    let mut id = [0];
    device.read_at(&mut id, 1024 + 0x77)?;
    Ok(id[0])
}

/// Even UUIDs hold a root; those from 100 cannot be opened.
fn open(volume: &Volume, _: Only) -> Result<Answer> {
    if volume.info.signature.as_ref().is_some_and(|signature| signature.name == "xfs") {
        return Ok(Answer::Unreachable(None));
    }
    match id(&*volume.device)? {
        100.. => {
            Err(Error::new(ErrorKind::Corrupt, Layer::Filesystem, "the journal is dirty").with_hint("boot it once"))
        }
        id if id % 2 == 0 => Ok(Answer::Root(None)),
        _ => Ok(Answer::NoRoot),
    }
}

fn select_with(disk: &Arc<dyn BlockDevice>, selector: &Selector, opener: &Opener<'_>) -> Result<Volume> {
    let chosen = Choice { selector, keys: &Keys::default(), purpose: Purpose::Filesystem }.make(disk, opener)?;
    Ok(chosen.0)
}

const NEVER: &Opener<'_> = &|_, _| panic!("only the search for a root opens volumes");

fn index(number: u32) -> Selector {
    Selector::Index(NonZeroU32::new(number).unwrap())
}

fn number(volume: &Volume) -> u32 {
    volume.info.index.map_or(0, NonZeroU32::get)
}

fn auto(parts: &[Part]) -> Result<Volume> {
    select_with(&disk(parts), &Selector::Auto, &open)
}

/// A kernel that finds a filesystem in every volume, and notes for what it is borrowed.
#[derive(Debug, Default)]
struct Kernel(Mutex<Vec<Mode>>);

impl Attach for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn ready(&self, _: &Request) -> Result<()> {
        Ok(())
    }

    fn attach(&self, request: &Request) -> Result<Attached> {
        self.0.lock().unwrap().push(request.mode);
        Ok(Attached { fs: Box::new(MemFs::new()), kernel: "Linux".to_owned(), subvolume: None })
    }
}

/// What a guest that sleeps knows of its filesystems is older than what would be written.
#[test]
fn a_suspended_guest_is_in_use() {
    let now = Timestamp { seconds: 1, nanoseconds: 0 };
    let select = |part: Part, mode: Mode| {
        let access = Access::new(kernel::Choice::Auto, vec![Arc::new(Kernel::default()) as Arc<dyn Attach>]);
        let disk = disk(&[Part::Xfs, part]);
        select_through(&disk, &Selector::Auto, &Keys::default(), &access, (None, mode), &|_| Ok(true)).map(drop)
    };
    assert!(select(Part::Swap, Mode::ReadWrite { now }).is_ok());
    assert!(select(Part::Suspended, Mode::ReadOnly).is_ok());
    let refused = select(Part::Suspended, Mode::ReadWrite { now }).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
    assert!(refused.to_string().contains("suspended to disk (its memory is in volume 2)"), "{refused}");
}

#[test]
fn what_alone_can_be_the_root_is_mounted_once() {
    let now = Timestamp { seconds: 1, nanoseconds: 0 };
    let (look, change) = (Mode::ReadOnly, Mode::ReadWrite { now });
    let mounted = |parts: &[Part], selector: &Selector, mode: Mode| {
        let kernel = Arc::new(Kernel::default());
        let access = Access::new(kernel::Choice::Auto, vec![Arc::clone(&kernel) as Arc<dyn Attach>]);
        let is_root = |_: &dyn GuestFs| Ok(kernel.0.lock().unwrap().len() == 1);
        select_through(&disk(parts), selector, &Keys::default(), &access, (None, mode), &is_root).unwrap();
        kernel.0.lock().unwrap().clone()
    };
    let only = [Part::Swap, Part::Xfs, Part::Luks];
    assert_eq!(mounted(&only[..2], &Selector::Auto, change), [change]);
    assert_eq!(mounted(&only[..2], &Selector::Auto, look), [look]);
    assert_eq!(mounted(&only, &index(2), change), [change]);
    // Into the one that is no root nothing is written.
    assert_eq!(mounted(&[Part::Xfs, Part::Xfs], &Selector::Auto, change), [look, look, change]);
}

#[test]
fn the_one_root_is_found() {
    let volume = auto(&[Part::Ext4(1, "boot"), Part::Swap, Part::Xfs, Part::Ext4(2, "root")]).unwrap();
    assert_eq!(number(&volume), 4);
    assert_eq!((volume.info.start, volume.device.size()), (601 * 512, 200 * 512));
    assert_eq!(id(&*volume.device).unwrap(), 2);
    assert_eq!(volume.info.part_uuid, "abcd0123-04");
}

#[test]
fn a_whole_disk_may_be_the_root() {
    let mut bytes = vec![0; SIZE * SECTOR];
    fill(&mut bytes, &Part::Ext4(2, ""));
    let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(bytes));
    assert_eq!(number(&select_with(&disk, &Selector::Auto, &open).unwrap()), 0);
    let error = select_with(&disk, &index(1), NEVER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "there is no partition 1: the disk has no partition table");
    assert!(error.hint().unwrap().starts_with("type one of: --partition whole"));
}

#[test]
fn several_roots_are_ambiguous() {
    let error = auto(&[Part::Ext4(2, "a\x1b[1m"), Part::Ext4(4, ""), Part::Nothing]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert_eq!(error.to_string(), r#"several volumes hold a root filesystem: 1: ext4 "a\u{1b}[1m"; 2: ext4"#);
    assert_eq!(
        error.hint(),
        Some(
            "type one of: --partition 1 (or --partition uuid:00000000-0000-0000-0000-000000000002), \
             --partition 2 (or --partition uuid:00000000-0000-0000-0000-000000000004)"
        )
    );
    // The same UUID twice chooses nothing.
    let error = auto(&[Part::Ext4(2, ""), Part::Ext4(2, "")]).unwrap_err();
    assert_eq!(error.hint(), Some("type one of: --partition 1, --partition 2"));
}

#[test]
fn no_root_lists_every_volume() {
    let error = auto(&[Part::Ext4(1, "boot"), Part::Swap, Part::Nothing]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        r#"no root filesystem found: 1: ext4 "boot" (no root filesystem); 2: swap; 3: nothing known"#
    );
}

#[test]
fn a_root_without_a_driver_is_unsupported() {
    let error = auto(&[Part::Ext4(1, "boot"), Part::Luks, Part::Xfs]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "no root filesystem can be reached: 1: ext4 \"boot\" (no root filesystem); 2: crypto_LUKS (the LUKS volume \
         partition 2 cannot be used: the cipher \"-\" is not known); 3: xfs (no driver)"
    );
    // It might as well be the one that fails.
    let error = auto(&[Part::Ext4(100, ""), Part::Luks]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("1: ext4 (the journal is dirty); 2: crypto_LUKS (the LUKS volume"));
}

#[test]
fn a_root_that_fails_to_open_gives_its_error() {
    for parts in [&[Part::Ext4(100, "")][..], &[Part::Ext4(1, ""), Part::Swap, Part::Ext4(100, "")]] {
        let error = auto(parts).unwrap_err();
        assert_eq!((error.kind(), error.layer()), (ErrorKind::Corrupt, Layer::Filesystem));
        assert_eq!(error.to_string(), format!("cannot use partition {} (ext4)", parts.len()));
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the journal is dirty");
        assert_eq!(error.hint(), Some("boot it once"));
    }
    let error = auto(&[Part::Ext4(100, ""), Part::Ext4(101, "b")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("2: ext4 \"b\" (the journal is dirty)"));
    // One that fails beside the one root does not matter.
    assert_eq!(number(&auto(&[Part::Ext4(100, ""), Part::Ext4(2, "")]).unwrap()), 2);
}

#[test]
fn an_empty_table_says_so() {
    for selector in [Selector::Auto, index(1), Selector::Label("x".into())] {
        let error = select_with(&disk(&[]), &selector, NEVER).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotFound, "the partition table is empty"));
    }
}

#[test]
fn the_whole_disk_is_taken_without_a_look_at_the_table() {
    let mut bytes = vec![0xff; 100 * SECTOR];
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes[446] = 0;
    bytes[450] = 0xee;
    let disk: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(bytes));
    assert_eq!(select_with(&disk, &Selector::Auto, NEVER).unwrap_err().kind(), ErrorKind::Corrupt);
    let volume = select_with(&disk, &Selector::Whole, NEVER).unwrap();
    assert_eq!((volume.info.index, volume.device.size()), (None, 100 * 512));
}

#[test]
fn by_number() {
    let disk = disk(&[Part::Swap, Part::Ext4(1, "boot")]);
    assert_eq!(number(&select_with(&disk, &index(2), NEVER).unwrap()), 2);
    let error = select_with(&disk, &index(3), NEVER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "there is no partition 3; there are 1: swap; 2: ext4 \"boot\"");
}

#[test]
fn marks_are_taken_as_mount_takes_them() {
    use crate::volume::{Mark, Survey, list};
    let disk = disk(&[Part::Ext4(0xab, "data"), Part::Ext4(3, "root")]);
    let survey = Survey::new(&disk, list(&disk).unwrap()).unwrap();
    let find = |mark, value: &str| survey.find(&Selector::Marked(mark, value.to_owned()));
    for (mark, value) in
        [(Mark::Uuid, "00000000-0000-0000-0000-0000000000ab"), (Mark::PartUuid, "abcd0123-01"), (Mark::Label, "data")]
    {
        assert_eq!(find(mark, value).unwrap().name(), "1", "{value}");
        let error = find(mark, &value.to_uppercase()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{value}");
        let tells = error.to_string().contains(&format!("partition 1 has it as {value:?}"));
        assert_eq!(tells, mark != Mark::Label, "{error}");
    }
    assert!(!find(Mark::Uuid, "cd").unwrap_err().to_string().contains("tells them apart"));
}

#[test]
fn by_label_and_uuid() {
    let disk = disk(&[Part::Ext4(0xab, "data"), Part::Ext4(3, "twin"), Part::Ext4(5, "twin")]);
    let by = |selector| select_with(&disk, &selector, NEVER);
    assert_eq!(number(&by(Selector::Label("data".into())).unwrap()), 1);
    assert_eq!(number(&by(Selector::Uuid("00000000-0000-0000-0000-0000000000AB".into())).unwrap()), 1);
    assert_eq!(number(&by(Selector::Uuid("ABCD0123-03".into())).unwrap()), 3);
    assert_eq!(by(Selector::Label("DATA".into())).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(by(Selector::Label(String::new())).unwrap_err().kind(), ErrorKind::Invalid);
    let error = by(Selector::Label("twin".into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert_eq!(error.to_string(), "several volumes have the label \"twin\": 2: ext4 \"twin\"; 3: ext4 \"twin\"");
    assert!(error.hint().unwrap().contains("--partition 2 (or --partition uuid:00000000-0000-0000-0000-000000000003)"));
}

#[test]
fn long_lists_are_cut() {
    let told = |count: usize| some((0..count).map(|number| number.to_string()), "; ");
    assert_eq!(told(MAX_LISTED), (0..MAX_LISTED).map(|n| n.to_string()).collect::<Vec<_>>().join("; "));
    assert!(told(MAX_LISTED + 3).ends_with("; 19; and 3 more"), "{}", told(MAX_LISTED + 3));
}
