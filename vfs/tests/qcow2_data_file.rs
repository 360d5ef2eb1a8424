//! qcow2 images whose data lies in another file: read and written when that is allowed.

#![allow(clippy::print_stderr, reason = "how many kills hit what is what this test has to say")]

mod qemu;

use imgraft_vfs::ErrorKind::{Corrupt, Denied, Invalid, Unsupported};
use imgraft_vfs::image::{self, Backing, Destination, Edit, ImageFormat, Source};
use imgraft_vfs::transaction::{Access, Existing, Recovery, StateDir};
use imgraft_vfs::{Error, ErrorKind, Result};
use qemu::{Rng, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIZE: usize = 6 << 20;

fn open(path: &Path, backing: &Backing) -> Result<Arc<dyn ImageFormat>> {
    image::open_chain(qemu::begin(path, Access::Read).overlay(), path, None, backing, &StateDir::default())
}

#[track_caller]
fn refused(path: &Path, backing: &Backing, part: &str) -> Error {
    let error = open(path, backing).expect_err("it is to be refused");
    assert!(error.to_string().contains(part), "{error:?} does not say {part:?}");
    error
}

fn here() -> Backing {
    Backing::Within(Vec::new())
}

#[test]
fn data_files_are_read_when_they_are_allowed() {
    if !qemu::available() {
        return;
    }
    for (kind, raw) in
        [("", false), (",data_file_raw=on", true), (",extended_l2=on", false), (",cluster_size=512", false)]
    {
        let dir = tempfile::tempdir().unwrap();
        let [path, data] = ["disk.qcow2", "data"].map(|name| dir.path().join(name));
        let options = format!("data_file={}{kind}", text(&data));
        qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), &SIZE.to_string()]);
        let mut rng = Rng::new(kind.len() as u64);
        // The first cluster is at byte 0 of the data file.
        let mut commands = vec!["write -P 9 0 512".to_owned(), "write -z 3M 100k".to_owned()];
        for _ in 0..12 {
            let at = rng.below(SIZE as u64 / 512 - 300) * 512;
            commands.push(format!("write -P {} {at} {}", 1 + rng.below(250), 512 * (1 + rng.below(300))));
        }
        qemu::io(&path, &commands);
        let expected = qemu::content(&path);
        let disk = open(&path, &here()).unwrap();
        let mut seen = vec![0xaa; SIZE];
        for (index, chunk) in seen.chunks_mut(100_000).enumerate() {
            disk.read_at(chunk, index as u64 * 100_000).unwrap();
        }
        assert!(seen == expected, "{kind}");
        if raw {
            assert!(seen == fs::read(&data).unwrap());
        }
        assert!(disk.facts().contains(&("data-file", text(&data).to_owned())), "{:?}", disk.facts());
        drop(disk);

        // Without the data file's own transaction nothing is written, not even held.
        let txn = qemu::begin(&path, Access::Write);
        let disk = image::open_chain(txn.overlay(), &path, None, &here(), &StateDir::default()).unwrap();
        let error = disk.write_at(b"x", 7).unwrap_err();
        assert_eq!(error.kind(), Unsupported);
        assert!(error.to_string().contains(text(&data)), "{error}");
        assert!(error.hint().unwrap().contains("qemu-img convert"));
        assert_eq!(disk.finish().unwrap_err().kind(), Invalid);
        assert_eq!(txn.counts().writes, 0);
        drop((disk, txn));
        qemu::check(&path, kind);

        // Read past its end, a data file is zeros.
        let file = fs::OpenOptions::new().write(true).open(&data).unwrap();
        file.set_len(1 << 20).unwrap();
        let cut = qemu::content(&path);
        open(&path, &here()).unwrap().read_at(&mut seen, 0).unwrap();
        assert!(seen == cut, "{kind}: cut");
    }
}

