//! `imgraft undo`: a run of inject or sysprep is taken back.

use super::print;
use crate::failure::{Exit, Failure, printable};
use crate::plan::Undo;
use imgraft_vfs::transaction::{Access, Transaction, UndoFile, Undone};

pub(super) fn run(plan: &Undo) -> Result<Exit, Failure> {
    let file = UndoFile::open(&plan.file)?;
    let txn = Transaction::begin_with(&plan.image, Access::Write, &plan.state)?;
    let (_, undone) = txn.undo(&file, plan.proof)?;
    let said = match undone {
        Undone::Done => "the run is undone: the image is as it was before",
        Undone::Already => "nothing to undo: what the run had changed is as it was before",
    };
    print(format!("{}: {said}\n", printable(&plan.image.display().to_string())).as_bytes())?;
    Ok(Exit::Done)
}
