//! A device that is connected, until it is dropped.

use super::netlink::Netlink;
use super::{Interface, SECTOR, TIMEOUT, Terms, owner};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::kernel::host::OTHER_WAYS;
use crate::kernel::missing;
use crate::kernel::sys::{NbdCall, call_nbd};
use rustix::fs::{Mode, OFlags, fstat, fsync, major, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The number of these devices' driver: <linux/major.h>.
const MAJOR: u32 = 43;
/// The most devices that are tried.
const DEVICES_MAX: u32 = 1024;
/// How long a device may take to be there, and to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(1);

/// Whether the kernel knows such devices: proc_devices(5).
pub(in super::super) fn is_known() -> bool {
    let devices = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    devices.lines().any(|line| line.split_ascii_whitespace().eq(["43", "nbd"]))
}

/// A network block device of the kernel. It is disconnected when it is dropped and not mounted, whatever ends the process.
#[derive(Debug)]
pub(in super::super) struct NbdDevice {
    device: Arc<File>,
    path: PathBuf,
    /// What keeps the connection in the kernel, where it was not made by netlink: it runs as long as that.
    keeper: Option<JoinHandle<Result<(), Errno>>>,
}

impl NbdDevice {
    /// Connects a free device to the server at the other end of a socket.
    pub(in super::super) fn connect(socket: OwnedFd, terms: Terms, by: Interface) -> Result<Self> {
        let netlink = match by {
            Interface::Any => Netlink::open().map_err(failed)?,
            Interface::Ioctl => None,
        };
        match netlink {
            Some(netlink) => Self::by_netlink(&netlink, &socket, terms),
            None => Self::by_ioctl(&socket, terms),
        }
    }

    /// The kernel chooses the device, and makes one where none is free.
    fn by_netlink(netlink: &Netlink, socket: &OwnedFd, terms: Terms) -> Result<Self> {
        owner::forget_dead(netlink);
        let owner = owner::name();
        let index = netlink.connect(socket.as_fd(), terms, &owner).map_err(failed)?;
        // Nobody has it open yet, so that nothing would end the connection but this.
        Self::opened(netlink, index, terms, &owner).inspect_err(|_| {
            let _ = netlink.disconnect(index);
        })
    }

    /// Not to be disconnected on close until it is open: a daemon that looks at new devices would be the first to close it.
    fn opened(netlink: &Netlink, index: u32, terms: Terms, owner: &str) -> Result<Self> {
        let path = node(index);
        let device = open_node(&path)?;
        netlink.disconnect_on_close(index, owner).map_err(failed)?;
        let device = Self { device: Arc::new(device), path, keeper: None };
        if device.size() != Some(whole(terms.size)) {
            let message = format!("{} is not the device that the kernel has connected", device.path.display());
            return Err(missing(message, OTHER_WAYS));
        }
        Ok(device)
    }

    /// Whoever is the first to give a device its socket has it.
    fn by_ioctl(socket: &OwnedFd, terms: Terms) -> Result<Self> {
        for index in 0..DEVICES_MAX {
            let path = node(index);
            if is_connected(index) {
                continue;
            }
            let device = match open_node(&path) {
                Err(error) if index == 0 => return Err(error),
                Err(_) => break,
                Ok(device) => device,
            };
            match call_nbd(&device, NbdCall::SetSocket, u64::try_from(socket.as_raw_fd()).unwrap_or_default()) {
                Ok(()) => return Self::started(device, path, terms),
                // It is somebody else's.
                Err(Errno::BUSY | Errno::INVAL) => {}
                Err(errno) => return Err(failed(errno).with_host_path(path)),
            }
        }
        Err(missing("no network block device is free", OTHER_WAYS))
    }

    fn started(device: File, path: PathBuf, terms: Terms) -> Result<Self> {
        let device = Arc::new(device);
        for (call, value) in [
            (NbdCall::SetBlockSize, SECTOR),
            (NbdCall::SetSize, whole(terms.size)),
            (NbdCall::SetTimeout, TIMEOUT),
            (NbdCall::SetFlags, u64::from(terms.flags)),
        ] {
            call_nbd(&device, call, value).map_err(|errno| failed(errno).with_host_path(&path))?;
        }
        let kept = Arc::clone(&device);
        let keep = move || call_nbd(&kept, NbdCall::DoIt, 0);
        let keeper = thread::Builder::new().name("nbd device".to_owned()).spawn(keep);
        let keeper = keeper.map_err(|error| Error::io(Layer::Kernel, "start a thread", error))?;
        let connected = Self { device, path, keeper: Some(keeper) };
        let end = Instant::now() + PATIENCE;
        while connected.size() != Some(whole(terms.size)) {
            let ended = connected.keeper.as_ref().is_none_or(JoinHandle::is_finished);
            if ended || Instant::now() >= end {
                let message = "the kernel does not start the network block device";
                return Err(Error::new(ErrorKind::Io, Layer::Kernel, message).with_host_path(&connected.path));
            }
            thread::sleep(GLANCE);
        }
        Ok(connected)
    }

    pub(in super::super) fn path(&self) -> &Path {
        &self.path
    }

    /// The size in bytes; 0 where it is not connected.
    fn size(&self) -> Option<u64> {
        (&*self.device).seek(SeekFrom::End(0)).ok()
    }

    /// Lets go of it, when what was mounted is not any more. An error: not all that was written has reached the volume.
    pub(in super::super) fn disconnect(self) -> Result<()> {
        fsync(&*self.device)
            .map_err(|errno| Error::io(Layer::Kernel, "write the rest", errno.into()).with_host_path(&self.path))?;
        if self.keeper.is_some() {
            self.wait_for_unmount()?;
        }
        Ok(())
    }

    /// Waits until no filesystem has it open: ioctl(2) would end the connection all the same.
    fn wait_for_unmount(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match open(&self.path, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::BUSY) if Instant::now() < end => thread::sleep(GLANCE),
                Err(errno) => {
                    let error = Error::io(Layer::Kernel, "wait for the end of the mount", errno.into());
                    return Err(error.with_host_path(&self.path));
                }
            }
        }
    }
}

impl Drop for NbdDevice {
    fn drop(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        // What cannot be disconnected ends with this process.
        if call_nbd(&self.device, NbdCall::Disconnect, 0).is_ok() || keeper.is_finished() {
            let _ = keeper.join();
        }
    }
}

/// Whether a device is in use, as far as sysfs tells.
fn is_connected(index: u32) -> bool {
    Path::new(&format!("/sys/block/nbd{index}/pid")).exists()
}

fn node(index: u32) -> PathBuf {
    PathBuf::from(format!("/dev/nbd{index}"))
}

fn open_node(path: &Path) -> Result<File> {
    let device = File::options().read(true).write(true).open(path).map_err(|error| {
        let message = format!("cannot open the network block device {} ({error})", path.display());
        missing(message, format!("in a container, let it have the device; or {OTHER_WAYS}"))
    })?;
    let number = fstat(&device).map_err(failed)?.st_rdev;
    if major(number) != MAJOR {
        return Err(missing(format!("{} is no network block device", path.display()), OTHER_WAYS));
    }
    Ok(device)
}

/// The bytes of whole sectors.
fn whole(size: u64) -> u64 {
    size.saturating_sub(size % SECTOR)
}

fn failed(errno: Errno) -> Error {
    match errno {
        Errno::PERM | Errno::ACCESS => missing("this process may not connect network block devices", OTHER_WAYS),
        errno => Error::io(Layer::Kernel, "connect a network block device", errno.into()),
    }
}