#[test]
fn data_files_are_refused() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.qcow2");
    let data = other.path().join("data");
    let options = format!("data_file={}", text(&data));
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(&path), "6M"]);
    qemu::io(&path, &["write -P 7 0 256k".to_owned()]);
    let error = refused(&path, &Backing::Deny, text(&data));
    assert_eq!(error.kind(), Unsupported);
    assert!(error.hint().unwrap().contains("--backing-chain"));
    let error = refused(&path, &here(), "outside the allowed directories");
    assert_eq!(error.kind(), Denied);
    drop(open(&path, &Backing::Within(vec![other.path().to_path_buf()])).unwrap());
    // The image as its own data file, a file that is not there, a name that is none.
    qemu::img(&["create", "-q", "-f", "raw", text(&dir.path().join("near")), "6M"]);
    let rename = |name: &str| {
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(4).position(|part| part == b"DATA").unwrap();
        bytes[at + 4..at + 8].copy_from_slice(&(name.len() as u32).to_be_bytes());
        let room = name.len().next_multiple_of(8);
        bytes[at + 8..at + 8 + room].fill(0);
        bytes[at + 8..at + 8 + name.len()].copy_from_slice(name.as_bytes());
        bytes[at + 8 + room..at + 16 + room].fill(0);
        fs::write(&path, bytes).unwrap();
    };
    rename("near");
    drop(open(&path, &here()).unwrap());
    rename("disk.qcow2");
    assert_eq!(refused(&path, &here(), "comes back").kind(), Corrupt);
    rename("gone");
    assert!(refused(&path, &here(), "cannot be reached").hint().unwrap().contains("qemu-img amend"));
    rename("json:{}");
    assert_eq!(refused(&path, &here(), "no plain file name").kind(), Unsupported);
    rename("");
    assert!(refused(&path, &here(), "does not say its name").hint().unwrap().contains("qemu-img amend"));

    // A cluster of the data file that is not at the disk's own byte.
    rename("near");
    let mut bytes = fs::read(&path).unwrap();
    let u64_at = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let l2 = (u64_at(&bytes, u64_at(&bytes, 40) as usize) & 0x00ff_ffff_ffff_fe00) as usize;
    bytes.copy_within(l2 + 8..l2 + 16, l2 + 16);
    fs::write(&path, bytes).unwrap();
    let disk = open(&path, &here()).unwrap();
    disk.read_at(&mut [0], 65536).unwrap();
    assert_eq!(disk.read_at(&mut [0], 131_072).unwrap_err().kind(), Corrupt);
}

fn source(path: &Path) -> Source {
    let data_file = Some(path.with_file_name("data"));
    Source { image: path.to_path_buf(), format: None, backing: here(), data_file, state: StateDir::default() }
}

