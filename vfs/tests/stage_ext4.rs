//! From the stage through the driver to the second reader, on an image that mke2fs made.

mod oracle;

use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, SetAttrs, Timestamp, Xattr, open};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::{ChangeSet, Stage};
use imgraft_vfs::verify::{Verdict, verify};
use std::sync::Arc;

const FILE: Attrs = Attrs { mode: 0o600, uid: 1000, gid: 100_000 };
const DIR: Attrs = Attrs { mode: 0o750, uid: 1000, gid: 1000 };

fn path(path: &str) -> GuestPath {
    GuestPath::parse(path).unwrap()
}

/// Changes of every kind, over a tree of `/etc/passwd`, `/etc/big`, `/old/f` and the link `/link` to `/etc`.
fn stage(fs: &dyn GuestFs) -> ChangeSet {
    let mut stage = Stage::new(fs);
    let big: Vec<u8> = (0..900_001_u32).map(|n| (n % 241) as u8).collect();
    stage.write(&path("/link/passwd"), Content::bytes(*b"root:x:0:0::/root:/bin/sh\n"), FILE).unwrap();
    stage.write(&path("/etc/big"), Content::bytes(big), FILE).unwrap();
    stage.create_dirs(&path("/home/user/.ssh"), DIR).unwrap();
    let keys = path("/home/user/.ssh/authorized_keys");
    stage.write(&keys, Content::bytes(*b"ssh-ed25519 AAAA\n"), FILE).unwrap();
    let label = b"system_u:object_r:ssh_home_t:s0\0".to_vec();
    stage.set_xattr(&keys, Xattr { name: b"security.selinux".to_vec(), value: label }).unwrap();
    stage.symlink(&path("/home/user/short"), b".ssh", FILE).unwrap();
    stage.symlink(&path("/home/user/long"), "long/".repeat(60).as_bytes(), FILE).unwrap();
    stage.set_attrs(&path("/etc"), SetAttrs { mode: Some(0o711), ..SetAttrs::default() }).unwrap();
    if stage.metadata(&path("/old/f")).unwrap().is_some() {
        stage.remove(&path("/old/f")).unwrap();
        stage.remove(&path("/old")).unwrap();
    }
    for number in 0..200 {
        stage.write(&path(&format!("/home/user/{number}")), Content::bytes([7; 3000]), FILE).unwrap();
    }
    stage.finish().unwrap()
}

#[test]
fn what_is_staged_is_written_and_confirmed() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::create_dir_all(tree.join("old")).unwrap();
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0::/root:/bin/bash\n").unwrap();
    std::fs::write(tree.join("etc/big"), vec![1; 500_000]).unwrap();
    std::fs::write(tree.join("old/f"), "gone").unwrap();
    std::os::unix::fs::symlink("/etc", tree.join("link")).unwrap();
    let image = place.path().join("image");
    oracle::mke2fs(&image, 16, oracle::Before::Garbage, &["-t", "ext4", "-d", tree.to_str().unwrap()]);

    let device: Arc<dyn BlockDevice> = Arc::new(MemDevice::new(std::fs::read(&image).unwrap()));
    let now = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 0 } };
    let mut fs = open(Arc::clone(&device), now).unwrap();
    let changes = stage(&*fs);
    changes.apply(&mut *fs).unwrap();
    fs.close().unwrap();
    let verdict = verify(Arc::clone(&device), &changes).unwrap();
    assert_eq!(verdict, Verdict::Agrees { paths: changes.changes().len(), xattrs_unverified: 1 });

    let mut bytes = vec![0; device.size() as usize];
    device.read_at(&mut bytes, 0).unwrap();
    std::fs::write(&image, bytes).unwrap();
    oracle::e2fsck(&image, "after the changes");

    let fs = open(Arc::clone(&device), Mode::ReadOnly).unwrap();
    let again = stage(&*fs);
    assert!(again.is_empty(), "a second run would change {:?}", again.changes());
}
