//! Volume descriptors (ECMA-119, section 8; Joliet Specification, "SVD Identification").

use super::field::{both16, both32, long_date};
use super::record::{Extent, Kind, SELF, record};
use super::{Options, SECTOR};

/// The program that an image names as its maker.
const APPLICATION: &str = "IMGRAFT";
const SYSTEM: &str = "LINUX";
/// UCS-2, level 3.
const JOLIET_ESCAPE: &[u8] = b"%/E";

/// Where the parts of one tree lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    /// How many sectors the image has.
    pub(super) sectors: u32,
    /// The root directory.
    pub(super) root: Extent,
    /// The size of a path table in bytes.
    pub(super) path_table: u64,
    /// The sector of the little-endian path table.
    pub(super) little: u32,
    /// The sector of the big-endian path table.
    pub(super) big: u32,
}

/// How text fields are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Ascii,
    /// Two bytes a character.
    Ucs2,
}

/// The primary volume descriptor.
pub(super) fn primary(options: &Options, volume: &Volume) -> Vec<u8> {
    descriptor(1, options, volume, Text::Ascii)
}

/// The supplementary volume descriptor of the Joliet tree.
pub(super) fn joliet(options: &Options, volume: &Volume) -> Vec<u8> {
    descriptor(2, options, volume, Text::Ucs2)
}

/// The descriptor after the last.
pub(super) fn terminator() -> Vec<u8> {
    let mut bytes = head(255);
    bytes.resize(SECTOR as usize, 0);
    bytes
}

fn head(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(b"CD001\x01\0");
    bytes
}

fn descriptor(kind: u8, options: &Options, volume: &Volume, text: Text) -> Vec<u8> {
    let mut bytes = head(kind);
    bytes.extend(text.field(SYSTEM, 32));
    bytes.extend(text.field(&options.volume_id, 32));
    bytes.extend([0; 8]);
    bytes.extend(both32(volume.sectors));
    let mut escape = if text == Text::Ucs2 { JOLIET_ESCAPE.to_vec() } else { Vec::new() };
    escape.resize(32, 0);
    bytes.extend(escape);
    for number in [1, 1, SECTOR as u16] {
        bytes.extend(both16(number));
    }
    // At most 65,535 records of 136 bytes.
    bytes.extend(both32(volume.path_table as u32));
    for table in [volume.little, 0] {
        bytes.extend(table.to_le_bytes());
    }
    for table in [volume.big, 0] {
        bytes.extend(table.to_be_bytes());
    }
    bytes.extend(record(SELF, Kind::Directory, volume.root, options.time, &[]));
    for identifier in ["", &options.publisher, "", APPLICATION] {
        bytes.extend(text.field(identifier, 128));
    }
    for _ in ["copyright", "abstract", "bibliography"] {
        bytes.extend(text.field("", 37));
    }
    let time = long_date(options.time);
    let mut unset = [b'0'; 17];
    unset[16] = 0;
    for date in [time, time, unset, time] {
        bytes.extend(date);
    }
    bytes.push(1);
    bytes.resize(SECTOR as usize, 0);
    bytes
}

impl Text {
    /// A field of so many bytes, cut or filled with blanks.
    fn field(self, text: &str, size: usize) -> Vec<u8> {
        match self {
            Self::Ascii => {
                let mut bytes = text.as_bytes().to_vec();
                bytes.resize(size, b' ');
                bytes
            }
            Self::Ucs2 => {
                let mut bytes: Vec<u8> = text
                    .encode_utf16()
                    .chain(std::iter::repeat(0x20))
                    .take(size / 2)
                    .flat_map(u16::to_be_bytes)
                    .collect();
                bytes.resize(size, 0);
                bytes
            }
        }
    }
}
