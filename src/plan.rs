//! What will be done: validated, complete, secrets wrapped. Nothing past it parses a user's string.

mod accounts;
mod added;
mod command_line;
mod commands_file;
mod config_drive;
mod copy_in;
mod existing_drive;
mod faults;
mod files;
mod firstboot;
mod injected;
mod instance;
mod items;
mod keys;
mod manifest;
mod mounts;
mod network;
mod reach;
mod replaced;
mod seed;
mod selector;
mod serve;
mod setting;
mod sysprep;
mod tar_in;
mod virt_tools;

pub use command_line::refusal;
pub use commands_file::with_commands;
pub use config_drive::{CreateDrives, Drives, Format as DriveFormat, JsonLines, Manner, Name};
pub use existing_drive::{CompareDrives, ExtractDrive, Form, ShowDrive, VerifyDrive};
pub use serve::Serve;

use crate::cli;
use crate::failure::Failure;
use crate::guest::mounts::{Beneath, Wanted};
use crate::inject::{Compat, Item, Request};
use imgraft_vfs::fs::Timestamp;
use imgraft_vfs::image::{Backing, Destination, Format, Source};
use imgraft_vfs::kernel::Access;
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::transaction::{Existing, Proof, StateDir};
use imgraft_vfs::volume::{Keys, Selector};
use imgraft_vfs::{Error, shell};
use reach::InPlace;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An image and the volume in it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The image file, its declared format, and which other files it may bring along.
    pub source: Source,
    /// The volume.
    pub volume: Selector,
    /// The passphrases of encrypted volumes.
    pub keys: Keys,
    /// What is mounted in the guest.
    pub mounts: Wanted,
    /// How its filesystem may be reached.
    pub access: Access,
    /// The options, each after a blank, by which `ls` and `cat` open the same, but for what is secret of them.
    pub again: String,
}

/// How a report is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Output {
    Text,
    Json,
    Quiet,
}

/// Whether the run changes the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Stage, show, write nothing.
    Dry,
    /// Stage, write, verify, commit.
    Commit,
}

/// A run that changes an image.
#[derive(Debug)]
pub struct Edit {
    /// Where.
    pub target: Target,
    /// What, in the order of the items.
    pub requests: Vec<Request>,
    /// What is to be told of what was asked for, a sentence each.
    pub notes: Vec<String>,
    /// Whether to write.
    pub run: Run,
    /// Where to.
    pub destination: Destination,
    /// The undo file to be made.
    pub keep_undo: Option<PathBuf>,
    /// How to report.
    pub output: Output,
    /// The time that every change gets.
    pub now: Timestamp,
}

/// A run of `undo`.
#[derive(Debug)]
pub struct Undo {
    /// The image file.
    pub image: PathBuf,
    /// The undo file.
    pub file: PathBuf,
    /// Whether the image has to show that it was not written to since.
    pub proof: Proof,
    /// Where the image's journal lies, if not beside it.
    pub state: StateDir,
}

/// A run of `recover`.
#[derive(Debug)]
pub struct Recover {
    /// The image, and whether its external data file is looked at too.
    pub source: Source,
}

/// A run of `ls` or `cat`.
#[derive(Debug)]
pub struct Look {
    /// Where.
    pub target: Target,
    /// The path in the guest.
    pub path: GuestPath,
}

/// A run of `inspect`.
#[derive(Debug)]
pub struct Inspect {
    /// Where.
    pub target: Target,
    /// How to report.
    pub output: Output,
}

impl Target {
    fn new(typed: cli::Target) -> Result<Self, Failure> {
        Self::to_change(typed, InPlace::Refused)
    }

    fn to_change(typed: cli::Target, in_place: InPlace) -> Result<Self, Failure> {
        let access = reach::access(&typed.reach, in_place)?;
        let mounts = mounts::mounts(&typed.mount)?;
        let again = again(&typed);
        Ok(Self { mounts, again, ..Self::of(typed.file, &typed.partition, access)? })
    }

    fn of(typed: cli::ImageFile, partition: &str, access: Access) -> Result<Self, Failure> {
        let format = match typed.format.last() {
            None | Some(cli::ImageFormat::Auto) => None,
            Some(cli::ImageFormat::Raw) => Some(Format::Raw),
            Some(cli::ImageFormat::Qcow2) => Some(Format::Qcow2),
        };
        let backing = typed.backing_chain.map_or(Backing::Deny, Backing::Within);
        let keys = keys::keys(&typed.keys)?;
        let image = typed.image.ok_or_else(|| Failure::usage("no image is named"))?;
        let source = Source { image, format, backing, data_file: None, state: state(typed.journal) };
        Ok(Self { source, volume: volume(partition)?, keys, mounts: Wanted::default(), access, again: String::new() })
    }
}

