//! Files with marks made by hand; those that QEMU makes are in `tests/image_inspect.rs`.

use super::{Inspection, inspect};
use crate::block::{BlockDevice, MemDevice};
use crate::error::{Error, ErrorKind};
use crate::image::{self, Format};
use crate::transaction::Overlay;
use std::sync::Arc;

const LEN: usize = 40 << 10;
/// A table with one partition of Linux, and its signature.
const MBR: [(usize, &[u8]); 2] = [(446, &[0x80, 0, 2, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 64, 0, 0, 0]), (510, b"\x55\xaa")];
/// What protects a GPT, and its header.
const GPT: [(usize, &[u8]); 3] =
    [(446, &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 79, 0, 0, 0]), (510, b"\x55\xaa"), (512, b"EFI PART")];
const QCOW2: (usize, &[u8]) = (0, b"QFI\xfb\0\0\0\x03");
const ISO: (usize, &[u8]) = (0x8001, b"CD001");

fn bytes(marks: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    for (at, mark) in marks {
        bytes[*at..at + mark.len()].copy_from_slice(mark);
    }
    bytes
}

fn look(marks: &[(usize, &[u8])], declared: Option<Format>) -> Inspection {
    inspect(&MemDevice::new(bytes(marks)), declared).unwrap()
}

fn refusal(marks: &[(usize, &[u8])]) -> Error {
    look(marks, None).format().unwrap_err()
}

/// Opens the file, which is another way than to look at it.
fn open(marks: &[(usize, &[u8])], declared: Option<Format>) -> Result<Format, Error> {
    image::open(Arc::new(Overlay::new(Arc::new(MemDevice::new(bytes(marks))))), declared).map(|disk| disk.format())
}

fn names(inspection: &Inspection) -> Vec<&'static str> {
    inspection.findings.iter().map(|finding| finding.name).collect()
}

