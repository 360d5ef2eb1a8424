//! The thread that answers the kernel's requests.

use super::super::served::{Served, Trouble, Watched};
use super::Terms;
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::kernel::nbd::{Access, End, Export, transmit};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// A volume that is served on one connection.
#[derive(Debug)]
pub(crate) struct Server {
    thread: JoinHandle<()>,
    end: Arc<Mutex<Option<Result<End>>>>,
    trouble: Trouble,
}

impl Server {
    /// Begins to serve a volume; gives the end of the connection that is for the kernel, and what it is to know.
    pub(crate) fn new(volume: Arc<dyn BlockDevice>) -> Result<(Self, OwnedFd, Terms)> {
        let failed = |error| Error::io(Layer::Kernel, "serve the volume as a network block device", error);
        let (near, far) = UnixStream::pair().map_err(failed)?;
        let trouble = Trouble::default();
        let device = Arc::new(Watched::new(volume, Arc::clone(&trouble)));
        let terms = Terms { size: device.size(), flags: 0 };
        let export = Export { device, access: Access::ReadWrite, description: String::new() };
        let terms = Terms { flags: export.flags(), ..terms };
        let end: Arc<Mutex<Option<Result<End>>>> = Arc::default();
        let said = Arc::clone(&end);
        let serve = move || {
            let answer = transmit(&mut Line::new(near), &export);
            *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        };
        let thread = thread::Builder::new().name("nbd".to_owned()).spawn(serve).map_err(failed)?;
        Ok((Self { thread, end, trouble }, far.into(), terms))
    }
}

impl Served for Server {
    fn trouble(&self) -> Trouble {
        Arc::clone(&self.trouble)
    }

    fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    fn farewell(&self) -> Result<()> {
        match self.end.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Ok(End::Disconnected)) => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(End::Vanished)) | None => {
                let message = "the kernel let go of its network block device without saying so";
                Err(Error::new(ErrorKind::Io, Layer::Kernel, message))
            }
        }
    }
}

/// A connection that is read in pieces of a request's length, and written at once.
struct Line(BufReader<UnixStream>);

impl Line {
    fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}
