//! The kernel of this host, as root.
//!
//! The volume is exported as a file by FUSE ([`Fuse`]), or is a part of a raw image ([`Loop`]), or is served on a socket
//! ([`Nbd`]). A worker, which is this program once more, puts a loop device on the file, or a network block device on the
//! socket, and mounts that at no place ([`detached`]); what it has is served to us as a [remote](crate::fs::remote) filesystem.
//!
//! Who serves the volume and who waits for the mount are two processes, so that neither waits for himself when he is killed.
//! Everything hangs on descriptors: either device goes when nobody has it open, the mount when its descriptor is closed, the
//! export with `/dev/fuse`, and the server with its socket; and the worker ends when its channel does. So there is nothing to
//! clean up after a signal, be it SIGKILL. The signals of a terminal, and a kill of our process group, do not reach the worker:
//! of a mount whose disk is gone there has to be somebody to end it ([`retries`]).

mod detached;
mod export;
mod loop_device;
mod network_block;
mod pipe;
mod retries;
mod served;
mod worker;

pub use worker::serve_if_worker;

use super::{Attach, Attached, Request, missing, sys};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::Mode;
use crate::fs::remote::{Mount, Remote};
use crate::transaction::Overlay;
use export::Export;
use loop_device::Extent;
use network_block::{Interface, Server, is_known};
use pipe::{Pipe, Worker};
use rustix::process::{configure_io_flusher_behavior, geteuid};
use served::{Served, take};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use worker::Given;

/// How long the kernel may take for one answer.
const DEADLINE: Duration = Duration::from_secs(120);

/// What to do where something of the host is missing.
const OTHER_WAYS: &str = "--attach uml borrows a kernel that runs as a process, without root";

/// This program.
const PROGRAM: &str = "/proc/self/exe";

/// How the worker is started: this program, with arguments.
#[derive(Clone, Debug)]
struct Start {
    arguments: Vec<String>,
    deadline: Duration,
}

impl Start {
    fn new() -> Self {
        Self { arguments: Vec::new(), deadline: DEADLINE }
    }

    /// Starts the worker with `source` as its standard error, has it mount the volume, and gives what it serves.
    fn mount(
        &self,
        given: Given,
        source: OwnedFd,
        served: Option<Box<dyn Served>>,
        request: &Request,
    ) -> Result<Attached> {
        let failed = |error| Error::io(Layer::Kernel, "start a process to mount the volume", error);
        let (near, far) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(PROGRAM);
        command
            .args(&self.arguments)
            .arg(worker::ARGUMENT)
            .args(given.words())
            .env_clear()
            // What the C library is to leave alone of the processor, it is to leave alone there too.
            .envs(std::env::var_os("GLIBC_TUNABLES").map(|value| ("GLIBC_TUNABLES", value)))
            .stdin(Stdio::from(OwnedFd::from(far)))
            .stdout(Stdio::null())
            // Nobody writes to it, as some do to the standard output.
            .stderr(Stdio::from(source))
            .process_group(0);
        sys::close_the_rest(&mut command);
        let child = command.spawn().map_err(failed)?;
        // The worker is to have the only other end of its channel.
        drop(command);
        let worker = Worker::new(Pipe::new(near, Some(self.deadline))?, child, served);
        let trouble = worker.trouble();
        let now = match request.mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite { now } => Some(now),
        };
        match Remote::mount(worker, &Mount { signature: request.signature.clone(), now }) {
            Ok((fs, place)) => Ok(Attached { fs: Box::new(fs), kernel: place.kernel, subvolume: place.subvolume }),
            Err(error) => Err(match trouble.and_then(|trouble| take(&trouble)) {
                Some(cause) => {
                    let hint = cause.hint().map(str::to_owned);
                    let told = Error::new(cause.kind(), Layer::Kernel, error.to_string()).with_source(cause);
                    hint.into_iter().fold(told, Error::with_hint)
                }
                // The channel carries no layers; what is this kernel's and no fault of the filesystem has to be told apart.
                None => match (error.kind(), error.hint().unwrap_or(OTHER_WAYS)) {
                    (ErrorKind::Unsupported, hint) => missing(error.to_string(), hint),
                    (ErrorKind::InUse, hint) => {
                        Error::new(ErrorKind::InUse, Layer::Kernel, error.to_string()).with_hint(hint)
                    }
                    _ => error,
                },
            }),
        }
    }
}

/// The privilege and the devices that every way needs.
fn ready(devices: &[&str]) -> Result<()> {
    if !geteuid().is_root() {
        return Err(missing("only root may have this host's kernel mount an image", OTHER_WAYS));
    }
    if !Path::new(PROGRAM).exists() {
        return Err(Error::unsupported(Layer::Kernel, format!("/proc is not mounted here ({PROGRAM} is missing)")));
    }
    match devices.iter().find(|device| !Path::new(device).exists()) {
        Some(device) => Err(missing(format!("{device} is missing on this host"), OTHER_WAYS)),
        None => Ok(()),
    }
}

