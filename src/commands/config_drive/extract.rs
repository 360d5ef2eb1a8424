//! `imgraft config-drive extract`: the files of a drive in a directory.

use super::open;
use crate::commands::print;
use crate::config_drive::existing;
use crate::failure::{Exit, Failure, printable};
use crate::plan::ExtractDrive;
use std::fmt::Write as _;

pub(super) fn run(plan: &ExtractDrive) -> Result<Exit, Failure> {
    let drive = open(&plan.drive)?;
    let extracted = existing::extract(&drive, &plan.directory);
    let extracted = extracted.map_err(|error| Failure::from(error).about(&plan.drive))?;
    let directory = printable(&plan.directory.display().to_string());
    let mut text = format!("{directory}: {} files, {} bytes\n", extracted.files, extracted.bytes);
    for path in &extracted.left_out {
        let _ = writeln!(text, "  note: {}: neither file nor directory, left out", printable(path));
    }
    print(text.as_bytes())?;
    Ok(Exit::Done)
}
