//! Recovery from journals that a file of the host has beside it, honest and hostile ones.

use super::base::Base;
use super::crash::{Clock, CrashHost, Disk, Op};
use super::file::FileHost;
use super::journal::Left;
use super::overlay::Overlay;
use super::record::{HEADER, RECORD_HEADER};
use super::{Access, CommitPlan, Recovery, StateDir, Transaction, changes, journal, recover};
use crate::block::BlockDevice;
use crate::error::ErrorKind;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// An image with a complete journal beside it, as a run that was killed before it applied it leaves them.
pub(super) struct Interrupted {
    pub(super) dir: TempDir,
    pub(super) image: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) old: Vec<u8>,
    pub(super) new: Vec<u8>,
}

pub(super) fn interrupted() -> Interrupted {
    interrupted_with(&StateDir::default())
}

/// The same, where the journal lies where this says.
pub(super) fn interrupted_with(state: &StateDir) -> Interrupted {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let old: Vec<u8> = (0..100_000_u32).map(|i| (i / 512 + i) as u8).collect();
    fs::write(&image, &old).unwrap();
    Interrupted { dir, ..interrupted_at(&image, state) }
}

/// The size of an image that can be on a loop device.
pub(super) const SIZE: usize = 102_400;

/// The same of an image that is there, at least 65,536 bytes long.
pub(super) fn interrupted_at(image: &Path, state: &StateDir) -> Interrupted {
    let (dir, image) = (tempfile::tempdir().unwrap(), image.to_path_buf());
    let old = fs::read(&image).unwrap();
    let mut new = old.clone();
    new[5000..5009].copy_from_slice(b"a new one");
    new[50_000..60_000].fill(7);

    let base = Arc::new(Base::new(Box::new(FileHost::open(&image, Access::Write, state).unwrap())).unwrap());
    let overlay = Overlay::new(Arc::clone(&base) as _);
    overlay.write_at(&new, 0).unwrap();
    let changed = changes::in_pages(&changes::changed(&overlay).unwrap(), base.size());
    assert_eq!(changed, [4096..8192, 49_152..61_440]);
    journal::write(&base, &overlay, &changed, Left::Nothing, || Ok(())).unwrap();
    let journal = base.journal_name().into();
    assert_eq!(fs::metadata(&journal).unwrap().permissions().mode() & 0o7777, 0o600);
    Interrupted { dir, image, journal, old, new }
}

impl Interrupted {
    pub(super) fn image(&self) -> Vec<u8> {
        fs::read(&self.image).unwrap()
    }

    /// Puts a journal beside the image.
    pub(super) fn leave(&self, journal: &[u8]) {
        fs::write(&self.journal, journal).unwrap();
        fs::set_permissions(&self.journal, Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) {
        OpenOptions::new().write(true).open(&self.image).unwrap().write_all_at(bytes, offset).unwrap();
    }

    /// Recovery refuses with this kind, twice, names the journal, and leaves both files alone.
    pub(super) fn refused(&self, kind: ErrorKind) {
        let before = self.image();
        for _ in 0..2 {
            let error = recover(&self.image, &StateDir::default()).unwrap_err();
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(format!("{error:?}").contains("journal"), "{error:?}");
            assert!(error.hint().is_some(), "{error:?}");
        }
        assert_eq!(self.image(), before);
        assert!(fs::symlink_metadata(&self.journal).is_ok());
    }

    pub(super) fn recovers(&self, expected: Recovery, bytes: &[u8]) {
        assert_eq!(recover(&self.image, &StateDir::default()).unwrap(), expected);
        assert!(self.image() == bytes);
        assert!(fs::symlink_metadata(&self.journal).is_err(), "the journal is still there");
        assert_eq!(recover(&self.image, &StateDir::default()).unwrap(), Recovery::Nothing);
        Transaction::begin(&self.image, Access::Read).unwrap();
    }
}

#[test]
fn a_complete_journal_is_finished_by_the_next_writer_alone() {
    let run = interrupted();
    let error = Transaction::begin(&run.image, Access::Read).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.hint().unwrap().contains("imgraft recover"), "{error:?}");
    assert!(run.image() == run.old);
    let txn = Transaction::begin(&run.image, Access::Write).unwrap();
    assert_eq!(txn.recovered(), Recovery::Finished);
    let mut seen = [0; 9];
    txn.overlay().read_at(&mut seen, 5000).unwrap();
    assert_eq!(&seen, b"a new one");
    txn.overlay().write_at(b"and more", 0).unwrap();
    txn.commit(CommitPlan::Journal).unwrap();
    assert!(run.image()[8..] == run.new[8..]);
    assert_eq!(fs::read_dir(run.dir.path()).unwrap().count(), 1);
}

