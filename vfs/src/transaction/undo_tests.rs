//! A commit is taken back to the byte, at every instant of a crash or not at all, and only from what it made.

#![allow(clippy::print_stderr, reason = "how many states were tried is what these tests have to say")]

use super::crash::{Clock, CrashHost, Disk, Failure, Lasts, Random, states};
use super::{Access, CommitPlan, Existing, Kept, NewFile, Proof, Recovery, Transaction, UndoFile, Undone};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Case {
    name: &'static str,
    plan: CommitPlan,
    old: Vec<u8>,
    new: Vec<u8>,
    writes: Vec<(u64, Vec<u8>)>,
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

fn case(name: &'static str, plan: CommitPlan, old: usize, new: usize, writes: Vec<(u64, Vec<u8>)>) -> Case {
    let mut old = bytes(42, old);
    old[12_288..16_384].fill(0);
    let mut expected = old.clone();
    expected.resize(new, 0);
    for (offset, bytes) in &writes {
        expected[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    Case { name, plan, old, new: expected, writes }
}

fn cases() -> [Case; 4] {
    let scattered = vec![(3, bytes(1, 3)), (9_000, bytes(3, 6000)), (24_400, bytes(4, 100))];
    let switch = |freed| CommitPlan::Switch { sector: 512, freed };
    [
        case("journal", CommitPlan::Journal, 24_501, 24_501, scattered),
        case("journal, large", CommitPlan::Journal, 2_700_000, 2_700_000, vec![(5000, bytes(5, 2_300_000))]),
        case("switch", switch(vec![]), 20_000, 40_000, vec![(512, bytes(1, 512)), (30_000, bytes(2, 10_000))]),
        case(
            "switch that frees",
            switch(vec![12_288..14_336, 2048..3072]),
            20_000,
            40_960,
            vec![(600, bytes(1, 9)), (30_000, bytes(2, 4096))],
        ),
    ]
}

impl Case {
    fn commit(&self, host: &CrashHost, undo: &Path) -> Result<Kept> {
        let new = NewFile::create(undo, Existing::Refuse)?;
        let txn = Transaction::over(Box::new(host.clone()), Access::Write)?;
        txn.overlay().grow(self.new.len() as u64)?;
        for (offset, bytes) in &self.writes {
            txn.overlay().write_at(bytes, *offset)?;
        }
        txn.commit_undoable(self.plan.clone(), new).map(|(_, kept)| kept)
    }

    /// The image after the commit, and its undo file.
    fn committed(&self, clock: Clock) -> (CrashHost, TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let undo = dir.path().join("undo");
        let host = CrashHost::with_clock(Disk::new(self.old.clone()), clock);
        assert_eq!(self.commit(&host, &undo).unwrap(), Kept::Sealed);
        assert!(host.disk().image == self.new, "{}: something was punched, or lost", self.name);
        assert_eq!(fs::metadata(&undo).unwrap().permissions().mode() & 0o7777, 0o600);
        (host, dir, undo)
    }

    /// Whether a recovered image is the old one; panics where it is neither.
    fn is_old(&self, image: &[u8], context: &str) -> bool {
        let old = match self.plan {
            CommitPlan::Journal => image == self.old,
            CommitPlan::Switch { .. } => image.get(..self.old.len()) == Some(&self.old),
        };
        assert!(old || image == self.new, "{}: neither the old nor the new image {context}", self.name);
        old
    }
}

fn undo(host: &CrashHost, file: &Path, proof: Proof) -> Result<Undone> {
    let file = UndoFile::open(file)?;
    Transaction::over(Box::new(host.clone()), Access::Write)?.undo(&file, proof).map(|(_, undone)| undone)
}

#[test]
fn an_undo_goes_back_to_the_byte() {
    for case in cases() {
        for clock in [Clock::Kept, Clock::Missing] {
            let (host, _dir, file) = case.committed(clock);
            assert_eq!(undo(&host, &file, Proof::Required).unwrap(), Undone::Done, "{}", case.name);
            assert!(host.disk().image == case.old, "{}", case.name);
            assert_eq!(host.disk().journal, None);
            assert_eq!(host.disk().modified, if clock == Clock::Kept { 0 } else { host.disk().modified });
            assert_eq!(undo(&host, &file, Proof::Required).unwrap(), Undone::Already, "{}", case.name);
        }
    }
}

#[test]
fn a_crash_of_an_undo_leaves_the_image_as_it_is_or_as_it_was() {
    let mut total = 0;
    for case in cases().into_iter().filter(|case| case.old.len() < 1 << 20) {
        let (host, _dir, file) = case.committed(Clock::Kept);
        let sealed = host.disk().modified;
        let before = host.disk();
        let host = CrashHost::new(before.clone());
        undo(&host, &file, Proof::Required).unwrap();
        let (_, log) = host.log();
        let (mut olds, mut refused) = (0, 0);
        let tried = states(&before, &log, 200, |disk| {
            let host = CrashHost::new(disk);
            let recovered = Transaction::over(Box::new(host.clone()), Access::Write).unwrap().recovered();
            let image = host.disk();
            let old = case.is_old(&image.image, "after a crash of an undo");
            olds += usize::from(old);
            // The same command again brings it to its end.
            match undo(&host, &file, Proof::Required) {
                Ok(undone) => {
                    let done = old && image.image.len() == case.old.len();
                    assert_eq!(undone == Undone::Already, done, "{recovered:?}");
                }
                Err(error) => {
                    refused += 1;
                    // The power failed when the time of the first write was on the disk, and no byte of it was.
                    assert!(!old && image.modified != sealed && error.kind() == ErrorKind::Denied, "{error:?}");
                    assert_eq!(host.disk(), image);
                    undo(&host, &file, Proof::Waived).unwrap();
                    assert!(host.disk().image == case.old, "after the second undo");
                }
            }
            assert!(host.disk().image == case.old, "after the second undo");
        });
        eprintln!("{}: {tried} states, {olds} old, {refused} refused", case.name);
        assert!(0 < olds && olds < tried && refused * 20 < tried, "{}", case.name);
        total += tried;
    }
    eprintln!("crash states of undos tried: {total}");
    assert!(total > 500);
}

#[test]
fn a_crash_of_the_commit_is_taken_back_or_has_changed_nothing() {
    for case in cases().into_iter().filter(|case| case.old.len() < 1 << 20) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("undo");
        let before = Disk::new(case.old.clone());
        let host = CrashHost::new(before.clone());
        case.commit(&host, &file).unwrap();
        let (_, log) = host.log();
        let (mut cut, mut news) = (0, 0);
        states(&before, &log, 200, |disk| {
            let (host, _) = recovered(disk);
            let image = host.disk().image;
            news += usize::from(!case.is_old(&image, "after a crash of a commit"));
            cut += usize::from(image.len() > case.old.len() && image.len() < case.new.len());
            undo(&host, &file, Proof::Waived).unwrap();
            assert!(host.disk().image == case.old, "{}: {} bytes before", case.name, image.len());
        });
        assert!(news > 0, "{}: no state was the new image", case.name);
        assert!(cut > 0 || case.plan == CommitPlan::Journal, "{}: no state had a part of the tail", case.name);
    }
}

fn faults() -> impl Iterator<Item = (Lasts, Failure)> {
    [Lasts::Once, Lasts::ForChanges, Lasts::Forever]
        .into_iter()
        .flat_map(|lasts| [Failure::Undone, Failure::Half, Failure::Done].map(|failure| (lasts, failure)))
}

/// The image as the next run finds it.
fn recovered(disk: Disk) -> (CrashHost, Recovery) {
    let host = CrashHost::new(disk);
    let recovered = Transaction::over(Box::new(host.clone()), Access::Write).unwrap().recovered();
    (host, recovered)
}

#[test]
fn a_commit_that_fails_leaves_no_undo_file_and_one_that_is_done_has_one() {
    let (mut failures, mut gone) = (0, 0);
    for case in cases() {
        for (lasts, failure) in faults().filter(|(lasts, _)| case.old.len() < 1 << 20 || *lasts == Lasts::ForChanges) {
            for call in 0.. {
                let dir = tempfile::tempdir().unwrap();
                let file = dir.path().join("undo");
                let host = CrashHost::new(Disk::new(case.old.clone()));
                host.fail_at(call, lasts, failure, io::ErrorKind::Other);
                let result = case.commit(&host, &file);
                if !host.has_failed() {
                    break;
                }
                failures += 1;
                let context = format!("call {call} ({lasts:?}, {failure:?}): {result:?}");
                let (host, _) = recovered(host.disk());
                let old = case.is_old(&host.disk().image, &context);
                match &result {
                    Ok(kept) => assert!(!old && file.exists() && *kept == Kept::Sealed, "{}: {context}", case.name),
                    Err(error) if error.kind() == ErrorKind::Unfinished => assert!(file.exists(), "{context}"),
                    Err(_) => {
                        gone += 1;
                        assert!(old && !file.exists(), "{}: {context}", case.name);
                        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
                    }
                }
                if file.exists() {
                    undo(&host, &file, Proof::Waived).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                    assert!(case.is_old(&host.disk().image, &context), "{context}");
                }
            }
        }
    }
    eprintln!("failing calls of undoable commits: {failures}, of which {gone} left the old image and no undo file");
    assert!(failures > 200 && gone > 100);
}

#[test]
fn an_undo_that_fails_can_be_repeated() {
    let mut failures = 0;
    for case in cases().into_iter().filter(|case| case.old.len() < 1 << 20) {
        for (lasts, failure) in faults() {
            for call in 0.. {
                let (host, _dir, file) = case.committed(Clock::Kept);
                host.fail_at(call, lasts, failure, io::ErrorKind::Other);
                let result = undo(&host, &file, Proof::Required);
                if !host.has_failed() {
                    break;
                }
                failures += 1;
                let context = format!("call {call} ({lasts:?}, {failure:?}): {result:?}");
                let (host, _) = recovered(host.disk());
                let old = case.is_old(&host.disk().image, &context);
                match &result {
                    Ok(_) => assert!(old, "{context}"),
                    Err(error) if error.kind() == ErrorKind::Io => assert!(!old, "{}: {context}", case.name),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unfinished, "{context}"),
                }
                // What a failed undo has written and taken back counts as written: the caller has to know.
                undo(&host, &file, Proof::Required).map_or_else(
                    |error| assert_eq!(error.kind(), ErrorKind::Denied, "{context}: {error:?}"),
                    |_| assert!(case.is_old(&host.disk().image, &context)),
                );
            }
        }
    }
    eprintln!("failing calls of undos tried: {failures}");
    assert!(failures > 100);
}

/// Undoing gives this error, and touches nothing.
fn refused(host: &CrashHost, file: &Path, kind: ErrorKind) -> Error {
    let before = host.disk();
    let error = undo(host, file, Proof::Required).unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.hint().is_some(), "{error:?}");
    assert_eq!(host.disk(), before, "{error:?}");
    error
}

