//! `imgraft config-drive verify`: what cloud-init makes of a drive.

use super::open;
use crate::cli;
use crate::commands::print;
use crate::config_drive::existing::Verdict;
use crate::failure::{Exit, Failure};

pub(super) fn run(typed: &cli::Verify) -> Result<Exit, Failure> {
    let existing = open(&typed.drive)?;
    let verdict = Verdict::new(&existing).map_err(|error| Failure::from(error).about(&typed.drive))?;
    let text = if typed.json { verdict.to_json() } else { verdict.to_text() };
    print(text.as_bytes())?;
    Ok(if verdict.ok { Exit::Done } else { Exit::Refused })
}