#[test]
fn a_half_applied_journal_is_finished_even_when_the_image_moved() {
    let run = interrupted();
    run.write(&run.new[49_152..51_200], 49_152);
    let copy = run.dir.path().join("copy");
    fs::copy(&run.image, &copy).unwrap();
    fs::rename(&copy, &run.image).unwrap();
    run.recovers(Recovery::Finished, &run.new);
}

/// A journal as a crash leaves it before it has its header.
fn without_header(whole: &[u8]) -> Vec<u8> {
    [&[0; HEADER], &whole[HEADER..]].concat()
}

#[test]
fn a_journal_that_was_never_durable_is_discarded() {
    let run = interrupted();
    let whole = fs::read(&run.journal).unwrap();
    let torn = without_header(&whole);
    let cuts =
        (0..whole.len()).step_by(97).chain([0, 1, 511, 512, 513, whole.len() - 1]).map(|len| torn[..len].to_vec());
    // The length has arrived, and some of the sectors.
    let holes = (0..whole.len() / 512).map(|sector| {
        let mut bytes = torn.clone();
        bytes[sector * 512..][..512].fill(0);
        bytes
    });
    for bytes in cuts.chain(holes).chain([torn.clone(), vec![0; whole.len()]]) {
        run.leave(&bytes);
        Transaction::begin(&run.image, Access::Read).unwrap();
        run.recovers(Recovery::Discarded, &run.old);
    }
    // A guest has run since.
    run.leave(&torn);
    run.write(b"guest", 30_000);
    run.write(b"guest", 5000);
    let image = run.image();
    run.recovers(Recovery::Discarded, &image);
}

#[test]
fn damage_to_a_journal_matters_where_the_image_cannot_be_shown_to_be_whole() {
    let run = interrupted();
    let whole = fs::read(&run.journal).unwrap();
    // The records are of 4 KiB and of 12 KiB.
    let first = HEADER..HEADER + RECORD_HEADER;
    let second = first.end + 8 * 8 + 2 * 4096;
    let second = second..second + RECORD_HEADER;
    let places = (0..whole.len()).step_by(61).chain(0..100).chain(first.clone()).chain(second.clone());
    for at in places.chain(whole.len() - 32..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        run.leave(&bytes);
        if at < 8 {
            run.refused(ErrorKind::Denied);
        } else if first.contains(&at) || second.contains(&at) {
            run.refused(ErrorKind::Corrupt);
        } else {
            Transaction::begin(&run.image, Access::Read).unwrap();
            run.recovers(Recovery::Discarded, &run.old);
        }
    }
    // What is cut off may be in the image.
    for len in [1, 511, 512, 513, second.start, second.end, whole.len() - 1] {
        run.leave(&whole[..len]);
        run.refused(ErrorKind::Corrupt);
    }
    // All of the commit is in the image.
    run.write(&run.new, 0);
    for at in [20, first.end + 3, whole.len() - 3] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        run.leave(&bytes);
        run.recovers(Recovery::Finished, &run.new);
    }
}

#[test]
fn a_damaged_journal_of_a_half_applied_image_is_kept() {
    let run = interrupted();
    let whole = fs::read(&run.journal).unwrap();
    let made = fs::metadata(&run.image).unwrap().modified().unwrap();
    for written in [4096..8192, 49_664..50_176, 59_904..60_416] {
        fs::write(&run.image, &run.old).unwrap();
        run.write(&run.new[written.clone()], written.start as u64);
        // A crash may have lost the time of the write.
        OpenOptions::new().write(true).open(&run.image).unwrap().set_modified(made).unwrap();
        let image = run.image();
        let flips = (0..whole.len()).step_by(67).chain(0..100).chain(HEADER..HEADER + 100).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        });
        let cuts = [1, 511, 512, 700, 9000, whole.len() - 1].map(|len| whole[..len].to_vec());
        for bytes in flips.chain(cuts).chain([without_header(&whole)]) {
            run.leave(&bytes);
            for access in [Access::Read, Access::Write] {
                let error = Transaction::begin(&run.image, access).unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied), "{error:?}");
                let hint = error.hint().unwrap();
                assert!(hint.contains("half written") || hint.contains("keep both"), "{hint}");
            }
            assert!(run.image() == image && fs::read(&run.journal).unwrap() == bytes);
        }
        run.leave(&whole);
        run.recovers(Recovery::Finished, &run.new);
    }
}

