//! Recovery from journals that a file of the host has beside it, honest and hostile ones.

use super::base::Base;
use super::crash::{Clock, CrashHost, Disk, Op};
use super::file::FileHost;
use super::overlay::Overlay;
use super::{Access, CommitPlan, Recovery, StateDir, Transaction, changes, journal, recover};
use crate::block::BlockDevice;
use crate::error::ErrorKind;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// An image with a complete journal beside it, as a run that was killed before it applied it leaves them.
struct Interrupted {
    dir: TempDir,
    image: PathBuf,
    journal: PathBuf,
    old: Vec<u8>,
    new: Vec<u8>,
}

fn interrupted() -> Interrupted {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let old: Vec<u8> = (0..100_000_u32).map(|i| (i / 512 + i) as u8).collect();
    fs::write(&image, &old).unwrap();
    let mut new = old.clone();
    new[5000..5009].copy_from_slice(b"a new one");
    new[50_000..60_000].fill(7);

    let base =
        Arc::new(Base::new(Box::new(FileHost::open(&image, Access::Write, &StateDir::default()).unwrap())).unwrap());
    let overlay = Overlay::new(Arc::clone(&base) as _);
    overlay.write_at(&new, 0).unwrap();
    let changed = changes::in_pages(&changes::changed(&overlay).unwrap(), base.size());
    assert_eq!(changed, [4096..8192, 49_152..61_440]);
    journal::write(&base, &overlay, &changed).unwrap();
    let journal = dir.path().join(".disk.img.imgraft-journal");
    assert_eq!(fs::metadata(&journal).unwrap().permissions().mode() & 0o7777, 0o600);
    Interrupted { dir, image, journal, old, new }
}

impl Interrupted {
    fn image(&self) -> Vec<u8> {
        fs::read(&self.image).unwrap()
    }

    fn write(&self, bytes: &[u8], offset: u64) {
        OpenOptions::new().write(true).open(&self.image).unwrap().write_all_at(bytes, offset).unwrap();
    }

    /// Recovery refuses with this kind, twice, names the journal, and leaves both files alone.
    fn refused(&self, kind: ErrorKind) {
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

    fn recovers(&self, expected: Recovery, bytes: &[u8]) {
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

#[test]
fn every_cut_of_a_journal_is_discarded() {
    let run = interrupted();
    let whole = fs::read(&run.journal).unwrap();
    for len in (0..whole.len()).step_by(97).chain([0, 1, 511, 512, 513, whole.len() - 1]) {
        fs::write(&run.journal, &whole[..len]).unwrap();
        fs::set_permissions(&run.journal, Permissions::from_mode(0o600)).unwrap();
        Transaction::begin(&run.image, Access::Read).unwrap();
        run.recovers(Recovery::Discarded, &run.old);
    }
}

#[test]
fn every_flipped_byte_of_a_journal_is_seen() {
    let run = interrupted();
    let whole = fs::read(&run.journal).unwrap();
    for at in (8..whole.len()).step_by(61).chain(8..80) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&run.journal, &bytes).unwrap();
        fs::set_permissions(&run.journal, Permissions::from_mode(0o600)).unwrap();
        run.recovers(Recovery::Discarded, &run.old);
    }
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
    // Another file with the same bytes.
    let run = interrupted();
    let copy = run.dir.path().join("copy");
    fs::copy(&run.image, &copy).unwrap();
    fs::rename(&copy, &run.image).unwrap();
    run.recovers(Recovery::Discarded, &run.old);
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

/// A journal with a right checksum whose records lie.
#[test]
fn a_hostile_journal_writes_nothing_and_asks_for_no_memory() {
    use super::record::{HEADER, Header, Opening, TRAILER};
    let run = interrupted();
    let whole = fs::read(&run.journal).unwrap();
    let Opening::Header(header) = Header::decode(&whole[..HEADER]) else { panic!() };
    let forge = |change: &dyn Fn(&mut Vec<u8>, &mut Header)| {
        let mut bytes = whole[..whole.len() - TRAILER].to_vec();
        let mut header = header;
        change(&mut bytes, &mut header);
        header.journal_size = (bytes.len() + TRAILER) as u64;
        bytes[..HEADER].copy_from_slice(&header.encode());
        let trailer = header.trailer(crc32c::crc32c(&bytes));
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
