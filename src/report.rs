//! What a run did, or would do: one structure, as text and as JSON.

mod drive;
mod tree;

pub use drive::{DriveFile, DriveReport};
pub use tree::MountFacts;

use crate::failure::printable;
use crate::inject::Item;
use crate::inject::fitting::Reason;
use imgraft_vfs::fs::Recovered;
use imgraft_vfs::kernel::Borrowed;
use imgraft_vfs::shell;
use imgraft_vfs::stage::{Action, Change};
use imgraft_vfs::transaction::{IoCounts, Kept, Recovery};
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// The size of a block in the counts of a report, in bytes.
const BLOCK: u64 = 4096;
/// How many changes of an item are told of one by one in a text, and how many of them where there are more.
const FILES_MAX: usize = 64;
const FILES_SHOWN: usize = 16;

/// The report of `inject` and of `sysprep`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The image file.
    pub image: String,
    /// The new file that the result is in; null where that is the image.
    pub output: Option<String>,
    /// The file by which the run can be taken back; null where there is none.
    pub undo: Option<Undo>,
    /// The image's format.
    pub format: String,
    /// The volume that was changed.
    pub volume: Volume,
    /// The other volumes of the guest's tree that were changed.
    pub mounts: Vec<Mount>,
    /// How the root filesystem was reached: `userspace` or `kernel`.
    pub access: &'static str,
    /// The kernel that was borrowed; null where none was.
    pub kernel: Option<Kernel>,
    /// The guest, as its os-release names it.
    pub guest: String,
    /// Whether the image was changed, or would be.
    pub changed: bool,
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// What was done first about an earlier, interrupted run: nothing, finished or discarded.
    pub recovered: &'static str,
    /// Whether the image had not been closed, so that its refcounts were counted anew.
    pub recounted: bool,
    /// What opening the filesystem had to do first; null where it had been unmounted cleanly.
    pub replayed: Option<Replayed>,
    /// What the second reader said.
    pub verified: Verified,
    /// What the user should know of the guest's mounts and of the keys that were given, a clause each.
    pub notes: Vec<String>,
    /// The items, in order.
    pub items: Vec<ItemReport>,
    /// What the run cost on the host.
    pub io: Io,
}

/// The undo file of a run.
#[derive(Debug, Serialize)]
pub struct Undo {
    /// The file.
    pub file: String,
    /// Whether it tells when the image was written to last; else `imgraft undo` needs the user's word for it.
    pub sealed: bool,
}

impl Undo {
    /// What there is at `path`.
    pub fn of(path: &Path, kept: Kept) -> Option<Self> {
        let file = path.display().to_string();
        match kept {
            Kept::Nothing => None,
            Kept::Sealed => Some(Self { file, sealed: true }),
            Kept::Unsealed => Some(Self { file, sealed: false }),
        }
    }
}

/// A volume.
#[derive(Debug, Serialize)]
pub struct Volume {
    /// What chooses it: a partition's number, `whole`, or a logical volume's name with its group's.
    pub name: String,
    /// Whether it is what is in the LUKS volume of this name.
    pub unlocked: bool,
    /// The partition's number; null for what is no partition.
    pub partition: Option<u32>,
    /// The filesystem.
    pub filesystem: String,
    /// Its label.
    pub label: String,
    /// Its UUID.
    pub uuid: String,
}

/// A volume that is mounted in the guest's tree.
#[derive(Debug, Serialize)]
pub struct Mount {
    /// Where, links followed.
    pub place: String,
    /// The volume.
    pub volume: Volume,
    /// How it was reached: `userspace` or `kernel`.
    pub access: &'static str,
    /// The kernel that was borrowed for it; null where none was.
    pub kernel: Option<Kernel>,
    /// What opening it had to do first; null where it had been unmounted cleanly.
    pub replayed: Option<Replayed>,
}

/// A kernel that had the volume mounted.
#[derive(Debug, Serialize)]
pub struct Kernel {
    /// The way in which it was given the volume.
    pub attach: &'static str,
    /// Its name and release.
    pub release: String,
    /// The subvolume of btrfs that was taken for the guest's root; null for the default one.
    pub subvolume: Option<String>,
    /// Why a kernel was used.
    pub why: String,
}

