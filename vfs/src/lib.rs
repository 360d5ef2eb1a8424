//! How to reach a path inside a disk image, and how to change it all or not at all.
//!
//! The corridor runs in one direction: [`transaction`] over the host file, [`image`] format over the transaction,
//! [`volume`] in the image, guest filesystem ([`fs`]) on the volume, [`stage`] of changes over the filesystem. This
//! crate knows nothing of what is injected or why.

pub mod block;
pub mod error;
mod field;
pub mod fs;
pub mod fstab;
pub mod image;
pub mod kernel;
pub mod master;
pub mod path;
pub mod resolve;
pub mod shell;
pub mod stage;
pub mod transaction;
pub mod verify;
pub mod volume;

pub use error::{Error, ErrorKind, Layer, Result};
