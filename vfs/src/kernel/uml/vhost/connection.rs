//! The connection with one disk's driver, from the first message to the end of the kernel.

use super::disk::{self, Disk};
use super::memory::{Memory, REGIONS_MAX, Region};
use super::message::{Message, receive, reply};
use super::queue::Queue;
use super::violation;
use crate::block::BlockDevice;
use crate::error::{Error, Layer, Result};
use crate::field::{le32, le64};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::fs::File;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

/// VHOST_USER_F_PROTOCOL_FEATURES.
const HAS_PROTOCOL_FEATURES: u64 = 1 << 30;
/// VHOST_USER_PROTOCOL_F_CONFIG: the configuration space is asked for. VHOST_USER_PROTOCOL_F_BACKEND_REQ: requests the other way,
/// of which there are none; but only with their channel does virtio_uml of Linux 6.1 have an interrupt for its queues.
const PROTOCOL_FEATURES: u64 = 1 << 9 | 1 << 5;

/// The requests that are known, by their numbers.
mod request {
    pub(super) const GET_FEATURES: u32 = 1;
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_OWNER: u32 = 3;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_NUM: u32 = 8;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const GET_VRING_BASE: u32 = 11;
    pub(super) const SET_VRING_KICK: u32 = 12;
    pub(super) const SET_VRING_CALL: u32 = 13;
    pub(super) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(super) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(super) const SET_VRING_ENABLE: u32 = 18;
    pub(super) const SET_BACKEND_REQ_FD: u32 = 21;
    pub(super) const GET_CONFIG: u32 = 24;
}

/// The back end of one disk.
#[derive(Debug)]
pub(in crate::kernel::uml) struct Connection {
    stream: UnixStream,
    disk: Disk,
    memory: Memory,
    queue: Queue,
    kick: Option<Kick>,
    call: Option<File>,
    /// Never written to, and open as long as the connection.
    back: Option<File>,
}

impl Connection {
    /// The back end's side of `stream`. What goes wrong with the device is put into `failure`, the first time.
    pub(in crate::kernel::uml) fn new(
        stream: UnixStream,
        device: Arc<dyn BlockDevice>,
        failure: Arc<Mutex<Option<Error>>>,
    ) -> Self {
        let disk = Disk::new(device, failure);
        Self { stream, disk, memory: Memory::default(), queue: Queue::default(), kick: None, call: None, back: None }
    }

    /// Serves until the other end closes. Errors: the other end breaks the protocol.
    pub(in crate::kernel::uml) fn run(&mut self) -> Result<()> {
        loop {
            let (message, kicked) = self.wait()?;
            if kicked {
                // How often it was kicked does not matter.
                self.kick.as_ref().map_or(Ok(()), Kick::forget)?;
                self.serve()?;
            }
            if message {
                let Some(message) = receive(&mut self.stream)? else { return Ok(()) };
                self.handle(message)?;
            }
        }
    }

