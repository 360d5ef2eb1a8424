//! The choice of one volume of a disk.

use super::{Base, Keys, Mark, Scheme, Selector, Survey, Volume, VolumeInfo, list, undivided};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{GuestFs, Mode};
use crate::kernel::{Access, Opened};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

/// How many volumes an error lists.
const MAX_LISTED: usize = 20;

/// Chooses a volume for its filesystem, one of our own drivers at hand and no passphrase.
///
/// `is_root` says of an open filesystem whether it is a guest's root; only [`Selector::Auto`] asks. `Ambiguous` and
/// `NotFound` list the candidates, and the hint has the words to type. A root that could only be on a filesystem
/// without a driver is `Unsupported`; one that could not be opened has the kind of the driver's error. Of a LUKS volume
/// that is chosen it is what is in it: `Denied` where there is no passphrase for it, or none fits.
pub fn select(
    disk: &Arc<dyn BlockDevice>,
    selector: &Selector,
    is_root: &dyn Fn(&dyn GuestFs) -> Result<bool>,
) -> Result<Volume> {
    let look = Look { access: &Access::userspace(), mode: Mode::ReadOnly, is_root };
    let (volume, ..) =
        Choice { selector, keys: &Keys::default(), purpose: Purpose::Filesystem }.make(disk, &look.opener())?;
    Ok(volume)
}

/// The same with passphrases, where the filesystems may be reached otherwise than by our own drivers; and opens the one that
/// is chosen. `raw_image` is as for [`Access::open`].
pub fn select_through(
    disk: &Arc<dyn BlockDevice>,
    selector: &Selector,
    keys: &Keys,
    access: &Access,
    (raw_image, mode): (Option<&Path>, Mode),
    is_root: &dyn Fn(&dyn GuestFs) -> Result<bool>,
) -> Result<Chosen> {
    let look = Look { access, mode, is_root };
    let (volume, survey, opened) =
        Choice { selector, keys, purpose: Purpose::Filesystem }.make(disk, &look.opener())?;
    if let (Mode::ReadWrite { .. }, Some(suspended)) = (mode, survey.suspended()) {
        return Err(asleep(suspended));
    }
    let opened = opened.map_or_else(|| access.open(&volume, raw_image, mode), Ok)?;
    Ok(Chosen { info: volume.info, opened, survey })
}

/// The error of a guest that goes on with what it knows of its filesystems, whatever becomes of them meanwhile.
fn asleep(suspended: &VolumeInfo) -> Error {
    let name = suspended.name();
    let message =
        format!("the guest is suspended to disk (its memory is in volume {name}), and has its filesystems in use");
    Error::new(ErrorKind::InUse, Layer::Volume, message).with_hint(format!(
        "start the guest and shut it down; or give up what it had in memory, by mkswap on volume {name}"
    ))
}

/// A chosen volume, open, and the volumes that it was chosen from.
#[derive(Debug)]
pub struct Chosen {
    /// The volume.
    pub info: VolumeInfo,
    /// Its filesystem.
    pub opened: Opened,
    /// All volumes of the disk.
    pub survey: Survey,
}

/// Chooses a volume for its bytes: a LUKS volume that there is no passphrase for is taken as it lies. The volume, and all of the disk.
pub fn select_bytes(
    disk: &Arc<dyn BlockDevice>,
    selector: &Selector,
    keys: &Keys,
    is_root: &dyn Fn(&dyn GuestFs) -> Result<bool>,
) -> Result<(Volume, Survey)> {
    let look = Look { access: &Access::userspace(), mode: Mode::ReadOnly, is_root };
    let (volume, survey, _) = Choice { selector, keys, purpose: Purpose::Bytes }.make(disk, &look.opener())?;
    Ok((volume, survey))
}

/// What a volume is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Filesystem,
    Bytes,
}

/// How volumes are looked into.
struct Look<'a> {
    access: &'a Access,
    /// How the one that is chosen will be used.
    mode: Mode,
    is_root: &'a dyn Fn(&dyn GuestFs) -> Result<bool>,
}

