//! Filesystems that were cut off in the middle of things: replayed by this driver, by the kernel and by e2fsck, with
//! one result.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, FileDevice, Mounted, Scratch, Tree, at};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
const ATTRS: Attrs = Attrs { mode: 0o640, uid: 12, gid: 34 };

/// What becomes of the running transaction when the power goes (EXT4_IOC_SHUTDOWN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It is committed to the log.
    AfterCommit = 1,
    /// It is lost.
    AtOnce = 2,
}

/// Cuts the power of a mounted filesystem.
fn cut(at: &Path, how: Cut) {
    let script = "import fcntl, os, struct, sys\n\
                  fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', int(sys.argv[2])))";
    oracle::run(Command::new("python3").args(["-c", script]).arg(at).arg((how as u32).to_string()));
}

fn sync(at: &Path) {
    rustix::fs::syncfs(File::open(at).unwrap()).unwrap();
}

/// Things of all kinds over several transactions, with blocks that are freed and used again.
fn work(root: &Path) {
    // Begins as the journal's own blocks do: escaped where content goes through the journal.
    let mut content = vec![0xc0, 0x3b, 0x39, 0x98];
    content.resize(9000, 0x42);
    for round in 0..6 {
        let directory = root.join(format!("d{round}"));
        fs::create_dir(&directory).unwrap();
        for number in 0..60 {
            let path = directory.join(format!("{number}-{}", "n".repeat(90)));
            fs::write(&path, &content[..number * 100]).unwrap();
            rustix::fs::lsetxattr(&path, "user.note", &[7; 200], rustix::fs::XattrFlags::empty()).unwrap();
        }
        fs::write(root.join("log"), vec![round; 20_000 + usize::from(round)]).unwrap();
        fs::write(root.join(format!("big{round}")), &content).unwrap();
        std::os::unix::fs::symlink("t".repeat(200), root.join(format!("link{round}"))).unwrap();
        sync(root);
        if round % 2 == 1 {
            fs::remove_dir_all(root.join(format!("d{}", round - 1))).unwrap();
            fs::rename(&directory, root.join("d1/moved")).unwrap_or_default();
            sync(root);
        }
    }
    // What only the running transaction knows.
    fs::write(root.join("late"), &content).unwrap();
    fs::remove_file(root.join("big1")).unwrap();
}

/// The edit that follows a recovery.
fn edit(image: &Path) -> Tree {
    let device = Arc::new(FileDevice::open(image));
    let mut fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, Mode::ReadWrite { now: NOW }).unwrap());
    let path = at(&*fs, "/etc");
    fs.create_dir(&path, ATTRS).unwrap();
    let path = at(&*fs, "/etc/new");
    fs.create_file(&path, ATTRS).unwrap();
    fs.put(&path, &Content::bytes(vec![3; 30_000])).unwrap();
    let path = at(&*fs, "/log");
    fs.append(&path, &Content::bytes(vec![9; 5000])).unwrap();
    fs.close().unwrap();
    oracle::e2fsck(image, "edited");
    Mounted::new(image, "ro,noload").tree()
}

fn read(image: &Path) -> Tree {
    oracle::tree(&Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadOnly).unwrap())
}

fn has_journal_to_replay(image: &Path) -> bool {
    oracle::run(Command::new("dumpe2fs").arg("-h").arg(image)).contains("needs_recovery")
}

/// Recovers copies of an image in each way, and compares.
fn judge(image: &Path, scratch: &Scratch, context: &str) {
    let [ours, kernels, checkers] = ["ours", "kernels", "checkers"].map(|name| scratch.path(name));
    for copy in [&ours, &kernels, &checkers] {
        fs::copy(image, copy).unwrap();
    }
    assert!(has_journal_to_replay(image), "{context}: not dirty");
    let seen = read(image);
    assert!(fs::read(image).unwrap() == fs::read(&ours).unwrap(), "{context}: reading has written");
    let kernel_saw = {
        let mounted = Mounted::new(&kernels, "rw");
        mounted.tree()
    };
    oracle::assert_same(&seen, &kernel_saw, &format!("{context}: read"));
    let status = Command::new("e2fsck").arg("-fy").arg(&checkers).output().unwrap();
    assert!(status.status.code().is_some_and(|code| code < 4), "{context}: {status:?}");
    let [ours, kernels, checkers] = [ours, kernels, checkers].map(|copy| edit(&copy));
    oracle::assert_same(&ours, &kernels, &format!("{context}: as the kernel"));
    oracle::assert_same(&ours, &checkers, &format!("{context}: as e2fsck"));
}

/// Makes an image whose power is cut after `work`.
fn dirty(image: &Path, mebibytes: u64, arguments: &[&str], options: &str, how: Cut, work: impl FnOnce(&Path)) {
    oracle::mke2fs(image, mebibytes, Before::Garbage, arguments);
    let mounted = Mounted::new(image, options);
    work(mounted.path());
    cut(mounted.path(), how);
}

fn can_cut() -> bool {
    oracle::have(&["mke2fs", "e2fsck", "debugfs", "dumpe2fs", "python3"]) && oracle::can_mount()
}

#[test]
fn a_cut_off_filesystem_is_what_the_kernel_makes_of_it() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for (arguments, options, how) in [
        (&["-t", "ext4"][..], "rw", Cut::AtOnce),
        (&["-t", "ext4"], "rw,data=journal", Cut::AfterCommit),
        (&["-t", "ext4", "-b", "1024", "-O", "^64bit"], "rw,data=journal", Cut::AtOnce),
        (&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit", "-J", "size=4"], "rw", Cut::AfterCommit),
        (&["-t", "ext4", "-b", "2048", "-O", "^metadata_csum"], "rw,journal_checksum", Cut::AtOnce),
        (&["-t", "ext4", "-O", "^metadata_csum"], "rw,data=writeback,journal_async_commit", Cut::AfterCommit),
        (&["-t", "ext4", "-b", "1024", "-O", "^orphan_file,metadata_csum_seed"], "rw", Cut::AtOnce),
    ] {
        let context = format!("{arguments:?} {options} {how:?}");
        dirty(&image, 32, arguments, options, how, work);
        judge(&image, &scratch, &context);
    }
}