#[test]
fn every_cut_and_every_flipped_byte_of_an_undo_file_is_seen() {
    for case in cases().into_iter().filter(|case| case.old.len() < 1 << 20) {
        let (host, _dir, file) = case.committed(Clock::Kept);
        let whole = fs::read(&file).unwrap();
        let body = whole.len() - 64;
        for len in (0..whole.len()).step_by(241).chain(body - 3..whole.len()) {
            fs::write(&file, &whole[..len]).unwrap();
            let kind = match len {
                0..8 => ErrorKind::Denied,
                _ if len < body => ErrorKind::Corrupt,
                // Whole, and without its seal.
                _ => ErrorKind::Denied,
            };
            refused(&host, &file, kind);
        }
        for at in (0..whole.len()).step_by(151).chain(0..104).chain(body - 32..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            let kind = if at < 8 || at >= body { ErrorKind::Denied } else { ErrorKind::Corrupt };
            // Four bytes of the seal are for nothing; its checksum covers them.
            refused(&host, &file, kind);
        }
        fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
        refused(&host, &file, ErrorKind::Corrupt);
        fs::write(&file, &whole).unwrap();
        assert_eq!(undo(&host, &file, Proof::Required).unwrap(), Undone::Done);
    }
}

#[test]
fn an_image_that_was_written_to_is_left_alone() {
    let touch = |host: &CrashHost, at: usize| {
        let mut disk = host.disk();
        disk.image[at] ^= 0x80;
        disk.modified += 1;
        disk
    };
    for case in cases() {
        for clock in [Clock::Kept, Clock::Missing] {
            let (host, _dir, file) = case.committed(clock);
            // Elsewhere: only the time, or the checksum of everything, tells. In what was written: the sectors do.
            for at in [700, 5001, 8_999, 13_000, 19_000] {
                let touched = CrashHost::with_clock(touch(&host, at), clock);
                let error = refused(&touched, &file, ErrorKind::Denied);
                assert!(error.to_string().contains("undo"), "{error}");
            }
            // A time alone that differs is enough, since what was written may be where nobody looks.
            let mut disk = host.disk();
            disk.modified += 1;
            let touched = CrashHost::with_clock(disk, clock);
            match clock {
                Clock::Kept => drop(refused(&touched, &file, ErrorKind::Denied)),
                Clock::Missing => assert_eq!(undo(&touched, &file, Proof::Required).unwrap(), Undone::Done),
            }
            let mut disk = host.disk();
            disk.image.truncate(case.old.len() - 1);
            refused(&CrashHost::with_clock(disk, clock), &file, ErrorKind::Denied);
        }
        // Another image of the same size and time.
        let (host, _dir, file) = case.committed(Clock::Kept);
        let mut foreign = host.disk();
        foreign.image = bytes(99, case.new.len());
        refused(&CrashHost::new(foreign), &file, ErrorKind::Denied);
    }
}

