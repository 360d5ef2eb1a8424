//! The choice of one volume of a disk.

use super::{Scheme, Selector, Signature, Table, Volume, VolumeInfo, list, probe};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::{GuestFs, Mode};
use crate::kernel::Access;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Chooses a volume.
///
/// `is_root` says of an open filesystem whether it is a guest's root; only [`Selector::Auto`] asks. `Ambiguous` and
/// `NotFound` list the candidates, and the hint has the words to type. A root that could only be on a filesystem
/// without a driver is `Unsupported`; one that could not be opened has the kind of the driver's error.
pub fn select(
    disk: &Arc<dyn BlockDevice>,
    selector: &Selector,
    is_root: &dyn Fn(&dyn GuestFs) -> Result<bool>,
) -> Result<Volume> {
    select_through(disk, selector, &Access::userspace(), is_root)
}

/// The same, where the filesystems may be reached otherwise than by our own drivers.
pub fn select_through(
    disk: &Arc<dyn BlockDevice>,
    selector: &Selector,
    access: &Access,
    is_root: &dyn Fn(&dyn GuestFs) -> Result<bool>,
) -> Result<Volume> {
    select_with(disk, selector, &|volume| {
        if !volume.info.signature.as_ref().is_some_and(|signature| access.reaches(signature.name)) {
            return Ok(Answer::Unreachable(None));
        }
        match access.open(volume, None, Mode::ReadOnly) {
            Ok(opened) => Ok(if is_root(&*opened.fs)? { Answer::Root } else { Answer::NoRoot }),
            Err(error) if error.layer() == Layer::Kernel && error.kind() == ErrorKind::Unsupported => {
                Ok(Answer::Unreachable(Some(error)))
            }
            Err(error) => Err(error),
        }
    })
}

/// What is found of a filesystem that may be a guest's root.
enum Answer {
    Root,
    NoRoot,
    /// Nobody here can open it; and what is missing for a kernel to be borrowed.
    Unreachable(Option<Error>),
}

/// Opens a volume and says whether it is a guest's root.
type Opener<'a> = dyn Fn(&Volume) -> Result<Answer> + 'a;

fn select_with(disk: &Arc<dyn BlockDevice>, selector: &Selector, opener: &Opener<'_>) -> Result<Volume> {
    match selector {
        Selector::Whole => Ok(Volume { device: Arc::clone(disk), info: VolumeInfo::whole(&**disk, probe(&**disk)?) }),
        Selector::Auto => choose(disk, |table| root(disk, table, opener)),
        Selector::Index(index) => choose(disk, |table| by_index(table, *index)),
        Selector::Label(label) => choose(disk, |table| {
            by_name(table, "label", label, |volume| [&volume.part_label, label_of(volume)].contains(&label))
        }),
        Selector::Uuid(uuid) => choose(disk, |table| {
            let is_it = |other: &String| uuid.eq_ignore_ascii_case(other);
            by_name(table, "UUID", uuid, |volume| is_it(&volume.part_uuid) || is_it(uuid_of(volume)))
        }),
    }
}

fn choose(disk: &Arc<dyn BlockDevice>, choice: impl FnOnce(&Table) -> Result<&VolumeInfo>) -> Result<Volume> {
    let table = list(disk)?;
    let info = choice(&table)?;
    Ok(Volume { device: info.device(disk)?, info: info.clone() })
}

fn by_index(table: &Table, index: NonZeroU32) -> Result<&VolumeInfo> {
    if let Some(volume) = table.volumes.iter().find(|volume| volume.index == Some(index)) {
        return Ok(volume);
    }
    let message = match table.scheme {
        Scheme::Whole => format!("there is no partition {index}: the disk has no partition table"),
        _ if table.volumes.is_empty() => return Err(empty()),
        _ => format!("there is no partition {index}; there are {}", list_of(&table.volumes)),
    };
    Err(not_found(message).with_hint(format!("type one of: {}", words(table, table.volumes.iter()))))
}