impl Edit {
    /// The option of the file to be made that an error is about, or of its directory.
    pub fn option_of(&self, error: &Error) -> Option<&'static str> {
        let made = match &self.destination {
            Destination::Output(path, _) => Some(("--output", path)),
            Destination::Overlay(path, _) => Some(("--overlay", path)),
            Destination::InPlace => None,
        };
        let kept = self.keep_undo.as_ref().map(|path| ("--keep-undo", path));
        let about = error.host_path()?;
        let is_about = |typed: &PathBuf| about == typed || Some(about) == typed.parent();
        made.into_iter().chain(kept).find(|(_, typed)| is_about(typed)).map(|(option, _)| option)
    }

    /// A run of `inject`: validates what was typed, and reads the host files that it names.
    pub fn inject(mut typed: cli::Inject, order: &cli::Order) -> Result<Self, Failure> {
        let mut notes = virt_tools::of_inject(&typed)?;
        notes.extend(virt_tools::network(&typed)?);
        notes.extend(replaced::of_inject(&typed, order));
        notes.extend(files::decimal_modes(&typed.files));
        notes.extend(items::key_unasked(&typed.ssh_inject));
        typed.target.file.image = typed.target.file.image.or(added::image(typed.add.add.take())?);
        let compat = match typed.compat {
            None => Compat::Imgraft,
            Some(cli::CompatWith::Nova) => Compat::Nova,
        };
        let now = now()?;
        check_stdin(&typed)?;
        let injectors = items::injectors(&typed, order, compat, now)?;
        if injectors.is_empty() {
            return Err(virt_tools::nothing_to_inject(&typed.virt_tools));
        }
        seed::check_optional(&typed)?;
        let optional = |item: Item| {
            typed.best_effort
                || typed.optional.iter().any(|name| item_of(*name) == item)
                // Nova's caller passes mandatory=('files',).
                || (compat == Compat::Nova && item != Item::Files)
        };
        let requests =
            injectors.into_iter().map(|injector| Request { required: !optional(injector.item()), injector }).collect();
        let mut edit = Self::of(typed.target, typed.writing, requests, now)?;
        edit.notes.extend(notes);
        if edit.requests.iter().any(|request| matches!(request.injector.item(), Item::Operation(_))) {
            // What lies on the disk is in every clone, be it seen by the guest or not.
            edit.target.mounts.beneath = Beneath::Reached;
        }
        Ok(edit)
    }

    /// What is done by these requests, where and how it was typed.
    fn of(target: cli::Target, writing: cli::Writing, requests: Vec<Request>, now: Timestamp) -> Result<Self, Failure> {
        let output = match (writing.json, writing.quiet) {
            (true, _) => Output::Json,
            (false, true) => Output::Quiet,
            (false, false) => Output::Text,
        };
        let run = if writing.dry_run { Run::Dry } else { Run::Commit };
        let destination = destination(writing.output, writing.overlay, writing.force)?;
        let notes = replaced::of_format(&target.file);
        let in_place = if writing.in_place_unsafe { InPlace::Allowed } else { InPlace::Refused };
        let (mut target, keep_undo) = (Target::to_change(target, in_place)?, writing.keep_undo);
        target.source.data_file = writing.data_file;
        Ok(Self { target, requests, notes, run, destination, keep_undo, output, now })
    }
}

impl Undo {
    /// What was typed.
    pub fn new(typed: cli::Undo) -> Self {
        let proof = if typed.unchanged { Proof::Waived } else { Proof::Required };
        Self { image: typed.image, file: typed.file, proof, state: state(typed.journal) }
    }
}

impl Recover {
    /// What was typed.
    pub fn new(typed: cli::Recover) -> Self {
        let (image, data_file) = (typed.image, typed.data_file);
        let source = Source { image, format: None, backing: Backing::Deny, data_file, state: state(typed.journal) };
        Self { source }
    }
}

impl Inspect {
    /// Validates what was typed.
    pub fn new(typed: cli::Inspect) -> Result<Self, Failure> {
        let output = if typed.json { Output::Json } else { Output::Text };
        Ok(Self { target: Target::new(typed.target)?, output })
    }
}

impl Look {
    /// Validates what was typed.
    pub fn new(typed: cli::Look) -> Result<Self, Failure> {
        Ok(Self { target: Target::new(typed.target)?, path: GuestPath::parse(typed.path.as_bytes())? })
    }
}

