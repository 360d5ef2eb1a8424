//! A process that commits again and again is killed at random moments; the image is always one of its versions.

#![allow(clippy::print_stderr, reason = "how many kills hit what is what this test has to say")]

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::transaction::{Access, CommitPlan, Recovery, Transaction};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const IMAGE: &str = "IMGRAFT_TEST_KILL_IMAGE";
const PLAN: &str = "IMGRAFT_TEST_KILL_PLAN";
const PAGE: usize = 4096;
/// Pages that a journalled version writes, far apart and together.
const PAGES: [u64; 12] = [0, 1, 2, 3, 40, 42, 44, 100, 200, 201, 500, 1023];

/// Takes the image to its next version, through the journal: every page says which version it is.
fn next_by_journal(path: &Path) {
    let txn = Transaction::begin(path, Access::Write).unwrap();
    let version = journalled_version(&*txn.overlay()) + 1;
    for page in PAGES {
        let bytes: Vec<u8> = (version + page).to_le_bytes().into_iter().cycle().take(PAGE).collect();
        txn.overlay().write_at(&bytes, page * PAGE as u64).unwrap();
    }
    txn.commit(CommitPlan::Journal).unwrap();
}

/// The version that all pages say.
fn journalled_version(image: &dyn BlockDevice) -> u64 {
    let mut versions = Vec::new();
    for page in PAGES {
        let mut bytes = [0; PAGE];
        image.read_at(&mut bytes, page * PAGE as u64).unwrap();
        for number in bytes.chunks_exact(8) {
            versions.push(u64::from_le_bytes(number.try_into().unwrap()).wrapping_sub(page));
        }
    }
    versions.dedup();
    assert_eq!(versions.len(), 1, "a mixture of versions: {versions:?}");
    versions[0]
}

/// Takes the image to its next version by a switch: the header points at bytes past the old end.
fn next_by_switch(path: &Path) {
    let txn = Transaction::begin(path, Access::Write).unwrap();
    let image = txn.overlay();
    let version = switched_version(&*image) + 1;
    let at = image.base_size();
    image.grow(at + 5 * PAGE as u64).unwrap();
    let bytes: Vec<u8> = version.to_le_bytes().into_iter().cycle().take(5 * PAGE).collect();
    image.write_at(&bytes, at).unwrap();
    let header: Vec<u8> = [version, at].into_iter().flat_map(u64::to_le_bytes).collect();
    image.write_at(&header, 0).unwrap();
    txn.commit(CommitPlan::Switch { sector: 0, freed: Vec::new() }).unwrap();
}

/// The version that the header says, and the bytes that it points at.
fn switched_version(image: &dyn BlockDevice) -> u64 {
    let mut header = [0; 16];
    image.read_at(&mut header, 0).unwrap();
    let version = u64::from_le_bytes(header[..8].try_into().unwrap());
    let at = u64::from_le_bytes(header[8..].try_into().unwrap());
    if version > 0 {
        let mut bytes = vec![0; 5 * PAGE];
        image.read_at(&mut bytes, at).unwrap();
        let expected: Vec<u8> = version.to_le_bytes().into_iter().cycle().take(5 * PAGE).collect();
        assert!(bytes == expected, "version {version} has other bytes");
    }
    version
}

/// Not a test by itself: the process that the tests below start and kill.
#[test]
fn child() {
    let Some(image) = std::env::var_os(IMAGE).map(PathBuf::from) else { return };
    let next = if std::env::var(PLAN).is_ok_and(|plan| plan == "switch") { next_by_switch } else { next_by_journal };
    // The parent kills it long before.
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        next(&image);
    }
}

fn kill_again_and_again(plan: &str, version: fn(&dyn BlockDevice) -> u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let start: Vec<u8> = match plan {
        "switch" => vec![0; PAGE],
        _ => (0..1024_u64).flat_map(|page| page.to_le_bytes().into_iter().cycle().take(PAGE)).collect(),
    };
    fs::write(&path, start).unwrap();
    let mut reached = 0;
    let (mut finished, mut discarded, mut pending) = (0, 0, 0);
    let kills = 30_u32;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(IMAGE, &path)
            .env(PLAN, plan)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Longer as long as no commit has come through.
        let times = if reached == 0 { kill + 1 } else { 1 };
        std::thread::sleep(Duration::from_micros(20_000 + u64::from(kill) * 7_919 % 31_000) * times);
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        match Transaction::begin(&path, Access::Read) {
            Ok(txn) => assert!(version(&*txn.overlay()) >= reached),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
                pending += 1;
            }
        }
        let txn = Transaction::begin(&path, Access::Write).unwrap();
        match txn.recovered() {
            Recovery::Nothing => {}
            Recovery::Finished => finished += 1,
            Recovery::Discarded => discarded += 1,
        }
        let now = version(&*txn.overlay());
        assert!(now >= reached, "version {now} after {reached}");
        reached = now;
    }
    assert!(reached > 0, "no commit came through");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["disk.img"]);
    eprintln!(
        "{plan}: {kills} kills in {reached} commits; {pending} pending, {finished} finished, {discarded} discarded"
    );
}

#[test]
fn kills_of_journalled_commits() {
    kill_again_and_again("journal", journalled_version);
}

#[test]
fn kills_of_switching_commits() {
    kill_again_and_again("switch", switched_version);
}
