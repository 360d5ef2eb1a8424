//! Groups over disks in memory: what LVM2 makes is in the tests of the program, what nobody makes is here.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use super::{Assembled, MAX_METADATA, Member, checksum};
use crate::block::{BlockDevice, MemDevice};
use crate::error::{Error, ErrorKind};
use crate::volume::{Base, Selector, Survey, VolumeInfo, list};
use std::sync::Arc;

const MIB: usize = 1 << 20;
/// Where a physical volume has its metadata area, and how large that is.
const AREA: usize = 4096;
const AREA_SIZE: usize = 60 << 10;
/// How large a physical volume is: its extents of 64 KiB begin at 1 MiB.
const SIZE: usize = 2 * MIB;
const IDS: [&str; 2] = ["aaaaaabbbbccccddddeeeeffffgggggg", "AAAAAABBBBCCCCDDDDEEEEFFFFGGGGGG"];

/// Puts a label and a text into the bytes of a physical volume; the text begins so far before the end of its area.
fn fill(volume: &mut [u8], id: &str, text: &str, before_end: usize) {
    volume[512..520].copy_from_slice(b"LABELONE");
    volume[520] = 1;
    volume[532] = 32;
    volume[536..544].copy_from_slice(b"LVM2 001");
    volume[544..576].copy_from_slice(id.as_bytes());
    let size = volume.len() as u64;
    let lists = [size, MIB as u64, 0, 0, 0, AREA as u64, AREA_SIZE as u64, 0, 0];
    for (place, number) in lists.into_iter().enumerate() {
        volume[576 + place * 8..584 + place * 8].copy_from_slice(&number.to_le_bytes());
    }
    let sum = checksum(&volume[532..1024]);
    volume[528..532].copy_from_slice(&sum.to_le_bytes());

    let area = &mut volume[AREA..AREA + AREA_SIZE];
    area[4..20].copy_from_slice(b"\x20LVM2\x20x[5A%r0N*>");
    area[20] = 1;
    area[24..32].copy_from_slice(&(AREA as u64).to_le_bytes());
    area[32..40].copy_from_slice(&(AREA_SIZE as u64).to_le_bytes());
    let start = if before_end == 0 { 512 } else { AREA_SIZE - before_end };
    area[40..48].copy_from_slice(&(start as u64).to_le_bytes());
    area[48..56].copy_from_slice(&(text.len() as u64).to_le_bytes());
    area[56..60].copy_from_slice(&checksum(text.as_bytes()).to_le_bytes());
    for (number, byte) in text.bytes().enumerate() {
        let place = start + number;
        area[if place < AREA_SIZE { place } else { place - AREA_SIZE + 512 }] = byte;
    }
    let sum = checksum(&area[4..512]);
    area[..4].copy_from_slice(&sum.to_le_bytes());
}

/// The text of a group over two physical volumes of 16 extents: `a` on the first, `b` in stripes over both.
fn text() -> String {
    let physical = |name: &str, id: &str| {
        format!("{name} {{ id = \"{id}\" status = [\"ALLOCATABLE\"] flags = [] pe_start = 2048 pe_count = 16 }}")
    };
    let logical = |name: &str, count: u64, stripes: &str| {
        format!(
            "{name} {{ id = \"{name}-id\" status = [\"READ\", \"WRITE\", \"VISIBLE\"] flags = [] segment_count = 1 \
             segment1 {{ start_extent = 0 extent_count = {count} type = \"striped\" {stripes} }} }}"
        )
    };
    format!(
        "vg {{ id = \"vg-id\" seqno = 7 status = [\"RESIZEABLE\", \"READ\", \"WRITE\"] extent_size = 128 \
         physical_volumes {{ {} {} }} logical_volumes {{ {} {} }} }} \
         contents = \"Text Format Volume Group\" version = 1",
        physical("pv0", IDS[0]),
        physical("pv1", IDS[1]),
        logical("a", 4, "stripe_count = 1 stripes = [\"pv0\", 2]"),
        logical("b", 4, "stripe_count = 2 stripe_size = 8 stripes = [\"pv0\", 6, \"pv1\", 0]"),
    )
}

