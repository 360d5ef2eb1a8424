//! `imgraft inspect`: what an image is, and what is in it.

use super::{about, print, tree};
use crate::failure::{Exit, Failure, printable};
use crate::guest::mounts::{By, Disks};
use crate::guest::{self, Guest};
use crate::plan::{Inspect, Output, Target};
use crate::report::{MountFacts, Replayed};
use imgraft_vfs::Error;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::fs::Mode;
use imgraft_vfs::image::inspect::Finding;
use imgraft_vfs::image::{self, ImageFormat, Source};
use imgraft_vfs::transaction::{self, Transaction};
use imgraft_vfs::volume::{self, Base, Scheme, Selector, Survey, Volume, VolumeInfo};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Debug, Serialize)]
struct Inspection {
    image: String,
    format: String,
    /// The marks that the file carries: of formats, and of a partition table.
    marks: Vec<String>,
    findings: Vec<FindingReport>,
    virtual_size: Option<u64>,
    facts: BTreeMap<&'static str, String>,
    partition_table: Option<&'static str>,
    notes: Vec<String>,
    volumes: Vec<VolumeReport>,
    /// Why the image was refused; what is known of it until then is in the report all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
}

#[derive(Debug, Serialize)]
struct FindingReport {
    name: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct Refused {
    reason: String,
    hints: Vec<String>,
}

#[derive(Debug, Serialize)]
struct VolumeReport {
    name: String,
    /// Whether it is what is in the LUKS volume of this name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unlocked: bool,
    partition: Option<u32>,
    /// Null for what does not lie on the disk in one piece.
    start: Option<u64>,
    size: u64,
    part_type: String,
    part_label: String,
    part_uuid: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    facts: BTreeMap<&'static str, String>,
    filesystem: Option<String>,
    label: String,
    uuid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    /// What a machine that boots from it will do first; what is shown is as after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<Replayed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guest: Option<guest::Facts>,
    /// What the guest has mounted below this root.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountFacts>,
    /// What is odd about that and was left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Usage {
    block_size: u32,
    total_bytes: u64,
    free_bytes: u64,
    /// Null where inodes are made as they are needed.
    free_inodes: Option<u64>,
    features: Vec<String>,
}

pub(super) fn run(plan: &Inspect) -> Result<Exit, Failure> {
    let Source { image, format, state, .. } = &plan.target.source;
    let txn = Transaction::begin_with(image, transaction::Access::Read, state)?;
    let mut inspection = Inspection::of_file(image, image::inspect::inspect(&*txn.overlay(), *format)?);
    let outcome = inspection.look_inside(&txn, &plan.target);
    if let Err(failure) = &outcome {
        // What the host does is not the image's fault, and nothing to report of it.
        if failure.exit != Exit::Refused {
            return outcome.map(|()| Exit::Done);
        }
        let Failure { message, hints, .. } = about(failure.clone(), &plan.target);
        inspection.refused = Some(Refused { reason: message, hints });
    }
    let text = match plan.output {
        Output::Json => inspection.to_json(),
        Output::Text | Output::Quiet => inspection.to_text(),
    };
    print(text.as_bytes())?;
    outcome.map(|()| Exit::Done)
}

/// What is known of a volume; what cannot be read of it is told as its problem, and no failure of the whole.
fn volume_report(
    disk: &Arc<dyn ImageFormat>,
    target: &Target,
    survey: &Rc<RefCell<Survey>>,
    info: &VolumeInfo,
) -> VolumeReport {
    let wrong_key = survey.borrow().wrong_key(info);
    let info = info.clone();
    let place = info.clone();
    let volume_name = info.name();
    let signature = info.signature;
    let name = signature.as_ref().map(|signature| signature.name);
    let mut report = VolumeReport {
        name: volume_name,
        unlocked: matches!(info.base, Base::Unlocked(_)),
        partition: info.index.map(|index| index.get()),
        start: matches!(info.base, Base::Disk).then_some(info.start),
        size: info.size,
        part_type: info.part_type,
        part_label: info.part_label,
        part_uuid: info.part_uuid,
        facts: info.facts.into_iter().collect(),
        filesystem: name.map(str::to_owned),
        label: signature.as_ref().map(|signature| signature.label.clone()).unwrap_or_default(),
        uuid: signature.map(|signature| signature.uuid).unwrap_or_default(),
        usage: None,
        replayed: None,
        guest: None,
        mounts: Vec::new(),
        notes: Vec::new(),
        problem: None,
    };
    let refusal = match (&place.base, wrong_key) {
        (Base::Refused { why, .. }, _) => Some(why.to_string()),
        (_, Some(error)) => Some(error.to_string()),
        (_, None) => place.problem.as_ref().map(ToString::to_string),
    };
    if let Some(refusal) = refusal {
        report.problem = Some(printable(&refusal));
        return report;
    }
    if !name.is_some_and(|name| target.access.reaches(name)) {
        return report;
    }
    if let Err(error) = look(disk, target, survey, place, &mut report) {
        report.problem = Some(Failure::from(image::explain(&**disk, error)).message);
    }
    report
}

/// Adds what is known of a filesystem when it is open, and, of a guest's root, of the guest and of what it has mounted.
fn look(
    disk: &Arc<dyn ImageFormat>,
    target: &Target,
    survey: &Rc<RefCell<Survey>>,
    info: VolumeInfo,
    report: &mut VolumeReport,
) -> Result<(), Error> {
    let device = info.device(&(Arc::clone(disk) as Arc<dyn BlockDevice>))?;
    let volume = Volume { device, info };
    let fs = target.access.open(&volume, None, Mode::ReadOnly)?.fs;
    let features = fs.features();
    report.replayed = features.recovered.map(Replayed::from);
    report.usage = Some(Usage {
        block_size: features.block_size,
        total_bytes: features.total_bytes,
        free_bytes: features.free_bytes,
        free_inodes: Some(features.free_inodes).filter(|free| *free != u64::MAX),
        features: features.feature_names,
    });
    if !guest::is_root(&*fs)? {
        return Ok(());
    }
    let grown = tree::grow(fs, &volume.info, survey, target, Mode::ReadOnly)?;
    // What a place lies in may be opened for that.
    let places: Vec<Option<Error>> =
        (1..=grown.mounts.mounted.len()).map(|number| grown.tree.problem(number)).collect();
    report.mounts = MountFacts::of_all(&grown.mounts, &survey.borrow(), &places);
    let guest = Guest::inspect(&grown.tree)?;
    report.guest = Some(guest.facts());
    let broken = match target.mounts.by {
        By::Guest => Disks { survey, root: &volume.info }.broken(guest.init, &grown.tree)?,
        By::Nobody => Vec::new(),
    };
    report.notes = broken.iter().map(|note| printable(note)).collect();
    Ok(())
}

impl Inspection {
    fn of_file(image: &Path, file: image::inspect::Inspection) -> Self {
        let finding = |finding: &Finding| FindingReport { name: finding.name, text: finding.text.clone() };
        Self {
            image: image.display().to_string(),
            format: file.to_string(),
            marks: file.marks.iter().map(ToString::to_string).collect(),
            findings: file.findings.iter().map(finding).collect(),
            virtual_size: None,
            facts: BTreeMap::new(),
            partition_table: None,
            notes: Vec::new(),
            volumes: Vec::new(),
            refused: None,
        }
    }