fn destination(output: Option<PathBuf>, overlay: Option<PathBuf>, force: bool) -> Result<Destination, Failure> {
    for (option, path) in [("--output", &output), ("--overlay", &overlay)] {
        if path.as_deref() == Some(std::path::Path::new("-")) {
            return Err(Failure::usage(format!("{option} -: an image is not written to standard output"))
                .with_hint(format!("name a file; one of this name is {option} ./-")));
        }
    }
    let existing = if force { Existing::Replace } else { Existing::Refuse };
    match (output, overlay) {
        (Some(path), _) => Ok(Destination::Output(path, existing)),
        (None, Some(path)) => Ok(Destination::Overlay(path, existing)),
        (None, None) if force => {
            Err(Failure::usage("--force goes with --output or --overlay").with_hint("leave it out to change the image"))
        }
        (None, None) => Ok(Destination::InPlace),
    }
}

/// The state directory that was typed, and the one that is usual (basedir-spec of freedesktop.org).
fn state(typed: cli::Journal) -> StateDir {
    let directory = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = if nix::unistd::geteuid().is_root() {
        Some(PathBuf::from("/var/lib/imgraft"))
    } else {
        let state = directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
        state.map(|state| state.join("imgraft"))
    };
    StateDir { chosen: typed.state_dir, usual }
}

fn item_of(name: cli::ItemName) -> Item {
    match name {
        cli::ItemName::Accounts => Item::Accounts,
        cli::ItemName::Key => Item::Key,
        cli::ItemName::Net => Item::Net,
        cli::ItemName::Hostname => Item::Hostname,
        cli::ItemName::HostKeys => Item::HostKeys,
        cli::ItemName::Timezone => Item::Timezone,
        cli::ItemName::Locale => Item::Locale,
        cli::ItemName::MachineId => Item::MachineId,
        cli::ItemName::Metadata => Item::Metadata,
        cli::ItemName::Password => Item::Password,
        cli::ItemName::Files => Item::Files,
        cli::ItemName::Units => Item::Units,
        cli::ItemName::Firstboot => Item::Firstboot,
        cli::ItemName::Seed => Item::Seed,
    }
}

fn volume(typed: &str) -> Result<Selector, Failure> {
    if let Some(label) = typed.strip_prefix("label:").filter(|label| !label.is_empty()) {
        return Ok(Selector::Label(label.to_owned()));
    }
    if let Some(uuid) = typed.strip_prefix("uuid:").filter(|uuid| !uuid.is_empty()) {
        return Ok(Selector::Uuid(uuid.to_owned()));
    }
    match typed {
        "auto" | "-1" => return Ok(Selector::Auto),
        "whole" | "0" => return Ok(Selector::Whole),
        _ => {}
    }
    if let Some(selector) = logical(typed).map(Selector::Logical).or_else(|| crate::guest::by_id(typed)) {
        return Ok(selector);
    }
    typed.parse::<NonZeroU32>().map(Selector::Index).map_err(|_| {
        Failure::usage(format!("--partition {typed}: not auto, whole, a number, GROUP/VOLUME, label:NAME or uuid:UUID"))
            .with_hint("`imgraft inspect IMAGE` lists the partitions")
    })
}

/// What `ls` and `cat` need as well as a run to find the same in an image.
fn again(typed: &cli::Target) -> String {
    let mut options = Vec::new();
    let word = |typed: &str| shell::word(Path::new(typed));
    if let Some(directories) = &typed.file.backing_chain {
        let value = directories.iter().map(|directory| shell::word(directory)).collect::<Vec<_>>().join(",");
        options.push(if value.is_empty() { "--backing-chain".to_owned() } else { format!("--backing-chain={value}") });
    }
    if !matches!(typed.partition.as_str(), "auto" | "-1") {
        options.push(format!("--partition {}", word(&typed.partition)));
    }
    options.extend(typed.mount.iter().map(|mount| format!("--mount {}", word(mount))));
    if !typed.file.keys.key.is_empty() {
        options.push("--key …".to_owned());
    }
    if typed.file.keys.keys_from_stdin {
        options.push("--keys-from-stdin".to_owned());
    }
    options.iter().map(|option| format!(" {option}")).collect()
}

/// Refuses two options that read standard input: the first would leave nothing to the second.
fn check_stdin(typed: &cli::Inject) -> Result<(), Failure> {
    let of_users =
        typed.password.iter().filter(|typed| typed.split_once(':').is_some_and(|(_, rest)| selector::is_stdin(rest)));
    let keys = typed.target.file.keys.keys_from_stdin.then_some("--keys-from-stdin");
    let root = typed.root_password.as_deref().is_some_and(selector::is_stdin).then_some("--root-password stdin");
    let reads_document = |path: &&PathBuf| manifest::is_stdin(path);
    let manifests = typed.manifests.manifest.iter().filter(reads_document).map(|_| "--manifest -");
    let configs = typed.manifests.cloud_config.iter().filter(reads_document).map(|_| "--cloud-config -");
    let mut readers =
        keys.into_iter().chain(manifests).chain(configs).chain(root).chain(of_users.map(|_| "--password USER:stdin"));
    match (readers.next(), readers.next()) {
        (Some(first), Some(second)) => Err(Failure::usage(format!("{first} and {second} both read standard input"))
            .with_hint("a password can be in a file (file:PATH) or in the environment (env:NAME), a key or a manifest in a file")),
        _ => Ok(()),
    }
}