impl Look<'_> {
    fn opener(&self) -> impl Fn(&Volume, Only) -> Result<Answer> {
        |volume, only| self.open(volume, only)
    }

    /// Opens a volume and says whether it is a guest's root. To have a kernel mount one takes long: `only` one that can be the
    /// root is opened as it will be used, so that it need not be opened again.
    fn open(&self, volume: &Volume, only: Only) -> Result<Answer> {
        let Some(signature) = volume.info.signature.as_ref().filter(|signature| self.access.reaches(signature.name))
        else {
            return Ok(Answer::Unreachable(None));
        };
        let is_kept = only == Only::Yes && self.access.borrows(signature.name) && !self.access.writes_in_place();
        let mode = if is_kept { self.mode } else { Mode::ReadOnly };
        match self.access.open(volume, None, mode) {
            Ok(opened) if (self.is_root)(&*opened.fs)? => Ok(Answer::Root(is_kept.then_some(opened))),
            Ok(_) => Ok(Answer::NoRoot),
            Err(error) if error.layer() == Layer::Kernel && error.kind() == ErrorKind::Unsupported => {
                Ok(Answer::Unreachable(Some(error)))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a volume is the only one that can be the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    Yes,
    No,
}

/// What is found of a filesystem that may be a guest's root.
enum Answer {
    /// It is one; and open, where that is worth keeping.
    Root(Option<Opened>),
    NoRoot,
    /// Nobody here can open it; and what is missing for a kernel to be borrowed.
    Unreachable(Option<Error>),
}

/// Opens a volume and says whether it is a guest's root.
type Opener<'a> = dyn Fn(&Volume, Only) -> Result<Answer> + 'a;

/// Which volume is wanted, and what for.
struct Choice<'a> {
    selector: &'a Selector,
    keys: &'a Keys,
    purpose: Purpose,
}

impl Choice<'_> {
    fn make(&self, disk: &Arc<dyn BlockDevice>, opener: &Opener<'_>) -> Result<(Volume, Survey, Option<Opened>)> {
        let table = if *self.selector == Selector::Whole { undivided(disk) } else { list(disk) };
        let mut survey = Survey::new(disk, table?)?;
        // What is in a LUKS volume is looked at where it may be what is wanted, as that takes a second or more.
        if *self.selector == Selector::Auto {
            survey.unlock(self.keys)?;
        }
        let (info, opened) = match self.find(&survey, opener) {
            Err(error) if error.kind() == ErrorKind::NotFound && *self.selector != Selector::Auto => {
                survey.unlock(self.keys)?;
                self.find(&survey, opener).map_err(|error| and_locked(&survey, error))?
            }
            found => found?,
        };
        let is_left_alone = self.purpose == Purpose::Bytes && !self.keys.has_one_for(&info);
        let info = if is_left_alone { info } else { survey.through(&info, self.keys)? };
        Ok((survey.open(&info)?, survey, opened))
    }

    fn find(&self, survey: &Survey, opener: &Opener<'_>) -> Result<(VolumeInfo, Option<Opened>)> {
        let info = match self.selector {
            Selector::Auto => {
                let (info, opened) = root(survey, opener)?;
                return Ok((info.clone(), opened));
            }
            Selector::Whole => survey.volumes().first().ok_or_else(empty),
            selector => named(survey, selector),
        }?;
        Ok((info.clone(), None))
    }
}

