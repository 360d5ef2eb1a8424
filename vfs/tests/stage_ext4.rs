//! From the stage through the driver to the second reader, on an image that mke2fs made.

mod oracle;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::{Attrs, Content, DeviceNumber, GuestFs, Mode, SetAttrs, SpecialFile, Timestamp, Xattr, open};
use imgraft_vfs::image::{self, Format};
use imgraft_vfs::path::GuestPath;
use imgraft_vfs::stage::{ChangeSet, Stage};
use imgraft_vfs::transaction::{Access, Transaction};
use imgraft_vfs::verify::{Verdict, verify};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

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
    for at in ["/home/user/second", "/etc/first"].map(path) {
        if stage.metadata(&at).unwrap().is_some() {
            stage.remove(&at).unwrap();
        }
    }
    stage.write(&path("/home/user/second"), Content::bytes([3; 70_000]), FILE).unwrap();
    stage.hard_link(&path("/home/user/second"), &path("/etc/first")).unwrap();
    let null = DeviceNumber::new(1, 3).unwrap();
    stage.create_special(&path("/home/user/null"), SpecialFile::CharDevice(null), FILE).unwrap();
    stage.create_special(&path("/home/user/pipe"), SpecialFile::Fifo, FILE).unwrap();
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
    assert_eq!(verdict, Verdict::Agrees { by: "ext4-view", paths: changes.changes().len(), xattrs_unverified: 1 });

    let mut bytes = vec![0; device.size() as usize];
    device.read_at(&mut bytes, 0).unwrap();
    std::fs::write(&image, bytes).unwrap();
    oracle::e2fsck(&image, "after the changes");

    let fs = open(Arc::clone(&device), Mode::ReadOnly).unwrap();
    let again = stage(&*fs);
    assert!(again.is_empty(), "a second run would change {:?}", again.changes());
}

/// A large host file in a raw image, up to the commit; `Err` is what that says.
fn upload(image: &Path, source: &Path, before_commit: impl FnOnce()) -> imgraft_vfs::Result<()> {
    let txn = Transaction::begin(image, Access::Write)?;
    let disk = image::open(txn.overlay(), Some(Format::Raw))?;
    let device = Arc::clone(&disk) as Arc<dyn BlockDevice>;
    let now = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 0 } };
    let mut fs = open(Arc::clone(&device), now)?;
    let mut stage = Stage::new(&*fs);
    stage.write(&path("/large"), Content::open(source)?, FILE)?;
    let changes = stage.finish()?;
    changes.apply(&mut *fs)?;
    fs.close()?;
    assert!(matches!(verify(device, &changes)?, Verdict::Agrees { paths: 1, .. }));
    before_commit();
    txn.commit(disk.finish()?).map(drop)
}

/// The content of a file by debugfs; nothing where there is none.
fn cat(image: &Path, path: &str) -> Vec<u8> {
    let mut command = Command::new("debugfs");
    command.env("PATH", oracle::path_with_sbin()).arg("-R").arg(format!("cat {path}")).arg(image);
    command.output().unwrap().stdout
}

#[test]
fn a_large_host_file_is_committed_as_it_was_verified_or_not_at_all() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (image, source) = (place.path().join("image"), place.path().join("source"));
    let bytes: Vec<u8> = (0..(11 << 20) + 777_u32).map(|n| (n % 251) as u8).collect();
    for block_size in ["1024", "4096"] {
        for change in ["nothing", "a byte", "the end"] {
            oracle::mke2fs(&image, 64, oracle::Before::Garbage, &["-t", "ext4", "-b", block_size]);
            fs::write(&source, &bytes).unwrap();
            let result = upload(&image, &source, || match change {
                "nothing" => {}
                "a byte" => File::options().write(true).open(&source).unwrap().write_all_at(b"!", 9 << 20).unwrap(),
                _ => File::options().write(true).open(&source).unwrap().set_len(9 << 20).unwrap(),
            });
            let context = format!("blocks of {block_size}, {change} changes");
            oracle::e2fsck(&image, &context);
            let found = cat(&image, "/large");
            match result {
                // Small blocks may lie so that the content was copied before.
                Ok(()) if change == "nothing" || block_size == "1024" => assert!(found == bytes, "{context}"),
                Err(error) if change != "nothing" => {
                    assert_eq!(error.kind(), ErrorKind::Io, "{context}");
                    assert!(error.to_string().contains("the image is as it was"), "{context}: {error}");
                    assert_eq!(found, [0_u8; 0], "{context}");
                }
                other => panic!("{context}: {other:?}"),
            }
            let names = fs::read_dir(place.path()).unwrap().count();
            assert_eq!(names, 2, "{context}: nothing is left beside the image");
        }
    }
}

/// A device that writes down what is said to be unused, and says what it is told of itself.
#[derive(Debug)]
struct Noting {
    device: MemDevice,
    as_found: bool,
    unused: Mutex<u64>,
}

impl BlockDevice for Noting {
    fn size(&self) -> u64 {
        self.device.size()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> imgraft_vfs::Result<()> {
        self.device.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> imgraft_vfs::Result<()> {
        self.device.write_at(buf, offset)
    }
    fn flush(&self) -> imgraft_vfs::Result<()> {
        self.device.flush()
    }
    fn is_as_found(&self) -> bool {
        self.as_found
    }
    fn note_unused(&self, _offset: u64, len: u64) {
        *self.unused.lock().unwrap() += len;
    }
}

#[test]
fn blocks_are_new_only_in_a_filesystem_that_is_as_it_was_found() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (tree, image) = (place.path().join("tree"), place.path().join("image"));
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("orphan"), vec![1; 100_000]).unwrap();
    let features = ["-t", "ext4", "-O", "^metadata_csum", "-d", tree.to_str().unwrap()];
    oracle::mke2fs(&image, 16, oracle::Before::Zeros, &features);
    let clean = fs::read(&image).unwrap();
    // The first file that mke2fs makes has the first inode after lost+found: 12.
    for request in ["unlink orphan", "sif <12> links_count 0", "ssv last_orphan 12"] {
        oracle::run(
            Command::new("debugfs").env("PATH", oracle::path_with_sbin()).args(["-w", "-R", request]).arg(&image),
        );
    }
    let orphaned = fs::read(&image).unwrap();
    for (bytes, as_found, expected) in [(&clean, true, 8000_u64), (&clean, false, 0), (&orphaned, true, 0)] {
        let device = Noting { device: MemDevice::new(bytes.clone()), as_found, unused: Mutex::default() };
        let device = Arc::new(device);
        let now = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 0 } };
        let mut fs = open(Arc::clone(&device) as Arc<dyn BlockDevice>, now).unwrap();
        let mut stage = Stage::new(&*fs);
        stage.write(&path("/new"), Content::bytes([7; 8000]), FILE).unwrap();
        stage.finish().unwrap().apply(&mut *fs).unwrap();
        let features = fs.features();
        assert_eq!(features.recovered.map_or(0, |recovered| recovered.orphans), u32::from(*bytes == orphaned));
        fs.close().unwrap();
        let block = u64::from(features.block_size);
        assert_eq!(*device.unused.lock().unwrap(), expected.next_multiple_of(block), "as found: {as_found}");
    }
}