/// Begins an edit; a tool of another test may hold the lock for a moment.
fn begin(path: &Path, destination: &Destination) -> Edit {
    let mut last = None;
    for _ in 0..50 {
        match Edit::begin(&source(path), destination, Access::Write) {
            Ok(edit) => return edit,
            Err(error) => last = Some(error),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{last:?}")
}

fn create(path: &Path, data: &Path, more: &str) {
    let options = format!("data_file={}{more}", text(data));
    qemu::img(&["create", "-q", "-f", "qcow2", "-o", &options, text(path), &SIZE.to_string()]);
}

fn commit(edit: Edit) {
    let plan = edit.finish().unwrap();
    edit.commit(plan, &mut |_, _| {}).unwrap();
}

#[test]
fn data_files_are_written() {
    if !qemu::available() {
        return;
    }
    for kind in ["", ",data_file_raw=on", ",extended_l2=on", ",cluster_size=512", ",preallocation=metadata"] {
        let dir = tempfile::tempdir().unwrap();
        let [path, data] = ["disk.qcow2", "data"].map(|name| dir.path().join(name));
        create(&path, &data, kind);
        let mut rng = Rng::new(77 + kind.len() as u64);
        let mut expected = vec![0; SIZE];
        for round in 0..3 {
            let mut commands = vec!["write -z 3M 100k".to_owned(), "discard 1M 256k".to_owned()];
            for _ in 0..6 {
                let at = rng.below(SIZE as u64 / 512 - 300) * 512;
                commands.push(format!("write -P {} {at} {}", 1 + rng.below(250), 512 * (1 + rng.below(300))));
            }
            qemu::io(&path, &commands);
            let before = qemu::content(&path);
            expected.copy_from_slice(&before);
            let edit = begin(&path, &Destination::InPlace);
            let disk = edit.disk();
            for _ in 0..12 {
                let len = [1, 512, 5_000, 200_000][rng.below(4) as usize];
                let at = rng.below((SIZE - len) as u64);
                let byte = rng.below(256) as u8;
                disk.write_at(&vec![byte; len], at).unwrap();
                expected[at as usize..at as usize + len].fill(byte);
            }
            let plan = edit.finish().unwrap();
            let mut seen = vec![0; SIZE];
            edit.reopen().unwrap().read_at(&mut seen, 0).unwrap();
            assert!(seen == expected, "{kind}: pending");
            drop(disk);
            edit.commit(plan, &mut |_, _| {}).unwrap();
            qemu::check(&path, kind);
            assert!(qemu::content(&path) == expected, "{kind}: round {round}");
            if kind.contains("raw") {
                assert!(fs::read(&data).unwrap() == expected, "{kind}: the data file");
            }
            open(&path, &here()).unwrap().read_at(&mut seen, 0).unwrap();
            assert!(seen == expected, "{kind}: read back");
        }
        let shown = qemu::img(&["info", "--output=json", text(&path)]);
        assert_eq!(shown.contains("\"data-file-raw\": true"), kind.contains("raw"), "{shown}");
        // Where every cluster is mapped, the image itself stays as it is.
        let image = fs::read(&path).unwrap();
        let edit = begin(&path, &Destination::InPlace);
        edit.disk().write_at(&[0xa5; 5_000], 70_001).unwrap();
        commit(edit);
        if kind.contains("raw") || kind.contains("prealloc") {
            assert!(fs::read(&path).unwrap() == image, "{kind}: the image was written to");
        }
        qemu::check(&path, kind);
        // What another program keeps up to date and this one does not know is called stale all the same.
        let mut bytes = fs::read(&path).unwrap();
        bytes[88] |= 0x80;
        fs::write(&path, bytes).unwrap();
        let edit = begin(&path, &Destination::InPlace);
        edit.disk().write_at(&[0x5a; 5_000], 70_001).unwrap();
        commit(edit);
        assert_eq!(fs::read(&path).unwrap()[88], 0, "{kind}: an unknown autoclear bit");
        assert!(qemu::content(&path)[70_001..75_001].iter().all(|&byte| byte == 0x5a), "{kind}");
        qemu::check(&path, kind);
    }
}

#[test]
fn data_files_that_are_not_written() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [path, data] = ["disk.qcow2", "data"].map(|name| dir.path().join(name));
    create(&path, &data, "");
    qemu::io(&path, &["write -P 7 0 256k".to_owned()]);
    let sum = || (fs::read(&path).unwrap(), fs::read(&data).unwrap());
    let before = sum();
    let refused = |destination: &Destination, part: &str, way: &str| {
        let edit = begin(&path, destination);
        let error = edit.disk().write_at(b"x", 7).unwrap_err();
        assert_eq!(error.kind(), Unsupported);
        assert!(error.to_string().contains(part) && error.to_string().contains(text(&data)), "{error}");
        assert!(error.hint().unwrap().contains(way), "{error:?}");
    };
    // A copy would share the data file, also where nothing is written to it.
    let target = dir.path().join("copy");
    let copy = Destination::Output(target.clone(), Existing::Refuse);
    let error = Edit::begin(&source(&path), &copy, Access::Write).unwrap_err();
    assert_eq!(error.kind(), Unsupported);
    assert!(error.to_string().contains("only where it is named, and the result goes into the image itself"), "{error}");
    assert!(error.to_string().contains(text(&data)), "{error}");
    assert!(error.hint().unwrap().contains("qemu-img convert"), "{error:?}");
    assert!(!target.exists());
    // One that is not there.
    let absent = Source { data_file: Some(dir.path().join("absent")), ..source(&path) };
    let error = Edit::begin(&absent, &Destination::InPlace, Access::Write).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // A thin image over it takes all that is written.
    let thin = dir.path().join("thin.qcow2");
    let edit = begin(&path, &Destination::Overlay(thin.clone(), Existing::Refuse));
    edit.disk().write_at(b"thin", 7).unwrap();
    commit(edit);
    assert!(qemu::content(&thin).starts_with(b"\x07\x07\x07\x07\x07\x07\x07thin\x07"));
    assert!(sum() == before);
    // An undo file would be of one file.
    let mut edit = begin(&path, &Destination::InPlace);
    let error = edit.keep_undo(&dir.path().join("undo")).unwrap_err();
    assert!(error.kind() == Unsupported && error.hint().unwrap().contains("--keep-undo"), "{error:?}");
    assert!(!dir.path().join("undo").exists());
    // While it is open, QEMU gets neither file to write, and the other way round.
    for (file, format) in [(&path, "qcow2"), (&data, "raw")] {
        let status = Command::new("qemu-io").args(["-f", format, "-c", "write 0 512", text(file)]).output().unwrap();
        let said = String::from_utf8_lossy(&status.stderr).into_owned();
        assert!(said.contains("lock"), "{said}");
    }
    drop(edit);
    assert!(sum() == before);

    let patched = |at: usize, byte: u8| {
        let mut bytes = before.0.clone();
        bytes[at] |= byte;
        fs::write(&path, bytes).unwrap();
    };
    // What may be written to is the caller's to say, and not the image's.
    let begin_with = |image: &Path, data_file: &Path| {
        let source = Source { data_file: Some(data_file.to_path_buf()), ..source(image) };
        Edit::begin(&source, &Destination::InPlace, Access::Write).unwrap_err()
    };
    let other = dir.path().join("other");
    fs::copy(&data, &other).unwrap();
    let error = begin_with(&path, &other);
    assert!(error.kind() == Denied && error.to_string().contains("and not this one"), "{error:?}");
    let error = begin_with(&thin, &data);
    assert!(error.kind() == Invalid && error.hint().unwrap().contains("leave --data-file out"), "{error:?}");
    assert!(sum() == before && fs::read(&other).unwrap() == before.1);

    patched(79, 1);
    refused(&Destination::InPlace, "marked dirty", "qemu-img check -r all");
    // QEMU makes none of an image with a data file; this is a header that says so.
    let end = before.0.len().next_multiple_of(65_536);
    let mut bytes = before.0.clone();
    bytes.resize(end + 65_536, 0);
    bytes[60..64].copy_from_slice(&1_u32.to_be_bytes());
    bytes[64..72].copy_from_slice(&(end as u64).to_be_bytes());
    fs::write(&path, bytes).unwrap();
    refused(&Destination::InPlace, "internal snapshots", "qemu-img convert");
    patched(79, 0);
    let file = fs::OpenOptions::new().write(true).open(&data).unwrap();
    file.set_len(1 << 20).unwrap();
    refused(&Destination::InPlace, "ends at byte 1048576", "truncate -s 6291456");
    file.set_len(SIZE as u64).unwrap();
    qemu::img(&["bitmap", "--add", text(&path), "one"]);
    refused(&Destination::InPlace, "persistent bitmaps", "qemu-img bitmap --remove");
}

const IMAGE: &str = "IMGRAFT_TEST_KILL_DATA_FILE";
/// Where a version is written: in the same clusters each time, and in new ones.
const PLACES: u64 = 40;

/// Writes the next version, of which every eighth maps more clusters.
fn next(path: &Path) -> Option<()> {
    let edit = Edit::begin(&source(path), &Destination::InPlace, Access::Write).ok()?;
    let disk = edit.disk();
    let version = version(&*disk) + 1;
    for place in 0..PLACES {
        disk.write_at(&version.to_le_bytes(), place * 70_000).unwrap();
    }
    let more = (version * 512) % SIZE as u64;
    disk.write_at(&[0x55], more / 4096 * 4096 + 3000).unwrap();
    drop(disk);
    commit(edit);
    Some(())
}

fn version(disk: &dyn ImageFormat) -> u64 {
    let mut versions: Vec<u64> = (0..PLACES)
        .map(|place| {
            let mut bytes = [0; 8];
            disk.read_at(&mut bytes, place * 70_000).unwrap();
            u64::from_le_bytes(bytes)
        })
        .collect();
    versions.dedup();
    assert_eq!(versions.len(), 1, "a mixture of versions: {versions:?}");
    versions[0]
}

/// Not a test by itself: the process that the test below starts and kills.
#[test]
fn child() {
    let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) else { return };
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        next(&image).unwrap();
    }
}