#[test]
fn what_is_taken() {
    let raw = |marks: &[(usize, &[u8])]| {
        let inspection = look(marks, None);
        assert_eq!(inspection.format().unwrap(), Format::Raw);
        assert_eq!(inspection.to_string(), "raw");
        inspection.marks.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(raw(&[]).is_empty());
    assert_eq!(raw(&MBR), ["mbr"]);
    assert_eq!(raw(&GPT), ["gpt"]);
    assert_eq!(look(&[QCOW2], None).format().unwrap(), Format::Qcow2);
    // A filesystem's boot sector is no table: FAT with an entry's bytes, code in the place of the flags.
    assert!(raw(&[MBR[0], MBR[1], (16, &[2]), (21, &[0xf8])]).is_empty());
    assert!(raw(&[(446, b"code"), MBR[1]]).is_empty());
    assert!(raw(&[(446, b"more code, where a table has entries"), MBR[1]]).is_empty());
    for len in (0..16).chain([511, 512, 513, 0x8001, 0x8005]) {
        assert_eq!(inspect(&MemDevice::new(vec![0; len]), None).unwrap().format().unwrap(), Format::Raw);
    }
}

#[test]
fn a_file_declared_raw_is_not_looked_at() {
    /// Ends the test where somebody looks.
    #[derive(Debug)]
    struct Blind;
    impl BlockDevice for Blind {
        fn size(&self) -> u64 {
            1 << 20
        }
        fn read_at(&self, _buf: &mut [u8], _offset: u64) -> crate::error::Result<()> {
            panic!("looked at");
        }
        fn write_at(&self, _buf: &[u8], _offset: u64) -> crate::error::Result<()> {
            panic!("written to");
        }
        fn flush(&self) -> crate::error::Result<()> {
            Ok(())
        }
    }
    let inspection = inspect(&Blind, Some(Format::Raw)).unwrap();
    assert_eq!((inspection.format().unwrap(), inspection.to_string()), (Format::Raw, "raw".to_owned()));
    image::open(Arc::new(Overlay::new(Arc::new(Blind))), Some(Format::Raw)).unwrap();
}

#[test]
fn refused_by_name_with_the_command_that_helps() {
    let marks: [(usize, &[u8], &str, &str); 19] = [
        (0, b"QFI\xfb\0\0\0\x01", "qcow", "qemu-img convert -f qcow -O qcow2 IMAGE NEW.qcow2"),
        (0, b"QED\0", "qed", "qemu-img convert -f qed -O qcow2 IMAGE NEW.qcow2"),
        (0, b"KDMV\x01", "vmdk", "qemu-img convert -f vmdk -O qcow2 IMAGE NEW.qcow2"),
        (0, b"COWD", "vmdk", "-f vmdk"),
        (0, b"# Disk DescriptorFile\n", "vmdk", "-f vmdk"),
        (0, b"conectix", "vhd", "qemu-img convert -f vpc -O qcow2 IMAGE NEW.qcow2"),
        (LEN - 512, b"conectix", "vhd", "-f vpc"),
        (0, b"vhdxfile", "vhdx", "qemu-img convert -f vhdx -O qcow2 IMAGE NEW.qcow2"),
        (0x40, b"\x7f\x10\xda\xbe", "vdi", "qemu-img convert -f vdi -O qcow2 IMAGE NEW.qcow2"),
        (0, b"WithoutFreeSpace", "parallels", "-f parallels"),
        (0, b"WithouFreSpacExt", "parallels", "-f parallels"),
        (0x8001, b"CD001", "iso", "qemu-img convert -f raw -O qcow2 IMAGE NEW.qcow2"),
        (0x8001, b"NSR02", "iso", "declare its format raw"),
        (0x8001, b"NSR03", "iso", "declare its format raw"),
        (0, b"LUKS\xba\xbe\0\x02", "luks", "driver=luks"),
        (0, b"\xfd7zXZ\0", "xz", "xz -dc IMAGE > NEW.img"),
        (0, b"\x1f\x8b\x08", "gzip", "gzip -dc IMAGE > NEW.img"),
        (0, b"BZh91AY&SY", "bzip2", "bzip2 -dc IMAGE > NEW.img"),
        (0, b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc IMAGE > NEW.img"),
    ];
    for (at, mark, name, command) in marks {
        let inspection = look(&[(at, mark)], None);
        assert_eq!(inspection.to_string(), name);
        let error = inspection.format().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(&format!("format is {name},")), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains(command)), "{error:?}: {:?}", error.hint());
        for declared in [None, Some(Format::Qcow2)] {
            let error = open(&[(at, mark)], declared).unwrap_err();
            assert!(error.to_string().contains(&format!("format is {name},")), "{error}");
        }
        // Declared qcow2 it is refused as what it is, and declared raw it is a disk.
        let error = look(&[(at, mark)], Some(Format::Qcow2)).format().unwrap_err();
        assert!(error.to_string().contains(&format!("format is {name},")), "{error}");
        assert_eq!(look(&[(at, mark)], Some(Format::Raw)).format().unwrap(), Format::Raw);
    }
    // A few letters are no mark.
    assert_eq!(look(&[(0, b"BZhello")], None).format().unwrap(), Format::Raw);
    assert_eq!(look(&[(0, b"KDM")], None).format().unwrap(), Format::Raw);
}

