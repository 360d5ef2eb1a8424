//! A physical volume's label and header: where its metadata lies, and what no logical volume may lie on.
//!
//! Source: `lib/label/label.h` and `lib/format_text/layout.h` of LVM2.

use super::{checksum, corrupt};
use crate::block::BlockDevice;
use crate::error::Result;
use crate::field::{array, has, le32, le64};
use std::ops::Range;

const SECTOR: usize = 512;
/// The sectors that may hold the label, in bytes from the start.
const PLACES: [u64; 4] = [0, 512, 1024, 1536];
/// The label's own space: nobody's data lies there.
const LABELS: Range<u64> = 0..2048;
/// Where the checksum of the label begins: behind itself.
const SUMMED_FROM: usize = 20;
const TYPE: &[u8] = b"LVM2 001";
/// The length of a UUID without its hyphens.
pub(super) const ID: usize = 32;
/// How many areas of a kind a header may name; a sector holds fewer.
const MAX_AREAS: usize = 16;

/// A range of a physical volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Area {
    /// Its bytes; `Corrupt` where they do not lie in `size` bytes.
    fn range(self, size: u64) -> Result<Range<u64>> {
        match self.offset.checked_add(self.size) {
            Some(end) if end <= size => Ok(self.offset..end),
            _ => Err(corrupt("an area of the physical volume reaches past its end").with_offset(self.offset)),
        }
    }
}

/// What the label of a physical volume says.
#[derive(Debug)]
pub(super) struct Label {
    /// The UUID without hyphens.
    pub(super) id: String,
    /// Where copies of the metadata are.
    pub(super) metadata: Vec<Area>,
    /// What no extent may lie on: the labels, the metadata, the bootloader's areas.
    pub(super) reserved: Vec<Range<u64>>,
}

impl Label {
    /// Reads the label of a physical volume; `Corrupt` where none of its four places holds a sound one.
    pub(super) fn read(device: &dyn BlockDevice) -> Result<Self> {
        let mut problem = corrupt("no LVM2 label");
        for place in PLACES {
            if place.checked_add(512).is_none_or(|end| end > device.size()) {
                break;
            }
            let mut sector = [0; SECTOR];
            device.read_at(&mut sector, place)?;
            if !has(&sector, 0, b"LABELONE") || !has(&sector, 24, TYPE) {
                continue;
            }
            match Self::parse(&sector, place, device.size()) {
                Ok(label) => return Ok(label),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    fn parse(sector: &[u8; SECTOR], place: u64, size: u64) -> Result<Self> {
        let short = || corrupt("the LVM2 label is cut short").with_offset(place);
        if le32(sector, 16) != Some(checksum(sector.get(SUMMED_FROM..).ok_or_else(short)?)) {
            return Err(corrupt("the checksum of the LVM2 label is wrong").with_offset(place));
        }
        if le64(sector, 8).and_then(|number| number.checked_mul(512)) != Some(place) {
            return Err(corrupt("the LVM2 label belongs to another sector").with_offset(place));
        }
        let at = le32(sector, 20).and_then(|at| usize::try_from(at).ok()).ok_or_else(short)?;
        let id: [u8; ID] = array(sector, at).ok_or_else(short)?;
        if !id.iter().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'!' | b'#')) {
            return Err(corrupt("the physical volume has no UUID").with_offset(place));
        }
        // Behind the UUID and the device's size.
        let mut fields = Fields { sector, at: at.checked_add(ID).and_then(|at| at.checked_add(8)).ok_or_else(short)? };
        let data = fields.areas().ok_or_else(short)?;
        let metadata = fields.areas().ok_or_else(short)?;
        let mut reserved = vec![LABELS];
        for area in &metadata {
            reserved.push(area.range(size)?);
        }
        // An extension came with 2.02.99: version, flags, and areas for a bootloader.
        if fields.number().is_some_and(|version| version != 0) {
            fields.number().ok_or_else(short)?;
            for area in fields.areas().ok_or_else(short)? {
                reserved.push(area.range(size)?);
            }
        }
        if data.iter().any(|area| area.offset >= size) {
            return Err(corrupt("the data of the physical volume lies past its end").with_offset(place));
        }
        let id = id.iter().copied().map(char::from).collect();
        Ok(Self { id, metadata, reserved })
    }
}

/// The fields that follow each other in a label.
struct Fields<'a> {
    sector: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn number(&mut self) -> Option<u32> {
        let number = le32(self.sector, self.at)?;
        self.at = self.at.checked_add(4)?;
        Some(number)
    }

    fn long(&mut self) -> Option<u64> {
        let number = le64(self.sector, self.at)?;
        self.at = self.at.checked_add(8)?;
        Some(number)
    }

    /// A list of areas that ends with an offset of zero.
    fn areas(&mut self) -> Option<Vec<Area>> {
        let mut areas = Vec::new();
        loop {
            let area = Area { offset: self.long()?, size: self.long()? };
            if area.offset == 0 {
                return Some(areas);
            }
            if areas.len() >= MAX_AREAS {
                return None;
            }
            areas.push(area);
        }
    }
}
