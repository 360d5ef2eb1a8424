//! What lines of an fstab do when the guest starts.

use super::{Init, Reader, fstab, mapped, takes};
use fstab::{Disk, Spec};
use imgraft_vfs::fs::tree::Takes;
use imgraft_vfs::fs::{FileType, GuestFs};
use imgraft_vfs::fstab::{Entry, Line, lines};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::volume::{Selector, Survey, VolumeInfo};
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::iter::successors;

const FSTAB: &str = "/etc/fstab";
/// How many lines are looked at.
const LINES_MAX: usize = 256;

/// Filesystems that are on disks, by the names that mount(8) and blkid(8) have for them; what stands together is mounted by either name.
const ON_DISK: [&[&str]; 11] = [
    &["ext2", "ext3", "ext4"],
    &["vfat", "msdos"],
    &["xfs"],
    &["btrfs"],
    &["exfat"],
    &["ntfs", "ntfs3", "ntfs-3g"],
    &["f2fs"],
    &["erofs"],
    &["squashfs"],
    &["iso9660", "udf"],
    &["bcachefs"],
];

/// Swap space by its signature; of a machine that sleeps it is some that is in use.
const SWAP: [&str; 2] = ["swap", "swsuspend"];

/// What is known of a disk whose guest gets another fstab.
#[derive(Debug)]
pub struct Disks<'a> {
    /// The volumes of the disk. Reading a guest opens more of them.
    pub survey: &'a RefCell<Survey>,
    /// The one that has the guest's root.
    pub root: &'a VolumeInfo,
}

/// What is wrong with a line, a clause.
enum Fault {
    /// The guest passes over it, or goes without what it mounts, or stops; and what to do.
    Fatal(String, &'static str),
    /// It depends on what is not known, or the line says that the guest may start without.
    Doubt(String),
    /// There are more lines than are looked at.
    Unseen(String),
}

/// A guest with the lines that are checked.
struct Changed<'a> {
    entries: Vec<Entry>,
    disk: Disk,
    crypttab: Vec<u8>,
    init: Init,
    disks: &'a Disks<'a>,
    stage: &'a Stage<'a>,
}

impl Disks<'_> {
    /// Checks the lines of a guest's fstab that changes on a stage have brought: what to know of them, a clause each.
    ///
    /// `Unsupported` for one that the guest passes over or cannot mount; where it says itself that the guest may start without
    /// (`nofail`, `noauto`), that is a clause as well.
    pub fn check_new(&self, init: Init, stage: &Stage<'_>) -> Result<Vec<String>> {
        let before = Reader::new(stage.base()).file_lenient(FSTAB, fstab::LIMIT)?.unwrap_or_default();
        let known = before.split(|byte| *byte == b'\n').collect();
        let told = |fault| match fault {
            Fault::Fatal(why, hint) => {
                let hint = format!("{hint}; --mount none puts it there unchecked");
                Err(Error::unsupported(Layer::Volume, why).with_guest_path(FSTAB.as_bytes()).with_hint(hint))
            }
            Fault::Doubt(why) | Fault::Unseen(why) => Ok(why),
        };
        let faults = self.faults(&known, init, stage).map_err(|error| match error.kind() {
            ErrorKind::Unsupported => error.with_hint("--mount none puts it there unchecked"),
            _ => error,
        });
        faults?.into_iter().map(told).collect()
    }

    /// The lines of a guest's fstab that it passes over or cannot mount, a clause each.
    pub fn broken(&self, init: Init, guest: &dyn GuestFs) -> Result<Vec<String>> {
        let told = |fault| match fault {
            Fault::Fatal(why, _) | Fault::Unseen(why) => Some(why),
            Fault::Doubt(_) => None,
        };
        Ok(self.faults(&BTreeSet::new(), init, &Stage::new(guest))?.into_iter().filter_map(told).collect())
    }

    /// What is wrong with the lines that are none of the known ones.
    fn faults(&self, known: &BTreeSet<&[u8]>, init: Init, stage: &Stage<'_>) -> Result<Vec<Fault>> {
        let Some(text) = stage.read(&GuestPath::parse(FSTAB)?, fstab::LIMIT)? else { return Ok(Vec::new()) };
        let texts: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let is_new = |line: &Line<'_>| {
            let text = line.number.checked_sub(1).and_then(|at| texts.get(at));
            text.is_some_and(|text| !known.contains(text))
        };
        let entries: Vec<Entry> = lines(&text).filter_map(|line| line.entry().ok().flatten()).collect();
        let disk = Disk::of(&entries);
        let crypttab = match entries.iter().any(|entry| matches!(fstab::spec(&entry.spec, &disk), Spec::Mapped(_))) {
            true => stage.read(&GuestPath::parse("/etc/crypttab")?, fstab::LIMIT)?.unwrap_or_default(),
            false => Vec::new(),
        };
        let changed = Changed { disk, entries, crypttab, init, disks: self, stage };
        let mut faults = Vec::new();
        for (count, line) in lines(&text).filter(is_new).enumerate() {
            if count == LINES_MAX {
                faults
                    .push(Fault::Unseen(format!("lines of /etc/fstab from line {} on were not checked", line.number)));
                break;
            }
            faults.extend(changed.line(&line)?);
        }
        Ok(faults)
    }
}