/// The logical volume that `vg/lv`, `/dev/vg/lv` or `/dev/mapper/vg-lv` names, as `vg/lv`.
fn logical(typed: &str) -> Option<String> {
    if let Some(mapped) = typed.strip_prefix("/dev/mapper/") {
        return crate::guest::logical(mapped);
    }
    let names = typed.strip_prefix("/dev/").unwrap_or(typed);
    let (group, volume) = names.split_once('/')?;
    (!group.is_empty() && !volume.is_empty() && !volume.contains('/')).then(|| names.to_owned())
}

/// The time of all changes: SOURCE_DATE_EPOCH where it is set (reproducible-builds.org/specs/source-date-epoch), else now.
fn now() -> Result<Timestamp, Failure> {
    if let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let seconds = epoch.to_str().and_then(|epoch| epoch.parse::<i64>().ok()).filter(|seconds| *seconds >= 0);
        return match seconds {
            Some(seconds) => Ok(Timestamp { seconds, nanoseconds: 0 }),
            None => Err(Failure::usage("SOURCE_DATE_EPOCH is not a number of seconds since 1970")),
        };
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanoseconds: since.subsec_nanos() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_has_one_reader() {
        use clap::Parser;
        let check = |words: &[&str]| match cli::Cli::try_parse_from([&["imgraft", "inject", "x"], words].concat()) {
            Ok(cli::Cli { command: cli::Command::Inject(typed), .. }) => {
                check_stdin(&typed).map_err(|failure| failure.message)
            }
            other => panic!("{other:?}"),
        };
        check(&["--keys-from-stdin", "--root-password", "file:x", "--password", "stdin:random"]).unwrap();
        check(&["--root-password", "stdin"]).unwrap();
        for (words, both) in [
            (
                &["--keys-from-stdin", "--root-password", "stdin"][..],
                "--keys-from-stdin and --root-password stdin both",
            ),
            (
                &["--keys-from-stdin", "--password", "u:locked:stdin"],
                "--keys-from-stdin and --password USER:stdin both",
            ),
            (
                &["--password", "a:stdin", "--password", "b:stdin"],
                "--password USER:stdin and --password USER:stdin both",
            ),
        ] {
            let told = check(words).unwrap_err();
            assert!(told.starts_with(both), "{told}");
        }
    }

    #[test]
    fn partitions_as_users_and_nova_spell_them() {
        assert_eq!(volume("auto").unwrap(), Selector::Auto);
        assert_eq!(volume("-1").unwrap(), Selector::Auto);
        assert_eq!(volume("0").unwrap(), Selector::Whole);
        assert_eq!(volume("whole").unwrap(), Selector::Whole);
        assert_eq!(volume("3").unwrap(), Selector::Index(NonZeroU32::new(3).unwrap()));
        assert_eq!(volume("label:root").unwrap(), Selector::Label("root".into()));
        assert_eq!(volume("uuid:ab").unwrap(), Selector::Uuid("ab".into()));
        for (typed, name) in [
            ("vg/root", "vg/root"),
            ("/dev/vg0/root", "vg0/root"),
            ("/dev/mapper/vg-root", "vg/root"),
            ("/dev/mapper/debian--vg-swap_1--a", "debian-vg/swap_1-a"),
            ("/dev/mapper/a----b-c", "a--b/c"),
        ] {
            assert_eq!(volume(typed).unwrap(), Selector::Logical(name.into()));
        }
        let id = "aB1x".repeat(16);
        let by_id = |rest: &str| volume(&format!("/dev/disk/by-id/{rest}"));
        assert_eq!(by_id(&format!("dm-uuid-LVM-{id}")).unwrap(), Selector::LogicalUuid(id));
        assert_eq!(by_id("dm-name-vg-root").unwrap(), Selector::Logical("vg/root".into()));
        assert!(by_id("dm-uuid-LVM-x").is_err() && by_id("ata-x").is_err());
        for typed in ["", "-2", "label:", "sda1", "1x", "/dev/sda1", "/dev/mapper/a--b", "a/", "/b", "a/b/c"] {
            assert!(volume(typed).is_err(), "{typed}");
        }
    }
}