impl From<Borrowed> for Kernel {
    fn from(borrowed: Borrowed) -> Self {
        let Borrowed { attach, kernel, subvolume, why } = borrowed;
        Self { attach, release: kernel, subvolume, why }
    }
}

/// What was done first about a filesystem that had not been unmounted cleanly; it is written together with the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// How many transactions of its journal were replayed.
    pub transactions: u32,
    /// How many files were deleted or cut as it had been begun.
    pub orphans: u32,
}

impl From<Recovered> for Replayed {
    fn from(recovered: Recovered) -> Self {
        Self { transactions: recovered.transactions, orphans: recovered.orphans }
    }
}

impl Replayed {
    /// The same for people.
    pub fn to_text(self) -> String {
        let count = |number: u32, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
        let transactions = count(self.transactions, "transaction");
        match self.orphans {
            0 => format!("{transactions} of its journal replayed"),
            orphans => format!("{transactions} of its journal replayed, {} cleaned up", count(orphans, "orphan")),
        }
    }
}

/// What the second reader said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Verified {
    Agrees { by: String, paths: usize, xattrs_unverified: usize },
    Unknown { reason: String },
    NothingToVerify,
}

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Status {
    Applied,
    Unchanged,
    Failed,
}

/// One item of a report.
#[derive(Debug, Serialize)]
pub struct ItemReport {
    /// Which, by its name.
    #[serde(serialize_with = "by_name")]
    pub item: Item,
    /// Whether its failure would have failed the run.
    pub required: bool,
    /// How it ended.
    pub status: Status,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the user can do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the user should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What it changed, one entry per path and action.
    pub files: Vec<FileReport>,
}

/// One change of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The path in the guest, links followed; bytes that are not UTF-8 are escaped.
    pub path: String,
    /// What was done.
    pub action: &'static str,
    /// The permission bits after it, in octal.
    pub mode: String,
    /// The owner after it.
    pub uid: u32,
    /// The group after it.
    pub gid: u32,
    /// The size after it, in bytes.
    pub size: u64,
}

/// What a run cost on the host, the journal of a raw image included.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Io {
    /// Read, in blocks of 4096 bytes, rounded up.
    pub blocks_read: u64,
    /// Written, in blocks of 4096 bytes, rounded up.
    pub blocks_written: u64,
    /// Calls that read.
    pub reads: u64,
    /// Calls that wrote.
    pub writes: u64,
    /// Calls that made writes durable.
    pub fsyncs: u64,
}

impl From<IoCounts> for Io {
    fn from(counts: IoCounts) -> Self {
        Self {
            blocks_read: counts.bytes_read.div_ceil(BLOCK),
            blocks_written: counts.bytes_written.div_ceil(BLOCK),
            reads: counts.reads,
            writes: counts.writes,
            fsyncs: counts.fsyncs,
        }
    }
}

impl ItemReport {
    /// An item that is staged, or has nothing to do.
    pub fn staged(item: Item, required: bool, changes: &[Change], notes: Vec<String>) -> Self {
        let status = if changes.is_empty() { Status::Unchanged } else { Status::Applied };
        let files = changes.iter().flat_map(FileReport::of).collect();
        Self { item, required, status, error: None, hint: None, notes, files }
    }

    /// Adds what another part of the same item has done after this one.
    pub fn join(&mut self, other: Self) {
        if other.status == Status::Applied {
            self.status = Status::Applied;
        }
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        // Of what both change, the second one's state is that after the run.
        let later: BTreeSet<_> = other.files.iter().map(|file| (file.path.as_str(), file.action)).collect();
        self.files.retain(|file| !later.contains(&(file.path.as_str(), file.action)));
        self.files.extend(other.files);
    }

    /// Forgets what it has done to paths that the run does not change in the end.
    pub fn keep_only(&mut self, changed: &BTreeSet<String>) {
        self.files.retain(|file| changed.contains(&file.path));
        if self.status == Status::Applied && self.files.is_empty() {
            self.status = Status::Unchanged;
        }
    }

