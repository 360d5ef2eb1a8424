//! Filesystems that were cut off in the middle of things: replayed by this driver, by the kernel and by e2fsck, with
//! one result.

mod oracle;

use imgraft_vfs::fs::ext4::Ext4;
use imgraft_vfs::fs::{Attrs, Content, GuestFs, Mode, Timestamp};
use oracle::{Before, Cut, FileDevice, Mounted, Scratch, Tree, at};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
const ATTRS: Attrs = Attrs { mode: 0o640, uid: 12, gid: 34 };

fn sync(at: &Path) {
    rustix::fs::syncfs(File::open(at).unwrap()).unwrap();
}

/// Things of all kinds over several transactions, with blocks that are freed and used again.
fn work(root: &Path) -> Vec<File> {
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
    Vec::new()
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
    // Of a list that is left with files that are deleted already, e2fsck says nothing.
    let said = oracle::run(Command::new("dumpe2fs").arg("-h").arg(image));
    assert!(!said.contains("First orphan") && !said.contains("orphan_present"), "{said}");
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

/// Makes an image whose power is cut after `work`, while the files that it gives back are open.
fn dirty(
    image: &Path,
    mebibytes: u64,
    arguments: &[&str],
    options: &str,
    how: Cut,
    work: impl FnOnce(&Path) -> Vec<File>,
) {
    oracle::mke2fs(image, mebibytes, Before::Garbage, arguments);
    let mounted = Mounted::new(image, options);
    let open = work(mounted.path());
    oracle::cut(mounted.path(), how);
    drop(open);
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
        (&["-t", "ext3", "-b", "1024"], "rw", Cut::AfterCommit),
        (&["-t", "ext4", "-O", "bigalloc", "-C", "16384"], "rw", Cut::AfterCommit),
    ] {
        let context = format!("{arguments:?} {options} {how:?}");
        dirty(&image, 32, arguments, options, how, work);
        judge(&image, &scratch, &context);
    }
}

/// Files that are open and have no name, and some that are being cut, over both kinds of orphan list.
#[test]
fn what_was_deleted_or_cut_while_it_was_open_is_finished() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for (arguments, files, filed) in [
        (&["-t", "ext4", "-O", "orphan_file"][..], 5, true),
        (&["-t", "ext4", "-b", "1024", "-O", "^orphan_file"], 40, false),
        (&["-t", "ext4", "-b", "1024", "-O", "orphan_file,^metadata_csum"], 40, true),
        (&["-t", "ext3", "-b", "1024"], 12, false),
    ] {
        let context = format!("{arguments:?}");
        dirty(&image, 32, arguments, "rw", Cut::AfterCommit, |root| {
            let mut open = Vec::new();
            fs::write(root.join("log"), [1; 3000]).unwrap();
            for number in 0..files {
                let path = root.join(format!("gone{number}"));
                fs::write(&path, vec![5; number * 3001]).unwrap();
                rustix::fs::lsetxattr(&path, "user.note", &[7; 300], rustix::fs::XattrFlags::empty()).unwrap();
                open.push(File::open(&path).unwrap());
            }
            fs::create_dir(root.join("empty")).unwrap();
            open.push(File::open(root.join("empty")).unwrap());
            sync(root);
            fs::remove_dir(root.join("empty")).unwrap();
            for number in 0..files {
                fs::remove_file(root.join(format!("gone{number}"))).unwrap();
            }
            open
        });
        let said = oracle::run(Command::new("dumpe2fs").arg("-h").arg(&image));
        assert_eq!(said.contains("orphan_present"), filed, "{context}: {said}");
        judge(&image, &scratch, &context);
        let copy = scratch.path("copy");
        fs::copy(&image, &copy).unwrap();
        let fs = Ext4::open(Arc::new(FileDevice::open(&copy)), Mode::ReadWrite { now: NOW }).unwrap();
        let recovered = fs.features().recovered.unwrap();
        assert_eq!(recovered.orphans as usize, files + 1, "{context}");
        assert!(recovered.transactions > 1, "{context}");
    }
}

fn debugfs(image: &Path, commands: &[&str]) -> String {
    let mut text = String::new();
    for command in commands {
        text += &oracle::run(Command::new("debugfs").args(["-w", "-R", command]).arg(image));
    }
    text
}

