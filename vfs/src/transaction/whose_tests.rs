//! Which image a journal belongs to: the file that it was made for, and no other one of its name.

use super::record::{HEADER, Header, Opening};
use super::recover_tests::{interrupted, interrupted_at, interrupted_with};
use super::{Access, CommitPlan, Existing, Recovery, StateDir, Transaction, recover};
use crate::block::BlockDevice;
use crate::error::ErrorKind;
use crate::image::{Backing, Destination, Edit, Format, Source, open_chain};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

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

fn names(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

/// A journal goes with its file, and not with the file's name.
#[test]
fn an_image_is_known_by_another_name() {
    for link in [fs::rename as fn(PathBuf, PathBuf) -> io::Result<()>, |from, to| fs::hard_link(from, to)] {
        let run = interrupted();
        run.write(&run.new[4096..8192], 4096);
        // Another image, with its own.
        let other = run.dir.path().join("other");
        fs::write(&other, &run.old).unwrap();
        let neighbour = interrupted_at(&other, &StateDir::default());
        let second = run.dir.path().join("second");
        link(run.image.clone(), second.clone()).unwrap();
        let error = Transaction::begin(&second, Access::Read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
        assert!(error.hint().unwrap().contains("imgraft recover"), "{error:?}");
        assert!(fs::read(&second).unwrap() != run.new && run.journal.exists());
        assert_eq!(recover(&second, &StateDir::default()).unwrap(), Recovery::Finished);
        assert!(fs::read(&second).unwrap() == run.new);
        assert_eq!(recover(&second, &StateDir::default()).unwrap(), Recovery::Nothing);
        assert!(!run.journal.exists() && neighbour.journal.exists());
        assert_eq!(recover(&other, &StateDir::default()).unwrap(), Recovery::Finished);
    }
}

/// In a state directory the name is made of the image's path, which may be another one: of a bind mount, say.
#[test]
fn a_state_directory_is_looked_through_for_the_image() {
    let place = tempfile::tempdir().unwrap();
    let state = |chosen: Option<&Path>, usual: Option<&Path>| StateDir {
        chosen: chosen.map(Path::to_path_buf),
        usual: usual.map(Path::to_path_buf),
    };
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let run = interrupted_with(&state(Some(&first), Some(&second)));
    run.write(&run.new[4096..8192], 4096);
    let moved = run.dir.path().join("elsewhere");
    fs::create_dir(&moved).unwrap();
    let moved = moved.join("moved");
    fs::rename(&run.image, &moved).unwrap();
    for (at, usual) in [(None, Some(&first)), (Some(&second), Some(&first))] {
        for access in [Access::Read, Access::Write] {
            let state = state(at.map(PathBuf::as_path), usual.map(PathBuf::as_path));
            let error = Transaction::begin_with(&moved, access, &state).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
            assert!(error.hint().unwrap().contains(first.to_str().unwrap()), "{error:?}");
        }
    }
    assert_eq!(recover(&moved, &state(Some(&first), None)).unwrap(), Recovery::Finished);
    assert!(fs::read(&moved).unwrap() == run.new);
    assert_eq!(names(&first), 0);
}

/// A journal beside one name says nothing to who comes by another one, in another directory.
#[test]
fn a_raw_image_with_two_names_is_changed_only_with_a_state_directory() {
    let run = interrupted();
    assert_eq!(recover(&run.image, &StateDir::default()).unwrap(), Recovery::Finished);
    let elsewhere = run.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::hard_link(&run.image, elsewhere.join("second")).unwrap();
    let state = StateDir { chosen: Some(run.dir.path().join("state")), usual: None };
    let commit = |state: &StateDir| {
        let txn = Transaction::begin_with(&run.image, Access::Write, state)?;
        txn.overlay().write_at(b"more", 7000)?;
        txn.commit(CommitPlan::Journal)
    };
    let error = commit(&StateDir::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.hint().unwrap().contains("--state-dir"), "{error:?}");
    assert!(run.image() == run.new);
    assert_eq!(names(run.dir.path()), 2);
    commit(&state).unwrap();
    assert_eq!(&run.image()[7000..7004], b"more");
    fs::remove_file(elsewhere.join("second")).unwrap();
    commit(&StateDir::default()).unwrap();
}

/// Makes another journal of it, by its header.
fn change(journal: &Path, change: impl FnOnce(&mut Header)) {
    let mut bytes = fs::read(journal).unwrap();
    let Opening::Header(mut header) = Header::decode(&bytes[..HEADER]) else { panic!("no header") };
    change(&mut header);
    bytes[..HEADER].copy_from_slice(&header.encode());
    fs::write(journal, bytes).unwrap();
}

/// The inode of a file that is gone goes to the next one: its journal may be the only one of a file that was half written,
/// and moved to another filesystem.
#[test]
fn a_journal_of_a_file_that_is_gone_is_not_taken_over() {
    for larger in [0, 512] {
        let run = interrupted();
        let whole = fs::read(&run.journal).unwrap();
        let second = run.dir.path().join("second");
        fs::rename(&run.image, &second).unwrap();
        let made = |born: u64| {
            run.leave(&whole);
            change(&run.journal, |header| {
                assert_ne!(header.stamp.identity.born, 0);
                header.stamp.identity.born = born;
                header.image_size += larger;
            });
            // As the new file is: written to later.
            fs::write(&second, &run.old).unwrap();
        };
        made(1);
        Transaction::begin(&second, Access::Read).unwrap();
        let txn = Transaction::begin(&second, Access::Write).unwrap();
        assert_eq!(txn.recovered(), Recovery::Nothing);
        txn.overlay().write_at(b"more", 7000).unwrap();
        txn.commit(CommitPlan::Journal).unwrap();
        assert!(run.journal.exists() && names(run.dir.path()) == 2);
        // Where no time of birth tells, neither is it taken.
        made(0);
        for access in [Access::Read, Access::Write] {
            let error = Transaction::begin(&second, access).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
            assert!(error.hint().unwrap().contains("gone for good, remove the journal"), "{error:?}");
        }
        assert!(run.journal.exists() && names(run.dir.path()) == 2);
        // Under the name of its image it is refused.
        fs::rename(&second, &run.image).unwrap();
        made(1);
        fs::rename(&second, &run.image).unwrap();
        run.refused(ErrorKind::Denied);
    }
}

/// Archives and downloads give files times of whole seconds, and the numbers of devices change what filesystems are called.
#[test]
fn a_file_with_a_time_of_whole_seconds_is_not_called_another_one() {
    let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (time, expected) in [(whole, Recovery::Discarded), (whole + Duration::from_nanos(1), Recovery::Finished)] {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.img");
        fs::write(&image, vec![3; 100_000]).unwrap();
        OpenOptions::new().write(true).open(&image).unwrap().set_modified(time).unwrap();
        let run = interrupted_at(&image, &StateDir::default());
        change(&run.journal, |header| {
            header.stamp.identity.thing ^= 1;
            header.stamp.identity.born = 0;
        });
        run.recovers(expected, if expected == Recovery::Finished { &run.new } else { &run.old });
    }
    // The time of birth is enough.
    let run = interrupted();
    change(&run.journal, |header| header.stamp.identity.thing ^= 1);
    run.write(&run.old[..512], 0);
    run.recovers(Recovery::Discarded, &run.old);
}

/// A journal of before its header said more than the inode.
#[test]
fn an_old_journal_is_finished_by_its_name() {
    let run = interrupted();
    change(&run.journal, |header| {
        let identity = &mut header.stamp.identity;
        (identity.thing, identity.born, identity.start) = (0, 0, 0);
    });
    run.recovers(Recovery::Finished, &run.new);
}

#[test]
fn a_state_directory_is_one_however_it_is_spelled() {
    let place = tempfile::tempdir().unwrap();
    let (state, link) = (place.path().join("state"), place.path().join("link"));
    fs::create_dir(&state).unwrap();
    symlink(&state, &link).unwrap();
    let spelled = StateDir { chosen: Some(link), usual: Some(state.clone()) };
    let run = interrupted_with(&StateDir { chosen: Some(state.clone()), usual: None });
    run.write(&run.new[4096..8192], 4096);
    assert_eq!(recover(&run.image, &spelled).unwrap(), Recovery::Finished);
    assert!(run.image() == run.new);
    assert_eq!(names(&state), 0);
}

/// Images may lie in the directory that is taken for the journals of devices.
#[test]
fn the_usual_state_directory_may_be_that_of_the_image() {
    let run = interrupted();
    run.write(&run.new[4096..8192], 4096);
    let state = StateDir { chosen: None, usual: Some(run.dir.path().to_path_buf()) };
    assert_eq!(recover(&run.image, &state).unwrap(), Recovery::Finished);
    assert!(run.image() == run.new);
    assert_eq!(names(run.dir.path()), 1);
}
