//! The marks by which formats are known.

use super::boot;
use super::field::{has, piece};
use crate::block::BlockDevice;
use crate::error::Result;
use crate::image::qcow2;
use std::fmt;

/// A format that is known by its marks, or a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// qcow2, versions 2 and 3 and whatever follows.
    Qcow2,
    /// Its forerunner, version 1.
    Qcow,
    /// QEMU's enhanced disk.
    Qed,
    /// VMware's virtual disk: a sparse file, or a descriptor.
    Vmdk,
    /// Microsoft's virtual hard disk of dynamic size, or one over another.
    Vhd,
    /// One of fixed size: a raw disk with a footer behind it.
    FixedVhd,
    /// Its successor.
    Vhdx,
    /// VirtualBox's disk image.
    Vdi,
    /// Parallels' hard disk.
    Parallels,
    /// An encrypted volume.
    Luks,
    /// A CD or DVD image.
    Iso,
    /// A disk with a GPT.
    Gpt,
    /// A disk with an MBR.
    Mbr,
    /// A compressed file, of whatever.
    Xz,
    /// A compressed file, of whatever.
    Gzip,
    /// A compressed file, of whatever.
    Bzip2,
    /// A compressed file, of whatever.
    Zstd,
}

/// How an image of a format that is not supported becomes one that is.
#[derive(Clone, Copy, Debug)]
pub(super) enum WayOut {
    /// It need not.
    None,
    /// `qemu-img` converts it, and calls it so.
    Convert(&'static str),
    /// As this hint says.
    Say(&'static str),
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qcow2 => "qcow2",
            Self::Qcow => "qcow",
            Self::Qed => "qed",
            Self::Vmdk => "vmdk",
            Self::Vhd | Self::FixedVhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Parallels => "parallels",
            Self::Luks => "luks",
            Self::Iso => "iso",
            Self::Gpt => "gpt",
            Self::Mbr => "mbr",
            Self::Xz => "xz",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
        })
    }
}

impl Mark {
    pub(super) fn way_out(self) -> WayOut {
        match self {
            Self::Qcow2 | Self::Gpt | Self::Mbr => WayOut::None,
            Self::Qcow => WayOut::Convert("qcow"),
            Self::Qed => WayOut::Convert("qed"),
            Self::Vmdk => WayOut::Convert("vmdk"),
            Self::Vhd | Self::FixedVhd => WayOut::Convert("vpc"),
            Self::Vhdx => WayOut::Convert("vhdx"),
            Self::Vdi => WayOut::Convert("vdi"),
            Self::Parallels => WayOut::Convert("parallels"),
            Self::Luks => WayOut::Say(
                "decrypt it with `qemu-img convert --object secret,id=key,file=PASSPHRASE --image-opts \
                 driver=luks,key-secret=key,file.filename=IMAGE -O qcow2 NEW.qcow2`, PASSPHRASE being a file that holds it; or if a \
                 machine has it for a disk, open it with --format raw and --key whole:file:PASSPHRASE",
            ),
            Self::Iso => WayOut::Say(
                "a CD image is read only; if it is a disk all the same, declare its format raw, or take a copy by \
                 `qemu-img convert -f raw -O qcow2 IMAGE NEW.qcow2`",
            ),
            Self::Xz => WayOut::Say("unpack it first: `xz -dc IMAGE > NEW.img`"),
            Self::Gzip => WayOut::Say("unpack it first: `gzip -dc IMAGE > NEW.img`"),
            Self::Bzip2 => WayOut::Say("unpack it first: `bzip2 -dc IMAGE > NEW.img`"),
            Self::Zstd => WayOut::Say("unpack it first: `zstd -dc IMAGE > NEW.img`"),
        }
    }
}

/// Marks in the first sector.
const HEADS: &[(Mark, usize, &[u8])] = &[
    (Mark::Qed, 0, b"QED\0"),
    (Mark::Vmdk, 0, b"KDMV"),
    (Mark::Vmdk, 0, b"COWD"),
    (Mark::Vmdk, 0, b"# Disk DescriptorFile"),
    (Mark::Vhd, 0, b"conectix"),
    (Mark::Vhdx, 0, b"vhdxfile"),
    (Mark::Vdi, 0x40, b"\x7f\x10\xda\xbe"),
    (Mark::Parallels, 0, b"WithoutFreeSpace"),
    (Mark::Parallels, 0, b"WithouFreSpacExt"),
    (Mark::Luks, 0, b"LUKS\xba\xbe"),
    (Mark::Xz, 0, b"\xfd7zXZ\0"),
    (Mark::Gzip, 0, b"\x1f\x8b\x08"),
    (Mark::Bzip2, 0, b"BZh"),
    (Mark::Zstd, 0, b"\x28\xb5\x2f\xfd"),
];
/// What a bzip2 file goes on with behind its block size.
const BZIP2_BLOCK: &[u8] = b"1AY&SY";
/// ISO 9660 (ECMA-119) and UDF (ECMA-167) name themselves in sector 16, of 2,048 bytes.
const VOLUME_DESCRIPTOR: u64 = 0x8001;
const VOLUMES: [&[u8]; 3] = [b"CD001", b"NSR02", b"NSR03"];
/// The sector of a header, of a boot record and of a VHD's footer.
pub(super) const SECTOR: usize = 512;
const FOOTER: u64 = 512;

/// Every format whose marks `host` carries, each once.
pub(super) fn carried(host: &dyn BlockDevice) -> Result<Vec<Mark>> {
    let head = piece(host, 0, SECTOR)?;
    let mut marks = Vec::new();
    if has(&head, 0, &qcow2::MAGIC) {
        marks.push(if has(&head, 4, &[0, 0, 0, 1]) { Mark::Qcow } else { Mark::Qcow2 });
    }
    for (mark, at, magic) in HEADS {
        let whole = *mark != Mark::Bzip2 || has(&head, 4, BZIP2_BLOCK);
        if has(&head, *at, magic) && whole && !marks.contains(mark) {
            marks.push(*mark);
        }
    }
    // A VHD of fixed size has its only mark in the last sector; the others repeat theirs there.
    if let Some(footer) = host.size().checked_sub(FOOTER)
        && has(&piece(host, footer, 8)?, 0, b"conectix")
        && !marks.contains(&Mark::Vhd)
    {
        marks.push(Mark::FixedVhd);
    }
    let descriptor = piece(host, VOLUME_DESCRIPTOR, 5)?;
    if VOLUMES.iter().any(|name| descriptor == *name) {
        marks.push(Mark::Iso);
    }
    marks.extend(boot::table(&head));
    Ok(marks)
}

/// Whether `host` carries the mark of qcow2, whatever else it does.
pub(super) fn is_qcow2(host: &dyn BlockDevice) -> Result<bool> {
    let head = piece(host, 0, 8)?;
    Ok(has(&head, 0, &qcow2::MAGIC) && !has(&head, 4, &[0, 0, 0, 1]))
}