/// A file that has a name and is listed: its size is what it was to be cut to, and blocks lie behind.
#[test]
fn a_file_that_was_being_cut_ends_where_it_should() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for arguments in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext3", "-b", "1024"], &["-t", "ext4", "-b", "4096"]] {
        for size in [0, 1, 1024, 5000, 100_000] {
            let context = format!("{arguments:?} {size}");
            oracle::mke2fs(&image, 16, Before::Garbage, arguments);
            let source = scratch.path("source");
            fs::write(&source, vec![0x55; 300_000]).unwrap();
            let write = format!("write {} cut", source.display());
            debugfs(&image, &[&write, &format!("sif cut size {size}"), "sif cut dtime 0"]);
            let stat = debugfs(&image, &["stat cut"]);
            let number = stat.split_whitespace().nth(1).unwrap();
            debugfs(&image, &[&format!("ssv last_orphan {number}")]);
            let device = Arc::new(FileDevice::open(&image));
            let fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, Mode::ReadWrite { now: NOW }).unwrap());
            let recovered = fs.features().recovered.unwrap();
            assert_eq!((recovered.transactions, recovered.orphans), (0, 1), "{context}");
            fs.close().unwrap();
            oracle::e2fsck(&image, &context);
            // The kernel clears what lies behind the end when it mounts, and may count on that when the file grows.
            let block_size: usize = arguments.last().and_then(|word| word.parse().ok()).unwrap();
            if size % block_size != 0 {
                let last = debugfs(&image, &[&format!("bmap cut {}", size / block_size)]);
                let block: usize = last.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
                let bytes = fs::read(&image).unwrap();
                let tail = &bytes[block * block_size..][..block_size][size % block_size..];
                assert!(tail.iter().all(|byte| *byte == 0), "{context}: what was cut is still there");
            }
            // What lies behind the end shows when the file grows.
            let mounted = Mounted::new(&image, "rw");
            let path = mounted.path().join("cut");
            File::options().write(true).open(&path).unwrap().set_len(200_000).unwrap();
            let content = fs::read(&path).unwrap();
            assert!(content[..size].iter().all(|byte| *byte == 0x55), "{context}");
            assert!(content[size..].iter().all(|byte| *byte == 0), "{context}: what was cut came back");
        }
    }
}

/// Gives the next transaction of a journal that is empty its number.
fn number_first(image: &Path, sequence: u32) {
    let mut bytes = fs::read(image).unwrap();
    // The mark of the journal's superblock, and its kind.
    let mark = [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4];
    let journal = (0..bytes.len()).step_by(1024).find(|at| bytes[*at..].starts_with(&mark)).unwrap();
    bytes[journal + 0x18..][..4].copy_from_slice(&sequence.to_be_bytes());
    fs::write(image, bytes).unwrap();
}