#[test]
fn polyglots_are_refused() {
    for (marks, name) in [
        (&[QCOW2, ISO][..], "qcow2, iso"),
        (&[QCOW2, (LEN - 512, b"conectix")], "qcow2, vhd"),
        (&[QCOW2, (0x40, b"\x7f\x10\xda\xbe")], "qcow2, vdi"),
        (&[QCOW2, MBR[0], MBR[1]], "qcow2, mbr"),
        (&[(0, b"KDMV\x01"), GPT[0], GPT[1]], "vmdk, gpt"),
        (&[(0, b"LUKS\xba\xbe\0\x01"), ISO], "luks, iso"),
        (&[ISO, (LEN - 512, b"conectix")], "vhd, iso"),
        (&[QCOW2, ISO, MBR[0], MBR[1]], "qcow2, iso, mbr"),
    ] {
        let error = refusal(marks);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().ends_with(name), "{error}");
        let error = open(marks, None).unwrap_err();
        assert!(error.to_string().ends_with(name), "opened: {error}");
        // Who says what it is, is believed.
        let declared = look(marks, Some(Format::Qcow2));
        assert_eq!(declared.format().is_ok(), marks.contains(&QCOW2), "{name}");
        assert_eq!(look(marks, Some(Format::Raw)).format().unwrap(), Format::Raw);
    }
}

#[test]
fn what_goes_together() {
    // A hybrid ISO image is one, with either table; a VHD of fixed size has a disk in it; a dynamic one its mark twice.
    for table in [&MBR[..], &GPT[..]] {
        assert!(refusal(&[table, &[ISO]].concat()).to_string().contains("format is iso"));
        assert!(refusal(&[table, &[(LEN - 512, &b"conectix"[..])]].concat()).to_string().contains("format is vhd"));
    }
    assert!(refusal(&[(0, b"conectix"), (LEN - 512, b"conectix")]).to_string().contains("format is vhd"));
}

#[test]
fn odd_tables_are_told() {
    assert!(look(&MBR, None).findings.is_empty());
    assert!(look(&GPT, None).findings.is_empty());
    let second = (462, &[0, 0, 2, 0, 0x83, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0][..]);
    for more in [(446, &[1][..]), (447, &[9]), (454, &[2]), second] {
        let inspection = look(&[&GPT[..], &[more]].concat(), None);
        assert_eq!(names(&inspection), ["mbr"], "{more:?}");
        assert_eq!(inspection.format().unwrap(), Format::Raw);
    }
}

