//! `bigalloc`: files that begin, end and have holes inside of clusters, with extents in many leaves.

mod oracle;

use imgraft_vfs::ErrorKind;
use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, FileDevice, Mounted, Random, Scratch, at};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const ATTRS: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

fn write(image: &Path) -> Box<dyn GuestFs> {
    Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap())
}

/// Has e2fsck and the kernel judge an image.
fn judge(image: &Path, context: &str) {
    oracle::e2fsck(image, context);
    if oracle::can_mount() {
        let fs = Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap();
        oracle::assert_same(&oracle::tree(&fs), &Mounted::new(image, "ro,noload").tree(), context);
    }
}

#[test]
fn a_cluster_is_free_when_none_of_its_blocks_is_used() {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return;
    }
    // Blocks used and skipped in turn: many extents in a cluster, clusters across leaves, clusters without blocks.
    for (cluster, used, skipped) in [("4096", 1, 1), ("16384", 1, 2), ("16384", 3, 30), ("65536", 5, 7)] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 24, Before::Garbage, &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", cluster]);
        let mut random = Random(2);
        let mut fs = write(&image);
        let free = fs.features().free_bytes;
        let file = at(&*fs, "/file");
        fs.create_file(&file, ATTRS).unwrap();
        let mut content = Vec::new();
        for _ in 0..400 {
            let bytes = random.bytes(used * 1024 - 7);
            fs.append(&file, &Content::bytes(bytes.clone())).unwrap();
            content.extend_from_slice(&bytes);
            content.resize(content.len() + 7 + skipped * 1024, 0);
            fs.truncate(&file, content.len() as u64).unwrap();
        }
        fs.close().unwrap();
        judge(&image, &format!("{cluster}: many extents"));
        for step in [1, 1024, 1023, 3 * 1024, 70_000, 5_000, 100_000, 1, 40_000, 16_384, 1024] {
            let context = format!("{cluster}: {} bytes and {step} less", content.len());
            content.truncate(content.len() - step);
            let mut fs = write(&image);
            fs.truncate(&file, content.len() as u64).unwrap();
            let tail = random.bytes(step / 3);
            fs.append(&file, &Content::bytes(tail.clone())).unwrap();
            content.extend_from_slice(&tail);
            fs.close().unwrap();
            judge(&image, &context);
            let fs = write(&image);
            let mut read = vec![1; content.len() + 1];
            assert_eq!(fs.read_at(&file, &mut read, 0).unwrap(), content.len(), "{context}");
            assert!(read[..content.len()] == content, "{context}");
        }
        let mut fs = write(&image);
        fs.put(&file, &Content::bytes(random.bytes(10_000))).unwrap();
        fs.close().unwrap();
        judge(&image, "replaced");
        let mut fs = write(&image);
        fs.remove(&file).unwrap();
        assert_eq!(fs.features().free_bytes, free, "{cluster}");
        fs.close().unwrap();
        judge(&image, "removed");
    }
}

#[test]
fn a_file_without_extents_is_refused_where_clusters_need_them() {
    if !oracle::have(&["mke2fs", "debugfs"]) {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    oracle::mke2fs(&image, 16, Before::Zeros, &["-t", "ext4", "-O", "bigalloc"]);
    let source = scratch.path("source");
    std::fs::write(&source, "content").unwrap();
    for command in [format!("write {} file", source.display()), "sif file flags 0".to_owned()] {
        oracle::run(Command::new("debugfs").args(["-w", "-R", &command]).arg(&image));
    }
    let mut fs = write(&image);
    let file = at(&*fs, "/file");
    let error = fs.put(&file, &Content::bytes([1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("bigalloc"), "{error}");
}
