//! The channel to the program in the borrowed kernel: messages as requests to a second disk.
//!
//! A disk is the one fast thing between the two: over a serial line of this kernel an exchange takes 1.7 ms and a megabyte half a second. A read at the inbox waits until there is a message; a write at the outbox
//! delivers one. Either begins with its length in four bytes, little-endian, and is padded to sectors. The kernel itself looks for
//! partitions at both ends of a disk when it finds one; there it reads zeros.

use crate::block::{BlockDevice, check_range};
use crate::error::{Error, ErrorKind, Layer, Result};
use crate::fs::remote::{Channel, MESSAGE_MAX};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};

/// Where messages to the guest are read, in bytes.
const INBOX: u64 = 1 << 20;
/// Where messages of the guest are written, in bytes.
const OUTBOX: u64 = 32 << 20;
/// The size of the disk in bytes.
const SIZE: u64 = 64 << 20;
/// Bytes of the length before a message.
const PREFIX: usize = 4;
/// A message is padded to a multiple of this, in bytes.
const SECTOR: usize = 512;
/// How much of a message comes with its length, in bytes.
const FIRST: usize = 4096;
/// The longest request, in bytes: a little less than the kernel makes one of, and more than a message with a piece of a file.
const REQUEST: usize = 384 << 10;

/// The end of the program that borrows the kernel: a disk for the kernel.
#[derive(Debug)]
pub(super) struct Mailbox {
    inbox: Mutex<(Receiver<Vec<u8>>, Vec<u8>)>,
    outbox: Mutex<(Sender<Vec<u8>>, Vec<u8>)>,
}

impl Mailbox {
    /// Gives the guest what comes out of `inbox`, and puts what it says into `outbox`.
    pub(super) fn new(inbox: Receiver<Vec<u8>>, outbox: Sender<Vec<u8>>) -> Self {
        Self { inbox: Mutex::new((inbox, Vec::new())), outbox: Mutex::new((outbox, Vec::new())) }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Io, Layer::Kernel, "the other end of the channel is gone")
}

fn wrong(what: &'static str) -> Error {
    Error::corrupt(Layer::Kernel, format!("the borrowed kernel misuses its channel: {what}"))
}

/// The length of a message with prefix and padding, in bytes.
fn padded(len: usize) -> usize {
    len.saturating_add(PREFIX).next_multiple_of(SECTOR)
}

