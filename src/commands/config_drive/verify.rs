//! `imgraft config-drive verify`: what cloud-init makes of a drive.

use super::open;
use crate::commands::print;
use crate::config_drive::existing::Verdict;
use crate::failure::{Exit, Failure};
use crate::plan::{Form, VerifyDrive};

pub(super) fn run(plan: &VerifyDrive) -> Result<Exit, Failure> {
    let existing = open(&plan.drive)?;
    let verdict = Verdict::new(&existing).map_err(|error| Failure::from(error).about(&plan.drive))?;
    let text = match plan.form {
        Form::Json => verdict.to_json(),
        Form::Text => verdict.to_text(),
    };
    print(text.as_bytes())?;
    Ok(if verdict.ok { Exit::Done } else { Exit::Refused })
}