/// The one volume that has the name, the number or the mark that is looked for.
fn named<'a>(survey: &'a Survey, selector: &Selector) -> Result<&'a VolumeInfo> {
    match selector {
        Selector::Index(index) => by_index(survey, *index),
        Selector::Label(label) => {
            by_name(survey, "label", label, |volume| [&volume.part_label, label_of(volume)].contains(&label))
        }
        Selector::Uuid(uuid) => {
            let is_it = |other: &String| uuid.eq_ignore_ascii_case(other);
            by_name(survey, "UUID", uuid, |volume| is_it(&volume.part_uuid) || is_it(uuid_of(volume)))
        }
        Selector::Logical(name) => {
            let is_logical = |volume: &VolumeInfo| matches!(volume.base, Base::Logical(_) | Base::Refused { .. });
            by_name(survey, "name", name, |volume| is_logical(volume) && volume.name() == *name)
        }
        Selector::LogicalUuid(id) => by_name(survey, "UUID", id, |volume| volume.has_logical_uuid(id)),
        Selector::Marked(mark, value) => by_name(survey, mark.name(), value, |volume| mark.is_of(value, volume))
            .map_err(|error| in_other_letters(survey, *mark, value, error)),
        Selector::Whole if survey.table().scheme == Scheme::Whole => survey.volumes().first().ok_or_else(empty),
        Selector::Whole => Err(not_found("the disk has partitions, and is no volume itself".to_owned())),
        Selector::Auto => Err(not_found("only a root is looked for among all volumes".to_owned())),
    }
}

impl Survey {
    /// The volume that has a name, a number or a mark, as far as is known without unlocking anything. Errors as for [`select`].
    pub fn find(&self, selector: &Selector) -> Result<VolumeInfo> {
        named(self, selector).cloned()
    }

    /// The same for its filesystem: what is in a LUKS volume is found, and unlocked where it is what is looked for.
    pub fn find_through(&mut self, selector: &Selector, keys: &Keys) -> Result<VolumeInfo> {
        let info = match self.find(selector) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.unlock(keys)?;
                self.find(selector).map_err(|error| and_locked(self, error))?
            }
            found => found?,
        };
        self.through(&info, keys)
    }
}

/// Adds to the error of a UUID that was not found which volume has it in other letters, capitals or small ones.
fn in_other_letters(survey: &Survey, mark: Mark, value: &str, error: Error) -> Error {
    let is_it = |volume: &&VolumeInfo| mark.on(volume).is_some_and(|on| on.eq_ignore_ascii_case(value));
    let is_uuid = matches!(mark, Mark::Uuid | Mark::PartUuid) && error.kind() == ErrorKind::NotFound;
    match survey.volumes().iter().find(is_it) {
        Some(volume) if is_uuid => {
            let (name, spelt) = (mark.name(), mark.on(volume).unwrap_or_default());
            not_found(format!(
                "no volume has the {name} {value:?}; {volume} has it as {spelt:?}, and mount(8) tells them apart"
            ))
        }
        _ => error,
    }
}

/// Adds to the error of a volume that was not found what it may lie in.
fn and_locked(survey: &Survey, error: Error) -> Error {
    let locked = survey.volumes().iter().filter_map(|volume| survey.locked(volume)).next();
    match locked {
        Some(locked) if error.kind() == ErrorKind::NotFound => {
            let told = not_found(format!("{error}; {locked}"));
            match locked.hint() {
                Some(hint) => told.with_hint(hint),
                None => told,
            }
        }
        _ => error,
    }
}

fn by_index(survey: &Survey, index: NonZeroU32) -> Result<&VolumeInfo> {
    let is_it = |volume: &&VolumeInfo| matches!(volume.base, Base::Disk) && volume.index == Some(index);
    if let Some(volume) = survey.volumes().iter().find(is_it) {
        return Ok(volume);
    }
    let message = match survey.table().scheme {
        Scheme::Whole => format!("there is no partition {index}: the disk has no partition table"),
        _ if survey.volumes().is_empty() => return Err(empty()),
        _ => format!("there is no partition {index}; there are {}", list_of(survey.volumes())),
    };
    Err(not_found(message).with_hint(format!("type one of: {}", words(survey, survey.volumes().iter()))))
}

