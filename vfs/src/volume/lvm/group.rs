//! A volume group as its metadata describes it, before anything is looked for on a disk.

use super::corrupt;
use super::label::ID;
use super::text::{Section, Value};
use crate::error::{Error, Layer, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Sizes in the metadata count in sectors of 512 bytes.
const SECTOR: u64 = 512;
/// The longest name; `NAME_LEN` of LVM2 with its end.
const MAX_NAME: usize = 127;
/// How many physical volumes a group may have.
const MAX_PHYSICAL: usize = 1024;
/// How many logical volumes a group may have.
const MAX_LOGICAL: usize = 4096;
/// What a logical volume may be without being more than its extents.
const PLAIN: [&str; 5] = ["READ", "WRITE", "VISIBLE", "FIXED_MINOR", "ALLOC_NORMAL"];
/// What a volume group may be.
const PLAIN_GROUP: [&str; 4] = ["READ", "WRITE", "RESIZEABLE", "RESIZABLE"];

/// Whether what is stored may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    ReadOnly,
    ReadWrite,
}

/// A volume group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    /// Its UUID as LVM2 prints it.
    pub(super) id: String,
    /// Grows with each change.
    pub(super) seqno: u64,
    /// The size of an extent in bytes.
    pub(super) extent: u64,
    pub(super) physical: BTreeMap<String, Physical>,
    pub(super) logical: Vec<Logical>,
    /// Why none of its volumes may be used.
    pub(super) refusal: Option<String>,
}

/// A physical volume as its group knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Physical {
    /// Its UUID without hyphens.
    pub(super) id: String,
    /// The first byte of its extents.
    pub(super) start: u64,
    /// How many extents it has.
    pub(super) count: u64,
    /// Whether it took part in the last change of the group.
    pub(super) presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Present,
    /// What it holds may be old.
    Missed,
}

/// A logical volume as its group knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Logical {
    pub(super) name: String,
    /// Its UUID as LVM2 prints it.
    pub(super) id: String,
    pub(super) permission: Permission,
    /// Whether users see it; the parts of others are hidden.
    pub(super) visibility: Visibility,
    /// Its segments in order, those that are stripes (one stripe is a linear one).
    pub(super) segments: Vec<Segment>,
    /// How many extents it has.
    pub(super) extents: u64,
    /// Why it may not be used.
    pub(super) refusal: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    Visible,
    Hidden,
}

/// Extents that follow each other in a logical volume.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first one.
    pub(super) start: u64,
    /// How many.
    pub(super) count: u64,
    /// How much goes to each area in turn, in bytes.
    pub(super) stripe: u64,
    /// Where they lie: a physical volume's name, and its first extent.
    pub(super) areas: Vec<(String, u64)>,
}

impl Group {
    /// Reads the text of a metadata area.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let whole = Section::parse(text)?;
        if whole.text("contents") != Some("Text Format Volume Group") || whole.number("version") != Some(1) {
            return Err(corrupt("the LVM2 metadata is of a kind that is not known"));
        }
        let mut groups = whole.sections();
        let (Some((name, section)), None) = (groups.next(), groups.next()) else {
            return Err(corrupt("the LVM2 metadata does not describe one volume group"));
        };
        check_name(name, "volume group")?;
        Self::from_section(name, section).map_err(|error| about(&format!("volume group {name}"), &error))
    }

    fn from_section(name: &str, section: &Section<'_>) -> Result<Self> {
        let extent = number(section, "extent_size")?.checked_mul(SECTOR).filter(|size| *size > 0);
        let extent = extent.ok_or_else(|| corrupt("its extents have no size"))?;
        let mut physical = BTreeMap::new();
        for (name, section) in section.section("physical_volumes").into_iter().flat_map(Section::sections) {
            physical.insert(name.to_owned(), Physical::from_section(name, section)?);
            if physical.len() > MAX_PHYSICAL {
                return Err(corrupt(format!("it has more than {MAX_PHYSICAL} physical volumes")));
            }
        }
        let mut logical = Vec::new();
        for (name, section) in section.section("logical_volumes").into_iter().flat_map(Section::sections) {
            check_name(name, "logical volume")?;
            if logical.len() >= MAX_LOGICAL {
                return Err(corrupt(format!("it has more than {MAX_LOGICAL} logical volumes")));
            }
            let read = Logical::from_section(name, section, extent, &physical);
            logical.push(read.map_err(|error| about(&format!("logical volume {name}"), &error))?);
        }
        refuse_snapshots(section, &mut logical);
        let status = section.words("status");
        let refusal = if status.contains(&"EXPORTED") {
            Some("it is exported (vgimport makes it usable)".to_owned())
        } else if section.text("lock_type").is_some_and(|kind| kind != "none") || status.contains(&"CLUSTERED") {
            Some("it is shared between hosts".to_owned())
        } else {
            unknown(&status, &PLAIN_GROUP).map(|word| format!("it has the status {word:?}"))
        };
        if !status.contains(&"WRITE") {
            logical.iter_mut().for_each(|volume| volume.permission = Permission::ReadOnly);
        }
        let id = text(section, "id")?.to_owned();
        Ok(Self { name: name.to_owned(), id, seqno: number(section, "seqno")?, extent, physical, logical, refusal })
    }
}

impl Physical {
    fn from_section(name: &str, section: &Section<'_>) -> Result<Self> {
        let id: String = text(section, "id")?.chars().filter(|letter| *letter != '-').collect();
        if id.len() != ID {
            return Err(corrupt(format!("its physical volume {name:?} has no UUID")));
        }
        let start = number(section, "pe_start")?.checked_mul(SECTOR);
        let start = start.ok_or_else(|| corrupt(format!("its physical volume {name:?} begins nowhere")))?;
        let is_missed = ["status", "flags"].iter().any(|list| section.words(list).contains(&"MISSING"));
        let presence = if is_missed { Presence::Missed } else { Presence::Present };
        Ok(Self { id, start, count: number(section, "pe_count")?, presence })
    }
}

