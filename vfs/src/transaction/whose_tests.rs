//! Which image a journal belongs to: the file that it was made for, and no other one of its name.

use super::recover_tests::{interrupted, interrupted_with};
use super::{Access, Existing, Recovery, StateDir, Transaction};
use crate::error::ErrorKind;
use crate::image::{Backing, Destination, Edit, Format, Source, open_chain};
use std::fs;

/// Another file with the same bytes in the place of one that may be half written, wherever it is.
#[test]
fn a_journal_of_a_file_that_was_moved_is_kept() {
    for damage in [None, Some(20)] {
        let run = interrupted();
        let whole = fs::read(&run.journal).unwrap();
        if let Some(at) = damage {
            let mut bytes = whole.clone();
            // In the trailer: the header says whose it is.
            let at = bytes.len() - at;
            bytes[at] ^= 1;
            run.leave(&bytes);
        }
        let moved = run.dir.path().join("elsewhere").join("moved");
        fs::create_dir(moved.parent().unwrap()).unwrap();
        fs::rename(&run.image, &moved).unwrap();
        fs::write(&run.image, &run.old).unwrap();
        run.refused(ErrorKind::Denied);
        run.leave(&whole);
        fs::rename(&moved, &run.image).unwrap();
        run.write(&run.new[49_152..51_200], 49_152);
        run.recovers(Recovery::Finished, &run.new);
    }
}

/// What a run is told of journals counts for every file that the image brings along.
#[test]
fn a_state_directory_counts_for_the_backing_files_too() {
    let place = tempfile::tempdir().unwrap();
    let state = StateDir { chosen: Some(place.path().join("state")), usual: None };
    let run = interrupted_with(&state);
    assert!(run.journal.starts_with(place.path()));
    let kept = place.path().join("kept");
    fs::rename(&run.journal, &kept).unwrap();
    let top = run.dir.path().join("top.qcow2");
    let base = Source {
        image: run.image.clone(),
        format: Some(Format::Raw),
        backing: Backing::Deny,
        data_file: None,
        state: state.clone(),
    };
    let thin = Edit::begin(&base, &Destination::Overlay(top.clone(), Existing::Refuse), Access::Read).unwrap();
    let plan = thin.finish().unwrap();
    thin.commit(plan, &mut |_, _| {}).unwrap();
    let open = |state: &StateDir| {
        let txn = Transaction::begin_with(&top, Access::Read, state)?;
        open_chain(txn.overlay(), &top, None, &Backing::Within(Vec::new()), state)
    };
    open(&state).unwrap();
    fs::rename(&kept, &run.journal).unwrap();
    let error = open(&state).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
    assert!(error.hint().unwrap().contains("imgraft recover --state-dir"), "{error:?}");
}