fn by_name<'a>(
    survey: &'a Survey,
    what: &str,
    name: &str,
    is_it: impl Fn(&VolumeInfo) -> bool,
) -> Result<&'a VolumeInfo> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, Layer::Volume, format!("the {what} to look for is empty")));
    }
    let mut found: Vec<&VolumeInfo> = survey.volumes().iter().filter(|volume| is_it(volume)).collect();
    // A LUKS volume and what is in it are one choice.
    let open: Vec<&VolumeInfo> = found.iter().flat_map(|volume| containers(volume)).collect();
    found.retain(|volume| !open.iter().any(|container| container.is_same(volume)));
    match found.as_slice() {
        [volume] => Ok(volume),
        [] if survey.volumes().is_empty() => Err(empty()),
        [] => Err(not_found(format!("no volume has the {what} {name:?}; there are {}", list_of(survey.volumes())))
            .with_hint(format!("type one of: {}", words(survey, survey.volumes().iter())))),
        // A name that is there twice has the reason with it.
        [refused, ..] if matches!(refused.base, Base::Refused { .. }) => Ok(refused),
        several => Err(ambiguous(survey, &format!("several volumes have the {what} {name:?}"), several)),
    }
}

/// The LUKS volumes that a volume is in, where it is what was in one; from the inside to the outside.
fn containers(volume: &VolumeInfo) -> impl Iterator<Item = &VolumeInfo> {
    fn container<'a>(volume: &&'a VolumeInfo) -> Option<&'a VolumeInfo> {
        match &volume.base {
            Base::Unlocked(unlocked) => Some(unlocked.container()),
            _ => None,
        }
    }
    std::iter::successors(container(&volume), container)
}

/// The one volume that holds a guest's root filesystem.
fn root<'a>(survey: &'a Survey, opener: &Opener<'_>) -> Result<(&'a VolumeInfo, Option<Opened>)> {
    if survey.volumes().is_empty() {
        return Err(empty());
    }
    let candidates = survey.volumes().iter().filter(|volume| matches!(use_of(survey, volume), Use::Filesystem));
    let only = if candidates.count() == 1 { Only::Yes } else { Only::No };
    let mut roots = Vec::new();
    let mut kept = None;
    let mut failures = Vec::new();
    let mut is_unreachable = false;
    let mut hint = None;
    let mut clauses = Vec::new();
    for volume in survey.volumes() {
        let answer = match use_of(survey, volume) {
            Use::Filesystem => survey.open(volume).and_then(|volume| opener(&volume, only)),
            Use::Container(why) => Ok(Answer::Unreachable(why)),
            Use::Other => {
                clauses.push(describe(volume));
                continue;
            }
        };
        let why = match answer {
            Ok(Answer::Root(opened)) => {
                roots.push(volume);
                kept = opened;
                continue;
            }
            Ok(Answer::NoRoot) => " (no root filesystem)".to_owned(),
            Ok(Answer::Unreachable(error)) => {
                is_unreachable = true;
                let why = error.as_ref().map_or_else(|| " (no driver)".to_owned(), |error| format!(" ({error})"));
                hint = hint.or(error.and_then(|error| error.hint().map(str::to_owned)));
                why
            }
            Err(error) => {
                let why = format!(" ({error})");
                failures.push((volume, error));
                why
            }
        };
        clauses.push(format!("{}{why}", describe(volume)));
    }
    let clauses = some(clauses, "; ");
    match (roots.as_slice(), is_unreachable) {
        ([volume], _) => Ok((volume, kept)),
        ([], false) => Err(no_root(failures, &clauses)),
        ([], true) => {
            let error = Error::unsupported(Layer::Volume, format!("no root filesystem can be reached: {clauses}"));
            Err(match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            })
        }
        (several, _) => Err(ambiguous(survey, "several volumes hold a root filesystem", several)),
    }
}

