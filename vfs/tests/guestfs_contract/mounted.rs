//! Filesystems that the host's kernel has mounted, by FUSE and loop, judged by the tools of each.

use crate::WORKER;
use crate::ground::{DirectoryLinks, FILE, Made};
use crate::oracle;
use imgraft_vfs::block::BlockDevice;
use imgraft_vfs::fs::{Content, GuestFs, Mode, Timestamp, read_file};
use imgraft_vfs::kernel::host::Fuse;
use imgraft_vfs::kernel::{Attach, Request};
use imgraft_vfs::volume::Signature;
use imgraft_vfs::{Error, ErrorKind, Layer, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 5 } };

/// Bytes of an empty filesystem's image that are copied at a time, where they are not zero.
const PIECE: usize = 64 << 10;

/// A filesystem: how it is made, how it is checked.
pub struct Kind {
    name: &'static str,
    size: u64,
    make: &'static [&'static str],
    check: &'static [&'static str],
    links: DirectoryLinks,
    template: OnceLock<Vec<(u64, Vec<u8>)>>,
}

pub static EXT4: Kind = Kind {
    name: "ext4",
    size: 64 << 20,
    make: &["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-N", "8192", "-E", "lazy_itable_init=1"],
    check: &["e2fsck", "-fn"],
    links: DirectoryLinks::Counted,
    template: OnceLock::new(),
};

pub static XFS: Kind = Kind {
    name: "xfs",
    size: 64 << 20,
    make: &["mkfs.xfs", "-q", "-f"],
    check: &["xfs_repair", "-n"],
    links: DirectoryLinks::Counted,
    template: OnceLock::new(),
};

pub static BTRFS: Kind = Kind {
    name: "btrfs",
    size: 256 << 20,
    make: &["mkfs.btrfs", "-q", "-f"],
    check: &["btrfs", "check", "--readonly"],
    links: DirectoryLinks::One,
    template: OnceLock::new(),
};

impl Kind {
    /// An empty filesystem in a file; `None` where a tool is missing.
    fn image(&self) -> Option<tempfile::NamedTempFile> {
        if !oracle::have(&[self.make[0], self.check[0]]) {
            return None;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(self.size).unwrap();
        for (at, bytes) in self.template.get_or_init(|| self.template()) {
            file.as_file().write_all_at(bytes, *at).unwrap();
        }
        Some(file)
    }

    fn template(&self) -> Vec<(u64, Vec<u8>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(self.size).unwrap();
        let mut command = Command::new(self.make[0]);
        // So that mkfs.xfs makes one as small as those of xfstests are.
        command.env("TEST_DIR", "x").env("TEST_DEV", "x").env("QA_CHECK_FS", "x");
        oracle::run(command.env("PATH", oracle::path_with_sbin()).args(&self.make[1..]).arg(file.path()));
        let mut pieces = Vec::new();
        for at in (0..self.size).step_by(PIECE) {
            let mut bytes = vec![0; PIECE];
            file.as_file().read_exact_at(&mut bytes, at).unwrap();
            if bytes.iter().any(|byte| *byte != 0) {
                pieces.push((at, bytes));
            }
        }
        pieces
    }

    fn signature(&self) -> Signature {
        Signature { name: self.name, label: String::new(), uuid: String::new() }
    }

    /// The verdict of the filesystem's own tools.
    fn check(&self, image: &Path) {
        let mut command = Command::new(self.check[0]);
        oracle::run(command.env("PATH", oracle::path_with_sbin()).args(&self.check[1..]).arg(image));
    }

    fn mount(&self, way: &dyn Attach, image: &Path, mode: Mode) -> Box<dyn GuestFs> {
        let volume = Arc::new(oracle::FileDevice::open(image));
        way.attach(&Request { volume, signature: self.signature(), mode }).unwrap().fs
    }
}

pub fn by_fuse(kind: &'static Kind) -> Option<Made> {
    if !oracle::can_attach() {
        return None;
    }
    made(kind, Fuse::new().with_arguments(WORKER))
}

/// An empty filesystem that a kernel has mounted in this way, and anew for the judge.
pub fn made(kind: &'static Kind, way: impl Attach + 'static) -> Option<Made> {
    let image = kind.image()?;
    let fs = kind.mount(&way, image.path(), NOW);
    let judge = move |fs: Box<dyn GuestFs>| {
        fs.close().unwrap();
        kind.check(image.path());
        kind.mount(&way, image.path(), Mode::ReadOnly)
    };
    Some(Made { fs, judge: Box::new(judge), links: kind.links })
}

#[test]
fn two_at_once_with_the_same_uuid() {
    if !oracle::can_attach() {
        return;
    }
    let way = Fuse::new().with_arguments(WORKER);
    for kind in [&XFS, &EXT4, &BTRFS] {
        let (Some(first), Some(second)) = (kind.image(), kind.image()) else { return };
        let mut mounted = kind.mount(&way, first.path(), NOW);
        let volume = Arc::new(oracle::FileDevice::open(second.path()));
        let mut other = match way.attach(&Request { volume, signature: kind.signature(), mode: NOW }) {
            // Linux 6.7 was the first to have two of them.
            Err(error) if kind.name == "btrfs" && error.kind() == ErrorKind::InUse => {
                assert!(error.hint().is_some_and(|hint| hint.contains("--attach uml")), "{error:?}");
                continue;
            }
            attached => attached.unwrap().fs,
        };
        for (fs, content) in [(&mut mounted, "first"), (&mut other, "second")] {
            let at = oracle::try_at(&**fs, "/f").unwrap();
            fs.create_file(&at, FILE).unwrap();
            fs.put(&at, &Content::bytes(content.as_bytes())).unwrap();
        }
        mounted.close().unwrap();
        other.close().unwrap();
        for (image, content) in [(first, "first"), (second, "second")] {
            kind.check(image.path());
            let fs = kind.mount(&way, image.path(), Mode::ReadOnly);
            let at = oracle::try_at(&*fs, "/f").unwrap();
            assert_eq!(read_file(&*fs, &at, 100).unwrap(), content.as_bytes(), "{}", kind.name);
        }
    }
}

/// A seed, of which this kernel takes one of each UUID, whatever its version: btrfs(5).
#[test]
fn what_this_kernel_has_mounted_already_is_for_another_one() {
    if !oracle::can_attach() || !oracle::have(&["btrfstune"]) {
        return;
    }
    let way = Fuse::new().with_arguments(WORKER);
    let (Some(first), Some(second)) = (BTRFS.image(), BTRFS.image()) else { return };
    for image in [&first, &second] {
        let mut command = Command::new("btrfstune");
        oracle::run(command.env("PATH", oracle::path_with_sbin()).args(["-f", "-S", "1"]).arg(image.path()));
    }
    let mounted = BTRFS.mount(&way, first.path(), Mode::ReadOnly);
    let volume = Arc::new(oracle::FileDevice::open(second.path()));
    let error = way.attach(&Request { volume, signature: BTRFS.signature(), mode: Mode::ReadOnly }).unwrap_err();
    // So that `auto` goes on.
    assert_eq!((error.kind(), error.layer()), (ErrorKind::InUse, Layer::Kernel), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--attach uml")), "{error:?}");
    mounted.close().unwrap();
}

/// What a disk does with the requests that are too many for it.
#[derive(Debug)]
enum Then {
    /// It takes no write any more.
    Fail,
    /// It gives no answer until it is let go.
    Wait(Mutex<bool>, Condvar),
}

/// A disk that answers so many requests.
#[derive(Debug)]
struct Worn {
    disk: oracle::FileDevice,
    left: AtomicUsize,
    then: Then,
}

impl Worn {
    fn take_one(&self) -> Result<()> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Ok(());
        }
        match &self.then {
            Then::Fail => Err(Error::new(ErrorKind::Io, Layer::Host, "the disk is worn out")),
            Then::Wait(go, changed) => {
                drop(changed.wait_while(go.lock().unwrap(), |go| !*go).unwrap());
                Ok(())
            }
        }
    }

