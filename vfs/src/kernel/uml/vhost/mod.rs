//! Block devices for a kernel in another process: vhost-user, the protocol of the QEMU documentation
//! (docs/interop/vhost-user.rst), with virtio-blk of the virtio 1.1 specification behind it.
//!
//! Of the protocol there is what the driver virtio_uml of Linux asks for. The guest's memory is read and written through its
//! file descriptor and never mapped: what is in a request is copied once, checked, and used from the copy, so the guest cannot
//! change it in between. A guest can get wrong bytes, a failed request or an ended connection out of a wrong request, and nothing else.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing))]

mod connection;
mod disk;
mod memory;
mod message;
mod queue;
#[cfg(test)]
mod tests;

pub(super) use connection::Connection;

use crate::error::{Error, Layer};

/// The guest's driver does not keep to the protocol.
fn violation(what: &'static str) -> Error {
    Error::corrupt(Layer::Kernel, format!("the borrowed kernel breaks the protocol of its disk: {what}"))
}