    /// Opens the image and adds what is in it, as far as it comes.
    fn look_inside(&mut self, txn: &Transaction, target: &Target) -> Result<(), Failure> {
        let Source { image, format, backing, state, .. } = &target.source;
        let disk = image::open_chain(txn.overlay(), image, *format, backing, state)?;
        self.facts = disk.facts().into_iter().collect();
        self.virtual_size = Some(disk.size());
        let bytes: Arc<dyn BlockDevice> = Arc::clone(&disk) as _;
        let explained = |error| image::explain(&*disk, error);
        let table = match target.volume {
            Selector::Whole => volume::undivided(&bytes),
            _ => volume::list(&bytes),
        };
        let mut survey = table.and_then(|table| Survey::new(&bytes, table)).map_err(explained)?;
        survey.unlock(&target.keys).map_err(explained)?;
        let table = survey.table();
        self.partition_table = Some(match table.scheme {
            Scheme::Whole => "none",
            Scheme::Mbr => "mbr",
            Scheme::Gpt => "gpt",
        });
        self.facts.extend(table.facts());
        self.notes = survey.notes().chain(tree::keyless(&survey, &target.keys)).collect();
        let chosen = match &target.volume {
            Selector::Auto | Selector::Whole => None,
            selector => {
                let keys = &target.keys;
                let (volume, _) = volume::select_bytes(&bytes, selector, keys, &guest::is_root).map_err(explained)?;
                Some(volume.info.name())
            }
        };
        let shown = |info: &&VolumeInfo| chosen.as_ref().is_none_or(|name| info.name() == *name);
        let shown: Vec<VolumeInfo> = survey.volumes().iter().filter(shown).cloned().collect();
        let survey = Rc::new(RefCell::new(survey));
        self.volumes = shown.iter().map(|info| volume_report(&disk, target, &survey, info)).collect();
        Ok(())
    }

    fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
        text.push('\n');
        text
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "image            {}", printable(&self.image));
        let _ = writeln!(text, "format           {}", self.format);
        if self.marks.len() > 1 {
            let _ = writeln!(text, "marks            {}", self.marks.join(", "));
        }
        for FindingReport { name, text: said } in &self.findings {
            let _ = writeln!(text, "finding          {name}: {}", printable(said));
        }
        if let Some(size) = self.virtual_size {
            let _ = writeln!(text, "virtual size     {}", bytes(size));
        }
        for (name, value) in &self.facts {
            let _ = writeln!(text, "{name:<16} {}", printable(value));
        }
        if let Some(table) = self.partition_table {
            let _ = writeln!(text, "partition table  {table}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note             {}", printable(note));
        }
        for volume in &self.volumes {
            volume.to_text(&mut text);
        }
        if let Some(refused) = &self.refused {
            let _ = writeln!(text, "refused          {}", refused.reason);
        }
        text
    }
}

impl VolumeReport {
    fn to_text(&self, text: &mut String) {
        let name = match (self.partition, &*self.name, self.unlocked) {
            (Some(number), _, _) => format!("partition {number}"),
            (None, "whole", false) => "whole disk".to_owned(),
            (None, "whole", true) => "whole disk, unlocked".to_owned(),
            (None, name, true) if name.contains('/') => format!("volume {name}, unlocked"),
            (None, name, true) => format!("partition {name}, unlocked"),
            (None, name, false) => format!("volume {name}"),
        };
        let unknown = if self.problem.is_some() { "cannot be used" } else { "no known filesystem" };
        let filesystem = self.filesystem.as_deref().unwrap_or(unknown);
        let _ = write!(text, "\n{name}: {filesystem}, {}", bytes(self.size));
        for (what, value) in [("label", &self.label), ("uuid", &self.uuid), ("partition label", &self.part_label)] {
            if !value.is_empty() {
                let _ = write!(text, ", {what} {}", printable(value));
            }
        }
        text.push('\n');
        for (name, value) in &self.facts {
            let _ = writeln!(text, "  {name:<14} {}", printable(value));
        }
        if let Some(usage) = &self.usage {
            let _ = writeln!(
                text,
                "  free           {} of {}{}; blocks of {} bytes",
                bytes(usage.free_bytes),
                bytes(usage.total_bytes),
                usage.free_inodes.map(|free| format!(", {free} inodes")).unwrap_or_default(),
                usage.block_size
            );
        }
        if let Some(replayed) = self.replayed {
            let _ = writeln!(text, "  not unmounted cleanly: shown with {}", replayed.to_text());
        }
        if let Some(guest) = &self.guest {
            guest.to_text(text);
        }
        for mount in &self.mounts {
            mount.to_text(text);
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note           {note}");
        }
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "  problem        {problem}");
        }
    }
}

fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut name = "bytes";
    for unit in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    if name == "bytes" { format!("{count} bytes") } else { format!("{value:.1} {name}") }
}
