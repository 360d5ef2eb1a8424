//! Volumes: what on a disk can hold a filesystem, and the choice of one.

use crate::block::BlockDevice;
use crate::error::Result;
use crate::fs::GuestFs;
use std::num::NonZeroU32;
use std::sync::Arc;

/// How the disk is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scheme {
    Whole,
    Mbr,
    Gpt,
}

/// What lies at the start of a volume, by its magic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name as blkid(8) prints it: `ext4`, `xfs`, `vfat`, `swap`, `LVM2_member`, `crypto_LUKS`, …
    pub name: &'static str,
    /// The label; empty where there is none.
    pub label: String,
    /// The UUID in the usual spelling; empty where there is none.
    pub uuid: String,
}

/// A volume and what is known of it without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The partition's number as the kernel gives it (logical ones from 5); `None` for the whole disk.
    pub index: Option<NonZeroU32>,
    /// The first byte on the disk.
    pub start: u64,
    /// The size in bytes.
    pub size: u64,
    /// The partition's type: a GUID, or two hexadecimal digits for MBR; empty for the whole disk.
    pub part_type: String,
    /// The partition's label (GPT); empty where there is none.
    pub part_label: String,
    /// The partition's UUID (GPT) or `DISKID-NN` (MBR), as PARTUUID of blkid(8); empty where there is none.
    pub part_uuid: String,
    /// What lies in it; `None` where no magic is known.
    pub signature: Option<Signature>,
}

/// The partition table of a disk and the volumes in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// How the disk is divided.
    pub scheme: Scheme,
    /// The size of a logical sector in bytes, 512 or 4096, as the table was found.
    pub sector_size: u32,
    /// The volumes by number; for [`Scheme::Whole`] the disk itself.
    pub volumes: Vec<VolumeInfo>,
    /// What is odd and was tolerated, a clause each ("the primary GPT is damaged; its backup is used").
    pub notes: Vec<String>,
}

/// Which volume is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one that holds the root filesystem of the one guest.
    Auto,
    /// The whole disk, without a look at any partition table.
    Whole,
    /// The partition with this number.
    Index(NonZeroU32),
    /// The one whose filesystem or partition has this label.
    Label(String),
    /// The one whose filesystem or partition has this UUID, in any case.
    Uuid(String),
}

/// A chosen volume.
#[derive(Debug)]
pub struct Volume {
    /// Its bytes.
    pub device: Arc<dyn BlockDevice>,
    /// What is known of it.
    pub info: VolumeInfo,
}

/// Lists the volumes of a disk: GPT (primary or backup), MBR with logical partitions, or the whole disk.
pub fn list(_disk: &Arc<dyn BlockDevice>) -> Result<Table> {
    unreachable!()
}

/// Chooses a volume.
///
/// `is_root` says of an open filesystem whether it is a guest's root; only [`Selector::Auto`] asks. `Ambiguous` and
/// `NotFound` list the candidates, and the hint has the words to type.
pub fn select(
    _disk: &Arc<dyn BlockDevice>,
    _selector: &Selector,
    _is_root: &dyn Fn(&dyn GuestFs) -> Result<bool>,
) -> Result<Volume> {
    unreachable!()
}