#[test]
fn kills_leave_a_version() {
    if !qemu::available() {
        return;
    }
    for more in ["", ",data_file_raw=on"] {
        let dir = tempfile::tempdir().unwrap();
        let [path, data] = ["disk.qcow2", "data"].map(|name| dir.path().join(name));
        create(&path, &data, more);
        let (mut reached, mut pending, mut finished, mut discarded) = (0, 0, 0, 0);
        for kill in 0..20_u32 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child"])
                .env(IMAGE, &path)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            // Longer as long as no commit has come through.
            let times = if reached == 0 { kill + 1 } else { 1 };
            std::thread::sleep(Duration::from_micros(60_000 + u64::from(kill) * 7_919 % 61_000) * times);
            child.kill().unwrap();
            child.wait().unwrap();
            match open(&path, &here()) {
                Ok(disk) => assert!(version(&*disk) >= reached),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
                    assert!(error.hint().unwrap().contains("imgraft recover"), "{error:?}");
                    pending += 1;
                }
            }
            match image::recover(&source(&path)).unwrap() {
                (Recovery::Nothing, None) => {}
                (Recovery::Finished, None) => finished += 1,
                (Recovery::Discarded, None) => discarded += 1,
                other => panic!("{other:?}"),
            }
            let now = version(&*open(&path, &here()).unwrap());
            assert!(now >= reached, "version {now} after {reached}");
            reached = now;
            qemu::check(&path, more);
            if more.contains("raw") {
                assert!(fs::read(&data).unwrap() == qemu::content(&path));
            }
        }
        assert!(reached > 0, "no commit came through");
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["data", "disk.qcow2"]);
        eprintln!("20 kills in {reached} commits; {pending} pending, {finished} finished, {discarded} discarded");
    }
    // Without the leave to open it, the data file is named.
    let dir = tempfile::tempdir().unwrap();
    let [path, data] = ["disk.qcow2", "data"].map(|name| dir.path().join(name));
    create(&path, &data, "");
    let (recovery, unseen) = image::recover(&Source { data_file: None, ..source(&path) }).unwrap();
    assert_eq!((recovery, unseen.unwrap().name), (Recovery::Nothing, text(&data).as_bytes().to_vec()));
}

