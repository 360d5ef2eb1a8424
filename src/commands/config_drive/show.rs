//! `imgraft config-drive show`: what is in a drive.

use super::open;
use crate::commands::{Audience, print};
use crate::config_drive::existing::{Shown, document};
use crate::failure::{Exit, Failure};
use crate::plan::{Form, ShowDrive};

pub(super) fn run(plan: &ShowDrive) -> Result<Exit, Failure> {
    let existing = open(&plan.drive)?;
    let failed = |error| Failure::from(error).about(&plan.drive);
    if plan.form == Form::Json {
        print(Shown::with_documents(&existing, plan.secrets).map_err(failed)?.to_json().as_bytes())?;
        return Ok(Exit::Done);
    }
    let shown = Shown::new(&existing);
    let mut audience = print(shown.to_text().as_bytes())?;
    // One at a time: together they may be as large as the drive, and larger.
    for entry in shown.documents(&existing, plan.documents) {
        if audience == Audience::Gone {
            break;
        }
        audience = print(document(&existing, entry, plan.secrets).map_err(failed)?.as_bytes())?;
    }
    Ok(Exit::Done)
}
