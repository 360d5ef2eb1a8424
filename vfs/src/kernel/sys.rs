//! The system calls that have no safe wrapper; the only place with unsafe code.
#![allow(unsafe_code)]

use nix::libc;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use std::fs::File;
use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

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
    pub(super) const GET_STATUS64: u32 = 0x4c05;
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

/// What a loop device says of the file under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoopStatus {
    /// The number of the file's filesystem (`st_dev`).
    pub(crate) device: u64,
    /// Its inode number.
    pub(crate) inode: u64,
    /// The device's first byte in the file.
    pub(crate) offset: u64,
    /// The most bytes that the device has, or 0.
    pub(crate) size_limit: u64,
}

/// Asks a loop device, or a partition of one, which file it is of.
pub(crate) fn loop_status(device: &File) -> Result<LoopStatus, Errno> {
    // struct loop_info64, of 232 bytes: device, inode, rdevice, offset, size_limit, and what does not matter here.
    let mut info = [0_u64; 29];
    // SAFETY: the kernel writes a structure of as many bytes, whatever their meaning, into `info`, which lives through the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), loops::GET_STATUS64 as _, info.as_mut_ptr()) };
    let [device, inode, _, offset, size_limit, ..] = info;
    if result == 0 { Ok(LoopStatus { device, inode, offset, size_limit }) } else { Err(last_error()) }
}

/// Requests to a network block device: <linux/nbd.h>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NbdCall {
    /// The connection to its server, a descriptor of a socket. `EBUSY` where it has another one.
    SetSocket = 0,
    /// The size of its sectors in bytes.
    SetBlockSize = 1,
    /// Its size in bytes.
    SetSize = 2,
    /// Begins, and returns when the connection is no more.
    DoIt = 3,
    /// Ends the connection.
    Disconnect = 8,
    /// How many seconds an answer may take.
    SetTimeout = 9,
    /// The transmission flags of its server.
    SetFlags = 10,
}

/// Where the numbers of these requests begin.
const NBD: u32 = 0xab00;

/// Makes a request to a network block device.
pub(super) fn call_nbd(device: &File, call: NbdCall, value: u64) -> Result<(), Errno> {
    // SAFETY: the requests take a number, no pointer.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), (NBD | call as u32) as _, value as libc::c_ulong) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

const _: () = assert!(size_of::<LoopConfig>() == 304, "struct loop_config has 304 bytes");

/// Numbers of the seccomp filter's language: <linux/filter.h>, <linux/seccomp.h>, struct seccomp_data.
mod filter {
    pub(super) const LOAD: u16 = 0x20;
    pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
    pub(super) const JUMP_UNLESS_LESS: u16 = 0x35;
    pub(super) const RETURN: u16 = 0x06;
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCHITECTURE: u32 = 4;
    pub(super) const FIRST_ARGUMENT: u32 = 16;
    pub(super) const X86_64: u32 = 0xc000_003e;
    pub(super) const X32: u32 = 0x4000_0000;
    pub(super) const FAIL: u32 = 0x0005_0000;
    pub(super) const ALLOW: u32 = 0x7fff_0000;
}

const fn step(code: u16, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k: value }
}

/// What a User Mode Linux process may not do.
///
/// PTRACE_GETREGSET and PTRACE_SETREGSET fail, because Linux 6.1 has room for AVX-512 at most and dies on a processor with AMX,
/// whose state is larger; where they fail it takes the older calls. These leave out the upper halves of AVX registers, so a page
/// fault costs the program inside these: it must not use them. Sockets are of AF_UNIX: there is no network; io_uring(7), which has
/// sockets of its own, is not there. No process leaves the group, which is what is killed. The system calls are those of x86-64, where
/// User Mode Linux is at home.
static STEPS: [libc::sock_filter; 17] = [
    step(filter::LOAD, 0, 0, filter::ARCHITECTURE),
    step(filter::JUMP_IF_EQUAL, 0, 14, filter::X86_64),
    step(filter::LOAD, 0, 0, filter::NUMBER),
    step(filter::JUMP_UNLESS_LESS, 12, 0, filter::X32),
    step(filter::JUMP_IF_EQUAL, 11, 0, libc::SYS_setsid as u32),
    step(filter::JUMP_IF_EQUAL, 10, 0, libc::SYS_setpgid as u32),
    step(filter::JUMP_IF_EQUAL, 9, 0, libc::SYS_io_uring_setup as u32),
    step(filter::JUMP_IF_EQUAL, 5, 0, libc::SYS_socket as u32),
    step(filter::JUMP_IF_EQUAL, 0, 3, libc::SYS_ptrace as u32),
    step(filter::LOAD, 0, 0, filter::FIRST_ARGUMENT),
    step(filter::JUMP_IF_EQUAL, 5, 0, libc::PTRACE_GETREGSET),
    step(filter::JUMP_IF_EQUAL, 4, 0, libc::PTRACE_SETREGSET),
    step(filter::RETURN, 0, 0, filter::ALLOW),
    step(filter::LOAD, 0, 0, filter::FIRST_ARGUMENT),
    step(filter::JUMP_IF_EQUAL, 0, 1, libc::AF_UNIX as u32),
    step(filter::RETURN, 0, 0, filter::ALLOW),
    step(filter::RETURN, 0, 0, filter::FAIL | libc::EIO as u32),
];

