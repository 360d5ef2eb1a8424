//! The boot sector and the table of a FAT filesystem that is read (Microsoft's FAT specification 1.03).

#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

use crate::block::BlockDevice;
use crate::error::Result;
use crate::field::{byte, le16, le32, part, text};
use crate::master::drive::{self, Extent, corrupt};

/// How much of the table is read at once, in bytes: a multiple of each entry's size.
const WINDOW: u64 = 48 << 10;

/// The width of a table's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Twelve,
    Sixteen,
    ThirtyTwo,
}

/// Where the root directory lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    Fixed(Extent),
    Chain(u32),
}

/// A filesystem's layout, and the table as far as it has been read.
#[derive(Debug)]
pub(super) struct Volume<'d> {
    device: &'d dyn BlockDevice,
    width: Width,
    root: Root,
    label: String,
    /// The byte of the first table, and its size.
    table: Extent,
    data: u64,
    cluster_size: u64,
    /// Clusters 2 to this, not included, hold data.
    end: u32,
    window: Option<(u64, Vec<u8>)>,
    /// How many clusters have been found in chains: none is in two.
    used: u32,
}

impl<'d> Volume<'d> {
    /// Understands the boot sector; `None` where it is none of FAT.
    pub(super) fn open(device: &'d dyn BlockDevice) -> Result<Option<Self>> {
        if device.size() < 512 {
            return Ok(None);
        }
        let boot = drive::read(device, 0, 512, b"")?;
        let Some(volume) = Self::parse(device, &boot) else { return Ok(None) };
        let size =
            volume.data.saturating_add(u64::from(volume.end.saturating_sub(2)).saturating_mul(volume.cluster_size));
        if size > device.size() {
            return Err(corrupt(format!("the filesystem has {size} bytes, and the image {}", device.size())));
        }
        drive::inside(device, volume.table.at, volume.table.len, b"")?;
        Ok(Some(volume))
    }

    fn parse(device: &'d dyn BlockDevice, boot: &[u8]) -> Option<Self> {
        if part(boot, 510, 2) != Some(&[0x55, 0xaa]) || !matches!(byte(boot, 0), Some(0xeb | 0xe9)) {
            return None;
        }
        let sector = u64::from(le16(boot, 11).filter(|size| size.is_power_of_two() && (512..=4096).contains(size))?);
        let per_cluster = u64::from(byte(boot, 13).filter(|sectors| sectors.is_power_of_two())?);
        let reserved = u64::from(le16(boot, 14).filter(|sectors| *sectors != 0)?);
        let tables = u64::from(byte(boot, 16).filter(|tables| (1..=4).contains(tables))?);
        byte(boot, 21).filter(|media| *media == 0xf0 || *media >= 0xf8)?;
        let root_bytes = u64::from(le16(boot, 17)?).checked_mul(32)?;
        let sectors = match le16(boot, 19)? {
            0 => u64::from(le32(boot, 32)?),
            sectors => u64::from(sectors),
        };
        let short_table = u64::from(le16(boot, 22)?);
        let table_sectors = if short_table == 0 { u64::from(le32(boot, 36)?) } else { short_table };
        let root_sector = reserved.checked_add(tables.checked_mul(table_sectors)?)?;
        let data_sector = root_sector.checked_add(root_bytes.div_ceil(sector))?;
        let clusters = sectors.checked_sub(data_sector)?.checked_div(per_cluster)?;
        let width = match clusters {
            _ if short_table == 0 => Width::ThirtyTwo,
            0..4085 => Width::Twelve,
            _ => Width::Sixteen,
        };
        let table = Extent { at: reserved.checked_mul(sector)?, len: table_sectors.checked_mul(sector)? };
        // As Linux does: clusters that the table has no entry for are not there.
        let entries = match width {
            Width::Twelve => table.len.checked_mul(2)?.checked_div(3)?,
            Width::Sixteen => table.len.checked_div(2)?,
            Width::ThirtyTwo => table.len.checked_div(4)?,
        };
        let end = clusters.checked_add(2)?.min(entries).min(0x0fff_fff6);
        let root = match width {
            Width::ThirtyTwo => Root::Chain(le32(boot, 44)?),
            _ => Root::Fixed(Extent { at: root_sector.checked_mul(sector)?, len: root_bytes }),
        };
        let extended = if width == Width::ThirtyTwo { 66 } else { 38 };
        let label = match byte(boot, extended)? {
            0x29 => text(part(boot, usize::checked_add(extended, 5)?, 11)?),
            _ => String::new(),
        };
        Some(Self {
            device,
            width,
            root,
            label,
            table,
            data: data_sector.checked_mul(sector)?,
            cluster_size: per_cluster.checked_mul(sector)?,
            end: u32::try_from(end).ok()?,
            window: None,
            used: 0,
        })
    }

