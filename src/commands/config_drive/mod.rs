//! `imgraft config-drive`: drives that tell an instance what it is.

mod create;
mod schema;

use crate::cli::ConfigDriveCommand;
use crate::failure::{Exit, Failure};
use crate::plan::CreateDrives;

pub(super) fn run(typed: ConfigDriveCommand) -> Result<Exit, Failure> {
    match typed {
        ConfigDriveCommand::Create(typed) => create::run(CreateDrives::new(*typed)?),
        ConfigDriveCommand::Schema => schema::run(),
    }
}
