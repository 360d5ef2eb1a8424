//! The second reader in a directory with many changes, which it reads through once.

mod oracle;

use imgraft_vfs::block::MemDevice;
use imgraft_vfs::fs::mem::MemFs;
use imgraft_vfs::fs::{Attrs, Content};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::{ChangeSet, Stage};
use imgraft_vfs::verify::{Verdict, verify};
use imgraft_vfs::{Error, ErrorKind};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::Arc;

const FILES: usize = 200;
const BLOCK: usize = 1024;

fn name(number: usize) -> String {
    format!("file-number-{number:04}")
}

fn content(number: usize) -> Vec<u8> {
    let len = if number == 7 { 30_000 } else { number };
    format!("{number:>9} ").into_bytes().into_iter().cycle().take(len).collect()
}

/// An image with many files in `/many`, which has an index, and the owner of all that.
fn image() -> Option<(Vec<u8>, u32, u32)> {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let many = place.path().join("tree/many");
    fs::create_dir_all(&many).unwrap();
    fs::set_permissions(&many, PermissionsExt::from_mode(0o755)).unwrap();
    for number in 0..FILES {
        fs::write(many.join(name(number)), content(number)).unwrap();
        fs::set_permissions(many.join(name(number)), PermissionsExt::from_mode(0o640)).unwrap();
    }
    let owner = fs::metadata(&many).unwrap();
    let image = place.path().join("image");
    let tree = place.path().join("tree");
    let arguments = ["-t", "ext4", "-b", "1024", "-O", "metadata_csum", "-d", tree.to_str().unwrap()];
    oracle::mke2fs(&image, 4, oracle::Before::Zeros, &arguments);
    let mut command = Command::new("e2fsck");
    // 1 or 0: it has made the index, and says that it changed something or not.
    let status = command.env("PATH", oracle::path_with_sbin()).arg("-fyD").arg(&image).output().unwrap().status;
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    Some((fs::read(image).unwrap(), owner.uid(), owner.gid()))
}

/// The changes that make it; of the first files only the mode was changed.
fn changes(uid: u32, gid: u32) -> ChangeSet {
    let mut tree = MemFs::builder().dir("/many").mode(0o755).owner(uid, gid);
    for number in 0..5 {
        tree = tree.file(format!("/many/{}", name(number)), content(number)).mode(0o600).owner(uid, gid);
    }
    let empty = tree.build().unwrap();
    let mut stage = Stage::new(&empty);
    let attrs = Attrs { mode: 0o640, uid, gid };
    for number in 0..FILES {
        let path = GuestPath::parse(format!("/many/{}", name(number))).unwrap();
        if number < 5 {
            let mode = imgraft_vfs::fs::SetAttrs { mode: Some(0o640), ..Default::default() };
            stage.set_attrs(&path, mode).unwrap();
        } else {
            stage.write(&path, Content::bytes(content(number)), attrs).unwrap();
        }
    }
    stage.finish().unwrap()
}

fn judge(image: &[u8], changes: &ChangeSet) -> Result<Verdict, Error> {
    verify(Arc::new(MemDevice::new(image.to_vec())), changes)
}

/// The blocks in which some bytes are.
fn blocks_with(image: &[u8], bytes: &[u8]) -> Vec<usize> {
    let has = |block: &[u8]| block.windows(bytes.len()).any(|window| window == bytes);
    image.chunks(BLOCK).enumerate().filter(|(_, block)| has(block)).map(|(number, _)| number).collect()
}

#[test]
fn a_crowd_is_confirmed_and_its_damage_is_found() {
    let Some((image, uid, gid)) = image() else { return };
    let changes = changes(uid, gid);
    assert_eq!(changes.changes().len(), FILES);
    assert_eq!(
        judge(&image, &changes).unwrap(),
        Verdict::Agrees { by: "ext4-view", paths: FILES, xattrs_unverified: 0 }
    );

    let refused = |image: &[u8], what: &str| {
        let error = judge(image, &changes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(what), "{what}: {error}");
    };
    let mut wrong = image.clone();
    let at = blocks_with(&image, b"      150 ")[0] * BLOCK;
    wrong[at + 149] ^= 1;
    refused(&wrong, "content");

    let leaves = blocks_with(&image, b"file-number-0");
    assert!(leaves.len() > 4, "{leaves:?}");
    let (one, other) = (leaves[1] * BLOCK, leaves[3] * BLOCK);
    let mut wrong = image.clone();
    wrong[one + BLOCK - 1] ^= 1;
    refused(&wrong, "read back");

    // Both leaves are whole, their checksums are right, and each has what the index looks for in the other.
    let mut wrong = image.clone();
    wrong[one..one + BLOCK].copy_from_slice(&image[other..other + BLOCK]);
    wrong[other..other + BLOCK].copy_from_slice(&image[one..one + BLOCK]);
    refused(&wrong, "missing");

    // The size of one file, in an inode whose checksum is then wrong.
    let mut wrong = image.clone();
    let inode = image.windows(8).enumerate().find(|(at, bytes)| {
        at % 128 == 0 && bytes[..2] == 0o100_640_u16.to_le_bytes() && bytes[4..] == 150_u32.to_le_bytes()
    });
    wrong[inode.unwrap().0 + 0x64] ^= 1;
    refused(&wrong, "read back");
}
