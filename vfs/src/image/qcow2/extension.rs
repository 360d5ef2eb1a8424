//! Header extensions: typed pieces between the header and the end of its cluster.

use super::feature::Names;
use crate::error::{Error, Layer, Result};

const END: u32 = 0;
const FEATURE_NAMES: u32 = 0x6803_f857;
const DATA_FILE: u32 = 0x4441_5441;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const BITMAPS: u32 = 0x2385_2875;
const HEAD: usize = 8;
/// The longest name that an extension can have, in bytes: that of a path.
const MAX_NAME: usize = 4095;

/// What the extensions say that matters here; unknown ones are ignored.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    /// The names of feature bits.
    pub(super) names: Names,
    /// The name of the external data file, as it stands there.
    pub(super) data_file: Option<Vec<u8>>,
    /// The format of the backing file, as it stands there.
    pub(super) backing_format: Option<Vec<u8>>,
    /// Where the bitmaps are.
    pub(super) bitmaps: Option<Bitmaps>,
}

/// The bitmaps extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bitmaps {
    /// How many there are.
    pub(super) count: u32,
    /// The directory's length in bytes.
    pub(super) len: u64,
    /// The directory's first byte.
    pub(super) directory: u64,
}

impl Bitmaps {
    const LEN: usize = 24;

    fn parse(body: &[u8]) -> Result<Self> {
        let (Some((head, [])), Some((count, _)), true) =
            (body.split_at_checked(Self::LEN), body.split_at_checked(4), body.len() == Self::LEN)
        else {
            return Err(Error::corrupt(
                Layer::Image,
                format!("qcow2: the bitmaps extension is {} bytes long, and not {}", body.len(), Self::LEN),
            ));
        };
        let (_, places) = head.split_at(8);
        let (len, directory) = places.split_at(8);
        Ok(Self { count: number(count), len: wide(len), directory: wide(directory) })
    }

    fn extension(self) -> Vec<u8> {
        [
            &BITMAPS.to_be_bytes()[..],
            &24u32.to_be_bytes(),
            &self.count.to_be_bytes(),
            &[0; 4],
            &self.len.to_be_bytes(),
            &self.directory.to_be_bytes(),
        ]
        .concat()
    }
}

impl Extensions {
    /// Reads the extensions in `area`: what follows the header up to the backing file's name or the end of the header's
    /// cluster. `Corrupt` where one does not fit, or one that matters here is there twice.
    pub(super) fn parse(area: &[u8]) -> Result<Self> {
        let mut found = Self::default();
        let mut known = Vec::new();
        let mut rest = area;
        while let Some((head, data)) = rest.split_at_checked(HEAD) {
            let (kind, len) = head.split_at(4);
            let kind = number(kind);
            if kind == END {
                break;
            }
            let len = usize::try_from(number(len)).unwrap_or(usize::MAX);
            let body = data.get(..len).ok_or_else(|| {
                Error::corrupt(
                    Layer::Image,
                    format!(
                        "qcow2: header extension {kind:#010x} of {len} bytes does not fit into the header's cluster"
                    ),
                )
            })?;
            if matches!(kind, DATA_FILE | BACKING_FORMAT) && len > MAX_NAME {
                let message = format!("qcow2: header extension {kind:#010x} has a name of {len} bytes");
                return Err(Error::corrupt(Layer::Image, message));
            }
            // Of two, programs differ on which one counts.
            if known.contains(&kind) {
                let message = format!("qcow2: header extension {kind:#010x} is there twice");
                return Err(Error::corrupt(Layer::Image, message)
                    .with_hint("make a new image of it with `qemu-img convert -O qcow2 IMAGE NEW.qcow2`"));
            }
            if matches!(kind, FEATURE_NAMES | DATA_FILE | BACKING_FORMAT | BITMAPS) {
                known.push(kind);
            }
            match kind {
                FEATURE_NAMES => found.names = Names::parse(body),
                DATA_FILE => found.data_file = Some(body.to_vec()),
                BACKING_FORMAT => found.backing_format = Some(body.to_vec()),
                BITMAPS => found.bitmaps = Some(Bitmaps::parse(body)?),
                _ => {}
            }
            let padded = len.checked_next_multiple_of(8).unwrap_or(usize::MAX);
            rest = data.get(padded..).unwrap_or_default();
        }
        Ok(found)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u32::from(*byte))
}

