//! A filesystem that is served elsewhere: by a process, or by a kernel in a process, that holds one end of a channel.
//!
//! The two ends are of one program, but the far one runs on a kernel that has met a stranger's filesystem: whatever it answers
//! is checked like an image's bytes. The protocol is private and has no versions.

mod channel;
mod client;
mod codec;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use channel::{Channel, MESSAGE_MAX};
pub use client::Remote;
pub use server::{Keeper, serve};
pub use wire::{Mount, Place};
