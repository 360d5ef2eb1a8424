//! The system calls that have no safe wrapper; the only place with unsafe code.
#![allow(unsafe_code)]

use nix::libc;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

/// Whether a loop device can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(super) enum LoopAccess {
    ReadOnly,
    ReadWrite,
}

/// Numbers of <linux/loop.h>.
mod loops {
    pub(super) const CONFIGURE: u32 = 0x4c0a;
    pub(super) const CTL_GET_FREE: u32 = 0x4c82;
    pub(super) const READ_ONLY: u32 = 1;
    pub(super) const AUTOCLEAR: u32 = 4;
    pub(super) const SECTOR: u32 = 512;
}

/// `struct loop_config` of <linux/loop.h>.
#[repr(C)]
struct LoopConfig {
    descriptor: u32,
    block_size: u32,
    // struct loop_info64
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    // what follows it
    reserved: [u64; 8],
}

/// The number of a loop device that nobody uses, as far as the kernel knows at this moment.
pub(super) fn free_loop(control: &File) -> Result<u32, Errno> {
    // SAFETY: the request takes no argument; it gives a number or -1.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), loops::CTL_GET_FREE as _) };
    u32::try_from(number).map_err(|_| last_error())
}

/// Puts a part of a file on a loop device that is free (`EBUSY` where it is not): from byte `offset`, `size` bytes, or all to
/// the end where that is 0. The device is free again when nobody has it open.
pub(super) fn configure_loop(
    device: &File,
    file: &impl AsFd,
    offset: u64,
    size: u64,
    access: LoopAccess,
) -> Result<(), Errno> {
    let descriptor = u32::try_from(file.as_fd().as_raw_fd()).map_err(|_| Errno::BADF)?;
    let read_only = if access == LoopAccess::ReadOnly { loops::READ_ONLY } else { 0 };
    let config = LoopConfig {
        descriptor,
        block_size: loops::SECTOR,
        device: 0,
        inode: 0,
        rdevice: 0,
        offset,
        size_limit: size,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: loops::AUTOCLEAR | read_only,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: `config` is laid out as the kernel's structure of the same 304 bytes, lives through the call, and is only read.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), loops::CONFIGURE as _, &raw const config) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

const _: () = assert!(size_of::<LoopConfig>() == 304, "struct loop_config has 304 bytes");
