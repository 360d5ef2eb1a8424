//! Extents on the physical volumes that were found: all in range, none used twice, none over the metadata.

use super::device::{Logical, Run};
use super::group::{self, Group, Presence};
use super::{Member, corrupt};
use crate::error::{Error, Layer, Result};
use crate::volume::VolumeInfo;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Extents of a physical volume that a logical one uses: the first, the one after the last, and whose they are.
type Use<'a> = (u64, u64, &'a str);

/// Refuses a group whose extents are out of range or overlap; `Corrupt`, with the names.
///
/// Logical volumes that share extents cannot be changed one at a time.
pub(super) fn check(group: &Group, members: &[Member]) -> Result<()> {
    let mut used: BTreeMap<&str, Vec<Use<'_>>> = BTreeMap::new();
    for volume in &group.logical {
        for segment in &volume.segments {
            let each = each(segment)?;
            for (name, first) in &segment.areas {
                let count = group.physical.get(name).map_or(0, |physical| physical.count);
                let end = first.checked_add(each).filter(|end| *end <= count).ok_or_else(|| {
                    corrupt(format!("the logical volume {} lies past the end of {name}", volume.name))
                })?;
                used.entry(name).or_default().push((*first, end, &volume.name));
            }
        }
    }
    for (name, mut uses) in used {
        uses.sort_unstable();
        if let Some((before, after)) = uses.iter().zip(uses.iter().skip(1)).find(|(before, after)| before.1 > after.0) {
            return Err(corrupt(format!("the logical volumes {} and {} overlap on {name}", before.2, after.2)));
        }
    }
    for (name, physical) in &group.physical {
        let Some(member) = members.iter().find(|member| member.id == physical.id) else { continue };
        let size = physical.count.checked_mul(group.extent);
        let end = size.and_then(|size| physical.start.checked_add(size));
        let Some(end) = end.filter(|end| *end <= member.volume.size) else {
            return Err(corrupt(format!("{} is smaller than its group knows it ({name})", member.volume))
                .with_hint("the image may have been cut short: compare its size with that of its source"));
        };
        if member.reserved.iter().any(|range| range.start < end && physical.start < range.end) {
            return Err(corrupt(format!("the extents of {} lie over its metadata", member.volume)));
        }
    }
    Ok(())
}

/// Where a logical volume lies; `Unsupported` where it is more than extents, or not all of them are here.
///
/// `places` has the physical volumes that are here by their names in the group, each with its number among `infos`.
pub(super) fn map(
    group: &Group,
    volume: &group::Logical,
    places: &BTreeMap<&str, usize>,
    infos: &Arc<[VolumeInfo]>,
) -> Result<Logical> {
    if let Some(refusal) = &volume.refusal {
        return Err(Error::unsupported(Layer::Volume, refusal.clone()));
    }
    let mut segments = Vec::new();
    for segment in &volume.segments {
        let mut lies = Vec::new();
        for (name, first) in &segment.areas {
            let physical = group.physical.get(name).ok_or_else(|| corrupt(format!("it lies on {name:?}")))?;
            let missing = |what: &str| {
                let message = format!("its physical volume {name} ({}) {what}", hyphenated(&physical.id));
                Error::unsupported(Layer::Volume, message)
            };
            let place = places.get(&**name).ok_or_else(|| missing("is not in the image"))?;
            if physical.presence == Presence::Missed {
                return Err(missing("was missing when the group was last changed"));
            }
            let offset = first.checked_mul(group.extent).and_then(|offset| offset.checked_add(physical.start));
            lies.push((*place, offset.ok_or_else(too_large)?));
        }
        segments.push(Run {
            start: segment.start.checked_mul(group.extent).ok_or_else(too_large)?,
            len: segment.count.checked_mul(group.extent).ok_or_else(too_large)?,
            stripe: segment.stripe,
            places: lies,
        });
    }
    Ok(Logical {
        name: format!("{}/{}", group.name, volume.name),
        size: volume.extents.checked_mul(group.extent).ok_or_else(too_large)?,
        members: Arc::clone(infos),
        segments,
        permission: volume.permission,
    })
}

/// How many extents of a segment lie in each of its areas.
fn each(segment: &group::Segment) -> Result<u64> {
    let columns = u64::try_from(segment.areas.len()).unwrap_or(0);
    segment.count.checked_div(columns).ok_or_else(|| corrupt("a segment lies nowhere"))
}

fn too_large() -> Error {
    corrupt("it is too large")
}

/// A UUID as LVM2 prints it.
fn hyphenated(id: &str) -> String {
    let mut text = String::new();
    for (place, letter) in id.chars().enumerate() {
        if [6, 10, 14, 18, 22, 26].contains(&place) {
            text.push('-');
        }
        text.push(letter);
    }
    text
}