/// Logs of every form, as debugfs writes them: copies, some of them revoked by a later transaction.
#[test]
fn logs_of_every_form() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    let [one, two] = [0x11, 0xc0].map(|byte| {
        let path = scratch.path(&format!("{byte}"));
        // Begins as the journal's own blocks do, so that it is escaped.
        let mut content = vec![byte; 64 * 1024];
        content[..4].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98]);
        fs::write(&path, content).unwrap();
        path
    });
    for (block_size, features) in [
        ("1024", "^metadata_csum,^64bit"),
        ("1024", "^metadata_csum,64bit"),
        ("1024", "metadata_csum,^64bit"),
        ("4096", "metadata_csum,64bit"),
        ("4096", "^metadata_csum,^64bit"),
    ] {
        // The number of the first transaction: the third and last is past 0.
        for (checksums, first) in [("", 1), ("", 0xffff_fffe_u32), ("-c -v 2", 1), ("-c -v 3", 1)] {
            if first != 1 && features.starts_with("metadata_csum") {
                // The checksum of the journal's superblock would be wrong.
                continue;
            }
            let context = format!("{block_size} {features} {checksums} {first}");
            oracle::mke2fs(
                &image,
                32,
                Before::Zeros,
                &["-t", "ext4", "-b", block_size, "-O", features, "-J", "size=4"],
            );
            number_first(&image, first);
            let script = scratch.path("script");
            // Blocks that nobody has: 4000 to 4003 are copied and revoked, 4004 copied again after that.
            let lines = format!(
                "jo {checksums}\njw -b 4000-4004 {}\njw -r 4000-4004\njw -b 4004-4007 {}\njc\n",
                one.display(),
                two.display()
            );
            fs::write(&script, lines).unwrap();
            oracle::run(Command::new("debugfs").args(["-w", "-f"]).arg(&script).arg(&image));
            let [ours, kernels] = ["ours", "kernels"].map(|name| scratch.path(name));
            fs::copy(&image, &ours).unwrap();
            fs::copy(&image, &kernels).unwrap();
            let device = Arc::new(FileDevice::open(&ours));
            if features.contains("^metadata_csum") && !checksums.is_empty() {
                // debugfs gives a transaction of revokes no checksum that the kernel takes.
                assert!(!mounts(&kernels), "{context}");
                let error = Ext4::open(device, Mode::ReadWrite { now: NOW }).unwrap_err();
                assert_eq!(error.kind(), imgraft_vfs::ErrorKind::Corrupt, "{context}: {error}");
                assert!(error.to_string().contains("checksum in transaction 2"), "{context}: {error}");
                continue;
            }
            drop(Mounted::new(&kernels, "rw"));
            let fs: Box<dyn GuestFs> = Box::new(Ext4::open(device, Mode::ReadWrite { now: NOW }).unwrap());
            assert_eq!(fs.features().recovered.map(|recovered| recovered.transactions), Some(3), "{context}");
            fs.close().unwrap();
            oracle::e2fsck(&ours, &context);
            let [ours, kernels] = [ours, kernels].map(|path| fs::read(path).unwrap());
            let size: usize = block_size.parse().unwrap();
            for block in 3999..4009 {
                let range = block * size..(block + 1) * size;
                assert!(ours[range.clone()] == kernels[range], "{context}: block {block}");
            }
            let first = ours[4004 * size + 4];
            assert_eq!((ours[4000 * size + 4], first), (0, 0xc0), "{context}: nothing was revoked or copied");
        }
    }
}

fn mounts(image: &Path) -> bool {
    let at = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-o", "loop"]).arg(image).arg(at.path()).output().unwrap();
    mounted.status.success() && Command::new("umount").arg(at.path()).status().unwrap().success()
}

#[test]
fn a_filesystem_that_somebody_has_is_left_alone() {
    if !can_cut() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    for features in ["mmp", "mmp,^metadata_csum"] {
        oracle::mke2fs(&image, 16, Before::Garbage, &["-t", "ext4", "-O", features]);
        let clean = fs::read(&image).unwrap();
        let open = |bytes: &[u8], mode| {
            Ext4::open(Arc::new(imgraft_vfs::block::MemDevice::new(bytes.to_vec())), mode).map(|fs| fs.features())
        };
        let fs: Box<dyn GuestFs> =
            Box::new(Ext4::open(Arc::new(FileDevice::open(&image)), Mode::ReadWrite { now: NOW }).unwrap());
        fs.close().unwrap();
        assert!(fs::read(&image).unwrap() == clean, "an open that changes nothing");
        edit_new(&image);
        oracle::e2fsck(&image, features);
        // In use by the kernel, as a copy made meanwhile shows.
        let copy = scratch.path("copy");
        let mounted = Mounted::new(&image, "rw");
        fs::copy(&image, &copy).unwrap();
        drop(mounted);
        let used = fs::read(&copy).unwrap();
        let error = open(&used, Mode::ReadWrite { now: NOW }).unwrap_err();
        assert_eq!(error.kind(), imgraft_vfs::ErrorKind::InUse, "{error}");
        let node = oracle::run(Command::new("uname").arg("-n"));
        assert!(error.to_string().contains(node.trim()) && error.to_string().contains("loop"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("clear_mmp")));
        open(&used, Mode::ReadOnly).unwrap();
        edit_new(&image);
        oracle::e2fsck(&image, features);
    }
}

fn edit_new(image: &Path) {
    let mut fs: Box<dyn GuestFs> =
        Box::new(Ext4::open(Arc::new(FileDevice::open(image)), Mode::ReadWrite { now: NOW }).unwrap());
    let name = format!("/new{}", fs.read_dir(&at(&*fs, "/")).unwrap().len());
    let path = at(&*fs, name);
    fs.create_file(&path, ATTRS).unwrap();
    fs.close().unwrap();
}