/// A disk with a physical volume for each of these texts, in partitions.
fn disk(parts: &[(&str, String, usize)]) -> Arc<MemDevice> {
    let mut bytes = vec![0; MIB + parts.len() * SIZE];
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (number, (id, text, before_end)) in parts.iter().enumerate() {
        let start = MIB + number * SIZE;
        let entry = 446 + number * 16;
        bytes[entry + 4] = 0x8e;
        bytes[entry + 8..entry + 12].copy_from_slice(&((start / 512) as u32).to_le_bytes());
        bytes[entry + 12..entry + 16].copy_from_slice(&((SIZE / 512) as u32).to_le_bytes());
        fill(&mut bytes[start..start + SIZE], id, text, *before_end);
    }
    Arc::new(MemDevice::new(bytes))
}

fn survey(disk: &Arc<MemDevice>) -> Survey {
    let disk: Arc<dyn BlockDevice> = Arc::clone(disk) as _;
    Survey::new(&disk, list(&disk).unwrap()).unwrap()
}

fn pair(text: &str) -> Survey {
    survey(&disk(&[(IDS[0], text.to_owned(), 0), (IDS[1], text.to_owned(), 0)]))
}

fn logical(survey: &Survey) -> Vec<&VolumeInfo> {
    survey.volumes().iter().filter(|volume| !matches!(volume.base, Base::Disk)).collect()
}