/// A record that was moved by damage compares with other bytes, here with the same ones.
#[test]
fn a_record_that_damage_has_moved_proves_nothing() {
    let host = CrashHost::new(Disk::new(vec![0; 100_000]));
    let txn = Transaction::over(Box::new(host.clone()), Access::Write).unwrap();
    txn.overlay().write_at(&[7; 512], 8192).unwrap();
    txn.commit(CommitPlan::Journal).unwrap();
    let (before, log) = host.log();
    let interrupted = CrashHost::new(before);
    let applied = log.iter().position(|op| matches!(op, Op::Write { .. })).unwrap();
    log.into_iter().take(applied + 1).for_each(|op| interrupted.replay(op));
    let mut left = interrupted.disk();
    // The record begins at byte 8192, and now at 12288.
    left.journal.as_mut().unwrap()[HEADER + 1] ^= 0x10;
    let host = CrashHost::new(left.clone());
    let error = Transaction::over(Box::new(host.clone()), Access::Write).unwrap_err();
    assert_eq!((error.kind(), host.disk()), (ErrorKind::Corrupt, left));
}

#[test]
fn an_image_that_somebody_changed_is_left_alone() {
    for offset in [5000, 49_152, 61_439] {
        let run = interrupted();
        run.write(&[run.old[offset] ^ 0xff], offset as u64);
        run.refused(ErrorKind::Denied);
    }
    // Half applied, and then changed elsewhere in the journal's sectors.
    let run = interrupted();
    run.write(&run.new[4096..8192], 4096);
    run.write(b"guest", 55_000);
    run.refused(ErrorKind::Denied);
    // Another length.
    let run = interrupted();
    OpenOptions::new().write(true).open(&run.image).unwrap().set_len(99_999).unwrap();
    run.refused(ErrorKind::Denied);
}

#[test]
fn a_journal_that_the_image_has_outlived_is_discarded() {
    // A write elsewhere: a guest has run since, and the journal's blocks fit no more.
    let run = interrupted();
    run.write(b"guest", 30_000);
    let image = run.image();
    run.recovers(Recovery::Discarded, &image);
}

/// A device keeps no time: where nothing of the commit is on it, nothing tells whether somebody has written to it since.
#[test]
fn a_journal_of_a_device_that_holds_nothing_of_it_is_discarded() {
    let host = CrashHost::with_clock(Disk::new(vec![1; 100_000]), Clock::Missing);
    let txn = Transaction::over(Box::new(host.clone()), Access::Write).unwrap();
    txn.overlay().write_at(b"a new one", 5000).unwrap();
    txn.commit(CommitPlan::Journal).unwrap();
    let (before, log) = host.log();
    let interrupted = CrashHost::with_clock(before, Clock::Missing);
    let named = log.iter().position(|op| *op == Op::SyncDir).unwrap();
    log.into_iter().take(named + 1).for_each(|op| interrupted.replay(op));
    // A guest has run since.
    interrupted.replay(Op::Write { offset: 30_208, bytes: vec![2; 512] });
    let left = interrupted.disk();
    assert!(left.journal.is_some());
    let txn = Transaction::over(Box::new(interrupted.clone()), Access::Write).unwrap();
    assert_eq!(txn.recovered(), Recovery::Discarded);
    assert_eq!(interrupted.disk(), Disk { journal: None, ..left });
}

#[test]
fn what_is_no_journal_of_ours_is_neither_used_nor_removed() {
    let run = interrupted();
    let honest = fs::read(&run.journal).unwrap();
    let kept = run.dir.path().join("kept");
    fs::rename(&run.journal, &kept).unwrap();

    symlink(&kept, &run.journal).unwrap();
    run.refused(ErrorKind::Denied);
    fs::remove_file(&run.journal).unwrap();

    fs::hard_link(&kept, &run.journal).unwrap();
    run.refused(ErrorKind::Denied);
    fs::remove_file(&run.journal).unwrap();

    nix::unistd::mkfifo(&run.journal, nix::sys::stat::Mode::S_IRWXU).unwrap();
    run.refused(ErrorKind::Denied);
    fs::remove_file(&run.journal).unwrap();

    fs::write(&run.journal, b"dear diary").unwrap();
    fs::set_permissions(&run.journal, Permissions::from_mode(0o600)).unwrap();
    run.refused(ErrorKind::Denied);

    fs::write(&run.journal, &honest).unwrap();
    fs::set_permissions(&run.journal, Permissions::from_mode(0o666)).unwrap();
    run.refused(ErrorKind::Denied);
    fs::set_permissions(&run.journal, Permissions::from_mode(0o600)).unwrap();

    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&run.journal, Some(12_345), None).unwrap();
        run.refused(ErrorKind::Denied);
        let error = recover(&run.image, &StateDir::default()).unwrap_err();
        assert!(error.to_string().contains("uid 12345"), "{error:?}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("imgraft recover") && hint.contains("half written"), "{error:?}");
        std::os::unix::fs::chown(&run.journal, Some(0), None).unwrap();
    }
    fs::remove_file(&kept).unwrap();
    run.recovers(Recovery::Finished, &run.new);
}

