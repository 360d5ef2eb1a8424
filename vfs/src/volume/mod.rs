//! Volumes: what on a disk can hold a filesystem, and the choice of one.

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

mod bsd;
mod gpt;
mod keys;
mod layout;
mod luks;
mod lvm;
mod mbr;
mod mounts;
mod probe;
mod select;
mod survey;

pub use keys::{Key, Keys};
pub use luks::Unlocked;
pub use lvm::Logical;
pub use mounts::{Used, Volumes};
pub use probe::{is_suspended, probe};
pub use select::{Chosen, select, select_bytes, select_through};
pub use survey::Survey;

use crate::block::{BlockDevice, SliceDevice};
use crate::error::{Error, Layer, Result};
use std::fmt;
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

/// What the bytes of a volume lie on.
#[derive(Clone, Debug)]
pub enum Base {
    /// The disk.
    Disk,
    /// The physical volumes of an LVM2 volume group.
    Logical(Arc<Logical>),
    /// A LUKS volume, of which this is what is in it.
    Unlocked(Arc<Unlocked>),
    /// Nothing that can be used: a volume that is known by its name only.
    Refused {
        /// The name.
        name: String,
        /// Why it cannot be used.
        why: Arc<Error>,
    },
}

/// A volume and what is known of it without opening it.
#[derive(Clone, Debug)]
pub struct VolumeInfo {
    /// The partition's number as the kernel gives it (logical ones from 5); `None` for what is no partition.
    pub index: Option<NonZeroU32>,
    /// What it lies on.
    pub base: Base,
    /// Its first byte on what it lies on.
    pub start: u64,
    /// The size in bytes.
    pub size: u64,
    /// The partition's type: a GUID, or two hexadecimal digits for MBR; empty for the whole disk.
    pub part_type: String,
    /// The partition's label (GPT); empty where there is none.
    pub part_label: String,
    /// The partition's UUID (GPT) or `DISKID-NN` (MBR), as PARTUUID of blkid(8); empty where there is none.
    pub part_uuid: String,
    /// The partition's attributes (GPT), as UEFI has them and as its type gives them a meaning; 0 where there are none.
    pub attributes: u64,
    /// What lies in it; `None` where no magic is known. Labels are a stranger's text.
    pub signature: Option<Signature>,
    /// What is known of what it holds beside the signature, as pairs of a name and a value.
    pub facts: Vec<(&'static str, String)>,
    /// Why the volumes in it cannot be used.
    pub problem: Option<Arc<Error>>,
}

impl VolumeInfo {
    /// The whole of a disk as a volume.
    fn whole(disk: &dyn BlockDevice, signature: Option<Signature>) -> Self {
        Self { size: disk.size(), signature, ..Self::stacked(Base::Disk, disk.size(), Vec::new()) }
    }

    /// A volume that lies on others.
    fn stacked(base: Base, size: u64, facts: Vec<(&'static str, String)>) -> Self {
        Self {
            index: None,
            base,
            start: 0,
            size,
            part_type: String::new(),
            part_label: String::new(),
            part_uuid: String::new(),
            attributes: 0,
            signature: None,
            facts,
            problem: None,
        }
    }

    /// The word that chooses it: a partition's number, `whole`, or `GROUP/VOLUME`. What is in a LUKS volume has its name.
    pub fn name(&self) -> String {
        match (&self.base, self.index) {
            (Base::Disk, Some(index)) => index.to_string(),
            (Base::Disk, None) => "whole".to_owned(),
            (Base::Logical(logical), _) => logical.name().to_owned(),
            (Base::Unlocked(unlocked), _) => unlocked.container().name(),
            (Base::Refused { name, .. }, _) => name.clone(),
        }
    }

    /// Whether it is the logical volume that has this UUID, its group's and its own, without hyphens.
    fn has_logical_uuid(&self, id: &str) -> bool {
        let of = |name: &str| {
            self.facts
                .iter()
                .find(|(known, _)| *known == name)
                .map_or("", |(_, uuid)| uuid)
                .split('-')
                .collect::<String>()
        };
        matches!(self.base, Base::Logical(_) | Base::Refused { .. }) && of("vg-uuid") + &of("lv-uuid") == id
    }

    /// Whether there is a logical volume below it, or it is one.
    fn lies_on_lvm(&self) -> bool {
        match &self.base {
            Base::Disk => false,
            Base::Unlocked(unlocked) => unlocked.container().lies_on_lvm(),
            Base::Logical(_) | Base::Refused { .. } => true,
        }
    }

    /// How many LUKS volumes it lies in. No more than a few: each is counted before it is unlocked.
    fn depth(&self) -> usize {
        match &self.base {
            Base::Disk | Base::Refused { .. } => 0,
            Base::Logical(logical) => logical.members().iter().map(Self::depth).max().unwrap_or(0),
            Base::Unlocked(unlocked) => unlocked.container().depth().saturating_add(1),
        }
    }

    /// Whether it is this volume of the same disk.
    fn is_same(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.base) == std::mem::discriminant(&other.base)
            && self.depth() == other.depth()
            && self.name() == other.name()
    }

