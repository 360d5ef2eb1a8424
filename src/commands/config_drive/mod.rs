//! `imgraft config-drive`: drives that tell an instance what it is.

mod create;
mod diff;
mod extract;
mod schema;
mod show;
mod verify;

use crate::cli::ConfigDriveCommand;
use crate::config_drive::existing::Existing;
use crate::failure::{Exit, Failure};
use crate::plan::{CompareDrives, CreateDrives, ExtractDrive, ShowDrive, VerifyDrive};
use imgraft_vfs::{Error, ErrorKind, Layer};
use std::path::Path;

pub(super) fn run(typed: ConfigDriveCommand) -> Result<Exit, Failure> {
    match typed {
        ConfigDriveCommand::Create(typed) => create::run(CreateDrives::new(*typed)?),
        ConfigDriveCommand::Schema => schema::run(),
        ConfigDriveCommand::Show(typed) => show::run(&ShowDrive::new(typed)),
        ConfigDriveCommand::Verify(typed) => verify::run(&VerifyDrive::new(typed)),
        ConfigDriveCommand::Extract(typed) => extract::run(&ExtractDrive::new(typed)),
        ConfigDriveCommand::Diff(typed) => diff::run(&CompareDrives::new(typed)),
    }
}

/// Opens a drive; a failure names it.
fn open(path: &Path) -> Result<Existing, Failure> {
    Existing::open(path).map_err(|error| {
        let hint =
            is_other(&error).then_some("a config drive is an ISO 9660 or FAT filesystem without a partition table");
        let failure = Failure::from(error).about(path);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    })
}

/// Whether the image is something else than a drive, or uses what is not read.
fn is_other(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported && error.layer() == Layer::Master
}