    pub(super) fn root(&self) -> Root {
        self.root
    }

    /// The label in the boot sector.
    pub(super) fn label(&self) -> String {
        self.label.clone()
    }

    pub(super) fn name(&self) -> &'static str {
        match self.width {
            Width::Twelve => "FAT12",
            Width::Sixteen => "FAT16",
            Width::ThirtyTwo => "FAT32",
        }
    }

    /// The clusters of a chain as ranges: those of `size` bytes, or all; more than `most` bytes is an error.
    pub(super) fn chain(&mut self, first: u32, size: Option<u64>, most: u64, path: &[u8]) -> Result<Vec<Extent>> {
        let damaged = |reason: &str| Err(corrupt(format!("its chain of clusters {reason}")).with_guest_path(path));
        let mut extents: Vec<Extent> = Vec::new();
        let mut left = size.unwrap_or(most);
        let mut cluster = first;
        loop {
            if !(2..self.end).contains(&cluster) {
                return damaged("leads out of the filesystem");
            }
            // Each cluster is in one chain, so all chains together have no more than there are.
            self.used = self.used.saturating_add(1);
            if self.used > self.end {
                return damaged("runs in a circle, or into another one");
            }
            let place = u64::from(cluster).saturating_sub(2).saturating_mul(self.cluster_size);
            let at = self.data.saturating_add(place);
            let len = self.cluster_size.min(left);
            match extents.last_mut() {
                Some(last) if last.at.saturating_add(last.len) == at => last.len = last.len.saturating_add(len),
                _ => extents.push(Extent { at, len }),
            }
            left = left.saturating_sub(len);
            let next = self.next(cluster)?;
            match (left, next, size) {
                // What follows the last byte of a file is nobody's business here.
                (0, _, Some(_)) | (_, Next::End, None) => return Ok(extents),
                (0, Next::Cluster(_), None) => return damaged("is too long"),
                (_, Next::Cluster(next), _) => cluster = next,
                (_, Next::End, Some(_)) => return damaged("ends before the file does"),
                (_, Next::None, _) => return damaged("leads to a cluster that is free or bad"),
            }
        }
    }

    fn next(&mut self, cluster: u32) -> Result<Next> {
        let number = u64::from(cluster);
        let (value, last) = match self.width {
            Width::Twelve => {
                let at = number.saturating_add(number >> 1);
                let [low, high] = [self.byte(at)?, self.byte(at.saturating_add(1))?];
                let pair = u16::from_le_bytes([low, high]);
                (u32::from(if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }), 0xff8)
            }
            Width::Sixteen => {
                let at = number.saturating_mul(2);
                (u32::from(u16::from_le_bytes([self.byte(at)?, self.byte(at.saturating_add(1))?])), 0xfff8)
            }
            Width::ThirtyTwo => {
                let at = number.saturating_mul(4);
                let mut bytes = [0; 4];
                for (byte, at) in bytes.iter_mut().zip(at..) {
                    *byte = self.byte(at)?;
                }
                (u32::from_le_bytes(bytes) & 0x0fff_ffff, 0x0fff_fff8)
            }
        };
        Ok(match value {
            value if value >= last => Next::End,
            value if (2..self.end).contains(&value) => Next::Cluster(value),
            _ => Next::None,
        })
    }

    /// A byte of the table.
    fn byte(&mut self, at: u64) -> Result<u8> {
        let start = at.saturating_sub(at % WINDOW);
        if self.window.as_ref().is_none_or(|(held, _)| *held != start) {
            let len = self.table.len.saturating_sub(start).min(WINDOW);
            let bytes =
                drive::read(self.device, self.table.at.saturating_add(start), usize::try_from(len).unwrap_or(0), b"")?;
            self.window = Some((start, bytes));
        }
        let within = usize::try_from(at % WINDOW).unwrap_or(usize::MAX);
        let byte = self.window.as_ref().and_then(|(_, bytes)| bytes.get(within).copied());
        byte.ok_or_else(|| corrupt("the table of clusters ends early"))
    }
}

/// What the table says of a cluster.
enum Next {
    Cluster(u32),
    End,
    None,
}
