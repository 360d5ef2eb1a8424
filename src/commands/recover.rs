//! `imgraft recover`: what an interrupted run left of a commit to a raw image.

use super::print;
use crate::failure::{Exit, Failure, printable};
use crate::plan::Recover;
use imgraft_vfs::transaction::{Recovery, recover};

pub(super) fn run(plan: &Recover) -> Result<Exit, Failure> {
    let said = match recover(&plan.image, &plan.state)? {
        Recovery::Nothing => "nothing to recover",
        Recovery::Finished => "finished an interrupted commit: the image is the new one",
        Recovery::Discarded => "discarded an incomplete journal: the image is the old one",
    };
    print(format!("{}: {said}\n", printable(&plan.image.display().to_string())).as_bytes())?;
    Ok(Exit::Done)
}