    /// Waits until there is a message, or a request in the queue.
    fn wait(&self) -> Result<(bool, bool)> {
        let mut ends = vec![PollFd::new(&self.stream, PollFlags::IN)];
        ends.extend(self.kick.as_ref().map(|kick| PollFd::new(&kick.edges, PollFlags::IN)));
        loop {
            match poll(&mut ends, None) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(cannot_wait(errno)),
                Ok(_) => {
                    let ready = |at: usize| ends.get(at).is_some_and(|end| !end.revents().is_empty());
                    return Ok((ready(0), ready(1)));
                }
            }
        }
    }

    /// Serves what is in the queue.
    fn serve(&mut self) -> Result<()> {
        loop {
            let mut position = self.queue.next();
            let batch = self.queue.take(&self.memory)?;
            for head in batch.heads() {
                let written = self.disk.serve(&self.memory, &batch.chain(*head)?)?;
                self.queue.give(&self.memory, position, *head, written)?;
                position = position.wrapping_add(1);
            }
            if batch.heads().is_empty() {
                return Ok(());
            }
            if let (true, Some(call)) = (batch.interrupt, &self.call) {
                // One that is full has an interrupt on its way already; a closed one belongs to a kernel that ends.
                let _ = send(call, &1_u64.to_ne_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
        }
    }

    fn handle(&mut self, mut message: Message) -> Result<()> {
        let payload = &message.payload;
        let short = || violation("a message that is too short");
        let word = |at: usize| le32(payload, at).ok_or_else(short);
        let long = |at: usize| le64(payload, at).ok_or_else(short);
        let answer = match message.request {
            request::GET_FEATURES => Some((disk::FEATURES | HAS_PROTOCOL_FEATURES).to_le_bytes().to_vec()),
            request::GET_PROTOCOL_FEATURES => Some(PROTOCOL_FEATURES.to_le_bytes().to_vec()),
            request::SET_FEATURES => {
                if long(0)? & !(disk::FEATURES | HAS_PROTOCOL_FEATURES) != 0 {
                    return Err(violation("a feature that was not offered"));
                }
                None
            }
            request::SET_OWNER | request::SET_PROTOCOL_FEATURES | request::SET_VRING_ENABLE => None,
            request::SET_MEM_TABLE => {
                self.memory = memory(payload, message.files)?;
                None
            }
            request::SET_VRING_NUM => {
                only_queue(word(0)?)?;
                self.queue.set_size(word(4)?)?;
                None
            }
            request::SET_VRING_BASE => {
                only_queue(word(0)?)?;
                self.queue.set_next(word(4)?)?;
                None
            }
            request::SET_VRING_ADDR => {
                only_queue(word(0)?)?;
                let ring = |at| self.memory.guest_address(long(at)?);
                let (descriptors, used, available) = (ring(8)?, ring(16)?, ring(24)?);
                self.queue.set_rings(descriptors, available, used);
                None
            }
            request::SET_VRING_KICK | request::SET_VRING_CALL => {
                let [index, ..] = long(0)?.to_le_bytes();
                only_queue(index.into())?;
                let file = message.files.pop();
                if message.request == request::SET_VRING_KICK {
                    self.kick = file.map(Kick::new).transpose()?;
                } else {
                    self.call = file.map(interrupt).transpose()?;
                }
                None
            }
            request::SET_BACKEND_REQ_FD => {
                self.back = message.files.pop();
                None
            }
            request::GET_VRING_BASE => {
                only_queue(word(0)?)?;
                self.kick = None;
                let state = [0_u32, u32::from(self.queue.next())];
                Some(state.iter().flat_map(|word| word.to_le_bytes()).collect())
            }
            request::GET_CONFIG => Some(self.configuration(payload)?),
            _ => return Err(violation("a request that was not agreed on")),
        };
        match answer {
            Some(payload) => reply(&mut self.stream, message.request, &payload),
            None => Ok(()),
        }
    }

    /// The answer to a question for the configuration: its head, and the bytes that are asked for.
    fn configuration(&self, question: &[u8]) -> Result<Vec<u8>> {
        let short = || violation("a message that is too short");
        let head = question.get(..12).ok_or_else(short)?;
        let at = |place| le32(head, place).and_then(|number| usize::try_from(number).ok()).ok_or_else(short);
        let (offset, size) = (at(0)?, at(4)?);
        if size != question.len().saturating_sub(12) {
            return Err(violation("a question for the configuration that contradicts itself"));
        }
        let space = self.disk.configuration();
        let bytes = space.iter().copied().chain(std::iter::repeat(0)).skip(offset.min(space.len())).take(size);
        Ok(head.iter().copied().chain(bytes).collect())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Others have the stream open too.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The driver's word that there is something in the queue: whatever it has sent for that, usually an eventfd. It is never read, as that
/// can wait: whether the descriptor waits is up to everybody who has it. Only that something has come is noticed (epoll(7),
/// EPOLLET), which every write to it does.
#[derive(Debug)]
struct Kick {
    edges: OwnedFd,
    /// Watched as long as it is open.
    _file: File,
}

impl Kick {
    fn new(file: File) -> Result<Self> {
        let edges = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(cannot_wait)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        match epoll::add(&edges, &file, epoll::EventData::new_u64(0), flags) {
            Ok(()) => Ok(Self { edges, _file: file }),
            Err(Errno::PERM) => Err(violation("a kick that cannot be waited for")),
            Err(errno) => Err(cannot_wait(errno)),
        }
    }

    /// Takes note of what has come.
    fn forget(&self) -> Result<()> {
        let mut event = [MaybeUninit::uninit()];
        match epoll::wait(&self.edges, &mut event[..], Some(&Timespec::default())) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(cannot_wait(errno)),
        }
    }
}

fn cannot_wait(errno: Errno) -> Error {
    Error::io(Layer::Kernel, "wait for the borrowed kernel", errno.into())
}

/// What interrupts are sent to: what virtio_uml calls a pipe is a pair of sockets. With these whoever sends says whether that may
/// wait; with other descriptors everybody does who has them.
fn interrupt(file: File) -> Result<File> {
    let failed = |error| Error::io(Layer::Kernel, "look at the interrupt of the borrowed kernel", error);
    let metadata = file.metadata().map_err(failed)?;
    if metadata.file_type().is_socket() { Ok(file) } else { Err(violation("an interrupt that is no socket")) }
}

/// There is one queue.
fn only_queue(index: u32) -> Result<()> {
    if index == 0 { Ok(()) } else { Err(violation("a second queue")) }
}

/// The regions of the guest's memory.
fn memory(payload: &[u8], files: Vec<File>) -> Result<Memory> {
    let short = || violation("a message that is too short");
    let count = le32(payload, 0).and_then(|count| usize::try_from(count).ok()).ok_or_else(short)?;
    if count > REGIONS_MAX || count != files.len() {
        return Err(violation("as many regions of memory as it has no files for"));
    }
    let mut regions = Vec::new();
    for (at, file) in files.into_iter().enumerate() {
        let metadata = file.metadata().map_err(|error| Error::io(Layer::Kernel, "look at its memory", error))?;
        if !metadata.is_file() {
            return Err(violation("memory that is no file"));
        }
        let start = at.saturating_mul(32).saturating_add(8);
        let number = |field: usize| le64(payload, start.saturating_add(field)).ok_or_else(short);
        regions.push(Region { guest: number(0)?, size: number(8)?, user: number(16)?, offset: number(24)?, file });
    }
    Ok(Memory::new(regions))
}