    /// The first byte after it.
    fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// Its bytes on the disk it was found on, or on another one that holds the same; `Corrupt` where they do not lie
    /// there, and the reason where it cannot be used.
    pub fn device(&self, disk: &Arc<dyn BlockDevice>) -> Result<Arc<dyn BlockDevice>> {
        match &self.base {
            Base::Disk => {}
            Base::Logical(logical) => return logical.device(disk),
            Base::Unlocked(unlocked) => return unlocked.device(disk),
            Base::Refused { why, .. } => return Err(why.repeated()),
        }
        if self.start == 0 && self.size == disk.size() {
            return Ok(Arc::clone(disk));
        }
        match SliceDevice::new(Arc::clone(disk), self.start, self.size) {
            Ok(slice) => Ok(Arc::new(slice)),
            Err(error) => {
                Err(Error::corrupt(Layer::Volume, format!("{self} does not lie on the disk")).with_source(error))
            }
        }
    }
}

impl fmt::Display for VolumeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.base, self.index) {
            (Base::Disk, Some(index)) => write!(f, "partition {index}"),
            (Base::Disk, None) => f.write_str("the whole disk"),
            (Base::Unlocked(unlocked), _) => write!(f, "{}, unlocked", unlocked.container()),
            (Base::Logical(_) | Base::Refused { .. }, _) => write!(f, "logical volume {}", self.name()),
        }
    }
}

/// The partition table of a disk and the volumes in it.
#[derive(Clone, Debug)]
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

impl Table {
    /// Facts about the table for a report, as pairs of a name and a value.
    pub fn facts(&self) -> [(&'static str, String); 1] {
        [("sector-size", self.sector_size.to_string())]
    }
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
    /// The logical volume that has this name, `GROUP/VOLUME`.
    Logical(String),
    /// The logical volume that has this UUID for a device-mapper: its group's and its own, without hyphens.
    LogicalUuid(String),
    /// The one that has this mark, as fstab(5) spells marks.
    Marked(Mark, String),
}

/// As it is typed: `auto`, `whole`, `3`, `label:NAME`, `uuid:UUID`, `GROUP/VOLUME`; a mark as in fstab.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Whole => f.write_str("whole"),
            Self::Index(index) => write!(f, "{index}"),
            Self::Label(label) => write!(f, "label:{label}"),
            Self::Uuid(uuid) => write!(f, "uuid:{uuid}"),
            Self::Logical(name) => f.write_str(name),
            Self::LogicalUuid(id) => write!(f, "/dev/disk/by-id/dm-uuid-LVM-{id}"),
            Self::Marked(mark, value) => write!(f, "{}={value}", mark.name().to_ascii_uppercase()),
        }
    }
}

/// A mark of a filesystem or of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The UUID of a filesystem, as blkid(8) spells it: mount(8) takes it as a string.
    Uuid,
    /// The label of a filesystem.
    Label,
    /// The UUID of a partition, likewise.
    PartUuid,
    /// The label of a partition.
    PartLabel,
}

impl Mark {
    /// The word for it.
    fn name(self) -> &'static str {
        match self {
            Self::Uuid => "UUID",
            Self::Label => "label",
            Self::PartUuid => "PARTUUID",
            Self::PartLabel => "PARTLABEL",
        }
    }

    /// Whether a volume has it.
    fn is_of(self, value: &str, info: &VolumeInfo) -> bool {
        self.on(info) == Some(value)
    }

    /// The one of a volume, where there is one.
    fn on(self, info: &VolumeInfo) -> Option<&str> {
        let signature = info.signature.as_ref();
        match self {
            Self::Uuid => signature.map(|signature| signature.uuid.as_str()),
            Self::Label => signature.map(|signature| signature.label.as_str()),
            Self::PartUuid => Some(&info.part_uuid),
            Self::PartLabel => Some(&info.part_label),
        }
    }
}

/// A chosen volume.
///
/// Several of one disk may be open at once, in one transaction: each is a view of the disk's bytes.
#[derive(Debug)]
pub struct Volume {
    /// Its bytes.
    pub device: Arc<dyn BlockDevice>,
    /// What is known of it.
    pub info: VolumeInfo,
}

/// The sizes of a logical sector that disks have, the usual one first.
const SECTOR_SIZES: [u32; 2] = [512, 4096];

