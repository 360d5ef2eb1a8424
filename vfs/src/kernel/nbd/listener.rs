//! A socket to which clients come, one or several at a time.

use super::{End, Export, Negotiated, negotiate, transmit};
use crate::error::{Error, ErrorKind, Layer, Result};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::stat::{Mode, umask};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// The most clients at a time; more are turned away.
const CLIENTS_MAX: u32 = 64;
/// How long a client may be silent in the handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket file, which is made with mode 0600 and removed afterwards.
    Unix(PathBuf),
    /// An address and a port; port 0 lets the system choose. Whoever can reach it can use it.
    Tcp(SocketAddr),
}

/// How long a server serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the last client has gone that read or wrote.
    LastClient,
    /// Until it is [stopped](Listener::stop).
    Stopped,
}

/// How a server's work ended.
#[derive(Debug)]
pub struct Outcome {
    /// Why: the last client has gone, or it was stopped, when clients may have been in the middle of something.
    pub end: Until,
    /// How many clients read or wrote.
    pub clients: u32,
    /// Of the first client that did not say goodbye, what is known; then what was written may be half of something.
    pub broken: Option<Error>,
}

enum Socket {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener, SocketAddr),
}

/// A server that listens.
pub struct Listener {
    socket: Arc<Socket>,
    ends: mpsc::Sender<Until>,
    ended: Mutex<mpsc::Receiver<Until>>,
}

/// A connection.
trait Stream: Read + Write + Send {
    /// How long a read or a write may wait; `None` for ever.
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(patience)?;
        self.set_write_timeout(patience)
    }
}

/// What the threads of the clients share.
#[derive(Debug, Default)]
struct Hall {
    connected: u32,
    active: u32,
    clients: u32,
    broken: Option<Error>,
    is_closed: bool,
}

impl Listener {
    /// Begins to listen; clients wait until [`serve`](Self::serve).
    ///
    /// `InUse` where something is at the path or another program listens at the address.
    pub fn bind(address: &Address) -> Result<Self> {
        let failed = |what: String, error: io::Error| {
            let taken = matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AlreadyExists);
            let kind = if taken { ErrorKind::InUse } else { ErrorKind::Io };
            Error::new(kind, Layer::Host, format!("cannot listen at {what}")).with_source(error)
        };
        let socket = match address {
            Address::Unix(path) => {
                // Nobody else may connect, not even for a moment: an image can hold hashes and keys.
                let before = umask(Mode::from_bits_truncate(0o177));
                let bound = UnixListener::bind(path);
                umask(before);
                let listener = bound.map_err(|error| {
                    let error = failed(path.display().to_string(), error);
                    match error.kind() {
                        ErrorKind::InUse => error.with_hint("if no server is there any more, remove the socket file"),
                        _ => error,
                    }
                })?;
                Socket::Unix(listener, path.clone())
            }
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(|error| failed(address.to_string(), error))?;
                let address = listener.local_addr().map_err(|error| failed(address.to_string(), error))?;
                Socket::Tcp(listener, address)
            }
        };
        let (ends, ended) = mpsc::channel();
        Ok(Self { socket: Arc::new(socket), ends, ended: Mutex::new(ended) })
    }

    /// The address for clients, as an NBD URI (NetworkBlockDevice/nbd, doc/uri.md).
    pub fn uri(&self) -> String {
        match &*self.socket {
            Socket::Unix(_, path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("nbd+unix:///?socket={}", escape(path.as_os_str().as_encoded_bytes()))
            }
            Socket::Tcp(_, address) => format!("nbd://{address}"),
        }
    }

    /// Serves clients, each in a thread of its own, and says how it ended.
    pub fn serve(&self, export: &Export, until: Until) -> Result<Outcome> {
        let hall = Arc::new(Mutex::new(Hall::default()));
        let door = {
            let (socket, hall, export) = (Arc::clone(&self.socket), Arc::clone(&hall), export.clone());
            let ends = self.ends.clone();
            thread::Builder::new().name("nbd".to_owned()).spawn(move || {
                let result = admit(&socket, &hall, &export, until, &ends);
                // Where nobody can come any more, nothing is to be waited for.
                let _ = ends.send(Until::Stopped);
                result
            })
        };
        let door = door.map_err(|error| Error::io(Layer::Host, "start a thread", error))?;
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv();
        lock(&hall).is_closed = true;
        self.socket.close();
        let admitted = door.join().unwrap_or_else(|_| Err(io::Error::other("the thread broke down")));
        admitted.map_err(|error| Error::io(Layer::Host, "take an NBD client", error))?;
        let mut hall = lock(&hall);
        Ok(Outcome { end: ended.unwrap_or(Until::Stopped), clients: hall.clients, broken: hall.broken.take() })
    }

    /// Has [`serve`](Self::serve) return, from another thread or before it begins.
    pub fn stop(&self) {
        let _ = self.ends.send(Until::Stopped);
    }
}

