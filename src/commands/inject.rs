//! `imgraft inject` and `imgraft sysprep`: the corridor, from the image's path to the commit.

use super::progress::Copying;
use super::second_reader::second_reader;
use super::tree::{self, Part};
use super::{print, reveal};
use crate::failure::{Exit, Failure, with_image, with_options};
use crate::guest::mounts::{By, Disks};
use crate::guest::{self, Guest};
use crate::inject::fitting::{LeftOut, Unfit, fit};
use crate::inject::staging::{Show, Staged, stage_all};
use crate::inject::{Item, no_room};
use crate::plan::{self, Output, Run};
use crate::report::{self, Io, ItemReport, Kernel, Replayed, Report, Status, Undo, recovery_name};
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::fs::{Features, FileType, GuestFs, Mode};
use imgraft_vfs::image::{self, Destination, Edit, ImageFormat};
use imgraft_vfs::kernel::{Borrowed, Opened};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::shell;
use imgraft_vfs::stage::Stage;
use imgraft_vfs::transaction::{self, Kept, Recovery};
use imgraft_vfs::volume::{self, Base, Chosen, VolumeInfo};
use imgraft_vfs::{Error, ErrorKind};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Changes that are made in memory, and are to be committed.
struct Made {
    edit: Edit,
    disk: Arc<dyn ImageFormat>,
    info: VolumeInfo,
    kernel: Option<Borrowed>,
    features: Features,
    guest: String,
    staged: Staged,
    parts: Vec<Part<'static>>,
    notes: Vec<String>,
}

pub(super) fn run(plan: plan::Edit) -> Result<Exit, Failure> {
    let mut recovered = None;
    let made = fit(&plan.requests, |left_out| make(&plan, left_out, &mut recovered))?;
    let Made { edit, disk, info, kernel, features, guest, mut staged, parts, notes } = made;
    let name = shell::word(&plan.target.source.image);
    for hint in staged.items.iter_mut().filter_map(|item| item.hint.as_mut()) {
        *hint = with_image(&with_options(hint, &plan.target.again), &name);
    }
    tracing::debug!("applied the changes in memory; the image is untouched so far");
    let format = edit.format();
    let commit = edit.finish()?;
    let recounted = disk.facts().iter().any(|(name, _)| *name == "refcounts");
    drop(disk);
    let verified = second_reader(&edit, &plan.target.access, &parts)?;
    tracing::debug!("the second reader has read the changes");
    let output = match &plan.destination {
        Destination::InPlace => None,
        Destination::Output(path, _) | Destination::Overlay(path, _) => Some(path.display().to_string()),
    };
    let (io, kept) = match plan.run {
        Run::Commit if !staged.changes.is_empty() || output.is_some() => {
            // Before the commit: a run that ends between the two must not leave a password that nobody knows.
            reveal(&staged.revealed);
            let progress = Copying::new();
            edit.commit(commit, &mut |done, size| progress.tell(done, size))?
        }
        _ => (edit.counts(), Kept::Nothing),
    };

    let report = Report {
        image: plan.target.source.image.display().to_string(),
        output,
        undo: plan.keep_undo.as_deref().and_then(|path| Undo::of(path, kept)),
        format: format.to_string(),
        recounted,
        replayed: features.recovered.map(Replayed::from),
        volume: volume_report(&info, features),
        mounts: parts.into_iter().filter(|part| part.place != "/").map(mount_report).collect(),
        access: if kernel.is_some() { "kernel" } else { "userspace" },
        kernel: kernel.map(Kernel::from),
        guest,
        changed: !staged.changes.is_empty(),
        dry_run: plan.run == Run::Dry,
        recovered: recovery_name(recovered.unwrap_or(Recovery::Nothing)),
        verified,
        notes,
        items: staged.items,
        io: Io::from(io),
    };
    show_result(&report, &staged.diff, plan.output)?;
    let partial = report.items.iter().any(|item| item.status == Status::Failed);
    Ok(if partial { Exit::Partial } else { Exit::Done })
}

