//! The transmission: requests, each answered in turn.

use super::wire::{self, Request, command, error, send};
use super::{Access, Export, REQUEST_MAX, broken, violation};
use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Result};
use std::io::{Read, Write};

/// How many bytes are zeroed at a time.
const ZEROS: usize = 64 << 10;

/// How a transmission ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client has said that it goes (`DISC`): every request before it is answered.
    Disconnected,
    /// The connection ended between two requests, without a word.
    Vanished,
}

/// Answers requests until the client goes.
///
/// An error of kind `Io` is a connection that broke in the middle of a request, `Denied` a client that does not keep to the
/// protocol. What the device cannot do is answered to the client, and ends nothing.
pub fn transmit<S: Read + Write>(stream: &mut S, export: &Export) -> Result<End> {
    let mut buffer = Vec::new();
    loop {
        let mut header = [0; Request::LEN];
        let (first, rest) = header.split_at_mut(1);
        match stream.read(first) {
            Ok(0) => return Ok(End::Vanished),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(End::Vanished),
            Ok(_) => stream.read_exact(rest).map_err(broken)?,
            Err(error) => return Err(broken(error)),
        }
        let request = Request::parse(&header).ok_or_else(|| violation("a request does not begin as one"))?;
        if request.command == command::DISC {
            return Ok(End::Disconnected);
        }
        answer(stream, export, request, &mut buffer)?;
        // What a large request needed is not kept.
        buffer.clear();
        buffer.shrink_to(1 << 20);
    }
}

fn answer<S: Read + Write>(stream: &mut S, export: &Export, request: Request, buffer: &mut Vec<u8>) -> Result<()> {
    let length = usize::try_from(request.length).unwrap_or(usize::MAX);
    if request.command == command::WRITE {
        if request.length > REQUEST_MAX {
            // Its bytes follow in any case, and are not worth reading.
            return Err(violation("a write of more than 32 MiB"));
        }
        buffer.resize(length, 0);
        stream.read_exact(buffer).map_err(broken)?;
    }
    let result = match check(export, request) {
        Err(number) => Err(number),
        Ok(()) => {
            if request.command == command::READ {
                buffer.resize(length, 0);
            }
            perform(&*export.device, request, buffer).map_err(|error| number_of(&error))
        }
    };
    let number = result.err().unwrap_or(error::NONE);
    let (magic, number_bytes, cookie) =
        (wire::SIMPLE_REPLY.to_be_bytes(), number.to_be_bytes(), request.cookie.to_be_bytes());
    let data = if request.command == command::READ && number == error::NONE { &buffer[..] } else { &[] };
    send(stream, &[&magic, &number_bytes, &cookie, data])
}

/// Refuses what cannot be done, by the error that the protocol wants.
fn check(export: &Export, request: Request) -> Result<(), u32> {
    let (is_write, flags) = match request.command {
        command::READ | command::FLUSH => (false, command::FUA),
        command::WRITE | command::TRIM => (true, command::FUA),
        command::WRITE_ZEROES => (true, command::FUA | command::NO_HOLE),
        _ => return Err(error::EINVAL),
    };
    if request.flags & !flags != 0 || (request.command == command::READ && request.length > REQUEST_MAX) {
        return Err(error::EINVAL);
    }
    if is_write && export.access == Access::ReadOnly {
        return Err(error::EPERM);
    }
    let inside = request.offset.checked_add(u64::from(request.length)).is_some_and(|end| end <= export.device.size());
    match (inside, request.command) {
        (true, _) | (_, command::FLUSH) => Ok(()),
        (false, command::READ | command::TRIM) => Err(error::EINVAL),
        (false, _) => Err(error::ENOSPC),
    }
}

/// Does what was checked. Nothing is durable before the commit, so `FUA` asks for no more than what happens anyhow.
fn perform(device: &dyn BlockDevice, request: Request, buffer: &mut [u8]) -> Result<()> {
    match request.command {
        command::READ => device.read_at(buffer, request.offset),
        command::WRITE => device.write_at(buffer, request.offset),
        command::WRITE_ZEROES => write_zeros(device, request.offset, u64::from(request.length)),
        command::FLUSH => device.flush(),
        // What is trimmed may stay as it is.
        _ => Ok(()),
    }
}

/// Writes zeros where there are none yet, so that a hole stays a hole.
fn write_zeros(device: &dyn BlockDevice, offset: u64, length: u64) -> Result<()> {
    let zeros = vec![0; ZEROS];
    let mut found = vec![0; ZEROS];
    let mut done = 0_u64;
    while done < length {
        let piece = usize::try_from(length.saturating_sub(done)).unwrap_or(ZEROS).min(ZEROS);
        let at = offset.saturating_add(done);
        let (Some(found), Some(zeros)) = (found.get_mut(..piece), zeros.get(..piece)) else { break };
        device.read_at(found, at)?;
        if found != zeros {
            device.write_at(zeros, at)?;
        }
        done = done.saturating_add(u64::try_from(piece).unwrap_or(u64::MAX));
    }
    Ok(())
}

fn number_of(error: &Error) -> u32 {
    match error.kind() {
        ErrorKind::Denied => error::EPERM,
        ErrorKind::Invalid => error::EINVAL,
        ErrorKind::NoSpace => error::ENOSPC,
        _ => error::EIO,
    }
}
