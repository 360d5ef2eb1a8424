//! `imgraft config-drive show`: what is in a drive.

use super::open;
use crate::cli;
use crate::commands::{Audience, print};
use crate::config_drive::existing::{Secrets, Shown, ShownDocuments, document};
use crate::failure::{Exit, Failure};

pub(super) fn run(typed: &cli::Show) -> Result<Exit, Failure> {
    let secrets = if typed.show_secrets { Secrets::Shown } else { Secrets::Hidden };
    let existing = open(&typed.drive)?;
    let failed = |error| Failure::from(error).about(&typed.drive);
    if typed.json {
        print(Shown::with_documents(&existing, secrets).map_err(failed)?.to_json().as_bytes())?;
        return Ok(Exit::Done);
    }
    let which = if typed.all { ShownDocuments::All } else { ShownDocuments::Read };
    let shown = Shown::new(&existing);
    let mut audience = print(shown.to_text().as_bytes())?;
    // One at a time: together they may be as large as the drive, and larger.
    for entry in shown.documents(&existing, which) {
        if audience == Audience::Gone {
            break;
        }
        audience = print(document(&existing, entry, secrets).map_err(failed)?.as_bytes())?;
    }
    Ok(Exit::Done)
}
