//! Filesystems in a User Mode Linux kernel, judged by the tools of each.

use crate::ground::Made;
use crate::mounted::{BTRFS, EXT4, Kind, XFS};
use crate::oracle;
use imgraft_vfs::fs::{GuestFs, Mode, Timestamp};
use imgraft_vfs::kernel::uml::Uml;
use imgraft_vfs::kernel::{Attach, Request};
use std::path::Path;
use std::sync::Arc;

const NOW: Mode = Mode::ReadWrite { now: Timestamp { seconds: 1_750_000_000, nanoseconds: 5 } };

pub fn ext4() -> Option<Made> {
    made(&EXT4)
}

pub fn xfs() -> Option<Made> {
    made(&XFS)
}

pub fn btrfs() -> Option<Made> {
    made(&BTRFS)
}

fn mount(kind: &Kind, image: &Path, mode: Mode) -> Box<dyn GuestFs> {
    let volume = Arc::new(oracle::FileDevice::open(image));
    let uml = Uml::new(None).with_arguments(["--ignored", "--exact", "first_process"]);
    uml.attach(&Request { volume, signature: kind.signature(), mode }).unwrap().fs
}

fn made(kind: &'static Kind) -> Option<Made> {
    if !oracle::have(&["linux.uml"]) {
        return None;
    }
    let image = kind.image()?;
    let fs = mount(kind, image.path(), NOW);
    let judge = move |fs: Box<dyn GuestFs>| {
        fs.close().unwrap();
        kind.check(image.path());
        mount(kind, image.path(), Mode::ReadOnly)
    };
    Some(Made { fs, judge: Box::new(judge), links: kind.links() })
}