    /// An optional item that failed and was rolled back.
    pub fn failed(item: Item, reason: Reason) -> Self {
        let Reason { message, hint } = reason;
        let (notes, files) = (Vec::new(), Vec::new());
        Self { item, required: false, status: Status::Failed, error: Some(message), hint, notes, files }
    }
}

impl FileReport {
    fn of(change: &Change) -> impl Iterator<Item = Self> {
        let path = change.path.to_string();
        let (before, after) = (change.before.as_ref().map(|state| state.metadata), change.metadata().copied());
        change.actions().iter().filter_map(move |action| {
            // Of what gives way to something else it is what went.
            let metadata = if *action == Action::Remove { before } else { after }?;
            Some(Self {
                path: path.clone(),
                action: action.name(),
                mode: format!("{:04o}", metadata.mode),
                uid: metadata.uid,
                gid: metadata.gid,
                size: metadata.size,
            })
        })
    }
}

/// The word for what a run found of an earlier one.
pub fn recovery_name(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::Nothing => "nothing",
        Recovery::Finished => "finished",
        Recovery::Discarded => "discarded",
    }
}

impl Report {
    /// The report as JSON, with a line end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
        text.push('\n');
        text
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{}: {}, {}, {} ({}), {}",
            printable(&self.image),
            self.format,
            self.volume.to_text(),
            self.volume.filesystem,
            self.access,
            printable(&self.guest)
        );
        if let Some(Kernel { attach, release, subvolume, why }) = &self.kernel {
            let subvolume = subvolume.as_ref().map(|name| format!("; the root is its subvolume {}", printable(name)));
            let _ = writeln!(text, "  by {attach} and {}: {why}{}", printable(release), subvolume.unwrap_or_default());
        }
        if self.recovered != recovery_name(Recovery::Nothing) {
            let _ = writeln!(text, "  {} an interrupted earlier run first", self.recovered);
        }
        if self.recounted {
            let _ = writeln!(text, "  the image was not closed: its refcounts are counted anew");
        }
        if let Some(replayed) = self.replayed {
            let _ = writeln!(text, "  the filesystem was not unmounted cleanly: {}", replayed.to_text());
        }
        for Mount { place, volume, access, kernel, replayed } in &self.mounts {
            let by = kernel.as_ref().map(|kernel| format!(" by {}", kernel.attach)).unwrap_or_default();
            let (filesystem, volume) = (&volume.filesystem, volume.to_text());
            let _ = writeln!(text, "  {place}: {volume}, {filesystem} ({access}{by})");
            if let Some(replayed) = replayed {
                let _ = writeln!(text, "    it was not unmounted cleanly: {}", replayed.to_text());
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {}", printable(note));
        }
        let (idle, told): (Vec<_>, Vec<_>) = self.items.iter().partition(|item| item.is_idle_operation());
        for item in told {
            item.to_text(&mut text);
        }
        if !idle.is_empty() {
            let names: Vec<_> = idle.into_iter().map(|item| item.item.name()).collect();
            let _ = writeln!(text, "  nothing to do: {}", names.join(", "));
        }
        let io = &self.io;
        let cost = format!("{} blocks read, {} written, {} fsyncs", io.blocks_read, io.blocks_written, io.fsyncs);
        let _ = match (self.dry_run, self.changed) {
            (true, true) => writeln!(text, "dry run: nothing was written"),
            (true, false) => writeln!(text, "dry run: nothing would change"),
            (false, false) if self.items.iter().any(|item| item.status == Status::Failed) => {
                writeln!(text, "unchanged: what did not fail is in place already ({cost})")
            }
            (false, false) => writeln!(text, "unchanged: everything is in place already ({cost})"),
            (false, true) => writeln!(text, "changed; {}; {cost}", self.verified.to_text()),
        };
        if let Some(Undo { file, sealed }) = &self.undo {
            let [image, file] = [&self.image, file].map(|path| printable(&shell::word(Path::new(path))));
            let unchanged = if *sealed { "" } else { " --unchanged" };
            let _ = writeln!(text, "to go back: imgraft undo{unchanged} {image} {file}");
        }
        if let (Some(output), false) = (&self.output, self.dry_run) {
            let _ = writeln!(text, "written to {}; the image is as it was", printable(output));
        }
        text
    }
}