fn refusal(info: &VolumeInfo) -> &Error {
    match &info.base {
        Base::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn extents_and_stripes_are_where_they_should_be() {
    for before_end in [0, 1, 300, 511] {
        let disk = disk(&[(IDS[0], text(), before_end), (IDS[1], text(), 0)]);
        let survey = survey(&disk);
        let volumes = logical(&survey);
        assert_eq!(volumes.iter().map(|volume| volume.name()).collect::<Vec<_>>(), ["vg/a", "vg/b"]);
        assert_eq!(survey.volumes()[0].facts, [("volume-group", "vg".to_owned())]);
        let [a, b] = [0, 1].map(|number| survey.open(volumes[number]).unwrap().device);
        assert_eq!((a.size(), b.size()), (4 << 16, 4 << 16));

        let first = MIB + MIB;
        let second = first + SIZE;
        // Every stripe of b has its number, counted where it must lie.
        for stripe in 0..64_usize {
            let (base, row) = if stripe % 2 == 0 { (first + (6 << 16), stripe / 2) } else { (second, stripe / 2) };
            disk.write_at(&[stripe as u8; 4096], (base + row * 4096) as u64).unwrap();
        }
        let mut all = vec![0; 4 << 16];
        b.read_at(&mut all, 0).unwrap();
        assert!(all.chunks(4096).enumerate().all(|(stripe, bytes)| bytes.iter().all(|byte| *byte == stripe as u8)));
        let mut some = [0; 3];
        b.read_at(&mut some, 2 * 4096 - 1).unwrap();
        assert_eq!(some, [1, 2, 2]);

        a.write_at(b"linear", 5).unwrap();
        disk.read_at(&mut all[..6], (first + (2 << 16) + 5) as u64).unwrap();
        assert_eq!(&all[..6], b"linear");
        b.write_at(&[0xee; 5000], 4000).unwrap();
        b.read_at(&mut all[..9001], 0).unwrap();
        assert_eq!((all[3999], all[4000], all[8999], all[9000]), (0, 0xee, 0xee, 2));
        for (offset, len) in [(4_u64 << 16, 1), ((4 << 16) - 1, 2), (u64::MAX, 1)] {
            assert_eq!(a.read_at(&mut vec![0; len], offset).unwrap_err().kind(), ErrorKind::Invalid);
            assert_eq!(b.write_at(&vec![0; len], offset).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}

#[test]
fn a_volume_in_use_does_not_become_another_one() {
    let survey = pair(&text());
    let as_found = |text: &str| {
        let volumes = logical(&pair(text)).into_iter().cloned().collect();
        Assembled { name: "vg".to_owned(), members: Vec::new(), volumes, notes: Vec::new() }
    };
    survey.still_mapped(&as_found(&text())).unwrap();
    for (from, to) in [
        ("\"pv0\", 2", "\"pv0\", 12"),
        ("stripe_size = 8", "stripe_size = 16"),
        ("a { id", "c { id"),
        ("type = \"striped\" stripe_count = 1", "type = \"thin\" x = 1"),
    ] {
        let changed = text().replace(from, to);
        assert_ne!(changed, text(), "{from}");
        let error = survey.still_mapped(&as_found(&changed)).unwrap_err();
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("contradicts"), "{from}: {error}");
    }
    let other = Assembled { name: "other".to_owned(), ..as_found("") };
    survey.still_mapped(&other).unwrap();
}

#[test]
fn metadata_is_read_up_to_a_bound() {
    let disk = disk(&[(IDS[0], text(), 0)]);
    let info = survey(&disk).volumes()[0].clone();
    let device = info.device(&(Arc::clone(&disk) as _)).unwrap();
    let mut room = MAX_METADATA;
    Member::read(&info, &*device, &mut room).unwrap();
    let read = MAX_METADATA - room;
    assert!(read >= text().len() as u64 && read < 4096, "{read}");
    let error = Member::read(&info, &*device, &mut (read - 1)).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("than is read"), "{error}");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (from, to, why) in [
        (
            "extent_count = 4 type = \"striped\" stripe_count = 1",
            "extent_count = 15 type = \"striped\" stripe_count = 1",
            "a lies past the end of pv0",
        ),
        ("\"pv0\", 6", "\"pv0\", 5", "logical volumes a and b overlap on pv0"),
        ("pe_count = 16 }", "pe_count = 17 }", "is smaller than its group knows it"),
        ("pe_start = 2048", "pe_start = 8", "lie over its metadata"),
        ("pe_start = 2048", "pe_start = 9223372036854775807", "begins nowhere"),
        ("extent_size = 128", "extent_size = 0", "no size"),
        ("extent_size = 128", "extent_size = 9000000000000000000", "no size"),
        ("start_extent = 0", "start_extent = 1", "does not begin where the one before ends"),
        ("segment_count = 1", "segment_count = 1000000000000", "its segment2 is missing"),
        ("segment_count = 1", "segment_count = 0", "no extents"),
        ("stripe_count = 2", "stripe_count = 3", "counts others"),
        ("stripe_size = 8", "stripe_size = 0", "have no size"),
        ("stripe_size = 8", "stripe_size = 96", "do not come out even"),
        ("\"pv0\", 2", "\"pv0\", -2", "negative"),
        ("a { id", "\"/b\" { id", "not well formed"),
        ("a { id", "a/b { id", "does not allow"),
        ("contents = \"Text", "contents = \"X", "not known"),
        ("seqno = 7", "seqno = x", "not well formed"),
        ("vg-id\" seqno", "vg-id\" seqn", "no number seqno"),
        (IDS[1], IDS[0], "belongs to vg twice"),
    ] {
        let changed = text().replace(from, to);
        assert_ne!(changed, text(), "{from}");
        let survey = pair(&changed);
        let problem = survey.volumes()[0].problem.as_ref().map(|error| error.to_string());
        let told = problem.unwrap_or_else(|| refusal(logical(&survey)[0]).to_string());
        assert!(told.contains(why), "{from} -> {to}: {told}");
        assert!(!told.contains('\n'));
        assert!(logical(&survey).iter().all(|volume| survey.open(volume).is_err()));
    }
}

#[test]
fn what_is_more_than_extents_is_refused_and_leaves_the_others() {
    for (from, to, why) in [
        ("type = \"striped\" stripe_count = 1", "type = \"thin\" x = 1", "of the type \"thin\""),
        ("type = \"striped\" stripe_count = 1", "type = \"raid1\" stripe_count = 1", "of the type \"raid1\""),
        ("type = \"striped\" stripe_count = 1", "type = \"striped+X\" stripe_count = 1", "of the type \"striped+X\""),
        ("[\"READ\", \"WRITE\", \"VISIBLE\"]", "[\"READ\", \"LOCKED\", \"VISIBLE\"]", "the status \"LOCKED\""),
        ("\"pv0\", 2", "\"b\", 0", "lies on \"b\", which is no physical volume"),
        (
            "logical_volumes { ",
            "logical_volumes { snapshot0 { id = \"s\" status = [] segment_count = 1 segment1 { start_extent = 0 \
             extent_count = 1 type = \"snapshot\" origin = \"a\" cow_store = \"c\" } } ",
            "there is a snapshot of it",
        ),
        (
            "logical_volumes { ",
            "logical_volumes { snapshot0 { id = \"s\" status = [] segment_count = 1 segment1 { start_extent = 0 \
             extent_count = 1 type = \"snapshot\" origin = \"c\" cow_store = \"a\" } } ",
            "it is a snapshot",
        ),
    ] {
        let changed = text().replacen(from, to, 1);
        let survey = pair(&changed);
        let volumes = logical(&survey);
        assert_eq!(volumes.len(), 2, "{from}");
        let why_not = refusal(volumes[0]);
        assert_eq!(why_not.kind(), ErrorKind::Unsupported);
        assert!(why_not.to_string().starts_with("the logical volume vg/a cannot be used: "), "{why_not}");
        assert!(why_not.to_string().contains(why), "{from}: {why_not}");
        survey.open(volumes[1]).unwrap();
    }
}

#[test]
fn a_group_that_is_not_whole() {
    let survey = survey(&disk(&[(IDS[0], text(), 0)]));
    let volumes = logical(&survey);
    survey.open(volumes[0]).unwrap();
    let why = refusal(volumes[1]).to_string();
    assert!(why.ends_with("physical volume pv1 (AAAAAA-BBBB-CCCC-DDDD-EEEE-FFFF-GGGGGG) is not in the image"), "{why}");

    let missed = text().replace("flags = [] pe_start", "flags = [\"MISSING\"] pe_start");
    let survey = pair(&missed);
    assert!(refusal(logical(&survey)[0]).to_string().contains("was missing when the group was last changed"));

    for (from, to, why) in [
        ("\"RESIZEABLE\"", "\"EXPORTED\"", "exported"),
        ("\"RESIZEABLE\"", "\"CLUSTERED\"", "shared"),
        ("\"RESIZEABLE\"", "\"WHATEVER\"", "WHATEVER"),
    ] {
        let survey = pair(&text().replace(from, to));
        assert!(logical(&survey).iter().all(|volume| refusal(volume).to_string().contains(why)));
    }
}

#[test]
fn copies_and_twins() {
    // The newer text counts, and the older one is told of.
    let newer = text().replace("seqno = 7", "seqno = 8").replace("b { id", "c { id");
    let disk_of = |parts: &[(&str, String, usize)]| survey(&disk(parts));
    let survey = disk_of(&[(IDS[0], newer.clone(), 0), (IDS[1], text(), 0)]);
    assert_eq!(logical(&survey)[1].name(), "vg/c");
    assert_eq!(survey.notes().collect::<Vec<_>>(), ["partition 2: its LVM2 metadata is older than that of its group"]);

    let rival = text().replace("b { id", "c { id");
    let survey = disk_of(&[(IDS[0], text(), 0), (IDS[1], rival, 0)]);
    assert!(refusal(logical(&survey)[0]).to_string().contains("contradict each other"));

    let survey = disk_of(&[(IDS[0], text(), 0), (IDS[0], text(), 0), (IDS[1], text(), 0)]);
    let why = refusal(logical(&survey)[0]);
    assert_eq!(why.kind(), ErrorKind::Ambiguous);
    assert!(why.to_string().contains("partition 1 and partition 2 are the same physical volume"), "{why}");

    let other = text().replace("vg-id", "other-id").replace(IDS[0], "x".repeat(32).as_str());
    let survey = disk_of(&[(IDS[0], text(), 0), (IDS[1], text(), 0), (&"x".repeat(32), other, 0)]);
    assert!(logical(&survey).iter().all(|volume| refusal(volume).to_string().contains("two volume groups vg")));

    let other = text().replace("vg-id", "other-id").replace("vg {", "wg {").replace(IDS[0], "x".repeat(32).as_str());
    let survey = disk_of(&[(IDS[0], text(), 0), (IDS[1], text(), 0), (&"x".repeat(32), other, 0)]);
    assert!(refusal(logical(&survey)[0]).to_string().contains("belongs to"));
}

#[test]
fn a_read_only_volume_is_not_written_to() {
    let survey = pair(&text().replacen("\"READ\", \"WRITE\", \"VISIBLE\"", "\"READ\", \"VISIBLE\"", 1));
    let device = survey.open(logical(&survey)[0]).unwrap().device;
    device.read_at(&mut [0; 8], 0).unwrap();
    assert_eq!(device.write_at(&[0; 8], 0).unwrap_err().kind(), ErrorKind::Denied);
}

/// No wrong byte in what describes the group makes a volume that lies elsewhere: checksums see to it.
#[test]
fn damage_is_seen() {
    let sound = disk(&[(IDS[0], text(), 0), (IDS[1], text(), 0)]);
    let text_at = MIB + AREA + 512;
    for place in
        (MIB + 512..MIB + 700).chain(MIB + AREA..MIB + AREA + 64).chain((text_at..text_at + text().len()).step_by(7))
    {
        let mut byte = [0];
        sound.read_at(&mut byte, place as u64).unwrap();
        sound.write_at(&[byte[0] ^ 0x21], place as u64).unwrap();
        let survey = survey(&sound);
        // What the second copy says is right; the first physical volume is damaged, or has lost its label.
        let is_refused = survey.volumes()[0].problem.is_some();
        let is_unlabelled = survey.volumes()[0].signature.is_none();
        assert!(is_refused || is_unlabelled, "byte {place}");
        sound.write_at(&byte, place as u64).unwrap();
    }
}

#[test]
fn a_volume_is_found_by_the_uuid_that_a_device_mapper_knows() {
    let survey = pair(&text());
    let find = |id: &str| survey.find(&Selector::LogicalUuid(id.to_owned()));
    assert_eq!(find("vgidaid").unwrap().name(), "vg/a");
    assert_eq!(find("vgidbid").unwrap().name(), "vg/b");
    for id in ["vg-ida-id", "aid", "vgid", "otheraid", ""] {
        assert!(find(id).is_err(), "{id}");
    }
    // One that cannot be used is found too, and says why.
    let half = self::survey(&disk(&[(IDS[0], text(), 0)]));
    let found = half.find(&Selector::LogicalUuid("vgidbid".into())).unwrap();
    assert!(half.open(&found).unwrap_err().to_string().contains("vg/b cannot be used"));
}

#[test]
fn a_physical_volume_that_no_metadata_knows_says_so() {
    let stranger = "zzzzzzbbbbccccddddeeeeffffgggggg";
    let alone = survey(&disk(&[(stranger, text(), 0)]));
    // Its metadata is of a group that does not have it.
    let problem =
        |survey: &Survey, place: usize| survey.volumes()[place].problem.as_ref().map(|error| error.to_string());
    assert!(problem(&alone, 0).unwrap().contains("no metadata of a volume group that has it"), "{alone:?}");
    let beside = survey(&disk(&[(IDS[0], text(), 0), (IDS[1], text(), 0), (stranger, text(), 0)]));
    assert_eq!((problem(&beside, 0), problem(&beside, 1)), (None, None));
    assert!(problem(&beside, 2).unwrap().starts_with("partition 3 is an LVM2 physical volume"));
    // A copy of one that is known is another trouble, which its group tells of.
    let copied = survey(&disk(&[(IDS[0], text(), 0), (IDS[0], text(), 0)]));
    assert_eq!((problem(&copied, 0), problem(&copied, 1)), (None, None));
}
