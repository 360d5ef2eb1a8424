//! The channel to the worker: messages on a socket, each led by its length.

use super::served::{Served, Trouble, take};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::remote::{Channel, MESSAGE_MAX};
use std::io::{ErrorKind as Kind, Read, Write};
use std::net::Shutdown;

use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a worker that has been told to end, or has been killed, is waited for where its work is not wanted.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one is waited for that has done its work, and unmounts.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(120);

/// One end of a socket as a channel.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: UnixStream,
}

impl Pipe {
    /// A channel that gives up when nothing has come for so long; `None` waits for ever.
    pub(super) fn new(stream: UnixStream, deadline: Option<Duration>) -> Result<Self> {
        let failed = |error| Error::io(Layer::Kernel, "set up the channel to the worker", error);
        stream.set_read_timeout(deadline).map_err(failed)?;
        stream.set_write_timeout(deadline).map_err(failed)?;
        Ok(Self { stream })
    }
}

fn failed(error: std::io::Error) -> Error {
    match error.kind() {
        Kind::WouldBlock | Kind::TimedOut => {
            Error::new(ErrorKind::Io, Layer::Kernel, "the kernel has not answered for too long: it is given up")
        }
        Kind::UnexpectedEof | Kind::BrokenPipe | Kind::ConnectionReset => {
            Error::new(ErrorKind::Io, Layer::Kernel, "the process that has the volume mounted has ended")
        }
        _ => Error::io(Layer::Kernel, "talk to the process that has the volume mounted", error),
    }
}

impl Channel for Pipe {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let length = u32::try_from(message.len()).ok().filter(|_| message.len() <= MESSAGE_MAX);
        let Some(length) = length else {
            return Err(Error::new(ErrorKind::Invalid, Layer::Kernel, "a message of more than 16 MiB"));
        };
        self.stream.write_all(&length.to_be_bytes()).and_then(|()| self.stream.write_all(message)).map_err(failed)
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(failed)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MESSAGE_MAX {
            return Err(Error::corrupt(Layer::Kernel, "a message of more than 16 MiB"));
        }
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).map_err(failed)?;
        Ok(message)
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

/// The near end: the channel, and the process at the other end of it, which does not outlive it.
#[derive(Debug)]
pub(super) struct Worker {
    pipe: Pipe,
    child: Child,
    served: Option<Box<dyn Served>>,
}

impl Worker {
    pub(super) fn new(pipe: Pipe, child: Child, served: Option<Box<dyn Served>>) -> Self {
        Self { pipe, child, served }
    }

    /// Waits until the process has ended and the kernel has let go of the volume; gives whether that has come to pass.
    fn wait(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if ended && self.served.as_ref().is_none_or(|served| served.is_over()) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.served.as_ref().map(|served| served.trouble())
    }
}

impl Channel for Worker {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.pipe.send(message)
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        self.pipe.receive()
    }

    fn finish(mut self) -> Result<()> {
        if !self.wait(PATIENCE_AT_THE_END) {
            let message = "the kernel does not let go of the volume";
            return Err(Error::new(ErrorKind::Io, Layer::Kernel, message));
        }
        match self.trouble().and_then(|trouble| take(&trouble)) {
            // What the volume could not do was perhaps nothing that the filesystem needed; nobody knows.
            Some(error) => Err(error),
            None => self.served.as_ref().map_or(Ok(()), |served| served.farewell()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It ends with its channel. As long as it is in the middle of a mount nobody else can end that.
            let _ = self.pipe.stream.shutdown(Shutdown::Both);
            if !self.wait(PATIENCE) {
                let _ = self.child.kill();
                // Its descriptors are all that holds the mount.
                self.wait(PATIENCE);
            }
        }
    }
}