impl BlockDevice for Mailbox {
    fn size(&self) -> u64 {
        SIZE
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(Layer::Kernel, SIZE, offset, buf.len())?;
        buf.fill(0);
        let Some(at) = offset.checked_sub(INBOX).filter(|_| offset < OUTBOX) else { return Ok(()) };
        let (inbox, message) = &mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if at == 0 {
            let next = inbox.recv().map_err(|_| gone())?;
            *message = u32::try_from(next.len()).map_err(|_| wrong("a message too long"))?.to_le_bytes().to_vec();
            message.extend_from_slice(&next);
        }
        let rest = usize::try_from(at).ok().and_then(|at| message.get(at..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(place), Some(bytes)) = (buf.get_mut(..len), rest.get(..len)) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(Layer::Kernel, SIZE, offset, buf.len())?;
        let at = offset.checked_sub(OUTBOX).and_then(|at| usize::try_from(at).ok());
        let at = at.ok_or_else(|| wrong("a write beside the outbox"))?;
        let (outbox, message) = &mut *self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if at == 0 {
            message.clear();
        }
        if at != message.len() {
            return Err(wrong("a message out of order"));
        }
        message.extend_from_slice(buf);
        let Some((prefix, rest)) = message.split_first_chunk::<PREFIX>() else { return Err(wrong("no length")) };
        let len = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        if len > MESSAGE_MAX || message.len() > padded(len) {
            return Err(wrong("a message too long"));
        }
        if let Some(whole) = rest.get(..len) {
            // Who does not listen any longer ends the kernel anyway.
            let _ = outbox.send(whole.to_vec());
            message.clear();
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// The end in the guest: the disk's device file, opened past the page cache.
#[derive(Debug)]
pub(super) struct Slot {
    disk: File,
    /// A request's bytes begin at `start`, where they are aligned as O_DIRECT wants them.
    buffer: Vec<u8>,
    start: usize,
}

impl Slot {
    pub(super) fn new(disk: File) -> Self {
        let buffer = vec![0; REQUEST.saturating_add(FIRST)];
        let start = buffer.as_ptr().align_offset(FIRST);
        Self { disk, buffer, start }
    }

    fn read(&mut self, len: usize, at: usize, message: &mut Vec<u8>) -> Result<()> {
        let window = window(&mut self.buffer, self.start, len)?;
        let offset = INBOX.saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
        self.disk.read_exact_at(window, offset).map_err(|error| Error::io(Layer::Kernel, "read the channel", error))?;
        message.extend_from_slice(window);
        Ok(())
    }
}

/// The aligned part of a buffer, `len` bytes of it.
fn window(buffer: &mut [u8], start: usize, len: usize) -> Result<&mut [u8]> {
    buffer.get_mut(start..).and_then(|aligned| aligned.get_mut(..len)).ok_or_else(gone)
}

impl Channel for Slot {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let len = u32::try_from(message.len()).map_err(|_| wrong("a message too long"))?;
        let mut whole = len.to_le_bytes().to_vec();
        whole.extend_from_slice(message);
        whole.resize(padded(message.len()), 0);
        let mut offset = OUTBOX;
        for piece in whole.chunks(REQUEST) {
            let window = window(&mut self.buffer, self.start, piece.len())?;
            window.copy_from_slice(piece);
            let written = self.disk.write_all_at(window, offset);
            written.map_err(|error| Error::io(Layer::Kernel, "write the channel", error))?;
            offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let mut message = Vec::new();
        self.read(FIRST, 0, &mut message)?;
        let (prefix, _) = message.split_first_chunk::<PREFIX>().ok_or_else(gone)?;
        let len = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        if len > MESSAGE_MAX {
            return Err(wrong("a message too long"));
        }
        while message.len() < len.saturating_add(PREFIX) {
            let left = padded(len).saturating_sub(message.len());
            let at = message.len();
            self.read(left.min(REQUEST), at, &mut message)?;
        }
        message.drain(..PREFIX);
        message.truncate(len);
        Ok(message)
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut bytes = (message.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(message);
        bytes.resize(padded(message.len()), 0);
        bytes
    }

    #[test]
    fn messages_go_through_whole() {
        let (to_guest, inbox) = channel();
        let (outbox, from_guest) = channel();
        let mailbox = Mailbox::new(inbox, outbox);
        let mut sector = [1; 512];
        mailbox.read_at(&mut sector, 0).unwrap();
        mailbox.read_at(&mut [0; 512], SIZE - 512).unwrap();
        assert_eq!(sector, [0; 512], "a kernel that looks for partitions does not wait");
        for len in [0, 1, 508, 509, 4092, 4093, 100_000] {
            let message: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            to_guest.send(message.clone()).unwrap();
            let mut read = vec![0xff; padded(len).max(FIRST)];
            let (first, rest) = read.split_at_mut(FIRST);
            mailbox.read_at(first, INBOX).unwrap();
            if !rest.is_empty() {
                mailbox.read_at(rest, INBOX + FIRST as u64).unwrap();
            }
            let expected = framed(&message);
            assert!(read[..expected.len()] == expected && read[expected.len()..].iter().all(|byte| *byte == 0));
            for (at, piece) in expected.chunks(8192).enumerate() {
                mailbox.write_at(piece, OUTBOX + at as u64 * 8192).unwrap();
            }
            assert!(from_guest.try_recv().unwrap() == message, "{len} bytes");
        }
        drop(to_guest);
        assert_eq!(mailbox.read_at(&mut sector, INBOX).unwrap_err().kind(), ErrorKind::Io);
    }

    #[test]
    fn a_message_that_is_wrong_is_refused() {
        let sector = framed(&[7; 100]);
        let long = framed(&[7; 1000]);
        let longer = framed(&[7; 2000]);
        let mut huge = sector.clone();
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        for (what, writes) in [
            ("beside the outbox", vec![(0, &sector[..])]),
            ("past the end", vec![(SIZE, &sector[..])]),
            ("begun in the middle", vec![(OUTBOX + 512, &sector[..])]),
            ("with a gap", vec![(OUTBOX, &long[..512]), (OUTBOX + 1024, &long[512..1024])]),
            ("with a step back", vec![(OUTBOX, &longer[..1024]), (OUTBOX + 512, &longer[512..1024])]),
            ("longer than it says", vec![(OUTBOX, &[&sector[..], &[0; 512]].concat()[..])]),
            ("longer than a message is", vec![(OUTBOX, &huge[..])]),
            ("without a length", vec![(OUTBOX, &sector[..2])]),
        ] {
            let (outbox, from_guest) = channel();
            let mailbox = Mailbox::new(channel().1, outbox);
            let result: Result<()> = writes.iter().try_for_each(|(offset, bytes)| mailbox.write_at(bytes, *offset));
            assert!(result.is_err(), "{what}");
            assert!(from_guest.try_recv().is_err());
        }
    }
}
