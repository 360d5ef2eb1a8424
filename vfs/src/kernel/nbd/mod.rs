//! Network block devices: a volume served to other programs, and to the kernel.
//!
//! The fixed newstyle handshake with `EXPORT_NAME`, `GO`, `INFO`, `LIST` and `ABORT`, and the transmission with simple
//! replies: `READ`, `WRITE`, `FLUSH`, `TRIM`, `WRITE_ZEROES` and `DISC`, with `FUA`. There is one export, the default one
//! (its name is empty). What a client says is believed of nothing: lengths are bounded before they are used.
//!
//! Source: the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md).

#![warn(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

mod handshake;
mod listener;
mod transmission;
mod wire;

pub use handshake::{Negotiated, negotiate};
pub use listener::{Address, Listener, Outcome, Until};
pub use transmission::{End, transmit};

use crate::block::BlockDevice;
use crate::error::{Error, ErrorKind, Layer};
use std::sync::Arc;
use wire::flag;

/// The most bytes of one request that are read or written, as the protocol recommends.
const REQUEST_MAX: u32 = 32 << 20;

/// Whether clients may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// What is served.
#[derive(Clone, Debug)]
pub struct Export {
    /// The bytes.
    pub device: Arc<dyn BlockDevice>,
    /// Whether they may be changed.
    pub access: Access,
    /// What clients are told that it is, in one line.
    pub description: String,
}

impl Export {
    /// The transmission flags.
    pub fn flags(&self) -> u16 {
        // Every client sees at once what another has written, so that several may share the work.
        let all = flag::HAS_FLAGS | flag::SEND_FLUSH | flag::SEND_FUA | flag::CAN_MULTI_CONN;
        match self.access {
            Access::ReadOnly => all | flag::READ_ONLY,
            Access::ReadWrite => all | flag::SEND_TRIM | flag::SEND_WRITE_ZEROES,
        }
    }
}

/// The other side is gone, or does not answer.
fn broken(error: std::io::Error) -> Error {
    Error::io(Layer::Kernel, "talk to the NBD client", error)
}

/// The other side does not speak the protocol.
fn violation(what: &str) -> Error {
    Error::new(ErrorKind::Denied, Layer::Kernel, format!("the NBD client does not keep to the protocol: {what}"))
}
