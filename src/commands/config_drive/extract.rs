//! `imgraft config-drive extract`: the files of a drive in a directory.

use super::open;
use crate::cli;
use crate::commands::print;
use crate::config_drive::existing;
use crate::failure::{Exit, Failure, printable};
use std::fmt::Write as _;

pub(super) fn run(typed: &cli::Extract) -> Result<Exit, Failure> {
    let drive = open(&typed.drive)?;
    let extracted = existing::extract(&drive, &typed.directory);
    let extracted = extracted.map_err(|error| Failure::from(error).about(&typed.drive))?;
    let directory = printable(&typed.directory.display().to_string());
    let mut text = format!("{directory}: {} files, {} bytes\n", extracted.files, extracted.bytes);
    for path in &extracted.left_out {
        let _ = writeln!(text, "  note: {}: neither file nor directory, left out", printable(path));
    }
    print(text.as_bytes())?;
    Ok(Exit::Done)
}
