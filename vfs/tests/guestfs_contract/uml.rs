//! Filesystems in a User Mode Linux kernel, judged by the tools of each.

use crate::ground::Made;
use crate::mounted::{self, BTRFS, EXT4, Kind, XFS};
use crate::oracle;
use imgraft_vfs::kernel::uml::Uml;

pub fn ext4() -> Option<Made> {
    made(&EXT4)
}

pub fn xfs() -> Option<Made> {
    made(&XFS)
}

pub fn btrfs() -> Option<Made> {
    made(&BTRFS)
}

fn made(kind: &'static Kind) -> Option<Made> {
    if !oracle::have(&["linux.uml"]) {
        return None;
    }
    mounted::made(kind, Uml::new(None).with_arguments(["--ignored", "--exact", "first_process"]))
}