/// A part of the commit taken back by somebody else is no state that this tool leaves, whatever the caller's word.
#[test]
fn half_of_a_commit_is_not_undone() {
    let [case, ..] = cases();
    let (host, _dir, file) = case.committed(Clock::Kept);
    let mut disk = host.disk();
    disk.image[24_064..24_501].copy_from_slice(&case.old[24_064..24_501]);
    for proof in [Proof::Required, Proof::Waived] {
        let half = CrashHost::new(disk.clone());
        let error = undo(&half, &file, proof).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("a part of it is as before the commit"), "{error}");
        assert_eq!(half.disk(), disk);
    }
}

#[test]
fn what_was_freed_must_still_be_there() {
    let [.., case] = cases();
    let (host, _dir, file) = case.committed(Clock::Kept);
    let mut disk = host.disk();
    disk.image[2_500] ^= 1;
    refused(&CrashHost::new(disk), &file, ErrorKind::Denied);
}

/// The caller's word does not stand for what the commit has written, past the old end of a qcow2 image too.
#[test]
fn what_was_written_must_still_be_there() {
    for case in cases() {
        let at = if case.old.len() == case.new.len() { 9_100 } else { 35_000 };
        let (host, _dir, file) = case.committed(Clock::Kept);
        let mut disk = host.disk();
        disk.image[at] ^= 1;
        let host = CrashHost::new(disk);
        refused(&host, &file, ErrorKind::Denied);
        assert_eq!(undo(&host, &file, Proof::Waived).unwrap_err().kind(), ErrorKind::Denied, "{}", case.name);
    }
}

