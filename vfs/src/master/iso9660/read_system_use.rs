//! Reading what Rock Ridge says of a file (SUSP 1.12, RRIP 1.12, and their earlier versions).

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use super::read::SECTOR;
use crate::block::BlockDevice;
use crate::error::Result;
use crate::field::{array, byte, le32, part};
use crate::fs::{Attrs, FileType};
use crate::master::drive::{self, List, corrupt};
use crate::path::{NAME_MAX, PATH_MAX};

/// How often the fields of one file continue elsewhere.
const MAX_CONTINUATIONS: u32 = 32;

const CONTINUES: u8 = 1;
/// The bits of a name that stand for `.` and `..`.
const NOT_A_NAME: u8 = 6;

/// What there is on one file.
#[derive(Debug, Default)]
pub(super) struct RockRidge {
    pub(super) name: Option<Vec<u8>>,
    pub(super) file_type: Option<FileType>,
    pub(super) attrs: Option<Attrs>,
    pub(super) target: Option<Vec<u8>>,
    /// The directory lies in this sector, and an empty file stands for it.
    pub(super) child: Option<u32>,
    /// The directory belongs elsewhere.
    pub(super) relocated: bool,
    /// The content is compressed (zisofs).
    pub(super) compressed: bool,
}

/// Whether the root's own record says that these fields are used ("SP"); gives the bytes to be skipped before them.
pub(super) fn shared(field: &[u8]) -> Option<usize> {
    // CD-ROM XA has fourteen bytes of its own first.
    [0, 14].into_iter().find_map(|at| match part(field, at, 7) {
        Some([b'S', b'P', 7, 1, 0xbe, 0xef, skip]) => Some(usize::from(*skip)),
        _ => None,
    })
}

/// Reads the fields of a file, wherever they continue; the image's continuations are counted in `list`.
pub(super) fn parse(device: &dyn BlockDevice, field: &[u8], directory: &[u8], list: &mut List) -> Result<RockRidge> {
    let mut found = RockRidge::default();
    let mut link = Link::default();
    let mut here = field.to_vec();
    let mut continuations = 0_u32;
    loop {
        let mut next = None;
        let mut rest = here.as_slice();
        // Anything shorter than a head is padding.
        while let Some([a, b, length, _version]) = array::<4>(rest, 0) {
            let Some(piece) = part(rest, 0, usize::from(length)).filter(|piece| piece.len() >= 4) else {
                // Padding with zeros; Linux ends here too.
                break;
            };
            rest = rest.get(piece.len()..).unwrap_or_default();
            match (&[a, b], piece.get(4..).unwrap_or_default()) {
                (b"CE", body) => next = pointer(body),
                (b"ST", _) => break,
                (b"NM", [flags, name @ ..]) if flags & NOT_A_NAME == 0 => {
                    let whole = found.name.get_or_insert_default();
                    whole.extend_from_slice(name);
                    if whole.len() > NAME_MAX {
                        return Err(corrupt("a name in it is longer than 255 bytes").with_guest_path(directory));
                    }
                }
                (b"PX", body) => found.attributes(body),
                (b"SL", [_flags, components @ ..]) => link.add(components, directory)?,
                (b"CL", body) => found.child = le32(body, 0),
                (b"RE", _) => found.relocated = true,
                (b"ZF", _) => found.compressed = true,
                _ => {}
            }
        }
        let Some((sector, offset, len)) = next else { break };
        continuations = continuations.saturating_add(1);
        if continuations > MAX_CONTINUATIONS {
            return Err(corrupt("what is said of a file in it does not end").with_guest_path(directory));
        }
        list.continuation(directory)?;
        let at = u64::from(sector).saturating_mul(SECTOR).saturating_add(u64::from(offset));
        here = drive::read(device, at, len, directory)?;
    }
    found.target = link.target();
    Ok(found)
}

/// Sector, offset and length of a continuation; one that does not lie in its sector is none.
fn pointer(body: &[u8]) -> Option<(u32, u32, usize)> {
    let (sector, offset, len) = (le32(body, 0)?, le32(body, 8)?, le32(body, 16)?);
    let end = u64::from(offset).checked_add(u64::from(len))?;
    if end > SECTOR {
        return None;
    }
    Some((sector, offset, usize::try_from(len).ok()?))
}

impl RockRidge {
    fn attributes(&mut self, body: &[u8]) {
        let (Some(mode), uid, gid) = (le32(body, 0), le32(body, 16), le32(body, 24)) else { return };
        self.file_type = match mode >> 12 & 0o17 {
            0o10 => Some(FileType::Regular),
            0o04 => Some(FileType::Directory),
            0o12 => Some(FileType::Symlink),
            0o02 => Some(FileType::CharDevice),
            0o06 => Some(FileType::BlockDevice),
            0o01 => Some(FileType::Fifo),
            0o14 => Some(FileType::Socket),
            _ => None,
        };
        let permissions = u16::try_from(mode & 0o7777).unwrap_or_default();
        self.attrs = Some(Attrs { mode: permissions, uid: uid.unwrap_or_default(), gid: gid.unwrap_or_default() });
    }
}

/// The target of a symbolic link, as its components come.
#[derive(Debug, Default)]
struct Link {
    target: Vec<u8>,
    seen: Seen,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    /// A slash comes before the next component.
    Whole,
    /// The next component goes on with this one.
    Part,
}

impl Link {
    fn add(&mut self, mut components: &[u8], directory: &[u8]) -> Result<()> {
        while let (Some(flags), Some(length)) = (byte(components, 0), byte(components, 1)) {
            let text = part(components, 2, usize::from(length)).unwrap_or_default();
            if self.seen == Seen::Whole && self.target != b"/" {
                self.target.push(b'/');
            }
            match flags & 0x0e {
                2 => self.target.push(b'.'),
                4 => self.target.extend_from_slice(b".."),
                8 => self.target = b"/".to_vec(),
                _ => self.target.extend_from_slice(text),
            }
            self.seen = if flags & CONTINUES == 0 { Seen::Whole } else { Seen::Part };
            if self.target.len() >= PATH_MAX {
                return Err(corrupt("a symbolic link in it is longer than 4095 bytes").with_guest_path(directory));
            }
            components = components.get(usize::from(length).saturating_add(2)..).unwrap_or_default();
        }
        Ok(())
    }

    fn target(self) -> Option<Vec<u8>> {
        (self.seen != Seen::Nothing).then_some(self.target)
    }
}
