//! `imgraft inject`: the corridor, from the image's path to the commit.

use super::progress::Copying;
use super::{print, reveal};
use crate::failure::{Exit, Failure};
use crate::guest::{self, Guest};
use crate::inject::staging::{Show, Staged, stage_all};
use crate::plan::{Inject, Output, Run};
use crate::report::{self, Io, Kernel, Replayed, Report, Status, Undo, Verified, recovery_name};
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::fs::{self, Features, Mode};
use imgraft_vfs::image::{self, Destination, Edit};
use imgraft_vfs::kernel::{Access, Opened};
use imgraft_vfs::transaction::{self, Kept};
use imgraft_vfs::verify::{Verdict, read_again, verify};
use imgraft_vfs::volume::{self, Base, Volume, VolumeInfo};
use std::sync::Arc;

pub(super) fn run(plan: Inject) -> Result<Exit, Failure> {
    let (access, show) = match plan.run {
        Run::Dry => (transaction::Access::Read, Show::Diff),
        Run::Commit => (transaction::Access::Write, Show::Nothing),
    };
    let mut edit = Edit::begin(&plan.target.source, &plan.destination, access)?;
    if let Some(path) = &plan.keep_undo {
        edit.keep_undo(path)?;
    }
    let disk = edit.disk();
    let format = edit.format();
    tracing::debug!(%format, size = disk.size(), recovered = recovery_name(edit.recovered()), "opened and locked the image");
    let explained = |error| image::explain(&*disk, error);
    let (any, access) = (Arc::clone(&disk) as Arc<dyn BlockDevice>, &plan.target.access);
    let volume = volume::select_through(&any, &plan.target.volume, &plan.target.keys, access, &guest::is_root)
        .map_err(explained)?;
    let Opened { mut fs, kernel } =
        access.open(&volume, edit.raw_image(), Mode::ReadWrite { now: plan.now }).map_err(explained)?;
    let Volume { info, .. } = volume;
    let features = fs.features();
    let guest = Guest::inspect(&*fs).map_err(explained)?;
    tracing::debug!(volume = %info, size = info.size, guest = ?guest.name(), "opened the root filesystem");
    let staged = stage_all(plan.requests, &guest, &*fs, show)?;

    // A dry run goes all the way but for the commit: a full filesystem shows now, not later.
    staged.changes.apply(&mut *fs).map_err(explained)?;
    fs.close()?;
    tracing::debug!("applied the changes in memory; the image is untouched so far");
    let commit = edit.finish()?;
    let recounted = disk.facts().iter().any(|(name, _)| *name == "refcounts");
    drop((any, disk));
    let verified = second_reader(&edit, access, &info, &staged)?;
    tracing::debug!("the second reader has read the changes");
    let recovered = recovery_name(edit.recovered());
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
        access: if kernel.is_some() { "kernel" } else { "userspace" },
        kernel: kernel.map(Kernel::from),
        guest: guest.name(),
        changed: !staged.changes.is_empty(),
        dry_run: plan.run == Run::Dry,
        recovered,
        verified,
        items: staged.items,
        io: Io::from(io),
    };
    show_result(&report, &staged.diff, plan.output)?;
    let partial = report.items.iter().any(|item| item.status == Status::Failed);
    Ok(if partial { Exit::Partial } else { Exit::Done })
}

/// Reads the changes back as the next user of the image would: a fresh look at the pending bytes, by another reader where
/// there is one for the filesystem, else by a kernel that mounts it anew.
fn second_reader(edit: &Edit, access: &Access, info: &VolumeInfo, staged: &Staged) -> Result<Verified, Failure> {
    if staged.changes.is_empty() {
        return Ok(Verified::NothingToVerify);
    }
    let device = info.device(&edit.reopen()?)?;
    if info.signature.as_ref().is_some_and(|signature| !fs::has_driver(signature.name)) {
        let volume = Volume { device, info: info.clone() };
        let opened = access.open(&volume, None, Mode::ReadOnly)?;
        let paths = read_again(&*opened.fs, &staged.changes)?;
        opened.fs.close()?;
        return Ok(Verified::Agrees { by: "the kernel", paths, xattrs_unverified: 0 });
    }
    Ok(match verify(device, &staged.changes)? {
        Verdict::Agrees { by, paths, xattrs_unverified } => Verified::Agrees { by, paths, xattrs_unverified },
        Verdict::Unknown { reason } => Verified::Unknown { reason },
    })
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

fn show_result(report: &Report, diff: &str, output: Output) -> Result<(), Failure> {
    let text = match output {
        Output::Text => format!("{diff}{}", report.to_text()),
        Output::Json => report.to_json(),
        Output::Quiet => diff.to_owned(),
    };
    print(text.as_bytes()).map(drop)
}