impl Logical {
    fn from_section(
        name: &str,
        section: &Section<'_>,
        extent: u64,
        physical: &BTreeMap<String, Physical>,
    ) -> Result<Self> {
        let status = section.words("status");
        let mut refusal = unknown(&status, &PLAIN).map(|word| format!("it has the status {word:?}"));
        let mut segments = Vec::new();
        let mut extents = 0_u64;
        for place in 1..=number(section, "segment_count")? {
            // A count that is too large ends at the first segment that is not there.
            let name = format!("segment{place}");
            let segment = section.section(&name).ok_or_else(|| corrupt(format!("its {name} is missing")))?;
            if number(segment, "start_extent")? != extents {
                return Err(corrupt(format!("its {name} does not begin where the one before ends")));
            }
            let count = number(segment, "extent_count")?;
            let kind = text(segment, "type")?;
            match Segment::from_section(segment, extents, count, extent) {
                Ok(read) if kind == "striped" => {
                    match read.areas.iter().find(|(area, _)| !physical.contains_key(area)) {
                        None => segments.push(read),
                        Some((area, _)) => {
                            refusal.get_or_insert(format!("it lies on {area:?}, which is no physical volume"));
                        }
                    }
                }
                Err(error) if kind == "striped" => return Err(about(&name, &error)),
                _ => {
                    refusal.get_or_insert(format!("it is of the type {kind:?}"));
                }
            }
            extents = extents.checked_add(count).ok_or_else(|| corrupt("it is too large"))?;
        }
        if extents == 0 {
            return Err(corrupt("it has no extents"));
        }
        let permission = if status.contains(&"WRITE") { Permission::ReadWrite } else { Permission::ReadOnly };
        let visibility = if status.contains(&"VISIBLE") { Visibility::Visible } else { Visibility::Hidden };
        let id = text(section, "id")?.to_owned();
        Ok(Self { name: name.to_owned(), id, permission, visibility, segments, extents, refusal })
    }
}

impl Segment {
    fn from_section(section: &Section<'_>, start: u64, count: u64, extent: u64) -> Result<Self> {
        let stripes = section.list("stripes").ok_or_else(|| corrupt("it names no stripes"))?;
        let mut areas = Vec::new();
        for pair in stripes.chunks(2) {
            let [Value::Text(volume), Value::Number(first)] = pair else {
                return Err(corrupt("its stripes are no pairs of a volume and an extent"));
            };
            let first = u64::try_from(*first).map_err(|_| corrupt("an extent has a negative number"))?;
            areas.push((volume.clone().into_owned(), first));
        }
        let columns = u64::try_from(areas.len()).unwrap_or(u64::MAX);
        if columns == 0 || number(section, "stripe_count")? != columns {
            return Err(corrupt(format!("it has {columns} stripes, and counts others")));
        }
        let whole = count.checked_mul(extent).filter(|size| *size > 0).ok_or_else(|| corrupt("it has no size"))?;
        if columns == 1 {
            return Ok(Self { start, count, stripe: whole, areas });
        }
        let stripe = number(section, "stripe_size")?.checked_mul(SECTOR).filter(|size| *size > 0);
        let stripe = stripe.ok_or_else(|| corrupt("its stripes have no size"))?;
        // What device-mapper asks of a striped target too.
        let is_even = count.checked_rem(columns) == Some(0)
            && whole.checked_div(columns).and_then(|each| each.checked_rem(stripe)) == Some(0);
        if !is_even {
            return Err(corrupt("its stripes do not come out even"));
        }
        Ok(Self { start, count, stripe, areas })
    }
}

/// Marks what snapshots hang on: a write to either would spoil the other.
fn refuse_snapshots(section: &Section<'_>, logical: &mut [Logical]) {
    let mut origins = BTreeSet::new();
    let mut stores = BTreeSet::new();
    for (_, volume) in section.section("logical_volumes").into_iter().flat_map(Section::sections) {
        for (_, segment) in volume.sections() {
            if segment.text("type") == Some("snapshot") {
                origins.extend(segment.text("origin"));
                stores.extend(["cow_store", "merging_store"].into_iter().filter_map(|name| segment.text(name)));
            }
        }
    }
    for volume in logical {
        if stores.contains(&*volume.name) {
            volume.refusal = Some("it is a snapshot".to_owned());
        } else if origins.contains(&*volume.name) {
            volume.refusal = Some("there is a snapshot of it, which a change would spoil".to_owned());
        }
    }
}

fn unknown<'a>(status: &[&'a str], known: &[&str]) -> Option<&'a str> {
    status.iter().find(|word| !known.contains(word)).copied()
}

fn number(section: &Section<'_>, name: &str) -> Result<u64> {
    section.number(name).ok_or_else(|| corrupt(format!("it has no number {name}")))
}

fn text<'a>(section: &'a Section<'_>, name: &str) -> Result<&'a str> {
    section.text(name).ok_or_else(|| corrupt(format!("it has no text {name}")))
}

/// A name as lvm(8) allows them: what is shown and typed is nothing else.
fn check_name(name: &str, what: &str) -> Result<()> {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "+_.-".contains(letter));
    if !is_plain || name.len() > MAX_NAME || name.starts_with('-') || [".", ".."].contains(&name) {
        return Err(corrupt(format!("a {what} has the name {name:?}, which LVM2 does not allow")));
    }
    Ok(())
}

fn about(what: &str, error: &Error) -> Error {
    Error::corrupt(Layer::Volume, format!("{what}: {}", error.message()))
}
