//! Filesystems that a kernel has mounted from a network block device, judged by the tools of each. Many kernels have no such
//! devices: so the cases run in a machine that has.

use crate::WORKER;
use crate::ground::Made;
use crate::machine::{self, Machine};
use crate::mounted::{self, Kind};
use imgraft_vfs::kernel::host::Nbd;

pub fn made(kind: &'static Kind) -> Option<Made> {
    mounted::made(kind, Nbd::new().with_arguments(WORKER))
}

/// A case of large directories, of which each entry takes several exchanges: a third of the time of all.
const TOO_LONG: &str = "thousands_of_entries";

/// Runs the cases over a driver in a machine.
fn contract(driver: &str) {
    let tools = ["mke2fs", "e2fsck", "mkfs.xfs", "xfs_repair", "mkfs.btrfs", "btrfs"];
    if !machine::can_boot(&tools) {
        return;
    }
    let machine = Machine { memory: 384, modules: &["drivers/block/nbd"], disk: None, shared: None };
    machine::run_ignored(&machine, &format!("{driver}::"), &[TOO_LONG]);
}

#[test]
fn contract_over_ext4() {
    contract("nbd_ext4");
}

#[test]
fn contract_over_xfs() {
    contract("nbd_xfs");
}

#[test]
fn contract_over_btrfs() {
    contract("nbd_btrfs");
}