impl Volume {
    fn to_text(&self) -> String {
        match (self.partition, &*self.name) {
            (Some(number), _) => format!("partition {number}"),
            (None, name) if self.unlocked => format!("{name} unlocked"),
            (None, "whole") => "whole disk".to_owned(),
            (None, name) => name.to_owned(),
        }
    }
}

impl Verified {
    /// The verdict on this and on what is mounted at `place`.
    #[must_use]
    pub fn and(self, other: Self, place: &str) -> Self {
        match (self, other) {
            (Self::NothingToVerify, Self::Unknown { reason }) if place != "/" => {
                Self::Unknown { reason: format!("{place}: {reason}") }
            }
            (Self::NothingToVerify, verdict) | (verdict, Self::NothingToVerify) => verdict,
            (
                Self::Agrees { by, paths, xattrs_unverified },
                Self::Agrees { by: other, paths: more, xattrs_unverified: unverified },
            ) => {
                let by = if by.split(", ").any(|name| name == other) { by } else { format!("{by}, {other}") };
                Self::Agrees { by, paths: paths + more, xattrs_unverified: xattrs_unverified + unverified }
            }
            (Self::Unknown { reason }, Self::Unknown { reason: other }) => {
                Self::Unknown { reason: format!("{reason}; {place}: {other}") }
            }
            (Self::Unknown { reason }, Self::Agrees { .. }) => Self::Unknown { reason },
            (Self::Agrees { .. }, Self::Unknown { reason }) => Self::Unknown { reason: format!("{place}: {reason}") },
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Agrees { by, paths, xattrs_unverified } => {
                let paths = if *paths == 1 { "1 path".to_owned() } else { format!("{paths} paths") };
                let beside = match xattrs_unverified {
                    0 => String::new(),
                    several => format!(" ({several} attributes it cannot read)"),
                };
                let again = match by.as_str() {
                    "ext4-view" | "fatfs" => "a second reader agrees",
                    "the kernel" => "the kernel, which mounted it anew, agrees",
                    _ => "second readers agree",
                };
                format!("{again} on {paths}{beside}")
            }
            Self::Unknown { reason } => {
                format!("not verified, the second reader does not know it: {}", printable(reason))
            }
            Self::NothingToVerify => "nothing to verify".to_owned(),
        }
    }
}

fn by_name<S: Serializer>(item: &Item, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(item.name())
}

impl ItemReport {
    /// Whether it is one of sysprep's operations, of which there are many, and there was nothing for it to do or say.
    fn is_idle_operation(&self) -> bool {
        matches!(self.item, Item::Operation(_)) && self.status == Status::Unchanged && self.notes.is_empty()
    }

    fn to_text(&self, text: &mut String) {
        let status = match self.status {
            Status::Applied => "applied",
            Status::Unchanged => "unchanged",
            Status::Failed => "FAILED (optional)",
        };
        let _ = writeln!(text, "  {:<9} {status}", self.item.name());
        let shown = if self.files.len() > FILES_MAX { FILES_SHOWN } else { self.files.len() };
        for file in self.files.iter().take(shown) {
            let _ = writeln!(
                text,
                "            {:<8} {} ({} {}:{}, {} bytes)",
                file.action, file.path, file.mode, file.uid, file.gid, file.size
            );
        }
        if shown < self.files.len() {
            let _ = writeln!(text, "            and {} more, all of which --json lists", self.files.len() - shown);
        }
        for note in &self.notes {
            let _ = writeln!(text, "            note: {}", printable(note));
        }
        if let Some(error) = &self.error {
            let _ = writeln!(text, "            error: {error}");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "            hint: {}", printable(hint));
        }
    }
}
