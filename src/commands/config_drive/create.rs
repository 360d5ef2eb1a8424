//! `imgraft config-drive create`: from instances to drives.

use crate::commands::progress::Making;
use crate::commands::{Audience, print, reveal};
use crate::config_drive::{DocumentError, Documents, Flavour, Instance};
use crate::failure::{Exit, Failure};
use crate::plan::{CreateDrives, DriveFormat, Drives, JsonLines, Manner, Name, Output};
use crate::report::{DriveFile, DriveReport};
use imgraft_vfs::master::{Image, Tree, iso9660, vfat};
use imgraft_vfs::transaction::NewFile;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

/// The mode of a drive: it may hold a password.
const MODE: u32 = 0o600;

pub(super) fn run(plan: CreateDrives) -> Result<Exit, Failure> {
    let CreateDrives { drives, manner, output } = plan;
    match drives {
        Drives::One { instance, path, revealed } => {
            let made = Made::new(&instance, &path, manner)?;
            // Before the drive is there: a run that ends between the two must not leave a password that nobody knows.
            reveal(revealed.as_slice());
            let report = made.publish(&path)?;
            match output {
                Output::Text => print(report.to_text().as_bytes())?,
                Output::Json => print(report.to_json().as_bytes())?,
                Output::Quiet => Audience::Listening,
            };
        }
        Drives::Many { lines, count, name } => many(&lines, count, &name, manner, output)?,
    }
    Ok(Exit::Done)
}

/// Makes a drive of each line. Some are made at once, since most of the time goes by waiting for the disk.
fn many(lines: &JsonLines, count: usize, name: &Name, manner: Manner, output: Output) -> Result<(), Failure> {
    let progress = Making::new(count);
    let mut bytes = 0_u64;
    let mut done = 0;
    let mut listening = Audience::Listening;
    let mut instances = lines.instances()?;
    loop {
        let some = instances.by_ref().take(AT_ONCE).collect::<Result<Vec<_>, _>>()?;
        if some.is_empty() {
            break;
        }
        let make = |(number, instance): &(usize, Instance)| {
            let path = name.of(instance)?;
            Made::new(instance, &path, manner)
                .and_then(|made| made.publish(&path))
                .map_err(|failure| lines.at(*number, failure))
        };
        let reports: Vec<Result<DriveReport, Failure>> = thread::scope(|scope| {
            let makers: Vec<_> = some.iter().map(|instance| scope.spawn(|| make(instance))).collect();
            makers.into_iter().map(|maker| maker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        for report in reports {
            let report = report?;
            bytes = bytes.saturating_add(report.size);
            done += 1;
            progress.tell(done);
            if output == Output::Json && listening == Audience::Listening {
                listening = print(report.to_json_line().as_bytes())?;
            }
        }
    }
    drop(progress);
    if output == Output::Text {
        print(format!("{done} drives made, {} MiB\n", bytes >> 20).as_bytes())?;
    }
    if done != count {
        return Err(Failure::usage(format!("--instances: the file was changed: {done} of {count} drives were made")));
    }
    Ok(())
}

/// How many drives are made at once.
const AT_ONCE: usize = 16;

/// A drive whose every byte is known.
struct Made {
    image: Image,
    report: DriveReport,
    manner: Manner,
}

impl Made {
    fn new(instance: &Instance, path: &Path, manner: Manner) -> Result<Self, Failure> {
        let format = manner.format.or(instance.document().conf.config_drive_format).unwrap_or(DriveFormat::Iso9660);
        let documents = Documents::new(instance, manner.flavour, manner.layout).map_err(|error| refused(&error))?;
        let mut tree = Tree::new();
        let mut files = Vec::with_capacity(documents.files.len());
        for (name, content) in documents.files {
            files.push(DriveFile { path: name.clone(), size: content.len() });
            tree.put(name, content)?;
        }
        let label = manner.layout.label();
        let (name, image) = match format {
            DriveFormat::Iso9660 => {
                let publisher = match manner.flavour {
                    Flavour::Imgraft => concat!("imgraft ", env!("CARGO_PKG_VERSION")),
                    Flavour::Nova | Flavour::NovaGrizzly => "OpenStack Nova",
                };
                let options =
                    iso9660::Options { volume_id: label.to_owned(), publisher: publisher.to_owned(), time: manner.now };
                ("iso9660", iso9660::image(&tree, &options)?)
            }
            DriveFormat::Vfat => {
                let options = vfat::Options { label: label.to_owned(), size: manner.size, time: manner.now };
                ("vfat", vfat::image(&tree, &options).map_err(|error| Failure::from(error).about(path))?)
            }
        };
        let report = DriveReport {
            output: path.display().to_string(),
            instance: instance.document().instance.uuid.clone(),
            format: name,
            layout: manner.layout.name(),
            label,
            size: image.size(),
            files,
            notes: documents.notes,
        };
        Ok(Self { image, report, manner })
    }

    fn publish(self, path: &Path) -> Result<DriveReport, Failure> {
        let failed = |error| Failure::from(error).about(path);
        let file = NewFile::create(path, self.manner.existing).map_err(failed)?;
        self.image.write_to(&file).map_err(failed)?;
        file.publish(MODE).map_err(failed)?;
        Ok(self.report)
    }
}

fn refused(error: &DocumentError) -> Failure {
    let failure = Failure::usage(error.to_string());
    error.hint().into_iter().fold(failure, |failure, hint| failure.with_hint(hint))
}
