//! ext4 on images that mke2fs makes, judged by e2fsck.

use crate::ground::{DirectoryLinks, Made};
use crate::oracle;
use imgraft_vfs::block::{BlockDevice, MemDevice};
use imgraft_vfs::fs::{GuestFs, Mode, Timestamp, open};
use std::sync::{Arc, OnceLock};

/// Bytes.
const SIZE: usize = 24 << 20;
const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 5 } };

type Template = OnceLock<Vec<u8>>;

/// What mke2fs makes when it is not told otherwise, as for Debian, with more inodes.
pub fn default() -> Option<Made> {
    static TEMPLATE: Template = Template::new();
    made(&TEMPLATE, &["-t", "ext4", "-b", "4096", "-N", "8192"])
}

/// Blocks of 1 KiB, and a checksum seed that is not the UUID.
pub fn small_blocks() -> Option<Made> {
    static TEMPLATE: Template = Template::new();
    made(&TEMPLATE, &["-t", "ext4", "-b", "1024", "-N", "8192", "-O", "metadata_csum_seed"])
}

/// Without checksums of metadata, and with 32-bit block numbers.
pub fn without_checksums() -> Option<Made> {
    static TEMPLATE: Template = Template::new();
    made(&TEMPLATE, &["-t", "ext4", "-b", "2048", "-N", "8192", "-O", "^metadata_csum,^64bit,uninit_bg"])
}

/// Without a journal, and with the groups laid out as ext3 has them.
pub fn ungrouped() -> Option<Made> {
    static TEMPLATE: Template = Template::new();
    made(&TEMPLATE, &["-t", "ext4", "-b", "4096", "-N", "8192", "-O", "^has_journal,^flex_bg,^resize_inode"])
}

fn made(template: &'static Template, arguments: &[&str]) -> Option<Made> {
    if !oracle::have(&["mke2fs", "e2fsck"]) {
        return None;
    }
    let image = template.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        oracle::mke2fs(file.path(), SIZE as u64 >> 20, oracle::Before::Garbage, arguments);
        std::fs::read(file.path()).unwrap()
    });
    let device = Arc::new(MemDevice::new(image.clone()));
    let fs = open(Arc::clone(&device) as Arc<dyn BlockDevice>, NOW).unwrap();
    let judge = move |fs: Box<dyn GuestFs>| {
        fs.close().unwrap();
        let mut bytes = vec![0; SIZE];
        device.read_at(&mut bytes, 0).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        oracle::e2fsck(file.path(), "after the case");
        open(device, Mode::ReadOnly).unwrap()
    };
    Some(Made { fs, judge: Box::new(judge), links: DirectoryLinks::Counted })
}