/// There is no root among the filesystems that have a driver: because they could not be opened, or they hold none.
fn no_root(failures: Vec<(&VolumeInfo, Error)>, clauses: &str) -> Error {
    let alone = failures.len() == 1;
    let Some((volume, cause)) = failures.into_iter().next() else {
        return not_found(format!("no root filesystem found: {clauses}"))
            .with_hint("say which volume it is with --partition N or --partition whole");
    };
    let message = if alone {
        format!("cannot use {volume} ({})", volume.signature.as_ref().map_or("", |signature| signature.name))
    } else {
        format!("no root filesystem could be opened: {clauses}")
    };
    let hint = cause.hint().map(str::to_owned);
    let error = Error::new(cause.kind(), cause.layer(), message).with_source(cause);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What a volume means for the search of a root filesystem.
#[derive(Debug)]
enum Use {
    /// It could be the root filesystem: look.
    Filesystem,
    /// It could contain the root filesystem, and nobody can look into it; and why, where that is known.
    Container(Option<Error>),
    /// No guest has its root there, or what is in it was found and is a volume of its own.
    Other,
}

fn use_of(survey: &Survey, volume: &VolumeInfo) -> Use {
    if let Base::Refused { why, .. } = &volume.base {
        return Use::Container(Some(why.repeated()));
    }
    if let Some(problem) = &volume.problem {
        return Use::Container(Some(problem.repeated()));
    }
    match volume.signature.as_ref().map_or("", |signature| signature.name) {
        "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "erofs" | "squashfs" | "bcachefs" => Use::Filesystem,
        "crypto_LUKS" => survey.locked(volume).map_or(Use::Other, |locked| Use::Container(Some(locked))),
        "linux_raid_member" => Use::Container(None),
        _ => Use::Other,
    }
}

fn label_of(volume: &VolumeInfo) -> &String {
    volume.signature.as_ref().map_or(&volume.part_label, |signature| &signature.label)
}

fn uuid_of(volume: &VolumeInfo) -> &String {
    volume.signature.as_ref().map_or(&volume.part_uuid, |signature| &signature.uuid)
}

fn not_found(message: String) -> Error {
    Error::new(ErrorKind::NotFound, Layer::Volume, message)
}

fn empty() -> Error {
    not_found("the partition table is empty".to_owned()).with_hint("--partition whole takes the disk as one filesystem")
}

fn ambiguous(survey: &Survey, message: &str, several: &[&VolumeInfo]) -> Error {
    Error::new(ErrorKind::Ambiguous, Layer::Volume, format!("{message}: {}", list_of(several.iter().copied())))
        .with_hint(format!("type one of: {}", words(survey, several.iter().copied())))
}

fn list_of<'a>(volumes: impl IntoIterator<Item = &'a VolumeInfo>) -> String {
    some(volumes.into_iter().map(describe), "; ")
}

/// The first of many, and how many more there are.
fn some(all: impl IntoIterator<Item = String>, between: &str) -> String {
    let mut all = all.into_iter();
    let mut told: Vec<String> = all.by_ref().take(MAX_LISTED).collect();
    match all.count() {
        0 => {}
        more => told.push(format!("and {more} more")),
    }
    told.join(between)
}

/// `3: ext4 "label"`, safe for a terminal.
fn describe(volume: &VolumeInfo) -> String {
    let number = match &volume.base {
        Base::Unlocked(_) => format!("{}, unlocked", volume.name()),
        _ => volume.name(),
    };
    match &volume.signature {
        None if matches!(volume.base, Base::Refused { .. }) => number,
        None => format!("{number}: nothing known"),
        Some(signature) if signature.label.is_empty() => format!("{number}: {}", signature.name),
        Some(signature) => format!("{number}: {} {:?}", signature.name, signature.label),
    }
}

/// The words of the command line that choose each of these volumes, by UUID only where no other volume has the same.
fn words<'a>(survey: &Survey, volumes: impl IntoIterator<Item = &'a VolumeInfo>) -> String {
    let word = |volume: &VolumeInfo| {
        let number = volume.name();
        let uuid = uuid_of(volume);
        let is_plain = !uuid.is_empty() && uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let holders = survey.volumes().iter().filter(|other| [&other.part_uuid, uuid_of(other)].contains(&uuid));
        if is_plain && holders.count() == 1 {
            format!("--partition {number} (or --partition uuid:{uuid})")
        } else {
            format!("--partition {number}")
        }
    };
    some(volumes.into_iter().map(word), ", ")
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