/// Lists the volumes of a disk: GPT (primary or backup), MBR with logical partitions, or the whole disk.
///
/// Which of them it is follows the kernel: a GPT counts under a protective MBR only, and a boot sector whose entries
/// cannot be partitions is a filesystem's. Overlapping partitions, partitions outside the disk and a damaged table
/// without a backup are `Corrupt`.
pub fn list(disk: &Arc<dyn BlockDevice>) -> Result<Table> {
    let disk_signature = probe::at_start(&**disk)?;
    let Some(record) = mbr::BootRecord::read(&**disk, 0)? else {
        return unpartitioned(disk, disk_signature);
    };
    let mut notes = Vec::new();
    let (scheme, sector_size, mut volumes) = if let Some(sectors) = record.protected_sectors() {
        let gpt = gpt::read(&**disk, sectors)?;
        notes.extend(gpt.notes);
        if record.is_hybrid() {
            notes.push("the MBR beside the GPT has partitions too; the GPT is used".to_owned());
        }
        (Scheme::Gpt, gpt.sector_size, gpt.volumes)
    } else {
        if !record.is_table() || (record.is_empty() && probe(&**disk)?.is_some()) {
            return unpartitioned(disk, disk_signature);
        }
        notes.extend(stray_gpt(disk)?);
        match read_mbr(disk, &record) {
            Ok((sector_size, found)) => {
                notes.extend(found.notes);
                (Scheme::Mbr, sector_size, found.volumes)
            }
            // The first sector of these is their own, and what stands in the place of a table means little.
            Err(_) if disk_signature.as_ref().is_some_and(owns_boot_sector) => {
                notes.push(
                    "the boot sector has partitions that cannot be; the filesystem around them is used".to_owned(),
                );
                return Ok(whole(disk, disk_signature, notes));
            }
            Err(error) => return Err(error),
        }
    };
    if let Some(signature) = disk_signature {
        notes.push(format!("the disk as a whole has a signature too ({})", signature.name));
    }
    for volume in &mut volumes {
        let device = volume.device(disk)?;
        volume.signature = probe(&*device)?;
        if bsd::may_hold(volume) && bsd::is_labelled(&*device)? {
            volume.problem = Some(Arc::new(bsd::refusal(&volume.to_string())));
        }
    }
    volumes.sort_by_key(|volume| volume.index);
    Ok(Table { scheme, sector_size, volumes, notes })
}

/// The disk as one volume, without a look at any partition table.
pub fn undivided(disk: &Arc<dyn BlockDevice>) -> Result<Table> {
    Ok(whole(disk, probe(&**disk)?, Vec::new()))
}

/// The disk as one volume, as it has no partition table.
fn unpartitioned(disk: &Arc<dyn BlockDevice>, at_start: Option<Signature>) -> Result<Table> {
    let signature = match at_start {
        None if bsd::is_labelled(&**disk)? => return Err(bsd::refusal("the disk")),
        None => probe(&**disk)?,
        found => found,
    };
    Ok(whole(disk, signature, stray_gpt(disk)?))
}

fn whole(disk: &Arc<dyn BlockDevice>, signature: Option<Signature>, notes: Vec<String>) -> Table {
    let volumes = vec![VolumeInfo::whole(&**disk, signature)];
    Table { scheme: Scheme::Whole, sector_size: 512, volumes, notes }
}

/// Reads an MBR, which does not say how large its sectors are: 512 bytes, unless only 4096 bytes make sense of it.
fn read_mbr(disk: &Arc<dyn BlockDevice>, record: &mbr::BootRecord) -> Result<(u32, mbr::Partitions)> {
    let [usual, large] = SECTOR_SIZES;
    let found = record.partitions(&**disk, usual);
    if let Ok(partitions) = &found
        && any_signature(disk, partitions)?
    {
        return found.map(|partitions| (usual, partitions));
    }
    if let Ok(partitions) = record.partitions(&**disk, large)
        && any_signature(disk, &partitions)?
    {
        return Ok((large, partitions));
    }
    found.map(|partitions| (usual, partitions))
}

fn any_signature(disk: &Arc<dyn BlockDevice>, partitions: &mbr::Partitions) -> Result<bool> {
    for volume in &partitions.volumes {
        if probe(&*volume.device(disk)?)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a filesystem's own boot sector, or the hybrid one of an optical image, may look like a partition table.
fn owns_boot_sector(signature: &Signature) -> bool {
    matches!(signature.name, "vfat" | "exfat" | "ntfs" | "BitLocker" | "iso9660")
}

/// The note on a GPT that does not count, as no protective MBR announces it.
fn stray_gpt(disk: &Arc<dyn BlockDevice>) -> Result<Vec<String>> {
    for size in SECTOR_SIZES.map(u64::from) {
        let mut magic = [0; gpt::SIGNATURE.len()];
        if disk.size() >= size.saturating_mul(2) {
            disk.read_at(&mut magic, size)?;
        }
        if magic == gpt::SIGNATURE {
            return Ok(vec!["a GPT without a protective MBR is ignored, as the kernel does".to_owned()]);
        }
    }
    Ok(Vec::new())
}
