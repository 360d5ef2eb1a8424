//! What lies in a volume, by its magic: names, labels and UUIDs as blkid(8) prints them.
//!
//! A probe reads a few fixed places and trusts nothing there; that a magic is found promises no sound filesystem.

mod containers;
mod dos;
mod iso9660;
mod linux;

pub use linux::is_suspended;

use super::Signature;
use crate::block::BlockDevice;
use crate::error::Result;

/// The signature of swap space with the memory of a suspended machine in it.
pub(super) const SUSPENDED: &str = "swsuspend";

/// Most magics lie in the first page.
const HEAD: usize = 4096;
/// The longest piece that a probe reads at once.
const LONGEST: usize = 4096;

type Prober = fn(&Source<'_>) -> Result<Option<Signature>>;

/// In this order the first one wins. What contains volumes comes first: the filesystem seen through it is not to be
/// written to. FAT comes late, as its oldest form has no magic at all.
const PROBERS: [Prober; 16] = [
    containers::luks,
    containers::lvm,
    containers::raid,
    linux::xfs,
    linux::ext,
    linux::btrfs,
    linux::f2fs,
    linux::erofs,
    linux::squashfs,
    linux::bcachefs,
    linux::swap,
    dos::bitlocker,
    dos::ntfs,
    dos::exfat,
    iso9660::iso9660,
    dos::fat,
];

/// Finds out what lies at the start of a volume; `None` where no magic is known.
///
/// The label and the UUID are a stranger's text: escape them before a terminal sees them.
pub fn probe(device: &dyn BlockDevice) -> Result<Option<Signature>> {
    match at_start(device)? {
        // Whatever else is there was made over this one.
        None => containers::luks_backup(&Source::new(device)?),
        found => Ok(found),
    }
}

/// The same without the second header of a LUKS2 volume whose first one is gone, which is looked for in many places.
pub(super) fn at_start(device: &dyn BlockDevice) -> Result<Option<Signature>> {
    let source = Source::new(device)?;
    for prober in PROBERS {
        let found = prober(&source)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The volume under a probe, its first page at hand.
struct Source<'a> {
    device: &'a dyn BlockDevice,
    head: Vec<u8>,
}

impl<'a> Source<'a> {
    fn new(device: &'a dyn BlockDevice) -> Result<Self> {
        let mut head = vec![0; usize::try_from(device.size()).unwrap_or(HEAD).min(HEAD)];
        device.read_at(&mut head, 0)?;
        Ok(Self { device, head })
    }

    /// `len` bytes from `offset`, a page at most; `None` where the volume ends before.
    fn bytes(&self, offset: u64, len: usize) -> Result<Option<Vec<u8>>> {
        let in_head = usize::try_from(offset).ok().and_then(|start| self.head.get(start..start.checked_add(len)?));
        if let Some(bytes) = in_head {
            return Ok(Some(bytes.to_vec()));
        }
        let end = u64::try_from(len).ok().and_then(|len| offset.checked_add(len));
        if len > LONGEST || end.is_none_or(|end| end > self.device.size()) {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        self.device.read_at(&mut bytes, offset)?;
        Ok(Some(bytes))
    }

    /// A structure of `len` bytes at `offset`, as `parse` understands it.
    fn parse(
        &self,
        offset: u64,
        len: usize,
        parse: impl FnOnce(&[u8]) -> Option<Signature>,
    ) -> Result<Option<Signature>> {
        Ok(self.bytes(offset, len)?.and_then(|bytes| parse(&bytes)))
    }
}

fn signature(name: &'static str, label: String, uuid: String) -> Option<Signature> {
    Some(Signature { name, label, uuid })
}