#[test]
fn an_undo_file_that_others_can_write_to_is_not_used() {
    let [case, ..] = cases();
    let (host, dir, file) = case.committed(Clock::Kept);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o620)).unwrap();
    refused(&host, &file, ErrorKind::Denied);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let second = dir.path().join("second");
    fs::hard_link(&file, &second).unwrap();
    refused(&host, &file, ErrorKind::Denied);
    fs::remove_file(&second).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(4711), None).unwrap();
        refused(&host, &file, ErrorKind::Denied);
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    }
    assert_eq!(undo(&host, &file, Proof::Required).unwrap(), Undone::Done);
}

#[test]
fn an_undo_file_that_changes_after_it_was_opened_is_not_used() {
    for case in cases() {
        let (host, _dir, file) = case.committed(Clock::Kept);
        let opened = UndoFile::open(&file).unwrap();
        let whole = fs::read(&file).unwrap();
        // The last byte of the records: of what was there before, or of a checksum.
        let at = whole.len() - 64 - 32 - 1;
        OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&[whole[at] ^ 1], at as u64).unwrap();
        let before = host.disk();
        let txn = Transaction::over(Box::new(host.clone()), Access::Write).unwrap();
        let error = txn.undo(&opened, Proof::Waived).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error:?}", case.name);
        assert!(host.disk() == before, "{}", case.name);
    }
}

