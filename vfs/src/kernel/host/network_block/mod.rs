//! A network block device of the kernel: its requests come on a socket, and are answered by our own [server](crate::kernel::nbd).
//!
//! Source: drivers/block/nbd.c, <linux/nbd.h> and <linux/nbd-netlink.h> of the kernel.

mod device;
mod netlink;
mod owner;
mod server;

pub(super) use device::{NbdDevice, is_known};
pub(super) use server::Server;

/// How the kernel is told of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Interface {
    /// By netlink where the kernel has it, else by ioctl.
    #[default]
    Any,
    /// By ioctl(2), as kernels before 4.12 and network namespaces that are not the first one want it.
    Ioctl,
}

/// What the kernel is to know of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// The size in bytes.
    pub(super) size: u64,
    /// The transmission flags of the protocol.
    pub(super) flags: u16,
}

/// Bytes of a sector, which every filesystem can be read by; a part of one at the end is not seen.
const SECTOR: u64 = 512;

/// For how many seconds a request may be unanswered, before the kernel gives the connection up. So long, at most, a device
/// stays whose server was killed in the middle of an answer: that the connection is gone is not enough for the kernel.
const TIMEOUT: u64 = 10;
