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
use crate::plan::CreateDrives;
use std::path::Path;

pub(super) fn run(typed: ConfigDriveCommand) -> Result<Exit, Failure> {
    match typed {
        ConfigDriveCommand::Create(typed) => create::run(CreateDrives::new(*typed)?),
        ConfigDriveCommand::Schema => schema::run(),
        ConfigDriveCommand::Show(typed) => show::run(&typed),
        ConfigDriveCommand::Verify(typed) => verify::run(&typed),
        ConfigDriveCommand::Extract(typed) => extract::run(&typed),
        ConfigDriveCommand::Diff(typed) => diff::run(&typed),
    }
}

/// Opens a drive; a failure names it.
fn open(path: &Path) -> Result<Existing, Failure> {
    Existing::open(path).map_err(|error| Failure::from(error).about(path))
}