    fn let_go(&self) {
        if let Then::Wait(go, changed) = &self.then {
            *go.lock().unwrap() = true;
            changed.notify_all();
        }
    }
}

impl BlockDevice for Worn {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        if let Then::Wait(..) = self.then {
            self.take_one()?;
        }
        self.disk.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.take_one()?;
        self.disk.write_at(buf, offset)
    }

    fn flush(&self) -> Result<()> {
        self.disk.flush()
    }
}

/// Writes a few files to a filesystem by FUSE whose disk answers so many requests, and closes it; gives how many it has
/// answered.
fn written_to_worn(kind: &Kind, answers: usize, then: Then, deadline: Duration) -> (Result<()>, usize) {
    let image = kind.image().expect("the tools are there");
    let disk = oracle::FileDevice::open(image.path());
    let volume = Arc::new(Worn { disk, left: AtomicUsize::new(answers), then });
    let request = Request { volume: Arc::clone(&volume) as Arc<_>, signature: kind.signature(), mode: NOW };
    let way = Fuse::new().with_arguments(WORKER).with_deadline(deadline);
    let written = way.attach(&request).and_then(|attached| {
        let mut fs = attached.fs;
        for number in 0..20 {
            let at = oracle::try_at(&*fs, format!("/{number}"))?;
            fs.create_file(&at, FILE)?;
            fs.put(&at, &Content::bytes(vec![1; 20_000]))?;
        }
        fs.close()
    });
    let answered = answers - volume.left.load(Ordering::Relaxed);
    volume.let_go();
    (written, answered)
}

#[test]
fn a_disk_that_takes_no_more_is_given_up() {
    if !oracle::can_attach() {
        return;
    }
    let worn = |kind, writes| written_to_worn(kind, writes, Then::Fail, Duration::from_secs(60));
    for kind in [&XFS, &EXT4, &BTRFS] {
        let (written, needed) = worn(kind, usize::MAX);
        written.expect("nothing is worn");
        assert!(needed > 5, "{}: {needed}", kind.name);
        // How the kernel puts writes together is another each time: not the last ones.
        for writes in [0, 1, needed / 4, needed / 2, needed * 3 / 4] {
            let error = worn(kind, writes).0.expect_err("the disk has not taken all of it");
            let told = format!("{error:?}");
            let is_the_disk = !told.contains("too long") && !told.contains("let go");
            assert!(is_the_disk, "{}, {writes} of {needed} writes: {told}", kind.name);
        }
    }
}

#[test]
fn a_kernel_that_gives_no_answer_is_given_up() {
    if !oracle::can_attach() {
        return;
    }
    let stuck = |answers, deadline| {
        let then = Then::Wait(Mutex::new(false), Condvar::new());
        written_to_worn(&XFS, answers, then, Duration::from_secs(deadline))
    };
    let (written, needed) = stuck(usize::MAX, 60);
    written.expect("nothing is stuck");
    // In the middle of the mount, and after it.
    for answers in [2, needed * 3 / 4] {
        let error = stuck(answers, 1).0.expect_err("the disk is stuck");
        assert!(error.to_string().contains("has not answered for too long"), "{answers} of {needed}: {error:?}");
    }
}