#[test]
fn other_files_are_told() {
    let flat = b"# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 16384 FLAT \"/etc/passwd\" 0\n";
    let inspection = look(&[(0, flat)], None);
    assert_eq!(names(&inspection), ["other_files"]);
    let error = inspection.format().unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("trust") && hint.contains("/etc/passwd")), "{error:?}");
    let over =
        b"# Disk DescriptorFile\nparentFileNameHint=\"a\x1b\"\ncreateType=\"monolithicSparse\"\nRW 9 SPARSE \"b\"\n";
    let inspection = look(&[(0, over)], None);
    assert_eq!(names(&inspection), ["backing_file"]);
    assert!(inspection.findings[0].text.contains(r"a\x1b"), "{inspection:?}");
    // Extents in other files: of a kind that has them, and of one that has none but by a path.
    for (kind, extent, expected) in [
        ("twoGbMaxExtentFlat", "disk-f001.vmdk", &["other_files"][..]),
        ("monolithicSparse", "/dev/sda", &["other_files"]),
        ("monolithicSparse", "disk.vmdk", &[]),
        ("streamOptimized", "disk.vmdk", &[]),
    ] {
        let text = format!("# Disk DescriptorFile\ncreateType=\"{kind}\"\nRDONLY 9 FLAT \"{extent}\" 0\n");
        assert_eq!(names(&look(&[(0, text.as_bytes())], None)), expected, "{text}");
    }
    // Descriptors without an end, without an extent, and in a header that points past the file.
    assert_eq!(names(&look(&[(0, b"# Disk DescriptorFile\n")], None)), ["malformed"]);
    let mut header = [0; 64];
    header[..5].copy_from_slice(b"KDMV\x09");
    header[28..36].copy_from_slice(&u64::MAX.to_le_bytes());
    header[36..44].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(names(&look(&[(0, &header)], None)), ["version", "malformed", "malformed"]);

    let mut qcow = [0; 64];
    qcow[..8].copy_from_slice(b"QFI\xfb\0\0\0\x01");
    qcow[15] = 64;
    qcow[19] = 4;
    assert_eq!(names(&look(&[(0, &qcow), (64, b"base")], None)), ["backing_file"]);
    qcow[16..20].fill(0xff);
    assert_eq!(names(&look(&[(0, &qcow)], None)), ["malformed"]);
    let mut qcow = [0; 64];
    qcow[..8].copy_from_slice(b"QFI\xfb\0\0\0\x01");
    qcow[32..36].fill(1);
    assert!(names(&look(&[(0, &qcow)], None)).is_empty());
    qcow[39] = 1;
    assert_eq!(names(&look(&[(0, &qcow)], None)), ["encryption"]);
    // Of QED's feature bits the first says that there is a backing file.
    for (bits, expected) in [(0b01, &["backing_file"][..]), (0b10, &[]), (0b11, &["backing_file"])] {
        let found = look(&[(0, b"QED\0"), (16, &[bits]), (56, &[64]), (60, &[4]), (64, b"base")], None);
        assert_eq!(names(&found), expected, "{bits}");
    }
    for (kind, expected) in [(2, &[][..]), (3, &["malformed"]), (4, &["malformed"])] {
        let found = look(&[(LEN - 512, b"conectix"), (LEN - 512 + 63, &[kind])], None);
        assert_eq!(names(&found), expected, "{kind}");
    }
    let vhd = [(0, &b"conectix"[..]), (60, &[0, 0, 0, 4])];
    assert_eq!(names(&look(&vhd, None)), ["backing_file"]);
    assert_eq!(names(&look(&[(0x40, b"\x7f\x10\xda\xbe"), (0x4c, &[4])], None)), ["backing_file"]);
    assert_eq!(names(&look(&[(0, b"LUKS\xba\xbe\0\x01")], None)), ["encryption"]);
    assert_eq!(names(&look(&[(0, b"LUKS\xba\xbe\0\x09")], None)), ["version", "encryption"]);
}

#[test]
fn headers_of_qcow2_are_told_of() {
    let header = |changes: &[(usize, &[u8])]| {
        let mut marks: Vec<(usize, &[u8])> = vec![QCOW2, (20, &[0, 0, 0, 16]), (99, &[4]), (103, &[112])];
        marks.extend(changes);
        look(&marks, None)
    };
    assert!(header(&[]).findings.is_empty(), "{:?}", header(&[]));
    let backing: &[(usize, &[u8])] = &[(14, &[1, 0, 0, 0, 0, 3]), (256, b"a\x1bb")];
    let found = header(backing);
    assert_eq!(names(&found), ["backing_file"]);
    assert!(found.findings[0].text.contains(r"a\x1bb"), "{found:?}");
    assert_eq!(names(&header(&[(35, &[2])])), ["encryption"]);
    assert_eq!(names(&header(&[(79, &[0b111])])), ["data_file", "dirty", "corrupt"]);
    assert_eq!(names(&header(&[(78, &[1])])), ["unknown_features"]);
    assert_eq!(names(&header(&[(7, &[9])])), ["version"]);
    assert_eq!(names(&header(&[(23, &[99])])), ["malformed"]);
    assert_eq!(names(&header(&[(103, &[3])])), ["malformed"]);
    assert_eq!(names(&header(&[(16, &[0xff; 4]), (14, &[1, 0])])), ["malformed"]);
    // Version 2 has extensions where version 3 has feature bits.
    assert!(names(&header(&[(7, &[2]), (72, b"\xe2\x79\x2a\xca\0\0\0\x05qcow2")])).is_empty());
    let short = inspect(&MemDevice::new(bytes(&[QCOW2])[..71].to_vec()), None).unwrap();
    assert_eq!((names(&short), short.to_string()), (vec!["truncated"], "qcow2".to_owned()));
}