/// Opens the image and makes the changes of all items but those that are left out, up to where only the commit is missing.
/// `recovered` gets what the first attempt has found of an earlier run.
fn make(plan: &plan::Edit, left_out: &LeftOut, recovered: &mut Option<Recovery>) -> Result<Made, Unfit> {
    let (access, show) = match plan.run {
        Run::Dry => (transaction::Access::Read, Show::Diff),
        Run::Commit => (transaction::Access::Write, Show::Nothing),
    };
    // What is wrong with a file that is to be made names the option that it was typed after.
    let named = |error: Error| match plan.option_of(&error) {
        Some(option) => Failure::from(error).within(option),
        None => error.into(),
    };
    let mut edit = Edit::begin(&plan.target.source, &plan.destination, access).map_err(named)?;
    if let Some(path) = &plan.keep_undo {
        edit.keep_undo(path).map_err(named)?;
    }
    let disk = edit.disk();
    let found = *recovered.get_or_insert(edit.recovered());
    tracing::debug!(format = %edit.format(), size = disk.size(), recovered = recovery_name(found), "opened and locked the image");
    let explained = |error| image::explain(&*disk, error);
    let (any, access) = (Arc::clone(&disk) as Arc<dyn BlockDevice>, &plan.target.access);
    let mode = Mode::ReadWrite { now: plan.now };
    let (wanted, way) = (&plan.target.volume, (edit.raw_image(), mode));
    let Chosen { info, opened: Opened { fs, kernel }, survey } =
        volume::select_through(&any, wanted, &plan.target.keys, access, way, &guest::is_root).map_err(explained)?;
    let features = fs.features();
    let survey = Rc::new(RefCell::new(survey));
    let mut grown = tree::grow(fs, &info, &survey, &plan.target, mode).map_err(explained)?;
    guest::check_awake(&grown.tree).map_err(explained)?;
    let guest = Guest::inspect(&grown.tree).map_err(explained)?;
    tracing::debug!(volume = %info, size = info.size, guest = ?guest.name(), "opened the root filesystem");
    let check_fstab = |stage: &Stage<'_>| match plan.target.mounts.by == By::Guest && guest::is_root(stage.base())? {
        true => Disks { survey: &survey, root: &info }.check_new(guest.init, stage),
        false => Ok(Vec::new()),
    };
    let staged = stage_all(&plan.requests, left_out, &guest, &grown.tree, show, &check_fstab)?;

    let room = room(&grown.parts(&staged.changes)?);
    // A dry run goes all the way but for the commit: a full filesystem shows now, not later.
    let items = &staged.items;
    let with_figures = |error: Error| match room {
        Some((wanted, free)) if error.kind() == ErrorKind::NoSpace && error.hint().is_none() && free < wanted => {
            error.with_hint(no_room(wanted, free))
        }
        _ => error,
    };
    let refused = |error: Error| match access.writes_in_place() {
        true => Unfit::from(half_done(explained(error))),
        false => {
            Unfit::Refused(error.guest_path().and_then(|path| of_item(items, path)), with_figures(explained(error)))
        }
    };
    for change in staged.changes.changes() {
        // Nothing is changed yet, wherever it would be.
        let path = change.path.as_bytes();
        let item = of_item(items, path);
        let unseen = |error| Unfit::Refused(item, explained(error));
        let led = staged.led.iter().find(|led| led.at.as_bytes().starts_with(path));
        // A path that was typed may be another one; that of another item may not.
        let led = led.filter(|led| led.is_of_file() || item != Some(Item::Files));
        grown.mounts.check_seen(path, led).map_err(unseen)?;
    }
    staged.changes.apply(&mut grown.tree).map_err(refused)?;
    let parts = grown.parts(&staged.changes)?.into_iter().map(Part::into_owned).collect();
    let notes = [plan.notes.clone(), grown.notes(&staged.changes)].concat();
    Box::new(grown.tree).close().map_err(refused)?;
    Ok(Made { guest: guest.name(), edit, disk, info, kernel, features, staged, parts, notes })
}

/// How many bytes new files have, and how many are free, where all changes are on one filesystem.
fn room(parts: &[Part<'_>]) -> Option<(u64, u64)> {
    let [Part { features, changes, .. }] = parts else { return None };
    let sizes = changes.changes().iter().filter(|change| change.moved.is_none() && change.linked.is_none());
    let sizes = sizes.filter_map(|change| change.after.as_ref().filter(|_| change.before.is_none()));
    let regular = sizes.filter(|state| state.metadata.file_type == FileType::Regular);
    Some((regular.fold(0, |sum: u64, state| sum.saturating_add(state.metadata.size)), features.free_bytes))
}

/// The first item that changes a path.
fn of_item(items: &[ItemReport], path: &[u8]) -> Option<Item> {
    let path = GuestPath::parse(path).ok()?.to_string();
    items.iter().find(|item| item.files.iter().any(|file| file.path == path)).map(|item| item.item)
}

/// What an error in the middle of a change means where there is no transaction.
fn half_done(error: Error) -> Error {
    let message = "the image was changed in place and holds a part of the changes, not all of them";
    Error::new(ErrorKind::Unfinished, error.layer(), message)
        .with_source(error)
        .with_hint("check its filesystem (xfs_repair, btrfs check, e2fsck), or put back a copy of the image")
}

fn volume_report(info: &VolumeInfo, features: Features) -> report::Volume {
    report::Volume {
        name: info.name(),
        unlocked: matches!(info.base, Base::Unlocked(_)),
        partition: info.index.map(|index| index.get()),
        filesystem: features.name.to_owned(),
        label: features.label,
        uuid: features.uuid,
    }
}

/// What was changed of a mount.
fn mount_report(part: Part<'_>) -> report::Mount {
    let Part { place, info, features, kernel, .. } = part;
    report::Mount {
        place,
        replayed: features.recovered.map(Replayed::from),
        access: if kernel.is_some() { "kernel" } else { "userspace" },
        kernel: kernel.map(Kernel::from),
        volume: volume_report(&info, features),
    }
}

fn show_result(report: &Report, diff: &str, output: Output) -> Result<(), Failure> {
    let text = match output {
        Output::Text => format!("{diff}{}", report.to_text()),
        Output::Json => report.to_json(),
        Output::Quiet => diff.to_owned(),
    };
    print(text.as_bytes()).map(drop)
}