/// Whoever can write to an image leaves a journal that anybody else who can finishes.
#[test]
fn the_journal_of_a_member_of_the_image_s_group_is_trusted() {
    use std::os::unix::fs::chown;
    let Ok(Some(member)) = nix::unistd::User::from_name("daemon") else { return };
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let run = interrupted();
    chown(&run.journal, Some(member.uid.as_raw()), None).unwrap();
    chown(&run.image, Some(12_345), Some(member.gid.as_raw())).unwrap();
    fs::set_permissions(&run.image, Permissions::from_mode(0o640)).unwrap();
    run.refused(ErrorKind::Denied);
    fs::set_permissions(&run.image, Permissions::from_mode(0o660)).unwrap();
    chown(&run.image, None, Some(member.gid.as_raw() + 54_321)).unwrap();
    run.refused(ErrorKind::Denied);
    chown(&run.image, None, Some(member.gid.as_raw())).unwrap();
    run.recovers(Recovery::Finished, &run.new);
}

/// A journal with a right checksum whose records lie.
#[test]
fn a_hostile_journal_writes_nothing_and_asks_for_no_memory() {
    use super::record::{Header, Opening, TRAILER};
    let run = interrupted();
    let whole = fs::read(&run.journal).unwrap();
    let Opening::Header(header) = Header::decode(&whole[..HEADER]) else { panic!() };
    let forge = |change: &dyn Fn(&mut Vec<u8>, &mut Header)| {
        let mut bytes = whole[..whole.len() - TRAILER].to_vec();
        let mut header = header;
        change(&mut bytes, &mut header);
        header.journal_size = (bytes.len() + TRAILER) as u64;
        bytes[..HEADER].copy_from_slice(&header.encode());
        let trailer = header.trailer(crc32c::crc32c(&bytes[HEADER..]));
        bytes.extend_from_slice(&trailer);
        fs::write(&run.journal, &bytes).unwrap();
        run.refused(ErrorKind::Corrupt);
    };
    let set = |at: usize, number: u64| {
        move |bytes: &mut Vec<u8>, _: &mut Header| bytes[at..at + 8].copy_from_slice(&number.to_le_bytes())
    };
    for offset in [u64::MAX, 1, 98_304, 100_000, 1 << 63] {
        forge(&set(HEADER, offset));
    }
    for len in [0, 1 << 20, (1 << 20) + 1, u64::MAX, 1 << 40, 4096 | 1 << 33] {
        forge(&set(HEADER + 8, len));
    }
    forge(&|_, header| header.records = u64::MAX);
    forge(&|_, header| header.records = 0);
    forge(&|bytes, _| bytes.truncate(HEADER + 3));
    // A checksum of the old bytes that fits, new bytes that their own does not.
    forge(&|bytes, _| *bytes.last_mut().unwrap() ^= 1);
    // A second record before the first.
    forge(&|bytes, header| {
        let first = bytes[HEADER..HEADER + 16 + 64 + 4096 + 4096].to_vec();
        bytes.extend_from_slice(&first);
        header.records += 1;
    });
    assert!(run.image() == run.old);
}

/// What was written ahead of the journal changes the time of the image's last write, and is no write of somebody else's.
#[test]
fn what_was_written_ahead_does_not_keep_a_commit_from_being_finished() {
    let (dir, state) = (tempfile::tempdir().unwrap(), StateDir::default());
    let image = dir.path().join("disk.img");
    fs::write(&image, vec![3; 100_000]).unwrap();
    let base = Arc::new(Base::new(Box::new(FileHost::open(&image, Access::Write, &state).unwrap())).unwrap());
    let overlay = Overlay::new(Arc::clone(&base) as _);
    overlay.write_at(b"a new one", 5000).unwrap();
    let changed = changes::in_pages(&changes::changed(&overlay).unwrap(), base.size());
    let ahead = || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        base.write(&[9; 4096], 49_152)
    };
    journal::write(&base, &overlay, &changed, Left::Unused, ahead).unwrap();
    drop((overlay, base));
    let txn = Transaction::begin_with(&image, Access::Write, &state).unwrap();
    assert!(matches!(txn.recovered(), Recovery::Finished), "{:?}", txn.recovered());
    drop(txn);
    let bytes = fs::read(&image).unwrap();
    assert_eq!((&bytes[5000..5009], &bytes[49_152..49_156]), (&b"a new one"[..], &[9; 4][..]));
}