impl Changed<'_> {
    fn line(&self, line: &Line<'_>) -> Result<Vec<Fault>> {
        let number = line.number;
        let unread = |why: &str| {
            let why = format!("line {number} of /etc/fstab is passed over by mount(8): {why}");
            let hint = "its fields are device, place, filesystem, options, and two numbers; a space in a name is \\040";
            Ok(vec![Fault::Fatal(why, hint)])
        };
        if line.count() < 3 {
            return unread("it needs three fields at least");
        }
        if let Some(field) = line.misplaced() {
            return unread(&format!("{field:?} is no number"));
        }
        if let Some((spec, options)) = line.swap() {
            let skips = options.iter().any(|option| ["nofail", "noauto"].contains(&&**option));
            let named = self.find(&spec);
            if let Named::Volume(found) = &named
                && let Some(is) = found.signature.as_ref().filter(|is| !SWAP.contains(&is.name))
            {
                let why = format!(
                    "line {number} of /etc/fstab ({spec}) has swap space on {found}, which is {}: no guest swaps there",
                    is.name
                );
                return Ok(vec![Fault::Doubt(why)]);
            }
            let is_missing = !skips && matches!(named, Named::Missing);
            if !skips && spec.starts_with('/') && !spec.starts_with("/dev/") && self.is_nowhere(&spec)? {
                let why = format!("line {number} of /etc/fstab ({spec}) is a swap file that the guest does not have");
                return Ok(vec![Fault::Doubt(why)]);
            }
            let why = format!(
                "line {number} of /etc/fstab ({spec}) has swap space that is on no volume of the image: where no other disk has \
                 it, the guest waits for it at each start (systemd: 90 s), unless nofail is among its options"
            );
            return Ok(is_missing.then_some(Fault::Doubt(why)).into_iter().collect());
        }
        let entry = match line.entry() {
            Err(why) => return unread(&why),
            Ok(None) if line.place().is_some_and(|place| place != "none") => {
                return unread("its place is no path from the root on");
            }
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(entry)) => entry,
        };
        let skips = entry.has("nofail") || entry.has("noauto");
        let origin = format!("line {number} of /etc/fstab ({})", entry.spec);
        let told = |fault| match fault {
            Fault::Fatal(why, hint) => {
                let why = format!("{origin} cannot be mounted at {}: {why}", entry.path);
                Some(if skips { Fault::Doubt(why) } else { Fault::Fatal(why, hint) })
            }
            Fault::Doubt(_) if skips => None,
            Fault::Doubt(why) => Some(Fault::Doubt(format!("{origin} {why}"))),
            Fault::Unseen(why) => Some(Fault::Unseen(why)),
        };
        let faults = [self.device(&entry), self.place(&entry)?, twice(&entry, &self.entries), self.covered(&entry)];
        Ok(faults.into_iter().flatten().filter_map(told).collect())
    }

    /// Whether nothing is at a path of the guest.
    fn is_nowhere(&self, path: &str) -> Result<bool> {
        match GuestPath::parse(path).and_then(|path| self.stage.metadata(&path)) {
            Ok(found) => Ok(found.is_none()),
            Err(error) if error.kind() == ErrorKind::Io => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// What is wrong with the device of a line.
    fn device(&self, entry: &Entry) -> Option<Fault> {
        let kinds: Vec<&str> = entry.filesystem.split(',').collect();
        let is_on_disk = kinds.iter().any(|kind| family(kind).is_some());
        if entry.has("bind") || entry.has("rbind") {
            return None;
        }
        let found = match self.find(&entry.spec) {
            Named::NoDevice if is_on_disk && !entry.spec.starts_with('/') => {
                return Some(fatal(format!("'{}' names no device", entry.spec)));
            }
            Named::Unsure | Named::NoDevice => return None,
            Named::Missing => {
                let waits = match self.init {
                    Init::Systemd => "waits 90 s for it and then starts in emergency mode",
                    Init::Unknown | Init::Other => "cannot mount it when it starts",
                };
                return Some(Fault::Doubt(format!(
                    "is on no volume of the image: where no other disk has it, the guest {waits}, unless nofail is among its options"
                )));
            }
            Named::Volume(found) => found,
        };
        if entry.path == GuestPath::root() && self.inside(&found).name() != self.disks.root.name() {
            return Some(Fault::Doubt(format!(
                "mounts {found} as the root, and this file lies on {}",
                self.disks.root
            )));
        }
        if is_encrypted(&found) {
            let why = format!("{found} is encrypted: a guest mounts what crypttab makes of it, /dev/mapper/NAME");
            return Some(fatal(why));
        }
        let is = found.signature.as_ref()?.name;
        let mounts = |kind: &&str| *kind == is || family(kind).is_some_and(|names| names.contains(&is));
        // Of a filesystem that is not known here nothing can be said.
        (is_on_disk && !kinds.iter().any(mounts)).then(|| fatal(format!("{found} is {is}, not {}", entry.filesystem)))
    }

    /// What is wrong with the place of a line.
    fn place(&self, entry: &Entry) -> Result<Option<Fault>> {
        let takes = takes(entry, self.init);
        let found = match self.stage.metadata(&entry.path) {
            Ok(found) => found.map(|metadata| metadata.file_type),
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            // It lies in what cannot be opened, and is told of with that.
            Err(_) => return Ok(None),
        };
        Ok(match (found, takes) {
            (Some(FileType::Directory), _) | (_, Takes::Anything) | (None, Takes::NewDirectory) => None,
            (Some(_), _) => Some(fatal("its place is no directory".to_owned())),
            (None, Takes::Directory) => {
                Some(fatal("its place is missing, and nothing in the guest makes it".to_owned()))
            }
        })
    }

    /// A line before this one whose place lies below, where the guest mounts in the order of the lines, as all but systemd do.
    fn covered(&self, entry: &Entry) -> Option<Fault> {
        let is_below = |place: &GuestPath| {
            entry.path != GuestPath::root()
                && successors(place.parent(), GuestPath::parent).any(|above| above == entry.path)
        };
        let is_covered = |other: &&Entry| other.line < entry.line && !other.has("noauto") && is_below(&other.path);
        let other = self.entries.iter().find(is_covered).filter(|_| self.init == Init::Other)?;
        Some(Fault::Doubt(format!("is mounted over {}, which line {} has mounted before it", other.path, other.line)))
    }

    fn inside(&self, volume: &VolumeInfo) -> VolumeInfo {
        self.disks.survey.borrow().inside(volume).clone()
    }

    fn find(&self, spec: &str) -> Named {
        let of = |selector: Selector| match self.disks.survey.borrow().find(&selector) {
            Ok(found) => Named::Volume(Box::new(found)),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.disks.survey.borrow().may_hide(&selector) => {
                Named::Missing
            }
            // It may be in what is encrypted, or be one of several.
            Err(_) => Named::Unsure,
        };
        match fstab::spec(spec, &self.disk) {
            Spec::Volume(selector) => of(selector),
            Spec::Mapped(name) => match mapped(&name, &self.disk, &self.crypttab).map(of) {
                // What is in it is not known before it is opened.
                Some(Named::Volume(found)) => match self.inside(&found) {
                    inside if is_encrypted(&inside) => Named::Unsure,
                    inside => Named::Volume(Box::new(inside)),
                },
                Some(named) => named,
                None => Named::Missing,
            },
            // A kernel makes these, of memory.
            Spec::Elsewhere if spec.starts_with("/dev/zram") => Named::Unsure,
            Spec::Elsewhere => Named::Missing,
            Spec::Other => Named::NoDevice,
        }
    }
}

/// What a line that is no nonsense does where it cannot be mounted.
fn fatal(why: String) -> Fault {
    Fault::Fatal(why, "mend the line; with nofail among its options the guest starts without it")
}

/// What the first field of a line leads to.
enum Named {
    Volume(Box<VolumeInfo>),
    /// A device that is not in the image.
    Missing,
    /// A device that cannot be told.
    Unsure,
    NoDevice,
}

fn is_encrypted(volume: &VolumeInfo) -> bool {
    volume.signature.as_ref().is_some_and(|is| is.name == "crypto_LUKS")
}

/// The names that mount what this one mounts, of those that are on disks.
fn family(kind: &str) -> Option<&'static [&'static str]> {
    ON_DISK.into_iter().find(|names| names.contains(&kind))
}

/// Another line before this one that mounts at the same place.
fn twice(entry: &Entry, entries: &[Entry]) -> Option<Fault> {
    let other = entries.iter().find(|other| other.line < entry.line && other.path == entry.path)?;
    Some(Fault::Doubt(format!(
        "is for {}, as line {} is: systemd takes the first of the two, mount(8) mounts both",
        entry.path, other.line
    )))
}
