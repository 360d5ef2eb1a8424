//! The process that has the volume mounted. It is not the one that serves the volume: whoever does both and is killed while he
//! waits for himself cannot end.

use super::detached;
use super::export::VOLUME;
use super::loop_device::{Extent, LoopDevice};
use super::pipe::Pipe;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::mounted::{Mounted, guest_root};
use crate::fs::remote::{Keeper, Mount, Place, serve};
use crate::fs::{GuestFs, Mode};
use crate::kernel::sys::LoopAccess;
use rustix::fs::{OFlags, openat};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use rustix::system::uname;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// The argument of a program that is to be the worker; what it is to do follows.
pub(super) const ARGUMENT: &str = "serve-mounted-volume";

/// What the worker is given as its standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The root of the mount that has the volume as a file.
    Export,
    /// An image that has the volume as a part of it.
    Image(Extent),
}

impl Given {
    /// The words for the worker's command line.
    pub(super) fn words(self) -> [String; 3] {
        let (name, Extent { start, size }) = match self {
            Self::Export => ("export", Extent::default()),
            Self::Image(extent) => ("image", extent),
        };
        [name.to_owned(), start.to_string(), size.to_string()]
    }

    fn parse(words: &[String]) -> Option<Self> {
        let [name, start, size] = words else { return None };
        let extent = Extent { start: start.parse().ok()?, size: size.parse().ok()? };
        match &**name {
            "export" => Some(Self::Export),
            "image" => Some(Self::Image(extent)),
            _ => None,
        }
    }
}

/// Serves a volume, where this process was started to do that; a program that lends kernels calls it before anything else.
pub fn serve_if_worker() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args_os().filter_map(|word| word.into_string().ok()).collect();
    let at = words.iter().position(|word| word == ARGUMENT)?;
    let given = Given::parse(words.get(at.checked_add(1)?..)?)?;
    Some(match run(given) {
        Ok(()) => ExitCode::SUCCESS,
        // The other end is told by the end of the channel.
        Err(_) => ExitCode::FAILURE,
    })
}

fn run(given: Given) -> Result<()> {
    let failed = |errno: rustix::io::Errno| Error::io(Layer::Kernel, "start the worker", errno.into());
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let take = |from: std::os::fd::BorrowedFd<'_>| {
        from.try_clone_to_owned().map_err(|error| Error::io(Layer::Kernel, "start the worker", error))
    };
    let channel = UnixStream::from(take(std::io::stdin().as_fd())?);
    let source = take(std::io::stdout().as_fd())?;
    let nothing = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| Error::io(Layer::Kernel, "open /dev/null", error))?;
    dup2_stdin(&nothing).map_err(failed)?;
    dup2_stdout(&nothing).map_err(failed)?;
    let mut host = Host { given, source: Some(source), device: None };
    serve(&mut Pipe::new(channel, None)?, &mut host)
}

/// Has the volume's filesystem.
#[derive(Debug)]
struct Host {
    given: Given,
    source: Option<OwnedFd>,
    device: Option<LoopDevice>,
}

impl Host {
    fn attach(&mut self, mode: Mode) -> Result<LoopDevice> {
        let source = self
            .source
            .take()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, Layer::Kernel, "the volume was attached already"))?;
        match self.given {
            Given::Export => {
                let file = openat(&source, VOLUME, OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())
                    .map_err(|errno| Error::io(Layer::Kernel, "open the exported volume", errno.into()))?;
                // Also for reading: a journal is replayed, into an overlay.
                LoopDevice::attach(file, Extent::default(), LoopAccess::ReadWrite)
            }
            Given::Image(extent) => {
                let access = if mode == Mode::ReadOnly { LoopAccess::ReadOnly } else { LoopAccess::ReadWrite };
                LoopDevice::attach(source, extent, access)
            }
        }
    }
}

impl Keeper for Host {
    fn open(&mut self, asked: &Mount) -> Result<(Box<dyn GuestFs>, Place)> {
        let mode = asked.now.map_or(Mode::ReadOnly, |now| Mode::ReadWrite { now });
        let device = self.attach(mode)?;
        let top = detached::mount(device.path(), asked.signature.name, mode)?;
        self.device = Some(device);
        let (root, subvolume) = guest_root(top, asked.signature.name)?;
        let fs = Mounted::new(root, asked.signature.clone(), mode)?;
        let system = uname();
        let kernel = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
        Ok((Box::new(fs), Place { kernel, subvolume: subvolume.map(str::to_owned) }))
    }

    fn close(&mut self, fs: Box<dyn GuestFs>) -> Result<()> {
        fs.close()?;
        self.device = None;
        Ok(())
    }
}
