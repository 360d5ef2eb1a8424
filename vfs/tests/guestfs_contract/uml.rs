//! Filesystems in a User Mode Linux kernel, judged by the tools of each.

use crate::ground::Made;
use crate::mounted::{self, Kind};
use crate::oracle;
use imgraft_vfs::kernel::uml::Uml;

pub fn made(kind: &'static Kind) -> Option<Made> {
    if !oracle::have(&["linux.uml"]) {
        return None;
    }
    mounted::made(kind, Uml::new(None).with_arguments(["--ignored", "--exact", "first_process"]))
}
