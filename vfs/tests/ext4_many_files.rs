//! Many small files made in one directory: where the directory's own blocks come to lie.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, FileDevice, Scratch, at};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
const FILES: usize = 1500;

fn content(number: usize) -> Content {
    Content::bytes(format!("{number:>9}\n").repeat(number % 300 + 1).into_bytes())
}

fn fill(image: &Path) {
    let device = Arc::new(FileDevice::open(image));
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, Mode::ReadWrite { now: NOW }).unwrap());
    let many = at(&*fs, "/many");
    fs.create_dir(&many, Attrs { mode: 0o755, uid: 0, gid: 0 }).unwrap();
    for number in 0..FILES {
        let path = at(&*fs, format!("/many/a-file-with-a-name-{number}"));
        fs.create_file(&path, Attrs { mode: 0o644, uid: 0, gid: 0 }).unwrap();
        fs.put(&path, &content(number)).unwrap();
    }
    fs.close().unwrap();
}

#[test]
fn a_directory_that_grows_with_its_files_keeps_together() {
    if !oracle::have(&["mke2fs", "e2fsck", "debugfs"]) {
        return;
    }
    let sets: [&[&str]; 4] = [
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "8192"],
        &["-t", "ext4", "-b", "2048", "-O", "^metadata_csum,^dir_index"],
    ];
    for arguments in sets {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        oracle::mke2fs(&image, 64, Before::Zeros, arguments);
        fill(&image);
        oracle::e2fsck(&image, &format!("{arguments:?}"));
        let mut debugfs = Command::new("debugfs");
        let said = oracle::run(debugfs.env("PATH", oracle::path_with_sbin()).args(["-R", "stat /many"]).arg(&image));
        let extents = said.lines().skip_while(|line| *line != "EXTENTS:").nth(1);
        let extents = extents.map(|extents| extents.matches('(').count());
        assert!(extents.is_some_and(|extents| extents <= 4), "{arguments:?}: {said}");
        let fs = Ext4::open(Arc::new(FileDevice::open(&image)), Mode::ReadOnly).unwrap();
        for number in (0..FILES).step_by(97) {
            let path = at(&fs, format!("/many/a-file-with-a-name-{number}"));
            let wanted = content(number);
            let len = usize::try_from(wanted.len()).unwrap();
            let (mut found, mut expected) = (vec![0; len], vec![0; len]);
            wanted.read_at(&mut expected, 0).unwrap();
            assert_eq!(fs.read_at(&path, &mut found, 0).unwrap(), len);
            assert!(found == expected, "{arguments:?}: {number}");
        }
    }
}
