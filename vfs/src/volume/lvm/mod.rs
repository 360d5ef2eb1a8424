//! LVM2: physical volumes and the logical ones that lie on them, without a device-mapper.
//!
//! The metadata is read and never written. Linear and striped volumes are mapped; what else there is (thin, RAID, mirrors,
//! caches, snapshots, …) is refused by name. Sources: the headers of LVM2 and lvm(8).

mod area;
mod device;
mod group;
mod label;
mod layout;
mod text;

pub(super) use area::MAX_METADATA;
pub use device::Logical;

use super::{Base, VolumeInfo};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use group::{Group, Visibility};
use label::Label;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A physical volume that was found.
#[derive(Debug)]
pub(super) struct Member {
    /// What it is.
    volume: VolumeInfo,
    /// Its UUID without hyphens.
    id: String,
    /// What no extent may lie on.
    reserved: Vec<Range<u64>>,
    /// The group that its own metadata describes.
    group: Option<Arc<Group>>,
    /// What is odd about it, a clause each.
    notes: Vec<String>,
}

/// What became of a volume group.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) name: String,
    /// Which of the physical volumes belong to it.
    pub(super) members: Vec<usize>,
    /// Its volumes that users see, each usable or with the reason why not.
    pub(super) volumes: Vec<VolumeInfo>,
    pub(super) notes: Vec<String>,
}

