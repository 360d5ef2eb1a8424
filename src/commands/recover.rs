//! `imgraft recover`: what an interrupted run left beside a raw image.

use super::print;
use crate::failure::{Exit, Failure, printable};
use imgraft_vfs::transaction::{Recovery, recover};
use std::path::Path;

pub(super) fn run(image: &Path) -> Result<Exit, Failure> {
    let said = match recover(image)? {
        Recovery::Nothing => "nothing to recover",
        Recovery::Finished => "finished an interrupted commit: the image is the new one",
        Recovery::Discarded => "discarded an incomplete journal: the image is the old one",
    };
    print(format!("{}: {said}\n", printable(&image.display().to_string())).as_bytes())?;
    Ok(Exit::Done)
}
