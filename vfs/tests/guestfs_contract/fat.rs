//! FAT on images that mkfs.vfat makes, judged by fsck.vfat.

use crate::ground::{DirectoryLinks, Made};
use crate::oracle;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::{GuestFs, Mode, Timestamp, open};
use std::sync::{Arc, OnceLock};

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 5 } };

type Template = OnceLock<Vec<u8>>;

/// Clusters of 4 KiB.
pub fn fat12() -> Option<Made> {
    static TEMPLATE: Template = Template::new();
    made(&TEMPLATE, 12, &["-F", "12", "-s", "8"])
}

/// Clusters of 1 KiB.
pub fn fat16() -> Option<Made> {
    static TEMPLATE: Template = Template::new();
    made(&TEMPLATE, 24, &["-F", "16", "-s", "2"])
}

/// Clusters of 512 bytes.
pub fn fat32() -> Option<Made> {
    static TEMPLATE: Template = Template::new();
    made(&TEMPLATE, 40, &["-F", "32", "-s", "1"])
}

fn made(template: &'static Template, mebibytes: u64, arguments: &[&str]) -> Option<Made> {
    if !oracle::have(&["mkfs.vfat", "fsck.vfat"]) {
        return None;
    }
    let image = template.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        oracle::mkfs_vfat(file.path(), mebibytes << 20, oracle::Before::Garbage, arguments);
        std::fs::read(file.path()).unwrap()
    });
    let device = Arc::new(MemDevice::new(image.clone()));
    let fs = open(Arc::clone(&device) as Arc<dyn BlockDevice>, NOW).unwrap();
    let judge = move |fs: Box<dyn GuestFs>| {
        fs.close().unwrap();
        let mut bytes = vec![0; device.size() as usize];
        device.read_at(&mut bytes, 0).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        oracle::fsck_vfat(file.path(), "after the case");
        open(device, Mode::ReadOnly).unwrap()
    };
    Some(Made { fs, judge: Box::new(judge), links: DirectoryLinks::One })
}