/// FUSE and loop: the kernel sees the volume as the transaction shows it.
#[derive(Clone, Debug)]
pub struct Fuse(Start);

impl Fuse {
    /// The calling program calls [`serve_if_worker`] before anything else.
    pub fn new() -> Self {
        Self(Start::new())
    }

    /// With these arguments the calling program calls [`serve_if_worker`], where it does not do so before anything else.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = &'static str>) -> Self {
        self.0.arguments = arguments.into_iter().map(str::to_owned).collect();
        self
    }

    /// With another time for an answer than two minutes.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.0.deadline = deadline;
        self
    }
}

impl Default for Fuse {
    fn default() -> Self {
        Self::new()
    }
}

impl Attach for Fuse {
    fn name(&self) -> &'static str {
        "fuse"
    }

    fn ready(&self, _: &Request) -> Result<()> {
        ready(&[export::FUSE, loop_device::CONTROL])
    }

    fn attach(&self, request: &Request) -> Result<Attached> {
        self.ready(request)?;
        let (export, root) = Export::new(to_be_served(request))?;
        self.0.mount(Given::Export, root, Some(Box::new(export)), request)
    }
}

/// The volume of a request as it is served, by a thread of this process that is started after this.
fn to_be_served(request: &Request) -> Arc<dyn BlockDevice> {
    // Memory that a server of a disk needs is not to be had by writing to that disk. It is passed on to threads.
    let _ = configure_io_flusher_behavior(true);
    match request.mode {
        // What a replay of the journal writes goes nowhere.
        Mode::ReadOnly => Arc::new(Overlay::new(Arc::clone(&request.volume))),
        Mode::ReadWrite { .. } => Arc::clone(&request.volume),
    }
}

/// A network block device: the kernel sees the volume as the transaction shows it.
#[derive(Clone, Debug)]
pub struct Nbd {
    start: Start,
    interface: Interface,
}

impl Nbd {
    /// The calling program calls [`serve_if_worker`] before anything else.
    pub fn new() -> Self {
        Self { start: Start::new(), interface: Interface::Any }
    }

    /// As for [`Fuse::with_arguments`].
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = &'static str>) -> Self {
        self.start.arguments = arguments.into_iter().map(str::to_owned).collect();
        self
    }

    /// By ioctl(2), as where the kernel has no netlink interface to these devices.
    #[must_use]
    pub fn without_netlink(mut self) -> Self {
        self.interface = Interface::Ioctl;
        self
    }
}

impl Default for Nbd {
    fn default() -> Self {
        Self::new()
    }
}

impl Attach for Nbd {
    fn name(&self) -> &'static str {
        "nbd"
    }

    fn ready(&self, _: &Request) -> Result<()> {
        ready(&[])?;
        if !is_known() {
            let hint = format!("modprobe nbd, or --attach fuse; {OTHER_WAYS}");
            return Err(missing(
                "the kernel of this host has no network block devices: its module nbd is not loaded",
                hint,
            ));
        }
        Ok(())
    }

    fn attach(&self, request: &Request) -> Result<Attached> {
        self.ready(request)?;
        let (server, socket, terms) = Server::new(to_be_served(request))?;
        self.start.mount(Given::Server(terms, self.interface), socket, Some(Box::new(server)), request)
    }
}

/// Loop, directly on a raw image: what is written is in the image at once, and a run that is interrupted leaves half of its
/// changes there.
#[derive(Clone, Debug)]
pub struct Loop {
    start: Start,
    image: PathBuf,
    extent: Extent,
}

impl Loop {
    /// The `size` bytes of the raw image from byte `start`. The calling program calls [`serve_if_worker`] before anything
    /// else.
    pub fn in_place(image: PathBuf, start: u64, size: u64) -> Self {
        Self { start: Start::new(), image, extent: Extent { start, size } }
    }

    /// As for [`Fuse::with_arguments`].
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = &'static str>) -> Self {
        self.start.arguments = arguments.into_iter().map(str::to_owned).collect();
        self
    }
}

impl Attach for Loop {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn ready(&self, _: &Request) -> Result<()> {
        ready(&[loop_device::CONTROL])
    }

    fn attach(&self, request: &Request) -> Result<Attached> {
        self.ready(request)?;
        let writes = request.mode != Mode::ReadOnly;
        let image = File::options().read(true).write(writes).open(&self.image);
        let image =
            image.map_err(|error| Error::io(Layer::Host, "open the image", error).with_host_path(&self.image))?;
        if !self.extent.size.is_multiple_of(512) {
            let message = "a loop device ends with a whole sector of 512 bytes, and the volume does not";
            return Err(Error::new(ErrorKind::Unsupported, Layer::Kernel, message));
        }
        self.start.mount(Given::Image(self.extent), image.into(), None, request)
    }
}