impl Member {
    /// Reads label and metadata of a physical volume.
    ///
    /// The metadata is taken off `room`, which is [`MAX_METADATA`] bytes for a disk.
    pub(super) fn read(volume: &VolumeInfo, device: &dyn BlockDevice, room: &mut u64) -> Result<Self> {
        let label = Label::read(device)?;
        let mut notes = Vec::new();
        let mut newest: Option<Group> = None;
        let mut failure = None;
        for area in &label.metadata {
            let text = area::read(device, *area, room);
            match text.and_then(|text| text.as_deref().map(Group::parse).transpose()) {
                Ok(Some(group)) if newest.as_ref().is_none_or(|known| known.seqno < group.seqno) => {
                    newest = Some(group)
                }
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        match (&newest, failure) {
            (None, Some(error)) => return Err(error),
            (Some(_), Some(error)) => notes.push(format!("one copy of the LVM2 metadata is damaged ({error})")),
            _ => {}
        }
        Ok(Self { volume: volume.clone(), id: label.id, reserved: label.reserved, group: newest.map(Arc::new), notes })
    }

    /// What it is.
    pub(super) fn volume(&self) -> &VolumeInfo {
        &self.volume
    }

    /// Whether it has the UUID that another one has.
    pub(super) fn is_twin(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// Puts volume groups together from the physical volumes that were found.
pub(super) fn assemble(members: &[Member]) -> Vec<Assembled> {
    let mut newest: BTreeMap<&str, &Arc<Group>> = BTreeMap::new();
    for group in members.iter().filter_map(|member| member.group.as_ref()) {
        let known = newest.entry(&group.id).or_insert(group);
        if known.seqno < group.seqno {
            *known = group;
        }
    }
    let mut found = Found { members, by_id: BTreeMap::new(), groups: BTreeMap::new(), owners: BTreeMap::new() };
    for (number, member) in members.iter().enumerate() {
        found.by_id.entry(&member.id).or_default().push(number);
    }
    for group in newest.values() {
        found.groups.entry(&group.name).or_default().push(group);
        for physical in group.physical.values() {
            found.owners.entry(&physical.id).or_default().push(&group.name);
        }
    }
    newest.values().map(|group| found.assemble(group)).collect()
}

/// Everything that was found, in the order in which it is looked for.
struct Found<'a> {
    members: &'a [Member],
    /// The numbers of the physical volumes that have a UUID.
    by_id: BTreeMap<&'a str, Vec<usize>>,
    /// The groups that have a name.
    groups: BTreeMap<&'a str, Vec<&'a Group>>,
    /// The names of the groups that claim a physical volume, a name as often as it does.
    owners: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Found<'a> {
    /// The physical volumes of a group that are here: the name of each in the group, and its number.
    fn members_of(&self, group: &'a Group) -> Vec<(&'a str, usize)> {
        let physical = group.physical.iter();
        physical
            .filter_map(|(name, physical)| Some((name.as_str(), *self.by_id.get(&*physical.id)?.first()?)))
            .collect()
    }

    fn member(&self, number: usize) -> Option<&'a Member> {
        self.members.get(number)
    }

    fn assemble(&self, group: &'a Group) -> Assembled {
        let members = self.members_of(group);
        let mut notes = Vec::new();
        for member in members.iter().filter_map(|(_, number)| self.member(*number)) {
            notes.extend(member.notes.iter().map(|note| format!("{}: {note}", member.volume)));
            if member.group.as_ref().is_some_and(|own| own.id == group.id && own.seqno != group.seqno) {
                notes.push(format!("{}: its LVM2 metadata is older than that of its group", member.volume));
            }
        }
        let refusal = match self.conflict(group) {
            Some(error) => Some(error),
            None => layout::check(group, self.members).err(),
        };
        let infos: Arc<[VolumeInfo]> =
            members.iter().filter_map(|(_, number)| self.member(*number)).map(|member| member.volume.clone()).collect();
        let places: BTreeMap<&str, usize> = members.iter().zip(0..).map(|((name, _), place)| (*name, place)).collect();
        let visible = group.logical.iter().filter(|volume| volume.visibility == Visibility::Visible);
        let volumes = visible
            .map(|volume| {
                let mapped = match &refusal {
                    Some(error) => Err(error.repeated()),
                    None => layout::map(group, volume, &places, &infos),
                };
                let name = format!("{}/{}", group.name, volume.name);
                let base = match mapped {
                    Ok(logical) => Base::Logical(Arc::new(logical)),
                    Err(error) => {
                        let message = format!("the logical volume {name} cannot be used: {}", error.message());
                        Base::Refused { name, why: Arc::new(Error::new(error.kind(), Layer::Volume, message)) }
                    }
                };
                let size = volume.extents.saturating_mul(group.extent);
                let facts = vec![("lv-uuid", volume.id.clone()), ("vg-uuid", group.id.clone())];
                VolumeInfo::stacked(base, size, facts)
            })
            .collect();
        let members = members.into_iter().map(|(_, number)| number).collect();
        Assembled { name: group.name.clone(), members, volumes, notes }
    }

    /// Why a group as a whole may not be used.
    fn conflict(&self, group: &Group) -> Option<Error> {
        let name = &group.name;
        let ambiguous = |message: String| Some(Error::new(ErrorKind::Ambiguous, Layer::Volume, message));
        if let Some(refusal) = &group.refusal {
            return Some(Error::unsupported(Layer::Volume, format!("of its volume group: {refusal}")));
        }
        if let Some([first, second, ..]) = self.groups.get(&**name).map(Vec::as_slice) {
            return ambiguous(format!("there are two volume groups {name}, {} and {}", first.id, second.id));
        }
        for physical in group.physical.values() {
            if let Some([first, second, ..]) = self.by_id.get(&*physical.id).map(Vec::as_slice) {
                let [first, second] = [first, second].map(|number| self.member(*number).map(|m| m.volume.to_string()));
                let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
                return ambiguous(format!("{first} and {second} are the same physical volume ({})", physical.id));
            }
            if let Some([first, second, ..]) = self.owners.get(&*physical.id).map(Vec::as_slice) {
                let whose = if first == second { format!("{first} twice") } else { format!("{first} and {second}") };
                return Some(corrupt(format!("the physical volume {} belongs to {whose}", physical.id)));
            }
        }
        let rivals = self.members.iter().filter_map(|member| member.group.as_ref());
        let mut rivals = rivals.filter(|other| other.id == group.id && other.seqno == group.seqno);
        rivals
            .any(|other| **other != *group)
            .then(|| corrupt(format!("the copies of the metadata of {name} contradict each other")))
    }
}

/// LVM2's checksum: CRC-32 from a start of its own, not inverted at the end (`calc_crc` in `lib/misc/crc.c`).
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    crc.update(bytes);
    !crc.finalize()
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(Layer::Volume, message)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
