//! What carries the messages.

use crate::error::Result;
use std::fmt::Debug;

/// The longest message in bytes, 16 MiB: a directory of some hundred thousand names.
pub const MESSAGE_MAX: usize = 16 << 20;

/// One end of a channel that carries whole messages in both directions, each of at most [`MESSAGE_MAX`] bytes.
pub trait Channel: Debug {
    /// Hands a message to the other end.
    fn send(&mut self, message: &[u8]) -> Result<()>;

    /// Waits for a message of the other end; an error where that is gone, or takes longer than it may.
    fn receive(&mut self) -> Result<Vec<u8>>;

    /// Ends the channel after the last message. Errors: what has gone wrong beside the messages.
    fn finish(self) -> Result<()>;
}