#[test]
fn undo_files_of_one_run_after_the_other_go_back_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let mut versions = vec![bytes(3, 100_000)];
    fs::write(&image, &versions[0]).unwrap();
    let path = |run: usize| dir.path().join(format!("undo-{run}"));
    for run in 0..3 {
        let txn = Transaction::begin(&image, Access::Write).unwrap();
        txn.overlay().write_at(&bytes(run as u64 + 7, 9_000), run as u64 * 3_000).unwrap();
        let new = NewFile::create(&path(run), Existing::Refuse).unwrap();
        assert_eq!(txn.commit_undoable(CommitPlan::Journal, new).unwrap().1, Kept::Sealed);
        versions.push(fs::read(&image).unwrap());
    }
    let back = |run: usize, proof| {
        let txn = Transaction::begin(&image, Access::Write).unwrap();
        txn.undo(&UndoFile::open(&path(run)).unwrap(), proof).map(|(_, undone)| undone)
    };
    assert_eq!(back(0, Proof::Waived).unwrap_err().kind(), ErrorKind::Denied);
    for run in [2, 1, 0] {
        assert_eq!(back(run, Proof::Required).unwrap(), Undone::Done);
        assert!(fs::read(&image).unwrap() == versions[run]);
    }
    // Nothing to write, nothing to take back.
    let txn = Transaction::begin(&image, Access::Write).unwrap();
    let new = NewFile::create(&path(9), Existing::Refuse).unwrap();
    assert_eq!(txn.commit_undoable(CommitPlan::Journal, new).unwrap().1, Kept::Nothing);
    assert!(!path(9).exists());
}

/// The seal's time tells of a write that follows at once.
#[test]
fn a_write_right_after_the_commit_has_another_time() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    for run in 0..20 {
        fs::write(&image, bytes(3, 100_000)).unwrap();
        let path = dir.path().join(format!("undo-{run}"));
        let txn = Transaction::begin(&image, Access::Write).unwrap();
        txn.overlay().write_at(&bytes(run + 7, 9_000), 3_000).unwrap();
        let new = NewFile::create(&path, Existing::Refuse).unwrap();
        txn.commit_undoable(CommitPlan::Journal, new).unwrap();
        OpenOptions::new().write(true).open(&image).unwrap().write_all_at(b"guest", 60_000).unwrap();
        let txn = Transaction::begin(&image, Access::Write).unwrap();
        let error = txn.undo(&UndoFile::open(&path).unwrap(), Proof::Required).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    }
}

#[test]
fn what_is_no_undo_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(UndoFile::open(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(UndoFile::open(dir.path()).unwrap_err().kind(), ErrorKind::WrongType);
    let path = dir.path().join("file");
    fs::write(&path, "dear diary").unwrap();
    assert_eq!(UndoFile::open(&path).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(NewFile::create(&path, Existing::Refuse).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(fs::read(&path).unwrap(), b"dear diary");
}
