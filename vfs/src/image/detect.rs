//! Which format a file is, by its magic.

use super::{Format, qcow2};
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};

/// A format that is known by its magic, and what `qemu-img -f` calls it.
struct Known {
    name: &'static str,
    place: Place,
    magic: &'static [u8],
    way_out: WayOut,
}

enum Place {
    /// Bytes from the start.
    Start(u64),
    /// Bytes before the end.
    End(u64),
}

enum WayOut {
    /// It is read and written here.
    Supported,
    /// `qemu-img` converts it, and calls it so.
    Convert(&'static str),
    /// A command unpacks it first.
    Unpack(&'static str),
    /// It is not a disk to be changed.
    Declare,
}

/// Every magic that is looked for. ISO 9660 and UDF name themselves in sector 16 (of 2,048 bytes); a VHD of fixed size
/// has its only mark in the last sector.
const KNOWN: &[Known] = &[
    known("qcow2", Place::Start(0), &qcow2::MAGIC, WayOut::Supported),
    known("qed", Place::Start(0), b"QED\0", WayOut::Convert("qed")),
    known("vmdk", Place::Start(0), b"KDMV", WayOut::Convert("vmdk")),
    known("vmdk", Place::Start(0), b"COWD", WayOut::Convert("vmdk")),
    known("vmdk", Place::Start(0), b"# Disk DescriptorFile", WayOut::Convert("vmdk")),
    known("vhd", Place::Start(0), b"conectix", WayOut::Convert("vpc")),
    known("vhd", Place::End(512), b"conectix", WayOut::Convert("vpc")),
    known("vhdx", Place::Start(0), b"vhdxfile", WayOut::Convert("vhdx")),
    known("vdi", Place::Start(0x40), b"\x7f\x10\xda\xbe", WayOut::Convert("vdi")),
    known("iso", Place::Start(0x8001), b"CD001", WayOut::Declare),
    known("iso", Place::Start(0x8001), b"NSR02", WayOut::Declare),
    known("iso", Place::Start(0x8001), b"NSR03", WayOut::Declare),
    known("luks", Place::Start(0), b"LUKS\xba\xbe", WayOut::Convert("luks")),
    known("parallels", Place::Start(0), b"WithoutFreeSpace", WayOut::Convert("parallels")),
    known("parallels", Place::Start(0), b"WithouFreSpacExt", WayOut::Convert("parallels")),
    known("xz", Place::Start(0), b"\xfd7zXZ\0", WayOut::Unpack("xz -d IMAGE")),
    known("gzip", Place::Start(0), b"\x1f\x8b\x08", WayOut::Unpack("gzip -d IMAGE")),
    known("zstd", Place::Start(0), b"\x28\xb5\x2f\xfd", WayOut::Unpack("zstd -d IMAGE")),
];

const fn known(name: &'static str, place: Place, magic: &'static [u8], way_out: WayOut) -> Known {
    Known { name, place, magic, way_out }
}

/// The format of `host`, or a refusal that names a format that is not supported.
///
/// A file that carries the marks of several formats is refused: what one program takes for a disk, another takes for
/// something else.
pub(super) fn detect(host: &dyn BlockDevice) -> Result<Format> {
    let mut found: Vec<&Known> = Vec::new();
    for candidate in KNOWN {
        if carries(host, candidate)? && found.iter().all(|other| other.name != candidate.name) {
            found.push(candidate);
        }
    }
    match found.as_slice() {
        [] => Ok(Format::Raw),
        [Known { way_out: WayOut::Supported, .. }] => Ok(Format::Qcow2),
        [one] => Err(refusal(one)),
        several => {
            let names: Vec<_> = several.iter().map(|known| known.name).collect();
            Err(Error::unsupported(
                Layer::Image,
                format!("the file carries the marks of several formats: {}", names.join(", ")),
            )
            .with_hint("declare its format, if you know it and trust its source"))
        }
    }
}

fn carries(host: &dyn BlockDevice, known: &Known) -> Result<bool> {
    let size = host.size();
    let len = u64::try_from(known.magic.len()).unwrap_or(u64::MAX);
    let offset = match known.place {
        Place::Start(offset) => Some(offset),
        Place::End(before) => size.checked_sub(before),
    };
    let Some(offset) = offset.filter(|offset| offset.checked_add(len).is_some_and(|end| end <= size)) else {
        return Ok(false);
    };
    let mut bytes = vec![0; known.magic.len()];
    host.read_at(&mut bytes, offset)?;
    Ok(bytes == known.magic)
}

fn refusal(known: &Known) -> Error {
    let hint = match known.way_out {
        WayOut::Supported => String::new(),
        WayOut::Convert(name) => format!("convert it with `qemu-img convert -f {name} -O qcow2 IMAGE NEW.qcow2`"),
        WayOut::Unpack(command) => format!("unpack it first: `{command}`"),
        WayOut::Declare => {
            "a CD image is read only; if it is a disk all the same, declare its format raw, or take a copy by \
                            `qemu-img convert -f raw -O qcow2 IMAGE NEW.qcow2`"
                .to_owned()
        }
    };
    Error::unsupported(Layer::Image, format!("the image's format is {}, which is not supported", known.name))
        .with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::detect;
    use crate::block::MemDevice;
    use crate::error::ErrorKind;
    use crate::image::Format;

    fn file(marks: &[(usize, &[u8])]) -> MemDevice {
        let mut bytes = vec![0; 40 << 10];
        for (at, mark) in marks {
            bytes[*at..at + mark.len()].copy_from_slice(mark);
        }
        MemDevice::new(bytes)
    }

    #[test]
    fn supported() {
        assert_eq!(detect(&file(&[])).unwrap(), Format::Raw);
        assert_eq!(detect(&file(&[(0, b"QFI\xfb")])).unwrap(), Format::Qcow2);
        assert_eq!(detect(&file(&[(510, b"\x55\xaa"), (512, b"EFI PART")])).unwrap(), Format::Raw);
        for len in 0..16 {
            assert_eq!(detect(&MemDevice::new(vec![0; len])).unwrap(), Format::Raw);
        }
    }

    #[test]
    fn refused_by_name() {
        for (at, mark, name) in [
            (0, &b"QED\0"[..], "qed"),
            (0, b"KDMV", "vmdk"),
            (0, b"# Disk DescriptorFile\n", "vmdk"),
            (0, b"conectix", "vhd"),
            ((40 << 10) - 512, b"conectix", "vhd"),
            (0, b"vhdxfile", "vhdx"),
            (0x40, &0xbeda_107f_u32.to_le_bytes(), "vdi"),
            (0x8001, b"CD001", "iso"),
            (0, b"LUKS\xba\xbe", "luks"),
            (0, b"\xfd7zXZ\0", "xz"),
        ] {
            let error = detect(&file(&[(at, mark)])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(name), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains('`')), "{error}");
        }
    }

    #[test]
    fn polyglots() {
        let error = detect(&file(&[(0, b"QFI\xfb"), (0x8001, b"CD001")])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("qcow2, iso"), "{error}");
        // Two marks of one format are one format.
        let error = detect(&file(&[(0, b"conectix"), ((40 << 10) - 512, b"conectix")])).unwrap_err();
        assert!(error.to_string().contains("format is vhd"), "{error}");
    }
}