/// Takes clients until the hall is closed.
fn admit(
    socket: &Socket,
    hall: &Arc<Mutex<Hall>>,
    export: &Export,
    until: Until,
    ends: &mpsc::Sender<Until>,
) -> io::Result<()> {
    loop {
        let stream = socket.accept();
        {
            let mut hall = lock(hall);
            if hall.is_closed {
                return Ok(());
            }
            if hall.connected >= CLIENTS_MAX {
                continue;
            }
            hall.connected = hall.connected.saturating_add(1);
        }
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                let mut hall = lock(hall);
                hall.connected = hall.connected.saturating_sub(1);
                drop(hall);
                if error.kind() == io::ErrorKind::ConnectionAborted || error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
        };
        let (shared, export, ends) = (Arc::clone(hall), export.clone(), ends.clone());
        thread::Builder::new().name("nbd client".to_owned()).spawn(move || {
            let is_last = visit(&mut *stream, &shared, &export, until);
            drop(stream);
            if is_last {
                let _ = ends.send(Until::LastClient);
            }
        })?;
    }
}

/// One client from its greeting to its end; gives whether it was the last one to wait for.
fn visit(stream: &mut dyn Stream, hall: &Mutex<Hall>, export: &Export, until: Until) -> bool {
    let mut stream = stream;
    // Somebody who says nothing takes the place of others.
    let timed = |error| Error::io(Layer::Kernel, "set a time limit for an NBD client", error);
    let negotiated = stream
        .set_patience(Some(PATIENCE))
        .map_err(timed)
        .and_then(|()| negotiate(&mut stream, export))
        .and_then(|negotiated| stream.set_patience(None).map_err(timed).map(|()| negotiated));
    {
        let mut hall = lock(hall);
        match negotiated {
            Ok(Negotiated::Transmission) if !hall.is_closed => {
                hall.active = hall.active.saturating_add(1);
                hall.clients = hall.clients.saturating_add(1);
            }
            other => {
                if let Err(error) = other {
                    tracing::debug!(%error, "an NBD client went away in the handshake");
                }
                hall.connected = hall.connected.saturating_sub(1);
                return false;
            }
        }
    }
    let end = transmit(&mut stream, export);
    let mut hall = lock(hall);
    hall.active = hall.active.saturating_sub(1);
    hall.connected = hall.connected.saturating_sub(1);
    let broken = match end {
        Ok(End::Disconnected) => None,
        Ok(End::Vanished) => {
            let message = "an NBD client went away without saying so";
            Some(Error::new(ErrorKind::Io, Layer::Kernel, message))
        }
        Err(error) => Some(error),
    };
    hall.broken = hall.broken.take().or(broken);
    if hall.active == 0 && until == Until::LastClient {
        hall.is_closed = true;
    }
    hall.is_closed && hall.active == 0
}

fn lock(hall: &Mutex<Hall>) -> MutexGuard<'_, Hall> {
    hall.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener, _) => Box::new(listener.accept()?.0),
            Self::Tcp(listener, _) => {
                let (stream, _) = listener.accept()?;
                // An answer waits for nothing.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }

    /// Wakes up who waits for a client, and takes the socket file away.
    fn close(&self) {
        let descriptor = match self {
            Self::Unix(listener, _) => listener.as_raw_fd(),
            Self::Tcp(listener, _) => listener.as_raw_fd(),
        };
        let _ = shutdown(descriptor, Shutdown::Both);
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.socket.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.uri()).finish()
    }
}

/// The bytes of a path for a URI (RFC 3986, percent-encoding).
fn escape(path: &[u8]) -> String {
    path.iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
