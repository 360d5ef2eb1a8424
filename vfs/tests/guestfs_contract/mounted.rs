//! Filesystems that the host's kernel has mounted, by FUSE and loop, judged by the tools of each.

use crate::ground::{DirectoryLinks, Made};
use crate::oracle;
use imgraft_vfs::fs::{GuestFs, Mode, Timestamp};
use imgraft_vfs::kernel::host::Fuse;
use imgraft_vfs::kernel::{Attach, Request};
use imgraft_vfs::volume::Signature;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

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
    made(kind, Fuse::new().with_arguments(["--ignored", "--exact", "worker"]))
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