/// The highest descriptor that is looked at where the kernel does not take a range.
const DESCRIPTORS_MAX: libc::rlim_t = 1 << 20;

/// Has a command open nothing that this process got from whoever called it: only its standard input, output and error. What a later
/// step of its preparation keeps is kept.
pub(super) fn close_the_rest(command: &mut Command) {
    // SAFETY: between fork and exec it makes system calls only; it takes no lock and no memory.
    unsafe {
        command.pre_exec(close_others_on_exec);
    }
}

/// Marks every descriptor but the first three as one that the next program does not get: close_range(2), and fcntl(2) before Linux
/// 5.11.
fn close_others_on_exec() -> std::io::Result<()> {
    const FIRST: libc::c_int = 3;
    // SAFETY: a plain system call.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if done == 0 {
        return Ok(());
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is the structure that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == -1 {
        return Err(Error::last_os_error());
    }
    for descriptor in FIRST..limit.rlim_max.min(DESCRIPTORS_MAX) as libc::c_int {
        // SAFETY: a plain system call, which fails where there is no such descriptor.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// `F_SETSIG` of fcntl(2), which sets the signal that a descriptor sends.
const F_SETSIG: libc::c_int = 10;

/// Has a command, which is a User Mode Linux kernel, run with [less than it could do](STEPS), at fixed addresses (random ones waste its
/// memory), without ever gaining privileges, with `kept` open and nothing else, and no longer than the calling thread.
pub(super) fn confine(command: &mut Command, kept: &[BorrowedFd<'_>]) {
    let parent = getpid();
    let kept: Vec<libc::c_int> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    close_the_rest(command);
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            return Err(Error::from_raw_os_error(libc::ESRCH));
        }
        let program = libc::sock_fprog { len: STEPS.len() as u16, filter: STEPS.as_ptr().cast_mut() };
        // SAFETY: each is a plain system call; `program` and `STEPS`, which the kernel only reads, outlive the call.
        let done = unsafe {
            kept.iter().all(|descriptor| libc::fcntl(*descriptor, libc::F_SETFD, 0) != -1)
                && libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) != -1
                && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != -1
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != -1
        };
        if done { Ok(()) } else { Err(Error::last_os_error()) }
    };
    // SAFETY: what runs between fork and exec makes system calls only; it takes no lock and no memory.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Has the kernel kill a process group when the other end of a pipe is closed, however that comes about: `end`, which members
/// of the group have open as well, sends SIGKILL instead of SIGIO (fcntl(2), F_SETSIG). The first process of User Mode Linux has others that
/// outlive it, one of which goes on with the guest's program as a program of the host.
pub(super) fn kill_when_closed(end: &impl AsFd, group: Pid) -> std::io::Result<()> {
    let end = end.as_fd();
    let flags = rustix::fs::fcntl_getfl(end)?;
    let group = group.as_raw_nonzero().get();
    // SAFETY: plain system calls on a descriptor that is open.
    let done = unsafe {
        libc::fcntl(end.as_raw_fd(), libc::F_SETOWN, -group) != -1
            && libc::fcntl(end.as_raw_fd(), F_SETSIG, libc::SIGKILL) != -1
    };
    if !done {
        return Err(Error::last_os_error());
    }
    Ok(rustix::fs::fcntl_setfl(end, flags | OFlags::from_bits_retain(libc::O_ASYNC as u32))?)
}

/// Has what is allocated of 4 MiB and more come as fresh pages (mallopt(3)), which take memory when they are used: the buffer
/// of a FUSE server is one of 16 MiB, and requests are of 1 MiB at most. Left to itself the C library hands out such memory
/// for the second time from what it has kept, and clears all of it.
pub(super) fn take_large_memory_from_the_kernel() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: libc::c_int = 4 << 20;
        // SAFETY: it sets numbers of the allocator, which locks itself.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            // Whoever sets the one has set the other, to 128 KiB.
            libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGE);
        }
    }
}