/// A data file that is to be the raw disk and is not: a newer image has written to it, and an edit through an older copy would
/// put zeros over that.
#[test]
fn a_raw_data_file_that_is_not_the_disk_is_not_written() {
    if !qemu::available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [path, data, newer] = ["disk.qcow2", "data", "newer.qcow2"].map(|name| dir.path().join(name));
    create(&path, &data, ",data_file_raw=on");
    qemu::io(&path, &["write -P 7 0 512k".to_owned(), "write -z 128k 128k".to_owned()]);
    fs::copy(&path, &newer).unwrap();
    qemu::io(&newer, &["write -P 8 128k 64k".to_owned()]);
    let before = (fs::read(&path).unwrap(), fs::read(&data).unwrap());
    let edit = begin(&path, &Destination::InPlace);
    let error = edit.disk().write_at(&[9; 512], 130 << 10).unwrap_err();
    assert_eq!(error.kind(), Corrupt);
    assert!(error.to_string().contains("raw disk") && error.hint().unwrap().contains("qemu-img compare"), "{error:?}");
    assert!(edit.finish().is_err());
    drop(edit);
    // The zeros that it has too may be written over.
    let edit = begin(&path, &Destination::InPlace);
    edit.disk().write_at(&[9; 512], 200 << 10).unwrap();
    drop(edit);
    assert!((fs::read(&path).unwrap(), fs::read(&data).unwrap()) == before);
}
