//! The numbers of the protocol, and its fields on a stream: big-endian throughout.
//!
//! Source: the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md).

use super::broken;
use crate::error::Result;
use std::io::{Read, Write};

pub(super) const NBDMAGIC: u64 = u64::from_be_bytes(*b"NBDMAGIC");
pub(super) const IHAVEOPT: u64 = u64::from_be_bytes(*b"IHAVEOPT");
pub(super) const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
pub(super) const REQUEST: u32 = 0x2560_9513;
pub(super) const SIMPLE_REPLY: u32 = 0x6744_6698;

/// Handshake flags, of the server and of the client.
pub(super) const FIXED_NEWSTYLE: u16 = 1;
pub(super) const NO_ZEROES: u16 = 2;

/// What a client asks for before the transmission.
pub(super) mod option {
    pub(in super::super) const EXPORT_NAME: u32 = 1;
    pub(in super::super) const ABORT: u32 = 2;
    pub(in super::super) const LIST: u32 = 3;
    pub(in super::super) const INFO: u32 = 6;
    pub(in super::super) const GO: u32 = 7;
}

/// What the server answers.
pub(super) mod reply {
    pub(in super::super) const ACK: u32 = 1;
    pub(in super::super) const SERVER: u32 = 2;
    pub(in super::super) const INFO: u32 = 3;
    pub(in super::super) const ERR_UNSUP: u32 = 0x8000_0001;
    pub(in super::super) const ERR_INVALID: u32 = 0x8000_0003;
    pub(in super::super) const ERR_UNKNOWN: u32 = 0x8000_0006;
    pub(in super::super) const ERR_TOO_BIG: u32 = 0x8000_0009;
}

/// The kinds of information about an export.
pub(super) mod info {
    pub(in super::super) const EXPORT: u16 = 0;
    pub(in super::super) const NAME: u16 = 1;
    pub(in super::super) const DESCRIPTION: u16 = 2;
    pub(in super::super) const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags.
pub(super) mod flag {
    pub(in super::super) const HAS_FLAGS: u16 = 1;
    pub(in super::super) const READ_ONLY: u16 = 2;
    pub(in super::super) const SEND_FLUSH: u16 = 4;
    pub(in super::super) const SEND_FUA: u16 = 8;
    pub(in super::super) const SEND_TRIM: u16 = 32;
    pub(in super::super) const SEND_WRITE_ZEROES: u16 = 64;
    pub(in super::super) const CAN_MULTI_CONN: u16 = 256;
}

/// The commands of the transmission, and their flags.
pub(super) mod command {
    pub(in super::super) const READ: u16 = 0;
    pub(in super::super) const WRITE: u16 = 1;
    pub(in super::super) const DISC: u16 = 2;
    pub(in super::super) const FLUSH: u16 = 3;
    pub(in super::super) const TRIM: u16 = 4;
    pub(in super::super) const WRITE_ZEROES: u16 = 6;
    pub(in super::super) const FUA: u16 = 1;
    pub(in super::super) const NO_HOLE: u16 = 2;
}

/// Errors as the protocol numbers them.
pub(super) mod error {
    pub(in super::super) const NONE: u32 = 0;
    pub(in super::super) const EPERM: u32 = 1;
    pub(in super::super) const EIO: u32 = 5;
    pub(in super::super) const EINVAL: u32 = 22;
    pub(in super::super) const ENOSPC: u32 = 28;
}

/// The header of a request in the transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: u16,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Request {
    pub(super) const LEN: usize = 28;

    /// `None` where it does not begin as one has to: then nobody knows where the next one does.
    pub(super) fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut rest = &bytes[..];
        let magic = take(&mut rest).map(u32::from_be_bytes)?;
        let request = Self {
            flags: take(&mut rest).map(u16::from_be_bytes)?,
            command: take(&mut rest).map(u16::from_be_bytes)?,
            cookie: take(&mut rest).map(u64::from_be_bytes)?,
            offset: take(&mut rest).map(u64::from_be_bytes)?,
            length: take(&mut rest).map(u32::from_be_bytes)?,
        };
        (magic == REQUEST).then_some(request)
    }
}

/// The next bytes of a buffer.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

/// The next bytes of a stream.
pub(super) fn read<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map_err(broken)?;
    Ok(bytes)
}

pub(super) fn read_u32(stream: &mut impl Read) -> Result<u32> {
    read(stream).map(u32::from_be_bytes)
}

pub(super) fn read_u64(stream: &mut impl Read) -> Result<u64> {
    read(stream).map(u64::from_be_bytes)
}

/// Sends the pieces of one message at once.
pub(super) fn send(stream: &mut impl Write, pieces: &[&[u8]]) -> Result<()> {
    stream.write_all(&pieces.concat()).and_then(|()| stream.flush()).map_err(broken)
}
