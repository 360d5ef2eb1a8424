//! `imgraft config-drive show`: what is in a drive.

use super::open;
use crate::cli;
use crate::commands::print;
use crate::config_drive::existing::{Secrets, Shown, ShownDocuments};
use crate::failure::{Exit, Failure};

pub(super) fn run(typed: &cli::Show) -> Result<Exit, Failure> {
    let secrets = if typed.show_secrets { Secrets::Shown } else { Secrets::Hidden };
    let existing = open(&typed.drive)?;
    let shown = Shown::new(&existing, secrets);
    let shown = shown.map_err(|error| Failure::from(error).about(&typed.drive))?;
    let which = if typed.all { ShownDocuments::All } else { ShownDocuments::Read };
    let text = if typed.json { shown.to_json() } else { shown.to_text(which) };
    print(text.as_bytes())?;
    Ok(Exit::Done)
}
