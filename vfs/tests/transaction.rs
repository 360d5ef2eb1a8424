//! Transactions on files of the host.

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::transaction::{Access, CommitPlan, Existing, IoCounts, NewFile, Recovery, Transaction};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory with an image of `len` bytes that are all different from their neighbours.
fn image(len: usize) -> (TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let bytes: Vec<u8> = (0..len).map(|i| (i / 512 + i) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    (dir, path, bytes)
}

fn begin(path: &Path) -> Transaction {
    Transaction::begin(path, Access::Write).unwrap()
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn refused(path: &Path, access: Access) -> imgraft_vfs::Error {
    let error = Transaction::begin(path, access).unwrap_err();
    assert!(error.host_path().is_some(), "{error:?}");
    error
}

#[test]
fn nothing_reaches_the_file_before_the_commit() {
    let (dir, path, old) = image(1 << 20);
    let txn = begin(&path);
    txn.overlay().write_at(b"hello", 5000).unwrap();
    txn.overlay().grow(2 << 20).unwrap();
    txn.overlay().write_at(b"tail", (2 << 20) - 4).unwrap();
    let mut seen = [0; 5];
    txn.overlay().read_at(&mut seen, 5000).unwrap();
    assert_eq!(&seen, b"hello");
    assert_eq!(fs::read(&path).unwrap(), old);
    drop(txn);
    assert_eq!(fs::read(&path).unwrap(), old);
    assert_eq!(names(&dir), ["disk.img"]);
}

#[test]
fn a_journalled_commit_replaces_bytes_and_leaves_no_journal() {
    let (dir, path, mut expected) = image((1 << 20) + 700);
    let txn = begin(&path);
    for (offset, text) in [(5000, "hello"), (4094, "across"), ((1 << 20) + 690, "0123456789")] {
        txn.overlay().write_at(text.as_bytes(), offset).unwrap();
        let offset = offset as usize;
        expected[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    }
    let counts = txn.commit(CommitPlan::Journal).unwrap();
    assert_eq!(counts.fsyncs, 5, "journal, directory, the journal's header, image, directory");
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(names(&dir), ["disk.img"]);
}

#[test]
fn a_switch_appends_and_replaces_one_sector() {
    let (_dir, path, mut expected) = image(10_000);
    let txn = begin(&path);
    txn.overlay().grow(20_000).unwrap();
    txn.overlay().write_at(&[7; 3000], 12_000).unwrap();
    txn.overlay().write_at(b"new header", 1024).unwrap();
    let counts = txn.commit(CommitPlan::Switch { sector: 1024, freed: Vec::new() }).unwrap();
    assert_eq!(counts.fsyncs, 2);
    expected.resize(20_000, 0);
    expected[12_000..15_000].fill(7);
    expected[1024..1034].copy_from_slice(b"new header");
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn a_switch_that_would_touch_live_bytes_writes_nothing() {
    for (offset, len) in [(1023, 2), (1500, 100), (0, 1), (9_999, 1), (1024, 513)] {
        let (_dir, path, old) = image(10_000);
        let txn = begin(&path);
        txn.overlay().grow(20_000).unwrap();
        txn.overlay().write_at(&[0xee; 8000], 12_000).unwrap();
        txn.overlay().write_at(&vec![0xee; len], offset).unwrap();
        let error = txn.commit(CommitPlan::Switch { sector: 1024, freed: Vec::new() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), old);
    }
    let (_dir, path, old) = image(10_000);
    for sector in [1, 511, 9_728, 1 << 40, u64::MAX - 511] {
        let error = begin(&path).commit(CommitPlan::Switch { sector, freed: Vec::new() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), old);
}

#[test]
fn writes_that_change_nothing_write_nothing() {
    for plan in [CommitPlan::Journal, CommitPlan::Switch { sector: 0, freed: Vec::new() }] {
        let (_dir, path, old) = image(1 << 20);
        let before = fs::metadata(&path).unwrap();
        let txn = begin(&path);
        txn.overlay().write_at(&old[100..90_000], 100).unwrap();
        txn.overlay().write_at(b"something else", 70_000).unwrap();
        txn.overlay().write_at(&old[70_000..70_014], 70_000).unwrap();
        let counts = txn.commit(plan).unwrap();
        assert_eq!(IoCounts { reads: 0, bytes_read: 0, ..counts }, IoCounts::default());
        let after = fs::metadata(&path).unwrap();
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
        assert_eq!(fs::read(&path).unwrap(), old);
    }
}

#[test]
fn a_transaction_for_reading_cannot_commit() {
    let (_dir, path, old) = image(1 << 20);
    let txn = Transaction::begin(&path, Access::Read).unwrap();
    txn.overlay().write_at(b"staged only", 0).unwrap();
    assert_eq!(txn.commit(CommitPlan::Journal).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(&path).unwrap(), old);
}

#[test]
fn a_journalled_image_cannot_grow() {
    let (_dir, path, old) = image(1 << 20);
    let txn = begin(&path);
    txn.overlay().grow(2 << 20).unwrap();
    assert_eq!(txn.commit(CommitPlan::Journal).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(&path).unwrap(), old);
}

#[test]
fn what_is_not_an_image_file_is_refused_by_name() {
    let (dir, path, _) = image(4096);
    let at = |name: &str| dir.path().join(name);
    fs::write(at("empty"), b"").unwrap();
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    for access in [Access::Read, Access::Write] {
        assert_eq!(refused(&at("missing"), access).kind(), ErrorKind::NotFound);
        assert_eq!(refused(&at("dangling"), access).kind(), ErrorKind::NotFound);
        assert_eq!(refused(&at("loop"), access).kind(), ErrorKind::Io);
        assert_eq!(refused(dir.path(), access).kind(), ErrorKind::WrongType);
        assert_eq!(refused(Path::new("/"), access).kind(), ErrorKind::WrongType);
        assert_eq!(refused(&at("fifo"), access).kind(), ErrorKind::WrongType);
        assert_eq!(refused(&at("empty"), access).kind(), ErrorKind::Corrupt);
        assert_eq!(refused(Path::new("/dev/null"), access).kind(), ErrorKind::Unsupported);
        assert_eq!(refused(&path.join("below"), access).kind(), ErrorKind::NotFound);
    }
    drop(begin(&path));
}

#[test]
fn a_file_without_write_permission_is_denied_for_writing() {
    let (_dir, path, _) = image(4096);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    Transaction::begin(&path, Access::Read).unwrap();
    if nix::unistd::geteuid().is_root() {
        // The superuser may write to it all the same.
        drop(begin(&path));
    } else {
        let error = refused(&path, Access::Write);
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("no permission to write"), "{error}");
    }
}

#[test]
fn a_directory_without_permissions_is_no_hindrance_to_reading_and_refuses_a_journal() {
    let (dir, path, old) = image(4096);
    if nix::unistd::geteuid().is_root() {
        // Permissions do not hold the superuser.
        return;
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o111)).unwrap();
    Transaction::begin(&path, Access::Read).unwrap();
    let txn = begin(&path);
    txn.overlay().write_at(b"change", 0).unwrap();
    let error = txn.commit(CommitPlan::Journal).unwrap_err();
    assert!(error.hint().unwrap().contains("must be writable"), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), old);
    // A switch needs no journal.
    let txn = begin(&path);
    txn.overlay().write_at(b"change", 0).unwrap();
    txn.commit(CommitPlan::Switch { sector: 0, freed: Vec::new() }).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_journal_lies_beside_the_file_that_a_symlink_leads_to() {
    let (dir, path, mut expected) = image(8192);
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let link = dir.path().join("elsewhere/link.img");
    symlink(&path, &link).unwrap();
    // A directory in the journal's place beside the link is nobody's concern; beside the file it is.
    fs::create_dir(dir.path().join("elsewhere/.link.img.imgraft-journal")).unwrap();
    let txn = begin(&link);
    txn.overlay().write_at(b"through", 0).unwrap();
    txn.commit(CommitPlan::Journal).unwrap();
    expected[..7].copy_from_slice(b"through");
    assert_eq!(fs::read(&path).unwrap(), expected);
    fs::create_dir(dir.path().join(".disk.img.imgraft-journal")).unwrap();
    assert_eq!(refused(&link, Access::Write).kind(), ErrorKind::Denied);
}

#[test]
fn two_writers_conflict_and_two_readers_do_not() {
    let (_dir, path, _) = image(4096);
    let first = Transaction::begin(&path, Access::Read).unwrap();
    let second = Transaction::begin(&path, Access::Read).unwrap();
    assert_eq!(refused(&path, Access::Write).kind(), ErrorKind::InUse);
    drop(first);
    assert_eq!(refused(&path, Access::Write).kind(), ErrorKind::InUse);
    drop(second);
    let writer = begin(&path);
    let overlay = writer.overlay();
    for access in [Access::Read, Access::Write] {
        let error = refused(&path, access);
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.hint().is_some());
    }
    drop(writer);
    assert_eq!(refused(&path, Access::Read).kind(), ErrorKind::InUse, "the overlay keeps the lock");
    drop(overlay);
    assert_eq!(begin(&path).recovered(), Recovery::Nothing);
}

/// Somebody who asks for no locks replaces the image, cuts it or writes to it: the run has nothing to do with that.
#[test]
fn an_image_that_somebody_changed_meanwhile_is_left_alone() {
    let resize = |path: &Path, len: u64| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
    let replace = |path: &Path| {
        let other = path.with_file_name("other");
        fs::copy(path, &other).unwrap();
        fs::rename(&other, path).unwrap();
    };
    let write = |path: &Path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"guest", 100).unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(1)).unwrap();
    };
    type Meddle<'a> = &'a dyn Fn(&Path);
    let meddlers: [(&str, Meddle); 5] = [
        ("replaced", &replace),
        ("removed", &|path| fs::remove_file(path).unwrap()),
        ("cut", &|path| resize(path, 5000)),
        ("lengthened", &|path| resize(path, 30_000)),
        ("written to", &write),
    ];
    for (what, meddle) in meddlers {
        for plan in [CommitPlan::Journal, CommitPlan::Switch { sector: 1024, freed: Vec::new() }] {
            let (dir, path, _) = image(10_000);
            let txn = begin(&path);
            txn.overlay().write_at(b"new header", 1024).unwrap();
            let copy = NewFile::create(&dir.path().join("copy"), Existing::Refuse).unwrap();
            meddle(&path);
            let left = fs::read(&path).ok();
            let errors = [txn.copy_to(&copy, &mut |_, _| {}).unwrap_err(), txn.commit(plan).unwrap_err()];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::InUse, "{what}: {error:?}");
                assert!(error.to_string().contains("nothing was written") && error.hint().is_some(), "{error:?}");
            }
            drop(copy);
            assert!(fs::read(&path).ok() == left, "{what}");
            assert_eq!(names(&dir).len(), usize::from(left.is_some()), "{what}: {:?}", names(&dir));
        }
    }
    // Where nothing is to be written, there is nothing to protect.
    let (_dir, path, _) = image(10_000);
    let txn = begin(&path);
    write(&path);
    txn.commit(CommitPlan::Journal).unwrap();
}