/// Gives the extensions in `area` a new place of the bitmaps' directory, without a change past byte `room` of it: one
/// sector has to switch to it. Returns the first bytes of the area as they are to be, or `None` where that cannot be.
///
/// Where the place does not lie in the room, the bitmaps extension is put first and the others behind it. Feature names
/// are optional, and QEMU writes all of them anew whenever it changes the header: those for which there is no room are
/// left out.
pub(super) fn point_bitmaps(area: &[u8], room: usize, directory: u64) -> Option<Vec<u8>> {
    let mut rest = area;
    let mut bitmaps = None;
    let (mut others, mut names) = (Vec::new(), None);
    while let Some((head, data)) = rest.split_at_checked(HEAD) {
        let (kind, len) = head.split_at(4);
        let (kind, len) = (number(kind), usize::try_from(number(len)).ok()?);
        if kind == END {
            break;
        }
        let body = data.get(..len)?;
        let next = data.get(len.checked_next_multiple_of(8)?..).unwrap_or_default();
        match kind {
            BITMAPS => {
                let known = Bitmaps::parse(body).ok()?;
                let place = area.len().checked_sub(data.len())?.checked_add(16)?;
                if place.checked_add(8)? <= room {
                    let mut bytes = area.get(..room.min(area.len()))?.to_vec();
                    bytes.get_mut(place..place.checked_add(8)?)?.copy_from_slice(&directory.to_be_bytes());
                    return Some(bytes);
                }
                bitmaps = Some(Bitmaps { directory, ..known });
            }
            FEATURE_NAMES => names = Some(body),
            _ => others.extend_from_slice(rest.get(..rest.len().checked_sub(next.len())?)?),
        }
        rest = next;
    }
    let mut bytes = [bitmaps?.extension(), others].concat();
    // A head marks the end.
    let left = room.min(area.len()).checked_sub(bytes.len())?.checked_sub(HEAD)?;
    if let Some(names) = names
        && let Some(fit) = left.checked_sub(HEAD)
    {
        let kept: Vec<u8> = names.chunks_exact(48).take(fit / 48).flatten().copied().collect();
        bytes.extend(FEATURE_NAMES.to_be_bytes());
        bytes.extend(u32::try_from(kept.len()).ok()?.to_be_bytes());
        bytes.extend(kept);
    }
    bytes.extend([0; HEAD]);
    Some(bytes)
}

fn wide(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::{Bitmaps, Extensions, point_bitmaps};

    fn extension(kind: u32, len: u32, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), body].concat()
    }

    #[test]
    fn unknown_ones_are_ignored_and_the_end_is_the_end() {
        let area = [
            extension(0x1234_5678, 3, b"abc\0\0\0\0\0"),
            extension(0x4441_5441, 3, b"a\nb\xff\xff\xff\xff\xff"),
            extension(0, 0, b""),
            extension(7, 99, b""),
        ]
        .concat();
        assert_eq!(Extensions::parse(&area).unwrap().data_file.as_deref(), Some(&b"a\nb"[..]));
    }

    fn names(count: u8) -> Vec<u8> {
        let body: Vec<u8> = (0..count).flat_map(|bit| [&[0, bit][..], &[b'a' + bit; 46]].concat()).collect();
        extension(0x6803_f857, body.len() as u32, &body)
    }

    #[test]
    fn the_directory_is_switched_in_the_room() {
        let bitmaps = Bitmaps { count: 3, len: 96, directory: 0x5_0000 };
        let backing = extension(0xe279_2aca, 5, b"qcow2\0\0\0");
        let end = vec![0; 64];
        for (area, moved) in [
            ([names(5), bitmaps.extension(), backing.clone(), end.clone()].concat(), false),
            ([names(8), bitmaps.extension(), end.clone()].concat(), true),
            ([backing.clone(), names(8), bitmaps.extension(), end.clone()].concat(), true),
            ([names(8), bitmaps.extension(), backing.clone(), end.clone()].concat(), true),
        ] {
            let old = Extensions::parse(&area).unwrap();
            let new = point_bitmaps(&area, 400, 0x7_0000).unwrap();
            assert!(new.len() <= 400);
            let both = [&new[..], &area[new.len()..]].concat();
            let parsed = Extensions::parse(&both).unwrap();
            assert_eq!(parsed.bitmaps, Some(Bitmaps { directory: 0x7_0000, ..bitmaps }));
            let has_backing = |area: &[u8]| area.windows(backing.len()).any(|part| part == backing);
            assert_eq!(has_backing(&both[..both.len().min(400)]), has_backing(&area), "the others stay");
            let count = |extensions: &Extensions| (0..8).filter(|bit| extensions.names.knows(*bit)).count();
            assert_eq!(count(&parsed), if moved { 7 } else { count(&old) });
        }
        // What nobody knows has to stay, and has no room.
        let unknown = extension(0x1234_5678, 400, &[7; 400]);
        assert_eq!(point_bitmaps(&[unknown, bitmaps.extension(), end].concat(), 400, 0x7_0000), None);
    }

    #[test]
    fn of_those_that_matter_there_is_one() {
        let bitmaps = Bitmaps { count: 1, len: 32, directory: 0x5_0000 }.extension();
        let other = Bitmaps { count: 1, len: 32, directory: 0x6_0000 }.extension();
        for twice in [
            [names(2), bitmaps, other].concat(),
            [names(2), names(2)].concat(),
            [extension(0xe279_2aca, 3, b"raw\0\0\0\0\0"), extension(0xe279_2aca, 5, b"qcow2\0\0\0")].concat(),
            [extension(0x4441_5441, 1, b"a\0\0\0\0\0\0\0"), extension(0x4441_5441, 1, b"b\0\0\0\0\0\0\0")].concat(),
        ] {
            assert!(Extensions::parse(&twice).unwrap_err().to_string().contains("twice"));
        }
        let unknown = extension(7, 1, b"a\0\0\0\0\0\0\0");
        Extensions::parse(&[unknown.clone(), unknown].concat()).unwrap();
    }

    #[test]
    fn too_long_ones_are_corrupt() {
        assert!(Extensions::parse(&extension(7, 9, b"12345678")).is_err());
        assert!(Extensions::parse(&extension(7, u32::MAX, b"12345678")).is_err());
        // The last one needs no padding, and a piece too short for a head is none.
        Extensions::parse(&extension(7, 6, b"123456")).unwrap();
        Extensions::parse(b"1234567").unwrap();
    }
}
