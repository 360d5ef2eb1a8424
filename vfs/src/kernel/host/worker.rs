//! The process that has the volume mounted. It is not the one that serves the volume: whoever does both and is killed while he
//! waits for himself cannot end.

use super::detached;
use super::export::VOLUME;
use super::loop_device::{Extent, LoopDevice};
use super::network_block::{Interface, NbdDevice, Terms};
use super::pipe::Pipe;
use super::retries;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::mounted::{Mounted, guest_root, subvolumes};
use crate::fs::remote::{Keeper, Mount, Place, serve};
use crate::fs::{GuestFs, Mode};
use crate::kernel::sys::LoopAccess;
use rustix::fs::{OFlags, openat};
use rustix::stdio::{dup2_stderr, dup2_stdin};
use rustix::system::uname;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

/// The argument of a program that is to be the worker; what it is to do follows.
pub(super) const ARGUMENT: &str = "serve-mounted-volume";

/// What the worker is given as its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The root of the mount that has the volume as a file.
    Export,
    /// An image that has the volume as a part of it.
    Image(Extent),
    /// The kernel's end of a connection to a server of the volume.
    Server(Terms, Interface),
}

impl Given {
    /// The words for the worker's command line.
    pub(super) fn words(self) -> [String; 3] {
        let (name, first, second) = match self {
            Self::Export => ("export", 0, 0),
            Self::Image(Extent { start, size }) => ("image", start, size),
            Self::Server(Terms { size, flags }, Interface::Any) => ("server", size, u64::from(flags)),
            Self::Server(Terms { size, flags }, Interface::Ioctl) => ("server-by-ioctl", size, u64::from(flags)),
        };
        [name.to_owned(), first.to_string(), second.to_string()]
    }

    fn parse(words: &[String]) -> Option<Self> {
        let [name, first, second] = words else { return None };
        let (first, second): (u64, u64) = (first.parse().ok()?, second.parse().ok()?);
        let terms = || u16::try_from(second).ok().map(|flags| Terms { size: first, flags });
        match &**name {
            "export" => Some(Self::Export),
            "image" => Some(Self::Image(Extent { start: first, size: second })),
            "server" => Some(Self::Server(terms()?, Interface::Any)),
            "server-by-ioctl" => Some(Self::Server(terms()?, Interface::Ioctl)),
            _ => None,
        }
    }
}

/// Serves a volume, where this process was started to do that; a program that lends kernels calls it before anything else.
/// `arguments` are those of [`with_arguments`](super::Fuse::with_arguments).
pub fn serve_if_worker(arguments: &[&str]) -> Option<ExitCode> {
    let words: Vec<String> = std::env::args_os().skip(1).filter_map(|word| word.into_string().ok()).collect();
    let (before, rest) = words.split_at_checked(arguments.len())?;
    let (first, given) = rest.split_first()?;
    if before != arguments || first != ARGUMENT {
        return None;
    }
    let given = Given::parse(given)?;
    Some(match run(given) {
        Ok(()) => ExitCode::SUCCESS,
        // The other end is told by the end of the channel.
        Err(_) => ExitCode::FAILURE,
    })
}

fn run(given: Given) -> Result<()> {
    let failed = |errno: rustix::io::Errno| Error::io(Layer::Kernel, "start the worker", errno.into());
    rustix::process::umask(rustix::fs::Mode::empty());
    let take = |from: std::os::fd::BorrowedFd<'_>| {
        from.try_clone_to_owned().map_err(|error| Error::io(Layer::Kernel, "start the worker", error))
    };
    let channel = UnixStream::from(take(std::io::stdin().as_fd())?);
    let source = take(std::io::stderr().as_fd())?;
    let nothing = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| Error::io(Layer::Kernel, "open /dev/null", error))?;
    dup2_stdin(&nothing).map_err(failed)?;
    dup2_stderr(&nothing).map_err(failed)?;
    let mut host = Host { given, source: Some(source), device: None };
    serve(&mut Pipe::new(channel, None)?, &mut host)
}

/// Has the volume's filesystem.
#[derive(Debug)]
struct Host {
    given: Given,
    source: Option<OwnedFd>,
    device: Option<Device>,
}

/// A disk of the kernel.
#[derive(Debug)]
enum Device {
    Loop(LoopDevice),
    Network(NbdDevice),
}

impl Device {
    fn path(&self) -> &Path {
        match self {
            Self::Loop(device) => device.path(),
            Self::Network(device) => device.path(),
        }
    }
}

impl Host {
    fn attach(&mut self, mode: Mode) -> Result<Device> {
        let source = self
            .source
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, Layer::Kernel, "the volume was attached already"))?;
        match self.given {
            Given::Export => {
                let file = openat(&source, VOLUME, OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())
                    .map_err(|errno| Error::io(Layer::Kernel, "open the exported volume", errno.into()))?;
                // Also for reading: a journal is replayed, into an overlay.
                LoopDevice::attach(file, Extent::default(), LoopAccess::ReadWrite).map(Device::Loop)
            }
            Given::Image(extent) => {
                let access = if mode == Mode::ReadOnly { LoopAccess::ReadOnly } else { LoopAccess::ReadWrite };
                LoopDevice::attach(source, extent, access).map(Device::Loop)
            }
            Given::Server(terms, interface) => NbdDevice::connect(source, terms, interface).map(Device::Network),
        }
    }
}

impl Keeper for Host {
    fn open(&mut self, asked: &Mount) -> Result<(Box<dyn GuestFs>, Place)> {
        let mode = asked.now.map_or(Mode::ReadOnly, |now| Mode::ReadWrite { now });
        let device = self.attach(mode)?;
        let mount = || detached::mount(device.path(), asked.signature.name, mode);
        let top = if asked.signature.name == "xfs" { retries::without(device.path(), mount) } else { mount() }?;
        let device = self.device.insert(device).path();
        let (root, subvolume) = guest_root(top, asked.signature.name)?;
        let others = subvolumes(&root, &asked.signature)?;
        let mut fs = Mounted::new(root, asked.signature.clone(), mode)?;
        for other in others {
            fs.mount(&other, detached::mount_subvolume(device, &other, mode))?;
        }
        let system = uname();
        let kernel = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
        Ok((Box::new(fs), Place { kernel, subvolume: subvolume.map(str::to_owned) }))
    }

    fn close(&mut self, fs: Box<dyn GuestFs>) -> Result<()> {
        fs.close()?;
        match self.device.take() {
            Some(Device::Network(device)) => device.disconnect(),
            Some(Device::Loop(_)) | None => Ok(()),
        }
    }
}
