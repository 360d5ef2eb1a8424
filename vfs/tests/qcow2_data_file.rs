//! qcow2 images whose data lies in another file: read when that is allowed, never written to.

mod qemu;

use imgraft_vfs::ErrorKind::{Corrupt, Denied, Invalid, Unsupported};
use imgraft_vfs::image::{self, Backing, ImageFormat};
use imgraft_vfs::transaction::Access;
use imgraft_vfs::{Error, Result};
use qemu::{Rng, text};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const SIZE: usize = 6 << 20;

fn open(path: &Path, backing: &Backing) -> Result<Arc<dyn ImageFormat>> {
    image::open_chain(qemu::begin(path, Access::Read).overlay(), path, None, backing)
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

        // Nothing is written, not even held.
        let txn = qemu::begin(&path, Access::Write);
        let disk = image::open_chain(txn.overlay(), &path, None, &here()).unwrap();
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
