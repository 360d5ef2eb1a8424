//! One file, reached by itself and by loop devices over it: one lock, and one journal.

use super::crash_kinds::text;
use super::recover_tests::{SIZE, interrupted_at};
use super::{Access, CommitPlan, Recovery, StateDir, Transaction, recover};
use crate::block::BlockDevice;
use crate::error::ErrorKind;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

fn losetup(words: &[&str]) -> Option<Output> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new("losetup").args(words).env("PATH", path).output().ok()
}

/// Held by each test: who asks for a free loop device takes hold, for a moment, of one that another test uses.
static ALONE: Mutex<()> = Mutex::new(());

/// A loop device, until it is dropped.
struct Loop(PathBuf);

impl Loop {
    /// `None`, and a skip, where this process may not have one.
    fn new(file: &Path, options: &[&str]) -> Option<Self> {
        let words = [&["-f", "--show"], options, &[text(file)]].concat();
        let output = losetup(&words).filter(|output| output.status.success());
        let Some(output) = output else {
            assert!(std::env::var_os("REQUIRE_ORACLES").is_none_or(|value| value != "1"), "no loop device");
            #[allow(clippy::print_stderr, reason = "a skip has to be seen")]
            {
                eprintln!("skipped: no loop device");
            }
            return None;
        };
        Some(Self(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let backing = Path::new("/sys/block").join(self.0.file_name().unwrap()).join("loop/backing_file");
        let file = fs::read(&backing).unwrap_or_default();
        // Somebody may still look at it, and then it goes when he is done.
        for _ in 0..100 {
            let detached = losetup(&["-d", text(&self.0)]).is_some_and(|output| output.status.success());
            if detached && fs::read(&backing).map_or(true, |now| now != file) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The directory of a test that has the loop devices for itself.
struct Dir {
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// A file, and a state directory for journals that have no place beside it.
fn file() -> (Dir, PathBuf, Vec<u8>, StateDir) {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let old: Vec<u8> = (0..SIZE as u32).map(|i| (i / 512 + i) as u8).collect();
    fs::write(&image, &old).unwrap();
    let state = StateDir { chosen: None, usual: Some(dir.path().join("state")) };
    (Dir { dir, _alone: alone }, image, old, state)
}

/// The beginning of the commit, as a run that was killed leaves it.
fn half(image: &Path, new: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(&new[4096..8192], 4096).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_file_and_a_loop_device_over_it_have_one_journal() {
    let (_dir, image, old, state) = file();
    // Interrupted by the file, found by the device; and the other way round.
    for through_device in [false, true] {
        fs::write(&image, &old).unwrap();
        let new = match through_device {
            false => interrupted_at(&image, &state).new,
            true => {
                let Some(attached) = Loop::new(&image, &[]) else { return };
                interrupted_at(&attached.0, &state).new
            }
        };
        half(&image, &new);
        if through_device {
            let error = Transaction::begin_with(&image, Access::Read, &state).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
            assert_eq!(recover(&image, &state).unwrap(), Recovery::Finished);
        } else {
            let Some(attached) = Loop::new(&image, &[]) else { return };
            let error = Transaction::begin_with(&attached.0, Access::Read, &state).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
            assert_eq!(recover(&attached.0, &state).unwrap(), Recovery::Finished);
        }
        assert!(fs::read(&image).unwrap() == new, "through the device first: {through_device}");
    }
}

/// The journal of a part speaks of other offsets: it is not applied, and neither way goes on without it.
#[test]
fn a_part_of_a_file_and_all_of_it_see_each_other_s_journals() {
    let (dir, image, old, state) = file();
    let part = ["-o", "4096", "--sizelimit", "65536"];
    let chosen = StateDir { chosen: state.usual.clone(), usual: None };
    let beside = StateDir { chosen: Some(dir.dir.path().to_path_buf()), usual: None };
    for state in [&state, &chosen, &beside] {
        let run = {
            let Some(attached) = Loop::new(&image, &part) else { return };
            interrupted_at(&attached.0, state)
        };
        for access in [Access::Read, Access::Write] {
            let error = Transaction::begin_with(&image, access, state).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
            assert!(error.to_string().contains("shares its bytes"), "{error:?}");
            assert!(error.hint().unwrap().contains("imgraft recover"), "{error:?}");
        }
        {
            let attached = Loop::new(&image, &part).unwrap();
            recover(&attached.0, state).unwrap();
        }
        assert!(!run.journal.exists());
        fs::write(&image, &old).unwrap();

        let run = interrupted_at(&image, state);
        let attached = Loop::new(&image, &part).unwrap();
        for access in [Access::Read, Access::Write] {
            let error = Transaction::begin_with(&attached.0, access, state).unwrap_err();
            assert!(error.to_string().contains("shares its bytes"), "{error:?}");
        }
        drop(attached);
        recover(&image, state).unwrap();
        assert!(fs::read(&image).unwrap() == run.new);
        fs::write(&image, &old).unwrap();
    }
}

/// Parts of one file are in each other's way where they share bytes.
#[test]
fn parts_that_share_no_bytes_do_not_see_each_other_s_journals() {
    let (_dir, image, mut old, state) = file();
    old.extend_from_within(..);
    fs::write(&image, &old).unwrap();
    let part = |start| Loop::new(&image, &["-o", start, "--sizelimit", "65536"]);
    let run = {
        let Some(attached) = part("4096") else { return };
        interrupted_at(&attached.0, &state)
    };
    {
        let beside = part("69632").unwrap();
        let txn = Transaction::begin_with(&beside.0, Access::Write, &state).unwrap();
        txn.overlay().write_at(b"beside", 0).unwrap();
        txn.commit(CommitPlan::Journal).unwrap();
        Transaction::begin_with(&beside.0, Access::Read, &state).unwrap();
    }
    for start in ["69120", "512"] {
        let over = part(start).unwrap();
        for access in [Access::Read, Access::Write] {
            let error = Transaction::begin_with(&over.0, access, &state).unwrap_err();
            assert!(error.to_string().contains("shares its bytes"), "{start}: {error:?}");
        }
    }
    assert!(run.journal.exists());
    assert_eq!(&fs::read(&image).unwrap()[69_632..69_638], b"beside");
}

/// What a part is of is the file, and not the file's name.
#[test]
fn a_part_is_known_when_its_file_has_another_name() {
    let (dir, image, old, state) = file();
    let part = ["-o", "4096", "--sizelimit", "65536"];
    for begun in [false, true] {
        fs::write(&image, &old).unwrap();
        let run = {
            let Some(attached) = Loop::new(&image, &part) else { return };
            let run = interrupted_at(&attached.0, &state);
            if begun {
                half(&attached.0, &run.new);
            }
            run
        };
        let second = dir.dir.path().join("second");
        fs::rename(&image, &second).unwrap();
        let attached = Loop::new(&second, &part).unwrap();
        let error = Transaction::begin_with(&attached.0, Access::Read, &state).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
        let expected = if begun { Recovery::Finished } else { Recovery::Discarded };
        assert_eq!(recover(&attached.0, &state).unwrap(), expected);
        drop(attached);
        let now = fs::read(&second).unwrap();
        let middle = if begun { &run.new } else { &run.old };
        assert!(now[4096..69_632] == middle[..] && now[..4096] == old[..4096] && now[69_632..] == old[69_632..]);
        assert!(!run.journal.exists() && fs::read_dir(state.usual.as_ref().unwrap()).unwrap().next().is_none());
        fs::rename(&second, &image).unwrap();
    }
}

/// Who has the file, by itself or by another loop device, is noticed by who comes through one, and notices him.
#[test]
fn the_file_under_a_loop_device_is_locked() {
    let (_dir, image, _, state) = file();
    let Some(attached) = Loop::new(&image, &["-r"]) else { return };
    // A read-only device keeps nobody out; who reads by it is seen all the same.
    let reader = Transaction::begin_with(&attached.0, Access::Read, &state).unwrap();
    let error = Transaction::begin_with(&image, Access::Write, &state).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
    drop(reader);
    let writer = Transaction::begin_with(&image, Access::Write, &state).unwrap();
    let error = Transaction::begin_with(&attached.0, Access::Read, &state).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
    drop((writer, attached));

    let attached = Loop::new(&image, &[]).unwrap();
    let txn = Transaction::begin_with(&attached.0, Access::Write, &state).unwrap();
    assert_eq!(Transaction::begin_with(&image, Access::Read, &state).unwrap_err().kind(), ErrorKind::InUse);
    txn.overlay().write_at(b"by the device", 5000).unwrap();
    txn.commit(CommitPlan::Journal).unwrap();
    let second = Loop::new(&image, &[]).unwrap();
    let error = Transaction::begin_with(&attached.0, Access::Write, &state).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
    assert!(error.to_string().contains(text(&second.0)), "{error:?}");
    drop(second);
    Transaction::begin_with(&attached.0, Access::Write, &state).unwrap();
    drop(attached);
    assert_eq!(&fs::read(&image).unwrap()[5000..5013], b"by the device");
}
