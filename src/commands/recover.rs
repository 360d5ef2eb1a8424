//! `imgraft recover`: what an interrupted run left of a commit to a raw image, or to the data file of a qcow2 image.

use super::print;
use crate::failure::{Exit, Failure, printable};
use crate::plan::Recover;
use imgraft_vfs::image::{Named, recover};
use imgraft_vfs::transaction::Recovery;

pub(super) fn run(plan: &Recover) -> Result<Exit, Failure> {
    let (recovered, unseen) = recover(&plan.source)?;
    let said = match recovered {
        Recovery::Nothing => "nothing to recover",
        Recovery::Finished => "finished an interrupted commit: the image is the new one",
        Recovery::Discarded => "discarded a journal in which there is nothing to finish: the image stays as it is",
    };
    let mut text = format!("{}: {said}\n", printable(&plan.source.image.display().to_string()));
    if let Some(Named { name, .. }) = unseen {
        let name = name.escape_ascii();
        text.push_str(&format!("its external data file \"{name}\" was not looked at: name it with --data-file FILE\n"));
    }
    print(text.as_bytes())?;
    Ok(Exit::Done)
}
