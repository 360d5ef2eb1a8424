//! Messages of the front end, each with the file descriptors that come along.

use super::violation;
use crate::error::{Error, Layer, Result};
use crate::field::le32;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::fs::File;
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

/// Request, flags and the size of what follows, 32 bits each.
const HEADER: usize = 12;
/// The longest payload: a configuration space of 256 bytes, or eight regions of memory.
const PAYLOAD_MAX: u32 = 512;
/// Version 1, and the mark of a reply.
const REPLY: u32 = 1 | 1 << 2;

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) request: u32,
    pub(super) payload: Vec<u8>,
    pub(super) files: Vec<File>,
}

fn failed(error: impl Into<std::io::Error>) -> Error {
    Error::io(Layer::Kernel, "talk to the borrowed kernel", error.into())
}

/// The next message; `None` where the other end has closed.
pub(super) fn receive(stream: &mut UnixStream) -> Result<Option<Message>> {
    let mut header = [0; HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = loop {
        match recvmsg(&*stream, &mut [IoSliceMut::new(&mut header)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            // A kernel that is killed leaves a reset connection.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            result => break result.map_err(failed)?,
        }
    };
    if got.flags.contains(ReturnFlags::CTRUNC) {
        // The kernel sends no more of them than there is room for.
        let error = failed(rustix::io::Errno::MFILE);
        return Err(error.with_hint("ulimit -n has the limit of open files"));
    }
    let got = got.bytes;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            files.extend(descriptors.map(File::from));
        }
    }
    if got == 0 {
        return Ok(None);
    }
    stream.read_exact(header.get_mut(got..).unwrap_or_default()).map_err(failed)?;
    let short = || violation("a message that is too short");
    let request = le32(&header, 0).ok_or_else(short)?;
    let size = le32(&header, 8).ok_or_else(short)?;
    if size > PAYLOAD_MAX {
        return Err(violation("a message that is too long"));
    }
    let mut payload = vec![0; usize::try_from(size).map_err(|_| short())?];
    stream.read_exact(&mut payload).map_err(failed)?;
    Ok(Some(Message { request, payload, files }))
}

/// Answers a request. That the other end is gone already shows with the next message.
pub(super) fn reply(stream: &mut UnixStream, request: u32, payload: &[u8]) -> Result<()> {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    for word in [request, REPLY, size] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(payload);
    match stream.write_all(&bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
        result => result.map_err(failed),
    }
}