fn by_name<'a>(
    table: &'a Table,
    what: &str,
    name: &str,
    is_it: impl Fn(&VolumeInfo) -> bool,
) -> Result<&'a VolumeInfo> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, Layer::Volume, format!("the {what} to look for is empty")));
    }
    let found: Vec<&VolumeInfo> = table.volumes.iter().filter(|volume| is_it(volume)).collect();
    match found.as_slice() {
        [volume] => Ok(volume),
        [] if table.volumes.is_empty() => Err(empty()),
        [] => Err(not_found(format!("no volume has the {what} {name:?}; there are {}", list_of(&table.volumes)))
            .with_hint(format!("type one of: {}", words(table, table.volumes.iter())))),
        several => Err(ambiguous(table, &format!("several volumes have the {what} {name:?}"), several)),
    }
}

/// The one volume that holds a guest's root filesystem.
fn root<'a>(disk: &Arc<dyn BlockDevice>, table: &'a Table, opener: &Opener<'_>) -> Result<&'a VolumeInfo> {
    if table.volumes.is_empty() {
        return Err(empty());
    }
    let mut roots = Vec::new();
    let mut failures = Vec::new();
    let mut is_unreachable = false;
    let mut hint = None;
    let mut clauses = Vec::new();
    for volume in &table.volumes {
        let answer = match volume.signature.as_ref().map_or(Use::Other, use_of) {
            Use::Filesystem => {
                let opened = volume.device(disk).map(|device| Volume { device, info: volume.clone() });
                opened.and_then(|volume| opener(&volume))
            }
            Use::Container => Ok(Answer::Unreachable(None)),
            Use::Other => {
                clauses.push(describe(volume));
                continue;
            }
        };
        let why = match answer {
            Ok(Answer::Root) => {
                roots.push(volume);
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
    let clauses = clauses.join("; ");
    match (roots.as_slice(), is_unreachable) {
        ([volume], _) => Ok(volume),
        ([], false) => Err(no_root(failures, &clauses)),
        ([], true) => {
            let error = Error::unsupported(Layer::Volume, format!("no root filesystem can be reached: {clauses}"));
            Err(match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            })
        }
        (several, _) => Err(ambiguous(table, "several volumes hold a root filesystem", several)),
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

/// What a signature means for the search of a root filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It could be the root filesystem: look.
    Filesystem,
    /// It could contain the root filesystem, and nobody can look into it.
    Container,
    /// No guest has its root there.
    Other,
}

fn use_of(signature: &Signature) -> Use {
    match signature.name {
        "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "erofs" | "squashfs" | "bcachefs" => Use::Filesystem,
        "LVM2_member" | "crypto_LUKS" | "linux_raid_member" => Use::Container,
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

fn ambiguous(table: &Table, message: &str, several: &[&VolumeInfo]) -> Error {
    Error::new(ErrorKind::Ambiguous, Layer::Volume, format!("{message}: {}", list_of(several.iter().copied())))
        .with_hint(format!("type one of: {}", words(table, several.iter().copied())))
}

fn list_of<'a>(volumes: impl IntoIterator<Item = &'a VolumeInfo>) -> String {
    volumes.into_iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// `3: ext4 "label"`, safe for a terminal.
fn describe(volume: &VolumeInfo) -> String {
    let number = volume.index.map_or_else(|| "whole".to_owned(), |index| index.to_string());
    match &volume.signature {
        None => format!("{number}: nothing known"),
        Some(signature) if signature.label.is_empty() => format!("{number}: {}", signature.name),
        Some(signature) => format!("{number}: {} {:?}", signature.name, signature.label),
    }
}

/// The words of the command line that choose each of these volumes, by UUID only where no other volume has the same.
fn words<'a>(table: &Table, volumes: impl IntoIterator<Item = &'a VolumeInfo>) -> String {
    let mut all = Vec::new();
    for volume in volumes {
        let number = volume.index.map_or_else(|| "whole".to_owned(), |index| index.to_string());
        let uuid = uuid_of(volume);
        let is_plain = !uuid.is_empty() && uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let holders = table.volumes.iter().filter(|other| [&other.part_uuid, uuid_of(other)].contains(&uuid));
        all.push(if is_plain && holders.count() == 1 {
            format!("--partition {number} (or --partition uuid:{uuid})")
        } else {
            format!("--partition {number}")
        });
    }
    all.join(", ")
}

#[cfg(test)]
#[path = "select_tests.rs"]
mod tests;
